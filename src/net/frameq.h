/* A bounded queue of frames between one producer and one consumer on different threads.
 *
 * Frames lie whole in one ring of bytes, so that the consumer can hand out a pointer. An empty queue starts again
 * at the beginning, so that an idle VM touches few pages. A leaf lock: taken under any other, and held only
 * for one copy. */
#ifndef VIV_NET_FRAMEQ_H
#define VIV_NET_FRAMEQ_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct viv_frameq {
    pthread_mutex_t lock;
    uint8_t *buf;
    size_t size;
    size_t head, tail; /* next to read, next to write */
    size_t used;       /* bytes taken, with record headers and gaps */
    bool refused;      /* a push failed since the consumer last looked */
};

/* Virtual memory only until it is used. */
void viv_frameq_init(struct viv_frameq *q, size_t size);
void viv_frameq_fini(struct viv_frameq *q);
/* False when there is no room (and `refused` is set). len: the total of iov. */
bool viv_frameq_push(struct viv_frameq *q, const struct iovec *iov, int iovcnt, size_t len);
/* The same with `head_len` bytes in front. */
bool viv_frameq_push_hdr(struct viv_frameq *q, const void *head, size_t head_len, const struct iovec *iov, int iovcnt,
                         size_t len);
/* The oldest frame, valid and the consumer's to change until pop. NULL: empty. Consumer only. */
uint8_t *viv_frameq_peek(struct viv_frameq *q, size_t *len);
void viv_frameq_pop(struct viv_frameq *q);
size_t viv_frameq_used(struct viv_frameq *q);
/* Did a push fail since the last call? */
bool viv_frameq_take_refused(struct viv_frameq *q);
/* Consumer only. */
void viv_frameq_clear(struct viv_frameq *q);

#endif
