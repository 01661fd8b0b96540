/* The diskette controller by its registers, against a disk in memory of 720 KiB: commands, DMA and FIFO, write protection, media
 * that change, resets with I/O in flight, failures that are held. */
#include "dev/floppy/fdc.h"
#include "bus/bootorder.h"
#include "dev/floppy/floppy.h"
#include "dev/storage/disk_test.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <errno.h>

enum { DOR = 0x3f2, MSR = 0x3f4, FIFO = 0x3f5, CHANGE = 0x3f7 };
enum { READ = 0xe6, WRITE = 0xc5, SIZE = 720 * 1024, AT = 0x20000 };

extern const struct viv_dev_class viv_dev_fdc, viv_dev_floppy, viv_dev_i8237;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i8237, &viv_dev_fdc, &viv_dev_floppy, NULL};

static struct fdc *fdc;
static struct fdc_drive *drive;
static uint8_t result[16];

/* ---- the driver's side ---- */

static void command(unsigned n, const uint8_t *bytes)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(in8(MSR) & 0xc0, ==, 0x80);
        out8(FIFO, bytes[i]);
    }
}
#define COMMAND(...) command(sizeof((uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

static unsigned results(void)
{
    unsigned n = 0;

    while ((in8(MSR) & 0xf0) == 0xd0)
        result[n++] = in8(FIFO);
    return n;
}

static void expect(uint8_t st0, uint8_t st1, uint8_t st2)
{
    g_assert_cmpint(rig.line[6], ==, 1);
    g_assert_cmpuint(results(), ==, 7);
    g_assert_cmpint(rig.line[6], ==, 0);
    g_assert_cmphex(result[0], ==, st0);
    g_assert_cmphex(result[1], ==, st1);
    g_assert_cmphex(result[2], ==, st2);
}

static void expect_chs(uint8_t c, uint8_t h, uint8_t r)
{
    g_assert_cmpuint(result[3], ==, c);
    g_assert_cmpuint(result[4], ==, h);
    g_assert_cmpuint(result[5], ==, r);
}

static void sense(uint8_t st0, uint8_t pcn)
{
    COMMAND(0x08);
    g_assert_cmpuint(results(), ==, 2);
    g_assert_cmphex(result[0], ==, st0);
    g_assert_cmpuint(result[1], ==, pcn);
}

static void seek(uint8_t track)
{
    COMMAND(0x0f, 0, track);
    g_assert_cmpint(rig.line[6], ==, 1);
    sense(0x20, track);
    g_assert_cmpint(rig.line[6], ==, 0);
}

static void dma(bool to_memory, unsigned count)
{
    out8(0x0a, 6);
    out8(0x0c, 0);
    out8(0x0b, to_memory ? 0x46 : 0x4a);
    out8(0x04, (uint8_t)AT);
    out8(0x04, (uint8_t)(AT >> 8));
    out8(0x81, AT >> 16);
    out8(0x05, (uint8_t)(count - 1));
    out8(0x05, (uint8_t)((count - 1) >> 8));
    out8(0x0a, 2);
}

static void make(const char *opts)
{
    rig_init();
    rig_add_ram(1u << 20);
    disk.n = disk.fail = disk.fua = 0;
    disk.ro = false;
    disk.cut = DISK_SIZE - SIZE;
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i * 7 + i / 251);
    viv_drive_add("d0", &disk, NULL, NULL);
    rig_add("i8237", NULL);
    fdc = (struct fdc *)rig_add("isa-fdc", NULL);
    drive = (struct fdc_drive *)rig_add("floppy", opts ? opts : "drive=d0");
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    out8(0xd6, 0xc0);
    out8(0xd4, 0);
}

/* Out of reset, 250 kbit/s, recalibrated. */
static void start(void)
{
    out8(DOR, 0x1c);
    for (unsigned i = 0; i < 4; i++)
        sense((uint8_t)(0xc0 | i), 0);
    out8(CHANGE, 2);
    COMMAND(0x03, 0xdf, 0x02);
    COMMAND(0x07, 0);
    sense(0x20, 0);
}

