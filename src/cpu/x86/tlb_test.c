/* The TLBs against the one rule they have: an access may use a translation that was there at some time since it was last
 * invalidated, and no other (SDM 3A 4.10). Random changes of page tables, INVLPG, CR3 loads and INVPCID, and loads in
 * the way the interpreter makes them and in the way translated code does, through its first-level TLB. */
#include "base/bytes.h"
#include "cpu/x86/interp/test_cpu.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/seg.h"
#include "cpu/x86/xlate/l1.h"
#include "cpu/x86/xlate/layout.h"
#include "cpu/x86/xlate/xlate.h"
#include "cpu/x86/xlate/xlate_int.h"

#include <glib.h>
#include <string.h>

#define PAGES  24u
#define FRAMES 16u
#define FRAME  0x400000ull /* the first; each begins with its number */
#define RIGHTS 0x27 /* P W U A */
#define D      0x40
#define G      0x100

/* Half of them share slots of the banks with the other half. */
static uint64_t page_at(unsigned n)
{
    return TEST_ABSENT + (n / 2) * 4096ull + (n & 1) * (4096ull << VIV_TLB_BITS);
}

struct page {
    unsigned frame;
    bool global;
    uint32_t local, kept; /* frames that may be cached, by whether their entry was global */
};

static struct page page[PAGES];

static uint8_t *entry(struct test_cpu *t, unsigned n)
{
    uint64_t lin = page_at(n);
    uint64_t table = 0x104000 + (n & 1) * 0x1000;

    viv_st_le64(t->ram + 0x102000 + (lin >> 21) * 8, table | 7);
    return t->ram + table + (lin >> 12 & 511) * 8;
}

static void set_entry(struct test_cpu *t, unsigned n)
{
    struct page *p = &page[n];

    p->frame = (unsigned)g_random_int_range(0, FRAMES);
    p->global = g_random_int_range(0, 3) == 0;
    *(p->global ? &p->kept : &p->local) |= 1u << p->frame;
    viv_st_le64(entry(t, n), (FRAME + p->frame * 4096ull) | RIGHTS | (p->global ? G : 0) |
                              (g_random_boolean() ? D : 0));
}

static void invalidated(unsigned n, bool global)
{
    struct page *p = &page[n];

    p->local = p->global ? 0 : 1u << p->frame;
    if (global)
        p->kept = p->global ? 1u << p->frame : 0;
}

static void change(struct test_cpu *t, uint64_t root)
{
    struct viv_x86 *c = t->c;
    unsigned n = (unsigned)g_random_int_range(0, PAGES), what = (unsigned)g_random_int_range(0, 24);

    if (what < 6) {
        set_entry(t, n);
    } else if (what < 9) {
        viv_tlb_flush_page(c, page_at(n));
        invalidated(n, true);
    } else if (what < 13) {
        if (what == 9)
            viv_cr_write(c, 3, root);
        else if (what == 10)
            viv_tlb_flush_pcid(c, (unsigned)root & 0xfff);
        else if (what == 11)
            viv_tlb_flush_user(c);
        else
            viv_tlb_flush_all(c);
        for (unsigned k = 0; k < PAGES; k++)
            invalidated(k, what == 12);
    } else if (what == 13) { /* away and back: what is kept may be used, nothing else */
        viv_cr_write(c, 3, 1ull << 63 | (root ^ 1));
        viv_cr_write(c, 3, 1ull << 63 | root);
    } else if (what < 16) {
        viv_x86_set_cpl(c, c->cpl ? 0 : 3);
    }
}

/* As translated code does it; helpers.c. */
static uint64_t load_translated(struct viv_x86 *c, uint64_t lin)
{
    unsigned set = c->cpl == 3 ? VIV_L1_USER : VIV_L1_SUPER;
    const uint8_t *l1 = (const uint8_t *)c + XL_L1 + set * XL_L1_SET;
    uint64_t slot = lin >> VIV_PAGE_SHIFT & (XL_L1_SLOTS - 1);

    if (lin + ((const uint64_t *)(l1 + XL_L1_READ))[slot] >= VIV_PAGE_SIZE)
        slot = viv_xl_miss(c, lin, 8 << 16);
    return viv_ld_le64((const uint8_t *)(lin + ((const uint64_t *)(l1 + XL_L1_ADDEND))[slot]));
}

static void run(bool smap)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_x86 *c = t->c;
    struct viv_xlate_opts opts = {.cache_bytes = 1 << 20};
    struct viv_err err = {0};
    uint64_t root = c->cr3 | 5;

    if (viv_xlate_probe(&err) < 0 || viv_xlate_attach(c, &opts, &err) < 0) {
        g_test_skip(err.text);
        return;
    }
    viv_cr_write(c, 4, c->cr4 | VIV_CR4_PGE);
    viv_cr_write(c, 4, c->cr4 | VIV_CR4_PCIDE | (smap ? VIV_CR4_SMAP : 0));
    c->eflags |= VIV_FL_AC;
    memset(page, 0, sizeof(page));
    for (unsigned n = 0; n < FRAMES; n++)
        viv_st_le64(t->ram + FRAME + n * 4096ull, n);
    for (unsigned n = 0; n < PAGES; n++)
        set_entry(t, n);
    viv_cr_write(c, 3, root);
    viv_tlb_flush_all(c);
    for (unsigned n = 0; n < 1000000; n++) {
        unsigned k = (unsigned)g_random_int_range(0, PAGES);
        uint64_t v;

        change(t, root);
        v = n & 1 ? load_translated(c, page_at(k)) : viv_ld64(c, page_at(k));
        if (n % 8 == 0) /* a page that was only read is looked up again */
            viv_st64(c, page_at((unsigned)g_random_int_range(0, PAGES)) + 64, n);
        g_assert_cmpuint(v, <, FRAMES);
        g_assert_true((page[k].local | page[k].kept) >> v & 1);
    }
    viv_x86_set_cpl(c, 0);
    viv_xlate_detach(c);
}

static void test_plain(void)
{
    run(false);
}

static void test_smap(void)
{
    run(true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tlb/random", test_plain);
    g_test_add_func("/tlb/random-smap", test_smap);
    return g_test_run();
}
