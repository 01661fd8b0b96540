/* Handles with an io_uring: many random requests against a model, on raw and qcow2, with allocations among them; ends of files; drain, close with
 * requests in flight, dirty bitmaps, O_DIRECT, errors, and a process that may not have an io_uring. */
#include "block/bitmap.h"
#include "block/blk.h"
#include "block/fmt/qcow2/qcow2.h"
#include "block/graph.h"
#include "block/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE    (4u << 20)
#define UNIT    4096u
#define CLUSTER 65536u
#define FLYING  64u

static char *path;
static bool have_ring; /* this kernel lets us */

struct request {
    struct viv_blk_req req;
    struct iovec v[2];
    uint8_t *buf;
    bool busy;
    int result;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void done(struct viv_blk_req *req, int result)
{
    struct request *q = req->opaque;

    pthread_mutex_lock(&lock);
    q->result = result;
    q->busy = false;
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&lock);
}

static void submit(struct viv_blk *b, struct request *q, enum viv_blk_op op, uint64_t offset, size_t len)
{
    size_t first = len > 512 && offset % 1024 ? 512 : len; /* one piece or two */

    q->v[0] = (struct iovec){q->buf, first};
    q->v[1] = (struct iovec){q->buf + first, len - first};
    q->req = (struct viv_blk_req){.op = op, .offset = offset, .len = len, .iov = q->v, .iovcnt = first < len ? 2 : 1, .done = done,
                                  .opaque = q};
    q->busy = true;
    viv_blk_submit(b, &q->req);
}

static int wait_for(struct request *q)
{
    pthread_mutex_lock(&lock);
    while (q->busy)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
    return q->result;
}

static struct viv_blk *open_with(const char *format, enum viv_aio aio, bool direct)
{
    struct viv_node_opts o = {.aio = aio, .direct = direct, .unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    struct viv_blk *b = NULL;

    if (viv_node_open_image(path, format, &o, &n, &err) ||
        viv_blk_new(n, VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, "test", false, &b, &err))
        g_error("%s", err.text);
    return b;
}

static void make(const char *format, uint64_t size)
{
    struct viv_qcow2_create c = {.size = size, .cluster_size = CLUSTER, .refcount_bits = 16};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file = NULL;

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    if (strcmp(format, "raw") == 0)
        g_assert_cmpint(truncate(path, size), ==, 0);
    else if (viv_node_open_file(path, &(struct viv_node_opts){0}, &file, &err) || viv_qcow2_create(&c, file, &err))
        g_error("%s", err.text);
    viv_node_put(&file);
}

static void finish(struct viv_blk *b)
{
    struct viv_err err = VIV_ERR_INIT;

    if (viv_blk_close(b, &err))
        g_error("%s", err.text);
}

/* Each request owns a range, so the model is what its own last write says. */
static void storm(const char *format, bool direct)
{
    struct request q[FLYING] = {0};
    uint64_t each = SIZE / FLYING;
    uint8_t *model = g_malloc0(SIZE), *got = g_malloc(SIZE);
    GRand *r = g_rand_new_with_seed(5);
    struct viv_blk *b;

    make(format, SIZE);
    b = open_with(format, VIV_AIO_URING, direct);
    for (unsigned i = 0; i < FLYING; i++)
        g_assert_cmpint(posix_memalign((void **)&q[i].buf, 4096, each), ==, 0);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned i = g_rand_int_range(r, 0, FLYING);
        size_t align = direct && round % 4 ? UNIT : 512, units = each / align;
        size_t at = g_rand_int_range(r, 0, units) * align, len = g_rand_int_range(r, 1, MIN(units - at / align, 16) + 1) * align;

        g_assert_cmpint(wait_for(&q[i]), ==, 0);
        if (q[i].req.op == VIV_BLK_READ && q[i].req.len)
            g_assert_cmpint(memcmp(q[i].buf, model + q[i].req.offset, q[i].req.len), ==, 0);
        if (g_rand_int_range(r, 0, 3)) {
            submit(b, &q[i], VIV_BLK_READ, i * each + at, len);
            continue;
        }
        memset(model + i * each + at, round, len);
        memset(q[i].buf, round, len);
        submit(b, &q[i], VIV_BLK_WRITE, i * each + at, len);
    }
    for (unsigned i = 0; i < FLYING; i++)
        g_assert_cmpint(wait_for(&q[i]), ==, 0);
    g_assert_cmpint(viv_blk_pread(b, 0, got, SIZE), ==, 0);
    g_assert_cmpint(memcmp(got, model, SIZE), ==, 0);
    if (have_ring)
        g_assert_cmpuint(viv_ring_count(viv_blk_ring(b)), >, 500);
    finish(b);
    for (unsigned i = 0; i < FLYING; i++)
        free(q[i].buf);
    g_rand_free(r);
    g_free(model);
    g_free(got);
}

