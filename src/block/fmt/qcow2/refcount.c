/* Refcounts and the allocation of clusters.
 *
 * The refcount table names a block for each run of clusters; a missing block means that none of them is used. A new
 * block is put into the first cluster of the run that it describes, so the file grows in order. When the table itself
 * is full a larger one is written, with blocks for itself, behind everything, and the header is switched
 * over to it between two barriers. */
#include "block/event.h"
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

uint64_t qcow2_refcount_max(const struct qcow2 *q)
{
    return q->refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
}

uint64_t qcow2_refblock_load(const struct qcow2 *q, const uint8_t *block, uint64_t i)
{
    switch (q->refcount_order) {
    case 3:
        return block[i];
    case 4:
        return viv_ld_be16(block + i * 2);
    case 5:
        return viv_ld_be32(block + i * 4);
    case 6:
        return viv_ld_be64(block + i * 8);
    default: { /* narrower than a byte: the first entry in the lowest bits */
        unsigned bits = 1u << q->refcount_order;

        return block[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
    }
    }
}

void qcow2_refblock_store(const struct qcow2 *q, uint8_t *block, uint64_t i, uint64_t value)
{
    switch (q->refcount_order) {
    case 3:
        block[i] = value;
        break;
    case 4:
        viv_st_be16(block + i * 2, value);
        break;
    case 5:
        viv_st_be32(block + i * 4, value);
        break;
    case 6:
        viv_st_be64(block + i * 8, value);
        break;
    default: {
        unsigned bits = 1u << q->refcount_order, shift = i * bits % 8;
        uint8_t mask = ((1u << bits) - 1) << shift;

        block[i * bits / 8] = (block[i * bits / 8] & ~mask) | (value << shift & mask);
    }
    }
}

/* The block that counts `cluster`, pinned; *out NULL when there is none. */
static int block_get(struct qcow2 *q, uint64_t cluster, struct qcow2_table **out)
{
    uint64_t index = cluster >> q->refblock_bits, offset;

    *out = NULL;
    if (index >= q->rt.size || !(offset = q->rt.entry[index] & ~511ull))
        return 0;
    if (!qcow2_table_ok(q, offset, 0))
        return qcow2_corrupt(q, "a refcount block's offset is impossible", offset);
    return qcow2_table_get(q, &q->refblock_cache, offset, false, out);
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *out)
{
    struct qcow2_table *t;
    int ret = block_get(q, cluster, &t);

    *out = 0;
    if (!ret && t)
        *out = qcow2_refblock_load(q, t->data, cluster & ((1ull << q->refblock_bits) - 1));
    qcow2_table_put(t);
    return ret;
}

/* --- growing --- */

/* A larger table behind the last cluster that the old one can count; see above. `first` is that place. */
struct growth {
    uint64_t first, blocks, table_clusters, used;
};

static int plan_growth(struct qcow2 *q, struct growth *g)
{
    uint64_t per_cluster = q->cluster_size / 8, entries;
    uint64_t want = (uint64_t)q->rt.size + q->rt.size / 2 + per_cluster;

    g->first = (uint64_t)q->rt.size << q->refblock_bits;
    g->blocks = 1;
    for (;;) {
        uint64_t blocks;

        entries = MAX(want, q->rt.size + g->blocks + 1);
        g->table_clusters = (entries + per_cluster - 1) / per_cluster;
        g->used = g->blocks + g->table_clusters;
        blocks = (g->used + (1ull << q->refblock_bits) - 1) >> q->refblock_bits;
        if (blocks <= g->blocks)
            break;
        g->blocks = blocks;
    }
    if (g->table_clusters << q->cluster_bits > QCOW2_RT_BYTES_MAX ||
        g->first + g->used > 1ull << (56 - q->cluster_bits))
        return -EFBIG;
    return 0;
}

/* The new blocks, each with its share of the `used` clusters counted once. */
static int write_new_blocks(struct qcow2 *q, const struct growth *g)
{
    uint64_t per_block = 1ull << q->refblock_bits;

    for (uint64_t b = 0; b < g->blocks; b++) {
        uint64_t offset = (g->first + b) << q->cluster_bits;
        uint64_t from = b * per_block, to = MIN(g->used, from + per_block);
        struct qcow2_table *t;
        int ret = qcow2_table_get(q, &q->refblock_cache, offset, true, &t);

        if (ret)
            return ret;
        for (uint64_t i = from; i < to; i++)
            qcow2_refblock_store(q, t->data, i - from, 1);
        qcow2_table_put(t);
    }
    return qcow2_cache_write(q, &q->refblock_cache);
}

/* Header fields "refcount table offset" and "clusters" are neighbours: one write, inside a sector. */
static int switch_table(struct qcow2 *q, uint64_t offset, uint32_t clusters)
{
    uint8_t be[12];
    int ret;

    viv_st_be64(be, offset);
    viv_st_be32(be + 8, clusters);
    ret = viv_node_pwrite(q->file, QCOW2_H_RT_OFFSET, be, sizeof(be));
    return ret ? ret : viv_node_flush(q->file);
}

static int grow_table(struct qcow2 *q)
{
    struct qcow2_array old = q->rt, new = {0};
    struct growth g;
    int ret = plan_growth(q, &g);

    if (ret)
        return ret;
    new.size = g.table_clusters << (q->cluster_bits - 3);
    new.offset = (g.first + g.blocks) << q->cluster_bits;
    new.entry = g_try_new0(uint64_t, (size_t) new.size + 1);
    if (!new.entry)
        return -ENOMEM;
    memcpy(new.entry, old.entry, (size_t)old.size * 8);
    for (uint64_t b = 0; b < g.blocks; b++)
        new.entry[old.size + b] = (g.first + b) << q->cluster_bits;
    for (uint64_t i = 0; !ret && i < g.used; i++)
        if (qcow2_set_has(&q->meta, g.first + i))
            ret = qcow2_corrupt(q, "metadata lies where no refcount block counts it",
                                (g.first + i) << q->cluster_bits);
    if (!ret)
        ret = write_new_blocks(q, &g);
    if (!ret)
        ret = qcow2_array_write_all(q, &new);
    if (!ret)
        ret = viv_node_flush(q->file);
    if (!ret)
        ret = switch_table(q, new.offset, g.table_clusters);
    for (uint64_t i = 0; !ret && i < g.used; i++)
        if (qcow2_set_add(&q->meta, g.first + i) == -ENOMEM)
            ret = -ENOMEM;
    if (ret) {
        g_free(new.entry);
        return ret;
    }
    q->rt = new;
    for (uint64_t i = 0; i < qcow2_clusters(q, old.size * 8ull); i++)
        qcow2_set_remove(&q->meta, (old.offset >> q->cluster_bits) + i);
    qcow2_clusters_unalloc(q, old.offset, qcow2_clusters(q, old.size * 8ull));
    g_free(old.entry);
    return 0;
}

/* Makes the block that counts `cluster`, in the first cluster of its run. */
static int add_block(struct qcow2 *q, uint64_t cluster)
{
    uint64_t index = cluster >> q->refblock_bits, first = index << q->refblock_bits;
    struct qcow2_table *t;
    int ret;

    viv_node_event(q->file, VIV_EVENT_REFBLOCK_ALLOC);
    if (index >= q->rt.size)
        return grow_table(q);
    if (qcow2_set_has(&q->meta, first))
        return qcow2_corrupt(q, "metadata lies where no refcount block counts it",
                             first << q->cluster_bits);
    ret = qcow2_set_add(&q->meta, first);
    if (ret)
        return ret;
    ret = qcow2_table_get(q, &q->refblock_cache, first << q->cluster_bits, true, &t);
    if (ret) {
        qcow2_set_remove(&q->meta, first);
        return ret;
    }
    qcow2_refblock_store(q, t->data, 0, 1);
    qcow2_table_put(t);
    qcow2_array_set(&q->rt, index, first << q->cluster_bits);
    return 0;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
    struct qcow2_table *t;
    int ret = block_get(q, cluster, &t);

    if (ret)
        return ret;
    if (!t)
        return -ENOENT;
    /* With its last reference the cluster is no longer the one that compressed clusters are put into. */
    if (!value && cluster == q->pack_at >> q->cluster_bits)
        q->pack_at = 0;
    qcow2_refblock_store(q, t->data, cluster & ((1ull << q->refblock_bits) - 1), value);
    qcow2_table_dirty(&q->refblock_cache, t);
    qcow2_table_put(t);
    return 0;
}

/* --- allocation --- */

/* Is it free? Makes missing refcount blocks on the way (which takes a cluster: looks again). */
static int is_free(struct qcow2 *q, uint64_t cluster, bool *free)
{
    for (int tries = 0; tries < 3; tries++) {
        struct qcow2_table *t;
        int ret = block_get(q, cluster, &t);

        if (ret)
            return ret;
        if (t) {
            uint64_t i = cluster & ((1ull << q->refblock_bits) - 1);

            *free = qcow2_refblock_load(q, t->data, i) == 0;
            qcow2_table_put(t);
            return 0;
        }
        ret = add_block(q, cluster);
        if (ret)
            return ret;
    }
    return -EIO;
}

int qcow2_clusters_alloc(struct qcow2 *q, uint64_t want, uint64_t least, uint64_t *offset,
                         uint64_t *got)
{
    uint64_t run = 0, first = q->free_hint, at;
    bool skipped = false;
    int ret = 0;

    viv_node_event(q->file, VIV_EVENT_CLUSTER_ALLOC);
    for (at = q->free_hint; run < want; at++) {
        bool free = false;

        if (at >= 1ull << (56 - q->cluster_bits))
            return -EFBIG;
        ret = is_free(q, at, &free);
        if (ret)
            return ret;
        if (free && qcow2_set_has(&q->meta, at))
            return qcow2_corrupt(q, "metadata is counted as free", at << q->cluster_bits);
        if (free) {
            if (!run++)
                first = at;
        } else if (run >= least) {
            break;
        } else {
            skipped |= run > 0;
            run = 0;
        }
    }
    for (uint64_t i = 0; i < run; i++) {
        ret = qcow2_refcount_set(q, first + i, 1);
        if (ret) {
            qcow2_clusters_unalloc(q, first << q->cluster_bits, i);
            return ret;
        }
    }
    if (!skipped)
        q->free_hint = first + run;
    *offset = first << q->cluster_bits;
    *got = run;
    return 0;
}

static int decrement(struct qcow2 *q, uint64_t cluster)
{
    uint64_t count;
    int ret = qcow2_refcount_get(q, cluster, &count);

    if (ret)
        return ret;
    if (!count)
        return qcow2_corrupt(q, "a cluster in use has refcount 0", cluster << q->cluster_bits);
    ret = qcow2_refcount_set(q, cluster, count - 1);
    if (!ret && count == 1)
        q->free_hint = MIN(q->free_hint, cluster);
    return ret;
}

void qcow2_clusters_unalloc(struct qcow2 *q, uint64_t offset, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        decrement(q, (offset >> q->cluster_bits) + i); /* failing leaks it: no harm */
}

int qcow2_clusters_free_later(struct qcow2 *q, uint64_t offset, uint64_t count)
{
    struct qcow2_free *last = q->free_count ? &q->frees[q->free_count - 1] : NULL;
    uint64_t cluster = offset >> q->cluster_bits;

    if (last && last->cluster + last->count == cluster) {
        last->count += count;
        return 0;
    }
    if (q->free_count == q->free_room) {
        size_t room = q->free_room ? q->free_room * 2 : 64;
        struct qcow2_free *more = g_try_renew(struct qcow2_free, q->frees, room);

        if (!more)
            return -ENOMEM; /* the caller leaks it */
        q->frees = more;
        q->free_room = room;
    }
    q->frees[q->free_count++] = (struct qcow2_free){cluster, count};
    return 0;
}

/* Decrements; what became free gives its room back to the file when discards may. */
static int apply_free(struct qcow2 *q, const struct qcow2_free *f)
{
    int ret = 0;

    viv_node_event(q->file, VIV_EVENT_CLUSTER_FREE);
    for (uint64_t i = 0; !ret && i < f->count; i++) {
        uint64_t cluster = f->cluster + i, count;

        ret = decrement(q, cluster);
        if (!ret && q->node->unmap && !qcow2_refcount_get(q, cluster, &count) && count == 0)
            viv_node_discard(q->file, cluster << q->cluster_bits, q->cluster_size);
    }
    return ret;
}

int qcow2_apply_frees(struct qcow2 *q)
{
    int ret = 0;

    /* Taken off first: what fails is leaked, and decrement() cannot add to the list. */
    for (size_t i = 0; !ret && i < q->free_count; i++)
        ret = apply_free(q, &q->frees[i]);
    q->free_count = 0;
    return ret;
}
