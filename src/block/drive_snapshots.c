/* Disks that nobody can write, and flash chips, whose contents are part of their state, are left out. */
#include "block/drive_snapshots.h"

#include "block/blk.h"
#include "block/graph.h"
#include "block/image.h"
#include "block/job.h"
#include "host/lock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static struct viv_drive *next_disk(struct viv_drive *d)
{
    do {
        d = viv_drive_next(d);
    } while (d && (!d->blk || !viv_blk_writable(d->blk) || d->in_state));
    return d;
}

#define FOR_DISKS(d) for (struct viv_drive *d = next_disk(NULL); d; d = next_disk(d))

static struct viv_node *node_of(const struct viv_drive *d)
{
    return viv_blk_node(d->blk);
}

static const struct viv_snapshot_ops *ops_of(const struct viv_drive *d)
{
    return node_of(d)->drv->snapshots;
}

/* Can all of them? At least one is needed. */
int viv_drives_can_snapshot(struct viv_err *err)
{
    const char *job;
    bool any = false;

    if (viv_graph_check_quiet(err))
        return -EBUSY;
    FOR_DISKS(d) {
        if (viv_job_has(node_of(d), &job))
            return viv_fail(err, EBUSY, "Device '%s' is in use by block job '%s'", d->id, job);
        if (!ops_of(d) || !ops_of(d)->state_area)
            return viv_fail(err, ENOTSUP, "Device '%s' is writable but does not support snapshots: its image is %s; use qcow2, or readonly=on",
                            d->id, viv_blk_format(d->blk));
        any = true;
    }
    return any ? 0 : viv_fail(err, ENODEV, "No block device can accept snapshots: the machine needs a writable disk in a qcow2 image");
}

/* Block requests of others than the guest (exports, jobs) wait meanwhile. */
static int drained(struct viv_drive *d, int (*fn)(struct viv_node *n, const void *arg, struct viv_err *err), const void *arg,
                   struct viv_err *err)
{
    int rc;

    viv_dev_unlock();
    viv_graph_begin();
    rc = fn(node_of(d), arg, err);
    viv_graph_end();
    viv_dev_lock();
    if (rc < 0)
        viv_err_prefix(err, "disk '%s'", d->id);
    return rc;
}

/* While nobody changes what is looked into. */
static int snapshots_of(struct viv_drive *d, struct viv_snapshot **list, unsigned *count, struct viv_err *err)
{
    int rc;

    viv_graph_enter();
    rc = ops_of(d)->list(node_of(d), list, count, err);
    viv_graph_leave();
    return rc;
}

/* The newest of that name: *out is one of the list, which the caller frees, or NULL. *old: how many older ones there are. */
static int find(struct viv_drive *d, const char *name, struct viv_snapshot **list, unsigned *count, struct viv_snapshot **out, unsigned *old,
                struct viv_err *err)
{
    int rc = snapshots_of(d, list, count, err);

    *out = NULL;
    *old = 0;
    for (unsigned i = 0; !rc && i < *count; i++) {
        if (strcmp((*list)[i].name, name))
            continue;
        *old += *out != NULL;
        *out = &(*list)[i];
    }
    return rc;
}

/* A snapshot of another size: the guest's device is part of what is loaded, others on the disk must be told. */
static int check_size(struct viv_drive *d, const struct viv_snapshot *s, struct viv_err *err)
{
    struct viv_node *n = node_of(d);

    return s->disk_size == viv_node_size(n) ? 0 : viv_blk_check_resize(n, s->disk_size, d->blk, err);
}

/* 1: it has it; *state: bytes of VM state with it; *when: all disks of one savevm have the same. */
static int has(struct viv_drive *d, const char *name, bool to_load, uint64_t *state, uint64_t *when, struct viv_err *err)
{
    struct viv_snapshot *list = NULL, *s;
    unsigned count = 0, old;
    int rc = find(d, name, &list, &count, &s, &old, err);

    *state = s ? s->vm_state_size : 0;
    *when = s ? (uint64_t)s->date_sec << 32 | s->date_nsec : 0;
    if (!rc && s && to_load)
        rc = check_size(d, s, err);
    if (!rc)
        rc = s != NULL;
    viv_snapshot_free(list, count);
    return rc;
}

static int create(struct viv_node *n, const void *arg, struct viv_err *err)
{
    return n->drv->snapshots->create(n, arg, err);
}

static int apply(struct viv_node *n, const void *id, struct viv_err *err)
{
    return n->drv->snapshots->apply(n, id, err);
}

static int remove_id(struct viv_node *n, const void *id, struct viv_err *err)
{
    return n->drv->snapshots->remove(n, id, err);
}

/* By name: numbers are names here. 1: there was none. */
static int with_id(struct viv_drive *d, const char *name, int (*fn)(struct viv_node *n, const void *id, struct viv_err *err),
                   struct viv_err *err)
{
    struct viv_snapshot *list = NULL, *s;
    unsigned count = 0, old;
    int rc = find(d, name, &list, &count, &s, &old, err);

    if (!rc)
        rc = s ? drained(d, fn, s->id, err) : 1;
    viv_snapshot_free(list, count);
    return rc;
}

