/* Other consoles for the viewers of a server that has none by name: Ctrl-Alt-1 to 9, as in windows. All its clients see the same one.
 * Loop thread. */
#include "ui/vnc/vnc_int.h"

#include <linux/input-event-codes.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#define WHEEL_LINES 3

static unsigned mod_of(const struct vnc_event *e)
{
    if (e->code == KEY_LEFTCTRL || e->code == KEY_RIGHTCTRL || e->keysym == XKB_KEY_Control_L || e->keysym == XKB_KEY_Control_R)
        return VIV_MOD_CTRL;
    if (e->code == KEY_LEFTSHIFT || e->code == KEY_RIGHTSHIFT || e->keysym == XKB_KEY_Shift_L || e->keysym == XKB_KEY_Shift_R)
        return VIV_MOD_SHIFT;
    if (e->code == KEY_LEFTALT || e->keysym == XKB_KEY_Alt_L || e->keysym == XKB_KEY_Meta_L)
        return VIV_MOD_ALT;
    return 0;
}

/* 1 to 9, 0: another key. By code where it is known: with shift or on a French keyboard the digit's key means something else. */
static unsigned digit_of(const struct vnc_event *e)
{
    if (e->code >= KEY_1 && e->code <= KEY_9)
        return (unsigned)e->code - KEY_1 + 1;
    return e->keysym >= '1' && e->keysym <= '9' ? e->keysym - '0' : 0;
}

static struct viv_console *text_shown(const struct vnc_server *s)
{
    return s->console && viv_console_is_text(s->console) ? s->console : NULL;
}

bool vnc_switch_key(struct vnc_server *s, struct vnc_hand *hand, const struct vnc_event *e)
{
    unsigned mod = mod_of(e), digit = digit_of(e), both = VIV_MOD_CTRL | VIV_MOD_ALT;

    hand->mods = e->down ? hand->mods | mod : hand->mods & ~mod;
    if (!e->down && digit && digit == hand->digit) {
        hand->digit = 0;
        return true;
    }
    if (e->down && digit && !s->fixed && (hand->mods & both) == both) {
        struct viv_console *c = viv_console_at(digit - 1);

        hand->digit = digit;
        if (c && c != s->console)
            vnc_screen_switch(s, c);
        return true;
    }
    if (!text_shown(s))
        return false;
    if (e->down && !mod && e->keysym)
        viv_console_type(s->console, e->keysym, hand->mods);
    return !mod; /* modifiers come up in the guest, too */
}

bool vnc_switch_pointer(struct vnc_server *s, const struct vnc_event *e)
{
    if (!text_shown(s))
        return false;
    if (e->buttons & (8 | 16))
        viv_console_scroll(s->console, e->buttons & 8 ? WHEEL_LINES : -WHEEL_LINES);
    return true;
}
