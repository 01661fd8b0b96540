#include "dev/input/i8042.h"
#include "dev/test_rig.h"
#include "ui/input.h"

#include <glib.h>
#include <linux/input-event-codes.h>
#include <stdio.h>

extern const struct viv_dev_class viv_dev_i8042;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i8042, NULL};

static struct viv_dev *kbc;

static void begin(void)
{
    rig_init();
    kbc = rig_add("i8042", NULL);
}

static int next(void)
{
    return in8(0x64) & 1 ? in8(0x60) : -1;
}

static void aux(uint8_t v)
{
    out8(0x64, 0xd4);
    out8(0x60, v);
}

static void test_controller(void)
{
    begin();
    g_assert_cmphex(in8(0x64), ==, 0x14);
    out8(0x64, 0xaa);
    g_assert_cmphex(in8(0x64) & 0x29, ==, 0x09);
    g_assert_cmphex(next(), ==, 0x55);
    out8(0x64, 0x60);
    out8(0x60, 0x47);
    out8(0x64, 0x20);
    g_assert_cmphex(next(), ==, 0x47);
    out8(0x64, 0xab);
    g_assert_cmphex(next(), ==, 0);
    out8(0x64, 0x65);
    out8(0x60, 0x99);
    out8(0x64, 0x25);
    g_assert_cmphex(next(), ==, 0x99);
    out8(0x64, 0x7f); /* the last byte of the RAM */
    out8(0x60, 1);
    out8(0x64, 0x3f);
    g_assert_cmphex(next(), ==, 1);
    out8(0x64, 0xd3); /* as if from the mouse */
    out8(0x60, 0x5a);
    g_assert_cmphex(in8(0x64) & 0x21, ==, 0x21);
    g_assert_cmphex(next(), ==, 0x5a);
    out8(0x64, 0xa7);
    out8(0x64, 0x20);
    g_assert_cmphex(next(), ==, 0x67);
    g_assert_cmpuint(rig.requests, ==, 0);
    out8(0x64, 0xfe);
    g_assert_cmpint(rig.request, ==, VIV_VM_RESET);
    out8(0x64, 0xd1);
    out8(0x60, 0x02);
    g_assert_cmpuint(rig.requests, ==, 2);
    out8(0x64, 0xdd); /* A20 is another bit of that port: no further reset */
    out8(0x64, 0xdf);
    g_assert_cmpuint(rig.requests, ==, 2);
    out8(0x64, 0xd0);
    g_assert_cmphex(next() & 3, ==, 3);
    rig_fini();
}

static void test_keyboard(void)
{
    begin();
    out8(0x60, 0xff);
    g_assert_cmpint(rig.line[1], ==, 1);
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 0xaa);
    g_assert_cmpint(next(), ==, -1);
    g_assert_cmpint(rig.line[1], ==, 0);
    out8(0x60, 0xf2);
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 0xab);
    g_assert_cmphex(next(), ==, 0x41); /* 83h, translated as on real machines */
    out8(0x60, 0xed);
    out8(0x60, 0x07);
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 0xfa);
    out8(0x60, 0xee);
    g_assert_cmphex(next(), ==, 0xee);
    out8(0x64, 0x60);
    out8(0x60, 0x05); /* no translation */
    out8(0x60, 0xf0);
    g_assert_cmphex(next(), ==, 0xfa);
    out8(0x60, 3);
    g_assert_cmphex(next(), ==, 0xfe); /* there is no set 3 */
    out8(0x60, 0xf0);
    g_assert_cmphex(next(), ==, 0xfa);
    out8(0x60, 0);
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 2);
    rig_fini();
}

