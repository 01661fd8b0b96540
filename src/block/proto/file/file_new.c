/* Files that get their name when they are whole: O_TMPFILE and linkat where the file system has them, else a
 * ".name.XXXXXX.part" that is renamed. */
#include "block/proto/file/file_int.h"

#include "host/broker.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

struct viv_file_new {
    char *path;
    char *part; /* the temporary name; NULL: O_TMPFILE */
    int fd;     /* a second descriptor of the same open file */
};

static int open_part(struct viv_file_new *f, int flags, struct viv_err *err)
{
    int fd = viv_open_part(f->path, flags, 0644, &f->part);

    return fd < 0 ? viv_fail_os(err, -fd, "Could not create '%s'", f->path) : fd;
}

static int open_unnamed(struct viv_file_new *f, const struct viv_node_opts *o, struct viv_err *err)
{
    int flags = O_RDWR | (o->direct ? O_DIRECT : 0);
    char *dir = g_path_get_dirname(f->path);
    struct viv_err own = VIV_ERR_INIT;
    int fd = viv_open(dir, flags | O_TMPFILE, 0644, &own);

    if (fd == -EINVAL && o->direct)
        fd = viv_file_direct_error(f->path, err);
    else if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
        fd = open_part(f, flags, err);
    else if (fd < 0 && g_str_has_prefix(own.text, "the sandbox"))
        viv_fail(err, -fd, "Could not create '%s': %s", f->path, own.text);
    else if (fd < 0)
        viv_fail_os(err, -fd, "Could not create '%s'", f->path);
    g_free(dir);
    return fd;
}

#define LINKS_MAX 40 /* as the kernel's */

/* As fs.protected_symlinks has it: in /tmp and the like only links of one's own, or of the folder's owner. */
static bool may_follow(const char *dir, const struct stat *link)
{
    struct stat st;

    return stat(dir, &st) == 0 && ((st.st_mode & (S_ISVTX | S_IWOTH)) != (S_ISVTX | S_IWOTH) || link->st_uid == geteuid() ||
                                   link->st_uid == st.st_uid);
}

/* Where the new file is to lie: a link that points nowhere is followed, as open(2) does. */
static int find_place(const char *path, char **out, struct viv_err *err)
{
    g_autofree char *at = g_strdup(path);
    struct stat st;

    if (stat(path, &st) == 0)
        return viv_fail_os(err, EEXIST, "Could not create '%s'", path);
    if (errno == ELOOP)
        return viv_fail_os(err, ELOOP, "Could not create '%s'", path);
    for (unsigned i = 0; i < LINKS_MAX && lstat(at, &st) == 0; i++) {
        g_autofree char *dir = g_path_get_dirname(at), *to = g_file_read_link(at, NULL);

        if (!to || !may_follow(dir, &st))
            return viv_fail_os(err, EACCES, "Could not create '%s'", path);
        g_free(at);
        at = g_path_is_absolute(to) ? g_steal_pointer(&to) : g_build_filename(dir, to, NULL);
    }
    *out = g_steal_pointer(&at);
    return 0;
}

int viv_file_new(const char *path, const struct viv_node_opts *o, struct viv_file_new **out,
                 struct viv_node **node, struct viv_err *err)
{
    struct viv_file_new *f;
    char *place;
    int fd, ret = find_place(path, &place, err);

    if (ret)
        return ret;
    f = g_new0(struct viv_file_new, 1);
    f->path = place;
    f->fd = -1;
    fd = open_unnamed(f, o, err);
    if (fd >= 0)
        f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    ret = fd < 0 ? fd : viv_file_from_fd(fd, path, o, node, err);
    if (ret) {
        viv_file_new_free(f);
        return ret;
    }
    *out = f;
    return 0;
}

int viv_file_publish(struct viv_file_new *f, struct viv_err *err)
{
    int ret;

    if (f->part) {
        ret = viv_broker_link(f->part, f->path);
        if (ret == -EPERM || ret == -EOPNOTSUPP) /* no hard links here */
            ret = viv_broker_rename(f->part, f->path);
        if (ret == 0)
            viv_broker_unlink(f->part);
    } else {
        ret = viv_broker_link_fd(f->fd, f->path);
    }
    if (ret < 0)
        return viv_fail_os(err, -ret, "Could not create '%s'", f->path);
    g_clear_pointer(&f->part, g_free);
    return 0;
}

void viv_file_unpublish(struct viv_file_new *f)
{
    viv_broker_unlink(f->path);
}

void viv_file_new_free(struct viv_file_new *f)
{
    if (!f)
        return;
    if (f->part)
        viv_broker_unlink(f->part);
    if (f->fd >= 0)
        close(f->fd);
    g_free(f->part);
    g_free(f->path);
    g_free(f);
}
