/* The local APIC: registers, priorities, acceptance of interrupts (SDM 3A chapter 10).
 *
 * Other threads touch only: `incoming` (vectors sent to us, merged into IRR by the owner), and the identity words (id,
 * ldr, dfr, svr, base), which the owner writes with atomic stores. Timer: apic_timer.c. Sending: apic_ipi.c.
 *
 * Power-on of the boot CPU leaves what firmware would (virtual wire mode: enabled, LINT0 ExtINT, LINT1 NMI), because a
 * directly booted kernel has no firmware before it. INIT leaves what the manual (10.4.7.3) says: all masked.
 *
 * Left out: CMCI, remote read, EOI-broadcast suppression, arbitration (APR reads 0). */
#include "cpu/x86/apic_int.h"

#include "base/log.h"
#include "base/units.h"
#include "cpu/x86/state.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* ---- 256-bit sets ---- */

static void bit_set(uint64_t *set, unsigned n)
{
    set[n >> 6] |= 1ull << (n & 63);
}

static void bit_clear(uint64_t *set, unsigned n)
{
    set[n >> 6] &= ~(1ull << (n & 63));
}

static bool bit_get(const uint64_t *set, unsigned n)
{
    return set[n >> 6] >> (n & 63) & 1;
}

static int highest(const uint64_t *set)
{
    for (int i = 3; i >= 0; i--) {
        if (set[i])
            return i * 64 + 63 - __builtin_clzll(set[i]);
    }
    return -1;
}

/* ---- acceptance ---- */

