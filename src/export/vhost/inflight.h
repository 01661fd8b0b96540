/* What was under way, in memory that outlives us: the front end keeps it and gives it to the process that comes after one that was killed
 * (vhost-user, "Inflight I/O tracking", split queues). What it holds is somebody else's word: it is copied once and checked. */
#ifndef VIV_EXPORT_VHOST_INFLIGHT_H
#define VIV_EXPORT_VHOST_INFLIGHT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_vhost_inflight {
    uint8_t *map;
    size_t map_len;
    uint64_t offset; /* of the first queue's part in it */
    unsigned queues, num;
};

/* A new one for so many queues of `num` entries, in a file that cannot become shorter: *fd, the caller's. */
int viv_vhost_inflight_new(unsigned queues, unsigned num, int *fd, uint64_t *bytes, struct viv_err *err);
/* In place of what is there; the descriptor stays the caller's. */
int viv_vhost_inflight_set(struct viv_vhost_inflight *x, int fd, uint64_t bytes, uint64_t offset, unsigned queues, unsigned num,
                           struct viv_err *err);
void viv_vhost_inflight_clear(struct viv_vhost_inflight *x);

/* A queue's part; NULL: there is none, or not for a ring of so many entries. */
struct viv_vhost_log;
struct viv_vhost_log *viv_vhost_inflight_log(const struct viv_vhost_inflight *x, unsigned queue, unsigned num);

/* At the start of a ring whose used index is `used`, and from which `open` requests have not come back: the heads that are to be done again, in
 * the order they were taken; heads[] has room for `num`. *counter: what the next request gets. -ENOENT: the area is new, or what it says is
 * of another ring, and forgotten. */
int viv_vhost_log_resume(struct viv_vhost_log *l, unsigned num, uint16_t used, uint16_t open, uint16_t *heads, uint64_t *counter);
/* Nothing is under way, whatever it says: the ring has stopped. */
void viv_vhost_log_forget(struct viv_vhost_log *l, unsigned num);
/* A request was taken. */
void viv_vhost_log_take(struct viv_vhost_log *l, uint16_t head, uint64_t counter);
/* It is about to be given back; it has been, and the ring's used index is `used`. */
void viv_vhost_log_ending(struct viv_vhost_log *l, uint16_t head);
void viv_vhost_log_ended(struct viv_vhost_log *l, uint16_t head, uint16_t used);

#endif
