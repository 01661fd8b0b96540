/* `-netdev socket`: frames to and from other machines through a socket of this host. For socket*.c only.
 *
 * Over TCP (listen, connect) a frame has its length in front, four bytes, big-endian; over UDP (udp, mcast) it is a datagram. Both
 * are what QEMU's manual describes and its machines speak. Everything happens under the device lock; no call blocks. */
#ifndef VIV_NET_SOCKET_H
#define VIV_NET_SOCKET_H

#include "net/net_int.h"

#include <glib.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct viv_watch;

#define SOCKET_PREFIX 4
#define SOCKET_BUF    (SOCKET_PREFIX + VIV_NET_MAX_FRAME)

struct socket_net {
    struct viv_netdev n;
    bool stream;
    int fd;        /* the peer, or the datagram socket; -1: nobody is connected */
    int listen_fd; /* -1: not listening */
    int send_fd;   /* of a multicast group, so that what comes back from it is known by its sender; else -1 */
    struct viv_watch *watch, *listen_watch;
    bool connecting;
    bool stalled; /* the NIC could take no more */
    bool blocked; /* the socket could take no more */
    struct sockaddr_in to; /* where datagrams go; sin_family 0: the socket is connected */
    struct sockaddr_in self; /* send_fd's own address */
    uint8_t *buf;  /* what came: bytes [at, have) were not given yet */
    size_t at, have;
    GByteArray *out; /* the rest of a frame that went out in part */
    char *how;
};

/* Opens what the options name: 0 with s filled in, or a negative errno and nothing open. */
int socket_open(struct socket_net *s, struct viv_opts *o, struct viv_err *err);
/* "HOST:PORT"; an empty host is all of ours. */
int socket_address(const char *key, const char *text, struct sockaddr_in *out, struct viv_err *err);

#endif
