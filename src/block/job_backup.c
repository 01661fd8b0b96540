/* blockdev-backup: the disk as it was at one moment. A write to it copies what it is about to change first (to a range that the job has
 * not come to yet). When the target is an overlay of the disk, it shows that moment all the time: what is not copied yet has not changed. */
#include "block/job_int.h"

#include <errno.h>
#include <string.h>

#define CLUSTER 65536u

static void before_write(struct viv_node_hook *h, uint64_t offset, uint64_t len)
{
    struct viv_job *j = (struct viv_job *)((char *)h - offsetof(struct viv_job, hook));
    bool read;
    int ret = viv_job_copy_range(&j->copy, offset, len, &read);

    /* The guest goes on; it is the backup that is worth nothing. */
    if (ret && j->keeps)
        viv_node_lose(j->target);
    if (ret)
        __atomic_store_n(&j->hook_error, ret, __ATOMIC_RELEASE);
}

/* Only what is marked there; from here on a second bitmap follows, which takes its place or joins it. */
static int take_bitmap(struct viv_job *j, struct viv_err *err)
{
    int ret = viv_bitmap_merge(j->copy.todo, j->bitmap, err);

    if (!ret)
        ret = viv_bitmap_new(j->node, NULL, j->bitmap->granularity, &j->since, err);
    return ret;
}

