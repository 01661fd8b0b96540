/* The header: read, checked, believed only then; and where the L2 tables lie. */
#include "block/crypt/crypt.h"
#include "block/fmt/qcow/qcow_int.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SCAN_BYTES 65536u

int qcow_corrupt(struct qcow *q, const char *why, uint64_t offset)
{
    if (q->broken)
        return -EIO;
    q->broken = true;
    viv_error("'%s': %s (offset 0x%" PRIx64 "): the image is corrupt and is not written any more; stop its user and "
              "run 'viv-img check -r all'",
              q->node->filename, why, offset);
    return -EIO;
}

static int bad(struct qcow *q, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid qcow image: %s", q->node->filename, what);
}

uint64_t qcow_l1_entries(uint64_t size, unsigned reach_bits)
{
    return (size >> reach_bits) + ((size & ((1ull << reach_bits) - 1)) != 0);
}

static int read_backing_name(struct qcow *q, const uint8_t *head, struct viv_err *err)
{
    uint64_t offset = viv_ld_be64(head + QCOW_H_BACKING_OFFSET);
    uint32_t len = viv_ld_be32(head + QCOW_H_BACKING_SIZE);
    int ret;

    if (!offset)
        return 0;
    if (len > QCOW_BACKING_NAME_MAX)
        return bad(q, err, "the backing file's name is longer than 1023 bytes");
    if (!len || !viv_range_inside(offset, len, viv_node_size(q->file)))
        return bad(q, err, "the backing file's name does not lie in the file");
    q->backing_file = g_malloc0(len + 1);
    ret = viv_node_pread(q->file, offset, q->backing_file, len);
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", q->node->filename);
    if (strlen(q->backing_file) != len)
        return bad(q, err, "the backing file's name has a zero byte in it");
    return 0;
}

/* Everything else is computed from it. */
static int read_geometry(struct qcow *q, const uint8_t *head, struct viv_err *err)
{
    uint64_t size = viv_ld_be64(head + QCOW_H_SIZE), file = viv_node_size(q->file), entries;

    q->cluster_bits = head[QCOW_H_CLUSTER_BITS];
    q->l2_bits = head[QCOW_H_L2_BITS];
    if (q->cluster_bits < QCOW_CLUSTER_BITS_MIN || q->cluster_bits > QCOW_CLUSTER_BITS_MAX)
        return bad(q, err, "Cluster size must be between 512 and 64k");
    if (q->l2_bits < QCOW_L2_BITS_MIN || q->l2_bits > QCOW_L2_BITS_MAX)
        return bad(q, err, "L2 table size must be between 512 and 64k");
    q->cluster_size = 1u << q->cluster_bits;
    q->table_bytes = 8u << q->l2_bits;
    if (size <= 1)
        return bad(q, err, "Image size is too small (must be at least 2 bytes)");
    entries = qcow_l1_entries(size, qcow_reach_bits(q));
    if (size > INT64_MAX || entries > QCOW_L1_ENTRIES_MAX)
        return bad(q, err, "Image too large");
    q->l1_offset = viv_ld_be64(head + QCOW_H_L1_OFFSET);
    q->l1_bytes = entries * 8;
    /* Cut off, its entries would read as "nothing here". */
    if (q->l1_offset < QCOW_H_LENGTH || !viv_range_inside(q->l1_offset, q->l1_bytes, file))
        return bad(q, err, "the L1 table does not lie in the file, behind the header");
    if (file > INT64_MAX / 2)
        return bad(q, err, "the file is too large");
    q->end = (file + 511) & ~511ull;
    q->node->size = size & ~511ull; /* whole sectors, as other programs see it */
    return q->node->size ? 0 : bad(q, err, "the disk has less than a sector");
}

int qcow_read_header(struct qcow *q, const struct viv_node_opts *o, struct viv_err *err)
{
    uint8_t head[QCOW_H_LENGTH];
    int ret = viv_node_pread(q->file, 0, head, sizeof(head));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", q->node->filename);
    if (viv_ld_be32(head) != QCOW_MAGIC)
        return viv_fail(err, EINVAL, "Image not in qcow format ('%s')", q->node->filename);
    if (viv_ld_be32(head + QCOW_H_VERSION) != 1)
        return viv_fail(err, ENOTSUP, "'%s': qcow (version 1) does not know version %u%s", q->node->filename,
                        (unsigned)viv_ld_be32(head + QCOW_H_VERSION),
                        viv_ld_be32(head + QCOW_H_VERSION) < 4 ? "; the format 'qcow2' does" : "");
    q->crypt = viv_ld_be32(head + QCOW_H_CRYPT);
    if (q->crypt > 1)
        return viv_fail(err, EINVAL, "'%s': invalid encryption method %u in qcow header", q->node->filename, (unsigned)q->crypt);
    ret = read_geometry(q, head, err);
    if (!ret)
        ret = read_backing_name(q, head, err);
    if (!ret && q->crypt)
        ret = viv_crypt_qcow_aes(o->key_secret, o->no_data, &q->node->crypt, err);
    return ret;
}

static int add_table(struct qcow *q, uint64_t table, struct viv_err *err)
{
    if (!table || !qcow_table_ok(q, table))
        return 0; /* refused when it is used */
    if (qcow_on_table(q, table, qcow_clusters(q, q->table_bytes)))
        return viv_fail(err, EINVAL, "'%s': the image is corrupt: two of its L2 tables overlap (offset 0x%" PRIx64
                        "); opening it read-only works", q->node->filename, table);
    if (g_hash_table_size(q->tables) >= QCOW_TABLES_MAX)
        return viv_fail(err, EFBIG, "'%s' has more than %u L2 tables: it can only be read", q->node->filename, QCOW_TABLES_MAX);
    g_hash_table_add(q->tables, (gpointer)(table >> q->cluster_bits));
    return 0;
}

/* How much of the file from `offset` on is a hole. */
uint64_t qcow_hole(struct qcow *q, uint64_t offset, uint64_t len)
{
    struct viv_extent e;

    if (!q->file->drv->status || q->file->drv->status(q->file, offset, len, &e) || e.kind != VIV_MAP_ZERO)
        return 0;
    return MIN(e.len, len);
}

int qcow_find_tables(struct qcow *q, struct viv_err *err)
{
    uint8_t *buf;
    int ret = 0;

    if (!viv_is_aligned(q->l1_offset, 8)) /* an entry would lie in two sectors: half of it may be written */
        return viv_fail(err, ENOTSUP, "'%s': the L1 table lies at the odd offset %" PRIu64 "; opening the image read-only works",
                        q->node->filename, q->l1_offset);
    buf = g_try_malloc(SCAN_BYTES);
    if (!buf)
        return viv_fail(err, ENOMEM, "no memory to open '%s'", q->node->filename);
    for (uint64_t at = 0, step; !ret && at < q->l1_bytes; at += step) {
        step = viv_align_down(qcow_hole(q, q->l1_offset + at, q->l1_bytes - at), 8);
        if (step)
            continue;
        step = MIN(SCAN_BYTES, q->l1_bytes - at);
        ret = viv_node_pread(q->file, q->l1_offset + at, buf, step);
        if (ret)
            viv_fail_os(err, -ret, "Could not read the L1 table of '%s'", q->node->filename);
        for (uint64_t i = 0; !ret && i < step; i += 8)
            ret = add_table(q, viv_ld_be64(buf + i), err);
    }
    g_free(buf);
    return ret;
}
