/* scsi-hd: a disk (SBC-3). Left out: reservations, protection information, COMPARE AND WRITE, WRITE SAME of anything but zeroes. */
#include "dev/scsi/disk.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>

#define PRODUCT "QEMU HARDDISK"

struct range {
    uint64_t lba;
    uint32_t count;
};

/* LBA and length by the group of the operation code. */
static struct range range_of(const uint8_t *c)
{
    switch (c[0] >> 5) {
    case 0: /* 6 bytes: 0 blocks are 256 */
        return (struct range){viv_ld_be32(c) & 0x1fffff, c[4] ? c[4] : 256};
    case 4:
        return (struct range){viv_ld_be64(c + 2), viv_ld_be32(c + 10)};
    case 5:
        return (struct range){viv_ld_be32(c + 2), viv_ld_be32(c + 6)};
    default:
        return (struct range){viv_ld_be32(c + 2), viv_ld_be16(c + 7)};
    }
}

static bool range_ok(struct scsi_hd *h, struct viv_scsi_req *r, struct range at)
{
    if (viv_range_inside(at.lba, at.count, viv_front_blocks(&h->unit.front)))
        return true;
    viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LBA_RANGE);
    return false;
}

static bool writable(struct scsi_hd *h, struct viv_scsi_req *r)
{
    if (h->unit.front.ro)
        viv_scsi_fail(r, VIV_SCSI_DATA_PROTECT, VIV_SCSI_ASC_WRITE_PROTECTED);
    return !h->unit.front.ro;
}

/* ---- parsing ---- */

static void transfer(struct scsi_hd *h, struct viv_scsi_req *r, bool write)
{
    struct range at = range_of(r->cdb);

    if (r->cdb[0] >> 5 && r->cdb[1] >> 5) { /* protection information */
        scsi_invalid(r);
        return;
    }
    if (!range_ok(h, r, at) || (write && !writable(h, r)))
        return;
    r->direction = write ? VIV_SCSI_WRITE : VIV_SCSI_READ;
    r->start = at.lba * h->unit.front.logical;
    r->length = (uint64_t)at.count * h->unit.front.logical;
}

/* Without data to compare there is nothing to look at but the range. */
static void verify(struct scsi_hd *h, struct viv_scsi_req *r)
{
    if (r->cdb[1] & 6 || r->cdb[1] >> 5)
        scsi_invalid(r);
    else
        range_ok(h, r, range_of(r->cdb));
}

static void write_same(struct scsi_hd *h, struct viv_scsi_req *r)
{
    struct range at = range_of(r->cdb);
    bool none = r->cdb[0] == 0x93 && r->cdb[1] & 1; /* no data is sent: zeroes */

    if (!at.count || at.count > HD_MOST_BLOCKS || r->cdb[1] & 0xf6 /* protection, ANCHOR */ || (r->cdb[1] & 8 && !h->discard)) {
        scsi_invalid(r);
        return;
    }
    if (range_ok(h, r, at) && writable(h, r) && !none)
        viv_scsi_parameters(r, h->unit.front.logical);
}

static void unmap(struct scsi_hd *h, struct viv_scsi_req *r)
{
    if (!h->discard)
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_OPCODE);
    else if (r->cdb[1] & 1) /* anchored */
        scsi_invalid(r);
    else
        viv_scsi_parameters(r, viv_ld_be16(r->cdb + 7));
}

static void mode_select(struct viv_scsi_req *r)
{
    if ((r->cdb[1] & 0x11) != 0x10) /* pages, and not saved */
        scsi_invalid(r);
    else
        viv_scsi_parameters(r, r->cdb[0] == 0x55 ? viv_ld_be16(r->cdb + 7) : r->cdb[4]);
}

static bool parse_info(struct scsi_hd *h, struct viv_scsi_req *r)
{
    switch (r->cdb[0]) {
    case 0x03:
        scsi_request_sense(&h->unit, r);
        return true;
    case 0x12:
        scsi_inquiry(&h->unit, r, scsi_hd_vital_pages, scsi_hd_vital);
        return true;
    case 0x15:
    case 0x55:
        mode_select(r);
        return true;
    case 0x1a:
    case 0x5a:
        scsi_hd_mode_sense(h, r);
        return true;
    case 0x25:
        scsi_hd_capacity10(h, r);
        return true;
    case 0x9e:
        if ((r->cdb[1] & 31) == 0x10)
            scsi_hd_capacity16(h, r);
        else
            scsi_invalid(r);
        return true;
    default:
        return false;
    }
}

