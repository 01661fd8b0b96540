/* Writes. One first goes, under a shared range lock, to whatever can be overwritten in place; from the first piece that cannot on,
 * it holds the rest of its range exclusively, lets alloc() find room, fills what the clusters hold beside the request from the old
 * view (copy on write) and has commit() link them. */
#include "block/bitmap.h"
#include "block/event.h"
#include "block/image.h"
#include "block/io_int.h"
#include "block/iov.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* What the guest sees in [offset, offset + len), into buf; zeroes past the end of the disk, up to where VM state is. */
static int read_old(struct viv_node *n, uint64_t offset, uint8_t *buf, size_t len)
{
    uint64_t size = viv_node_size(n);
    bool state = offset >= viv_align_down(size + n->granule - 1, n->granule);
    size_t there = state ? len : offset >= size ? 0 : MIN(len, size - offset);
    struct iovec v = {buf, there};

    memset(buf + there, 0, len - there);
    return there ? viv_io_read_locked(n, offset, &v, 1, 0, there) : 0;
}

/* More of a cluster than this is not held in memory at once: what an image's header calls a cluster can be a gigabyte. */
#define EDGE_MAX (4u << 20)

/* Copies [offset, offset + len), which shares clusters with the allocation, to its place in pieces. */
static int copy_old(struct viv_node *n, const struct viv_alloc *a, uint64_t offset, uint64_t len, uint8_t *buf)
{
    int ret = 0;

    while (len && !ret) {
        size_t step = MIN(len, EDGE_MAX);
        struct iovec v = {buf, step};

        ret = read_old(n, offset, buf, step);
        if (!ret)
            ret = viv_io_transfer(n, a->where, true, offset, a->host + (offset - a->offset), &v, 1, 0, step);
        offset += step;
        len -= step;
    }
    return ret;
}

/* Writes a fresh allocation: old head, the caller's bytes, old tail, in one go but for what of the edges is too long. */
static int write_fresh(struct viv_node *n, const struct viv_alloc *a, const struct iovec *iov, int cnt,
                       size_t skip)
{
    uint64_t far_head = viv_align_down(a->head, EDGE_MAX), far_tail = viv_align_down(a->tail, EDGE_MAX);
    size_t head = a->head - far_head, tail = a->tail - far_tail;
    struct iovec *v = g_try_new(struct iovec, cnt + 2);
    uint8_t *edge = NULL;
    int ret = -ENOMEM, used = 0;

    if (!v || (a->head + a->tail && !(edge = g_try_malloc(far_head + far_tail ? 2 * EDGE_MAX : head + tail))))
        goto out;
    if (edge)
        viv_node_event(n->file, VIV_EVENT_COW_READ);
    ret = copy_old(n, a, a->offset - a->head, far_head, edge);
    if (!ret)
        ret = copy_old(n, a, a->offset + a->len + tail, far_tail, edge);
    if (!ret && head) {
        ret = read_old(n, a->offset - head, edge, head);
        v[used++] = (struct iovec){edge, head};
    }
    used += viv_iov_slice(v + used, iov, cnt, skip, a->len);
    if (!ret && tail) {
        ret = read_old(n, a->offset + a->len, edge + head, tail);
        v[used++] = (struct iovec){edge + head, tail};
    }
    if (!ret && edge)
        viv_node_event(n->file, VIV_EVENT_COW_WRITE);
    if (!ret)
        ret = viv_io_transfer(n, a->where, true, a->offset - head, a->host - head, v, used, 0, head + a->len + tail);
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
    size_t room = n->granule + n->granule / 8 + 1024; /* what does not shrink is stored all the same, a little longer */
    uint8_t *buf = g_try_malloc(size), *packed = g_try_malloc(room);
    int ret = buf && packed ? 0 : -ENOMEM;

    *len = MIN(*len, start + size - offset);
    if (!ret && *len < size)
        ret = read_old(n, start, buf, size);
    if (!ret) {
        viv_iov_take(iov, cnt, skip, buf + (offset - start), *len);
        ret = n->drv->pack(n, buf, size, packed, &room);
    }
    if (!ret)
        ret = n->drv->write_packed(n, start, packed, room);
    g_free(buf);
    g_free(packed);
    return ret;
}

/* Whom to tell when the last byte of a write has its place. */
struct placed {
    void (*fn)(void *opaque);
    void *opaque;
};

static void tell(const struct placed *p, bool all)
{
    if (p && all)
        p->fn(p->opaque);
}

static int write_rest(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t skip, size_t len,
                      const struct placed *placed)
{
    while (len) {
        struct viv_alloc a;
        int ret = n->drv->alloc(n, offset, len, &a);

        if (ret)
            return ret;
        if (!a.compress)
            tell(placed, a.len == len);
        if (a.compress) {
            ret = write_recompressed(n, offset, iov, cnt, skip, &a.len);
        } else if (a.fresh) {
            ret = write_fresh(n, &a, iov, cnt, skip);
            if (ret)
                n->drv->cancel(n, &a);
            else
                ret = n->drv->commit(n, &a);
        } else {
            ret = viv_io_transfer(n, a.where, true, offset, a.host, iov, cnt, skip, a.len);
        }
        if (ret)
            return ret;
        offset += a.len;
        skip += a.len;
        len -= a.len;
    }
    return 0;
}

int viv_io_write_locked(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    return write_rest(n, offset, iov, cnt, skip, len, NULL);
}

/* Writes from the start for as long as the map lets us overwrite; *done counts. */
static int write_in_place(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len,
                          const struct placed *placed, size_t *done)
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
        tell(placed, *done + step == len);
        ret = viv_io_transfer(n, e.where, true, offset + *done, e.host, iov, cnt, *done, step);
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

