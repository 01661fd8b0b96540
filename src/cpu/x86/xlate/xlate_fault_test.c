/* Faults in the middle of an instruction leave everything as it was; accesses across pages. */
#include "cpu/x86/xlate/xlate_testing.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

/* ---- faults in the middle ---- */

struct faulty {
    const char *name;
    uint8_t code[12];
    unsigned len;
};

/* With RSP in RBX's place when `rsp`; RBX and RSP name the absent page. */
static void check_fault(const struct faulty *f, uint64_t rsp, uint64_t cr2)
{
    uint64_t before[16];
    static const uint16_t flags = VIV_AR_CF | VIV_AR_SF | VIV_AR_PF;

    load(TEST_CODE + 1, f->code, f->code + f->len);
    t->ram[TEST_CODE] = 0x90;
    for (unsigned n = 0; n < 16; n++)
        c->gpr[n] = 0x1111111111111111ull * n;
    c->gpr[VIV_RBX] = SMALL + 0x1000;
    c->gpr[VIV_RCX] = 4;
    c->gpr[VIV_RSI] = TEST_DATA;
    c->gpr[VIV_RDI] = SMALL + 0x1000;
    c->gpr[VIV_RBP] = SMALL + 0x1000;
    c->gpr[VIV_RSP] = rsp;
    memcpy(before, c->gpr, sizeof(before));
    c->arith = flags;
    c->rip = c->next_rip = TEST_CODE;
    c->halted = false;
    c->cr2 = 0;
    g_test_message("%s", f->name);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
    g_assert_cmphex(c->cr2, ==, cr2);
    g_assert_cmphex(frame(0), ==, TEST_CODE + 1);
    g_assert_cmphex(frame(2) & VIV_FL_ARITH, ==, viv_arith_to_flags(flags));
    g_assert_cmphex(frame(3), ==, rsp);
    before[VIV_RSP] = c->gpr[VIV_RSP];
    g_assert_cmpmem(c->gpr, sizeof(before), before, sizeof(before));
}

static void test_fault_stack(void)
{
    static const struct faulty push[] = {
        {"push reg", {0x50}, 1},          {"push imm", {0x6a, 5}, 2},          {"push mem", {0xff, 0x36}, 2},
        {"pushf", {0x9c}, 1},             {"call rel", {0xe8, 0, 1, 0, 0}, 5}, {"call reg", {0xff, 0xd6}, 2},
        {"call mem", {0xff, 0x16}, 2},    {"enter", {0xc8, 8, 0, 0}, 4},       {"push fs", {0x0f, 0xa0}, 2},
        {"push rsp", {0x54}, 1},          {"push16", {0x66, 0x50}, 2},
    };
    static const struct faulty pop[] = {
        {"pop reg", {0x58}, 1},  {"pop mem", {0x8f, 0x06}, 2}, {"ret", {0xc3}, 1}, {"ret imm", {0xc2, 8, 0}, 3},
        {"popf", {0x9d}, 1},     {"pop rsp", {0x5c}, 1},       {"leave", {0xc9}, 1}, {"iret", {0x48, 0xcf}, 2},
    };

    start(NULL);
    map(SMALL, PAGE_1 | 7);
    map(SMALL + 0x2000, PAGE_2 | 7);
    for (unsigned again = 0; again < 2; again++) {
        for (unsigned n = 0; n < G_N_ELEMENTS(push); n++)
            check_fault(&push[n], SMALL + 0x2000, push[n].code[0] == 0x66 ? SMALL + 0x1ffe : SMALL + 0x1ff8);
        for (unsigned n = 0; n < G_N_ELEMENTS(pop); n++)
            check_fault(&pop[n], SMALL + 0x1000, SMALL + 0x1000);
    }
    finish();
}

/* Two memory operands: the second fault leaves the stack pointer where it was too. */
static void test_fault_pop_memory(void)
{
    static const struct faulty f[] = {
        {"pop to memory", {0x8f, 0x03}, 2},    {"pop to memory by rsp", {0x8f, 0x84, 0x24, 0xf8, 0x0f, 0, 0}, 7},
        {"push from memory", {0xff, 0x33}, 2}, {"call memory", {0xff, 0x13}, 2},
    };

    start(NULL);
    map(SMALL, PAGE_1 | 7);
    check_fault(&f[0], TEST_STACK, SMALL + 0x1000);
    check_fault(&f[1], SMALL, SMALL + 0x1000); /* RSP counts after the pop */
    check_fault(&f[2], TEST_STACK, SMALL + 0x1000);
    check_fault(&f[3], TEST_STACK, SMALL + 0x1000);
    finish();
}

