/* PS/2 keyboard (scan code set 2) and mouse (three buttons, or IntelliMouse with a wheel, or IntelliMouse
 * Explorer with five). (IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device; Microsoft's knocks.)
 *
 * Left out: scan code set 3 (asking for it, and the commands for its per-key modes, are answered with Resend), typematic repeat: viewers
 * send a key that is held again and again. */
#include "dev/input/ps2.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define ACK    0xfa
#define RESEND 0xfe
#define BAT_OK 0xaa

/* A keyboard holds 16 bytes of scan codes, and drivers count on that: Linux takes a controller that has more than 16 bytes to read for
 * none at all, and PCs boot while somebody types. One byte waits in the controller; some room is for the release of a key that repeats. */
#define TYPED_MOST   15
#define PRESSED_MOST 13

static bool put(struct ps2_queue *q, uint8_t v)
{
    if (q->len == PS2_QUEUE)
        return false;
    q->byte[(q->head + q->len++) % PS2_QUEUE] = v;
    return true;
}

/* Behind the answers that wait, before all else. */
static void put_answer(struct ps2_queue *q, uint8_t v)
{
    unsigned at = q->len;

    if (!put(q, v))
        return;
    for (; at > q->answers; at--)
        q->byte[(q->head + at) % PS2_QUEUE] = q->byte[(q->head + at - 1) % PS2_QUEUE];
    q->byte[(q->head + at) % PS2_QUEUE] = v;
    q->answers++;
}

static unsigned room(const struct ps2_queue *q)
{
    return PS2_QUEUE - q->len;
}

static void clear(struct ps2_queue *q)
{
    q->head = q->len = q->answers = 0;
}

int ps2_take(struct ps2_queue *q)
{
    uint8_t v;

    if (!q->len)
        return -1;
    v = q->byte[q->head];
    q->head = (q->head + 1) % PS2_QUEUE;
    q->len--;
    q->answers -= q->answers > 0;
    return v;
}

/* ---- keyboard ---- */

/* Scan code set 2 of set 1's codes 00h-58h and on: what a keyboard sends and the controller translates back. */
static const uint8_t set2[0x80] = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03,
    0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x84, 0x60, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
    0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f,
    0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e,
};

static void kbd_defaults(struct ps2_kbd *k)
{
    k->command = 0;
    k->scan_set = 2;
    k->leds = 0;
    k->rate = 0x2b;
}

void ps2_kbd_reset(struct ps2_kbd *k)
{
    memset(k, 0, sizeof(*k));
    kbd_defaults(k);
    k->scanning = true;
}

static bool get_bit(const uint8_t bits[32], unsigned code)
{
    unsigned n = (code & 0x7f) | (code >> 1 & 0x80);

    return bits[n / 8] >> n % 8 & 1;
}

static void set_bit(uint8_t bits[32], unsigned code, bool on)
{
    unsigned n = (code & 0x7f) | (code >> 1 & 0x80);

    bits[n / 8] = (uint8_t)((bits[n / 8] & ~(1 << n % 8)) | on << n % 8);
}

unsigned ps2_kbd_waiting(const struct ps2_kbd *k)
{
    return k->q.len - k->q.answers;
}

/* May so many bytes of a press come? */
static bool has_room(const struct ps2_kbd *k, unsigned bytes)
{
    return ps2_kbd_waiting(k) + bytes <= PRESSED_MOST;
}

static unsigned code_bytes(const struct ps2_kbd *k, unsigned code)
{
    return 1 + !!(code & 0x100) + (code & 0x80 && k->scan_set != 1);
}

/* One code with its prefixes, as the scan code set in use has it. */
static void put_code(struct ps2_kbd *k, unsigned code)
{
    bool release = code & 0x80;
    uint8_t c = k->scan_set == 1 ? code & 0x7f : set2[code & 0x7f];

    if (code & 0x100)
        put(&k->q, 0xe0);
    if (release && k->scan_set != 1)
        put(&k->q, 0xf0);
    put(&k->q, release && k->scan_set == 1 ? c | 0x80 : c);
}

static void let_up(struct ps2_kbd *k, unsigned code)
{
    bool fits = ps2_kbd_waiting(k) + code_bytes(k, code) <= TYPED_MOST;

    if (fits)
        put_code(k, code);
    set_bit(k->late, code, !fits && get_bit(k->down, code));
    set_bit(k->down, code, false);
}

void ps2_kbd_key(struct ps2_kbd *k, unsigned code)
{
    if (!k->scanning || !set2[code & 0x7f])
        return;
    ps2_kbd_late(k); /* in the order of events */
    if (code & 0x80) {
        let_up(k, code);
    } else if (has_room(k, code_bytes(k, code))) {
        put_code(k, code);
        set_bit(k->down, code, true);
    }
}

