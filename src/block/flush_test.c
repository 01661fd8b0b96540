/* Flushes that come together: each covers what was written before it, few are made, and a loss is told to all whom it concerns. */
#include "block/mem_test.h"
#include "block/node.h"

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

static void test_loss(void)
{
    struct viv_blk_driver drv = mem_driver;
    struct viv_node *n;
    pthread_t first, second;
    struct mem m;

    drv.flush = slow_flush;
    mem_init(&m);
    n = mem_node(&m);
    n->drv = &drv;
    flushes = 0;
    page_lost = true;
    g_assert_cmpint(pthread_create(&first, NULL, flush_now, n), ==, 0);
    g_usleep(10000);
    g_assert_cmpint(pthread_create(&second, NULL, flush_now, n), ==, 0);
    g_assert_cmpint(result_of(first), ==, -EIO);
    g_assert_cmpint(result_of(second), ==, -EIO);
    g_assert_cmpint(viv_node_flush(n), ==, -EIO); /* for ever */
    n->drv = &mem_driver;
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_shared(void)
{
    struct viv_blk_driver drv = mem_driver;
    pthread_t thread[THREADS];
    struct viv_node *n;
    struct mem m;

    drv.flush = slow_flush;
    mem_init(&m);
    n = mem_node(&m);
    n->drv = &drv;
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
    n->drv = &mem_driver;
    viv_node_put(&n);
    mem_fini(&m);
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
    mem_init(&m);
    n = mem_node(&m);
    n->drv = &drv;
    for (unsigned i = 0; i < THREADS; i++)
        g_assert_cmpint(pthread_create(&thread[i], NULL, write_and_flush, n), ==, 0);
    for (unsigned i = 0; i < THREADS; i++)
        result_of(thread[i]);
    n->drv = &mem_driver;
    viv_node_put(&n);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/flush/loss", test_loss);
    g_test_add_func("/block/flush/shared", test_shared);
    g_test_add_func("/block/flush/covered", test_covered);
    return g_test_run();
}
