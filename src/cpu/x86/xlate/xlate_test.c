/* Requests from other threads, the code cache and the knobs. Random sequences: tests/x86/seq. */
#include "cpu/x86/xlate/xlate_testing.h"

#include "base/bytes.h"
#include "cpu/x86/xlate/layout.h"
#include "mem/ram.h"

#include <glib.h>
#include <string.h>

/* ---- requests ---- */

GUEST(loop_one, "jmp .");
GUEST(loop_two, "0: inc %rax\n"
                "jmp 1f\n"
                "nop\n"
                "1: test %rax, %rax\n"
                "jne 0b\n"
                "jmp 0b");
GUEST(loop_indirect, "lea 0f(%rip), %rsi\n"
                     "0: inc %rax\n"
                     "jmp *%rsi");
GUEST(loop_call, "0: call 1f\n"
                 "jmp 0b\n"
                 "1: ret");

static void *send(void *bits)
{
    g_usleep(30000);
    atomic_store(&t->vcpu.nmis, 1);
    atomic_fetch_or(&t->vcpu.requests, GPOINTER_TO_UINT(bits));
    viv_xlate_kick(c);
    return NULL;
}

static void interrupted(uint32_t phys, uint32_t bits)
{
    GThread *other = g_thread_new("other", send, GUINT_TO_POINTER(bits));
    gint64 from = g_get_monotonic_time();
    enum viv_run r;

    c->rip = c->next_rip = phys;
    c->gpr[VIV_RSP] = TEST_STACK;
    c->halted = c->nmi_blocked = false;
    r = test_cpu_run(t);
    g_thread_join(other);
    g_assert_cmpint(g_get_monotonic_time() - from, <, 3000000);
    if (bits == VIV_REQ_STOP) {
        g_assert_cmpint(r, ==, VIV_RUN_REQUEST);
        g_assert_cmpuint(c->rip - phys, <, 32);
    } else {
        g_assert_cmpint(r, ==, VIV_RUN_HALT);
        g_assert_cmpint(test_cpu_exception(t), ==, VIV_NMI);
        g_assert_cmpuint(frame(0) - phys, <, 32);
    }
    atomic_store(&t->vcpu.requests, 0);
}

static void test_kick(void)
{
    start(NULL);
    LOAD(TEST_CODE, loop_one);
    LOAD(TEST_CODE + 0x100, loop_two);
    LOAD(TEST_CODE + 0x200, loop_indirect);
    LOAD(TEST_CODE + 0x300, loop_call);
    for (unsigned n = 0; n < 8; n++)
        interrupted(TEST_CODE + 0x100 * (n & 3), n & 4 ? VIV_REQ_NMI : VIV_REQ_STOP);
    finish();
}

/* ---- the code cache ---- */

#define MANY_AT    0x400000u
#define MANY       6000u
#define MANY_BYTES 64u

/* Blocks that each add their number and jump to the next. */
static uint32_t many_blocks(void)
{
    uint32_t sum = 0;

    for (uint32_t n = 0; n < MANY; n++) {
        uint8_t *p = t->ram + MANY_AT + n * MANY_BYTES;

        p[0] = 0x05; /* add $n, %eax */
        viv_st_le32(p + 1, n);
        p[5] = 0xe9; /* jmp */
        viv_st_le32(p + 6, MANY_BYTES - 10);
        sum += n;
    }
    t->ram[MANY_AT + MANY * MANY_BYTES] = 0xf4;
    viv_ram_written(t->ram + MANY_AT, MANY * MANY_BYTES + 1);
    return sum;
}

static struct viv_xlate_stats run_many(const struct viv_xlate_opts *o, unsigned times)
{
    struct viv_xlate_stats s;
    uint32_t sum;

    start(o);
    sum = many_blocks();
    for (unsigned n = 0; n < times; n++) {
        c->gpr[VIV_RAX] = 0;
        run(MANY_AT);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, sum);
    }
    s = stats();
    finish();
    return s;
}

static void test_normal(void)
{
    struct viv_xlate_stats s = run_many(NULL, 3);

    g_assert_cmpuint(s.translated, >=, MANY);
    g_assert_cmpuint(s.translated, <, 2 * MANY); /* once each */
    g_assert_cmpuint(s.flushes, ==, 0);
    g_assert_cmpuint(s.links, >, MANY / 2);
    g_assert_cmpuint(s.code_used, <=, s.code_size);
}

static void test_full_cache(void)
{
    struct viv_xlate_stats s = run_many(&(struct viv_xlate_opts){.cache_bytes = 256 << 10}, 3);

    g_assert_cmpuint(s.flushes, >, 0);
    g_assert_cmpuint(s.code_size, <=, 256 << 10);
    g_assert_cmpuint(s.code_used, <=, s.code_size);
}

static void test_failing_allocations(void)
{
    struct viv_xlate_stats s;

    for (unsigned n = 2; n < 200; n = n * 2 + 1) {
        s = run_many(&(struct viv_xlate_opts){.fail_nth = n}, 2);
        g_assert_cmpuint(s.flushes, >, 0);
    }
}

/* The jump cache belongs to the CPU: what a translator leaves there is not known to the next one, whose flushes would pass it by. */
static void test_left_over(void)
{
    memset((uint8_t *)c + XL_JC, 0x55, XL_JC_BYTES);
    run_many(&(struct viv_xlate_opts){.fail_nth = 47}, 2);
}

static void test_knobs(void)
{
    struct viv_xlate_stats s = run_many(&(struct viv_xlate_opts){.max_insns = 1}, 2);

    g_assert_cmpuint(s.translated, >=, 2 * MANY);
    s = run_many(&(struct viv_xlate_opts){.no_chain = true}, 2);
    g_assert_cmpuint(s.links, ==, 0);
    g_assert_cmpuint(s.dispatches, >=, 2 * MANY);
    s = run_many(&(struct viv_xlate_opts){.interp_cold = true}, 1);
    g_assert_cmpuint(s.translated, <, MANY);
    g_assert_cmpuint(s.interp_insns, >, MANY / 4);
    s = run_many(&(struct viv_xlate_opts){.interp_cold = true}, 16);
    g_assert_cmpuint(s.translated, >=, MANY);
    run_many(&(struct viv_xlate_opts){.random_ends = true}, 2);
}

/* The same code again and again from new bytes: what is dropped does not pile up. */
static void test_new_code(void)
{
    struct viv_xlate_stats s;

    start(&(struct viv_xlate_opts){.cache_bytes = 256 << 10});
    for (uint32_t n = 0; n < 20000; n++) {
        uint8_t code[] = {0xb8, 0, 0, 0, 0, 0x01, 0xc0, 0xf4}; /* mov $n, %eax; add %eax, %eax; hlt */

        viv_st_le32(code + 1, n);
        load(TEST_CODE + (n & 7) * 64, code, code + sizeof(code));
        run(TEST_CODE + (n & 7) * 64);
        g_assert_cmpuint(c->gpr[VIV_RAX], ==, 2 * n);
    }
    s = stats();
    g_assert_cmpuint(s.blocks, <, 10000);
    finish();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate/kick", test_kick);
    g_test_add_func("/xlate/cache/normal", test_normal);
    g_test_add_func("/xlate/cache/full", test_full_cache);
    g_test_add_func("/xlate/cache/failing", test_failing_allocations);
    g_test_add_func("/xlate/cache/left-over", test_left_over);
    g_test_add_func("/xlate/cache/knobs", test_knobs);
    g_test_add_func("/xlate/cache/new-code", test_new_code);
    return run_tests();
}
