/* virtio-scsi: configuration, options, life. Built from virtio 1.2, 5.6. Left out: bidirectional commands, protection information,
 * multiple channels. Requests are in virtio_scsi_req.c, task management and events in virtio_scsi_ctrl.c. */
#include "dev/virtio/virtio_scsi.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>

/* 5.6.4 */
#define CFG(field) offsetof(struct virtio_scsi_config, field)

enum { SENSE_MOST = 252, CDB_MOST = 252 };

static uint64_t scsi_features(struct viv_virtio *v)
{
    struct virtio_scsi *s = (struct virtio_scsi *)v;

    return (s->hotplug ? 1ull << VIRTIO_SCSI_F_HOTPLUG : 0) | (s->change ? 1ull << VIRTIO_SCSI_F_CHANGE : 0);
}

static void scsi_get_config(struct viv_virtio *v, uint8_t *c)
{
    struct virtio_scsi *s = (struct virtio_scsi *)v;

    viv_st_le32(c + CFG(num_queues), s->queue_num);
    viv_st_le32(c + CFG(seg_max), s->queue_size - 2); /* header and response take one each */
    viv_st_le32(c + CFG(max_sectors), s->max_sectors);
    viv_st_le32(c + CFG(cmd_per_lun), s->cmd_per_lun);
    viv_st_le32(c + CFG(event_info_size), sizeof(struct virtio_scsi_event));
    viv_st_le32(c + CFG(sense_size), s->sense_size);
    viv_st_le32(c + CFG(cdb_size), s->cdb_size);
    viv_st_le16(c + CFG(max_channel), 0);
    viv_st_le16(c + CFG(max_target), VSCSI_TARGETS - 1);
    viv_st_le32(c + CFG(max_lun), VSCSI_LUNS - 1);
}

/* Not while requests are under way, whose frames have the old sizes. */
static void scsi_set_config(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val)
{
    struct virtio_scsi *s = (struct virtio_scsi *)v;
    uint32_t n = len == 4 ? viv_ld_le32(val) : 0;

    if (off == CFG(sense_size) && n && n <= SENSE_MOST && !s->reqs && !s->loaded)
        s->sense_size = n;
    else if (off == CFG(cdb_size) && n && n <= CDB_MOST && !s->reqs && !s->loaded)
        s->cdb_size = n;
    else
        viv_guest_error(viv_virtio_name(v), "write of %u bytes (%u) at %u of the configuration", len, n, off);
}

static void scsi_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_scsi *s = (struct virtio_scsi *)v;

    if (queue == VSCSI_CONTROL)
        vscsi_take_controls(s);
    else if (queue == VSCSI_EVENT)
        vscsi_take_events(s);
    else
        vscsi_take_requests(s, queue);
}

static void set_defaults(struct virtio_scsi *s)
{
    s->sense_size = VIRTIO_SCSI_SENSE_DEFAULT_SIZE;
    s->cdb_size = VIRTIO_SCSI_CDB_DEFAULT_SIZE;
    s->events_missed = false;
}

static void scsi_reset(struct viv_virtio *v)
{
    struct virtio_scsi *s = (struct virtio_scsi *)v;

    vscsi_give_up(s);
    set_defaults(s);
    for (struct viv_scsi_dev *d = viv_scsi_next(s->bus, NULL); d; d = viv_scsi_next(s->bus, d)) {
        d->ops->reset(d);
        d->attention = VIV_SCSI_ASC_POWER_ON;
    }
}

static void scsi_vm_running(struct viv_virtio *v, bool running)
{
    if (running && !v->broken && viv_virtio_driven(v))
        vscsi_resume((struct virtio_scsi *)v);
}

/* ---- making it ---- */

/* By the device's name, as others refer to it; else the first that is free. */
static char *bus_name(const struct viv_dev *d)
{
    char *name = d->id ? g_strdup_printf("%s.0", d->id) : NULL;

    for (unsigned n = 0; !name; n++) {
        name = g_strdup_printf("scsi.%u", n);
        if (viv_scsi_bus_exists(name))
            g_clear_pointer(&name, g_free);
    }
    return name;
}

static int scsi_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_scsi *s = (struct virtio_scsi *)v;
    g_autofree char *name = bus_name(v->dev);

    s->queue_num = (uint32_t)viv_opts_int(opts, "num_queues");
    s->queue_size = (uint32_t)viv_opts_int(opts, "virtqueue_size");
    s->max_sectors = (uint32_t)viv_opts_int(opts, "max_sectors");
    s->cmd_per_lun = (uint32_t)viv_opts_int(opts, "cmd_per_lun");
    s->hotplug = viv_opts_bool(opts, "hotplug");
    s->change = viv_opts_bool(opts, "param_change");
    if (s->queue_size & (s->queue_size - 1))
        return viv_fail(err, EINVAL, "%s: virtqueue_size is a power of two", viv_opts_what(opts));
    if (viv_scsi_bus_exists(name))
        return viv_fail(err, EEXIST, "%s: there is a SCSI bus '%s' already; take another id", viv_opts_what(opts), name);
    set_defaults(s);
    pthread_cond_init(&s->ended, NULL);
    s->bus = viv_scsi_bus_new(v->dev, name, &vscsi_bus_ops);
    for (unsigned i = 0; i < VSCSI_REQUEST + s->queue_num; i++)
        viv_virtio_add_queue(v, s->queue_size);
    return 0;
}

