/* Dirty bitmaps of an image: the tools' operations; see bitmap.h. */
#include "block/fmt/qcow2/bitmap.h"

#include <errno.h>
#include <string.h>

static int list(struct viv_node *n, struct viv_bitmap_info **out, unsigned *count, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    struct viv_bitmap_info *info;

    if (q->bitmaps_wrong)
        return viv_fail(err, EINVAL, "'%s': %s", n->filename, q->bitmaps_wrong);
    pthread_mutex_lock(&q->lock);
    *count = q->bitmap_count;
    *out = info = g_new0(struct viv_bitmap_info, q->bitmap_count);
    for (uint32_t i = 0; i < q->bitmap_count; i++) {
        const struct qcow2_bitmap *b = &q->bitmaps[i];

        info[i] = (struct viv_bitmap_info){.name = g_strdup(b->name),
                                           .granularity = 1u << b->granularity_bits,
                                           .in_use = (b->flags & QCOW2_BITMAP_IN_USE) && !b->live,
                                           .automatic = b->flags & QCOW2_BITMAP_AUTO,
                                           .has_extra = b->extra_len != 0};
    }
    pthread_mutex_unlock(&q->lock);
    return 0;
}

static int no_such(struct qcow2 *q, const char *name, struct viv_err *err)
{
    return viv_fail(err, ENOENT, "'%s' has no bitmap '%s'", q->node->filename, name);
}

static int explain(struct qcow2 *q, int ret, const char *verb, const char *name, struct viv_err *err)
{
    if (ret == -ENOSPC)
        return viv_fail(err, ENOSPC, "Could not %s bitmap '%s': no room in the file system or in the header's cluster of '%s'",
                        verb, name, q->node->filename);
    return ret ? viv_fail_os(err, -ret, "Could not %s bitmap '%s' of '%s'", verb, name, q->node->filename) : 0;
}

static int load_locked(struct qcow2 *q, const char *name, uint8_t **bits, size_t *bytes, struct viv_err *err)
{
    const struct qcow2_bitmap *b = qcow2_find_bitmap(q, name);
    int ret;

    if (!b)
        return no_such(q, name, err);
    if (b->live) {
        *bytes = b->live->bytes;
        *bits = viv_bitmap_copy_bits(b->live);
        return *bits ? 0 : explain(q, -ENOMEM, "load", name, err);
    }
    if (b->flags & QCOW2_BITMAP_IN_USE)
        return viv_fail(err, EINVAL,
                        "Bitmap '%s' of '%s' is in use by another program, or was not saved by one that ended: what it says "
                        "is out of date. If no program has the image open, it can only be removed",
                        name, q->node->filename);
    ret = qcow2_load_bits(q, b, viv_node_size(q->node), bits, bytes);
    if (ret == -ESTALE)
        return viv_fail(err, EINVAL, "Bitmap '%s' of '%s' was stored for a disk of another size", name, q->node->filename);
    if (ret == -EUCLEAN)
        return viv_fail(err, EINVAL, "Bitmap '%s' of '%s' is corrupt; it can only be removed", name, q->node->filename);
    return explain(q, ret, "load", name, err);
}

