/* copy-on-read: what is read from the backing file of the image below is written into that image. */
#include "block/filter/filter.h"
#include "opt/opt.h"

#include <errno.h>
#include <glib.h>

static const struct viv_opt_def opts[] = {
    {"bottom", VIV_OPT_REFUSED, "not implemented yet: what any backing file has is copied"},
    VIV_OPT_END,
};

/* The core does the copying (io.c). */
static int open_filter(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    if (n->file->read_only)
        return viv_fail(err, EACCES, "'%s': copy-on-read writes into the image below, and that is read-only", n->filename);
    n->file->copy_on_read = true;
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
