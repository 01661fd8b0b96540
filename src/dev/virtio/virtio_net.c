/* virtio-net: pairs of queues and a control queue. Offloads are offered as far as the back end has them: user networking
 * gives frames whose checksums need no checking (GUEST_CSUM), merges TCP segments for the guest (GUEST_TSO4) and takes
 * such segments whole; a tap does all that its kernel does. Up to 16 pairs of queues, where the back end has
 * several. Left out: RSS, announcing. */
#include "dev/virtio/virtio_net.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "dev/net/nic.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { /* struct virtio_net_config, 5.1.4 */
    CFG_MAC = 0,
    CFG_STATUS = 6,
    CFG_PAIRS = 8,
    CFG_MTU = 10,
    CFG_LEN = 12,
    STATUS_LINK_UP = 1,
};

enum { /* struct virtio_net_hdr, 5.1.6: struct viv_net_hdr, then NUM_BUFFERS */
    HDR_FLAGS = 0,
    HDR_NUM_BUFFERS = 10,
    HDR_LEN_LEGACY = 10, /* without MRG_RXBUF, for drivers without VERSION_1 */
    HDR_LEN = 12,
};

enum { RX_BUFFERS = 64 }; /* a frame is at most 65550 bytes; drivers post at least 1.5 KiB */

unsigned virtio_net_header_len(const struct virtio_net *n)
{
    return viv_virtio_has(&n->v, VIV_VIRTIO_F_VERSION_1) || viv_virtio_has(&n->v, NET_F_MRG_RXBUF)
               ? HDR_LEN
               : HDR_LEN_LEGACY;
}

/* --- host to guest --- */

static unsigned rx_queue(const struct net_pair *p)
{
    return 2 * p->index + NET_Q_RX;
}

static unsigned tx_queue(const struct net_pair *p)
{
    return 2 * p->index + NET_Q_TX;
}

static bool can_receive(void *nic)
{
    struct net_pair *p = nic;
    struct virtio_net *n = p->n;

    /* When there is no buffer the driver is asked to kick with the next one. */
    return viv_virtio_live(&n->v) && n->link_up && p->index < n->active &&
           (!viv_virtq_empty(&n->v, rx_queue(p)) || viv_virtq_set_kick(&n->v, rx_queue(p), true));
}

static void give_back(struct viv_virtq_elem **e, unsigned count)
{
    while (count)
        viv_virtq_unpop(e[--count]);
}

/* Buffers for `need` bytes: one, or as many as it takes with MRG_RXBUF. Returns how many; 0: there are not
 * enough now; -1: the frame will never fit, as all that the ring can hold is here and too little. */
static int take_buffers(struct virtio_net *n, unsigned queue, size_t need, struct viv_virtq_elem **e)
{
    unsigned count = 0, used = 0;
    uint64_t room = 0;

    do {
        if (count == RX_BUFFERS || (count && !viv_virtio_has(&n->v, NET_F_MRG_RXBUF))) {
            give_back(e, count);
            return -1;
        }
        e[count] = viv_virtq_pop(&n->v, queue);
        if (!e[count]) {
            give_back(e, count);
            return used >= viv_virtq_size(&n->v, queue) ? -1 : 0;
        }
        used += e[count]->in_num + e[count]->out_num;
        room += e[count++]->in_len;
    } while (room < need);
    return count;
}

static void store(struct virtio_net *n, struct viv_virtq_elem **e, int count, const uint8_t *frame,
                  size_t len, const struct viv_net_hdr *hdr)
{
    uint8_t header[HDR_LEN] = {0};
    size_t head = virtio_net_header_len(n), at = 0;
    uint32_t written[RX_BUFFERS];

    if (hdr)
        memcpy(header, hdr, sizeof(*hdr));
    else if (viv_virtio_has(&n->v, NET_F_GUEST_CSUM) && n->netdev && viv_netdev_rx_trusted(n->netdev))
        header[HDR_FLAGS] = VIV_NET_HDR_DATA_VALID;
    viv_st_le16(header + HDR_NUM_BUFFERS, count);
    for (int i = 0; i < count; i++) {
        size_t used = i ? 0 : viv_iov_from_buf(e[i]->in, e[i]->in_num, 0, header, head);
        size_t part = viv_iov_from_buf(e[i]->in, e[i]->in_num, used, frame + at, len - at);

        at += part;
        written[i] = used + part;
    }
    viv_virtq_push_all(e, written, count); /* a driver that finds the first looks for the others at once (5.1.6.4) */
}

