/* qemu-xhci, nec-usb-xhci: an xHCI 1.0 host controller (xHCI 1.1, ch. 5): registers, and what is done when a doorbell rings.
 *
 * There is no timer: doorbells and devices that wake up say what to look at. While the VM is stopped nothing is done: guest memory stays
 * as it is, and what has been asked for waits. Left out: streams, scratchpads and virtual functions,
 * interrupt moderation (IMODI is kept), saving and restoring its own state (CRS ends with an error, after which drivers reset),
 * debug port, bandwidth figures. */
#include "dev/usb/xhci.h"

#include "host/clock.h"

#include <errno.h>
#include <glib.h>

enum { OPER = 0x40, PORTS = 0x440, RUNTIME = 0x1000, DOORBELLS = 0x2000, SIZE = 0x4000 };
enum { CMD_RUN = 1, CMD_RESET = 2, CMD_INTE = 4, CMD_SAVE = 1 << 8, CMD_RESTORE = 1 << 9, CMD_KEPT = 0xc0d };
enum { STS_HALTED = 1, STS_SYSTEM_ERROR = 4, STS_EINT = 8, STS_PORT_CHANGE = 16, STS_RESTORE_ERROR = 1 << 10, STS_ERROR = 1 << 12 };
#define BUDGET 512 /* transfers and commands in one go */

struct xhci_model {
    struct viv_pci_ids ids;
};

bool xhci_running(const struct xhci *x)
{
    return x->cmd & CMD_RUN && !(x->sts & (STS_ERROR | STS_SYSTEM_ERROR)) && viv_pci_bus_master(&x->pci);
}

void xhci_dead(struct xhci *x)
{
    x->sts |= STS_SYSTEM_ERROR;
    x->cmd &= ~(uint32_t)CMD_RUN;
}

/* ---- work ---- */

static void endpoints(struct xhci *x, unsigned slot, int *budget)
{
    struct xhci_slot *s = &x->slot[slot - 1];

    while (s->pending && xhci_running(x) && *budget > 0) {
        unsigned dci = (unsigned)__builtin_ctz(s->pending);
        bool more = true;

        s->pending &= s->pending - 1;
        while (more && xhci_running(x) && *budget > 0) {
            if (xhci_events_crowded(x)) {
                s->pending |= 1u << dci;
                return;
            }
            more = xhci_transfer(x, slot, dci);
            --*budget;
        }
        if (more)
            s->pending |= 1u << dci;
    }
}

static bool any_pending(const struct xhci *x)
{
    for (unsigned i = 0; i < x->slots; i++) {
        if (x->slot[i].pending)
            return true;
    }
    return false;
}

/* Devices may wake endpoints while it is at work. */
void xhci_work(struct xhci *x)
{
    int budget = BUDGET;

    if (x->busy || !x->vm_runs)
        return;
    x->busy = true;
    while (x->command_running && xhci_running(x) && !xhci_events_crowded(x) && budget > 0 && xhci_command(x))
        budget--;
    while (xhci_running(x) && budget > 0 && !xhci_events_crowded(x) && any_pending(x)) {
        for (unsigned slot = 1; slot <= x->slots && budget > 0; slot++)
            endpoints(x, slot, &budget);
    }
    x->busy = false;
    if (budget <= 0) /* others first */
        viv_timer_set(x->timer, viv_clock_ns(VIV_CLOCK_GUEST) + 100000);
}

void xhci_look_again(struct xhci *x)
{
    for (unsigned i = 0; i < x->slots; i++) {
        for (unsigned dci = 1; dci < XHCI_DCIS; dci++)
            x->slot[i].pending |= (x->slot[i].ep[dci].state == EP_RUNNING ? 1u : 0) << dci;
    }
    xhci_work(x);
}

static void later(void *opaque)
{
    xhci_work(opaque);
}

