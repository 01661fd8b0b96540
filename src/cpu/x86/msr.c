/* Model-specific registers (SDM vol. 4, APM vol. 2 appendix A, Linux virt/kvm/x86/msr.rst).
 *
 * Policy: a register that the model does not have is #GP(0), as on silicon; a known one refuses values the manual
 * forbids. The few that real systems poke without checking CPUID (microcode, thermal, AMD's NB and DC configuration)
 * read as reset values and drop writes: those are in `quiet`. */
#include "cpu/x86/msr.h"

#include "base/log.h"
#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/kvmclock.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/seg.h"
#include "host/clock.h"

#include <stddef.h>
#include <string.h>

#define MCG_CAP   0x0100010aull /* 10 banks, MCG_CTL, software error recovery */
#define MTRR_CAP  (VIV_MTRR_VAR | 0x100u | 0x400u) /* fixed ranges, write-combining */
#define MC_BANKS  10

static bool has(const struct viv_x86 *c, enum viv_feature f)
{
    return viv_cpuid_has(c->cpuid, f);
}

uint64_t viv_x86_tsc(const struct viv_x86 *c)
{
    return viv_guest_tsc() + (uint64_t)c->tsc_offset;
}

/* Memory types: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB; PAT has 7 UC- too. */
static bool mtrr_type(uint64_t t)
{
    return t == 0 || t == 1 || t == 4 || t == 5 || t == 6;
}

static bool pat_valid(uint64_t v)
{
    for (unsigned n = 0; n < 64; n += 8)
        if (!mtrr_type(v >> n & 0xff) && (v >> n & 0xff) != 7)
            return false;
    return true;
}

static uint64_t *mtrr_slot(struct viv_x86 *c, uint32_t index)
{
    static const uint16_t fixed[11] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                       0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

    if (index >= 0x200 && index < 0x200 + 2 * VIV_MTRR_VAR)
        return index & 1 ? &c->msr.mtrr_mask[(index - 0x200) / 2] : &c->msr.mtrr_base[(index - 0x200) / 2];
    for (unsigned n = 0; n < 11; n++)
        if (index == fixed[n])
            return &c->msr.mtrr_fix[n];
    return index == 0x2ff ? &c->msr.mtrr_def_type : NULL;
}

static bool mtrr_write(struct viv_x86 *c, uint32_t index, uint64_t v)
{
    uint64_t *slot = mtrr_slot(c, index);
    uint64_t high = ~((1ull << c->cpuid->phys_bits) - 1);

    if (!slot || !has(c, VIV_FT_MTRR))
        return false;
    if (index == 0x2ff) {
        if ((v & ~0xcffull) || !mtrr_type(v & 0xff))
            return false;
    } else if (index < 0x250) {
        if (index & 1 ? v & (high | 0x7ff) : (v & (high | 0xf00)) || !mtrr_type(v & 0xff))
            return false;
    } else {
        for (unsigned n = 0; n < 64; n += 8)
            if (!mtrr_type(v >> n & 0xff))
                return false;
    }
    *slot = v;
    return true;
}

static bool is_mc(uint32_t index)
{
    return index >= 0x400 && index < 0x400 + 4 * MC_BANKS;
}

static uint64_t *mc_slot(struct viv_x86 *c, uint32_t index)
{
    unsigned bank = (index - 0x400) / 4;

    switch (index & 3) {
    case 0: return &c->msr.mc_ctl[bank];
    case 1: return &c->msr.mc_status[bank];
    case 2: return &c->msr.mc_addr[bank];
    default: return &c->msr.mc_misc[bank];
    }
}

static bool mc_write(struct viv_x86 *c, uint32_t index, uint64_t v)
{
    switch (index & 3) {
    case 0: /* all on or all off; bit 10 of bank 4 is Linux's, for an old AMD erratum */
        if (v && (v | 1 << 10) != ~0ull)
            return false;
        break;
    case 1: /* only 0, unless AMD's HWCR.McStatusWrEn */
        if (v && !(c->msr.hwcr & (1 << 18)))
            return false;
        break;
    }
    *mc_slot(c, index) = v;
    return true;
}