static void test_fault_memory(void)
{
    static const struct faulty f[] = {
        {"mov load", {0x48, 0x8b, 0x03}, 3},        {"mov store", {0x48, 0x89, 0x03}, 3},
        {"add store", {0x48, 0x01, 0x03}, 3},       {"adc load", {0x48, 0x13, 0x03}, 3},
        {"lock xadd", {0xf0, 0x0f, 0xc1, 0x03}, 4}, {"xchg", {0x87, 0x03}, 2},
        {"cmpxchg", {0x0f, 0xb1, 0x13}, 3},         {"lock cmpxchg16b", {0xf0, 0x48, 0x0f, 0xc7, 0x0b}, 5},
        {"shl", {0xd3, 0x23}, 2},                   {"inc", {0xff, 0x03}, 2},
        {"mul", {0xf7, 0x23}, 2},                   {"div", {0xf7, 0x33}, 2},
        {"bts", {0x0f, 0xab, 0x03}, 3},             {"movups load", {0x0f, 0x10, 0x03}, 3},
        {"movaps store", {0x0f, 0x29, 0x03}, 3},    {"movsb", {0xa4}, 1},
        {"rep movsb", {0xf3, 0xa4}, 2},             {"rep stosq", {0xf3, 0x48, 0xab}, 3},
        {"movbe", {0x0f, 0x38, 0xf1, 0x03}, 4},     {"sete", {0x0f, 0x94, 0x03}, 3},
        {"cmove", {0x0f, 0x44, 0x03}, 3},           {"fstp", {0xdd, 0x1b}, 2},
    };

    start(NULL);
    c->fpu.ftw = 0xff;
    for (unsigned again = 0; again < 2; again++) {
        for (unsigned n = 0; n < G_N_ELEMENTS(f); n++) {
            uint8_t tags = c->fpu.ftw;

            if (!strcmp(f[n].name, "bts"))
                continue; /* its bit offset leads elsewhere */
            check_fault(&f[n], TEST_STACK, SMALL + 0x1000);
            g_assert_cmphex(c->fpu.ftw, ==, tags);
        }
    }
    finish();
}

/* What lies on the first page is not stored when the second is not there. */
static void test_fault_crossing(void)
{
    static const struct faulty f[] = {
        {"mov", {0x48, 0x89, 0x43, 0xfc}, 4},     {"add", {0x48, 0x01, 0x43, 0xfc}, 4},
        {"movups", {0x0f, 0x11, 0x43, 0xf7}, 4},  {"xchg", {0x48, 0x87, 0x43, 0xff}, 4},
        {"vmovups", {0xc5, 0xfc, 0x11, 0x43, 0xe1}, 5}, {"mov imm", {0x48, 0xc7, 0x43, 0xfc, 1, 2, 3, 4}, 8},
        {"movnti", {0x0f, 0xc3, 0x43, 0xfe}, 4},  {"fst", {0xdd, 0x53, 0xfc}, 3},
    };
    uint8_t page[4096];

    start(NULL);
    c->cr4 |= VIV_CR4_OSXSAVE;
    c->xcr0 = 7;
    c->fpu.ftw = 0xff;
    viv_x86_update_mode(c);
    memset(page, 0xa5, sizeof(page));
    load(PAGE_1, page, page + sizeof(page));
    map(SMALL, PAGE_1 | 7);
    for (unsigned again = 0; again < 2; again++) {
        for (unsigned n = 0; n < G_N_ELEMENTS(f); n++) {
            check_fault(&f[n], TEST_STACK, SMALL + 0x1000);
            g_assert_cmpmem(t->ram + PAGE_1, 4096, page, 4096);
        }
    }
    finish();
}

/* Reads across two pages that are known need no interpreter, and are checked like others: an aligned operand that is not raises #GP. */
GUEST(read_across, "0: mov -4(%rbx), %rax\n"
                   "movups -9(%rbx), %xmm0\n"
                   "movq %xmm0, %rdx\n"
                   "dec %ecx\n"
                   "jnz 0b\n"
                   "hlt");
GUEST(read_across_aligned, "movaps -8(%rbx), %xmm0\nhlt");

static void test_read_across(void)
{
    start(NULL);
    for (unsigned n = 0; n < 16; n++) {
        t->ram[PAGE_1 + 0xff0 + n] = (uint8_t)(0x10 + n);
        t->ram[PAGE_2 + n] = (uint8_t)(0x80 + n);
    }
    map(SMALL, PAGE_1 | 7);
    map(SMALL + 0x1000, PAGE_2 | 7);
    LOAD(TEST_CODE, read_across);
    c->gpr[VIV_RBX] = SMALL + 0x1000;
    c->gpr[VIV_RCX] = 1000;
    run(TEST_CODE);
    g_assert_cmphex(c->gpr[VIV_RAX], ==, 0x838281801f1e1d1cull);
    g_assert_cmphex(c->gpr[VIV_RDX], ==, 0x1e1d1c1b1a191817ull);
    g_assert_cmpuint(stats().interp_insns, <, 20);
    LOAD(TEST_CODE, read_across_aligned);
    c->rip = c->next_rip = TEST_CODE;
    c->halted = false;
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_GP);
    finish();
}