/* Every key of set 1 comes back as itself through set 2 and translation. */
static void test_keys(void)
{
    begin();
    for (unsigned code = 1; code < 0x59; code++) {
        if (code == 0x55 || code == 0x56 || code == 0x57)
            continue; /* not keys of set 2's table in both directions */
        rig.rises[1] = 0;
        viv_i8042_key(kbc, code);
        g_assert_cmphex(next(), ==, code);
        viv_i8042_key(kbc, code | 0x80);
        g_assert_cmphex(next(), ==, code | 0x80);
        g_assert_cmpuint(rig.rises[1], ==, 2);
    }
    viv_i8042_key(kbc, 0x14b); /* left arrow */
    g_assert_cmphex(next(), ==, 0xe0);
    g_assert_cmphex(next(), ==, 0x4b);
    viv_i8042_key(kbc, 0x1cb);
    g_assert_cmphex(next(), ==, 0xe0);
    g_assert_cmphex(next(), ==, 0xcb);
    out8(0x64, 0x60);
    out8(0x60, 0x01); /* no translation */
    viv_i8042_key(kbc, 0x1e);
    viv_i8042_key(kbc, 0x9e);
    g_assert_cmphex(next(), ==, 0x1c);
    g_assert_cmphex(next(), ==, 0xf0);
    g_assert_cmphex(next(), ==, 0x1c);
    out8(0x60, 0xf5);
    g_assert_cmphex(next(), ==, 0xfa);
    viv_i8042_key(kbc, 0x1e); /* scanning is off */
    g_assert_cmpint(next(), ==, -1);
    for (int i = 0; i < 1000; i++) /* the queue has an end */
        out8(0x60, 0xee);
    while (next() >= 0)
        ;
    rig_fini();
}

static void test_mouse(void)
{
    begin();
    out8(0x64, 0xa8);
    out8(0x64, 0x60);
    out8(0x60, 0x47);
    aux(0xff);
    g_assert_cmpint(rig.line[12], ==, 1);
    g_assert_cmphex(in8(0x64) & 0x20, ==, 0x20);
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 0xaa);
    g_assert_cmphex(next(), ==, 0x00);
    for (int i = 0; i < 3; i++) {
        aux(0xf3);
        aux(i == 0 ? 200 : i == 1 ? 100 : 80);
        g_assert_cmphex(next(), ==, 0xfa);
        g_assert_cmphex(next(), ==, 0xfa);
    }
    aux(0xf2);
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 3);
    viv_i8042_mouse(kbc, 5, 0, 0, 0); /* not reporting yet */
    g_assert_cmpint(next(), ==, -1);
    aux(0xf4);
    g_assert_cmphex(next(), ==, 0xfa);
    viv_i8042_mouse(kbc, 0, -3, 1, 1);
    g_assert_cmphex(next(), ==, 0x29);
    g_assert_cmphex(next(), ==, 0);
    g_assert_cmphex(next(), ==, 0xfd);
    g_assert_cmphex(next(), ==, 1);
    aux(0xe9);
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 0x24);
    g_assert_cmphex(next(), ==, 2);
    g_assert_cmphex(next(), ==, 80);
    rig_fini();
}

static void expect(const char *hex)
{
    for (unsigned v; sscanf(hex, "%2x", &v) == 1; hex += 2)
        g_assert_cmphex(next(), ==, v);
    g_assert_cmpint(next(), ==, -1);
}

static void mouse_on(void)
{
    begin();
    out8(0x64, 0xa8);
    aux(0xf4);
    g_assert_cmphex(next(), ==, 0xfa);
}

/* A way that is longer than a packet can say comes whole, and a click where it ends. */
static void test_long_way(void)
{
    mouse_on();
    viv_i8042_mouse(kbc, 600, 0, 0, 1);
    viv_i8042_mouse(kbc, 0, 0, 0, 0);
    viv_i8042_mouse(kbc, 0, -300, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(next(), ==, i == 2 ? 0x09 : 0x08);
        g_assert_cmpint(next(), ==, i == 2 ? 90 : 255);
        g_assert_cmpint(next(), ==, 0);
    }
    g_assert_cmphex(next(), ==, 0x08);
    g_assert_cmpint(next() + next(), ==, 0);
    g_assert_cmphex(next(), ==, 0x28);
    g_assert_cmpint(next(), ==, 0);
    g_assert_cmpint(next(), ==, 0x01);
    g_assert_cmphex(next(), ==, 0x28);
    g_assert_cmpint(next(), ==, 0);
    g_assert_cmpint(next(), ==, 0x100 - 45);
    g_assert_cmpint(next(), ==, -1);
    rig_fini();
}

