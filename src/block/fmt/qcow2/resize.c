/* Another size, and room in advance. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

/* Zeroes in whole clusters of the file, which others may have used before, and real room for them. */
static int make_room(struct viv_node *file, const struct viv_alloc *a, enum viv_prealloc how)
{
    uint64_t host = a->host - a->head, len = a->head + a->len + a->tail, end = viv_node_size(file);
    int ret = 0;

    if (host < end)
        ret = viv_node_write_zeroes(file, host, MIN(len, end - host), 0);
    if (ret || how == VIV_PREALLOC_METADATA)
        return ret;
    return file->drv->preallocate ? file->drv->preallocate(file, host, len, how) : -ENOTSUP;
}

int qcow2_preallocate(struct viv_node *n, uint64_t from, uint64_t to, enum viv_prealloc how)
{
    struct qcow2 *q = n->state;
    uint64_t end = 0;
    int ret = 0;

    while (from < to && !ret) {
        struct viv_alloc a;

        ret = qcow2_alloc(n, from, to - from, &a);
        if (ret)
            return ret;
        if (a.fresh && !q->external) /* a data file got its room when it became this long */
            ret = make_room(n->file, &a, how);
        if (a.fresh && ret)
            qcow2_cancel(n, &a);
        else if (a.fresh)
            ret = qcow2_reserve(n, &a);
        end = MAX(end, a.host + a.len + a.tail);
        from += a.len;
    }
    /* What no one wrote must still lie inside the file. */
    if (!ret && !q->external && end > viv_node_size(n->file))
        ret = viv_node_truncate(n->file, end, VIV_PREALLOC_OFF, NULL);
    return ret;
}

uint64_t qcow2_l1_need(const struct qcow2 *q, uint64_t size)
{
    unsigned bits = q->cluster_bits + q->l2_bits;

    return (size >> bits) + ((size & ((1ull << bits) - 1)) != 0);
}

/* Header fields "L1 size" and "L1 offset" are neighbours: one write, inside a sector. */
static int switch_l1(struct qcow2 *q, const struct qcow2_array *l1)
{
    uint8_t be[12];
    int ret;

    viv_st_be32(be, l1->size);
    viv_st_be64(be + 4, l1->offset);
    ret = viv_node_pwrite(q->file, QCOW2_H_L1_SIZE, be, sizeof(be));
    return ret ? ret : viv_node_flush(q->file);
}

/* A longer L1 table elsewhere: counted, written, then the header points at it. */
int qcow2_grow_l1(struct qcow2 *q, uint64_t entries)
{
    struct qcow2_array old = q->l1, new = {.size = entries};
    uint64_t want = qcow2_clusters(q, entries * 8), got = 0;
    int ret;

    new.entry = g_try_new0(uint64_t, entries + 1);
    if (!new.entry)
        return -ENOMEM;
    ret = qcow2_flush_all(q); /* nothing dirty: old and new table are equal */
    if (!ret)
        ret = qcow2_clusters_alloc(q, want, want, &new.offset, &got);
    if (ret)
        goto fail;
    memcpy(new.entry, old.entry, (size_t)old.size * 8);
    ret = qcow2_flush_refcounts(q);
    if (!ret)
        ret = qcow2_array_write_all(q, &new);
    if (!ret)
        ret = viv_node_flush(q->file);
    if (!ret)
        ret = switch_l1(q, &new);
    if (ret)
        goto fail;
    q->l1 = new;
    for (uint64_t i = 0; i < want; i++)
        qcow2_set_add(&q->meta, (new.offset >> q->cluster_bits) + i);
    for (uint64_t i = 0; i < qcow2_clusters(q, old.size * 8ull); i++)
        qcow2_set_remove(&q->meta, (old.offset >> q->cluster_bits) + i);
    qcow2_clusters_unalloc(q, old.offset, qcow2_clusters(q, old.size * 8ull));
    g_free(old.entry);
    return 0;
fail:
    g_free(new.entry);
    return ret;
}

