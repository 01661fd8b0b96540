/* The keyboard controller, for what stands in for fingers (sendkey, displays). Device lock held. */
#ifndef VIV_DEV_INPUT_I8042_H
#define VIV_DEV_INPUT_I8042_H

#include "bus/dev.h"

/* Codes as in ps2.h. */
void viv_i8042_key(struct viv_dev *d, unsigned code);
void viv_i8042_mouse(struct viv_dev *d, int dx, int dy, int dz, unsigned buttons);

#endif
