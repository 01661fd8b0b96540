/* ide-cd: the CD drive behind ATA's PACKET command (ATA/ATAPI-7 volume 2, 11.8; SFF-8020i).
 *
 * A packet becomes a request of the SCSI target inside. By PIO its data passes through the unit's buffer, 64 KiB at a time, which
 * the guest reads in blocks of the byte count it has set; by DMA it goes straight to guest memory. */
#include "dev/ide/ide.h"
#include "dev/scsi/cd.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define PACKET 12
enum { REASON_CD = 1, REASON_IO = 2 }; /* interrupt reason, in the count register */

struct ide_cd {
    struct viv_dev dev;
    struct ide_unit unit;
    struct scsi_cd cd;
    struct viv_scsi_bus *bus;
    struct viv_scsi_req *req; /* NULL: none, or to be made anew from what follows */

    uint8_t cdb[PACKET];
    bool packet;     /* PIO_OUT is of a packet */
    bool identify;   /* PIO_IN is IDENTIFY's */
    bool dma;        /* this command's data */
    bool running;    /* between packet and status */
    bool ended;      /* its status is known; the guest has yet to read what is in buf */
    uint8_t status;
    uint16_t limit;  /* bytes of a block */
    uint64_t moved;  /* by the target */
    uint32_t have;   /* bytes in buf */
    uint8_t sense[VIV_SCSI_SENSE_LEN]; /* of the last command */
    bool has_sense;
    bool mapped;     /* what the channel has mapped is for our request, and not the other unit's */
};

static struct ide_cd *cd_of(struct ide_unit *u)
{
    return (struct ide_cd *)((char *)u - offsetof(struct ide_cd, unit));
}

/* ---- the end ---- */

static void finish(struct ide_cd *c)
{
    uint8_t key = c->has_sense && c->status ? c->sense[2] & 15 : 0;

    c->running = c->ended = false;
    if (c->dma)
        ide_bm_done(c->unit.ch);
    c->unit.count[0] = REASON_CD | REASON_IO;
    if (c->status == VIV_SCSI_GOOD)
        ide_end(&c->unit, 0, 0);
    else
        ide_end(&c->unit, IDE_ERR, (uint8_t)(key << 4 | IDE_ABRT));
}

static void drop_request(struct ide_cd *c)
{
    struct viv_scsi_req *r = c->req;

    c->req = NULL;
    if (r)
        viv_scsi_put(r);
}

static void on_done(struct viv_scsi_req *r)
{
    struct ide_cd *c = r->mine;

    if (c->mapped)
        ide_dma_unmap(&c->unit.ch->dma, false);
    c->mapped = false;
    c->status = r->status;
    if (r->status == VIV_SCSI_CHECK && !r->cancelled) {
        memcpy(c->sense, r->sense, sizeof(c->sense));
        c->has_sense = true;
    }
    drop_request(c);
    if (c->unit.resetting) {
        c->running = c->ended = false;
        ide_reset_done(&c->unit);
    } else if (c->running) {
        c->ended = true;
        if (c->unit.phase == IDE_BUSY || c->unit.phase == IDE_DMA)
            finish(c);
    }
}

/* ---- data ---- */

/* The next block for the guest: an even number of bytes unless it is the last one (SFF-8020i 5.1). */
static void show_block(struct ide_cd *c, uint32_t from)
{
    uint32_t n = c->have - from;

    if (n > c->limit)
        n = c->limit & ~1u;
    c->unit.count[0] = REASON_IO;
    c->unit.mid[0] = (uint8_t)n;
    c->unit.high[0] = (uint8_t)(n >> 8);
    ide_pio(&c->unit, IDE_PIO_IN, from, from + n, true);
}

static void on_moved(struct viv_scsi_req *r, size_t bytes)
{
    struct ide_cd *c = r->mine;

    c->moved = r->moved;
    if (r->cancelled)
        return;
    if (c->dma) {
        c->mapped = false;
        ide_dma_unmap(&c->unit.ch->dma, true);
        if (r->moved < r->length)
            ide_dma_wait(&c->unit);
        return;
    }
    c->have = (uint32_t)bytes;
    show_block(c, 0);
}

static void move_pio(struct ide_cd *c)
{
    struct iovec iov = {c->unit.buf, IDE_BUF};

    ide_busy(&c->unit);
    viv_scsi_move(c->req, &iov, 1);
}

