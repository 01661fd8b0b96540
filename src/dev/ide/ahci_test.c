/* AHCI registers and command lists against a disk in memory: the link, PIO, DMA, queued commands, ATAPI, errors, stops and resets
 * with I/O in flight; what is hostile is bounded. */
#include "base/bytes.h"
#include "bus/pci.h"
#include "dev/storage/disk_test.h"
#include "dev/storage/front.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <errno.h>

#define RAM_SIZE (8u << 20)
#define ABAR     0xe0000000u
#define LIST     0x10000u /* of port 0; tables at TABLES, 4 KiB each */
#define FISES    0x11000u
#define TABLES   0x20000u
#define DATA     0x100000u
#define DEVFN    0xfa

enum { GHC = 4, IS = 8, P_IS = 0x110, P_IE = 0x114, P_CMD = 0x118, P_TFD = 0x120, P_SIG = 0x124, P_SSTS = 0x128, P_SCTL = 0x12c,
       P_SERR = 0x130, P_SACT = 0x134, P_CI = 0x138 };
enum { ST = 1, FRE = 0x10, CR = 0x8000, FR = 0x4000 };

extern const struct viv_dev_class viv_dev_ich9_ahci, viv_dev_ide_hd, viv_dev_ide_cd, viv_dev_i440fx;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_ich9_ahci, &viv_dev_ide_hd, &viv_dev_ide_cd, NULL};

static struct viv_ram *ram;
static int pirq_level;

static uint32_t rd(unsigned reg)
{
    return mem32(ABAR + reg);
}

static void wr(unsigned reg, uint32_t v)
{
    set_mem32(ABAR + reg, v);
}

static void set_pirq(void *o, int pirq, int level)
{
    pirq_level = level;
}

static void place(void)
{
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, DEVFN, 0x24, ABAR, 4);
    viv_pci_config_write(rig.board.pci, DEVFN, 4, 6, 2);
    viv_dev_unlock();
}

static void start(void)
{
    wr(GHC, 0x80000002);
    wr(0x100, LIST);
    wr(0x108, FISES);
    wr(P_SERR, ~0u);
    wr(P_IE, ~0u);
    wr(P_CMD, FRE);
    wr(P_CMD, FRE | ST);
}

static void setup(const char *cls, const char *opts)
{
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = RAM_SIZE};
    struct viv_err err = VIV_ERR_INIT;

    rig_init();
    pirq_level = 0;
    if (!ram && viv_ram_new("pc.ram", RAM_SIZE, &ram, &err) < 0)
        g_error("%s", err.text);
    memset(ram->hva, 0, RAM_SIZE);
    d.ram = ram;
    viv_region_map(viv_region_new(rig.board.mem, &d), 0, 0);
    disk.n = disk.fail = disk.flushes = disk.fua = 0;
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i * 7 + i / 251);
    viv_drive_add("d0", &disk, NULL, NULL);
    rig_add("i440FX", "addr=0");
    rig_add("ich9-ahci", "addr=1f.2");
    viv_pci_bus_set_pirq(rig.board.pci, set_pirq, NULL);
    if (cls)
        rig_add(cls, opts);
    place();
    start();
}

static void teardown(void)
{
    complete();
    rig_fini();
    viv_drive_free_all(NULL);
}

/* A command header and its table with `prds` regions of `each` bytes from `at` on. */
static void header(unsigned slot, uint32_t flags, unsigned prds, uint64_t at, uint32_t each)
{
    uint64_t table = TABLES + 0x1000 * slot;

    set_mem32(LIST + 32 * slot, 5 | flags | prds << 16);
    set_mem32(LIST + 32 * slot + 4, 0xdddddddd);
    set_mem64(LIST + 32 * slot + 8, table);
    for (unsigned i = 0; i < prds && i < 240; i++) {
        set_mem64(table + 0x80 + 16 * i, at + (uint64_t)each * i);
        set_mem64(table + 0x88 + 16 * i, (uint64_t)(each - 1) << 32);
    }
}

