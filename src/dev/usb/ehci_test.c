/* EHCI: registers, ports and their companions, both schedules, hostile lists. */
#include "bus/pci.h"
#include "dev/usb/usb_test.h"
#include "host/clock.h"
#include "ui/input.h"

#include <linux/input-event-codes.h>

extern const struct viv_dev_class viv_dev_ich9_usb_ehci1, viv_dev_ich9_usb_uhci1, viv_dev_usb_ehci, viv_dev_i440fx, viv_dev_usb_kbd,
    viv_dev_usb_hub;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx,  &viv_dev_ich9_usb_ehci1, &viv_dev_ich9_usb_uhci1, &viv_dev_usb_ehci,
                                                   &viv_dev_usb_kbd, &viv_dev_usb_hub,        &test_hc_class,          NULL};

enum { BASE = 0xe0000000, OPER = BASE + 0x20, PORT = BASE + 0x64, IO = 0xc000, FRAMES = 0x4000, QH = 0x5000, TD = 0x6000 };
#define MS 1000000

static struct viv_usb_dev *kbd;

static void begin(const char *opts)
{
    usb_begin(true);
    rig_add("i440FX", "addr=0");
    rig_add("ich9-usb-ehci1", "addr=1d.7,multifunction=on");
    rig_add("ich9-usb-uhci1", "addr=1d.0,multifunction=on,masterbus=usb-bus.0,firstport=0");
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 0xef, 0x10, BASE, 4);
    viv_pci_config_write(rig.board.pci, 0xef, 4, 6, 2);
    viv_pci_config_write(rig.board.pci, 0xe8, 0x20, IO, 4);
    viv_pci_config_write(rig.board.pci, 0xe8, 4, 5, 2);
    viv_dev_unlock();
    kbd = (struct viv_usb_dev *)rig_add("usb-kbd", opts);
}

static void enable(void)
{
    set_mem32(OPER + 0x40, 1);
    set_mem32(PORT, mem32(PORT) | 1 << 8);
    set_mem32(PORT, mem32(PORT) & ~(1u << 8));
    for (unsigned i = 0; i < 1024; i++)
        set_mem32(FRAMES + 4 * (i & 0x3ff), 1);
    set_mem32(OPER + 0x14, FRAMES);
    set_mem32(OPER + 0x18, QH);
    set_mem32(OPER + 8, 0x3f);
}

static void queue(uint32_t at, uint32_t next, unsigned address, unsigned endpoint, unsigned packet)
{
    set_mem32(at, next);
    set_mem32(at + 4, address | endpoint << 8 | 2 << 12 | 1 << 15 | packet << 16 | (endpoint ? 0 : 1 << 14));
    set_mem32(at + 8, 1u << 30);
    set_mem32(at + 16, 1);
    set_mem32(at + 20, 1);
    set_mem32(at + 24, 0);
}

static void td(unsigned n, uint32_t next, unsigned pid, unsigned len, uint32_t data, bool ioc)
{
    uint32_t at = TD + 64 * n;

    set_mem32(at, next);
    set_mem32(at + 4, 1);
    set_mem32(at + 8, 0x80 | pid << 8 | 3 << 10 | (ioc ? 1u << 15 : 0) | len << 16);
    set_mem32(at + 12, data);
    set_mem32(at + 16, (data & ~0xfffu) + 0x1000);
}

static void control(unsigned address, uint64_t setup, unsigned len)
{
    queue(QH, QH | 2, address, 0, 64);
    set_mem64(USB_SETUP, setup);
    td(0, len ? TD + 64 : TD + 128, 2, 8, USB_SETUP, false);
    td(1, TD + 128, 1, len, USB_DATA, false);
    td(2, 1, len ? 0 : 1, 0, 0, true);
    set_mem32(QH + 16, TD);
    set_mem32(OPER, 0x80021);
}

