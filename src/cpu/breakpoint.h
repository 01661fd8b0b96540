/* What a debugger outside the guest asks of the CPUs: breakpoints, watchpoints, single steps. The guest does not see them.
 *
 * Addresses are linear. A CPU stops before the instruction at a breakpoint, after the one that touched what is watched, and after
 * one instruction (or one delivered exception) of a step; it asks for VIV_VM_DEBUG then, and the VM stops in state "debug".
 * Only where the accelerator says so (viv_accel.breakpoints).
 * Functions here: device lock held, vCPUs stopped, unless said otherwise. */
#ifndef VIV_CPU_BREAKPOINT_H
#define VIV_CPU_BREAKPOINT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct viv_vcpu;

/* HARD is EXEC that never stands in memory: for code that is not there yet. A hit says EXEC of both. */
enum viv_break_kind { VIV_BREAK_EXEC, VIV_BREAK_WRITE, VIV_BREAK_READ, VIV_BREAK_ACCESS, VIV_BREAK_HARD };

#define VIV_BREAKS_MAX 1024

/* Setting one that is there does nothing. -ENOSPC: no more; -EINVAL: len is 0 or the range wraps. */
int viv_break_set(enum viv_break_kind kind, uint64_t lin, uint64_t len, struct viv_err *err);
/* -ENOENT: there is none. */
int viv_break_remove(enum viv_break_kind kind, uint64_t lin, uint64_t len);
/* Real CPUs run the guest (KVM): breakpoints stand in memory where in_memory() says that they can, all else takes debug registers: four, each
 * for 1, 2, 4 or 8 aligned bytes, and none for reads alone. Setting fails with -ENOSPC or -ENOTSUP where these do not do. Before any is set. */
void viv_break_use_registers(bool (*in_memory)(uint64_t lin));
/* All of them, steps too. */
void viv_break_remove_all(void);
unsigned viv_break_count(void);
/* When it runs next: one instruction. No interrupt is taken before it if `mask_irqs`. */
void viv_break_step(struct viv_vcpu *v, bool mask_irqs);
/* Steps that were asked for and have not ended are not any more. */
void viv_break_unstep(void);

/* Why a CPU stopped. */
struct viv_break_hit {
    enum viv_break_kind kind;
    bool step;
    uint64_t lin; /* of the breakpoint, or of the access */
};

/* Before the CPUs run again: what stopped one of them, and nobody has asked for, is forgotten if it will be seen again. */
void viv_break_resume(void);
/* False: it did not stop. The answer is given once. */
bool viv_break_take_hit(struct viv_vcpu *v, struct viv_break_hit *hit);

#define VIV_BREAK_REGISTERS 4

struct viv_break_register {
    enum viv_break_kind kind;
    uint64_t lin, point; /* its own address, and that of the watchpoint which it is a part of */
    unsigned len;
};

/* What is set and does not stand in memory, as debug registers; how many. */
unsigned viv_break_registers(struct viv_break_register reg[VIV_BREAK_REGISTERS]);
/* The n-th breakpoint that is not HARD, in no order; false: there are no more. */
bool viv_break_exec(unsigned n, uint64_t *lin);

/* ---- for the CPUs themselves; on the vCPU's thread ---- */

/* A CPU's own part. Bits of `on` say what to look at. An interpreter that has any of them runs one instruction at a time, the translator
 * one that steps (cpu/x86/debug.h). */
enum { VIV_BREAK_ON_EXEC = 1 << 0, VIV_BREAK_ON_DATA = 1 << 1, VIV_BREAK_ON_STEP = 1 << 2, VIV_BREAK_ON_MASK = 1 << 3 };

struct viv_break_cpu {
    uint8_t on;
    bool stepped;  /* the instruction of a step has been let go */
    bool is_hit;
    struct viv_break_hit hit;
};

/* Is there a breakpoint at `lin`? */
bool viv_break_at(uint64_t lin);
/* Another number whenever the lists have changed. */
unsigned viv_break_epoch(void);
/* The offsets within a page at which there are breakpoints, a bit each. */
void viv_break_offsets(uint64_t bits[64]);
/* Is anything in [lin, lin + len) watched? */
bool viv_break_watches(uint64_t lin, uint64_t len);
/* An access: notes a hit. */
void viv_break_data(struct viv_break_cpu *b, uint64_t lin, uint64_t len, bool write);
/* At an instruction boundary, the next instruction at `lin`: stop here? */
bool viv_break_boundary(struct viv_break_cpu *b, uint64_t lin);

#endif
