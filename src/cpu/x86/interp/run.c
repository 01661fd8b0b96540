/* The run loop.
 *
 * Fast: find the block, execute its instructions, go on at next_rip; requests from other threads
 * are looked at once a block. After blocks whose last instruction may change the ground under us
 * (A_CTX, A_END) derived values are recomputed and c->attention is looked at. While attention is
 * not 0, one instruction runs at a time, with viv_x86_take_event() before each (exc.h).
 *
 * Faults come back through _longjmp to the one _setjmp of viv_interp_run; everything live across
 * it is in memory. */
#include "cpu/vcpu.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/block.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/interp/operand.h"

/* Requests that viv_interp_run hands to its caller. */
#define OUTSIDE                                                                                    \
    (VIV_REQ_STOP | VIV_REQ_QUIESCE | VIV_REQ_TLB | VIV_REQ_KICK | VIV_REQ_INIT | VIV_REQ_SIPI)
#define EVENTS (VIV_REQ_INTR | VIV_REQ_NMI | VIV_REQ_SMI)

static inline u32 requests(const struct viv_x86 *c)
{
    return atomic_load_explicit(&c->vcpu->requests, memory_order_relaxed);
}

static inline struct viv_block *find(struct viv_x86 *c, struct viv_interp *in)
{
    struct viv_block_cache *b = in->blocks;
    u64 lin = in->cs_base + c->rip;
    struct viv_block_link *l = &b->link[(lin ^ lin >> VIV_LINK_BITS) & ((1u << VIV_LINK_BITS) - 1)];
    struct viv_block *k;

    if (LIKELY(l->lin == lin && (l->key == in->block_key[0] || l->key == in->block_key[1]))) {
        k = l->block;
        if (LIKELY(k->version == __atomic_load_n(l->version_at, __ATOMIC_ACQUIRE) &&
                   c->rip + k->bytes - 1 <= in->cs_limit))
            return k;
    }
    k = viv_block_find(c, b, l->lin == lin ? l->block : NULL);
    viv_interp_keys(c); /* the fetch may have changed them */
    if (k->version_at) {
        l->lin = lin;
        l->key = in->block_key[viv_mmu_exec_global(c, lin)];
        l->block = k;
        l->version_at = k->version_at;
    }
    return k;
}

/* Executes instructions of the block from the first; stops early when block_end is cleared. */
static inline void execute(struct viv_x86 *c, struct viv_interp *in, const struct viv_block *k,
                           unsigned count)
{
    const struct viv_insn *i = k->insn;
    u64 rip = c->rip;

    in->block_first = i;
    in->block_end = i + count;
    do {
        c->rip = rip;
        rip += i->len;
        c->next_rip = rip;
        c->insn = i;
        i->exec(c, i);
        i++;
    } while (i < in->block_end);
    c->insn_count += LIKELY(in->block_end != NULL) ? count : (u64)(i - k->insn);
    c->rip = c->next_rip;
    in->block_first = NULL;
}

/* After a fault unwound to the run loop: deliver it. What deliver raises comes back here the
 * same way. */
static void deliver_fault(struct viv_x86 *c, struct viv_interp *in)
{
    viv_lock_abandon();
    if (in->block_first)
        c->insn_count += (u64)(c->insn - in->block_first);
    in->block_first = NULL;
    in->one_iteration = false;
    viv_x86_deliver_pending(c);
    viv_interp_context(c);
}

/* One instruction, or none when an event or its own fault was delivered instead. */
__attribute__((noinline)) static void one(struct viv_x86 *c, struct viv_interp *in)
{
    const struct viv_block *k = find(c, in);

    in->one_iteration = true;
    execute(c, in, k, 1);
    in->one_iteration = false;
    viv_interp_context(c);
}

void viv_interp_one(struct viv_x86 *c)
{
    struct viv_interp *in = c->interp;

    execute(c, in, find(c, in), 1);
    viv_interp_context(c);
}

/* Can a pending request be acted on now, or is it a masked interrupt? */
static inline bool look(const struct viv_x86 *c, u32 r)
{
    return (r & ~(u32)VIV_REQ_INTR) || ((r & VIV_REQ_INTR) && (c->eflags & VIV_FL_IF));
}

