/* A node's connections: one, or several with a server that allows it and work for them; made again when they break. */
#include "block/proto/nbd/nbd_int.h"

#include "base/log.h"
#include "base/units.h"
#include "host/broker.h"
#include "host/clock.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>

#define FIRST_SECONDS  60 /* for a first handshake */
#define AGAIN_SECONDS  10 /* for a later one, connect included */
#define PAUSE_FIRST_NS (100 * (int64_t)VIV_NS_PER_MS)
#define PAUSE_LAST_NS  (5 * (int64_t)VIV_NS_PER_SEC)

static int64_t now_ns(void)
{
    return viv_clock_ns(VIV_CLOCK_HOST);
}

/* Lock held. False: it is that time, or stop. */
static bool wait_until(struct viv_nbd_pool *p, int64_t when_ns)
{
    struct timespec ts = {when_ns / VIV_NS_PER_SEC, when_ns % VIV_NS_PER_SEC};

    return !pthread_cond_timedwait(&p->changed, &p->lock, &ts) && !p->stop;
}

/* --- making connections --- */

/* `p` NULL: nobody else can want to stop it. */
static int make_chan(const struct viv_nbd_target *t, struct viv_nbd_pool *p, int64_t deadline_ns, struct viv_nbd_chan **out,
                     struct viv_nbd_info *info, struct viv_err *err)
{
    int fd = viv_nbd_target_connect(t, deadline_ns, p ? &p->stop : NULL, err), ret;
    struct viv_nbd_chan *c;

    if (fd < 0)
        return fd;
    c = viv_nbd_chan_new(fd);
    viv_nbd_chan_set_deadline(c, deadline_ns);
    if (p) {
        pthread_mutex_lock(&p->lock);
        p->connecting = c;
        if (p->stop)
            viv_nbd_chan_shutdown(c, true);
        pthread_mutex_unlock(&p->lock);
    }
    ret = viv_nbd_handshake(c, t, info, err);
    if (p) {
        pthread_mutex_lock(&p->lock);
        p->connecting = NULL;
        pthread_mutex_unlock(&p->lock);
    }
    viv_nbd_chan_set_deadline(c, 0);
    if (ret)
        viv_nbd_chan_free(c);
    else
        *out = c;
    return ret;
}

/* Lock held. */
static void add_link(struct viv_nbd_pool *p, struct viv_nbd_chan *c, const struct viv_nbd_info *info)
{
    struct viv_nbd_link *l = g_new0(struct viv_nbd_link, 1);

    l->conn = viv_nbd_conn_new(c, info);
    p->link[p->links++] = l;
    if (p->lost_ns) {
        g_autofree char *where = viv_nbd_target_text(&p->target);

        viv_info("connected to %s again", where);
    }
    p->lost_ns = 0;
    pthread_cond_broadcast(&p->changed);
}

/* What the node has been told its disk can do must stay true. */
static bool agrees(const struct viv_nbd_pool *p, const struct viv_nbd_info *i)
{
    unsigned kept = VIV_NBD_SEND_FLUSH | VIV_NBD_SEND_TRIM | VIV_NBD_SEND_WRITE_ZEROES;

    return i->size == p->info.size && !(p->info.flags & kept & ~i->flags) && i->min_block <= p->info.min_block &&
           i->max_payload >= p->info.max_payload && i->has_context == p->info.has_context &&
           !(p->writable && (i->flags & VIV_NBD_READ_ONLY));
}

/* Lock held. Several connections are for a server that allows them, and after a reconnect it may be another one. */
static int may_join(struct viv_nbd_pool *p, const struct viv_nbd_info *i, struct viv_err *err)
{
    if (i->flags & VIV_NBD_MULTI_CONN)
        return 0;
    p->links_max = 1;
    return p->links ? viv_fail(err, EBUSY, "the server does not allow several connections any more") : 0;
}

