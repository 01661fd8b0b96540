/* What qed's and parallels' unit tests share: a format on a file in memory, a model of the disk, power cuts. Not part of
 * any program. */
#ifndef VIV_BLOCK_TABLES_TEST_H
#define VIV_BLOCK_TABLES_TEST_H

#include "block/image.h"
#include "block/mem_test.h"

#include <inttypes.h>

#define SECTOR 512u

struct variant {
    const char *name, *opts;
    uint64_t size; /* bytes */
    uint64_t base; /* bytes of a backing file; 0: none */
};

static inline struct viv_node *open_with(const struct viv_blk_driver *drv, struct mem *m, struct viv_node_opts o)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    o.no_backing = true;
    o.unmap = true;
    if (viv_node_open_format(drv, mem_node(m), &o, &n, &err)) {
        g_assert_cmpint(err.code, !=, 0); /* every refusal says why */
        g_assert_cmpuint(strlen(err.text), >, 0);
        return NULL;
    }
    return n;
}

static inline struct viv_node *open_variant(const struct viv_blk_driver *drv, const struct variant *v, struct mem *m,
                                            struct mem *base)
{
    struct viv_node *n = open_with(drv, m, (struct viv_node_opts){0});

    g_assert_nonnull(n);
    if (v->base) {
        n->backing = open_with(viv_blk_driver_find("raw"), base, (struct viv_node_opts){.read_only = true});
        g_assert_nonnull(n->backing);
    }
    return n;
}

static inline void make(const struct viv_blk_driver *drv, const struct variant *v, struct mem *m)
{
    struct viv_create c = {.size = v->size, .backing_file = v->base ? "base" : NULL,
                           .backing_fmt = v->base ? "raw" : NULL};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file;

    mem_init(m);
    if (viv_opts_parse(drv->name, drv->create_opts, NULL, v->opts, &c.opts, &err))
        g_error("%s", err.text);
    file = mem_node(m);
    if (drv->create(&c, file, &err))
        g_error("create: %s", err.text);
    viv_node_put(&file);
    viv_opts_free(c.opts);
}

static inline void fill(uint8_t *buf, uint64_t stamp)
{
    for (unsigned i = 0; i < SECTOR; i += 8)
        memcpy(buf + i, &stamp, 8);
}

static inline void make_base(const struct variant *v, struct mem *base)
{
    mem_init(base);
    if (v->base)
        mem_grow(base, v->base);
    for (uint64_t s = 0; s < v->base / SECTOR; s++)
        fill(base->data + s * SECTOR, 1ull << 40 | s);
}

static inline void expect_check(struct viv_node *n, bool leaks_allowed)
{
    struct viv_check c = {0};

    g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, 0);
    g_assert_cmpuint(c.check_errors, ==, 0);
    if (!leaks_allowed)
        g_assert_cmpuint(c.leaks, ==, 0);
}

static inline void expect_disk(struct viv_node *n, const uint8_t *model)
{
    uint64_t size = viv_node_size(n);
    uint8_t *buf = g_malloc(size);

    g_assert_cmpint(viv_node_pread(n, 0, buf, size), ==, 0);
    for (uint64_t s = 0; s < size / SECTOR; s++)
        if (memcmp(buf + s * SECTOR, model + s * SECTOR, SECTOR) != 0)
            g_error("sector %" PRIu64 " differs from the model", s);
    g_free(buf);
}

/* --- random requests against a model; every now and then a flush or a new open; `fail` of the writes fail --- */

static int fail_in; /* the file's write that fails, counted down; 0: none */

static inline int failing_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    if (fail_in && --fail_in == 0)
        return -EIO;
    return mem_pwritev(n, offset, iov, cnt, len);
}

