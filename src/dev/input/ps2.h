/* A PS/2 keyboard or mouse: answers to commands, and a queue of bytes towards the controller. Used by i8042.c; device
 * lock held. */
#ifndef VIV_DEV_INPUT_PS2_H
#define VIV_DEV_INPUT_PS2_H

#include "dev/input/pointer.h"
#include "state/state.h"

#include <stdbool.h>
#include <stdint.h>

#define PS2_QUEUE 64

struct ps2_queue {
    uint8_t byte[PS2_QUEUE];
    uint8_t head, len;
    uint8_t answers; /* how many of the first bytes are answers to commands, which go before what was typed */
};

struct ps2_kbd {
    struct ps2_queue q;
    uint8_t command; /* whose argument comes next, 0: none */
    uint8_t scan_set, leds, rate;
    bool scanning;
    uint8_t last; /* for Resend */
    /* One bit a code of set 1, then those with E0. */
    uint8_t late[32]; /* its release found no room yet */
    uint8_t down[32]; /* its press was sent, its release not */
    bool sysrq;       /* the Print key was pressed as SysRq */
};

struct ps2_mouse {
    struct ps2_queue q;
    uint8_t command;
    uint8_t rate, resolution;
    uint8_t id;       /* 0, 3: it has a wheel, 4: and five buttons */
    uint8_t knock[3]; /* the last sample rates: 200, 100, 80 switches the wheel on, 200, 200, 80 the buttons too */
    bool reporting, remote, wrap, scale2;
    struct pointer pointer; /* what is not reported yet */
    uint8_t last;
};

extern const struct viv_state_table ps2_queue_state, ps2_kbd_state, ps2_mouse_state;

void ps2_kbd_reset(struct ps2_kbd *k);
void ps2_kbd_command(struct ps2_kbd *k, uint8_t v);
/* A key as scan code set 1 has it: 01h-7Fh, with 80h set for release, 100h set for an E0 prefix. Dropped while scanning is off; a
 * press is when the queue is full, a release then waits for room. */
void ps2_kbd_key(struct ps2_kbd *k, unsigned code);
/* Scan codes that the guest has not read. */
unsigned ps2_kbd_waiting(const struct ps2_kbd *k);
/* The two keys that are more than a code: Pause, which says all when it is pressed and is Break with Ctrl, and Print, which is SysRq
 * with Alt. */
void ps2_kbd_pause(struct ps2_kbd *k);
void ps2_kbd_print(struct ps2_kbd *k, bool down);
/* There may be room again. */
void ps2_kbd_late(struct ps2_kbd *k);

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_command(struct ps2_mouse *m, uint8_t v);
/* What m->pointer has got belongs together, and is reported as there is room for it. Forgotten while reporting is off. */
void ps2_mouse_sync(struct ps2_mouse *m);
/* There may be room again. */
void ps2_mouse_more(struct ps2_mouse *m);

/* Next byte towards the controller, -1 when there is none. */
int ps2_take(struct ps2_queue *q);

#endif