void ps2_kbd_late(struct ps2_kbd *k)
{
    for (unsigned bit = 0; bit < 8 * sizeof(k->late) && ps2_kbd_waiting(k) + 3 <= TYPED_MOST; bit++) {
        if (!k->late[bit / 8]) {
            bit |= 7;
        } else if (k->late[bit / 8] >> bit % 8 & 1) {
            k->late[bit / 8] &= (uint8_t)~(1 << bit % 8);
            put_code(k, (bit & 0x7f) | 0x80 | (bit & 0x80) << 1);
        }
    }
}

static bool ctrl_is_down(const struct ps2_kbd *k)
{
    return get_bit(k->down, 0x1d) || get_bit(k->down, 0x11d);
}

void ps2_kbd_pause(struct ps2_kbd *k)
{
    static const uint8_t set1[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5},
                         set2_bytes[] = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
    const uint8_t *bytes = k->scan_set == 1 ? set1 : set2_bytes;
    unsigned n = k->scan_set == 1 ? sizeof(set1) : sizeof(set2_bytes);

    if (!k->scanning || !has_room(k, n))
        return;
    if (ctrl_is_down(k)) { /* Break: Scroll Lock's code with E0, both ways at once */
        put_code(k, 0x146);
        put_code(k, 0x1c6);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        put(&k->q, bytes[i]);
}

/* Alone, with a shift around it that nobody pressed: E0 2A E0 37, E0 B7 E0 AA. With a shift or Ctrl only E0 37, with Alt the code of the
 * 84-key keyboard's SysRq. */
void ps2_kbd_print(struct ps2_kbd *k, bool down)
{
    bool shifted = get_bit(k->down, 0x2a) || get_bit(k->down, 0x36) || ctrl_is_down(k);

    if (down && !has_room(k, 6))
        return;
    if (down)
        k->sysrq = get_bit(k->down, 0x38) || get_bit(k->down, 0x138);
    if (k->sysrq) {
        ps2_kbd_key(k, down ? 0x54 : 0xd4);
        return;
    }
    if (down && !shifted)
        ps2_kbd_key(k, 0x12a);
    ps2_kbd_key(k, down ? 0x137 : 0x1b7);
    if (!down && get_bit(k->down, 0x12a))
        ps2_kbd_key(k, 0x1aa);
}

/* What was typed and not read. */
static void forget_keys(struct ps2_kbd *k)
{
    k->q.len = k->q.answers;
    memset(k->late, 0, sizeof(k->late));
    memset(k->down, 0, sizeof(k->down));
    k->sysrq = false;
}

static void kbd_argument(struct ps2_kbd *k, uint8_t v)
{
    uint8_t command = k->command;

    k->command = 0;
    if (command == 0xf0 && v > 2) { /* who asks for set 3 is not told that this is one */
        put_answer(&k->q, RESEND);
        return;
    }
    put_answer(&k->q, ACK);
    switch (command) {
    case 0xed:
        k->leds = v & 7;
        break;
    case 0xf0:
        if (v == 0)
            put_answer(&k->q, k->scan_set);
        else
            k->scan_set = v;
        break;
    case 0xf3:
        k->rate = v & 0x7f;
        break;
    }
}

void ps2_kbd_command(struct ps2_kbd *k, uint8_t v)
{
    /* A command while the argument of another is awaited takes its place. */
    if (k->command && v < 0xed) {
        kbd_argument(k, v);
        return;
    }
    k->command = 0;
    switch (v) {
    case 0xed: /* set LEDs */
    case 0xf0: /* scan code set */
    case 0xf3: /* typematic rate */
        k->command = v;
        put_answer(&k->q, ACK);
        break;
    case 0xee: /* echo */
        put_answer(&k->q, 0xee);
        break;
    case 0xf2: /* identify */
        put_answer(&k->q, ACK);
        put_answer(&k->q, 0xab);
        put_answer(&k->q, 0x83);
        break;
    case 0xf4: /* enable */
        forget_keys(k);
        k->scanning = true;
        put_answer(&k->q, ACK);
        break;
    case 0xf5: /* disable, defaults */
    case 0xf6: /* defaults */
        forget_keys(k);
        kbd_defaults(k);
        k->scanning = v == 0xf6;
        put_answer(&k->q, ACK);
        break;
    case 0xfe: /* resend */
        put_answer(&k->q, k->last);
        break;
    case 0xff: /* reset */
        clear(&k->q);
        forget_keys(k);
        kbd_defaults(k);
        k->scanning = true;
        put_answer(&k->q, ACK);
        put_answer(&k->q, BAT_OK);
        break;
    default:
        put_answer(&k->q, RESEND);
    }
}

/* ---- mouse ---- */

#define FARTHEST 16384 /* pixels that the guest is behind: the widest screen; more is forgotten */
#define SPARE    4     /* bytes that packets leave to the answer to a command */

/* What has not been reported is forgotten; the buttons are held as they are. */
static void mouse_forget(struct ps2_mouse *m)
{
    uint8_t told = m->pointer.told.buttons;

    viv_pointer_clear(&m->pointer);
    m->pointer.told.buttons = told;
}

static void mouse_defaults(struct ps2_mouse *m)
{
    m->command = 0;
    m->rate = 100;
    m->resolution = 2;
    m->reporting = m->remote = m->wrap = m->scale2 = false;
    mouse_forget(m);
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    memset(m, 0, sizeof(*m));
    mouse_defaults(m);
}

static uint8_t mouse_buttons(uint8_t held)
{
    return (uint8_t)((held >> VIV_BUTTON_LEFT & 1) | (held >> VIV_BUTTON_RIGHT & 1) << 1 | (held >> VIV_BUTTON_MIDDLE & 1) << 2);
}

/* The fourth byte: the wheel; of an Explorer four bits of it and two buttons. */
static uint8_t mouse_wheel(const struct ps2_mouse *m, int dz, uint8_t held)
{
    if (m->id != 4)
        return (uint8_t)dz;
    return (uint8_t)((dz & 15) | (held >> VIV_BUTTON_SIDE & 1) << 4 | (held >> VIV_BUTTON_EXTRA & 1) << 5);
}

static int part(int32_t *of, int low, int high)
{
    int n = CLAMP(*of, low, high);

    *of = CLAMP(*of, -FARTHEST, FARTHEST) - n;
    return n;
}

/* The oldest event, or as much of its motion as a packet can say: a button changes at the end of the way. */
static void mouse_packet(struct ps2_mouse *m)
{
    struct pointer *p = &m->pointer;
    struct pointer_event none = {.buttons = p->told.buttons}, *e = viv_pointer_first(p) ? viv_pointer_first(p) : &none;
    int dx = part(&e->x, -255, 255), dy = -part(&e->y, -255, 255), dz = -part(&e->wheel, -7, 8);
    bool all = !e->x && !e->y && !e->wheel;
    uint8_t held = all ? e->buttons : p->told.buttons;

    put(&m->q, (uint8_t)(0x08 | mouse_buttons(held) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)));
    put(&m->q, (uint8_t)dx);
    put(&m->q, (uint8_t)dy);
    if (m->id)
        put(&m->q, mouse_wheel(m, dz, held));
    if (all && e != &none)
        viv_pointer_taken(p);
}

