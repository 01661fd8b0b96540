/* The I/O APIC, as its board wires it. */
#ifndef VIV_DEV_INTC_IOAPIC_H
#define VIV_DEV_INTC_IOAPIC_H

#include "bus/dev.h"

#define VIV_IOAPIC_PINS 24
#define VIV_IOAPIC_BASE 0xfec00000u

/* Drives pin 0-23. Device lock held. */
void viv_ioapic_set_irq(struct viv_dev *d, unsigned pin, int level);

#endif
