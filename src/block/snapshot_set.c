#include "block/snapshot_set.h"

#include "block/blk.h"
#include "block/graph.h"
#include "block/image.h"
#include "block/job.h"
#include "block/registry.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>

static const struct viv_snapshot_ops *ops_of(const struct viv_snapshot_disk *d)
{
    return d->node->drv->snapshots;
}

/* --- which --- */

static void add(struct viv_snapshot_set *s, struct viv_node *n, const char *name, const struct viv_blk *blk)
{
    s->disk = g_renew(struct viv_snapshot_disk, s->disk, s->count + 1);
    s->disk[s->count++] = (struct viv_snapshot_disk){n, g_strdup(name), blk};
    viv_node_get(n);
}

/* Disks that nobody can write, and flash chips, whose contents are part of their state, are left out. */
static void add_machine(struct viv_snapshot_set *s)
{
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d))
        if (d->blk && viv_blk_writable(d->blk) && !d->in_state)
            add(s, viv_blk_node(d->blk), d->id, d->blk);
}

/* The guest's handle on it. Through filters *above is true: they know the disk's size by themselves. */
static const struct viv_blk *handle_on(const struct viv_node *n, bool *above)
{
    *above = false;
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d)) {
        const struct viv_node *top = d->blk ? viv_blk_node(d->blk) : NULL;

        for (const struct viv_node *m = top; m; m = m->drv->filter ? m->file : NULL)
            if (m == n) {
                *above = m != top;
                return d->blk;
            }
    }
    return NULL;
}

static int add_named(struct viv_snapshot_set *s, const char *name, struct viv_err *err)
{
    struct viv_node *n = viv_node_find(name);
    bool above;

    if (!n)
        return viv_fail(err, ENOENT, "No block device node '%s'", name);
    for (unsigned i = 0; i < s->count; i++)
        if (s->disk[i].node == n)
            return 0;
    add(s, n, name, handle_on(n, &above));
    return 0;
}

static int add_wished(struct viv_snapshot_set *s, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    int rc = 0;

    for (const char *const *name = w->devices; *name && !rc; name++)
        rc = add_named(s, *name, err);
    if (!rc && !s->count)
        rc = viv_fail(err, EINVAL, "At least one device is required for snapshot");
    return rc;
}

static int find_holder(struct viv_snapshot_set *s, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    const struct viv_node *n = viv_node_find(w->vmstate);

    for (s->holder = 0; s->holder < s->count; s->holder++)
        if (s->disk[s->holder].node == n)
            return 0;
    return viv_fail(err, ENOENT, "vmstate block device '%s' does not exist%s", w->vmstate, n ? " among the devices" : "");
}

/* What nodes above it keep in memory of it would be of another time than the node. */
static int check_place(const struct viv_snapshot_disk *d, struct viv_err *err)
{
    bool above;

    if (d->node->overlays)
        return viv_fail(err, EBUSY, "Device '%s' is the backing image of another one", d->name);
    if (d->node->parents > 1 || (d->node->parents && !(handle_on(d->node, &above) && above)))
        return viv_fail(err, EBUSY, "Device '%s' does not support snapshots while it is below another node", d->name);
    return 0;
}

static int check_disk(const struct viv_snapshot_disk *d, struct viv_err *err)
{
    const char *job;

    if (viv_job_has(d->node, &job))
        return viv_fail(err, EBUSY, "Device '%s' is in use by block job '%s'", d->name, job);
    if (!ops_of(d) || !ops_of(d)->state_area)
        return viv_fail(err, ENOTSUP, "Device '%s' is writable but does not support snapshots: its image is %s; use qcow2, or readonly=on",
                        d->name, d->node->drv->name);
    if (d->node->read_only)
        return viv_fail(err, EACCES, "Device '%s' does not support snapshots: it is read-only", d->name);
    return check_place(d, err);
}

bool viv_snapshot_set_must_wait(void)
{
    return viv_graph_check_quiet(NULL);
}

