/* 8042 keyboard controller at 60h/64h with a PS/2 keyboard (ISA line 1) and mouse (line 12). (IBM PS/2 Hardware
 * Interface Technical Reference, "Keyboard and Auxiliary Device Controller".)
 *
 * One output buffer: a byte waits in it until the guest reads port 60h; then the next is fetched, the
 * controller's own answers first, then keyboard, then mouse. Commands are carried out at once, so IBF is never seen
 * set.
 *
 * The A20 bit of the output port is one of two gates of that line (see misc/port92.c). Left out: password security, the test mode
 * of the input port. */
#include "dev/input/i8042.h"

#include "base/log.h"
#include "bus/isa.h"
#include "bus/vmreq.h"
#include "dev/input/ps2.h"
#include "ui/input.h"
#include "ui/keys.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>

enum {
    STATUS_OBF = 1,
    STATUS_SYS = 4,
    STATUS_COMMAND = 8,
    STATUS_UNLOCKED = 16,
    STATUS_AUX = 32,

    MODE_KBD_INT = 1,
    MODE_AUX_INT = 2,
    MODE_SYS = 4,
    MODE_KBD_OFF = 16,
    MODE_AUX_OFF = 32,
    MODE_TRANSLATE = 64,

    OUT_NOT_RESET = 1,
    OUT_A20 = 2,

    SRC_NONE = 0,
    SRC_CONTROLLER,
    SRC_KBD,
    SRC_AUX,
};

struct i8042 {
    struct viv_dev dev;
    uint8_t mode;    /* the command byte, controller RAM 20h */
    uint8_t ram[31]; /* 21h-3Fh */
    uint8_t outport;
    uint8_t command; /* whose data comes next at 60h, 0: none */
    bool last_was_command;
    uint8_t out;       /* output buffer */
    uint8_t source;    /* of `out`: SRC_* */
    bool break_prefix; /* translation has seen F0h */
    struct ps2_queue answers,
        aux_answers; /* the controller's own, as from itself and as from the mouse */
    struct ps2_kbd kbd;
    struct ps2_mouse mouse;
    struct viv_region *region[2];
    struct viv_input_sink *keys, *pointer;
};

/* ---- translation of scan code set 2 to set 1 ---- */

static const uint8_t to_set1[0x80] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

/* -1: swallowed (the break prefix). */
static int translate(struct i8042 *c, uint8_t v)
{
    uint8_t t = v;

    if (!(c->mode & MODE_TRANSLATE))
        return v;
    if (v == 0xf0) {
        c->break_prefix = true;
        return -1;
    }
    if (v < 0x80)
        t = to_set1[v];
    else if (v == 0x83)
        t = 0x41; /* F7 */
    else if (v == 0x84)
        t = 0x54; /* SysRq */
    else
        return v; /* E0, E1, answers */
    if (c->break_prefix)
        t |= 0x80;
    c->break_prefix = false;
    return t;
}

/* ---- output buffer ---- */

static void update_irqs(struct i8042 *c)
{
    viv_isa_set_irq(&c->dev, 1,
                    (c->source == SRC_KBD || c->source == SRC_CONTROLLER) &&
                        (c->mode & MODE_KBD_INT));
    viv_isa_set_irq(&c->dev, 12, c->source == SRC_AUX && (c->mode & MODE_AUX_INT));
}

static bool from_kbd(struct i8042 *c)
{
    int v, t = -1;

    if (c->mode & MODE_KBD_OFF)
        return false;
    while (t < 0 && (v = ps2_take(&c->kbd.q)) >= 0) {
        c->kbd.last = (uint8_t)v;
        ps2_kbd_late(&c->kbd);
        t = translate(c, (uint8_t)v);
    }
    if (t < 0)
        return false;
    c->out = (uint8_t)t;
    c->source = SRC_KBD;
    return true;
}

static bool from_queue(struct i8042 *c, struct ps2_queue *q, uint8_t source)
{
    int v = ps2_take(q);

    if (v < 0)
        return false;
    c->out = (uint8_t)v;
    c->source = source;
    return true;
}

static void mouse_byte_taken(struct i8042 *c)
{
    c->mouse.last = c->out;
    ps2_mouse_more(&c->mouse);
}

/* Fills the output buffer if it is empty. */
static void fetch(struct i8042 *c)
{
    if (c->source != SRC_NONE)
        return;
    if (!from_queue(c, &c->answers, SRC_CONTROLLER) && !from_queue(c, &c->aux_answers, SRC_AUX) &&
        !from_kbd(c) && !(c->mode & MODE_AUX_OFF)) {
        if (from_queue(c, &c->mouse.q, SRC_AUX))
            mouse_byte_taken(c);
    }
    update_irqs(c);
}

static void answer(struct ps2_queue *q, uint8_t v)
{
    if (q->len < PS2_QUEUE)
        q->byte[(q->head + q->len++) % PS2_QUEUE] = v;
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
    struct i8042 *c = opaque;
    uint8_t v = c->out;

    if (c->source != SRC_NONE) {
        c->source = SRC_NONE;
        update_irqs(c); /* the line falls before the next byte raises it again */
        fetch(c);
    }
    return v;
}

