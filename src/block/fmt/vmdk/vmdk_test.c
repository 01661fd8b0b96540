/* vmdk: random requests against a model, failing writes, power cuts, damaged images, images of several files. */
#include "block/cuts_test.h"
#include "block/fmt/map_test.h"
#include "block/fmt/vmdk/made_test.h"

/* --- images as create makes them --- */

static const struct map_test_format whole = {&viv_blk_vmdk, 65536, true};

static void test_model(gconstpointer options)
{
    map_test_model(&whole, options, (3 << 20) + 1536);
}

static void test_failing(void)
{
    map_test_failing(&whole, 3 << 20);
}

static void test_crash(void)
{
    map_test_crash_on(&whole, 4 << 20, 0);
}

/* --- small grains and tables (made_test.h) --- */

static struct viv_blk_driver small;

static const struct variant variants[] = {
    {"plain", "", 3 << 20, 0},
    {"parent", "", (2 << 20) + 512, 1 << 20},
    {"zeroed-parent", "zeroed_grain=on", 2 << 20, 3 << 20},
    {"stored", "subformat=streamOptimized", (1 << 20) + 1024, 0},
    {"stored-parent", "subformat=streamOptimized,zeroed_grain=on", 1 << 20, 1 << 20},
};

static void test_small_model(gconstpointer v)
{
    run_model(&small, v, false);
}

static void test_small_failing(gconstpointer v)
{
    run_model(&small, v, true);
}

static void test_small_cuts(gconstpointer v)
{
    run_cuts(&small, v, 120, 3);
}

/* --- damage --- */

static const struct variant plain = {"plain", "", 1 << 20, 0};

/* A disk of 4 KiB grains whose first grain holds ones: table at sector 8, its copy at 9, the grain at 16. */
static void make_plain(struct mem *m)
{
    uint8_t buf[4096] = {1};
    struct viv_node *n;

    make(&small, &plain, m);
    n = open_variant(&small, &plain, m, NULL);
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_cmpuint(viv_ld_le32(m->data + SMALL_GD * 512), ==, 8);
    g_assert_cmpuint(viv_ld_le32(m->data + SMALL_COPY * 512), ==, 9);
    g_assert_cmpuint(viv_ld_le32(m->data + 8 * 512), ==, 16);
    g_assert_cmpuint(viv_ld_le32(m->data + 9 * 512), ==, 16);
    g_assert_cmpuint(m->size, ==, 24 * 512);
}

static void test_header(void)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
    } bad[] = {
        {VMDK_H_VERSION, 4, 4},          {VMDK_H_VERSION, 4, UINT32_MAX}, {VMDK_H_CAPACITY, 8, 1ull << 55},
        {VMDK_H_CAPACITY, 8, UINT64_MAX}, {VMDK_H_CAPACITY, 8, 1ull << 40}, {VMDK_H_GRAIN, 8, 0},
        {VMDK_H_GRAIN, 8, 3},            {VMDK_H_GRAIN, 8, 1 << 18},      {VMDK_H_GRAIN, 8, 1ull << 63},
        {VMDK_H_DESC, 8, 1ull << 55},    {VMDK_H_DESC, 8, 24},            {VMDK_H_DESC, 8, 0},
        {VMDK_H_DESC_SIZE, 8, 24},       {VMDK_H_DESC_SIZE, 8, UINT64_MAX}, {VMDK_H_DESC_SIZE, 8, 0},
        {VMDK_H_GTES, 4, 0},             {VMDK_H_GTES, 4, 127},           {VMDK_H_GTES, 4, 8192},
        {VMDK_H_GTES, 4, UINT32_MAX},    {VMDK_H_GD, 8, 0},               {VMDK_H_GD, 8, 24},
        {VMDK_H_GD, 8, UINT64_MAX},      {VMDK_H_GD, 8, 1ull << 55},      {VMDK_H_RGD, 8, 0},
        {VMDK_H_RGD, 8, 1ull << 56},     {VMDK_H_NEWLINES, 4, 0x0a0a0d0a},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct mem m;

        make_plain(&m);
        memcpy(m.data + bad[i].at, &bad[i].value, bad[i].bytes);
        if (open_with(&small, &m, (struct viv_node_opts){.read_only = true}))
            g_error("field at %u = 0x%" PRIx64 " is believed", bad[i].at, bad[i].value);
        mem_fini(&m);
    }
}