static void unmake(void)
{
    complete();
    rig_fini();
    viv_drive_free_all(NULL);
}

static void check_memory(uint32_t offset, unsigned len)
{
    g_autofree uint8_t *got = g_malloc(len);

    g_assert_cmpint(viv_dma_read(rig.board.mem, AT, got, len), ==, 0);
    g_assert_cmpmem(got, len, disk.data + offset, len);
}

static uint32_t lba(unsigned c, unsigned h, unsigned r)
{
    return ((c * 2 + h) * 9 + r - 1) * 512;
}

/* ---- tests ---- */

static void test_registers(void)
{
    make(NULL);
    g_assert_cmphex(in8(MSR), ==, 0); /* in reset */
    out8(FIFO, 0x08);
    g_assert_cmphex(in8(MSR), ==, 0);
    out8(DOR, 0x0c);
    g_assert_cmpint(rig.line[6], ==, 1);
    g_assert_cmphex(in8(MSR), ==, 0x80);
    for (unsigned i = 0; i < 4; i++)
        sense((uint8_t)(0xc0 | i), 0);
    g_assert_cmpint(rig.line[6], ==, 0);
    COMMAND(0x08); /* nothing to tell */
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0], ==, 0x80);
    COMMAND(0x1f); /* no such command */
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0], ==, 0x80);
    COMMAND(0x10);
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0], ==, 0x90);
    COMMAND(0x18);
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0], ==, 0x41);
    out8(DOR, 0x04); /* gate closed: the pin does not reach the line */
    COMMAND(0x07, 0);
    g_assert_cmpint(rig.line[6], ==, 0);
    out8(DOR, 0x0c);
    g_assert_cmpint(rig.line[6], ==, 1);
    sense(0x20, 0);
    COMMAND(0x07, 1); /* no drive there */
    sense(0x71, 0);
    out8(MSR, 0x82); /* DSR: reset, 250 kbit/s */
    g_assert_cmpint(rig.line[6], ==, 1);
    sense(0xc0, 0);
    unmake();
}

static void test_set_up(void)
{
    make(NULL);
    start();
    COMMAND(0x13, 0, 0x57, 5); /* CONFIGURE: implied seeks, threshold */
    COMMAND(0x12, 0x84);       /* drive 0 is perpendicular */
    COMMAND(0x94);
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0], ==, 0x10);
    COMMAND(0x0e);
    g_assert_cmpuint(results(), ==, 10);
    g_assert_cmphex(result[4], ==, 0xdf);
    g_assert_cmphex(result[5], ==, 0x02);
    g_assert_cmphex(result[7], ==, 0x84); /* LOCK, D0 */
    g_assert_cmphex(result[8], ==, 0x57);
    g_assert_cmphex(result[9], ==, 5);
    out8(DOR, 0x18);
    out8(DOR, 0x1c);
    COMMAND(0x0e);
    g_assert_cmpuint(results(), ==, 10);
    g_assert_cmphex(result[8], ==, 0x57); /* locked */
    COMMAND(0x14);
    g_assert_cmpuint(results(), ==, 1);
    out8(DOR, 0x18);
    out8(DOR, 0x1c);
    COMMAND(0x0e);
    g_assert_cmpuint(results(), ==, 10);
    g_assert_cmphex(result[8], ==, 0x20);
    COMMAND(0x8e, 0x05, 0x23, 0x80);
    g_assert_cmpuint(results(), ==, 4);
    g_assert_cmphex(result[0], ==, 0x05);
    g_assert_cmphex(result[1], ==, 0x03);
    COMMAND(0x8e, 0x06, 0xc0);
    g_assert_cmphex(in8(MSR), ==, 0x80);
    COMMAND(0x17, 0x02);
    g_assert_cmpuint(results(), ==, 1);
    COMMAND(0x33, 0x20);
    COMMAND(0x2e);
    g_assert_cmpuint(results(), ==, 16);
    g_assert_cmphex(result[1], ==, 0x20);
    g_assert_cmphex(result[12], ==, 0x02);
    COMMAND(0x4e, 0, 0, 7, 0, 0, 0, 0x11, 0x22, 9, 0x80, 0x30, 1, 0, 0, 0, 0);
    COMMAND(0x0e);
    g_assert_cmpuint(results(), ==, 10);
    g_assert_cmphex(result[0], ==, 7);
    g_assert_cmphex(result[4], ==, 0x11);
    g_assert_cmphex(result[7], ==, 0x80);
    unmake();
}

