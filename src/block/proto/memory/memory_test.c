/* A disk in memory against an array: random requests, the ends, what is given back, the limit. */
#include "block/node.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define SIZE (1000 * 1000u) /* no multiple of a piece */

static struct viv_node *disk(const char *options)
{
    struct viv_node_opts o = {.unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    viv_node_open_options("test", options, NULL, &o, &n, &err);
    g_assert_cmpstr(err.text, ==, "");
    return n;
}

static uint64_t held(struct viv_node *n)
{
    uint64_t sum = 0, size = viv_node_size(n);
    struct viv_extent e;

    for (uint64_t at = 0; at < size; at += e.len) {
        g_assert_cmpint(viv_node_status(n, at, size - at, &e), ==, 0);
        sum += e.kind == VIV_MAP_DATA ? e.len : 0;
    }
    return sum;
}

static void random_requests(void)
{
    struct viv_node *n = disk("driver=raw,file.driver=memory,file.size=1000000");
    g_autofree uint8_t *model = g_malloc0(SIZE), *buf = g_malloc(SIZE);

    for (int i = 0; i < 2000; i++) {
        uint32_t at = g_test_rand_int_range(0, SIZE), len = g_test_rand_int_range(1, MIN(200000, SIZE - at) + 1);

        switch (g_test_rand_int_range(0, 4)) {
        case 0:
            memset(buf, i, len);
            memset(model + at, i, len);
            g_assert_cmpint(viv_node_pwrite(n, at, buf, len), ==, 0);
            break;
        case 1:
            memset(model + at, 0, len);
            g_assert_cmpint(viv_node_write_zeroes(n, at, len, 0), ==, 0);
            break;
        case 2:
            memset(model + at, 0, len);
            g_assert_cmpint(viv_node_discard(n, at, len), ==, 0);
            break;
        default:
            g_assert_cmpint(viv_node_pread(n, at, buf, len), ==, 0);
            g_assert_cmpmem(buf, len, model + at, len);
        }
    }
    g_assert_cmpint(viv_node_pread(n, 0, buf, SIZE), ==, 0);
    g_assert_cmpmem(buf, SIZE, model, SIZE);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static void limit_and_discard(void)
{
    struct viv_node *n = disk("driver=raw,file.driver=memory,file.size=1G,file.limit=128k");
    uint8_t b = 1;

    g_assert_cmpuint(held(n), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 0, &b, 1), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 1u << 29, &b, 1), ==, 0);
    g_assert_cmpuint(held(n), ==, 131072);
    g_assert_cmpint(viv_node_pwrite(n, 1u << 20, &b, 1), ==, -ENOSPC);
    g_assert_cmpint(viv_node_discard(n, 0, 65536), ==, 0);
    g_assert_cmpuint(held(n), ==, 65536);
    g_assert_cmpint(viv_node_pwrite(n, 1u << 20, &b, 1), ==, 0);
    viv_node_put(&n);
}

static void resize(void)
{
    struct viv_node *n = disk("driver=raw,file.driver=memory,file.size=200000");
    uint8_t b[100000], zero[100000] = {0};

    memset(b, 7, sizeof(b));
    g_assert_cmpint(viv_node_pwrite(n, 100000, b, sizeof(b)), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, 150000, VIV_PREALLOC_OFF, NULL), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, 300000, VIV_PREALLOC_OFF, NULL), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 150000, b, sizeof(b)), ==, 0);
    g_assert_cmpmem(b, sizeof(b), zero, sizeof(zero));
    g_assert_cmpint(viv_node_pread(n, 149999, b, 1), ==, 0);
    g_assert_cmpint(b[0], ==, 7);
    viv_node_put(&n);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/random-requests", random_requests);
    g_test_add_func("/memory/limit-and-discard", limit_and_discard);
    g_test_add_func("/memory/resize", resize);
    return g_test_run();
}