static void test_companion(void)
{
    begin(NULL);
    g_assert_cmphex(mem32(BASE), ==, 0x01000020);
    g_assert_cmphex(mem32(BASE + 4), ==, 0x1206);
    g_assert_cmphex(mem32(PORT) & 0x2001, ==, 0x2000); /* the companion's until the flag is set */
    g_assert_cmphex(in16(IO + 0x10) & 1, ==, 1);
    g_assert_cmpint(kbd->speed, ==, VIV_USB_FULL);
    set_mem32(OPER + 0x40, 1);
    g_assert_cmphex(mem32(PORT) & 0x2003, ==, 3);
    g_assert_cmphex(in16(IO + 0x10) & 3, ==, 2);
    g_assert_cmpint(kbd->speed, ==, VIV_USB_HIGH);
    set_mem32(PORT, 0x1100);
    g_assert_cmphex(mem32(PORT) & 0x104, ==, 0x100);
    set_mem32(PORT, 0x1000);
    g_assert_cmphex(mem32(PORT) & 0x10d, ==, 5);
    rig_refused("usb-kbd", "port=1", "taken");
    set_mem32(PORT, 0x3000); /* given away */
    g_assert_cmphex(mem32(PORT) & 0x2001, ==, 0x2000);
    g_assert_cmphex(in16(IO + 0x10) & 1, ==, 1);
    rig_refused("usb-kbd", "port=1", "taken");
    rig_refused("usb-hub", "port=3", "speed"); /* no companion there */
    rig_add("usb-hub", "port=2");
    g_assert_cmphex(mem32(PORT + 4) & 0x2c01, ==, 0x801);
    set_mem32(PORT + 4, 0x1100);
    set_mem32(PORT + 4, 0x1000);
    g_assert_cmphex(mem32(PORT + 4) & 5, ==, 1); /* not enabled: not high speed */
    set_mem32(PORT + 4, 0x3000);
    g_assert_cmphex(in16(IO + 0x12) & 1, ==, 1);
    rig_fini();
}

static void test_async(void)
{
    begin(NULL);
    enable();
    control(0, 0x0012000001000680ull, 18);
    rig_step(2 * MS);
    g_assert_cmphex(mem32(TD + 8) & 0x7fff00ff, ==, 0);
    g_assert_cmphex(mem32(TD + 128 + 8) & 0xff, ==, 0);
    g_assert_cmphex(mem32(USB_DATA + 8), ==, 0x00010627);
    g_assert_cmphex(mem32(OPER + 4) & 3, ==, 1);
    set_mem32(OPER + 4, 0x3f);
    control(0, 0x0000000000030500ull, 0);
    rig_step(20 * MS);
    g_assert_cmpint(kbd->address, ==, 3);
    control(3, 0x00ff000001000680ull, 255); /* short */
    rig_step(20 * MS);
    g_assert_cmphex(mem32(TD + 64 + 8) >> 16 & 0x7fff, ==, 255 - 18);
    g_assert_cmphex(mem32(TD + 128 + 8) & 0xff, ==, 0);
    control(3, 0x0012000009000680ull, 18); /* stall */
    rig_step(20 * MS);
    g_assert_cmphex(mem32(TD + 64 + 8) & 0xff, ==, 0x40);
    g_assert_cmphex(mem32(QH + 24) & 0xff, ==, 0x40);
    g_assert_cmphex(mem32(OPER + 4) & 2, ==, 2);
    control(9, 0x0012000001000680ull, 18); /* nobody there */
    rig_step(20 * MS);
    g_assert_cmphex(mem32(TD + 8) & 0xcff, ==, 0x48);
    set_mem32(OPER, 0x80061);
    g_assert_cmphex(mem32(OPER + 4) & 0x20, ==, 0x20);
    rig_fini();
}

