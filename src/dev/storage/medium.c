/* Media that people at the monitor take out and put in. */
#include "dev/storage/front.h"

#include "block/throttle.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static bool is_device(const struct viv_front *f, const char *device)
{
    g_autofree char *name = viv_front_device_name(f), *path = viv_dev_object_path(f->dev);

    return !g_strcmp0(f->dev->id, device) || !strcmp(name, device) || !strcmp(path, device);
}

static struct viv_front *find(const char *drive, const char *device)
{
    for (struct viv_front *f = viv_front_next(NULL); f; f = viv_front_next(f)) {
        if (drive ? !strcmp(f->drive->id, drive) : is_device(f, device))
            return f;
    }
    return NULL;
}

struct viv_front *viv_front_named(const char *drive, const char *device, struct viv_err *err)
{
    struct viv_front *f = NULL;

    if ((!drive && !device) || (drive && device)) {
        viv_fail(err, EINVAL, "name the drive (device) or the device that has it (id), not both");
        return NULL;
    }
    f = find(drive, device);
    if (!f)
        viv_fail(err, ENODEV, "Device '%s' not found", drive ? drive : device);
    return f;
}

struct viv_front *viv_front_removable(const char *drive, const char *device, struct viv_err *err)
{
    struct viv_front *f = viv_front_named(drive, device, err);

    if (f && !f->removable)
        viv_fail(err, EINVAL, "Device '%s' is not removable", drive ? drive : device);
    return f && f->removable ? f : NULL;
}

/* A held request would find another medium, or none, when the VM goes on. */
static int not_held(const struct viv_front *f, struct viv_err *err)
{
    return !f->holding ? 0 : viv_fail(err, EBUSY, "drive '%s': a request that failed waits for the VM to go on; `cont` first, or reset",
                                      f->drive->id);
}

int viv_front_open_tray(struct viv_front *f, bool force, struct viv_err *err)
{
    int rc;

    if (f->tray_open || f->trayless)
        return 0;
    if (!f->ops->eject_asked)
        return viv_fail(err, ENOTSUP, "drive '%s' has no tray", f->drive->id);
    if (f->tray_locked && !force) {
        f->ops->eject_asked(f->opaque);
        return 0;
    }
    rc = not_held(f, err);
    if (rc < 0)
        return rc;
    viv_front_drain(f);
    rc = not_held(f, err); /* what was in flight may have failed meanwhile */
    if (!rc)
        viv_front_set_tray(f, true);
    viv_front_resume(f);
    return rc;
}

int viv_front_close_tray(struct viv_front *f, struct viv_err *err)
{
    viv_front_set_tray(f, false);
    return 0;
}

static int need_open(const struct viv_front *f, struct viv_err *err)
{
    return f->tray_open || f->trayless ? 0 : viv_fail(err, EBUSY, "Tray of device '%s' is not open", f->drive->id);
}

int viv_front_insert(struct viv_front *f, struct viv_blk *blk, struct viv_err *err)
{
    int rc = need_open(f, err);

    if (!rc && f->drive->blk)
        rc = viv_fail(err, EBUSY, "There already is a medium in device '%s'", f->drive->id);
    if (rc < 0)
        return rc;
    viv_drive_put_medium(f->drive, blk);
    f->ro = f->read_only_media || !viv_blk_writable(blk);
    if (f->trayless)
        f->ops->media(f->opaque);
    return 0;
}

int viv_front_remove(struct viv_front *f, struct viv_err *err)
{
    struct viv_blk *blk = NULL;
    int rc = not_held(f, err);

    if (rc < 0)
        return rc;
    viv_front_drain(f);
    rc = need_open(f, err); /* only now: the guest may have moved the tray meanwhile */
    if (!rc)
        rc = not_held(f, err);
    if (!rc) {
        blk = f->drive->blk;
        if (blk && viv_blk_limits(blk))
            f->drive->limits = viv_throttle_ref(viv_blk_limits(blk));
        f->drive->blk = NULL;
        f->ro = true;
        if (f->trayless && blk)
            f->ops->media(f->opaque);
    }
    viv_front_resume(f);
    if (!blk)
        return rc;
    viv_dev_unlock(); /* it is flushed: the guest need not wait */
    rc = viv_blk_close(blk, err);
    viv_dev_lock();
    return rc;
}

int viv_front_limit(struct viv_front *f, const char *group, const struct viv_limits *l, struct viv_err *err)
{
    int rc = -ENOMEDIUM;

    viv_front_drain(f);
    if (f->drive->blk)
        rc = viv_blk_set_limits(f->drive->blk, group, l, err);
    else
        viv_fail(err, ENOMEDIUM, "Device '%s' has no medium", f->drive->id);
    viv_front_resume(f);
    return rc;
}

int viv_front_eject(struct viv_front *f, bool force, struct viv_err *err)
{
    int rc = viv_front_open_tray(f, force, err);

    if (rc < 0)
        return rc;
    if (!f->tray_open && !f->trayless)
        return viv_fail(err, EBUSY, "Device '%s' is locked and force was not specified, wait for tray to open and try again",
                        f->drive->id);
    return viv_front_remove(f, err);
}
