/* drive-backup and drive-mirror: an image for the copy, by its file name. */
#include "mon/job_args.h"
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "block/image.h"

#include <errno.h>
#include <string.h>

static int make(struct viv_opts *o, const struct viv_node *disk, const char *format, const struct viv_node *below, bool *fresh, struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);
    const char *path = viv_opts_str(o, "target");
    g_autofree char *name = below ? viv_node_backing_name(path, below) : NULL;
    struct viv_create c = {.size = viv_node_size(disk), .backing_file = name, .backing_fmt = below ? below->drv->name : NULL};

    if (!drv || drv->protocol)
        return viv_fail(err, EINVAL, "Unknown file format '%s'", format);
    return viv_image_new(path, drv, &c, fresh, err);
}

int viv_mon_open_target(struct viv_opts *o, const struct viv_node *disk, const struct viv_node_opts *how, const struct viv_node *below,
                        struct viv_mon_target *out, struct viv_err *err)
{
    bool is_new = strcmp(viv_opts_str(o, "mode"), "existing") != 0, fresh = false;
    const char *path = viv_opts_str(o, "target"), *format = viv_opts_str(o, "format");
    struct viv_node_opts no = *how;
    int ret = 0;

    no.direct = disk->direct;
    no.no_flush = disk->no_flush;
    if (is_new && !format)
        format = disk->drv->name;
    if (is_new)
        ret = make(o, disk, format, below, &fresh, err);
    if (fresh)
        out->path = g_strdup(path);
    return ret ? ret : viv_node_open_image(path, format, &no, &out->node, err);
}

void viv_mon_target_done(struct viv_mon_target *t, bool used)
{
    viv_node_put(&t->node);
    if (t->path && !used)
        viv_image_new_undo(t->path);
    g_clear_pointer(&t->path, g_free);
}
