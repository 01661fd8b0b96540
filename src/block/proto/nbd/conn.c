/* "Transmission" of proto.md, the client's side. Of the threads that wait for a reply one reads: it takes a message, puts
 * it into the request it is for, and goes on until its own is answered; then another takes over.
 *
 * Whoever breaks the protocol loses the connection. A request's buffers are written by the reader alone, so its
 * owner leaves (also from a dead connection) only when nobody is reading or its request is done. */
#include "block/proto/nbd/conn.h"

#include "base/checked.h"
#include "base/log.h"
#include "block/iov.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define SPANS_MAX      1024    /* pieces that a read may lie about in at once */
#define ERROR_TEXT_MAX 65536u  /* an error chunk */
#define EXTENTS_MAX    (1u << 20)

struct viv_nbd_conn {
    struct viv_nbd_chan *chan;
    bool structured;
    uint32_t context;
    pthread_mutex_t send;
    pthread_mutex_t lock; /* everything below */
    bool dead, reading;
    uint64_t last_cookie;
    unsigned in_flight;
    struct viv_nbd_call *calls;
};

struct viv_nbd_conn *viv_nbd_conn_new(struct viv_nbd_chan *chan, const struct viv_nbd_info *info)
{
    struct viv_nbd_conn *c = g_new0(struct viv_nbd_conn, 1);

