/* External data files: the guest's clusters lie in a file of their own, each at its own offset, and the image holds
 * the metadata alone. With "raw external data" that file is the disk to whoever does not look at the image. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "block/proto/file/file.h"

#include <errno.h>
#include <glib.h>

/* Names come from the image: what is opened is a file in the place that an image's other files may have. */
int qcow2_open_data(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err)
{
    struct viv_node *n = q->node, *given = o->data_file ? o->data_file : o->children ? o->children[0] : NULL;
    int ret;

    if (!q->external) {
        q->data = q->file;
        return 0;
    }
    if (given) {
        viv_node_get(given);
        viv_node_add_child(n, given);
        q->data = given;
        return q->data->read_only && !n->read_only
                   ? viv_fail(err, EACCES, "'%s': its data file '%s' is open read-only", n->filename, q->data->filename)
                   : 0;
    }
    if (o->for_check)
        return 0; /* its metadata says all, wherever the data may be */
    if (!q->data_file)
        return viv_fail(err, EINVAL, "'%s' keeps its data in another file and does not name it", n->filename);
    ret = viv_node_open_child(n, q->data_file, o, &q->data, err);
    if (ret)
        viv_err_prefix(err, "Could not open the data file of '%s'", n->filename);
    return ret;
}

/* An existing file is emptied, as one in the image's own place is. */
int qcow2_create_data(const struct viv_qcow2_create *c, const struct viv_node *file, struct viv_node **out,
                      struct viv_err *err)
{
    g_autofree char *path = viv_blk_backing_path(file->filename, c->data_file);
    enum viv_prealloc how = c->prealloc == VIV_PREALLOC_METADATA ? VIV_PREALLOC_OFF : c->prealloc;
    struct viv_node_opts o = {.no_flush = file->no_flush};
    struct viv_err own = VIV_ERR_INIT;
    struct viv_file_new *new = NULL;
    int ret;

    if (strcmp(path, file->filename) == 0)
        return viv_fail(err, EINVAL, "data_file=%s is the image itself: the data goes into another file", c->data_file);
    ret = viv_file_new(path, &o, &new, out, &own);
    if (ret == -EEXIST) {
        ret = viv_file_open(path, &o, out, err);
        if (!ret)
            ret = viv_node_truncate(*out, 0, VIV_PREALLOC_OFF, err);
    } else if (ret) {
        viv_fail(err, own.code, "%s", own.text);
    }
    if (!ret)
        ret = viv_node_truncate(*out, c->size, how, err);
    if (!ret && !(*out)->zero_init && (ret = viv_node_write_zeroes(*out, 0, c->size, 0)) != 0)
        viv_fail_os(err, -ret, "Could not write '%s'", path);
    if (!ret && new)
        ret = viv_file_publish(new, err);
    viv_file_new_free(new);
    if (ret)
        viv_node_put(out);
    return ret;
}
