/* VHDX: random requests against a model, failing writes, power cuts, damaged headers and tables. The log has a test of its own. */
#include "block/cuts_test.h"
#include "block/fmt/map_test.h"
#include "block/fmt/vhdx/vhdx_int.h"

#include "base/bytes.h"
#include "base/crc32c.h"

enum { BAT = 2 << 20, META = 3 << 20, ITEMS = META + 65536 }; /* of new images with a log of 1 MiB */

static const struct variant variants[] = {
    {"dynamic", "block_size=1M", (10 << 20) + 512, 0},
    {"not-present", "block_size=2M,block_state_zero=off,log_size=2M", 9 << 20, 0},
    {"fixed", "block_size=2M,subformat=fixed", (5 << 20) + 1536, 0},
};

static void test_model(gconstpointer v)
{
    run_model(&viv_blk_vhdx, v, false);
}

static void test_failing(gconstpointer v)
{
    run_model(&viv_blk_vhdx, v, true);
}

static void test_cuts(gconstpointer v)
{
    run_cuts(&viv_blk_vhdx, v, 60, 1);
}

static const struct map_test_format format = {
    .drv = &viv_blk_vhdx, .block = 1 << 20, .check = true, .options = "block_size=1M"};

/* What lies on a device at a block's new place is garbage. */
static void test_device(void)
{
    map_test_crash_on(&format, 14 << 20, 22 << 20);
}

static void test_failing_once(void)
{
    map_test_failing(&format, 6 << 20);
}

static void test_crc32c(void)
{
    uint32_t (*const ways[])(uint32_t, const void *, size_t) = {viv_crc32c, viv_crc32c_table};
    uint8_t buf[1000];

    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmphex(ways[i](0, "123456789", 9), ==, 0xe3069283);
        g_assert_cmphex(ways[i](ways[i](0, "1234", 4), "56789", 5), ==, 0xe3069283);
        memset(buf, 0, sizeof(buf)); /* RFC 3720, B.4 */
        g_assert_cmphex(ways[i](0, buf, 32), ==, 0x8a9136aa);
        memset(buf, 0xff, sizeof(buf));
        g_assert_cmphex(ways[i](0, buf, 32), ==, 0x62a8ab43);
    }
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = g_test_rand_int();
    for (unsigned i = 0; i < 100; i++)
        g_assert_cmphex(viv_crc32c(i, buf + i, sizeof(buf) - 3 * i), ==, viv_crc32c_table(i, buf + i, sizeof(buf) - 3 * i));
}

/* --- images that are wrong --- */

static const struct variant plain = {"plain", "block_size=1M", 4 << 20, 0};

