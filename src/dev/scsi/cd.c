/* The CD drive: commands, reading, tray. (MMC-6.) Discs are what an ISO image is: one session, one data track of mode 1. Left out:
 * audio, writing, raw sectors (READ CD gives user data only). */
#include "dev/scsi/cd.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

enum { EVENT_NONE, EVENT_EJECT_REQUEST, EVENT_NEW_MEDIA, EVENT_REMOVAL };

uint32_t scsi_cd_sectors(const struct scsi_cd *cd)
{
    uint64_t n = viv_front_ready(&cd->unit.front) ? viv_blk_size(cd->unit.front.drive->blk) / CD_SECTOR : 0;

    return (uint32_t)MIN(n, UINT32_MAX - 1);
}

bool scsi_cd_is_dvd(const struct scsi_cd *cd)
{
    return scsi_cd_sectors(cd) > 80 * 60 * 75; /* 80 minutes */
}

/* ---- reading ---- */

static void read_sectors(struct scsi_cd *cd, struct viv_scsi_req *r, uint32_t lba, uint32_t count)
{
    uint32_t have = scsi_cd_sectors(cd);

    if (!scsi_ready(&cd->unit, r))
        return;
    if (lba > have || count > have - lba) {
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LBA_RANGE);
        return;
    }
    r->direction = VIV_SCSI_READ;
    r->start = (uint64_t)lba * CD_SECTOR;
    r->length = (uint64_t)count * CD_SECTOR;
}

/* 6.15.2: which sectors, and which of their fields. */
static void read_cd(struct scsi_cd *cd, struct viv_scsi_req *r, uint32_t lba, uint32_t count)
{
    unsigned type = r->cdb[1] >> 2 & 7, fields = r->cdb[9] & 0xfe;

    if (!scsi_ready(&cd->unit, r))
        return;
    if (type != 0 && type != 2) /* all types, or mode 1 */
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_WRONG_MODE);
    else if ((fields && fields != 0x10) || r->cdb[10] & 7)
        scsi_invalid(r);
    else
        read_sectors(cd, r, lba, fields ? count : 0);
}

static uint32_t msf(const uint8_t *p)
{
    uint32_t at = (p[0] * 60u + p[1]) * 75 + p[2];

    return at < 150 ? UINT32_MAX : at - 150;
}

static void read_cd_msf(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    uint32_t from = msf(r->cdb + 3), to = msf(r->cdb + 6);

    if (from == UINT32_MAX || to == UINT32_MAX || to < from)
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LBA_RANGE);
    else
        read_cd(cd, r, from, to - from);
}

static void read_capacity(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    uint8_t *p;

    if (!scsi_ready(&cd->unit, r))
        return;
    p = viv_scsi_answer(r, 8, 8);
    viv_st_be32(p, MAX(scsi_cd_sectors(cd), 1) - 1);
    viv_st_be32(p + 4, CD_SECTOR);
}

static void seek(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    if (scsi_ready(&cd->unit, r) && viv_ld_be32(r->cdb + 2) >= scsi_cd_sectors(cd))
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LBA_RANGE);
}

/* ---- commands ---- */

static bool parse_info(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    static const uint8_t no_pages[] = {0};

    switch (r->cdb[0]) {
    case 0x03:
        scsi_request_sense(&cd->unit, r);
        return true;
    case 0x12:
        scsi_inquiry(&cd->unit, r, no_pages, NULL);
        return true;
    case 0x1a:
    case 0x5a:
        scsi_mode_sense(&cd->unit, r, 0, 0, NULL, scsi_cd_mode_page);
        return true;
    case 0x43:
        scsi_cd_read_toc(cd, r);
        return true;
    case 0x46:
        scsi_cd_get_configuration(cd, r);
        return true;
    case 0x4a:
        scsi_cd_get_event(cd, r);
        return true;
    case 0x51:
        scsi_cd_disc_information(cd, r);
        return true;
    case 0x52:
        scsi_cd_track_information(cd, r);
        return true;
    case 0xad:
        scsi_cd_dvd_structure(cd, r);
        return true;
    case 0xbd:
        scsi_cd_mechanism_status(cd, r);
        return true;
    default:
        return false;
    }
}

