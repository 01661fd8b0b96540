/* The promise of c->code_space and c->code_space_global (code_space.h): each rule for when a value stays and when it
 * goes, and a random run of page-table changes and flushes in which every answer given under a value is held against
 * every later answer under the same value. */
#include "cpu/x86/code_space.h"

#include "base/bytes.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/interp/test_cpu.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/seg.h"

#include <glib.h>
#include <string.h>

#define CODE   0x3000000ull /* the page whose code is looked up; TEST_ABSENT: its own table at 0x104000 */
#define OTHER  0x3001000ull
#define DATA   0x3002000ull
#define PAGE_A 0x110000ull
#define PAGE_B 0x112000ull
#define RIGHTS 0x67 /* P W U A D */
#define G      0x100
#define NX     (1ull << 63)

static void set_pte(struct test_cpu *t, uint64_t lin, uint64_t pte)
{
    viv_st_le64(t->ram + 0x102000 + (lin >> 21) * 8, 0x104007);
    viv_st_le64(t->ram + 0x104000 + (lin >> 12 & 511) * 8, pte);
}

static struct test_cpu *start(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    viv_cr_write(t->c, 4, t->c->cr4 | VIV_CR4_PGE);
    memset(t->ram + 0x104000, 0, 4096);
    set_pte(t, CODE, PAGE_A | RIGHTS);
    set_pte(t, OTHER, (PAGE_A + 0x1000) | RIGHTS);
    set_pte(t, DATA, (PAGE_A + 0x2000) | RIGHTS);
    viv_tlb_flush_all(t->c);
    return t;
}

/* Offset in RAM of what a fetch from lin finds; -1: it faults. */
static int64_t fetch(struct test_cpu *t, uint64_t lin)
{
    struct viv_interp *it = t->c->interp;
    volatile int64_t at = -1;

    it->exc_pending = false;
    if (_setjmp(it->jmp) == 0)
        at = (uint8_t *)viv_mmu_host(t->c, lin, 1, VIV_ACC_EXEC) - t->ram;
    it->exc_pending = false;
    return at;
}

static void invpcid(struct viv_x86 *c, unsigned type, unsigned pcid, uint64_t lin)
{
    switch (type) {
    case 0: viv_tlb_flush_page_of(c, pcid, lin); break;
    case 1: viv_tlb_flush_pcid(c, pcid); break;
    case 2: viv_tlb_flush_all(c); break;
    default: viv_tlb_flush_user(c); break;
    }
}

static void test_invlpg(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t v;

    g_assert_cmphex(fetch(t, CODE + 5), ==, PAGE_A + 5);
    v = c->code_space;
    viv_ld32(c, DATA);
    viv_tlb_flush_page(c, DATA);
    viv_tlb_flush_page(c, OTHER);
    g_assert_cmphex(c->code_space, ==, v);
    set_pte(t, CODE, PAGE_B | RIGHTS);
    g_assert_cmphex(fetch(t, CODE), ==, PAGE_A); /* not invalidated: still what was promised */
    g_assert_cmphex(c->code_space, ==, v);
    viv_tlb_flush_page(c, CODE + 0x123);
    g_assert_cmphex(c->code_space, !=, v);
    g_assert_cmphex(fetch(t, CODE), ==, PAGE_B);
}

/* INVLPG anywhere in a large page drops all of it. */
static void test_invlpg_large(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t v;

    g_assert_cmphex(fetch(t, 0x210000), ==, 0x210000);
    v = c->code_space;
    viv_tlb_flush_page(c, 0x400000);
    viv_tlb_flush_page(c, 0x1ff000);
    g_assert_cmphex(c->code_space, ==, v);
    viv_tlb_flush_page(c, 0x3ff000);
    g_assert_cmphex(c->code_space, !=, v);
}

static void test_cr3(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t v, g = c->code_space_global;

    fetch(t, CODE);
    v = c->code_space;
    set_pte(t, CODE, PAGE_B | RIGHTS);
    viv_cr_write(c, 3, c->cr3);
    g_assert_cmphex(c->code_space, !=, v);
    g_assert_cmphex(c->code_space_global, ==, g);
    g_assert_cmphex(fetch(t, CODE), ==, PAGE_B);
    g_assert_false(viv_mmu_exec_global(c, CODE));
}

