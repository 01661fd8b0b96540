/* Snapshots of disks in use: an overlay takes the place of the image, which stays as it is below it; or the image keeps its state in itself. */
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "block/graph.h"
#include "block/image.h"
#include "block/job.h"
#include "host/clock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* --- an overlay --- */

struct overlay {
    struct viv_node *old, *top;
    char *path; /* of a file that was made for it; NULL: none */
    bool writable; /* the image below was, until now */
    bool stays;    /* it could not be undone: the disk's users need it */
};

static const char *label(const struct viv_node *n)
{
    return n->name ? n->name : n->filename;
}

static int check_old(const struct viv_node *n, struct viv_err *err)
{
    const char *job;

    if (n->overlays)
        return viv_fail(err, EBUSY, "Node '%s' is busy: node is used as backing hd of '%s'", label(n), label(n->overlay[0]));
    if (n->parents)
        return viv_fail(err, EBUSY, "Node '%s' is busy: it is the file of another node", label(n));
    if (viv_job_has(n, &job))
        return viv_fail(err, EBUSY, "Node '%s' is busy: block device is in use by block job '%s'", label(n), job);
    return n->drv->protocol && !n->drv->filter ? viv_fail(err, EINVAL, "Node '%s' is a bare file: put an image on top of it", label(n)) : 0;
}

static int check_overlay(const struct viv_node *old, const struct viv_node *top, struct viv_err *err)
{
    if (top == old || top->users || top->parents || top->overlays)
        return viv_fail(err, EBUSY, "The overlay is already in use");
    if (!top->drv->backing)
        return viv_fail(err, EINVAL, "The overlay does not support backing images");
    if (top->backing)
        return viv_fail(err, EINVAL, "The overlay already has a backing image");
    if (top->read_only)
        return viv_fail(err, EACCES, "Block node is read-only");
    return viv_node_size(top) == viv_node_size(old) ? 0
               : viv_fail(err, EINVAL, "The overlay has %llu bytes, the disk %llu", (unsigned long long)viv_node_size(top),
                          (unsigned long long)viv_node_size(old));
}

static int take(struct viv_mon_action *a, struct viv_node *old, struct viv_node *top, struct viv_err *err)
{
    struct overlay *o = a->state;
    int ret = check_old(old, err);

    if (!ret)
        ret = check_overlay(old, top, err);
    if (ret)
        return ret;
    viv_node_get(old);
    viv_node_get(top);
    o->old = old;
    o->top = top;
    return 0;
}

static void put_back(struct overlay *o)
{
    struct viv_node *was = viv_node_swap_backing(o->top, NULL);

    viv_node_put(&was);
}

static int change_overlay(struct viv_mon_action *a, struct viv_err *err)
{
    struct overlay *o = a->state;
    struct viv_err why = VIV_ERR_INIT;
    int ret;

    if (o->top->backing || o->top->users || o->old->parents || o->old->overlays) /* by an action in front of this one */
        return viv_fail(err, EBUSY, "The overlay is already in use");
    if ((ret = viv_node_flush(o->old)) != 0) /* the guest's later flushes go to the overlay alone */
        return viv_fail_os(err, -ret, "'%s' could not be written completely", o->old->filename);
    viv_node_swap_backing(o->top, o->old);
    ret = o->top->drv->check_backing ? o->top->drv->check_backing(o->top, err) : 0;
    if (!ret)
        ret = viv_graph_move_users(o->old, o->top, err);
    o->writable = !o->old->read_only;
    if (!ret && o->writable && (ret = viv_node_set_read_only(o->old, true, &why)) != 0) {
        o->writable = false;
        if (ret == -ENOTSUP || ret == -EBUSY) /* it stays as it is: nobody writes it any more */
            ret = 0;
        else
            viv_fail(err, -ret, "%s", why.text);
        if (ret)
            viv_graph_move_users(o->top, o->old, NULL);
    }
    if (ret)
        put_back(o);
    return ret;
}

static void undo_overlay(struct viv_mon_action *a)
{
    struct overlay *o = a->state;
    struct viv_err err = VIV_ERR_INIT;

    if (o->top->overlays) { /* another snapshot of the list, which stays */
        o->stays = true;
        return;
    }
    if ((o->writable && viv_node_set_read_only(o->old, false, &err)) || viv_graph_move_users(o->top, o->old, &err)) {
        viv_mon_undo_failed(a->type->name, &err);
        o->stays = true;
        return;
    }
    put_back(o);
}

