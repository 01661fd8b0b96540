/* Model-specific registers and control registers. vCPU thread (or stopped). */
#ifndef VIV_CPU_X86_MSR_H
#define VIV_CPU_X86_MSR_H

#include "cpu/x86/state.h"

/* False: #GP(0) - unknown register or forbidden value. */
bool viv_msr_read(struct viv_x86 *c, uint32_t index, uint64_t *value);
bool viv_msr_write(struct viv_x86 *c, uint32_t index, uint64_t value);
void viv_msr_reset(struct viv_x86 *c, bool bsp);

/* MOV to CR with all its checks (#GP(0)). */
void viv_cr_write(struct viv_x86 *c, unsigned n, uint64_t value);

/* Bits that this CPU has; the others are reserved. */
uint64_t viv_cr4_known(const struct viv_x86 *c);
uint64_t viv_efer_known(const struct viv_x86 *c);

uint64_t viv_x86_tsc(const struct viv_x86 *c);

#endif
