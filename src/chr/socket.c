/* TCP and UNIX stream sockets, server (one client at a time) or client (with reconnect). */
#include "chr/chr_int.h"
#include "chr/lookup.h"
#include "chr/telnet.h"

#include "base/log.h"
#include "base/units.h"
#include "host/broker.h"
#include "host/listen.h"
#include "host/lock.h"
#include "host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct chr_socket {
    struct viv_chr chr;
    struct viv_chr_fdio io; /* in and out are the connection, or -1 */
    char *what;
    char *path; /* to unlink at the end */
    struct addrinfo *found, *next; /* TCP: all addresses of the name; the one after addr. With `host`, NULL: not known yet */
    char *host, *port; /* a name that reconnect= asks for anew each time, as it may move; NULL: none, or an address */
    struct addrinfo hints;
    struct viv_lookup *lookup; /* under way */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    bool server, telnet, nodelay;
    int listen_fd;
    struct viv_watch *listen_watch;
    struct viv_watch *connect_watch;
    struct viv_timer *retry;
    int64_t retry_ns; /* 0: no reconnect */
    int pending_fd;   /* connect(2) in progress */
    bool waits;       /* the server's queue is full: a person was told */
    struct viv_telnet telnet_state;
};

#define BUSY_NS (20 * (int64_t)VIV_NS_PER_MS)

static void retry_later(struct chr_socket *s)
{
    if (s->retry_ns)
        viv_timer_set(s->retry, viv_clock_ns(VIV_CLOCK_HOST) + s->retry_ns);
}

/* The first address of a name, or the one after that which failed. */
static bool next_address(struct chr_socket *s)
{
    struct addrinfo *a = s->next ? s->next : s->found;
    bool more = s->next;

    if (!a)
        return false;
    memcpy(&s->addr, a->ai_addr, a->ai_addrlen);
    s->addr_len = a->ai_addrlen;
    s->next = a->ai_next;
    return more;
}

/* --- a connection --- */

static void on_listen(void *opaque, int fd, short revents);

static void connection_ended(struct viv_chr *c)
{
    struct chr_socket *s = (struct chr_socket *)c;
    int fd = s->io.in;

    viv_chr_fdio_stop(&s->io);
    s->io.in = s->io.out = -1;
    close(fd);
    viv_chr_drop_fds(c);
    viv_chr_event(c, VIV_CHR_CLOSED);
    if (s->server && !s->listen_watch)
        s->listen_watch = viv_watch_new(s->listen_fd, POLLIN, on_listen, s);
    else if (!s->server)
        retry_later(s);
}

static size_t telnet_input(struct viv_chr *c, uint8_t *buf, size_t len)
{
    struct chr_socket *s = (struct chr_socket *)c;

    len = viv_telnet_filter(&s->telnet_state, buf, len);
    if (s->telnet_state.breaks)
        viv_chr_event(c, VIV_CHR_BREAK);
    s->telnet_state.breaks = false;
    return len;
}

