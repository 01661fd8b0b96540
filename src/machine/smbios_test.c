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

/* The string number `n` of the structure at p. */
static const char *text(const uint8_t *p, unsigned n)
{
    const char *s = (const char *)p + p[1];

    while (--n)
        s += strlen(s) + 1;
    return s;
}

static const uint8_t *find(const uint8_t *p, uint8_t type)
{
    while (p[0] != type) {
        p += p[1];
        while (p[0] || p[1])
            p++;
        p += 2;
    }
    return p;
}

static int give(struct viv_smbios_given *g, const char *what, char **why)
{
    struct viv_err err = VIV_ERR_INIT;
    int r = viv_smbios_given_add(g, what, &err);

    if (why)
        *why = g_strdup(err.text);
    return r;
}

static void test_given(void)
{
    struct viv_smbios_given *g = viv_smbios_given_new();
    struct viv_smbios_info i = info(VIV_GIB);
    uint8_t *b = NULL;
    const uint8_t *p;
    size_t len;

    i.firmware = true;
    i.given = g;
    g_assert_cmpint(give(g, "type=0,vendor=Me,release=3.14,uefi=on", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=1,serial=ds=nocloud;s=http://10.0.2.2:8000/", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=1,family=F,uuid=ffeeddcc-bbaa-9988-7766-554433221100", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=2,product=Board,,7", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=4,sock_pfx=S,part=P,max-speed=3000", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=8,internal_reference=J1,external_reference=LAN,connector_type=0x0b,port_type=0x1f", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=8,internal_reference=J2", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=11,value=one,value=two", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=11,value=three", NULL), ==, 0);
    g_assert_cmpint(give(g, "type=17,loc_pfx=Slot,speed=2666", NULL), ==, 0);
    g_assert_cmpint(viv_smbios_build(&i, 0, 0x8000, &b, &len, NULL), ==, 0);
    walk(b + 64, len - 64, 127);
    p = find(b + 64, 0);
    g_assert_cmpstr(text(p, p[4]), ==, "Me");
    g_assert_cmphex(viv_ld_le16(p + 0x14), ==, 14 << 8 | 3);
    g_assert_cmphex(p[0x13], ==, 0x1c);
    p = find(b + 64, 1);
    g_assert_cmpstr(text(p, p[5]), ==, "Standard PC"); /* what nobody said stays */
    g_assert_cmpstr(text(p, p[7]), ==, "ds=nocloud;s=http://10.0.2.2:8000/");
    g_assert_cmpstr(text(p, p[0x1a]), ==, "F");
    g_assert_cmphex(viv_ld_le32(p + 8), ==, 0xffeeddcc);
    p = find(b + 64, 2);
    g_assert_cmpstr(text(p, p[5]), ==, "Board,7");
    p = find(b + 64, 4);
    g_assert_cmpstr(text(p, p[4]), ==, "S 0");
    g_assert_cmpstr(text(p, p[0x22]), ==, "P");
    g_assert_cmpuint(viv_ld_le16(p + 0x14), ==, 3000);
    g_assert_cmpuint(walk(b + 64, len - 64, 8), ==, 2);
    p = find(b + 64, 8);
    g_assert_cmpstr(text(p, p[6]), ==, "LAN");
    p = find(b + 64, 11);
    g_assert_cmpuint(p[4], ==, 3);
    g_assert_cmpstr(text(p, 3), ==, "three");
    p = find(b + 64, 17);
    g_assert_cmpstr(text(p, p[16]), ==, "Slot 0");
    g_assert_cmpuint(viv_ld_le16(p + 21), ==, 2666);
    g_free(b);
    viv_smbios_given_free(g);
}

/* A whole structure out of a file stands in place of ours; what is none is refused. */
static void test_file(void)
{
    static const char *const bad[] = {"type=5,x=1", "type=0,release=3", "type=1,uuid=12", "type=11,value=", "type=1,colour=red", "vendor=x", "type=1,file=x"};
    struct viv_smbios_given *g = viv_smbios_given_new();
    struct viv_smbios_info i = info(VIV_GIB);
    g_autofree char *dir = g_dir_make_tmp("viv-smbios-XXXXXX", NULL), *path = g_strdup_printf("%s/s", dir), *arg = g_strdup_printf("file=%s", path);
    uint8_t structure[4 + 1 + 3] = {3, 5, 0, 3, 9, 'x', 0, 0}, *b = NULL;
    size_t len;

    i.given = g;
    for (size_t n = 0; n < G_N_ELEMENTS(bad); n++) {
        g_autofree char *why = NULL;

        g_assert_cmpint(give(g, bad[n], &why), <, 0);
        g_assert_true(g_str_has_prefix(why, "-smbios"));
    }
    for (size_t n = 1; n < sizeof(structure); n++) {
        g_assert_true(g_file_set_contents(path, (const char *)structure, (gssize)n, NULL));
        g_assert_cmpint(give(g, arg, NULL), <, 0);
    }
    g_assert_true(g_file_set_contents(path, (const char *)structure, sizeof(structure), NULL));
    g_assert_cmpint(give(g, arg, NULL), ==, 0);
    g_assert_cmpint(give(g, "type=3,serial=1", NULL), <, 0);
    g_assert_cmpint(viv_smbios_build(&i, 0, 0x8000, &b, &len, NULL), ==, 0);
    g_assert_cmpuint(walk(b + 64, len - 64, 3), ==, 1);
    g_assert_cmpmem(find(b + 64, 3), sizeof(structure), structure, sizeof(structure));
    g_free(b);
    remove(path);
    remove(dir);
    viv_smbios_given_free(g);
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
    g_test_add_func("/smbios/given", test_given);
    g_test_add_func("/smbios/file", test_file);
    g_test_add_func("/smbios/extremes", test_extremes);
    return g_test_run();
}
