/* x87 and MMX: state that stays in the host's unit, and what becomes of it around C code. */
#include "cpu/x86/xlate/xlate_testing.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

#define ROUNDS 5000

static void begin(void)
{
    start(NULL);
    c->cr0 |= VIV_CR0_NE;
    c->seg[VIV_DS].sel = 0x18;
    viv_x86_update_mode(c);
}

static double data(unsigned n)
{
    double v;

    memcpy(&v, t->ram + TEST_DATA + 8 * n, 8);
    return v;
}

GUEST(series, "fninit\n fld1\n fldz\n mov $5000, %ecx\n"
              "1: fld1\n fdiv %st(2), %st\n faddp %st, %st(1)\n"
              "fld1\n faddp %st, %st(2)\n fstl 0x20000\n dec %ecx\n jnz 1b\n fstpl 0x20008\n hlt");

static void test_native(void)
{
    long double sum = 0;
    uint64_t helped;

    begin();
    LOAD(TEST_CODE, series);
    run(TEST_CODE);
    for (unsigned n = 1; n <= ROUNDS; n++)
        sum += 1.0L / n;
    g_assert_true(data(0) == (double)sum && data(1) == (double)sum);
    helped = stats().helper_calls;
    run(TEST_CODE);
    g_assert_cmpuint(stats().helper_calls - helped, <, 10); /* FNINIT, HLT */
    g_assert_cmphex(c->fpu.fip, ==, TEST_CODE + (unsigned)(series_end - series) - 8);
    g_assert_cmphex(c->fpu.fop, ==, 0x51c); /* DD 1C 25 */
    g_assert_cmphex(c->fpu.fdp, ==, TEST_DATA + 8);
    g_assert_cmphex(c->fpu.fcs, ==, c->seg[VIV_CS].sel);
    g_assert_cmphex(c->fpu.fds, ==, 0x18);
    g_assert_cmphex(c->fpu.ftw, ==, 0x80); /* the counter in ST(0), physical 7 */
    finish();
}

GUEST(single, "fninit\n movw $0x07f, 0x20000\n fldcw 0x20000\n fld1\n fldpi\n fldpi\n fnstcw 0x20002\n hlt");

/* Our own code counts on an empty stack and 64 bits of mantissa. */
static void test_ours(void)
{
    struct {
        uint32_t fcw, fsw, ftw, rest[4];
    } env;

    begin();
    LOAD(TEST_CODE, single);
    for (unsigned n = 0; n < 3; n++) {
        run(TEST_CODE);
        __asm__("fnstenv %0\n fldenv %0" : "=m"(env));
        g_assert_cmphex(env.fcw & 0xffff, ==, 0x37f);
        g_assert_cmphex(env.ftw & 0xffff, ==, 0xffff);
        g_assert_cmphex(c->fpu.fcw, ==, 0x7f);
        g_assert_cmphex(viv_ld_le16(t->ram + TEST_DATA + 2), ==, 0x7f);
        g_assert_cmphex(c->fpu.fsw >> 11 & 7, ==, 5);
        g_assert_cmphex(c->fpu.ftw, ==, 0xe0);
    }
    finish();
}

GUEST(unmask, "fninit\n fld1\n fldz\n movw $0x37b, 0x20000\n fldcw 0x20000\n fdivrp %st, %st(1)\n nop\n fld1\n hlt");

/* FLDCW lets an exception through: the instruction after the one that had it is told. */
static void test_unmasked(void)
{
    begin();
    LOAD(TEST_CODE, unmask);
    for (unsigned n = 0; n < 3; n++) {
        run(TEST_CODE);
        g_assert_cmpint(test_cpu_exception(t), ==, VIV_MF);
        g_assert_cmphex(frame(0), ==, TEST_CODE + (unsigned)(unmask_end - unmask) - 3);
        g_assert_cmphex(c->fpu.fip, ==, TEST_CODE + (unsigned)(unmask_end - unmask) - 6);
        g_assert_cmphex(c->fpu.fsw & 0x84, ==, 0x84);
    }
    finish();
}

GUEST(ignore, "fninit\n fld1\n fldz\n movw $0x37b, 0x20000\n fldcw 0x20000\n fdivrp %st, %st(1)\n nop\n"
              "fld1\n fnstsw 0x20002\n fistpl 0x20008\n fnstenv 0x20010\n fldenv 0x20010\n fnstsw 0x20004\n"
              "movw $0x37f, 0x20000\n fldcw 0x20000\n fnstsw 0x20006\n hlt");

