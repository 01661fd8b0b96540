/* Resets of all CPUs at once: what an INIT does to one that is in system management mode. CPUs of the interpreter, stopped. */
#include "accel/accel.h"

#include "cpu/x86/cpuid.h"
#include "cpu/x86/smm.h"
#include "cpu/x86/state.h"
#include "host/lock.h"

#include <glib.h>

#define RAM_BYTES (1u << 20)

static struct viv_space *mem;

static void make(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = RAM_BYTES};
    struct viv_accel_env env = {.vcpus = 2};
    struct viv_cpuid *cpuid;
    struct viv_intc *intc;

    env.mem = mem = viv_space_new("memory", 40);
    env.smm = viv_space_new_over("smm", mem);
    env.io = viv_space_new("io", 16);
    g_assert_cmpint(viv_cpuid_parse("max", &cpuid, &err), ==, 0);
    g_assert_cmpint(viv_accel_interp.filter_cpuid(cpuid, &err), ==, 0);
    viv_cpuid_finish(cpuid);
    g_assert_cmpint(viv_accel_interp.create(&env, &intc, &err), ==, 0);
    g_assert_cmpint(viv_vcpus_create(&viv_accel_interp, &env, cpuid, &err), ==, 0);
    g_assert_cmpint(viv_ram_new("test", RAM_BYTES, &d.ram, &err), ==, 0);
    viv_region_map(viv_region_new(mem, &d), 0, 0);
}

/* SDM 3C, on SMM: INIT is blocked in SMM, wherever it comes from; what SMIs and NMIs there are comes after RSM. A reset is not blocked. */
static void test_init_in_smm(void)
{
    struct viv_vcpu *in, *out;

    viv_dev_lock();
    make();
    in = viv_vcpus[0];
    out = viv_vcpus[1];
    viv_dev_unlock();
    viv_smm_enter(in->x86);
    viv_dev_lock();
    in->x86->gpr[VIV_RBX] = out->x86->gpr[VIV_RBX] = 0x1234;
    atomic_store(&in->requests, VIV_REQ_STOP | VIV_REQ_SMI | VIV_REQ_NMI);
    atomic_store(&out->requests, VIV_REQ_STOP | VIV_REQ_NMI);
    atomic_store(&in->nmis, 1);

    viv_vcpus_init();
    g_assert_true(in->x86->in_smm);
    g_assert_true(in->x86->init_held);
    g_assert_true(in->x86->mem != mem);
    g_assert_cmphex(in->x86->rip, ==, 0x8000);
    g_assert_cmphex(in->x86->gpr[VIV_RBX], ==, 0x1234);
    g_assert_cmphex(atomic_load(&in->requests), ==, VIV_REQ_STOP | VIV_REQ_SMI | VIV_REQ_NMI);
    g_assert_cmpuint(atomic_load(&in->nmis), ==, 1);
    g_assert_false(out->x86->init_held);
    g_assert_cmphex(out->x86->gpr[VIV_RBX], ==, 0);
    g_assert_cmphex(atomic_load(&out->requests), ==, VIV_REQ_STOP);

    viv_vcpus_reset();
    g_assert_false(in->x86->in_smm);
    g_assert_false(in->x86->init_held);
    g_assert_true(in->x86->mem == mem);
    g_assert_cmphex(in->x86->rip, ==, 0xfff0);
    g_assert_cmphex(atomic_load(&in->requests), ==, VIV_REQ_STOP);
    viv_dev_unlock();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vcpu-thread/init-in-smm", test_init_in_smm);
    return g_test_run();
}
