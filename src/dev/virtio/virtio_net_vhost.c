/* virtio-net with frames that the host's kernel moves (net/vhost.h): buffers go from the guest's rings to the kernel's and come back. The
 * kernel works while the driver and both queues are up, the bus lets the card reach memory, the VM runs, the cable is in and the pair
 * is in use; else this process moves the frames, as
 * it does without vhost. What the driver does not want to see (5.1.6.5) is not filtered: that is best effort by the specification. */
#include "dev/virtio/virtio_net.h"

#include "base/log.h"
#include "mem/ram.h"

#include <linux/virtio_net.h>
#include <stddef.h>

static unsigned queue_of(const struct net_pair *p, unsigned ring)
{
    return 2 * p->index + (ring == VIV_VHOST_RX ? NET_Q_RX : NET_Q_TX);
}

static bool wanted(const struct net_pair *p)
{
    const struct virtio_net *n = p->n;

    return p->netdev && viv_netdev_vhost(p->netdev) && !p->vhost_failed && viv_virtio_live(&n->v) && n->link_up &&
           viv_netdev_link_up(p->netdev) && p->index < n->active &&
           viv_virtq_ready(&p->n->v, queue_of(p, VIV_VHOST_RX)) && viv_virtq_ready(&p->n->v, queue_of(p, VIV_VHOST_TX));
}

/* What the kernel has used goes back to the guest, all at once. */
static void collect(struct net_pair *p, unsigned ring)
{
    struct viv_virtq_elem *e[VIV_VIRTQ_MAX_SIZE];
    uint32_t written[VIV_VIRTQ_MAX_SIZE];
    unsigned n = viv_vhost_get(viv_netdev_vhost(p->netdev), ring, (void **)e, written, VIV_VIRTQ_MAX_SIZE);

    if (!n)
        return;
    /* 5.1.6.4.1: 1 where buffers are not merged. Older kernels leave what was there. */
    if (ring == VIV_VHOST_RX && !viv_virtio_has(&p->n->v, NET_F_MRG_RXBUF) && viv_virtio_has(&p->n->v, VIV_VIRTIO_F_VERSION_1)) {
        for (unsigned i = 0; i < n; i++)
            viv_iov_from_buf(e[i]->in, e[i]->in_num, offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers), "\1", 2);
    }
    viv_virtq_push_all(e, written, n); /* sent ones have nothing that was written, whatever the kernel says */
    viv_virtq_notify(&p->n->v, queue_of(p, ring));
}

/* The rest is unused: the guest's rings are as if it had never been taken. */
static void take_back(struct net_pair *p, unsigned ring)
{
    struct viv_virtq_elem *e;

    while ((e = viv_vhost_take_back(viv_netdev_vhost(p->netdev), ring))) {
        for (unsigned i = 0; i < e->in_num; i++) /* a frame that was given up half-way may have been stored */
            viv_ram_written(e->in[i].iov_base, e->in[i].iov_len);
        viv_virtq_unpop(e);
    }
}

static void stop(struct net_pair *p)
{
    viv_netdev_vhost_stop(p->netdev);
    for (unsigned ring = 0; ring < VIV_VHOST_RINGS; ring++) {
        collect(p, ring);
        take_back(p, ring);
        p->vhost_full[ring] = false;
    }
}

static void on_used(void *opaque, unsigned ring)
{
    struct net_pair *p = opaque;

    if (ring == VIV_VHOST_FAILED) {
        viv_warn("%s: the kernel's vhost met an error; this process moves the frames from now on", viv_virtio_name(&p->n->v));
        p->vhost_failed = true;
        virtio_net_vhost_update(p);
        return;
    }
    collect(p, ring);
    if (p->vhost_full[ring]) {
        p->vhost_full[ring] = false;
        viv_virtio_kick(&p->n->v, queue_of(p, ring));
    }
}

void virtio_net_vhost_update(struct net_pair *p)
{
    bool running = p->netdev && viv_vhost_running(viv_netdev_vhost(p->netdev)), want = wanted(p);
    struct viv_err err = VIV_ERR_INIT;

    if (running == want)
        return;
    if (running) {
        stop(p);
    } else if (viv_netdev_vhost_start(p->netdev, p->n->v.guest_features, on_used, p, &err) < 0) {
        viv_warn("%s: %s; this process moves the frames", viv_virtio_name(&p->n->v), err.text);
        p->vhost_failed = true;
        return;
    }
    p->tx_blocked = false;
    for (unsigned ring = 0; ring < VIV_VHOST_RINGS; ring++)
        viv_virtio_kick(&p->n->v, queue_of(p, ring));
}

static void feed_receive(struct net_pair *p, struct viv_virtq_elem *e)
{
    if (e->in_len < virtio_net_header_len(p->n)) {
        viv_virtq_drop(e);
        viv_virtio_set_broken(&p->n->v, "a receive buffer smaller than the packet header");
    } else if (!viv_vhost_put(viv_netdev_vhost(p->netdev), VIV_VHOST_RX, e->in, e->in_num, e)) {
        viv_virtq_unpop(e);
        p->vhost_full[VIV_VHOST_RX] = true;
    }
}

static void feed_send(struct net_pair *p, struct viv_virtq_elem *e)
{
    struct viv_vhost *h = viv_netdev_vhost(p->netdev);
    unsigned head = virtio_net_header_len(p->n);
    bool idle = viv_vhost_idle(h, VIV_VHOST_TX);

    if (e->out_len <= head) {
        viv_virtq_drop(e);
        viv_virtio_set_broken(&p->n->v, "a packet of %llu bytes with its header", (unsigned long long)e->out_len);
        return;
    }
    if (virtio_net_may_send(p->n, e) && e->out_len - head <= VIV_NET_MAX_FRAME) {
        if (viv_vhost_put(h, VIV_VHOST_TX, e->out, e->out_num, e))
            return;
    } else if (idle) {
        viv_virtq_push(e, 0); /* lost */
        viv_virtq_notify(&p->n->v, queue_of(p, VIV_VHOST_TX));
        return;
    }
    /* One that is lost waits for those before it, too: only the newest ones can be taken back. */
    viv_virtq_unpop(e);
    p->vhost_full[VIV_VHOST_TX] = true;
}

void virtio_net_vhost_feed(struct net_pair *p, unsigned queue)
{
    unsigned ring = queue % 2 == NET_Q_RX ? VIV_VHOST_RX : VIV_VHOST_TX;
    struct viv_virtq_elem *e;

    while (!p->vhost_full[ring] && (e = viv_virtq_pop(&p->n->v, queue))) {
        if (ring == VIV_VHOST_RX)
            feed_receive(p, e);
        else
            feed_send(p, e);
    }
    viv_vhost_kick(viv_netdev_vhost(p->netdev), ring);
}
