/* A file with O_DIRECT, by several threads at once, in pieces smaller than what the kernel takes: blocks are read, changed and written back,
 * and nothing that others write beside them or behind them may be lost. */
#include "block/node.h"
#include "block/proto/file/file.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 100, BLOCK = 65536, THREADS = 4, PIECES = 100, GROWS = 150, ROUNDS = 500 };

static struct viv_node *open_direct(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "viv-direct-XXXXXX", NULL);
    struct viv_node_opts o = {.direct = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    close(g_mkstemp(path));
    if (viv_node_open_file(path, &o, &n, &err))
        g_test_skip(err.text);
    viv_err_clear(&err);
    g_remove(path);
    return n;
}

/* --- a file that grows: every other piece is a whole block, which goes straight to the file --- */

struct appender {
    struct viv_node *n;
    unsigned *next;
};

static size_t piece_len(unsigned i)
{
    return i & 1 ? BLOCK : PIECE;
}

static void *append(void *opaque)
{
    struct appender *a = opaque;
    void *buf = NULL;
    unsigned i;

    g_assert_cmpint(posix_memalign(&buf, BLOCK, BLOCK), ==, 0);
    while ((i = __atomic_fetch_add(a->next, 1, __ATOMIC_RELAXED)) < PIECES) {
        memset(buf, i % 255 + 1, piece_len(i));
        g_assert_cmpint(viv_node_pwrite(a->n, (uint64_t)i * BLOCK, buf, piece_len(i)), ==, 0);
    }
    free(buf);
    return NULL;
}

/* Bytes that are not there. */
static unsigned grow_once(struct viv_node *n)
{
    g_autofree uint8_t *buf = g_malloc(BLOCK);
    unsigned next = 0, lost = 0;
    struct appender a = {n, &next};
    GThread *t[THREADS];

    g_assert_cmpint(viv_node_truncate(n, 0, VIV_PREALLOC_OFF, NULL), ==, 0);
    for (unsigned i = 0; i < THREADS; i++)
        t[i] = g_thread_new("append", append, &a);
    for (unsigned i = 0; i < THREADS; i++)
        g_thread_join(t[i]);
    g_assert_cmpuint(viv_node_size(n), ==, (uint64_t)PIECES * BLOCK);
    for (unsigned i = 0; i < PIECES; i++) {
        g_assert_cmpint(viv_node_pread(n, (uint64_t)i * BLOCK, buf, piece_len(i)), ==, 0);
        for (unsigned k = 0; k < piece_len(i); k++)
            lost += buf[k] != i % 255 + 1;
    }
    return lost;
}

static void test_grow(void)
{
    /* In memory it is so quick that threads meet. */
    struct viv_node *n = open_direct(g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) ? "/dev/shm" : g_get_tmp_dir());

    for (unsigned i = 0; n && i < GROWS; i++)
        g_assert_cmpuint(grow_once(n), ==, 0);
    viv_node_put(&n);
}

/* --- zeroes beside a write of the same block --- */

struct writer {
    struct viv_node *n;
    bool stop;
};

static void *write_first(void *opaque)
{
    struct writer *w = opaque;
    uint8_t buf[PIECE];

    memset(buf, 0x77, sizeof(buf));
    while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED))
        g_assert_cmpint(viv_node_pwrite(w->n, 0, buf, sizeof(buf)), ==, 0);
    return NULL;
}

static void test_zeroes(void)
{
    struct writer w = {open_direct(g_get_tmp_dir()), false};
    uint8_t buf[PIECE];
    unsigned back = 0;
    GThread *t;

    if (!w.n)
        return;
    memset(buf, 0x55, sizeof(buf));
    g_assert_cmpint(viv_node_pwrite(w.n, 3 * PIECE, buf, PIECE), ==, 0);
    if (viv_node_write_zeroes(w.n, PIECE, PIECE, 0) == -ENOTSUP) {
        g_test_skip("this file system cannot zero a range");
        viv_node_put(&w.n);
        return;
    }
    t = g_thread_new("write", write_first, &w);
    for (unsigned i = 0; i < ROUNDS; i++) {
        memset(buf, 0x55, sizeof(buf));
        g_assert_cmpint(viv_node_pwrite(w.n, PIECE, buf, PIECE), ==, 0);
        g_assert_cmpint(viv_node_write_zeroes(w.n, PIECE, PIECE, i & 1 ? VIV_BLK_UNMAP : 0), ==, 0);
        g_usleep(i % 8 * 5); /* who read the block before it was zeroed may write it back only now */
        g_assert_cmpint(viv_node_pread(w.n, PIECE, buf, PIECE), ==, 0);
        back += buf[0] != 0;
    }
    __atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
    g_thread_join(t);
    g_assert_cmpuint(back, ==, 0);
    viv_node_put(&w.n);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/file/direct/grow", test_grow);
    g_test_add_func("/block/file/direct/zeroes", test_zeroes);
    return g_test_run();
}
