/* usb-storage and usb-hub: the transport's phases, its thirteen cases, errors, resets, saved state; ports behind a hub. */
#include "bus/bootorder.h"
#include "dev/storage/disk_test.h"
#include "dev/storage/front.h"
#include "dev/usb/usb_test.h"

#include <errno.h>

extern const struct viv_dev_class viv_dev_usb_storage, viv_dev_usb_hub, viv_dev_usb_kbd;
const struct viv_dev_class *const rig_classes[] = {&test_hc_class, &viv_dev_usb_storage, &viv_dev_usb_hub, &viv_dev_usb_kbd, NULL};

#define CBW 0x1800
#define CSW 0x1900
#define BIG 0x10000 /* data */

static struct viv_usb_dev *dev;

static void begin(const char *opts)
{
    usb_begin(false);
    memset(&disk, 0, sizeof(disk));
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i * 7 + i / 251);
    viv_drive_add("d0", &disk, NULL, NULL);
    dev = (struct viv_usb_dev *)rig_add("usb-storage", opts ? opts : "drive=d0");
    usb_configure(dev, 3);
}

static void end(void)
{
    complete();
    rig_fini();
    viv_drive_free_all(NULL);
}

static int cbw(const uint8_t *cdb, unsigned len, uint32_t expects, bool in)
{
    uint8_t w[31] = {'U', 'S', 'B', 'C', 0x44, 0x33, 0x22, 0x11};

    viv_st_le32(w + 8, expects);
    w[12] = in ? 0x80 : 0;
    w[14] = (uint8_t)len;
    memcpy(w + 15, cdb, len);
    viv_dma_write(rig.board.mem, CBW, w, 31);
    return usb_packet(dev, VIV_USB_OUT, 2, CBW, 31);
}

static int in(uint64_t at, uint32_t len)
{
    return usb_packet(dev, VIV_USB_IN, 1, at, len);
}

static void expect_csw(uint8_t status, uint32_t residue)
{
    complete();
    g_assert_cmpint(in(CSW, 13), ==, 13);
    g_assert_cmphex(mem32(CSW), ==, 0x53425355);
    g_assert_cmphex(mem32(CSW + 4), ==, 0x11223344);
    g_assert_cmpuint(mem32(CSW + 8), ==, residue);
    g_assert_cmpuint(viv_space_read(rig.board.mem, CSW + 12, 1), ==, status);
}

static void ready(void)
{
    static const uint8_t tur[6];

    g_assert_cmpint(cbw(tur, 6, 0, false), ==, 31);
    complete();
    in(CSW, 13); /* whatever it says: attention */
}

static void rw(uint8_t *cdb, bool write, uint32_t lba, uint16_t blocks)
{
    memset(cdb, 0, 10);
    cdb[0] = write ? 0x2a : 0x28;
    viv_st_be32(cdb + 2, lba);
    viv_st_be16(cdb + 7, blocks);
}

/* A part of the data phase: what was moved before a NAK counts. */
static uint32_t move(enum viv_usb_pid pid, uint64_t at, uint32_t len, enum viv_usb_status *status)
{
    struct viv_usb_piece piece = {at, len};
    struct viv_usb_packet k = {.pid = pid, .endpoint = pid == VIV_USB_IN ? 1 : 2, .pieces = &piece, .count = 1, .length = len};

    viv_dev_lock();
    viv_usb_handle(dev, &k);
    viv_dev_unlock();
    *status = k.status;
    return (uint32_t)k.actual;
}

/* As a controller does it: on behind what was moved, when the device wakes it. */
static uint32_t all(enum viv_usb_pid pid, uint32_t len)
{
    enum viv_usb_status st = VIV_USB_NAK;
    uint32_t did = 0;

    for (unsigned i = 0; i < 1000 && did < len && st == VIV_USB_NAK; i++) {
        did += move(pid, BIG + did, len - did, &st);
        usb.wakeups = 0;
        complete();
        g_assert_true(st != VIV_USB_NAK || usb.wakeups);
    }
    return did;
}

