/* When an accelerator gets the registers and gives them back: no CPU runs meanwhile, as what it sends to another one (an INIT, a start-up
 * IPI, an NMI) would be overwritten at the start and missed at the stop. CPUs that run nothing. */
#include "accel/accel.h"

#include "cpu/x86/cpuid.h"
#include "host/lock.h"

#include <glib.h>

enum { CPUS = 3 };

static _Atomic unsigned inside, entered, put, got;
static unsigned late; /* states that came or went while a CPU ran */

static int init(struct viv_vcpu *v, struct viv_err *err)
{
    return 0;
}

static int run(struct viv_vcpu *v, struct viv_err *err)
{
    inside++;
    entered++;
    while (!(atomic_load(&v->requests) & VIV_REQ_STOP))
        g_usleep(100);
    g_usleep(10000 * v->index); /* it is busy */
    inside--;
    return 0;
}

static int put_state(struct viv_vcpu *v, struct viv_err *err)
{
    late += inside != 0;
    put++;
    g_usleep(5000);
    return 0;
}

static int get_state(struct viv_vcpu *v, struct viv_err *err)
{
    late += inside != 0;
    got++;
    return 0;
}

static const struct viv_accel fake = {
    .name = "fake", .vcpu_init = init, .vcpu_run = run, .put_state = put_state, .get_state = get_state,
};

static void test_order(void)
{
    struct viv_accel_env env = {.vcpus = CPUS, .mem = viv_space_new("memory", 40), .io = viv_space_new("io", 16)};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cpuid *cpuid;

    viv_dev_lock();
    g_assert_cmpint(viv_cpuid_parse("max", &cpuid, &err), ==, 0);
    g_assert_cmpint(viv_vcpus_create(&fake, &env, cpuid, &err), ==, 0);
    for (unsigned round = 1; round <= 3; round++) {
        viv_vcpus_start();
        viv_dev_unlock();
        while (entered < round * CPUS)
            g_usleep(1000);
        viv_dev_lock();
        viv_vcpus_stop();
        g_assert_cmpuint(put, ==, round * CPUS);
        g_assert_cmpuint(got, ==, round * CPUS);
    }
    g_assert_cmpuint(late, ==, 0);
    viv_dev_unlock();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vcpu-order/order", test_order);
    return g_test_run();
}
