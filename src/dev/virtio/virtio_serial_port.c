/* Ports of the console device: -device virtconsole and virtserialport. Bytes between a character back end and a
 * pair of queues. No queue element is kept between calls: what the back end has not taken stays in the ring,
 * with a count of the bytes that are through. */
#include "dev/virtio/virtio_serial.h"

#include "base/log.h"
#include "bus/vmevent.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* --- host to guest --- */

static bool port_live(const struct serial_port *p)
{
    return p->s && viv_virtio_live(&p->s->v) && (p->guest_open || !serial_multiport(p->s));
}

static size_t chr_can_read(void *front)
{
    struct serial_port *p = front;
    struct viv_virtq_elem *e;
    size_t room;

    if (!port_live(p))
        return 0;
    e = viv_virtq_pop(&p->s->v, serial_rx_queue(p)); /* none: the driver's next kick asks again */
    if (!e)
        return 0;
    room = e->in_len;
    viv_virtq_unpop(e);
    return room;
}

static void chr_read(void *front, const uint8_t *buf, size_t len)
{
    struct serial_port *p = front;
    unsigned queue = serial_rx_queue(p);

    while (len && port_live(p)) {
        struct viv_virtq_elem *e = viv_virtq_pop(&p->s->v, queue);
        size_t n;

        if (!e)
            break;
        n = viv_iov_from_buf(e->in, e->in_num, 0, buf, len);
        viv_virtq_push(e, n);
        buf += n;
        len -= n;
        if (!n)
            break;
    }
    if (p->s)
        viv_virtq_notify(&p->s->v, queue);
}

void serial_port_tell_open(struct serial_port *p)
{
    uint8_t now = p->host_open ? SERIAL_TOLD_OPEN : SERIAL_TOLD_CLOSED;

    if (p->told == SERIAL_TOLD_NOTHING || p->told == now)
        return;
    p->told = now;
    serial_send_control(p->s, p->nr, SERIAL_PORT_OPEN, p->host_open);
}

static void set_host_open(struct serial_port *p, bool open)
{
    p->host_open = open;
    if (p->s)
        serial_port_tell_open(p);
}

static void chr_event(void *front, enum viv_chr_event ev)
{
    struct serial_port *p = front;

    if (p->console) /* always open: what is written with nobody there is lost, as on a terminal */
        return;
    if (ev == VIV_CHR_OPENED || ev == VIV_CHR_CLOSED)
        set_host_open(p, ev == VIV_CHR_OPENED);
}

static void chr_moved(void *front, struct viv_chr *to)
{
    ((struct serial_port *)front)->chr = to;
}

static bool chr_open(void *front)
{
    const struct serial_port *p = front;

    return p->console || p->guest_open;
}

static const struct viv_chr_front chr_front = {
    .can_read = chr_can_read,
    .read = chr_read,
    .event = chr_event,
    .moved = chr_moved,
    .open = chr_open,
};

void serial_port_accept(struct serial_port *p)
{
    if (p->chr)
        viv_chr_accept_input(p->chr);
}

/* --- guest to host --- */

enum { HELD_MOST = 1 << 20 }; /* bytes */
enum { KICK_MOST = 1 << 20 }; /* bytes: one chain can name memory by gigabytes, and all the machine waits meanwhile */

static void let_go(struct serial_port *p);

static void writable(void *opaque)
{
    struct serial_port *p = opaque;

    p->tx_waiting = false;
    if (p->console)
        let_go(p);
    else if (p->s)
        viv_virtio_kick(&p->s->v, serial_rx_queue(p) + 1);
}

static void wait_for_room(struct serial_port *p)
{
    p->tx_waiting = true;
    viv_chr_on_writable(p->chr, writable, p);
}

/* Hands on what was held. */
static void let_go(struct serial_port *p)
{
    size_t n = p->held->len ? viv_chr_write(p->chr, p->held->data, p->held->len) : 0;

    if (n)
        g_byte_array_remove_range(p->held, 0, (guint)n);
    if (p->held->len && !p->tx_waiting)
        wait_for_room(p);
}

/* As many bytes as the guest is rid of. A guest waits for its console with its interrupts off (Linux's hvc: until the buffer is used), so
 * that a terminal nobody reads would stop it: the device takes all, and what is more than it holds is lost. */
static size_t put(struct serial_port *p, const uint8_t *buf, size_t len)
{
    size_t done;

    if (!p->console)
        return viv_chr_write(p->chr, buf, len);
    done = p->held->len ? 0 : viv_chr_write(p->chr, buf, len);
    g_byte_array_append(p->held, buf + done, (guint)MIN(len - done, HELD_MOST - p->held->len));
    let_go(p);
    return len;
}

