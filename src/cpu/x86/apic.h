/* The local APIC (SDM 3A chapter 10), one per vCPU: xAPIC page, x2APIC MSRs, timer, IPIs.
 *
 * Registers belong to the vCPU's thread. Other threads reach it only through the pending-vector words (atomic),
 * the LINT0 level and VIV_REQ_* bits; the destination of a message is decided from ids that the owner publishes
 * atomically. Nothing here takes the device lock except the timer's creation and an EOI broadcast. */
#ifndef VIV_CPU_X86_APIC_H
#define VIV_CPU_X86_APIC_H

#include "base/err.h"
#include "bus/intc.h"
#include "cpu/vcpu.h"
#include "state/state.h"

/* What the timer counts at, in Hz of guest time, before its divider. CPUID 15H's crystal is this. */
#define VIV_APIC_HZ 1000000000ull

#define VIV_APIC_DEFAULT_BASE 0xfee00000ull
#define VIV_APIC_BASE_BSP     (1u << 8)
#define VIV_APIC_BASE_X2      (1u << 10)
#define VIV_APIC_BASE_ENABLE  (1u << 11)

struct viv_apic;

/* Device lock held. `intc` (ack_extint, eoi) is borrowed for life. NULL: no memory. */
struct viv_apic *viv_apic_new(struct viv_vcpu *v, struct viv_intc *intc);
void viv_apic_free(struct viv_apic *a);
/* Power-on or INIT. vCPU stopped, or its own thread. */
void viv_apic_reset(struct viv_apic *a, bool init);
extern const struct viv_state_table viv_apic_state;

/* Owner thread: does the xAPIC page cover this address? Register access there. */
bool viv_apic_maps(const struct viv_apic *a, uint64_t gpa);
uint64_t viv_apic_mmio_read(struct viv_apic *a, unsigned off, unsigned size);
void viv_apic_mmio_write(struct viv_apic *a, unsigned off, uint64_t v, unsigned size);
/* x2APIC MSRs 800H-8FFH. False: #GP. */
bool viv_apic_msr_read(struct viv_apic *a, uint32_t msr, uint64_t *v);
bool viv_apic_msr_write(struct viv_apic *a, uint32_t msr, uint64_t v);
/* IA32_APIC_BASE. False: #GP (reserved bits, forbidden transition). */
bool viv_apic_set_base(struct viv_apic *a, uint64_t v);
uint64_t viv_apic_get_base(const struct viv_apic *a);
uint64_t viv_apic_get_tpr(const struct viv_apic *a); /* CR8: 0-15 */
void viv_apic_set_tpr(struct viv_apic *a, uint64_t cr8);
/* TSC deadline MSR; 0 when the timer is in another mode. */
uint64_t viv_apic_get_deadline(const struct viv_apic *a);
void viv_apic_set_deadline(struct viv_apic *a, uint64_t tsc);
/* One interrupt (delivery mode and vector as in ICR) for the APICs whose ids are first + each bit of the set; returns how
 * many took it. Any thread. */
unsigned viv_apic_send_bitmap(const uint64_t set[2], uint32_t first, uint32_t icr);
/* Owner thread: its TSC was written, which a deadline is compared with. */
void viv_apic_tsc_moved(struct viv_apic *a);

/* Owner thread: could viv_apic_take() give a vector? */
bool viv_apic_pending(struct viv_apic *a);
/* Acknowledges: IRR to ISR, or the 8259's INTA cycle (takes the device lock). -1: nothing after all. */
int viv_apic_take(struct viv_apic *a);

/* Any thread: an interrupt message (MSI address and data) to whoever it names. */
void viv_apic_send_msi(uint64_t addr, uint32_t data);
/* Any thread: level of the 8259's INTR line, wired to LINT0 of all local APICs. */
void viv_apic_set_extint(int level);

#endif
