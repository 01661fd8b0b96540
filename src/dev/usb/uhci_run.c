/* UHCI's frames: what the list of each holds is carried out (UHCI 1.1, 1.3, 3.4).
 *
 * Drivers change the lists by plain stores, so they have to be looked at again and again: each millisecond while transfers make
 * progress, and every 16 ms, all frames of these at once, when 20 frames went by without. A list in guest memory may say anything:
 * a frame ends after 1024 steps, after the bytes that fit into one, or when a ring of queues was gone through without progress.
 * Left out: data toggles are not compared, and errors are not tried three times: what fails here fails again. */
#include "dev/usb/uhci.h"

#include "base/bytes.h"
#include "base/log.h"
#include "host/clock.h"
#include "mem/dma.h"

#include <glib.h>

#define FRAME_NS    1000000ll
#define FRAME_BYTES 1280
#define OVERHEAD    16 /* bytes' time of a transaction's tokens */
#define MOST_STEPS  1024
#define MOST_LATE   32 /* frames; more are lost */
#define QUIET       20
#define SLOW        16

enum { LINK_END = 1, LINK_QH = 2, LINK_DEPTH = 4 };
enum { /* TD control and status, 3.2.2 */
    TD_CRC = 1 << 18,
    TD_NAK = 1 << 19,
    TD_BABBLE = 1 << 20,
    TD_BUFFER = 1 << 21,
    TD_STALLED = 1 << 22,
    TD_ACTIVE = 1 << 23,
    TD_IOC = 1 << 24,
    TD_SHORT = 1 << 29,
    TD_LENGTH = 0x7ff,
};

struct td {
    uint32_t link, control, token, buffer;
};

struct walk {
    struct uhci *u;
    int left;          /* bytes of this frame */
    uint32_t ring;     /* the first queue since the last progress; 0: none */
    bool progress, failed;
};

static bool load(struct walk *w, uint32_t at, void *to, unsigned words)
{
    uint32_t *v = to;

    if (viv_dma_read(w->u->pci.dev.board->mem, at, to, 4 * words) < 0) {
        w->failed = true;
        return false;
    }
    for (unsigned i = 0; i < words; i++)
        v[i] = le32toh(v[i]);
    return true;
}

static void store(struct walk *w, uint32_t at, uint32_t v)
{
    v = htole32(v);
    if (viv_dma_write(w->u->pci.dev.board->mem, at, &v, 4) < 0)
        w->failed = true;
}

/* ---- one transfer descriptor ---- */

static unsigned length_of(uint32_t token)
{
    return ((token >> 21) + 1) & TD_LENGTH;
}

static struct viv_usb_dev *find(struct uhci *u, unsigned address)
{
    struct viv_usb_dev *d = NULL;

    for (unsigned i = 0; i < UHCI_PORTS && !d; i++)
        d = viv_usb_find(&u->ports[i].port, address);
    return d;
}

/* The result as status bits; 0: done, TD_NAK: again. */
static uint32_t transact(struct walk *w, const struct td *t, unsigned *actual)
{
    struct viv_usb_piece piece = {t->buffer, length_of(t->token)};
    struct viv_usb_packet k = {.pid = (enum viv_usb_pid)(t->token & 0xff), .endpoint = t->token >> 15 & 15, .pieces = &piece, .count = 1,
                               .length = piece.len};
    struct viv_usb_dev *d = find(w->u, t->token >> 8 & 127);

    *actual = 0;
    if (piece.len > 1280 || (k.pid != VIV_USB_IN && k.pid != VIV_USB_OUT && k.pid != VIV_USB_SETUP)) {
        uhci_halt(w->u, UHCI_STS_PROCESS_ERROR);
        return TD_STALLED;
    }
    if (!d)
        return TD_CRC | TD_STALLED;
    viv_usb_handle(d, &k);
    *actual = (unsigned)k.actual;
    switch (k.status) {
    case VIV_USB_OK:
        return 0;
    case VIV_USB_NAK: /* with bytes: more than one transaction of a small endpoint, which a TD is not */
        return k.actual ? 0 : TD_NAK;
    case VIV_USB_STALL:
        return TD_STALLED;
    case VIV_USB_BABBLE:
        return TD_BABBLE | TD_STALLED;
    default:
        return TD_CRC | TD_STALLED;
    }
}

