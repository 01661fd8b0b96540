/* The header and the L1 table: read, checked, believed only then. */
#include "block/fmt/qed/qed_int.h"

#include "base/bytes.h"
#include "base/log.h"
#include "block/alarm.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

bool qed_cluster_size_ok(uint64_t cs)
{
    return cs >= QED_CLUSTER_MIN && cs <= QED_CLUSTER_MAX && viv_is_aligned(cs, cs);
}

bool qed_table_size_ok(uint64_t ts)
{
    return ts >= 1 && ts <= QED_TABLE_MAX && viv_is_aligned(ts, ts);
}

/* "image_size <= TABLE_NOFFSETS * TABLE_NOFFSETS * cluster_size" */
uint64_t qed_size_max(uint32_t cluster_size, uint32_t table_size)
{
    uint64_t entries = (uint64_t)cluster_size * table_size / 8, size;

    if (!viv_mul_u64(entries * entries, cluster_size, &size) || size > INT64_MAX)
        return INT64_MAX & ~511ull;
    return size;
}

int qed_corrupt(struct qed *q, const char *why, uint64_t offset)
{
    if (q->broken)
        return -EIO;
    q->broken = true;
    viv_error("'%s': %s at offset 0x%" PRIx64
              ": the image is corrupt and is not written any more; stop its user and "
              "run 'viv-img check -r all'",
              q->node->filename, why, offset);
    viv_alarm_corrupt(q->node, why, offset);
    return -EIO;
}

static int bad(struct qed *q, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid qed image: %s", q->node->filename, what);
}

int qed_write_features(struct qed *q, uint64_t features)
{
    uint8_t le[8];
    int ret;

    if (features == q->features)
        return 0;
    viv_st_le64(le, features);
    ret = viv_node_pwrite(q->file, QED_H_FEATURES, le, sizeof(le));
    if (!ret)
        ret = viv_node_flush(q->file);
    if (!ret)
        q->features = features;
    return ret;
}

static int read_backing_name(struct qed *q, const uint8_t *head, struct viv_err *err)
{
    uint32_t offset = viv_ld_le32(head + QED_H_BACKING_OFFSET),
             len = viv_ld_le32(head + QED_H_BACKING_SIZE);
    int ret;

    if (!(q->features & QED_F_BACKING))
        return 0;
    if (!len || len > QED_BACKING_NAME_MAX || !viv_range_inside(offset, len, q->header_bytes))
        return bad(q, err, "the backing file's name does not lie in the header's clusters");
    q->backing_file = g_malloc0(len + 1);
    ret = viv_node_pread(q->file, offset, q->backing_file, len);
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", q->node->filename);
    if (strlen(q->backing_file) != len)
        return bad(q, err, "the backing file's name has a zero byte in it");
    return 0;
}

/* Geometry: everything else is computed from it. */
static int read_geometry(struct qed *q, const uint8_t *head, struct viv_err *err)
{
    uint32_t cs = viv_ld_le32(head + QED_H_CLUSTER_SIZE), ts = viv_ld_le32(head + QED_H_TABLE_SIZE);
    uint64_t file = viv_node_size(q->file);

    if (!qed_cluster_size_ok(cs))
        return bad(q, err, "the cluster size is not a power of two from 4096 to 67108864");
    if (!qed_table_size_ok(ts))
        return bad(q, err, "the table size is not a power of two from 1 to 16");
    q->cluster_size = cs;
    q->cluster_bits = __builtin_ctz(cs);
    q->table_bytes = (uint64_t)cs * ts;
    q->table_bits = __builtin_ctzll(q->table_bytes) - 3;
    q->header_bytes = (uint64_t)cs * MAX(1, viv_ld_le32(head + QED_H_HEADER_SIZE));
    q->l1_offset = viv_ld_le64(head + QED_H_L1_OFFSET);
    if (file > INT64_MAX - QED_CLUSTER_MAX)
        return bad(q, err, "the file is too large");
    q->end = (file + cs - 1) & ~(uint64_t)(cs - 1);
    if (q->header_bytes > q->end)
        return bad(q, err, "the header is longer than the file");
    if (!viv_is_aligned(q->l1_offset, cs) || q->l1_offset < q->header_bytes ||
        !viv_range_inside(q->l1_offset, q->table_bytes, q->end))
        return bad(
            q, err,
            "the L1 table does not lie in the file, behind the header, at a cluster's start");
    q->node->size = viv_ld_le64(head + QED_H_SIZE);
    if (q->node->size > qed_size_max(cs, ts))
        return bad(q, err, "the disk is larger than the tables can map");
    if (!viv_is_aligned(q->node->size, 512))
        return bad(q, err, "the disk's size is not a multiple of 512");
    return 0;
}

int qed_read_header(struct qed *q, const struct viv_node_opts *o, struct viv_err *err)
{
    uint8_t head[QED_H_LENGTH];
    int ret = viv_node_pread(q->file, 0, head, sizeof(head));
    uint64_t unknown;

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", q->node->filename);
    if (memcmp(head, QED_MAGIC, 4) != 0)
        return bad(q, err, "it does not begin with 'QED'");
    q->features = viv_ld_le64(head + QED_H_FEATURES);
    unknown = q->features & ~QED_F_KNOWN;
    if (unknown)
        return viv_fail(err, ENOTSUP,
                        "'%s': the image uses unknown features (bits 0x%" PRIx64
                        "): a newer program made it",
                        q->node->filename, unknown);
    ret = read_geometry(q, head, err);
    if (!ret)
        ret = read_backing_name(q, head, err);
    /* Autoclear bits speak of data that a writer who does not know them makes wrong. */
    if (!ret && !q->node->read_only && viv_ld_le64(head + QED_H_AUTOCLEAR)) {
        uint8_t zero[8] = {0};

        ret = viv_node_pwrite(q->file, QED_H_AUTOCLEAR, zero, sizeof(zero));
        if (!ret)
            ret = viv_node_flush(q->file);
        if (ret)
            viv_fail_os(err, -ret, "Could not write '%s'", q->node->filename);
    }
    return ret;
}

int qed_load_l1(struct qed *q, uint64_t size, struct viv_err *err)
{
    uint64_t reach = 1ull << qed_reach_bits(q), old = q->l1_size,
             want = size / reach + (size % reach != 0), *l1;
    int ret;

    if (want <= old)
        return 0;
    if (want > QED_L1_ENTRIES_MAX)
        return bad(q, err, "the L1 table is too long");
    l1 = g_try_realloc_n(q->l1, want, sizeof(*l1));
    if (!l1)
        return viv_fail(err, ENOMEM, "no memory for the L1 table of '%s'", q->node->filename);
    q->l1 = l1;
    ret = viv_node_pread(q->file, q->l1_offset + old * 8, l1 + old, (want - old) * 8);
    if (ret)
        return viv_fail_os(err, -ret, "Could not read the L1 table of '%s'", q->node->filename);
    for (uint64_t i = old; i < want; i++) {
        l1[i] = GUINT64_FROM_LE(l1[i]);
        if (q->node->read_only || !qed_table_ok(q, l1[i]))
            continue; /* refused when it is used */
        q->overlap |= qed_on_table(q, l1[i], q->table_bytes >> q->cluster_bits);
        g_hash_table_add(q->tables, (gpointer)(l1[i] >> q->cluster_bits));
    }
    q->l1_size = want;
    return 0;
}
