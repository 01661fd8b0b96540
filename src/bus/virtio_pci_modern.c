/* The modern register block: common configuration, ISR, device configuration, notification. */
#include "bus/virtio_pci_int.h"

#include "base/bytes.h"
#include "base/log.h"

enum { /* struct virtio_pci_common_cfg, 4.1.4.3 */
    C_DEVICE_FEATURE_SELECT = 0x00,
    C_DEVICE_FEATURE = 0x04,
    C_DRIVER_FEATURE_SELECT = 0x08,
    C_DRIVER_FEATURE = 0x0c,
    C_CONFIG_MSIX_VECTOR = 0x10,
    C_NUM_QUEUES = 0x12,
    C_DEVICE_STATUS = 0x14,
    C_CONFIG_GENERATION = 0x15,
    C_QUEUE_SELECT = 0x16,
    C_QUEUE_SIZE = 0x18,
    C_QUEUE_MSIX_VECTOR = 0x1a,
    C_QUEUE_ENABLE = 0x1c,
    C_QUEUE_NOTIFY_OFF = 0x1e,
    C_QUEUE_DESC = 0x20,
    C_QUEUE_DRIVER = 0x28,
    C_QUEUE_DEVICE = 0x30,
};

static uint32_t queue_register(struct viv_virtq *q, unsigned off)
{
    if (!q)
        return off == C_QUEUE_MSIX_VECTOR ? VIV_VIRTIO_NO_VECTOR : 0; /* size 0: no such queue */
    switch (off) {
    case C_QUEUE_SIZE:
        return q->size;
    case C_QUEUE_MSIX_VECTOR:
        return q->vector;
    case C_QUEUE_ENABLE:
        return q->enabled;
    case C_QUEUE_NOTIFY_OFF:
        return q->index;
    case C_QUEUE_DESC:
    case C_QUEUE_DESC + 4:
        return q->desc_gpa >> (off & 4) * 8;
    case C_QUEUE_DRIVER:
    case C_QUEUE_DRIVER + 4:
        return q->avail_gpa >> (off & 4) * 8;
    case C_QUEUE_DEVICE:
    case C_QUEUE_DEVICE + 4:
        return q->used_gpa >> (off & 4) * 8;
    default:
        return 0;
    }
}

/* The register that starts at `off`; 0 when none does. */
static uint32_t common_register(struct viv_virtio_pci *p, unsigned off)
{
    switch (off) {
    case C_DEVICE_FEATURE_SELECT:
        return p->device_features_sel;
    case C_DEVICE_FEATURE:
        return p->device_features_sel < 2 ? p->v->host_features >> (32 * p->device_features_sel)
                                          : 0;
    case C_DRIVER_FEATURE_SELECT:
        return p->driver_features_sel;
    case C_DRIVER_FEATURE:
        return p->driver_features_sel < 2 ? p->driver_features >> (32 * p->driver_features_sel) : 0;
    case C_CONFIG_MSIX_VECTOR:
        return p->config_vector;
    case C_NUM_QUEUES:
        return p->v->queue_count;
    case C_DEVICE_STATUS:
        return p->v->status;
    case C_CONFIG_GENERATION:
        return p->v->config_generation;
    case C_QUEUE_SELECT:
        return p->queue_sel;
    default:
        return queue_register(viv_virtio_queue(p->v, p->queue_sel), off);
    }
}

static void set_part(uint64_t *field, unsigned off, uint32_t value)
{
    unsigned shift = (off & 4) * 8;

    *field = (*field & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void write_queue(struct viv_virtio_pci *p, struct viv_virtq *q, unsigned off, uint32_t value)
{
    if (!q) {
        viv_guest_error(viv_virtio_name(p->v), "register 0x%02x of queue %u, which is not there", off,
                        p->queue_sel);
        return;
    }
    if (off == C_QUEUE_MSIX_VECTOR) {
        q->vector = viv_virtio_pci_vector(p, value);
        return;
    }
    if (q->enabled) {
        viv_guest_error(viv_virtio_name(p->v), "register 0x%02x of queue %u, which is in use", off,
                        p->queue_sel);
        return;
    }
    switch (off) {
    case C_QUEUE_SIZE:
        q->size = value; /* checked when the queue starts */
        return;
    case C_QUEUE_ENABLE:
        if (value == 1)
            viv_virtq_enable(q);
        return;
    case C_QUEUE_DESC:
    case C_QUEUE_DESC + 4:
        set_part(&q->desc_gpa, off, value);
        return;
    case C_QUEUE_DRIVER:
    case C_QUEUE_DRIVER + 4:
        set_part(&q->avail_gpa, off, value);
        return;
    case C_QUEUE_DEVICE:
    case C_QUEUE_DEVICE + 4:
        set_part(&q->used_gpa, off, value);
        return;
    default:
        viv_guest_error(viv_virtio_name(p->v), "write of 0x%x to register 0x%02x", value, off);
    }
}

static void write_driver_features(struct viv_virtio_pci *p, uint32_t value)
{
    if (p->driver_features_sel > 1) {
        if (value)
            viv_guest_error(viv_virtio_name(p->v), "features 0x%x above bit 63", value);
        return;
    }
    set_part(&p->driver_features, p->driver_features_sel * 4, value);
    viv_virtio_set_guest_features(p->v, p->driver_features);
}

static void write_common(struct viv_virtio_pci *p, unsigned off, uint32_t value)
{
    switch (off) {
    case C_DEVICE_FEATURE_SELECT:
        p->device_features_sel = value;
        return;
    case C_DRIVER_FEATURE_SELECT:
        p->driver_features_sel = value;
        return;
    case C_DRIVER_FEATURE:
        write_driver_features(p, value);
        return;
    case C_CONFIG_MSIX_VECTOR:
        p->config_vector = viv_virtio_pci_vector(p, value);
        return;
    case C_DEVICE_STATUS:
        viv_virtio_pci_set_status(p, value);
        return;
    case C_QUEUE_SELECT:
        p->queue_sel = value;
        return;
    default:
        write_queue(p, viv_virtio_queue(p->v, p->queue_sel), off, value);
    }
}

uint64_t viv_virtio_pci_modern_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_virtio_pci *p = opaque;
    unsigned in = off % VIV_VPCI_PART;
    uint8_t raw[8] = {0};

    switch (off - in) {
    case VIV_VPCI_COMMON:
        return common_register(p, in);
    case VIV_VPCI_ISR:
        return in ? 0 : viv_virtio_pci_take_isr(p);
    case VIV_VPCI_DEVICE:
        viv_virtio_config_read(p->v, in, raw, size);
        return viv_ld_le64(raw);
    default:
        return 0;
    }
}

void viv_virtio_pci_modern_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct viv_virtio_pci *p = opaque;
    unsigned in = off % VIV_VPCI_PART;
    uint8_t raw[8];

    switch (off - in) {
    case VIV_VPCI_COMMON:
        write_common(p, in, value);
        return;
    case VIV_VPCI_DEVICE:
        viv_st_le64(raw, value);
        viv_virtio_config_write(p->v, in, raw, size);
        return;
    case VIV_VPCI_NOTIFY:
        viv_virtio_kick(p->v, in / VIV_VPCI_NOTIFY_MULTIPLIER);
        return;
    default:
        viv_guest_error(viv_virtio_name(p->v), "write to 0x%llx", (unsigned long long)off);
    }
}
