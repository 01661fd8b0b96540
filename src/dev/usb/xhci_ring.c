/* xHCI rings: TRBs in, events out, interrupters (xHCI 4.9, 4.17, 5.5.2). Event rings have one segment (HCSPARAMS2: ERST Max 0). */
#include "dev/usb/xhci.h"

#include "base/bytes.h"
#include "mem/dma.h"

#include <glib.h>

enum { IMAN_PENDING = 1, IMAN_ENABLE = 2, ERDP_BUSY = 8 };
enum { CMD_INTE = 4, STS_EINT = 8 };
#define LINKS_MOST 8 /* in a row */

/* ---- interrupts ---- */

/* What is pending is told as soon as it may be (5.5.2.1): by the line of interrupter 0, or by a message, which itself clears what
 * was pending. */
void xhci_update_irq(struct xhci *x)
{
    bool inte = x->cmd & CMD_INTE, msix = viv_msix_enabled(&x->pci);

    for (unsigned n = 0; msix && inte && n < x->intrs; n++) {
        if ((x->intr[n].iman & 3) != (IMAN_PENDING | IMAN_ENABLE))
            continue;
        x->intr[n].iman &= ~(uint32_t)IMAN_PENDING;
        viv_msix_notify(&x->pci, n);
    }
    viv_pci_set_intx(&x->pci, (x->intr[0].iman & 3) == 3 && inte && !msix);
}

/* 4.17.2, 4.17.5: once, until software says that it has caught up. */
static void interrupt(struct xhci *x, unsigned n)
{
    struct xhci_intr *i = &x->intr[n];

    x->sts |= STS_EINT;
    if (i->erdp & ERDP_BUSY)
        return;
    i->erdp |= ERDP_BUSY;
    i->iman |= IMAN_PENDING;
    xhci_update_irq(x);
}

/* ---- event rings ---- */

static uint32_t dequeue_index(const struct xhci_intr *i)
{
    uint64_t off = (i->erdp & ~15ull) - i->segment;

    return off / 16 < i->size ? (uint32_t)(off / 16) : 0;
}

static uint32_t room(const struct xhci_intr *i)
{
    return i->size ? (dequeue_index(i) + i->size - i->enqueue - 1) % i->size : 0;
}

bool xhci_events_crowded(struct xhci *x)
{
    bool crowded = false;

    for (unsigned n = 0; n < x->intrs; n++) {
        struct xhci_intr *i = &x->intr[n];

        if (i->size && room(i) < MIN(32, i->size / 4))
            crowded = i->full = true;
    }
    return crowded;
}

static void put(struct xhci *x, struct xhci_intr *i, uint64_t param, uint32_t status, uint32_t control)
{
    uint64_t at = i->segment + 16ull * i->enqueue;
    uint8_t trb[16];

    viv_st_le64(trb, param);
    viv_st_le32(trb + 8, status);
    viv_st_le32(trb + 12, (control & ~(uint32_t)TRB_CYCLE) | i->cycle);
    /* The cycle bit last: another vCPU may be polling for it. */
    if (viv_dma_write(xhci_mem(x), at, trb, 12) < 0 || viv_dma_write(xhci_mem(x), at + 12, trb + 12, 4) < 0) {
        xhci_dead(x);
        return;
    }
    if (++i->enqueue == i->size) {
        i->enqueue = 0;
        i->cycle = !i->cycle;
    }
}

/* 4.9.4: the last place says that the ring is full; what comes then is lost. Endpoints stop before that, see xhci_work(). */
void xhci_event(struct xhci *x, unsigned n, uint64_t param, uint32_t status, uint32_t control, bool quiet)
{
    struct xhci_intr *i = &x->intr[n < x->intrs ? n : 0];
    uint32_t places = room(i);

    if (!places) {
        i->full = true;
        return;
    }
    if (places == 1) {
        i->full = true;
        put(x, i, 0, (uint32_t)CC_RING_FULL << 24, TRB_HOST_EVENT << 10);
    } else {
        put(x, i, param, status, control);
    }
    if (!quiet || places == 1)
        interrupt(x, (unsigned)(i - x->intr));
}

