/* xHCI's root hub (xHCI 4.19, 5.4.8). A port for people is two registers: one for USB 2 speeds, one for SuperSpeed. */
#include "dev/usb/xhci.h"

#include <glib.h>

enum { /* PORTSC */
    SC_CONNECTED = 1 << 0, SC_ENABLED = 1 << 1, SC_RESET = 1 << 4, SC_POWER = 1 << 9, SC_LINK_WRITE = 1 << 16,
    SC_CONNECT_CHANGE = 1 << 17, SC_ENABLE_CHANGE = 1 << 18, SC_WARM_CHANGE = 1 << 19, SC_RESET_CHANGE = 1 << 21,
    SC_LINK_CHANGE = 1 << 22, SC_CHANGES = 0x7f << 17, SC_WAKES = 7 << 25,
};
#define SC_WARM_RESET (1u << 31)
enum { LINK_U0 = 0, LINK_U3 = 3, LINK_DETECT = 5, LINK_POLLING = 7, LINK_RESUME = 15 };
enum { STS_PORT_CHANGE = 16 };

static unsigned link_of(uint32_t sc)
{
    return sc >> 5 & 15;
}

static void set_link(uint32_t *sc, unsigned link)
{
    *sc = (*sc & ~(15u << 5)) | link << 5;
}

/* The register that a port's device shows in; -1: none has its speed. */
static int reg_of(struct xhci *x, const struct viv_usb_port *p, enum viv_usb_speed s)
{
    if (s == VIV_USB_SUPER)
        return p->number <= x->p3 ? (int)(x->p2 + p->number - 1) : -1;
    return p->number <= x->p2 ? (int)p->number - 1 : -1;
}

static struct viv_usb_port *port_of(struct xhci *x, unsigned reg)
{
    return &x->port[reg < x->p2 ? reg : reg - x->p2];
}

/* Is the device of the port on this register's wires? */
static bool mine(struct xhci *x, unsigned reg)
{
    struct viv_usb_port *p = port_of(x, reg);

    return p->dev && reg_of(x, p, p->dev->speed) == (int)reg;
}

void xhci_port_update(struct xhci *x, struct viv_usb_port *p)
{
    int reg = p->dev ? reg_of(x, p, p->dev->speed) : -1;
    uint32_t sc = reg < 0 ? 0 : x->sc[reg];

    p->enabled = sc & SC_ENABLED;
    p->suspended = link_of(sc) == LINK_U3 || link_of(sc) == LINK_RESUME;
}

struct viv_usb_dev *xhci_dev(struct xhci *x, unsigned port, uint32_t route)
{
    if (!port || port > x->p2 + x->p3 || !mine(x, port - 1))
        return NULL;
    return viv_usb_at(port_of(x, port - 1), route);
}

static void tell(struct xhci *x, unsigned reg)
{
    x->sts |= STS_PORT_CHANGE;
    if (xhci_running(x) && x->vm_runs)
        xhci_event(x, 0, (uint64_t)(reg + 1) << 24, (uint32_t)CC_SUCCESS << 24, TRB_PORT_EVENT << 10, false);
}

/* 4.19.2: an event when a change comes to a port that had none. */
static void change(struct xhci *x, unsigned reg, uint32_t bits)
{
    bool first = !(x->sc[reg] & SC_CHANGES);

    x->sc[reg] |= bits;
    xhci_port_update(x, port_of(x, reg));
    if (first)
        tell(x, reg);
}

static const uint8_t speed_ids[VIV_USB_SPEEDS] = {[VIV_USB_FULL] = 1, [VIV_USB_LOW] = 2, [VIV_USB_HIGH] = 3, [VIV_USB_SUPER] = 4};

/* 4.19.1: a USB 3 link trains by itself; USB 2 waits for a reset. */
static uint32_t connected(struct xhci *x, unsigned reg)
{
    enum viv_usb_speed speed;
    uint32_t sc = SC_POWER | SC_CONNECTED;

    if (!mine(x, reg))
        return SC_POWER | LINK_DETECT << 5;
    speed = port_of(x, reg)->dev->speed;
    sc |= (uint32_t)speed_ids[speed] << 10;
    return sc | (speed == VIV_USB_SUPER ? SC_ENABLED | LINK_U0 << 5 : LINK_POLLING << 5);
}

