/* Where a guest range lies, and compressed clusters. */
#include "block/fmt/deflate/deflate.h"
#include "block/fmt/qcow/qcow_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

static enum viv_map_kind kind_of(uint64_t entry)
{
    return !entry ? VIV_MAP_BACKING : entry & QCOW_COMPRESSED ? VIV_MAP_COMPRESSED : VIV_MAP_DATA;
}

static int check_data(struct qcow *q, uint64_t host)
{
    if (!qcow_data_ok(q, host))
        return qcow_corrupt(q, "a data cluster lies outside the file or on the header or L1 table", host);
    if (!q->node->read_only && qcow_on_table(q, host, 1))
        return qcow_corrupt(q, "a data cluster lies on an L2 table", host);
    return 0;
}

/* Does the entry `count` clusters behind `first` go on where it does? An error there is found when one comes to it. */
static bool continues(struct qcow *q, uint64_t first, uint64_t next, uint64_t count)
{
    if (kind_of(first) != kind_of(next))
        return false;
    return kind_of(first) != VIV_MAP_DATA || (next == first + (count << q->cluster_bits) && !check_data(q, next));
}

/* As many clusters as are like the first and, with data, follow it; inside one table. */
int qcow_map_locked(struct qcow *q, uint64_t offset, struct viv_extent *e)
{
    uint64_t reach = 1ull << qcow_reach_bits(q), in = offset & (q->cluster_size - 1), i = qcow_l2_index(q, offset), table, first,
             count = 1, want;
    struct qcow_page *p;
    int ret = qcow_l1_get(q, offset >> qcow_reach_bits(q), &table);

    e->kind = VIV_MAP_BACKING;
    e->len = MIN(e->len, reach - (offset & (reach - 1)));
    if (ret || !table)
        return ret;
    ret = qcow_l2_get(q, table, &p);
    if (ret)
        return ret;
    first = viv_ld_be64(p->data + i * 8);
    e->kind = kind_of(first);
    if (e->kind == VIV_MAP_DATA && (ret = check_data(q, first)) != 0)
        return ret;
    want = qcow_clusters(q, in + e->len);
    while (count < want && continues(q, first, viv_ld_be64(p->data + (i + count) * 8), count))
        count++;
    e->len = MIN(e->len, (count << q->cluster_bits) - in);
    e->allocated = first != 0;
    if (e->kind == VIV_MAP_DATA) {
        e->host = first + in;
        e->in_place = !q->node->read_only && !q->broken;
    }
    return 0;
}

int qcow_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct qcow *q = n->state;
    int ret;

    *out = (struct viv_extent){.len = len};
    pthread_mutex_lock(&q->lock);
    ret = qcow_map_locked(q, offset, out);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow_read_compressed(struct viv_node *n, uint64_t offset, uint8_t *buf)
{
    struct qcow *q = n->state;
    uint64_t entry, host;
    uint32_t len;
    uint8_t *in;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = qcow_entry_get(q, offset, &entry);
    host = qcow_compressed_at(q, entry, &len);
    if (!ret && (!(entry & QCOW_COMPRESSED) || !qcow_compressed_ok(q, host, len)))
        ret = qcow_corrupt(q, "a compressed cluster lies outside the file or on the header or L1 table", host);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return ret;
    in = g_try_malloc(len);
    if (!in)
        return -ENOMEM;
    ret = viv_node_pread(q->file, host, in, len);
    if (!ret)
        ret = viv_inflate(in, len, buf, q->cluster_size, -15);
    g_free(in);
    return ret;
}

/* --- writing them --- */

/* Others expect whole clusters, the disk's last too; the entry's count has no room for as many bytes as a cluster has. */
int qcow_pack(struct viv_node *n, const uint8_t *buf, size_t len, uint8_t *out, size_t *out_len)
{
    const struct qcow *q = n->state;
    uint8_t *whole = NULL;
    int ret;

    if (len < q->cluster_size) {
        whole = g_try_malloc0(q->cluster_size);
        if (!whole)
            return -ENOMEM;
        memcpy(whole, buf, len);
    }
    ret = viv_deflate(whole ? whole : buf, q->cluster_size, out, q->cluster_size - 1, false, out_len);
    g_free(whole);
    return ret;
}

/* Packed bytes lie in whole sectors: a write behind them never touches theirs. */
int qcow_write_packed(struct viv_node *n, uint64_t offset, const uint8_t *packed, size_t len)
{
    static const uint8_t zeroes[512];
    struct qcow *q = n->state;
    uint32_t room = (len + 511) & ~511u;
    struct iovec v[2] = {{(void *)packed, len}, {(void *)zeroes, room - len}};
    struct qcow_page *p;
    uint64_t host, table;
    int ret;

    if (!len || len >= q->cluster_size)
        return -EINVAL;
    pthread_mutex_lock(&q->lock);
    ret = qcow_writable_table(q, offset, &table);
    host = q->end;
    if (!ret && (host + room) >> (63 - q->cluster_bits))
        ret = -E2BIG; /* the entry has no bits for such an offset */
    if (!ret)
        q->end += room;
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return ret;
    ret = viv_node_pwritev(q->file, host, v, 2, room);
    pthread_mutex_lock(&q->lock);
    if (!ret)
        ret = q->broken ? -EIO : qcow_l2_get(q, table, &p);
    if (!ret) {
        viv_st_be64(p->data + qcow_l2_index(q, offset) * 8, QCOW_COMPRESSED | (uint64_t)len << (63 - q->cluster_bits) | host);
        qcow_page_dirty(q, p);
    } else if (host + room == q->end) {
        q->end = host;
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}
