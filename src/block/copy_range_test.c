/* Copies by the host between raw and qcow2 files: every byte, nothing leaked where they are refused; and a write that tells when it has
 * its place. */
#include "block/fmt/qcow2/qcow2.h"
#include "block/image.h"
#include "block/proto/file/file.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define SIZE    (1u << 20)
#define CLUSTER 65536u

static char *dir;

static struct viv_node *open_it(const char *path, const char *format)
{
    struct viv_node_opts o = {.unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (viv_node_open_image(path, format, &o, &n, &err))
        g_error("%s", err.text);
    return n;
}

static struct viv_node *make(const char *name, bool qcow2)
{
    struct viv_qcow2_create c = {.size = SIZE, .cluster_size = CLUSTER, .refcount_bits = 16};
    g_autofree char *path = g_build_filename(dir, name, NULL);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file = NULL;

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    if (!qcow2)
        g_assert_cmpint(truncate(path, SIZE), ==, 0);
    else if (viv_node_open_file(path, &(struct viv_node_opts){0}, &file, &err) || viv_qcow2_create(&c, file, &err))
        g_error("%s", err.text);
    viv_node_put(&file);
    return open_it(path, qcow2 ? "qcow2" : "raw");
}

static void fill(struct viv_node *n, uint8_t *model)
{
    GRand *r = g_rand_new_with_seed(3);

    for (unsigned i = 0; i < SIZE; i++)
        model[i] = g_rand_int(r);
    /* Clusters in another order than the disk's. */
    for (unsigned i = 0; i < SIZE / CLUSTER; i++) {
        unsigned at = i * 5 % (SIZE / CLUSTER) * CLUSTER;

        g_assert_cmpint(viv_node_pwrite(n, at, model + at, CLUSTER), ==, 0);
    }
    g_rand_free(r);
}

static void expect(struct viv_node *n, const uint8_t *model)
{
    g_autofree uint8_t *got = g_malloc(SIZE);
    struct viv_check c = {0};

    g_assert_cmpint(viv_node_pread(n, 0, got, SIZE), ==, 0);
    g_assert_cmpint(memcmp(got, model, SIZE), ==, 0);
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    if (!n->drv->check)
        return;
    g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions + c.leaks + c.check_errors, ==, 0);
}

static void copy_all(struct viv_node *from, struct viv_node *to)
{
    for (uint64_t at = 0, done; at < SIZE; at += done) {
        g_assert_cmpint(viv_node_copy_range(from, at, to, at, SIZE - at, false, &done), ==, 0);
        g_assert_cmpuint(done, >, 0);
        g_assert_cmpuint(done, <=, SIZE - at);
    }
}

static void test_formats(void)
{
    g_autofree uint8_t *model = g_malloc(SIZE);

    for (int k = 0; k < 4; k++) {
        struct viv_node *from = make("from", k & 1), *to = make("to", k & 2);

        fill(from, model);
        copy_all(from, to);
        expect(to, model);
        expect(from, model);
        copy_all(from, to); /* over what is there */
        expect(to, model);
        viv_node_put(&from);
        viv_node_put(&to);
    }
}

static void test_refused(void)
{
    g_autofree uint8_t *model = g_malloc0(SIZE);
    struct viv_node *raw = make("raw", false), *q = make("q", true), *empty = make("empty", true);
    uint64_t done;

    /* Nothing there that could be copied. */
    g_assert_cmpint(viv_node_copy_range(empty, 0, raw, 0, SIZE, false, &done), ==, -ENOTSUP);
    expect(raw, model);
    fill(raw, model);
    /* Less than a cluster: the rest of it would have to be filled. */
    g_assert_cmpint(viv_node_copy_range(raw, 0, q, 512, CLUSTER, false, &done), ==, -ENOTSUP);
    g_assert_cmpint(viv_node_copy_range(raw, SIZE, q, 0, 1, false, &done), ==, -EINVAL);
    g_assert_cmpint(viv_node_copy_range(raw, 0, q, SIZE, 1, false, &done), ==, -EINVAL);
    g_assert_cmpint(viv_node_copy_range(raw, 0, q, UINT64_MAX, 2, false, &done), ==, -EINVAL);
    /* The source ends within a cluster of the target. */
    g_assert_cmpint(truncate(raw->filename, CLUSTER / 2), ==, 0);
    g_assert_cmpint(viv_node_copy_range(raw, 0, q, 0, CLUSTER, false, &done), ==, -ENOTSUP);
    memset(model, 0, SIZE);
    expect(q, model);
    viv_node_put(&raw);
    viv_node_put(&q);
    viv_node_put(&empty);
}

/* Only some file systems can; where they cannot, nothing happens. */
static void test_share(void)
{
    g_autofree uint8_t *model = g_malloc0(SIZE), *zero = g_malloc0(SIZE);
    struct viv_node *from = make("from", false), *to = make("to", false);
    uint64_t done = 0;
    int ret;

    fill(from, model);
    ret = viv_node_copy_range(from, 0, to, 0, SIZE, true, &done);
    g_assert_true(ret == -ENOTSUP || (ret == 0 && done == SIZE));
    expect(to, ret ? zero : model);
    g_assert_cmpint(viv_node_copy_range(from, 1, to, 3, 100, true, &done), ==, -ENOTSUP);
    viv_node_put(&from);
    viv_node_put(&to);
}

static void count(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_placed(void)
{
    struct viv_node *raw = make("raw", false), *q = make("q", true);
    g_autofree uint8_t *data = g_malloc(SIZE);
    unsigned calls = 0;

    memset(data, 7, SIZE);
    g_assert_cmpint(viv_node_pwrite_placed(raw, 100, data, 5000, count, &calls), ==, 0);
    g_assert_cmpuint(calls, ==, 1);
    g_assert_cmpint(viv_node_pwrite_placed(q, 3 * CLUSTER, data, CLUSTER, count, &calls), ==, 0);
    g_assert_cmpuint(calls, ==, 2);
    /* Before, over and behind what is there: in pieces, told once. */
    g_assert_cmpint(viv_node_pwrite_placed(q, CLUSTER / 2, data, SIZE - CLUSTER, count, &calls), ==, 0);
    g_assert_cmpuint(calls, ==, 3);
    g_assert_cmpint(viv_node_pwrite_placed(q, 0, data, SIZE, count, &calls), ==, 0);
    g_assert_cmpuint(calls, ==, 4);
    g_assert_cmpint(viv_node_pwrite_placed(q, SIZE, data, 1, count, &calls), ==, -EINVAL);
    g_assert_cmpuint(calls, ==, 4);
    expect(q, data);
    viv_node_put(&raw);
    viv_node_put(&q);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("viv-copy-XXXXXX", NULL);
    g_test_add_func("/block/copy-range/formats", test_formats);
    g_test_add_func("/block/copy-range/refused", test_refused);
    g_test_add_func("/block/copy-range/share", test_share);
    g_test_add_func("/block/copy-range/placed", test_placed);
    ret = g_test_run();
    for (const char *const *name = (const char *const[]){"from", "to", "raw", "q", "empty", NULL}; *name; name++) {
        g_autofree char *path = g_build_filename(dir, *name, NULL);

        g_unlink(path);
    }
    g_rmdir(dir);
    g_free(dir);
    return ret;
}
