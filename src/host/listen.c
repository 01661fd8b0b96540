#include "host/listen.h"

#include "host/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int viv_listen_unix(const char *path, int backlog, struct viv_err *err)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct viv_err own = VIV_ERR_INIT;
    int fd;

    if (!*path || strlen(path) >= sizeof(sun.sun_path))
        return viv_fail(err, EINVAL, "the path of a socket has 1 to %zu bytes, and '%.40s...' has %zu",
                        sizeof(sun.sun_path) - 1, path, strlen(path));
    memcpy(sun.sun_path, path, strlen(path) + 1);
    fd = viv_unix_listen((struct sockaddr *)&sun, sizeof(sun), backlog, &own);
    return fd >= 0 ? fd : viv_fail(err, -fd, "Failed to bind socket to '%s': %s", path, own.text);
}

static int listen_on(const struct addrinfo *a, int backlog)
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

int viv_listen_tcp(const char *host, const char *port, int backlog, int *fds, unsigned max, struct viv_err *err)
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

int viv_listen_handed(int fd, struct viv_err *err)
{
    int accepts = 0;
    socklen_t len = sizeof(accepts);

    if (fd < 0 || fcntl(fd, F_GETFD) < 0)
        return viv_fail(err, EBADF, "there is no open file descriptor %d", fd);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) < 0 || !accepts)
        return viv_fail(err, EINVAL, "file descriptor %d is not a listening socket", fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}
