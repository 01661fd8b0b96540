/* The first-level TLB of translated code: a large direct-mapped copy of what the banks of mmu.c allow, at a fixed
 * place from the struct (layout.h). Whatever leaves a bank leaves here too; over-flushing is allowed.
 *
 * A slot holds minus the linear page address, so that adding an address that hits gives less than 4096. Empty is 0:
 * page 0 belongs to slot 0 alone, so 0 hits nowhere but there, and there and in slot 0xffff (an access that wraps
 * around) it is EMPTY instead. */
#ifndef VIV_CPU_X86_XLATE_L1_H
#define VIV_CPU_X86_XLATE_L1_H

#include "cpu/x86/state.h"
#include "cpu/x86/tlb.h"

enum { VIV_L1_SUPER, VIV_L1_USER, VIV_L1_SETS };

void viv_l1_init(struct viv_x86 *c);
/* Remembers an entry of a bank, or uses slot XL_L1_SLOTS for a host address that no bank may hold, with a page's flags. Returns
 * the slot. */
uint64_t viv_l1_fill(struct viv_x86 *c, unsigned set, uint64_t lin, const struct viv_tlb_entry *e);
uint64_t viv_l1_once(struct viv_x86 *c, unsigned set, uint64_t lin, void *hva, uint8_t *flags);
/* A page with flags (mem/ram.h) is never filled in as writable: stores to it go through C each time, which soon takes the flags
 * away. That holds for flags that this vCPU sets, too: the page is looked for and made unwritable. Flags that others set later
 * are found by the look after the store. */
void viv_l1_protect(struct viv_x86 *c, const void *hva);

/* For mmu.c; nothing without a translator. */
void viv_l1_flush(struct viv_x86 *c, unsigned set);
void viv_l1_flush_all(struct viv_x86 *c);
void viv_l1_drop(struct viv_x86 *c, uint64_t lin); /* one 4 KiB page */
void viv_l1_drop_region(struct viv_x86 *c, uint64_t lin, unsigned shift); /* of up to 256 MiB, aligned */

#endif
