/* IDE registers, PIO and DMA against a disk in memory; ATAPI; errors held; what is hostile is bounded. */
#include "base/bytes.h"
#include "bus/bootorder.h"
#include "bus/pci.h"
#include "dev/storage/disk_test.h"
#include "dev/storage/front.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <errno.h>

#define RAM_SIZE (4u << 20)
#define BM       0xc000
#define TABLE    0x1000

extern const struct viv_dev_class viv_dev_piix3_ide, viv_dev_ide_hd, viv_dev_ide_cd, viv_dev_i440fx;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_piix3_ide, &viv_dev_ide_hd, &viv_dev_ide_cd, NULL};

static void setup(const char *cls, const char *opts)
{
    rig_init();
    rig_add_ram(RAM_SIZE);
    disk.n = disk.fail = disk.flushes = disk.fua = disk.discards = 0;
    disk.discarded = 0;
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i * 7 + i / 251);
    viv_drive_add("d0", &disk, NULL, NULL);
    rig_add("i440FX", "addr=0");
    rig_add("piix3-ide", "addr=1.1");
    viv_dev_lock();
    g_assert_cmphex(viv_pci_config_read(rig.board.pci, 9, 0x40, 4), ==, 0x80008000);
    viv_pci_config_write(rig.board.pci, 9, 0x20, BM, 4);
    viv_pci_config_write(rig.board.pci, 9, 4, 5, 2);
    viv_dev_unlock();
    if (cls)
        rig_add(cls, opts);
}

static void teardown(void)
{
    complete();
    rig_fini();
    viv_drive_free_all(NULL);
}

static uint8_t status(void)
{
    complete();
    return in8(0x3f6);
}

static void command28(uint8_t cmd, uint32_t lba, uint8_t count)
{
    out8(0x1f2, count);
    out8(0x1f3, (uint8_t)lba);
    out8(0x1f4, (uint8_t)(lba >> 8));
    out8(0x1f5, (uint8_t)(lba >> 16));
    out8(0x1f6, (uint8_t)(0xe0 | lba >> 24));
    out8(0x1f7, cmd);
}

static void command48(uint8_t cmd, uint64_t lba, uint16_t count)
{
    out8(0x1f6, 0xe0);
    for (int hob = 1; hob >= 0; hob--) {
        out8(0x1f2, (uint8_t)(count >> (8 * hob)));
        out8(0x1f3, (uint8_t)(lba >> (24 * hob)));
        out8(0x1f4, (uint8_t)(lba >> (24 * hob + 8)));
        out8(0x1f5, (uint8_t)(lba >> (24 * hob + 16)));
    }
    out8(0x1f7, cmd);
}

static void read_words(uint8_t *to, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2)
        viv_st_le16(to + i, in16(0x1f0));
}

static void ack(bool expected)
{
    g_assert_cmpint(rig.line[14], ==, expected);
    in8(0x1f7);
    g_assert_cmpint(rig.line[14], ==, 0);
}

/* ---- disk ---- */

static void test_identify(void)
{
    uint8_t id[512], sum = 0;

    setup("ide-hd", "drive=d0,serial=SER1,wwn=0x5000c50012345678,rotation_rate=7200,bus=ide.0,unit=0");
    g_assert_cmpint(in8(0x1f4) | in8(0x1f5), ==, 0); /* signature */
    g_assert_cmpint(in8(0x1f2), ==, 1);
    out8(0x1f6, 0xa0);
    out8(0x1f7, 0xec);
    g_assert_cmphex(status(), ==, 0x58);
    ack(true);
    read_words(id, 512);
    g_assert_cmphex(status(), ==, 0x50);
    for (unsigned i = 0; i < 512; i++)
        sum += id[i];
    g_assert_cmpint(sum, ==, 0);
    g_assert_cmpuint(viv_ld_le32(id + 120), ==, DISK_SIZE / 512);
    g_assert_cmpuint(viv_ld_le64(id + 200), ==, DISK_SIZE / 512);
    g_assert_cmpmem(id + 20, 6, "ES1R  ", 6);
    g_assert_cmphex(viv_ld_le16(id + 216), ==, 0x5000);
    g_assert_cmpuint(viv_ld_le16(id + 434), ==, 7200);
    /* nobody is unit 1, or on the other channel */
    out8(0x1f6, 0xb0);
    g_assert_cmphex(in8(0x1f7), ==, 0);
    out8(0x1f2, 0x55);
    g_assert_cmphex(in8(0x1f2), ==, 0);
    g_assert_cmphex(in8(0x177), ==, 0);
    teardown();
}

