#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int viv_open(const char *path, int flags, mode_t mode, struct viv_err *err)
{
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return viv_fail_os(err, errno, "cannot open '%s'", path);
    return fd;
}
