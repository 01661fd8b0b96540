#include "export/vhost/blk.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "block/iov.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SECTOR 512u

enum { /* feature bits */
    BLK_F_SEG_MAX = 2,
    BLK_F_RO = 5,
    BLK_F_BLK_SIZE = 6,
    BLK_F_FLUSH = 9,
    BLK_F_TOPOLOGY = 10,
    BLK_F_MQ = 12,
    BLK_F_DISCARD = 13,
    BLK_F_WRITE_ZEROES = 14,
    RING_F_INDIRECT = 28,
    RING_F_EVENT_IDX = 29,
    F_VERSION_1 = 32,
};

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { HEADER_LEN = 16, SEGMENT_LEN = 16, SEGMENT_UNMAP = 1, ID_LEN = 20 };

#define SEG_MAX         126u                /* two less than the queue size that front ends take when not told */
#define RANGE_SECTORS   (UINT32_MAX / SECTOR) /* of a discard */

enum { /* struct virtio_blk_config, 5.2.4 */
    CFG_CAPACITY = 0,
    CFG_SEG_MAX = 12,
    CFG_BLK_SIZE = 20,
    CFG_MIN_IO = 26,
    CFG_OPT_IO = 28,
    CFG_NUM_QUEUES = 34,
    CFG_MAX_DISCARD_SECTORS = 36,
    CFG_MAX_DISCARD_SEG = 40,
    CFG_DISCARD_ALIGN = 44,
    CFG_MAX_WZ_SECTORS = 48,
    CFG_MAX_WZ_SEG = 52,
    CFG_WZ_MAY_UNMAP = 56,
};

uint64_t viv_vhost_disk_features(const struct viv_vhost_disk *d)
{
    uint64_t f = 1ull << BLK_F_SEG_MAX | 1ull << BLK_F_BLK_SIZE | 1ull << BLK_F_FLUSH | 1ull << BLK_F_TOPOLOGY |
                 1ull << BLK_F_MQ | 1ull << RING_F_INDIRECT | 1ull << RING_F_EVENT_IDX | 1ull << F_VERSION_1;

    return f | (d->writable ? 1ull << BLK_F_DISCARD | 1ull << BLK_F_WRITE_ZEROES : 1ull << BLK_F_RO);
}

void viv_vhost_disk_config(const struct viv_vhost_disk *d, uint8_t *c)
{
    memset(c, 0, VHOST_CONFIG_MAX);
    viv_st_le64(c + CFG_CAPACITY, viv_blk_size(d->blk) / SECTOR);
    viv_st_le32(c + CFG_SEG_MAX, SEG_MAX);
    viv_st_le32(c + CFG_BLK_SIZE, d->block_size);
    viv_st_le16(c + CFG_MIN_IO, 1);
    viv_st_le32(c + CFG_OPT_IO, 1);
    viv_st_le16(c + CFG_NUM_QUEUES, d->queues);
    if (!d->writable)
        return;
    viv_st_le32(c + CFG_MAX_DISCARD_SECTORS, RANGE_SECTORS);
    viv_st_le32(c + CFG_MAX_DISCARD_SEG, 1);
    viv_st_le32(c + CFG_DISCARD_ALIGN, d->block_size / SECTOR);
    viv_st_le32(c + CFG_MAX_WZ_SECTORS, RANGE_SECTORS);
    viv_st_le32(c + CFG_MAX_WZ_SEG, 1);
    c[CFG_WZ_MAY_UNMAP] = 1;
}

/* --- a queue --- */

struct viv_vhost_queue {
    struct viv_vhost_disk *disk;
    struct viv_vhost_ring *ring;
    bool write_through; /* the driver knows no FLUSH */
    int kick, call, failed, stop;
    pthread_t thread;
    bool has_thread;
    struct viv_vhost_chain chain; /* of the request that is being taken */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned in_flight;
};

struct request {
    struct viv_blk_req r;
    struct viv_vhost_queue *q;
    uint16_t head;
    uint32_t in_bytes; /* for the device to write, without the status */
    uint8_t *status;   /* in the guest's memory */
    struct iovec iov[];
};

