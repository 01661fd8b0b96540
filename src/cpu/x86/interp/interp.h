/* The interpreter: runs guest code on a vCPU thread from decoded blocks.
 *
 * Exceptions: viv_x86_raise*() (exc.c) records vector and error in struct viv_interp and jumps
 * to `jmp`, which the run loop set; the loop then calls viv_x86_deliver_pending(), which may
 * raise again (double fault) through the same buffer. */
#ifndef VIV_CPU_X86_INTERP_H
#define VIV_CPU_X86_INTERP_H

#include "cpu/x86/state.h"

#include <setjmp.h>

struct viv_block_cache;

struct viv_interp {
    jmp_buf jmp; /* _setjmp / _longjmp */

    /* Set by viv_x86_raise*(), consumed by viv_x86_deliver_pending(). */
    bool exc_pending;
    bool exc_has_error;
    uint8_t exc_vector;
    uint32_t exc_error;

    /* Set by handlers and the MMU, looked at by the run loop after the instruction. */
    bool one_iteration; /* REP instructions do one and come back (single-step) */
    const struct viv_insn *block_end; /* of the running block; see viv_interp_leave_block() */
    const struct viv_insn *block_first; /* of the running block, NULL between blocks */

    /* Derived by viv_interp_context(). */
    uint64_t cs_base, cs_limit; /* 0 and all-ones in 64-bit mode */
    /* What the block at a linear address depends on besides the address, for pages that are not global and for
     * those that are. */
    uint64_t block_key[2];

    struct viv_block_cache *blocks; /* run loop's own */
    /* Runs instructions instead of viv_interp_run_blocks(), by the same rules: the translator. NULL: none. */
    void (*engine)(struct viv_x86 *c);
};

enum viv_run {
    VIV_RUN_REQUEST,  /* v->requests holds STOP, QUIESCE, TLB, KICK, INIT, SIPI: the caller acts */
    VIV_RUN_HALT,     /* c->halted or c->wait_sipi: sleep until a request */
    VIV_RUN_SHUTDOWN, /* c->shutdown: triple fault */
    VIV_RUN_BREAK,    /* c->breaks.hit: for the debugger outside */
};

/* vCPU thread; device lock not held. INTR, NMI and SMI requests are handled inside, by
 * viv_x86_take_event(). */
enum viv_run viv_interp_run(struct viv_x86 *c);
/* Exactly one instruction (or one delivered exception; a repeated string instruction counts as one
 * iteration). For tests and debuggers. */
enum viv_run viv_interp_step(struct viv_x86 *c);

/* For engines, within viv_interp_run(): decoded blocks until there is something to look at or, if there is an engine,
 * the context has changed; and one instruction. Faults leave through `jmp`. */
void viv_interp_run_blocks(struct viv_x86 *c);
void viv_interp_one(struct viv_x86 *c);

/* After a store that changed decoded code, or anything else that wants the run loop's attention:
 * the block ends after this instruction. vCPU thread. */
static inline void viv_interp_leave_block(struct viv_x86 *c)
{
    ((struct viv_interp *)c->interp)->block_end = 0;
}

/* Recomputes fast_base, sp_mask, canon_shift from the architectural state. The run loop does
 * this when it starts, after instructions with A_CTX and after delivering events. */
void viv_interp_context(struct viv_x86 *c);

/* The part of it that concerns block_key. */
static inline void viv_interp_keys(struct viv_x86 *c)
{
    struct viv_interp *in = c->interp;
    uint64_t how = (uint64_t)(c->cpl == 3) << 7 | 0x40 | c->mode;

    in->block_key[0] = c->code_space ^ how;
    in->block_key[1] = c->code_space_global ^ how;
}

/* Makes and drops c->interp. */
int viv_interp_init(struct viv_x86 *c);
void viv_interp_fini(struct viv_x86 *c);

/* Asked of exc.c: delivers what viv_x86_raise recorded at c->rip, combining faults as SDM table
 * 6-5 says (sets c->shutdown on the third). Returns with the handler's first instruction in
 * c->rip. */
void viv_x86_deliver_pending(struct viv_x86 *c);
/* Asked of exc.c: if c->rip is in the shadow of an STI (c->shadow_rip) says so in c->sti_shadow; if it is within a repeated
 * instruction, in EFLAGS.RF. Before the state is looked at by others. */
void viv_x86_note_boundary(struct viv_x86 *c);
/* Asked of exc.c: takes the most urgent of SMI, NMI, maskable interrupt that can be taken now
 * (IF, shadows, NMI blocking) and clears its request bit, or leaves the bits of those that stay
 * pending. True when something was delivered. c->rip is the next instruction to run, c->next_rip
 * the same. */
bool viv_x86_take_event(struct viv_x86 *c);

#endif