static void move_dma(struct ide_cd *c)
{
    struct ide_channel *ch = c->unit.ch;
    struct viv_scsi_req *r = c->req;
    int64_t n;

    if (ch->dma.pieces) /* the other unit's: the phase stays, until the bus master is started again */
        return;
    n = ide_dma_map(&ch->dma, r->length - r->moved, true);
    ide_busy(&c->unit);
    if (n > 0) {
        c->mapped = true;
        viv_scsi_move(r, ch->dma.iov, ch->dma.pieces);
    } else if (n == 0) { /* the table ends before the data does */
        viv_scsi_move(r, NULL, 0);
    } else {
        ide_bm_failed(ch);
        viv_scsi_cancel(r);
    }
}

/* ---- packets ---- */

/* From the saved members, so also in the process that has loaded them. */
static int make_request(struct ide_cd *c, struct viv_err *err)
{
    struct scsi_cd *cd = &c->cd;
    uint16_t attention = cd->unit.scsi.attention;

    c->req = viv_scsi_new(c->bus, 0, 0, 0, c->cdb, PACKET, c);
    /* Sense is kept for the command that asks, which tells of a unit attention only when there is none. */
    if (c->cdb[0] == 0x03 && c->has_sense && c->req->buf) {
        memcpy(c->req->buf, c->sense, sizeof(c->sense));
        cd->unit.scsi.attention = attention;
    }
    return c->moved ? viv_scsi_resume(c->req, c->moved, err) : 0;
}

static void go_on(struct ide_cd *c)
{
    struct viv_err err = VIV_ERR_INIT;

    if (!c->req && make_request(c, &err) < 0) {
        viv_error("%s", err.text);
        viv_scsi_cancel(c->req);
        return;
    }
    if (c->req->direction == VIV_SCSI_NONE) {
        ide_busy(&c->unit);
        viv_scsi_move(c->req, NULL, 0);
    } else if (c->req->direction == VIV_SCSI_WRITE) { /* the target has no such command */
        viv_scsi_cancel(c->req);
    } else if (c->dma) {
        if (c->unit.phase == IDE_DMA)
            move_dma(c);
        else
            ide_dma_wait(&c->unit);
    } else {
        move_pio(c);
    }
}

static void start_packet(struct ide_cd *c)
{
    c->packet = false;
    memcpy(c->cdb, c->unit.buf, PACKET);
    if (c->cdb[0] != 0x03)
        c->has_sense = false;
    c->running = true;
    c->ended = false;
    c->moved = 0;
    c->have = 0;
    ide_busy(&c->unit);
    go_on(c);
}

static void identify(struct ide_cd *c)
{
    const struct scsi_cd *cd = &c->cd;
    uint8_t *p = c->unit.buf;

    memset(p, 0, 512);
    viv_st_le16(p, 0x85c0); /* ATAPI, CD-ROM, removable, packets of 12 bytes at once */
    ide_put_string(p + 20, cd->unit.front.serial, 20);
    ide_put_string(p + 46, VIV_FRONT_REVISION, 8);
    ide_put_string(p + 54, cd->unit.product, 40);
    viv_st_le16(p + 2 * 49, 1 << 11 | 1 << 9 | 1 << 8); /* IORDY, LBA, DMA */
    viv_st_le16(p + 2 * 53, 6);
    viv_st_le16(p + 2 * 63, 0x07);
    viv_st_le16(p + 2 * 64, 0x03);
    for (unsigned n = 65; n <= 68; n++)
        viv_st_le16(p + 2 * n, 120);
    viv_st_le16(p + 2 * 80, 0xf0);
    viv_st_le16(p + 2 * 82, 1 << 14 | 1 << 9 | 1 << 4); /* NOP, DEVICE RESET, PACKET */
    viv_st_le16(p + 2 * 83, 1 << 14);
    viv_st_le16(p + 2 * 85, 1 << 14 | 1 << 9 | 1 << 4);
    viv_st_le16(p + 2 * 87, 1 << 14);
    viv_st_le16(p + 2 * 88, 0x203f); /* Ultra DMA 0-5 */
    if (c->unit.ch->host)
        viv_st_le16(p + 2 * 76, 1 << 1); /* SATA, 1.5 Gb/s */
    else
        viv_st_le16(p + 2 * 93, (uint16_t)(0x600b | (c->unit.n ? 0x0200 : 0)));
    c->identify = true;
    ide_pio(&c->unit, IDE_PIO_IN, 0, 512, true);
}

