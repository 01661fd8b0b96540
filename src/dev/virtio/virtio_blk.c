/* virtio-blk: configuration, options, life. The requests are in virtio_blk_req.c. */
#include "dev/virtio/virtio_blk.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* 5.2.4 */
#define CFG(field) offsetof(struct virtio_blk_config, field)

static uint64_t blk_features(struct viv_virtio *v)
{
    struct virtio_blk *b = (struct virtio_blk *)v;
    uint64_t f = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_GEOMETRY | 1ull << VIRTIO_BLK_F_BLK_SIZE |
                 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY;

    if (b->ro)
        f |= 1ull << VIRTIO_BLK_F_RO;
    if (b->config_wce)
        f |= 1ull << VIRTIO_BLK_F_CONFIG_WCE;
    if (b->queue_num > 1)
        f |= 1ull << VIRTIO_BLK_F_MQ;
    if (b->discard)
        f |= 1ull << VIRTIO_BLK_F_DISCARD;
    if (b->write_zeroes)
        f |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
    return f;
}

static void blk_get_config(struct viv_virtio *v, uint8_t *c)
{
    struct virtio_blk *b = (struct virtio_blk *)v;
    uint64_t sectors = viv_blk_size(b->drive->blk) / BLK_SECTOR, cylinders = sectors / (16 * 63);

    viv_st_le64(c + CFG(capacity), sectors);
    viv_st_le32(c + CFG(seg_max), b->queue_size - 2); /* header and status take one each */
    viv_st_le16(c + CFG(geometry.cylinders), cylinders > 65535 ? 65535 : cylinders);
    c[CFG(geometry.heads)] = 16;
    c[CFG(geometry.sectors)] = 63;
    viv_st_le32(c + CFG(blk_size), b->logical);
    c[CFG(physical_block_exp)] = __builtin_ctz(b->physical / b->logical);
    viv_st_le16(c + CFG(min_io_size), b->min_io);
    viv_st_le32(c + CFG(opt_io_size), b->opt_io);
    c[CFG(wce)] = b->wce;
    viv_st_le16(c + CFG(num_queues), b->queue_num);
    if (b->discard) {
        viv_st_le32(c + CFG(max_discard_sectors), b->max_discard);
        viv_st_le32(c + CFG(max_discard_seg), 1);
        viv_st_le32(c + CFG(discard_sector_alignment), b->discard_align);
    }
    if (b->write_zeroes) {
        viv_st_le32(c + CFG(max_write_zeroes_sectors), b->max_write_zeroes);
        viv_st_le32(c + CFG(max_write_zeroes_seg), 1);
        c[CFG(write_zeroes_may_unmap)] = 1;
    }
}

static void blk_set_config(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val)
{
    struct virtio_blk *b = (struct virtio_blk *)v;

    if (off != CFG(wce) || len != 1 || !viv_virtio_has(v, VIRTIO_BLK_F_CONFIG_WCE)) {
        viv_guest_error(viv_virtio_name(v), "write of %u bytes at %u of the configuration", len, off);
        return;
    }
    b->wce = val[0] & 1;
}

static void blk_reset(struct viv_virtio *v)
{
    struct virtio_blk *b = (struct virtio_blk *)v;

    virtio_blk_drop_held(b);
    virtio_blk_wait_idle(b);
    b->wce = b->wce_default;
}

static void blk_vm_running(struct viv_virtio *v, bool running)
{
    if (running)
        virtio_blk_resend_held((struct virtio_blk *)v);
}

static bool blk_idle(struct viv_virtio *v)
{
    return !((struct virtio_blk *)v)->in_flight;
}

static bool power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

static int take_geometry(struct virtio_blk *b, struct viv_opts *opts, struct viv_err *err)
{
    const char *what = viv_opts_what(opts);
    uint64_t min_io = viv_opts_size(opts, "min_io_size"), opt_io = viv_opts_size(opts, "opt_io_size");
    uint64_t align = viv_opts_size(opts, "discard_granularity");

    b->logical = viv_opts_size(opts, "logical_block_size");
    b->physical = viv_opts_size(opts, "physical_block_size");
    if (!power_of_two(b->logical) || !power_of_two(b->physical))
        return viv_fail(err, EINVAL, "%s: block sizes are powers of two from 512 to 2097152", what);
    if (b->physical < b->logical)
        return viv_fail(err, EINVAL, "%s: physical_block_size=%u is less than logical_block_size=%u",
                        what, b->physical, b->logical);
    if (min_io % b->logical || opt_io % b->logical || min_io / b->logical > UINT16_MAX)
        return viv_fail(err, EINVAL, "%s: min_io_size and opt_io_size are multiples of %u", what,
                        b->logical);
    if (align % b->logical)
        return viv_fail(err, EINVAL, "%s: discard_granularity is a multiple of %u", what, b->logical);
    b->min_io = min_io / b->logical;
    b->opt_io = opt_io / b->logical;
    b->discard_align = (align ? align : b->logical) / BLK_SECTOR;
    return 0;
}