static void fis(unsigned slot, uint8_t cmd, uint64_t lba, uint16_t count, uint16_t feature, uint8_t device)
{
    uint8_t f[20] = {0x27, 0x80, cmd, (uint8_t)feature, (uint8_t)lba, (uint8_t)(lba >> 8), (uint8_t)(lba >> 16), device,
                     (uint8_t)(lba >> 24), (uint8_t)(lba >> 32), (uint8_t)(lba >> 40), (uint8_t)(feature >> 8), (uint8_t)count,
                     (uint8_t)(count >> 8)};

    g_assert_cmpint(viv_dma_write(rig.board.mem, TABLES + 0x1000 * slot, f, sizeof(f)), ==, 0);
}

static void check_data(uint64_t at, unsigned lba, unsigned len)
{
    g_autofree uint8_t *buf = g_malloc(len);

    g_assert_cmpint(viv_dma_read(rig.board.mem, at, buf, len), ==, 0);
    g_assert_cmpmem(buf, len, disk.data + lba * 512, len);
}

static void test_link(void)
{
    setup("ide-hd", "drive=d0");
    g_assert_cmphex(rd(0), ==, 0xc0141f05);
    g_assert_cmphex(rd(0x0c), ==, 0x3f);
    g_assert_cmphex(rd(GHC), ==, 0x80000002);
    g_assert_cmphex(rd(P_SSTS), ==, 0x113);
    g_assert_cmphex(rd(P_SSTS + 0x80), ==, 0); /* port 1 is empty */
    g_assert_cmphex(rd(P_SIG), ==, 0x101);
    g_assert_cmphex(rd(P_TFD), ==, 0x150);
    g_assert_cmphex(rd(P_CMD), ==, ST | FRE | CR | FR | 6 | 31 << 8);
    g_assert_cmphex(mem32(FISES + 0x40), ==, 0x01500034); /* the signature came when there was a place for it */
    g_assert_cmphex(rd(IS), ==, 0);
    /* COMRESET: the port notes an exchange until SERR is cleared */
    wr(P_CMD, FRE);
    wr(P_SCTL, 1);
    g_assert_cmphex(rd(P_SSTS), ==, 0);
    g_assert_cmphex(rd(P_TFD) & 0x80, ==, 0x80);
    wr(P_SCTL, 0);
    g_assert_cmphex(rd(P_SSTS), ==, 0x113);
    g_assert_cmphex(rd(P_SERR), ==, 1 << 26);
    g_assert_cmphex(rd(P_IS), ==, 0x40);
    g_assert_cmphex(rd(IS), ==, 1);
    g_assert_cmpint(pirq_level, ==, 1);
    wr(P_IS, 0x40);
    g_assert_cmphex(rd(P_IS), ==, 0x40);
    wr(P_SERR, 1 << 26);
    wr(IS, 1);
    g_assert_cmphex(rd(P_IS), ==, 0);
    g_assert_cmphex(rd(IS), ==, 0);
    g_assert_cmpint(pirq_level, ==, 0);
    wr(GHC, 0x80000001); /* everything */
    g_assert_cmphex(rd(GHC), ==, 0x80000000);
    g_assert_cmphex(rd(0x100), ==, 0);
    g_assert_cmphex(rd(P_SIG), ==, 0x101);
    wr(P_SCTL, 4);
    g_assert_cmphex(rd(P_SSTS), ==, 4);
    teardown();
}

