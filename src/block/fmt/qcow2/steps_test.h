/* Power cuts in operations that are to happen at once or not at all: an image goes through steps; at every cut it must
 * open, check clean (leaks allowed) and be what it was before the step in progress or what it is after it: the disk, the
 * snapshots with their disks and VM states, its bitmaps, and its properties. Steps of guest writes may be torn, their step's
 * stamps are allowed in any sector. A bitmap that follows writes may at any time say that it is out of date; only around a
 * clean close it may say that it is not, and is right then. Not part of any program. */
#ifndef VIV_BLOCK_FMT_QCOW2_STEPS_TEST_H
#define VIV_BLOCK_FMT_QCOW2_STEPS_TEST_H

#include "block/fmt/qcow2/bitmap.h"
#include "block/tables_test.h"

#include "base/bytes.h"

struct snap {
    char *id, *name;
    uint8_t *disk;
    uint64_t size;
    uint32_t state_len; /* of VM state, whose bytes are all the id's last digit */
};

/* Never changed: a bitmap with other bits is another one. */
struct stored {
    char *name;
    uint32_t granularity;
    bool automatic;
    uint8_t *bits;
    size_t bytes;
};

struct state {
    uint8_t *disk;
    uint64_t size;
    GPtrArray *snaps; /* struct snap, shared between states */
    GPtrArray *bitmaps; /* struct stored, likewise */
    char *properties;
};

struct step {
    const char *name;
    guint start, end; /* of the record */
    struct state before, after;
    bool closing;
    uint64_t stamps; /* guest writes: stamps have this number in their upper bits; 0: an operation */
};

struct steps {
    const struct variant *v;
    struct mem start, file, base;
    struct viv_node *n;
    struct state now;
    GArray *list;   /* struct step */
    GPtrArray *all, *all_stored; /* every struct snap, struct stored there was */
    GRand *rand;
    uint64_t stamp;
    guint every;
};

