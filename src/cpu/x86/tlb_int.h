/* Inside of the software TLB, for tlb.c (what it holds, how it is flushed) and mmu.c (misses, accessors). */
#ifndef VIV_CPU_X86_TLB_INT_H
#define VIV_CPU_X86_TLB_INT_H

#include "cpu/x86/code_space.h"
#include "cpu/x86/tlb.h"
#include "cpu/x86/walk.h"

#define VIV_TLB_WORDS      (VIV_TLB_ENTRIES / 64)
#define VIV_TLB_USER_BANKS 8u /* Linux uses six PCIDs a CPU */
#define VIV_TLB_RANGES     8u
#define VIV_TLB_NEAR       2u /* of them: RAM or ROM, looked at in line */

struct viv_tlb_bank {
    struct viv_tlb_entry e[VIV_TLB_ENTRIES];
    /* Bit n: slot n may hold a page; a page that is not global. Above them: which words are not 0. */
    uint64_t filled[VIV_TLB_WORDS], nonglobal[VIV_TLB_WORDS];
    uint64_t filled_words, nonglobal_words;
    /* Where parts of large pages may be: by bits 39-47 of their addresses, and 2 and 4 MiB pages also by a hash of the
     * 4 MiB region. Kernels have some parts of their address space that consist of large pages, and do INVLPG in others. */
    uint64_t huge_top[8], large_top[8], large[8];
    bool ready;    /* its slots have been set to hold nothing; before the first use they are not */
    bool empty;    /* nothing filled since the last clear */
    int pcid;      /* user banks: owner, -1 none */
    uint64_t used; /* stamp of last selection */
};

struct viv_x86_tlb {
    struct viv_tlb_bank super;
    struct viv_tlb_bank user[VIV_TLB_USER_BANKS];
    struct viv_tlb_bank none; /* always empty */
    unsigned cur_user;
    uint64_t stamp;
    /* Guest-physical ranges looked up lately, forgotten with each change of the map. */
    struct viv_tlb_range {
        uint64_t start; /* ~0: free */
        uint64_t span;  /* pages that begin at start to start + span are inside */
        uint8_t *hva;   /* NULL: MMIO */
        bool ram;
    } range[VIV_TLB_RANGES];
    unsigned next_range;
    struct viv_code_spaces code; /* a table for each user bank */
};

static inline struct viv_tlb_bank *viv_tlb_user_bank(const struct viv_x86 *c)
{
    return &c->tlb->user[c->tlb->cur_user];
}

/* Where a guest-physical page is in the host. */
struct viv_gpa_page {
    uint8_t *hva; /* for reading; NULL: MMIO, hole, or a page shared by ranges */
    bool ram;     /* may be written directly */
};
struct viv_gpa_page viv_tlb_gpa_page_slow(struct viv_x86 *c, uint64_t page);

static inline struct viv_gpa_page viv_tlb_gpa_page(struct viv_x86 *c, uint64_t gpa)
{
    uint64_t page = gpa & VIV_PAGE_MASK;
    const struct viv_tlb_range *r = c->tlb->range;

    for (unsigned n = 0; n < VIV_TLB_NEAR; n++)
        if (__builtin_expect(page - r[n].start <= r[n].span, 1))
            return (struct viv_gpa_page){.hva = r[n].hva + (page - r[n].start), .ram = r[n].ram};
    return viv_tlb_gpa_page_slow(c, page);
}

/* A page whose host page is p.hva. `user`: into the user bank. */
void viv_tlb_fill(struct viv_x86 *c, uint64_t lin, const struct viv_walk *w, struct viv_gpa_page p, bool user);

#endif
