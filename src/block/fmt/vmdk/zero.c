/* Zeroes and discards: on the places of what has one. Where nothing is and a parent would show, the entry becomes "zeroed",
 * if the image has that ("zeroed_grain"); else the core writes zeroes. */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/checked.h"

#include <errno.h>

/* The grains of [in, in + len) get `value`, 0 or "zeroed"; under the lock. */
static int mark(struct vmdk_sparse *s, uint64_t in, uint64_t len, uint32_t value)
{
    uint64_t grain = in / s->grain, end = (in + len - 1) / s->grain + 1;
    int ret = s->meta ? vmdk_make_room(s->v) : -EROFS;

    for (; !ret && grain < end; grain++) {
        uint32_t table = grain / s->gtes;
        struct vmdk_page *p;

        if (!s->gd[table])
            ret = vmdk_new_table(s, table);
        if (!ret)
            ret = vmdk_page_get(s, table, &p);
        if (!ret && vmdk_page_entry(p, grain % s->gtes) != value)
            vmdk_page_set(p, grain % s->gtes, value);
    }
    return ret;
}

/* Nothing, or a stored grain, becomes zero. -ENOTSUP: the map cannot say it. */
static int zero_in_map(struct vmdk *v, const struct vmdk_extent *e, uint64_t in, uint64_t len, enum viv_map_kind kind)
{
    bool parent = v->node->backing || v->desc.parent;
    int ret;

    if (kind == VIV_MAP_ZERO || (kind == VIV_MAP_BACKING && !parent))
        return 0;
    if (e->read_only)
        return -EROFS;
    if (parent && !e->sparse->zeroed)
        return -ENOTSUP;
    pthread_mutex_lock(&v->lock);
    ret = vmdk_start_writing(v);
    if (!ret)
        ret = mark(e->sparse, in, len, parent ? VMDK_ZEROED : 0);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

static int start(struct vmdk *v, const struct vmdk_extent *e)
{
    int ret;

    if (e->read_only)
        return -EROFS;
    pthread_mutex_lock(&v->lock);
    ret = vmdk_start_writing(v);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

int vmdk_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct vmdk *v = n->state;

    while (len) {
        const struct vmdk_extent *e = vmdk_extent_at(v, offset);
        struct viv_extent x;
        int ret = vmdk_map(n, offset, len, &x);

        if (!ret && x.kind == VIV_MAP_DATA) {
            ret = start(v, e);
            if (!ret)
                ret = viv_node_write_zeroes(x.where, x.host, x.len, flags);
        } else if (!ret) {
            ret = zero_in_map(v, e, offset - e->start, x.len, x.kind);
        }
        if (ret)
            return ret;
        offset += x.len;
        len -= x.len;
    }
    return 0;
}

int vmdk_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct vmdk *v = n->state;

    while (len) {
        const struct vmdk_extent *e = vmdk_extent_at(v, offset);
        struct viv_extent x;
        int ret = vmdk_map(n, offset, len, &x);

        if (!ret && x.kind == VIV_MAP_DATA && !e->read_only) {
            ret = start(v, e);
            if (!ret)
                ret = viv_node_discard(x.where, x.host, x.len);
        }
        if (ret)
            return ret;
        offset += x.len;
        len -= x.len;
    }
    return 0;
}
