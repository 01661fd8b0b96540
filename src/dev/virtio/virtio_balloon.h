/* The balloon, for the monitor: the first one, where a machine has several. Device lock held. */
#ifndef VIV_DEV_VIRTIO_BALLOON_H
#define VIV_DEV_VIRTIO_BALLOON_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct virtio_balloon;

enum { VIRTIO_BALLOON_STATS = 10 };

struct viv_balloon_stats {
    uint64_t value[VIRTIO_BALLOON_STATS]; /* by tag (5.5.6.3); UINT64_MAX: never told */
    int64_t when;                         /* Unix time of the last report; 0: none yet */
};
extern const char *const viv_balloon_stat_names[VIRTIO_BALLOON_STATS]; /* as QEMU's manual names them */

struct viv_dev;
struct virtio_balloon *viv_balloon(const struct viv_dev *d); /* that device, NULL: any; NULL: it is none, there is none */
uint64_t viv_balloon_actual(const struct virtio_balloon *b); /* bytes of memory that the guest has */
/* The guest is asked to give back what is more than `bytes`, or to take it again; it does what it can, in its own time. */
int viv_balloon_set(struct virtio_balloon *b, uint64_t bytes, struct viv_err *err);

/* Seconds between reports; 0: none. -ENOTSUP while the guest's driver does not report. */
int viv_balloon_poll(struct virtio_balloon *b, int64_t seconds, struct viv_err *err);
int64_t viv_balloon_polling(const struct virtio_balloon *b);
const struct viv_balloon_stats *viv_balloon_stats(const struct virtio_balloon *b);

#endif
