/* The page walk against a model written apart from it: the model knows the format of each paging mode as tables of
 * literal masks and judges a list of entries; the walk finds the same entries in guest memory. Random entries,
 * privileges and control bits; also A/D bits, TLB consistency after INVLPG, and page-crossing stores. */
#include "cpu/x86/walk.h"

#include "base/bytes.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/interp/test_cpu.h"
#include "cpu/x86/mmu_int.h"

#include <glib.h>
#include <string.h>

#define TABLES 0x200000u
#define ROUNDS 300000

enum format { NARROW, NARROW_PSE, PAE, FOUR, FIVE, FORMATS };

struct setting {
    enum format format;
    enum viv_access acc;
    bool user, wp, nxe, smep, smap, ac, implicit, pke;
    uint32_t pkru;
};

struct verdict {
    bool fault;
    uint32_t error;
    unsigned used;  /* entries looked at */
    uint64_t frame; /* page frame when there is no fault */
};

static unsigned levels(enum format f)
{
    static const unsigned n[FORMATS] = {2, 2, 2, 4, 5};

    return n[f];
}

/* Reserved bits for a 40-bit physical address space, by distance from the leaf table (0: PTE). */
static uint64_t model_reserved(const struct setting *s, unsigned up, uint64_t e)
{
    uint64_t r;

    if (s->format == NARROW)
        return 0;
    if (s->format == NARROW_PSE)
        return up == 1 && (e & 0x80) ? 0x200000 : 0;
    r = 0x000fff0000000000ull;
    if (s->format == PAE)
        r |= 0x7ff0000000000000ull;
    if (!s->nxe)
        r |= 0x8000000000000000ull;
    if (up == 1 && (e & 0x80))
        r |= 0x1fe000;
    if (up == 2 && (e & 0x80))
        r |= 0x3fffe000;
    if (up >= 3)
        r |= 0x80;
    return r;
}

static bool model_leaf(const struct setting *s, unsigned up, uint64_t e)
{
    if (up == 0)
        return true;
    if (s->format == NARROW)
        return false;
    return (e & 0x80) && up <= (s->format >= FOUR ? 2 : 1);
}

static struct verdict model(const struct setting *s, const uint64_t *e)
{
    bool write = s->acc == VIV_ACC_WRITE, fetch = s->acc == VIV_ACC_EXEC, w = true, u = true, nx = false;
    bool denied = false, key = false;
    struct verdict v = {.error = (write ? 2 : 0) | (s->user ? 4 : 0)};
    unsigned n = 0, up = levels(s->format) - 1;
    uint64_t leaf;

    if (fetch && (s->smep || (s->nxe && s->format >= PAE)))
        v.error |= 16;
    v.fault = true;
    for (;; n++, up--) {
        v.used = n + 1;
        if (!(e[n] & 1))
            return v;
        if (e[n] & model_reserved(s, up, e[n])) {
            v.error |= 9;
            return v;
        }
        w = w && (e[n] & 2);
        u = u && (e[n] & 4);
        nx = nx || (s->format >= PAE && e[n] >> 63);
        if (model_leaf(s, up, e[n]))
            break;
    }
    leaf = e[n];
    if (s->user && !u)
        denied = true;
    if (write && !w && (s->user || s->wp))
        denied = true;
    if (fetch && (nx || (!s->user && u && s->smep)))
        denied = true;
    if (!fetch && !s->user && u && s->smap && (s->implicit || !s->ac))
        denied = true;
    if (s->pke && s->format >= FOUR && u && !fetch) {
        uint32_t k = s->pkru >> ((leaf >> 59 & 15) * 2);

        key = (k & 1) || (write && (k & 2) && (s->user || s->wp));
    }
    if (denied || key) {
        v.error |= 1 | (key ? 32 : 0);
        return v;
    }
    v.fault = false;
    v.frame = s->format < PAE ? (up ? (leaf & 0xffc00000) | (leaf >> 13 & 0xff) << 32 : leaf & 0xfffff000)
                              : leaf & 0x000ffffffffff000ull & ~((1ull << (12 + 9 * up)) - 1);
    return v;
}

static uint64_t random64(void)
{
    return (uint64_t)g_random_int() << 32 | g_random_int();
}

/* Mostly sound entries, so that walks get far. */
static uint64_t random_entry(const struct setting *s, unsigned up, uint64_t table)
{
    uint64_t e = 1 | (random64() & 0x1e6);

    if (g_random_int_range(0, 20) == 0)
        e &= ~1ull;
    if (g_random_int_range(0, 4) == 0)
        e &= ~0x80ull;
    if (g_random_int_range(0, 3) == 0 && s->format >= PAE)
        e |= 1ull << 63;
    if (s->format >= FOUR)
        e |= random64() & 0x7ff0000000000000ull;
    if (g_random_int_range(0, 12) == 0)
        e |= 1ull << g_random_int_range(12, s->format < PAE ? 32 : 63);
    if (model_leaf(s, up, e))
        return e | ((uint64_t)g_random_int_range(0, 1 << 20) << 30 & 0xffc0000000ull & (s->format < PAE ? 0xffffffff : ~0ull));
    if (s->format == NARROW || up >= 3 || !(e & 0x80))
        e = (e & ~0x000ffffffffff000ull) | table;
    return e;
}