static void wakeup(struct viv_dev *controller, struct viv_usb_dev *d, unsigned endpoint)
{
    struct xhci *x = (struct xhci *)controller;
    unsigned dci = endpoint & 15 ? (endpoint & 15) * 2 + (endpoint >> 7 & 1) : 1;

    for (unsigned i = 0; i < x->slots; i++) {
        struct xhci_slot *s = &x->slot[i];

        if (s->enabled && s->ep[dci].state == EP_RUNNING && xhci_dev(x, s->port, s->route) == d)
            s->pending |= 1u << dci;
    }
    xhci_work(x);
}

/* 4.7: a stopped endpoint runs again. */
static void doorbell(struct xhci *x, unsigned slot, unsigned dci)
{
    struct xhci_slot *s;

    if (!xhci_running(x) || slot > x->slots)
        return;
    if (!slot) {
        x->command_running = true;
    } else {
        s = &x->slot[slot - 1];
        if (!s->enabled || !dci || dci >= XHCI_DCIS || (s->ep[dci].state != EP_RUNNING && s->ep[dci].state != EP_STOPPED))
            return;
        if (s->ep[dci].state == EP_STOPPED) {
            s->ep[dci].state = EP_RUNNING;
            xhci_put_ep(x, s, dci);
        }
        s->pending |= 1u << dci;
    }
    xhci_work(x);
}

/* ---- registers ---- */

static void reset_registers(struct xhci *x)
{
    viv_timer_cancel(x->timer);
    x->cmd = x->sts = x->dnctrl = x->config = 0;
    x->dcbaap = 0;
    x->command = (struct xhci_ring){0};
    x->command_running = false;
    for (unsigned i = 0; i < XHCI_SLOTS; i++)
        x->slot[i] = (struct xhci_slot){0};
    for (unsigned i = 0; i < XHCI_INTRS; i++)
        xhci_intr_reset(&x->intr[i]);
    xhci_ports_reset(x);
    xhci_update_irq(x);
}

/* 5.3, and 7.2: which ports speak which protocol. */
static uint32_t capability(const struct xhci *x, uint64_t off)
{
    switch (off) {
    case 0x00:
        return 0x0100u << 16 | OPER;
    case 0x04:
        return x->slots | x->intrs << 8 | (x->p2 + x->p3) << 24;
    case 0x10: /* 64-bit addresses; extended capabilities */
        return 1 | (0x20u / 4) << 16;
    case 0x14:
        return DOORBELLS;
    case 0x18:
        return RUNTIME;
    case 0x20:
        return 0x02000000 | (x->p3 ? (0x10 / 4) << 8 : 0) | 2;
    case 0x24:
    case 0x34:
        return 0x20425355; /* "USB " */
    case 0x28:
        return x->p2 << 8 | 1;
    case 0x30:
        return x->p3 ? 0x03000000 | 2 : 0;
    case 0x38:
        return x->p3 << 8 | (x->p2 + 1);
    }
    return 0;
}

static uint32_t oper_read(const struct xhci *x, uint64_t off)
{
    switch (off) {
    case 0x00:
        return x->cmd;
    case 0x04:
        return x->sts | (x->cmd & CMD_RUN ? 0 : STS_HALTED);
    case 0x08:
        return 1; /* pages of 4 KiB */
    case 0x14:
        return x->dnctrl;
    case 0x18:
        return x->command_running ? 8 : 0;
    case 0x30:
        return (uint32_t)x->dcbaap;
    case 0x34:
        return (uint32_t)(x->dcbaap >> 32);
    case 0x38:
        return x->config;
    }
    return 0;
}

static void command_write(struct xhci *x, uint32_t v)
{
    bool start = v & CMD_RUN && !(x->cmd & CMD_RUN);

    if (v & CMD_RESET) {
        reset_registers(x);
        return;
    }
    if (v & CMD_RESTORE)
        x->sts |= STS_RESTORE_ERROR;
    if (!(v & CMD_RUN))
        x->command_running = false;
    x->cmd = v & CMD_KEPT;
    if (start) {
        xhci_ports_announce(x);
        xhci_work(x);
    }
    xhci_update_irq(x);
}