static void test_seek(void)
{
    make(NULL);
    start();
    g_assert_cmphex(in8(CHANGE), ==, 0x80); /* no step yet since power-on */
    seek(10);
    g_assert_cmphex(in8(CHANGE), ==, 0);
    COMMAND(0x04, 0);
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0], ==, 0x28);
    COMMAND(0xcf, 0, 5); /* 5 inwards */
    sense(0x20, 15);
    COMMAND(0x8f, 4, 3); /* 3 back, head 1 */
    sense(0x24, 12);
    COMMAND(0x4a, 4);
    expect(0x04, 0, 0);
    expect_chs(12, 1, 1);
    COMMAND(0x07, 0);
    sense(0x20, 0);
    COMMAND(0x04, 4);
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0], ==, 0x3c); /* track 0 */
    unmake();
}

static void test_read(void)
{
    make(NULL);
    start();
    seek(3);
    dma(true, 3 * 512);
    COMMAND(READ, 0, 3, 0, 2, 2, 9, 0x1b, 0xff);
    g_assert_cmphex(in8(MSR), ==, 0x10); /* on its way */
    complete();
    expect(0, 0, 0);
    expect_chs(3, 0, 5);
    check_memory(lba(3, 0, 2), 3 * 512);
    dma(true, 12 * 512); /* on to the other side */
    COMMAND(READ, 0, 3, 0, 7, 2, 9, 0x1b, 0xff);
    complete();
    expect(0x04, 0, 0);
    expect_chs(4, 0, 1); /* side 1's last one was the last */
    check_memory(lba(3, 0, 7), 12 * 512);
    dma(true, 20 * 512); /* more than there is */
    COMMAND(0x46, 0, 3, 0, 8, 2, 9, 0x1b, 0xff);
    complete();
    expect(0x40, 0x80, 0);
    expect_chs(4, 0, 1);
    dma(true, 100); /* ends within a sector */
    COMMAND(READ, 0, 3, 0, 1, 2, 9, 0x1b, 0xff);
    complete();
    expect(0, 0, 0);
    expect_chs(3, 0, 2);
    check_memory(lba(3, 0, 1), 100);
    /* the channel is masked when the data comes, and lets it through later */
    out8(0x0a, 6);
    COMMAND(READ, 0, 3, 0, 1, 2, 1, 0x1b, 0xff);
    complete();
    g_assert_cmphex(in8(MSR), ==, 0x10);
    g_assert_cmphex(in8(0x08) & 0x40, ==, 0x40);
    dma(true, 512);
    expect(0, 0, 0);
    check_memory(lba(3, 0, 1), 512);
    COMMAND(0x62, 0, 3, 0, 5, 2, 4, 0x1b, 0xff); /* READ TRACK begins at sector 1 */
    dma(true, 4 * 512);
    complete();
    expect(0, 0, 0);
    check_memory(lba(3, 0, 1), 4 * 512);
    unmake();
}

