/* What vector handlers share: may it run, operands in memory off the fast path, #XM. */
#include "cpu/x86/interp/simd.h"
#include "cpu/x86/interp/stubs.h"

void viv_simd_raise_xm(struct viv_x86 *c, uint32_t mxcsr)
{
    c->fpu.mxcsr = mxcsr;
    viv_x86_raise(c, c->cr4 & VIV_CR4_OSXMMEXCPT ? VIV_XM : VIV_UD);
}

uint32_t viv_mxcsr_mask(void)
{
    static uint32_t mask; /* the same value whoever computes it */

    if (!mask) {
        uint8_t image[512] __attribute__((aligned(16)));
        uint32_t m;

        __asm__ volatile("fxsave64 %0" : "=m"(image));
        memcpy(&m, image + 28, 4);
        mask = m ? m : 0xffbf;
    }
    return mask;
}

void viv_simd_refuse_sse(struct viv_x86 *c)
{
    if ((c->cr0 & VIV_CR0_EM) || !(c->cr4 & VIV_CR4_OSFXSR))
        viv_x86_ud(c);
    viv_x86_raise(c, VIV_NM);
}

void viv_simd_refuse_avx(struct viv_x86 *c)
{
    if (!(c->cr4 & VIV_CR4_OSXSAVE) || (~c->xcr0 & (VIV_XCR0_SSE | VIV_XCR0_AVX)))
        viv_x86_ud(c);
    viv_x86_raise(c, VIV_NM);
}

void viv_simd_refuse_avx512(struct viv_x86 *c)
{
    if (!(c->cr4 & VIV_CR4_OSXSAVE) || (~c->xcr0 & VIV_XCR0_AVX512))
        viv_x86_ud(c);
    viv_x86_raise(c, VIV_NM);
}

/* Before the address is looked at otherwise: a misaligned one that is not canonical either is #GP, never #SS. */
static void aligned(struct viv_x86 *c, const struct viv_insn *i, unsigned size)
{
    u64 base = c->mode != VIV_MODE_LONG || i->seg >= VIV_FS ? c->seg[i->seg].base : 0;

    if ((base + ea_of(c, i)) & (size - 1))
        viv_x86_gp0(c);
}

void viv_simd_load_slow(struct viv_x86 *c, const struct viv_insn *i, void *buf, unsigned size,
                        bool align)
{
    u64 lin;

    if (align)
        aligned(c, i, size);
    lin = linear_of(c, i, size, VIV_ACC_READ);
    viv_ld_bytes(c, lin, buf, size);
}

/* The accessors check operands of 2, 4 and 8 bytes; in two parts it is none of these. */
void viv_simd_load_unchecked(struct viv_x86 *c, const struct viv_insn *i, void *buf, unsigned size)
{
    u64 lin = linear_of(c, i, size, VIV_ACC_READ);

    if (c->cpl == 3 && (c->eflags & VIV_FL_AC) && size <= 8) {
        for (unsigned k = 0; k < size; k++)
            viv_ld_bytes(c, lin + k, (uint8_t *)buf + k, 1);
        return;
    }
    viv_ld_bytes(c, lin, buf, size);
}

void viv_simd_store_element(struct viv_x86 *c, unsigned seg, u64 ea, const uint8_t *v, unsigned size)
{
    u64 x = 0;

    if (LIKELY(c->cpl != 3 || !(c->eflags & VIV_FL_AC))) {
        memcpy(&x, v, size);
        mem_st_sized(c, seg, ea, size, x);
        return;
    }
    viv_probe(c, viv_x86_linear(c, seg, ea, size, VIV_ACC_WRITE), 1, VIV_ACC_WRITE);
    viv_probe(c, viv_x86_linear(c, seg, ea + size - 1, 1, VIV_ACC_WRITE), 1, VIV_ACC_WRITE);
    for (unsigned k = 0; k < size; k++)
        mem_st8(c, seg, ea + k, v[k]);
}

u64 viv_simd_element(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size)
{
    u64 v = 0;

    if (LIKELY(c->cpl != 3 || !(c->eflags & VIV_FL_AC)))
        return mem_ld_sized(c, seg, ea, size);
    for (unsigned k = 0; k < size; k++)
        v |= (u64)mem_ld8(c, seg, ea + k) << 8 * k;
    return v;
}

void viv_simd_store_slow(struct viv_x86 *c, const struct viv_insn *i, const void *buf,
                         unsigned size, bool align)
{
    u64 lin;

    if (align)
        aligned(c, i, size);
    lin = linear_of(c, i, size, VIV_ACC_WRITE);
    viv_st_bytes(c, lin, buf, size);
}
