/* Queued commands of a SATA disk (SATA 3.1, 13.6; ACS-2): 32 transfers at once, each with a walk of guest memory of its own, and the
 * log page that says which of them failed. */
#include "dev/ide/hd.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { LOG_DIRECTORY = 0x00, LOG_QUEUE_ERROR = 0x10 };

struct hd_queued {
    struct ide_hd *h;
    unsigned tag;
    bool write, fua;
    uint64_t at, left;
    uint32_t part;
    struct viv_front_req req;
    struct ide_dma dma;
};

static void move(struct hd_queued *q);

static struct hd_queued *queued_at(struct ide_hd *h, unsigned tag)
{
    struct hd_queued *q = h->queue[tag];

    if (!q) {
        q = h->queue[tag] = g_new0(struct hd_queued, 1);
        q->h = h;
        q->tag = tag;
        ide_dma_init(&q->dma, h->unit.ch);
    }
    return q;
}

/* 0: well. What failed first since the log was read is kept for it. */
static void end(struct hd_queued *q, uint8_t error)
{
    struct ide_hd *h = q->h;
    struct ide_channel *ch = h->unit.ch;

    h->queued &= ~(1u << q->tag);
    if (error && h->failed.tag & HD_NO_TAG)
        h->failed = (struct hd_failed){.tag = (uint8_t)q->tag, .error = error, .lba = q->at / HD_SECTOR};
    ch->host->queued_done(ch, q->tag, error);
}

static void done(struct viv_front_req *r, int result)
{
    struct hd_queued *q = (struct hd_queued *)((char *)r - offsetof(struct hd_queued, req));
    struct ide_hd *h = q->h;
    enum viv_front_action action = VIV_FRONT_IGNORE;

    if (h->unit.resetting) {
        ide_dma_unmap(&q->dma, false);
        ide_hd_reset_ended(h);
        return;
    }
    if (result < 0)
        action = viv_front_failed(r, result);
    ide_dma_unmap(&q->dma, action == VIV_FRONT_IGNORE);
    if (action == VIV_FRONT_HOLD) {
        h->held |= 1u << q->tag;
        return;
    }
    if (action == VIV_FRONT_REPORT) {
        end(q, q->write ? IDE_ABRT : IDE_UNC);
        return;
    }
    q->at += q->part;
    q->left -= q->part;
    if (q->left)
        move(q);
    else
        end(q, 0);
}

static void move(struct hd_queued *q)
{
    struct ide_hd *h = q->h;
    int64_t n = ide_dma_map(&q->dma, q->left, !q->write);

    if (n <= 0) { /* no memory there, or the table ends before the command does */
        end(q, IDE_ABRT);
        return;
    }
    q->part = (uint32_t)n;
    q->req = (struct viv_front_req){.done = done,
                                    .br = {.op = q->write ? VIV_BLK_WRITE : VIV_BLK_READ, .offset = q->at, .len = q->part,
                                           .iov = q->dma.iov, .iovcnt = (int)q->dma.pieces}};
    if (q->write && (q->fua || !h->write_cache))
        q->req.br.flags = VIV_BLK_FUA;
    viv_front_submit(&h->front, &q->req);
}

/* The count is in the feature registers, FUA in the device register (ACS-2, 7.24, 7.65). */
void ide_hd_queue_start(struct ide_unit *u, unsigned tag, bool write, const struct ide_cursor *memory)
{
    struct ide_hd *h = (struct ide_hd *)u->dev;
    struct hd_queued *q = queued_at(h, tag);
    uint32_t count = u->feature[0] | (uint32_t)u->feature[1] << 8;
    uint64_t lba = ide_hd_lba48(u);

    if (h->queued >> tag & 1) { /* only after a load: port and disk disagree */
        u->ch->host->queued_done(u->ch, tag, IDE_ABRT);
        return;
    }
    h->queued |= 1u << tag;
    if (!count)
        count = 65536;
    q->write = write;
    q->fua = u->device & 0x80;
    q->at = lba * HD_SECTOR;
    q->left = (uint64_t)count * HD_SECTOR;
    q->dma.cur = *memory;
    if (viv_range_inside(lba, count, h->sectors))
        move(q);
    else
        end(q, IDE_IDNF);
}

void ide_hd_queue_resend(struct ide_hd *h)
{
    uint32_t held = h->held;

    h->held = 0;
    for (unsigned tag = 0; tag < HD_TAGS; tag++) {
        if (held >> tag & 1)
            move(queued_at(h, tag));
    }
}

