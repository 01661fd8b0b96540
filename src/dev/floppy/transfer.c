/* Commands that move data. A piece at a time, at most a track: from the image into the buffer and by DMA (or the FIFO) to the guest,
 * or the other way. (82078, 6.1 and 6.2.) */
#include "dev/floppy/fdc.h"

#include "dev/dma/i8237.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static void next_piece(struct fdc *f);

static struct fdc_drive *drive_of(const struct fdc *f)
{
    return f->unit < FDC_DRIVES ? f->drive[f->unit] : NULL;
}

static bool scans(const struct fdc *f)
{
    return f->op >= FDC_SCAN_EQUAL;
}

bool fdc_to_host(const struct fdc *f)
{
    return f->op <= FDC_READ_TRACK;
}

static bool by_dma(const struct fdc *f)
{
    return !(f->specify[1] & 1);
}

/* ---- the end ---- */

static void finish(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
    const uint8_t r[7] = {(uint8_t)(st0 | f->head << 2 | f->unit), st1, st2, f->c, f->h, f->r, f->n};

    viv_i8237_request(f->dev.board->isa_dma, f->dma, false);
    memcpy(f->result, r, sizeof(r));
    fdc_result(f, sizeof(r), true);
}

static void fail(struct fdc *f, uint8_t st1, uint8_t st2)
{
    finish(f, ST0_ABNORMAL, st1, st2);
}

/* Table 6-5: the sector behind the last one. */
static void advance(struct fdc *f)
{
    bool mt = f->cmd[0] & 0x80 && f->op != FDC_READ_TRACK;

    if (f->r != f->eot) {
        f->r++;
        return;
    }
    f->r = 1;
    if (!mt || f->h & 1)
        f->c++;
    if (mt)
        f->h ^= 1;
}

/* ---- where a sector is ---- */

/* Rate, recording and the cylinder's number decide whether anything is found at all; 0, or what ST1 and ST2 say. */
static bool found(struct fdc *f, uint8_t *st1, uint8_t *st2)
{
    const struct fdc_drive *d = drive_of(f);
    const struct floppy_format *g = d ? d->format : NULL;

    *st1 = *st2 = 0;
    if (!g || f->rate != g->rate || !(f->cmd[0] & 0x40) || f->head >= g->heads || d->track >= (g->tracks <= 42 ? 84 : g->tracks)) {
        *st1 = ST1_NO_MARK;
    } else if (!fdc_drive_at(d, f->c) || f->c >= g->tracks) {
        *st1 = ST1_NO_DATA;
        *st2 = ST2_WRONG_CYLINDER;
    } else if (f->h != f->head || f->n != 2 || !f->r || f->r > g->sectors) {
        *st1 = ST1_NO_DATA;
    }
    return !*st1;
}

/* ---- requests ---- */

static uint64_t offset(const struct fdc *f)
{
    const struct floppy_format *g = drive_of(f)->format;

    return (((uint64_t)f->c * g->heads + f->h) * g->sectors + f->r - 1) * FLOPPY_SECTOR;
}

static bool is_write(const struct fdc *f)
{
    return f->op == FDC_WRITE || f->op == FDC_FORMAT;
}

static void moved(struct viv_front_req *r, int result);

/* Bytes of the piece that the image has; a short one reads as zeros behind its end, and takes no writes there. */
static uint64_t bytes_there(const struct fdc *f)
{
    uint64_t size = viv_blk_size(drive_of(f)->front.drive->blk), at = offset(f), len = (uint64_t)f->piece * FLOPPY_SECTOR;

    return at >= size ? 0 : MIN(len, size - at);
}

static void io_done(struct fdc *f);

