/* Data of an ATA disk: PIO through the unit's buffer, DMA between image and guest memory, a part at a time. */
#include "dev/ide/hd.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static struct ide_hd *hd_of(struct ide_unit *u)
{
    return (struct ide_hd *)((char *)u - offsetof(struct ide_hd, unit));
}

static bool is_write(const struct ide_hd *h)
{
    return h->op == HD_PIO_WRITE || h->op == HD_DMA_WRITE || h->op == HD_FLUSH || h->op == HD_TRIM;
}

static bool is_dma(const struct ide_hd *h)
{
    return h->op == HD_DMA_READ || h->op == HD_DMA_WRITE;
}

static void go_on(struct ide_hd *h);

void ide_hd_finish(struct ide_hd *h, uint8_t status, uint8_t error)
{
    if (is_dma(h) || h->op == HD_TRIM)
        ide_bm_done(h->unit.ch);
    h->op = HD_NONE;
    ide_end(&h->unit, status, error);
}

/* The address of the first sector that failed goes into the registers (6.27.5). */
static void put_lba(struct ide_hd *h)
{
    struct ide_unit *u = &h->unit;
    uint64_t lba = h->at / HD_SECTOR;

    u->low[0] = (uint8_t)lba;
    u->mid[0] = (uint8_t)(lba >> 8);
    u->high[0] = (uint8_t)(lba >> 16);
    u->low[1] = (uint8_t)(lba >> 24);
    u->mid[1] = (uint8_t)(lba >> 32);
    u->high[1] = (uint8_t)(lba >> 40);
}

/* A part has moved. */
static void advance(struct ide_hd *h)
{
    uint32_t part = h->part;

    if (h->op == HD_TRIM) {
        ide_hd_trim_next(h);
        return;
    }
    h->at += part;
    h->left -= part;
    if (h->op == HD_PIO_READ)
        ide_pio(&h->unit, IDE_PIO_IN, 0, part, true);
    else if (!h->left)
        ide_hd_finish(h, 0, 0);
    else
        go_on(h);
}

static void done(struct viv_front_req *r, int result)
{
    struct ide_hd *h = (struct ide_hd *)((char *)r - offsetof(struct ide_hd, req));
    enum viv_front_action action = VIV_FRONT_IGNORE;

    if (h->unit.resetting) {
        if (h->unit.ch->dma.pieces && is_dma(h))
            ide_dma_unmap(&h->unit.ch->dma, false);
        ide_hd_reset_ended(h);
        return;
    }
    if (result < 0)
        action = viv_front_failed(r, result);
    if (is_dma(h))
        ide_dma_unmap(&h->unit.ch->dma, action == VIV_FRONT_IGNORE);
    if (action == VIV_FRONT_HOLD)
        return;
    if (action == VIV_FRONT_IGNORE) {
        advance(h);
        return;
    }
    put_lba(h);
    ide_hd_finish(h, IDE_ERR, is_write(h) ? IDE_ABRT : IDE_UNC);
}

void ide_hd_submit(struct ide_hd *h, enum viv_blk_op op, uint64_t len, const struct iovec *iov,
                   unsigned n)
{
    h->req = (struct viv_front_req){
        .done = done, .br = {.op = op, .offset = h->at, .len = len, .iov = iov, .iovcnt = (int)n}};
    if (op == VIV_BLK_WRITE && (h->fua || !h->write_cache))
        h->req.br.flags = VIV_BLK_FUA;
    viv_front_submit(&h->front, &h->req);
}

static void submit_dma(struct ide_hd *h)
{
    struct ide_channel *ch = h->unit.ch;
    int64_t n;

    if (ch->dma
            .pieces) { /* the other unit's, when a held command is sent again: until the bus master is started again */
        h->unit.phase = IDE_DMA;
        return;
    }
    n = ide_dma_map(&ch->dma, h->left, h->op == HD_DMA_READ);
    if (n <= 0) { /* no memory there, or the table ends before the command does */
        if (n < 0)
            ide_bm_failed(ch);
        ide_hd_finish(h, IDE_ERR, IDE_ABRT);
        return;
    }
    ide_busy(&h->unit);
    h->part = (uint32_t)n;
    ide_hd_submit(h, h->op == HD_DMA_READ ? VIV_BLK_READ : VIV_BLK_WRITE, h->part, ch->dma.iov,
                  ch->dma.pieces);
}