static void test_pcid(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t one, two, root = c->cr3;

    viv_cr_write(c, 4, c->cr4 | VIV_CR4_PCIDE);
    viv_cr_write(c, 3, root | 1);
    fetch(t, CODE);
    one = c->code_space;
    viv_cr_write(c, 3, root | 2);
    fetch(t, CODE);
    two = c->code_space;
    g_assert_cmphex(one, !=, two);
    viv_cr_write(c, 3, 1ull << 63 | root | 1);
    g_assert_cmphex(c->code_space, ==, one);
    viv_cr_write(c, 3, 1ull << 63 | root | 2);
    g_assert_cmphex(c->code_space, ==, two);
    viv_tlb_flush_page(c, CODE); /* of the current PCID only */
    g_assert_cmphex(c->code_space, !=, two);
    viv_cr_write(c, 3, 1ull << 63 | root | 1);
    g_assert_cmphex(c->code_space, ==, one);
    viv_cr_write(c, 3, root | 1); /* flushes */
    g_assert_cmphex(c->code_space, !=, one);
    fetch(t, CODE);
    one = c->code_space;
    for (unsigned n = 3; n < 40; n++) { /* more than there are banks */
        viv_cr_write(c, 3, 1ull << 63 | root | n);
        g_assert_cmphex(c->code_space, !=, one);
        fetch(t, CODE);
    }
    set_pte(t, CODE, PAGE_B | RIGHTS);
    viv_cr_write(c, 3, 1ull << 63 | root | 1); /* forgotten, which is allowed: then it is another value */
    g_assert_cmphex(c->code_space, !=, one);
    g_assert_cmphex(fetch(t, CODE), ==, PAGE_B);
}

static void test_invpcid(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t root = c->cr3, v[3], g;

    viv_cr_write(c, 4, c->cr4 | VIV_CR4_PCIDE);
    set_pte(t, OTHER, PAGE_B | RIGHTS | G);
    for (unsigned type = 0; type < 4; type++) {
        for (unsigned n = 1; n < 3; n++) {
            viv_cr_write(c, 3, 1ull << 63 | root | n);
            fetch(t, CODE);
            fetch(t, OTHER);
            v[n] = c->code_space;
        }
        g = c->code_space_global;
        g_assert_true(viv_mmu_exec_global(c, OTHER));
        invpcid(c, type, 1, CODE);
        g_assert_cmpint(c->code_space == v[2], ==, type < 2);
        g_assert_cmpint(c->code_space_global == g, ==, type != 2);
        viv_cr_write(c, 3, 1ull << 63 | root | 1);
        g_assert_cmphex(c->code_space, !=, v[1]);
    }
    fetch(t, CODE);
    v[1] = c->code_space;
    invpcid(c, 0, 1, DATA);
    invpcid(c, 1, 7, 0);
    g_assert_cmphex(c->code_space, ==, v[1]);
}

static void test_global(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t v, g;

    set_pte(t, CODE, PAGE_A | RIGHTS | G);
    fetch(t, CODE);
    fetch(t, OTHER);
    g_assert_true(viv_mmu_exec_global(c, CODE));
    g_assert_false(viv_mmu_exec_global(c, OTHER));
    g_assert_false(viv_mmu_exec_global(c, DATA));
    v = c->code_space, g = c->code_space_global;
    viv_tlb_flush_page(c, OTHER);
    g_assert_cmphex(c->code_space, !=, v);
    g_assert_cmphex(c->code_space_global, ==, g);
    fetch(t, OTHER);
    viv_cr_write(c, 3, c->cr3);
    g_assert_cmphex(c->code_space_global, ==, g);
    v = c->code_space;
    viv_tlb_flush_page(c, CODE); /* which v has promised too */
    g_assert_cmphex(c->code_space, !=, v);
    g_assert_cmphex(c->code_space_global, !=, g);
    fetch(t, CODE);
    v = c->code_space, g = c->code_space_global;
    viv_cr_write(c, 4, c->cr4 & ~(uint64_t)VIV_CR4_PGE);
    g_assert_cmphex(c->code_space, !=, v);
    g_assert_cmphex(c->code_space_global, !=, g);
    fetch(t, CODE);
    g_assert_false(viv_mmu_exec_global(c, CODE));
}

/* A kernel whose code is global keeps its value over CR3 loads and among PCIDs; user code in the same address space
 * does not, and the first fetch from a page that is not global makes the kernel's value the PCID's own. */