/* Lock held, released while it connects. */
static int one_more(struct viv_nbd_pool *p, struct viv_err *err)
{
    struct viv_nbd_info info = {0};
    struct viv_nbd_chan *c = NULL;
    int ret;

    pthread_mutex_unlock(&p->lock);
    ret = make_chan(&p->target, p, now_ns() + AGAIN_SECONDS * (int64_t)VIV_NS_PER_SEC, &c, &info, err);
    if (!ret && !agrees(p, &info))
        ret = viv_fail(err, ESTALE, "the server's export is not the same any more (size, access or abilities)");
    pthread_mutex_lock(&p->lock);
    if (!ret)
        ret = may_join(p, &info, err);
    if (!ret && p->links < VIV_NBD_LINKS)
        add_link(p, c, &info);
    else if (c)
        viv_nbd_chan_free(c);
    viv_nbd_info_fini(&info);
    return ret;
}

/* Lock held. Tries, with growing pauses, until there is a connection or the node is closed. */
static void reconnect(struct viv_nbd_pool *p)
{
    g_autofree char *where = viv_nbd_target_text(&p->target);
    int64_t pause = PAUSE_FIRST_NS;
    bool told = false;

    while (!p->stop && p->lost_ns) {
        struct viv_err err = VIV_ERR_INIT;

        if (!one_more(p, &err))
            return;
        if (!told && !p->stop)
            viv_warn("%s: %s; trying again", where, err.text);
        told = true;
        wait_until(p, now_ns() + pause); /* may be shorter: no harm */
        pause = MIN(2 * pause, PAUSE_LAST_NS);
    }
}

