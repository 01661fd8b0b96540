/* Task-state segments: inner stacks, I/O map owner, hardware task switches (SDM 3A chapter 7). */
#include "cpu/x86/debug.h"
#include "cpu/x86/exc_int.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/seg.h"
#include "cpu/x86/walk.h"

#define SEL_ERR(sel) ((sel) & 0xfffcu)

static bool tss_is_32(const struct viv_seg *tr)
{
    return VIV_AR_TYPE(tr->attr) & 8;
}

void viv_tss_stack(struct viv_x86 *c, unsigned cpl, uint16_t *ss, uint64_t *sp)
{
    const struct viv_seg *tr = &c->seg[VIV_TR];

    if (tss_is_32(tr)) {
        if (cpl * 8 + 11 > tr->limit)
            viv_x86_raise_error(c, VIV_TS, SEL_ERR(tr->sel));
        *sp = viv_ld_sys(c, tr->base + 4 + cpl * 8, 4);
        *ss = (uint16_t)viv_ld_sys(c, tr->base + 8 + cpl * 8, 2);
    } else {
        if (cpl * 4 + 5 > tr->limit)
            viv_x86_raise_error(c, VIV_TS, SEL_ERR(tr->sel));
        *sp = viv_ld_sys(c, tr->base + 2 + cpl * 4, 2);
        *ss = (uint16_t)viv_ld_sys(c, tr->base + 4 + cpl * 4, 2);
    }
}

uint64_t viv_tss_rsp64(struct viv_x86 *c, unsigned cpl, unsigned ist)
{
    const struct viv_seg *tr = &c->seg[VIV_TR];
    uint32_t off = ist ? 0x24 + (ist - 1) * 8 : 4 + cpl * 8;
    uint64_t sp;

    if (off + 7 > tr->limit)
        viv_x86_raise_error(c, VIV_TS, SEL_ERR(tr->sel));
    sp = viv_ld_sys(c, tr->base + off, 8);
    if (!viv_x86_canonical(c, sp))
        viv_x86_raise_error(c, VIV_SSF, 0);
    return sp;
}

struct image { /* what a TSS holds, both sizes */
    uint32_t cr3, eip, eflags, gpr[8], debug;
    uint16_t seg[6], ldt;
};

static void save_old(struct viv_x86 *c, uint32_t eip, uint32_t eflags)
{
    static const uint8_t order[6] = {VIV_ES, VIV_CS, VIV_SS, VIV_DS, VIV_FS, VIV_GS};
    const struct viv_seg *tr = &c->seg[VIV_TR];
    uint64_t b = tr->base;

    if (tss_is_32(tr)) {
        viv_mmu_probe_sys(c, b + 0x20, 0x40, VIV_ACC_WRITE);
        viv_st_sys(c, b + 0x20, eip, 4);
        viv_st_sys(c, b + 0x24, eflags, 4);
        for (unsigned n = 0; n < 8; n++)
            viv_st_sys(c, b + 0x28 + n * 4, (uint32_t)c->gpr[n], 4);
        for (unsigned n = 0; n < 6; n++)
            viv_st_sys(c, b + 0x48 + n * 4, c->seg[order[n]].sel, 2);
    } else {
        viv_mmu_probe_sys(c, b + 0x0e, 0x1c, VIV_ACC_WRITE);
        viv_st_sys(c, b + 0x0e, eip & 0xffff, 2);
        viv_st_sys(c, b + 0x10, eflags & 0xffff, 2);
        for (unsigned n = 0; n < 8; n++)
            viv_st_sys(c, b + 0x12 + n * 2, c->gpr[n] & 0xffff, 2);
        for (unsigned n = 0; n < 4; n++)
            viv_st_sys(c, b + 0x22 + n * 2, c->seg[order[n]].sel, 2);
    }
}