/* Entries that lead to the header, the descriptor, tables or out of the file: an error where they are used, and the file
 * keeps what it holds but for the CID. */
static void test_entries(void)
{
    static const uint32_t places[] = {0x7fffffff, 1, 2, 3, 4, 7, 8, 9, 24, 1000, UINT32_MAX, 2};
    uint8_t buf[4096] = {2};

    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(places); i++) {
        bool gd = i & 1;
        uint32_t place = places[i / 2];
        g_autofree uint8_t *before = NULL;
        struct viv_node *n;
        struct mem m;

        if (gd && (place == 7 || place == 8))
            continue; /* where it is, or free */
        make_plain(&m);
        viv_st_le32(m.data + (gd ? SMALL_GD : 8) * 512, place);
        before = g_memdup2(m.data, m.size);
        n = open_with(&small, &m, (struct viv_node_opts){0});
        g_assert_true(gd == !n); /* a directory like that is not even opened for writing */
        if (n && viv_node_pwrite(n, 0, buf, sizeof(buf)) != -EIO)
            g_error("entry %u is followed", place);
        viv_node_put(&n);
        g_assert_cmpint(memcmp(m.data + 1536, before + 1536, m.size - 1536), ==, 0);
        mem_fini(&m);
    }
}

static void repair(struct mem *m, uint64_t corruptions, uint64_t corruptions_fixed, uint64_t leaks, uint64_t leaks_fixed)
{
    struct viv_node *n = open_with(&small, m, (struct viv_node_opts){.for_check = true});
    struct viv_check look = {0}, c = {.fix = VIV_FIX_LEAKS | VIV_FIX_ERRORS};

    g_assert_nonnull(n);
    g_assert_cmpint(small.check(n, &look, NULL), ==, 0);
    g_assert_cmpuint(look.corruptions, ==, corruptions);
    if (!corruptions) /* what is broken hides what is used */
        g_assert_cmpuint(look.leaks, ==, leaks);
    g_assert_cmpint(small.check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, corruptions);
    g_assert_cmpuint(c.corruptions_fixed, ==, corruptions_fixed);
    g_assert_cmpuint(c.leaks_fixed, ==, leaks_fixed);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static void expect_first(struct mem *m, uint8_t byte)
{
    struct viv_node *n = open_with(&small, m, (struct viv_node_opts){0});
    uint8_t got;

    g_assert_nonnull(n);
    expect_check(n, true);
    g_assert_cmpint(viv_node_pread(n, 0, &got, 1), ==, 0);
    g_assert_cmpuint(got, ==, byte);
    viv_node_put(&n);
    mem_fini(m);
}

static void test_repair(void)
{
    uint8_t buf[4096] = {7};
    struct viv_node *n;
    struct mem m;

    make_plain(&m); /* a table that is lost comes back from its copy */
    viv_st_le32(m.data + SMALL_GD * 512, 99999);
    repair(&m, 1, 1, 0, 0);
    expect_first(&m, 1);

    make_plain(&m); /* a copy that is lost comes back from the table */
    viv_st_le32(m.data + SMALL_COPY * 512, 99999);
    repair(&m, 1, 1, 0, 0);
    g_assert_cmpuint(viv_ld_le32(m.data + viv_ld_le32(m.data + SMALL_COPY * 512) * 512), ==, 16);
    expect_first(&m, 1);

    make_plain(&m); /* a grain that is not in the file */
    viv_st_le32(m.data + 8 * 512, 50000);
    viv_st_le32(m.data + 9 * 512, 50000);
    repair(&m, 1, 1, 1, 1);
    g_assert_cmpuint(m.size, ==, 16 * 512);
    expect_first(&m, 0);

    make_plain(&m); /* an older copy, grains behind everything */
    viv_st_le32(m.data + 9 * 512, 0);
    mem_grow(&m, 100 * 512);
    repair(&m, 0, 0, 1 + 9, 10);
    g_assert_cmpuint(m.size, ==, 24 * 512);
    g_assert_cmpuint(viv_ld_le32(m.data + 9 * 512), ==, 16);
    expect_first(&m, 1);

    make_plain(&m); /* two of the disk in one: nobody knows whose it is */
    viv_st_le32(m.data + 8 * 512 + 4, 16);
    viv_st_le32(m.data + 9 * 512 + 4, 16);
    repair(&m, 1, 0, 0, 0);
    mem_fini(&m);

    make_plain(&m); /* a stored grain under another one's marker */
    mem_fini(&m);
    make(&small, &variants[3], &m);
    n = open_with(&small, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_write_compressed(n, 4096, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    viv_st_le32(m.data + 8 * 512, viv_ld_le32(m.data + 8 * 512 + 4));
    repair(&m, 1, 1, 0, 0);
    expect_first(&m, 0);
}

static void test_unread(gconstpointer v)
{
    run_unread(&small, v);
}

static void test_mutations(gconstpointer v)
{
    static const uint64_t targets[] = {0, 0, 0, 64, SMALL_GD * 512, SMALL_COPY * 512, 8 * 512, 9 * 512, 16 * 512};

    run_mutations(&small, v, 800, targets, G_N_ELEMENTS(targets));
}

/* --- images of other products --- */

static void test_stream(void)
{
    g_autofree uint8_t *data = g_malloc(100000), *got = g_malloc(100000);
    struct viv_check c = {0};
    struct viv_node *n;
    struct mem m;

    for (unsigned i = 0; i < 100000; i++)
        data[i] = i * i >> 7;
    make(&small, &variants[3], &m);
    n = open_with(&small, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_pwrite(n, 300000, data, 100000), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    make_stream(&m);
    g_assert_null(open_with(&small, &m, (struct viv_node_opts){0}));
    n = open_with(&small, &m, (struct viv_node_opts){.read_only = true});
    g_assert_nonnull(n);
    g_assert_cmpint(viv_node_pread(n, 300000, got, 100000), ==, 0);
    g_assert_cmpint(memcmp(got, data, 100000), ==, 0);
    expect_check(n, false);
    viv_node_put(&n);
    n = open_with(&small, &m, (struct viv_node_opts){.for_check = true});
    c.fix = VIV_FIX_ERRORS;
    g_assert_cmpint(small.check(n, &c, NULL), ==, -ENOTSUP);
    viv_node_put(&n);
    m.size -= 512; /* cut: the footer is not where it should be */
    g_assert_null(open_with(&small, &m, (struct viv_node_opts){.read_only = true}));
    mem_fini(&m);
}

static void test_cowd(void)
{
    static const char text[] = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\nRW 128 VMFSSPARSE \"c\"\n";
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *made, *n = NULL;
    struct viv_node_opts o = {.read_only = true, .made = &made, .made_count = 1};
    uint8_t got[512];
    struct mem m, d;

    make_cowd(&m);
    g_assert_null(open_with(&small, &m, (struct viv_node_opts){.read_only = true})); /* no descriptor */
    mem_init(&d);
    mem_grow(&d, sizeof(text));
    memcpy(d.data, text, sizeof(text));
    made = mem_node(&m);
    g_free(made->filename);
    made->filename = g_strdup("c");
    if (viv_node_open_format(&viv_blk_vmdk, mem_node(&d), &o, &n, &err))
        g_error("%s", err.text);
    viv_node_put(&made);
    for (unsigned i = 0; i < 128; i++) {
        g_assert_cmpint(viv_node_pread(n, i * 512, got, 512), ==, 0);
        g_assert_cmpuint(got[511], ==, i % 3 ? 0 : i);
    }
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
    mem_fini(&d);
}

/* --- descriptors --- */

static void test_descriptor(void)
{
    static const char text[] = "\n# Disk DescriptorFile\r\nversion=1\r\n  CID = 0aF\r\nparentCID=12345678\nparentCID=12345678\n"
                               "createType=\"x y\"\ncreateType=\"second\"\nparentFileNameHint=\"a b.vmdk\"\n"
                               "RW 10 FLAT \"with space.vmdk\" 7 \"uuid\" \"device\"\n\tRDONLY  5\tZERO \nrw=1\n"
                               "RW 1 VMFSSPARSE \"q\"\n\0RW 1 FOO";
    struct vmdk_descriptor d;
    struct viv_err err = VIV_ERR_INIT;
    const struct vmdk_line *l;

    g_assert_true(vmdk_is_descriptor((const uint8_t *)text, sizeof(text)));
    g_assert_cmpint(vmdk_descriptor_parse(text, sizeof(text), "t", &d, &err), ==, 0);
    g_assert_cmpuint(d.cid, ==, 0xaf);
    g_assert_cmpuint(d.cid_digits, ==, 3);
    g_assert_cmpint(memcmp(text + d.cid_at, "0aF", 3), ==, 0);
    g_assert_cmpuint(d.parent_cid, ==, 0x12345678);
    g_assert_cmpstr(d.type, ==, "x y");
    g_assert_cmpstr(d.parent, ==, "a b.vmdk");
    g_assert_cmpuint(d.lines->len, ==, 3);
    l = &g_array_index(d.lines, struct vmdk_line, 0);
    g_assert_cmpstr(l[0].file, ==, "with space.vmdk");
    g_assert_cmpuint(l[0].sectors, ==, 10);
    g_assert_cmpuint(l[0].offset, ==, 7);
    g_assert_cmpint(l[1].type, ==, VMDK_ZERO);
    g_assert_cmpint(l[1].access, ==, VMDK_RDONLY);
    g_assert_cmpint(l[2].type, ==, VMDK_COWD);
    vmdk_descriptor_free(&d);
}

static void test_not_descriptor(void)
{
    static const char *const not[] = {"", "\n", "# Disk DescriptorFile\n", "version=4\n", "version=12\n", "versio", "KDMV",
                                      "# x\nCID=1\nversion=1\n"};
    static const char *const bad[] = {"CID=\n", "CID=123456789\n", "CID=xyz\n", "parentCID=-1\n", "encryptionKeys=\"x\"\n",
                                      "RW\n", "RW x FLAT \"a\"\n", "RW 1\n", "RW 1 FLAT \"a\n", "RW 1 FLAT \"\" 0\n",
                                      "RW 1 FLAT \"a\" x\n", "RW 1 FLATX \"a\"\n", "RW -1 FLAT \"a\"\n"};

    for (unsigned i = 0; i < G_N_ELEMENTS(not); i++)
        g_assert_false(vmdk_is_descriptor((const uint8_t *)not[i], strlen(not[i])));
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct vmdk_descriptor d;
        g_autofree char *copy = g_memdup2(bad[i], strlen(bad[i])); /* no byte behind it */

        if (vmdk_descriptor_parse(copy, strlen(bad[i]), "t", &d, &err) != -EINVAL && err.code != ENOTSUP)
            g_error("'%s' is taken", bad[i]);
        g_assert_cmpuint(strlen(err.text), >, 0);
    }
}

/* --- several files --- */

#define PARTS 4

struct parts {
    struct mem text, part[PARTS];
    bool flat[PARTS];
};

static const char *const part_names[PARTS] = {"a", "b.vmdk", "c", "d.vmdk"};

/* part i has sectors[i] of the disk: flat, sparse, flat, sparse. */
static void make_parts(struct parts *p, const unsigned *sectors)
{
    GString *s = g_string_new("# Disk DescriptorFile\nversion=1\nCID=1234567\nparentCID=ffffffff\ncreateType=\"custom\"\n");

    for (unsigned i = 0; i < PARTS; i++) {
        struct variant v = {"part", "", sectors[i] * 512ull, 0};

        if (i & 1) {
            make(i == 1 ? &small : &viv_blk_vmdk, &v, &p->part[i]);
        } else {
            mem_init(&p->part[i]);
            mem_grow(&p->part[i], v.size + 512 * i);
        }
        g_string_append_printf(s, "RW %u %s \"%s\"", sectors[i], i & 1 ? "SPARSE" : "FLAT", part_names[i]);
        g_string_append_printf(s, i & 1 ? "\n" : " %u\n", i);
    }
    mem_init(&p->text);
    mem_grow(&p->text, s->len);
    memcpy(p->text.data, s->str, s->len);
    g_string_free(s, TRUE);
}

static struct viv_node *open_parts(struct parts *p)
{
    struct viv_node *made[PARTS], *n = NULL;
    struct viv_node_opts o = {.made = made, .made_count = PARTS, .unmap = true};
    struct viv_err err = VIV_ERR_INIT;

    for (unsigned i = 0; i < PARTS; i++) {
        made[i] = mem_node(&p->part[i]);
        g_free(made[i]->filename);
        made[i]->filename = g_strdup(part_names[i]);
    }
    if (viv_node_open_format(&viv_blk_vmdk, mem_node(&p->text), &o, &n, &err))
        g_error("%s", err.text);
    for (unsigned i = 0; i < PARTS; i++)
        viv_node_put(&made[i]);
    return n;
}

static const unsigned odd[PARTS] = {1003, 2051, 17, 900}, even[PARTS] = {1024, 2048, 128, 1111};

static void test_parts(gconstpointer sectors)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    g_autofree uint8_t *model = NULL;
    struct viv_img_info info = {0};
    struct parts p;
    struct viv_node *n;

    make_parts(&p, sectors);
    n = open_parts(&p);
    g_assert_cmpuint(n->granule, ==, sectors == odd ? 2u << 20 : 65536);
    g_assert_cmpuint(n->children, ==, PARTS);
    viv_blk_vmdk.info(n, &info);
    viv_img_info_free(&info);
    model = g_malloc0(viv_node_size(n));
    for (int i = 0; i < 300; i++) {
        g_assert_cmpint(random_request(n, rand, model, (uint64_t)i << 16), ==, 0);
        if (i % 60 != 59)
            continue;
        expect_disk(n, model);
        expect_check(n, false);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        n = open_parts(&p);
    }
    expect_disk(n, model);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    for (unsigned i = 0; i < PARTS; i++)
        mem_fini(&p.part[i]);
    mem_fini(&p.text);
}

/* --- the CID --- */

static void test_cid(void)
{
    uint8_t buf[512] = {1};
    char cid[10] = {0};
    struct viv_node *n;
    struct mem m;

    make(&small, &variants[3], &m); /* of 5 digits */
    n = open_with(&small, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_pread(n, 0, buf, 512), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_nonnull(memmem(m.data + 512, 512, "\nCID=00abc\n", 11));
    n = open_with(&small, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, 512), ==, 0);
    g_assert_null(memmem(m.data + 512, 512, "\nCID=00abc\n", 11));
    g_assert_nonnull(memmem(m.data + 512, 512, "\nparentCID=ffffffff\n", 20)); /* the text around it stays */
    memcpy(cid, (char *)memmem(m.data + 512, 512, "\nCID=", 5) + 5, 6);
    g_assert_cmpint(cid[5], ==, '\n');
    g_assert_cmpint(viv_node_pwrite(n, 512, buf, 512), ==, 0);
    g_assert_cmpint(memcmp((char *)memmem(m.data + 512, 512, "\nCID=", 5) + 5, cid, 6), ==, 0); /* once is enough */
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    static const char *const options[] = {"", "zeroed_grain=on", "subformat=streamOptimized"};

    g_test_init(&argc, &argv, NULL);
    small = viv_blk_vmdk;
    small.create = small_create;
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autofree char *a = g_strdup_printf("/block/vmdk/model/%s", i ? options[i] : "plain");

        g_test_add_data_func(a, options[i], test_model);
    }
    g_test_add_func("/block/vmdk/failing", test_failing);
    g_test_add_func("/block/vmdk/crash", test_crash);
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        g_autofree char *a = g_strconcat("/block/vmdk/small/model/", variants[i].name, NULL);
        g_autofree char *b = g_strconcat("/block/vmdk/small/failing/", variants[i].name, NULL);
        g_autofree char *c = g_strconcat("/block/vmdk/small/crash/", variants[i].name, NULL);
        g_autofree char *d = g_strconcat("/block/vmdk/small/mutations/", variants[i].name, NULL);
        g_autofree char *e = g_strconcat("/block/vmdk/small/unread/", variants[i].name, NULL);

        g_test_add_data_func(a, &variants[i], test_small_model);
        g_test_add_data_func(b, &variants[i], test_small_failing);
        g_test_add_data_func(c, &variants[i], test_small_cuts);
        g_test_add_data_func(d, &variants[i], test_mutations);
        g_test_add_data_func(e, &variants[i], test_unread);
    }
    g_test_add_func("/block/vmdk/header", test_header);
    g_test_add_func("/block/vmdk/entries", test_entries);
    g_test_add_func("/block/vmdk/repair", test_repair);
    g_test_add_func("/block/vmdk/stream", test_stream);
    g_test_add_func("/block/vmdk/cowd", test_cowd);
    g_test_add_func("/block/vmdk/descriptor", test_descriptor);
    g_test_add_func("/block/vmdk/not-descriptor", test_not_descriptor);
    g_test_add_data_func("/block/vmdk/parts/odd", odd, test_parts);
    g_test_add_data_func("/block/vmdk/parts/even", even, test_parts);
    g_test_add_func("/block/vmdk/cid", test_cid);
    return g_test_run();
}
