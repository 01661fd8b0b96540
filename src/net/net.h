/* Network back ends: -netdev. A NIC and a back end are two ends of one wire.
 *
 * A packet is one Ethernet frame without FCS, at most VIV_NET_MAX_FRAME bytes. Device lock held for all
 * calls. */
#ifndef VIV_NET_NET_H
#define VIV_NET_NET_H

#include "base/err.h"
#include "opt/opt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VIV_NET_MAX_FRAME 65550

struct viv_netdev; /* a back end: "user", ... */

/* What a NIC gives its back end. */
struct viv_nic_ops {
    /* Can the guest take a frame now? A back end that hears false keeps the frame and waits for
     * viv_netdev_can_receive_changed. */
    bool (*can_receive)(void *nic);
    void (*receive)(void *nic, const uint8_t *frame, size_t len);
    void (*link_changed)(void *nic, bool up);
};

/* From -netdev/-nic text (type implied). Registered under its id. */
int viv_netdev_new(struct viv_raw_opts *opts, struct viv_netdev **out, struct viv_err *err);
struct viv_netdev *viv_netdev_find(const char *id);
const char *viv_netdev_id(const struct viv_netdev *n);
void viv_netdev_free_all(void);
void viv_netdev_help(void); /* types, to stdout */

/* One NIC per back end: -EBUSY naming the id when taken. */
int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic,
                      struct viv_err *err);
void viv_netdev_detach(struct viv_netdev *n);
/* Guest to host; never blocks, may drop. */
void viv_netdev_send(struct viv_netdev *n, const struct iovec *iov, int iovcnt);
/* The NIC can take frames again. */
void viv_netdev_can_receive_changed(struct viv_netdev *n);

#endif