/* `piece` sectors from c, h, r on. */
static void submit(struct fdc *f)
{
    uint8_t st1, st2;
    uint64_t len;

    f->phase = FDC_BUSY;
    if (!found(f, &st1, &st2) || f->piece > drive_of(f)->format->sectors - f->r + 1) { /* the diskette was changed meanwhile */
        fail(f, st1 ? st1 : ST1_NO_DATA, st2);
        return;
    }
    len = bytes_there(f);
    if (is_write(f) && (drive_of(f)->front.ro || len < (uint64_t)f->piece * FLOPPY_SECTOR)) {
        fail(f, drive_of(f)->front.ro ? ST1_PROTECTED : ST1_NO_DATA, 0);
        return;
    }
    if (!is_write(f))
        memset(f->buf + len, 0, (size_t)f->piece * FLOPPY_SECTOR - len);
    if (!len) {
        io_done(f);
        return;
    }
    f->in_flight = true;
    f->iov = (struct iovec){f->buf, len};
    f->req = (struct viv_front_req){
        .br = {.op = is_write(f) ? VIV_BLK_WRITE : VIV_BLK_READ, .offset = offset(f), .len = len, .iov = &f->iov, .iovcnt = 1},
        .done = moved,
    };
    if (is_write(f)) /* a diskette drive has no cache, and its guest no command to flush one */
        f->req.br.flags = VIV_BLK_FUA;
    viv_front_submit(&drive_of(f)->front, &f->req);
}

static void moved(struct viv_front_req *r, int result)
{
    struct fdc *f = (struct fdc *)((uint8_t *)r - offsetof(struct fdc, req));
    bool orphan = f->orphan;

    f->in_flight = f->orphan = false;
    if (orphan) {
        if (f->phase == FDC_BUSY)
            fdc_transfer_start(f, f->op); /* it waited for the buffer */
        return;
    }
    if (result < 0) {
        switch (viv_front_failed(r, result)) {
        case VIV_FRONT_HOLD:
            return;
        case VIV_FRONT_REPORT:
            fail(f, ST1_DATA_ERROR, ST2_DATA_ERROR);
            return;
        default:
            break;
        }
    }
    io_done(f);
}

void fdc_resend(void *opaque)
{
    const struct fdc_drive *d = opaque;

    if (d->fdc && d->fdc->phase == FDC_BUSY && d->fdc->unit == d->unit)
        submit(d->fdc);
}

void fdc_abandon(struct fdc *f)
{
    viv_i8237_request(f->dev.board->isa_dma, f->dma, false);
    f->orphan = f->in_flight;
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (f->drive[i])
            viv_front_drop_held(&f->drive[i]->front);
    }
}

/* ---- data to and from the guest ---- */

static void chunk_done(struct fdc *f);

static void begin_transfer(struct fdc *f, uint32_t pos, uint32_t len)
{
    f->pos = pos;
    f->len = len;
    f->phase = FDC_TRANSFER;
    if (by_dma(f)) {
        viv_i8237_request(f->dev.board->isa_dma, f->dma, true);
        fdc_dma_ready(f);
    } else {
        fdc_set_irq(f, true);
    }
}

void fdc_dma_ready(void *opaque)
{
    struct fdc *f = opaque;
    struct viv_dev *dma = f->dev.board->isa_dma;

    if (f->phase != FDC_TRANSFER || !by_dma(f) || !viv_i8237_served(dma, f->dma))
        return;
    f->pos += (uint32_t)viv_i8237_move(dma, f->dma, f->buf + f->pos, f->len - f->pos, fdc_to_host(f), &f->tc);
    if (!f->tc && f->pos < f->len)
        return;
    viv_i8237_request(dma, f->dma, false);
    chunk_done(f);
}

static void fifo_moved(struct fdc *f)
{
    if (f->pos < f->len)
        return;
    fdc_set_irq(f, false);
    chunk_done(f);
}

uint8_t fdc_fifo_read(struct fdc *f)
{
    uint8_t v = f->buf[f->pos++];

    fifo_moved(f);
    return v;
}

void fdc_fifo_write(struct fdc *f, uint8_t v)
{
    f->buf[f->pos++] = v;
    fifo_moved(f);
}

/* ---- reading, writing, verifying ---- */

/* `n` sectors from f->r on are done, and the command is or goes on behind them. */
static void sectors_done(struct fdc *f, unsigned n, bool last)
{
    f->r = (uint8_t)(f->r + n - 1);
    if (f->one)
        finish(f, 0, 0, ST2_DELETED);
    else if (last) {
        advance(f);
        finish(f, 0, 0, 0);
    } else {
        next_piece(f);
    }
}

