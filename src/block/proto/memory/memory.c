/* Pieces of 64 KiB, made when they are written to; discards and zeroes give whole ones back. */
#include "block/proto/memory/memory.h"

#include "base/checked.h"
#include "block/iov.h"
#include "opt/opt.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#define PIECE    65536u
#define SIZE_MAX_BYTES (INT64_C(1) << 40) /* its table of pieces: 128 MiB */

struct memory {
    pthread_rwlock_t lock;
    uint8_t **piece; /* NULL: zeroes */
    uint64_t pieces, used, limit;
};

static const struct viv_opt_def memory_opts[] = {
    {"size", VIV_OPT_SIZE, "of the disk", .required = true, .min = 1, .max = SIZE_MAX_BYTES},
    {"limit", VIV_OPT_SIZE, "of the memory that what is written may take (half of the host's)", .min = 1, .max = INT64_MAX},
    VIV_OPT_END,
};

static uint64_t pieces_of(uint64_t bytes)
{
    return bytes / PIECE + (bytes % PIECE != 0);
}

/* What of [offset, offset + len) lies in the first piece. */
static size_t in_piece(uint64_t offset, uint64_t len)
{
    return MIN(len, PIECE - offset % PIECE);
}

static void drop(struct memory *m, uint64_t i)
{
    m->used -= m->piece[i] ? 1 : 0;
    g_free(m->piece[i]);
    m->piece[i] = NULL;
}

static int memory_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct memory *m = n->state;

    pthread_rwlock_rdlock(&m->lock);
    for (size_t at = 0, step; at < len; at += step) {
        uint64_t where = offset + at, i = where / PIECE;

        step = in_piece(where, len - at);
        if (i < m->pieces && m->piece[i])
            viv_iov_put(iov, cnt, at, m->piece[i] + where % PIECE, step);
        else
            viv_iov_zero(iov, cnt, at, step);
    }
    pthread_rwlock_unlock(&m->lock);
    return 0;
}

static int make(struct memory *m, uint64_t i)
{
    if (m->piece[i])
        return 0;
    if ((m->used + 1) * PIECE > m->limit)
        return -ENOSPC;
    m->piece[i] = g_try_malloc0(PIECE);
    m->used += m->piece[i] ? 1 : 0;
    return m->piece[i] ? 0 : -ENOMEM;
}

static int memory_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct memory *m = n->state;
    int ret = 0;

    pthread_rwlock_wrlock(&m->lock);
    if (!viv_range_inside(offset, len, n->size))
        ret = -ENOSPC;
    for (size_t at = 0, step; at < len && !ret; at += step) {
        uint64_t where = offset + at;

        step = in_piece(where, len - at);
        ret = make(m, where / PIECE);
        if (!ret)
            viv_iov_take(iov, cnt, at, m->piece[where / PIECE] + where % PIECE, step);
    }
    pthread_rwlock_unlock(&m->lock);
    return ret;
}

/* Lock held; the range is inside. */
static void clear(struct memory *m, uint64_t offset, uint64_t len)
{
    for (uint64_t step; len; offset += step, len -= step) {
        uint64_t i = offset / PIECE;

        step = in_piece(offset, len);
        if (step == PIECE)
            drop(m, i);
        else if (m->piece[i])
            memset(m->piece[i] + offset % PIECE, 0, step);
    }
}

static int memory_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct memory *m = n->state;
    int ret = 0;

    pthread_rwlock_wrlock(&m->lock);
    if (viv_range_inside(offset, len, n->size))
        clear(m, offset, len);
    else
        ret = -ENOSPC;
    pthread_rwlock_unlock(&m->lock);
    return ret;
}

static int memory_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    return memory_discard(n, offset, len);
}

static int memory_flush(struct viv_node *n)
{
    return 0;
}

static int memory_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct memory *m = n->state;
    uint64_t i = offset / PIECE, end;
    bool data;

    pthread_rwlock_rdlock(&m->lock);
    data = i < m->pieces && m->piece[i];
    for (end = i + 1; end * PIECE - offset < len && (end < m->pieces && m->piece[end]) == data; end++)
        ;
    pthread_rwlock_unlock(&m->lock);
    *out = (struct viv_extent){.kind = data ? VIV_MAP_DATA : VIV_MAP_ZERO, .len = MIN(len, end * PIECE - offset), .host = offset,
                               .in_place = true, .allocated = data};
    return 0;
}

static int memory_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    struct memory *m = n->state;
    uint64_t pieces = pieces_of(size);
    uint8_t **table;

    if (size > SIZE_MAX_BYTES)
        return viv_fail(err, EFBIG, "memory: %llu bytes are more than the %lld that a disk in memory may have", (unsigned long long)size,
                        (long long)SIZE_MAX_BYTES);
    if (prealloc == VIV_PREALLOC_FALLOC || prealloc == VIV_PREALLOC_FULL)
        return viv_fail(err, ENOTSUP, "memory: nothing is preallocated: preallocation=off works");
    pthread_rwlock_wrlock(&m->lock);
    table = g_try_malloc0_n(MAX(pieces, 1), sizeof(*table));
    if (table) {
        if (size < n->size)
            clear(m, size, n->size - size);
        for (uint64_t i = pieces; i < m->pieces; i++)
            drop(m, i); /* the last, of which a part was cleared */
        if (m->pieces)
            memcpy(table, m->piece, MIN(pieces, m->pieces) * sizeof(*table));
        g_free(m->piece);
        m->piece = table;
        m->pieces = pieces;
        __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
    }
    pthread_rwlock_unlock(&m->lock);
    return table ? 0 : viv_fail(err, ENOMEM, "memory: no room for a disk of %llu bytes", (unsigned long long)size);
}

static int memory_close(struct viv_node *n)
{
    struct memory *m = n->state;

    for (uint64_t i = 0; i < m->pieces; i++)
        g_free(m->piece[i]);
    g_free(m->piece);
    pthread_rwlock_destroy(&m->lock);
    g_free(m);
    n->state = NULL;
    return 0;
}

static int open_source(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct memory *m = g_new0(struct memory, 1);
    struct viv_node *n;
    int ret;

    m->limit = viv_opts_given(o->own, "limit") ? viv_opts_size(o->own, "limit")
                                               : (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE);
    pthread_rwlock_init(&m->lock, NULL);
    n = viv_node_new(&viv_blk_memory, "memory");
    n->state = m;
    n->zero_init = true;
    ret = memory_truncate(n, viv_opts_size(o->own, "size"), VIV_PREALLOC_OFF, err);
    n->read_only = o->read_only;
    n->no_flush = o->no_flush;
    if (ret)
        viv_node_put(&n);
    else
        *out = n;
    return ret;
}

const struct viv_blk_driver viv_blk_memory = {
    .name = "memory",
    .protocol = true,
    .open_opts = memory_opts,
    .open_source = open_source,
    .close = memory_close,
    .preadv = memory_preadv,
    .pwritev = memory_pwritev,
    .status = memory_status,
    .write_zeroes = memory_write_zeroes,
    .discard = memory_discard,
    .flush = memory_flush,
    .truncate = memory_truncate,
};
