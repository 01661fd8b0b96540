/* UHCI host controllers: piix3-usb-uhci (82371SB function 2), ich9-usb-uhci1 to 6 (82801I). (UHCI Design Guide 1.1; Intel 290550 4.3.)
 *
 * Left out: the legacy keyboard traps (LEGSUP keeps its bits), forced resume as a signal (ports resume at once). */
#include "dev/usb/uhci.h"

#include "host/clock.h"

#include <errno.h>
#include <glib.h>

enum { CMD_RUN = 1, CMD_RESET = 2, CMD_GLOBAL_RESET = 4, CMD_SUSPEND = 8, CMD_MOST = 0xff };
enum { STS_HALTED = 1 << 5 };
enum { INTR_ERROR = 1, INTR_RESUME = 2, INTR_IOC = 4, INTR_SHORT = 8 };
enum { /* 2.1.7: PORTSC */
    SC_CONNECTED = 1 << 0,
    SC_CONNECT_CHANGE = 1 << 1,
    SC_ENABLED = 1 << 2,
    SC_ENABLE_CHANGE = 1 << 3,
    SC_RESUME = 1 << 6,
    SC_ONE = 1 << 7,
    SC_LOW_SPEED = 1 << 8,
    SC_RESET = 1 << 9,
    SC_SUSPEND = 1 << 12,
};
enum { SBRN = 0x60, LEGSUP = 0xc0 };

struct uhci_model {
    struct viv_pci_ids ids;
    uint8_t pin; /* of INTx, from 1 */
};

bool uhci_running(const struct uhci *u)
{
    return u->cmd & CMD_RUN;
}

void uhci_update_irq(struct uhci *u)
{
    bool on = (u->why & UHCI_WHY_IOC && u->intr & INTR_IOC) || (u->why & UHCI_WHY_SHORT && u->intr & INTR_SHORT) ||
              (u->sts & UHCI_STS_ERROR && u->intr & INTR_ERROR) || (u->sts & UHCI_STS_RESUME && u->intr & INTR_RESUME) ||
              u->sts & (UHCI_STS_SYSTEM_ERROR | UHCI_STS_PROCESS_ERROR);

    viv_pci_set_intx(&u->pci, on && u->sts & 0x1f);
}

static void run(struct uhci *u, bool on)
{
    if (on == uhci_running(u))
        return;
    if (on) {
        u->cmd |= CMD_RUN;
        uhci_start(u);
    } else {
        u->frame = uhci_frame_now(u);
        u->cmd &= ~CMD_RUN;
        uhci_stop(u);
    }
}

void uhci_halt(struct uhci *u, uint16_t status)
{
    run(u, false);
    u->sts |= status;
    uhci_update_irq(u);
}

/* ---- ports ---- */

static void update_port(struct uhci *u, struct uhci_port *p)
{
    p->port.enabled = p->sc & SC_ENABLED;
    p->port.suspended = p->sc & SC_SUSPEND || u->cmd & CMD_SUSPEND;
}

static void resumed(struct uhci *u)
{
    u->sts |= UHCI_STS_RESUME;
    uhci_update_irq(u);
}

static void connect(struct uhci *u, struct uhci_port *p)
{
    bool low = p->port.dev && p->port.dev->speed == VIV_USB_LOW;

    p->sc = (uint16_t)((p->sc & ~(SC_CONNECTED | SC_LOW_SPEED | SC_SUSPEND)) | SC_CONNECT_CHANGE | SC_ONE);
    p->sc |= (p->port.dev ? SC_CONNECTED : 0) | (low ? SC_LOW_SPEED : 0);
    if (p->sc & SC_ENABLED)
        p->sc = (p->sc & ~SC_ENABLED) | SC_ENABLE_CHANGE;
    update_port(u, p);
    if (u->cmd & CMD_SUSPEND)
        resumed(u);
    uhci_soon(u);
}

static void plugged(struct viv_usb_port *port)
{
    connect(port->opaque, (struct uhci_port *)port);
}

static void resume(struct viv_usb_port *port)
{
    struct uhci *u = port->opaque;
    struct uhci_port *p = (struct uhci_port *)port;

    if (p->sc & SC_SUSPEND)
        p->sc |= SC_RESUME;
    resumed(u);
}

static void wakeup(struct viv_dev *controller, struct viv_usb_dev *d, unsigned endpoint)
{
    if (viv_usb_reachable(d))
        uhci_soon((struct uhci *)controller);
}

static void port_write(struct uhci *u, struct uhci_port *p, uint16_t v)
{
    uint16_t keep = SC_CONNECTED | SC_LOW_SPEED | SC_ONE, set = SC_ENABLED | SC_RESUME | SC_RESET | SC_SUSPEND;
    uint16_t change = p->sc & (SC_CONNECT_CHANGE | SC_ENABLE_CHANGE) & ~v;

    if (v & SC_RESET && !(p->sc & SC_RESET))
        viv_usb_port_reset(&p->port);
    if (v & SC_RESET || !(p->sc & SC_CONNECTED))
        v &= ~SC_ENABLED;
    p->sc = (p->sc & keep) | change | (v & set);
    update_port(u, p);
    uhci_soon(u);
}

