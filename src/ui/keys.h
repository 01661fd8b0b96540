/* Names and scan codes of keys. Codes are Linux's KEY_*. */
#ifndef VIV_UI_KEYS_H
#define VIV_UI_KEYS_H

/* A key by the name that QMP (QKeyCode) and sendkey know; -1: there is none. */
int viv_key_by_name(const char *name);
/* The names in turn; NULL: there are no more. */
const char *viv_key_at(unsigned i);
/* NULL: it has no name. */
const char *viv_key_name(unsigned code);

#define VIV_SET1_E0 0x100 /* with the prefix E0 */
/* Scan code set 1, without the bit for release; 0: a PC keyboard has no such key, or (Pause) no such code. */
unsigned viv_key_to_set1(unsigned code);
/* -1: unknown. */
int viv_key_from_set1(unsigned set1);
/* Usages of HID's keyboard page. 0: there is none for it; -1: unknown. */
unsigned viv_key_to_usb(unsigned code);
int viv_key_from_usb(unsigned usage);

#endif
