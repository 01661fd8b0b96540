#include "ui/input.h"
#include "ui/keys.h"

#include <glib.h>
#include <linux/input-event-codes.h>

struct sink {
    unsigned code, keys, syncs, x, y, buttons;
    int dx, dy, wheel;
};

static void key(void *opaque, unsigned code, bool down)
{
    struct sink *s = opaque;

    s->code = code | (down ? 0 : 0x1000);
    s->keys++;
}

static void move(void *opaque, int dx, int dy)
{
    struct sink *s = opaque;

    s->dx += dx, s->dy += dy;
}

static void place(void *opaque, unsigned x, unsigned y)
{
    struct sink *s = opaque;

    s->x = x, s->y = y;
}

static void button(void *opaque, enum viv_button b, bool down)
{
    struct sink *s = opaque;

    s->buttons = (s->buttons & ~(1u << b)) | (unsigned)down << b;
}

static void wheel(void *opaque, int dy, int dx)
{
    ((struct sink *)opaque)->wheel += dy;
}

static void sync_(void *opaque)
{
    ((struct sink *)opaque)->syncs++;
}

static const struct viv_input_ops kbd = {.name = "kbd", .kinds = VIV_INPUT_KEYS, .key = key};
static const struct viv_input_ops mouse = {
    .name = "mouse", .kinds = VIV_INPUT_RELATIVE, .move = move, .button = button, .wheel = wheel, .sync = sync_};
static const struct viv_input_ops tablet = {
    .name = "tablet", .kinds = VIV_INPUT_ABSOLUTE, .place = place, .button = button, .wheel = wheel, .sync = sync_};

static unsigned told;

static void watch(void *opaque)
{
    told++;
}

static void test_keys(void)
{
    struct sink a = {0}, b = {0};
    struct viv_input_sink *first, *second;

    viv_input_key(KEY_A, true); /* nobody */
    first = viv_input_add(&kbd, &a, -1);
    viv_input_key(KEY_A, false); /* was never down for it */
    g_assert_cmpuint(a.keys, ==, 0);
    viv_input_key(KEY_A, true);
    viv_input_key(KEY_A, true); /* repeats are passed on */
    viv_input_key(KEY_A, false);
    g_assert_cmpuint(a.code, ==, 0x1000 | KEY_A);
    g_assert_cmpuint(a.keys, ==, 3);
    second = viv_input_add(&kbd, &b, -1);
    viv_input_key(KEY_B, true);
    viv_input_key(100000, true);
    g_assert_true(a.keys == 3 && b.keys == 1);
    viv_input_release_all();
    g_assert_cmpuint(b.code, ==, 0x1000 | KEY_B);
    viv_input_release_all();
    g_assert_cmpuint(b.keys, ==, 2);
    viv_input_set_leds(first, VIV_LED_CAPS);
    g_assert_cmpuint(viv_input_leds(), ==, 0);
    viv_input_key(KEY_C, true);
    viv_input_prefer(first, true); /* its driver starts while the key is down on the other */
    viv_input_key(KEY_C, false);
    g_assert_cmpuint(b.code, ==, 0x1000 | KEY_C);
    viv_input_key(KEY_C, true);
    g_assert_true(a.code == KEY_C && b.keys == 4);
    viv_input_prefer(second, true);
    viv_input_key(KEY_C, false);
    viv_input_key(KEY_D, true);
    g_assert_true(a.code == (0x1000 | KEY_C) && b.code == KEY_D);
    viv_input_remove(second);
    viv_input_key(KEY_D, false); /* it went with its keyboard */
    g_assert_cmpuint(a.code, ==, 0x1000 | KEY_C);
    g_assert_cmpuint(viv_input_leds(), ==, VIV_LED_CAPS);
    viv_input_remove(first);
    viv_input_remove(NULL);
}

