/* qcow2 under parallel requests, failing disks and damaged images. Power cuts: qcow2_crash_test.c. */
#include "block/blk.h"
#include "block/fmt/qcow2/exercise_test.h"
#include "block/fmt/qcow2/qcow2_int.h"
#include "block/mem_test.h"

#include "base/bytes.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

static void make_from(struct mem *m, const struct viv_qcow2_create *c)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file;

    mem_init(m);
    file = mem_node(m);
    if (viv_qcow2_create(c, file, &err))
        g_error("create: %s", err.text);
    viv_node_put(&file);
}

static void make(struct mem *m, uint64_t size, uint32_t cluster_size, uint32_t refcount_bits)
{
    struct viv_qcow2_create c = {
        .size = size, .cluster_size = cluster_size, .refcount_bits = refcount_bits};

    make_from(m, &c);
}

static struct viv_node *open_rw(struct viv_node *file)
{
    struct viv_node_opts o = {.no_backing = true, .unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (viv_node_open_format(&viv_blk_qcow2, file, &o, &n, &err))
        g_error("open: %s", err.text);
    return n;
}

static void check_sound(struct viv_node *n, bool leaks_allowed)
{
    struct viv_check c = {0};
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(n->drv->check(n, &c, &err), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, 0);
    g_assert_cmpuint(c.check_errors, ==, 0);
    if (!leaks_allowed)
        g_assert_cmpuint(c.leaks, ==, 0);
}

/* --- parallel requests: neighbours inside clusters belong to different slots --- */

enum { SLOTS = 16, UNIT = 512, DISK = 2 << 20, ROUNDS = 150 };

struct slot {
    struct viv_blk_req req;
    struct iovec v;
    uint8_t *buf;
    uint8_t model[DISK / SLOTS]; /* this slot's units, one after the other */
    unsigned id, round, first, count;
    bool pending_read;
    GRand *rand;
    struct viv_blk *blk;
    unsigned *left;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static uint64_t unit_offset(const struct slot *s, unsigned unit)
{
    return ((uint64_t)unit * SLOTS + s->id) * UNIT;
}

static void next_request(struct slot *s);

static void slot_done(struct viv_blk_req *req, int result)
{
    struct slot *s = req->opaque;

    g_assert_cmpint(result, ==, 0);
    if (req->op == VIV_BLK_READ)
        g_assert_cmpint(memcmp(s->buf, s->model + s->first * UNIT, UNIT), ==, 0);
    if (++s->round < ROUNDS) {
        next_request(s);
        return;
    }
    pthread_mutex_lock(&lock);
    --*s->left;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&lock);
}

static void next_request(struct slot *s)
{
    unsigned what = g_rand_int_range(s->rand, 0, 10);
    uint8_t *model;

    s->first = g_rand_int_range(s->rand, 0, DISK / SLOTS / UNIT);
    model = s->model + s->first * UNIT;
    s->v = (struct iovec){s->buf, UNIT};
    s->req = (struct viv_blk_req){.offset = unit_offset(s, s->first),
                                  .len = UNIT,
                                  .iov = &s->v,
                                  .iovcnt = 1,
                                  .done = slot_done,
                                  .opaque = s};
    if (what < 5) {
        s->req.op = VIV_BLK_WRITE;
        memset(model, g_rand_int_range(s->rand, 0, 256), UNIT);
        memcpy(s->buf, model, UNIT);
    } else if (what < 8) {
        s->req.op = VIV_BLK_READ;
    } else if (what < 9) {
        s->req.op = VIV_BLK_WRITE_ZEROES;
        s->req.flags = VIV_BLK_UNMAP;
        memset(model, 0, UNIT);
    } else {
        s->req.op = VIV_BLK_FLUSH;
    }
    viv_blk_submit(s->blk, &s->req);
}

static void test_parallel(gconstpointer data)
{
    uint32_t cluster_size = GPOINTER_TO_UINT(data);
    struct slot *slot = g_new0(struct slot, SLOTS);
    struct viv_blk *b = NULL;
    struct viv_node *n;
    unsigned left = SLOTS;
    struct mem m;

    make(&m, DISK, cluster_size, 16);
    g_assert_cmpint(viv_blk_new(open_rw(mem_node(&m)), VIV_PERM_READ | VIV_PERM_WRITE,
                                VIV_PERM_READ, "test", false, &b, NULL),
                    ==, 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        slot[i].id = i;
        slot[i].buf = g_malloc(UNIT);
        slot[i].rand = g_rand_new_with_seed(g_test_rand_int());
        slot[i].blk = b;
        slot[i].left = &left;
        next_request(&slot[i]);
    }
    pthread_mutex_lock(&lock);
    while (left)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
    g_assert_cmpint(viv_blk_close(b, NULL), ==, 0);
    n = open_rw(mem_node(&m));
    check_sound(n, false);
    for (unsigned i = 0; i < SLOTS; i++) {
        for (unsigned u = 0; u < DISK / SLOTS / UNIT; u++) {
            g_assert_cmpint(viv_node_pread(n, unit_offset(&slot[i], u), slot[i].buf, UNIT), ==, 0);
            g_assert_cmpint(memcmp(slot[i].buf, slot[i].model + u * UNIT, UNIT), ==, 0);
        }
        g_free(slot[i].buf);
        g_rand_free(slot[i].rand);
    }
    viv_node_put(&n);
    mem_fini(&m);
    g_free(slot);
}

/* --- a disk whose n-th write fails --- */

static int writes_left;

static int failing_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                           size_t len)
{
    return writes_left > 0 && --writes_left == 0 ? -ENOSPC : mem_pwritev(n, offset, iov, cnt, len);
}

