/* usb-ehci, ich9-usb-ehci1: EHCI 1.0 host controllers: registers, six ports, companions.
 *
 * Devices that are not high speed belong to a companion (`ich9-usb-uhci1,masterbus=ehci.0,firstport=0`): the driver gives their port
 * away, and as long as it has not set the configure flag all ports are the companions'. Left out: isochronous and split transfers,
 * 64-bit addresses, frame lists of another segment, the debug port, legacy hand-over (there is no firmware in the chip). */
#include "dev/usb/ehci.h"

#include "host/clock.h"

#include <errno.h>
#include <string.h>

enum { OPER = 0x20, PORTS = OPER + 0x44, SIZE = 0x1000 };
enum { STS_HALTED = 1 << 12, STS_PERIODIC = 1 << 14, STS_ASYNC = 1 << 15, STS_CLEARED = 0x3f };
enum { /* 2.3.9: PORTSC */
    SC_CONNECTED = 1 << 0, SC_CONNECT_CHANGE = 1 << 1, SC_ENABLED = 1 << 2, SC_ENABLE_CHANGE = 1 << 3, SC_RESUME = 1 << 6,
    SC_SUSPEND = 1 << 7, SC_RESET = 1 << 8, SC_LINE_K = 1 << 10, SC_LINE_J = 1 << 11, SC_POWER = 1 << 12, SC_OWNER = 1 << 13,
    SC_WAKES = 7 << 20,
};

struct ehci_model {
    struct viv_pci_ids ids;
    uint8_t pin;
};

void ehci_update_irq(struct ehci *e)
{
    viv_pci_set_intx(&e->pci, (e->sts & e->intr & STS_CLEARED) != 0);
}

void ehci_halt(struct ehci *e)
{
    e->index = ehci_index(e);
    e->cmd &= ~(uint32_t)EHCI_CMD_RUN;
    e->sts |= EHCI_STS_SYSTEM;
    ehci_stop(e);
    ehci_update_irq(e);
}

struct viv_usb_dev *ehci_find(struct ehci *e, unsigned address)
{
    struct viv_usb_dev *d = NULL;

    for (unsigned i = 0; i < EHCI_PORTS && !d; i++)
        d = viv_usb_find(&e->port[i], address);
    return d;
}

/* ---- ports ---- */

static void update_port(struct ehci *e, unsigned n)
{
    e->port[n].enabled = e->sc[n] & SC_ENABLED;
    e->port[n].suspended = e->sc[n] & SC_SUSPEND;
}

static void changed(struct ehci *e, unsigned n)
{
    update_port(e, n);
    e->sts |= EHCI_STS_PORT;
    ehci_update_irq(e);
}

/* What a port with or without a device shows: a device of high speed looks like one of full speed until its reset (4.2.2). */
static uint32_t connected(const struct ehci *e, unsigned n)
{
    const struct viv_usb_dev *d = e->port[n].dev;

    return SC_POWER | (e->port[n].lent ? SC_OWNER : 0) |
           (d ? SC_CONNECTED | (d->speed == VIV_USB_LOW ? SC_LINE_K : SC_LINE_J) : 0);
}

static void plugged(struct viv_usb_port *p)
{
    struct ehci *e = p->opaque;
    unsigned n = p->number - 1;

    e->sc[n] = connected(e, n) | (e->sc[n] & (SC_WAKES | SC_ENABLE_CHANGE)) | SC_CONNECT_CHANGE;
    changed(e, n);
}

static void resume(struct viv_usb_port *p)
{
    struct ehci *e = p->opaque;
    unsigned n = p->number - 1;

    e->sc[n] |= SC_RESUME;
    changed(e, n);
}

static void wakeup(struct viv_dev *controller, struct viv_usb_dev *d, unsigned endpoint)
{
    if (viv_usb_reachable(d))
        ehci_soon((struct ehci *)controller);
}

