/* Descriptor fetch and selector loads. SDM 3A 3.4, 3.5, 5.2-5.7; MOV, POP, LLDT, LTR in vol. 2. */
#include "cpu/x86/seg.h"

#include "cpu/x86/cpuid.h"
#include "cpu/x86/mmu_int.h"

#define SEL_ERR(sel) ((sel) & 0xfffcu)

bool viv_seg_fetch(struct viv_x86 *c, uint16_t sel, struct viv_desc *d)
{
    uint64_t base = c->gdtr.base;
    uint32_t limit = c->gdtr.limit;
    uint64_t raw;

    if (sel & 4) {
        if (c->seg[VIV_LDTR].attr & VIV_SEG_UNUSABLE)
            return false;
        base = c->seg[VIV_LDTR].base;
        limit = c->seg[VIV_LDTR].limit;
    }
    if ((uint32_t)(sel | 7) > limit)
        return false;
    raw = viv_ld_sys(c, base + (sel & ~7u), 8);
    *d = (struct viv_desc){.lo = (uint32_t)raw, .hi = (uint32_t)(raw >> 32)};
    return true;
}

bool viv_seg_fetch_system(struct viv_x86 *c, uint16_t sel, struct viv_desc *d)
{
    uint64_t base = sel & 4 ? c->seg[VIV_LDTR].base : c->gdtr.base;
    uint32_t limit = sel & 4 ? c->seg[VIV_LDTR].limit : c->gdtr.limit;

    if (!viv_seg_fetch(c, sel, d))
        return false;
    if (!viv_x86_long_active(c))
        return true;
    if ((uint32_t)(sel | 15) > limit && (uint32_t)(sel & ~7u) + 15 > limit)
        return false;
    d->upper = (uint32_t)viv_ld_sys(c, base + (sel & ~7u) + 8, 4);
    return true;
}

void viv_seg_from_desc(struct viv_seg *s, uint16_t sel, const struct viv_desc *d)
{
    uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);

    s->sel = sel;
    s->attr = d->hi >> 8 & 0xf0ff;
    s->limit = s->attr & VIV_SEG_G ? limit << 12 | 0xfff : limit;
    s->base = (d->lo >> 16) | (d->hi & 0xff) << 16 | (d->hi & 0xff000000u);
    if (!viv_desc_s(d))
        s->base |= (uint64_t)d->upper << 32;
}

static uint64_t desc_addr(const struct viv_x86 *c, uint16_t sel)
{
    return (sel & 4 ? c->seg[VIV_LDTR].base : c->gdtr.base) + (sel & ~7u);
}

void viv_seg_mark_accessed(struct viv_x86 *c, uint16_t sel, const struct viv_desc *d)
{
    if (!(d->hi & 0x100))
        viv_st_sys(c, desc_addr(c, sel) + 5, (d->hi >> 8 & 0xff) | 1, 1);
}

void viv_seg_set_busy(struct viv_x86 *c, uint16_t sel, bool busy)
{
    uint64_t at = desc_addr(c, sel) + 5;
    uint8_t v = (uint8_t)viv_ld_sys(c, at, 1);

    viv_st_sys(c, at, busy ? v | 2 : v & ~2, 1);
}

void viv_seg_set_real(struct viv_x86 *c, unsigned seg, uint16_t sel)
{
    struct viv_seg *s = &c->seg[seg];

    s->sel = sel;
    s->base = (uint32_t)sel << 4;
    if (c->mode == VIV_MODE_V86) {
        s->limit = 0xffff;
        s->attr = 0xf3;
    } else { /* limit and size stay as they were: "unreal mode" */
        s->attr = (s->attr & (VIV_SEG_DB | VIV_SEG_G)) | 0x93;
    }
}

static void set_null(struct viv_x86 *c, unsigned seg, uint16_t sel)
{
    c->seg[seg] = (struct viv_seg){.sel = sel, .attr = VIV_SEG_UNUSABLE};
}

void viv_seg_check_ss(struct viv_x86 *c, uint16_t sel, unsigned cpl, unsigned vector,
                      struct viv_seg *out)
{
    struct viv_desc d;

    if (!(sel & ~3u))
        viv_x86_raise_error(c, vector, vector == VIV_TS ? SEL_ERR(sel) : 0);
    if (!viv_seg_fetch(c, sel, &d) || (sel & 3) != cpl || viv_desc_dpl(&d) != cpl ||
        (viv_desc_type(&d) & 0xa) != 2 || !viv_desc_s(&d))
        viv_x86_raise_error(c, vector, SEL_ERR(sel));
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, VIV_SSF, SEL_ERR(sel));
    viv_seg_mark_accessed(c, sel, &d);
    d.hi |= 0x100;
    viv_seg_from_desc(out, sel, &d);
}

