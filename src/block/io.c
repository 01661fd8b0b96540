/* The core moves the data: drivers only say where it lies. Reads, what lies where; flush.c, write.c and zero.c change things.
 *
 * A read asks map() piece by piece and follows the answer, down the chain of backing files. */
#include "block/bitmap.h"
#include "block/event.h"
#include "block/graph.h"
#include "block/io_int.h"
#include "block/iov.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>


#define COPY_CHUNK (256u << 10) /* of copy on read */

uint64_t viv_node_size(const struct viv_node *n)
{
    return __atomic_load_n(&n->size, __ATOMIC_ACQUIRE);
}

/* Locks whole granules; nodes without a map that changes (granule 1) need none. */
void viv_io_lock(struct viv_node *n, struct viv_range *r, uint64_t offset, uint64_t len,
                       bool exclusive)
{
    uint64_t end = offset + len;

    if (n->granule > 1)
        viv_range_acquire(&n->ranges, r, viv_align_down(offset, n->granule),
                          viv_align_down(end + n->granule - 1, n->granule), exclusive);
}

bool viv_io_trylock(struct viv_node *n, struct viv_range *r, uint64_t offset, uint64_t len)
{
    return n->granule <= 1 || viv_range_try(&n->ranges, r, viv_align_down(offset, n->granule),
                                            viv_align_down(offset + len + n->granule - 1, n->granule), false);
}

void viv_io_unlock(struct viv_node *n, struct viv_range *r)
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
 * range held exclusively (viv_io_partial_unit). */
int viv_io_transfer(struct viv_node *n, struct viv_node *where, bool write, uint64_t offset, uint64_t host,
                         const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    struct viv_node *child = where ? where : n->file;

    viv_node_event(child, write ? VIV_EVENT_WRITE_AIO : VIV_EVENT_READ_AIO);
    if (n->crypt)
        return (write ? viv_crypt_write : viv_crypt_read)(n->crypt, child, offset, host, iov, cnt, skip, len);
    return transfer(child, write, host, iov, cnt, skip, len);
}

bool viv_io_partial_unit(const struct viv_node *n, uint64_t offset, uint64_t len)
{
    return n->crypt && !viv_is_aligned(offset | len, n->crypt->unit);
}

