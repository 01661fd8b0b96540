/* The core moves the data: drivers only say where it lies.
 *
 * A read asks map() piece by piece and follows the answer. A write first goes, under a shared range lock, to
 * whatever can be overwritten in place; from the first piece that cannot on, it holds the rest of its range
 * exclusively, lets alloc() find room, fills what the clusters hold beside the request from the old view
 * (copy on write) and has commit() link them. Discards and zeroes change the map of whole granules under
 * an exclusive lock and write the edges as data. */
#include "block/bitmap.h"
#include "block/crypt/crypt.h"
#include "block/image.h"
#include "block/iov.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define ZERO_CHUNK (1u << 20)

static int read_locked(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                       size_t skip, size_t len);

uint64_t viv_node_size(const struct viv_node *n)
{
    return __atomic_load_n(&n->size, __ATOMIC_ACQUIRE);
}

/* Locks whole granules; nodes without a map that changes (granule 1) need none. */
static void lock_range(struct viv_node *n, struct viv_range *r, uint64_t offset, uint64_t len,
                       bool exclusive)
{
    uint64_t end = offset + len;

    if (n->granule > 1)
        viv_range_acquire(&n->ranges, r, viv_align_down(offset, n->granule),
                          viv_align_down(end + n->granule - 1, n->granule), exclusive);
}

static void unlock_range(struct viv_node *n, struct viv_range *r)
{
    if (n->granule > 1)
        viv_range_release(&n->ranges, r);
}

/* Runs a protocol's transfer on a slice of the caller's buffers. */
static int transfer(struct viv_node *file, bool write, uint64_t offset, const struct iovec *iov, int cnt,
                    size_t skip, size_t len)
{
    struct iovec few[16], *slice = few;
    int n, ret;

    if (cnt > (int)G_N_ELEMENTS(few) && !(slice = g_try_new(struct iovec, cnt)))
        return -ENOMEM;
    n = viv_iov_slice(slice, iov, cnt, skip, len);
    ret = write ? viv_node_pwritev(file, offset, slice, n, len)
                : viv_node_preadv(file, offset, slice, n, len);
    if (slice != few)
        g_free(slice);
    return ret;
}

/* The same for DATA at `host` of a child, encrypted where the node is: `offset` is the guest's. Parts of a unit need the
 * range held exclusively (is_partial_unit). */
static int transfer_data(struct viv_node *n, struct viv_node *where, bool write, uint64_t offset, uint64_t host,
                         const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    struct viv_node *child = where ? where : n->file;

    if (n->crypt)
        return (write ? viv_crypt_write : viv_crypt_read)(n->crypt, child, offset, host, iov, cnt, skip, len);
    return transfer(child, write, host, iov, cnt, skip, len);
}

static bool is_partial_unit(const struct viv_node *n, uint64_t offset, uint64_t len)
{
    return n->crypt && !viv_is_aligned(offset | len, n->crypt->unit);
}

static int read_backing(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                        size_t skip, size_t len)
{
    uint64_t end = n->backing ? MIN(viv_node_size(n->backing), viv_node_size(n)) : 0; /* VM state has none */
    size_t there = offset >= end ? 0 : MIN(len, end - offset);
    int ret = 0;

    if (there)
        ret = transfer(n->backing, false, offset, iov, cnt, skip, there);
    if (!ret && there < len)
        viv_iov_zero(iov, cnt, skip + there, len - there);
    return ret;
}

static int read_special(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                        size_t skip, size_t len)
{
    uint64_t start = viv_align_down(offset, n->granule);
    uint8_t *buf = g_try_malloc(n->granule);
    int ret;

    if (!buf)
        return -ENOMEM;
    ret = n->drv->read_special(n, start, buf);
    if (!ret)
        viv_iov_put(iov, cnt, skip, buf + (offset - start), len);
    g_free(buf);
    return ret;
}

