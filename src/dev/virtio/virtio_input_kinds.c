/* virtio-keyboard, virtio-mouse, virtio-tablet. Codes and types are Linux's (virtio 1.2, 5.8.6.1). */
#include "dev/virtio/virtio_input.h"

#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"

#include <glib.h>
#include <linux/input.h>
#include <string.h>

#define UP        0x8000
#define LAST_KEY  KEY_MICMUTE
#define BUSY_KEYS (VIN_KEYS / 4)

static void set(uint8_t *bits, unsigned n)
{
    bits[n / 8] |= (uint8_t)(1 << n % 8);
}

/* ---- keys ---- */

static void push_key(struct virtio_input *i, uint16_t key)
{
    i->key[(i->key_head + i->key_count++) % VIN_KEYS] = key;
}

/* Half of the queue is for releases alone, and those that find no room are kept, so that no key hangs. Presses get in again when
 * the queue is half empty: all kept releases are in it then, and nothing overtakes. */
static void on_key(void *opaque, unsigned code, bool down)
{
    struct virtio_input *i = opaque;

    if (!i->driven || !code || code > LAST_KEY || (down && i->key_count >= VIN_KEYS / 2))
        return;
    if (i->key_count == VIN_KEYS)
        set(i->ups, code);
    else
        push_key(i, (uint16_t)(code | (down ? 0 : UP)));
}

static void on_key_sync(void *opaque)
{
    vin_send(opaque);
}

static bool on_busy(void *opaque)
{
    return ((struct virtio_input *)opaque)->key_count > BUSY_KEYS;
}

static void take_up_kept(struct virtio_input *i)
{
    for (unsigned code = 0; code < VIN_CODES && i->key_count < VIN_KEYS; code++) {
        if (i->ups[code / 8] >> code % 8 & 1) {
            i->ups[code / 8] &= (uint8_t)~(1 << code % 8);
            push_key(i, (uint16_t)(code | UP));
        }
    }
}

static bool next_key(struct virtio_input *i)
{
    uint16_t key = i->key[i->key_head];
    bool full = i->key_count == VIN_KEYS;

    if (!i->key_count)
        return false;
    i->key_head = (uint16_t)((i->key_head + 1) % VIN_KEYS);
    i->key_count--;
    if (full)
        take_up_kept(i);
    vin_add(i, EV_KEY, key & ~UP, !(key & UP));
    return true;
}

void vin_keys_clear(struct virtio_input *i)
{
    i->key_head = i->key_count = 0;
    memset(i->ups, 0, sizeof(i->ups));
}

static unsigned keyboard_bits(uint8_t type, uint8_t bits[128])
{
    switch (type) {
    case EV_KEY:
        for (unsigned code = KEY_ESC; code <= LAST_KEY; code++)
            set(bits, code);
        return LAST_KEY / 8 + 1;
    case EV_LED:
        bits[0] = 1 << LED_NUML | 1 << LED_CAPSL | 1 << LED_SCROLLL;
        return 1;
    case EV_REP: /* the driver repeats keys */
        bits[0] = 1 << REP_DELAY | 1 << REP_PERIOD;
        return 1;
    default:
        return 0;
    }
}

/* ---- pointers ---- */

static struct pointer *pointer_of(void *opaque)
{
    return &((struct virtio_input *)opaque)->pointer;
}

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
    struct virtio_input *i = opaque;

    if (viv_pointer_sync(&i->pointer, i->driven))
        vin_send(i);
}

static const uint16_t button_codes[VIV_BUTTONS] = {
    [VIV_BUTTON_LEFT] = BTN_LEFT, [VIV_BUTTON_MIDDLE] = BTN_MIDDLE, [VIV_BUTTON_RIGHT] = BTN_RIGHT,
    [VIV_BUTTON_SIDE] = BTN_SIDE, [VIV_BUTTON_EXTRA] = BTN_EXTRA,
};

/* 2 axes, 2 wheels, 5 buttons: a group holds them, and the end. Nine and EV_SYN. */
static bool next_motion(struct virtio_input *i)
{
    const struct pointer_event *e = viv_pointer_first(&i->pointer), *told = &i->pointer.told;
    bool absolute = i->pointer.absolute;

    if (!e)
        return false;
    if (e->x != (absolute ? told->x : 0))
        vin_add(i, absolute ? EV_ABS : EV_REL, absolute ? ABS_X : REL_X, e->x);
    if (e->y != (absolute ? told->y : 0))
        vin_add(i, absolute ? EV_ABS : EV_REL, absolute ? ABS_Y : REL_Y, e->y);
    if (e->wheel)
        vin_add(i, EV_REL, REL_WHEEL, e->wheel);
    if (e->pan)
        vin_add(i, EV_REL, REL_HWHEEL, e->pan);
    for (unsigned b = 0; b < VIV_BUTTONS; b++) {
        if ((e->buttons ^ told->buttons) >> b & 1)
            vin_add(i, EV_KEY, button_codes[b], e->buttons >> b & 1);
    }
    viv_pointer_taken(&i->pointer);
    return true;
}

