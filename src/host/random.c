/* Random bytes: getrandom(2), or read(2) of a device such as /dev/hwrng. */
#include "host/random.h"

#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct viv_random {
    struct viv_random *next;
    char *id, *path;
    int fd; /* -1: getrandom */
};

static struct viv_random *first;

static int open_source(const char *path, struct viv_err *err)
{
    struct stat st;
    int fd = viv_open(path, O_RDONLY | O_NONBLOCK, 0, err);

    if (fd < 0)
        return fd;
    /* A regular file would give every machine the same bytes, and end. */
    if (fstat(fd, &st) == 0 && !S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        close(fd);
        return viv_fail(err, EINVAL, "'%s' is neither a character device nor a FIFO; /dev/urandom and "
                        "/dev/hwrng are", path);
    }
    return fd;
}

int viv_random_add(const char *id, const char *path, struct viv_err *err)
{
    struct viv_random *r;
    int fd = -1;

    if (viv_random_find(id))
        return viv_fail(err, EEXIST, "the id '%s' is already in use", id);
    if (path) {
        fd = open_source(path, err);
        if (fd < 0)
            return fd;
    }
    r = g_new0(struct viv_random, 1);
    r->id = g_strdup(id);
    r->path = g_strdup(path);
    r->fd = fd;
    r->next = first;
    first = r;
    return 0;
}

struct viv_random *viv_random_find(const char *id)
{
    for (struct viv_random *r = first; r; r = r->next) {
        if (!strcmp(r->id, id))
            return r;
    }
    return NULL;
}

ssize_t viv_random_read(struct viv_random *r, void *buf, size_t len)
{
    ssize_t n;

    do
        n = r && r->fd >= 0 ? read(r->fd, buf, len) : getrandom(buf, len, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n == 0 && len ? -ENODATA : n;
}

int viv_random_fd(const struct viv_random *r)
{
    return r ? r->fd : -1;
}

const char *viv_random_name(const struct viv_random *r)
{
    return r && r->path ? r->path : "getrandom";
}
