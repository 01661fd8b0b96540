/* Dirty bitmaps against a model: one byte a granule. */
#include "block/bitmap.h"
#include "block/mem_test.h"

#include <stdio.h>

static void expect_model(struct viv_bitmap *b, const uint8_t *model, uint64_t granules)
{
    uint64_t at = 0, offset, len, seen = 0;

    while (viv_bitmap_next(b, at, &offset, &len)) {
        for (uint64_t i = at / b->granularity; i < offset / b->granularity; i++)
            g_assert_false(model[i]);
        for (uint64_t i = offset / b->granularity; i * b->granularity < offset + len; i++)
            g_assert_true(model[i]);
        seen += len;
        at = offset + len;
    }
    for (uint64_t i = (at + b->granularity - 1) / b->granularity; i < granules; i++)
        g_assert_false(model[i]);
    g_assert_cmpuint(viv_bitmap_count(b), ==, seen);
}

static void test_model(void)
{
    g_autoptr(GRand) r = g_rand_new_with_seed(g_test_rand_int());
    uint64_t size = 1000 * 1024 + 77, granules = (size + 1023) / 1024;
    g_autofree uint8_t *model = g_malloc0(granules);
    struct viv_bitmap *b;
    struct viv_node *n;
    struct mem m;

    mem_init(&m);
    n = mem_node(&m);
    n->size = size;
    g_assert_cmpint(viv_bitmap_new(n, "a", 1024, &b, NULL), ==, 0);
    for (int i = 0; i < 3000; i++) {
        uint64_t at = g_rand_int_range(r, 0, size), len = g_rand_int_range(r, 0, i % 9 ? 5000 : 300000);
        bool set = g_rand_boolean(r);

        if (set)
            viv_bitmap_mark(b, at, len);
        else
            viv_bitmap_clear(b, at, len);
        len = MIN(len, size - at);
        for (uint64_t g = at / 1024; len && g <= (at + len - 1) / 1024; g++)
            if (set)
                model[g] = 1;
            else if (g * 1024 >= at && (MIN((g + 1) * 1024, size) <= at + len))
                model[g] = 0;
        if (i % 10 == 0)
            expect_model(b, model, granules);
    }
    viv_bitmap_free(b);
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_names(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_bitmap *a, *b, *c;
    struct viv_node *n;
    struct mem m;

    mem_init(&m);
    n = mem_node(&m);
    n->size = 1 << 20;
    g_assert_cmpint(viv_bitmap_new(n, "a", 4096, &a, NULL), ==, 0);
    g_assert_cmpint(viv_bitmap_new(n, "b", 65536, &b, NULL), ==, 0);
    g_assert_cmpint(viv_bitmap_new(n, NULL, 512, &c, NULL), ==, 0);
    g_assert_cmpint(viv_bitmap_new(n, "a", 4096, &c, &err), ==, -EEXIST);
    viv_err_clear(&err);
    g_assert_cmpint(viv_bitmap_new(n, "d", 1000, &c, &err), ==, -EINVAL);
    viv_err_clear(&err);
    n->size = 1ull << 60;
    g_assert_cmpint(viv_bitmap_new(n, "d", 65536, &c, &err), ==, -EFBIG);
    viv_err_clear(&err);
    g_assert_true(viv_bitmap_find(n, "b") == b);
    g_assert_null(viv_bitmap_find(n, "d"));
    viv_bitmap_enable(b, false);
    viv_bitmaps_wrote(n, 5000, 10);
    g_assert_cmpuint(viv_bitmap_count(a), ==, 4096);
    g_assert_cmpuint(viv_bitmap_count(b), ==, 0);
    g_assert_cmpint(viv_bitmap_merge(b, a, NULL), ==, 0);
    g_assert_cmpuint(viv_bitmap_count(b), ==, 65536);
    g_assert_cmpint(viv_bitmaps_resize(n, 6000), ==, 0);
    g_assert_cmpuint(viv_bitmap_count(b), ==, 6000);
    g_assert_cmpint(viv_bitmaps_resize(n, 1 << 20), ==, 0);
    g_assert_cmpuint(viv_bitmap_count(b), ==, 65536); /* its granule was dirty */
    g_assert_cmpint(viv_bitmaps_resize(n, 4096), ==, 0);
    g_assert_cmpuint(viv_bitmap_count(a), ==, 0);
    viv_node_put(&n); /* frees them all */
    mem_fini(&m);
}

/* Bits come from images: those behind the disk's end are dropped. */
static void test_bits(void)
{
    uint8_t ones[4] = {0xff, 0xff, 0xff, 0xff}, *copy;
    struct viv_bitmap *b;
    struct viv_node *n;
    struct mem m;

    mem_init(&m);
    n = mem_node(&m);
    n->size = 10 * 512 + 1;
    g_assert_cmpint(viv_bitmap_new(n, "a", 512, &b, NULL), ==, 0);
    viv_bitmap_set_bits(b, ones, sizeof(ones));
    g_assert_cmpuint(viv_bitmap_count(b), ==, n->size);
    copy = viv_bitmap_copy_bits(b);
    g_assert_cmpmem(copy, b->bytes, "\xff\x07", 2);
    g_free(copy);
    viv_node_put(&n);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/bitmap/model", test_model);
    g_test_add_func("/block/bitmap/names", test_names);
    g_test_add_func("/block/bitmap/bits", test_bits);
    return g_test_run();
}
