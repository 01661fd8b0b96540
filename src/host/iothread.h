/* I/O threads with names (-object iothread): where a device that names one has its queues served (docs/storage.md "I/O threads").
 *
 * A thread serves jobs, each with the device lock, one after another: what a job may do is what any holder of that lock may do. The point is
 * who does it: a vCPU that kicks rings a bell and goes on, and the loop thread (monitors, screens, timers) is not asked either. */
#ifndef VIV_HOST_IOTHREAD_H
#define VIV_HOST_IOTHREAD_H

#include "base/err.h"

struct viv_iothread;
struct viv_iojob;

/* Device lock held, or no device is there yet. del: -EBUSY while a device uses it; it lets go of the lock while the thread ends. */
int viv_iothread_add(const char *id, struct viv_err *err);
int viv_iothread_del(const char *id, struct viv_err *err);
void viv_iothread_free_all(void); /* at exit, without the lock; nobody uses one */
struct viv_iothread *viv_iothread_next(struct viv_iothread *t); /* NULL starts and ends the walk; in the order of their making */
const char *viv_iothread_id(const struct viv_iothread *t);
int viv_iothread_tid(const struct viv_iothread *t); /* the host's number of it */

/* To use one; NULL: there is none of that name. */
struct viv_iothread *viv_iothread_get(const char *id, struct viv_err *err);
void viv_iothread_put(struct viv_iothread **t); /* NULL inside allowed */

/* fn(opaque) runs on the thread, once or more, after each ring, and not again once the job is freed (device lock held for both). */
struct viv_iojob *viv_iojob_new(struct viv_iothread *t, void (*fn)(void *opaque), void *opaque, struct viv_err *err);
void viv_iojob_free(struct viv_iojob *j); /* NULL allowed */
void viv_iojob_ring(struct viv_iojob *j); /* any thread, with or without locks; never waits */
int viv_iojob_fd(const struct viv_iojob *j); /* an eventfd: to signal it is to ring */

#endif