static void load_ss(struct viv_x86 *c, uint16_t sel)
{
    struct viv_seg s;

    if (!(sel & ~3u) && c->mode == VIV_MODE_LONG && c->cpl != 3 && (sel & 3) == c->cpl) {
        set_null(c, VIV_SS, sel);
        c->seg[VIV_SS].attr |= (uint32_t)c->cpl << 5;
        return;
    }
    viv_seg_check_ss(c, sel, c->cpl, VIV_GP, &s);
    c->seg[VIV_SS] = s;
}

static void load_data(struct viv_x86 *c, unsigned seg, uint16_t sel)
{
    struct viv_desc d;
    unsigned type;

    if (!(sel & ~3u)) {
        set_null(c, seg, sel);
        return;
    }
    if (!viv_seg_fetch(c, sel, &d))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    type = viv_desc_type(&d);
    if (!viv_desc_s(&d) || (type & 0xa) == 8) /* system, or execute-only code */
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if ((type & 0xc) != 0xc && ((sel & 3) > viv_desc_dpl(&d) || c->cpl > viv_desc_dpl(&d)))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    viv_seg_mark_accessed(c, sel, &d);
    d.hi |= 0x100;
    viv_seg_from_desc(&c->seg[seg], sel, &d);
}

void viv_seg_load(struct viv_x86 *c, unsigned seg, uint16_t sel)
{
    if (!viv_x86_protected(c))
        viv_seg_set_real(c, seg, sel);
    else if (seg == VIV_SS)
        load_ss(c, sel);
    else
        load_data(c, seg, sel);
}

void viv_seg_load_ldtr(struct viv_x86 *c, uint16_t sel, unsigned vector)
{
    struct viv_desc d;
    struct viv_seg s;

    if (!(sel & ~3u)) {
        set_null(c, VIV_LDTR, sel);
        return;
    }
    if ((sel & 4) || !viv_seg_fetch_system(c, sel, &d) || viv_desc_s(&d) || viv_desc_type(&d) != 2)
        viv_x86_raise_error(c, vector, SEL_ERR(sel));
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, vector == VIV_TS ? VIV_TS : VIV_NP, SEL_ERR(sel));
    viv_seg_from_desc(&s, sel, &d);
    if (viv_x86_long_active(c) && !viv_x86_canonical_base(c, s.base))
        viv_x86_raise_error(c, vector, SEL_ERR(sel));
    c->seg[VIV_LDTR] = s;
}

void viv_seg_load_tr(struct viv_x86 *c, uint16_t sel)
{
    struct viv_desc d;
    struct viv_seg s;

    if (!(sel & ~3u))
        viv_x86_gp0(c);
    if ((sel & 4) || !viv_seg_fetch_system(c, sel, &d) || viv_desc_s(&d) ||
        (viv_desc_type(&d) != 9 && (viv_desc_type(&d) != 1 || viv_x86_long_active(c))))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    if (!viv_desc_present(&d))
        viv_x86_raise_error(c, VIV_NP, SEL_ERR(sel));
    viv_seg_from_desc(&s, sel, &d);
    if (viv_x86_long_active(c) && !viv_x86_canonical_base(c, s.base))
        viv_x86_raise_error(c, VIV_GP, SEL_ERR(sel));
    viv_seg_set_busy(c, sel, true);
    s.attr |= 2;
    c->seg[VIV_TR] = s;
}

void viv_seg_drop_inner(struct viv_x86 *c)
{
    static const uint8_t data[] = {VIV_ES, VIV_DS, VIV_FS, VIV_GS};

    for (unsigned n = 0; n < 4; n++) {
        struct viv_seg *s = &c->seg[data[n]];
        bool conforming = (VIV_AR_TYPE(s->attr) & 0xc) == 0xc;

        if (s->attr & VIV_SEG_UNUSABLE)
            continue;
        if (!conforming && VIV_SEG_DPL(s->attr) < c->cpl) {
            uint64_t base = s->base;

            set_null(c, data[n], 0);
            if (viv_x86_long_active(c) && data[n] != VIV_ES && data[n] != VIV_DS)
                s->base = base; /* as Intel leaves it */
        }
    }
}

void viv_seg_check_rip(struct viv_x86 *c, const struct viv_seg *cs, uint64_t rip)
{
    if (viv_x86_long_active(c) && (cs->attr & VIV_SEG_L)) {
        if (!viv_x86_canonical(c, rip))
            viv_x86_gp0(c);
    } else if (rip > cs->limit) {
        viv_x86_gp0(c);
    }
}

void viv_seg_set_cs(struct viv_x86 *c, const struct viv_seg *cs, unsigned cpl, uint64_t rip)
{
    c->seg[VIV_CS] = *cs;
    if (viv_x86_protected(c))
        c->seg[VIV_CS].sel = (uint16_t)((cs->sel & ~3u) | cpl);
    viv_x86_set_cpl(c, cpl);
    c->next_rip = rip;
}

