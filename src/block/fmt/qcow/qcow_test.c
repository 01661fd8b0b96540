/* qcow: random requests against a model, compressed clusters among them, failing writes, damaged images, power cuts. */
#include "block/cuts_test.h"
#include "block/fmt/qcow/qcow.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "crypto/secret.h"

static const struct variant variants[] = {
    {"small", "", 3 << 20, 0},
    {"backing", "", 5 << 20, 3 << 20},
    {"long-backing", "", (1 << 20) + 512, 3 << 20},
    {"tables", "", 9 << 20, 0},
};

static void test_model(gconstpointer v)
{
    run_model(&viv_blk_qcow, v, false);
}

static void test_failing(gconstpointer v)
{
    run_model(&viv_blk_qcow, v, true);
}

static void test_cuts(gconstpointer v)
{
    run_cuts(&viv_blk_qcow, v, 100, 5);
}

/* --- compressed clusters --- */

/* Bytes that shrink: runs, with a few of their own. */
static void fill_soft(GRand *rand, uint8_t *buf, uint64_t len)
{
    memset(buf, g_rand_int(rand), len);
    for (unsigned i = 0; i < 20; i++)
        buf[g_rand_int_range(rand, 0, len)] = g_rand_int(rand);
}

static void write_one_compressed(struct viv_node *n, GRand *rand, uint8_t *model)
{
    uint64_t size = viv_node_size(n), at = viv_align_down(g_rand_int_range(rand, 0, size), n->granule), len = MIN(n->granule, size - at);

    if (g_rand_int_range(rand, 0, 5))
        fill_soft(rand, model + at, len);
    else /* stored as it is */
        for (uint64_t i = 0; i < len; i++)
            model[at + i] = g_rand_int(rand);
    g_assert_cmpint(viv_node_write_compressed(n, at, model + at, len), ==, 0);
}

static void test_compressed(gconstpointer data)
{
    const struct variant *v = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    g_autofree uint8_t *model = g_malloc0(v->size);
    struct mem file, base;
    struct viv_check c = {0};
    struct viv_node *n;

    make(&viv_blk_qcow, v, &file);
    make_base(v, &base);
    memcpy(model, base.data, MIN(v->base, v->size));
    n = open_variant(&viv_blk_qcow, v, &file, &base);
    for (int i = 0; i < 600; i++) {
        if (g_rand_boolean(rand))
            write_one_compressed(n, rand, model);
        else
            g_assert_cmpint(random_request(n, rand, model, (uint64_t)i << 16), ==, 0);
        if (i % 150 != 149)
            continue;
        expect_disk(n, model);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        n = open_variant(&viv_blk_qcow, v, &file, &base);
    }
    expect_disk(n, model);
    g_assert_cmpint(viv_blk_qcow.check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions + c.check_errors, ==, 0);
    g_assert_cmpuint(c.compressed, >, 20);
    viv_node_put(&n);
    mem_fini(&file);
    mem_fini(&base);
}

/* After a commit: the layer holds nothing, and its file is as when it was new. */
static void test_forget(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    const struct variant *v = &variants[1];
    g_autofree uint8_t *model = g_malloc0(v->size), *before = NULL;
    struct mem file, base;
    struct viv_node *n;

    make(&viv_blk_qcow, v, &file);
    before = g_memdup2(file.data, file.size);
    make_base(v, &base);
    memcpy(model, base.data, v->base);
    n = open_variant(&viv_blk_qcow, v, &file, &base);
    for (int round = 0; round < 3; round++) {
        g_autofree uint8_t *scratch = g_memdup2(model, v->size);

        for (int i = 0; i < 50; i++)
            g_assert_cmpint(random_request(n, rand, scratch, i << 16), ==, 0);
        expect_disk(n, scratch);
        g_assert_cmpint(viv_blk_qcow.forget(n, 1 << 20, 1 << 20), ==, 0);
        memcpy(scratch + (1 << 20), model + (1 << 20), 1 << 20);
        expect_disk(n, scratch);
        g_assert_cmpint(viv_node_forget(n), ==, 0);
        expect_disk(n, model);
        expect_check(n, false);
        g_assert_cmpuint(file.size, ==, 568);
        g_assert_cmpint(memcmp(file.data, before, 568), ==, 0);
    }
    viv_node_put(&n);
    mem_fini(&file);
    mem_fini(&base);
}

