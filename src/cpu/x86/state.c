/* Making, resetting and saving one logical processor's state. Reset values: SDM 3A table 10-1. */
#include "cpu/x86/state.h"

#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/seg.h"
#include "cpu/x86/walk.h"
#include "cpu/x86/xlate/layout.h"
#include "host/huge.h"

#include <glib.h>
#include <string.h>
#include <sys/mman.h>

/* LeakSanitizer follows pointers from the heap, not from mappings. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_register_root_region(p, n)
#define __lsan_unregister_root_region(p, n)
#endif

/* The struct within the mapping that the translator's code expects around it (xlate/layout.h); what nobody touches costs
 * nothing. */
#define BEFORE (XL_GUARD + XL_STACK)

static struct viv_x86 *region_new(void)
{
    uint8_t *p = viv_huge_reserve(BEFORE + XL_REGION, BEFORE + XL_L1);

    if (!p)
        return NULL;
    if (mprotect(p + XL_GUARD, BEFORE - XL_GUARD + XL_REGION, PROT_READ | PROT_WRITE) < 0) {
        munmap(p, BEFORE + XL_REGION);
        return NULL;
    }
    __lsan_register_root_region(p + BEFORE, sizeof(struct viv_x86));
    return (struct viv_x86 *)(p + BEFORE);
}

static void region_free(struct viv_x86 *c)
{
    __lsan_unregister_root_region(c, sizeof(*c));
    munmap((uint8_t *)c - BEFORE, BEFORE + XL_REGION);
}

struct viv_x86 *viv_x86_new(struct viv_vcpu *v, const struct viv_cpuid *cpuid, struct viv_space *mem, struct viv_space *smm,
                            struct viv_space *io)
{
    struct viv_x86 *c = region_new();

    if (!c)
        return NULL;
    c->vcpu = v;
    c->cpuid = cpuid;
    c->mem = c->mem_outside = mem;
    c->mem_smm = smm ? smm : mem;
    c->io = io;
    if (viv_mmu_init(c) < 0) {
        region_free(c);
        return NULL;
    }
    return c;
}

void viv_x86_free(struct viv_x86 *c)
{
    if (!c)
        return;
    viv_mmu_fini(c);
    region_free(c);
}

static uint8_t mode_of(const struct viv_x86 *c)
{
    uint32_t cs = c->seg[VIV_CS].attr;

    if (!(c->cr0 & VIV_CR0_PE))
        return VIV_MODE_REAL;
    if (c->eflags & VIV_FL_VM)
        return VIV_MODE_V86;
    if (c->msr.efer & VIV_EFER_LMA)
        return cs & VIV_SEG_L ? VIV_MODE_LONG : cs & VIV_SEG_DB ? VIV_MODE_COMPAT32 : VIV_MODE_COMPAT16;
    return cs & VIV_SEG_DB ? VIV_MODE_PROT32 : VIV_MODE_PROT16;
}

void viv_x86_set_cpl(struct viv_x86 *c, unsigned cpl)
{
    c->cpl = (uint8_t)cpl;
    c->mode = mode_of(c);
    viv_mmu_select(c);
}

void viv_x86_load_flags(struct viv_x86 *c, uint32_t flags)
{
    uint32_t old = c->eflags;

    viv_x86_set_eflags(c, flags & (VIV_FL_ARITH | VIV_FL_TF | VIV_FL_IF | VIV_FL_DF | VIV_FL_IOPL |
                                   VIV_FL_NT | VIV_FL_RF | VIV_FL_VM | VIV_FL_AC | VIV_FL_VIF |
                                   VIV_FL_VIP | VIV_FL_ID));
    viv_x86_flags_changed(c, old);
}

void viv_x86_flags_changed(struct viv_x86 *c, uint32_t old)
{
    uint32_t now = c->eflags, diff = now ^ old;

    if (now & VIV_FL_TF)
        c->attention |= VIV_ATT_TF;
    else
        c->attention &= ~VIV_ATT_TF;
    if (now & VIV_FL_RF)
        c->attention |= VIV_ATT_RF;
    if ((diff & now & VIV_FL_IF) && c->intr_latched)
        c->attention |= VIV_ATT_EVENT;
    if (diff & VIV_FL_AC)
        viv_mmu_select(c);
}

