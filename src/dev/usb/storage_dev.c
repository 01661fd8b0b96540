/* usb-storage: a disk or a CD drive behind the Bulk-Only Transport. The drive says which: one with media=cdrom is a CD drive. */
#include "dev/usb/storage.h"

#include "bus/bootorder.h"

#include <errno.h>
#include <glib.h>

/* ---- descriptors: the Bulk-Only interface with two endpoints ---- */

#define FACE(speed, ver, packet0_, packet, burst_)                                                               \
    static const struct viv_usb_endpoint speed##_endpoints[] = {                                                 \
        {0x81, VIV_USB_BULK, packet, 0, burst_}, {0x02, VIV_USB_BULK, packet, 0, burst_}};                       \
    static const struct viv_usb_interface speed##_interface[] = {                                                \
        {.cls = 8, .subclass = 6, .protocol = 0x50, .endpoints = speed##_endpoints, .count = 2}};                \
    static const struct viv_usb_face speed##_face = {.version = ver, .packet0 = packet0_, .attributes = 0xc0,     \
                                                     .interfaces = speed##_interface, .count = 1}
FACE(full, 0x0200, 64, 64, 0);
FACE(high, 0x0200, 64, 512, 0);
FACE(super, 0x0300, 9, 1024, 15);

static const char *const strings[] = {"Vivarium", "USB Storage", "1", NULL};
static const struct viv_usb_desc desc = {
    .vendor = 0x46f4,
    .product = 0x0001,
    .manufacturer = 1,
    .name = 2,
    .serial = 3,
    .strings = strings,
    .face = {[VIV_USB_FULL] = &full_face, [VIV_USB_HIGH] = &high_face, [VIV_USB_SUPER] = &super_face},
};

/* ---- class ---- */

static struct scsi_unit *unit_of(struct usb_storage *s)
{
    return s->is_cd ? &s->cd.unit : &s->hd.unit;
}

static void close_target(struct usb_storage *s)
{
    viv_scsi_dev_fini(&unit_of(s)->scsi);
    if (s->is_cd)
        scsi_cd_close(&s->cd);
    else
        scsi_hd_close(&s->hd);
    viv_scsi_bus_free(s->bus);
}

static int open_target(struct usb_storage *s, struct viv_opts *opts, struct viv_err *err)
{
    const char *id = viv_opts_str(opts, "drive");
    const struct viv_drive *drive = id ? viv_drive_find(id) : NULL;
    struct viv_dev *d = &s->usb.dev;
    int rc;

    s->is_cd = drive && drive->cd;
    rc = s->is_cd ? scsi_cd_open(&s->cd, d, opts, err) : scsi_hd_open(&s->hd, d, opts, err);
    if (rc < 0)
        return rc;
    if (!s->is_cd)
        s->hd.unit.removable = viv_opts_bool(opts, "removable");
    s->bus = viv_scsi_bus_new(d, NULL, &storage_scsi_ops);
    viv_scsi_dev_plug(&unit_of(s)->scsi, d, s->is_cd ? &scsi_cd_ops : &scsi_hd_ops, s->bus, 0, 0);
    return 0;
}

static int add_to_boot_order(struct usb_storage *s, struct viv_err *err)
{
    const struct viv_front *f = &unit_of(s)->front;
    g_autofree char *at = viv_usb_fw_path(&s->usb, "storage");
    int rc;

    if (f->bootindex < 0 || !at)
        return 0;
    s->boot_path = g_strdup_printf("%s/channel@0/disk@0,0", at);
    rc = viv_bootorder_add(&s->usb.dev, f->bootindex, s->boot_path, err);
    if (rc < 0) {
        g_free(s->boot_path);
        s->boot_path = NULL;
    }
    return rc;
}

static void storage_unrealize(struct viv_dev *d)
{
    struct usb_storage *s = (struct usb_storage *)d;

    if (s->boot_path)
        viv_bootorder_remove(&s->usb.dev);
    g_free(s->boot_path);
    viv_usb_dev_fini(&s->usb);
    storage_reset(s);
    close_target(s);
}

static int storage_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct usb_storage *s = (struct usb_storage *)d;
    int rc = open_target(s, opts, err);

    if (rc < 0)
        return rc;
    s->usb.ops = &storage_ops;
    s->usb.desc = &desc;
    if (unit_of(s)->front.serial[0])
        s->usb.serial = g_strdup(unit_of(s)->front.serial);
    rc = viv_usb_dev_init(&s->usb, opts, err);
    if (!rc) {
        rc = add_to_boot_order(s, err);
        if (!rc)
            return 0;
    }
    viv_usb_dev_fini(&s->usb);
    close_target(s);
    return rc;
}

