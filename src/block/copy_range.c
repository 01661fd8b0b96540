/* Copies that the host does: a piece that lies plainly in a file of the source goes to its place in a file of the target. As any first
 * write it gets room, the data, and only then an entry that points there. */
#include "block/bitmap.h"
#include "block/io_int.h"
#include "block/proto/file/file.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>

/* Where `offset` lies: the layer of the chain that holds it, its file and place there. The layer's range is locked when 0 is returned. */
static int find_source(struct viv_node *n, uint64_t offset, uint64_t *len, struct viv_node **layer, struct viv_range *r,
                       struct viv_extent *e)
{
    for (;;) {
        int ret;

        if (n->drv->protocol || n->copy_on_read)
            return -ENOTSUP;
        if (!viv_range_inside(offset, *len, viv_node_size(n)))
            return -EINVAL;
        viv_io_lock(n, r, offset, *len, false);
        ret = n->drv->map(n, offset, *len, e);
        if (!ret && e->kind == VIV_MAP_DATA && !n->crypt) {
            *len = MIN(*len, e->len);
            *layer = n;
            return 0;
        }
        viv_io_unlock(n, r);
        if (ret || e->kind != VIV_MAP_BACKING || !n->backing || offset >= viv_node_size(n->backing))
            return ret ? ret : -ENOTSUP;
        *len = MIN(MIN(*len, e->len), viv_node_size(n->backing) - offset);
        n = n->backing;
    }
}

/* Into the target's range, which is locked exclusively. */
static int into(struct viv_node *from, uint64_t host, struct viv_node *to, uint64_t offset, uint64_t len, bool share,
                uint64_t *done)
{
    struct viv_alloc a;
    struct viv_node *file;
    int ret = to->drv->alloc(to, offset, len, &a);

    if (ret)
        return ret;
    if (a.compress)
        return -ENOTSUP;
    file = a.where ? a.where : to->file;
    ret = a.head || a.tail ? -ENOTSUP : viv_file_copy_range(from, host, file, a.host, a.len, share, done);
    /* Fresh clusters are whole ones: a copy that stopped in the middle is not linked. */
    if (!ret && a.fresh && *done < a.len)
        ret = -ENOTSUP;
    if (a.fresh && ret)
        to->drv->cancel(to, &a);
    else if (a.fresh)
        ret = to->drv->commit(to, &a);
    return ret;
}

int viv_node_copy_range(struct viv_node *from, uint64_t src, struct viv_node *to, uint64_t dst, uint64_t len, bool share,
                        uint64_t *done)
{
    struct viv_range rs, rt;
    struct viv_node *layer;
    struct viv_extent e;
    int ret;

    if (to->read_only)
        return -EROFS;
    if (to->drv->protocol || to->crypt || to->probed_raw || to->detect_zeroes || to->only_packed)
        return -ENOTSUP;
    if (!len || !viv_range_inside(dst, len, viv_node_size(to)))
        return -EINVAL;
    ret = find_source(from, src, &len, &layer, &rs, &e);
    if (ret)
        return ret;
    if (len > to->granule) /* the rest of a last cluster would have to be filled */
        len = viv_align_down(dst + len, to->granule) - dst;
    viv_io_lock(to, &rt, dst, len, true);
    ret = into(e.where ? e.where : layer->file, e.host, to, dst, len, share, done);
    viv_io_unlock(to, &rt);
    viv_io_unlock(layer, &rs);
    viv_bitmaps_wrote(to, dst, len);
    viv_alarm_wrote(to, dst, len);
    return ret;
}
