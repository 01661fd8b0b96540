/* The commands that plug and unplug devices, and make and forget the drives for them. */
#include "mon/command.h"
#include "mon/mon_int.h"

#include "block/options.h"
#include "block/registry.h"
#include "host/lock.h"
#include "machine/device_add.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* ---- devices ---- */

static int device_add(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    return viv_device_add("device_add", raw, true, err);
}

static const struct viv_opt_def add_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

static bool late_help(const char *name, FILE *to)
{
    return viv_device_help(name, true, to);
}

COMMAND(device_add_text)
{
    struct viv_raw_opts *raw;
    int rc;

    if (viv_mon_choices("device_add", "driver", viv_opts_str(o, "device"), late_help, result))
        return 0;
    rc = viv_raw_parse("device_add", "driver", viv_opts_str(o, "device"), &raw, err);
    if (rc < 0)
        return rc;
    rc = viv_device_add("device_add", raw, true, err);
    viv_raw_free(raw);
    return rc;
}

static const struct viv_opt_def id_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(device_del)
{
    int rc = viv_vm_state() != VIV_RUN_SAVE ? viv_device_del(viv_opts_str(o, "id"), err) /* its memory is being written */
                                            : viv_fail(err, EBUSY, "the machine is being saved; its devices can go when that has ended");

    if (rc == -ENODEV)
        viv_mon_error_class("DeviceNotFound");
    return rc;
}

/* ---- drives ---- */

static const struct viv_opt_def drive_add_args[] = {
    {.name = "address", .type = VIV_OPT_STR, .required = true, .help = "of no meaning any more: 0"},
    {.name = "options", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

static int open_drive(struct viv_opts *o, const struct viv_raw_opts *image, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id"), *iface = viv_opts_str(o, "if");
    int rc;

    if (g_strcmp0(iface, "none"))
        return viv_fail(err, ENOTSUP, "Can't hot-add drive to type %s; use if=none, and device_add for a device that has it",
                        iface ? iface : "ide");
    if (!id)
        return viv_fail(err, EINVAL, "drive_add: id is missing: device_add names the drive by it");
    if (viv_drive_find(id))
        return viv_fail(err, EEXIST, "Duplicate ID '%s' for drive", id);
    viv_dev_unlock(); /* a file that is far away is no reason for the guest to stand still */
    rc = viv_drive_open("drive_add", o, image, id, err);
    viv_dev_lock();
    return rc;
}

COMMAND(drive_add)
{
    struct viv_raw_opts *image;
    struct viv_opts *d;
    int rc = viv_drive_parse("drive_add", viv_opts_str(o, "options"), &d, &image, err);

    if (rc < 0)
        return rc;
    rc = open_drive(d, image, err);
    viv_opts_free(d);
    viv_raw_free(image);
    if (rc == 0)
        *result = json_string("OK\n");
    return rc;
}

COMMAND(drive_del)
{
    const char *id = viv_opts_str(o, "id");
    struct viv_drive *d = viv_drive_find(id);

    if (!d)
        return viv_fail(err, ENOENT, "Device '%s' not found", id);
    if (d->user)
        return viv_fail(err, EBUSY, "drive '%s' is used by device '%s': device_del that one, its drive goes with it", id, d->user);
    return viv_drive_remove(d, err);
}

const struct viv_mon_cmd viv_mon_devices[] = {
    {.qmp = "device_add", .help = "add a device, with the properties of its driver", .raw = device_add, .takes = "DeviceAddArguments"},
    {"device_add", NULL, "device", add_args, "add a device, as after -device: driver[,prop=value][,...]", device_add_text},
    {"device_del", "device_del", "id:device", id_args, "remove a device: the guest is asked to let go of it", device_del},
    {"drive_add", NULL, "address options", drive_add_args, "add a drive for a device to come: 0 if=none,id=name[,file=file][,...]", drive_add},
    {"drive_del", NULL, "id:drive", id_args, "remove a drive that no device has", drive_del},
    {0},
};

const struct viv_mon_event_def viv_mon_device_events[] = {
    {"DEVICE_DELETED", "device?: str, path: str", "a device has gone: its id and back ends are free"},
    {"DEVICE_UNPLUG_GUEST_ERROR", "device?: str, path: str", "the guest does not let go of a device"},
    {0},
};
