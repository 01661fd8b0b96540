/* virtio-blk: configuration, options, life. The requests are in virtio_blk_req.c. */
#include "dev/virtio/virtio_blk.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"

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

    if (b->front.ro)
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
    uint64_t sectors = viv_blk_size(b->front.drive->blk) / BLK_SECTOR, cylinders = sectors / (16 * 63);

    viv_st_le64(c + CFG(capacity), sectors);
    viv_st_le32(c + CFG(seg_max), b->queue_size - 2); /* header and status take one each */
    viv_st_le16(c + CFG(geometry.cylinders), cylinders > 65535 ? 65535 : cylinders);
    c[CFG(geometry.heads)] = 16;
    c[CFG(geometry.sectors)] = 63;
    viv_st_le32(c + CFG(blk_size), b->front.logical);
    c[CFG(physical_block_exp)] = __builtin_ctz(b->front.physical / b->front.logical);
    viv_st_le16(c + CFG(min_io_size), b->front.min_io / b->front.logical);
    viv_st_le32(c + CFG(opt_io_size), b->front.opt_io / b->front.logical);
    c[CFG(wce)] = b->wce;
    viv_st_le16(c + CFG(num_queues), b->queue_num);
    if (b->discard) {
        viv_st_le32(c + CFG(max_discard_sectors), b->max_discard);
        viv_st_le32(c + CFG(max_discard_seg), 1);
        viv_st_le32(c + CFG(discard_sector_alignment), (b->front.discard ? b->front.discard : b->front.logical) / BLK_SECTOR);
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
    viv_front_wait_idle(&b->front);
    virtio_blk_drop_held(b); /* those that failed meanwhile */
    b->touched = 0;
    b->wce = b->front.wce_default;
}

static void blk_vm_running(struct viv_virtio *v, bool running)
{
    viv_front_running(&((struct virtio_blk *)v)->front, running);
}

static bool blk_idle(struct viv_virtio *v)
{
    return viv_front_idle(&((struct virtio_blk *)v)->front);
}

static void resend(void *opaque)
{
    virtio_blk_resend_held(opaque);
}

static void told(void *opaque)
{
    virtio_blk_told(opaque);
}

static void resized(void *opaque)
{
    viv_virtio_config_changed(&((struct virtio_blk *)opaque)->v);
}

static const struct viv_front_ops front_ops = {.resend = resend, .told = told, .resized = resized};

/* In whole logical blocks, one at least: a driver cuts larger ranges there, and half a block would be refused. */
static uint32_t whole_blocks(const struct virtio_blk *b, int64_t sectors)
{
    uint32_t block = b->front.logical / BLK_SECTOR;

    return MAX((uint32_t)sectors / block, 1) * block;
}

static void take_limits(struct virtio_blk *b, struct viv_opts *opts)
{
    b->discard = viv_opts_bool(opts, "discard") && !b->front.ro;
    b->write_zeroes = viv_opts_bool(opts, "write-zeroes") && !b->front.ro;
    b->config_wce = viv_opts_bool(opts, "config-wce");
    b->max_discard = whole_blocks(b, viv_opts_int(opts, "max-discard-sectors"));
    b->max_write_zeroes = whole_blocks(b, viv_opts_int(opts, "max-write-zeroes-sectors"));
    b->wce = b->front.wce_default;
    b->queue_num = viv_opts_int(opts, "num-queues");
    b->queue_size = viv_opts_int(opts, "queue-size");
}

static int blk_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_blk *b = (struct virtio_blk *)v;
    int64_t size = viv_opts_int(opts, "queue-size");
    int rc;

    if (size & (size - 1))
        return viv_fail(err, EINVAL, "%s: queue-size is a power of two", viv_opts_what(opts));
    if (viv_opts_bool(opts, "scsi"))
        return viv_fail(err, ENOTSUP, "%s: scsi=on: SCSI passthrough is gone from virtio-blk; leave it out", viv_opts_what(opts));
    rc = viv_front_open(&b->front, v->dev, opts, false, &front_ops, b, err);
    if (rc < 0)
        return rc;
    take_limits(b, opts);
    for (unsigned i = 0; i < b->queue_num; i++)
        viv_virtio_add_queue(v, b->queue_size);
    return 0;
}

static void blk_unrealize(struct viv_virtio *v)
{
    struct virtio_blk *b = (struct virtio_blk *)v;

    virtio_blk_drop_held(b);
    viv_front_close(&b->front);
}

static const struct viv_field blk_fields[] = {
    VIV_F_STRUCT(virtio_blk, v, viv_virtio_state),
    VIV_F_STRUCT(virtio_blk, front, viv_front_state),
    VIV_F_CONFIG(virtio_blk, max_discard),
    VIV_F_CONFIG(virtio_blk, max_write_zeroes),
    VIV_F_CONFIG(virtio_blk, queue_size),
    VIV_F_CONFIG(virtio_blk, queue_num),
    VIV_F_CONFIG(virtio_blk, discard),
    VIV_F_CONFIG(virtio_blk, write_zeroes),
    VIV_F_CONFIG(virtio_blk, config_wce),
    VIV_F_INT(virtio_blk, wce),
    VIV_F_DERIVED(virtio_blk, touched, "0: the device is idle when it is saved"),
    VIV_F_CUSTOM(virtio_blk, held, virtio_blk_save_held, virtio_blk_load_held),
    VIV_F_DERIVED(virtio_blk, held_end, "where the next is put"),
    VIV_F_END,
};

static const struct viv_state_table blk_state = {
    .name = "virtio-blk",
    .ctype = "virtio_blk",
    .version = 2, /* 1: without the front */
    .min_version = 2,
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
    .iothread = true,
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

#define BLK_PROPS                                                                                  \
    VIV_FRONT_PROPS,                                                                               \
    {.name = "num-queues", .type = VIV_OPT_INT, .def = "1", .min = 1, .max = 64,                   \
     .help = "request queues"},                                                                    \
    {.name = "queue-size", .type = VIV_OPT_INT, .def = "256", .min = 4, .max = VIV_VIRTQ_MAX_SIZE, \
     .help = "entries of a queue"},                                                                \
    {.name = "config-wce", .type = VIV_OPT_BOOL, .def = "on",                                      \
     .help = "let the guest switch the write cache"},                                              \
    {.name = "discard", .type = VIV_OPT_BOOL, .def = "on", .help = "offer discard"},               \
    {.name = "write-zeroes", .type = VIV_OPT_BOOL, .def = "on", .help = "offer write zeroes"},     \
    {.name = "max-discard-sectors", .type = VIV_OPT_INT, .def = "4194303", .min = 1,               \
     .max = 4194303, .help = "largest discard"},                                                   \
    {.name = "max-write-zeroes-sectors", .type = VIV_OPT_INT, .def = "4194303", .min = 1,          \
     .max = 4194303, .help = "largest write zeroes"},                                              \
    VIV_VIRTIO_IOTHREAD_PROP,                                                                      \
    {.name = "scsi", .type = VIV_OPT_BOOL, .help = "off only: SCSI passthrough is gone"},          \
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