static void test_inquiry(void)
{
    static const uint8_t inquiry[6] = {0x12, 0, 0, 0, 36, 0}, sense[6] = {0x03, 0, 0, 0, 18, 0}, tur[6];

    begin(NULL);
    g_assert_cmpint(usb_control(dev, 0xa1fe, 0, 0, 1), ==, 1);
    g_assert_cmpint(usb_byte(0), ==, 0);
    g_assert_cmpint(in(CSW, 13), ==, -VIV_USB_NAK);
    g_assert_cmpint(cbw(inquiry, 6, 36, true), ==, 31);
    g_assert_cmpint(in(BIG, 36), ==, 36);
    g_assert_cmphex(mem32(BIG) & 0xff, ==, 0);
    expect_csw(0, 0);
    g_assert_cmpint(cbw(inquiry, 6, 100, true), ==, 31); /* more than there is */
    g_assert_cmpint(in(BIG, 100), ==, 36);
    expect_csw(0, 64);
    g_assert_cmpint(cbw(tur, 6, 0, false), ==, 31);
    expect_csw(1, 0);
    g_assert_cmpint(cbw(sense, 6, 18, true), ==, 31);
    g_assert_cmpint(in(BIG, 18), ==, 18);
    g_assert_cmphex(mem32(BIG) >> 16 & 15, ==, 6);
    g_assert_cmphex(mem32(BIG + 12) & 0xffff, ==, 0x29);
    expect_csw(0, 0);
    g_assert_cmpint(cbw(tur, 6, 0, false), ==, 31);
    expect_csw(0, 0);
    end();
}

static void test_read_write(void)
{
    uint8_t cdb[10];

    begin(NULL);
    ready();
    rw(cdb, false, 3, 400); /* 200 KiB: four buffers */
    g_assert_cmpint(cbw(cdb, 10, 400 * 512, true), ==, 31);
    g_assert_cmpuint(all(VIV_USB_IN, 400 * 512), ==, 400 * 512);
    expect_csw(0, 0);
    for (unsigned i = 0; i < 400 * 512; i += 8)
        g_assert_cmphex(mem64(BIG + i), ==, viv_ld_le64(disk.data + 3 * 512 + i));
    for (unsigned i = 0; i < 400 * 512; i += 8)
        set_mem64(BIG + i, i * 0x123456789ull);
    rw(cdb, true, 1000, 400);
    g_assert_cmpint(cbw(cdb, 10, 400 * 512, false), ==, 31);
    g_assert_cmpuint(all(VIV_USB_OUT, 400 * 512), ==, 400 * 512);
    expect_csw(0, 0);
    for (unsigned i = 0; i < 400 * 512; i += 8)
        g_assert_cmphex(viv_ld_le64(disk.data + 1000 * 512 + i), ==, i * 0x123456789ull);
    end();
}

static void test_cases(void)
{
    static const uint8_t tur[6], inquiry[6] = {0x12, 0, 0, 0, 36, 0};
    uint8_t cdb[10];

    begin(NULL);
    ready();
    rw(cdb, false, 0, 1);
    g_assert_cmpint(cbw(cdb, 10, 0, false), ==, 31); /* 2: nothing expected, data there */
    expect_csw(2, 0);
    g_assert_cmpint(cbw(tur, 6, 512, true), ==, 31); /* 4: expects, nothing there */
    g_assert_cmpint(in(BIG, 512), ==, 0);
    expect_csw(0, 512);
    g_assert_cmpint(cbw(inquiry, 6, 8, true), ==, 31); /* 7: too much */
    g_assert_cmpint(in(BIG, 8), ==, 0);
    expect_csw(2, 8);
    rw(cdb, true, 0, 1);
    g_assert_cmpint(cbw(cdb, 10, 512, true), ==, 31); /* 8: the other direction */
    g_assert_cmpint(in(BIG, 512), ==, 0);
    expect_csw(2, 512);
    g_assert_cmpint(cbw(tur, 6, 1024, false), ==, 31); /* 9: sends, nothing wanted */
    g_assert_cmpint(usb_packet(dev, VIV_USB_OUT, 2, BIG, 1024), ==, 1024);
    expect_csw(0, 1024);
    g_assert_cmpint(cbw(cdb, 10, 1024, false), ==, 31); /* 11: sends more */
    g_assert_cmpuint(all(VIV_USB_OUT, 1024), ==, 1024);
    expect_csw(0, 512);
    end();
}

