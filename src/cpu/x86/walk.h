/* The page walk (SDM 3A chapter 4): linear to guest-physical, permissions as data, accessed and dirty bits. Used by
 * mmu.c only; apart so that its tests can compare it with a plain model. */
#ifndef VIV_CPU_X86_WALK_H
#define VIV_CPU_X86_WALK_H

#include "cpu/x86/mmu.h"

enum { /* page-fault error code */
    VIV_PFE_P = 1 << 0,
    VIV_PFE_W = 1 << 1,
    VIV_PFE_U = 1 << 2,
    VIV_PFE_RSVD = 1 << 3,
    VIV_PFE_I = 1 << 4,
    VIV_PFE_PK = 1 << 5,
};

enum { /* how an access is made */
    VIV_HOW_USER = 1 << 0,     /* CPL 3 */
    VIV_HOW_IMPLICIT = 1 << 1, /* descriptor tables, TSS, frames: SMAP whatever AC is */
    VIV_HOW_DEBUG = 1 << 2,    /* no faults, no A/D bits, no permission checks; any thread */
};

struct viv_walk {
    uint64_t gpa;      /* of the byte at `lin` */
    uint8_t shift;     /* log2 of the page size */
    bool user;         /* U/S over all levels */
    bool write;        /* R/W over all levels */
    bool nx;           /* over all levels */
    bool global;
    bool dirty;        /* leaf D bit, after this walk */
    uint8_t pkey;
    /* Filled on the way. */
    uint8_t levels;
    bool wide;         /* 8-byte entries */
    uint64_t entry_gpa[5], entry[5];
};

/* 0: `w` is filled, A/D bits are set. Else the error code of the page fault plus 1 << 31. */
#define VIV_WALK_FAULT (1u << 31)
uint32_t viv_mmu_walk(struct viv_x86 *c, uint64_t lin, enum viv_access acc, unsigned how,
                      struct viv_walk *w);
/* Does the key of page `w` forbid this access? */
static inline bool viv_mmu_pkey_denies(const struct viv_x86 *c, const struct viv_walk *w, bool write, unsigned how)
{
    uint32_t keys;

    if (!(c->cr4 & (w->user ? VIV_CR4_PKE : VIV_CR4_PKS)) || !(c->msr.efer & VIV_EFER_LMA))
        return false;
    keys = (w->user ? c->fpu.pkru : (uint32_t)c->msr.pkrs) >> (w->pkey * 2);
    if (keys & 1)
        return true;
    return write && (keys & 2) && ((how & VIV_HOW_USER) || (c->cr0 & VIV_CR0_WP));
}

/* PAE: loads the four PDPTEs from CR3 (value given). False: a reserved bit is set, #GP(0). */
bool viv_mmu_load_pdptes(struct viv_x86 *c, uint64_t cr3);

static inline bool viv_mmu_pae_legacy(const struct viv_x86 *c)
{
    return (c->cr0 & VIV_CR0_PG) && (c->cr4 & VIV_CR4_PAE) && !(c->msr.efer & VIV_EFER_LMA);
}

#endif
