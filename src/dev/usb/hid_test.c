/* USB core and HID devices: requests of USB 2.0 chapter 9, reports, queues, idle rate, who gets input, saved state. */
#include "dev/usb/usb_test.h"
#include "ui/input.h"

#include <linux/input-event-codes.h>

extern const struct viv_dev_class viv_dev_usb_tablet, viv_dev_usb_mouse, viv_dev_usb_kbd;
const struct viv_dev_class *const rig_classes[] = {&test_hc_class, &viv_dev_usb_tablet, &viv_dev_usb_mouse, &viv_dev_usb_kbd, NULL};

static struct viv_usb_dev *add(const char *cls, const char *opts)
{
    return (struct viv_usb_dev *)rig_add(cls, opts);
}

static int poll_report(struct viv_usb_dev *d)
{
    return usb_packet(d, VIV_USB_IN, 1, USB_DATA, 8);
}

static void press(unsigned code, bool down)
{
    viv_dev_lock();
    viv_input_key(code, down);
    viv_dev_unlock();
}

/* ---- chapter 9 ---- */

static void test_standard(void)
{
    struct viv_usb_dev *d;

    usb_begin(false);
    d = add("usb-tablet", "port=2");
    g_assert_true(d->port == &usb.hc->port[1]);
    g_assert_cmpuint(usb.attached, ==, 1);
    g_assert_cmpint(d->speed, ==, VIV_USB_HIGH);
    g_assert_cmpint(usb_control(d, 0x8006, 0x0100, 0, 64), ==, 18);
    g_assert_cmphex(usb_byte(1), ==, 1);
    g_assert_cmphex(mem32(USB_DATA + 8), ==, 0x00010627);
    g_assert_cmpint(usb_control(d, 0x8006, 0x0100, 0, 8), ==, 8); /* as much as asked for */
    g_assert_cmpint(usb_control(d, 0x8006, 0x0200, 0, 255), ==, 9 + 9 + 9 + 7);
    g_assert_cmpint(usb_byte(2), ==, 34);
    g_assert_cmpint(usb_control(d, 0x8006, 0x0600, 0, 255), ==, 10);
    g_assert_cmpint(usb_control(d, 0x8006, 0x0300, 0, 255), ==, 4);
    g_assert_cmpint(usb_control(d, 0x8006, 0x0302, 0x409, 255), ==, 2 + 2 * 10);
    g_assert_cmpint(usb_byte(2), ==, 'U');
    g_assert_cmpint(usb_control(d, 0x8006, 0x0309, 0x409, 255), ==, -VIV_USB_STALL);
    g_assert_cmpint(usb_control(d, 0x8006, 0x0f00, 0, 255), ==, -VIV_USB_STALL); /* no BOS */
    g_assert_cmpint(usb_control(d, 0x8106, 0x2200, 0, 255), >, 40);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 1, USB_DATA, 8), ==, -VIV_USB_ERROR); /* not configured */
    usb_configure(d, 5);
    g_assert_true(viv_usb_find(&usb.hc->port[1], 5) == d);
    g_assert_null(viv_usb_find(&usb.hc->port[1], 6));
    g_assert_cmpint(usb_control(d, 0x8008, 0, 0, 1), ==, 1);
    g_assert_cmpint(usb_byte(0), ==, 1);
    g_assert_cmpint(usb_control(d, 0x0009, 2, 0, 0), ==, -VIV_USB_STALL);
    g_assert_cmpint(usb_control(d, 0x0003, 1, 0, 0), ==, 0); /* remote wake-up */
    g_assert_cmpint(usb_control(d, 0x8000, 0, 0, 2), ==, 2);
    g_assert_cmphex(usb_byte(0), ==, 2);
    g_assert_cmpint(usb_control(d, 0x0203, 0, 0x81, 0), ==, 0); /* halt */
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_STALL);
    g_assert_cmpint(usb_control(d, 0x8200, 0, 0x81, 2), ==, 2);
    g_assert_cmphex(usb_byte(0), ==, 1);
    g_assert_cmpint(usb_control(d, 0x0201, 0, 0x81, 0), ==, 0);
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    g_assert_cmpint(usb_control(d, 0x0203, 0, 0x82, 0), ==, -VIV_USB_STALL); /* no such endpoint */
    g_assert_cmpint(usb_packet(d, VIV_USB_OUT, 1, USB_DATA, 8), ==, -VIV_USB_ERROR);
    rig_fini();
    g_assert_cmpuint(usb.detached, ==, 1);
}

