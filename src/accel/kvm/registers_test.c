/* What goes between a CPU's registers and a kernel that is made here. */
#include "accel/kvm/kvm_int.h"

#include "base/bytes.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/state.h"

#include <glib.h>
#include <string.h>

enum { XSAVE_BV = 512, XMM = 160, ST = 32, AVX_AT = 576, PKRU_AT = 832 /* where AMD has it */ };
enum { SYSENTER_EIP = 0x176 };

struct kvm_vm *viv_kvm; /* instead of kvm.c's, and of sys.c's functions */

static uint8_t image[4096];
static struct kvm_vcpu_events events;
static uint64_t sysenter_eip;

int viv_kvm_cap(int cap)
{
    return 0;
}

/* One register, whose value has to be canonical; MTRRs and machine check banks, which are asked for without being listed, it has not. */
static int transfer(struct kvm_msrs *m, bool put)
{
    for (uint32_t n = 0; n < m->nmsrs; n++) {
        uint64_t high = m->entries[n].data >> 47;

        if (m->entries[n].index != SYSENTER_EIP || (put && high && high != 0x1ffff))
            return (int)n;
        if (put)
            sysenter_eip = m->entries[n].data;
        m->entries[n].data = sysenter_eip;
    }
    return (int)m->nmsrs;
}

/* XRSTOR: a component without its bit is in its initial state. */
static void set_xsave(const uint8_t *x)
{
    uint64_t bv = viv_ld_le64(x + XSAVE_BV);

    memcpy(image, x, sizeof(image));
    if (!(bv >> 2 & 1))
        memset(image + AVX_AT, 0, 256);
    if (!(bv >> 9 & 1))
        memset(image + PKRU_AT, 0, 8);
}

int viv_kvm_ioctl(int fd, unsigned long req, void *arg)
{
    switch (req) {
    case KVM_GET_XSAVE2: memcpy(arg, image, sizeof(image)); return 0;
    case KVM_SET_XSAVE: set_xsave(arg); return 0;
    case KVM_GET_MSRS: return transfer(arg, false);
    case KVM_SET_MSRS: return transfer(arg, true);
    case KVM_GET_MP_STATE: memset(arg, 0, sizeof(struct kvm_mp_state)); return 0;
    case KVM_GET_REGS: memset(arg, 0, sizeof(struct kvm_regs)); return 0;
    case KVM_GET_SREGS: memset(arg, 0, sizeof(struct kvm_sregs)); return 0;
    case KVM_GET_XCRS: memset(arg, 0, sizeof(struct kvm_xcrs)); return 0;
    case KVM_GET_DEBUGREGS: memset(arg, 0, sizeof(struct kvm_debugregs)); return 0;
    case KVM_GET_VCPU_EVENTS: memcpy(arg, &events, sizeof(events)); return 0;
    }
    g_error("unexpected ioctl %#lx", req);
}

static struct kvm_cpu cpu;
static struct viv_vcpu vcpu = {.priv = &cpu};
static struct viv_cpuid *cpuid;
static struct viv_x86 *x86;
static struct viv_err err = VIV_ERR_INIT;

static void start(void)
{
    static struct kvm_vm vm = {.cap_xsave2 = true, .xsave_size = sizeof(image), .xsave_offset = {[2] = AVX_AT, [9] = PKRU_AT}};
    static struct kvm_msr_list *list;

    if (!list) {
        list = g_malloc0(sizeof(*list) + sizeof(uint32_t));
        list->nmsrs = 1;
        list->indices[0] = SYSENTER_EIP;
    }
    vm.msr_list = list;
    viv_kvm = &vm;
    cpu = (struct kvm_cpu){.v = &vcpu};
    memset(&x86->fpu, 0, sizeof(x86->fpu));
    memset(image, 0, sizeof(image));
    viv_err_clear(&err);
}

