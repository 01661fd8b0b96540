#include "share/attr.h"

#include "share/attr_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif

bool viv_share_hidden(const struct viv_share_attrs *a, const char *name)
{
    return a->model == VIV_SHARE_MAPPED_FILE && (!strcmp(name, META_DIR) || !strcmp(name, META_ROOT));
}

int viv_share_chmod(int fd, mode_t mode)
{
    struct viv_share_path p;

    if (!syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH))
        return 0;
    if (errno != ENOSYS && errno != EINVAL && errno != EPERM)
        return -errno;
    p = viv_share_path(fd); /* an older kernel, or a filter that does not know the call */
    return chmod(p.text, mode) < 0 ? -errno : 0;
}

static int chown_host(struct viv_share_attrs *a, int fd, const struct stat *st, unsigned parts)
{
    uid_t uid = parts & VIV_SHARE_UID ? st->st_uid : (uid_t)-1;
    gid_t gid = parts & VIV_SHARE_GID ? st->st_gid : (gid_t)-1;

    if (!fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return 0;
    return a->model == VIV_SHARE_NONE && errno == EPERM ? 0 : -errno;
}

static int set_host(struct viv_share_attrs *a, int fd, const struct stat *st, unsigned parts)
{
    int rc = parts & (VIV_SHARE_UID | VIV_SHARE_GID) ? chown_host(a, fd, st, parts) : 0;

    /* After the owner: a change of that takes set-id bits away. */
    if (!rc && parts & VIV_SHARE_MODE && !S_ISLNK(st->st_mode))
        rc = viv_share_chmod(fd, st->st_mode & 07777);
    return rc;
}

/* ---- what a file has, over what the host says ---- */

static void overlay(struct stat *st, const struct viv_share_meta *m)
{
    if (m->parts & VIV_SHARE_UID)
        st->st_uid = m->uid;
    if (m->parts & VIV_SHARE_GID)
        st->st_gid = m->gid;
    if (m->parts & VIV_SHARE_MODE) {
        /* A type that the host's file cannot play is a lie of whoever wrote it: a folder is a folder. */
        mode_t type = m->mode & S_IFMT;
        bool ok = S_ISREG(st->st_mode) ? type && type != S_IFDIR : type == (st->st_mode & S_IFMT);

        st->st_mode = (ok ? type : st->st_mode & S_IFMT) | (m->mode & 07777);
    }
    if (m->parts & VIV_SHARE_RDEV && (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)))
        st->st_rdev = m->rdev;
}

int viv_share_stat(struct viv_share_attrs *a, const struct viv_share_file *f, struct stat *st)
{
    struct viv_share_meta m = {0};
    int rc;

    if (fstatat(f->fd, "", st, AT_EMPTY_PATH) < 0)
        return -errno;
    if (!viv_share_mapped(a))
        return 0;
    if (a->model == VIV_SHARE_MAPPED_XATTR)
        rc = viv_share_xattr_read(f->fd, &m);
    else
        rc = viv_share_meta_read(f, &m);
    if (rc < 0)
        return rc;
    overlay(st, &m);
    return 0;
}

static void take(struct viv_share_meta *m, const struct stat *st, unsigned parts)
{
    if (parts & VIV_SHARE_UID)
        m->uid = st->st_uid;
    if (parts & VIV_SHARE_GID)
        m->gid = st->st_gid;
    if (parts & VIV_SHARE_MODE)
        m->mode = st->st_mode;
    if (parts & VIV_SHARE_RDEV)
        m->rdev = st->st_rdev;
    m->parts |= parts;
}

int viv_share_set(struct viv_share_attrs *a, const struct viv_share_file *f, const struct stat *st, unsigned parts, bool fresh)
{
    struct viv_share_meta m = {0};
    int rc = 0;

    if (!viv_share_mapped(a))
        return set_host(a, f->fd, st, parts);
    if (a->model == VIV_SHARE_MAPPED_XATTR) {
        take(&m, st, parts);
        return viv_share_xattr_write(f->fd, &m);
    }
    if (!fresh)
        rc = viv_share_meta_read(f, &m);
    take(&m, st, parts);
    return rc ? rc : viv_share_meta_write(f, &m);
}
