/* -cpu: every model parses and keeps its promises; features, properties and mistakes. */
#include "cpu/x86/cpuid.h"
#include "cpu/x86/cpuid_models.h"
#include "cpu/x86/kvmclock.h"

#include <glib.h>
#include <string.h>

static struct viv_cpuid *parse(const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cpuid *m = NULL;

    if (viv_cpuid_parse(text, &m, &err) < 0)
        g_error("%s: %s", text, err.text);
    return m;
}

static void refuse(const char *text, const char *part)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cpuid *m = NULL;

    g_assert_cmpint(viv_cpuid_parse(text, &m, &err), <, 0);
    g_assert_null(m);
    if (!strstr(err.text, part))
        g_error("'%s' should say '%s', says: %s", text, part, err.text);
}

/* Names in a model's list that are no feature would be dropped in silence: count them. */
static void check_names(const struct viv_cpu_model *t)
{
    g_auto(GStrv) names = g_strsplit(t->features ? t->features : "", " ", -1);

    for (char **n = names; *n; n++) {
        g_autofree char *text = g_strdup_printf("base,+%s", **n == '-' ? *n + 1 : *n);

        if (**n)
            g_free(parse(text));
    }
}

static void test_models(void)
{
    uint32_t r[4];

    for (const struct viv_cpu_model *t = viv_cpu_models; t->name; t++) {
        struct viv_cpuid *m = parse(t->name);

        check_names(t);
        g_assert_true(viv_cpuid_has(m, VIV_FT_FPU));
        g_assert_cmpuint(m->family, !=, 0);
        viv_cpuid_leaf(m, 0, 0, 0, r);
        g_assert_cmpuint(r[0], ==, m->level);
        if (viv_cpuid_has(m, VIV_FT_AVX2))
            g_assert_true(viv_cpuid_has(m, VIV_FT_XSAVE) && m->level >= 0xd);
        if (viv_cpuid_has(m, VIV_FT_LM))
            g_assert_true(viv_cpuid_has(m, VIV_FT_PAE) && viv_cpuid_has(m, VIV_FT_SSE2));
        g_free(m);
    }
}

static void test_properties(void)
{
    struct viv_cpuid *m = parse("Haswell,-avx2,+sse4_2,rtm=off,model-id=My CPU,vendor=AuthenticAMD,stepping=7");

    g_assert_false(viv_cpuid_has(m, VIV_FT_AVX2));
    g_assert_true(viv_cpuid_has(m, VIV_FT_SSE42));
    g_assert_false(viv_cpuid_has(m, VIV_FT_RTM));
    g_assert_cmpstr(m->model_id, ==, "My CPU");
    g_assert_cmpint(m->kind, ==, VIV_VENDOR_AMD);
    g_assert_cmphex(viv_cpuid_signature(m), ==, 0x306c7);
    g_free(m);
    refuse("Haswel", "did you mean 'Haswell'");
    refuse("qemu64,+avx3", "avx");
    refuse("qemu64,stepping=99", "stepping");
    refuse("qemu64,enforce,hv_relaxed,hv_spinlocks=0x1fff", "not offered: hv-relaxed hv-spinlocks; leave them out");
    refuse("qemu64,+hv_vapic,hv_time=off,enforce", "not offered: hv-vapic;");
    refuse("qemu64,hv-relax", "no feature or property 'hv-relax'");
    refuse("qemu64,,", "empty");
    refuse("", "model");
}

static void test_restrict(void)
{
    uint32_t have[VIV_FW_COUNT];
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cpuid *m = parse("qemu64,+svm,enforce");

    viv_cpuid_software_words(have);
    g_assert_cmpint(viv_cpuid_restrict(m, have, "test", &err), <, 0);
    g_assert_nonnull(strstr(err.text, "svm"));
    g_free(m);
    m = parse("max");
    g_assert_cmpint(viv_cpuid_restrict(m, have, "test", &err), ==, 0);
    for (unsigned n = 0; n < VIV_FW_COUNT; n++)
        g_assert_cmphex(m->word[n] & ~have[n], ==, 0);
    g_free(m);
}

