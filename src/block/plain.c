#include "block/plain.h"
#include "block/bitmap.h"
#include "block/io_int.h"
#include "block/iov.h"
#include "block/proto/file/file.h"

#include "base/checked.h"

#include <errno.h>
#include <limits.h>

static bool is_plain(const struct viv_node *n, bool writable, const struct viv_blk_req *q)
{
    bool write = q->op == VIV_BLK_WRITE;

    if (q->op != VIV_BLK_READ && !write)
        return false;
    if (write && (!writable || n->read_only || (q->flags & VIV_BLK_FUA) || n->probed_raw || n->detect_zeroes || n->hooks ||
                  (n->file && n->file->detect_zeroes)))
        return false;
    return q->len && q->len <= INT_MAX && q->iovcnt <= IOV_MAX && viv_range_inside(q->offset, q->len, viv_node_size(n)) &&
           viv_iov_bytes(q->iov, q->iovcnt) == q->len;
}

int viv_plain_find(struct viv_node *n, bool writable, const struct viv_blk_req *q, struct viv_plain *out)
{
    struct viv_extent e;
    int fd = -1;

    if (!is_plain(n, writable, q))
        return -1;
    if (n->drv->protocol) {
        out->file = n;
        out->host = q->offset;
        return viv_file_fd_for(n, out->host, q->iov, q->iovcnt);
    }
    if (n->crypt || n->copy_on_read || !viv_io_trylock(n, &out->range, q->offset, q->len))
        return -1;
    if (!n->drv->map(n, q->offset, q->len, &e) && e.kind == VIV_MAP_DATA && e.len >= q->len &&
        (e.in_place || q->op == VIV_BLK_READ)) {
        out->file = e.where ? e.where : n->file;
        out->host = e.host;
        /* What makes the file longer takes turns with those who set its length. */
        if (q->op == VIV_BLK_READ || (!out->file->hooks && viv_range_inside(out->host, q->len, viv_node_size(out->file))))
            fd = viv_file_fd_for(out->file, out->host, q->iov, q->iovcnt);
    }
    if (fd < 0)
        viv_io_unlock(n, &out->range);
    return fd;
}

void viv_plain_release(struct viv_node *n, struct viv_plain *p)
{
    if (!n->drv->protocol)
        viv_io_unlock(n, &p->range);
}

void viv_plain_wrote(struct viv_node *n, const struct viv_plain *p, const struct viv_blk_req *q, bool whole)
{
    if (whole)
        viv_file_grew(p->file, p->host + q->len);
    viv_bitmaps_wrote(n, q->offset, q->len); /* some of it may be there in any case */
    viv_alarm_wrote(n, q->offset, q->len);
    if (p->file != n) {
        viv_bitmaps_wrote(p->file, p->host, q->len);
        viv_alarm_wrote(p->file, p->host, q->len);
    }
}

int viv_plain_try(struct viv_node *n, bool writable, const struct viv_blk_req *q)
{
    bool write = q->op == VIV_BLK_WRITE;
    struct viv_plain p;
    int ret;

    if (viv_plain_find(n, writable, q, &p) < 0)
        return -EAGAIN;
    ret = viv_file_try(p.file, write, p.host, q->iov, q->iovcnt, q->len);
    if (write)
        viv_plain_wrote(n, &p, q, !ret);
    viv_plain_release(n, &p);
    return ret;
}