void ide_hd_queue_free(struct ide_hd *h)
{
    for (unsigned tag = 0; tag < HD_TAGS; tag++)
        g_clear_pointer(&h->queue[tag], g_free);
}

void ide_hd_log_directory(uint8_t p[HD_SECTOR])
{
    memset(p, 0, HD_SECTOR);
    p[0] = 1; /* version */
}

/* READ LOG EXT (ACS-2, 7.22): the directory, and the queued command error log (A.14). False: no such log. */
bool ide_hd_read_log(struct ide_hd *h, uint8_t p[HD_SECTOR])
{
    struct hd_failed *f = &h->failed;
    uint8_t sum = 0;

    if (h->unit.low[0] == LOG_DIRECTORY) {
        ide_hd_log_directory(p);
        p[2 * LOG_QUEUE_ERROR] = 1;
        return true;
    }
    memset(p, 0, HD_SECTOR);
    if (h->unit.low[0] != LOG_QUEUE_ERROR)
        return false;
    p[0] = f->tag;
    p[2] = IDE_DRDY | IDE_ERR;
    p[3] = f->error;
    for (unsigned i = 0; i < 3; i++) {
        p[4 + i] = (uint8_t)(f->lba >> (8 * i));
        p[8 + i] = (uint8_t)(f->lba >> (24 + 8 * i));
    }
    p[7] = 0x40;
    for (unsigned i = 0; i < HD_SECTOR - 1; i++)
        sum += p[i];
    p[HD_SECTOR - 1] = (uint8_t)-sum;
    *f = (struct hd_failed){.tag = HD_NO_TAG};
    return true;
}

/* ---- state: of each command that is held ---- */

void ide_hd_queue_save(struct viv_state_writer *w, const void *obj)
{
    const struct ide_hd *h = obj;

    viv_state_put_u32(w, h->held);
    for (unsigned tag = 0; tag < HD_TAGS; tag++) {
        const struct hd_queued *q = h->queue[tag];

        if (!(h->held >> tag & 1))
            continue;
        viv_state_put_u64(w, q->at);
        viv_state_put_u64(w, q->left);
        viv_state_put_u32(w, q->write | q->fua << 1 | q->dma.cur.last << 2);
        viv_state_put_u64(w, q->dma.cur.entry);
        viv_state_put_u64(w, q->dma.cur.addr);
        viv_state_put_u32(w, q->dma.cur.entries);
        viv_state_put_u32(w, q->dma.cur.total);
        viv_state_put_u32(w, q->dma.cur.left);
    }
}

static int load_one(struct viv_state_reader *r, struct ide_hd *h, unsigned tag, struct viv_err *err)
{
    struct hd_queued *q = queued_at(h, tag);
    uint32_t bits = 0;
    int rc = viv_state_get_u64(r, &q->at, err);

    if (!rc)
        rc = viv_state_get_u64(r, &q->left, err);
    if (!rc)
        rc = viv_state_get_u32(r, &bits, err);
    if (!rc)
        rc = viv_state_get_u64(r, &q->dma.cur.entry, err);
    if (!rc)
        rc = viv_state_get_u64(r, &q->dma.cur.addr, err);
    if (!rc)
        rc = viv_state_get_u32(r, &q->dma.cur.entries, err);
    if (!rc)
        rc = viv_state_get_u32(r, &q->dma.cur.total, err);
    if (!rc)
        rc = viv_state_get_u32(r, &q->dma.cur.left, err);
    if (rc < 0)
        return rc;
    q->write = bits & 1;
    q->fua = bits & 2;
    q->dma.cur.last = bits & 4;
    if (bits > 7 || !q->left || !ide_hd_is_place(q->at, q->left) || !ide_cursor_ok(&q->dma.cur))
        return viv_fail(err, EINVAL, "a SATA disk cannot have such a command queued (tag %u)", tag);
    return 0;
}

int ide_hd_queue_load(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct ide_hd *h = obj;
    int rc = viv_state_get_u32(r, &h->held, err);

    if (rc == 0 && h->held && !h->unit.ch->host)
        return viv_fail(err, EINVAL, "a disk of an IDE bus has no queue");
    h->queued = h->held;
    for (unsigned tag = 0; tag < HD_TAGS && rc == 0; tag++) {
        if (h->held >> tag & 1)
            rc = load_one(r, h, tag, err);
    }
    return rc;
}

const struct viv_state_table ide_hd_failed_state = {
    .name = "hd-failed",
    .ctype = "hd_failed",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(hd_failed, tag),
            VIV_F_INT(hd_failed, error),
            VIV_F_INT(hd_failed, lba),
            VIV_F_END,
        },
};
