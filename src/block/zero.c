/* Zeroes and discards change the map of whole granules under an exclusive lock, and write the edges as data. */
#include "block/bitmap.h"
#include "block/image.h"
#include "block/io_int.h"
#include "block/iov.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define ZERO_CHUNK (1u << 20)

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

        viv_io_lock(n, &r, offset, v.iov_len, true);
        ret = n->drv->protocol ? n->drv->pwritev(n, offset, &v, 1, v.iov_len)
                               : viv_io_write_locked(n, offset, &v, 1, 0, v.iov_len);
        viv_io_unlock(n, &r);
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
        viv_io_lock(n, &r, offset, len, true);
        ret = n->drv->write_zeroes(n, offset, len, flags);
        viv_io_unlock(n, &r);
    }
    return ret == -ENOTSUP && !(flags & VIV_BLK_NO_FALLBACK) ? write_zero_bytes(n, offset, len) : ret;
}

static int zero_pieces(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    uint64_t start, end;
    int ret;

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
    return ret;
}

int viv_node_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    int ret;

    if (n->read_only)
        return -EROFS;
    viv_node_will_write(n, offset, len);
    ret = zero_pieces(n, offset, len, flags);
    viv_node_did_write(n, offset, len);
    return ret;
}

static int discard_middle(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct viv_range r;
    int ret;

    if (!len)
        return 0;
    viv_io_lock(n, &r, offset, len, true);
    ret = n->drv->discard(n, offset, len);
    viv_io_unlock(n, &r);
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
    viv_node_will_write(n, offset, len);
    ret = n->drv->protocol ? n->drv->discard(n, offset, len) : change_units(n, discard_middle, offset, len, 0, &start, &end);
    viv_node_did_write(n, offset, len);
    return ret;
}

int viv_node_forget(struct viv_node *n)
{
    uint64_t size = viv_node_size(n);
    struct viv_range r;
    int ret;

    if (n->read_only)
        return -EROFS;
    if (!n->drv->forget || n->hooks)
        return -ENOTSUP;
    if (!size)
        return 0;
    viv_io_lock(n, &r, 0, size, true);
    ret = n->drv->forget(n, 0, size);
    viv_io_unlock(n, &r);
    return ret;
}

static int in_place(struct viv_node *n, uint64_t offset, uint64_t len, bool discard, unsigned flags)
{
    int ret = 0;

    while (len && !ret) {
        struct viv_extent e;

        ret = n->drv->map(n, offset, len, &e);
        if (ret)
            return ret;
        if (e.allocated)
            ret = discard ? viv_node_discard(n->file, e.host, e.len)
                          : viv_node_write_zeroes(n->file, e.host, e.len, flags);
        offset += e.len;
        len -= e.len;
    }
    return ret;
}

int viv_node_zero_in_place(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    return in_place(n, offset, len, false, flags);
}

int viv_node_discard_in_place(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return in_place(n, offset, len, true, 0);
}
