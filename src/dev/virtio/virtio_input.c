/* virtio-input (virtio 1.2, 5.8): configuration by selectors, events to the driver, LEDs from it.
 *
 * An update of the device is a group of events that ends with EV_SYN. What finds no buffers waits: groups in the queues of the kind,
 * which are bounded, and one group that has begun. */
#include "dev/virtio/virtio_input.h"

#include "ui/console.h"

#include <endian.h>
#include <errno.h>
#include <glib.h>
#include <linux/input.h>
#include <string.h>

#define VENDOR 0x0627 /* as our USB devices */

/* ---- configuration (5.8.4, 5.8.5) ---- */

static unsigned text(struct virtio_input_config *c, const char *s)
{
    size_t len = s ? MIN(strlen(s), sizeof(c->u.string)) : 0;

    if (len)
        memcpy(c->u.string, s, len);
    return (unsigned)len;
}

static unsigned abs_info(const struct virtio_input *i, struct virtio_input_config *c)
{
    if (!(vin_kind(i)->input->kinds & VIV_INPUT_ABSOLUTE) || i->subsel > ABS_Y)
        return 0;
    c->u.abs.max = htole32(VIV_INPUT_RANGE - 1);
    return sizeof(c->u.abs);
}

static unsigned selected(const struct virtio_input *i, struct virtio_input_config *c)
{
    const struct vin_kind *k = vin_kind(i);

    if (i->select == VIRTIO_INPUT_CFG_EV_BITS)
        return k->bits(i->subsel, c->u.bitmap);
    if (i->select == VIRTIO_INPUT_CFG_ABS_INFO)
        return abs_info(i, c);
    if (i->subsel)
        return 0;
    switch (i->select) {
    case VIRTIO_INPUT_CFG_ID_NAME:
        return text(c, k->name);
    case VIRTIO_INPUT_CFG_ID_SERIAL:
        return text(c, i->serial);
    case VIRTIO_INPUT_CFG_ID_DEVIDS:
        c->u.ids.bustype = htole16(BUS_VIRTUAL);
        c->u.ids.vendor = htole16(VENDOR);
        c->u.ids.product = htole16(k->product);
        c->u.ids.version = htole16(1);
        return sizeof(c->u.ids);
    default:
        return 0;
    }
}

void vin_get_config(struct viv_virtio *v, uint8_t *config)
{
    const struct virtio_input *i = (struct virtio_input *)v;
    struct virtio_input_config c = {.select = i->select, .subsel = i->subsel};

    c.size = (uint8_t)selected(i, &c);
    memcpy(config, &c, sizeof(c));
}

void vin_set_config(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val)
{
    struct virtio_input *i = (struct virtio_input *)v;

    for (unsigned n = 0; n < len; n++) {
        if (off + n == offsetof(struct virtio_input_config, select))
            i->select = val[n];
        else if (off + n == offsetof(struct virtio_input_config, subsel))
            i->subsel = val[n];
    }
}

/* ---- events ---- */

void vin_add(struct virtio_input *i, uint16_t type, uint16_t code, int32_t value)
{
    g_assert(i->out_count < VIN_GROUP);
    i->out[i->out_count++] = (struct vin_event){type, code, value};
}

static bool next(struct virtio_input *i)
{
    if (i->out_pos < i->out_count)
        return true;
    i->out_pos = i->out_count = 0;
    if (!vin_kind(i)->next(i))
        return false;
    vin_add(i, EV_SYN, SYN_REPORT, 0);
    return true;
}

void vin_send(struct virtio_input *i)
{
    struct viv_virtq_elem *e;

    if (!viv_virtio_live(&i->v))
        return;
    while (next(i) && (e = viv_virtq_pop(&i->v, VIN_EVENTS))) {
        const struct vin_event *out = &i->out[i->out_pos++];
        struct virtio_input_event raw = {htole16(out->type), htole16(out->code), htole32((uint32_t)out->value)};

        viv_virtq_push(e, (uint32_t)viv_iov_from_buf(e->in, (int)e->in_num, 0, &raw, sizeof(raw)));
    }
    viv_virtq_notify(&i->v, VIN_EVENTS);
}

static void show_leds(struct virtio_input *i)
{
    viv_input_set_leds(i->sink, (i->leds >> LED_NUML & 1 ? VIV_LED_NUM : 0) | (i->leds >> LED_CAPSL & 1 ? VIV_LED_CAPS : 0) |
                                    (i->leds >> LED_SCROLLL & 1 ? VIV_LED_SCROLL : 0));
}

