/* Open files: lopen, lcreate, read, write, fsync, readdir. */
#include "share/p9_int.h"

#include "bus/virtio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SEGS = VIV_VIRTQ_MAX_SEGS, DIR_CHUNK = 32768, READDIR_MAX = 256 << 10, DIRENT_HEAD = P9_QID_SIZE + 8 + 1 + 2 };

/* Linux's numbers, as the message has them, are this host's. Left out: hints that would change what the descriptor can be used for
 * (O_DIRECT wants aligned memory, which guest pages need not be), and what is the guest's affair. */
static int host_flags(uint32_t flags)
{
    int out = (int)(flags & (O_TRUNC | O_APPEND | O_DSYNC | O_SYNC | O_NOATIME)) | O_CLOEXEC;

    return out | ((flags & O_ACCMODE) == O_ACCMODE ? O_RDWR : (int)(flags & O_ACCMODE));
}

static uint32_t io_unit(const struct viv_p9 *p)
{
    return (p->msize - P9_IO_HEAD) & ~4095u;
}

static int open_file(struct viv_p9 *p, int fd, int flags)
{
    int rc = viv_share_reopen(p->tree, fd, flags);

    if (rc == -EPERM && flags & O_NOATIME) /* for the owner only */
        rc = viv_share_reopen(p->tree, fd, flags & ~O_NOATIME);
    return rc;
}

/* The fid becomes an open one; takes over `io` and, unless NULL, `node`. */
static int become_open(struct viv_p9 *p, struct fid *f, enum fid_kind kind, int io, int flags, struct viv_share_node *node)
{
    struct viv_share_node *old = node;
    int rc = -EBADF;

    pthread_mutex_lock(&f->lock);
    if (f->kind == FID_PATH && !f->gone) {
        f->kind = kind;
        f->io = io;
        f->writable = (flags & O_ACCMODE) != O_RDONLY;
        if (node) {
            old = f->node;
            f->node = node;
        }
        rc = 0;
    }
    pthread_mutex_unlock(&f->lock);
    viv_share_unref(p->tree, old);
    if (rc < 0) {
        close(io);
        p9_open_end(p);
    }
    return rc;
}