/* True when all of the buffer is through, within *budget bytes. */
static bool write_out(struct serial_port *p, struct viv_virtq_elem *e, size_t *budget)
{
    uint64_t start = 0;

    for (unsigned i = 0; i < e->out_num; i++) {
        uint64_t len = e->out[i].iov_len;

        while (p->tx_done < start + len) {
            uint64_t skip = p->tx_done - start;
            size_t most = MIN(len - skip, *budget);
            size_t n = most ? put(p, (uint8_t *)e->out[i].iov_base + skip, most) : 0;

            if (!n)
                return false;
            p->tx_done += n;
            *budget -= n;
        }
        start += len;
    }
    return true;
}

void serial_port_transmit(struct serial_port *p)
{
    unsigned queue = serial_rx_queue(p) + 1;
    struct viv_virtq_elem *e;
    size_t budget = KICK_MOST;

    while ((p->console || !p->tx_waiting) && (e = viv_virtq_pop(&p->s->v, queue))) {
        if (p->chr && !write_out(p, e, &budget)) {
            viv_virtq_unpop(e);
            if (!budget) {
                viv_virtq_yield(&p->s->v, queue);
                continue;
            }
            wait_for_room(p);
            break;
        }
        p->tx_done = 0;
        viv_virtq_push(e, 0);
    }
    viv_virtq_notify(&p->s->v, queue);
}

/* --- the conversation about the port --- */

void serial_port_announce(struct serial_port *p)
{
    if (p->console)
        serial_send_control(p->s, p->nr, SERIAL_CONSOLE_PORT, 1);
    if (p->name)
        serial_send_control(p->s, p->nr, SERIAL_PORT_NAME, 1);
    p->told = SERIAL_TOLD_CLOSED; /* what a new port is */
    serial_port_tell_open(p);
}

static void set_guest_open(struct serial_port *p, bool open)
{
    if (p->guest_open == open)
        return;
    p->guest_open = open;
    if (p->dev.id)
        viv_vm_event_json("VSERPORT_CHANGE", json_pack("{s:s, s:b}", "id", p->dev.id, "open", open));
}

void serial_port_guest_open(struct serial_port *p, bool open)
{
    set_guest_open(p, open);
    if (open)
        serial_port_accept(p);
}

void serial_port_reset(struct serial_port *p)
{
    set_guest_open(p, false);
    p->told = SERIAL_TOLD_NOTHING;
    p->tx_done = 0;
    if (p->console) /* what it holds is out of the guest's hands */
        return;
    if (p->tx_waiting)
        viv_chr_on_writable(p->chr, NULL, p);
    p->tx_waiting = false;
}

/* --- making one --- */

static int find_bus(struct serial_port *p, struct viv_opts *opts, struct viv_err *err)
{
    const char *bus = viv_opts_str(opts, "bus");

    for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        struct virtio_serial *s = d->life == VIV_DEV_LEAVING ? NULL : serial_of(d);
        g_autofree char *name = s && d->id ? g_strdup_printf("%s.0", d->id) : NULL;

        if (s && (!bus || (name && !strcmp(bus, name))))
            p->s = s; /* without bus=, the one made last */
    }
    if (!p->s && bus)
        return viv_fail(err, ENODEV, "%s: there is no bus '%s'; -device virtio-serial-pci,id=ID makes ID.0",
                        viv_opts_what(opts), bus);
    if (!p->s)
        return viv_fail(err, ENODEV, "%s: no device to sit on; put -device virtio-serial-pci before it",
                        viv_opts_what(opts));
    return 0;
}

static int find_number(struct serial_port *p, struct viv_opts *opts, struct viv_err *err)
{
    uint32_t nr = p->console ? 0 : 1; /* port 0 is for a console (5.3.5) */

    if (viv_opts_given(opts, "nr")) {
        nr = viv_opts_int(opts, "nr");
        if (nr >= p->s->max_ports || (!nr && !p->console))
            return viv_fail(err, EINVAL, "%s: nr=%u: ports are %u to %u", viv_opts_what(opts), nr,
                            p->console ? 0 : 1, p->s->max_ports - 1);
        if (p->s->port[nr])
            return viv_fail(err, EBUSY, "%s: port %u is taken", viv_opts_what(opts), nr);
    } else {
        while (nr < p->s->max_ports && p->s->port[nr])
            nr++;
        if (nr >= p->s->max_ports)
            return viv_fail(err, ENOSPC, "%s: all %u ports are taken", viv_opts_what(opts), p->s->max_ports);
    }
    p->nr = nr;
    return 0;
}

static int attach_chr(struct serial_port *p, struct viv_opts *opts, struct viv_err *err)
{
    const char *id = viv_opts_str(opts, "chardev");

    if (!id)
        return 0;
    p->chr = viv_chr_find(id);
    if (!p->chr)
        return viv_fail(err, ENOENT, "%s: there is no chardev '%s'", viv_opts_what(opts), id);
    return viv_chr_attach(p->chr, &chr_front, p, err);
}