static void test_kernel(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t root = c->cr3, kernel, user, own;

    set_pte(t, CODE, PAGE_A | RIGHTS | G);
    viv_cr_write(c, 4, c->cr4 | VIV_CR4_PCIDE);
    fetch(t, CODE);
    kernel = c->code_space;
    viv_x86_set_cpl(c, 3);
    fetch(t, OTHER);
    user = c->code_space;
    g_assert_cmphex(user, !=, kernel);
    viv_x86_set_cpl(c, 0);
    g_assert_cmphex(c->code_space, ==, kernel);
    viv_cr_write(c, 3, root);
    g_assert_cmphex(c->code_space, ==, kernel);
    viv_cr_write(c, 3, root | 5);
    g_assert_cmphex(c->code_space, ==, kernel);
    viv_cr_write(c, 3, 1ull << 63 | root);
    viv_x86_set_cpl(c, 3);
    g_assert_cmphex(c->code_space, !=, user);
    viv_x86_set_cpl(c, 0);
    fetch(t, DATA);
    own = c->code_space;
    g_assert_cmphex(own, !=, kernel);
    viv_cr_write(c, 3, 1ull << 63 | root | 5);
    g_assert_cmphex(c->code_space, !=, own);
    viv_cr_write(c, 3, 1ull << 63 | root);
    g_assert_cmphex(c->code_space, ==, own);
    viv_cr_write(c, 3, root);
    g_assert_cmphex(c->code_space, !=, own);
}

/* What else ends a promise, and what does not. */
static void test_controls(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t v, seen[5];

    fetch(t, CODE);
    v = c->code_space;
    viv_mmu_set_pkru(c, 0x55555554);
    c->dr[7] = 0x402;
    viv_debug_changed(c);
    g_assert_cmphex(c->code_space, ==, v);
    viv_mmu_set_pkru(c, 0);
    seen[0] = v;
    viv_mmu_flush_map(c);
    for (unsigned n = 1; n < 5; n++) {
        fetch(t, 0x200000);
        seen[n] = c->code_space;
        for (unsigned k = 0; k < n; k++)
            g_assert_cmphex(seen[k], !=, seen[n]);
        if (n == 1)
            viv_cr_write(c, 4, c->cr4 | VIV_CR4_SMEP);
        if (n == 2)
            viv_msr_write(c, 0xc0000080, c->msr.efer ^ VIV_EFER_NXE);
        if (n == 1)
            g_assert_cmpint(fetch(t, 0x200000), ==, -1); /* a user page */
        if (n == 1)
            viv_cr_write(c, 4, c->cr4 & ~(uint64_t)VIV_CR4_SMEP);
        if (n == 3)
            viv_cr_write(c, 0, c->cr0 ^ VIV_CR0_WP);
    }
}

/* NX set and INVLPG done: the page is not executable any more, and no value says so. */
static void test_nx(void)
{
    struct test_cpu *t = start();
    uint64_t v;

    fetch(t, CODE);
    v = t->c->code_space;
    set_pte(t, CODE, PAGE_A | RIGHTS | NX);
    viv_tlb_flush_page(t->c, CODE);
    g_assert_cmphex(t->c->code_space, !=, v);
    g_assert_cmpint(fetch(t, CODE), ==, -1);
}

/* More code pages than the table holds, over and over: an address answered under a value keeps its answer, also when its
 * page table entry changes without INVLPG. */
static void test_full(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t value = 0, *answer = g_new0(uint64_t, 1 << 13);

    set_pte(t, CODE, PAGE_A | RIGHTS);
    for (unsigned n = 0; n < 40000; n++) {
        uint64_t lin = (uint64_t)g_random_int_range(0, 1 << 13) << 12; /* 32 MiB, 16 of them are RAM */
        uint64_t before = c->code_space;
        int64_t at;

        if (lin >= 16 << 20)
            lin = CODE;
        if (n % 16 == 0)
            set_pte(t, CODE, (n & 16 ? PAGE_A : PAGE_B) | RIGHTS);
        at = fetch(t, lin);
        g_assert_cmpint(at, >=, 0);
        if (c->code_space != value || before != value) {
            memset(answer, 0, sizeof(*answer) << 13);
            value = c->code_space;
        }
        if (answer[lin >> 12 & 0x1fff])
            g_assert_cmphex(answer[lin >> 12 & 0x1fff], ==, at + 1);
        answer[lin >> 12 & 0x1fff] = at + 1;
    }
    g_free(answer);
}

/* ---- random ---- */

