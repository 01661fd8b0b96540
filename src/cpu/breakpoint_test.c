/* Breakpoints, watchpoints and steps on the interpreter's run loop. */
#include "cpu/breakpoint.h"

#include "cpu/x86/interp/test_cpu.h"

#include <errno.h>
#include <glib.h>

/* inc eax; mov [TEST_DATA + 8], eax; mov ecx, [TEST_DATA + 16]; jmp +0; inc eax; hlt */
static const uint8_t code[] = {0xff, 0xc0, 0x89, 0x04, 0x25, 0x08, 0x00, 0x02, 0x00, 0x8b, 0x0c, 0x25, 0x10, 0x00, 0x02, 0x00,
                               0xeb, 0x00, 0xff, 0xc0, 0xf4};
enum { AT_STORE = 2, AT_LOAD = 9, AT_JUMP = 16, AT_INC = 18, AT_HLT = 20 };

static struct test_cpu *start(void)
{
    static struct viv_vcpu *one[1];
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    one[0] = &t->vcpu;
    viv_vcpus = one;
    viv_vcpu_count = 1;
    viv_break_remove_all();
    test_cpu_code(t, code, sizeof(code));
    return t;
}

static struct viv_break_hit stops(struct test_cpu *t)
{
    struct viv_break_hit hit;

    g_assert_cmpint(viv_interp_run(t->c), ==, VIV_RUN_BREAK);
    g_assert_true(viv_break_take_hit(&t->vcpu, &hit));
    g_assert_false(viv_break_take_hit(&t->vcpu, &hit));
    return hit;
}

static void stops_before_the_instruction(void)
{
    struct test_cpu *t = start();
    struct viv_break_hit hit;

    g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, TEST_CODE + AT_INC, 1, NULL), ==, 0);
    g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, TEST_CODE + AT_INC, 1, NULL), ==, 0);
    g_assert_cmpuint(viv_break_count(), ==, 1);
    hit = stops(t);
    g_assert_true(!hit.step && hit.kind == VIV_BREAK_EXEC && hit.lin == TEST_CODE + AT_INC);
    g_assert_cmphex(t->c->rip, ==, TEST_CODE + AT_INC);
    g_assert_cmpuint(t->c->gpr[VIV_RAX], ==, 1);
    stops(t); /* it is still there */
    g_assert_cmpint(viv_break_remove(VIV_BREAK_EXEC, TEST_CODE + AT_INC, 1), ==, 0);
    g_assert_cmpint(viv_break_remove(VIV_BREAK_EXEC, TEST_CODE + AT_INC, 1), ==, -ENOENT);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmpuint(t->c->gpr[VIV_RAX], ==, 2);
}

static void steps_one_instruction(void)
{
    struct test_cpu *t = start();

    viv_break_set(VIV_BREAK_EXEC, TEST_CODE, 1, NULL);
    for (unsigned i = 0; i < 3; i++) {
        static const unsigned at[] = {AT_STORE, AT_LOAD, AT_JUMP};

        viv_break_step(&t->vcpu, true);
        g_assert_true(stops(t).step);
        g_assert_cmphex(t->c->rip, ==, TEST_CODE + at[i]);
    }
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
}

static void watches(enum viv_break_kind kind, unsigned off, unsigned after)
{
    struct test_cpu *t = start();
    struct viv_break_hit hit;

    g_assert_cmpint(viv_break_set(kind, TEST_DATA + off, 2, NULL), ==, 0);
    hit = stops(t);
    g_assert_true(!hit.step && hit.kind == kind);
    g_assert_cmphex(hit.lin, ==, TEST_DATA + off);
    g_assert_cmphex(t->c->rip, ==, TEST_CODE + after);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
}

static void stops_after_the_access(void)
{
    watches(VIV_BREAK_WRITE, 8, AT_LOAD);
    watches(VIV_BREAK_ACCESS, 10, AT_LOAD);
    watches(VIV_BREAK_READ, 16, AT_JUMP);
    watches(VIV_BREAK_ACCESS, 16, AT_JUMP);
}

static void watches_only_its_kind(void)
{
    struct test_cpu *t = start();

    viv_break_set(VIV_BREAK_READ, TEST_DATA + 8, 4, NULL);
    viv_break_set(VIV_BREAK_WRITE, TEST_DATA + 12, 8, NULL);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
}

/* A CPU that sleeps is not at the instruction behind HLT. */
static void not_while_halted(void)
{
    struct test_cpu *t = start();

    viv_break_set(VIV_BREAK_EXEC, TEST_CODE + AT_HLT + 1, 1, NULL);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmpint(viv_interp_run(t->c), ==, VIV_RUN_HALT);
}

static void refuses_nonsense(void)
{
    struct viv_err err = VIV_ERR_INIT;

    start();
    g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, 0, 0, &err), ==, -EINVAL);
    g_assert_cmpint(viv_break_set(VIV_BREAK_WRITE, UINT64_MAX, 2, &err), ==, -EINVAL);
    for (unsigned i = 0; i < VIV_BREAKS_MAX; i++)
        g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, i, 1, &err), ==, 0);
    g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, VIV_BREAKS_MAX, 1, &err), ==, -ENOSPC);
    viv_break_remove_all();
    viv_err_clear(&err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/breakpoint/exec", stops_before_the_instruction);
    g_test_add_func("/breakpoint/step", steps_one_instruction);
    g_test_add_func("/breakpoint/watch", stops_after_the_access);
    g_test_add_func("/breakpoint/kinds", watches_only_its_kind);
    g_test_add_func("/breakpoint/halted", not_while_halted);
    g_test_add_func("/breakpoint/refused", refuses_nonsense);
    return g_test_run();
}