static void test_periodic(void)
{
    begin(NULL);
    enable();
    control(0, 0x0000000000030500ull, 0);
    rig_step(5 * MS);
    control(3, 0x0000000000010900ull, 0);
    rig_step(20 * MS);
    set_mem32(OPER + 4, 0x3f);
    queue(QH + 0x80, 1, 3, 1, 8);
    td(4, 1, 1, 8, USB_DATA, true);
    set_mem32(QH + 0x80 + 16, TD + 256);
    set_mem32(FRAMES + 4 * 7, (QH + 0x80) | 2);
    set_mem32(OPER, 0x80011);
    rig_step(1100 * MS);
    g_assert_cmphex(mem32(OPER + 4) & 9, ==, 8); /* the list went round */
    g_assert_cmphex(mem32(QH + 0x80 + 24) & 0xff, ==, 0x80);
    viv_dev_lock();
    viv_input_key(KEY_A, true);
    viv_dev_unlock();
    rig_step(1024 * MS);
    g_assert_cmphex(mem32(OPER + 4) & 1, ==, 1);
    g_assert_cmphex(mem64(USB_DATA), ==, 0x040000);
    g_assert_cmphex(mem32(TD + 256 + 8) & 0x7fff00ff, ==, 0);
    rig_fini();
}

/* 2.3.2: also with a list of 256, and when frames are passed over. */
static void test_rollover(void)
{
    begin(NULL);
    enable();
    set_mem32(OPER, 0x80019); /* 256, periodic */
    rig_step(250 * MS);
    g_assert_cmphex(mem32(OPER + 4) & 8, ==, 0);
    rig_step(30 * MS);
    g_assert_cmphex(mem32(OPER + 4) & 8, ==, 8);
    set_mem32(OPER + 4, 8);
    rig_step(200 * MS);
    g_assert_cmphex(mem32(OPER + 4) & 8, ==, 0);
    viv_dev_lock();
    viv_guest_clock_set_ns(viv_clock_ns(VIV_CLOCK_GUEST) + 100 * MS); /* it is late */
    viv_dev_unlock();
    rig_step(MS);
    g_assert_cmphex(mem32(OPER + 4) & 8, ==, 8);
    rig_fini();
}

static void test_state(void)
{
    g_autofree uint8_t *data = NULL;
    size_t len;

    begin(NULL);
    rig_add("usb-hub", "port=2");
    enable();
    set_mem32(PORT + 4, 0x3000);
    control(0, 0x0012000001000680ull, 18);
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_pci_config_write(rig.board.pci, 0xef, 0x10, BASE, 4);
    viv_pci_config_write(rig.board.pci, 0xef, 4, 6, 2);
    viv_dev_unlock();
    g_assert_cmphex(mem32(PORT) & 0x2001, ==, 0x2000);
    rig_load(data, len);
    g_assert_cmphex(mem32(PORT) & 0x2005, ==, 5);
    g_assert_cmphex(mem32(PORT + 4) & 0x2001, ==, 0x2000);
    g_assert_cmphex(in16(IO + 0x12) & 1, ==, 1);
    rig_step(2 * MS);
    g_assert_cmphex(mem32(USB_DATA + 8), ==, 0x00010627);
    rig_fini();
}

static void test_hostile(void)
{
    GRand *r = g_rand_new_with_seed(11);

    begin(NULL);
    enable();
    queue(QH, QH | 2, 0, 0, 0);
    td(0, TD, 2, 8, USB_SETUP, true); /* follows itself */
    set_mem32(QH + 16, TD);
    set_mem32(FRAMES, FRAMES); /* an isochronous descriptor that is the list */
    set_mem32(OPER, 0x80031);
    rig_step(50 * MS);
    set_mem32(QH, 0xf0000002);
    rig_step(50 * MS);
    g_assert_cmphex(mem32(OPER + 4) & 0x1010, ==, 0x1010);
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned i = 0; i < 200; i++) {
            uint32_t v = g_rand_int(r);

            set_mem32(FRAMES + 4 * (v % 0xa00), g_rand_int(r) % 4 ? (v >> 3 & 0x1fe0) + QH + (v & 7) : v);
        }
        set_mem32(OPER + 4, 0x3f);
        set_mem32(PORT, g_rand_int(r) & 0x11c4);
        set_mem32(OPER, 0x80031);
        rig_step(8 * MS);
    }
    g_rand_free(r);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ehci/companion", test_companion);
    g_test_add_func("/ehci/async", test_async);
    g_test_add_func("/ehci/periodic", test_periodic);
    g_test_add_func("/ehci/rollover", test_rollover);
    g_test_add_func("/ehci/state", test_state);
    g_test_add_func("/ehci/hostile", test_hostile);
    return g_test_run();
}