static void test_raw(void)
{
    storm("raw", false);
}

static void test_qcow2(void)
{
    storm("qcow2", false);
}

static void test_direct(void)
{
    struct viv_node_opts o = {.direct = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    make("raw", SIZE);
    if (viv_node_open_image(path, "raw", &o, &n, &err)) {
        g_test_skip("no O_DIRECT here");
        return;
    }
    viv_node_put(&n);
    storm("raw", true);
    storm("qcow2", true);
}

/* A disk of whole sectors on a file that ends within one, and one that somebody cut off. */
static void test_ends(void)
{
    struct request q = {.buf = g_malloc(8192)};
    struct viv_blk *b;

    make("raw", 1000001);
    b = open_with("raw", VIV_AIO_URING, false);
    memset(q.buf, 1, 8192);
    submit(b, &q, VIV_BLK_READ, 1000448 - 4096, 4096);
    g_assert_cmpint(wait_for(&q), ==, 0);
    for (unsigned i = 0; i < 4096; i++)
        g_assert_cmpuint(q.buf[i], ==, 0);
    memset(q.buf, 0xab, 512);
    submit(b, &q, VIV_BLK_WRITE, 1000448 - 512, 512);
    g_assert_cmpint(wait_for(&q), ==, 0);
    submit(b, &q, VIV_BLK_READ, 1000448, 512);
    g_assert_cmpint(wait_for(&q), ==, -EINVAL);
    submit(b, &q, VIV_BLK_WRITE, UINT64_MAX - 511, 512);
    g_assert_cmpint(wait_for(&q), ==, -EINVAL);
    g_assert_cmpint(truncate(path, 4096), ==, 0);
    memset(q.buf, 1, 8192);
    submit(b, &q, VIV_BLK_READ, 0, 8192);
    g_assert_cmpint(wait_for(&q), ==, 0);
    g_assert_cmpuint(q.buf[4096] | q.buf[8191], ==, 0);
    finish(b);
    g_free(q.buf);
}

/* What the kernel refuses is tried again by the threads and told. */
static void test_error(void)
{
    struct rlimit old, low = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
    struct request q = {.buf = g_malloc0(4096)};
    struct viv_blk *b;

    make("raw", SIZE);
    b = open_with("raw", VIV_AIO_URING, false);
    getrlimit(RLIMIT_FSIZE, &old);
    low.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &low);
    submit(b, &q, VIV_BLK_WRITE, 2 << 20, 4096);
    g_assert_cmpint(wait_for(&q), ==, -EFBIG);
    setrlimit(RLIMIT_FSIZE, &old);
    submit(b, &q, VIV_BLK_WRITE, 2 << 20, 4096);
    g_assert_cmpint(wait_for(&q), ==, 0);
    finish(b);
    g_free(q.buf);
}

/* Drained, nothing starts; resumed, all of it does. Closed at once, all of it has ended. */
static void test_drain(void)
{
    struct request q[FLYING] = {0};
    struct viv_blk *b;

    make("qcow2", SIZE);
    b = open_with("qcow2", VIV_AIO_URING, false);
    for (unsigned i = 0; i < FLYING; i++)
        q[i].buf = g_malloc0(CLUSTER);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < FLYING / 2; i++)
            submit(b, &q[i], i % 2 ? VIV_BLK_READ : VIV_BLK_WRITE, i * CLUSTER, CLUSTER);
        viv_blk_drain(b);
        viv_blk_drain(b);
        for (unsigned i = FLYING / 2; i < FLYING; i++)
            submit(b, &q[i], VIV_BLK_READ, i * CLUSTER, CLUSTER);
        for (unsigned i = FLYING / 2; i < FLYING; i++)
            g_assert_true(q[i].busy);
        g_assert_cmpuint(viv_blk_in_flight(b), >=, FLYING / 2);
        viv_blk_resume(b);
        viv_blk_resume(b);
        for (unsigned i = 0; i < FLYING; i++)
            g_assert_cmpint(wait_for(&q[i]), ==, 0);
    }
    for (unsigned i = 0; i < FLYING; i++)
        submit(b, &q[i], i % 2 ? VIV_BLK_READ : VIV_BLK_WRITE, i * CLUSTER, CLUSTER);
    finish(b);
    for (unsigned i = 0; i < FLYING; i++) {
        g_assert_false(q[i].busy);
        g_assert_cmpint(q[i].result, ==, 0);
        g_free(q[i].buf);
    }
}

