/* The console device: queues, configuration and the control conversation. Ports are in virtio_serial_port.c. */
#include "dev/virtio/virtio_serial.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { CFG_MAX_PORTS = 4, CFG_LEN = 12, MESSAGE = 8, PENDING_MAX = 1024 * MESSAGE, QUEUE_SIZE = 128 };

/* --- control messages to the driver --- */

static const char *port_name(struct virtio_serial *s, uint32_t nr)
{
    return nr < s->max_ports && s->port[nr] && s->port[nr]->name ? s->port[nr]->name : "";
}

/* False: the driver has no buffer. */
static bool deliver_message(struct virtio_serial *s, const uint8_t *message)
{
    struct viv_virtq_elem *e = viv_virtq_pop(&s->v, SERIAL_Q_CTRL_RX);
    size_t n;

    if (!e)
        return false;
    n = viv_iov_from_buf(e->in, e->in_num, 0, message, MESSAGE);
    if (viv_ld_le16(message + 4) == SERIAL_PORT_NAME) {
        const char *name = port_name(s, viv_ld_le32(message));

        n += viv_iov_from_buf(e->in, e->in_num, n, name, strlen(name));
    }
    viv_virtq_push(e, n);
    return true;
}

static void flush_pending(struct virtio_serial *s)
{
    uint32_t at = 0;

    while (at < s->pending_len && deliver_message(s, s->pending + at))
        at += MESSAGE;
    if (!at)
        return;
    s->pending_len -= at;
    memmove(s->pending, s->pending + at, s->pending_len);
    viv_virtq_notify(&s->v, SERIAL_Q_CTRL_RX);
}

void serial_send_control(struct virtio_serial *s, uint32_t port, uint16_t event, uint16_t value)
{
    if (!s->ready || !serial_multiport(s))
        return;
    if (s->pending_len >= PENDING_MAX) {
        viv_guest_error(viv_virtio_name(&s->v), "the driver takes no control messages");
        return;
    }
    s->pending = g_realloc(s->pending, s->pending_len + MESSAGE);
    viv_st_le32(s->pending + s->pending_len, port);
    viv_st_le16(s->pending + s->pending_len + 4, event);
    viv_st_le16(s->pending + s->pending_len + 6, value);
    s->pending_len += MESSAGE;
    if (viv_virtio_live(&s->v))
        flush_pending(s);
}

/* --- control messages from the driver --- */

static void announce_ports(struct virtio_serial *s)
{
    s->ready = true;
    for (uint32_t i = 0; i < s->max_ports; i++) {
        if (s->port[i])
            serial_send_control(s, i, SERIAL_PORT_ADD, 1);
    }
}

static void handle_message(struct virtio_serial *s, const uint8_t *m)
{
    uint32_t nr = viv_ld_le32(m);
    uint16_t event = viv_ld_le16(m + 4), value = viv_ld_le16(m + 6);
    struct serial_port *p;

    if (event == SERIAL_DEVICE_READY) {
        if (value)
            announce_ports(s);
        else
            viv_guest_error(viv_virtio_name(&s->v), "the driver failed to set up the device");
        return;
    }
    p = nr < s->max_ports ? s->port[nr] : NULL;
    if (!p) {
        viv_guest_error(viv_virtio_name(&s->v), "control event %u for port %u, which is not there", event, nr);
        return;
    }
    switch (event) {
    case SERIAL_PORT_READY:
        if (value)
            serial_port_announce(p);
        else
            viv_guest_error(viv_virtio_name(&s->v), "the driver failed to set up port %u", nr);
        return;
    case SERIAL_PORT_OPEN:
        serial_port_guest_open(p, value != 0);
        return;
    default:
        viv_guest_error(viv_virtio_name(&s->v), "control event %u", event);
    }
}

static void take_control(struct virtio_serial *s)
{
    struct viv_virtq_elem *e;

    while ((e = viv_virtq_pop(&s->v, SERIAL_Q_CTRL_TX))) {
        uint8_t m[MESSAGE];
        bool whole = viv_iov_to_buf(e->out, e->out_num, 0, m, MESSAGE) == MESSAGE;

        viv_virtq_push(e, 0);
        if (whole)
            handle_message(s, m);
        else
            viv_guest_error(viv_virtio_name(&s->v), "a control message that is too short");
    }
    viv_virtq_notify(&s->v, SERIAL_Q_CTRL_TX);
}

/* --- the device function --- */

/* A transmit queue without a port: what is written vanishes. */
static void discard(struct virtio_serial *s, unsigned queue)
{
    struct viv_virtq_elem *e;

    while ((e = viv_virtq_pop(&s->v, queue)))
        viv_virtq_push(e, 0);
    viv_virtq_notify(&s->v, queue);
}

