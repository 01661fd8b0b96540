/* Keys, buttons and motion from viewers and monitor to devices (docs/screens.md). Device lock held for all calls. */
#ifndef VIV_UI_INPUT_H
#define VIV_UI_INPUT_H

#include "base/byname.h"

#include <stdbool.h>

enum { /* kinds */
    VIV_INPUT_KEYS = 1 << 0,
    VIV_INPUT_RELATIVE = 1 << 1, /* motion, with buttons and wheel */
    VIV_INPUT_ABSOLUTE = 1 << 2, /* position, with buttons and wheel */
};

#define VIV_INPUT_RANGE 0x8000 /* absolute positions are 0 to one less */

enum { VIV_LED_SCROLL = 1 << 0, VIV_LED_NUM = 1 << 1, VIV_LED_CAPS = 1 << 2 };

enum viv_button { VIV_BUTTON_LEFT, VIV_BUTTON_MIDDLE, VIV_BUTTON_RIGHT, VIV_BUTTON_SIDE, VIV_BUTTON_EXTRA, VIV_BUTTONS };

/* Callbacks for kinds that a sink does not take may be NULL. */
struct viv_input_ops {
    const char *name;
    unsigned kinds;
    void (*key)(void *opaque, unsigned code, bool down); /* KEY_* of <linux/input-event-codes.h> */
    void (*move)(void *opaque, int dx, int dy);
    void (*place)(void *opaque, unsigned x, unsigned y);
    void (*button)(void *opaque, enum viv_button b, bool down);
    void (*wheel)(void *opaque, int dy, int dx); /* clicks; up and right positive */
    void (*sync)(void *opaque); /* what came since the last one belongs together */
    bool (*busy)(void *opaque); /* keys wait that the guest has not read; more may be lost soon */
} VIV_BY_NAME;

struct viv_input_sink;
/* `console`: the head whose pointer it is, -1 for any. The newest sink of a kind gets that kind. */
struct viv_input_sink *viv_input_add(const struct viv_input_ops *ops, void *opaque, int console);
void viv_input_remove(struct viv_input_sink *s); /* NULL allowed */
/* It is the newest from now on (a guest has begun to poll it), or the oldest (it has stopped). */
void viv_input_prefer(struct viv_input_sink *s, bool prefer);
void viv_input_set_leds(struct viv_input_sink *s, unsigned leds);

/* Pointers, the preferred one first: the n-th, and the choice of one by its index. false: there is none. */
struct viv_input_pointer {
    const char *name;
    unsigned index;
    bool absolute, current;
};
bool viv_input_pointer(unsigned n, struct viv_input_pointer *out);
bool viv_input_prefer_pointer(unsigned index);

/* From viewers. The release of a key that is not down goes nowhere. A key that is down is up again after viv_input_release_all(). */
void viv_input_key(unsigned code, bool down);
void viv_input_move(int console, int dx, int dy);
void viv_input_place(int console, unsigned x, unsigned y, unsigned width, unsigned height); /* pixels of a surface so large */
void viv_input_button(int console, enum viv_button b, bool down);
void viv_input_wheel(int console, int dy, int dx);
void viv_input_sync(int console); /* after motion, buttons, wheel */
void viv_input_release_all(void);
bool viv_input_busy(void); /* the keyboard is: who has many keys to send waits a while */
bool viv_input_is_absolute(int console);
unsigned viv_input_leds(void);

/* Who wants to know that the pointer's kind or the LEDs have changed. */
struct viv_input_watch;
struct viv_input_watch *viv_input_watch(void (*fn)(void *opaque), void *opaque);
void viv_input_unwatch(struct viv_input_watch *w);

#endif