/* Read as `value`, writes dropped. */
static const struct {
    uint32_t index;
    enum viv_cpu_vendor vendor;
    uint64_t value;
} quiet[] = {
    {0x17, VIV_VENDOR_INTEL, 0},             /* PLATFORM_ID */
    {0x2a, VIV_VENDOR_INTEL, 0},             /* EBL_CR_POWERON */
    {0x2c, VIV_VENDOR_INTEL, 1 << 24},       /* EBC_FREQUENCY_ID */
    {0x79, VIV_VENDOR_OTHER, 0},             /* BIOS_UPDT_TRIG */
    {0xcd, VIV_VENDOR_INTEL, 3},             /* FSB_FREQ */
    {0x11e, VIV_VENDOR_INTEL, 0xbe702111},   /* BBL_CR_CTL3 */
    {0x19a, VIV_VENDOR_INTEL, 0},            /* CLOCK_MODULATION */
    {0x606, VIV_VENDOR_INTEL, 0},            /* RAPL_POWER_UNIT */
    {0x611, VIV_VENDOR_INTEL, 0}, {0x619, VIV_VENDOR_INTEL, 0}, {0x639, VIV_VENDOR_INTEL, 0},
    {0x641, VIV_VENDOR_INTEL, 0},            /* RAPL energy counters */
    {0xc0010000, VIV_VENDOR_AMD, 0}, {0xc0010001, VIV_VENDOR_AMD, 0}, /* PERF_CTL0-3: no events are */
    {0xc0010002, VIV_VENDOR_AMD, 0}, {0xc0010003, VIV_VENDOR_AMD, 0}, /* counted, but every AMD CPU */
    {0xc0010004, VIV_VENDOR_AMD, 0}, {0xc0010005, VIV_VENDOR_AMD, 0}, /* has them, and PERF_CTR0-3 */
    {0xc0010006, VIV_VENDOR_AMD, 0}, {0xc0010007, VIV_VENDOR_AMD, 0},
    {0xc0010010, VIV_VENDOR_AMD, 0},         /* SYSCFG */
    {0xc001001f, VIV_VENDOR_AMD, 0},         /* NB_CFG */
    {0xc0010055, VIV_VENDOR_AMD, 0},         /* INT_PENDING_MSG */
    {0xc0010112, VIV_VENDOR_AMD, 0}, {0xc0010113, VIV_VENDOR_AMD, 0}, /* SMM TSEG */
    {0xc0011020, VIV_VENDOR_AMD, 0}, {0xc0011021, VIV_VENDOR_AMD, 0}, /* LS_CFG, IC_CFG */
    {0xc0011022, VIV_VENDOR_AMD, 0}, {0xc0011023, VIV_VENDOR_AMD, 0}, /* DC_CFG, BU_CFG */
    {0xc0011029, VIV_VENDOR_AMD, 2},         /* DE_CFG: LFENCE serialises */
    {0xc001102a, VIV_VENDOR_AMD, 0},         /* BU_CFG2 */
};

static bool quiet_find(const struct viv_x86 *c, uint32_t index, uint64_t *v)
{
    for (unsigned n = 0; n < sizeof(quiet) / sizeof(quiet[0]); n++) {
        if (quiet[n].index != index)
            continue;
        if (quiet[n].vendor != VIV_VENDOR_OTHER && quiet[n].vendor != c->cpuid->kind)
            return false;
        *v = quiet[n].value;
        return true;
    }
    return false;
}

/* MSR_PLATFORM_INFO: the maximum non-turbo ratio. Not set at reset: the counter's rate may take milliseconds to measure. */
static uint64_t platform_info(struct viv_x86 *c)
{
    if (!c->msr.platform_info)
        c->msr.platform_info = viv_tsc_hz() / 100000000 << 8 & 0xff00;
    return c->msr.platform_info;
}

