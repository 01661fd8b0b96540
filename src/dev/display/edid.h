/* EDID 1.4 of a monitor that is not there. */
#ifndef VIV_DEV_DISPLAY_EDID_H
#define VIV_DEV_DISPLAY_EDID_H

#include <stdint.h>

#define VIV_EDID_SIZE 128

/* A digital monitor that likes width x height best, at 60 Hz. 1-4095 each. */
void viv_edid_fill(uint8_t out[VIV_EDID_SIZE], const char *name, unsigned width, unsigned height);

#endif
