/* The VNC thread: one epoll loop over all listeners and clients. It never takes the device lock and never waits for a client, so
 * neither the VM nor another client feels one that is slow. */
#include "ui/vnc/vnc_int.h"

#include "host/clock.h"
#include "host/listen.h"
#include "host/loop.h"
#include "host/thread.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER 1u /* tag in an epoll event's pointer: not a client */
#define EVENTS   64

struct post {
    void (*fn)(void *opaque);
    void *opaque;
};

static struct {
    pthread_t id;
    bool running;
    int epoll, wake;
    pthread_mutex_t lock;
    GArray *posts; /* struct post */
    /* The thread's. */
    bool quit;
    struct vnc_server *servers;
} t = {.lock = PTHREAD_MUTEX_INITIALIZER};

void vnc_post(void (*fn)(void *opaque), void *opaque)
{
    struct post p = {fn, opaque};

    pthread_mutex_lock(&t.lock);
    g_array_append_val(t.posts, p);
    if (t.posts->len == 1)
        eventfd_write(t.wake, 1);
    pthread_mutex_unlock(&t.lock);
}

static void run_posts(void)
{
    eventfd_t unused;
    GArray *mine;

    pthread_mutex_lock(&t.lock);
    mine = t.posts;
    t.posts = g_array_new(FALSE, FALSE, sizeof(struct post));
    eventfd_read(t.wake, &unused);
    pthread_mutex_unlock(&t.lock);
    for (guint i = 0; i < mine->len; i++) {
        struct post *p = &g_array_index(mine, struct post, i);

        p->fn(p->opaque);
    }
    g_array_free(mine, TRUE);
}

/* ---- new clients ---- */

static unsigned count_clients(const struct vnc_server *s, bool authenticated)
{
    unsigned n = 0;

    for (const struct vnc_client *c = s->clients; c; c = c->next)
        n += (c->state == VNC_NORMAL) == authenticated;
    return n;
}

void vnc_accept_fd(struct vnc_server *s, int fd, bool websocket, bool skip_auth)
{
    struct epoll_event e = {.events = EPOLLIN};
    struct vnc_client *c;
    int one = 1;

    if (s->stopped || count_clients(s, false) >= VNC_CLIENTS_MAX ||
        count_clients(s, false) + count_clients(s, true) >= VNC_CLIENTS_MAX + s->connections_max) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on unix sockets, which need it not */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    c = vnc_client_new(s, fd, websocket, skip_auth);
    c->epoll_events = e.events;
    e.data.ptr = c;
    if (epoll_ctl(t.epoll, EPOLL_CTL_ADD, fd, &e) < 0)
        vnc_client_end(c, "epoll");
    pthread_mutex_lock(&s->lock);
    c->next = s->clients;
    s->clients = c;
    pthread_mutex_unlock(&s->lock);
    vnc_client_tell(c, "VNC_CONNECTED");
}

static void on_listener(struct vnc_listener *l)
{
    for (unsigned i = 0; i < 16; i++) {
        int fd = viv_accept(l->fd, SOCK_NONBLOCK);

        if (fd < 0)
            return;
        for (struct vnc_server *s = t.servers; s; s = s->next) {
            if (l >= s->listener && l < s->listener + VNC_LISTEN_MAX)
                vnc_accept_fd(s, fd, l->websocket, false);
        }
    }
}

/* ---- clients ---- */