static void connected(struct chr_socket *s, int fd)
{
    int one = 1;

    viv_fd_set_nonblock(fd);
    if (s->nodelay && s->addr.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    s->io.in = s->io.out = fd;
    s->io.passes_fds = s->addr.ss_family == AF_UNIX;
    s->telnet_state = (struct viv_telnet){0};
    /* A fresh socket has room for twelve bytes. */
    if (s->telnet && write(fd, viv_telnet_hello, sizeof(viv_telnet_hello)) < 0)
        viv_warn("%s: %s", s->what, strerror(errno));
    viv_chr_event(&s->chr, VIV_CHR_OPENED);
    viv_chr_fdio_start(&s->io);
}

static void on_listen(void *opaque, int fd, short revents)
{
    struct chr_socket *s = opaque;
    int conn = viv_accept(fd, 0);

    if (conn < 0)
        return;
    /* One at a time: the next waits in the backlog. */
    viv_watch_free(s->listen_watch);
    s->listen_watch = NULL;
    connected(s, conn);
}

/* --- client --- */

static void connect_again(struct chr_socket *s);

static void on_connected(void *opaque, int fd, short revents)
{
    struct chr_socket *s = opaque;
    socklen_t len = sizeof(int);
    int e = 0;

    viv_watch_free(s->connect_watch);
    s->connect_watch = NULL;
    s->pending_fd = -1;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
    if (!e) {
        connected(s, fd);
        return;
    }
    close(fd);
    if (next_address(s))
        connect_again(s);
    else
        retry_later(s);
}

/* A machine that runs does not stand still while the host waits for other hosts. */
static void let_go(const struct chr_socket *s)
{
    if (s->chr.later)
        viv_dev_unlock();
}

static void hold_again(const struct chr_socket *s)
{
    if (s->chr.later)
        viv_dev_lock();
}

static int connect_tcp(struct chr_socket *s, int flags, struct viv_err *err)
{
    int fd, e, rc;

    fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    let_go(s);
    rc = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&s->addr, s->addr_len);
    e = errno;
    hold_again(s);
    if (!rc)
        return fd;
    if (fd >= 0 && e == EINPROGRESS)
        s->pending_fd = fd;
    else if (fd >= 0)
        close(fd);
    return viv_fail(err, e, "%s", strerror(e));
}

/* The connected socket, or a negative errno; -EINPROGRESS (with SOCK_NONBLOCK): s->pending_fd will be one. */
static int start_connect(struct chr_socket *s, int flags, struct viv_err *err)
{
    int fd;

    if (s->addr.ss_family == AF_UNIX)
        return viv_unix_connect((struct sockaddr *)&s->addr, s->addr_len, err);
    do {
        viv_err_clear(err);
        fd = connect_tcp(s, flags, err);
    } while (fd < 0 && s->pending_fd < 0 && next_address(s));
    return fd;
}

/* There is a server, and its queue is full: a blocking connect(2) would wait until it has taken somebody. */
static bool wait_for_queue(struct chr_socket *s, int rc)
{
    if (rc != -EAGAIN || s->addr.ss_family != AF_UNIX)
        return false;
    if (!s->waits)
        viv_info("%s: %s: others wait for this server; it is tried until there is room", s->what, s->chr.filename);
    s->waits = true;
    viv_timer_set(s->retry, viv_clock_ns(VIV_CLOCK_HOST) + BUSY_NS);
    return true;
}

static void connect_again(struct chr_socket *s)
{
    struct viv_err own = VIV_ERR_INIT;
    int fd = start_connect(s, SOCK_NONBLOCK, &own);

    if (wait_for_queue(s, fd))
        return;
    if (fd < 0 && s->waits && !s->retry_ns) /* it was to be a connection, and there is nobody any more */
        viv_warn("%s: cannot connect to %s: %s", s->what, s->chr.filename, own.text);
    s->waits = false;
    if (fd >= 0)
        connected(s, fd);
    else if (s->pending_fd >= 0)
        s->connect_watch = viv_watch_new(s->pending_fd, POLLOUT, on_connected, s);
    else
        retry_later(s);
}

/* Where the name cannot be asked for, the addresses that it had are as good as any. */
static void on_looked_up(void *opaque, int error, struct addrinfo *found)
{
    struct chr_socket *s = opaque;

    s->lookup = NULL;
    if (!error) {
        if (s->found)
            freeaddrinfo(s->found);
        s->found = found;
    }
    s->next = NULL;
    next_address(s);
    if (s->found)
        connect_again(s);
    else
        retry_later(s);
}

static void on_retry(void *opaque)
{
    struct chr_socket *s = opaque;

    if (!s->host) {
        connect_again(s);
        return;
    }
    s->lookup = viv_lookup_start(s->host, s->port, &s->hints, on_looked_up, s);
    if (!s->lookup)
        retry_later(s);
}

static int connect_now(struct chr_socket *s, struct viv_err *err)
{
    struct viv_err own = VIV_ERR_INIT;
    int fd;

    if (s->host && !s->found) {
        retry_later(s);
        return 0;
    }
    fd = start_connect(s, 0, &own);

    if (wait_for_queue(s, fd))
        return 0;
    if (fd < 0 && s->retry_ns) {
        retry_later(s);
        return 0;
    }
    if (fd < 0)
        return viv_fail(err, -fd, "%s: cannot connect to %s: %s", s->what, s->chr.filename, own.text);
    connected(s, fd);
    return 0;
}