/* A guest that does not read for a while: all motion, press and release in their places, and nothing is left. */
static void test_slow_guest(void)
{
    int x = 0, v, down = -1, up = -1, buttons = 0;
    g_autofree uint8_t *data = NULL;
    size_t len;

    mouse_on();
    for (unsigned i = 0; i < 100; i++)
        viv_i8042_mouse(kbc, i & 1 ? 3 : 4, 0, 0, 0);
    viv_i8042_mouse(kbc, 0, 0, 0, 1);
    for (unsigned i = 0; i < 100; i++)
        viv_i8042_mouse(kbc, -2, 0, 0, 1);
    viv_i8042_mouse(kbc, 0, 0, 0, 0);
    viv_i8042_mouse(kbc, 1, 0, 0, 0);
    aux(0xe8); /* and an answer finds room */
    data = rig_save(&len);
    rig_fini();
    begin();
    rig_load(data, len);
    while ((v = next()) >= 0) {
        if (v == 0xfa)
            continue;
        x += next() - (v & 0x10 ? 256 : 0);
        g_assert_cmpint(next(), ==, 0);
        if ((v & 1) != buttons)
            *(v & 1 ? &down : &up) = x;
        buttons = v & 1;
    }
    g_assert_cmpint(down, ==, 350);
    g_assert_cmpint(up, ==, 150);
    g_assert_cmpint(x, ==, 151);
    rig_fini();
}

static void knock(uint8_t middle)
{
    uint8_t rates[] = {200, middle, 80};

    for (unsigned i = 0; i < 3; i++) {
        aux(0xf3);
        aux(rates[i]);
        expect("fafa");
    }
}

static void click(enum viv_button b, const char *down, const char *up)
{
    viv_input_button(0, b, true);
    viv_input_sync(0);
    expect(down);
    viv_input_button(0, b, false);
    viv_input_sync(0);
    expect(up);
}

/* IntelliMouse Explorer: two buttons at the sides, beside the wheel in the fourth byte. Others do not have them. */
static void test_explorer(void)
{
    mouse_on();
    click(VIV_BUTTON_SIDE, "", "");
    knock(100);
    click(VIV_BUTTON_EXTRA, "", "");
    knock(200);
    aux(0xf2);
    expect("fa04");
    click(VIV_BUTTON_SIDE, "08000010", "08000000");
    viv_input_button(0, VIV_BUTTON_EXTRA, true);
    viv_input_button(0, VIV_BUTTON_LEFT, true);
    viv_input_wheel(0, 1, 0);
    viv_input_sync(0);
    expect("0900002f");
    viv_input_button(0, VIV_BUTTON_LEFT, false);
    viv_input_move(0, 2, 0);
    viv_input_sync(0);
    expect("08020020");
    viv_input_button(0, VIV_BUTTON_EXTRA, false);
    viv_input_sync(0);
    expect("08000000");
    rig_fini();
}

/* As a viewer's. */
static void test_sinks(void)
{
    begin();
    viv_input_key(KEY_A, true);
    viv_input_key(KEY_A, false);
    expect("1e9e");
    viv_input_key(KEY_RIGHTCTRL, true);
    viv_input_release_all();
    expect("e01de09d");
    viv_input_key(KEY_MICMUTE, true); /* PCs have none */
    expect("");
    g_assert_cmpuint(viv_input_leds(), ==, 0);
    out8(0x60, 0xed);
    out8(0x60, 0x04);
    g_assert_cmpuint(viv_input_leds(), ==, VIV_LED_CAPS);
    expect("fafa");
    out8(0x64, 0xa8);
    aux(0xf4);
    expect("fa");
    viv_input_move(0, 10, 4);
    viv_input_move(0, -1, -1);
    viv_input_button(0, VIV_BUTTON_MIDDLE, true);
    expect(""); /* until it is complete */
    viv_input_sync(0);
    expect("2c09fd");
    viv_input_sync(0);
    expect("");
    viv_input_button(0, VIV_BUTTON_MIDDLE, false);
    viv_input_sync(0);
    expect("080000");
    rig_fini();
    g_assert_false(viv_input_is_absolute(0));
    viv_input_key(KEY_A, true); /* to nobody */
}

static void tap(unsigned code)
{
    viv_input_key(code, true);
    viv_input_key(code, false);
}

