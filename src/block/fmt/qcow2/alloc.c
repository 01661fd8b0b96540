/* First writes: room for them, and what points at it. The core holds the guest range exclusively.
 *
 * Rule of order inside a call: first the L2 entry changes in memory, then what it pointed at goes on the list of
 * later frees; making room in a cache may flush at any time, and a flush frees what is listed. */
#include "block/fmt/qcow2/entry.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* A new L2 table for L1 index i: empty, or a copy of one that a snapshot shares. */
static int new_l2(struct qcow2 *q, uint32_t i, struct qcow2_table *old, struct qcow2_table **out)
{
    uint64_t offset, got, old_offset = old ? old->offset : 0;
    struct qcow2_table *t;
    int ret = qcow2_clusters_alloc(q, 1, 1, &offset, &got);

    if (ret)
        return ret;
    ret = qcow2_set_add(&q->meta, offset >> q->cluster_bits);
    if (!ret) {
        ret = qcow2_table_get(q, &q->l2_cache, offset, true, &t);
        if (ret)
            qcow2_set_remove(&q->meta, offset >> q->cluster_bits);
    }
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

int qcow2_l2_writable(struct qcow2 *q, uint64_t offset, struct qcow2_table **out)
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

/* How many clusters from `index` on, at most `max`, need a new place. */
static uint64_t count_homeless(const struct qcow2 *q, const struct qcow2_table *t, uint32_t index,
                               uint64_t max)
{
    uint64_t n = 0;

    for (; n < max && index + n < 1u << q->l2_bits; n++) {
        struct qcow2_entry e;

        qcow2_entry_load(q, t, index + n, &e);
        if (qcow2_has_own_place(q, &e))
            break;
    }
    return n;
}

/* Its place can be used as it is: overwritten, or (what is zero or not there yet) filled and then shown. */
static int alloc_own(struct qcow2 *q, const struct qcow2_entry *e, struct viv_alloc *a)
{
    uint64_t host = e->desc & QCOW2_OFFSET, in = a->offset & (q->cluster_size - 1), end;
    uint32_t sub_size = qcow2_sub_size(q), first = in / sub_size, last = first + 1;
    bool shown = e->alloc >> first & 1;

    if (!q->external && qcow2_set_has(&q->meta, host >> q->cluster_bits))
        return qcow2_corrupt(q, "a data cluster lies on metadata", host);
    while (last < qcow2_sub_count(q) && (e->alloc >> last & 1) == shown)
        last++;
    a->len = MIN(a->len, (uint64_t)last * sub_size - in);
    a->host = host + in;
    a->fresh = !shown;
    end = in + a->len;
    if (a->fresh) {
        a->head = in % sub_size;
        a->tail = viv_align_down(end + sub_size - 1, sub_size) - end;
    }
    return 0;
}

/* What of a cluster that moves must come along: from *lo, up to *hi, in bytes of the cluster. Between them all is filled. */
static void widen(const struct qcow2 *q, const struct qcow2_entry *e, uint64_t *lo, uint64_t *hi)
{
    uint32_t sub_size = qcow2_sub_size(q);

    *lo = viv_align_down(*lo, sub_size);
    *hi = viv_align_down(*hi + sub_size - 1, sub_size);
    if (e->desc & QCOW2_COMPRESSED) {
        *lo = 0;
        *hi = q->cluster_size;
    } else if (e->alloc) {
        *lo = MIN(*lo, (uint64_t)__builtin_ctz(e->alloc) * sub_size);
        *hi = MAX(*hi, (uint64_t)(32 - __builtin_clz(e->alloc)) * sub_size);
    }
}

/* Head and tail for a->len bytes in `count` clusters from `index` on that get a new place. */
static void fill_borders(const struct qcow2 *q, const struct qcow2_table *t, uint32_t index, uint64_t count,
                         struct viv_alloc *a)
{
    uint64_t in = a->offset & (q->cluster_size - 1), last = (count - 1) << q->cluster_bits;
    uint64_t lo = in, hi = count > 1 ? q->cluster_size : in + a->len, ignored = 0;
    struct qcow2_entry e;

    qcow2_entry_load(q, t, index, &e);
    widen(q, &e, &lo, &hi);
    if (count > 1) {
        qcow2_entry_load(q, t, index + count - 1, &e);
        hi = in + a->len - last;
        widen(q, &e, &ignored, &hi);
    }
    a->head = in - lo;
    a->tail = last + hi - (in + a->len);
    a->fresh = true;
}

/* Room for `want` clusters from a->offset's on, or fewer. */
static int find_place(struct qcow2 *q, uint64_t offset, uint64_t want, uint64_t *host, uint64_t *got)
{
    if (!q->external)
        return qcow2_clusters_alloc(q, want, 1, host, got);
    *host = viv_align_down(offset, q->cluster_size);
    *got = want;
    return 0;
}

static int alloc_in_table(struct qcow2 *q, const struct qcow2_table *t, struct viv_alloc *a)
{
    uint64_t in = a->offset & (q->cluster_size - 1), want, host, got;
    uint32_t index = qcow2_l2_index(q, a->offset);
    struct qcow2_entry e;
    const char *fault;
    int ret;

    qcow2_entry_load(q, t, index, &e);
    fault = qcow2_entry_fault(q, &e, a->offset);
    if (fault)
        return qcow2_corrupt(q, fault, e.desc & QCOW2_OFFSET);
    want = count_homeless(q, t, index, qcow2_clusters(q, in + a->len));
    if (!want)
        return alloc_own(q, &e, a);
    ret = find_place(q, a->offset, want, &host, &got);
    if (ret)
        return ret;
    a->len = MIN(a->len, (got << q->cluster_bits) - in);
    a->host = host + in;
    fill_borders(q, t, index, got, a);
    return 0;
}

static int alloc_locked(struct qcow2 *q, struct viv_alloc *a)
{
    struct qcow2_table *t;
    int ret = q->data ? qcow2_l2_writable(q, a->offset, &t) : -EIO;

    if (ret)
        return ret;
    a->where = q->external ? q->data : NULL;
    ret = alloc_in_table(q, t, a); /* the table stays ours: all of this is under the lock */
    qcow2_table_put(t);
    return ret;
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

/* The subclusters of the cluster at `cluster` that lie in [start, end). */
static uint32_t covered(const struct qcow2 *q, uint64_t cluster, uint64_t start, uint64_t end)
{
    uint64_t from = MAX(start, cluster) - cluster, to = MIN(end, cluster + q->cluster_size) - cluster;

    return qcow2_sub_mask(from / qcow2_sub_size(q), to / qcow2_sub_size(q));
}

/* Links what alloc() found; `show`: it holds data now. */
static int link_place(struct qcow2 *q, const struct viv_alloc *a, bool show)
{
    uint64_t start = a->offset - a->head, end = a->offset + a->len + a->tail;
    uint64_t cluster = viv_align_down(start, q->cluster_size), host = a->host - a->head - (start - cluster);
    struct qcow2_table *t;
    int ret = qcow2_l2_writable(q, a->offset, &t);

    if (ret)
        return ret;
    for (; cluster < end; cluster += q->cluster_size, host += q->cluster_size) {
        uint32_t index = qcow2_l2_index(q, cluster), mask = show ? covered(q, cluster, start, end) : 0;
        struct qcow2_entry old, new;
        bool stays;

        qcow2_entry_load(q, t, index, &old);
        stays = qcow2_has_own_place(q, &old) && (old.desc & QCOW2_OFFSET) == host;
        new.desc = host | QCOW2_COPIED;
        new.alloc = (stays ? old.alloc : 0) | mask;
        new.zero = old.zero & ~mask;
        qcow2_entry_store(q, t, index, &new);
        if (!stays)
            qcow2_entry_release(q, &old);
    }
    qcow2_table_put(t);
    return 0;
}

static int link_now(struct viv_node *n, const struct viv_alloc *a, bool show)
{
    struct qcow2 *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = link_place(q, a, show);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow2_commit(struct viv_node *n, const struct viv_alloc *a)
{
    return link_now(n, a, true);
}

int qcow2_reserve(struct viv_node *n, const struct viv_alloc *a)
{
    struct qcow2 *q = n->state;

    return link_now(n, a, !q->extended);
}

/* Gives back what nothing points at; a zero cluster's own place stays. Without the table nobody knows which it is: that leaks. */
void qcow2_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct qcow2 *q = n->state;
    uint64_t host = viv_align_down(a->host - a->head, q->cluster_size);
    uint64_t end = a->host + a->len + a->tail;
    struct qcow2_entry e = {0};
    struct qcow2_table *t = NULL;
    int ret;

    if (q->external)
        return;
    pthread_mutex_lock(&q->lock);
    ret = qcow2_l2_get(q, a->offset, &t);
    if (!ret && t)
        qcow2_entry_load(q, t, qcow2_l2_index(q, a->offset), &e);
    qcow2_table_put(t);
    if (!ret && (!qcow2_has_place(q, &e) || (e.desc & QCOW2_OFFSET) != host))
        qcow2_clusters_unalloc(q, host, qcow2_clusters(q, end - host));
    pthread_mutex_unlock(&q->lock);
}
