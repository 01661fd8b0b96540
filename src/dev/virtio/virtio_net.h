/* virtio-net (virtio 1.2, 5.1) from inside: the device, its receive filter and its control queue. */
#ifndef VIV_DEV_VIRTIO_VIRTIO_NET_H
#define VIV_DEV_VIRTIO_VIRTIO_NET_H

#include "bus/virtio.h"
#include "net/net.h"

enum { /* feature bits, 5.1.3 */
    NET_F_CSUM = 0,
    NET_F_GUEST_CSUM = 1,
    NET_F_MTU = 3,
    NET_F_MAC = 5,
    NET_F_GUEST_TSO4 = 7,
    NET_F_GUEST_TSO6 = 8,
    NET_F_GUEST_ECN = 9,
    NET_F_GUEST_UFO = 10,
    NET_F_HOST_TSO4 = 11,
    NET_F_HOST_TSO6 = 12,
    NET_F_HOST_ECN = 13,
    NET_F_HOST_UFO = 14,
    NET_F_MRG_RXBUF = 15,
    NET_F_STATUS = 16,
    NET_F_CTRL_VQ = 17,
    NET_F_CTRL_RX = 18,
    NET_F_CTRL_VLAN = 19,
    NET_F_CTRL_RX_EXTRA = 20,
    NET_F_MQ = 22,
    NET_F_CTRL_MAC_ADDR = 23,
};

enum { NET_Q_RX, NET_Q_TX }; /* of each pair; the control queue is behind them all (virtio_net_ctrl_queue) */
enum { NET_MAC_TABLE = 64, NET_VLANS = 4096, NET_PAIRS = 16 };

/* A receive and a transmit queue, with a queue of the back end. */
struct net_pair {
    struct virtio_net *n;
    struct viv_netdev *netdev; /* NULL: no cable */
    unsigned index;
    bool tx_blocked; /* the back end is full: it will call */
    bool rx_used;    /* buffers were returned since the last interrupt */
    bool vhost_failed;                 /* not tried again before the next reset */
    bool vhost_full[VIV_VHOST_RINGS];  /* to be fed when something came back */
};

struct virtio_net {
    struct viv_virtio v;
    struct viv_netdev *netdev; /* NULL: no cable */
    struct net_pair pair[NET_PAIRS];
    unsigned pairs;     /* that there are */
    uint16_t active;    /* that the driver uses */
    uint8_t mac_given[6];
    uint16_t mtu; /* 0: not told */
    uint64_t offered;

    uint8_t mac[6];
    bool link_up;
    bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
    uint8_t macs[NET_MAC_TABLE][6]; /* unicast first */
    uint32_t uni_count, multi_count;
    bool uni_overflow, multi_overflow; /* the driver's list was too long: take all of that kind */
    uint32_t vlans[NET_VLANS / 32];
    bool filter_told; /* NIC_RX_FILTER_CHANGED was sent, and nobody has looked since */
};

/* 5.1.2: behind all pairs when the driver took MQ, else behind the first. */
static inline unsigned virtio_net_ctrl_queue(const struct virtio_net *n)
{
    return viv_virtio_has(&n->v, NET_F_MQ) ? 2 * n->pairs : 2;
}

/* The size of the packet header. */
unsigned virtio_net_header_len(const struct virtio_net *n);
/* Has the driver negotiated what it leaves to us in this packet? (If not it is told.) */
bool virtio_net_may_send(const struct virtio_net *n, const struct viv_virtq_elem *e);
/* Starts or stops the kernel's part, where the back end has it, as state, cable and use of the pair want it now. */
void virtio_net_vhost_update(struct net_pair *p);
/* A queue of a pair for which it runs was kicked. */
void virtio_net_vhost_feed(struct net_pair *p, unsigned queue);
/* Is a frame for this guest? */
bool virtio_net_filter(const struct virtio_net *n, const uint8_t *frame, size_t len);
void virtio_net_filter_reset(struct virtio_net *n);
void virtio_net_filter_facts(struct virtio_net *n, struct viv_nic_filter *out);
/* The first `count` pairs are in use. */
void virtio_net_set_active(struct virtio_net *n, unsigned count);
/* The control queue was kicked. */
void virtio_net_control(struct virtio_net *n);

#endif
