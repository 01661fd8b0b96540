/* The legacy register block in I/O BAR 0 (4.1.4.10): little-endian on our guests. */
#include "bus/virtio_pci_int.h"

#include "base/bytes.h"
#include "base/log.h"

enum {
    L_DEVICE_FEATURES = 0,
    L_DRIVER_FEATURES = 4,
    L_QUEUE_PFN = 8,
    L_QUEUE_SIZE = 12,
    L_QUEUE_SELECT = 14,
    L_QUEUE_NOTIFY = 16,
    L_STATUS = 18,
    L_ISR = 19,
    L_CONFIG_VECTOR = 20, /* with MSI-X on, else the device configuration starts here */
    L_QUEUE_VECTOR = 22,
    L_END = 24,
    PAGE = 4096,
};

static unsigned config_start(const struct viv_virtio_pci *p)
{
    return viv_msix_enabled(&p->pci) ? L_END : L_CONFIG_VECTOR;
}

unsigned viv_virtio_pci_legacy_size(const struct viv_virtio_pci *p)
{
    unsigned need = L_END + p->v->cls->config_len, size = 32;

    while (size < need)
        size *= 2;
    return size;
}

static uint64_t legacy_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_virtio_pci *p = opaque;
    struct viv_virtio *v = p->v;
    struct viv_virtq *q = viv_virtio_queue(v, p->queue_sel);
    uint8_t raw[8] = {0};

    if (off >= config_start(p)) {
        viv_virtio_config_read(v, off - config_start(p), raw, size);
        return viv_ld_le64(raw);
    }
    switch (off) {
    case L_DEVICE_FEATURES:
        return v->host_features & UINT32_MAX;
    case L_DRIVER_FEATURES:
        return v->guest_features & UINT32_MAX;
    case L_QUEUE_PFN:
        return q ? q->desc_gpa / PAGE : 0;
    case L_QUEUE_SIZE:
        return q ? q->max_size : 0;
    case L_QUEUE_SELECT:
        return p->queue_sel;
    case L_STATUS:
        return v->status;
    case L_ISR:
        return viv_virtio_pci_take_isr(p);
    case L_CONFIG_VECTOR:
        return p->config_vector;
    case L_QUEUE_VECTOR:
        return q ? q->vector : VIV_VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

static void write_pfn(struct viv_virtio_pci *p, struct viv_virtq *q, uint32_t pfn)
{
    if (!q)
        return;
    if (!pfn && p->v->status == 0)
        return;
    viv_virtq_set_pfn(q, pfn, PAGE);
    viv_virtio_queue_changed(p->v);
}

static void legacy_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct viv_virtio_pci *p = opaque;
    struct viv_virtio *v = p->v;
    struct viv_virtq *q = viv_virtio_queue(v, p->queue_sel);
    uint8_t raw[8];

    if (off >= config_start(p)) {
        viv_st_le64(raw, value);
        viv_virtio_config_write(v, off - config_start(p), raw, size);
        return;
    }
    switch (off) {
    case L_DRIVER_FEATURES:
        viv_virtio_set_guest_features(v, value & v->host_features & UINT32_MAX);
        return;
    case L_QUEUE_PFN:
        write_pfn(p, q, value);
        return;
    case L_QUEUE_SELECT:
        p->queue_sel = value;
        return;
    case L_QUEUE_NOTIFY:
        viv_virtio_kick_legacy(v, value & 0xffff);
        return;
    case L_STATUS:
        viv_virtio_pci_set_status(p, value);
        return;
    case L_CONFIG_VECTOR:
        p->config_vector = viv_virtio_pci_vector(p, value);
        return;
    case L_QUEUE_VECTOR:
        if (q)
            q->vector = viv_virtio_pci_vector(p, value);
        return;
    default:
        viv_guest_error(viv_virtio_name(v), "write to legacy register %u", (unsigned)off);
    }
}

const struct viv_region_ops viv_virtio_pci_legacy_ops = {
    .read = legacy_read,
    .write = legacy_write,
    .min_size = 1,
    .max_size = 4,
    .unaligned = true, /* configuration fields sit where they sit */
};
