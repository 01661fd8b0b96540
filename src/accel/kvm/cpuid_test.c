/* The CPU as a model has it and as KVM has it, CPUID and registers: on a kernel made here. */
#include "accel/kvm/kvm_int.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

struct kvm_vm *viv_kvm; /* instead of kvm.c's, and of sys.c's functions */

int viv_kvm_open(struct viv_err *err)
{
    return 3;
}

int viv_kvm_cap(int cap)
{
    return cap == KVM_CAP_GET_MSR_FEATURES;
}

static uint32_t address_sizes = ~0u; /* EAX of 80000008H */

/* A host that has everything. */
static int supported(struct kvm_cpuid2 *c)
{
    static const uint32_t leaves[] = {1, 6, 7, 0x80000001, 0x80000007, 0x80000008, 0x8000000a, 0xd};

    c->nent = 0;
    for (unsigned n = 0; n < G_N_ELEMENTS(leaves); n++)
        c->entries[c->nent++] = (struct kvm_cpuid_entry2){.function = leaves[n], .eax = ~0u, .ebx = ~0u, .ecx = ~0u, .edx = ~0u};
    c->entries[5].eax = address_sizes;
    return 0;
}

/* Its model-specific registers. */
static const uint32_t index_of[] = {0x10, 0xe1, 0x10a, 0x122, 0x140};
static uint64_t value[G_N_ELEMENTS(index_of)];
static uint32_t refused;

static uint64_t *msr(uint32_t index)
{
    for (unsigned n = 0; n < G_N_ELEMENTS(index_of); n++) {
        if (index_of[n] == index && index != refused)
            return &value[n];
    }
    return NULL;
}

/* How many, up to the first that it does not take. */
static int transfer(struct kvm_msrs *m, bool put)
{
    for (uint32_t n = 0; n < m->nmsrs; n++) {
        uint64_t *at = msr(m->entries[n].index);

        if (!at)
            return (int)n;
        if (put)
            *at = m->entries[n].data;
        m->entries[n].data = *at;
    }
    return (int)m->nmsrs;
}

int viv_kvm_ioctl(int fd, unsigned long req, void *arg)
{
    switch (req) {
    case KVM_GET_SUPPORTED_CPUID:
        return supported(arg);
    case KVM_SET_CPUID2:
        return 0;
    case KVM_GET_MSRS:
    case KVM_SET_MSRS:
        return transfer(arg, req == KVM_SET_MSRS);
    }
    g_error("unexpected ioctl %#lx", req);
}

static struct viv_cpuid *filtered(const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cpuid *m = NULL;

    g_assert_cmpint(viv_cpuid_parse(text, &m, &err), ==, 0);
    g_assert_cmpint(viv_kvm_filter_cpuid(m, &err), ==, 0);
    return m;
}

/* A guest hypervisor's state would be lost in saved state and survive a reset. */
static void test_no_nesting(void)
{
    g_autofree struct viv_cpuid *intel = filtered("Skylake-Server-v4,check=off"), *amd = filtered("EPYC,check=off");

    g_assert_true(viv_cpuid_has(intel, VIV_FT_SSE42));
    g_assert_false(viv_cpuid_has(intel, VIV_FT_VMX));
    g_assert_true(viv_cpuid_has(amd, VIV_FT_SSE4A));
    g_assert_false(viv_cpuid_has(amd, VIV_FT_SVM));
    g_assert_cmphex(amd->word[VIV_FW_EA_EDX], ==, 0);
}

/* Features that need leaves and registers that a guest would not find, or lose. */
static void test_unkept(void)
{
    static const enum viv_feature gone[] = {
        VIV_FT_PDCM, VIV_FT_PERFCTR_CORE, VIV_FT_INTEL_PT, VIV_FT_ARCH_LBR, VIV_FT_SGX, VIV_FT_MPX, VIV_FT_AMX_TILE, VIV_FT_AMX_INT8, VIV_FT_XFD,
    };
    g_autofree struct viv_cpuid *m = filtered("host");

    g_assert_true(viv_cpuid_has(m, VIV_FT_AVX512F));
    for (size_t i = 0; i < G_N_ELEMENTS(gone); i++)
        g_assert_false(viv_cpuid_has(m, gone[i]));
}

