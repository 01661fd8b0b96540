#include "machine/vm_stream.h"

#include "base/bytes.h"
#include "block/image.h"
#include "host/broker.h"
#include "host/fdset.h"
#include "host/open.h"
#include "host/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BUFFER     (256 * 1024)
#define PIECE      (1u << 20)
#define PIPE_PIECE 4096 /* poll(2) says that there is room for so much (PIPE_BUF) */
#define LOOK_MS    200

struct viv_vm_stream {
    int fd; /* -1: a node or a reader */
    struct viv_node *node;
    viv_vm_stream_read_fn read;
    void *opaque;
    uint64_t at, end; /* of what is no file: how far it was written or read, and where what there is to read ends */
    bool write;
    bool plain; /* a file or a disk; else somebody is at the other end, who may be slow, or never read or write: poll(2) first */
    atomic_bool cancelled;
    _Atomic uint64_t sent;
    bool empty_first; /* the file keeps what it has until the first byte comes */
    char *path;
    char *part; /* what is written gets the name `path` when it is whole; NULL: it is written in place */
    int error; /* errno of the first failure */
    uint32_t crc;
    size_t pos, len; /* of buf: filled to pos (write); unread pos..len (read) */
    uint8_t buf[BUFFER];
};

/* A named pipe is opened without waiting for who is to be at its other end. A descriptor's flags are also those of who gave it. */
static int no_wait(const char *path)
{
    return viv_fdset_is_name(path) ? 0 : O_NONBLOCK;
}

/* --- files: what was saved before stays until the new state is whole --- */

