/* What a kind of back end provides, and what all of them have. */
#ifndef VIV_NET_NET_INT_H
#define VIV_NET_NET_INT_H

#include "net/net.h"

struct viv_netdev_type {
    const char *name;
    const char *desc;
    const struct viv_opt_def *opts; /* without type and id */
    size_t size;                    /* of the instance, which begins with struct viv_netdev */
    unsigned caps;
    int (*create)(struct viv_netdev *n, struct viv_opts *opts, struct viv_err *err);
    void (*destroy)(struct viv_netdev *n);
    void (*attached)(struct viv_netdev *n); /* a NIC is there (n->nic) */
    void (*detached)(struct viv_netdev *n); /* ... or gone */
    bool (*send)(struct viv_netdev *n, const struct iovec *iov, int iovcnt);
    void (*can_receive_changed)(struct viv_netdev *n);
    void (*save)(struct viv_netdev *n, struct viv_state_writer *w);
    int (*load)(struct viv_netdev *n, struct viv_state_reader *r, struct viv_err *err);
    int (*hostfwd)(struct viv_netdev *n, const char *rule, bool add, struct viv_err *err);
    char *(*info)(struct viv_netdev *n);
};

struct viv_netdev {
    const struct viv_netdev_type *type;
    char *id;
    const struct viv_nic_ops *ops; /* NULL: no NIC attached */
    void *nic;
    bool gso; /* the NIC takes large frames */
    struct viv_netdev *next;
};

extern const struct viv_netdev_type viv_netdev_user;

#endif
