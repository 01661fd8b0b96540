/* ":0", "HOST:0", "[::1]:0", "unix:PATH", and the WebSocket's "on", "PORT", "HOST:PORT". */
#include "ui/vnc/address.h"

#include "host/listen.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_VNC 5900
#define PORT_WS  5700
#define BACKLOG  16

struct place {
    char *host; /* NULL: all */
    uint64_t number;
};

/* "host:number", ":number"; -EINVAL: it is not. */
static int split(const char *text, struct place *out)
{
    struct viv_err ignored = VIV_ERR_INIT;
    const char *colon = strrchr(text, ':');
    size_t len;

    if (!colon || !g_ascii_isdigit(colon[1]) || viv_parse_u64(colon + 1, &out->number, &ignored) < 0)
        return -EINVAL;
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
        out->host = g_strndup(text + 1, len - 2);
    else
        out->host = len ? g_strndup(text, len) : NULL;
    return 0;
}

static int add(struct vnc_server *s, const char *host, unsigned port, bool websocket, struct viv_err *err)
{
    g_autofree char *service = g_strdup_printf("%u", port);
    int fds[VNC_LISTEN_MAX], n;

    n = viv_listen_tcp(host, service, BACKLOG, fds, VNC_LISTEN_MAX - s->listeners, err);
    for (int i = 0; i < n; i++)
        s->listener[s->listeners++] = (struct vnc_listener){.fd = fds[i], .websocket = websocket};
    return MIN(n, 0);
}

static void drop(struct vnc_server *s)
{
    while (s->listeners)
        close(s->listener[--s->listeners].fd);
}

static int add_websocket(struct vnc_server *s, const char *text, const struct place *vnc, struct viv_err *err)
{
    struct viv_err ignored = VIV_ERR_INIT;
    struct place p = {0};
    uint64_t port;
    int rc;

    if (!text || !strcmp(text, "off"))
        return 0;
    if (!strcmp(text, "on"))
        return vnc->number + PORT_WS > 65535 ? viv_fail(err, ERANGE, "-vnc: websocket needs a port of its own: websocket=PORT")
                                             : add(s, vnc->host, (unsigned)vnc->number + PORT_WS, true, err);
    if (viv_parse_u64(text, &port, &ignored) == 0 && port && port <= 65535)
        return add(s, vnc->host, (unsigned)port, true, err);
    if (split(text, &p) < 0 || !p.number || p.number > 65535)
        rc = viv_fail(err, EINVAL, "-vnc: websocket=%.60s: it takes on, PORT or HOST:PORT", text);
    else
        rc = add(s, p.host, (unsigned)p.number, true, err);
    g_free(p.host);
    return rc;
}

static int listen_unix(struct vnc_server *s, const char *path, struct viv_opts *o, struct viv_err *err)
{
    struct place none = {0};
    const char *websocket = viv_opts_str(o, "websocket");
    int fd;

    if (viv_opts_given(o, "to") || viv_opts_given(o, "ipv4") || viv_opts_given(o, "ipv6"))
        return viv_fail(err, EINVAL, "-vnc unix:%.60s: to, ipv4 and ipv6 are for TCP", path);
    if (websocket && !strcmp(websocket, "on"))
        return viv_fail(err, EINVAL, "-vnc unix:%.60s: websocket needs a port: websocket=PORT (the socket takes WebSockets, too)", path);
    fd = viv_listen_unix(path, BACKLOG, err);
    if (fd < 0)
        return fd;
    /* A daemon leaves this directory. */
    s->listener[s->listeners++] = (struct vnc_listener){.fd = fd, .path = g_canonicalize_filename(path, NULL)};
    s->unix_only = !websocket || !strcmp(websocket, "off");
    s->everybody = !s->unix_only && !strchr(websocket, ':');
    return add_websocket(s, websocket, &none, err);
}

