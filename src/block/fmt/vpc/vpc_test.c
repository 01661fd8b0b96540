/* VHD: geometry; a model under random requests with reopening, failing writes, power cuts, hostile headers and tables. */
#include "block/fmt/map_test.h"
#include "block/fmt/vpc/vpc_int.h"

#include "base/bytes.h"

static const struct map_test_format format = {.drv = &viv_blk_vpc, .block = VPC_BLOCK};

static void test_dynamic(void)
{
    map_test_model(&format, NULL, 5 * VPC_BLOCK + 512 * 77);
    map_test_model(&format, "force_size=on", 3 * VPC_BLOCK + 512 * 3);
}

static void test_fixed(void)
{
    map_test_model(&format, "subformat=fixed", 3 * VPC_BLOCK + 512);
}

static void test_crash(void)
{
    map_test_crash(&format, 4 * VPC_BLOCK + 512 * 3);
}

static void test_failing(void)
{
    map_test_failing(&format, 6 * VPC_BLOCK);
}

/* The specification's formula at its edges. */
static void test_geometry(void)
{
    static const struct {
        uint64_t sectors;
        uint16_t c;
        uint8_t h, s;
    } cases[] = {
        {0, 0, 4, 17},
        {68, 1, 4, 17},
        {10268, 151, 4, 17},
        {61472, 904, 4, 17},
        {260100, 1020, 15, 17},
        {1032192, 1024, 16, 63},
        {2097648, 2081, 16, 63},
        {209716080, 51401, 16, 255},
        {VPC_CHS_MAX, 65535, 16, 255},
        {VPC_CHS_MAX * 3, 65535, 16, 255},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint16_t c;
        uint8_t h, s;

        vpc_geometry(cases[i].sectors, &c, &h, &s);
        g_assert_cmpuint(c, ==, cases[i].c);
        g_assert_cmpuint(h, ==, cases[i].h);
        g_assert_cmpuint(s, ==, cases[i].s);
    }
}

static void sums(struct mem *m)
{
    viv_st_be32(m->data + VPC_F_SUM, vpc_sum(m->data, VPC_FOOTER_LEN, VPC_F_SUM));
    viv_st_be32(m->data + 512 + VPC_D_SUM, vpc_sum(m->data + 512, VPC_DYN_LEN, VPC_D_SUM));
}

static void put(struct mem *m, unsigned at, unsigned len, uint64_t value)
{
    for (unsigned k = 0; k < len; k++)
        m->data[at + k] = value >> (8 * (len - 1 - k));
}

