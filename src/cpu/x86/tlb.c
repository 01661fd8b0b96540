/* What the software TLB holds and how it is flushed.
 *
 * Tables ("banks") of 4096 direct-mapped pages: one for supervisor accesses, several for user accesses, each user
 * bank owned by a PCID, so that a CR3 load that keeps the TLB is a change of pointer. c->tlb_cur points at the bank
 * for CPL and CR3, or at an always empty one while #AC may occur (CPL 3, CR0.AM, EFLAGS.AC). Instruction fetches
 * have tables of their own, one a user bank: code_space.h.
 *
 * Each bank knows the slots filled, and those with non-global pages: a CR3 load empties those only. Over-flushing is
 * always allowed, under-flushing never: INVLPG looks through all slots of a large page. */
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/tlb_int.h"
#include "cpu/x86/xlate/l1.h"
#include "mem/space.h"

#include <glib.h>
#include <string.h>

/* ---- banks ---- */

static void drop_slot(struct viv_tlb_entry *e)
{
    e->tag_read = e->tag_write = VIV_TLB_NONE;
}

/* The slots in bits of a word. */
static void drop_slots(struct viv_tlb_entry *e, uint64_t bits)
{
    if (bits == ~0ull) {
        for (unsigned n = 0; n < 64; n++)
            drop_slot(&e[n]);
        return;
    }
    for (; bits; bits &= bits - 1)
        drop_slot(&e[__builtin_ctzll(bits)]);
}

static void bank_clear(struct viv_tlb_bank *b)
{
    if (b->empty)
        return;
    b->empty = true;
    for (uint64_t words = b->filled_words; words; words &= words - 1) {
        unsigned n = (unsigned)__builtin_ctzll(words);

        drop_slots(&b->e[n * 64], b->filled[n]);
        b->filled[n] = b->nonglobal[n] = 0;
    }
    b->filled_words = b->nonglobal_words = 0;
    memset(b->huge_top, 0, sizeof(b->huge_top));
    memset(b->large_top, 0, sizeof(b->large_top));
    memset(b->large, 0, sizeof(b->large));
}

static void bank_clear_nonglobal(struct viv_tlb_bank *b)
{
    for (uint64_t words = b->nonglobal_words; words; words &= words - 1) {
        unsigned n = (unsigned)__builtin_ctzll(words);

        drop_slots(&b->e[n * 64], b->nonglobal[n]);
        b->filled[n] &= ~b->nonglobal[n];
        b->nonglobal[n] = 0;
    }
    b->nonglobal_words = 0;
}

/* The supervisor's bank at a CR3 load: pages leave the first-level TLB one by one, so that those of the kernel stay there. What
 * an entry replaced in its slot left it too (viv_tlb_fill): nothing else is there that is not global. */
static void super_clear_nonglobal(struct viv_x86 *c)
{
    struct viv_tlb_bank *b = &c->tlb->super;

    for (uint64_t words = c->xlate ? b->nonglobal_words : 0; words; words &= words - 1) {
        unsigned n = (unsigned)__builtin_ctzll(words);

        for (uint64_t bits = b->nonglobal[n]; bits; bits &= bits - 1)
            viv_l1_drop(c, b->e[n * 64 + (unsigned)__builtin_ctzll(bits)].tag_read);
    }
    bank_clear_nonglobal(b);
}

static void bank_init(struct viv_tlb_bank *b)
{
    for (unsigned n = 0; n < VIV_TLB_ENTRIES; n++)
        drop_slot(&b->e[n]);
    b->empty = b->ready = true;
}

static inline void set_bit(uint64_t *bits, unsigned n)
{
    bits[n / 64] |= 1ull << (n & 63);
}

static inline bool test_bit(const uint64_t *bits, unsigned n)
{
    return bits[n / 64] >> (n & 63) & 1;
}

static inline unsigned top(uint64_t lin)
{
    return lin >> 39 & 511;
}

static inline unsigned region_hash(uint64_t lin)
{
    return (lin >> 22 ^ lin >> 31) & 511;
}

static inline void bank_note(struct viv_tlb_bank *b, uint64_t lin, unsigned slot, unsigned shift, bool global)
{
    b->empty = false;
    set_bit(b->filled, slot);
    b->filled_words |= 1ull << slot / 64;
    if (global) {
        b->nonglobal[slot / 64] &= ~(1ull << (slot & 63));
    } else {
        set_bit(b->nonglobal, slot);
        b->nonglobal_words |= 1ull << slot / 64;
    }
    if (shift == VIV_PAGE_SHIFT)
        return;
    if (shift >= 30) {
        set_bit(b->huge_top, top(lin));
        return;
    }
    set_bit(b->large_top, top(lin));
    set_bit(b->large, region_hash(lin));
}