/* --- server --- */

static int listen_tcp(struct chr_socket *s, struct viv_err *err)
{
    int fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, e;

    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd >= 0 && !bind(fd, (struct sockaddr *)&s->addr, s->addr_len) && !listen(fd, 1))
        return fd;
    e = errno;
    if (fd >= 0)
        close(fd);
    return viv_fail(err, e, "%s", strerror(e));
}

/* The first client, or all that come. Takes the descriptor. */
static int serve(struct chr_socket *s, int fd, bool wait, struct viv_err *err)
{
    s->listen_fd = fd;
    if (wait) {
        int conn;

        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        viv_log_release(true); /* a person has to act on this now */
        viv_info("waiting for a connection on %s (wait=off starts without)", s->chr.filename);
        do {
            conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        } while (conn < 0 && errno == EINTR);
        if (conn < 0)
            return viv_fail_os(err, errno, "%s: %s", s->what, s->chr.filename);
        connected(s, conn);
        return 0;
    }
    s->listen_watch = viv_watch_new(fd, POLLIN, on_listen, s);
    return 0;
}

/* The port of port=0 is the kernel's choice: the name tells it. */
static void name_port(struct chr_socket *s, const char *host)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof(a);
    char port[8];

    if (getsockname(s->listen_fd, (struct sockaddr *)&a, &len) < 0 || getnameinfo((struct sockaddr *)&a, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV))
        return;
    g_free(s->chr.filename);
    s->chr.filename = g_strdup_printf("%s:%s:%s,server=on", s->telnet ? "telnet" : "tcp", host, port);
}

static int listen_now(struct chr_socket *s, struct viv_opts *o, bool wait, struct viv_err *err)
{
    struct viv_err own = VIV_ERR_INIT;
    int fd;

    do {
        viv_err_clear(&own);
        fd = s->addr.ss_family == AF_UNIX ? viv_unix_listen((struct sockaddr *)&s->addr, s->addr_len, 1, &own) : listen_tcp(s, &own);
    } while (fd < 0 && next_address(s));
    if (fd < 0) {
        g_clear_pointer(&s->path, g_free);
        return viv_fail(err, -fd, "%s: cannot listen on %s: %s", s->what, s->chr.filename, own.text);
    }
    s->listen_fd = fd;
    if (!g_strcmp0(viv_opts_str(o, "port"), "0"))
        name_port(s, viv_opts_str(o, "host") ? viv_opts_str(o, "host") : "");
    return serve(s, fd, wait, err);
}

/* --- addresses --- */

static const struct viv_chr *listener_at(const char *path)
{
    for (struct viv_chr *c = viv_chr_next(NULL); c; c = viv_chr_next(c)) {
        if (c->cls == &viv_chr_socket && !g_strcmp0(((const struct chr_socket *)c)->path, path))
            return c;
    }
    return NULL;
}

static int resolve_unix(struct chr_socket *s, const char *path, bool abstract, struct viv_err *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&s->addr;
    g_autofree char *full = g_canonicalize_filename(path, NULL);
    const char *said = path;
    size_t len = strlen(path);

    if (!len || len + abstract >= sizeof(un->sun_path))
        return viv_fail(err, ENAMETOOLONG, "%s: socket path '%s' is empty or longer than %zu bytes",
                        s->what, path, sizeof(un->sun_path) - 1 - abstract);
    if (!abstract && strlen(full) < sizeof(un->sun_path)) { /* -daemonize leaves this directory, and it connects again */
        path = full;
        len = strlen(full);
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + abstract, path, len + !abstract);
    s->addr_len = offsetof(struct sockaddr_un, sun_path) + len + 1;
    if (s->server && !abstract) {
        const struct viv_chr *other = listener_at(full);

        if (other) /* its end would take our name away */
            return viv_fail(err, EADDRINUSE, "%s: chardev '%s' listens on %s", s->what, other->id, path);
        s->path = g_strdup(full);
    }
    s->chr.filename = g_strdup_printf("unix:%s%s", said, s->server ? ",server=on" : "");
    return 0;
}

