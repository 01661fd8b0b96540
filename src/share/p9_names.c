/* Entries of folders: made, linked, renamed, removed.
 *
 * In model mapped-file an entry and its attributes are two files: the lock of share/attr.h is held over both. */
#include "share/p9_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A folder by fid, with its descriptor. */
struct folder {
    struct viv_share_node *node;
    int fd;
    uint32_t uid;
};

static int folder_begin(struct viv_p9 *p, uint32_t number, struct folder *d)
{
    struct fid *f = p9_fid_get(p, number);

    if (!f)
        return -EBADF;
    d->uid = f->uid;
    d->node = p9_fid_node(p, f);
    p9_fid_put(p, f);
    d->fd = viv_share_use(p->tree, d->node);
    if (d->fd < 0)
        viv_share_unref(p->tree, d->node);
    return d->fd < 0 ? d->fd : 0;
}

static void folder_end(struct viv_p9 *p, struct folder *d)
{
    viv_share_done(p->tree, d->node);
    viv_share_unref(p->tree, d->node);
}

static int check_name(struct viv_p9 *p, const char *name)
{
    int rc = p9_name_ok(name);

    return !rc && viv_share_hidden(&p->attrs, name) ? -EINVAL : rc;
}

/* ---- making ---- */

/* A plain file that stands for something else; a link's target is its content. */
static int make_stand_in(struct viv_p9 *p, int dir, const char *name, const char *content)
{
    size_t len = strlen(content);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, p->attrs.fmode), rc = 0;

    if (fd < 0)
        return -errno;
    if (len) {
        ssize_t n = write(fd, content, len);

        rc = n < 0 ? -errno : (size_t)n < len ? -ENOSPC : 0;
    }
    close(fd);
    if (rc < 0)
        unlinkat(dir, name, 0);
    return rc;
}

/* `st`: type, mode and device as the guest wants them. */
static int make_host(struct viv_p9 *p, int dir, const char *name, const struct stat *st, const char *target)
{
    int rc;

    if (S_ISDIR(st->st_mode))
        rc = mkdirat(dir, name, viv_share_mapped(&p->attrs) ? p->attrs.dmode : 0700);
    else if (viv_share_mapped(&p->attrs))
        return make_stand_in(p, dir, name, target ? target : "");
    else if (target)
        rc = symlinkat(target, dir, name);
    else
        rc = mknodat(dir, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev);
    return rc < 0 ? -errno : 0;
}