/* ---- commands ---- */

static void set_outport(struct i8042 *c, uint8_t v)
{
    c->outport = v | OUT_NOT_RESET; /* a pulse, also where the machine goes on: the firmware's way back */
    viv_irq_set(&c->dev.board->a20, v & OUT_A20);
    if (!(v & OUT_NOT_RESET))
        viv_vm_request(VIV_VM_RESET, VIV_VM_RESET_CPUS, "i8042");
}

static void command_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct i8042 *c = opaque;
    uint8_t v = (uint8_t)value;

    c->last_was_command = true;
    c->command = 0;
    if (v >= 0xf0) { /* pulse output lines whose bit is 0; line 0 is reset */
        if (!(v & 1))
            viv_vm_request(VIV_VM_RESET, VIV_VM_RESET_CPUS, "i8042");
        return;
    }
    if ((v & 0xe0) == 0x20) {
        answer(&c->answers, v == 0x20 ? c->mode : c->ram[v - 0x21]);
    } else if ((v & 0xe0) == 0x60) {
        c->command = v;
    } else {
        switch (v) {
        case 0xa7:
            c->mode |= MODE_AUX_OFF;
            break;
        case 0xa8:
            c->mode &= ~MODE_AUX_OFF;
            break;
        case 0xa9: /* mouse interface test */
        case 0xab: /* keyboard interface test */
            answer(&c->answers, 0);
            break;
        case 0xaa: /* self-test */
            c->mode |= MODE_SYS;
            answer(&c->answers, 0x55);
            break;
        case 0xad:
            c->mode |= MODE_KBD_OFF;
            break;
        case 0xae:
            c->mode &= ~MODE_KBD_OFF;
            break;
        case 0xc0: /* input port: keyboard not locked, colour, RAM */
            answer(&c->answers, 0x80);
            break;
        case 0xd0:
            answer(&c->answers, c->outport);
            break;
        case 0xd1:
        case 0xd2:
        case 0xd3:
        case 0xd4:
            c->command = v;
            break;
        case 0xdd:
            set_outport(c, c->outport & ~OUT_A20);
            break;
        case 0xdf:
            set_outport(c, c->outport | OUT_A20);
            break;
        default:
            viv_guest_error("i8042", "unknown command %02x", v);
        }
    }
    fetch(c);
    update_irqs(c);
}

static void data_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct i8042 *c = opaque;
    uint8_t v = (uint8_t)value, command = c->command;

    c->last_was_command = false;
    c->command = 0;
    switch (command) {
    case 0: /* to the keyboard, which also switches it on */
        c->mode &= ~MODE_KBD_OFF;
        ps2_kbd_command(&c->kbd, v);
        viv_input_set_leds(c->keys, c->kbd.leds);
        break;
    case 0x60:
        c->mode = v & 0x7f;
        break;
    case 0xd1:
        set_outport(c, v);
        break;
    case 0xd2:
        answer(&c->answers, v);
        break;
    case 0xd3:
        answer(&c->aux_answers, v);
        break;
    case 0xd4:
        ps2_mouse_command(&c->mouse, v);
        break;
    default:
        c->ram[command - 0x61] = v;
    }
    fetch(c);
    update_irqs(c);
}

static uint64_t status_read(void *opaque, uint64_t off, unsigned size)
{
    struct i8042 *c = opaque;

    return (c->source != SRC_NONE ? STATUS_OBF : 0) | (c->mode & MODE_SYS ? STATUS_SYS : 0) |
           (c->last_was_command ? STATUS_COMMAND : 0) | STATUS_UNLOCKED |
           (c->source == SRC_AUX ? STATUS_AUX : 0);
}

/* ---- input ---- */

void viv_i8042_key(struct viv_dev *d, unsigned code)
{
    struct i8042 *c = (struct i8042 *)d;

    ps2_kbd_key(&c->kbd, code);
    fetch(c);
}

void viv_i8042_mouse(struct viv_dev *d, int dx, int dy, int dz, unsigned buttons)
{
    struct i8042 *c = (struct i8042 *)d;

    struct pointer *p = &c->mouse.pointer;

    viv_pointer_move(p, dx, -dy);
    viv_pointer_wheel(p, -dz, 0);
    viv_pointer_button(p, VIV_BUTTON_LEFT, buttons & 1);
    viv_pointer_button(p, VIV_BUTTON_RIGHT, buttons & 2);
    viv_pointer_button(p, VIV_BUTTON_MIDDLE, buttons & 4);
    ps2_mouse_sync(&c->mouse);
    fetch(c);
}

static void on_key(void *opaque, unsigned code, bool down)
{
    struct i8042 *c = opaque;
    unsigned set1 = viv_key_to_set1(code);

    if (code == KEY_PAUSE && down)
        ps2_kbd_pause(&c->kbd);
    else if (code == KEY_SYSRQ)
        ps2_kbd_print(&c->kbd, down);
    else if (set1)
        ps2_kbd_key(&c->kbd, set1 | (down ? 0 : 0x80));
    fetch(c);
}