/* Registers that XCR0 leaves alone keep what is in them, and PKRU is in force without it. */
static void test_xcr0_off(void)
{
    start();
    x86->xcr0 = 1;
    x86->fpu.pkru = 0x5c;
    x86->fpu.zmm[3][31] = 0x77;
    g_assert_cmpint(viv_kvm_put_fpu(&cpu, &err), ==, 0);
    x86->fpu.pkru = 0;
    memset(x86->fpu.zmm, 0, sizeof(x86->fpu.zmm));
    g_assert_cmpint(viv_kvm_get_fpu(&cpu, &err), ==, 0);
    g_assert_cmphex(x86->fpu.pkru, ==, 0x5c);
    g_assert_cmphex(x86->fpu.zmm[3][31], ==, 0x77);
    cpuid->xcr0_mask = 3; /* what the model does not have the kernel would refuse */
    g_assert_cmpint(viv_kvm_put_fpu(&cpu, &err), ==, 0);
    g_assert_cmphex(viv_ld_le64(image + XSAVE_BV), ==, 3);
    cpuid->xcr0_mask = 1 << 9 | 7;
}

/* SDM 1, 13.6: of a component in its initial state nothing need be written. */
static void test_initial(void)
{
    start();
    memset(image, 0xa5, XSAVE_BV);
    memset(image + AVX_AT, 0xa5, 256);
    g_assert_cmpint(viv_kvm_get_fpu(&cpu, &err), ==, 0);
    g_assert_cmphex(x86->fpu.fcw, ==, 0x37f);
    g_assert_cmphex(x86->fpu.fip, ==, 0);
    g_assert_cmphex(x86->fpu.st[2][5], ==, 0);
    g_assert_cmphex(x86->fpu.zmm[1][0], ==, 0);
    g_assert_cmphex(x86->fpu.zmm[1][16], ==, 0);
    g_assert_cmphex(x86->fpu.mxcsr, ==, 0xa5a5a5a5); /* has no bit of its own */
    viv_st_le64(image + XSAVE_BV, 7);
    g_assert_cmpint(viv_kvm_get_fpu(&cpu, &err), ==, 0);
    g_assert_cmphex(x86->fpu.fcw, ==, 0xa5a5);
    g_assert_cmphex(x86->fpu.st[2][5], ==, 0xa5);
    g_assert_cmphex(x86->fpu.zmm[1][0], ==, 0xa5);
    g_assert_cmphex(x86->fpu.zmm[1][16], ==, 0xa5);
}

/* What the kernel cannot hold is said, and the register is not forgotten. */
static void test_msr_value(void)
{
    start();
    x86->msr.sysenter_eip = 0x1234;
    g_assert_cmpint(viv_kvm_put_msrs(&cpu, &err), ==, 0);
    x86->msr.sysenter_eip = 1ull << 60;
    g_assert_cmpint(viv_kvm_put_msrs(&cpu, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "0x176"));
    g_assert_cmphex(sysenter_eip, ==, 0x1234);
    g_assert_cmpint(viv_kvm_get_msrs(&cpu, &err), ==, 0);
    g_assert_cmphex(x86->msr.sysenter_eip, ==, 0x1234);
    start();
    x86->msr.sysenter_eip = 1ull << 60; /* one with a will of its own about what we have at power-on */
    g_assert_cmpint(viv_kvm_put_msrs(&cpu, &err), ==, 0);
    x86->msr.sysenter_eip = 0;
}

/* An NMI that was on its way into the guest masks NMIs; it is to come again, which it could not. */
static void test_nmi_under_way(void)
{
    start();
    events = (struct kvm_vcpu_events){.nmi = {.injected = 1, .masked = 1}};
    g_assert_cmpint(viv_kvm_get_state(&vcpu, &err), ==, 0);
    g_assert_true(x86->nmi_pending);
    g_assert_false(x86->nmi_blocked);
    events = (struct kvm_vcpu_events){.nmi = {.pending = 1, .masked = 1}}; /* of one in service, and another one */
    g_assert_cmpint(viv_kvm_get_state(&vcpu, &err), ==, 0);
    g_assert_true(x86->nmi_pending);
    g_assert_true(x86->nmi_blocked);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(viv_cpuid_parse("max", &cpuid, &err), ==, 0);
    cpuid->xcr0_mask = 1 << 9 | 7;
    vcpu.x86 = x86 = viv_x86_new(&vcpu, cpuid, viv_space_new("memory", 40), NULL, viv_space_new("io", 16));
    g_test_add_func("/kvm-registers/xcr0-off", test_xcr0_off);
    g_test_add_func("/kvm-registers/initial", test_initial);
    g_test_add_func("/kvm-registers/msr-value", test_msr_value);
    g_test_add_func("/kvm-registers/nmi-under-way", test_nmi_under_way);
    return g_test_run();
}
