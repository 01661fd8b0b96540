#include "cmd/nbd.h"

#include "block/proto/nbd/wire.h"
#include "host/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_ACTIVATED 3 /* sd_listen_fds(3) */

static unsigned activated(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");

    return pid && n && atol(pid) == getpid() && atoi(n) > 0 ? MIN(atoi(n), NBD_LISTEN_MAX) : 0;
}

bool nbd_is_activated(void)
{
    return activated() > 0;
}

int nbd_listen(const struct nbd_args *a, int *fds, unsigned max, struct viv_err *err)
{
    unsigned n = activated(), backlog = a->clients ? MIN(MAX(a->clients, 8), 128) : 128;

    if (!n && a->path) {
        fds[0] = viv_listen_unix(a->path, backlog, err);
        return fds[0] < 0 ? fds[0] : 1;
    }
    if (!n)
        return viv_listen_tcp(a->bind ? a->bind : "0.0.0.0", a->port ? a->port : VIV_NBD_PORT, backlog, fds, max, err);
    if (a->path || a->bind || a->port)
        return viv_fail(err, EINVAL, "a socket was handed over (LISTEN_FDS): -k, -b and -p do not go with that");
    for (unsigned i = 0; i < n; i++) {
        fds[i] = FIRST_ACTIVATED + i;
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    }
    return n;
}
