/* A serial EEPROM of 64 words of 16 bits (93C46) on four wires, as network cards have it. It cannot be written. */
#ifndef VIV_DEV_NET_MICROWIRE_H
#define VIV_DEV_NET_MICROWIRE_H

#include "state/state.h"

enum { MICROWIRE_WORDS = 64 };

struct microwire {
    uint8_t state; /* enum of microwire.c */
    bool selected, clock; /* as the wires were last */
    uint16_t in, out;
    uint8_t bits, addr;
    bool data_out;
};

extern const struct viv_state_table microwire_state;

void microwire_reset(struct microwire *m);
/* The wires: chip select, clock, data in. data_out follows. */
void microwire_drive(struct microwire *m, const uint16_t *words, bool select, bool clock, bool in);

#endif