/* Every slot that may hold a part of the page `lin` is in; neighbours go too. */
static void bank_drop_region(struct viv_tlb_bank *b, uint64_t lin, unsigned shift)
{
    for (uint64_t words = b->filled_words; words; words &= words - 1) {
        struct viv_tlb_entry *e = &b->e[__builtin_ctzll(words) * 64];

        for (unsigned n = 0; n < 64; n++)
            if (e[n].tag_read >> shift == lin >> shift)
                drop_slot(&e[n]);
    }
}

/* Returns how much went: the shift of a page of this size. */
static unsigned bank_drop(struct viv_tlb_bank *b, uint64_t lin)
{
    struct viv_tlb_entry *e = &b->e[viv_tlb_index(lin)];

    if (b->empty)
        return VIV_PAGE_SHIFT;
    if (test_bit(b->huge_top, top(lin))) {
        bank_drop_region(b, lin, 30);
        return 30;
    }
    if (test_bit(b->large_top, top(lin)) && test_bit(b->large, region_hash(lin))) {
        bank_drop_region(b, lin, 22);
        return 22;
    }
    if (e->tag_read == (lin & VIV_PAGE_MASK))
        drop_slot(e);
    return VIV_PAGE_SHIFT;
}

void viv_mmu_select(struct viv_x86 *c)
{
    if (c->cpl != 3)
        c->tlb_cur = c->tlb->super.e;
    else if ((c->cr0 & VIV_CR0_AM) && (c->eflags & VIV_FL_AC))
        c->tlb_cur = c->tlb->none.e;
    else
        c->tlb_cur = viv_tlb_user_bank(c)->e;
    viv_code_select(c, &c->tlb->code, c->tlb->cur_user);
}

int viv_mmu_init(struct viv_x86 *c)
{
    c->tlb = g_try_malloc0(sizeof(*c->tlb));
    if (!c->tlb)
        return -1;
    if (viv_code_init(c, &c->tlb->code, VIV_TLB_USER_BANKS) < 0) {
        g_free(c->tlb);
        c->tlb = NULL;
        return -1;
    }
    bank_init(&c->tlb->super);
    bank_init(&c->tlb->none);
    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++)
        c->tlb->user[n].empty = true;
    viv_mmu_flush_map(c);
    viv_mmu_select(c);
    return 0;
}

void viv_mmu_fini(struct viv_x86 *c)
{
    if (c->tlb)
        viv_code_fini(&c->tlb->code);
    g_free(c->tlb);
    c->tlb = NULL;
}

/* ---- flushes ---- */

static int pcid_of(const struct viv_x86 *c, uint64_t cr3)
{
    return (int)(c->cr4 & VIV_CR4_PCIDE ? cr3 & 0xfff : 0);
}

static void own_bank(struct viv_x86 *c, unsigned bank, int pcid)
{
    if (!c->tlb->user[bank].ready)
        bank_init(&c->tlb->user[bank]);
    c->tlb->cur_user = bank;
    c->tlb->user[bank].pcid = pcid;
    viv_mmu_select(c);
}

void viv_tlb_flush_data(struct viv_x86 *c)
{
    viv_l1_flush_all(c);
    bank_clear(&c->tlb->super);
    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++)
        bank_clear(&c->tlb->user[n]);
}

void viv_tlb_flush_all(struct viv_x86 *c)
{
    viv_tlb_flush_data(c);
    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++)
        c->tlb->user[n].pcid = -1;
    viv_code_flush_all(c, &c->tlb->code);
    own_bank(c, 0, pcid_of(c, c->cr3));
}

static void drop_first_level(struct viv_x86 *c, uint64_t lin, unsigned shift)
{
    if (shift == VIV_PAGE_SHIFT)
        viv_l1_drop(c, lin);
    else if (shift == 22)
        viv_l1_drop_region(c, lin, shift);
    else
        viv_l1_flush_all(c);
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* Data of all PCIDs: a user page of another one may be global. */
void viv_tlb_flush_page(struct viv_x86 *c, uint64_t lin)
{
    unsigned shift = bank_drop(&c->tlb->super, lin);

    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++)
        if (c->tlb->user[n].pcid >= 0)
            shift = larger(shift, bank_drop(&c->tlb->user[n], lin));
    drop_first_level(c, lin, shift);
    viv_code_drop(c, &c->tlb->code, c->tlb->cur_user, lin, true);
}

void viv_tlb_flush_page_of(struct viv_x86 *c, unsigned pcid, uint64_t lin)
{
    unsigned shift = bank_drop(&c->tlb->super, lin);

    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++) {
        if (c->tlb->user[n].pcid != (int)pcid)
            continue;
        shift = larger(shift, bank_drop(&c->tlb->user[n], lin));
        viv_code_drop(c, &c->tlb->code, n, lin, false);
    }
    drop_first_level(c, lin, shift);
}

/* The first-level TLB and the supervisor's bank hold nothing of other PCIDs. */
void viv_tlb_flush_pcid(struct viv_x86 *c, unsigned pcid)
{
    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++) {
        if (c->tlb->user[n].pcid != (int)pcid)
            continue;
        bank_clear(&c->tlb->user[n]);
        viv_code_flush(c, &c->tlb->code, n);
        if (n != c->tlb->cur_user)
            continue;
        viv_l1_flush(c, VIV_L1_USER);
        super_clear_nonglobal(c);
    }
}