#define PAGES 64u

struct promise {
    uint64_t value;
    bool user;
    int64_t at; /* -1: none */
};

static void hold(struct promise *p, uint64_t value, bool user, int64_t at)
{
    if (p->at >= 0 && p->value == value && p->user == user)
        g_assert_cmphex(p->at, ==, at);
    *p = (struct promise){.value = value, .user = user, .at = at};
}

static void random_change(struct test_cpu *t, uint64_t root)
{
    struct viv_x86 *c = t->c;
    uint64_t lin = CODE + (uint64_t)g_random_int_range(0, PAGES) * 4096;
    unsigned pcid = (unsigned)g_random_int_range(0, 12);

    switch (g_random_int_range(0, 40)) {
    case 0: viv_cr_write(c, 3, root | pcid); break;
    case 1:
    case 2:
    case 3: viv_cr_write(c, 3, 1ull << 63 | root | pcid); break;
    case 4:
    case 5: viv_tlb_flush_page(c, lin); break;
    case 6: invpcid(c, 0, pcid, lin); break;
    case 7: invpcid(c, 1, pcid, 0); break;
    case 8: invpcid(c, g_random_int_range(0, 20) ? 0 : 2, pcid, lin); break;
    case 9: invpcid(c, g_random_int_range(0, 20) ? 1 : 3, pcid, 0); break;
    case 10:
        if (g_random_int_range(0, 20) == 0)
            viv_cr_write(c, 4, c->cr4 ^ VIV_CR4_PGE);
        break;
    case 11:
    case 12:
    case 13:
    case 14:
        set_pte(t, lin, (PAGE_A + (uint64_t)g_random_int_range(0, 16) * 4096) | RIGHTS |
                            (g_random_int_range(0, 3) ? 0 : G) | (g_random_int_range(0, 6) ? 0 : NX));
        break;
    default: break;
    }
}

static void test_random(void)
{
    struct test_cpu *t = start();
    struct viv_x86 *c = t->c;
    uint64_t root = c->cr3;
    struct promise local[PAGES], global[PAGES];
    /* An address answered after INVLPG must come from the entry of now. */
    viv_cr_write(c, 4, c->cr4 | VIV_CR4_PCIDE);
    for (unsigned n = 0; n < PAGES; n++) {
        local[n].at = global[n].at = -1;
        set_pte(t, CODE + n * 4096, PAGE_A | RIGHTS);
    }
    for (unsigned n = 0; n < 2000000; n++) {
        unsigned page = (unsigned)g_random_int_range(0, PAGES);
        uint64_t lin = CODE + page * 4096;
        int64_t at;

        random_change(t, root);
        if (g_random_int_range(0, 8) == 0)
            viv_x86_set_cpl(c, c->cpl ? 0 : 3);
        if (g_random_int_range(0, 16) == 0) {
            viv_tlb_flush_page(c, lin);
            at = fetch(t, lin);
            if (viv_ld_le64(t->ram + 0x104000 + (lin >> 12 & 511) * 8) & NX)
                g_assert_cmpint(at, ==, -1);
            else
                g_assert_cmphex(at, ==, viv_ld_le64(t->ram + 0x104000 + (lin >> 12 & 511) * 8) & 0xfffff000);
        } else {
            at = fetch(t, lin);
        }
        if (at < 0) { /* nothing was promised before either */
            g_assert_true(local[page].at < 0 || local[page].value != c->code_space ||
                          local[page].user != (c->cpl == 3));
            continue;
        }
        hold(&local[page], c->code_space, c->cpl == 3, at);
        if (viv_mmu_exec_global(c, lin))
            hold(&global[page], c->code_space_global, c->cpl == 3, at);
    }
    viv_x86_set_cpl(c, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/code-space/invlpg", test_invlpg);
    g_test_add_func("/code-space/invlpg-large", test_invlpg_large);
    g_test_add_func("/code-space/cr3", test_cr3);
    g_test_add_func("/code-space/pcid", test_pcid);
    g_test_add_func("/code-space/invpcid", test_invpcid);
    g_test_add_func("/code-space/global", test_global);
    g_test_add_func("/code-space/kernel", test_kernel);
    g_test_add_func("/code-space/controls", test_controls);
    g_test_add_func("/code-space/nx", test_nx);
    g_test_add_func("/code-space/full", test_full);
    g_test_add_func("/code-space/random", test_random);
    return g_test_run();
}