/* Whatever write fails, the image stays sound, what was written before stays, and the next try works. */
static void test_failing_write(void)
{
    struct viv_blk_driver driver = mem_driver;
    uint8_t buf[5000], got[5000];

    driver.pwritev = failing_pwritev;
    for (int nth = 1; nth < 60; nth++) {
        struct viv_node *file, *n;
        struct mem m;
        int failures = 0;

        make(&m, 1 << 20, 512, 64);
        file = mem_node(&m);
        file->drv = &driver;
        n = open_rw(file);
        writes_left = nth;
        for (unsigned i = 0; i < 12; i++) {
            memset(buf, i + 1, sizeof(buf));
            while (viv_node_pwrite(n, i * 70000, buf, sizeof(buf)))
                g_assert_cmpint(++failures, <, 3);
            while (viv_node_flush(n))
                g_assert_cmpint(++failures, <, 3);
        }
        writes_left = 0;
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        n = open_rw(mem_node(&m));
        check_sound(n, true);
        for (unsigned i = 0; i < 12; i++) {
            memset(buf, i + 1, sizeof(buf));
            g_assert_cmpint(viv_node_pread(n, i * 70000, got, sizeof(got)), ==, 0);
            g_assert_cmpint(memcmp(buf, got, sizeof(buf)), ==, 0);
        }
        viv_node_put(&n);
        mem_fini(&m);
    }
}

/* Nothing is flushed until the caches are full, then making room in them fails: the next try works. */
static void test_failing_room(void)
{
    enum { STEP = 32768, STEPS = 1056 }; /* an L2 table and a refcount block each; the cache has room for 1024 tables */
    g_autofree uint8_t *buf = g_malloc(STEP), *got = g_malloc(STEP);
    struct viv_blk_driver driver = mem_driver;
    struct viv_node *file, *n;
    struct mem m;

    driver.pwritev = failing_pwritev;
    make(&m, STEPS * STEP, 512, 64);
    file = mem_node(&m);
    file->drv = &driver;
    n = open_rw(file);
    ((struct qcow2 *)n->state)->refblock_cache.max = 8; /* a larger refcount table has all blocks written: 1024 never wait */
    for (unsigned i = 0; i < STEPS; i++) {
        memset(buf, i + 1, STEP);
        writes_left = 1;
        g_assert_cmpint(viv_node_pwrite(n, (uint64_t)i * STEP, buf, STEP), ==, -ENOSPC);
        g_assert_cmpint(viv_node_pwrite(n, (uint64_t)i * STEP, buf, STEP), ==, 0);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_rw(mem_node(&m));
    check_sound(n, true);
    for (unsigned i = 0; i < STEPS; i++) {
        memset(buf, i + 1, STEP);
        g_assert_cmpint(viv_node_pread(n, (uint64_t)i * STEP, got, STEP), ==, 0);
        g_assert_cmpmem(buf, STEP, got, STEP);
    }
    viv_node_put(&n);
    mem_fini(&m);
}

/* --- metadata is never overwritten --- */

/* An L2 entry that points at the L1 table: reading shows it, writing marks the image corrupt and changes nothing. */
static void test_overlap(void)
{
    uint8_t buf[512], before[65536];
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node_opts o = {.no_backing = true};
    struct viv_node *n;
    uint64_t l1, l2;
    struct mem m;

    make(&m, 8 << 20, 65536, 16);
    n = open_rw(mem_node(&m));
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    viv_node_put(&n);
    l1 = viv_ld_be64(m.data + 40);
    l2 = viv_ld_be64(m.data + l1) & 0x00fffffffffffe00ull;
    viv_st_be64(m.data + l2, l1 | 1ull << 63);
    memcpy(before, m.data + l1, sizeof(before));
    n = open_rw(mem_node(&m));
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, -EIO);
    g_assert_cmpint(viv_node_pwrite(n, 1 << 20, buf, sizeof(buf)), ==, -EIO); /* not any more */
    viv_node_put(&n);
    g_assert_cmpint(memcmp(before, m.data + l1, sizeof(before)), ==, 0);
    g_assert_cmpint(viv_node_open_format(&viv_blk_qcow2, mem_node(&m), &o, &n, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "marked corrupt"));
    mem_fini(&m);
}