void viv_tlb_flush_user(struct viv_x86 *c)
{
    viv_l1_flush(c, VIV_L1_USER);
    super_clear_nonglobal(c);
    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++) {
        bank_clear(&c->tlb->user[n]);
        viv_code_flush(c, &c->tlb->code, n);
    }
}

static void forget_ranges(struct viv_x86_tlb *t)
{
    for (unsigned n = 0; n < VIV_TLB_RANGES; n++)
        t->range[n] = (struct viv_tlb_range){.start = ~0ull};
}

void viv_mmu_flush_map(struct viv_x86 *c)
{
    forget_ranges(c->tlb);
    viv_tlb_flush_all(c);
}

void viv_mmu_set_cr3(struct viv_x86 *c, uint64_t cr3, bool keep)
{
    struct viv_x86_tlb *t = c->tlb;
    unsigned victim = 0;
    int pcid = pcid_of(c, cr3);

    c->cr3 = cr3;
    viv_l1_flush(c, VIV_L1_USER);
    super_clear_nonglobal(c);
    for (unsigned n = 0; n < VIV_TLB_USER_BANKS; n++) {
        if (t->user[n].pcid == pcid) {
            if (!keep) {
                bank_clear_nonglobal(&t->user[n]);
                viv_code_flush(c, &t->code, n);
            }
            victim = n;
            goto found;
        }
        if (t->user[n].used < t->user[victim].used)
            victim = n;
    }
    bank_clear(&t->user[victim]);
    viv_code_flush(c, &t->code, victim);
found:
    t->user[victim].used = ++t->stamp;
    own_bank(c, victim, pcid);
}

/* Keys concern data only. Without SMAP the supervisor's table holds user pages too. */
void viv_mmu_set_pkru(struct viv_x86 *c, uint32_t pkru)
{
    if (c->fpu.pkru == pkru)
        return;
    c->fpu.pkru = pkru;
    if (c->cr4 & VIV_CR4_PKE)
        viv_tlb_flush_data(c);
}

/* ---- physical pages ---- */

/* MMIO stays out of the near places. */
static struct viv_gpa_page use_range(struct viv_x86_tlb *t, unsigned n, uint64_t page)
{
    struct viv_tlb_range r = t->range[n];
    unsigned near = t->next_range % VIV_TLB_NEAR;

    if (!r.hva)
        return (struct viv_gpa_page){0};
    if (n >= VIV_TLB_NEAR) {
        t->range[n] = t->range[near];
        t->range[near] = r;
        t->next_range++;
    }
    return (struct viv_gpa_page){.hva = r.hva + (page - r.start), .ram = r.ram};
}

struct viv_gpa_page viv_tlb_gpa_page_slow(struct viv_x86 *c, uint64_t page)
{
    struct viv_x86_tlb *t = c->tlb;
    struct viv_space_range r;
    unsigned n;

    for (n = 0; n < VIV_TLB_RANGES; n++)
        if (page - t->range[n].start <= t->range[n].span)
            return use_range(t, n, page);
    if (!viv_space_find(c->mem, page, &r) || r.last - page < VIV_PAGE_SIZE - 1)
        return (struct viv_gpa_page){0};
    n = VIV_TLB_NEAR + t->next_range++ % (VIV_TLB_RANGES - VIV_TLB_NEAR);
    t->range[n] = (struct viv_tlb_range){.start = r.start, .span = r.last - r.start - (VIV_PAGE_SIZE - 1),
                                         .hva = r.hva, .ram = r.hva && r.kind == VIV_REGION_RAM};
    return use_range(t, n, page);
}

/* ---- fills ---- */

void viv_tlb_fill(struct viv_x86 *c, uint64_t lin, const struct viv_walk *w, struct viv_gpa_page p, bool user)
{
    struct viv_tlb_bank *b = user ? viv_tlb_user_bank(c) : &c->tlb->super;
    unsigned slot = viv_tlb_index(lin);
    struct viv_tlb_entry *e = &b->e[slot];
    bool write = p.ram && w->dirty && (w->write || (!user && !(c->cr0 & VIV_CR0_WP)));

    if (write && viv_mmu_pkey_denies(c, w, true, user ? VIV_HOW_USER : 0))
        write = false;
    if (!user && test_bit(b->nonglobal, slot) && (w->global || e->tag_read != (lin & VIV_PAGE_MASK)))
        viv_l1_drop(c, e->tag_read); /* nobody will know that it was there: super_clear_nonglobal */
    e->tag_read = lin & VIV_PAGE_MASK;
    e->tag_write = write ? e->tag_read : VIV_TLB_NONE;
    e->addend = (uintptr_t)p.hva - (lin & VIV_PAGE_MASK);
    e->flags = (uint8_t *)&viv_arena_flags[viv_arena_page(p.hva)];
    bank_note(b, lin, slot, w->shift, w->global);
}