/* 4.2: whose the port is. */
static void set_owner(struct ehci *e, unsigned n, bool lent)
{
    struct viv_usb_port *p = &e->port[n];

    if (!p->companion || p->lent == lent)
        return;
    p->lent = lent;
    e->sc[n] = (e->sc[n] & ~(uint32_t)SC_OWNER) | (lent ? SC_OWNER : 0);
    if (lent)
        viv_usb_port_hand_over(p, p->companion);
    else
        viv_usb_port_hand_over(p->companion, p);
}

static void port_write(struct ehci *e, unsigned n, uint32_t v)
{
    uint32_t sc = e->sc[n] & ~(v & (SC_CONNECT_CHANGE | SC_ENABLE_CHANGE)) & ~(uint32_t)SC_WAKES;
    bool high = e->port[n].dev && e->port[n].dev->speed == VIV_USB_HIGH;

    sc |= v & SC_WAKES;
    if (v & SC_RESET && !(sc & SC_RESET)) {
        viv_usb_port_reset(&e->port[n]);
        sc = (sc & ~(uint32_t)(SC_ENABLED | SC_SUSPEND | SC_RESUME)) | SC_RESET;
    } else if (!(v & SC_RESET) && sc & SC_RESET) {
        sc &= ~(uint32_t)(SC_RESET | SC_LINE_J | SC_LINE_K);
        sc |= high ? SC_ENABLED : e->port[n].dev ? connected(e, n) : 0;
    }
    if (!(v & SC_ENABLED) && !(sc & SC_RESET) && !(v & SC_RESET) && e->sc[n] & SC_ENABLED)
        sc &= ~(uint32_t)SC_ENABLED;
    if (v & SC_SUSPEND && sc & SC_ENABLED)
        sc |= SC_SUSPEND;
    if (v & SC_RESUME && sc & SC_SUSPEND)
        sc |= SC_RESUME;
    else if (!(v & SC_RESUME) && sc & SC_RESUME)
        sc &= ~(uint32_t)(SC_RESUME | SC_SUSPEND);
    e->sc[n] = sc;
    update_port(e, n);
    if (e->flag)
        set_owner(e, n, v & SC_OWNER);
    ehci_soon(e);
}

/* ---- registers ---- */

static void reset_registers(struct ehci *e)
{
    ehci_stop(e);
    e->cmd = 0x80000; /* interrupts at most once in 8 microframes */
    e->sts = e->intr = e->periodic = e->async = e->flag = 0;
    e->index = 0;
    e->began = 0;
    e->done = 0;
    e->quiet = 0;
    for (unsigned n = 0; n < EHCI_PORTS; n++) {
        set_owner(e, n, true);
        e->sc[n] = connected(e, n);
        e->sc[n] |= e->sc[n] & SC_CONNECTED ? SC_CONNECT_CHANGE : 0;
        update_port(e, n);
    }
    ehci_update_irq(e);
}

static uint32_t capability(const struct ehci *e, uint64_t off)
{
    unsigned lent = 0;

    for (unsigned n = 0; n < EHCI_PORTS; n++)
        lent += e->port[n].companion != NULL;
    switch (off) {
    case 0x00:
        return 0x0100u << 16 | OPER;
    case 0x04: /* two ports a companion */
        return EHCI_PORTS | (lent ? 2u << 8 | (lent + 1) / 2 << 12 : 0);
    case 0x08: /* the frame list's size can be set */
        return 2;
    }
    return 0;
}

static uint32_t oper_read(struct ehci *e, uint64_t off)
{
    bool run = e->cmd & EHCI_CMD_RUN;

    switch (off) {
    case 0x00:
        return e->cmd;
    case 0x04:
        return e->sts | (run ? 0 : STS_HALTED) | (run && e->cmd & EHCI_CMD_PERIODIC ? STS_PERIODIC : 0) |
               (run && e->cmd & EHCI_CMD_ASYNC ? STS_ASYNC : 0);
    case 0x08:
        return e->intr;
    case 0x0c:
        return ehci_index(e);
    case 0x14:
        return e->periodic;
    case 0x18:
        return e->async;
    case 0x40:
        return e->flag;
    }
    return 0;
}