/* Serial number, revision and model as QEMU has them, of units that were given none: guests name their root by them. */
static void named(const char *cls, const char *opts, unsigned base, uint8_t cmd, const char *serial, const char *model)
{
    uint8_t id[512];
    char text[41] = "";

    setup(cls, opts);
    out8(base + 6, strstr(opts, "unit=1") ? 0xb0 : 0xa0);
    out8(base + 7, cmd);
    for (unsigned i = 0; i < 512; i += 2)
        viv_st_le16(id + i, in16(base));
    for (unsigned i = 0; i < 40; i++)
        text[i] = (char)id[54 + (i ^ 1)];
    g_assert_cmpstr(g_strchomp(text), ==, model);
    for (unsigned i = 0; i < 20; i++)
        text[i] = (char)id[20 + (i ^ 1)];
    text[20] = '\0';
    g_assert_cmpstr(g_strchomp(text), ==, serial);
    g_assert_cmpmem(id + 46, 8, ".2+5    ", 8);
    teardown();
}

static void test_names(void)
{
    named("ide-hd", "drive=d0,bus=ide.0,unit=0", 0x1f0, 0xec, "QM00001", "QEMU HARDDISK");
    named("ide-hd", "drive=d0,bus=ide.1,unit=1", 0x170, 0xec, "QM00004", "QEMU HARDDISK");
    named("ide-cd", "drive=d0,bus=ide.1,unit=0", 0x170, 0xa1, "QM00003", "QEMU DVD-ROM");
    named("ide-hd", "drive=d0,model=M,ver=2.5+,bus=ide.0,unit=1", 0x1f0, 0xec, "QM00002", "M");
}

/* A disk without cylinders is none for a BIOS. */
static void test_tiny(void)
{
    uint8_t id[512];

    disk.cut = DISK_SIZE - 512;
    setup("ide-hd", "drive=d0");
    out8(0x1f6, 0xa0);
    out8(0x1f7, 0xec);
    g_assert_cmphex(status(), ==, 0x58);
    read_words(id, 512);
    g_assert_cmpuint(viv_ld_le32(id + 120), ==, 1);
    g_assert_cmpuint(viv_ld_le16(id + 2), ==, 2);
    g_assert_cmpuint(viv_ld_le16(id + 108), ==, 2);
    teardown();
    disk.cut = 0;
}

static void test_pio(void)
{
    uint8_t buf[4096];

    setup("ide-hd", "drive=d0");
    command28(0x20, 5, 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(status(), ==, 0x58);
        ack(true);
        read_words(buf, 512);
        g_assert_cmpmem(buf, 512, disk.data + (5 + i) * 512, 512);
    }
    g_assert_cmphex(status(), ==, 0x50);
    ack(false);
    /* blocks of several sectors, the last one short; 48 bits */
    command28(0xc6, 0, 4);
    g_assert_cmphex(status(), ==, 0x50);
    ack(true);
    command48(0x29, 100, 6);
    g_assert_cmphex(status(), ==, 0x58);
    read_words(buf, 2048);
    g_assert_cmphex(status(), ==, 0x58);
    read_words(buf + 2048, 1024);
    g_assert_cmpmem(buf, 3072, disk.data + 100 * 512, 3072);
    in8(0x1f7);
    /* writing: the first block is asked for without an interrupt */
    command28(0x30, 9, 2);
    ack(false);
    for (unsigned i = 0; i < 512; i++)
        out16(0x1f0, (uint16_t)(i * 3));
    g_assert_cmphex(status(), ==, 0x58); /* that was for the first one; 256 words were ignored while BSY */
    ack(true);
    for (unsigned i = 0; i < 256; i++)
        out16(0x1f0, (uint16_t)i);
    g_assert_cmphex(status(), ==, 0x50);
    ack(true);
    g_assert_cmpuint(viv_ld_le16(disk.data + 9 * 512 + 510), ==, 255 * 3);
    g_assert_cmpuint(viv_ld_le16(disk.data + 10 * 512 + 510), ==, 255);
    /* past the end */
    command48(0x24, DISK_SIZE / 512 - 1, 2);
    g_assert_cmphex(status(), ==, 0x51);
    g_assert_cmphex(in8(0x1f1), ==, 0x10);
    command48(0x24, 0xffffffffffff, 0);
    g_assert_cmphex(in8(0x1f1), ==, 0x10);
    /* cylinders: head 1, sector 1 is the 64th */
    out8(0x1f2, 1), out8(0x1f3, 1), out8(0x1f4, 0), out8(0x1f5, 0), out8(0x1f6, 0xa1), out8(0x1f7, 0x20);
    g_assert_cmphex(status(), ==, 0x58);
    read_words(buf, 512);
    g_assert_cmpmem(buf, 512, disk.data + 63 * 512, 512);
    /* no interrupts when they are off */
    out8(0x3f6, 2);
    command28(0x20, 5, 1);
    status();
    g_assert_cmpint(rig.line[14], ==, 0);
    out8(0x3f6, 0);
    g_assert_cmpint(rig.line[14], ==, 1);
    teardown();
}

