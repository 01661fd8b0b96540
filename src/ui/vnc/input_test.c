/* Several clients, one keyboard and pointer: whose keys and buttons are held, and what is let go when one leaves. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "host/lock.h"
#include "host/loop.h"
#include "ui/input.h"

#include <linux/input-event-codes.h>
#include <xkbcommon/xkbcommon-keysyms.h>

static GString *heard; /* what the guest gets, in words */
static unsigned mods;  /* those of the last key that the text console got */
static struct vnc_server *server;
static struct viv_console *head, *text;
static struct viv_input_sink *sink;

static void on_key(void *opaque, unsigned code, bool down)
{
    g_string_append_printf(heard, "%c%u ", down ? '+' : '-', code);
}

static void on_move(void *opaque, int dx, int dy)
{
    g_string_append_printf(heard, "%d,%d ", dx, dy);
}

static void on_button(void *opaque, enum viv_button b, bool down)
{
    g_string_append_printf(heard, "%c%s ", down ? '+' : '-', b == VIV_BUTTON_LEFT ? "left" : "other");
}

static void on_wheel(void *opaque, int dy, int dx)
{
    g_string_append_printf(heard, "wheel%d ", dy);
}

static void on_type(void *opaque, uint32_t keysym, unsigned m)
{
    g_string_append_printf(heard, "typed%c ", (char)keysym);
    mods = m;
}

static void nothing(void *opaque)
{
}

static void begin(void)
{
    static const struct viv_input_ops input = {.name = "test", .kinds = VIV_INPUT_KEYS | VIV_INPUT_RELATIVE, .key = on_key,
                                               .move = on_move, .button = on_button, .wheel = on_wheel};
    static const struct viv_console_ops head_ops = {.refresh = nothing}, text_ops = {.refresh = nothing, .type = on_type};
    struct viv_err err = VIV_ERR_INIT;

    viv_dev_lock();
    heard = g_string_new(NULL);
    head = viv_console_new("head", 0, &head_ops, NULL);
    text = viv_console_new("text", 0, &text_ops, NULL);
    viv_console_show(head, viv_surface_new(64, 64));
    viv_console_show(text, viv_surface_new(64, 64));
    sink = viv_input_add(&input, NULL, -1);
    g_assert_cmpint(vnc_thread_start(&err), ==, 0);
    server = vnc_server_new("test", "Test", ":0");
    server->connections_max = 4;
    server->share = VNC_SHARE_IGNORE;
    vnc_screen_attach(server, head);
    g_assert_cmpint(vnc_input_init(server, NULL, 0, &err), ==, 0);
}

static void end(void)
{
    vnc_thread_stop();
    viv_loop_forget(server);
    vnc_server_free(server);
    viv_input_remove(sink);
    viv_console_free(text);
    viv_console_free(head);
    g_string_free(heard, TRUE);
    viv_dev_unlock();
}

static struct vnc_client *come(void)
{
    struct vnc_client *c = vnc_client_new(server, -1, false, false);

    c->next = server->clients;
    server->clients = c;
    vnc_client_input(c, (const uint8_t *)"RFB 003.008\n\1\1", 14);
    g_assert_cmpint(c->state, ==, VNC_NORMAL);
    return c;
}

static bool is_served(void *opaque)
{
    return !server->events->len;
}

static void expect(const char *what)
{
    g_assert_true(viv_loop_wait_for(is_served, NULL, 5000000000));
    g_assert_cmpstr(heard->str, ==, what);
    g_string_truncate(heard, 0);
}

static void key(struct vnc_client *c, uint32_t keysym, bool down)
{
    uint8_t m[8] = {RFB_KEY_EVENT, down};

    viv_st_be32(m + 4, keysym);
    vnc_client_input(c, m, sizeof(m));
}

static void tap(struct vnc_client *c, uint32_t keysym)
{
    key(c, keysym, true);
    key(c, keysym, false);
}

static void point(struct vnc_client *c, unsigned buttons, unsigned x, unsigned y)
{
    uint8_t m[6] = {RFB_POINTER_EVENT, (uint8_t)buttons};

    viv_st_be16(m + 2, (uint16_t)x);
    viv_st_be16(m + 4, (uint16_t)y);
    vnc_client_input(c, m, sizeof(m));
}

static void leave(struct vnc_client *c)
{
    struct vnc_event gone = {.kind = VNC_EV_GONE};

    vnc_input_send(c, &gone);
}

/* Ctrl and Alt of who is gone, or of somebody else, make nobody's digit another console. */
static void test_modifiers(void)
{
    struct vnc_client *a, *b;

    begin();
    a = come();
    b = come();
    key(a, XKB_KEY_Control_L, true);
    key(a, XKB_KEY_Alt_L, true);
    expect("+29 +56 ");
    tap(b, '1');
    expect("+2 -2 ");
    key(a, '2', true);
    expect("-29 -56 "); /* the text console is shown */
    g_assert_true(server->console == text);
    tap(b, 'x');
    expect("typedx ");
    g_assert_cmpuint(mods, ==, 0);
    tap(a, 'x');
    expect("typedx ");
    g_assert_cmpuint(mods, ==, VIV_MOD_CTRL | VIV_MOD_ALT);
    leave(a); /* with all three down */
    tap(b, '1');
    expect("typed1 ");
    g_assert_true(server->console == text);
    key(b, XKB_KEY_Control_L, true);
    key(b, XKB_KEY_Alt_L, true);
    tap(b, '1');
    expect("+29 +56 -29 -56 ");
    g_assert_true(server->console == head);
    end();
}

static void test_buttons(void)
{
    struct vnc_client *a, *b;

    begin();
    a = come();
    b = come();
    point(a, 1, 10, 10);
    expect("+left ");
    point(b, 0, 5, 5); /* b's mask says nothing about a's button */
    point(b, 0, 6, 5);
    expect("1,0 ");
    point(a, 1, 11, 10);
    expect("1,0 ");
    point(b, 1, 6, 5); /* it is down already, and stays so for b */
    point(a, 0, 11, 10);
    expect("");
    point(b, 0, 6, 5);
    expect("-left ");
    point(a, 8, 11, 10);
    point(b, 8, 6, 5);
    expect("wheel1 wheel1 ");
    point(a, 5, 11, 10);
    expect("+left +other ");
    leave(b);
    expect("");
    leave(a);
    expect("-left -other ");
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vnc-input/modifiers", test_modifiers);
    g_test_add_func("/vnc-input/buttons", test_buttons);
    return g_test_run();
}
