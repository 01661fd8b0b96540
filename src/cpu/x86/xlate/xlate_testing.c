#include "cpu/x86/xlate/xlate_testing.h"

#include "base/bytes.h"
#include "mem/ram.h"

#include <glib.h>
#include <string.h>

struct test_cpu *t;
struct viv_x86 *c;

void map(uint32_t lin, uint64_t pte)
{
    viv_st_le64(t->ram + SMALL_TABLE + (lin - SMALL) / 4096 * 8, pte);
}

static void interrupt_stack(void)
{
    viv_st_le64(t->ram + TSS + 36, IST);
    c->seg[VIV_TR] = (struct viv_seg){.base = TSS, .limit = 0x67, .attr = 0x8b, .sel = 0x28};
    for (unsigned n = 0; n < 32; n++)
        t->ram[TEST_IDT + 16 * n + 4] = 1;
}

void start(const struct viv_xlate_opts *opts)
{
    static const struct viv_xlate_opts normal;
    struct viv_err err = {0};

    t = test_cpu_get(VIV_MODE_LONG);
    c = t->c;
    memset(t->ram + SMALL_TABLE, 0, 4096);
    viv_st_le64(t->ram + 0x102000 + (SMALL >> 21) * 8, SMALL_TABLE | 7);
    interrupt_stack();
    viv_x86_update_mode(c);
    atomic_store(&t->vcpu.requests, 0);
    g_assert_cmpint(viv_xlate_attach(c, opts ? opts : &normal, &err), ==, 0);
    viv_vcpu_self = &t->vcpu; /* what it changes it sees at once */
}

void finish(void)
{
    viv_vcpu_self = NULL;
    viv_xlate_detach(c);
}

struct viv_xlate_stats stats(void)
{
    struct viv_xlate_stats s = {0};

    viv_xlate_get_stats(c, &s);
    return s;
}

void load(uint32_t phys, const uint8_t *from, const uint8_t *end)
{
    memcpy(t->ram + phys, from, (size_t)(end - from));
    viv_ram_written(t->ram + phys, (size_t)(end - from));
}

void run(uint64_t rip)
{
    c->rip = c->next_rip = rip;
    c->gpr[VIV_RSP] = TEST_STACK;
    c->halted = false;
    g_assert_cmpint(test_cpu_run(t), ==, VIV_RUN_HALT);
}

uint64_t frame(unsigned n)
{
    return viv_ld_le64(t->ram + IST - 40 + 8 * n);
}

int run_tests(void)
{
    struct viv_err err = VIV_ERR_INIT;

    if (viv_xlate_probe(&err) < 0) {
        g_print("1..0 # SKIP %s\n", err.text);
        return 0;
    }
    return g_test_run();
}
