/* The io_uring of a handle: reads and writes that need nothing but bytes at one place of a file, many in flight with one thread. All
 * else goes back to the handle's threads.
 *
 * That is: allocations, zeroes, compressed and encrypted clusters, backing files, flushes, writes that are to be durable, ranges that
 * another request holds, memory that O_DIRECT does not take. And whatever the kernel did not do whole: the threads know about ends of
 * files, signals and errors, and doing it once more does no harm. */
#ifndef VIV_BLOCK_RING_H
#define VIV_BLOCK_RING_H

#include "block/node.h"

struct viv_ring;
struct viv_ring_user {
    void (*fallback)(void *opaque, struct viv_blk_req *r); /* queues it; from submit's caller or the ring's thread */
    void (*ended)(void *opaque, const struct viv_blk_req *r); /* well, before its done(); from the ring's thread */
    void *opaque;
    bool writable;
};

/* `n` is borrowed and outlives it. err: why this kernel or this process has no io_uring. */
int viv_ring_new(struct viv_node *n, const struct viv_ring_user *u, struct viv_ring **out, struct viv_err *err);
/* Once nothing is in flight. NULL allowed. */
void viv_ring_free(struct viv_ring *r);
/* Any thread, never blocks on the disk. The request's range was not checked yet. */
void viv_ring_submit(struct viv_ring *r, struct viv_blk_req *req);
/* Nothing new starts until resume (these nest); returns once nothing is in flight. */
void viv_ring_drain(struct viv_ring *r);
void viv_ring_resume(struct viv_ring *r);
/* The same in two: no new ones from here on; are there any under way? */
void viv_ring_hold(struct viv_ring *r);
bool viv_ring_is_idle(struct viv_ring *r);
/* Drained: requests go to another node from here on. */
void viv_ring_move(struct viv_ring *r, struct viv_node *n);
unsigned viv_ring_in_flight(struct viv_ring *r);
uint64_t viv_ring_count(struct viv_ring *r); /* requests that it did itself; for tests */

#endif