static void test_refusals(void)
{
    static const struct {
        uint8_t cmd, unit, c, h, r, n, st0, st1, st2;
    } rows[] = {
        {READ, 0, 4, 0, 1, 2, 0x40, 0x04, 0x10}, /* another cylinder */
        {READ, 0, 3, 1, 1, 2, 0x40, 0x04, 0},    /* the id says side 0 */
        {READ, 0, 3, 0, 10, 2, 0x40, 0x04, 0},   /* nine sectors */
        {READ, 0, 3, 0, 0, 2, 0x40, 0x04, 0},
        {READ, 0, 3, 0, 1, 3, 0x40, 0x04, 0},    /* 1024 bytes */
        {0xa6, 0, 3, 0, 1, 2, 0x40, 0x01, 0},    /* FM */
        {READ, 1, 3, 0, 1, 2, 0x49, 0, 0},       /* no such drive */
    };

    make(NULL);
    start();
    seek(3);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        COMMAND(rows[i].cmd, rows[i].unit, rows[i].c, rows[i].h, rows[i].r, rows[i].n, 9, 0x1b, 0xff);
        expect(rows[i].st0, rows[i].st1, rows[i].st2);
    }
    out8(CHANGE, 0); /* 500 kbit/s: nothing can be read from this one */
    COMMAND(0x4a, 0);
    expect(0x40, 0x01, 0);
    out8(CHANGE, 2);
    COMMAND(0x13, 0, 0x60, 0); /* with implied seeks another cylinder is none */
    dma(true, 512);
    COMMAND(READ, 0, 50, 0, 1, 2, 9, 0x1b, 0xff);
    complete();
    expect(0, 0, 0);
    check_memory(lba(50, 0, 1), 512);
    unmake();
}

static void test_write(void)
{
    static uint8_t pattern[2048];

    make(NULL);
    start();
    seek(7);
    for (unsigned i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i ^ 0x5a);
    viv_dma_write(rig.board.mem, AT, pattern, sizeof(pattern));
    dma(false, 1124); /* two sectors and 100 bytes: the rest is zeros */
    COMMAND(WRITE, 4, 7, 1, 4, 2, 9, 0x1b, 0xff);
    complete();
    expect(0x04, 0, 0);
    expect_chs(7, 1, 7);
    g_assert_cmpmem(disk.data + lba(7, 1, 4), 1124, pattern, 1124);
    g_assert_cmphex(disk.data[lba(7, 1, 4) + 1124], ==, 0);
    g_assert_cmphex(disk.data[lba(7, 1, 7) - 1], ==, 0);
    g_assert_cmphex(disk.data[lba(7, 1, 7)], ==, (uint8_t)(lba(7, 1, 7) * 7 + lba(7, 1, 7) / 251));
    dma(false, 1024); /* both sides */
    COMMAND(WRITE, 0, 7, 0, 9, 2, 9, 0x1b, 0xff);
    complete();
    expect(0x04, 0, 0);
    g_assert_cmpmem(disk.data + lba(7, 0, 9), 1024, pattern, 1024);
    g_assert_cmpuint(disk.fua, ==, 3); /* each is on the diskette when it has ended */
    COMMAND(0x56, 0, 7, 0, 1, 2, 9, 0x1b, 0xff); /* VERIFY */
    complete();
    expect(0, 0, 0);
    COMMAND(0xd6, 0x80, 7, 0, 8, 2, 9, 0x1b, 4); /* four sectors from the eighth on */
    complete();
    expect(0x04, 0, 0);
    expect_chs(7, 1, 3);
    unmake();
}

static void test_format(void)
{
    uint8_t ids[36];

    make(NULL);
    start();
    seek(20);
    for (unsigned i = 0; i < 9; i++)
        memcpy(ids + 4 * i, (uint8_t[]){20, 1, (uint8_t)((i * 2) % 9 + 1), 2}, 4); /* interleaved */
    viv_dma_write(rig.board.mem, AT, ids, sizeof(ids));
    dma(false, sizeof(ids));
    COMMAND(0x4d, 4, 2, 9, 0x50, 0xf6);
    complete();
    expect(0x04, 0, 0);
    for (unsigned i = 0; i < 9 * 512; i++)
        g_assert_cmphex(disk.data[lba(20, 1, 1) + i], ==, 0xf6);
    g_assert_cmphex(disk.data[lba(20, 1, 1) - 1], !=, 0xf6);
    ids[2] = 12; /* a sector that the image has no place for */
    viv_dma_write(rig.board.mem, AT, ids, sizeof(ids));
    dma(false, sizeof(ids));
    COMMAND(0x4d, 4, 2, 9, 0x50, 0xf6);
    expect(0x44, 0x04, 0);
    unmake();
}