static int read_backing(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                        size_t skip, size_t len)
{
    uint64_t end = n->backing ? MIN(viv_node_size(n->backing), viv_node_size(n)) : 0; /* VM state has none */
    size_t there = offset >= end ? 0 : MIN(len, end - offset);
    int ret = 0;

    viv_node_event(n->file, VIV_EVENT_READ_BACKING_AIO);
    if (__atomic_load_n(&n->lost, __ATOMIC_ACQUIRE))
        return -EIO;
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
        return viv_io_transfer(n, e->where, false, offset, e->host, iov, cnt, skip, len);
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
int viv_io_read_locked(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
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

/* Is what the backing file shows at `offset` to be copied? Zeroes are not, but those of a layer that hide what lies below the last
 * layer to be copied. *len becomes how far the answer holds. */
static int look_below(struct viv_node *n, struct viv_node *bottom, uint64_t offset, uint64_t *len, bool *found)
{
    struct viv_node *layer = n->backing;

    for (;; layer = layer->backing) {
        uint64_t size = layer ? viv_node_size(layer) : 0;
        struct viv_extent e;
        int ret;

        *found = bottom; /* its end hides it */
        if (offset >= size)
            return 0;
        *len = MIN(*len, size - offset);
        ret = (bottom ? viv_node_status_layer : viv_node_status)(layer, offset, *len, &e);
        if (ret)
            return ret;
        *len = e.len;
        *found = bottom ? e.kind != VIV_MAP_BACKING : e.kind != VIV_MAP_ZERO;
        if (*found || layer == bottom || !bottom)
            return 0;
    }
}

/* Is there anything in [offset, *offset + *len) that only the backing file has? Then the first piece of it. */
static int find_below(struct viv_node *n, struct viv_node *bottom, uint64_t *offset, uint64_t *len, bool *found)
{
    uint64_t end = *offset + *len;

    *found = false;
    while (*offset < end) {
        struct viv_extent e;
        int ret = n->drv->map(n, *offset, end - *offset, &e);

        if (ret)
            return ret;
        *len = e.len;
        if (e.kind == VIV_MAP_BACKING && (ret = look_below(n, bottom, *offset, len, found)) != 0)
            return ret;
        if (*found)
            return 0;
        *offset += *len;
    }
    return 0;
}

/* Zeroes stay zeroes where the format can say so. */
static int copy_piece(struct viv_node *n, struct viv_node *bottom, uint64_t offset, struct iovec *v)
{
    int ret = viv_io_read_locked(n, offset, v, 1, 0, v->iov_len);

    if (ret)
        return ret;
    if (bottom && n->drv->write_zeroes && viv_is_aligned(offset | v->iov_len, n->granule) &&
        viv_buf_is_zero(v->iov_base, v->iov_len)) {
        ret = n->drv->write_zeroes(n, offset, v->iov_len, 0);
        if (ret != -ENOTSUP)
            return ret;
    }
    return viv_io_write_locked(n, offset, v, 1, 0, v->iov_len);
}

/* What a read would take from the backing file becomes this image's own, so that the next one finds it here. In pieces: nobody
 * waits long for the range. */
int viv_node_copy_up(struct viv_node *n, struct viv_node *bottom, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len;
    uint8_t *buf = NULL;
    bool found = true;
    int ret = 0;

    while (found && !ret && offset < end) {
        struct viv_range r;
        struct iovec v;

        len = end - offset;
        viv_io_lock(n, &r, offset, len, true);
        ret = find_below(n, bottom, &offset, &len, &found);
        if (!ret && found && !buf && !(buf = g_try_malloc(COPY_CHUNK)))
            ret = -ENOMEM;
        v = (struct iovec){buf, MIN(len, COPY_CHUNK)};
        if (!ret && found)
            ret = copy_piece(n, bottom, offset, &v);
        viv_io_unlock(n, &r);
        offset += v.iov_len;
    }
    g_free(buf);
    return ret;
}

/* An image that is another one's file is read as a file is: past its end are zeroes. */
static int read_past_end(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    uint64_t size = viv_node_size(n);
    size_t there = offset < size ? MIN(len, size - offset) : 0;
    int ret = there ? transfer(n, false, offset, iov, cnt, 0, there) : 0;

    viv_iov_zero(iov, cnt, there, len - there);
    return ret;
}

int viv_node_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct viv_range r;
    int ret;

    if (n->drv->protocol)
        return n->drv->preadv(n, offset, iov, cnt, len);
    if (!viv_range_inside(offset, len, viv_node_size(n)))
        return n->parents && offset <= INT64_MAX ? read_past_end(n, offset, iov, cnt, len) : -EINVAL;
    if (n->copy_on_read && (ret = viv_node_copy_up(n, n->copy_bottom, offset, len)) != 0)
        return ret;
    viv_io_lock(n, &r, offset, len, false);
    ret = viv_io_read_locked(n, offset, iov, cnt, 0, len);
    viv_io_unlock(n, &r);
    return ret;
}

int viv_node_pread(struct viv_node *n, uint64_t offset, void *buf, size_t len)
{
    struct iovec v = {buf, len};

    return viv_node_preadv(n, offset, &v, 1, len);
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
    } else if (below.kind == VIV_MAP_DATA && !below.allocated) {
        e->hole = true;
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
    viv_io_lock(n, &r, offset, len, false);
    ret = n->drv->map(n, offset, len, out);
    if (!ret)
        ret = refine(n, out);
    viv_io_unlock(n, &r);
    return ret;
}

static int status_of_chain(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);

/* Nothing is in `n`, and what is below may change, but not before it was copied here: if nothing came meanwhile, what was found below holds. */
static int status_kept(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct viv_extent now;
    int ret = status_of_chain(n->backing, offset, len, out);

    if (!ret)
        ret = viv_node_status_layer(n, offset, out->len, &now);
    if (!ret && __atomic_load_n(&n->lost, __ATOMIC_ACQUIRE))
        ret = -EIO;
    if (ret)
        return ret;
    if (now.kind == VIV_MAP_BACKING)
        out->len = MIN(out->len, now.len);
    else
        *out = now;
    return 0;
}

static int status_of_chain(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
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
        len = MIN(len, viv_node_size(n->backing) - offset);
        if (!n->backing->read_only)
            return status_kept(n, offset, len, out);
        n = n->backing;
    }
}

int viv_node_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    int ret;

    viv_graph_enter();
    ret = status_of_chain(n, offset, len, out);
    viv_graph_leave();
    return ret;
}
