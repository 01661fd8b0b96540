/* Compressed clusters that share host clusters, subclusters under random requests, damaged entries of both. Power cuts:
 * qcow2_crash_test.c. */
#include "block/fmt/map_test.h"
#include "block/fmt/qcow2/qcow2.h"

#include "base/bytes.h"

#include <stdio.h>

#define CLUSTER 4096u
#define COUNT   256u

static struct viv_node *open_rw(struct viv_node *file)
{
    struct viv_node_opts o = {.no_backing = true, .unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (viv_node_open_format(&viv_blk_qcow2, file, &o, &n, &err))
        g_error("open: %s", err.text);
    return n;
}

static void make(struct mem *m, uint32_t refcount_bits, bool zstd)
{
    struct viv_qcow2_create c = {
        .size = COUNT * CLUSTER, .cluster_size = CLUSTER, .refcount_bits = refcount_bits, .zstd = zstd};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file;

    mem_init(m);
    file = mem_node(m);
    if (viv_qcow2_create(&c, file, &err))
        g_error("create: %s", err.text);
    viv_node_put(&file);
}

static struct viv_check check(struct viv_node *n)
{
    struct viv_check c = {0};

    g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, 0);
    g_assert_cmpuint(c.check_errors, ==, 0);
    return c;
}

/* About `percent` of it is random, the rest one byte. */
static void fill(uint8_t *buf, GRand *r, int percent)
{
    memset(buf, g_rand_int_range(r, 1, 256), CLUSTER);
    for (unsigned i = 0; i < CLUSTER * (unsigned)percent / 100; i++)
        buf[i] = g_rand_int(r);
}

static void compare(struct viv_node *n, const uint8_t *model)
{
    g_autofree uint8_t *got = g_malloc(COUNT * CLUSTER);

    g_assert_cmpint(viv_node_pread(n, 0, got, COUNT * CLUSTER), ==, 0);
    g_assert_cmpint(memcmp(got, model, COUNT * CLUSTER), ==, 0);
}

/* Small ones share; each width of refcounts shares as many as it can count. */
static void test_share(void)
{
    GRand *r = g_rand_new_with_seed(1);
    uint64_t size[7];

    for (unsigned order = 0; order < 7; order++) {
        g_autofree uint8_t *model = g_malloc(COUNT * CLUSTER);
        struct viv_node *n;
        struct mem m;

        make(&m, 1u << order, false);
        n = open_rw(mem_node(&m));
        for (unsigned i = 0; i < COUNT; i++) {
            fill(model + i * CLUSTER, r, 3);
            g_assert_cmpint(viv_node_write_compressed(n, i * CLUSTER, model + i * CLUSTER, CLUSTER), ==, 0);
        }
        g_assert_cmpint(viv_node_flush(n), ==, 0);
        g_assert_cmpuint(check(n).leaks, ==, 0);
        g_assert_cmpuint(check(n).compressed, ==, COUNT);
        compare(n, model);
        size[order] = m.size;
        viv_node_put(&n);
        n = open_rw(mem_node(&m));
        compare(n, model);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        mem_fini(&m);
    }
    g_assert_cmpuint(size[0], >, (COUNT - 1) * CLUSTER);
    g_assert_cmpuint(size[1], <, size[0] / 2);
    g_assert_cmpuint(size[4], <, size[0] / 8);
    g_rand_free(r);
}