static void test_scan(void)
{
    uint8_t sector[512];

    make(NULL);
    start();
    memcpy(sector, disk.data + lba(0, 0, 4), 512);
    sector[17] = 0xff; /* goes with anything */
    viv_dma_write(rig.board.mem, AT, sector, 512);
    viv_dma_write(rig.board.mem, AT + 512, sector, 512);
    viv_dma_write(rig.board.mem, AT + 1024, sector, 512);
    dma(false, 3 * 512);
    COMMAND(0x51, 0, 0, 0, 3, 2, 9, 0x1b, 1);
    for (unsigned i = 0; i < 2; i++)
        complete();
    expect(0, 0, 0x08);
    expect_chs(0, 0, 4);
    dma(false, 512);
    COMMAND(0x51, 0, 0, 0, 5, 2, 5, 0x1b, 1);
    complete();
    expect(0, 0, 0x04);
    memset(sector, 0, sizeof(sector));
    viv_dma_write(rig.board.mem, AT, sector, 512);
    dma(false, 512);
    COMMAND(0x5d, 0, 0, 0, 5, 2, 5, 0x1b, 1); /* what lies there is higher */
    complete();
    expect(0, 0, 0);
    unmake();
}

static void test_deleted(void)
{
    make(NULL);
    start();
    dma(true, 4 * 512);
    COMMAND(0xcc, 0, 0, 0, 2, 2, 9, 0x1b, 0xff);
    complete();
    expect(0, 0, 0x40);
    expect_chs(0, 0, 2);
    check_memory(lba(0, 0, 2), 512);
    COMMAND(0xec, 0, 0, 0, 2, 2, 9, 0x1b, 0xff);
    expect(0, 0, 0x40);
    unmake();
}

static void test_fifo(void)
{
    make(NULL);
    start();
    COMMAND(0x03, 0xdf, 0x03); /* no DMA */
    COMMAND(READ, 0, 0, 0, 9, 2, 9, 0x1b, 0xff);
    g_assert_cmphex(in8(MSR), ==, 0x30);
    for (unsigned side = 0; side < 2; side++) {
        complete();
        g_assert_cmpint(rig.line[6], ==, 1);
        for (unsigned i = 0; i < (side ? 9 : 1) * 512; i++) {
            g_assert_cmphex(in8(MSR), ==, 0xf0);
            g_assert_cmphex(in8(FIFO), ==, disk.data[lba(0, side, side ? 1 : 9) + i]);
        }
    }
    expect(0x44, 0x80, 0); /* nobody says stop but the end of the cylinder */
    COMMAND(0x45, 0, 0, 0, 9, 2, 9, 0x1b, 0xff);
    for (unsigned i = 0; i < 512; i++) {
        g_assert_cmphex(in8(MSR), ==, 0xb0);
        out8(FIFO, (uint8_t)i);
    }
    complete();
    expect(0x40, 0x80, 0);
    g_assert_cmphex(disk.data[lba(0, 0, 9) + 300], ==, 300 & 0xff);
    unmake();
}

static void test_protected(void)
{
    make("drive=d0");
    unmake();
    disk.ro = true;
    rig_init();
    rig_add_ram(1u << 20);
    viv_drive_add("d0", &disk, NULL, NULL);
    rig_add("i8237", NULL);
    rig_add("isa-fdc", NULL);
    rig_add("floppy", "drive=d0");
    start();
    COMMAND(0x04, 0);
    g_assert_cmpuint(results(), ==, 1);
    g_assert_cmphex(result[0] & 0x40, ==, 0x40);
    COMMAND(WRITE, 0, 0, 0, 1, 2, 9, 0x1b, 0xff);
    expect(0x40, 0x02, 0);
    COMMAND(0x4d, 0, 2, 9, 0x50, 0xf6);
    expect(0x40, 0x02, 0);
    unmake();
}

