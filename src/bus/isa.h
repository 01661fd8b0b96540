/* Ports on the ISA side: what every legacy chip needs, in one line. */
#ifndef VIV_BUS_ISA_H
#define VIV_BUS_ISA_H

#include "bus/dev.h"

/* Registers `count` ports from `base` on for the device; its handlers get the device as opaque. The region
 * is mapped, and freed by the caller (unrealize). */
static inline struct viv_region *viv_isa_add_ports(struct viv_dev *d, const char *name,
                                                   uint16_t base, unsigned count,
                                                   const struct viv_region_ops *ops)
{
    struct viv_region_desc desc = {
        .name = name, .kind = VIV_REGION_IO, .size = count, .ops = ops, .opaque = d};
    struct viv_region *r = viv_region_new(d->board->io, &desc);

    viv_region_map(r, base, 0);
    return r;
}

/* ISA line n (0-15). */
static inline void viv_isa_set_irq(struct viv_dev *d, unsigned n, int level)
{
    viv_irq_set(&d->board->isa_irq[n], level);
}

#endif
