/* What a kernel's KVM is asked for in CPUID, and what it is told: on a kernel made here. */
#include "accel/kvm/kvm_int.h"
#include "cpu/x86/cpuid.h"

#include <glib.h>

struct kvm_vm *viv_kvm; /* instead of kvm.c's, and of sys.c's functions */

int viv_kvm_open(struct viv_err *err)
{
    return 3;
}

int viv_kvm_cap(int cap)
{
    return 0;
}

/* A host that has everything. */
static int supported(struct kvm_cpuid2 *c)
{
    static const uint32_t leaves[] = {1, 6, 7, 0x80000001, 0x80000007, 0x80000008, 0x8000000a};

    c->nent = 0;
    for (unsigned n = 0; n < G_N_ELEMENTS(leaves); n++)
        c->entries[c->nent++] = (struct kvm_cpuid_entry2){.function = leaves[n], .eax = ~0u, .ebx = ~0u, .ecx = ~0u, .edx = ~0u};
    return 0;
}

int viv_kvm_ioctl(int fd, unsigned long req, void *arg)
{
    if (req == KVM_GET_SUPPORTED_CPUID)
        return supported(arg);
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm-cpuid/no-nesting", test_no_nesting);
    return g_test_run();
}