/* Linear address of the next instruction; where none can be for a CPU that sleeps. */
static u64 next_insn(const struct viv_x86 *c)
{
    if (c->halted || c->wait_sipi)
        return VIV_NO_SHADOW;
    return viv_debug_next(c);
}

/* Does a debugger outside want the CPU to stop here? */
static bool breaks_here(struct viv_x86 *c)
{
    if (!c->breaks.on && !(c->attention & VIV_ATT_BREAKS))
        return false;
    if (viv_break_boundary(&c->breaks, next_insn(c)))
        return true;
    viv_debug_attention(c); /* what was hit has been told */
    return false;
}

enum verdict { GO_ON, ONE_INSN, LEAVE, AGAIN };

/* At an instruction boundary where something is to be looked at. */
static enum verdict boundary(struct viv_x86 *c, struct viv_interp *in, enum viv_run *why)
{
    u32 r = requests(c);

    *why = VIV_RUN_REQUEST;
    if (c->shutdown) {
        *why = VIV_RUN_SHUTDOWN;
        return LEAVE;
    }
    if (r & OUTSIDE) {
        viv_x86_note_boundary(c);
        return LEAVE;
    }
    if (breaks_here(c)) {
        viv_x86_note_boundary(c);
        *why = VIV_RUN_BREAK;
        return LEAVE;
    }
    if ((r & EVENTS) || c->attention) {
        bool delivered = viv_x86_take_event(c);

        viv_interp_context(c);
        if (delivered && (c->breaks.on || c->attention))
            return AGAIN; /* there may be a breakpoint at the handler, the guest's or a debugger's */
    }
    if (c->halted || c->wait_sipi) {
        *why = VIV_RUN_HALT;
        return LEAVE;
    }
    return c->attention ? ONE_INSN : GO_ON;
}

/* Runs blocks until there is something to look at. A function of its own because what is live
 * across _setjmp would not stay in registers. */
__attribute__((noinline)) void viv_interp_run_blocks(struct viv_x86 *c)
{
    struct viv_interp *in = c->interp;

    for (;;) {
        const struct viv_block *k = find(c, in);
        u32 r;

        execute(c, in, k, k->count);
        if (UNLIKELY(k->end != VIV_BLOCK_PLAIN || !in->block_end)) {
            if (k->end == VIV_BLOCK_CONTEXT) {
                viv_interp_context(c);
                if (in->engine)
                    return; /* perhaps it can go on from here */
            } else {
                viv_interp_keys(c); /* a port or MMIO write may have changed the memory map */
            }
            if (c->attention || c->halted || c->shutdown)
                return;
        }
        r = requests(c);
        if (UNLIKELY(r) && look(c, r))
            return;
    }
}

enum viv_run viv_interp_run(struct viv_x86 *c)
{
    struct viv_interp *in = c->interp;
    void (*run)(struct viv_x86 *) = in->engine ? in->engine : viv_interp_run_blocks;
    enum viv_run why;

    viv_interp_context(c);
    if (_setjmp(in->jmp))
        deliver_fault(c, in);
    for (;;) {
        enum verdict v = boundary(c, in, &why);

        if (v == LEAVE)
            return why;
        if (v == ONE_INSN)
            one(c, in);
        else if (v == GO_ON)
            run(c);
    }
}

enum viv_run viv_interp_step(struct viv_x86 *c)
{
    struct viv_interp *in = c->interp;
    volatile bool done = false;

    viv_interp_context(c);
    if (_setjmp(in->jmp)) {
        deliver_fault(c, in);
        done = true;
    }
    if (!done) {
        done = true;
        if (c->attention || (requests(c) & EVENTS)) {
            viv_x86_take_event(c);
            viv_interp_context(c);
        }
        if (!c->halted && !c->wait_sipi)
            one(c, in);
    }
    if (c->shutdown)
        return VIV_RUN_SHUTDOWN;
    return c->halted || c->wait_sipi ? VIV_RUN_HALT : VIV_RUN_REQUEST;
}