static int family(struct viv_opts *o)
{
    bool v4 = viv_opts_given(o, "ipv4") ? viv_opts_bool(o, "ipv4") : !viv_opts_bool(o, "ipv6");
    bool v6 = viv_opts_given(o, "ipv6") ? viv_opts_bool(o, "ipv6") : !viv_opts_bool(o, "ipv4");

    if (!viv_opts_given(o, "ipv4") && !viv_opts_given(o, "ipv6"))
        return AF_UNSPEC;
    return v4 == v6 ? AF_UNSPEC : v4 ? AF_INET : AF_INET6;
}

/* Will asking again help? */
static bool name_may_come(int e)
{
    return e == EAI_AGAIN || e == EAI_FAIL || e == EAI_NONAME || e == EAI_NODATA || e == EAI_SYSTEM;
}

static int resolve_tcp(struct chr_socket *s, struct viv_opts *o, struct viv_err *err)
{
    const char *host = viv_opts_str(o, "host"), *port = viv_opts_str(o, "port");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = family(o)};
    int e;

    if (!port)
        return viv_fail(err, EINVAL, "%s: a socket needs path= or port=", s->what);
    e = viv_check_port(port, err);
    if (e < 0) {
        viv_err_prefix(err, "%s", s->what);
        return e;
    }
    hints.ai_flags = s->server ? AI_PASSIVE : 0;
    if ((!host || !*host) && s->server && hints.ai_family == AF_UNSPEC)
        hints.ai_family = AF_INET;
    let_go(s);
    e = getaddrinfo(host && *host ? host : NULL, port, &hints, &s->found);
    hold_again(s);
    if (s->retry_ns && host && *host && !g_hostname_is_ip_address(host)) {
        s->host = g_strdup(host);
        s->port = g_strdup(port);
        s->hints = hints;
    }
    if (e && s->host && name_may_come(e))
        viv_warn("%s: %s:%s: %s; it is tried again", s->what, host, port, gai_strerror(e));
    else if (e)
        return viv_fail(err, EINVAL, "%s: %s:%s: %s", s->what, host ? host : "", port,
                        gai_strerror(e));
    next_address(s);
    s->chr.filename = g_strdup_printf("%s:%s:%s%s", s->telnet ? "telnet" : "tcp", host ? host : "",
                                      port, s->server ? ",server=on" : "");
    return 0;
}