static void serial_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_serial *s = (struct virtio_serial *)v;
    struct serial_port *p;

    if (queue == SERIAL_Q_CTRL_RX) {
        /* After a load the host's side need not be what it was; this kick comes when the VM goes on. */
        for (uint32_t i = 0; i < s->max_ports; i++) {
            if (s->port[i])
                serial_port_tell_open(s->port[i]);
        }
        flush_pending(s);
        return;
    }
    if (queue == SERIAL_Q_CTRL_TX) {
        take_control(s);
        return;
    }
    p = s->port[queue < 2 ? 0 : queue / 2 - 1];
    if (queue % 2 == 0) {
        if (p)
            serial_port_accept(p);
    } else if (p) {
        serial_port_transmit(p);
    } else {
        discard(s, queue);
    }
}

static uint64_t serial_features(struct viv_virtio *v)
{
    return 1ull << SERIAL_F_MULTIPORT;
}

static void serial_get_config(struct viv_virtio *v, uint8_t *c)
{
    viv_st_le32(c + CFG_MAX_PORTS, ((struct virtio_serial *)v)->max_ports);
}

static void serial_reset(struct viv_virtio *v)
{
    struct virtio_serial *s = (struct virtio_serial *)v;

    s->ready = false;
    g_clear_pointer(&s->pending, g_free);
    s->pending_len = 0;
    for (uint32_t i = 0; i < s->max_ports; i++) {
        if (s->port[i])
            serial_port_reset(s->port[i]);
    }
}

static int serial_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_serial *s = (struct virtio_serial *)v;

    s->max_ports = viv_opts_int(opts, "max_ports");
    for (unsigned i = 0; i < 2 * (s->max_ports + 1); i++)
        viv_virtio_add_queue(v, QUEUE_SIZE);
    return 0;
}

static void serial_unrealize(struct viv_virtio *v)
{
    struct virtio_serial *s = (struct virtio_serial *)v;

    for (uint32_t i = 0; i < s->max_ports; i++) {
        if (s->port[i])
            s->port[i]->s = NULL;
    }
    g_free(s->pending);
}

struct virtio_serial *serial_of(struct viv_dev *d)
{
    struct viv_virtio *v = viv_virtio_of(d);

    return v && v->cls == &serial_fn ? (struct virtio_serial *)v : NULL;
}

static int serial_post_load(void *obj, int version, struct viv_err *err)
{
    struct virtio_serial *s = obj;

    return s->pending_len % MESSAGE ? viv_fail(err, EINVAL, "half a control message") : 0;
}

static const struct viv_field serial_fields[] = {
    VIV_F_STRUCT(virtio_serial, v, viv_virtio_state),
    VIV_F_CONFIG(virtio_serial, max_ports),
    VIV_F_CONFIG(virtio_serial, port),
    VIV_F_INT(virtio_serial, ready),
    VIV_F_VARBYTES(virtio_serial, pending, pending_len, PENDING_MAX),
    VIV_F_DERIVED(virtio_serial, pending_len, "comes with pending"),
    VIV_F_END,
};

static const struct viv_state_table serial_state = {
    .name = "virtio-serial",
    .ctype = "virtio_serial",
    .version = 1,
    .min_version = 1,
    .fields = serial_fields,
    .post_load = serial_post_load,
};

const struct viv_virtio_class serial_fn = {
    .name = "virtio-serial",
    .device_id = VIV_VIRTIO_ID_CONSOLE,
    .pci_legacy_id = 0x1003,
    .pci_class = 0x078000,
    .pci_vectors = 2, /* there are 64 queues: one vector for all of them */
    .config_len = CFG_LEN,
    .size = sizeof(struct virtio_serial),
    .state = &serial_state,
    .realize = serial_realize,
    .unrealize = serial_unrealize,
    .features = serial_features,
    .get_config = serial_get_config,
    .kick = serial_kick,
    .reset = serial_reset,
};

#define SERIAL_PROPS                                                                               \
    {.name = "max_ports", .type = VIV_OPT_INT, .def = "31", .min = 1, .max = SERIAL_PORTS_MAX,     \
     .help = "ports the guest makes room for"},                                                    \
    {.name = "emergency-write", .type = VIV_OPT_REFUSED,                                           \
     .help = "not implemented; an early console is on the serial port (console=ttyS0)"},           \
    VIV_VIRTIO_PROPS

static const struct viv_opt_def serial_mmio_props[] = {SERIAL_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def serial_pci_props[] = {SERIAL_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_serial_device, serial_fn, "virtio-serial-device",
                      "virtio console and serial ports, over MMIO", serial_mmio_props);
VIV_VIRTIO_PCI_CLASSES(viv_dev_virtio_serial_pci, serial_fn, "virtio-serial-pci",
                       "virtio console and serial ports", serial_pci_props);
VIV_VIRTIO_PCI_CLASS_(viv_dev_virtio_serial, serial_fn, VIV_VIRTIO_PCI_AUTO, "virtio-serial",
                      "virtio console and serial ports (short for virtio-serial-pci)", serial_pci_props);