/* 5.4.5: stop and abort are the same here, where no command is ever under way. */
static void ring_write(struct xhci *x, uint32_t v)
{
    if (!x->command_running) {
        x->command.at = (x->command.at & ~0xffffffffull) | (v & ~63u);
        x->command.cycle = v & 1;
    } else if (v & 6) {
        x->command_running = false;
        xhci_event(x, 0, x->command.at, (uint32_t)CC_RING_STOPPED << 24, TRB_COMMAND_EVENT << 10, false);
    }
}

static void oper_write(struct xhci *x, uint64_t off, uint32_t v)
{
    switch (off) {
    case 0x00:
        command_write(x, v);
        break;
    case 0x04:
        x->sts &= ~(v & (STS_SYSTEM_ERROR | STS_EINT | STS_PORT_CHANGE | STS_RESTORE_ERROR));
        break;
    case 0x14:
        x->dnctrl = v & 0xffff;
        break;
    case 0x18:
        ring_write(x, v);
        break;
    case 0x1c:
        if (!x->command_running)
            x->command.at = (uint32_t)x->command.at | (uint64_t)v << 32;
        break;
    case 0x30:
        x->dcbaap = (x->dcbaap & ~0xffffffffull) | (v & ~63u);
        break;
    case 0x34:
        x->dcbaap = (uint32_t)x->dcbaap | (uint64_t)v << 32;
        break;
    case 0x38:
        x->config = v & 0x3ff;
        break;
    }
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    struct xhci *x = opaque;
    uint64_t port = (off - PORTS) / 16, intr = (off - RUNTIME - 0x20) / 32;

    if (off < OPER)
        return capability(x, off);
    if (off < PORTS)
        return oper_read(x, off - OPER);
    if (off < RUNTIME)
        return port < x->p2 + x->p3 && !(off & 15) ? x->sc[port] : 0;
    if (off == RUNTIME) /* MFINDEX: 125 us */
        return (uint64_t)viv_clock_ns(VIV_CLOCK_GUEST) / 125000 & 0x3fff;
    if (off >= RUNTIME + 0x20 && off < DOORBELLS && intr < x->intrs)
        return xhci_intr_read(x, (unsigned)intr, off & 31);
    return 0;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct xhci *x = opaque;
    uint64_t port = (off - PORTS) / 16, intr = (off - RUNTIME - 0x20) / 32;
    uint32_t v = (uint32_t)value;

    if (off >= DOORBELLS) {
        if (off < DOORBELLS + 4 * (XHCI_SLOTS + 1))
            doorbell(x, (unsigned)(off - DOORBELLS) / 4, v & 0xff);
    } else if (off >= RUNTIME + 0x20) {
        if (intr < x->intrs)
            xhci_intr_write(x, (unsigned)intr, off & 31, v);
    } else if (off >= PORTS && off < RUNTIME) {
        if (port < x->p2 + x->p3 && !(off & 15))
            xhci_port_write(x, (unsigned)port, v);
    } else if (off >= OPER && off < PORTS) {
        oper_write(x, off - OPER, v);
    }
}

/* ---- class ---- */

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    xhci_update_irq((struct xhci *)d);
}

static void add_ports(struct xhci *x)
{
    unsigned n = MAX(x->p2, x->p3);

    for (unsigned i = 0; i < n; i++) {
        unsigned speeds = i < x->p2 ? 1 << VIV_USB_LOW | 1 << VIV_USB_FULL | 1 << VIV_USB_HIGH : 0;

        x->port[i] = (struct viv_usb_port){
            .ops = &xhci_port_ops, .opaque = x, .number = i + 1, .speeds = speeds | (i < x->p3 ? 1 << VIV_USB_SUPER : 0)};
        viv_usb_bus_add_port(x->bus, &x->port[i], NULL);
    }
}

