/* Shared by the vector handlers: may it run now, operands in memory, registers. */
#ifndef VIV_CPU_X86_INTERP_SIMD_H
#define VIV_CPU_X86_INTERP_SIMD_H

#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#include <string.h>

#define VIV_XCR0_X87  (1u << 0)
#define VIV_XCR0_SSE  (1u << 1)
#define VIV_XCR0_AVX  (1u << 2)
#define VIV_XCR0_OPMASK    (1u << 5)
#define VIV_XCR0_ZMM_HI256 (1u << 6) /* bits 256 and up of ZMM0-15 */
#define VIV_XCR0_HI16_ZMM  (1u << 7) /* ZMM16-31 */
#define VIV_XCR0_AVX512    0xe6u     /* all that AVX-512 needs */
#define VIV_XCR0_PKRU (1u << 9)

/* #UD or #NM as the state says (SDM 2A table 2-15 and following; 3A 13.1). */
_Noreturn void viv_simd_refuse_sse(struct viv_x86 *c);
_Noreturn void viv_simd_refuse_avx(struct viv_x86 *c);
_Noreturn void viv_simd_refuse_avx512(struct viv_x86 *c);
/* Before an MMX (CR0.EM: #UD) or a waiting x87 instruction (CR0.EM: #NM): #NM, then #MF when one is pending. */
void viv_x87_check(struct viv_x86 *c, bool mmx);
/* The status or control word was replaced: FERR# and IGNNE# end with a pending exception. */
void viv_x87_settled(struct viv_x86 *c);

static inline void need_sse(struct viv_x86 *c)
{
    if (UNLIKELY((c->cr0 & (VIV_CR0_EM | VIV_CR0_TS)) || !(c->cr4 & VIV_CR4_OSFXSR)))
        viv_simd_refuse_sse(c);
}

static inline void need_avx(struct viv_x86 *c)
{
    if (UNLIKELY((c->cr0 & VIV_CR0_TS) || !(c->cr4 & VIV_CR4_OSXSAVE) || (~c->xcr0 & 6)))
        viv_simd_refuse_avx(c);
}

static inline void need_avx512(struct viv_x86 *c)
{
    if (UNLIKELY((c->cr0 & VIV_CR0_TS) || !(c->cr4 & VIV_CR4_OSXSAVE) || (~c->xcr0 & VIV_XCR0_AVX512)))
        viv_simd_refuse_avx512(c);
}

static inline void need_vec(struct viv_x86 *c, const struct viv_insn *i)
{
    if (UNLIKELY(i->vex == 4))
        need_avx512(c);
    else if (i->vex)
        need_avx(c);
    else
        need_sse(c);
}

/* Memory operand of any size up to a page. `align`: #GP(0) when not a multiple of `size`. */
void viv_simd_load_slow(struct viv_x86 *c, const struct viv_insn *i, void *buf, unsigned size,
                        bool align);
void viv_simd_store_slow(struct viv_x86 *c, const struct viv_insn *i, const void *buf,
                         unsigned size, bool align);

/* Without alignment check: some instructions have none. */
void viv_simd_load_unchecked(struct viv_x86 *c, const struct viv_insn *i, void *buf, unsigned size);
void viv_simd_store_element(struct viv_x86 *c, unsigned seg, u64 ea, const uint8_t *v, unsigned size);
u64 viv_simd_element(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size);

static inline void vec_load(struct viv_x86 *c, const struct viv_insn *i, void *buf, unsigned size,
                            bool align)
{
    u64 lin = c->fast_base[i->seg] + ea_of(c, i);
    const void *p = viv_tlb_read(c, lin, size);

    if (LIKELY(p && !(lin & (size - 1))))
        memcpy(buf, p, size);
    else
        viv_simd_load_slow(c, i, buf, size, align);
}

static inline void vec_store(struct viv_x86 *c, const struct viv_insn *i, const void *buf,
                             unsigned size, bool align)
{
    u64 lin = c->fast_base[i->seg] + ea_of(c, i);
    const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);

    if (UNLIKELY(((lin + size - 1) & VIV_PAGE_MASK) != e->tag_write || (lin & (size - 1)))) {
        viv_simd_store_slow(c, i, buf, size, align);
        return;
    }
    memcpy((void *)(lin + e->addend), buf, size);
    if (UNLIKELY(*(volatile u8 *)e->flags))
        viv_mmu_stored(c, (void *)(lin + e->addend), size);
}

/* #AC for operands with alignment rules of their own (SDM 3A table 6-7). */
static inline void align_check(struct viv_x86 *c, u64 lin, unsigned align)
{
    if (UNLIKELY(c->cpl == 3 && (c->cr0 & VIV_CR0_AM) && (c->eflags & VIV_FL_AC) && (lin & (align - 1))))
        viv_x86_raise_error(c, VIV_AC, 0);
}

/* Writes the low n bytes of a vector register (n = 16, 32 or 64). A VEX encoding zeroes the rest, a legacy one keeps
 * it. */
static inline void set_vec(struct viv_x86 *c, const struct viv_insn *i, unsigned r, const void *v,
                           unsigned n)
{
    memcpy(c->fpu.zmm[r], v, n);
    if (i->vex)
        memset(c->fpu.zmm[r] + n, 0, 64 - n);
}

/* The x87 stack becomes the MMX register file: TOP 0, all tags valid (SDM 3A 12.2). */
void viv_mmx_enter(struct viv_x86 *c);

static inline u64 mm_get(const struct viv_x86 *c, unsigned r)
{
    u64 v;

    /* before viv_mmx_enter: MMn is physical register n, ST(n - TOP) */
    memcpy(&v, c->fpu.st[(r - (c->fpu.fsw >> 11)) & 7], 8);
    return v;
}

/* After viv_mmx_enter. */
static inline void mm_set(struct viv_x86 *c, unsigned r, u64 v)
{
    memcpy(c->fpu.st[r & 7], &v, 8);
    c->fpu.st[r & 7][8] = c->fpu.st[r & 7][9] = 0xff;
}

/* #XM, or #UD when the guest has not set CR4.OSXMMEXCPT. */
_Noreturn void viv_simd_raise_xm(struct viv_x86 *c, uint32_t mxcsr);
/* Bits that may be set in MXCSR. */
uint32_t viv_mxcsr_mask(void);

#endif
