#include "host/open.h"

#include "host/broker.h"
#include "host/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
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

int viv_open_part(const char *path, int flags, mode_t mode, char **part)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    int fd = -EEXIST;

    *part = NULL;
    for (int i = 0; i < 100 && fd == -EEXIST; i++) {
        g_free(*part);
        *part = g_strdup_printf("%.*s.%s.%06x.part", (int)(base - path), path, base, g_random_int() & 0xffffff);
        fd = viv_open(*part, flags | O_CREAT | O_EXCL, mode, NULL);
    }
    if (fd < 0)
        g_clear_pointer(part, g_free);
    return fd;
}

int viv_open_again(int fd, int flags, struct viv_err *err)
{
    char why[400];
    int again = viv_broker_reopen(fd, flags, why, sizeof(why));

    return again < 0 ? viv_fail(err, -again, "%s", *why ? why : strerror(-again)) : again;
}
