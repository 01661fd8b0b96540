/* qed: random requests against a model, failing writes, damaged images, power cuts. */
#include "block/cuts_test.h"
#include "block/fmt/qed/qed.h"

#include "base/bytes.h"
#include "base/log.h"

static const struct variant variants[] = {
    {"small", "cluster_size=4k,table_size=1", 3 << 20, 0},
    {"backing", "cluster_size=4k,table_size=1", 5 << 20, 3 << 20},
    {"long-backing", "cluster_size=8k,table_size=2", (1 << 20) + 512, 3 << 20},
    {"default", "cluster_size=64k", 4 << 20, 0},
};

static void test_model(gconstpointer v)
{
    run_model(&viv_blk_qed, v, false);
}

static void test_failing(gconstpointer v)
{
    run_model(&viv_blk_qed, v, true);
}

static void test_cuts(gconstpointer v)
{
    run_cuts(&viv_blk_qed, v, 120, 3);
}

/* A few bytes in the middle of a large cluster: the rest comes from below, in pieces, not in one buffer of its size. */
static void test_large_cluster(void)
{
    static const struct variant v = {"large", "cluster_size=16M,table_size=1", 20 << 20, 18 << 20};
    uint64_t at = (9 << 20) + 4096 + 512;
    struct mem m, base;
    uint8_t *model = g_malloc0(v.size);
    struct viv_node *n;

    make_base(&v, &base);
    make(&viv_blk_qed, &v, &m);
    n = open_variant(&viv_blk_qed, &v, &m, &base);
    m.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    memcpy(model, base.data, v.base);
    memset(model + at, 7, SECTOR);
    g_assert_cmpint(viv_node_pwrite(n, at, model + at, SECTOR), ==, 0);
    for (guint i = 0; i < m.log->len; i++) {
        const struct mem_entry *e = &g_array_index(m.log, struct mem_entry, i);

        g_assert_true(e->op != MEM_WRITE || e->len <= 9 << 20);
    }
    expect_disk(n, model);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
    mem_fini(&base);
    g_free(model);
}

/* A 4 MiB disk of 4 KiB clusters: L1 at 4096 (2 entries used), L2 at 8192, cluster 0's data at 12288. */
static const struct variant plain = {"plain", "cluster_size=4k,table_size=1", 4 << 20, 0};

static void make_plain(struct mem *m)
{
    uint8_t buf[4096] = {1};
    struct viv_node *n;

    make(&viv_blk_qed, &plain, m);
    n = open_variant(&viv_blk_qed, &plain, m, NULL);
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    viv_node_put(&n);
    g_assert_cmpuint(viv_ld_le64(m->data + 4096), ==, 8192);
    g_assert_cmpuint(viv_ld_le64(m->data + 8192), ==, 12288);
}

static void test_header(void)
{
    static const struct {
        uint64_t at, value;
        unsigned bytes;
    } bad[] = {
        {4, 0, 4},           {4, 2048, 4},      {4, 4097, 4},
        {4, 128 << 20, 4},   {8, 0, 4},         {8, 3, 4},
        {8, 32, 4},          {8, 16, 4},        {12, 2, 4},
        {12, UINT32_MAX, 4}, {16, 8, 8},        {16, 1ull << 63, 8},
        {16, 1, 8},          {40, 0, 8},        {40, 4097, 8},
        {40, 1 << 20, 8},    {40, ~4095ull, 8}, {48, (1ull << 30) + 512, 8},
        {48, ~511ull, 8},    {48, 1000, 8},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct mem m;

        make_plain(&m);
        memcpy(m.data + bad[i].at, &bad[i].value, bad[i].bytes);
        if (open_with(&viv_blk_qed, &m, (struct viv_node_opts){.read_only = true}))
            g_error("field at %" PRIu64 " = 0x%" PRIx64 " is believed", bad[i].at, bad[i].value);
        mem_fini(&m);
    }
}

/* A backing file's name that does not lie in the header. */
static void test_backing_name(void)
{
    static const uint32_t bad[][2] = {{64, 0},         {64, 5000},       {4095, 2},
                                      {UINT32_MAX, 1}, {64, UINT32_MAX}, {64, 20}};

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct mem m;

        make_plain(&m);
        m.data[16] = 1;
        viv_st_le32(m.data + 56, bad[i][0]);
        viv_st_le32(m.data + 60, bad[i][1]);
        g_assert_null(open_with(&viv_blk_qed, &m, (struct viv_node_opts){.read_only = true}));
        mem_fini(&m);
    }
}