static void submit_buf(struct ide_hd *h, enum viv_blk_op op)
{
    ide_busy(&h->unit);
    h->iov = (struct iovec){h->unit.buf, h->part};
    ide_hd_submit(h, op, h->part, &h->iov, 1);
}

/* The next part of the command. */
static void go_on(struct ide_hd *h)
{
    if (is_dma(h)) {
        submit_dma(h);
        return;
    }
    h->part = (uint32_t)MIN(h->left, h->block);
    if (h->op == HD_PIO_READ || h->op == HD_VERIFY)
        submit_buf(h, VIV_BLK_READ);
    else
        ide_pio(&h->unit, IDE_PIO_OUT, 0, h->part, h->unit.phase == IDE_BUSY);
}

void ide_hd_start(struct ide_hd *h, enum hd_op op, uint64_t lba, uint32_t count, uint32_t block)
{
    if (!count || !viv_range_inside(lba, count, h->sectors)) {
        ide_end(&h->unit, IDE_ERR, IDE_IDNF);
        return;
    }
    h->op = (uint8_t)op;
    h->at = lba * HD_SECTOR;
    h->left = (uint64_t)count * HD_SECTOR;
    h->block = block * HD_SECTOR;
    if (is_dma(h))
        ide_dma_wait(&h->unit);
    else
        go_on(h);
}

void ide_hd_flush(struct ide_hd *h)
{
    h->op = HD_FLUSH;
    h->at = h->left = h->part = 0;
    ide_busy(&h->unit);
    ide_hd_submit(h, VIV_BLK_FLUSH, 0, NULL, 0);
}

void ide_hd_data(struct ide_hd *h)
{
    h->op = HD_DATA;
    h->left = 0;
    ide_pio(&h->unit, IDE_PIO_IN, 0, HD_SECTOR, true);
}

static void drained(struct ide_unit *u)
{
    struct ide_hd *h = hd_of(u);

    if (h->left) {
        go_on(h);
        return;
    }
    h->op = HD_NONE;
    u->phase = IDE_IDLE;
    u->pos = u->len = 0;
    u->status = IDE_DRDY | IDE_DSC;
}

static void filled(struct ide_unit *u)
{
    u->pos = u->len = 0;
    submit_buf(hd_of(u), VIV_BLK_WRITE);
}

static void dma(struct ide_unit *u)
{
    struct ide_hd *h = hd_of(u);

    if (h->op == HD_TRIM)
        ide_hd_trim_dma(h);
    else
        submit_dma(h);
}

static void forget(struct ide_hd *h)
{
    h->op = HD_NONE;
    h->queued = h->held = 0;
}

/* With the image, or kept back because a monitor's command has drained the drive. */
static bool under_way(const struct ide_hd *h)
{
    return h->front.in_flight || h->front.waiting;
}

static bool reset(struct ide_unit *u)
{
    struct ide_hd *h = hd_of(u);

    viv_front_drop_held(&h->front);
    h->multiple = 0;
    if (under_way(h)) {
        viv_front_hurry(&h->front); /* the guest waits */
        return false;
    }
    forget(h);
    return true;
}

/* A request has ended that a reset waits for: is it the last one? */
void ide_hd_reset_ended(struct ide_hd *h)
{
    if (under_way(h))
        return;
    forget(h);
    ide_reset_done(&h->unit);
}

void ide_hd_resend(void *opaque)
{
    struct ide_hd *h = opaque;

    ide_hd_queue_resend(h);
    if (h->unit.phase != IDE_BUSY)
        return;
    if (is_dma(h))
        submit_dma(h);
    else if (h->op == HD_FLUSH)
        ide_hd_flush(h);
    else if (h->op == HD_TRIM)
        ide_hd_trim_again(h);
    else
        submit_buf(h, h->op == HD_PIO_WRITE ? VIV_BLK_WRITE : VIV_BLK_READ);
}

const struct ide_unit_ops ide_hd_ops = {
    .command = ide_hd_command,
    .drained = drained,
    .filled = filled,
    .dma = dma,
    .reset = reset,
    .queue = ide_hd_queue_start,
};