void ps2_mouse_more(struct ps2_mouse *m)
{
    while (m->reporting && !m->remote && viv_pointer_first(&m->pointer) && room(&m->q) >= 4 + SPARE)
        mouse_packet(m);
}

void ps2_mouse_sync(struct ps2_mouse *m)
{
    viv_pointer_sync(&m->pointer, m->reporting || m->remote);
    ps2_mouse_more(m);
}

static void mouse_set_rate(struct ps2_mouse *m, uint8_t v)
{
    m->rate = v;
    m->knock[0] = m->knock[1];
    m->knock[1] = m->knock[2];
    m->knock[2] = v;
    if (m->knock[0] == 200 && v == 80 && (m->knock[1] == 100 || m->knock[1] == 200))
        m->id = m->knock[1] == 100 ? 3 : 4;
}

static void mouse_status(struct ps2_mouse *m)
{
    uint8_t held = m->pointer.now.buttons;

    put(&m->q, ACK);
    put(&m->q, (uint8_t)(m->remote << 6 | m->reporting << 5 | m->scale2 << 4 | (held >> VIV_BUTTON_LEFT & 1) << 2 |
                         (held >> VIV_BUTTON_MIDDLE & 1) << 1 | (held >> VIV_BUTTON_RIGHT & 1)));
    put(&m->q, m->resolution);
    put(&m->q, m->rate);
}

/* The commands that only set something, acknowledged alike. */
static bool mouse_simple(struct ps2_mouse *m, uint8_t v)
{
    switch (v) {
    case 0xe6:
    case 0xe7:
        m->scale2 = v == 0xe7;
        return true;
    case 0xe8: /* resolution */
    case 0xf3: /* sample rate */
        m->command = v;
        return true;
    case 0xea: /* stream mode */
    case 0xf0: /* remote mode */
        m->remote = v == 0xf0;
        mouse_forget(m);
        return true;
    case 0xec: /* leave wrap mode */
    case 0xee:
        m->wrap = v == 0xee;
        return true;
    case 0xf4:
    case 0xf5:
        m->reporting = v == 0xf4;
        mouse_forget(m);
        return true;
    case 0xf6:
        mouse_defaults(m);
        return true;
    default:
        return false;
    }
}

