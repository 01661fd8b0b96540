/* The PCI function itself: ids, BARs, capabilities, interrupts, saved state. */
#include "bus/virtio_pci.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/bootorder.h"
#include "bus/virtio_pci_int.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum {
    VENDOR_VIRTIO = 0x1af4, /* 4.1.2 */
    DEVICE_MODERN = 0x1040,
    SUBSYSTEM_MODERN = 0x1100, /* 0x40 or higher: keeps legacy drivers away */
    BAR_LEGACY = 0,
    CAP_VENDOR = 0x09,
};

enum { /* 4.1.4 */
    CFG_COMMON = 1,
    CFG_NOTIFY = 2,
    CFG_ISR = 3,
    CFG_DEVICE = 4,
    CFG_PCI = 5,
};

static const struct viv_region_ops modern_ops = {viv_virtio_pci_modern_read, viv_virtio_pci_modern_write, 1, 4, false, false};
static const struct viv_virtio_pci_layout usual = {.modern_bar = 4, .msix_bar = 1, .size = VIV_VPCI_SIZE, .ops = &modern_ops};

const char *const viv_virtio_pci_on_off_auto[] = {"auto", "on", "off", NULL};

/* --- interrupts --- */

static void notify(struct viv_virtio_pci *p, uint16_t vector, uint8_t cause)
{
    if (viv_msix_enabled(&p->pci)) {
        if (vector != VIV_VIRTIO_NO_VECTOR)
            viv_msix_notify(&p->pci, vector);
        return;
    }
    p->isr |= cause;
    viv_pci_set_intx(&p->pci, 1);
}

static void notify_queue(void *opaque, unsigned queue)
{
    struct viv_virtio_pci *p = opaque;

    notify(p, p->v->queues[queue].vector, VIV_VIRTIO_ISR_QUEUE);
}

static void notify_config(void *opaque)
{
    struct viv_virtio_pci *p = opaque;

    notify(p, p->config_vector, VIV_VIRTIO_ISR_QUEUE | VIV_VIRTIO_ISR_CONFIG);
}

uint8_t viv_virtio_pci_take_isr(struct viv_virtio_pci *p)
{
    uint8_t isr = p->isr;

    p->isr = 0;
    viv_pci_set_intx(&p->pci, 0);
    return isr;
}

uint16_t viv_virtio_pci_vector(struct viv_virtio_pci *p, uint16_t wanted)
{
    return wanted < p->pci.msix_count ? wanted : VIV_VIRTIO_NO_VECTOR;
}

static void clear_transport(struct viv_virtio_pci *p)
{
    p->device_features_sel = p->driver_features_sel = 0;
    p->driver_features = 0;
    p->queue_sel = 0;
    p->config_vector = VIV_VIRTIO_NO_VECTOR;
    viv_virtio_pci_take_isr(p);
}

/* A function that is no bus master leaves memory alone (PCI 3.0, 6.2.2): Linux that starts another kernel takes no other leave from
 * its network cards. Old drivers of the legacy interface never make it one. */
static void update_bar(struct viv_virtio_pci *p)
{
    viv_virtio_bar(p->v, viv_virtio_has(p->v, VIV_VIRTIO_F_VERSION_1) && !viv_pci_bus_master(&p->pci));
}

void viv_virtio_pci_set_status(struct viv_virtio_pci *p, uint8_t status)
{
    update_bar(p); /* the features are written by now */
    viv_virtio_set_status(p->v, status);
    if (!status)
        clear_transport(p);
    update_bar(p);
    viv_virtio_pci_kicks_update(p);
}

/* --- capabilities --- */

static uint8_t add_cap(struct viv_virtio_pci *p, uint8_t type, uint32_t off, uint32_t size,
                       unsigned extra)
{
    uint8_t len = 16 + extra, at = viv_pci_add_cap(&p->pci, CAP_VENDOR, len);
    uint8_t *c = p->pci.config + at;

    c[2] = len;
    c[3] = type;
    c[4] = p->layout->modern_bar;
    viv_st_le32(c + 8, p->layout->at + off);
    viv_st_le32(c + 12, size);
    return at;
}

static void add_caps(struct viv_virtio_pci *p)
{
    uint8_t at;

    add_cap(p, CFG_COMMON, VIV_VPCI_COMMON, VIV_VPCI_PART, 0);
    add_cap(p, CFG_ISR, VIV_VPCI_ISR, VIV_VPCI_PART, 0);
    add_cap(p, CFG_DEVICE, VIV_VPCI_DEVICE, VIV_VPCI_PART, 0);
    at = add_cap(p, CFG_NOTIFY, VIV_VPCI_NOTIFY, VIV_VPCI_PART, 4);
    viv_st_le32(p->pci.config + at + 16, VIV_VPCI_NOTIFY_MULTIPLIER);
    /* 4.1.4.9: the window through configuration space; bar, offset, length and data are the guest's. */
    at = add_cap(p, CFG_PCI, 0, 0, 4);
    viv_st_le32(p->pci.config + at + 8, 0);
    p->pci.config[at + 4] = 0;
    p->pci.wmask[at + 4] = 0xff;
    memset(p->pci.wmask + at + 8, 0xff, 12);
    p->cfg_cap = at;
}

