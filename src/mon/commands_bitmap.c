/* QMP about dirty bitmaps: those in memory, those that an image keeps, and of these the ones that follow writes
 * (in memory while the image is open) and the ones that sleep. */
#include "mon/mon_int.h"

#include "block/bitmap.h"
#include "block/image.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* A bitmap as a command means it. */
struct found {
    struct viv_node *n;
    struct viv_bitmap *b;        /* in memory; NULL: it sleeps */
    struct viv_bitmap_info info; /* of a stored one; name borrowed */
    bool stored;
};

static int find_stored(struct found *f, const char *name, struct viv_err *err)
{
    const struct viv_bitmap_ops *ops = f->n->drv->bitmaps;
    struct viv_bitmap_info *list = NULL;
    unsigned count = 0;
    int ret = ops ? ops->list(f->n, &list, &count, err) : 0;

    for (unsigned i = 0; i < count; i++) {
        if (strcmp(list[i].name, name) != 0)
            continue;
        f->info = list[i];
        f->info.name = (char *)name;
        f->stored = true;
    }
    viv_bitmap_info_free(list, count);
    return ret;
}

/* -ENOENT: there is none. */
static int find(const char *node, const char *name, struct found *f, struct viv_err *err)
{
    int ret;

    *f = (struct found){.n = viv_mon_find_node(node)};
    if (!f->n)
        return viv_fail(err, EINVAL, "Node '%s' not found", node);
    f->b = viv_bitmap_find(f->n, name);
    ret = f->b && !f->b->stored ? 0 : find_stored(f, name, err);
    if (ret)
        return ret;
    return f->b || f->stored ? 0 : viv_fail(err, ENOENT, "Dirty bitmap '%s' not found", name);
}

