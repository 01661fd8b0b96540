/* A stored bitmap's table and its bits; see bitmap.h.
 *
 * Bit k of byte j stands for granule 8 j + k. The bytes are cut into clusters; a table entry says where one lies, or that it is
 * all zeroes (0) or all ones (1). */
#include "block/fmt/qcow2/bitmap.h"

#include "block/iov.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

#define ALL_ONES 1ull

uint32_t qcow2_bitmap_table_size(const struct qcow2 *q, size_t bytes)
{
    return qcow2_clusters(q, bytes);
}

static int read_table(struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t **out)
{
    uint64_t *table = g_try_new0(uint64_t, (size_t)b->table_size + 1);
    int ret = table ? 0 : -ENOMEM;

    if (!ret && b->table_size)
        ret = viv_node_pread(q->file, b->table_offset, table, (size_t)b->table_size * 8);
    if (ret) {
        g_free(table);
        return ret;
    }
    for (uint32_t i = 0; i < b->table_size; i++)
        table[i] = viv_ld_be64(&table[i]);
    *out = table;
    return 0;
}

static bool entry_ok(struct qcow2 *q, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET;

    if (entry & ~(QCOW2_OFFSET | ALL_ONES))
        return false;
    return !offset || (!(entry & ALL_ONES) && viv_is_aligned(offset, q->cluster_size) &&
                       offset >> q->cluster_bits < qcow2_clusters(q, viv_node_size(q->file)));
}

static int read_bits(struct qcow2 *q, const uint64_t *table, uint32_t size, uint8_t *bits, size_t bytes)
{
    int ret = 0;

    for (uint32_t i = 0; i < size && !ret; i++) {
        size_t at = (size_t)i << q->cluster_bits, len = MIN(q->cluster_size, bytes - at);

        if (!entry_ok(q, table[i]))
            ret = -EUCLEAN;
        else if (table[i] & QCOW2_OFFSET)
            ret = viv_node_pread(q->file, table[i] & QCOW2_OFFSET, bits + at, len);
        else
            memset(bits + at, table[i] & ALL_ONES ? 0xff : 0, len);
    }
    return ret;
}

int qcow2_load_bits(struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t disk, uint8_t **bits, size_t *bytes)
{
    uint64_t *table;
    int ret;

    *bytes = viv_bitmap_bytes(disk, 1u << b->granularity_bits);
    if (!*bytes || qcow2_bitmap_table_size(q, *bytes) != b->table_size)
        return -ESTALE;
    ret = read_table(q, b, &table);
    if (ret)
        return ret;
    *bits = g_try_malloc0(*bytes);
    ret = *bits ? read_bits(q, table, b->table_size, *bits, *bytes) : -ENOMEM;
    if (ret)
        g_free(*bits);
    g_free(table);
    return ret;
}

static bool all_ones(const uint8_t *p, size_t len)
{
    return p[0] == 0xff && memcmp(p, p + 1, len - 1) == 0;
}

static int take(struct qcow2 *q, uint64_t count, uint64_t *offset, GArray *taken)
{
    struct qcow2_free f = {.count = count};
    uint64_t got;
    int ret = qcow2_clusters_alloc(q, count, count, offset, &got);

    if (ret)
        return ret;
    f.cluster = *offset >> q->cluster_bits;
    g_array_append_val(taken, f);
    return 0;
}

/* One cluster of bits, the last one padded with zeroes; its table entry. */
static int store_cluster(struct qcow2 *q, const uint8_t *bits, size_t len, uint8_t *buf, GArray *taken, uint64_t *entry)
{
    int ret;

    *entry = 0;
    if (viv_buf_is_zero(bits, len))
        return 0;
    if (len == q->cluster_size && all_ones(bits, len)) {
        *entry = ALL_ONES;
        return 0;
    }
    ret = take(q, 1, entry, taken);
    if (ret)
        return ret;
    memcpy(buf, bits, len);
    memset(buf + len, 0, q->cluster_size - len);
    return viv_node_pwrite(q->file, *entry, buf, q->cluster_size);
}

int qcow2_store_bits(struct qcow2 *q, struct qcow2_bitmap *b, const uint8_t *bits, size_t bytes, GArray *taken)
{
    uint32_t size = qcow2_bitmap_table_size(q, bytes);
    uint64_t *table = g_try_new0(uint64_t, size);
    uint8_t *buf = g_try_malloc(q->cluster_size);
    uint64_t offset, entry;
    int ret = table && buf ? take(q, qcow2_clusters(q, size * 8ull), &offset, taken) : -ENOMEM;

    for (uint32_t i = 0; i < size && !ret && bits; i++) {
        size_t at = (size_t)i << q->cluster_bits;

        ret = store_cluster(q, bits + at, MIN(q->cluster_size, bytes - at), buf, taken, &entry);
        viv_st_be64(&table[i], entry);
    }
    if (!ret)
        ret = viv_node_pwrite(q->file, offset, table, size * 8ull);
    g_free(table);
    g_free(buf);
    if (ret)
        return ret;
    b->table_offset = offset;
    b->table_size = size;
    return 0;
}

int qcow2_each_bitmap_cluster(struct qcow2 *q, const struct qcow2_bitmap *b, qcow2_bitmap_fn fn, void *opaque)
{
    uint64_t *table;
    int ret = fn(opaque, "bitmap table", b->table_offset, b->table_size * 8ull);

    if (ret)
        return ret;
    ret = read_table(q, b, &table);
    if (ret)
        return ret;
    for (uint32_t i = 0; i < b->table_size && !ret; i++) {
        if (!entry_ok(q, table[i]))
            ret = -EUCLEAN;
        else if (table[i] & QCOW2_OFFSET)
            ret = fn(opaque, "bitmap data", table[i] & QCOW2_OFFSET, q->cluster_size);
    }
    g_free(table);
    return ret;
}
