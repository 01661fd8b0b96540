/* Files that the broker opens, names that it changes, what it does to files of a share. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Is it /proc/self/NAME of what a process may know about itself? Here it would be the broker's. */
static char *own_proc(const char *path)
{
    static const char *const names[] = {"maps", "pagemap", "smaps", "stat", "statm", "status", "task", "limits", "cgroup", "mounts"};
    const char *name = g_str_has_prefix(path, "/proc/self/") ? path + strlen("/proc/self/") : !strcmp(path, "/proc/mounts") ? "mounts" : NULL;

    for (size_t i = 0; name && i < G_N_ELEMENTS(names); i++) {
        if (!strcmp(name, names[i]))
            return g_strdup_printf("/proc/%d/%s", (int)broker_asked.client, name);
    }
    return NULL;
}

static int open_it(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);

    return fd < 0 ? -errno : fd;
}

/* /proc/self/fd/N, also where a new root has no /proc. */
static int open_own(int fd, int flags)
{
    char name[16];

    snprintf(name, sizeof(name), "%d", fd);
    fd = openat(broker_asked.own_fds, name, flags | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

/* Where an open file is. */
static bool name_of_fd(int fd, char real[PATH_MAX])
{
    char number[16];
    ssize_t n;

    snprintf(number, sizeof(number), "%d", fd);
    n = readlinkat(broker_asked.own_fds, number, real, PATH_MAX - 1);
    if (n >= 0)
        real[n] = '\0';
    return n >= 0;
}

static bool is_public_fd(int fd)
{
    char real[PATH_MAX];

    return name_of_fd(fd, real) && broker_public_fd(fd, real);
}

/* -EACCES: there is nothing public of that name. */
static int open_public(const char *said)
{
    g_autofree char *path = g_canonicalize_filename(said, NULL);
    int fd = broker_is_public(path, broker_asked.req.flags) ? open_it(path, broker_asked.req.flags | O_NONBLOCK, 0) : -EACCES;

    if (fd >= 0 && !is_public_fd(fd)) {
        close(fd);
        return -EACCES;
    }
    if (fd >= 0 && !(broker_asked.req.flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

int broker_do_open(char *text)
{
    g_autofree char *own = own_proc(broker_asked.a);
    struct broker_place p;
    int rc, fd;

    if (own && (broker_asked.req.flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == O_RDONLY)
        return open_it(own, broker_asked.req.flags, 0);
    rc = broker_find(broker_asked.a, &p);
    if (rc < 0)
        return rc;
    rc = broker_may_open(broker_asked.a, &p, broker_asked.req.flags, text);
    if (!rc) {
        fd = broker_open_place(p.real, broker_asked.req.flags, broker_asked.req.mode);
    } else {
        fd = open_public(broker_asked.a);
        if (fd != -EACCES)
            *text = '\0';
    }
    broker_place_free(&p);
    return fd;
}

int broker_do_reopen(char *text)
{
    int rc = broker_asked.fd < 0 ? -EBADF : broker_may_use_fd(broker_asked.fd, broker_asked.req.flags, text);

    return rc < 0 ? rc : open_own(broker_asked.fd, broker_asked.req.flags);
}

/* --- names --- */

struct spot {
    struct broker_place p;
    int dir;
    char *base;
};

/* What -chroot shuts out, and is to be removed at the end all the same: a pid file, sockets. */
static struct kept {
    char *name, *base;
    int dir;
} *kept;
static unsigned kept_count;

void broker_keep_folder(const char *name)
{
    struct kept k = {.name = g_strdup(name)};

    k.dir = broker_folder(name, &k.base);
    kept = g_renew(struct kept, kept, kept_count + 1);
    kept[kept_count++] = k;
}

static bool remove_kept(const char *said, int *rc)
{
    g_autofree char *name = g_canonicalize_filename(said, NULL);

    for (unsigned i = 0; i < kept_count; i++) {
        if (strcmp(kept[i].name, name))
            continue;
        *rc = unlinkat(kept[i].dir, kept[i].base, 0) < 0 ? -errno : 0;
        return true;
    }
    return false;
}

static int find_spot(const char *said, struct spot *at, char *text)
{
    int rc = broker_find(said, &at->p);

    at->base = NULL;
    at->dir = -1;
    if (!rc)
        rc = broker_may_change(said, &at->p, text);
    if (!rc)
        rc = at->dir = broker_folder(at->p.name, &at->base);
    return rc < 0 ? rc : 0;
}

static void leave_spot(struct spot *at)
{
    broker_place_free(&at->p);
    g_free(at->base);
    if (at->dir >= 0)
        close(at->dir);
}

/* A folder that moves takes along what lies in it: a script that may be started, somebody's files. */
static bool is_folder(const struct spot *at)
{
    struct stat st;

    return fstatat(at->dir, at->base, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* A file without a name gets one. Not one that has: it may be open for reading alone, and its new name is for writing. */
static int link_fd(const struct spot *to)
{
    char number[16];
    struct stat st;

    if (broker_asked.fd < 0 || fstat(broker_asked.fd, &st) < 0)
        return -EBADF;
    if (st.st_nlink)
        return -EPERM;
    snprintf(number, sizeof(number), "%d", broker_asked.fd);
    return linkat(broker_asked.own_fds, number, to->dir, to->base, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int change(const struct spot *a, const struct spot *b)
{
    int rc;

    switch (broker_asked.req.op) {
    case BROKER_UNLINK: rc = unlinkat(a->dir, a->base, 0); break;
    case BROKER_MKDIR: rc = mkdirat(a->dir, a->base, broker_asked.req.mode); break;
    case BROKER_LINK: rc = linkat(a->dir, a->base, b->dir, b->base, 0); break;
    case BROKER_RENAME:
        if (is_folder(a))
            return -EACCES;
        rc = renameat(a->dir, a->base, b->dir, b->base);
        if (!rc && broker_asked.req.flags)
            return broker_do_sync(b->dir);
        break;
    default: return link_fd(b);
    }
    return rc < 0 ? -errno : 0;
}

int broker_do_names(char *text)
{
    struct spot a = {.dir = -1}, b = {.dir = -1};
    int rc;

    if (broker_asked.req.op == BROKER_UNLINK && remove_kept(broker_asked.a, &rc))
        return rc;
    rc = broker_asked.req.op == BROKER_LINK_FD ? 0 : find_spot(broker_asked.a, &a, text);
    if (!rc && broker_asked.req.op != BROKER_UNLINK && broker_asked.req.op != BROKER_MKDIR)
        rc = find_spot(broker_asked.b, &b, text);
    if (!rc)
        rc = change(&a, &b);
    leave_spot(&a);
    leave_spot(&b);
    return rc;
}

/* --- files of a share --- */

int broker_in_folder(int dir, int (*call)(const char *name), const char *name)
{
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), rc;

    if (here < 0)
        return -errno;
    rc = fchdir(dir) < 0 ? -errno : call(name);
    if (fchdir(here) < 0)
        _exit(1);
    close(here);
    return rc;
}

int broker_at_own_fds(int (*call)(const char *number), int fd)
{
    char number[16];

    snprintf(number, sizeof(number), "%d", fd);
    return broker_in_folder(broker_asked.own_fds, call, number);
}

static int change_file(const char *number)
{
    struct timespec times[2];
    int rc;

    switch (broker_asked.req.op) {
    case BROKER_CHMOD: rc = chmod(number, broker_asked.req.mode); break;
    case BROKER_CHOWN: rc = fchownat(broker_asked.fd, "", broker_asked.req.mode, broker_asked.req.extra, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW); break;
    case BROKER_UTIMES:
        memcpy(times, broker_asked.a, broker_asked.req.a_len);
        rc = utimensat(AT_FDCWD, number, broker_asked.req.a_len ? times : NULL, 0);
        break;
    case BROKER_SETXATTR: rc = setxattr(number, broker_asked.a, broker_asked.b, broker_asked.req.b_len, broker_asked.req.flags); break;
    default: rc = removexattr(number, broker_asked.a); break;
    }
    return rc < 0 ? -errno : 0;
}

/* Landlock knows nothing of these: that the file is in a folder which the guest has is looked at here. */
int broker_do_file(void)
{
    char real[PATH_MAX];

    if (broker_asked.fd < 0 || (broker_asked.req.op == BROKER_UTIMES && broker_asked.req.a_len && broker_asked.req.a_len != 2 * sizeof(struct timespec)))
        return -EINVAL;
    return name_of_fd(broker_asked.fd, real) && broker_in_share(real) ? broker_at_own_fds(change_file, broker_asked.fd) : -EACCES;
}
