/* Code that changes, and pages that are elsewhere, move or end. */
#include "cpu/x86/xlate/xlate_testing.h"

#include "cpu/x86/mmu.h"
#include "mem/ram.h"

#include <glib.h>
#include <string.h>

/* ---- code that changes ---- */

GUEST(smc_next, "movb $2, 1f+1(%rip)\n"
                "1: mov $1, %eax\n"
                "hlt");

static void test_smc_next(void)
{
    start(NULL);
    for (unsigned n = 0; n < 4; n++) { /* from outside back to 1 each time */
        LOAD(TEST_CODE, smc_next);
        run(TEST_CODE);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, 2);
    }
    run(TEST_CODE); /* the store changes nothing any more */
    g_assert_cmpuint(c->gpr[VIV_RAX], ==, 2);
    finish();
}

GUEST(smc_later, "mov %bl, 1f+1(%rip)\n"
                 "add %rbx, %rsi\n"
                 "mov %rsi, %rdi\n"
                 "lea 3(%rdi), %rdx\n"
                 "1: mov $1, %eax\n"
                 "hlt");

static void test_smc_later(void)
{
    start(NULL);
    LOAD(TEST_CODE, smc_later);
    for (unsigned n = 0; n < 100; n++) {
        c->gpr[VIV_RBX] = n;
        run(TEST_CODE);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, n);
    }
    finish();
}

/* A loop whose body counts its own immediate up. */
GUEST(smc_loop, "xor %eax, %eax\n"
                "mov $50, %ecx\n"
                "0: 1: add $0x01000000, %eax\n"
                "addl $1, 1b+1(%rip)\n"
                "dec %ecx\n"
                "jnz 0b\n"
                "hlt");

static void test_smc_loop(void)
{
    start(NULL);
    for (unsigned n = 0; n < 3; n++) {
        LOAD(TEST_CODE, smc_loop);
        run(TEST_CODE);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, (uint32_t)(50 * 0x01000000u + 49 * 50 / 2));
    }
    finish();
}

GUEST(caller, "xor %ebx, %ebx\n"
              "mov $20, %ecx\n"
              "0: call *%rsi\n"
              "add %eax, %ebx\n"
              "incl 1(%rsi)\n"
              "dec %ecx\n"
              "jnz 0b\n"
              "hlt");
GUEST(callee, "mov $1, %eax\n"
              "ret");

static void test_smc_other_page(void)
{
    start(NULL);
    LOAD(TEST_CODE, caller);
    LOAD(TEST_CODE + 0x5000, callee);
    c->gpr[VIV_RSI] = TEST_CODE + 0x5000;
    run(TEST_CODE);
    g_assert_cmpuint(c->gpr[VIV_RBX], ==, 20 * 21 / 2);
    finish();
}

/* ---- pages that are elsewhere, or move ---- */

GUEST(where, "lea 0(%rip), %rax\n"
             "mov 1f(%rip), %ebx\n"
             "call 2f\n"
             "hlt\n"
             "1: .long 5\n"
             "2: mov (%rsp), %rcx\n"
             "ret");

/* One physical page at two linear addresses: what is relative to RIP is relative to the one in use. */
static void test_alias(void)
{
    start(NULL);
    LOAD(PAGE_1, where);
    map(SMALL, PAGE_1 | 7);
    map(SMALL + 0x7000, PAGE_1 | 7);
    for (unsigned n = 0; n < 8; n++) {
        uint32_t at = n & 1 ? SMALL + 0x7000 : SMALL;

        run(at);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, at + 7);
        g_assert_cmpuint(c->gpr[VIV_RBX], ==, 5);
        g_assert_cmpuint(c->gpr[VIV_RCX], ==, at + 18);
    }
    finish();
}

/* Written by one alias, executed by the other. */
GUEST(caller_alias, "xor %ebx, %ebx\n"
                    "mov $20, %ecx\n"
                    "0: call *%rsi\n"
                    "add %eax, %ebx\n"
                    "incl 1(%rdi)\n"
                    "dec %ecx\n"
                    "jnz 0b\n"
                    "hlt");