static void scan_compare(struct fdc *f)
{
    const uint8_t *disk = f->buf, *host = f->buf + FLOPPY_SECTOR;
    unsigned i = 0, step = f->cmd[8] == 2 ? 2 : 1;

    while (i < f->pos - FLOPPY_SECTOR && (disk[i] == host[i] || host[i] == 0xff || disk[i] == 0xff))
        i++; /* FFh on either side goes with anything */
    if (i == f->pos - FLOPPY_SECTOR) {
        finish(f, 0, 0, ST2_SCAN_EQUAL);
    } else if ((f->op == FDC_SCAN_LOW && disk[i] < host[i]) || (f->op == FDC_SCAN_HIGH && disk[i] > host[i])) {
        finish(f, 0, 0, 0);
    } else if (f->tc || (f->r + step > f->eot && (f->head || !(f->cmd[0] & 0x80)))) {
        finish(f, 0, 0, ST2_SCAN_NONE);
    } else {
        f->r = (uint8_t)MIN(f->r + step - 1, f->eot);
        next_piece(f);
    }
}

/* The next run of the sectors that FORMAT's ids name. */
static void format_next(struct fdc *f)
{
    unsigned run = 0;

    if (!f->ids) {
        finish(f, 0, 0, 0);
        return;
    }
    f->r = (uint8_t)(g_bit_nth_lsf(f->ids, -1) + 1);
    while (f->r + run <= FLOPPY_MOST_SECTORS && f->ids >> (f->r + run - 1) & 1)
        f->ids &= ~(1ull << (f->r + run++ - 1));
    f->piece = (uint8_t)run;
    submit(f);
}

/* Ids have come: each must be of this track as the image has it, for there is no place for others. */
static void format_ids(struct fdc *f)
{
    uint8_t st1, st2;

    f->ids = 0;
    for (uint32_t i = 0; i + 4 <= f->pos; i += 4) {
        f->c = f->buf[i];
        f->h = f->buf[i + 1];
        f->r = f->buf[i + 2];
        f->n = f->buf[i + 3];
        if (!found(f, &st1, &st2)) {
            fail(f, st1, st2);
            return;
        }
        f->ids |= 1ull << (f->r - 1);
    }
    memset(f->buf, f->cmd[5], sizeof(f->buf));
    format_next(f);
}

/* The buffer is full, or empty, or the count has run out. */
static void chunk_done(struct fdc *f)
{
    unsigned n = (f->pos + FLOPPY_SECTOR - 1) / FLOPPY_SECTOR;

    if (f->op == FDC_FORMAT) {
        format_ids(f);
    } else if (scans(f)) {
        scan_compare(f);
    } else if (f->op == FDC_WRITE) {
        memset(f->buf + f->pos, 0, (size_t)n * FLOPPY_SECTOR - f->pos);
        f->piece = (uint8_t)n;
        submit(f);
    } else {
        sectors_done(f, n, f->tc);
    }
}

static void io_done(struct fdc *f)
{
    switch (f->op) {
    case FDC_FORMAT:
        format_next(f);
        break;
    case FDC_WRITE:
        sectors_done(f, f->piece, f->tc);
        break;
    case FDC_VERIFY: {
        bool counted = f->cmd[1] & 0x80;

        f->left -= counted ? f->piece : 0;
        sectors_done(f, f->piece, counted && !f->left);
        break;
    }
    case FDC_SCAN_EQUAL:
    case FDC_SCAN_LOW:
    case FDC_SCAN_HIGH:
        begin_transfer(f, FLOPPY_SECTOR, 2 * FLOPPY_SECTOR);
        break;
    default:
        begin_transfer(f, 0, f->piece * FLOPPY_SECTOR);
    }
}

/* From sector f->r on, to the end of the track or the last one wanted. */
static void start_piece(struct fdc *f)
{
    unsigned last = drive_of(f)->format->sectors;

    if (f->r <= f->eot)
        last = MIN(last, f->eot);
    f->piece = (uint8_t)(f->one || scans(f) ? 1 : last - f->r + 1);
    if (f->op == FDC_VERIFY && f->cmd[1] & 0x80)
        f->piece = MIN(f->piece, f->left);
    if (f->op == FDC_WRITE)
        begin_transfer(f, 0, f->piece * FLOPPY_SECTOR);
    else
        submit(f);
}

