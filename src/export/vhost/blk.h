/* The disk of a vhost-user export: its configuration space and its requests (virtio 1.2, 5.2). */
#ifndef VIV_EXPORT_VHOST_BLK_H
#define VIV_EXPORT_VHOST_BLK_H

#include "block/blk.h"
#include "export/vhost/ring.h"

struct viv_vhost_disk {
    struct viv_blk *blk;
    char id[20]; /* GET_ID; not ended by a zero when it is full */
    uint32_t block_size;
    unsigned queues;
    bool writable;
};

/* A queue while it runs: a thread takes requests, the block layer's threads answer them. */
struct viv_vhost_queue;

uint64_t viv_vhost_disk_features(const struct viv_vhost_disk *d);
void viv_vhost_disk_config(const struct viv_vhost_disk *d, uint8_t *config); /* VHOST_CONFIG_MAX bytes */

/* `ring` is started; kick, call and failed stay the caller's (call, failed -1: none). `features`: what was agreed on. */
int viv_vhost_queue_start(struct viv_vhost_disk *d, struct viv_vhost_ring *ring, uint64_t features, int kick, int call,
                          int failed, struct viv_vhost_queue **out, struct viv_err *err);
/* Until all of its requests are answered. Clears *q. */
void viv_vhost_queue_stop(struct viv_vhost_queue **q);
/* All that the driver has made available, in the caller's thread (tests and fuzzers). Negative: the ring is broken. */
int viv_vhost_queue_run(struct viv_vhost_queue *q);
/* Without a thread of its own. */
struct viv_vhost_queue *viv_vhost_queue_new(struct viv_vhost_disk *d, struct viv_vhost_ring *ring, uint64_t features, int call);

#endif
