/* MOV to control registers: what may be set when, and what follows. SDM 3A 2.5, 4.1, 4.10.4; MOV CR in vol. 2. */
#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/seg.h"
#include "cpu/x86/walk.h"

#define CR0_KNOWN                                                                                  \
    (VIV_CR0_PE | VIV_CR0_MP | VIV_CR0_EM | VIV_CR0_TS | VIV_CR0_ET | VIV_CR0_NE | VIV_CR0_WP |    \
     VIV_CR0_AM | VIV_CR0_NW | VIV_CR0_CD | VIV_CR0_PG)

static void enter_paging(struct viv_x86 *c)
{
    if (!(c->msr.efer & VIV_EFER_LME))
        return;
    if (!(c->cr4 & VIV_CR4_PAE) || (c->seg[VIV_CS].attr & VIV_SEG_L) ||
        !(VIV_AR_TYPE(c->seg[VIV_TR].attr) & 8))
        viv_x86_gp0(c);
}

static void write_cr0(struct viv_x86 *c, uint64_t v)
{
    uint64_t old = c->cr0;

    if (v >> 32 || ((v & VIV_CR0_PG) && !(v & VIV_CR0_PE)) || ((v & VIV_CR0_NW) && !(v & VIV_CR0_CD)))
        viv_x86_gp0(c);
    v = (v & CR0_KNOWN) | VIV_CR0_ET;
    if ((v & VIV_CR0_PG) && !(old & VIV_CR0_PG))
        enter_paging(c);
    if (!(v & VIV_CR0_PG) && (old & VIV_CR0_PG) &&
        (c->mode == VIV_MODE_LONG || (c->cr4 & VIV_CR4_PCIDE)))
        viv_x86_gp0(c);
    if ((v & VIV_CR0_PG) && (c->cr4 & VIV_CR4_PAE) && !(c->msr.efer & VIV_EFER_LME) &&
        ((v ^ old) & (VIV_CR0_PG | VIV_CR0_CD | VIV_CR0_NW)) && !viv_mmu_load_pdptes(c, c->cr3))
        viv_x86_gp0(c);
    c->cr0 = v;
    if ((v & VIV_CR0_PG) && (c->msr.efer & VIV_EFER_LME))
        c->msr.efer |= VIV_EFER_LMA;
    else if (!(v & VIV_CR0_PG))
        c->msr.efer &= ~(uint64_t)VIV_EFER_LMA;
    if ((v ^ old) & (VIV_CR0_PG | VIV_CR0_WP | VIV_CR0_PE))
        viv_tlb_flush_all(c);
    viv_x86_set_cpl(c, v & VIV_CR0_PE ? c->cpl : 0);
}

static void write_cr3(struct viv_x86 *c, uint64_t v)
{
    bool keep = false;

    if (viv_x86_long_active(c)) {
        if (c->cr4 & VIV_CR4_PCIDE) {
            keep = v >> 63;
            v &= ~(1ull << 63);
        }
        if (v >> c->cpuid->phys_bits)
            viv_x86_gp0(c);
    } else {
        v = (uint32_t)v;
        if (viv_mmu_pae_legacy(c) && !viv_mmu_load_pdptes(c, v))
            viv_x86_gp0(c);
    }
    viv_mmu_set_cr3(c, v, keep);
}

uint64_t viv_cr4_known(const struct viv_x86 *c)
{
    static const struct {
        uint64_t bits;
        enum viv_feature f;
    } map[] = {
        {VIV_CR4_VME | VIV_CR4_PVI, VIV_FT_VME}, {VIV_CR4_TSD, VIV_FT_TSC}, {VIV_CR4_DE, VIV_FT_DE},
        {VIV_CR4_PSE, VIV_FT_PSE}, {VIV_CR4_PAE, VIV_FT_PAE}, {VIV_CR4_MCE, VIV_FT_MCE},
        {VIV_CR4_PGE, VIV_FT_PGE}, {VIV_CR4_PCE, VIV_FT_NONE}, {VIV_CR4_OSFXSR, VIV_FT_FXSR},
        {VIV_CR4_OSXMMEXCPT, VIV_FT_SSE}, {VIV_CR4_UMIP, VIV_FT_UMIP}, {VIV_CR4_LA57, VIV_FT_LA57},
        {VIV_CR4_FSGSBASE, VIV_FT_FSGSBASE}, {VIV_CR4_PCIDE, VIV_FT_PCID},
        {VIV_CR4_OSXSAVE, VIV_FT_XSAVE}, {VIV_CR4_SMEP, VIV_FT_SMEP}, {VIV_CR4_SMAP, VIV_FT_SMAP},
        {VIV_CR4_PKE, VIV_FT_PKU}, {VIV_CR4_PKS, VIV_FT_PKS},
    };
    uint64_t known = 0;

    for (unsigned n = 0; n < sizeof(map) / sizeof(map[0]); n++)
        if (viv_cpuid_has(c->cpuid, map[n].f))
            known |= map[n].bits;
    return known;
}

static void write_cr4(struct viv_x86 *c, uint64_t v)
{
    const uint64_t paging = VIV_CR4_PGE | VIV_CR4_PSE | VIV_CR4_PAE | VIV_CR4_SMEP | VIV_CR4_SMAP |
                            VIV_CR4_LA57 | VIV_CR4_PKE | VIV_CR4_PKS | VIV_CR4_PCIDE;
    uint64_t old = c->cr4, diff = v ^ old;

    if (v & ~viv_cr4_known(c))
        viv_x86_gp0(c);
    if (viv_x86_long_active(c) && (!(v & VIV_CR4_PAE) || (diff & VIV_CR4_LA57)))
        viv_x86_gp0(c);
    if ((diff & v & VIV_CR4_PCIDE) && (!viv_x86_long_active(c) || (c->cr3 & 0xfff)))
        viv_x86_gp0(c);
    c->cr4 = v;
    if (viv_mmu_pae_legacy(c) && (diff & (VIV_CR4_PGE | VIV_CR4_PSE | VIV_CR4_PAE | VIV_CR4_SMEP)) &&
        !viv_mmu_load_pdptes(c, c->cr3)) {
        c->cr4 = old;
        viv_x86_gp0(c);
    }
    if (diff & paging)
        viv_tlb_flush_all(c);
}

void viv_cr_write(struct viv_x86 *c, unsigned n, uint64_t v)
{
    switch (n) {
    case 0:
        write_cr0(c, v);
        break;
    case 2:
        c->cr2 = v;
        break;
    case 3:
        write_cr3(c, v);
        break;
    case 4:
        write_cr4(c, v);
        break;
    case 8:
        if (v > 15)
            viv_x86_gp0(c);
        c->cr8 = v;
        if (c->vcpu && c->vcpu->apic)
            viv_apic_set_tpr(c->vcpu->apic, v);
        break;
    default:
        viv_x86_ud(c);
    }
}
