/* Loaders on hand-made images: what lands where, and every refusal with its reason. */
#include "machine/loader.h"

#include "base/bytes.h"
#include "base/units.h"
#include "mem/dma.h"
#include "mem/space.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_BYTES (64 * VIV_MIB)

static struct viv_space *space;
static char *dir;

static struct viv_boot_info info(const char *kernel, const char *initrd, const char *append)
{
    struct viv_boot_info i = {
        .mem = space, .map_count = 3, .low_end = RAM_BYTES, .rsdp = 0xe0000,
        .kernel = kernel, .initrd = initrd, .append = append,
    };

    i.map[0] = (struct viv_e820){0, 0x9fc00, VIV_E820_RAM};
    i.map[1] = (struct viv_e820){0xe0000, 0x20000, VIV_E820_RESERVED};
    i.map[2] = (struct viv_e820){VIV_MIB, RAM_BYTES - VIV_MIB, VIV_E820_RAM};
    return i;
}

static char *file(const char *name, const uint8_t *data, size_t len)
{
    char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, (const char *)data, (gssize)len, NULL));
    return path;
}

static uint32_t ram32(uint64_t gpa)
{
    uint8_t b[4];

    g_assert_cmpint(viv_dma_read(space, gpa, b, 4), ==, 0);
    return viv_ld_le32(b);
}

static void expect_text(uint64_t gpa, const char *want)
{
    char buf[256] = "";

    g_assert_cmpint(viv_dma_read(space, gpa, buf, sizeof(buf) - 1), ==, 0);
    g_assert_cmpstr(buf, ==, want);
}

static struct viv_boot_entry good(const struct viv_boot_info *i)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_boot_entry e = {0};
    int ret = viv_boot_load(i, &e, &err);

    g_assert_cmpstr(err.text, ==, "");
    g_assert_cmpint(ret, ==, 0);
    return e;
}

static void bad(const struct viv_boot_info *i, const char *part)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_boot_entry e = {.kind = VIV_BOOT_NONE};

    g_assert_cmpint(viv_boot_load(i, &e, &err), <, 0);
    if (!strstr(err.text, part))
        g_error("\"%s\" does not say \"%s\"", err.text, part);
    g_assert_null(strchr(err.text, '\n'));
    g_assert_cmpint(e.kind, ==, VIV_BOOT_NONE);
}

#define BZ_BYTES (3 * 512 + 4096)

static void make_bzimage(uint8_t *k)
{
    memset(k, 0, BZ_BYTES);
    k[0x1f1] = 2; /* setup sectors */
    viv_st_le16(k + 0x1fe, 0xaa55);
    k[0x201] = 0x6a;
    memcpy(k + 0x202, "HdrS", 4);
    viv_st_le16(k + 0x206, 0x20f);
    k[0x211] = 1;
    viv_st_le32(k + 0x22c, 0x7fffffff);
    viv_st_le32(k + 0x230, 0x200000);
    k[0x234] = 1;
    viv_st_le16(k + 0x236, 1);
    viv_st_le32(k + 0x238, 2047);
    viv_st_le64(k + 0x258, 0x1000000);
    viv_st_le32(k + 0x260, 0x100000);
    memset(k + 3 * 512, 0xcc, 4096);
}

static void test_bzimage(void)
{
    uint8_t k[BZ_BYTES];
    g_autofree char *kp = NULL, *ip = NULL;
    struct viv_boot_info i;
    struct viv_boot_entry e;

    make_bzimage(k);
    kp = file("bz", k, sizeof(k));
    ip = file("initrd", (const uint8_t *)"INITRD", 6);
    i = info(kp, ip, "console=ttyS0");
    e = good(&i);
    g_assert_cmpint(e.kind, ==, VIV_BOOT_LINUX64);
    g_assert_cmphex(e.rip, ==, 0x1000200);
    g_assert_cmphex(ram32(0x1000000), ==, 0xcccccccc);
    g_assert_cmpuint(ram32(e.info + 0x1e8) & 0xff, ==, 3);
    g_assert_cmphex(ram32(e.info + 0x70), ==, 0xe0000);
    expect_text(ram32(e.info + 0x228), "console=ttyS0");
    g_assert_cmpuint(ram32(e.info + 0x21c), ==, 6);
    expect_text(ram32(e.info + 0x218), "INITRD");
    g_assert_cmphex(ram32(e.info + 0x218), ==, RAM_BYTES - 4096);
    g_assert_cmphex(ram32(e.info + 4), ==, 0); /* no screen */
    g_assert_cmphex(ram32(e.info + 0x0c), ==, 0);
    i.vga_text = true;
    e = good(&i);
    g_assert_cmphex(ram32(e.info + 4), ==, 0x50030000);    /* mode 3, 80 columns */
    g_assert_cmphex(ram32(e.info + 0x0c), ==, 0x01190000); /* 25 lines, VGA */
    g_assert_cmphex(ram32(e.info + 0x10), ==, 16);

    g_assert_cmphex(ram32(0x600 + 0x14), ==, 0x00af9b00); /* Linux's selectors: code 10h, data 18h */
    g_assert_cmphex(ram32(0x600 + 0x1c), ==, 0x00cf9300);
    i.no_long_mode = true;
    bad(&i, "64-bit kernel");
    viv_st_le16(k + 0x236, 0); /* no 64-bit entry */
    g_free(kp);
    kp = file("bz32", k, sizeof(k));
    i = info(kp, NULL, NULL);
    e = good(&i);
    g_assert_cmpint(e.kind, ==, VIV_BOOT_LINUX32);
    g_assert_cmphex(e.rip, ==, 0x1000000);
}