static void test_alias_smc(void)
{
    start(NULL);
    LOAD(TEST_CODE, caller_alias);
    map(SMALL + 0x1000, PAGE_2 | 7);
    map(SMALL + 0x3000, PAGE_2 | 7);
    for (unsigned n = 0; n < 4; n++) {
        LOAD(PAGE_2, callee);
        c->gpr[VIV_RSI] = SMALL + (n & 1 ? 0x1000 : 0x3000);
        c->gpr[VIV_RDI] = SMALL + (n & 1 ? 0x3000 : 0x1000);
        run(TEST_CODE);
        g_assert_cmpuint(c->gpr[VIV_RBX], ==, 20 * 21 / 2);
    }
    finish();
}

/* RSI: the function; RDI: its page table entry; RDX: the other page's. */
GUEST(remap, "xor %ebx, %ebx\n"
             "mov $10, %ecx\n"
             "0: call *%rsi\n"
             "add %eax, %ebx\n"
             "dec %ecx\n"
             "jnz 0b\n"
             "mov %rdx, (%rdi)\n"
             "invlpg (%rsi)\n"
             "shl $8, %ebx\n"
             "mov $10, %ecx\n"
             "0: call *%rsi\n"
             "add %eax, %ebx\n"
             "dec %ecx\n"
             "jnz 0b\n"
             "hlt");
GUEST(callee_7, "mov $7, %eax\n"
                "ret");

static void test_invlpg(void)
{
    start(NULL);
    LOAD(TEST_CODE, remap);
    LOAD(PAGE_1, callee);
    LOAD(PAGE_2, callee_7);
    for (unsigned n = 0; n < 4; n++) {
        map(SMALL, PAGE_1 | 7);
        viv_tlb_flush_page(c, SMALL);
        c->gpr[VIV_RSI] = SMALL;
        c->gpr[VIV_RDI] = SMALL_TABLE;
        c->gpr[VIV_RDX] = PAGE_2 | 7;
        run(TEST_CODE);
        g_assert_cmphex(c->gpr[VIV_RBX], ==, 10 << 8 | 70);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, 7);
    }
    finish();
}

/* A direct jump into a page, linked, then that page is another one. */
GUEST(jump_far, "mov $3, %ecx\n"
                "jmp . + 0x1000 - 5\n");
GUEST(arrive_1, "mov $1, %eax\n"
                "hlt");
GUEST(arrive_2, "mov $2, %eax\n"
                "hlt");

static void test_linked_page_moves(void)
{
    start(NULL);
    LOAD(PAGE_1, jump_far);
    LOAD(PAGE_2, arrive_1);
    LOAD(PAGE_3, arrive_2);
    map(SMALL, PAGE_1 | 7);
    for (unsigned n = 0; n < 6; n++) {
        bool second = n & 1;

        map(SMALL + 0x1000, (second ? PAGE_3 : PAGE_2) | 7);
        if (n < 4)
            viv_tlb_flush_page(c, SMALL + 0x1000);
        else
            viv_tlb_flush_all(c);
        for (unsigned again = 0; again < 3; again++) {
            run(SMALL);
            g_assert_cmpuint(c->gpr[VIV_RAX], ==, second ? 2 : 1);
        }
    }
    map(SMALL + 0x1000, 0);
    viv_tlb_flush_page(c, SMALL + 0x1000);
    run(SMALL);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
    g_assert_cmphex(c->cr2, ==, SMALL + 0x1000);
    g_assert_cmphex(frame(0), ==, SMALL + 0x1000);
    finish();
}

/* ---- the end of a page ---- */

