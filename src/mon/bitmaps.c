/* What commands do to dirty bitmaps: those in memory, those that an image keeps, and of these the ones that follow writes
 * (in memory while the image is open) and the ones that sleep. */
#include "mon/bitmaps.h"

#include "block/bitmap.h"
#include "block/image.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

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
static int find(struct viv_node *n, const char *name, struct found *f, struct viv_err *err)
{
    int ret;

    *f = (struct found){.n = n};
    f->b = viv_bitmap_find(f->n, name);
    ret = f->b && !f->b->stored ? 0 : find_stored(f, name, err);
    if (ret)
        return ret;
    return f->b || f->stored ? 0 : viv_fail(err, ENOENT, "Dirty bitmap '%s' not found", name);
}

/* To be changed: nobody may be using it, and its bits must mean something. */
static int find_free(struct viv_node *n, const char *name, struct found *f, struct viv_err *err)
{
    int ret = find(n, name, f, err);

    if (!ret && f->b && f->b->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' is currently in use by another operation and cannot be used", name);
    if (!ret && f->stored && f->info.in_use)
        return viv_fail(err, EINVAL, "Bitmap '%s' is inconsistent and cannot be used (block-dirty-bitmap-remove deletes it)", name);
    return ret;
}

/* --- add --- */

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

static int add(const struct viv_mon_bitmap_args *a, struct viv_err *err)
{
    struct viv_err none = VIV_ERR_INIT;
    struct viv_bitmap_info info = {.name = a->name, .automatic = !a->disabled};
    struct found f;
    int ret;

    if (!*a->name)
        return viv_fail(err, EINVAL, "Bitmap name cannot be empty");
    ret = find(a->n, a->name, &f, &none);
    if (!ret)
        return viv_fail(err, EEXIST, "Bitmap already exists: %s", a->name);
    if (ret != -ENOENT)
        return viv_fail(err, -ret, "%s", none.text);
    info.granularity = a->has_granularity ? a->granularity : viv_bitmap_default_granularity(f.n);
    if (info.granularity < 512 || (info.granularity & (info.granularity - 1)))
        return viv_fail(err, EINVAL, "Granularity must be power of 2 and at least 512");
    return add_to(f.n, &info, a->persistent, err);
}

/* --- remove, clear, enable, disable --- */

static int do_remove(const struct viv_mon_bitmap_args *a, struct viv_err *err)
{
    struct found f;
    int ret = find(a->n, a->name, &f, err);

    if (!ret && f.b && f.b->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' is currently in use by another operation and cannot be used", a->name);
    if (ret)
        return ret;
    if (f.stored)
        return f.n->drv->bitmaps->remove(f.n, a->name, err);
    viv_bitmap_free(f.b);
    return 0;
}

static int do_clear(const struct viv_mon_bitmap_args *a, struct viv_err *err)
{
    struct found f;
    int ret = find_free(a->n, a->name, &f, err);

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

static int set_enabled(const struct viv_mon_bitmap_args *a, bool on, struct viv_err *err)
{
    struct found f;
    int ret = find_free(a->n, a->name, &f, err);

    if (ret)
        return ret;
    if (f.stored)
        return set_stored(&f, on, err);
    viv_bitmap_enable(f.b, on);
    return 0;
}

/* --- merge --- */

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

static int merge_one(struct viv_node *n, const char *name, struct viv_bitmap *to, struct viv_err *err)
{
    struct viv_bitmap *from = NULL;
    struct found f;
    int ret = find_free(n, name, &f, err);

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

/* All or none: they are merged into a copy first. */
static int do_merge(const struct viv_mon_bitmap_args *a, struct viv_err *err)
{
    struct viv_bitmap *to = NULL, *sum = NULL;
    struct found f;
    int ret = find_free(a->n, a->name, &f, err);

    if (!ret)
        ret = wake(&f, &to, err);
    if (!ret)
        ret = viv_bitmap_new(f.n, NULL, to->granularity, &sum, err);
    if (!ret)
        viv_bitmap_enable(sum, false);
    for (unsigned i = 0; !ret && i < a->sources; i++)
        ret = merge_one(a->source[i].n, a->source[i].name, sum, err);
    if (!ret)
        ret = viv_bitmap_merge(to, sum, err);
    if (!ret && !f.b)
        ret = keep(&f, to, err);
    viv_bitmap_free(sum);
    if (!f.b)
        viv_bitmap_free(to);
    return ret;
}

int viv_mon_bitmap_do(enum viv_mon_bitmap_verb verb, const struct viv_mon_bitmap_args *a, struct viv_err *err)
{
    switch (verb) {
    case VIV_BITMAP_ADD:
        return add(a, err);
    case VIV_BITMAP_REMOVE:
        return do_remove(a, err);
    case VIV_BITMAP_CLEAR:
        return do_clear(a, err);
    case VIV_BITMAP_ENABLE:
    case VIV_BITMAP_DISABLE:
        return set_enabled(a, verb == VIV_BITMAP_ENABLE, err);
    case VIV_BITMAP_MERGE:
        return do_merge(a, err);
    }
    return -EINVAL;
}

/* --- what it was, to be so again --- */

struct viv_mon_bitmap_saved {
    bool there, stored, live, enabled;
    struct viv_bitmap_info info;
    uint8_t *bits; /* NULL: all clear */
    size_t bytes;
    uint8_t *extra; /* what `info` has of it */
};

void viv_mon_bitmap_saved_free(struct viv_mon_bitmap_saved *s)
{
    if (s) {
        g_free(s->bits);
        g_free(s->extra);
    }
    g_free(s);
}

static int save_bits(struct viv_mon_bitmap_saved *s, struct found *f, const char *name, struct viv_err *err)
{
    if (f->b) {
        s->bytes = f->b->bytes;
        s->bits = viv_bitmap_copy_bits(f->b);
        return s->bits ? 0 : viv_fail(err, ENOMEM, "no memory for a bitmap of %zu bytes", f->b->bytes);
    }
    if (f->info.in_use) /* its bits mean nothing, and nobody changes them: it can only be removed */
        return 0;
    return f->n->drv->bitmaps->load(f->n, name, &s->bits, &s->bytes, err);
}

int viv_mon_bitmap_save(struct viv_node *n, const char *name, struct viv_mon_bitmap_saved **out, struct viv_err *err)
{
    struct viv_mon_bitmap_saved *s = g_new0(struct viv_mon_bitmap_saved, 1);
    struct viv_err none = VIV_ERR_INIT;
    struct found f;
    int ret = find(n, name, &f, &none);

    *out = s;
    if (ret)
        return ret == -ENOENT ? 0 : viv_fail(err, -ret, "%s", none.text);
    s->there = true;
    s->stored = f.stored;
    s->live = f.b;
    s->enabled = f.b && f.b->enabled;
    s->info = f.info;
    s->info.granularity = f.b ? f.b->granularity : f.info.granularity;
    if (s->stored && (ret = f.n->drv->bitmaps->extra(f.n, name, &s->extra, &s->info.extra_len, &s->info.extra_ok, err)) != 0)
        return ret;
    s->info.extra = s->extra;
    return save_bits(s, &f, name, err);
}

static int restore_live(struct viv_node *n, const char *name, const struct viv_mon_bitmap_saved *s, struct viv_err *err)
{
    struct viv_bitmap *b = viv_bitmap_find(n, name);
    int ret = b ? 0 : viv_bitmap_new(n, name, s->info.granularity, &b, err);

    if (ret)
        return ret;
    viv_bitmap_clear(b, 0, b->size);
    viv_bitmap_set_bits(b, s->bits, s->bytes);
    viv_bitmap_enable(b, s->enabled);
    return 0;
}

int viv_mon_bitmap_restore(struct viv_node *n, const char *name, const struct viv_mon_bitmap_saved *s, struct viv_err *err)
{
    struct viv_bitmap_info info = s->info;

    info.name = (char *)name;
    if (!s->there) {
        struct viv_mon_bitmap_args a = {.n = n, .name = (char *)name};

        return do_remove(&a, err);
    }
    if (s->stored) /* store() makes it follow writes again if it did */
        return n->drv->bitmaps->store(n, &info, s->bits, err);
    return restore_live(n, name, s, err);
}
