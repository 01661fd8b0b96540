/* A SCSI request's data between the adapter's memory and the image. */
#include "dev/scsi/unit.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>

struct scsi_io {
    struct viv_front_req fr;
    struct scsi_unit *u;
    struct viv_scsi_req *r;
    struct scsi_io *next;
    void (*then)(struct scsi_unit *u, struct viv_scsi_req *r);
    struct iovec iov[];
};

static void submit(struct scsi_io *io);

static void drop(struct scsi_io *io)
{
    struct viv_scsi_req *r = io->r;

    r->io = NULL;
    g_free(io);
    viv_scsi_put(r);
}

static void fail(struct viv_scsi_req *r, bool write, int error)
{
    if (error == ENOSPC)
        viv_scsi_fail(r, VIV_SCSI_DATA_PROTECT, VIV_SCSI_ASC_NO_SPACE);
    else if (error == ENOMEM)
        viv_scsi_fail(r, VIV_SCSI_HARDWARE_ERROR, VIV_SCSI_ASC_INTERNAL);
    else /* SPC-4 annex D: unrecovered read error, write error */
        viv_scsi_fail(r, VIV_SCSI_MEDIUM_ERROR, write ? 0x0c00 : 0x1100);
}

static void succeed(struct scsi_io *io)
{
    struct viv_scsi_req *r = io->r;
    struct scsi_unit *u = io->u;
    void (*then)(struct scsi_unit *, struct viv_scsi_req *) = io->then;
    bool data = io->fr.br.iovcnt;
    uint64_t len = io->fr.br.len;

    viv_scsi_get(r);
    drop(io);
    if (data)
        viv_scsi_moved(r, len);
    if (!r->ended && !r->io && (!data || r->moved == r->length)) {
        if (then)
            then(u, r);
        else
            viv_scsi_end(r, VIV_SCSI_GOOD);
    }
    viv_scsi_put(r);
}

static void hold(struct scsi_io *io)
{
    struct scsi_io **end = &io->u->held;

    while (*end)
        end = &(*end)->next;
    io->next = NULL;
    *end = io;
}

static void done(struct viv_front_req *fr, int result)
{
    struct scsi_io *io = (struct scsi_io *)fr;
    struct viv_scsi_req *r = io->r;
    bool write = io->fr.br.op != VIV_BLK_READ;
    enum viv_front_action action;

    if (r->cancelled) {
        viv_scsi_get(r);
        drop(io);
        viv_scsi_end(r, VIV_SCSI_ABORTED);
        viv_scsi_put(r);
        return;
    }
    action = result < 0 ? viv_front_failed(fr, result) : VIV_FRONT_IGNORE;
    if (action == VIV_FRONT_HOLD) {
        hold(io);
    } else if (action == VIV_FRONT_IGNORE) {
        succeed(io);
    } else {
        viv_scsi_get(r);
        drop(io);
        fail(r, write, -result);
        viv_scsi_put(r);
    }
}

static struct scsi_io *io_new(struct scsi_unit *u, struct viv_scsi_req *r, enum viv_blk_op op, unsigned flags, unsigned pieces)
{
    struct scsi_io *io = g_malloc0(sizeof(*io) + pieces * sizeof(io->iov[0]));

    io->u = u;
    io->r = r;
    io->fr.br.op = op;
    io->fr.br.flags = flags;
    io->fr.done = done;
    viv_scsi_get(r);
    r->io = io;
    return io;
}

/* The medium can have gone, or be another, since the request was made. */
static void submit(struct scsi_io *io)
{
    struct scsi_unit *u = io->u;
    struct viv_scsi_req *r = io->r;
    bool there = viv_front_ready(&u->front);

    if (there && viv_range_inside(io->fr.br.offset, io->fr.br.len, viv_blk_size(u->front.drive->blk))) {
        viv_front_submit(&u->front, &io->fr);
        return;
    }
    viv_scsi_get(r);
    drop(io);
    if (there)
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_LBA_RANGE);
    else
        scsi_ready(u, r);
    viv_scsi_put(r);
}

void scsi_io_move(struct scsi_unit *u, struct viv_scsi_req *r, const struct iovec *iov, unsigned n, unsigned flags,
                  void (*then)(struct scsi_unit *u, struct viv_scsi_req *r))
{
    struct scsi_io *io = io_new(u, r, r->direction == VIV_SCSI_READ ? VIV_BLK_READ : VIV_BLK_WRITE, flags, n);
    uint64_t left = r->length - r->moved;

    for (unsigned i = 0; i < n && left; i++) {
        size_t part = MIN(iov[i].iov_len, left);

        if (!part)
            continue;
        io->iov[io->fr.br.iovcnt++] = (struct iovec){iov[i].iov_base, part};
        io->fr.br.len += part;
        left -= part;
    }
    io->then = then;
    io->fr.br.iov = io->iov;
    io->fr.br.offset = r->start + r->moved;
    submit(io);
}

void scsi_io_range(struct scsi_unit *u, struct viv_scsi_req *r, enum viv_blk_op op, uint64_t offset, uint64_t len, unsigned flags,
                   void (*then)(struct scsi_unit *u, struct viv_scsi_req *r))
{
    struct scsi_io *io = io_new(u, r, op, flags, 0);

    io->then = then;
    io->fr.br.offset = offset;
    io->fr.br.len = len;
    submit(io);
}

/* ---- held ones ---- */

static bool take_held(struct scsi_unit *u, const struct scsi_io *io)
{
    for (struct scsi_io **p = &u->held; *p; p = &(*p)->next) {
        if (*p == io) {
            *p = io->next;
            return true;
        }
    }
    return false;
}

void scsi_io_cancel(struct scsi_unit *u, struct viv_scsi_req *r)
{
    struct scsi_io *io = r->io;

    if (!take_held(u, io)) { /* in flight: done() sees `cancelled` */
        viv_front_hurry(&u->front);
        return;
    }
    viv_scsi_get(r);
    drop(io);
    viv_scsi_end(r, VIV_SCSI_ABORTED);
    viv_scsi_put(r);
}

void scsi_io_resend(struct scsi_unit *u)
{
    struct scsi_io *io = u->held;

    u->held = NULL;
    while (io) {
        struct scsi_io *next = io->next;

        submit(io);
        io = next;
    }
    viv_scsi_told(&u->scsi);
}

void scsi_io_reset(struct scsi_unit *u)
{
    viv_front_wait_idle(&u->front);
    viv_front_drop_held(&u->front);
    while (u->held)
        viv_scsi_cancel(u->held->r);
    viv_scsi_told(&u->scsi);
}
