/* viv-nbd's command line. */
#ifndef VIV_CMD_NBD_ARGS_H
#define VIV_CMD_NBD_ARGS_H

#include "base/err.h"
#include "block/node.h"

#include <glib.h>

struct nbd_args {
    enum { NBD_SERVE, NBD_LIST, NBD_DISCONNECT, NBD_DONE } mode; /* DONE: help was printed */
    /* the image */
    const char *file, *format;
    bool image_opts, snapshot, writethrough;
    struct viv_node_opts o;
    /* the export */
    const char *name, *description;
    uint64_t offset;
    bool depth;
    GPtrArray *bitmaps; /* of const char * */
    /* the server */
    const char *bind, *port, *path, *device;
    unsigned clients; /* 0: any number */
    unsigned handshake_seconds;
    bool persistent, verbose, fork;
    const char *pid_file, *tls_creds, *tls_hostname, *tls_authz;
};

/* Makes objects (--object) as it meets them. What it points to lives as long as argv. */
int nbd_args_parse(int argc, char **argv, struct nbd_args *a, struct viv_err *err);
void nbd_args_fini(struct nbd_args *a);

#endif
