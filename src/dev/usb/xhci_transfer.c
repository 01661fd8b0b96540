/* xHCI transfers: a TD is gathered from its ring, handed to the device as one packet, and told of by events (xHCI 4.10, 4.11).
 *
 * A device that says NAK leaves the TD where it is, with the bytes moved so far counted, until it wakes the endpoint.
 * Left out: streams, isochronous timing (TDs are carried out at once), events of Link TRBs. */
#include "dev/usb/xhci.h"

#include <glib.h>

static uint32_t length_of(const struct xhci_trb *t)
{
    unsigned type = xhci_type(t);

    return type == TRB_NORMAL || type == TRB_SETUP || type == TRB_DATA || type == TRB_ISOCH ? t->status & 0x1ffff : 0;
}

/* How many TRBs; 0: not all are there yet; -1: what is there is no TD. r is behind it then. */
static int gather(struct xhci *x, struct xhci_ring *r)
{
    int n = 0;

    do {
        int rc = n < XHCI_TD ? xhci_fetch(x, r, &x->td[n]) : -1;

        if (rc <= 0)
            return rc;
        if (xhci_type(&x->td[n]) > TRB_NOOP || !xhci_type(&x->td[n]))
            return -1;
    } while (x->td[n++].control & TRB_CHAIN);
    return n;
}

/* The TD's memory behind the first `skip` bytes. */
static size_t pieces(struct xhci *x, int n, uint32_t skip, unsigned *count)
{
    size_t total = 0;

    *count = 0;
    for (int i = 0; i < n; i++) {
        const struct xhci_trb *t = &x->td[i];
        uint32_t len = length_of(t), off = MIN(skip, len);

        /* 6.4.1.1: up to 8 bytes may stand in the TRB itself. */
        if (t->control & TRB_IMMEDIATE && len > 8)
            len = off = 0;
        skip -= off;
        if (len > off)
            x->pieces[(*count)++] =
                (struct viv_usb_piece){(t->control & TRB_IMMEDIATE ? t->at : t->param) + off, len - off};
        total += len - off;
    }
    return total;
}

static void tell(struct xhci *x, unsigned slot, unsigned dci, const struct xhci_trb *t, uint32_t length, unsigned code, bool data)
{
    xhci_event(x, t->status >> 22, data ? t->param : t->at, (length & 0xffffff) | (uint32_t)code << 24,
               TRB_TRANSFER_EVENT << 10 | (data ? 4 : 0) | (uint32_t)dci << 16 | (uint32_t)slot << 24, t->control & TRB_QUIET);
}

/* 4.10.1, 4.10.1.1: events of a TD that ended with `code` after `left` bytes. */
static void report(struct xhci *x, unsigned slot, unsigned dci, int n, uint64_t left, unsigned code)
{
    bool bad = code != CC_SUCCESS && code != CC_SHORT, over = false, told = false;
    uint32_t sum = 0; /* EDTLA */

    for (int i = 0; i < n; i++) {
        const struct xhci_trb *t = &x->td[i];
        uint32_t len = length_of(t), got = (uint32_t)MIN(left, len);
        bool last = i == n - 1;

        if (xhci_type(t) == TRB_EVENT_DATA) {
            if (t->control & TRB_IOC)
                tell(x, slot, dci, t, sum, over ? CC_SHORT : bad ? code : CC_SUCCESS, true);
            sum = 0;
            continue;
        }
        left -= got;
        sum += got;
        if (bad && (got < len || last)) {
            tell(x, slot, dci, t, len - got, code, false);
            return;
        }
        if (code == CC_SHORT && got < len && !over) {
            over = true;
            told = t->control & (TRB_IOC | TRB_SHORT);
            if (told)
                tell(x, slot, dci, t, len - got, CC_SHORT, false);
        } else if (t->control & TRB_IOC && !(over && (told || !last))) {
            tell(x, slot, dci, t, len - got, over ? CC_SHORT : CC_SUCCESS, false);
        }
    }
}

static void halt(struct xhci *x, unsigned slot, unsigned dci, uint8_t state)
{
    struct xhci_slot *s = &x->slot[slot - 1];

    s->ep[dci].state = state;
    s->ep[dci].done = 0;
    xhci_put_ep(x, s, dci);
}

static enum viv_usb_pid pid_of(const struct xhci_trb *t, unsigned dci)
{
    if (dci != 1)
        return dci & 1 ? VIV_USB_IN : VIV_USB_OUT;
    if (xhci_type(t) == TRB_SETUP)
        return VIV_USB_SETUP;
    return t->control & TRB_IN ? VIV_USB_IN : VIV_USB_OUT;
}

/* Carries the TD out. False: again later. */
static bool perform(struct xhci *x, unsigned slot, unsigned dci, int n, uint64_t *moved, unsigned *code)
{
    static const uint8_t codes[] = {[VIV_USB_STALL] = CC_STALL, [VIV_USB_BABBLE] = CC_BABBLE, [VIV_USB_ERROR] = CC_TRANSACTION};
    struct xhci_slot *s = &x->slot[slot - 1];
    struct viv_usb_dev *d = xhci_dev(x, s->port, s->route);
    struct viv_usb_packet k = {.pid = pid_of(x->td, dci), .endpoint = dci / 2, .pieces = x->pieces};

    *moved = 0;
    *code = CC_SUCCESS;
    if (xhci_type(x->td) == TRB_NOOP || xhci_type(x->td) == TRB_EVENT_DATA)
        return true;
    if (d && d->port->suspended)
        return false;
    k.length = pieces(x, n, s->ep[dci].done, &k.count);
    if (d && viv_usb_reachable(d))
        viv_usb_handle(d, &k);
    else
        k.status = VIV_USB_ERROR;
    *moved = s->ep[dci].done + k.actual;
    if (k.status == VIV_USB_NAK) {
        s->ep[dci].done = (uint32_t)*moved;
        return false;
    }
    if (k.status != VIV_USB_OK)
        *code = codes[k.status];
    else if (k.actual < k.length)
        *code = CC_SHORT;
    return true;
}

bool xhci_transfer(struct xhci *x, unsigned slot, unsigned dci)
{
    struct xhci_ep *e = &x->slot[slot - 1].ep[dci];
    struct xhci_ring r = e->ring;
    uint64_t moved;
    unsigned code;
    int n;

    if (e->state != EP_RUNNING)
        return false;
    n = gather(x, &r);
    if (n < 0) {
        struct xhci_trb at = {.at = r.at};

        tell(x, slot, dci, &at, 0, CC_TRB, false);
        halt(x, slot, dci, EP_ERROR);
    }
    if (n <= 0 || !perform(x, slot, dci, n, &moved, &code))
        return false;
    if (code == CC_SUCCESS || code == CC_SHORT) {
        e->ring = r;
        e->done = 0;
        report(x, slot, dci, n, moved, code);
        return true;
    }
    halt(x, slot, dci, EP_HALTED);
    report(x, slot, dci, n, moved, code);
    return false;
}

/* 4.6.9: software is told how far the TD had come. */
void xhci_stopped_event(struct xhci *x, unsigned slot, unsigned dci)
{
    struct xhci_ep *e = &x->slot[slot - 1].ep[dci];
    struct xhci_ring r = e->ring;
    uint64_t left = e->done;
    int n = left ? gather(x, &r) : 0;

    for (int i = 0; i < n; i++) {
        uint32_t len = length_of(&x->td[i]);

        if (left < len || i == n - 1) {
            tell(x, slot, dci, &x->td[i], len - (uint32_t)MIN(left, len), CC_STOPPED, false);
            return;
        }
        left -= len;
    }
}
