#include "net/socket.h"

#include "base/bytes.h"
#include "base/log.h"
#include "host/listen.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/sandbox.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define BATCH     64 /* reads before others get the device lock */
#define SEND_SEGS 64

static void set_events(struct socket_net *s)
{
    if (s->watch)
        viv_watch_set_events(s->watch, (s->stalled || s->connecting ? 0 : POLLIN) | (s->blocked || s->connecting ? POLLOUT : 0));
}

static void on_event(void *opaque, int fd, short revents);

/* ---- connections ---- */

static void send_ready(struct socket_net *s)
{
    if (s->n.ops && s->n.ops->send_ready)
        s->n.ops->send_ready(s->n.nic);
}

static void start(struct socket_net *s, int fd)
{
    s->fd = fd;
    s->watch = viv_watch_new(fd, 0, on_event, s);
    set_events(s);
}

static void hang_up(struct socket_net *s, const char *why)
{
    viv_info("%s: the other side is gone: %s", s->n.id, why);
    viv_watch_free(s->watch);
    s->watch = NULL;
    close(s->fd);
    s->fd = -1;
    s->at = s->have = 0;
    s->connecting = s->blocked = false;
    g_byte_array_set_size(s->out, 0);
    if (s->listen_watch)
        viv_watch_set_events(s->listen_watch, POLLIN);
    send_ready(s); /* what waited is lost, as on a cable that was pulled */
}

/* One at a time: the next waits in the backlog. */
static void on_listen(void *opaque, int fd, short revents)
{
    struct socket_net *s = opaque;
    int peer = viv_accept(fd, SOCK_NONBLOCK), one = 1;

    if (peer < 0)
        return;
    viv_watch_set_events(s->listen_watch, 0);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* as who connects does: frames do not wait for each other */
    start(s, peer);
}

/* ---- host to guest ---- */

/* Bytes of the first frame in buf with what stands before it, 0: not all there. */
static size_t whole(const struct socket_net *s)
{
    size_t have = s->have - s->at, need;

    if (!s->stream)
        return have;
    if (have < SOCKET_PREFIX)
        return 0;
    need = SOCKET_PREFIX + (size_t)viv_ld_be32(s->buf + s->at);
    return have < need ? 0 : need;
}

static bool too_long(const struct socket_net *s)
{
    return s->stream && s->have - s->at >= SOCKET_PREFIX && viv_ld_be32(s->buf + s->at) > VIV_NET_MAX_FRAME;
}

/* False: the NIC has no room. */
static bool give(struct socket_net *s, size_t size)
{
    size_t skip = s->stream ? SOCKET_PREFIX : 0;

    if (size > skip && !viv_netdev_deliver(&s->n, s->buf + s->at + skip, size - skip, NULL))
        return false;
    s->at += size;
    return true;
}

static bool is_own(const struct socket_net *s, const struct sockaddr_in *from)
{
    return s->send_fd >= 0 && from->sin_port == s->self.sin_port && from->sin_addr.s_addr == s->self.sin_addr.s_addr;
}

/* More into buf. False: there is nothing now, or the peer is gone. */
static bool fill(struct socket_net *s)
{
    struct sockaddr_in from = {0};
    socklen_t len = sizeof(from);
    ssize_t got;

    memmove(s->buf, s->buf + s->at, s->have - s->at);
    s->have -= s->at;
    s->at = 0;
    do
        got = recvfrom(s->fd, s->buf + s->have, SOCKET_BUF - s->have, 0, (struct sockaddr *)&from, &len);
    while (got < 0 && errno == EINTR);
    if (got > 0 || (!got && !s->stream)) {
        if (!is_own(s, &from))
            s->have += got;
        return true;
    }
    if (s->stream && (!got || errno != EAGAIN))
        hang_up(s, got ? g_strerror(errno) : "it closed the connection");
    return false;
}