static int port_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct serial_port *p = (struct serial_port *)d;
    int rc;

    p->console = d->cls->data != NULL;
    p->host_open = p->console;
    p->held = g_byte_array_new();
    rc = find_bus(p, opts, err);
    if (!rc)
        rc = find_number(p, opts, err);
    if (!rc)
        rc = attach_chr(p, opts, err);
    if (rc) {
        g_byte_array_unref(p->held);
        return rc;
    }
    p->name = g_strdup(viv_opts_str(opts, "name"));
    d->parent = p->s->v.dev;
    if (!d->path) /* by its place: saved state is loaded by that */
        d->path = g_strdup_printf("%s/%u/%s", d->parent->path, p->nr, d->cls->name);
    p->s->port[p->nr] = p;
    serial_send_control(p->s, p->nr, SERIAL_PORT_ADD, 1);
    return 0;
}

static void port_reset(struct viv_dev *d)
{
    /* with the device it sits on */
}

/* ---- coming and going ---- */

static void pull(struct viv_dev *d)
{
    struct serial_port *p = (struct serial_port *)d;

    serial_port_reset(p);
    if (!p->s)
        return;
    p->s->port[p->nr] = NULL;
    serial_send_control(p->s, p->nr, SERIAL_PORT_REMOVE, 1);
    p->s = NULL;
}

static const struct viv_hotplug hotplug = {.unplug = pull};

static void port_unrealize(struct viv_dev *d)
{
    struct serial_port *p = (struct serial_port *)d;

    pull(d);
    if (p->chr)
        viv_chr_detach(p->chr, p);
    g_byte_array_unref(p->held);
    g_free(p->name);
}

static int port_post_load(void *obj, int version, struct viv_err *err)
{
    struct serial_port *p = obj;

    if (version < 2)
        p->told = SERIAL_TOLD_UNKNOWN;
    return p->told > SERIAL_TOLD_UNKNOWN ? viv_fail(err, EINVAL, "the guest knows %u of the host's side", p->told) : 0;
}

static const struct viv_field port_fields[] = {
    VIV_F_CONFIG(serial_port, dev),
    VIV_F_CONFIG(serial_port, s),
    VIV_F_CONFIG(serial_port, nr),
    VIV_F_CONFIG(serial_port, console),
    VIV_F_CONFIG(serial_port, name),
    VIV_F_CONFIG(serial_port, chr),
    VIV_F_INT(serial_port, guest_open),
    VIV_F_DERIVED(serial_port, host_open, "the back end tells"),
    {.name = "told", .kind = VIV_FIELD_INT, .offset = offsetof(struct serial_port, told), .size = 1, .count = 1, .since = 2},
    VIV_F_INT(serial_port, tx_done),
    VIV_F_CONFIG(serial_port, held), /* the host's side */
    VIV_F_DERIVED(serial_port, tx_waiting, "queues are kicked when the VM goes on: tried again then"),
    VIV_F_END,
};

static const struct viv_state_table port_state = {
    .name = "virtio-serial-port",
    .ctype = "serial_port",
    .version = 2, /* 2: told */
    .min_version = 1,
    .fields = port_fields,
    .post_load = port_post_load,
};

static const struct viv_opt_def port_props[] = {
    {.name = "chardev", .type = VIV_OPT_STR, .help = "id of a -chardev"},
    {.name = "name", .type = VIV_OPT_STR, .help = "name in the guest: /dev/virtio-ports/NAME"},
    {.name = "nr", .type = VIV_OPT_INT, .min = 0, .max = SERIAL_PORTS_MAX - 1, .help = "port number"},
    {.name = "bus", .type = VIV_OPT_STR, .help = "device to sit on: ID.0 of a virtio-serial"},
    VIV_OPT_END,
};

#define PORT_CLASS(sym, typed, text, is_console)                                                   \
    extern const struct viv_dev_class sym;                                                         \
    const struct viv_dev_class sym = {                                                             \
        .name = (typed),                                                                           \
        .desc = (text),                                                                            \
        .bus = VIV_BUS_VIRTIO_SERIAL,                                                              \
        .hotplug = &hotplug,                                                                       \
        .size = sizeof(struct serial_port),                                                        \
        .props = port_props,                                                                       \
        .state = &port_state,                                                                      \
        .realize = port_realize,                                                                   \
        .reset = port_reset,                                                                       \
        .unrealize = port_unrealize,                                                               \
        .data = (is_console),                                                                      \
    }

PORT_CLASS(viv_dev_virtconsole, "virtconsole", "console on a virtio-serial device (hvc0)", "console");
PORT_CLASS(viv_dev_virtserialport, "virtserialport", "port on a virtio-serial device", NULL);
