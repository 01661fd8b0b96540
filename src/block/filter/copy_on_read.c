/* copy-on-read: what is read from the backing file of the image below is written into that image. */
#include "block/filter/filter.h"
#include "opt/opt.h"

#include <errno.h>
#include <glib.h>

static const struct viv_opt_def opts[] = {
    {"bottom", VIV_OPT_STR, "node-name of the backing image below which nothing is copied; otherwise all is"},
    VIV_OPT_END,
};

/* A layer of the chain of backing files below the image. */
static int find_bottom(struct viv_node *image, const char *name, struct viv_node **out, struct viv_err *err)
{
    struct viv_node *bottom = name ? viv_node_find(name) : NULL;
    struct viv_node *layer = image->backing;

    if (!name)
        return 0;
    if (!bottom)
        return viv_fail(err, ENOENT, "'%s': bottom: there is no node '%s'", image->filename, name);
    while (layer && layer != bottom)
        layer = layer->backing;
    if (!layer)
        return viv_fail(err, EINVAL, "'%s': bottom: node '%s' is not in its chain of backing files", image->filename, name);
    *out = bottom;
    return 0;
}

/* The core does the copying (io.c). */
static int open_filter(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct viv_node *image = n->file, *bottom = NULL;
    int ret;

    while (image->drv->filter && image->file)
        image = image->file;
    if (image->read_only)
        return viv_fail(err, EACCES, "'%s': copy-on-read writes into the image below, and that is read-only", n->filename);
    ret = find_bottom(image, o->own ? viv_opts_str(o->own, "bottom") : NULL, &bottom, err);
    if (ret)
        return ret;
    image->copy_on_read = true;
    image->copy_bottom = bottom;
    viv_filter_init(n, g_new0(char, 1));
    return 0;
}

const struct viv_blk_driver viv_blk_copy_on_read = {
    .name = "copy-on-read",
    .protocol = true,
    .filter = true,
    .open_opts = opts,
    .open_children = (const struct viv_child_def[]){{.name = "file"}, {0}},
    .open = open_filter,
    .close = viv_filter_close,
    .preadv = viv_filter_preadv,
    .pwritev = viv_filter_pwritev,
    .status = viv_filter_status,
    .write_zeroes = viv_filter_write_zeroes,
    .discard = viv_filter_discard,
    .truncate = viv_filter_truncate,
};
