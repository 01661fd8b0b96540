/* What a kind of back end provides, and what all of them have. */
#ifndef VIV_NET_NET_INT_H
#define VIV_NET_NET_INT_H

#include "net/net.h"

struct viv_netdev_type {
    const char *name;
    const char *desc;
    const struct viv_opt_def *opts; /* without type and id */
    size_t size;                    /* of the instance, which begins with struct viv_netdev */
    int (*create)(struct viv_netdev *n, struct viv_opts *opts, struct viv_err *err);
    void (*destroy)(struct viv_netdev *n);
    void (*attached)(struct viv_netdev *n); /* a NIC is there (n->nic) */
    void (*detached)(struct viv_netdev *n); /* ... or gone */
    /* hdr NULL: nothing is left to be done. */
    bool (*send)(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt);
    void (*rx_changed)(struct viv_netdev *n); /* n->rx; may be NULL */
    void (*can_receive_changed)(struct viv_netdev *n);
    /* NULL: it has no state of its own. */
    void (*save)(struct viv_netdev *n, struct viv_state_writer *w);
    int (*load)(struct viv_netdev *n, struct viv_state_reader *r, struct viv_err *err);
    int (*hostfwd)(struct viv_netdev *n, const char *rule, bool add, struct viv_err *err);
    char *(*info)(struct viv_netdev *n);
    char *(*describe)(struct viv_netdev *n);
    int (*vhost_start)(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err);
    void (*vhost_stop)(struct viv_netdev *n); /* these two may be NULL where n->vhost is */
    void (*use_queues)(struct viv_netdev *n, unsigned count); /* NULL: it has one */
};

struct viv_netdev {
    const struct viv_netdev_type *type;
    char *id;
    const struct viv_nic_ops *ops; /* NULL: no NIC attached */
    void *nic;
    unsigned tx_offloads, rx_offloads; /* what it can do; set by create */
    bool rx_trusted;
    unsigned rx; /* what the NIC does itself */
    bool link_down;
    bool gone; /* viv_netdev_gone() */
    struct viv_vhost *vhost; /* made and freed by create and destroy; NULL: none */
    struct viv_netdev **more; /* queues behind the first, made and freed by create and destroy; they are in no list */
    unsigned more_count;
    struct viv_netdev *head; /* of one of those: the first; its spies see all */
    struct viv_net_spy *spies;
    struct viv_netdev *next;
};

/* What it was connected to is no more and does not come back: the cable is out for good. */
void viv_netdev_gone(struct viv_netdev *n);
/* To the NIC: whether it takes a frame now, and the frame (false: keep it). A pulled cable takes all and loses them. */
bool viv_netdev_can_deliver(const struct viv_netdev *n);
bool viv_netdev_deliver(struct viv_netdev *n, const uint8_t *frame, size_t len, const struct viv_net_hdr *hdr);
void viv_netdev_deliver_done(struct viv_netdev *n);

extern const struct viv_netdev_type viv_netdev_user, viv_netdev_tap, viv_netdev_bridge, viv_netdev_socket;

#endif
