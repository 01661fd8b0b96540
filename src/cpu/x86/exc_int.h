/* Shared by exc.c, deliver.c and event.c. */
#ifndef VIV_CPU_X86_EXC_INT_H
#define VIV_CPU_X86_EXC_INT_H

#include "cpu/x86/exc.h"

/* EXT bit of error codes raised while this event is delivered. */
static inline uint32_t viv_exc_ext(const struct viv_x86 *c)
{
    return c->delivering && c->deliver_kind != VIV_EV_SOFT_INT;
}

/* Virtual-8086 INT n with CR4.VME through the redirection bitmap. True: done. */
bool viv_v86_soft_int(struct viv_x86 *c, unsigned vector);

#endif
