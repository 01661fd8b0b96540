/* Entering a handler: IVT, protected-mode gates, 64-bit gates. SDM 3A 6.10-6.14, 20.1.4, 20.2-20.3. */
#include "cpu/x86/exc_int.h"

#include "base/log.h"
#include "cpu/vcpu.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/regs_text.h"
#include "cpu/x86/seg.h"

#include <stddef.h>

struct event {
    enum viv_event_kind kind;
    unsigned vector;
    bool has_error;
    uint32_t error;
    uint64_t rip;   /* to return to */
    uint32_t flags; /* to push */
};

static uint32_t idt_error(const struct viv_x86 *c, const struct event *e)
{
    return e->vector * 8 + 2;
}

static void finish(struct viv_x86 *c, uint32_t clear)
{
    uint32_t old = c->eflags;

    c->eflags &= ~clear;
    viv_x86_flags_changed(c, old);
    c->rip = c->next_rip;
}

/* Also for virtual-8086 mode with VME: pushes onto the current stack, 16-bit. */
static void deliver_ivt(struct viv_x86 *c, const struct event *e, uint64_t table, uint32_t limit,
                        uint32_t clear)
{
    struct viv_stack s;
    uint32_t vec;
    uint16_t ip, cs;

    if (e->vector * 4 + 3 > limit)
        viv_x86_raise_error(c, VIV_GP, idt_error(c, e));
    vec = (uint32_t)viv_ld_sys(c, table + e->vector * 4, 4);
    ip = (uint16_t)vec;
    cs = (uint16_t)(vec >> 16);
    viv_stack_current(c, &s);
    viv_stack_push(c, &s, e->flags & 0xffff, 2);
    viv_stack_push(c, &s, c->seg[VIV_CS].sel, 2);
    viv_stack_push(c, &s, e->rip & 0xffff, 2);
    viv_stack_commit_sp(c, &s);
    viv_seg_set_real(c, VIV_CS, cs);
    if (c->mode != VIV_MODE_V86)
        c->seg[VIV_CS].attr |= 8;
    c->next_rip = ip;
    finish(c, clear);
}

bool viv_v86_soft_int(struct viv_x86 *c, unsigned vector)
{
    const struct viv_seg *tr = &c->seg[VIV_TR];
    uint32_t map, flags, clear;
    struct event e;

    if (!(c->cr4 & VIV_CR4_VME) || tr->limit < 0x67 || VIV_AR_TYPE(tr->attr) < 9)
        return false;
    map = (uint32_t)viv_ld_sys(c, tr->base + 0x66, 2) - 32;
    if (map + vector / 8 > tr->limit)
        return false;
    if (viv_ld_sys(c, tr->base + map + vector / 8, 1) >> (vector & 7) & 1)
        return false;
    flags = viv_x86_get_eflags(c);
    if (viv_x86_iopl(c) < 3) { /* IF as seen is VIF; IOPL as seen is 3 */
        flags = (flags & ~VIV_FL_IF) | (flags & VIV_FL_VIF ? VIV_FL_IF : 0) | VIV_FL_IOPL;
        clear = VIV_FL_VIF | VIV_FL_TF;
    } else {
        clear = VIV_FL_IF | VIV_FL_TF;
    }
    e = (struct event){.kind = VIV_EV_SOFT_INT, .vector = vector, .rip = c->next_rip, .flags = flags};
    deliver_ivt(c, &e, 0, 0xffff, clear);
    return true;
}

/* The code segment a gate names; returns the CPL of the handler. */
static unsigned gate_cs(struct viv_x86 *c, uint16_t sel, struct viv_seg *cs, bool long_mode)
{
    struct viv_desc d;
    unsigned dpl;

    if (!(sel & ~3u))
        viv_x86_raise_error(c, VIV_GP, 0);
    if (!viv_seg_fetch(c, sel, &d) || !viv_desc_s(&d) || !viv_desc_code(&d))
        viv_x86_raise_error(c, VIV_GP, sel & 0xfffc);
    dpl = viv_desc_dpl(&d);
    if (dpl > c->cpl)
        viv_x86_raise_error(c, VIV_GP, sel & 0xfffc);
    if (long_mode && ((d.hi >> 21 & 3) != 1)) /* L = 1, D = 0 */
        viv_x86_raise_error(c, VIV_GP, sel & 0xfffc);
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, VIV_NP, sel & 0xfffc);
    viv_seg_mark_accessed(c, sel, &d);
    d.hi |= 0x100;
    viv_seg_from_desc(cs, sel, &d);
    return viv_desc_type(&d) & 4 ? c->cpl : dpl; /* conforming keeps CPL */
}