static int make(struct viv_p9 *p, struct folder *d, const char *name, const struct stat *st, const char *target, struct p9_qid *q)
{
    unsigned parts = VIV_SHARE_UID | VIV_SHARE_GID | VIV_SHARE_MODE | (S_ISDIR(st->st_mode) || target ? 0 : VIV_SHARE_RDEV);
    struct viv_share_file file = {.fd = -1, .dir = d->fd, .name = name};
    struct stat now;
    int rc;

    pthread_mutex_lock(&p->attrs.lock);
    rc = make_host(p, d->fd, name, st, target);
    if (!rc) {
        file.fd = openat(d->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        rc = file.fd < 0 ? -errno : 0;
        viv_share_forget(&p->attrs, d->fd, name); /* what a host's unlink has left */
        if (!rc)
            rc = viv_share_set(&p->attrs, &file, st, parts, true);
        if (rc < 0) {
            viv_share_forget(&p->attrs, d->fd, name);
            unlinkat(d->fd, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0);
        }
    }
    if (!rc)
        rc = viv_share_stat(&p->attrs, &file, &now);
    pthread_mutex_unlock(&p->attrs.lock);
    if (!rc)
        rc = p9_qid(p, &now, q);
    if (file.fd >= 0)
        close(file.fd);
    return rc;
}

static int make_entry(struct req *r, uint32_t dir, const char *name, struct stat *st, const char *target)
{
    struct folder d;
    struct p9_qid q;
    int rc;

    if (r->in.bad)
        return -EINVAL;
    rc = check_name(r->p, name);
    if (!rc)
        rc = folder_begin(r->p, dir, &d);
    if (rc < 0)
        return rc;
    st->st_uid = d.uid;
    rc = make(r->p, &d, name, st, target, &q);
    folder_end(r->p, &d);
    if (!rc)
        p9_put_qid(&r->out, &q);
    return rc;
}

int p9_symlink(struct req *r)
{
    uint32_t dir = p9_get32(&r->in);
    const char *name = p9_get_str(&r->in), *target = p9_get_str(&r->in);
    struct stat st = {.st_mode = S_IFLNK | 0777, .st_gid = p9_get32(&r->in)};

    if (!r->in.bad && (!*target || strlen(target) >= PATH_MAX))
        return *target ? -ENAMETOOLONG : -ENOENT;
    return make_entry(r, dir, name, &st, target);
}

int p9_mkdir(struct req *r)
{
    uint32_t dir = p9_get32(&r->in);
    const char *name = p9_get_str(&r->in);
    struct stat st = {.st_mode = S_IFDIR | (p9_get32(&r->in) & 07777)};

    st.st_gid = p9_get32(&r->in);
    return make_entry(r, dir, name, &st, NULL);
}

int p9_mknod(struct req *r)
{
    uint32_t dir = p9_get32(&r->in), major, minor;
    const char *name = p9_get_str(&r->in);
    struct stat st = {.st_mode = p9_get32(&r->in)};

    major = p9_get32(&r->in);
    minor = p9_get32(&r->in);
    st.st_gid = p9_get32(&r->in);
    st.st_rdev = makedev(major, minor);
    st.st_mode &= S_IFMT | 07777;
    if (!(st.st_mode & S_IFMT))
        st.st_mode |= S_IFREG;
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
        return -EINVAL;
    return make_entry(r, dir, name, &st, NULL);
}

/* ---- links ---- */

static int link_locked(struct viv_p9 *p, const struct viv_share_file *f, int dir, const char *name)
{
    struct viv_share_path path = viv_share_path(f->fd);
    int rc = viv_share_attr_link(&p->attrs, f, dir, name);

    if (rc < 0)
        return rc;
    if (linkat(AT_FDCWD, path.text, dir, name, AT_SYMLINK_FOLLOW) < 0) {
        rc = -errno;
        if (rc != -EEXIST)
            viv_share_forget(&p->attrs, dir, name);
    }
    return rc;
}

/* What fid `number` stands for is to have this name: may it be one? *node is put by viv_share_unref(). */
static int to_be_named(struct req *r, uint32_t number, const char *name, struct viv_share_node **node)
{
    struct fid *f;
    int rc;

    if (r->in.bad)
        return -EINVAL;
    rc = check_name(r->p, name);
    f = rc ? NULL : p9_fid_get(r->p, number);
    if (!f)
        return rc ? rc : -EBADF;
    *node = p9_fid_node(r->p, f);
    p9_fid_put(r->p, f);
    return 0;
}

int p9_link(struct req *r)
{
    uint32_t dir = p9_get32(&r->in), number = p9_get32(&r->in);
    const char *name = p9_get_str(&r->in);
    struct viv_share_node *node;
    struct folder d;
    struct where w;
    int rc = to_be_named(r, number, name, &node);

    if (rc < 0)
        return rc;
    rc = folder_begin(r->p, dir, &d);
    if (!rc) {
        rc = p9_where(r->p, node, &w);
        if (!rc) {
            /* Before anything is touched: attributes of what has the name now must stay. */
            rc = faccessat(d.fd, name, F_OK, AT_SYMLINK_NOFOLLOW) ? link_locked(r->p, &w.file, d.fd, name) : -EEXIST;
            p9_where_end(r->p, &w);
        }
        folder_end(r->p, &d);
    }
    viv_share_unref(r->p->tree, node);
    return rc;
}

/* ---- rename ---- */

/* A folder that seems empty to the guest may have an (empty) folder of attributes in it. */
static int rename_host(struct viv_p9 *p, int from, const char *name, int to, const char *new_name)
{
    if (!renameat(from, name, to, new_name))
        return 0;
    if ((errno != ENOTEMPTY && errno != EEXIST) || p->attrs.model != VIV_SHARE_MAPPED_FILE)
        return -errno;
    if (viv_share_attr_rmdir(&p->attrs, to, new_name) < 0)
        return -ENOTEMPTY;
    return renameat(from, name, to, new_name) < 0 ? -errno : 0;
}

static int move(struct viv_p9 *p, struct folder *from, const char *name, struct folder *to, const char *new_name)
{
    int rc;

    pthread_mutex_lock(&p->attrs.lock);
    rc = rename_host(p, from->fd, name, to->fd, new_name);
    if (!rc) {
        viv_share_moved(p->tree, from->node, name, to->node, new_name);
        rc = viv_share_attr_move(&p->attrs, from->fd, name, to->fd, new_name);
    }
    pthread_mutex_unlock(&p->attrs.lock);
    return rc;
}

int p9_renameat(struct req *r)
{
    uint32_t from_fid = p9_get32(&r->in), to_fid;
    const char *name = p9_get_str(&r->in), *new_name;
    struct folder from, to;
    int rc;

    to_fid = p9_get32(&r->in);
    new_name = p9_get_str(&r->in);
    if (r->in.bad)
        return -EINVAL;
    rc = check_name(r->p, name);
    if (!rc)
        rc = check_name(r->p, new_name);
    if (!rc)
        rc = folder_begin(r->p, from_fid, &from);
    if (rc < 0)
        return rc;
    rc = folder_begin(r->p, to_fid, &to);
    if (!rc) {
        rc = move(r->p, &from, name, &to, new_name);
        folder_end(r->p, &to);
    }
    folder_end(r->p, &from);
    return rc;
}

/* Is dir/name still that node? */
static int same(int dir, const char *name, const struct viv_share_node *node)
{
    struct stat st;
    dev_t dev;
    ino_t ino;

    viv_share_identity(node, &dev, &ino);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return st.st_dev == dev && st.st_ino == ino ? 0 : -ESTALE;
}

static int rename_node(struct viv_p9 *p, struct viv_share_node *node, struct folder *to, const char *new_name)
{
    char name[VIV_SHARE_NAME_MAX + 1];
    struct folder from;
    int rc;

    if (viv_share_is_root(p->tree, node))
        return -EBUSY;
    from.node = viv_share_parent(p->tree, node, name);
    from.fd = viv_share_use(p->tree, from.node);
    rc = from.fd < 0 ? from.fd : same(from.fd, name, node);
    if (!rc)
        rc = move(p, &from, name, to, new_name);
    if (from.fd >= 0)
        viv_share_done(p->tree, from.node);
    viv_share_unref(p->tree, from.node);
    return rc;
}

int p9_rename(struct req *r)
{
    uint32_t number = p9_get32(&r->in), dir = p9_get32(&r->in);
    const char *name = p9_get_str(&r->in);
    struct viv_share_node *node;
    struct folder to;
    int rc = to_be_named(r, number, name, &node);

    if (rc < 0)
        return rc;
    rc = folder_begin(r->p, dir, &to);
    if (!rc) {
        rc = rename_node(r->p, node, &to, name);
        folder_end(r->p, &to);
    }
    viv_share_unref(r->p->tree, node);
    return rc;
}

/* ---- removing ---- */

static int unlink_in(struct viv_p9 *p, struct viv_share_node *dir, int fd, const char *name, int flags)
{
    int rc = 0;

    pthread_mutex_lock(&p->attrs.lock);
    if (flags & AT_REMOVEDIR)
        rc = viv_share_attr_rmdir(&p->attrs, fd, name);
    if (!rc && unlinkat(fd, name, flags) < 0)
        rc = -errno;
    if (!rc) {
        viv_share_forget(&p->attrs, fd, name);
        viv_share_removed(p->tree, dir, name);
    }
    pthread_mutex_unlock(&p->attrs.lock);
    return rc;
}

int p9_unlink_node(struct viv_p9 *p, struct viv_share_node *dir, const char *name, struct viv_share_node *node)
{
    int fd = viv_share_use(p->tree, dir), rc;
    struct stat st;

    if (fd < 0)
        return fd;
    rc = same(fd, name, node);
    if (!rc && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        rc = -errno;
    if (!rc)
        rc = unlink_in(p, dir, fd, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
    viv_share_done(p->tree, dir);
    return rc;
}

int p9_unlinkat(struct req *r)
{
    uint32_t number = p9_get32(&r->in), flags;
    const char *name = p9_get_str(&r->in);
    struct folder d;
    int rc;

    flags = p9_get32(&r->in);
    if (r->in.bad || flags & ~(uint32_t)AT_REMOVEDIR)
        return -EINVAL;
    rc = p9_name_ok(name);
    if (rc < 0 || viv_share_hidden(&r->p->attrs, name))
        return rc < 0 ? rc : -ENOENT;
    rc = folder_begin(r->p, number, &d);
    if (rc < 0)
        return rc;
    rc = unlink_in(r->p, d.node, d.fd, name, (int)flags);
    folder_end(r->p, &d);
    return rc;
}
