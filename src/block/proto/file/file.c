/* Host files and block devices by plain system calls in the caller's thread.
 *
 * Reads past the end give zeroes. O_DIRECT (cache.direct) wants offset, length and memory aligned; what is not
 * goes through a bounce buffer, where a write that covers part of a block reads the rest first, under
 * a lock. */
#include "block/proto/file/file_int.h"
#include "block/iov.h"
#include "block/proto/file/lock.h"
#include "block/proto/file/passed.h"

#include "base/checked.h"
#include "base/log.h"
#include "host/fdset.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

struct file {
    int fd;
    int lock_fd; /* has the locks; fd, until the file is opened once more for other rights */
    struct viv_node_opts locks; /* how they were taken */
    struct viv_file_passed *passed; /* NULL: it has a name of its own */
    bool device;
    bool no_zero_range, no_punch; /* the file system said so */
    bool no_try[2];               /* so too: cannot tell whether a read or a write (1) would wait */
    bool memory;                  /* a file system without a disk */
    unsigned align;               /* 1 without O_DIRECT */
    pthread_mutex_t edge;         /* read-modify-write of blocks with O_DIRECT; before `tail` */
    pthread_rwlock_t tail;        /* shared by those who write behind the end, for who sets the length would cut off what they wrote */
    /* The last piece of data between two holes that was found: looking for a hole walks over all of it. Stale it does no harm, for data is
     * what one may call anything; holes that we make forget it. */
    pthread_mutex_t seen_lock;
    uint64_t seen_start, seen_end;
    struct viv_discards discards; /* atomic */
    enum viv_sharing sharing;     /* what the locks say */
};

static uint64_t seen_data(struct file *f, uint64_t offset)
{
    uint64_t end;

    pthread_mutex_lock(&f->seen_lock);
    end = offset >= f->seen_start && offset < f->seen_end ? f->seen_end : 0;
    pthread_mutex_unlock(&f->seen_lock);
    return end;
}

static void set_seen(struct file *f, uint64_t start, uint64_t end)
{
    pthread_mutex_lock(&f->seen_lock);
    f->seen_start = start;
    f->seen_end = end;
    pthread_mutex_unlock(&f->seen_lock);
}

static int seek_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct file *f = n->state;
    uint64_t end = seen_data(f, offset);
    off_t data, hole;

    *out = (struct viv_extent){VIV_MAP_DATA, len, offset, true, true};
    if (offset >= viv_node_size(n)) {
        out->kind = VIV_MAP_ZERO;
        out->allocated = false;
        return 0;
    }
    if (f->device)
        return 0;
    if (end) {
        out->len = MIN(len, end - offset);
        return 0;
    }
    data = lseek(f->fd, offset, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return 0; /* cannot tell: all data */
    if (data < 0 || (uint64_t)data > offset) {
        out->kind = VIV_MAP_ZERO;
        out->allocated = false;
        if (data > 0)
            out->len = MIN(len, (uint64_t)data - offset);
        return 0;
    }
    hole = lseek(f->fd, offset, SEEK_HOLE);
    if (hole > 0 && (uint64_t)hole > offset) {
        out->len = MIN(len, (uint64_t)hole - offset);
        set_seen(f, offset, hole);
    }
    return 0;
}

/* All of it or an error; reading ends early at the end of the file, which with O_DIRECT is where less than a block came: reading on from
 * there is an error as soon as somebody has made the file longer. Returns bytes or -errno. */
static ssize_t move_all(const struct file *f, bool write, uint64_t offset, struct iovec *v, int cnt)
{
    ssize_t total = 0;

    while (cnt) {
        int batch = MIN(cnt, IOV_MAX);
        ssize_t n = write ? pwritev(f->fd, v, batch, offset) : preadv(f->fd, v, batch, offset);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            return write ? -ENOSPC : total;
        total += n;
        offset += n;
        if (!write && !viv_is_aligned(offset, f->align))
            return total;
        while (cnt && (size_t)n >= v->iov_len) {
            n -= v->iov_len;
            v++;
            cnt--;
        }
        if (cnt) {
            v->iov_base = (char *)v->iov_base + n;
            v->iov_len -= n;
        }
    }
    return total;
}

