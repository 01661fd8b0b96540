#include "bus/virtio_mmio.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/virtio_int.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

enum { /* 4.2.2 */
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC_LOW = 0x080,
    REG_QUEUE_DESC_HIGH = 0x084,
    REG_QUEUE_DRIVER_LOW = 0x090,
    REG_QUEUE_DRIVER_HIGH = 0x094,
    REG_QUEUE_DEVICE_LOW = 0x0a0,
    REG_QUEUE_DEVICE_HIGH = 0x0a4,
    REG_SHM_LEN_LOW = 0x0b0,
    REG_SHM_LEN_HIGH = 0x0b4,
    REG_SHM_BASE_LOW = 0x0b8,
    REG_SHM_BASE_HIGH = 0x0bc,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

enum { ISR_QUEUE = 1, ISR_CONFIG = 2, MAGIC = 0x74726976, VENDOR = 0x4d564956 /* "VIVM" */ };

struct slot {
    struct viv_virtio_mmio_bus *bus;
    unsigned n;
    struct viv_region *region;
    struct viv_irq irq;
    struct viv_virtio_mmio *dev;
};

struct viv_virtio_mmio_bus {
    uint64_t base;
    unsigned count;
    struct slot slot[];
};

static void update_irq(struct viv_virtio_mmio *m)
{
    viv_irq_set(&m->bus->slot[m->slot].irq, m->isr != 0);
}

static void raise_queue(void *opaque, unsigned queue)
{
    struct viv_virtio_mmio *m = opaque;

    m->isr |= ISR_QUEUE;
    update_irq(m);
}

static void raise_config(void *opaque)
{
    struct viv_virtio_mmio *m = opaque;

    m->isr |= ISR_CONFIG;
    update_irq(m);
}

static uint32_t read_register(struct viv_virtio_mmio *m, unsigned reg)
{
    struct viv_virtio *v = m->v;
    struct viv_virtq *q = viv_virtio_queue(v, m->queue_sel);

    switch (reg) {
    case REG_DEVICE_FEATURES:
        return m->device_features_sel < 2 ? v->host_features >> (32 * m->device_features_sel) : 0;
    case REG_QUEUE_NUM_MAX:
        return q ? q->max_size : 0;
    case REG_QUEUE_READY:
        return q ? q->enabled : 0;
    case REG_INTERRUPT_STATUS:
        return m->isr;
    case REG_STATUS:
        return v->status;
    case REG_SHM_LEN_LOW: /* no shared memory region: length -1 (4.2.2) */
    case REG_SHM_LEN_HIGH:
    case REG_SHM_BASE_LOW:
    case REG_SHM_BASE_HIGH:
        return UINT32_MAX;
    case REG_CONFIG_GENERATION:
        return v->config_generation;
    default:
        viv_guest_error(viv_virtio_name(v), "read of register 0x%03x", reg);
        return 0;
    }
}

static uint64_t window_read(void *opaque, uint64_t off, unsigned size)
{
    struct slot *s = opaque;
    uint8_t raw[8] = {0};

    if (off >= REG_CONFIG) {
        if (s->dev)
            viv_virtio_config_read(s->dev->v, off - REG_CONFIG, raw, size);
        return viv_ld_le64(raw);
    }
    if (size != 4) {
        viv_guest_error("virtio-mmio", "read of %u bytes at 0x%03x: registers have 4", size,
                        (unsigned)off);
        return 0;
    }
    switch (off) {
    case REG_MAGIC:
        return MAGIC;
    case REG_VERSION:
        return 2;
    case REG_DEVICE_ID:
        return s->dev ? s->dev->v->cls->device_id : 0;
    case REG_VENDOR_ID:
        return VENDOR;
    default:
        return s->dev ? read_register(s->dev, off) : 0;
    }
}

static void set_half(uint64_t *field, bool high, uint32_t value)
{
    if (high)
        *field = (*field & UINT32_MAX) | (uint64_t)value << 32;
    else
        *field = (*field & ~(uint64_t)UINT32_MAX) | value;
}

static void write_queue(struct viv_virtio_mmio *m, struct viv_virtq *q, unsigned reg, uint32_t value)
{
    if (q && reg == REG_QUEUE_READY && !(value & 1)) { /* 4.2.2.2: how a driver stops it */
        viv_virtq_disable(q);
        viv_virtio_queue_changed(m->v);
        return;
    }
    if (!q || q->enabled) {
        viv_guest_error(viv_virtio_name(m->v), "register 0x%03x of queue %u: %s", reg, m->queue_sel,
                        q ? "it is in use" : "there is none");
        return;
    }
    switch (reg) {
    case REG_QUEUE_NUM:
        q->size = value > UINT16_MAX ? 0 : value; /* checked when the queue starts */
        return;
    case REG_QUEUE_READY:
        viv_virtq_enable(q);
        viv_virtio_queue_changed(m->v);
        return;
    case REG_QUEUE_DESC_LOW:
    case REG_QUEUE_DESC_HIGH:
        set_half(&q->desc_gpa, reg == REG_QUEUE_DESC_HIGH, value);
        return;
    case REG_QUEUE_DRIVER_LOW:
    case REG_QUEUE_DRIVER_HIGH:
        set_half(&q->avail_gpa, reg == REG_QUEUE_DRIVER_HIGH, value);
        return;
    default:
        set_half(&q->used_gpa, reg == REG_QUEUE_DEVICE_HIGH, value);
        return;
    }
}

static void clear_transport(struct viv_virtio_mmio *m)
{
    m->device_features_sel = m->driver_features_sel = m->queue_sel = 0;
    m->driver_features = 0;
    m->isr = 0;
    update_irq(m);
}

static void write_register(struct viv_virtio_mmio *m, unsigned reg, uint32_t value)
{
    struct viv_virtio *v = m->v;

    switch (reg) {
    case REG_DEVICE_FEATURES_SEL:
        m->device_features_sel = value;
        return;
    case REG_DRIVER_FEATURES_SEL:
        m->driver_features_sel = value;
        return;
    case REG_DRIVER_FEATURES:
        if (m->driver_features_sel > 1) {
            if (value)
                viv_guest_error(viv_virtio_name(v), "features 0x%x above bit 63", value);
            return;
        }
        set_half(&m->driver_features, m->driver_features_sel, value);
        viv_virtio_set_guest_features(v, m->driver_features);
        return;
    case REG_QUEUE_SEL:
        m->queue_sel = value;
        return;
    case REG_QUEUE_NOTIFY:
        viv_virtio_kick(v, value);
        return;
    case REG_INTERRUPT_ACK:
        m->isr &= ~value;
        update_irq(m);
        return;
    case REG_STATUS:
        viv_virtio_set_status(v, value);
        if (!(uint8_t)value)
            clear_transport(m);
        return;
    case REG_QUEUE_NUM:
    case REG_QUEUE_READY:
    case REG_QUEUE_DESC_LOW:
    case REG_QUEUE_DESC_HIGH:
    case REG_QUEUE_DRIVER_LOW:
    case REG_QUEUE_DRIVER_HIGH:
    case REG_QUEUE_DEVICE_LOW:
    case REG_QUEUE_DEVICE_HIGH:
        write_queue(m, viv_virtio_queue(v, m->queue_sel), reg, value);
        return;
    default:
        viv_guest_error(viv_virtio_name(v), "write of 0x%x to register 0x%03x", value, reg);
    }
}

static void window_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct slot *s = opaque;
    uint8_t raw[8];