static void test_media(void)
{
    struct viv_blk *b = &disk;

    make(NULL);
    start();
    seek(1);
    g_assert_cmphex(in8(CHANGE), ==, 0);
    viv_dev_lock();
    g_assert_cmpint(viv_front_eject(&drive->front, false, NULL), ==, 0);
    viv_dev_unlock();
    g_assert_cmphex(in8(CHANGE), ==, 0x80);
    seek(0); /* no diskette: stays */
    g_assert_cmphex(in8(CHANGE), ==, 0x80);
    COMMAND(0x4a, 0);
    expect(0x40, 0x01, 0);
    viv_dev_lock();
    g_assert_cmpint(viv_front_insert(&drive->front, b, NULL), ==, 0);
    g_assert_cmpint(viv_front_close_tray(&drive->front, NULL), ==, 0);
    viv_dev_unlock();
    g_assert_cmphex(in8(CHANGE), ==, 0x80);
    seek(1);
    g_assert_cmphex(in8(CHANGE), ==, 0);
    COMMAND(0x4a, 0);
    expect(0, 0, 0);
    unmake();
}

/* A reset does not wait, and what comes then does not meet the old request. */
static void test_reset_in_flight(void)
{
    make(NULL);
    start();
    dma(true, 512);
    COMMAND(READ, 0, 0, 0, 1, 2, 9, 0x1b, 0xff);
    out8(DOR, 0x18);
    out8(DOR, 0x1c);
    g_assert_cmphex(in8(MSR), ==, 0x80);
    dma(false, 512);
    COMMAND(WRITE, 0, 0, 0, 2, 2, 9, 0x1b, 0xff); /* waits for the buffer */
    g_assert_cmphex(in8(MSR), ==, 0x10);
    g_assert_cmpuint(disk.n, ==, 1);
    complete();
    complete();
    expect(0, 0, 0);
    g_assert_cmphex(disk.data[lba(0, 0, 2)], ==, 0);
    unmake();
}

static void test_failures(void)
{
    struct viv_blk *b = &disk;

    make("drive=d0,werror=stop");
    start();
    disk.fail = EIO;
    dma(true, 512);
    COMMAND(READ, 0, 0, 0, 1, 2, 9, 0x1b, 0xff);
    complete();
    expect(0x40, 0x20, 0x20);
    dma(false, 512);
    COMMAND(WRITE, 0, 0, 0, 1, 2, 9, 0x1b, 0xff);
    complete();
    g_assert_cmpuint(rig.requests, ==, 1);
    g_assert_cmphex(in8(MSR), ==, 0x10);
    b->fail = 0;
    viv_dev_lock();
    viv_dev_set_running_all(false);
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    complete();
    expect(0, 0, 0);
    g_assert_cmphex(disk.data[1], ==, 0);
    unmake();
}

/* A command that waits for its channel is in the saved state, with its data. */
static void test_state(void)
{
    g_autofree uint8_t *state = NULL;
    size_t len;

    make(NULL);
    start();
    seek(9);
    COMMAND(READ, 0, 9, 0, 1, 2, 9, 0x1b, 0xff);
    complete();
    state = rig_save(&len);
    out8(DOR, 0);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    rig_load(state, len);
    out8(0xd4, 0);
    dma(true, 512);
    expect(0, 0, 0);
    check_memory(lba(9, 0, 1), 512);
    unmake();
}

static bool loads(const uint8_t *state, size_t len)
{
    struct viv_state_reader *r = viv_state_reader_new(state, len);
    struct viv_err err = VIV_ERR_INIT;
    int rc;

    viv_dev_lock();
    viv_dev_reset_all();
    rc = viv_dev_load_all(r, &err);
    viv_dev_unlock();
    viv_state_reader_free(r);
    viv_err_clear(&err);
    return rc == 0;
}