static int read_extent(struct viv_node *n, const struct viv_extent *e, uint64_t offset,
                       const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    switch (e->kind) {
    case VIV_MAP_DATA:
        return transfer_data(n, e->where, false, offset, e->host, iov, cnt, skip, len);
    case VIV_MAP_BACKING:
        return read_backing(n, offset, iov, cnt, skip, len);
    case VIV_MAP_COMPRESSED:
        return read_special(n, offset, iov, cnt, skip, len);
    case VIV_MAP_ZERO:
        viv_iov_zero(iov, cnt, skip, len);
        return 0;
    }
    return -EIO;
}

/* The range is locked and inside the node. */
static int read_locked(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                       size_t skip, size_t len)
{
    while (len) {
        struct viv_extent e;
        size_t step;
        int ret = n->drv->map(n, offset, len, &e);

        if (ret)
            return ret;
        step = MIN(len, e.len);
        if (e.kind == VIV_MAP_COMPRESSED) /* one granule at a time */
            step = MIN(step, n->granule - (offset & (n->granule - 1)));
        ret = read_extent(n, &e, offset, iov, cnt, skip, step);
        if (ret)
            return ret;
        offset += step;
        skip += step;
        len -= step;
    }
    return 0;
}

int viv_node_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct viv_range r;
    int ret;

    if (n->drv->protocol)
        return n->drv->preadv(n, offset, iov, cnt, len);
    if (!viv_range_inside(offset, len, viv_node_size(n)))
        return -EINVAL;
    lock_range(n, &r, offset, len, false);
    ret = read_locked(n, offset, iov, cnt, 0, len);
    unlock_range(n, &r);
    return ret;
}

/* What the guest sees in [offset, offset + len), into buf; zeroes past the end of the disk, up to where VM state is. */
static int read_old(struct viv_node *n, uint64_t offset, uint8_t *buf, size_t len)
{
    uint64_t size = viv_node_size(n);
    bool state = offset >= viv_align_down(size + n->granule - 1, n->granule);
    size_t there = state ? len : offset >= size ? 0 : MIN(len, size - offset);
    struct iovec v = {buf, there};

    memset(buf + there, 0, len - there);
    return there ? read_locked(n, offset, &v, 1, 0, there) : 0;
}

/* Writes a fresh allocation: old head, the caller's bytes, old tail, in one go. */
static int write_fresh(struct viv_node *n, const struct viv_alloc *a, const struct iovec *iov, int cnt,
                       size_t skip)
{
    struct iovec *v = g_try_new(struct iovec, cnt + 2);
    uint8_t *edge = NULL;
    int ret = -ENOMEM, used = 0;

    if (!v || (a->head + a->tail && !(edge = g_try_malloc(a->head + a->tail))))
        goto out;
    ret = 0;
    if (a->head) {
        ret = read_old(n, a->offset - a->head, edge, a->head);
        v[used++] = (struct iovec){edge, a->head};
    }
    used += viv_iov_slice(v + used, iov, cnt, skip, a->len);
    if (!ret && a->tail) {
        ret = read_old(n, a->offset + a->len, edge + a->head, a->tail);
        v[used++] = (struct iovec){edge + a->head, a->tail};
    }
    if (!ret)
        ret = transfer_data(n, a->where, true, a->offset - a->head, a->host - a->head, v, used, 0,
                            a->head + a->len + a->tail);
out:
    g_free(edge);
    g_free(v);
    return ret;
}

/* The granule of `offset` with up to `*len` bytes of the request in it, for a format that can store whole ones only. */
static int write_recompressed(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t skip,
                              uint64_t *len)
{
    uint64_t start = viv_align_down(offset, n->granule), size = MIN(n->granule, viv_node_size(n) - start);
    uint8_t *buf = g_try_malloc(size);
    int ret = buf ? 0 : -ENOMEM;

    *len = MIN(*len, start + size - offset);
    if (!ret && *len < size)
        ret = read_old(n, start, buf, size);
    if (!ret) {
        viv_iov_take(iov, cnt, skip, buf + (offset - start), *len);
        ret = n->drv->write_compressed(n, start, buf, size);
    }
    g_free(buf);
    return ret;
}

