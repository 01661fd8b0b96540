/* Test support for formats that are a map of blocks: a model under random requests, failing writes, power cuts. A power cut is
 * every so many entries of the record of writes and flushes: all before it, or a random part of what came since the last flush.
 * The image must open for writing (which looks for blocks that overlap or lie outside), check without corruption, and hold of each
 * sector what the last flush made durable or something written since. */
#ifndef VIV_BLOCK_FMT_MAP_TEST_H
#define VIV_BLOCK_FMT_MAP_TEST_H

#include "block/image.h"
#include "block/mem_test.h"

#define MAP_TEST_SECTOR 512u

struct map_test_format {
    const struct viv_blk_driver *drv;
    uint64_t block;
    bool check; /* has one */
    const char *options; /* of the images for power cuts and failing writes; NULL: none */
};

static inline struct viv_node *map_test_open(const struct map_test_format *f, struct mem *m)
{
    struct viv_node_opts o = {.unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (viv_node_open_format(f->drv, mem_node(m), &o, &n, &err))
        g_error("open: %s", err.text);
    return n;
}

/* device: of that many bytes, full of garbage; 0: a file. */
static inline void map_test_create_on(const struct map_test_format *f, const char *options, uint64_t size, uint64_t device,
                                      struct mem *m)
{
    struct viv_create c = {.size = size};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file;

    mem_init(m);
    if (device) {
        mem_grow(m, device);
        memset(m->data, 0x5a, device);
        m->device = true;
    }
    file = mem_node(m);
    if (viv_opts_parse("-o", f->drv->create_opts, NULL, options ? options : "", &c.opts, &err))
        g_error("options: %s", err.text);
    if (f->drv->create(&c, file, &err))
        g_error("create: %s", err.text);
    viv_opts_free(c.opts);
    viv_node_put(&file);
}

static inline void map_test_create(const struct map_test_format *f, const char *options, uint64_t size, struct mem *m)
{
    map_test_create_on(f, options, size, 0, m);
}

static inline void map_test_report(void *opaque, const char *text)
{
    g_test_message("%s", text);
}

static inline void map_test_sound(const struct map_test_format *f, struct viv_node *n, bool leaks_too)
{
    struct viv_check c = {.report = map_test_report};
    struct viv_err err = VIV_ERR_INIT;

    if (!f->check)
        return;
    g_assert_cmpint(n->drv->check(n, &c, &err), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, 0);
    g_assert_cmpuint(c.check_errors, ==, 0);
    if (leaks_too)
        g_assert_cmpuint(c.leaks, ==, 0);
}

/* An image with data in its first two blocks. */
static inline void map_test_two_blocks(const struct map_test_format *f, const char *options, uint64_t size, struct mem *m)
{
    uint8_t buf[4096];
    struct viv_node *n;

    map_test_create(f, options, size, m);
    n = map_test_open(f, m);
    memset(buf, 7, sizeof(buf));
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, f->block, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* Opening for writing says this, or (NULL) works; opening for reading never does worse than an error. */
static inline void map_test_expect(const struct map_test_format *f, struct mem *m, const char *says)
{
    for (int ro = 0; ro < 2; ro++) {
        struct viv_node_opts o = {.read_only = ro};
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;
        uint8_t buf[4096];
        struct viv_extent e;

        if (viv_node_open_format(f->drv, mem_node(m), &o, &n, &err)) {
            if (!ro && (!says || !strstr(err.text, says)))
                g_error("'%s' is not '%s'", err.text, says ? says : "no error");
            continue;
        }
        if (!ro && says)
            g_error("opened, without '%s'", says);
        for (uint64_t at = 0; at + sizeof(buf) <= MIN(viv_node_size(n), 4 * f->block); at += f->block / 2) {
            viv_node_pread(n, at, buf, sizeof(buf));
            viv_node_status(n, at, viv_node_size(n) - at, &e);
            if (!ro)
                g_assert_cmpint(viv_node_pwrite(n, at, buf, sizeof(buf)), ==, 0);
        }
        viv_node_put(&n);
    }
}

static inline void map_test_compare(struct viv_node *n, const uint8_t *model)
{
    uint64_t size = viv_node_size(n);
    g_autofree uint8_t *got = g_malloc(size);

    g_assert_cmpint(viv_node_pread(n, 0, got, size), ==, 0);
    g_assert_cmpint(memcmp(got, model, size), ==, 0);
}

static inline void map_test_model(const struct map_test_format *f, const char *options, uint64_t size)
{
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    g_autofree uint8_t *model = NULL;
    struct viv_node *n;
    struct mem m;

    map_test_create(f, options, size, &m);
    n = map_test_open(f, &m);
    g_assert_cmpuint(viv_node_size(n), >=, size);
    size = viv_node_size(n);
    model = g_malloc0(size);
    for (int i = 0; i < 250; i++) {
        uint64_t at = g_rand_int_range(r, 0, size), len = 1 + g_rand_int_range(r, 0, 40000);
        int what = g_rand_int_range(r, 0, 100);

        len = MIN(len, size - at);
        if (what < 60) {
            for (uint64_t k = 0; k < len; k++)
                model[at + k] = g_rand_int(r);
            g_assert_cmpint(viv_node_pwrite(n, at, model + at, len), ==, 0);
        } else if (what < 75) {
            len = what < 70 ? len : MIN(len * 100, size - at);
            memset(model + at, 0, len);
            g_assert_cmpint(viv_node_write_zeroes(n, at, len, what & 1 ? VIV_BLK_UNMAP : 0), ==, 0);
        } else if (what < 80) {
            g_assert_cmpint(viv_node_discard(n, at, MIN(len * 200, size - at)), ==, 0);
            g_assert_cmpint(viv_node_pread(n, 0, model, size), ==, 0); /* old or zero: the model test takes either */
        } else if (what < 90) {
            g_assert_cmpint(viv_node_flush(n), ==, 0);
        } else if (what < 95) {
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            n = map_test_open(f, &m);
            map_test_sound(f, n, true);
            map_test_compare(n, model);
        }
    }
    map_test_compare(n, model);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    mem_fini(&m);
    g_rand_free(r);
}

/* --- writes that fail --- */

static int map_test_fail_in; /* so many writes from now; 0: none fails */

static inline int map_test_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    if (map_test_fail_in && !--map_test_fail_in)
        return -EIO;
    return mem_pwritev(n, offset, iov, cnt, len);
}

/* Each single write of a run fails once: errors are reported, the rest of the disk is as it was, a second try works. */
static inline void map_test_failing(const struct map_test_format *f, uint64_t size)
{
    for (int nth = 1; nth < 24; nth++) {
        struct viv_blk_driver failing = mem_driver;
        g_autofree uint8_t *model = NULL, *buf = g_malloc(9000);
        struct viv_node_opts o = {0};
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *file, *n = NULL;
        struct mem m;

        map_test_two_blocks(f, f->options, size, &m);
        failing.pwritev = map_test_pwritev;
        file = mem_node(&m);
        file->drv = &failing;
        g_assert_cmpint(viv_node_open_format(f->drv, file, &o, &n, &err), ==, 0);
        size = viv_node_size(n);
        model = g_malloc0(size);
        g_assert_cmpint(viv_node_pread(n, 0, model, size), ==, 0);
        map_test_fail_in = nth;
        for (unsigned i = 0; i < 8; i++) {
            uint64_t at = (i * 5 % 8) * size / 9 + 1000;

            memset(buf, i + 1, 9000);
            if (viv_node_pwrite(n, at, buf, 9000))
                g_assert_cmpint(viv_node_pwrite(n, at, buf, 9000), ==, 0);
            memcpy(model + at, buf, 9000);
            if (i % 3 == 2 && viv_node_flush(n))
                g_assert_cmpint(viv_node_flush(n), ==, 0);
        }
        map_test_fail_in = 0;
        map_test_compare(n, model);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        n = map_test_open(f, &m);
        map_test_sound(f, n, false);
        map_test_compare(n, model);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

/* --- power cuts --- */

struct map_test_issue {
    uint64_t sector, stamp;
    guint at; /* log length when it was issued */
};

struct map_test_world {
    const struct map_test_format *f;
    GRand *r;
    struct mem file;
    GArray *issues;     /* in order */
    GArray *flush_from; /* log length at issue, of each completed flush ... */
    GArray *flush_to;   /* ... and at completion */
    uint64_t size;
};

static inline void map_test_workload(struct map_test_world *w)
{
    struct viv_node *n = map_test_open(w->f, &w->file);
    uint64_t stamp = 0;

    w->size = viv_node_size(n);
    for (int i = 0; i < 40; i++) {
        uint64_t count = 1 + g_rand_int_range(w->r, 0, 12), buf[12 * 64];
        uint64_t first = g_rand_int_range(w->r, 0, w->size / MAP_TEST_SECTOR - count);
        guint from = w->file.log->len, to;

        for (uint64_t k = 0; k < count; k++) {
            struct map_test_issue is = {first + k, ++stamp, from};

            for (int j = 0; j < 64; j++)
                buf[k * 64 + j] = stamp;
            g_array_append_val(w->issues, is);
        }
        g_assert_cmpint(viv_node_pwrite(n, first * MAP_TEST_SECTOR, buf, count * MAP_TEST_SECTOR), ==, 0);
        if (g_rand_int_range(w->r, 0, 4))
            continue;
        from = w->file.log->len;
        g_assert_cmpint(viv_node_flush(n), ==, 0);
        to = w->file.log->len;
        g_array_append_val(w->flush_from, from);
        g_array_append_val(w->flush_to, to);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static inline void map_test_verify(struct map_test_world *w, struct mem *file, guint cut)
{
    struct viv_node *n = map_test_open(w->f, file);
    guint durable = 0;

    for (guint i = 0; i < w->flush_to->len; i++)
        if (g_array_index(w->flush_to, guint, i) <= cut)
            durable = g_array_index(w->flush_from, guint, i) + 1;
    map_test_sound(w->f, n, false);
    for (guint i = 0; i < w->issues->len; i++) {
        struct map_test_issue *is = &g_array_index(w->issues, struct map_test_issue, i);
        uint64_t got[64];
        bool newer = false, fine = false, known = false, lossy = is->at >= durable;

        g_assert_cmpint(viv_node_pread(n, is->sector * MAP_TEST_SECTOR, got, sizeof(got)), ==, 0);
        for (int k = 1; k < 64; k++)
            g_assert_cmpuint(got[k], ==, got[0]);
        for (guint k = 0; k < w->issues->len; k++) {
            const struct map_test_issue *o = &g_array_index(w->issues, struct map_test_issue, k);

            if (o->sector != is->sector)
                continue;
            newer |= k > i && o->at < durable; /* that one is the test of this sector */
            fine |= k >= i && got[0] == o->stamp && o->at <= cut;
            known |= got[0] == 0 || (got[0] == o->stamp && o->at <= cut);
        }
        if (!known || (!newer && !fine && !lossy))
            g_error("cut %u: sector %" G_GUINT64_FORMAT " lost stamp %" G_GUINT64_FORMAT ", holds %" G_GUINT64_FORMAT,
                    cut, is->sector, is->stamp, got[0]);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = map_test_open(w->f, file); /* what was mended stays */
    map_test_sound(w->f, n, false);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static inline guint map_test_replay(struct map_test_world *w, const struct mem *start)
{
    struct mem now, stable, trial;
    guint last_flush = 0, images = 0;

    mem_init(&now);
    mem_init(&stable);
    mem_init(&trial);
    trial.device = w->file.device;
    mem_copy(&now, start);
    mem_copy(&stable, start);
    for (guint cut = 0;; cut++) {
        const struct mem_entry *e = &g_array_index(w->file.log, struct mem_entry, cut);

        mem_copy(&trial, &now);
        map_test_verify(w, &trial, cut);
        mem_copy(&trial, &stable);
        for (guint i = last_flush; i < cut; i++)
            mem_replay(&trial, &g_array_index(w->file.log, struct mem_entry, i), w->r);
        map_test_verify(w, &trial, cut);
        images += 2;
        if (cut == w->file.log->len)
            break;
        mem_replay(&now, e, NULL);
        if (e->op == MEM_FLUSH) {
            mem_copy(&stable, &now);
            last_flush = cut + 1;
        }
    }
    mem_fini(&now);
    mem_fini(&stable);
    mem_fini(&trial);
    return images;
}

/* On a device what is shown too early is garbage. */
static inline void map_test_crash_on(const struct map_test_format *f, uint64_t size, uint64_t device)
{
    struct map_test_world w = {.f = f, .r = g_rand_new_with_seed(g_test_rand_int())};
    struct mem start;

    w.issues = g_array_new(FALSE, FALSE, sizeof(struct map_test_issue));
    w.flush_from = g_array_new(FALSE, FALSE, sizeof(guint));
    w.flush_to = g_array_new(FALSE, FALSE, sizeof(guint));
    map_test_create_on(f, f->options, size, device, &w.file);
    mem_init(&start);
    mem_copy(&start, &w.file);
    w.file.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    map_test_workload(&w);
    mem_tell_cuts(w.file.log->len, map_test_replay(&w, &start));
    g_array_free(w.issues, TRUE);
    g_array_free(w.flush_from, TRUE);
    g_array_free(w.flush_to, TRUE);
    mem_fini(&start);
    mem_fini(&w.file);
    g_rand_free(w.r);
}

static inline void map_test_crash(const struct map_test_format *f, uint64_t size)
{
    map_test_crash_on(f, size, 0);
    map_test_crash_on(f, size, 2 * size);
}

#endif
