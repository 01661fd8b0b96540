/* Entering and leaving handlers: what lies on the stack, which error code, which privilege; nested faults up to the
 * third. Each case runs real instructions on the interpreter. */
#include "base/bytes.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/test_cpu.h"

#include <glib.h>
#include <string.h>

#define TSS 0x2a00u

static void code(struct test_cpu *t, const char *bytes, unsigned len)
{
    test_cpu_code(t, bytes, len);
}
#define CODE(t, s) code(t, s, sizeof(s) - 1)

static uint32_t word(struct test_cpu *t, uint64_t at)
{
    return viv_ld_le32(t->ram + at);
}

/* A 64-bit TSS with RSP0, IST1 and a user code and data segment in the GDT. */
static void add_user(struct test_cpu *t)
{
    uint8_t *gdt = t->ram + TEST_GDT;

    viv_st_le64(gdt + 0x18, 0x00affb000000ffffull);
    viv_st_le64(gdt + 0x20, 0x00cff3000000ffffull);
    t->c->seg[VIV_TR] = (struct viv_seg){.sel = 0x28, .base = TSS, .limit = 0x67, .attr = 0x8b};
    viv_st_le64(t->ram + TSS + 4, 0x70000);
    viv_st_le64(t->ram + TSS + 0x24, 0x60000);
}

static void to_user(struct test_cpu *t)
{
    t->c->seg[VIV_CS] = (struct viv_seg){.sel = 0x1b, .limit = 0xffffffff, .attr = 0xa0fb};
    t->c->seg[VIV_SS] = (struct viv_seg){.sel = 0x23, .limit = 0xffffffff, .attr = 0xc0f3};
    viv_x86_update_mode(t->c);
    g_assert_cmpuint(t->c->cpl, ==, 3);
}

static void test_ud64(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    t->c->gpr[VIV_RSP] = TEST_STACK - 3; /* the frame is aligned down */
    CODE(t, "\x0f\x0b");
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_UD);
    g_assert_cmphex(t->c->gpr[VIV_RSP], ==, TEST_STACK - 16 - 40);
    g_assert_cmphex(word(t, TEST_STACK - 56), ==, TEST_CODE);
    g_assert_cmphex(word(t, TEST_STACK - 48), ==, 8);
    g_assert_cmphex(word(t, TEST_STACK - 40) & VIV_FL_RF, ==, VIV_FL_RF);
    g_assert_cmphex(word(t, TEST_STACK - 32), ==, TEST_STACK - 3);
    g_assert_cmphex(word(t, TEST_STACK - 24), ==, 16);
}

/* From CPL 3: RSP0, null SS, and back by IRETQ to the same place. */
static void test_user_fault(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    add_user(t);
    CODE(t, "\xf4"); /* HLT at CPL 3: #GP(0) */
    to_user(t);
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_GP);
    g_assert_cmpuint(t->c->cpl, ==, 0);
    g_assert_cmphex(t->c->gpr[VIV_RSP], ==, 0x70000 - 48);
    g_assert_cmphex(t->c->seg[VIV_SS].sel, ==, 0);
    g_assert_cmphex(word(t, 0x70000 - 48), ==, 0);
    g_assert_cmphex(word(t, 0x70000 - 40), ==, TEST_CODE);
    g_assert_cmphex(word(t, 0x70000 - 32), ==, 0x1b);
    g_assert_cmphex(word(t, 0x70000 - 16), ==, TEST_STACK);
    g_assert_cmphex(word(t, 0x70000 - 8), ==, 0x23);
}

static void test_ist(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    add_user(t);
    t->ram[TEST_IDT + VIV_UD * 16 + 4] = 1;
    CODE(t, "\x0f\x0b");
    test_cpu_run(t);
    g_assert_cmphex(t->c->gpr[VIV_RSP], ==, 0x60000 - 40);
}

/* INT n through a gate of DPL 0 from CPL 3: #GP with the IDT bit. */
static void test_int_dpl(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    add_user(t);
    CODE(t, "\xcd\x05");
    to_user(t);
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_GP);
    g_assert_cmphex(word(t, 0x70000 - 48), ==, 5 * 8 + 2);
    g_assert_cmphex(word(t, 0x70000 - 40), ==, TEST_CODE);
}

static void test_not_present_gate(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_PROT32);

    t->ram[TEST_IDT + VIV_UD * 8 + 5] = 0x0e;
    CODE(t, "\x0f\x0b");
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_NP);
    g_assert_cmphex(word(t, t->c->gpr[VIV_RSP]), ==, VIV_UD * 8 + 3); /* IDT and EXT */
}

