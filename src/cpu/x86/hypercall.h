/* VMCALL and VMMCALL of a guest that believes in KVM (Linux Documentation/virt/kvm/x86/hypercalls.rst). */
#ifndef VIV_CPU_X86_HYPERCALL_H
#define VIV_CPU_X86_HYPERCALL_H

#include "cpu/x86/state.h"

/* Number in RAX, arguments in RBX, RCX, RDX, RSI; the result goes to RAX. */
void viv_x86_hypercall(struct viv_x86 *c);

#endif