static bool read_common(struct viv_x86 *c, uint32_t index, uint64_t *v)
{
    switch (index) {
    case 0x10: *v = viv_x86_tsc(c); return has(c, VIV_FT_TSC);
    case 0x1b:
        *v = c->vcpu && c->vcpu->apic ? viv_apic_get_base(c->vcpu->apic) : c->msr.apic_base;
        return has(c, VIV_FT_APIC);
    case 0x3b: *v = c->msr.tsc_adjust; return has(c, VIV_FT_TSC_ADJUST);
    case 0x48: *v = c->msr.spec_ctrl; return has(c, VIV_FT_SPEC_CTRL) || has(c, VIV_FT_IBRS);
    case 0x8b: *v = c->msr.bios_sign_id; return true;
    case 0xce: *v = platform_info(c); return c->cpuid->kind == VIV_VENDOR_INTEL;
    case 0xfe: *v = MTRR_CAP; return has(c, VIV_FT_MTRR);
    case 0x10a: *v = c->cpuid->word[VIV_FW_ARCH_CAP]; return has(c, VIV_FT_ARCH_CAPABILITIES);
    case 0x174: *v = c->msr.sysenter_cs; return has(c, VIV_FT_SEP);
    case 0x175: *v = c->msr.sysenter_esp; return has(c, VIV_FT_SEP);
    case 0x176: *v = c->msr.sysenter_eip; return has(c, VIV_FT_SEP);
    case 0x179: *v = MCG_CAP; return has(c, VIV_FT_MCA);
    case 0x17a: *v = c->msr.mcg_status; return has(c, VIV_FT_MCA);
    case 0x17b: *v = c->msr.mcg_ctl; return has(c, VIV_FT_MCA);
    case 0x1a0: *v = c->msr.misc_enable; return c->cpuid->kind == VIV_VENDOR_INTEL;
    case 0x1d9: *v = c->msr.debugctl; return true;
    case 0x277: *v = c->msr.pat; return has(c, VIV_FT_PAT);
    case 0x3a: *v = c->msr.feature_control; return has(c, VIV_FT_VMX);
    case 0x6e0:
        *v = c->vcpu && c->vcpu->apic ? viv_apic_get_deadline(c->vcpu->apic) : 0;
        return has(c, VIV_FT_TSC_DEADLINE);
    case 0x6e1: *v = c->msr.pkrs; return has(c, VIV_FT_PKS);
    case 0xda0: *v = c->msr.xss; return has(c, VIV_FT_XSAVES);
    case 0xc0010015: *v = c->msr.hwcr; return c->cpuid->kind == VIV_VENDOR_AMD;
    case 0xc001011f: *v = c->msr.virt_spec_ctrl; return has(c, VIV_FT_VIRT_SSBD);
    default: return false;
    }
}

static bool read_extended(struct viv_x86 *c, uint32_t index, uint64_t *v)
{
    bool lm = has(c, VIV_FT_LM);

    switch (index) {
    case 0xc0000080: *v = c->msr.efer; return lm || has(c, VIV_FT_NX) || has(c, VIV_FT_SYSCALL);
    case 0xc0000081: *v = c->msr.star; return has(c, VIV_FT_SYSCALL);
    case 0xc0000082: *v = c->msr.lstar; return lm;
    case 0xc0000083: *v = c->msr.cstar; return lm;
    case 0xc0000084: *v = c->msr.fmask; return lm;
    case 0xc0000100: *v = c->seg[VIV_FS].base; return lm;
    case 0xc0000101: *v = c->seg[VIV_GS].base; return lm;
    case 0xc0000102: *v = c->msr.kernel_gs_base; return lm;
    case 0xc0000103: *v = c->msr.tsc_aux; return has(c, VIV_FT_RDTSCP) || has(c, VIV_FT_RDPID);
    default: return false;
    }
}

bool viv_msr_read(struct viv_x86 *c, uint32_t index, uint64_t *v)
{
    uint64_t *slot;

    if (index >= 0x800 && index <= 0x8ff)
        return c->vcpu && c->vcpu->apic && viv_apic_msr_read(c->vcpu->apic, index, v);
    if (index >= 0xc0000080 && index <= 0xc0000103)
        return read_extended(c, index, v);
    if (is_mc(index) && has(c, VIV_FT_MCA)) {
        *v = *mc_slot(c, index);
        return true;
    }
    slot = mtrr_slot(c, index);
    if (slot && has(c, VIV_FT_MTRR)) {
        *v = *slot;
        return true;
    }
    return read_common(c, index, v) || viv_kvm_msr_read(c, index, v) || quiet_find(c, index, v);
}

