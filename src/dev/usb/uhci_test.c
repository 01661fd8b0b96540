/* UHCI: registers, ports, schedules of good and of hostile drivers. */
#include "bus/pci.h"
#include "dev/usb/usb_test.h"
#include "ui/input.h"

#include <linux/input-event-codes.h>

extern const struct viv_dev_class viv_dev_piix3_usb_uhci, viv_dev_i440fx, viv_dev_usb_kbd;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_piix3_usb_uhci, &viv_dev_usb_kbd, &test_hc_class, NULL};

#define IO    0xc000
#define LIST  0x4000
#define QH    0x5000
#define TD(n) (0x6000u + 32 * (n))
#define MS    1000000

static struct viv_usb_dev *kbd;
static int pirq[4];

static void set_pirq(void *opaque, int n, int level)
{
    pirq[n] = level;
}

static void begin(void)
{
    usb_begin(true);
    memset(pirq, 0, sizeof(pirq));
    rig_add("i440FX", "addr=0");
    viv_pci_bus_set_pirq(rig.board.pci, set_pirq, NULL);
    rig_add("piix3-usb-uhci", "addr=1.2");
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 10, 0x20, IO, 4);
    viv_pci_config_write(rig.board.pci, 10, 4, 5, 2);
    viv_dev_unlock();
    kbd = (struct viv_usb_dev *)rig_add("usb-kbd", NULL);
    for (unsigned i = 0; i < 1024; i++)
        set_mem32(LIST + 4 * i, QH | 2);
    set_mem32(QH, 1);
    set_mem32(QH + 4, 1);
    out32(IO + 8, LIST);
    out16(IO + 4, 15);
    out16(IO + 0x10, 1 << 9);
    out16(IO + 0x10, 0);
    out16(IO + 0x10, 4);
}

static void td(unsigned n, uint32_t link, uint32_t control, uint8_t pid, unsigned address, unsigned endpoint, unsigned len)
{
    set_mem32(TD(n), link);
    set_mem32(TD(n) + 4, control | 1 << 23 | 3 << 27);
    set_mem32(TD(n) + 8, pid | address << 8 | endpoint << 15 | ((len - 1) & 0x7ff) << 21);
    set_mem32(TD(n) + 12, USB_DATA + 64 * n);
}

/* SETUP, data, status by three descriptors; the last with IOC. */
static void control(unsigned address, uint64_t request, unsigned len)
{
    td(0, TD(1) | 4, 0, 0x2d, address, 0, 8);
    set_mem64(USB_DATA, request);
    td(1, TD(2) | 4, 1 << 29, 0x69, address, 0, len);
    td(2, 1, 1 << 24, len ? 0xe1 : 0x69, address, 0, 0);
    if (!len)
        set_mem32(TD(0), TD(2) | 4);
    set_mem32(QH + 4, TD(0));
}

static void test_registers(void)
{
    begin();
    g_assert_cmphex(in16(IO + 2), ==, 0x20);
    g_assert_cmphex(in16(IO + 0x10), ==, 0x85 | 2);
    g_assert_cmphex(in16(IO + 0x12), ==, 0x80);
    g_assert_cmphex(in16(IO + 0x14), ==, 0);
    out16(IO + 0x10, 2); /* the change is read, and the port off */
    g_assert_cmphex(in16(IO + 0x10), ==, 0x81);
    out16(IO + 0x12, 4);
    g_assert_cmphex(in16(IO + 0x12), ==, 0x80); /* nothing is there */
    g_assert_cmphex(in8(IO + 0xc), ==, 64);
    out16(IO, 1);
    rig_step(10 * MS);
    g_assert_cmpuint(in16(IO + 6), ==, 10);
    out16(IO, 0);
    rig_step(10 * MS);
    g_assert_cmpuint(in16(IO + 6), ==, 10);
    out16(IO + 6, 0x7ff);
    out16(IO, 1);
    rig_step(1 * MS);
    g_assert_cmpuint(in16(IO + 6), ==, 0);
    out16(IO, 2);
    g_assert_cmphex(in16(IO), ==, 0);
    g_assert_cmphex(in16(IO + 0x10), ==, 0x83);
    rig_fini();
}

