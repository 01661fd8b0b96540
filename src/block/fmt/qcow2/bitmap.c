/* Dirty bitmaps of an image: the tools' operations, and their life while the image is open for writing; see bitmap.h. */
#include "block/fmt/qcow2/bitmap.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* A change of the list: made beside it, then switched. */
struct change {
    struct qcow2 *q;
    struct qcow2_bitmap *list; /* shares its strings with q->bitmaps, but for what is new */
    uint32_t count;
    GArray *taken; /* struct qcow2_free: new tables and data */
    GArray *old;   /* likewise: no more needed when it is durable */
};

static int begin(struct change *c, struct qcow2 *q)
{
    *c = (struct change){.q = q, .count = q->bitmap_count};
    c->taken = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
    c->old = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
    c->list = g_try_new0(struct qcow2_bitmap, (size_t)c->count + 1);
    if (!c->list)
        return -ENOMEM;
    if (c->count)
        memcpy(c->list, q->bitmaps, c->count * sizeof(*c->list));
    return q->broken ? -EIO : 0;
}

static void give_back(struct qcow2 *q, const GArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        const struct qcow2_free *f = &g_array_index(list, struct qcow2_free, i);

        qcow2_clusters_unalloc(q, f->cluster << q->cluster_bits, f->count);
    }
}

/* Switches over when `ret` is 0, else undoes. */
static int end(struct change *c, int ret, uint64_t size)
{
    struct qcow2 *q = c->q;

    if (!ret)
        ret = qcow2_switch_bitmaps(q, c->list, c->count, size);
    if (!ret) {
        struct qcow2_bitmap *list = q->bitmaps;

        q->bitmaps = c->list;
        q->bitmap_count = c->count;
        c->list = list;
        give_back(q, c->old);
        if (qcow2_collect_meta(q, true, NULL))
            q->broken = true;
    } else if (!q->broken) {
        give_back(q, c->taken);
    }
    g_free(c->list);
    g_array_free(c->taken, TRUE);
    g_array_free(c->old, TRUE);
    return ret;
}

static int note_old(void *opaque, const char *what, uint64_t offset, uint64_t bytes)
{
    struct change *c = opaque;
    struct qcow2_free f = {offset >> c->q->cluster_bits, qcow2_clusters(c->q, bytes)};

    if (f.count)
        g_array_append_val(c->old, f);
    return 0;
}

/* What bitmap `b` has on disk is not needed any more. A table that makes no sense is left alone: it leaks. */
static void drop_old(struct change *c, const struct qcow2_bitmap *b)
{
    guint before = c->old->len;

    if (qcow2_each_bitmap_cluster(c->q, b, note_old, c))
        g_array_set_size(c->old, before);
}

/* --- open and closed --- */

static bool follows(const struct qcow2_bitmap *b)
{
    return (b->flags & (QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE)) == QCOW2_BITMAP_AUTO;
}

static int make_live(struct qcow2 *q, struct qcow2_bitmap *b, const uint8_t *bits, size_t bytes, struct viv_err *err)
{
    int ret = viv_bitmap_new(q->node, b->name, 1u << b->granularity_bits, &b->live, err);

    if (ret)
        return ret;
    viv_bitmap_set_bits(b->live, bits, bytes);
    b->live->stored = true;
    b->live->changed = false;
    return 0;
}