/* Types as the guest sees them: a device of a mapped model is no file to read. */
static int open_node(struct req *r, struct viv_share_node *node, uint32_t asked, enum fid_kind *kind, struct p9_qid *q, int *flags)
{
    struct viv_p9 *p = r->p;
    struct where w;
    struct stat st;
    int rc = p9_where(p, node, &w);

    if (rc < 0)
        return rc;
    *flags = host_flags(asked);
    rc = viv_share_stat(&p->attrs, &w.file, &st);
    if (!rc)
        rc = p9_qid(p, &st, q);
    if (!rc && S_ISDIR(st.st_mode)) {
        *kind = FID_DIR;
        *flags = O_RDONLY | O_DIRECTORY;
        rc = asked & O_ACCMODE ? -EISDIR : 0;
    } else if (!rc) {
        *kind = FID_FILE;
        rc = S_ISLNK(st.st_mode) ? -ELOOP : !S_ISREG(st.st_mode) ? -ENXIO : asked & O_DIRECTORY ? -ENOTDIR : 0;
        if (!rc && p->dev->readonly && (*flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY)
            rc = -EROFS;
    }
    p9_where_unlock(p, &w); /* to open it may take long: somebody may have a lease on it */
    if (!rc)
        rc = open_file(p, w.file.fd, *flags);
    p9_where_end(p, &w);
    return rc;
}

int p9_lopen(struct req *r)
{
    uint32_t number = p9_get32(&r->in), asked = p9_get32(&r->in);
    struct viv_share_node *node;
    struct p9_qid q;
    struct fid *f;
    enum fid_kind kind;
    int io, flags, rc;

    if (r->in.bad)
        return -EINVAL;
    f = p9_fid_get(r->p, number);
    if (!f)
        return -EBADF;
    rc = p9_open_begin(r->p);
    if (!rc) {
        node = p9_fid_node(r->p, f);
        io = open_node(r, node, asked, &kind, &q, &flags);
        viv_share_unref(r->p->tree, node);
        if (io < 0)
            p9_open_end(r->p);
        rc = io < 0 ? io : become_open(r->p, f, kind, io, flags, NULL);
    }
    p9_fid_put(r->p, f);
    if (!rc) {
        p9_put_qid(&r->out, &q);
        p9_put32(&r->out, io_unit(r->p));
    }
    return rc;
}

/* ---- create ---- */

/* The new file is made with O_EXCL, so that what gets an owner and a mode is ours. */
static int make_file(struct viv_p9 *p, const struct viv_share_file *at, const struct stat *st, int flags)
{
    struct viv_share_file f = *at;
    int io = openat(at->dir, at->name, flags | O_CREAT | O_EXCL | O_NOFOLLOW, viv_share_mapped(&p->attrs) ? p->attrs.fmode : 0600), rc;

    if (io < 0)
        return -errno;
    f.fd = io;
    viv_share_forget(&p->attrs, at->dir, at->name);
    rc = viv_share_set(&p->attrs, &f, st, VIV_SHARE_UID | VIV_SHARE_GID | VIV_SHARE_MODE, true);
    if (rc < 0) {
        unlinkat(at->dir, at->name, 0);
        viv_share_forget(&p->attrs, at->dir, at->name);
        close(io);
        return rc;
    }
    return io;
}

/* A file of the name that came about since the guest looked is opened, as open(2) would. */
static int create_at(struct req *r, struct viv_share_node *dir, const char *name, const struct stat *st, uint32_t asked,
                     struct viv_share_node **node)
{
    struct viv_p9 *p = r->p;
    struct viv_share_file at = {.dir = viv_share_use(p->tree, dir), .name = name};
    int io, copy;

    if (at.dir < 0)
        return at.dir;
    pthread_mutex_lock(&p->attrs.lock);
    io = make_file(p, &at, st, host_flags(asked) & ~(O_TRUNC | O_NOATIME));
    pthread_mutex_unlock(&p->attrs.lock);
    viv_share_done(p->tree, dir);
    if (io >= 0) {
        copy = fcntl(io, F_DUPFD_CLOEXEC, 0);
        if (copy < 0 || viv_share_adopt(p->tree, dir, name, copy, node) < 0) {
            close(io);
            return -EMFILE;
        }
    } else if (io == -EEXIST && !(asked & O_EXCL)) {
        enum fid_kind kind;
        struct p9_qid q;
        int flags;

        io = viv_share_child(p->tree, dir, name, node);
        if (!io) {
            io = open_node(r, *node, asked, &kind, &q, &flags);
            if (io >= 0 && kind != FID_FILE) {
                close(io);
                io = -EISDIR;
            }
            if (io < 0)
                viv_share_unref(p->tree, *node);
        }
    }
    return io;
}

static int create_in(struct req *r, struct fid *f, const char *name, const struct stat *st, uint32_t asked, struct p9_qid *q)
{
    struct viv_share_node *dir = p9_fid_node(r->p, f), *node;
    struct stat now;
    int io = create_at(r, dir, name, st, asked, &node), rc;

    viv_share_unref(r->p->tree, dir);
    if (io < 0) {
        p9_open_end(r->p);
        return io;
    }
    rc = p9_node_stat(r->p, node, &now);
    if (!rc)
        rc = p9_qid(r->p, &now, q);
    if (rc < 0) {
        viv_share_unref(r->p->tree, node);
        close(io);
        p9_open_end(r->p);
        return rc;
    }
    return become_open(r->p, f, FID_FILE, io, host_flags(asked), node);
}

int p9_lcreate(struct req *r)
{
    uint32_t number = p9_get32(&r->in), asked;
    const char *name = p9_get_str(&r->in);
    struct stat st = {0};
    struct p9_qid q;
    struct fid *f;
    int rc;

    asked = p9_get32(&r->in);
    st.st_mode = S_IFREG | (p9_get32(&r->in) & 07777);
    st.st_gid = p9_get32(&r->in);
    if (r->in.bad)
        return -EINVAL;
    rc = p9_name_ok(name);
    if (rc < 0 || viv_share_hidden(&r->p->attrs, name))
        return rc < 0 ? rc : -EINVAL;
    f = p9_fid_get(r->p, number);
    if (!f)
        return -EBADF;
    st.st_uid = f->uid;
    rc = p9_open_begin(r->p);
    if (!rc)
        rc = create_in(r, f, name, &st, asked, &q);
    p9_fid_put(r->p, f);
    if (!rc) {
        p9_put_qid(&r->out, &q);
        p9_put32(&r->out, io_unit(r->p));
    }
    return rc;
}

/* ---- read and write ---- */

/* The bytes behind the head of the answer, or of a write, without a copy. */
static int data_part(struct iovec *part, const struct iovec *iov, int n, size_t head, size_t len)
{
    return viv_iov_cut(part, iov, n, head, len);
}

static ssize_t read_xattr(struct req *r, struct fid *f, uint64_t offset, uint32_t count)
{
    if (offset >= f->size)
        return 0;
    if (count > f->size - offset)
        count = (uint32_t)(f->size - offset);
    return (ssize_t)viv_iov_from_buf(r->reply, r->reply_n, P9_DATA_HEAD, f->data + offset, count);
}

static ssize_t read_file(struct req *r, struct fid *f, uint64_t offset, uint32_t count)
{
    struct iovec part[SEGS];
    int n = data_part(part, r->reply, r->reply_n, P9_DATA_HEAD, count);
    ssize_t got;

    do {
        got = n ? preadv(f->io, part, n, (off_t)offset) : 0;
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static enum fid_kind kind_of(struct fid *f)
{
    enum fid_kind kind;

    pthread_mutex_lock(&f->lock);
    kind = f->kind;
    pthread_mutex_unlock(&f->lock);
    return kind;
}

/* No more than fits the message and the guest's buffers. */
static uint32_t bounded(const struct req *r, uint32_t count)
{
    uint64_t room = r->room - P9_DATA_HEAD;

    if (room > r->p->msize - P9_DATA_HEAD)
        room = r->p->msize - P9_DATA_HEAD;
    return count < room ? count : (uint32_t)room;
}

int p9_read(struct req *r)
{
    uint32_t number = p9_get32(&r->in), count;
    uint64_t offset = p9_get64(&r->in);
    struct fid *f;
    ssize_t n = -EBADF;

    count = bounded(r, p9_get32(&r->in));
    if (r->in.bad || offset > INT64_MAX - count)
        return -EINVAL;
    f = p9_fid_get(r->p, number);
    if (f && kind_of(f) == FID_XATTR_READ)
        n = read_xattr(r, f, offset, count);
    else if (f && kind_of(f) == FID_FILE)
        n = read_file(r, f, offset, count);
    p9_fid_put(r->p, f);
    if (n < 0)
        return (int)n;
    p9_put32(&r->out, (uint32_t)n);
    r->data = n;
    return 0;
}

static ssize_t write_xattr(struct req *r, struct fid *f, uint64_t offset, uint32_t count)
{
    ssize_t n = -ENOSPC;

    pthread_mutex_lock(&f->lock);
    if (offset == f->filled && count <= f->size - f->filled) {
        n = (ssize_t)viv_iov_to_buf(r->msg, r->msg_n, P9_WRITE_HEAD, f->data + f->filled, count);
        f->filled += n;
    }
    pthread_mutex_unlock(&f->lock);
    return n;
}

static ssize_t write_file(struct req *r, struct fid *f, uint64_t offset, uint32_t count)
{
    struct iovec part[SEGS];
    int n = data_part(part, r->msg, r->msg_n, P9_WRITE_HEAD, count);
    ssize_t put;

    do {
        put = n ? pwritev(f->io, part, n, (off_t)offset) : 0;
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

int p9_write(struct req *r)
{
    uint32_t number = p9_get32(&r->in), count;
    uint64_t offset = p9_get64(&r->in);
    struct fid *f;
    ssize_t n = -EBADF;

    count = p9_get32(&r->in);
    if (r->in.bad || offset > INT64_MAX || r->msg_len < P9_WRITE_HEAD || count > r->msg_len - P9_WRITE_HEAD)
        return -EINVAL;
    f = p9_fid_get(r->p, number);
    if (f && kind_of(f) == FID_XATTR_WRITE)
        n = write_xattr(r, f, offset, count);
    else if (f && kind_of(f) == FID_FILE)
        n = write_file(r, f, offset, count);
    p9_fid_put(r->p, f);
    if (n < 0)
        return (int)n;
    p9_put32(&r->out, (uint32_t)n);
    return 0;
}

int p9_fsync(struct req *r)
{
    uint32_t number = p9_get32(&r->in), data_only = r->in.left ? p9_get32(&r->in) : 0;
    struct fid *f;
    int rc = -EBADF;

    if (r->in.bad)
        return -EINVAL;
    f = p9_fid_get(r->p, number);
    if (f && (kind_of(f) == FID_FILE || kind_of(f) == FID_DIR))
        rc = (data_only ? fdatasync(f->io) : fsync(f->io)) < 0 ? -errno : 0;
    p9_fid_put(r->p, f);
    return rc;
}

/* ---- readdir ---- */

struct linux_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    uint16_t d_reclen;
    uint8_t d_type;
    char d_name[];
};

/* In the mapped models a plain file of the host may be anything, a folder is one. */
static uint8_t entry_type(const struct viv_p9 *p, uint8_t type)
{
    return viv_share_mapped(&p->attrs) && type == DT_REG ? DT_UNKNOWN : type;
}

struct listing {
    struct p9_out out;
    size_t room;
    dev_t dev;
    bool root; /* ".." of the shared folder is itself */
    ino_t own;
};

/* False: no room. */
static bool put_entry(struct viv_p9 *p, struct listing *l, const struct linux_dirent64 *d)
{
    size_t len = strlen(d->d_name);
    uint8_t type = entry_type(p, d->d_type);
    struct p9_qid q = {.type = p9_qid_type(DTTOIF(d->d_type))};
    ino_t ino = l->root && !strcmp(d->d_name, "..") ? l->own : (ino_t)d->d_ino;

    if (len > VIV_SHARE_NAME_MAX || viv_share_hidden(&p->attrs, d->d_name))
        return true;
    if (l->room - l->out.len < DIRENT_HEAD + len)
        return false;
    if (p9_qid_path(p, l->dev, ino, &q.path) < 0)
        return true;
    p9_put_qid(&l->out, &q);
    p9_put64(&l->out, (uint64_t)d->d_off);
    p9_put8(&l->out, type);
    p9_put_str(&l->out, d->d_name, len);
    return true;
}

/* From a position that an earlier answer gave; the descriptor's own is not trusted to be there. */
static int list(struct viv_p9 *p, int fd, uint64_t offset, struct listing *l)
{
    _Alignas(8) uint8_t buf[DIR_CHUNK];
    bool full = false;

    if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
        return -errno;
    while (!full) {
        size_t left = l->room - l->out.len + 512; /* no use in reading many more than there is room for */
        long n = syscall(SYS_getdents64, fd, buf, left < sizeof(buf) ? left : sizeof(buf));

        if (n < 0)
            return l->out.len ? 0 : -errno;
        if (!n)
            return 0;
        for (long at = 0; at < n && !full;) {
            const struct linux_dirent64 *d = (const struct linux_dirent64 *)(buf + at);

            full = !put_entry(p, l, d);
            at += d->d_reclen;
        }
    }
    return l->out.len ? 0 : -EINVAL; /* not even one fits */
}

static int list_fid(struct req *r, struct fid *f, uint64_t offset, struct listing *l)
{
    struct viv_share_node *node = p9_fid_node(r->p, f);
    int rc = -EBADF;

    viv_share_identity(node, &l->dev, &l->own);
    l->root = viv_share_is_root(r->p->tree, node);
    viv_share_unref(r->p->tree, node);
    pthread_mutex_lock(&f->lock);
    if (f->kind == FID_DIR)
        rc = list(r->p, f->io, offset, l);
    pthread_mutex_unlock(&f->lock);
    return rc;
}

int p9_readdir(struct req *r)
{
    uint32_t number = p9_get32(&r->in);
    uint64_t offset = p9_get64(&r->in);
    struct listing l = {.room = bounded(r, p9_get32(&r->in))};
    struct fid *f;
    int rc;

    if (r->in.bad || offset > INT64_MAX)
        return -EINVAL;
    if (l.room > READDIR_MAX)
        l.room = READDIR_MAX;
    f = p9_fid_get(r->p, number);
    if (!f)
        return -EBADF;
    l.out.p = g_try_malloc(l.room ? l.room : 1);
    rc = l.out.p ? list_fid(r, f, offset, &l) : -ENOMEM;
    p9_fid_put(r->p, f);
    if (!rc) {
        p9_put32(&r->out, (uint32_t)l.out.len);
        r->data = viv_iov_from_buf(r->reply, r->reply_n, P9_DATA_HEAD, l.out.p, l.out.len);
    }
    g_free(l.out.p);
    return rc;
}