static void check_gate_dpl(struct viv_x86 *c, const struct event *e, unsigned dpl)
{
    if (e->kind == VIV_EV_SOFT_INT && dpl < c->cpl)
        viv_x86_raise_error(c, VIV_GP, idt_error(c, e));
}

static void deliver_protected(struct viv_x86 *c, const struct event *e)
{
    struct viv_seg cs;
    struct viv_stack s;
    bool v86 = c->mode == VIV_MODE_V86, inner;
    unsigned type, size, cpl;
    uint64_t raw, offset;
    struct viv_desc g;

    if (e->vector * 8 + 7 > c->idtr.limit)
        viv_x86_raise_error(c, VIV_GP, idt_error(c, e));
    raw = viv_ld_sys(c, c->idtr.base + e->vector * 8, 8);
    g = (struct viv_desc){.lo = (uint32_t)raw, .hi = (uint32_t)(raw >> 32)};
    type = viv_desc_s(&g) ? 0 : viv_desc_type(&g);
    if (type != 5 && (type & 7) != 6 && (type & 7) != 7)
        viv_x86_raise_error(c, VIV_GP, idt_error(c, e));
    check_gate_dpl(c, e, viv_desc_dpl(&g));
    if (!viv_desc_present(&g))
        viv_x86_raise_error(c, VIV_NP, idt_error(c, e));
    if (type == 5) {
        c->eflags |= e->flags & VIV_FL_RF; /* for the old task's TSS */
        viv_task_switch(c, (uint16_t)(g.lo >> 16), VIV_TASK_GATE, e->rip, e->has_error, e->error);
        c->rip = c->next_rip;
        return;
    }
    size = type & 8 ? 4 : 2;
    offset = (g.lo & 0xffff) | (size == 4 ? g.hi & 0xffff0000u : 0);
    cpl = gate_cs(c, (uint16_t)(g.lo >> 16), &cs, false);
    inner = cpl < c->cpl;
    if (v86 && cpl != 0)
        viv_x86_raise_error(c, VIV_GP, g.lo >> 16 & 0xfffc);
    if (inner) {
        uint16_t ss;

        viv_tss_stack(c, cpl, &ss, &s.sp);
        viv_seg_check_ss(c, ss, cpl, VIV_TS, &s.ss);
        s.cpl = cpl;
        s.flat64 = false;
        s.mask = s.ss.attr & VIV_SEG_DB ? 0xffffffffull : 0xffffull;
        s.error = ss & 0xfffc;
    } else {
        viv_stack_current(c, &s);
    }
    s.error |= viv_exc_ext(c);
    if (offset > cs.limit)
        viv_x86_raise_error(c, VIV_GP, 0);
    if (v86) {
        viv_stack_push(c, &s, c->seg[VIV_GS].sel, size);
        viv_stack_push(c, &s, c->seg[VIV_FS].sel, size);
        viv_stack_push(c, &s, c->seg[VIV_DS].sel, size);
        viv_stack_push(c, &s, c->seg[VIV_ES].sel, size);
    }
    if (inner) {
        viv_stack_push(c, &s, c->seg[VIV_SS].sel, size);
        viv_stack_push(c, &s, c->gpr[VIV_RSP], size);
    }
    viv_stack_push(c, &s, e->flags, size);
    viv_stack_push(c, &s, c->seg[VIV_CS].sel, size);
    viv_stack_push(c, &s, e->rip, size);
    if (e->has_error)
        viv_stack_push(c, &s, e->error, size);

    if (v86) {
        static const uint8_t data[] = {VIV_ES, VIV_DS, VIV_FS, VIV_GS};

        for (unsigned n = 0; n < 4; n++)
            c->seg[data[n]] = (struct viv_seg){.attr = VIV_SEG_UNUSABLE};
        c->eflags &= ~VIV_FL_VM;
        viv_x86_set_cpl(c, 0);
    }
    if (inner)
        c->seg[VIV_SS] = s.ss;
    viv_stack_commit_sp(c, &s);
    viv_seg_set_cs(c, &cs, cpl, offset);
    finish(c, VIV_FL_TF | VIV_FL_NT | VIV_FL_RF | VIV_FL_VM | (type & 1 ? 0 : VIV_FL_IF));
}