    if (!s->dev)
        return;
    if (off >= REG_CONFIG) {
        viv_st_le64(raw, value);
        viv_virtio_config_write(s->dev->v, off - REG_CONFIG, raw, size);
    } else if (size == 4) {
        write_register(s->dev, off, value);
    } else {
        viv_guest_error("virtio-mmio", "write of %u bytes at 0x%03x: registers have 4", size,
                        (unsigned)off);
    }
}

static const struct viv_region_ops window_ops = {
    .read = window_read,
    .write = window_write,
    .min_size = 1,
    .max_size = 4,
};

struct viv_virtio_mmio_bus *viv_virtio_mmio_bus_new(struct viv_board *board, uint64_t base,
                                                    unsigned count, const struct viv_irq *irqs)
{
    struct viv_virtio_mmio_bus *b = g_malloc0(sizeof(*b) + count * sizeof(b->slot[0]));

    b->base = base;
    b->count = count;
    viv_space_begin(board->mem);
    for (unsigned i = 0; i < count; i++) {
        struct slot *s = &b->slot[i];

        s->bus = b;
        s->n = i;
        s->irq = irqs[i];
        s->region = viv_region_new(board->mem, &(struct viv_region_desc){
                                                   .name = "virtio-mmio",
                                                   .kind = VIV_REGION_IO,
                                                   .size = VIV_VIRTIO_MMIO_STRIDE,
                                                   .ops = &window_ops,
                                                   .opaque = s,
                                               });
        viv_region_map(s->region, viv_virtio_mmio_addr(b, i), 1);
    }
    viv_space_commit(board->mem);
    return b;
}

void viv_virtio_mmio_bus_free(struct viv_virtio_mmio_bus *b)
{
    for (unsigned i = 0; i < b->count; i++)
        viv_region_free(b->slot[i].region);
    g_free(b);
}

unsigned viv_virtio_mmio_slots(const struct viv_virtio_mmio_bus *b)
{
    return b->count;
}

uint64_t viv_virtio_mmio_addr(const struct viv_virtio_mmio_bus *b, unsigned slot)
{
    return b->base + (uint64_t)slot * VIV_VIRTIO_MMIO_STRIDE;
}