static void prd(unsigned n, uint32_t addr, uint32_t len, bool last)
{
    set_mem32(TABLE + 8 * n, addr);
    set_mem32(TABLE + 8 * n + 4, (len & 0xffff) | (last ? 0x80000000u : 0));
}

static void bm_start(bool to_memory)
{
    out8(BM + 2, 6);
    out32(BM + 4, TABLE);
    out8(BM, to_memory ? 8 : 0);
    out8(BM, to_memory ? 9 : 1);
}

static void test_dma(void)
{
    uint8_t buf[8192];

    setup("ide-hd", "drive=d0");
    prd(0, 0x20000, 1000, false);
    prd(1, 0x30000, 8192 - 1000, true);
    command28(0xc8, 7, 16);
    g_assert_cmphex(in8(0x3f6) & 0x80, ==, 0x80);
    bm_start(true);
    g_assert_cmphex(in8(BM + 2), ==, 1);
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmphex(in8(BM + 2), ==, 4);
    ack(true);
    out8(BM, 0);
    g_assert_cmpint(viv_dma_read(rig.board.mem, 0x20000, buf, 1000), ==, 0);
    g_assert_cmpint(viv_dma_read(rig.board.mem, 0x30000, buf + 1000, 7192), ==, 0);
    g_assert_cmpmem(buf, 8192, disk.data + 7 * 512, 8192);
    /* the other way, started before the command; with FUA */
    memset(disk.data, 0, 4096);
    prd(0, 0x20000, 0, true); /* 64 KiB: more than is needed */
    bm_start(false);
    command48(0x3d, 0, 8);
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmphex(in8(BM + 2), ==, 5); /* the table is not used up */
    g_assert_cmpuint(disk.fua, ==, 1);
    g_assert_cmpmem(disk.data, 1000, buf, 1000);
    /* not while the function is no bus master */
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 9, 4, 1, 2);
    viv_dev_unlock();
    command28(0xc8, 7, 16);
    bm_start(true);
    g_assert_cmphex(status() & 0x80, ==, 0x80);
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 9, 4, 5, 2);
    viv_dev_unlock();
    g_assert_cmphex(status(), ==, 0x50);
    teardown();
}

static void test_hostile_dma(void)
{
    setup("ide-hd", "drive=d0");
    prd(0, 0xf0000000, 0, true); /* nothing there */
    command28(0xc8, 0, 1);
    bm_start(true);
    g_assert_cmphex(status(), ==, 0x51);
    g_assert_cmphex(in8(BM + 2) & 3, ==, 2);
    out32(BM + 4, 0xfffffffc); /* nor is there a table */
    command28(0xc8, 0, 1);
    out8(BM, 8), out8(BM, 9);
    g_assert_cmphex(status(), ==, 0x51);
    prd(0, 0x20000, 512, true); /* too short */
    command28(0xc8, 0, 2);
    bm_start(true);
    g_assert_cmphex(status(), ==, 0x51);
    g_assert_cmphex(in8(BM + 2) & 1, ==, 0);
    /* 8192 regions of two bytes, none the last: the table ends at 64 KiB */
    for (unsigned i = 0; i < 8192 + 16; i++)
        set_mem64(0x100000 + 8 * i, 0x200000000ull | (0x20000 + 2 * i));
    command28(0xca, 0, 64);
    out8(BM + 2, 6);
    out32(BM + 4, 0x100000);
    out8(BM, 0), out8(BM, 1);
    for (unsigned i = 0; i < 20; i++)
        status();
    g_assert_cmphex(status(), ==, 0x51);
    teardown();
}

