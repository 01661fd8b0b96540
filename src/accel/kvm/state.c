/* Registers between the kernel and struct viv_x86. The vCPU is stopped; device lock held.
 *
 * Order matters when putting: special registers (they decide what the rest means), XCR0 before XSAVE, MSRs, debug
 * registers, events, then what it waits for (the kernel lets no CPU in SMM wait for a start-up IPI), last the TSC. */
#include "accel/kvm/kvm_int.h"

#include "cpu/x86/exc.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const uint8_t gpr_order[16] = {VIV_RAX, VIV_RBX, VIV_RCX, VIV_RDX, VIV_RSI, VIV_RDI, VIV_RSP, VIV_RBP,
                                      8, 9, 10, 11, 12, 13, 14, 15};

static int call(struct kvm_cpu *k, unsigned long req, void *arg, const char *name, struct viv_err *err)
{
    int ret = viv_kvm_ioctl(k->fd, req, arg);

    return ret < 0 ? viv_fail_os(err, -ret, "%s of CPU %u", name, k->v->index) : 0;
}
#define CALL(k, req, arg, err) call(k, req, arg, #req, err)

static int get_regs(struct kvm_cpu *k, struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_regs r;
    int ret = CALL(k, KVM_GET_REGS, &r, err);

    if (ret)
        return ret;
    for (int i = 0; i < 16; i++) /* struct kvm_regs begins with the sixteen in its own order */
        c->gpr[gpr_order[i]] = (&r.rax)[i];
    c->rip = c->next_rip = r.rip;
    viv_x86_set_eflags(c, (uint32_t)r.rflags);
    return 0;
}

static int put_regs(struct kvm_cpu *k, const struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_regs r;

    for (int i = 0; i < 16; i++)
        (&r.rax)[i] = c->gpr[gpr_order[i]];
    r.rip = c->rip;
    r.rflags = viv_x86_get_eflags(c);
    return CALL(k, KVM_SET_REGS, &r, err);
}

static void seg_from_kvm(struct viv_seg *s, const struct kvm_segment *k)
{
    s->base = k->base;
    s->limit = k->limit;
    s->sel = k->selector;
    s->attr = k->type | (uint32_t)k->s << 4 | (uint32_t)k->dpl << 5 | (uint32_t)k->present << 7 |
              (uint32_t)k->avl << 12 | (uint32_t)k->l << 13 | (uint32_t)k->db << 14 | (uint32_t)k->g << 15 |
              (k->unusable ? VIV_SEG_UNUSABLE : 0);
}

static void seg_to_kvm(const struct viv_seg *s, struct kvm_segment *k)
{
    memset(k, 0, sizeof(*k));
    k->base = s->base;
    k->limit = s->limit;
    k->selector = s->sel;
    k->type = s->attr & 0xf;
    k->s = s->attr >> 4 & 1;
    k->dpl = s->attr >> 5 & 3;
    k->present = s->attr >> 7 & 1;
    k->avl = s->attr >> 12 & 1;
    k->l = s->attr >> 13 & 1;
    k->db = s->attr >> 14 & 1;
    k->g = s->attr >> 15 & 1;
    k->unusable = (s->attr & VIV_SEG_UNUSABLE) || !k->present;
}

/* struct kvm_sregs and kvm_sregs2 are the same up to apic_base. */
#define SREGS_COMMON offsetof(struct kvm_sregs2, flags)
G_STATIC_ASSERT(offsetof(struct kvm_sregs, interrupt_bitmap) == SREGS_COMMON);

