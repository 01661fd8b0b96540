/* usb-tablet, usb-mouse: pointers, absolute and relative (HID 1.11 appendix B.2, E.10).
 *
 * Motion that the host has not fetched yet is one event as long as the buttons stay as they are; a queue of events keeps clicks in
 * their places. */
#include "dev/usb/hid.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define EVENTS 16

struct pointer_event {
    int32_t x, y; /* place, or how far since the last report */
    int32_t wheel, pan;
    uint8_t buttons;
};

struct usb_pointer {
    struct usb_hid hid;
    struct pointer_event event[EVENTS];
    uint8_t head, count;
    struct pointer_event now;  /* until the sync */
    struct pointer_event told; /* place and buttons of the last report */
};

static struct usb_pointer *pointer_of(const struct usb_hid *h)
{
    return (struct usb_pointer *)h;
}

static bool absolute(const struct usb_pointer *p)
{
    return p->hid.kind->input->kinds & VIV_INPUT_ABSOLUTE;
}

/* ---- events ---- */

static void add(int32_t *to, int n)
{
    if (__builtin_add_overflow(*to, n, to))
        *to = 0; /* nobody moves so far */
}

static void on_move(void *opaque, int dx, int dy)
{
    struct usb_pointer *p = opaque;

    add(&p->now.x, dx);
    add(&p->now.y, dy);
}

static void on_place(void *opaque, unsigned x, unsigned y)
{
    struct usb_pointer *p = opaque;

    p->now.x = (int32_t)MIN(x, VIV_INPUT_RANGE - 1);
    p->now.y = (int32_t)MIN(y, VIV_INPUT_RANGE - 1);
}

static void on_button(void *opaque, enum viv_button b, bool down)
{
    static const uint8_t bit[VIV_BUTTONS] = {[VIV_BUTTON_LEFT] = 1, [VIV_BUTTON_RIGHT] = 2, [VIV_BUTTON_MIDDLE] = 4,
                                             [VIV_BUTTON_SIDE] = 8, [VIV_BUTTON_EXTRA] = 16};
    struct usb_pointer *p = opaque;

    p->now.buttons = (uint8_t)((p->now.buttons & ~bit[b]) | (down ? bit[b] : 0));
}

static void on_wheel(void *opaque, int dy, int dx)
{
    struct usb_pointer *p = opaque;

    add(&p->now.wheel, dy);
    add(&p->now.pan, dx);
}

static bool same(const struct usb_pointer *p, const struct pointer_event *a, const struct pointer_event *b)
{
    bool still = absolute(p) ? a->x == b->x && a->y == b->y : !a->x && !a->y;

    return still && !a->wheel && !a->pan && a->buttons == b->buttons;
}

static void merge(const struct usb_pointer *p, struct pointer_event *into, const struct pointer_event *e)
{
    if (absolute(p)) {
        into->x = e->x;
        into->y = e->y;
    } else {
        add(&into->x, e->x);
        add(&into->y, e->y);
    }
    add(&into->wheel, e->wheel);
    add(&into->pan, e->pan);
    into->buttons = e->buttons;
}

/* Motion is taken up, place and buttons stay. */
static void rest(const struct usb_pointer *p, struct pointer_event *e)
{
    e->wheel = e->pan = 0;
    if (!absolute(p))
        e->x = e->y = 0;
}

static void on_sync(void *opaque)
{
    struct usb_pointer *p = opaque;
    struct pointer_event *last = p->count ? &p->event[(p->head + p->count - 1) % EVENTS] : NULL;

    if (!usb_hid_driven(&p->hid)) {
        rest(p, &p->now);
        return;
    }
    if (!last && same(p, &p->now, &p->told))
        return;
    if (last && (last->buttons == p->now.buttons || p->count == EVENTS))
        merge(p, last, &p->now);
    else
        p->event[(p->head + p->count++) % EVENTS] = p->now;
    rest(p, &p->now);
    usb_hid_tell(&p->hid);
}

/* ---- reports ---- */

static bool pointer_news(const struct usb_hid *h)
{
    return pointer_of(h)->count > 0;
}

static uint8_t part(int32_t *of)
{
    int32_t n = CLAMP(*of, -127, 127);

    *of -= n;
    return (uint8_t)n;
}

static size_t tablet_report(struct usb_hid *h, uint8_t *out, bool take)
{
    struct usb_pointer *p = pointer_of(h);
    struct pointer_event none = p->told, *e = take ? &p->event[p->head] : &none;

    out[0] = e->buttons;
    out[1] = (uint8_t)e->x;
    out[2] = (uint8_t)(e->x >> 8);
    out[3] = (uint8_t)e->y;
    out[4] = (uint8_t)(e->y >> 8);
    out[5] = part(&e->wheel);
    out[6] = part(&e->pan);
    p->told = (struct pointer_event){.x = e->x, .y = e->y, .buttons = e->buttons};
    if (take && !e->wheel && !e->pan) {
        p->head = (uint8_t)((p->head + 1) % EVENTS);
        p->count--;
    }
    return 7;
}

static size_t mouse_report(struct usb_hid *h, uint8_t *out, bool take)
{
    struct usb_pointer *p = pointer_of(h);
    struct pointer_event none = p->told, *e = take ? &p->event[p->head] : &none;

    out[0] = e->buttons;
    out[1] = part(&e->x);
    out[2] = part(&e->y);
    out[3] = part(&e->wheel);
    out[4] = part(&e->pan);
    p->told = (struct pointer_event){.buttons = e->buttons};
    if (take && !e->x && !e->y && !e->wheel && !e->pan) {
        p->head = (uint8_t)((p->head + 1) % EVENTS);
        p->count--;
    }
    return h->protocol ? 5 : 3; /* the boot report is the beginning */
}

