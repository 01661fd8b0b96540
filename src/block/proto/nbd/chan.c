#include "block/proto/nbd/chan.h"

#include "base/units.h"
#include "crypto/tls.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Small replies come several to a system call; what asks for more than this is read where it belongs. */
#define READ_AHEAD 16384

struct viv_nbd_chan {
    int fd; /* -1: memory */
    const uint8_t *memory;
    size_t memory_left;
    int64_t deadline_ns;
    struct viv_tls *tls;
    bool broken; /* no goodbye; only ever set */
    uint8_t *buf;
    size_t head, tail; /* unread bytes of buf */
};

/* By whoever reads or writes. */
static void mark_broken(struct viv_nbd_chan *c)
{
    __atomic_store_n(&c->broken, true, __ATOMIC_RELAXED);
}

struct viv_nbd_chan *viv_nbd_chan_new(int fd)
{
    struct viv_nbd_chan *c = g_new0(struct viv_nbd_chan, 1);
    int on = 1;

    c->fd = fd;
    c->buf = g_malloc(READ_AHEAD);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* UNIX sockets refuse: nothing lost */
    return c;
}

struct viv_nbd_chan *viv_nbd_chan_new_memory(const void *in, size_t len)
{
    struct viv_nbd_chan *c = viv_nbd_chan_new(-1);

    c->memory = in;
    c->memory_left = len;
    return c;
}

void viv_nbd_chan_free(struct viv_nbd_chan *c)
{
    if (!c)
        return;
    if (c->tls && !c->broken) {
        c->deadline_ns = viv_clock_ns(VIV_CLOCK_HOST) + VIV_NS_PER_SEC;
        viv_tls_bye(c->tls);
    }
    viv_tls_free(c->tls);
    if (c->fd >= 0)
        close(c->fd);
    g_free(c->buf);
    g_free(c);
}

void viv_nbd_chan_set_deadline(struct viv_nbd_chan *c, int64_t when_ns)
{
    c->deadline_ns = when_ns;
}

bool viv_nbd_chan_has_tls(const struct viv_nbd_chan *c)
{
    return c->tls != NULL;
}

