/* A text console: pixels and text of what is written, bytes of what is typed, and where it stands among consoles. */
#include "ui/vc/vc.h"

#include "host/lock.h"
#include "ui/console.h"
#include "ui/vc/font.h"
#include "ui/vc/vc_keys.h"

#include <glib.h>
#include <string.h>
#include <xkbcommon/xkbcommon-keysyms.h>

static GString *typed;
static size_t room;
static struct viv_vc *greedy; /* asks for more while it takes some */

static size_t on_typed(void *opaque, const uint8_t *bytes, size_t len)
{
    len = MIN(len, room);
    if (greedy && len) {
        room -= len;
        viv_vc_input_wanted(greedy);
        room += len;
    }
    g_string_append_len(typed, (const char *)bytes, (gssize)len);
    room -= len;
    return len;
}

static const struct viv_vc_ops ops = {.typed = on_typed};

static struct viv_vc *make(unsigned columns, unsigned rows)
{
    room = 1000;
    typed = typed ? g_string_truncate(typed, 0) : g_string_new(NULL);
    return viv_vc_new("serial0", columns, rows, &ops, NULL);
}

static void write_text(struct viv_vc *v, const char *text)
{
    viv_vc_write(v, (const uint8_t *)text, strlen(text));
}

static uint32_t pixel(const struct viv_console *c, unsigned x, unsigned y)
{
    const struct viv_surface *s = viv_console_surface(c);

    return ((const uint32_t *)(s->pixels + y * s->stride))[x];
}

static void test_pixels(void)
{
    struct viv_vc *v = make(0, 0);
    struct viv_console *c = viv_console_find("serial0", 0);

    g_assert_true(viv_console_is_text(c));
    g_assert_cmpuint(viv_console_surface(c)->width, ==, 640);
    g_assert_cmpuint(viv_console_surface(c)->height, ==, 384);
    write_text(v, "\033[2;3H\033[31;44m\xe2\x96\x88 "); /* a full block, red on blue, and a space */
    viv_console_refresh(c);
    for (unsigned y = 0; y < 16; y++) {
        for (unsigned x = 0; x < 16; x++)
            g_assert_cmphex(pixel(c, 16 + x, 16 + y), ==, x < 8 ? 0xaa0000 : 0x0000aa);
    }
    g_assert_cmphex(pixel(c, 15, 16), ==, 0);
    g_assert_cmphex(pixel(c, 32, 16), ==, 0xaaaaaa); /* the cursor */
    viv_vc_free(v);
}

static void test_text(void)
{
    struct viv_vc *v = make(20, 4);
    struct viv_text *t;

    write_text(v, "\033[31mr\033[7mi");
    t = viv_console_text(viv_console_find("serial0", 0));
    g_assert_cmpuint(t->columns * t->rows, ==, 80);
    g_assert_cmpint(t->cursor_x, ==, 2);
    g_assert_true(t->cell[0].ch == 'r' && t->cell[0].fg == 4 && t->cell[0].bg == 0);
    g_assert_true(t->cell[1].ch == 'i' && t->cell[1].fg == 0 && t->cell[1].bg == 4);
    g_free(t);
    viv_vc_free(v);
}

static void test_typed(void)
{
    struct viv_vc *v = make(20, 4);
    struct viv_console *c = viv_console_find("serial0", 0);

    viv_console_type(c, 'a', 0);
    viv_console_type(c, 'c', VIV_MOD_CTRL);
    viv_console_type(c, 'x', VIV_MOD_ALT);
    viv_console_type(c, XKB_KEY_Return, 0);
    viv_console_type(c, 0x10020ac, 0);
    viv_console_type(c, XKB_KEY_Up, 0);
    write_text(v, "\033[?1h");
    viv_console_type(c, XKB_KEY_Up, 0);
    viv_console_type(c, XKB_KEY_Shift_L, VIV_MOD_SHIFT);
    g_assert_cmpstr(typed->str, ==, "a\003\033x\r\xe2\x82\xac\033[A\033OA");
    g_string_truncate(typed, 0);
    room = 0; /* the other side takes nothing: it waits, and not without an end */
    for (unsigned i = 0; i < 5000; i++)
        viv_console_type(c, 'z', 0);
    write_text(v, "\033[c");
    g_assert_cmpuint(typed->len, ==, 0);
    room = 1000;
    greedy = v;
    viv_vc_input_wanted(v);
    g_assert_cmpuint(typed->len, ==, 1000);
    room = 100000;
    viv_vc_input_wanted(v);
    greedy = NULL;
    g_assert_cmpuint(typed->len, ==, 4096);
    viv_vc_free(v);
}

static void test_scroll(void)
{
    struct viv_vc *v = make(20, 4);
    struct viv_console *c = viv_console_find("serial0", 0);
    struct viv_text *t;

    write_text(v, "1\r\n2\r\n3\r\n4\r\n5\r\n6");
    viv_console_type(c, XKB_KEY_Prior, VIV_MOD_SHIFT);
    t = viv_console_text(c);
    g_assert_cmpuint(t->cell[0].ch, ==, '1');
    g_assert_cmpint(t->cursor_x, ==, -1);
    g_free(t);
    viv_console_type(c, 'q', 0);
    t = viv_console_text(c);
    g_assert_cmpuint(t->cell[0].ch, ==, '3');
    g_free(t);
    g_assert_cmpstr(typed->str, ==, "q");
    viv_vc_free(v);
}

static void test_room(void)
{
    struct viv_vc *v = make(0, 0), *fixed;
    struct viv_console *c = viv_console_find("serial0", 0);

    g_assert_true(viv_console_room(c, 805, 330));
    g_assert_cmpuint(viv_console_surface(c)->width, ==, 800);
    g_assert_cmpuint(viv_console_surface(c)->height, ==, 320);
    viv_console_room(c, 1, 1);
    g_assert_cmpuint(viv_console_surface(c)->width, ==, 800);
    viv_vc_free(v);
    fixed = make(30, 10);
    c = viv_console_find("serial0", 0);
    viv_console_room(c, 805, 330);
    g_assert_cmpuint(viv_console_surface(c)->width, ==, 240);
    viv_vc_free(fixed);
}

static void nothing(void *opaque)
{
}

/* Heads come first, whenever they come. */
static void test_order(void)
{
    static const struct viv_console_ops head = {.refresh = nothing};
    struct viv_vc *v = make(0, 0);
    struct viv_console *text = viv_console_at(0), *a, *b;

    a = viv_console_new("a", 0, &head, NULL);
    b = viv_console_new("b", 0, &head, NULL);
    g_assert_true(viv_console_at(0) == a && viv_console_at(1) == b && viv_console_at(2) == text);
    g_assert_cmpuint(viv_console_number(text), ==, 2);
    viv_console_free(a);
    a = viv_console_new("a", 0, &head, NULL);
    g_assert_cmpuint(viv_console_number(a), ==, 0);
    viv_console_free(b);
    viv_console_free(a);
    viv_vc_free(v);
    g_assert_null(viv_console_at(0));
}

static void test_font(void)
{
    for (unsigned i = 1; i < viv_font_count; i++)
        g_assert_cmpuint(viv_font_chars[i - 1].ch, <, viv_font_chars[i].ch);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    viv_dev_lock();
    g_test_add_func("/vc/pixels", test_pixels);
    g_test_add_func("/vc/text", test_text);
    g_test_add_func("/vc/typed", test_typed);
    g_test_add_func("/vc/scroll", test_scroll);
    g_test_add_func("/vc/room", test_room);
    g_test_add_func("/vc/order", test_order);
    g_test_add_func("/vc/font", test_font);
    return g_test_run();
}