static bool receive_hdr(void *nic, const uint8_t *frame, size_t len, const struct viv_net_hdr *hdr)
{
    struct net_pair *p = nic;
    struct virtio_net *n = p->n;
    struct viv_virtq_elem *e[RX_BUFFERS];
    int count;

    if (!virtio_net_filter(n, frame, len))
        return true;
    count = take_buffers(n, rx_queue(p), virtio_net_header_len(n) + len, e);
    if (count < 0) {
        viv_guest_error(viv_virtio_name(&n->v), "a frame of %zu bytes does not fit the receive buffers",
                        len);
        return true;
    }
    if (count > 0 && e[0]->in_len < virtio_net_header_len(n)) {
        while (count)
            viv_virtq_drop(e[--count]);
        viv_virtio_set_broken(&n->v, "a receive buffer smaller than the packet header");
        return true;
    }
    if (count > 0) {
        store(n, e, count, frame, len, hdr);
        p->rx_used = true;
    }
    return count > 0;
}

static bool receive(void *nic, const uint8_t *frame, size_t len)
{
    return receive_hdr(nic, frame, len, NULL);
}

static void receive_done(void *nic)
{
    struct net_pair *p = nic;

    if (p->rx_used)
        viv_virtq_notify(&p->n->v, rx_queue(p));
    p->rx_used = false;
}

static void link_changed(void *nic, bool up)
{
    struct virtio_net *n = ((struct net_pair *)nic)->n;

    if (n->link_up != up) {
        n->link_up = up;
        viv_virtio_config_changed(&n->v);
    }
    virtio_net_vhost_update(nic);
}

/* --- guest to host --- */

/* Has the driver negotiated what it leaves to us? */
static bool header_allowed(const struct virtio_net *n, const struct viv_net_hdr *h)
{
    static const struct {
        uint8_t type;
        uint8_t feature;
    } types[] = {{VIV_NET_GSO_TCPV4, NET_F_HOST_TSO4}, {VIV_NET_GSO_TCPV6, NET_F_HOST_TSO6}, {VIV_NET_GSO_UDP, NET_F_HOST_UFO}};
    uint8_t type = h->gso_type & ~VIV_NET_GSO_ECN;

    if (h->flags & VIV_NET_HDR_NEEDS_CSUM && !viv_virtio_has(&n->v, NET_F_CSUM))
        return false;
    if (!h->gso_type)
        return true;
    if (h->gso_type & VIV_NET_GSO_ECN && !viv_virtio_has(&n->v, NET_F_HOST_ECN))
        return false;
    for (size_t i = 0; i < VIV_ARRAY_SIZE(types); i++) {
        if (type == types[i].type)
            return viv_virtio_has(&n->v, types[i].feature) && h->gso_size;
    }
    return false;
}

static bool read_header(const struct virtio_net *n, const struct viv_virtq_elem *e, struct viv_net_hdr *hdr)
{
    viv_iov_to_buf(e->out, e->out_num, 0, hdr, sizeof(*hdr));
    hdr->flags &= VIV_NET_HDR_NEEDS_CSUM; /* 5.1.6.2: the device ignores other bits */
    if (header_allowed(n, hdr))
        return true;
    viv_guest_error(viv_virtio_name(&n->v), "a packet with flags %#x, type %#x: that was not negotiated", hdr->flags, hdr->gso_type);
    return false;
}

bool virtio_net_may_send(const struct virtio_net *n, const struct viv_virtq_elem *e)
{
    struct viv_net_hdr hdr;

    return read_header(n, e, &hdr);
}

/* False: the back end is full, the frame is not taken. */
static bool send_one(struct net_pair *p, struct viv_virtq_elem *e)
{
    struct virtio_net *n = p->n;
    struct iovec iov[VIV_VIRTQ_MAX_SEGS];
    unsigned head = virtio_net_header_len(n);
    struct viv_net_hdr hdr;
    int count;

    if (!read_header(n, e, &hdr) || !p->netdev || !n->link_up)
        return true;
    count = viv_iov_cut(iov, e->out, e->out_num, head, e->out_len - head);
    return viv_netdev_send_hdr(p->netdev, hdr.flags || hdr.gso_type ? &hdr : NULL, iov, count);
}

