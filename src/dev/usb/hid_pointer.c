/* usb-tablet, usb-mouse: pointers, absolute and relative (HID 1.11 appendix B.2, E.10). A report has a few bits of motion: a long
 * way is several. */
#include "dev/input/pointer.h"
#include "dev/usb/hid.h"

#include <glib.h>

struct usb_pointer {
    struct usb_hid hid;
    struct pointer p;
};

static struct pointer *pointer_of(const struct usb_hid *h)
{
    return &((struct usb_pointer *)h)->p;
}

/* ---- events ---- */

static void on_move(void *opaque, int dx, int dy)
{
    viv_pointer_move(pointer_of(opaque), dx, dy);
}

static void on_place(void *opaque, unsigned x, unsigned y)
{
    viv_pointer_place(pointer_of(opaque), x, y);
}

static void on_button(void *opaque, enum viv_button b, bool down)
{
    viv_pointer_button(pointer_of(opaque), b, down);
}

static void on_wheel(void *opaque, int dy, int dx)
{
    viv_pointer_wheel(pointer_of(opaque), dy, dx);
}

static void on_sync(void *opaque)
{
    if (viv_pointer_sync(pointer_of(opaque), usb_hid_driven(opaque)))
        usb_hid_tell(opaque);
}

/* ---- reports ---- */

static bool pointer_news(const struct usb_hid *h)
{
    return viv_pointer_first(pointer_of(h)) != NULL;
}

/* Left, right, middle, and two more. */
static uint8_t buttons(uint8_t held)
{
    return (uint8_t)((held & ~6) | (held >> VIV_BUTTON_RIGHT & 1) << 1 | (held >> VIV_BUTTON_MIDDLE & 1) << 2);
}

static uint8_t part(int32_t *of)
{
    int32_t n = CLAMP(*of, -127, 127);

    *of -= n;
    return (uint8_t)n;
}

static size_t tablet_report(struct usb_hid *h, uint8_t *out, bool take)
{
    struct pointer *p = pointer_of(h);
    struct pointer_event none = p->told, *e = take ? viv_pointer_first(p) : &none;

    out[0] = buttons(e->buttons);
    out[1] = (uint8_t)e->x;
    out[2] = (uint8_t)(e->x >> 8);
    out[3] = (uint8_t)e->y;
    out[4] = (uint8_t)(e->y >> 8);
    out[5] = part(&e->wheel);
    out[6] = part(&e->pan);
    p->told.x = e->x;
    p->told.y = e->y;
    p->told.buttons = e->buttons;
    if (take && !e->wheel && !e->pan)
        viv_pointer_taken(p);
    return 7;
}

/* What is left of motion comes with the next report; a button changes at the end of the way. */
static size_t mouse_report(struct usb_hid *h, uint8_t *out, bool take)
{
    struct pointer *p = pointer_of(h);
    struct pointer_event none = p->told, *e = take ? viv_pointer_first(p) : &none;
    bool all;

    out[1] = part(&e->x);
    out[2] = part(&e->y);
    out[3] = part(&e->wheel);
    out[4] = part(&e->pan);
    all = !e->x && !e->y && !e->wheel && !e->pan;
    out[0] = buttons(all ? e->buttons : p->told.buttons);
    if (take && all)
        viv_pointer_taken(p);
    return h->protocol ? 5 : 3; /* the boot report is the beginning */
}

static void pointer_clear(struct usb_hid *h)
{
    viv_pointer_clear(pointer_of(h));
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

static const struct viv_state_table state = {
    .name = "usb-pointer",
    .ctype = "usb_pointer",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_STRUCT(usb_pointer, hid, usb_hid_state), VIV_F_STRUCT(usb_pointer, p, viv_pointer_state),
                                         VIV_F_END},
};

static int tablet_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    ((struct usb_pointer *)d)->p.absolute = true;
    return usb_hid_realize(d, opts, err);
}

const struct viv_dev_class viv_dev_usb_tablet = {
    .name = "usb-tablet",
    .desc = "USB tablet: an absolute pointer",
    .bus = VIV_BUS_USB,
    .hotplug = &viv_usb_hotplug,
    .size = sizeof(struct usb_pointer),
    .props = usb_hid_props,
    .state = &state,
    .realize = tablet_realize,
    .reset = usb_hid_reset,
    .unrealize = usb_hid_unrealize,
    .data = &tablet,
};

const struct viv_dev_class viv_dev_usb_mouse = {
    .name = "usb-mouse",
    .desc = "USB mouse",
    .bus = VIV_BUS_USB,
    .hotplug = &viv_usb_hotplug,
    .size = sizeof(struct usb_pointer),
    .props = usb_hid_props,
    .state = &state,
    .realize = usb_hid_realize,
    .reset = usb_hid_reset,
    .unrealize = usb_hid_unrealize,
    .data = &mouse,
};