/* To be changed: nobody may be using it, and its bits must mean something. */
static int find_free(const char *node, const char *name, struct found *f, struct viv_err *err)
{
    int ret = find(node, name, f, err);

    if (!ret && f->b && f->b->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' is currently in use by another operation and cannot be used", name);
    if (!ret && f->stored && f->info.in_use)
        return viv_fail(err, EINVAL, "Bitmap '%s' is inconsistent and cannot be used (block-dirty-bitmap-remove deletes it)", name);
    return ret;
}

/* --- add --- */

static const struct viv_opt_def add_args[] = {
    {.name = "node", .type = VIV_OPT_STR, .required = true},
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    {.name = "granularity", .type = VIV_OPT_INT, .min = 0, .max = UINT32_MAX},
    {.name = "persistent", .type = VIV_OPT_BOOL},
    {.name = "disabled", .type = VIV_OPT_BOOL},
    VIV_OPT_END,
};

static int add_to(struct viv_node *n, const struct viv_bitmap_info *info, bool persistent, struct viv_err *err)
{
    struct viv_bitmap *b;
    int ret;

    if (persistent && !n->drv->bitmaps)
        return viv_fail(err, ENOTSUP, "Can't store persistent bitmaps: %s images have none", n->drv->name);
    if (persistent)
        return n->drv->bitmaps->store(n, info, NULL, err);
    ret = viv_bitmap_new(n, info->name, info->granularity, &b, err);
    if (!ret)
        viv_bitmap_enable(b, info->automatic);
    return ret;
}

COMMAND(add)
{
    const char *node = viv_opts_str(o, "node"), *name = viv_opts_str(o, "name");
    struct viv_err none = VIV_ERR_INIT;
    struct viv_bitmap_info info = {.name = (char *)name, .automatic = !viv_opts_bool(o, "disabled")};
    struct found f;
    int ret;

    if (!*name)
        return viv_fail(err, EINVAL, "Bitmap name cannot be empty");
    if (!viv_mon_find_node(node))
        return viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", node, node);
    ret = find(node, name, &f, &none);
    if (!ret)
        return viv_fail(err, EEXIST, "Bitmap already exists: %s", name);
    if (ret != -ENOENT)
        return viv_fail(err, -ret, "%s", none.text);
    info.granularity = viv_opts_given(o, "granularity") ? viv_opts_int(o, "granularity") : viv_bitmap_default_granularity(f.n);
    if (info.granularity < 512 || (info.granularity & (info.granularity - 1)))
        return viv_fail(err, EINVAL, "Granularity must be power of 2 and at least 512");
    return add_to(f.n, &info, viv_opts_bool(o, "persistent"), err);
}

/* --- remove, clear, enable, disable --- */

static const struct viv_opt_def name_args[] = {
    {.name = "node", .type = VIV_OPT_STR, .required = true},
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(do_remove)
{
    const char *name = viv_opts_str(o, "name");
    struct found f;
    int ret = find(viv_opts_str(o, "node"), name, &f, err);

    if (!ret && f.b && f.b->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' is currently in use by another operation and cannot be used", name);
    if (ret)
        return ret;
    if (f.stored)
        return f.n->drv->bitmaps->remove(f.n, name, err);
    viv_bitmap_free(f.b);
    return 0;
}

COMMAND(do_clear)
{
    struct found f;
    int ret = find_free(viv_opts_str(o, "node"), viv_opts_str(o, "name"), &f, err);

    if (ret)
        return ret;
    if (!f.b)
        return f.n->drv->bitmaps->store(f.n, &f.info, NULL, err);
    viv_bitmap_clear(f.b, 0, f.b->size);
    return 0;
}

/* A stored bitmap is put to sleep or woken: written as what it will be. One that follows writes stops first, so what is
 * copied is all it will ever hold; when it cannot be written it goes on, and says "all dirty" for what it may have missed. */
static int set_stored(struct found *f, bool on, struct viv_err *err)
{
    uint8_t *bits = NULL;
    size_t bytes;
    int ret;

    if (on == f->info.automatic)
        return 0;
    if (f->b)
        viv_bitmap_enable(f->b, false);
    ret = f->n->drv->bitmaps->load(f->n, f->info.name, &bits, &bytes, err);
    f->info.automatic = on;
    if (!ret)
        ret = f->n->drv->bitmaps->store(f->n, &f->info, bits, err);
    if (ret && f->b) {
        viv_bitmap_enable(f->b, true);
        viv_bitmap_mark(f->b, 0, f->b->size);
    }
    g_free(bits);
    return ret;
}

static int set_enabled(struct viv_opts *o, bool on, struct viv_err *err)
{
    struct found f;
    int ret = find_free(viv_opts_str(o, "node"), viv_opts_str(o, "name"), &f, err);

    if (ret)
        return ret;
    if (f.stored)
        return set_stored(&f, on, err);
    viv_bitmap_enable(f.b, on);
    return 0;
}

COMMAND(do_enable)
{
    return set_enabled(o, true, err);
}

COMMAND(do_disable)
{
    return set_enabled(o, false, err);
}

/* --- merge --- */

static const struct viv_opt_def merge_args[] = {
    {.name = "node", .type = VIV_OPT_STR, .required = true},
    {.name = "target", .type = VIV_OPT_STR, .required = true},
    {.name = "bitmaps", .type = VIV_OPT_LIST},
    VIV_OPT_END,
};

/* In memory, for as long as the command runs. */
static int wake(struct found *f, struct viv_bitmap **out, struct viv_err *err)
{
    struct viv_bitmap *b;
    uint8_t *bits = NULL;
    size_t bytes;
    int ret;

    if (f->b) {
        *out = f->b;
        return 0;
    }
    ret = f->n->drv->bitmaps->load(f->n, f->info.name, &bits, &bytes, err);
    if (!ret)
        ret = viv_bitmap_new(f->n, NULL, f->info.granularity, &b, err);
    if (!ret) {
        viv_bitmap_enable(b, false);
        viv_bitmap_set_bits(b, bits, bytes);
        *out = b;
    }
    g_free(bits);
    return ret;
}

static int merge_one(const char *node, const char *name, struct viv_bitmap *to, struct viv_err *err)
{
    struct viv_bitmap *from = NULL;
    struct found f;
    int ret = find_free(node, name, &f, err);

    if (!ret)
        ret = wake(&f, &from, err);
    if (!ret)
        ret = viv_bitmap_merge(to, from, err);
    if (!f.b)
        viv_bitmap_free(from);
    return ret;
}

static int keep(struct found *f, struct viv_bitmap *b, struct viv_err *err)
{
    uint8_t *bits = viv_bitmap_copy_bits(b);
    int ret = bits ? f->n->drv->bitmaps->store(f->n, &f->info, bits, err)
                   : viv_fail(err, ENOMEM, "no memory for a bitmap of %zu bytes", b->bytes);

    g_free(bits);
    return ret;
}

/* "bitmaps": ["a", "b"]: bitmaps of the same node. All or none: they are merged into a copy first. */
COMMAND(do_merge)
{
    const char *node = viv_opts_str(o, "node");
    struct viv_bitmap *to = NULL, *sum = NULL;
    struct found f;
    int ret = find_free(node, viv_opts_str(o, "target"), &f, err);

    if (!ret)
        ret = wake(&f, &to, err);
    if (!ret)
        ret = viv_bitmap_new(f.n, NULL, to->granularity, &sum, err);
    if (!ret)
        viv_bitmap_enable(sum, false);
    for (size_t i = 0; !ret && i < viv_opts_list_len(o, "bitmaps"); i++)
        ret = merge_one(node, viv_opts_list_item(o, "bitmaps", i), sum, err);
    if (!ret)
        ret = viv_bitmap_merge(to, sum, err);
    if (!ret && !f.b)
        ret = keep(&f, to, err);
    viv_bitmap_free(sum);
    if (!f.b)
        viv_bitmap_free(to);
    return ret;
}

const struct viv_mon_cmd viv_mon_bitmaps[] = {
    {.qmp = "block-dirty-bitmap-add", .args = add_args, .fn = add},
    {.qmp = "block-dirty-bitmap-remove", .args = name_args, .fn = do_remove},
    {.qmp = "block-dirty-bitmap-clear", .args = name_args, .fn = do_clear},
    {.qmp = "block-dirty-bitmap-enable", .args = name_args, .fn = do_enable},
    {.qmp = "block-dirty-bitmap-disable", .args = name_args, .fn = do_disable},
    {.qmp = "block-dirty-bitmap-merge", .args = merge_args, .fn = do_merge},
    {0},
};