static int init_pci(struct xhci *x, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {mmio_read, mmio_write, 4, 4, false, false};
    const struct xhci_model *m = x->pci.dev.cls->data;
    struct viv_region_desc desc = {.name = "xhci", .kind = VIV_REGION_IO, .size = SIZE, .ops = &ops, .opaque = x};
    int rc = viv_pci_dev_init(&x->pci, &m->ids, opts, err);

    if (rc < 0)
        return rc;
    x->pci.config[0x3d] = 1;
    x->pci.config[0x60] = 0x30; /* SBRN */
    x->pci.cap_end = 0x70;
    x->pci.config_written = config_written;
    viv_pci_add_bar(&x->pci, 0, viv_region_new(x->pci.dev.board->mem, &desc), SIZE, false, true, false);
    rc = viv_msix_init(&x->pci, x->intrs, 2, err);
    if (!rc && viv_pci_bus_kind(x->pci.bus) == VIV_PCIE_LINK)
        rc = viv_pcie_init(&x->pci, VIV_PCIE_ENDPOINT, 0, err);
    if (rc < 0)
        viv_pci_dev_fini(&x->pci);
    return rc;
}

static int xhci_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_usb_bus_ops bus_ops = {.wakeup = wakeup};
    struct xhci *x = (struct xhci *)d;
    int rc;

    x->p2 = (unsigned)viv_opts_int(opts, "p2");
    x->p3 = (unsigned)viv_opts_int(opts, "p3");
    x->slots = (unsigned)viv_opts_int(opts, "slots");
    x->intrs = (unsigned)viv_opts_int(opts, "intrs");
    rc = init_pci(x, opts, err);
    if (rc < 0)
        return rc;
    x->td = g_new0(struct xhci_trb, XHCI_TD);
    x->pieces = g_new0(struct viv_usb_piece, XHCI_TD);
    x->timer = viv_timer_new(VIV_CLOCK_GUEST, later, x);
    x->bus = viv_usb_bus_new(d, &bus_ops);
    add_ports(x);
    return 0;
}

static void xhci_unrealize(struct viv_dev *d)
{
    struct xhci *x = (struct xhci *)d;

    viv_usb_bus_free(x->bus);
    viv_timer_free(x->timer);
    g_free(x->td);
    g_free(x->pieces);
    viv_pci_dev_fini(&x->pci);
}

static void xhci_vm_running(struct viv_dev *d, bool running)
{
    struct xhci *x = (struct xhci *)d;

    x->vm_runs = running;
    if (!running)
        return;
    if (xhci_running(x))
        xhci_ports_announce(x);
    xhci_work(x);
}

static void xhci_reset(struct viv_dev *d)
{
    struct xhci *x = (struct xhci *)d;

    viv_pci_dev_reset(&x->pci);
    reset_registers(x);
}

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    {.name = "p2", .type = VIV_OPT_INT, .def = "4", .min = 1, .max = XHCI_PORTS, .help = "USB 2 ports"},
    {.name = "p3", .type = VIV_OPT_INT, .def = "4", .min = 0, .max = XHCI_PORTS, .help = "USB 3 ports"},
    {.name = "slots", .type = VIV_OPT_INT, .def = "64", .min = 1, .max = XHCI_SLOTS, .help = "most devices"},
    {.name = "intrs", .type = VIV_OPT_INT, .def = "16", .min = 1, .max = XHCI_INTRS, .help = "interrupters"},
    VIV_OPT_END,
};


#define XHCI(symbol, text, ...)                                                                                  \
    static const struct xhci_model symbol##_model = __VA_ARGS__;                                                 \
    const struct viv_dev_class viv_dev_##symbol = {                                                              \
        .name = text,                                                                                            \
        .desc = "USB 3 controller (xHCI)",                                                                       \
        .bus = VIV_BUS_PCI,                                                                                      \
        .size = sizeof(struct xhci),                                                                             \
        .props = props,                                                                                          \
        .state = &xhci_state,                                                                                    \
        .realize = xhci_realize,                                                                                 \
        .reset = xhci_reset,                                                                                     \
        .vm_running = xhci_vm_running,                                                                           \
        .unrealize = xhci_unrealize,                                                                             \
        .hotplug = &viv_pci_hotplug,                                                                             \
        .data = &symbol##_model,                                                                                 \
    }
XHCI(qemu_xhci, "qemu-xhci", {{0x1b36, 0x000d, 1, 0x0c0330, 0x1af4, 0x1100}});
XHCI(nec_usb_xhci, "nec-usb-xhci", {{0x1033, 0x0194, 3, 0x0c0330, 0x1af4, 0x1100}});
