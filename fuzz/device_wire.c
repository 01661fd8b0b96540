/* The other end of a card's wire, which stands in for net/: takes frames, or is full. */
#include "fuzz/device_rig.h"

#include "net/net.h"

#include <glib.h>
#include <string.h>

struct viv_netdev {
    const struct viv_nic_ops *ops;
    void *nic;
    struct viv_vhost *vhost;
};

static struct viv_netdev wires[2];
static unsigned wire_queues, wire_offloads;
static bool wire_full, wire_up;

void fuzz_wire_reset(unsigned queues, bool vhost)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(wires); i++) {
        viv_vhost_free(wires[i].vhost);
        wires[i].vhost = vhost ? fuzz_vhost_new(i) : NULL;
    }
    wire_queues = queues ? queues : 1;
    wire_full = false;
    wire_up = true;
}

struct viv_netdev *viv_netdev_find(const char *id)
{
    return !strcmp(id, "n0") ? &wires[0] : NULL;
}

const char *viv_netdev_id(const struct viv_netdev *n)
{
    return "n0";
}

unsigned viv_netdev_queues(const struct viv_netdev *n)
{
    return wire_queues;
}

struct viv_netdev *viv_netdev_queue(struct viv_netdev *n, unsigned i)
{
    g_assert_cmpuint(i, <, G_N_ELEMENTS(wires));
    return &wires[i];
}

void viv_netdev_use_queues(struct viv_netdev *n, unsigned count)
{
}

int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic, struct viv_err *err)
{
    g_assert(!n->ops);
    n->ops = ops;
    n->nic = nic;
    return 0;
}

void viv_netdev_detach(struct viv_netdev *n)
{
    n->ops = NULL;
}

unsigned viv_netdev_tx_offloads(const struct viv_netdev *n)
{
    return VIV_NET_CSUM | VIV_NET_TSO4 | VIV_NET_TSO6 | VIV_NET_ECN | VIV_NET_UFO;
}

unsigned viv_netdev_rx_offloads(const struct viv_netdev *n)
{
    return viv_netdev_tx_offloads(n);
}

bool viv_netdev_rx_trusted(const struct viv_netdev *n)
{
    return true;
}

void viv_netdev_restore_link(struct viv_netdev *n, bool up)
{
    wire_up = up;
}

bool viv_netdev_link_up(const struct viv_netdev *n)
{
    return wire_up;
}

bool viv_netdev_send_hdr(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    unsigned sum = 0;

    for (int i = 0; !wire_full && i < iovcnt; i++) {
        for (size_t k = 0; k < iov[i].iov_len; k += 64) /* all of it can be read */
            sum += ((const uint8_t *)iov[i].iov_base)[k];
        sum += iov[i].iov_len ? ((const uint8_t *)iov[i].iov_base)[iov[i].iov_len - 1] : 0;
    }
    __asm__ volatile("" : : "r"(sum));
    return !wire_full;
}

bool viv_netdev_send(struct viv_netdev *n, const struct iovec *iov, int iovcnt)
{
    return viv_netdev_send_hdr(n, NULL, iov, iovcnt);
}

void viv_netdev_set_rx(struct viv_netdev *n, unsigned offloads)
{
    g_assert(!(offloads & ~viv_netdev_rx_offloads(n)));
    wire_offloads = offloads;
}

struct viv_vhost *viv_netdev_vhost(struct viv_netdev *n)
{
    return n->vhost;
}

int viv_netdev_vhost_start(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err)
{
    return viv_vhost_start(n->vhost, 0, features, fn, opaque, err);
}

void viv_netdev_vhost_stop(struct viv_netdev *n)
{
    viv_vhost_stop(n->vhost);
}

void viv_netdev_can_receive_changed(struct viv_netdev *n)
{
}

void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w)
{
}

int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, bool named, struct viv_err *err)
{
    return 0;
}

/* Ethernet, of a few kinds: to the card, to all, to a group, to others; ARP, IPv4 and IPv6 with TCP and UDP, VLAN, 802.3. */
static size_t make_frame(uint8_t *f, unsigned what, unsigned len)
{
    static const uint8_t to[4][6] = {{0x52, 0x54, 0, 0, 0, 5}, {255, 255, 255, 255, 255, 255}, {1, 0, 0x5e, 0, 0, 1}, {2, 2, 2, 2, 2, 2}};
    static const uint8_t kinds[8][4] = {{8, 6}, {8, 0, 6}, {8, 0, 17}, {0x86, 0xdd, 6}, {0x81, 0}, {8, 0, 1}, {0x86, 0xdd, 17}, {0, 60}};
    const uint8_t *kind = kinds[what >> 2 & 7];
    uint8_t *ip = f + 14;

    for (unsigned i = 0; i < len; i++)
        f[i] = (uint8_t)(i * 7);
    memcpy(f, to[what & 3], 6);
    memcpy(f + 6, to[3], 6);
    f[12] = kind[0];
    f[13] = kind[1];
    if (kind[0] == 8 && kind[2]) {
        memset(ip, 0, 20);
        ip[0] = 0x45;
        ip[2] = (uint8_t)((len - 14) >> 8);
        ip[3] = (uint8_t)(len - 14);
        ip[9] = kind[2];
        ip[32] = 0x50;
    } else if (kind[0] == 0x86) {
        ip[0] = 0x60;
        ip[4] = (uint8_t)((len - 54) >> 8);
        ip[5] = (uint8_t)(len - 54);
        ip[6] = kind[2];
    } else if (kind[0] == 0x81) {
        memcpy(ip, "\0\5\x08\0\x45", 5);
    }
    return len;
}

void fuzz_wire_give(unsigned what, unsigned len, bool header)
{
    static uint8_t frame[VIV_NET_MAX_FRAME];
    struct viv_netdev *n = &wires[wire_queues > 1 ? what >> 5 & 1 : 0];
    struct viv_net_hdr h = {.flags = what & 1 ? VIV_NET_HDR_NEEDS_CSUM : VIV_NET_HDR_DATA_VALID, .csum_start = 34, .csum_offset = 16};
    size_t size;

    if (!n->ops || !wire_up)
        return;
    if (viv_vhost_running(n->vhost)) {
        fuzz_vhost_work((unsigned)(n - wires), what & 1, len & 15, header);
        return;
    }
    len = MIN(len, VIV_NET_MAX_FRAME);
    size = make_frame(frame, what, MAX(len, 60)); /* the network sends none that are shorter */
    if ((wire_offloads & VIV_NET_TSO4) && what & 4)
        h = (struct viv_net_hdr){VIV_NET_HDR_NEEDS_CSUM, VIV_NET_GSO_TCPV4, 54, 1000, 34, 16};
    for (unsigned i = 0; i < 3 && n->ops->can_receive(n->nic); i++) {
        if (header && n->ops->receive_hdr && wire_offloads)
            n->ops->receive_hdr(n->nic, frame, size, &h);
        else
            n->ops->receive(n->nic, frame, size);
    }
    if (n->ops->receive_done)
        n->ops->receive_done(n->nic);
}

void fuzz_wire_set_full(bool full)
{
    wire_full = full;
    for (unsigned i = 0; !full && i < G_N_ELEMENTS(wires); i++) {
        if (wires[i].ops && wires[i].ops->send_ready)
            wires[i].ops->send_ready(wires[i].nic);
    }
}

void fuzz_wire_set_link(bool up)
{
    if (up == wire_up || !wires[0].ops)
        return;
    wire_up = up;
    wires[0].ops->link_changed(wires[0].nic, up);
}