static void pointer_clear(struct usb_hid *h)
{
    struct usb_pointer *p = pointer_of(h);

    p->head = p->count = 0;
    rest(p, &p->now);
    memset(&p->told, 0, sizeof(p->told));
}

/* ---- descriptors ---- */

#define BUTTONS_AND(first)                                                                                        \
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,                           /* a mouse: a pointer */  \
        0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, /* 5 buttons */ \
        0x95, 0x01, 0x75, 0x03, 0x81, 0x01, 0x05, 0x01, first
/* 8 bits each, relative: wheel, AC Pan */
#define WHEELS                                                                                                \
    0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06, 0x05, 0x0c, 0x0a, 0x38, 0x02, \
        0x81, 0x06, 0xc0, 0xc0

static const uint8_t tablet_report_desc[] = {
    /* X, Y: 16 bits, 0 to 7FFFh */
    BUTTONS_AND(0x09), 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02,
    WHEELS,
};
static const uint8_t mouse_report_desc[] = {
    /* X, Y: 8 bits */
    BUTTONS_AND(0x09), 0x30, 0x09, 0x31, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x02, 0x81, 0x06,
    WHEELS,
};
static const uint8_t tablet_hid[] = HID_DESCRIPTOR(sizeof(tablet_report_desc));
static const uint8_t mouse_hid[] = HID_DESCRIPTOR(sizeof(mouse_report_desc));

HID_FACE(tablet, full, 0x0110, 8, 0, tablet_hid);
HID_FACE(tablet, high, 0x0200, 6, 0, tablet_hid);
HID_FACE(mouse, full, 0x0110, 8, 2, mouse_hid);
HID_FACE(mouse, high, 0x0200, 6, 2, mouse_hid);
static const char *const tablet_strings[] = {"Vivarium", "USB Tablet", "1", NULL};
static const char *const mouse_strings[] = {"Vivarium", "USB Mouse", "1", NULL};
HID_DESC(tablet_desc1, tablet_strings, [VIV_USB_FULL] = &tablet_full);
HID_DESC(tablet_desc2, tablet_strings, [VIV_USB_FULL] = &tablet_full, [VIV_USB_HIGH] = &tablet_high);
HID_DESC(mouse_desc1, mouse_strings, [VIV_USB_FULL] = &mouse_full);
HID_DESC(mouse_desc2, mouse_strings, [VIV_USB_FULL] = &mouse_full, [VIV_USB_HIGH] = &mouse_high);

/* ---- classes ---- */

static const struct viv_input_ops tablet_input = {
    .name = "USB Tablet", .kinds = VIV_INPUT_ABSOLUTE, .place = on_place, .button = on_button, .wheel = on_wheel, .sync = on_sync};
static const struct viv_input_ops mouse_input = {
    .name = "USB Mouse", .kinds = VIV_INPUT_RELATIVE, .move = on_move, .button = on_button, .wheel = on_wheel, .sync = on_sync};

static const struct hid_kind tablet = {
    .desc = {&tablet_desc1, &tablet_desc2},
    .input = &tablet_input,
    .report_desc = tablet_report_desc,
    .report_desc_len = sizeof(tablet_report_desc),
    .news = pointer_news,
    .report = tablet_report,
    .clear = pointer_clear,
};
static const struct hid_kind mouse = {
    .desc = {&mouse_desc1, &mouse_desc2},
    .input = &mouse_input,
    .report_desc = mouse_report_desc,
    .report_desc_len = sizeof(mouse_report_desc),
    .boot = 2,
    .news = pointer_news,
    .report = mouse_report,
    .clear = pointer_clear,
};

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct usb_pointer *p = obj;

    if (p->head >= EVENTS || p->count > EVENTS)
        return viv_fail(err, EINVAL, "%s with %u events from %u", p->hid.usb.dev.cls->name, p->count, p->head);
    return 0;
}

static const struct viv_state_table event_state = {
    .name = "pointer-event",
    .ctype = "pointer_event",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(pointer_event, x),
            VIV_F_INT(pointer_event, y),
            VIV_F_INT(pointer_event, wheel),
            VIV_F_INT(pointer_event, pan),
            VIV_F_INT(pointer_event, buttons),
            VIV_F_END,
        },
};

static const struct viv_state_table state = {
    .name = "usb-pointer",
    .ctype = "usb_pointer",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(usb_pointer, hid, usb_hid_state),
            VIV_F_STRUCTS(usb_pointer, event, event_state),
            VIV_F_INT(usb_pointer, head),
            VIV_F_INT(usb_pointer, count),
            VIV_F_STRUCT(usb_pointer, now, event_state),
            VIV_F_STRUCT(usb_pointer, told, event_state),
            VIV_F_END,
        },
    .post_load = post_load,
};

const struct viv_dev_class viv_dev_usb_tablet = {
    .name = "usb-tablet",
    .desc = "USB tablet: an absolute pointer",
    .bus = VIV_BUS_USB,
    .size = sizeof(struct usb_pointer),
    .props = usb_hid_props,
    .state = &state,
    .realize = usb_hid_realize,
    .reset = usb_hid_reset,
    .unrealize = usb_hid_unrealize,
    .data = &tablet,
};

const struct viv_dev_class viv_dev_usb_mouse = {
    .name = "usb-mouse",
    .desc = "USB mouse",
    .bus = VIV_BUS_USB,
    .size = sizeof(struct usb_pointer),
    .props = usb_hid_props,
    .state = &state,
    .realize = usb_hid_realize,
    .reset = usb_hid_reset,
    .unrealize = usb_hid_unrealize,
    .data = &mouse,
};
