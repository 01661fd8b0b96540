/* block_resize: another size for a disk in use, whose users are told. */
#include "block/options.h"

#include "block/blk.h"
#include "block/graph.h"
#include "block/job.h"

#include <errno.h>
#include <glib.h>

struct resize {
    struct viv_node *n;
    uint64_t size;
};

static int run(void *opaque, struct viv_err *err)
{
    const struct resize *r = opaque;
    int ret;

    if (r->n->parents) /* somebody has put an image on top of it meanwhile */
        return viv_fail(err, EBUSY, "'%s' is below another image", r->n->filename);
    ret = viv_node_truncate(r->n, r->size, VIV_PREALLOC_OFF, err);
    if (!ret && (ret = viv_node_flush(r->n)) != 0)
        viv_fail_os(err, -ret, "'%s' has its new size, but could not be written completely", r->n->filename);
    return ret;
}

static int check(const struct viv_node *n, uint64_t size, struct viv_err *err)
{
    const char *what = n->name ? n->name : n->filename, *job;

    if (n->read_only)
        return viv_fail(err, EACCES, "Image is read-only");
    if (n->parents)
        return viv_fail(err, EBUSY, "'%s' is below another image: resize that one", what);
    if (viv_job_has(n, &job))
        return viv_fail(err, EBUSY, "Node '%s' is busy: block device is in use by block job '%s'", what, job);
    if (size % 512)
        return viv_fail(err, EINVAL, "The new size must be a multiple of 512");
    return 0;
}

int viv_block_resize(struct viv_node *n, uint64_t size, struct viv_err *err)
{
    struct resize r = {n, size};
    struct viv_node_user *user = NULL;
    uint64_t was = viv_node_size(n);
    int ret = check(n, size, err);

    if (!ret)
        ret = viv_blk_check_resize(n, size, NULL, err);
    if (!ret)
        ret = viv_node_attach(n, "block_resize", VIV_PERM_RESIZE, VIV_PERM_READ | VIV_PERM_WRITE | VIV_PERM_RESIZE, &user, err);
    if (ret)
        return ret;
    viv_node_get(n);
    ret = viv_graph_run(run, &r, err);
    viv_node_detach(n, &user);
    if (!ret || viv_node_size(n) != was) /* it may have another one, and have failed */
        viv_blk_tell_resized(n, NULL);
    viv_node_put(&n);
    return ret;
}
