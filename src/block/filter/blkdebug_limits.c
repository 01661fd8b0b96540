/* blkdebug's limits: requests go on as a device with these limits would get them.
 *
 * align: reads and writes are made longer at both ends to whole units; what a write adds is read first, and no other write may be
 * under way there meanwhile. The file's end counts as the end of a unit: nothing makes the file longer than it was asked to be.
 * max-*: a request goes on in pieces. opt-write-zero: what is less than a unit at either end of zeroes is written as data.
 * opt-discard: such an end is a discard of its own. What is less than `align` is not discarded at all: a discard is a hint. */
#include "block/filter/blkdebug_int.h"
#include "block/iov.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#define ZERO_CHUNK (1u << 20)

/* 0 is a multiple of everything, and no unit demands anything. */
static int check_multiple(struct viv_opts *o, const char *name, uint64_t value, const char *of, uint64_t unit, struct viv_err *err)
{
    if (value > INT_MAX)
        return viv_fail(err, EINVAL, "%s: %s=%" PRIu64 " is too large: less than 2G", viv_opts_what(o), name, value);
    if (unit && value % unit)
        return viv_fail(err, EINVAL, "%s: %s=%" PRIu64 " is not a multiple of %s=%" PRIu64, viv_opts_what(o), name, value, of, unit);
    return 0;
}

int viv_debug_limits_read(struct viv_opts *o, struct debug_limits *l, struct viv_err *err)
{
    int ret;

    *l = (struct debug_limits){viv_opts_size(o, "align"),          viv_opts_size(o, "max-transfer"), viv_opts_size(o, "opt-write-zero"),
                               viv_opts_size(o, "max-write-zero"), viv_opts_size(o, "opt-discard"),  viv_opts_size(o, "max-discard")};
    ret = check_multiple(o, "align", l->align, NULL, 0, err);
    if (!ret && (l->align & (l->align - 1)))
        ret = viv_fail(err, EINVAL, "%s: align=%" PRIu64 " is not a power of two", viv_opts_what(o), l->align);
    if (!ret)
        ret = check_multiple(o, "max-transfer", l->max_transfer, "align", l->align, err);
    if (!ret)
        ret = check_multiple(o, "opt-write-zero", l->opt_write_zero, "align", l->align, err);
    if (!ret)
        ret = check_multiple(o, "max-write-zero", l->max_write_zero, "align", l->align, err);
    if (!ret)
        ret = check_multiple(o, "max-write-zero", l->max_write_zero, "opt-write-zero", l->opt_write_zero, err);
    if (!ret)
        ret = check_multiple(o, "opt-discard", l->opt_discard, "align", l->align, err);
    if (!ret)
        ret = check_multiple(o, "max-discard", l->max_discard, "align", l->align, err);
    if (!ret)
        ret = check_multiple(o, "max-discard", l->max_discard, "opt-discard", l->opt_discard, err);
    l->align = MAX(l->align, 1);
    return ret;
}

/* --- reads and writes --- */

static int in_pieces(struct viv_node *n, const struct debug_limits *l, debug_transfer_fn *one, uint64_t offset, const struct iovec *iov,
                     int cnt, size_t len)
{
    struct iovec *slice;
    int ret = 0;

    if (!l->max_transfer || len <= l->max_transfer)
        return one(n, offset, iov, cnt, len);
    slice = g_try_new(struct iovec, cnt);
    if (!slice)
        return -ENOMEM;
    for (size_t done = 0, step; !ret && done < len; done += step) {
        step = MIN(len - done, l->max_transfer);
        ret = one(n, offset + done, slice, viv_iov_slice(slice, iov, cnt, done, step), step);
    }
    g_free(slice);
    return ret;
}

/* What is added in front and behind, up to whole units: `edge` holds both, and is read first if `fill` is there to do it. */
static int with_edges(struct viv_node *n, const struct debug_limits *l, debug_transfer_fn *one, debug_transfer_fn *fill, uint64_t offset,
                      const struct iovec *iov, int cnt, size_t len, size_t head, size_t tail)
{
    struct iovec *v = g_try_new(struct iovec, cnt + 2);
    uint8_t *edge = g_try_malloc(head + tail);
    struct iovec before = {edge, head}, after = {edge + head, tail};
    int ret = v && edge ? 0 : -ENOMEM, used = 0;

    if (!ret && head) {
        v[used++] = before;
        ret = fill ? fill(n, offset - head, &before, 1, head) : 0;
    }
    if (!ret) {
        memcpy(v + used, iov, cnt * sizeof(*iov));
        used += cnt;
    }
    if (!ret && tail) {
        v[used++] = after;
        ret = fill ? fill(n, offset + len, &after, 1, tail) : 0;
    }
    if (!ret)
        ret = in_pieces(n, l, one, offset - head, v, used, head + len + tail);
    g_free(edge);
    g_free(v);
    return ret;
}

