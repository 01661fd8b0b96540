/* A split virtqueue (virtio 1.2, 2.7) in the front end's memory. What it says is copied once and checked; a driver that breaks the
 * rules breaks its own ring and nothing else. */
#ifndef VIV_EXPORT_VHOST_RING_H
#define VIV_EXPORT_VHOST_RING_H

#include "export/vhost/inflight.h"
#include "export/vhost/mem.h"

#include <pthread.h>
#include <stdbool.h>

#define VIV_VHOST_RING_MAX   1024u
#define VIV_VHOST_PIECES_MAX 1024u /* buffers of one request */

struct viv_vhost_ring {
    /* as the front end said */
    uint32_t num;
    struct vhost_vring_addr addr;
    bool has_addr;
    /* while it runs */
    const struct viv_vhost_mem *mem;
    uint8_t *desc, *avail, *used;
    bool event_idx;
    uint16_t next_avail; /* owned by the thread that pops, as are these three: */
    uint16_t again[VIV_VHOST_RING_MAX]; /* heads that are to be done again, */
    unsigned again_at, again_count;
    uint64_t counter;    /* of requests taken */
    struct viv_vhost_log *log; /* of what is under way; NULL: nobody keeps one */
    pthread_mutex_t lock; /* what follows, and the used ring */
    uint16_t next_used;
    uint16_t signalled; /* next_used at the last call */
    bool signalled_once;
};

/* One request's buffers: `out` first (from the driver), then `in`. */
struct viv_vhost_chain {
    uint16_t head;
    unsigned out, in; /* how many of iov */
    struct iovec iov[VIV_VHOST_PIECES_MAX];
};

/* Looks up the rings' places. -EINVAL: they are no memory. */
int viv_vhost_ring_start(struct viv_vhost_ring *r, const struct viv_vhost_mem *mem, bool event_idx);
/* After that: goes on from `log` (NULL: none), with the requests that a process before us had taken. */
void viv_vhost_ring_resume(struct viv_vhost_ring *r, struct viv_vhost_log *log);
/* 1: a request; 0: there is none; negative: the ring is broken. */
int viv_vhost_ring_pop(struct viv_vhost_ring *r, struct viv_vhost_chain *c);
/* Does the driver need to kick for what comes next? True: something came in between, pop again. */
bool viv_vhost_ring_rest(struct viv_vhost_ring *r);
/* Any thread. True: the driver wants to be told. */
bool viv_vhost_ring_push(struct viv_vhost_ring *r, uint16_t head, uint32_t written);

#endif
