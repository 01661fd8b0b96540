/* The real-time clock's battery-backed memory, as the board fills it. */
#ifndef VIV_DEV_RTC_MC146818_H
#define VIV_DEV_RTC_MC146818_H

#include "bus/dev.h"

/* Sets byte 0Eh-7Fh (memory sizes, boot order ...). Device lock held. */
void viv_mc146818_set_nvram(struct viv_dev *d, unsigned index, uint8_t value);
uint8_t viv_mc146818_nvram(struct viv_dev *d, unsigned index);

#endif