/* --- encrypted images --- */

static struct viv_node *open_encrypted(struct mem *m, struct mem *base, struct viv_node_opts o)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    o.no_backing = true;
    o.unmap = true;
    if (viv_node_open_format(&viv_blk_qcow, mem_node(m), &o, &n, &err))
        return NULL;
    if (base->size)
        n->backing = open_with(viv_blk_driver_find("raw"), base, (struct viv_node_opts){.read_only = true});
    return n;
}

static void test_encrypted(gconstpointer data)
{
    const struct variant *v = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    g_autofree uint8_t *model = g_malloc0(v->size);
    struct variant with = *v;
    struct mem file, base;
    struct viv_node *n;
    uint8_t buf[512];

    with.opts = "encrypt.format=aes,encrypt.key-secret=key";
    make(&viv_blk_qcow, &with, &file);
    make_base(v, &base);
    memcpy(model, base.data, MIN(v->base, v->size));
    n = open_encrypted(&file, &base, (struct viv_node_opts){.key_secret = "key"});
    g_assert_nonnull(n);
    g_assert_cmpint(viv_node_write_compressed(n, 0, model, n->granule), ==, -ENOTSUP);
    for (int i = 0; i < 300; i++) {
        g_assert_cmpint(random_request(n, rand, model, 0x5a5a5a5a00000000 | (uint64_t)i << 16), ==, 0);
        if (i % 100 != 99)
            continue;
        expect_disk(n, model);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        n = open_encrypted(&file, &base, (struct viv_node_opts){.key_secret = "key", .encrypt_format = "aes"});
        g_assert_nonnull(n);
    }
    expect_disk(n, model);
    expect_check(n, false);
    g_assert_cmpint(viv_node_pwrite(n, 0, "\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a", 8), ==, 0);
    viv_node_put(&n);
    for (uint64_t at = 0; at + 4 <= file.size; at += 4)
        g_assert_cmpint(memcmp(file.data + at, "\x5a\x5a\x5a\x5a", 4), !=, 0); /* nothing of it is plain */
    /* Without the key: what it is can be told, not read. */
    g_assert_null(open_encrypted(&file, &base, (struct viv_node_opts){0}));
    g_assert_null(open_encrypted(&file, &base, (struct viv_node_opts){.key_secret = "nothere"}));
    g_assert_null(open_encrypted(&file, &base, (struct viv_node_opts){.key_secret = "key", .encrypt_format = "luks"}));
    n = open_encrypted(&file, &base, (struct viv_node_opts){.read_only = true, .no_data = true});
    g_assert_nonnull(n);
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, -ENOKEY);
    viv_node_put(&n);
    mem_fini(&file);
    mem_fini(&base);
}

static void add_key(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o = NULL;

    if (viv_opts_parse("-object secret", viv_secret_opts, NULL, "id=key,data=correct horse battery", &o, &err) ||
        viv_secret_add(o, &err))
        g_error("%s", err.text);
    viv_opts_free(o);
}

/* --- damaged images. A 4 MiB disk: L1 at 48 (2 entries), L2 at 4096, cluster 0's data at 8192. --- */

static const struct variant plain = {"plain", "", 4 << 20, 0};

static void make_plain(struct mem *m)
{
    uint8_t buf[4096] = {1};
    struct viv_node *n;

    make(&viv_blk_qcow, &plain, m);
    n = open_variant(&viv_blk_qcow, &plain, m, NULL);
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    viv_node_put(&n);
    g_assert_cmpuint(viv_ld_be64(m->data + 48), ==, 4096);
    g_assert_cmpuint(viv_ld_be64(m->data + 4096), ==, 8192);
}