/* The size in the header, and all that stored bitmaps have for the old one. */
static int set_size(struct qcow2 *q, uint64_t old, uint64_t size)
{
    int ret;

    if (q->bitmap_count) {
        pthread_mutex_lock(&q->lock);
        ret = qcow2_resize_bitmaps(q, old, size);
        pthread_mutex_unlock(&q->lock);
        return ret;
    }
    ret = qcow2_write_u64(q, QCOW2_H_SIZE, size);
    return ret ? ret : viv_node_flush(q->file);
}

/* The part of the backing file that a larger disk would uncover reads as zeroes. */
static int hide_backing(struct viv_node *n, uint64_t old, uint64_t size)
{
    uint64_t end = n->backing ? MIN(size, viv_node_size(n->backing)) : 0;

    return end > old ? viv_node_write_zeroes(n, old, end - old, 0) : 0;
}

/* A data file is as long as the disk. */
static int resize_data(struct qcow2 *q, uint64_t size, enum viv_prealloc how, struct viv_err *err)
{
    if (!q->external)
        return 0;
    return viv_node_truncate(q->data, size, how == VIV_PREALLOC_METADATA ? VIV_PREALLOC_OFF : how, err);
}

static int grow(struct viv_node *n, uint64_t size, enum viv_prealloc how, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    uint64_t old = viv_node_size(n);
    uint64_t entries = qcow2_l1_need(q, size);
    int ret = 0;

    if (size > INT64_MAX || entries > QCOW2_L1_BYTES_MAX / 8)
        return viv_fail(err, EFBIG,
                        "'%s': %" PRIu64 " bytes are too large for clusters of %u bytes",
                        n->filename, size, q->cluster_size);
    ret = resize_data(q, size, how, err);
    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    if (entries > q->l1.size)
        ret = qcow2_grow_l1(q, entries);
    pthread_mutex_unlock(&q->lock);
    /* Before anybody can write there. */
    if (!ret && how != VIV_PREALLOC_OFF)
        ret = qcow2_preallocate(n, viv_align_down(old + q->cluster_size - 1, q->cluster_size), size, how);
    if (!ret) {
        __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
        ret = hide_backing(n, old, size);
    }
    if (!ret)
        ret = viv_node_flush(n);
    if (!ret)
        ret = set_size(q, old, size);
    if (ret)
        __atomic_store_n(&n->size, old, __ATOMIC_RELEASE);
    return ret ? viv_fail_os(err, -ret, "Could not resize '%s'", n->filename) : 0;
}

/* What lies behind the new end is zeroed first, so that it does not come back when the disk grows. */
static int shrink(struct viv_node *n, uint64_t size, struct viv_err *err)
{
    uint64_t old = viv_node_size(n);
    bool unmap = n->unmap;
    int ret;

    n->unmap = true;
    ret = viv_node_write_zeroes(n, size, old - size, VIV_BLK_UNMAP);
    if (!ret)
        ret = viv_node_flush(n);
    if (!ret)
        ret = set_size(n->state, old, size);
    n->unmap = unmap;
    if (ret)
        return viv_fail_os(err, -ret, "Could not resize '%s'", n->filename);
    __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
    return resize_data(n->state, size, VIV_PREALLOC_OFF, err);
}

int qcow2_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                   struct viv_err *err)
{
    struct qcow2 *q = n->state;
    uint64_t old = viv_node_size(n);
    int ret;

    if (!q->data)
        return viv_fail(err, EINVAL, "'%s' is open without its data file", n->filename);
    if (q->data_raw && prealloc == VIV_PREALLOC_OFF)
        prealloc = VIV_PREALLOC_METADATA; /* as at creation */
    if (prealloc != VIV_PREALLOC_OFF && size < old && !q->data_raw)
        return viv_fail(err, EINVAL, "'%s': room can be made only for a disk that grows", n->filename);
    if (q->snapshot_count && q->version < 3)
        return viv_fail(err, ENOTSUP,
                        "'%s': an image of version 2 with internal snapshots cannot be resized, as they would not know "
                        "their size; 'viv-img amend -o compat=1.1' makes it version 3",
                        n->filename);
    if (size == old)
        return 0;
    pthread_mutex_lock(&q->lock);
    ret = qcow2_drop_state(q);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return viv_fail_os(err, -ret, "Could not resize '%s'", n->filename);
    return size > old ? grow(n, size, prealloc, err) : shrink(n, size, err);
}
