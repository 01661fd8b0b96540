/* USB buses and ports: who is plugged where. */
#include "bus/usb.h"

#include "bus/pci.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

struct viv_usb_bus {
    struct viv_dev *controller;
    const struct viv_usb_bus_ops *ops;
    char *name;
    unsigned number;
    struct viv_usb_port *ports;
    struct viv_usb_bus *next;
};

static struct viv_usb_bus *buses; /* one VM a process; in creation order */

/* ---- buses ---- */

static unsigned free_number(void)
{
    unsigned n = 0;

    for (struct viv_usb_bus *b = buses; b; b = b->next)
        n = MAX(n, b->number + 1);
    return n;
}

struct viv_usb_bus *viv_usb_bus_new(struct viv_dev *controller, const struct viv_usb_bus_ops *ops)
{
    struct viv_usb_bus *b = g_new0(struct viv_usb_bus, 1), **end = &buses;

    b->controller = controller;
    b->ops = ops;
    b->number = free_number();
    b->name = controller->id ? g_strdup_printf("%s.0", controller->id) : g_strdup_printf("usb-bus.%u", b->number);
    while (*end)
        end = &(*end)->next;
    *end = b;
    return b;
}

void viv_usb_bus_free(struct viv_usb_bus *bus)
{
    if (!bus)
        return;
    while (bus->ports)
        viv_usb_bus_remove_port(bus->ports);
    for (struct viv_usb_bus **b = &buses; *b; b = &(*b)->next) {
        if (*b == bus) {
            *b = bus->next;
            break;
        }
    }
    g_free(bus->name);
    g_free(bus);
}

static bool leaving(const struct viv_usb_bus *b)
{
    return b->controller->life == VIV_DEV_LEAVING;
}

struct viv_usb_bus *viv_usb_bus_find(const char *name)
{
    struct viv_usb_bus *b = buses;

    while (b && (leaving(b) || g_strcmp0(b->name, name)))
        b = b->next;
    return b;
}

int viv_usb_bus_companion(struct viv_usb_bus *b, const char *master, unsigned first, const char *what, struct viv_err *err)
{
    struct viv_usb_bus *m = viv_usb_bus_find(master);

    if (!m || m == b)
        return viv_fail(err, ENODEV, "%s: masterbus=%s: there is no such USB bus; the controller it belongs to has to come first", what,
                        master);
    for (struct viv_usb_port *p = b->ports; p; p = p->next) {
        struct viv_usb_port *at = m->ports;

        while (at && (at->hub || at->number != first + p->number))
            at = at->next;
        if (!at || !(at->speeds == 1 << VIV_USB_HIGH) || at->companion || at->dev)
            return viv_fail(err, EINVAL, "%s: masterbus=%s,firstport=%u: port %u is not one of a free high-speed controller", what, master,
                            first, first + p->number);
        at->companion = p;
        p->master = at;
        at->lent = true; /* until its driver says otherwise */
        at->speeds |= p->speeds;
        memcpy(p->path, at->path, sizeof(p->path));
    }
    b->number = m->number;
    g_free(b->name);
    b->name = NULL;
    return 0;
}

struct viv_usb_bus *viv_usb_bus_next(struct viv_usb_bus *b)
{
    return b ? b->next : buses;
}

unsigned viv_usb_bus_number(const struct viv_usb_bus *b)
{
    return b->number;
}

/* ---- ports ---- */

void viv_usb_bus_add_port(struct viv_usb_bus *b, struct viv_usb_port *p, struct viv_usb_dev *hub)
{
    struct viv_usb_port **end = &b->ports;

    p->bus = b;
    p->hub = hub;
    p->next = NULL;
    g_snprintf(p->path, sizeof(p->path), "%s%s%u", hub ? hub->port->path : "", hub ? "." : "", p->number);
    while (*end)
        end = &(*end)->next;
    *end = p;
}

void viv_usb_bus_remove_port(struct viv_usb_port *port)
{
    if (!port->bus)
        return;
    if (port->dev)
        port->dev->port = NULL;
    port->dev = NULL;
    if (port->master) {
        port->master->companion = NULL;
        port->master->lent = false;
        port->master->speeds = 1 << VIV_USB_HIGH;
    }
    if (port->companion)
        port->companion->master = NULL;
    port->master = port->companion = NULL;
    for (struct viv_usb_port **p = &port->bus->ports; *p; p = &(*p)->next) {
        if (*p == port) {
            *p = port->next;
            break;
        }
    }
    port->bus = NULL;
}