static void packet_command(struct ide_cd *c)
{
    struct ide_unit *u = &c->unit;

    if (u->feature[0] & 2) { /* overlapped */
        ide_abort(u);
        return;
    }
    c->dma = u->feature[0] & 1;
    c->limit = (uint16_t)(u->mid[0] | u->high[0] << 8);
    if (c->limit < 2 || c->limit == 0xffff) /* 0: as many as there are; FFFFh is FFFEh */
        c->limit = 0xfffe;
    c->packet = true;
    u->count[0] = REASON_CD;
    ide_pio(u, IDE_PIO_OUT, 0, PACKET, false);
}

static void cd_command(struct ide_unit *u, uint8_t cmd)
{
    struct ide_cd *c = cd_of(u);

    switch (cmd) {
    case 0xa0:
        packet_command(c);
        return;
    case 0xa1:
        identify(c);
        return;
    case 0xe5: /* CHECK POWER MODE: active */
        u->count[0] = 0xff;
        break;
    case 0xe0: /* power, SET FEATURES (transfer modes), FLUSH CACHE: nothing changes */
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6:
    case 0xe7:
        break;
    case 0xef:
        if (u->feature[0] == 0x03 || u->feature[0] == 0x66 || u->feature[0] == 0xcc)
            break;
        ide_abort(u);
        return;
    case 0x20: /* READ SECTORS, IDENTIFY DEVICE: how ATAPI is told from ATA (9.12) */
    case 0xec:
        ide_signature(u);
        u->device = (uint8_t)(u->n << 4);
        ide_abort(u);
        return;
    default:
        ide_abort(u);
        return;
    }
    ide_end(u, 0, 0);
}

static void drained(struct ide_unit *u)
{
    struct ide_cd *c = cd_of(u);

    if (c->identify) {
        c->identify = false;
        u->phase = IDE_IDLE;
        u->pos = u->len = 0;
        u->status = IDE_DRDY;
    } else if (u->pos < c->have) {
        show_block(c, u->pos);
    } else if (c->ended) {
        finish(c);
    } else {
        u->pos = u->len = 0;
        go_on(c);
    }
}

static void filled(struct ide_unit *u)
{
    u->pos = u->len = 0;
    start_packet(cd_of(u));
}

static void dma(struct ide_unit *u)
{
    go_on(cd_of(u));
}

static bool reset(struct ide_unit *u)
{
    struct ide_cd *c = cd_of(u);

    c->running = c->ended = c->identify = c->packet = false;
    viv_front_drop_held(&c->cd.unit.front);
    if (c->req)
        viv_scsi_cancel(c->req); /* on_done() may come at once */
    return !c->req;
}

static const struct ide_unit_ops unit_ops = {
    .packet = true,
    .command = cd_command,
    .drained = drained,
    .filled = filled,
    .dma = dma,
    .reset = reset,
};

/* ---- the device ---- */

static int cd_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_scsi_bus_ops ops = {.ids = 1, .luns = 1, .moved = on_moved, .done = on_done};
    struct ide_cd *c = (struct ide_cd *)d;
    struct viv_front *f = &c->cd.unit.front;
    int rc = scsi_cd_open(&c->cd, d, opts, err);

    if (rc < 0)
        return rc;
    scsi_set_names(&c->cd.unit, SCSI_VENDOR, "QEMU DVD-ROM");
    rc = ide_unit_init(&c->unit, d, &unit_ops, opts, err);
    if (!rc && strlen(f->serial) > 20)
        rc = viv_fail(err, EINVAL, "%s: serial has at most 20 characters", viv_opts_what(opts));
    if (!rc)
        rc = ide_unit_boot(&c->unit, f->bootindex, err);
    if (rc < 0) {
        ide_unit_fini(&c->unit);
        scsi_cd_close(&c->cd);
        return rc;
    }
    if (!f->serial[0])
        ide_unit_name(&c->unit, f->serial, sizeof(f->serial));
    c->bus = viv_scsi_bus_new(d, NULL, &ops);
    viv_scsi_dev_plug(&c->cd.unit.scsi, d, &scsi_cd_ops, c->bus, 0, 0);
    d->path = g_strdup_printf("%s/%u/ide-cd", c->unit.ch->name, c->unit.n);
    return 0;
}