/* Pause and Print, alone and with what makes other keys of them: DOS ends a program by Ctrl-Break, E0 46. */
static void test_pause_and_print(void)
{
    begin();
    tap(KEY_PAUSE);
    expect("e11d45e19dc5");
    tap(KEY_SYSRQ);
    expect("e02ae037e0b7e0aa");
    viv_input_key(KEY_RIGHTCTRL, true);
    tap(KEY_PAUSE);
    expect("e01de046e0c6");
    tap(KEY_SYSRQ);
    expect("e037e0b7");
    viv_input_release_all();
    expect("e09d");
    viv_input_key(KEY_LEFTALT, true);
    viv_input_key(KEY_SYSRQ, true);
    viv_input_key(KEY_LEFTALT, false);
    viv_input_key(KEY_SYSRQ, false);
    expect("3854b8d4");
    rig_fini();
}

/* Linux takes a controller for none when it reads 16 bytes and there are more: somebody has typed, or leaned on a key, or both. */
static void test_typed_early(void)
{
    unsigned n;

    for (unsigned how = 0; how < 3; how++) {
        begin();
        for (unsigned i = 0; i < 40 && how != 1; i++)
            tap(KEY_1 + i % 30);
        for (unsigned i = 0; i < 40 && how; i++)
            viv_input_key(KEY_LEFT, true);
        viv_input_key(KEY_LEFT, false);
        for (n = 0; next() >= 0; n++)
            ;
        g_assert_cmpuint(n, >=, 10);
        g_assert_cmpuint(n, <=, 16);
        rig_fini();
    }
}

/* What has been typed does not take an answer's room, nor does it come before it. */
static void test_answers_first(void)
{
    begin();
    for (unsigned i = 0; i < 40; i++)
        viv_input_key(KEY_A, true);
    out8(0x60, 0xf2);
    g_assert_cmphex(next(), ==, 0x1e); /* the controller has it already */
    g_assert_cmphex(next(), ==, 0xfa);
    g_assert_cmphex(next(), ==, 0xab);
    g_assert_cmphex(next(), ==, 0x41);
    g_assert_cmphex(next(), ==, 0x1e);
    out8(0x60, 0xf5); /* forgets the others */
    g_assert_cmphex(next(), ==, 0x1e);
    expect("fa");
    rig_fini();
}

/* More than the queue holds: presses are lost, no release is. */
static void test_late_releases(void)
{
    unsigned down[128] = {0}, presses = 0;
    int v;

    begin();
    for (unsigned code = KEY_1; code <= KEY_SLASH; code++)
        viv_input_key(code, true);
    g_assert_true(viv_input_busy());
    viv_input_release_all();
    while ((v = next()) >= 0) {
        presses += !(v & 0x80);
        down[v & 0x7f] += v & 0x80 ? -down[v & 0x7f] : 1;
    }
    g_assert_cmpuint(presses, >, 10);
    g_assert_false(viv_input_busy());
    for (unsigned code = 0; code < 128; code++)
        g_assert_cmpuint(down[code], ==, 0);
    rig_fini();
}

static void test_state(void)
{
    size_t len, len2;
    uint8_t *a, *b;

    begin();
    out8(0x60, 0xf2);
    viv_i8042_key(kbc, 0x1e);
    out8(0x64, 0x60);
    a = rig_save(&len);
    rig_fini();
    begin();
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    g_assert_cmphex(next(), ==, 0xfa);
    out8(0x60, 0x07);
    out8(0x64, 0x20);
    g_assert_cmphex(next(), ==, 0xab); /* already in the output buffer */
    g_assert_cmphex(next(), ==, 0x07);
    rig_fini();
    g_free(a);
    g_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/controller", test_controller);
    g_test_add_func("/i8042/keyboard", test_keyboard);
    g_test_add_func("/i8042/keys", test_keys);
    g_test_add_func("/i8042/mouse", test_mouse);
    g_test_add_func("/i8042/long-way", test_long_way);
    g_test_add_func("/i8042/slow-guest", test_slow_guest);
    g_test_add_func("/i8042/explorer", test_explorer);
    g_test_add_func("/i8042/sinks", test_sinks);
    g_test_add_func("/i8042/pause-and-print", test_pause_and_print);
    g_test_add_func("/i8042/typed-early", test_typed_early);
    g_test_add_func("/i8042/answers-first", test_answers_first);
    g_test_add_func("/i8042/late", test_late_releases);
    g_test_add_func("/i8042/state", test_state);
    return g_test_run();
}
