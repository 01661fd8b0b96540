#include "export/vhost/blk.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "block/iov.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SECTOR 512u

enum { HEADER_LEN = sizeof(struct virtio_blk_outhdr), SEGMENT_LEN = sizeof(struct virtio_blk_discard_write_zeroes) };

#define SEG_MAX         126u                /* two less than the queue size that front ends take when not told */
#define RANGE_SECTORS   (UINT32_MAX / SECTOR) /* of a discard */

#define CFG(field) offsetof(struct virtio_blk_config, field)

uint64_t viv_vhost_disk_features(const struct viv_vhost_disk *d)
{
    uint64_t f = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY |
                 1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_VERSION_1;

    return f | (d->writable ? 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES : 1ull << VIRTIO_BLK_F_RO);
}

void viv_vhost_disk_config(const struct viv_vhost_disk *d, uint8_t *c)
{
    memset(c, 0, VHOST_CONFIG_MAX);
    viv_st_le64(c + CFG(capacity), viv_blk_size(d->blk) / SECTOR);
    viv_st_le32(c + CFG(seg_max), SEG_MAX);
    viv_st_le32(c + CFG(blk_size), d->block_size);
    viv_st_le16(c + CFG(min_io_size), 1);
    viv_st_le32(c + CFG(opt_io_size), 1);
    viv_st_le16(c + CFG(num_queues), d->queues);
    if (!d->writable)
        return;
    viv_st_le32(c + CFG(max_discard_sectors), RANGE_SECTORS);
    viv_st_le32(c + CFG(max_discard_seg), 1);
    viv_st_le32(c + CFG(discard_sector_alignment), d->block_size / SECTOR);
    viv_st_le32(c + CFG(max_write_zeroes_sectors), RANGE_SECTORS);
    viv_st_le32(c + CFG(max_write_zeroes_seg), 1);
    c[CFG(write_zeroes_may_unmap)] = 1;
}

/* --- a queue --- */

struct viv_vhost_queue {
    struct viv_vhost_disk *disk;
    struct viv_vhost_ring *ring;
    bool write_through; /* the driver knows no FLUSH */
    int kick, call, failed, stop;
    pthread_t thread;
    bool has_thread;
    bool stopping; /* atomic */
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

    answer(queue, q->head, q->status, !result ? VIRTIO_BLK_S_OK : result == -ENOTSUP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR, written);
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

    if (!len || !in_disk(q->disk, viv_ld_le64(p->header + offsetof(struct virtio_blk_outhdr, sector)), len, &r->r.offset))
        return VIRTIO_BLK_S_IOERR;
    r->r.op = out ? VIV_BLK_WRITE : VIV_BLK_READ;
    r->r.flags = out && q->write_through ? VIV_BLK_FUA : 0;
    r->r.len = len;
    r->r.iov = r->iov;
    r->r.iovcnt = viv_iov_slice(r->iov, out ? p->out : p->in, out ? p->outs : p->ins, out ? HEADER_LEN : 0, len);
    r->in_bytes = out ? 0 : len;
    return VIRTIO_BLK_S_OK;
}

/* DISCARD and WRITE_ZEROES: one segment. */
static uint8_t take_range(struct viv_vhost_queue *q, const struct parts *p, bool zeroes, struct request *r)
{
    uint8_t segment[SEGMENT_LEN];
    uint32_t sectors, flags;

    if (p->out_len != SEGMENT_LEN)
        return p->out_len && p->out_len % SEGMENT_LEN == 0 ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR; /* 5.2.6.2: more than max_*_seg */
    viv_iov_take(p->out, p->outs, HEADER_LEN, segment, SEGMENT_LEN);
    sectors = viv_ld_le32(segment + offsetof(struct virtio_blk_discard_write_zeroes, num_sectors));
    flags = viv_ld_le32(segment + offsetof(struct virtio_blk_discard_write_zeroes, flags));
    if (flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
        return VIRTIO_BLK_S_UNSUPP;
    if (sectors > RANGE_SECTORS || !in_disk(q->disk, viv_ld_le64(segment), (uint64_t)sectors * SECTOR, &r->r.offset))
        return VIRTIO_BLK_S_IOERR;
    r->r.op = zeroes ? VIV_BLK_WRITE_ZEROES : VIV_BLK_DISCARD;
    r->r.flags = (zeroes && (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) ? VIV_BLK_UNMAP : 0) | (q->write_through ? VIV_BLK_FUA : 0);
    r->r.len = (uint64_t)sectors * SECTOR;
    return VIRTIO_BLK_S_OK;
}

/* VIRTIO_BLK_S_OK: to be submitted. */
static uint8_t take(struct viv_vhost_queue *q, const struct parts *p, struct request *r)
{
    uint32_t type = viv_ld_le32(p->header);

    if ((type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES) && !q->disk->writable)
        return VIRTIO_BLK_S_IOERR;
    switch (type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        return take_data(q, p, type == VIRTIO_BLK_T_OUT, r);
    case VIRTIO_BLK_T_FLUSH:
        r->r.op = VIV_BLK_FLUSH;
        return VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return take_range(q, p, type == VIRTIO_BLK_T_WRITE_ZEROES, r);
    }
    return VIRTIO_BLK_S_UNSUPP;
}

static void submit(struct viv_vhost_queue *q, const struct parts *p)
{
    struct request *r = g_try_malloc0(sizeof(*r) + (p->outs + p->ins) * sizeof(struct iovec));
    uint8_t status = r ? take(q, p, r) : VIRTIO_BLK_S_IOERR;
    int ret;

    if (status != VIRTIO_BLK_S_OK) {
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
    if (viv_ld_le32(p.header) == VIRTIO_BLK_T_GET_ID) {
        size_t len = MIN(p.in_len, VIRTIO_BLK_ID_BYTES);

        viv_iov_put(p.in, p.ins, 0, q->disk->id, len);
        answer(q, q->chain.head, p.status, VIRTIO_BLK_S_OK, len);
    } else {
        submit(q, &p);
    }
    return 0;
}

/* Between two requests, so that a driver that never lets the ring become empty keeps nobody waiting; but what was under way before us is. */
static bool must_stop(struct viv_vhost_queue *q)
{
    return q->ring->again_at == q->ring->again_count && __atomic_load_n(&q->stopping, __ATOMIC_ACQUIRE);
}

int viv_vhost_queue_run(struct viv_vhost_queue *q)
{
    int ret;

    do {
        while ((ret = viv_vhost_ring_pop(q->ring, &q->chain)) > 0) {
            ret = handle(q);
            if (ret || must_stop(q))
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
    uint64_t count;
    int ret;

    if (q->ring->log) /* who was here before us may have given something back and not have said so */
        signal_fd(q->call);
    ret = viv_vhost_queue_run(q); /* what was there before the first kick */

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
    q->write_through = !(features & 1ull << VIRTIO_BLK_F_FLUSH);
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
        __atomic_store_n(&q->stopping, true, __ATOMIC_RELEASE);
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