static void apply(struct viv_x86 *c, const struct setting *s)
{
    c->cr0 = VIV_CR0_PE | VIV_CR0_PG | (s->wp ? VIV_CR0_WP : 0);
    c->cr4 = (s->format == NARROW_PSE ? VIV_CR4_PSE : 0) | (s->format >= PAE ? VIV_CR4_PAE : 0) |
             (s->format == FIVE ? VIV_CR4_LA57 : 0) | (s->smep ? VIV_CR4_SMEP : 0) |
             (s->smap ? VIV_CR4_SMAP : 0) | (s->pke ? VIV_CR4_PKE : 0);
    c->msr.efer = (s->nxe ? VIV_EFER_NXE : 0) | (s->format >= FOUR ? VIV_EFER_LME | VIV_EFER_LMA : 0);
    c->eflags = 2 | (s->ac ? VIV_FL_AC : 0);
    c->fpu.pkru = s->pkru;
    c->cr3 = TABLES;
    if (s->format == PAE)
        for (unsigned n = 0; n < 4; n++)
            c->pdpte[n] = TABLES | 1;
}

static uint64_t *slot(struct test_cpu *t, const struct setting *s, unsigned n, uint64_t lin)
{
    unsigned up = levels(s->format) - 1 - n;

    if (s->format < PAE)
        return (uint64_t *)(t->ram + TABLES + n * 4096 + (lin >> (12 + 10 * up) & 1023) * 4);
    return (uint64_t *)(t->ram + TABLES + n * 4096 + (lin >> (12 + 9 * up) & 511) * 8);
}

static uint64_t get(const struct setting *s, const void *p)
{
    return s->format < PAE ? viv_ld_le32(p) : viv_ld_le64(p);
}

static void one_walk(struct test_cpu *t)
{
    struct setting s = {
        .format = (enum format)g_random_int_range(0, FORMATS),
        .acc = (enum viv_access[]){VIV_ACC_READ, VIV_ACC_WRITE, VIV_ACC_EXEC}[g_random_int_range(0, 3)],
        .user = g_random_boolean(), .wp = g_random_boolean(), .nxe = g_random_boolean(),
        .smep = g_random_boolean(), .smap = g_random_boolean(), .ac = g_random_boolean(),
        .pke = g_random_boolean(), .pkru = g_random_int() & g_random_int(),
    };
    uint64_t e[5], after, lin = random64();
    struct verdict v;
    struct viv_walk w;
    uint32_t error;

    s.implicit = !s.user && g_random_boolean();
    lin = s.format < FOUR ? (uint32_t)lin : (uint64_t)((int64_t)(lin << 16) >> 16);
    apply(t->c, &s);
    for (unsigned n = 0; n < levels(s.format); n++) {
        e[n] = random_entry(&s, levels(s.format) - 1 - n, TABLES + (n + 1) * 4096);
        if (s.format < PAE) {
            e[n] = (uint32_t)e[n];
            viv_st_le32(slot(t, &s, n, lin), (uint32_t)e[n]);
        } else {
            viv_st_le64(slot(t, &s, n, lin), e[n]);
        }
    }
    viv_tlb_flush_all(t->c); /* control bits and entries are not those of the last walk */
    v = model(&s, e);
    error = viv_mmu_walk(t->c, lin, s.acc, (s.user ? VIV_HOW_USER : 0) | (s.implicit ? VIV_HOW_IMPLICIT : 0), &w);
    g_assert_cmpuint(error, ==, v.fault ? v.error | VIV_WALK_FAULT : 0);
    if (!v.fault)
        g_assert_cmphex(w.gpa & ~((1ull << w.shift) - 1), ==, v.frame);
    for (unsigned n = 0; n < v.used; n++) {
        after = get(&s, slot(t, &s, n, lin));
        if (!v.fault)
            e[n] |= 0x20 | (n == v.used - 1 && s.acc == VIV_ACC_WRITE ? 0x40 : 0);
        g_assert_cmphex(after, ==, e[n]);
    }
}

static void test_matrix(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);

    t->cpuid->phys_bits = 40;
    for (unsigned n = 0; n < ROUNDS; n++)
        one_walk(t);
}

/* ---- accessors ---- */

/* Runs fn; true when it raised, with the vector and error in *it. */
static bool raises(struct viv_x86 *c, void (*fn)(struct viv_x86 *c))
{
    struct viv_interp *it = c->interp;

    it->exc_pending = false;
    if (_setjmp(it->jmp) == 0)
        fn(c);
    return it->exc_pending;
}