static void test_32bit(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cpuid *m = parse("Haswell,check=off");
    uint32_t r[4];

    g_assert_cmpint(viv_cpuid_drop_long_mode(m, &err), ==, 0);
    g_assert_false(viv_cpuid_has(m, VIV_FT_LM) || viv_cpuid_has(m, VIV_FT_SYSCALL) || viv_cpuid_has(m, VIV_FT_FSGSBASE));
    g_assert_true(viv_cpuid_has(m, VIV_FT_AVX2));
    viv_cpuid_leaf(m, 0, 0x80000008, 0, r);
    g_assert_cmphex(r[0] & 0xffff, ==, 0x2024); /* 32 virtual, 36 physical bits */
    g_free(m);
    m = parse("qemu64,+lm");
    g_assert_cmpint(viv_cpuid_drop_long_mode(m, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "qemu-system-x86_64"));
    g_free(m);
    m = parse("n270,enforce"); /* never had it */
    g_assert_cmpint(viv_cpuid_drop_long_mode(m, &err), ==, 0);
    g_free(m);
}

static void test_topology(void)
{
    struct viv_cpuid *m = parse("EPYC");
    uint32_t r[4];

    viv_cpuid_set_topology(m, 2, 1, 3, 2);
    g_assert_cmpuint(viv_cpuid_apic_id(m, 0), ==, 0);
    g_assert_cmpuint(viv_cpuid_apic_id(m, 5), ==, 5);
    g_assert_cmpuint(viv_cpuid_apic_id(m, 6), ==, 8); /* next socket: 3 cores take 2 bits */
    viv_cpuid_leaf(m, 8, 0xb, 0, r);
    g_assert_cmpuint(r[3], ==, 8);
    viv_cpuid_leaf(m, 8, 1, 0, r);
    g_assert_cmpuint(r[1] >> 24, ==, 8);
    g_assert_true(r[3] & 1u << 28);
    viv_cpuid_set_topology(m, 1, 2, 2, 2);
    viv_cpuid_leaf(m, 6, 0x8000001e, 0, r);
    g_assert_cmphex(r[1], ==, 0x101);
    g_assert_cmphex(r[2], ==, 0x101);
    viv_cpuid_leaf(m, 6, 0x80000008, 0, r);
    g_assert_cmphex(r[2], ==, 0x3007);
    g_free(m);
    m = parse("Skylake-Server");
    viv_cpuid_set_topology(m, 1, 2, 2, 2);
    viv_cpuid_leaf(m, 6, 0, 0, r);
    g_assert_cmphex(r[0], ==, 0x1f);
    viv_cpuid_leaf(m, 6, 0x1f, 1, r);
    g_assert_cmphex(r[0], ==, 2);
    g_assert_cmphex(r[1], ==, 4);
    g_assert_cmphex(r[2], ==, 0x201);
    viv_cpuid_leaf(m, 6, 0x1f, 2, r);
    g_assert_cmphex(r[0], ==, 3);
    g_assert_cmphex(r[1], ==, 8);
    g_assert_cmphex(r[2], ==, 0x502);
    viv_cpuid_leaf(m, 6, 0xb, 1, r);
    g_assert_cmphex(r[0], ==, 3);
    g_free(m);
}

static void test_clock_scale(void)
{
    static const uint64_t hz[] = {1000000, 999999999, 1000000000, 2600000000, 5000000000, 40000000};

    for (unsigned n = 0; n < G_N_ELEMENTS(hz); n++) {
        uint64_t tsc = hz[n] * 10;
        uint32_t mul;
        int8_t shift;
        double ns;

        viv_kvmclock_scale(hz[n], &mul, &shift);
        tsc = shift < 0 ? tsc >> -shift : tsc << shift;
        ns = (double)(uint64_t)((unsigned __int128)tsc * mul >> 32);
        g_assert_cmpfloat(ns, >, 1e10 - 100);
        g_assert_cmpfloat(ns, <, 1e10 + 100);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpuid/models", test_models);
    g_test_add_func("/cpuid/properties", test_properties);
    g_test_add_func("/cpuid/restrict", test_restrict);
    g_test_add_func("/cpuid/32bit", test_32bit);
    g_test_add_func("/cpuid/topology", test_topology);
    g_test_add_func("/cpuid/clock-scale", test_clock_scale);
    return g_test_run();
}