static void test_header(void)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        const char *says; /* NULL: opens */
    } cases[] = {
        {0, 4, 0, "not in qcow format"},
        {4, 4, 2, "'qcow2'"},
        {4, 4, 9, "version 9"},
        {8, 8, 48, "does not lie in the file"}, /* of no length */
        {8, 8, 1 << 30, "does not lie in the file"},
        {24, 8, 0, "too small"},
        {24, 8, 1, "too small"},
        {24, 8, 2, "less than a sector"},
        {24, 8, 512, NULL},
        {24, 8, (4 << 20) - 5, NULL},
        {24, 8, 1ull << 63, "too large"},
        {24, 8, 1ull << 50, "too large"},
        {24, 8, 1ull << 40, "L1 table does not lie in the file"},
        {32, 1, 8, "Cluster size"},
        {32, 1, 17, "Cluster size"},
        {33, 1, 5, "L2 table size"},
        {33, 1, 14, "L2 table size"},
        {36, 4, 2, "encryption method 2"},
        {36, 4, 1, "key-secret"},
        {40, 8, 47, "L1 table does not lie in the file"},
        {40, 8, ~7ull, "L1 table does not lie in the file"},
        {40, 8, 49, "odd offset"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct viv_node_opts o = {.no_backing = true};
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;
        struct mem m;

        make_plain(&m);
        for (unsigned k = 0; k < cases[i].bytes; k++)
            m.data[cases[i].at + k] = cases[i].value >> 8 * (cases[i].bytes - 1 - k);
        if (!viv_node_open_format(&viv_blk_qcow, mem_node(&m), &o, &n, &err) != !cases[i].says)
            g_error("field at %u = 0x%" PRIx64 ": %s", cases[i].at, cases[i].value, n ? "is believed" : err.text);
        if (cases[i].says && !strstr(err.text, cases[i].says))
            g_error("'%s' is not '%s'", err.text, cases[i].says);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

/* Entries that point to the header, the tables, outside: refused at use, the file stays as it is. */
static void test_entries(void)
{
    static const uint64_t places[] = {1,      2,       48,      512,     4096,     8193,         1 << 30, ~0ull >> 1,
                                      1 << 20, 1ull << 62, 8191, 12288, 0x4000000000, ~4095ull >> 1};
    uint8_t buf[4096] = {2}, *before;
    struct viv_node *n;
    struct mem m;

    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(places); i++) {
        uint64_t at = i & 1 ? 4096 : 48, place = places[i / 2];

        if (at == 48 && place == 4096)
            continue; /* where it is */
        make_plain(&m);
        viv_st_be64(m.data + at, place);
        before = g_memdup2(m.data, m.size);
        n = open_with(&viv_blk_qcow, &m, (struct viv_node_opts){0});
        g_assert_nonnull(n);
        if (viv_node_pwrite(n, 0, buf, sizeof(buf)) != -EIO)
            g_error("entry at %" PRIu64 " = 0x%" PRIx64 " is followed", at, place);
        viv_node_put(&n);
        g_assert_cmpint(memcmp(m.data, before, 12288), ==, 0);
        g_free(before);
        mem_fini(&m);
    }
}

/* Compressed bytes that are none, are on the header or outside: an error, whatever they are. */
static void test_bad_compressed(void)
{
    static const uint64_t entries[] = {0,          8192,          100ull << 51 | 8192, 4095ull << 51 | 8192, 10ull << 51,
                                       10ull << 51 | 48, 10ull << 51 | 1 << 30, ~0ull};
    uint8_t buf[512];
    struct viv_node *n;
    struct mem m;

    for (unsigned i = 0; i < G_N_ELEMENTS(entries); i++) {
        make_plain(&m);
        viv_st_be64(m.data + 4096, entries[i] | 1ull << 63);
        n = open_with(&viv_blk_qcow, &m, (struct viv_node_opts){0});
        g_assert_nonnull(n);
        g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, -EIO);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

static void expect_found(struct mem *m, unsigned fix, uint64_t corruptions, uint64_t fixed, uint64_t leaks)
{
    struct viv_node *n = open_with(&viv_blk_qcow, m, (struct viv_node_opts){.read_only = !fix, .for_check = true});
    struct viv_check c = {.fix = fix};

    g_assert_nonnull(n);
    g_assert_cmpint(viv_blk_qcow.check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, corruptions);
    g_assert_cmpuint(c.corruptions_fixed, ==, fixed);
    g_assert_cmpuint(c.leaks, ==, leaks);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static void test_check(void)
{
    struct mem m;

    make_plain(&m);
    expect_found(&m, 0, 0, 0, 0);
    /* Two entries that point outside are cleared; two for one cluster cannot be mended, nor opened for writing as tables. */
    viv_st_be64(m.data + 4096 + 8, 1 << 30);
    viv_st_be64(m.data + 48 + 8, 12345);
    expect_found(&m, 0, 2, 0, 0);
    expect_found(&m, VIV_FIX_ERRORS, 2, 2, 0);
    expect_found(&m, 0, 0, 0, 0);
    viv_st_be64(m.data + 4096 + 8, 8192);
    expect_found(&m, VIV_FIX_ERRORS | VIV_FIX_LEAKS, 1, 0, 0);
    viv_st_be64(m.data + 4096 + 8, 0);
    /* Compressed bytes in the data's cluster. */
    viv_st_be64(m.data + 4096 + 8, 1ull << 63 | 9ull << 51 | 9000);
    expect_found(&m, 0, 1, 0, 0);
    viv_st_be64(m.data + 4096 + 8, 0);
    viv_st_be64(m.data + 48 + 8, 4096);
    expect_found(&m, 0, 1, 0, 0);
    g_assert_null(open_with(&viv_blk_qcow, &m, (struct viv_node_opts){0}));
    viv_st_be64(m.data + 48 + 8, 0);
    /* Leaks at the end are cut off, with nothing lost. */
    mem_grow(&m, m.size + 3 * 4096);
    expect_found(&m, 0, 0, 0, 3);
    expect_found(&m, VIV_FIX_LEAKS, 0, 0, 3);
    expect_found(&m, 0, 0, 0, 0);
    g_assert_cmpuint(m.size, ==, 12288);
    mem_fini(&m);
}

static void test_unread(void)
{
    static const struct variant v = {"unread", "", 3 << 20, 0};

    run_unread(&viv_blk_qcow, &v);
}

static void test_mutations(void)
{
    static const uint64_t targets[] = {0, 0, 48, 4096, 8192, 4096};

    run_mutations(&viv_blk_qcow, &plain, 1500, targets, G_N_ELEMENTS(targets));
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    add_key();
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        static const struct {
            const char *name;
            void (*run)(gconstpointer);
        } tests[] = {{"model", test_model}, {"failing", test_failing}, {"compressed", test_compressed}, {"crash", test_cuts},
                     {"encrypted", test_encrypted}};

        for (unsigned t = 0; t < G_N_ELEMENTS(tests); t++) {
            g_autofree char *path = g_strdup_printf("/block/qcow/%s/%s", tests[t].name, variants[i].name);

            g_test_add_data_func(path, &variants[i], tests[t].run);
        }
    }
    g_test_add_func("/block/qcow/header", test_header);
    g_test_add_func("/block/qcow/entries", test_entries);
    g_test_add_func("/block/qcow/bad-compressed", test_bad_compressed);
    g_test_add_func("/block/qcow/check", test_check);
    g_test_add_func("/block/qcow/unread", test_unread);
    g_test_add_func("/block/qcow/forget", test_forget);
    g_test_add_func("/block/qcow/mutations", test_mutations);
    ret = g_test_run();
    viv_secret_free_all();
    return ret;
}