static void read_new(struct viv_x86 *c, uint64_t b, bool is32, struct image *t)
{
    *t = (struct image){0};
    if (is32) {
        t->cr3 = (uint32_t)viv_ld_sys(c, b + 0x1c, 4);
        t->eip = (uint32_t)viv_ld_sys(c, b + 0x20, 4);
        t->eflags = (uint32_t)viv_ld_sys(c, b + 0x24, 4);
        for (unsigned n = 0; n < 8; n++)
            t->gpr[n] = (uint32_t)viv_ld_sys(c, b + 0x28 + n * 4, 4);
        for (unsigned n = 0; n < 6; n++)
            t->seg[n] = (uint16_t)viv_ld_sys(c, b + 0x48 + n * 4, 2);
        t->ldt = (uint16_t)viv_ld_sys(c, b + 0x60, 2);
        t->debug = (uint32_t)viv_ld_sys(c, b + 0x64, 2) & 1;
    } else {
        t->eip = (uint32_t)viv_ld_sys(c, b + 0x0e, 2);
        t->eflags = (uint32_t)viv_ld_sys(c, b + 0x10, 2);
        for (unsigned n = 0; n < 8; n++)
            t->gpr[n] = (uint32_t)viv_ld_sys(c, b + 0x12 + n * 2, 2) | 0xffff0000u;
        for (unsigned n = 0; n < 4; n++)
            t->seg[n] = (uint16_t)viv_ld_sys(c, b + 0x22 + n * 2, 2);
        t->ldt = (uint16_t)viv_ld_sys(c, b + 0x2a, 2);
    }
}

/* The new task's segments: faults here are #TS, in the new task (7.3, step 13 on). */
static void load_code_ts(struct viv_x86 *c, uint16_t sel, struct viv_seg *cs)
{
    struct viv_desc d;
    unsigned rpl = sel & 3;

    if (!(sel & ~3u) || !viv_seg_fetch(c, sel, &d) || !viv_desc_s(&d) || !viv_desc_code(&d))
        viv_x86_raise_error(c, VIV_TS, SEL_ERR(sel));
    if (viv_desc_type(&d) & 4 ? viv_desc_dpl(&d) > rpl : viv_desc_dpl(&d) != rpl)
        viv_x86_raise_error(c, VIV_TS, SEL_ERR(sel));
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    viv_seg_mark_accessed(c, sel, &d);
    d.hi |= 0x100;
    viv_seg_from_desc(cs, sel, &d);
}

static void load_data_ts(struct viv_x86 *c, unsigned seg, uint16_t sel)
{
    struct viv_desc d;
    unsigned type;

    if (!(sel & ~3u))
        return;
    if (!viv_seg_fetch(c, sel, &d))
        viv_x86_raise_error(c, VIV_TS, SEL_ERR(sel));
    type = viv_desc_type(&d);
    if (!viv_desc_s(&d) || (type & 0xa) == 8 ||
        ((type & 0xc) != 0xc && ((sel & 3) > viv_desc_dpl(&d) || c->cpl > viv_desc_dpl(&d))))
        viv_x86_raise_error(c, VIV_TS, SEL_ERR(sel));
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    viv_seg_mark_accessed(c, sel, &d);
    d.hi |= 0x100;
    viv_seg_from_desc(&c->seg[seg], sel, &d);
}

static void enter_segments(struct viv_x86 *c, const struct image *t)
{
    static const uint8_t order[6] = {VIV_ES, VIV_CS, VIV_SS, VIV_DS, VIV_FS, VIV_GS};
    struct viv_seg cs, ss;

    /* Until each is loaded it holds the selector and is not usable. */
    for (unsigned n = 0; n < 6; n++)
        c->seg[order[n]] = (struct viv_seg){.sel = t->seg[n], .attr = VIV_SEG_UNUSABLE};
    if (c->eflags & VIV_FL_VM) {
        viv_x86_set_cpl(c, 3);
        for (unsigned n = 0; n < 6; n++)
            viv_seg_set_real(c, order[n], t->seg[n]);
        c->next_rip = t->eip;
        c->rip = t->eip;
        if (t->ldt & ~3u)
            viv_seg_load_ldtr(c, t->ldt, VIV_TS);
        return;
    }
    viv_x86_set_cpl(c, t->seg[1] & 3);
    viv_seg_load_ldtr(c, t->ldt, VIV_TS);
    load_code_ts(c, t->seg[1], &cs);
    c->seg[VIV_CS] = cs;
    viv_x86_set_cpl(c, t->seg[1] & 3);
    viv_seg_check_ss(c, t->seg[2], c->cpl, VIV_TS, &ss);
    c->seg[VIV_SS] = ss;
    load_data_ts(c, VIV_DS, t->seg[3]);
    load_data_ts(c, VIV_ES, t->seg[0]);
    load_data_ts(c, VIV_FS, t->seg[4]);
    load_data_ts(c, VIV_GS, t->seg[5]);
    if (t->eip > cs.limit)
        viv_x86_gp0(c);
}

