/* Segmentation: descriptors, selector loads, far transfers, task switches (SDM 3A chapters 3, 5, 7). vCPU
 * thread; all may end in viv_x86_raise() before anything has changed. */
#ifndef VIV_CPU_X86_SEG_H
#define VIV_CPU_X86_SEG_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/state.h"

struct viv_desc { /* as in memory; hi2 of 16-byte ones in `upper` */
    uint32_t lo, hi, upper;
};

static inline bool viv_x86_long_active(const struct viv_x86 *c) /* IA-32e mode, compatibility too */
{
    return c->msr.efer & VIV_EFER_LMA;
}

static inline bool viv_x86_protected(const struct viv_x86 *c) /* neither real nor virtual-8086 */
{
    return c->mode >= VIV_MODE_PROT16;
}

static inline unsigned viv_x86_iopl(const struct viv_x86 *c)
{
    return c->eflags >> 12 & 3;
}

static inline bool viv_x86_canonical(const struct viv_x86 *c, uint64_t a)
{
    unsigned s = c->cr4 & VIV_CR4_LA57 ? 7 : 16;

    return (uint64_t)((int64_t)(a << s) >> s) == a;
}

/* Base addresses (descriptor tables, MSRs, FS and GS) are checked against the widest the CPU supports, whatever
 * CR4.LA57 says now (Intel's 5-level paging paper, 2.2; AMD alike). */
static inline bool viv_x86_canonical_base(const struct viv_x86 *c, uint64_t a)
{
    unsigned s = 64 - c->cpuid->virt_bits;

    if (s > 16) /* no long mode */
        return !(a >> 32);
    return (uint64_t)((int64_t)(a << s) >> s) == a;
}

static inline unsigned viv_desc_type(const struct viv_desc *d) { return d->hi >> 8 & 15; }
static inline bool viv_desc_s(const struct viv_desc *d) { return d->hi >> 12 & 1; }
static inline unsigned viv_desc_dpl(const struct viv_desc *d) { return d->hi >> 13 & 3; }
static inline bool viv_desc_present(const struct viv_desc *d) { return d->hi >> 15 & 1; }
static inline bool viv_desc_code(const struct viv_desc *d) { return (d->hi >> 11 & 3) == 3; }

/* Reads the descriptor a selector names. False: null is not looked at here; out of the table's limit or no LDT. */
bool viv_seg_fetch(struct viv_x86 *c, uint16_t sel, struct viv_desc *d);
/* As viv_seg_fetch for a 16-byte system descriptor in IA-32e mode. */
bool viv_seg_fetch_system(struct viv_x86 *c, uint16_t sel, struct viv_desc *d);
/* Fills the cached form. */
void viv_seg_from_desc(struct viv_seg *s, uint16_t sel, const struct viv_desc *d);
void viv_seg_mark_accessed(struct viv_x86 *c, uint16_t sel, const struct viv_desc *d);
/* Sets the busy bit of a TSS descriptor to `busy`. */
void viv_seg_set_busy(struct viv_x86 *c, uint16_t sel, bool busy);
/* Real and virtual-8086 mode. */
void viv_seg_set_real(struct viv_x86 *c, unsigned seg, uint16_t sel);

/* MOV/POP to ES SS DS FS GS, LDS ... in every mode. */
void viv_seg_load(struct viv_x86 *c, unsigned seg, uint16_t sel);
/* Checks a stack selector for privilege `cpl`; faults with `vector` (#GP or #TS), #SS when not present. */
void viv_seg_check_ss(struct viv_x86 *c, uint16_t sel, unsigned cpl, unsigned vector,
                      struct viv_seg *out);
void viv_seg_load_ldtr(struct viv_x86 *c, uint16_t sel, unsigned vector);
void viv_seg_load_tr(struct viv_x86 *c, uint16_t sel);
/* After a return to an outer level: data segments that the new CPL may not use become null. */
void viv_seg_drop_inner(struct viv_x86 *c);

/* CS and what hangs on it. `rip` has been checked. */
void viv_seg_set_cs(struct viv_x86 *c, const struct viv_seg *cs, unsigned cpl, uint64_t rip);
/* RIP within CS's limit or canonical, else #GP(0). */
void viv_seg_check_rip(struct viv_x86 *c, const struct viv_seg *cs, uint64_t rip);

void viv_far_jump(struct viv_x86 *c, uint16_t sel, uint64_t off, unsigned osz);
void viv_far_call(struct viv_x86 *c, uint16_t sel, uint64_t off, unsigned osz);
void viv_far_return(struct viv_x86 *c, unsigned osz, uint16_t release);
void viv_iret(struct viv_x86 *c, unsigned osz);

/* SS:ESP (or RSP, ist > 0: from the IST) for privilege `cpl` from the TSS. #TS on trouble. */
void viv_tss_stack(struct viv_x86 *c, unsigned cpl, uint16_t *ss, uint64_t *sp);
uint64_t viv_tss_rsp64(struct viv_x86 *c, unsigned cpl, unsigned ist);

enum viv_task_why { VIV_TASK_JMP, VIV_TASK_CALL, VIV_TASK_IRET, VIV_TASK_GATE /* interrupt */ };
/* Switches to the task of TSS selector `sel` (checked to be a TSS of the right kind here). `return_rip` is stored
 * in the old TSS; an error code goes on the new task's stack. */
void viv_task_switch(struct viv_x86 *c, uint16_t sel, enum viv_task_why why, uint64_t return_rip,
                     bool has_error, uint32_t error);

/* A stack that is not SS:RSP yet: an inner one being filled, or the current one being read. */
struct viv_stack {
    struct viv_seg ss;
    uint64_t sp, mask;
    unsigned cpl;
    bool flat64;     /* 64-bit mode: no base, canonical check */
    uint32_t error;  /* of #SS */
};
void viv_stack_current(struct viv_x86 *c, struct viv_stack *s);
void viv_stack_push(struct viv_x86 *c, struct viv_stack *s, uint64_t v, unsigned size);
uint64_t viv_stack_pop(struct viv_x86 *c, struct viv_stack *s, unsigned size);
/* Writes SP under its mask. */
void viv_stack_commit_sp(struct viv_x86 *c, const struct viv_stack *s);

/* Recomputes mode from CR0, EFER, CS, EFLAGS.VM; sets CPL; points the TLB. */
void viv_x86_set_cpl(struct viv_x86 *c, unsigned cpl);
/* Replaces EFLAGS (all bits given) and keeps attention and TLB in step. */
void viv_x86_load_flags(struct viv_x86 *c, uint32_t flags);

static inline uint64_t viv_x86_ip_mask(unsigned osz)
{
    return osz == 8 ? ~0ull : osz == 4 ? 0xffffffffull : 0xffffull;
}

#endif