/* Data in blocks 0 and 1, at 4 and 5 MiB. */
static void make_plain(struct mem *m)
{
    uint8_t buf[4096];
    struct viv_node *n;

    make(&viv_blk_vhdx, &plain, m);
    memset(buf, 7, sizeof(buf));
    n = open_with(&viv_blk_vhdx, m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 1 << 20, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_cmphex(viv_ld_le64(m->data + BAT), ==, 4 << 20 | VHDX_PRESENT);
    g_assert_cmphex(viv_ld_le64(m->data + BAT + 8), ==, 5 << 20 | VHDX_PRESENT);
}

static unsigned current(const struct mem *m)
{
    uint64_t a = viv_ld_le64(m->data + VHDX_HEADER_AT + VHDX_H_SEQUENCE);

    return viv_ld_le64(m->data + 2 * VHDX_HEADER_AT + VHDX_H_SEQUENCE) > a ? 2 * VHDX_HEADER_AT : VHDX_HEADER_AT;
}

static void seal_all(struct mem *m)
{
    for (unsigned i = 1; i <= 2; i++) {
        vhdx_seal(m->data + VHDX_HEADER_AT * i, VHDX_HEADER_LEN);
        vhdx_seal(m->data + VHDX_TABLE_AT + VHDX_TABLE_LEN * (i - 1), VHDX_TABLE_LEN);
    }
}

static void put(struct mem *m, uint64_t at, unsigned len, uint64_t value)
{
    for (unsigned i = 0; i < len; i++)
        m->data[at + i] = value >> (8 * i);
}

/* The current header, both region tables, metadata, BAT. A test that damages a table damages both copies. */
static void test_header(void)
{
    enum { H = 1 << 30, R = VHDX_TABLE_AT, M = META };
    static const struct {
        uint64_t at;
        unsigned len;
        uint64_t value;
        bool keep_sums;
        const char *says; /* NULL: opens */
    } cases[] = {
        {0, 1, 'V', true, "does not begin with"},
        {H + VHDX_H_SUM, 4, 1, true, NULL}, /* the other one counts */
        {H + VHDX_H_SIGNATURE, 4, 1, false, NULL},
        {H + VHDX_H_VERSION, 2, 2, false, "version 2"},
        {H + VHDX_H_LOG_VERSION, 2, 1, false, "log version 1"},
        {H + VHDX_H_LOG_AT, 8, 0, false, "behind the first"},
        {H + VHDX_H_LOG_AT, 8, 0x100200, false, "behind the first"},
        {H + VHDX_H_LOG_AT, 8, ~0ull << 20, false, "outside of the file"},
        {H + VHDX_H_LOG_LEN, 4, 0, false, "behind the first"},
        {H + VHDX_H_LOG_LEN, 4, 0xfff00000, false, "outside of the file"},
        {H + VHDX_H_LOG_LEN, 4, 2 << 20, false, "lies on another one or on the log"},
        {H + VHDX_H_SEQUENCE, 8, UINT64_MAX, false, "come to its end"},
        {R, 4, 0, false, "neither region table"},
        {R + 4, 4, 0, true, "neither region table"},
        {R + 8, 4, 2048, false, "neither region table"},
        {R + 8, 4, 1, false, "no metadata"},
        {R + 8, 4, 0, false, "no metadata"},
        {R + 8, 4, 3, false, "behind the first"},
        {R + 16, 1, 1, false, "a region that is not known (2dc27701-f623-4200-9d64-115e9bfd4a08)"},
        {R + 16 + 16, 8, 0, false, "behind the first"},
        {R + 16 + 16, 8, 3 << 20, false, "lies on another one"},
        {R + 16 + 16, 8, 1 << 20, false, "lies on another one"},
        {R + 16 + 16, 8, 1ull << 40, false, "outside of the file"},
        {R + 16 + 16, 8, ~0ull << 20, false, "behind the first"},
        {R + 16 + 24, 4, 0xfff00000, false, "outside of the file"},
        {R + 16 + 24, 4, 0, false, "behind the first"},
        {M, 1, 0, false, "does not begin with a metadata table"},
        {M + 10, 2, 2048, false, "does not begin with a metadata table"},
        {M + 10, 2, 3, false, "'logical sector size' is missing"},
        {M + 32, 1, 0, false, "metadata that is not known (caa16700-"},
        {M + 32 + 16, 4, 65535, false, "'file parameters' has 8 bytes at offset 65535"},
        {M + 32 + 16, 4, (1 << 20) - 7, false, "'file parameters' has"},
        {M + 32 + 16, 4, UINT32_MAX, false, "'file parameters' has"},
        {M + 32 + 20, 4, 7, false, "'file parameters' has 7 bytes"},
        {M + 64, 4, 0xcaa16737, false, "metadata that is not known"},
        {ITEMS, 4, 0, false, "the block size is 0"},
        {ITEMS, 4, 3 << 20, false, "the block size is 3145728"},
        {ITEMS, 4, 512 << 20, false, "the block size is"},
        {ITEMS + 4, 4, VHDX_HAS_PARENT, false, "differencing images"},
        {ITEMS + 8, 8, 511, false, "whole sectors"},
        {ITEMS + 8, 8, (64ull << 40) + 512, false, "up to 64 TiB"},
        {ITEMS + 8, 8, 200ull << 30, false, "the block allocation table is too short"},
        {ITEMS + 8, 8, 0, false, NULL},
        {ITEMS + 32, 4, 0, false, "logical sector size is 0"},
        {ITEMS + 32, 4, 4096, false, NULL},
        {BAT, 8, VHDX_PRESENT, false, "block 0 lies on the image's tables"},
        {BAT, 8, 3 << 20 | VHDX_PRESENT, false, "block 0 lies on the image's tables"},
        {BAT, 8, 8 << 20 | VHDX_PRESENT, false, "block 0 lies beyond the end"},
        {BAT, 8, ~7ull | VHDX_PRESENT, false, "block 0 lies beyond the end"},
        {BAT, 8, 5 << 20 | VHDX_PRESENT, false, "block 1 lies on another one"},
        {BAT, 8, 4 << 20 | 7, false, "in a parent"},
        {BAT, 8, 4 << 20 | 5, false, "a state that does not exist"},
        {BAT, 8, 4 << 20 | 4, false, "a state that does not exist"},
        {BAT, 8, 4 << 20 | VHDX_UNMAPPED, false, NULL},
        {BAT, 8, 5 << 20 | VHDX_UNDEFINED, false, NULL},
        {BAT, 8, ~7ull | VHDX_NOT_PRESENT, false, NULL},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t at = cases[i].at;
        struct mem m;

        make_plain(&m);
        if (at >= H)
            at = at - H + current(&m);
        put(&m, at, cases[i].len, cases[i].value);
        if (cases[i].at >= R && cases[i].at < R + VHDX_TABLE_LEN)
            put(&m, at + VHDX_TABLE_LEN, cases[i].len, cases[i].value);
        if (!cases[i].keep_sums)
            seal_all(&m);
        g_test_message("case %u", i);
        map_test_expect(&format, &m, cases[i].says);
        mem_fini(&m);
    }
}

/* For reading: the older header may have a log to be replayed. */
static void expect_open(struct mem *m, bool opens)
{
    struct viv_node *n = open_with(&viv_blk_vhdx, m, (struct viv_node_opts){.read_only = true});

    g_assert_cmpint(n != NULL, ==, opens);
    viv_node_put(&n);
}

/* Either copy of header and region table will do. */
static void test_copies(void)
{
    struct mem m;

    make_plain(&m);
    m.data[VHDX_TABLE_AT + 4] ^= 1;
    expect_open(&m, true);
    m.data[VHDX_TABLE_AT + VHDX_TABLE_LEN + 4] ^= 1;
    expect_open(&m, false);
    m.data[VHDX_TABLE_AT + 4] ^= 1;
    expect_open(&m, true);
    m.data[VHDX_HEADER_AT + 9] ^= 1;
    expect_open(&m, true);
    m.data[2 * VHDX_HEADER_AT + 9] ^= 1;
    expect_open(&m, false);
    mem_fini(&m);
    /* The same number twice: which is newer? */
    make_plain(&m);
    memcpy(m.data + 2 * VHDX_HEADER_AT, m.data + VHDX_HEADER_AT, VHDX_HEADER_LEN);
    expect_open(&m, true);
    m.data[VHDX_HEADER_AT + VHDX_H_DATA_GUID] ^= 1;
    seal_all(&m);
    expect_open(&m, false);
    mem_fini(&m);
}

/* A required region or item that nobody knows is refused, another one is let be: no block lands on it. */
static void test_unknown(void)
{
    uint8_t buf[4096] = {9};
    struct viv_node *n;
    struct mem m;

    make_plain(&m);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = VHDX_TABLE_AT + i * VHDX_TABLE_LEN;

        put(&m, at + 8, 4, 3);
        memset(m.data + at + 16 + 64, 0xab, 16);
        put(&m, at + 16 + 64 + 16, 8, 6 << 20);
        put(&m, at + 16 + 64 + 24, 4, 1 << 20);
    }
    put(&m, META + 10, 2, 6);
    memset(m.data + META + 32 * 6, 0xcd, 24);
    put(&m, META + 32 * 6 + 24, 4, 1 | 4); /* of a user's, required: no business of ours, but required */
    seal_all(&m);
    expect_open(&m, false);
    put(&m, META + 32 * 6 + 24, 4, 1);
    n = open_with(&viv_blk_vhdx, &m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    g_assert_cmpint(viv_node_pwrite(n, 2 << 20, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_cmphex(viv_ld_le64(m.data + BAT + 16), ==, 7 << 20 | VHDX_PRESENT);
    mem_fini(&m);
}

/* Zeroes over a block that other programs may read as anything; a place in reserve is nobody else's. */
static void test_states(void)
{
    uint8_t buf[4096] = {9};
    struct viv_node *n;
    struct mem m;

    make_plain(&m);
    put(&m, BAT + 16, 8, 6 << 20 | VHDX_UNMAPPED);
    put(&m, BAT + 24, 8, VHDX_NOT_PRESENT);
    n = open_with(&viv_blk_vhdx, &m, (struct viv_node_opts){0});
    g_assert_false(n->zero_init);
    g_assert_cmpint(viv_node_write_zeroes(n, 2 << 20, 1 << 20, 0), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 3 << 20, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_cmphex(viv_ld_le64(m.data + BAT + 16), ==, 6 << 20 | VHDX_ZERO);
    g_assert_cmphex(viv_ld_le64(m.data + BAT + 24), ==, 7 << 20 | VHDX_PRESENT);
    n = open_with(&viv_blk_vhdx, &m, (struct viv_node_opts){0});
    g_assert_true(n->zero_init);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

/* The header tells others what happened: nothing when nothing was written. */
static void test_identities(void)
{
    uint8_t buf[512] = {3}, before[VHDX_HEADER_LEN], *now;
    struct viv_node *n;
    struct mem m;

    make_plain(&m);
    memcpy(before, m.data + current(&m), sizeof(before));
    n = open_with(&viv_blk_vhdx, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    viv_node_put(&n);
    g_assert_cmpint(memcmp(m.data + current(&m), before, sizeof(before)), ==, 0);
    n = open_with(&viv_blk_vhdx, &m, (struct viv_node_opts){0});
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    viv_node_put(&n);
    now = m.data + current(&m);
    g_assert_cmpuint(viv_ld_le64(now + VHDX_H_SEQUENCE), ==, viv_ld_le64(before + VHDX_H_SEQUENCE) + 1);
    g_assert_cmpint(memcmp(now + VHDX_H_FILE_GUID, before + VHDX_H_FILE_GUID, 16), !=, 0);
    g_assert_cmpint(memcmp(now + VHDX_H_DATA_GUID, before + VHDX_H_DATA_GUID, 16), !=, 0);
    g_assert_true(vhdx_guid_is_zero(now + VHDX_H_LOG_GUID));
    mem_fini(&m);
}

static void test_mutations(void)
{
    static const uint64_t targets[] = {VHDX_HEADER_AT, 2 * VHDX_HEADER_AT, VHDX_TABLE_AT, META + 10, META + 32, ITEMS, BAT, BAT};
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    struct mem m;

    make_plain(&m);
    for (unsigned i = 0; i < 250; i++) {
        struct mem copy;

        mem_init(&copy);
        mem_copy(&copy, &m);
        for (int k = g_rand_int_range(r, 1, 4); k > 0; k--)
            put(&copy, targets[g_rand_int_range(r, 0, G_N_ELEMENTS(targets))] + 4 * g_rand_int_range(r, 0, 24),
                1 + g_rand_int_range(r, 0, 8), g_rand_boolean(r) ? ~0ull : (uint64_t)g_rand_int(r) << g_rand_int_range(r, 0, 32));
        seal_all(&copy);
        exercise(&viv_blk_vhdx, copy.data, copy.size);
        mem_fini(&copy);
    }
    mem_fini(&m);
    g_rand_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/vhdx/crc32c", test_crc32c);
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        g_autofree char *a = g_strconcat("/block/vhdx/model/", variants[i].name, NULL);
        g_autofree char *b = g_strconcat("/block/vhdx/failing/", variants[i].name, NULL);
        g_autofree char *c = g_strconcat("/block/vhdx/crash/", variants[i].name, NULL);

        g_test_add_data_func(a, &variants[i], test_model);
        g_test_add_data_func(b, &variants[i], test_failing);
        g_test_add_data_func(c, &variants[i], test_cuts);
    }
    g_test_add_func("/block/vhdx/device", test_device);
    g_test_add_func("/block/vhdx/failing-once", test_failing_once);
    g_test_add_func("/block/vhdx/header", test_header);
    g_test_add_func("/block/vhdx/copies", test_copies);
    g_test_add_func("/block/vhdx/unknown", test_unknown);
    g_test_add_func("/block/vhdx/states", test_states);
    g_test_add_func("/block/vhdx/identities", test_identities);
    g_test_add_func("/block/vhdx/mutations", test_mutations);
    return g_test_run();
}
