/* Layouts by libxkbcommon: what each key of a PC keyboard means in each of the 16 states of shift, AltGr, caps lock and num lock is
 * asked once; a keysym is then looked for in that table. */
#include "ui/keymap.h"

#include "host/library.h"
#include "ui/keys.h"

#include <errno.h>
#include <glib.h>
#include <linux/input-event-codes.h>
#include <string.h>
#include <xkbcommon/xkbcommon.h>

#define CODES  256
#define STATES 16
#define EVDEV  8 /* X's keycodes are that much more than the kernel's */

#define XKB_FUNCTIONS(_)                                                                                               \
    _(context_new) _(context_unref) _(context_set_log_level) _(keymap_new_from_names) _(keymap_unref) _(state_new)    \
    _(state_unref) _(state_update_mask) _(state_key_get_one_sym) _(keymap_mod_get_index) _(keysym_to_utf32)

static struct {
#define MEMBER(name) typeof(xkb_##name) *name;
    XKB_FUNCTIONS(MEMBER)
#undef MEMBER
} xkb;

struct viv_keymap {
    uint32_t sym[CODES][STATES]; /* 0: none */
};

static int load_library(struct viv_err *err)
{
    static const struct viv_library_symbol symbols[] = {
#define SYMBOL(f) {"xkb_" #f, offsetof(typeof(xkb), f)},
        XKB_FUNCTIONS(SYMBOL)
#undef SYMBOL
    };
    static struct viv_library library = {
        .need = "keyboard layouts need",
        .title = "libxkbcommon",
        .package = "libxkbcommon0",
        .names = {"libxkbcommon.so.0"},
        .api = &xkb,
        .symbols = symbols,
        .count = G_N_ELEMENTS(symbols),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };

    return viv_library_load(&library, err);
}

/* QEMU's names that are not XKB's, too. */
static const struct {
    const char *name, *layout, *variant, *model;
} names[] = {
    {"ar", "ara"}, {"bepo", "fr", "bepo"}, {"cz", "cz"}, {"da", "dk"}, {"de", "de"}, {"de-ch", "ch"}, {"en-gb", "gb"}, {"en-us", "us"},
    {"es", "es"}, {"et", "ee"},
    {"fi", "fi"}, {"fo", "fo"}, {"fr", "fr"}, {"fr-be", "be"}, {"fr-ca", "ca"}, {"fr-ch", "ch", "fr"}, {"hr", "hr"}, {"hu", "hu"},
    {"is", "is"}, {"it", "it"}, {"ja", "jp", NULL, "jp106"}, {"jp", "jp", NULL, "jp106"}, {"lt", "lt"}, {"lv", "lv"}, {"mk", "mk"},
    {"nl", "nl"}, {"nl-be", "be"}, {"no", "no"}, {"pl", "pl"}, {"pt", "pt"}, {"pt-br", "br", NULL, "abnt2"}, {"br", "br", NULL, "abnt2"},
    {"ru", "ru"}, {"sl", "si"}, {"sv", "se"}, {"th", "th"}, {"tr", "tr"},
};

void viv_keymap_help(FILE *out)
{
    fprintf(out, "Available keyboard layouts:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        fprintf(out, "%s%s", names[i].name, i % 12 == 11 || i == G_N_ELEMENTS(names) - 1 ? "\n" : " ");
    fprintf(out, "and those of XKB: us, us(dvorak), de(nodeadkeys)...\n");
}

/* "layout(variant)"; the strings to free are in *storage. */
static bool parse_name(const char *text, struct xkb_rule_names *out, char **storage)
{
    char *copy = *storage = g_strdup(text), *open;

    *out = (struct xkb_rule_names){.rules = "evdev", .model = "pc105", .layout = copy, .variant = ""};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(names[i].name, text))
            continue;
        out->layout = names[i].layout;
        out->variant = names[i].variant ? names[i].variant : "";
        out->model = names[i].model ? names[i].model : "pc105";
        return true;
    }
    open = strchr(copy, '(');
    if (open) {
        if (!g_str_has_suffix(open, ")"))
            return false;
        *open = 0;
        out->variant = open + 1;
        open[strlen(open + 1)] = 0;
    }
    for (const char *p = copy; *p; p++) {
        if (!g_ascii_isalnum(*p) && *p != '_' && *p != '-')
            return false;
    }
    return *copy != 0;
}