/* No more address bits than the host has, and an error where they were asked for. */
static void test_phys_bits(void)
{
    struct viv_err err = VIV_ERR_INIT;
    g_autofree struct viv_cpuid *unasked = NULL, *asked = NULL;

    address_sizes = 0x3027;
    unasked = filtered("qemu64,check=off");
    g_assert_cmpuint(unasked->phys_bits, ==, 39);
    g_assert_cmpint(viv_cpuid_parse("qemu64,check=off,phys-bits=40", &asked, &err), ==, 0);
    g_assert_cmpint(viv_kvm_filter_cpuid(asked, &err), ==, -ENOTSUP);
    g_assert_nonnull(strstr(err.text, "39 bits"));
    address_sizes = ~0u;
}

static struct viv_x86 x86;
static struct viv_vcpu vcpu = {.x86 = &x86};

/* IA32_ARCH_CAPABILITIES is the model's, not what this host happens to have. */
static void test_arch_capabilities(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct kvm_vm vm = {0};
    struct kvm_cpu k = {.v = &vcpu};
    g_autofree struct viv_cpuid *m = NULL;

    viv_kvm = &vm;
    *msr(0x10a) = ~0ull;
    m = filtered("Skylake-Server,+arch-capabilities,+mds-no,check=off");
    x86.cpuid = m;
    g_assert_cmpint(viv_kvm_set_cpuid(&k, &err), ==, 0);
    g_assert_cmphex(*msr(0x10a), ==, m->word[VIV_FW_ARCH_CAP]);
    g_assert_cmphex(*msr(0x10a), ==, 1 << 5);
    refused = 0x10a; /* as some kernels do */
    g_assert_cmpint(viv_kvm_set_cpuid(&k, &err), ==, 0);
    refused = 0;
}

/* Registers of features that are offered go both ways, and a reset is theirs too. */
static void test_registers(void)
{
    static const uint32_t listed[] = {0xe1, 0x122, 0x140};
    g_autofree struct kvm_msr_list *list = g_malloc0(sizeof(*list) + sizeof(listed));
    g_autofree struct viv_cpuid *m = filtered("Skylake-Server,check=off");
    struct viv_err err = VIV_ERR_INIT;
    struct kvm_vm vm = {.msr_list = list};
    struct kvm_cpu k = {.v = &vcpu};

    viv_kvm = &vm;
    x86.cpuid = m;
    list->nmsrs = G_N_ELEMENTS(listed);
    memcpy(list->indices, listed, sizeof(listed));
    *msr(0xe1) = 100000;
    *msr(0x122) = 3;
    *msr(0x140) = 1;
    g_assert_cmpint(viv_kvm_get_msrs(&k, &err), ==, 0);
    g_assert_cmphex(x86.msr.umwait_control, ==, 100000);
    g_assert_cmphex(x86.msr.tsx_ctrl, ==, 3);
    g_assert_cmphex(x86.msr.misc_features_enables, ==, 1);
    viv_msr_reset(&x86, true);
    g_assert_cmpint(viv_kvm_put_msrs(&k, &err), ==, 0);
    g_assert_cmphex(*msr(0xe1) | *msr(0x122) | *msr(0x140), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm-cpuid/no-nesting", test_no_nesting);
    g_test_add_func("/kvm-cpuid/unkept", test_unkept);
    g_test_add_func("/kvm-cpuid/phys-bits", test_phys_bits);
    g_test_add_func("/kvm-cpuid/arch-capabilities", test_arch_capabilities);
    g_test_add_func("/kvm-cpuid/registers", test_registers);
    return g_test_run();
}
