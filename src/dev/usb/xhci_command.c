/* xHCI commands and device contexts (xHCI 4.6, 6.2). Contexts are 32 bytes. */
#include "dev/usb/xhci.h"

#include "base/bytes.h"
#include "mem/dma.h"

#include <string.h>

struct context {
    uint32_t w[8];
};

static bool get(struct xhci *x, uint64_t at, struct context *c)
{
    if (viv_dma_read(xhci_mem(x), at, c, sizeof(*c)) < 0)
        return false;
    for (unsigned i = 0; i < 8; i++)
        c->w[i] = le32toh(c->w[i]);
    return true;
}

static bool put(struct xhci *x, uint64_t at, const struct context *c)
{
    struct context le;

    for (unsigned i = 0; i < 8; i++)
        le.w[i] = htole32(c->w[i]);
    return viv_dma_write(xhci_mem(x), at, &le, sizeof(le)) >= 0;
}

void xhci_put_ep(struct xhci *x, struct xhci_slot *s, unsigned dci)
{
    const struct xhci_ep *e = &s->ep[dci];
    struct context c;

    if (!get(x, s->context + 32 * dci, &c))
        return;
    c.w[0] = (c.w[0] & ~7u) | e->state;
    c.w[2] = (uint32_t)e->ring.at | e->ring.cycle;
    c.w[3] = (uint32_t)(e->ring.at >> 32);
    put(x, s->context + 32 * dci, &c);
}

/* Writes the slot context's state and address; `from` gives its other words, NULL: as they are. */
static int put_slot(struct xhci *x, struct xhci_slot *s, const struct context *from, unsigned entries)
{
    struct context c;
    unsigned address = s->state >= SLOT_ADDRESSED ? (unsigned)(s - x->slot) + 1 : 0;

    if (from)
        c = *from;
    else if (!get(x, s->context, &c))
        return CC_PARAMETER;
    c.w[0] = (c.w[0] & ~(31u << 27)) | (uint32_t)entries << 27;
    c.w[3] = (uint32_t)s->state << 27 | address;
    return put(x, s->context, &c) ? CC_SUCCESS : CC_PARAMETER;
}

static void close_ep(struct xhci *x, struct xhci_slot *s, unsigned dci)
{
    if (s->ep[dci].state == EP_DISABLED)
        return;
    s->ep[dci] = (struct xhci_ep){.state = EP_DISABLED};
    s->pending &= ~(1u << dci);
    xhci_put_ep(x, s, dci);
}

static int open_ep(struct xhci *x, struct xhci_slot *s, unsigned dci, const struct context *in)
{
    struct context c = *in;

    s->ep[dci] = (struct xhci_ep){
        .state = EP_RUNNING, .ring = {(c.w[2] & ~15u) | (uint64_t)c.w[3] << 32, c.w[2] & 1}};
    c.w[0] = (c.w[0] & ~7u) | EP_RUNNING;
    return put(x, s->context + 32 * dci, &c) ? CC_SUCCESS : CC_PARAMETER;
}

/* ---- slots ---- */

static int enable_slot(struct xhci *x, unsigned *slot)
{
    for (*slot = 1; *slot <= (x->config & 0xff) && *slot <= x->slots; ++*slot) {
        struct xhci_slot *s = &x->slot[*slot - 1];

        if (s->enabled)
            continue;
        *s = (struct xhci_slot){.enabled = true, .state = SLOT_ENABLED};
        return CC_SUCCESS;
    }
    *slot = 0;
    return CC_NO_SLOTS;
}

static int disable_slot(struct xhci *x, struct xhci_slot *s)
{
    *s = (struct xhci_slot){.enabled = false};
    return CC_SUCCESS;
}

/* 4.6.5 */
static int address_device(struct xhci *x, struct xhci_slot *s, uint64_t input, bool block)
{
    struct context control, slot, ep0;
    struct viv_usb_dev *d;
    uint64_t entry;
    int code;

    if (s->state > SLOT_DEFAULT || (s->state == SLOT_DEFAULT && block))
        return CC_CONTEXT_STATE;
    if (!get(x, input, &control) || !get(x, input + 32, &slot) || !get(x, input + 64, &ep0) ||
        viv_dma_read(xhci_mem(x), x->dcbaap + 8 * (uint64_t)(s - x->slot + 1), &entry, 8) < 0)
        return CC_PARAMETER;
    if ((control.w[1] & 3) != 3)
        return CC_PARAMETER;
    s->context = le64toh(entry) & ~63ull;
    s->port = slot.w[1] >> 16 & 0xff;
    s->route = slot.w[0] & 0xfffff;
    d = xhci_dev(x, s->port, s->route);
    if (!d)
        return CC_TRANSACTION;
    s->state = block ? SLOT_DEFAULT : SLOT_ADDRESSED;
    d->address = block ? 0 : (uint8_t)(s - x->slot + 1);
    code = open_ep(x, s, 1, &ep0);
    return code == CC_SUCCESS ? put_slot(x, s, &slot, 1) : code;
}

static int deconfigure(struct xhci *x, struct xhci_slot *s)
{
    for (unsigned dci = 2; dci < XHCI_DCIS; dci++)
        close_ep(x, s, dci);
    s->state = SLOT_ADDRESSED;
    return put_slot(x, s, NULL, 1);
}

