/* ide-hd: an ATA disk (ATA/ATAPI-7). Left out: security, host protected area, power states but their commands' answers. */
#include "dev/ide/hd.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static uint64_t lba28(const struct ide_hd *h)
{
    const struct ide_unit *u = &h->unit;
    uint32_t cylinder = u->mid[0] | (uint32_t)u->high[0] << 8, head = u->device & 15, sector = u->low[0];

    if (u->device & 0x40)
        return head << 24 | cylinder << 8 | sector;
    if (!sector || sector > h->track || head >= h->heads)
        return UINT64_MAX;
    return ((uint64_t)cylinder * h->heads + head) * h->track + sector - 1;
}

uint64_t ide_hd_lba48(const struct ide_unit *u)
{
    return (uint64_t)u->high[1] << 40 | (uint64_t)u->mid[1] << 32 | (uint64_t)u->low[1] << 24 | (uint64_t)u->high[0] << 16 |
           (uint64_t)u->mid[0] << 8 | u->low[0];
}

/* ---- commands that move data ---- */

enum { EXT = 1, MULTIPLE = 2, FUA = 4 };

static const struct {
    uint8_t code, op, flags;
} transfers[] = {
    {0x20, HD_PIO_READ, 0},         {0x21, HD_PIO_READ, 0},
    {0x24, HD_PIO_READ, EXT},       {0x25, HD_DMA_READ, EXT},
    {0x29, HD_PIO_READ, EXT | MULTIPLE}, {0x30, HD_PIO_WRITE, 0},
    {0x31, HD_PIO_WRITE, 0},        {0x34, HD_PIO_WRITE, EXT},
    {0x35, HD_DMA_WRITE, EXT},      {0x39, HD_PIO_WRITE, EXT | MULTIPLE},
    {0x3d, HD_DMA_WRITE, EXT | FUA}, {0x40, HD_VERIFY, 0},
    {0x41, HD_VERIFY, 0},           {0x42, HD_VERIFY, EXT},
    {0xc4, HD_PIO_READ, MULTIPLE},  {0xc5, HD_PIO_WRITE, MULTIPLE},
    {0xc8, HD_DMA_READ, 0},         {0xc9, HD_DMA_READ, 0},
    {0xca, HD_DMA_WRITE, 0},        {0xcb, HD_DMA_WRITE, 0},
    {0xce, HD_PIO_WRITE, EXT | MULTIPLE | FUA},
};

static bool transfer(struct ide_hd *h, uint8_t cmd)
{
    const struct ide_unit *u = &h->unit;
    uint32_t count, block;
    unsigned flags;
    size_t i = 0;

    while (i < G_N_ELEMENTS(transfers) && transfers[i].code != cmd)
        i++;
    if (i == G_N_ELEMENTS(transfers))
        return false;
    flags = transfers[i].flags;
    if (flags & MULTIPLE && !h->multiple) {
        ide_abort(&h->unit);
        return true;
    }
    count = flags & EXT ? u->count[0] | (uint32_t)u->count[1] << 8 : u->count[0];
    if (!count)
        count = flags & EXT ? 65536 : 256;
    block = flags & MULTIPLE ? h->multiple : transfers[i].op == HD_VERIFY ? IDE_BUF / HD_SECTOR : 1;
    h->fua = flags & FUA;
    ide_hd_start(h, transfers[i].op, flags & EXT ? ide_hd_lba48(&h->unit) : lba28(h), count, block);
    return true;
}

/* ---- the others ---- */

/* 6.49.9: PIO modes change nothing here; a DMA mode replaces the one before. */
static bool set_transfer_mode(struct ide_hd *h, uint8_t v)
{
    unsigned kind = v >> 3, mode = v & 7;

    if (kind <= 1)
        return kind ? mode <= 4 : mode <= 1;
    if ((kind == 4 && mode <= 2) || (kind == 8 && mode <= 5)) {
        h->mdma = kind == 4 ? (uint8_t)(1 << mode) : 0;
        h->udma = kind == 8 ? (uint8_t)(1 << mode) : 0;
        return true;
    }
    return false;
}

static void set_features(struct ide_hd *h)
{
    bool ok = true;

    switch (h->unit.feature[0]) {
    case 0x02:
        h->write_cache = true;
        break;
    case 0x82: /* what was written is made durable first (6.49.8) */
        h->write_cache = false;
        ide_hd_flush(h);
        return;
    case 0x03:
        ok = set_transfer_mode(h, h->unit.count[0]);
        break;
    case 0x66: /* settings survive a soft reset: as they do */
    case 0xcc: /* or do not: the ones they would fall back to are the same, but READ MULTIPLE's */
    case 0x55: /* read look-ahead */
    case 0xaa:
        break;
    default:
        ok = false;
    }
    ide_end(&h->unit, ok ? 0 : IDE_ERR, ok ? 0 : IDE_ABRT);
}