static void on_move(void *opaque, int dx, int dy)
{
    viv_pointer_move(&((struct i8042 *)opaque)->mouse.pointer, dx, dy);
}

static bool on_busy(void *opaque)
{
    return ps2_kbd_waiting(&((struct i8042 *)opaque)->kbd) > 0;
}

static void on_button(void *opaque, enum viv_button b, bool down)
{
    struct ps2_mouse *m = &((struct i8042 *)opaque)->mouse;

    if (b <= VIV_BUTTON_RIGHT || m->id == 4 || !down) /* it has three or five */
        viv_pointer_button(&m->pointer, b, down);
}

static void on_wheel(void *opaque, int dy, int dx)
{
    struct i8042 *c = opaque;

    if (c->mouse.id) /* others have no wheel */
        viv_pointer_wheel(&c->mouse.pointer, dy, 0);
}

static void on_sync(void *opaque)
{
    struct i8042 *c = opaque;

    ps2_mouse_sync(&c->mouse);
    fetch(c);
}

/* ---- class ---- */

static int i8042_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops data = {data_read, data_write, 1, 1, false, false};
    static const struct viv_region_ops command = {status_read, command_write, 1, 1, false, false};
    static const struct viv_input_ops keys = {.name = "PS/2 Keyboard", .kinds = VIV_INPUT_KEYS, .key = on_key, .busy = on_busy};
    static const struct viv_input_ops pointer = {
        .name = "PS/2 Mouse", .kinds = VIV_INPUT_RELATIVE, .move = on_move, .button = on_button, .wheel = on_wheel,
        .sync = on_sync};
    struct i8042 *c = (struct i8042 *)d;

    c->keys = viv_input_add(&keys, c, -1);
    c->pointer = viv_input_add(&pointer, c, -1);
    c->region[0] = viv_isa_add_ports(d, "i8042-data", 0x60, 1, &data);
    c->region[1] = viv_isa_add_ports(d, "i8042-command", 0x64, 1, &command);
    return 0;
}

static void i8042_unrealize(struct viv_dev *d)
{
    struct i8042 *c = (struct i8042 *)d;

    viv_input_remove(c->keys);
    viv_input_remove(c->pointer);
    viv_region_free(c->region[0]);
    viv_region_free(c->region[1]);
}

static void i8042_reset(struct viv_dev *d)
{
    struct i8042 *c = (struct i8042 *)d;

    /* As a BIOS leaves it: self-test passed, translation and the keyboard's interrupt on. */
    c->mode = MODE_KBD_INT | MODE_SYS | MODE_TRANSLATE | MODE_AUX_OFF;
    memset(c->ram, 0, sizeof(c->ram));
    c->outport = OUT_NOT_RESET | OUT_A20 | 0xcc;
    c->command = c->out = 0;
    c->source = SRC_NONE;
    c->last_was_command = c->break_prefix = false;
    memset(&c->answers, 0, sizeof(c->answers));
    memset(&c->aux_answers, 0, sizeof(c->aux_answers));
    ps2_kbd_reset(&c->kbd);
    ps2_mouse_reset(&c->mouse);
    viv_input_set_leds(c->keys, 0);
    update_irqs(c);
}

static int i8042_post_load(void *obj, int version, struct viv_err *err)
{
    struct i8042 *c = obj;

    if (c->source > SRC_AUX || (c->command && (c->command < 0x60 || c->command > 0x7f) &&
                                (c->command < 0xd1 || c->command > 0xd4)))
        return viv_fail(err, EINVAL, "i8042 with source %u, command %02x", c->source, c->command);
    viv_input_set_leds(c->keys, c->kbd.leds);
    return 0;
}

static const struct viv_state_table i8042_state = {
    .name = "i8042",
    .ctype = "i8042",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(i8042, dev),
            VIV_F_INT(i8042, mode),
            VIV_F_BYTES(i8042, ram),
            VIV_F_INT(i8042, outport),
            VIV_F_INT(i8042, command),
            VIV_F_INT(i8042, last_was_command),
            VIV_F_INT(i8042, out),
            VIV_F_INT(i8042, source),
            VIV_F_INT(i8042, break_prefix),
            VIV_F_STRUCT(i8042, answers, ps2_queue_state),
            VIV_F_STRUCT(i8042, aux_answers, ps2_queue_state),
            VIV_F_STRUCT(i8042, kbd, ps2_kbd_state),
            VIV_F_STRUCT(i8042, mouse, ps2_mouse_state),
            VIV_F_CONFIG(i8042, region),
            VIV_F_CONFIG(i8042, keys),
            VIV_F_CONFIG(i8042, pointer),
            VIV_F_END,
        },
    .post_load = i8042_post_load,
};

const struct viv_dev_class viv_dev_i8042 = {
    .name = "i8042",
    .desc = "keyboard controller with PS/2 keyboard and mouse",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct i8042),
    .state = &i8042_state,
    .realize = i8042_realize,
    .reset = i8042_reset,
    .unrealize = i8042_unrealize,
};