static void fill(struct viv_keymap *m, struct xkb_keymap *keymap)
{
    static const char *const mods[] = {"Shift", "Mod5", "Lock", "Mod2"}; /* in the bits' order */
    struct xkb_state *state = xkb.state_new(keymap);
    xkb_mod_index_t index[G_N_ELEMENTS(mods)];

    for (unsigned i = 0; i < G_N_ELEMENTS(mods); i++)
        index[i] = xkb.keymap_mod_get_index(keymap, mods[i]);
    for (unsigned s = 0; s < STATES; s++) {
        xkb_mod_mask_t mask = 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(mods); i++)
            mask |= s >> i & 1 && index[i] != XKB_MOD_INVALID ? 1u << index[i] : 0;
        xkb.state_update_mask(state, mask, 0, 0, 0, 0, 0);
        for (unsigned code = 1; code < CODES - EVDEV; code++)
            m->sym[code][s] = viv_key_name(code) ? xkb.state_key_get_one_sym(state, code + EVDEV) : 0;
    }
    xkb.state_unref(state);
}

int viv_keymap_load(const char *layout, struct viv_keymap **out, struct viv_err *err)
{
    struct xkb_rule_names rules;
    g_autofree char *storage = NULL;
    struct xkb_context *context;
    struct xkb_keymap *keymap = NULL;
    int rc = load_library(err);

    if (rc < 0)
        return rc;
    context = xkb.context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES);
    if (!context)
        return viv_fail(err, ENOENT, "-k: libxkbcommon finds no files (Debian: xkb-data)");
    xkb.context_set_log_level(context, XKB_LOG_LEVEL_CRITICAL);
    if (parse_name(layout, &rules, &storage))
        keymap = xkb.keymap_new_from_names(context, &rules, XKB_KEYMAP_COMPILE_NO_FLAGS);
    if (keymap) {
        *out = g_new0(struct viv_keymap, 1);
        fill(*out, keymap);
        xkb.keymap_unref(keymap);
    } else {
        rc = viv_fail(err, EINVAL, "-k %.60s: there is no such keyboard layout; there are en-us, de, fr, ja ('-k help' lists them) "
                      "and those of XKB, like us(dvorak)", layout);
    }
    xkb.context_unref(context);
    return rc;
}

void viv_keymap_free(struct viv_keymap *m)
{
    g_free(m);
}

/* ---- from a keysym to a key ---- */

static unsigned cost_of(unsigned code, unsigned from, unsigned to)
{
    unsigned diff = from ^ to;

    /* The key beside the left shift: in many layouts it repeats what another has, and guests do not agree on it. */
    return !!(diff & VIV_KEYMAP_SHIFT) + !!(diff & VIV_KEYMAP_ALTGR) + (diff & VIV_KEYMAP_NUM ? 10 : 0) + (code == KEY_102ND ? 3 : 0);
}

static bool find_one(const struct viv_keymap *m, uint32_t keysym, uint32_t character, unsigned state, struct viv_stroke *out)
{
    unsigned best = UINT_MAX;

    for (unsigned code = 1; code < CODES; code++) {
        for (unsigned s = 0; s < STATES; s++) {
            uint32_t sym = m->sym[code][s];

            if (!sym || (s ^ state) & VIV_KEYMAP_CAPS || cost_of(code, state, s) >= best)
                continue;
            if (sym != keysym && !(character && xkb.keysym_to_utf32(sym) == character))
                continue;
            best = cost_of(code, state, s);
            *out = (struct viv_stroke){code, s};
        }
    }
    return best != UINT_MAX;
}

