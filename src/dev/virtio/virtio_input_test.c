/* virtio-input: what the configuration says, events in order whatever buffers there are, nothing lost but motion, LEDs, state. */
#include "dev/virtio/virtio_input.h"

#include "base/bytes.h"
#include "bus/pci.h"
#include "bus/virtio_driver.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <glib.h>
#include <linux/input.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_i440fx, viv_dev_virtio_keyboard_pci, viv_dev_virtio_mouse_pci, viv_dev_virtio_tablet_pci;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_virtio_keyboard_pci, &viv_dev_virtio_mouse_pci,
                                                   &viv_dev_virtio_tablet_pci, NULL};

static struct td d;

/* Buffers for n events. */
static void offer(unsigned n)
{
    static unsigned next;

    for (unsigned i = 0; i < n && d.q[VIN_EVENTS].free_count; i++) {
        struct td_seg seg = {0x80000 + next++ % 64 * 8, 8, true};

        td_add(&d, VIN_EVENTS, &seg, 1, false);
    }
    td_kick(&d, VIN_EVENTS);
}

static void start(void)
{
    td_start(&d, d.v, 0, 0x10000);
    td_queue_start(&d, VIN_EVENTS, 64);
    td_queue_start(&d, VIN_STATUS, 64);
    td_go(&d);
}

static void setup(const char *cls, const char *opts)
{
    struct viv_dev *dev;

    rig_init();
    rig_add_ram(1u << 20);
    rig_add("i440FX", "addr=0");
    dev = rig_add(cls, opts);
    viv_dev_lock();
    d = (struct td){.v = viv_virtio_of(dev), .mem = rig.board.mem};
    viv_dev_set_running_all(true);
    viv_pci_config_write(rig.board.pci, ((struct viv_pci_dev *)dev)->devfn, 4, 4, 2); /* bus master */
    start();
}

static void teardown(void)
{
    viv_input_release_all();
    viv_dev_unlock();
    rig_fini();
}

/* The next event that came, with its buffer's descriptor as the ring has it. */
static bool event(struct virtio_input_event *e)
{
    uint16_t id;
    uint32_t len;
    uint8_t raw[8];

    if (!td_used(&d, VIN_EVENTS, &id, &len))
        return false;
    g_assert_cmpuint(len, ==, 8);
    td_read(&d, d.q[VIN_EVENTS].desc + 16 * id, raw, 8);
    td_read(&d, viv_ld_le64(raw), e, 8);
    return true;
}

static void expect(uint16_t type, uint16_t code, int32_t value)
{
    struct virtio_input_event e;

    g_assert_true(event(&e));
    g_assert_cmpuint(e.type, ==, type);
    g_assert_cmpuint(e.code, ==, code);
    g_assert_cmpint((int32_t)e.value, ==, value);
}

static void expect_end(void)
{
    expect(EV_SYN, SYN_REPORT, 0);
}

static void expect_nothing(void)
{
    struct virtio_input_event e;

    g_assert_false(event(&e));
}

static void expect_key(uint16_t code, bool down)
{
    expect(EV_KEY, code, down);
    expect_end();
}

/* ---- configuration ---- */

static unsigned select_config(uint8_t sel, uint8_t sub, struct virtio_input_config *c)
{
    viv_virtio_config_write(d.v, 0, &sel, 1);
    viv_virtio_config_write(d.v, 1, &sub, 1);
    viv_virtio_config_read(d.v, 0, c, sizeof(*c));
    g_assert_cmpuint(c->select * 256u + c->subsel, ==, sel * 256u + sub);
    return c->size;
}

static bool bit(const struct virtio_input_config *c, unsigned n)
{
    return n / 8 < c->size && c->u.bitmap[n / 8] >> n % 8 & 1;
}

