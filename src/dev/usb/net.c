/* usb-net: an Ethernet card (CDC 1.2; Ethernet Control Model 1.2).
 *
 * A frame is a transfer that ends with a short packet (ECM 3.3.1). Left out: RNDIS, statistics, wake-up patterns, lists of
 * multicast addresses (the filter's multicast bit lets all of them through). */
#include "bus/usb.h"
#include "dev/net/nic.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define FRAME_MOST 1518
#define FRAMES     16 /* that wait for the host */

enum { EP_NOTIFY = 0x81, EP_IN = 0x82, EP_OUT = 0x02 };
enum { FILTER_ALL = 1, FILTER_MULTICASTS = 2, FILTER_DIRECTED = 4, FILTER_BROADCAST = 8, FILTER_MULTICAST = 16 };
enum { TELL_SPEED = 1, TELL_LINK = 2 };

struct net_frame {
    uint16_t len;
    uint8_t data[FRAME_MOST];
};

struct usb_net {
    struct viv_usb_dev usb;
    struct viv_netdev *netdev; /* NULL: no cable */
    uint8_t mac[6];
    bool link_up; /* the cable */
    bool running;
    uint8_t filter;
    uint8_t tell;
    struct net_frame in[FRAMES];
    uint8_t head, count;
    uint16_t at; /* of the first frame, bytes taken */
    struct net_frame out;
    bool too_long; /* the rest of it is passed over */
    bool blocked;  /* the back end did not take `out` */
};

static struct usb_net *net_of(struct viv_usb_dev *d)
{
    return (struct usb_net *)d;
}

static size_t packet_size(const struct usb_net *n)
{
    return n->usb.speed == VIV_USB_FULL ? 64 : 512;
}

/* The data interface's setting with endpoints. */
static bool connected(const struct usb_net *n)
{
    return n->usb.configuration && n->usb.alternate[1];
}

/* ---- from the wire ---- */

static bool can_receive(void *nic)
{
    struct usb_net *n = nic;

    return n->running && connected(n) && n->count < FRAMES;
}

static bool wanted(const struct usb_net *n, const uint8_t *frame)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (n->filter & FILTER_ALL)
        return true;
    if (!memcmp(frame, all, 6))
        return n->filter & FILTER_BROADCAST;
    if (frame[0] & 1)
        return n->filter & (FILTER_MULTICASTS | FILTER_MULTICAST);
    return n->filter & FILTER_DIRECTED && !memcmp(frame, n->mac, 6);
}

static bool receive(void *nic, const uint8_t *frame, size_t len)
{
    struct usb_net *n = nic;
    struct net_frame *f = &n->in[(n->head + n->count) % FRAMES];

    if (!can_receive(nic))
        return false;
    if (len < 14 || len > FRAME_MOST || !wanted(n, frame))
        return true;
    f->len = (uint16_t)len;
    memcpy(f->data, frame, len);
    n->count++;
    viv_usb_wakeup(&n->usb, EP_IN);
    return true;
}

static void link_changed(void *nic, bool up)
{
    struct usb_net *n = nic;

    n->link_up = up;
    n->tell |= TELL_LINK;
    viv_usb_wakeup(&n->usb, EP_NOTIFY);
}

static void send(struct usb_net *n)
{
    struct iovec iov = {n->out.data, n->out.len};

    if (n->netdev && n->out.len >= 14 && !n->too_long && !viv_netdev_send(n->netdev, &iov, 1)) {
        n->blocked = true;
        return;
    }
    n->out.len = 0;
    n->too_long = false;
}

static void send_ready(void *nic)
{
    struct usb_net *n = nic;

    if (n->blocked) {
        n->blocked = false;
        send(n);
    }
    viv_usb_wakeup(&n->usb, EP_OUT);
}

static void info(void *nic, struct viv_nic_info *out)
{
    struct usb_net *n = nic;

    *out = (struct viv_nic_info){.id = n->usb.dev.id, .model = n->usb.dev.cls->name, .mac = n->mac};
}

static void gone(void *nic)
{
    ((struct usb_net *)nic)->netdev = NULL;
    send_ready(nic);
}

static const struct viv_nic_ops nic_ops = {
    .can_receive = can_receive, .receive = receive, .link_changed = link_changed, .send_ready = send_ready, .info = info, .gone = gone};

/* ---- endpoints ---- */

/* CDC 6.3: NETWORK_CONNECTION, CONNECTION_SPEED_CHANGE */
static void notify(struct usb_net *n, struct viv_usb_packet *k)
{
    uint8_t p[16] = {0xa1};
    uint32_t speed = n->usb.speed == VIV_USB_FULL ? 12000000 : 480000000;

    if (n->tell & TELL_SPEED) {
        p[1] = 0x2a;
        p[6] = 8;
        viv_st_le32(p + 8, speed);
        viv_st_le32(p + 12, speed);
        viv_usb_answer(k, p, 16);
        n->tell &= k->status == VIV_USB_OK ? ~TELL_SPEED : ~0;
    } else if (n->tell & TELL_LINK) {
        p[2] = n->link_up;
        viv_usb_answer(k, p, 8);
        n->tell &= k->status == VIV_USB_OK ? ~TELL_LINK : ~0;
    } else {
        k->status = VIV_USB_NAK;
    }
}

