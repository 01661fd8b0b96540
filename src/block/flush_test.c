/* Flushes that come together: each covers what was written before it, few are made, and a loss is told to all whom it concerns. */
#include "block/mem_test.h"
#include "block/node.h"

#include <unistd.h>

enum { THREADS = 8, ROUNDS = 200 };

static unsigned flushes, written, durable;
static bool page_lost;

/* As fdatasync is: a lost page is told once, at the end of the flush that ends first. */
static int slow_flush(struct viv_node *n)
{
    unsigned k = __atomic_fetch_add(&flushes, 1, __ATOMIC_SEQ_CST), seen = __atomic_load_n(&written, __ATOMIC_SEQ_CST);

    g_usleep(k ? 60000 : 40000);
    __atomic_store_n(&durable, seen, __ATOMIC_SEQ_CST);
    return __atomic_exchange_n(&page_lost, false, __ATOMIC_SEQ_CST) ? -EIO : 0;
}

static int quick_flush(struct viv_node *n)
{
    unsigned seen = __atomic_load_n(&written, __ATOMIC_SEQ_CST);

    g_usleep(seen % 7 * 10);
    __atomic_store_n(&durable, seen, __ATOMIC_SEQ_CST);
    return 0;
}

static void *flush_now(void *n)
{
    return GINT_TO_POINTER(viv_node_flush(n));
}

static int result_of(pthread_t thread)
{
    void *ret;

    pthread_join(thread, &ret);
    return GPOINTER_TO_INT(ret);
}

static struct viv_node *begin(struct mem *m, const struct viv_blk_driver *drv)
{
    struct viv_node *n;

    mem_init(m);
    n = mem_node(m);
    n->drv = drv;
    return n;
}

static void end(struct viv_node **n, struct mem *m)
{
    (*n)->drv = &mem_driver;
    viv_node_put(n);
    mem_fini(m);
}

static void test_loss(void)
{
    struct viv_blk_driver drv = mem_driver;
    struct viv_node *n;
    pthread_t first, second;
    struct mem m;

    drv.flush = slow_flush;
    n = begin(&m, &drv);
    flushes = 0;
    page_lost = true;
    g_assert_cmpint(pthread_create(&first, NULL, flush_now, n), ==, 0);
    g_usleep(10000);
    g_assert_cmpint(pthread_create(&second, NULL, flush_now, n), ==, 0);
    g_assert_cmpint(result_of(first), ==, -EIO);
    g_assert_cmpint(result_of(second), ==, -EIO);
    g_assert_cmpint(viv_node_flush(n), ==, -EIO); /* for ever */
    end(&n, &m);
}

static void test_shared(void)
{
    struct viv_blk_driver drv = mem_driver;
    pthread_t thread[THREADS];
    struct viv_node *n;
    struct mem m;

    drv.flush = slow_flush;
    n = begin(&m, &drv);
    flushes = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        g_assert_cmpint(pthread_create(&thread[i], NULL, flush_now, n), ==, 0);
        if (!i)
            while (!__atomic_load_n(&flushes, __ATOMIC_SEQ_CST))
                g_usleep(1000);
    }
    for (unsigned i = 0; i < THREADS; i++)
        g_assert_cmpint(result_of(thread[i]), ==, 0);
    g_assert_cmpuint(flushes, >=, 2);
    g_assert_cmpuint(flushes, <, THREADS); /* two, but for threads that start late */
    end(&n, &m);
}

static void *write_and_flush(void *n)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned mine = __atomic_add_fetch(&written, 1, __ATOMIC_SEQ_CST);

        g_assert_cmpint(viv_node_flush(n), ==, 0);
        g_assert_cmpuint(__atomic_load_n(&durable, __ATOMIC_SEQ_CST), >=, mine);
    }
    return NULL;
}

static void test_covered(void)
{
    struct viv_blk_driver drv = mem_driver;
    pthread_t thread[THREADS];
    struct viv_node *n;
    struct mem m;

    drv.flush = quick_flush;
    n = begin(&m, &drv);
    for (unsigned i = 0; i < THREADS; i++)
        g_assert_cmpint(pthread_create(&thread[i], NULL, write_and_flush, n), ==, 0);
    for (unsigned i = 0; i < THREADS; i++)
        result_of(thread[i]);
    end(&n, &m);
}

static int fail_fdatasync; /* so many of them */

int fdatasync(int fd) /* in place of the C library's */
{
    if (!fail_fdatasync)
        return 0;
    fail_fdatasync--;
    errno = EIO;
    return -1;
}

/* A page that could not be written is gone from the page cache; with O_DIRECT there is none, and the guest's next try counts. */
static void test_direct(void)
{
    g_autofree char *path = g_strdup_printf("%s/viv-flush-%d", g_get_tmp_dir(), getpid());

    g_assert_true(g_file_set_contents(path, "data", 4, NULL));
    for (int direct = 0; direct < 2; direct++) {
        struct viv_node_opts o = {.direct = direct};
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;

        if (viv_node_open_file(path, &o, &n, &err)) {
            g_test_skip(err.text);
            break;
        }
        fail_fdatasync = 1;
        g_assert_cmpint(viv_node_flush(n), ==, -EIO);
        g_assert_cmpint(viv_node_flush(n), ==, direct ? 0 : -EIO);
        viv_node_put(&n);
    }
    unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/flush/loss", test_loss);
    g_test_add_func("/block/flush/shared", test_shared);
    g_test_add_func("/block/flush/covered", test_covered);
    g_test_add_func("/block/flush/direct", test_direct);
    return g_test_run();
}