static void test_bitmap(void)
{
    struct request q = {.buf = g_malloc0(CLUSTER)}, other = {.buf = g_malloc0(CLUSTER)};
    struct viv_bitmap *map = NULL, *file = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b;

    make("raw", SIZE);
    b = open_with("raw", VIV_AIO_URING, false);
    g_assert_cmpint(viv_bitmap_new(viv_blk_node(b), "m", CLUSTER, &map, &err), ==, 0);
    g_assert_cmpint(viv_bitmap_new(viv_blk_node(b)->file, "m", CLUSTER, &file, &err), ==, 0);
    for (unsigned i = 0; i < 8; i++) {
        submit(b, &other, VIV_BLK_READ, SIZE - CLUSTER, CLUSTER); /* so that the write is not alone */
        submit(b, &q, VIV_BLK_WRITE, 2 * i * CLUSTER, 512);
        g_assert_cmpint(wait_for(&q), ==, 0);
        g_assert_cmpuint(viv_bitmap_count(map), ==, (i + 1) * CLUSTER);
        g_assert_cmpuint(viv_bitmap_count(file), ==, (i + 1) * CLUSTER);
        g_assert_cmpint(wait_for(&other), ==, 0);
    }
    if (have_ring)
        g_assert_cmpuint(viv_ring_count(viv_blk_ring(b)), >, 8); /* the reads, and some writes at least */
    viv_bitmap_free(map);
    viv_bitmap_free(file);
    finish(b);
    g_free(q.buf);
    g_free(other.buf);
}

static unsigned hooked;

static void before_write(struct viv_node_hook *h, uint64_t offset, uint64_t len)
{
    __atomic_add_fetch(&hooked, 1, __ATOMIC_RELAXED);
}

/* Who must know of writes to the file hears of those that come through the image, by whatever way. */
static void test_file_hook(void)
{
    static struct viv_node_hook hook = {.before = before_write};
    struct request q = {.buf = g_malloc0(CLUSTER)}, other = {.buf = g_malloc0(CLUSTER)};
    struct viv_node *file;
    struct viv_blk *b;
    unsigned writes = 0;

    make("raw", SIZE);
    b = open_with("raw", VIV_AIO_URING, false);
    file = viv_blk_node(b)->file;
    viv_graph_begin();
    viv_node_add_hook(file, &hook);
    viv_graph_end();
    for (unsigned i = 0; i < 8; i++) {
        submit(b, &other, VIV_BLK_READ, SIZE - CLUSTER, CLUSTER);
        submit(b, &q, VIV_BLK_WRITE, i * CLUSTER, 512);
        g_assert_cmpint(wait_for(&q), ==, 0);
        g_assert_cmpint(wait_for(&other), ==, 0);
        writes += 1 + (viv_blk_try(b, &q.req) == 0);
        g_assert_cmpuint(hooked, ==, writes);
    }
    viv_graph_begin();
    viv_node_remove_hook(file, &hook);
    viv_graph_end();
    finish(b);
    g_free(q.buf);
    g_free(other.buf);
}

/* As in a container whose filter forbids it. */
static void no_ring_here(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog prog = {G_N_ELEMENTS(code), code};
    struct request q = {.buf = g_malloc(4096)};
    struct viv_blk *b;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
        exit(77);
    b = open_with("raw", VIV_AIO_URING, false);
    if (viv_blk_ring(b))
        exit(1);
    memset(q.buf, 5, 4096);
    submit(b, &q, VIV_BLK_WRITE, 0, 4096);
    if (wait_for(&q))
        exit(2);
    finish(b);
    g_free(q.buf);
    exit(0);
}

static void test_refused(void)
{
    make("raw", SIZE);
    if (g_test_subprocess()) {
        no_ring_here();
    } else {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        g_test_trap_assert_stderr("*io_uring*seccomp*threads*");
    }
}

static void test_native(void)
{
    struct viv_node_opts o = {.aio = VIV_AIO_NATIVE};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    make("raw", SIZE);
    g_assert_cmpint(viv_node_open_image(path, "raw", &o, &n, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "cache.direct"));
}

static void look_for_ring(void)
{
    struct io_uring uring;

    have_ring = io_uring_queue_init(8, &uring, 0) == 0;
    if (have_ring)
        io_uring_queue_exit(&uring);
    else
        g_test_message("no io_uring here: threads do all of it");
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    path = g_strdup_printf("%s/viv-ring-%d", g_get_tmp_dir(), getpid());
    look_for_ring();
    g_test_add_func("/block/ring/raw", test_raw);
    g_test_add_func("/block/ring/qcow2", test_qcow2);
    g_test_add_func("/block/ring/direct", test_direct);
    g_test_add_func("/block/ring/ends", test_ends);
    g_test_add_func("/block/ring/error", test_error);
    g_test_add_func("/block/ring/drain", test_drain);
    g_test_add_func("/block/ring/bitmap", test_bitmap);
    g_test_add_func("/block/ring/file-hook", test_file_hook);
    g_test_add_func("/block/ring/refused", test_refused);
    g_test_add_func("/block/ring/native", test_native);
    ret = g_test_run();
    g_unlink(path);
    g_free(path);
    return ret;
}