static bool is_direct_ok(const struct file *f, uint64_t offset, const struct iovec *iov, int cnt)
{
    uint64_t bits = offset;

    if (f->align == 1)
        return true;
    for (int i = 0; i < cnt; i++)
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    return viv_is_aligned(bits, f->align);
}

static int read_plain(struct file *f, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct iovec few[16], *v = few;
    ssize_t got;

    if (cnt > (int)G_N_ELEMENTS(few) && !(v = g_try_new(struct iovec, cnt)))
        return -ENOMEM;
    memcpy(v, iov, cnt * sizeof(*v));
    got = move_all(f, false, offset, v, cnt);
    if (v != few)
        g_free(v);
    if (got < 0)
        return got;
    if ((size_t)got < len)
        viv_iov_zero(iov, cnt, got, len - got);
    return 0;
}

/* Aligned bounce buffer that covers the range; *start and *size are its place in the file. */
static void *bounce_new(struct file *f, uint64_t offset, size_t len, uint64_t *start, size_t *size)
{
    void *buf;

    *start = viv_align_down(offset, f->align);
    *size = viv_align_down(offset + len + f->align - 1, f->align) - *start;
    return posix_memalign(&buf, MAX(f->align, sizeof(void *)), *size) ? NULL : buf;
}

static int read_bounced(struct file *f, uint64_t start, void *buf, size_t size)
{
    struct iovec v = {buf, size};
    ssize_t got = move_all(f, false, start, &v, 1);

    if (got < 0)
        return got;
    memset((char *)buf + got, 0, size - got);
    return 0;
}

static int file_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                       size_t len)
{
    struct file *f = n->state;
    uint64_t start;
    size_t size;
    void *buf;
    int ret;

    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return -EINVAL;
    if (is_direct_ok(f, offset, iov, cnt))
        return read_plain(f, offset, iov, cnt, len);
    buf = bounce_new(f, offset, len, &start, &size);
    if (!buf)
        return -ENOMEM;
    ret = read_bounced(f, start, buf, size);
    if (!ret)
        viv_iov_put(iov, cnt, 0, (char *)buf + (offset - start), len);
    free(buf);
    return ret;
}

void viv_file_grew(struct viv_node *n, uint64_t end)
{
    uint64_t old = viv_node_size(n);

    while (end > old && !__atomic_compare_exchange_n(&n->size, &old, end, false, __ATOMIC_RELEASE,
                                                     __ATOMIC_ACQUIRE))
        ;
}

/* Would something that ends there make the file longer? */
static bool is_behind(const struct viv_node *n, uint64_t end)
{
    const struct file *f = n->state;

    return !f->device && end > viv_node_size(n);
}

bool viv_file_tail_lock(struct viv_node *n, uint64_t end)
{
    struct file *f = n->state;
    bool behind = is_behind(n, end);

    if (behind)
        pthread_rwlock_rdlock(&f->tail);
    return behind;
}

void viv_file_tail_unlock(struct viv_node *n, bool locked)
{
    struct file *f = n->state;

    if (locked)
        pthread_rwlock_unlock(&f->tail);
}

/* The rounding must not make the file longer than what was written. `tail` is held alone. */
static int cut_rounding(struct viv_node *n, uint64_t end, uint64_t rounded)
{
    struct file *f = n->state;

    viv_file_grew(n, end);
    end = viv_node_size(n);
    return rounded > end && ftruncate(f->fd, end) < 0 ? -errno : 0;
}

static int write_bounced(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                         size_t len)
{
    struct file *f = n->state;
    uint64_t start;
    size_t size;
    void *buf = bounce_new(f, offset, len, &start, &size);
    struct iovec v = {buf, size};
    bool behind;
    ssize_t ret;

    if (!buf)
        return -ENOMEM;
    pthread_mutex_lock(&f->edge);
    behind = is_behind(n, start + size);
    if (behind)
        pthread_rwlock_wrlock(&f->tail);
    ret = read_bounced(f, start, buf, size);
    if (!ret) {
        viv_iov_take(iov, cnt, 0, (char *)buf + (offset - start), len);
        ret = move_all(f, true, start, &v, 1);
    }
    if (ret >= 0 && behind)
        ret = cut_rounding(n, offset + len, start + size);
    viv_file_tail_unlock(n, behind);
    pthread_mutex_unlock(&f->edge);
    free(buf);
    return ret < 0 ? ret : 0;
}