static inline struct viv_node *steps_open(struct steps *w, struct mem *m, const char *snapshot)
{
    struct viv_node_opts o = {.read_only = snapshot != NULL, .snapshot = snapshot, .no_backing = true, .unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (viv_node_open_format(&viv_blk_qcow2, mem_node(m), &o, &n, &err))
        g_error("open: %s", err.text);
    if (w->v->base) {
        n->backing = open_with(viv_blk_driver_find("raw"), &w->base, (struct viv_node_opts){.read_only = true});
        g_assert_nonnull(n->backing);
    }
    return n;
}

/* What the header says; every step must leave all of it or change all of it. */
static inline char *steps_properties(struct viv_node *n)
{
    struct qcow2 *q = n->state;

    return g_strdup_printf("version %d, %u bits, lazy %d, backing '%s' '%s'", q->version, 1u << q->refcount_order,
                           (q->compatible & QCOW2_COMPAT_LAZY) != 0, q->backing_file ? q->backing_file : "",
                           q->backing_fmt ? q->backing_fmt : "");
}

static inline struct state steps_copy(const struct state *s)
{
    struct state c = {.disk = g_memdup2(s->disk, s->size),
                      .size = s->size,
                      .snaps = g_ptr_array_new(),
                      .bitmaps = g_ptr_array_new(),
                      .properties = g_strdup(s->properties)};

    for (guint i = 0; i < s->snaps->len; i++)
        g_ptr_array_add(c.snaps, s->snaps->pdata[i]);
    for (guint i = 0; i < s->bitmaps->len; i++)
        g_ptr_array_add(c.bitmaps, s->bitmaps->pdata[i]);
    return c;
}

static inline void steps_free_state(struct state *s)
{
    g_free(s->disk);
    g_free(s->properties);
    g_ptr_array_free(s->snaps, TRUE);
    g_ptr_array_free(s->bitmaps, TRUE);
}

static inline void steps_free_stored(gpointer data)
{
    struct stored *b = data;

    g_free(b->name);
    g_free(b->bits);
    g_free(b);
}

static inline void steps_free_snap(gpointer data)
{
    struct snap *x = data;

    g_free(x->id);
    g_free(x->name);
    g_free(x->disk);
    g_free(x);
}

static inline void steps_begin(struct steps *w, const char *name)
{
    struct step s = {.name = name, .start = w->file.log->len, .before = steps_copy(&w->now)};

    g_array_append_val(w->list, s);
}

/* w->now has what is to be after it. */
static inline void steps_end(struct steps *w)
{
    struct step *s = &g_array_index(w->list, struct step, w->list->len - 1);

    g_free(w->now.properties);
    w->now.properties = steps_properties(w->n);
    s->end = w->file.log->len;
    s->after = steps_copy(&w->now);
}

static inline void steps_reopen(struct steps *w)
{
    steps_begin(w, "reopen");
    g_array_index(w->list, struct step, w->list->len - 1).closing = true;
    g_assert_cmpint(viv_node_put(&w->n), ==, 0);
    w->n = steps_open(w, &w->file, NULL);
    steps_end(w);
}

/* --- bitmaps --- */

/* A copy for a disk of `size` bytes, which the model of now has from here on. */
static inline struct stored *steps_change_bitmap(struct steps *w, guint i, uint64_t size)
{
    const struct stored *old = w->now.bitmaps->pdata[i];
    struct stored *b = g_new0(struct stored, 1);

    *b = *old;
    b->name = g_strdup(old->name);
    b->bytes = viv_bitmap_bytes(size, old->granularity);
    b->bits = g_malloc0(b->bytes);
    memcpy(b->bits, old->bits, MIN(b->bytes, old->bytes));
    for (uint64_t k = (size + b->granularity - 1) / b->granularity; k < b->bytes * 8; k++)
        b->bits[k / 8] &= ~(1u << k % 8);
    w->now.bitmaps->pdata[i] = b;
    g_ptr_array_add(w->all_stored, b);
    return b;
}

static inline void steps_mark(struct steps *w, uint64_t offset, uint64_t len)
{
    for (guint i = 0; i < w->now.bitmaps->len; i++) {
        struct stored *b = w->now.bitmaps->pdata[i];

        if (!b->automatic || !len)
            continue;
        b = steps_change_bitmap(w, i, w->now.size);
        for (uint64_t k = offset / b->granularity; k <= (offset + len - 1) / b->granularity; k++)
            b->bits[k / 8] |= 1u << k % 8;
    }
}

/* --- the steps that all tests have --- */

static inline void steps_write(struct steps *w, int requests)
{
    uint64_t sectors = w->now.size / SECTOR;
    struct step *s;

    steps_begin(w, "write");
    s = &g_array_index(w->list, struct step, w->list->len - 1);
    s->stamps = ++w->stamp;
    for (int i = 0; i < requests; i++) {
        uint64_t first = g_rand_int_range(w->rand, 0, sectors), count = 1 + g_rand_int_range(w->rand, 0, 30);
        uint8_t *at = w->now.disk + first * SECTOR;

        count = MIN(count, sectors - first);
        steps_mark(w, first * SECTOR, count * SECTOR);
        if (g_rand_int_range(w->rand, 0, 5) == 0) {
            memset(at, 0, count * SECTOR);
            g_assert_cmpint(viv_node_write_zeroes(w->n, first * SECTOR, count * SECTOR,
                                                  g_rand_boolean(w->rand) ? VIV_BLK_UNMAP : 0),
                            ==, 0);
            continue;
        }
        for (uint64_t k = 0; k < count; k++)
            fill(at + k * SECTOR, w->stamp << 16 | (uint64_t)(i * 64 + k));
        g_assert_cmpint(viv_node_pwrite(w->n, first * SECTOR, at, count * SECTOR), ==, 0);
    }
    g_assert_cmpint(viv_node_flush(w->n), ==, 0);
    steps_end(w);
}

/* --- verification --- */

static inline bool steps_same_disk(const struct state *s, const uint8_t *disk, uint64_t size)
{
    return s->size == size && memcmp(s->disk, disk, size) == 0;
}

static inline bool steps_torn_disk(const struct step *s, const uint8_t *disk, uint64_t size)
{
    if (size != s->before.size)
        return false;
    for (uint64_t at = 0; at < size; at += SECTOR) {
        uint64_t stamp;

        memcpy(&stamp, disk + at, 8);
        if (memcmp(disk + at, s->before.disk + at, SECTOR) != 0 && stamp && stamp >> 16 != s->stamps)
            return false;
    }
    return true;
}

static inline bool steps_same_snaps(const struct state *s, const struct viv_snapshot *list, unsigned count)
{
    if (count != s->snaps->len)
        return false;
    for (unsigned i = 0; i < count; i++) {
        const struct snap *x = s->snaps->pdata[i];

        if (strcmp(x->id, list[i].id) != 0 || strcmp(x->name, list[i].name) != 0 || x->size != list[i].disk_size ||
            x->state_len != list[i].vm_state_size)
            return false;
    }
    return true;
}

static inline bool steps_same_bitmaps(const struct step *s, const struct state *x, struct viv_node *n)
{
    struct viv_bitmap_info *list;
    unsigned count;
    bool same;

    g_assert_cmpint(n->drv->bitmaps->list(n, &list, &count, NULL), ==, 0);
    same = count == x->bitmaps->len;
    for (unsigned i = 0; i < count && same; i++) {
        const struct stored *b = x->bitmaps->pdata[i];
        uint8_t *bits;
        size_t bytes;

        same = strcmp(b->name, list[i].name) == 0 && b->granularity == list[i].granularity &&
               b->automatic == list[i].automatic && !(list[i].in_use && !b->automatic);
        if (!same || list[i].in_use)
            continue;
        same = !b->automatic || s->closing;
        g_assert_cmpint(n->drv->bitmaps->load(n, b->name, &bits, &bytes, NULL), ==, 0);
        same = same && bytes == b->bytes && memcmp(bits, b->bits, bytes) == 0;
        g_free(bits);
    }
    viv_bitmap_info_free(list, count);
    return same;
}

static inline void steps_check_snap(struct steps *w, struct mem *m, const struct snap *x, guint cut)
{
    struct viv_node *n = steps_open(w, m, x->id);
    uint8_t *buf = g_malloc(MAX(x->size, x->state_len));

    g_assert_cmpuint(viv_node_size(n), ==, x->size);
    g_assert_cmpint(viv_node_pread(n, 0, buf, x->size), ==, 0);
    if (memcmp(buf, x->disk, x->size) != 0)
        g_error("cut %u: snapshot %s holds another disk", cut, x->id);
    if (x->state_len) {
        g_assert_cmpint(viv_node_state_read(n, 0, buf, x->state_len), ==, 0);
        for (uint32_t i = 0; i < x->state_len; i++)
            if (buf[i] != (uint8_t)x->id[strlen(x->id) - 1])
                g_error("cut %u: VM state of snapshot %s differs at byte %u", cut, x->id, i);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_free(buf);
}

static inline void steps_expect_sound(struct viv_node *n, const char *when, const char *step, guint cut)
{
    struct viv_check c = {0};
    struct viv_err err = VIV_ERR_INIT;

    if (n->drv->check(n, &c, &err))
        g_error("cut %u in %s, %s: %s", cut, step, when, err.text);
    if (c.corruptions || c.check_errors)
        g_error("cut %u in %s, %s: %" PRIu64 " corruptions, %" PRIu64 " errors", cut, step, when, c.corruptions,
                c.check_errors);
}

/* Which of the two states is it? Dies when it is neither. */
static inline const struct state *steps_recognise(const struct step *s, struct viv_node *n, guint cut)
{
    uint64_t size = viv_node_size(n);
    uint8_t *disk = g_malloc(size);
    g_autofree char *properties = steps_properties(n);
    const struct state *found = NULL;
    struct viv_snapshot *list;
    unsigned count;

    g_assert_cmpint(viv_node_pread(n, 0, disk, size), ==, 0);
    g_assert_cmpint(n->drv->snapshots->list(n, &list, &count, NULL), ==, 0);
    for (int i = cut == s->end; i < 2 && !found; i++) {
        const struct state *x = i ? &s->after : &s->before;
        bool torn = s->stamps && cut != s->end; /* a step ends with a flush */

        if ((torn ? steps_torn_disk(s, disk, size) : steps_same_disk(x, disk, size)) &&
            steps_same_snaps(x, list, count) && steps_same_bitmaps(s, x, n) && strcmp(properties, x->properties) == 0)
            found = x;
    }
    if (!found)
        g_error("cut %u: in '%s' the image is neither as before nor as after it: %" PRIu64 " bytes, %u snapshots, %s", cut,
                s->name, size, count, properties);
    viv_snapshot_free(list, count);
    g_free(disk);
    return found;
}

/* Life goes on: snapshots go, are made, the disk is written. */
static inline void steps_go_on(struct steps *w, struct viv_node *n, const struct state *s, const char *step, guint cut)
{
    struct viv_snapshot more = {.name = "after the cut"};
    uint8_t buf[SECTOR];

    fill(buf, UINT64_MAX);
    for (int i = 0; i < 4; i++)
        g_assert_cmpint(viv_node_pwrite(n, g_rand_int_range(w->rand, 0, s->size / SECTOR) * SECTOR, buf, SECTOR), ==, 0);
    if (s->snaps->len) {
        const struct snap *x = s->snaps->pdata[g_rand_int_range(w->rand, 0, s->snaps->len)];

        g_assert_cmpint(n->drv->snapshots->remove(n, x->id, NULL), ==, 0);
    } else if (((struct qcow2 *)n->state)->refcount_order) {
        g_assert_cmpint(n->drv->snapshots->create(n, &more, NULL), ==, 0);
    }
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, SECTOR), ==, 0);
    steps_expect_sound(n, "after going on", step, cut);
}

