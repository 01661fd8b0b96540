/* Raising and delivering exceptions and interrupts (SDM 3A chapter 6). */
#ifndef VIV_CPU_X86_EXC_H
#define VIV_CPU_X86_EXC_H

#include "cpu/x86/state.h"

/* Abandons the current instruction with a fault; the run loop delivers it. vCPU thread, inside an
 * instruction only. */
_Noreturn void viv_x86_raise(struct viv_x86 *c, unsigned vector);
_Noreturn void viv_x86_raise_error(struct viv_x86 *c, unsigned vector, uint32_t error);
/* #PF: sets CR2 too. */
_Noreturn void viv_x86_raise_pf(struct viv_x86 *c, uint64_t linear, uint32_t error);

enum viv_event_kind {
    VIV_EV_FAULT,    /* exception from viv_x86_raise: RIP is the instruction */
    VIV_EV_TRAP,     /* #DB trap: RIP is the next one */
    VIV_EV_SOFT_INT, /* INT n, INT3, INTO: DPL checked; RIP is the next one */
    VIV_EV_ICEBP,
    VIV_EV_EXT,      /* external interrupt, NMI */
};

/* Enters the handler through IVT or IDT: gates, stack switch, task gates, double and triple faults. May
 * itself end in viv_x86_raise (nested faults are combined by the run loop as table 6-5 says). */
void viv_x86_deliver(struct viv_x86 *c, enum viv_event_kind kind, unsigned vector, bool has_error,
                     uint32_t error);

#endif