static int file_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                        size_t len)
{
    struct file *f = n->state;
    struct iovec few[16], *v = few;
    bool behind;
    ssize_t ret;

    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return -EFBIG;
    if (!is_direct_ok(f, offset, iov, cnt))
        return write_bounced(n, offset, iov, cnt, len);
    if (cnt > (int)G_N_ELEMENTS(few) && !(v = g_try_new(struct iovec, cnt)))
        return -ENOMEM;
    memcpy(v, iov, cnt * sizeof(*v));
    behind = viv_file_tail_lock(n, offset + len);
    ret = move_all(f, true, offset, v, cnt);
    if (ret >= 0)
        viv_file_grew(n, offset + len);
    viv_file_tail_unlock(n, behind);
    if (v != few)
        g_free(v);
    return ret < 0 ? ret : 0;
}

static int try_fallocate(struct file *f, int mode, uint64_t offset, uint64_t len)
{
    int ret = 0;

    while (!ret && fallocate(f->fd, mode, offset, len) < 0)
        if (errno != EINTR)
            ret = errno == ENOSYS || errno == EINVAL ? -EOPNOTSUPP : -errno;
    set_seen(f, 0, 0);
    return ret;
}

/* A longer file is zeroes behind its old end, which becomes *old. */
static int lengthen(struct viv_node *n, uint64_t end, uint64_t *old)
{
    struct file *f = n->state;
    int ret = 0;

    pthread_rwlock_wrlock(&f->tail);
    *old = viv_node_size(n);
    if (end > *old && ftruncate(f->fd, end) < 0)
        ret = -errno;
    else
        viv_file_grew(n, end);
    pthread_rwlock_unlock(&f->tail);
    return ret;
}

/* What is done to part of a block must not come between another one's reading and writing that block. */
static bool edge_lock(struct file *f, uint64_t offset, uint64_t len)
{
    bool part = !viv_is_aligned(offset | len, f->align);

    if (part)
        pthread_mutex_lock(&f->edge);
    return part;
}

static void edge_unlock(struct file *f, bool locked)
{
    if (locked)
        pthread_mutex_unlock(&f->edge);
}

static int zero_there(struct file *f, uint64_t offset, uint64_t len, unsigned flags)
{
    int ret = -EOPNOTSUPP;

    if ((flags & VIV_BLK_UNMAP) && !f->no_punch) {
        ret = try_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
        f->no_punch |= ret == -EOPNOTSUPP;
    }
    if (ret == -EOPNOTSUPP && !f->no_zero_range) {
        ret = try_fallocate(f, FALLOC_FL_ZERO_RANGE, offset, len);
        f->no_zero_range |= ret == -EOPNOTSUPP;
    }
    return ret == -EOPNOTSUPP ? -ENOTSUP : ret;
}

static int file_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct file *f = n->state;
    uint64_t end, old;
    bool locked;
    int ret;

    if (!viv_add_u64(offset, len, &end) || end > INT64_MAX)
        return -EFBIG;
    if (is_behind(n, end)) {
        ret = lengthen(n, end, &old);
        if (ret || offset >= old)
            return ret;
        len = MIN(len, old - offset);
    }
    locked = edge_lock(f, offset, len);
    ret = zero_there(f, offset, len, flags);
    edge_unlock(f, locked);
    return ret;
}

static void count_discard(struct file *f, uint64_t len, int ret)
{
    __atomic_add_fetch(ret ? &f->discards.failed : &f->discards.ok, 1, __ATOMIC_RELAXED);
    if (!ret)
        __atomic_add_fetch(&f->discards.bytes, len, __ATOMIC_RELAXED);
}

static void file_discards(const struct viv_node *n, struct viv_discards *out)
{
    const struct file *f = n->state;

    out->ok = __atomic_load_n(&f->discards.ok, __ATOMIC_RELAXED);
    out->failed = __atomic_load_n(&f->discards.failed, __ATOMIC_RELAXED);
    out->bytes = __atomic_load_n(&f->discards.bytes, __ATOMIC_RELAXED);
}