static void test_pio(void)
{
    setup("ide-hd", "drive=d0,serial=abc");
    header(3, 0, 1, DATA, 512);
    fis(3, 0xec, 0, 0, 0, 0);
    wr(P_CI, 1 << 3);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(rd(P_TFD) & 0xff, ==, 0x50);
    g_assert_cmphex(mem32(LIST + 32 * 3 + 4), ==, 512);
    g_assert_cmphex(mem32(DATA + 2 * 76) & 0xffff, ==, 0x0102); /* a queue, 1.5 Gb/s */
    g_assert_cmphex(mem32(DATA + 2 * 92) >> 16, ==, 0); /* word 93: serial */
    g_assert_cmphex(mem32(FISES + 0x20) & 0xff, ==, 0x5f);
    g_assert_cmphex(rd(P_IS), ==, 2);
    wr(P_IS, 2);
    header(0, 0, 2, DATA, 1024); /* four sectors, a block each, over two regions */
    fis(0, 0x24, 5, 4, 0, 0x40);
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_TFD) & 0x80, ==, 0x80);
    for (unsigned i = 0; i < 4; i++)
        complete();
    g_assert_cmphex(rd(P_CI), ==, 0);
    check_data(DATA, 5, 2048);
    header(0, 0x40, 1, DATA, 1024);
    fis(0, 0x34, 100, 2, 0, 0x40);
    wr(P_CI, 1);
    complete();
    complete();
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmpmem(disk.data + 100 * 512, 1024, disk.data + 5 * 512, 1024);
    header(0, 0x40, 1, DATA, 512); /* the table is too short for what is written */
    fis(0, 0x34, 200, 2, 0, 0x40);
    wr(P_CI, 1);
    complete();
    g_assert_cmphex(rd(P_TFD), ==, 0x451);
    g_assert_cmphex(rd(P_IS) & 0x41000000, ==, 0x41000000);
    g_assert_cmphex(rd(P_CI), ==, 1);
    teardown();
}

static void test_dma(void)
{
    setup("ide-hd", "drive=d0");
    header(1, 0, 3, DATA, 3000);
    fis(1, 0x25, 9, 16, 0, 0x40);
    header(2, 0, 1, DATA + 0x10000, 65536);
    fis(2, 0xc8, 1, 1, 0, 0x40); /* one after the other */
    wr(P_CI, 6);
    g_assert_cmpuint(disk.n, ==, 1);
    g_assert_cmphex(rd(P_CI), ==, 6);
    g_assert_cmphex(rd(P_TFD) & 0x80, ==, 0x80);
    complete();
    g_assert_cmphex(rd(P_CI), ==, 0);
    check_data(DATA, 9, 8192);
    check_data(DATA + 0x10000, 1, 512);
    g_assert_cmphex(mem32(LIST + 32 + 4), ==, 8192);
    g_assert_cmphex(mem32(FISES + 0x40) & 0xffffff, ==, 0x504034);
    g_assert_cmphex(rd(P_IS), ==, 1);
    g_assert_cmpint(pirq_level, ==, 1);
    wr(P_IS, ~0u);
    wr(IS, 1);
    g_assert_cmpint(pirq_level, ==, 0);
    set_mem32(DATA, 0x12345678);
    header(0, 0x40, 1, DATA, 512);
    fis(0, 0x3d, 50, 1, 0, 0x40); /* with FUA */
    wr(P_CI, 1);
    complete();
    g_assert_cmphex(viv_ld_le32(disk.data + 50 * 512), ==, 0x12345678);
    g_assert_cmpuint(disk.fua, ==, 1);
    fis(0, 0xea, 0, 0, 0, 0x40);
    header(0, 0, 0, 0, 0);
    wr(P_CI, 1);
    complete();
    g_assert_cmpuint(disk.flushes, ==, 1);
    g_assert_cmphex(rd(P_CI), ==, 0);
    teardown();
}

