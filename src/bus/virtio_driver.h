/* A driver for tests: the other side of a virtqueue, split or packed, written in guest memory. It reaches the
 * device through the transports' own calls (bus/virtio_int.h). Not part of the programs. */
#ifndef VIV_BUS_VIRTIO_DRIVER_H
#define VIV_BUS_VIRTIO_DRIVER_H

#include "bus/virtio_int.h"

enum { TD_QUEUES = 12, TD_SIZE_MAX = 256 };

struct td_queue {
    uint16_t size;
    uint64_t desc, avail, used;
    uint16_t free[TD_SIZE_MAX]; /* split: descriptors; packed: buffer ids */
    unsigned free_count;
    uint16_t slots[TD_SIZE_MAX]; /* descriptors of each id */
    uint16_t chain[TD_SIZE_MAX]; /* split: next of each descriptor */
    uint16_t next_avail, next_used;
    bool avail_wrap, used_wrap;
};

struct td {
    struct viv_virtio *v;
    struct viv_space *mem;
    uint64_t next; /* free guest memory */
    bool packed, event_idx;
    struct td_queue q[TD_QUEUES];
};

struct td_seg {
    uint64_t gpa;
    uint32_t len;
    bool write;
};

/* Negotiates `features` (VERSION_1 is added), up to FEATURES_OK. `free_gpa`: where guest memory is free. */
void td_start(struct td *d, struct viv_virtio *v, uint64_t features, uint64_t free_gpa);
void td_queue_start(struct td *d, unsigned queue, uint16_t size);
void td_go(struct td *d); /* DRIVER_OK */

uint64_t td_alloc(struct td *d, uint32_t len); /* 16-byte aligned, zeroed by nobody */
uint64_t td_put(struct td *d, const void *data, uint32_t len);
void td_read(struct td *d, uint64_t gpa, void *buf, uint32_t len);
void td_write(struct td *d, uint64_t gpa, const void *buf, uint32_t len);
void td_write16(struct td *d, uint64_t gpa, uint16_t v);

/* Makes a request available; returns its id. Does not kick. */
uint16_t td_add(struct td *d, unsigned queue, const struct td_seg *seg, unsigned n, bool indirect);
void td_kick(struct td *d, unsigned queue);
/* Takes the next used one. */
bool td_used(struct td *d, unsigned queue, uint16_t *id, uint32_t *len);
/* Interrupts: off; on for each; or (event_idx) when `after` more have been used. */
void td_interrupts(struct td *d, unsigned queue, bool on);
void td_interrupt_after(struct td *d, unsigned queue, uint16_t after);

#endif
