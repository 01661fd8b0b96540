/* What the kernel asks about the one file that the export is. The file is the root of its file system; it has the size of the
 * disk, and keeps it when it is opened with O_TRUNC (the kernel leaves that to us): all of it reads as zeroes then, as programs
 * that leave out the holes of what they copy rely on. */
#include "export/fuse_int.h"

#include "block/graph.h"

#include "base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define ATTR_SECONDS 1.0 /* the size may change by other exports of the node */

static struct viv_fuse *self(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static void reply(fuse_req_t req, int ret)
{
    fuse_reply_err(req, -ret);
}

static void op_init(void *opaque, struct fuse_conn_info *conn)
{
    conn->max_read = VIV_FUSE_IO_MAX; /* as the mount option says */
    conn->max_write = MIN(conn->max_write, VIV_FUSE_IO_MAX);
    conn->max_readahead = MIN(conn->max_readahead, VIV_FUSE_IO_MAX);
}

/* --- attributes --- */

static void fill_attr(struct viv_fuse *f, struct stat *st)
{
    *st = (struct stat){.st_ino = FUSE_ROOT_ID, .st_nlink = 1, .st_blksize = 4096};
    pthread_mutex_lock(&f->lock);
    st->st_mode = S_IFREG | f->mode;
    st->st_uid = f->uid;
    st->st_gid = f->gid;
    pthread_mutex_unlock(&f->lock);
    st->st_atime = st->st_mtime = st->st_ctime = time(NULL); /* a disk does not tell */
    st->st_size = viv_blk_size(f->x->blk);
    st->st_blocks = (st->st_size + 511) / 512;
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;

    fill_attr(self(req), &st);
    fuse_reply_attr(req, &st, ATTR_SECONDS);
}

/* f->lock held. */
static int resize(struct viv_fuse *f, uint64_t size)
{
    int ret = -EBUSY; /* others count on its size */

    if (size == viv_blk_size(f->x->blk))
        return 0;
    if (!f->x->writable)
        return -EACCES;
    if (size > INT64_MAX)
        return -EFBIG;
    viv_graph_enter(); /* it stays that node, and open */
    if (!viv_node_is_shared(viv_blk_node(f->x->blk)))
        ret = viv_blk_truncate(f->x->blk, size, NULL);
    viv_graph_leave();
    return ret;
}

static int set_attr(struct viv_fuse *f, const struct stat *st, int what)
{
    const int known = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME |
                      FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;

    if (what & ~known)
        return -ENOTSUP;
    if ((what & FUSE_SET_ATTR_MODE) && !f->x->writable && (st->st_mode & 0222))
        return -EROFS;
    if (what & FUSE_SET_ATTR_SIZE) {
        int ret = resize(f, st->st_size);

        if (ret)
            return ret;
    }
    if (what & FUSE_SET_ATTR_MODE)
        f->mode = st->st_mode & 0777;
    if (what & FUSE_SET_ATTR_UID)
        f->uid = st->st_uid;
    if (what & FUSE_SET_ATTR_GID)
        f->gid = st->st_gid;
    return 0;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi)
{
    struct viv_fuse *f = self(req);
    int ret;

    pthread_mutex_lock(&f->lock);
    ret = set_attr(f, st, what);
    pthread_mutex_unlock(&f->lock);
    if (ret)
        reply(req, ret);
    else
        op_getattr(req, ino, fi);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct viv_fuse *f = self(req);
    struct statvfs s = {.f_bsize = 512, .f_frsize = 512, .f_blocks = viv_blk_size(f->x->blk) / 512, .f_files = 1, .f_namemax = 255};

    fuse_reply_statfs(req, &s);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct viv_fuse *f = self(req);
    bool writes = (fi->flags & O_ACCMODE) != O_RDONLY;
    int ret = writes && !f->x->writable ? -EACCES : 0;

    if (!ret && writes && (fi->flags & O_TRUNC))
        ret = viv_blk_pwrite_zeroes(f->x->blk, 0, viv_blk_size(f->x->blk), VIV_BLK_UNMAP);
    if (ret) {
        reply(req, ret);
        return;
    }
    fi->direct_io = 1; /* no cache of the kernel's: others may write the node too */
    pthread_mutex_lock(&f->lock);
    f->opens++;
    pthread_mutex_unlock(&f->lock);
    fuse_reply_open(req, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct viv_fuse *f = self(req);

    pthread_mutex_lock(&f->lock);
    f->opens--;
    pthread_mutex_unlock(&f->lock);
    reply(req, 0);
}

/* --- data --- */

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct viv_fuse *f = self(req);
    uint64_t end = viv_blk_size(f->x->blk), at = offset;
    g_autofree uint8_t *buf = NULL;
    size_t len = at < end ? MIN(MIN(size, VIV_FUSE_IO_MAX), end - at) : 0;
    int ret = 0;

    if (offset < 0)
        ret = -EINVAL;
    else if (len && !(buf = g_try_malloc(len)))
        ret = -ENOMEM;
    else if (len)
        ret = viv_blk_pread(f->x->blk, at, buf, len);
    if (ret)
        reply(req, ret);
    else
        fuse_reply_buf(req, (char *)buf, len);
}

/* Room for [at, at + len): grows the disk where that is allowed; else *len is what fits. */
static int make_room(struct viv_fuse *f, uint64_t at, uint64_t *len)
{
    uint64_t end, size;
    int ret = 0;

    if (!viv_add_u64(at, *len, &end) || end > INT64_MAX)
        return -EFBIG;
    pthread_mutex_lock(&f->lock);
    size = viv_blk_size(f->x->blk);
    if (end > size && f->growable) {
        ret = resize(f, (end + 511) & ~511ull);
        size = viv_blk_size(f->x->blk);
    }
    pthread_mutex_unlock(&f->lock);
    if (ret)
        return ret;
    if (*len && at >= size)
        return -ENOSPC;
    *len = MIN(*len, size - at);
    return 0;
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct viv_fuse *f = self(req);
    uint64_t len = size;
    int ret = offset < 0 ? -EINVAL : f->x->writable ? make_room(f, offset, &len) : -EACCES;

    if (!ret && len)
        ret = viv_blk_pwrite(f->x->blk, offset, buf, len, 0);
    if (ret)
        reply(req, ret);
    else
        fuse_reply_write(req, len);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
    reply(req, viv_blk_flush(self(req)->x->blk));
}

/* close(2) of one of its descriptors. */
static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct viv_fuse *f = self(req);

    reply(req, f->x->writable ? viv_blk_flush(f->x->blk) : 0);
}

