/* Network back ends: -netdev. A NIC and a back end are two ends of one wire.
 *
 * A packet is one Ethernet frame without FCS, at most VIV_NET_MAX_FRAME bytes. Device lock held for all
 * calls and callbacks. A back end does its host I/O on a thread of its own and takes the device lock
 * only to hand over frames it has already received, several at a time. */
#ifndef VIV_NET_NET_H
#define VIV_NET_NET_H

#include "base/err.h"
#include "opt/opt.h"
#include "state/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VIV_NET_MAX_FRAME 65550

struct viv_netdev; /* a back end: "user", ... */

/* A frame that stands for several TCP segments, with its TCP checksum still to be finished. */
struct viv_net_gso {
    uint16_t size;   /* data in each segment; 0: an ordinary frame */
    uint16_t header; /* bytes up to the data */
    uint16_t csum_start, csum_offset; /* sum from start to the end, store at start + offset */
};

/* What a NIC gives its back end. Const. */
struct viv_nic_ops {
    /* Can the guest take a frame now? A back end that hears false keeps the frame and waits for
     * viv_netdev_can_receive_changed. False while the VM is stopped. */
    bool (*can_receive)(void *nic);
    /* False: no room after all; the back end keeps the frame, as if can_receive had said no. */
    bool (*receive)(void *nic, const uint8_t *frame, size_t len);
    /* The same for a large frame; only after viv_netdev_set_gso. May be NULL. */
    bool (*receive_gso)(void *nic, const uint8_t *frame, size_t len, const struct viv_net_gso *gso);
    /* After the last frame of a batch: the place for one interrupt. May be NULL. */
    void (*receive_done)(void *nic);
    void (*link_changed)(void *nic, bool up);
    /* After viv_netdev_send refused a frame: there is room again. May be NULL for NICs that drop. */
    void (*send_ready)(void *nic);
};

/* What a back end can do for a NIC that has offloads. */
enum viv_net_caps {
    /* Frames from it never were on a wire: the guest need not check their checksums. */
    VIV_NET_RX_TRUSTED = 1 << 0,
    VIV_NET_RX_GSO = 1 << 1, /* can merge TCP segments for a NIC that takes large frames */
};

/* From -netdev/-nic text (type implied). Registered under its id. */
int viv_netdev_new(struct viv_raw_opts *opts, struct viv_netdev **out, struct viv_err *err);
struct viv_netdev *viv_netdev_find(const char *id);
/* All back ends in creation order; NULL starts and ends the walk. */
struct viv_netdev *viv_netdev_next(struct viv_netdev *n);
const char *viv_netdev_id(const struct viv_netdev *n);
const char *viv_netdev_type(const struct viv_netdev *n);
bool viv_netdev_attached(const struct viv_netdev *n);
unsigned viv_netdev_caps(const struct viv_netdev *n);
void viv_netdev_free_all(void);
bool viv_netdev_help(const char *type); /* its options, or (NULL) the types, to stdout; false: there is no such type */

/* One NIC per back end: -EBUSY naming the id when taken. */
int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic,
                      struct viv_err *err);
void viv_netdev_detach(struct viv_netdev *n);
/* Guest to host; never blocks. False: the back end is full and did not take the frame; send_ready
 * will tell. (True also when the frame was dropped for good, e.g. an oversized one.) The buffers may be
 * guest memory: they are copied before anything looks at them. */
bool viv_netdev_send(struct viv_netdev *n, const struct iovec *iov, int iovcnt);
/* The guest takes large frames (IPv4 TCP) from now on, or no more. */
void viv_netdev_set_gso(struct viv_netdev *n, bool on);
/* The NIC can take frames again. */
void viv_netdev_can_receive_changed(struct viv_netdev *n);

/* A NIC's address: `text` as typed ("52:54:00:12:34:56"), or NULL: 52:54:00 and 24 bits that come from
 * `identity` (a hash of the VM's name or uuid, so that two VMs on one bridge differ) plus the number of
 * addresses given out so far. identity 0: counts from 12:34:56. */
int viv_net_mac(const char *text, uint32_t identity, uint8_t mac[6], struct viv_err *err);

/* State of the back end itself (connections, leases), in the NIC's section. VM stopped. */
void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w);
int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, struct viv_err *err);

/* Port forwards at run time (monitor). -ENOTSUP where the back end has none. */
int viv_netdev_hostfwd_add(struct viv_netdev *n, const char *rule, struct viv_err *err);
int viv_netdev_hostfwd_remove(struct viv_netdev *n, const char *rule, struct viv_err *err);
/* Text for `info usernet`; g_free it; NULL where there is nothing to say. */
char *viv_netdev_info(struct viv_netdev *n);

#endif
