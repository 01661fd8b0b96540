#include "nbd/server_int.h"

#include "base/log.h"
#include "base/units.h"
#include "host/clock.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STOP_SECONDS 5 /* for answers that are under way */

struct viv_nbd_server *viv_nbd_server_new(const struct viv_nbd_server_opts *opts)
{
    struct viv_nbd_server *s = g_new0(struct viv_nbd_server, 1);
    pthread_condattr_t attr;

    s->opts = *opts;
    s->opts.creds = viv_tls_creds_ref(opts->creds);
    if (!s->opts.handshake_seconds)
        s->opts.handshake_seconds = 10;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->gone, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

int viv_nbd_server_add(struct viv_nbd_server *s, struct viv_nbd_export *e, struct viv_err *err)
{
    if (viv_nbd_find_export(s, e->name, strlen(e->name))) {
        int ret = viv_fail(err, EEXIST, "there is an export '%s' already", e->name);

        viv_nbd_export_free(e);
        return ret;
    }
    s->export = g_renew(struct viv_nbd_export *, s->export, s->exports + 1);
    s->export[s->exports++] = e;
    return 0;
}

/* Out of the list; the last to touch the client is who freed it, and the server lives until `count` is 0. */
static void client_gone(struct viv_nbd_client *c)
{
    struct viv_nbd_server *s = c->server;
    bool negotiated = c->export != NULL;

    if (s->opts.verbose)
        viv_info("client gone%s", negotiated ? "" : " before it chose an export");
    pthread_mutex_lock(&s->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->clients = c->next;
    if (c->next)
        c->next->prev = c->prev;
    pthread_mutex_unlock(&s->lock);
    viv_nbd_client_free(c);
    pthread_mutex_lock(&s->lock);
    s->count--;
    if (s->opts.ended)
        s->opts.ended(s->opts.opaque, negotiated);
    pthread_cond_broadcast(&s->gone);
    pthread_mutex_unlock(&s->lock);
}

static void *client_main(void *opaque)
{
    struct viv_nbd_client *c = opaque;

    viv_nbd_client_run(c);
    client_gone(c);
    return NULL;
}

int viv_nbd_server_serve(struct viv_nbd_server *s, int fd, struct viv_nbd_export *raw, struct viv_err *err)
{
    struct viv_nbd_client *c = viv_nbd_client_new(s, viv_nbd_chan_new(fd), raw);
    bool stopping;
    pthread_t t;
    int ret;

    pthread_mutex_lock(&s->lock);
    stopping = s->stopping;
    if (!stopping) {
        c->next = s->clients;
        if (s->clients)
            s->clients->prev = c;
        s->clients = c;
        s->count++;
    }
    pthread_mutex_unlock(&s->lock);
    if (stopping) {
        viv_nbd_client_free(c);
        return viv_fail(err, ESHUTDOWN, "the server is shutting down");
    }
    if (s->opts.verbose)
        viv_info("client connected");
    ret = viv_thread_start(&t, "viv-nbd", client_main, c, err);
    if (ret)
        client_gone(c);
    else
        pthread_detach(t);
    return ret;
}

unsigned viv_nbd_server_clients(struct viv_nbd_server *s)
{
    unsigned n;

    pthread_mutex_lock(&s->lock);
    n = s->count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Lock held. */
static void shutdown_all(struct viv_nbd_server *s, bool writers_too)
{
    for (struct viv_nbd_client *c = s->clients; c; c = c->next) {
        pthread_mutex_lock(&c->lock);
        c->ended = true;
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        viv_nbd_chan_shutdown(c->chan, writers_too);
    }
}

void viv_nbd_server_stop(struct viv_nbd_server *s)
{
    int64_t until = viv_clock_ns(VIV_CLOCK_HOST) + STOP_SECONDS * (int64_t)VIV_NS_PER_SEC;
    struct timespec ts = {until / VIV_NS_PER_SEC, until % VIV_NS_PER_SEC};
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    shutdown_all(s, false);
    while (s->count && !ret)
        ret = pthread_cond_timedwait(&s->gone, &s->lock, &ts);
    shutdown_all(s, true); /* those that do not take their answers */
    while (s->count)
        pthread_cond_wait(&s->gone, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void viv_nbd_server_free(struct viv_nbd_server *s)
{
    if (!s)
        return;
    viv_nbd_server_stop(s);
    for (unsigned i = 0; i < s->exports; i++)
        viv_nbd_export_free(s->export[i]);
    g_free(s->export);
    viv_tls_creds_put(&s->opts.creds);
    pthread_cond_destroy(&s->gone);
    pthread_mutex_destroy(&s->lock);
    g_free(s);
}