static int write_exclusive(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                           size_t skip, size_t len)
{
    while (len) {
        struct viv_alloc a;
        int ret = n->drv->alloc(n, offset, len, &a);

        if (ret)
            return ret;
        if (a.compress) {
            ret = write_recompressed(n, offset, iov, cnt, skip, &a.len);
        } else if (a.fresh) {
            ret = write_fresh(n, &a, iov, cnt, skip);
            if (ret)
                n->drv->cancel(n, &a);
            else
                ret = n->drv->commit(n, &a);
        } else {
            ret = transfer_data(n, a.where, true, offset, a.host, iov, cnt, skip, a.len);
        }
        if (ret)
            return ret;
        offset += a.len;
        skip += a.len;
        len -= a.len;
    }
    return 0;
}

/* Writes from the start for as long as the map lets us overwrite; *done counts. */
static int write_in_place(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                          size_t len, size_t *done)
{
    *done = 0;
    while (*done < len) {
        struct viv_extent e;
        size_t step;
        int ret = n->drv->map(n, offset + *done, len - *done, &e);

        if (ret)
            return ret;
        if (!e.in_place)
            break;
        step = MIN(len - *done, e.len);
        ret = transfer_data(n, e.where, true, offset + *done, e.host, iov, cnt, *done, step);
        if (ret)
            return ret;
        *done += step;
    }
    return 0;
}

/* An image whose format was guessed as raw must not be turned by its guest into one that is guessed as
 * something else (with a backing file of the guest's choice) at the next start. */
static int check_probed(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    uint8_t head[VIV_BLK_PROBE_LEN];
    int ret;

    if (offset >= sizeof(head))
        return 0;
    ret = viv_node_pread(n->file, 0, head, sizeof(head));
    if (ret)
        return ret;
    viv_iov_take(iov, cnt, 0, head + offset, MIN(len, sizeof(head) - offset));
    return strcmp(viv_blk_probe(head, sizeof(head))->name, "raw") != 0 ? -EPERM : 0;
}

int viv_node_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct viv_range r;
    size_t done = 0;
    int ret = 0;

    if (n->read_only)
        return -EROFS;
    if (n->drv->protocol)
        return n->drv->pwritev(n, offset, iov, cnt, len);
    if (!viv_range_inside(offset, len, viv_node_size(n)))
        return -EINVAL;
    if (n->probed_raw && (ret = check_probed(n, offset, iov, cnt, len)) != 0)
        return ret;
    if (n->detect_zeroes && viv_iov_is_zero(iov, cnt, 0, len))
        return viv_node_write_zeroes(n, offset, len,
                                     n->detect_zeroes == VIV_DETECT_UNMAP ? VIV_BLK_UNMAP : 0);
    if (!is_partial_unit(n, offset, len)) {
        lock_range(n, &r, offset, len, false);
        ret = write_in_place(n, offset, iov, cnt, len, &done);
        unlock_range(n, &r);
    }
    if (!ret && done < len) {
        lock_range(n, &r, offset + done, len - done, true);
        ret = write_exclusive(n, offset + done, iov, cnt, done, len - done);
        unlock_range(n, &r);
    }
    viv_bitmaps_wrote(n, offset, len); /* also after an error: some of it may be there */
    return ret;
}

int viv_node_pread(struct viv_node *n, uint64_t offset, void *buf, size_t len)
{
    struct iovec v = {buf, len};

    return viv_node_preadv(n, offset, &v, 1, len);
}

int viv_node_pwrite(struct viv_node *n, uint64_t offset, const void *buf, size_t len)
{
    struct iovec v = {(void *)buf, len};

    return viv_node_pwritev(n, offset, &v, 1, len);
}

static bool is_whole_granule(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return viv_range_inside(offset, len, viv_node_size(n)) && viv_is_aligned(offset, n->granule) &&
           (len == n->granule || (len < n->granule && offset + len == viv_node_size(n)));
}

