#include "host/fdname.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <unistd.h>

#define NAMES_MOST 64

static GHashTable *named; /* name to descriptor, plus 1 */

int viv_fdname_take(const char *name, struct viv_err *err)
{
    int fd = named ? GPOINTER_TO_INT(g_hash_table_lookup(named, name)) - 1 : -1;

    if (fd < 0)
        return viv_fail(err, ENOENT, "File descriptor named '%.60s' has not been found; getfd gives one a name", name);
    g_hash_table_remove(named, name);
    return fd;
}

int viv_fdname_add(const char *name, int fd, struct viv_err *err)
{
    struct viv_err ignored = VIV_ERR_INIT;
    int old;

    if (!named)
        named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    old = viv_fdname_take(name, &ignored);
    if (old >= 0)
        close(old);
    if (!*name || g_ascii_isdigit(*name) || g_hash_table_size(named) >= NAMES_MOST) {
        close(fd);
        return viv_fail(err, EINVAL, "fdname: '%.60s': a name begins with no digit, and there are %d at most", name, NAMES_MOST);
    }
    g_hash_table_insert(named, g_strdup(name), GINT_TO_POINTER(fd + 1));
    return 0;
}

bool viv_fd_inherited(int64_t fd)
{
    int flags = fd >= 0 && fd <= INT_MAX ? fcntl((int)fd, F_GETFD) : -1;

    return flags >= 0 && !(flags & FD_CLOEXEC);
}

int viv_fdname_take_any(const char *key, const char *text, struct viv_err *err)
{
    guint64 fd;
    int rc;

    if (!g_ascii_isdigit(*text)) {
        rc = viv_fdname_take(text, err);
        if (rc < 0)
            viv_err_prefix(err, "%s=%.60s", key, text);
        return rc;
    }
    if (!g_ascii_string_to_unsigned(text, 10, STDERR_FILENO + 1, INT_MAX, &fd, NULL))
        return viv_fail(err, EINVAL, "%s=%.60s: it must be the number of an open descriptor, 3 or more, or the name that getfd gave one", key, text);
    if (!viv_fd_inherited((int64_t)fd))
        return viv_fail(err, EBADF, "%s=%.60s: the process was not started with that descriptor, or it is in use already; one that "
                        "is passed to a machine that runs has a name (getfd)", key, text);
    return fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0 ? viv_fail_os(err, errno, "%s=%s", key, text) : (int)fd;
}