/* An image that is another one's file grows as a file does. */
static int grow_to(struct viv_node *n, uint64_t offset, size_t len)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* never makes it smaller again */
    uint64_t end;
    int ret = 0;

    if (!n->parents || !viv_add_u64(offset, len, &end) || !viv_align_up_checked(end, 512, &end))
        return -EINVAL;
    pthread_mutex_lock(&lock);
    if (end > viv_node_size(n))
        ret = viv_node_truncate(n, end, VIV_PREALLOC_OFF, NULL);
    pthread_mutex_unlock(&lock);
    return ret;
}

/* What makes a file longer stays a write. */
static bool is_to_be_zeroed(const struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return n->detect_zeroes && viv_range_inside(offset, len, viv_node_size(n)) && viv_iov_is_zero(iov, cnt, 0, len);
}

static int write_as_zeroes(struct viv_node *n, uint64_t offset, size_t len)
{
    return viv_node_write_zeroes(n, offset, len, n->detect_zeroes == VIV_DETECT_UNMAP ? VIV_BLK_UNMAP : 0);
}

static int write_pieces(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len,
                        const struct placed *placed)
{
    struct viv_range r;
    size_t done = 0;
    int ret = 0;

    if (n->drv->protocol) {
        if (is_to_be_zeroed(n, offset, iov, cnt, len))
            return write_as_zeroes(n, offset, len);
        viv_node_event(n, VIV_EVENT_PWRITEV);
        ret = n->drv->pwritev(n, offset, iov, cnt, len);
        viv_node_event(n, VIV_EVENT_PWRITEV_DONE);
        return ret;
    }
    if (!viv_range_inside(offset, len, viv_node_size(n)) && (ret = grow_to(n, offset, len)) != 0)
        return ret;
    if (n->probed_raw && (ret = check_probed(n, offset, iov, cnt, len)) != 0)
        return ret;
    if (is_to_be_zeroed(n, offset, iov, cnt, len))
        return write_as_zeroes(n, offset, len);
    if (!viv_io_partial_unit(n, offset, len)) {
        viv_io_lock(n, &r, offset, len, false);
        ret = write_in_place(n, offset, iov, cnt, len, placed, &done);
        viv_io_unlock(n, &r);
    }
    if (!ret && done < len) {
        viv_io_lock(n, &r, offset + done, len - done, true);
        ret = write_rest(n, offset + done, iov, cnt, done, len - done, placed);
        viv_io_unlock(n, &r);
    }
    return ret;
}

static int write_data(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len,
                      const struct placed *placed)
{
    int ret;

    if (n->read_only)
        return -EROFS;
    viv_node_will_write(n, offset, len);
    ret = write_pieces(n, offset, iov, cnt, len, placed);
    viv_node_did_write(n, offset, len);
    return ret;
}

int viv_node_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return write_data(n, offset, iov, cnt, len, NULL);
}

int viv_node_pwrite_placed(struct viv_node *n, uint64_t offset, const void *buf, size_t len, void (*placed)(void *opaque),
                           void *opaque)
{
    struct iovec v = {(void *)buf, len};
    struct placed p = {placed, opaque};

    return write_data(n, offset, &v, 1, len, &p);
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
    viv_node_will_write(n, offset, MIN(n->granule, viv_node_size(n) - offset));
    viv_io_lock(n, &r, offset, 1, true);
    ret = n->drv->write_packed(n, offset, packed, len);
    viv_io_unlock(n, &r);
    viv_node_did_write(n, offset, MIN(n->granule, viv_node_size(n) - offset));
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
    viv_node_will_write(n, offset, len);
    viv_io_lock(n, &r, offset, len, true);
    ret = n->drv->write_compressed(n, offset, buf, len);
    if (ret == -E2BIG)
        ret = viv_io_write_locked(n, offset, &v, 1, 0, len);
    viv_io_unlock(n, &r);
    viv_node_did_write(n, offset, len);
    return ret;
}
/* --- VM state: as data, behind the disk --- */

/* Where `len` bytes of it from `pos` on lie. */
static int state_at(struct viv_node *n, uint64_t pos, size_t len, uint64_t *offset)
{
    uint64_t end;
    int ret;

    if (!n->drv->snapshots || !n->drv->snapshots->state_area)
        return -ENOTSUP;
    if (!viv_add_u64(pos, len, &end))
        return -EFBIG;
    ret = n->drv->snapshots->state_area(n, end, offset);
    *offset += pos;
    return ret;
}

int viv_node_state_write(struct viv_node *n, uint64_t pos, const void *buf, size_t len)
{
    struct iovec v = {(void *)buf, len};
    struct viv_range r;
    uint64_t offset = 0;
    int ret = n->read_only ? -EROFS : state_at(n, pos, len, &offset);

    if (ret)
        return ret;
    viv_io_lock(n, &r, offset, len, true);
    ret = viv_io_write_locked(n, offset, &v, 1, 0, len);
    viv_io_unlock(n, &r);
    return ret;
}

int viv_node_state_read(struct viv_node *n, uint64_t pos, void *buf, size_t len)
{
    struct iovec v = {buf, len};
    struct viv_range r;
    uint64_t offset = 0;
    int ret = state_at(n, pos, len, &offset);

    if (ret)
        return ret;
    viv_io_lock(n, &r, offset, len, false);
    ret = viv_io_read_locked(n, offset, &v, 1, 0, len);
    viv_io_unlock(n, &r);
    return ret;
}