/* #GP whose gate cannot be used, then #DF; without a #DF gate: shutdown (table 6-5). */
static void test_double_and_triple(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    static const char bad[] = "\x66\xb8\x33\x00\x8e\xd8"; /* mov ax, 33h; mov ds, ax: beyond the GDT's rights */

    t->ram[TEST_IDT + VIV_GP * 16 + 5] = 0x80; /* type 0 */
    CODE(t, bad);
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_DF);
    g_assert_cmphex(word(t, t->c->gpr[VIV_RSP]), ==, 0);

    t = test_cpu_get(VIV_MODE_LONG);
    t->ram[TEST_IDT + VIV_GP * 16 + 5] = 0x80;
    t->ram[TEST_IDT + VIV_DF * 16 + 5] = 0x80;
    CODE(t, bad);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_SHUTDOWN);
}

static void test_real_int(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_REAL);

    t->c->eflags |= VIV_FL_IF;
    CODE(t, "\xcd\x05");
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, 5);
    g_assert_cmphex(t->c->gpr[VIV_RSP], ==, 0x7000 - 6);
    g_assert_cmphex(word(t, 0x7000 - 6), ==, 2 | (TEST_CODE >> 4) << 16);
    g_assert_cmphex(viv_ld_le16(t->ram + 0x7000 - 2) & VIV_FL_IF, ==, VIV_FL_IF);
    g_assert_false(t->c->eflags & VIV_FL_IF);
}

/* TF: the trap comes after the next instruction, with BS, and not after MOV SS. */
static void test_single_step(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    /* mov ax, 16; pushf; or qword [rsp], 100h; popf; nop; nop */
    CODE(t, "\x9c\x48\x81\x0c\x24\x00\x01\x00\x00\x9d\x90\x90\x90");
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_DB);
    g_assert_cmphex(word(t, t->c->gpr[VIV_RSP]), ==, TEST_CODE + 11);
    g_assert_cmphex(t->c->dr[6] & 0x4000, ==, 0x4000);
    g_assert_cmphex(word(t, t->c->gpr[VIV_RSP] + 16) & VIV_FL_TF, ==, VIV_FL_TF);

    t = test_cpu_get(VIV_MODE_LONG);
    /* mov ax, 16; pushf; or qword [rsp], 100h; popf; mov ss, ax; nop; nop */
    CODE(t, "\x66\xb8\x10\x00\x9c\x48\x81\x0c\x24\x00\x01\x00\x00\x9d\x8e\xd0\x90\x90\x90");
    test_cpu_run(t);
    g_assert_cmphex(word(t, t->c->gpr[VIV_RSP]), ==, TEST_CODE + 17);
}

/* A breakpoint at a repeated instruction comes once, not with each iteration; what interrupts these pushes RF. */
static void test_repeat_rf(void)
{
    /* or dword [rsp + 16], RF; inc rbx; iretq */
    static const uint8_t counts[] = {0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0x48, 0xff, 0xc3, 0x48, 0xcf};
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    memcpy(t->ram + TEST_HANDLERS + 16, counts, sizeof(counts));
    t->c->gpr[VIV_RCX] = 5;
    t->c->gpr[VIV_RDI] = TEST_DATA;
    t->c->dr[0] = TEST_CODE + 1;
    t->c->dr[7] = VIV_DR7_FIXED | 2;
    CODE(t, "\x90\xf3\xaa\xf4"); /* nop; rep stosb; hlt */
    viv_x86_update_mode(t->c);
    test_cpu_run(t);
    g_assert_cmphex(t->c->rip, ==, TEST_CODE + 4);
    g_assert_cmpuint(t->c->gpr[VIV_RBX], ==, 1);

    for (unsigned n = 1; n < 3; n++) { /* a trap after the first iteration, of n */
        t = test_cpu_get(VIV_MODE_LONG);
        t->c->gpr[VIV_RCX] = n;
        t->c->gpr[VIV_RDI] = TEST_DATA;
        t->c->eflags |= VIV_FL_TF;
        CODE(t, "\xf3\xaa\xf4");
        viv_x86_update_mode(t->c);
        test_cpu_run(t);
        g_assert_cmpint(test_cpu_exception(t), ==, VIV_DB);
        g_assert_cmphex(word(t, t->c->gpr[VIV_RSP]), ==, n > 1 ? TEST_CODE : TEST_CODE + 2);
        g_assert_cmphex(word(t, t->c->gpr[VIV_RSP] + 16) & VIV_FL_RF, ==, n > 1 ? VIV_FL_RF : 0);
    }
}