/* What a host may not do, and transfers it gives up. */
static void test_control(void)
{
    g_autofree uint8_t *data = NULL;
    struct viv_usb_dev *d;
    size_t len;

    usb_begin(false);
    d = add("usb-kbd", NULL);
    set_mem64(USB_SETUP, 0x0012000001000680ull); /* GET_DESCRIPTOR */
    g_assert_cmpint(usb_packet(d, VIV_USB_SETUP, 0, USB_SETUP, 7), ==, -VIV_USB_ERROR);
    g_assert_cmpint(usb_packet(d, VIV_USB_SETUP, 0, USB_SETUP, 8), ==, 8);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 0, USB_DATA, 8), ==, 8);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 0, USB_DATA, 64), ==, 10);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 0, USB_DATA, 64), ==, 0);
    g_assert_cmpint(usb_packet(d, VIV_USB_OUT, 0, USB_DATA, 0), ==, 0);
    g_assert_cmpint(usb_packet(d, VIV_USB_OUT, 0, USB_DATA, 0), ==, -VIV_USB_STALL);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 0, USB_DATA, 0), ==, -VIV_USB_STALL);
    g_assert_cmpint(usb_control(d, 0x2109, 0x0200, 0, 0xffff), ==, -VIV_USB_STALL); /* too long */
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_unlock();
    rig_load(data, len); /* the transfer that is not going to be is no reason to refuse this */
    set_mem64(USB_SETUP, 0x0001000002000921ull); /* SET_REPORT of one byte */
    g_assert_cmpint(usb_packet(d, VIV_USB_SETUP, 0, USB_SETUP, 8), ==, 8);
    g_assert_cmpint(usb_packet(d, VIV_USB_OUT, 0, USB_DATA, 2), ==, -VIV_USB_STALL); /* two came */
    g_assert_cmpint(usb_packet(d, VIV_USB_SETUP, 0, 0xf0000000, 8), ==, -VIV_USB_ERROR); /* no memory there */
    g_assert_cmpint(usb_control(d, 0x8006, 0x0100, 0, 18), ==, 18);
    rig_fini();
}

static void test_plug(void)
{
    usb_begin(true);
    rig_refused("usb-tablet", NULL, "no USB controller");
    hc_speeds = 1 << VIV_USB_HIGH;
    rig_add("test-hc", NULL);
    hc_speeds = 15;
    rig_refused("usb-kbd", "usb_version=1", "no port that takes it");
    rig_refused("usb-kbd", "usb_version=1,port=1", "speed");
    rig_refused("usb-kbd", "bus=nowhere.0", "nowhere.0");
    rig_refused("usb-kbd", "port=9", "no port '9'");
    for (unsigned i = 0; i < 4; i++)
        add("usb-kbd", NULL);
    rig_refused("usb-kbd", "port=3", "taken by usb-kbd");
    rig_refused("usb-kbd", NULL, "usb-hub");
    rig_fini();
}

/* ---- keyboard ---- */

static void expect_keys(struct viv_usb_dev *d, uint8_t modifiers, uint64_t keys)
{
    g_assert_cmpint(poll_report(d), ==, 8);
    g_assert_cmphex(mem64(USB_DATA), ==, (uint64_t)modifiers | keys << 16);
}

static void test_kbd(void)
{
    struct viv_usb_dev *d;

    usb_begin(false);
    d = add("usb-kbd", NULL);
    press(KEY_A, true); /* nobody listens */
    press(KEY_A, false);
    usb_configure(d, 1);
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    g_assert_cmpuint(usb.wakeups, ==, 0);
    press(KEY_A, true);
    g_assert_cmpuint(usb.wakeups, ==, 1);
    g_assert_cmphex(usb.endpoint, ==, 0x81);
    press(KEY_LEFTSHIFT, true);
    press(KEY_B, true);
    press(KEY_A, false);
    expect_keys(d, 0, 0x04);
    expect_keys(d, 2, 0x04);
    expect_keys(d, 2, 0x0504);
    g_assert_cmpint(usb_control(d, 0xa101, 0x0100, 0, 8), ==, 8); /* GET_REPORT takes nothing */
    expect_keys(d, 2, 0x05);
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    for (unsigned code = KEY_1; code <= KEY_6; code++)
        press(code, true);
    for (unsigned i = 0; i < 5; i++)
        g_assert_cmpint(poll_report(d), ==, 8);
    expect_keys(d, 2, 0x010101010101); /* seven: too many */
    press(KEY_B, false);
    expect_keys(d, 2, 0x23222120001e | 0x1f00);
    set_mem32(USB_DATA, 0x03);
    g_assert_cmpint(usb_control(d, 0x2109, 0x0200, 0, 1), ==, 1);
    g_assert_cmphex(viv_input_leds(), ==, VIV_LED_NUM | VIV_LED_CAPS);
    rig_fini();
}

