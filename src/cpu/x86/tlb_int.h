/* Inside of the software TLB, for tlb.c (what it holds, how it is flushed) and mmu.c (misses, accessors). */
#ifndef VIV_CPU_X86_TLB_INT_H
#define VIV_CPU_X86_TLB_INT_H

#include "cpu/x86/code_space.h"
#include "cpu/x86/tlb.h"
#include "cpu/x86/walk.h"

#define VIV_TLB_LOG        256u
#define VIV_TLB_USER_BANKS 8u /* Linux uses six PCIDs a CPU */
#define VIV_TLB_GPA        256u

struct viv_tlb_bank {
    struct viv_tlb_entry e[VIV_TLB_ENTRIES];
    uint16_t log[VIV_TLB_LOG]; /* slots with non-global pages */
    unsigned logged;           /* more than VIV_TLB_LOG: flush everything */
    bool huge;                 /* holds parts of 1 GiB pages */
    uint64_t large[8];         /* hash of the 4 MiB regions that hold parts of 2 and 4 MiB pages */
    bool empty;                /* nothing filled since the last clear */
    int pcid;                  /* user banks: owner, -1 none */
    uint64_t used;             /* stamp of last selection */
};

struct viv_x86_tlb {
    struct viv_tlb_bank super;
    struct viv_tlb_bank user[VIV_TLB_USER_BANKS];
    struct viv_tlb_bank none; /* always empty */
    unsigned cur_user;
    uint64_t stamp;
    struct viv_gpa_page gpa[VIV_TLB_GPA];
    struct viv_code_spaces code; /* a table for each user bank */
};

static inline struct viv_tlb_bank *viv_tlb_user_bank(const struct viv_x86 *c)
{
    return &c->tlb->user[c->tlb->cur_user];
}

/* A page whose host page is p->hva. `user`: into the user bank. */
void viv_tlb_fill(struct viv_x86 *c, uint64_t lin, const struct viv_walk *w, const struct viv_gpa_page *p,
                  bool user);

#endif
