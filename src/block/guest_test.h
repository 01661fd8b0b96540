/* A guest at work on a chain of images, with a model of what must be there. For one test program: rnd and dir are its own. */
#ifndef VIV_BLOCK_GUEST_TEST_H
#define VIV_BLOCK_GUEST_TEST_H

#include "block/blk.h"
#include "block/fmt/qcow2/qcow2.h"
#include "block/graph.h"
#include "block/options.h"

#include <glib.h>
#include <string.h>
#include <unistd.h>

#define SIZE (6u << 20)
#define ALL  (VIV_PERM_READ | VIV_PERM_WRITE | VIV_PERM_RESIZE)

static char *dir;
static GRand *rnd;

struct guest {
    struct viv_blk *blk;
    uint8_t model[SIZE];
    pthread_t thread;
    GRand *rand;
    bool stop;
    unsigned requests;
};

static void must(int ret, const struct viv_err *err)
{
    if (ret)
        g_error("%s", err->text);
}

static char *path_of(const char *name)
{
    return g_strdup_printf("%s/%s", dir, name);
}

static void make(const char *name, const char *backing)
{
    struct viv_qcow2_create c = {.size = SIZE, .backing_file = backing, .backing_fmt = backing ? "qcow2" : NULL};
    g_autofree char *path = path_of(name);
    struct viv_node_opts o = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file = NULL;

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    must(viv_node_open_file(path, &o, &file, &err), &err);
    must(viv_qcow2_create(&c, file, &err), &err);
    g_assert_cmpint(viv_node_put(&file), ==, 0);
}

/* Random data, zeroes and holes. */
static void fill(const char *name)
{
    g_autofree char *path = path_of(name);
    g_autofree uint8_t *buf = g_malloc(200000);
    struct viv_node_opts o = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    must(viv_node_open_image(path, "qcow2", &o, &n, &err), &err);
    for (int i = 0; i < 20; i++) {
        uint32_t len = g_rand_int_range(rnd, 1, 200000), at = g_rand_int_range(rnd, 0, SIZE - len);

        memset(buf, g_rand_int_range(rnd, 1, 256), len);
        g_assert_cmpint(i % 4 ? viv_node_pwrite(n, at, buf, len) : viv_node_write_zeroes(n, at, len, 0), ==, 0);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static void add_node(const char *name, const char *backing, bool read_only)
{
    g_autofree char *text = g_strdup_printf("driver=qcow2,node-name=%s,file.driver=file,file.filename=%s/%s,backing=%s,read-only=%s", name, dir,
                                            name, backing, read_only ? "on" : "off");
    struct viv_err err = VIV_ERR_INIT;

    must(viv_blockdev_add_text(text, &err), &err);
}

static void *guest_main(void *opaque)
{
    struct guest *g = opaque;
    g_autofree uint8_t *buf = g_malloc(100000);

    while (!__atomic_load_n(&g->stop, __ATOMIC_ACQUIRE)) {
        uint32_t len = g_rand_int_range(g->rand, 1, 100000), at = g_rand_int_range(g->rand, 0, SIZE - len), what = g_rand_int_range(g->rand, 0, 8);

        if (what == 0) {
            g_assert_cmpint(viv_blk_pwrite_zeroes(g->blk, at, len, VIV_BLK_UNMAP), ==, 0);
            memset(g->model + at, 0, len);
        } else if (what < 5) {
            memset(buf, g_rand_int_range(g->rand, 1, 256), len);
            g_assert_cmpint(viv_blk_pwrite(g->blk, at, buf, len, 0), ==, 0);
            memcpy(g->model + at, buf, len);
        } else {
            g_assert_cmpint(viv_blk_pread(g->blk, at, buf, len), ==, 0);
            g_assert_true(memcmp(buf, g->model + at, len) == 0);
        }
        g->requests++;
        g_usleep(1000);
    }
    return NULL;
}

/* base <- mid <- top, and t as large, all of them nodes; the guest has the top, and rests. */
static struct guest *begin(void)
{
    struct guest *g = g_new0(struct guest, 1);
    struct viv_err err = VIV_ERR_INIT;

    make("base", NULL);
    make("mid", "base");
    make("top", "mid");
    make("t", NULL);
    fill("base");
    fill("mid");
    fill("top");
    add_node("base", "", true);
    add_node("mid", "base", true);
    add_node("top", "mid", false);
    add_node("t", "", false);
    must(viv_blockdev_attach("top", ALL, ALL, "guest", &g->blk, &err), &err);
    g_assert_cmpint(viv_blk_pread(g->blk, 0, g->model, SIZE), ==, 0);
    g->rand = g_rand_new_with_seed(g_rand_int(rnd));
    return g;
}

static void run_guest(struct guest *g)
{
    g_assert_cmpint(pthread_create(&g->thread, NULL, guest_main, g), ==, 0);
}

static void stop_guest(struct guest *g)
{
    __atomic_store_n(&g->stop, true, __ATOMIC_RELEASE);
    pthread_join(g->thread, NULL);
}

static void expect_image(const char *name, const uint8_t *want)
{
    g_autofree char *path = path_of(name);
    g_autofree uint8_t *have = g_malloc(SIZE);
    struct viv_node_opts o = {.read_only = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    must(viv_node_open_image(path, "qcow2", &o, &n, &err), &err);
    g_assert_cmpint(viv_node_pread(n, 0, have, SIZE), ==, 0);
    for (size_t i = 0; i < SIZE; i++)
        if (have[i] != want[i])
            g_error("%s: byte %zu is %u, not %u", name, i, have[i], want[i]);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* A thread that changes the graph once. */
static void *change_once(void *unused)
{
    viv_graph_begin();
    viv_graph_end();
    return NULL;
}

static void end(struct guest *g)
{
    struct viv_err err = VIV_ERR_INIT;

    must(viv_blk_close(g->blk, &err), &err);
    must(viv_blockdev_close_all(&err), &err);
}

static void guest_free(struct guest *g)
{
    g_rand_free(g->rand);
    g_free(g);
}

#endif