static inline int random_request(struct viv_node *n, GRand *rand, uint8_t *model, uint64_t stamp)
{
    uint64_t sectors = viv_node_size(n) / SECTOR, first = g_rand_int_range(rand, 0, sectors);
    uint64_t most = MIN(40, sectors - first), count = 1 + g_rand_int_range(rand, 0, most);
    uint64_t at = first * SECTOR, len = count * SECTOR;
    int what = g_rand_int_range(rand, 0, 10), ret;
    uint8_t *buf;

    if (what < 3) {
        ret = viv_node_write_zeroes(n, at, len, what ? VIV_BLK_UNMAP : 0);
        if (!ret)
            memset(model + at, 0, len);
        else
            viv_node_pread(n, at, model + at, len);
        return ret;
    }
    buf = g_malloc(len);
    for (uint64_t i = 0; i < count; i++)
        fill(buf + i * SECTOR, stamp + i);
    ret = viv_node_pwrite(n, at, buf, len);
    if (!ret)
        memcpy(model + at, buf, len);
    else
        viv_node_pread(n, at, model + at, len); /* any part of it may be there */
    g_free(buf);
    return ret;
}

static inline void run_model(const struct viv_blk_driver *drv, const struct variant *v, bool failing)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    uint8_t *model = g_malloc0(v->size);
    struct viv_blk_driver fails = mem_driver;
    struct mem file, base;
    struct viv_node *n;
    int ret;

    fails.pwritev = failing_pwritev;
    make(drv, v, &file);
    make_base(v, &base);
    memcpy(model, base.data, MIN(v->base, v->size));
    n = open_variant(drv, v, &file, &base);
    if (failing)
        n->file->drv = &fails;
    for (int i = 0; i < 400; i++) {
        fail_in = failing ? g_rand_int_range(rand, 0, 4) : 0;
        ret = random_request(n, rand, model, (uint64_t)i << 16);
        if (!failing)
            g_assert_cmpint(ret, ==, 0);
        fail_in = 0;
        if (i % 25 == 24)
            g_assert_cmpint(viv_node_flush(n), ==, 0);
        if (i % 90 == 89) {
            expect_disk(n, model);
            n->file->drv = &mem_driver;
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            n = open_variant(drv, v, &file, &base);
            n->file->drv = failing ? &fails : &mem_driver;
        }
    }
    expect_disk(n, model);
    expect_check(n, failing);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_variant(drv, v, &file, &base);
    expect_disk(n, model);
    viv_node_put(&n);
    mem_fini(&file);
    mem_fini(&base);
    g_free(model);
}

/* --- power cuts: after each prefix of the record, and with random sectors of what was written since the last flush, the
 * image opens, checks without corruption, and each sector holds what the last flush made durable or a later write --- */

struct cut_world {
    const struct viv_blk_driver *drv;
    const struct variant *v;
    struct mem start, file, base;
    GArray **stamps;    /* a sector: uint64_t, in order of issue */
    GArray **positions; /* guint: length of the record then */
    GArray *flushes;    /* guint pairs: start, end */
    GRand *rand;
};

static inline void issue(struct cut_world *w, uint64_t s, uint64_t stamp)
{
    guint pos = w->file.log ? w->file.log->len : 0;

    g_array_append_val(w->stamps[s], stamp);
    g_array_append_val(w->positions[s], pos);
}

static inline void cut_request(struct cut_world *w, struct viv_node *n, uint64_t stamp)
{
    uint64_t sectors = w->v->size / SECTOR, first = g_rand_int_range(w->rand, 0, sectors);
    uint64_t most = MIN(20, sectors - first), count = 1 + g_rand_int_range(w->rand, 0, most);
    bool zero = g_rand_int_range(w->rand, 0, 4) == 0;
    uint8_t *buf = g_malloc(count * SECTOR);

    for (uint64_t i = 0; i < count; i++) {
        fill(buf + i * SECTOR, stamp + i);
        issue(w, first + i, zero ? 0 : stamp + i);
    }
    if (zero)
        g_assert_cmpint(viv_node_write_zeroes(n, first * SECTOR, count * SECTOR, VIV_BLK_UNMAP), ==, 0);
    else
        g_assert_cmpint(viv_node_pwrite(n, first * SECTOR, buf, count * SECTOR), ==, 0);
    g_free(buf);
}

static inline void cut_flush(struct cut_world *w, struct viv_node *n)
{
    guint start = w->file.log->len, end;

    g_assert_cmpint(viv_node_flush(n), ==, 0);
    end = w->file.log->len;
    g_array_append_val(w->flushes, start);
    g_array_append_val(w->flushes, end);
}

