/* The flash chip: array as ROM, commands over it, Intel's sequences, what reaches the image and in which order, saved state. */
#include "dev/storage/cfi_flash.h"

#include "base/units.h"
#include "dev/storage/disk_test.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <errno.h>

#define BASE (4 * VIV_GIB - DISK_SIZE)

extern const struct viv_dev_class viv_dev_cfi_flash;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_cfi_flash, NULL};

static struct {
    uint64_t offset;
    size_t len;
} writes[64];
static unsigned written;

int viv_blk_pread(struct viv_blk *b, uint64_t offset, void *buf, size_t len)
{
    if (b->fail)
        return -b->fail;
    memcpy(buf, b->data + offset, len);
    return 0;
}

int viv_blk_pwrite(struct viv_blk *b, uint64_t offset, const void *buf, size_t len, unsigned flags)
{
    g_assert_cmpuint(written, <, 64);
    writes[written].offset = offset;
    writes[written++].len = len;
    if (b->fail)
        return -b->fail;
    memcpy(b->data + offset, buf, len);
    return 0;
}

static void w(uint32_t off, uint8_t v)
{
    viv_space_write(rig.board.mem, BASE + off, v, 1);
}

static uint8_t r(uint32_t off)
{
    return (uint8_t)viv_space_read(rig.board.mem, BASE + off, 1);
}

/* Is it ROM that a CPU maps? */
static bool direct(void)
{
    struct viv_space_range range;

    return viv_space_find(rig.board.mem, BASE + 12345, &range) && range.kind == VIV_REGION_ROM && range.hva;
}

static struct viv_dev *setup_with(bool ro, const char *props)
{
    struct viv_dev *d;

    rig_init();
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i % 251);
    disk.ro = ro;
    disk.n = disk.fail = disk.flushes = 0;
    written = 0;
    viv_drive_add("f", &disk, NULL, NULL);
    d = rig_add("cfi.pflash01", props);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    return d;
}

static struct viv_dev *setup(bool ro)
{
    return setup_with(ro, "drive=f");
}

static void teardown(void)
{
    complete();
    rig_fini();
    viv_drive_free_all(NULL);
}

static void test_modes(void)
{
    setup(false);
    g_assert_true(direct());
    g_assert_cmphex(viv_space_read(rig.board.mem, BASE + 4, 4), ==, 0x07060504);
    /* as UEFI's driver tells flash from ROM and RAM */
    w(100, 0x50);
    g_assert_cmphex(r(100), ==, 100);
    w(100, 0x70);
    g_assert_cmphex(r(100), ==, 0);
    g_assert_false(direct());
    w(100, 0xff);
    g_assert_true(direct());
    w(0, 0x90);
    g_assert_cmphex(r(0), ==, 0x89);
    g_assert_cmphex(r(2), ==, 0);
    w(0x55, 0x98);
    g_assert_cmphex(viv_space_read(rig.board.mem, BASE + 0x10, 4), ==, 0x01595251); /* QRY, command set 1 */
    g_assert_cmphex(r(0x27), ==, 20);                                                /* 1 MiB */
    g_assert_cmphex(viv_space_read(rig.board.mem, BASE + 0x2c, 1), ==, 1);
    g_assert_cmphex(r(0x2d) | r(0x2e) << 8, ==, 255); /* 256 blocks */
    g_assert_cmphex(r(0x2f) | r(0x30) << 8, ==, 16);  /* of 4 KiB */
    g_assert_cmphex(r(0x31), ==, 'P');
    g_assert_cmphex(r(0), ==, 0);
    g_assert_cmphex(r(0xffff), ==, 0);
    w(0, 0x42); /* no command */
    g_assert_true(direct());
    g_assert_cmpuint(written, ==, 0);
    teardown();
}