static void frame_in(struct usb_net *n, struct viv_usb_packet *k)
{
    struct net_frame *f = &n->in[n->head];

    if (!n->count) {
        k->status = VIV_USB_NAK;
        return;
    }
    n->at += (uint16_t)viv_usb_copy(k, f->data + n->at, f->len - n->at);
    /* An end that is a whole packet is told by an empty one. */
    if (n->at < f->len || (k->actual == k->length && f->len % packet_size(n) == 0))
        return;
    n->at = 0;
    n->head = (uint8_t)((n->head + 1) % FRAMES);
    if (n->count-- == FRAMES && n->netdev)
        viv_netdev_can_receive_changed(n->netdev);
}

static void frame_out(struct usb_net *n, struct viv_usb_packet *k)
{
    size_t part = MIN(k->length, (size_t)(FRAME_MOST - n->out.len));

    if (n->blocked) {
        k->status = VIV_USB_NAK;
        return;
    }
    n->out.len += (uint16_t)viv_usb_copy(k, n->out.data + n->out.len, part);
    if (k->status != VIV_USB_OK)
        return;
    n->too_long |= part < k->length;
    k->actual = k->length;
    if (k->length % packet_size(n) || !k->length)
        send(n);
}

static void net_data(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    struct usb_net *n = net_of(d);

    if (k->pid == VIV_USB_OUT)
        frame_out(n, k);
    else if (k->endpoint == (EP_NOTIFY & 15))
        notify(n, k);
    else
        frame_in(n, k);
}

/* ECM 6.2 */
static int net_control(struct viv_usb_dev *d, const uint8_t s[8], uint8_t *data)
{
    switch (s[0] << 8 | s[1]) {
    case VIV_USB_CLASS_INTERFACE_OUT | 0x40: /* multicast addresses: see above */
        return 0;
    case VIV_USB_CLASS_INTERFACE_OUT | 0x43:
        net_of(d)->filter = s[2] & 31;
        return 0;
    }
    return -1;
}

static void empty(struct viv_usb_dev *d)
{
    struct usb_net *n = net_of(d);

    n->head = n->count = 0;
    n->at = n->out.len = 0;
    n->too_long = n->blocked = false;
    n->filter = FILTER_DIRECTED | FILTER_BROADCAST | FILTER_MULTICAST;
    n->tell = connected(n) ? TELL_SPEED | TELL_LINK : 0;
    if (connected(n)) {
        viv_usb_wakeup(d, EP_NOTIFY);
        if (n->netdev)
            viv_netdev_can_receive_changed(n->netdev);
    }
}

/* ---- descriptors ---- */

/* Header, union of interfaces 0 and 1, Ethernet: string 3 is the address, segments of 1514 bytes. */
static const uint8_t functional[] = {5, 0x24, 0x00, 0x10, 0x01, 5, 0x24, 0x06, 0, 1,
                                     13, 0x24, 0x0f, 3, 0, 0, 0, 0, 1514 & 0xff, 1514 >> 8, 0, 0, 0};

