/* The pair of interrupt controllers of a PC, as its board wires it. */
#ifndef VIV_DEV_INTC_I8259_H
#define VIV_DEV_INTC_I8259_H

#include "bus/dev.h"

/* Drives input 0-15 (2 is the cascade: ignored). Device lock held. */
void viv_i8259_set_irq(struct viv_dev *d, unsigned irq, int level);

#endif
