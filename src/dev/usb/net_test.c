/* usb-net: frames both ways in packets of 64 and 512 bytes, filters, notifications, a full back end, saved state. */
#include "dev/net/wire_test.h"

#undef RAM_SIZE
#include "dev/usb/usb_test.h"

extern const struct viv_dev_class viv_dev_usb_net;
const struct viv_dev_class *const rig_classes[] = {&test_hc_class, &viv_dev_usb_net, NULL};

static struct viv_usb_dev *net;

static void begin(unsigned speeds)
{
    memset(&wire, 0, sizeof(wire));
    wire.sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    hc_speeds = speeds;
    usb_begin(false);
    net = (struct viv_usb_dev *)rig_add("usb-net", "netdev=n0,mac=52:54:00:01:02:03");
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    usb_configure(net, 4);
}

static void end(void)
{
    rig_fini();
    g_ptr_array_unref(wire.sent);
}

static void use(void)
{
    g_assert_cmpint(usb_control(net, 0x010b, 1, 1, 0), ==, 0);
}

static void make(uint8_t *f, size_t len, uint8_t to)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};

    for (size_t i = 0; i < len; i++)
        f[i] = (uint8_t)(i * 3);
    memcpy(f, mac, 6);
    f[5] = to;
}

/* As a controller with packets of `packet` bytes; returns the transfer's length. */
static int take(unsigned packet)
{
    int did = 0, rc;

    do {
        rc = usb_packet(net, VIV_USB_IN, 2, (uint64_t)USB_DATA + did, packet);
        if (rc < 0)
            return did ? -99 : rc;
        did += rc;
    } while (rc == (int)packet);
    return did;
}

static void test_in(void)
{
    static const unsigned lengths[] = {60, 64, 65, 512, 1024, 1514};
    uint8_t f[1600];

    for (unsigned speed = VIV_USB_FULL; speed <= VIV_USB_HIGH; speed++) {
        begin(1u << speed);
        make(f, 60, 3);
        g_assert_false(wire_give(f, 60)); /* no setting with endpoints yet */
        use();
        g_assert_cmpint(take(64), ==, -VIV_USB_NAK);
        for (unsigned i = 0; i < 6; i++) {
            make(f, lengths[i], 3);
            g_assert_true(wire_give(f, lengths[i]));
            g_assert_cmphex(usb.endpoint, ==, 0x82);
            g_assert_cmpint(take(speed == VIV_USB_FULL ? 64 : 512), ==, lengths[i]);
            g_assert_cmphex(mem32(USB_DATA + lengths[i] - 4), ==, viv_ld_le32(f + lengths[i] - 4));
            g_assert_cmpint(take(64), ==, -VIV_USB_NAK);
        }
        for (unsigned i = 0; i < 16; i++)
            g_assert_true(wire_give(f, 60));
        g_assert_false(wire_give(f, 60));
        wire.changed = 0;
        g_assert_cmpint(usb_packet(net, VIV_USB_IN, 2, USB_DATA, 2048), ==, 60); /* all of it at once */
        g_assert_cmpuint(wire.changed, ==, 1);
        g_assert_true(wire_give(f, 60));
        end();
    }
}

static void test_filter(void)
{
    uint8_t f[60], all[60];

    begin(1u << VIV_USB_HIGH);
    use();
    make(f, 60, 9); /* for somebody else */
    make(all, 60, 3);
    memset(all, 0xff, 6);
    g_assert_true(wire_give(f, 60));
    g_assert_cmpint(take(512), ==, -VIV_USB_NAK);
    g_assert_true(wire_give(all, 60));
    g_assert_cmpint(take(512), ==, 60);
    g_assert_cmpint(usb_control(net, 0x2143, 1, 0, 0), ==, 0); /* everything */
    g_assert_true(wire_give(f, 60));
    g_assert_cmpint(take(512), ==, 60);
    g_assert_cmpint(usb_control(net, 0x2143, 4, 0, 0), ==, 0); /* its own only */
    g_assert_true(wire_give(all, 60));
    g_assert_cmpint(take(512), ==, -VIV_USB_NAK);
    end();
}

static void expect_sent(unsigned n, size_t len)
{
    size_t size;

    g_assert_cmpuint(wire.sent->len, ==, n);
    if (n) {
        g_bytes_get_data(wire.sent->pdata[n - 1], &size);
        g_assert_cmpuint(size, ==, len);
    }
}

