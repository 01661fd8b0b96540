/* Header and its extensions: read, checked, believed only then. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"
#include "base/log.h"
#include "block/alarm.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define BACKING_NAME_MAX 1023

bool qcow2_table_ok(const struct qcow2 *q, uint64_t offset, uint64_t len)
{
    return viv_is_aligned(offset, q->cluster_size) && offset < 1ull << 56 && len < 1ull << 56;
}

int qcow2_write_u64(struct qcow2 *q, uint64_t at, uint64_t value)
{
    uint8_t be[8];

    viv_st_be64(be, value);
    return viv_node_pwrite(q->file, at, be, sizeof(be));
}

int qcow2_set_incompatible(struct qcow2 *q, uint64_t set, uint64_t clear)
{
    uint64_t value = (q->incompatible | set) & ~clear;
    int ret;

    if (q->version < 3 || value == q->incompatible)
        return 0;
    ret = qcow2_write_u64(q, QCOW2_H_INCOMPATIBLE, value);
    if (!ret)
        ret = viv_node_flush(q->file);
    if (!ret)
        q->incompatible = value;
    return ret;
}

int qcow2_corrupt(struct qcow2 *q, const char *why, uint64_t offset)
{
    if (q->broken)
        return -EIO;
    q->broken = true;
    viv_error("'%s': %s at offset 0x%" PRIx64
              ": the image is corrupt and is not written any more; stop its user and run "
              "'viv-img check -r all'",
              q->node->filename, why, offset);
    viv_alarm_corrupt(q->node, why, offset);
    if (!q->node->read_only)
        qcow2_set_incompatible(q, QCOW2_INCOMPAT_CORRUPT, 0);
    return -EIO;
}

static int bad(struct qcow2 *q, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid qcow2 image: %s", q->node->filename, what);
}

static int refused(struct qcow2 *q, struct viv_err *err, const char *what)
{
    return viv_fail(
        err, ENOTSUP,
        "'%s': the image uses %s, which is not implemented yet (qcow2 images without it work)",
        q->node->filename, what);
}

/* The name that the feature table gives to an incompatible bit. */
static void feature_name(const uint8_t *table, size_t len, unsigned bit, char out[48])
{
    g_snprintf(out, 48, "bit %u", bit);
    for (size_t i = 0; i + 48 <= len; i += 48) {
        if (table[i] == 0 && table[i + 1] == bit) {
            memcpy(out, table + i + 2, 46);
            out[46] = '\0';
            for (char *p = out; *p; p++)
                if (*p < ' ' || *p > '~')
                    *p = '?';
            return;
        }
    }
}

static int check_features(struct qcow2 *q, const uint8_t *table, size_t len, struct viv_err *err)
{
    uint64_t known = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DATA_FILE |
                     QCOW2_INCOMPAT_COMPRESSION | QCOW2_INCOMPAT_EXTENDED_L2;
    uint64_t unknown = q->incompatible & ~known;
    char name[48], what[80];

    if (!unknown)
        return 0;
    feature_name(table, len, __builtin_ctzll(unknown), name);
    g_snprintf(what, sizeof(what), "the incompatible feature '%s'", name);
    return refused(q, err, what);
}

/* Extensions lie between the header and the backing file's name, inside the first cluster. */
static int read_extensions(struct qcow2 *q, const uint8_t *head, uint32_t start, uint32_t end,
                           struct viv_err *err)
{
    const uint8_t *features = NULL;
    size_t features_len = 0;
    uint32_t at = start;

    while (at + 8 <= end) {
        uint32_t type = viv_ld_be32(head + at), len = viv_ld_be32(head + at + 4);

        if (type == QCOW2_EXT_END)
            break;
        at += 8;
        if (len > end - at)
            return bad(q, err, "a header extension is longer than the header's cluster");
        if (type == QCOW2_EXT_BACKING_FORMAT && len < 64) {
            g_free(q->backing_fmt);
            q->backing_fmt = g_strndup((const char *)head + at, len);
        } else if (type == QCOW2_EXT_FEATURES) {
            features = head + at;
            features_len = len;
        } else if (type == QCOW2_EXT_BITMAPS) {
            q->bitmaps_wrong = q->version >= 3 ? qcow2_read_bitmaps_extension(q, head + at, len) : NULL;
        } else if (type == QCOW2_EXT_DATA_FILE && q->external && len && len <= BACKING_NAME_MAX) {
            g_free(q->data_file);
            q->data_file = g_strndup((const char *)head + at, len);
        } else if (type == QCOW2_EXT_CRYPT) {
            int ret = qcow2_read_crypt_extension(q, head + at, len, err);

            if (ret)
                return ret;
        }
        if (len > end - at - MIN(7, end - at))
            break;
        at += (len + 7) & ~7u;
    }
    return check_features(q, features, features_len, err);
}