/* Three at once, completed last first; messages rather than a line. */
static void test_queued(void)
{
    unsigned cap;

    setup("ide-hd", "drive=d0");
    viv_dev_lock();
    cap = viv_pci_config_read(rig.board.pci, DEVFN, 0x34, 1);
    viv_pci_config_write(rig.board.pci, DEVFN, cap + 4, 0xfee00000, 4);
    viv_pci_config_write(rig.board.pci, DEVFN, cap + 12, 0x51, 2);
    viv_pci_config_write(rig.board.pci, DEVFN, cap + 2, 1, 2);
    viv_dev_unlock();
    for (unsigned i = 0; i < 3; i++) {
        header(4 + i, i == 2 ? 0x40 : 0, 2, DATA + 0x10000 * i, 2048);
        fis(4 + i, i == 2 ? 0x61 : 0x60, 20 * i, (uint16_t)((4 + i) << 3), 8, i == 2 ? 0xc0 : 0x40);
    }
    set_mem32(DATA + 0x20000, 0xabcdef01);
    wr(P_SACT, 7 << 4);
    wr(P_CI, 7 << 4);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(rd(P_SACT), ==, 7 << 4);
    g_assert_cmpuint(disk.n, ==, 3);
    header(9, 0, 1, DATA, 512);
    fis(9, 0xec, 0, 0, 0, 0); /* waits */
    wr(P_CI, 1 << 9);
    g_assert_cmphex(rd(P_CI), ==, 1 << 9);
    header(9, 0, 1, DATA + 0x80000, 512);
    complete();
    g_assert_cmphex(rd(P_SACT), ==, 0);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(mem32(DATA + 0x80000 + 2 * 76) & 0xffff, ==, 0x0102);
    check_data(DATA, 0, 4096);
    check_data(DATA + 0x10000, 20, 4096);
    g_assert_cmphex(viv_ld_le32(disk.data + 40 * 512), ==, 0xabcdef01);
    g_assert_cmpuint(disk.fua, ==, 1);
    g_assert_cmphex(mem32(FISES + 0x58), ==, 0x004040a1);
    g_assert_cmphex(rd(P_IS) & 8, ==, 8);
    g_assert_cmpuint(rig.msis, ==, 1); /* IS stayed set */
    g_assert_cmphex(rig.msi_data, ==, 0x51);
    wr(IS, 1); /* but the port still wants one: again */
    g_assert_cmpuint(rig.msis, ==, 2);
    teardown();
}

/* A queued command fails: the port halts, the log says which; then life goes on. */
static void test_queued_error(void)
{
    setup("ide-hd", "drive=d0");
    header(0, 0, 1, DATA, 4096);
    fis(0, 0x60, 0, 0 << 3, 8, 0x40);
    header(7, 0, 1, DATA, 4096);
    fis(7, 0x60, DISK_SIZE / 512 - 3, 7 << 3, 8, 0x40); /* beyond the end */
    wr(P_SACT, 0x81);
    wr(P_CI, 0x81);
    g_assert_cmphex(rd(P_TFD), ==, 0x1041);
    g_assert_cmphex(rd(P_IS) & 0x40000008, ==, 0x40000008);
    complete();
    g_assert_cmphex(rd(P_SACT), ==, 0x81); /* what is under way is no longer told */
    wr(P_CMD, FRE);
    g_assert_cmphex(rd(P_SACT), ==, 0);
    wr(P_CMD, FRE | ST);
    wr(P_IS, ~0u);
    header(0, 0, 1, DATA, 512);
    fis(0, 0x2f, 0x10, 1, 0, 0xe0);
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(mem32(DATA), ==, 0x10410007);
    g_assert_cmphex(mem32(DATA + 4), ==, 0x40000000 | (DISK_SIZE / 512 - 3));
    wr(P_CI, 1); /* read once: nothing failed since */
    g_assert_cmphex(mem32(DATA) & 0xff, ==, 0x80);
    fis(0, 0xb0, 0xc24f00, 1, 0xd5, 0xe0); /* SMART READ LOG: the directory */
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_TFD) & 0xff, ==, 0x50);
    g_assert_cmphex(mem32(DATA), ==, 1);
    fis(0, 0x2f, 0x11, 1, 0, 0xe0); /* no such log */
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_TFD), ==, 0x451);
    teardown();
}

