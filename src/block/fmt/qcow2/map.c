/* Where a guest range lies: L1 -> L2 -> entry; and compressed clusters. */
#include "block/event.h"
#include "block/fmt/qcow2/entry.h"

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

/* What subcluster `sub` is, in *kind, and the subclusters from it on that are the same. */
static unsigned run_from(const struct qcow2 *q, const struct qcow2_entry *e, unsigned sub, enum viv_map_kind *kind)
{
    uint32_t bit = 1u << sub, same;
    uint64_t other;

    if (e->alloc & bit) {
        *kind = VIV_MAP_DATA;
        same = e->alloc;
    } else if (e->zero & bit) {
        *kind = VIV_MAP_ZERO;
        same = e->zero;
    } else {
        *kind = VIV_MAP_BACKING;
        same = ~(e->alloc | e->zero);
    }
    other = ~(uint64_t)same >> sub; /* bits from 32 on are set: the run ends there at last */
    return MIN((unsigned)__builtin_ctzll(other), qcow2_sub_count(q) - sub);
}

/* Data that is to be read or written where it lies. */
static int decode_data(struct qcow2 *q, const struct qcow2_entry *e, uint64_t host, struct viv_extent *out)
{
    out->in_place = qcow2_has_own_place(q, e) && !q->node->read_only && !q->broken;
    if (!q->data)
        return -EIO; /* opened for its metadata alone */
    if (out->in_place && !q->external && qcow2_set_has(&q->meta, host >> q->cluster_bits))
        return qcow2_corrupt(q, "a data cluster lies on metadata", host);
    if (host >= viv_node_size(q->data))
        return -EIO; /* the file was cut off here */
    return 0;
}

/* What one entry says of the guest's `offset` and the rest of its cluster as far as it is the same. */
static int decode(struct qcow2 *q, const struct qcow2_entry *e, uint64_t offset, struct viv_extent *out)
{
    uint64_t in = offset & (q->cluster_size - 1), host = e->desc & QCOW2_OFFSET;
    uint32_t sub_size = qcow2_sub_size(q);
    const char *fault = qcow2_entry_fault(q, e, offset);
    unsigned sub = in / sub_size;

    *out = (struct viv_extent){.kind = VIV_MAP_COMPRESSED, .len = q->cluster_size - in, .allocated = true};
    if (fault)
        return qcow2_corrupt(q, fault, host);
    if (e->desc & QCOW2_COMPRESSED)
        return 0;
    out->len = (uint64_t)(sub + run_from(q, e, sub, &out->kind)) * sub_size - in;
    out->allocated = qcow2_has_place(q, e);
    if (out->allocated) {
        out->host = host + in;
        out->where = q->external ? q->data : NULL;
    }
    return out->kind == VIV_MAP_DATA ? decode_data(q, e, host, out) : 0;
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
    uint64_t end = MIN(offset + len, viv_align_down(offset, per_table) + per_table);
    struct qcow2_entry entry;
    struct qcow2_table *t;
    int ret = qcow2_l2_get(q, offset, &t);

    if (ret)
        return ret;
    if (!t) {
        *out = (struct viv_extent){.kind = VIV_MAP_BACKING, .len = end - offset};
        return 0;
    }
    qcow2_entry_load(q, t, qcow2_l2_index(q, offset), &entry);
    ret = decode(q, &entry, offset, out);
    while (!ret && offset + out->len < end) {
        uint64_t at = offset + out->len;
        struct viv_extent e;

        qcow2_entry_load(q, t, qcow2_l2_index(q, at), &entry);
        /* An error behind the first piece is found when one comes to it. */
        if (decode(q, &entry, at, &e) || !continues(out, &e))
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
    struct qcow2_entry entry = {0};
    struct qcow2_table *t = NULL;
    uint64_t host, len;
    uint8_t *in;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = qcow2_l2_get(q, offset, &t);
    if (!ret && t)
        qcow2_entry_load(q, t, qcow2_l2_index(q, offset), &entry);
    qcow2_table_put(t);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return ret;
    if (!(entry.desc & QCOW2_COMPRESSED))
        return -EIO;
    len = qcow2_compressed_range(q, entry.desc, &host); /* at most two clusters and a bit */
    in = g_try_malloc(len);
    if (!in)
        return -ENOMEM;
    viv_node_event(q->file, VIV_EVENT_READ_COMPRESSED);
    ret = viv_node_pread(q->file, host, in, len);
    if (!ret)
        ret = qcow2_inflate(q->compression, in, len, buf, q->cluster_size);
    g_free(in);
    return ret;
}