static void set_multiple(struct ide_hd *h)
{
    uint8_t n = h->unit.count[0];

    if (n > HD_MULTIPLE || (n & (n - 1))) {
        ide_abort(&h->unit);
        return;
    }
    h->multiple = n;
    ide_end(&h->unit, 0, 0);
}

static void set_geometry(struct ide_hd *h)
{
    uint8_t heads = (h->unit.device & 15) + 1, track = h->unit.count[0];

    if (!track) {
        ide_abort(&h->unit);
        return;
    }
    h->heads = heads;
    h->track = track;
    h->cylinders = (uint16_t)MIN(h->sectors / ((uint32_t)heads * track), 65535);
    ide_end(&h->unit, 0, 0);
}

/* 6.53: the key in the cylinder registers, the command in the features. */
static void smart(struct ide_hd *h)
{
    struct ide_unit *u = &h->unit;
    uint8_t what = u->feature[0];

    if (u->mid[0] != 0x4f || u->high[0] != 0xc2 || (!h->smart && what != 0xd8)) {
        ide_abort(u);
        return;
    }
    switch (what) {
    case 0xd0:
    case 0xd1:
        ide_hd_smart_data(u->buf);
        ide_hd_data(h);
        return;
    case 0xd5: /* READ LOG: programs ask for the directory where READ LOG EXT has one; SMART keeps none of its logs */
        if (u->low[0]) {
            ide_abort(u);
            return;
        }
        ide_hd_log_directory(u->buf);
        ide_hd_data(h);
        return;
    case 0xd8:
    case 0xd9:
        h->smart = what == 0xd8;
        break;
    case 0xd2: /* saving attributes: there are none */
    case 0xda: /* 4Fh, C2h stay: no threshold is exceeded */
        break;
    default:
        ide_abort(u);
        return;
    }
    ide_end(u, 0, 0);
}

static void native_max(struct ide_hd *h, bool ext)
{
    struct ide_unit *u = &h->unit;
    uint64_t last = ext ? h->sectors - 1 : MIN(h->sectors, 0x0fffffff) - 1;

    u->low[0] = (uint8_t)last;
    u->mid[0] = (uint8_t)(last >> 8);
    u->high[0] = (uint8_t)(last >> 16);
    u->low[1] = (uint8_t)(last >> 24);
    u->mid[1] = (uint8_t)(last >> 32);
    u->high[1] = (uint8_t)(last >> 40);
    if (!ext)
        u->device = (uint8_t)((u->device & 0xf0) | (last >> 24));
    ide_end(u, 0, 0);
}

static void no_data(struct ide_hd *h, uint8_t cmd)
{
    struct ide_unit *u = &h->unit;

    switch (cmd) {
    case 0xe5: /* CHECK POWER MODE: active */
        u->count[0] = 0xff;
        break;
    case 0xe1: /* IDLE (IMMEDIATE): this disk is always awake */
    case 0xe3:
        break;
    case 0x70: /* SEEK */
        if (lba28(h) >= h->sectors) {
            ide_end(u, IDE_ERR, IDE_IDNF);
            return;
        }
        break;
    default:
        if (cmd >> 4 != 1) { /* RECALIBRATE */
            viv_log(VIV_LOG_UNIMP, "%s: ATA command %02xh", u->ch->name, cmd);
            ide_abort(u);
            return;
        }
    }
    ide_end(u, 0, 0);
}

void ide_hd_command(struct ide_unit *u, uint8_t cmd)
{
    struct ide_hd *h = (struct ide_hd *)u->dev;

    if (transfer(h, cmd))
        return;
    switch (cmd) {
    case 0x06: /* DATA SET MANAGEMENT */
        ide_hd_trim(h);
        break;
    case 0x2f: /* READ LOG EXT: there are logs where there is a queue */
        if (u->ch->host && ide_hd_read_log(h, u->buf))
            ide_hd_data(h);
        else
            ide_abort(u);
        break;
    case 0x27:
    case 0xf8:
        native_max(h, cmd == 0x27);
        break;
    case 0x91:
        set_geometry(h);
        break;
    case 0xb0:
        smart(h);
        break;
    case 0xc6:
        set_multiple(h);
        break;
    case 0xe0: /* STANDBY (IMMEDIATE), SLEEP: a disk that stops turning has written what it held; then the power may go */
    case 0xe2:
    case 0xe6:
    case 0xe7:
    case 0xea:
        ide_hd_flush(h);
        break;
    case 0xec:
        ide_hd_identify(h, u->buf);
        ide_hd_data(h);
        break;
    case 0xef:
        set_features(h);
        break;
    default:
        no_data(h, cmd);
    }
}

/* ---- the device ---- */