static void test_errors(void)
{
    static const uint8_t sense[6] = {0x03, 0, 0, 0, 18, 0};
    uint8_t cdb[10];

    begin("drive=d0,rerror=report");
    ready();
    disk.fail = EIO;
    rw(cdb, false, 0, 200);
    g_assert_cmpint(cbw(cdb, 10, 200 * 512, true), ==, 31);
    g_assert_cmpuint(all(VIV_USB_IN, 200 * 512), ==, 0);
    expect_csw(1, 200 * 512);
    disk.fail = 0;
    g_assert_cmpint(cbw(sense, 6, 18, true), ==, 31);
    g_assert_cmpint(in(BIG, 18), ==, 18);
    g_assert_cmphex(mem32(BIG) >> 16 & 15, ==, 3);
    expect_csw(0, 0);
    set_mem32(CBW, 0);
    g_assert_cmpint(usb_packet(dev, VIV_USB_OUT, 2, CBW, 31), ==, -VIV_USB_STALL);
    g_assert_cmpint(in(CSW, 13), ==, -VIV_USB_STALL);
    g_assert_cmpint(usb_control(dev, 0x0201, 0, 0x81, 0), ==, 0);
    g_assert_cmpint(in(CSW, 13), ==, -VIV_USB_STALL); /* a broken transport stays so */
    g_assert_cmpint(usb_control(dev, 0x21ff, 0, 0, 0), ==, 0);
    g_assert_cmpint(usb_control(dev, 0x0201, 0, 0x81, 0), ==, 0);
    g_assert_cmpint(usb_control(dev, 0x0201, 0, 0x02, 0), ==, 0);
    ready();
    end();
}

/* The host gives up while the image is at work: its memory is not touched any more, the next command waits for the buffer. */
static void test_reset(void)
{
    static const uint8_t tur[6];
    enum viv_usb_status st;
    uint8_t cdb[10];

    begin(NULL);
    ready();
    rw(cdb, false, 0, 8);
    g_assert_cmpint(cbw(cdb, 10, 8 * 512, true), ==, 31);
    g_assert_cmpuint(move(VIV_USB_IN, BIG, 4096, &st), ==, 0);
    g_assert_cmpint(st, ==, VIV_USB_NAK);
    g_assert_cmpint(usb_control(dev, 0x21ff, 0, 0, 0), ==, 0);
    g_assert_cmpint(cbw(tur, 6, 0, false), ==, -VIV_USB_NAK);
    usb.wakeups = 0;
    complete();
    g_assert_cmpuint(usb.wakeups, >, 0);
    g_assert_cmphex(mem64(BIG), ==, 0);
    g_assert_cmpint(cbw(tur, 6, 0, false), ==, 31);
    expect_csw(0, 0);
    end();
}

static void test_state(void)
{
    g_autofree uint8_t *data = NULL;
    enum viv_usb_status st;
    uint8_t cdb[10];
    uint32_t did;
    size_t len;

    begin(NULL);
    ready();
    rw(cdb, false, 5, 300);
    g_assert_cmpint(cbw(cdb, 10, 300 * 512, true), ==, 31);
    complete();
    did = move(VIV_USB_IN, BIG, 40960, &st); /* in the middle of the first buffer */
    g_assert_cmpuint(did, ==, 40960);
    did += move(VIV_USB_IN, BIG + did, 40960, &st); /* and of the second */
    complete();
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_dev_unlock();
    memset(disk.data, 0, 5 * 512 + did);
    rig_load(data, len);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    while (did < 300 * 512) {
        did += move(VIV_USB_IN, BIG + did, MIN(300 * 512 - did, 65536), &st);
        complete();
    }
    expect_csw(0, 0);
    for (unsigned i = 131072; i < 300 * 512; i += 8)
        g_assert_cmphex(mem64(BIG + i), ==, viv_ld_le64(disk.data + 5 * 512 + i));
    end();
}

