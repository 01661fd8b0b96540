/* Keys that the window keeps for itself, behind grab-mod= (Ctrl-Alt): G, F, U and 0, plus, minus, 1 to 9. The modifiers themselves go to the
 * guest, which sees them come up again. */
#include "ui/window/window_int.h"

#include <linux/input-event-codes.h>

static const struct {
    unsigned code;
    enum viv_window_action action;
} ours[] = {
    {KEY_G, VIV_WIN_ACT_GRAB}, {KEY_F, VIV_WIN_ACT_FULL_SCREEN}, {KEY_U, VIV_WIN_ACT_NATURAL_SIZE}, {KEY_0, VIV_WIN_ACT_NATURAL_SIZE}, {KEY_EQUAL, VIV_WIN_ACT_LARGER},
    {KEY_KPPLUS, VIV_WIN_ACT_LARGER}, {KEY_MINUS, VIV_WIN_ACT_SMALLER}, {KEY_KPMINUS, VIV_WIN_ACT_SMALLER},
};

enum { LCTRL = 1, LALT = 2, LSHIFT = 4, RCTRL = 8 };

static unsigned modifier(unsigned code)
{
    return code == KEY_LEFTCTRL ? LCTRL : code == KEY_LEFTALT ? LALT : code == KEY_LEFTSHIFT ? LSHIFT : code == KEY_RIGHTCTRL ? RCTRL : 0;
}

static bool mods_held(const struct window_keys *k)
{
    static const unsigned wanted[] = {
        [VIV_GRAB_LCTRL_LALT] = LCTRL | LALT, [VIV_GRAB_LSHIFT_LCTRL_LALT] = LCTRL | LALT | LSHIFT, [VIV_GRAB_RCTRL] = RCTRL};

    return (k->held & wanted[k->mod]) == wanted[k->mod];
}

static enum viv_window_action look_up(unsigned code, unsigned *tab)
{
    if (code >= KEY_1 && code <= KEY_9) {
        *tab = code - KEY_1;
        return VIV_WIN_ACT_TAB;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(ours); i++) {
        if (ours[i].code == code)
            return ours[i].action;
    }
    return VIV_WIN_ACT_PASS;
}

/* A key of ours that goes down is noted, since its coming up is ours as well. */
static bool swallow(struct window_keys *k, unsigned code, bool down)
{
    for (size_t i = 0; i < G_N_ELEMENTS(k->swallowed); i++) {
        if (k->swallowed[i] != (down ? 0 : code))
            continue;
        k->swallowed[i] = down ? code : 0;
        return true;
    }
    return false;
}

static bool is_swallowed(const struct window_keys *k, unsigned code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(k->swallowed); i++) {
        if (k->swallowed[i] == code)
            return true;
    }
    return false;
}

enum viv_window_action window_key(struct window_keys *k, unsigned code, bool down, unsigned *tab)
{
    unsigned bit = modifier(code);
    enum viv_window_action a;

    k->held = down ? k->held | bit : k->held & ~bit;
    if (bit || !code)
        return VIV_WIN_ACT_PASS;
    if (!down)
        return swallow(k, code, false) ? VIV_WIN_ACT_NOTHING : VIV_WIN_ACT_PASS;
    if (is_swallowed(k, code))
        return VIV_WIN_ACT_NOTHING; /* it repeats */
    a = mods_held(k) ? look_up(code, tab) : VIV_WIN_ACT_PASS;
    if (a != VIV_WIN_ACT_PASS && !swallow(k, code, true))
        return VIV_WIN_ACT_NOTHING;
    return a;
}