static void test_program(void)
{
    setup(false);
    w(0x1000, 0x20);
    w(0x1234, 0xd0);
    g_assert_cmphex(r(0), ==, 0x80);
    g_assert_cmpuint(written, ==, 1);
    g_assert_cmpuint(writes[0].offset, ==, 0x1000);
    g_assert_cmpuint(writes[0].len, ==, 4096);
    for (unsigned i = 0; i < 10; i++) {
        w(0x1010 + i, i & 1 ? 0x40 : 0x10);
        w(0x1010 + i, (uint8_t)(0xa0 + i));
    }
    g_assert_cmpuint(written, ==, 1); /* not before something else comes */
    w(0x1800, 0x10);
    w(0x1800, 0x0f);
    g_assert_cmpuint(written, ==, 2);
    g_assert_cmpuint(writes[1].offset, ==, 0x1010);
    g_assert_cmpuint(writes[1].len, ==, 10);
    w(0x1800, 0x10);
    w(0x1800, 0xf3); /* bits are only cleared */
    w(0, 0xff);
    g_assert_true(direct());
    g_assert_cmphex(r(0x1800), ==, 0x03);
    g_assert_cmphex(r(0x1012), ==, 0xa2);
    g_assert_cmphex(r(0xfff), ==, 0xfff % 251);
    g_assert_cmphex(r(0x1fff), ==, 0xff);
    g_assert_cmphex(disk.data[0x1800], ==, 0x03);
    g_assert_cmphex(disk.data[0x1019], ==, 0xa9);
    g_assert_cmpuint(disk.n, ==, 1); /* one flush on its way, the next one behind it */
    w(0, 0x10), w(0, 0), w(0, 0xff);
    g_assert_cmpuint(disk.n, ==, 1);
    complete();
    g_assert_cmpuint(disk.flushes, ==, 2);
    teardown();
}

static void test_buffer(void)
{
    setup(false);
    w(0x2000, 0x20), w(0x2000, 0xd0);
    w(0x2004, 0xe8);
    g_assert_cmphex(r(0), ==, 0x80);
    w(0x2004, 3);
    w(0x2004, 1), w(0x2005, 2), w(0x2007, 4), w(0x201f, 9);
    w(0x2004, 0xd0);
    w(0, 0xff);
    g_assert_cmphex(viv_space_read(rig.board.mem, BASE + 0x2004, 4), ==, 0x04ff0201);
    g_assert_cmphex(disk.data[0x201f], ==, 9);
    /* too long, over the line's end, not confirmed: nothing is written */
    written = 0;
    w(0x2040, 0xe8), w(0x2040, 32);
    g_assert_cmphex(r(0), ==, 0xb0);
    w(0, 0x50), w(0x2040, 0xe8), w(0x2040, 1), w(0x205f, 7), w(0x2060, 7);
    g_assert_cmphex(r(0), ==, 0xb0);
    w(0, 0x50), w(0x2040, 0xe8), w(0x2040, 0), w(0x2040, 7), w(0x2040, 0x55);
    g_assert_cmphex(r(0), ==, 0xb0);
    w(0, 0x50), w(0x2000, 0x20), w(0x2000, 0xd1);
    g_assert_cmphex(r(0), ==, 0xb0);
    w(0, 0x50), w(0x2000, 0x60), w(0x2000, 0xd0);
    g_assert_cmphex(r(0), ==, 0x80);
    w(0, 0xff);
    g_assert_cmphex(r(0x2040), ==, 0xff);
    g_assert_cmpuint(written, ==, 0);
    teardown();
}

static void test_readonly(void)
{
    setup(true);
    w(0, 0x20), w(0, 0xd0);
    g_assert_cmphex(r(0), ==, 0xa2);
    w(0, 0x50), w(1, 0x40), w(1, 0);
    g_assert_cmphex(r(0), ==, 0x92);
    w(0, 0xff);
    g_assert_cmphex(r(1), ==, 1);
    g_assert_cmpuint(written + disk.n, ==, 0);
    teardown();
}

static void test_errors(void)
{
    struct viv_dev *d = setup(false);

    disk.fail = ENOSPC;
    w(0x3000, 0x20), w(0x3000, 0xd0);
    g_assert_cmphex(r(0), ==, 0xa0);
    w(0, 0x50), w(0x3000, 0x10), w(0x3000, 1), w(0x3800, 0x10), w(0x3800, 1);
    g_assert_cmphex(r(0), ==, 0x90);
    disk.fail = 0;
    w(0, 0xff);
    complete();
    written = 0;
    w(5, 0x10), w(5, 0);
    viv_dev_lock();
    d->cls->reset(d);
    viv_dev_unlock();
    g_assert_cmpuint(written, ==, 1);
    g_assert_true(direct());
    teardown();
}

