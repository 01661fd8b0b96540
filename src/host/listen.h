/* Sockets to accept on. */
#ifndef VIV_HOST_LISTEN_H
#define VIV_HOST_LISTEN_H

#include "base/err.h"

/* All sockets here are non-blocking and close on exec. A socket that somebody left behind at `path` is replaced (one in
 * use is not told apart, as with other servers). Returns it or a negative errno. */
int viv_listen_unix(const char *path, int backlog, struct viv_err *err);
/* On all addresses of `host` (NULL: any); one that works is enough. `port` is a number or a service's name. How many are in
 * fds[max], or a negative errno. May block in name resolution. */
int viv_listen_tcp(const char *host, const char *port, int backlog, int *fds, unsigned max, struct viv_err *err);
/* A listening socket that this process was started with. Returns it or a negative errno. */
int viv_listen_handed(int fd, struct viv_err *err);
/* accept4(2) with SOCK_CLOEXEC and `flags` on a non-blocking socket. Where no more files may be open the client is turned away, so that
 * the socket does not stay ready. The connection or a negative errno. Any thread. */
int viv_accept(int fd, int flags);

#endif