static void transmit(struct net_pair *p)
{
    struct virtio_net *n = p->n;
    struct viv_virtq_elem *e;
    bool any = false;

    while (!p->tx_blocked && (e = viv_virtq_pop(&n->v, tx_queue(p)))) {
        if (e->out_len <= virtio_net_header_len(n)) {
            viv_virtq_drop(e);
            viv_virtio_set_broken(&n->v, "a packet of %llu bytes with its header",
                                  (unsigned long long)e->out_len);
            return;
        }
        if (!send_one(p, e)) {
            viv_virtq_unpop(e);
            p->tx_blocked = true;
            break;
        }
        viv_virtq_push(e, 0);
        any = true;
    }
    if (any)
        viv_virtq_notify(&n->v, tx_queue(p));
}

static void send_ready(void *nic)
{
    struct net_pair *p = nic;

    p->tx_blocked = false;
    viv_virtio_kick(&p->n->v, tx_queue(p)); /* so much and no more, as when the driver kicks */
}

static void info(void *nic, struct viv_nic_info *out)
{
    struct virtio_net *n = ((struct net_pair *)nic)->n;

    *out = (struct viv_nic_info){.id = n->v.dev->id, .model = n->v.dev->cls->name, .mac = n->mac};
}

static void filter(void *nic, struct viv_nic_filter *out)
{
    virtio_net_filter_facts(((struct net_pair *)nic)->n, out);
}

static void gone(void *nic)
{
    struct net_pair *p = nic;

    p->netdev = NULL;
    p->tx_blocked = false;
    if (!p->index)
        p->n->netdev = NULL;
    viv_virtio_kick(&p->n->v, tx_queue(p)); /* for what waited, the driver may not kick again */
}

static const struct viv_nic_ops nic_ops = {
    .vhost = true,
    .can_receive = can_receive,
    .receive = receive,
    .receive_hdr = receive_hdr,
    .receive_done = receive_done,
    .link_changed = link_changed,
    .send_ready = send_ready,
    .info = info,
    .filter = filter,
    .gone = gone,
};

/* --- the device function --- */

static void net_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_net *n = (struct virtio_net *)v;
    struct net_pair *p = &n->pair[MIN(queue / 2, NET_PAIRS - 1)];

    if (queue == virtio_net_ctrl_queue(n))
        virtio_net_control(n);
    else if (queue / 2 >= n->active)
        return;
    else if (p->netdev && viv_vhost_running(viv_netdev_vhost(p->netdev)))
        virtio_net_vhost_feed(p, queue);
    else if (queue % 2 == NET_Q_TX)
        transmit(p);
    else if (p->netdev)
        viv_netdev_can_receive_changed(p->netdev);
}

/* Pairs that are not in use get nothing from the back end. */
void virtio_net_set_active(struct virtio_net *n, unsigned count)
{
    n->active = (uint16_t)count;
    for (unsigned i = count; i < n->pairs; i++)
        virtio_net_vhost_update(&n->pair[i]);
    if (n->netdev)
        viv_netdev_use_queues(n->netdev, count);
    for (unsigned i = 0; i < count; i++) {
        virtio_net_vhost_update(&n->pair[i]);
        if (n->pair[i].netdev)
            viv_netdev_can_receive_changed(n->pair[i].netdev);
    }
}

static void update_all(struct virtio_net *n)
{
    for (unsigned i = 0; i < n->pairs; i++)
        virtio_net_vhost_update(&n->pair[i]);
}

static void net_status(struct viv_virtio *v, uint8_t status)
{
    update_all((struct virtio_net *)v);
}

static void net_vm_running(struct viv_virtio *v, bool running)
{
    update_all((struct virtio_net *)v);
}

static uint64_t net_features(struct viv_virtio *v)
{
    return ((struct virtio_net *)v)->offered;
}

