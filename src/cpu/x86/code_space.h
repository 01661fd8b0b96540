/* Where code pages are: the TLB of instruction fetches, and names for what it promises.
 *
 * c->code_space has a random-looking 64-bit value. As long as it has the same value, with the same CPL and mode, every
 * linear address that viv_mmu_host(VIV_ACC_EXEC) has answered under that value leads to the same host page,
 * executable. c->code_space_global promises the same, but of pages that were mapped global only: CR3 loads leave
 * it alone. Values are never used again once they have changed, so a cache keyed by (address, value) needs no
 * flush.
 *
 * The promise is kept by remembering exactly what was answered: for each PCID bank a table of what the supervisor fetched
 * and one of what users fetched, and one table of global pages. As long as the supervisor has fetched from global
 * pages only, its value does not depend on the bank: a kernel keeps its code over CR3 loads. Nothing is evicted from a table one page at a time, so nothing in it is ever looked up anew in the
 * guest's page tables; what must go (INVLPG of a page in it, a flush, no room) takes the whole table and its value
 * with it. Over-flushing is allowed, as in any TLB. Keys do not matter to fetches, nor does CR0.WP; what does (CR0.PG,
 * CR4.SMEP, EFER.NXE, ...) flushes everything. */
#ifndef VIV_CPU_X86_CODE_SPACE_H
#define VIV_CPU_X86_CODE_SPACE_H

#include "cpu/x86/state.h"

#define VIV_CODE_SLOTS   4096u /* touched as they are used */
#define VIV_CODE_REGIONS 16u

struct viv_code_table {
    struct {
        uint64_t tag; /* linear page, generation, privilege */
        uint8_t *hva; /* of the page */
    } e[VIV_CODE_SLOTS];
    unsigned used;
    unsigned gen;   /* of the valid tags; never 0 */
    uint64_t value; /* what c->code_space is while this table is the current one, and the promise is its own */
    /* Large pages of which a part is in the table; more than fit: any page may be part of one. */
    unsigned regions;
    struct {
        uint64_t lin;
        unsigned shift;
    } region[VIV_CODE_REGIONS];
};

struct viv_code_spaces {
    uint64_t serial; /* of values */
    struct viv_code_table global;
    uint64_t nothing_local; /* c->code_space of supervisors that have fetched from global pages only */
    unsigned banks, cur;
    struct viv_code_table (*local)[2]; /* by bank; for supervisor and user */
};

/* 0 or -ENOMEM. */
int viv_code_init(struct viv_x86 *c, struct viv_code_spaces *s, unsigned banks);
void viv_code_fini(struct viv_code_spaces *s);

/* Host address of the page, or NULL: walk and viv_code_fill(). */
uint8_t *viv_code_find(const struct viv_code_spaces *s, uint64_t lin, bool user);
bool viv_code_is_global(const struct viv_code_spaces *s, uint64_t lin, bool user);
/* May change the values. */
void viv_code_fill(struct viv_x86 *c, struct viv_code_spaces *s, uint64_t lin, unsigned shift, bool user,
                   bool global, uint8_t *hva);

/* CPL or bank changed: sets c->code_space and c->code_space_global. */
void viv_code_select(struct viv_x86 *c, struct viv_code_spaces *s, unsigned bank);
void viv_code_flush(struct viv_x86 *c, struct viv_code_spaces *s, unsigned bank);
void viv_code_flush_all(struct viv_x86 *c, struct viv_code_spaces *s); /* with global pages */
/* INVLPG: of one bank, and of global pages if `global`. */
void viv_code_drop(struct viv_x86 *c, struct viv_code_spaces *s, unsigned bank, uint64_t lin, bool global);

#endif