int viv_snapshot_set_init(struct viv_snapshot_set *s, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    int rc = viv_graph_check_quiet(err);

    *s = (struct viv_snapshot_set){.named = w};
    if (!rc && w)
        rc = add_wished(s, w, err);
    else if (!rc)
        add_machine(s);
    for (unsigned i = 0; i < s->count && !rc; i++)
        rc = check_disk(&s->disk[i], err);
    if (!rc && w && w->vmstate)
        rc = find_holder(s, w, err);
    if (!rc && !s->count)
        rc = viv_fail(err, ENODEV, "No block device can accept snapshots: the machine needs a writable disk in a qcow2 image");
    if (rc)
        viv_snapshot_set_fini(s);
    return rc;
}

int viv_snapshot_set_init_able(struct viv_snapshot_set *s, struct viv_err *err)
{
    struct viv_snapshot_set all = {0};
    int rc = viv_graph_check_quiet(err);

    *s = (struct viv_snapshot_set){0};
    if (rc)
        return rc;
    add_machine(&all);
    for (unsigned i = 0; i < all.count; i++)
        if (ops_of(&all.disk[i]))
            add(s, all.disk[i].node, all.disk[i].name, all.disk[i].blk);
    viv_snapshot_set_fini(&all);
    return 0;
}

void viv_snapshot_set_fini(struct viv_snapshot_set *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        viv_node_put(&s->disk[i].node);
        g_free(s->disk[i].name);
    }
    g_free(s->disk);
    *s = (struct viv_snapshot_set){0};
}

/* --- one disk --- */

/* Block requests of others than the guest (exports, jobs) wait meanwhile. */
static int drained(struct viv_snapshot_disk *d, int (*fn)(struct viv_node *n, const void *arg, struct viv_err *err), const void *arg,
                   struct viv_err *err)
{
    int rc;

    viv_dev_unlock();
    viv_graph_begin();
    rc = fn(d->node, arg, err);
    viv_graph_end();
    viv_dev_lock();
    if (rc < 0)
        viv_err_prefix(err, "disk '%s'", d->name);
    return rc;
}

/* All disks of one savevm have the same. */
static uint64_t moment_of(const struct viv_snapshot *s)
{
    return (uint64_t)s->date_sec << 32 | s->date_nsec;
}

static int list(struct viv_snapshot_disk *d, struct viv_snapshot **out, unsigned *count, struct viv_err *err)
{
    int rc;

    viv_graph_enter(); /* nobody changes what is looked into */
    rc = ops_of(d)->list(d->node, out, count, err);
    viv_graph_leave();
    return rc;
}

/* The newest of that name, of one moment (NULL: of any): *out is one of the list, which the caller frees, or NULL. */
static int find(struct viv_snapshot_disk *d, const char *name, const uint64_t *moment, struct viv_snapshot **all, unsigned *count,
                struct viv_snapshot **out, struct viv_err *err)
{
    int rc = list(d, all, count, err);

    *out = NULL;
    for (unsigned i = 0; !rc && i < *count; i++)
        if (!strcmp((*all)[i].name, name) && (!moment || moment_of(&(*all)[i]) == *moment))
            *out = &(*all)[i];
    return rc;
}

/* A snapshot of another size: the guest's device is part of what is loaded, others on the disk must be told. */
static int check_size(struct viv_snapshot_disk *d, const struct viv_snapshot *s, struct viv_err *err)
{
    if (s->disk_size == viv_node_size(d->node))
        return 0;
    if (d->node->parents)
        return viv_fail(err, EBUSY, "Device '%s' had another size, and the node above it cannot be told", d->name);
    return viv_blk_check_resize(d->node, s->disk_size, d->blk, err);
}

static int missing(const struct viv_snapshot_set *s, const struct viv_snapshot_disk *d, const char *name, struct viv_err *err)
{
    if (s->named)
        return viv_fail(err, ENOENT, "Snapshot '%s' does not exist in one or more devices: '%s' has none", name, d->name);
    return viv_fail(err, ENOENT, "Device '%s' does not have the requested snapshot '%s'", d->name, name);
}

