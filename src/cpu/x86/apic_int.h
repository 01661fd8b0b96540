/* The local APIC's instance, for apic*.c. */
#ifndef VIV_CPU_X86_APIC_INT_H
#define VIV_CPU_X86_APIC_INT_H

#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "host/clock.h"

#include <pthread.h>

/* Register numbers: offset in the page / 16 = x2APIC MSR - 800H (SDM 3A table 10-1, 10-6). */
enum {
    VIV_REG_ID = 0x02, VIV_REG_VERSION = 0x03, VIV_REG_TPR = 0x08, VIV_REG_APR = 0x09, VIV_REG_PPR = 0x0a,
    VIV_REG_EOI = 0x0b, VIV_REG_RRD = 0x0c, VIV_REG_LDR = 0x0d, VIV_REG_DFR = 0x0e, VIV_REG_SVR = 0x0f,
    VIV_REG_ISR = 0x10, VIV_REG_TMR = 0x18, VIV_REG_IRR = 0x20, VIV_REG_ESR = 0x28, VIV_REG_ICR = 0x30,
    VIV_REG_ICR2 = 0x31, VIV_REG_LVT_TIMER = 0x32, VIV_REG_LVT_THERMAL, VIV_REG_LVT_PERF,
    VIV_REG_LVT_LINT0, VIV_REG_LVT_LINT1, VIV_REG_LVT_ERROR, VIV_REG_TIMER_INITIAL = 0x38,
    VIV_REG_TIMER_CURRENT = 0x39, VIV_REG_TIMER_DIVIDE = 0x3e, VIV_REG_SELF_IPI = 0x3f,
};

enum { VIV_LVT_TIMER, VIV_LVT_THERMAL, VIV_LVT_PERF, VIV_LVT_LINT0, VIV_LVT_LINT1, VIV_LVT_ERROR, VIV_LVT_COUNT };

/* Delivery modes. */
enum { VIV_DM_FIXED, VIV_DM_LOWEST, VIV_DM_SMI, VIV_DM_NMI = 4, VIV_DM_INIT, VIV_DM_SIPI, VIV_DM_EXTINT };
#define VIV_DELIVERY(v) (((v) >> 8) & 7u)

#define VIV_APIC_VERSION     (0x14u | (VIV_LVT_COUNT - 1) << 16)
#define VIV_LVT_MASKED       (1u << 16)
#define VIV_LVT_PERIODIC     (1u << 17)
#define VIV_LVT_TSC_DEADLINE (2u << 17)
#define VIV_LVT_TIMER_MODE   (3u << 17)
#define VIV_SVR_ENABLE       (1u << 8)
#define VIV_ESR_SEND_ILLEGAL (1u << 5)
#define VIV_ESR_RECV_ILLEGAL (1u << 6)
#define VIV_ESR_ILLEGAL_REG  (1u << 7)
/* Vector, delivery mode, destination mode, level, trigger, shorthand. */
#define VIV_ICR_WRITABLE 0xccfffu

struct viv_apic {
    struct viv_vcpu *vcpu;
    struct viv_intc *intc;
    /* Identity: written by the owner, read by senders; atomic. */
    uint64_t base;
    uint32_t id, x2id, ldr, dfr, svr;

    uint32_t tpr, esr;
    uint32_t esr_pending; /* atomic: since the last ESR write */
    uint32_t lvt[VIV_LVT_COUNT]; /* [TIMER] is atomic: read by the timer's callback */
    uint32_t icr_low, icr_high;
    uint64_t isr[4], irr[4], tmr[4];
    uint64_t incoming[4], incoming_level[4]; /* atomic: from other threads */

    /* Timer: the owner's and the callback's, under timer_lock where both write the host timer. */
    pthread_mutex_t timer_lock;
    uint32_t timer_initial, timer_divide;
    int64_t timer_start_ns; /* guest clock when the count began */
    uint64_t deadline;      /* guest TSC, 0: not armed */
    struct viv_timer *timer;
};

static inline bool viv_apic_sw_enabled(const struct viv_apic *a)
{
    return (__atomic_load_n(&a->base, __ATOMIC_RELAXED) & VIV_APIC_BASE_ENABLE) &&
           (__atomic_load_n(&a->svr, __ATOMIC_RELAXED) & VIV_SVR_ENABLE);
}

/* Any thread: an edge or level interrupt for this APIC. */
void viv_apic_accept(struct viv_apic *a, uint8_t vector, bool level);
void viv_apic_merge(struct viv_apic *a);
void viv_apic_clear(struct viv_apic *a);
void viv_apic_error(struct viv_apic *a, uint32_t bits);
int viv_apic_extint_level(void);
/* `dest`: 8 bits from an xAPIC, 32 from an x2APIC. Owner thread. */
void viv_apic_send_ipi(struct viv_apic *a, uint32_t icr_low, uint32_t dest);

void viv_apic_timer_fired(void *opaque);
void viv_apic_timer_reset(struct viv_apic *a);
void viv_apic_timer_start(struct viv_apic *a, uint32_t initial);
void viv_apic_timer_set_lvt(struct viv_apic *a, uint32_t lvt);
void viv_apic_timer_set_divide(struct viv_apic *a, uint32_t divide);
void viv_apic_timer_update(struct viv_apic *a);
uint32_t viv_apic_timer_current(const struct viv_apic *a);

#endif