static void command_write(struct ehci *e, uint32_t v)
{
    bool was = e->cmd & EHCI_CMD_RUN, run = v & EHCI_CMD_RUN;

    if (v & EHCI_CMD_RESET) {
        reset_registers(e);
        return;
    }
    if (was && !run)
        e->index = ehci_index(e);
    /* 4.8.2: no queue is remembered between two looks at the ring. */
    if (v & EHCI_CMD_ADVANCE)
        e->sts |= EHCI_STS_ADVANCE;
    e->cmd = v & 0xff003d;
    if (run && !was)
        ehci_start(e);
    else if (!run)
        ehci_stop(e);
    ehci_soon(e);
}

static void flag_write(struct ehci *e, uint32_t v)
{
    e->flag = v & 1;
    for (unsigned n = 0; n < EHCI_PORTS; n++)
        set_owner(e, n, !e->flag);
}

static void oper_write(struct ehci *e, uint64_t off, uint32_t v)
{
    switch (off) {
    case 0x00:
        command_write(e, v);
        break;
    case 0x04:
        e->sts &= ~(v & STS_CLEARED);
        break;
    case 0x08:
        e->intr = v & STS_CLEARED;
        break;
    case 0x0c:
        if (!(e->cmd & EHCI_CMD_RUN))
            e->index = v & 0x3fff;
        break;
    case 0x14:
        e->periodic = v & ~0xfffu;
        break;
    case 0x18:
        e->async = v & ~31u;
        break;
    case 0x40:
        flag_write(e, v);
        break;
    }
    ehci_update_irq(e);
}

/* A companion may have come since the last reset. */
static void sync_owners(void *obj)
{
    struct ehci *e = obj;

    for (unsigned n = 0; n < EHCI_PORTS; n++)
        e->sc[n] = (e->sc[n] & ~(uint32_t)SC_OWNER) | (e->port[n].lent ? SC_OWNER : 0);
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    struct ehci *e = opaque;

    if (off < OPER)
        return capability(e, off);
    if (off < PORTS)
        return oper_read(e, off - OPER);
    sync_owners(e);
    return off < PORTS + 4 * EHCI_PORTS ? e->sc[(off - PORTS) / 4] : 0;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct ehci *e = opaque;

    if (off >= OPER && off < PORTS)
        oper_write(e, off - OPER, (uint32_t)v);
    else if (off >= PORTS && off < PORTS + 4 * EHCI_PORTS)
        port_write(e, (unsigned)(off - PORTS) / 4, (uint32_t)v);
}

/* ---- class ---- */

static int ehci_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {mmio_read, mmio_write, 4, 4, false, false};
    static const struct viv_usb_bus_ops bus_ops = {.wakeup = wakeup};
    static const struct viv_usb_port_ops port_ops = {.attached = plugged, .detached = plugged, .resume = resume};
    const struct ehci_model *m = d->cls->data;
    struct ehci *e = (struct ehci *)d;
    struct viv_region_desc desc = {.name = "ehci", .kind = VIV_REGION_IO, .size = SIZE, .ops = &ops, .opaque = e};
    int rc = viv_pci_dev_init(&e->pci, &m->ids, opts, err);

    if (rc < 0)
        return rc;
    e->pci.config[0x3d] = m->pin;
    e->pci.config[0x60] = 0x20; /* SBRN */
    e->pci.config[0x61] = 0x20; /* FLADJ */
    e->pci.wmask[0x61] = 0x3f;
    viv_pci_add_bar(&e->pci, 0, viv_region_new(d->board->mem, &desc), SIZE, false, false, false);
    e->timer = viv_timer_new(VIV_CLOCK_GUEST, ehci_timer, e);
    e->bus = viv_usb_bus_new(d, &bus_ops);
    for (unsigned n = 0; n < EHCI_PORTS; n++) {
        e->port[n] = (struct viv_usb_port){.ops = &port_ops, .opaque = e, .number = n + 1, .speeds = 1 << VIV_USB_HIGH};
        viv_usb_bus_add_port(e->bus, &e->port[n], NULL);
    }
    return 0;
}