static int wake(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t *total, struct viv_err *err)
{
    uint8_t *bits;
    size_t bytes;
    int ret;

    *total += viv_bitmap_bytes(viv_node_size(q->node), 1u << b->granularity_bits);
    if (*total > QCOW2_BITMAP_LIVE_MAX)
        return viv_fail(err, EFBIG, "'%s': its bitmaps that follow writes would need more than 4 GiB; opening it read-only works",
                        q->node->filename);
    if (b->extra_len && !(b->flags & QCOW2_BITMAP_EXTRA_OK))
        return viv_fail(err, ENOTSUP,
                        "'%s': bitmap '%s' follows writes and has data of a newer program that must not be ignored; opening "
                        "it read-only works",
                        q->node->filename, b->name);
    ret = qcow2_load_bits(q, b, viv_node_size(q->node), &bits, &bytes);
    if (ret == -ENOMEM || ret == -EIO)
        return viv_fail_os(err, -ret, "Could not load bitmap '%s' of '%s'", b->name, q->node->filename);
    if (ret) {
        viv_warn("'%s': bitmap '%s' does not fit the image and is not used", q->node->filename, b->name);
        b->flags |= QCOW2_BITMAP_IN_USE;
        return 0;
    }
    ret = make_live(q, b, bits, bytes, err);
    g_free(bits);
    return ret;
}

int qcow2_wake_bitmaps(struct qcow2 *q, struct viv_err *err)
{
    uint64_t total = 0;
    bool some = false;
    int ret = 0;

    for (uint32_t i = 0; i < q->bitmap_count && !ret; i++) {
        struct qcow2_bitmap *b = &q->bitmaps[i];

        if (!follows(b))
            continue;
        ret = wake(q, b, &total, err);
        b->flags |= QCOW2_BITMAP_IN_USE;
        some = true;
    }
    if (!ret && some && (ret = qcow2_write_bitmap_flags(q)) != 0)
        viv_fail_os(err, -ret, "Could not write '%s'", q->node->filename);
    return ret;
}

/* The bits of a live bitmap go to new clusters. */
static int store_live(struct change *c, struct qcow2_bitmap *b)
{
    uint8_t *bits = viv_bitmap_copy_bits(b->live);
    int ret = bits ? 0 : -ENOMEM;

    drop_old(c, b);
    if (!ret)
        ret = qcow2_store_bits(c->q, b, bits, b->live->bytes, c->taken);
    g_free(bits);
    return ret;
}

static int store_all_live(struct qcow2 *q)
{
    struct change c;
    int ret = begin(&c, q);

    for (uint32_t i = 0; i < c.count && !ret; i++) {
        if (!c.list[i].live)
            continue;
        c.list[i].flags &= ~QCOW2_BITMAP_IN_USE;
        if (c.list[i].live->changed)
            ret = store_live(&c, &c.list[i]);
    }
    return end(&c, ret, viv_node_size(q->node));
}

int qcow2_rest_bitmaps(struct qcow2 *q)
{
    bool some = false, changed = false;
    int ret = 0;

    for (uint32_t i = 0; i < q->bitmap_count; i++) {
        some |= q->bitmaps[i].live != NULL;
        changed |= q->bitmaps[i].live && q->bitmaps[i].live->changed;
    }
    if (changed) {
        ret = store_all_live(q);
    } else if (some) {
        for (uint32_t i = 0; i < q->bitmap_count; i++)
            if (q->bitmaps[i].live)
                q->bitmaps[i].flags &= ~QCOW2_BITMAP_IN_USE;
        ret = qcow2_write_bitmap_flags(q);
    }
    if (ret)
        viv_error("'%s': its dirty bitmaps could not be stored and are lost: %s", q->node->filename, strerror(-ret));
    return ret;
}

/* --- operations --- */

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
static struct qcow2_bitmap *place(struct change *c, const struct viv_bitmap_info *info)
{
    const struct qcow2_bitmap *old = qcow2_find_bitmap(c->q, info->name);
    struct qcow2_bitmap *b = old ? &c->list[old - c->q->bitmaps] : &c->list[c->count++];

    if (old)
        drop_old(c, old);
    else
        b->name = g_strdup(info->name);
    b->granularity_bits = __builtin_ctz(info->granularity);
    b->flags = info->automatic ? QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE : 0; /* in use: it lives until we close */
    b->flags |= old ? old->flags & QCOW2_BITMAP_EXTRA_OK : 0;
    b->live = NULL;
    return b;
}