/* Which feature offers, or takes, which offload. */
static const struct {
    uint8_t guest, host; /* feature bits */
    unsigned offload;
} offloads[] = {
    {NET_F_GUEST_CSUM, NET_F_CSUM, VIV_NET_CSUM},      {NET_F_GUEST_TSO4, NET_F_HOST_TSO4, VIV_NET_TSO4},
    {NET_F_GUEST_TSO6, NET_F_HOST_TSO6, VIV_NET_TSO6}, {NET_F_GUEST_ECN, NET_F_HOST_ECN, VIV_NET_ECN},
    {NET_F_GUEST_UFO, NET_F_HOST_UFO, VIV_NET_UFO},
};

static void net_set_features(struct viv_virtio *v, uint64_t features)
{
    struct virtio_net *n = (struct virtio_net *)v;
    unsigned rx = 0;

    for (size_t i = 0; features >> NET_F_GUEST_CSUM & 1 && i < VIV_ARRAY_SIZE(offloads); i++)
        rx |= features >> offloads[i].guest & 1 ? offloads[i].offload : 0;
    for (unsigned i = 0; i < n->pairs; i++) {
        if (n->pair[i].netdev)
            viv_netdev_set_rx(n->pair[i].netdev, rx);
    }
}

/* What the back end lacks is not offered, nor what another feature is the condition of (5.1.3.1). */
static uint64_t possible(const struct virtio_net *n, uint64_t f)
{
    unsigned tx = n->netdev ? viv_netdev_tx_offloads(n->netdev) : 0, rx = n->netdev ? viv_netdev_rx_offloads(n->netdev) : 0;
    uint64_t guest_tso = 1ull << NET_F_GUEST_TSO4 | 1ull << NET_F_GUEST_TSO6;
    uint64_t host_tso = 1ull << NET_F_HOST_TSO4 | 1ull << NET_F_HOST_TSO6;

    /* Large frames want finished checksums, and merged buffers: who posts buffers of 64 KiB is not worth it. */
    if (!(f >> NET_F_CSUM & 1))
        tx = 0;
    if (!(f >> NET_F_GUEST_CSUM & 1) || !(f >> NET_F_MRG_RXBUF & 1))
        rx = 0;
    for (size_t i = 0; i < VIV_ARRAY_SIZE(offloads); i++) {
        if (!(tx & offloads[i].offload))
            f &= ~(1ull << offloads[i].host);
        if (!(rx & offloads[i].offload) && offloads[i].offload != VIV_NET_CSUM)
            f &= ~(1ull << offloads[i].guest);
    }
    if (!(f & host_tso))
        f &= ~(1ull << NET_F_HOST_ECN);
    if (!(f & guest_tso))
        f &= ~(1ull << NET_F_GUEST_ECN);
    return f;
}

static void net_get_config(struct viv_virtio *v, uint8_t *c)
{
    struct virtio_net *n = (struct virtio_net *)v;

    memcpy(c + CFG_MAC, n->mac, 6);
    viv_st_le16(c + CFG_STATUS, n->link_up ? STATUS_LINK_UP : 0);
    viv_st_le16(c + CFG_PAIRS, (uint16_t)n->pairs);
    viv_st_le16(c + CFG_MTU, n->mtu);
}

static void net_set_config(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val)
{
    struct virtio_net *n = (struct virtio_net *)v;

    /* 5.1.4.1: only legacy drivers write the address here */
    if (off + len > CFG_STATUS || viv_virtio_has(v, VIV_VIRTIO_F_VERSION_1)) {
        viv_guest_error(viv_virtio_name(v), "write of %u bytes at %u of the configuration", len, off);
        return;
    }
    memcpy(n->mac + off, val, len);
}

static void net_reset(struct viv_virtio *v)
{
    struct virtio_net *n = (struct virtio_net *)v;

    memcpy(n->mac, n->mac_given, 6);
    virtio_net_filter_reset(n);
    update_all(n);
    for (unsigned i = 0; i < n->pairs; i++)
        n->pair[i].tx_blocked = n->pair[i].rx_used = n->pair[i].vhost_failed = false;
    virtio_net_set_active(n, 1);
    net_set_features(v, 0);
}

