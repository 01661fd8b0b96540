/* Network back ends: -netdev. A NIC and a back end are two ends of one wire.
 *
 * A packet is one Ethernet frame without FCS, at most VIV_NET_MAX_FRAME bytes. Device lock held for all
 * calls and callbacks. A back end whose host I/O can take long does it on a thread of its own and takes the device lock
 * only to hand over frames it has already received, several at a time; one whose I/O is one system call that never blocks
 * (tap, socket) does it where it stands, which saves a copy and a wake-up. */
#ifndef VIV_NET_NET_H
#define VIV_NET_NET_H

#include "base/byname.h"
#include "base/err.h"
#include "net/vhost.h"
#include "opt/opt.h"
#include "state/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#define VIV_NET_MAX_FRAME 65550

struct viv_netdev; /* a back end: "user", ... */

/* What is left to be done to a frame, in the words and the layout of struct virtio_net_hdr (virtio 1.2, 5.1.6), which the
 * kernel's tap has too: a checksum to be finished, segments to be cut. All zero: nothing. */
struct viv_net_hdr {
    uint8_t flags, gso_type;
    uint16_t hdr_len;  /* bytes up to the data */
    uint16_t gso_size; /* data in each segment */
    uint16_t csum_start, csum_offset; /* sum from start to the end, store at start + offset */
};

enum {
    VIV_NET_HDR_NEEDS_CSUM = 1, /* flags */
    VIV_NET_HDR_DATA_VALID = 2,
    VIV_NET_GSO_NONE = 0, /* gso_type */
    VIV_NET_GSO_TCPV4 = 1,
    VIV_NET_GSO_UDP = 3,
    VIV_NET_GSO_TCPV6 = 4,
    VIV_NET_GSO_ECN = 0x80, /* beside a TCP type */
};

/* What may be left to be done, for each direction. */
enum viv_net_offload {
    VIV_NET_CSUM = 1 << 0,
    VIV_NET_TSO4 = 1 << 1,
    VIV_NET_TSO6 = 1 << 2,
    VIV_NET_ECN = 1 << 3,
    VIV_NET_UFO = 1 << 4,
};

/* Who a NIC is, for people. */
struct viv_nic_info {
    const char *id, *model; /* id NULL: none was given */
    const uint8_t *mac;
};

/* What a NIC lets through to its driver. */
struct viv_nic_filter {
    enum viv_nic_rx { VIV_NIC_NONE, VIV_NIC_NORMAL, VIV_NIC_ALL } unicast, multicast, vlan; /* normal: what the tables name */
    bool promiscuous, broadcast, unicast_overflow, multicast_overflow; /* overflow: the list was too long, all of the kind */
    const uint8_t (*macs)[6]; /* unicast ones first */
    unsigned unicasts, multicasts;
    const uint32_t *vlans; /* a bit for each of 4096 */
};

/* What a NIC gives its back end. Const. */
struct viv_nic_ops {
    bool vhost; /* it can let the kernel move the frames of a back end that has viv_netdev_vhost */
    /* Can the guest take a frame now? A back end that hears false keeps the frame and waits for
     * viv_netdev_can_receive_changed. False while the VM is stopped. */
    bool (*can_receive)(void *nic);
    /* False: no room after all; the back end keeps the frame, as if can_receive had said no. */
    bool (*receive)(void *nic, const uint8_t *frame, size_t len);
    /* The same with something left to be done, of what viv_netdev_set_rx asked for. May be NULL. */
    bool (*receive_hdr)(void *nic, const uint8_t *frame, size_t len, const struct viv_net_hdr *hdr);
    /* After the last frame of a batch: the place for one interrupt. May be NULL. */
    void (*receive_done)(void *nic);
    void (*link_changed)(void *nic, bool up);
    /* After viv_netdev_send refused a frame: there is room again. May be NULL for NICs that drop. */
    void (*send_ready)(void *nic);
    void (*info)(void *nic, struct viv_nic_info *out); /* may be NULL for one that is not added to the cards */
    /* May be NULL: it cannot tell. Who asked is told of the next change, by the event NIC_RX_FILTER_CHANGED. */
    void (*filter)(void *nic, struct viv_nic_filter *out);
    /* The back end goes away: detached already, its pointer is void. */
    void (*gone)(void *nic);
} VIV_BY_NAME;

/* From -netdev/-nic text (type implied). Registered under its id. */
/* The options of type i, without type and id; NULL: there are no more. */
const struct viv_opt_def *viv_netdev_type_opts(unsigned i, const char **name);
int viv_netdev_new(struct viv_raw_opts *opts, struct viv_netdev **out, struct viv_err *err);
struct viv_netdev *viv_netdev_find(const char *id);
/* All back ends in creation order; NULL starts and ends the walk. */
struct viv_netdev *viv_netdev_next(struct viv_netdev *n);
const char *viv_netdev_id(const struct viv_netdev *n);
const char *viv_netdev_type(const struct viv_netdev *n);
bool viv_netdev_attached(const struct viv_netdev *n);
/* What the back end takes in viv_netdev_send_hdr, and what it can leave to the NIC: of enum viv_net_offload. */
unsigned viv_netdev_tx_offloads(const struct viv_netdev *n);
unsigned viv_netdev_rx_offloads(const struct viv_netdev *n);
/* Frames from it never were on a wire: the guest need not check their checksums. */
bool viv_netdev_rx_trusted(const struct viv_netdev *n);
/* Queues that frames are spread over, 1 to many. Each is a back end for viv_netdev_attach and all below, number 0 this one
 * itself; options, link and saved state belong to that. */
