/* The translator's figures for people: `info jit`. */
#ifndef VIV_ACCEL_XLATE_INFO_H
#define VIV_ACCEL_XLATE_INFO_H

#include <glib.h>

struct viv_space;

/* vCPUs stopped. `mem` gives host addresses back their guest addresses. */
void viv_xlate_info(struct viv_space *mem, GString *out);

#endif
