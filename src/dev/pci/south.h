/* What the south bridges of PCs have in common: the reset control register, the routing registers of PIRQs. */
#ifndef VIV_DEV_PCI_SOUTH_H
#define VIV_DEV_PCI_SOUTH_H

#include "mem/space.h"

/* Port CF9h (bit 2: a rise resets; bit 1: hard reset). The opaque is the uint8_t that holds it; only VIV_RESET_TYPE stays. */
#define VIV_RESET_TYPE 2
extern const struct viv_region_ops viv_reset_control_ops;

/* Where a PIRQ goes by its routing register, -1: nowhere. 0, 1, 2, 8 and 13 are reserved values. */
#define VIV_PIRQ_OFF 0x80
static inline int viv_pirq_line(uint8_t v)
{
    return (v & VIV_PIRQ_OFF) || !(0xdef8 >> (v & 15) & 1) ? -1 : v & 15;
}

#endif