static void storage_power_on(struct viv_dev *d)
{
    struct usb_storage *s = (struct usb_storage *)d;

    viv_usb_dev_reset(&s->usb); /* gives up the command */
    if (s->is_cd)
        scsi_cd_reset(&s->cd);
    else
        scsi_hd_reset(&s->hd); /* waits for its end */
    s->has_sense = false;
    s->have = s->at = 0;
    s->base = 0;
    s->status = 0;
}

static void storage_running(struct viv_dev *d, bool running)
{
    struct usb_storage *s = (struct usb_storage *)d;

    viv_front_running(&unit_of(s)->front, running);
    if (running)
        storage_go_on(s);
}

static bool storage_idle(struct viv_dev *d)
{
    return viv_front_idle(&unit_of((struct usb_storage *)d)->front);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct usb_storage *s = obj;

    if (s->phase > STORAGE_BROKEN || s->lun || s->cdb_len > VIV_SCSI_CDB_MOST || s->have > STORAGE_BUF || s->at > s->have ||
        s->status > 2)
        return viv_fail(err, EINVAL, "usb-storage in phase %u with %u of %u bytes taken", s->phase, s->at, s->have);
    return storage_resume(s, err);
}

static const struct viv_state_table state = {
    .name = "usb-storage",
    .ctype = "usb_storage",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(usb_storage, usb, viv_usb_dev_state),
            VIV_F_CONFIG(usb_storage, bus),
            VIV_F_CONFIG(usb_storage, is_cd),
            VIV_F_STRUCT(usb_storage, hd, viv_scsi_hd_state),
            VIV_F_STRUCT(usb_storage, cd, viv_scsi_cd_state),
            VIV_F_CONFIG(usb_storage, boot_path),
            VIV_F_INT(usb_storage, tag),
            VIV_F_INT(usb_storage, left),
            VIV_F_INT(usb_storage, residue),
            VIV_F_INT(usb_storage, lun),
            VIV_F_INT(usb_storage, cdb_len),
            VIV_F_BYTES(usb_storage, cdb),
            VIV_F_INT(usb_storage, phase),
            VIV_F_INT(usb_storage, status),
            VIV_F_INT(usb_storage, in),
            VIV_F_DERIVED(usb_storage, req, "made anew of the command block"),
            VIV_F_INT(usb_storage, active),
            VIV_F_INT(usb_storage, moving),
            VIV_F_DERIVED(usb_storage, calling, "false: nothing is under way"),
            VIV_F_INT(usb_storage, has_sense),
            VIV_F_BYTES(usb_storage, sense),
            VIV_F_INT(usb_storage, base),
            VIV_F_INT(usb_storage, have),
            VIV_F_INT(usb_storage, at),
            VIV_F_BYTES(usb_storage, buf),
            VIV_F_END,
        },
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {
    VIV_USB_PROPS,
    VIV_FRONT_PROPS,
    {.name = "removable", .type = VIV_OPT_BOOL, .help = "a disk that says it can be taken out, as sticks do"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_usb_storage = {
    .name = "usb-storage",
    .desc = "USB disk or CD drive",
    .bus = VIV_BUS_USB,
    .hotplug = &viv_usb_hotplug,
    .size = sizeof(struct usb_storage),
    .props = props,
    .state = &state,
    .realize = storage_realize,
    .reset = storage_power_on,
    .unrealize = storage_unrealize,
    .vm_running = storage_running,
    .idle = storage_idle,
};
