/* The software CPUs as accelerators: what interp and xlate share. */
#include "accel/soft.h"

#include "base/log.h"
#include "bus/vmreq.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/interp/simd.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/state.h"
#include "host/lock.h"

#include <errno.h>

static struct viv_intc intc;

static void send_msi(struct viv_intc *c, uint64_t addr, uint32_t data)
{
    viv_apic_send_msi(addr, data);
}

static void set_extint(struct viv_intc *c, int level)
{
    viv_apic_set_extint(level);
}

static int no_irqfd(struct viv_intc *c, int fd, uint64_t addr, uint32_t data)
{
    return -ENOTSUP;
}

static int no_ioeventfd(struct viv_intc *c, int fd, bool port, uint64_t addr, unsigned size, bool add)
{
    return -ENOTSUP;
}

static const struct viv_intc_ops intc_ops = {
    .send_msi = send_msi,
    .set_extint = set_extint,
    .msi_irqfd = no_irqfd,
    .ioeventfd = no_ioeventfd,
};

/* RAM moved: cached host addresses are stale. Flushed by each vCPU at its next block end, which the
 * guest cannot tell from the write that moved it taking a moment. */
static void map_changed(void *opaque)
{
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        viv_vcpu_request(viv_vcpus[i], VIV_REQ_TLB);
}

int viv_soft_create(const struct viv_accel_env *env, struct viv_intc **out, struct viv_err *err)
{
    intc.ops = &intc_ops;
    viv_space_listen(env->mem, map_changed, NULL);
    if (env->smm)
        viv_space_listen(env->smm, map_changed, NULL);
    *out = &intc;
    return 0;
}

int viv_soft_filter_cpuid(struct viv_cpuid *model, const char *accel, bool avx512, struct viv_err *err)
{
    uint32_t have[VIV_FW_COUNT];

    viv_cpuid_software_words(have);
    if (!avx512)
        viv_cpuid_drop_avx512(have);
    return viv_cpuid_restrict(model, have, accel, err);
}

int viv_soft_vcpu_init(struct viv_vcpu *v, struct viv_err *err)
{
    int r = viv_interp_init(v->x86);

    if (r < 0)
        return viv_fail_os(err, -r, "CPU %u: interpreter", v->index);
    viv_dev_lock();
    v->apic = viv_apic_new(v, &intc);
    viv_dev_unlock();
    return v->apic ? 0 : viv_fail(err, ENOMEM, "CPU %u: no memory for its local APIC", v->index);
}

/* What ends HLT: everything but an interrupt that IF holds off. */
static bool halt_over(struct viv_vcpu *v)
{
    uint32_t r = atomic_load(&v->requests);

    if (v->x86->wait_sipi)
        return r & (VIV_REQ_STOP | VIV_REQ_TLB | VIV_REQ_QUIESCE | VIV_REQ_KICK | VIV_REQ_INIT |
                    VIV_REQ_SIPI);
    return (r & ~(uint32_t)VIV_REQ_INTR) || (r && (v->x86->eflags & VIV_FL_IF));
}

static bool stop_asked(struct viv_vcpu *v)
{
    return atomic_load(&v->requests) & VIV_REQ_STOP;
}

/* In SMM an INIT waits for RSM, as SMIs and NMIs do: else whoever sends INIT and SIPI would get a CPU that sees SMRAM. */
static void take_init(struct viv_vcpu *v)
{
    if (v->x86->in_smm) {
        v->x86->init_held = true;
        return;
    }
    viv_x86_reset(v->x86, true, v->index == 0);
    viv_apic_reset(v->apic, true);
    v->x86->wait_sipi = v->index != 0;
}

/* SDM 3A 9.4.3: CS:IP = VV00:0000. Ignored unless the processor waits for it. */
static void take_sipi(struct viv_vcpu *v)
{
    struct viv_x86 *c = v->x86;

    if (!c->wait_sipi)
        return;
    c->wait_sipi = false;
    c->halted = false;
    c->seg[VIV_CS].sel = (uint16_t)(v->sipi_vector << 8);
    c->seg[VIV_CS].base = (uint64_t)v->sipi_vector << 12;
    c->rip = c->next_rip = 0;
    viv_x86_update_mode(c);
}

static void act_on_requests(struct viv_vcpu *v)
{
    const uint32_t ours = VIV_REQ_TLB | VIV_REQ_QUIESCE | VIV_REQ_KICK | VIV_REQ_INIT | VIV_REQ_SIPI;
    uint32_t r = atomic_fetch_and(&v->requests, ~ours);

    if (r & VIV_REQ_TLB)
        viv_mmu_flush_map(v->x86);
    if (r & VIV_REQ_INIT)
        take_init(v);
    if (r & VIV_REQ_SIPI)
        take_sipi(v);
}

/* Registers may have been set from outside meanwhile. NMI and SMI that wait stay where they are, in the request word or
 * in the CPU; interrupts wait in the local APIC, which is asked again on every entry. */
static void unpark(struct viv_vcpu *v)
{
    viv_x86_update_mode(v->x86);
    v->x86->fpu.mxcsr &= viv_mxcsr_mask(); /* LDMXCSR of another bit would be our own #GP */
    viv_vcpu_request(v, VIV_REQ_INTR);
}

int viv_soft_vcpu_run(struct viv_vcpu *v, struct viv_err *err)
{
    unpark(v);
    while (!stop_asked(v)) {
        act_on_requests(v);
        switch (viv_interp_run(v->x86)) {
        case VIV_RUN_REQUEST:
            break;
        case VIV_RUN_HALT:
            viv_vcpu_sleep(v, halt_over);
            break;
        case VIV_RUN_SHUTDOWN:
            viv_vm_request(VIV_VM_RESET, 0, "triple fault");
            viv_vcpu_sleep(v, stop_asked);
            break;
        case VIV_RUN_BREAK:
            viv_vm_request(VIV_VM_DEBUG, 0, "breakpoint");
            viv_vcpu_sleep(v, stop_asked);
            break;
        }
    }
    act_on_requests(v);
    return 0;
}