/* Holes and zeroes. Reserving room without writing is not promised: -EOPNOTSUPP, and posix_fallocate(3) writes. */
static int allocate(struct viv_fuse *f, int mode, uint64_t at, uint64_t len)
{
    unsigned flags = mode & FALLOC_FL_PUNCH_HOLE ? VIV_BLK_UNMAP : 0;
    uint64_t size = viv_blk_size(f->x->blk);
    int ret;

    if (!f->x->writable)
        return -EACCES;
    if (mode & FALLOC_FL_KEEP_SIZE) {
        if (at >= size)
            return mode & ~FALLOC_FL_KEEP_SIZE ? 0 : -EOPNOTSUPP;
        len = MIN(len, size - at);
    }
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case FALLOC_FL_PUNCH_HOLE:
        if (!(mode & FALLOC_FL_KEEP_SIZE))
            return -EOPNOTSUPP;
        break;
    case FALLOC_FL_ZERO_RANGE:
        ret = make_room(f, at, &len);
        if (ret)
            return ret;
        break;
    default:
        return -EOPNOTSUPP;
    }
    return viv_blk_pwrite_zeroes(f->x->blk, at, len, flags);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t len, struct fuse_file_info *fi)
{
    reply(req, offset < 0 || len <= 0 ? -EINVAL : allocate(self(req), mode, offset, len));
}

/* The first place at or behind `at` that is (data) or is not a hole; *out the disk's end when all that follows is the other
 * kind. */
static int seek(struct viv_blk *b, uint64_t at, bool data, uint64_t *out)
{
    uint64_t size = viv_blk_size(b);

    while (at < size) {
        struct viv_extent e;
        int ret;

        viv_graph_enter();
        ret = viv_node_status(viv_blk_node(b), at, size - at, &e);
        viv_graph_leave();
        if (ret)
            return ret;
        if ((e.kind != VIV_MAP_ZERO) == data || !e.len)
            break;
        at += e.len;
    }
    *out = MIN(at, size);
    return 0;
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
    struct viv_fuse *f = self(req);
    uint64_t size = viv_blk_size(f->x->blk), found = 0;
    int ret;

    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        ret = -EINVAL;
    else if (offset < 0 || offset >= size)
        ret = -ENXIO;
    else
        ret = seek(f->x->blk, offset, whence == SEEK_DATA, &found);
    if (!ret && whence == SEEK_DATA && found >= size)
        ret = -ENXIO;
    if (ret)
        reply(req, ret);
    else
        fuse_reply_lseek(req, found);
}

const struct fuse_lowlevel_ops viv_fuse_ops = {
    .init = op_init,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .statfs = op_statfs,
    .open = op_open,
    .release = op_release,
    .read = op_read,
    .write = op_write,
    .fsync = op_fsync,
    .flush = op_flush,
    .fallocate = op_fallocate,
    .lseek = op_lseek,
};
