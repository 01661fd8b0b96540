/* snapshot=on: what is written goes to a nameless qcow2 file on top of the image, and is gone with the process. */
#include "block/overlay.h"

#include "block/fmt/qcow2/qcow2.h"
#include "block/proto/file/file.h"

#include <errno.h>
#include <glib.h>
#include <unistd.h>

static int make_file(const struct viv_node *base, struct viv_node **file, struct viv_err *err)
{
    const char *dir = g_getenv("TMPDIR");
    struct viv_qcow2_create c = {
        .size = viv_node_size(base), .backing_file = "the-image", .backing_fmt = "raw"};
    struct viv_node_opts o = {.no_flush = true, .locking = VIV_LOCKING_OFF};
    struct viv_file_new *f = NULL;
    char *path;
    int ret;

    path = g_strdup_printf("%s/viv-snapshot-%d-%08x", dir && *dir ? dir : "/var/tmp", (int)getpid(),
                           g_random_int());
    ret = viv_file_new(path, &o, &f, file, err);
    if (!ret) {
        ret = viv_qcow2_create(&c, *file, err);
        viv_file_new_free(f); /* never published: it has no name */
        if (ret)
            viv_node_put(file);
    }
    if (ret)
        viv_err_prefix(err, "snapshot=on needs a temporary file (TMPDIR says where)");
    g_free(path);
    return ret;
}

int viv_node_overlay(struct viv_node *base_take, const struct viv_node_opts *o,
                     struct viv_node **out, struct viv_err *err)
{
    struct viv_node_opts own = {.no_backing = true,
                                .no_flush = true,
                                .unmap = o->unmap,
                                .detect_zeroes = o->detect_zeroes,
                                .copy_on_read = o->copy_on_read,
                                .node_name = o->node_name};
    struct viv_node *file = NULL, *n = NULL;
    int ret = make_file(base_take, &file, err);

    if (!ret)
        ret = viv_node_open_format(&viv_blk_qcow2, file, &own, &n, err);
    if (ret) {
        viv_node_put(&base_take);
        return ret;
    }
    viv_node_set_backing(n, base_take);
    *out = n;
    return 0;
}