void viv_x86_update_mode(struct viv_x86 *c)
{
    const struct viv_seg *ss = &c->seg[VIV_SS];
    unsigned cpl = 0;

    if (c->cr0 & VIV_CR0_PE) {
        if (c->eflags & VIV_FL_VM)
            cpl = 3;
        else if (ss->attr & VIV_SEG_UNUSABLE)
            cpl = c->seg[VIV_CS].sel & 3;
        else
            cpl = VIV_SEG_DPL(ss->attr);
    }
    c->repeating = false; /* RIP may be another's; if not, RF says it */
    c->attention = VIV_ATT_EVENT;
    if (c->pending_db || c->step_armed)
        c->attention |= VIV_ATT_TRAP;
    if (c->sti_shadow || c->mov_ss_shadow)
        c->attention |= VIV_ATT_SHADOW;
    viv_x86_set_cpl(c, cpl);
    viv_x86_flags_changed(c, c->eflags);
    viv_debug_changed(c);
    c->mem = c->in_smm ? c->mem_smm : c->mem_outside; /* nothing of the other one outlives the flush */
    viv_mmu_flush_map(c);
}

static void reset_segment(struct viv_x86 *c, unsigned n)
{
    c->seg[n] = (struct viv_seg){.limit = 0xffff, .attr = 0x93};
    if (n == VIV_CS)
        c->seg[n] = (struct viv_seg){.sel = 0xf000, .base = 0xffff0000, .limit = 0xffff, .attr = 0x9b};
    else if (n == VIV_LDTR)
        c->seg[n].attr = 0x82;
    else if (n == VIV_TR)
        c->seg[n].attr = 0x8b;
}

static void reset_fpu(struct viv_x86 *c)
{
    memset(&c->fpu, 0, sizeof(c->fpu));
    c->fpu.fcw = 0x40;
    c->fpu.ftw = 0xff; /* power-on tag word 5555H: all registers hold +0.0 */
    c->fpu.mxcsr = 0x1f80;
}

void viv_x86_reset(struct viv_x86 *c, bool init, bool bsp)
{
    uint64_t cache = c->cr0 & (VIV_CR0_CD | VIV_CR0_NW);

    memset(c->gpr, 0, sizeof(c->gpr));
    c->gpr[VIV_RDX] = viv_cpuid_signature(c->cpuid);
    c->rip = c->next_rip = 0xfff0;
    c->eflags = 2;
    c->arith = 0;
    for (unsigned n = 0; n < VIV_SEG_COUNT; n++)
        reset_segment(c, n);
    c->gdtr = c->idtr = (struct viv_dtr){.limit = 0xffff};
    c->cr0 = VIV_CR0_ET | (init ? cache : VIV_CR0_CD | VIV_CR0_NW);
    c->cr2 = c->cr3 = c->cr4 = c->cr8 = 0;
    memset(c->pdpte, 0, sizeof(c->pdpte));
    memset(c->dr, 0, sizeof(c->dr));
    c->dr[6] = VIV_DR6_FIXED;
    c->dr[7] = VIV_DR7_FIXED;
    c->msr.efer = 0;
    c->pending_db = c->deferred_db = 0;
    c->sti_shadow = c->mov_ss_shadow = c->halted = c->monitor_armed = false;
    c->shadow_rip = VIV_NO_SHADOW;
    c->step_armed = c->intr_latched = c->delivering = c->event_injected = c->shutdown = false;
    c->wait_sipi = !bsp;
    c->in_smm = c->init_held = false; /* code that the guest's system chose goes on: it must not see SMRAM */
    if (!init) {
        c->nmi_blocked = c->nmi_pending = c->smi_pending = false;
        c->xcr0 = 1;
        reset_fpu(c);
        viv_msr_reset(c, bsp);
        c->tsc_offset = 0; /* whoever resets all CPUs sets one offset for all: their TSCs agree */
    }
    viv_x86_update_mode(c);
}

/* ---- saved state ---- */

static const struct viv_field seg_fields[] = {
    VIV_F_INT(viv_seg, base), VIV_F_INT(viv_seg, limit), VIV_F_INT(viv_seg, attr),
    VIV_F_INT(viv_seg, sel), VIV_F_END,
};
static const struct viv_state_table seg_state = {
    .name = "segment", .ctype = "viv_seg", .version = 1, .min_version = 1, .fields = seg_fields,
};

static const struct viv_field dtr_fields[] = {
    VIV_F_INT(viv_dtr, base), VIV_F_INT(viv_dtr, limit), VIV_F_END,
};
static const struct viv_state_table dtr_state = {
    .name = "dtr", .ctype = "viv_dtr", .version = 1, .min_version = 1, .fields = dtr_fields,
};

