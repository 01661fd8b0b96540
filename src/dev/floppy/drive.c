/* floppy: a diskette drive at the controller, and the diskette in it. */
#include "dev/floppy/fdc.h"

#include "base/log.h"
#include "bus/bootorder.h"
#include "bus/pci.h"

#include <errno.h>
#include <glib.h>

#define LAST_TRACK 83 /* where the heads stop */

void fdc_drive_seek(struct fdc_drive *d, uint8_t track)
{
    track = MIN(track, LAST_TRACK);
    if (track != d->track && viv_front_ready(&d->front))
        d->changed = false;
    d->track = track;
}

/* Diskettes of 40 tracks have them twice as far apart as the heads' steps: programs that know step twice. */
bool fdc_drive_at(const struct fdc_drive *d, uint8_t cylinder)
{
    return d->track == cylinder || (d->format->tracks <= 42 && d->track == 2u * cylinder);
}

static void look(struct fdc_drive *d)
{
    uint64_t size;
    bool exact;

    d->format = NULL;
    if (!viv_front_ready(&d->front))
        return;
    size = viv_blk_size(d->front.drive->blk);
    d->format = floppy_format_find(d->type, size, &exact);
    if (d->format && !exact)
        viv_warn("drive '%s': no diskette has %llu bytes: it is read as one of %u sectors, %u tracks, %u sides", d->front.drive->id,
                 (unsigned long long)size, d->format->sectors, d->format->tracks, d->format->heads);
}

static void media(void *opaque)
{
    struct fdc_drive *d = opaque;

    d->changed = true;
    look(d);
}

/* ---- the device ---- */

static int find_place(struct fdc_drive *d, struct viv_opts *opts, struct viv_err *err)
{
    const char *bus = viv_opts_str(opts, "bus"), *what = viv_opts_what(opts);
    struct fdc *f = fdc_find(bus);

    if (!f)
        return bus ? viv_fail(err, ENODEV, "%s: there is no bus '%s'", what, bus)
                   : viv_fail(err, ENODEV, "%s: there is no diskette controller: add -device isa-fdc before it", what);
    if (viv_opts_given(opts, "unit"))
        d->unit = (unsigned)viv_opts_int(opts, "unit");
    else
        d->unit = f->drive[0] ? 1 : 0;
    if (f->drive[d->unit])
        return viv_fail(err, EBUSY, "%s: drive %u of bus '%s' exists already; a controller has drives 0 and 1", what, d->unit,
                        f->bus_name);
    d->fdc = f;
    return 0;
}

static enum floppy_type choose_type(const struct fdc_drive *d, struct viv_opts *opts)
{
    enum floppy_type t = floppy_type_parse(viv_opts_str(opts, "drive-type"));

    if (t == FLOPPY_AUTO)
        t = d->fdc->forced[d->unit];
    if (t == FLOPPY_AUTO && viv_front_ready(&d->front))
        t = floppy_type_of_size(viv_blk_size(d->front.drive->blk));
    return t == FLOPPY_AUTO ? d->fdc->fallback : t;
}

/* As SeaBIOS looks for it. The ISA bridge is function 1.0 of a pc, 1f.0 of a q35. */
static int add_boot(struct fdc_drive *d, struct viv_err *err)
{
    int index = d->front.bootindex >= 0 ? d->front.bootindex : d->fdc->bootindex[d->unit];
    int rc;

    if (index < 0)
        return 0;
    d->fw_path = g_strdup_printf("/pci@i0cf8/isa@%s/fdc@%04x/floppy@%u", d->dev.board->isa_at, d->fdc->iobase, d->unit);
    rc = viv_bootorder_add(&d->dev, index, d->fw_path, err);
    if (rc < 0)
        g_clear_pointer(&d->fw_path, g_free);
    return rc;
}