static void signal_fd(int fd)
{
    uint64_t one = 1;

    if (fd >= 0 && write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        viv_guest_error("vhost-user", "an eventfd of the front end's does not work: %s", strerror(errno));
}

static void answer(struct viv_vhost_queue *q, uint16_t head, uint8_t *status, uint8_t value, uint32_t data)
{
    __atomic_store_n(status, value, __ATOMIC_RELEASE);
    if (viv_vhost_ring_push(q->ring, head, data + 1))
        signal_fd(q->call);
}

/* From a thread of the block layer, or the queue's own. */
static void request_done(struct viv_blk_req *r, int result)
{
    struct request *q = r->opaque;
    struct viv_vhost_queue *queue = q->q;
    uint32_t written = !result && r->op == VIV_BLK_READ ? q->in_bytes : 0;

    answer(queue, q->head, q->status, !result ? S_OK : result == -ENOTSUP ? S_UNSUPP : S_IOERR, written);
    g_free(q);
    pthread_mutex_lock(&queue->lock);
    if (--queue->in_flight == 0)
        pthread_cond_broadcast(&queue->idle);
    pthread_mutex_unlock(&queue->lock);
}

/* --- taking a request --- */

/* The chain without what does not belong to its data. */
struct parts {
    uint8_t header[HEADER_LEN];
    const struct iovec *out, *in;
    unsigned outs, ins;
    uint64_t out_len, in_len; /* data: behind the header, before the status */
    uint8_t *status;
};

/* -EINVAL: too short for header and status, or without end. */
static int split(const struct viv_vhost_chain *c, struct parts *p)
{
    uint64_t out = 0, in = 0;

    for (unsigned i = 0; i < c->out + c->in; i++)
        *(i < c->out ? &out : &in) += c->iov[i].iov_len;
    if (out < HEADER_LEN || in < 1 || out > UINT32_MAX || in > UINT32_MAX)
        return -EINVAL;
    p->out = c->iov;
    p->outs = c->out;
    p->in = c->iov + c->out;
    p->ins = c->in;
    viv_iov_take(p->out, p->outs, 0, p->header, HEADER_LEN);
    p->out_len = out - HEADER_LEN;
    p->in_len = in - 1;
    /* Pieces have a length each, so the last byte is in the last one. */
    p->status = (uint8_t *)p->in[p->ins - 1].iov_base + p->in[p->ins - 1].iov_len - 1;
    return 0;
}

/* A range of the disk in sectors, in bytes. */
static bool in_disk(const struct viv_vhost_disk *d, uint64_t sector, uint64_t len, uint64_t *offset)
{
    return viv_mul_u64(sector, SECTOR, offset) && viv_range_inside(*offset, len, viv_blk_size(d->blk)) &&
           *offset % d->block_size == 0 && len % d->block_size == 0;
}

/* IN and OUT: the data part of the chain's buffers. */
static uint8_t take_data(struct viv_vhost_queue *q, const struct parts *p, bool out, struct request *r)
{
    uint64_t len = out ? p->out_len : p->in_len;

    if (!len || !in_disk(q->disk, viv_ld_le64(p->header + 8), len, &r->r.offset))
        return S_IOERR;
    r->r.op = out ? VIV_BLK_WRITE : VIV_BLK_READ;
    r->r.flags = out && q->write_through ? VIV_BLK_FUA : 0;
    r->r.len = len;
    r->r.iov = r->iov;
    r->r.iovcnt = viv_iov_slice(r->iov, out ? p->out : p->in, out ? p->outs : p->ins, out ? HEADER_LEN : 0, len);
    r->in_bytes = out ? 0 : len;
    return S_OK;
}

/* DISCARD and WRITE_ZEROES: one segment. */
static uint8_t take_range(struct viv_vhost_queue *q, const struct parts *p, bool zeroes, struct request *r)
{
    uint8_t segment[SEGMENT_LEN];
    uint32_t sectors, flags;

    if (p->out_len != SEGMENT_LEN)
        return p->out_len && p->out_len % SEGMENT_LEN == 0 ? S_UNSUPP : S_IOERR; /* 5.2.6.2: more than max_*_seg */
    viv_iov_take(p->out, p->outs, HEADER_LEN, segment, SEGMENT_LEN);
    sectors = viv_ld_le32(segment + 8);
    flags = viv_ld_le32(segment + 12);
    if (flags & ~(zeroes ? SEGMENT_UNMAP : 0u))
        return S_UNSUPP;
    if (sectors > RANGE_SECTORS || !in_disk(q->disk, viv_ld_le64(segment), (uint64_t)sectors * SECTOR, &r->r.offset))
        return S_IOERR;
    r->r.op = zeroes ? VIV_BLK_WRITE_ZEROES : VIV_BLK_DISCARD;
    r->r.flags = (zeroes && (flags & SEGMENT_UNMAP) ? VIV_BLK_UNMAP : 0) | (q->write_through ? VIV_BLK_FUA : 0);
    r->r.len = (uint64_t)sectors * SECTOR;
    return S_OK;
}

/* S_OK: to be submitted. */
static uint8_t take(struct viv_vhost_queue *q, const struct parts *p, struct request *r)
{
    uint32_t type = viv_ld_le32(p->header);

    if ((type == T_OUT || type == T_DISCARD || type == T_WRITE_ZEROES) && !q->disk->writable)
        return S_IOERR;
    switch (type) {
    case T_IN:
    case T_OUT:
        return take_data(q, p, type == T_OUT, r);
    case T_FLUSH:
        r->r.op = VIV_BLK_FLUSH;
        return S_OK;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        return take_range(q, p, type == T_WRITE_ZEROES, r);
    }
    return S_UNSUPP;
}

static void submit(struct viv_vhost_queue *q, const struct parts *p)
{
    struct request *r = g_try_malloc0(sizeof(*r) + (p->outs + p->ins) * sizeof(struct iovec));
    uint8_t status = r ? take(q, p, r) : S_IOERR;
    int ret;

    if (status != S_OK) {
        g_free(r);
        answer(q, q->chain.head, p->status, status, 0);
        return;
    }
    r->q = q;
    r->head = q->chain.head;
    r->status = p->status;
    r->r.done = request_done;
    r->r.opaque = r;
    pthread_mutex_lock(&q->lock);
    q->in_flight++;
    pthread_mutex_unlock(&q->lock);
    ret = viv_blk_try(q->disk->blk, &r->r);
    if (ret == -EAGAIN)
        viv_blk_submit(q->disk->blk, &r->r);
    else
        request_done(&r->r, ret);
}

static int handle(struct viv_vhost_queue *q)
{
    struct parts p;
    int ret = split(&q->chain, &p);

    if (ret)
        return ret;
    if (viv_ld_le32(p.header) == T_GET_ID) {
        size_t len = MIN(p.in_len, ID_LEN);

        viv_iov_put(p.in, p.ins, 0, q->disk->id, len);
        answer(q, q->chain.head, p.status, S_OK, len);
    } else {
        submit(q, &p);
    }
    return 0;
}

int viv_vhost_queue_run(struct viv_vhost_queue *q)
{
    int ret;

    do {
        while ((ret = viv_vhost_ring_pop(q->ring, &q->chain)) > 0) {
            ret = handle(q);
            if (ret)
                return ret;
        }
    } while (!ret && viv_vhost_ring_rest(q->ring));
    return ret;
}

/* --- life --- */

static void *serve(void *opaque)
{
    struct viv_vhost_queue *q = opaque;
    struct pollfd p[2] = {{q->kick, POLLIN, 0}, {q->stop, POLLIN, 0}};
    int ret = viv_vhost_queue_run(q); /* what was there before the first kick */
    uint64_t count;

    while (ret >= 0) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents)
            return NULL;
        if (!(p[0].revents & POLLIN) || read(q->kick, &count, sizeof(count)) < 0) {
            if (p[0].revents & ~POLLIN)
                break;
            continue;
        }
        ret = viv_vhost_queue_run(q);
    }
    viv_guest_error("vhost-user", "a driver broke its ring (%s); the queue stands still until it is reset",
                    ret < 0 ? strerror(-ret) : "kick");
    signal_fd(q->failed);
    return NULL;
}