/* *state: bytes of VM state with the one that was found. */
static int check_found(struct viv_snapshot_set *s, struct viv_snapshot_disk *d, const char *name, uint64_t *state, struct viv_err *err)
{
    struct viv_snapshot *all = NULL, *found;
    unsigned count = 0;
    int rc = find(d, name, &s->moment, &all, &count, &found, err);

    if (!rc && !found)
        rc = missing(s, d, name, err);
    *state = rc ? 0 : found->vm_state_size;
    if (!rc)
        rc = check_size(d, found, err);
    viv_snapshot_free(all, count);
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

static int drop_state(struct viv_node *n, const void *len, struct viv_err *err)
{
    int rc = n->drv->snapshots->state_drop(n, *(const uint64_t *)len);

    return rc < 0 ? viv_fail_os(err, -rc, "cannot forget VM state in '%s'", n->filename) : 0;
}

static int remove_id(struct viv_node *n, const void *id, struct viv_err *err)
{
    return n->drv->snapshots->remove(n, id, err);
}

/* By name: numbers are names here. 1: there was none. */
static int with_id(struct viv_snapshot_disk *d, const char *name, const uint64_t *moment,
                   int (*fn)(struct viv_node *n, const void *id, struct viv_err *err), struct viv_err *err)
{
    struct viv_snapshot *all = NULL, *s;
    unsigned count = 0;
    int rc = find(d, name, moment, &all, &count, &s, err);

    if (!rc)
        rc = s ? drained(d, fn, s->id, err) : 1;
    viv_snapshot_free(all, count);
    return rc;
}

/* Of those of one name on a disk the newest stays. */
static int remove_old(struct viv_snapshot_disk *d, const char *name, struct viv_err *err)
{
    struct viv_snapshot *all = NULL, *newest;
    unsigned count = 0;
    int rc = find(d, name, NULL, &all, &count, &newest, err);

    for (unsigned i = 0; i < count && !rc; i++) {
        if (&all[i] != newest && !strcmp(all[i].name, name))
            rc = drained(d, remove_id, all[i].id, err);
    }
    viv_snapshot_free(all, count);
    return rc;
}

/* --- all of them --- */

int viv_snapshot_set_check_new(struct viv_snapshot_set *s, const char *name, struct viv_err *err)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct viv_snapshot *all = NULL, *found;
        unsigned count = 0;
        int rc = find(&s->disk[i], name, NULL, &all, &count, &found, err);

        viv_snapshot_free(all, count);
        if (rc < 0)
            return rc;
        if (found)
            return viv_fail(err, EEXIST, "Snapshot '%s' already exists in one or more devices", name);
    }
    return 0;
}

static int create_each(struct viv_snapshot_set *s, struct viv_snapshot *new, uint64_t state, struct viv_err *err)
{
    struct viv_err ignored = VIV_ERR_INIT;

    for (unsigned i = 0; i < s->count; i++) {
        int rc;

        new->disk_size = viv_node_size(s->disk[i].node);
        new->vm_state_size = i == s->holder ? state : 0;
        rc = drained(&s->disk[i], create, new, err);
        if (!rc)
            continue;
        while (i-- > 0) {
            with_id(&s->disk[i], new->name, NULL, remove_id, &ignored);
            viv_err_clear(&ignored);
        }
        return rc;
    }
    return 0;
}

int viv_snapshot_set_create(struct viv_snapshot_set *s, const char *name, uint64_t state, uint64_t clock_ns, struct viv_err *err)
{
    struct viv_snapshot new = {.name = (char *)name, .vm_clock_nsec = clock_ns, .icount = UINT64_MAX};
    struct timespec now;
    int rc;

    clock_gettime(CLOCK_REALTIME, &now);
    new.date_sec = (uint32_t)now.tv_sec;
    new.date_nsec = (uint32_t)now.tv_nsec;
    rc = create_each(s, &new, state, err);
    for (unsigned i = 0; i < s->count && !rc; i++)
        rc = remove_old(&s->disk[i], name, err);
    return rc;
}

/* Of the moments in *common (NULL: of all) those stay that this disk has under the name, too; *newest is the last of them. */
static int keep_common(struct viv_snapshot_set *s, struct viv_snapshot_disk *d, const char *name, GHashTable **common, uint64_t *newest,
                       struct viv_err *err)
{
    GHashTable *here = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    struct viv_snapshot *all = NULL;
    unsigned count = 0;
    int rc = list(d, &all, &count, err);
    bool any = false;

