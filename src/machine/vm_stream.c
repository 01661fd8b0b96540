#include "machine/vm_stream.h"

#include "base/bytes.h"
#include "block/image.h"
#include "host/broker.h"
#include "host/fdset.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BUFFER (256 * 1024)

struct viv_vm_stream {
    int fd; /* -1: a node or a reader */
    struct viv_node *node;
    viv_vm_stream_read_fn read;
    void *opaque;
    uint64_t at, end; /* of what is no file: how far it was written or read, and where what there is to read ends */
    bool write;
    bool empty_first; /* the file keeps what it has until the first byte comes */
    char *path;
    char *part; /* what is written gets the name `path` when it is whole; NULL: it is written in place */
    int error; /* errno of the first failure */
    uint32_t crc;
    size_t pos, len; /* of buf: filled to pos (write); unread pos..len (read) */
    uint8_t buf[BUFFER];
};

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
    bool there = viv_fdset_is_name(s->path) || statx(AT_FDCWD, s->path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x) == 0;
    int fd = there || errno != ENOENT ? -EEXIST : viv_open_part(s->path, O_WRONLY, 0600, &s->part), part;

    if (fd >= 0)
        return fd;
    fd = viv_open(s->path, O_WRONLY | O_CREAT, 0600, err); /* of one that is replaced, too: may it be written to? */
    if (fd < 0)
        return fd;
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

int viv_vm_stream_open(const char *path, bool write, struct viv_vm_stream **out,
                       struct viv_err *err)
{
    struct viv_vm_stream *s = g_new0(struct viv_vm_stream, 1);

    s->write = write;
    s->path = g_strdup(path);
    s->crc = crc32(0, NULL, 0);
    s->fd = write ? open_to_write(s, err) : viv_open(path, O_RDONLY, 0, err);
    if (s->fd < 0) {
        int rc = s->fd;

        g_free(s->path);
        g_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

/* --- streams --- */

void viv_vm_stream_open_node(struct viv_node *n, const char *name, bool write, uint64_t size, struct viv_vm_stream **out)
{
    struct viv_vm_stream *s = g_new0(struct viv_vm_stream, 1);

    s->fd = -1;
    s->node = n;
    s->end = size;
    s->write = write;
    s->path = g_strdup(name);
    s->crc = crc32(0, NULL, 0);
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

static void write_node(struct viv_vm_stream *s, const uint8_t *p, size_t len)
{
    int rc = s->error ? 0 : viv_node_state_write(s->node, s->at, p, len);

    if (rc < 0)
        s->error = -rc;
    s->at += len;
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
        ssize_t n = write(s->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            s->error = n < 0 ? errno : ENOSPC;
            return;
        }
        p += n;
        len -= n;
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

/* How many bytes came; 0: there are no more. */
static ssize_t read_some(struct viv_vm_stream *s, struct viv_err *err)
{
    size_t n = (size_t)MIN(BUFFER, s->end - s->at);
    ssize_t got;

    if (s->fd < 0) {
        int rc = n ? read_at(s, n, err) : 0;

        return rc < 0 ? rc : (ssize_t)n;
    }
    do {
        got = read(s->fd, s->buf, BUFFER);
    } while (got < 0 && errno == EINTR);
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

int viv_vm_stream_close(struct viv_vm_stream *s, struct viv_err *err)
{
    int rc = 0;

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
    if (s->error)
        rc = viv_fail_os(err, s->error, "cannot write '%s'", s->path);
    g_free(s->part);
    g_free(s->path);
    g_free(s);
    return rc;
}

void viv_vm_stream_drop(struct viv_vm_stream *s)
{
    s->error = s->error ? s->error : ECANCELED;
    viv_vm_stream_close(s, NULL);
}
