/* virtio-blk (virtio 1.2, 5.2) from inside: the device and its requests. */
#ifndef VIV_DEV_VIRTIO_VIRTIO_BLK_H
#define VIV_DEV_VIRTIO_VIRTIO_BLK_H

#include "bus/virtio.h"
#include "dev/storage/front.h"

#include <linux/virtio_blk.h>

enum { BLK_SECTOR = 512 };

struct blk_req;

struct virtio_blk {
    struct viv_virtio v;
    struct viv_front front;
    uint32_t max_discard, max_write_zeroes; /* sectors */
    uint16_t queue_size, queue_num;
    bool discard, write_zeroes, config_wce;
    bool wce; /* write-back as the guest sees it now */
    uint64_t touched;     /* queues with requests that ended since the last interrupt, a bit each */
    struct blk_req *held; /* failed under a `stop` policy, in order; sent again when the VM goes on */
    struct blk_req **held_end;
};

/* Takes and starts what is available. */
void virtio_blk_kick(struct viv_virtio *v, unsigned queue);
void virtio_blk_resend_held(struct virtio_blk *b);
void virtio_blk_drop_held(struct virtio_blk *b);
/* One interrupt for each queue with requests that ended. */
void virtio_blk_told(struct virtio_blk *b);
void virtio_blk_save_held(struct viv_state_writer *w, const void *obj);
int virtio_blk_load_held(struct viv_state_reader *r, void *obj, int version, struct viv_err *err);

#endif