uint64_t viv_efer_known(const struct viv_x86 *c)
{
    uint64_t known = VIV_EFER_LMA;

    known |= has(c, VIV_FT_SYSCALL) ? VIV_EFER_SCE : 0;
    known |= has(c, VIV_FT_LM) ? VIV_EFER_LME : 0;
    known |= has(c, VIV_FT_NX) ? VIV_EFER_NXE : 0;
    known |= has(c, VIV_FT_FXSR_OPT) ? VIV_EFER_FFXSR : 0;
    return known;
}

static bool write_efer(struct viv_x86 *c, uint64_t v)
{
    uint64_t old = c->msr.efer;

    if (v & ~viv_efer_known(c))
        return false;
    v = (v & ~(uint64_t)VIV_EFER_LMA) | (old & VIV_EFER_LMA);
    if (((v ^ old) & VIV_EFER_LME) && (c->cr0 & VIV_CR0_PG))
        return false;
    c->msr.efer = v;
    if ((v ^ old) & VIV_EFER_NXE)
        viv_tlb_flush_all(c);
    return true;
}

static bool write_if(bool allowed, uint64_t *slot, uint64_t v)
{
    if (allowed)
        *slot = v;
    return allowed;
}

static bool write_canonical(struct viv_x86 *c, uint64_t *slot, uint64_t v)
{
    return write_if(viv_x86_canonical_base(c, v), slot, v);
}

static bool write_extended(struct viv_x86 *c, uint32_t index, uint64_t v)
{
    bool lm = has(c, VIV_FT_LM);

    switch (index) {
    case 0xc0000080: return (lm || has(c, VIV_FT_NX) || has(c, VIV_FT_SYSCALL)) && write_efer(c, v);
    case 0xc0000081: return write_if(has(c, VIV_FT_SYSCALL), &c->msr.star, v);
    case 0xc0000082: return lm && write_canonical(c, &c->msr.lstar, v);
    case 0xc0000083: return lm && write_canonical(c, &c->msr.cstar, v);
    case 0xc0000084: return write_if(lm && !(v >> 32), &c->msr.fmask, v);
    case 0xc0000100: return lm && write_canonical(c, &c->seg[VIV_FS].base, v);
    case 0xc0000101: return lm && write_canonical(c, &c->seg[VIV_GS].base, v);
    case 0xc0000102: return lm && write_canonical(c, &c->msr.kernel_gs_base, v);
    case 0xc0000103:
        if ((!has(c, VIV_FT_RDTSCP) && !has(c, VIV_FT_RDPID)) || v >> 32)
            return false;
        c->msr.tsc_aux = v;
        return true;
    default: return false;
    }
}

/* A write moves this CPU's TSC; TSC_ADJUST tells by how much (17.17.3). */
static void set_tsc(struct viv_x86 *c, uint64_t delta)
{
    c->tsc_offset += (int64_t)delta;
    c->msr.tsc_adjust += delta;
    viv_kvmclock_tsc_changed(c);
    if (c->vcpu && c->vcpu->apic)
        viv_apic_tsc_moved(c->vcpu->apic);
}

static bool write_spec_ctrl(struct viv_x86 *c, uint64_t v)
{
    uint64_t known = 0;

    if (has(c, VIV_FT_SPEC_CTRL) || has(c, VIV_FT_IBRS))
        known |= 1;
    if (has(c, VIV_FT_STIBP) || has(c, VIV_FT_AMD_STIBP))
        known |= 2;
    if (has(c, VIV_FT_SSBD) || has(c, VIV_FT_AMD_SSBD))
        known |= 4;
    if (has(c, VIV_FT_AMD_PSFD))
        known |= 0x80;
    if (!known || (v & ~known))
        return false;
    c->msr.spec_ctrl = v;
    return true;
}

