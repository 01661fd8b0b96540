/* A raw disk that is a window into its file: nothing outside is read or written, whatever is done to the disk. */
#include "block/fmt/raw/raw.h"
#include "block/image.h"
#include "block/mem_test.h"

#include <errno.h>
#include <glib.h>

#define FILE_SIZE 8192

static int try_window(struct mem *m, const char *options, struct viv_node **out, struct viv_err *err)
{
    struct viv_node_opts o = {.unmap = true};
    int ret = viv_opts_parse("raw", viv_blk_raw.open_opts, NULL, options, &o.own, err);

    if (!ret)
        ret = viv_node_open_format(&viv_blk_raw, mem_node(m), &o, out, err);
    viv_opts_free(o.own);
    return ret;
}

static struct viv_node *window(struct mem *m, const char *options)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (try_window(m, options, &n, &err))
        g_error("%s: %s", options, err.text);
    return n;
}

static void fill(struct mem *m)
{
    mem_init(m);
    mem_grow(m, FILE_SIZE);
    memset(m->data, 0x11, FILE_SIZE);
}

/* Bytes [from, to) of the file are `c`, all others as they were. */
static void expect_only(const struct mem *m, size_t from, size_t to, int c)
{
    for (size_t i = 0; i < m->size; i++)
        if (m->data[i] != (i >= from && i < to ? c : 0x11))
            g_error("byte %zu is %#x", i, m->data[i]);
}

static void test_inside(void)
{
    uint8_t buf[1024];
    struct viv_extent e;
    struct viv_node *n;
    struct mem m;

    fill(&m);
    n = window(&m, "offset=1000,size=1k");
    g_assert_cmpuint(viv_node_size(n), ==, 1024);
    memset(buf, 0x22, sizeof(buf));
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    expect_only(&m, 1000, 2024, 0x22);
    g_assert_cmpint(viv_node_pwrite(n, 1023, buf, 2), ==, -EINVAL);
    g_assert_cmpint(viv_node_write_zeroes(n, 1, 1024, 0), ==, -EINVAL);
    g_assert_cmpint(viv_node_write_zeroes(n, 0, 1024, 0), ==, 0);
    expect_only(&m, 1000, 2024, 0);
    g_assert_cmpint(viv_node_pread(n, 1, buf, 1023), ==, 0);
    g_assert_cmpuint(buf[0] | buf[1022], ==, 0);
    g_assert_cmpint(viv_node_pread(n, 1, buf, 1024), ==, -EINVAL);
    g_assert_cmpint(viv_blk_raw.map(n, 24, 1000, &e), ==, 0);
    g_assert_true(e.host == 1024 && e.len == 1000);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    mem_fini(&m);
}

static void test_resize(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;
    struct mem m;

    fill(&m);
    n = window(&m, "offset=1000,size=1k");
    g_assert_cmpint(viv_node_truncate(n, 2048, VIV_PREALLOC_OFF, &err), ==, -ENOTSUP);
    g_assert_nonnull(strstr(err.text, "fixed-size"));
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = window(&m, "offset=1000");
    g_assert_cmpuint(viv_node_size(n), ==, 7680); /* 7192, as disks are whole sectors */
    viv_err_clear(&err);
    g_assert_cmpint(viv_node_truncate(n, UINT64_MAX - 511, VIV_PREALLOC_OFF, &err), ==, -EFBIG);
    viv_err_clear(&err);
    g_assert_cmpint(viv_node_truncate(n, 1024, VIV_PREALLOC_OFF, &err), ==, 0);
    g_assert_cmpuint(m.size, ==, 2024);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    mem_fini(&m);
}

static void test_refused(void)
{
    static const char *const bad[][2] = {
        {"offset=8193", "offset=8193 lies past the end of the file, which has 8192 bytes"},
        {"offset=7E,size=512", "past the end"},
        {"size=700", "size=700 is not a multiple of 512"},
        {"offset=512,size=8k", "offset=512 and size=8192 reach past the end"},
        {"size=15E", "past the end"},
        {"offset=16E", "is too large"},
    };
    struct mem m;

    fill(&m);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;

        g_assert_cmpint(try_window(&m, bad[i][0], &n, &err), <, 0);
        if (!strstr(err.text, bad[i][1]))
            g_error("%s: %s", bad[i][0], err.text);
    }
    expect_only(&m, 0, 0, 0);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/raw/inside", test_inside);
    g_test_add_func("/block/raw/resize", test_resize);
    g_test_add_func("/block/raw/refused", test_refused);
    return g_test_run();
}
