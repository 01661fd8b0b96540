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
    s->opts.authz = viv_authz_ref(opts->authz);
    if (!s->opts.handshake_seconds)
        s->opts.handshake_seconds = 10;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->gone, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

/* --- exports --- */

/* Lock held. Borrowed. */
static struct viv_nbd_export *find(struct viv_nbd_server *s, const void *name, size_t len)
{
    for (unsigned i = 0; i < s->exports; i++)
        if (strlen(s->export[i]->name) == len && memcmp(s->export[i]->name, name, len) == 0)
            return s->export[i];
    return NULL;
}

struct viv_nbd_export *viv_nbd_find_export(struct viv_nbd_server *s, const void *name, size_t len)
{
    struct viv_nbd_export *e;

    pthread_mutex_lock(&s->lock);
    e = viv_nbd_export_ref(find(s, name, len));
    pthread_mutex_unlock(&s->lock);
    return e;
}

struct viv_nbd_export **viv_nbd_all_exports(struct viv_nbd_server *s, unsigned *count)
{
    struct viv_nbd_export **all;

    pthread_mutex_lock(&s->lock);
    all = g_new(struct viv_nbd_export *, s->exports);
    for (unsigned i = 0; i < s->exports; i++)
        all[i] = viv_nbd_export_ref(s->export[i]);
    *count = s->exports;
    pthread_mutex_unlock(&s->lock);
    return all;
}

int viv_nbd_choose(struct viv_nbd_client *c, struct viv_nbd_export *e)
{
    struct viv_nbd_server *s = c->server;

    pthread_mutex_lock(&s->lock);
    if (!e->removed)
        c->export = g_steal_pointer(&e);
    pthread_mutex_unlock(&s->lock);
    viv_nbd_export_put(&e);
    return c->export ? 0 : -ENOENT;
}

int viv_nbd_server_add(struct viv_nbd_server *s, struct viv_nbd_export *e, struct viv_err *err)
{
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    if (find(s, e->name, strlen(e->name))) {
        ret = viv_fail(err, EEXIST, "there is an export '%s' already", e->name);
    } else {
        s->export = g_renew(struct viv_nbd_export *, s->export, s->exports + 1);
        s->export[s->exports++] = g_steal_pointer(&e);
    }
    pthread_mutex_unlock(&s->lock);
    viv_nbd_export_put(&e);
    return ret;
}

/* --- clients --- */

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

/* Lock held. Of one export; NULL: all. */
static void shutdown_clients(struct viv_nbd_server *s, const struct viv_nbd_export *of, bool writers_too)
{
    for (struct viv_nbd_client *c = s->clients; c; c = c->next) {
        if (of && c->export != of)
            continue;
        pthread_mutex_lock(&c->lock);
        c->ended = true;
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        viv_nbd_chan_shutdown(c->chan, writers_too);
    }
}

/* Lock held. */
static bool is_used(struct viv_nbd_server *s, const struct viv_nbd_export *e)
{
    struct viv_nbd_client *c = s->clients;

    while (c && c->export != e)
        c = c->next;
    return c != NULL;
}

/* Lock held. */
static void unlist(struct viv_nbd_server *s, const struct viv_nbd_export *e)
{
    unsigned i = 0;

    while (i < s->exports && s->export[i] != e)
        i++;
    g_assert(i < s->exports);
    memmove(s->export + i, s->export + i + 1, (s->exports - i - 1) * sizeof(*s->export));
    s->exports--;
}

int viv_nbd_server_remove(struct viv_nbd_server *s, struct viv_nbd_export *e, bool hard, struct viv_err *err)
{
    pthread_mutex_lock(&s->lock);
    if (!hard && is_used(s, e)) {
        pthread_mutex_unlock(&s->lock);
        return viv_fail(err, EBUSY, "export '%s' still in use", e->name);
    }
    e->removed = true;
    unlist(s, e);
    shutdown_clients(s, e, true);
    while (is_used(s, e))
        pthread_cond_wait(&s->gone, &s->lock);
    pthread_mutex_unlock(&s->lock);
    viv_nbd_export_let_go(e);
    viv_nbd_export_put(&e);
    return 0;
}

void viv_nbd_server_stop(struct viv_nbd_server *s)
{
    int64_t until = viv_clock_ns(VIV_CLOCK_HOST) + STOP_SECONDS * (int64_t)VIV_NS_PER_SEC;
    struct timespec ts = {until / VIV_NS_PER_SEC, until % VIV_NS_PER_SEC};
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    shutdown_clients(s, NULL, false);
    while (s->count && !ret)
        ret = pthread_cond_timedwait(&s->gone, &s->lock, &ts);
    shutdown_clients(s, NULL, true); /* those that do not take their answers */
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
        viv_nbd_export_put(&s->export[i]);
    g_free(s->export);
    viv_tls_creds_put(&s->opts.creds);
    viv_authz_put(&s->opts.authz);
    pthread_cond_destroy(&s->gone);
    pthread_mutex_destroy(&s->lock);
    g_free(s);
}
