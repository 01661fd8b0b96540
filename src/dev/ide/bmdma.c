/* Walks of the guest's tables of regions, each once and a bounded part at a time; the bus master of a parallel channel
 * (SFF-8038i). */
#include "dev/ide/ide.h"

#include "base/bytes.h"
#include "base/log.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>

enum { BM_START = 0x01, BM_TO_MEMORY = 0x08 };
enum { BM_ACTIVE = 0x01, BM_ERROR = 0x02, BM_IRQ = 0x04, BM_CAPABLE = 0x60 };
#define ENTRIES_MOST 8192      /* a table does not cross 64 KiB */
#define REGION_MOST  (4u << 20) /* of any host's tables */

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
        ch->dma.cur = (struct ide_cursor){.entry = ch->bm_table};
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

    if (u && u->phase == IDE_DMA && !ch->dma.pieces && (ch->host || (ch->master && ch->bm_status & BM_ACTIVE)))
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
    c->last = (e[7] & 0x80) || c->entries + 1 >= ENTRIES_MOST;
    c->entry += 8;
    return 0;
}

static bool exhausted(const struct ide_cursor *c)
{
    return !c->left && c->last;
}

bool ide_cursor_ok(const struct ide_cursor *c)
{
    return c->left <= REGION_MOST && c->entries <= UINT16_MAX && c->total <= UINT16_MAX;
}

void ide_dma_init(struct ide_dma *m, struct ide_channel *ch)
{
    m->ch = ch;
    m->cur = m->next = (struct ide_cursor){0};
    m->pieces = 0;
    m->moved = 0;
}

/* The next region, if the present one is used up. Negative: no memory. */
static int next_region(struct ide_dma *m, struct ide_cursor *c)
{
    int rc;

    if (c->left)
        return 0;
    rc = m->ch->host ? m->ch->host->entry(m->ch, c) : read_entry(m->ch, c);
    c->entries++;
    return rc;
}

int64_t ide_dma_map(struct ide_dma *m, uint64_t want, bool to_memory)
{
    struct ide_cursor *c = &m->next;
    uint64_t total = 0;

    g_assert(!m->pieces);
    *c = m->cur;
    m->to_memory = to_memory;
    want = MIN(want, IDE_MOST);
    while (total < want && m->pieces < IDE_PIECES && !exhausted(c)) {
        uint64_t len;
        void *p;

        if (next_region(m, c) < 0)
            break;
        len = MIN(c->left, want - total);
        p = viv_dma_map(m->ch->board->mem, c->addr, &len, to_memory);
        if (!p)
            break;
        m->iov[m->pieces++] = (struct iovec){p, len};
        c->addr += len;
        c->left -= (uint32_t)len;
        total += len;
    }
    if (total < want && m->pieces < IDE_PIECES && !exhausted(c)) {
        ide_dma_unmap(m, false);
        return -EFAULT;
    }
    return (int64_t)total;
}

void ide_dma_unmap(struct ide_dma *m, bool go_on)
{
    for (unsigned i = 0; i < m->pieces; i++) {
        size_t len = m->iov[i].iov_len;

        viv_dma_unmap(m->iov[i].iov_base, len, m->to_memory ? len : 0);
        if (go_on)
            m->moved += (uint32_t)len;
    }
    m->pieces = 0;
    if (go_on)
        m->cur = m->next;
}

void ide_bm_failed(struct ide_channel *ch)
{
    viv_guest_error(ch->name, "DMA at 0x%llx: no memory", (unsigned long long)ch->dma.next.addr);
    ch->bm_status = (uint8_t)((ch->bm_status & ~BM_ACTIVE) | BM_ERROR);
}

void ide_bm_done(struct ide_channel *ch)
{
    if (exhausted(&ch->dma.cur))
        ch->bm_status &= (uint8_t)~BM_ACTIVE;
}
