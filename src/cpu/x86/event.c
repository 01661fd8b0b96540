/* What happens between two instructions (SDM 3A table 6-2), and port I/O with its permission checks. */
#include "cpu/x86/exc_int.h"

#include "base/log.h"
#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/seg.h"
#include "cpu/x86/smm.h"
#include "mem/space.h"

static bool requested(const struct viv_x86 *c, uint32_t bit)
{
    return c->vcpu && (atomic_load_explicit(&c->vcpu->requests, memory_order_acquire) & bit);
}

static void clear_request(struct viv_x86 *c, uint32_t bit)
{
    atomic_fetch_and_explicit(&c->vcpu->requests, ~bit, memory_order_acq_rel);
}

static void set_db(struct viv_x86 *c, uint32_t bits)
{
    c->dr[6] = (c->dr[6] & ~0xfull) | VIV_DR6_FIXED | bits;
    c->dr[7] &= ~(uint64_t)VIV_DR7_GD;
}

/* Debug traps of the instruction that has just ended. True: delivered. */
static bool take_trap(struct viv_x86 *c)
{
    uint32_t bits;

    if (c->step_armed) {
        c->step_armed = false;
        if (!c->mov_ss_shadow) /* MOV SS loses its own single-step trap, not its data breakpoints */
            c->pending_db |= VIV_DR6_BS;
    }
    c->deferred_db = c->mov_ss_shadow ? c->pending_db : 0;
    if (!c->pending_db || c->mov_ss_shadow)
        return false;
    bits = (uint32_t)c->pending_db;
    c->pending_db = 0;
    c->halted = false;
    set_db(c, bits);
    viv_x86_deliver(c, VIV_EV_TRAP, VIV_DB, false, 0);
    return true;
}

static bool take_nmi(struct viv_x86 *c)
{
    unsigned sent;
    bool second = false;

    if (requested(c, VIV_REQ_NMI)) {
        clear_request(c, VIV_REQ_NMI);
        sent = atomic_exchange(&c->vcpu->nmis, 0);
        second = (sent > 1 || (sent && c->nmi_pending)) && !c->nmi_blocked;
        c->nmi_pending |= sent != 0; /* 0: a sender has counted, and sets the bit after we have looked */
    }
    if (!c->nmi_pending || c->nmi_blocked || c->mov_ss_shadow || c->sti_shadow)
        return false;
    c->nmi_pending = second;
    c->nmi_blocked = true;
    c->halted = false;
    viv_x86_deliver(c, VIV_EV_EXT, VIV_NMI, false, 0);
    return true;
}

static bool take_intr(struct viv_x86 *c)
{
    int vector;

    c->attention &= ~VIV_ATT_EVENT;
    if (!c->vcpu || !c->vcpu->apic)
        return false;
    if (requested(c, VIV_REQ_INTR))
        clear_request(c, VIV_REQ_INTR);
    c->intr_latched = false;
    if (!viv_apic_pending(c->vcpu->apic))
        return false;
    if (!(c->eflags & VIV_FL_IF) || c->sti_shadow || c->mov_ss_shadow) {
        c->intr_latched = true;
        return false;
    }
    vector = viv_apic_take(c->vcpu->apic);
    if (vector < 0)
        return false;
    c->halted = false;
    /* Before the delivery, which may not come back here (a fault in it), and with a look right after it: a trap gate
     * leaves IF set, and nobody else would look. */
    if (viv_apic_pending(c->vcpu->apic)) {
        c->intr_latched = true;
        c->attention |= VIV_ATT_EVENT;
    }
    viv_x86_deliver(c, VIV_EV_EXT, (unsigned)vector, false, 0);
    return true;
}

static bool take_smi(struct viv_x86 *c)
{
    if (requested(c, VIV_REQ_SMI)) {
        clear_request(c, VIV_REQ_SMI);
        c->smi_pending = true;
    }
    /* Waiting for a SIPI blocks SMIs too: they stay pending. */
    if (!c->smi_pending || c->in_smm || c->wait_sipi || c->mov_ss_shadow || c->sti_shadow)
        return false;
    c->smi_pending = false;
    viv_smm_enter(c);
    return true;
}

/* The shadow covers one instruction: the one that is about to run when it is seen the first time. */
static void expire_shadows(struct viv_x86 *c)
{
    bool shadow = c->sti_shadow || c->mov_ss_shadow;

    if (!shadow)
        return;
    c->sti_shadow = c->mov_ss_shadow = false;
    c->attention |= VIV_ATT_EVENT; /* look again after the shadowed instruction */
}