static const struct {
    const char *option;
    int feature;
} switches[] = {
    {"guest_csum", NET_F_GUEST_CSUM},
    {"guest_tso4", NET_F_GUEST_TSO4},
    {"guest_tso6", NET_F_GUEST_TSO6},
    {"guest_ecn", NET_F_GUEST_ECN},
    {"guest_ufo", NET_F_GUEST_UFO},
    {"csum", NET_F_CSUM},
    {"host_tso4", NET_F_HOST_TSO4},
    {"host_tso6", NET_F_HOST_TSO6},
    {"host_ecn", NET_F_HOST_ECN},
    {"host_ufo", NET_F_HOST_UFO},
    {"mrg_rxbuf", NET_F_MRG_RXBUF},
    {"status", NET_F_STATUS},
    {"ctrl_vq", NET_F_CTRL_VQ},
    {"ctrl_rx", NET_F_CTRL_RX},
    {"ctrl_vlan", NET_F_CTRL_VLAN},
    {"ctrl_rx_extra", NET_F_CTRL_RX_EXTRA},
    {"ctrl_mac_addr", NET_F_CTRL_MAC_ADDR},
    {"mq", NET_F_MQ},
};

static int take_features(struct virtio_net *n, struct viv_opts *opts, struct viv_err *err)
{
    uint64_t f = 1ull << NET_F_MAC;

    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        if (viv_opts_bool(opts, switches[i].option))
            f |= 1ull << switches[i].feature;
    }
    if (!(f >> NET_F_CTRL_VQ & 1)) /* 5.1.3.1: these need the control queue */
        f &= ~(1ull << NET_F_CTRL_RX | 1ull << NET_F_CTRL_VLAN | 1ull << NET_F_CTRL_RX_EXTRA |
               1ull << NET_F_CTRL_MAC_ADDR | 1ull << NET_F_MQ);
    n->mtu = viv_opts_int(opts, "host_mtu");
    if (n->mtu && n->mtu < 68) /* 5.1.4.1 */
        return viv_fail(err, EINVAL, "%s: host_mtu=%u: the least is 68", viv_opts_what(opts), n->mtu);
    if (n->mtu)
        f |= 1ull << NET_F_MTU;
    n->offered = f;
    return 0;
}

/* One pair for each queue of the back end, if several were asked for. */
static int take_pairs(struct virtio_net *n, struct viv_opts *opts, struct viv_err *err)
{
    unsigned queues;
    int rc = nic_take_backend(opts, &nic_ops, &n->pair[0], &n->netdev, err);

    n->pairs = 1;
    n->active = 1;
    n->pair[0].n = n;
    n->pair[0].netdev = n->netdev;
    if (rc || !n->netdev)
        return rc;
    queues = viv_netdev_queues(n->netdev);
    if (queues > NET_PAIRS)
        viv_warn("%s: of %u queues of '%s' %u are used", viv_opts_what(opts), queues, viv_netdev_id(n->netdev), NET_PAIRS);
    if (queues > 1 && !(n->offered >> NET_F_MQ & 1))
        viv_warn("%s: '%s' has %u queues; with mq=on the guest can use them all", viv_opts_what(opts),
                 viv_netdev_id(n->netdev), queues);
    else
        n->pairs = MIN(queues, NET_PAIRS);
    for (unsigned i = 1; i < n->pairs && !rc; i++) {
        n->pair[i] = (struct net_pair){.n = n, .netdev = viv_netdev_queue(n->netdev, i), .index = i};
        rc = viv_netdev_attach(n->pair[i].netdev, &nic_ops, &n->pair[i], err);
    }
    return rc;
}

static int net_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_net *n = (struct virtio_net *)v;
    unsigned rx = viv_opts_int(opts, "rx_queue_size"), tx = viv_opts_int(opts, "tx_queue_size");
    int rc = take_features(n, opts, err);

    if (!rc && ((rx & (rx - 1)) || (tx & (tx - 1))))
        rc = viv_fail(err, EINVAL, "%s: queue sizes are powers of two", viv_opts_what(opts));
    if (rc)
        return rc;
    rc = viv_net_mac(viv_opts_str(opts, "mac"), v->board->vm_identity, n->mac_given, err);
    if (rc) {
        viv_err_prefix(err, "%s", viv_opts_what(opts));
        return rc;
    }
    rc = take_pairs(n, opts, err);
    if (rc) {
        viv_net_mac_release(n->mac_given);
        return rc;
    }
    n->link_up = n->netdev && viv_netdev_link_up(n->netdev);
    n->offered = possible(n, n->offered);
    if (n->pairs < 2)
        n->offered &= ~(1ull << NET_F_MQ);
    for (unsigned i = 0; i < n->pairs; i++) {
        viv_virtio_add_queue(v, rx);
        viv_virtio_add_queue(v, tx);
    }
    if (n->offered >> NET_F_CTRL_VQ & 1)
        viv_virtio_add_queue(v, 64);
    net_reset(v);
    viv_nic_add(&nic_ops, &n->pair[0]);
    return 0;
}

