/* parallels: random requests against a model, failing writes, damaged images, power cuts. */
#include "block/cuts_test.h"
#include "block/fmt/parallels/parallels.h"

#include "base/bytes.h"
#include "base/log.h"

static const struct variant variants[] = {
    {"sectors", "cluster_size=512", 1 << 20, 0},
    {"63-sectors", "cluster_size=32256", 3 << 20, 0},
    {"64k", "cluster_size=64k", (4 << 20) + 512, 0},
};

static void test_model(gconstpointer v)
{
    run_model(&viv_blk_parallels, v, false);
}

static void test_failing(gconstpointer v)
{
    run_model(&viv_blk_parallels, v, true);
}

static void test_cuts(gconstpointer v)
{
    run_cuts(&viv_blk_parallels, v, 120, 3);
}

/* A 1 MiB disk of 4 KiB clusters: BAT at 64, data from 4096 on, cluster 0 there. */
static const struct variant plain = {"plain", "cluster_size=4k", 1 << 20, 0};

static void make_plain(struct mem *m)
{
    uint8_t buf[4096] = {1};
    struct viv_node *n;

    make(&viv_blk_parallels, &plain, m);
    n = open_variant(&viv_blk_parallels, &plain, m, NULL);
    g_assert_cmpuint(viv_ld_le32(m->data + 44), ==, 0x746f6e59);
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    viv_node_put(&n);
    g_assert_cmpuint(viv_ld_le32(m->data + 44), ==, 0);
    g_assert_cmpuint(viv_ld_le32(m->data + 64), ==, 1);
    g_assert_cmpuint(m->size, ==, 8192);
}

static void test_header(void)
{
    static const struct {
        uint64_t at, value;
        unsigned bytes;
    } bad[] = {
        {0, 0, 1},           {15, 'x', 1},     {16, 1, 4}, {16, 3, 4},   {28, 0, 4},
        {28, UINT32_MAX, 4}, {28, 1 << 22, 4}, {32, 0, 4}, {32, 255, 4}, {36, ~0ull, 8},
        {36, 1ull << 55, 8}, {36, 2049, 8},    {48, 1, 4}, {28, 1, 4},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct mem m;

        make_plain(&m);
        memcpy(m.data + bad[i].at, &bad[i].value, bad[i].bytes);
        if (open_with(&viv_blk_parallels, &m, (struct viv_node_opts){.read_only = true}))
            g_error("field at %" PRIu64 " = 0x%" PRIx64 " is believed", bad[i].at, bad[i].value);
        mem_fini(&m);
    }
}

/* A huge disk over a short file: refused before the table is allocated. */
static void test_huge(void)
{
    struct mem m;

    make_plain(&m);
    viv_st_le32(m.data + 32, UINT32_MAX);
    viv_st_le64(m.data + 36, 1ull << 34);
    g_assert_null(open_with(&viv_blk_parallels, &m, (struct viv_node_opts){.read_only = true}));
    mem_fini(&m);
}

static void test_entries(void)
{
    static const uint32_t places[] = {2, 3, 0x7fffffff, UINT32_MAX};
    struct viv_check c = {.fix = VIV_FIX_LEAKS | VIV_FIX_ERRORS};
    uint8_t buf[4096] = {2};
    struct viv_node *n;
    struct mem m;

    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        make_plain(&m);
        viv_st_le32(m.data + 64, places[i]);
        n = open_with(&viv_blk_parallels, &m, (struct viv_node_opts){0});
        g_assert_nonnull(n);
        g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, -EIO);
        g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, -EIO);
        viv_node_put(&n);
        g_assert_cmpuint(m.size, ==, 8192);
        /* Not closed cleanly, so the next writer repairs: the entry goes, and what it leaves at the end. */
        n = open_with(&viv_blk_parallels, &m, (struct viv_node_opts){0});
        g_assert_nonnull(n);
        g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, 0);
        g_assert_true(viv_buf_is_zero(buf, sizeof(buf)));
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        g_assert_cmpuint(m.size, ==, 4096);
        mem_fini(&m);
    }
    /* One place for two: told, not mended; the mark of use stays. */
    make_plain(&m);
    viv_st_le32(m.data + 68, 1);
    viv_st_le32(m.data + 44, 0x746f6e59);
    n = open_with(&viv_blk_parallels, &m, (struct viv_node_opts){.for_check = true});
    g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, 2);
    g_assert_cmpuint(c.corruptions_fixed, ==, 0);
    viv_node_put(&n);
    g_assert_null(open_with(&viv_blk_parallels, &m, (struct viv_node_opts){0}));
    mem_fini(&m);
}

/* "WithoutFreeSpace": places in sectors, data_off may be 0, clusters need not be aligned to anything. */
static void test_old_magic(void)
{
    uint8_t buf[4096], want[4096];
    struct viv_node *n;
    struct mem m;

    make_plain(&m);
    memcpy(m.data, "WithoutFreeSpace", 16);
    viv_st_le32(m.data + 40, 0xdead); /* not part of the size */
    viv_st_le32(m.data + 48, 0);
    viv_st_le32(m.data + 64, 8);
    n = open_with(&viv_blk_parallels, &m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    g_assert_cmpuint(viv_node_size(n), ==, 1 << 20);
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpuint(buf[0], ==, 1);
    memset(want, 7, sizeof(want));
    g_assert_cmpint(viv_node_pwrite(n, 40960, want, sizeof(want)), ==, 0);
    expect_check(n, false);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_with(&viv_blk_parallels, &m, (struct viv_node_opts){.read_only = true});
    g_assert_cmpint(viv_node_pread(n, 40960, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(memcmp(buf, want, sizeof(want)), ==, 0);
    g_assert_cmpuint(viv_ld_le32(m.data + 64 + 40), >=, 16); /* behind cluster 0 */
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_mutations(void)
{
    static const uint64_t targets[] = {0, 0, 64, 128};

    run_mutations(&viv_blk_parallels, &plain, 1500, targets, G_N_ELEMENTS(targets));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        g_autofree char *a = g_strconcat("/block/parallels/model/", variants[i].name, NULL);
        g_autofree char *b = g_strconcat("/block/parallels/failing/", variants[i].name, NULL);
        g_autofree char *c = g_strconcat("/block/parallels/crash/", variants[i].name, NULL);

        g_test_add_data_func(a, &variants[i], test_model);
        g_test_add_data_func(b, &variants[i], test_failing);
        g_test_add_data_func(c, &variants[i], test_cuts);
    }
    g_test_add_func("/block/parallels/header", test_header);
    g_test_add_func("/block/parallels/huge", test_huge);
    g_test_add_func("/block/parallels/entries", test_entries);
    g_test_add_func("/block/parallels/old-magic", test_old_magic);
    g_test_add_func("/block/parallels/mutations", test_mutations);
    return g_test_run();
}