/* The cluster that was being filled loses all it held and is used for something else: nothing more is put into it. */
static void test_reuse(void)
{
    GRand *r = g_rand_new_with_seed(2);
    g_autofree uint8_t *model = g_malloc0(COUNT * CLUSTER);
    struct viv_node *n;
    struct mem m;

    make(&m, 16, true);
    n = open_rw(mem_node(&m));
    for (int round = 0; round < 40; round++) {
        unsigned first = g_rand_int_range(r, 0, COUNT - 4);

        for (unsigned i = first; i < first + 3; i++) {
            fill(model + i * CLUSTER, r, 10);
            g_assert_cmpint(viv_node_write_compressed(n, i * CLUSTER, model + i * CLUSTER, CLUSTER), ==, 0);
        }
        memset(model + first * CLUSTER, 0, 3 * CLUSTER);
        g_assert_cmpint(viv_node_write_zeroes(n, first * CLUSTER, 3 * CLUSTER, VIV_BLK_UNMAP), ==, 0);
        g_assert_cmpint(viv_node_flush(n), ==, 0); /* now it is free */
        fill(model + (first + 3) * CLUSTER, r, 100);
        g_assert_cmpint(viv_node_pwrite(n, (first + 3) * CLUSTER, model + (first + 3) * CLUSTER, CLUSTER), ==, 0);
        fill(model + first * CLUSTER, r, 10);
        g_assert_cmpint(viv_node_write_compressed(n, first * CLUSTER, model + first * CLUSTER, CLUSTER), ==, 0);
        compare(n, model);
        g_assert_cmpuint(check(n).leaks, ==, 0);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    mem_fini(&m);
    g_rand_free(r);
}

/* --- several threads, each with its own clusters, over and over --- */

struct writer {
    struct viv_node *n;
    uint8_t *model;
    unsigned first;
};

static void *write_some(void *opaque)
{
    struct writer *w = opaque;
    GRand *r = g_rand_new_with_seed(w->first);

    for (int i = 0; i < 400; i++) {
        unsigned at = (w->first + 4 * g_rand_int_range(r, 0, COUNT / 4)) * CLUSTER;
        int what = g_rand_int_range(r, 0, 10);

        fill(w->model + at, r, what < 8 ? 20 : 100); /* what does not shrink is written as it is */
        if (what < 9)
            g_assert_cmpint(viv_node_write_compressed(w->n, at, w->model + at, CLUSTER), ==, 0);
        else
            g_assert_cmpint(viv_node_pwrite(w->n, at, w->model + at, CLUSTER), ==, 0);
        if (i % 50 == 0)
            g_assert_cmpint(viv_node_flush(w->n), ==, 0);
    }
    g_rand_free(r);
    return NULL;
}

static void test_parallel(void)
{
    g_autofree uint8_t *model = g_malloc0(COUNT * CLUSTER);
    struct writer w[4];
    pthread_t thread[4];
    struct viv_node *n;
    struct mem m;

    make(&m, 16, false);
    n = open_rw(mem_node(&m));
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (struct writer){n, model, i};
        g_assert_cmpint(pthread_create(&thread[i], NULL, write_some, &w[i]), ==, 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    compare(n, model);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_rw(mem_node(&m));
    compare(n, model);
    g_assert_cmpuint(check(n).leaks, ==, 0);
    viv_node_put(&n);
    mem_fini(&m);
}

/* --- a disk whose n-th write fails --- */

static void test_failing(void)
{
    GRand *r = g_rand_new_with_seed(3);

    for (int nth = 1; nth < 40; nth++) {
        g_autofree uint8_t *model = g_malloc0(COUNT * CLUSTER);
        struct viv_blk_driver failing = mem_driver;
        struct viv_node *file, *n;
        struct mem m;

        make(&m, 16, false);
        failing.pwritev = map_test_pwritev;
        file = mem_node(&m);
        file->drv = &failing;
        n = open_rw(file);
        map_test_fail_in = nth;
        for (unsigned i = 0; i < 24; i++) {
            uint8_t *at = model + i * 5 * CLUSTER;

            fill(at, r, 30);
            if (viv_node_write_compressed(n, at - model, at, CLUSTER))
                g_assert_cmpint(viv_node_write_compressed(n, at - model, at, CLUSTER), ==, 0);
            if (i % 8 == 7 && viv_node_flush(n))
                g_assert_cmpint(viv_node_flush(n), ==, 0);
        }
        map_test_fail_in = 0;
        compare(n, model);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        n = open_rw(mem_node(&m));
        compare(n, model);
        check(n);
        viv_node_put(&n);
        mem_fini(&m);
    }
    g_rand_free(r);
}

/* --- subclusters --- */

static const struct map_test_format qcow2 = {&viv_blk_qcow2, 65536, true};

static void test_model(void)
{
    for (int i = 0; i < 6; i++) {
        map_test_model(&qcow2, "extended_l2=on,cluster_size=16k", 3 << 20);
        map_test_model(&qcow2, "extended_l2=on,cluster_size=64k,preallocation=metadata", (3 << 20) + 512);
        map_test_model(&qcow2, "extended_l2=on,cluster_size=2M,refcount_bits=1", 5 << 20);
    }
}

static void test_subclusters_failing(void)
{
    struct map_test_format f = qcow2;

    f.options = "extended_l2=on";
    map_test_failing(&f, 3 << 20);
}

/* Whole disk written over subclusters in one request and in small ones: the same file size, nothing is copied. */
static void test_grain(void)
{
    static const uint64_t at = 70000;
    struct viv_extent e;
    uint8_t buf[2048];
    struct viv_node *n;
    struct mem m;

    map_test_create(&qcow2, "extended_l2=on", 1 << 20, &m);
    n = map_test_open(&qcow2, &m);
    memset(buf, 7, sizeof(buf));
    g_assert_cmpint(viv_node_pwrite(n, at, buf, 1), ==, 0);
    /* One byte takes one subcluster of 2 KiB; the rest of its cluster has room and shows nothing. */
    g_assert_cmpint(viv_node_status_layer(n, 65536, 65536, &e), ==, 0);
    g_assert_cmpint(e.kind, ==, VIV_MAP_BACKING);
    g_assert_cmpuint(e.len, ==, 69632 - 65536);
    g_assert_cmpint(viv_node_status_layer(n, 69632, 65536, &e), ==, 0);
    g_assert_cmpint(e.kind, ==, VIV_MAP_DATA);
    g_assert_cmpuint(e.len, ==, 2048);
    /* Zeroes over three and a half: three change the bitmap, the half is data. */
    memset(buf, 8, sizeof(buf));
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpint(viv_node_pwrite(n, 65536 + i * 2048, buf, 2048), ==, 0);
    g_assert_cmpint(viv_node_write_zeroes(n, 65536, 3 * 2048 + 1024, VIV_BLK_UNMAP), ==, 0);
    g_assert_cmpint(viv_node_status_layer(n, 65536, 65536, &e), ==, 0);
    g_assert_cmpuint(e.len, ==, 3 * 2048);
    g_assert_cmpint(e.kind, ==, VIV_MAP_BACKING);
    g_assert_cmpint(viv_node_pread(n, 65536 + 3 * 2048, buf, 2048), ==, 0);
    for (unsigned i = 0; i < 2048; i++)
        g_assert_cmpuint(buf[i], ==, i < 1024 ? 0 : 8);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    mem_fini(&m);
}

/* Entries that contradict themselves: check tells, reading and writing fail and change nothing. */
static void test_damaged(void)
{
    static const struct {
        uint64_t desc, bits; /* desc 0: as it is */
    } bad[] = {
        {0, 1ull << 32 | 1},            /* allocated and zero */
        {1ull << 63, 1},                /* allocated without a place */
        {1ull << 63 | 0x50200, 1},      /* not aligned */
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct viv_node_opts o = {.read_only = true, .for_check = true};
        uint8_t buf[512], *entry;
        struct viv_check c = {0};
        struct viv_node *n = NULL;
        struct mem m;

        map_test_create(&qcow2, "extended_l2=on", 1 << 20, &m);
        n = map_test_open(&qcow2, &m);
        memset(buf, 1, sizeof(buf));
        g_assert_cmpint(viv_node_pwrite(n, 0, buf, 512), ==, 0);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        entry = m.data + (viv_ld_be64(m.data + viv_ld_be64(m.data + 40)) & 0x00fffffffffffe00ull);
        if (bad[i].desc)
            viv_st_be64(entry, bad[i].desc);
        viv_st_be64(entry + 8, bad[i].bits);
        g_assert_cmpint(viv_node_open_format(&viv_blk_qcow2, mem_node(&m), &o, &n, NULL), ==, 0);
        g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
        g_assert_cmpuint(c.corruptions, >, 0);
        viv_node_put(&n);
        n = map_test_open(&qcow2, &m);
        g_assert_cmpint(viv_node_pread(n, 0, buf, 512), ==, -EIO);
        g_assert_cmpint(viv_node_pwrite(n, 4096, buf, 512), ==, -EIO);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!g_test_verbose() && !freopen("/dev/null", "w", stderr)) /* the damaged images' complaints are expected */
        return 1;
    g_test_add_func("/block/qcow2/packed/share", test_share);
    g_test_add_func("/block/qcow2/packed/reuse", test_reuse);
    g_test_add_func("/block/qcow2/packed/parallel", test_parallel);
    g_test_add_func("/block/qcow2/packed/failing", test_failing);
    g_test_add_func("/block/qcow2/subclusters/model", test_model);
    g_test_add_func("/block/qcow2/subclusters/failing", test_subclusters_failing);
    g_test_add_func("/block/qcow2/subclusters/grain", test_grain);
    g_test_add_func("/block/qcow2/subclusters/damaged", test_damaged);
    return g_test_run();
}
