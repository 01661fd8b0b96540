/* Dirty bitmaps of an image while it is open for writing: they wake, follow the disk's size, and are stored at the end; and
 * how the list of them changes. See bitmap.h. */
#include "block/fmt/qcow2/bitmap.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

/* --- changes of the list --- */

int qcow2_bitmaps_begin(struct qcow2_bitmap_change *c, struct qcow2 *q)
{
    *c = (struct qcow2_bitmap_change){.q = q, .count = q->bitmap_count};
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

int qcow2_bitmaps_end(struct qcow2_bitmap_change *c, int ret, uint64_t size)
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
    struct qcow2_bitmap_change *c = opaque;
    struct qcow2_free f = {offset >> c->q->cluster_bits, qcow2_clusters(c->q, bytes)};

    if (f.count)
        g_array_append_val(c->old, f);
    return 0;
}

void qcow2_bitmaps_drop(struct qcow2_bitmap_change *c, const struct qcow2_bitmap *b)
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

int qcow2_bitmap_make_live(struct qcow2 *q, struct qcow2_bitmap *b, const uint8_t *bits, size_t bytes, struct viv_err *err)
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
    ret = qcow2_bitmap_make_live(q, b, bits, bytes, err);
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
static int store_live(struct qcow2_bitmap_change *c, struct qcow2_bitmap *b)
{
    uint8_t *bits = viv_bitmap_copy_bits(b->live);
    int ret = bits ? 0 : -ENOMEM;

    qcow2_bitmaps_drop(c, b);
    if (!ret)
        ret = qcow2_store_bits(c->q, b, bits, b->live->bytes, c->taken);
    g_free(bits);
    return ret;
}

static int store_all_live(struct qcow2 *q)
{
    struct qcow2_bitmap_change c;
    int ret = qcow2_bitmaps_begin(&c, q);

    for (uint32_t i = 0; i < c.count && !ret; i++) {
        if (!c.list[i].live)
            continue;
        c.list[i].flags &= ~QCOW2_BITMAP_IN_USE;
        if (c.list[i].live->changed)
            ret = store_live(&c, &c.list[i]);
    }
    return qcow2_bitmaps_end(&c, ret, viv_node_size(q->node));
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

/* --- the disk changes --- */

/* Stored bits of a bitmap that does not follow writes, for another size. What is new is clean. */
static int refit(struct qcow2_bitmap_change *c, struct qcow2_bitmap *b, uint64_t old, uint64_t size)
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
    qcow2_bitmaps_drop(c, b);
    ret = qcow2_store_bits(c->q, b, more, want, c->taken);
    g_free(more);
    return ret;
}

int qcow2_resize_bitmaps(struct qcow2 *q, uint64_t old, uint64_t size)
{
    struct qcow2_bitmap_change c;
    int ret = qcow2_bitmaps_begin(&c, q);

    for (uint32_t i = 0; i < c.count && !ret; i++)
        if (!(c.list[i].flags & QCOW2_BITMAP_IN_USE))
            ret = refit(&c, &c.list[i], old, size);
    return qcow2_bitmaps_end(&c, ret, size);
}

const char *qcow2_bitmap_of_size(const struct qcow2 *q)
{
    for (uint32_t i = 0; i < q->bitmap_count; i++)
        if (!(q->bitmaps[i].flags & QCOW2_BITMAP_IN_USE))
            return q->bitmaps[i].name;
    return NULL;
}