#define FACE(speed, ver, packet, interval)                                                                       \
    static const struct viv_usb_endpoint speed##_notify[] = {{EP_NOTIFY, VIV_USB_INTERRUPT, 16, interval, 0}};     \
    static const struct viv_usb_endpoint speed##_bulk[] = {                                                      \
        {EP_IN, VIV_USB_BULK, packet, 0, 0}, {EP_OUT, VIV_USB_BULK, packet, 0, 0}};                              \
    static const struct viv_usb_interface speed##_interfaces[] = {                                               \
        {.cls = 2, .subclass = 6, .extra = functional, .extra_len = sizeof(functional), .endpoints = speed##_notify, .count = 1}, \
        {.number = 1, .cls = 10},                                                                                \
        {.number = 1, .alternate = 1, .cls = 10, .endpoints = speed##_bulk, .count = 2}};                         \
    static const struct viv_usb_face speed##_face = {.version = ver, .packet0 = 64, .attributes = 0xc0,           \
                                                     .interfaces = speed##_interfaces, .count = 3}
FACE(full, 0x0110, 64, 32);
FACE(high, 0x0200, 512, 9);

static const char *const strings[] = {"Vivarium", "USB Ethernet", "525400123456", NULL};
static const struct viv_usb_desc desc = {
    .vendor = 0x0525, .product = 0xa4a1, .release = 0x0100, .cls = 2, .manufacturer = 1, .name = 2, .serial = 3,
    .strings = strings, .face = {[VIV_USB_FULL] = &full_face, [VIV_USB_HIGH] = &high_face}};

/* ---- class ---- */

static int net_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_usb_dev_ops ops = {.reset = empty, .control = net_control, .data = net_data, .configured = empty};
    struct usb_net *n = (struct usb_net *)d;
    const uint8_t *m = n->mac;
    int rc = viv_net_mac(viv_opts_str(opts, "mac"), d->board->vm_identity, n->mac, err);

    if (rc < 0) {
        viv_err_prefix(err, "%s", viv_opts_what(opts));
        return rc;
    }
    rc = nic_take_backend(opts, &nic_ops, n, &n->netdev, err);
    if (rc < 0) {
        viv_net_mac_release(n->mac);
        return rc;
    }
    n->link_up = n->netdev && viv_netdev_link_up(n->netdev);
    n->usb.ops = &ops;
    n->usb.desc = &desc;
    n->usb.serial = g_strdup_printf("%02X%02X%02X%02X%02X%02X", m[0], m[1], m[2], m[3], m[4], m[5]);
    rc = viv_usb_dev_init(&n->usb, opts, err);
    if (rc < 0) {
        if (n->netdev)
            viv_netdev_detach(n->netdev);
        viv_net_mac_release(n->mac);
        viv_usb_dev_fini(&n->usb);
        return rc;
    }
    viv_nic_add(&nic_ops, n);
    return 0;
}

static void net_unrealize(struct viv_dev *d)
{
    struct usb_net *n = (struct usb_net *)d;

    viv_nic_remove(n);
    if (n->netdev)
        viv_netdev_detach(n->netdev);
    n->netdev = NULL;
    viv_net_mac_release(n->mac);
    viv_usb_dev_fini(&n->usb);
}

static void net_reset(struct viv_dev *d)
{
    viv_usb_dev_reset(&((struct usb_net *)d)->usb);
}

static void net_running(struct viv_dev *d, bool running)
{
    struct usb_net *n = (struct usb_net *)d;

    n->running = running;
    if (!running)
        return;
    send_ready(n);
    if (n->netdev)
        viv_netdev_can_receive_changed(n->netdev);
}

static void save_netdev(struct viv_state_writer *w, const void *obj)
{
    nic_save_backend(w, ((const struct usb_net *)obj)->netdev);
}

static int load_netdev(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    return nic_load_backend(r, ((struct usb_net *)obj)->netdev, err);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct usb_net *n = obj;
    bool good = n->head < FRAMES && n->count <= FRAMES && n->out.len <= FRAME_MOST && n->at <= (n->count ? n->in[n->head % FRAMES].len : 0);

    for (unsigned i = 0; i < FRAMES; i++)
        good = good && n->in[i].len <= FRAME_MOST;
    if (!good)
        return viv_fail(err, EINVAL, "usb-net with %u frames from %u", n->count, n->head);
    if (version < 2) { /* it was not saved: the guest is told of the cable that there is */
        n->link_up = n->netdev && viv_netdev_link_up(n->netdev);
        n->tell |= TELL_LINK;
    }
    viv_netdev_restore_link(n->netdev, n->link_up);
    return 0;
}

static const struct viv_state_table frame_state = {
    .name = "net-frame",
    .ctype = "net_frame",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(net_frame, len),
            VIV_F_BYTES(net_frame, data),
            VIV_F_END,
        },
};

static const struct viv_state_table state = {
    .name = "usb-net",
    .ctype = "usb_net",
    .version = 2, /* 2: link_up */
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(usb_net, usb, viv_usb_dev_state),
            VIV_F_CUSTOM(usb_net, netdev, save_netdev, load_netdev),
            VIV_F_CONFIG(usb_net, mac),
            {.name = "link_up", .kind = VIV_FIELD_BOOL, .offset = offsetof(struct usb_net, link_up), .size = 1, .count = 1, .since = 2},
            VIV_F_DERIVED(usb_net, running, "the VM's state"),
            VIV_F_INT(usb_net, filter),
            VIV_F_INT(usb_net, tell),
            VIV_F_STRUCTS(usb_net, in, frame_state),
            VIV_F_INT(usb_net, head),
            VIV_F_INT(usb_net, count),
            VIV_F_INT(usb_net, at),
            VIV_F_STRUCT(usb_net, out, frame_state),
            VIV_F_INT(usb_net, too_long),
            VIV_F_INT(usb_net, blocked),
            VIV_F_END,
        },
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {
    VIV_USB_PROPS,
    {.name = "netdev", .type = VIV_OPT_STR, .help = "id of a -netdev"},
    {.name = "mac", .type = VIV_OPT_STR, .help = "address (default: made from the VM's uuid, name or disks)"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_usb_net = {
    .name = "usb-net",
    .desc = "USB Ethernet card (CDC ECM)",
    .bus = VIV_BUS_USB,
    .hotplug = &viv_usb_hotplug,
    .size = sizeof(struct usb_net),
    .props = props,
    .state = &state,
    .realize = net_realize,
    .reset = net_reset,
    .unrealize = net_unrealize,
    .vm_running = net_running,
};
