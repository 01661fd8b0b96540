/* Snapshots of the whole machine.
 *
 * Saving: the state is written into the first disk's place for it, then each disk gets its snapshot, the one with the state first; only
 * that makes the state part of anything. */
#include "machine/vm_snapshot.h"

#include "block/drive_snapshots.h"
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

/* ---- save ---- */

static int write_state(struct viv_drive *d, uint64_t *size, struct viv_err *err)
{
    struct viv_vm_stream *s;
    int rc;

    viv_vm_stream_open_node(viv_drive_node(d), d->id, true, 0, &s);
    rc = viv_vm_put_machine(s, err);
    *size = viv_vm_stream_size(s);
    if (rc < 0)
        viv_vm_stream_close(s, NULL);
    return rc < 0 ? rc : viv_vm_stream_close(s, err);
}

int viv_vm_snapshot_save(const char *name, struct viv_err *err)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *own = name ? g_strdup(name) : g_date_time_format(now, "vm-%Y%m%d%H%M%S");
    enum viv_run_state before;
    uint64_t size = 0;
    int rc = viv_drives_can_snapshot(err);

    VIV_ASSERT_DEV_LOCKED();
    if (!rc && !*own)
        rc = viv_fail(err, EINVAL, "a snapshot needs a name");
    if (!rc)
        rc = viv_dev_can_save_all(err);
    if (!rc)
        rc = stand_still(VIV_RUN_SAVE, &before, err);
    if (rc < 0)
        return rc;
    rc = viv_vm_quiesce(err);
    if (!rc) /* another monitor may have started a job meanwhile */
        rc = viv_drives_can_snapshot(err);
    if (!rc) /* what the guest was about to do is done */
        rc = viv_dev_can_save_all(err);
    if (!rc)
        rc = write_state(viv_drives_first(), &size, err);
    if (!rc)
        rc = viv_drives_snapshot(own, size, (uint64_t)viv_clock_ns(VIV_CLOCK_GUEST), err);
    go_on(before);
    return rc;
}

/* ---- load ---- */

static int read_state(struct viv_drive *d, uint64_t size, struct viv_err *err)
{
    struct viv_vm_stream *s;
    int rc;

    viv_vm_stream_open_node(viv_drive_node(d), d->id, false, size, &s);
    rc = viv_vm_get_machine(s, err);
    viv_vm_stream_close(s, NULL);
    return rc;
}

int viv_vm_snapshot_load(const char *name, struct viv_err *err)
{
    enum viv_run_state before;
    struct viv_drive *holder;
    uint64_t size = 0;
    int rc = viv_drives_have_snapshot(name, &holder, &size, err);

    VIV_ASSERT_DEV_LOCKED();
    if (!rc)
        rc = stand_still(VIV_RUN_RESTORE, &before, err);
    if (rc < 0)
        return rc;
    rc = viv_vm_quiesce(err);
    if (!rc)
        rc = viv_drives_can_snapshot(err);
    if (rc < 0) {
        go_on(before);
        return rc;
    }
    rc = viv_drives_revert(name, err);
    if (!rc) {
        viv_vm_reset_all(); /* what is in flight or latched in devices belongs to the time that is given up */
        rc = read_state(holder, size, err);
    }
    if (rc < 0) {
        viv_vm_set_state(VIV_RUN_INTERNAL_ERROR);
        viv_err_prefix(err, "cannot load snapshot '%s' (the machine stands; system_reset starts it anew)", name);
        return rc;
    }
    go_on(before == VIV_RUN_RUNNING ? before : VIV_RUN_PAUSED);
    return 0;
}