/* A write that the host's full disk holds, saved and loaded: nothing is lost. */
static void test_held(void)
{
    g_autofree uint8_t *data = NULL;
    uint8_t cdb[10];
    size_t len;

    begin("drive=d0,werror=stop");
    ready();
    for (unsigned i = 0; i < 4096; i += 8)
        set_mem64(BIG + i, ~(uint64_t)i);
    disk.fail = ENOSPC;
    rw(cdb, true, 16, 8);
    g_assert_cmpint(cbw(cdb, 10, 4096, false), ==, 31);
    g_assert_cmpint(usb_packet(dev, VIV_USB_OUT, 2, BIG, 4096), ==, 4096);
    complete();
    g_assert_cmpint(rig.request, ==, VIV_VM_IO_ERROR);
    g_assert_cmpint(in(CSW, 13), ==, -VIV_USB_NAK);
    viv_dev_lock();
    viv_dev_set_running_all(false);
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_dev_unlock();
    complete();
    disk.fail = 0;
    rig_load(data, len);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    expect_csw(0, 0);
    g_assert_cmphex(viv_ld_le64(disk.data + 16 * 512 + 8), ==, ~8ull);
    end();
}

/* ---- hub ---- */

static void test_hub(void)
{
    struct viv_usb_dev *hub, *kbd;

    usb_begin(false);
    hub = (struct viv_usb_dev *)rig_add("usb-hub", "port=2");
    kbd = (struct viv_usb_dev *)rig_add("usb-kbd", "port=2.3");
    rig_refused("usb-kbd", "port=2.3", "taken");
    g_assert_cmpint(kbd->speed, ==, VIV_USB_FULL);
    usb_configure(hub, 7);
    g_assert_cmpint(usb_control(hub, 0xa006, 0x2900, 0, 64), ==, 11);
    g_assert_cmpint(usb_byte(2), ==, 8);
    g_assert_cmpint(usb_packet(hub, VIV_USB_IN, 1, USB_DATA, 2), ==, -VIV_USB_NAK);
    usb.wakeups = 0;
    g_assert_cmpint(usb_control(hub, 0x2303, 8, 3, 0), ==, 0); /* power */
    g_assert_cmpuint(usb.wakeups, ==, 1);
    g_assert_cmpint(usb_packet(hub, VIV_USB_IN, 1, USB_DATA, 2), ==, 2);
    g_assert_cmphex(mem32(USB_DATA) & 0xffff, ==, 8);
    g_assert_cmpint(usb_control(hub, 0xa300, 0, 3, 4), ==, 4);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x00010101);
    g_assert_null(viv_usb_find(&usb.hc->port[1], 0));
    g_assert_cmpint(usb_control(hub, 0x2301, 16, 3, 0), ==, 0);
    g_assert_cmpint(usb_control(hub, 0x2303, 4, 3, 0), ==, 0); /* reset */
    g_assert_cmpint(usb_control(hub, 0xa300, 0, 3, 4), ==, 4);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x00100103);
    g_assert_true(viv_usb_find(&usb.hc->port[1], 0) == kbd);
    g_assert_true(viv_usb_at(&usb.hc->port[1], 3) == kbd);
    g_assert_null(viv_usb_at(&usb.hc->port[1], 9));
    g_assert_null(viv_usb_at(&usb.hc->port[1], 0x13));
    g_assert_true(viv_usb_reachable(kbd));
    g_assert_cmpint(usb_control(hub, 0x2303, 2, 3, 0), ==, 0); /* suspend */
    g_assert_false(viv_usb_reachable(kbd));
    g_assert_cmpint(usb_control(hub, 0x2303, 4, 9, 0), ==, -VIV_USB_STALL);
    rig_add("usb-hub", "port=2.1");
    rig_add("usb-hub", "port=2.1.1");
    rig_add("usb-hub", "port=2.1.1.1");
    rig_add("usb-hub", "port=2.1.1.1.1");
    rig_refused("usb-hub", "port=2.1.1.1.1.1", "behind each other");
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb-storage/inquiry", test_inquiry);
    g_test_add_func("/usb-storage/read-write", test_read_write);
    g_test_add_func("/usb-storage/cases", test_cases);
    g_test_add_func("/usb-storage/errors", test_errors);
    g_test_add_func("/usb-storage/reset", test_reset);
    g_test_add_func("/usb-storage/state", test_state);
    g_test_add_func("/usb-storage/held", test_held);
    g_test_add_func("/usb-hub/ports", test_hub);
    return g_test_run();
}