static inline bool cut_allows(struct cut_world *w, uint64_t s, uint64_t stamp, guint cut)
{
    guint durable = 0, from = 0;

    for (guint i = 0; i < w->flushes->len; i += 2)
        if (g_array_index(w->flushes, guint, i + 1) <= cut)
            durable = g_array_index(w->flushes, guint, i);
    for (guint i = 0; i < w->stamps[s]->len; i++)
        if (g_array_index(w->positions[s], guint, i) <= durable && durable)
            from = i;
    for (guint i = from; i < w->stamps[s]->len; i++)
        if (g_array_index(w->stamps[s], uint64_t, i) == stamp && g_array_index(w->positions[s], guint, i) <= cut)
            return true;
    return false;
}

static inline void cut_verify(struct cut_world *w, struct mem *file, guint cut)
{
    struct viv_node *n = open_with(w->drv, file, (struct viv_node_opts){.read_only = true, .for_check = true});
    uint8_t *buf = g_malloc(w->v->size);
    struct viv_check c = {0};

    g_assert_nonnull(n);
    g_assert_cmpint(w->drv->check(n, &c, NULL), ==, 0);
    /* Parallels counts the mark of use as one. */
    g_assert_cmpuint(c.corruptions, <=, strcmp(w->drv->name, "parallels") == 0);
    viv_node_put(&n);
    n = open_variant(w->drv, w->v, file, &w->base);
    expect_check(n, true);
    g_assert_cmpint(viv_node_pread(n, 0, buf, w->v->size), ==, 0);
    for (uint64_t s = 0; s < w->v->size / SECTOR; s++) {
        uint64_t stamp;

        memcpy(&stamp, buf + s * SECTOR, 8);
        for (unsigned i = 8; i < SECTOR; i += 8)
            g_assert_cmpint(memcmp(buf + s * SECTOR, buf + s * SECTOR + i, 8), ==, 0);
        if (!cut_allows(w, s, stamp, cut))
            g_error("cut %u: sector %" PRIu64 " holds stamp 0x%" PRIx64 ", which was lost or never was", cut, s, stamp);
    }
    /* Life goes on: what was left behind must not be given out twice. */
    for (int i = 0; i < 6; i++)
        g_assert_cmpint(viv_node_pwrite(n, g_rand_int_range(w->rand, 0, w->v->size / SECTOR) * SECTOR, buf, SECTOR), ==, 0);
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    expect_check(n, true);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_free(buf);
}

