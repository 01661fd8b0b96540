/* Turns: see turn.h. Here: references counted, tables copied with their new flags, the switch. */
#include "block/fmt/qcow2/turn.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

int qcow2_turn_begin(struct qcow2_turn *t, struct qcow2 *q)
{
    int ret;

    *t = (struct qcow2_turn){.q = q, .refcount_order = q->refcount_order};
    t->taken = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
    t->freed = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
    if (q->broken || q->node->read_only)
        return q->broken ? -EIO : -EROFS;
    ret = qcow2_flush_all(q); /* now the file has what memory has */
    if (ret)
        return ret;
    t->file_clusters = t->deltas = qcow2_clusters(q, viv_node_size(q->file));
    for (uint32_t i = 0; i < q->rt.size; i++)
        if ((q->rt.entry[i] & ~511ull) >> q->cluster_bits >= t->file_clusters)
            return -EUCLEAN; /* so there are no more blocks than the file holds */
    t->delta = g_try_new0(int32_t, t->deltas + 1);
    return t->delta ? viv_node_pread(q->file, 0, t->head, sizeof(t->head)) : -ENOMEM;
}

void qcow2_turn_end(struct qcow2_turn *t)
{
    for (guint i = 0; i < t->taken->len; i++) {
        struct qcow2_free *f = &g_array_index(t->taken, struct qcow2_free, i);

        qcow2_clusters_unalloc(t->q, f->cluster << t->q->cluster_bits, f->count);
    }
    g_array_free(t->taken, TRUE);
    g_array_free(t->freed, TRUE);
    g_free(t->delta);
    g_free(t->l1.entry);
    g_free(t->rt.entry);
}

int qcow2_turn_alloc(struct qcow2_turn *t, uint64_t bytes, uint64_t *offset)
{
    struct qcow2_free f = {.count = qcow2_clusters(t->q, bytes)};
    uint64_t got;
    int ret;

    *offset = 0;
    if (!f.count)
        return 0;
    ret = qcow2_clusters_alloc(t->q, f.count, f.count, offset, &got);
    if (ret)
        return ret;
    f.cluster = *offset >> t->q->cluster_bits;
    g_array_append_val(t->taken, f);
    return 0;
}

/* --- counting --- */

int qcow2_turn_add(struct qcow2_turn *t, uint64_t cluster, int by)
{
    if (cluster >= t->deltas) { /* a cluster of our own, behind the file as it was */
        uint64_t more = cluster + cluster / 8 + 64;
        int32_t *delta;

        if (cluster / 2 > t->file_clusters + (1u << 20))
            return -EUCLEAN; /* refcounts that put new clusters so far behind the file make no sense */
        delta = g_try_renew(int32_t, t->delta, more);
        if (!delta)
            return -ENOMEM;
        memset(delta + t->deltas, 0, (more - t->deltas) * sizeof(*delta));
        t->delta = delta;
        t->deltas = more;
    }
    if (t->delta[cluster] > INT32_MAX / 2 || t->delta[cluster] < INT32_MIN / 2)
        return -EOVERFLOW;
    t->delta[cluster] += by;
    return 0;
}

int qcow2_turn_refcount(struct qcow2_turn *t, uint64_t cluster, uint64_t *out)
{
    int32_t by = cluster < t->deltas ? t->delta[cluster] : 0;
    int ret = qcow2_refcount_get(t->q, cluster, out);

    if (ret)
        return ret;
    if (by < 0 && *out < (uint64_t) - (int64_t)by)
        return -EUCLEAN;
    if (by > 0 && *out > UINT64_MAX - (uint64_t)by)
        return -EOVERFLOW;
    *out += (int64_t)by;
    return 0;
}

/* [offset, offset + bytes), as the image names it. */
static int count(struct qcow2_turn *t, uint64_t offset, uint64_t bytes, int by)
{
    uint64_t first = offset >> t->q->cluster_bits, last = (offset + bytes - 1) >> t->q->cluster_bits;
    int ret = 0;

    if (!first || last >= t->file_clusters)
        return -EUCLEAN;
    for (uint64_t i = first; i <= last && !ret; i++)
        ret = qcow2_turn_add(t, i, by);
    return ret;
}

static int count_entry(struct qcow2_turn *t, uint64_t entry, int by)
{
    uint64_t host = entry & QCOW2_OFFSET, len = t->q->cluster_size;

    if (t->q->external)
        return 0; /* a data file's clusters are not counted */
    if (entry & QCOW2_COMPRESSED)
        len = qcow2_compressed_range(t->q, entry, &host);
    else if (!host)
        return 0;
    else if (!viv_is_aligned(host, t->q->cluster_size))
        return -EUCLEAN;
    return count(t, host, len, by);
}

