/* The sockets that `-netdev socket` is asked for. */
#include "net/socket.h"

#include "host/fdname.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

int socket_address(const char *key, const char *text, struct sockaddr_in *out, struct viv_err *err)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM}, *found;
    const char *colon = strrchr(text, ':');
    g_autofree char *host = colon ? g_strndup(text, colon - text) : NULL;
    uint64_t port;
    int e;

    if (!colon || viv_parse_u64(colon + 1, &port, NULL) < 0 || !port || port > 65535)
        return viv_fail(err, EINVAL, "%s=%s: the form is HOST:PORT, as in %s=127.0.0.1:1234", key, text, key);
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (!*host)
        return 0;
    e = getaddrinfo(host, NULL, &hints, &found);
    if (e)
        return viv_fail(err, ENOENT, "%s=%s: %s", key, text, gai_strerror(e));
    out->sin_addr = ((struct sockaddr_in *)found->ai_addr)->sin_addr;
    freeaddrinfo(found);
    return 0;
}

static int new_socket(int type, struct viv_err *err)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? viv_fail_os(err, errno, "socket") : fd;
}

static int set_on(int fd, int level, int option)
{
    int one = 1;

    return setsockopt(fd, level, option, &one, sizeof(one));
}

static int failed(int fd, struct viv_err *err, const char *key, const char *text)
{
    int e = errno;

    close(fd);
    return viv_fail_os(err, e, "%s=%s", key, text);
}

static int open_listen(struct socket_net *s, const char *text, struct viv_err *err)
{
    struct sockaddr_in a;
    int rc = socket_address("listen", text, &a, err), fd;

    if (rc < 0)
        return rc;
    fd = new_socket(SOCK_STREAM, err);
    if (fd < 0)
        return fd;
    set_on(fd, SOL_SOCKET, SO_REUSEADDR);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0)
        return failed(fd, err, "listen", text);
    s->listen_fd = fd;
    s->stream = true;
    return 0;
}

static int open_connect(struct socket_net *s, const char *text, struct viv_err *err)
{
    struct sockaddr_in a;
    int rc = socket_address("connect", text, &a, err), fd;

    if (rc < 0)
        return rc;
    fd = new_socket(SOCK_STREAM, err);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        if (errno != EINPROGRESS)
            return failed(fd, err, "connect", text);
        s->connecting = true;
    }
    set_on(fd, IPPROTO_TCP, TCP_NODELAY);
    s->fd = fd;
    s->stream = true;
    return 0;
}

static int open_udp(struct socket_net *s, const char *text, const char *local, struct viv_err *err)
{
    struct sockaddr_in a;
    int rc = socket_address("udp", text, &s->to, err), fd;

    if (!rc && !local)
        rc = viv_fail(err, EINVAL, "udp=%s: localaddr=HOST:PORT is missing, where this machine takes frames", text);
    if (!rc)
        rc = socket_address("localaddr", local, &a, err);
    if (rc < 0)
        return rc;
    fd = new_socket(SOCK_DGRAM, err);
    if (fd < 0)
        return fd;
    set_on(fd, SOL_SOCKET, SO_REUSEADDR);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return failed(fd, err, "localaddr", local);
    s->fd = fd;
    return 0;
}

/* The socket that frames to a group leave by; connected, so that its address is known. */
static int open_sender(struct socket_net *s, const struct in_addr *local, struct viv_err *err)
{
    socklen_t len = sizeof(s->self);
    int fd = new_socket(SOCK_DGRAM, err), on = 1;

    if (fd < 0)
        return fd;
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &on, sizeof(on)) < 0 ||
        (local->s_addr && setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, local, sizeof(*local)) < 0) ||
        connect(fd, (struct sockaddr *)&s->to, sizeof(s->to)) < 0 || getsockname(fd, (struct sockaddr *)&s->self, &len) < 0) {
        int e = errno;

        close(fd);
        return viv_fail_os(err, e, "mcast: no way to the group%s", e == ENETUNREACH ? " (localaddr= names an interface)" : "");
    }
    s->send_fd = fd;
    return 0;
}

static int open_mcast(struct socket_net *s, const char *text, const char *local, struct viv_err *err)
{
    struct ip_mreq join = {.imr_interface.s_addr = htonl(INADDR_ANY)};
    int rc = socket_address("mcast", text, &s->to, err), fd;

    if (!rc && !IN_MULTICAST(ntohl(s->to.sin_addr.s_addr)))
        rc = viv_fail(err, EINVAL, "mcast=%s is no group's address (224.0.0.0 to 239.255.255.255)", text);
    if (!rc && local && inet_pton(AF_INET, local, &join.imr_interface) != 1)
        rc = viv_fail(err, EINVAL, "localaddr=%s is no address of an interface", local);
    if (rc < 0)
        return rc;
    join.imr_multiaddr = s->to.sin_addr;
    fd = new_socket(SOCK_DGRAM, err);
    if (fd < 0)
        return fd;
    set_on(fd, SOL_SOCKET, SO_REUSEADDR);
    if (bind(fd, (struct sockaddr *)&s->to, sizeof(s->to)) < 0 ||
        setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)) < 0)
        return failed(fd, err, "mcast", text);
    rc = open_sender(s, &join.imr_interface, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    s->fd = fd;
    s->to.sin_family = 0;
    return 0;
}

static int open_handed(struct socket_net *s, const char *text, struct viv_err *err)
{
    int type = 0, fd = viv_fdname_take_any("fd", text, err);
    socklen_t len = sizeof(type), peer_len = sizeof(struct sockaddr_storage);
    struct sockaddr_storage peer;

    if (fd < 0)
        return fd;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || (type != SOCK_STREAM && type != SOCK_DGRAM) ||
        getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0) {
        close(fd);
        return viv_fail(err, EINVAL, "fd=%s is no connected stream or datagram socket", text);
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    s->stream = type == SOCK_STREAM;
    s->fd = fd;
    return 0;
}

int socket_open(struct socket_net *s, struct viv_opts *o, struct viv_err *err)
{
    static const char *const ways[] = {"listen", "connect", "mcast", "udp", "fd"};
    const char *way = NULL, *text, *local = viv_opts_str(o, "localaddr");

    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        if (viv_opts_str(o, ways[i])) {
            if (way)
                return viv_fail(err, EINVAL, "%s= and %s= exclude each other", way, ways[i]);
            way = ways[i];
        }
    }
    if (!way)
        return viv_fail(err, EINVAL, "one of listen=, connect=, mcast=, udp= and fd= must say where to");
    if (local && strcmp(way, "udp") && strcmp(way, "mcast"))
        return viv_fail(err, EINVAL, "localaddr= goes with udp= or mcast=");
    text = viv_opts_str(o, way);
    s->how = g_strdup_printf("%s=%s", way, text);
    switch (way[0]) {
    case 'l': return open_listen(s, text, err);
    case 'c': return open_connect(s, text, err);
    case 'm': return open_mcast(s, text, local, err);
    case 'u': return open_udp(s, text, local, err);
    default: return open_handed(s, text, err);
    }
}