/* States that no guest can make. A command of unknown length (DRIVE SPECIFICATION) is one that can be. */
static void test_bad_state(void)
{
    static const struct {
        uint8_t cmd, cmd_len, sense_reset, seek_done;
        bool good;
    } cases[] = {
        {0x8e, 5, 4, 15, true}, {0x0f, 2, 0, 0, true}, {0x0f, 3, 0, 0, false}, {0x8e, 6, 0, 0, false},
        {0x8e, 16, 0, 0, false}, {0x08, 1, 0, 0, false}, {0, 0, 5, 0, false}, {0, 0, 0, 16, false},
    };

    make(NULL);
    start();
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree uint8_t *state = NULL;
        size_t len;

        memset(fdc->cmd, 0, sizeof(fdc->cmd));
        fdc->phase = FDC_COMMAND;
        fdc->cmd[0] = cases[i].cmd;
        fdc->cmd_len = cases[i].cmd_len;
        fdc->sense_reset = cases[i].sense_reset;
        fdc->seek_done = cases[i].seek_done;
        state = rig_save(&len);
        g_assert_true(loads(state, len) == cases[i].good);
    }
    unmake();
}

/* The RESET pin: its line falls. */
static void test_reset_line(void)
{
    make(NULL);
    out8(DOR, 0x0c);
    g_assert_cmpint(rig.line[6], ==, 1);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_cmpint(rig.line[6], ==, 0);
    unmake();
}

static void test_formats(void)
{
    static const struct {
        enum floppy_type drive;
        uint32_t kib;
        uint8_t sectors, tracks, heads, rate;
        bool exact;
    } rows[] = {
        {FLOPPY_144, 1440, 18, 80, 2, FLOPPY_500K, true}, {FLOPPY_288, 1440, 18, 80, 2, FLOPPY_500K, true},
        {FLOPPY_288, 2880, 36, 80, 2, FLOPPY_1M, true},   {FLOPPY_144, 2880, 18, 80, 2, FLOPPY_500K, false},
        {FLOPPY_144, 720, 9, 80, 2, FLOPPY_250K, true},   {FLOPPY_120, 720, 9, 80, 2, FLOPPY_300K, true},
        {FLOPPY_120, 360, 9, 40, 2, FLOPPY_300K, true},   {FLOPPY_120, 1200, 15, 80, 2, FLOPPY_500K, true},
        {FLOPPY_288, 50, 36, 80, 2, FLOPPY_1M, false},    {FLOPPY_144, 1680, 21, 80, 2, FLOPPY_500K, true},
    };
    bool exact;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        const struct floppy_format *f = floppy_format_find(rows[i].drive, rows[i].kib * 1024, &exact);

        g_assert_nonnull(f);
        g_assert_cmpuint(f->sectors, ==, rows[i].sectors);
        g_assert_cmpuint(f->tracks, ==, rows[i].tracks);
        g_assert_cmpuint(f->heads, ==, rows[i].heads);
        g_assert_cmpuint(f->rate, ==, rows[i].rate);
        g_assert_cmpint(exact, ==, rows[i].exact);
    }
    g_assert_null(floppy_format_find(FLOPPY_NONE, 1440 * 1024, &exact));
    g_assert_cmpint(floppy_type_of_size(1440 * 1024), ==, FLOPPY_144);
    g_assert_cmpint(floppy_type_of_size(720 * 1024), ==, FLOPPY_144);
    g_assert_cmpint(floppy_type_of_size(2880 * 1024), ==, FLOPPY_288);
    g_assert_cmpint(floppy_type_of_size(360 * 1024), ==, FLOPPY_120);
    g_assert_cmpint(floppy_type_of_size(1000), ==, FLOPPY_AUTO);
}