static int take_names(struct ide_hd *h, struct viv_opts *opts, struct viv_err *err)
{
    const char *model = viv_opts_str(opts, "model"), *ver = viv_opts_str(opts, "ver"), *what = viv_opts_what(opts);

    if (strlen(model) > 40 || strlen(ver) > 8 || strlen(h->front.serial) > 20)
        return viv_fail(err, EINVAL, "%s: model has at most 40 characters, ver 8, serial 20", what);
    g_strlcpy(h->model, model, sizeof(h->model));
    g_strlcpy(h->revision, ver, sizeof(h->revision));
    h->rotation = (uint16_t)viv_opts_int(opts, "rotation_rate");
    h->wwn = (uint64_t)viv_opts_int(opts, "wwn");
    if (!h->front.serial[0])
        ide_unit_name(&h->unit, h->front.serial, sizeof(h->front.serial));
    return 0;
}

static int check(const struct ide_hd *h, struct viv_opts *opts, struct viv_err *err)
{
    const char *what = viv_opts_what(opts), *id = h->front.drive->id;

    if (h->front.logical != HD_SECTOR)
        return viv_fail(err, EINVAL, "%s: logical_block_size=%u: an IDE disk has 512; physical_block_size can be more", what,
                        h->front.logical);
    if (h->front.min_io || h->front.opt_io || h->front.discard)
        return viv_fail(err, EINVAL, "%s: an IDE disk cannot tell min_io_size, opt_io_size or discard_granularity; leave them out",
                        what);
    if (h->front.ro)
        return viv_fail(err, EROFS, "%s: drive '%s' is read-only, and an IDE disk cannot be; use virtio-blk, or snapshot=on", what, id);
    if (!h->sectors || h->sectors > HD_SECTORS_MOST)
        return viv_fail(err, EINVAL, "%s: drive '%s' has %s for an IDE disk", what, id, h->sectors ? "too many sectors" : "no sectors");
    return 0;
}

/* A guest learns it when it identifies the disk again. What is under way fails if its place is gone. */
static void resized(void *opaque)
{
    struct ide_hd *h = opaque;

    h->sectors = CLAMP(viv_blk_size(h->front.drive->blk) / HD_SECTOR, 1, HD_SECTORS_MOST);
    h->cylinders = (uint16_t)MIN(h->cylinders, MAX(h->sectors / (h->heads * h->track), 2)); /* it grows at a reset */
}

static int hd_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_front_ops ops = {.resend = ide_hd_resend, .resized = resized};
    struct ide_hd *h = (struct ide_hd *)d;
    int rc = viv_front_open(&h->front, d, opts, false, &ops, h, err);

    if (rc < 0)
        return rc;
    h->sectors = viv_blk_size(h->front.drive->blk) / HD_SECTOR;
    rc = check(h, opts, err);
    if (!rc)
        rc = ide_unit_init(&h->unit, d, &ide_hd_ops, opts, err);
    if (!rc)
        rc = take_names(h, opts, err);
    if (!rc)
        rc = ide_unit_boot(&h->unit, h->front.bootindex, err);
    if (rc < 0) {
        ide_unit_fini(&h->unit);
        viv_front_close(&h->front);
        return rc;
    }
    d->path = g_strdup_printf("%s/%u/ide-hd", h->unit.ch->name, h->unit.n);
    return 0;
}

static void hd_unrealize(struct viv_dev *d)
{
    struct ide_hd *h = (struct ide_hd *)d;

    viv_front_close(&h->front);
    ide_unit_fini(&h->unit);
    ide_hd_queue_free(h);
}

/* With 16 heads and 63 sectors a track. Firmware takes a disk of no cylinder for none; 2 is what other machine emulators say of
 * the smallest, and what BIOSes of the time wanted at least. */
uint16_t ide_hd_cylinders(const struct ide_hd *h)
{
    return (uint16_t)CLAMP(h->sectors / (16 * 63), 2, 16383);
}

void ide_hd_defaults(struct ide_hd *h)
{
    h->write_cache = h->front.wce_default;
    h->smart = true;
    h->mdma = 0;
    h->udma = 1 << 5;
    h->heads = 16;
    h->track = 63;
    h->cylinders = ide_hd_cylinders(h);
    h->failed = (struct hd_failed){.tag = HD_NO_TAG};
    h->fua = false;
    h->at = h->left = 0;
    h->part = h->block = 0;
}

static void hd_reset(struct viv_dev *d)
{
    struct ide_hd *h = (struct ide_hd *)d;

    ide_unit_power_on(&h->unit);
    viv_front_wait_idle(&h->front);
    ide_hd_defaults(h);
}

static void hd_running(struct viv_dev *d, bool running)
{
    viv_front_running(&((struct ide_hd *)d)->front, running);
}

static bool hd_idle(struct viv_dev *d)
{
    return viv_front_idle(&((struct ide_hd *)d)->front);
}