static void net_unrealize(struct viv_virtio *v)
{
    struct virtio_net *n = (struct virtio_net *)v;

    viv_nic_remove(&n->pair[0]);
    for (unsigned i = n->pairs; i--;) {
        if (n->pair[i].netdev)
            viv_netdev_detach(n->pair[i].netdev);
    }
    viv_net_mac_release(n->mac_given);
}

/* --- saved state --- */

static void save_backend(struct viv_state_writer *w, const void *obj)
{
    nic_save_backend(w, ((const struct virtio_net *)obj)->netdev);
}

static int load_backend(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    return nic_load_backend(r, ((struct virtio_net *)obj)->netdev, err);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct virtio_net *n = obj;

    if (n->uni_count > NET_MAC_TABLE || n->multi_count > NET_MAC_TABLE - n->uni_count)
        return viv_fail(err, EINVAL, "a filter of %u and %u addresses", n->uni_count, n->multi_count);
    if (!n->active || n->active > n->pairs)
        return viv_fail(err, EINVAL, "%u pairs of queues in use, there are %u", n->active, n->pairs);
    for (unsigned i = 0; i < n->pairs; i++)
        n->pair[i].tx_blocked = false;
    n->filter_told = false;
    if (n->netdev)
        viv_netdev_use_queues(n->netdev, n->active);
    viv_netdev_restore_link(n->netdev, n->link_up);
    return 0;
}

static const struct viv_field net_fields[] = {
    VIV_F_STRUCT(virtio_net, v, viv_virtio_state),
    VIV_F_CUSTOM(virtio_net, netdev, save_backend, load_backend),
    VIV_F_CONFIG(virtio_net, mac_given),
    VIV_F_CONFIG(virtio_net, mtu),
    VIV_F_CONFIG(virtio_net, offered),
    VIV_F_BYTES(virtio_net, mac),
    VIV_F_INT(virtio_net, link_up),
    VIV_F_INT(virtio_net, promisc),
    VIV_F_INT(virtio_net, allmulti),
    VIV_F_INT(virtio_net, alluni),
    VIV_F_INT(virtio_net, nomulti),
    VIV_F_INT(virtio_net, nouni),
    VIV_F_INT(virtio_net, nobcast),
    VIV_F_BYTES(virtio_net, macs),
    VIV_F_INT(virtio_net, uni_count),
    VIV_F_INT(virtio_net, multi_count),
    VIV_F_INT(virtio_net, uni_overflow),
    VIV_F_INT(virtio_net, multi_overflow),
    VIV_F_INTS(virtio_net, vlans),
    VIV_F_DERIVED(virtio_net, filter_told, "the monitors of the process that loads have seen nothing yet"),
    VIV_F_INT(virtio_net, active),
    VIV_F_CONFIG(virtio_net, pairs),
    VIV_F_DERIVED(virtio_net, pair, "back ends are given; queues are kicked when the VM goes on: tried again then"),
    VIV_F_END,
};

static const struct viv_state_table net_state = {
    .name = "virtio-net",
    .ctype = "virtio_net",
    .version = 2,
    .min_version = 2,
    .fields = net_fields,
    .post_load = post_load,
};

static const struct viv_virtio_class net_fn = {
    .name = "virtio-net",
    .device_id = VIV_VIRTIO_ID_NET,
    .pci_legacy_id = 0x1000,
    .pci_class = 0x020000,
    .fw_kind = "ethernet",
    .fw_unit = "/ethernet-phy@0",
    .pci_rom = "efi-virtio.rom",
    .config_len = CFG_LEN,
    .size = sizeof(struct virtio_net),
    .state = &net_state,
    .realize = net_realize,
    .unrealize = net_unrealize,
    .features = net_features,
    .set_features = net_set_features,
    .get_config = net_get_config,
    .set_config = net_set_config,
    .kick = net_kick,
    .status = net_status,
    .vm_running = net_vm_running,
    .reset = net_reset,
};