/* Bytes of an L2 entry. */
static size_t stride(const struct qcow2 *q)
{
    return q->cluster_size >> q->l2_bits;
}

static int count_l2(struct qcow2_turn *t, uint64_t offset, int by)
{
    struct qcow2_table *l2;
    int ret = qcow2_table_ok(t->q, offset, 0) ? count(t, offset, t->q->cluster_size, by) : -EUCLEAN;

    if (!ret)
        ret = qcow2_table_get(t->q, &t->q->l2_cache, offset, false, &l2);
    if (ret)
        return ret;
    for (uint32_t i = 0; i < 1u << t->q->l2_bits && !ret; i++)
        ret = count_entry(t, viv_ld_be64(l2->data + i * stride(t->q)), by);
    qcow2_table_put(l2);
    return ret;
}

int qcow2_turn_count_l1(struct qcow2_turn *t, const uint64_t *entry, uint32_t count, int by)
{
    int ret = 0;

    for (uint32_t i = 0; i < count && !ret; i++)
        if (entry[i] & QCOW2_OFFSET)
            ret = count_l2(t, entry[i] & QCOW2_OFFSET, by);
    return ret;
}

int qcow2_turn_drop(struct qcow2_turn *t, uint64_t offset, uint64_t bytes)
{
    return bytes ? count(t, offset, bytes, -1) : 0;
}

/* --- the new active tables --- */

/* Puts the right COPIED flags into a copy of an L2 table; *changed when one was wrong. */
static int set_flags(struct qcow2_turn *t, uint8_t *l2, bool *changed)
{
    *changed = false;
    if (t->q->external)
        return 0; /* the flag says another thing there */
    for (uint32_t i = 0; i < 1u << t->q->l2_bits; i++) {
        uint8_t *at = l2 + i * stride(t->q);
        uint64_t entry = viv_ld_be64(at), want, refcount;
        int ret;

        if ((entry & QCOW2_COMPRESSED) || !(entry & QCOW2_OFFSET))
            continue;
        ret = qcow2_turn_refcount(t, (entry & QCOW2_OFFSET) >> t->q->cluster_bits, &refcount);
        if (ret)
            return ret;
        want = (entry & ~QCOW2_COPIED) | (refcount == 1 ? QCOW2_COPIED : 0);
        if (want != entry) {
            viv_st_be64(at, want);
            *changed = true;
        }
    }
    return 0;
}

/* The L2 table that the new active L1 names in place of the one at `old`: the same where no flag changes, for then
 * snapshots may share it, else a copy. */
static int take_l2(struct qcow2_turn *t, uint64_t old, uint8_t *buf, uint64_t *entry)
{
    struct qcow2_table *l2;
    uint64_t refcount, place;
    bool changed = false;
    int ret = qcow2_table_get(t->q, &t->q->l2_cache, old, false, &l2);

    if (ret)
        return ret;
    memcpy(buf, l2->data, t->q->cluster_size);
    qcow2_table_put(l2);
    ret = set_flags(t, buf, &changed);
    if (ret)
        return ret;
    if (!changed) {
        ret = qcow2_turn_refcount(t, old >> t->q->cluster_bits, &refcount);
        *entry = old | (refcount == 1 ? QCOW2_COPIED : 0);
        return ret;
    }
    ret = qcow2_turn_alloc(t, t->q->cluster_size, &place);
    if (!ret)
        ret = viv_node_pwrite(t->q->file, place, buf, t->q->cluster_size);
    if (!ret)
        ret = qcow2_turn_add(t, old >> t->q->cluster_bits, -1);
    *entry = place | QCOW2_COPIED;
    return ret;
}

int qcow2_turn_set_active(struct qcow2_turn *t, const uint64_t *entry, uint32_t used, uint32_t size)
{
    uint8_t *buf = g_try_malloc(t->q->cluster_size);
    int ret;

    t->l1.size = size;
    t->l1.entry = g_try_new0(uint64_t, (size_t)size + 1);
    ret = buf && t->l1.entry ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < used && !ret; i++)
        if (entry[i] & QCOW2_OFFSET)
            ret = take_l2(t, entry[i] & QCOW2_OFFSET, buf, &t->l1.entry[i]);
    g_free(buf);
    if (!ret)
        ret = qcow2_turn_alloc(t, size * 8ull, &t->l1.offset);
    if (!ret && size)
        ret = qcow2_array_write_all(t->q, &t->l1);
    viv_st_be32(t->head + QCOW2_H_L1_SIZE, size);
    viv_st_be64(t->head + QCOW2_H_L1_OFFSET, size ? t->l1.offset : t->q->l1.offset);
    return ret;
}

