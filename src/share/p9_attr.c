/* What is known of files: getattr, setattr, readlink, statfs. */
#include "share/p9_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { GETATTR_BASIC = 0x7ff }; /* mode to blocks: all that stat(2) has */

enum { /* valid of Tsetattr */
    SET_MODE = 1,
    SET_UID = 2,
    SET_GID = 4,
    SET_SIZE = 8,
    SET_ATIME = 0x10,
    SET_MTIME = 0x20,
    SET_CTIME = 0x40,
    SET_ATIME_SET = 0x80, /* to the time in the message, not to now */
    SET_MTIME_SET = 0x100,
};

/* The node of fid `number`, described. */
static int begin(struct req *r, uint32_t number, struct fid **f, struct where *w)
{
    struct viv_share_node *node;
    int rc;

    *f = p9_fid_get(r->p, number);
    if (!*f)
        return -EBADF;
    node = p9_fid_node(r->p, *f);
    rc = p9_where(r->p, node, w);
    if (rc < 0) {
        viv_share_unref(r->p->tree, node);
        p9_fid_put(r->p, *f);
    }
    return rc;
}

static void end(struct req *r, struct fid *f, struct where *w)
{
    struct viv_share_node *node = w->node;

    p9_where_end(r->p, w);
    viv_share_unref(r->p->tree, node);
    p9_fid_put(r->p, f);
}

static void put_time(struct p9_out *o, const struct timespec *t)
{
    p9_put64(o, (uint64_t)t->tv_sec);
    p9_put64(o, (uint64_t)t->tv_nsec);
}

int p9_getattr(struct req *r)
{
    uint32_t number = p9_get32(&r->in);
    uint64_t mask = p9_get64(&r->in);
    struct fid *f;
    struct where w;
    struct p9_qid q;
    struct stat st;
    int rc;

    if (r->in.bad)
        return -EINVAL;
    rc = begin(r, number, &f, &w);
    if (rc < 0)
        return rc;
    rc = viv_share_stat(&r->p->attrs, &w.file, &st);
    if (!rc)
        rc = p9_qid(r->p, &st, &q);
    end(r, f, &w);
    if (rc < 0)
        return rc;
    p9_put64(&r->out, mask & GETATTR_BASIC);
    p9_put_qid(&r->out, &q);
    p9_put32(&r->out, st.st_mode);
    p9_put32(&r->out, st.st_uid);
    p9_put32(&r->out, st.st_gid);
    p9_put64(&r->out, st.st_nlink);
    p9_put64(&r->out, st.st_rdev);
    p9_put64(&r->out, (uint64_t)st.st_size);
    p9_put64(&r->out, (uint64_t)st.st_blksize);
    p9_put64(&r->out, (uint64_t)st.st_blocks);
    put_time(&r->out, &st.st_atim);
    put_time(&r->out, &st.st_mtim);
    put_time(&r->out, &st.st_ctim);
    for (int i = 0; i < 4; i++) /* birth, generation, data version: not asked for by Linux, not in the mask */
        p9_put64(&r->out, 0);
    return 0;
}

struct change {
    uint32_t valid, mode, uid, gid;
    uint64_t size;
    struct timespec times[2];
};

static void get_change(struct req *r, struct change *c)
{
    c->valid = p9_get32(&r->in);
    c->mode = p9_get32(&r->in);
    c->uid = p9_get32(&r->in);
    c->gid = p9_get32(&r->in);
    c->size = p9_get64(&r->in);
    for (int i = 0; i < 2; i++) {
        c->times[i].tv_sec = (time_t)p9_get64(&r->in);
        c->times[i].tv_nsec = (long)p9_get64(&r->in);
    }
}

