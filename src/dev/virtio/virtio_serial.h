/* virtio-serial (virtio 1.2, 5.3 "Console device"), from inside: the device and its ports. */
#ifndef VIV_DEV_VIRTIO_VIRTIO_SERIAL_H
#define VIV_DEV_VIRTIO_VIRTIO_SERIAL_H

#include "bus/virtio.h"
#include "chr/chr.h"

#include <glib.h>

enum { SERIAL_PORTS_MAX = 31, SERIAL_F_MULTIPORT = 1 };

enum { /* control events, 5.3.6.2 */
    SERIAL_DEVICE_READY = 0,
    SERIAL_PORT_ADD = 1,
    SERIAL_PORT_REMOVE = 2,
    SERIAL_PORT_READY = 3,
    SERIAL_CONSOLE_PORT = 4,
    SERIAL_RESIZE = 5,
    SERIAL_PORT_OPEN = 6,
    SERIAL_PORT_NAME = 7,
};

enum { SERIAL_Q_CTRL_RX = 2, SERIAL_Q_CTRL_TX = 3 };

enum serial_told { SERIAL_TOLD_NOTHING, SERIAL_TOLD_CLOSED, SERIAL_TOLD_OPEN, SERIAL_TOLD_UNKNOWN };

struct serial_port;

struct virtio_serial {
    struct viv_virtio v;
    uint32_t max_ports;
    struct serial_port *port[SERIAL_PORTS_MAX];
    bool ready;        /* the driver has said DEVICE_READY */
    uint8_t *pending;  /* control messages that wait for a buffer, 8 bytes each */
    uint32_t pending_len;
};

/* What -device virtconsole and virtserialport make. */
struct serial_port {
    struct viv_dev dev;
    struct virtio_serial *s; /* NULL once the device is gone */
    uint32_t nr;
    bool console;
    char *name;          /* shows in the guest as /dev/virtio-ports/NAME; may be NULL */
    struct viv_chr *chr; /* may be NULL: what is written vanishes */
    bool guest_open;
    bool host_open;
    uint8_t told; /* what the guest knows of host_open: enum serial_told */
    uint32_t tx_done;    /* bytes of the oldest transmit buffer that the back end has taken */
    bool tx_waiting;     /* for the back end to have room */
    GByteArray *held;    /* a console: what the guest has rid itself of and the back end has not taken yet */
};

static inline unsigned serial_rx_queue(const struct serial_port *p)
{
    return p->nr ? 2 + 2 * p->nr : 0;
}

static inline bool serial_multiport(const struct virtio_serial *s)
{
    return viv_virtio_has(&s->v, SERIAL_F_MULTIPORT);
}

extern const struct viv_virtio_class serial_fn;

/* The device function behind a transport, or NULL. */
struct virtio_serial *serial_of(struct viv_dev *d);
/* To the driver, now or when it has a buffer. Nothing before DEVICE_READY. */
void serial_send_control(struct virtio_serial *s, uint32_t port, uint16_t event, uint16_t value);

void serial_port_announce(struct serial_port *p); /* the driver has made the port: tell its nature */
void serial_port_tell_open(struct serial_port *p); /* if it has that, and knows otherwise */
void serial_port_guest_open(struct serial_port *p, bool open);
void serial_port_reset(struct serial_port *p);
void serial_port_transmit(struct serial_port *p); /* in a kick of its queue */
/* The guest can take bytes now, perhaps. */
void serial_port_accept(struct serial_port *p);

#endif
