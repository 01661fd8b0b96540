/* The driver: open, close, info. The rest of qcow2 is in the files beside; qcow2_int.h is their table of
 * contents. */
#include "block/fmt/qcow2/bitmap.h"
#include "block/fmt/qcow2/entry.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

static int probe(const uint8_t *head, size_t len)
{
    return len >= 8 && viv_ld_be32(head) == QCOW2_MAGIC && viv_ld_be32(head + 4) >= 2 ? 100 : 0;
}

static void backing(struct viv_node *n, const char **name, const char **format)
{
    struct qcow2 *q = n->state;

    *name = q->backing_file;
    *format = q->backing_fmt;
}

static int add_meta(struct qcow2 *q, uint64_t offset, uint64_t bytes, const char *what, bool lax,
                    struct viv_err *err)
{
    for (uint64_t i = 0; i < qcow2_clusters(q, bytes); i++) {
        int ret = qcow2_set_add(&q->meta, (offset >> q->cluster_bits) + i);

        if (ret == -ENOMEM)
            return viv_fail(err, ENOMEM, "no memory to open '%s'", q->node->filename);
        if (ret && !lax)
            return viv_fail(err, EINVAL,
                            "'%s': the image is corrupt: %s at offset 0x%" PRIx64
                            " overlaps other metadata; opening it read-only works, as does "
                            "'viv-img check -r all'",
                            q->node->filename, what, offset);
    }
    return 0;
}

/* What allocations and writes must never touch. */
int qcow2_collect_meta(struct qcow2 *q, bool lax, struct viv_err *err)
{
    int ret;

    qcow2_set_fini(&q->meta);
    ret = add_meta(q, 0, q->cluster_size, "the header", lax, err);

    if (!ret)
        ret = add_meta(q, q->l1.offset, q->l1.size * 8ull, "the L1 table", lax, err);
    if (!ret)
        ret = add_meta(q, q->rt.offset, q->rt.size * 8ull, "the refcount table", lax, err);
    if (!ret)
        ret = add_meta(q, q->snapshot_offset, q->snapshot_bytes, "the snapshot table", lax, err);
    if (!ret)
        ret = add_meta(q, q->crypt_offset, q->crypt_length, "the encryption header", lax, err);
    for (uint32_t i = 0; !ret && i < q->snapshot_count; i++)
        ret = add_meta(q, q->snapshots[i].l1_offset, q->snapshots[i].l1_size * 8ull,
                       "a snapshot's L1 table", lax, err);
    if (!ret)
        ret = add_meta(q, q->bitmap_dir_offset, q->bitmap_dir_bytes, "the bitmap directory", lax, err);
    for (uint32_t i = 0; !ret && i < q->bitmap_count; i++)
        ret = add_meta(q, q->bitmaps[i].table_offset, q->bitmaps[i].table_size * 8ull, "a bitmap's table", lax, err);
    for (uint32_t i = 0; !ret && i < q->rt.size; i++)
        if (q->rt.entry[i] & ~511ull)
            ret = add_meta(q, q->rt.entry[i] & ~511ull, 1, "a refcount block", lax, err);
    for (uint32_t i = 0; !ret && i < q->l1.size; i++)
        if (q->l1.entry[i] & QCOW2_OFFSET)
            ret = add_meta(q, q->l1.entry[i] & QCOW2_OFFSET, 1, "an L2 table", lax, err);
    return ret;
}

/* An image that was not closed by a writer of lazy refcounts: they are made anew from the tables. */
static int mend_dirty(struct qcow2 *q, struct viv_err *err)
{
    struct viv_check c = {.fix = VIV_FIX_LEAKS | VIV_FIX_ERRORS};
    int ret;

    viv_warn("'%s' was not closed: repairing its refcounts", q->node->filename);
    ret = qcow2_check(q->node, &c, err);
    if (ret)
        return ret;
    if (c.corruptions > c.corruptions_fixed || c.check_errors)
        return viv_fail(err, EIO, "'%s' was not closed and could not be repaired completely",
                        q->node->filename);
    return 0;
}

/* What opening for writing asks more than opening for reading. */
static int prepare_writing(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err)
{
    uint64_t keep = 0;
    int ret = 0;

    if ((q->incompatible & QCOW2_INCOMPAT_CORRUPT) && !o->for_check)
        return viv_fail(err, EINVAL,
                        "'%s': the image is marked corrupt and can only be read; "
                        "'viv-img check -r all' mends it",
                        q->node->filename);
    ret = qcow2_collect_meta(q, o->for_check, err);
    if (!ret && (q->incompatible & QCOW2_INCOMPAT_DIRTY) && !o->for_check)
        ret = mend_dirty(q, err);
    /* Autoclear bits speak of data that a writer who does not know them makes wrong. */
    if (q->external)
        keep |= QCOW2_AUTOCLEAR_DATA_RAW;
    if (q->bitmap_count || q->bitmaps_wrong)
        keep |= QCOW2_AUTOCLEAR_BITMAPS;
    keep &= q->autoclear;
    if (!ret && q->version >= 3 && q->autoclear != keep) {
        ret = qcow2_write_u64(q, QCOW2_H_AUTOCLEAR, keep);
        if (ret)
            viv_fail_os(err, -ret, "Could not write '%s'", q->node->filename);
        q->autoclear = keep;
    }
    return ret || o->for_check ? ret : qcow2_wake_bitmaps(q, err);
}