static bool write_common(struct viv_x86 *c, uint32_t index, uint64_t v)
{
    switch (index) {
    case 0x10:
        if (!has(c, VIV_FT_TSC))
            return false;
        set_tsc(c, v - viv_x86_tsc(c));
        return true;
    case 0x1b:
        if (!has(c, VIV_FT_APIC))
            return false;
        if (c->vcpu && c->vcpu->apic)
            return viv_apic_set_base(c->vcpu->apic, v);
        c->msr.apic_base = v;
        return true;
    case 0x3b:
        if (!has(c, VIV_FT_TSC_ADJUST))
            return false;
        set_tsc(c, v - c->msr.tsc_adjust);
        return true;
    case 0x48: return write_spec_ctrl(c, v);
    case 0x49: return (has(c, VIV_FT_SPEC_CTRL) || has(c, VIV_FT_IBPB)) && v <= 1;
    case 0x8b: c->msr.bios_sign_id = v; return true;
    case 0x10b: return has(c, VIV_FT_FLUSH_L1D) && v <= 1;
    case 0x174: return write_if(has(c, VIV_FT_SEP), &c->msr.sysenter_cs, v & 0xffff);
    case 0x175: return has(c, VIV_FT_SEP) && write_canonical(c, &c->msr.sysenter_esp, v);
    case 0x176: return has(c, VIV_FT_SEP) && write_canonical(c, &c->msr.sysenter_eip, v);
    case 0x17a: return write_if(has(c, VIV_FT_MCA) && !(v & ~7ull), &c->msr.mcg_status, v);
    case 0x17b:
        if (!has(c, VIV_FT_MCA) || (v && v != ~0ull))
            return false;
        c->msr.mcg_ctl = v;
        return true;
    case 0x1a0:
        if (c->cpuid->kind != VIV_VENDOR_INTEL)
            return false;
        c->msr.misc_enable = v;
        return true;
    case 0x1d9: return v == 0; /* LBR, BTF, BTS: not there */
    case 0x277:
        if (!has(c, VIV_FT_PAT) || !pat_valid(v))
            return false;
        c->msr.pat = v;
        return true;
    case 0x6e0:
        if (!has(c, VIV_FT_TSC_DEADLINE))
            return false;
        if (c->vcpu && c->vcpu->apic)
            viv_apic_set_deadline(c->vcpu->apic, v);
        return true;
    case 0x6e1:
        if (!has(c, VIV_FT_PKS) || v >> 32)
            return false;
        c->msr.pkrs = v;
        viv_tlb_flush_data(c);
        return true;
    case 0xda0:
        if (!has(c, VIV_FT_XSAVES) || (v & ~c->cpuid->xss_mask))
            return false;
        c->msr.xss = v;
        return true;
    case 0xc0010015:
        if (c->cpuid->kind != VIV_VENDOR_AMD)
            return false;
        c->msr.hwcr = v & ((1 << 18) | (1 << 24)); /* McStatusWrEn, TscFreqSel; cache bits are dropped */
        return true;
    case 0xc001011f: return write_if(has(c, VIV_FT_VIRT_SSBD), &c->msr.virt_spec_ctrl, v & 4);
    default: return false;
    }
}

bool viv_msr_write(struct viv_x86 *c, uint32_t index, uint64_t v)
{
    uint64_t ignored;

    if (index >= 0x800 && index <= 0x8ff)
        return c->vcpu && c->vcpu->apic && viv_apic_msr_write(c->vcpu->apic, index, v);
    if (index >= 0xc0000080 && index <= 0xc0000103)
        return write_extended(c, index, v);
    if (is_mc(index) && has(c, VIV_FT_MCA))
        return mc_write(c, index, v);
    return mtrr_write(c, index, v) || write_common(c, index, v) || viv_kvm_msr_write(c, index, v) ||
           quiet_find(c, index, &ignored);
}

void viv_msr_reset(struct viv_x86 *c, bool bsp)
{
    struct viv_x86_msrs *m = &c->msr;

    memset(m, 0, sizeof(*m));
    m->pat = 0x0007040600070406ull;
    m->apic_base = VIV_APIC_DEFAULT_BASE | VIV_APIC_BASE_ENABLE | (bsp ? VIV_APIC_BASE_BSP : 0);
    m->misc_enable = 1; /* fast strings */
    m->mcg_ctl = ~0ull;
    for (unsigned n = 0; n < MC_BANKS; n++)
        m->mc_ctl[n] = ~0ull;
    m->smbase = 0x30000;
    m->feature_control = 1;
    m->kvm_poll_control = 1;
    m->bios_sign_id = c->cpuid->kind == VIV_VENDOR_INTEL ? 0x100000000ull : 0x01000065;
}