/* ipv4 and ipv6 choose what "all addresses" means; a host that is named has the addresses it has. */
static int choose_family(struct place *p, struct viv_opts *o, struct viv_err *err)
{
    bool v4 = viv_opts_bool(o, "ipv4"), v6 = viv_opts_bool(o, "ipv6");

    if (viv_opts_given(o, "ipv4") && viv_opts_given(o, "ipv6") && !v4 && !v6)
        return viv_fail(err, EINVAL, "-vnc: neither ipv4 nor ipv6 leaves nothing to listen on");
    if (viv_opts_given(o, "ipv4") && !v4)
        v6 = true;
    if (viv_opts_given(o, "ipv6") && !v6)
        v4 = true;
    if (v4 == v6)
        return 0;
    if (p->host && g_hostname_is_ip_address(p->host) && !strchr(p->host, ':') == v4)
        return 0;
    if (p->host)
        return viv_fail(err, EINVAL, "-vnc: %s goes with no host or with such an address, not with '%.60s'", v4 ? "ipv4" : "ipv6",
                        p->host);
    p->host = g_strdup(v4 ? "0.0.0.0" : "::");
    return 0;
}

static int listen_tcp(struct vnc_server *s, struct place *p, struct viv_opts *o, struct viv_err *err)
{
    uint64_t first = p->number, last = viv_opts_given(o, "to") ? (uint64_t)viv_opts_int(o, "to") : first;
    int rc = -EINVAL;

    if (first + PORT_VNC > 65535)
        return viv_fail(err, ERANGE, "-vnc: display %llu: its port is 5900 more, and 65535 is the last", (unsigned long long)first);
    if (last < first)
        return viv_fail(err, EINVAL, "-vnc: to=%llu comes before display %llu", (unsigned long long)last, (unsigned long long)first);
    for (p->number = first; p->number <= last; p->number++) {
        viv_err_clear(err);
        rc = add(s, p->host, (unsigned)p->number + PORT_VNC, false, err);
        if (!rc)
            rc = add_websocket(s, viv_opts_str(o, "websocket"), p, err);
        if (!rc || (err->code != EADDRINUSE && rc != -EADDRINUSE))
            break;
        drop(s);
    }
    if (rc < 0)
        viv_err_prefix(err, "-vnc");
    return rc;
}

int vnc_address_listen(struct vnc_server *s, struct viv_opts *o, struct viv_err *err)
{
    const char *text = viv_opts_str(o, "vnc");
    struct place p = {0};
    int rc;

    if (g_str_has_prefix(text, "unix:"))
        return listen_unix(s, text + 5, o, err);
    if (split(text, &p) < 0)
        return viv_fail(err, EINVAL, "-vnc %.80s: that is no place; it takes :0 (port 5900), ADDRESS:0, unix:PATH or none", text);
    rc = choose_family(&p, o, err);
    s->everybody = !p.host || !strcmp(p.host, "0.0.0.0") || !strcmp(p.host, "::");
    if (!rc)
        rc = listen_tcp(s, &p, o, err);
    g_free(p.host);
    return rc;
}

/* ---- reverse ---- */

static int connect_to(const struct place *p, int *fd, struct viv_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    g_autofree char *port = g_strdup_printf("%u", (unsigned)p->number);
    int e = getaddrinfo(p->host ? p->host : "localhost", port, &hints, &found);

    if (e)
        return viv_fail(err, EINVAL, "-vnc: reverse=on: %s: %s", p->host, gai_strerror(e));
    *fd = -1;
    for (struct addrinfo *a = found; a && *fd < 0; a = a->ai_next) {
        *fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (*fd >= 0 && connect(*fd, a->ai_addr, a->ai_addrlen) < 0) {
            e = errno;
            close(*fd);
            *fd = -1;
        }
    }
    freeaddrinfo(found);
    return *fd >= 0 ? 0 : viv_fail_os(err, e, "-vnc: reverse=on: nobody listens at %s:%s", p->host ? p->host : "localhost", port);
}

int vnc_address_connect(struct vnc_server *s, struct viv_opts *o, int *fd, struct viv_err *err)
{
    const char *text = viv_opts_str(o, "vnc");
    struct place p = {0};
    int rc;

    if (viv_opts_given(o, "websocket") || viv_opts_given(o, "to"))
        return viv_fail(err, EINVAL, "-vnc: reverse=on calls one viewer: websocket and to do not go with it");
    if (split(text, &p) < 0 || !p.number || p.number > 65535)
        return viv_fail(err, EINVAL, "-vnc %.80s: with reverse=on that is HOST:PORT of a viewer that listens (vncviewer -listen)", text);
    rc = connect_to(&p, fd, err);
    g_free(p.host);
    return rc;
}
