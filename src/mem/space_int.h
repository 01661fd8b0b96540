/* Between space.c (the flat view) and access.c (dispatch). */
#ifndef VIV_MEM_SPACE_INT_H
#define VIV_MEM_SPACE_INT_H

#include "mem/space.h"

/* A viv_range and what dispatch needs before it may follow the region pointer. Copied by words. */
struct viv_flat {
    struct viv_space_range r;
    uint32_t lockless;
    uint32_t covers; /* viv_space_covers */
};

/* The range that holds addr. On false out->r.start is the first mapped address above addr; out->r.last is 0
 * when there is none. Any thread. */
bool viv_space_find_flat(struct viv_space *s, uint64_t addr, struct viv_flat *out);

/* Device lock held, or the region is lockless. */
const struct viv_region_desc *viv_region_desc_of(const struct viv_region *r);

#endif
