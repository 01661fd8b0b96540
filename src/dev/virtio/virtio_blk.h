/* virtio-blk (virtio 1.2, 5.2) from inside: the device and its requests. */
#ifndef VIV_DEV_VIRTIO_VIRTIO_BLK_H
#define VIV_DEV_VIRTIO_VIRTIO_BLK_H

#include "block/registry.h"
#include "bus/virtio.h"

#include <linux/virtio_blk.h>
#include <pthread.h>

enum { BLK_SECTOR = 512 };

struct blk_req;

struct virtio_blk {
    struct viv_virtio v;
    struct viv_drive *drive;
    char serial[VIRTIO_BLK_ID_BYTES];
    enum viv_drive_error rerror, werror;
    uint32_t logical, physical; /* block sizes */
    uint32_t min_io, opt_io;    /* in logical blocks */
    uint32_t max_discard, max_write_zeroes; /* sectors */
    uint32_t discard_align;     /* sectors */
    uint16_t queue_size, queue_num;
    bool ro, discard, write_zeroes, config_wce;
    bool wce_default;
    bool wce; /* write-back as the guest sees it now */

    unsigned in_flight;    /* in the block layer or on `done` */
    struct blk_req *held;  /* failed under a `stop` policy, in order; sent again when the VM goes on */
    struct blk_req *done;  /* stack of completed requests; pushed by I/O threads, atomic */
    pthread_cond_t idle;   /* in_flight became 0 */
};

/* Takes and starts what is available. */
void virtio_blk_kick(struct viv_virtio *v, unsigned queue);
void virtio_blk_resend_held(struct virtio_blk *b);
void virtio_blk_drop_held(struct virtio_blk *b);
/* Lets go of the device lock while it waits. */
void virtio_blk_wait_idle(struct virtio_blk *b);
void virtio_blk_save_held(struct viv_state_writer *w, const void *obj);
int virtio_blk_load_held(struct viv_state_reader *r, void *obj, int version, struct viv_err *err);

#endif