static void test_control(void)
{
    begin();
    out16(IO, 1);
    control(0, 0x0012000001000680ull, 64);
    rig_step(3 * MS);
    g_assert_cmphex(mem32(TD(0) + 4) & 0xff07ff, ==, 7);
    g_assert_cmphex(mem32(TD(1) + 4) & 0xff07ff, ==, 17); /* short: the queue stands */
    g_assert_cmphex(mem32(QH + 4), ==, TD(1) | 4);
    g_assert_cmphex(in16(IO + 2), ==, 1);
    g_assert_cmpint(pirq[3], ==, 1); /* slot 1, pin D */
    g_assert_cmphex(mem32(USB_DATA + 64 + 8), ==, 0x00010627);
    out16(IO + 2, 1);
    g_assert_cmpint(pirq[3], ==, 0);
    set_mem32(QH + 4, TD(2));
    rig_step(20 * MS);
    g_assert_cmphex(mem32(TD(2) + 4) & 0xff07ff, ==, 0x7ff);
    g_assert_cmphex(mem32(QH + 4), ==, 1);
    g_assert_cmphex(in16(IO + 2), ==, 1);
    out16(IO + 2, 1);
    control(0, 0x0000000000030500ull, 0); /* SET_ADDRESS 3 */
    rig_step(20 * MS);
    g_assert_cmpint(kbd->address, ==, 3);
    control(0, 0x0012000001000680ull, 64); /* nobody at 0 any more */
    rig_step(20 * MS);
    g_assert_cmphex(mem32(TD(0) + 4) >> 16 & 0xff, ==, 0x44);
    g_assert_cmphex(in16(IO + 2) & 3, ==, 3);
    out16(IO + 2, 3);
    control(3, 0x0012000009000680ull, 64); /* no such descriptor */
    rig_step(20 * MS);
    g_assert_cmphex(mem32(TD(1) + 4) >> 16 & 0xff, ==, 0x40);
    g_assert_cmphex(in16(IO + 2) & 2, ==, 2);
    rig_fini();
}

/* An interrupt endpoint in one frame of eight: found however long nothing happened, and soon. */
static void test_interrupt(void)
{
    int64_t waited = 0;

    begin();
    for (unsigned i = 0; i < 1024; i++)
        set_mem32(LIST + 4 * i, i % 8 == 5 ? QH | 2 : 1);
    out16(IO, 1);
    control(0, 0x0000000000030500ull, 0);
    rig_step(40 * MS);
    control(3, 0x0000000000010900ull, 0);
    rig_step(60 * MS);
    g_assert_cmpint(kbd->configuration, ==, 1);
    out16(IO + 2, 1);
    td(3, 1, 1 << 24, 0x69, 3, 1, 8);
    set_mem32(QH + 4, TD(3));
    rig_step(1000 * MS);
    g_assert_cmphex(mem32(TD(3) + 4) >> 16 & 0xff, ==, 0x88); /* active, NAK */
    g_assert_cmphex(in16(IO + 2), ==, 0);
    viv_dev_lock();
    viv_input_key(KEY_A, true);
    viv_dev_unlock();
    while (!pirq[3] && waited < 100) {
        rig_step(MS);
        waited++;
    }
    g_assert_cmpint(waited, <=, 9);
    g_assert_cmphex(mem32(TD(3) + 4) & 0xff07ff, ==, 7);
    g_assert_cmphex(mem64(USB_DATA + 3 * 64), ==, 0x040000);
    rig_fini();
}

/* An inactive descriptor with IOC tells at the end of its frame. */
static void test_inactive(void)
{
    begin();
    td(0, 1, 1 << 24, 0x69, 0, 0, 8);
    set_mem32(TD(0) + 4, 1 << 24);
    set_mem32(QH + 4, TD(0));
    out16(IO, 1);
    rig_step(2 * MS);
    g_assert_cmphex(in16(IO + 2), ==, 1);
    g_assert_cmphex(mem32(QH + 4), ==, TD(0));
    rig_fini();
}

