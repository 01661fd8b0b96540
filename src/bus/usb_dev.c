/* A USB device's side: endpoint 0's transfers (USB 2.0 8.5.3) and the requests that descriptors answer (9.4). */
#include "bus/usb.h"

#include "base/bytes.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { GET_STATUS, CLEAR_FEATURE, SET_FEATURE = 3, SET_ADDRESS = 5, GET_DESCRIPTOR, GET_CONFIGURATION = 8, SET_CONFIGURATION,
       GET_INTERFACE, SET_INTERFACE, SET_SEL = 0x30, SET_ISOCH_DELAY };
enum { ENDPOINT_HALT = 0, REMOTE_WAKEUP = 1 };
enum { TO_DEVICE, TO_INTERFACE, TO_ENDPOINT };

static const struct viv_usb_face *face(const struct viv_usb_dev *d)
{
    return d->desc->face[d->speed];
}

/* ---- packets' memory ---- */

size_t viv_usb_copy(struct viv_usb_packet *k, void *data, size_t n)
{
    size_t at = 0, did = 0;

    n = MIN(n, k->length - k->actual);
    for (unsigned i = 0; i < k->count && did < n; i++) {
        const struct viv_usb_piece *p = &k->pieces[i];
        size_t skip = k->actual > at ? MIN(k->actual - at, p->len) : 0, part = MIN(p->len - skip, n - did);
        uint8_t *to = (uint8_t *)data + did;
        int rc = 0;

        at += p->len;
        if (part)
            rc = k->pid == VIV_USB_IN ? viv_dma_write(k->mem, p->at + skip, to, part) : viv_dma_read(k->mem, p->at + skip, to, part);
        if (rc < 0) {
            k->status = VIV_USB_ERROR;
            break;
        }
        /* k->actual stands still meanwhile: the pieces behind the first are whole. */
        did += part;
    }
    k->actual += did;
    return did;
}

void viv_usb_answer(struct viv_usb_packet *k, const void *data, size_t n)
{
    if (n > k->length)
        k->status = VIV_USB_BABBLE;
    else
        viv_usb_copy(k, (void *)data, n);
}

/* ---- configuration ---- */

static bool has_alternate(struct viv_usb_dev *d, unsigned number, unsigned alternate)
{
    for (unsigned i = 0; i < face(d)->count; i++) {
        if (face(d)->interfaces[i].number == number && face(d)->interfaces[i].alternate == alternate)
            return true;
    }
    return false;
}

static bool has_endpoint(struct viv_usb_dev *d, unsigned address)
{
    const struct viv_usb_face *f = face(d);

    if (!(address & 0x7f))
        return true;
    for (unsigned i = 0; d->configuration && i < f->count; i++) {
        const struct viv_usb_interface *in = &f->interfaces[i];

        for (unsigned n = 0; n < in->count; n++) {
            if (in->endpoints[n].address == address && d->alternate[in->number] == in->alternate)
                return true;
        }
    }
    return false;
}

static uint32_t halt_bit(unsigned address)
{
    return 1u << ((address & 15) + (address & 0x80 ? 16 : 0));
}

static void configure(struct viv_usb_dev *d, uint8_t value)
{
    d->configuration = value;
    memset(d->alternate, 0, sizeof(d->alternate));
    d->halted = 0;
    if (d->ops->configured)
        d->ops->configured(d);
}

void viv_usb_dev_reset(struct viv_usb_dev *d)
{
    d->address = d->configuration = 0;
    memset(d->alternate, 0, sizeof(d->alternate));
    d->remote_wakeup = false;
    d->halted = 0;
    d->stage = VIV_USB_IDLE;
    memset(d->setup, 0, sizeof(d->setup));
    d->control_len = d->control_at = 0;
    memset(d->control, 0, sizeof(d->control));
    if (d->ops->reset)
        d->ops->reset(d);
}

/* ---- standard requests ---- */

static int get_status(struct viv_usb_dev *d, unsigned to, unsigned index)
{
    uint8_t v = 0;

    if (to == TO_ENDPOINT && !has_endpoint(d, index & 0xff))
        return -1;
    if (to == TO_DEVICE)
        v = (face(d)->attributes >> 6 & 1) | (d->remote_wakeup ? 2 : 0);
    else if (to == TO_ENDPOINT)
        v = d->halted & halt_bit(index) ? 1 : 0;
    d->control[0] = v;
    d->control[1] = 0;
    return 2;
}

