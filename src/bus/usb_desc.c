/* Descriptors as bytes (USB 2.0 9.6; USB 3.2 9.6.2, 9.6.7). */
#include "bus/usb_desc.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

enum { DEVICE = 1, CONFIG, STRING, INTERFACE, ENDPOINT, QUALIFIER, OTHER_SPEED, BOS = 15, COMPANION = 48 };

struct out {
    uint8_t *p;
    size_t len, most;
};

/* A descriptor's room, its first two bytes filled. */
static uint8_t *add(struct out *o, uint8_t len, uint8_t type)
{
    uint8_t *p = o->p + o->len;

    g_assert(o->len + len <= o->most);
    memset(p, 0, len);
    p[0] = len;
    p[1] = type;
    o->len += len;
    return p;
}

static void put_ids(uint8_t *p, const struct viv_usb_desc *d, const struct viv_usb_face *f)
{
    viv_st_le16(p + 2, f->version);
    p[4] = d->cls;
    p[5] = d->subclass;
    p[6] = d->protocol;
    p[7] = f->packet0;
}

static void put_device(struct out *o, const struct viv_usb_desc *d, const struct viv_usb_face *f)
{
    uint8_t *p = add(o, 18, DEVICE);

    put_ids(p, d, f);
    viv_st_le16(p + 8, d->vendor);
    viv_st_le16(p + 10, d->product);
    viv_st_le16(p + 12, d->release);
    p[14] = d->manufacturer;
    p[15] = d->name;
    p[16] = d->serial;
    p[17] = 1;
}

static void put_endpoint(struct out *o, const struct viv_usb_endpoint *e, enum viv_usb_speed speed)
{
    uint8_t *p = add(o, 7, ENDPOINT);

    p[2] = e->address;
    p[3] = e->type;
    viv_st_le16(p + 4, e->max_packet);
    p[6] = e->interval;
    if (speed == VIV_USB_SUPER) {
        p = add(o, 6, COMPANION);
        p[2] = e->burst;
        if (e->type == VIV_USB_INTERRUPT)
            viv_st_le16(p + 4, e->max_packet); /* bytes an interval */
    }
}

static void put_interface(struct out *o, const struct viv_usb_interface *i, enum viv_usb_speed speed)
{
    uint8_t *p = add(o, 9, INTERFACE);

    p[2] = i->number;
    p[3] = i->alternate;
    p[4] = (uint8_t)i->count;
    p[5] = i->cls;
    p[6] = i->subclass;
    p[7] = i->protocol;
    p[8] = i->string;
    g_assert(o->len + i->extra_len <= o->most);
    if (i->extra_len) /* else it is NULL */
        memcpy(o->p + o->len, i->extra, i->extra_len);
    o->len += i->extra_len;
    for (unsigned n = 0; n < i->count; n++)
        put_endpoint(o, &i->endpoints[n], speed);
}

static void put_config(struct out *o, uint8_t type, const struct viv_usb_face *f, enum viv_usb_speed speed)
{
    uint8_t *p = add(o, 9, type);
    unsigned numbers = 0;

    for (unsigned n = 0; n < f->count; n++) {
        put_interface(o, &f->interfaces[n], speed);
        numbers = MAX(numbers, f->interfaces[n].number + 1u);
    }
    viv_st_le16(p + 2, (uint16_t)o->len);
    p[4] = (uint8_t)numbers;
    p[5] = 1;
    p[7] = f->attributes;
    p[8] = f->power;
}

/* The other of full and high speed (9.6.2, 9.6.4). */
static const struct viv_usb_face *other(const struct viv_usb_desc *d, enum viv_usb_speed speed, enum viv_usb_speed *its)
{
    *its = speed == VIV_USB_HIGH ? VIV_USB_FULL : VIV_USB_HIGH;
    return speed == VIV_USB_HIGH || speed == VIV_USB_FULL ? d->face[*its] : NULL;
}

static void put_qualifier(struct out *o, const struct viv_usb_desc *d, const struct viv_usb_face *f)
{
    uint8_t *p = add(o, 10, QUALIFIER);

    put_ids(p, d, f);
    p[8] = 1;
}

static int put_string(struct out *o, const struct viv_usb_desc *d, uint8_t index, const char *serial)
{
    g_autofree gunichar2 *text = NULL;
    const char *s = NULL;
    glong n = 0;
    uint8_t *p;

    if (!index) { /* languages: English (United States) */
        viv_st_le16(add(o, 4, STRING) + 2, 0x0409);
        return 0;
    }
    for (unsigned i = 1; d->strings && d->strings[i - 1]; i++) {
        if (i == index)
            s = d->strings[i - 1];
    }
    if (index == d->serial && serial)
        s = serial;
    text = s ? g_utf8_to_utf16(s, -1, NULL, &n, NULL) : NULL;
    if (!text)
        return -1;
    n = MIN(n, 126);
    p = add(o, (uint8_t)(2 + 2 * n), STRING);
    for (glong i = 0; i < n; i++)
        viv_st_le16(p + 2 + 2 * i, text[i]);
    return 0;
}

/* USB 3.2 9.6.2: that it can do link power management at USB 2.0 is not said; which speeds it has is. */
static void put_bos(struct out *o, const struct viv_usb_desc *d)
{
    uint8_t *p = add(o, 5, BOS);
    uint16_t speeds = 0;

    for (unsigned s = 0; s < VIV_USB_SPEEDS; s++)
        speeds |= d->face[s] ? 1u << s : 0;
    viv_st_le16(p + 2, 5 + 7 + 10);
    p[4] = 2;
    p = add(o, 7, 16);
    p[2] = 2; /* USB 2.0 extension */
    p = add(o, 10, 16);
    p[2] = 3; /* SuperSpeed */
    viv_st_le16(p + 4, speeds);
    p[6] = VIV_USB_FULL; /* the lowest at which all of it works */
    p[7] = 10;           /* microseconds to leave U1, U2 */
    viv_st_le16(p + 8, 32);
}

int viv_usb_desc_get(const struct viv_usb_desc *d, enum viv_usb_speed speed, uint8_t type, uint8_t index, const char *serial,
                     uint8_t *out, size_t most)
{
    struct out o = {.p = out, .most = most};
    const struct viv_usb_face *f = d->face[speed], *twin;
    enum viv_usb_speed its;

    twin = other(d, speed, &its);
    if (type == DEVICE)
        put_device(&o, d, f);
    else if (type == CONFIG && !index)
        put_config(&o, CONFIG, f, speed);
    else if (type == QUALIFIER && twin)
        put_qualifier(&o, d, twin);
    else if (type == OTHER_SPEED && !index && twin)
        put_config(&o, OTHER_SPEED, twin, its);
    else if (type == BOS && d->face[VIV_USB_SUPER])
        put_bos(&o, d);
    else if (type != STRING || put_string(&o, d, index, serial) < 0)
        return -1;
    return (int)o.len;
}