void xhci_intr_reset(struct xhci_intr *i)
{
    *i = (struct xhci_intr){.cycle = true, .imod = 4000};
}

/* 5.5.2.3.2: the table's first and only entry. */
static void load_table(struct xhci *x, struct xhci_intr *i)
{
    uint8_t entry[16];
    uint32_t size;

    i->size = i->enqueue = 0;
    i->cycle = true;
    if (!i->erstsz || viv_dma_read(xhci_mem(x), i->erstba, entry, 16) < 0)
        return;
    size = viv_ld_le32(entry + 8) & 0xffff;
    if (size < 16 || size > 4096)
        return;
    i->segment = viv_ld_le64(entry) & ~63ull;
    i->size = size;
}

static void dequeued(struct xhci *x, unsigned n)
{
    struct xhci_intr *i = &x->intr[n];

    if (!i->size)
        return;
    if (!(i->erdp & ERDP_BUSY) && dequeue_index(i) != i->enqueue)
        interrupt(x, n);
    if (i->full && room(i) >= MIN(32, i->size / 4)) {
        i->full = false;
        xhci_work(x);
    }
}

uint32_t xhci_intr_read(struct xhci *x, unsigned n, unsigned reg)
{
    const struct xhci_intr *i = &x->intr[n];

    switch (reg) {
    case 0x00:
        return i->iman;
    case 0x04:
        return i->imod;
    case 0x08:
        return i->erstsz;
    case 0x10:
        return (uint32_t)i->erstba;
    case 0x14:
        return (uint32_t)(i->erstba >> 32);
    case 0x18:
        return (uint32_t)i->erdp;
    case 0x1c:
        return (uint32_t)(i->erdp >> 32);
    }
    return 0;
}

static uint64_t low(uint64_t old, uint32_t v)
{
    return (old & ~0xffffffffull) | v;
}

static uint64_t high(uint64_t old, uint32_t v)
{
    return (uint32_t)old | (uint64_t)v << 32;
}

void xhci_intr_write(struct xhci *x, unsigned n, unsigned reg, uint32_t v)
{
    struct xhci_intr *i = &x->intr[n];

    switch (reg) {
    case 0x00:
        i->iman = (i->iman & IMAN_PENDING & ~v) | (v & IMAN_ENABLE);
        xhci_update_irq(x);
        break;
    case 0x04:
        i->imod = v;
        break;
    case 0x08:
        i->erstsz = v & 0xffff;
        break;
    case 0x10:
        i->erstba = low(i->erstba, v & ~63u);
        break;
    case 0x14: /* software writes the upper half last (5.1) */
        i->erstba = high(i->erstba, v);
        load_table(x, i);
        break;
    case 0x18:
        i->erdp = low(i->erdp, (v & ~(uint32_t)ERDP_BUSY) | ((uint32_t)i->erdp & ERDP_BUSY & ~v));
        dequeued(x, n);
        break;
    case 0x1c:
        i->erdp = high(i->erdp, v);
        dequeued(x, n);
        break;
    }
}

/* ---- rings from software ---- */

int xhci_fetch(struct xhci *x, struct xhci_ring *r, struct xhci_trb *t)
{
    uint8_t raw[16];

    for (unsigned links = 0; links < LINKS_MOST; links++) {
        if (viv_dma_read(xhci_mem(x), r->at, raw, 16) < 0)
            return -1;
        *t = (struct xhci_trb){r->at, viv_ld_le64(raw), viv_ld_le32(raw + 8), viv_ld_le32(raw + 12)};
        if ((t->control & TRB_CYCLE) != r->cycle)
            return 0;
        if (xhci_type(t) != TRB_LINK) {
            r->at += 16;
            return 1;
        }
        r->at = t->param & ~15ull;
        if (t->control & TRB_TOGGLE)
            r->cycle = !r->cycle;
    }
    return -1;
}
