/* The driver: open, read, write, flush, grow. */
#include "block/proto/ssh/ssh_int.h"

#include "base/log.h"
#include "block/iov.h"
#include "host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* --- errors --- */

static int errno_of(const struct ssh_file *f)
{
    switch (sftp_get_error(f->sftp)) {
    case SSH_FX_NO_SUCH_FILE:
    case SSH_FX_NO_SUCH_PATH:
        return ENOENT;
    case SSH_FX_PERMISSION_DENIED:
        return EACCES;
    case SSH_FX_WRITE_PROTECT:
        return EROFS;
    case SSH_FX_OP_UNSUPPORTED:
        return ENOTSUP;
    default:
        return EIO; /* a full disk is a "failure" too */
    }
}

/* libssh may not have noticed yet: a server that is killed closes the connection, and what is read next is an SFTP error at first. */
static bool is_gone(struct ssh_file *f)
{
    int e = sftp_get_error(f->sftp);

    return !ssh_is_connected(f->session) || e == SSH_FX_NO_CONNECTION || e == SSH_FX_CONNECTION_LOST ||
           ssh_get_error_code(f->session) == SSH_FATAL;
}

/* A request failed. Lock held. */
static int failed(struct ssh_file *f)
{
    int ret = -errno_of(f);

    if (is_gone(f)) {
        if (!f->lost)
            viv_warn("'%s': the connection is lost (%s): all requests fail from now on", f->name, ssh_get_error(f->session));
        f->lost = true;
        ret = -EIO;
    }
    return ret;
}

/* --- data. Lock held --- */

/* What a piece lacks: servers may give less than was asked for. */
static int read_rest(struct ssh_file *f, uint64_t offset, size_t len)
{
    uint8_t *at = f->piece;

    while (len) {
        ssize_t got;

        if (sftp_seek64(f->file, offset) < 0)
            return failed(f);
        got = sftp_read(f->file, at, len);
        if (got <= 0 || (size_t)got > len)
            return got < 0 ? failed(f) : -EIO; /* shorter than it was: somebody cut it */
        offset += got;
        at += got;
        len -= got;
    }
    return 0;
}

struct wanted {
    int id; /* negative: never sent */
    size_t got;
};

/* At most SSH_WINDOW pieces, all of them in the file. What was sent is taken back, whatever happened before. */
static int read_window(struct ssh_file *f, uint64_t offset, const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    struct wanted w[SSH_WINDOW];
    unsigned count = 0;
    int ret = sftp_seek64(f->file, offset) < 0 ? failed(f) : 0;

    for (size_t at = 0; at < len && !ret; at += SSH_PIECE, count++) {
        w[count].id = sftp_async_read_begin(f->file, MIN(SSH_PIECE, len - at));
        if (w[count].id < 0) {
            ret = failed(f);
            break;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        size_t at = i * (size_t)SSH_PIECE, size = MIN(SSH_PIECE, len - at);
        int got = f->lost ? -1 : sftp_async_read(f->file, f->piece, size, w[i].id);

        w[i].got = got > 0 ? MIN((size_t)got, size) : 0;
        if (got < 0 && !ret)
            ret = failed(f);
        if (!ret)
            viv_iov_put(iov, cnt, skip + at, f->piece, w[i].got);
    }
    for (unsigned i = 0; i < count && !ret; i++) {
        size_t at = i * (size_t)SSH_PIECE + w[i].got, size = MIN(SSH_PIECE, len - i * (size_t)SSH_PIECE) - w[i].got;

        ret = read_rest(f, offset + at, size);
        if (!ret)
            viv_iov_put(iov, cnt, skip + at, f->piece, size);
    }
    return ret;
}

/* f->piece, of which everything is written or it is an error. */
static int write_piece(struct ssh_file *f, uint64_t offset, size_t len)
{
    if (sftp_seek64(f->file, offset) < 0 || sftp_write(f->file, f->piece, len) != (ssize_t)len)
        return failed(f);
    return 0;
}

/* --- what the core calls --- */

static int ssh_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct ssh_file *f = n->state;
    uint64_t size = viv_node_size(n);
    size_t there = offset >= size ? 0 : MIN(len, size - offset);
    int ret = 0;

    viv_iov_zero(iov, cnt, there, len - there);
    for (size_t at = 0, step; at < there && !ret; at += step) {
        step = MIN(there - at, (size_t)SSH_PIECE * SSH_WINDOW);
        pthread_mutex_lock(&f->lock);
        ret = f->lost ? -EIO : read_window(f, offset + at, iov, cnt, at, step);
        pthread_mutex_unlock(&f->lock);
    }
    return ret;
}

/* Lock held. */
static void grew_to(struct viv_node *n, uint64_t end)
{
    if (end > n->size)
        __atomic_store_n(&n->size, end, __ATOMIC_RELEASE);
}

static int ssh_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct ssh_file *f = n->state;
    int ret = 0;

    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return -EFBIG;
    for (size_t at = 0, step; at < len && !ret; at += step) {
        step = MIN(len - at, SSH_PIECE);
        pthread_mutex_lock(&f->lock);
        viv_iov_take(iov, cnt, at, f->piece, step);
        ret = f->lost ? -EIO : write_piece(f, offset + at, step);
        if (!ret)
            grew_to(n, offset + at + step);
        pthread_mutex_unlock(&f->lock);
    }
    return ret;
}

