/* Other options for images that exist: what becomes of them, what is refused. Power cuts: qcow2_snapshot_test.c. */
#include "block/fmt/qcow2/bitmap.h"
#include "block/tables_test.h"

#include "base/bytes.h"

static struct viv_node *fresh(struct mem *m, const char *opts, uint64_t size, uint64_t base)
{
    struct variant v = {.opts = opts, .size = size, .base = base};
    struct viv_node *n;

    make(&viv_blk_qcow2, &v, m);
    n = open_with(&viv_blk_qcow2, m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    return n;
}

static struct viv_node *reopen(struct viv_node *n, struct mem *m)
{
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_with(&viv_blk_qcow2, m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    return n;
}

/* `word`: of the refusal; NULL: it is done. */
static void amend(struct viv_node *n, const char *text, const char *word)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o;
    int ret;

    g_assert_cmpint(viv_opts_parse("-o", viv_blk_qcow2.amend_opts, NULL, text, &o, NULL), ==, 0);
    ret = n->drv->amend(n, o, false, &err);
    if (!word && ret)
        g_error("amend -o %s: %s", text, err.text);
    if (word) {
        g_assert_cmpint(ret, !=, 0);
        if (!strstr(err.text, word))
            g_error("amend -o %s says '%s', without '%s'", text, err.text, word);
    }
    viv_err_clear(&err);
    viv_opts_free(o);
}

static void write_bytes(struct viv_node *n, uint64_t at, uint8_t value, size_t len)
{
    uint8_t *buf = g_malloc(len);

    memset(buf, value, len);
    g_assert_cmpint(viv_node_pwrite(n, at, buf, len), ==, 0);
    g_free(buf);
}

static int snapshot(struct viv_node *n, const char *name)
{
    struct viv_snapshot s = {.name = (char *)name};

    return n->drv->snapshots->create(n, &s, NULL);
}

static uint32_t version(const struct mem *m)
{
    return viv_ld_be32(m->data + QCOW2_H_VERSION);
}

/* All widths one after the other, with clusters that are shared, and new ones after each. */
static void test_widths(gconstpointer data)
{
    static const unsigned bits[] = {64, 2, 8, 32, 4, 16};
    g_autofree char *opts = g_strdup_printf("cluster_size=%u", GPOINTER_TO_UINT(data));
    uint8_t model[600 * 512] = {0};
    struct viv_node *n;
    struct mem m;

    n = fresh(&m, opts, sizeof(model), 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
        g_autofree char *text = g_strdup_printf("refcount_bits=%u", bits[i]);

        write_bytes(n, i * 30000, i + 1, 70000);
        memset(model + i * 30000, i + 1, 70000);
        if (i == 1)
            g_assert_cmpint(snapshot(n, "a"), ==, 0);
        amend(n, text, NULL);
        g_assert_cmpuint(1u << viv_ld_be32(m.data + QCOW2_H_REFCOUNT_ORDER), ==, bits[i]);
        write_bytes(n, 200000, i + 50, 50000);
        memset(model + 200000, i + 50, 50000);
        n = reopen(n, &m);
        expect_disk(n, model);
        expect_check(n, false);
    }
    g_assert_cmpint(snapshot(n, "b"), ==, 0); /* some clusters have two references */
    amend(n, "refcount_bits=1", "width");
    amend(n, "refcount_bits=3", "power of two");
    expect_disk(n, model);
    g_assert_cmpint(n->drv->snapshots->remove(n, "a", NULL), ==, 0);
    g_assert_cmpint(n->drv->snapshots->remove(n, "b", NULL), ==, 0);
    amend(n, "refcount_bits=1", NULL);
    n = reopen(n, &m);
    expect_disk(n, model);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

/* Version 2 cannot say zero: with a backing file zeroes become data, without one nothing. */
static void test_downgrade(gconstpointer data)
{
    bool backed = data != NULL;
    struct variant v = {.opts = "cluster_size=4k", .size = 500 * 512 + 512, .base = backed ? 300 * 512 : 0};
    uint8_t *disk = g_malloc(v.size), *now = g_malloc(v.size);
    struct viv_node *n;
    struct mem m, base;

    make(&viv_blk_qcow2, &v, &m);
    make_base(&v, &base);
    n = open_variant(&viv_blk_qcow2, &v, &m, &base);
    write_bytes(n, 0, 1, 60000);
    g_assert_cmpint(viv_node_write_zeroes(n, 10000, 30000, 0), ==, 0);
    g_assert_cmpint(viv_node_write_zeroes(n, 70000, v.size - 70000, VIV_BLK_UNMAP), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, v.size - 40000 / 512 * 512, VIV_PREALLOC_OFF, NULL), ==, 0);
    v.size = viv_node_size(n);
    g_assert_cmpint(viv_node_pread(n, 0, disk, v.size), ==, 0);
    amend(n, "lazy_refcounts=on", NULL);
    amend(n, "compat=0.10", NULL);
    g_assert_cmpuint(version(&m), ==, 2);
    viv_node_put(&n);
    n = open_variant(&viv_blk_qcow2, &v, &m, &base);
    g_assert_cmpint(viv_node_pread(n, 0, now, v.size), ==, 0);
    g_assert_cmpmem(now, v.size, disk, v.size);
    expect_check(n, false);
    amend(n, "lazy_refcounts=on", "compat=1.1");
    amend(n, "refcount_bits=8", "compat=1.1");
    amend(n, "compat=1.1,refcount_bits=8,lazy_refcounts=on", NULL);
    g_assert_cmpuint(version(&m), ==, 3);
    viv_node_put(&n);
    n = open_variant(&viv_blk_qcow2, &v, &m, &base);
    g_assert_cmpint(viv_node_pread(n, 0, now, v.size), ==, 0);
    g_assert_cmpmem(now, v.size, disk, v.size);
    expect_check(n, false);
    amend(n, "compat=0.10", "refcount_bits=16");
    amend(n, "compat=0.10,refcount_bits=16", NULL);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
    mem_fini(&base);
    g_free(disk);
    g_free(now);
}

/* Snapshots that do not say their disk's size learn it on the way to version 3. */
static void test_upgrade(void)
{
    struct qcow2 *q;
    struct viv_node *n;
    struct mem m;

    n = fresh(&m, "compat=0.10,cluster_size=4k", 1 << 20, 0);
    write_bytes(n, 0, 1, 100000);
    g_assert_cmpint(snapshot(n, "a"), ==, 0);
    ((struct qcow2 *)n->state)->snapshots[0].extra_len = 0; /* as old programs wrote it */
    g_assert_cmpint(snapshot(n, "b"), ==, 0);
    write_bytes(n, 0, 2, 50000);
    n = reopen(n, &m);
    g_assert_cmpuint(((struct qcow2 *)n->state)->snapshots[0].extra_len, ==, 0);
    amend(n, "compat=1.1", NULL);
    g_assert_cmpint(viv_node_truncate(n, 2 << 20, VIV_PREALLOC_OFF, NULL), ==, 0);
    n = reopen(n, &m);
    q = n->state;
    g_assert_cmpint(q->version, ==, 3);
    g_assert_cmpuint(q->snapshots[0].extra_len, ==, 16);
    g_assert_cmpuint(qcow2_snapshot_disk_size(q, &q->snapshots[0]), ==, 1 << 20);
    g_assert_cmpuint(q->snapshots[1].extra_len, ==, 24);
    expect_check(n, false);
    amend(n, "compat=0.10", "another size");
    amend(n, "compat=0.10,size=1M", NULL);
    g_assert_cmpuint(version(&m), ==, 2);
    g_assert_cmpint(n->drv->snapshots->apply(n, "a", NULL), ==, 0);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_refused(void)
{
    struct viv_bitmap_info bitmap = {.name = (char *)"b", .granularity = 65536};
    struct viv_node *n;
    struct mem m;

    n = fresh(&m, "cluster_size=4k,backing_file=base,backing_fmt=raw", 1 << 20, 1);
    amend(n, "backing_file=other", "rebase");
    amend(n, "backing_fmt=qcow2", "rebase");
    amend(n, "backing_file=base,backing_fmt=raw", NULL); /* it is so */
    amend(n, "data_file=x", "external data file");
    amend(n, "data_file_raw=on", "existing");
    amend(n, "compat=0.10,lazy_refcounts=on", "1.1");
    amend(n, "encrypt.new-secret=x", "encryption");
    g_assert_cmpint(n->drv->bitmaps->store(n, &bitmap, NULL, NULL), ==, 0);
    amend(n, "compat=0.10", "bitmap");
    g_assert_cmpint(n->drv->bitmaps->remove(n, "b", NULL), ==, 0);
    g_assert_cmpint(viv_node_write_zeroes(n, 0, 65536, 0), ==, 0);
    g_assert_cmpint(snapshot(n, "a"), ==, 0);
    amend(n, "compat=0.10", "zero clusters");
    g_assert_cmpuint(version(&m), ==, 3);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
    n = fresh(&m, "cluster_size=16k,extended_l2=on", 1 << 20, 0);
    amend(n, "compat=0.10", "extended L2");
    amend(n, "refcount_bits=32,size=2M", NULL);
    g_assert_cmpuint(viv_node_size(n), ==, 2 << 20);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/block/qcow2/amend/widths/512", GUINT_TO_POINTER(512), test_widths);
    g_test_add_data_func("/block/qcow2/amend/widths/64k", GUINT_TO_POINTER(65536), test_widths);
    g_test_add_data_func("/block/qcow2/amend/downgrade/alone", NULL, test_downgrade);
    g_test_add_data_func("/block/qcow2/amend/downgrade/backing", "", test_downgrade);
    g_test_add_func("/block/qcow2/amend/upgrade", test_upgrade);
    g_test_add_func("/block/qcow2/amend/refused", test_refused);
    return g_test_run();
}
