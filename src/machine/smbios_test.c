#include "machine/smbios.h"

#include "base/bytes.h"
#include "base/units.h"

#include <glib.h>
#include <string.h>

static const uint8_t uuid[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static struct viv_smbios_info info(uint64_t ram)
{
    return (struct viv_smbios_info){
        .product = "Standard PC", .version = "pc", .uuid = uuid, .cpu = "qemu64", .ram_bytes = ram,
        .below_4g = MIN(ram, 3 * VIV_GIB), .sockets = 2, .cores = 2, .threads = 1,
    };
}

static uint8_t sum(const uint8_t *p, size_t len)
{
    uint8_t s = 0;

    while (len--)
        s = (uint8_t)(s + *p++);
    return s;
}

/* Walks the structures; the end marker must be the last byte. Returns how many of `type`. */
static unsigned walk(const uint8_t *p, size_t len, uint8_t type)
{
    unsigned found = 0;
    size_t at = 0;

    for (;;) {
        uint8_t here;

        g_assert_cmpuint(at + 4, <=, len);
        here = p[at];
        found += here == type;
        at += p[at + 1];
        while (at + 1 < len && (p[at] || p[at + 1]))
            at++;
        at += 2;
        if (here == 127)
            break;
    }
    g_assert_cmpuint(at, ==, len);
    return found;
}

static void test_layout(void)
{
    struct viv_smbios_info i = info(5 * VIV_GIB);
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *b = NULL;
    size_t len;

    g_assert_cmpint(viv_smbios_build(&i, 0xf0000, 0x8000, &b, &len, &err), ==, 0);
    g_assert_cmpint(sum(b, 0x1f), ==, 0);
    g_assert_cmpint(sum(b + 16, 15), ==, 0);
    g_assert_cmpint(sum(b + 32, 0x18), ==, 0);
    g_assert_cmpuint(viv_ld_le32(b + 24), ==, 0xf0040);
    g_assert_cmpuint(viv_ld_le16(b + 22), ==, len - 64);
    g_assert_cmpuint(walk(b + 64, len - 64, 4), ==, 2);
    g_assert_cmpuint(walk(b + 64, len - 64, 17), ==, 1);
    g_assert_cmpuint(walk(b + 64, len - 64, 19), ==, 2);
    g_assert_cmpuint(walk(b + 64, len - 64, 0), ==, 1);
    g_free(b);
}

/* A firmware writes its own name and version (type 0) and takes the rest. */
static void test_firmware(void)
{
    struct viv_smbios_info i = info(VIV_GIB);
    uint8_t *b = NULL;
    size_t len;

    i.firmware = true;
    g_assert_cmpint(viv_smbios_build(&i, 0, 0x8000, &b, &len, NULL), ==, 0);
    g_assert_cmpuint(walk(b + 64, len - 64, 0), ==, 0);
    g_assert_cmpuint(walk(b + 64, len - 64, 1), ==, 1);
    g_free(b);
}

static void test_uuid(void)
{
    struct viv_smbios_info i = info(VIV_GIB);
    const uint8_t want[16] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
                              0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    uint8_t *b = NULL;
    size_t len;

    g_assert_cmpint(viv_smbios_build(&i, 0xf0000, 0x8000, &b, &len, NULL), ==, 0);
    g_assert_nonnull(memmem(b, len, want, 16));
    g_free(b);
}

/* A terabyte of RAM and a BIOS area too small. */
static void test_extremes(void)
{
    struct viv_smbios_info i = info(1024 * VIV_GIB);
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *b = NULL;
    size_t len;

    g_assert_cmpint(viv_smbios_build(&i, 0xf0000, 0x8000, &b, &len, NULL), ==, 0);
    g_assert_cmpuint(walk(b + 64, len - 64, 17), ==, 64);
    g_free(b);
    b = NULL;
    i.sockets = 255;
    g_assert_cmpint(viv_smbios_build(&i, 0xf0000, 0x1000, &b, &len, &err), ==, -28);
    g_assert_null(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/smbios/layout", test_layout);
    g_test_add_func("/smbios/firmware", test_firmware);
    g_test_add_func("/smbios/uuid", test_uuid);
    g_test_add_func("/smbios/extremes", test_extremes);
    return g_test_run();
}
