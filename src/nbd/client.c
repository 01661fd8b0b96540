/* A client's threads. They take turns at reading: who has read a request hands the reading on, does the request and
 * answers it. A thread more is started when nobody is free to read; idle ones end. */
#include "nbd/server_int.h"

#include "base/units.h"
#include "host/clock.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>

#define IDLE_SECONDS 2
#define KEEP_ROOM    (2u << 20) /* of a thread between requests */

struct viv_nbd_client *viv_nbd_client_new(struct viv_nbd_server *s, struct viv_nbd_chan *chan, struct viv_nbd_export *raw)
{
    struct viv_nbd_client *c = g_new0(struct viv_nbd_client, 1);
    pthread_condattr_t attr;

    c->server = s;
    c->chan = chan;
    c->export = viv_nbd_export_ref(raw);
    c->threads_max = VIV_NBD_THREADS_MAX;
    pthread_mutex_init(&c->write, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
    return c;
}

void viv_nbd_client_free(struct viv_nbd_client *c)
{
    viv_nbd_export_put(&c->export);
    viv_nbd_export_put(&c->context_export);
    viv_nbd_chan_free(c->chan);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->write);
    g_free(c);
}

/* Payload that this request will hold in memory. */
static uint64_t payload_of(const struct viv_nbd_request *r)
{
    return r->type == VIV_NBD_CMD_WRITE || r->type == VIV_NBD_CMD_READ ? MIN(r->len, VIV_NBD_MAX_PAYLOAD) : 0;
}

/* The reader waits until there is room for `bytes` more. */
static void charge(struct viv_nbd_client *c, struct viv_nbd_job *j, uint64_t bytes)
{
    pthread_mutex_lock(&c->lock);
    while (c->bytes && c->bytes + bytes > VIV_NBD_IN_FLIGHT_MAX)
        pthread_cond_wait(&c->changed, &c->lock);
    c->bytes += bytes;
    j->charged = bytes;
    pthread_mutex_unlock(&c->lock);
}

static int make_room(struct viv_nbd_job *j, size_t bytes)
{
    if (j->room >= bytes)
        return 0;
    g_free(j->buf);
    j->room = MAX(bytes, 65536);
    j->buf = g_try_malloc(j->room);
    if (!j->buf)
        j->room = 0;
    return j->buf ? 0 : -ENOMEM;
}

/* Header and payload of the next request. An error ends the client. */
static int read_request(struct viv_nbd_client *c, struct viv_nbd_job *j)
{
    uint8_t head[VIV_NBD_REQUEST_LEN];
    int ret = viv_nbd_chan_read(c->chan, head, sizeof(head));

    if (!ret)
        ret = viv_nbd_get_request(head, &j->r);
    if (ret)
        return ret;
    if (j->r.type == VIV_NBD_CMD_DISC)
        return -ECONNRESET;
    if (j->r.type == VIV_NBD_CMD_WRITE && j->r.len > VIV_NBD_MAX_PAYLOAD)
        return -EFBIG;
    charge(c, j, payload_of(&j->r));
    ret = make_room(j, payload_of(&j->r));
    if (!ret && j->r.type == VIV_NBD_CMD_WRITE)
        ret = viv_nbd_chan_read(c->chan, j->buf, j->r.len);
    return ret;
}

/* Lock held. False: this thread is not needed (unless it is to stay), or the client has ended. */
static bool take_reading(struct viv_nbd_client *c, bool stay)
{
    int64_t until = viv_clock_ns(VIV_CLOCK_HOST) + IDLE_SECONDS * (int64_t)VIV_NS_PER_SEC;
    struct timespec ts = {until / VIV_NS_PER_SEC, until % VIV_NS_PER_SEC};
    int ret = 0;

    while (c->reading && !c->ended && !ret) {
        c->waiting++;
        ret = stay ? pthread_cond_wait(&c->changed, &c->lock) : pthread_cond_timedwait(&c->changed, &c->lock, &ts);
        c->waiting--;
    }
    if (c->reading || c->ended)
        return false;
    c->reading = true;
    return true;
}

static void *helper_main(void *opaque);

/* Lock held. Somebody else reads on. */
static void hand_on(struct viv_nbd_client *c)
{
    pthread_t t;

    c->reading = false;
    if (c->waiting) {
        pthread_cond_signal(&c->changed); /* nobody else waits now: the only other reason is being the reader */
    } else if (c->threads < c->threads_max) {
        c->threads++;
        if (viv_thread_start(&t, "viv-nbd", helper_main, c, NULL))
            c->threads--; /* this one reads on when it is done */
        else
            pthread_detach(t);
    }
}

/* Lock held. */
static void discharge(struct viv_nbd_client *c, struct viv_nbd_job *j)
{
    if (c->bytes > VIV_NBD_IN_FLIGHT_MAX / 2) /* the reader may wait for this */
        pthread_cond_broadcast(&c->changed);
    c->bytes -= j->charged;
    j->charged = 0;
}

/* Turns, until there is no need or nothing more comes. */
static void serve(struct viv_nbd_client *c, bool stay)
{
    struct viv_nbd_job j = {0};

    pthread_mutex_lock(&c->lock);
    while (take_reading(c, stay)) {
        int ret;

        pthread_mutex_unlock(&c->lock);
        ret = read_request(c, &j);
        pthread_mutex_lock(&c->lock);
        if (ret) {
            discharge(c, &j);
            c->reading = false;
            c->ended = true;
            break;
        }
        hand_on(c);
        pthread_mutex_unlock(&c->lock);
        ret = viv_nbd_request(c, &j);
        if (j.room > KEEP_ROOM) {
            g_clear_pointer(&j.buf, g_free);
            j.room = 0;
        }
        if (ret)
            viv_nbd_chan_shutdown(c->chan, true);
        pthread_mutex_lock(&c->lock);
        discharge(c, &j);
        if (ret)
            c->ended = true;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    g_free(j.buf);
}

static void *helper_main(void *opaque)
{
    struct viv_nbd_client *c = opaque;

    serve(c, false);
    pthread_mutex_lock(&c->lock);
    c->threads--;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* It was chosen, and its client heard nothing of that. */
static void leave_export(struct viv_nbd_client *c)
{
    pthread_mutex_lock(&c->server->lock);
    viv_nbd_export_put(&c->export);
    pthread_cond_broadcast(&c->server->gone);
    pthread_mutex_unlock(&c->server->lock);
}

void viv_nbd_client_run(struct viv_nbd_client *c)
{
    if (!c->export) {
        viv_nbd_chan_set_deadline(c->chan, viv_clock_ns(VIV_CLOCK_HOST) +
                                               c->server->opts.handshake_seconds * (int64_t)VIV_NS_PER_SEC);
        if (viv_nbd_negotiate(c))
            leave_export(c);
        viv_nbd_chan_set_deadline(c->chan, 0);
    }
    if (!c->export)
        return;
    c->threads = 1;
    serve(c, true);
    pthread_mutex_lock(&c->lock);
    while (c->threads > 1)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}
