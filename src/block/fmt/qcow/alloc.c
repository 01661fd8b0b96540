/* Changes of the map: first writes and zeroes. The core holds the guest range exclusively while it changes.
 *
 * A cluster that has a place keeps it: zeroes and discards work on the place itself. What an overwritten compressed cluster
 * took stays taken, as nothing on disk could say that it is free. */
#include "block/fmt/qcow/qcow_int.h"

#include "base/bytes.h"

#include <errno.h>

/* --- room --- */

uint64_t qcow_take(struct qcow *q, uint64_t *clusters)
{
    uint64_t host;

    if (q->spare->len && *clusters == 1) {
        host = g_array_index(q->spare, uint64_t, q->spare->len - 1);
        g_array_set_size(q->spare, q->spare->len - 1);
        return host;
    }
    host = viv_align_down(q->end + q->cluster_size - 1, q->cluster_size);
    q->end = host + (*clusters << q->cluster_bits);
    return host;
}

void qcow_give_back(struct qcow *q, uint64_t host, uint64_t clusters)
{
    if (host + (clusters << q->cluster_bits) == q->end) {
        q->end = host;
        return;
    }
    for (uint64_t i = 0; i < clusters; i++, host += q->cluster_size)
        g_array_append_val(q->spare, host);
}

/* A new table is empty in the file at once, and named by L1 at the next flush. */
int qcow_writable_table(struct qcow *q, uint64_t offset, uint64_t *table)
{
    uint64_t i = offset >> qcow_reach_bits(q), clusters = qcow_clusters(q, q->table_bytes);
    int ret = q->broken ? -EIO : qcow_l1_get(q, i, table);

    if (ret)
        return ret;
    if (*table)
        return qcow_table_ok(q, *table)
                   ? 0
                   : qcow_corrupt(q, "an L2 table lies outside the file or on the header or L1 table", *table);
    *table = qcow_take(q, &clusters);
    ret = viv_node_write_zeroes(q->file, *table, clusters << q->cluster_bits, 0);
    if (!ret)
        ret = qcow_l1_set(q, i, *table);
    if (ret) {
        qcow_give_back(q, *table, clusters);
        return ret;
    }
    g_hash_table_add(q->tables, (gpointer)(*table >> q->cluster_bits));
    return 0;
}

static bool is_data(const struct qcow_page *p, uint64_t i)
{
    uint64_t entry = viv_ld_be64(p->data + i * 8);

    return entry && !(entry & QCOW_COMPRESSED);
}

static int alloc_locked(struct qcow *q, struct viv_alloc *a)
{
    uint64_t in = a->offset & (q->cluster_size - 1), i = qcow_l2_index(q, a->offset), want = qcow_clusters(q, in + a->len), count = 0,
             table;
    struct viv_extent e = {.len = a->len};
    struct qcow_page *p;
    int ret = qcow_writable_table(q, a->offset, &table);

    if (!ret)
        ret = qcow_l2_get(q, table, &p);
    if (ret)
        return ret;
    if (is_data(p, i)) {
        ret = qcow_map_locked(q, a->offset, &e);
        a->len = e.len;
        a->host = e.host;
        return ret;
    }
    while (count < want && i + count < 1ull << q->l2_bits && !is_data(p, i + count))
        count++;
    a->host = qcow_take(q, &count) + in;
    a->len = MIN(a->len, (count << q->cluster_bits) - in);
    a->head = in;
    a->tail = (count << q->cluster_bits) - in - a->len;
    a->fresh = true;
    return 0;
}

int qcow_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct qcow *q = n->state;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len};
    pthread_mutex_lock(&q->lock);
    ret = alloc_locked(q, out);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct qcow *q = n->state;
    uint64_t host = a->host - a->head, count = (a->head + a->len + a->tail) >> q->cluster_bits, table;
    struct qcow_page *p;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = q->broken ? -EIO : qcow_l1_get(q, a->offset >> qcow_reach_bits(q), &table);
    if (!ret)
        ret = qcow_l2_get(q, table, &p);
    for (uint64_t i = 0; !ret && i < count; i++)
        viv_st_be64(p->data + (qcow_l2_index(q, a->offset) + i) * 8, host + (i << q->cluster_bits));
    if (!ret)
        qcow_page_dirty(q, p);
    else
        qcow_give_back(q, host, count);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