int viv_node_pack(struct viv_node *n, const void *buf, size_t len, void *out, size_t *out_len)
{
    if (!n->drv->pack || n->crypt)
        return -ENOTSUP;
    return len && len <= n->granule ? n->drv->pack(n, buf, len, out, out_len) : -EINVAL;
}

int viv_node_write_packed(struct viv_node *n, uint64_t offset, const void *packed, size_t len)
{
    struct viv_range r;
    int ret;

    if (n->read_only)
        return -EROFS;
    if (!n->drv->write_packed || n->crypt)
        return -ENOTSUP;
    if (!len || len >= n->granule || offset >= viv_node_size(n) || !viv_is_aligned(offset, n->granule))
        return -EINVAL;
    lock_range(n, &r, offset, 1, true);
    ret = n->drv->write_packed(n, offset, packed, len);
    unlock_range(n, &r);
    viv_bitmaps_wrote(n, offset, MIN(n->granule, viv_node_size(n) - offset));
    return ret;
}

/* For drivers that do it in two steps. */
static int write_compressed_steps(struct viv_node *n, uint64_t offset, const void *buf, size_t len)
{
    uint8_t *packed = g_try_malloc(n->granule);
    size_t packed_len = n->granule;
    int ret = packed ? viv_node_pack(n, buf, len, packed, &packed_len) : -ENOMEM;

    if (!ret)
        ret = viv_node_write_packed(n, offset, packed, packed_len);
    g_free(packed);
    return ret == -E2BIG ? viv_node_pwrite(n, offset, buf, len) : ret;
}

int viv_node_write_compressed(struct viv_node *n, uint64_t offset, const void *buf, size_t len)
{
    struct iovec v = {(void *)buf, len};
    struct viv_range r;
    int ret;

    if (n->read_only)
        return -EROFS;
    if ((!n->drv->write_compressed && !n->drv->pack) || n->crypt)
        return -ENOTSUP;
    if (!is_whole_granule(n, offset, len))
        return -EINVAL;
    if (n->drv->pack)
        return write_compressed_steps(n, offset, buf, len);
    lock_range(n, &r, offset, len, true);
    ret = n->drv->write_compressed(n, offset, buf, len);
    if (ret == -E2BIG)
        ret = write_exclusive(n, offset, &v, 1, 0, len);
    unlock_range(n, &r);
    viv_bitmaps_wrote(n, offset, len);
    return ret;
}

/* Zeroes as data, where the map cannot say it. */
static int write_zero_bytes(struct viv_node *n, uint64_t offset, uint64_t len)
{
    size_t chunk = MIN(len, ZERO_CHUNK);
    uint8_t *zero;
    int ret = 0;

    if (!len)
        return 0;
    zero = g_try_malloc0(chunk);
    if (!zero)
        return -ENOMEM;
    while (len && !ret) {
        struct iovec v = {zero, MIN(len, chunk)};
        struct viv_range r;

        lock_range(n, &r, offset, v.iov_len, true);
        ret = n->drv->protocol ? n->drv->pwritev(n, offset, &v, 1, v.iov_len)
                               : write_exclusive(n, offset, &v, 1, 0, v.iov_len);
        unlock_range(n, &r);
        offset += v.iov_len;
        len -= v.iov_len;
    }
    g_free(zero);
    return ret;
}

/* An edge that is less than a granule: nothing to do when it reads as zeroes already. */
static int zero_edge(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct viv_extent e;

    if (!len)
        return 0;
    if (!viv_node_status(n, offset, len, &e) && e.kind == VIV_MAP_ZERO && e.len >= len)
        return 0;
    return flags & VIV_BLK_NO_FALLBACK ? -ENOTSUP : write_zero_bytes(n, offset, len);
}

/* Whole units of [offset, offset + len) as [*start, *end); the disk's end counts as a boundary. */
static void whole_units(struct viv_node *n, uint64_t unit, uint64_t offset, uint64_t len, uint64_t *start,
                        uint64_t *end)
{
    uint64_t last = offset + len;

    *start = viv_align_down(offset + unit - 1, unit);
    *end = last == viv_node_size(n) ? last : viv_align_down(last, unit);
    if (*start > *end)
        *start = *end = offset;
}

