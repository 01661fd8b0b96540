/* What qed's and parallels' unit tests share: a format on a file in memory, a model of the disk, damaged images. Not part of
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

static inline struct viv_node *open_with(const struct viv_blk_driver *drv, struct mem *m,
                                         struct viv_node_opts o)
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

static inline struct viv_node *open_variant(const struct viv_blk_driver *drv,
                                            const struct variant *v, struct mem *m,
                                            struct mem *base)
{
    struct viv_node *n = open_with(drv, m, (struct viv_node_opts){0});

    g_assert_nonnull(n);
    if (v->base) {
        n->backing =
            open_with(viv_blk_driver_find("raw"), base, (struct viv_node_opts){.read_only = true});
        g_assert_nonnull(n->backing);
    }
    return n;
}

static inline void make(const struct viv_blk_driver *drv, const struct variant *v, struct mem *m)
{
    struct viv_create c = {.size = v->size,
                           .backing_file = v->base ? "base" : NULL,
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

static inline int failing_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov,
                                  int cnt, size_t len)
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

static inline void run_model(const struct viv_blk_driver *drv, const struct variant *v,
                             bool failing)
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

/* --- each read of a repair fails once, in turn: what could not be read is neither freed nor cleared --- */

static int fail_read_in; /* the file's read that fails, counted down; 0: none */

static inline int failing_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    if (fail_read_in && --fail_read_in == 0)
        return -EIO;
    return mem_preadv(n, offset, iov, cnt, len);
}

/* Was there a read number `nth` that could fail? */
static inline bool repair_unread(const struct viv_blk_driver *drv, const struct mem *start, const uint8_t *model, unsigned fix, int nth)
{
    struct viv_check c = {.fix = fix};
    struct viv_blk_driver fails = mem_driver;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;
    struct mem m;
    bool failed;

    mem_init(&m);
    mem_copy(&m, start);
    fails.preadv = failing_preadv;
    n = open_with(drv, &m, (struct viv_node_opts){.for_check = true});
    n->file->drv = &fails;
    fail_read_in = nth;
    failed = drv->check(n, &c, &err) || c.check_errors;
    g_assert_true(failed == !fail_read_in);
    g_assert_cmpuint(c.corruptions_fixed + c.leaks_fixed, ==, 0);
    fail_read_in = 0;
    viv_err_clear(&err);
    viv_node_put(&n);
    n = open_with(drv, &m, (struct viv_node_opts){.for_check = true});
    expect_check(n, false);
    expect_disk(n, model);
    viv_node_put(&n);
    mem_fini(&m);
    return failed;
}

static inline void run_unread(const struct viv_blk_driver *drv, const struct variant *v)
{
    uint8_t *model = g_malloc(v->size);
    struct viv_node *n;
    struct mem m;
    int nth = 1;

    make(drv, v, &m);
    for (uint64_t s = 0; s < v->size / SECTOR; s++)
        fill(model + s * SECTOR, s + 1);
    n = open_with(drv, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_pwrite(n, 0, model, v->size), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    while (repair_unread(drv, &m, model, VIV_FIX_LEAKS, nth) | repair_unread(drv, &m, model, VIV_FIX_LEAKS | VIV_FIX_ERRORS, nth))
        nth += 1 + nth / 32;
    g_assert_cmpint(nth, >, 1);
    mem_fini(&m);
    g_free(model);
}

/* --- damaged images: nothing may crash, hang or allocate without bound; errors are fine --- */

enum { EXERCISE_WAYS = 4 };

/* Opened for reading or writing, for a check or not. */
static inline struct viv_node_opts exercise_opts(unsigned way)
{
    return (struct viv_node_opts){.read_only = way < 2, .for_check = way & 1, .no_backing = true, .unmap = true};
}

static inline void exercise_node(struct viv_node *n, unsigned way)
{
    struct viv_check c = {.fix = way == 3 ? VIV_FIX_LEAKS | VIV_FIX_ERRORS : 0};
    uint64_t disk = viv_node_size(n);
    struct viv_img_info info = {0};
    static uint8_t buf[70000];
    struct viv_extent e;

    n->drv->info(n, &info);
    viv_img_info_free(&info);
    if (way & 1) {
        if (n->drv->check)
            n->drv->check(n, &c, NULL);
        return;
    }
    for (uint64_t at = 0, i = 0; at < disk && i < 100; at += e.len, i++)
        if (viv_node_status(n, at, disk - at, &e))
            break;
    for (uint64_t at = 0; at + sizeof(buf) <= disk && at < 1 << 20; at += 300000) {
        viv_node_pread(n, at, buf, sizeof(buf));
        viv_node_pwrite(n, at + 100, buf, 3000);
        viv_node_write_zeroes(n, at, 60000, VIV_BLK_UNMAP);
        viv_node_flush(n);
    }
    if (way == 2 && n->drv->truncate && disk < 1u << 30)
        viv_node_truncate(n, disk + (1 << 20), VIV_PREALLOC_OFF, NULL);
}

static inline void exercise(const struct viv_blk_driver *drv, const uint8_t *data, size_t size)
{
    for (unsigned way = 0; way < EXERCISE_WAYS; way++) {
        struct viv_node *n;
        struct mem m;

        mem_init(&m);
        g_assert_cmpint(mem_grow(&m, size), ==, 0);
        memcpy(m.data, data, size);
        n = open_with(drv, &m, exercise_opts(way));
        if (n)
            exercise_node(n, way);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

static inline void run_mutations(const struct viv_blk_driver *drv, const struct variant *v,
                                 unsigned rounds, const uint64_t *targets, unsigned count)
{
    static const uint64_t nasty[] = {
        0,          1,          2,     511,  512,   0x7fffffff, 0x80000000, 0xffffffff,  1ull << 40,
        1ull << 62, 1ull << 63, ~0ull, 4096, 65536, 1ull << 32, 0x1000001,  ~0ull << 12, 3};
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
            uint64_t at =
                targets[g_rand_int_range(rand, 0, count)] + 4 * g_rand_int_range(rand, 0, 16);
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
