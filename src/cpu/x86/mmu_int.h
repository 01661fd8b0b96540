/* What the rest of the CPU's system half wants of the MMU beyond mmu.h. vCPU thread. */
#ifndef VIV_CPU_X86_MMU_INT_H
#define VIV_CPU_X86_MMU_INT_H

#include "cpu/x86/mmu.h"

int viv_mmu_init(struct viv_x86 *c);
void viv_mmu_fini(struct viv_x86 *c);
/* CPL, CR0.AM or EFLAGS.AC changed: points tlb_cur at the right table. */
void viv_mmu_select(struct viv_x86 *c);
/* Sets CR3 (low 12 bits: PCID or flags). keep: CR3 bit 63 was set. */
void viv_mmu_set_cr3(struct viv_x86 *c, uint64_t cr3, bool keep);
void viv_mmu_set_pkru(struct viv_x86 *c, uint32_t pkru);
/* The physical memory map changed (VIV_REQ_TLB). */
void viv_mmu_flush_map(struct viv_x86 *c);
void viv_tlb_flush_page_of(struct viv_x86 *c, unsigned pcid, uint64_t lin); /* not if it is global */
void viv_tlb_flush_data(struct viv_x86 *c); /* not what fetches use: breakpoints, protection keys */
void viv_tlb_flush_pcid(struct viv_x86 *c, unsigned pcid);
void viv_tlb_flush_user(struct viv_x86 *c); /* all PCIDs; keeps global pages */
/* As viv_ld_sys would fault, without the load. */
void viv_mmu_probe_sys(struct viv_x86 *c, uint64_t lin, unsigned len, enum viv_access acc);

#endif
