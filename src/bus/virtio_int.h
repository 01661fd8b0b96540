/* Virtio queues from inside: for the core and the transports only. */
#ifndef VIV_BUS_VIRTIO_INT_H
#define VIV_BUS_VIRTIO_INT_H

#include "base/byname.h"
#include "bus/virtio.h"

#define VIV_VIRTIO_NO_VECTOR 0xffff
#define VIV_VIRTQ_FREE_MAX   64 /* elements kept for re-use per queue */
#define VIV_VIRTQ_ELEM_SEGS  20 /* what such an element has room for at least */

enum { /* descriptor flags (2.7.5, 2.8.1) */
    VIV_DESC_NEXT = 1,
    VIV_DESC_WRITE = 2,
    VIV_DESC_INDIRECT = 4,
    VIV_DESC_AVAIL = 1 << 7,  /* packed */
    VIV_DESC_USED = 1 << 15, /* packed */
};

/* One of a queue's three areas. Host-contiguous nearly always; then hva is set and loads are direct. */
struct viv_vring_area {
    uint64_t gpa;
    uint8_t *hva;
    uint32_t len;
};

struct viv_virtq {
    struct viv_virtio *v;
    uint16_t index;
    uint16_t max_size;
    uint16_t size;   /* as the driver chose */
    uint16_t vector; /* MSI-X */
    bool enabled;
    bool kicks;      /* does the function want kicks? */
    uint64_t desc_gpa, avail_gpa, used_gpa; /* packed: descriptor ring, driver and device event areas */

    uint16_t last_avail; /* next to pop; packed: ring slot */
    uint16_t used_idx;   /* next to push; packed: ring slot */
    uint16_t signalled;  /* used_idx at the last interrupt */
    bool signalled_valid;
    uint32_t pending; /* used since the driver was last considered for an interrupt */
    bool avail_wrap, used_wrap; /* packed wrap counters (2.8.1) */

    uint32_t life; /* counts stops: elements of an earlier life are not the present ring's */
    bool ready; /* areas are mapped */
    struct viv_vring_area desc, avail, used;
    unsigned in_flight; /* elements out */
    unsigned orphans;   /* those of earlier lives */
    struct viv_virtq_elem *free;
    unsigned free_count;

    bool in_kick;  /* elements that one kick may pop are counted: another vCPU may fill the ring as fast as we empty it */
    unsigned left; /* that many more */
    bool again;    /* there were more: the loop thread kicks again, others have the device lock in between */
    struct viv_iojob *job; /* serves it on the function's iothread; NULL: there is none */
};

/* A request being collected from descriptors. */
struct viv_virtq_gather {
    struct viv_virtio *v;
    unsigned n, out_num;
    uint64_t out_len, in_len;
    struct iovec iov[VIV_VIRTQ_MAX_SEGS];
    uint64_t gpa[VIV_VIRTQ_MAX_SEGS];
};

struct viv_vring_desc { /* decoded copy, split or packed */
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next; /* split: next; packed: buffer id */
};

/* What the two ring formats do. */
struct viv_vring_ops {
    /* Is something there (acquire)? Negative when the ring is broken. */
    int (*available)(struct viv_virtq *q);
    /* Fills g; *id, *ndescs. Advances. False when broken. */
    bool (*take)(struct viv_virtq *q, struct viv_virtq_gather *g, uint16_t *id, uint16_t *ndescs);
    void (*untake)(struct viv_virtq *q, uint16_t ndescs);
    /* The driver sees all n of them at once. */
    void (*put)(struct viv_virtq *q, struct viv_virtq_elem *const *e, const uint32_t *written, unsigned n);
    bool (*wants_interrupt)(struct viv_virtq *q);
    void (*ask_kick)(struct viv_virtq *q, bool want);
} VIV_BY_NAME;

extern const struct viv_vring_ops viv_vring_split_ops, viv_vring_packed_ops;

void viv_virtq_remap(struct viv_virtq *q);

static inline const struct viv_vring_ops *viv_vring_ops_of(const struct viv_virtio *v)
{
    return viv_virtio_has(v, VIV_VIRTIO_F_RING_PACKED) ? &viv_vring_packed_ops
                                                        : &viv_vring_split_ops;
}

/* Area access; offsets are the core's own, inside the area. ld/st of 16 bits are single accesses. */
uint16_t viv_vring_ld16(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off);
void viv_vring_st16(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off, uint16_t v);
void viv_vring_read(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off, void *buf,
                    uint32_t len);
void viv_vring_write(struct viv_virtq *q, const struct viv_vring_area *a, uint32_t off,
                     const void *buf, uint32_t len);

/* Maps one descriptor's buffer into g. False (and broken) on a bad one. */
bool viv_virtq_gather_add(struct viv_virtq_gather *g, const struct viv_vring_desc *d);
/* Walks an indirect table. `chained`: split rules (next fields), else packed (in order). */
bool viv_virtq_gather_indirect(struct viv_virtq_gather *g, const struct viv_vring_desc *d,
                               bool chained);

/* ring_need_event of the specification (2.7.10). */
static inline bool viv_vring_need_event(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* For transports. */
void viv_virtio_set_status(struct viv_virtio *v, uint8_t status);
void viv_virtio_reset(struct viv_virtio *v);
/* The driver's choice so far; bits that are not offered make FEATURES_OK fail. */
void viv_virtio_set_guest_features(struct viv_virtio *v, uint64_t features);
void viv_virtio_vm_running(struct viv_virtio *v, bool running);
/* A kick by the legacy registers, perhaps before DRIVER_OK. */
void viv_virtio_kick_legacy(struct viv_virtio *v, unsigned queue);
/* A queue was stopped or started, perhaps while the driver is up. */
void viv_virtio_queue_changed(struct viv_virtio *v);
/* May it reach memory? What was taken by then ends; queues are kicked, by the loop, when it may again. */
void viv_virtio_bar(struct viv_virtio *v, bool barred);
bool viv_virtio_idle(struct viv_virtio *v);
int viv_virtio_can_save(struct viv_virtio *v, struct viv_err *err);
/* Config space of the function; beyond its end zeroes are read and writes fall. */
void viv_virtio_config_read(struct viv_virtio *v, unsigned off, void *buf, unsigned len);
void viv_virtio_config_write(struct viv_virtio *v, unsigned off, const void *buf, unsigned len);
/* Checks addresses and size, maps, starts from index 0. Broken device when they cannot be. */
void viv_virtq_enable(struct viv_virtq *q);
void viv_virtq_disable(struct viv_virtq *q);
/* Legacy: one address for the three areas (2.7.2, "Legacy Interfaces: Virtqueue layout"). 0 stops the queue. */
void viv_virtq_set_pfn(struct viv_virtq *q, uint32_t pfn, uint32_t page_size);
/* NULL when the guest names a queue that is not there. */
static inline struct viv_virtq *viv_virtio_queue(struct viv_virtio *v, unsigned i)
{
    return i < v->queue_count ? &v->queues[i] : NULL;
}

extern const struct viv_state_table viv_virtq_state;

#endif