/* A call has stored its return address when its target turns out not to be canonical; the stack may be code. */
static void test_call_target(void)
{
    static const uint8_t code[] = {0x90, 0xff, 0xd3}; /* call *%rbx */
    static const uint32_t stack[] = {TEST_STACK, TEST_CODE + 0x800, TEST_STACK, TEST_CODE + 0x800};

    start(NULL);
    for (unsigned n = 0; n < G_N_ELEMENTS(stack); n++) {
        load(TEST_CODE, code, code + sizeof(code));
        c->gpr[VIV_RBX] = 0x0000800000000000ull;
        c->gpr[VIV_RSP] = stack[n];
        c->rip = c->next_rip = TEST_CODE;
        c->halted = false;
        g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
        g_assert_cmpint(test_cpu_exception(t), ==, VIV_GP);
        g_assert_cmphex(frame(0), ==, TEST_CODE + 1);
        g_assert_cmphex(frame(3), ==, stack[n]);
        g_assert_cmphex(viv_ld_le64(t->ram + stack[n] - 8), ==, TEST_CODE + 3);
    }
    finish();
}

/* ---- RSP that waits (group.c) ---- */

/* PUSH or POP, then a fault: what is pushed with it has all of them. */
static void test_fault_behind_stack(void)
{
    static const struct {
        const char *name;
        uint8_t code[16];
        unsigned len, fault; /* where the one that faults lies */
        int sp;
    } f[] = {
        {"push, push, load", {0x50, 0x53, 0x48, 0x8b, 0x03, 0x5a, 0xc3}, 7, 2, -16},
        {"pop, pop, store", {0x5a, 0x5e, 0x48, 0x89, 0x03, 0x5f}, 6, 2, 16},
        {"push, mov, pop, pop, load", {0x50, 0x89, 0xc2, 0x5e, 0x5f, 0x48, 0x8b, 0x03}, 8, 5, 8},
        {"push, lea of rsp, push rsp, load", {0x50, 0x48, 0x8d, 0x54, 0x24, 4, 0x54, 0x48, 0x8b, 0x03}, 10, 7, -16},
        {"pop, pop, ret to an address that is not canonical", {0x5a, 0x5e, 0xc3}, 3, 2, 16},
        {"push, push, divide", {0x50, 0x53, 0x31, 0xff, 0xf7, 0xf7}, 6, 4, -16},
    };

    start(NULL);
    for (unsigned n = 0; n < 2 * G_N_ELEMENTS(f); n++) {
        unsigned k = n / 2;

        g_test_message("%s", f[k].name);
        load(TEST_CODE, f[k].code, f[k].code + f[k].len);
        viv_st_le64(t->ram + TEST_STACK + 16, 0x1234567812345678ull);
        c->gpr[VIV_RBX] = SMALL + 0x1000;
        c->gpr[VIV_RSP] = TEST_STACK;
        c->rip = c->next_rip = TEST_CODE;
        c->halted = false;
        g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
        g_assert_cmpint(test_cpu_exception(t), ==, k == 4 ? VIV_GP : k == 5 ? VIV_DE : VIV_PF);
        g_assert_cmphex(frame(0), ==, TEST_CODE + f[k].fault);
        g_assert_cmphex(frame(3), ==, TEST_STACK + f[k].sp);
        if (k == 3) /* what PUSH RSP has stored, and LEA computed */
            g_assert_cmphex(viv_ld_le64(t->ram + TEST_STACK - 16), ==, TEST_STACK - 8);
        if (k == 3)
            g_assert_cmphex(c->gpr[VIV_RDX], ==, TEST_STACK - 4);
    }
    finish();
}

GUEST(deposit, "push %rax\n push %rbx\n pdep %rsp, %rbp, %rdi\n push %rax\n push %rbx\n pop %rbx\n pop %rax\n hlt");

/* RSP as an instruction's third operand. */
static void test_stack_operand(void)
{
    start(NULL);
    LOAD(TEST_CODE, deposit);
    for (unsigned n = 0; n < 2; n++) {
        c->gpr[VIV_RSP] = TEST_STACK;
        c->gpr[VIV_RBP] = UINT64_MAX;
        run(TEST_CODE);
        g_assert_cmphex(c->gpr[VIV_RDI], ==, TEST_STACK - 16);
    }
    finish();
}

/* ---- flags that were lost (flags.c) ---- */