static int read_backing_name(struct qcow2 *q, const uint8_t *head, struct viv_err *err)
{
    uint64_t offset = viv_ld_be64(head + QCOW2_H_BACKING_OFFSET);
    uint32_t len = viv_ld_be32(head + QCOW2_H_BACKING_SIZE);

    if (!offset || !len)
        return 0;
    if (len > BACKING_NAME_MAX || !viv_range_inside(offset, len, q->cluster_size))
        return bad(q, err, "the backing file's name does not lie in the first cluster");
    q->backing_file = g_strndup((const char *)head + offset, len);
    return 0;
}

/* Fields up to byte 72, of both versions. */
static int read_common(struct qcow2 *q, const uint8_t *head, struct viv_err *err)
{
    uint32_t rt_clusters = viv_ld_be32(head + QCOW2_H_RT_CLUSTERS);

    q->cluster_bits = viv_ld_be32(head + QCOW2_H_CLUSTER_BITS);
    if (q->cluster_bits < 9 || q->cluster_bits > 21)
        return bad(q, err, "the cluster size is not between 512 bytes and 2 MiB");
    q->cluster_size = 1u << q->cluster_bits;
    q->node->size = viv_ld_be64(head + QCOW2_H_SIZE);
    q->l1.offset = viv_ld_be64(head + QCOW2_H_L1_OFFSET);
    q->l1.size = viv_ld_be32(head + QCOW2_H_L1_SIZE);
    q->rt.offset = viv_ld_be64(head + QCOW2_H_RT_OFFSET);
    q->crypt = viv_ld_be32(head + QCOW2_H_CRYPT);
    if (q->crypt > QCOW2_CRYPT_LUKS)
        return refused(q, err, "an encryption other than AES and LUKS");
    if (q->l1.size > QCOW2_L1_BYTES_MAX / 8)
        return bad(q, err, "the L1 table is larger than 32 MiB");
    if (!rt_clusters || rt_clusters > QCOW2_RT_BYTES_MAX >> q->cluster_bits)
        return bad(q, err, "the refcount table has no sensible size");
    q->rt.size = rt_clusters << (q->cluster_bits - 3);
    q->snapshot_count = viv_ld_be32(head + QCOW2_H_SNAPSHOTS);
    q->snapshot_offset = viv_ld_be64(head + QCOW2_H_SNAPSHOTS_OFFSET);
    return 0;
}

/* Where clusters lie and how an entry says it. */
static int read_layout(struct qcow2 *q, struct viv_err *err)
{
    q->external = q->incompatible & QCOW2_INCOMPAT_DATA_FILE;
    q->data_raw = q->external && (q->autoclear & QCOW2_AUTOCLEAR_DATA_RAW);
    q->extended = q->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    if (q->extended && q->cluster_bits < QCOW2_EXTENDED_CLUSTER_BITS)
        return bad(q, err, "extended L2 entries need clusters of at least 16 KiB");
    if (q->external && q->snapshot_count)
        return bad(q, err, "an external data file and internal snapshots exclude each other");
    if (q->extended) {
        q->entry_bits = 4;
        q->l2_bits = q->cluster_bits - 4;
    }
    return 0;
}