/* ST falls, the HBA is reset, with requests in flight: CR and HR stay until they have ended, and nothing of them is told. */
static void test_stop(void)
{
    setup("ide-hd", "drive=d0");
    header(0, 0, 1, DATA, 4096);
    fis(0, 0x25, 0, 8, 0, 0x40);
    wr(P_CI, 1);
    wr(P_CMD, FRE);
    g_assert_cmphex(rd(P_CMD) & (CR | ST), ==, CR);
    g_assert_cmphex(rd(P_CI), ==, 0);
    complete();
    g_assert_cmphex(rd(P_CMD) & (CR | ST), ==, 0);
    g_assert_cmphex(rd(P_IS), ==, 0);
    wr(P_CMD, FRE | ST);
    for (unsigned i = 0; i < 2; i++) {
        header(i, 0, 1, DATA, 4096);
        fis(i, 0x60, 0, (uint16_t)(i << 3), 8, 0x40);
    }
    wr(P_SACT, 3);
    wr(P_CI, 3);
    wr(GHC, 0x80000003);
    g_assert_cmphex(rd(GHC) & 1, ==, 1);
    wr(P_SACT, 3); /* deaf */
    complete();
    g_assert_cmphex(rd(GHC), ==, 0x80000000);
    g_assert_cmphex(rd(P_SIG), ==, 0x101);
    g_assert_cmphex(rd(P_SACT), ==, 0);
    start();
    fis(0, 0x25, 0, 8, 0, 0x40);
    wr(P_CI, 1);
    wr(P_SCTL, 1); /* the link is reset meanwhile */
    wr(P_SCTL, 0);
    g_assert_cmphex(rd(P_TFD) & 0x80, ==, 0x80);
    complete();
    g_assert_cmphex(rd(P_TFD), ==, 0x150);
    g_assert_cmphex(rd(P_CI), ==, 0);
    wr(P_CI, 1); /* and all is as ever */
    complete();
    g_assert_cmphex(rd(P_CI), ==, 0);
    check_data(DATA, 0, 4096);
    teardown();
}

/* The same with a request that waits because the drive is drained: it is not sent, and told of, after the stop. */
static void test_stop_drained(void)
{
    struct viv_front *f;

    setup("ide-hd", "drive=d0");
    f = viv_front_next(NULL);
    viv_dev_lock();
    f->drained++;
    viv_dev_unlock();
    header(0, 0, 1, DATA, 4096);
    fis(0, 0x60, 0, 0, 8, 0x40);
    wr(P_SACT, 1);
    wr(P_CI, 1);
    g_assert_cmpuint(disk.n, ==, 0);
    disk.lifted = 0;
    wr(P_CMD, FRE);
    g_assert_cmphex(rd(P_CMD) & (CR | ST), ==, CR);
    g_assert_cmpuint(disk.lifted, ==, 1);
    viv_dev_lock();
    viv_front_resume(f);
    viv_dev_unlock();
    complete();
    g_assert_cmphex(rd(P_CMD) & (CR | ST), ==, 0);
    g_assert_cmphex(rd(P_IS), ==, 0);
    wr(P_CMD, FRE | ST);
    wr(P_SACT, 1);
    wr(P_CI, 1);
    complete();
    g_assert_cmphex(rd(P_SACT), ==, 0);
    check_data(DATA, 0, 4096);
    teardown();
}

static void control(unsigned slot, uint8_t v)
{
    uint8_t f[20] = {0x27, [15] = v};

    header(slot, 0x500, 0, 0, 0);
    g_assert_cmpint(viv_dma_write(rig.board.mem, TABLES + 0x1000 * slot, f, sizeof(f)), ==, 0);
    wr(P_CI, 1u << slot);
}