static void ehci_unrealize(struct viv_dev *d)
{
    struct ehci *e = (struct ehci *)d;

    viv_usb_bus_free(e->bus);
    viv_timer_free(e->timer);
    viv_pci_dev_fini(&e->pci);
}

static void ehci_reset(struct viv_dev *d)
{
    struct ehci *e = (struct ehci *)d;

    viv_pci_dev_reset(&e->pci);
    e->pci.config[0x61] = 0x20;
    reset_registers(e);
}

/* Companions are loaded later: a device that changes hands now finds its port's registers there. */
static int post_load(void *obj, int version, struct viv_err *err)
{
    struct ehci *e = obj;
    uint32_t sc[EHCI_PORTS], sts = e->sts;
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST);

    memcpy(sc, e->sc, sizeof(sc));
    if (e->began < 0 || e->began > now || e->done > (uint64_t)(now - e->began) / 1000000)
        return viv_fail(err, EINVAL, "EHCI began to run at %lld ns, %llu frames ago", (long long)e->began, (unsigned long long)e->done);
    e->index &= 0x3fff;
    e->flag &= 1;
    for (unsigned n = 0; n < EHCI_PORTS; n++) {
        set_owner(e, n, sc[n] & SC_OWNER);
        e->sc[n] = sc[n];
        if (!(sc[n] & SC_CONNECTED) != !e->port[n].dev)
            return viv_fail(err, EINVAL, "USB port %u: what is plugged into it is not what was saved", n + 1);
        update_port(e, n);
    }
    e->sts = sts;
    return 0;
}

static const struct viv_state_table state = {
    .name = "ehci",
    .ctype = "ehci",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(ehci, pci, viv_pci_dev_state),
            VIV_F_CONFIG(ehci, bus),
            VIV_F_TIMER(ehci, timer),
            VIV_F_CONFIG(ehci, port),
            VIV_F_INTS(ehci, sc),
            VIV_F_INT(ehci, cmd),
            VIV_F_INT(ehci, sts),
            VIV_F_INT(ehci, intr),
            VIV_F_INT(ehci, periodic),
            VIV_F_INT(ehci, async),
            VIV_F_INT(ehci, flag),
            VIV_F_INT(ehci, index),
            VIV_F_INT(ehci, began),
            VIV_F_INT(ehci, done),
            VIV_F_INT(ehci, quiet),
            VIV_F_END,
        },
    .pre_save = sync_owners,
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

#define EHCI(symbol, text, ...)                                                                                  \
    static const struct ehci_model symbol##_model = __VA_ARGS__;                                                 \
    const struct viv_dev_class viv_dev_##symbol = {                                                              \
        .name = text,                                                                                            \
        .desc = "USB 2.0 controller (EHCI)",                                                                     \
        .bus = VIV_BUS_PCI,                                                                                      \
        .size = sizeof(struct ehci),                                                                             \
        .props = props,                                                                                          \
        .state = &state,                                                                                         \
        .realize = ehci_realize,                                                                                 \
        .reset = ehci_reset,                                                                                     \
        .unrealize = ehci_unrealize,                                                                             \
        .hotplug = &viv_pci_hotplug,                                                                             \
        .data = &symbol##_model,                                                                                 \
    }
EHCI(usb_ehci, "usb-ehci", {{0x8086, 0x24cd, 0x10, 0x0c0320, 0x1af4, 0x1100}, 4});
EHCI(ich9_usb_ehci1, "ich9-usb-ehci1", {{0x8086, 0x293a, 3, 0x0c0320, 0x1af4, 0x1100}, 4});
EHCI(ich9_usb_ehci2, "ich9-usb-ehci2", {{0x8086, 0x293c, 3, 0x0c0320, 0x1af4, 0x1100}, 3});
