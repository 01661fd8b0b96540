/* Linux's vhost-net (linux/vhost.h): a thread of the host's kernel moves the frames of one pair of queues between guest memory
 * and a TAP interface.
 *
 * Who owns what. The guest's rings stay ours, always: nothing but this process reads or writes them. The kernel is given two
 * rings in memory of this process that the guest does not see, and buffers of guest memory in them, by their address here. So
 *  - a buffer is the guest's, then ours (popped), then the kernel's (put), then ours (got, or taken back), then the guest's;
 *  - what the kernel wrote is known here, and told to the dirty log and to the software CPUs, before the guest hears of it. A
 *    kernel that worked on the guest's own rings would tell the guest first, and a vCPU would run stale translations;
 *  - whatever the guest's ring is (packed, with indirect tables, event indices), the kernel needs only the oldest format;
 *  - nothing of the kernel's is part of the machine's state. A stop takes back what it has not used: the rings are as they would
 *    be if this process had moved the frames, for a reset, a save, or to go on without the kernel.
 * The price is that this process handles each buffer's address, though no bytes.
 *
 * Device lock held for all calls and callbacks. */
#ifndef VIV_NET_VHOST_H
#define VIV_NET_VHOST_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum { VIV_VHOST_RX, VIV_VHOST_TX, VIV_VHOST_RINGS }; /* to the guest, from it: numbers of the kernel's */
enum { VIV_VHOST_FAILED = VIV_VHOST_RINGS };
enum { VIV_VHOST_RING_SIZE = 4096 }; /* segments in one ring */

struct viv_vhost;

/* Something is there to be got from `ring`. VIV_VHOST_FAILED: the kernel cannot go on; to be stopped, and not started again. */
typedef void (*viv_vhost_fn)(void *opaque, unsigned ring);
/* ioctl(2): -1 and errno. */
typedef int (*viv_vhost_ioctl)(int fd, unsigned long request, void *arg);

/* Opens /dev/vhost-net. The error says what works. */
int viv_vhost_open(struct viv_err *err);
/* Of an open descriptor of /dev/vhost-net, which is consumed, on failure too. frame_headers: the TAP interface has none of its
 * own, the kernel makes them up. poll_us: it looks for that long for more before it sleeps. kernel NULL: ioctl(2). */
int viv_vhost_new(int fd, bool frame_headers, unsigned poll_us, viv_vhost_ioctl kernel, struct viv_vhost **out, struct viv_err *err);
void viv_vhost_free(struct viv_vhost *h); /* NULL allowed; stopped, and everything taken back */

/* Bytes before each frame for a guest that took `features`: 10 or 12 (5.1.6.1). */
unsigned viv_vhost_header(uint64_t features);
/* The kernel begins, with empty rings, on `tap_fd`. `features`: what the guest took; those that change the header count. */
int viv_vhost_start(struct viv_vhost *h, int tap_fd, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err);
/* The kernel has ended when this returns. What it used before is still to be got, then the others are to be taken back. */
void viv_vhost_stop(struct viv_vhost *h);
bool viv_vhost_running(const struct viv_vhost *h); /* NULL allowed: false */

/* The kernel uses buffers in the order in which they were put (vhost-net does; nothing else is asked of it).
 * One buffer, for the kernel to read (TX) or to write (RX). False: there is no room before something was got. */
bool viv_vhost_put(struct viv_vhost *h, unsigned ring, const struct iovec *iov, unsigned n, void *token);
/* Nothing was put that was not got. */
bool viv_vhost_idle(const struct viv_vhost *h, unsigned ring);
/* The kernel shall look at what was put. */
void viv_vhost_kick(struct viv_vhost *h, unsigned ring);
/* Tokens of used buffers and how many bytes were written to each; a frame's buffers come together. Returns how many, at most max:
 * as many as can have been put. */
unsigned viv_vhost_get(struct viv_vhost *h, unsigned ring, void **tokens, uint32_t *written, unsigned max);
/* The newest buffer that was put and not got; NULL: none. After viv_vhost_stop. */
void *viv_vhost_take_back(struct viv_vhost *h, unsigned ring);

#endif
