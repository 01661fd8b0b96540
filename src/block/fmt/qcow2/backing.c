/* Another backing file's name and format in the header (rebase, amend). */
#include "block/fmt/qcow2/edit.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int change(struct qcow2 *q, const char *name, const char *format)
{
    struct qcow2_edit e;
    int ret = qcow2_edit_begin(&e, q);

    if (!ret) {
        qcow2_edit_backing(&e, name);
        qcow2_edit_extension(&e, QCOW2_EXT_BACKING_FORMAT, name ? format : NULL, name && format ? strlen(format) : 0);
        ret = qcow2_edit_commit(&e);
    }
    qcow2_edit_end(&e);
    return ret;
}

int qcow2_change_backing(struct viv_node *n, const char *name, const char *format, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    int ret;

    if (name && !*name)
        name = NULL;
    if (name && (q->data_raw))
        return viv_fail(err, EINVAL, "'%s' is to keep its data file readable as a raw image: it can have no backing file",
                        n->filename);
    if (format && strlen(format) > 63)
        return viv_fail(err, EINVAL, "'%s' is too long for the name of a format", format);
    /* What this layer leaves to the backing file must be known to be complete first. */
    ret = viv_node_flush(n);
    if (!ret) {
        pthread_mutex_lock(&q->lock);
        ret = change(q, name, format);
        if (!ret) {
            g_free(q->backing_file);
            g_free(q->backing_fmt);
            q->backing_file = g_strdup(name);
            q->backing_fmt = g_strdup(name ? format : NULL);
        }
        pthread_mutex_unlock(&q->lock);
    }
    if (ret == -ENOSPC)
        return viv_fail(err, ENOSPC,
                        "'%s': a backing file's name of %zu bytes does not fit into the header's cluster of %u bytes beside "
                        "what is there; a shorter (relative) name may, or clusters of 64k ('viv-img convert')",
                        n->filename, strlen(name ? name : ""), q->cluster_size);
    return ret ? viv_fail_os(err, -ret, "Could not change the backing file of '%s'", n->filename) : 0;
}
