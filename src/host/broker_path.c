/* Names and the places that they lead to. What may be opened is decided by where a name leads, and then that place is opened folder by
 * folder without following a link: who can make links (a guest in a shared folder, another user) can neither send the broker elsewhere
 * nor change the place in between. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static char *real_path(const char *path)
{
    char room[PATH_MAX];

    return realpath(path, room) ? g_strdup(room) : NULL;
}

/* "..", "." and names that end in '/' are folders: there is nothing to be made there. */
static bool is_folder_name(const char *said)
{
    size_t len = strlen(said);
    const char *base = strrchr(said, '/');

    base = base ? base + 1 : said;
    return said[len - 1] == '/' || !strcmp(base, ".") || !strcmp(base, "..");
}

int broker_find(const char *said, struct broker_place *p)
{
    g_autofree char *dir = NULL, *folder = NULL, *base = NULL;

    *p = (struct broker_place){0};
    if (!*said)
        return -ENOENT;
    if (is_folder_name(said)) {
        p->real = real_path(said);
        p->name = g_strdup(p->real);
        return p->real ? 0 : -errno;
    }
    dir = g_path_get_dirname(said);
    base = g_path_get_basename(said);
    folder = real_path(dir);
    if (!folder)
        return -errno;
    p->name = g_build_filename(folder, base, NULL);
    p->real = real_path(p->name);
    if (!p->real && errno != ENOENT) {
        int e = errno;

        broker_place_free(p);
        return -e;
    }
    if (!p->real) /* to be made; a link into nothing is not followed when it is */
        p->real = g_strdup(p->name);
    return 0;
}

void broker_place_free(struct broker_place *p)
{
    g_clear_pointer(&p->name, g_free);
    g_clear_pointer(&p->real, g_free);
}

/* The folder that a real name lies in, reached without links. */
static int open_folder(const char *dir)
{
    g_auto(GStrv) parts = g_strsplit(dir, "/", -1);
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (char **part = parts; *part && fd >= 0; part++) {
        int at = fd, e;

        if (!**part)
            continue;
        fd = openat(at, *part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        e = errno;
        close(at);
        errno = e;
    }
    return fd < 0 ? -errno : fd;
}

int broker_folder(const char *real, char **base)
{
    g_autofree char *dir = g_path_get_dirname(real);

    *base = strcmp(real, "/") ? g_path_get_basename(real) : g_strdup(".");
    return open_folder(dir);
}

/* The other side of a new pseudo-terminal is opened and closed once, so that its maker hears when somebody is there; the program
 * itself may not open it. */
static void settle_pty(int fd)
{
    struct stat st;
    int other;

    if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2) || unlockpt(fd))
        return;
    other = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (other >= 0)
        close(other);
}

int broker_open_place(const char *real, int flags, mode_t mode)
{
    g_autofree char *base = NULL;
    int dir = broker_folder(real, &base), fd;

    if (dir < 0)
        return dir;
    fd = openat(dir, base, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode);
    fd = fd < 0 ? -errno : fd;
    close(dir);
    if (fd >= 0)
        settle_pty(fd);
    return fd;
}
