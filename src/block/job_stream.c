/* block-stream and block-commit of layers below the top: what some layers of a chain hold goes up into the one above them, or down into
 * the one below; when all is there and durable a header changes, and then the layers are no part of the chain any more. A cut before that
 * leaves the old chain, which shows the same disk. */
#include "block/job_int.h"

#include "host/lock.h"

#include <errno.h>
#include <string.h>

#define CHUNK (1u << 20)

/* --- the change at the end --- */

/* `n`, which shows the same with `to` below it as with what is there, gets that. Nobody is at work. */
static int change_backing(struct viv_job *j, struct viv_node *n, struct viv_node *to, struct viv_err *err)
{
    g_autofree char *name = !to ? NULL : j->backing_file ? g_strdup(j->backing_file) : viv_node_backing_name(n->filename, to);

    return viv_node_write_backing(n, name, to ? to->drv->name : NULL, err);
}

/* The layers between are let go when users are back at work: closing them may take long. */
static int relink(struct viv_job *j, struct viv_node *n, struct viv_node *to, struct viv_err *err)
{
    struct viv_node *old = NULL;
    int ret;

    viv_graph_begin();
    ret = change_backing(j, n, to, err);
    if (!ret)
        old = viv_node_swap_backing(n, to);
    viv_graph_end();
    viv_dev_lock();
    viv_node_put(&old);
    viv_dev_unlock();
    return ret;
}

/* All of the disk in steps; `step` copies one, and says whether reading or writing failed. */
static int walk(struct viv_job *j, uint64_t size, int (*step)(struct viv_job *j, uint64_t offset, uint64_t *len, bool *read),
                struct viv_err *err)
{
    int ret = 0;

    for (uint64_t at = 0, len; at < size && !viv_job_stopped(j); at += ret ? 0 : len) {
        bool read = true;

        len = size - at;
        viv_job_set_progress(j, at, size);
        viv_graph_enter();
        ret = step(j, at, &len, &read);
        viv_graph_leave();
        if (ret && viv_job_error(j, ret, read))
            return viv_fail_os(err, -ret, "%s failed at offset %llu", read ? "reading" : "writing", (unsigned long long)at);
        if (!ret && len <= CHUNK)
            viv_job_wait(j, len, 0);
    }
    if (!viv_job_stopped(j))
        viv_job_set_progress(j, size, size);
    return 0;
}

static int prepare(struct viv_job *j, struct viv_err *err)
{
    struct viv_node *writes = j->base && j->target == j->base ? j->base : j->node;
    int ret = 0;

    viv_graph_begin();
    if (writes->read_only && (ret = viv_node_set_read_only(writes, false, err)) == 0)
        *(writes == j->node ? &j->writable_node : &j->writable_base) = true;
    viv_graph_end();
    return ret;
}

static void clean(struct viv_job *j, bool done)
{
    viv_graph_begin();
    if (j->writable_node)
        viv_node_set_read_only(j->node, true, NULL);
    if (j->writable_base)
        viv_node_set_read_only(j->base, true, NULL);
    viv_graph_end();
}

/* --- stream: up --- */

/* Zeroes that hide something below what goes must go up too; without anything below zeroes show by themselves. */
static int step_up(struct viv_job *j, uint64_t offset, uint64_t *len, bool *read)
{
    struct viv_node *bottom = j->base ? viv_node_above(j->node, j->base) : NULL;
    struct viv_extent e;
    int ret = viv_node_status_layer(j->node, offset, *len, &e);

    if (ret)
        return ret;
    *len = MIN(*len, e.len);
    if (e.kind != VIV_MAP_BACKING)
        return 0;
    *len = MIN(*len, CHUNK);
    *read = false;
    return viv_node_copy_up(j->node, bottom, offset, *len);
}