struct viv_usb_port *viv_usb_port_next(struct viv_usb_bus *b, struct viv_usb_port *p)
{
    return p ? p->next : b->ports;
}

/* The fastest that both have; -1: none. */
static int common_speed(const struct viv_usb_port *p, const struct viv_usb_desc *desc)
{
    for (int s = VIV_USB_SPEEDS - 1; s >= 0; s--) {
        if (desc->face[s] && p->speeds & 1u << s)
            return s;
    }
    return -1;
}

static bool taken(const struct viv_usb_port *p)
{
    return p->dev || (p->companion && p->companion->dev);
}

/* Where it really goes now. */
static struct viv_usb_port *wires(struct viv_usb_port *p)
{
    return p->lent && p->companion ? p->companion : p;
}

static void attach(struct viv_usb_port *p, struct viv_usb_dev *d)
{
    p->dev = d;
    d->port = p;
    p->ops->attached(p);
}

static void detach(struct viv_usb_dev *d)
{
    struct viv_usb_port *p = d->port;

    d->port = NULL;
    p->dev = NULL;
    p->ops->detached(p);
}

void viv_usb_port_hand_over(struct viv_usb_port *from, struct viv_usb_port *to)
{
    struct viv_usb_dev *d = from->dev;
    int speed = d ? common_speed(to, d->desc) : -1;

    if (speed < 0 || to->dev)
        return;
    detach(d);
    d->speed = (enum viv_usb_speed)speed;
    viv_usb_dev_reset(d);
    attach(to, d);
}

void viv_usb_port_reset(struct viv_usb_port *p)
{
    if (p->dev)
        viv_usb_dev_reset(p->dev);
}

/* ---- finding a port ---- */

static int refuse_speed(const struct viv_usb_desc *desc, const char *what, const char *where, struct viv_err *err)
{
    return viv_fail(err, EINVAL, "%s: its speed is not one of %s; %s takes it", what, where,
                    desc->face[VIV_USB_LOW] || desc->face[VIV_USB_FULL] ? "-device piix3-usb-uhci or qemu-xhci" : "-device qemu-xhci");
}

static int named_port(struct viv_usb_bus *b, const char *path, const char *what, struct viv_usb_port **out, struct viv_err *err)
{
    struct viv_usb_port *p = b->ports;

    while (p && strcmp(p->path, path))
        p = p->next;
    if (!p)
        return viv_fail(err, ENODEV, "%s: bus '%s' has no port '%.40s'; 'info usb' and the controller's properties tell which it has", what,
                        b->name, path);
    if (taken(p))
        return viv_fail(err, EBUSY, "%s: port '%s' of bus '%s' is taken by %s", what, path, b->name,
                        (p->dev ? p->dev : p->companion->dev)->dev.cls->name);
    *out = p;
    return 0;
}

static struct viv_usb_port *free_port(struct viv_usb_bus *b, const struct viv_usb_desc *desc)
{
    struct viv_usb_port *p = b->ports;

    while (p && (taken(p) || common_speed(p, desc) < 0))
        p = p->next;
    return p;
}

static int find_port(const struct viv_usb_desc *desc, const char *what, const char *bus, const char *path, struct viv_usb_port **out,
                     struct viv_err *err)
{
    struct viv_usb_bus *b = bus ? viv_usb_bus_find(bus) : buses;

    if (!buses)
        return viv_fail(err, ENODEV, "%s: this machine has no USB controller; -usb gives it one, or -device qemu-xhci", what);
    if (!b)
        return viv_fail(err, ENODEV, "%s: there is no USB bus '%.60s'; the first is '%s'", what, bus, buses->name);
    if (path)
        return named_port(b, path, what, out, err);
    while (!*out && b) {
        *out = b->name && !leaving(b) ? free_port(b, desc) : NULL;
        b = bus ? NULL : b->next;
    }
    if (!*out)
        return viv_fail(err, EBUSY, "%s: no port that takes it is free%s%s; -device usb-hub has 8 more, -device qemu-xhci is another "
                                    "controller", what, bus ? " on " : "", bus ? bus : "");
    return 0;
}