/* All that is in buf is given at once, for the loop does not call again for it; reads are what is limited. */
static void receive(struct socket_net *s)
{
    unsigned reads = 0;
    bool any = false;
    size_t size;

    VIV_ASSERT_DEV_LOCKED();
    s->stalled = false;
    while (s->watch) {
        size = whole(s);
        if (!size) {
            if (too_long(s)) {
                hang_up(s, "it announced a frame that is longer than any");
                break;
            }
            if (reads++ == BATCH || !fill(s))
                break;
        } else if (!viv_netdev_can_deliver(&s->n) || !give(s, size)) {
            s->stalled = true;
            break;
        } else {
            any = true;
        }
    }
    if (any)
        viv_netdev_deliver_done(&s->n);
    set_events(s);
}

static void socket_can_receive_changed(struct viv_netdev *n)
{
    struct socket_net *s = (struct socket_net *)n;

    if (s->watch && s->stalled)
        receive(s);
}

/* ---- guest to host ---- */

/* What a frame left over. False: not all of it went. */
static bool flush(struct socket_net *s)
{
    ssize_t sent = 0;

    if (s->out->len)
        sent = send(s->fd, s->out->data, s->out->len, MSG_NOSIGNAL);
    if (sent > 0)
        g_byte_array_remove_range(s->out, 0, (guint)sent);
    return !s->out->len;
}

static void finish_connect(struct socket_net *s)
{
    socklen_t len = sizeof(int);
    int e = 0;

    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &len);
    s->connecting = false;
    if (e)
        hang_up(s, g_strerror(e));
    else
        set_events(s);
}

static void on_event(void *opaque, int fd, short revents)
{
    struct socket_net *s = opaque;

    if (s->connecting) {
        if (revents & (POLLOUT | POLLERR | POLLHUP))
            finish_connect(s);
        return;
    }
    if (revents & POLLOUT && s->blocked && flush(s)) {
        s->blocked = false;
        set_events(s);
        send_ready(s);
    }
    /* A reset is found by reading, even while the NIC takes nothing. */
    if (s->watch && (revents & POLLIN || revents & (POLLERR | POLLHUP)))
        receive(s);
    if (s->watch && s->stalled && s->stream && revents & (POLLERR | POLLHUP))
        hang_up(s, "it closed the connection");
}

static bool send_stream(struct socket_net *s, struct iovec *iov, int count, size_t len)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(s->fd, &m, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return true; /* gone: the loop hears of it */
    if (sent < 0)
        sent = 0;
    if ((size_t)sent == len)
        return true;
    s->blocked = true;
    set_events(s);
    if (!sent)
        return false;
    for (int i = 0; i < count; i++) {
        size_t skip = MIN((size_t)sent, iov[i].iov_len);

        g_byte_array_append(s->out, (uint8_t *)iov[i].iov_base + skip, (guint)(iov[i].iov_len - skip));
        sent -= (ssize_t)skip;
    }
    return true;
}

static bool send_datagram(struct socket_net *s, struct iovec *iov, int count)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    int fd = s->send_fd >= 0 ? s->send_fd : s->fd;

    if (s->to.sin_family) {
        m.msg_name = &s->to;
        m.msg_namelen = sizeof(s->to);
    }
    /* EAGAIN: the frame is lost, as it may be anywhere on its way. */
    if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0 && errno == EMSGSIZE)
        viv_guest_error(s->n.id, "a frame too large for a datagram");
    return true;
}