static void take_status(struct virtio_input *i)
{
    struct viv_virtq_elem *e;

    while ((e = viv_virtq_pop(&i->v, VIN_STATUS))) {
        struct virtio_input_event raw;

        if (viv_iov_to_buf(e->out, (int)e->out_num, 0, &raw, sizeof(raw)) == sizeof(raw) && le16toh(raw.type) == EV_LED &&
            le16toh(raw.code) <= LED_SCROLLL) {
            uint8_t bit = (uint8_t)(1 << le16toh(raw.code));

            i->leds = raw.value ? i->leds | bit : i->leds & (uint8_t)~bit;
        }
        viv_virtq_push(e, 0);
    }
    viv_virtq_notify(&i->v, VIN_STATUS);
    show_leds(i);
}

void vin_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_input *i = (struct virtio_input *)v;

    (queue == VIN_EVENTS ? vin_send : take_status)(i);
}

/* ---- life ---- */

static void set_driven(struct virtio_input *i, bool driven)
{
    if (i->driven == driven)
        return;
    i->driven = driven;
    viv_input_prefer(i->sink, driven);
}

void vin_status(struct viv_virtio *v, uint8_t status)
{
    set_driven((struct virtio_input *)v, status & VIV_VIRTIO_S_DRIVER_OK);
}

void vin_reset(struct viv_virtio *v)
{
    struct virtio_input *i = (struct virtio_input *)v;

    set_driven(i, false);
    i->select = i->subsel = i->leds = 0;
    i->out_pos = i->out_count = 0;
    viv_pointer_clear(&i->pointer);
    vin_keys_clear(i);
    show_leds(i);
}

uint64_t vin_features(struct viv_virtio *v)
{
    return 0;
}

/* Whose pointer it is; -1: any head's. */
static int find_console(struct viv_opts *opts, int *out, struct viv_err *err)
{
    const char *display = viv_opts_str(opts, "display");
    unsigned head = (unsigned)viv_opts_int(opts, "head");
    struct viv_console *c = display ? viv_console_find(display, head) : NULL;

    *out = -1;
    if (!display && viv_opts_given(opts, "head"))
        return viv_fail(err, EINVAL, "%s: head=%u: of which display? Say display=ID, too", viv_opts_what(opts), head);
    if (display && !c)
        return viv_fail(err, ENOENT, "%s: display=%.60s,head=%u: no display before it has this id and head", viv_opts_what(opts),
                        display, head);
    if (c)
        *out = (int)viv_console_number(c);
    return 0;
}

int vin_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_input *i = (struct virtio_input *)v;
    const struct viv_input_ops *ops = vin_kind(i)->input;
    int console, rc = find_console(opts, &console, err);

    if (rc < 0)
        return rc;
    i->serial = g_strdup(viv_opts_str(opts, "serial"));
    i->pointer.absolute = ops->kinds & VIV_INPUT_ABSOLUTE;
    i->sink = viv_input_add(ops, i, console);
    viv_input_prefer(i->sink, false); /* until a driver is there */
    viv_virtio_add_queue(v, 64);
    viv_virtio_add_queue(v, 64);
    return 0;
}

void vin_unrealize(struct viv_virtio *v)
{
    struct virtio_input *i = (struct virtio_input *)v;

    viv_input_remove(i->sink);
    g_free(i->serial);
}

/* ---- saved state ---- */

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct virtio_input *i = obj;
    int rc = 0;

    if (i->out_count > VIN_GROUP || i->out_pos > i->out_count || i->key_head >= VIN_KEYS || i->key_count > VIN_KEYS)
        rc = viv_fail(err, EINVAL, "virtio-input: %u of %u events out, %u keys from %u", i->out_pos, i->out_count, i->key_count,
                      i->key_head);
    if (rc < 0)
        vin_reset(&i->v);
    viv_input_prefer(i->sink, i->driven);
    show_leds(i);
    return rc;
}

static const struct viv_state_table event_state = {
    .name = "vin-event",
    .ctype = "vin_event",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_INT(vin_event, type), VIV_F_INT(vin_event, code), VIV_F_INT(vin_event, value), VIV_F_END},
};

const struct viv_state_table vin_state = {
    .name = "virtio-input",
    .ctype = "virtio_input",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(virtio_input, v, viv_virtio_state),
            VIV_F_CONFIG(virtio_input, sink),
            VIV_F_CONFIG(virtio_input, serial),
            VIV_F_INT(virtio_input, select),
            VIV_F_INT(virtio_input, subsel),
            VIV_F_INT(virtio_input, driven),
            VIV_F_INT(virtio_input, leds),
            VIV_F_STRUCTS(virtio_input, out, event_state),
            VIV_F_INT(virtio_input, out_pos),
            VIV_F_INT(virtio_input, out_count),
            VIV_F_STRUCT(virtio_input, pointer, viv_pointer_state),
            VIV_F_INTS(virtio_input, key),
            VIV_F_INT(virtio_input, key_head),
            VIV_F_INT(virtio_input, key_count),
            VIV_F_BYTES(virtio_input, ups),
            VIV_F_END,
        },
    .post_load = post_load,
};
