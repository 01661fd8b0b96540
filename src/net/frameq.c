#include "net/frameq.h"

#include <glib.h>
#include <string.h>

/* A record: 8 bytes of header (length; GAP: go on at the beginning), the frame, padding to 8. */
enum { HEADER = 8 };
#define GAP UINT32_MAX

static size_t record_size(size_t len)
{
    return (HEADER + len + 7) & ~(size_t)7;
}

void viv_frameq_init(struct viv_frameq *q, size_t size)
{
    memset(q, 0, sizeof(*q));
    pthread_mutex_init(&q->lock, NULL);
    q->size = size;
    q->buf = g_malloc(size);
}

void viv_frameq_fini(struct viv_frameq *q)
{
    pthread_mutex_destroy(&q->lock);
    g_free(q->buf);
    q->buf = NULL;
}

/* Room for `need` bytes in one piece at the tail; the rest of the ring before its end may become a gap.
 * head == tail means full, for an empty queue starts again at 0. All sizes are multiples of 8. */
static bool make_room(struct viv_frameq *q, size_t need)
{
    size_t to_end = q->size - q->tail;
    uint32_t gap = GAP;

    if (q->used && q->tail <= q->head)
        return need <= q->head - q->tail;
    if (need <= to_end)
        return true;
    if (need > q->head)
        return false;
    if (to_end)
        memcpy(q->buf + q->tail, &gap, sizeof(gap));
    q->used += to_end;
    q->tail = 0;
    return true;
}

bool viv_frameq_push_hdr(struct viv_frameq *q, const void *head, size_t head_len, const struct iovec *iov, int iovcnt,
                         size_t len)
{
    size_t need = record_size(head_len + len);
    uint32_t len32 = head_len + len;
    uint8_t *at;

    pthread_mutex_lock(&q->lock);
    if (!make_room(q, need)) {
        q->refused = true;
        pthread_mutex_unlock(&q->lock);
        return false;
    }
    at = q->buf + q->tail;
    memcpy(at, &len32, sizeof(len32));
    at += HEADER;
    memcpy(at, head, head_len);
    at += head_len;
    for (int i = 0; i < iovcnt; i++) {
        memcpy(at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    q->tail += need;
    q->used += need;
    pthread_mutex_unlock(&q->lock);
    return true;
}

bool viv_frameq_push(struct viv_frameq *q, const struct iovec *iov, int iovcnt, size_t len)
{
    return viv_frameq_push_hdr(q, "", 0, iov, iovcnt, len);
}

uint8_t *viv_frameq_peek(struct viv_frameq *q, size_t *len)
{
    uint8_t *frame = NULL;
    uint32_t len32;

    pthread_mutex_lock(&q->lock);
    if (q->used) {
        if (q->head == q->size)
            q->head = 0;
        memcpy(&len32, q->buf + q->head, sizeof(len32));
        if (len32 == GAP) {
            q->used -= q->size - q->head;
            q->head = 0;
            memcpy(&len32, q->buf, sizeof(len32));
        }
        *len = len32;
        frame = q->buf + q->head + HEADER;
    }
    pthread_mutex_unlock(&q->lock);
    return frame;
}

void viv_frameq_pop(struct viv_frameq *q)
{
    uint32_t len32;

    pthread_mutex_lock(&q->lock);
    memcpy(&len32, q->buf + q->head, sizeof(len32));
    q->head += record_size(len32);
    q->used -= record_size(len32);
    if (!q->used)
        q->head = q->tail = 0;
    pthread_mutex_unlock(&q->lock);
}

size_t viv_frameq_used(struct viv_frameq *q)
{
    size_t used;

    pthread_mutex_lock(&q->lock);
    used = q->used;
    pthread_mutex_unlock(&q->lock);
    return used;
}

bool viv_frameq_take_refused(struct viv_frameq *q)
{
    bool refused;

    pthread_mutex_lock(&q->lock);
    refused = q->refused;
    q->refused = false;
    pthread_mutex_unlock(&q->lock);
    return refused;
}

void viv_frameq_clear(struct viv_frameq *q)
{
    pthread_mutex_lock(&q->lock);
    q->head = q->tail = q->used = 0;
    pthread_mutex_unlock(&q->lock);
}