static int get_sregs(struct kvm_cpu *k, struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_sregs2 s = {0};
    struct kvm_sregs old;
    int ret = viv_kvm->cap_sregs2 ? CALL(k, KVM_GET_SREGS2, &s, err) : CALL(k, KVM_GET_SREGS, &old, err);

    if (ret)
        return ret;
    if (!viv_kvm->cap_sregs2)
        memcpy(&s, &old, SREGS_COMMON);
    seg_from_kvm(&c->seg[VIV_CS], &s.cs);
    seg_from_kvm(&c->seg[VIV_DS], &s.ds);
    seg_from_kvm(&c->seg[VIV_ES], &s.es);
    seg_from_kvm(&c->seg[VIV_FS], &s.fs);
    seg_from_kvm(&c->seg[VIV_GS], &s.gs);
    seg_from_kvm(&c->seg[VIV_SS], &s.ss);
    seg_from_kvm(&c->seg[VIV_TR], &s.tr);
    seg_from_kvm(&c->seg[VIV_LDTR], &s.ldt);
    c->gdtr = (struct viv_dtr){s.gdt.base, s.gdt.limit};
    c->idtr = (struct viv_dtr){s.idt.base, s.idt.limit};
    c->cr0 = s.cr0;
    c->cr2 = s.cr2;
    c->cr3 = s.cr3;
    c->cr4 = s.cr4;
    c->cr8 = s.cr8;
    c->msr.efer = s.efer;
    c->msr.apic_base = s.apic_base;
    if (s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
        memcpy(c->pdpte, s.pdptrs, sizeof(c->pdpte));
    return 0;
}

static int put_sregs(struct kvm_cpu *k, const struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_sregs2 s = {0};
    struct kvm_sregs old = {0};

    seg_to_kvm(&c->seg[VIV_CS], &s.cs);
    seg_to_kvm(&c->seg[VIV_DS], &s.ds);
    seg_to_kvm(&c->seg[VIV_ES], &s.es);
    seg_to_kvm(&c->seg[VIV_FS], &s.fs);
    seg_to_kvm(&c->seg[VIV_GS], &s.gs);
    seg_to_kvm(&c->seg[VIV_SS], &s.ss);
    seg_to_kvm(&c->seg[VIV_TR], &s.tr);
    seg_to_kvm(&c->seg[VIV_LDTR], &s.ldt);
    s.gdt.base = c->gdtr.base;
    s.gdt.limit = c->gdtr.limit;
    s.idt.base = c->idtr.base;
    s.idt.limit = c->idtr.limit;
    s.cr0 = c->cr0;
    s.cr2 = c->cr2;
    s.cr3 = c->cr3;
    s.cr4 = c->cr4;
    s.cr8 = c->cr8;
    s.efer = c->msr.efer;
    s.apic_base = c->msr.apic_base;
    if (viv_kvm->cap_sregs2) {
        bool pae = (c->cr0 & VIV_CR0_PG) && (c->cr4 & VIV_CR4_PAE) && !(c->msr.efer & VIV_EFER_LMA);

        if (pae) {
            s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
            memcpy(s.pdptrs, c->pdpte, sizeof(c->pdpte));
        }
        return CALL(k, KVM_SET_SREGS2, &s, err);
    }
    memcpy(&old, &s, SREGS_COMMON);
    return CALL(k, KVM_SET_SREGS, &old, err);
}

static int get_debugregs(struct kvm_cpu *k, struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_debugregs d;
    int ret = CALL(k, KVM_GET_DEBUGREGS, &d, err);

    if (ret)
        return ret;
    memcpy(c->dr, d.db, sizeof(d.db));
    c->dr[6] = d.dr6;
    c->dr[7] = d.dr7;
    return 0;
}

static int put_debugregs(struct kvm_cpu *k, const struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_debugregs d = {.dr6 = c->dr[6], .dr7 = c->dr[7]};

    memcpy(d.db, c->dr, sizeof(d.db));
    return CALL(k, KVM_SET_DEBUGREGS, &d, err);
}

static int get_events(struct kvm_cpu *k, struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_vcpu_events e = {0};
    int ret = CALL(k, KVM_GET_VCPU_EVENTS, &e, err);

    if (ret)
        return ret;
    c->event_injected = e.exception.injected || e.interrupt.injected;
    c->event_vector = e.exception.injected ? e.exception.nr : e.interrupt.nr;
    c->event_has_error = e.exception.injected && e.exception.has_error_code;
    c->event_error = e.exception.error_code;
    c->deliver_kind = e.exception.injected ? VIV_EV_FAULT : e.interrupt.soft ? VIV_EV_SOFT_INT : VIV_EV_EXT;
    c->sti_shadow = e.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
    c->mov_ss_shadow = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
    c->nmi_pending = e.nmi.pending || e.nmi.injected;
    c->nmi_blocked = e.nmi.masked && !e.nmi.injected; /* one that is on its way masks others already, and here it is still to come */
    if (e.flags & KVM_VCPUEVENT_VALID_SMM) {
        c->in_smm = e.smi.smm;
        c->smi_pending = e.smi.pending;
        c->init_held = e.smi.smm && e.smi.latched_init;
    }
    return 0;
}

static int put_events(struct kvm_cpu *k, const struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_vcpu_events e = {0};
    bool exception = c->event_injected && c->deliver_kind != VIV_EV_EXT && c->deliver_kind != VIV_EV_SOFT_INT;

    e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    if (exception) {
        e.exception.injected = 1;
        e.exception.nr = c->event_vector;
        e.exception.has_error_code = c->event_has_error;
        e.exception.error_code = c->event_error;
    } else if (c->event_injected) {
        e.interrupt.injected = 1;
        e.interrupt.nr = c->event_vector;
        e.interrupt.soft = c->deliver_kind == VIV_EV_SOFT_INT;
    }
    e.interrupt.shadow = (c->sti_shadow ? KVM_X86_SHADOW_INT_STI : 0) |
                         (c->mov_ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0);
    e.nmi.pending = c->nmi_pending;
    e.nmi.masked = c->nmi_blocked;
    if (viv_kvm_cap(KVM_CAP_X86_SMM) > 0) {
        e.flags |= KVM_VCPUEVENT_VALID_SMM;
        e.smi.smm = c->in_smm;
        e.smi.pending = c->smi_pending;
        e.smi.latched_init = c->init_held;
    }
    return CALL(k, KVM_SET_VCPU_EVENTS, &e, err);
}

static int get_mp_state(struct kvm_cpu *k, struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_mp_state m;
    int ret = CALL(k, KVM_GET_MP_STATE, &m, err);

    if (ret)
        return ret;
    c->halted = m.mp_state == KVM_MP_STATE_HALTED;
    c->wait_sipi = m.mp_state == KVM_MP_STATE_UNINITIALIZED || m.mp_state == KVM_MP_STATE_INIT_RECEIVED;
    return 0;
}

static int put_mp_state(struct kvm_cpu *k, const struct viv_x86 *c, struct viv_err *err)
{
    /* Not UNINITIALIZED: a CPU in that state takes no start-up IPI before another INIT. */
    struct kvm_mp_state m = {
        .mp_state = c->wait_sipi ? KVM_MP_STATE_INIT_RECEIVED
                    : c->halted  ? KVM_MP_STATE_HALTED
                                 : KVM_MP_STATE_RUNNABLE,
    };

    return CALL(k, KVM_SET_MP_STATE, &m, err);
}

static int get_xcrs(struct kvm_cpu *k, struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_xcrs x;
    int ret = CALL(k, KVM_GET_XCRS, &x, err);

    for (uint32_t i = 0; !ret && i < x.nr_xcrs; i++)
        if (x.xcrs[i].xcr == 0)
            c->xcr0 = x.xcrs[i].value;
    return ret;
}

static int put_xcrs(struct kvm_cpu *k, const struct viv_x86 *c, struct viv_err *err)
{
    struct kvm_xcrs x = {.nr_xcrs = 1};

    x.xcrs[0].value = c->xcr0;
    return CALL(k, KVM_SET_XCRS, &x, err);
}

int viv_kvm_get_state(struct viv_vcpu *v, struct viv_err *err)
{
    struct kvm_cpu *k = v->priv;
    struct viv_x86 *c = v->x86;
    int ret = get_mp_state(k, c, err); /* first: an INIT or a start-up IPI that has come is taken now, and changes the rest */

    if (!ret)
        ret = get_regs(k, c, err);
    if (!ret)
        ret = get_sregs(k, c, err);
    if (!ret)
        ret = get_xcrs(k, c, err);
    if (!ret)
        ret = viv_kvm_get_fpu(k, err);
    if (!ret)
        ret = viv_kvm_get_msrs(k, err);
    if (!ret)
        ret = get_debugregs(k, c, err);
    if (!ret)
        ret = get_events(k, c, err);
    if (!ret)
        viv_x86_update_mode(c);
    return ret;
}

int viv_kvm_put_state(struct viv_vcpu *v, struct viv_err *err)
{
    struct kvm_cpu *k = v->priv;
    const struct viv_x86 *c = v->x86;
    int ret = put_sregs(k, c, err);

    if (!ret)
        ret = put_regs(k, c, err);
    if (!ret)
        ret = put_xcrs(k, c, err);
    if (!ret)
        ret = viv_kvm_put_fpu(k, err);
    if (!ret)
        ret = viv_kvm_put_msrs(k, err);
    if (!ret)
        ret = put_debugregs(k, c, err);
    if (!ret)
        ret = put_events(k, c, err);
    if (!ret)
        ret = put_mp_state(k, c, err);
    if (!ret)
        ret = viv_kvm_put_tsc(k, err);
    k->pending_io = false;
    return ret;
}
