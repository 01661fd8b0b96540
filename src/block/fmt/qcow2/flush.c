/* The order in which metadata reaches the disk.
 *
 * The disk may reorder everything between two flushes of the file ("barrier" below), and may lose any part of it.
 * What must never be on disk is a reference without its refcount, a table that holds something else, or a cluster in
 * use twice. So:
 *
 *   1. refcount blocks                 increments early are only leaks; decrements were held back (5)
 *      barrier, then refcount table    only when a block is new: its content must be there first
 *   2. barrier                         also makes data and copied-on-write bytes durable before their L2 entry
 *                                      (those in a data file are flushed before 1)
 *   3. L2 tables
 *      barrier, then L1                only when an L2 table is new
 *   4. barrier                         the caller's flush is complete
 *   5. clusters that lost their last reference in 3 are freed (in memory), and may be used again:
 *      no durable table points at them any more
 */
#include "block/fmt/qcow2/qcow2_int.h"

#include <errno.h>

static int barrier(struct qcow2 *q)
{
    return viv_node_flush(q->file);
}

static bool array_dirty(const struct qcow2_array *a)
{
    return a->dirty_from != a->dirty_to;
}

int qcow2_flush_refcounts(struct qcow2 *q)
{
    int ret = qcow2_cache_write(q, &q->refblock_cache);

    if (!ret && array_dirty(&q->rt)) {
        ret = barrier(q);
        if (!ret)
            ret = qcow2_array_write(q, &q->rt);
    }
    return ret ? ret : barrier(q);
}

static int write_l2(struct qcow2 *q)
{
    int ret = qcow2_cache_write(q, &q->l2_cache);

    if (!ret && array_dirty(&q->l1)) {
        ret = barrier(q);
        if (!ret)
            ret = qcow2_array_write(q, &q->l1);
    }
    return ret ? ret : barrier(q);
}

int qcow2_flush_all(struct qcow2 *q)
{
    bool refcounts = q->refblock_cache.dirty || array_dirty(&q->rt);
    bool references = q->l2_cache.dirty || array_dirty(&q->l1);
    int ret;

    if (q->broken)
        return -EIO;
    ret = qcow2_pad_packed(q);
    if (!ret && q->external && q->data)
        ret = viv_node_flush(q->data);
    if (ret)
        return ret;
    ret = refcounts ? qcow2_flush_refcounts(q) : barrier(q);
    if (!ret && references)
        ret = write_l2(q);
    return ret ? ret : qcow2_apply_frees(q);
}