static void want_events(struct vnc_client *c)
{
    uint32_t events = (c->throttled || c->state == VNC_DEAD ? 0 : EPOLLIN) | (vnc_client_unsent(c) ? EPOLLOUT : 0);
    struct epoll_event e = {.events = events, .data.ptr = c};

    if (events == c->epoll_events || c->fd < 0)
        return;
    c->epoll_events = events;
    epoll_ctl(t.epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void check_deadline(struct vnc_client *c, int64_t now)
{
    if (c->state >= VNC_NORMAL && c->state != VNC_DEAD)
        return;
    if (now < c->deadline)
        return;
    if (c->state == VNC_PEEK)
        vnc_handshake_begin(c);
    else if (c->state == VNC_JUDGE) {
        vnc_judge(c);
        vnc_client_parse(c); /* ClientInit may be there already */
    } else
        c->hung_up = true;
}

static void serve_client(struct vnc_client *c, int64_t now)
{
    check_deadline(c, now);
    if (c->throttled && now >= c->paid_ns && !vnc_input_full(c)) {
        c->throttled = false;
        vnc_client_parse(c);
    }
    if (vnc_client_unsent(c)) /* first: an update may have waited for it, and nothing wakes us for that */
        vnc_client_flush(c);
    if (c->state == VNC_NORMAL)
        vnc_update(c);
    if (vnc_client_unsent(c))
        vnc_client_flush(c);
    want_events(c);
}

static bool is_over(const struct vnc_client *c)
{
    return c->hung_up || (c->state == VNC_DEAD && !vnc_client_unsent(c));
}

static void reap(struct vnc_server *s)
{
    for (struct vnc_client **at = &s->clients; *at;) {
        struct vnc_client *c = *at;

        if (!is_over(c)) {
            at = &c->next;
            continue;
        }
        pthread_mutex_lock(&s->lock);
        *at = c->next;
        pthread_mutex_unlock(&s->lock);
        if (c->told_initialized) {
            struct vnc_event gone = {.kind = VNC_EV_GONE};

            vnc_input_send(c, &gone);
        }
        vnc_client_tell(c, "VNC_DISCONNECTED");
        /* close() alone does not take it out: who handed the socket over may have it open still. */
        epoll_ctl(t.epoll, EPOLL_CTL_DEL, c->fd, NULL);
        vnc_client_free(c);
    }
}

static void look(void *opaque)
{
    vnc_screen_look(opaque);
}

static void serve(struct vnc_server *s, int64_t now)
{
    bool looked = s->looked, on = count_clients(s, true);

    if (on)
        vnc_screen_collect(s);
    for (struct vnc_client *c = s->clients; c; c = c->next)
        serve_client(c, now);
    for (struct vnc_client *c = s->clients; c; c = c->next)
        want_events(c); /* one that was served may have got another's clipboard since */
    reap(s);
    on = count_clients(s, true);
    if (on != looked) {
        pthread_mutex_lock(&s->lock);
        s->looked = on;
        s->fresh = s->mail.fresh = false;
        pthread_mutex_unlock(&s->lock);
        viv_loop_call(look, s);
    }
}

static int next_timeout(int64_t now)
{
    int64_t first = INT64_MAX;

    for (const struct vnc_server *s = t.servers; s; s = s->next) {
        for (struct vnc_client *c = s->clients; c; c = c->next) {
            if (c->state != VNC_NORMAL)
                first = MIN(first, c->deadline);
            else if (c->throttled && (c->paid_ns > now || !vnc_input_full(c))) /* paid since serve_client() looked, too */
                first = MIN(first, c->paid_ns);
        }
    }
    return first == INT64_MAX ? -1 : first <= now ? 0 : (int)MIN((first - now) / 1000000 + 1, 60000);
}

static void on_event(const struct epoll_event *e)
{
    uintptr_t p = (uintptr_t)e->data.ptr;

    if (!p)
        return; /* posts are looked for anyway */
    if (p & LISTENER) {
        on_listener((struct vnc_listener *)(p & ~(uintptr_t)LISTENER));
        return;
    }
    if (e->events & EPOLLIN)
        vnc_client_read((struct vnc_client *)p);
    else if (e->events & (EPOLLERR | EPOLLHUP))
        ((struct vnc_client *)p)->hung_up = true;
}

static void *run(void *unused)
{
    struct epoll_event events[EVENTS];

    while (!t.quit) {
        int n = epoll_wait(t.epoll, events, EVENTS, next_timeout(viv_clock_ns(VIV_CLOCK_HOST)));
        int64_t now = viv_clock_ns(VIV_CLOCK_HOST);

        for (int i = 0; i < n; i++)
            on_event(&events[i]);
        run_posts();
        for (struct vnc_server *s = t.servers; s; s = s->next)
            serve(s, now);
    }
    return NULL;
}

/* ---- life ---- */

void vnc_serve(struct vnc_server *s)
{
    s->next = t.servers;
    t.servers = s;
    for (unsigned i = 0; i < s->listeners; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = (void *)((uintptr_t)&s->listener[i] | LISTENER)};

        epoll_ctl(t.epoll, EPOLL_CTL_ADD, s->listener[i].fd, &e);
    }
}

int vnc_thread_start(struct viv_err *err)
{
    struct epoll_event e = {.events = EPOLLIN};
    int rc;

    if (t.running)
        return 0;
    t.epoll = epoll_create1(EPOLL_CLOEXEC);
    t.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t.epoll < 0 || t.wake < 0)
        return viv_fail_os(err, errno, "VNC: no descriptors left");
    epoll_ctl(t.epoll, EPOLL_CTL_ADD, t.wake, &e);
    t.posts = g_array_new(FALSE, FALSE, sizeof(struct post));
    t.quit = false;
    rc = viv_thread_start(&t.id, "vnc", run, NULL, err);
    t.running = !rc;
    return rc;
}

static void quit(void *unused)
{
    t.quit = true;
}

void vnc_thread_stop(void)
{
    if (!t.running)
        return;
    vnc_post(quit, NULL);
    pthread_join(t.id, NULL);
    t.running = false;
    t.servers = NULL;
    close(t.epoll);
    close(t.wake);
    g_array_free(t.posts, TRUE);
}