/* Returns whether the queue goes on to the next descriptor. */
static bool run_td(struct walk *w, uint32_t at, struct td *t)
{
    struct uhci *u = w->u;
    unsigned actual;
    uint32_t r;
    bool cut;

    if (!(t->control & TD_ACTIVE)) { /* 3.2.2: IOC counts all the same */
        u->why |= t->control & TD_IOC ? UHCI_WHY_IOC : 0;
        return false;
    }
    w->left -= (int)length_of(t->token) + OVERHEAD;
    r = transact(w, t, &actual);
    if (r == TD_NAK) {
        if (!(t->control & TD_NAK))
            store(w, at + 4, t->control | TD_NAK);
        return false;
    }
    w->progress = true;
    w->ring = 0;
    t->control = (t->control & ~(uint32_t)(TD_ACTIVE | TD_NAK | TD_LENGTH)) | ((actual - 1) & TD_LENGTH) | r;
    store(w, at + 4, t->control);
    if (r)
        u->sts |= UHCI_STS_ERROR;
    u->why |= t->control & TD_IOC ? UHCI_WHY_IOC : 0;
    cut = !r && (t->token & 0xff) == VIV_USB_IN && actual < length_of(t->token) && t->control & TD_SHORT;
    if (cut)
        u->why |= UHCI_WHY_SHORT; /* 3.2.2 SPD: the queue stands still */
    return !r && !cut;
}

/* ---- one frame ---- */

/* The queue at `at`: carries out its first descriptor, or more as long as they say "depth first". Returns the next link. */
static uint32_t run_queue(struct walk *w, uint32_t at, int *steps)
{
    uint32_t q[2], el;
    struct td t;

    if (!load(w, at, q, 2))
        return LINK_END;
    if (!w->ring)
        w->ring = at | 1;
    for (el = q[1]; !(el & LINK_END) && w->left > 0; el = q[1]) {
        if (el & LINK_QH)
            return el; /* a queue below a queue */
        if (--*steps < 0 || !load(w, el & ~15u, &t, 4))
            return LINK_END;
        if (!run_td(w, el & ~15u, &t) || w->failed)
            break;
        q[1] = t.link;
        store(w, at + 4, t.link);
        if (!(t.link & LINK_DEPTH))
            break;
    }
    return q[0];
}

static void run_frame(struct walk *w, uint32_t link)
{
    int steps = MOST_STEPS;
    struct td t;

    w->left = FRAME_BYTES;
    w->ring = 0;
    while (!(link & LINK_END) && w->left > 0 && --steps >= 0 && !w->failed) {
        uint32_t at = link & ~15u;

        if (link & LINK_QH) {
            if (w->ring == (at | 1))
                return; /* all the way round */
            link = run_queue(w, at, &steps);
        } else if (load(w, at, &t, 4)) {
            run_td(w, at, &t);
            link = t.link;
        }
    }
}

/* Interrupts come at the end of the frame (3.4.2). */
static void end_frame(struct uhci *u)
{
    if (u->why)
        u->sts |= UHCI_STS_INT;
    uhci_update_irq(u);
}

/* ---- time ---- */

static uint64_t elapsed(const struct uhci *u)
{
    return (uint64_t)MAX(viv_clock_ns(VIV_CLOCK_GUEST) - u->began, 0) / FRAME_NS;
}

uint16_t uhci_frame_now(const struct uhci *u)
{
    return (uint16_t)((u->frame + (uhci_running(u) ? elapsed(u) : 0)) & 0x7ff);
}

static void set_timer(struct uhci *u)
{
    uint64_t step = u->quiet < QUIET ? 1 : SLOW;

    viv_timer_set(u->timer, u->began + (int64_t)(u->done + step) * FRAME_NS);
}

void uhci_start(struct uhci *u)
{
    u->began = viv_clock_ns(VIV_CLOCK_GUEST);
    u->done = 0;
    u->quiet = 0;
    set_timer(u);
}

void uhci_stop(struct uhci *u)
{
    viv_timer_cancel(u->timer);
}

void uhci_soon(struct uhci *u)
{
    if (!uhci_running(u))
        return;
    u->quiet = 0;
    viv_timer_set(u->timer, u->began + (int64_t)(elapsed(u) + 1) * FRAME_NS);
}

static bool seen(const uint32_t *heads, unsigned n, uint32_t head)
{
    for (unsigned i = 0; i < n; i++) {
        if (heads[i] == head)
            return true;
    }
    return false;
}

void uhci_timer(void *opaque)
{
    struct uhci *u = opaque;
    uint64_t now = elapsed(u);
    uint32_t heads[MOST_LATE];
    unsigned count = 0;

    if (now - u->done > MOST_LATE)
        u->done = now - MOST_LATE;
    while (u->done < now && uhci_running(u) && viv_pci_bus_master(&u->pci)) {
        struct walk w = {.u = u};
        uint32_t head;

        u->done++;
        if (!load(&w, u->list + 4 * ((u->frame + (uint32_t)u->done) & 1023), &head, 1)) {
            uhci_halt(u, UHCI_STS_SYSTEM_ERROR);
            return;
        }
        /* Frames that went by in silence are looked at once if they are alike. */
        if (u->quiet >= QUIET && seen(heads, count, head))
            continue;
        heads[count++ % MOST_LATE] = head;
        run_frame(&w, head);
        u->quiet = w.progress ? 0 : MIN(u->quiet + 1, 1000000);
        if (w.failed)
            uhci_halt(u, UHCI_STS_SYSTEM_ERROR);
        end_frame(u);
    }
    u->done = MAX(u->done, now);
    if (uhci_running(u))
        set_timer(u);
}