/* A socket that somebody else has made: as good as one of ours, or refused. An unconnected one could be connected to anybody's. */
static int check_passed(struct chr_socket *s, int fd, struct viv_err *err)
{
    int listens = 0, type = 0;
    socklen_t len = sizeof(int), peer_len = sizeof(struct sockaddr_storage);
    struct sockaddr_storage peer;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return viv_fail(err, errno, "%s: fd=%d is not a socket: %s", s->what, fd, strerror(errno));
    if (type != SOCK_STREAM)
        return viv_fail(err, EINVAL, "%s: fd=%d is not a stream socket", s->what, fd);
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
    if (s->server && !listens)
        return viv_fail(err, EINVAL, "%s: server=on: the socket fd=%d does not listen", s->what, fd);
    if (!s->server && getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
        return viv_fail(err, errno, "%s: the socket fd=%d is not connected (one that listens is for server=on)", s->what, fd);
    s->addr_len = sizeof(s->addr);
    return getsockname(fd, (struct sockaddr *)&s->addr, &s->addr_len) < 0 ? viv_fail_os(err, errno, "%s: fd=%d", s->what, fd) : 0;
}

/* *fd: ours. A monitor closes its own; one of the command line is nobody else's. */
static int take_passed(struct chr_socket *s, struct viv_opts *o, int *fd, struct viv_err *err)
{
    int given = (int)viv_opts_int(o, "fd"), rc = check_passed(s, given, err);

    if (rc < 0)
        return rc;
    *fd = fcntl(given, F_DUPFD_CLOEXEC, 0);
    if (*fd < 0)
        return viv_fail_os(err, errno, "%s: fd=%d", s->what, given);
    if (!s->chr.later)
        close(given);
    viv_fd_set_nonblock(*fd);
    s->chr.filename = g_strdup_printf("fd:%d%s", *fd, s->server ? ",server=on" : "");
    return 0;
}

static int open_passed(struct chr_socket *s, struct viv_opts *o, bool wait, struct viv_err *err)
{
    int fd, rc = take_passed(s, o, &fd, err);

    if (rc < 0)
        return rc;
    if (s->server)
        return serve(s, fd, wait, err);
    connected(s, fd);
    return 0;
}

static int check_options(struct chr_socket *s, struct viv_opts *o, struct viv_err *err)
{
    bool tcp = !viv_opts_given(o, "path");

    if (!tcp && (viv_opts_given(o, "host") || viv_opts_given(o, "port")))
        return viv_fail(err, EINVAL, "%s: path= (UNIX) and host=/port= (TCP) exclude each other",
                        s->what);
    if (viv_opts_given(o, "fd") && (!tcp || viv_opts_given(o, "host") || viv_opts_given(o, "port") || s->retry_ns))
        return viv_fail(err, EINVAL, "%s: a socket that is there (fd=) has its address, and cannot be connected again: path=, host=, port= "
                        "and reconnect= are for others", s->what);
    if (!s->server && viv_opts_given(o, "wait") && viv_opts_bool(o, "wait"))
        return viv_fail(err, EINVAL, "%s: wait=on is for server=on", s->what);
    if (s->server && s->retry_ns)
        return viv_fail(err, EINVAL, "%s: reconnect= is for clients: server=off", s->what);
    if (s->chr.later && viv_opts_bool(o, "wait"))
        return viv_fail(err, EINVAL, "%s: wait=on would hold up the machine until somebody connects: say wait=off", s->what);
    return 0;
}

static int socket_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    struct chr_socket *s = (struct chr_socket *)c;
    bool wait;
    int rc;

    s->what = g_strdup(viv_opts_what(o));
    s->server = viv_opts_bool(o, "server");
    s->telnet = viv_opts_bool(o, "telnet");
    s->nodelay = viv_opts_given(o, "delay") ? !viv_opts_bool(o, "delay") : viv_opts_bool(o, "nodelay");
    s->retry_ns = viv_opts_int(o, "reconnect") * (int64_t)VIV_NS_PER_SEC;
    s->listen_fd = s->pending_fd = -1;
    s->io = (struct viv_chr_fdio){.chr = c, .in = -1, .out = -1, .eof = connection_ended,
                                  .filter = s->telnet ? telnet_input : NULL};
    rc = check_options(s, o, err);
    wait = viv_opts_given(o, "wait") ? viv_opts_bool(o, "wait") : !c->later;
    s->retry = viv_timer_new(VIV_CLOCK_HOST, on_retry, s);
    if (s->server || s->retry_ns)
        s->io.hung_timer = viv_timer_new(VIV_CLOCK_HOST, viv_chr_fdio_hung, &s->io);
    if (!rc && viv_opts_given(o, "fd")) {
        rc = open_passed(s, o, wait, err);
        if (rc < 0)
            c->cls->close(c);
        return rc;
    }
    if (!rc && viv_opts_given(o, "path"))
        rc = resolve_unix(s, viv_opts_str(o, "path"), viv_opts_bool(o, "abstract"), err);
    else if (!rc)
        rc = resolve_tcp(s, o, err);
    if (!s->server && s->addr.ss_family != AF_UNIX)
        viv_sandbox_need(VIV_SANDBOX_NETWORK);
    if (!rc)
        rc = s->server ? listen_now(s, o, wait, err) : connect_now(s, err);
    if (rc < 0)
        c->cls->close(c);
    return rc;
}