static int file_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct file *f = n->state;
    int ret = -EOPNOTSUPP;
    bool locked;

    if (offset >= viv_node_size(n))
        return 0;
    locked = edge_lock(f, offset, len);
    if (!f->no_punch)
        ret = try_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
    edge_unlock(f, locked);
    count_discard(f, len, ret);
    f->no_punch |= ret == -EOPNOTSUPP;
    return ret == -EOPNOTSUPP ? 0 : ret; /* a hint */
}

static int file_flush(struct viv_node *n)
{
    struct file *f = n->state;

    while (fdatasync(f->fd) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* By fallocate where there is one, else (and for FULL) by writing zeroes. */
static int file_preallocate(struct viv_node *n, uint64_t offset, uint64_t len,
                            enum viv_prealloc how)
{
    struct file *f = n->state;
    size_t chunk = MIN(len, 1u << 20);
    uint8_t *zero;
    int ret = 0;

    if (how == VIV_PREALLOC_FALLOC && len &&
        (ret = try_fallocate(f, 0, offset, len)) != -EOPNOTSUPP) {
        if (!ret)
            viv_file_grew(n, offset + len);
        return ret;
    }
    zero = g_try_malloc0(chunk);
    ret = zero ? 0 : -ENOMEM;
    while (len && !ret) {
        struct iovec v = {zero, MIN(len, chunk)};

        ret = file_pwritev(n, offset, &v, 1, v.iov_len);
        offset += v.iov_len;
        len -= v.iov_len;
    }
    g_free(zero);
    return ret;
}

/* ext4 takes a file that is cut to nothing for one that is being replaced, and its close() then has all of it written: a new one,
 * which is empty already, is left alone. */
static bool is_empty(const struct file *f)
{
    struct stat st;

    return fstat(f->fd, &st) == 0 && st.st_size == 0;
}

static int set_length(struct viv_node *n, uint64_t size)
{
    struct file *f = n->state;
    int ret = 0;

    pthread_rwlock_wrlock(&f->tail);
    if ((size || !is_empty(f)) && ftruncate(f->fd, size) < 0)
        ret = -errno;
    else
        __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
    pthread_rwlock_unlock(&f->tail);
    return ret;
}

static int file_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                         struct viv_err *err)
{
    struct file *f = n->state;
    uint64_t old = viv_node_size(n);
    int ret;

    if (size > INT64_MAX)
        return viv_fail(err, EFBIG, "'%s': %llu bytes are more than a file can hold", n->filename,
                        (unsigned long long)size);
    if (f->device)
        return size <= old
                   ? 0
                   : viv_fail(err, ENOSPC, "'%s' is a device of %llu bytes and cannot grow to %llu",
                              n->filename, (unsigned long long)old, (unsigned long long)size);
    ret = set_length(n, size);
    if (ret)
        return viv_fail_os(err, -ret, "cannot make '%s' %llu bytes long", n->filename,
                           (unsigned long long)size);
    set_seen(f, 0, 0);
    if (prealloc == VIV_PREALLOC_OFF || prealloc == VIV_PREALLOC_METADATA)
        return 0;
    ret = size > old ? file_preallocate(n, old, size - old, prealloc) : 0;
    if (ret)
        viv_fail_os(err, -ret, "cannot allocate %llu bytes for '%s'",
                    (unsigned long long)(size - MIN(size, old)), n->filename);
    return ret;
}

static int file_close(struct viv_node *n)
{
    struct file *f = n->state;
    int ret;

    if (viv_file_passed_free(f->passed))
        viv_file_unlock(f->lock_fd);
    ret = close(f->fd) < 0 && errno != EINTR ? -errno : 0;
    if (f->lock_fd != f->fd)
        close(f->lock_fd);
    pthread_mutex_destroy(&f->edge);
    pthread_rwlock_destroy(&f->tail);
    pthread_mutex_destroy(&f->seen_lock);
    g_free(f);
    n->state = NULL;
    return ret;
}

static unsigned direct_align(int fd, bool device)
{
    int block = 0;
#ifdef STATX_DIOALIGN
    struct statx sx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 && (sx.stx_mask & STATX_DIOALIGN) &&
        sx.stx_dio_offset_align)
        return MAX(sx.stx_dio_offset_align, sx.stx_dio_mem_align);
#endif
    if (device && ioctl(fd, BLKSSZGET, &block) == 0 && block > 0 && !(block & (block - 1)))
        return block;
    return 4096;
}

