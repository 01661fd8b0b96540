/* xHCI from inside: registers (xhci.c), ports, rings, commands, transfers. (xHCI 1.1; section numbers are its.) */
#ifndef VIV_DEV_USB_XHCI_H
#define VIV_DEV_USB_XHCI_H

#include "bus/pci.h"
#include "bus/usb.h"

#define XHCI_PORTS 15 /* most of each kind */
#define XHCI_SLOTS 64
#define XHCI_INTRS 16
#define XHCI_DCIS  32 /* endpoint contexts: 1 to 31 */
#define XHCI_TD    1024 /* TRBs of one transfer */

enum { /* 6.4.6 */
    TRB_NORMAL = 1, TRB_SETUP, TRB_DATA, TRB_STATUS, TRB_ISOCH, TRB_LINK, TRB_EVENT_DATA, TRB_NOOP,
    TRB_ENABLE_SLOT, TRB_DISABLE_SLOT, TRB_ADDRESS_DEVICE, TRB_CONFIGURE, TRB_EVALUATE, TRB_RESET_ENDPOINT, TRB_STOP_ENDPOINT,
    TRB_SET_DEQUEUE, TRB_RESET_DEVICE, TRB_COMMAND_NOOP = 23,
    TRB_TRANSFER_EVENT = 32, TRB_COMMAND_EVENT, TRB_PORT_EVENT, TRB_HOST_EVENT = 37,
};
enum { /* bits of a TRB's last word */
    TRB_CYCLE = 1 << 0, TRB_TOGGLE = 1 << 1, TRB_SHORT = 1 << 2, TRB_CHAIN = 1 << 4, TRB_IOC = 1 << 5, TRB_IMMEDIATE = 1 << 6,
    TRB_QUIET = 1 << 9, /* no interrupt for the event */
    TRB_COMMAND_BIT = 1 << 9, TRB_IN = 1 << 16,
};
enum { /* completion codes, 6.4.5 */
    CC_SUCCESS = 1, CC_BABBLE = 3, CC_TRANSACTION = 4, CC_TRB = 5, CC_STALL = 6, CC_NO_SLOTS = 9, CC_SLOT_OFF = 11, CC_SHORT = 13,
    CC_PARAMETER = 17, CC_CONTEXT_STATE = 19, CC_RING_FULL = 21, CC_RING_STOPPED = 24, CC_STOPPED = 26,
};
enum { EP_DISABLED, EP_RUNNING, EP_HALTED, EP_STOPPED, EP_ERROR };
enum { SLOT_ENABLED, SLOT_DEFAULT, SLOT_ADDRESSED, SLOT_CONFIGURED };

struct xhci_trb {
    uint64_t at; /* where it lies */
    uint64_t param;
    uint32_t status, control;
};

struct xhci_ring { /* whose TRBs we take */
    uint64_t at;
    bool cycle;
};

struct xhci_ep {
    uint8_t state;
    struct xhci_ring ring;
    uint32_t done; /* bytes of the first transfer that have been moved */
};

struct xhci_slot {
    bool enabled;
    uint8_t state;
    uint8_t port;     /* of the controller, from 1 */
    uint32_t route;
    uint64_t context; /* the device context in guest memory */
    uint32_t pending; /* endpoints that are to be looked at */
    struct xhci_ep ep[XHCI_DCIS];
};

struct xhci_intr {
    uint32_t iman, imod, erstsz;
    uint64_t erstba, erdp;
    uint64_t segment; /* of the event ring */
    uint32_t size, enqueue;
    bool cycle, full;
};

struct xhci {
    struct viv_pci_dev pci;
    struct viv_usb_bus *bus;
    struct viv_timer *timer; /* work is left for later */
    struct xhci_trb *td;     /* the transfer that is carried out */
    struct viv_usb_piece *pieces;
    unsigned p2, p3, slots, intrs;
    struct viv_usb_port port[XHCI_PORTS];
    uint32_t sc[2 * XHCI_PORTS]; /* PORTSC, those of USB 2 first */
    uint32_t cmd, sts, dnctrl, config;
    uint64_t dcbaap;
    struct xhci_ring command;
    bool command_running;
    bool busy; /* in xhci_work() */
    bool vm_runs;
    struct xhci_slot slot[XHCI_SLOTS]; /* number 1 is the first */
    struct xhci_intr intr[XHCI_INTRS];
};

extern const struct viv_state_table xhci_state; /* xhci_state.c */

static inline struct viv_space *xhci_mem(const struct xhci *x)
{
    return x->pci.dev.board->mem;
}
bool xhci_running(const struct xhci *x);
/* Does all there is to do on rings, or so much of it that others have their turn. */
void xhci_work(struct xhci *x);
void xhci_look_again(struct xhci *x); /* at every endpoint: a link is back */
void xhci_dead(struct xhci *x); /* host controller error: its structures are not in memory */

/* ---- xhci_ring.c ---- */
void xhci_update_irq(struct xhci *x);
void xhci_event(struct xhci *x, unsigned intr, uint64_t param, uint32_t status, uint32_t control, bool quiet);
bool xhci_events_crowded(struct xhci *x); /* an event ring is nearly full: work goes on when software has caught up */
void xhci_intr_reset(struct xhci_intr *i);
uint32_t xhci_intr_read(struct xhci *x, unsigned n, unsigned reg);
void xhci_intr_write(struct xhci *x, unsigned n, unsigned reg, uint32_t v);
/* The next TRB, links followed; 0: there is none yet, -1: not in memory, or nothing but links. */
int xhci_fetch(struct xhci *x, struct xhci_ring *r, struct xhci_trb *t);
static inline unsigned xhci_type(const struct xhci_trb *t)
{
    return t->control >> 10 & 63;
}

/* ---- xhci_port.c ---- */
void xhci_ports_reset(struct xhci *x);
void xhci_ports_announce(struct xhci *x); /* changes that came while it, or the VM, did not run */
void xhci_port_write(struct xhci *x, unsigned n, uint32_t v);
void xhci_port_update(struct xhci *x, struct viv_usb_port *p);
/* The device behind a root port (from 1) and a route; NULL: none. */
struct viv_usb_dev *xhci_dev(struct xhci *x, unsigned port, uint32_t route);
extern const struct viv_usb_port_ops xhci_port_ops;

/* ---- xhci_command.c ---- */
/* Returns whether there was one. */
bool xhci_command(struct xhci *x);
void xhci_put_ep(struct xhci *x, struct xhci_slot *s, unsigned dci); /* state and dequeue pointer to the context */

/* ---- xhci_transfer.c ---- */
/* One transfer of the endpoint. Returns whether it may go on with the next. */
bool xhci_transfer(struct xhci *x, unsigned slot, unsigned dci);
void xhci_stopped_event(struct xhci *x, unsigned slot, unsigned dci);

#endif
