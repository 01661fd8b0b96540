/* viv-nbd's parts. */
#ifndef VIV_CMD_NBD_H
#define VIV_CMD_NBD_H

#include "cmd/nbd_args.h"
#include "nbd/server.h"

/* nbd_listen.c: sockets to accept on (by address, by path, or handed over in LISTEN_FDS): how many in fds[max], or an
 * error. */
#define NBD_LISTEN_MAX 16
int nbd_listen(const struct nbd_args *a, int *fds, unsigned max, struct viv_err *err);
bool nbd_is_activated(void); /* LISTEN_FDS is for us */

/* nbd_list.c: -L. */
int nbd_list(const struct nbd_args *a, struct viv_err *err);

/* nbd_kernel.c: a device of the kernel's nbd driver as a client. */
struct nbd_kernel;
int nbd_kernel_connect(const char *device, struct viv_nbd_server *s, struct viv_nbd_export *e, struct nbd_kernel **out,
                       struct viv_err *err);
/* Waits for the kernel to let go, after it was told to. NULL allowed. */
void nbd_kernel_free(struct nbd_kernel *k);
int nbd_kernel_disconnect(const char *device, struct viv_err *err);

#endif