static void test_hold(void)
{
    size_t len;
    g_autofree uint8_t *state = NULL;

    setup("ide-hd", "drive=d0,werror=stop");
    set_mem32(0x20000, 0x12345678);
    prd(0, 0x20000, 512, true);
    disk.fail = EIO;
    command28(0xca, 3, 1);
    bm_start(false);
    g_assert_cmphex(status() & 0x80, ==, 0x80);
    g_assert_cmpuint(rig.requests, ==, 1);
    g_assert_cmpint(rig.request, ==, VIV_VM_IO_ERROR);
    state = rig_save(&len);
    disk.fail = 0;
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmphex(viv_ld_le32(disk.data + 3 * 512), ==, 0x12345678);
    /* and where it is loaded */
    memset(disk.data, 0, 4096);
    in8(0x1f7);
    rig_load(state, len);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmphex(viv_ld_le32(disk.data + 3 * 512), ==, 0x12345678);
    teardown();
}

/* A list of ranges by DMA; one that fails is held and done again, here and where it is loaded; lists that are none. */
static void test_trim(void)
{
    uint64_t last = DISK_SIZE / 512 - 1;
    size_t len;
    g_autofree uint8_t *state = NULL;
    uint8_t id[512];

    setup("ide-hd", "drive=d0,werror=stop");
    command28(0xec, 0, 0);
    status();
    read_words(id, 512);
    g_assert_cmphex(viv_ld_le16(id + 2 * 169), ==, 1);
    g_assert_cmpuint(viv_ld_le16(id + 2 * 105), ==, 128);
    set_mem64(0x20000, 5ull << 48 | 16);
    set_mem64(0x20008, 0); /* of no length: none */
    set_mem64(0x20010, 1ull << 48 | last);
    for (unsigned i = 3; i < 128; i++)
        set_mem64(0x20000 + 8 * i, 0);
    prd(0, 0x20000, 1024, true);
    out8(0x1f1, 1);
    command48(0x06, 0, 2);
    g_assert_cmphex(in8(0x3f6) & 0x80, ==, 0x80);
    bm_start(false);
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmphex(in8(BM + 2), ==, 4);
    g_assert_cmpuint(disk.discards, ==, 2);
    g_assert_cmpuint(disk.discarded, ==, 6 * 512);
    g_assert_cmpuint(disk.discard_at, ==, last * 512);

    disk.fail = EIO;
    in8(0x1f7);
    command48(0x06, 0, 2);
    bm_start(false);
    g_assert_cmphex(status() & 0x80, ==, 0x80);
    g_assert_cmpuint(disk.discards, ==, 2);
    state = rig_save(&len);
    for (unsigned i = 1; i < 3; i++) {
        disk.fail = 0;
        viv_dev_lock();
        viv_dev_set_running_all(true);
        viv_dev_unlock();
        g_assert_cmphex(status(), ==, 0x50);
        g_assert_cmpuint(disk.discards, ==, 2 + 2 * i);
        g_assert_cmpuint(disk.discarded, ==, 6 * 512 * (1 + i));
        in8(0x1f7);
        if (i == 1)
            rig_load(state, len);
    }
    set_mem64(0x20010, 2ull << 48 | last); /* beyond the end: nothing of it is done */
    command48(0x06, 0, 2);
    bm_start(false);
    g_assert_cmphex(status(), ==, 0x51);
    g_assert_cmphex(in8(0x1f1), ==, 0x10);
    prd(0, 0x20000, 1022, true); /* a table that is too short */
    command48(0x06, 0, 2);
    bm_start(false);
    g_assert_cmphex(status(), ==, 0x51);
    prd(0, 0xff000000, 1024, true); /* no memory */
    command48(0x06, 0, 2);
    bm_start(false);
    g_assert_cmphex(status(), ==, 0x51);
    command48(0x06, 0, 0);
    g_assert_cmphex(status(), ==, 0x51);
    command48(0x06, 0, 129);
    g_assert_cmphex(status(), ==, 0x51);
    out8(0x1f1, 0); /* another function */
    command48(0x06, 0, 1);
    g_assert_cmphex(status(), ==, 0x51);
    g_assert_cmpuint(disk.discards, ==, 6);
    teardown();
}

