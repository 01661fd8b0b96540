/* Where an export is and how to come to it: from a file name or from options. */
#ifndef VIV_BLOCK_PROTO_NBD_TARGET_H
#define VIV_BLOCK_PROTO_NBD_TARGET_H

#include "base/err.h"
#include "crypto/tlscreds.h"
#include "opt/opt.h"

#include <stdbool.h>

struct viv_nbd_target {
    char *host, *port;     /* TCP */
    char *path;            /* UNIX socket, as it was typed; NULL: TCP */
    char *full;            /* for connecting, from wherever we are then; NULL: as path */
    char *export_name;     /* never NULL */
    char *context;         /* what to ask block status of; NULL: base:allocation */
    char *tls_hostname;    /* NULL: host */
    struct viv_tls_creds *creds; /* NULL: no TLS */
    unsigned reconnect_delay, open_timeout; /* seconds */
};

/* nbd://HOST[:PORT]/NAME, nbds://..., nbd+unix:///NAME?socket=PATH, nbd:HOST:PORT[:exportname=NAME],
 * nbd:unix:PATH[:exportname=NAME]. `creds` (borrowed, NULL allowed) is what options say. */
int viv_nbd_target_parse(const char *name, struct viv_tls_creds *creds, struct viv_nbd_target *t, struct viv_err *err);
/* Is it one of those? */
bool viv_nbd_is_name(const char *name);
void viv_nbd_target_fini(struct viv_nbd_target *t);
/* "nbd://host:port/name", for messages; g_free. */
char *viv_nbd_target_text(const struct viv_nbd_target *t);

/* Connects; -ECANCELED soon after *stop (NULL allowed) becomes true, -ETIMEDOUT at the deadline (VIV_CLOCK_HOST, 0: none).
 * The descriptor, or negative errno. */
int viv_nbd_target_connect(const struct viv_nbd_target *t, int64_t deadline_ns, const bool *stop, struct viv_err *err);

#endif
