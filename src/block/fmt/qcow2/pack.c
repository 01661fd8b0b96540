/* Compressed clusters. They lie one behind the other, byte by byte, in host clusters that they share; each counts one
 * reference to every host cluster that it touches. q->pack_at is the end of the last one while its host cluster is in
 * use (refcount.c forgets it with the last reference): the room behind it belongs to nobody else.
 *
 * Order: references first (in memory), then the bytes, then the entry, as for any first write. */
#include "block/event.h"
#include "block/fmt/qcow2/entry.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

int qcow2_pack(struct viv_node *n, const uint8_t *buf, size_t len, uint8_t *out, size_t *out_len)
{
    const struct qcow2 *q = n->state;
    uint8_t *whole = NULL;
    int ret;

    if (q->external)
        return -ENOTSUP;
    /* The last cluster of a disk may be short: the rest is zeroes. */
    if (len < q->cluster_size) {
        whole = g_try_malloc0(q->cluster_size);
        if (!whole)
            return -ENOMEM;
        memcpy(whole, buf, len);
        buf = whole;
    }
    *out_len = q->cluster_size - 1;
    ret = qcow2_deflate(q->compression, buf, q->cluster_size, out, out_len);
    g_free(whole);
    return ret;
}

/* Is there room for one more reference to the cluster that is being filled? */
static bool may_share(struct qcow2 *q, uint64_t cluster)
{
    uint64_t count;

    return !qcow2_refcount_get(q, cluster, &count) && count && count < qcow2_refcount_max(q);
}

static int add_reference(struct qcow2 *q, uint64_t cluster)
{
    uint64_t count;
    int ret = qcow2_refcount_get(q, cluster, &count);

    return ret ? ret : qcow2_refcount_set(q, cluster, count + 1);
}

/* Room for `len` bytes, less than a cluster: behind the last ones, going on into the next cluster if that is free, or
 * from the start of a new one. */
static int find_room(struct qcow2 *q, uint64_t len, uint64_t *host)
{
    uint64_t at = q->pack_at, cluster = at >> q->cluster_bits, next = (cluster + 1) << q->cluster_bits;
    bool share = at && may_share(q, cluster), spills = share && at + len > next;
    uint64_t fresh = 0, got;
    int ret = 0;

    if (!share || spills) {
        ret = qcow2_clusters_alloc(q, 1, 1, &fresh, &got);
        if (ret)
            return ret;
        if (!share || fresh != next) {
            *host = fresh;
            q->pack_at = fresh + len;
            return 0;
        }
    }
    ret = add_reference(q, cluster);
    if (ret) {
        if (spills)
            qcow2_clusters_unalloc(q, fresh, 1);
        return ret;
    }
    *host = at;
    q->pack_at = (at + len) & (q->cluster_size - 1) ? at + len : 0;
    return 0;
}

/* "Compressed Clusters Descriptor". 0: it cannot say that offset. */
static uint64_t describe(const struct qcow2 *q, uint64_t host, uint64_t len)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t more = ((host + len - 1) >> 9) - (host >> 9);

    return host + len < 1ull << MIN(x, 56) ? QCOW2_COMPRESSED | more << x | host : 0;
}

/* Nothing points there: its references go at once. */
static void give_back(struct qcow2 *q, uint64_t host, uint64_t len)
{
    uint64_t first = host >> q->cluster_bits, last = (host + len - 1) >> q->cluster_bits;

    qcow2_clusters_unalloc(q, first << q->cluster_bits, last - first + 1);
}

static int reserve(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_entry *e)
{
    struct qcow2_table *t = NULL;
    uint64_t host;
    /* A new L2 table first: it would take the cluster behind, into which this one or the next could go on. */
    int ret = qcow2_l2_writable(q, offset, &t);

    qcow2_table_put(t);
    if (!ret)
        ret = find_room(q, len, &host);
    if (ret)
        return ret;
    e->desc = describe(q, host, len);
    if (e->desc)
        return 0;
    give_back(q, host, len);
    return -E2BIG; /* so far out in the file only plain clusters can lie */
}

/* The last sector that an entry names lies in the file: under the lock nobody can have reserved the rest of it. */
int qcow2_pad_packed(struct qcow2 *q)
{
    static const uint8_t zero[512];
    uint64_t end = viv_align_down(q->pack_at + 511, 512);

    if (end <= viv_node_size(q->file))
        return 0;
    return viv_node_pwrite(q->file, q->pack_at, zero, end - q->pack_at);
}

static int link_packed(struct qcow2 *q, uint64_t offset, const struct qcow2_entry *e)
{
    struct qcow2_entry old;
    struct qcow2_table *t;
    int ret = qcow2_l2_writable(q, offset, &t);

    if (ret)
        return ret;
    qcow2_entry_load(q, t, qcow2_l2_index(q, offset), &old);
    qcow2_entry_store(q, t, qcow2_l2_index(q, offset), e);
    qcow2_entry_release(q, &old);
    qcow2_table_put(t);
    return 0;
}

int qcow2_write_packed(struct viv_node *n, uint64_t offset, const uint8_t *packed, size_t len)
{
    struct qcow2 *q = n->state;
    struct qcow2_entry e = {0};
    uint64_t host = 0;
    int ret;

    if (q->external)
        return -ENOTSUP;
    pthread_mutex_lock(&q->lock);
    ret = reserve(q, offset, len, &e);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return ret;
    qcow2_compressed_range(q, e.desc, &host);
    viv_node_event(q->file, VIV_EVENT_WRITE_COMPRESSED);
    ret = viv_node_pwrite(q->file, host, packed, len);
    pthread_mutex_lock(&q->lock);
    if (!ret)
        ret = link_packed(q, offset, &e);
    if (ret)
        give_back(q, host, len);
    pthread_mutex_unlock(&q->lock);
    return ret;
}
