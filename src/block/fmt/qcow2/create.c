/* A new image: header, refcount table, its blocks, an empty L1 table, in this order from the start of the file.
 * The header is written last, behind a barrier: until then it is no qcow2 image. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

struct layout {
    unsigned cluster_bits, refcount_order;
    uint64_t l1_entries;
    uint64_t l1_clusters, rt_clusters, blocks, crypt_clusters; /* in clusters */
};

/* Where each begins, in clusters: the header is first. */
static uint64_t l1_at(const struct layout *l)
{
    return 1 + l->rt_clusters + l->blocks;
}

static uint64_t crypt_at(const struct layout *l)
{
    return l1_at(l) + l->l1_clusters;
}

static uint64_t total_of(const struct layout *l)
{
    return crypt_at(l) + l->crypt_clusters;
}

static int plan(const struct viv_qcow2_create *c, struct layout *l, struct viv_err *err)
{
    uint32_t cs = c->cluster_size ? c->cluster_size : 65536;
    uint32_t bits = c->refcount_bits ? c->refcount_bits : 16;
    unsigned l1_bits;

    if (cs < 512 || cs > 2u << 20 || (cs & (cs - 1)))
        return viv_fail(err, EINVAL, "Cluster size must be a power of two between 512 and 2048k");
    if (bits > 64 || (bits & (bits - 1)))
        return viv_fail(err, EINVAL,
                        "Refcount width must be a power of two and may not exceed 64 bits");
    l->cluster_bits = __builtin_ctz(cs);
    l->refcount_order = __builtin_ctz(bits);
    l1_bits = 2 * l->cluster_bits - (c->extended_l2 ? 4 : 3);
    l->l1_entries = (c->size >> l1_bits) + ((c->size & ((1ull << l1_bits) - 1)) != 0);
    if (c->size > INT64_MAX || l->l1_entries > QCOW2_L1_BYTES_MAX / 8)
        return viv_fail(
            err, EFBIG,
            "The image size is too large for a cluster size of %u bytes: at most %" PRIu64
            " bytes (a larger cluster_size holds more)",
            cs, (uint64_t)(QCOW2_L1_BYTES_MAX / 8) << l1_bits);
    l->l1_clusters = (l->l1_entries * 8 + cs - 1) >> l->cluster_bits;
    l->crypt_clusters = (qcow2_crypt_bytes(c) + cs - 1) >> l->cluster_bits;
    l->rt_clusters = l->blocks = 1;
    for (int i = 0; i < 16; i++) { /* converges: each block counts itself and much more */
        uint64_t total = total_of(l);
        unsigned block_bits = l->cluster_bits + 3 - l->refcount_order;

        l->blocks = (total + (1ull << block_bits) - 1) >> block_bits;
        l->rt_clusters = (l->blocks * 8 + cs - 1) >> l->cluster_bits;
    }
    return 0;
}

/* What version 2 cannot say; NULL: all is well. */
static const char *needs_v3(const struct viv_qcow2_create *c)
{
    return c->version != 2                                ? NULL
           : c->lazy_refcounts                            ? "lazy_refcounts=on"
           : c->refcount_bits && c->refcount_bits != 16   ? "A refcount_bits other than 16"
           : c->zstd                                      ? "compression_type=zstd"
           : c->extended_l2                               ? "extended_l2=on"
           : c->data_file                                 ? "data_file"
                                                          : NULL;
}

/* Options that exclude each other, and sizes. */
static int plan_all(const struct viv_qcow2_create *c, struct layout *l, struct viv_err *err)
{
    int ret = plan(c, l, err);

    if (ret)
        return ret;
    if (needs_v3(c))
        return viv_fail(err, EINVAL, "%s needs compat=1.1 (the default); compat=0.10 was asked for", needs_v3(c));
    if (c->extended_l2 && l->cluster_bits < QCOW2_EXTENDED_CLUSTER_BITS)
        return viv_fail(err, EINVAL, "Extended L2 entries are only supported with cluster sizes of at least %u bytes",
                        1u << QCOW2_EXTENDED_CLUSTER_BITS);
    if (c->data_file_raw && !c->data_file)
        return viv_fail(err, EINVAL, "data-file-raw requires data-file");
    if (c->data_file_raw && c->backing_file)
        return viv_fail(err, EINVAL, "Backing file and data-file-raw cannot be used at the same time");
    if (c->prealloc != VIV_PREALLOC_OFF && c->backing_file && !c->extended_l2)
        return viv_fail(err, EINVAL,
                        "preallocation and a backing file exclude each other: every cluster would hide it "
                        "(with extended_l2=on they go together)");
    return 0;
}

