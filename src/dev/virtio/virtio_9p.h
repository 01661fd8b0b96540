/* The threads that serve a shared folder's requests. */
#ifndef VIV_DEV_VIRTIO_9P_H
#define VIV_DEV_VIRTIO_9P_H

#include "share/p9.h"

struct viv_virtq_elem;

struct virtio_9p_job {
    struct viv_virtq_elem *elem;
    struct viv_p9_ticket ticket;
    struct virtio_9p_job *next;
};

struct virtio_9p_pool;

/* `serve` is called on a worker thread, without a lock, for jobs in the order in which they are added; several at a time. Threads are
 * started as they are needed; NULL when there can be none. */
struct virtio_9p_pool *virtio_9p_pool_new(void (*serve)(void *opaque, struct virtio_9p_job *job), void *opaque,
                                          struct viv_err *err);
void virtio_9p_pool_add(struct virtio_9p_pool *p, struct virtio_9p_job *job); /* any thread; never waits for a job */
void virtio_9p_pool_free(struct virtio_9p_pool *p);                           /* no job is left */

#endif
