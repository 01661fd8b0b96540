/* VDI: a model under random requests with reopening, failing writes, power cuts, hostile headers and maps. */
#include "block/fmt/map_test.h"
#include "block/fmt/vdi/vdi_int.h"

#include "base/bytes.h"

static const struct map_test_format format = {.drv = &viv_blk_vdi, .block = VDI_BLOCK, .check = true};

static void test_dynamic(void)
{
    map_test_model(&format, NULL, 7 * VDI_BLOCK + 512 * 77);
}

static void test_static(void)
{
    map_test_model(&format, "static=on", 5 * VDI_BLOCK + 512);
}

static void test_crash(void)
{
    map_test_crash(&format, 6 * VDI_BLOCK + 512 * 3);
}

static void test_failing(void)
{
    map_test_failing(&format, 6 * VDI_BLOCK);
}

/* Every field, nasty values: refused with a reason, or open and bounded. */
static void test_header(void)
{
    static const struct {
        unsigned at, len;
        uint64_t value;
        const char *says; /* NULL: opens */
    } cases[] = {
        {VDI_H_SIGNATURE, 4, 0, "bad signature 00000000"},
        {VDI_H_VERSION, 4, 0x00020001, "version 2.1"},
        {VDI_H_TYPE, 4, 4, "differencing"},
        {VDI_H_TYPE, 4, 0, "type 0x0"},
        {VDI_H_MAP, 4, 0x210, "unaligned block map offset 0x210"},
        {VDI_H_MAP, 4, 0, "inside the header"},
        {VDI_H_MAP, 4, 0xfffffe00, "truncated"},
        {VDI_H_DATA, 4, 0x401, "unaligned data offset 0x401"},
        {VDI_H_DATA, 4, 0x200, "overlaps the block map"},
        {VDI_H_DATA, 4, 0xfffffe00, "beyond the end of the file"},
        {VDI_H_SECTOR, 4, 4096, "sector size 4096"},
        {VDI_H_SIZE, 8, INT64_MAX, "max supported is 0x1fffff8000000"},
        {VDI_H_SIZE, 8, UINT64_MAX, "max supported is 0x1fffff8000000"},
        {VDI_H_SIZE, 8, 5 << 20, "room for 4194304"},
        {VDI_H_SIZE, 8, 1000, NULL},
        {VDI_H_SIZE, 8, 0, NULL},
        {VDI_H_BLOCK, 4, 65536, "block size 65536"},
        {VDI_H_BLOCK, 4, 0, "block size 0"},
        {VDI_H_EXTRA, 4, 512, "extra bytes"},
        {VDI_H_BLOCKS, 4, 3, "room for 3145728"},
        {VDI_H_BLOCKS, 4, UINT32_MAX, "too many blocks 4294967295, max is 536870784"},
        {VDI_H_BLOCKS, 4, VDI_BLOCKS_MAX, "truncated"},
        {VDI_H_ALLOCATED, 4, UINT32_MAX, NULL},
        {VDI_H_UUID_LINK, 4, 1, "non-NULL link UUID"},
        {VDI_H_UUID_PARENT, 4, 1, "non-NULL parent UUID"},
        {512, 4, 1, "block 1 of the disk lies on another one"},
        {512, 4, 2, "beyond the end of the file"},
        {512, 4, 0xfffffffd, "beyond the end of the file"},
        {520, 4, VDI_DISCARDED, NULL},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct mem m;

        map_test_two_blocks(&format, NULL, 4 * VDI_BLOCK, &m);
        for (unsigned k = 0; k < cases[i].len; k++)
            m.data[cases[i].at + k] = cases[i].value >> (8 * k);
        map_test_expect(&format, &m, cases[i].says);
        mem_fini(&m);
    }
}

static uint64_t check_result(uint32_t at, uint32_t value, bool leaks)
{
    struct viv_node_opts o = {.read_only = true, .for_check = true};
    struct viv_check c = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    struct mem m;

    map_test_two_blocks(&format, NULL, 4 * VDI_BLOCK, &m);
    viv_st_le32(m.data + at, value);
    g_assert_cmpint(viv_node_open_format(&viv_blk_vdi, mem_node(&m), &o, &n, &err), ==, 0);
    g_assert_cmpint(n->drv->check(n, &c, &err), ==, 0);
    viv_node_put(&n);
    mem_fini(&m);
    return leaks ? c.leaks : c.corruptions;
}

static void test_check(void)
{
    g_assert_cmpuint(check_result(VDI_H_ALLOCATED, 2, false), ==, 0);
    g_assert_cmpuint(check_result(VDI_H_ALLOCATED, 1, false), ==, 1);
    g_assert_cmpuint(check_result(VDI_H_ALLOCATED, 4, true), ==, 2); /* counted, and the file has not grown: a cut */
    g_assert_cmpuint(check_result(VDI_H_ALLOCATED, 100, false), ==, 1);
    g_assert_cmpuint(check_result(512, VDI_UNALLOCATED, true), ==, 1); /* a block that nobody points at */
    g_assert_cmpuint(check_result(512, 1, false), ==, 1);
    g_assert_cmpuint(check_result(512, 3, false), ==, 1);
    g_assert_cmpuint(check_result(512, 0x7fffffff, false), ==, 2);
}

/* A block that a cut left unused is given out again, and the count is right in the end. */
static void test_leak_reused(void)
{
    uint8_t buf[512] = {9};
    struct viv_node *n;
    struct mem m;

    map_test_two_blocks(&format, NULL, 4 * VDI_BLOCK, &m);
    viv_st_le32(m.data + 512, VDI_UNALLOCATED);
    n = map_test_open(&format, &m);
    g_assert_cmpint(viv_node_pwrite(n, 3 * VDI_BLOCK + 5120, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_cmpuint(viv_ld_le32(m.data + 512 + 12), ==, 0);
    g_assert_cmpuint(viv_ld_le32(m.data + VDI_H_ALLOCATED), ==, 2);
    n = map_test_open(&format, &m);
    g_assert_cmpint(viv_node_pread(n, 3 * VDI_BLOCK, buf, sizeof(buf)), ==, 0);
    g_assert_true(viv_buf_is_zero(buf, sizeof(buf))); /* nothing of the block's old bytes */
    viv_node_put(&n);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/vdi/dynamic", test_dynamic);
    g_test_add_func("/block/vdi/static", test_static);
    g_test_add_func("/block/vdi/crash", test_crash);
    g_test_add_func("/block/vdi/failing-write", test_failing);
    g_test_add_func("/block/vdi/header", test_header);
    g_test_add_func("/block/vdi/check", test_check);
    g_test_add_func("/block/vdi/leak-reused", test_leak_reused);
    return g_test_run();
}