static void hd_parse(struct viv_scsi_dev *d, struct viv_scsi_req *r)
{
    struct scsi_hd *h = scsi_hd_of((struct scsi_unit *)d);

    if (parse_info(h, r))
        return;
    switch (r->cdb[0]) {
    case 0x00: /* TEST UNIT READY, START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL: it always answers, and stays */
    case 0x1b:
    case 0x1e:
    case 0x35: /* SYNCHRONIZE CACHE: all of it */
    case 0x91:
        break;
    case 0x08:
    case 0x28:
    case 0x88:
    case 0xa8:
        transfer(h, r, false);
        break;
    case 0x0a:
    case 0x2a:
    case 0x2e: /* WRITE AND VERIFY */
    case 0x8a:
    case 0x8e:
    case 0xaa:
    case 0xae:
        transfer(h, r, true);
        break;
    case 0x2f:
    case 0x8f:
    case 0xaf:
        verify(h, r);
        break;
    case 0x41:
    case 0x93:
        write_same(h, r);
        break;
    case 0x42:
        unmap(h, r);
        break;
    default:
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_OPCODE);
    }
}

/* ---- doing ---- */

/* All is written. The cache may have been switched off since that began, and the flush that goes with that have come before it: who is told
 * now takes it for durable. */
static void wrote(struct scsi_unit *u, struct viv_scsi_req *r)
{
    if (scsi_hd_of(u)->write_cache)
        viv_scsi_end(r, VIV_SCSI_GOOD);
    else
        scsi_io_range(u, r, VIV_BLK_FLUSH, 0, 0, 0, NULL);
}

static void do_write_same(struct scsi_hd *h, struct viv_scsi_req *r)
{
    struct range at = range_of(r->cdb);
    uint32_t block = h->unit.front.logical;

    for (uint64_t i = 0; r->buf && i < block; i++) {
        if (r->moved < block || r->buf[i]) { /* cut short, or no zeroes */
            viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_PARAMETERS);
            return;
        }
    }
    scsi_io_range(&h->unit, r, VIV_BLK_WRITE_ZEROES, at.lba * block, (uint64_t)at.count * block,
                  (r->cdb[1] & 8 ? VIV_BLK_UNMAP : 0u) | (h->write_cache ? 0u : VIV_BLK_FUA), h->write_cache ? wrote : NULL);
}

static struct range region(const struct viv_scsi_req *r, uint64_t i)
{
    const uint8_t *p = r->buf + 8 + 16 * i;

    return (struct range){viv_ld_be64(p), viv_ld_be32(p + 8)};
}

/* How many regions the list has: that of its own length, or what was sent if that is less (5.28.2). */
static uint64_t regions(const struct viv_scsi_req *r)
{
    return r->moved < 8 ? 0 : MIN(viv_ld_be16(r->buf + 2), r->moved - 8) / 16;
}

/* One after the other; r->start counts them. */
static void unmap_next(struct scsi_unit *u, struct viv_scsi_req *r)
{
    while (r->start < regions(r)) {
        struct range at = region(r, r->start++);

        if (!at.count)
            continue;
        scsi_io_range(u, r, VIV_BLK_DISCARD, at.lba * u->front.logical, (uint64_t)at.count * u->front.logical, 0, unmap_next);
        return;
    }
    viv_scsi_end(r, VIV_SCSI_GOOD);
}

static void do_unmap(struct scsi_hd *h, struct viv_scsi_req *r)
{
    uint64_t n = regions(r);

    if (r->length && r->moved < 8) {
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_PARAMETER_LENGTH);
        return;
    }
    if (!writable(h, r))
        return;
    for (uint64_t i = 0; i < n; i++) {
        struct range at = region(r, i);

        if (n > HD_MOST_REGIONS || at.count > HD_MOST_BLOCKS) {
            viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_PARAMETERS);
            return;
        }
        if (!range_ok(h, r, at))
            return;
    }
    r->start = 0;
    unmap_next(&h->unit, r);
}

