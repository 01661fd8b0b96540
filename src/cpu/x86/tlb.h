/* The software TLB's shape, shared by mmu.c (fills, flushes) and the interpreter's inline fast path.
 *
 * A direct-mapped table of linear pages; c->tlb_cur points at the table for the current privilege (CPL, SMAP
 * with AC; mmu.c keeps it current). An access of `size` bytes hits when the page of its LAST byte equals the tag
 * in the entry selected by its FIRST byte: crossing a page always misses, because neighbours have different
 * slots. Only plain RAM/ROM gets an addend; write tags only writable RAM whose PTE is dirty already. */
#ifndef VIV_CPU_X86_TLB_H
#define VIV_CPU_X86_TLB_H

#include "cpu/x86/state.h"
#include "mem/ram.h"

#define VIV_TLB_BITS    12
#define VIV_TLB_ENTRIES (1u << VIV_TLB_BITS)
#define VIV_TLB_NONE    1ull /* a tag that never matches: not page aligned */

struct viv_tlb_entry {
    uint64_t tag_read;  /* linear page address, or VIV_TLB_NONE */
    uint64_t tag_write;
    uintptr_t addend;   /* host address = linear + addend */
    uint8_t *flags;     /* low byte of viv_arena_flags[page]: a store must look at it afterwards */
};

/* Neighbours have different slots: the factor is neither 0 nor -1 modulo the entries. Pages that share a slot of the translator's
 * first-level TLB (16 bits of the page's number) mostly do not share one here: a guest with two hot ones walks no tables. */
static inline unsigned viv_tlb_index(uint64_t lin)
{
    return ((lin >> VIV_PAGE_SHIFT) + (lin >> (VIV_PAGE_SHIFT + 16)) * 0x25d) & (VIV_TLB_ENTRIES - 1);
}

static inline struct viv_tlb_entry *viv_tlb_slot(const struct viv_x86 *c, uint64_t lin)
{
    return &c->tlb_cur[viv_tlb_index(lin)];
}

/* Host address for a read or write of [lin, lin + size), or NULL: take the accessors of mmu.h. */
static inline void *viv_tlb_read(const struct viv_x86 *c, uint64_t lin, unsigned size)
{
    const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);

    if (__builtin_expect(((lin + size - 1) & VIV_PAGE_MASK) == e->tag_read, 1))
        return (void *)(lin + e->addend);
    return NULL;
}

#endif
