/* usb-hub: eight ports at full speed (USB 2.0 ch. 11). A full-speed hub needs no transaction translator, so what is plugged in runs
 * at low or full speed, whatever the controller. Power switching and over-current are not there: ports have power when they were
 * told to. */
#include "bus/usb.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define HUB_PORTS 8

enum { /* 11.24.2: features of ports */
    CONNECTION, ENABLE, SUSPEND, RESET = 4, POWER = 8, C_CONNECTION = 16, C_ENABLE, C_SUSPEND, C_RESET = 20,
};
enum { ST_CONNECTION = 1 << 0, ST_ENABLE = 1 << 1, ST_SUSPEND = 1 << 2, ST_RESET = 1 << 4, ST_POWER = 1 << 8, ST_LOW_SPEED = 1 << 9 };

struct usb_hub {
    struct viv_usb_dev usb;
    struct viv_usb_port ports[HUB_PORTS];
    uint16_t status[HUB_PORTS], change[HUB_PORTS];
};

static struct usb_hub *hub_of(struct viv_usb_dev *d)
{
    return (struct usb_hub *)d;
}

/* ---- ports ---- */

static void update(struct usb_hub *h, unsigned n)
{
    h->ports[n].enabled = h->status[n] & ST_ENABLE;
    h->ports[n].suspended = h->status[n] & ST_SUSPEND;
}

static void changed(struct usb_hub *h, unsigned n, uint16_t bits)
{
    h->change[n] |= bits;
    update(h, n);
    viv_usb_wakeup(&h->usb, 0x81);
}

/* What is in the port shows when there is power. */
static void look(struct usb_hub *h, unsigned n)
{
    struct viv_usb_dev *d = h->ports[n].dev;
    bool there = d && h->status[n] & ST_POWER;

    if (there == !!(h->status[n] & ST_CONNECTION))
        return;
    h->status[n] &= ST_POWER;
    h->status[n] |= there ? ST_CONNECTION | (d->speed == VIV_USB_LOW ? ST_LOW_SPEED : 0) : 0;
    changed(h, n, ST_CONNECTION);
}

static void plugged(struct viv_usb_port *p)
{
    look(p->opaque, p->number - 1);
}

static void resume(struct viv_usb_port *p)
{
    struct usb_hub *h = p->opaque;

    h->status[p->number - 1] &= ~ST_SUSPEND;
    changed(h, p->number - 1, ST_SUSPEND);
}

static void off(struct usb_hub *h)
{
    for (unsigned n = 0; n < HUB_PORTS; n++) {
        h->status[n] = h->change[n] = 0;
        update(h, n);
    }
}

/* ---- requests (11.24.2) ---- */

static int hub_descriptor(uint8_t *p)
{
    static const uint8_t d[11] = {11, 0x29, HUB_PORTS, 0x0a, 0x00, 1, 0, 0, 0, 0xff, 0xff};

    memcpy(p, d, sizeof(d));
    return sizeof(d);
}

static int set_feature(struct usb_hub *h, unsigned n, unsigned feature)
{
    switch (feature) {
    case POWER:
        h->status[n] |= ST_POWER;
        look(h, n);
        return 0;
    case SUSPEND:
        h->status[n] |= h->status[n] & ST_ENABLE ? ST_SUSPEND : 0;
        update(h, n);
        return 0;
    case RESET:
        if (!(h->status[n] & ST_CONNECTION))
            return 0;
        viv_usb_port_reset(&h->ports[n]);
        h->status[n] = (h->status[n] & ~ST_SUSPEND) | ST_ENABLE;
        changed(h, n, ST_RESET);
        return 0;
    }
    return -1;
}

static int clear_feature(struct usb_hub *h, unsigned n, unsigned feature)
{
    switch (feature) {
    case ENABLE:
        h->status[n] &= ~ST_ENABLE;
        break;
    case SUSPEND:
        if (h->status[n] & ST_SUSPEND) {
            h->status[n] &= ~ST_SUSPEND;
            changed(h, n, ST_SUSPEND);
        }
        break;
    case POWER:
        h->status[n] = 0;
        break;
    case C_CONNECTION:
    case C_ENABLE:
    case C_SUSPEND:
    case C_RESET:
    case C_RESET - 1:
        h->change[n] &= ~(1u << (feature - C_CONNECTION));
        break;
    default:
        return -1;
    }
    update(h, n);
    return 0;
}

static int hub_control(struct viv_usb_dev *d, const uint8_t s[8], uint8_t *data)
{
    struct usb_hub *h = hub_of(d);
    unsigned value = viv_ld_le16(s + 2), port = viv_ld_le16(s + 4) & 0xff;

    switch (s[0] << 8 | s[1]) {
    case 0xa006:
        return s[3] == 0x29 ? hub_descriptor(data) : -1;
    case 0xa000: /* the hub itself has nothing to tell */
        memset(data, 0, 4);
        return 4;
    case 0x2001:
    case 0x2003:
        return value <= 1 ? 0 : -1;
    case 0xa300:
    case 0x2301:
    case 0x2303:
        if (port < 1 || port > HUB_PORTS)
            return -1;
        if (s[0] == 0x23)
            return s[1] == 3 ? set_feature(h, port - 1, value) : clear_feature(h, port - 1, value);
        viv_st_le16(data, h->status[port - 1]);
        viv_st_le16(data + 2, h->change[port - 1]);
        return 4;
    }
    return -1;
}

