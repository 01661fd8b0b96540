/* The driver: probe, open, close, flush, info.
 *
 * Order of a flush that has BAT entries to show (docs/block.md): barrier; log entry; barrier; the entries in their places. That they get
 * there is a matter of the log: the barrier behind them is the next flush's first, or the one before a clean close empties the log. */
#include "block/fmt/vhdx/vhdx_int.h"

#include <errno.h>
#include <string.h>

static int probe(const uint8_t *head, size_t len)
{
    return len >= 8 && memcmp(head, VHDX_SIGNATURE, 8) == 0 ? 100 : 0;
}

static int flush(struct viv_node *n)
{
    struct vhdx *v = n->state;
    bool clean;
    int ret = 0;

    pthread_mutex_lock(&v->lock);
    clean = !v->bat.dirty;
    if (!clean)
        ret = vhdx_flush_locked(v);
    pthread_mutex_unlock(&v->lock);
    return clean ? viv_node_flush(n->file) : ret;
}

/* What could not be written in place stays in the log. */
static int empty_log(struct vhdx *v)
{
    static const uint8_t none[16];
    int ret = viv_node_flush(v->file);

    return ret ? ret : vhdx_set_log_guid(v, none);
}

static int close_image(struct viv_node *n)
{
    struct vhdx *v = n->state;
    int ret = v->log_live && !v->bat.dirty ? empty_log(v) : 0;

    viv_entries_fini(&v->bat);
    pthread_mutex_destroy(&v->lock);
    g_array_free(v->areas, TRUE);
    g_array_free(v->spare, TRUE);
    g_free(v);
    n->state = NULL;
    return ret;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct vhdx *v = g_new0(struct vhdx, 1);
    int ret;

    v->node = n;
    v->file = n->file;
    v->areas = g_array_new(FALSE, FALSE, sizeof(struct vhdx_area));
    v->spare = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    v->log_sequence = 1;
    pthread_mutex_init(&v->lock, NULL);
    n->state = v;
    n->zero_init = true;
    ret = vhdx_guid_new(v->log_guid);
    if (ret)
        viv_fail_os(err, -ret, "no random bytes for '%s'", n->filename);
    if (!ret)
        ret = vhdx_read_header(v, err);
    if (!ret)
        ret = vhdx_replay(v, err);
    if (!ret)
        ret = vhdx_read_regions(v, err);
    if (!ret)
        ret = vhdx_read_metadata(v, err);
    if (!ret && !n->read_only && o->for_check)
        vhdx_scan(v, NULL); /* check tells what is wrong; such an image is not written */
    else if (!ret && !n->read_only)
        ret = vhdx_scan(v, err);
    if (ret) {
        close_image(n);
        return ret;
    }
    n->granule = v->block;
    return 0;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    const struct vhdx *v = n->state;

    i->cluster_size = v->block;
}

const struct viv_blk_driver viv_blk_vhdx = {
    .name = "vhdx",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = vhdx_map,
    .alloc = vhdx_alloc,
    .commit = vhdx_commit,
    .cancel = vhdx_cancel,
    .write_zeroes = vhdx_write_zeroes,
    .discard = vhdx_discard,
    .flush = flush,
    .create = vhdx_create,
    .create_opts = vhdx_create_opts,
    .create_shown = vhdx_create_shown,
    .any_size = true,
    .check = vhdx_check,
    .info = info,
};