/* 4.6.6 */
static int configure(struct xhci *x, struct xhci_slot *s, uint64_t input, bool off)
{
    struct context control, slot, ep;
    int code = CC_SUCCESS;

    if (s->state < SLOT_ADDRESSED)
        return CC_CONTEXT_STATE;
    if (off)
        return deconfigure(x, s);
    if (!get(x, input, &control) || !get(x, input + 32, &slot) || control.w[0] & 3 || (control.w[1] & 3) != 1)
        return CC_PARAMETER;
    for (unsigned dci = 2; dci < XHCI_DCIS && code == CC_SUCCESS; dci++) {
        if (control.w[0] >> dci & 1)
            close_ep(x, s, dci);
        if (!(control.w[1] >> dci & 1))
            continue;
        code = get(x, input + 32 + 32 * dci, &ep) ? open_ep(x, s, dci, &ep) : CC_PARAMETER;
    }
    if (code == CC_SUCCESS) {
        s->state = SLOT_CONFIGURED;
        code = put_slot(x, s, NULL, slot.w[0] >> 27);
    }
    return code;
}

/* 4.6.7: what may change of slot and endpoint 0: exit latency and interrupter, packet size. */
static int evaluate(struct xhci *x, struct xhci_slot *s, uint64_t input)
{
    struct context control, in, out;

    if (s->state < SLOT_DEFAULT)
        return CC_CONTEXT_STATE;
    if (!get(x, input, &control))
        return CC_PARAMETER;
    if (control.w[1] & 1) {
        if (!get(x, input + 32, &in) || !get(x, s->context, &out))
            return CC_PARAMETER;
        out.w[1] = (out.w[1] & ~0xffffu) | (in.w[1] & 0xffff);
        out.w[2] = (out.w[2] & ~0xffc00000u) | (in.w[2] & 0xffc00000u);
        put(x, s->context, &out);
    }
    if (control.w[1] & 2) {
        if (!get(x, input + 64, &in) || !get(x, s->context + 32, &out))
            return CC_PARAMETER;
        out.w[1] = (out.w[1] & 0xffff) | (in.w[1] & 0xffff0000u);
        put(x, s->context + 32, &out);
    }
    return CC_SUCCESS;
}

/* 4.6.11 */
static int reset_device(struct xhci *x, struct xhci_slot *s)
{
    struct viv_usb_dev *d = xhci_dev(x, s->port, s->route);

    if (s->state < SLOT_ADDRESSED)
        return CC_CONTEXT_STATE;
    for (unsigned dci = 2; dci < XHCI_DCIS; dci++)
        close_ep(x, s, dci);
    s->state = SLOT_DEFAULT;
    if (d)
        d->address = 0;
    return put_slot(x, s, NULL, 1);
}

/* ---- endpoints ---- */

static int set_ep(struct xhci *x, struct xhci_slot *s, unsigned dci, uint8_t state)
{
    s->ep[dci].state = state;
    s->pending &= ~(1u << dci);
    xhci_put_ep(x, s, dci);
    return CC_SUCCESS;
}

static int stop_endpoint(struct xhci *x, struct xhci_slot *s, unsigned dci)
{
    if (s->ep[dci].state != EP_RUNNING)
        return CC_CONTEXT_STATE;
    xhci_stopped_event(x, (unsigned)(s - x->slot) + 1, dci);
    return set_ep(x, s, dci, EP_STOPPED);
}

static int reset_endpoint(struct xhci *x, struct xhci_slot *s, unsigned dci)
{
    return s->ep[dci].state == EP_HALTED ? set_ep(x, s, dci, EP_STOPPED) : CC_CONTEXT_STATE;
}

static int set_dequeue(struct xhci *x, struct xhci_slot *s, unsigned dci, uint64_t to)
{
    struct xhci_ep *e = &s->ep[dci];

    if (e->state != EP_STOPPED && e->state != EP_ERROR)
        return CC_CONTEXT_STATE;
    e->ring = (struct xhci_ring){to & ~15ull, to & 1};
    e->done = 0;
    return set_ep(x, s, dci, EP_STOPPED);
}

static int run(struct xhci *x, const struct xhci_trb *t, unsigned *slot)
{
    unsigned type = xhci_type(t), dci = t->control >> 16 & 31;
    bool bit = t->control & TRB_COMMAND_BIT;
    struct xhci_slot *s;

    if (type == TRB_COMMAND_NOOP)
        return CC_SUCCESS;
    if (type == TRB_ENABLE_SLOT)
        return enable_slot(x, slot);
    if (type < TRB_DISABLE_SLOT || type > TRB_RESET_DEVICE)
        return CC_TRB;
    *slot = t->control >> 24;
    if (!*slot || *slot > x->slots || !x->slot[*slot - 1].enabled)
        return CC_SLOT_OFF;
    s = &x->slot[*slot - 1];
    if (!dci && type >= TRB_RESET_ENDPOINT && type <= TRB_SET_DEQUEUE)
        return CC_TRB;
    switch (type) {
    case TRB_DISABLE_SLOT:
        return disable_slot(x, s);
    case TRB_ADDRESS_DEVICE:
        return address_device(x, s, t->param & ~15ull, bit);
    case TRB_CONFIGURE:
        return configure(x, s, t->param & ~15ull, bit);
    case TRB_EVALUATE:
        return evaluate(x, s, t->param & ~15ull);
    case TRB_RESET_ENDPOINT:
        return reset_endpoint(x, s, dci);
    case TRB_STOP_ENDPOINT:
        return stop_endpoint(x, s, dci);
    case TRB_SET_DEQUEUE:
        return set_dequeue(x, s, dci, t->param);
    default:
        return reset_device(x, s);
    }
}

bool xhci_command(struct xhci *x)
{
    struct xhci_trb t;
    unsigned slot = 0;
    int rc = xhci_fetch(x, &x->command, &t), code;

    if (rc < 0)
        xhci_dead(x);
    if (rc <= 0)
        return false;
    code = run(x, &t, &slot);
    xhci_event(x, 0, t.at, (uint32_t)code << 24, TRB_COMMAND_EVENT << 10 | (uint32_t)slot << 24, false);
    return true;
}