/* 50 clusters of what `buf` is made to hold, in an image that says it was not closed. */
static void make_dirty(struct mem *m, uint8_t buf[4096])
{
    struct viv_node *n;

    make(m, 1 << 20, 4096, 16);
    n = open_rw(mem_node(m));
    memset(buf, 7, 4096);
    for (int i = 0; i < 50; i++)
        g_assert_cmpint(viv_node_pwrite(n, i * 8192, buf, 4096), ==, 0);
    viv_node_put(&n);
    m->data[79] |= 1; /* the dirty bit */
}

/* An image that a lazy writer did not close: opening mends its refcounts. */
static void test_dirty(void)
{
    uint8_t buf[4096];
    struct viv_node *n;
    uint64_t rt, block;
    struct mem m;

    make_dirty(&m, buf);
    rt = viv_ld_be64(m.data + 48);
    block = viv_ld_be64(m.data + rt);
    for (int i = 8; i < 60; i++) /* the counts of the data never reached the disk */
        viv_st_be16(m.data + block + i * 2, 0);
    n = open_rw(mem_node(&m));
    check_sound(n, false);
    g_assert_cmpint(m.data[79] & 1, ==, 0);
    viv_node_put(&n);
    mem_fini(&m);
}

/* The same when they can only be made anew elsewhere: where the old ones lay is free then, and the next writes go there. */
static void test_dirty_rebuilt(void)
{
    uint8_t buf[4096];
    struct viv_node *n;
    struct mem m;

    make_dirty(&m, buf);
    viv_st_be64(m.data + viv_ld_be64(m.data + 48), 0);
    n = open_rw(mem_node(&m));
    check_sound(n, false);
    for (int i = 0; i < 100; i++)
        g_assert_cmpint(viv_node_pwrite(n, i * 8192, buf, sizeof(buf)), ==, 0);
    check_sound(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

/* --- damaged images --- */

static void mutate(uint8_t *data, uint64_t size, GRand *r)
{
    static const uint64_t nasty[] = {0,         1,          0x1ff,      0x200,      0xffff,
                                     0x10000,   UINT32_MAX, 1ull << 55, 1ull << 62, 1ull << 63,
                                     INT64_MAX, UINT64_MAX, ~511ull};
    unsigned count = 1 + g_rand_int_range(r, 0, 4);

    for (unsigned i = 0; i < count; i++) {
        /* Mostly the header and the tables behind it. */
        uint64_t span = g_rand_boolean(r) ? 120 : size;
        uint64_t at = g_rand_int_range(r, 4, MIN(span, size) - 8);
        uint64_t v = nasty[g_rand_int_range(r, 0, G_N_ELEMENTS(nasty))];

        switch (g_rand_int_range(r, 0, 3)) {
        case 0:
            data[at] ^= 1u << g_rand_int_range(r, 0, 8);
            break;
        case 1:
            viv_st_be64(data + (at & ~7ull), v);
            break;
        default:
            viv_st_be32(data + (at & ~3ull), v);
            break;
        }
    }
}

static void test_mutations(void)
{
    static const struct viv_qcow2_create images[] = {
        {.size = 1 << 20, .cluster_size = 512},
        {.size = 1 << 20, .cluster_size = 65536},
        {.size = 1 << 20, .cluster_size = 16384, .extended_l2 = true, .zstd = true},
        {.size = 1 << 20, .cluster_size = 4096, .data_file = "data"},
        {.size = 1 << 20, .cluster_size = 16384, .extended_l2 = true, .data_file = "data", .data_file_raw = true},
    };
    GRand *r = g_rand_new_with_seed(20260101);

    for (unsigned k = 0; k < G_N_ELEMENTS(images); k++) {
        struct viv_bitmap_info bitmap = {.name = (char *)"bitmap", .granularity = 4096, .automatic = true};
        struct viv_snapshot snapshot = {.name = (char *)"snapshot"};
        uint8_t buf[30000];
        struct viv_qcow2_create c = images[k];
        struct viv_node_opts o = {.no_backing = true};
        struct viv_node *n = NULL;
        struct mem m, data;

        mem_init(&data);
        o.data_file = c.data = c.data_file ? mem_node(&data) : NULL;
        make_from(&m, &c);
        g_assert_cmpint(viv_node_open_format(&viv_blk_qcow2, mem_node(&m), &o, &n, NULL), ==, 0);
        viv_node_put(&c.data);
        memset(buf, 3, sizeof(buf));
        for (int i = 0; i < 8; i++)
            g_assert_cmpint(viv_node_pwrite(n, i * 100000, buf, sizeof(buf)), ==, 0);
        if (n->granule <= sizeof(buf) && !c.data_file)
            for (unsigned i = 30; i < 34; i++)
                g_assert_cmpint(viv_node_write_compressed(n, i * n->granule, buf, n->granule), ==, 0);
        if (!c.data_file)
            g_assert_cmpint(n->drv->snapshots->create(n, &snapshot, NULL), ==, 0);
        g_assert_cmpint(n->drv->bitmaps->store(n, &bitmap, NULL, NULL), ==, 0);
        g_assert_cmpint(viv_node_pwrite(n, 100000, buf, sizeof(buf)), ==, 0);
        viv_node_put(&n);
        mem_fini(&data);
        for (int i = 0; i < 300; i++) {
            g_autofree uint8_t *copy = g_memdup2(m.data, m.size);

            mutate(copy, m.size, r);
            exercise(copy, i % 16 ? m.size : (uint64_t)g_rand_int_range(r, 1, m.size));
        }
        mem_fini(&m);
    }
    g_rand_free(r);
}

/* An extension that nobody knows stays where the header changes, though it holds nothing. */
static void test_empty_extension(void)
{
    enum { FIRST = 112, UNKNOWN = 0x12345678 };
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;
    struct mem m;
    unsigned at;

    make(&m, DISK, 65536, 16);
    memmove(m.data + FIRST + 8, m.data + FIRST, 4096);
    viv_st_be32(m.data + FIRST, UNKNOWN);
    viv_st_be32(m.data + FIRST + 4, 0);
    n = open_rw(mem_node(&m));
    g_assert_cmpint(n->drv->change_backing(n, "other", "raw", &err), ==, 0);
    check_sound(n, false);
    viv_node_put(&n);
    for (at = FIRST; viv_ld_be32(m.data + at) && viv_ld_be32(m.data + at) != UNKNOWN;)
        at += 8 + ((viv_ld_be32(m.data + at + 4) + 7) & ~7u);
    g_assert_cmphex(viv_ld_be32(m.data + at), ==, UNKNOWN);
    g_assert_cmpuint(viv_ld_be32(m.data + at + 4), ==, 0);
    mem_fini(&m);
}

/* A backing file's name among the header's fields leaves no room between them for the list of extensions. */
static void test_name_in_header(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;
    struct mem m;

    make(&m, DISK, 65536, 16);
    memset(m.data + 112, 0, 4096);
    viv_st_be32(m.data + 100, 512); /* header's length */
    viv_st_be64(m.data + 8, 64);    /* name: where, how long */
    viv_st_be32(m.data + 16, 14);
    n = open_rw(mem_node(&m));
    g_assert_cmpint(n->drv->change_backing(n, "other", "raw", &err), ==, -ENOSPC);
    viv_err_clear(&err);
    viv_node_put(&n);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* The damaged images' complaints are expected; failures of this test are not lost with them. */
    if (!g_test_verbose() && !freopen("/dev/null", "w", stderr))
        return 1;
    g_test_add_data_func("/block/qcow2/parallel/512", GUINT_TO_POINTER(512), test_parallel);
    g_test_add_data_func("/block/qcow2/parallel/64k", GUINT_TO_POINTER(65536), test_parallel);
    g_test_add_func("/block/qcow2/failing-write", test_failing_write);
    g_test_add_func("/block/qcow2/failing-room", test_failing_room);
    g_test_add_func("/block/qcow2/overlap", test_overlap);
    g_test_add_func("/block/qcow2/dirty", test_dirty);
    g_test_add_func("/block/qcow2/dirty-rebuilt", test_dirty_rebuilt);
    g_test_add_func("/block/qcow2/mutations", test_mutations);
    g_test_add_func("/block/qcow2/empty-extension", test_empty_extension);
    g_test_add_func("/block/qcow2/name-in-header", test_name_in_header);
    return g_test_run();
}
