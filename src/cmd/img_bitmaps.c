/* Taking stored bitmaps along (convert --bitmaps). */
#include "cmd/img_bitmaps.h"

#include "base/log.h"

#include <errno.h>

int img_bitmaps_check_copy(struct viv_node *from, const struct viv_blk_driver *to, bool skip_broken, struct viv_err *err)
{
    struct viv_bitmap_info *list = NULL;
    unsigned count = 0;
    int ret;

    if (!from->drv->bitmaps)
        return viv_fail(err, ENOTSUP, "Format driver '%s' does not support bitmaps", from->drv->name);
    if (!to->bitmaps)
        return viv_fail(err, ENOTSUP, "Format driver '%s' does not support bitmaps", to->name);
    ret = from->drv->bitmaps->list(from, &list, &count, err);
    if (ret)
        return ret;
    for (unsigned i = 0; i < count && !ret && !skip_broken; i++)
        if (list[i].in_use)
            ret = viv_fail(err, EINVAL, "Cannot copy inconsistent bitmap '%s'\n"
                           "Try --skip-broken-bitmaps, or use 'viv-img bitmap --remove' to delete it", list[i].name);
    viv_bitmap_info_free(list, count);
    return ret;
}

static int copy_one(struct viv_node *from, struct viv_node *to, const struct viv_bitmap_info *b, struct viv_err *err)
{
    uint8_t *bits = NULL;
    size_t bytes;
    int ret = from->drv->bitmaps->load(from, b->name, &bits, &bytes, err);

    if (!ret)
        ret = to->drv->bitmaps->store(to, b, bits, err);
    if (ret)
        viv_err_prefix(err, "Failed to copy bitmap '%s'", b->name);
    g_free(bits);
    return ret;
}

int img_bitmaps_copy(struct viv_node *from, struct viv_node *to, bool skip_broken, struct viv_err *err)
{
    struct viv_bitmap_info *list = NULL;
    unsigned count = 0;
    int ret = from->drv->bitmaps->list(from, &list, &count, err);

    if (ret)
        return ret;
    for (unsigned i = 0; i < count && !ret; i++) {
        if (list[i].in_use && skip_broken)
            viv_warn("Skipping inconsistent bitmap '%s'", list[i].name);
        else
            ret = copy_one(from, to, &list[i], err);
    }
    viv_bitmap_info_free(list, count);
    return ret;
}