struct viv_vhost_queue *viv_vhost_queue_new(struct viv_vhost_disk *d, struct viv_vhost_ring *ring, uint64_t features, int call)
{
    struct viv_vhost_queue *q = g_new0(struct viv_vhost_queue, 1);

    q->disk = d;
    q->ring = ring;
    q->write_through = !(features & 1ull << BLK_F_FLUSH);
    q->kick = q->failed = q->stop = -1;
    q->call = call;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->idle, NULL);
    return q;
}

int viv_vhost_queue_start(struct viv_vhost_disk *d, struct viv_vhost_ring *ring, uint64_t features, int kick, int call,
                          int failed, struct viv_vhost_queue **out, struct viv_err *err)
{
    struct viv_vhost_queue *q = viv_vhost_queue_new(d, ring, features, call);
    int ret = 0;

    q->kick = kick;
    q->failed = failed;
    q->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->stop < 0)
        ret = viv_fail_os(err, errno, "no eventfd");
    if (!ret)
        ret = viv_thread_start(&q->thread, "viv-vhost", serve, q, err);
    q->has_thread = !ret;
    *out = q;
    if (ret)
        viv_vhost_queue_stop(out);
    return ret;
}

void viv_vhost_queue_stop(struct viv_vhost_queue **qp)
{
    struct viv_vhost_queue *q = *qp;

    *qp = NULL;
    if (!q)
        return;
    if (q->has_thread) {
        signal_fd(q->stop);
        pthread_join(q->thread, NULL);
    }
    pthread_mutex_lock(&q->lock);
    while (q->in_flight)
        pthread_cond_wait(&q->idle, &q->lock);
    pthread_mutex_unlock(&q->lock);
    if (q->stop >= 0)
        close(q->stop);
    pthread_cond_destroy(&q->idle);
    pthread_mutex_destroy(&q->lock);
    g_free(q);
}