static void test_bzimage_refused(void)
{
    uint8_t k[BZ_BYTES];
    g_autofree char *kp = NULL, *empty = file("none", (const uint8_t *)"", 0), *long_line = g_strnfill(3000, 'x');
    struct viv_boot_info i;

    make_bzimage(k);
    kp = file("bz", k, sizeof(k));
    i = info(kp, NULL, long_line);
    bad(&i, "takes at most 2047");
    i = info(kp, "/nonexistent", NULL);
    bad(&i, "-initrd");
    i = info(kp, empty, NULL);
    bad(&i, "the file is empty");
    i = info("/nonexistent", NULL, NULL);
    bad(&i, "-kernel");
    i = info(NULL, "/x", NULL);
    bad(&i, "-initrd without -kernel");
    i = info("/", NULL, NULL);
    bad(&i, "not a regular file");
    g_free(kp);
    kp = file("bzshort", k, 3 * 512);
    i = info(kp, NULL, NULL);
    bad(&i, "truncated");
    viv_st_le32(k + 0x260, 0x10000000);
    g_free(kp);
    kp = file("bzlarge", k, sizeof(k));
    i = info(kp, NULL, NULL);
    bad(&i, "give more with -m");
    g_free(kp);
    kp = file("text", (const uint8_t *)"hello", 5);
    i = info(kp, NULL, NULL);
    bad(&i, "not a bzImage, an ELF with a PVH note or a multiboot image");
    g_free(kp);
    kp = file("empty", k, 0);
    i = info(kp, NULL, NULL);
    bad(&i, "not a bzImage");
}

/* ELF64 with one segment at 2 MiB and a Xen note; returns its length. */
static size_t make_pvh(uint8_t *f)
{
    memset(f, 0, 512);
    memcpy(f, "\177ELF\2\1\1", 7);
    viv_st_le16(f + 16, 2);
    viv_st_le16(f + 18, 62);
    viv_st_le64(f + 32, 64);
    viv_st_le16(f + 54, 56);
    viv_st_le16(f + 56, 2);
    viv_st_le32(f + 64, 1); /* PT_LOAD */
    viv_st_le64(f + 64 + 8, 256);
    viv_st_le64(f + 64 + 24, 0x200000);
    viv_st_le64(f + 64 + 32, 16);
    viv_st_le64(f + 64 + 40, 4096);
    viv_st_le32(f + 120, 4); /* PT_NOTE */
    viv_st_le64(f + 120 + 8, 200);
    viv_st_le64(f + 120 + 32, 20);
    viv_st_le32(f + 200, 4);
    viv_st_le32(f + 204, 4);
    viv_st_le32(f + 208, 18);
    memcpy(f + 212, "Xen", 4);
    viv_st_le32(f + 216, 0x200040);
    memset(f + 256, 0xab, 16);
    return 272;
}

static void test_pvh(void)
{
    uint8_t f[512];
    size_t len = make_pvh(f);
    g_autofree char *kp = file("pvh", f, len), *ip = file("initrd", (const uint8_t *)"INITRD", 6), *empty = file("none", (const uint8_t *)"", 0);
    struct viv_boot_info i = info(kp, ip, "a b");
    struct viv_boot_entry e = good(&i);

    g_assert_cmpint(e.kind, ==, VIV_BOOT_PVH);
    g_assert_cmphex(e.rip, ==, 0x200040);
    g_assert_cmphex(ram32(0x200000), ==, 0xabababab);
    g_assert_cmphex(ram32(e.info), ==, 0x336ec578);
    g_assert_cmpuint(ram32(e.info + 12), ==, 1);
    expect_text(ram32(ram32(e.info + 16)), "INITRD");
    expect_text(ram32(e.info + 24), "a b");
    g_assert_cmphex(ram32(e.info + 32), ==, 0xe0000);
    g_assert_cmpuint(ram32(e.info + 48), ==, 3);
    g_assert_cmphex(ram32(ram32(e.info + 40) + 24), ==, 0xe0000);
    i.initrd = empty;
    bad(&i, "the file is empty");
}