static void test_reset(void)
{
    setup("ide-hd", "drive=d0");
    command28(0x20, 0, 1); /* in flight */
    out8(0x3f6, 4);
    out8(0x3f6, 0);
    g_assert_cmphex(in8(0x3f6), ==, 0x80);
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmphex(in8(0x1f1), ==, 1);
    g_assert_cmpint(rig.line[14], ==, 0);
    out8(0x1f7, 0x90);
    g_assert_cmphex(status(), ==, 0x50);
    ack(true);
    command28(0xe7, 0, 0);
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmpuint(disk.flushes, ==, 1);
    for (unsigned i = 0; i < 3; i++) { /* STANDBY IMMEDIATE, STANDBY, SLEEP */
        command28((uint8_t[]){0xe0, 0xe2, 0xe6}[i], 0, 0);
        g_assert_cmphex(status(), ==, 0x50);
    }
    g_assert_cmpuint(disk.flushes, ==, 4);
    command28(0xe1, 0, 0); /* IDLE IMMEDIATE */
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmpuint(disk.flushes, ==, 4);
    /* SMART: no threshold exceeded; a wrong key */
    out8(0x1f1, 0xda);
    command28(0xb0, 0xc24f00, 0);
    g_assert_cmphex(status(), ==, 0x50);
    g_assert_cmphex(in8(0x1f4), ==, 0x4f);
    command28(0xb0, 0, 0);
    g_assert_cmphex(status(), ==, 0x51);
    command28(0x99, 0, 0); /* no such command */
    g_assert_cmphex(status(), ==, 0x51);
    g_assert_cmphex(in8(0x1f1), ==, 4);
    teardown();
}

/* ---- ATAPI ---- */

static void packet(const uint8_t cdb[12], bool dma, uint16_t limit)
{
    out8(0x1f6, 0xa0);
    out8(0x1f1, dma);
    out8(0x1f4, (uint8_t)limit);
    out8(0x1f5, (uint8_t)(limit >> 8));
    out8(0x1f7, 0xa0);
    g_assert_cmphex(status(), ==, 0x48);
    g_assert_cmpint(in8(0x1f2) & 3, ==, 1);
    for (unsigned i = 0; i < 12; i += 2)
        out16(0x1f0, viv_ld_le16(cdb + i));
}

/* Reads what comes; returns how much. The status is in the registers then. */
static unsigned take(uint8_t *to, uint16_t limit)
{
    unsigned got = 0;

    while (status() & 8) {
        unsigned n = in8(0x1f4) | in8(0x1f5) << 8;

        g_assert_cmpint(in8(0x1f2) & 3, ==, 2);
        g_assert_cmpuint(n, <=, limit);
        ack(true);
        read_words(to + got, n);
        got += n;
    }
    g_assert_cmpint(in8(0x1f2) & 3, ==, 3);
    ack(true);
    return got;
}

