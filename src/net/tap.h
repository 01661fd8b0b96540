/* `-netdev tap` and `-netdev bridge`: a TAP interface of the host's kernel. For the files tap*.c, bridge.c and helper.c only.
 *
 * Everything happens under the device lock: a frame to the host is one writev(2) from the guest's own buffers, frames to
 * the guest are read when the loop says that there are some and the NIC says that it can take one. Where the kernel has
 * vnet headers each frame brings one along, so that checksums and segments can be left to whoever does them best. */
#ifndef VIV_NET_TAP_H
#define VIV_NET_TAP_H

#include "net/net_int.h"

#include <net/if.h>

struct viv_watch;

enum { TAP_HEAD = 12, TAP_QUEUES = 16 };

struct tap_net {
    struct viv_netdev n;
    int fd;
    struct viv_watch *watch;
    bool vnet_hdr;
    unsigned hdr_len; /* of the kernel's, before each frame: 0, 10, or 12 since vhost wanted it */
    bool blocked; /* a frame to the host was refused: POLLOUT is waited for */
    bool stalled; /* the NIC could take no more: POLLIN is not waited for */
    char ifname[IFNAMSIZ];
    char *how;        /* for `info network` */
    char *downscript; /* to run at the end, NULL: none */
    uint8_t *buf;     /* TAP_HEAD bytes, which end with the header, and one frame */
    size_t held;      /* bytes in buf that the NIC did not take; 0: none */
};

/* Opens /dev/net/tun and attaches to, or makes, interface `name` ("" lets the kernel choose); *name becomes what it is called. Returns
 * the descriptor or a negative errno. */
int tap_open(char name[IFNAMSIZ], bool want_vnet_hdr, bool multi_queue, struct viv_err *err);
/* Asks a descriptor of /dev/net/tun what it is. */
int tap_inspect(int fd, char name[IFNAMSIZ], bool *vnet_hdr, struct viv_err *err);
/* The host's send buffer in bytes; 0: no limit. */
int tap_set_sndbuf(int fd, uint64_t bytes, struct viv_err *err);
/* Runs SCRIPT IFNAME and waits for it, the device lock let go meanwhile. */
int tap_run_script(const char *script, const char *ifname, struct viv_err *err);

/* Makes the back end of an open descriptor, which is its own from then on (closed on failure, too). */
int tap_adopt(struct tap_net *t, int fd, struct viv_err *err);
/* Another queue of the same interface. */
int tap_add_queue(struct tap_net *t, int fd, struct viv_err *err);
void tap_use_queues(struct viv_netdev *n, unsigned count);
/* A descriptor of the vhost option that goes with it, consumed. */
int tap_adopt_vhost(struct tap_net *t, int fd, unsigned poll_us, struct viv_err *err);
int tap_vhost_start(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err);
void tap_vhost_stop(struct viv_netdev *n);
void tap_destroy(struct viv_netdev *n);
void tap_attached(struct viv_netdev *n);
void tap_detached(struct viv_netdev *n);
bool tap_send(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt);
void tap_rx_changed(struct viv_netdev *n);
void tap_can_receive_changed(struct viv_netdev *n);
char *tap_describe(struct viv_netdev *n);

/* Programs that a tap back end runs when none is named; each ends with NULL. */
extern const char *const tap_ups[], *const tap_downs[];

/* Has a helper program make a TAP interface on bridge `br` and pass it. `helper` NULL: the standard one. Returns the descriptor or a
 * negative errno. The device lock is let go meanwhile. */
int tap_from_helper(const char *helper, const char *br, struct viv_err *err);

#endif
