#include "ui/keymap.h"

#include "host/lock.h"
#include "ui/input.h"

#include <errno.h>
#include <glib.h>
#include <linux/input-event-codes.h>
#include <xkbcommon/xkbcommon-keysyms.h>

static GString *log_text;
static struct viv_input_sink *sink;

static void on_key(void *opaque, unsigned code, bool down)
{
    g_string_append_printf(log_text, "%s%u ", down ? "+" : "-", code);
}

static const struct viv_input_ops ops = {.name = "keys", .kinds = VIV_INPUT_KEYS, .key = on_key};

static struct viv_keymap *load(const char *name)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_keymap *m = NULL;

    if (viv_keymap_load(name, &m, &err) < 0 && err.code == ENOENT)
        g_printerr("%s\n", err.text);
    return m;
}

/* What the guest gets for a keysym that goes down and up. */
static void expect(struct viv_typist *t, uint32_t keysym, const char *want)
{
    g_string_truncate(log_text, 0);
    if (!viv_typist_keysym(t, 1, keysym, true))
        g_test_message("keysym %x is not known", keysym), g_test_fail();
    viv_typist_keysym(t, 1, keysym, false);
    g_assert_cmpstr(log_text->str, ==, want);
}

static void with(const char *layout, void (*fn)(struct viv_typist *t))
{
    struct viv_keymap *m = load(layout);
    struct viv_typist *t;

    if (!m) {
        g_test_skip("libxkbcommon or xkb-data is not installed");
        return;
    }
    viv_dev_lock();
    log_text = g_string_new(NULL);
    sink = viv_input_add(&ops, NULL, -1);
    t = viv_typist_new(m);
    fn(t);
    viv_typist_free(t);
    viv_keymap_free(m);
    viv_input_release_all();
    viv_input_remove(sink);
    g_string_free(log_text, TRUE);
    viv_dev_unlock();
}

static void us(struct viv_typist *t)
{
    expect(t, 'a', "+30 -30 ");
    expect(t, 'A', "+42 +30 -42 -30 ");
    expect(t, '<', "+42 +51 -42 -51 "); /* not the key beside the left shift */
    expect(t, XKB_KEY_Return, "+28 -28 ");
    expect(t, XKB_KEY_KP_Enter, "+96 -96 ");
    expect(t, 0x1000000 | 'q', "+16 -16 "); /* a character by its Unicode number */
    expect(t, XKB_KEY_ISO_Level3_Shift, "+100 -100 ");
    g_assert_false(viv_typist_keysym(t, 1, XKB_KEY_Greek_alpha, true));
    g_assert_false(viv_typist_keysym(t, 1, 0, true));
    /* Num lock is off: it is pressed first, and remembered until the guest says otherwise. */
    expect(t, XKB_KEY_KP_7, "+69 -69 +71 -71 ");
    expect(t, XKB_KEY_KP_8, "+72 -72 ");
    viv_input_set_leds(sink, VIV_LED_CAPS);
    expect(t, 'A', "+30 -30 ");
    expect(t, 'a', "+42 +30 -42 -30 ");
    expect(t, '1', "+2 -2 ");
}

static void held(struct viv_typist *t)
{
    viv_typist_keysym(t, 1, XKB_KEY_Shift_L, true);
    expect(t, 'a', "-42 +30 +42 -30 ");
    expect(t, XKB_KEY_Left, "+105 -105 ");
    viv_typist_keysym(t, 1, 'B', true);
    viv_typist_keysym(t, 1, XKB_KEY_Shift_L, false);
    g_string_truncate(log_text, 0);
    viv_typist_keysym(t, 1, 'b', false); /* it has another name now */
    g_assert_cmpstr(log_text->str, ==, "-48 ");
    viv_typist_code(t, 2, KEY_C, true);
    viv_typist_keysym(t, 1, 'c', true);
    g_string_truncate(log_text, 0);
    viv_typist_leave(t, 1); /* somebody else still holds it */
    g_assert_cmpstr(log_text->str, ==, "");
    viv_typist_leave(t, 2);
    g_assert_cmpstr(log_text->str, ==, "-46 ");
}

static void german(struct viv_typist *t)
{
    expect(t, 'z', "+21 -21 ");
    expect(t, XKB_KEY_odiaeresis, "+39 -39 ");
    expect(t, '@', "+100 +16 -100 -16 ");
    expect(t, XKB_KEY_EuroSign, "+100 +18 -100 -18 ");
    expect(t, '|', "+100 +86 -100 -86 ");
    expect(t, '^', "+41 -41 +57 -57 "); /* a dead key and a space */
    expect(t, XKB_KEY_ecircumflex, "+41 -41 +18 -18 ");
    expect(t, XKB_KEY_Alt_R, "+100 -100 ");
    viv_typist_keysym(t, 1, XKB_KEY_ISO_Level3_Shift, true);
    expect(t, '@', "+16 -16 ");
    expect(t, 'q', "-100 +16 +100 -16 ");
    viv_typist_keysym(t, 1, XKB_KEY_ISO_Level3_Shift, false);
}

static void french(struct viv_typist *t)
{
    expect(t, 'a', "+16 -16 ");
    expect(t, '1', "+42 +2 -42 -2 ");
    expect(t, XKB_KEY_eacute, "+3 -3 ");
    expect(t, XKB_KEY_ecircumflex, "+26 -26 +18 -18 ");
    expect(t, XKB_KEY_Acircumflex, "+26 -26 +42 +16 -42 -16 ");
}

static void japanese(struct viv_typist *t)
{
    expect(t, XKB_KEY_yen, "+124 -124 ");
    expect(t, '_', "+42 +89 -42 -89 ");
    expect(t, '@', "+26 -26 ");
    expect(t, '"', "+42 +3 -42 -3 ");
    expect(t, XKB_KEY_Henkan_Mode, "+92 -92 ");
}

static void test_us(void)
{
    with("en-us", us);
    with("us(intl)", held);
}

static void test_layouts(void)
{
    with("de", german);
    with("fr", french);
    with("ja", japanese);
}

static void test_names(void)
{
    static const char *const good[] = {"ar", "bepo", "cz", "da", "de-ch", "en-gb", "es", "et", "fi", "fo", "fr-be", "fr-ca", "fr-ch", "hr",
                                       "hu", "is", "it", "lt", "lv", "mk", "nl", "nl-be", "no", "pl", "pt", "pt-br", "ru", "sl", "sv", "th", "tr",
                                       "us(dvorak)", "gr"};
    static const char *const bad[] = {"", "zz", "us(", "us(nix)", "../../etc/passwd", "us,de"};
    struct viv_keymap *m = load("us");

    if (!m) {
        g_test_skip("libxkbcommon or xkb-data is not installed");
        return;
    }
    viv_keymap_free(m);
    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        m = load(good[i]);
        g_assert_nonnull(m);
        viv_keymap_free(m);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_null(load(bad[i]));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keymap/us", test_us);
    g_test_add_func("/keymap/layouts", test_layouts);
    g_test_add_func("/keymap/names", test_names);
    return g_test_run();
}