void qcow_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct qcow *q = n->state;

    pthread_mutex_lock(&q->lock);
    qcow_give_back(q, a->host - a->head, (a->head + a->len + a->tail) >> q->cluster_bits);
    pthread_mutex_unlock(&q->lock);
}

/* --- zeroes --- */

/* Would the backing file show where there is nothing in this layer? One that was not opened is there all the same. */
static bool shows_backing(const struct qcow *q, uint64_t offset)
{
    if (q->node->backing)
        return offset < viv_node_size(q->node->backing);
    return q->backing_file != NULL;
}

/* Clusters become nothing: what they took has leaked. */
static int clear_entries(struct qcow *q, uint64_t offset, uint64_t len)
{
    struct qcow_page *p;
    uint64_t table;
    int ret = qcow_l1_get(q, offset >> qcow_reach_bits(q), &table);

    if (!ret)
        ret = qcow_l2_get(q, table, &p);
    if (ret)
        return ret;
    for (uint64_t i = 0; i < qcow_clusters(q, len); i++)
        viv_st_be64(p->data + (qcow_l2_index(q, offset) + i) * 8, 0);
    qcow_page_dirty(q, p);
    return 0;
}

/* Zeroes on the place of what has one, where they mean zeroes. There is no entry for "zero": -ENOTSUP where only data could
 * say it. */
static int zero_range(struct qcow *q, uint64_t offset, uint64_t len, unsigned flags, bool discard)
{
    int ret = q->broken ? -EIO : 0;

    while (len && !ret) {
        struct viv_extent e = {.len = len};

        ret = qcow_map_locked(q, offset, &e);
        if (ret)
            return ret;
        if (e.kind == VIV_MAP_DATA && q->crypt)
            ret = discard ? 0 : -ENOTSUP;
        else if (e.kind == VIV_MAP_DATA)
            ret = viv_node_write_zeroes(q->file, e.host, e.len, flags);
        else if (!discard && shows_backing(q, offset))
            return -ENOTSUP;
        else if (!discard && e.kind == VIV_MAP_COMPRESSED)
            ret = clear_entries(q, offset, e.len);
        offset += e.len;
        len -= e.len;
    }
    return ret;
}

int qcow_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct qcow *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = zero_range(q, offset, len, flags, false);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct qcow *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = zero_range(q, offset, len, VIV_BLK_UNMAP, true);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* --- nothing at all --- */

static int clear_l1(struct qcow *q)
{
    uint64_t table;
    int ret = 0;

    for (uint64_t i = 0; !ret && i < q->l1_bytes / 8; i++) {
        ret = qcow_l1_get(q, i, &table);
        if (!ret && table)
            ret = qcow_l1_set(q, i, 0);
    }
    return ret;
}

/* All of the disk: no table is named any more, durably; then the file can end where it did when it was made. */
static int forget_all(struct qcow *q)
{
    uint64_t end = q->l1_offset + ((q->l1_bytes + 511) & ~511ull);
    int ret = clear_l1(q);

    if (!ret)
        ret = qcow_flush_all(q);
    if (ret)
        return ret;
    qcow_pages_fini(q);
    qcow_pages_init(q);
    g_hash_table_remove_all(q->tables);
    /* A device keeps its size, and what lies there is a leak. */
    if (end >= q->end || viv_node_truncate(q->file, end, VIV_PREALLOC_OFF, NULL))
        return 0;
    g_array_set_size(q->spare, 0);
    q->end = (end + 511) & ~511ull;
    return viv_node_flush(q->file);
}

static int forget_range(struct qcow *q, uint64_t offset, uint64_t len)
{
    int ret = 0;

    while (len && !ret) {
        struct viv_extent e = {.len = len};

        ret = qcow_map_locked(q, offset, &e);
        if (!ret && e.kind != VIV_MAP_BACKING)
            ret = clear_entries(q, offset, e.len);
        offset += e.len;
        len -= e.len;
    }
    return ret;
}

int qcow_forget(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct qcow *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    if (q->broken)
        ret = -EIO;
    else
        ret = !offset && len >= viv_node_size(n) ? forget_all(q) : forget_range(q, offset, len);
    pthread_mutex_unlock(&q->lock);
    return ret;
}