/* Many events: presses are lost, releases never. */
static void test_flood(void)
{
    struct viv_usb_dev *d;

    usb_begin(false);
    d = add("usb-kbd", NULL);
    usb_configure(d, 1);
    poll_report(d);
    for (unsigned i = 0; i < 1000; i++) {
        press(KEY_Q + i % 10, true);
        press(KEY_Q + i % 10, false);
    }
    for (unsigned i = 0; i < 64 + 10 && poll_report(d) == 8; i++)
        ;
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    g_assert_cmpint(usb_control(d, 0xa101, 0x0100, 0, 8), ==, 8);
    g_assert_cmphex(mem64(USB_DATA), ==, 0);
    rig_fini();
}

/* Half a queue of presses, and then so many releases that theirs find no room: they come last, also in another machine. */
static void test_late_releases(void)
{
    g_autofree uint8_t *data = NULL;
    struct viv_usb_dev *d;
    size_t len;

    usb_begin(false);
    d = add("usb-kbd", NULL);
    usb_configure(d, 1);
    poll_report(d);
    press(KEY_LEFTSHIFT, true);
    for (unsigned i = 0; i < 50; i++) {
        press(KEY_Q + i % 10, true);
        press(KEY_Q + i % 10, false);
    }
    press(KEY_LEFTSHIFT, false);
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_dev_unlock();
    rig_load(data, len);
    while (poll_report(d) == 8)
        ;
    g_assert_cmpint(usb_control(d, 0xa101, 0x0100, 0, 8), ==, 8);
    g_assert_cmphex(mem64(USB_DATA), ==, 0);
    rig_fini();
}

/* 7.2.4: the report comes again and again. */
static void test_idle(void)
{
    struct viv_usb_dev *d;

    usb_begin(false);
    d = add("usb-kbd", NULL);
    usb_configure(d, 1);
    g_assert_cmpint(usb_control(d, 0x210a, 25 << 8, 0, 0), ==, 0); /* 100 ms */
    g_assert_cmpint(usb_control(d, 0xa102, 0, 0, 1), ==, 1);
    g_assert_cmpint(usb_byte(0), ==, 25);
    press(KEY_X, true);
    expect_keys(d, 0, 0x1b);
    usb.wakeups = 0;
    rig_step(99000000);
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    rig_step(1000000);
    g_assert_cmpuint(usb.wakeups, ==, 1);
    expect_keys(d, 0, 0x1b);
    rig_step(500000000); /* once until it is fetched */
    g_assert_cmpuint(usb.wakeups, ==, 2);
    g_assert_cmpint(usb_control(d, 0x210a, 0, 0, 0), ==, 0);
    rig_step(500000000);
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    rig_fini();
}

/* ---- pointers ---- */

#define AT(p) ((p) * 32 + 16) /* the middle of pixel p of 1024 */

static void place(unsigned x, unsigned y)
{
    viv_input_place(-1, x, y, 1024, 1024);
    viv_input_sync(-1);
}

static void button(enum viv_button b, bool down)
{
    viv_input_button(-1, b, down);
    viv_input_sync(-1);
}

static void expect_tablet(struct viv_usb_dev *d, uint8_t buttons, unsigned x, unsigned y, int wheel)
{
    g_assert_cmpint(poll_report(d), ==, 7);
    g_assert_cmphex(usb_byte(0), ==, buttons);
    g_assert_cmpuint(mem32(USB_DATA + 1), ==, x | y << 16);
    g_assert_cmpint((int8_t)usb_byte(5), ==, wheel);
}

static void test_tablet(void)
{
    struct viv_usb_dev *d, *mouse;

    usb_begin(false);
    mouse = add("usb-mouse", NULL);
    d = add("usb-tablet", NULL);
    g_assert_false(viv_input_is_absolute(-1)); /* nobody polls yet: the first that was added */
    usb_configure(mouse, 1);
    usb_configure(d, 2);
    g_assert_cmpint(usb_packet(mouse, VIV_USB_IN, 1, USB_DATA, 8), ==, -VIV_USB_NAK);
    g_assert_false(viv_input_is_absolute(-1));
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    g_assert_true(viv_input_is_absolute(-1));
    place(100, 200);
    place(300, 400);
    button(VIV_BUTTON_LEFT, true);
    place(500, 600);
    button(VIV_BUTTON_LEFT, false);
    viv_input_wheel(-1, 200, -1);
    viv_input_sync(-1);
    expect_tablet(d, 0, AT(300), AT(400), 0);
    expect_tablet(d, 1, AT(300), AT(400), 0);
    expect_tablet(d, 1, AT(500), AT(600), 0);
    expect_tablet(d, 0, AT(500), AT(600), 0);
    expect_tablet(d, 0, AT(500), AT(600), 127);
    g_assert_cmphex(usb_byte(6), ==, 0xff);
    expect_tablet(d, 0, AT(500), AT(600), 73);
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    usb.wakeups = 0;
    place(500, 600); /* as it was */
    g_assert_cmpuint(usb.wakeups, ==, 0);
    for (unsigned i = 0; i < 100; i++)
        button(VIV_BUTTON_RIGHT, !(i & 1));
    for (unsigned i = 0; i < 16; i++)
        g_assert_cmpint(poll_report(d), ==, 7);
    g_assert_cmphex(usb_byte(0), ==, 0); /* the last state is the true one */
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    viv_dev_lock();
    viv_usb_port_reset(d->port);
    viv_dev_unlock();
    g_assert_false(viv_input_is_absolute(-1)); /* the mouse has it back */
    rig_fini();
}