static void test_out(void)
{
    begin(1u << VIV_USB_FULL);
    use();
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA + 64 * i, 64), ==, 64);
    expect_sent(0, 0);
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 0), ==, 0);
    expect_sent(1, 192);
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 100), ==, 100);
    expect_sent(2, 100);
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 10), ==, 10); /* less than a header */
    for (unsigned i = 0; i < 30; i++) /* too long */
        g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 64), ==, 64);
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 1), ==, 1);
    expect_sent(2, 100);
    wire.full = true;
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 70), ==, 70);
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 71), ==, -VIV_USB_NAK);
    wire.full = false;
    viv_dev_lock();
    wire.ops->send_ready(wire.nic);
    viv_dev_unlock();
    expect_sent(3, 70);
    g_assert_cmphex(usb.endpoint, ==, 2);
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 71), ==, 71);
    expect_sent(4, 71);
    end();
}

static void test_notify(void)
{
    begin(1u << VIV_USB_HIGH);
    g_assert_cmpint(usb_control(net, 0x8006, 0x0303, 0x409, 255), ==, 2 + 24);
    g_assert_cmpint(usb_byte(2), ==, '5');
    g_assert_cmpint(usb_byte(24), ==, '3');
    g_assert_cmpint(usb_packet(net, VIV_USB_IN, 1, USB_DATA, 16), ==, -VIV_USB_NAK);
    use();
    g_assert_cmpint(usb_packet(net, VIV_USB_IN, 1, USB_DATA, 16), ==, 16);
    g_assert_cmphex(mem32(USB_DATA) & 0xffff, ==, 0x2aa1);
    g_assert_cmpuint(mem32(USB_DATA + 8), ==, 480000000);
    g_assert_cmpint(usb_packet(net, VIV_USB_IN, 1, USB_DATA, 16), ==, 8);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x000100a1);
    g_assert_cmpint(usb_packet(net, VIV_USB_IN, 1, USB_DATA, 16), ==, -VIV_USB_NAK);
    end();
}

static void test_state(void)
{
    g_autofree uint8_t *data = NULL;
    uint8_t f[300];
    size_t len;

    begin(1u << VIV_USB_FULL);
    use();
    make(f, 300, 3);
    g_assert_true(wire_give(f, 300));
    g_assert_cmpint(usb_packet(net, VIV_USB_IN, 2, USB_DATA, 64), ==, 64);
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 64), ==, 64);
    viv_dev_lock();
    data = rig_save(&len);
    viv_dev_reset_all();
    viv_dev_unlock();
    rig_load(data, len);
    g_assert_cmpint(take(64), ==, 300 - 64);
    g_assert_cmphex(mem32(USB_DATA), ==, viv_ld_le32(f + 64));
    g_assert_cmpint(usb_packet(net, VIV_USB_OUT, 2, USB_DATA, 6), ==, 6);
    expect_sent(1, 70);
    end();
}

/* The cable is part of the machine, as with other cards: where it was pulled it is pulled. */
static void test_cable_saved(void)
{
    g_autofree uint8_t *data = NULL;
    size_t len;

    begin(1u << VIV_USB_HIGH);
    use();
    while (usb_packet(net, VIV_USB_IN, 1, USB_DATA, 16) > 0)
        ;
    viv_dev_lock();
    wire.down = true;
    wire.ops->link_changed(wire.nic, false);
    data = rig_save(&len);
    wire.down = false;
    wire.ops->link_changed(wire.nic, true);
    viv_dev_unlock();
    g_assert_cmpint(usb_packet(net, VIV_USB_IN, 1, USB_DATA, 16), ==, 8);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x000100a1);
    rig_load(data, len);
    g_assert_true(wire.down);
    g_assert_cmpint(usb_packet(net, VIV_USB_IN, 1, USB_DATA, 16), ==, 8);
    g_assert_cmphex(mem32(USB_DATA), ==, 0x000000a1);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb-net/in", test_in);
    g_test_add_func("/usb-net/filter", test_filter);
    g_test_add_func("/usb-net/out", test_out);
    g_test_add_func("/usb-net/notify", test_notify);
    g_test_add_func("/usb-net/state", test_state);
    g_test_add_func("/usb-net/state/cable", test_cable_saved);
    return g_test_run();
}
