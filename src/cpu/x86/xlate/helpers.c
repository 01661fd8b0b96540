/* What thunks.S calls. The guest's registers are in struct viv_x86; faults go to the run loop by longjmp. */
#include "cpu/x86/exc.h"
#include "cpu/x86/decode/row.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/xlate/l1.h"
#include "cpu/x86/xlate/xlate_int.h"
#include "mem/ram.h"

#include <string.h>

#define SLOW (~0ull)

static bool canonical(const struct viv_x86 *c, uint64_t lin)
{
    unsigned shift = c->cr4 & VIV_CR4_LA57 ? 7 : 16;

    return (uint64_t)((int64_t)(lin << shift) >> shift) == lin;
}

static uint64_t rip_at(const struct viv_x86 *c, unsigned off)
{
    uint64_t rip = c->xl_page + off;

    return c->mode == VIV_MODE_LONG ? rip : (uint32_t)rip;
}

/* Pages with flags are not written to by way of the table: group.c relies on it. */
static uint64_t slot_for(struct viv_x86 *c, unsigned set, uint64_t lin, bool write, const struct viv_tlb_entry *e)
{
    if (write && *e->flags)
        return viv_l1_once(c, set, lin, (void *)(uintptr_t)(lin + e->addend), e->flags);
    return viv_l1_fill(c, set, lin, e);
}

/* viv_mmu_host(); NULL as well if the walk has set bits in a page of code: the block that runs may be of that page, so it has to be
 * left. */
static void *host_of(struct viv_x86 *c, uint64_t lin, unsigned size, bool write)
{
    static const struct viv_insn some;
    struct viv_interp *in = c->interp;
    void *hva;

    in->block_first = NULL;
    in->block_end = &some;
    hva = viv_mmu_host(c, lin, size, write ? VIV_ACC_WRITE : VIV_ACC_READ);
    return in->block_end ? hva : NULL;
}

/* A read of two pages that the bank has: the bytes are put together elsewhere and read there. A local variable may lie like that
 * for as long as its program runs. The host checks the alignment that the guest's instruction wants. */
static uint64_t read_across(struct viv_x86 *c, unsigned set, uint64_t lin, unsigned size)
{
    unsigned first = VIV_PAGE_SIZE - (lin & (VIV_PAGE_SIZE - 1));
    uint64_t next = lin + first;
    const uint8_t *a = viv_tlb_read(c, lin, first), *b = viv_tlb_read(c, next, size - first);
    uint8_t *at = (uint8_t *)(((uintptr_t)c->xlate->across + 63) & ~63ull) + (lin & 63);

    if (!a || !b || size > 64 || (c->mode == VIV_MODE_LONG ? !canonical(c, next) : next >> 32 != 0))
        return SLOW;
    memcpy(at, a, first);
    memcpy(at + first, b, size - first);
    return viv_l1_once(c, set, lin, at, viv_tlb_slot(c, lin)->flags);
}

uint64_t viv_xl_miss(struct viv_x86 *c, uint64_t lin, uint32_t info)
{
    unsigned size = XL_I_SIZE(info), set = c->cpl == 3 ? VIV_L1_USER : VIV_L1_SUPER;
    bool write = info & XL_I_WRITE;
    const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);
    uint64_t page = lin & VIV_PAGE_MASK;
    void *hva;

    c->xlate->stats.tlb_misses++;
    c->rip = c->next_rip = rip_at(c, XL_I_OFFSET(info));
    if ((write ? e->tag_write : e->tag_read) == page && ((lin + size - 1) & VIV_PAGE_MASK) == page)
        return slot_for(c, set, lin, write, e);
    /* Segment limits, addresses that are not canonical or wrap, pages crossed, the order of faults of a misaligned vector:
     * all done in full elsewhere. */
    if (c->mode == VIV_MODE_LONG ? !canonical(c, lin) : lin >> 32 != 0)
        return SLOW;
    if ((lin & (VIV_PAGE_SIZE - 1)) + size > VIV_PAGE_SIZE)
        return write ? SLOW : read_across(c, set, lin, size);
    if (size >= 16 && (lin & (size - 1)))
        return SLOW;
    if (info & XL_I_MASKED)
        return SLOW;
    hva = host_of(c, lin, size, write);
    if (!hva)
        return SLOW;
    if ((write ? e->tag_write : e->tag_read) == page)
        return slot_for(c, set, lin, write, e);
    return viv_l1_once(c, set, lin, hva, (uint8_t *)&viv_arena_flags[viv_arena_page(hva)]);
}

/* Nothing is raised, and the guest's page tables are not looked at: the plain block does that. */
uint64_t viv_xl_group_miss(struct viv_x86 *c, uint64_t lin, uint32_t info)
{
    unsigned size = info & 0xffff, set = c->cpl == 3 ? VIV_L1_USER : VIV_L1_SUPER;
    const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);
    uint64_t page = lin & VIV_PAGE_MASK;

    c->xlate->stats.tlb_misses++;
    if ((info & XL_I_WRITE ? e->tag_write : e->tag_read) != page || ((lin + size - 1) & VIV_PAGE_MASK) != page ||
        ((info & XL_I_WRITE) && *e->flags))
        return SLOW;
    return viv_l1_fill(c, set, lin, e);
}

static void page_stored(const uint8_t *flags)
{
    size_t page = (size_t)((const uint16_t *)flags - viv_arena_flags);

    viv_ram_store_slow(viv_arena_base + (page << VIV_PAGE_SHIFT), 1); /* the listener does the rest */
}

/* The block is left: nobody will look at what its groups (group.c) have stored. Pages that they have not stored to may be among
 * those, of this block or an older one: that costs a comparison. */
void viv_xl_stored(struct viv_x86 *c, uint8_t *flags)
{
    page_stored(flags);
    for (unsigned n = 0; n < 16; n++) {
        const uint8_t *f = (const uint8_t *)c->xl_group[n][1];

        if (f && __atomic_load_n(f, __ATOMIC_RELAXED))
            page_stored(f);
    }
}

bool viv_xl_exec(struct viv_x86 *c, const struct viv_insn *i, unsigned off)
{
    struct viv_interp *in = c->interp;
    uint64_t space = c->code_space, global = c->code_space_global, next;
    bool same;

    c->rip = rip_at(c, off);
    next = c->rip + i->len;
    if (c->mode != VIV_MODE_LONG)
        next = (uint32_t)next;
    c->next_rip = next;
    c->insn = i;
    in->block_first = NULL;
    in->block_end = i + 1;
    c->xlate->stats.helper_calls++;
    i->exec(c, i);
    same = space == c->code_space && global == c->code_space_global;
    if ((i->row->attr & A_CTX) || !same)
        viv_interp_context(c);
    c->rip = c->next_rip;
    /* `calm`: what another CPU changed before it told this one is seen behind CPUID and the like (SDM 3A 9.1.3). */
    return c->next_rip == next && in->block_end && !c->attention && !c->halted && same &&
           __atomic_load_n(&c->xl.calm, __ATOMIC_RELAXED);
}

bool viv_xl_exec_end(struct viv_x86 *c, const struct viv_insn *i, unsigned off)
{
    viv_xl_exec(c, i, off);
    return viv_xl_go_on(c);
}
