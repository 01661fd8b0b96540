/* AVX-512 where the bare CPU in ring 3 is no oracle: what the system must have enabled, faults in the middle of gathers
 * and scatters with their progress, instructions on MMIO. Single results are tests/x86/diff's. */
#include "cpu/x86/interp/test_cpu.h"

#include <glib.h>
#include <string.h>

#define VADDPS_ZMM  0x62, 0xf1, 0x74, 0x48, 0x58, 0xd1 /* zmm2 = zmm1 + zmm1 */
#define VADDSS_EVEX 0x62, 0xf1, 0x76, 0x08, 0x58, 0xd1
#define KMOVW       0xc5, 0xf8, 0x92, 0xc8             /* k1 = eax */
#define HLT         0xf4

static bool host_has_avx512(void)
{
    uint32_t word[VIV_FW_COUNT];

    viv_cpuid_software_words(word);
    return word[VIV_FT_AVX512F >> 5] >> (VIV_FT_AVX512F & 31) & 1;
}

static struct test_cpu *ready(const void *code, unsigned len)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    t->cpuid->xcr0_mask = 0xe7;
    t->c->cr4 |= VIV_CR4_OSFXSR | VIV_CR4_OSXMMEXCPT | VIV_CR4_OSXSAVE;
    t->c->xcr0 = 0xe7;
    test_cpu_code(t, code, len);
    return t;
}

static int run(struct test_cpu *t)
{
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    return test_cpu_exception(t);
}

/* Every bit of XCR0 that AVX-512 needs, CR4.OSXSAVE, CR0.TS. */
static void enabled(void)
{
    static const uint8_t code[][7] = {{VADDPS_ZMM, HLT}, {VADDSS_EVEX, HLT}, {KMOVW, HLT}};

    for (unsigned n = 0; n < G_N_ELEMENTS(code); n++) {
        g_assert_cmpint(run(ready(code[n], 7)), ==, -1);
        for (unsigned bit = 1; bit < 8; bit++) {
            struct test_cpu *t = ready(code[n], 7);

            t->c->xcr0 &= ~(1ull << bit);
            g_assert_cmpint(run(t), ==, bit == 3 || bit == 4 ? -1 : VIV_UD);
        }
        struct test_cpu *t = ready(code[n], 7);
        t->c->cr0 |= VIV_CR0_TS;
        g_assert_cmpint(run(t), ==, VIV_NM);
        t = ready(code[n], 7);
        t->c->cr4 &= ~VIV_CR4_OSXSAVE;
        g_assert_cmpint(run(t), ==, VIV_UD);
    }
}

/* XCR0[7:5] go together, and with SSE and AVX (SDM 1, 13.3). */
static void xsetbv(void)
{
    static const uint8_t code[] = {0x0f, 0x01, 0xd1, HLT};
    static const struct {
        uint32_t v;
        int exception;
    } k[] = {{0xe7, -1}, {7, -1}, {3, -1}, {0x27, VIV_GP}, {0x67, VIV_GP}, {0xc7, VIV_GP}, {0xe3, VIV_GP}, {0xe1, VIV_GP}};

    for (unsigned n = 0; n < G_N_ELEMENTS(k); n++) {
        struct test_cpu *t = ready(code, sizeof(code));

        t->c->gpr[VIV_RAX] = k[n].v;
        t->c->gpr[VIV_RCX] = t->c->gpr[VIV_RDX] = 0;
        g_assert_cmpint(run(t), ==, k[n].exception);
        g_assert_cmphex(t->c->xcr0, ==, k[n].exception < 0 ? k[n].v : 0xe7);
    }
}

/* Element 5 is not mapped: those before it are done and their mask bits clear, the others as they were. */
static void put_indices(struct test_cpu *t, unsigned bad)
{
    uint32_t index[16];

    for (unsigned n = 0; n < 16; n++)
        index[n] = n == bad ? TEST_ABSENT - TEST_DATA : 8 * n;
    memcpy(t->c->fpu.zmm[20], index, 64);
    t->c->gpr[VIV_RAX] = TEST_DATA;
    t->c->fpu.k[2] = 0xfff6; /* 0 and 3 are off */
}

static void gather(void)
{
    static const uint8_t code[] = {0x62, 0xf2, 0x7d, 0x42, 0x90, 0x0c, 0x20, HLT}; /* vpgatherdd zmm1{k2}, [rax+zmm20] */
    struct test_cpu *t = ready(code, sizeof(code));
    uint32_t v[16];

    for (unsigned n = 0; n < 16; n++)
        memcpy(t->ram + TEST_DATA + 8 * n, &(uint32_t){100 + n}, 4);
    put_indices(t, 5);
    memset(t->c->fpu.zmm[1], 0xee, 64);
    g_assert_cmpint(run(t), ==, VIV_PF);
    g_assert_cmphex(t->c->cr2, ==, TEST_ABSENT);
    g_assert_cmphex(t->c->fpu.k[2], ==, 0xffe0);
    memcpy(v, t->c->fpu.zmm[1], 64);
    for (unsigned n = 0; n < 16; n++)
        g_assert_cmphex(v[n], ==, n < 5 && n != 0 && n != 3 ? 100 + n : 0xeeeeeeee);

    t = ready(code, sizeof(code));
    put_indices(t, 3); /* off: does not fault */
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->fpu.k[2], ==, 0);
}