static void cd_parse(struct viv_scsi_dev *d, struct viv_scsi_req *r)
{
    struct scsi_cd *cd = (struct scsi_cd *)d;

    if (parse_info(cd, r))
        return;
    switch (r->cdb[0]) {
    case 0x00: /* TEST UNIT READY */
        scsi_ready(&cd->unit, r);
        break;
    case 0x1b: /* START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, SET CD SPEED: when they are executed */
    case 0x1e:
    case 0xbb:
        break;
    case 0x25:
        read_capacity(cd, r);
        break;
    case 0x28:
        read_sectors(cd, r, viv_ld_be32(r->cdb + 2), viv_ld_be16(r->cdb + 7));
        break;
    case 0x2b:
        seek(cd, r);
        break;
    case 0xa8:
        read_sectors(cd, r, viv_ld_be32(r->cdb + 2), viv_ld_be32(r->cdb + 6));
        break;
    case 0xb9:
        read_cd_msf(cd, r);
        break;
    case 0xbe:
        read_cd(cd, r, viv_ld_be32(r->cdb + 2), viv_ld_be32(r->cdb + 5) & 0xffffff);
        break;
    default:
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_OPCODE);
    }
}

static void start_stop(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    struct viv_front *f = &cd->unit.front;
    bool start = r->cdb[4] & 1, load_eject = r->cdb[4] & 2;

    if (r->cdb[4] >> 4 == 0 && load_eject) { /* not a power condition */
        if (!start && !f->tray_open && f->tray_locked) {
            viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LOCKED);
            return;
        }
        viv_front_set_tray(f, !start);
    }
    viv_scsi_end(r, VIV_SCSI_GOOD);
}

static void cd_execute(struct viv_scsi_dev *d, struct viv_scsi_req *r)
{
    struct scsi_cd *cd = (struct scsi_cd *)d;

    if (r->cdb[0] == 0x1b) {
        start_stop(cd, r);
        return;
    }
    if (r->cdb[0] == 0x1e)
        viv_front_lock_tray(&cd->unit.front, r->cdb[4] & 3);
    viv_scsi_end(r, VIV_SCSI_GOOD);
}

static void cd_move(struct viv_scsi_dev *d, struct viv_scsi_req *r, const struct iovec *iov, unsigned n)
{
    scsi_io_move((struct scsi_unit *)d, r, iov, n, 0, NULL);
}

static void cd_cancel(struct viv_scsi_dev *d, struct viv_scsi_req *r)
{
    scsi_io_cancel((struct scsi_unit *)d, r);
}

/* MMC-6 4.1.6.1: these two are how attentions are looked for. */
static bool cd_unattended(const uint8_t *cdb)
{
    return cdb[0] == 0x46 || cdb[0] == 0x4a;
}

/* MMC-6 6.18: the guest may have the disc taken out again. */
static void cd_unit_reset(struct viv_scsi_dev *d)
{
    viv_front_lock_tray(&((struct scsi_cd *)d)->unit.front, false);
}

const struct viv_scsi_dev_ops scsi_cd_ops = {
    .type = 5,
    .parse = cd_parse,
    .execute = cd_execute,
    .move = cd_move,
    .cancel = cd_cancel,
    .reset = cd_unit_reset,
    .unattended = cd_unattended,
};

/* ---- the drive ---- */

static void media(void *opaque)
{
    struct scsi_cd *cd = opaque;
    bool there = viv_front_ready(&cd->unit.front);

    cd->event = there ? EVENT_NEW_MEDIA : EVENT_REMOVAL;
    if (there)
        viv_scsi_attention(&cd->unit.scsi, VIV_SCSI_ASC_MEDIUM_CHANGED);
}