static int get_size(int fd, const char *path, uint64_t *size, bool *device, struct viv_err *err)
{
    struct stat st;
    uint64_t bytes;

    if (fstat(fd, &st) < 0)
        return viv_fail_os(err, errno, "cannot stat '%s'", path);
    *device = S_ISBLK(st.st_mode);
    if (S_ISREG(st.st_mode)) {
        *size = st.st_size;
        return 0;
    }
    if (*device && ioctl(fd, BLKGETSIZE64, &bytes) == 0) {
        *size = bytes;
        return 0;
    }
    if (*device)
        return viv_fail_os(err, errno, "cannot tell the size of device '%s'", path);
    return viv_fail(err, EINVAL, "'%s' is %s, not a regular file or a block device", path,
                    S_ISDIR(st.st_mode) ? "a directory" : "a special file");
}

static enum viv_sharing first_sharing(const struct viv_node_opts *o)
{
    return o->loose ? VIV_SHARING_IDLE : o->share_write ? VIV_SHARING_SHARED : VIV_SHARING_ALONE;
}

/* `resizes`: a tool's, which may do all and lets others do so. */
static struct viv_file_rights rights(enum viv_sharing s, bool read_only, bool resizes)
{
    struct viv_file_rights r = {VIV_PERM_READ, VIV_PERM_READ};

    if (s != VIV_SHARING_IDLE && !read_only)
        r.perms |= VIV_PERM_WRITE;
    if (s != VIV_SHARING_IDLE && !read_only && (s == VIV_SHARING_ALONE || resizes))
        r.perms |= VIV_PERM_RESIZE;
    if (s != VIV_SHARING_ALONE)
        r.shared |= VIV_PERM_WRITE | VIV_PERM_RESIZE;
    return r;
}

static int take_locks(int fd, const char *path, const struct viv_node_opts *o, enum viv_sharing s, bool more, struct viv_err *err)
{
    const struct viv_file_rights r = rights(s, o->read_only, o->share_write);
    struct viv_err own = VIV_ERR_INIT;
    int ret;

    if (o->locking == VIV_LOCKING_OFF || o->force_share)
        return 0;
    ret = (more ? viv_file_lock_more : viv_file_lock)(fd, path, r.perms, r.shared, &own);
    if (ret == -ENOTSUP && o->locking == VIV_LOCKING_AUTO) {
        viv_warn(
            "%s: no other process is kept from opening it (locking=off says that this is known)",
            own.text);
        return 0;
    }
    return ret ? viv_fail(err, own.code, "%s", own.text) : 0;
}

int viv_file_from_fd(int fd, const char *path, const struct viv_node_opts *o, struct viv_node **out,
                     struct viv_err *err)
{
    struct viv_node *n;
    struct statfs fs;
    struct file *f;
    struct viv_file_passed *passed = NULL;
    uint64_t size = 0;
    bool device = false;
    int ret = get_size(fd, path, &size, &device, err);

    if (!ret && o->aio == VIV_AIO_NATIVE && !o->direct)
        ret = viv_fail(err, EINVAL, "'%s': aio=native was specified, but it requires cache.direct=on, which was not specified; aio=io_uring "
                       "works with any cache", path);
    if (!ret)
        ret = viv_file_passed_new(fd, path, !o->read_only && !o->loose, o->share_write || o->loose, o->locking != VIV_LOCKING_OFF && !o->force_share, &passed, err);
    if (!ret)
        ret = take_locks(fd, path, o, first_sharing(o), false, err);
    if (ret) {
        viv_file_passed_free(passed);
        close(fd);
        return ret;
    }
    n = viv_node_new(&viv_blk_file, path);
    f = g_new0(struct file, 1);
    f->fd = f->lock_fd = fd;
    f->passed = passed;
    f->locks = (struct viv_node_opts){.locking = o->locking, .force_share = o->force_share, .share_write = o->share_write};
    f->sharing = first_sharing(o);
    f->device = device;
    f->align = o->direct ? direct_align(fd, device) : 1;
    f->memory = !device && fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    pthread_mutex_init(&f->edge, NULL);
    pthread_rwlock_init(&f->tail, NULL);
    pthread_mutex_init(&f->seen_lock, NULL);
    n->state = f;
    n->size = size;
    n->read_only = o->read_only;
    n->direct = o->direct;
    n->no_flush = o->no_flush;
    n->aio = o->aio;
    n->unmap = true; /* the format above decides */
    n->zero_init = !device;
    *out = n;
    return 0;
}

