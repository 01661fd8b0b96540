/* The driver: open, close, flush, info.
 *
 * Order of a flush that has new blocks to show (docs/block.md): footer behind them; barrier, which makes data and bitmaps
 * durable too; BAT; barrier. */
#include "block/fmt/vpc/vpc_int.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* A fixed disk shows its guest's first sector: it opens when the format is given. */
static int probe(const uint8_t *head, size_t len)
{
    return len >= 8 && memcmp(head, "conectix", 8) == 0 ? 100 : 0;
}

/* Nothing of ours lies behind the footer: a file that a cut or a failed write left longer is cut to it, where that can be done. */
static int write_footer(struct vpc *v)
{
    uint64_t end = v->next + VPC_FOOTER_LEN;
    int ret = viv_node_pwrite(v->file, v->next, v->footer, sizeof(v->footer));

    if (!ret && viv_node_size(v->file) > end && v->file->zero_init)
        ret = viv_node_truncate(v->file, end, VIV_PREALLOC_OFF, NULL);
    if (!ret)
        v->footer_at = v->next;
    return ret;
}

int vpc_flush_locked(struct vpc *v)
{
    int ret = v->footer_at != v->next ? write_footer(v) : 0;

    if (!ret)
        ret = viv_node_flush(v->file);
    if (!ret)
        ret = viv_entries_write(&v->bat);
    return ret ? ret : viv_node_flush(v->file);
}

static int flush(struct viv_node *n)
{
    struct vpc *v = n->state;
    bool clean;
    int ret = 0;

    pthread_mutex_lock(&v->lock);
    clean = !v->whole || (!v->bat.dirty && v->footer_at == v->next);
    if (!clean)
        ret = vpc_flush_locked(v);
    pthread_mutex_unlock(&v->lock);
    return clean ? viv_node_flush(n->file) : ret;
}

static int close_image(struct viv_node *n)
{
    struct vpc *v = n->state;

    viv_entries_fini(&v->bat);
    pthread_mutex_destroy(&v->lock);
    g_free(v->whole);
    g_free(v);
    n->state = NULL;
    return 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct vpc *v = g_new0(struct vpc, 1);
    int ret;

    v->node = n;
    v->file = n->file;
    pthread_mutex_init(&v->lock, NULL);
    n->state = v;
    ret = vpc_read_headers(v, err);
    if (!ret && !v->fixed && !n->read_only && !o->for_check)
        ret = vpc_scan(v, err);
    if (ret) {
        close_image(n);
        return ret;
    }
    n->granule = v->fixed ? 1 : v->block;
    n->zero_init = !v->fixed || n->file->zero_init;
    return 0;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    const struct vpc *v = n->state;

    i->cluster_size = v->fixed ? 0 : v->block;
}

const struct viv_blk_driver viv_blk_vpc = {
    .name = "vpc",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = vpc_map,
    .alloc = vpc_alloc,
    .commit = vpc_commit,
    .cancel = vpc_cancel,
    .write_zeroes = viv_node_zero_in_place,
    .discard = viv_node_discard_in_place,
    .flush = flush,
    .create = vpc_create,
    .create_opts = vpc_create_opts,
    .create_shown = vpc_create_shown,
    .info = info,
};