/* START STOP UNIT (5.25): what is cached is written before the disk stops or goes to sleep, unless NO_FLUSH is set. */
static bool stops(const uint8_t *cdb)
{
    unsigned power = cdb[4] >> 4;
    bool start = cdb[4] & 1, no_flush = cdb[4] & 4;

    return !no_flush && (power ? power != 1 /* active */ : !start);
}

static void hd_execute(struct viv_scsi_dev *d, struct viv_scsi_req *r)
{
    struct scsi_hd *h = scsi_hd_of((struct scsi_unit *)d);

    switch (r->cdb[0]) {
    case 0x1b:
        if (stops(r->cdb))
            scsi_io_range(&h->unit, r, VIV_BLK_FLUSH, 0, 0, 0, NULL);
        else
            viv_scsi_end(r, VIV_SCSI_GOOD);
        break;
    case 0x15:
    case 0x55:
        scsi_hd_mode_select(h, r);
        break;
    case 0x35:
    case 0x91:
        scsi_io_range(&h->unit, r, VIV_BLK_FLUSH, 0, 0, 0, NULL);
        break;
    case 0x41:
    case 0x93:
        do_write_same(h, r);
        break;
    case 0x42:
        do_unmap(h, r);
        break;
    default:
        viv_scsi_end(r, VIV_SCSI_GOOD);
    }
}

static void hd_move(struct viv_scsi_dev *d, struct viv_scsi_req *r, const struct iovec *iov, unsigned n)
{
    struct scsi_hd *h = scsi_hd_of((struct scsi_unit *)d);
    bool verify = r->cdb[0] == 0x2e || r->cdb[0] == 0x8e || r->cdb[0] == 0xae; /* WRITE AND VERIFY: on the medium (5.47) */
    bool fua = !h->write_cache || verify || (r->cdb[0] >> 5 && r->cdb[1] & 8);

    if (r->direction != VIV_SCSI_WRITE)
        scsi_io_move(&h->unit, r, iov, n, 0, NULL);
    else
        scsi_io_move(&h->unit, r, iov, n, fua ? VIV_BLK_FUA : 0, fua ? NULL : wrote);
}

static void hd_cancel(struct viv_scsi_dev *d, struct viv_scsi_req *r)
{
    scsi_io_cancel((struct scsi_unit *)d, r);
}

/* SBC-3 4.17: mode parameters go back to their defaults. */
static void hd_unit_reset(struct viv_scsi_dev *d)
{
    struct scsi_hd *h = scsi_hd_of((struct scsi_unit *)d);

    h->write_cache = h->unit.front.wce_default;
}

const struct viv_scsi_dev_ops scsi_hd_ops = {
    .type = 0,
    .parse = hd_parse,
    .execute = hd_execute,
    .move = hd_move,
    .cancel = hd_cancel,
    .reset = hd_unit_reset,
};

/* ---- the device ---- */

static void resend(void *opaque)
{
    scsi_io_resend(&((struct scsi_hd *)opaque)->unit);
}

static void told(void *opaque)
{
    viv_scsi_told(&((struct scsi_hd *)opaque)->unit.scsi);
}

static void resized(void *opaque)
{
    viv_scsi_attention(&((struct scsi_hd *)opaque)->unit.scsi, VIV_SCSI_ASC_SIZE_CHANGED);
}

int scsi_hd_open(struct scsi_hd *h, struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_front_ops ops = {.resend = resend, .told = told, .resized = resized};
    struct viv_front *f = &h->unit.front;
    int rc = viv_front_open(f, dev, opts, false, &ops, h, err);

    if (rc < 0)
        return rc;
    scsi_set_names(&h->unit, SCSI_VENDOR, PRODUCT);
    h->discard = !f->ro;
    if (f->logical > VIV_SCSI_BUF_MOST)
        rc = viv_fail(err, EINVAL, "%s: logical_block_size is at most %d on SCSI", viv_opts_what(opts), VIV_SCSI_BUF_MOST);
    else if (!viv_front_blocks(f))
        rc = viv_fail(err, EINVAL, "%s: drive '%s' has no blocks", viv_opts_what(opts), f->drive->id);
    if (rc < 0)
        viv_front_close(f);
    return rc;
}

