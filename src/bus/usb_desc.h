/* A USB device's descriptors as data (USB 2.0 9.5, 9.6; USB 3.2 9.6). */
#ifndef VIV_BUS_USB_DESC_H
#define VIV_BUS_USB_DESC_H

#include <stddef.h>
#include <stdint.h>

#define VIV_USB_INTERFACES 4 /* most of a device */

enum viv_usb_speed { VIV_USB_LOW, VIV_USB_FULL, VIV_USB_HIGH, VIV_USB_SUPER, VIV_USB_SPEEDS };

enum { /* bmRequestType and bRequest in one: 9.3, 9.4 */
    VIV_USB_DEVICE_IN = 0x8000,
    VIV_USB_INTERFACE_IN = 0x8100,
    VIV_USB_INTERFACE_OUT = 0x0100,
    VIV_USB_CLASS_INTERFACE_IN = 0xa100,
    VIV_USB_CLASS_INTERFACE_OUT = 0x2100,
};

enum { VIV_USB_CONTROL, VIV_USB_ISO, VIV_USB_BULK, VIV_USB_INTERRUPT };

struct viv_usb_endpoint {
    uint8_t address; /* 0x80: IN */
    uint8_t type;
    uint16_t max_packet;
    uint8_t interval;
    uint8_t burst; /* super speed: packets less one */
};

struct viv_usb_interface {
    uint8_t number, alternate, cls, subclass, protocol, string;
    const uint8_t *extra; /* class descriptors between interface and endpoints */
    size_t extra_len;
    const struct viv_usb_endpoint *endpoints;
    unsigned count;
};

/* The device as it is at one speed: one configuration, number 1. */
struct viv_usb_face {
    uint16_t version; /* 0x0200 */
    uint8_t packet0;  /* of endpoint 0; super speed: 9 (512 bytes) */
    uint8_t attributes, power; /* of the configuration: 0x80 | 0x40 self powered | 0x20 wakes; 2 mA (super speed: 8 mA) */
    const struct viv_usb_interface *interfaces;
    unsigned count;
};

struct viv_usb_desc {
    uint16_t vendor, product, release;
    uint8_t cls, subclass, protocol;
    uint8_t manufacturer, name, serial; /* strings */
    const char *const *strings;         /* from number 1 on, ending with NULL */
    const struct viv_usb_face *face[VIV_USB_SPEEDS]; /* NULL: it cannot run at that speed */
};

/* Writes a whole descriptor (9.4.3); `type` and `index` are wValue's bytes. `serial`: in place of that of the table, may be NULL.
 * Returns its length or -1: there is none. At most `most` bytes, which hold all there is. */
int viv_usb_desc_get(const struct viv_usb_desc *d, enum viv_usb_speed speed, uint8_t type, uint8_t index, const char *serial,
                     uint8_t *out, size_t most);

#endif