static void test_soft_reset(void)
{
    setup("ide-hd", "drive=d0");
    set_mem32(FISES + 0x40, 0);
    control(0, 4);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(mem32(FISES + 0x40), ==, 0);
    control(1, 0);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(mem32(FISES + 0x40), ==, 0x01500034);
    g_assert_cmphex(rd(P_TFD), ==, 0x150);
    header(0, 0, 0, 0, 0); /* EXECUTE DEVICE DIAGNOSTIC ends by itself */
    fis(0, 0x90, 0, 0, 0, 0);
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(rd(P_TFD), ==, 0x150);
    teardown();
}

static void test_hostile(void)
{
    setup("ide-hd", "drive=d0");
    wr(0x104, 0x10); /* a list where nothing is */
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_IS) & 1 << 29, ==, 1 << 29);
    wr(P_CMD, FRE);
    wr(P_IS, ~0u);
    wr(0x104, 0);
    wr(P_CMD, FRE | ST);
    header(0, 0, 1, DATA, 512);
    set_mem32(TABLES, 0x00008034); /* no command FIS */
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_IS) & 1 << 27, ==, 1 << 27);
    wr(P_CI, ~0u);
    g_assert_cmpuint(disk.n, ==, 0);
    wr(P_CMD, FRE);
    wr(P_CMD, FRE | ST);
    header(0, 0, 1, 0xd0000000, 4096); /* data nowhere */
    fis(0, 0x25, 0, 8, 0, 0x40);
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_TFD), ==, 0x451);
    wr(P_CMD, FRE);
    wr(P_CMD, FRE | ST);
    header(0, 0, 0, 0, 0); /* no data at all */
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_TFD), ==, 0x451);
    wr(P_CMD, FRE);
    wr(P_CMD, FRE | ST);
    fis(5, 0x60, 0, 6 << 3, 8, 0x40); /* tag and slot differ */
    header(5, 0, 1, DATA, 4096);
    wr(P_SACT, 1 << 5);
    wr(P_CI, 1 << 5);
    g_assert_cmphex(rd(P_TFD), ==, 0x451);
    wr(P_CMD, FRE);
    wr(P_CMD, FRE | ST);
    /* 65535 regions of two bytes: in turns */
    header(0, 0, 65535, DATA, 2);
    for (unsigned i = 0; i < 65535; i++) {
        set_mem64(0x200000 + 0x80 + 16 * i, DATA + 2 * i);
        set_mem64(0x200000 + 0x88 + 16 * i, 1ull << 32);
    }
    set_mem64(LIST + 8, 0x200000);
    fis(0, 0x25, 0, 256, 0, 0x40);
    viv_space_write(rig.board.mem, 0x200000, mem64(TABLES), 8);
    viv_space_write(rig.board.mem, 0x200008, mem64(TABLES + 8), 8);
    wr(P_CI, 1);
    for (unsigned i = 0; i < 200; i++)
        complete();
    g_assert_cmphex(rd(P_TFD), ==, 0x451); /* two bytes short of 128 KiB */
    g_assert_cmpuint(mem32(LIST + 4), <=, 131070);
    check_data(DATA, 0, 4096);
    teardown();
}

static void test_atapi(void)
{
    static const uint8_t packets[][16] = {{0x12, 0, 0, 0, 36}, {0x28, [5] = 3, [8] = 4}, {0xff}};

    setup("ide-cd", "drive=d0");
    g_assert_cmphex(rd(P_SIG), ==, 0xeb140101);
    for (unsigned i = 0; i < 3; i++) { /* INQUIRY by PIO, after the unit attention; READ(10) by DMA; nonsense */
        header(0, 0x20, 1, DATA, 8192);
        fis(0, 0xa0, 0x080000, 0, i == 1, 0); /* blocks of 2 KiB */
        g_assert_cmpint(viv_dma_write(rig.board.mem, TABLES + 0x40, packets[i], 16), ==, 0);
        wr(P_CI, 1);
        complete();
        if (i == 0) {
            g_assert_cmphex(mem32(DATA) & 0xffff, ==, 0x8005);
            g_assert_cmpuint(mem32(LIST + 4), ==, 36);
            header(0, 0x20, 0, 0, 0);
            set_mem64(TABLES + 0x40, 0); /* TEST UNIT READY takes the attention */
            wr(P_CI, 1);
            g_assert_cmphex(rd(P_TFD) & 0xff, ==, 0x41);
            wr(P_CMD, FRE);
            wr(P_CMD, FRE | ST);
        } else if (i == 1) {
            check_data(DATA, 12, 8192);
        } else {
            g_assert_cmphex(rd(P_TFD), ==, 0x5441);
        }
    }
    wr(P_CMD, FRE);
    wr(P_CMD, FRE | ST);
    header(0, 0, 0, 0, 0);
    fis(0, 0x08, 0, 0, 0, 0); /* DEVICE RESET */
    wr(P_CI, 1);
    g_assert_cmphex(rd(P_CI), ==, 0);
    g_assert_cmphex(rd(P_TFD), ==, 0x100);
    teardown();
}

