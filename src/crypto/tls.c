#include "crypto/tls.h"
#include "crypto/tlscreds_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

struct viv_tls {
    const struct viv_gnutls *tls;
    struct viv_tls_creds *creds;
    gnutls_session_t session;
    const struct viv_tls_io *io;
    void *opaque;
    int recv_errno, send_errno; /* what the transport said last */
    bool recv_waits, send_waits; /* it can go on later: -EAGAIN */
};

static ssize_t pull(gnutls_transport_ptr_t p, void *buf, size_t len)
{
    struct viv_tls *t = p;
    ssize_t n = t->io->recv(t->opaque, buf, len);

    if (n >= 0)
        return n;
    t->recv_waits = n == -EAGAIN;
    if (!t->recv_waits)
        t->recv_errno = n;
    t->tls->transport_set_errno(t->session, t->recv_waits ? EAGAIN : EIO); /* EINTR would have it try again */
    return -1;
}

static ssize_t push(gnutls_transport_ptr_t p, const void *buf, size_t len)
{
    struct viv_tls *t = p;
    ssize_t n = t->io->send(t->opaque, buf, len);

    if (n >= 0)
        return n;
    t->send_waits = n == -EAGAIN;
    if (!t->send_waits)
        t->send_errno = n;
    t->tls->transport_set_errno(t->session, t->send_waits ? EAGAIN : EIO);
    return -1;
}

/* To ask is to find out: the transport blocks, or says -EAGAIN. */
static int pull_ready(gnutls_transport_ptr_t p, unsigned ms)
{
    return 1;
}

static bool is_address(const char *host)
{
    uint8_t bin[16];

    return inet_pton(AF_INET, host, bin) == 1 || inet_pton(AF_INET6, host, bin) == 1;
}

static int set_credentials(struct viv_tls *t, const char *hostname, struct viv_err *err)
{
    struct viv_tls_creds *c = t->creds;
    const struct viv_gnutls *tls = t->tls;
    static const gnutls_credentials_type_t types[] = {GNUTLS_CRD_CERTIFICATE, GNUTLS_CRD_PSK, GNUTLS_CRD_ANON};
    const char *where = NULL;
    int r = tls->priority_set_direct(t->session, c->priority, &where);

    if (r < 0)
        return viv_fail(err, EINVAL, "TLS priority '%s': %s at '%s'", c->priority, tls->strerror(r), where ? where : "");
    r = tls->credentials_set(t->session, types[c->kind], c->x509);
    if (r < 0)
        return viv_fail(err, EINVAL, "TLS: %s", tls->strerror(r));
    if (c->kind != TLS_X509)
        return 0;
    if (c->server)
        tls->certificate_server_set_request(t->session, c->verify_peer ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
    else if (c->verify_peer && !hostname)
        return viv_fail(err, EINVAL, "TLS: the server's name is not known, so that its certificate cannot be checked "
                        "(tls-hostname=NAME says it)");
    else if (hostname && !is_address(hostname))
        tls->server_name_set(t->session, GNUTLS_NAME_DNS, hostname, strlen(hostname));
    if (c->verify_peer)
        tls->session_set_verify_cert(t->session, c->server ? NULL : hostname, 0);
    return 0;
}

static int handshake_failed(struct viv_tls *t, int r, struct viv_err *err)
{
    unsigned status = t->tls->session_get_verify_cert_status(t->session);
    int transport = t->recv_errno ? t->recv_errno : t->send_errno;
    gnutls_datum_t text = {0};

    if (!transport)
        t->tls->alert_send_appropriate(t->session, r); /* says why, if it can be said at once */
    if (r == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR && status != (unsigned)-1 &&
        t->tls->certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) >= 0) {
        viv_fail(err, EACCES, "TLS handshake failed: %s", g_strchomp((char *)text.data));
        free(text.data);
        return -EACCES;
    }
    if (transport)
        return viv_fail_os(err, -transport, "TLS handshake failed");
    return viv_fail(err, EPROTO, "TLS handshake failed: %s", t->tls->strerror(r));
}

int viv_tls_new(struct viv_tls_creds *creds, const char *hostname, const struct viv_tls_io *io, void *opaque,
                  struct viv_tls **out, struct viv_err *err)
{
    struct viv_tls *t = g_new0(struct viv_tls, 1);
    int r;

