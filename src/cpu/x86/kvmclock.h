/* The paravirtual clock: KVM's MSRs 11H, 12H, 4B564D00H, 4B564D01H (Linux virt/kvm/x86/msr.rst). vCPU thread. */
#ifndef VIV_CPU_X86_KVMCLOCK_H
#define VIV_CPU_X86_KVMCLOCK_H

#include "cpu/x86/state.h"

bool viv_kvm_msr_read(struct viv_x86 *c, uint32_t index, uint64_t *v);
bool viv_kvm_msr_write(struct viv_x86 *c, uint32_t index, uint64_t v);
/* This CPU's TSC was moved: its page is written again. */
void viv_kvmclock_tsc_changed(struct viv_x86 *c);
/* The moment all pages count from: two zeros before the first page. Saved with the VM, as its CPUs may write pages
 * before and after. */
void viv_kvmclock_get_base(uint64_t *tsc, uint64_t *ns);
void viv_kvmclock_set_base(uint64_t tsc, uint64_t ns); /* load: no vCPU runs */
/* ns = ((tsc << shift) * mul) >> 32, negative shift to the right, for a TSC of `hz`. */
void viv_kvmclock_scale(uint64_t hz, uint32_t *mul, int8_t *shift);

#endif