/* By the fid's own file if that is open for writing: it may be of a mode that would not let it be opened again. */
static int set_size(struct req *r, struct fid *f, struct where *w, uint64_t size)
{
    struct stat st;
    int fd, rc;

    if (size > INT64_MAX)
        return -EFBIG;
    pthread_mutex_lock(&f->lock);
    fd = f->kind == FID_FILE && f->writable ? f->io : -1;
    pthread_mutex_unlock(&f->lock);
    if (fd >= 0)
        return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
    rc = viv_share_stat(&r->p->attrs, &w->file, &st);
    if (!rc && !S_ISREG(st.st_mode))
        rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (rc < 0)
        return rc;
    fd = viv_share_reopen(r->p->tree, w->file.fd, O_WRONLY);
    if (fd < 0)
        return fd;
    rc = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int set_times(struct where *w, struct change *c)
{
    static const unsigned asked[2] = {SET_ATIME, SET_MTIME}, given[2] = {SET_ATIME_SET, SET_MTIME_SET};
    struct viv_share_path p;

    for (int i = 0; i < 2; i++) {
        if (!(c->valid & asked[i]))
            c->times[i].tv_nsec = UTIME_OMIT;
        else if (!(c->valid & given[i]))
            c->times[i].tv_nsec = UTIME_NOW;
        else if (c->times[i].tv_nsec < 0 || c->times[i].tv_nsec > 999999999)
            return -EINVAL;
    }
    if (!utimensat(w->file.fd, "", c->times, AT_EMPTY_PATH))
        return 0;
    if (errno != EINVAL && errno != ENOENT)
        return -errno;
    p = viv_share_path(w->file.fd); /* before Linux 5.8 */
    return utimensat(AT_FDCWD, p.text, c->times, 0) < 0 ? -errno : 0;
}

/* Size (which clears set-id bits by itself), then who and how, then times. */
static int set_all(struct req *r, struct fid *f, struct where *w, struct change *c)
{
    struct stat st = {.st_uid = c->uid, .st_gid = c->gid}, now;
    unsigned parts = (c->valid & SET_UID ? VIV_SHARE_UID : 0) | (c->valid & SET_GID ? VIV_SHARE_GID : 0);
    int rc = 0;

    if (c->valid & SET_SIZE)
        rc = set_size(r, f, w, c->size);
    if (!rc && c->valid & SET_MODE) {
        rc = viv_share_stat(&r->p->attrs, &w->file, &now);
        st.st_mode = (now.st_mode & S_IFMT) | (c->mode & 07777);
        parts |= VIV_SHARE_MODE;
    }
    if (!rc && parts)
        rc = viv_share_set(&r->p->attrs, &w->file, &st, parts, false);
    if (!rc && c->valid & (SET_ATIME | SET_MTIME))
        rc = set_times(w, c);
    else if (!rc && c->valid & SET_CTIME && !parts && !(c->valid & SET_SIZE) &&
             fchownat(w->file.fd, "", -1, -1, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
        rc = -errno;
    return rc;
}

int p9_setattr(struct req *r)
{
    uint32_t number = p9_get32(&r->in);
    struct change c;
    struct where w;
    struct fid *f;
    int rc;

    get_change(r, &c);
    if (r->in.bad)
        return -EINVAL;
    rc = begin(r, number, &f, &w);
    if (rc < 0)
        return rc;
    rc = set_all(r, f, &w, &c);
    end(r, f, &w);
    return rc;
}

/* A link of the host's, or what stands for one in the mapped models. */
static ssize_t read_link(struct req *r, struct where *w, char *buf, size_t size)
{
    struct stat st, host;
    ssize_t n;
    int fd, rc = viv_share_stat(&r->p->attrs, &w->file, &st);

    if (!rc && fstatat(w->file.fd, "", &host, AT_EMPTY_PATH) < 0)
        rc = -errno;
    if (rc < 0)
        return rc;
    if (S_ISLNK(host.st_mode)) {
        n = readlinkat(w->file.fd, "", buf, size);
        return n < 0 ? -errno : n;
    }
    if (!S_ISLNK(st.st_mode))
        return -EINVAL;
    fd = viv_share_reopen(r->p->tree, w->file.fd, O_RDONLY);
    if (fd < 0)
        return fd;
    n = pread(fd, buf, size, 0);
    rc = n < 0 ? -errno : 0;
    close(fd);
    return rc < 0 ? rc : n;
}

int p9_readlink(struct req *r)
{
    uint32_t number = p9_get32(&r->in);
    char target[PATH_MAX];
    struct where w;
    struct fid *f;
    ssize_t n;
    int rc;

    if (r->in.bad)
        return -EINVAL;
    rc = begin(r, number, &f, &w);
    if (rc < 0)
        return rc;
    n = read_link(r, &w, target, sizeof(target));
    end(r, f, &w);
    if (n < 0)
        return (int)n;
    if (n >= PATH_MAX || memchr(target, 0, n))
        return -EINVAL;
    p9_put_str(&r->out, target, n);
    return 0;
}

int p9_statfs(struct req *r)
{
    uint32_t number = p9_get32(&r->in);
    struct statfs s;
    struct where w;
    struct fid *f;
    uint64_t id;
    int rc;

    if (r->in.bad)
        return -EINVAL;
    rc = begin(r, number, &f, &w);
    if (rc < 0)
        return rc;
    rc = fstatfs(w.file.fd, &s) < 0 ? -errno : 0;
    end(r, f, &w);
    if (rc < 0)
        return rc;
    memcpy(&id, &s.f_fsid, sizeof(id));
    p9_put32(&r->out, (uint32_t)s.f_type);
    p9_put32(&r->out, (uint32_t)s.f_bsize);
    p9_put64(&r->out, s.f_blocks);
    p9_put64(&r->out, s.f_bfree);
    p9_put64(&r->out, s.f_bavail);
    p9_put64(&r->out, s.f_files);
    p9_put64(&r->out, s.f_ffree);
    p9_put64(&r->out, id);
    p9_put32(&r->out, s.f_namelen > VIV_SHARE_NAME_MAX ? VIV_SHARE_NAME_MAX : (uint32_t)s.f_namelen);
    return 0;
}
