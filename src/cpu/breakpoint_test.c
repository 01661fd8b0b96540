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

static void hard_ones_stop_too(void)
{
    struct test_cpu *t = start();

    g_assert_cmpint(viv_break_set(VIV_BREAK_HARD, TEST_CODE + AT_INC, 1, NULL), ==, 0);
    g_assert_cmpint(stops(t).kind, ==, VIV_BREAK_EXEC);
    g_assert_cmpint(viv_break_remove(VIV_BREAK_EXEC, TEST_CODE + AT_INC, 1), ==, -ENOENT);
    g_assert_cmpint(viv_break_remove(VIV_BREAK_HARD, TEST_CODE + AT_INC, 1), ==, 0);
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
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

/* An interrupt leads to its handler, whose first instruction has not run yet. */
static void stops_at_a_handler(void)
{
    struct test_cpu *t = start();
    uint64_t handler = TEST_HANDLERS + 16 * VIV_NMI;

    viv_break_set(VIV_BREAK_EXEC, handler, 1, NULL);
    t->c->nmi_pending = true;
    t->c->attention |= VIV_ATT_EVENT;
    g_assert_cmphex(stops(t).lin, ==, handler);
    g_assert_cmphex(t->c->rip, ==, handler);
    g_assert_cmpuint(t->c->gpr[VIV_RAX], ==, 0);
}

/* So does the guest's own one (SDM 3B 18.3.1.1): a fault of the handler's first instruction. */
static void faults_at_a_handler(void)
{
    struct test_cpu *t = start();

    t->c->dr[0] = TEST_HANDLERS + 16 * VIV_NMI;
    t->c->dr[7] |= 1;
    viv_x86_update_mode(t->c);
    t->c->nmi_pending = true;
    t->c->attention |= VIV_ATT_EVENT;
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
    g_assert_cmpint(test_cpu_exception(t), ==, VIV_DB);
    g_assert_cmphex(t->c->dr[6] & 15, ==, 1);
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

static bool in_memory(uint64_t lin)
{
    return lin >= 0x8000;
}

/* Last: it stays so. */
static void debug_registers(void)
{
    struct viv_break_register reg[VIV_BREAK_REGISTERS];

    start();
    viv_break_use_registers(in_memory);
    g_assert_cmpint(viv_break_set(VIV_BREAK_READ, 0x1000, 4, NULL), ==, -ENOTSUP);
    g_assert_cmpint(viv_break_set(VIV_BREAK_WRITE, 0x1001, 7, NULL), ==, 0); /* 1, 2 and 4 bytes */
    g_assert_cmpint(viv_break_set(VIV_BREAK_ACCESS, 0x2004, 8, NULL), ==, -ENOSPC);
    g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, 0x3003, 1, NULL), ==, 0);
    g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, 0x3004, 1, NULL), ==, -ENOSPC);
    g_assert_cmpint(viv_break_set(VIV_BREAK_HARD, 0x8000, 1, NULL), ==, -ENOSPC);
    for (uint64_t lin = 0x8000; lin < 0x8010; lin++)
        g_assert_cmpint(viv_break_set(VIV_BREAK_EXEC, lin, 1, NULL), ==, 0);
    g_assert_true(viv_break_exec(16, &(uint64_t){0}) && !viv_break_exec(17, &(uint64_t){0}));
    g_assert_cmpuint(viv_break_registers(reg), ==, 4);
    g_assert_true(reg[0].lin == 0x1001 && reg[0].len == 1 && reg[1].lin == 0x1002 && reg[1].len == 2);
    g_assert_true(reg[2].lin == 0x1004 && reg[2].len == 4 && reg[2].point == 0x1001 && reg[2].kind == VIV_BREAK_WRITE);
    g_assert_true(reg[3].lin == 0x3003 && reg[3].len == 1 && reg[3].kind == VIV_BREAK_EXEC);
    viv_break_remove_all();
    g_assert_cmpint(viv_break_set(VIV_BREAK_ACCESS, UINT64_MAX - 15, 16, NULL), ==, 0);
    g_assert_cmpuint(viv_break_registers(reg), ==, 2);
    g_assert_true(reg[1].lin == UINT64_MAX - 7 && reg[1].len == 8);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/breakpoint/exec", stops_before_the_instruction);
    g_test_add_func("/breakpoint/hard", hard_ones_stop_too);
    g_test_add_func("/breakpoint/step", steps_one_instruction);
    g_test_add_func("/breakpoint/watch", stops_after_the_access);
    g_test_add_func("/breakpoint/kinds", watches_only_its_kind);
    g_test_add_func("/breakpoint/handler", stops_at_a_handler);
    g_test_add_func("/breakpoint/handler-fault", faults_at_a_handler);
    g_test_add_func("/breakpoint/halted", not_while_halted);
    g_test_add_func("/breakpoint/refused", refuses_nonsense);
    g_test_add_func("/breakpoint/debug-registers", debug_registers);
    return g_test_run();
}