static void plugged(struct viv_usb_port *p)
{
    struct xhci *x = p->opaque;

    for (unsigned reg = 0; reg < x->p2 + x->p3; reg++) {
        uint32_t sc = connected(x, reg);

        if (port_of(x, reg) != p || !((x->sc[reg] ^ sc) & SC_CONNECTED))
            continue;
        x->sc[reg] = (x->sc[reg] & (SC_CHANGES | SC_WAKES)) | sc;
        change(x, reg, SC_CONNECT_CHANGE);
    }
}

static void resume(struct viv_usb_port *p)
{
    struct xhci *x = p->opaque;
    int reg = p->dev ? reg_of(x, p, p->dev->speed) : -1;

    if (reg < 0 || link_of(x->sc[reg]) != LINK_U3)
        return;
    set_link(&x->sc[reg], LINK_RESUME);
    change(x, (unsigned)reg, SC_LINK_CHANGE);
}

const struct viv_usb_port_ops xhci_port_ops = {.attached = plugged, .detached = plugged, .resume = resume};

void xhci_ports_reset(struct xhci *x)
{
    for (unsigned reg = 0; reg < x->p2 + x->p3; reg++) {
        x->sc[reg] = connected(x, reg);
        x->sc[reg] |= x->sc[reg] & SC_CONNECTED ? SC_CONNECT_CHANGE : 0;
        xhci_port_update(x, port_of(x, reg));
    }
}

void xhci_ports_announce(struct xhci *x)
{
    for (unsigned reg = 0; reg < x->p2 + x->p3; reg++) {
        if (x->sc[reg] & SC_CHANGES)
            tell(x, reg);
    }
}

static void reset(struct xhci *x, unsigned reg, bool warm)
{
    if (!mine(x, reg))
        return;
    viv_usb_port_reset(port_of(x, reg));
    set_link(&x->sc[reg], LINK_U0);
    x->sc[reg] |= SC_ENABLED;
    change(x, reg, SC_RESET_CHANGE | (warm ? SC_WARM_CHANGE : 0));
}

static void write_link(struct xhci *x, unsigned reg, unsigned to)
{
    unsigned from = link_of(x->sc[reg]);

    if (to == LINK_U3 && x->sc[reg] & SC_ENABLED) {
        set_link(&x->sc[reg], LINK_U3);
    } else if (to == LINK_RESUME && from == LINK_U3) {
        set_link(&x->sc[reg], LINK_RESUME);
    } else if (to == LINK_U0 && (from == LINK_U3 || from == LINK_RESUME)) {
        set_link(&x->sc[reg], LINK_U0);
        change(x, reg, SC_LINK_CHANGE);
        xhci_port_update(x, port_of(x, reg));
        xhci_look_again(x);
    } else if (to == LINK_DETECT && !(x->sc[reg] & SC_CONNECTED)) {
        set_link(&x->sc[reg], LINK_DETECT);
    }
    xhci_port_update(x, port_of(x, reg));
}

void xhci_port_write(struct xhci *x, unsigned reg, uint32_t v)
{
    x->sc[reg] = (x->sc[reg] & ~(v & SC_CHANGES) & ~(uint32_t)SC_WAKES) | (v & SC_WAKES);
    if (v & SC_RESET || (v & SC_WARM_RESET && reg >= x->p2)) {
        reset(x, reg, v & SC_WARM_RESET);
        return;
    }
    if (v & SC_ENABLED && x->sc[reg] & SC_ENABLED) { /* 1 switches it off */
        x->sc[reg] &= ~(uint32_t)SC_ENABLED;
        set_link(&x->sc[reg], LINK_POLLING);
        xhci_port_update(x, port_of(x, reg));
    }
    if (v & SC_LINK_WRITE)
        write_link(x, reg, link_of(v));
}