static void eject_asked(void *opaque)
{
    ((struct scsi_cd *)opaque)->event = EVENT_EJECT_REQUEST;
}

static void resend(void *opaque)
{
    scsi_io_resend(&((struct scsi_cd *)opaque)->unit);
}

static void told(void *opaque)
{
    viv_scsi_told(&((struct scsi_cd *)opaque)->unit.scsi);
}

int scsi_cd_open(struct scsi_cd *cd, struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_front_ops ops = {.media = media, .eject_asked = eject_asked, .resend = resend, .told = told};
    int rc = viv_front_open(&cd->unit.front, dev, opts, true, &ops, cd, err);

    if (rc < 0)
        return rc;
    scsi_set_names(&cd->unit, SCSI_VENDOR, "QEMU CD-ROM");
    cd->unit.front.ro = cd->unit.front.read_only_media = true;
    return 0;
}

void scsi_cd_close(struct scsi_cd *cd)
{
    viv_front_close(&cd->unit.front);
}

void scsi_cd_reset(struct scsi_cd *cd)
{
    scsi_io_reset(&cd->unit);
    viv_front_lock_tray(&cd->unit.front, false);
    cd->event = EVENT_NONE;
    cd->unit.scsi.attention = VIV_SCSI_ASC_POWER_ON;
}

static int cd_post_load(void *obj, int version, struct viv_err *err)
{
    struct scsi_cd *cd = obj;

    return cd->event <= EVENT_REMOVAL ? 0 : viv_fail(err, EINVAL, "a CD drive has no event %u", cd->event);
}

const struct viv_state_table viv_scsi_cd_state = {
    .name = "cd",
    .ctype = "scsi_cd",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(scsi_cd, unit, viv_scsi_unit_state),
            VIV_F_INT(scsi_cd, event),
            VIV_F_END,
        },
    .post_load = cd_post_load,
};

/* ---- scsi-cd, on any adapter ---- */

struct scsi_cd_dev {
    struct viv_dev dev;
    struct scsi_cd cd;
};

static int dev_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct scsi_cd *cd = &((struct scsi_cd_dev *)d)->cd;
    int rc = scsi_cd_open(cd, d, opts, err);

    if (rc < 0)
        return rc;
    rc = viv_scsi_dev_init(&cd->unit.scsi, d, &scsi_cd_ops, opts, err);
    if (rc < 0)
        scsi_cd_close(cd);
    return rc;
}

static void dev_unrealize(struct viv_dev *d)
{
    struct scsi_cd *cd = &((struct scsi_cd_dev *)d)->cd;

    viv_scsi_dev_fini(&cd->unit.scsi);
    scsi_cd_close(cd);
}

static void dev_reset(struct viv_dev *d)
{
    scsi_cd_reset(&((struct scsi_cd_dev *)d)->cd);
}

static void dev_running(struct viv_dev *d, bool running)
{
    viv_front_running(&((struct scsi_cd_dev *)d)->cd.unit.front, running);
}

static bool dev_idle(struct viv_dev *d)
{
    return viv_front_idle(&((struct scsi_cd_dev *)d)->cd.unit.front);
}

static const struct viv_state_table dev_state = {
    .name = "scsi-cd",
    .ctype = "scsi_cd_dev",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(scsi_cd_dev, dev),
            VIV_F_STRUCT(scsi_cd_dev, cd, viv_scsi_cd_state),
            VIV_F_END,
        },
};

static const struct viv_opt_def dev_props[] = {VIV_FRONT_PROPS, VIV_SCSI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_scsi_cd = {
    .name = "scsi-cd",
    .desc = "CD or DVD drive on a SCSI bus",
    .bus = VIV_BUS_SCSI,
    .hotplug = &viv_scsi_hotplug,
    .size = sizeof(struct scsi_cd_dev),
    .props = dev_props,
    .state = &dev_state,
    .realize = dev_realize,
    .reset = dev_reset,
    .unrealize = dev_unrealize,
    .vm_running = dev_running,
    .idle = dev_idle,
};
