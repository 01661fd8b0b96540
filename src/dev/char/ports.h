/* Which serial and parallel ports there are, for firmware and tables. */
#ifndef VIV_DEV_CHAR_PORTS_H
#define VIV_DEV_CHAR_PORTS_H

#include "bus/dev.h"

/* Is this one of COM1-COM4 (0-3), LPT1-LPT3 (0-2): at its place, with its interrupt line? -1: no, or no such device. */
int viv_ns16550_com(const struct viv_dev *d);
int viv_parallel_lpt(const struct viv_dev *d);

#endif
