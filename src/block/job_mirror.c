/* blockdev-mirror, and block-commit of the active layer: the target becomes and stays what the disk is, until the job ends: by complete its
 * users go over to the target, by cancel it stays behind as a copy of that moment.
 *
 * A bitmap follows the guest's writes. With copy-mode=write-blocking the writer copies what it has written itself. */
#include "block/job_int.h"

#include <errno.h>
#include <string.h>

#define LOOK_NS 100000000ll /* between looks at what the guest has written */

static void after_write(struct viv_node_hook *h, uint64_t offset, uint64_t len)
{
    struct viv_job *j = (struct viv_job *)((char *)h - offsetof(struct viv_job, hook));
    bool read;

    viv_job_copy_range(&j->copy, offset, len, &read); /* an error leaves it marked: the job finds it, and says so */
}

static int prepare(struct viv_job *j, struct viv_err *err)
{
    int ret = 0;

    viv_graph_begin();
    if (j->base && j->base->read_only) {
        ret = viv_node_set_read_only(j->base, false, err);
        j->writable_base = !ret;
    }
    if (!ret && j->base && viv_node_size(j->base) < viv_node_size(j->node))
        ret = viv_node_truncate(j->base, viv_node_size(j->node), VIV_PREALLOC_OFF, err);
    if (!ret && j->write_blocking) {
        j->hook.after = after_write;
        viv_node_add_hook(j->node, &j->hook);
        j->hooked = true;
    }
    if (!ret)
        viv_bitmap_enable(j->copy.todo, true);
    if (ret && j->writable_base)
        viv_node_set_read_only(j->base, true, NULL);
    viv_graph_end();
    return ret;
}

static int mark(struct viv_job *j, struct viv_err *err)
{
    if (j->base)
        return viv_job_copy_mark(j, j->node, j->base, err);
    if (j->sync == VIV_SYNC_NONE)
        return 0;
    return viv_job_copy_mark(j, j->sync == VIV_SYNC_TOP ? j->node : NULL, j->node->backing, err);
}

static bool is_ending(struct viv_job *j)
{
    bool ending;

    pthread_mutex_lock(&j->lock);
    ending = j->cancel || j->complete;
    pthread_mutex_unlock(&j->lock);
    return ending;
}

static int run(struct viv_job *j, struct viv_err *err)
{
    int ret = mark(j, err);

    if (!ret)
        ret = viv_job_copy_all(j, err);
    if (ret || viv_job_stopped(j))
        return ret;
    viv_job_set_ready(j);
    while (!ret && !is_ending(j)) {
        viv_job_wait(j, 0, LOOK_NS);
        if (!is_ending(j))
            ret = viv_job_copy_all(j, err);
    }
    return ret;
}

/* Nobody writes now: the rest, and the target is durable. */
static int copy_rest(struct viv_job *j, struct viv_err *err)
{
    bool read = false;
    int ret;

    viv_bitmap_enable(j->copy.todo, false);
    ret = viv_job_copy_range(&j->copy, 0, j->copy.todo->size, &read);
    if (ret)
        return viv_fail_os(err, -ret, "%s '%s' failed", read ? "reading" : "writing", read ? j->copy.from->filename : j->copy.to->filename);
    ret = viv_node_flush(j->target);
    return ret ? viv_fail_os(err, -ret, "'%s' could not be written completely", j->target->filename) : 0;
}

/* The target takes the disk's place. */
static int pivot_to(struct viv_job *j, struct viv_err *err)
{
    struct viv_node *own = j->same_backing ? viv_node_swap_backing(j->target, j->node->backing) : NULL;
    int ret = viv_graph_move_users(j->node, j->target, err);

    if (ret && j->same_backing) {
        struct viv_node *ours = viv_node_set_backing(j->target, g_steal_pointer(&own));

        viv_node_put(&ours);
    }
    viv_node_put(&own);
    return ret;
}

