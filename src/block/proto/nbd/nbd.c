/* The driver: requests of any size and alignment as what the server takes. */
#include "block/proto/nbd/nbd_int.h"

#include "base/checked.h"
#include "block/iov.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define RANGE_MAX (1u << 30) /* zeroes, trim, status: no payload, but the server's work is to stay bounded */

static struct viv_nbd_pool *pool_of(const struct viv_node *n)
{
    return n->state;
}

/* --- data --- */

/* Whole blocks, at most one payload. */
static int transfer(struct viv_nbd_pool *p, bool write, uint64_t offset, const struct iovec *iov, int cnt, size_t skip,
                    size_t len)
{
    struct iovec few[16], *v = few;
    struct viv_nbd_call k = {.type = write ? VIV_NBD_CMD_WRITE : VIV_NBD_CMD_READ, .offset = offset, .len = len};
    int ret;

    if (cnt > (int)G_N_ELEMENTS(few) && !(v = g_try_new(struct iovec, cnt)))
        return -ENOMEM;
    k.iov = v;
    k.cnt = viv_iov_slice(v, iov, cnt, skip, len);
    ret = viv_nbd_pool_run(p, &k);
    if (v != few)
        g_free(v);
    return ret;
}

/* Less than one block: the whole of it is read, and for a write changed and written. */
static int part_of_block(struct viv_node *n, bool write, uint64_t offset, const struct iovec *iov, int cnt, size_t skip,
                         size_t len)
{
    struct viv_nbd_pool *p = pool_of(n);
    uint32_t block = p->info.min_block;
    uint64_t start = viv_align_down(offset, block);
    g_autofree uint8_t *buf = g_malloc(block); /* at most 64 KiB */
    struct iovec v = {buf, block};
    struct viv_range r;
    int ret;

    if (write)
        viv_range_acquire(&n->ranges, &r, start, start + block, true);
    ret = transfer(p, false, start, &v, 1, 0, block);
    if (!ret && write) {
        viv_iov_take(iov, cnt, skip, buf + (offset - start), len);
        ret = transfer(p, true, start, &v, 1, 0, block);
    } else if (!ret) {
        viv_iov_put(iov, cnt, skip, buf + (offset - start), len);
    }
    if (write)
        viv_range_release(&n->ranges, &r);
    return ret;
}

/* Whole blocks; a write keeps out of the way of those that change a part of one. */
static int whole_blocks(struct viv_node *n, bool write, uint64_t offset, const struct iovec *iov, int cnt, size_t skip,
                        size_t len)
{
    struct viv_nbd_pool *p = pool_of(n);
    bool locked = write && p->info.min_block > 1;
    struct viv_range r;
    int ret;

    if (locked)
        viv_range_acquire(&n->ranges, &r, offset, offset + len, false);
    ret = transfer(p, write, offset, iov, cnt, skip, len);
    if (locked)
        viv_range_release(&n->ranges, &r);
    return ret;
}

static int move(struct viv_node *n, bool write, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    const struct viv_nbd_info *i = &pool_of(n)->info;
    size_t done = 0;
    int ret = 0;

    while (done < len && !ret) {
        uint64_t at = offset + done, into = at & (i->min_block - 1);
        size_t left = len - done, step;

        if (into || left < i->min_block) {
            step = MIN(left, i->min_block - into);
            ret = part_of_block(n, write, at, iov, cnt, done, step);
        } else {
            step = viv_align_down(MIN(left, i->max_payload), i->min_block);
            ret = whole_blocks(n, write, at, iov, cnt, done, step);
        }
        done += step;
    }
    return ret;
}

static int nbd_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    uint64_t size = viv_node_size(n);
    size_t there = offset >= size ? 0 : MIN(len, size - offset);
    int ret = move(n, false, offset, iov, cnt, there);

    if (!ret && there < len)
        viv_iov_zero(iov, cnt, there, len - there);
    return ret;
}

static int nbd_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    if (!viv_range_inside(offset, len, viv_node_size(n)))
        return -ENOSPC; /* an export has its size */
    return move(n, true, offset, iov, cnt, len);
}

/* --- ranges --- */

/* In steps; one that the server finds too large is tried again as what it takes as data. */
static int over_range(struct viv_nbd_pool *p, uint16_t type, uint16_t flags, uint64_t offset, uint64_t len)
{
    uint32_t most = viv_align_down(RANGE_MAX, p->info.min_block);

    while (len) {
        struct viv_nbd_call k = {.type = type, .flags = flags, .offset = offset, .len = MIN(len, most)};
        int ret = viv_nbd_pool_run(p, &k);

        if ((ret == -EOVERFLOW || ret == -EINVAL) && k.len > p->info.max_payload) {
            most = p->info.max_payload;
            continue;
        }
        if (ret)
            return ret;
        offset += k.len;
        len -= k.len;
    }
    return 0;
}