int qcow2_plan(const struct viv_qcow2_create *c, struct viv_err *err)
{
    struct layout l;

    return plan_all(c, &l, err);
}

struct writer {
    uint8_t *head;
    uint32_t at, end;
};

/* False: no room. */
static bool add_extension(struct writer *w, uint32_t type, const void *data, uint32_t len)
{
    uint32_t padded = (len + 7) & ~7u;

    if (padded > w->end || w->at + 8 + padded > w->end)
        return false;
    viv_st_be32(w->head + w->at, type);
    viv_st_be32(w->head + w->at + 4, len);
    memcpy(w->head + w->at + 8, data, len);
    w->at += 8 + padded;
    return true;
}

/* Names of the bits, for programs that do not know them. */
const void *qcow2_feature_names(uint32_t *len)
{
    static const struct {
        uint8_t type, bit;
        char name[46];
    } names[] = {
        {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
        {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
        {2, 0, "bitmaps"},          {2, 1, "raw external data"},
    };

    _Static_assert(sizeof(names[0]) == 48, "an entry of the feature name table is 48 bytes");
    *len = sizeof(names);
    return names;
}

/* Left out where it does not fit (tiny clusters). */
static void add_feature_names(struct writer *w, uint32_t reserve)
{
    uint32_t len;
    const void *names = qcow2_feature_names(&len);

    if (w->at + 8 + len + reserve <= w->end)
        add_extension(w, QCOW2_EXT_FEATURES, names, len);
}

/* Fields that version 2 does not have. */
static void add_v3(const struct viv_qcow2_create *c, const struct layout *l, uint8_t *head)
{
    uint64_t incompatible = (c->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0) |
                            (c->zstd ? QCOW2_INCOMPAT_COMPRESSION : 0) |
                            (c->extended_l2 ? QCOW2_INCOMPAT_EXTENDED_L2 : 0);

    viv_st_be64(head + QCOW2_H_INCOMPATIBLE, incompatible);
    viv_st_be64(head + QCOW2_H_COMPATIBLE, c->lazy_refcounts ? QCOW2_COMPAT_LAZY : 0);
    viv_st_be64(head + QCOW2_H_AUTOCLEAR, c->data_file_raw ? QCOW2_AUTOCLEAR_DATA_RAW : 0);
    viv_st_be32(head + QCOW2_H_REFCOUNT_ORDER, l->refcount_order);
    viv_st_be32(head + QCOW2_H_HEADER_LENGTH, QCOW2_H_V3_LENGTH);
    head[QCOW2_H_COMPRESSION] = c->zstd;
}

static int make_header(const struct viv_qcow2_create *c, const struct layout *l, uint8_t *head,
                       struct viv_err *err)
{
    uint32_t cs = 1u << l->cluster_bits;
    uint64_t l1 = l1_at(l) << l->cluster_bits;
    int version = c->version ? c->version : 3;
    struct writer w = {head, version == 2 ? QCOW2_H_V2_LENGTH : QCOW2_H_V3_LENGTH, cs};
    uint32_t name_len = c->backing_file ? strlen(c->backing_file) : 0;

    viv_st_be32(head + QCOW2_H_MAGIC, QCOW2_MAGIC);
    viv_st_be32(head + QCOW2_H_VERSION, version);
    viv_st_be32(head + QCOW2_H_CLUSTER_BITS, l->cluster_bits);
    viv_st_be64(head + QCOW2_H_SIZE, c->size);
    viv_st_be32(head + QCOW2_H_CRYPT, c->crypt);
    viv_st_be32(head + QCOW2_H_L1_SIZE, l->l1_entries);
    viv_st_be64(head + QCOW2_H_L1_OFFSET, l1);
    viv_st_be64(head + QCOW2_H_RT_OFFSET, cs);
    viv_st_be32(head + QCOW2_H_RT_CLUSTERS, l->rt_clusters);
    if (version >= 3)
        add_v3(c, l, head);
    if (c->data_file && !add_extension(&w, QCOW2_EXT_DATA_FILE, c->data_file, strlen(c->data_file)))
        return viv_fail(err, EINVAL, "The data file's name is too long for the image's header");
    if (c->backing_fmt)
        add_extension(&w, QCOW2_EXT_BACKING_FORMAT, c->backing_fmt, strlen(c->backing_fmt));
    if (c->crypt == QCOW2_CRYPT_LUKS) {
        uint8_t where[16];

        viv_st_be64(where, crypt_at(l) << l->cluster_bits);
        viv_st_be64(where + 8, qcow2_crypt_bytes(c));
        add_extension(&w, QCOW2_EXT_CRYPT, where, sizeof(where));
    }
    if (version >= 3)
        add_feature_names(&w, 8 + name_len);
    w.at += 8; /* the end: type 0, length 0 */
    if (name_len > 1023 || w.at > cs || name_len > cs - w.at)
        return viv_fail(
            err, EINVAL,
            "The backing file's name has %u bytes; at most %u fit into the image's header",
            name_len, w.at > cs ? 0 : MIN(1023, cs - w.at));
    if (name_len) {
        viv_st_be64(head + QCOW2_H_BACKING_OFFSET, w.at);
        viv_st_be32(head + QCOW2_H_BACKING_SIZE, name_len);
        memcpy(head + w.at, c->backing_file, name_len);
    }
    return 0;
}

/* Refcount table and blocks: 1 for each cluster so far. */
static int write_refcounts(const struct layout *l, struct viv_node *file, uint8_t *buf)
{
    struct qcow2 q = {.refcount_order = l->refcount_order};
    uint64_t total = total_of(l);
    uint64_t cs = 1ull << l->cluster_bits, per_block = cs * 8 >> l->refcount_order;
    int ret = 0;

    for (uint64_t b = 0; !ret && b < l->blocks; b++) {
        memset(buf, 0, cs);
        for (uint64_t i = 0; i < per_block && b * per_block + i < total; i++)
            qcow2_refblock_store(&q, buf, i, 1);
        ret = viv_node_pwrite(file, (1 + l->rt_clusters + b) * cs, buf, cs);
    }
    for (uint64_t t = 0; !ret && t < l->rt_clusters; t++) {
        memset(buf, 0, cs);
        for (uint64_t i = 0; i < cs / 8 && t * cs / 8 + i < l->blocks; i++)
            viv_st_be64(buf + i * 8, (1 + l->rt_clusters + t * cs / 8 + i) * cs);
        ret = viv_node_pwrite(file, (1 + t) * cs, buf, cs);
    }
    return ret;
}

static int write_image(const struct viv_qcow2_create *c, const struct layout *l, struct viv_node *file,
                       uint8_t *buf, struct viv_err *err)
{
    uint64_t cs = 1ull << l->cluster_bits;
    uint64_t end = total_of(l) * cs;
    int ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);

    if (!ret)
        ret = viv_node_truncate(file, end, VIV_PREALLOC_OFF, err);
    if (ret)
        return ret;
    ret = viv_node_write_zeroes(file, 0, end, 0); /* a device holds anything */
    if (!ret)
        ret = write_refcounts(l, file, buf);
    if (!ret && c->crypt == QCOW2_CRYPT_LUKS && (ret = viv_luks_create(&c->luks, file, crypt_at(l) * cs, err)) != 0)
        return ret;
    if (!ret)
        ret = viv_node_flush(file);
    if (!ret) {
        memset(buf, 0, cs);
        ret = make_header(c, l, buf, err);
        if (ret)
            return ret;
        ret = viv_node_pwrite(file, 0, buf, cs);
    }
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}

static int preallocate(const struct viv_qcow2_create *c, struct viv_node *file, struct viv_err *err)
{
    struct viv_node_opts o = {.no_backing = true, .data_file = c->data, .no_data = true}; /* nothing passes the cipher */
    struct viv_node *n = NULL;
    int ret;

    if (c->prealloc == VIV_PREALLOC_METADATA && !file->zero_init && !c->extended_l2 && !c->data_file)
        return viv_fail(err, ENOTSUP, "preallocation=metadata does not work on devices; full does");
    viv_node_get(file);
    ret = viv_node_open_format(&viv_blk_qcow2, file, &o, &n, err);
    if (ret)
        return ret;
    ret = qcow2_preallocate(n, 0, c->size, c->prealloc);
    if (!ret)
        ret = viv_node_flush(n);
    if (ret)
        viv_fail_os(err, -ret, "Could not preallocate '%s'", file->filename);
    viv_node_put(&n);
    return ret;
}

int viv_qcow2_create(const struct viv_qcow2_create *c, struct viv_node *file, struct viv_err *err)
{
    struct layout l;
    uint8_t *buf;
    int ret = plan_all(c, &l, err);

    if (ret)
        return ret;
    buf = g_try_malloc0(1u << l.cluster_bits);
    if (!buf)
        return viv_fail(err, ENOMEM, "no memory for a cluster");
    ret = make_header(c, &l, buf, err); /* refuses before anything is written */
    if (!ret)
        ret = write_image(c, &l, file, buf, err);
    g_free(buf);
    if (!ret && c->prealloc != VIV_PREALLOC_OFF)
        ret = preallocate(c, file, err);
    return ret;
}
