/* usb-kbd: a keyboard with the boot interface (HID 1.11 appendix B.1; usages: HID Usage Tables 1.12, 10). */
#include "dev/usb/hid.h"

#include <errno.h>
#include <glib.h>
#include <linux/input-event-codes.h>
#include <string.h>

#define EVENTS  64
#define UP      0x100
#define SLOTS   6    /* keys in a report */
#define HELD    32   /* keys down at a time that are known */
#define ROLL_OVER 0x01
#define MODIFIERS 0xe0

struct usb_kbd {
    struct usb_hid hid;
    uint16_t event[EVENTS]; /* usage, UP: released; one a report */
    uint8_t head, count;
    uint8_t modifiers;
    uint8_t held[HELD], held_count; /* in the order they were pressed */
    uint8_t leds;                   /* as the report has them */
};

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

static struct usb_kbd *kbd_of(const struct usb_hid *h)
{
    return (struct usb_kbd *)h;
}

/* ---- keys ---- */

static void apply(struct usb_kbd *k, uint16_t event)
{
    uint8_t usage = (uint8_t)event, *at = memchr(k->held, usage, k->held_count);
    bool up = event & UP;

    if (usage >= MODIFIERS) {
        uint8_t bit = (uint8_t)(1 << (usage & 7));

        k->modifiers = up ? k->modifiers & ~bit : k->modifiers | bit;
    } else if (up && at) {
        memmove(at, at + 1, (size_t)(k->held + k->held_count - 1 - at));
        k->held_count--;
    } else if (!up && !at && k->held_count < HELD) {
        k->held[k->held_count++] = usage;
    }
}

/* Half of the queue is for releases alone, so that no key hangs. */
static void on_key(void *opaque, unsigned code, bool down)
{
    struct usb_kbd *k = opaque;
    uint8_t usage = code < KEY_CNT ? usages[code] : 0;

    if (!usage || !usb_hid_driven(&k->hid) || (down && k->count >= EVENTS / 2))
        return;
    if (k->count == EVENTS)
        apply(k, usage | UP);
    else
        k->event[(k->head + k->count++) % EVENTS] = usage | (down ? 0 : UP);
    usb_hid_tell(&k->hid);
}

/* Keys wait, and soon presses would be lost. A character is up to four events. */
static bool on_busy(void *opaque)
{
    return ((struct usb_kbd *)opaque)->count > EVENTS / 4;
}

static bool kbd_news(const struct usb_hid *h)
{
    return kbd_of(h)->count > 0;
}

static size_t kbd_report(struct usb_hid *h, uint8_t *out, bool take)
{
    struct usb_kbd *k = kbd_of(h);

    if (take) {
        apply(k, k->event[k->head]);
        k->head = (uint8_t)((k->head + 1) % EVENTS);
        k->count--;
    }
    memset(out, 0, 8);
    out[0] = k->modifiers;
    if (k->held_count > SLOTS)
        memset(out + 2, ROLL_OVER, SLOTS);
    else
        memcpy(out + 2, k->held, k->held_count);
    return 8;
}

static void show_leds(struct usb_kbd *k)
{
    viv_input_set_leds(k->hid.sink, (k->leds & 1 ? VIV_LED_NUM : 0) | (k->leds & 2 ? VIV_LED_CAPS : 0) |
                                        (k->leds & 4 ? VIV_LED_SCROLL : 0));
}

static void kbd_output(struct usb_hid *h, uint8_t leds)
{
    kbd_of(h)->leds = leds & 0x1f;
    show_leds(kbd_of(h));
}

static void kbd_clear(struct usb_hid *h)
{
    struct usb_kbd *k = kbd_of(h);

    k->head = k->count = k->modifiers = k->held_count = k->leds = 0;
    if (h->sink)
        show_leds(k);
}

/* ---- descriptors ---- */

static const uint8_t report_desc[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,                         /* a keyboard */
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, /* the modifiers, */
    0x75, 0x01, 0x95, 0x08, 0x81, 0x02,                         /* a bit each */
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01,                         /* a byte for nothing */
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x95, 0x05, 0x75, 0x01, 0x91, 0x02, /* five LEDs, out */
    0x95, 0x01, 0x75, 0x03, 0x91, 0x01,
    0x05, 0x07, 0x19, 0x00, 0x2a, 0xff, 0x00, 0x15, 0x00, 0x26, 0xff, 0x00, /* six keys by number */
    0x95, 0x06, 0x75, 0x08, 0x81, 0x00,
    0xc0,
};
static const uint8_t kbd_hid[] = HID_DESCRIPTOR(sizeof(report_desc));

HID_FACE(kbd, full, 0x0110, 8, 1, kbd_hid);
HID_FACE(kbd, high, 0x0200, 6, 1, kbd_hid);
static const char *const strings[] = {"Vivarium", "USB Keyboard", "1", NULL};
HID_DESC(kbd_desc1, strings, [VIV_USB_FULL] = &kbd_full);
HID_DESC(kbd_desc2, strings, [VIV_USB_FULL] = &kbd_full, [VIV_USB_HIGH] = &kbd_high);

/* ---- class ---- */

static const struct viv_input_ops input = {.name = "USB Keyboard", .kinds = VIV_INPUT_KEYS, .key = on_key, .busy = on_busy};

static const struct hid_kind kind = {
    .desc = {&kbd_desc1, &kbd_desc2},
    .input = &input,
    .report_desc = report_desc,
    .report_desc_len = sizeof(report_desc),
    .boot = 1,
    .news = kbd_news,
    .report = kbd_report,
    .output = kbd_output,
    .clear = kbd_clear,
};

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct usb_kbd *k = obj;

    if (k->head >= EVENTS || k->count > EVENTS || k->held_count > HELD)
        return viv_fail(err, EINVAL, "usb-kbd with %u events from %u, %u keys down", k->count, k->head, k->held_count);
    show_leds(k);
    return 0;
}

static const struct viv_state_table state = {
    .name = "usb-kbd",
    .ctype = "usb_kbd",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(usb_kbd, hid, usb_hid_state),
            VIV_F_INTS(usb_kbd, event),
            VIV_F_INT(usb_kbd, head),
            VIV_F_INT(usb_kbd, count),
            VIV_F_INT(usb_kbd, modifiers),
            VIV_F_BYTES(usb_kbd, held),
            VIV_F_INT(usb_kbd, held_count),
            VIV_F_INT(usb_kbd, leds),
            VIV_F_END,
        },
    .post_load = post_load,
};

const struct viv_dev_class viv_dev_usb_kbd = {
    .name = "usb-kbd",
    .desc = "USB keyboard",
    .bus = VIV_BUS_USB,
    .size = sizeof(struct usb_kbd),
    .props = usb_hid_props,
    .state = &state,
    .realize = usb_hid_realize,
    .reset = usb_hid_reset,
    .unrealize = usb_hid_unrealize,
    .data = &kind,
};