/* Of those of one name on a disk the newest stays. */
static int remove_old(struct viv_drive *d, const char *name, struct viv_err *err)
{
    struct viv_snapshot *list = NULL, *newest;
    unsigned count = 0, old;
    int rc = find(d, name, &list, &count, &newest, &old, err);

    for (unsigned i = 0; i < count && !rc; i++) {
        if (&list[i] != newest && !strcmp(list[i].name, name))
            rc = drained(d, remove_id, list[i].id, err);
    }
    viv_snapshot_free(list, count);
    return rc;
}

int viv_drives_snapshot(const char *name, uint64_t state, uint64_t clock_ns, struct viv_err *err)
{
    struct viv_err ignored = VIV_ERR_INIT;
    struct timespec now;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    FOR_DISKS(d) {
        struct viv_snapshot s = {.name = (char *)name, .disk_size = viv_blk_size(d->blk), .date_sec = (uint32_t)now.tv_sec,
                                 .date_nsec = (uint32_t)now.tv_nsec, .vm_clock_nsec = clock_ns,
                                 .icount = UINT64_MAX, .vm_state_size = d == next_disk(NULL) ? state : 0};

        rc = drained(d, create, &s, err);
        if (rc < 0) {
            for (struct viv_drive *e = next_disk(NULL); e != d; e = next_disk(e))
                with_id(e, name, remove_id, &ignored);
            viv_err_clear(&ignored);
            return rc;
        }
    }
    FOR_DISKS(d) {
        if ((rc = remove_old(d, name, err)) < 0)
            break;
    }
    return rc;
}

int viv_drives_have_snapshot(const char *name, struct viv_drive **holder, uint64_t *size, struct viv_err *err)
{
    int rc = viv_drives_can_snapshot(err);
    uint64_t first = 0;
    bool any = false;

    *holder = NULL;
    if (rc < 0)
        return rc;
    FOR_DISKS(d) {
        uint64_t state, when;

        rc = has(d, name, true, &state, &when, err);
        if (rc < 0)
            return rc;
        if (!rc)
            return viv_fail(err, ENOENT, "Device '%s' does not have the requested snapshot '%s'", d->id, name);
        if (any && when != first) /* a savevm over an older one was cut short */
            return viv_fail(err, EINVAL, "snapshot '%s' of device '%s' is of another moment than the other disks'", name, d->id);
        first = when;
        any = true;
        if (state && !*holder) {
            *holder = d;
            *size = state;
        }
    }
    return *holder ? 0 : viv_fail(err, EINVAL, "snapshot '%s' holds disks only: revert to it offline, with viv-img snapshot -a", name);
}

int viv_drives_revert(const char *name, struct viv_err *err)
{
    int rc = 0;

    FOR_DISKS(d) {
        uint64_t was = viv_node_size(node_of(d));

        if ((rc = with_id(d, name, apply, err)) < 0)
            break;
        if (viv_node_size(node_of(d)) != was)
            viv_blk_tell_resized(node_of(d), d->blk);
    }
    return rc;
}

struct viv_drive *viv_drives_first(void)
{
    return next_disk(NULL);
}

struct viv_node *viv_drive_node(const struct viv_drive *d)
{
    return node_of(d);
}

int viv_drives_delete_snapshot(const char *name, struct viv_err *err)
{
    bool any = false;

    if (viv_graph_check_quiet(err))
        return -EBUSY;
    FOR_DISKS(d) {
        int rc = ops_of(d) ? 0 : 1;

        while (!rc) {
            rc = with_id(d, name, remove_id, err);
            any |= !rc;
        }
        if (rc < 0)
            return rc;
    }
    return any ? 0 : viv_fail(err, ENOENT, "no disk has a snapshot '%s'", name);
}

static bool on_all(const char *name)
{
    struct viv_err err = VIV_ERR_INIT;
    uint64_t state, when;
    bool all = true;

    FOR_DISKS(d)
        all &= ops_of(d) && has(d, name, false, &state, &when, &err) == 1;
    viv_err_clear(&err);
    return all;
}

/* Those of `d` that are on all disks, or not. */
static int list_of(struct viv_drive *d, bool whole, const char *title, GString *out, struct viv_err *err)
{
    struct viv_snapshot *list = NULL;
    unsigned count = 0;
    int rc = snapshots_of(d, &list, &count, err);

    for (unsigned i = 0; !rc && i < count; i++) {
        g_autofree char *line = viv_snapshot_line(&list[i], whole ? "--" : list[i].id), *heading = viv_snapshot_heading();

        if (on_all(list[i].name) != whole)
            continue;
        if (title)
            g_string_append_printf(out, "%s%s", title, heading);
        title = NULL;
        g_string_append(out, line);
    }
    viv_snapshot_free(list, count);
    return rc;
}

int viv_drives_list_snapshots(GString *out, struct viv_err *err)
{
    struct viv_drive *first = next_disk(NULL);
    int rc;

    if (viv_graph_check_quiet(err))
        return -EBUSY;
    while (first && !ops_of(first))
        first = next_disk(first);
    if (!first)
        return viv_fail(err, ENODEV, "No available block device supports snapshots");
    rc = list_of(first, true, "List of snapshots present on all disks:\n", out, err);
    FOR_DISKS(d) {
        g_autofree char *title = g_strdup_printf("\nList of partial (non-loadable) snapshots on '%s':\n", d->id);

        if (!rc && ops_of(d))
            rc = list_of(d, false, title, out, err);
    }
    if (!rc && !out->len)
        g_string_append(out, "There is no snapshot available.\n");
    return rc;
}