int viv_debug_transfer(struct viv_node *n, const struct debug_limits *l, bool write, debug_transfer_fn *read_one, debug_transfer_fn *write_one,
                       uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    debug_transfer_fn *one = write ? write_one : read_one;
    size_t head = offset & (l->align - 1);
    uint64_t size = viv_node_size(n), end, up;
    struct viv_range r;
    size_t tail;
    int ret;

    if (l->align == 1)
        return in_pieces(n, l, one, offset, iov, cnt, len);
    if (!viv_add_u64(offset, len, &end) || !viv_align_up_checked(end, l->align, &up))
        return -EINVAL;
    tail = MIN(up, MAX(size, end)) - end;
    if (write)
        viv_range_acquire(&n->ranges, &r, offset - head, up, head || tail);
    ret = head || tail ? with_edges(n, l, one, write ? read_one : NULL, offset, iov, cnt, len, head, tail)
                       : in_pieces(n, l, one, offset, iov, cnt, len);
    if (write)
        viv_range_release(&n->ranges, &r);
    return ret;
}

/* --- zeroes and discards --- */

static int zero_data(struct viv_node *n, uint64_t offset, uint64_t len)
{
    size_t chunk = MIN(len, ZERO_CHUNK);
    uint8_t *zero = g_try_malloc0(MAX(chunk, 1));
    int ret = zero ? 0 : -ENOMEM;

    for (uint64_t done = 0; !ret && done < len; done += chunk) {
        struct iovec v = {zero, MIN(chunk, len - done)};

        ret = n->drv->pwritev(n, offset + done, &v, 1, v.iov_len);
    }
    g_free(zero);
    return ret;
}

/* Whole units of [offset, *end) begin at *from and end at *to; the file's end counts as the end of a unit. Units need be no power of two. */
static void whole_units(const struct viv_node *n, uint64_t unit, uint64_t offset, uint64_t end, uint64_t *from, uint64_t *to)
{
    *from = offset + (unit - offset % unit) % unit;
    *to = end == viv_node_size(n) ? end : end - end % unit;
    if (*from > *to)
        *from = *to = end;
}

static int range_in_pieces(struct viv_node *n, debug_range_fn *one, uint64_t offset, uint64_t end, uint64_t max, unsigned flags)
{
    int ret = 0;

    for (uint64_t step; !ret && offset < end; offset += step) {
        step = max ? MIN(max, end - offset) : end - offset;
        ret = one(n, offset, step, flags);
    }
    return ret;
}

int viv_debug_write_zeroes(struct viv_node *n, const struct debug_limits *l, debug_range_fn *one, uint64_t offset, uint64_t len, unsigned flags)
{
    uint64_t unit = MAX(l->align, l->opt_write_zero), end, from, to;
    int ret = 0;

    if (!viv_add_u64(offset, len, &end) || end > INT64_MAX)
        return -EINVAL;
    whole_units(n, unit, offset, end, &from, &to);
    if ((flags & VIV_BLK_NO_FALLBACK) && (from > offset || to < end))
        return -ENOTSUP;
    if (from > offset)
        ret = zero_data(n, offset, from - offset);
    if (!ret)
        ret = range_in_pieces(n, one, from, to, l->max_write_zero, flags);
    return ret || to == end ? ret : zero_data(n, to, end - to);
}

int viv_debug_discard(struct viv_node *n, const struct debug_limits *l, debug_range_fn *one, uint64_t offset, uint64_t len)
{
    uint64_t unit = MAX(l->align, l->opt_discard), end, from, to;
    int ret;

    if (!viv_add_u64(offset, len, &end) || end > INT64_MAX)
        return -EINVAL;
    whole_units(n, l->align, offset, end, &offset, &end);
    whole_units(n, unit, offset, end, &from, &to);
    ret = range_in_pieces(n, one, offset, from, l->max_discard, 0);
    if (!ret)
        ret = range_in_pieces(n, one, from, to, l->max_discard, 0);
    return ret ? ret : range_in_pieces(n, one, to, end, l->max_discard, 0);
}
