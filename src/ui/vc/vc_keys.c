/* Keysyms: X11 protocol, appendix A. Sequences: as xterm has them for a VT220's keyboard. */
#include "ui/vc/vc_keys.h"

#include "ui/console.h"

#include <glib.h>
#include <string.h>
#include <xkbcommon/xkbcommon-keysyms.h>

static const struct {
    uint32_t keysym;
    const char *bytes;
} keys[] = {
    {XKB_KEY_Return, "\r"}, {XKB_KEY_KP_Enter, "\r"}, {XKB_KEY_BackSpace, "\177"}, {XKB_KEY_Tab, "\t"}, {XKB_KEY_ISO_Left_Tab, "\033[Z"},
    {XKB_KEY_Escape, "\033"}, {XKB_KEY_Home, "\033[1~"}, {XKB_KEY_Insert, "\033[2~"}, {XKB_KEY_Delete, "\033[3~"}, {XKB_KEY_End, "\033[4~"},
    {XKB_KEY_Prior, "\033[5~"}, {XKB_KEY_Next, "\033[6~"}, {XKB_KEY_KP_Home, "\033[1~"}, {XKB_KEY_KP_Insert, "\033[2~"},
    {XKB_KEY_KP_Delete, "\033[3~"}, {XKB_KEY_KP_End, "\033[4~"}, {XKB_KEY_KP_Prior, "\033[5~"}, {XKB_KEY_KP_Next, "\033[6~"},
    {XKB_KEY_F1, "\033OP"}, {XKB_KEY_F2, "\033OQ"}, {XKB_KEY_F3, "\033OR"}, {XKB_KEY_F4, "\033OS"}, {XKB_KEY_F5, "\033[15~"},
    {XKB_KEY_F6, "\033[17~"}, {XKB_KEY_F7, "\033[18~"}, {XKB_KEY_F8, "\033[19~"}, {XKB_KEY_F9, "\033[20~"}, {XKB_KEY_F10, "\033[21~"},
    {XKB_KEY_F11, "\033[23~"}, {XKB_KEY_F12, "\033[24~"}, {XKB_KEY_KP_Multiply, "*"}, {XKB_KEY_KP_Add, "+"}, {XKB_KEY_KP_Separator, ","},
    {XKB_KEY_KP_Subtract, "-"}, {XKB_KEY_KP_Decimal, "."}, {XKB_KEY_KP_Divide, "/"},
};

/* Cursor keys by their letter; 0: another key. */
static char cursor_letter(uint32_t keysym)
{
    switch (keysym) {
    case XKB_KEY_Up:
    case XKB_KEY_KP_Up:
        return 'A';
    case XKB_KEY_Down:
    case XKB_KEY_KP_Down:
        return 'B';
    case XKB_KEY_Right:
    case XKB_KEY_KP_Right:
        return 'C';
    case XKB_KEY_Left:
    case XKB_KEY_KP_Left:
        return 'D';
    default:
        return 0;
    }
}

/* A character's keysym: Latin-1 as it is, others with this in front. Old ones of other alphabets have none here. */
static uint32_t character(uint32_t keysym)
{
    if ((keysym >= 0x20 && keysym < 0x7f) || (keysym >= 0xa0 && keysym <= 0xff))
        return keysym;
    if (keysym >= 0x1000100 && keysym <= 0x110ffff && (keysym & 0xfff800) != 0xd800)
        return keysym - 0x1000000;
    if (keysym == XKB_KEY_EuroSign)
        return 0x20ac;
    if (keysym >= XKB_KEY_KP_0 && keysym <= XKB_KEY_KP_9)
        return keysym - XKB_KEY_KP_0 + '0';
    return 0;
}

static uint32_t with_control(uint32_t ch)
{
    if (ch == '?')
        return 0x7f;
    if (ch == ' ' || (ch >= '@' && ch <= '~'))
        return ch & 0x1f;
    return ch;
}

size_t viv_vc_key_bytes(uint32_t keysym, unsigned mods, bool application_keys, char out[VIV_VC_KEY_MOST])
{
    uint32_t ch = character(keysym);
    char letter = cursor_letter(keysym);
    size_t n = 0;

    if (mods & VIV_MOD_ALT)
        out[n++] = 033;
    if (letter) {
        out[n++] = 033;
        out[n++] = application_keys ? 'O' : '[';
        out[n++] = letter;
        return n;
    }
    if (ch) {
        ch = mods & VIV_MOD_CTRL ? with_control(ch) : ch;
        return n + (size_t)g_unichar_to_utf8(ch, out + n);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].keysym == keysym) {
            memcpy(out + n, keys[i].bytes, strlen(keys[i].bytes));
            return n + strlen(keys[i].bytes);
        }
    }
    return 0;
}

int viv_vc_key_scroll(uint32_t keysym, unsigned mods, unsigned rows)
{
    int page = MAX((int)rows / 2, 1);

    if (mods & VIV_MOD_ALT || !(mods & (VIV_MOD_SHIFT | VIV_MOD_CTRL)))
        return 0;
    switch (keysym) {
    case XKB_KEY_Prior:
    case XKB_KEY_KP_Prior:
        return page;
    case XKB_KEY_Next:
    case XKB_KEY_KP_Next:
        return -page;
    case XKB_KEY_Up:
        return mods & VIV_MOD_CTRL ? 1 : 0;
    case XKB_KEY_Down:
        return mods & VIV_MOD_CTRL ? -1 : 0;
    default:
        return 0;
    }
}
