/* A whole new refcount structure beside the one in use, with the counts that a turn leads to.
 *
 * Its clusters are allocated in the old structure, like any others; so the old one, and with it what must be covered,
 * may grow meanwhile. The clusters of the old table and blocks are free in the new one. */
#include "block/fmt/qcow2/turn.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Clusters that the old structure can count, as far as it has blocks. */
static uint64_t covered(const struct qcow2 *q)
{
    uint32_t last = q->rt.size;

    while (last && !(q->rt.entry[last - 1] & ~511ull))
        last--;
    return (uint64_t)last << q->refblock_bits;
}

static unsigned block_bits(const struct qcow2_turn *t)
{
    return t->q->cluster_bits + 3 - t->refcount_order;
}

/* Does the old structure say anything of what new block `b` counts? */
static bool is_needed(const struct qcow2_turn *t, uint64_t b)
{
    const struct qcow2 *q = t->q;
    uint64_t first = b << block_bits(t) >> q->refblock_bits;
    uint64_t last = (((b + 1) << block_bits(t)) - 1) >> q->refblock_bits;

    for (uint64_t i = first; i <= last && i < q->rt.size; i++)
        if (q->rt.entry[i] & ~511ull)
            return true;
    return false;
}

/* A place for the table, with entries to spare for what is allocated after it. */
static int place_table(struct qcow2_turn *t)
{
    struct qcow2 *q = t->q;
    uint64_t blocks = (covered(q) >> block_bits(t)) + 1, entries = blocks + blocks / 16 + 64;

    entries = (entries + q->cluster_size / 8 - 1) & ~(q->cluster_size / 8 - 1ull);
    if (entries > QCOW2_RT_BYTES_MAX / 8)
        return -EFBIG;
    t->rt.size = entries;
    t->rt.entry = g_try_new0(uint64_t, entries + 1);
    return t->rt.entry ? qcow2_turn_alloc(t, entries * 8, &t->rt.offset) : -ENOMEM;
}

/* A place for each block. Each allocation may need one more in the old structure, so until all have theirs. */
static int place_blocks(struct qcow2_turn *t)
{
    bool again = true;

    while (again) {
        again = false;
        for (uint64_t b = 0; b << block_bits(t) < covered(t->q); b++) {
            uint64_t offset;
            int ret;

            if (b >= t->rt.size)
                return -EFBIG;
            if (t->rt.entry[b] || !is_needed(t, b))
                continue;
            ret = qcow2_turn_alloc(t, t->q->cluster_size, &offset);
            if (ret)
                return ret;
            t->rt.entry[b] = offset;
            again = true;
        }
    }
    return 0;
}

static int drop_old(struct qcow2_turn *t)
{
    struct qcow2 *q = t->q;
    int ret = 0;

    for (uint64_t i = 0; i < qcow2_clusters(q, q->rt.size * 8ull) && !ret; i++)
        ret = qcow2_turn_add(t, (q->rt.offset >> q->cluster_bits) + i, -1);
    for (uint32_t i = 0; i < q->rt.size && !ret; i++)
        if (q->rt.entry[i] & ~511ull)
            ret = qcow2_turn_add(t, (q->rt.entry[i] & ~511ull) >> q->cluster_bits, -1);
    return ret;
}

static void note_freed(struct qcow2_turn *t, uint64_t cluster)
{
    struct qcow2_free *last = t->freed->len ? &g_array_index(t->freed, struct qcow2_free, t->freed->len - 1) : NULL;
    struct qcow2_free one = {cluster, 1};

    if (last && last->cluster + last->count == cluster)
        last->count++;
    else
        g_array_append_val(t->freed, one);
}

static int write_block(struct qcow2_turn *t, uint64_t b, uint8_t *buf)
{
    struct qcow2 narrow = {.refcount_order = t->refcount_order}; /* all that the packing looks at */
    uint64_t first = b << block_bits(t);

    memset(buf, 0, t->q->cluster_size);
    for (uint64_t i = 0; i < 1ull << block_bits(t); i++) {
        uint64_t count;
        int ret = qcow2_turn_refcount(t, first + i, &count);

        if (ret)
            return ret;
        if (count > qcow2_refcount_max(&narrow))
            return -EOVERFLOW;
        if (count)
            qcow2_refblock_store(&narrow, buf, i, count);
        else if (first + i < t->deltas && t->delta[first + i] < 0)
            note_freed(t, first + i);
    }
    return viv_node_pwrite(t->q->file, t->rt.entry[b], buf, t->q->cluster_size);
}

int qcow2_turn_write_refcounts(struct qcow2_turn *t)
{
    uint8_t *buf = g_try_malloc(t->q->cluster_size);
    int ret = buf ? place_table(t) : -ENOMEM;

    if (!ret)
        ret = place_blocks(t);
    if (!ret)
        ret = drop_old(t);
    for (uint32_t b = 0; b < t->rt.size && !ret; b++)
        if (t->rt.entry[b])
            ret = write_block(t, b, buf);
    if (!ret)
        ret = qcow2_array_write_all(t->q, &t->rt);
    g_free(buf);
    return ret;
}
