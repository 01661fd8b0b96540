/* One row a key that PC keyboards have. Scan codes: IBM's for the 101/102 keys, Microsoft's "Keyboard Scan Code Specification" for
 * the others. */
#include "ui/keys.h"

#include <glib.h>
#include <linux/input-event-codes.h>
#include <stdint.h>
#include <string.h>

#define E0 VIV_SET1_E0

/* The first row of a code has the name that is shown. */
static const struct {
    const char *name;
    unsigned short code, set1;
} keys[] = {
    {"esc", KEY_ESC, 0x01}, {"1", KEY_1, 0x02}, {"2", KEY_2, 0x03}, {"3", KEY_3, 0x04}, {"4", KEY_4, 0x05},
    {"5", KEY_5, 0x06}, {"6", KEY_6, 0x07}, {"7", KEY_7, 0x08}, {"8", KEY_8, 0x09}, {"9", KEY_9, 0x0a},
    {"0", KEY_0, 0x0b}, {"minus", KEY_MINUS, 0x0c}, {"equal", KEY_EQUAL, 0x0d}, {"backspace", KEY_BACKSPACE, 0x0e},
    {"tab", KEY_TAB, 0x0f}, {"q", KEY_Q, 0x10}, {"w", KEY_W, 0x11}, {"e", KEY_E, 0x12}, {"r", KEY_R, 0x13},
    {"t", KEY_T, 0x14}, {"y", KEY_Y, 0x15}, {"u", KEY_U, 0x16}, {"i", KEY_I, 0x17}, {"o", KEY_O, 0x18},
    {"p", KEY_P, 0x19}, {"bracket_left", KEY_LEFTBRACE, 0x1a}, {"bracket_right", KEY_RIGHTBRACE, 0x1b},
    {"ret", KEY_ENTER, 0x1c}, {"ctrl", KEY_LEFTCTRL, 0x1d}, {"a", KEY_A, 0x1e}, {"s", KEY_S, 0x1f},
    {"d", KEY_D, 0x20}, {"f", KEY_F, 0x21}, {"g", KEY_G, 0x22}, {"h", KEY_H, 0x23}, {"j", KEY_J, 0x24},
    {"k", KEY_K, 0x25}, {"l", KEY_L, 0x26}, {"semicolon", KEY_SEMICOLON, 0x27}, {"apostrophe", KEY_APOSTROPHE, 0x28},
    {"grave_accent", KEY_GRAVE, 0x29}, {"shift", KEY_LEFTSHIFT, 0x2a}, {"backslash", KEY_BACKSLASH, 0x2b},
    {"z", KEY_Z, 0x2c}, {"x", KEY_X, 0x2d}, {"c", KEY_C, 0x2e}, {"v", KEY_V, 0x2f}, {"b", KEY_B, 0x30},
    {"n", KEY_N, 0x31}, {"m", KEY_M, 0x32}, {"comma", KEY_COMMA, 0x33}, {"dot", KEY_DOT, 0x34},
    {"slash", KEY_SLASH, 0x35}, {"shift_r", KEY_RIGHTSHIFT, 0x36}, {"asterisk", KEY_KPASTERISK, 0x37},
    {"kp_multiply", KEY_KPASTERISK, 0x37}, {"alt", KEY_LEFTALT, 0x38}, {"spc", KEY_SPACE, 0x39},
    {"caps_lock", KEY_CAPSLOCK, 0x3a}, {"f1", KEY_F1, 0x3b}, {"f2", KEY_F2, 0x3c}, {"f3", KEY_F3, 0x3d},
    {"f4", KEY_F4, 0x3e}, {"f5", KEY_F5, 0x3f}, {"f6", KEY_F6, 0x40}, {"f7", KEY_F7, 0x41}, {"f8", KEY_F8, 0x42},
    {"f9", KEY_F9, 0x43}, {"f10", KEY_F10, 0x44}, {"num_lock", KEY_NUMLOCK, 0x45}, {"scroll_lock", KEY_SCROLLLOCK, 0x46},
    {"kp_7", KEY_KP7, 0x47}, {"kp_8", KEY_KP8, 0x48}, {"kp_9", KEY_KP9, 0x49}, {"kp_subtract", KEY_KPMINUS, 0x4a},
    {"kp_4", KEY_KP4, 0x4b}, {"kp_5", KEY_KP5, 0x4c}, {"kp_6", KEY_KP6, 0x4d}, {"kp_add", KEY_KPPLUS, 0x4e},
    {"kp_1", KEY_KP1, 0x4f}, {"kp_2", KEY_KP2, 0x50}, {"kp_3", KEY_KP3, 0x51}, {"kp_0", KEY_KP0, 0x52},
    {"kp_decimal", KEY_KPDOT, 0x53}, {"less", KEY_102ND, 0x56}, {"f11", KEY_F11, 0x57}, {"f12", KEY_F12, 0x58},
    {"kp_equals", KEY_KPEQUAL, 0x59}, {"f13", KEY_F13, 0x64}, {"f14", KEY_F14, 0x65}, {"f15", KEY_F15, 0x66},
    {"f16", KEY_F16, 0x67}, {"f17", KEY_F17, 0x68}, {"f18", KEY_F18, 0x69}, {"f19", KEY_F19, 0x6a},
    {"f20", KEY_F20, 0x6b}, {"f21", KEY_F21, 0x6c}, {"f22", KEY_F22, 0x6d}, {"f23", KEY_F23, 0x6e},
    {"katakanahiragana", KEY_KATAKANAHIRAGANA, 0x70}, {"ro", KEY_RO, 0x73}, {"f24", KEY_F24, 0x76},
    {"hiragana", KEY_HIRAGANA, 0x77}, {"henkan", KEY_HENKAN, 0x79}, {"muhenkan", KEY_MUHENKAN, 0x7b},
    {"yen", KEY_YEN, 0x7d}, {"kp_comma", KEY_KPCOMMA, 0x7e},
    {"audioprev", KEY_PREVIOUSSONG, E0 | 0x10}, {"audionext", KEY_NEXTSONG, E0 | 0x19},
    {"kp_enter", KEY_KPENTER, E0 | 0x1c}, {"ctrl_r", KEY_RIGHTCTRL, E0 | 0x1d}, {"audiomute", KEY_MUTE, E0 | 0x20},
    {"calculator", KEY_CALC, E0 | 0x21}, {"audioplay", KEY_PLAYPAUSE, E0 | 0x22}, {"audiostop", KEY_STOPCD, E0 | 0x24},
    {"volumedown", KEY_VOLUMEDOWN, E0 | 0x2e}, {"volumeup", KEY_VOLUMEUP, E0 | 0x30}, {"ac_home", KEY_HOMEPAGE, E0 | 0x32},
    {"kp_divide", KEY_KPSLASH, E0 | 0x35}, {"print", KEY_SYSRQ, E0 | 0x37}, {"sysrq", KEY_SYSRQ, E0 | 0x37},
    {"alt_r", KEY_RIGHTALT, E0 | 0x38}, {"home", KEY_HOME, E0 | 0x47}, {"up", KEY_UP, E0 | 0x48},
    {"pgup", KEY_PAGEUP, E0 | 0x49}, {"left", KEY_LEFT, E0 | 0x4b}, {"right", KEY_RIGHT, E0 | 0x4d},
    {"end", KEY_END, E0 | 0x4f}, {"down", KEY_DOWN, E0 | 0x50}, {"pgdn", KEY_PAGEDOWN, E0 | 0x51},
    {"insert", KEY_INSERT, E0 | 0x52}, {"delete", KEY_DELETE, E0 | 0x53}, {"meta_l", KEY_LEFTMETA, E0 | 0x5b},
    {"meta_r", KEY_RIGHTMETA, E0 | 0x5c}, {"compose", KEY_COMPOSE, E0 | 0x5d}, {"menu", KEY_COMPOSE, E0 | 0x5d},
    {"power", KEY_POWER, E0 | 0x5e}, {"sleep", KEY_SLEEP, E0 | 0x5f}, {"wake", KEY_WAKEUP, E0 | 0x63},
    {"find", KEY_SEARCH, E0 | 0x65}, {"ac_bookmarks", KEY_BOOKMARKS, E0 | 0x66}, {"ac_refresh", KEY_REFRESH, E0 | 0x67},
    {"stop", KEY_STOP, E0 | 0x68}, {"ac_forward", KEY_FORWARD, E0 | 0x69}, {"ac_back", KEY_BACK, E0 | 0x6a},
    {"computer", KEY_COMPUTER, E0 | 0x6b}, {"mail", KEY_MAIL, E0 | 0x6c}, {"mediaselect", KEY_MEDIA, E0 | 0x6d},
    {"pause", KEY_PAUSE, 0},
};