static void map_4k(struct test_cpu *t, uint64_t lin, uint64_t gpa_flags)
{
    uint8_t *pd = t->ram + 0x102000, *pt = t->ram + 0x104000;

    viv_st_le64(pd + (lin >> 21) * 8, 0x104007);
    viv_st_le64(pt + (lin >> 12 & 511) * 8, gpa_flags);
    viv_tlb_flush_page(t->c, lin);
}

static void cross_store(struct viv_x86 *c)
{
    viv_st64(c, 0x3000ffc, 0x1122334455667788ull);
}

static void test_crossing(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_interp *it = t->c->interp;

    map_4k(t, 0x3000000, 0x110000 | 7);
    map_4k(t, 0x3001000, 0x112000 | 5); /* read only */
    viv_st_le32(t->ram + 0x110ffc, 0xaaaaaaaa);
    g_assert_true(raises(t->c, cross_store));
    g_assert_cmpuint(it->exc_vector, ==, VIV_PF);
    g_assert_cmphex(t->c->cr2, ==, 0x3001000);
    g_assert_cmphex(it->exc_error, ==, VIV_PFE_P | VIV_PFE_W);
    g_assert_cmphex(viv_ld_le32(t->ram + 0x110ffc), ==, 0xaaaaaaaa);
    map_4k(t, 0x3001000, 0x112000 | 7);
    g_assert_false(raises(t->c, cross_store));
    g_assert_cmphex(viv_ld_le32(t->ram + 0x110ffc), ==, 0x55667788);
    g_assert_cmphex(viv_ld_le32(t->ram + 0x112000), ==, 0x11223344);
}

/* What the TLB holds goes with INVLPG, a CR3 load and a PCID's flush; global pages outlive CR3. */
static void test_flush(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_x86 *c = t->c;

    c->cr4 |= VIV_CR4_PGE;
    viv_st_le32(t->ram + 0x110000, 1);
    viv_st_le32(t->ram + 0x111000, 2);
    map_4k(t, 0x3000000, 0x110000 | 7);
    g_assert_cmpuint(viv_ld32(c, 0x3000000), ==, 1);
    map_4k(t, 0x3000000, 0x111000 | 7);
    g_assert_cmpuint(viv_ld32(c, 0x3000000), ==, 2);
    viv_st_le64(t->ram + 0x104000, 0x110000 | 7);
    viv_mmu_set_cr3(c, c->cr3, false);
    g_assert_cmpuint(viv_ld32(c, 0x3000000), ==, 1);
    viv_mmu_set_cr3(c, c->cr3, false);
    map_4k(t, 0x3000000, 0x110000 | 0x107);
    g_assert_cmpuint(viv_ld32(c, 0x3000000), ==, 1);
    viv_st_le64(t->ram + 0x104000, 0x111000 | 0x107);
    viv_mmu_set_cr3(c, c->cr3, false);
    g_assert_cmpuint(viv_ld32(c, 0x3000000), ==, 1); /* still there */
    viv_tlb_flush_all(c);
    g_assert_cmpuint(viv_ld32(c, 0x3000000), ==, 2);
}

static void host_write(struct viv_x86 *c)
{
    viv_mmu_host(c, 0x3001000, 1, VIV_ACC_WRITE);
}

static void host_read(struct viv_x86 *c)
{
    viv_mmu_host(c, 0x3000010, 1, VIV_ACC_READ);
}

/* What a kernel's bulk copies ask: user pages under STAC only, and read-only ones never for writing. */
static void test_host_smap(void)
{
    struct test_cpu *t = test_cpu_get(VIV_MODE_LONG);
    struct viv_x86 *c = t->c;

    c->cr0 |= VIV_CR0_WP;
    c->cr4 |= VIV_CR4_SMAP;
    viv_mmu_select(c);
    map_4k(t, 0x3000000, 0x110000 | 7);
    map_4k(t, 0x3001000, 0x111000 | 5);
    c->eflags |= VIV_FL_AC;
    for (unsigned n = 0; n < 2; n++) { /* by a walk, then from the user bank */
        g_assert_true(viv_mmu_host(c, 0x3000010, 1, VIV_ACC_READ) == t->ram + 0x110010);
        g_assert_true(viv_mmu_host(c, 0x3000010, 1, VIV_ACC_WRITE) == t->ram + 0x110010);
        g_assert_true(viv_mmu_host(c, 0x3001000, 1, VIV_ACC_READ) == t->ram + 0x111000);
    }
    g_assert_true(raises(c, host_write));
    c->eflags &= ~(uint64_t)VIV_FL_AC;
    g_assert_true(raises(c, host_read));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/walk/matrix", test_matrix);
    g_test_add_func("/walk/crossing", test_crossing);
    g_test_add_func("/walk/flush", test_flush);
    g_test_add_func("/walk/host-smap", test_host_smap);
    return g_test_run();
}