static void cd_unrealize(struct viv_dev *d)
{
    struct ide_cd *c = (struct ide_cd *)d;

    viv_front_drop_held(&c->cd.unit.front);
    c->running = false;
    if (c->req)
        viv_scsi_cancel(c->req);
    scsi_cd_close(&c->cd);
    viv_scsi_dev_fini(&c->cd.unit.scsi);
    viv_scsi_bus_free(c->bus);
    ide_unit_fini(&c->unit);
}

static void cd_reset(struct viv_dev *d)
{
    struct ide_cd *c = (struct ide_cd *)d;

    ide_unit_power_on(&c->unit);
    scsi_cd_reset(&c->cd);
    c->has_sense = c->dma = false;
    c->status = 0;
    c->limit = 0;
    c->moved = c->have = 0;
}

static void cd_running(struct viv_dev *d, bool running)
{
    struct ide_cd *c = (struct ide_cd *)d;
    struct viv_front *f = &c->cd.unit.front;

    if (running && f->holding && !c->req) { /* loaded from another process */
        f->holding = false;
        if (c->dma)
            c->unit.phase = IDE_DMA;
        go_on(c);
        return;
    }
    viv_front_running(f, running);
}

static bool cd_idle(struct viv_dev *d)
{
    return viv_front_idle(&((struct ide_cd *)d)->cd.unit.front);
}

static int cd_post_load(void *obj, int version, struct viv_err *err)
{
    const struct ide_cd *c = obj;
    uint8_t phase = c->unit.phase;
    bool ok = (phase == IDE_BUSY) == c->cd.unit.front.holding && c->have <= IDE_BUF && (!c->running || c->limit >= 2);

    if (phase == IDE_PIO_OUT)
        ok &= c->packet && c->unit.len == PACKET && !c->running && !c->identify;
    if (phase == IDE_PIO_IN)
        ok &= c->identify ? !c->running : c->running && c->unit.len <= c->have && !c->dma;
    if (phase == IDE_DMA || phase == IDE_BUSY)
        ok &= c->running && !c->ended && c->dma >= (phase == IDE_DMA);
    if (phase == IDE_IDLE)
        ok &= !c->running && !c->packet && !c->identify;
    return ok ? 0 : viv_fail(err, EINVAL, "an ATAPI unit cannot be in such a state (phase %u)", phase);
}

static const struct viv_state_table cd_state = {
    .name = "ide-cd",
    .ctype = "ide_cd",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ide_cd, dev),
            VIV_F_STRUCT(ide_cd, unit, ide_unit_state),
            VIV_F_STRUCT(ide_cd, cd, viv_scsi_cd_state),
            VIV_F_CONFIG(ide_cd, bus),
            VIV_F_DERIVED(ide_cd, req, "made anew from cdb and moved when it goes on"),
            VIV_F_BYTES(ide_cd, cdb),
            VIV_F_INT(ide_cd, packet),
            VIV_F_INT(ide_cd, identify),
            VIV_F_INT(ide_cd, dma),
            VIV_F_INT(ide_cd, running),
            VIV_F_INT(ide_cd, ended),
            VIV_F_INT(ide_cd, status),
            VIV_F_INT(ide_cd, limit),
            VIV_F_INT(ide_cd, moved),
            VIV_F_INT(ide_cd, have),
            VIV_F_BYTES(ide_cd, sense),
            VIV_F_INT(ide_cd, has_sense),
            VIV_F_DERIVED(ide_cd, mapped, "mapped anew after a load"),
            VIV_F_END,
        },
    .post_load = cd_post_load,
};

static const struct viv_opt_def props[] = {VIV_FRONT_PROPS, IDE_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_ide_cd = {
    .name = "ide-cd",
    .desc = "ATAPI CD or DVD drive",
    .bus = VIV_BUS_IDE,
    .size = sizeof(struct ide_cd),
    .props = props,
    .state = &cd_state,
    .realize = cd_realize,
    .reset = cd_reset,
    .unrealize = cd_unrealize,
    .vm_running = cd_running,
    .idle = cd_idle,
};