int viv_key_by_name(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (!strcmp(keys[i].name, name))
            return keys[i].code;
    }
    return -1;
}

const char *viv_key_at(unsigned i)
{
    return i < G_N_ELEMENTS(keys) ? keys[i].name : NULL;
}

const char *viv_key_name(unsigned code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].code == code)
            return keys[i].name;
    }
    return NULL;
}

unsigned viv_key_to_set1(unsigned code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].code == code)
            return keys[i].set1;
    }
    return 0;
}

int viv_key_from_set1(unsigned set1)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (set1 && keys[i].set1 == set1)
            return keys[i].code;
    }
    return -1;
}

/* HID Usage Tables, page 7. */
static const uint8_t usages[KEY_CNT] = {
    [KEY_A] = 0x04, [KEY_B] = 0x05, [KEY_C] = 0x06, [KEY_D] = 0x07, [KEY_E] = 0x08, [KEY_F] = 0x09, [KEY_G] = 0x0a,
    [KEY_H] = 0x0b, [KEY_I] = 0x0c, [KEY_J] = 0x0d, [KEY_K] = 0x0e, [KEY_L] = 0x0f, [KEY_M] = 0x10, [KEY_N] = 0x11,
    [KEY_O] = 0x12, [KEY_P] = 0x13, [KEY_Q] = 0x14, [KEY_R] = 0x15, [KEY_S] = 0x16, [KEY_T] = 0x17, [KEY_U] = 0x18,
    [KEY_V] = 0x19, [KEY_W] = 0x1a, [KEY_X] = 0x1b, [KEY_Y] = 0x1c, [KEY_Z] = 0x1d, [KEY_1] = 0x1e, [KEY_2] = 0x1f,
    [KEY_3] = 0x20, [KEY_4] = 0x21, [KEY_5] = 0x22, [KEY_6] = 0x23, [KEY_7] = 0x24, [KEY_8] = 0x25, [KEY_9] = 0x26,
    [KEY_0] = 0x27, [KEY_ENTER] = 0x28, [KEY_ESC] = 0x29, [KEY_BACKSPACE] = 0x2a, [KEY_TAB] = 0x2b, [KEY_SPACE] = 0x2c,
    [KEY_MINUS] = 0x2d, [KEY_EQUAL] = 0x2e, [KEY_LEFTBRACE] = 0x2f, [KEY_RIGHTBRACE] = 0x30, [KEY_BACKSLASH] = 0x31,
    [KEY_SEMICOLON] = 0x33, [KEY_APOSTROPHE] = 0x34, [KEY_GRAVE] = 0x35, [KEY_COMMA] = 0x36, [KEY_DOT] = 0x37,
    [KEY_SLASH] = 0x38, [KEY_CAPSLOCK] = 0x39, [KEY_F1] = 0x3a, [KEY_F2] = 0x3b, [KEY_F3] = 0x3c, [KEY_F4] = 0x3d,
    [KEY_F5] = 0x3e, [KEY_F6] = 0x3f, [KEY_F7] = 0x40, [KEY_F8] = 0x41, [KEY_F9] = 0x42, [KEY_F10] = 0x43, [KEY_F11] = 0x44,
    [KEY_F12] = 0x45, [KEY_SYSRQ] = 0x46, [KEY_SCROLLLOCK] = 0x47, [KEY_PAUSE] = 0x48, [KEY_INSERT] = 0x49, [KEY_HOME] = 0x4a,
    [KEY_PAGEUP] = 0x4b, [KEY_DELETE] = 0x4c, [KEY_END] = 0x4d, [KEY_PAGEDOWN] = 0x4e, [KEY_RIGHT] = 0x4f, [KEY_LEFT] = 0x50,
    [KEY_DOWN] = 0x51, [KEY_UP] = 0x52, [KEY_NUMLOCK] = 0x53, [KEY_KPSLASH] = 0x54, [KEY_KPASTERISK] = 0x55,
    [KEY_KPMINUS] = 0x56, [KEY_KPPLUS] = 0x57, [KEY_KPENTER] = 0x58, [KEY_KP1] = 0x59, [KEY_KP2] = 0x5a, [KEY_KP3] = 0x5b,
    [KEY_KP4] = 0x5c, [KEY_KP5] = 0x5d, [KEY_KP6] = 0x5e, [KEY_KP7] = 0x5f, [KEY_KP8] = 0x60, [KEY_KP9] = 0x61,
    [KEY_KP0] = 0x62, [KEY_KPDOT] = 0x63, [KEY_102ND] = 0x64, [KEY_COMPOSE] = 0x65, [KEY_POWER] = 0x66, [KEY_KPEQUAL] = 0x67,
    [KEY_F13] = 0x68, [KEY_F14] = 0x69, [KEY_F15] = 0x6a, [KEY_F16] = 0x6b, [KEY_F17] = 0x6c, [KEY_F18] = 0x6d,
    [KEY_F19] = 0x6e, [KEY_F20] = 0x6f, [KEY_F21] = 0x70, [KEY_F22] = 0x71, [KEY_F23] = 0x72, [KEY_F24] = 0x73,
    [KEY_OPEN] = 0x74, [KEY_HELP] = 0x75, [KEY_PROPS] = 0x76, [KEY_FRONT] = 0x77, [KEY_STOP] = 0x78, [KEY_AGAIN] = 0x79,
    [KEY_UNDO] = 0x7a, [KEY_CUT] = 0x7b, [KEY_COPY] = 0x7c, [KEY_PASTE] = 0x7d, [KEY_FIND] = 0x7e, [KEY_MUTE] = 0x7f,
    [KEY_VOLUMEUP] = 0x80, [KEY_VOLUMEDOWN] = 0x81, [KEY_KPCOMMA] = 0x85, [KEY_RO] = 0x87, [KEY_KATAKANAHIRAGANA] = 0x88,
    [KEY_YEN] = 0x89, [KEY_HENKAN] = 0x8a, [KEY_MUHENKAN] = 0x8b, [KEY_KPJPCOMMA] = 0x8c, [KEY_HANGEUL] = 0x90,
    [KEY_HANJA] = 0x91, [KEY_KATAKANA] = 0x92, [KEY_HIRAGANA] = 0x93, [KEY_ZENKAKUHANKAKU] = 0x94, [KEY_LEFTCTRL] = 0xe0,
    [KEY_LEFTSHIFT] = 0xe1, [KEY_LEFTALT] = 0xe2, [KEY_LEFTMETA] = 0xe3, [KEY_RIGHTCTRL] = 0xe4, [KEY_RIGHTSHIFT] = 0xe5,
    [KEY_RIGHTALT] = 0xe6, [KEY_RIGHTMETA] = 0xe7,
};

unsigned viv_key_to_usb(unsigned code)
{
    return code < G_N_ELEMENTS(usages) ? usages[code] : 0;
}

int viv_key_from_usb(unsigned usage)
{
    for (unsigned code = 0; usage && code < G_N_ELEMENTS(usages); code++) {
        if (usages[code] == usage)
            return (int)code;
    }
    return -1;
}