static void test_elf_refused(void)
{
    uint8_t f[512];
    g_autofree char *kp = NULL;
    struct viv_boot_info i;

    make_pvh(f);
    viv_st_le32(f + 208, 17);
    kp = file("nonote", f, 272);
    i = info(kp, NULL, NULL);
    bad(&i, "without a PVH note");
    make_pvh(f);
    viv_st_le64(f + 64 + 24, 0xfffffffffffff000);
    g_free(kp);
    kp = file("far", f, 272);
    i = info(kp, NULL, NULL);
    bad(&i, "has no RAM");
    make_pvh(f);
    viv_st_le64(f + 64 + 32, 8192); /* file size beyond memory size */
    g_free(kp);
    kp = file("fat", f, 272);
    i = info(kp, NULL, NULL);
    bad(&i, "larger in the file");
    make_pvh(f);
    viv_st_le64(f + 120 + 32, UINT64_MAX);
    g_free(kp);
    kp = file("notes", f, 272);
    i = info(kp, NULL, NULL);
    bad(&i, "ELF notes");
    make_pvh(f);
    viv_st_le64(f + 32, UINT64_MAX - 8);
    g_free(kp);
    kp = file("phoff", f, 272);
    i = info(kp, NULL, NULL);
    bad(&i, "");
    make_pvh(f);
    viv_st_le16(f + 18, 183); /* AArch64 */
    g_free(kp);
    kp = file("arm", f, 272);
    i = info(kp, NULL, NULL);
    bad(&i, "not for x86");
}

static size_t make_multiboot(uint8_t *f, uint32_t flags)
{
    memset(f, 0, 512);
    viv_st_le32(f + 64, 0x1badb002);
    viv_st_le32(f + 68, flags);
    viv_st_le32(f + 72, (uint32_t) - (0x1badb002 + flags));
    viv_st_le32(f + 76, 0x200040); /* header, load, load end, bss end, entry */
    viv_st_le32(f + 80, 0x200000);
    viv_st_le32(f + 84, 0);
    viv_st_le32(f + 88, 0x210000);
    viv_st_le32(f + 92, 0x200060);
    f[300] = 0x77;
    return 512;
}

static void test_multiboot(void)
{
    uint8_t f[512];
    g_autofree char *kp = file("mb", f, make_multiboot(f, 0x10003));
    g_autofree char *m1 = file("m1", (const uint8_t *)"ONE", 3), *m2 = file("m2", (const uint8_t *)"TWO", 3);
    g_autofree char *mods = g_strdup_printf("%s a b,%s", m1, m2);
    g_autofree char *text = g_strdup_printf("%s a b", m1), *line = g_strdup_printf("%s x=1", kp);
    struct viv_boot_info i = info(kp, mods, "x=1");
    struct viv_boot_entry e = good(&i);
    uint32_t list;

    g_assert_cmpint(e.kind, ==, VIV_BOOT_MULTIBOOT);
    g_assert_cmphex(e.rip, ==, 0x200060);
    g_assert_cmphex(ram32(0x20012c), ==, 0x77);
    expect_text(ram32(e.info + 16), line);
    expect_text(ram32(e.info + 64), "Vivarium");
    g_assert_cmpuint(ram32(e.info + 20), ==, 2);
    list = ram32(e.info + 24);
    g_assert_cmphex(ram32(list), ==, 0x210000);
    g_assert_cmpuint(ram32(list + 4) - ram32(list), ==, 3);
    expect_text(ram32(list), "ONE");
    expect_text(ram32(list + 8), text);
    g_assert_cmphex(ram32(list + 16), ==, 0x211000);
    g_assert_cmpuint(ram32(e.info + 44), ==, 72);
    g_assert_cmpuint(ram32(ram32(e.info + 48)), ==, 20);
    g_assert_cmphex(ram32(ram32(e.info + 48) + 24 + 4), ==, 0xe0000);
    g_assert_cmpuint(ram32(e.info + 8), ==, (RAM_BYTES - VIV_MIB) / 1024);
}

