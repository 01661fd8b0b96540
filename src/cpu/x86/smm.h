/* System management mode (SDM 3C chapter 31, APM vol. 2 chapter 10). vCPU thread. */
#ifndef VIV_CPU_X86_SMM_H
#define VIV_CPU_X86_SMM_H

#include "cpu/x86/state.h"

void viv_smm_enter(struct viv_x86 *c);
/* RSM. A bad save area shuts the CPU down (reset). */
void viv_smm_leave(struct viv_x86 *c);

#endif