static int feature(struct viv_usb_dev *d, unsigned to, unsigned value, unsigned index, bool set)
{
    uint32_t bit = halt_bit(index);

    if (to == TO_DEVICE && value == REMOTE_WAKEUP && face(d)->attributes & 0x20) {
        d->remote_wakeup = set;
        return 0;
    }
    if (to == TO_INTERFACE && d->speed == VIV_USB_SUPER)
        return 0; /* function suspend */
    if (to == TO_DEVICE && d->speed == VIV_USB_SUPER && value >= 48 && value <= 50)
        return 0; /* U1, U2, LTM: links never sleep */
    if (to != TO_ENDPOINT || value != ENDPOINT_HALT || !(index & 0x7f) || !has_endpoint(d, index & 0xff))
        return -1;
    d->halted = set ? d->halted | bit : d->halted & ~bit;
    if (!set && d->ops->unhalted)
        d->ops->unhalted(d, index & 0x8f);
    return 0;
}

static int get_descriptor(struct viv_usb_dev *d, unsigned value)
{
    return viv_usb_desc_get(d->desc, d->speed, (uint8_t)(value >> 8), (uint8_t)value, d->serial, d->control, sizeof(d->control));
}

static int set_interface(struct viv_usb_dev *d, unsigned alternate, unsigned number)
{
    if (!d->configuration || number >= VIV_USB_INTERFACES || !has_alternate(d, number, alternate))
        return -1;
    d->alternate[number] = (uint8_t)alternate;
    d->halted = 0;
    if (d->ops->configured)
        d->ops->configured(d);
    return 0;
}

static int set_configuration(struct viv_usb_dev *d, unsigned value)
{
    if (value > 1)
        return -1;
    configure(d, (uint8_t)value);
    return 0;
}

static int get_interface(struct viv_usb_dev *d, unsigned number)
{
    if (!d->configuration || number >= VIV_USB_INTERFACES || !has_alternate(d, number, 0))
        return -1;
    d->control[0] = d->alternate[number];
    return 1;
}

/* -1: not one of these, or refused. */
static int standard(struct viv_usb_dev *d)
{
    unsigned to = d->setup[0] & 31, value = viv_ld_le16(d->setup + 2), index = viv_ld_le16(d->setup + 4);

    if (d->setup[0] & 0x60)
        return -1;
    switch (d->setup[1] | (viv_usb_in(d->setup) ? 0x80 : 0)) {
    case GET_STATUS | 0x80:
        return get_status(d, to, index);
    case CLEAR_FEATURE:
    case SET_FEATURE:
        return feature(d, to, value, index, d->setup[1] == SET_FEATURE);
    case SET_ADDRESS:
        if (value >= VIV_USB_ADDRESSES)
            return -1;
        d->address = (uint8_t)value;
        return 0;
    case GET_DESCRIPTOR | 0x80:
        return to == TO_DEVICE ? get_descriptor(d, value) : -1;
    case GET_CONFIGURATION | 0x80:
        d->control[0] = d->configuration;
        return 1;
    case SET_CONFIGURATION:
        return set_configuration(d, value);
    case GET_INTERFACE | 0x80:
        return get_interface(d, index);
    case SET_INTERFACE:
        return set_interface(d, value, index);
    case SET_SEL:
    case SET_ISOCH_DELAY:
        return d->speed == VIV_USB_SUPER ? 0 : -1;
    }
    return -1;
}

static int request(struct viv_usb_dev *d)
{
    int n = standard(d);

    if (n < 0)
        n = d->ops->control(d, d->setup, d->control);
    return n < 0 ? -1 : MIN(n, VIV_USB_CONTROL_MOST);
}

/* ---- endpoint 0 ---- */

static void stall(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    d->stage = VIV_USB_STALLED; /* until the next SETUP (8.5.3.4) */
    k->status = VIV_USB_STALL;
}

/* 8.5.3: the host sends SETUP whenever it likes; what was before is forgotten. */
static void setup(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    uint8_t bytes[8];
    uint16_t len;
    int n;

    if (k->length != 8 || viv_usb_copy(k, bytes, 8) != 8) {
        k->status = VIV_USB_ERROR;
        return;
    }
    memcpy(d->setup, bytes, 8);
    len = viv_ld_le16(bytes + 6);
    d->control_at = d->control_len = 0;
    if (viv_usb_in(bytes) && len) {
        n = request(d);
        d->stage = n < 0 ? VIV_USB_STALLED : VIV_USB_DATA_IN;
        d->control_len = (uint16_t)(n < 0 ? 0 : MIN(n, len));
    } else {
        d->stage = len > VIV_USB_CONTROL_MOST ? VIV_USB_STALLED : len ? VIV_USB_DATA_OUT : VIV_USB_STATUS_IN;
        d->control_len = viv_usb_in(bytes) || d->stage == VIV_USB_STALLED ? 0 : len;
    }
}