/* What the board and firmware are told; what cannot be is refused. */
static void test_drives(void)
{
    struct viv_floppy_info info;
    g_autofree char *order = NULL;

    make("drive=d0,bootindex=2");
    rig_add("floppy", "drive-type=120");
    info = viv_floppy_info();
    g_assert_true(info.present);
    g_assert_cmpint(info.type[0], ==, FLOPPY_144);
    g_assert_cmpint(info.type[1], ==, FLOPPY_120);
    g_assert_cmpuint(info.sectors[1], ==, 15);
    order = viv_bootorder_text(false);
    g_assert_nonnull(strstr(order, "fdc@03f0/floppy@0"));
    rig_refused("floppy", NULL, "drives 0 and 1");
    rig_refused("floppy", "bus=floppy-bus.7", "no bus");
    rig_refused("isa-fdc", NULL, "something else");
    rig_refused("isa-fdc", "iobase=0x370", "DMA channel");
    unmake();
    rig_init();
    rig_refused("floppy", NULL, "no diskette controller");
    rig_refused("isa-fdc", NULL, "ISA DMA");
    rig_fini();
}

/* Half a diskette reads as zeros behind its end, and takes no writes there. */
static void test_short_image(void)
{
    make("drive=d0,drive-type=120"); /* 720 KiB are a format of this drive too, at another rate */
    start();
    out8(CHANGE, 1);
    COMMAND(0x4a, 0);
    expect(0, 0, 0);
    unmake();
    disk.cut = DISK_SIZE - (100 * 512 + 10);
    rig_init();
    rig_add_ram(1u << 20);
    viv_drive_add("d0", &disk, NULL, NULL);
    rig_add("i8237", NULL);
    rig_add("isa-fdc", "fdtypeA=144");
    rig_add("floppy", "drive=d0");
    out8(0xd6, 0xc0);
    out8(0xd4, 0);
    start();
    out8(CHANGE, 0);
    seek(2); /* sectors 72 to 107 */
    set_mem32(AT + 508, 0x55555555);
    set_mem32(AT + 8, 0x55555555);
    dma(true, 1024);
    COMMAND(READ, 4, 2, 1, 11, 2, 18, 0x1b, 0xff); /* sectors 100 and 101 */
    complete();
    expect(0x04, 0, 0);
    g_assert_cmphex(mem32(AT + 4), ==, disk.data[100 * 512 + 4] | disk.data[100 * 512 + 5] << 8 | disk.data[100 * 512 + 6] << 16 |
                                           (uint32_t)disk.data[100 * 512 + 7] << 24);
    g_assert_cmphex(mem32(AT + 508), ==, 0);
    seek(9);
    dma(true, 512);
    COMMAND(READ, 4, 9, 1, 1, 2, 18, 0x1b, 0xff);
    expect(0x04, 0, 0);
    g_assert_cmphex(mem32(AT), ==, 0);
    dma(false, 512);
    COMMAND(WRITE, 4, 9, 1, 1, 2, 18, 0x1b, 0xff);
    expect(0x44, 0x04, 0);
    unmake();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/floppy/registers", test_registers);
    g_test_add_func("/floppy/set-up", test_set_up);
    g_test_add_func("/floppy/seek", test_seek);
    g_test_add_func("/floppy/read", test_read);
    g_test_add_func("/floppy/refusals", test_refusals);
    g_test_add_func("/floppy/write", test_write);
    g_test_add_func("/floppy/format", test_format);
    g_test_add_func("/floppy/scan", test_scan);
    g_test_add_func("/floppy/deleted", test_deleted);
    g_test_add_func("/floppy/fifo", test_fifo);
    g_test_add_func("/floppy/protected", test_protected);
    g_test_add_func("/floppy/media", test_media);
    g_test_add_func("/floppy/reset-in-flight", test_reset_in_flight);
    g_test_add_func("/floppy/failures", test_failures);
    g_test_add_func("/floppy/state", test_state);
    g_test_add_func("/floppy/bad-state", test_bad_state);
    g_test_add_func("/floppy/reset-line", test_reset_line);
    g_test_add_func("/floppy/formats", test_formats);
    g_test_add_func("/floppy/drives", test_drives);
    g_test_add_func("/floppy/short-image", test_short_image);
    return g_test_run();
}