static enum viv_drive_error policy(const char *text, enum viv_drive_error of_drive,
                                   enum viv_drive_error fallback)
{
    if (!strcmp(text, "auto"))
        return of_drive == VIV_DRIVE_ERROR_AUTO ? fallback : of_drive;
    if (!strcmp(text, "report"))
        return VIV_DRIVE_ERROR_REPORT;
    if (!strcmp(text, "ignore"))
        return VIV_DRIVE_ERROR_IGNORE;
    return !strcmp(text, "stop") ? VIV_DRIVE_ERROR_STOP : VIV_DRIVE_ERROR_ENOSPC;
}

static void take_limits(struct virtio_blk *b, struct viv_opts *opts)
{
    const char *serial = viv_opts_str(opts, "serial");

    if (!serial)
        serial = b->drive->serial;
    if (serial)
        memcpy(b->serial, serial, strnlen(serial, sizeof(b->serial)));
    b->rerror = policy(viv_opts_str(opts, "rerror"), b->drive->rerror, VIV_DRIVE_ERROR_REPORT);
    b->werror = policy(viv_opts_str(opts, "werror"), b->drive->werror, VIV_DRIVE_ERROR_ENOSPC);
    b->ro = !viv_blk_writable(b->drive->blk);
    b->discard = viv_opts_bool(opts, "discard") && !b->ro;
    b->write_zeroes = viv_opts_bool(opts, "write-zeroes") && !b->ro;
    b->config_wce = viv_opts_bool(opts, "config-wce");
    b->max_discard = viv_opts_int(opts, "max-discard-sectors");
    b->max_write_zeroes = viv_opts_int(opts, "max-write-zeroes-sectors");
    b->wce = b->wce_default = strcmp(viv_opts_str(opts, "write-cache"), "off") != 0;
    b->queue_num = viv_opts_int(opts, "num-queues");
    b->queue_size = viv_opts_int(opts, "queue-size");
}

static int blk_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_blk *b = (struct virtio_blk *)v;
    const char *drive = viv_opts_str(opts, "drive");
    int rc = viv_drive_claim(drive, viv_virtio_name(v), &b->drive, err);

    if (rc < 0) {
        viv_err_prefix(err, "%s", viv_opts_what(opts));
        return rc;
    }
    rc = take_geometry(b, opts, err);
    if (!rc && !b->drive->blk)
        rc = viv_fail(err, EINVAL, "%s: drive '%s' is empty, and this disk is not removable",
                      viv_opts_what(opts), drive);
    if (!rc && !power_of_two(viv_opts_int(opts, "queue-size")))
        rc = viv_fail(err, EINVAL, "%s: queue-size is a power of two", viv_opts_what(opts));
    if (!rc && viv_blk_size(b->drive->blk) % b->logical)
        rc = viv_fail(err, EINVAL, "%s: the size of drive '%s' is not a multiple of %u bytes",
                      viv_opts_what(opts), drive, b->logical);
    if (rc < 0) {
        viv_drive_release(b->drive);
        return rc;
    }
    take_limits(b, opts);
    pthread_cond_init(&b->idle, NULL);
    for (unsigned i = 0; i < b->queue_num; i++)
        viv_virtio_add_queue(v, b->queue_size);
    return 0;
}

static void blk_unrealize(struct viv_virtio *v)
{
    struct virtio_blk *b = (struct virtio_blk *)v;

    viv_drive_release(b->drive);
    pthread_cond_destroy(&b->idle);
}

static const struct viv_field blk_fields[] = {
    VIV_F_STRUCT(virtio_blk, v, viv_virtio_state),
    VIV_F_CONFIG(virtio_blk, drive),
    VIV_F_CONFIG(virtio_blk, serial),
    VIV_F_CONFIG(virtio_blk, rerror),
    VIV_F_CONFIG(virtio_blk, werror),
    VIV_F_CONFIG(virtio_blk, logical),
    VIV_F_CONFIG(virtio_blk, physical),
    VIV_F_CONFIG(virtio_blk, min_io),
    VIV_F_CONFIG(virtio_blk, opt_io),
    VIV_F_CONFIG(virtio_blk, max_discard),
    VIV_F_CONFIG(virtio_blk, max_write_zeroes),
    VIV_F_CONFIG(virtio_blk, discard_align),
    VIV_F_CONFIG(virtio_blk, queue_size),
    VIV_F_CONFIG(virtio_blk, queue_num),
    VIV_F_CONFIG(virtio_blk, ro),
    VIV_F_CONFIG(virtio_blk, discard),
    VIV_F_CONFIG(virtio_blk, write_zeroes),
    VIV_F_CONFIG(virtio_blk, config_wce),
    VIV_F_CONFIG(virtio_blk, wce_default),
    VIV_F_INT(virtio_blk, wce),
    VIV_F_DERIVED(virtio_blk, in_flight, "0: the device is idle when it is saved"),
    VIV_F_CUSTOM(virtio_blk, held, virtio_blk_save_held, virtio_blk_load_held),
    VIV_F_DERIVED(virtio_blk, done, "empty: the device is idle when it is saved"),
    VIV_F_CONFIG(virtio_blk, idle),
    VIV_F_END,
};

