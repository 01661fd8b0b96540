/* Virtio 1.2 core: feature bits, queues (split and packed), config space; transports are separate
 * (virtio_pci.c, virtio_mmio.c) and a device function knows none of them.
 *
 * A device function fills struct viv_virtio_class and embeds struct viv_virtio. Kicks arrive with the device
 * lock held on the kicking vCPU (or from an ioeventfd's handler on the loop thread). Everything read
 * from a ring is copied once and checked; a broken ring sets NEEDS_RESET and stops the device. */
#ifndef VIV_BUS_VIRTIO_H
#define VIV_BUS_VIRTIO_H

#include "bus/dev.h"

#include <sys/uio.h>

#define VIV_VIRTQ_MAX_SIZE 1024
#define VIV_VIRTQ_MAX_SEGS 1024 /* descriptors in one request, over all indirections */

enum { /* feature bits common to all devices (virtio 1.2, 6) */
    VIV_VIRTIO_F_NOTIFY_ON_EMPTY = 24,
    VIV_VIRTIO_F_ANY_LAYOUT = 27,
    VIV_VIRTIO_F_INDIRECT = 28,
    VIV_VIRTIO_F_EVENT_IDX = 29,
    VIV_VIRTIO_F_VERSION_1 = 32,
    VIV_VIRTIO_F_ACCESS_PLATFORM = 33,
    VIV_VIRTIO_F_RING_PACKED = 34,
    VIV_VIRTIO_F_IN_ORDER = 35,
    VIV_VIRTIO_F_RING_RESET = 40,
};

struct viv_virtio;
struct viv_virtq;

/* One request taken from a queue. Buffers are mapped guest memory (viv_dma_map). Freed by viv_virtq_push or
 * viv_virtq_drop. */
struct viv_virtq_elem {
    struct viv_virtq *vq;
    uint16_t id;      /* head (split) or buffer id (packed) */
    uint16_t ndescs;  /* ring slots it occupies (packed) */
    int out_num, in_num;
    struct iovec *out; /* device reads */
    struct iovec *in;  /* device writes */
    uint64_t out_len, in_len; /* totals */
};

struct viv_virtio_class {
    const char *name;    /* "virtio-blk" */
    uint16_t device_id;  /* virtio id */
    uint32_t pci_class;  /* 0xCCSSPP for virtio-pci */
    unsigned config_len; /* bytes of device config */
    uint64_t (*features)(struct viv_virtio *v); /* device-specific bits offered */
    void (*set_features)(struct viv_virtio *v, uint64_t features); /* after FEATURES_OK; may be NULL */
    void (*get_config)(struct viv_virtio *v, uint8_t *config);     /* fills config_len bytes */
    void (*set_config)(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *config); /* may be NULL */
    void (*kick)(struct viv_virtio *v, unsigned queue);
    void (*status)(struct viv_virtio *v, uint8_t status); /* after DRIVER_OK set or cleared; may be NULL */
    void (*reset)(struct viv_virtio *v); /* in-flight requests must complete or be dropped first */
};

/* What the transport gives. */
struct viv_virtio_transport {
    void (*notify_queue)(void *opaque, unsigned queue); /* used buffer notification; device lock held */
    void (*notify_config)(void *opaque);
    void *opaque;
};

/* Embedded in a device function's instance. Layout is in bus/virtio_int.h for core and transports. */
struct viv_virtio {
    const struct viv_virtio_class *cls;
    struct viv_board *board;
    struct viv_virtio_transport transport;
    uint64_t host_features, guest_features;
    uint8_t status;
    uint8_t config_generation;
    bool broken;
    unsigned queue_count;
    struct viv_virtq *queues; /* array of queue_count */
};

extern const struct viv_state_table viv_virtio_state;

int viv_virtio_init(struct viv_virtio *v, const struct viv_virtio_class *cls, struct viv_board *board,
                    struct viv_err *err);
void viv_virtio_fini(struct viv_virtio *v);
/* In order, before the transport starts. Returns the queue's index. */
unsigned viv_virtio_add_queue(struct viv_virtio *v, unsigned max_size);
bool viv_virtio_has(const struct viv_virtio *v, unsigned feature);
void viv_virtio_config_changed(struct viv_virtio *v);
void viv_virtio_set_broken(struct viv_virtio *v, const char *why);

/* Next available request, or NULL. On a broken ring: NULL, and the device is broken. */
struct viv_virtq_elem *viv_virtq_pop(struct viv_virtio *v, unsigned queue);
/* Returns it as used with `written` bytes of device-written data. Does not notify. */
void viv_virtq_push(struct viv_virtq_elem *e, uint32_t written);
/* Gives it back unread: it will be popped again (used at VM stop). */
void viv_virtq_unpop(struct viv_virtq_elem *e);
/* Interrupts the driver if it wants it (event index, flags). */
void viv_virtq_notify(struct viv_virtio *v, unsigned queue);
/* Suppress or ask for kicks while polling. Returns true if requests arrived meanwhile. */
bool viv_virtq_set_kick(struct viv_virtio *v, unsigned queue, bool want);
bool viv_virtq_empty(struct viv_virtio *v, unsigned queue);

/* Copies between an element's buffers and a flat one; return bytes copied. */
size_t viv_iov_to_buf(const struct iovec *iov, int n, size_t off, void *buf, size_t len);
size_t viv_iov_from_buf(const struct iovec *iov, int n, size_t off, const void *buf, size_t len);

#endif