static void test_pointers(void)
{
    struct sink m = {0}, t = {0};
    struct viv_input_sink *sm, *st;
    struct viv_input_watch *w = viv_input_watch(watch, NULL);
    struct viv_input_pointer p;

    told = 0;
    sm = viv_input_add(&mouse, &m, -1);
    g_assert_false(viv_input_is_absolute(0));
    viv_input_move(0, 3, -4);
    viv_input_place(0, 1, 1, 2, 2); /* nobody takes it */
    viv_input_button(0, VIV_BUTTON_RIGHT, true);
    viv_input_sync(0);
    g_assert_true(m.dx == 3 && m.dy == -4 && m.buttons == 4 && m.syncs == 1);
    st = viv_input_add(&tablet, &t, -1);
    g_assert_cmpuint(told, ==, 2);
    g_assert_true(viv_input_is_absolute(0));
    viv_input_place(0, 50, 99, 100, 100);
    viv_input_button(0, VIV_BUTTON_LEFT, true);
    viv_input_button(0, VIV_BUTTONS, true);
    viv_input_wheel(0, -2, 0);
    viv_input_sync(0);
    g_assert_true(t.x == 101u * 0x8000 / 200 && t.y == 199u * 0x8000 / 200 && t.buttons == 1 && t.wheel == -2 && t.syncs == 1);
    viv_input_place(0, 5000, 0, 100, 0); /* outside */
    g_assert_true(t.x == 199u * 0x8000 / 200 && t.y == 0);
    viv_input_prefer(st, false);
    g_assert_false(viv_input_is_absolute(0));
    viv_input_button(0, VIV_BUTTON_LEFT, false); /* it is down on the tablet */
    g_assert_true(t.buttons == 0 && t.syncs == 2 && m.buttons == 4);
    g_assert_true(viv_input_pointer(0, &p) && p.current && !p.absolute && p.index == 0);
    g_assert_true(viv_input_pointer(1, &p) && !p.current && p.absolute && p.index == 1);
    g_assert_false(viv_input_pointer(2, &p));
    g_assert_true(viv_input_prefer_pointer(1));
    g_assert_true(viv_input_is_absolute(0));
    g_assert_false(viv_input_prefer_pointer(7));
    viv_input_remove(st);
    g_assert_false(viv_input_is_absolute(0));
    viv_input_unwatch(w);
    told = 0;
    viv_input_remove(sm);
    g_assert_cmpuint(told, ==, 0);
}

/* Each head its own tablet. */
static void test_heads(void)
{
    struct sink a = {0}, b = {0};
    struct viv_input_sink *sa = viv_input_add(&tablet, &a, 0), *sb = viv_input_add(&tablet, &b, 1);

    viv_input_place(0, 1, 0, 4, 4);
    viv_input_place(1, 2, 0, 4, 4);
    g_assert_true(a.x == 0x3000 && b.x == 0x5000);
    g_assert_false(viv_input_is_absolute(2));
    viv_input_remove(sa);
    viv_input_remove(sb);
}

static void test_names(void)
{
    g_assert_cmpint(viv_key_by_name("ctrl"), ==, KEY_LEFTCTRL);
    g_assert_cmpint(viv_key_by_name("kp_multiply"), ==, KEY_KPASTERISK);
    g_assert_cmpint(viv_key_by_name("nothing"), ==, -1);
    g_assert_cmpstr(viv_key_name(KEY_F12), ==, "f12");
    g_assert_null(viv_key_name(KEY_MICMUTE));
    g_assert_cmphex(viv_key_to_set1(KEY_UP), ==, 0x148);
    g_assert_cmphex(viv_key_to_set1(KEY_PAUSE), ==, 0);
    g_assert_cmpint(viv_key_from_set1(0), ==, -1);
    for (unsigned code = 0; code < 0x300; code++) { /* there and back */
        unsigned set1 = viv_key_to_set1(code);

        if (set1)
            g_assert_cmpint(viv_key_from_set1(set1), ==, code);
        if (viv_key_name(code))
            g_assert_cmpint(viv_key_by_name(viv_key_name(code)), ==, code);
        if (code >= 1 && code <= KEY_F10) /* as Linux numbers them */
            g_assert_cmphex(set1, ==, code);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/input/keys", test_keys);
    g_test_add_func("/input/pointers", test_pointers);
    g_test_add_func("/input/heads", test_heads);
    g_test_add_func("/input/names", test_names);
    return g_test_run();
}
