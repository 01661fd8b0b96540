/* What keys send to a program in a terminal. */
#ifndef VIV_UI_VC_VC_KEYS_H
#define VIV_UI_VC_VC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIV_VC_KEY_MOST 16

/* For an X keysym and VIV_MOD_* (ui/console.h); 0: nothing. */
size_t viv_vc_key_bytes(uint32_t keysym, unsigned mods, bool application_keys, char out[VIV_VC_KEY_MOST]);
/* Lines to look back (or, negative, forward) by this key on a screen of `rows`; 0: it is none for that. */
int viv_vc_key_scroll(uint32_t keysym, unsigned mods, unsigned rows);

#endif