/* Sector f->r is done and there is to be another: behind it, on the other side, or none. */
static void next_piece(struct fdc *f)
{
    bool end = f->r == f->eot;
    uint8_t st1, st2;

    if (end && f->cmd[0] & 0x80 && !f->head && f->op != FDC_READ_TRACK) {
        f->head = f->h = 1;
        f->r = 1;
        end = false;
    } else if (end) {
        bool counted = f->op == FDC_VERIFY && f->cmd[1] & 0x80;

        advance(f);
        finish(f, f->op == FDC_VERIFY && !counted ? 0 : ST0_ABNORMAL, f->op == FDC_VERIFY && !counted ? 0 : ST1_END, 0);
        return;
    } else {
        f->r++;
    }
    if (found(f, &st1, &st2))
        start_piece(f);
    else
        fail(f, st1, st2);
}

/* ---- commands ---- */

/* Drive and head; false: the command has ended. */
static bool select_drive(struct fdc *f)
{
    f->unit = f->cmd[1] & 3;
    f->head = f->cmd[1] >> 2 & 1;
    if (drive_of(f))
        return true;
    finish(f, ST0_ABNORMAL | ST0_NOT_READY, 0, 0);
    return false;
}

static void implied_seek(struct fdc *f)
{
    if (f->config & 0x40 && drive_of(f)->format && !fdc_drive_at(drive_of(f), f->c)) {
        fdc_drive_seek(drive_of(f), f->c);
        f->pcn[f->unit] = f->c;
    }
}

static void start_format(struct fdc *f)
{
    const struct fdc_drive *d = drive_of(f);
    unsigned count = f->cmd[3];

    f->c = d->track;
    f->h = f->head;
    f->r = 1;
    f->n = f->cmd[2];
    f->last_eot = f->cmd[3];
    if (d->front.ro)
        fail(f, ST1_PROTECTED, 0);
    else if (!count)
        finish(f, 0, 0, 0);
    else
        begin_transfer(f, 0, count * 4);
}

void fdc_transfer_start(struct fdc *f, enum fdc_op op)
{
    uint8_t st1, st2;

    f->op = (uint8_t)op;
    if (f->in_flight) { /* one that a reset has left still uses the buffer */
        f->phase = FDC_BUSY;
        return;
    }
    f->c = f->cmd[2];
    f->h = f->cmd[3];
    f->r = f->cmd[4];
    f->n = f->cmd[5];
    f->eot = f->last_eot = f->cmd[6];
    f->tc = f->one = false;
    f->left = f->cmd[8];
    if (!select_drive(f))
        return;
    if (op == FDC_FORMAT) {
        if (drive_of(f)->format)
            start_format(f);
        else
            fail(f, ST1_NO_MARK, 0);
        return;
    }
    if (op == FDC_READ_TRACK)
        f->r = 1;
    if (op == FDC_VERIFY && f->cmd[1] & 0x80 && !f->left) {
        finish(f, 0, 0, 0);
        return;
    }
    implied_seek(f);
    if (!found(f, &st1, &st2)) {
        fail(f, st1, st2);
    } else if (op == FDC_WRITE && drive_of(f)->front.ro) {
        fail(f, ST1_PROTECTED, 0);
    } else if (op == FDC_READ_DELETED && f->cmd[0] & 0x20) { /* no sector is deleted: all are skipped */
        f->r = f->eot;
        advance(f);
        finish(f, 0, 0, ST2_DELETED);
    } else {
        f->one = op == FDC_READ_DELETED;
        start_piece(f);
    }
}

/* The first id that comes along. */
void fdc_read_id(struct fdc *f)
{
    uint8_t st1, st2;

    if (!select_drive(f))
        return;
    f->c = drive_of(f)->track;
    if (drive_of(f)->format && drive_of(f)->format->tracks <= 42 && f->c > 42)
        f->c /= 2;
    f->h = f->head;
    f->r = 1;
    f->n = 2;
    if (found(f, &st1, &st2))
        finish(f, 0, 0, 0);
    else
        fail(f, st1, st2);
}
