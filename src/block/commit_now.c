/* HMP's commit: what a disk's image holds over its backing file goes down into that, at once; the disk stands still meanwhile.
 *
 * Order, so that a cut at any moment leaves an overlay that shows the same disk: the backing file grows; data is written into it (the overlay
 * still has it too); it is flushed; only then the overlay forgets. */
#include "block/job_int.h"
#include "block/options.h"

#include <errno.h>

struct commit {
    struct viv_node *top, *base;
};

static int grow_base(const struct commit *c, struct viv_err *err)
{
    uint64_t size = viv_node_size(c->top);

    return size > viv_node_size(c->base) ? viv_node_truncate(c->base, size, VIV_PREALLOC_OFF, err) : 0;
}

static int copy(const struct commit *c, struct viv_err *err)
{
    struct viv_job_copy moving = {.from = c->top, .to = c->base, .unmap = true};
    uint64_t size = viv_node_size(c->top);
    struct viv_extent e;
    bool read = true;
    int ret = 0;

    for (uint64_t at = 0; at < size && !ret; at += e.len) {
        read = true;
        ret = viv_node_status_layer(c->top, at, size - at, &e);
        if (!ret && e.kind != VIV_MAP_BACKING)
            ret = viv_job_copy_move(&moving, at, e.len, &read);
    }
    if (!ret) {
        read = false;
        ret = viv_node_flush(c->base);
    }
    return ret ? viv_fail_os(err, -ret, "%s '%s' failed", read ? "reading" : "writing", read ? c->top->filename : c->base->filename) : 0;
}

/* A format that cannot forget keeps what it has, which is the same disk. */
static int empty_top(const struct commit *c, struct viv_err *err)
{
    int ret = c->top->drv->forget ? viv_node_forget(c->top) : 0;

    if (!ret)
        ret = viv_node_flush(c->top);
    return ret ? viv_fail_os(err, -ret, "could not empty '%s'; the backing file has all of it", c->top->filename) : 0;
}

/* Between viv_graph_begin() and viv_graph_end(). */
static int run(void *opaque, struct viv_err *err)
{
    struct commit *c = opaque;
    bool opened = false;
    int ret = 0;

    if (c->top->backing != c->base)
        return viv_fail(err, EBUSY, "'%s' got another backing file", c->top->filename);
    if (c->base->read_only) {
        ret = viv_node_set_read_only(c->base, false, err);
        opened = !ret;
    }
    if (!ret)
        ret = grow_base(c, err);
    if (!ret && c->top->drv->keep_backing)
        ret = c->top->drv->keep_backing(c->top, err);
    if (!ret)
        ret = copy(c, err);
    if (!ret)
        ret = empty_top(c, err);
    if (opened)
        viv_node_set_read_only(c->base, true, NULL);
    return ret;
}

static int check(const struct viv_node *top, struct viv_err *err)
{
    const char *job;

    if (!top->backing)
        return viv_fail(err, ENOTSUP, "'%s' has no backing file", top->filename);
    if (top->read_only)
        return viv_fail(err, EACCES, "'%s' is read-only", top->filename);
    return viv_job_has(top, &job) ? viv_fail(err, EBUSY, "'%s' is in use by block job '%s'", top->filename, job) : 0;
}

int viv_block_commit(struct viv_node *n, struct viv_err *err)
{
    struct commit c = {.top = n};
    struct viv_node_user *user = NULL;
    int ret;

    while (c.top->drv->filter && c.top->file)
        c.top = c.top->file;
    ret = check(c.top, err);
    if (ret)
        return ret;
    c.base = c.top->backing;
    ret = viv_node_attach_as(c.base, "commit", &(struct viv_node_use){.perms = VIV_PERM_READ | VIV_PERM_WRITE, .shared = VIV_PERM_READ,
                                                                      .above = c.top, .will_be_writable = true}, &user, err);
    if (ret)
        return ret;
    viv_node_get(c.top);
    viv_node_get(c.base);
    ret = viv_graph_run(run, &c, err);
    viv_node_detach(c.base, &user);
    viv_node_put(&c.base);
    viv_node_put(&c.top);
    return ret;
}
