/* The driver: open, close, flush, info.
 *
 * Order of a flush that has new blocks to show (docs/block.md): header's count, file size; barrier, which makes the data
 * durable too; map; barrier. */
#include "block/fmt/vdi/vdi_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

static int probe(const uint8_t *head, size_t len)
{
    return len >= VDI_H_VERSION && viv_ld_le32(head + VDI_H_SIGNATURE) == VDI_SIGNATURE ? 100 : 0;
}

static int write_count(struct vdi *v)
{
    uint64_t end = v->data + (uint64_t)v->next * VDI_BLOCK;
    uint8_t count[4];
    int ret = 0;

    viv_st_le32(count, v->next);
    /* Other programs expect whole blocks. */
    if (v->file->zero_init && viv_node_size(v->file) < end)
        ret = viv_node_truncate(v->file, end, VIV_PREALLOC_OFF, NULL);
    if (!ret)
        ret = viv_node_pwrite(v->file, VDI_H_ALLOCATED, count, sizeof(count));
    if (!ret)
        v->on_disk = v->next;
    return ret;
}

int vdi_flush_locked(struct vdi *v)
{
    int ret = v->on_disk != v->next ? write_count(v) : 0;

    if (!ret)
        ret = viv_node_flush(v->file);
    if (!ret)
        ret = viv_entries_write(&v->map);
    return ret ? ret : viv_node_flush(v->file);
}

static int flush(struct viv_node *n)
{
    struct vdi *v = n->state;
    bool clean;
    int ret = 0;

    pthread_mutex_lock(&v->lock);
    clean = !v->map.dirty && (!v->used || v->on_disk == v->next);
    if (!clean)
        ret = vdi_flush_locked(v);
    pthread_mutex_unlock(&v->lock);
    return clean ? viv_node_flush(n->file) : ret;
}

static int close_image(struct viv_node *n)
{
    struct vdi *v = n->state;

    viv_entries_fini(&v->map);
    pthread_mutex_destroy(&v->lock);
    g_free(v->used);
    g_free(v);
    n->state = NULL;
    return 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct vdi *v = g_new0(struct vdi, 1);
    int ret;

    v->node = n;
    v->file = n->file;
    pthread_mutex_init(&v->lock, NULL);
    n->state = v;
    ret = vdi_read_header(v, err);
    if (!ret && !n->read_only && !o->for_check) /* a checker does not write */
        ret = vdi_scan(v, err);
    if (ret) {
        close_image(n);
        return ret;
    }
    n->granule = VDI_BLOCK;
    n->zero_init = v->type == VDI_TYPE_DYNAMIC || n->file->zero_init;
    return 0;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    i->cluster_size = VDI_BLOCK;
}

const struct viv_blk_driver viv_blk_vdi = {
    .name = "vdi",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = vdi_map,
    .alloc = vdi_alloc,
    .commit = vdi_commit,
    .cancel = vdi_cancel,
    .write_zeroes = viv_node_zero_in_place,
    .discard = viv_node_discard_in_place,
    .flush = flush,
    .create = vdi_create,
    .create_opts = vdi_create_opts,
    .create_shown = vdi_create_shown,
    .check = vdi_check,
    .info = info,
};