static uint64_t flags_of_run(const uint8_t *code, unsigned len, int exception)
{
    load(TEST_CODE, code, code + len);
    for (unsigned n = 0; n < 16; n++)
        c->gpr[n] = 0x1111111111111111ull * n;
    c->gpr[VIV_RDX] = 0x80000000fffffff9ull;
    c->gpr[VIV_RSI] = 0x7fffffff0000000cull;
    c->gpr[VIV_RBX] = SMALL + 0x1000;
    c->gpr[VIV_RSP] = TEST_STACK;
    c->arith = VIV_AR_CF | VIV_AR_SF | VIV_AR_PF;
    c->rip = c->next_rip = TEST_CODE;
    c->halted = false;
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    if (!exception)
        return viv_arith_to_flags(c->arith);
    g_assert_cmpint(test_cpu_exception(t), ==, exception);
    return frame(2) & VIV_FL_ARITH;
}

/* A load that faults between what makes flags and what reads or destroys them. */
static void test_fault_flags(void)
{
    static const struct faulty makers[] = {
        {"cmp", {0x48, 0x39, 0xf2}, 3},        {"cmp imm", {0x83, 0xfa, 5}, 3},        {"cmp byte", {0x40, 0x38, 0xf2}, 3},
        {"test", {0x85, 0xf2}, 2},             {"test imm", {0xf7, 0xc2, 8, 0, 0, 0}, 6}, {"and", {0x21, 0xf2}, 2},
        {"and imm", {0x48, 0x83, 0xe2, 0x10}, 4}, {"or", {0x48, 0x09, 0xf2}, 3},       {"xor", {0x31, 0xd2}, 2},
        {"sub", {0x48, 0x29, 0xf2}, 3},        {"sub 32", {0x29, 0xf2}, 2},            {"sub imm", {0x83, 0xea, 0xfa}, 3},
        {"sub rsp", {0x48, 0x83, 0xec, 8}, 4}, {"sub itself", {0x29, 0xd2}, 2},        {"add", {0x48, 0x01, 0xf2}, 3},
        {"add 32", {0x01, 0xf2}, 2},           {"add imm", {0x48, 0x83, 0xc2, 7}, 4},  {"add least", {0x81, 0xc2, 0, 0, 0, 0x80}, 6},
        {"add itself", {0x01, 0xd2}, 2},       {"add word", {0x66, 0x01, 0xf2}, 3},    {"inc", {0xff, 0xc2}, 2},
        {"shl", {0xc1, 0xe2, 3}, 3},           {"neg", {0xf7, 0xda}, 2},               {"cmp r9", {0x4c, 0x39, 0xca}, 3},
        {"add ah", {0x00, 0xf4}, 2},
    };
    static const uint8_t between[][4] = {
        {0x90, 0x90, 0x90, 0x90}, {0x48, 0x89, 0xc2, 0x90} /* mov rdx, rax */, {0x48, 0x8b, 0x3c, 0x24} /* mov rdi, [rsp] */,
    };
    static const uint8_t after[][3] = {{0x85, 0xc0, 0xf4} /* test */, {0x74, 0, 0xf4} /* jz */};

    start(NULL);
    map(SMALL, PAGE_1 | 7);
    for (unsigned n = 0; n < G_N_ELEMENTS(makers); n++) {
        for (unsigned k = 0; k < 2 * G_N_ELEMENTS(between); k++) {
            const struct faulty *f = &makers[n];
            uint8_t code[32];
            unsigned len = f->len;
            uint64_t expected;

            g_test_message("%s, %u", f->name, k);
            memcpy(code, f->code, len);
            code[len] = 0xf4;
            expected = flags_of_run(code, len + 1, 0);
            memcpy(code + len, between[k / 2], 4);
            len += 4;
            memcpy(code + len, (const uint8_t[]){0x48, 0x8b, 0x03}, 3); /* mov rax, [rbx] */
            memcpy(code + len + 3, after[k % 2], 3);
            g_assert_cmphex(flags_of_run(code, len + 6, VIV_PF), ==, expected);
            g_assert_cmphex(frame(0), ==, TEST_CODE + len);
        }
    }
    finish();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate/fault/stack", test_fault_stack);
    g_test_add_func("/xlate/fault/two-operands", test_fault_pop_memory);
    g_test_add_func("/xlate/fault/memory", test_fault_memory);
    g_test_add_func("/xlate/fault/crossing", test_fault_crossing);
    g_test_add_func("/xlate/fault/call-target", test_call_target);
    g_test_add_func("/xlate/read-across", test_read_across);
    g_test_add_func("/xlate/fault/flags", test_fault_flags);
    g_test_add_func("/xlate/fault/behind-stack", test_fault_behind_stack);
    g_test_add_func("/xlate/group/stack-operand", test_stack_operand);
    return run_tests();
}