static int hd_post_load(void *obj, int version, struct viv_err *err)
{
    const struct ide_hd *h = obj;
    uint8_t phase = h->unit.phase;
    bool ok = h->op < HD_OPS && (h->op == HD_NONE) == (phase == IDE_IDLE) && (phase == IDE_BUSY || h->held) == h->front.holding;

    if (phase == IDE_DMA)
        ok &= h->op == HD_DMA_READ || h->op == HD_DMA_WRITE || h->op == HD_TRIM;
    if (h->op == HD_TRIM)
        ok &= h->left && h->left <= IDE_BUF && h->left % HD_SECTOR == 0 && (phase == IDE_DMA || phase == IDE_BUSY);
    if (phase == IDE_PIO_IN)
        ok &= h->op == HD_PIO_READ || (h->op == HD_DATA && !h->left);
    if (phase == IDE_PIO_OUT)
        ok &= h->op == HD_PIO_WRITE && h->part == h->unit.len && h->part <= h->left;
    if (h->op != HD_NONE)
        ok &= ide_hd_is_place(h->at, h->left) && h->part <= IDE_MOST && h->block <= IDE_BUF &&
              (h->op == HD_DATA || h->op == HD_FLUSH || h->op == HD_TRIM || h->op == HD_DMA_READ || h->op == HD_DMA_WRITE || h->block);
    if (phase == IDE_BUSY && (h->op == HD_PIO_READ || h->op == HD_PIO_WRITE || h->op == HD_VERIFY))
        ok &= h->part && h->part <= h->left && h->part <= h->block;
    if (phase == IDE_BUSY)
        ok &= h->op != HD_DATA;
    if (!ok || !h->heads || !h->track || h->multiple > HD_MULTIPLE)
        return viv_fail(err, EINVAL, "an IDE disk cannot be in such a state (command %u, phase %u)", h->op, phase);
    return 0;
}

static const struct viv_state_table hd_state = {
    .name = "ide-hd",
    .ctype = "ide_hd",
    .version = 2, /* 2: queued commands */
    .min_version = 2,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ide_hd, dev),
            VIV_F_STRUCT(ide_hd, unit, ide_unit_state),
            VIV_F_STRUCT(ide_hd, front, viv_front_state),
            VIV_F_CONFIG(ide_hd, model),
            VIV_F_CONFIG(ide_hd, revision),
            VIV_F_CONFIG(ide_hd, wwn),
            VIV_F_CONFIG(ide_hd, rotation),
            VIV_F_CONFIG(ide_hd, sectors),
            VIV_F_INT(ide_hd, op),
            VIV_F_INT(ide_hd, fua),
            VIV_F_INT(ide_hd, at),
            VIV_F_INT(ide_hd, left),
            VIV_F_INT(ide_hd, part),
            VIV_F_INT(ide_hd, block),
            VIV_F_INT(ide_hd, multiple),
            VIV_F_INT(ide_hd, write_cache),
            VIV_F_INT(ide_hd, smart),
            VIV_F_INT(ide_hd, mdma),
            VIV_F_INT(ide_hd, udma),
            VIV_F_INT(ide_hd, cylinders),
            VIV_F_INT(ide_hd, heads),
            VIV_F_INT(ide_hd, track),
            VIV_F_CUSTOM(ide_hd, queue, ide_hd_queue_save, ide_hd_queue_load),
            VIV_F_DERIVED(ide_hd, queued, "those that are held"),
            VIV_F_DERIVED(ide_hd, held, "saved with the queue"),
            VIV_F_STRUCT(ide_hd, failed, ide_hd_failed_state),
            VIV_F_DERIVED(ide_hd, req, "nothing is in flight when it is saved"),
            VIV_F_DERIVED(ide_hd, iov, "nothing is in flight when it is saved"),
            VIV_F_END,
        },
    .post_load = hd_post_load,
};

static const struct viv_opt_def props[] = {
    VIV_FRONT_PROPS,
    IDE_PROPS,
    {.name = "model", .type = VIV_OPT_STR, .def = "QEMU HARDDISK", .help = "name of the disk"},
    {.name = "ver", .type = VIV_OPT_STR, .def = VIV_FRONT_REVISION, .help = "revision of its firmware"},
    {.name = "rotation_rate", .type = VIV_OPT_INT, .max = 65534, .help = "turns a minute; 1: none, as an SSD"},
    {.name = "wwn", .type = VIV_OPT_INT, .help = "world wide name, 64 bits"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_ide_hd = {
    .name = "ide-hd",
    .desc = "ATA disk",
    .bus = VIV_BUS_IDE,
    .size = sizeof(struct ide_hd),
    .props = props,
    .state = &hd_state,
    .realize = hd_realize,
    .reset = hd_reset,
    .unrealize = hd_unrealize,
    .vm_running = hd_running,
    .idle = hd_idle,
};