static int read_v3(struct qcow2 *q, const uint8_t *head, uint32_t *ext_start, struct viv_err *err)
{
    uint32_t len;

    q->refcount_order = 4;
    q->entry_bits = 3;
    q->l2_bits = q->cluster_bits - 3;
    *ext_start = QCOW2_H_V2_LENGTH;
    if (q->version == 2)
        return 0;
    q->incompatible = viv_ld_be64(head + QCOW2_H_INCOMPATIBLE);
    q->compatible = viv_ld_be64(head + QCOW2_H_COMPATIBLE);
    q->autoclear = viv_ld_be64(head + QCOW2_H_AUTOCLEAR);
    q->refcount_order = viv_ld_be32(head + QCOW2_H_REFCOUNT_ORDER);
    len = viv_ld_be32(head + QCOW2_H_HEADER_LENGTH);
    if (len < QCOW2_H_COMPRESSION || len > q->cluster_size || len % 8)
        return bad(q, err, "the header length is wrong");
    if (q->refcount_order > 6)
        return bad(q, err, "refcounts are wider than 64 bits");
    if (len > QCOW2_H_COMPRESSION)
        q->compression = head[QCOW2_H_COMPRESSION];
    if (!(q->incompatible & QCOW2_INCOMPAT_COMPRESSION) != !q->compression)
        return bad(q, err, "compression type and its feature bit disagree");
    if (q->compression > 1)
        return refused(q, err, "a compression other than zlib and zstd");
    *ext_start = len;
    return read_layout(q, err);
}

/* The tables must lie in the file: one that does not means that the file was cut off. */
static int check_tables(struct qcow2 *q, struct viv_err *err)
{
    uint64_t file = viv_node_size(q->file), size = q->node->size;
    uint64_t need = qcow2_l1_need(q, size);

    if (size > INT64_MAX)
        return bad(q, err, "the disk is larger than 8 EiB");
    if (need > q->l1.size)
        return bad(q, err, "the L1 table is too small for the disk");
    if (!qcow2_table_ok(q, q->l1.offset, q->l1.size * 8ull) || (q->l1.size && !q->l1.offset))
        return bad(q, err, "the L1 table lies at an impossible offset");
    if (!qcow2_table_ok(q, q->rt.offset, q->rt.size * 8ull) || !q->rt.offset)
        return bad(q, err, "the refcount table lies at an impossible offset");
    if (q->l1.offset + q->l1.size * 8ull > file || q->rt.offset >= file)
        return viv_fail(
            err, EINVAL,
            "'%s': the image is truncated: its tables lie beyond the end of the file (%" PRIu64
            " bytes)",
            q->node->filename, file);
    return 0;
}

int qcow2_read_header(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err)
{
    uint8_t small[QCOW2_H_V3_LENGTH], *head = NULL;
    uint32_t ext_start = 0, ext_end;
    int ret = viv_node_pread(q->file, 0, small, sizeof(small));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", q->node->filename);
    if (viv_ld_be32(small) != QCOW2_MAGIC)
        return viv_fail(err, EINVAL, "Image is not in qcow2 format ('%s')", q->node->filename);
    q->version = viv_ld_be32(small + QCOW2_H_VERSION);
    if (q->version != 2 && q->version != 3)
        return viv_fail(err, ENOTSUP, "'%s': qcow2 version %u is not known; versions 2 and 3 work",
                        q->node->filename, (unsigned)q->version);
    ret = read_common(q, small, err);
    if (!ret)
        ret = read_v3(q, small, &ext_start, err);
    if (ret)
        return ret;
    q->refblock_bits = q->cluster_bits + 3 - q->refcount_order;
    head = g_try_malloc(q->cluster_size);
    if (!head)
        return viv_fail(err, ENOMEM, "no memory for the header of '%s'", q->node->filename);
    ret = viv_node_pread(q->file, 0, head, q->cluster_size);
    if (ret)
        viv_fail_os(err, -ret, "Could not read '%s'", q->node->filename);
    if (!ret)
        ret = read_backing_name(q, head, err);
    ext_end = q->cluster_size;
    if (!ret && q->backing_file)
        ext_end = viv_ld_be64(head + QCOW2_H_BACKING_OFFSET);
    if (!ret && q->data_raw && q->backing_file)
        ret = bad(q, err, "a raw external data file and a backing file exclude each other");
    if (!ret)
        ret = read_extensions(q, head, ext_start, ext_end, err);
    if (!ret)
        ret = check_tables(q, err);
    g_free(head);
    return ret;
}