/* What kernels without a GDT and with a heap behind their image count on. */
static void test_multiboot_entry(void)
{
    uint8_t f[512];
    g_autofree char *kp = file("mb", f, make_multiboot(f, 0x10003)), *low = NULL;
    struct viv_boot_info i = info(kp, NULL, "x=1");
    struct viv_boot_entry e = good(&i);

    g_assert_cmphex(e.info, ==, 0x9500);
    g_assert_cmphex(ram32(0x608), ==, 0x0000ffff); /* code at 08h, data at 10h */
    g_assert_cmphex(ram32(0x60c), ==, 0x00cf9b00);
    g_assert_cmphex(ram32(0x614), ==, 0x00cf9300);
    viv_st_le32(f + 76, 0x9040); /* the kernel itself lies there */
    viv_st_le32(f + 80, 0x9000);
    viv_st_le32(f + 88, 0x9a04);
    viv_st_le32(f + 92, 0x9060);
    low = file("mblow", f, sizeof(f));
    i = info(low, NULL, "x=1");
    g_assert_cmphex(good(&i).info, ==, 0x9a10);
    viv_st_le32(f + 88, 0x9fc00); /* up to the end of it */
    g_free(low);
    i.kernel = low = file("mbfull", f, sizeof(f));
    g_assert_cmphex(good(&i).info, ==, 0x100000);
}

static void test_multiboot_refused(void)
{
    uint8_t f[512];
    size_t len = make_multiboot(f, 0x10083);
    g_autofree char *kp = file("mbflags", f, len);
    struct viv_boot_info i = info(kp, NULL, NULL);

    bad(&i, "not known");
    make_multiboot(f, 0x10003);
    viv_st_le32(f + 80, 0x200044); /* load_addr above header_addr */
    g_free(kp);
    kp = file("mbaddr", f, len);
    i = info(kp, NULL, NULL);
    bad(&i, "do not fit");
    make_multiboot(f, 0x10003);
    viv_st_le32(f + 88, 0x200001); /* bss ends before the text */
    g_free(kp);
    kp = file("mbbss", f, len);
    i = info(kp, NULL, NULL);
    bad(&i, "bss_end");
    make_multiboot(f, 0x10003);
    viv_st_le32(f + 84, 0x300000); /* more text than file */
    viv_st_le32(f + 88, 0);
    g_free(kp);
    kp = file("mbtrunc", f, len);
    i = info(kp, NULL, NULL);
    bad(&i, "truncated");
    make_multiboot(f, 3); /* ELF expected, none there */
    g_free(kp);
    kp = file("mbelf", f, len);
    i = info(kp, NULL, NULL);
    bad(&i, "not for x86");
}

/* Random damage to valid images: never a crash, and what loads lies in RAM. */
static void test_fuzz(void)
{
    for (unsigned n = 0; n < 600; n++) {
        uint8_t f[BZ_BYTES];
        size_t len = n % 3 == 0 ? (make_bzimage(f), sizeof(f)) : n % 3 == 1 ? make_pvh(f) : make_multiboot(f, 0x10003);
        size_t area = n % 3 == 0 ? 0x270 : len;
        g_autofree char *kp = NULL;
        struct viv_err err = VIV_ERR_INIT;
        struct viv_boot_entry e;
        struct viv_boot_info i;

        for (int k = g_test_rand_int_range(1, 6); k > 0; k--)
            f[g_test_rand_int_range(0, (gint32)area)] = (uint8_t)g_test_rand_int_range(0, 256);
        kp = file("fuzz", f, g_test_rand_bit() ? len : (size_t)g_test_rand_int_range(0, (gint32)len));
        i = info(kp, NULL, "x");
        if (viv_boot_load(&i, &e, &err))
            g_assert_cmpstr(err.text, !=, "");
    }
}

int main(int argc, char **argv)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = RAM_BYTES};
    g_autofree char *clean = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("viv-loader-XXXXXX", NULL);
    space = viv_space_new("memory", 52);
    g_assert_cmpint(viv_ram_new("ram", RAM_BYTES, &d.ram, &err), ==, 0);
    viv_region_map(viv_region_new(space, &d), 0, 0);
    g_test_add_func("/loader/bzimage", test_bzimage);
    g_test_add_func("/loader/bzimage-refused", test_bzimage_refused);
    g_test_add_func("/loader/pvh", test_pvh);
    g_test_add_func("/loader/elf-refused", test_elf_refused);
    g_test_add_func("/loader/multiboot", test_multiboot);
    g_test_add_func("/loader/multiboot-entry", test_multiboot_entry);
    g_test_add_func("/loader/multiboot-refused", test_multiboot_refused);
    g_test_add_func("/loader/fuzz", test_fuzz);
    ret = g_test_run();
    clean = g_strdup_printf("rm -rf '%s'", dir);
    return system(clean) ? 1 : ret;
}
