/* A disk request from the ring to the block layer and back.
 *
 *   kick (device lock) -> pop, copy and check the header -> viv_blk_submit
 *   I/O thread: the front tells of all that have ended by then, then virtio_blk_told() interrupts once a queue.
 *
 * Data moves between the back end and guest RAM directly: the request's iov is the guest's buffers. */
#include "dev/virtio/virtio_blk.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { HEADER = sizeof(struct virtio_blk_outhdr), SEGMENT = sizeof(struct virtio_blk_discard_write_zeroes) };

struct blk_req {
    struct viv_front_req fr;
    struct virtio_blk *b;
    struct viv_virtq_elem *e;
    struct blk_req *next; /* held */
    struct iovec iov[];
};

/* Returns the request to the driver. Every byte of `in` counts as written: the status is the last one. */
static void finish(struct virtio_blk *b, struct viv_virtq_elem *e, uint8_t status)
{
    viv_iov_from_buf(e->in, e->in_num, e->in_len - 1, &status, 1);
    viv_virtq_push(e, e->in_len);
}

/* --- completion --- */

static void hold(struct virtio_blk *b, struct blk_req *r)
{
    if (!b->held)
        b->held_end = &b->held;
    r->next = NULL;
    *b->held_end = r;
    b->held_end = &r->next;
}

static void done(struct viv_front_req *fr, int result)
{
    struct blk_req *r = (struct blk_req *)fr;
    struct virtio_blk *b = r->b;
    enum viv_front_action action = VIV_FRONT_IGNORE;

    if (b->v.resetting || b->v.broken) {
        viv_virtq_drop(r->e);
        g_free(r);
        return;
    }
    if (result < 0)
        action = viv_front_failed(fr, result);
    if (action == VIV_FRONT_HOLD) {
        hold(b, r);
        return;
    }
    b->touched |= 1ull << r->e->queue;
    finish(b, r->e, action == VIV_FRONT_REPORT ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
    g_free(r);
}

void virtio_blk_told(struct virtio_blk *b)
{
    uint64_t touched = b->touched;

    b->touched = 0;
    for (unsigned q = 0; touched && !b->v.resetting; q++, touched >>= 1) {
        if (touched & 1)
            viv_virtq_notify(&b->v, q);
    }
}

/* --- from the ring --- */

static struct blk_req *req_new(struct virtio_blk *b, struct viv_virtq_elem *e, enum viv_blk_op op,
                               unsigned segs)
{
    struct blk_req *r = g_try_malloc(sizeof(*r) + segs * sizeof(r->iov[0]));

    if (!r)
        return NULL;
    memset(r, 0, sizeof(*r));
    r->b = b;
    r->e = e;
    r->fr.br.op = op;
    r->fr.done = done;
    return r;
}

static bool range_ok(const struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
    uint64_t off;

    return viv_mul_u64(sector, BLK_SECTOR, &off) && bytes % b->front.logical == 0 &&
           off % b->front.logical == 0 && viv_range_inside(off, bytes, viv_blk_size(b->front.drive->blk));
}

static unsigned write_flags(const struct virtio_blk *b)
{
    /* 5.2.6.2: without FLUSH negotiated, or with the cache off, a completed write is on stable storage */
    return b->wce && viv_virtio_has(&b->v, VIRTIO_BLK_F_FLUSH) ? 0 : VIV_BLK_FUA;
}

/* Each start_* returns the status to finish with now, or -1 when *out is to be submitted. */
static int start_data(struct virtio_blk *b, struct viv_virtq_elem *e, bool write, uint64_t sector,
                      struct blk_req **out)
{
    uint64_t len = write ? e->out_len - HEADER : e->in_len - 1;
    struct blk_req *r;

    if (!range_ok(b, sector, len) || (write && b->front.ro))
        return VIRTIO_BLK_S_IOERR;
    if (!len)
        return VIRTIO_BLK_S_OK;
    r = req_new(b, e, write ? VIV_BLK_WRITE : VIV_BLK_READ, write ? e->out_num : e->in_num);
    if (!r)
        return VIRTIO_BLK_S_IOERR;
    r->fr.br.flags = write ? write_flags(b) : 0;
    r->fr.br.offset = sector * BLK_SECTOR;
    r->fr.br.len = len;
    r->fr.br.iov = r->iov;
    r->fr.br.iovcnt = write ? viv_iov_cut(r->iov, e->out, e->out_num, HEADER, len)
                         : viv_iov_cut(r->iov, e->in, e->in_num, 0, len);
    *out = r;
    return -1;
}

static int start_flush(struct virtio_blk *b, struct viv_virtq_elem *e, struct blk_req **out)
{
    *out = req_new(b, e, VIV_BLK_FLUSH, 0);
    return *out ? -1 : VIRTIO_BLK_S_IOERR;
}

static int start_get_id(struct virtio_blk *b, struct viv_virtq_elem *e)
{
    size_t room = e->in_len - 1;

    viv_iov_from_buf(e->in, e->in_num, 0, b->front.serial, room < VIRTIO_BLK_ID_BYTES ? room : VIRTIO_BLK_ID_BYTES);
    return VIRTIO_BLK_S_OK;
}

/* One segment a request (max_discard_seg 1). */
static int start_range(struct virtio_blk *b, struct viv_virtq_elem *e, bool zeroes,
                       struct blk_req **out)
{
    uint8_t seg[SEGMENT];
    uint32_t num, flags;
    struct blk_req *r;

    if (!(zeroes ? b->write_zeroes : b->discard))
        return VIRTIO_BLK_S_UNSUPP;
    if (e->out_len != HEADER + SEGMENT || b->front.ro)
        return VIRTIO_BLK_S_IOERR;
    viv_iov_to_buf(e->out, e->out_num, HEADER, seg, sizeof(seg));
    num = viv_ld_le32(seg + offsetof(struct virtio_blk_discard_write_zeroes, num_sectors));
    flags = viv_ld_le32(seg + offsetof(struct virtio_blk_discard_write_zeroes, flags));
    if (flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u)) /* 5.2.6.2: unknown flags, or unmap on a discard */
        return VIRTIO_BLK_S_UNSUPP;
    if (num > (zeroes ? b->max_write_zeroes : b->max_discard) ||
        !range_ok(b, viv_ld_le64(seg), (uint64_t)num * BLK_SECTOR))
        return VIRTIO_BLK_S_IOERR;
    if (!num)
        return VIRTIO_BLK_S_OK;
    r = req_new(b, e, zeroes ? VIV_BLK_WRITE_ZEROES : VIV_BLK_DISCARD, 0);
    if (!r)
        return VIRTIO_BLK_S_IOERR;
    r->fr.br.flags = zeroes ? write_flags(b) | (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ? VIV_BLK_UNMAP : 0) : 0;
    r->fr.br.offset = viv_ld_le64(seg) * BLK_SECTOR;
    r->fr.br.len = (uint64_t)num * BLK_SECTOR;
    *out = r;
    return -1;
}