static void check_exec_breakpoint(struct viv_x86 *c)
{
    uint32_t bits;

    if (!viv_debug_any(c) || (c->eflags & VIV_FL_RF))
        return;
    if (c->mov_ss_shadow && c->cpuid->kind == VIV_VENDOR_INTEL)
        return; /* inhibited by Intel's CPUs, not by AMD's */
    bits = viv_debug_exec(c, viv_debug_next(c));
    if (bits) {
        set_db(c, bits);
        viv_x86_raise(c, VIV_DB);
    }
}

void viv_x86_note_boundary(struct viv_x86 *c)
{
    if (c->repeating) { /* 17.3.1.1: what is pushed between iterations, and no breakpoint at each of them */
        c->eflags |= VIV_FL_RF;
        c->attention |= VIV_ATT_RF;
        c->repeating = false;
    }
    if (c->rip == c->shadow_rip) {
        c->sti_shadow = true;
        c->attention |= VIV_ATT_SHADOW;
    }
    c->shadow_rip = VIV_NO_SHADOW;
}

/* A debugger's step can keep interrupts away: it wants the program's next instruction. */
static bool take_interrupts(struct viv_x86 *c)
{
    return !(c->breaks.on & VIV_BREAK_ON_MASK) && (take_smi(c) || take_nmi(c) || take_intr(c));
}

bool viv_x86_take_event(struct viv_x86 *c)
{
    bool shadowed;

    viv_x86_note_boundary(c);
    shadowed = c->sti_shadow || c->mov_ss_shadow;
    c->next_rip = c->rip;
    c->attention &= ~(VIV_ATT_TRAP | VIV_ATT_SHADOW);
    if (take_trap(c) || take_interrupts(c))
        return true;
    if (c->halted || c->wait_sipi)
        return false;
    check_exec_breakpoint(c);
    if (shadowed)
        expire_shadows(c);
    /* RF holds for one instruction; that one is about to run. */
    if (c->attention & VIV_ATT_RF) {
        c->attention &= ~VIV_ATT_RF;
        c->eflags &= ~VIV_FL_RF;
    }
    if (c->eflags & VIV_FL_TF) {
        c->step_armed = true;
        c->attention |= VIV_ATT_TRAP;
    }
    if (c->pending_db)
        c->attention |= VIV_ATT_TRAP;
    return false;
}

/* ---- port I/O ---- */

static bool bitmap_allows(struct viv_x86 *c, uint16_t port, unsigned size)
{
    const struct viv_seg *tr = &c->seg[VIV_TR];
    uint32_t base, bits;

    if (!(VIV_AR_TYPE(tr->attr) & 8) || (tr->attr & VIV_SEG_UNUSABLE) || tr->limit < 0x67)
        return false;
    base = (uint32_t)viv_ld_sys(c, tr->base + 0x66, 2) + port / 8;
    if (base + 1 > tr->limit) /* two bytes are read always (vol. 1, 19.5.2) */
        return false;
    bits = (uint32_t)viv_ld_sys(c, tr->base + base, 2) >> (port & 7);
    return !(bits & ((1u << size) - 1));
}

void viv_x86_io_check(struct viv_x86 *c, uint16_t port, unsigned size)
{
    if (!(c->cr0 & VIV_CR0_PE))
        return;
    if (c->mode != VIV_MODE_V86 && c->cpl <= viv_x86_iopl(c))
        return;
    if (!bitmap_allows(c, port, size))
        viv_x86_gp0(c);
}

static void after_io(struct viv_x86 *c, uint16_t port, unsigned size)
{
    if (viv_debug_any(c))
        viv_debug_io_slow(c, port, size);
    if (requested(c, VIV_REQ_TLB))
        viv_mmu_flush_map(c);
}

uint32_t viv_x86_io_read(struct viv_x86 *c, uint16_t port, unsigned size)
{
    uint32_t v = (uint32_t)viv_space_read(c->io, port, size);

    after_io(c, port, size);
    return v;
}

void viv_x86_io_write(struct viv_x86 *c, uint16_t port, uint32_t value, unsigned size)
{
    viv_space_write(c->io, port, value, size);
    after_io(c, port, size);
}