    c->chan = chan;
    c->structured = info->structured;
    c->context = info->context;
    pthread_mutex_init(&c->send, NULL);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void viv_nbd_conn_free(struct viv_nbd_conn *c)
{
    struct viv_nbd_request r = {.type = VIV_NBD_CMD_DISC};
    uint8_t head[VIV_NBD_REQUEST_LEN];

    if (!c)
        return;
    viv_nbd_put_request(head, &r);
    if (!c->dead)
        viv_nbd_chan_write(c->chan, head, sizeof(head));
    viv_nbd_chan_free(c->chan);
    pthread_mutex_destroy(&c->send);
    pthread_mutex_destroy(&c->lock);
    g_free(c);
}

/* Lock held. */
static void die(struct viv_nbd_conn *c)
{
    if (c->dead)
        return;
    c->dead = true;
    viv_nbd_chan_shutdown(c->chan, true);
    for (struct viv_nbd_call *k = c->calls; k; k = k->next)
        pthread_cond_signal(&k->cond);
}

void viv_nbd_conn_kill(struct viv_nbd_conn *c)
{
    pthread_mutex_lock(&c->lock);
    die(c);
    pthread_mutex_unlock(&c->lock);
}

bool viv_nbd_conn_dead(struct viv_nbd_conn *c)
{
    bool dead;

    pthread_mutex_lock(&c->lock);
    dead = c->dead;
    pthread_mutex_unlock(&c->lock);
    return dead;
}

unsigned viv_nbd_conn_in_flight(struct viv_nbd_conn *c)
{
    unsigned n;

    pthread_mutex_lock(&c->lock);
    n = c->in_flight;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* --- replies --- */

static int violation(const char *what)
{
    viv_warn("nbd: the server broke the protocol: %s", what);
    return -EPROTO;
}

static struct viv_nbd_call *find(struct viv_nbd_conn *c, uint64_t cookie)
{
    struct viv_nbd_call *k;

    pthread_mutex_lock(&c->lock);
    k = c->calls;
    while (k && (k->cookie != cookie || k->done))
        k = k->next;
    pthread_mutex_unlock(&c->lock);
    return k;
}

/* The first error counts. */
static void set_error(struct viv_nbd_call *k, uint32_t error)
{
    if (!k->result)
        k->result = -viv_nbd_error_to_errno(error);
}

static void finish(struct viv_nbd_conn *c, struct viv_nbd_call *k)
{
    pthread_mutex_lock(&c->lock);
    k->done = true;
    pthread_cond_signal(&k->cond);
    pthread_mutex_unlock(&c->lock);
}

/* Notes that [start, end) of the read has come. -EPROTO when some of it had come before. */
static int cover(struct viv_nbd_call *k, uint64_t start, uint64_t end)
{
    unsigned i = k->spans;
    bool joins_left, joins_right;

    while (i && k->span[i - 1].start >= start)
        i--;
    if ((i < k->spans && k->span[i].start < end) || (i && k->span[i - 1].end > start))
        return violation("parts of a read overlap");
    joins_left = i && k->span[i - 1].end == start;
    joins_right = i < k->spans && k->span[i].start == end;
    if (joins_left) {
        k->span[i - 1].end = joins_right ? k->span[i].end : end;
        if (joins_right) {
            memmove(k->span + i, k->span + i + 1, (k->spans - i - 1) * sizeof(*k->span));
            k->spans--;
        }
        return 0;
    }
    if (joins_right) {
        k->span[i].start = start;
        return 0;
    }
    if (k->spans == SPANS_MAX)
        return violation("a read comes in too many pieces");
    k->span = g_renew(struct viv_nbd_span, k->span, k->spans + 1);
    memmove(k->span + i + 1, k->span + i, (k->spans - i) * sizeof(*k->span));
    k->span[i] = (struct viv_nbd_span){start, end};
    k->spans++;
    return 0;
}

/* Checks and notes a piece of a read; *at is its place in the buffers. */
static int piece(struct viv_nbd_call *k, uint64_t offset, uint64_t len, uint64_t *at)
{
    if (k->type != VIV_NBD_CMD_READ || !len)
        return violation("data that was not asked for");
    if (offset < k->offset || !viv_range_inside(offset - k->offset, len, k->len))
        return violation("data outside of the read");
    *at = offset - k->offset;
    return cover(k, offset, offset + len);
}

static int data_chunk(struct viv_nbd_conn *c, struct viv_nbd_call *k, uint32_t len)
{
    uint8_t b[8];
    uint64_t at;
    int ret;

    if (len < 9)
        return violation("a data chunk is too short");
    ret = viv_nbd_chan_read(c->chan, b, 8);
    if (!ret)
        ret = piece(k, viv_ld_be64(b), len - 8, &at);
    return ret ? ret : viv_nbd_chan_readv(c->chan, k->iov, k->cnt, at, len - 8);
}

static int hole_chunk(struct viv_nbd_conn *c, struct viv_nbd_call *k, uint32_t len)
{
    uint8_t b[12];
    uint64_t at;
    int ret;

    if (len != 12)
        return violation("a hole chunk has a wrong length");
    ret = viv_nbd_chan_read(c->chan, b, 12);
    if (!ret)
        ret = piece(k, viv_ld_be64(b), viv_ld_be32(b + 8), &at);
    if (!ret)
        viv_iov_zero(k->iov, k->cnt, at, viv_ld_be32(b + 8));
    return ret;
}

static int status_chunk(struct viv_nbd_conn *c, struct viv_nbd_call *k, uint32_t len)
{
    uint8_t b[12];
    int ret;

    if (k->type != VIV_NBD_CMD_BLOCK_STATUS || k->status_len)
        return violation("a block status that was not asked for");
    if (len < 12 || (len - 4) % 8 || (len - 4) / 8 > EXTENTS_MAX)
        return violation("a block status chunk has a wrong length");
    ret = viv_nbd_chan_read(c->chan, b, 12);
    if (ret)
        return ret;
    if (viv_ld_be32(b) != c->context)
        return violation("a block status of another context");
    k->status_len = viv_ld_be32(b + 4);
    k->status_flags = viv_ld_be32(b + 8);
    if (!k->status_len)
        return violation("an empty extent");
    return viv_nbd_chan_skip(c->chan, len - 12);
}

/* Known and unknown kinds: all begin with error and message. */
static int error_chunk(struct viv_nbd_conn *c, struct viv_nbd_call *k, uint16_t type, uint32_t len)
{
    g_autofree uint8_t *b = NULL;
    uint32_t text;
    int ret;

    if (len < 6 || len > ERROR_TEXT_MAX)
        return violation("an error chunk has a wrong length");
    b = g_malloc(len);
    ret = viv_nbd_chan_read(c->chan, b, len);
    if (ret)
        return ret;
    text = viv_ld_be16(b + 4);
    if (text > len - 6 || (type == VIV_NBD_CHUNK_ERR_OFFSET && len - 6 - text < 8) || !viv_ld_be32(b))
        return violation("an error chunk makes no sense");
    if (text) {
        g_autofree char *said = viv_nbd_clean_text(b + 6, text);

        viv_guest_error("nbd", "the server reports: %s", said);
    }
    set_error(k, viv_ld_be32(b));
    return 0;
}

static int last_chunk(struct viv_nbd_conn *c, struct viv_nbd_call *k)
{
    bool whole = k->spans == 1 && k->span[0].start == k->offset && k->span[0].end == k->offset + k->len;

    if (!k->result && k->type == VIV_NBD_CMD_READ && !whole)
        return violation("a read is not complete");
    if (!k->result && k->type == VIV_NBD_CMD_BLOCK_STATUS && !k->status_len)
        return violation("a block status without an extent");
    finish(c, k);
    return 0;
}

/* 12 more bytes than a simple reply's header are still to be read: `head` has its first 16. */
static int structured_reply(struct viv_nbd_conn *c, const uint8_t *head)
{
    uint16_t flags = viv_ld_be16(head + 4), type = viv_ld_be16(head + 6);
    struct viv_nbd_call *k = find(c, viv_ld_be64(head + 8));
    uint8_t b[4];
    uint32_t len;
    int ret;

    if (!c->structured)
        return violation("a structured reply, which was not agreed on");
    if (!k)
        return violation("a reply to no request");
    ret = viv_nbd_chan_read(c->chan, b, 4);
    if (ret)
        return ret;
    len = viv_ld_be32(b);
    if (type & VIV_NBD_CHUNK_ERROR)
        ret = error_chunk(c, k, type, len);
    else if (type == VIV_NBD_CHUNK_OFFSET_DATA)
        ret = data_chunk(c, k, len);
    else if (type == VIV_NBD_CHUNK_OFFSET_HOLE)
        ret = hole_chunk(c, k, len);
    else if (type == VIV_NBD_CHUNK_BLOCK_STATUS)
        ret = status_chunk(c, k, len);
    else if (type != VIV_NBD_CHUNK_NONE || len || !(flags & VIV_NBD_CHUNK_DONE))
        ret = violation("a chunk of a kind that was not agreed on");
    return ret || !(flags & VIV_NBD_CHUNK_DONE) ? ret : last_chunk(c, k);
}

static int simple_reply(struct viv_nbd_conn *c, const uint8_t *head)
{
    struct viv_nbd_call *k = find(c, viv_ld_be64(head + 8));
    uint32_t error = viv_ld_be32(head + 4);
    int ret = 0;

    if (!k)
        return violation("a reply to no request");
    if (k->type == VIV_NBD_CMD_BLOCK_STATUS && !error)
        return violation("a simple reply to a block status request");
    if (k->type == VIV_NBD_CMD_READ && c->structured)
        return violation("a simple reply to a read");
    if (error)
        set_error(k, error);
    else if (k->type == VIV_NBD_CMD_READ)
        ret = viv_nbd_chan_readv(c->chan, k->iov, k->cnt, 0, k->len);
    if (!ret)
        finish(c, k);
    return ret;
}

/* One message, for whomever it is. */
static int read_message(struct viv_nbd_conn *c)
{
    uint8_t head[VIV_NBD_SIMPLE_LEN];
    int ret = viv_nbd_chan_read(c->chan, head, sizeof(head));

    if (ret)
        return ret;
    switch (viv_ld_be32(head)) {
    case VIV_NBD_SIMPLE_MAGIC:
        return simple_reply(c, head);
    case VIV_NBD_STRUCTURED_MAGIC:
        return structured_reply(c, head);
    }
    return violation("a reply has a wrong magic number");
}

/* --- requests --- */

static int send_call(struct viv_nbd_conn *c, const struct viv_nbd_call *k)
{
    struct viv_nbd_request r = {k->flags, k->type, k->cookie, k->offset, k->len};
    bool payload = k->type == VIV_NBD_CMD_WRITE;
    struct iovec few[17], *v = few;
    uint8_t head[VIV_NBD_REQUEST_LEN];
    int cnt = 1, ret;

    if (payload && k->cnt + 1 > (int)G_N_ELEMENTS(few) && !(v = g_try_new(struct iovec, k->cnt + 1)))
        return -ENOMEM;
    viv_nbd_put_request(head, &r);
    v[0] = (struct iovec){head, sizeof(head)};
    if (payload)
        cnt += viv_iov_slice(v + 1, k->iov, k->cnt, 0, k->len);
    pthread_mutex_lock(&c->send);
    ret = viv_nbd_chan_writev(c->chan, v, cnt);
    pthread_mutex_unlock(&c->send);
    if (v != few)
        g_free(v);
    return ret;
}

static bool enter(struct viv_nbd_conn *c, struct viv_nbd_call *k)
{
    bool ok;

    pthread_mutex_lock(&c->lock);
    ok = !c->dead;
    if (ok) {
        k->cookie = ++c->last_cookie;
        k->prev = NULL;
        k->next = c->calls;
        if (c->calls)
            c->calls->prev = k;
        c->calls = k;
        c->in_flight++;
    }
    pthread_mutex_unlock(&c->lock);
    return ok;
}

/* Lock held. */
static void leave(struct viv_nbd_conn *c, struct viv_nbd_call *k)
{
    if (k->prev)
        k->prev->next = k->next;
    else
        c->calls = k->next;
    if (k->next)
        k->next->prev = k->prev;
    c->in_flight--;
    if (c->reading)
        return;
    /* Somebody who is waiting reads on (or sees that the connection is dead). Not one who is still sending: the server
     * may take no more before its replies are read. */
    for (struct viv_nbd_call *o = c->calls; o; o = o->next) {
        if (o->waiting && !o->done) {
            pthread_cond_signal(&o->cond);
            break;
        }
    }
}

static int wait_reply(struct viv_nbd_conn *c, struct viv_nbd_call *k)
{
    int ret;

    pthread_mutex_lock(&c->lock);
    while (!k->done && !(c->dead && !c->reading)) {
        if (c->reading) {
            k->waiting = true;
            pthread_cond_wait(&k->cond, &c->lock);
            k->waiting = false;
            continue;
        }
        c->reading = true;
        pthread_mutex_unlock(&c->lock);
        ret = read_message(c);
        pthread_mutex_lock(&c->lock);
        c->reading = false;
        if (ret) {
            die(c);
            for (struct viv_nbd_call *o = c->calls; o; o = o->next)
                pthread_cond_signal(&o->cond); /* those that waited for the reader to stop */
        }
    }
    ret = k->done ? k->result : -ENOTCONN;
    leave(c, k);
    pthread_mutex_unlock(&c->lock);
    return ret;
}

int viv_nbd_conn_run(struct viv_nbd_conn *c, struct viv_nbd_call *k)
{
    int ret;

    k->done = k->waiting = false;
    k->result = 0;
    k->status_len = 0;
    k->span = NULL;
    k->spans = 0;
    pthread_cond_init(&k->cond, NULL);
    if (!enter(c, k)) {
        pthread_cond_destroy(&k->cond);
        return -ENOTCONN;
    }
    if (send_call(c, k))
        viv_nbd_conn_kill(c);
    ret = wait_reply(c, k);
    pthread_cond_destroy(&k->cond);
    g_free(k->span);
    return ret;
}
