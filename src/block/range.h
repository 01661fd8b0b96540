/* Locks on byte ranges: shared or exclusive, first come first served among those that overlap. */
#ifndef VIV_BLOCK_RANGE_H
#define VIV_BLOCK_RANGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct viv_range {
    uint64_t start, end; /* [start, end) */
    bool exclusive;
    struct viv_range *prev, *next;
};

struct viv_range_lock {
    pthread_mutex_t lock;
    pthread_cond_t released;
    struct viv_range *oldest, *newest; /* held and waiting, in order of arrival */
};

void viv_range_lock_init(struct viv_range_lock *l);
void viv_range_lock_fini(struct viv_range_lock *l);
/* Waits until no earlier range that overlaps (and is exclusive, or this one is) remains. `r` is the
 * caller's, until released. A thread that holds a range must not ask for an overlapping one. */
void viv_range_acquire(struct viv_range_lock *l, struct viv_range *r, uint64_t start, uint64_t end,
                       bool exclusive);
/* False: it would have to wait, and was not taken. */
bool viv_range_try(struct viv_range_lock *l, struct viv_range *r, uint64_t start, uint64_t end, bool exclusive);
void viv_range_release(struct viv_range_lock *l, struct viv_range *r);

#endif
