/* Where a guest range lies: L1 -> L2 -> entry; and compressed clusters. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

int qcow2_l2_get(struct qcow2 *q, uint64_t offset, struct qcow2_table **out)
{
    uint64_t index = qcow2_l1_index(q, offset), l2;

    *out = NULL;
    if (index >= q->l1.size)
        return -EIO;
    l2 = q->l1.entry[index] & QCOW2_OFFSET;
    if (!l2)
        return 0;
    if (!qcow2_table_ok(q, l2, 0))
        return qcow2_corrupt(q, "an L2 table's offset is impossible", l2);
    if (l2 >= viv_node_size(q->file) && !q->l2_cache.dirty)
        return -EIO; /* cut off; a new table is in the cache before it is in the file */
    return qcow2_table_get(q, &q->l2_cache, l2, false, out);
}

/* What one entry says; `in` is the offset inside the cluster. */
static int decode(struct qcow2 *q, uint64_t entry, uint64_t in, struct viv_extent *e)
{
    uint64_t host = entry & QCOW2_OFFSET;

    *e = (struct viv_extent){.kind = VIV_MAP_BACKING, .len = q->cluster_size - in};
    if (entry & QCOW2_COMPRESSED) {
        e->kind = VIV_MAP_COMPRESSED;
        e->allocated = true;
        return 0;
    }
    if (!viv_is_aligned(host, q->cluster_size))
        return qcow2_corrupt(q, "a data cluster's offset is not aligned", host);
    e->allocated = host != 0;
    e->host = host + in;
    if ((entry & QCOW2_ZERO) && q->version >= 3) {
        e->kind = VIV_MAP_ZERO;
    } else if (host) {
        e->kind = VIV_MAP_DATA;
        e->in_place = (entry & QCOW2_COPIED) && !q->node->read_only && !q->broken;
        if (e->in_place && qcow2_set_has(&q->meta, host >> q->cluster_bits))
            return qcow2_corrupt(q, "a data cluster lies on metadata", host);
        if (host >= viv_node_size(q->file))
            return -EIO; /* the file was cut off here */
    }
    return 0;
}

static bool continues(const struct viv_extent *a, const struct viv_extent *b)
{
    if (a->kind != b->kind || a->allocated != b->allocated || a->in_place != b->in_place ||
        a->kind == VIV_MAP_COMPRESSED)
        return false;
    return !a->allocated || b->host == a->host + a->len;
}

/* One extent as long as this L2 table and contiguity allow. */
static int map_locked(struct qcow2 *q, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    uint64_t per_table = 1ull << (q->cluster_bits + q->l2_bits);
    struct qcow2_table *t;
    int ret = qcow2_l2_get(q, offset, &t);

    if (ret)
        return ret;
    if (!t) {
        *out = (struct viv_extent){.kind = VIV_MAP_BACKING,
                                   .len = MIN(len, per_table - (offset & (per_table - 1)))};
        return 0;
    }
    ret = decode(q, viv_ld_be64(t->data + qcow2_l2_index(q, offset) * 8),
                 offset & (q->cluster_size - 1), out);
    for (uint32_t i = qcow2_l2_index(q, offset) + 1; !ret && out->len < len && i < 1u << q->l2_bits;
         i++) {
        struct viv_extent e;

        /* An error behind the first cluster is found when one comes to it. */
        if (decode(q, viv_ld_be64(t->data + i * 8), 0, &e) || !continues(out, &e))
            break;
        out->len += e.len;
    }
    qcow2_table_put(t);
    out->len = MIN(out->len, len);
    return ret;
}

int qcow2_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct qcow2 *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = map_locked(q, offset, len, out);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* "Compressed Clusters Descriptor": x bits of host offset, then how many more 512-byte sectors it touches. */
uint64_t qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry & (QCOW2_COMPRESSED - 1)) >> x;

    *offset = entry & ((1ull << x) - 1);
    return (sectors + 1) * 512 - (*offset & 511);
}

int qcow2_read_compressed(struct viv_node *n, uint64_t offset, uint8_t *buf)
{
    struct qcow2 *q = n->state;
    uint64_t entry = 0, host, len;
    struct qcow2_table *t = NULL;
    uint8_t *in;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = qcow2_l2_get(q, offset, &t);
    if (!ret && t)
        entry = viv_ld_be64(t->data + qcow2_l2_index(q, offset) * 8);
    qcow2_table_put(t);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return ret;
    if (!(entry & QCOW2_COMPRESSED))
        return -EIO;
    len = qcow2_compressed_range(q, entry, &host); /* at most two clusters and a bit */
    in = g_try_malloc(len);
    if (!in)
        return -ENOMEM;
    ret = viv_node_pread(q->file, host, in, len);
    if (!ret)
        ret = qcow2_inflate(q->compression, in, len, buf, q->cluster_size);
    g_free(in);
    return ret;
}