static void test_atapi(void)
{
    static const uint8_t tur[12] = {0}, sense[12] = {3, 0, 0, 0, 18}, inquiry[12] = {0x12, 0, 0, 0, 36};
    static const uint8_t read5[12] = {0x28, 0, 0, 0, 0, 5, 0, 0, 40}, far[12] = {0x28, 0, 0, 0, 9, 0, 0, 0, 1};
    static uint8_t buf[40 * 2048];

    setup("ide-cd", "drive=d0");
    g_assert_cmphex(in8(0x1f4) | in8(0x1f5) << 8, ==, 0xeb14);
    out8(0x1f7, 0xec); /* it is no ATA disk */
    g_assert_cmphex(status() & 1, ==, 1);
    g_assert_cmphex(in8(0x1f4) | in8(0x1f5) << 8, ==, 0xeb14);
    out8(0x1f7, 0xa1);
    g_assert_cmphex(status(), ==, 0x48);
    read_words(buf, 512);
    g_assert_cmphex(viv_ld_le16(buf), ==, 0x85c0);
    packet(tur, false, 0);
    g_assert_cmphex(status(), ==, 0x41);
    g_assert_cmphex(in8(0x1f1) >> 4, ==, 6); /* power on */
    packet(sense, false, 0xffff);
    g_assert_cmpuint(take(buf, 0xfffe), ==, 18);
    g_assert_cmphex(viv_ld_be16(buf + 12), ==, 0x2900);
    packet(inquiry, false, 10);
    g_assert_cmpuint(take(buf, 10), ==, 36);
    g_assert_cmpmem(buf + 8, 8, "QEMU    ", 8);
    packet(read5, false, 2048);
    g_assert_cmpuint(take(buf, 2048), ==, sizeof(buf));
    g_assert_cmpmem(buf, sizeof(buf), disk.data + 5 * 2048, sizeof(buf));
    packet(read5, true, 0);
    prd(0, 0x20000, 0, false);
    prd(1, 0x30000, 0, true);
    bm_start(true);
    g_assert_cmphex(status(), ==, 0x40);
    g_assert_cmpint(viv_dma_read(rig.board.mem, 0x20000, buf, sizeof(buf)), ==, 0);
    g_assert_cmpmem(buf, sizeof(buf), disk.data + 5 * 2048, sizeof(buf));
    packet(far, false, 2048);
    g_assert_cmphex(status(), ==, 0x41);
    g_assert_cmphex(in8(0x1f1) >> 4, ==, 5);
    teardown();
}

/* Saved in the middle of data by PIO, before DMA starts, and while a failed read is held. */
/* Without waiting for anything. */
static void packet_at_once(uint8_t device, uint8_t op, uint8_t len)
{
    out8(0x1f6, device);
    out8(0x1f1, 1); /* by DMA */
    out8(0x1f7, 0xa0);
    out16(0x1f0, op);
    out16(0x1f0, 0);
    out16(0x1f0, len);
    for (unsigned i = 3; i < 6; i++)
        out16(0x1f0, 0);
}

/* What the channel has mapped for the disk's request is neither the CD's to unmap nor to replace. */
static void test_two_units(void)
{
    setup("ide-hd", "drive=d0,bus=ide.0,unit=0");
    rig_add("ide-cd", "bus=ide.0,unit=1");
    set_mem32(0x20000, 0x12345678);
    prd(0, 0x20000, 512, true);
    command28(0xca, 3, 1);
    bm_start(false);
    g_assert_cmpuint(disk.n, ==, 1); /* in flight */
    packet_at_once(0xb0, 0, 0);      /* TEST UNIT READY moves nothing */
    in8(0x1f7);
    prd(0, 0x30000, 64, true);
    packet_at_once(0xb0, 0x12, 36); /* INQUIRY would */
    out8(BM, 0);
    bm_start(true);
    g_assert_cmpuint(disk.n, ==, 1);
    g_assert_cmphex(status() & 0x80, ==, 0x80); /* the CD waits for the channel; the disk has ended */
    g_assert_cmphex(viv_ld_le32(disk.data + 3 * 512), ==, 0x12345678);
    out8(BM, 0);
    bm_start(true);
    g_assert_cmphex(status(), ==, 0x40);
    g_assert_cmphex(mem32(0x30000) & 0x1f, ==, 5); /* a CD drive */
    out8(0x1f6, 0xe0);
    g_assert_cmphex(status(), ==, 0x50);
    teardown();
}

/* block_resize: the next IDENTIFY says it; a command that waits for its DMA can be saved and loaded though its place is gone. */
static void test_resized(void)
{
    uint8_t *state;
    uint8_t id[512];
    size_t len;

    setup("ide-hd", "drive=d0");
    prd(0, 0x20000, 512, true);
    command28(0xc8, 1000, 1);
    disk_resize(DISK_SIZE / 4);
    state = rig_save(&len);
    rig_load(state, len);
    g_free(state);
    bm_start(true);
    complete();
    g_assert_cmphex(status(), ==, 0x51);
    out8(BM, 0);
    command28(0xec, 0, 0);
    read_words(id, 512);
    g_assert_cmpuint(viv_ld_le32(id + 120), ==, DISK_SIZE / 4 / 512);
    command28(0x40, DISK_SIZE / 4 / 512, 1);
    g_assert_cmphex(status(), ==, 0x51);
    disk_resize(DISK_SIZE);
    command28(0x40, DISK_SIZE / 4 / 512, 1);
    complete();
    g_assert_cmphex(status(), ==, 0x50);
    teardown();
}