static int ssh_flush(struct viv_node *n)
{
    struct ssh_file *f = n->state;
    int ret;

    pthread_mutex_lock(&f->lock);
    ret = f->lost ? -EIO : f->fsync && sftp_fsync(f->file) < 0 ? failed(f) : 0; /* without: warned at open */
    pthread_mutex_unlock(&f->lock);
    return ret;
}

/* Longer by one byte at the new end: what is between reads as zeroes. SFTP changes attributes by name alone with this library, and
 * what has the name may be another file by now: so nothing gets shorter. */
static int ssh_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    struct ssh_file *f = n->state;
    uint64_t have = viv_node_size(n);
    int ret = 0;

    if (size > INT64_MAX)
        return viv_fail(err, EFBIG, "'%s': %llu bytes are more than a file can hold", n->filename, (unsigned long long)size);
    if (size < have)
        return viv_fail(err, ENOTSUP, "'%s': files on ssh servers can grow, not shrink (from %llu to %llu bytes)", n->filename,
                        (unsigned long long)have, (unsigned long long)size);
    if (prealloc == VIV_PREALLOC_FALLOC || prealloc == VIV_PREALLOC_FULL)
        return viv_fail(err, ENOTSUP, "'%s': SFTP cannot preallocate: preallocation=off works", n->filename);
    if (size == have)
        return 0;
    pthread_mutex_lock(&f->lock);
    f->piece[0] = 0;
    ret = f->lost ? -EIO : write_piece(f, size - 1, 1);
    if (!ret)
        grew_to(n, size);
    pthread_mutex_unlock(&f->lock);
    return ret ? viv_fail_os(err, -ret, "cannot make '%s' %llu bytes long", n->filename, (unsigned long long)size) : 0;
}

/* --- opening --- */

static int free_file(struct ssh_file *f)
{
    int ret = f->file && sftp_close(f->file) < 0 && !f->lost ? -EIO : 0;

    viv_ssh_logout(f);
    pthread_mutex_destroy(&f->lock);
    g_free(f->name);
    g_free(f);
    return ret;
}

static int ssh_close(struct viv_node *n)
{
    int ret = free_file(n->state);

    n->state = NULL;
    return ret;
}

/* How long it is; and it must be a file. */
static int look(struct ssh_file *f, uint64_t *size, struct viv_err *err)
{
    sftp_attributes a = sftp_fstat(f->file);
    int ret = 0;

    if (!a)
        return viv_fail(err, errno_of(f), "'%s': the server does not tell the file's length: %s", f->name, ssh_get_error(f->session));
    if ((a->flags & SSH_FILEXFER_ATTR_PERMISSIONS) && a->type != SSH_FILEXFER_TYPE_REGULAR)
        ret = viv_fail(err, EINVAL, "'%s' is not a regular file", f->name);
    else if (!(a->flags & SSH_FILEXFER_ATTR_SIZE) || a->size > INT64_MAX)
        ret = viv_fail(err, EPROTO, "'%s': the server does not tell a length that makes sense", f->name);
    *size = a->size;
    sftp_attributes_free(a);
    return ret;
}

static int open_file(struct ssh_file *f, const char *path, int flags, struct viv_err *err)
{
    f->file = sftp_open(f->sftp, path, flags, 0644);
    if (f->file)
        return 0;
    return viv_fail_os(err, errno_of(f), "'%s': cannot be opened%s", f->name,
                       flags == O_RDONLY ? "" : flags == O_RDWR ? " for writing" : " or made");
}

static int open_target(const struct ssh_target *t, int flags, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct ssh_file *f = g_new0(struct ssh_file, 1);
    struct viv_node *n;
    uint64_t size = 0;
    int ret;

    viv_sandbox_need(VIV_SANDBOX_NETWORK);

    f->name = viv_ssh_target_text(t);
    pthread_mutex_init(&f->lock, NULL);
    ret = viv_ssh_login(f, t, err);
    if (!ret)
        ret = open_file(f, t->path, flags, err);
    if (!ret)
        ret = look(f, &size, err);
    if (ret) {
        free_file(f);
        return ret;
    }
    if (!f->fsync && flags != O_RDONLY && !o->no_flush)
        viv_warn("'%s': the server has no fsync: what is flushed may be lost with its power", f->name);
    n = viv_node_new(&viv_blk_ssh, f->name);
    n->state = f;
    n->size = size;
    n->read_only = o->read_only;
    n->no_flush = o->no_flush;
    n->zero_init = true;
    *out = n;
    return 0;
}

static int open_source(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct ssh_target t = {0};
    int ret = viv_ssh_target_read(o->own, &t, err);

    if (!ret)
        ret = open_target(&t, o->read_only ? O_RDONLY : O_RDWR, o, out, err);
    viv_ssh_target_fini(&t);
    return ret;
}

int viv_ssh_create(const char *name, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct ssh_target t = {0};
    int ret = viv_ssh_target_parse(name, &t, err);

    if (!ret)
        ret = open_target(&t, O_RDWR | O_CREAT | O_TRUNC, o, out, err);
    viv_ssh_target_fini(&t);
    return ret;
}

const struct viv_blk_driver viv_blk_ssh = {
    .name = "ssh",
    .protocol = true,
    .open_opts = viv_ssh_opts,
    .open_source = open_source,
    .is_name = viv_ssh_is_name,
    .close = ssh_close,
    .preadv = ssh_preadv,
    .pwritev = ssh_pwritev,
    .flush = ssh_flush,
    .truncate = ssh_truncate,
};
