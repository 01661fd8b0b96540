/* The driver: open, close, info. The rest of Parallels is in the files beside; parallels_int.h is their table of
 * contents. */
#include "block/fmt/parallels/parallels_int.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

static int probe(const uint8_t *head, size_t len)
{
    if (len < PRL_H_LENGTH)
        return 0;
    return memcmp(head, PRL_MAGIC, 16) == 0 || memcmp(head, PRL_MAGIC_EXT, 16) == 0 ? 100 : 0;
}

static int close_image(struct viv_node *n)
{
    struct parallels *p = n->state;
    int ret = 0;

    /* "Not in use" only when all that was changed is durable. */
    if (p->in_use && !p->broken) {
        ret = prl_flush_all(p);
        if (!ret)
            ret = prl_set_in_use(p, false);
    }
    if (p->spare)
        g_array_free(p->spare, TRUE);
    pthread_mutex_destroy(&p->lock);
    g_free(p->bat);
    g_free(p->dirty);
    g_free(p);
    n->state = NULL;
    return ret;
}

/* A writer did not close it: what it left behind is cut off before anybody writes again. */
static int mend(struct parallels *p, struct viv_err *err)
{
    struct viv_check c = {.fix = VIV_FIX_LEAKS | VIV_FIX_ERRORS};
    int ret;

    viv_warn("'%s' was not closed: checking its table", p->node->filename);
    ret = prl_check(p->node, &c, err);
    if (ret)
        return ret;
    if (c.corruptions > c.corruptions_fixed)
        return viv_fail(
            err, EIO,
            "'%s' was not closed and could not be repaired completely; opening it read-only works",
            p->node->filename);
    return 0;
}

/* The header says from now on that somebody writes. */
static int prepare_writing(struct parallels *p, const struct viv_node_opts *o, struct viv_err *err)
{
    int ret;

    if (o->for_check)
        return 0;
    if (p->extension)
        viv_warn("'%s': its format extension (dirty bitmaps) is not kept up to date",
                 p->node->filename);
    if (p->was_in_use && (ret = mend(p, err)) != 0)
        return ret;
    ret = prl_set_in_use(p, true);
    p->in_use = !ret;
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", p->node->filename) : 0;
}

/* Locks are in powers of two. For clusters of 63 sectors and the like the whole disk is one: writes that allocate then
 * run one at a time, the rest does not notice. */
static uint64_t granule(const struct parallels *p)
{
    uint64_t g = p->cluster;

    if (viv_is_aligned(g, g))
        return g;
    for (g = PRL_SECTOR; g < p->node->size; g *= 2)
        ;
    return g;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct parallels *p = g_new0(struct parallels, 1);
    int ret;

    p->node = n;
    p->file = n->file;
    p->spare = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    pthread_mutex_init(&p->lock, NULL);
    n->state = p;
    n->zero_init = true;
    ret = prl_read_header(p, err);
    if (!ret)
        n->granule = granule(p);
    if (!ret && !n->read_only)
        ret = prepare_writing(p, o, err);
    if (ret) {
        p->broken = true; /* nothing is written on the way out */
        close_image(n);
    }
    return ret;
}

static int flush(struct viv_node *n)
{
    struct parallels *p = n->state;
    bool clean;
    int ret = 0;

    pthread_mutex_lock(&p->lock);
    clean = !p->broken && !p->any_dirty;
    if (!clean)
        ret = prl_flush_all(p);
    pthread_mutex_unlock(&p->lock);
    /* Only data to make durable: nobody needs to wait for that with us. */
    return clean ? viv_node_flush(n->file) : ret;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    i->no_basics = true;
}

const struct viv_blk_driver viv_blk_parallels = {
    .name = "parallels",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = prl_map,
    .alloc = prl_alloc,
    .commit = prl_commit,
    .cancel = prl_cancel,
    .write_zeroes = prl_write_zeroes,
    .discard = prl_discard,
    .flush = flush,
    .create = prl_create,
    .create_opts = prl_create_opts,
    .create_shown = prl_create_shown,
    .any_size = true,
    .check = prl_check,
    .info = info,
};
