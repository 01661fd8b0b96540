#include "nbd/server_int.h"

#include "base/checked.h"
#include "base/log.h"
#include "block/bitmap.h"
#include "block/image.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* The layer of the chain that stores a bitmap of this name. */
static int find_bitmap(struct viv_node *n, const char *name, struct viv_node **where, struct viv_bitmap_info *out,
                       struct viv_err *err)
{
    for (; n; n = n->backing) {
        const struct viv_bitmap_ops *ops = n->drv->bitmaps;
        struct viv_bitmap_info *list = NULL;
        unsigned count = 0, i = 0;
        int ret = ops ? ops->list(n, &list, &count, err) : 0;

        if (ret)
            return ret;
        while (i < count && strcmp(list[i].name, name) != 0)
            i++;
        if (i < count) {
            *out = list[i];
            out->name = NULL;
            *where = n;
        }
        viv_bitmap_info_free(list, count);
        if (i < count)
            return 0;
    }
    return viv_fail(err, ENOENT, "Bitmap '%s' is not found", name);
}

/* The layer's bits as they are now. */
static int load_stored(struct viv_nbd_bitmap *b, struct viv_node *n, const char *name, const struct viv_bitmap_info *info,
                       struct viv_err *err)
{
    if (info->in_use)
        return viv_fail(err, EINVAL, "Bitmap '%s' is inconsistent (its last user did not close it): no answers can be had "
                        "from it", name);
    if (!info->granularity || (info->granularity & (info->granularity - 1)))
        return viv_fail(err, EINVAL, "bitmap '%s' has a granularity of %u", name, info->granularity);
    b->granularity = info->granularity;
    return n->drv->bitmaps->load(n, name, &b->bits, &b->bytes, err);
}

/* In memory, in whichever layer. */
static struct viv_bitmap *find_live(struct viv_node *n, const char *name)
{
    struct viv_bitmap *b = NULL;

    for (; n && !b; n = n->backing)
        b = viv_bitmap_find(n, name);
    return b;
}

static int add_bitmap(struct viv_nbd_export *e, const char *name, struct viv_err *err)
{
    struct viv_nbd_bitmap *b = &e->bitmap[e->bitmaps];
    struct viv_bitmap_info info = {0};
    struct viv_node *n = NULL;
    int ret = 0;

    b->live = find_live(viv_blk_node(e->blk), name);
    if (b->live && b->live->enabled && !e->writable && !b->live->node->read_only)
        return viv_fail(err, EINVAL, "Enabled bitmap '%s' incompatible with readonly export", name);
    if (b->live) {
        b->live->users++;
        b->node = b->live->node; /* the handle may leave it, and it its name */
        viv_node_get(b->node);
    } else {
        ret = find_bitmap(viv_blk_node(e->blk), name, &n, &info, err);
    }
    if (!ret && !b->live)
        ret = load_stored(b, n, name, &info, err);
    if (ret)
        return ret;
    b->context = g_strdup_printf("qemu:dirty-bitmap:%s", name);
    e->bitmaps++;
    return 0;
}

static int check_spec(struct viv_blk *blk, const struct viv_nbd_export_spec *spec, struct viv_err *err)
{
    uint64_t disk = viv_blk_size(blk);

    if (strlen(spec->name) > VIV_NBD_MAX_STRING)
        return viv_fail(err, EINVAL, "export name '%.40s...' is longer than %u bytes", spec->name, VIV_NBD_MAX_STRING);
    if (spec->description && strlen(spec->description) > VIV_NBD_MAX_STRING)
        return viv_fail(err, EINVAL, "export description '%.40s...' is longer than %u bytes", spec->description,
                        VIV_NBD_MAX_STRING);
    if (spec->offset > disk || (spec->size != UINT64_MAX && !viv_range_inside(spec->offset, spec->size, disk)))
        return viv_fail(err, EINVAL, "offset %llu and size do not lie in the image, which has %llu bytes",
                        (unsigned long long)spec->offset, (unsigned long long)disk);
    if (spec->bitmap_count > VIV_NBD_BITMAPS_MAX)
        return viv_fail(err, EINVAL, "more than %u bitmaps", VIV_NBD_BITMAPS_MAX);
    return 0;
}

int viv_nbd_export_new(struct viv_blk *blk, const struct viv_nbd_export_spec *spec, struct viv_nbd_export **out,
                       struct viv_err *err)
{
    struct viv_nbd_export *e;
    int ret = check_spec(blk, spec, err);

    if (ret)
        return ret;
    e = g_new0(struct viv_nbd_export, 1);
    e->refs = 1;
    e->name = g_strdup(spec->name);
    e->description = g_strdup(spec->description);
    e->blk = blk;
    e->offset = spec->offset;
    e->size = spec->size == UINT64_MAX ? viv_blk_size(blk) - spec->offset : spec->size;
    e->writable = spec->writable && viv_blk_writable(blk);
    e->multi_conn = spec->multi_conn;
    e->depth = spec->allocation_depth;
    e->bitmap = g_new0(struct viv_nbd_bitmap, spec->bitmap_count);
    for (unsigned i = 0; i < spec->bitmap_count && !ret; i++)
        ret = add_bitmap(e, spec->bitmaps[i], err);
    if (ret) {
        viv_nbd_export_put(&e);
        return ret;
    }
    *out = e;
    return 0;
}

struct viv_nbd_export *viv_nbd_export_ref(struct viv_nbd_export *e)
{
    if (e)
        __atomic_fetch_add(&e->refs, 1, __ATOMIC_RELAXED);
    return e;
}

/* A node may be closed, which is worth a word if it fails. */
void viv_nbd_export_let_go(struct viv_nbd_export *e)
{
    for (unsigned i = 0; i < e->bitmaps; i++) {
        struct viv_nbd_bitmap *b = &e->bitmap[i];
        int ret;

        if (b->live)
            b->live->users--;
        b->live = NULL;
        ret = viv_node_put(&b->node);
        if (ret)
            viv_error("the image of bitmap '%s' could not be written completely: %s", b->context, strerror(-ret));
    }
}

static void free_export(struct viv_nbd_export *e)
{
    viv_nbd_export_let_go(e);
    for (unsigned i = 0; i < e->bitmaps; i++) {
        g_free(e->bitmap[i].context);
        g_free(e->bitmap[i].bits);
    }
    g_free(e->bitmap);
    g_free(e->name);
    g_free(e->description);
    g_free(e);
}

void viv_nbd_export_put(struct viv_nbd_export **ep)
{
    struct viv_nbd_export *e = *ep;

    *ep = NULL;
    if (e && __atomic_sub_fetch(&e->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free_export(e);
}

void viv_nbd_export_free(struct viv_nbd_export *e)
{
    viv_nbd_export_put(&e);
}

uint64_t viv_nbd_export_size(const struct viv_nbd_export *e)
{
    return e->size;
}

uint16_t viv_nbd_flags(const struct viv_nbd_export *e, bool structured)
{
    unsigned f = VIV_NBD_HAS_FLAGS | VIV_NBD_SEND_FLUSH | VIV_NBD_SEND_FUA | VIV_NBD_SEND_CACHE;

    f |= e->writable ? VIV_NBD_SEND_TRIM | VIV_NBD_SEND_WRITE_ZEROES : VIV_NBD_READ_ONLY;
    if (structured)
        f |= VIV_NBD_SEND_DF;
    if (e->multi_conn)
        f |= VIV_NBD_MULTI_CONN;
    return f;
}

uint16_t viv_nbd_export_flags(const struct viv_nbd_export *e)
{
    return viv_nbd_flags(e, false);
}