/* The register block that pci_cfg_data stands for now; false when the guest set up nonsense. */
static const struct viv_region_ops *window_target(struct viv_virtio_pci *p, uint32_t *off,
                                                  uint32_t *len)
{
    const uint8_t *c = p->pci.config + p->cfg_cap;
    uint32_t size = p->layout->size;
    const struct viv_region_ops *ops = p->layout->ops;

    *off = viv_ld_le32(c + 8);
    *len = viv_ld_le32(c + 12);
    if (p->legacy && c[4] == BAR_LEGACY) {
        ops = &viv_virtio_pci_legacy_ops;
        size = viv_virtio_pci_legacy_size(p);
    } else if (c[4] != p->layout->modern_bar) {
        return NULL;
    }
    if ((*len != 1 && *len != 2 && *len != 4) || *off % *len || *off > size - *len)
        return NULL;
    return ops;
}

static bool touches_data(const struct viv_virtio_pci *p, unsigned off, unsigned len)
{
    return p->cfg_cap && off < p->cfg_cap + 20u && off + len > p->cfg_cap + 16u;
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    struct viv_virtio_pci *p = (struct viv_virtio_pci *)d;
    const struct viv_region_ops *ops;
    uint32_t at, size;

    if (!touches_data(p, off, len))
        return;
    ops = window_target(p, &at, &size);
    if (ops)
        ops->write(p, at, viv_ld_le32(d->config + p->cfg_cap + 16) & (UINT32_MAX >> (32 - 8 * size)),
                   size);
}

static uint32_t config_read(struct viv_pci_dev *d, unsigned off, unsigned len, uint32_t value)
{
    struct viv_virtio_pci *p = (struct viv_virtio_pci *)d;
    const struct viv_region_ops *ops;
    uint32_t at, size;

    if (!touches_data(p, off, len) || off != p->cfg_cap + 16u)
        return value;
    ops = window_target(p, &at, &size);
    if (!ops)
        return value;
    viv_st_le32(d->config + p->cfg_cap + 16, ops->read(p, at, size));
    return viv_ld_le32(d->config + p->cfg_cap + 16) & (UINT32_MAX >> (32 - 8 * len));
}

/* --- making it --- */

/* A function that is younger than virtio 1.0 has no legacy interface. */
static int choose_modern(struct viv_virtio_pci *p, struct viv_opts *opts, struct viv_err *err)
{
    if (!strcmp(viv_opts_str(opts, "disable-legacy"), "off"))
        return viv_fail(err, EINVAL, "%s: disable-legacy=off: this device has no legacy registers; leave it out", viv_opts_what(opts));
    if (viv_opts_bool(opts, "disable-modern"))
        return viv_fail(err, EINVAL, "%s: disable-modern=on: this device has no other registers; leave it out", viv_opts_what(opts));
    p->modern = true;
    return 0;
}

static int choose_interfaces(struct viv_virtio_pci *p, enum viv_virtio_pci_mode mode,
                             struct viv_opts *opts, struct viv_err *err)
{
    const char *told = viv_opts_str(opts, "disable-legacy");
    struct viv_pci_bus *bus = viv_pci_bus_wanted(p->pci.dev.board, opts, err);
    bool no_legacy, no_modern = viv_opts_bool(opts, "disable-modern");

    if (!bus)
        return -ENODEV;
    /* A device of PCI Express needs no I/O ports (4.1.2.3), and ports are few behind bridges. */
    no_legacy = !strcmp(told, "on") || (!strcmp(told, "auto") && viv_pci_bus_kind(bus) == VIV_PCIE_LINK);
    if (mode != VIV_VIRTIO_PCI_AUTO &&
        (viv_opts_given(opts, "disable-legacy") || viv_opts_given(opts, "disable-modern")))
        return viv_fail(err, EINVAL,
                        "%s: the name already says which interfaces there are; use it without "
                        "-transitional or -non-transitional to choose with disable-legacy and "
                        "disable-modern",
                        viv_opts_what(opts));
    p->legacy = mode == VIV_VIRTIO_PCI_AUTO ? !no_legacy : mode == VIV_VIRTIO_PCI_TRANSITIONAL;
    p->modern = mode == VIV_VIRTIO_PCI_AUTO ? !no_modern : true;
    if (!p->legacy && !p->modern)
        return viv_fail(err, EINVAL,
                        "%s: disable-legacy and disable-modern leave nothing; drop one of them",
                        viv_opts_what(opts));
    return 0;
}

