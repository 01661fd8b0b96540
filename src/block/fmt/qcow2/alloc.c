/* Changes of the map: first writes, discards, zeroes. The core holds the guest range exclusively.
 *
 * Rule of order inside a call: first the L2 entry changes in memory, then what it pointed at goes on the list of
 * later frees; making room in a cache may flush at any time, and a flush frees what is listed. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static uint64_t load(const struct qcow2_table *t, uint32_t index)
{
    return viv_ld_be64(t->data + (size_t)index * 8);
}

static void store(struct qcow2 *q, struct qcow2_table *t, uint32_t index, uint64_t entry)
{
    viv_st_be64(t->data + (size_t)index * 8, entry);
    qcow2_table_dirty(&q->l2_cache, t);
}

/* A new L2 table for L1 index i: empty, or a copy of one that a snapshot shares. */
static int new_l2(struct qcow2 *q, uint32_t i, struct qcow2_table *old, struct qcow2_table **out)
{
    uint64_t offset, got, old_offset = old ? old->offset : 0;
    struct qcow2_table *t;
    int ret = qcow2_clusters_alloc(q, 1, 1, &offset, &got);

    if (ret)
        return ret;
    ret = qcow2_set_add(&q->meta, offset >> q->cluster_bits);
    if (!ret)
        ret = qcow2_table_get(q, &q->l2_cache, offset, true, &t);
    if (ret) {
        qcow2_clusters_unalloc(q, offset, 1);
        return ret;
    }
    if (old)
        memcpy(t->data, old->data, q->cluster_size);
    qcow2_array_set(&q->l1, i, offset | QCOW2_COPIED);
    if (old) {
        qcow2_set_remove(&q->meta, old_offset >> q->cluster_bits);
        qcow2_clusters_free_later(q, old_offset, 1);
    }
    *out = t;
    return 0;
}

/* The L2 table of `offset`, pinned, ours alone. */
static int writable_l2(struct qcow2 *q, uint64_t offset, struct qcow2_table **out)
{
    uint64_t i = qcow2_l1_index(q, offset);
    struct qcow2_table *old;
    int ret;

    if (q->broken || q->node->read_only)
        return q->broken ? -EIO : -EROFS;
    ret = qcow2_l2_get(q, offset, &old);
    if (ret)
        return ret;
    if (old && (q->l1.entry[i] & QCOW2_COPIED)) {
        *out = old;
        return 0;
    }
    ret = new_l2(q, i, old, out);
    qcow2_table_put(old);
    return ret;
}

static bool has_own_place(const struct qcow2 *q, uint64_t entry)
{
    return !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_COPIED) && (entry & QCOW2_OFFSET);
}

static bool is_zero(const struct qcow2 *q, uint64_t entry)
{
    return q->version >= 3 && !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_ZERO);
}

/* How many clusters from `index` on, at most `max`, need a new place. */
static uint64_t count_homeless(const struct qcow2 *q, const struct qcow2_table *t, uint32_t index,
                               uint64_t max)
{
    uint64_t n = 0;

    while (n < max && index + n < 1u << q->l2_bits && !has_own_place(q, load(t, index + n)))
        n++;
    return n;
}

/* Its place can be used as it is: overwritten, or (zero clusters) filled and then shown. */
static int alloc_own(struct qcow2 *q, uint64_t entry, struct viv_alloc *a)
{
    uint64_t host = entry & QCOW2_OFFSET, in = a->offset & (q->cluster_size - 1);

    if (!viv_is_aligned(host, q->cluster_size))
        return qcow2_corrupt(q, "a data cluster's offset is not aligned", host);
    if (qcow2_set_has(&q->meta, host >> q->cluster_bits))
        return qcow2_corrupt(q, "a data cluster lies on metadata", host);
    a->len = MIN(a->len, q->cluster_size - in);
    a->host = host + in;
    a->fresh = is_zero(q, entry);
    if (a->fresh) {
        a->head = in;
        a->tail = q->cluster_size - in - a->len;
    }
    return 0;
}

static int alloc_locked(struct qcow2 *q, struct viv_alloc *a)
{
    uint32_t index = qcow2_l2_index(q, a->offset);
    uint64_t in = a->offset & (q->cluster_size - 1), want, host, got, room;
    struct qcow2_table *t;
    uint64_t entry;
    int ret = writable_l2(q, a->offset, &t);

    if (ret)
        return ret;
    entry = load(t, index);
    want = MIN(qcow2_clusters(q, in + a->len), 1u << q->l2_bits);
    want = count_homeless(q, t, index, want);
    qcow2_table_put(t);
    if (!want)
        return alloc_own(q, entry, a);
    ret = qcow2_clusters_alloc(q, want, 1, &host, &got);
    if (ret)
        return ret;
    room = (got << q->cluster_bits) - in;
    a->len = MIN(a->len, room);
    a->host = host + in;
    a->head = in;
    a->tail = room - a->len;
    a->fresh = true;
    return 0;
}

int qcow2_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct qcow2 *q = n->state;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len};
    pthread_mutex_lock(&q->lock);
    ret = alloc_locked(q, out);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* What an entry points at loses that reference. */
