/* DATA SET MANAGEMENT's TRIM (ACS-2 7.10): a list of ranges comes by DMA into the unit's buffer; then they are discarded one after the other.
 * Of the disk's members `left` is the list's bytes, `part` how many of its entries have been begun, `at` where the last of them is. */
#include "dev/ide/hd.h"

#include "base/bytes.h"

#include <string.h>

enum { TRIM = 1, ENTRY = 8 };

struct range {
    uint64_t lba;
    uint32_t count;
};

/* Table 32: 48 bits of LBA, 16 of length; of length 0: none. */
static struct range entry(const struct ide_hd *h, uint32_t i)
{
    uint64_t v = viv_ld_le64(h->unit.buf + ENTRY * i);

    return (struct range){v & HD_SECTORS_MOST, (uint32_t)(v >> 48)};
}

static bool all_inside(const struct ide_hd *h)
{
    for (uint32_t i = 0; i < h->left / ENTRY; i++) {
        struct range r = entry(h, i);

        if (r.count && !viv_range_inside(r.lba, r.count, h->sectors))
            return false;
    }
    return true;
}

void ide_hd_trim(struct ide_hd *h)
{
    const struct ide_unit *u = &h->unit;
    uint32_t blocks = u->count[0] | (uint32_t)u->count[1] << 8;

    if (u->feature[0] != TRIM || !blocks || blocks > HD_TRIM_BLOCKS) {
        ide_abort(&h->unit);
        return;
    }
    h->op = HD_TRIM;
    h->at = 0;
    h->part = 0;
    h->left = (uint64_t)blocks * HD_SECTOR;
    ide_dma_wait(&h->unit);
}

void ide_hd_trim_next(struct ide_hd *h)
{
    while (h->part < h->left / ENTRY) {
        struct range r = entry(h, h->part++);

        if (!r.count)
            continue;
        h->at = r.lba * HD_SECTOR;
        ide_hd_submit(h, VIV_BLK_DISCARD, (uint64_t)r.count * HD_SECTOR, NULL, 0);
        return;
    }
    ide_hd_finish(h, 0, 0);
}

void ide_hd_trim_again(struct ide_hd *h)
{
    h->part -= h->part > 0;
    ide_hd_trim_next(h);
}

/* The list, all of it: a table that is too short ends the command. */
static bool take_list(struct ide_hd *h)
{
    struct ide_dma *m = &h->unit.ch->dma;
    int64_t n = ide_dma_map(m, h->left, false);
    uint8_t *to = h->unit.buf;

    if (n < 0)
        ide_bm_failed(h->unit.ch);
    for (unsigned i = 0; i < m->pieces; i++) {
        memcpy(to, m->iov[i].iov_base, m->iov[i].iov_len);
        to += m->iov[i].iov_len;
    }
    ide_dma_unmap(m, true);
    return n >= 0 && (uint64_t)n == h->left;
}

void ide_hd_trim_dma(struct ide_hd *h)
{
    if (!take_list(h)) {
        ide_hd_finish(h, IDE_ERR, IDE_ABRT);
        return;
    }
    if (!all_inside(h)) {
        ide_hd_finish(h, IDE_ERR, IDE_IDNF);
        return;
    }
    ide_busy(&h->unit);
    ide_hd_trim_next(h);
}