static int check(const struct fdc_drive *d, struct viv_opts *opts, struct viv_err *err)
{
    const struct viv_front *f = &d->front;

    if (f->logical != FLOPPY_SECTOR || f->physical != FLOPPY_SECTOR || f->min_io || f->opt_io || f->discard || f->serial[0])
        return viv_fail(err, EINVAL, "%s: a diskette has sectors of 512 bytes, no serial number and no hints; leave them out",
                        viv_opts_what(opts));
    return 0;
}

static int drive_realize(struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_front_ops ops = {.media = media, .resend = fdc_resend};
    struct fdc_drive *d = (struct fdc_drive *)dev;
    int rc = find_place(d, opts, err);

    if (!rc)
        rc = viv_front_open(&d->front, dev, opts, true, &ops, d, err);
    if (rc < 0)
        return rc;
    d->front.trayless = true;
    rc = check(d, opts, err);
    if (!rc)
        rc = add_boot(d, err);
    if (rc < 0) {
        viv_front_close(&d->front);
        return rc;
    }
    d->type = (uint8_t)choose_type(d, opts);
    d->changed = true;
    look(d);
    dev->path = g_strdup_printf("%s/%u/floppy", d->fdc->bus_name, d->unit);
    d->fdc->drive[d->unit] = d;
    return 0;
}

static void drive_unrealize(struct viv_dev *dev)
{
    struct fdc_drive *d = (struct fdc_drive *)dev;

    if (d->fdc) {
        fdc_abandon(d->fdc);
        viv_front_wait_idle(&d->front);
        d->fdc->drive[d->unit] = NULL;
    }
    if (d->fw_path)
        viv_bootorder_remove(&d->dev);
    g_clear_pointer(&d->fw_path, g_free);
    viv_front_close(&d->front);
}

/* The heads stay where they are, and the change line as it is: a drive has no reset pin. But the same reset must always give the
 * same machine. */
static void drive_reset(struct viv_dev *dev)
{
    struct fdc_drive *d = (struct fdc_drive *)dev;

    d->track = 0;
    d->changed = true;
}

static void drive_running(struct viv_dev *dev, bool running)
{
    viv_front_running(&((struct fdc_drive *)dev)->front, running);
}

static bool drive_idle(struct viv_dev *dev)
{
    return !((struct fdc_drive *)dev)->front.in_flight;
}

static int drive_post_load(void *obj, int version, struct viv_err *err)
{
    const struct fdc_drive *d = obj;

    return d->track <= LAST_TRACK ? 0 : viv_fail(err, EINVAL, "a diskette drive has no track %u", d->track);
}

const struct viv_state_table fdc_drive_state = {
    .name = "floppy",
    .ctype = "fdc_drive",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(fdc_drive, dev),
            VIV_F_STRUCT(fdc_drive, front, viv_front_state),
            VIV_F_CONFIG(fdc_drive, fdc),
            VIV_F_CONFIG(fdc_drive, unit),
            VIV_F_CONFIG(fdc_drive, type),
            VIV_F_CONFIG(fdc_drive, format),
            VIV_F_INT(fdc_drive, track),
            VIV_F_INT(fdc_drive, changed),
            VIV_F_CONFIG(fdc_drive, fw_path),
            VIV_F_END,
        },
    .post_load = drive_post_load,
};

static const struct viv_opt_def props[] = {
    VIV_FRONT_PROPS,
    {.name = "bus", .type = VIV_OPT_STR, .help = "of the controller (floppy-bus.0)"},
    {.name = "unit", .type = VIV_OPT_INT, .min = 0, .max = FDC_DRIVES - 1, .help = "0 is A:, 1 is B:"},
    {.name = "drive-type", .type = VIV_OPT_ENUM, .def = "auto", .values = floppy_type_names, .help = "2.88M, 1.44M (3.5\") or 1.2M (5.25\")"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_floppy = {
    .name = "floppy",
    .desc = "diskette drive",
    .bus = VIV_BUS_FLOPPY,
    .size = sizeof(struct fdc_drive),
    .props = props,
    .state = &fdc_drive_state,
    .realize = drive_realize,
    .reset = drive_reset,
    .unrealize = drive_unrealize,
    .vm_running = drive_running,
    .idle = drive_idle,
};