void ps2_mouse_command(struct ps2_mouse *m, uint8_t v)
{
    if (m->command) {
        if (m->command == 0xe8)
            m->resolution = v & 3;
        else
            mouse_set_rate(m, v);
        m->command = 0;
        put(&m->q, ACK);
    } else if (m->wrap && v != 0xff && v != 0xec) {
        put(&m->q, v);
    } else if (mouse_simple(m, v)) {
        put(&m->q, ACK);
    } else if (v == 0xe9) {
        mouse_status(m);
    } else if (v == 0xeb) { /* read data */
        put(&m->q, ACK);
        if (room(&m->q) >= 4)
            mouse_packet(m);
    } else if (v == 0xf2) {
        put(&m->q, ACK);
        put(&m->q, m->id);
    } else if (v == 0xfe) {
        put(&m->q, m->last);
    } else if (v == 0xff) {
        clear(&m->q);
        mouse_defaults(m);
        m->pointer.told.buttons = 0;
        m->id = 0;
        put(&m->q, ACK);
        put(&m->q, BAT_OK);
        put(&m->q, 0);
    } else {
        put(&m->q, RESEND);
    }
}

/* ---- state ---- */

static int queue_post_load(void *obj, int version, struct viv_err *err)
{
    struct ps2_queue *q = obj;

    if (q->head >= PS2_QUEUE || q->len > PS2_QUEUE || q->answers > q->len)
        return viv_fail(err, EINVAL, "PS/2 queue out of bounds");
    return 0;
}

static int kbd_post_load(void *obj, int version, struct viv_err *err)
{
    struct ps2_kbd *k = obj;

    if (k->scan_set < 1 || k->scan_set > 2)
        return viv_fail(err, EINVAL, "PS/2 keyboard with scan code set %u", k->scan_set);
    return 0;
}

static int mouse_post_load(void *obj, int version, struct viv_err *err)
{
    struct ps2_mouse *m = obj;

    if (m->id != 0 && m->id != 3 && m->id != 4)
        return viv_fail(err, EINVAL, "PS/2 mouse with id %u", m->id);
    return 0;
}

const struct viv_state_table ps2_queue_state = {
    .name = "ps2-queue",
    .ctype = "ps2_queue",
    .version = 2,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_BYTES(ps2_queue, byte),
            VIV_F_INT(ps2_queue, head),
            VIV_F_INT(ps2_queue, len),
            {.name = "answers", .kind = VIV_FIELD_INT, .offset = offsetof(struct ps2_queue, answers), .size = 1, .count = 1, .since = 2},
            VIV_F_END,
        },
    .post_load = queue_post_load,
};

const struct viv_state_table ps2_kbd_state = {
    .name = "ps2-kbd",
    .ctype = "ps2_kbd",
    .version = 3,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(ps2_kbd, q, ps2_queue_state),
            VIV_F_INT(ps2_kbd, command),
            VIV_F_INT(ps2_kbd, scan_set),
            VIV_F_INT(ps2_kbd, leds),
            VIV_F_INT(ps2_kbd, rate),
            VIV_F_INT(ps2_kbd, scanning),
            VIV_F_INT(ps2_kbd, last),
            {.name = "late", .kind = VIV_FIELD_BYTES, .offset = offsetof(struct ps2_kbd, late),
             .size = sizeof(((struct ps2_kbd *)0)->late), .count = 1, .since = 2},
            {.name = "down", .kind = VIV_FIELD_BYTES, .offset = offsetof(struct ps2_kbd, down),
             .size = sizeof(((struct ps2_kbd *)0)->down), .count = 1, .since = 3},
            {.name = "sysrq", .kind = VIV_FIELD_BOOL, .offset = offsetof(struct ps2_kbd, sysrq), .size = 1, .count = 1, .since = 3},
            VIV_F_END,
        },
    .post_load = kbd_post_load,
};

const struct viv_state_table ps2_mouse_state = {
    .name = "ps2-mouse",
    .ctype = "ps2_mouse",
    .version = 2, /* a queue of events in the place of counters */
    .min_version = 2,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(ps2_mouse, q, ps2_queue_state),
            VIV_F_INT(ps2_mouse, command),
            VIV_F_INT(ps2_mouse, rate),
            VIV_F_INT(ps2_mouse, resolution),
            VIV_F_INT(ps2_mouse, id),
            VIV_F_BYTES(ps2_mouse, knock),
            VIV_F_INT(ps2_mouse, reporting),
            VIV_F_INT(ps2_mouse, remote),
            VIV_F_INT(ps2_mouse, wrap),
            VIV_F_INT(ps2_mouse, scale2),
            VIV_F_STRUCT(ps2_mouse, pointer, viv_pointer_state),
            VIV_F_INT(ps2_mouse, last),
            VIV_F_END,
        },
    .post_load = mouse_post_load,
};