/* An immediate moved so that the instruction begins `before` bytes in front of the page's end, 0: ends there. */
static void test_page_end(void)
{
    static const uint8_t code[] = {0x83, 0xc3, 0x01, 0xb8, 0x44, 0x33, 0x22, 0x11}; /* add $1, ebx; mov $.., eax */
    static const uint8_t hlt = 0xf4;

    for (unsigned over = 0; over < sizeof(code); over++) {
        unsigned first = sizeof(code) - over;

        start(NULL);
        load(PAGE_1 + 0x1000 - first, code, code + first);
        load(PAGE_2, code + first, code + sizeof(code));
        load(PAGE_2 + over, &hlt, &hlt + 1);
        map(SMALL, PAGE_1 | 7);
        map(SMALL + 0x1000, PAGE_2 | 7);
        c->gpr[VIV_RBX] = 0;
        for (unsigned n = 1; n < 5; n++) {
            run(SMALL + 0x1000 - first);
            g_assert_cmphex(c->gpr[VIV_RAX], ==, 0x11223344);
            g_assert_cmpuint(c->gpr[VIV_RBX], ==, n);
        }
        if (over) { /* the part on the second page changes: the top byte of the immediate */
            t->ram[PAGE_2 + over - 1] = 0x55;
            viv_ram_written(t->ram + PAGE_2 + over - 1, 1);
            run(SMALL + 0x1000 - first);
            g_assert_cmphex(c->gpr[VIV_RAX], ==, 0x55223344);
        }
        map(SMALL + 0x1000, 0);
        viv_tlb_flush_page(c, SMALL + 0x1000);
        run(SMALL + 0x1000 - first);
        g_assert_cmpint(test_cpu_exception(t), ==, VIV_PF);
        g_assert_cmphex(c->cr2, ==, SMALL + 0x1000);
        /* RIP in the frame: the instruction that crosses, or the page when none does */
        g_assert_cmphex(frame(0), ==,
                        SMALL + 0x1000 - (over == 0 || over == 5 ? 0 : over < 5 ? 5 - over : 8 - over));
        finish();
    }
}

/* ---- SMRAM ---- */

#define SMRAM_PAGE 0x40000u

/* By a direct call, which is linked, by an indirect one, and a load. */
GUEST(smm_caller, "mov $4, %ecx\n"
                  "xor %ebx, %ebx\n"
                  "0: call smm_caller + 0x30000\n"
                  "add %eax, %ebx\n"
                  "call *%rsi\n"
                  "add %eax, %ebx\n"
                  "mov 1(%rsi), %edx\n"
                  "dec %ecx\n"
                  "jnz 0b\n"
                  "hlt");
GUEST(smm_outside, "mov $1, %eax\n"
                   "ret");
GUEST(smm_inside, "mov $100, %eax\n"
                  "ret");

/* The same addresses are other code in SMM: what was translated and linked there is not run outside, nor the other way. */
static void test_smram(void)
{
    start(NULL);
    viv_region_map(t->smram, SMRAM_PAGE, 0);
    LOAD(TEST_CODE, smm_caller);
    LOAD(SMRAM_PAGE, smm_outside);
    LOAD(TEST_SMRAM, smm_inside);
    for (unsigned n = 0; n < 6; n++) {
        c->in_smm = n & 1;
        viv_x86_update_mode(c);
        c->gpr[VIV_RSI] = SMRAM_PAGE;
        run(TEST_CODE);
        g_assert_cmpuint(c->gpr[VIV_RBX], ==, n & 1 ? 800 : 8);
        g_assert_cmpuint(c->gpr[VIV_RDX], ==, n & 1 ? 100 : 1);
    }
    c->in_smm = false;
    viv_x86_update_mode(c);
    finish();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate/smc/next", test_smc_next);
    g_test_add_func("/xlate/smc/later", test_smc_later);
    g_test_add_func("/xlate/smc/loop", test_smc_loop);
    g_test_add_func("/xlate/smc/other-page", test_smc_other_page);
    g_test_add_func("/xlate/smc/alias", test_alias_smc);
    g_test_add_func("/xlate/page/alias", test_alias);
    g_test_add_func("/xlate/page/invlpg", test_invlpg);
    g_test_add_func("/xlate/page/linked", test_linked_page_moves);
    g_test_add_func("/xlate/page/end", test_page_end);
    g_test_add_func("/xlate/smram", test_smram);
    return run_tests();
}