static bool socket_send(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    struct socket_net *s = (struct socket_net *)n;
    struct iovec out[1 + SEND_SEGS];
    g_autofree uint8_t *flat = NULL;
    uint8_t prefix[SOCKET_PREFIX];
    size_t len = 0;
    int k = 0;

    VIV_ASSERT_DEV_LOCKED();
    if (!s->watch || s->connecting)
        return true;
    if (s->blocked)
        return false;
    for (int i = 0; i < iovcnt; i++)
        len += iov[i].iov_len;
    if (len > VIV_NET_MAX_FRAME)
        return true;
    /* The length is said once and the guest cannot change it any more; what is sent in two parts is what it was when it was
     * looked at. */
    viv_st_be32(prefix, (uint32_t)len);
    if (s->stream)
        out[k++] = (struct iovec){prefix, sizeof(prefix)};
    if (iovcnt > SEND_SEGS) {
        flat = g_malloc(len);
        for (int i = 0, at = 0; i < iovcnt; at += (int)iov[i++].iov_len)
            memcpy(flat + at, iov[i].iov_base, iov[i].iov_len);
        out[k++] = (struct iovec){flat, len};
    } else {
        memcpy(out + k, iov, iovcnt * sizeof(*iov));
        k += iovcnt;
    }
    return s->stream ? send_stream(s, out, k, len + SOCKET_PREFIX) : send_datagram(s, out, k);
}

/* ---- life ---- */

static const struct viv_opt_def socket_opts[] = {
    {.name = "listen", .type = VIV_OPT_STR, .help = "[HOST]:PORT to wait for another machine at"},
    {.name = "connect", .type = VIV_OPT_STR, .help = "HOST:PORT of a machine that waits"},
    {.name = "mcast", .type = VIV_OPT_STR, .help = "GROUP:PORT that any number of machines share"},
    {.name = "udp", .type = VIV_OPT_STR, .help = "HOST:PORT to send datagrams to"},
    {.name = "localaddr", .type = VIV_OPT_STR, .help = "with udp: HOST:PORT to take them at; with mcast: an interface's address"},
    {.name = "fd", .type = VIV_OPT_STR, .help = "an open, connected socket: its number, or its name (getfd)"},
    VIV_OPT_END,
};

static int socket_create(struct viv_netdev *n, struct viv_opts *o, struct viv_err *err)
{
    struct socket_net *s = (struct socket_net *)n;
    int rc;

    viv_sandbox_need(VIV_SANDBOX_NETWORK);
    s->fd = s->listen_fd = s->send_fd = -1;
    rc = socket_open(s, o, err);
    if (rc < 0) {
        viv_err_prefix(err, "%s", viv_opts_what(o));
        g_free(s->how);
        return rc;
    }
    s->buf = g_malloc(SOCKET_BUF);
    s->out = g_byte_array_new();
    s->stalled = true; /* until there is a NIC */
    if (s->listen_fd >= 0)
        s->listen_watch = viv_watch_new(s->listen_fd, POLLIN, on_listen, s);
    if (s->fd >= 0)
        start(s, s->fd);
    return 0;
}

static void socket_destroy(struct viv_netdev *n)
{
    struct socket_net *s = (struct socket_net *)n;

    viv_watch_free(s->watch);
    viv_watch_free(s->listen_watch);
    for (const int *fd = (const int[]){s->fd, s->listen_fd, s->send_fd, -2}; *fd != -2; fd++) {
        if (*fd >= 0)
            close(*fd);
    }
    g_byte_array_unref(s->out);
    g_free(s->buf);
    g_free(s->how);
}

static void socket_attached(struct viv_netdev *n)
{
    struct socket_net *s = (struct socket_net *)n;

    s->stalled = false;
    set_events(s);
}

static void socket_detached(struct viv_netdev *n)
{
    struct socket_net *s = (struct socket_net *)n;

    s->stalled = true;
    set_events(s);
}

static char *socket_describe(struct viv_netdev *n)
{
    struct socket_net *s = (struct socket_net *)n;

    return g_strdup_printf("%s%s", s->how, s->fd < 0 ? " (nobody is connected)" : s->connecting ? " (connecting)" : "");
}

const struct viv_netdev_type viv_netdev_socket = {
    .name = "socket",
    .desc = "a socket to another machine: TCP, UDP or multicast",
    .opts = socket_opts,
    .size = sizeof(struct socket_net),
    .create = socket_create,
    .destroy = socket_destroy,
    .attached = socket_attached,
    .detached = socket_detached,
    .send = socket_send,
    .can_receive_changed = socket_can_receive_changed,
    .describe = socket_describe,
};