static const struct viv_state_table blk_state = {
    .name = "virtio-blk",
    .ctype = "virtio_blk",
    .version = 1,
    .min_version = 1,
    .fields = blk_fields,
};

static const struct viv_virtio_class blk_fn = {
    .name = "virtio-blk",
    .device_id = VIV_VIRTIO_ID_BLOCK,
    .pci_legacy_id = 0x1001,
    .pci_class = 0x010000,
    .fw_kind = "scsi",
    .fw_unit = "/disk@0,0",
    .config_len = CFG(max_secure_erase_sectors),
    .size = sizeof(struct virtio_blk),
    .state = &blk_state,
    .realize = blk_realize,
    .unrealize = blk_unrealize,
    .features = blk_features,
    .get_config = blk_get_config,
    .set_config = blk_set_config,
    .kick = virtio_blk_kick,
    .reset = blk_reset,
    .vm_running = blk_vm_running,
    .idle = blk_idle,
};

static const char *const on_off_auto[] = {"auto", "on", "off", NULL};
static const char *const rerror_values[] = {"auto", "report", "ignore", "stop", NULL};
static const char *const werror_values[] = {"auto", "report", "ignore", "enospc", "stop", NULL};

#define BLK_PROPS                                                                                  \
    {.name = "drive", .type = VIV_OPT_STR, .required = true, .help = "id of a -drive or -blockdev"}, \
    {.name = "serial", .type = VIV_OPT_STR, .help = "serial number, up to 20 characters"},         \
    {.name = "bootindex", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX,                         \
     .help = "place in the boot order"},                                                           \
    {.name = "logical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152, \
     .help = "smallest unit of a request"},                                                        \
    {.name = "physical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152, \
     .help = "unit that is written without reading first"},                                        \
    {.name = "min_io_size", .type = VIV_OPT_SIZE, .help = "hint to the guest"},                    \
    {.name = "opt_io_size", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "hint to the guest"},  \
    {.name = "discard_granularity", .type = VIV_OPT_SIZE, .max = INT32_MAX,                        \
     .help = "unit of discards"},                                                                  \
    {.name = "num-queues", .type = VIV_OPT_INT, .def = "1", .min = 1, .max = 64,                   \
     .help = "request queues"},                                                                    \
    {.name = "queue-size", .type = VIV_OPT_INT, .def = "256", .min = 4, .max = VIV_VIRTQ_MAX_SIZE, \
     .help = "entries of a queue"},                                                                \
    {.name = "write-cache", .type = VIV_OPT_ENUM, .def = "auto", .values = on_off_auto,            \
     .help = "off: each write is durable when it completes"},                                      \
    {.name = "config-wce", .type = VIV_OPT_BOOL, .def = "on",                                      \
     .help = "let the guest switch the write cache"},                                              \
    {.name = "discard", .type = VIV_OPT_BOOL, .def = "on", .help = "offer discard"},               \
    {.name = "write-zeroes", .type = VIV_OPT_BOOL, .def = "on", .help = "offer write zeroes"},     \
    {.name = "max-discard-sectors", .type = VIV_OPT_INT, .def = "4194303", .min = 1,               \
     .max = 4194303, .help = "largest discard"},                                                   \
    {.name = "max-write-zeroes-sectors", .type = VIV_OPT_INT, .def = "4194303", .min = 1,          \
     .max = 4194303, .help = "largest write zeroes"},                                              \
    {.name = "rerror", .type = VIV_OPT_ENUM, .def = "auto", .values = rerror_values,               \
     .help = "what to do when a read fails"},                                                      \
    {.name = "werror", .type = VIV_OPT_ENUM, .def = "auto", .values = werror_values,               \
     .help = "what to do when a write fails"},                                                     \
    {.name = "share-rw", .type = VIV_OPT_REFUSED,                                                  \
     .help = "a drive has one device; make a second -drive with file.locking=off"},                \
    {.name = "iothread", .type = VIV_OPT_REFUSED,                                                  \
     .help = "requests leave the vCPU at once and run on I/O threads anyway; leave it out"},       \
    {.name = "scsi", .type = VIV_OPT_REFUSED, .help = "SCSI passthrough is gone from virtio-blk"}, \
    {.name = "request-merging", .type = VIV_OPT_REFUSED,                                           \
     .help = "requests are not merged; leave it out"},                                             \
    {.name = "seg-max-adjust", .type = VIV_OPT_REFUSED, .help = "it is always on; leave it out"},  \
    VIV_VIRTIO_PROPS

static const struct viv_opt_def blk_mmio_props[] = {BLK_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def blk_pci_props[] = {BLK_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_blk_device, blk_fn, "virtio-blk-device",
                      "virtio disk, over MMIO", blk_mmio_props);
VIV_VIRTIO_PCI_CLASSES(viv_dev_virtio_blk_pci, blk_fn, "virtio-blk-pci", "virtio disk",
                       blk_pci_props);