static void test_state(void)
{
    struct viv_dev *d = setup(false);
    g_autofree uint8_t *s = NULL;
    size_t len;

    w(0x2004, 0xe8), w(0x2004, 1), w(0x2004, 0x55);
    viv_dev_lock();
    viv_dev_set_running_all(false);
    s = rig_save(&len);
    d->cls->reset(d);
    viv_dev_unlock();
    g_assert_true(direct());
    rig_load(s, len);
    g_assert_false(direct());
    written = 0;
    viv_dev_lock();
    viv_dev_set_running_all(true); /* the image has what was loaded */
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    g_assert_cmpuint(written, ==, 0);
    rig_load(s, len);
    disk.data[DISK_SIZE - 1] ^= 1;
    viv_dev_lock();
    viv_dev_set_running_all(true); /* it gets it */
    viv_dev_unlock();
    g_assert_cmpuint(written, ==, 1);
    g_assert_cmpuint(writes[0].len, ==, DISK_SIZE);
    w(0x2005, 0), w(0x2004, 0xd0), w(0, 0xff);
    g_assert_cmphex(r(0x2005), ==, 0);
    g_assert_cmphex(r(0x2004), ==, (0x2004 % 251) & 0x55);
    teardown();
}

/* A count that is too large ends the command: what was saved then is loaded. */
static void test_count_state(void)
{
    struct viv_dev *d = setup(false);
    g_autofree uint8_t *s = NULL;
    size_t len;

    w(0x2004, 0xe8), w(0x2004, 200);
    viv_dev_lock();
    viv_dev_set_running_all(false);
    s = rig_save(&len);
    d->cls->reset(d);
    viv_dev_unlock();
    rig_load(s, len);
    g_assert_cmphex(r(0), ==, 0xb0);
    teardown();
}

static void test_refused(void)
{
    rig_init();
    rig_refused("cfi.pflash01", NULL, "drive=");
    rig_refused("cfi.pflash01", "drive=x", "x");
    viv_drive_add("e", NULL, NULL, NULL);
    rig_refused("cfi.pflash01", "drive=e", "no image");
    disk.fail = EIO;
    viv_drive_add("f", &disk, NULL, NULL);
    rig_refused("cfi.pflash01", "drive=f", "reading its image");
    disk.fail = 0;
    rig_fini();
    viv_drive_free_all(NULL);
}

/* secure=on: ROM to all but CPUs in SMM, whatever these have it do. */
static void test_secure(void)
{
    struct viv_space *smm;

    setup_with(false, "drive=f,secure=on");
    smm = rig.board.smm;
    w(0x100, 0x40);
    w(0x100, 0x00);
    w(0x1000, 0x20);
    w(0x1000, 0xd0);
    w(0, 0x90);
    g_assert_true(direct());
    g_assert_cmphex(r(0x100), ==, 0x100 % 251);
    g_assert_cmpuint(written, ==, 0);
    g_assert_cmphex(viv_space_read(smm, BASE, 1), ==, 0);
    viv_space_write(smm, BASE + 0x100, 0x40, 1); /* from SMM */
    viv_space_write(smm, BASE + 0x100, 0x01, 1);
    g_assert_cmphex(viv_space_read(smm, BASE + 0x200, 1), ==, 0x80); /* status */
    g_assert_true(direct());                                         /* not for the others */
    g_assert_cmphex(r(0x200), ==, 0x200 % 251);
    w(0, 0xff); /* nor can they end it */
    g_assert_cmphex(viv_space_read(smm, BASE + 0x200, 1), ==, 0x80);
    viv_space_write(smm, BASE, 0xff, 1);
    g_assert_cmphex(viv_space_read(smm, BASE + 0x100, 1), ==, 0x100 % 251 & 1);
    g_assert_cmphex(r(0x100), ==, 0x100 % 251 & 1);
    g_assert_cmpuint(written, ==, 1);
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cfi-flash/modes", test_modes);
    g_test_add_func("/cfi-flash/program", test_program);
    g_test_add_func("/cfi-flash/buffer", test_buffer);
    g_test_add_func("/cfi-flash/readonly", test_readonly);
    g_test_add_func("/cfi-flash/errors", test_errors);
    g_test_add_func("/cfi-flash/state", test_state);
    g_test_add_func("/cfi-flash/count-state", test_count_state);
    g_test_add_func("/cfi-flash/refused", test_refused);
    g_test_add_func("/cfi-flash/secure", test_secure);
    return g_test_run();
}