static void test_atapi_state(void)
{
    static const uint8_t tur[12] = {0}, read5[12] = {0x28, 0, 0, 0, 0, 5, 0, 0, 40};
    static uint8_t buf[40 * 2048];
    uint8_t *state;
    size_t len;

    setup("ide-cd", "drive=d0,rerror=stop");
    packet(tur, false, 0);
    packet(read5, false, 2048);
    for (unsigned i = 0; i < 3; i++) {
        status();
        read_words(buf + i * 2048, 2048);
    }
    state = rig_save(&len);
    take(buf + 3 * 2048, 2048); /* this one ends too, like one that was never saved */
    rig_load(state, len);
    rig.line[14] = 1; /* its receiver's state, which the rig has not */
    g_free(state);
    g_assert_cmpuint(take(buf + 3 * 2048, 2048), ==, 37 * 2048);
    g_assert_cmpmem(buf, sizeof(buf), disk.data + 5 * 2048, sizeof(buf));
    disk.fail = EIO;
    packet(read5, true, 0);
    prd(0, 0x20000, 0, false);
    prd(1, 0x30000, 0, true);
    bm_start(true);
    g_assert_cmphex(status() & 0x80, ==, 0x80);
    g_assert_cmpuint(rig.requests, ==, 1);
    state = rig_save(&len);
    out8(0x1f7, 8); /* DEVICE RESET gives the held one up */
    g_assert_cmphex(status(), ==, 0);
    disk.fail = 0;
    rig_load(state, len);
    g_free(state);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    g_assert_cmphex(status(), ==, 0x40);
    g_assert_cmpint(viv_dma_read(rig.board.mem, 0x20000, buf, sizeof(buf)), ==, 0);
    g_assert_cmpmem(buf, sizeof(buf), disk.data + 5 * 2048, sizeof(buf));
    teardown();
}

static void test_options(void)
{
    setup("ide-hd", "drive=d0");
    viv_drive_add("none", NULL, NULL, NULL);
    rig_refused("ide-hd", "drive=none", "not removable");
    rig_refused("ide-hd", "", "drive is missing");
    rig_refused("ide-cd", "drive=d0", "used by");
    rig_refused("ide-cd", "bus=ide.0,unit=0", "taken");
    rig_refused("ide-cd", "bus=ide.9", "ide.9");
    {
        struct viv_dev *d = rig_add("ide-cd", "bus=ide.1,unit=0,bootindex=3");
        g_autofree char *order = viv_bootorder_text(false);

        g_assert_nonnull(d);
        g_assert_cmpstr(order, ==, "/pci@i0cf8/ide@1,1/drive@1/disk@0");
        rig_refused("ide-cd", "bus=ide.1,unit=1,bootindex=3", "bootindex");
    }
    viv_drive_find("none")->blk = &disk;
    rig_refused("ide-hd", "drive=none,logical_block_size=4096,physical_block_size=4096", "has 512");
    disk.ro = true;
    rig_refused("ide-hd", "drive=none", "read-only");
    disk.ro = false;
    rig_add("ide-cd", "bus=ide.1,unit=1");
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide/identify", test_identify);
    g_test_add_func("/ide/names", test_names);
    g_test_add_func("/ide/tiny", test_tiny);
    g_test_add_func("/ide/pio", test_pio);
    g_test_add_func("/ide/dma", test_dma);
    g_test_add_func("/ide/hostile-dma", test_hostile_dma);
    g_test_add_func("/ide/hold", test_hold);
    g_test_add_func("/ide/trim", test_trim);
    g_test_add_func("/ide/reset", test_reset);
    g_test_add_func("/ide/atapi", test_atapi);
    g_test_add_func("/ide/two-units", test_two_units);
    g_test_add_func("/ide/atapi-state", test_atapi_state);
    g_test_add_func("/ide/resized", test_resized);
    g_test_add_func("/ide/options", test_options);
    return g_test_run();
}