static void endpoint0_in(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    if (d->stage == VIV_USB_DATA_IN) {
        d->control_at += (uint16_t)viv_usb_copy(k, d->control + d->control_at, d->control_len - d->control_at);
    } else if (d->stage == VIV_USB_STATUS_IN || d->stage == VIV_USB_DATA_OUT) {
        /* Now it is done, and not before: SET_ADDRESS among others (9.4.6). Less data than announced: never mind. */
        d->stage = VIV_USB_IDLE;
        memset(d->control + d->control_at, 0, sizeof(d->control) - d->control_at);
        if (request(d) < 0)
            stall(d, k);
    } else {
        stall(d, k);
    }
}

static void endpoint0_out(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    if (d->stage == VIV_USB_DATA_IN) {
        d->stage = VIV_USB_IDLE; /* status, maybe before all was fetched */
    } else if (d->stage == VIV_USB_DATA_OUT && k->length <= d->control_len - d->control_at) {
        d->control_at += (uint16_t)viv_usb_copy(k, d->control + d->control_at, k->length);
        if (d->control_at == d->control_len)
            d->stage = VIV_USB_STATUS_IN;
    } else {
        stall(d, k);
    }
}

void viv_usb_handle(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    unsigned address = k->endpoint | (k->pid == VIV_USB_IN ? 0x80 : 0);

    k->actual = 0;
    k->status = VIV_USB_OK;
    k->mem = d->dev.board->mem;
    if (k->endpoint == 0) {
        if (k->pid == VIV_USB_SETUP)
            setup(d, k);
        else if (k->pid == VIV_USB_IN)
            endpoint0_in(d, k);
        else
            endpoint0_out(d, k);
    } else if (k->pid == VIV_USB_SETUP || !has_endpoint(d, address)) {
        k->status = VIV_USB_ERROR; /* no such endpoint: nobody answers */
    } else if (d->halted & halt_bit(address)) {
        k->status = VIV_USB_STALL;
    } else {
        d->ops->data(d, k);
        if (k->status == VIV_USB_STALL)
            d->halted |= halt_bit(address);
    }
}

/* ---- state ---- */

/* A device that is not loaded goes after that, and its port asks it for its speed. */
static bool speed_is_one_of_its_own(struct viv_usb_dev *d)
{
    if (d->speed < VIV_USB_SPEEDS && d->desc->face[d->speed])
        return true;
    for (unsigned s = 0; s < VIV_USB_SPEEDS; s++) {
        if (d->desc->face[s])
            d->speed = (enum viv_usb_speed)s;
    }
    return false;
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_usb_dev *d = obj;
    bool good = speed_is_one_of_its_own(d) && d->address < VIV_USB_ADDRESSES && d->configuration <= 1 && d->stage <= VIV_USB_STALLED &&
                d->control_len <= VIV_USB_CONTROL_MOST && d->control_at <= d->control_len;

    for (unsigned i = 0; i < VIV_USB_INTERFACES; i++)
        good = good && (!d->alternate[i] || has_alternate(d, i, d->alternate[i]));
    return good ? 0 : viv_fail(err, EINVAL, "USB device with address %u, configuration %u, stage %u", d->address, d->configuration, d->stage);
}

const struct viv_state_table viv_usb_dev_state = {
    .name = "usb-dev",
    .ctype = "viv_usb_dev",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(viv_usb_dev, dev),
            VIV_F_CONFIG(viv_usb_dev, ops),
            VIV_F_CONFIG(viv_usb_dev, desc),
            VIV_F_CONFIG(viv_usb_dev, port),
            VIV_F_CONFIG(viv_usb_dev, serial),
            VIV_F_CONFIG(viv_usb_dev, ports),
            VIV_F_CONFIG(viv_usb_dev, port_count),
            VIV_F_INT(viv_usb_dev, speed),
            VIV_F_INT(viv_usb_dev, address),
            VIV_F_INT(viv_usb_dev, configuration),
            VIV_F_INTS(viv_usb_dev, alternate),
            VIV_F_INT(viv_usb_dev, remote_wakeup),
            VIV_F_INT(viv_usb_dev, halted),
            VIV_F_INT(viv_usb_dev, stage),
            VIV_F_BYTES(viv_usb_dev, setup),
            VIV_F_INT(viv_usb_dev, control_len),
            VIV_F_INT(viv_usb_dev, control_at),
            VIV_F_BYTES(viv_usb_dev, control),
            VIV_F_END,
        },
    .post_load = post_load,
};
