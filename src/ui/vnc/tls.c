/* TLS between a client and its socket. It works in memory: what came waits in `sealed` until there is enough of it to open, what is to go
 * waits in `box`. So nothing here waits for the other side, and a handshake that stops half way costs what it has sent. VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "crypto/authz.h"
#include "crypto/tls.h"

#include <errno.h>
#include <string.h>

#define RECORD  16384
#define BOX_MAX (16 * RECORD) /* sealed ahead of the socket */

static ssize_t take(void *opaque, void *buf, size_t len)
{
    struct vnc_client *c = opaque;
    size_t n = MIN(len, c->sealed->len - c->opened);

    if (!n)
        return -EAGAIN;
    memcpy(buf, c->sealed->data + c->opened, n);
    c->opened += n;
    return (ssize_t)n;
}

static ssize_t give(void *opaque, const void *buf, size_t len)
{
    struct vnc_client *c = opaque;

    g_byte_array_append(c->box, buf, (guint)len);
    return (ssize_t)len;
}

static const struct viv_tls_io io = {take, give};

void vnc_tls_start(struct vnc_client *c, const uint8_t *early, size_t len)
{
    struct vnc_server *s = c->server;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_tls_creds *creds;

    pthread_mutex_lock(&s->lock);
    creds = viv_tls_creds_ref(s->renewed ? s->renewed : s->creds);
    pthread_mutex_unlock(&s->lock);
    /* The last words in the clear come first. */
    g_byte_array_append(c->box, c->out->data + c->sent, (guint)(c->out->len - c->sent));
    g_byte_array_set_size(c->out, 0);
    c->sent = 0;
    c->state = VNC_TLS;
    g_byte_array_append(c->sealed, early, (guint)len);
    if (viv_tls_new(creds, NULL, &io, c, &c->tls, &err) < 0)
        vnc_client_end(c, err.text);
    viv_tls_creds_put(&creds);
}

static bool shake_hands(struct vnc_client *c)
{
    struct viv_err err = VIV_ERR_INIT;
    int r = viv_tls_handshake(c->tls, &err);

    if (r == -EAGAIN)
        return false;
    if (!r)
        r = viv_authz_check(c->server->authz, c->tls, &err);
    if (r < 0) {
        vnc_client_end(c, err.text);
        return false;
    }
    c->tls_ready = true;
    pthread_mutex_lock(&c->server->lock);
    c->dname = viv_tls_peer_name(c->tls);
    pthread_mutex_unlock(&c->server->lock);
    vnc_secured(c);
    return true;
}

void vnc_tls_open(struct vnc_client *c)
{
    static uint8_t buf[RECORD]; /* of the one VNC thread */
    ssize_t n = -EAGAIN;

    if (c->tls_ready || (c->state == VNC_TLS && shake_hands(c))) {
        while (c->state != VNC_DEAD && (n = viv_tls_recv(c->tls, buf, sizeof(buf))) > 0)
            vnc_client_plain(c, buf, (size_t)n);
        c->hung_up |= n <= 0 && n != -EAGAIN;
    }
    g_byte_array_remove_range(c->sealed, 0, (guint)c->opened);
    c->opened = 0;
}

bool vnc_tls_seal(struct vnc_client *c, const GByteArray *b)
{
    size_t before = c->box->len;

    while (c->tls_ready && c->sent < b->len && c->box->len - c->box_sent < BOX_MAX) {
        ssize_t n = viv_tls_send(c->tls, b->data + c->sent, MIN(b->len - c->sent, RECORD));

        if (n <= 0) {
            c->hung_up = true;
            return false;
        }
        c->sent += (size_t)n;
    }
    if (vnc_tls_owes_bye(c) && c->sent == b->len) {
        c->said_bye = true;
        viv_tls_bye(c->tls);
    }
    return c->box->len != before;
}

bool vnc_tls_owes_bye(const struct vnc_client *c)
{
    return c->tls_ready && c->state == VNC_DEAD && !c->said_bye;
}
