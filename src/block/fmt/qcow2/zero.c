/* Zeroes and discards: entries change, data does not move. The core holds the guest range exclusively; with extended
 * L2 entries it is whole subclusters, of several clusters or inside one.
 *
 * In a data file a cluster's place is fixed, so what is freed is punched out at once: a later write goes there again. And
 * when the data file alone is to be the disk, the zeroes are written to it. */
#include "block/fmt/qcow2/entry.h"

#include <errno.h>
#include <glib.h>

static bool has_backing(const struct qcow2 *q)
{
    return q->node->backing || q->backing_file; /* not opened is there all the same */
}

/* What becomes of the places: they stay, they are given back, or the entry goes with them and the backing file shows. */
enum zeroing { KEEP, GIVE_BACK, FORGET };

/* The new entry when the subclusters in `mask` are to read as zeroes, or hold nothing. -ENOTSUP: the entry cannot say it. */
static int zero_entry(const struct qcow2 *q, const struct qcow2_entry *old, uint32_t mask, enum zeroing how,
                      struct qcow2_entry *new)
{
    bool own = qcow2_has_own_place(q, old), keep = how == KEEP && own && q->version >= 3;

    *new = *old;
    if (q->version < 3 && has_backing(q) && how != FORGET)
        return -ENOTSUP;
    if (old->desc & QCOW2_COMPRESSED) {
        if (mask != qcow2_sub_all(q))
            return -ENOTSUP;
        *new = (struct qcow2_entry){0};
    }
    new->alloc &= ~mask;
    /* Without a backing file nothing at all is as good, except in a place that is kept. */
    if ((has_backing(q) && how != FORGET) || keep)
        new->zero |= mask;
    else
        new->zero &= ~mask;
    if (!new->alloc && !keep)
        new->desc = 0;
    return 0;
}

/* The data file holds the zeroes: what lies there is shown, what is zero without it stays. */
static void raw_entry(const struct qcow2 *q, const struct qcow2_entry *old, uint32_t mask, struct qcow2_entry *new)
{
    *new = *old;
    if (!qcow2_has_place(q, old))
        return;
    new->alloc |= mask;
    new->zero &= ~mask;
}

static int zero_cluster(struct qcow2 *q, struct qcow2_table *t, uint64_t offset, uint32_t mask, enum zeroing how)
{
    uint32_t index = qcow2_l2_index(q, offset);
    struct qcow2_entry old, new;
    const char *fault;
    int ret = 0;

    qcow2_entry_load(q, t, index, &old);
    fault = qcow2_entry_fault(q, &old, offset);
    if (fault && (q->extended || q->external))
        return qcow2_corrupt(q, fault, old.desc & QCOW2_OFFSET);
    if (q->data_raw)
        raw_entry(q, &old, mask, &new);
    else
        ret = zero_entry(q, &old, mask, how, &new);
    if (ret)
        return ret;
    if (new.desc == old.desc && new.alloc == old.alloc && new.zero == old.zero)
        return 0;
    qcow2_entry_store(q, t, index, &new);
    if (new.desc != old.desc)
        qcow2_entry_release(q, &old);
    return 0;
}

/* Makes [offset, end), inside one L2 table, read as zeroes. The disk's end counts as the end of a subcluster. */
static int zero_in_table(struct qcow2 *q, uint64_t offset, uint64_t end, enum zeroing how)
{
    uint32_t sub_size = qcow2_sub_size(q);
    struct qcow2_table *t;
    int ret = qcow2_l2_get(q, offset, &t);

    /* An absent table reads as zeroes already when nothing lies behind it. */
    if (ret || (!t && (!has_backing(q) || how == FORGET)))
        return ret;
    qcow2_table_put(t);
    t = NULL;
    if (q->version < 3 && has_backing(q) && how != FORGET)
        return -ENOTSUP;
    ret = qcow2_l2_writable(q, offset, &t);
    while (!ret && offset < end) {
        uint64_t next = MIN(end, viv_align_down(offset, q->cluster_size) + q->cluster_size);
        unsigned from = (offset & (q->cluster_size - 1)) / sub_size;
        unsigned to = next == viv_node_size(q->node) ? qcow2_sub_count(q) : from + (next - offset) / sub_size;

        ret = zero_cluster(q, t, offset, qcow2_sub_mask(from, to), how);
        offset = next;
    }
    qcow2_table_put(t);
    return ret;
}

static int zero_range(struct viv_node *n, uint64_t offset, uint64_t len, enum zeroing how)
{
    struct qcow2 *q = n->state;
    uint64_t per_table = 1ull << (q->cluster_bits + q->l2_bits), end = offset + len;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = q->broken ? -EIO : q->data ? 0 : -EROFS;
    while (!ret && offset < end) {
        uint64_t next = MIN(end, viv_align_down(offset, per_table) + per_table);

        ret = zero_in_table(q, offset, next, how);
        offset = next;
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow2_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct qcow2 *q = n->state;
    bool keep = !(flags & VIV_BLK_UNMAP);
    int ret = 0;

    if (q->data_raw && q->data)
        ret = viv_node_write_zeroes(q->data, offset, len, flags);
    if (!ret)
        ret = zero_range(n, offset, len, keep ? KEEP : GIVE_BACK);
    if (!ret && q->external && !q->data_raw && !keep)
        viv_node_discard(q->data, offset, len); /* a hint */
    return ret;
}

int qcow2_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    int ret = qcow2_write_zeroes(n, offset, len, VIV_BLK_UNMAP);

    /* A discard is a hint, and the backing file's old bytes must not come back. */
    return ret == -ENOTSUP ? 0 : ret;
}

int qcow2_forget(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = n->state;
    int ret = q->data_raw ? -ENOTSUP : zero_range(n, offset, len, FORGET);

    if (ret || !q->external)
        return ret;
    /* After a cut the old entries would show the holes, and not the backing file: they must be gone first. */
    pthread_mutex_lock(&q->lock);
    ret = qcow2_flush_all(q);
    pthread_mutex_unlock(&q->lock);
    if (!ret)
        viv_node_discard(q->data, offset, len); /* a hint */
    return ret;
}