static int load(struct viv_node *n, const char *name, uint8_t **bits, size_t *bytes, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = load_locked(q, name, bits, bytes, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int may_change(struct qcow2 *q, struct viv_err *err)
{
    if (q->node->read_only)
        return viv_fail(err, EROFS, "'%s' is open read-only", q->node->filename);
    if (q->version < 3)
        return viv_fail(err, ENOTSUP, "'%s' is of version 2, which has no dirty bitmaps; 'viv-img amend -o compat=1.1' makes it "
                                      "version 3",
                        q->node->filename);
    return 0;
}

static int check_new(struct qcow2 *q, const struct viv_bitmap_info *info, struct viv_err *err)
{
    if (!info->name || !*info->name || strlen(info->name) > QCOW2_BITMAP_NAME_MAX)
        return viv_fail(err, EINVAL, "A bitmap's name has 1 to %u bytes", QCOW2_BITMAP_NAME_MAX);
    if (info->granularity < VIV_BITMAP_GRANULARITY_MIN || info->granularity > VIV_BITMAP_GRANULARITY_MAX ||
        (info->granularity & (info->granularity - 1)))
        return viv_fail(err, EINVAL, "A bitmap's granularity is a power of two from 512 to 2G, not %u", info->granularity);
    if (!viv_bitmap_bytes(viv_node_size(q->node), info->granularity))
        return viv_fail(err, EFBIG, "Bitmap '%s' with a granularity of %u bytes would need more than 512 MiB; a larger "
                                    "granularity needs less",
                        info->name, info->granularity);
    if (q->bitmap_count >= QCOW2_BITMAPS_MAX && !qcow2_find_bitmap(q, info->name))
        return viv_fail(err, EFBIG, "'%s' has %u bitmaps already; no more fit", q->node->filename, q->bitmap_count);
    return 0;
}

/* The entry in the list to come: the old one's place and extra data, or a new place. */
static struct qcow2_bitmap *place(struct qcow2_bitmap_change *c, const struct viv_bitmap_info *info)
{
    const struct qcow2_bitmap *old = qcow2_find_bitmap(c->q, info->name);
    struct qcow2_bitmap *b = old ? &c->list[old - c->q->bitmaps] : &c->list[c->count++];

    if (old) {
        qcow2_bitmaps_drop(c, old);
    } else {
        b->name = g_strdup(info->name);
        b->extra = g_memdup2(info->extra, info->extra_len);
        b->extra_len = info->extra_len;
    }
    b->granularity_bits = __builtin_ctz(info->granularity);
    b->flags = info->automatic ? QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE : 0; /* in use: it lives until we close */
    b->flags |= info->in_use ? QCOW2_BITMAP_IN_USE : 0; /* or was lost, and is to be so again */
    b->flags |= old ? old->flags & QCOW2_BITMAP_EXTRA_OK : info->extra_ok ? QCOW2_BITMAP_EXTRA_OK : 0;
    b->live = NULL;
    return b;
}

static int store_locked(struct qcow2 *q, const struct viv_bitmap_info *info, const uint8_t *bits, struct viv_err *err)
{
    size_t bytes = viv_bitmap_bytes(viv_node_size(q->node), info->granularity);
    struct qcow2_bitmap *old = qcow2_find_bitmap(q, info->name), *b = NULL;
    struct viv_bitmap *live = old ? old->live : NULL;
    bool is_new = !old;
    struct qcow2_bitmap_change c;
    char *fresh;
    uint8_t *extra;
    int ret;

    if (live && live->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' of '%s' is being used", info->name, q->node->filename);
    ret = qcow2_bitmaps_begin(&c, q);
    if (!ret) {
        b = place(&c, info);
        ret = qcow2_store_bits(q, b, bits, bytes, c.taken);
    }
    fresh = is_new && b ? b->name : NULL;
    extra = is_new && b ? b->extra : NULL;
    ret = qcow2_bitmaps_end(&c, ret, viv_node_size(q->node));
    if (ret) {
        g_free(fresh);
        g_free(extra);
        return explain(q, ret, "store", info->name, err);
    }
    viv_bitmap_free(live);
    b = qcow2_find_bitmap(q, info->name);
    return info->automatic && !info->in_use ? qcow2_bitmap_make_live(q, b, bits, bits ? bytes : 0, err) : 0;
}

static int store(struct viv_node *n, const struct viv_bitmap_info *info, const uint8_t *bits, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    int ret = may_change(q, err);

    if (!ret)
        ret = check_new(q, info, err);
    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = store_locked(q, info, bits, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int remove_locked(struct qcow2 *q, const char *name, struct viv_err *err)
{
    struct qcow2_bitmap *b = qcow2_find_bitmap(q, name), gone;
    struct qcow2_bitmap_change c;
    int ret;

    if (!b)
        return no_such(q, name, err);
    if (b->live && b->live->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' of '%s' is being used", name, q->node->filename);
    gone = *b;
    ret = qcow2_bitmaps_begin(&c, q);
    if (!ret) {
        qcow2_bitmaps_drop(&c, b);
        c.count--;
        memmove(c.list + (b - q->bitmaps), c.list + (b - q->bitmaps) + 1, (c.count - (b - q->bitmaps)) * sizeof(*c.list));
    }
    ret = qcow2_bitmaps_end(&c, ret, viv_node_size(q->node));
    if (ret)
        return explain(q, ret, "remove", name, err);
    viv_bitmap_free(gone.live);
    g_free(gone.name);
    g_free(gone.extra);
    return 0;
}

static int remove_bitmap(struct viv_node *n, const char *name, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    int ret = may_change(q, err);

    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = remove_locked(q, name, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int extra_data(struct viv_node *n, const char *name, uint8_t **out, uint32_t *len, bool *ok, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    const struct qcow2_bitmap *b;

    pthread_mutex_lock(&q->lock);
    b = qcow2_find_bitmap(q, name);
    *len = b ? b->extra_len : 0;
    *out = b ? g_memdup2(b->extra, b->extra_len) : NULL;
    *ok = b && (b->flags & QCOW2_BITMAP_EXTRA_OK);
    pthread_mutex_unlock(&q->lock);
    return b ? 0 : no_such(q, name, err);
}

const struct viv_bitmap_ops qcow2_bitmap_ops = {
    .list = list,
    .load = load,
    .store = store,
    .remove = remove_bitmap,
    .extra = extra_data,
};