typedef int change_fn(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);

/* What a format can change in its map of [offset, offset + len), which starts at *start and ends at *end: whole granules in
 * one call, subgranules at both ends in calls of their own, as a format may have to refuse those. */
static int change_units(struct viv_node *n, change_fn *change, uint64_t offset, uint64_t len, unsigned flags,
                        uint64_t *start, uint64_t *end)
{
    uint64_t from, to;
    int ret = 0;

    whole_units(n, n->subgranule ? n->subgranule : n->granule, offset, len, start, end);
    whole_units(n, n->granule, *start, *end - *start, &from, &to);
    if (from == to)
        return change(n, *start, *end - *start, flags);
    ret = change(n, *start, from - *start, flags);
    if (!ret)
        ret = change(n, from, to - from, flags);
    return ret ? ret : change(n, to, *end - to, flags);
}

static int write_zeroes_middle(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct viv_range r;
    int ret = -ENOTSUP;

    if (!len)
        return 0;
    if (n->drv->write_zeroes) {
        lock_range(n, &r, offset, len, true);
        ret = n->drv->write_zeroes(n, offset, len, flags);
        unlock_range(n, &r);
    }
    return ret == -ENOTSUP && !(flags & VIV_BLK_NO_FALLBACK) ? write_zero_bytes(n, offset, len) : ret;
}

int viv_node_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    uint64_t start, end;
    int ret;

    if (n->read_only)
        return -EROFS;
    if (!n->unmap && !n->drv->protocol)
        flags &= ~VIV_BLK_UNMAP;
    if (n->drv->protocol)
        return write_zeroes_middle(n, offset, len, flags);
    if (!viv_range_inside(offset, len, viv_node_size(n)))
        return -EINVAL;
    ret = change_units(n, write_zeroes_middle, offset, len, flags, &start, &end);
    if (!ret)
        ret = zero_edge(n, offset, start == end ? len : start - offset, flags);
    if (!ret && start < end)
        ret = zero_edge(n, end, offset + len - end, flags);
    viv_bitmaps_wrote(n, offset, len);
    return ret;
}

static int discard_middle(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct viv_range r;
    int ret;

    if (!len)
        return 0;
    lock_range(n, &r, offset, len, true);
    ret = n->drv->discard(n, offset, len);
    unlock_range(n, &r);
    return ret;
}

int viv_node_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    uint64_t start, end;
    int ret;

    if (n->read_only)
        return -EROFS;
    if (!n->drv->protocol && !viv_range_inside(offset, len, viv_node_size(n)))
        return -EINVAL;
    /* A hint: without discard=unmap, and for less than a granule, nothing need happen. */
    if (!n->unmap || !n->drv->discard)
        return 0;
    if (n->drv->protocol)
        return n->drv->discard(n, offset, len);
    ret = change_units(n, discard_middle, offset, len, 0, &start, &end);
    viv_bitmaps_wrote(n, start, end - start);
    return ret;
}

int viv_node_forget(struct viv_node *n)
{
    uint64_t size = viv_node_size(n);
    struct viv_range r;
    int ret;

    if (n->read_only)
        return -EROFS;
    if (!n->drv->forget)
        return -ENOTSUP;
    if (!size)
        return 0;
    lock_range(n, &r, 0, size, true);
    ret = n->drv->forget(n, 0, size);
    unlock_range(n, &r);
    return ret;
}

int viv_node_flush(struct viv_node *n)
{
    int ret = __atomic_load_n(&n->io_error, __ATOMIC_RELAXED);

    /* After one failed fdatasync the kernel may have dropped the pages: a later success means nothing. */
    if (ret || n->read_only)
        return ret;
    if (n->drv->protocol && n->no_flush)
        return 0;
    for (unsigned i = 0; i < n->children && !ret; i++)
        ret = viv_node_flush(n->child[i]);
    if (ret)
        return ret;
    if (n->drv->flush)
        ret = n->drv->flush(n); /* a format's own includes the file's */
    else if (n->file)
        ret = viv_node_flush(n->file);
    if (ret && n->drv->protocol)
        __atomic_store_n(&n->io_error, ret, __ATOMIC_RELAXED);
    return ret;
}

