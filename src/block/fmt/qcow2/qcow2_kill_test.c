/* kill -9 in the middle: a child writes and flushes an image with a backing file, tells through a pipe how far the
 * last flush reached, and is killed at a random moment; the parent opens what is left. Again and again on the
 * same image. */
#include "block/fmt/qcow2/qcow2.h"
#include "block/image.h"
#include "block/iov.h"
#include "block/node.h"
#include "block/proto/file/file.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 8 << 20, SECTOR = 512, SECTORS = SIZE / SECTOR, LONGEST = 40, ROUNDS = 20 };

struct op {
    unsigned first, count;
    bool zero, flush;
};

/* The n-th operation is the same in child and parent. */
static struct op nth_op(GRand *r)
{
    struct op o;
    unsigned what = g_rand_int_range(r, 0, 20);

    o.first = g_rand_int_range(r, 0, SECTORS - LONGEST);
    o.count = 1 + g_rand_int_range(r, 0, LONGEST - 1);
    o.zero = what < 3;
    o.flush = what > 16;
    return o;
}

static void fill(uint8_t *buf, const struct op *o, uint64_t stamp)
{
    memset(buf, 0, (size_t)o->count * SECTOR);
    for (unsigned i = 0; !o->zero && i < o->count * SECTOR / 8; i++)
        memcpy(buf + i * 8, &stamp, 8);
}

static struct viv_node *open_image(const char *path)
{
    struct viv_node_opts o = {.unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (viv_node_open_image(path, "qcow2", &o, &n, &err))
        g_error("%s", err.text);
    return n;
}

static void child(const char *path, uint32_t seed, uint64_t base, int out)
{
    GRand *r = g_rand_new_with_seed(seed);
    struct viv_node *n = open_image(path);
    uint8_t buf[LONGEST * SECTOR];

    for (uint64_t i = 1;; i++) {
        struct op o = nth_op(r);

        fill(buf, &o, base + i);
        if (o.flush  ? viv_node_flush(n)
            : o.zero ? viv_node_write_zeroes(n, (uint64_t)o.first * SECTOR,
                                             (uint64_t)o.count * SECTOR, 0)
                     : viv_node_pwrite(n, (uint64_t)o.first * SECTOR, buf, o.count * SECTOR))
            _exit(3);
        if (o.flush && write(out, &i, sizeof(i)) != sizeof(i))
            _exit(4);
    }
}

/* Runs the child for a while; returns the number of the last operation known to be flushed. */
static uint64_t run_and_kill(const char *path, uint32_t seed, uint64_t base)
{
    uint64_t flushed = 0, i;
    int fd[2], status;
    pid_t pid;

    g_assert_cmpint(pipe(fd), ==, 0);
    pid = fork();
    if (pid == 0) {
        close(fd[0]);
        child(path, seed, base, fd[1]);
    }
    close(fd[1]);
    /* Not before it works; then at any moment. */
    g_assert_cmpint(read(fd[0], &flushed, sizeof(flushed)), ==, sizeof(flushed));
    g_usleep(g_test_rand_int_range(0, 30000));
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    while (read(fd[0], &i, sizeof(i)) == sizeof(i))
        flushed = i;
    close(fd[0]);
    return flushed;
}

/* Sectors must hold the newest flushed stamp or a later one of this round; what they hold is the next model. */
static void verify(const char *path, uint64_t *model, uint32_t seed, uint64_t base,
                   uint64_t flushed)
{
    GRand *r = g_rand_new_with_seed(seed);
    struct viv_node *n = open_image(path);
    struct viv_check c = {0};
    bool *later_zero = g_new0(bool, SECTORS);
    uint8_t *disk = g_malloc(SIZE);

    for (uint64_t i = 1; i <= flushed + 100000; i++) {
        struct op o = nth_op(r);

        for (unsigned s = o.first; !o.flush && s < o.first + o.count; s++) {
            if (i <= flushed)
                model[s] = o.zero ? 0 : base + i;
            else
                later_zero[s] |= o.zero;
        }
    }
    g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions + c.check_errors, ==, 0);
    g_assert_cmpint(viv_node_pread(n, 0, disk, SIZE), ==, 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        uint64_t got;

        memcpy(&got, disk + (size_t)s * SECTOR, 8);
        for (unsigned i = 8; i < SECTOR; i += 8)
            g_assert_cmpint(memcmp(&got, disk + (size_t)s * SECTOR + i, 8), ==, 0);
        if (got != model[s] && !(got == 0 && later_zero[s]))
            g_assert_cmpuint(got, >, base + flushed);
        model[s] = got;
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_free(disk);
    g_free(later_zero);
    g_rand_free(r);
}

static void make_images(const char *base, const char *top, uint64_t *model)
{
    struct viv_node_opts o = {0};
    struct viv_qcow2_create c = {
        .size = SIZE, .cluster_size = 4096, .backing_file = base, .backing_fmt = "raw"};
    struct viv_create raw = {.size = SIZE};
    struct viv_file_new *f = NULL;
    struct viv_node *n = NULL;

    g_assert_cmpint(viv_file_new(base, &o, &f, &n, NULL), ==, 0);
    g_assert_cmpint(viv_blk_driver_find("raw")->create(&raw, n, NULL), ==, 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        struct op whole = {.count = 1};
        uint8_t buf[SECTOR];

        model[s] = 1ull << 60 | s;
        fill(buf, &whole, model[s]);
        g_assert_cmpint(viv_node_pwrite(n, (uint64_t)s * SECTOR, buf, SECTOR), ==, 0);
    }
    viv_node_put(&n);
    g_assert_cmpint(viv_file_publish(f, NULL), ==, 0);
    viv_file_new_free(f);
    g_assert_cmpint(viv_file_new(top, &o, &f, &n, NULL), ==, 0);
    g_assert_cmpint(viv_qcow2_create(&c, n, NULL), ==, 0);
    viv_node_put(&n);
    g_assert_cmpint(viv_file_publish(f, NULL), ==, 0);
    viv_file_new_free(f);
}

static void test_kill(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-kill-XXXXXX", NULL);
    g_autofree char *base = g_build_filename(dir, "base.raw", NULL);
    g_autofree char *top = g_build_filename(dir, "top.qcow2", NULL);
    uint64_t *model = g_new0(uint64_t, SECTORS), total = 0;

    make_images(base, top, model);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        uint32_t seed = g_test_rand_int();
        uint64_t flushed = run_and_kill(top, seed, round << 32);

        verify(top, model, seed, round << 32, flushed);
        total += flushed;
    }
    g_test_message("%d kills, %" G_GUINT64_FORMAT " operations flushed", ROUNDS, total);
    g_free(model);
    g_unlink(top);
    g_unlink(base);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/qcow2/kill", test_kill);
    return g_test_run();
}
