#include "cmd/nbd.h"

#include "block/proto/nbd/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_ACTIVATED 3 /* sd_listen_fds(3) */

static unsigned activated(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");

    return pid && n && atol(pid) == getpid() && atoi(n) > 0 ? MIN(atoi(n), NBD_LISTEN_MAX) : 0;
}

bool nbd_is_activated(void)
{
    return activated() > 0;
}

static int listen_unix(const char *path, unsigned backlog, int *fds, struct viv_err *err)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;

    g_strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
    /* A socket that somebody left behind; one in use is not told apart, as with other servers. */
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, backlog) < 0) {
        int e = errno;

        if (fd >= 0)
            close(fd);
        return viv_fail_os(err, e, "Failed to bind socket to '%s'", path);
    }
    fds[0] = fd;
    return 1;
}

static int listen_on(const struct addrinfo *a, unsigned backlog)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, e;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return fd;
    e = -errno;
    close(fd);
    return e;
}

/* All addresses of the name; one that works is enough. */
static int listen_tcp(const char *host, const char *port, unsigned backlog, int *fds, unsigned max, struct viv_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_ADDRCONFIG}, *found;
    int e, failed = -EADDRNOTAVAIL;
    unsigned n = 0;

    e = getaddrinfo(host, port, &hints, &found);
    if (e) {
        hints.ai_flags = AI_PASSIVE;
        e = getaddrinfo(host, port, &hints, &found);
    }
    if (e)
        return viv_fail(err, EINVAL, "address resolution failed for %s:%s: %s", host ? host : "", port, gai_strerror(e));
    for (struct addrinfo *a = found; a && n < max; a = a->ai_next) {
        int fd = listen_on(a, backlog);

        if (fd >= 0)
            fds[n++] = fd;
        else if (!n || fd == -EADDRINUSE)
            failed = fd;
    }
    freeaddrinfo(found);
    if (n)
        return n;
    return viv_fail_os(err, -failed, "Failed to listen on '%s:%s'", host ? host : "*", port);
}

int nbd_listen(const struct nbd_args *a, int *fds, unsigned max, struct viv_err *err)
{
    unsigned n = activated(), backlog = a->clients ? MIN(MAX(a->clients, 8), 128) : 128;

    if (!n && a->path)
        return listen_unix(a->path, backlog, fds, err);
    if (!n)
        return listen_tcp(a->bind ? a->bind : "0.0.0.0", a->port ? a->port : VIV_NBD_PORT, backlog, fds, max, err);
    if (a->path || a->bind || a->port)
        return viv_fail(err, EINVAL, "a socket was handed over (LISTEN_FDS): -k, -b and -p do not go with that");
    for (unsigned i = 0; i < n; i++) {
        fds[i] = FIRST_ACTIVATED + i;
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    }
    return n;
}