void viv_apic_accept(struct viv_apic *a, uint8_t vector, bool level)
{
    uint64_t bit = 1ull << (vector & 63);

    if (vector < 16) {
        __atomic_fetch_or(&a->esr_pending, VIV_ESR_RECV_ILLEGAL, __ATOMIC_SEQ_CST);
        return;
    }
    if (level)
        __atomic_fetch_or(&a->incoming_level[vector >> 6], bit, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(&a->incoming_level[vector >> 6], ~bit, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&a->incoming[vector >> 6], bit, __ATOMIC_SEQ_CST);
    viv_vcpu_request(a->vcpu, VIV_REQ_INTR);
}

/* Moves what others sent into IRR and TMR. Owner (or stopped). */
void viv_apic_merge(struct viv_apic *a)
{
    for (int i = 0; i < 4; i++) {
        uint64_t in;

        if (!__atomic_load_n(&a->incoming[i], __ATOMIC_RELAXED))
            continue;
        in = __atomic_exchange_n(&a->incoming[i], 0, __ATOMIC_SEQ_CST);
        a->irr[i] |= in;
        a->tmr[i] = (a->tmr[i] & ~in) |
                    (__atomic_load_n(&a->incoming_level[i], __ATOMIC_SEQ_CST) & in);
    }
}

static unsigned ppr(const struct viv_apic *a)
{
    int isr = highest(a->isr);
    unsigned in_service = isr < 0 ? 0 : (unsigned)isr & 0xf0;

    return (a->tpr & 0xf0) >= in_service ? a->tpr : in_service;
}

/* LINT0 passes the 8259's INTR on: programmed as ExtINT, or the APIC is off altogether (the boot CPU's pin then is
 * a plain INTR pin, SDM 3A 10.4.3). */
static bool extint_ready(const struct viv_apic *a)
{
    if (!viv_apic_extint_level())
        return false;
    if (!(a->base & VIV_APIC_BASE_ENABLE))
        return a->vcpu->index == 0;
    return viv_apic_sw_enabled(a) && !(a->lvt[VIV_LVT_LINT0] & VIV_LVT_MASKED) &&
           VIV_DELIVERY(a->lvt[VIV_LVT_LINT0]) == VIV_DM_EXTINT;
}

static int deliverable(struct viv_apic *a)
{
    int v;

    viv_apic_merge(a);
    if (!viv_apic_sw_enabled(a))
        return -1;
    v = highest(a->irr);
    return v >= 0 && ((unsigned)v & 0xf0) > (ppr(a) & 0xf0) ? v : -1;
}

bool viv_apic_pending(struct viv_apic *a)
{
    return deliverable(a) >= 0 || extint_ready(a);
}

static int take_extint(struct viv_apic *a)
{
    int v = -1;

    if (!a->intc->ack_extint)
        return -1;
    viv_dev_lock();
    /* Asked again under the lock: the line may have dropped. */
    if (viv_apic_extint_level())
        v = a->intc->ack_extint(a->intc->ack_opaque);
    viv_dev_unlock();
    return v;
}

int viv_apic_take(struct viv_apic *a)
{
    int v;

    if (extint_ready(a) && (v = take_extint(a)) >= 0)
        return v;
    v = deliverable(a);
    if (v < 0)
        return -1;
    bit_clear(a->irr, (unsigned)v);
    bit_set(a->isr, (unsigned)v);
    return v;
}

/* More may be deliverable now: TPR fell, an interrupt ended, the APIC was enabled. */
static void reconsider(struct viv_apic *a)
{
    viv_vcpu_request(a->vcpu, VIV_REQ_INTR);
}

static void eoi(struct viv_apic *a)
{
    int v = highest(a->isr);

    if (v < 0)
        return;
    bit_clear(a->isr, (unsigned)v);
    if (bit_get(a->tmr, (unsigned)v) && a->intc->eoi) {
        viv_dev_lock();
        a->intc->eoi(a->intc->eoi_opaque, (uint8_t)v);
        viv_dev_unlock();
    }
    reconsider(a);
}

/* ---- errors ---- */

void viv_apic_error(struct viv_apic *a, uint32_t bits)
{
    uint32_t lvt = a->lvt[VIV_LVT_ERROR];

    __atomic_fetch_or(&a->esr_pending, bits, __ATOMIC_SEQ_CST);
    if (!(lvt & VIV_LVT_MASKED))
        viv_apic_accept(a, (uint8_t)lvt, false);
}

/* A write latches what happened since the last one. */
static void write_esr(struct viv_apic *a)
{
    a->esr = __atomic_exchange_n(&a->esr_pending, 0, __ATOMIC_SEQ_CST);
}

/* ---- registers ---- */

static bool x2(const struct viv_apic *a)
{
    return a->base & VIV_APIC_BASE_X2;
}

static uint32_t x2_ldr(uint32_t id)
{
    return (id >> 4) << 16 | 1u << (id & 15);
}

static uint32_t set_word(const uint64_t *set, unsigned n)
{
    return (uint32_t)(set[n >> 1] >> (n & 1) * 32);
}

/* Which LVT a register number is, -1: none. */
static int lvt_index(unsigned reg)
{
    return reg >= VIV_REG_LVT_TIMER && reg <= VIV_REG_LVT_ERROR ? (int)(reg - VIV_REG_LVT_TIMER) : -1;
}

/* False: no such register. */
static bool read_reg(struct viv_apic *a, unsigned reg, uint32_t *v)
{
    viv_apic_merge(a);
    if (lvt_index(reg) >= 0) {
        *v = a->lvt[lvt_index(reg)];
        return true;
    }
    switch (reg) {
    case VIV_REG_ID: *v = x2(a) ? a->x2id : a->id << 24; return true;
    case VIV_REG_VERSION: *v = VIV_APIC_VERSION; return true;
    case VIV_REG_TPR: *v = a->tpr; return true;
    case VIV_REG_APR: *v = 0; return !x2(a);
    case VIV_REG_PPR: *v = ppr(a); return true;
    case VIV_REG_RRD: *v = 0; return !x2(a);
    case VIV_REG_LDR: *v = x2(a) ? x2_ldr(a->x2id) : a->ldr; return true;
    case VIV_REG_DFR: *v = a->dfr; return !x2(a);
    case VIV_REG_SVR: *v = a->svr; return true;
    case VIV_REG_ISR ... VIV_REG_ISR + 7: *v = set_word(a->isr, reg - VIV_REG_ISR); return true;
    case VIV_REG_TMR ... VIV_REG_TMR + 7: *v = set_word(a->tmr, reg - VIV_REG_TMR); return true;
    case VIV_REG_IRR ... VIV_REG_IRR + 7: *v = set_word(a->irr, reg - VIV_REG_IRR); return true;
    case VIV_REG_ESR: *v = a->esr; return true;
    case VIV_REG_ICR: *v = a->icr_low; return true;
    case VIV_REG_ICR2: *v = a->icr_high; return !x2(a);
    case VIV_REG_TIMER_INITIAL: *v = a->timer_initial; return true;
    case VIV_REG_TIMER_CURRENT: *v = viv_apic_timer_current(a); return true;
    case VIV_REG_TIMER_DIVIDE: *v = a->timer_divide; return true;
    default: return false;
    }
}

static void write_svr(struct viv_apic *a, uint32_t v)
{
    __atomic_store_n(&a->svr, v & 0x1ff, __ATOMIC_SEQ_CST);
    if (!(v & VIV_SVR_ENABLE)) {
        for (unsigned i = 0; i < VIV_LVT_COUNT; i++)
            a->lvt[i] |= VIV_LVT_MASKED;
        viv_apic_timer_update(a);
    }
    reconsider(a);
}

static void write_lvt(struct viv_apic *a, unsigned i, uint32_t v)
{
    static const uint32_t mask[VIV_LVT_COUNT] = {
        [VIV_LVT_TIMER] = 0x600ff | VIV_LVT_MASKED,
        [VIV_LVT_THERMAL] = 0x7ff | VIV_LVT_MASKED,
        [VIV_LVT_PERF] = 0x7ff | VIV_LVT_MASKED,
        [VIV_LVT_LINT0] = 0xa7ff | VIV_LVT_MASKED,
        [VIV_LVT_LINT1] = 0xa7ff | VIV_LVT_MASKED,
        [VIV_LVT_ERROR] = 0xff | VIV_LVT_MASKED,
    };

    v &= mask[i];
    if (!viv_apic_sw_enabled(a))
        v |= VIV_LVT_MASKED;
    if (i == VIV_LVT_TIMER)
        viv_apic_timer_set_lvt(a, v);
    else
        a->lvt[i] = v;
    if (i == VIV_LVT_LINT0)
        reconsider(a);
}

/* False: no such register, or read-only. Reserved bits have been checked (x2APIC) or are dropped. */
static bool write_reg(struct viv_apic *a, unsigned reg, uint32_t v)
{
    if (lvt_index(reg) >= 0) {
        write_lvt(a, (unsigned)lvt_index(reg), v);
        return true;
    }
    switch (reg) {
    case VIV_REG_ID:
        __atomic_store_n(&a->id, v >> 24, __ATOMIC_SEQ_CST);
        return true;
    case VIV_REG_TPR:
        a->tpr = v & 0xff;
        reconsider(a);
        return true;
    case VIV_REG_EOI:
        eoi(a);
        return true;
    case VIV_REG_LDR:
        __atomic_store_n(&a->ldr, v & 0xff000000, __ATOMIC_SEQ_CST);
        return true;
    case VIV_REG_DFR:
        __atomic_store_n(&a->dfr, v | 0x0fffffff, __ATOMIC_SEQ_CST);
        return true;
    case VIV_REG_SVR:
        write_svr(a, v);
        return true;
    case VIV_REG_ESR:
        write_esr(a);
        return true;
    case VIV_REG_ICR:
        a->icr_low = v & VIV_ICR_WRITABLE;
        viv_apic_send_ipi(a, a->icr_low, x2(a) ? a->icr_high : a->icr_high >> 24);
        return true;
    case VIV_REG_ICR2:
        a->icr_high = v & 0xff000000;
        return true;
    case VIV_REG_TIMER_INITIAL:
        viv_apic_timer_start(a, v);
        return true;
    case VIV_REG_TIMER_DIVIDE:
        viv_apic_timer_set_divide(a, v & 0xb);
        return true;
    case VIV_REG_SELF_IPI:
        if (!x2(a))
            return false;
        viv_apic_accept(a, (uint8_t)v, false);
        return true;
    default:
        return false;
    }
}

/* ---- xAPIC page ---- */

bool viv_apic_maps(const struct viv_apic *a, uint64_t gpa)
{
    return (a->base & (VIV_APIC_BASE_ENABLE | VIV_APIC_BASE_X2)) == VIV_APIC_BASE_ENABLE &&
           (gpa & ~0xfffull) == (a->base & ~0xfffull);
}

uint64_t viv_apic_mmio_read(struct viv_apic *a, unsigned off, unsigned size)
{
    uint32_t v = 0;

    /* Registers are 32 bits wide on 16-byte boundaries; the rest reads as 0. */
    if ((off & 15) >= 4)
        return 0;
    if (!read_reg(a, off >> 4, &v)) {
        viv_apic_error(a, VIV_ESR_ILLEGAL_REG);
        return 0;
    }
    v >>= (off & 3) * 8;
    return size >= 4 ? v : v & ((1u << size * 8) - 1);
}

void viv_apic_mmio_write(struct viv_apic *a, unsigned off, uint64_t v, unsigned size)
{
    if (off & 15 || size < 4) {
        viv_guest_error("apic", "write of %u bytes at %#x ignored", size, off);
        return;
    }
    if (!write_reg(a, off >> 4, (uint32_t)v))
        viv_apic_error(a, VIV_ESR_ILLEGAL_REG);
}

/* ---- x2APIC MSRs (SDM 3A 10.12.1) ---- */

bool viv_apic_msr_read(struct viv_apic *a, uint32_t msr, uint64_t *v)
{
    unsigned reg = msr - 0x800;
    uint32_t low;

    if (!x2(a) || reg == VIV_REG_EOI || reg == VIV_REG_SELF_IPI || !read_reg(a, reg, &low))
        return false;
    *v = low;
    if (reg == VIV_REG_ICR)
        *v |= (uint64_t)a->icr_high << 32;
    return true;
}

/* Bits that must be 0. */
static uint64_t x2_reserved(unsigned reg)
{
    switch (reg) {
    case VIV_REG_TPR: return ~0xffull;
    case VIV_REG_EOI: case VIV_REG_ESR: return ~0ull;
    case VIV_REG_SVR: return ~0x11ffull;
    case VIV_REG_ICR: return ~(0xffffffff00000000ull | VIV_ICR_WRITABLE);
    case VIV_REG_LVT_TIMER: return ~0x710ffull;
    case VIV_REG_LVT_THERMAL: case VIV_REG_LVT_PERF: return ~0x117ffull;
    case VIV_REG_LVT_LINT0: case VIV_REG_LVT_LINT1: return ~0x1f7ffull;
    case VIV_REG_LVT_ERROR: return ~0x110ffull;
    case VIV_REG_TIMER_INITIAL: return ~0xffffffffull;
    case VIV_REG_TIMER_DIVIDE: return ~0xbull;
    case VIV_REG_SELF_IPI: return ~0xffull;
    default: return 0;
    }
}

/* Those that only the page has, or has as writable. */
static bool x2_writable(unsigned reg)
{
    return reg != VIV_REG_ID && reg != VIV_REG_LDR && reg != VIV_REG_DFR && reg != VIV_REG_ICR2;
}

bool viv_apic_msr_write(struct viv_apic *a, uint32_t msr, uint64_t v)
{
    unsigned reg = msr - 0x800;

    if (!x2(a) || !x2_writable(reg) || (v & x2_reserved(reg)))
        return false;
    if (reg == VIV_REG_ICR)
        a->icr_high = (uint32_t)(v >> 32);
    return write_reg(a, reg, (uint32_t)v);
}

/* ---- IA32_APIC_BASE (SDM 3A 10.4.4, 10.12.5) ---- */

bool viv_apic_set_base(struct viv_apic *a, uint64_t v)
{
    const uint64_t modes = VIV_APIC_BASE_ENABLE | VIV_APIC_BASE_X2;
    uint64_t reserved = 0x2ff | ~((1ull << a->vcpu->x86->cpuid->phys_bits) - 1);
    uint64_t from = a->base & modes, to = v & modes;

    if (v & reserved)
        return false;
    if ((v & VIV_APIC_BASE_X2) && !viv_cpuid_has(a->vcpu->x86->cpuid, VIV_FT_X2APIC))
        return false;
    /* x2APIC without enable does not exist; out of x2APIC only through disabled; into it only from enabled. */
    if (to == VIV_APIC_BASE_X2 || (from == modes && to == VIV_APIC_BASE_ENABLE) || (!from && to == modes))
        return false;
    /* The BSP flag is read-only here, as on current processors. */
    v = (v & ~(uint64_t)VIV_APIC_BASE_BSP) | (a->base & VIV_APIC_BASE_BSP);
    __atomic_store_n(&a->base, v, __ATOMIC_SEQ_CST);
    if (from && !to) { /* as after power-up (10.4.7.1) */
        viv_apic_clear(a);
        __atomic_store_n(&a->id, a->vcpu->apic_id & 0xff, __ATOMIC_SEQ_CST);
    }
    if (to == modes && from != modes)
        __atomic_store_n(&a->x2id, a->vcpu->apic_id, __ATOMIC_SEQ_CST);
    reconsider(a);
    return true;
}

uint64_t viv_apic_get_base(const struct viv_apic *a)
{
    return a->base;
}

uint64_t viv_apic_get_tpr(const struct viv_apic *a)
{
    return a->tpr >> 4;
}

void viv_apic_set_tpr(struct viv_apic *a, uint64_t cr8)
{
    a->tpr = (uint32_t)(cr8 & 15) << 4;
    reconsider(a);
}

/* ---- life ---- */

/* Registers as after reset, without touching base and the xAPIC id. */
void viv_apic_clear(struct viv_apic *a)
{
    for (unsigned i = 0; i < VIV_LVT_COUNT; i++)
        a->lvt[i] = VIV_LVT_MASKED;
    for (unsigned i = 0; i < 4; i++) {
        a->isr[i] = a->irr[i] = a->tmr[i] = 0;
        __atomic_store_n(&a->incoming[i], 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&a->incoming_level[i], 0, __ATOMIC_SEQ_CST);
    }
    a->tpr = a->esr = 0;
    __atomic_store_n(&a->esr_pending, 0, __ATOMIC_SEQ_CST);
    a->icr_low = a->icr_high = 0;
    __atomic_store_n(&a->ldr, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&a->dfr, 0xffffffff, __ATOMIC_SEQ_CST);
    __atomic_store_n(&a->svr, 0xff, __ATOMIC_SEQ_CST);
    viv_apic_timer_reset(a);
}

static void power_on(struct viv_apic *a)
{
    bool bsp = a->vcpu->index == 0;

    a->base = VIV_APIC_DEFAULT_BASE | VIV_APIC_BASE_ENABLE | (bsp ? VIV_APIC_BASE_BSP : 0);
    a->id = a->vcpu->apic_id & 0xff;
    a->x2id = a->vcpu->apic_id;
    viv_apic_clear(a);
    if (bsp) {
        a->svr = VIV_SVR_ENABLE | 0xff;
        a->lvt[VIV_LVT_LINT0] = VIV_DM_EXTINT << 8;
        a->lvt[VIV_LVT_LINT1] = VIV_DM_NMI << 8;
    }
}

void viv_apic_reset(struct viv_apic *a, bool init)
{
    if (init)
        viv_apic_clear(a); /* base and id survive INIT */
    else
        power_on(a);
}

struct viv_apic *viv_apic_new(struct viv_vcpu *v, struct viv_intc *intc)
{
    struct viv_apic *a = g_try_new0(struct viv_apic, 1);

    if (!a)
        return NULL;
    a->vcpu = v;
    a->intc = intc;
    pthread_mutex_init(&a->timer_lock, NULL);
    a->timer = viv_timer_new(VIV_CLOCK_GUEST, viv_apic_timer_fired, a);
    power_on(a);
    return a;
}

void viv_apic_free(struct viv_apic *a)
{
    if (!a)
        return;
    viv_timer_free(a->timer);
    pthread_mutex_destroy(&a->timer_lock);
    g_free(a);
}

/* ---- saved state ---- */

static void pre_save(void *obj)
{
    viv_apic_merge(obj);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_apic *a = obj;

    /* Writable bits only: a stream is no way round the register rules. */
    a->svr &= 0x1ff;
    a->tpr &= 0xff;
    a->timer_divide &= 0xb;
    for (unsigned i = 0; i < 4; i++)
        a->incoming[i] = a->incoming_level[i] = 0;
    /* Set by the guest's clock, which is below INT64_MAX / 2 (INT64_MAX: ran out): sums with it must not overflow. */
    if (a->timer_start_ns != INT64_MAX &&
        (a->timer_start_ns > INT64_MAX / 2 || a->timer_start_ns < -INT64_MAX / 4))
        return viv_fail(err, EINVAL, "local APIC timer started at an impossible time");
    return 0;
}

static const struct viv_field fields[] = {
    VIV_F_CONFIG(viv_apic, vcpu),
    VIV_F_CONFIG(viv_apic, intc),
    VIV_F_INT(viv_apic, base),
    VIV_F_INT(viv_apic, id),
    VIV_F_INT(viv_apic, x2id),
    VIV_F_INT(viv_apic, ldr),
    VIV_F_INT(viv_apic, dfr),
    VIV_F_INT(viv_apic, svr),
    VIV_F_INT(viv_apic, tpr),
    VIV_F_INT(viv_apic, esr),
    VIV_F_INT(viv_apic, esr_pending),
    VIV_F_INTS(viv_apic, lvt),
    VIV_F_INT(viv_apic, icr_low),
    VIV_F_INT(viv_apic, icr_high),
    VIV_F_INTS(viv_apic, isr),
    VIV_F_INTS(viv_apic, irr),
    VIV_F_INTS(viv_apic, tmr),
    VIV_F_DERIVED(viv_apic, incoming, "merged into irr before saving"),
    VIV_F_DERIVED(viv_apic, incoming_level, "merged into tmr before saving"),
    VIV_F_CONFIG(viv_apic, timer_lock),
    VIV_F_INT(viv_apic, timer_initial),
    VIV_F_INT(viv_apic, timer_divide),
    VIV_F_INT(viv_apic, timer_start_ns),
    VIV_F_INT(viv_apic, deadline),
    VIV_F_TIMER(viv_apic, timer),
    VIV_F_END,
};

const struct viv_state_table viv_apic_state = {
    .name = "apic",
    .ctype = "viv_apic",
    .version = 1,
    .min_version = 1,
    .fields = fields,
    .pre_save = pre_save,
    .post_load = post_load,
};