/* Writes fail until the VM goes on: one of them queued thrice. Here, and where the state is loaded. */
static void test_hold(bool queued)
{
    size_t len, len2;
    g_autofree uint8_t *state = NULL, *again = NULL;

    setup("ide-hd", "drive=d0,werror=stop");
    for (unsigned i = 0; i < 3; i++) {
        set_mem32(DATA + 0x1000 * i, 0x1000 + i);
        header(i, 0x40, 1, DATA + 0x1000 * i, 512);
        fis(i, queued ? 0x61 : 0x35, 10 * i, queued ? (uint16_t)(i << 3) : 1, queued, 0x40);
    }
    disk.fail = EIO;
    wr(P_SACT, queued ? 7 : 0);
    wr(P_CI, queued ? 7 : 1);
    complete();
    g_assert_cmpint(rig.request, ==, VIV_VM_IO_ERROR);
    state = rig_save(&len);
    disk.fail = 0;
    for (int turn = 0; turn < 2; turn++) {
        if (turn) {
            memset(disk.data, 0, 65536);
            rig_load(state, len);
            again = rig_save(&len2);
            g_assert_cmpmem(state, len, again, len2);
        }
        viv_dev_lock();
        viv_dev_set_running_all(true);
        viv_dev_unlock();
        complete();
        for (unsigned i = 0; i < (queued ? 3 : 1); i++)
            g_assert_cmphex(viv_ld_le32(disk.data + 5120 * i), ==, 0x1000 + i);
        g_assert_cmphex(rd(P_SACT) | rd(P_CI), ==, 0);
    }
    teardown();
}

static void test_hold_plain(void)
{
    test_hold(false);
}

static void test_hold_queued(void)
{
    test_hold(true);
}

static void test_options(void)
{
    setup("ide-hd", "drive=d0");
    rig_refused("ide-cd", "bus=ide.1,unit=1", "unit 0 only");
    rig_refused("ide-cd", "bus=ide.6", "ide.0, ide.1, ide.2, ide.3, ide.4, ide.5");
    rig_refused("ide-cd", "bus=ide.0", "is taken");
    for (unsigned i = 1; i < 6; i++)
        rig_add("ide-cd", "");
    rig_refused("ide-cd", "", "taken");
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ahci/link", test_link);
    g_test_add_func("/ahci/pio", test_pio);
    g_test_add_func("/ahci/dma", test_dma);
    g_test_add_func("/ahci/queued", test_queued);
    g_test_add_func("/ahci/queued-error", test_queued_error);
    g_test_add_func("/ahci/stop", test_stop);
    g_test_add_func("/ahci/stop-drained", test_stop_drained);
    g_test_add_func("/ahci/soft-reset", test_soft_reset);
    g_test_add_func("/ahci/hostile", test_hostile);
    g_test_add_func("/ahci/atapi", test_atapi);
    g_test_add_func("/ahci/hold", test_hold_plain);
    g_test_add_func("/ahci/hold-queued", test_hold_queued);
    g_test_add_func("/ahci/options", test_options);
    return g_test_run();
}