/* By its place, which is that of the port people name: a hub and its controller, whoever serves the port at the moment. */
static void name_place(struct viv_usb_dev *d, const struct viv_usb_port *p)
{
    d->dev.parent = p->hub ? &p->hub->dev : p->bus->controller;
    if (!d->dev.path)
        d->dev.path = g_strdup_printf("%s/%s/%s", p->bus->name, p->path, d->dev.cls->name);
}

int viv_usb_dev_init(struct viv_usb_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    const char *what = viv_opts_what(opts);
    struct viv_usb_port *p = NULL;
    int rc = find_port(d->desc, what, viv_opts_str(opts, "bus"), viv_opts_str(opts, "port"), &p, err), speed;

    if (rc < 0)
        return rc;
    name_place(d, p);
    p = wires(p);
    speed = common_speed(p, d->desc);
    if (speed < 0)
        return refuse_speed(d->desc, what, "that port", err);
    d->speed = (enum viv_usb_speed)speed;
    viv_usb_dev_reset(d);
    attach(p, d);
    return 0;
}

void viv_usb_dev_fini(struct viv_usb_dev *d)
{
    if (d->port)
        detach(d);
    g_free(d->serial);
    d->serial = NULL;
}

/* ---- coming and going ---- */

static void pull(struct viv_dev *d)
{
    struct viv_usb_dev *u = (struct viv_usb_dev *)d;

    if (u->port)
        detach(u);
}

const struct viv_hotplug viv_usb_hotplug = {.unplug = pull};

/* ---- finding a device ---- */

struct viv_usb_dev *viv_usb_find(struct viv_usb_port *root, unsigned address)
{
    struct viv_usb_dev *d = root->dev, *found = NULL;

    if (!d || !root->enabled || root->suspended)
        return NULL;
    if (d->address == address)
        return d;
    for (unsigned i = 0; i < d->port_count && !found; i++)
        found = viv_usb_find(&d->ports[i], address);
    return found;
}

struct viv_usb_dev *viv_usb_at(struct viv_usb_port *root, uint32_t route)
{
    struct viv_usb_dev *d = root->dev;

    for (; d && route; route >>= 4) {
        unsigned n = route & 15;

        d = n && n <= d->port_count ? d->ports[n - 1].dev : NULL;
    }
    return d;
}

bool viv_usb_reachable(const struct viv_usb_dev *d)
{
    while (d && d->port && d->port->enabled && !d->port->suspended) {
        if (!d->port->hub)
            return true;
        d = d->port->hub;
    }
    return false;
}

void viv_usb_wakeup(struct viv_usb_dev *d, unsigned endpoint)
{
    struct viv_usb_port *p = d->port;

    if (!p || !p->bus)
        return;
    for (; p && d->remote_wakeup; p = p->hub ? p->hub->port : NULL) {
        if (p->suspended && p->ops->resume)
            p->ops->resume(p);
    }
    for (p = d->port; p->hub && p->hub->port; p = p->hub->port)
        ; /* the controller's own: a hub may have been handed over with all that is in it */
    p->bus->ops->wakeup(p->bus->controller, d, endpoint);
}

const char *viv_usb_speed_text(enum viv_usb_speed s)
{
    static const char *const text[VIV_USB_SPEEDS] = {"1.5", "12", "480", "5000"};

    return text[s];
}

static void put_hubs(GString *s, const struct viv_usb_dev *hub)
{
    if (!hub || !hub->port)
        return;
    put_hubs(s, hub->port->hub);
    g_string_append_printf(s, "/hub@%x", hub->port->number);
}

char *viv_usb_fw_path(const struct viv_usb_dev *d, const char *kind)
{
    bool high = d->port->master && d->desc->face[VIV_USB_HIGH]; /* firmware finds it at the faster controller */
    const struct viv_usb_port *port = high ? d->port->master : d->port;
    struct viv_dev *c = port->bus->controller;
    g_autofree char *at = c->cls->bus == VIV_BUS_PCI ? viv_pci_fw_path((struct viv_pci_dev *)c, "usb") : NULL;
    GString *s;

    if (!at)
        return NULL;
    s = g_string_new(at);
    put_hubs(s, port->hub);
    g_string_append_printf(s, "/%s@%x", kind, port->number);
    return g_string_free(s, FALSE);
}