int qcow2_turn_set_snapshots(struct qcow2_turn *t, struct qcow2_snapshot *s, uint32_t count)
{
    uint64_t offset;
    size_t len;
    uint8_t *table = qcow2_pack_snapshots(s, count, &len);
    int ret = table ? 0 : -ENOMEM;

    if (!ret && len > QCOW2_SNAPSHOT_BYTES_MAX)
        ret = -E2BIG;
    if (!ret)
        ret = qcow2_turn_drop(t, t->q->snapshot_offset, t->q->snapshot_bytes);
    if (!ret)
        ret = qcow2_turn_alloc(t, len, &offset);
    if (!ret && len)
        ret = viv_node_pwrite(t->q->file, offset, table, len);
    g_free(table);
    if (ret)
        return ret;
    t->snapshots = s;
    t->snapshot_count = count;
    t->snapshots_change = true;
    viv_st_be32(t->head + QCOW2_H_SNAPSHOTS, count);
    viv_st_be64(t->head + QCOW2_H_SNAPSHOTS_OFFSET, offset);
    return 0;
}

/* --- the switch --- */

/* Memory follows the disk. */
static void adopt(struct qcow2_turn *t)
{
    struct qcow2 *q = t->q;

    if (t->l1.entry) {
        g_free(q->l1.entry);
        q->l1 = t->l1;
        q->l1.offset = viv_ld_be64(t->head + QCOW2_H_L1_OFFSET);
        t->l1.entry = NULL;
    }
    g_free(q->rt.entry);
    q->rt = t->rt;
    t->rt.entry = NULL;
    q->refcount_order = t->refcount_order;
    q->refblock_bits = q->cluster_bits + 3 - q->refcount_order;
    if (t->snapshots_change) {
        q->snapshots_renamed = 0;
        q->snapshots = t->snapshots; /* the caller frees the old list */
        q->snapshot_count = t->snapshot_count;
        q->snapshot_offset = viv_ld_be64(t->head + QCOW2_H_SNAPSHOTS_OFFSET);
        q->snapshot_bytes = 0;
        for (uint32_t i = 0; i < q->snapshot_count; i++)
            q->snapshot_bytes += qcow2_snapshot_bytes(&q->snapshots[i]);
    }
    qcow2_cache_fini(&q->l2_cache);
    qcow2_cache_fini(&q->refblock_cache);
    qcow2_cache_init(&q->l2_cache, q->cluster_size, QCOW2_L2_CACHE_BYTES);
    qcow2_cache_init(&q->refblock_cache, q->cluster_size, QCOW2_REFBLOCK_CACHE_BYTES);
    q->free_hint = q->pack_at = 0;
    if (qcow2_collect_meta(q, true, NULL))
        q->broken = true; /* no memory: nothing more is written, the image is whole */
}

int qcow2_turn_commit(struct qcow2_turn *t)
{
    struct qcow2 *q = t->q;
    int ret = 0;

    if (t->l1.entry)
        ret = qcow2_turn_drop(t, q->l1.offset, t->keeps_l1 ? 0 : q->l1.size * 8ull);
    if (!ret)
        ret = qcow2_turn_write_refcounts(t);
    if (!ret)
        ret = viv_node_flush(q->file);
    if (ret)
        return ret;
    viv_st_be64(t->head + QCOW2_H_RT_OFFSET, t->rt.offset);
    if (q->version >= 3)
        viv_st_be32(t->head + QCOW2_H_REFCOUNT_ORDER, t->refcount_order);
    viv_st_be32(t->head + QCOW2_H_RT_CLUSTERS, qcow2_clusters(q, t->rt.size * 8ull));
    ret = viv_node_pwrite(q->file, 0, t->head, sizeof(t->head));
    if (!ret)
        ret = viv_node_flush(q->file);
    g_array_set_size(t->taken, 0);
    if (ret) {
        q->broken = true; /* which of the two images the disk has is not known */
        return ret;
    }
    adopt(t);
    for (guint i = 0; q->node->unmap && i < t->freed->len; i++) {
        struct qcow2_free *f = &g_array_index(t->freed, struct qcow2_free, i);

        viv_node_discard(q->file, f->cluster << q->cluster_bits, f->count << q->cluster_bits);
    }
    return 0;
}
