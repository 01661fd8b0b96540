/* What an ATA disk says of itself: IDENTIFY DEVICE (ATA/ATAPI-7 6.17), SMART's data. */
#include "dev/ide/hd.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

static void word(uint8_t *p, unsigned n, uint16_t v)
{
    viv_st_le16(p + 2 * n, v);
}

static void geometry(const struct ide_hd *h, uint8_t *p)
{
    uint32_t now = (uint32_t)h->cylinders * h->heads * h->track;

    word(p, 1, ide_hd_cylinders(h));
    word(p, 3, 16);
    word(p, 6, 63);
    word(p, 53, 7); /* words 54-58, 64-70, 88 hold something */
    word(p, 54, h->cylinders);
    word(p, 55, h->heads);
    word(p, 56, h->track);
    viv_st_le32(p + 2 * 57, now);
    viv_st_le32(p + 2 * 60, (uint32_t)MIN(h->sectors, 0x0fffffff));
    viv_st_le64(p + 2 * 100, h->sectors);
}

static void modes(const struct ide_hd *h, uint8_t *p)
{
    word(p, 63, (uint16_t)(h->mdma << 8 | 0x07)); /* multiword DMA 0-2 */
    word(p, 64, 0x03);                            /* PIO 3, 4 */
    for (unsigned n = 65; n <= 68; n++)
        word(p, n, 120); /* ns a cycle */
    word(p, 88, (uint16_t)(h->udma << 8 | 0x3f)); /* Ultra DMA 0-5 */
    if (h->unit.ch->host) {
        word(p, 75, HD_TAGS - 1);
        word(p, 76, 1 << 8 | 1 << 1); /* queued commands; 1.5 Gb/s */
    } else {
        word(p, 93, (uint16_t)(0x600b | (h->unit.n ? 0x0200 : 0))); /* 80 wires; how units told each other */
    }
}

/* Words 82-87: command sets there are, and those that are on. */
static void features(const struct ide_hd *h, uint8_t *p)
{
    uint16_t set = (uint16_t)(1 << 14 | (h->wwn ? 1 << 8 : 0) | 1 << 6 | (h->unit.ch->host ? 1 << 5 : 0)); /* name, FUA, logs */

    word(p, 82, 1 << 14 | 1 << 5 | 1 << 0); /* NOP, write cache, SMART */
    word(p, 83, 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10); /* FLUSH CACHE (EXT), 48 bits */
    word(p, 84, set);
    word(p, 85, (uint16_t)(1 << 14 | (h->write_cache ? 1 << 5 : 0) | (h->smart ? 1 : 0)));
    word(p, 86, 1 << 13 | 1 << 12 | 1 << 10);
    word(p, 87, set);
    for (unsigned i = 0; h->wwn && i < 4; i++)
        word(p, 108 + i, (uint16_t)(h->wwn >> (48 - 16 * i)));
}

void ide_hd_identify(struct ide_hd *h, uint8_t p[HD_SECTOR])
{
    unsigned exp = (unsigned)__builtin_ctz(h->front.physical / HD_SECTOR);
    uint8_t sum = 0;

    memset(p, 0, HD_SECTOR);
    word(p, 0, 0x0040); /* fixed */
    geometry(h, p);
    ide_put_string(p + 20, h->front.serial, 20);
    ide_put_string(p + 46, h->revision, 8);
    ide_put_string(p + 54, h->model, 40);
    word(p, 217, h->rotation);
    word(p, 47, 0x8000 | HD_MULTIPLE);
    word(p, 49, 1 << 13 | 1 << 11 | 1 << 9 | 1 << 8); /* standby timer, IORDY, LBA, DMA */
    word(p, 50, 0x4000);
    word(p, 59, (uint16_t)(h->multiple ? 0x100 | h->multiple : 0));
    modes(h, p);
    word(p, 80, 0xf0); /* ATA/ATAPI-4 to 7 */
    features(h, p);
    word(p, 69, 1 << 14); /* what was trimmed reads the same each time */
    word(p, 105, HD_TRIM_BLOCKS);
    word(p, 169, 1);
    if (exp)
        word(p, 106, (uint16_t)(0x6000 | exp)); /* several logical sectors in a physical one */
    p[510] = 0xa5;
    for (unsigned i = 0; i < 511; i++)
        sum += p[i];
    p[511] = (uint8_t)-sum;
}

/* READ DATA and READ THRESHOLDS: no attributes, no tests. */
void ide_hd_smart_data(uint8_t p[HD_SECTOR])
{
    memset(p, 0, HD_SECTOR);
    p[0] = 1; /* revision */
    p[511] = (uint8_t)-p[0];
}
