/* Far JMP, CALL, RET and IRET (SDM vol. 2; gates: 3A 5.8). Everything that can fault comes before the first
 * register changes; pushes go to memory through struct viv_stack, whose pointer is committed last. */
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/seg.h"

#define SEL_ERR(sel) ((sel) & 0xfffcu)

static void check_code_target(struct viv_x86 *c, uint16_t sel, const struct viv_desc *d, unsigned rpl)
{
    unsigned dpl = viv_desc_dpl(d);

    if (viv_desc_type(d) & 4 ? dpl > c->cpl : rpl > c->cpl || dpl != c->cpl)
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (viv_x86_long_active(c) && (d->hi >> 21 & 3) == 3) /* L and D */
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (!viv_desc_present(d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
}

static void take_code(struct viv_x86 *c, uint16_t sel, struct viv_desc *d, struct viv_seg *cs)
{
    viv_seg_mark_accessed(c, sel, d);
    d->hi |= 0x100;
    viv_seg_from_desc(cs, sel, d);
}

static void far_real(struct viv_x86 *c, uint16_t sel, uint64_t off)
{
    if (off > c->seg[VIV_CS].limit)
        viv_x86_gp0(c);
    viv_seg_set_real(c, VIV_CS, sel);
    if (c->mode != VIV_MODE_V86)
        c->seg[VIV_CS].attr |= 8;
    c->next_rip = off;
}

static void fetch_target(struct viv_x86 *c, uint16_t sel, struct viv_desc *d)
{
    if (!(sel & ~3u))
        viv_x86_gp0(c);
    if (!viv_seg_fetch(c, sel, d))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
}

struct gate {
    uint16_t sel;
    uint64_t off;
    unsigned size;   /* of what is pushed: 2, 4, 8 */
    unsigned params;
};

/* A call gate's own checks; the descriptor's type is one of them already. */
static void read_gate(struct viv_x86 *c, uint16_t sel, struct viv_desc *d, struct gate *g)
{
    if (viv_desc_dpl(d) < c->cpl || viv_desc_dpl(d) < (sel & 3u))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (!viv_desc_present(d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    *g = (struct gate){.sel = (uint16_t)(d->lo >> 16), .off = d->lo & 0xffff, .params = d->hi & 31};
    if (viv_x86_long_active(c)) {
        if (!viv_seg_fetch_system(c, sel, d))
            viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
        g->off |= (d->hi & 0xffff0000u) | (uint64_t)d->upper << 32;
        g->size = 8;
        g->params = 0;
    } else if (viv_desc_type(d) == 12) {
        g->off |= d->hi & 0xffff0000u;
        g->size = 4;
    } else {
        g->size = 2;
    }
}

/* Descriptor of the code segment a call gate leads to. */
static void gate_target(struct viv_x86 *c, const struct gate *g, struct viv_desc *d)
{
    if (!(g->sel & ~3u))
        viv_x86_gp0(c);
    if (!viv_seg_fetch(c, g->sel, d) || !viv_desc_s(d) || !viv_desc_code(d) ||
        viv_desc_dpl(d) > c->cpl)
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(g->sel));
    if (viv_x86_long_active(c) && (d->hi >> 21 & 3) != 1)
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(g->sel));
    if (!viv_desc_present(d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(g->sel));
}

static void jump_gate(struct viv_x86 *c, uint16_t sel, struct viv_desc *d)
{
    struct viv_seg cs;
    struct gate g;

    read_gate(c, sel, d, &g);
    gate_target(c, &g, d);
    if (!(viv_desc_type(d) & 4) && viv_desc_dpl(d) != c->cpl)
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(g.sel));
    take_code(c, g.sel, d, &cs);
    viv_seg_check_rip(c, &cs, g.off);
    viv_seg_set_cs(c, &cs, c->cpl, g.off);
}

/* Task gate or TSS as the target of JMP or CALL. */
static void far_task(struct viv_x86 *c, uint16_t sel, const struct viv_desc *d, bool call)
{
    uint16_t tss = sel;

    if (viv_desc_dpl(d) < c->cpl || viv_desc_dpl(d) < (sel & 3u))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (!viv_desc_present(d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    if (viv_desc_type(d) == 5)
        tss = (uint16_t)(d->lo >> 16);
    viv_task_switch(c, tss, call ? VIV_TASK_CALL : VIV_TASK_JMP, c->next_rip, false, 0);
}

static bool is_task(const struct viv_x86 *c, const struct viv_desc *d)
{
    unsigned t = viv_desc_type(d);

    return !viv_x86_long_active(c) && (t == 1 || t == 5 || t == 9);
}

static bool is_call_gate(const struct viv_x86 *c, const struct viv_desc *d)
{
    unsigned t = viv_desc_type(d);

    return t == 12 || (t == 4 && !viv_x86_long_active(c));
}

void viv_far_jump(struct viv_x86 *c, uint16_t sel, uint64_t off, unsigned osz)
{
    struct viv_desc d;
    struct viv_seg cs;

    off &= viv_x86_ip_mask(osz);
    if (!viv_x86_protected(c)) {
        far_real(c, sel, off);
        return;
    }
    fetch_target(c, sel, &d);
    if (!viv_desc_s(&d)) {
        if (is_call_gate(c, &d))
            jump_gate(c, sel, &d);
        else if (is_task(c, &d))
            far_task(c, sel, &d, false);
        else
            viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
        return;
    }
    if (!viv_desc_code(&d))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    check_code_target(c, sel, &d, sel & 3);
    take_code(c, sel, &d, &cs);
    viv_seg_check_rip(c, &cs, off);
    viv_seg_set_cs(c, &cs, c->cpl, off);
}

/* To an inner level: new stack from the TSS, SS:SP and parameters copied over. */
static void call_inner(struct viv_x86 *c, const struct gate *g, struct viv_desc *d)
{
    unsigned cpl = viv_desc_dpl(d);
    struct viv_stack old, s = {.cpl = cpl};
    uint64_t params[31];
    struct viv_seg cs;
    uint16_t ss = (uint16_t)cpl;

    if (g->size == 8) {
        s.sp = viv_tss_rsp64(c, cpl, 0);
        s.flat64 = true;
        s.mask = ~0ull;
        s.ss = (struct viv_seg){.sel = ss, .attr = VIV_SEG_UNUSABLE | cpl << 5};
    } else {
        viv_tss_stack(c, cpl, &ss, &s.sp);
        viv_seg_check_ss(c, ss, cpl, VIV_TS, &s.ss);
        s.mask = s.ss.attr & VIV_SEG_DB ? 0xffffffffull : 0xffffull;
        s.error = ss & 0xfffc;
    }
    viv_stack_current(c, &old);
    for (unsigned n = 0; n < g->params; n++)
        params[n] = viv_stack_pop(c, &old, g->size);
    viv_stack_push(c, &s, c->seg[VIV_SS].sel, g->size);
    viv_stack_push(c, &s, c->gpr[VIV_RSP], g->size);
    for (unsigned n = g->params; n-- > 0;)
        viv_stack_push(c, &s, params[n], g->size);
    viv_stack_push(c, &s, c->seg[VIV_CS].sel, g->size);
    viv_stack_push(c, &s, c->next_rip, g->size);
    take_code(c, g->sel, d, &cs);
    viv_seg_check_rip(c, &cs, g->off);
    c->seg[VIV_SS] = s.ss;
    viv_stack_commit_sp(c, &s);
    viv_seg_set_cs(c, &cs, cpl, g->off);
}

static void call_same(struct viv_x86 *c, uint16_t sel, struct viv_desc *d, uint64_t off, unsigned size)
{
    struct viv_stack s;
    struct viv_seg cs;

    take_code(c, sel, d, &cs);
    viv_stack_current(c, &s);
    viv_stack_push(c, &s, c->seg[VIV_CS].sel, size);
    viv_stack_push(c, &s, c->next_rip, size);
    viv_seg_check_rip(c, &cs, off);
    viv_stack_commit_sp(c, &s);
    viv_seg_set_cs(c, &cs, c->cpl, off);
}

void viv_far_call(struct viv_x86 *c, uint16_t sel, uint64_t off, unsigned osz)
{
    struct viv_desc d;
    struct gate g;

    off &= viv_x86_ip_mask(osz);
    if (!viv_x86_protected(c)) {
        struct viv_stack s;

        if (off > c->seg[VIV_CS].limit)
            viv_x86_gp0(c);
        viv_stack_current(c, &s);
        viv_stack_push(c, &s, c->seg[VIV_CS].sel, osz);
        viv_stack_push(c, &s, c->next_rip, osz);
        viv_stack_commit_sp(c, &s);
        far_real(c, sel, off);
        return;
    }
    fetch_target(c, sel, &d);
    if (viv_desc_s(&d)) {
        if (!viv_desc_code(&d))
            viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
        check_code_target(c, sel, &d, sel & 3);
        call_same(c, sel, &d, off, osz);
    } else if (is_call_gate(c, &d)) {
        read_gate(c, sel, &d, &g);
        gate_target(c, &g, &d);
        if (!(viv_desc_type(&d) & 4) && viv_desc_dpl(&d) < c->cpl)
            call_inner(c, &g, &d);
        else
            call_same(c, g.sel, &d, g.off, g.size);
    } else if (is_task(c, &d)) {
        far_task(c, sel, &d, true);
    } else {
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    }
}

/* The code segment a return goes to. `rpl` is the CPL afterwards. */
static void return_cs(struct viv_x86 *c, uint16_t sel, struct viv_seg *cs)
{
    unsigned rpl = sel & 3;
    struct viv_desc d;

    if (!(sel & ~3u))
        viv_x86_gp0(c);
    if (!viv_seg_fetch(c, sel, &d) || !viv_desc_s(&d) || !viv_desc_code(&d) || rpl < c->cpl)
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (viv_desc_type(&d) & 4 ? viv_desc_dpl(&d) > rpl : viv_desc_dpl(&d) != rpl)
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (viv_x86_long_active(c) && (d.hi >> 21 & 3) == 3)
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    take_code(c, sel, &d, cs);
}

/* SS:SP popped by a return to an outer level, or any IRETQ. */
static void return_ss(struct viv_x86 *c, uint16_t sel, unsigned rpl, const struct viv_seg *cs,
                      struct viv_seg *ss)
{
    if (!(sel & ~3u) && viv_x86_long_active(c) && (cs->attr & VIV_SEG_L) && rpl != 3) {
        if ((sel & 3u) != rpl)
            viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
        *ss = (struct viv_seg){.sel = sel, .attr = VIV_SEG_UNUSABLE | rpl << 5};
        return;
    }
    viv_seg_check_ss(c, sel, rpl, VIV_GP, ss);
}

static void set_sp(struct viv_x86 *c, const struct viv_seg *ss, uint64_t sp, bool to64)
{
    if (to64)
        c->gpr[VIV_RSP] = sp;
    else if (ss->attr & VIV_SEG_DB)
        c->gpr[VIV_RSP] = (uint32_t)sp;
    else
        c->gpr[VIV_RSP] = (c->gpr[VIV_RSP] & ~0xffffull) | (sp & 0xffff);
}

void viv_far_return(struct viv_x86 *c, unsigned osz, uint16_t release)
{
    struct viv_stack s;
    struct viv_seg cs, ss;
    uint64_t rip, sp;
    uint16_t sel;
    unsigned rpl;

    viv_stack_current(c, &s);
    rip = viv_stack_pop(c, &s, osz);
    sel = (uint16_t)viv_stack_pop(c, &s, osz);
    if (!viv_x86_protected(c)) {
        if (rip > c->seg[VIV_CS].limit)
            viv_x86_gp0(c);
        s.sp += release;
        viv_stack_commit_sp(c, &s);
        far_real(c, sel, rip);
        return;
    }
    rpl = sel & 3;
    return_cs(c, sel, &cs);
    viv_seg_check_rip(c, &cs, rip);
    s.sp = (s.sp & ~s.mask) | ((s.sp + release) & s.mask);
    if (rpl == c->cpl) {
        viv_stack_commit_sp(c, &s);
        viv_seg_set_cs(c, &cs, rpl, rip);
        return;
    }
    sp = viv_stack_pop(c, &s, osz);
    sel = (uint16_t)viv_stack_pop(c, &s, osz);
    return_ss(c, sel, rpl, &cs, &ss);
    c->seg[VIV_SS] = ss;
    viv_seg_set_cs(c, &cs, rpl, rip);
    set_sp(c, &ss, sp + release, c->mode == VIV_MODE_LONG);
    viv_seg_drop_inner(c);
}

/* ---- IRET ---- */

/* Flags that IRET at this privilege may change. */
static uint32_t iret_mask(const struct viv_x86 *c, unsigned osz)
{
    uint32_t m = VIV_FL_ARITH | VIV_FL_TF | VIV_FL_DF | VIV_FL_NT;

    if (osz != 2)
        m |= VIV_FL_RF | VIV_FL_AC | VIV_FL_ID;
    if (c->cpl <= viv_x86_iopl(c))
        m |= VIV_FL_IF;
    if (c->cpl == 0) {
        m |= VIV_FL_IOPL;
        if (osz != 2)
            m |= VIV_FL_VIF | VIV_FL_VIP;
    }
    return m;
}

static void iret_flags(struct viv_x86 *c, uint32_t mask, uint32_t flags)
{
    viv_x86_load_flags(c, (viv_x86_get_eflags(c) & ~mask) | (flags & mask));
}

static void iret_real(struct viv_x86 *c, unsigned osz)
{
    uint32_t flags, mask = VIV_FL_ARITH | VIV_FL_TF | VIV_FL_DF | VIV_FL_NT | VIV_FL_IF | VIV_FL_IOPL;
    struct viv_stack s;
    uint64_t rip;
    uint16_t sel;
    bool v86 = c->mode == VIV_MODE_V86, vme = false;

    if (v86 && viv_x86_iopl(c) < 3) {
        if (!(c->cr4 & VIV_CR4_VME) || osz != 2)
            viv_x86_gp0(c);
        vme = true;
    }
    viv_stack_current(c, &s);
    rip = viv_stack_pop(c, &s, osz);
    sel = (uint16_t)viv_stack_pop(c, &s, osz);
    flags = (uint32_t)viv_stack_pop(c, &s, osz);
    if (rip > (v86 ? 0xffffu : c->seg[VIV_CS].limit))
        viv_x86_gp0(c);
    if (osz == 4)
        mask |= VIV_FL_RF | VIV_FL_AC | VIV_FL_ID;
    if (v86)
        mask &= ~VIV_FL_IOPL;
    if (vme) {
        if ((flags & VIV_FL_TF) || ((flags & VIV_FL_IF) && (c->eflags & VIV_FL_VIP)))
            viv_x86_gp0(c);
        mask = (mask & ~VIV_FL_IF) | VIV_FL_VIF;
        flags = (flags & ~VIV_FL_VIF) | (flags & VIV_FL_IF ? VIV_FL_VIF : 0);
    }
    viv_stack_commit_sp(c, &s);
    far_real(c, sel, rip);
    iret_flags(c, mask, flags);
}

static void iret_to_v86(struct viv_x86 *c, struct viv_stack *s, uint64_t rip, uint16_t cs, uint32_t flags)
{
    uint32_t sp = (uint32_t)viv_stack_pop(c, s, 4);
    uint16_t ss = (uint16_t)viv_stack_pop(c, s, 4);
    uint16_t es = (uint16_t)viv_stack_pop(c, s, 4), ds = (uint16_t)viv_stack_pop(c, s, 4);
    uint16_t fs = (uint16_t)viv_stack_pop(c, s, 4), gs = (uint16_t)viv_stack_pop(c, s, 4);

    if ((rip & 0xffffffff) > 0xffff)
        viv_x86_gp0(c);
    viv_x86_load_flags(c, flags);
    viv_x86_set_cpl(c, 3); /* sees VM: virtual-8086 mode from here on */
    viv_seg_set_real(c, VIV_CS, cs);
    viv_seg_set_real(c, VIV_SS, ss);
    viv_seg_set_real(c, VIV_ES, es);
    viv_seg_set_real(c, VIV_DS, ds);
    viv_seg_set_real(c, VIV_FS, fs);
    viv_seg_set_real(c, VIV_GS, gs);
    c->gpr[VIV_RSP] = sp;
    c->next_rip = rip & 0xffff;
}

static void iret_task(struct viv_x86 *c)
{
    uint16_t link;

    if (viv_x86_long_active(c))
        viv_x86_gp0(c);
    link = (uint16_t)viv_ld_sys(c, c->seg[VIV_TR].base, 2);
    viv_task_switch(c, link, VIV_TASK_IRET, c->next_rip, false, 0);
}

void viv_iret(struct viv_x86 *c, unsigned osz)
{
    bool long_code = c->mode == VIV_MODE_LONG;
    struct viv_stack s;
    struct viv_seg cs, ss;
    uint64_t rip, sp;
    uint32_t flags, mask;
    uint16_t sel;
    unsigned rpl;

    if (!viv_x86_protected(c)) {
        iret_real(c, osz);
        return;
    }
    if (c->eflags & VIV_FL_NT) {
        iret_task(c);
        return;
    }
    viv_stack_current(c, &s);
    rip = viv_stack_pop(c, &s, osz);
    sel = (uint16_t)viv_stack_pop(c, &s, osz);
    flags = (uint32_t)viv_stack_pop(c, &s, osz);
    if ((flags & VIV_FL_VM) && c->cpl == 0 && osz == 4 && !viv_x86_long_active(c)) {
        iret_to_v86(c, &s, rip, sel, flags);
        return;
    }
    rpl = sel & 3;
    return_cs(c, sel, &cs);
    mask = iret_mask(c, osz);
    if (rpl == c->cpl && !long_code) {
        viv_seg_check_rip(c, &cs, rip);
        viv_stack_commit_sp(c, &s);
        viv_seg_set_cs(c, &cs, rpl, rip);
        iret_flags(c, mask, flags);
        return;
    }
    sp = viv_stack_pop(c, &s, osz);
    sel = (uint16_t)viv_stack_pop(c, &s, osz);
    return_ss(c, sel, rpl, &cs, &ss);
    viv_seg_check_rip(c, &cs, rip);
    c->seg[VIV_SS] = ss;
    iret_flags(c, mask, flags);
    viv_seg_set_cs(c, &cs, rpl, rip);
    set_sp(c, &ss, sp, c->mode == VIV_MODE_LONG);
    viv_seg_drop_inner(c);
}