static void socket_close(struct viv_chr *c)
{
    struct chr_socket *s = (struct chr_socket *)c;

    viv_chr_fdio_stop(&s->io);
    viv_watch_free(s->listen_watch);
    viv_watch_free(s->connect_watch);
    viv_lookup_forget(s->lookup);
    viv_timer_free(s->retry);
    viv_timer_free(s->io.hung_timer);
    if (s->io.in >= 0)
        close(s->io.in);
    if (s->pending_fd >= 0)
        close(s->pending_fd);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->found)
        freeaddrinfo(s->found);
    if (s->path)
        viv_broker_unlink(s->path);
    g_free(s->path);
    g_free(s->host);
    g_free(s->port);
    g_free(s->what);
}

/* A data byte 255 is sent twice in telnet: up to the first one that would not fit with its double. */
static size_t telnet_write(struct chr_socket *s, const uint8_t *buf, size_t len)
{
    static const uint8_t iac[2] = {255, 255};
    size_t done = 0;

    while (done < len) {
        const uint8_t *at = memchr(buf + done, 255, len - done);
        size_t n = at ? (size_t)(at - buf) - done : len - done;
        size_t taken = n ? viv_chr_fdio_write(&s->io, buf + done, n) : 0;

        done += taken;
        if (taken < n)
            break;
        if (at) {
            if (viv_chr_fdio_write(&s->io, iac, 2) == 0)
                break;
            done++;
        }
    }
    return done;
}

static size_t socket_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    struct chr_socket *s = (struct chr_socket *)c;

    return s->telnet && s->io.out >= 0 ? telnet_write(s, buf, len)
                                       : viv_chr_fdio_write(&s->io, buf, len);
}

static void socket_accept(struct viv_chr *c)
{
    viv_chr_fdio_accept(&((struct chr_socket *)c)->io);
}

static const struct viv_opt_def socket_props[] = {
    VIV_CHR_COMMON_PROPS,
    {.name = "path", .type = VIV_OPT_STR, .help = "UNIX socket"},
    {.name = "abstract", .type = VIV_OPT_BOOL, .help = "path= is a name in the abstract name space"},
    {.name = "host", .type = VIV_OPT_STR, .help = "TCP: name or address"},
    {.name = "port", .type = VIV_OPT_STR, .help = "TCP: number or service"},
    {.name = "ipv4", .type = VIV_OPT_BOOL, .help = "IPv4 only"},
    {.name = "ipv6", .type = VIV_OPT_BOOL, .help = "IPv6 only"},
    {.name = "server", .type = VIV_OPT_BOOL, .help = "listen instead of connecting"},
    {.name = "wait", .type = VIV_OPT_BOOL, .help = "server: start only when a client is there (default: on)"},
    {.name = "telnet", .type = VIV_OPT_BOOL, .help = "speak telnet"},
    {.name = "nodelay", .type = VIV_OPT_BOOL, .help = "TCP_NODELAY"},
    {.name = "delay", .type = VIV_OPT_BOOL, .help = "the opposite of nodelay"},
    {.name = "reconnect", .type = VIV_OPT_INT, .help = "client: seconds between tries, 0: none",
     .min = 0, .max = 86400},
    {.name = "to", .type = VIV_OPT_REFUSED, .help = "name one port"},
    {.name = "tn3270", .type = VIV_OPT_REFUSED},
    {.name = "websocket", .type = VIV_OPT_REFUSED, .help = "use a plain socket"},
    {.name = "tls-creds", .type = VIV_OPT_REFUSED, .help = "use a UNIX socket or ssh"},
    {.name = "tls-authz", .type = VIV_OPT_REFUSED, .help = "use a UNIX socket or ssh"},
    {.name = "fd", .type = VIV_OPT_INT, .min = 3, .max = INT32_MAX,
     .help = "number of an inherited socket: one that listens with server=on, else a connected one"},
    VIV_OPT_END,
};

const struct viv_chr_class viv_chr_socket = {
    .name = "socket",
    .desc = "TCP or UNIX stream socket",
    .size = sizeof(struct chr_socket),
    .props = socket_props,
    .open = socket_open,
    .close = socket_close,
    .write = socket_write,
    .accept_input = socket_accept,
};
