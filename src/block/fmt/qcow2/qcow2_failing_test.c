/* Each write of an operation fails once, in turn: the image stays sound and holds the disk it held, the operation says so, and
 * where it still can it goes on. (Power cuts: qcow2_snapshot_test.c, qcow2_bitmap_test.c.) */
#include "block/fmt/qcow2/bitmap.h"
#include "block/tables_test.h"

static int create(struct viv_node *n, struct viv_err *err)
{
    struct viv_snapshot s = {.name = (char *)"new"};

    return n->drv->snapshots->create(n, &s, err);
}

static int apply(struct viv_node *n, struct viv_err *err)
{
    return n->drv->snapshots->apply(n, "same", err);
}

static int delete_snapshot(struct viv_node *n, struct viv_err *err)
{
    return n->drv->snapshots->remove(n, "old", err);
}

static int store(struct viv_node *n, struct viv_err *err)
{
    struct viv_bitmap_info info = {.name = (char *)"old", .granularity = 512};
    uint8_t bits[1000];

    memset(bits, 0x5a, sizeof(bits));
    return n->drv->bitmaps->store(n, &info, bits, err);
}

static int delete_bitmap(struct viv_node *n, struct viv_err *err)
{
    return n->drv->bitmaps->remove(n, "old", err);
}

static int backing(struct viv_node *n, struct viv_err *err)
{
    return n->drv->change_backing(n, "another name", "raw", err);
}

static int grow(struct viv_node *n, struct viv_err *err)
{
    return viv_node_truncate(n, viv_node_size(n) * 40, VIV_PREALLOC_OFF, err);
}

static int amend(struct viv_node *n, const char *text, struct viv_err *err)
{
    struct viv_opts *o;
    int ret;

    g_assert_cmpint(viv_opts_parse("-o", viv_blk_qcow2.amend_opts, NULL, text, &o, NULL), ==, 0);
    ret = n->drv->amend(n, o, false, err);
    viv_opts_free(o);
    return ret;
}

static int widen(struct viv_node *n, struct viv_err *err)
{
    return amend(n, "refcount_bits=64", err);
}

static int make_lazy(struct viv_node *n, struct viv_err *err)
{
    return amend(n, "lazy_refcounts=on", err);
}

static const struct operation {
    const char *name;
    int (*run)(struct viv_node *n, struct viv_err *err);
} operations[] = {{"create", create},   {"apply", apply},
                  {"delete", delete_snapshot}, {"store", store},
                  {"remove", delete_bitmap},   {"change-backing", backing},
                  {"grow", grow},       {"refcount-bits", widen},
                  {"lazy-refcounts", make_lazy}};

/* The disk as it is, a snapshot of it, an older one, a bitmap. */
static void prepare(struct mem *m, uint8_t *model, uint64_t size)
{
    struct variant v = {.opts = "cluster_size=512", .size = size};
    struct viv_snapshot s = {.name = (char *)"old"};
    struct viv_node *n;

    make(&viv_blk_qcow2, &v, m);
    n = open_with(&viv_blk_qcow2, m, (struct viv_node_opts){0});
    g_assert_cmpint(store(n, NULL), ==, 0);
    for (uint64_t i = 0; i < size; i++)
        model[i] = i / 512;
    g_assert_cmpint(viv_node_pwrite(n, 0, model, size / 2), ==, 0);
    g_assert_cmpint(n->drv->snapshots->create(n, &s, NULL), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 0, model, size), ==, 0);
    s.name = (char *)"same";
    g_assert_cmpint(n->drv->snapshots->create(n, &s, NULL), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* Was there a write number `nth` that could fail? */
static bool fail_once(const struct operation *op, const struct mem *start, const uint8_t *model, uint64_t size, int nth)
{
    struct viv_blk_driver fails = mem_driver;
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *buf = g_malloc(size);
    struct viv_node *n;
    struct mem m;
    bool failed;
    int ret;

    mem_init(&m);
    mem_copy(&m, start);
    fails.pwritev = failing_pwritev;
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    n->file->drv = &fails;
    fail_in = nth;
    ret = op->run(n, &err);
    failed = fail_in == 0;
    fail_in = 0;
    if (!failed)
        g_assert_cmpint(ret, ==, 0);
    if (ret)
        g_assert_nonnull(err.text);
    viv_err_clear(&err);
    if (!((struct qcow2 *)n->state)->broken) { /* it goes on */
        g_assert_cmpint(viv_node_pwrite(n, 0, model, size), ==, 0);
        g_assert_cmpint(viv_node_flush(n), ==, 0);
        expect_check(n, true);
    }
    viv_node_put(&n);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    expect_check(n, true);
    g_assert_cmpint(viv_node_pread(n, 0, buf, size), ==, 0);
    g_assert_cmpmem(buf, size, model, size);
    if (op->run != delete_bitmap)
        g_assert_cmpint(n->drv->bitmaps->remove(n, "old", NULL), ==, 0); /* it would be in the way of another size */
    if (op->run != delete_snapshot)
        g_assert_cmpint(n->drv->snapshots->apply(n, "old", NULL), ==, 0);
    expect_check(n, true);
    viv_node_put(&n);
    mem_fini(&m);
    g_free(buf);
    return failed;
}

static void test_failing(gconstpointer data)
{
    const struct operation *op = data;
    uint64_t size = 300 * 512;
    uint8_t *model = g_malloc(size);
    struct mem start;
    int nth = 1;

    prepare(&start, model, size);
    while (fail_once(op, &start, model, size, nth))
        nth++;
    g_assert_cmpint(nth, >, 1);
    g_test_message("%d writes failed", nth - 1);
    mem_fini(&start);
    g_free(model);
}

/* A write into a zero cluster's own place is given up, and its table left the cache meanwhile and cannot be read: the place stays. */
static void test_cancel(void)
{
    static const struct variant v = {.opts = "cluster_size=512", .size = 300 * 512};
    struct viv_blk_driver fails = mem_driver;
    uint8_t buf[512] = {1};
    struct viv_alloc a;
    struct viv_node *n;
    struct qcow2 *q;
    struct mem m;

    make(&viv_blk_qcow2, &v, &m);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_write_zeroes(n, 0, sizeof(buf), 0), ==, 0);
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    g_assert_cmpint(n->drv->alloc(n, 0, sizeof(buf), &a), ==, 0);
    g_assert_true(a.fresh);
    q = n->state;
    qcow2_table_drop(&q->l2_cache, q->l1.entry[0] & QCOW2_OFFSET);
    fails.preadv = failing_preadv;
    n->file->drv = &fails;
    fail_read_in = 1;
    n->drv->cancel(n, &a);
    g_assert_cmpint(fail_read_in, ==, 0);
    expect_check(n, true);
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_unread(void)
{
    static const struct variant v = {.opts = "cluster_size=512", .size = 300 * 512};

    run_unread(&viv_blk_qcow2, &v);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++) {
        g_autofree char *path = g_strconcat("/block/qcow2/failing/", operations[i].name, NULL);

        g_test_add_data_func(path, &operations[i], test_failing);
    }
    g_test_add_func("/block/qcow2/failing/cancel", test_cancel);
    g_test_add_func("/block/qcow2/failing/check-reads", test_unread);
    return g_test_run();
}