/* With a deadline: until the socket is ready. */
static int wait_ready(struct viv_nbd_chan *c, short events)
{
    struct pollfd p = {c->fd, events, 0};
    int64_t left;
    int n;

    if (!c->deadline_ns)
        return 0;
    do {
        left = (c->deadline_ns - viv_clock_ns(VIV_CLOCK_HOST)) / (int64_t)VIV_NS_PER_MS;
        if (left <= 0)
            return -ETIMEDOUT;
        n = poll(&p, 1, MIN(left, 3600000));
    } while (n == 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : 0;
}

static ssize_t memory_recv(struct viv_nbd_chan *c, void *buf, size_t len)
{
    len = MIN(len, c->memory_left);
    memcpy(buf, c->memory, len);
    c->memory += len;
    c->memory_left -= len;
    return len;
}

/* From the socket. Bytes, 0: the end, or -errno. */
static ssize_t raw_recv(void *opaque, void *buf, size_t len)
{
    struct viv_nbd_chan *c = opaque;

    if (c->fd < 0)
        return memory_recv(c, buf, len);
    for (;;) {
        int ret = wait_ready(c, POLLIN);
        ssize_t n = ret ? ret : recv(c->fd, buf, len, c->deadline_ns ? MSG_DONTWAIT : 0);

        if (ret)
            return ret;
        if (n >= 0)
            return n;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

static ssize_t raw_sendv(struct viv_nbd_chan *c, struct iovec *iov, int cnt)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = MIN(cnt, IOV_MAX)};

    for (;;) {
        int ret = wait_ready(c, POLLOUT);
        ssize_t n = ret ? ret : sendmsg(c->fd, &m, MSG_NOSIGNAL | (c->deadline_ns ? MSG_DONTWAIT : 0));

        if (ret)
            return ret;
        if (n >= 0)
            return n;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

static ssize_t raw_send(void *opaque, const void *buf, size_t len)
{
    struct viv_nbd_chan *c = opaque;
    struct iovec v = {(void *)buf, len};

    return c->fd < 0 ? (ssize_t)len : raw_sendv(c, &v, 1);
}

static const struct viv_tls_io tls_io = {raw_recv, raw_send};

int viv_nbd_chan_start_tls(struct viv_nbd_chan *c, struct viv_tls_creds *creds, const char *hostname,
                           struct viv_err *err)
{
    int ret;

    if (c->head != c->tail) {
        mark_broken(c);
        return viv_fail(err, EPROTO, "unencrypted bytes behind the request for TLS");
    }
    ret = viv_tls_start(creds, hostname, &tls_io, c, &c->tls, err);
    if (ret)
        mark_broken(c);
    return ret;
}

int viv_nbd_chan_check_peer(struct viv_nbd_chan *c, struct viv_authz *authz, struct viv_err *err)
{
    int ret = viv_authz_check(authz, c->tls, err);

    if (ret)
        mark_broken(c);
    return ret;
}

/* At least one byte, or an error. */
static ssize_t some(struct viv_nbd_chan *c, void *buf, size_t len)
{
    ssize_t n = c->tls ? viv_tls_recv(c->tls, buf, len) : raw_recv(c, buf, len);

    if (n <= 0)
        mark_broken(c);
    return n ? n : -ECONNRESET;
}

int viv_nbd_chan_read(struct viv_nbd_chan *c, void *out, size_t len)
{
    uint8_t *p = out;

    while (len) {
        size_t have = MIN(len, c->tail - c->head);
        ssize_t n;

        memcpy(p, c->buf + c->head, have);
        c->head += have;
        p += have;
        len -= have;
        if (!len)
            break;
        if (len >= READ_AHEAD) {
            n = some(c, p, len);
            if (n > 0) {
                p += n;
                len -= n;
            }
        } else {
            n = some(c, c->buf, READ_AHEAD);
            c->head = 0;
            c->tail = MAX(n, 0);
        }
        if (n < 0)
            return n;
    }
    return 0;
}

int viv_nbd_chan_readv(struct viv_nbd_chan *c, const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    for (int i = 0; i < cnt && len; i++) {
        size_t n;
        int ret;

        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        n = MIN(len, iov[i].iov_len - skip);
        ret = viv_nbd_chan_read(c, (char *)iov[i].iov_base + skip, n);
        if (ret)
            return ret;
        skip = 0;
        len -= n;
    }
    return len ? -EINVAL : 0;
}

int viv_nbd_chan_skip(struct viv_nbd_chan *c, uint64_t len)
{
    uint8_t waste[4096];
    int ret = 0;

    while (len && !ret) {
        size_t n = MIN(len, sizeof(waste));

        ret = viv_nbd_chan_read(c, waste, n);
        len -= n;
    }
    return ret;
}

/* TLS sends one buffer at a time: a short header goes out with what follows it. */
static int write_tls(struct viv_nbd_chan *c, struct iovec *iov, int cnt)
{
    uint8_t joined[16384];
    size_t used = 0;

    for (int i = 0; i < cnt;) {
        const uint8_t *p = iov[i].iov_base;
        size_t len = iov[i].iov_len, n = MIN(len, sizeof(joined) - used);
        bool whole = !used && len >= sizeof(joined);
        ssize_t sent;

        if (!whole && n) {
            memcpy(joined + used, p, n);
            used += n;
        }
        if (!whole && n == len) {
            i++;
            if (i < cnt && used < sizeof(joined))
                continue;
        } else if (!whole) {
            iov[i].iov_base = (uint8_t *)p + n;
            iov[i].iov_len -= n;
        }
        for (size_t at = 0; at < used; at += sent) {
            sent = viv_tls_send(c->tls, joined + at, used - at);
            if (sent <= 0)
                return sent ? sent : -ECONNRESET;
        }
        if (whole) {
            sent = viv_tls_send(c->tls, p, len);
            if (sent <= 0)
                return sent ? sent : -ECONNRESET;
            iov[i].iov_base = (uint8_t *)p + sent;
            iov[i].iov_len -= sent;
        }
        used = 0;
    }
    return 0;
}

static int write_plain(struct viv_nbd_chan *c, struct iovec *iov, int cnt)
{
    while (cnt) {
        ssize_t n = raw_sendv(c, iov, cnt);

        if (n < 0)
            return n;
        while (cnt && (size_t)n >= iov->iov_len) {
            n -= iov->iov_len;
            iov++;
            cnt--;
        }
        if (cnt) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= n;
        }
    }
    return 0;
}

int viv_nbd_chan_writev(struct viv_nbd_chan *c, struct iovec *iov, int cnt)
{
    int ret = 0;

    if (c->tls)
        ret = write_tls(c, iov, cnt);
    else if (c->fd >= 0)
        ret = write_plain(c, iov, cnt);
    if (ret)
        mark_broken(c);
    return ret;
}

int viv_nbd_chan_write(struct viv_nbd_chan *c, const void *buf, size_t len)
{
    struct iovec v = {(void *)buf, len};

    return viv_nbd_chan_writev(c, &v, 1);
}

void viv_nbd_chan_shutdown(struct viv_nbd_chan *c, bool writers_too)
{
    if (c->fd >= 0)
        shutdown(c->fd, writers_too ? SHUT_RDWR : SHUT_RD);
}