#define M(f)  VIV_F_INT(viv_x86_msrs, f)
#define MS(f) VIV_F_INTS(viv_x86_msrs, f)
#define SINCE(n, f) {.name = #f, .kind = VIV_FIELD_KIND_OF(((struct viv_x86_msrs *)0)->f), .offset = offsetof(struct viv_x86_msrs, f), \
               .size = sizeof(uint64_t), .count = 1, .since = n}
static const struct viv_field msr_fields[] = {
    M(efer), M(star), M(lstar), M(cstar), M(fmask), M(kernel_gs_base), M(sysenter_cs),
    M(sysenter_esp), M(sysenter_eip), M(pat), M(apic_base), M(misc_enable), M(spec_ctrl), M(xss),
    M(tsc_aux), M(tsc_adjust), M(tsc_deadline), M(mtrr_def_type), MS(mtrr_fix), MS(mtrr_base),
    MS(mtrr_mask), M(mcg_status), M(mcg_ctl), MS(mc_ctl), MS(mc_status), MS(mc_addr), MS(mc_misc),
    M(debugctl), M(smbase), M(pkrs), M(platform_info), M(feature_control), M(virt_spec_ctrl), M(hwcr),
    M(bios_sign_id), M(kvm_wall_clock), M(kvm_system_time), M(kvm_async_pf_en), M(kvm_steal_time),
    M(kvm_pv_eoi), SINCE(2, kvm_poll_control), SINCE(2, kvm_async_pf_int),
    SINCE(3, tsx_ctrl), SINCE(3, umwait_control), SINCE(3, misc_features_enables), VIV_F_END,
};
static const struct viv_state_table msr_state = {
    .name = "msrs", .ctype = "viv_x86_msrs", .version = 3, .min_version = 1, .fields = msr_fields,
};

#define F(f)  VIV_F_INT(viv_x86_fpu, f)
static const struct viv_field fpu_fields[] = {
    VIV_F_BYTES(viv_x86_fpu, st), F(fcw), F(fsw), F(ftw), F(fop), F(fcs), F(fds), F(fip), F(fdp),
    F(mxcsr), F(pkru), VIV_F_BYTES(viv_x86_fpu, zmm), VIV_F_INTS(viv_x86_fpu, k),
    VIV_F_DERIVED(viv_x86_fpu, zero, "reserved in the image"),
    VIV_F_DERIVED(viv_x86_fpu, host_mxcsr, "what the host's FXSAVE leaves, never read"),
    VIV_F_DERIVED(viv_x86_fpu, host_xmm, "what the host's FXSAVE leaves, never read"),
    VIV_F_DERIVED(viv_x86_fpu, unused, "never touched"),
    VIV_F_DERIVED(viv_x86_fpu, xstate, "the translator's, before each XRSTOR"), VIV_F_END,
};
static const struct viv_state_table fpu_state = {
    .name = "fpu", .ctype = "viv_x86_fpu", .version = 1, .min_version = 1, .fields = fpu_fields,
};

static int x86_post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_x86 *c = obj;

    if ((c->cr0 & VIV_CR0_PG) && !(c->cr0 & VIV_CR0_PE))
        return viv_fail(err, EINVAL, "saved CPU state has paging without protection (CR0 %#llx)",
                        (unsigned long long)c->cr0);
    if (c->event_injected && c->event_vector > 31 && c->deliver_kind != VIV_EV_EXT &&
        c->deliver_kind != VIV_EV_SOFT_INT)
        return viv_fail(err, EINVAL, "saved CPU state has an exception with vector %u",
                        c->event_vector);
    /* The processor that computes for us faults on others. Bit 17 is AMD's; what this very host lacks the accelerator
     * drops or refuses. */
    if (c->fpu.mxcsr & ~0x2ffffu)
        return viv_fail(err, EINVAL, "saved CPU state has reserved bits in MXCSR (%#x)", c->fpu.mxcsr);
    if (!(c->xcr0 & 1))
        return viv_fail(err, EINVAL, "saved CPU state has XCR0 %#llx, without the x87 unit",
                        (unsigned long long)c->xcr0);
    c->eflags = (c->eflags & ~VIV_FL_ARITH) | 2;
    c->zero = 0;
    viv_x86_update_mode(c);
    return 0;
}

