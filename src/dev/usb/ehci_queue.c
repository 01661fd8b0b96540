/* EHCI's queue heads and transfer descriptors (EHCI 1.0, 3.5, 3.6, 4.10). The overlay of a queue head is kept up as the chip does:
 * drivers read it. Left out: split transactions (companions have what is not high speed), PING, NAK counters, 64-bit addresses. */
#include "dev/usb/ehci.h"

#include "mem/dma.h"

#include <glib.h>

enum { END = 1 };
enum { /* token */
    T_STATUS = 0xff, T_ERROR = 1 << 3, T_BABBLE = 1 << 4, T_BUFFER = 1 << 5, T_HALTED = 1 << 6, T_ACTIVE = 1 << 7, T_ERRORS = 3 << 10,
    T_IOC = 1 << 15,
};
#define T_TOGGLE (1u << 31)
#define PAGES    5

/* The first 12 words of a queue head; from `link` on also a transfer descriptor's. */
struct qh {
    uint32_t next, endpoint, caps, current;
    uint32_t link, alternate, token, page[PAGES];
};

static bool load(struct ehci_walk *w, uint32_t at, void *to, unsigned words)
{
    uint32_t *v = to;

    if (viv_dma_read(ehci_mem(w->e), at, to, 4 * words) < 0) {
        w->failed = true;
        return false;
    }
    for (unsigned i = 0; i < words; i++)
        v[i] = le32toh(v[i]);
    return true;
}

static void store(struct ehci_walk *w, uint32_t at, const void *from, unsigned words)
{
    const uint32_t *v = from;
    uint32_t le[12];

    for (unsigned i = 0; i < words; i++)
        le[i] = htole32(v[i]);
    if (viv_dma_write(ehci_mem(w->e), at, le, 4 * words) < 0)
        w->failed = true;
}

static unsigned bytes(uint32_t token)
{
    return token >> 16 & 0x7fff;
}

/* 4.10.2: after a short packet by the alternate link, else by the next one. Returns whether there is an active one. */
static bool advance(struct ehci_walk *w, uint32_t at, struct qh *q)
{
    uint32_t link = bytes(q->token) && !(q->alternate & END) ? q->alternate : q->link, td[8];

    if (link & END || --w->steps < 0 || !load(w, link & ~31u, td, 8) || !(td[2] & T_ACTIVE))
        return false;
    q->current = link & ~31u;
    q->link = td[0];
    q->alternate = td[1];
    if (!(q->endpoint & 1 << 14)) /* the queue keeps the toggle */
        td[2] = (td[2] & ~T_TOGGLE) | (q->token & T_TOGGLE);
    q->token = td[2];
    for (unsigned i = 0; i < PAGES; i++)
        q->page[i] = td[3 + i];
    store(w, at + 12, &q->current, 9);
    return !w->failed;
}

/* 3.5.4: five pages; the first begins at an offset. */
static unsigned pieces(const struct qh *q, struct viv_usb_piece *p, size_t *total)
{
    unsigned page = q->token >> 12 & 7, off = q->page[0] & 0xfff, left = bytes(q->token), n = 0;

    *total = 0;
    for (; page < PAGES && left; page++) {
        unsigned part = MIN(left, 4096 - off);

        p[n++] = (struct viv_usb_piece){(q->page[page] & ~0xfffu) | off, part};
        left -= part;
        off = 0;
        *total += part;
    }
    return n;
}

/* Counts what was moved: bytes left, page and offset, toggle. */
static void count(struct qh *q, size_t actual)
{
    unsigned packet = q->endpoint >> 16 & 0x7ff, off = (q->page[0] & 0xfff) + (unsigned)actual, page = (q->token >> 12 & 7) + (off >> 12);
    size_t packets = actual ? (actual + MAX(packet, 1) - 1) / MAX(packet, 1) : 1;

    q->token = (q->token & ~(0x7fffu << 16 | 7u << 12)) | (bytes(q->token) - (unsigned)actual) << 16 | MIN(page, 7u) << 12;
    q->page[0] = (q->page[0] & ~0xfffu) | (off & 0xfff);
    if (packets & 1)
        q->token ^= T_TOGGLE;
}

/* Returns whether the queue may go on. */
static bool transact(struct ehci_walk *w, struct qh *q)
{
    static const enum viv_usb_pid pids[4] = {VIV_USB_OUT, VIV_USB_IN, VIV_USB_SETUP, VIV_USB_OUT};
    static const uint8_t bad[] = {[VIV_USB_STALL] = 0, [VIV_USB_BABBLE] = T_BABBLE, [VIV_USB_ERROR] = T_ERROR};
    struct viv_usb_piece p[PAGES];
    struct viv_usb_packet k = {.pid = pids[q->token >> 8 & 3], .endpoint = q->endpoint >> 8 & 15, .pieces = p};
    struct viv_usb_dev *d = ehci_find(w->e, q->endpoint & 127);

    k.count = pieces(q, p, &k.length);
    if (d)
        viv_usb_handle(d, &k);
    else
        k.status = VIV_USB_ERROR;
    w->left -= (int)k.actual + 64;
    if (k.status == VIV_USB_NAK && !k.actual)
        return false;
    w->progress = true;
    if (k.actual || k.status == VIV_USB_OK)
        count(q, k.actual);
    if (k.status == VIV_USB_NAK)
        return false;
    q->token &= ~(uint32_t)T_ACTIVE;
    if (k.status != VIV_USB_OK) {
        q->token = (q->token & ~(uint32_t)(k.status == VIV_USB_ERROR ? T_ERRORS : 0)) | T_HALTED | bad[k.status];
        w->e->sts |= EHCI_STS_ERROR;
    }
    /* 4.15.1.2: at the end of a descriptor that wants it, or at a short packet. */
    if (q->token & T_IOC || (k.status == VIV_USB_OK && k.actual < k.length))
        w->e->sts |= EHCI_STS_INT;
    return k.status == VIV_USB_OK;
}

void ehci_queue(struct ehci_walk *w, uint32_t at, uint32_t *next)
{
    struct qh q;
    bool more = true;

    *next = END;
    if (!load(w, at, &q, 12))
        return;
    *next = q.next;
    while (more && !w->failed && w->left > 0 && !(q.token & T_HALTED)) {
        uint32_t before = q.token;

        if (!(q.token & T_ACTIVE) && !advance(w, at, &q))
            return;
        before = q.token;
        more = transact(w, &q);
        if (q.token == before)
            return;
        store(w, at + 24, &q.token, 2);
        if (!(q.token & T_ACTIVE))
            store(w, q.current + 8, &q.token, 1); /* 4.10.4: the descriptor is retired */
    }
}