/* That it is to have: j->bitmap_name. */
static int find_bitmap(struct viv_job *j, struct viv_err *err)
{
    g_autofree char *name = g_steal_pointer(&j->bitmap_name);
    struct viv_bitmap *b = name ? viv_bitmap_find(j->node, name) : NULL;

    if (!name)
        return 0;
    if (!b)
        return viv_fail(err, ENOENT, "Bitmap '%s' could not be found", name);
    if (b->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' is currently in use by another operation and cannot be used", name);
    b->users++;
    j->bitmap = b;
    return 0;
}

/* Whoever undoes what was done to the bitmap in front of the job (transactions) finds it free. */
static void let_go(struct viv_job *j)
{
    if (j->bitmap)
        j->bitmap->users--;
    j->bitmap = NULL;
}

static int start_copying(struct viv_job *j, struct viv_err *err)
{
    int ret = 0;

    if (!j->bitmap) { /* what is written meanwhile belongs to it too */
        viv_bitmap_enable(j->copy.todo, true);
        ret = viv_job_copy_mark(j, j->sync == VIV_SYNC_TOP ? j->node : NULL, j->node->backing, err);
    }
    if (ret)
        return ret;
    viv_graph_begin();
    viv_bitmap_enable(j->copy.todo, false);
    ret = j->bitmap ? take_bitmap(j, err) : 0;
    if (!ret) {
        j->hook.before = before_write;
        viv_node_add_hook(j->node, &j->hook);
        j->hooked = true;
        if (j->keeps)
            viv_node_keep(j->target, j->node);
    }
    viv_graph_end();
    return ret;
}

static int prepare(struct viv_job *j, struct viv_err *err)
{
    int ret = find_bitmap(j, err);

    if (!ret)
        ret = start_copying(j, err);
    if (ret)
        let_go(j);
    return ret;
}

/* A writer clears its bits before it copies: nothing left to do does not mean that all is there. */
static void wait_for_writers(struct viv_job *j)
{
    struct viv_range r;

    viv_range_acquire(&j->copy.ranges, &r, 0, UINT64_MAX, true);
    viv_range_release(&j->copy.ranges, &r);
}

static int run(struct viv_job *j, struct viv_err *err)
{
    uint64_t offset, len;
    int ret;

    if (j->sync == VIV_SYNC_NONE) { /* until it is cancelled, only what is overwritten */
        viv_job_set_progress(j, 0, j->copy.todo->size);
        while (!viv_job_wait(j, 0, 1000000000))
            if ((ret = __atomic_load_n(&j->hook_error, __ATOMIC_ACQUIRE)) != 0)
                return viv_fail_os(err, -ret, "what a write changes could not be kept");
        return 0;
    }
    ret = viv_job_copy_all(j, err);
    wait_for_writers(j);
    if (!ret && !viv_job_stopped(j) && viv_bitmap_next(j->copy.todo, 0, &offset, &len))
        ret = viv_fail(err, EIO, "what a write changes could not be kept");
    if (!ret && (ret = __atomic_load_n(&j->hook_error, __ATOMIC_ACQUIRE)) != 0)
        viv_fail_os(err, -ret, "what a write changes could not be kept");
    if (!ret && (ret = viv_node_flush(j->target)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", j->target->filename);
    return ret;
}

/* What the bitmap says from here on: it was all copied, or nothing was. */
static void give_back_bitmap(struct viv_job *j, bool done)
{
    bool clear = j->bitmap_mode == VIV_BITMAP_ALWAYS || (done && j->bitmap_mode == VIV_BITMAP_ON_SUCCESS);

    if (clear) {
        viv_bitmap_clear(j->bitmap, 0, j->bitmap->size);
        viv_bitmap_merge(j->bitmap, j->since, NULL);
        if (!done) /* always: what could not be copied is still to be */
            viv_bitmap_merge(j->bitmap, j->copy.todo, NULL);
    }
    viv_bitmap_free(j->since);
    j->since = NULL;
}

static void clean(struct viv_job *j, bool done)
{
    viv_graph_begin();
    if (j->hooked && j->keeps) /* a copy of all needs nothing below */
        viv_node_keep_end(j->target, !done || j->sync == VIV_SYNC_NONE);
    if (j->hooked)
        viv_node_remove_hook(j->node, &j->hook);
    if (j->since)
        give_back_bitmap(j, done);
    let_go(j);
    viv_graph_end();
}

static void free_backup(struct viv_job *j)
{
    let_go(j);
    viv_bitmap_free(j->since);
    viv_job_copy_fini(&j->copy);
}

static const struct viv_job_type backup = {
    .name = "backup",
    .block = true,
    .prepare = prepare,
    .run = run,
    .clean = clean,
    .free = free_backup,
};

static int check_bitmap(const struct viv_block_job_opts *o, struct viv_err *err)
{
    bool wanted = o->sync == VIV_SYNC_BITMAP || o->sync == VIV_SYNC_INCREMENTAL;

    if (wanted && !o->bitmap)
        return viv_fail(err, EINVAL, "must provide a valid bitmap name for '%s' sync mode", o->sync == VIV_SYNC_BITMAP ? "bitmap" : "incremental");
    return o->bitmap && !wanted ? viv_fail(err, ENOTSUP, "'bitmap' goes with sync=bitmap and sync=incremental") : 0;
}

static uint32_t cluster_of(const struct viv_node *target)
{
    return (uint32_t)CLAMP(target->granule, CLUSTER, 2u << 20);
}

static int check(const struct viv_block_job_opts *o, struct viv_err *err)
{
    if (o->node == o->target)
        return viv_fail(err, EINVAL, "Source and target cannot be the same");
    if (viv_node_size(o->node) != viv_node_size(o->target))
        return viv_fail(err, EINVAL, "Source and target image have different sizes");
    if (o->compress && (!o->target->drv->pack && !o->target->drv->write_compressed))
        return viv_fail(err, ENOTSUP, "Compression is not supported for this drive (%s)", o->target->drv->name);
    return check_bitmap(o, err);
}

static struct viv_job *make(const struct viv_block_job_opts *o, struct viv_err *err)
{
    struct viv_job *j = check(o, err) ? NULL : viv_job_new(&backup, o, err);
    int ret;

    if (!j)
        return NULL;
    j->bitmap_name = g_strdup(o->bitmap);
    j->keeps = (o->sync == VIV_SYNC_NONE || o->sync == VIV_SYNC_FULL) && viv_node_is_overlay_of(o->target, o->node);
    ret = viv_job_check_chain(j, err);
    if (!ret)
        ret = viv_job_use(j, o->node, VIV_PERM_READ, err);
    if (!ret)
        ret = j->keeps ? viv_job_use_keeping(j, err) : viv_job_use(j, o->target, VIV_PERM_READ | VIV_PERM_WRITE, err);
    if (!ret)
        ret = viv_job_copy_init(j, o->node, o->target, cluster_of(o->target), false, err);
    j->copy.compress = o->compress;
    if (ret)
        viv_job_free(j);
    return ret ? NULL : j;
}

struct viv_job *viv_job_backup_new(const struct viv_block_job_opts *o, struct viv_job_group *g, struct viv_err *err)
{
    struct viv_job *j = make(o, err);

    if (j) {
        viv_job_group_join(g, j);
        viv_job_list(j);
    }
    return j;
}

int viv_job_backup(const struct viv_block_job_opts *o, struct viv_err *err)
{
    struct viv_job *j = make(o, err);
    int ret = j ? find_bitmap(j, err) : -EINVAL;

    if (!ret)
        return viv_job_start(j, err);
    if (j)
        viv_job_free(j);
    return ret;
}
