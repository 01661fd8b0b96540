/* CPUs that stand still, beside a clock that moves by hand: for tests that drive devices from outside (mon/qtest.h), and for
 * machines that only hold disks. */
#include "accel/soft.h"

#include "host/clock.h"

#include <stdatomic.h>

static int probe(struct viv_err *why)
{
    return 0;
}

static int create(const struct viv_accel_env *env, struct viv_intc **out, struct viv_err *err)
{
    viv_guest_clock_by_hand();
    return viv_soft_create(env, out, err);
}

static int filter_cpuid(struct viv_cpuid *model, struct viv_err *err)
{
    return viv_soft_filter_cpuid(model, "qtest", true, err);
}

#define HOUSEKEEPING (VIV_REQ_TLB | VIV_REQ_QUIESCE | VIV_REQ_KICK)

static bool asked(struct viv_vcpu *v)
{
    return atomic_load(&v->requests) & (VIV_REQ_STOP | HOUSEKEEPING);
}

/* Somebody may wait for a CPU to have seen a request (host/quiesce); interrupts and the like are left where they are. */
static int run(struct viv_vcpu *v, struct viv_err *err)
{
    while (!(atomic_load(&v->requests) & VIV_REQ_STOP)) {
        viv_vcpu_sleep(v, asked);
        atomic_fetch_and(&v->requests, ~(uint32_t)HOUSEKEEPING);
    }
    return 0;
}

const struct viv_accel viv_accel_qtest = {
    .name = "qtest",
    .desc = "no CPU runs, for tests of devices (-qtest)",
    .by_name_only = true,
    .smm = true,
    .probe = probe,
    .create = create,
    .filter_cpuid = filter_cpuid,
    .vcpu_init = viv_soft_vcpu_init,
    .vcpu_run = run,
};