static int store_locked(struct qcow2 *q, const struct viv_bitmap_info *info, const uint8_t *bits, struct viv_err *err)
{
    size_t bytes = viv_bitmap_bytes(viv_node_size(q->node), info->granularity);
    struct qcow2_bitmap *old = qcow2_find_bitmap(q, info->name), *b = NULL;
    struct viv_bitmap *live = old ? old->live : NULL;
    bool is_new = !old;
    struct change c;
    char *fresh;
    int ret;

    if (live && live->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' of '%s' is being used", info->name, q->node->filename);
    ret = begin(&c, q);
    if (!ret) {
        b = place(&c, info);
        ret = qcow2_store_bits(q, b, bits, bytes, c.taken);
    }
    fresh = is_new && b ? b->name : NULL;
    ret = end(&c, ret, viv_node_size(q->node));
    if (ret) {
        g_free(fresh);
        return explain(q, ret, "store", info->name, err);
    }
    viv_bitmap_free(live);
    b = qcow2_find_bitmap(q, info->name);
    return info->automatic ? make_live(q, b, bits, bits ? bytes : 0, err) : 0;
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
    struct change c;
    int ret;

    if (!b)
        return no_such(q, name, err);
    if (b->live && b->live->users)
        return viv_fail(err, EBUSY, "Bitmap '%s' of '%s' is being used", name, q->node->filename);
    gone = *b;
    ret = begin(&c, q);
    if (!ret) {
        drop_old(&c, b);
        c.count--;
        memmove(c.list + (b - q->bitmaps), c.list + (b - q->bitmaps) + 1, (c.count - (b - q->bitmaps)) * sizeof(*c.list));
    }
    ret = end(&c, ret, viv_node_size(q->node));
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

const struct viv_bitmap_ops qcow2_bitmap_ops = {
    .list = list,
    .load = load,
    .store = store,
    .remove = remove_bitmap,
};

/* --- the disk changes --- */

/* Stored bits of a bitmap that does not follow writes, for another size. What is new is clean. */
static int refit(struct change *c, struct qcow2_bitmap *b, uint64_t old, uint64_t size)
{
    size_t have, want = viv_bitmap_bytes(size, 1u << b->granularity_bits);
    uint64_t end = size / (1u << b->granularity_bits) + (size % (1u << b->granularity_bits) != 0);
    uint8_t *bits, *more;
    int ret = qcow2_load_bits(c->q, b, old, &bits, &have);

    if (ret == -ESTALE || ret == -EUCLEAN) { /* unusable before, unusable now, and says so */
        b->flags |= QCOW2_BITMAP_IN_USE;
        return 0;
    }
    if (ret)
        return ret;
    more = want ? g_try_realloc(bits, want) : NULL;
    if (!more) {
        g_free(bits);
        return want ? -ENOMEM : -EFBIG;
    }
    if (want > have)
        memset(more + have, 0, want - have);
    for (uint64_t i = end; i < want * 8; i++)
        more[i / 8] &= ~(1u << i % 8);
    drop_old(c, b);
    ret = qcow2_store_bits(c->q, b, more, want, c->taken);
    g_free(more);
    return ret;
}

int qcow2_resize_bitmaps(struct qcow2 *q, uint64_t old, uint64_t size)
{
    struct change c;
    int ret = begin(&c, q);

    for (uint32_t i = 0; i < c.count && !ret; i++)
        if (!(c.list[i].flags & QCOW2_BITMAP_IN_USE))
            ret = refit(&c, &c.list[i], old, size);
    return end(&c, ret, size);
}

const char *qcow2_bitmap_of_size(const struct qcow2 *q)
{
    for (uint32_t i = 0; i < q->bitmap_count; i++)
        if (!(q->bitmaps[i].flags & QCOW2_BITMAP_IN_USE))
            return q->bitmaps[i].name;
    return NULL;
}