static void test_mouse(void)
{
    struct viv_usb_dev *d;

    usb_begin(false);
    d = add("usb-mouse", NULL);
    usb_configure(d, 1);
    poll_report(d);
    viv_input_move(-1, 300, -10);
    viv_input_sync(-1);
    g_assert_cmpint(poll_report(d), ==, 5);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x00f67f00);
    g_assert_cmpint(poll_report(d), ==, 5);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x00007f00);
    g_assert_cmpint(poll_report(d), ==, 5);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x00002e00);
    g_assert_cmpint(poll_report(d), ==, -VIV_USB_NAK);
    viv_input_move(-1, 130, 0);
    button(VIV_BUTTON_LEFT, true); /* where the way ends */
    button(VIV_BUTTON_LEFT, false);
    g_assert_cmpint(poll_report(d), ==, 5);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x00007f00);
    g_assert_cmpint(poll_report(d), ==, 5);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x00000301);
    g_assert_cmpint(poll_report(d), ==, 5);
    g_assert_cmphex(mem32(USB_DATA), ==, 0);
    g_assert_cmpint(usb_control(d, 0x210b, 0, 0, 0), ==, 0); /* boot protocol */
    viv_input_button(-1, VIV_BUTTON_MIDDLE, true);
    viv_input_sync(-1);
    g_assert_cmpint(poll_report(d), ==, 3);
    g_assert_cmphex(usb_byte(0), ==, 4);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 1, USB_DATA, 2), ==, -VIV_USB_NAK);
    viv_input_button(-1, VIV_BUTTON_MIDDLE, false);
    viv_input_sync(-1);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 1, USB_DATA, 2), ==, -VIV_USB_BABBLE);
    rig_fini();
}

/* A suspended device that may wakes the bus. */
static void test_wakeup(void)
{
    struct viv_usb_dev *d;

    usb_begin(false);
    d = add("usb-kbd", NULL);
    usb_configure(d, 1);
    d->port->suspended = true;
    press(KEY_A, true);
    g_assert_cmpuint(usb.resumes, ==, 0);
    g_assert_cmpint(usb_control(d, 0x0003, 1, 0, 0), ==, 0);
    press(KEY_A, false);
    g_assert_cmpuint(usb.resumes, ==, 1);
    expect_keys(d, 0, 0x04);
    rig_fini();
}

static void test_state(void)
{
    struct viv_usb_dev *d, *t;
    g_autofree uint8_t *data = NULL;
    size_t len;

    usb_begin(false);
    d = add("usb-kbd", NULL);
    t = add("usb-tablet", NULL);
    usb_configure(d, 1);
    usb_configure(t, 2);
    poll_report(d);
    poll_report(t);
    press(KEY_A, true);
    press(KEY_LEFTCTRL, true);
    expect_keys(d, 0, 0x04);
    place(1, 2);
    set_mem64(USB_SETUP, 0x0012000001000680ull); /* in the middle of a control transfer */
    g_assert_cmpint(usb_packet(d, VIV_USB_SETUP, 0, USB_SETUP, 8), ==, 8);
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 0, USB_DATA, 8), ==, 8);
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 0, USB_DATA, 64), ==, -VIV_USB_STALL);
    rig_load(data, len);
    g_assert_true(viv_input_is_absolute(-1));
    g_assert_cmpint(usb_packet(d, VIV_USB_IN, 0, USB_DATA, 64), ==, 10);
    expect_keys(d, 1, 0x04);
    expect_tablet(t, 0, AT(1), AT(2), 0);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb/standard", test_standard);
    g_test_add_func("/usb/control", test_control);
    g_test_add_func("/usb/plug", test_plug);
    g_test_add_func("/usb/wakeup", test_wakeup);
    g_test_add_func("/hid/kbd", test_kbd);
    g_test_add_func("/hid/flood", test_flood);
    g_test_add_func("/hid/late", test_late_releases);
    g_test_add_func("/hid/idle", test_idle);
    g_test_add_func("/hid/tablet", test_tablet);
    g_test_add_func("/hid/mouse", test_mouse);
    g_test_add_func("/hid/state", test_state);
    return g_test_run();
}