static int change_passed(const struct viv_node *n, enum viv_sharing s, bool read_only, struct viv_err *err)
{
    const struct file *f = n->state;

    return f->passed ? viv_file_passed_change(f->passed, n->filename, !read_only && s != VIV_SHARING_IDLE, s != VIV_SHARING_ALONE, err) : 0;
}

/* The rights that the locks speak of. On failure they are as they were. There is no moment without those that stay. */
static int change_locks(struct viv_node *n, bool read_only, struct viv_err *err)
{
    struct file *f = n->state;
    struct viv_node_opts now = f->locks;
    int ret = change_passed(n, f->sharing, read_only, err);

    if (!ret && !read_only)
        ret = take_locks(f->lock_fd, n->filename, &now, f->sharing, true, err);
    else if (!ret)
        viv_file_unlock_writes(f->lock_fd);
    if (ret)
        change_passed(n, f->sharing, !read_only, NULL);
    return ret;
}

/* Where files cannot be locked, opening has said so. */
static int file_settle(struct viv_node *n, enum viv_sharing s, bool down, struct viv_err *err)
{
    struct file *f = n->state;
    const struct viv_file_rights was = rights(f->sharing, n->read_only, f->locks.share_write), now = rights(s, n->read_only, f->locks.share_write);
    struct viv_err own = VIV_ERR_INIT;
    int ret;

    if (s == f->sharing || (s < f->sharing && !down))
        return 0;
    ret = change_passed(n, s, n->read_only, err);
    if (ret)
        return ret;
    if (f->locks.locking != VIV_LOCKING_OFF && !f->locks.force_share)
        ret = viv_file_relock(f->lock_fd, n->filename, &was, &now, &own);
    if (ret == -ENOTSUP && f->locks.locking == VIV_LOCKING_AUTO)
        ret = 0;
    if (ret) {
        change_passed(n, f->sharing, n->read_only, NULL);
        return viv_fail(err, own.code, "%s", own.text);
    }
    viv_err_clear(&own);
    f->sharing = s;
    return 0;
}

static int open_again(struct viv_node *n, int flags, struct viv_err *err)
{
    const struct file *f = n->state;
    struct stat was, now;
    int fd;

    if (!f->passed)
        return viv_open_again(f->fd, flags, err);
    fd = viv_open(n->filename, flags, 0, err);
    if (fd < 0 || (fstat(f->fd, &was) == 0 && fstat(fd, &now) == 0 && was.st_dev == now.st_dev && was.st_ino == now.st_ino))
        return fd;
    close(fd);
    return viv_fail(err, ESTALE, "the set has another file's descriptor by now");
}

/* The same file by another descriptor; the first one keeps the locks, which are its own and not another user's. */
int viv_file_reopen(struct viv_node *n, bool read_only, bool direct, struct viv_err *err)
{
    struct viv_err own = VIV_ERR_INIT;
    struct file *f = n->state;
    int fd, ret;

    if (f->locks.force_share && !read_only)
        return viv_fail(err, EACCES, "'%s' is open with force-share=on, and that is for reading alone", n->filename);
    if (n->aio == VIV_AIO_NATIVE && !direct)
        return viv_fail(err, EINVAL, "'%s': aio=native requires cache.direct=on", n->filename);
    fd = open_again(n, (read_only ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0), &own);
    if (fd == -EINVAL && direct)
        return viv_file_direct_error(n->filename, err);
    if (fd < 0)
        return viv_fail(err, -fd, "'%s' cannot be opened for %s: %s", n->filename, read_only ? "reading" : "writing", own.text);
    ret = read_only == n->read_only ? 0 : change_locks(n, read_only, err);
    if (ret) {
        close(fd);
        return ret;
    }
    if (f->fd != f->lock_fd)
        close(f->fd);
    f->fd = fd;
    f->align = direct ? direct_align(fd, f->device) : 1;
    n->read_only = read_only;
    n->direct = direct;
    return 0;
}

