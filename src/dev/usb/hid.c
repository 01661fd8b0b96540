/* Requests, idle rate and the input sink of USB keyboards and pointers (HID 1.11, 7.1, 7.2).
 *
 * Left out: SET_DESCRIPTOR, idle rates by report number, typematic repeat (the host's job). */
#include "dev/usb/hid.h"

#include "host/clock.h"

#include <glib.h>
#include <string.h>

enum { HID_DESC_TYPE = 0x21, REPORT_DESC_TYPE = 0x22 };

static struct usb_hid *hid_of(struct viv_usb_dev *d)
{
    return (struct usb_hid *)d;
}

/* ---- who gets keys and motion ---- */

static void set_polled(struct usb_hid *h, bool polled)
{
    if (h->polled == polled)
        return;
    h->polled = polled;
    viv_input_prefer(h->sink, polled);
}

/* ---- the idle rate (7.2.4) ---- */

static void period_over(void *opaque)
{
    struct usb_hid *h = opaque;

    h->due = true;
    viv_usb_wakeup(&h->usb, 0x81);
}

static void begin_period(struct usb_hid *h)
{
    h->due = false;
    if (h->idle && usb_hid_driven(h))
        viv_timer_set(h->timer, viv_clock_ns(VIV_CLOCK_GUEST) + h->idle * 4000000ll);
    else
        viv_timer_cancel(h->timer);
}

void usb_hid_tell(struct usb_hid *h)
{
    viv_usb_wakeup(&h->usb, 0x81);
}

/* ---- requests ---- */

static int descriptor(struct usb_hid *h, unsigned type, uint8_t *data)
{
    const struct viv_usb_interface *i = h->usb.desc->face[h->usb.speed]->interfaces;

    if (type == HID_DESC_TYPE) {
        memcpy(data, i->extra, i->extra_len);
        return (int)i->extra_len;
    }
    if (type != REPORT_DESC_TYPE)
        return -1;
    memcpy(data, h->kind->report_desc, h->kind->report_desc_len);
    return h->kind->report_desc_len;
}

static int hid_control(struct viv_usb_dev *d, const uint8_t s[8], uint8_t *data)
{
    struct usb_hid *h = hid_of(d);

    if (s[4] || s[5]) /* interface 0 */
        return -1;
    switch (s[0] << 8 | s[1]) {
    case VIV_USB_INTERFACE_IN | 6:
        return descriptor(h, s[3], data);
    case VIV_USB_CLASS_INTERFACE_IN | 1: /* GET_REPORT */
        return s[3] == 1 ? (int)h->kind->report(h, data, false) : -1;
    case VIV_USB_CLASS_INTERFACE_IN | 2:
        data[0] = h->idle;
        return 1;
    case VIV_USB_CLASS_INTERFACE_IN | 3:
        if (!h->kind->boot)
            return -1;
        data[0] = h->protocol;
        return 1;
    case VIV_USB_CLASS_INTERFACE_OUT | 9: /* SET_REPORT: output */
        if (s[3] != 2 || !h->kind->output || !s[6])
            return -1;
        h->kind->output(h, data[0]);
        return 0;
    case VIV_USB_CLASS_INTERFACE_OUT | 10:
        h->idle = s[3];
        begin_period(h);
        return 0;
    case VIV_USB_CLASS_INTERFACE_OUT | 11:
        if (!h->kind->boot || s[2] > 1)
            return -1;
        h->protocol = s[2];
        return 0;
    }
    return -1;
}

static void hid_data(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    struct usb_hid *h = hid_of(d);
    uint8_t report[HID_REPORT_MOST];
    bool news = h->kind->news(h);

    set_polled(h, true);
    if (!news && !h->due) {
        k->status = VIV_USB_NAK;
        return;
    }
    viv_usb_answer(k, report, h->kind->report(h, report, news));
    begin_period(h);
}

static void unused(struct usb_hid *h)
{
    set_polled(h, false);
    h->protocol = 1; /* 7.2.6 */
    h->idle = 0;
    begin_period(h);
    h->kind->clear(h);
}

static void hid_bus_reset(struct viv_usb_dev *d)
{
    unused(hid_of(d));
}

static void hid_configured(struct viv_usb_dev *d)
{
    if (!d->configuration)
        unused(hid_of(d));
}

/* ---- class ---- */

const struct viv_opt_def usb_hid_props[] = {
    VIV_USB_PROPS,
    {.name = "usb_version", .type = VIV_OPT_INT, .def = "2", .min = 1, .max = 2, .help = "1: full speed only"},
    VIV_OPT_END,
};

int usb_hid_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_usb_dev_ops ops = {
        .reset = hid_bus_reset, .control = hid_control, .data = hid_data, .configured = hid_configured};
    struct usb_hid *h = (struct usb_hid *)d;
    int rc;

    h->kind = d->cls->data;
    h->usb.ops = &ops;
    h->usb.desc = h->kind->desc[viv_opts_int(opts, "usb_version") - 1];
    h->timer = viv_timer_new(VIV_CLOCK_GUEST, period_over, h);
    rc = viv_usb_dev_init(&h->usb, opts, err);
    if (rc < 0) {
        viv_timer_free(h->timer);
        return rc;
    }
    h->sink = viv_input_add(h->kind->input, h, -1);
    viv_input_prefer(h->sink, false); /* until a driver polls it */
    return 0;
}

void usb_hid_unrealize(struct viv_dev *d)
{
    struct usb_hid *h = (struct usb_hid *)d;

    viv_usb_dev_fini(&h->usb);
    viv_input_remove(h->sink);
    viv_timer_free(h->timer);
}

void usb_hid_reset(struct viv_dev *d)
{
    viv_usb_dev_reset(&((struct usb_hid *)d)->usb);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct usb_hid *h = obj;

    h->protocol &= 1;
    viv_input_prefer(h->sink, h->polled);
    return 0;
}

const struct viv_state_table usb_hid_state = {
    .name = "usb-hid",
    .ctype = "usb_hid",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(usb_hid, usb, viv_usb_dev_state),
            VIV_F_CONFIG(usb_hid, kind),
            VIV_F_CONFIG(usb_hid, sink),
            VIV_F_TIMER(usb_hid, timer),
            VIV_F_INT(usb_hid, idle),
            VIV_F_INT(usb_hid, protocol),
            VIV_F_INT(usb_hid, polled),
            VIV_F_INT(usb_hid, due),
            VIV_F_END,
        },
    .post_load = post_load,
};
