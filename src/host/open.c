#include "host/open.h"

#include "host/broker.h"
#include "host/fdset.h"

#include <errno.h>
#include <string.h>

static int failed(int e, const char *why, const char *path, struct viv_err *err)
{
    return *why ? viv_fail(err, e, "%s", why) : viv_fail_os(err, e, "cannot open '%s'", path);
}

int viv_open(const char *path, int flags, mode_t mode, struct viv_err *err)
{
    char why[400];
    int fd;

    if (viv_fdset_is_name(path))
        return viv_fdset_open(path, flags, err);
    fd = viv_broker_open(path, flags, mode, why, sizeof(why));

    return fd < 0 ? failed(-fd, why, path, err) : fd;
}

int viv_open_again(int fd, int flags, struct viv_err *err)
{
    char why[400];
    int again = viv_broker_reopen(fd, flags, why, sizeof(why));

    return again < 0 ? viv_fail(err, -again, "%s", *why ? why : strerror(-again)) : again;
}