unsigned viv_netdev_queues(const struct viv_netdev *n);
struct viv_netdev *viv_netdev_queue(struct viv_netdev *n, unsigned i);
/* Only the first `count` get frames from now on. */
void viv_netdev_use_queues(struct viv_netdev *n, unsigned count);
/* Takes it out of the registry and frees it; a NIC that has it goes on without a cable. */
void viv_netdev_free(struct viv_netdev *n);
void viv_netdev_free_all(void);
bool viv_netdev_help(const char *type, FILE *to); /* its options, or (NULL) the types; false: there is no such type */

/* One NIC per back end: -EBUSY naming the id when taken. */
int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic,
                      struct viv_err *err);
void viv_netdev_detach(struct viv_netdev *n);
/* Guest to host; never blocks. False: the back end is full and did not take the frame; send_ready
 * will tell. (True also when the frame was dropped for good, e.g. an oversized one.) The buffers may be
 * guest memory: they are copied before anything looks at them. */
bool viv_netdev_send(struct viv_netdev *n, const struct iovec *iov, int iovcnt);
/* The same with something left to be done, of what viv_netdev_tx_offloads says. */
bool viv_netdev_send_hdr(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt);
/* What the guest is ready to do itself from now on: a subset of viv_netdev_rx_offloads. */
void viv_netdev_set_rx(struct viv_netdev *n, unsigned offloads);
/* What lets the host's kernel move frames, for this queue alone (net/vhost.h); NULL: none. While it runs nothing is sent, received or
 * shown to spies here. Start and stop are these two, because the back end has to stand aside. */
struct viv_vhost *viv_netdev_vhost(struct viv_netdev *n);
int viv_netdev_vhost_start(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err);
void viv_netdev_vhost_stop(struct viv_netdev *n);
/* The NIC can take frames again. */
void viv_netdev_can_receive_changed(struct viv_netdev *n);

/* A NIC's address: `text` as typed ("52:54:00:12:34:56"), or NULL: 52:54:00 and 24 bits that come from `identity` (a hash
 * of what tells the VM from its neighbours, so that two VMs on one bridge differ) plus the number of addresses given out so
 * far. identity 0: counts from 12:34:56. One that another machine of this host has is passed over (viv_net_mac_keep). */
int viv_net_mac(const char *text, uint32_t identity, uint8_t mac[6], struct viv_err *err);
/* The NIC that was given it goes. */
void viv_net_mac_release(const uint8_t mac[6]);

/* The cable: pulled, frames of both directions are lost. By the id of a back end or of the NIC it belongs to; -ENOENT: neither. */
int viv_netdev_set_link(const char *name, bool up, struct viv_err *err);
bool viv_netdev_link_up(const struct viv_netdev *n);
/* The cable as a saved NIC knew it; the NIC is not told. NULL allowed. */
void viv_netdev_restore_link(struct viv_netdev *n, bool up);
/* The cards that there are. A card adds itself, with what viv_netdev_attach is given (for its first queue), and removes itself. */
struct viv_nic;
void viv_nic_add(const struct viv_nic_ops *ops, void *nic);
void viv_nic_remove(void *nic);
struct viv_nic *viv_nic_next(struct viv_nic *n); /* in creation order; NULL starts and ends the walk */
struct viv_nic *viv_nic_find(const char *name);
void *viv_nic_self(const struct viv_nic *n); /* as it was added */
void viv_nic_info(struct viv_nic *n, struct viv_nic_info *out);
const char *viv_nic_name(const struct viv_nic *n); /* its id, else its model and a number: "e1000.0" */
/* What it lets through, valid till the device lock is given up; false: it cannot tell. */
bool viv_nic_filter(struct viv_nic *n, struct viv_nic_filter *out);
struct viv_netdev *viv_nic_backend(const struct viv_nic *n); /* NULL: none, or none any more */

/* Sees every frame that the NIC was given or the back end took (filter-dump). Device lock held. Freed by its owner;
 * `gone` is called when the back end goes first. */
struct viv_net_spy {
    void (*frame)(struct viv_net_spy *s, bool to_host, const struct iovec *iov, int iovcnt);
    void (*gone)(struct viv_net_spy *s);
    struct viv_net_spy *next;
};
void viv_netdev_spy_add(struct viv_netdev *n, struct viv_net_spy *s);
void viv_netdev_spy_remove(struct viv_netdev *n, struct viv_net_spy *s);
/* The machine continues one that was saved: its addresses are those of before, in use or not. */
void viv_net_mac_keep(void);

/* State of the back end itself (leases, ARP), in the NIC's section. VM stopped. What a back end of another type saved is passed over.
 * `named`: with type and length, as it is saved now; else it must be of this type. */
void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w);
int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, bool named, struct viv_err *err);

/* Port forwards at run time (monitor). -ENOTSUP where the back end has none. */
int viv_netdev_hostfwd_add(struct viv_netdev *n, const char *rule, struct viv_err *err);
int viv_netdev_hostfwd_remove(struct viv_netdev *n, const char *rule, struct viv_err *err);
/* Text for `info usernet`; g_free it; NULL where there is nothing to say. */
char *viv_netdev_info(struct viv_netdev *n);
/* What it is, as "ifname=tap0,script=no"; g_free it; NULL where there is nothing to say. */
char *viv_netdev_describe(struct viv_netdev *n);

/* Helpers and scripts of the usual places may be run when a back end comes later (host/broker.h). Before the sandbox is closed. */
void viv_net_note_programs(void);

#endif
