/* I/O limits: how long requests of a group's members wait.
 *
 * Six buckets, of bytes and of requests, for reads, writes and both. A request passes when every bucket it goes into has
 * not run over, and then adds to them; they leak at the rates that were asked for. So a large request passes whole and
 * those behind it wait. Limits belong to a group: disks of one group share them, in turns. Thread-safe. */
#ifndef VIV_BLOCK_THROTTLE_H
#define VIV_BLOCK_THROTTLE_H

#include "block/block.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    VIV_LIMIT_BPS_TOTAL,
    VIV_LIMIT_BPS_READ,
    VIV_LIMIT_BPS_WRITE,
    VIV_LIMIT_IOPS_TOTAL,
    VIV_LIMIT_IOPS_READ,
    VIV_LIMIT_IOPS_WRITE,
    VIV_LIMITS
};

/* 0: no limit. Per second. */
struct viv_limits {
    struct viv_limit {
        uint64_t avg;    /* in the long run */
        uint64_t max;    /* in bursts; 0: no bursts */
        uint64_t length; /* of a burst at `max`, in seconds; 0 is 1 */
    } l[VIV_LIMITS];
    uint64_t iops_size; /* a request counts once per so many bytes; 0: once */
};

bool viv_limits_any(const struct viv_limits *l);
/* Refuses what contradicts itself; `what` opens the text. */
int viv_limits_check(const struct viv_limits *l, const char *what, struct viv_err *err);

/* From -drive's options (options.c): throttling.* and the names before them; *group borrowed, NULL: none named. */
int viv_limits_read(struct viv_opts *o, struct viv_limits *l, const char **group, struct viv_err *err);

/* -object throttle-group: the group lives until it is deleted, which its members' presence forbids (-EBUSY). */
extern const struct viv_opt_def viv_throttle_group_opts[];
int viv_throttle_group_add(struct viv_opts *o, struct viv_err *err);
int viv_throttle_group_del(const char *id, struct viv_err *err);
int viv_throttle_group_change(struct viv_opts *o, struct viv_err *err); /* to the limits of `o`, for all members */
struct viv_raw_opts *viv_throttle_group_now(const char *id);            /* an object's limits as they are, as its options say them */
void viv_throttle_groups_free(void);

struct viv_throttle; /* a group */
struct viv_throttled; /* a member: one handle */

/* The group of this name, made if there is none, with these limits from now on. One reference. */
struct viv_throttle *viv_throttle_get(const char *name, const struct viv_limits *l);
/* Limits of a group that exists already are the group's: NULL when there is none. */
struct viv_throttle *viv_throttle_find(const char *name);
struct viv_throttle *viv_throttle_ref(struct viv_throttle *t);
void viv_throttle_put(struct viv_throttle *t);
bool viv_throttle_is_used(struct viv_throttle *t); /* by anybody but the one who asks */
void viv_throttle_limits(struct viv_throttle *t, struct viv_limits *out);
const char *viv_throttle_name(const struct viv_throttle *t); /* as long as the group; "#..." when nobody gave it one */
struct viv_throttle *viv_throttle_group(const struct viv_throttled *m); /* borrowed */

/* release(blk, req): the request may go; called from any thread, under the group's lock: it only queues. Takes the reference to
 * the group. */
struct viv_throttled *viv_throttle_join(struct viv_throttle *take, struct viv_blk *blk,
                                        void (*release)(struct viv_blk *blk, struct viv_blk_req *req));
/* Releases what is held and leaves. */
void viv_throttle_leave(struct viv_throttled *m);
/* True: held, release() will be called for it. False: it may go now. */
bool viv_throttle_hold(struct viv_throttled *m, struct viv_blk_req *req);
/* Lets all held requests go (drain). */
void viv_throttle_release_all(struct viv_throttled *m);
unsigned viv_throttle_held(struct viv_throttled *m);

/* --- a handle's --- */

/* From here on requests wait as the limits say, alone (group NULL) or with all of a group; without limits of its own the group
 * must be there; with neither nothing holds them any more. While nobody submits any: before the first, or with the device lock and the
 * drive drained. On failure all is as it was. */
int viv_blk_set_limits(struct viv_blk *b, const char *group, const struct viv_limits *l, struct viv_err *err);
/* The same with a group that is there; takes the reference; NULL: none. */
void viv_blk_join_limits(struct viv_blk *b, struct viv_throttle *take);
struct viv_throttle *viv_blk_limits(const struct viv_blk *b); /* borrowed; NULL: none */

/* --- the arithmetic, for tests: time in ns comes from outside --- */

struct viv_buckets {
    struct viv_limits limits;
    uint64_t at; /* ns, of the levels */
    double level[VIV_LIMITS], burst[VIV_LIMITS];
};
/* ns until a request of this kind may pass; 0: now. Lets the buckets leak up to `now`. */
uint64_t viv_buckets_wait(struct viv_buckets *b, bool write, uint64_t now);
void viv_buckets_add(struct viv_buckets *b, bool write, uint64_t bytes);

#endif
