/* Snapshots of the whole machine.
 *
 * Saving: the state is written into one disk's place for it, then each disk gets its snapshot; only that makes the state part of
 * anything. */
#include "machine/vm_snapshot.h"

#include "block/snapshot_set.h"
#include "host/clock.h"
#include "host/lock.h"
#include "machine/vm.h"
#include "machine/vm_stream.h"

#include <errno.h>
#include <glib.h>

/* ---- running and standing ---- */

static int stand_still(enum viv_run_state why, enum viv_run_state *before, struct viv_err *err)
{
    *before = viv_vm_state();
    switch (*before) {
    case VIV_RUN_INMIGRATE:
        return viv_fail(err, EBUSY, "the machine waits for its saved state (-incoming)");
    case VIV_RUN_SAVE:
    case VIV_RUN_RESTORE:
        return viv_fail(err, EBUSY, "the machine is being saved or loaded already");
    case VIV_RUN_INTERNAL_ERROR:
        return why == VIV_RUN_SAVE ? viv_fail(err, EBUSY, "the machine has failed; there is nothing to save") : 0;
    default:
        viv_vm_stop(why);
        return 0;
    }
}

static void go_on(enum viv_run_state before)
{
    struct viv_err err = VIV_ERR_INIT;

    viv_vm_set_state(before == VIV_RUN_RUNNING ? VIV_RUN_PAUSED : before);
    if (before == VIV_RUN_RUNNING)
        viv_vm_cont(&err);
    viv_err_clear(&err);
}

/* Devices are idle and disks flushed. The loop was served meanwhile: other monitors may have taken disks away, or begun jobs on them. */
static int settle(struct viv_snapshot_set *s, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    int rc = viv_vm_quiesce(err);

    viv_snapshot_set_fini(s);
    return rc ? rc : viv_snapshot_set_init(s, w, err);
}

/* ---- save ---- */

static int write_state(const struct viv_snapshot_disk *d, uint64_t *size, struct viv_err *err)
{
    struct viv_vm_stream *s;
    int rc;

    viv_vm_stream_open_node(d->node, d->name, true, 0, &s);
    rc = viv_vm_put_machine(s, err);
    *size = viv_vm_stream_size(s);
    if (rc < 0)
        viv_vm_stream_drop(s);
    return rc < 0 ? rc : viv_vm_stream_close(s, err);
}

static int check_save(struct viv_snapshot_set *s, const char *name, struct viv_err *err)
{
    int rc = *name ? 0 : viv_fail(err, EINVAL, "a snapshot needs a name");

    if (!rc && s->named)
        rc = viv_snapshot_set_check_new(s, name, err);
    return rc ? rc : viv_dev_can_save_all(err);
}

static int save_standing(struct viv_snapshot_set *s, const char *name, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    uint64_t size = 0;
    int rc = settle(s, w, err);

    if (!rc) /* what the guest was about to do is done */
        rc = check_save(s, name, err);
    if (!rc)
        rc = write_state(&s->disk[s->holder], &size, err);
    if (!rc)
        rc = viv_snapshot_set_create(s, name, size, (uint64_t)viv_clock_ns(VIV_CLOCK_GUEST), err);
    if (rc && size) /* it may be as large as memory, on a disk that is full */
        viv_snapshot_set_drop_state(s, size);
    return rc;
}

int viv_vm_snapshot_save(const char *name, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *own = name ? g_strdup(name) : g_date_time_format(now, "vm-%Y%m%d%H%M%S");
    enum viv_run_state before;
    struct viv_snapshot_set s;
    int rc = viv_snapshot_set_init(&s, w, err);

    VIV_ASSERT_DEV_LOCKED();
    if (!rc)
        rc = check_save(&s, own, err);
    if (!rc)
        rc = stand_still(VIV_RUN_SAVE, &before, err);
    if (!rc) {
        rc = save_standing(&s, own, w, err);
        go_on(before);
    }
    viv_snapshot_set_fini(&s);
    return rc;
}

