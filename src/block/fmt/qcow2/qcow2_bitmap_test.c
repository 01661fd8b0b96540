/* Dirty bitmaps in the image: stored, loaded, followed, resized, refused, damaged; power cuts in all of it (steps_test.h). */
#include "block/fmt/qcow2/steps_test.h"

static struct viv_node *fresh(struct mem *m, const char *opts, uint64_t size)
{
    struct variant v = {.opts = opts, .size = size};
    struct viv_node *n;

    make(&viv_blk_qcow2, &v, m);
    n = open_with(&viv_blk_qcow2, m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    return n;
}

static struct viv_node *reopen(struct viv_node *n, struct mem *m, bool read_only)
{
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_with(&viv_blk_qcow2, m, (struct viv_node_opts){.read_only = read_only});
    g_assert_nonnull(n);
    return n;
}

static int store(struct viv_node *n, const char *name, uint32_t granularity, bool automatic, const uint8_t *bits)
{
    struct viv_bitmap_info info = {.name = (char *)name, .granularity = granularity, .automatic = automatic};

    return n->drv->bitmaps->store(n, &info, bits, NULL);
}

static void expect_bits(struct viv_node *n, const char *name, const void *want, size_t len)
{
    uint8_t *bits;
    size_t bytes;

    g_assert_cmpint(n->drv->bitmaps->load(n, name, &bits, &bytes, NULL), ==, 0);
    g_assert_cmpmem(bits, bytes, want, len);
    g_free(bits);
}

static void expect_refused(struct viv_node *n, const char *name, const char *word)
{
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *bits;
    size_t bytes;

    g_assert_cmpint(n->drv->bitmaps->load(n, name, &bits, &bytes, &err), !=, 0);
    g_assert_nonnull(strstr(err.text, word));
    viv_err_clear(&err);
}

/* --- by hand --- */

static void test_store(void)
{
    uint8_t bits[32], *big = g_malloc0(5000);
    struct viv_node *n;
    struct mem m;

    memset(bits, 0xff, sizeof(bits));
    bits[3] = 0;
    n = fresh(&m, "cluster_size=512", 256 * 4096);
    g_assert_cmpint(store(n, "a", 4096, false, bits), ==, 0);
    g_assert_cmpint(store(n, "b", 65536, false, NULL), ==, 0);
    n = reopen(n, &m, false);
    expect_bits(n, "a", bits, sizeof(bits));
    expect_bits(n, "b", "\0", 2);
    expect_check(n, false);
    bits[7] = 1;
    g_assert_cmpint(store(n, "a", 4096, false, bits), ==, 0); /* in its place */
    g_assert_cmpint(store(n, "b", 512, false, big), ==, 0);   /* with another granularity */
    n = reopen(n, &m, true);
    expect_bits(n, "a", bits, sizeof(bits));
    g_assert_cmpint(store(n, "c", 512, false, NULL), ==, -EROFS);
    n = reopen(n, &m, false);
    expect_check(n, false);
    g_assert_cmpint(n->drv->bitmaps->remove(n, "none", NULL), ==, -ENOENT);
    g_assert_cmpint(n->drv->bitmaps->remove(n, "a", NULL), ==, 0);
    g_assert_cmpint(n->drv->bitmaps->remove(n, "b", NULL), ==, 0);
    g_assert_cmpint(store(n, "c", 1000, false, NULL), ==, -EINVAL);
    g_assert_cmpint(store(n, "", 512, false, NULL), ==, -EINVAL);
    expect_check(n, false);
    viv_node_put(&n);
    g_assert_cmpuint(viv_ld_be64(m.data + QCOW2_H_AUTOCLEAR), ==, 0);
    mem_fini(&m);
    g_free(big);
}

/* Clusters of bits that are all alike take no room. */
static void test_sparse(void)
{
    uint8_t *bits = g_malloc0(4096);
    struct viv_node *n;
    struct qcow2 *q;
    struct mem m;

    memset(bits, 0xff, 2048);
    bits[3000] = 1;
    n = fresh(&m, "cluster_size=512", 4096 * 8 * 512);
    g_assert_cmpint(store(n, "a", 512, false, bits), ==, 0);
    q = n->state;
    for (int i = 0; i < 8; i++) {
        uint64_t entry = viv_ld_be64(m.data + q->bitmaps[0].table_offset + i * 8);

        if (i == 5)
            g_assert_cmpuint(entry, >, 512);
        else
            g_assert_cmpuint(entry, ==, i < 4);
    }
    expect_bits(n, "a", bits, 4096);
    viv_node_put(&n);
    mem_fini(&m);
    g_free(bits);
}

/* Follows writes over several openings; a program that ends without closing leaves it out of date. */
static void test_follow(void)
{
    struct viv_snapshot s = {.name = (char *)"s"};
    struct viv_node *n, *other;
    struct mem m, copy;

    n = fresh(&m, "cluster_size=4k", 64 * 65536);
    g_assert_cmpint(store(n, "a", 65536, true, NULL), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 65536 * 9 - 1, "xy", 2), ==, 0);
    expect_bits(n, "a", "\0\3\0\0\0\0\0\0", 8);
    n = reopen(n, &m, false);
    expect_bits(n, "a", "\0\3\0\0\0\0\0\0", 8);
    g_assert_cmpint(viv_node_write_zeroes(n, 65536 * 16, 65536, VIV_BLK_UNMAP), ==, 0);
    g_assert_cmpint(viv_node_discard(n, 65536 * 24, 65536), ==, 0);
    mem_init(&copy);
    mem_copy(&copy, &m);
    n = reopen(n, &m, true);
    expect_bits(n, "a", "\0\3\1\1\0\0\0\0", 8);
    other = open_with(&viv_blk_qcow2, &copy, (struct viv_node_opts){0});
    expect_refused(other, "a", "out of date");
    g_assert_cmpint(other->drv->bitmaps->remove(other, "a", NULL), ==, 0);
    expect_check(other, true);
    viv_node_put(&other);
    mem_fini(&copy);
    n = reopen(n, &m, false);
    g_assert_cmpint(n->drv->snapshots->create(n, &s, NULL), ==, 0);
    expect_bits(n, "a", "\0\3\1\1\0\0\0\0", 8);
    g_assert_cmpint(n->drv->snapshots->apply(n, "s", NULL), ==, 0); /* the disk may be any other */
    n = reopen(n, &m, false);
    expect_bits(n, "a", "\377\377\377\377\377\377\377\377", 8);
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_resize(void)
{
    struct viv_snapshot s = {.name = (char *)"s"};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;
    struct mem m;

    n = fresh(&m, "cluster_size=4k", 8 * 65536);
    g_assert_cmpint(n->drv->snapshots->create(n, &s, NULL), ==, 0);
    g_assert_cmpint(store(n, "still", 65536, false, (const uint8_t *)"\245"), ==, 0);
    g_assert_cmpint(store(n, "lives", 65536, true, (const uint8_t *)"\132"), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, 20 * 65536, VIV_PREALLOC_OFF, NULL), ==, 0);
    n = reopen(n, &m, false);
    expect_bits(n, "still", "\245\0\0", 3);
    expect_bits(n, "lives", "\132\0\0", 3);
    g_assert_cmpint(n->drv->snapshots->apply(n, "s", &err), ==, -ENOTSUP);
    g_assert_nonnull(strstr(err.text, "still"));
    viv_err_clear(&err);
    g_assert_cmpint(viv_node_truncate(n, 3 * 65536, VIV_PREALLOC_OFF, NULL), ==, 0);
    n = reopen(n, &m, false);
    expect_bits(n, "still", "\5", 1);
    expect_bits(n, "lives", "\2", 1);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

/* A program that knows no bitmaps wrote: the bit that it cleared says so. */
static void test_stale(void)
{
    struct viv_bitmap_info *list;
    struct viv_node *n;
    unsigned count;
    struct mem m;

    n = fresh(&m, "cluster_size=4k", 1 << 20);
    g_assert_cmpint(store(n, "a", 65536, true, NULL), ==, 0);
    viv_node_put(&n);
    viv_st_be64(m.data + QCOW2_H_AUTOCLEAR, 0);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    g_assert_cmpint(n->drv->bitmaps->list(n, &list, &count, NULL), ==, 0);
    g_assert_cmpuint(count, ==, 0);
    viv_bitmap_info_free(list, count);
    g_assert_cmpint(store(n, "a", 65536, true, NULL), ==, 0);
    n = reopen(n, &m, false);
    expect_bits(n, "a", "\0\0", 2);
    expect_check(n, true); /* the old one's clusters are leaked */
    viv_node_put(&n);
    mem_fini(&m);
}

/* Directories and tables that make no sense: read-only still opens, check says so and removes them. */
static void test_damaged(void)
{
    static const struct {
        unsigned at; /* in the directory; 1000: in the table */
        uint8_t value;
    } damage[] = {{0, 1}, {8, 0xff}, {12, 1}, {16, 2}, {17, 8}, {17, 32}, {18, 9}, {20, 1}, {24, 0}, {1000, 0x80}};
    struct viv_check c;
    struct viv_node *n;
    uint64_t dir, table;
    struct mem m, copy;

    n = fresh(&m, "cluster_size=4k", 1 << 20);
    g_assert_cmpint(store(n, "a", 65536, false, (const uint8_t *)"xy"), ==, 0);
    dir = ((struct qcow2 *)n->state)->bitmap_dir_offset;
    table = ((struct qcow2 *)n->state)->bitmaps[0].table_offset;
    viv_node_put(&n);
    for (unsigned i = 0; i < G_N_ELEMENTS(damage); i++) {
        mem_init(&copy);
        mem_copy(&copy, &m);
        copy.data[damage[i].at == 1000 ? table : dir + damage[i].at] = damage[i].value;
        n = open_with(&viv_blk_qcow2, &copy, (struct viv_node_opts){.read_only = true});
        g_assert_nonnull(n);
        c = (struct viv_check){0};
        g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
        g_assert_cmpuint(c.corruptions, >, 0);
        viv_node_put(&n);
        if (damage[i].at != 1000) {
            g_assert_null(open_with(&viv_blk_qcow2, &copy, (struct viv_node_opts){0}));
            n = open_with(&viv_blk_qcow2, &copy, (struct viv_node_opts){.for_check = true});
            c = (struct viv_check){.fix = VIV_FIX_ERRORS | VIV_FIX_LEAKS};
            g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
            g_assert_cmpuint(c.corruptions, ==, c.corruptions_fixed);
            viv_node_put(&n);
        }
        n = open_with(&viv_blk_qcow2, &copy, (struct viv_node_opts){0});
        g_assert_nonnull(n);
        if (damage[i].at == 1000) {
            expect_refused(n, "a", "corrupt");
            g_assert_cmpint(n->drv->bitmaps->remove(n, "a", NULL), ==, 0);
        }
        expect_check(n, damage[i].at == 1000);
        viv_node_put(&n);
        mem_fini(&copy);
    }
    mem_fini(&m);
}

/* --- power cuts --- */

struct config {
    struct variant v;
    const char *name;
    int rounds;
    guint every;
};

static void step_store(struct steps *w)
{
    struct stored *b = g_new0(struct stored, 1);
    guint i;

    b->name = g_strdup_printf("bitmap %d", g_rand_int_range(w->rand, 0, 4));
    b->granularity = 512u << g_rand_int_range(w->rand, 0, 6);
    b->automatic = g_rand_boolean(w->rand);
    b->bytes = viv_bitmap_bytes(w->now.size, b->granularity);
    b->bits = g_malloc0(b->bytes);
    for (uint64_t k = 0; k < w->now.size / b->granularity; k++)
        b->bits[k / 8] |= g_rand_boolean(w->rand) << k % 8;
    steps_begin(w, "store");
    g_assert_cmpint(store(w->n, b->name, b->granularity, b->automatic, b->bits), ==, 0);
    for (i = 0; i < w->now.bitmaps->len; i++)
        if (strcmp(((struct stored *)w->now.bitmaps->pdata[i])->name, b->name) == 0)
            break;
    if (i < w->now.bitmaps->len)
        w->now.bitmaps->pdata[i] = b;
    else
        g_ptr_array_add(w->now.bitmaps, b);
    g_ptr_array_add(w->all_stored, b);
    steps_end(w);
}

static void step_remove(struct steps *w)
{
    guint i = g_rand_int_range(w->rand, 0, w->now.bitmaps->len);

    steps_begin(w, "remove");
    g_assert_cmpint(w->n->drv->bitmaps->remove(w->n, ((struct stored *)w->now.bitmaps->pdata[i])->name, NULL), ==, 0);
    g_ptr_array_remove_index(w->now.bitmaps, i);
    steps_end(w);
}

static void step_grow(struct steps *w)
{
    uint64_t size = w->now.size + (uint64_t)g_rand_int_range(w->rand, 1, 300) * SECTOR;

    steps_begin(w, "grow");
    g_assert_cmpint(viv_node_truncate(w->n, size, VIV_PREALLOC_OFF, NULL), ==, 0);
    w->now.disk = g_realloc(w->now.disk, size);
    memset(w->now.disk + w->now.size, 0, size - w->now.size);
    w->now.size = size;
    for (guint i = 0; i < w->now.bitmaps->len; i++)
        steps_change_bitmap(w, i, size);
    steps_end(w);
}

static void test_cuts(gconstpointer data)
{
    const struct config *cfg = data;
    struct steps w;

    steps_start(&w, &cfg->v, cfg->every);
    for (int i = 0; i < cfg->rounds; i++) {
        int what = g_rand_int_range(w.rand, 0, 12);

        if (what < 4)
            steps_write(&w, g_rand_int_range(w.rand, 1, 8));
        else if (what < 8 || !w.now.bitmaps->len)
            step_store(&w);
        else if (what < 9)
            step_remove(&w);
        else if (what < 10)
            step_grow(&w);
        else
            steps_reopen(&w);
    }
    steps_finish(&w);
}

int main(int argc, char **argv)
{
    static const struct config configs[] = {
        {{"plain", "cluster_size=4k", 256 << 10, 0}, "plain", 40, 7},
        {{"backing", "cluster_size=4k", 256 << 10, 150 << 10}, "backing", 30, 7},
        {{"tiny", "cluster_size=512", 300 << 10, 0}, "tiny-clusters", 40, 29},
        {{"large", "cluster_size=64k", 1 << 20, 0}, "large-clusters", 30, 11},
    };

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/qcow2/bitmap/store", test_store);
    g_test_add_func("/block/qcow2/bitmap/sparse", test_sparse);
    g_test_add_func("/block/qcow2/bitmap/follow", test_follow);
    g_test_add_func("/block/qcow2/bitmap/resize", test_resize);
    g_test_add_func("/block/qcow2/bitmap/stale", test_stale);
    g_test_add_func("/block/qcow2/bitmap/damaged", test_damaged);
    for (unsigned i = 0; i < G_N_ELEMENTS(configs); i++) {
        g_autofree char *path = g_strconcat("/block/qcow2/bitmap/cuts/", configs[i].name, NULL);

        g_test_add_data_func(path, &configs[i], test_cuts);
    }
    return g_test_run();
}
