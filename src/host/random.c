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
    unsigned users;
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

static struct viv_random **find(const char *id)
{
    struct viv_random **at = &first;

    while (*at && strcmp((*at)->id, id))
        at = &(*at)->next;
    return at;
}

int viv_random_add(const char *id, const char *path, struct viv_err *err)
{
    struct viv_random *r;
    int fd = -1;

    if (*find(id))
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

int viv_random_del(const char *id, struct viv_err *err)
{
    struct viv_random **at = find(id), *r = *at;

    if (!r)
        return viv_fail(err, ENOENT, "there is no source of random bytes '%.60s'", id);
    if (r->users)
        return viv_fail(err, EBUSY, "object '%.60s' is in use, can not be deleted: a virtio-rng reads from it", id);
    *at = r->next;
    if (r->fd >= 0)
        close(r->fd);
    g_free(r->id);
    g_free(r->path);
    g_free(r);
    return 0;
}

struct viv_random *viv_random_get(const char *id)
{
    struct viv_random *r = *find(id);

    if (r)
        r->users++;
    return r;
}

void viv_random_put(struct viv_random **r)
{
    if (*r)
        (*r)->users--;
    *r = NULL;
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