struct viv_virtio_mmio *viv_virtio_mmio_at(struct viv_virtio_mmio_bus *b, unsigned slot)
{
    return slot < b->count ? b->slot[slot].dev : NULL;
}

static int pick_slot(struct viv_virtio_mmio_bus *b, struct viv_opts *opts, unsigned *out,
                     struct viv_err *err)
{
    const char *name = viv_opts_str(opts, "bus");
    unsigned n;
    char end;

    if (!b)
        return viv_fail(err, ENODEV, "%s: this machine has no virtio-mmio windows; pc and q35 take the -pci device",
                        viv_opts_what(opts));
    if (name) {
        if (sscanf(name, "virtio-mmio-bus.%u%c", &n, &end) != 1 || n >= b->count)
            return viv_fail(err, EINVAL, "%s: bus '%s' does not exist; there are virtio-mmio-bus.0 to .%u",
                            viv_opts_what(opts), name, b->count - 1);
        if (b->slot[n].dev)
            return viv_fail(err, EBUSY, "%s: bus '%s' holds %s already", viv_opts_what(opts), name,
                            viv_virtio_name(b->slot[n].dev->v));
        *out = n;
        return 0;
    }
    for (n = 0; n < b->count; n++) {
        if (!b->slot[n].dev) {
            *out = n;
            return 0;
        }
    }
    return viv_fail(err, ENOSPC, "%s: all %u virtio-mmio windows are taken", viv_opts_what(opts),
                    b->count);
}

int viv_virtio_mmio_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct viv_virtio_mmio *m = (struct viv_virtio_mmio *)d;
    struct viv_virtio_transport t = {.notify_queue = raise_queue, .notify_config = raise_config, .opaque = m};
    int rc = pick_slot(d->board->vmmio, opts, &m->slot, err);

    if (rc < 0)
        return rc;
    if (((const struct viv_virtio_class *)d->cls->data)->fw_kind && viv_opts_given(opts, "bootindex"))
        return viv_fail(err, ENOTSUP, "%s: bootindex: this machine has no firmware that could boot from it; leave it out",
                        viv_opts_what(opts));
    m->bus = d->board->vmmio;
    rc = viv_virtio_new(d->cls->data, d, &t, opts, &m->v, err);
    if (rc < 0)
        return rc;
    m->bus->slot[m->slot].dev = m;
    return 0;
}

void viv_virtio_mmio_unrealize(struct viv_dev *d)
{
    struct viv_virtio_mmio *m = (struct viv_virtio_mmio *)d;

    m->bus->slot[m->slot].dev = NULL;
    viv_virtio_free(m->v);
    m->v = NULL;
}

void viv_virtio_mmio_reset(struct viv_dev *d)
{
    struct viv_virtio_mmio *m = (struct viv_virtio_mmio *)d;

    viv_virtio_reset(m->v);
    clear_transport(m);
}

void viv_virtio_mmio_vm_running(struct viv_dev *d, bool running)
{
    viv_virtio_vm_running(((struct viv_virtio_mmio *)d)->v, running);
}

bool viv_virtio_mmio_idle(struct viv_dev *d)
{
    return viv_virtio_idle(((struct viv_virtio_mmio *)d)->v);
}

int viv_virtio_mmio_can_save(struct viv_dev *d, struct viv_err *err)
{
    return viv_virtio_can_save(((struct viv_virtio_mmio *)d)->v, err);
}

static void save_function(struct viv_state_writer *w, const void *obj)
{
    const struct viv_virtio_mmio *m = obj;

    viv_state_save(w, m->v->cls->name, m->v->cls->state, m->v);
}

static int load_function(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct viv_virtio_mmio *m = obj;

    return viv_state_load(r, m->v->cls->name, m->v->cls->state, m->v, err);
}

static const struct viv_field mmio_fields[] = {
    VIV_F_CONFIG(viv_virtio_mmio, dev),
    VIV_F_CUSTOM(viv_virtio_mmio, v, save_function, load_function),
    VIV_F_CONFIG(viv_virtio_mmio, bus),
    VIV_F_CONFIG(viv_virtio_mmio, slot),
    VIV_F_INT(viv_virtio_mmio, device_features_sel),
    VIV_F_INT(viv_virtio_mmio, driver_features_sel),
    VIV_F_INT(viv_virtio_mmio, driver_features),
    VIV_F_INT(viv_virtio_mmio, queue_sel),
    VIV_F_INT(viv_virtio_mmio, isr),
    VIV_F_END,
};

const struct viv_state_table viv_virtio_mmio_state = {
    .name = "virtio-mmio",
    .ctype = "viv_virtio_mmio",
    .version = 1,
    .min_version = 1,
    .fields = mmio_fields,
};