static inline void cut_replay(struct cut_world *w, guint every)
{
    struct mem now, stable, trial;
    guint last_flush = 0;

    mem_init(&now);
    mem_init(&stable);
    mem_init(&trial);
    mem_copy(&now, &w->start);
    mem_copy(&stable, &w->start);
    for (guint cut = 0; cut <= w->file.log->len; cut++) {
        if (cut % every == 0 || cut == w->file.log->len) {
            mem_copy(&trial, &now);
            cut_verify(w, &trial, cut);
            mem_copy(&trial, &stable);
            for (guint i = last_flush; i < cut; i++)
                mem_replay(&trial, &g_array_index(w->file.log, struct mem_entry, i), w->rand);
            cut_verify(w, &trial, cut);
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
    mem_fini(&trial);
}

static inline void run_cuts(const struct viv_blk_driver *drv, const struct variant *v, int requests, guint every)
{
    struct cut_world w = {.drv = drv, .v = v, .rand = g_rand_new_with_seed(g_test_rand_int())};
    uint64_t sectors = v->size / SECTOR;
    struct viv_node *n;

    make(drv, v, &w.file);
    make_base(v, &w.base);
    mem_init(&w.start);
    mem_copy(&w.start, &w.file);
    w.stamps = g_new(GArray *, sectors);
    w.positions = g_new(GArray *, sectors);
    w.flushes = g_array_new(FALSE, FALSE, sizeof(guint));
    for (uint64_t s = 0; s < sectors; s++) {
        w.stamps[s] = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        w.positions[s] = g_array_new(FALSE, FALSE, sizeof(guint));
        issue(&w, s, s < v->base / SECTOR ? 1ull << 40 | s : 0);
    }
    w.file.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    n = open_variant(drv, v, &w.file, &w.base);
    for (int i = 0; i < requests; i++) {
        cut_request(&w, n, (uint64_t)(i + 1) << 16);
        if (g_rand_int_range(w.rand, 0, 5) == 0)
            cut_flush(&w, n);
        if (i % 40 == 39) {
            cut_flush(&w, n);
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            n = open_variant(drv, v, &w.file, &w.base);
        }
    }
    cut_flush(&w, n);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    cut_replay(&w, every);
    g_test_message("%u entries in the record, %u flushes", w.file.log->len, w.flushes->len / 2);
    for (uint64_t s = 0; s < sectors; s++) {
        g_array_free(w.stamps[s], TRUE);
        g_array_free(w.positions[s], TRUE);
    }
    g_free(w.stamps);
    g_free(w.positions);
    g_array_free(w.flushes, TRUE);
    mem_fini(&w.start);
    mem_fini(&w.file);
    mem_fini(&w.base);
    g_rand_free(w.rand);
}

/* --- damaged images: nothing may crash, hang or allocate without bound; errors are fine --- */

static inline void exercise(const struct viv_blk_driver *drv, const uint8_t *data, size_t size)
{
    static uint8_t buf[70000];

    for (unsigned way = 0; way < 4; way++) {
        struct viv_check c = {.fix = way == 3 ? VIV_FIX_LEAKS | VIV_FIX_ERRORS : 0};
        struct viv_img_info info = {0};
        struct viv_extent e;
        struct viv_node *n;
        struct mem m;

        mem_init(&m);
        g_assert_cmpint(mem_grow(&m, size), ==, 0);
        memcpy(m.data, data, size);
        n = open_with(drv, &m, (struct viv_node_opts){.read_only = way < 2, .for_check = way & 1});
        if (n) {
            uint64_t disk = viv_node_size(n);

            drv->info(n, &info);
            viv_img_info_free(&info);
            if (way & 1)
                drv->check(n, &c, NULL);
            for (uint64_t at = 0, i = 0; !(way & 1) && at < disk && i < 100; at += e.len, i++)
                if (viv_node_status(n, at, disk - at, &e))
                    break;
            for (uint64_t at = 0; !(way & 1) && at + sizeof(buf) <= disk && at < 1 << 20; at += 300000) {
                viv_node_pread(n, at, buf, sizeof(buf));
                viv_node_pwrite(n, at + 100, buf, 3000);
                viv_node_write_zeroes(n, at, 60000, VIV_BLK_UNMAP);
                viv_node_flush(n);
            }
            if (way == 2 && drv->truncate && disk < 1u << 30)
                viv_node_truncate(n, disk + (1 << 20), VIV_PREALLOC_OFF, NULL);
            viv_node_put(&n);
        }
        mem_fini(&m);
    }
}

static inline void run_mutations(const struct viv_blk_driver *drv, const struct variant *v, unsigned rounds,
                                 const uint64_t *targets, unsigned count)
{
    static const uint64_t nasty[] = {0,          1,          2,          511,        512,         0x7fffffff,
                                     0x80000000, 0xffffffff, 1ull << 40, 1ull << 62, 1ull << 63,  ~0ull,
                                     4096,       65536,      1ull << 32, 0x1000001,  ~0ull << 12, 3};
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    uint8_t *model = g_malloc0(v->size);
    struct mem m;
    struct viv_node *n;

    make(drv, v, &m);
    n = open_with(drv, &m, (struct viv_node_opts){0});
    for (int i = 0; i < 20; i++)
        random_request(n, rand, model, 77);
    viv_node_put(&n);
    for (unsigned r = 0; r < rounds; r++) {
        uint8_t *copy = g_memdup2(m.data, m.size);

        for (int k = g_rand_int_range(rand, 1, 4); k > 0; k--) {
            uint64_t at = targets[g_rand_int_range(rand, 0, count)] + 4 * g_rand_int_range(rand, 0, 16);
            uint64_t value = nasty[g_rand_int_range(rand, 0, G_N_ELEMENTS(nasty))];

            if (at + 8 <= m.size)
                memcpy(copy + at, &value, g_rand_boolean(rand) ? 4 : 8);
        }
        exercise(drv, copy, r % 8 ? m.size : (gsize)g_rand_int_range(rand, 0, m.size));
        g_free(copy);
    }
    mem_fini(&m);
    g_free(model);
}

#endif