static int run_stream(struct viv_job *j, struct viv_err *err)
{
    int ret;

    if (j->node->backing == j->base)
        return 0;
    ret = walk(j, viv_node_size(j->node), step_up, err);
    if (!ret && !viv_job_stopped(j) && (ret = viv_node_flush(j->node)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", j->node->filename);
    return ret;
}

static int settle_stream(struct viv_job *j, struct viv_err *err)
{
    return j->node->backing == j->base ? 0 : relink(j, j->node, j->base, err);
}

static const struct viv_job_type stream = {
    .name = "stream",
    .block = true,
    .changes_graph = true,
    .prepare = prepare,
    .run = run_stream,
    .settle = settle_stream,
    .clean = clean,
};

int viv_job_stream(const struct viv_block_job_opts *o, struct viv_err *err)
{
    struct viv_job *j;
    int ret;

    if (o->base && !viv_node_above(o->node, o->base))
        return viv_fail(err, EINVAL, "Node '%s' is not a backing image of '%s'", o->base->name, o->node->name);
    if (!o->base && o->backing_file)
        return viv_fail(err, EINVAL, "backing file specified, but streaming the entire chain");
    if (o->node->backing && !o->node->drv->change_backing)
        return viv_fail(err, ENOTSUP, "'%s': %s images cannot change their backing file", o->node->filename, o->node->drv->name);
    j = viv_job_new(&stream, o, err);
    if (!j)
        return -EINVAL;
    j->on_source = j->on_target;
    ret = viv_job_check_chain(j, err);
    if (!ret)
        ret = viv_job_use(j, o->node, VIV_PERM_READ, err);
    if (ret) {
        viv_job_free(j);
        return ret;
    }
    return viv_job_start(j, err);
}

/* --- commit: down --- */

static int step_down(struct viv_job *j, uint64_t offset, uint64_t *len, bool *read)
{
    uint64_t size = viv_node_size(j->top);
    struct viv_extent e;
    g_autofree uint8_t *buf = NULL;
    int ret;

    if (offset >= size) { /* its end hid what lies below */
        *read = false;
        return viv_node_write_zeroes(j->base, offset, *len, VIV_BLK_UNMAP);
    }
    *len = MIN(*len, size - offset);
    ret = viv_node_status_above(j->top, j->base, offset, *len, &e);
    if (ret)
        return ret;
    *len = MIN(*len, e.len);
    if (e.kind == VIV_MAP_BACKING)
        return 0;
    if (e.kind == VIV_MAP_ZERO) {
        *read = false;
        return viv_node_write_zeroes(j->base, offset, *len, VIV_BLK_UNMAP);
    }
    *len = MIN(*len, CHUNK);
    buf = g_try_malloc(*len);
    ret = buf ? viv_node_pread(j->top, offset, buf, *len) : -ENOMEM;
    if (ret)
        return ret;
    *read = false;
    return viv_node_pwrite(j->base, offset, buf, *len);
}

static int run_commit(struct viv_job *j, struct viv_err *err)
{
    uint64_t size = viv_node_size(j->top);
    int ret = 0;

    if (size > viv_node_size(j->base)) {
        viv_graph_begin();
        ret = viv_node_truncate(j->base, size, VIV_PREALLOC_OFF, err);
        viv_graph_end();
    }
    if (!ret) /* what shows above the layers that go: where they end zeroes do */
        ret = walk(j, MAX(size, MIN(viv_node_size(j->base), viv_node_size(viv_node_above(j->node, j->top)))), step_down, err);
    if (!ret && !viv_job_stopped(j) && (ret = viv_node_flush(j->base)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", j->base->filename);
    return ret;
}

static int settle_commit(struct viv_job *j, struct viv_err *err)
{
    return relink(j, viv_node_above(j->node, j->top), j->base, err);
}

static const struct viv_job_type commit = {
    .name = "commit",
    .block = true,
    .changes_graph = true,
    .prepare = prepare,
    .run = run_commit,
    .settle = settle_commit,
    .clean = clean,
};

int viv_job_commit(const struct viv_block_job_opts *o, struct viv_err *err)
{
    struct viv_node *top = o->top ? o->top : o->node;
    struct viv_block_job_opts mine = *o;
    struct viv_job *j;
    int ret;

    if (top != o->node && !viv_node_above(o->node, top))
        return viv_fail(err, EINVAL, "'%s' is not in this backing file chain", top->name ? top->name : top->filename);
    if (o->base == top)
        return viv_fail(err, EINVAL, "cannot commit an image into itself");
    if (!viv_node_above(top, o->base))
        return viv_fail(err, EINVAL, "'%s' is not in this backing file chain", o->base->name ? o->base->name : o->base->filename);
    if (top == o->node)
        return viv_job_commit_active(o, err);
    mine.target = o->base;
    j = viv_job_new(&commit, &mine, err);
    if (!j)
        return -EINVAL;
    j->on_source = j->on_target;
    ret = viv_job_check_chain(j, err);
    if (!ret)
        ret = viv_job_use(j, o->node, VIV_PERM_READ, err);
    if (!ret)
        ret = viv_job_use_base(j, top, err);
    if (ret) {
        viv_job_free(j);
        return ret;
    }
    return viv_job_start(j, err);
}