/* The two bitmaps' worth of copying that the guest must not see: most of it while it still runs. */
static int settle(struct viv_job *j, struct viv_err *err)
{
    bool read, pivot, stop;
    int ret = viv_job_copy_range(&j->copy, 0, j->copy.todo->size, &read);

    if (!ret)
        ret = viv_node_flush(j->target);
    if (ret)
        return viv_fail_os(err, -ret, "'%s' could not be made the same as '%s'", j->target->filename, j->node->filename);
    pthread_mutex_lock(&j->lock);
    pivot = j->complete && !j->cancel;
    stop = j->cancel && j->force;
    pthread_mutex_unlock(&j->lock);
    if (stop)
        return -ECANCELED;
    viv_graph_begin();
    ret = copy_rest(j, err);
    if (!ret && pivot) {
        for (unsigned i = 0; i < G_N_ELEMENTS(j->used); i++) /* the users' rights must fit, not ours */
            if (j->used[i])
                viv_node_detach(j->used[i], &j->user[i]);
        ret = pivot_to(j, err);
    }
    if (!ret && pivot)
        j->writable_base = false; /* and so it stays */
    viv_graph_end();
    return ret;
}

static void clean(struct viv_job *j, bool done)
{
    viv_graph_begin();
    if (j->hooked)
        viv_node_remove_hook(j->node, &j->hook);
    viv_bitmap_enable(j->copy.todo, false);
    if (j->writable_base)
        viv_node_set_read_only(j->base, true, NULL);
    viv_graph_end();
}

static void free_mirror(struct viv_job *j)
{
    viv_job_copy_fini(&j->copy);
}

static const struct viv_job_type mirror = {
    .name = "mirror",
    .block = true,
    .changes_graph = true,
    .prepare = prepare,
    .run = run,
    .settle = settle,
    .clean = clean,
    .free = free_mirror,
};

static const struct viv_job_type commit = {
    .name = "commit",
    .block = true,
    .changes_graph = true,
    .prepare = prepare,
    .run = run,
    .settle = settle,
    .clean = clean,
    .free = free_mirror,
};

static bool is_root(const struct viv_node *n)
{
    return !n->parents && !n->overlays;
}

static uint32_t granularity_of(const struct viv_block_job_opts *o)
{
    return o->granularity ? o->granularity : viv_bitmap_default_granularity(o->target);
}

static int start(const struct viv_job_type *type, const struct viv_block_job_opts *o, struct viv_err *err)
{
    struct viv_job *j = viv_job_new(type, o, err);
    int ret;

    if (!j)
        return -EINVAL;
    ret = viv_job_check_chain(j, err);
    if (!ret)
        ret = viv_job_use(j, o->node, VIV_PERM_READ, err);
    if (!ret)
        ret = j->base ? viv_job_use_base(j, o->node, err) : viv_job_use(j, o->target, VIV_PERM_READ | VIV_PERM_WRITE, err);
    if (!ret)
        ret = viv_job_copy_init(j, o->node, o->target, granularity_of(o), false, err);
    if (ret) {
        viv_job_free(j);
        return ret;
    }
    return viv_job_start(j, err);
}

int viv_job_mirror(const struct viv_block_job_opts *o, struct viv_err *err)
{
    if (o->node == o->target)
        return viv_fail(err, EINVAL, "Can't mirror node into itself");
    if (o->sync == VIV_SYNC_INCREMENTAL || o->sync == VIV_SYNC_BITMAP)
        return viv_fail(err, ENOTSUP, "Sync mode '%s' not supported", o->sync == VIV_SYNC_BITMAP ? "bitmap" : "incremental");
    if (o->granularity && (o->granularity < 512 || o->granularity > 64u << 20))
        return viv_fail(err, EINVAL, "Parameter 'granularity' expects a value in range [512B, 64MB]");
    if (o->granularity & (o->granularity - 1))
        return viv_fail(err, EINVAL, "Parameter 'granularity' expects a power of 2");
    if (!is_root(o->node))
        return viv_fail(err, EBUSY, "Need a root block node");
    if (viv_node_size(o->node) != viv_node_size(o->target))
        return viv_fail(err, EINVAL, "Source and target image have different sizes");
    return start(&mirror, o, err);
}

int viv_job_commit_active(const struct viv_block_job_opts *o, struct viv_err *err)
{
    struct viv_block_job_opts mine = *o;

    if (!is_root(o->node))
        return viv_fail(err, EBUSY, "Need a root block node");
    if (o->backing_file)
        return viv_fail(err, EINVAL, "'backing-file' specified, but 'top' is the active layer");
    mine.target = o->base;
    mine.on_source = mine.on_target;
    return start(&commit, &mine, err);
}