static inline void steps_verify(struct steps *w, const struct step *s, struct mem *m, guint cut)
{
    struct viv_node *n = steps_open(w, m, NULL);
    const struct state *found;

    steps_expect_sound(n, "after opening", s->name, cut);
    found = steps_recognise(s, n, cut);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    for (guint i = 0; i < found->snaps->len; i++)
        steps_check_snap(w, m, found->snaps->pdata[i], cut);
    n = steps_open(w, m, NULL);
    steps_go_on(w, n, found, s->name, cut);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static inline const struct step *steps_at(struct steps *w, guint cut)
{
    for (guint i = 0; i < w->list->len; i++)
        if (cut <= g_array_index(w->list, struct step, i).end)
            return &g_array_index(w->list, struct step, i);
    return &g_array_index(w->list, struct step, w->list->len - 1);
}

static inline void steps_cut(struct steps *w, struct mem *now, struct mem *stable, guint last_flush, guint cut)
{
    struct mem trial;

    mem_init(&trial);
    mem_copy(&trial, now);
    steps_verify(w, steps_at(w, cut), &trial, cut);
    mem_copy(&trial, stable);
    for (guint i = last_flush; i < cut; i++)
        mem_replay(&trial, &g_array_index(w->file.log, struct mem_entry, i), w->rand);
    steps_verify(w, steps_at(w, cut), &trial, cut);
    mem_fini(&trial);
}

static inline unsigned steps_replay(struct steps *w)
{
    struct mem now, stable;
    guint last_flush = 0;
    unsigned tried = 0;

    mem_init(&now);
    mem_init(&stable);
    mem_copy(&now, &w->start);
    mem_copy(&stable, &w->start);
    for (guint cut = 0; cut <= w->file.log->len; cut++) {
        if (cut % w->every == 0 || cut == w->file.log->len || !steps_at(w, cut)->stamps) {
            steps_cut(w, &now, &stable, last_flush, cut);
            tried += 2;
        }
        if (cut == w->file.log->len)
            break;
        mem_replay(&now, &g_array_index(w->file.log, struct mem_entry, cut), NULL);
        if (g_array_index(w->file.log, struct mem_entry, cut).op == MEM_FLUSH) {
            mem_copy(&stable, &now);
            last_flush = cut + 1;
        }
    }
    mem_fini(&now);
    mem_fini(&stable);
    return tried;
}

/* --- life of a test --- */

static inline void steps_start(struct steps *w, const struct variant *v, guint every)
{
    *w = (struct steps){.v = v, .rand = g_rand_new_with_seed(g_test_rand_int()), .every = every};
    make(&viv_blk_qcow2, v, &w->file);
    make_base(v, &w->base);
    mem_init(&w->start);
    mem_copy(&w->start, &w->file);
    w->list = g_array_new(FALSE, FALSE, sizeof(struct step));
    w->all = g_ptr_array_new_with_free_func(steps_free_snap);
    w->all_stored = g_ptr_array_new_with_free_func(steps_free_stored);
    w->file.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    w->n = steps_open(w, &w->file, NULL);
    w->now = (struct state){.size = v->size,
                            .snaps = g_ptr_array_new(),
                            .bitmaps = g_ptr_array_new(),
                            .disk = g_malloc0(v->size)};
    memcpy(w->now.disk, w->base.data, MIN(v->base, v->size));
    w->now.properties = steps_properties(w->n);
}

static inline void steps_finish(struct steps *w)
{
    expect_disk(w->n, w->now.disk);
    steps_reopen(w);
    expect_check(w->n, false);
    g_assert_cmpint(viv_node_put(&w->n), ==, 0);
    mem_tell_cuts(w->file.log->len, steps_replay(w));
    for (guint i = 0; i < w->list->len; i++) {
        steps_free_state(&g_array_index(w->list, struct step, i).before);
        steps_free_state(&g_array_index(w->list, struct step, i).after);
    }
    steps_free_state(&w->now);
    g_array_free(w->list, TRUE);
    g_ptr_array_free(w->all, TRUE);
    g_ptr_array_free(w->all_stored, TRUE);
    mem_fini(&w->start);
    mem_fini(&w->file);
    mem_fini(&w->base);
    g_rand_free(w->rand);
}

#endif