static int close_image(struct viv_node *n)
{
    struct qcow2 *q = n->state;
    int ret = 0, r;

    if (!n->read_only && !q->broken)
        ret = qcow2_rest_bitmaps(q);
    for (uint32_t i = 0; q->bitmaps && i < q->bitmap_count; i++) /* the node may live on, and open its image again (reopen.c) */
        viv_bitmap_free(q->bitmaps[i].live);
    /* The last flush freed clusters in memory: their refcounts go out too. */
    if (!n->read_only && !q->broken && q->refblock_cache.dirty) {
        r = qcow2_flush_refcounts(q);
        ret = ret ? ret : r;
    }
    qcow2_cache_fini(&q->l2_cache);
    qcow2_cache_fini(&q->refblock_cache);
    qcow2_set_fini(&q->meta);
    pthread_mutex_destroy(&q->lock);
    g_free(q->l1.entry);
    g_free(q->rt.entry);
    qcow2_free_snapshots(q->snapshots, q->snapshot_count);
    qcow2_free_bitmaps(q->bitmaps, q->bitmap_count);
    g_free(q->frees);
    viv_luks_free(q->luks);
    g_free(q->backing_file);
    g_free(q->backing_fmt);
    g_free(q->data_file);
    g_free(q);
    n->state = NULL;
    return ret;
}

static int read_tables(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err)
{
    int ret = qcow2_read_snapshots(q, err);

    if (!ret)
        ret = qcow2_read_bitmaps(q, o, err);
    if (!ret && o->snapshot)
        ret = qcow2_view_snapshot(q, o->snapshot, err);
    if (ret)
        return ret;
    ret = qcow2_array_read(q, &q->l1);
    if (!ret)
        ret = qcow2_array_read(q, &q->rt);
    return ret ? viv_fail_os(err, -ret, "Could not read the tables of '%s'", q->node->filename) : 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct qcow2 *q = g_new0(struct qcow2, 1);
    int ret;

    q->node = n;
    q->file = n->file;
    pthread_mutex_init(&q->lock, NULL);
    n->state = q;
    ret = qcow2_read_header(q, o, err);
    if (!ret) {
        n->granule = q->cluster_size;
        n->subgranule = q->extended ? qcow2_sub_size(q) : 0;
        n->zero_init = !q->backing_file;
        qcow2_cache_init(&q->l2_cache, q->cluster_size, QCOW2_L2_CACHE_BYTES);
        qcow2_cache_init(&q->refblock_cache, q->cluster_size, QCOW2_REFBLOCK_CACHE_BYTES);
        ret = read_tables(q, o, err);
    }
    if (!ret)
        ret = qcow2_open_data(q, o, err);
    if (!ret)
        ret = qcow2_open_encryption(q, o, err);
    if (!ret && !n->read_only)
        ret = prepare_writing(q, o, err);
    if (ret) {
        q->broken = true; /* nothing is written on the way out */
        close_image(n);
    }
    return ret;
}

static int flush(struct viv_node *n)
{
    struct qcow2 *q = n->state;
    bool clean;
    int ret = 0;

    pthread_mutex_lock(&q->lock);
    clean = !q->broken && !q->l2_cache.dirty && !q->refblock_cache.dirty && !q->free_count &&
            q->l1.dirty_from == q->l1.dirty_to && q->rt.dirty_from == q->rt.dirty_to;
    if (!clean)
        ret = qcow2_flush_all(q);
    pthread_mutex_unlock(&q->lock);
    /* Only data to make durable: nobody needs to wait for that with us. */
    return clean ? viv_node_flush(n->file) : ret;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    struct qcow2 *q = n->state;

    i->cluster_size = q->cluster_size;
    i->backing_file = g_strdup(q->backing_file);
    i->backing_fmt = g_strdup(q->backing_fmt);
    i->encrypted = q->crypt;
    i->dirty = q->incompatible & QCOW2_INCOMPAT_DIRTY;
    viv_img_fact_str(i, "compat", q->version == 2 ? "0.10" : "1.1");
    viv_img_fact_str(i, "compression-type", q->compression ? "zstd" : "zlib");
    if (q->version >= 3)
        viv_img_fact_bool(i, "lazy-refcounts", q->compatible & QCOW2_COMPAT_LAZY);
    qcow2_bitmap_info(q, i);
    viv_img_fact_uint(i, "refcount-bits", 1u << q->refcount_order);
    qcow2_encrypt_info(q, i);
    if (q->version < 3)
        return;
    if (q->external) {
        viv_img_fact_str(i, "data-file", q->data_file ? q->data_file : "");
        viv_img_fact_bool(i, "data-file-raw", q->data_raw);
    }
    viv_img_fact_bool(i, "corrupt", q->incompatible & QCOW2_INCOMPAT_CORRUPT);
    viv_img_fact_bool(i, "extended-l2", q->extended);
}

static const struct viv_child_def open_children[] = {{.name = "file"}, {.name = "data-file", .optional = true}, {0}};

const struct viv_blk_driver viv_blk_qcow2 = {
    .name = "qcow2",
    .probe = probe,
    .open_opts = qcow2_open_opts,
    .open_children = open_children,
    .open = open_image,
    .close = close_image,
    .map = qcow2_map,
    .alloc = qcow2_alloc,
    .commit = qcow2_commit,
    .cancel = qcow2_cancel,
    .read_special = qcow2_read_compressed,
    .pack = qcow2_pack,
    .write_packed = qcow2_write_packed,
    .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard,
    .forget = qcow2_forget,
    .flush = flush,
    .truncate = qcow2_truncate,
    .backing = backing,
    .change_backing = qcow2_change_backing,
    .create = qcow2_create,
    .create_opts = qcow2_create_opts,
    .create_shown = qcow2_create_shown,
    .measure = qcow2_measure,
    .check = qcow2_check,
    .info = info,
    .snapshots = &qcow2_snapshot_ops,
    .amend = qcow2_amend,
    .amend_opts = qcow2_amend_opts,
    .bitmaps = &qcow2_bitmap_ops,
};