/* Another file can take its name: it is regular, it has this owner, no link leads to it (of /proc/self/fd, say), it is not mounted there. */
static bool is_replaceable(const struct statx *x)
{
    return S_ISREG(x->stx_mode) && x->stx_uid == geteuid() && !(x->stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Where the folder takes no new file it is written in place, but not emptied before its state is made. */
static int open_to_write(struct viv_vm_stream *s, struct viv_err *err)
{
    struct statx x = {0};
    struct viv_err why = VIV_ERR_INIT;
    bool there = viv_fdset_is_name(s->path) || statx(AT_FDCWD, s->path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x) == 0;
    int fd = there || errno != ENOENT ? -EEXIST : viv_open_part(s->path, O_WRONLY, 0600, &s->part), part;

    if (fd >= 0)
        return fd;
    fd = viv_open(s->path, O_WRONLY | O_CREAT | no_wait(s->path), 0600, &why); /* of one that is replaced, too: may it be written to? */
    if (fd == -ENXIO && S_ISFIFO(x.stx_mode))
        return viv_fail(err, ENXIO, "nobody reads the pipe '%s': start its reader first", s->path);
    if (fd < 0)
        return viv_fail(err, -fd, "%s", why.text);
    part = is_replaceable(&x) ? viv_open_part(s->path, O_WRONLY, x.stx_mode & 0777, &s->part) : -EEXIST;
    s->empty_first = part < 0;
    if (part < 0)
        return fd;
    close(fd);
    return part;
}

static void empty(struct viv_vm_stream *s)
{
    struct stat st;

    s->empty_first = false;
    if (fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(s->fd, 0) < 0)
        s->error = errno;
}

static void publish(struct viv_vm_stream *s)
{
    int rc = s->error ? 0 : viv_broker_replace(s->part, s->path);

    if (rc < 0)
        s->error = -rc;
    if (s->error)
        viv_broker_unlink(s->part); /* where it has got its name there is none left */
}

static struct viv_vm_stream *new_stream(const char *name, bool write)
{
    struct viv_vm_stream *s = g_new0(struct viv_vm_stream, 1);

    s->write = write;
    s->path = g_strdup(name);
    s->crc = crc32(0, NULL, 0);
    return s;
}

static int with_fd(struct viv_vm_stream *s, int fd, struct viv_vm_stream **out)
{
    struct stat st;

    if (fd < 0) {
        g_free(s->path);
        g_free(s);
        return fd;
    }
    s->fd = fd;
    s->plain = fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
    *out = s;
    return 0;
}

int viv_vm_stream_open(const char *path, bool write, struct viv_vm_stream **out,
                       struct viv_err *err)
{
    struct viv_vm_stream *s = new_stream(path, write);

    return with_fd(s, write ? open_to_write(s, err) : viv_open(path, O_RDONLY | no_wait(path), 0, err), out);
}

int viv_vm_stream_open_fd(int fd_take, const char *name, bool write, struct viv_vm_stream **out, struct viv_err *err)
{
    int mode = fcntl(fd_take, F_GETFL) & O_ACCMODE;

    if (mode == (write ? O_RDONLY : O_WRONLY)) {
        close(fd_take);
        return viv_fail(err, EBADF, "'%s': the descriptor cannot be %s", name, write ? "written to" : "read from");
    }
    return with_fd(new_stream(name, write), fd_take, out);
}

/* --- streams --- */

void viv_vm_stream_open_node(struct viv_node *n, const char *name, bool write, uint64_t size, struct viv_vm_stream **out)
{
    struct viv_vm_stream *s = new_stream(name, write);

    s->fd = -1;
    s->node = n;
    s->end = size;
    *out = s;
}

void viv_vm_stream_open_reader(viv_vm_stream_read_fn read, void *opaque, const char *name, uint64_t size, struct viv_vm_stream **out)
{
    viv_vm_stream_open_node(NULL, name, false, size, out);
    (*out)->read = read;
    (*out)->opaque = opaque;
}

uint64_t viv_vm_stream_size(const struct viv_vm_stream *s)
{
    return s->at + (s->write ? s->pos : 0);
}

uint64_t viv_vm_stream_sent(const struct viv_vm_stream *s)
{
    return atomic_load(&s->sent);
}

void viv_vm_stream_cancel(struct viv_vm_stream *s)
{
    atomic_store(&s->cancelled, true);
}

static void write_node(struct viv_vm_stream *s, const uint8_t *p, size_t len)
{
    int rc = s->error ? 0 : viv_node_state_write(s->node, s->at, p, len);

    if (rc < 0)
        s->error = -rc;
    s->at += len;
}

/* False: it was cancelled, or cannot be waited for. */
static bool wait_for_room(struct viv_vm_stream *s)
{
    struct pollfd p = {s->fd, POLLOUT, 0};
    int n = s->plain;

    while (!n && !atomic_load(&s->cancelled)) {
        n = poll(&p, 1, LOOK_MS);
        if (n < 0 && errno == EINTR)
            n = 0;
    }
    if (n < 0)
        s->error = errno;
    else if (atomic_load(&s->cancelled))
        s->error = ECANCELED;
    return !s->error;
}

/* How many bytes went; 0: none yet, or an error. */
static ssize_t write_some(struct viv_vm_stream *s, const uint8_t *p, size_t len)
{
    ssize_t n;

    if (!wait_for_room(s))
        return 0;
    n = write(s->fd, p, MIN(len, s->plain ? PIECE : PIPE_PIECE));
    if (n == 0)
        s->error = ENOSPC;
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        s->error = errno;
    return MAX(n, 0);
}

static void write_all(struct viv_vm_stream *s, const uint8_t *p, size_t len)
{
    if (s->node) {
        write_node(s, p, len);
        return;
    }
    s->at += len;
    if (s->empty_first && len && !s->error)
        empty(s);
    while (len && !s->error) {
        ssize_t n = write_some(s, p, len);

        p += n;
        len -= (size_t)n;
        atomic_fetch_add(&s->sent, (uint64_t)n);
    }
}

static void flush(struct viv_vm_stream *s)
{
    write_all(s, s->buf, s->pos);
    s->pos = 0;
}

void viv_vm_stream_put(struct viv_vm_stream *s, const void *data, size_t len)
{
    s->crc = crc32_z(s->crc, data, len);
    if (len >= BUFFER) {
        flush(s);
        write_all(s, data, len);
        return;
    }
    if (len > BUFFER - s->pos)
        flush(s);
    memcpy(s->buf + s->pos, data, len);
    s->pos += len;
}

void viv_vm_stream_put_u64(struct viv_vm_stream *s, uint64_t v)
{
    uint8_t b[8];

    viv_st_le64(b, v);
    viv_vm_stream_put(s, b, sizeof(b));
}

static int read_at(struct viv_vm_stream *s, size_t len, struct viv_err *err)
{
    int rc;

    if (s->read)
        return s->read(s->opaque, s->at, s->buf, len, err);
    rc = viv_node_state_read(s->node, s->at, s->buf, len);
    return rc < 0 ? viv_fail_os(err, -rc, "cannot read '%s'", s->path) : 0;
}

/* Nobody serves the loop meanwhile, and so nobody hears who wants to end the process. */
static int wait_for_bytes(struct viv_vm_stream *s, struct viv_err *err)
{
    struct pollfd p[2] = {{s->fd, POLLIN, 0}, {viv_signals_fd(), POLLIN, 0}};

    while (!s->plain && !p[0].revents) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return viv_fail_os(err, errno, "cannot wait for '%s'", s->path);
        if (p[1].revents)
            return viv_fail(err, ECANCELED, "the process is to end, and '%s' has not come whole", s->path);
    }
    return 0;
}

/* How many bytes came; 0: there are no more. */
static ssize_t read_some(struct viv_vm_stream *s, struct viv_err *err)
{
    size_t n = (size_t)MIN(BUFFER, s->end - s->at);
    ssize_t got;
    int rc;

    if (s->fd < 0) {
        rc = n ? read_at(s, n, err) : 0;
        return rc < 0 ? rc : (ssize_t)n;
    }
    do {
        rc = wait_for_bytes(s, err);
        if (rc < 0)
            return rc;
        got = read(s->fd, s->buf, BUFFER);
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    return got < 0 ? viv_fail_os(err, errno, "cannot read '%s'", s->path) : got;
}

static int refill(struct viv_vm_stream *s, struct viv_err *err)
{
    ssize_t n = read_some(s, err);

    if (n <= 0)
        return n < 0 ? (int)n : viv_fail(err, EINVAL, "'%s' ends early: it was not completely written", s->path);
    s->at += (uint64_t)n;
    s->pos = 0;
    s->len = (size_t)n;
    return 0;
}

int viv_vm_stream_get(struct viv_vm_stream *s, void *data, size_t len, struct viv_err *err)
{
    uint8_t *p = data;

    for (size_t left = len; left;) {
        size_t n = s->len - s->pos;

        if (!n) {
            int rc = refill(s, err);

            if (rc < 0)
                return rc;
            continue;
        }
        n = n < left ? n : left;
        memcpy(p, s->buf + s->pos, n);
        s->pos += n;
        p += n;
        left -= n;
    }
    s->crc = crc32_z(s->crc, data, len);
    return 0;
}

int viv_vm_stream_skip(struct viv_vm_stream *s, uint64_t len, struct viv_err *err)
{
    while (len) {
        size_t n = (size_t)MIN(len, s->len - s->pos);
        int rc = n ? 0 : refill(s, err);

        if (rc < 0)
            return rc;
        s->crc = crc32_z(s->crc, s->buf + s->pos, n);
        s->pos += n;
        len -= n;
    }
    return 0;
}

int viv_vm_stream_get_u64(struct viv_vm_stream *s, uint64_t *v, struct viv_err *err)
{
    uint8_t b[8];
    int rc = viv_vm_stream_get(s, b, sizeof(b), err);

    if (!rc)
        *v = viv_ld_le64(b);
    return rc;
}

void viv_vm_stream_put_sum(struct viv_vm_stream *s)
{
    viv_vm_stream_put_u64(s, s->crc);
}

int viv_vm_stream_check_sum(struct viv_vm_stream *s, struct viv_err *err)
{
    uint32_t have = s->crc;
    uint64_t want;
    int rc = viv_vm_stream_get_u64(s, &want, err);

    if (!rc && want != have)
        rc = viv_fail(err, EINVAL, "'%s' is damaged: its check sum is wrong", s->path);
    return rc;
}

int viv_vm_stream_finish(struct viv_vm_stream *s, struct viv_err *err)
{
    if (s->write) {
        flush(s);
        /* A pipe or a terminal cannot be synced; a node is made durable by the snapshot that takes the state. */
        if (!s->error && s->fd >= 0 && fsync(s->fd) < 0 && errno != EINVAL && errno != EROFS)
            s->error = errno;
    }
    if (s->fd >= 0)
        close(s->fd);
    if (s->part)
        publish(s);
    return s->error ? viv_fail_os(err, s->error, "cannot write '%s'", s->path) : 0;
}

void viv_vm_stream_free(struct viv_vm_stream *s)
{
    g_free(s->part);
    g_free(s->path);
    g_free(s);
}

int viv_vm_stream_close(struct viv_vm_stream *s, struct viv_err *err)
{
    int rc = viv_vm_stream_finish(s, err);

    viv_vm_stream_free(s);
    return rc;
}

void viv_vm_stream_drop(struct viv_vm_stream *s)
{
    s->error = s->error ? s->error : ECANCELED;
    viv_vm_stream_close(s, NULL);
}
