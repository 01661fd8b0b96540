/* Guest memory as an instruction sees it: segmentation, paging, the software TLB.
 *
 * All accessors raise #PF/#GP/#SS/#AC through viv_x86_raise() (no return) and are precise: a store that
 * crosses a page checks both pages before it writes either. vCPU thread only, device lock not held. */
#ifndef VIV_CPU_X86_MMU_H
#define VIV_CPU_X86_MMU_H

#include "cpu/x86/state.h"

#include <stdint.h>

enum viv_access { VIV_ACC_READ, VIV_ACC_WRITE, VIV_ACC_EXEC, VIV_ACC_RMW /* read, fault as a write */ };

/* Effective address to linear: base added, limit and type checked (not in long mode except FS/GS base),
 * canonical check in long mode (#GP, #SS for the stack segment). `size` bytes are checked. */
uint64_t viv_x86_linear(struct viv_x86 *c, unsigned seg, uint64_t ea, unsigned size,
                        enum viv_access acc);

/* Linear-address accessors with the current privilege (CPL, SMAP rules). */
uint8_t viv_ld8(struct viv_x86 *c, uint64_t lin);
uint16_t viv_ld16(struct viv_x86 *c, uint64_t lin);
uint32_t viv_ld32(struct viv_x86 *c, uint64_t lin);
uint64_t viv_ld64(struct viv_x86 *c, uint64_t lin);
void viv_st8(struct viv_x86 *c, uint64_t lin, uint8_t v);
void viv_st16(struct viv_x86 *c, uint64_t lin, uint16_t v);
void viv_st32(struct viv_x86 *c, uint64_t lin, uint32_t v);
void viv_st64(struct viv_x86 *c, uint64_t lin, uint64_t v);
/* Any length up to 4096 (vector operands, FXSAVE images): all-or-nothing with respect to faults. */
void viv_ld_bytes(struct viv_x86 *c, uint64_t lin, void *buf, unsigned len);
void viv_st_bytes(struct viv_x86 *c, uint64_t lin, const void *buf, unsigned len);
/* Faults now as the access would, changes nothing but accessed/dirty bits. */
void viv_probe(struct viv_x86 *c, uint64_t lin, unsigned len, enum viv_access acc);

/* Instruction fetch from anything, bytewise where it is not RAM or ROM; faults as a fetch. The caller has checked
 * the CS limit. `len` up to 15, may cross a page. viv_mmu_host(VIV_ACC_EXEC) is its fast sibling and takes ROM
 * too. */
void viv_fetch_bytes(struct viv_x86 *c, uint64_t lin, uint8_t *buf, unsigned len);

/* As supervisor whatever CPL is (descriptor tables, TSS, interrupt frames). */
uint64_t viv_ld_sys(struct viv_x86 *c, uint64_t lin, unsigned size);
void viv_st_sys(struct viv_x86 *c, uint64_t lin, uint64_t v, unsigned size);

/* For LOCKed read-modify-write and for copies: host address of [lin, lin+len) when that is plain RAM within one
 * page and writable now, else NULL (MMIO, page-crossing: the caller goes the slow way). After a store
 * through it call viv_mmu_stored(). */
void *viv_mmu_host(struct viv_x86 *c, uint64_t lin, unsigned len, enum viv_access acc);
void viv_mmu_stored(struct viv_x86 *c, void *hva, unsigned len);

/* Linear to physical without side effects, for debuggers and `info`: false when not mapped. */
bool viv_mmu_translate_debug(struct viv_x86 *c, uint64_t lin, uint64_t *gpa);

/* `lin` was just answered by viv_mmu_host(VIV_ACC_EXEC): does c->code_space_global cover it? (code_space.h) */
bool viv_mmu_exec_global(struct viv_x86 *c, uint64_t lin);

void viv_tlb_flush_all(struct viv_x86 *c);                /* with global pages */
void viv_tlb_flush_page(struct viv_x86 *c, uint64_t lin); /* INVLPG */

#endif