static void test_config(void)
{
    struct virtio_input_config c;

    setup("virtio-keyboard-pci", "serial=k1");
    g_assert_cmpuint(select_config(0, 0, &c), ==, 0);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ID_NAME, 0, &c), ==, 24);
    g_assert_cmpmem(c.u.string, 24, "Vivarium Virtio Keyboard", 24);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ID_NAME, 1, &c), ==, 0);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ID_SERIAL, 0, &c), ==, 2);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ID_DEVIDS, 0, &c), ==, 8);
    g_assert_cmphex(c.u.ids.bustype, ==, BUS_VIRTUAL);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_PROP_BITS, 0, &c), ==, 0);
    select_config(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, &c);
    g_assert_true(bit(&c, KEY_A) && bit(&c, KEY_RIGHTMETA) && bit(&c, KEY_F24) && !bit(&c, KEY_RESERVED) && !bit(&c, BTN_LEFT));
    select_config(VIRTIO_INPUT_CFG_EV_BITS, EV_LED, &c);
    g_assert_true(bit(&c, LED_CAPSL));
    select_config(VIRTIO_INPUT_CFG_EV_BITS, EV_REP, &c);
    g_assert_true(bit(&c, REP_DELAY));
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, &c), ==, 0);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_X, &c), ==, 0);
    teardown();
    setup("virtio-tablet-pci", NULL);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_Y, &c), ==, 20);
    g_assert_cmpuint(c.u.abs.min * 100000 + c.u.abs.max, ==, 32767);
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_Z, &c), ==, 0);
    select_config(VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, &c);
    g_assert_true(bit(&c, ABS_X) && bit(&c, ABS_Y) && !bit(&c, ABS_Z));
    select_config(VIRTIO_INPUT_CFG_EV_BITS, EV_REL, &c);
    g_assert_true(bit(&c, REL_WHEEL) && bit(&c, REL_HWHEEL) && !bit(&c, REL_X));
    select_config(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, &c);
    g_assert_true(bit(&c, BTN_LEFT) && bit(&c, BTN_EXTRA) && !bit(&c, KEY_A));
    g_assert_cmpuint(select_config(VIRTIO_INPUT_CFG_ID_SERIAL, 0, &c), ==, 0);
    teardown();
}

/* ---- keys ---- */

static void key(unsigned code, bool down)
{
    viv_input_key(code, down);
}

static void test_keys(void)
{
    setup("virtio-keyboard-pci", NULL);
    offer(64);
    key(KEY_A, true);
    key(KEY_A, false);
    key(KEY_MAX, true); /* no such key */
    expect_key(KEY_A, true);
    expect_key(KEY_A, false);
    expect_nothing();
    viv_virtio_set_status(d.v, 0); /* nobody listens: forgotten */
    key(KEY_B, true);
    key(KEY_B, false);
    start();
    offer(10);
    expect_nothing();
    teardown();
}

/* 1000 presses and releases through a queue that has few buffers at a time: all, in order, as long as who types minds
 * viv_input_busy(). */
static void test_fast(void)
{
    unsigned sent = 0, got = 0;

    setup("virtio-keyboard-pci", NULL);
    while (got < 2000) {
        struct virtio_input_event e;

        for (; sent < 2000 && !viv_input_busy(); sent++)
            key(KEY_1 + sent / 2 % 10, !(sent & 1));
        offer(7);
        while (event(&e)) {
            if (e.type == EV_SYN)
                continue;
            g_assert_cmpuint(e.code, ==, KEY_1 + got / 2 % 10);
            g_assert_cmpuint(e.value, ==, !(got & 1));
            got++;
        }
    }
    teardown();
}

/* Nobody reads: presses are lost, no release is. */
static void test_full(void)
{
    bool down[VIN_CODES] = {false};
    unsigned presses = 0;
    struct virtio_input_event e;

    setup("virtio-keyboard-pci", NULL);
    for (unsigned code = 1; code <= 100; code++)
        key(code, true);
    for (unsigned n = 0; n < 3; n++) {
        for (unsigned code = 1; code <= 100; code++)
            key(code, false);
        for (unsigned code = 1; code <= 100; code++)
            key(code, true);
    }
    for (unsigned code = 1; code <= 100; code++)
        key(code, false);
    g_assert_true(viv_input_busy());
    g_assert_cmpuint(((struct virtio_input *)d.v)->key_count, ==, VIN_KEYS);
    for (offer(50); event(&e); offer(1)) {
        if (e.type == EV_KEY) {
            down[e.code] = e.value;
            presses += e.value;
        }
    }
    g_assert_cmpuint(presses, ==, 100); /* those before the queue was half full */
    for (unsigned code = 0; code < VIN_CODES; code++)
        g_assert_false(down[code]);
    g_assert_false(viv_input_busy());
    teardown();
}

static void led(uint16_t type, uint16_t code, uint32_t value)
{
    struct virtio_input_event e = {type, code, value};
    struct td_seg seg = {td_put(&d, &e, sizeof(e)), sizeof(e), false};
    uint16_t id;
    uint32_t len;

    td_add(&d, VIN_STATUS, &seg, 1, false);
    td_kick(&d, VIN_STATUS);
    g_assert_true(td_used(&d, VIN_STATUS, &id, &len));
}

static void test_leds(void)
{
    setup("virtio-keyboard-pci", NULL);
    led(EV_LED, LED_CAPSL, 1);
    led(EV_LED, LED_NUML, 1);
    led(EV_LED, 77, 1);
    led(EV_SYN, SYN_REPORT, 0);
    g_assert_cmpuint(viv_input_leds(), ==, VIV_LED_CAPS | VIV_LED_NUM);
    led(EV_LED, LED_CAPSL, 0);
    g_assert_cmpuint(viv_input_leds(), ==, VIV_LED_NUM);
    viv_virtio_set_status(d.v, 0);
    g_assert_cmpuint(viv_input_leds(), ==, 0);
    teardown();
}

