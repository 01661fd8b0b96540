/* Sockets to a server, given up in time. */
#include "block/proto/nbd/target.h"

#include "base/units.h"
#include "host/broker.h"
#include "host/clock.h"
#include "host/sandbox.h"
#include "opt/opt.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SLICE_MS 100 /* how soon *stop is seen */

/* Until connect(2) has an outcome. */
static int wait_connected(int fd, int64_t deadline_ns, const bool *stop)
{
    struct pollfd p = {fd, POLLOUT, 0};
    socklen_t len = sizeof(int);
    int n, error = 0;

    for (;;) {
        if (stop && __atomic_load_n(stop, __ATOMIC_RELAXED))
            return -ECANCELED;
        if (deadline_ns && viv_clock_ns(VIV_CLOCK_HOST) > deadline_ns)
            return -ETIMEDOUT;
        n = poll(&p, 1, SLICE_MS);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            break;
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return -error;
}

/* `fd`, or the error after closing it. */
static int blocking(int fd, int ret)
{
    if (!ret && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0)
        ret = -errno;
    if (ret) {
        close(fd);
        return ret;
    }
    return fd;
}

/* A blocking, connected socket. */
static int connect_to(int family, const struct sockaddr *sa, socklen_t len, int64_t deadline_ns, const bool *stop)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret = 0;

    if (fd < 0)
        return -errno;
    if (connect(fd, sa, len) < 0)
        ret = errno == EINPROGRESS ? wait_connected(fd, deadline_ns, stop) : -errno;
    return blocking(fd, ret);
}

static int connect_path(const struct sockaddr_un *sun, const char *said, int64_t deadline_ns, const bool *stop, struct viv_err *err)
{
    struct viv_err own = VIV_ERR_INIT;
    int fd, ret;

    while ((fd = viv_unix_connect((const struct sockaddr *)sun, sizeof(*sun), &own)) == -EAGAIN) { /* its queue is full */
        ret = stop && __atomic_load_n(stop, __ATOMIC_RELAXED)                     ? -ECANCELED
              : deadline_ns && viv_clock_ns(VIV_CLOCK_HOST) > deadline_ns ? -ETIMEDOUT
                                                                                  : 0;
        if (ret)
            return viv_fail_os(err, -ret, "Failed to connect to '%s'", said);
        viv_err_clear(&own);
        g_usleep(SLICE_MS * 1000);
    }
    if (fd < 0)
        return viv_fail(err, -fd, "Failed to connect to '%s': %s", said, own.text);
    return blocking(fd, 0);
}

static int connect_unix(const struct viv_nbd_target *t, int64_t deadline_ns, const bool *stop, struct viv_err *err)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    if (strlen(t->path) >= sizeof(sun.sun_path))
        return viv_fail(err, ENAMETOOLONG, "UNIX socket path '%s' is too long: %zu bytes are allowed", t->path,
                        sizeof(sun.sun_path) - 1);
    g_strlcpy(sun.sun_path, t->full ? t->full : t->path, sizeof(sun.sun_path));
    return connect_path(&sun, t->path, deadline_ns, stop, err);
}

int viv_nbd_target_connect(const struct viv_nbd_target *t, int64_t deadline_ns, const bool *stop, struct viv_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
    int fd = -ENOENT, e;

    if (t->path)
        return connect_unix(t, deadline_ns, stop, err);
    e = viv_check_port(t->port, err);
    if (e < 0)
        return e;
    viv_sandbox_need(VIV_SANDBOX_NETWORK); /* it connects again when the server was away */
    e = getaddrinfo(t->host, t->port, &hints, &found);
    if (e == EAI_NONAME || e == EAI_FAMILY || e == EAI_ADDRFAMILY) { /* AI_ADDRCONFIG knows no loopback-only hosts */
        hints.ai_flags = 0;
        e = getaddrinfo(t->host, t->port, &hints, &found);
    }
    if (e)
        return viv_fail(err, e == EAI_AGAIN ? EAGAIN : ENOENT, "address resolution failed for %s:%s: %s", t->host, t->port,
                        gai_strerror(e));
    for (struct addrinfo *a = found; a && fd < 0 && fd != -ECANCELED; a = a->ai_next)
        fd = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen, deadline_ns, stop);
    freeaddrinfo(found);
    return fd < 0 ? viv_fail_os(err, -fd, "Failed to connect to '%s:%s'", t->host, t->port) : fd;
}
