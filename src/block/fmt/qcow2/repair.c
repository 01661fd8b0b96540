/* Mending refcounts after check.c has counted the references. */
#include "block/fmt/qcow2/check_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

static int mend_one(struct qcow2_checker *k, uint64_t i)
{
    uint32_t found = i < k->clusters ? k->refs[i] : 0;
    uint64_t refcount;
    int ret = qcow2_refcount_get(k->q, i, &refcount);

    if (ret || refcount == found)
        return ret;
    if (refcount < found && !(k->c->fix & VIV_FIX_ERRORS))
        return 0;
    if (refcount > found && !(k->c->fix & (VIV_FIX_LEAKS | VIV_FIX_ERRORS)))
        return 0;
    if (found > qcow2_refcount_max(k->q))
        return 0; /* stays reported: the width cannot say it */
    viv_check_say(k->c, "Repairing cluster %" PRIu64 " refcount=%" PRIu64 " reference=%u", i,
                    refcount, found);
    ret = qcow2_refcount_set(k->q, i, found);
    if (ret == -ENOENT) {
        k->rebuild = true; /* no block counts it */
        return 0;
    }
    if (!ret && refcount < found)
        k->c->corruptions_fixed++;
    else if (!ret)
        k->c->leaks_fixed++;
    return ret;
}

int qcow2_repair_refcounts(struct qcow2_checker *k)
{
    uint64_t end = MAX(k->clusters, (uint64_t)k->q->rt.size << k->q->refblock_bits);
    uint64_t step = 1ull << k->q->refblock_bits;
    int ret = 0;

    if (k->c->corruptions + k->c->leaks == 0)
        return 0;
    for (uint64_t b = 0; b < end && !ret && !k->rebuild; b += step) {
        /* Without a block there is nothing to mend behind the file's end. */
        if (b >= k->clusters && !(k->q->rt.entry[b >> k->q->refblock_bits] & ~511ull))
            continue;
        for (uint64_t i = b; i < b + step && i < end && !ret && !k->rebuild; i++)
            ret = mend_one(k, i);
    }
    if (!ret && k->rebuild && (k->c->fix & VIV_FIX_ERRORS))
        ret = qcow2_repair_rebuild(k);
    return ret;
}

/* Where the new structure goes: behind the file, blocks first, then the table. */
struct rebuild {
    uint64_t first, blocks, table_clusters, total;
};

static int plan(struct qcow2_checker *k, struct rebuild *r)
{
    struct qcow2 *q = k->q;

    r->first = k->clusters;
    r->blocks = r->table_clusters = 1;
    for (int i = 0; i < 16; i++) {
        r->total = r->first + r->blocks + r->table_clusters;
        r->blocks = (r->total + (1ull << q->refblock_bits) - 1) >> q->refblock_bits;
        r->table_clusters = (r->blocks * 8 + q->cluster_size - 1) >> q->cluster_bits;
    }
    r->total = r->first + r->blocks + r->table_clusters;
    return r->table_clusters << q->cluster_bits > QCOW2_RT_BYTES_MAX ? -EFBIG : 0;
}

/* The old table and blocks are not counted any more. */
static void forget_old(struct qcow2_checker *k)
{
    struct qcow2 *q = k->q;

    for (uint64_t i = 0; i < qcow2_clusters(q, q->rt.size * 8ull); i++) {
        uint64_t c = (q->rt.offset >> q->cluster_bits) + i;

        if (c < k->clusters && k->refs[c])
            k->refs[c]--;
    }
    for (uint32_t i = 0; i < q->rt.size; i++) {
        uint64_t c = q->rt.entry[i] >> q->cluster_bits;

        if (q->rt.entry[i] && viv_is_aligned(q->rt.entry[i] & ~511ull, q->cluster_size) &&
            c < k->clusters && k->refs[c])
            k->refs[c]--;
    }
}

static int write_blocks(struct qcow2_checker *k, const struct rebuild *r)
{
    struct qcow2 *q = k->q;
    uint8_t *buf = g_try_malloc(q->cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t b = 0; b < r->blocks && !ret; b++) {
        memset(buf, 0, q->cluster_size);
        for (uint64_t i = 0; i < 1ull << q->refblock_bits; i++) {
            uint64_t c = (b << q->refblock_bits) + i;
            uint64_t refs = c < k->clusters ? k->refs[c] : c < r->total;

            if (refs > qcow2_refcount_max(q))
                ret = -EOVERFLOW;
            qcow2_refblock_store(q, buf, i, refs);
        }
        if (!ret)
            ret = viv_node_pwrite(q->file, (r->first + b) << q->cluster_bits, buf, q->cluster_size);
    }
    g_free(buf);
    return ret;
}

static int switch_over(struct qcow2 *q, struct qcow2_array *rt, uint32_t clusters)
{
    uint8_t be[12];
    int ret = qcow2_array_write_all(q, rt);

    if (!ret)
        ret = viv_node_flush(q->file);
    viv_st_be64(be, rt->offset);
    viv_st_be32(be + 8, clusters);
    if (!ret)
        ret = viv_node_pwrite(q->file, QCOW2_H_RT_OFFSET, be, sizeof(be));
    return ret ? ret : viv_node_flush(q->file);
}

int qcow2_repair_rebuild(struct qcow2_checker *k)
{
    struct qcow2 *q = k->q;
    struct qcow2_array rt = {0};
    struct rebuild r;
    int ret = plan(k, &r);

    viv_check_say(k->c, "Rebuilding refcount structure");
    if (ret)
        return ret;
    rt.size = r.table_clusters << (q->cluster_bits - 3);
    rt.offset = (r.first + r.blocks) << q->cluster_bits;
    rt.entry = g_try_new0(uint64_t, (size_t)rt.size + 1);
    if (!rt.entry)
        return -ENOMEM;
    for (uint64_t b = 0; b < r.blocks; b++)
        rt.entry[b] = (r.first + b) << q->cluster_bits;
    forget_old(k);
    ret = write_blocks(k, &r);
    if (!ret)
        ret = switch_over(q, &rt, r.table_clusters);
    if (ret) {
        g_free(rt.entry);
        return ret;
    }
    g_free(q->rt.entry);
    q->rt = rt;
    qcow2_cache_fini(&q->refblock_cache);
    qcow2_cache_init(&q->refblock_cache, q->cluster_size, QCOW2_REFBLOCK_CACHE_BYTES);
    q->free_hint = 0;
    /* What was wrong with refcounts is right now; entries that point nowhere still do. */
    k->c->corruptions_fixed = k->mendable;
    k->c->leaks_fixed = k->c->leaks;
    return qcow2_collect_meta(q, true, NULL); /* the old table and blocks are free */
}
