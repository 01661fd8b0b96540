/* What of an xHCI is saved. Everything else lies in guest memory. */
#include "dev/usb/xhci.h"

#include <errno.h>

static const struct viv_state_table ring_state = {
    .name = "xhci-ring",
    .ctype = "xhci_ring",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(xhci_ring, at),
            VIV_F_INT(xhci_ring, cycle),
            VIV_F_END,
        },
};

static const struct viv_state_table ep_state = {
    .name = "xhci-ep",
    .ctype = "xhci_ep",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(xhci_ep, state),
            VIV_F_STRUCT(xhci_ep, ring, ring_state),
            VIV_F_INT(xhci_ep, done),
            VIV_F_END,
        },
};

static const struct viv_state_table slot_state = {
    .name = "xhci-slot",
    .ctype = "xhci_slot",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(xhci_slot, enabled),
            VIV_F_INT(xhci_slot, state),
            VIV_F_INT(xhci_slot, port),
            VIV_F_INT(xhci_slot, route),
            VIV_F_INT(xhci_slot, context),
            VIV_F_INT(xhci_slot, pending),
            VIV_F_STRUCTS(xhci_slot, ep, ep_state),
            VIV_F_END,
        },
};

static const struct viv_state_table intr_state = {
    .name = "xhci-intr",
    .ctype = "xhci_intr",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(xhci_intr, iman),
            VIV_F_INT(xhci_intr, imod),
            VIV_F_INT(xhci_intr, erstsz),
            VIV_F_INT(xhci_intr, erstba),
            VIV_F_INT(xhci_intr, erdp),
            VIV_F_INT(xhci_intr, segment),
            VIV_F_INT(xhci_intr, size),
            VIV_F_INT(xhci_intr, enqueue),
            VIV_F_INT(xhci_intr, cycle),
            VIV_F_INT(xhci_intr, full),
            VIV_F_END,
        },
};

static bool slot_ok(const struct xhci_slot *s)
{
    bool good = s->state <= SLOT_CONFIGURED && !(s->pending & 1);

    for (unsigned i = 0; i < XHCI_DCIS; i++)
        good = good && s->ep[i].state <= EP_ERROR && (i || s->ep[i].state == EP_DISABLED);
    return good;
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct xhci *x = obj;

    for (unsigned i = 0; i < XHCI_SLOTS; i++) {
        if (!slot_ok(&x->slot[i]) || (i >= x->slots && x->slot[i].pending))
            return viv_fail(err, EINVAL, "xHCI slot %u is in no state that there is", i + 1);
    }
    for (unsigned i = 0; i < XHCI_INTRS; i++) {
        const struct xhci_intr *n = &x->intr[i];

        if (n->size > 4096 || (n->size ? n->enqueue >= n->size : n->enqueue))
            return viv_fail(err, EINVAL, "xHCI event ring %u of %u entries is at entry %u", i, n->size, n->enqueue);
    }
    for (unsigned i = 0; i < XHCI_PORTS && x->port[i].bus; i++)
        xhci_port_update(x, &x->port[i]);
    return 0;
}

const struct viv_state_table xhci_state = {
    .name = "xhci",
    .ctype = "xhci",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(xhci, pci, viv_pci_dev_state),
            VIV_F_CONFIG(xhci, bus),
            VIV_F_TIMER(xhci, timer),
            VIV_F_DERIVED(xhci, td, "of the transfer under way, of which there is none"),
            VIV_F_DERIVED(xhci, pieces, "as td"),
            VIV_F_CONFIG(xhci, p2),
            VIV_F_CONFIG(xhci, p3),
            VIV_F_CONFIG(xhci, slots),
            VIV_F_CONFIG(xhci, intrs),
            VIV_F_CONFIG(xhci, port),
            VIV_F_INTS(xhci, sc),
            VIV_F_INT(xhci, cmd),
            VIV_F_INT(xhci, sts),
            VIV_F_INT(xhci, dnctrl),
            VIV_F_INT(xhci, config),
            VIV_F_INT(xhci, dcbaap),
            VIV_F_STRUCT(xhci, command, ring_state),
            VIV_F_INT(xhci, command_running),
            VIV_F_DERIVED(xhci, busy, "false: nothing is under way"),
            VIV_F_DERIVED(xhci, vm_runs, "told when the VM goes on"),
            VIV_F_STRUCTS(xhci, slot, slot_state),
            VIV_F_STRUCTS(xhci, intr, intr_state),
            VIV_F_END,
        },
    .post_load = post_load,
};