/* Keysyms that clients have for a key that is called otherwise here. */
static const struct {
    uint32_t keysym;
    unsigned code;
} others[] = {
    {XKB_KEY_ISO_Level3_Shift, KEY_RIGHTALT}, {XKB_KEY_Mode_switch, KEY_RIGHTALT}, {XKB_KEY_Alt_R, KEY_RIGHTALT},
    {XKB_KEY_Meta_L, KEY_LEFTALT}, {XKB_KEY_Meta_R, KEY_RIGHTALT}, {XKB_KEY_Alt_L, KEY_LEFTALT}, {XKB_KEY_Super_L, KEY_LEFTMETA},
    {XKB_KEY_Super_R, KEY_RIGHTMETA}, {XKB_KEY_Break, KEY_PAUSE}, {XKB_KEY_Sys_Req, KEY_SYSRQ}, {XKB_KEY_Print, KEY_SYSRQ},
    {XKB_KEY_Menu, KEY_COMPOSE}, {XKB_KEY_ISO_Left_Tab, KEY_TAB}, {XKB_KEY_Control_R, KEY_RIGHTCTRL}, {XKB_KEY_Shift_R, KEY_RIGHTSHIFT},
    {XKB_KEY_Kanji, KEY_GRAVE}, {XKB_KEY_Zenkaku_Hankaku, KEY_GRAVE}, {XKB_KEY_yen, KEY_YEN},
};

static const struct {
    uint32_t combining, spacing, dead;
} accents[] = {
    {0x300, '`', XKB_KEY_dead_grave},       {0x301, 0xb4, XKB_KEY_dead_acute},    {0x302, '^', XKB_KEY_dead_circumflex},
    {0x303, '~', XKB_KEY_dead_tilde},       {0x304, 0xaf, XKB_KEY_dead_macron},   {0x306, 0x2d8, XKB_KEY_dead_breve},
    {0x307, 0x2d9, XKB_KEY_dead_abovedot},  {0x308, 0xa8, XKB_KEY_dead_diaeresis}, {0x30a, 0xb0, XKB_KEY_dead_abovering},
    {0x30b, 0x2dd, XKB_KEY_dead_doubleacute}, {0x30c, 0x2c7, XKB_KEY_dead_caron}, {0x327, 0xb8, XKB_KEY_dead_cedilla},
    {0x328, 0x2db, XKB_KEY_dead_ogonek},
};

/* An accent and what it stands on; an accent alone is one on a space. */
static unsigned find_composed(const struct viv_keymap *m, uint32_t character, unsigned state, struct viv_stroke out[2])
{
    gunichar base = ' ', mark = 0;

    if (!character || character > 0x10ffff)
        return 0;
    if (!g_unichar_decompose(character, &base, &mark))
        base = ' ';
    for (size_t i = 0; i < G_N_ELEMENTS(accents); i++) {
        if (base == ' ' ? character != accents[i].spacing : mark != accents[i].combining)
            continue;
        if (find_one(m, accents[i].dead, 0, state, &out[0]) && find_one(m, base, base, state, &out[1]))
            return 2;
    }
    return 0;
}

unsigned viv_keymap_find(const struct viv_keymap *m, uint32_t keysym, unsigned state, struct viv_stroke out[2])
{
    uint32_t character = keysym ? xkb.keysym_to_utf32(keysym) : 0;

    if (!keysym)
        return 0;
    if (find_one(m, keysym, 0, state, &out[0]) || (character && find_one(m, keysym, character, state, &out[0])))
        return 1;
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        if (others[i].keysym == keysym && m->sym[others[i].code][0]) {
            out[0] = (struct viv_stroke){others[i].code, state};
            return 1;
        }
    }
    return find_composed(m, character, state, out);
}
