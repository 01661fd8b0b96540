/* The bus master of a channel (SFF-8038i): walks the guest's table of regions once, a bounded part at a time. */
#include "dev/ide/ide.h"

#include "base/bytes.h"
#include "base/log.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>

enum { BM_START = 0x01, BM_TO_MEMORY = 0x08 };
enum { BM_ACTIVE = 0x01, BM_ERROR = 0x02, BM_IRQ = 0x04, BM_CAPABLE = 0x60 };
#define ENTRIES_MOST 8192 /* a table does not cross 64 KiB */

uint32_t ide_bm_read(struct ide_channel *ch, unsigned reg)
{
    switch (reg) {
    case 0:
        return ch->bm_command;
    case 2:
        return ch->bm_status;
    case 4:
    case 5:
    case 6:
    case 7:
        return ch->bm_table >> (8 * (reg - 4)) & 0xff;
    default:
        return 0;
    }
}

static void write_command(struct ide_channel *ch, uint8_t v)
{
    bool was = ch->bm_command & BM_START;

    ch->bm_command = v & (BM_START | BM_TO_MEMORY);
    if (!(v & BM_START)) {
        ch->bm_status &= (uint8_t)~BM_ACTIVE; /* what is in flight arrives nevertheless */
    } else if (!was) {
        ch->cur = (struct ide_cursor){.entry = ch->bm_table};
        ch->bm_status |= BM_ACTIVE;
        ide_bm_kick(ch);
    }
}

void ide_bm_write(struct ide_channel *ch, unsigned reg, uint8_t v)
{
    if (reg == 0) {
        write_command(ch, v);
    } else if (reg == 2) {
        ch->bm_status &= (uint8_t)~(v & (BM_ERROR | BM_IRQ));
        ch->bm_status = (uint8_t)((ch->bm_status & ~BM_CAPABLE) | (v & BM_CAPABLE));
    } else if (reg >= 4 && reg < 8) {
        unsigned shift = 8 * (reg - 4);

        ch->bm_table = (ch->bm_table & ~(0xffu << shift)) | (uint32_t)v << shift;
        ch->bm_table &= ~3u;
    }
}

void ide_bm_kick(struct ide_channel *ch)
{
    struct ide_unit *u = ch->unit[ch->select];

    if (u && u->phase == IDE_DMA && ch->master && ch->bm_status & BM_ACTIVE && !ch->pieces)
        u->ops->dma(u);
}

/* ---- the table ---- */

static int read_entry(struct ide_channel *ch, struct ide_cursor *c)
{
    uint8_t e[8];

    if (viv_dma_read(ch->board->mem, c->entry, e, sizeof(e)) < 0)
        return -EFAULT;
    c->addr = viv_ld_le32(e) & ~1u;
    c->left = viv_ld_le16(e + 4) & ~1u;
    if (!c->left)
        c->left = 65536;
    c->last = e[7] & 0x80;
    c->entry += 8;
    c->entries++;
    return 0;
}

static bool exhausted(const struct ide_cursor *c)
{
    return !c->left && (c->last || c->entries >= ENTRIES_MOST);
}

int64_t ide_bm_map(struct ide_channel *ch, uint64_t want, bool to_memory)
{
    struct ide_cursor *c = &ch->next;
    uint64_t total = 0;

    g_assert(!ch->pieces);
    *c = ch->cur;
    ch->to_memory = to_memory;
    want = MIN(want, IDE_MOST);
    while (total < want && ch->pieces < IDE_PIECES && !exhausted(c)) {
        uint64_t len;
        void *p = NULL;

        if (!c->left && read_entry(ch, c) < 0)
            break;
        len = MIN(c->left, want - total);
        p = viv_dma_map(ch->board->mem, c->addr, &len, to_memory);
        if (!p)
            break;
        ch->iov[ch->pieces++] = (struct iovec){p, len};
        c->addr += (uint32_t)len;
        c->left -= (uint32_t)len;
        total += len;
    }
    if (total < want && ch->pieces < IDE_PIECES && !exhausted(c)) {
        ide_bm_unmap(ch, false);
        return -EFAULT;
    }
    return (int64_t)total;
}

void ide_bm_unmap(struct ide_channel *ch, bool go_on)
{
    for (unsigned i = 0; i < ch->pieces; i++)
        viv_dma_unmap(ch->iov[i].iov_base, ch->iov[i].iov_len, ch->to_memory ? ch->iov[i].iov_len : 0);
    ch->pieces = 0;
    if (go_on)
        ch->cur = ch->next;
}

void ide_bm_failed(struct ide_channel *ch)
{
    viv_guest_error(ch->name, "DMA at 0x%x: no memory", ch->next.addr);
    ch->bm_status = (uint8_t)((ch->bm_status & ~BM_ACTIVE) | BM_ERROR);
}

void ide_bm_done(struct ide_channel *ch)
{
    if (exhausted(&ch->cur))
        ch->bm_status &= (uint8_t)~BM_ACTIVE;
}