static int start(struct virtio_blk *b, struct viv_virtq_elem *e, struct blk_req **out)
{
    uint8_t header[HEADER];
    uint32_t type;

    viv_iov_to_buf(e->out, e->out_num, 0, header, sizeof(header));
    type = viv_ld_le32(header);
    switch (type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        return start_data(b, e, type == VIRTIO_BLK_T_OUT, viv_ld_le64(header + offsetof(struct virtio_blk_outhdr, sector)), out);
    case VIRTIO_BLK_T_FLUSH:
        return start_flush(b, e, out);
    case VIRTIO_BLK_T_GET_ID:
        return start_get_id(b, e);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return start_range(b, e, type == VIRTIO_BLK_T_WRITE_ZEROES, out);
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

void virtio_blk_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_blk *b = (struct virtio_blk *)v;
    struct viv_virtq_elem *e;
    bool finished = false;

    while ((e = viv_virtq_pop(v, queue))) {
        struct blk_req *r = NULL;
        int status;

        if (e->out_len < HEADER || !e->in_len) {
            viv_virtq_drop(e);
            viv_virtio_set_broken(v, "a disk request without header or status");
            return;
        }
        status = start(b, e, &r);
        if (status < 0) {
            viv_front_submit(&b->front, &r->fr);
        } else {
            finish(b, e, status);
            finished = true;
        }
    }
    if (finished)
        viv_virtq_notify(v, queue);
}

/* --- requests held after an error --- */

void virtio_blk_resend_held(struct virtio_blk *b)
{
    struct blk_req *r = b->held;

    b->held = NULL;
    while (r) {
        struct blk_req *next = r->next;

        viv_front_submit(&b->front, &r->fr);
        r = next;
    }
}

static void forget_held(struct virtio_blk *b)
{
    while (b->held) {
        struct blk_req *r = b->held;

        b->held = r->next;
        viv_virtq_drop(r->e);
        g_free(r);
    }
}

void virtio_blk_drop_held(struct virtio_blk *b)
{
    viv_front_drop_held(&b->front);
    forget_held(b);
}

void virtio_blk_save_held(struct viv_state_writer *w, const void *obj)
{
    const struct virtio_blk *b = obj;
    uint32_t n = 0;

    for (struct blk_req *r = b->held; r; r = r->next)
        n++;
    viv_state_put_u32(w, n);
    for (struct blk_req *r = b->held; r; r = r->next)
        viv_virtq_elem_save(w, r->e);
}

int virtio_blk_load_held(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct virtio_blk *b = obj;
    uint32_t n;
    int rc = viv_state_get_u32(r, &n, err);

    forget_held(b);
    for (uint32_t i = 0; !rc && i < n; i++) {
        struct viv_virtq_elem *e;
        struct blk_req *req = NULL;

        rc = viv_virtq_elem_load(r, &b->v, &e, err);
        if (rc)
            break;
        if (e->out_len < HEADER || !e->in_len || start(b, e, &req) >= 0) {
            viv_virtq_drop(e);
            return viv_fail(err, EINVAL, "a held disk request makes no sense");
        }
        hold(b, req);
    }
    b->front.holding = b->held;
    return rc;
}
