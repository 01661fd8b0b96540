/* What the handles of a user have done for it since the first was opened: requests that were submitted or tried, not the blocking forms. */
#ifndef VIV_BLOCK_STATS_H
#define VIV_BLOCK_STATS_H

#include "block/block.h"
#include "block/latency.h"

#include <stdatomic.h>

/* Zeroes that are written count as writes. */
enum { VIV_STAT_READ, VIV_STAT_WRITE, VIV_STAT_FLUSH, VIV_STAT_UNMAP, VIV_STATS };

struct viv_blk_counters {
    atomic_uint_least64_t ops[VIV_STATS], bytes[VIV_STATS], ns[VIV_STATS], failed[VIV_STATS], invalid[VIV_STATS];
    atomic_uint_least64_t written_end; /* behind the last byte that was written */
    atomic_int_least64_t last;         /* end of the last request, monotonic; 0: none */
    atomic_bool skip_invalid, skip_failed; /* for `last`; and, those that failed, for ns and intervals */
    struct viv_latency *latency;           /* the kinds are those of the first three here */
    atomic_uint refs;
};

struct viv_blk_counters *viv_blk_stats_new(void);
struct viv_blk_counters *viv_blk_stats_ref(struct viv_blk_counters *c);
void viv_blk_stats_put(struct viv_blk_counters *c);

/* Now, in the clock of the counters. */
int64_t viv_blk_stats_clock(void);
/* A request ended that began at `start`. Any thread. */
void viv_blk_stats_count(struct viv_blk_counters *c, const struct viv_blk_req *r, int64_t start, int result);

#endif
