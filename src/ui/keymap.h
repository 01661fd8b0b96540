/* Keyboard layouts: what to press on a guest's keyboard for a character that somebody typed on another one (-k). */
#ifndef VIV_UI_KEYMAP_H
#define VIV_UI_KEYMAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct viv_keymap; /* constant once made */

/* QEMU's names (en-us, de-ch, pt-br...) and XKB's: layout, layout(variant). May block (libraries and files are read). */
int viv_keymap_load(const char *layout, struct viv_keymap **out, struct viv_err *err);
void viv_keymap_free(struct viv_keymap *m); /* NULL allowed */
void viv_keymap_help(FILE *out);

enum { VIV_KEYMAP_SHIFT = 1 << 0, VIV_KEYMAP_ALTGR = 1 << 1, VIV_KEYMAP_CAPS = 1 << 2, VIV_KEYMAP_NUM = 1 << 3 };

/* A key, and the state of shift, AltGr, caps lock and num lock in which it means what was asked for. */
struct viv_stroke {
    unsigned code;
    unsigned state;
};

/* For an X keysym, while the guest's keyboard is in `state`: the strokes that differ least from it; caps lock stays. 0: the layout
 * has no such character; 2: a dead key comes first. */
unsigned viv_keymap_find(const struct viv_keymap *m, uint32_t keysym, unsigned state, struct viv_stroke out[2]);

/* Somebody who types keysyms: knows which keys are down, and presses shift and AltGr around a key whose level needs it. Device lock
 * held. `m` borrowed; NULL: only keys by code. */
struct viv_typist;
struct viv_typist *viv_typist_new(const struct viv_keymap *m);
void viv_typist_free(struct viv_typist *t); /* NULL allowed */
/* `who`: of several that type. False: the layout does not have it, and nothing was done. */
bool viv_typist_keysym(struct viv_typist *t, uint64_t who, uint32_t keysym, bool down);
void viv_typist_code(struct viv_typist *t, uint64_t who, unsigned code, bool down);
/* A key of which its code (-1: not known), its keysym (0), or both are known. `meaning`: a layout was named (-k), so that what the key
 * means counts before which key it is. */
void viv_typist_key(struct viv_typist *t, uint64_t who, int code, uint32_t keysym, bool meaning, bool down);
/* The guest has not read the keys that it has: try again in some milliseconds. For a second; a guest that has stopped reading gets what
 * it has room for. */
bool viv_typist_waits(struct viv_typist *t);
/* Releases what they hold. */
void viv_typist_leave(struct viv_typist *t, uint64_t who);

#endif
