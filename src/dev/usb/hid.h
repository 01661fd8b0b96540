/* What USB keyboards and pointers share (Device Class Definition for HID 1.11). */
#ifndef VIV_DEV_USB_HID_H
#define VIV_DEV_USB_HID_H

#include "bus/usb.h"
#include "ui/input.h"

#define HID_REPORT_MOST 8

struct usb_hid;

struct hid_kind {
    const struct viv_usb_desc *desc[2]; /* usb_version 1 and 2 */
    const struct viv_input_ops *input;
    const uint8_t *report_desc;
    uint16_t report_desc_len;
    uint8_t boot; /* bInterfaceProtocol: 1 keyboard, 2 mouse, 0 neither */
    /* Is there something that the host has not heard? */
    bool (*news)(const struct usb_hid *h);
    /* The next report; without `take` the last one again, as GET_REPORT has it. Returns its length. */
    size_t (*report)(struct usb_hid *h, uint8_t out[HID_REPORT_MOST], bool take);
    void (*output)(struct usb_hid *h, uint8_t leds); /* SET_REPORT; may be NULL */
    void (*clear)(struct usb_hid *h);                /* as after power on */
};

struct usb_hid {
    struct viv_usb_dev usb;
    const struct hid_kind *kind;
    struct viv_input_sink *sink;
    struct viv_timer *timer; /* of the idle rate */
    uint8_t idle;            /* 4 ms; 0: reports only what is new */
    uint8_t protocol;        /* 0: boot, 1: report */
    bool polled;             /* somebody asks for reports */
    bool due;                /* the idle period is over */
};

/* VIV_F_STRUCT(my_dev, hid, usb_hid_state). */
extern const struct viv_state_table usb_hid_state;
/* A class: the table of its struct, which begins with struct usb_hid, and .data = struct hid_kind. */
int usb_hid_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err);
void usb_hid_unrealize(struct viv_dev *d);
void usb_hid_reset(struct viv_dev *d);
extern const struct viv_opt_def usb_hid_props[];

/* Does the guest drive it? Events for one that is not driven are dropped. */
static inline bool usb_hid_driven(const struct usb_hid *h)
{
    return h->usb.configuration != 0;
}
/* Something is new. */
void usb_hid_tell(struct usb_hid *h);

/* The parts of the descriptors that are the same for all: one interface, one interrupt endpoint. Full speed: every 8 ms as
 * boot devices have it; high speed: every 4 ms. */
#define HID_DESCRIPTOR(len) {9, 0x21, 0x11, 0x01, 0, 1, 0x22, (len) & 0xff, (len) >> 8}
#define HID_FACE(name, speed, ver, every, boot_protocol, hid_desc)                                               \
    static const struct viv_usb_endpoint name##_##speed##_in[] = {{0x81, VIV_USB_INTERRUPT, 8, every, 0}};         \
    static const struct viv_usb_interface name##_##speed##_interface[] = {                                       \
        {.cls = 3, .subclass = (boot_protocol) ? 1 : 0, .protocol = boot_protocol, .extra = hid_desc,            \
         .extra_len = sizeof(hid_desc), .endpoints = name##_##speed##_in, .count = 1}};                           \
    static const struct viv_usb_face name##_##speed = {.version = ver, .packet0 = (ver) == 0x110 ? 8 : 64,         \
                                                       .attributes = 0xa0, .power = 50,                          \
                                                       .interfaces = name##_##speed##_interface, .count = 1}
#define HID_DESC(var, text, ...)                                                                                 \
    static const struct viv_usb_desc var = {.vendor = 0x0627, .product = 0x0001, .manufacturer = 1, .name = 2,   \
                                            .serial = 3, .strings = text, .face = {__VA_ARGS__}}

#endif
