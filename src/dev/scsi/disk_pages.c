/* Capacity, vital product data and mode pages of a SCSI disk (SBC-3 5.16, 6.4, 6.5; the geometry page is SBC's). */
#include "dev/scsi/disk.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

enum { PAGE_RECOVERY = 0x01, PAGE_GEOMETRY = 0x04, PAGE_CACHING = 0x08, PAGE_CONTROL = 0x0a };
enum { WCE = 0x04 };
enum { HEADS = 16, SECTORS = 63, LEAST_CYLINDERS = 2, MOST_CYLINDERS = 16383 }; /* as an ATA disk has them */

const uint8_t scsi_hd_vital_pages[] = {0xb0, 0xb1, 0xb2, 0};

/* Offsets are those of the page less the 4 bytes of its header. */
static int block_limits(struct scsi_hd *h, uint8_t *p)
{
    const struct viv_front *f = &h->unit.front;

    p[0] = 1; /* WRITE SAME of no blocks is refused */
    viv_st_be16(p + 2, (uint16_t)(f->min_io / f->logical));
    viv_st_be32(p + 8, f->opt_io / f->logical);
    if (h->discard) {
        viv_st_be32(p + 16, HD_MOST_BLOCKS);
        viv_st_be32(p + 20, HD_MOST_REGIONS);
        viv_st_be32(p + 24, f->discard / f->logical);
    }
    viv_st_be64(p + 32, HD_MOST_BLOCKS);
    return 60;
}

int scsi_hd_vital(struct scsi_unit *u, uint8_t page, uint8_t *p)
{
    struct scsi_hd *h = scsi_hd_of(u);

    switch (page) {
    case 0xb0:
        return block_limits(h, p);
    case 0xb1:
        viv_st_be16(p, h->rotation);
        return 60;
    case 0xb2:
        if (h->discard) {
            p[1] = 0x80 | 0x40 | 0x20; /* UNMAP, WRITE SAME (16) and (10) */
            p[2] = 2;                  /* thin */
        }
        return 4;
    default:
        return -1;
    }
}

void scsi_hd_capacity10(struct scsi_hd *h, struct viv_scsi_req *r)
{
    uint64_t last = viv_front_blocks(&h->unit.front) - 1;
    uint8_t *p = viv_scsi_answer(r, 8, 8);

    viv_st_be32(p, (uint32_t)MIN(last, UINT32_MAX));
    viv_st_be32(p + 4, h->unit.front.logical);
}

void scsi_hd_capacity16(struct scsi_hd *h, struct viv_scsi_req *r)
{
    const struct viv_front *f = &h->unit.front;
    uint8_t *p = viv_scsi_answer(r, 32, viv_ld_be32(r->cdb + 10));

    viv_st_be64(p, viv_front_blocks(f) - 1);
    viv_st_be32(p + 8, f->logical);
    p[13] = (uint8_t)MIN(__builtin_ctz(f->physical / f->logical), 15);
    p[14] = h->discard ? 0x80 : 0;
}

/* ---- mode pages ---- */

static unsigned page_len(uint8_t code)
{
    switch (code) {
    case PAGE_RECOVERY:
    case PAGE_CONTROL:
        return 12;
    case PAGE_CACHING:
        return 20;
    case PAGE_GEOMETRY:
        return 24;
    default:
        return 0;
    }
}

/* A BIOS divides the size by it, and takes the rest for sectors a track. Without it SeaBIOS takes a disk below a cylinder of 16 heads
 * with 63 sectors for an empty one. */
static void put_geometry(const struct scsi_hd *h, uint8_t *p)
{
    uint64_t cylinders = viv_front_blocks(&h->unit.front) / (HEADS * SECTORS);

    viv_st_be16(p + 3, (uint16_t)CLAMP(cylinders, LEAST_CYLINDERS, MOST_CYLINDERS));
    p[5] = HEADS;
    viv_st_be16(p + 20, h->rotation > 1 ? h->rotation : 0);
}

static unsigned mode_page(struct scsi_unit *u, uint8_t code, bool changeable, uint8_t *p)
{
    unsigned len = page_len(code);

    if (!len)
        return 0;
    memset(p, 0, len);
    p[0] = code;
    p[1] = (uint8_t)(len - 2);
    if (code == PAGE_CACHING && (changeable || scsi_hd_of(u)->write_cache))
        p[2] = WCE;
    if (code == PAGE_GEOMETRY && !changeable)
        put_geometry(scsi_hd_of(u), p);
    if (code == PAGE_RECOVERY && !changeable)
        p[2] = 0x80; /* failed writes move elsewhere */
    if (code == PAGE_CONTROL && !changeable)
        p[3] = 0x10; /* order of commands is free */
    return len;
}

void scsi_hd_mode_sense(struct scsi_hd *h, struct viv_scsi_req *r)
{
    const struct viv_front *f = &h->unit.front;
    uint8_t descriptor[8];

    viv_st_be32(descriptor, (uint32_t)MIN(viv_front_blocks(f), UINT32_MAX));
    viv_st_be32(descriptor + 4, f->logical);
    scsi_mode_sense(&h->unit, r, 0, (uint8_t)((f->ro ? 0x80 : 0) | 0x10 /* FUA */), descriptor, mode_page);
}

/* A page that is sent back may differ from ours in what is changeable. */
static bool page_fits(struct scsi_hd *h, const uint8_t *p, unsigned left)
{
    uint8_t now[32], mask[32];
    unsigned len = mode_page(&h->unit, p[0] & 0x3f, false, now);

    if (!len || len > left || p[0] & 0x40)
        return false;
    mode_page(&h->unit, now[0], true, mask);
    for (unsigned i = 1; i < len; i++) {
        if (i > 1 ? (p[i] ^ now[i]) & ~mask[i] : p[i] != now[i])
            return false;
    }
    return true;
}

static void reject(struct viv_scsi_req *r, uint16_t asc)
{
    viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, asc);
}

void scsi_hd_mode_select(struct scsi_hd *h, struct viv_scsi_req *r)
{
    bool ten = r->cdb[0] == 0x55, cache = h->write_cache;
    unsigned len = (unsigned)r->moved, head = ten ? 8 : 4, at;
    const uint8_t *p = r->buf;

    if (len < head || (at = head + (ten ? viv_ld_be16(p + 6) : p[3])) > len) {
        if (len)
            reject(r, VIV_SCSI_ASC_PARAMETER_LENGTH);
        else
            viv_scsi_end(r, VIV_SCSI_GOOD);
        return;
    }
    while (at < len) {
        if (len - at < 2 || p[at + 1] + 2u > len - at) {
            reject(r, VIV_SCSI_ASC_PARAMETER_LENGTH);
            return;
        }
        if (!page_fits(h, p + at, len - at)) {
            reject(r, VIV_SCSI_ASC_PARAMETERS);
            return;
        }
        if ((p[at] & 0x3f) == PAGE_CACHING)
            cache = p[at + 2] & WCE;
        at += p[at + 1] + 2u;
    }
    h->write_cache = cache;
    if (cache)
        viv_scsi_end(r, VIV_SCSI_GOOD);
    else /* what was written so far */
        scsi_io_range(&h->unit, r, VIV_BLK_FLUSH, 0, 0, 0, NULL);
}