static void *helper_main(void *opaque)
{
    struct viv_nbd_pool *p = opaque;

    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        if (p->lost_ns) {
            reconnect(p);
        } else if (p->grow && p->links < p->links_max) {
            p->grow = false;
            if (one_more(p, NULL))
                p->links_max = MAX(p->links, 1); /* it takes no more: fine */
        } else {
            pthread_cond_wait(&p->changed, &p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Lock held. */
static void wake_helper(struct viv_nbd_pool *p)
{
    if (p->links_max && !p->helper_runs && !p->stop)
        p->helper_runs = viv_thread_start(&p->helper, "viv-nbd", helper_main, p, NULL) == 0;
    pthread_cond_broadcast(&p->changed);
}

/* --- requests --- */

/* Lock held. */
static void forget(struct viv_nbd_pool *p, struct viv_nbd_link *l)
{
    unsigned i = 0;

    while (i < p->links && p->link[i] != l)
        i++;
    if (i < p->links)
        p->link[i] = p->link[--p->links];
    if (!p->links && !p->lost_ns) {
        p->lost_ns = now_ns();
        viv_warn("the connection to NBD server %s is lost", p->target.path ? p->target.path : p->target.host);
        wake_helper(p);
    }
}

/* Lock held. The one with the least to do. */
static struct viv_nbd_link *pick(struct viv_nbd_pool *p)
{
    struct viv_nbd_link *best = NULL;

    for (unsigned i = 0; i < p->links; i++)
        if (!best || p->link[i]->users < best->users)
            best = p->link[i];
    if (best && best->users >= 2 && p->links < p->links_max && !p->grow) {
        p->grow = true;
        wake_helper(p);
    }
    return best;
}

/* NULL: there is none in time. */
static struct viv_nbd_link *get_link(struct viv_nbd_pool *p, int64_t give_up_ns)
{
    struct viv_nbd_link *l;

    pthread_mutex_lock(&p->lock);
    while (!(l = pick(p))) {
        int64_t until = p->lost_ns + p->target.reconnect_delay * (int64_t)VIV_NS_PER_SEC;

        if (give_up_ns)
            until = MIN(until, give_up_ns);
        if (!p->links_max || p->stop || now_ns() >= until)
            break;
        wait_until(p, until);
    }
    if (l)
        l->users++;
    pthread_mutex_unlock(&p->lock);
    return l;
}

static void put_link(struct viv_nbd_pool *p, struct viv_nbd_link *l, bool dead)
{
    bool last;

    pthread_mutex_lock(&p->lock);
    if (dead)
        forget(p, l);
    last = --l->users == 0 && viv_nbd_conn_dead(l->conn);
    if (last)
        forget(p, l);
    pthread_mutex_unlock(&p->lock);
    if (last) {
        viv_nbd_conn_free(l->conn);
        g_free(l);
    }
}

int viv_nbd_pool_run(struct viv_nbd_pool *p, struct viv_nbd_call *call)
{
    int64_t give_up = 0; /* a request that kills each server it meets must end */

    for (;;) {
        struct viv_nbd_link *l = get_link(p, give_up);
        int ret;

        if (!l)
            return -EIO;
        ret = viv_nbd_conn_run(l->conn, call);
        put_link(p, l, ret == -ENOTCONN);
        if (ret != -ENOTCONN)
            return ret;
        if (!give_up)
            give_up = now_ns() + MAX(p->target.reconnect_delay, 1) * (int64_t)VIV_NS_PER_SEC;
        else if (now_ns() >= give_up)
            return -EIO;
    }
}

/* --- life --- */

static struct viv_nbd_pool *pool_new(struct viv_nbd_target *t, bool writable)
{
    struct viv_nbd_pool *p = g_new0(struct viv_nbd_pool, 1);
    pthread_condattr_t attr;

    p->target = *t;
    if (t->path)
        p->target.full = viv_unix_path(t->path);
    *t = (struct viv_nbd_target){0};
    p->writable = writable;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    return p;
}

void viv_nbd_pool_close(struct viv_nbd_pool *p)
{
    pthread_mutex_lock(&p->lock);
    __atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
    if (p->connecting)
        viv_nbd_chan_shutdown(p->connecting, true);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (p->helper_runs)
        pthread_join(p->helper, NULL);
    for (unsigned i = 0; i < p->links; i++) {
        viv_nbd_conn_free(p->link[i]->conn);
        g_free(p->link[i]);
    }
    viv_nbd_target_fini(&p->target);
    viv_nbd_info_fini(&p->info);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    g_free(p);
}

/* Is it worth another try: nobody there, or not yet ready? */
static bool is_temporary(int ret)
{
    return ret == -ECONNREFUSED || ret == -ENOENT || ret == -EAGAIN || ret == -ETIMEDOUT || ret == -ECONNRESET ||
           ret == -EHOSTUNREACH || ret == -ENETUNREACH || ret == -ESHUTDOWN;
}

int viv_nbd_pool_open(struct viv_nbd_target *t, bool writable, struct viv_nbd_pool **out, struct viv_err *err)
{
    struct viv_nbd_pool *p = pool_new(t, writable);
    int64_t start = now_ns(), pause = PAUSE_FIRST_NS;
    int64_t until = start + p->target.open_timeout * (int64_t)VIV_NS_PER_SEC;
    struct viv_nbd_chan *c = NULL;
    int ret;

    for (;;) {
        struct viv_err one = VIV_ERR_INIT;
        int64_t limit = p->target.open_timeout ? until : now_ns() + FIRST_SECONDS * (int64_t)VIV_NS_PER_SEC;

        ret = make_chan(&p->target, NULL, limit, &c, &p->info, &one);
        if (!ret)
            break;
        if (!is_temporary(ret) || now_ns() + pause >= until) {
            viv_fail(err, one.code, "%s", one.text);
            viv_nbd_pool_close(p);
            return ret;
        }
        g_usleep(pause / 1000);
        pause = MIN(2 * pause, PAUSE_LAST_NS / 5);
    }
    p->links_max = (p->info.flags & VIV_NBD_MULTI_CONN) ? VIV_NBD_LINKS : 1;
    add_link(p, c, &p->info);
    *out = p;
    return 0;
}

int viv_nbd_pool_open_chan(struct viv_nbd_chan *chan, struct viv_nbd_target *t, struct viv_nbd_pool **out,
                           struct viv_err *err)
{
    struct viv_nbd_pool *p = pool_new(t, true);
    int ret = viv_nbd_handshake(chan, &p->target, &p->info, err);

    if (ret) {
        viv_nbd_chan_free(chan);
        viv_nbd_pool_close(p);
        return ret;
    }
    add_link(p, chan, &p->info);
    *out = p;
    return 0;
}