/* ---- registers ---- */

static void reset_registers(struct uhci *u)
{
    run(u, false);
    u->cmd = u->sts = u->intr = u->why = 0;
    u->list = 0;
    u->frame = 0;
    u->began = 0;
    u->done = 0;
    u->quiet = 0;
    u->sof = 64;
    for (unsigned i = 0; i < UHCI_PORTS; i++) {
        u->ports[i].sc = SC_ONE;
        update_port(u, &u->ports[i]);
        if (u->ports[i].port.dev)
            connect(u, &u->ports[i]);
    }
    uhci_update_irq(u);
}

static void command_write(struct uhci *u, uint16_t v)
{
    if (v & CMD_GLOBAL_RESET && !(u->cmd & CMD_GLOBAL_RESET)) {
        for (unsigned i = 0; i < UHCI_PORTS; i++)
            viv_usb_port_reset(&u->ports[i].port);
    }
    if (v & (CMD_RESET | CMD_GLOBAL_RESET)) {
        reset_registers(u);
        u->cmd = v & CMD_GLOBAL_RESET;
        return;
    }
    run(u, v & CMD_RUN);
    u->cmd = (v & CMD_MOST & ~CMD_RUN) | (u->cmd & CMD_RUN);
    for (unsigned i = 0; i < UHCI_PORTS; i++)
        update_port(u, &u->ports[i]);
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
    struct uhci *u = opaque;

    switch (off) {
    case 0x00:
        return u->cmd;
    case 0x02:
        return u->sts | (uhci_running(u) ? 0 : STS_HALTED);
    case 0x04:
        return u->intr;
    case 0x06:
        return uhci_frame_now(u);
    case 0x08:
        return u->list & 0xffff;
    case 0x0a:
        return u->list >> 16;
    case 0x0c:
        return u->sof;
    case 0x10:
        return u->ports[0].sc;
    case 0x12:
        return u->ports[1].sc;
    default: /* no third port: bit 7, by which drivers count them, is 0 */
        return 0;
    }
}

static void io_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct uhci *u = opaque;
    uint16_t v = (uint16_t)value;

    switch (off) {
    case 0x00:
        command_write(u, v);
        break;
    case 0x02:
        u->sts &= ~v;
        if (v & UHCI_STS_INT)
            u->why = 0;
        break;
    case 0x04:
        u->intr = v & 15;
        break;
    case 0x06:
        if (!uhci_running(u))
            u->frame = v & 0x7ff;
        break;
    case 0x08:
        u->list = (u->list & 0xffff0000) | (v & 0xf000);
        break;
    case 0x0a:
        u->list = (u->list & 0xffff) | (uint32_t)v << 16;
        break;
    case 0x0c:
        u->sof = v & 0x7f;
        break;
    case 0x10:
    case 0x12:
        port_write(u, &u->ports[off >> 1 & 1], v);
        break;
    }
    uhci_update_irq(u);
}

/* ---- class ---- */

static void uhci_unrealize(struct viv_dev *d)
{
    struct uhci *u = (struct uhci *)d;

    viv_usb_bus_free(u->bus);
    viv_timer_free(u->timer);
    viv_pci_dev_fini(&u->pci);
}

static int uhci_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops io = {io_read, io_write, 2, 2, false, false};
    static const struct viv_usb_bus_ops bus_ops = {.wakeup = wakeup};
    static const struct viv_usb_port_ops port_ops = {.attached = plugged, .detached = plugged, .resume = resume};
    const struct uhci_model *m = d->cls->data;
    struct uhci *u = (struct uhci *)d;
    struct viv_region_desc desc = {.name = "uhci", .kind = VIV_REGION_IO, .size = 32, .ops = &io, .opaque = u};
    int rc = viv_pci_dev_init(&u->pci, &m->ids, opts, err);

    if (rc < 0)
        return rc;
    u->pci.config[0x3d] = m->pin;
    u->pci.config[SBRN] = 0x10;
    u->pci.config[LEGSUP + 1] = 0x20;
    u->pci.wmask[LEGSUP] = 0xbf;
    u->pci.wmask[LEGSUP + 1] = 0x20;
    viv_pci_add_bar(&u->pci, 4, viv_region_new(d->board->io, &desc), 32, true, false, false);
    u->timer = viv_timer_new(VIV_CLOCK_GUEST, uhci_timer, u);
    u->bus = viv_usb_bus_new(d, &bus_ops);
    for (unsigned i = 0; i < UHCI_PORTS; i++) {
        u->ports[i].port = (struct viv_usb_port){
            .ops = &port_ops, .opaque = u, .number = i + 1, .speeds = 1 << VIV_USB_LOW | 1 << VIV_USB_FULL};
        viv_usb_bus_add_port(u->bus, &u->ports[i].port, NULL);
    }
    if (viv_opts_given(opts, "masterbus"))
        rc = viv_usb_bus_companion(u->bus, viv_opts_str(opts, "masterbus"), (unsigned)viv_opts_int(opts, "firstport"),
                                   viv_opts_what(opts), err);
    if (rc < 0)
        uhci_unrealize(d);
    return rc;
}