static int init_function(struct viv_virtio_pci *p, const struct viv_virtio_class *fn,
                         struct viv_opts *opts, struct viv_err *err)
{
    /* 4.1.2.1, 4.1.2.3: a transitional device has revision 0, the old ids, and the virtio id as subsystem */
    struct viv_pci_ids ids = {
        .vendor = VENDOR_VIRTIO,
        .device = p->legacy ? fn->pci_legacy_id : DEVICE_MODERN + fn->device_id,
        .revision = p->legacy ? 0 : 1,
        .class_code = fn->pci_class,
        .sub_vendor = VENDOR_VIRTIO,
        .sub_device = p->legacy ? fn->device_id : SUBSYSTEM_MODERN,
        .rom = fn->pci_rom,
    };

    return viv_pci_dev_init(&p->pci, &ids, opts, err);
}

static void add_bar(struct viv_virtio_pci *p, unsigned n, const char *name,
                    const struct viv_region_ops *ops, uint64_t size, bool io)
{
    struct viv_space *s = io ? p->pci.dev.board->io : p->pci.dev.board->mem;
    struct viv_region *r = viv_region_new(s, &(struct viv_region_desc){
                                                 .name = name,
                                                 .kind = VIV_REGION_IO,
                                                 .size = size,
                                                 .ops = ops,
                                                 .opaque = p,
                                             });

    viv_pci_add_bar(&p->pci, n, r, size, io, !io, !io);
}

static int add_interfaces(struct viv_virtio_pci *p, struct viv_opts *opts, struct viv_err *err)
{
    unsigned usual = p->v->cls->pci_vectors ? p->v->cls->pci_vectors : p->v->queue_count + 1;
    unsigned vectors = viv_opts_given(opts, "vectors") ? viv_opts_int(opts, "vectors") : usual;
    int rc = 0;

    if (viv_pci_bus_kind(p->pci.bus) == VIV_PCIE_LINK) {
        rc = viv_pcie_init(&p->pci, VIV_PCIE_ENDPOINT, 0, err);
        if (!rc)
            rc = viv_pci_pm_init(&p->pci, err);
    }
    if (!rc && vectors)
        rc = viv_msix_init(&p->pci, vectors, p->layout->msix_bar, err);
    if (rc < 0)
        return rc;
    if (p->modern) {
        add_bar(p, p->layout->modern_bar, "virtio-pci", p->layout->ops, p->layout->size, false);
        add_caps(p);
    } else {
        p->v->host_features &= UINT32_MAX;
    }
    if (p->legacy)
        add_bar(p, BAR_LEGACY, "virtio-pci-legacy", &viv_virtio_pci_legacy_ops,
                viv_virtio_pci_legacy_size(p), true);
    return 0;
}

static int add_boot(struct viv_virtio_pci *p, const struct viv_virtio_class *fn, struct viv_opts *opts, struct viv_err *err)
{
    g_autofree char *at = NULL;

    if (!fn->fw_kind || !viv_opts_given(opts, "bootindex"))
        return 0;
    at = viv_pci_fw_path(&p->pci, fn->fw_kind);
    p->fw_path = g_strconcat(at, fn->fw_unit, NULL);
    if (viv_bootorder_add(&p->pci.dev, viv_opts_int(opts, "bootindex"), p->fw_path, err) == 0)
        return 0;
    viv_err_prefix(err, "%s", viv_opts_what(opts));
    g_clear_pointer(&p->fw_path, g_free);
    return -EBUSY;
}

static void remove_boot(struct viv_virtio_pci *p)
{
    if (p->fw_path)
        viv_bootorder_remove(&p->pci.dev);
    g_clear_pointer(&p->fw_path, g_free);
}

/* By the command register, too: its own or a bridge's. */
static void remapped(struct viv_pci_dev *d)
{
    update_bar((struct viv_virtio_pci *)d);
    viv_virtio_pci_kicks_update((struct viv_virtio_pci *)d);
}

static void pulled(struct viv_pci_dev *d)
{
    struct viv_virtio_pci *p = (struct viv_virtio_pci *)d;

    p->v->broken = true; /* what was taken from the rings is not given back */
    viv_virtio_pci_kicks_update(p);
}

