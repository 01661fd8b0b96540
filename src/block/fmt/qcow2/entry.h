/* L2 entries, as map, allocation and check see them: both widths, one or 32 subclusters a cluster. */
#ifndef VIV_BLOCK_FMT_QCOW2_ENTRY_H
#define VIV_BLOCK_FMT_QCOW2_ENTRY_H

#include "block/fmt/qcow2/qcow2_int.h"

/* "Extended L2 Entries": the bitmap says of each subcluster whether it is allocated or reads as zeroes. Without
 * them a cluster is one subcluster, and its bits are read off the descriptor. */
struct qcow2_entry {
    uint64_t desc;        /* without QCOW2_ZERO */
    uint32_t alloc, zero; /* a bit a subcluster; they mean nothing for compressed clusters */
};

static inline uint32_t qcow2_sub_size(const struct qcow2 *q)
{
    return q->extended ? q->cluster_size >> QCOW2_SUB_BITS : q->cluster_size;
}

static inline unsigned qcow2_sub_count(const struct qcow2 *q)
{
    return q->extended ? 1u << QCOW2_SUB_BITS : 1;
}

/* Bits [from, to) of a cluster's subclusters. */
static inline uint32_t qcow2_sub_mask(unsigned from, unsigned to)
{
    return (uint32_t)(((1ull << to) - 1) & ~((1ull << from) - 1));
}

static inline uint32_t qcow2_sub_all(const struct qcow2 *q)
{
    return qcow2_sub_mask(0, qcow2_sub_count(q));
}

/* Has a host cluster (which may be 0 in a data file, where the guest's first cluster lies). */
static inline bool qcow2_has_place(const struct qcow2 *q, const struct qcow2_entry *e)
{
    return !(e->desc & QCOW2_COMPRESSED) && ((e->desc & QCOW2_OFFSET) || (q->external && (e->desc & QCOW2_COPIED)));
}

/* One that nobody shares: it may be written. A data file counts no references. */
static inline bool qcow2_has_own_place(const struct qcow2 *q, const struct qcow2_entry *e)
{
    return qcow2_has_place(q, e) && ((e->desc & QCOW2_COPIED) || q->external);
}

void qcow2_entry_load(const struct qcow2 *q, const struct qcow2_table *t, uint32_t index, struct qcow2_entry *e);
/* Marks the table dirty. */
void qcow2_entry_store(struct qcow2 *q, struct qcow2_table *t, uint32_t index, const struct qcow2_entry *e);
/* What is wrong with the entry of the cluster at `guest`, or NULL. */
const char *qcow2_entry_fault(const struct qcow2 *q, const struct qcow2_entry *e, uint64_t guest);
/* What an entry points at loses that reference (later, see flush.c). */
void qcow2_entry_release(struct qcow2 *q, const struct qcow2_entry *e);

#endif