void scsi_hd_close(struct scsi_hd *h)
{
    viv_front_close(&h->unit.front);
}

void scsi_hd_reset(struct scsi_hd *h)
{
    scsi_io_reset(&h->unit);
    h->write_cache = h->unit.front.wce_default;
    h->unit.scsi.attention = VIV_SCSI_ASC_POWER_ON;
}

const struct viv_state_table viv_scsi_hd_state = {
    .name = "hd",
    .ctype = "scsi_hd",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(scsi_hd, unit, viv_scsi_unit_state),
            VIV_F_CONFIG(scsi_hd, discard),
            VIV_F_CONFIG(scsi_hd, rotation),
            VIV_F_INT(scsi_hd, write_cache),
            VIV_F_END,
        },
};

/* ---- on a bus of its own kind ---- */

struct scsi_hd_dev {
    struct viv_dev dev;
    struct scsi_hd hd;
};

static struct scsi_hd *hd_of(struct viv_dev *d)
{
    return &((struct scsi_hd_dev *)d)->hd;
}

/* What INQUIRY has room for. */
static int check_name(struct viv_opts *opts, const char *key, size_t most, struct viv_err *err)
{
    const char *text = viv_opts_str(opts, key);

    if (strlen(text) > most)
        return viv_fail(err, EINVAL, "%s: %s=%.60s: at most %zu characters", viv_opts_what(opts), key, text, most);
    return 0;
}

static int dev_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct scsi_hd *h = hd_of(d);
    int rc = check_name(opts, "vendor", sizeof(h->unit.vendor), err);

    if (!rc)
        rc = check_name(opts, "product", sizeof(h->unit.product), err);
    if (!rc)
        rc = scsi_hd_open(h, d, opts, err);
    if (rc < 0)
        return rc;
    scsi_set_names(&h->unit, viv_opts_str(opts, "vendor"), viv_opts_str(opts, "product"));
    h->unit.wwn = (uint64_t)viv_opts_int(opts, "wwn");
    h->rotation = (uint16_t)viv_opts_int(opts, "rotation_rate");
    rc = viv_scsi_dev_init(&h->unit.scsi, d, &scsi_hd_ops, opts, err);
    if (rc < 0)
        scsi_hd_close(h);
    return rc;
}

static void dev_unrealize(struct viv_dev *d)
{
    viv_scsi_dev_fini(&hd_of(d)->unit.scsi);
    scsi_hd_close(hd_of(d));
}

static void dev_reset(struct viv_dev *d)
{
    scsi_hd_reset(hd_of(d));
}

static void dev_running(struct viv_dev *d, bool running)
{
    viv_front_running(&hd_of(d)->unit.front, running);
}

static bool dev_idle(struct viv_dev *d)
{
    return viv_front_idle(&hd_of(d)->unit.front);
}

static const struct viv_state_table dev_state = {
    .name = "scsi-hd",
    .ctype = "scsi_hd_dev",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(scsi_hd_dev, dev),
            VIV_F_STRUCT(scsi_hd_dev, hd, viv_scsi_hd_state),
            VIV_F_END,
        },
};

static const struct viv_opt_def props[] = {
    VIV_FRONT_PROPS,
    VIV_SCSI_PROPS,
    {.name = "vendor", .type = VIV_OPT_STR, .def = SCSI_VENDOR, .help = "what INQUIRY says; SeaBIOS asks none but QEMU for a geometry"},
    {.name = "product", .type = VIV_OPT_STR, .def = PRODUCT, .help = "likewise"},
    {.name = "wwn", .type = VIV_OPT_INT, .help = "world wide name, 64 bits"},
    {.name = "rotation_rate", .type = VIV_OPT_INT, .max = 65534, .help = "turns a minute; 1: none, as an SSD"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_scsi_hd = {
    .name = "scsi-hd",
    .desc = "disk on a SCSI bus",
    .bus = VIV_BUS_SCSI,
    .hotplug = &viv_scsi_hotplug,
    .size = sizeof(struct scsi_hd_dev),
    .props = props,
    .state = &dev_state,
    .realize = dev_realize,
    .reset = dev_reset,
    .unrealize = dev_unrealize,
    .vm_running = dev_running,
    .idle = dev_idle,
};
