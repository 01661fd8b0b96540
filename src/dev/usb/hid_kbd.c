/* usb-kbd: a keyboard with the boot interface (HID 1.11 appendix B.1; usages: HID Usage Tables 1.12, 10). */
#include "dev/usb/hid.h"

#include "ui/keys.h"

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
    uint8_t ups[32];                /* one bit a usage: its release found no room yet */
};

static struct usb_kbd *kbd_of(const struct usb_hid *h)
{
    return (struct usb_kbd *)h;
}

/* ---- keys ---- */

static void push(struct usb_kbd *k, uint16_t event)
{
    k->event[(k->head + k->count++) % EVENTS] = event;
}

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

/* Half of the queue is for releases alone, and those that find no room are kept, so that no key hangs. Presses get in again when the
 * queue is half empty: all kept releases are in it then, and nothing overtakes. */
static void on_key(void *opaque, unsigned code, bool down)
{
    struct usb_kbd *k = opaque;
    unsigned usage = viv_key_to_usb(code);

    if (!usage || !usb_hid_driven(&k->hid) || (down && k->count >= EVENTS / 2))
        return;
    if (k->count == EVENTS)
        k->ups[usage / 8] |= (uint8_t)(1 << usage % 8);
    else
        push(k, (uint16_t)(usage | (down ? 0 : UP)));
    usb_hid_tell(&k->hid);
}

static void take_up_kept(struct usb_kbd *k)
{
    for (unsigned usage = 0; usage < 8 * sizeof(k->ups) && k->count < EVENTS; usage++) {
        if (k->ups[usage / 8] >> usage % 8 & 1) {
            k->ups[usage / 8] &= (uint8_t)~(1 << usage % 8);
            push(k, (uint16_t)(usage | UP));
        }
    }
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
        if (k->count-- == EVENTS)
            take_up_kept(k);
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
    memset(k->ups, 0, sizeof(k->ups));
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
    .version = 2,
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
            {.name = "ups", .kind = VIV_FIELD_BYTES, .offset = offsetof(struct usb_kbd, ups),
             .size = sizeof(((struct usb_kbd *)0)->ups), .count = 1, .since = 2},
            VIV_F_END,
        },
    .post_load = post_load,
};

const struct viv_dev_class viv_dev_usb_kbd = {
    .name = "usb-kbd",
    .desc = "USB keyboard",
    .bus = VIV_BUS_USB,
    .hotplug = &viv_usb_hotplug,
    .size = sizeof(struct usb_kbd),
    .props = usb_hid_props,
    .state = &state,
    .realize = usb_hid_realize,
    .reset = usb_hid_reset,
    .unrealize = usb_hid_unrealize,
    .data = &kind,
};