#define NET_SWITCH(key, value, text) {.name = key, .type = VIV_OPT_BOOL, .def = value, .help = text}
#define NET_OFFLOAD(key, text) NET_SWITCH(key, "on", text ", where the back end can")

#define NET_PROPS                                                                                  \
    {.name = "netdev", .type = VIV_OPT_STR, .help = "id of a -netdev"},                            \
    {.name = "mac", .type = VIV_OPT_STR, .help = "address (default: made from the VM's uuid or name)"}, \
    {.name = "bootindex", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX,                         \
     .help = "place in the boot order"},                                                           \
    {.name = "host_mtu", .type = VIV_OPT_INT, .max = 65535, .help = "MTU to tell the guest"},      \
    {.name = "rx_queue_size", .type = VIV_OPT_INT, .def = "256", .min = 64,                        \
     .max = VIV_VIRTQ_MAX_SIZE, .help = "entries of the receive queue"},                           \
    {.name = "tx_queue_size", .type = VIV_OPT_INT, .def = "256", .min = 64,                        \
     .max = VIV_VIRTQ_MAX_SIZE, .help = "entries of the transmit queue"},                          \
    NET_SWITCH("guest_csum", "on", "tell the guest which checksums are good"),                     \
    NET_SWITCH("guest_tso4", "on", "large TCP frames to the guest, where the back end makes them"), \
    NET_SWITCH("mrg_rxbuf", "on", "frames may fill several receive buffers"),                      \
    NET_SWITCH("status", "on", "tell the guest about its cable"),                                  \
    NET_SWITCH("ctrl_vq", "on", "control queue"),                                                  \
    NET_SWITCH("ctrl_rx", "on", "receive modes"),                                                  \
    NET_SWITCH("ctrl_vlan", "on", "VLAN filter"),                                                  \
    NET_SWITCH("ctrl_rx_extra", "on", "more receive modes"),                                       \
    NET_SWITCH("ctrl_mac_addr", "on", "guest may change its address"),                             \
    NET_OFFLOAD("csum", "checksums to the host"), NET_OFFLOAD("host_tso4", "large TCP frames to the host"), \
    NET_OFFLOAD("host_tso6", "the same, IPv6"), NET_OFFLOAD("host_ecn", "the same, with ECN"),     \
    NET_OFFLOAD("host_ufo", "large UDP frames to the host"),                                       \
    NET_OFFLOAD("guest_tso6", "large TCP frames to the guest, IPv6"),                              \
    NET_OFFLOAD("guest_ecn", "the same, with ECN"),                                                \
    NET_OFFLOAD("guest_ufo", "large UDP frames to the guest"),                                     \
    NET_SWITCH("mq", "off", "as many pairs of queues as the back end has"),                        \
    {.name = "gso", .type = VIV_OPT_REFUSED, .help = "a legacy feature no current driver asks for; leave it out"}, \
    {.name = "guest_announce", .type = VIV_OPT_REFUSED, .help = "there is no live migration to announce after; leave it out"}, \
    {.name = "tx", .type = VIV_OPT_REFUSED, .help = "packets always leave at once; leave it out"}, \
    {.name = "x-txtimer", .type = VIV_OPT_REFUSED, .help = "packets always leave at once"},        \
    {.name = "x-txburst", .type = VIV_OPT_REFUSED, .help = "packets always leave at once"},        \
    {.name = "rss", .type = VIV_OPT_REFUSED, .help = "the back end spreads packets over queues"},               \
    {.name = "failover", .type = VIV_OPT_REFUSED, .help = "there is no passthrough to fail over from"}, \
    VIV_VIRTIO_PROPS

static const struct viv_opt_def net_mmio_props[] = {NET_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def net_pci_props[] = {NET_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_net_device, net_fn, "virtio-net-device",
                      "virtio network card, over MMIO", net_mmio_props);
VIV_VIRTIO_PCI_CLASSES(viv_dev_virtio_net_pci, net_fn, "virtio-net-pci", "virtio network card",
                       net_pci_props);