static void test_hostile(void)
{
    GRand *r = g_rand_new_with_seed(7);

    begin();
    set_mem32(QH, QH | 2); /* a queue that follows itself */
    set_mem32(QH + 4, TD(0));
    td(0, TD(0) | 4, 0, 0xe1, 9, 1, 8); /* and a descriptor */
    out16(IO, 1);
    rig_step(5 * MS);
    g_assert_cmphex(mem32(TD(0) + 4) >> 16 & 0xff, ==, 0x44);
    set_mem32(QH + 4, QH | 2);
    rig_step(50 * MS);
    set_mem32(TD(1), TD(1)); /* a ring of descriptors without a queue, inactive */
    set_mem32(TD(1) + 4, 0);
    for (unsigned i = 0; i < 1024; i++)
        set_mem32(LIST + 4 * i, TD(1));
    rig_step(50 * MS);
    td(1, 1, 0, 0x55, 0, 0, 8); /* no such PID */
    rig_step(50 * MS);
    g_assert_cmphex(in16(IO + 2), ==, 0x32);
    out16(IO + 2, 0x1f);
    set_mem32(TD(1) + 4, 0);
    set_mem32(TD(1), 0xf0000000); /* no memory */
    out16(IO, 1);
    rig_step(50 * MS);
    g_assert_cmphex(in16(IO + 2), ==, 0x28);
    for (unsigned round = 0; round < 300; round++) { /* anything, with pointers that often hit */
        for (unsigned i = 0; i < 256; i++) {
            uint32_t v = g_rand_int(r);

            set_mem32(LIST + 4 * (v % 0x900), g_rand_int(r) % 4 ? (v >> 3 & 0x3ff0) + LIST + (v & 7) : v);
        }
        out16(IO + 2, 0x1f);
        out16(IO + 0x10, (uint16_t)g_rand_int(r) & 0x1244);
        out16(IO, 1);
        rig_step(8 * MS);
    }
    g_rand_free(r);
    rig_fini();
}

static void test_suspend(void)
{
    begin();
    control(0, 0x0000000000030500ull, 0);
    out16(IO, 1);
    rig_step(5 * MS);
    control(3, 0x0000000000010900ull, 0);
    rig_step(20 * MS);
    control(3, 0x0000000000010300ull, 0); /* remote wake-up */
    rig_step(20 * MS);
    out16(IO + 2, 1);
    out16(IO + 0x10, 0x1004);
    viv_dev_lock();
    viv_input_key(KEY_A, true);
    viv_dev_unlock();
    g_assert_cmphex(in16(IO + 0x10), ==, 0x10c5 | 2);
    g_assert_cmphex(in16(IO + 2), ==, 4);
    g_assert_cmpint(pirq[3], ==, 1);
    out16(IO + 0x10, 4);
    g_assert_cmphex(in16(IO + 0x10) & ~2, ==, 0x85);
    rig_fini();
}

static void test_state(void)
{
    g_autofree uint8_t *data = NULL;
    size_t len;

    begin();
    control(0, 0x0012000001000680ull, 64);
    out16(IO, 1);
    rig_step(MS / 2);
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_dev_unlock();
    rig_load(data, len);
    g_assert_cmphex(in16(IO), ==, 1);
    rig_step(3 * MS);
    g_assert_cmpuint(in16(IO + 6), ==, 3);
    g_assert_cmphex(mem32(TD(1) + 4) & 0xff07ff, ==, 17);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uhci/registers", test_registers);
    g_test_add_func("/uhci/control", test_control);
    g_test_add_func("/uhci/interrupt", test_interrupt);
    g_test_add_func("/uhci/inactive", test_inactive);
    g_test_add_func("/uhci/hostile", test_hostile);
    g_test_add_func("/uhci/suspend", test_suspend);
    g_test_add_func("/uhci/state", test_state);
    return g_test_run();
}