/* ---- load ---- */

static int read_state(const struct viv_snapshot_disk *d, uint64_t size, struct viv_err *err)
{
    struct viv_vm_stream *s;
    int rc;

    viv_vm_stream_open_node(d->node, d->name, false, size, &s);
    rc = viv_vm_get_machine(s, err);
    viv_vm_stream_close(s, NULL);
    return rc;
}

struct found {
    struct viv_snapshot_set *s;
    const char *name;
};

static int read_found(void *opaque, uint64_t pos, void *buf, size_t len, struct viv_err *err)
{
    const struct found *f = opaque;

    return viv_snapshot_set_read(f->s, f->name, pos, buf, len, err);
}

/* Is it of a machine like this one, and whole? Before the disks are changed: what was written to them since would be gone for
 * nothing. So it is read twice. */
static int check_state(struct viv_snapshot_set *s, const char *name, uint64_t size, struct viv_err *err)
{
    struct found f = {s, name};
    struct viv_vm_stream *in;
    int rc;

    viv_vm_stream_open_reader(read_found, &f, s->disk[s->holder].name, size, &in);
    rc = viv_vm_check_machine(in, err);
    viv_vm_stream_close(in, NULL);
    if (rc < 0)
        viv_err_prefix(err, "cannot load snapshot '%s' (machine and disks stay as they are)", name);
    return rc;
}

static int load_all(struct viv_snapshot_set *s, const char *name, uint64_t size, struct viv_err *err)
{
    int rc = viv_snapshot_set_revert(s, name, err);

    if (rc)
        return rc;
    viv_vm_reset_all(); /* what is in flight or latched in devices belongs to the time that is given up */
    rc = read_state(&s->disk[s->holder], size, err);
    viv_snapshot_set_drop_state(s, size); /* the snapshot has it: that alone decides how long it takes room */
    return rc;
}

static int load_standing(struct viv_snapshot_set *s, const char *name, const struct viv_snapshot_wish *w, enum viv_run_state before,
                         struct viv_err *err)
{
    uint64_t size;
    int rc = settle(s, w, err);

    if (!rc)
        rc = viv_snapshot_set_find(s, name, &size, err);
    if (!rc)
        rc = check_state(s, name, size, err);
    if (rc < 0) {
        go_on(before);
        return rc;
    }
    rc = load_all(s, name, size, err);
    if (rc < 0) {
        viv_vm_set_state(VIV_RUN_INTERNAL_ERROR);
        viv_err_prefix(err, "cannot load snapshot '%s' (the machine stands; system_reset starts it anew)", name);
        return rc;
    }
    go_on(before == VIV_RUN_RUNNING ? before : VIV_RUN_PAUSED);
    return 0;
}

int viv_vm_snapshot_load(const char *name, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    enum viv_run_state before;
    struct viv_snapshot_set s;
    uint64_t size;
    int rc = viv_snapshot_set_init(&s, w, err);

    VIV_ASSERT_DEV_LOCKED();
    if (!rc)
        rc = viv_snapshot_set_find(&s, name, &size, err);
    if (!rc)
        rc = stand_still(VIV_RUN_RESTORE, &before, err);
    if (!rc)
        rc = load_standing(&s, name, w, before, err);
    viv_snapshot_set_fini(&s);
    return rc;
}

/* ---- delete ---- */

int viv_vm_snapshot_delete(const char *name, const struct viv_snapshot_wish *w, struct viv_err *err)
{
    struct viv_snapshot_set s;
    int rc = w ? viv_snapshot_set_init(&s, w, err) : viv_snapshot_set_init_able(&s, err);
    bool any;

    if (rc)
        return rc;
    rc = viv_snapshot_set_remove(&s, name, &any, err);
    viv_snapshot_set_fini(&s);
    return rc || any || w ? rc : viv_fail(err, ENOENT, "no disk has a snapshot '%s'", name);
}