static void scatter(void)
{
    static const uint8_t code[] = {0x62, 0xf2, 0x7d, 0x42, 0xa0, 0x0c, 0x20, HLT}; /* vpscatterdd [rax+zmm20]{k2}, zmm1 */
    struct test_cpu *t = ready(code, sizeof(code));

    memset(t->ram + TEST_DATA, 0, 256);
    memset(t->c->fpu.zmm[1], 0xee, 64);
    put_indices(t, 5);
    g_assert_cmpint(run(t), ==, VIV_PF);
    g_assert_cmphex(t->c->fpu.k[2], ==, 0xffe0);
    for (unsigned n = 0; n < 16; n++)
        g_assert_cmphex(t->ram[TEST_DATA + 8 * n], ==, n < 5 && n != 0 && n != 3 ? 0xee : 0);
}

/* A masked move whose dead elements lie beyond the end of memory; the same without opmask faults and changes nothing. */
static void suppressed(void)
{
    static const uint8_t masked[] = {0x62, 0xf1, 0x7f, 0xca, 0x6f, 0x08, HLT}; /* vmovdqu8 zmm1{k2}{z}, [rax] */
    static const uint8_t full[] = {0x62, 0xf1, 0x7f, 0x48, 0x6f, 0x08, HLT};
    struct test_cpu *t = ready(masked, sizeof(masked));

    t->c->gpr[VIV_RAX] = TEST_ABSENT - 3;
    t->c->fpu.k[2] = 0;
    memset(t->c->fpu.zmm[1], 0xee, 64);
    g_assert_cmpint(run(t), ==, -1);
    g_assert_cmphex(t->c->fpu.zmm[1][0], ==, 0);
    t = ready(full, sizeof(full));
    t->c->gpr[VIV_RAX] = TEST_ABSENT;
    memset(t->c->fpu.zmm[1], 0xee, 64);
    g_assert_cmpint(run(t), ==, VIV_PF);
    g_assert_cmphex(t->c->fpu.zmm[1][0], ==, 0xee);
}

/* Device registers: only the elements that are on are read. */
static void mmio(void)
{
    static const uint8_t code[] = {0x62, 0xf1, 0x7e, 0xca, 0x6f, 0x08, HLT}; /* vmovdqu32 zmm1{k2}{z}, [rax] */
    struct test_cpu *t = ready(code, sizeof(code));
    uint32_t v[16];

    t->c->gpr[VIV_RAX] = TEST_MMIO;
    t->c->fpu.k[2] = 2;
    g_assert_cmpint(run(t), ==, -1);
    memcpy(v, t->c->fpu.zmm[1], 64);
    g_assert_cmphex(v[0], ==, 0);
    g_assert_cmphex(v[1], !=, 0);
    g_assert_cmphex(v[2], ==, 0);
}

/* VEX and legacy writers of registers whose upper parts are in use (SDM 2A 2.3.10, 1 14.1). */
static void upper_parts(void)
{
    static const uint8_t vex[] = {0xc5, 0xf0, 0x58, 0xd1, HLT}, legacy[] = {0x0f, 0x58, 0xd1, HLT};
    struct test_cpu *t = ready(vex, sizeof(vex));

    memset(t->c->fpu.zmm[2], 0xee, 64);
    g_assert_cmpint(run(t), ==, -1);
    for (unsigned n = 16; n < 64; n++)
        g_assert_cmphex(t->c->fpu.zmm[2][n], ==, 0);
    t = ready(legacy, sizeof(legacy));
    memset(t->c->fpu.zmm[2], 0xee, 64);
    g_assert_cmpint(run(t), ==, -1);
    for (unsigned n = 16; n < 64; n++)
        g_assert_cmphex(t->c->fpu.zmm[2][n], ==, 0xee);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!host_has_avx512()) {
        g_print("1..0 # SKIP the host's CPU has no AVX-512 (F, BW, DQ, VL)\n");
        return 0;
    }
    g_test_add_func("/evex/enabled", enabled);
    g_test_add_func("/evex/xsetbv", xsetbv);
    g_test_add_func("/evex/gather", gather);
    g_test_add_func("/evex/scatter", scatter);
    g_test_add_func("/evex/suppressed", suppressed);
    g_test_add_func("/evex/mmio", mmio);
    g_test_add_func("/evex/upper-parts", upper_parts);
    return g_test_run();
}
