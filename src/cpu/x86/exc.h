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

/* #GP(0), #UD: the common ones. */
_Noreturn void viv_x86_gp0(struct viv_x86 *c);
_Noreturn void viv_x86_ud(struct viv_x86 *c);

enum viv_event_kind {
    VIV_EV_FAULT,    /* exception from viv_x86_raise: RIP is the instruction */
    VIV_EV_TRAP,     /* #DB trap: RIP is the next one */
    VIV_EV_SOFT_INT, /* INT n, INT3, INTO: DPL checked; RIP is the next one */
    VIV_EV_ICEBP,
    VIV_EV_EXT,      /* external interrupt, NMI */
};

/* Enters the handler through IVT or IDT: gates, stack switch, task gates. The return address is c->next_rip for
 * SOFT_INT and ICEBP, else c->rip. May end in viv_x86_raise. Sets c->rip and c->next_rip. */
void viv_x86_deliver(struct viv_x86 *c, enum viv_event_kind kind, unsigned vector, bool has_error,
                     uint32_t error);

/* viv_x86_deliver_pending() and viv_x86_take_event(), which the run loop calls, are declared in interp/interp.h.
 * The run loop calls viv_x86_take_event(c) at an instruction boundary (c->rip: the next instruction) when
 * INTR, NMI or SMI is requested or c->attention is not 0. It takes, in the order of SDM table 6-2: debug traps of
 * the instruction that has just ended, SMI, NMI, interrupts; expires shadows; checks instruction breakpoints of the
 * next instruction and arms single-step for it. While attention is not 0 one instruction runs at a time. */

/* EFLAGS was written as a whole, or IF, TF, RF, AC changed: keeps attention in step. */
void viv_x86_flags_changed(struct viv_x86 *c, uint32_t old);

/* Port access: permission (IOPL, TSS bitmap; #GP) and the transfer itself. Sizes 1, 2, 4. */
void viv_x86_io_check(struct viv_x86 *c, uint16_t port, unsigned size);
uint32_t viv_x86_io_read(struct viv_x86 *c, uint16_t port, unsigned size);
void viv_x86_io_write(struct viv_x86 *c, uint16_t port, uint32_t value, unsigned size);

#endif