int viv_virtio_pci_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct viv_virtio_pci *p = (struct viv_virtio_pci *)d;
    const struct viv_virtio_pci_data *data = d->cls->data;
    struct viv_virtio_transport t = {.notify_queue = notify_queue, .notify_config = notify_config, .opaque = p};
    int rc = data->fn->pci_legacy_id ? choose_interfaces(p, data->mode, opts, err) : choose_modern(p, opts, err);

    if (rc < 0)
        return rc;
    p->layout = data->layout ? data->layout : &usual;
    rc = init_function(p, data->fn, opts, err);
    if (rc < 0)
        return rc;
    p->pci.config[0x3d] = 1; /* INTA# */
    p->config_vector = VIV_VIRTIO_NO_VECTOR;
    if (data->fn->iothread && viv_opts_str(opts, "iothread") && !viv_opts_bool(opts, "ioeventfd"))
        rc = viv_fail(err, EINVAL, "%s: iothread= is for kicks that do not wait: leave out ioeventfd=off", viv_opts_what(opts));
    else
        rc = viv_virtio_new(data->fn, d, &t, opts, &p->v, err);
    if (rc == 0) {
        rc = add_interfaces(p, opts, err);
        if (rc == 0)
            rc = add_boot(p, data->fn, opts, err);
        if (rc == 0) {
            p->pci.config_written = config_written;
            p->pci.config_read = config_read;
            p->pci.pulled = pulled;
            p->pci.remapped = remapped;
            if (p->modern && viv_opts_bool(opts, "ioeventfd"))
                viv_virtio_pci_kicks_init(p);
            return 0;
        }
        viv_virtio_free(p->v);
        p->v = NULL;
    }
    viv_pci_dev_fini(&p->pci);
    return rc;
}

void viv_virtio_pci_unrealize(struct viv_dev *d)
{
    struct viv_virtio_pci *p = (struct viv_virtio_pci *)d;

    viv_virtio_pci_kicks_fini(p);
    remove_boot(p);
    viv_virtio_free(p->v);
    p->v = NULL;
    viv_pci_dev_fini(&p->pci);
}

void viv_virtio_pci_reset(struct viv_dev *d)
{
    struct viv_virtio_pci *p = (struct viv_virtio_pci *)d;

    viv_virtio_reset(p->v);
    clear_transport(p);
    viv_pci_dev_reset(&p->pci);
    viv_virtio_pci_kicks_update(p);
}

void viv_virtio_pci_vm_running(struct viv_dev *d, bool running)
{
    viv_virtio_vm_running(((struct viv_virtio_pci *)d)->v, running);
}

bool viv_virtio_pci_idle(struct viv_dev *d)
{
    return viv_virtio_idle(((struct viv_virtio_pci *)d)->v);
}

int viv_virtio_pci_can_save(struct viv_dev *d, struct viv_err *err)
{
    return viv_virtio_can_save(((struct viv_virtio_pci *)d)->v, err);
}

/* --- saved state --- */

static void save_function(struct viv_state_writer *w, const void *obj)
{
    const struct viv_virtio_pci *p = obj;

    viv_state_save(w, p->v->cls->name, p->v->cls->state, p->v);
}

static int load_function(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct viv_virtio_pci *p = obj;

    return viv_state_load(r, p->v->cls->name, p->v->cls->state, p->v, err);
}

static const struct viv_field pci_fields[] = {
    VIV_F_STRUCT(viv_virtio_pci, pci, viv_pci_dev_state),
    VIV_F_CUSTOM(viv_virtio_pci, v, save_function, load_function),
    VIV_F_CONFIG(viv_virtio_pci, fw_path),
    VIV_F_CONFIG(viv_virtio_pci, layout),
    VIV_F_CONFIG(viv_virtio_pci, modern),
    VIV_F_CONFIG(viv_virtio_pci, legacy),
    VIV_F_INT(viv_virtio_pci, device_features_sel),
    VIV_F_INT(viv_virtio_pci, driver_features_sel),
    VIV_F_INT(viv_virtio_pci, driver_features),
    VIV_F_INT(viv_virtio_pci, queue_sel),
    VIV_F_INT(viv_virtio_pci, config_vector),
    VIV_F_INT(viv_virtio_pci, isr),
    VIV_F_CONFIG(viv_virtio_pci, cfg_cap),
    VIV_F_DERIVED(viv_virtio_pci, kicks, "set up again in post_load; queues are kicked when the VM goes on"),
    VIV_F_END,
};

static int post_load(void *obj, int version, struct viv_err *err)
{
    update_bar(obj);
    viv_virtio_pci_kicks_update(obj);
    return 0;
}

const struct viv_state_table viv_virtio_pci_state = {
    .name = "virtio-pci",
    .ctype = "viv_virtio_pci",
    .version = 1,
    .min_version = 1,
    .fields = pci_fields,
    .post_load = post_load,
};