/* ---- stacks ---- */

void viv_stack_current(struct viv_x86 *c, struct viv_stack *s)
{
    s->ss = c->seg[VIV_SS];
    s->sp = c->gpr[VIV_RSP];
    s->cpl = c->cpl;
    s->flat64 = c->mode == VIV_MODE_LONG;
    s->mask = s->flat64 ? ~0ull : s->ss.attr & VIV_SEG_DB ? 0xffffffffull : 0xffffull;
    s->error = 0;
}

static uint64_t stack_linear(struct viv_x86 *c, const struct viv_stack *s, uint64_t sp, unsigned size)
{
    uint64_t end;

    if (s->flat64) {
        if (!viv_x86_canonical(c, sp) || !viv_x86_canonical(c, sp + size - 1))
            viv_x86_raise_error(c, VIV_SSF, s->error);
        return sp;
    }
    end = sp + size - 1;
    if ((VIV_AR_TYPE(s->ss.attr) & 0xc) == 4) { /* expand-down */
        if (sp <= s->ss.limit || end > (s->ss.attr & VIV_SEG_DB ? 0xffffffffull : 0xffffull))
            viv_x86_raise_error(c, VIV_SSF, s->error);
    } else if (s->ss.limit != 0xffffffff && end > s->ss.limit) {
        viv_x86_raise_error(c, VIV_SSF, s->error);
    }
    return (uint32_t)(s->ss.base + sp);
}

void viv_stack_push(struct viv_x86 *c, struct viv_stack *s, uint64_t v, unsigned size)
{
    uint64_t sp = (s->sp - size) & s->mask;
    uint64_t lin = stack_linear(c, s, sp, size);

    if (s->cpl < 3)
        viv_st_sys(c, lin, v, size);
    else if (size == 8)
        viv_st64(c, lin, v);
    else if (size == 4)
        viv_st32(c, lin, (uint32_t)v);
    else
        viv_st16(c, lin, (uint16_t)v);
    s->sp = (s->sp & ~s->mask) | sp;
}

uint64_t viv_stack_pop(struct viv_x86 *c, struct viv_stack *s, unsigned size)
{
    uint64_t sp = s->sp & s->mask;
    uint64_t lin = stack_linear(c, s, sp, size), v;

    if (s->cpl < 3)
        v = viv_ld_sys(c, lin, size);
    else
        v = size == 8 ? viv_ld64(c, lin) : size == 4 ? viv_ld32(c, lin) : viv_ld16(c, lin);
    s->sp = (s->sp & ~s->mask) | ((sp + size) & s->mask);
    return v;
}

void viv_stack_commit_sp(struct viv_x86 *c, const struct viv_stack *s)
{
    c->gpr[VIV_RSP] = (c->gpr[VIV_RSP] & ~s->mask) | (s->sp & s->mask);
}

/* ---- effective address to linear ---- */

static _Noreturn void seg_fault(struct viv_x86 *c, unsigned seg)
{
    viv_x86_raise_error(c, seg == VIV_SS ? VIV_SSF : VIV_GP, 0);
}

static void check_type(struct viv_x86 *c, unsigned seg, uint32_t attr, enum viv_access acc)
{
    unsigned type = VIV_AR_TYPE(attr);
    bool write = acc == VIV_ACC_WRITE || acc == VIV_ACC_RMW;

    if (attr & VIV_SEG_UNUSABLE)
        seg_fault(c, seg);
    if (acc == VIV_ACC_EXEC || c->mode <= VIV_MODE_V86)
        return;
    if (write ? (type & 0xa) != 2 : (type & 0xa) == 8)
        seg_fault(c, seg);
}

uint64_t viv_x86_linear(struct viv_x86 *c, unsigned seg, uint64_t ea, unsigned size,
                        enum viv_access acc)
{
    const struct viv_seg *s = &c->seg[seg];
    uint64_t lin, end;

    if (c->mode == VIV_MODE_LONG) {
        lin = seg >= VIV_FS ? ea + s->base : ea;
        if (!viv_x86_canonical(c, lin) || !viv_x86_canonical(c, lin + size - 1))
            seg_fault(c, seg);
        return lin;
    }
    check_type(c, seg, s->attr, acc);
    ea = (uint32_t)ea;
    end = ea + size - 1;
    if ((VIV_AR_TYPE(s->attr) & 0xc) == 4) {
        if (ea <= s->limit || end > (s->attr & VIV_SEG_DB ? 0xffffffffull : 0xffffull))
            seg_fault(c, seg);
    } else if (ea > s->limit || (s->limit != 0xffffffff && end > s->limit)) {
        seg_fault(c, seg);
    }
    return (uint32_t)(s->base + ea);
}