/* 11.12.4: a bit a port */
static void hub_data(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    struct usb_hub *h = hub_of(d);
    uint8_t map[2] = {0};

    for (unsigned n = 0; n < HUB_PORTS; n++) {
        if (h->change[n])
            map[(n + 1) / 8] |= (uint8_t)(1 << ((n + 1) & 7));
    }
    if (map[0] || map[1])
        viv_usb_answer(k, map, sizeof(map));
    else
        k->status = VIV_USB_NAK;
}

static void hub_reset(struct viv_usb_dev *d)
{
    off(hub_of(d));
}

static void hub_configured(struct viv_usb_dev *d)
{
    if (!d->configuration)
        off(hub_of(d));
}

/* ---- class ---- */

static const struct viv_usb_endpoint endpoints[] = {{0x81, VIV_USB_INTERRUPT, 2, 255, 0}};
static const struct viv_usb_interface interfaces[] = {{.cls = 9, .endpoints = endpoints, .count = 1}};
static const struct viv_usb_face full = {.version = 0x0110, .packet0 = 64, .attributes = 0xe0, .interfaces = interfaces, .count = 1};
static const char *const strings[] = {"Vivarium", "USB Hub", "1", NULL};
static const struct viv_usb_desc desc = {
    .vendor = 0x0409, .product = 0x55aa, .release = 0x0101, .cls = 9, .manufacturer = 1, .name = 2, .serial = 3,
    .strings = strings, .face = {[VIV_USB_FULL] = &full}};

static unsigned tier(const struct viv_usb_dev *d)
{
    unsigned n = 1;

    for (const struct viv_usb_port *p = d->port; p->hub; p = p->hub->port)
        n++;
    return n;
}

static int hub_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_usb_dev_ops ops = {.reset = hub_reset, .control = hub_control, .data = hub_data, .configured = hub_configured};
    static const struct viv_usb_port_ops port_ops = {.attached = plugged, .detached = plugged, .resume = resume};
    struct usb_hub *h = (struct usb_hub *)d;
    struct viv_usb_port *at;
    int rc;

    h->usb.ops = &ops;
    h->usb.desc = &desc;
    rc = viv_usb_dev_init(&h->usb, opts, err);
    if (rc < 0)
        return rc;
    if (tier(&h->usb) > VIV_USB_TIERS) {
        rc = viv_fail(err, EINVAL, "%s: port %s: at most %d hubs stand behind each other", viv_opts_what(opts), h->usb.port->path,
                      VIV_USB_TIERS);
        viv_usb_dev_fini(&h->usb);
        return rc;
    }
    at = h->usb.port->master ? h->usb.port->master : h->usb.port;
    for (unsigned i = 0; i < HUB_PORTS; i++) {
        h->ports[i] = (struct viv_usb_port){
            .ops = &port_ops, .opaque = h, .number = i + 1, .speeds = 1 << VIV_USB_LOW | 1 << VIV_USB_FULL};
        viv_usb_bus_add_port(at->bus, &h->ports[i], &h->usb);
    }
    h->usb.ports = h->ports;
    h->usb.port_count = HUB_PORTS;
    return 0;
}

static void hub_unrealize(struct viv_dev *d)
{
    struct usb_hub *h = (struct usb_hub *)d;

    for (unsigned i = 0; i < HUB_PORTS; i++)
        viv_usb_bus_remove_port(&h->ports[i]);
    viv_usb_dev_fini(&h->usb);
}

static void hub_power_on(struct viv_dev *d)
{
    viv_usb_dev_reset(&((struct usb_hub *)d)->usb);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct usb_hub *h = obj;

    for (unsigned i = 0; i < HUB_PORTS; i++) {
        if (h->status[i] & ST_CONNECTION && !h->ports[i].dev)
            return viv_fail(err, EINVAL, "port %u of the USB hub is empty here", i + 1);
        update(h, i);
    }
    return 0;
}

static const struct viv_state_table state = {
    .name = "usb-hub",
    .ctype = "usb_hub",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(usb_hub, usb, viv_usb_dev_state),
            VIV_F_CONFIG(usb_hub, ports),
            VIV_F_INTS(usb_hub, status),
            VIV_F_INTS(usb_hub, change),
            VIV_F_END,
        },
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {VIV_USB_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_usb_hub = {
    .name = "usb-hub",
    .desc = "USB hub with eight ports",
    .bus = VIV_BUS_USB,
    .hotplug = &viv_usb_hotplug,
    .size = sizeof(struct usb_hub),
    .props = props,
    .state = &state,
    .realize = hub_realize,
    .reset = hub_power_on,
    .unrealize = hub_unrealize,
};