static void deliver_long(struct viv_x86 *c, const struct event *e)
{
    struct viv_seg cs;
    struct viv_stack s = {.mask = ~0ull, .flat64 = true};
    uint64_t raw, offset;
    struct viv_desc g;
    unsigned type, cpl, ist;
    bool inner;

    if (e->vector * 16 + 15 > c->idtr.limit)
        viv_x86_raise_error(c, VIV_GP, idt_error(c, e));
    raw = viv_ld_sys(c, c->idtr.base + e->vector * 16, 8);
    g = (struct viv_desc){.lo = (uint32_t)raw, .hi = (uint32_t)(raw >> 32)};
    g.upper = (uint32_t)viv_ld_sys(c, c->idtr.base + e->vector * 16 + 8, 4);
    type = viv_desc_s(&g) ? 0 : viv_desc_type(&g);
    if (type != 14 && type != 15)
        viv_x86_raise_error(c, VIV_GP, idt_error(c, e));
    check_gate_dpl(c, e, viv_desc_dpl(&g));
    if (!viv_desc_present(&g))
        viv_x86_raise_error(c, VIV_NP, idt_error(c, e));
    offset = (g.lo & 0xffff) | (g.hi & 0xffff0000u) | (uint64_t)g.upper << 32;
    cpl = gate_cs(c, (uint16_t)(g.lo >> 16), &cs, true);
    inner = cpl < c->cpl;
    ist = g.hi & 7;
    s.cpl = cpl;
    s.sp = inner || ist ? viv_tss_rsp64(c, cpl, ist) : c->gpr[VIV_RSP];
    s.sp &= ~15ull;
    if (!viv_x86_canonical(c, offset))
        viv_x86_raise_error(c, VIV_GP, 0);
    s.error = viv_exc_ext(c);
    viv_stack_push(c, &s, c->seg[VIV_SS].sel, 8);
    viv_stack_push(c, &s, c->gpr[VIV_RSP], 8);
    viv_stack_push(c, &s, e->flags, 8);
    viv_stack_push(c, &s, c->seg[VIV_CS].sel, 8);
    viv_stack_push(c, &s, e->rip, 8);
    if (e->has_error)
        viv_stack_push(c, &s, e->error, 8);

    c->gpr[VIV_RSP] = s.sp;
    if (inner)
        c->seg[VIV_SS] = (struct viv_seg){.sel = (uint16_t)cpl, .attr = VIV_SEG_UNUSABLE | cpl << 5};
    viv_seg_set_cs(c, &cs, cpl, offset);
    finish(c, VIV_FL_TF | VIV_FL_NT | VIV_FL_RF | VIV_FL_VM | (type == 15 ? 0 : VIV_FL_IF));
}

/* In the words of QEMU's log, which tools for writers of kernels read. */
static void log_event(const struct viv_x86 *c, const struct event *e)
{
    static const char *const kinds[] = {
        [VIV_EV_FAULT] = "fault", [VIV_EV_TRAP] = "trap", [VIV_EV_SOFT_INT] = "software", [VIV_EV_ICEBP] = "icebp", [VIV_EV_EXT] = "hardware"};
    bool soft = e->kind == VIV_EV_SOFT_INT || e->kind == VIV_EV_ICEBP, fault = e->kind == VIV_EV_FAULT && e->vector == VIV_PF;

    viv_x86_log_regs(VIV_LOG_INT, c, "v=%02x e=%04x i=%d cpl=%u IP=%04x:%016llx pc=%016llx SP=%04x:%016llx %s=%016llx (%s)", e->vector, e->error,
                     soft, c->cpl, c->seg[VIV_CS].sel, (unsigned long long)c->rip, (unsigned long long)(c->seg[VIV_CS].base + c->rip),
                     c->seg[VIV_SS].sel, (unsigned long long)c->gpr[VIV_RSP], fault ? "CR2" : "EAX",
                     (unsigned long long)(fault ? c->cr2 : c->gpr[VIV_RAX]), kinds[e->kind]);
}

void viv_x86_deliver(struct viv_x86 *c, enum viv_event_kind kind, unsigned vector, bool has_error,
                     uint32_t error)
{
    struct event e = {.kind = kind, .vector = vector, .has_error = has_error, .error = error};

    if (viv_log_on(VIV_LOG_INT))
        log_event(c, &e);
    /* A fault while this is delivered is judged against it; software interrupts and external ones are benign
     * whatever their vector is. */
    c->delivering = true;
    c->deliver_vector = (uint8_t)vector;
    c->deliver_kind = (uint8_t)kind;
    e.rip = kind == VIV_EV_SOFT_INT || kind == VIV_EV_ICEBP ? c->next_rip : c->rip;
    e.flags = viv_x86_get_eflags(c);
    if (kind == VIV_EV_FAULT && vector != VIV_DB)
        e.flags |= VIV_FL_RF; /* 17.3.1.1: pushed by faults, so that their instruction may restart */
    c->sti_shadow = c->mov_ss_shadow = false;
    c->shadow_rip = VIV_NO_SHADOW;
    if (c->mode == VIV_MODE_REAL)
        deliver_ivt(c, &e, c->idtr.base, c->idtr.limit, VIV_FL_IF | VIV_FL_TF | VIV_FL_RF | VIV_FL_AC);
    else if (viv_x86_long_active(c))
        deliver_long(c, &e);
    else
        deliver_protected(c, &e);
    c->delivering = false;
}