/* ---- pointers ---- */

static void test_tablet(void)
{
    setup("virtio-tablet-pci", NULL);
    g_assert_true(viv_input_is_absolute(-1));
    offer(20);
    viv_input_place(-1, 10, 20, 1024, 1024);
    viv_input_button(-1, VIV_BUTTON_LEFT, true);
    viv_input_sync(-1);
    expect(EV_ABS, ABS_X, 10 * 32 + 16);
    expect(EV_ABS, ABS_Y, 20 * 32 + 16);
    expect(EV_KEY, BTN_LEFT, 1);
    expect_end();
    viv_input_place(-1, 10, 20, 1024, 1024); /* there it is */
    viv_input_sync(-1);
    viv_input_place(-1, 10, 30, 1024, 1024);
    viv_input_wheel(-1, -1, 2);
    viv_input_button(-1, VIV_BUTTON_LEFT, false);
    viv_input_button(-1, VIV_BUTTON_RIGHT, true);
    viv_input_button(-1, VIV_BUTTON_MIDDLE, true);
    viv_input_sync(-1);
    expect(EV_ABS, ABS_Y, 30 * 32 + 16);
    expect(EV_REL, REL_WHEEL, -1);
    expect(EV_REL, REL_HWHEEL, 2);
    expect(EV_KEY, BTN_LEFT, 0);
    expect(EV_KEY, BTN_MIDDLE, 1);
    expect(EV_KEY, BTN_RIGHT, 1);
    expect_end();
    expect_nothing();
    teardown();
}

/* Without buffers motion adds up, clicks stay in their places; a group that has begun goes on. */
static void test_waiting(void)
{
    setup("virtio-mouse-pci", NULL);
    g_assert_false(viv_input_is_absolute(-1));
    for (int i = 0; i < 10; i++) {
        viv_input_move(-1, 5, -2);
        viv_input_sync(-1);
    }
    viv_input_button(-1, VIV_BUTTON_LEFT, true);
    viv_input_sync(-1);
    viv_input_move(-1, 1, 1);
    viv_input_sync(-1);
    viv_input_button(-1, VIV_BUTTON_LEFT, false);
    viv_input_sync(-1);
    offer(2);
    expect(EV_REL, REL_X, 5); /* this was on its way when the second came */
    expect(EV_REL, REL_Y, -2);
    expect_nothing();
    offer(20);
    expect_end();
    expect(EV_REL, REL_X, 45);
    expect(EV_REL, REL_Y, -18);
    expect_end();
    expect(EV_KEY, BTN_LEFT, 1);
    expect_end();
    expect(EV_REL, REL_X, 1);
    expect(EV_REL, REL_Y, 1);
    expect_end();
    expect(EV_KEY, BTN_LEFT, 0);
    expect_end();
    expect_nothing();
    teardown();
}

static void test_refused(void)
{
    rig_init();
    rig_add("i440FX", "addr=0");
    rig_refused("virtio-tablet-pci", "display=none", "no display before it");
    rig_refused("virtio-tablet-pci", "head=1", "of which display");
    rig_fini();
}

/* ---- saved state ---- */

static void test_state(void)
{
    uint8_t *data;
    size_t len;

    setup("virtio-keyboard-pci", NULL);
    key(KEY_A, true);
    key(KEY_B, true);
    led(EV_LED, LED_CAPSL, 1);
    offer(1);
    expect(EV_KEY, KEY_A, 1);
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    data = rig_save(&len);
    viv_dev_lock();
    viv_dev_reset_all();
    g_assert_cmpuint(viv_input_leds(), ==, 0);
    viv_dev_unlock();
    rig_load(data, len);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    g_assert_cmpuint(viv_input_leds(), ==, VIV_LED_CAPS);
    offer(10);
    expect_end();
    expect_key(KEY_B, true);
    expect_nothing();
    g_free(data);
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-input/config", test_config);
    g_test_add_func("/virtio-input/keys", test_keys);
    g_test_add_func("/virtio-input/fast", test_fast);
    g_test_add_func("/virtio-input/full", test_full);
    g_test_add_func("/virtio-input/leds", test_leds);
    g_test_add_func("/virtio-input/tablet", test_tablet);
    g_test_add_func("/virtio-input/waiting", test_waiting);
    g_test_add_func("/virtio-input/refused", test_refused);
    g_test_add_func("/virtio-input/state", test_state);
    return g_test_run();
}