/* Whose size counts. */
static void test_creators(void)
{
    static const char names[][5] = {"qemu", "qem2", "d2v ", "tap\0", "win ", "CTXS", "vpc ", "vs  ", "xyz "};

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        struct viv_node *n;
        struct mem m;

        map_test_two_blocks(&format, NULL, 4 * VPC_BLOCK, &m);
        memcpy(m.data + VPC_F_CREATOR, names[i], 4);
        put(&m, VPC_F_SIZE, 8, 6000000);
        sums(&m);
        n = map_test_open(&format, &m);
        g_assert_cmpuint(viv_node_size(n), ==, i >= 1 && i <= 5 ? 6000000 / 512 * 512 : 241 * 4 * 17 * 512);
        viv_node_put(&n);
        put(&m, VPC_F_CYLINDERS, 4, 0xffff10ff);
        sums(&m);
        n = map_test_open(&format, &m);
        g_assert_cmpuint(viv_node_size(n), ==, 6000000 / 512 * 512);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

static void test_header(void)
{
    enum { D = 512, BAT = 1536 };
    static const struct {
        unsigned at, len;
        uint64_t value;
        bool keep_sums;
        const char *says; /* NULL: opens */
    } cases[] = {
        {0, 4, 0, true, "invalid VPC image"},
        {VPC_F_SUM, 4, 5, true, "Incorrect header checksum"},
        {VPC_F_VERSION, 4, 0x20000, false, "version 2 is not known"},
        {VPC_F_TYPE, 4, 4, false, "needs its parent"},
        {VPC_F_TYPE, 4, 7, false, "type 7"},
        {VPC_F_TYPE, 4, 2, false, "truncated"},
        {VPC_F_DATA, 8, UINT64_MAX, false, "outside of the file"},
        {VPC_F_DATA, 8, 0, false, "outside of the file"},
        {VPC_F_DATA, 8, 1024, false, "Invalid header magic"},
        {D + VPC_D_SUM, 4, 1, true, "another checksum"},
        {D + VPC_D_BAT, 8, 0x601, false, "lies on the headers"},
        {D + VPC_D_BAT, 8, 0x400, false, "lies on the headers"},
        {D + VPC_D_BAT, 8, 0x7ffffffffffffe00, false, "truncated"},
        {D + VPC_D_BAT, 8, 0xfffffffffffffe00, false, "truncated"},
        {D + VPC_D_ENTRIES, 4, 3, false, "Page table too small"},
        {D + VPC_D_ENTRIES, 4, UINT32_MAX, false, "truncated"},
        {D + VPC_D_BLOCK, 4, 0, false, "Invalid block size"},
        {D + VPC_D_BLOCK, 4, 511, false, "Invalid block size"},
        {D + VPC_D_BLOCK, 4, 0x300000, false, "Invalid block size"},
        {D + VPC_D_BLOCK, 4, 0x80000000, false, "Invalid block size"},
        {D + VPC_D_BLOCK, 4, 0x1000, false, "Page table too small"},
        {D + VPC_D_BLOCK, 4, 0x4000000, false, NULL},
        {VPC_F_CYLINDERS, 4, 0, false, NULL},
        {VPC_F_CYLINDERS, 4, 0xffffffff, false, "Page table too small"},
        {BAT, 4, 1, false, "on the tables"},
        {BAT, 4, 0x7fffffff, false, "beyond the end of the file"},
        {BAT, 4, 0xfffffffe, false, "beyond the end of the file"},
        {BAT, 4, 5, false, "on another one"},
        {BAT + 12, 4, 4, false, "on another one"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct mem m;

        map_test_two_blocks(&format, NULL, 4 * VPC_BLOCK, &m);
        put(&m, cases[i].at, cases[i].len, cases[i].value);
        if (!cases[i].keep_sums)
            sums(&m);
        map_test_expect(&format, &m, cases[i].says);
        mem_fini(&m);
    }
}

/* A fixed disk's guest writes a dynamic header into its first sector: it stays a fixed disk. */
static void test_guest_header(void)
{
    g_autofree uint8_t *fake = NULL;
    uint8_t got[2048];
    struct viv_node *n;
    struct mem m;

    map_test_two_blocks(&format, NULL, 4 * VPC_BLOCK, &m);
    fake = g_memdup2(m.data, sizeof(got));
    mem_fini(&m);
    map_test_two_blocks(&format, "subformat=fixed", 4 * VPC_BLOCK, &m);
    n = map_test_open(&format, &m);
    g_assert_cmpint(viv_node_pwrite(n, 0, fake, sizeof(got)), ==, 0);
    viv_node_put(&n);
    n = map_test_open(&format, &m);
    g_assert_cmpint(viv_node_pread(n, 0, got, sizeof(got)), ==, 0);
    g_assert_cmpint(memcmp(got, fake, sizeof(got)), ==, 0);
    viv_node_put(&n);
    mem_fini(&m);
}

/* Another program's block whose bitmap has gaps says "all written" once we write it. */
static void test_bitmap(void)
{
    uint8_t buf[512] = {1};
    struct viv_node *n;
    uint64_t at;
    struct mem m;

    map_test_two_blocks(&format, NULL, 4 * VPC_BLOCK, &m);
    at = viv_ld_be32(m.data + 1536) * 512ull;
    memset(m.data + at, 0, 512);
    n = map_test_open(&format, &m);
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpuint(m.data[at], ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 4096, buf, sizeof(buf)), ==, 0);
    for (unsigned i = 0; i < 512; i++)
        g_assert_cmpuint(m.data[at + i], ==, 0xff);
    viv_node_put(&n);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/vpc/geometry", test_geometry);
    g_test_add_func("/block/vpc/creators", test_creators);
    g_test_add_func("/block/vpc/dynamic", test_dynamic);
    g_test_add_func("/block/vpc/fixed", test_fixed);
    g_test_add_func("/block/vpc/crash", test_crash);
    g_test_add_func("/block/vpc/failing-write", test_failing);
    g_test_add_func("/block/vpc/header", test_header);
    g_test_add_func("/block/vpc/guest-header", test_guest_header);
    g_test_add_func("/block/vpc/bitmap", test_bitmap);
    return g_test_run();
}