    for (unsigned i = 0; i < count && !rc; i++) {
        uint64_t moment = moment_of(&all[i]);

        if (strcmp(all[i].name, name))
            continue;
        any = true;
        if (*common && !g_hash_table_contains(*common, &moment))
            continue;
        g_hash_table_add(here, g_memdup2(&moment, sizeof(moment)));
        *newest = moment;
    }
    viv_snapshot_free(all, count);
    g_clear_pointer(common, g_hash_table_destroy);
    *common = here;
    if (!rc && !any)
        rc = missing(s, d, name, err);
    if (!rc && !g_hash_table_size(here))
        rc = viv_fail(err, EINVAL, "snapshot '%s' of device '%s' is of another moment than the other disks'", name, d->name);
    return rc;
}

int viv_snapshot_set_find(struct viv_snapshot_set *s, const char *name, uint64_t *size, struct viv_err *err)
{
    g_autoptr(GHashTable) common = NULL;
    uint64_t state;
    int rc = 0;

    *size = 0;
    for (unsigned i = 0; i < s->count && !rc; i++)
        rc = keep_common(s, &s->disk[i], name, &common, &s->moment, err);
    for (unsigned i = 0; i < s->count && !rc; i++) {
        rc = check_found(s, &s->disk[i], name, &state, err);
        if (!rc && (s->named ? i == s->holder : state && !*size)) {
            s->holder = i;
            *size = state;
        }
    }
    if (rc < 0)
        return rc;
    if (*size)
        return 0;
    return s->named ? viv_fail(err, EINVAL, "This is a disk-only snapshot. Revert to it offline using viv-img snapshot -a")
                    : viv_fail(err, EINVAL, "snapshot '%s' holds disks only: revert to it offline, with viv-img snapshot -a", name);
}

struct piece {
    const char *id;
    uint64_t pos;
    void *buf;
    size_t len;
};

static int read_piece(struct viv_node *n, const void *arg, struct viv_err *err)
{
    const struct piece *p = arg;

    return n->drv->snapshots->state_read(n, p->id, p->pos, p->buf, p->len, err);
}

int viv_snapshot_set_read(struct viv_snapshot_set *s, const char *name, uint64_t pos, void *buf, size_t len, struct viv_err *err)
{
    struct viv_snapshot_disk *d = &s->disk[s->holder];
    struct viv_snapshot *all = NULL, *found;
    unsigned count = 0;
    int rc = find(d, name, &s->moment, &all, &count, &found, err);

    if (!rc && !found)
        rc = missing(s, d, name, err);
    if (!rc)
        rc = drained(d, read_piece, &(struct piece){found->id, pos, buf, len}, err);
    viv_snapshot_free(all, count);
    return rc;
}

void viv_snapshot_set_drop_state(struct viv_snapshot_set *s, uint64_t state)
{
    struct viv_err ignored = VIV_ERR_INIT;

    drained(&s->disk[s->holder], drop_state, &state, &ignored);
    viv_err_clear(&ignored);
}

int viv_snapshot_set_revert(struct viv_snapshot_set *s, const char *name, struct viv_err *err)
{
    int rc = 0;

    for (unsigned i = 0; i < s->count && rc >= 0; i++) {
        struct viv_snapshot_disk *d = &s->disk[i];
        uint64_t was = viv_node_size(d->node);

        rc = with_id(d, name, &s->moment, apply, err);
        if (rc > 0)
            rc = missing(s, d, name, err);
        if (rc >= 0 && viv_node_size(d->node) != was)
            viv_blk_tell_resized(d->node, d->blk);
    }
    return rc;
}

int viv_snapshot_set_remove(struct viv_snapshot_set *s, const char *name, bool *any, struct viv_err *err)
{
    int rc = 0;

    *any = false;
    for (unsigned i = 0; i < s->count && rc >= 0; i++)
        while (!(rc = with_id(&s->disk[i], name, NULL, remove_id, err)))
            *any = true;
    return rc < 0 ? rc : 0;
}
