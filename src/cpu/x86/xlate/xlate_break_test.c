/* A debugger's breakpoints and watchpoints in translated code: the right instruction, and the rest at full speed. */
#include "cpu/x86/xlate/xlate_testing.h"

#include "cpu/breakpoint.h"

#include <glib.h>
#include <string.h>

/* 100,000 rounds of a loop, 100 of them calls of a routine in another page. */
GUEST(loops, "xor %eax, %eax\n"
             "xor %ebx, %ebx\n"
             "mov $100000, %ecx\n"
             "0: inc %rax\n"
             "lea 1(%rbx), %rbx\n" /* AT_LEA */
             "cmp $100, %ecx\n"
             "ja 1f\n"
             "call *%rsi\n"
             "1: dec %ecx\n"
             "jnz 0b\n"
             "hlt");
GUEST(routine, "add %rdi, (%rdx)\n"
               "mov (%rdx), %r8\n"
               "ret");
#define AT_LEA  12
#define ROUTINE (TEST_CODE + 0x5000)

static void begin(void)
{
    static struct viv_vcpu *one[1];

    start(NULL);
    one[0] = &t->vcpu;
    viv_vcpus = one;
    viv_vcpu_count = 1;
    viv_break_remove_all();
    LOAD(TEST_CODE, loops);
    LOAD(ROUTINE, routine);
    g_assert_cmphex(loops[AT_LEA], ==, 0x48);
    c->gpr[VIV_RSI] = ROUTINE;
    c->gpr[VIV_RDI] = 3;
    c->gpr[VIV_RDX] = TEST_DATA;
    memset(t->ram + TEST_DATA, 0, 4096);
    c->rip = c->next_rip = TEST_CODE;
    c->gpr[VIV_RSP] = TEST_STACK;
}

static void end(void)
{
    viv_break_remove_all();
    finish();
}

static struct viv_break_hit stops(void)
{
    struct viv_break_hit hit;

    g_assert_cmpint(viv_interp_run(c), ==, VIV_RUN_BREAK);
    g_assert_true(viv_break_take_hit(&t->vcpu, &hit));
    return hit;
}

static void step(void)
{
    viv_break_step(&t->vcpu, true);
    g_assert_true(stops().step);
}

static void to_the_end(void)
{
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmpuint(c->gpr[VIV_RBX], ==, 100000);
    g_assert_cmpuint(*(uint64_t *)(t->ram + TEST_DATA), ==, 300);
}

static void test_exec(void)
{
    begin();
    viv_break_set(VIV_BREAK_EXEC, TEST_CODE + AT_LEA, 1, NULL);
    for (unsigned n = 1; n < 5; n++) {
        g_assert_cmphex(stops().lin, ==, TEST_CODE + AT_LEA);
        g_assert_cmphex(c->rip, ==, TEST_CODE + AT_LEA);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, n);
        g_assert_cmpuint(c->gpr[VIV_RBX], ==, n - 1);
        step();
    }
    viv_break_remove(VIV_BREAK_EXEC, TEST_CODE + AT_LEA, 1);
    to_the_end();
    end();
}

/* Code that has run, and is linked, gets one. */
static void test_later(void)
{
    begin();
    viv_break_set(VIV_BREAK_EXEC, ROUTINE, 1, NULL);
    g_assert_cmphex(stops().lin, ==, ROUTINE);
    g_assert_cmpuint(c->gpr[VIV_RCX], ==, 100);
    viv_break_set(VIV_BREAK_EXEC, TEST_CODE + AT_LEA, 1, NULL);
    viv_break_remove(VIV_BREAK_EXEC, ROUTINE, 1);
    g_assert_cmphex(stops().lin, ==, TEST_CODE + AT_LEA);
    g_assert_cmpuint(c->gpr[VIV_RCX], ==, 99);
    viv_break_remove(VIV_BREAK_EXEC, TEST_CODE + AT_LEA, 1);
    to_the_end();
    end();
}

/* Code without a breakpoint stays translated and linked; the same offset of another page costs a look, and does not stop. */
static void test_speed(void)
{
    struct viv_xlate_stats s;

    begin();
    viv_break_set(VIV_BREAK_EXEC, TEST_CODE + 0x3000, 1, NULL);
    to_the_end();
    s = stats();
    g_assert_cmpuint(s.dispatches, <, 1000);
    g_assert_cmpuint(s.interp_insns, <, 100);
    end();

    begin();
    viv_break_set(VIV_BREAK_EXEC, TEST_CODE + 0x3000 + AT_LEA, 1, NULL);
    to_the_end();
    s = stats();
    g_assert_cmpuint(s.dispatches, >=, 100000);
    g_assert_cmpuint(s.interp_insns, <, 100);
    c->rip = c->next_rip = TEST_CODE;
    c->halted = false;
    memset(t->ram + TEST_DATA, 0, 8);
    viv_break_remove_all();
    to_the_end();
    g_assert_cmpuint(stats().dispatches, <, s.dispatches + 1000); /* linked again */
    end();
}

static void test_watch(void)
{
    begin();
    viv_break_set(VIV_BREAK_WRITE, TEST_DATA, 8, NULL);
    for (unsigned n = 1; n < 4; n++) {
        struct viv_break_hit hit = stops();

        g_assert_true(!hit.step && hit.kind == VIV_BREAK_WRITE && hit.lin == TEST_DATA);
        g_assert_cmphex(c->rip, ==, ROUTINE + 3);
        g_assert_cmpuint(*(uint64_t *)(t->ram + TEST_DATA), ==, 3 * n);
    }
    viv_break_remove_all();
    viv_break_set(VIV_BREAK_READ, TEST_DATA + 4, 1, NULL);
    g_assert_cmpint(stops().kind, ==, VIV_BREAK_READ);
    g_assert_cmphex(c->rip, ==, ROUTINE + 6);
    g_assert_cmpuint(stats().interp_insns, <, 100);
    viv_break_remove_all();
    to_the_end();
    end();
}

GUEST(fills, "rep stosb\n"
             "hlt");

/* A repeated string instruction stops within. */
static void test_watch_rep(void)
{
    begin();
    LOAD(TEST_CODE, fills);
    c->gpr[VIV_RDI] = TEST_DATA;
    c->gpr[VIV_RCX] = 0x2000;
    viv_break_set(VIV_BREAK_WRITE, TEST_DATA + 0x1010, 1, NULL);
    g_assert_cmphex(stops().lin, ==, TEST_DATA + 0x1010);
    g_assert_cmphex(c->rip, ==, TEST_CODE);
    g_assert_cmphex(c->gpr[VIV_RDI], ==, TEST_DATA + 0x1011);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmphex(c->gpr[VIV_RDI], ==, TEST_DATA + 0x2000);
    end();
}

GUEST(faults, "movsb\n"
              "hlt");

/* An instruction that read what is watched and then faulted has not ended. */
static void test_watch_fault(void)
{
    begin();
    LOAD(TEST_CODE, faults);
    c->gpr[VIV_RDI] = TEST_ABSENT;
    c->gpr[VIV_RSI] = TEST_DATA;
    viv_break_set(VIV_BREAK_READ, TEST_DATA, 1, NULL);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmpint(test_cpu_exception(t), ==, 14);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate-break/exec", test_exec);
    g_test_add_func("/xlate-break/later", test_later);
    g_test_add_func("/xlate-break/speed", test_speed);
    g_test_add_func("/xlate-break/watch", test_watch);
    g_test_add_func("/xlate-break/watch-rep", test_watch_rep);
    g_test_add_func("/xlate-break/watch-fault", test_watch_fault);
    return run_tests();
}