/* Entries that point to the header, the tables, outside, or into a loop: refused at use, the file stays as it is. */
static void test_entries(void)
{
    static const uint64_t places[] = {2,     512,     4096,       8192,     12289, 16384,
                                      ~0ull, 1 << 30, 1ull << 63, ~4095ull, 8191,  4095};
    uint8_t buf[4096] = {2}, *before;
    struct viv_node *n;
    struct mem m;

    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(places); i++) {
        uint64_t at = i & 1 ? 8192 : 4096, place = places[i / 2];

        if (at == 4096 && place == 8192)
            continue; /* where it is */
        make_plain(&m);
        viv_st_le64(m.data + at, place);
        before = g_memdup2(m.data, m.size);
        n = open_with(&viv_blk_qed, &m, (struct viv_node_opts){0});
        g_assert_nonnull(n);
        if (viv_node_pwrite(n, 0, buf, sizeof(buf)) != -EIO)
            g_error("entry at %" PRIu64 " = 0x%" PRIx64 " is followed", at, place);
        viv_node_put(&n);
        g_assert_cmpint(memcmp(m.data, before, 16384), ==, 0);
        g_free(before);
        mem_fini(&m);
    }
    /* Two L1 entries for one table: not opened for writing. */
    make_plain(&m);
    viv_st_le64(m.data + 4096 + 8, 8192);
    g_assert_null(open_with(&viv_blk_qed, &m, (struct viv_node_opts){0}));
    n = open_with(&viv_blk_qed, &m, (struct viv_node_opts){.read_only = true});
    g_assert_nonnull(n);
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_repair(void)
{
    struct viv_node *n;
    struct mem m;
    uint8_t byte;

    /* The bit is set by the first allocating write, durably, and cleared by a close; a writer that finds it repairs. */
    make_plain(&m);
    g_assert_cmpuint(m.data[16], ==, 0);
    viv_st_le64(m.data + 8192 + 8, 1 << 30);
    viv_st_le64(m.data + 4096 + 8, 12345);
    m.data[16] = 2;
    n = open_with(&viv_blk_qed, &m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    expect_check(n, false);
    g_assert_cmpuint(m.data[16], ==, 0);
    g_assert_cmpuint(viv_ld_le64(m.data + 8192 + 8), ==, 0);
    g_assert_cmpuint(viv_ld_le64(m.data + 4096 + 8), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 0, &byte, 1), ==, 0);
    g_assert_cmpuint(byte, ==, 1);
    g_assert_cmpint(viv_node_pwrite(n, 100, &byte, 1), ==, 0);
    g_assert_cmpuint(m.data[16], ==, 0); /* in place */
    g_assert_cmpint(viv_node_pwrite(n, 3 << 20, &byte, 1), ==, 0);
    g_assert_cmpuint(m.data[16], ==, 2);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_cmpuint(m.data[16], ==, 0);
    /* One cluster for two: not to be repaired, so the bit stays and nobody writes. */
    viv_st_le64(m.data + 8192 + 8, 12288);
    m.data[16] = 2;
    g_assert_null(open_with(&viv_blk_qed, &m, (struct viv_node_opts){0}));
    g_assert_cmpuint(m.data[16], ==, 2);
    mem_fini(&m);
}

static void test_unread(void)
{
    run_unread(&viv_blk_qed, &plain);
}

static void test_mutations(void)
{
    static const uint64_t targets[] = {0, 0, 0, 4096, 8192, 12288};

    run_mutations(&viv_blk_qed, &plain, 1500, targets, G_N_ELEMENTS(targets));
}

static void test_grow(void)
{
    static const struct variant v = {"grow", "cluster_size=4k,table_size=1", 1 << 20, 3 << 20};
    uint8_t *model = g_malloc0(6 << 20);
    struct mem m, base;
    struct viv_node *n;

    make(&viv_blk_qed, &v, &m);
    make_base(&v, &base);
    n = open_variant(&viv_blk_qed, &v, &m, &base);
    memcpy(model, base.data, 1 << 20);
    g_assert_cmpint(viv_node_truncate(n, 6 << 20, VIV_PREALLOC_OFF, NULL), ==, 0);
    expect_disk(n, model);
    g_assert_cmpint(viv_node_truncate(n, 1 << 20, VIV_PREALLOC_OFF, NULL), ==, -ENOTSUP);
    g_assert_cmpint(viv_node_truncate(n, 2ull << 30, VIV_PREALLOC_OFF, NULL), ==, -EINVAL);
    viv_node_put(&n);
    n = open_variant(&viv_blk_qed, &v, &m, &base);
    g_assert_cmpuint(viv_node_size(n), ==, 6 << 20);
    expect_disk(n, model);
    viv_node_put(&n);
    mem_fini(&m);
    mem_fini(&base);
    g_free(model);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        g_autofree char *a = g_strconcat("/block/qed/model/", variants[i].name, NULL);
        g_autofree char *b = g_strconcat("/block/qed/failing/", variants[i].name, NULL);
        g_autofree char *c = g_strconcat("/block/qed/crash/", variants[i].name, NULL);

        g_test_add_data_func(a, &variants[i], test_model);
        g_test_add_data_func(b, &variants[i], test_failing);
        g_test_add_data_func(c, &variants[i], test_cuts);
    }
    g_test_add_func("/block/qed/large-cluster", test_large_cluster);
    g_test_add_func("/block/qed/header", test_header);
    g_test_add_func("/block/qed/backing-name", test_backing_name);
    g_test_add_func("/block/qed/entries", test_entries);
    g_test_add_func("/block/qed/repair", test_repair);
    g_test_add_func("/block/qed/unread", test_unread);
    g_test_add_func("/block/qed/grow", test_grow);
    g_test_add_func("/block/qed/mutations", test_mutations);
    return g_test_run();
}