/* Nobody but its users keeps an overlay that was made here. */
static int end_overlay(struct viv_mon_action *a, bool done, struct viv_err *err)
{
    struct overlay *o = a->state;

    viv_node_put(&o->top);
    viv_node_put(&o->old);
    if (!done && o->path && !o->stays)
        viv_image_new_undo(o->path);
    g_free(o->path);
    return 0;
}

/* --- blockdev-snapshot: the overlay is there --- */

static const struct viv_opt_def snapshot_args[] = {
    {.name = "node", .type = VIV_OPT_STR, .required = true},
    {.name = "overlay", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

static int begin_snapshot(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err)
{
    struct viv_node *old = NULL, *top = NULL;
    struct viv_opts *o;
    int ret = viv_mon_take_opts(a->type->name, snapshot_args, raw, &o, err);
    const char *node = ret ? NULL : viv_opts_str(o, "node"), *overlay = ret ? NULL : viv_opts_str(o, "overlay");

    if (!ret && !(old = viv_mon_find_node(node)))
        ret = viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", node, node);
    if (!ret && !(top = viv_mon_find_node(overlay)))
        ret = viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", overlay, overlay);
    if (!ret)
        ret = take(a, old, top, err);
    viv_opts_free(o);
    return ret;
}

const struct viv_mon_action_type viv_mon_action_snapshot = {
    .name = "blockdev-snapshot",
    .size = sizeof(struct overlay),
    .begin = begin_snapshot,
    .change = change_overlay,
    .undo = undo_overlay,
    .end = end_overlay,
};

/* --- blockdev-snapshot-sync: it is made --- */

const char *const viv_mon_new_image_modes[] = {"existing", "absolute-paths", NULL};

static const struct viv_opt_def sync_args[] = {
    {.name = "device", .type = VIV_OPT_STR},
    {.name = "node-name", .type = VIV_OPT_STR},
    {.name = "snapshot-file", .type = VIV_OPT_STR, .required = true},
    {.name = "snapshot-node-name", .type = VIV_OPT_STR},
    {.name = "format", .type = VIV_OPT_STR, .def = "qcow2"},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = viv_mon_new_image_modes, .def = "absolute-paths"},
    VIV_OPT_END,
};

static int find_format(const char *name, const struct viv_blk_driver **out, struct viv_err *err)
{
    *out = viv_blk_driver_find(name);
    return *out && !(*out)->protocol ? 0 : viv_fail(err, EINVAL, "Unknown file format '%s'", name);
}

static int check_names(struct viv_opts *o, struct viv_err *err)
{
    const char *name = viv_opts_str(o, "snapshot-node-name");

    if (viv_opts_str(o, "node-name") && !name)
        return viv_fail(err, EINVAL, "New overlay node-name missing");
    return name && viv_node_find(name) ? viv_fail(err, EEXIST, "New overlay node-name already in use") : 0;
}

/* The device lock is not needed, and a file can be far away. */
static int make_overlay(struct viv_mon_action *a, struct viv_opts *o, struct viv_node *old, const struct viv_blk_driver *drv,
                        struct viv_node **top, struct viv_err *err)
{
    const char *path = viv_opts_str(o, "snapshot-file");
    struct viv_node_opts no = {.no_backing = true, .direct = old->direct, .no_flush = old->no_flush, .unmap = old->unmap,
                               .detect_zeroes = old->detect_zeroes, .node_name = viv_opts_str(o, "snapshot-node-name")};
    g_autofree char *below = viv_node_backing_name(path, old);
    struct viv_create c = {.size = viv_node_size(old), .backing_file = below, .backing_fmt = old->drv->name};
    bool fresh = false;
    int ret = 0;

    if (strcmp(viv_opts_str(o, "mode"), "existing") != 0)
        ret = viv_image_new(path, drv, &c, &fresh, err);
    if (fresh)
        ((struct overlay *)a->state)->path = g_strdup(path);
    return ret ? ret : viv_node_open_image(path, drv->name, &no, top, err);
}

static int begin_sync(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err)
{
    const struct viv_blk_driver *drv;
    struct viv_node *old, *top = NULL;
    struct viv_opts *o;
    int ret = viv_mon_take_opts(a->type->name, sync_args, raw, &o, err);

    if (!ret)
        ret = viv_mon_take_node(viv_opts_str(o, "device"), viv_opts_str(o, "node-name"), &old, err);
    if (!ret)
        ret = check_names(o, err);
    if (!ret)
        ret = check_old(old, err);
    if (!ret)
        ret = find_format(viv_opts_str(o, "format"), &drv, err);
    if (!ret && !drv->backing)
        ret = viv_fail(err, ENOTSUP, "Backing file not supported for file format '%s'", drv->name);
    if (!ret)
        ret = make_overlay(a, o, old, drv, &top, err);
    if (!ret)
        ret = take(a, old, top, err);
    viv_node_put(&top);
    viv_opts_free(o);
    return ret;
}

const struct viv_mon_action_type viv_mon_action_snapshot_sync = {
    .name = "blockdev-snapshot-sync",
    .size = sizeof(struct overlay),
    .begin = begin_sync,
    .change = change_overlay,
    .undo = undo_overlay,
    .end = end_overlay,
};

/* --- inside the image --- */

struct internal {
    struct viv_node *n;
    char *name, *device, *id;
};

static const struct viv_opt_def internal_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

/* That of this id, and this name; either may be NULL. *out is NULL when there is none; else strings are the caller's (viv_snapshot_free(out, 1)). */
static int find_snapshot(struct viv_node *n, const char *id, const char *name, struct viv_snapshot **out, struct viv_err *err)
{
    struct viv_snapshot *list = NULL;
    unsigned count = 0;
    int ret = n->drv->snapshots->list(n, &list, &count, err);

    *out = NULL;
    for (unsigned i = 0; i < count && !*out; i++) {
        if ((id && strcmp(list[i].id, id) != 0) || (name && strcmp(list[i].name, name) != 0))
            continue;
        *out = g_memdup2(&list[i], sizeof(list[i]));
        (*out)->id = g_strdup(list[i].id);
        (*out)->name = g_strdup(list[i].name);
    }
    viv_snapshot_free(list, count);
    return ret;
}

static int begin_internal(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err)
{
    struct internal *s = a->state;
    const char *job;
    struct viv_opts *o;
    int ret = viv_mon_take_opts(a->type->name, internal_args, raw, &o, err);

    if (!ret) {
        s->name = g_strdup(viv_opts_str(o, "name"));
        s->device = g_strdup(viv_opts_str(o, "device"));
        s->n = viv_mon_find_node(s->device);
    }
    viv_opts_free(o);
    if (ret)
        return ret;
    if (!s->n)
        return viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", s->device, s->device);
    viv_node_get(s->n);
    if (s->n->overlays || s->n->parents)
        return viv_fail(err, EINVAL, "Need a root block node");
    if (s->n->read_only)
        return viv_fail(err, EACCES, "Device '%s' is read only", s->device);
    if (!s->n->drv->snapshots)
        return viv_fail(err, ENOTSUP, "Block format '%s' used by device '%s' does not support internal snapshots", s->n->drv->name, s->device);
    if (!*s->name)
        return viv_fail(err, EINVAL, "Name is empty");
    return viv_job_has(s->n, &job) ? viv_fail(err, EBUSY, "Node '%s' is busy: block device is in use by block job '%s'", s->device, job) : 0;
}

static int change_internal(struct viv_mon_action *a, struct viv_err *err)
{
    struct internal *s = a->state;
    struct viv_snapshot *there, new = {.name = s->name, .disk_size = viv_node_size(s->n), .icount = UINT64_MAX,
                                       .vm_clock_nsec = (uint64_t)viv_clock_ns(VIV_CLOCK_GUEST)};
    struct timespec now;
    int ret = find_snapshot(s->n, NULL, s->name, &there, err);

    if (!ret && there)
        ret = viv_fail(err, EEXIST, "Snapshot with name '%s' already exists on device '%s'", s->name, s->device);
    viv_snapshot_free(there, there ? 1 : 0);
    if (ret)
        return ret;
    clock_gettime(CLOCK_REALTIME, &now);
    new.date_sec = (uint32_t)now.tv_sec;
    new.date_nsec = (uint32_t)now.tv_nsec;
    ret = s->n->drv->snapshots->create(s->n, &new, err);
    if (!ret && !find_snapshot(s->n, NULL, s->name, &there, NULL) && there) {
        s->id = g_strdup(there->id);
        viv_snapshot_free(there, 1);
    }
    return ret;
}

static void undo_internal(struct viv_mon_action *a)
{
    struct internal *s = a->state;
    struct viv_err err = VIV_ERR_INIT;

    if (s->id && s->n->drv->snapshots->remove(s->n, s->id, &err))
        viv_mon_undo_failed(a->type->name, &err);
}

static int end_internal(struct viv_mon_action *a, bool done, struct viv_err *err)
{
    struct internal *s = a->state;

    viv_node_put(&s->n);
    g_free(s->name);
    g_free(s->device);
    g_free(s->id);
    return 0;
}

const struct viv_mon_action_type viv_mon_action_snapshot_internal = {
    .name = "blockdev-snapshot-internal-sync",
    .size = sizeof(struct internal),
    .begin = begin_internal,
    .change = change_internal,
    .undo = undo_internal,
    .end = end_internal,
};

/* --- the commands --- */

static int snapshot(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    return viv_mon_act(&viv_mon_action_snapshot, raw, err);
}

static int snapshot_sync(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    return viv_mon_act(&viv_mon_action_snapshot_sync, raw, err);
}

static int snapshot_internal(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    return viv_mon_act(&viv_mon_action_snapshot_internal, raw, err);
}

static const struct viv_opt_def delete_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "id", .type = VIV_OPT_STR},
    {.name = "name", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

struct removal {
    struct viv_node *n;
    const char *id;
};

static int remove_it(void *opaque, struct viv_err *err)
{
    const struct removal *r = opaque;

    return r->n->drv->snapshots->remove(r->n, r->id, err);
}

static json_t *info(const struct viv_snapshot *s)
{
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "id", s->id, "vm-state-size", (json_int_t)s->vm_state_size, "date-sec",
                          (json_int_t)s->date_sec, "date-nsec", (json_int_t)s->date_nsec, "vm-clock-sec",
                          (json_int_t)(s->vm_clock_nsec / 1000000000), "vm-clock-nsec", (json_int_t)(s->vm_clock_nsec % 1000000000));
    g_autofree char *clean = g_utf8_make_valid(s->name, -1);

    json_object_set_new(o, "name", json_string(clean));
    if (s->icount != UINT64_MAX)
        json_object_set_new(o, "icount", json_integer((json_int_t)s->icount));
    return o;
}