static unsigned pointer_bits(uint8_t type, uint8_t bits[128], bool absolute)
{
    switch (type) {
    case EV_KEY:
        for (unsigned b = 0; b < VIV_BUTTONS; b++)
            set(bits, button_codes[b]);
        return BTN_EXTRA / 8 + 1;
    case EV_REL:
        set(bits, REL_WHEEL);
        set(bits, REL_HWHEEL);
        if (!absolute) {
            set(bits, REL_X);
            set(bits, REL_Y);
        }
        return REL_WHEEL / 8 + 1;
    case EV_ABS:
        if (!absolute)
            return 0;
        set(bits, ABS_X);
        set(bits, ABS_Y);
        return 1;
    default:
        return 0;
    }
}

static unsigned mouse_bits(uint8_t type, uint8_t bits[128])
{
    return pointer_bits(type, bits, false);
}

static unsigned tablet_bits(uint8_t type, uint8_t bits[128])
{
    return pointer_bits(type, bits, true);
}

/* ---- classes ---- */

static const struct viv_input_ops keyboard_input = {
    .name = "Virtio Keyboard", .kinds = VIV_INPUT_KEYS, .key = on_key, .sync = on_key_sync, .busy = on_busy};
static const struct viv_input_ops mouse_input = {
    .name = "Virtio Mouse", .kinds = VIV_INPUT_RELATIVE, .move = on_move, .button = on_button, .wheel = on_wheel, .sync = on_sync};
static const struct viv_input_ops tablet_input = {
    .name = "Virtio Tablet", .kinds = VIV_INPUT_ABSOLUTE, .place = on_place, .button = on_button, .wheel = on_wheel, .sync = on_sync};

#define FUNCTION(typed, cls)                                                                                                       \
    {                                                                                                                              \
        .name = typed, .device_id = VIV_VIRTIO_ID_INPUT, .pci_class = cls, .config_len = sizeof(struct virtio_input_config),       \
        .size = sizeof(struct virtio_input), .state = &vin_state, .realize = vin_realize, .unrealize = vin_unrealize,              \
        .features = vin_features, .get_config = vin_get_config, .set_config = vin_set_config, .kick = vin_kick,                    \
        .status = vin_status, .reset = vin_reset,                                                                                  \
    }

static const struct vin_kind keyboard = {
    FUNCTION("virtio-keyboard", 0x090000), "Vivarium Virtio Keyboard", 1, &keyboard_input, keyboard_bits, next_key};
static const struct vin_kind mouse = {FUNCTION("virtio-mouse", 0x090200), "Vivarium Virtio Mouse", 2, &mouse_input, mouse_bits,
                                      next_motion};
static const struct vin_kind tablet = {FUNCTION("virtio-tablet", 0x098000), "Vivarium Virtio Tablet", 3, &tablet_input, tablet_bits,
                                       next_motion};

#define INPUT_PROPS                                                                                                                \
    {.name = "serial", .type = VIV_OPT_STR, .help = "serial number that the guest sees"},                                          \
        {.name = "display", .type = VIV_OPT_STR, .help = "id of the display whose pointer it is (default: any)"},                  \
        {.name = "head", .type = VIV_OPT_INT, .def = "0", .min = 0, .max = 15, .help = "its head"}, VIV_VIRTIO_PROPS

static const struct viv_opt_def mmio_props[] = {INPUT_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def pci_props[] = {INPUT_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_PCI_CLASS_(viv_dev_virtio_keyboard_pci, keyboard.fn, VIV_VIRTIO_PCI_AUTO, "virtio-keyboard-pci", "virtio keyboard", pci_props);
VIV_VIRTIO_PCI_CLASS_(viv_dev_virtio_mouse_pci, mouse.fn, VIV_VIRTIO_PCI_AUTO, "virtio-mouse-pci", "virtio mouse", pci_props);
VIV_VIRTIO_PCI_CLASS_(viv_dev_virtio_tablet_pci, tablet.fn, VIV_VIRTIO_PCI_AUTO, "virtio-tablet-pci",
                      "virtio tablet: an absolute pointer", pci_props);
VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_keyboard_device, keyboard.fn, "virtio-keyboard-device", "virtio keyboard, over MMIO", mmio_props);
VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_mouse_device, mouse.fn, "virtio-mouse-device", "virtio mouse, over MMIO", mmio_props);
VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_tablet_device, tablet.fn, "virtio-tablet-device", "virtio tablet, over MMIO", mmio_props);