/* A fault's RF also goes where a task gate saves the flags. */
static void test_task_gate_rf(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_PROT32);
    uint8_t *new = t->ram + TSS + 0x100, *gdt = t->ram + TEST_GDT;

    t->c->gdtr.limit = 0x3f;
    viv_st_le64(gdt + 0x30, 0x0000890000000067ull | (uint64_t)(TSS + 0x100) << 16);
    viv_st_le64(gdt + 0x38, 0x00008b0000000067ull | (uint64_t)TSS << 16);
    t->c->seg[VIV_TR] = (struct viv_seg){.sel = 0x38, .base = TSS, .limit = 0x67, .attr = 0x8b};
    memset(t->ram + TSS, 0, 0x200);
    viv_st_le32(new + 0x20, TEST_HANDLERS);
    viv_st_le32(new + 0x24, 2);
    viv_st_le32(new + 0x38, TEST_STACK);
    for (unsigned n = 0; n < 4; n++) /* ES, CS, SS, DS */
        viv_st_le32(new + 0x48 + n * 4, n == 1 ? 8 : 16);
    viv_st_le64(t->ram + TEST_IDT + VIV_UD * 8, 0x0000850000300000ull);
    CODE(t, "\x0f\x0b");
    test_cpu_run(t);
    g_assert_cmphex(t->c->rip, ==, TEST_HANDLERS + 1);
    g_assert_cmphex(word(t, TSS + 0x20), ==, TEST_CODE);
    g_assert_cmphex(word(t, TSS + 0x24) & VIV_FL_RF, ==, VIV_FL_RF);
    g_assert_false(t->c->eflags & VIV_FL_RF);
}

/* mov byte [TEST_ABSENT], 1, watched: the fault is all there is; the breakpoint comes when the access is done. */
static void test_watched_fault(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    t->c->dr[0] = TEST_ABSENT;
    t->c->dr[7] = VIV_DR7_FIXED | 2 | 1 << 16;
    CODE(t, "\xc6\x04\x25\x00\x00\x00\x03\x01\xf4");
    viv_x86_update_mode(t->c);
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
    g_assert_cmphex(t->c->dr[6], ==, VIV_DR6_FIXED);

    /* movsb from a watched byte to where nothing is: the read was done, the instruction was not */
    t = test_cpu_get(VIV_MODE_LONG);
    t->c->gpr[VIV_RSI] = t->c->dr[0] = TEST_DATA;
    t->c->gpr[VIV_RDI] = TEST_ABSENT;
    t->c->dr[7] = VIV_DR7_FIXED | 2 | 3 << 16;
    CODE(t, "\xa4\xf4");
    viv_x86_update_mode(t->c);
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
    g_assert_cmphex(t->c->dr[6], ==, VIV_DR6_FIXED);

    /* mov ss, [TEST_DATA], watched; mov byte [TEST_ABSENT], 1: what was held off is not lost */
    t = test_cpu_get(VIV_MODE_LONG);
    t->ram[TEST_DATA] = 16;
    t->c->dr[0] = TEST_DATA;
    t->c->dr[7] = VIV_DR7_FIXED | 2 | 3 << 16;
    CODE(t, "\x8e\x14\x25\x00\x00\x02\x00\xc6\x04\x25\x00\x00\x00\x03\x01\xf4");
    viv_x86_update_mode(t->c);
    test_cpu_run(t);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_DB);
    g_assert_cmphex(word(t, t->c->gpr[VIV_RSP]), ==, TEST_HANDLERS + 16 * VIV_PF);
    g_assert_cmphex(t->c->dr[6] & 15, ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/deliver/ud-64", test_ud64);
    g_test_add_func("/deliver/user-fault", test_user_fault);
    g_test_add_func("/deliver/ist", test_ist);
    g_test_add_func("/deliver/watched-fault", test_watched_fault);
    g_test_add_func("/deliver/repeat-rf", test_repeat_rf);
    g_test_add_func("/deliver/task-gate-rf", test_task_gate_rf);
    g_test_add_func("/deliver/int-dpl", test_int_dpl);
    g_test_add_func("/deliver/not-present-gate", test_not_present_gate);
    g_test_add_func("/deliver/double-and-triple", test_double_and_triple);
    g_test_add_func("/deliver/real-int", test_real_int);
    g_test_add_func("/deliver/single-step", test_single_step);
    return g_test_run();
}
