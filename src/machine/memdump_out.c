/* Where a dump goes: files, and pipes or sockets whose reader may be slow, or never read: those are written only when they have room,
 * so that a dump that is given up ends. */
#include "machine/memdump_int.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define PIECE      (1u << 20)
#define PIPE_PIECE 4096 /* poll(2) says that there is room for so much (PIPE_BUF) */
#define LOOK_MS    200

static int wait_for_room(struct memdump *d, struct viv_err *err)
{
    struct pollfd p = {d->fd, POLLOUT, 0};
    int n;

    do {
        if (atomic_load(&d->cancel))
            return viv_fail(err, ECANCELED, "dump: the machine ends");
        n = poll(&p, 1, LOOK_MS);
    } while (n == 0 || (n < 0 && errno == EINTR));
    return n < 0 ? viv_fail_os(err, errno, "dump: cannot wait for %s", d->name) : 0;
}

int memdump_put(struct memdump *d, const void *data, uint64_t len, struct viv_err *err)
{
    const uint8_t *at = data;

    while (len) {
        ssize_t n;
        int rc = d->plain ? 0 : wait_for_room(d, err);

        if (rc < 0)
            return rc;
        if (atomic_load(&d->cancel))
            return viv_fail(err, ECANCELED, "dump: the machine ends");
        n = write(d->fd, at, (size_t)MIN(len, d->plain ? PIECE : PIPE_PIECE));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return viv_fail_os(err, n < 0 ? errno : ENOSPC, "dump: failed to write to %s", d->name);
        at += n;
        len -= (uint64_t)n;
    }
    return 0;
}