#define X(f)  VIV_F_INT(viv_x86, f)
static const struct viv_field x86_fields[] = {
    VIV_F_INTS(viv_x86, gpr), X(rip), X(next_rip), VIV_F_DERIVED(viv_x86, zero, "always 0"),
    VIV_F_DERIVED(viv_x86, reg, "names gpr, rip, next_rip, zero"), X(eflags), X(arith),
    VIV_F_DERIVED(viv_x86, cpl, "viv_x86_update_mode"),
    VIV_F_DERIVED(viv_x86, mode, "viv_x86_update_mode"),
    VIV_F_DERIVED(viv_x86, xl_page, "the translator's, each time it enters a block"),
    VIV_F_DERIVED(viv_x86, xl_gspace, "the translator's run loop"),
    VIV_F_DERIVED(viv_x86, xl_page_mask, "viv_xlate_attach"),
    VIV_F_DERIVED(viv_x86, xl_space, "the translator's run loop"),
    VIV_F_DERIVED(viv_x86, xl, "viv_xlate_attach and the translator's run loop"),
    VIV_F_DERIVED(viv_x86, xlate, "viv_xlate_attach"),
    VIV_F_DERIVED(viv_x86, breaks, "the debugger's, outside the guest"),
    VIV_F_DERIVED(viv_x86, xl_group, "the translator's, within a block"),
    VIV_F_DERIVED(viv_x86, tlb_cur, "viv_mmu_select"),
    VIV_F_DERIVED(viv_x86, fast_base, "viv_interp_context"),
    VIV_F_DERIVED(viv_x86, sp_mask, "viv_interp_context"),
    VIV_F_DERIVED(viv_x86, canon_shift, "viv_interp_context"),
    VIV_F_DERIVED(viv_x86, code_space, "a TLB starts empty"),
    VIV_F_DERIVED(viv_x86, code_space_global, "a TLB starts empty"),
    VIV_F_STRUCTS(viv_x86, seg, seg_state), VIV_F_STRUCT(viv_x86, gdtr, dtr_state),
    VIV_F_STRUCT(viv_x86, idtr, dtr_state), X(cr0), X(cr2), X(cr3), X(cr4), X(cr8), X(xcr0),
    VIV_F_INTS(viv_x86, pdpte), VIV_F_INTS(viv_x86, dr), VIV_F_STRUCT(viv_x86, msr, msr_state),
    VIV_F_STRUCT(viv_x86, fpu, fpu_state), X(sti_shadow), X(mov_ss_shadow), X(nmi_blocked),
    X(nmi_pending), X(smi_pending), X(in_smm), X(init_held), X(halted), X(wait_sipi), X(shutdown), X(event_injected),
    X(event_vector), X(event_has_error), X(event_error), X(tsc_offset), X(pending_db),
    VIV_F_DERIVED(viv_x86, deferred_db, "at the first boundary"),
    VIV_F_DERIVED(viv_x86, attention, "viv_x86_update_mode"),
    VIV_F_DERIVED(viv_x86, shadow_rip, "sti_shadow is set when the CPU stops there"), X(step_armed),
    VIV_F_DERIVED(viv_x86, repeating, "EFLAGS.RF is set when the CPU stops there"),
    VIV_F_DERIVED(viv_x86, intr_latched, "the first boundary looks at the APIC"),
    VIV_F_DERIVED(viv_x86, delivering, "false at an instruction boundary"),
    VIV_F_DERIVED(viv_x86, deliver_vector, "only while delivering"),
    X(deliver_kind), /* of event_injected */
    VIV_F_DERIVED(viv_x86, mem, "viv_x86_update_mode"), VIV_F_CONFIG(viv_x86, mem_outside), VIV_F_CONFIG(viv_x86, mem_smm),
    VIV_F_CONFIG(viv_x86, io), X(monitor_armed), X(monitor_gpa),
    VIV_F_CONFIG(viv_x86, vcpu), VIV_F_CONFIG(viv_x86, cpuid),
    VIV_F_DERIVED(viv_x86, tlb, "starts empty"),
    VIV_F_DERIVED(viv_x86, insn, "none at an instruction boundary"),
    VIV_F_CONFIG(viv_x86, interp), X(insn_count), VIV_F_END,
};

const struct viv_state_table viv_x86_state = {
    .name = "x86-cpu", .ctype = "viv_x86", .version = 2 /* init_held */, .min_version = 2, .fields = x86_fields,
    .post_load = x86_post_load,
};