static void scsi_unrealize(struct viv_virtio *v)
{
    struct virtio_scsi *s = (struct virtio_scsi *)v;

    v->resetting = true; /* what ends now is not told */
    vscsi_give_up(s);
    viv_scsi_bus_free(s->bus);
    pthread_cond_destroy(&s->ended);
}

static int scsi_post_load(void *obj, int version, struct viv_err *err)
{
    struct virtio_scsi *s = obj;

    if (!s->sense_size || s->sense_size > SENSE_MOST || !s->cdb_size || s->cdb_size > CDB_MOST)
        return viv_fail(err, EINVAL, "virtio-scsi: sense data of %u bytes, commands of %u", s->sense_size, s->cdb_size);
    return 0;
}

static const struct viv_state_table scsi_state = {
    .name = "virtio-scsi",
    .ctype = "virtio_scsi",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(virtio_scsi, v, viv_virtio_state),
            VIV_F_CONFIG(virtio_scsi, bus),
            VIV_F_CONFIG(virtio_scsi, queue_num),
            VIV_F_CONFIG(virtio_scsi, queue_size),
            VIV_F_CONFIG(virtio_scsi, max_sectors),
            VIV_F_CONFIG(virtio_scsi, cmd_per_lun),
            VIV_F_CONFIG(virtio_scsi, hotplug),
            VIV_F_CONFIG(virtio_scsi, change),
            VIV_F_INT(virtio_scsi, sense_size),
            VIV_F_INT(virtio_scsi, cdb_size),
            VIV_F_INT(virtio_scsi, events_missed),
            VIV_F_DERIVED(virtio_scsi, touched, "0 outside of calls"),
            VIV_F_DERIVED(virtio_scsi, count, "only compared with functions under way, of which there are none"),
            VIV_F_CUSTOM(virtio_scsi, reqs, vscsi_save_reqs, vscsi_load_reqs),
            VIV_F_DERIVED(virtio_scsi, loaded, "saved with reqs"),
            VIV_F_DERIVED(virtio_scsi, tmfs, "none: they wait for a back end, and that is idle"),
            VIV_F_CONFIG(virtio_scsi, ended),
            VIV_F_END,
        },
    .post_load = scsi_post_load,
};

static const struct viv_virtio_class scsi_fn = {
    .name = "virtio-scsi",
    .device_id = VIV_VIRTIO_ID_SCSI,
    .pci_legacy_id = 0x1004,
    .pci_class = 0x010000,
    .config_len = sizeof(struct virtio_scsi_config),
    .size = sizeof(struct virtio_scsi),
    .state = &scsi_state,
    .iothread = true,
    .realize = scsi_realize,
    .unrealize = scsi_unrealize,
    .features = scsi_features,
    .get_config = scsi_get_config,
    .set_config = scsi_set_config,
    .kick = scsi_kick,
    .reset = scsi_reset,
    .vm_running = scsi_vm_running,
};

#define SCSI_PROPS                                                                                 \
    {.name = "num_queues", .type = VIV_OPT_INT, .def = "1", .min = 1, .max = 32,                   \
     .help = "request queues"},                                                                    \
    {.name = "virtqueue_size", .type = VIV_OPT_INT, .def = "256", .min = 8, .max = VIV_VIRTQ_MAX_SIZE, \
     .help = "entries of a queue"},                                                                \
    {.name = "max_sectors", .type = VIV_OPT_INT, .def = "65535", .min = 1, .max = UINT32_MAX,      \
     .help = "largest command, in units of 512 bytes"},                                            \
    {.name = "cmd_per_lun", .type = VIV_OPT_INT, .def = "128", .min = 1, .max = UINT32_MAX,        \
     .help = "commands that a unit takes at once"},                                                \
    {.name = "hotplug", .type = VIV_OPT_BOOL, .def = "on", .help = "tell the guest of units that come and go"}, \
    {.name = "param_change", .type = VIV_OPT_BOOL, .def = "on",                                    \
     .help = "tell the guest of media and sizes that change"},                                     \
    VIV_VIRTIO_IOTHREAD_PROP,                                                                      \
    {.name = "seg_max_adjust", .type = VIV_OPT_REFUSED, .help = "it is always on; leave it out"},  \
    VIV_VIRTIO_PROPS

static const struct viv_opt_def scsi_mmio_props[] = {SCSI_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def scsi_pci_props[] = {SCSI_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_scsi_device, scsi_fn, "virtio-scsi-device", "virtio SCSI adapter, over MMIO", scsi_mmio_props);
VIV_VIRTIO_PCI_CLASSES(viv_dev_virtio_scsi_pci, scsi_fn, "virtio-scsi-pci", "virtio SCSI adapter", scsi_pci_props);