static void release(struct qcow2 *q, uint64_t entry)
{
    uint64_t host, len, first, last;

    if (entry & QCOW2_COMPRESSED) {
        len = qcow2_compressed_range(q, entry, &host);
        first = host >> q->cluster_bits;
        last = (host + len - 1) >> q->cluster_bits;
        qcow2_clusters_free_later(q, first << q->cluster_bits, last - first + 1);
    } else if ((entry & QCOW2_OFFSET) && viv_is_aligned(entry & QCOW2_OFFSET, q->cluster_size)) {
        qcow2_clusters_free_later(q, entry & QCOW2_OFFSET, 1);
    }
}

static int commit_locked(struct qcow2 *q, const struct viv_alloc *a)
{
    uint64_t host = a->host - a->head, count = (a->head + a->len + a->tail) >> q->cluster_bits;
    uint32_t index = qcow2_l2_index(q, a->offset);
    struct qcow2_table *t;
    int ret = writable_l2(q, a->offset, &t);

    if (ret)
        return ret;
    for (uint64_t i = 0; i < count; i++, host += q->cluster_size) {
        uint64_t old = load(t, index + i);

        store(q, t, index + i, host | QCOW2_COPIED);
        if ((old & QCOW2_COMPRESSED) || (old & QCOW2_OFFSET) != host)
            release(q, old);
    }
    qcow2_table_put(t);
    return 0;
}

int qcow2_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct qcow2 *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = commit_locked(q, a);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* Gives back what nothing points at; a zero cluster's own place stays. */
void qcow2_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct qcow2 *q = n->state;
    struct qcow2_table *t = NULL;
    uint64_t host = a->host - a->head, entry = 0;

    pthread_mutex_lock(&q->lock);
    if (!qcow2_l2_get(q, a->offset, &t) && t)
        entry = load(t, qcow2_l2_index(q, a->offset));
    qcow2_table_put(t);
    if ((entry & QCOW2_COMPRESSED) || (entry & QCOW2_OFFSET) != host)
        qcow2_clusters_unalloc(q, host, (a->head + a->len + a->tail) >> q->cluster_bits);
    pthread_mutex_unlock(&q->lock);
}

static bool has_backing(const struct qcow2 *q)
{
    return q->node->backing || q->backing_file; /* not opened is there all the same */
}

/* What becomes of the places: they stay, they are given back, or the entry goes with them and the backing file shows. */
enum zeroing { KEEP, GIVE_BACK, FORGET };

/* The new entry for a cluster that is to read as zeroes, or as nothing. -ENOTSUP: this version cannot say it. */
static int zero_entry(struct qcow2 *q, uint64_t old, enum zeroing how, uint64_t *new)
{
    if (how == FORGET) {
        *new = 0;
    } else if (q->version < 3) {
        if (has_backing(q))
            return -ENOTSUP;
        *new = 0;
    } else if (how == KEEP && has_own_place(q, old)) {
        *new = old | QCOW2_ZERO;
    } else {
        /* Without a backing file nothing at all is as good. */
        *new = has_backing(q) ? QCOW2_ZERO : 0;
    }
    return 0;
}

/* Makes the clusters of one L2 table read as zeroes. Ends of `len` count as whole clusters. */
static int zero_in_table(struct qcow2 *q, uint64_t offset, uint64_t count, enum zeroing how)
{
    uint32_t index = qcow2_l2_index(q, offset);
    struct qcow2_table *t;
    int ret = qcow2_l2_get(q, offset, &t);

    /* An absent table reads as zeroes already when nothing lies behind it. */
    if (ret || (!t && (!has_backing(q) || how == FORGET)))
        return ret;
    qcow2_table_put(t);
    t = NULL;
    if (q->version < 3 && has_backing(q) && how != FORGET)
        return -ENOTSUP;
    ret = writable_l2(q, offset, &t);
    for (uint64_t i = 0; !ret && i < count; i++) {
        uint64_t old = load(t, index + i), new = 0;

        ret = zero_entry(q, old, how, &new);
        if (ret || new == old)
            continue;
        store(q, t, index + i, new);
        if ((new &QCOW2_OFFSET) != (old & QCOW2_OFFSET) || (old & QCOW2_COMPRESSED))
            release(q, old);
    }
    qcow2_table_put(t);
    return ret;
}

static int zero_range(struct qcow2 *q, uint64_t offset, uint64_t len, enum zeroing how)
{
    uint64_t per_table = 1ull << (q->cluster_bits + q->l2_bits);
    int ret = q->broken ? -EIO : 0;

    while (len && !ret) {
        uint64_t step = MIN(len, per_table - (offset & (per_table - 1)));

        ret = zero_in_table(q, offset, qcow2_clusters(q, step), how);
        offset += step;
        len -= step;
    }
    return ret;
}

int qcow2_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct qcow2 *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = zero_range(q, offset, len, flags & VIV_BLK_UNMAP ? GIVE_BACK : KEEP);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow2_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = zero_range(q, offset, len, GIVE_BACK);
    pthread_mutex_unlock(&q->lock);
    /* A discard is a hint, and the backing file's old bytes must not come back. */
    return ret == -ENOTSUP ? 0 : ret;
}

int qcow2_forget(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = zero_range(q, offset, len, FORGET);
    pthread_mutex_unlock(&q->lock);
    return ret;
}