static int delete_internal(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const char *device = viv_opts_str(o, "device"), *id = viv_opts_str(o, "id"), *name = viv_opts_str(o, "name"), *job;
    struct removal r = {.n = viv_mon_find_node(device)};
    struct viv_snapshot *s = NULL;
    int ret = viv_mon_check_quiet(err);

    if (ret)
        return ret;
    if (!r.n)
        return viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", device, device);
    if (!id && !name)
        return viv_fail(err, EINVAL, "Name or id must be provided");
    if (viv_job_has(r.n, &job))
        return viv_fail(err, EBUSY, "Node '%s' is busy: block device is in use by block job '%s'", device, job);
    if (!r.n->drv->snapshots)
        return viv_fail(err, ENOTSUP, "Failed to get a snapshot list: Operation not supported");
    viv_graph_enter();
    ret = find_snapshot(r.n, id, name, &s, err);
    viv_graph_leave();
    if (!ret && !s)
        ret = viv_fail(err, ENOENT, "Snapshot with id '%s' and name '%s' does not exist on device '%s'", id ? id : "null", name ? name : "null",
                       device);
    if (ret)
        return ret;
    r.id = s->id;
    viv_node_get(r.n);
    ret = viv_graph_run(remove_it, &r, err);
    viv_node_put(&r.n);
    if (!ret)
        *result = info(s);
    viv_snapshot_free(s, 1);
    return ret;
}

const struct viv_mon_cmd viv_mon_disk_snapshots[] = {
    {.qmp = "blockdev-snapshot", .help = "put an overlay that is there on top of a disk", .takes = "BlockdevSnapshot", .raw = snapshot},
    {.qmp = "blockdev-snapshot-sync", .help = "put a new overlay on top of a disk", .takes = "BlockdevSnapshotSync", .raw = snapshot_sync},
    {.qmp = "blockdev-snapshot-internal-sync", .help = "keep a disk as it is now inside its image", .takes = "BlockdevSnapshotInternal", .raw = snapshot_internal},
    {.qmp = "blockdev-snapshot-delete-internal-sync", .help = "delete a snapshot inside a disk's image", .args = delete_args, .fn = delete_internal, .returns = "SnapshotInfo"},
    {0},
};
