/* A TLS session over whatever moves the bytes. One thread may receive while another sends; no more than that. */
#ifndef VIV_CRYPTO_TLS_H
#define VIV_CRYPTO_TLS_H

#include "crypto/tlscreds.h"

#include <stddef.h>
#include <sys/types.h>

/* Bytes moved (0 from recv: the end) or negative errno. Blocking, or recv says -EAGAIN when there is nothing now; send takes all. */
struct viv_tls_io {
    ssize_t (*recv)(void *opaque, void *buf, size_t len);
    ssize_t (*send)(void *opaque, const void *buf, size_t len);
};

struct viv_tls;

/* A session, as the side that the credentials are for; nothing moves yet. `hostname`: whom a client expects (checked against the
 * certificate, and sent as SNI); NULL where nothing is checked. `io` is static. */
int viv_tls_new(struct viv_tls_creds *creds, const char *hostname, const struct viv_tls_io *io, void *opaque,
                struct viv_tls **out, struct viv_err *err);
/* 0: done. -EAGAIN: call again when io can go on; else it has failed, and is to be freed. */
int viv_tls_handshake(struct viv_tls *t, struct viv_err *err);
/* Both, with an io that blocks. */
int viv_tls_start(struct viv_tls_creds *creds, const char *hostname, const struct viv_tls_io *io, void *opaque,
                  struct viv_tls **out, struct viv_err *err);
/* The name (RFC 4514) in the certificate that the other side has shown; NULL: none. To be freed. */
char *viv_tls_peer_name(struct viv_tls *t);
/* As in viv_tls_io: at least one byte unless it is the end. */
ssize_t viv_tls_recv(struct viv_tls *t, void *buf, size_t len);
ssize_t viv_tls_send(struct viv_tls *t, const void *buf, size_t len);
/* Says goodbye, when nobody receives or sends any more. */
void viv_tls_bye(struct viv_tls *t);
void viv_tls_free(struct viv_tls *t); /* NULL allowed */

#endif