int viv_node_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                      struct viv_err *err)
{
    int ret;

    if (n->read_only)
        return viv_fail(err, EROFS, "'%s' is open read-only", n->filename);
    if (!n->drv->truncate)
        return viv_fail(err, ENOTSUP, "'%s': %s cannot change its size", n->filename, n->drv->name);
    ret = n->drv->truncate(n, size, prealloc, err);
    if (!ret && (ret = viv_bitmaps_resize(n, size)) != 0)
        viv_fail_os(err, -ret, "'%s' has its new size; its dirty bitmaps could not follow", n->filename);
    return ret;
}

/* A DATA piece may still be a hole of the file below. */
static int refine(struct viv_node *n, struct viv_extent *e)
{
    struct viv_node *child = e->where ? e->where : n->file;
    struct viv_extent below;

    if (e->kind != VIV_MAP_DATA || n->crypt || !child || !child->drv->status)
        return 0;
    if (child->drv->status(child, e->host, e->len, &below))
        return 0; /* only a hint */
    e->len = MIN(e->len, below.len);
    if (below.kind == VIV_MAP_ZERO) {
        e->kind = VIV_MAP_ZERO;
        e->hole = n->granule > 1;
    }
    return 0;
}

int viv_node_status_layer(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct viv_range r;
    int ret;

    if (n->drv->protocol) {
        if (n->drv->status)
            return n->drv->status(n, offset, len, out);
        *out = (struct viv_extent){.kind = VIV_MAP_DATA, .len = len, .host = offset, .allocated = true, .in_place = true};
        return 0;
    }
    if (!len || !viv_range_inside(offset, len, viv_node_size(n)))
        return -EINVAL;
    lock_range(n, &r, offset, len, false);
    ret = n->drv->map(n, offset, len, out);
    if (!ret)
        ret = refine(n, out);
    unlock_range(n, &r);
    return ret;
}

int viv_node_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    for (;;) {
        int ret = viv_node_status_layer(n, offset, len, out);

        if (ret)
            return ret;
        len = MIN(len, out->len);
        if (out->kind != VIV_MAP_BACKING)
            return 0;
        if (!n->backing || offset >= viv_node_size(n->backing)) {
            out->kind = VIV_MAP_ZERO;
            return 0;
        }
        n = n->backing;
        len = MIN(len, viv_node_size(n) - offset);
    }
}

/* --- VM state: as data, behind the disk --- */

int viv_node_state_write(struct viv_node *n, uint64_t pos, const void *buf, size_t len)
{
    struct iovec v = {(void *)buf, len};
    struct viv_range r;
    uint64_t base, end;
    int ret;

    if (n->read_only)
        return -EROFS;
    if (!n->drv->snapshots || !n->drv->snapshots->state_area)
        return -ENOTSUP;
    if (!viv_add_u64(pos, len, &end))
        return -EFBIG;
    ret = n->drv->snapshots->state_area(n, end, &base);
    if (ret)
        return ret;
    lock_range(n, &r, base + pos, len, true);
    ret = write_exclusive(n, base + pos, &v, 1, 0, len);
    unlock_range(n, &r);
    return ret;
}

int viv_node_state_read(struct viv_node *n, uint64_t pos, void *buf, size_t len)
{
    struct iovec v = {buf, len};
    struct viv_range r;
    uint64_t base, end;
    int ret;

    if (!n->drv->snapshots || !n->drv->snapshots->state_area)
        return -ENOTSUP;
    if (!viv_add_u64(pos, len, &end))
        return -EFBIG;
    ret = n->drv->snapshots->state_area(n, end, &base);
    if (ret)
        return ret;
    lock_range(n, &r, base + pos, len, false);
    ret = read_locked(n, base + pos, &v, 1, 0, len);
    unlock_range(n, &r);
    return ret;
}