int viv_file_direct_error(const char *path, struct viv_err *err)
{
    return viv_fail(err, EINVAL,
                    "'%s': its file system does not take O_DIRECT; use cache=writeback (or "
                    "cache.direct=off)",
                    path);
}

int viv_file_open(const char *path, const struct viv_node_opts *o, struct viv_node **out,
                  struct viv_err *err)
{
    int flags =
        (o->read_only ? O_RDONLY : O_RDWR) | (o->direct ? O_DIRECT : 0) | O_NOCTTY | O_NONBLOCK;
    struct viv_err own = VIV_ERR_INIT;
    int fd = viv_open(path, flags, 0, &own);

    if (fd == -EINVAL && o->direct)
        return viv_file_direct_error(path, err);
    if (fd < 0 && viv_fdset_is_name(path)) /* which says it all */
        return viv_fail(err, -fd, "%s", own.text);
    if (fd < 0 && g_str_has_prefix(own.text, "the sandbox"))
        return viv_fail(err, -fd, "Could not open '%s': %s", path, own.text);
    if (fd < 0)
        return viv_fail_os(err, -fd, "Could not open '%s'", path);
    /* O_NONBLOCK was for FIFOs, which are refused; it means nothing for files and devices. */
    return viv_file_from_fd(fd, path, o, out, err);
}

uint64_t viv_file_allocated(const struct viv_node *n)
{
    const struct file *f;
    struct stat st;

    while (n->drv != &viv_blk_file && n->file)
        n = n->file; /* below nodes that stand between an image and its file */
    f = n->state;
    if (n->drv != &viv_blk_file || fstat(f->fd, &st) < 0)
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

int viv_file_fd(const struct viv_node *n)
{
    const struct file *f = n->state;

    return n->drv == &viv_blk_file ? f->fd : -1;
}

/* The file at the bottom, or NULL. */
static const struct file *bottom(const struct viv_node *n)
{
    while (n->drv != &viv_blk_file && n->file)
        n = n->file;
    return n->drv == &viv_blk_file ? n->state : NULL;
}

bool viv_file_is_buffered(const struct viv_node *n)
{
    const struct file *f = bottom(n);

    return f && f->align == 1;
}

bool viv_file_has_one_writer(const struct viv_node *n)
{
    const struct file *f = bottom(n);

    return f && f->align == 1 && !f->device;
}

int viv_file_fd_for(const struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt)
{
    const struct file *f = n->state;

    return n->drv == &viv_blk_file && offset <= INT64_MAX - INT_MAX && is_direct_ok(f, offset, iov, cnt) ? f->fd : -1;
}

/* Memory file systems never wait (but for swap), and do not know RWF_NOWAIT. */
static int try_flags(const struct file *f)
{
    return f->memory ? 0 : RWF_NOWAIT;
}

int viv_file_try(struct viv_node *n, bool write, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct file *f = n->state;
    ssize_t got;

    if (n->drv != &viv_blk_file || f->align != 1 || __atomic_load_n(&f->no_try[write], __ATOMIC_RELAXED))
        return -EAGAIN;
    got = write ? pwritev2(f->fd, iov, cnt, offset, try_flags(f)) : preadv2(f->fd, iov, cnt, offset, try_flags(f));
    if (got < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
        __atomic_store_n(&f->no_try[write], true, __ATOMIC_RELAXED);
    return got == (ssize_t)len ? 0 : -EAGAIN;
}

const struct viv_blk_driver viv_blk_file = {
    .name = "file",
    .protocol = true,
    .open_opts = viv_file_opts,
    .open_source = viv_file_open_source,
    .close = file_close,
    .preadv = file_preadv,
    .pwritev = file_pwritev,
    .status = seek_status,
    .write_zeroes = file_write_zeroes,
    .discard = file_discard,
    .discards = file_discards,
    .settle = file_settle,
    .preallocate = file_preallocate,
    .flush = file_flush,
    .truncate = file_truncate,
};
