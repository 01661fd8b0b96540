#include "host/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "/dev/fdset/"
#define MOST   1024 /* descriptors in all sets */

struct passed {
    int64_t set;
    int fd;
    char *text; /* NULL: none */
    struct passed *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct passed *all; /* by set, highest first; in a set in the order they came */
static unsigned count;

static bool is_used(int64_t set)
{
    for (const struct passed *p = all; p; p = p->next)
        if (p->set == set)
            return true;
    return false;
}

static int64_t first_free(void)
{
    int64_t set = 0;

    while (is_used(set))
        set++;
    return set;
}

int viv_fdset_add(int fd, int64_t *set, const char *opaque, struct viv_err *err)
{
    struct passed **at = &all, *p;

    pthread_mutex_lock(&lock);
    if (count == MOST) {
        pthread_mutex_unlock(&lock);
        close(fd);
        return viv_fail(err, EMFILE, "there are %d descriptors in sets already", MOST);
    }
    p = g_new(struct passed, 1);
    *p = (struct passed){*set == VIV_FDSET_NEW ? first_free() : *set, fd, g_strdup(opaque), NULL};
    while (*at && (*at)->set >= p->set)
        at = &(*at)->next;
    p->next = *at;
    *at = p;
    *set = p->set;
    count++;
    pthread_mutex_unlock(&lock);
    return 0;
}

int viv_fdset_remove(int64_t set, int fd, struct viv_err *err)
{
    bool any = false;

    pthread_mutex_lock(&lock);
    for (struct passed **at = &all; *at;) {
        struct passed *p = *at;

        if (p->set != set || (fd >= 0 && p->fd != fd)) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        close(p->fd);
        g_free(p->text);
        g_free(p);
        count--;
        any = true;
    }
    pthread_mutex_unlock(&lock);
    if (any)
        return 0;
    return fd >= 0 ? viv_fail(err, ENOENT, "File descriptor named 'fdset-id:%lld, fd:%d' not found", (long long)set, fd)
                   : viv_fail(err, ENOENT, "File descriptor named 'fdset-id:%lld' not found", (long long)set);
}

void viv_fdset_each(void (*fn)(void *opaque, int64_t set, int fd, const char *text), void *opaque)
{
    pthread_mutex_lock(&lock);
    for (const struct passed *p = all; p; p = p->next)
        fn(opaque, p->set, p->fd, p->text);
    pthread_mutex_unlock(&lock);
}

/* --- opening --- */

bool viv_fdset_is_name(const char *path)
{
    return g_str_has_prefix(path, PREFIX);
}

/* -ENOENT: there is no such set; -EACCES: none of it is open for that. */
static int dup_of(int64_t set, int mode)
{
    int fd = -ENOENT;

    pthread_mutex_lock(&lock);
    for (const struct passed *p = all; p && fd < 0; p = p->next) {
        if (p->set != set)
            continue;
        fd = -EACCES;
        if ((fcntl(p->fd, F_GETFL) & O_ACCMODE) != mode)
            continue;
        fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            fd = -errno;
        break;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

/* As open(2) would have left it: O_APPEND that nobody asked for would move every write of a disk to its end. */
static int set_up(int fd, int flags)
{
    const int settable = O_APPEND | O_DIRECT | O_NONBLOCK;
    int have = fcntl(fd, F_GETFL);
    struct stat st;

    if (have < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (((have ^ flags) & settable) && fcntl(fd, F_SETFL, (have & ~settable) | (flags & settable)) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    if (((flags & O_TRUNC) && ftruncate(fd, 0) < 0) || lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    return 0;
}

int viv_fdset_open(const char *path, int flags, struct viv_err *err)
{
    const char *number = path + strlen(PREFIX);
    char *end = NULL;
    int64_t set = g_ascii_isdigit(*number) ? g_ascii_strtoll(number, &end, 10) : -1;
    int fd, rc;

    if (!end || *end || set == G_MAXINT64)
        return viv_fail(err, EINVAL, "Could not parse fdset %.80s", path);
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return viv_fail(err, EEXIST, "'%s' cannot be made: a descriptor's file is there", path);
    if (flags & (O_PATH | O_DIRECTORY))
        return viv_fail(err, ENOTDIR, "'%s' is a set of descriptors of files, and a folder is wanted", path);
    fd = dup_of(set, flags & O_ACCMODE);
    if (fd < 0)
        return viv_fail_os(err, -fd, "Could not dup FD for %s flags %x", path, flags & O_ACCMODE);
    rc = set_up(fd, flags);
    if (!rc)
        return fd;
    close(fd);
    return viv_fail_os(err, -rc, "cannot open '%s'", path);
}
