/* The NBD server: exports of block handles, to any number of clients. docs/nbd.md says how it works.
 *
 * Any thread may serve, stop, add and remove exports. */
#ifndef VIV_NBD_SERVER_H
#define VIV_NBD_SERVER_H

#include "block/blk.h"
#include "crypto/authz.h"
#include "crypto/tlscreds.h"

#include <stdbool.h>
#include <stdint.h>

#define VIV_NBD_BITMAPS_MAX 30

struct viv_nbd_export;

struct viv_nbd_export_spec {
    const char *name;        /* "" is the default export */
    const char *description; /* NULL: none */
    uint64_t offset, size;   /* the part of the disk; size UINT64_MAX: to its end */
    bool writable;           /* as far as the handle is */
    bool multi_conn;         /* tell clients that several connections are fine */
    bool allocation_depth;   /* offer qemu:allocation-depth */
    const char *const *bitmaps; /* dirty bitmaps to offer as qemu:dirty-bitmap:NAME, of the image or those below it */
    unsigned bitmap_count;
};

/* `blk` is borrowed for as long as the export lives. Names and bitmaps are copied. */
int viv_nbd_export_new(struct viv_blk *blk, const struct viv_nbd_export_spec *spec, struct viv_nbd_export **out,
                       struct viv_err *err);
void viv_nbd_export_free(struct viv_nbd_export *e); /* when no client is left. NULL allowed */
uint64_t viv_nbd_export_size(const struct viv_nbd_export *e);
uint16_t viv_nbd_export_flags(const struct viv_nbd_export *e); /* transmission flags, as without structured replies */

struct viv_nbd_server;

struct viv_nbd_server_opts {
    struct viv_tls_creds *creds; /* borrowed; NULL: no TLS. Else nothing happens without it */
    struct viv_authz *authz;     /* borrowed; NULL: all that the credentials let in */
    unsigned handshake_seconds;  /* 0: 10 */
    bool verbose;                /* tell of clients that come and go */
    /* A client has gone, `negotiated` or before that. From its thread; may be NULL. */
    void (*ended)(void *opaque, bool negotiated);
    void *opaque;
};

struct viv_nbd_server *viv_nbd_server_new(const struct viv_nbd_server_opts *opts);
int viv_nbd_server_add(struct viv_nbd_server *s, struct viv_nbd_export *e_take, struct viv_err *err);
/* Nobody can choose it any more, and nobody uses it when this returns: it is freed. -EBUSY while a client uses it, unless
 * `hard`: then those clients are cut off, and what they have under way is waited for. Blocks. */
int viv_nbd_server_remove(struct viv_nbd_server *s, struct viv_nbd_export *e, bool hard, struct viv_err *err);
/* A connected socket, taken also on failure. `raw`: straight to the transmission of that export (the kernel's client). */
int viv_nbd_server_serve(struct viv_nbd_server *s, int fd_take, struct viv_nbd_export *raw, struct viv_err *err);
/* Clients that are there, negotiating or further. */
unsigned viv_nbd_server_clients(struct viv_nbd_server *s);
/* No more requests are read; those under way are finished and answered (at most for some seconds); all clients end. */
void viv_nbd_server_stop(struct viv_nbd_server *s);
/* Stops, then frees it and its exports. NULL allowed. */
void viv_nbd_server_free(struct viv_nbd_server *s);

#endif
