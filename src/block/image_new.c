/* A new image in a file of this host, for commands that make one beside what they are about (snapshots, backups). */
#include "block/image.h"
#include "block/proto/file/file.h"
#include "opt/opt.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <unistd.h>

static int fill(struct viv_node *file, const struct viv_blk_driver *drv, const struct viv_create *spec, struct viv_err *err)
{
    struct viv_create c = *spec;
    int ret;

    c.opts = viv_opts_new(drv->name, drv->create_opts);
    ret = drv->create(&c, file, err);
    viv_opts_free(c.opts);
    if (!ret && (ret = viv_node_flush(file)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", file->filename);
    return ret;
}

int viv_image_new(const char *path, const struct viv_blk_driver *drv, const struct viv_create *spec, bool *fresh, struct viv_err *err)
{
    struct viv_node_opts o = {0};
    struct viv_file_new *made = NULL;
    struct viv_node *file = NULL;
    const char *local;
    int ret;

    *fresh = false;
    if (!drv->create)
        return viv_fail(err, ENOTSUP, "Format driver '%s' does not support image creation", drv->name);
    if (spec->backing_file && !drv->backing)
        return viv_fail(err, ENOTSUP, "Backing file not supported for file format '%s'", drv->name);
    if (viv_blk_local_path(path, &local) || g_str_has_prefix(path, "json:"))
        return viv_fail(err, ENOTSUP, "'%s': only files of this host can be made here; mode=existing takes an image that is there", path);
    ret = viv_file_new(local, &o, &made, &file, err);
    if (ret == -EEXIST) {
        viv_err_clear(err);
        ret = viv_file_open(local, &o, &file, err);
    }
    if (!ret)
        ret = fill(file, drv, spec, err);
    if (viv_node_put(&file) && !ret)
        ret = viv_fail(err, EIO, "'%s' could not be written completely", path);
    if (!ret && made)
        ret = viv_file_publish(made, err);
    *fresh = !ret && made;
    viv_file_new_free(made); /* it holds the locks */
    return ret;
}

void viv_image_new_undo(const char *path)
{
    const char *local;
    g_autofree char *real = viv_blk_local_path(path, &local) ? NULL : realpath(local, NULL);

    if (real)
        unlink(real); /* what a link named, not the link */
}