static int nbd_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct viv_nbd_pool *p = pool_of(n);

    if (!viv_range_inside(offset, len, viv_node_size(n)))
        return -ENOSPC;
    if (!(p->info.flags & VIV_NBD_SEND_WRITE_ZEROES) || !viv_is_aligned(offset | len, p->info.min_block))
        return -ENOTSUP; /* the core writes them as data */
    return over_range(p, VIV_NBD_CMD_WRITE_ZEROES, flags & VIV_BLK_UNMAP ? 0 : VIV_NBD_CMD_FLAG_NO_HOLE, offset, len);
}

static int nbd_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct viv_nbd_pool *p = pool_of(n);
    uint64_t start, end = viv_align_down(MIN(offset + len, viv_node_size(n)), p->info.min_block);

    if (!(p->info.flags & VIV_NBD_SEND_TRIM) || !viv_align_up_checked(offset, p->info.min_block, &start) || start >= end)
        return 0; /* a hint */
    return over_range(p, VIV_NBD_CMD_TRIM, 0, start, end - start);
}

static int nbd_flush(struct viv_node *n)
{
    struct viv_nbd_pool *p = pool_of(n);
    struct viv_nbd_call k = {.type = VIV_NBD_CMD_FLUSH};

    return p->info.flags & VIV_NBD_SEND_FLUSH ? viv_nbd_pool_run(p, &k) : 0;
}

static int nbd_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct viv_nbd_pool *p = pool_of(n);
    uint64_t size = viv_node_size(n), start = viv_align_down(offset, p->info.min_block), known;
    struct viv_nbd_call k = {.type = VIV_NBD_CMD_BLOCK_STATUS, .flags = VIV_NBD_CMD_FLAG_REQ_ONE, .offset = start};

    *out = (struct viv_extent){.kind = VIV_MAP_DATA, .len = len, .host = offset, .allocated = true, .in_place = true};
    if (offset >= size) {
        out->kind = VIV_MAP_ZERO;
        out->allocated = false;
        return 0;
    }
    out->len = MIN(len, size - offset);
    if (!p->info.has_context || !out->len)
        return 0;
    known = viv_align_down(offset + out->len + p->info.min_block - 1, p->info.min_block) - start;
    k.len = MIN(known, viv_align_down(RANGE_MAX, p->info.min_block));
    if (viv_nbd_pool_run(p, &k) || k.status_len <= offset - start) {
        out->len = MIN(out->len, k.len - (offset - start)); /* it does not know: data */
        return 0;
    }
    out->len = MIN(out->len, MIN(k.status_len, k.len) - (offset - start));
    out->allocated = !(k.status_flags & VIV_NBD_STATE_HOLE);
    if (k.status_flags & VIV_NBD_STATE_ZERO)
        out->kind = VIV_MAP_ZERO;
    return 0;
}

/* --- opening --- */

static int nbd_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    uint64_t have = viv_node_size(n);

    if (size <= have)
        return 0;
    return viv_fail(err, ENOSPC, "'%s' is an export of %llu bytes and cannot grow to %llu", n->filename,
                    (unsigned long long)have, (unsigned long long)size);
}

static int nbd_close(struct viv_node *n)
{
    viv_nbd_pool_close(n->state);
    n->state = NULL;
    return 0;
}

struct viv_node *viv_nbd_node_new(struct viv_nbd_pool *pool, const char *filename)
{
    struct viv_node *n = viv_node_new(&viv_blk_nbd, filename);

    n->state = pool;
    n->size = pool->info.size;
    n->read_only = !pool->writable;
    n->unmap = true; /* the format above decides */
    return n;
}

int viv_nbd_open(struct viv_nbd_target *t, const char *filename, const struct viv_node_opts *o, struct viv_node **out,
                 struct viv_err *err)
{
    struct viv_nbd_pool *p = NULL;
    int ret = viv_nbd_pool_open(t, !o->read_only, &p, err);

    if (!ret && !o->read_only && (p->info.flags & VIV_NBD_READ_ONLY)) {
        viv_nbd_pool_close(p);
        ret = viv_fail(err, EACCES, "the server offers this export read-only (read-only=on, -r)");
    }
    if (ret)
        return ret;
    *out = viv_nbd_node_new(p, filename);
    (*out)->no_flush = o->no_flush;
    return 0;
}

const struct viv_blk_driver viv_blk_nbd = {
    .name = "nbd",
    .protocol = true,
    .open_opts = viv_nbd_opts,
    .open_source = viv_nbd_open_source,
    .is_name = viv_nbd_is_name,
    .close = nbd_close,
    .preadv = nbd_preadv,
    .pwritev = nbd_pwritev,
    .status = nbd_status,
    .write_zeroes = nbd_write_zeroes,
    .discard = nbd_discard,
    .flush = nbd_flush,
    .truncate = nbd_truncate,
};