/* Without CR0.NE it goes to the board, which lets the next one run all the same. Nothing of it reaches the host. */
static void test_ignored(void)
{
    begin();
    c->cr0 &= ~(uint64_t)VIV_CR0_NE;
    LOAD(TEST_CODE, ignore);
    run(TEST_CODE);
    g_assert_cmphex(viv_ld_le16(t->ram + TEST_DATA + 2), ==, 0xa884); /* B, TOP 5, ES, ZE */
    g_assert_cmphex(viv_ld_le32(t->ram + TEST_DATA + 8), ==, 1);
    g_assert_cmphex(viv_ld_le16(t->ram + TEST_DATA + 4), ==, 0xb084);
    g_assert_cmphex(viv_ld_le16(t->ram + TEST_DATA + 6), ==, 0x3004);
    finish();
}

GUEST(misses, "fninit\n fld1\n fldl (%rbx)\n faddl 0x1000(%rbx)\n fstl 0x2000(%rbx)\n mov 0x8(%rbx), %rax\n"
              "faddl (%rsi)\n fstpl 0x2008(%rbx)\n hlt");

/* The TLB is filled by C code, in the middle of blocks and of instructions; a fault leaves what was there. */
static void test_misses(void)
{
    static const double one = 1.5, two = 2.25;

    begin();
    LOAD(TEST_CODE, misses);
    memcpy(t->ram + PAGE_1, &one, 8);
    memcpy(t->ram + PAGE_2, &two, 8);
    map(SMALL, PAGE_1 | 7);
    map(SMALL + 0x1000, PAGE_2 | 7);
    map(SMALL + 0x2000, PAGE_3 | 7);
    c->gpr[VIV_RBX] = SMALL;
    c->gpr[VIV_RSI] = SMALL;
    run(TEST_CODE);
    g_assert_cmpmem(t->ram + PAGE_3, 8, &(double){3.75}, 8);
    g_assert_cmpmem(t->ram + PAGE_3 + 8, 8, &(double){5.25}, 8);
    c->gpr[VIV_RSI] = SMALL + 0x3000;
    run(TEST_CODE);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
    g_assert_cmphex(c->fpu.fdp, ==, SMALL + 0x2000);
    g_assert_cmphex(c->fpu.fop, ==, 0x593); /* FST, not the FADD that did not happen */
    g_assert_cmphex(c->fpu.ftw, ==, 0xc0);
    finish();
}

GUEST(mmx, "fninit\n fld1\n fldpi\n movq (%rbx), %mm3\n paddd 8(%rbx), %mm3\n movq %mm3, 16(%rbx)\n"
           "cvtpi2ps %mm3, %xmm1\n movq2dq %mm3, %xmm2\n movdqu %xmm2, 32(%rbx)\n hlt");
GUEST(emms, "emms\n hlt");

static void test_mmx(void)
{
    static const uint32_t in[4] = {1, 0xffffffff, 41, 2}, out[2] = {42, 1};
    uint64_t helped;

    begin();
    c->cr4 |= VIV_CR4_OSFXSR;
    LOAD(TEST_CODE, mmx);
    LOAD(TEST_CODE + 0x1000, emms);
    for (unsigned n = 0; n < 3; n++) {
        c->gpr[VIV_RBX] = TEST_DATA;
        memcpy(t->ram + TEST_DATA, in, sizeof(in));
        helped = stats().helper_calls;
        run(TEST_CODE);
        g_assert_cmpuint(stats().helper_calls - helped, <=, 2);
        g_assert_cmpmem(t->ram + TEST_DATA + 16, 8, out, 8);
        g_assert_cmpmem(t->ram + TEST_DATA + 32, 8, out, 8);
        g_assert_cmpmem(c->fpu.zmm[1], 8, ((float[]){42, 1}), 8);
        g_assert_cmphex(c->fpu.fsw >> 11 & 7, ==, 0);
        g_assert_cmphex(c->fpu.ftw, ==, 0xff);
        run(TEST_CODE + 0x1000);
        g_assert_cmphex(c->fpu.ftw, ==, 0);
    }
    finish();
}

/* With CR0.TS translated code leaves the unit alone. */
static void test_switched(void)
{
    begin();
    LOAD(TEST_CODE, series);
    run(TEST_CODE);
    g_assert_cmpint(test_cpu_exception(t), ==, -1);
    c->cr0 |= VIV_CR0_TS;
    run(TEST_CODE + 2);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_NM);
    g_assert_cmphex(frame(0), ==, TEST_CODE + 2);
    c->cr0 &= ~(uint64_t)VIV_CR0_TS;
    finish();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate/x87/native", test_native);
    g_test_add_func("/xlate/x87/our-state", test_ours);
    g_test_add_func("/xlate/x87/unmasked", test_unmasked);
    g_test_add_func("/xlate/x87/ignored", test_ignored);
    g_test_add_func("/xlate/x87/tlb-misses", test_misses);
    g_test_add_func("/xlate/x87/mmx", test_mmx);
    g_test_add_func("/xlate/x87/switched", test_switched);
    return run_tests();
}