static void check_tss(struct viv_x86 *c, uint16_t sel, enum viv_task_why why, struct viv_desc *d)
{
    unsigned vector = why == VIV_TASK_IRET ? VIV_TS : VIV_GP;
    unsigned want_busy = why == VIV_TASK_IRET ? 2 : 0;
    uint32_t limit;
    struct viv_seg s;

    if ((sel & 4) || !(sel & ~3u) || !viv_seg_fetch(c, sel, d))
        viv_x86_raise_error(c, vector, SEL_ERR(sel));
    if (viv_desc_s(d) || (viv_desc_type(d) & 5) != 1 || (viv_desc_type(d) & 2) != want_busy)
        viv_x86_raise_error(c, vector, SEL_ERR(sel));
    if (!viv_desc_present(d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    viv_seg_from_desc(&s, sel, d);
    limit = viv_desc_type(d) & 8 ? 0x67 : 0x2b;
    if (s.limit < limit)
        viv_x86_raise_error(c, VIV_TS, SEL_ERR(sel));
}

static void switch_cr3(struct viv_x86 *c, uint32_t cr3)
{
    if (!(c->cr0 & VIV_CR0_PG))
        return;
    if (viv_mmu_pae_legacy(c) && !viv_mmu_load_pdptes(c, cr3))
        viv_x86_raise_error(c, VIV_TS, SEL_ERR(c->seg[VIV_TR].sel));
    viv_mmu_set_cr3(c, cr3, false);
}

static void push_error(struct viv_x86 *c, bool is32, uint32_t error)
{
    struct viv_stack s;

    viv_stack_current(c, &s);
    viv_stack_push(c, &s, error, is32 ? 4 : 2);
    viv_stack_commit_sp(c, &s);
}

void viv_task_switch(struct viv_x86 *c, uint16_t sel, enum viv_task_why why, uint64_t return_rip,
                     bool has_error, uint32_t error)
{
    bool nested = why == VIV_TASK_CALL || why == VIV_TASK_GATE, is32;
    uint16_t old_sel = c->seg[VIV_TR].sel;
    uint32_t flags = viv_x86_get_eflags(c);
    struct viv_desc d;
    struct viv_seg tr;
    struct image t;

    check_tss(c, sel, why, &d);
    is32 = viv_desc_type(&d) & 8;
    viv_seg_from_desc(&tr, sel, &d);
    viv_mmu_probe_sys(c, tr.base, is32 ? 0x68 : 0x2c, nested ? VIV_ACC_WRITE : VIV_ACC_READ);
    read_new(c, tr.base, is32, &t);
    if (why == VIV_TASK_IRET)
        flags &= ~VIV_FL_NT;
    save_old(c, (uint32_t)return_rip, flags);
    if (!nested)
        viv_seg_set_busy(c, old_sel, false);
    if (nested) {
        viv_st_sys(c, tr.base, old_sel, 2);
        t.eflags |= VIV_FL_NT;
    }
    if (why != VIV_TASK_IRET)
        viv_seg_set_busy(c, sel, true);
    /* The commit point: what faults from here on faults in the new task. */
    tr.attr |= 2;
    c->seg[VIV_TR] = tr;
    c->cr0 |= VIV_CR0_TS;
    c->dr[7] &= ~0x155ull; /* local breakpoints */
    viv_debug_changed(c);
    for (unsigned n = 0; n < 8; n++)
        c->gpr[n] = t.gpr[n];
    viv_x86_load_flags(c, t.eflags | 2);
    c->next_rip = c->rip = t.eip;
    if (is32)
        switch_cr3(c, t.cr3);
    enter_segments(c, &t);
    if (has_error)
        push_error(c, is32, error);
    if (t.debug) {
        c->pending_db |= VIV_DR6_BT;
        c->attention |= VIV_ATT_TRAP;
    }
    c->next_rip = c->rip = t.eip;
}