    t->tls = creds->tls;
    t->creds = viv_tls_creds_ref(creds);
    t->io = io;
    t->opaque = opaque;
    r = t->tls->init(&t->session, creds->server ? GNUTLS_SERVER : GNUTLS_CLIENT);
    if (r < 0) {
        viv_fail(err, ENOMEM, "TLS: %s", t->tls->strerror(r));
        t->session = NULL;
        viv_tls_free(t);
        return -ENOMEM;
    }
    t->tls->transport_set_ptr(t->session, t);
    t->tls->transport_set_pull_function(t->session, pull);
    t->tls->transport_set_pull_timeout_function(t->session, pull_ready);
    t->tls->transport_set_push_function(t->session, push);
    t->tls->handshake_set_timeout(t->session, 0); /* the transport has a deadline */
    r = set_credentials(t, hostname, err);
    if (r < 0) {
        viv_tls_free(t);
        return r;
    }
    *out = t;
    return 0;
}

int viv_tls_handshake(struct viv_tls *t, struct viv_err *err)
{
    int r;

    do {
        t->recv_waits = t->send_waits = false;
        r = t->tls->handshake(t->session);
    } while ((r == GNUTLS_E_AGAIN && !t->recv_waits && !t->send_waits) || r == GNUTLS_E_INTERRUPTED || r == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (r == GNUTLS_E_AGAIN)
        return -EAGAIN;
    return r < 0 ? handshake_failed(t, r, err) : 0;
}

int viv_tls_start(struct viv_tls_creds *creds, const char *hostname, const struct viv_tls_io *io, void *opaque,
                  struct viv_tls **out, struct viv_err *err)
{
    struct viv_tls *t = NULL;
    int r = viv_tls_new(creds, hostname, io, opaque, &t, err);

    if (!r)
        r = viv_tls_handshake(t, err);
    if (r < 0) {
        viv_tls_free(t);
        return r;
    }
    *out = t;
    return 0;
}

char *viv_tls_peer_name(struct viv_tls *t)
{
    unsigned count = 0;
    const gnutls_datum_t *certs = t->creds->kind == TLS_X509 ? t->tls->certificate_get_peers(t->session, &count) : NULL;
    gnutls_datum_t dn = {0};
    gnutls_x509_crt_t crt;
    char *name = NULL;

    if (!certs || !count || t->tls->x509_crt_init(&crt) < 0)
        return NULL;
    if (t->tls->x509_crt_import(crt, certs, GNUTLS_X509_FMT_DER) >= 0 && t->tls->x509_crt_get_dn2(crt, &dn) >= 0) {
        name = g_utf8_make_valid((char *)dn.data, dn.size);
        free(dn.data);
    }
    t->tls->x509_crt_deinit(crt);
    return name;
}

ssize_t viv_tls_recv(struct viv_tls *t, void *buf, size_t len)
{
    ssize_t n;

    do {
        t->recv_waits = false;
        n = t->tls->record_recv(t->session, buf, len);
    } while ((n == GNUTLS_E_AGAIN && !t->recv_waits) || n == GNUTLS_E_INTERRUPTED);
    if (n >= 0)
        return n;
    if (n == GNUTLS_E_AGAIN)
        return -EAGAIN;
    if (n == GNUTLS_E_PREMATURE_TERMINATION)
        return -ECONNRESET;
    return t->recv_errno ? t->recv_errno : -EPROTO;
}

ssize_t viv_tls_send(struct viv_tls *t, const void *buf, size_t len)
{
    ssize_t n;

    do {
        t->send_waits = false;
        n = t->tls->record_send(t->session, buf, len);
    } while ((n == GNUTLS_E_AGAIN && !t->send_waits) || n == GNUTLS_E_INTERRUPTED);
    if (n >= 0)
        return n;
    if (n == GNUTLS_E_AGAIN)
        return -EAGAIN;
    return t->send_errno ? t->send_errno : -EPROTO;
}

void viv_tls_bye(struct viv_tls *t)
{
    t->tls->bye(t->session, GNUTLS_SHUT_WR);
}

void viv_tls_free(struct viv_tls *t)
{
    if (!t)
        return;
    if (t->session)
        t->tls->deinit(t->session);
    viv_tls_creds_put(&t->creds);
    g_free(t);
}