static void uhci_reset(struct viv_dev *d)
{
    struct uhci *u = (struct uhci *)d;

    viv_pci_dev_reset(&u->pci);
    u->pci.config[LEGSUP + 1] = 0x20;
    reset_registers(u);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct uhci *u = obj;
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST);

    u->list &= ~0xfffu;
    u->frame &= 0x7ff;
    u->sts &= 0x1f;
    u->why &= UHCI_WHY_IOC | UHCI_WHY_SHORT;
    if (u->began < 0 || u->began > now || u->done > (uint64_t)(now - u->began) / 1000000)
        return viv_fail(err, EINVAL, "UHCI began to run at %lld ns, %llu frames ago", (long long)u->began, (unsigned long long)u->done);
    for (unsigned i = 0; i < UHCI_PORTS; i++) {
        if (!(u->ports[i].sc & SC_CONNECTED) != !u->ports[i].port.dev)
            return viv_fail(err, EINVAL, "USB port %u: what is plugged into it is not what was saved", i + 1);
        update_port(u, &u->ports[i]);
    }
    return 0;
}

static const struct viv_state_table port_state = {
    .name = "uhci-port",
    .ctype = "uhci_port",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(uhci_port, port),
            VIV_F_INT(uhci_port, sc),
            VIV_F_END,
        },
};

static const struct viv_state_table state = {
    .name = "uhci",
    .ctype = "uhci",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(uhci, pci, viv_pci_dev_state),
            VIV_F_CONFIG(uhci, bus),
            VIV_F_TIMER(uhci, timer),
            VIV_F_STRUCTS(uhci, ports, port_state),
            VIV_F_INT(uhci, cmd),
            VIV_F_INT(uhci, sts),
            VIV_F_INT(uhci, intr),
            VIV_F_INT(uhci, why),
            VIV_F_INT(uhci, list),
            VIV_F_INT(uhci, sof),
            VIV_F_INT(uhci, frame),
            VIV_F_INT(uhci, began),
            VIV_F_INT(uhci, done),
            VIV_F_INT(uhci, quiet),
            VIV_F_END,
        },
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    {.name = "masterbus", .type = VIV_OPT_STR, .help = "bus of the EHCI controller whose companion this is"},
    {.name = "firstport", .type = VIV_OPT_INT, .def = "0", .min = 0, .max = 14, .help = "its port that is the first of these, from 0"},
    VIV_OPT_END,
};

#define UHCI(symbol, text, ...)                                                                                  \
    static const struct uhci_model symbol##_model = __VA_ARGS__;                                                 \
    const struct viv_dev_class viv_dev_##symbol = {                                                              \
        .name = text,                                                                                            \
        .desc = "USB 1.1 controller (UHCI)",                                                                     \
        .bus = VIV_BUS_PCI,                                                                                      \
        .size = sizeof(struct uhci),                                                                             \
        .props = props,                                                                                          \
        .state = &state,                                                                                         \
        .realize = uhci_realize,                                                                                 \
        .reset = uhci_reset,                                                                                     \
        .unrealize = uhci_unrealize,                                                                             \
        .hotplug = &viv_pci_hotplug,                                                                             \
        .data = &symbol##_model,                                                                                 \
    }
UHCI(piix3_usb_uhci, "piix3-usb-uhci", {{0x8086, 0x7020, 1, 0x0c0300, 0x1af4, 0x1100}, 4});
UHCI(ich9_usb_uhci1, "ich9-usb-uhci1", {{0x8086, 0x2934, 3, 0x0c0300, 0x1af4, 0x1100}, 1});
UHCI(ich9_usb_uhci2, "ich9-usb-uhci2", {{0x8086, 0x2935, 3, 0x0c0300, 0x1af4, 0x1100}, 2});
UHCI(ich9_usb_uhci3, "ich9-usb-uhci3", {{0x8086, 0x2936, 3, 0x0c0300, 0x1af4, 0x1100}, 3});
UHCI(ich9_usb_uhci4, "ich9-usb-uhci4", {{0x8086, 0x2937, 3, 0x0c0300, 0x1af4, 0x1100}, 1});
UHCI(ich9_usb_uhci5, "ich9-usb-uhci5", {{0x8086, 0x2938, 3, 0x0c0300, 0x1af4, 0x1100}, 2});
UHCI(ich9_usb_uhci6, "ich9-usb-uhci6", {{0x8086, 0x2939, 3, 0x0c0300, 0x1af4, 0x1100}, 3});
