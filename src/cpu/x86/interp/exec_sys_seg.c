/* Segment registers, descriptor tables, far transfers, interrupts by instruction. */
#include "cpu/x86/interp/sys.h"

#include "cpu/x86/exc_int.h"
#include "cpu/x86/mmu_int.h"

static void loaded_ss(struct viv_x86 *c)
{
    c->mov_ss_shadow = true;
    c->attention |= VIV_ATT_SHADOW;
}

SYS(mov_to_sreg)
{
    u16 sel = read_w(c, i);

    viv_seg_load(c, i->reg & 7, sel);
    if ((i->reg & 7) == VIV_SS)
        loaded_ss(c);
}

SYS(mov_from_sreg)
{
    write_rvmw(c, i, c->seg[i->reg & 7].sel);
}

/* 06 0E 16 1E, 0F A0 A8 and their POPs. */
static unsigned sreg_of(const struct viv_insn *i)
{
    return i->opcode >= 0xa0 ? (i->opcode >= 0xa8 ? VIV_GS : VIV_FS) : i->opcode >> 3 & 3;
}

SYS(push_sreg)
{
    u16 sel = c->seg[sreg_of(i)].sel;
    u64 sp = sp_add(c, -(s64)i->osz);

    /* A 32-bit push writes 16 bits on the CPUs of both vendors and leaves the rest of the slot. */
    if (i->osz == 4)
        mem_st16(c, VIV_SS, sp, sel);
    else
        mem_st_sized(c, VIV_SS, sp, i->osz, sel);
    set_sp(c, sp);
}

SYS(pop_sreg)
{
    unsigned seg = sreg_of(i);
    u64 mask = c->sp_mask, sp = sp_add(c, i->osz);
    u16 sel = (u16)mem_ld_sized(c, VIV_SS, c->gpr[VIV_RSP] & mask, i->osz == 8 ? 8 : i->osz);

    viv_seg_load(c, seg, sel);
    c->gpr[VIV_RSP] = (c->gpr[VIV_RSP] & ~mask) | (sp & mask);
    if (seg == VIV_SS)
        loaded_ss(c);
}

SYS(load_far)
{
    unsigned seg = i->opcode == 0xc4 ? VIV_ES : i->opcode == 0xc5 ? VIV_DS : i->opcode == 0xb2 ? VIV_SS
                   : i->opcode == 0xb4 ? VIV_FS : VIV_GS;
    u64 ea = ea_of(c, i), off = mem_ld_sized(c, i->seg, ea, i->osz);
    u16 sel = mem_ld16(c, i->seg, ea + i->osz);

    viv_seg_load(c, seg, sel);
    set_reg_sized(c, i->reg, i->osz, off);
}

static void load_table(struct viv_x86 *c, const struct viv_insn *i, struct viv_dtr *t)
{
    bool wide = c->mode == VIV_MODE_LONG;
    u64 ea = ea_of(c, i), base;
    u16 limit;

    need_cpl0(c);
    limit = mem_ld16(c, i->seg, ea);
    base = wide ? mem_ld64(c, i->seg, ea + 2) : mem_ld32(c, i->seg, ea + 2);
    if (wide && !viv_x86_canonical_base(c, base))
        viv_x86_gp0(c);
    if (!wide && i->osz == 2)
        base &= 0xffffff;
    t->base = base;
    t->limit = limit;
}

static void store_table(struct viv_x86 *c, const struct viv_insn *i, const struct viv_dtr *t)
{
    bool wide = c->mode == VIV_MODE_LONG;
    u64 ea = ea_of(c, i);

    need_umip(c);
    viv_probe(c, viv_x86_linear(c, i->seg, ea, wide ? 10 : 6, VIV_ACC_WRITE), wide ? 10 : 6,
              VIV_ACC_WRITE);
    mem_st16(c, i->seg, ea, t->limit);
    if (wide)
        mem_st64(c, i->seg, ea + 2, t->base);
    else
        mem_st32(c, i->seg, ea + 2, (u32)t->base);
}

SYS(lgdt) { load_table(c, i, &c->gdtr); }
SYS(lidt) { load_table(c, i, &c->idtr); }
SYS(sgdt) { store_table(c, i, &c->gdtr); }
SYS(sidt) { store_table(c, i, &c->idtr); }

SYS(lldt)
{
    need_cpl0(c);
    viv_seg_load_ldtr(c, read_w(c, i), VIV_GP);
}

SYS(ltr)
{
    need_cpl0(c);
    viv_seg_load_tr(c, read_w(c, i));
}

SYS(sldt)
{
    need_umip(c);
    write_rvmw(c, i, c->seg[VIV_LDTR].sel);
}

SYS(str)
{
    need_umip(c);
    write_rvmw(c, i, c->seg[VIV_TR].sel);
}

/* ---- access rights ---- */

static bool visible(struct viv_x86 *c, u16 sel, const struct viv_desc *d)
{
    if (viv_desc_s(d) && viv_desc_code(d) && (viv_desc_type(d) & 4))
        return true; /* conforming */
    return viv_desc_dpl(d) >= c->cpl && viv_desc_dpl(d) >= (sel & 3u);
}

static bool fetch_visible(struct viv_x86 *c, u16 sel, struct viv_desc *d)
{
    return (sel & ~3u) && viv_seg_fetch(c, sel, d) && visible(c, sel, d);
}

SYS(lar)
{
    u16 sel = read_w(c, i), system = viv_x86_long_active(c) ? 0x1204 | 1 << 11 : 0x1a3e | 1 << 11;
    struct viv_desc d;
    bool ok = fetch_visible(c, sel, &d);

    /* System types that LAR knows: LDT 2, TSS 9 B, call gate C; outside IA-32e also TSS16 1 3, gate16 4, task gate 5. */
    system |= 1 << 9 | 1 << 12 | 1 << 2;
    if (ok && !viv_desc_s(&d))
        ok = system >> viv_desc_type(&d) & 1;
    set_zf(c, ok);
    if (ok)
        set_reg_sized(c, i->reg, i->osz, d.hi & 0x00ffff00);
}

SYS(lsl)
{
    u16 sel = read_w(c, i), system = viv_x86_long_active(c) ? 0x0a04 : 0x0a0e;
    struct viv_desc d;
    struct viv_seg s;
    bool ok = fetch_visible(c, sel, &d);

    if (ok && !viv_desc_s(&d))
        ok = system >> viv_desc_type(&d) & 1; /* LDT 2, TSS 9 B (1 3) */
    set_zf(c, ok);
    if (ok) {
        viv_seg_from_desc(&s, sel, &d);
        set_reg_sized(c, i->reg, i->osz, s.limit);
    }
}

SYS(verr)
{
    u16 sel = read_w(c, i);
    struct viv_desc d;

    set_zf(c, fetch_visible(c, sel, &d) && viv_desc_s(&d) && (viv_desc_type(&d) & 0xa) != 8);
}

SYS(verw)
{
    u16 sel = read_w(c, i);
    struct viv_desc d;

    set_zf(c, fetch_visible(c, sel, &d) && viv_desc_s(&d) && (viv_desc_type(&d) & 0xa) == 2);
}

SYS(arpl)
{
    u16 dst = read_w(c, i), src = (u16)c->gpr[i->reg];
    bool lift = (dst & 3) < (src & 3);

    if (lift)
        dst = (u16)((dst & ~3u) | (src & 3));
    if (i->mem)
        op_st16(c, i, dst);
    else
        set_reg16(c, i->rm, dst);
    set_zf(c, lift);
}

/* ---- far transfers ---- */

static void far_pointer(struct viv_x86 *c, const struct viv_insn *i, u16 *sel, u64 *off)
{
    u64 ea = ea_of(c, i);

    *off = mem_ld_sized(c, i->seg, ea, i->osz);
    *sel = mem_ld16(c, i->seg, ea + i->osz);
}

SYS(jmp_far_imm) { viv_far_jump(c, i->imm2, i->imm, i->osz); }
SYS(call_far_imm) { viv_far_call(c, i->imm2, i->imm, i->osz); }

SYS(jmp_far_mem)
{
    u16 sel;
    u64 off;

    far_pointer(c, i, &sel, &off);
    viv_far_jump(c, sel, off, i->osz);
}

SYS(call_far_mem)
{
    u16 sel;
    u64 off;

    far_pointer(c, i, &sel, &off);
    viv_far_call(c, sel, off, i->osz);
}

SYS(ret_far) { viv_far_return(c, i->osz, i->opcode == 0xca ? (u16)i->imm : 0); }

SYS(iret)
{
    viv_iret(c, i->osz);
    c->nmi_blocked = false;
    if (c->nmi_pending)
        c->attention |= VIV_ATT_EVENT;
}

SYS(int_n)
{
    if (c->mode == VIV_MODE_V86) {
        if (viv_v86_soft_int(c, i->imm & 0xff))
            return;
        if (viv_x86_iopl(c) < 3)
            viv_x86_gp0(c);
    }
    viv_x86_deliver(c, VIV_EV_SOFT_INT, i->imm & 0xff, false, 0);
    c->step_armed = false; /* TF was cleared: no trap after INT itself */
}

SYS(int3)
{
    viv_x86_deliver(c, VIV_EV_SOFT_INT, VIV_BP, false, 0);
    c->step_armed = false;
}

SYS(into)
{
    if (!(c->arith & VIV_AR_OF))
        return;
    viv_x86_deliver(c, VIV_EV_SOFT_INT, VIV_OF, false, 0);
    c->step_armed = false;
}

SYS(icebp)
{
    /* Data breakpoints that MOV SS held off are reported with this #DB. */
    c->dr[6] |= c->pending_db;
    c->pending_db = 0;
    viv_x86_deliver(c, VIV_EV_ICEBP, VIV_DB, false, 0);
    c->step_armed = false;
}

/* ---- SYSCALL and SYSENTER ---- */

static void flat_cs(struct viv_seg *s, u16 sel, bool wide, unsigned dpl)
{
    *s = (struct viv_seg){.sel = sel, .limit = 0xffffffff,
                          .attr = (wide ? 0xa09b : 0xc09b) | dpl << 5};
}

static void flat_ss(struct viv_x86 *c, u16 sel, unsigned dpl)
{
    c->seg[VIV_SS] = (struct viv_seg){.sel = sel, .limit = 0xffffffff, .attr = 0xc093 | dpl << 5};
}

/* TF is looked at after these two with its new value: the kernel masks it by FMASK, and SYSRET behaves as if the
 * SYSCALL had just ended. */
static void restep(struct viv_x86 *c)
{
    c->step_armed = c->eflags & VIV_FL_TF;
    if (c->step_armed)
        c->attention |= VIV_ATT_TRAP;
}

SYS(syscall)
{
    bool intel = c->cpuid->kind == VIV_VENDOR_INTEL;
    u16 sel = (u16)(c->msr.star >> 32 & 0xfffc);
    struct viv_seg cs;
    u64 rip;

    if (!(c->msr.efer & VIV_EFER_SCE) || !viv_x86_protected(c) ||
        (intel && c->mode != VIV_MODE_LONG))
        viv_x86_ud(c);
    if (viv_x86_long_active(c)) {
        c->gpr[VIV_RCX] = c->next_rip;
        c->gpr[11] = viv_x86_get_eflags(c) & ~VIV_FL_RF;
        rip = c->mode == VIV_MODE_LONG ? c->msr.lstar : c->msr.cstar;
        viv_x86_load_flags(c, viv_x86_get_eflags(c) & ~(u32)c->msr.fmask & ~VIV_FL_RF);
        flat_cs(&cs, sel, true, 0);
    } else {
        c->gpr[VIV_RCX] = (u32)c->next_rip;
        rip = (u32)c->msr.star;
        viv_x86_load_flags(c, viv_x86_get_eflags(c) & ~(VIV_FL_IF | VIV_FL_VM | VIV_FL_RF));
        flat_cs(&cs, sel, false, 0);
    }
    flat_ss(c, (u16)(sel + 8), 0);
    viv_seg_set_cs(c, &cs, 0, rip);
    restep(c);
}

SYS(sysret)
{
    bool intel = c->cpuid->kind == VIV_VENDOR_INTEL, wide = i->osz == 8;
    u16 sel = (u16)(c->msr.star >> 48);
    struct viv_seg cs;
    u64 rip = wide ? c->gpr[VIV_RCX] : (u32)c->gpr[VIV_RCX];

    if (!(c->msr.efer & VIV_EFER_SCE) || !viv_x86_protected(c) ||
        (intel && c->mode != VIV_MODE_LONG))
        viv_x86_ud(c);
    need_cpl0(c);
    if (wide && !viv_x86_canonical(c, rip))
        viv_x86_gp0(c);
    flat_cs(&cs, (u16)((sel + (wide ? 16 : 0)) | 3), wide, 3);
    flat_ss(c, (u16)((sel + 8) | 3), 3);
    if (viv_x86_long_active(c))
        viv_x86_load_flags(c, ((u32)c->gpr[11] & 0x3c7fd7) | 2);
    else
        viv_x86_load_flags(c, viv_x86_get_eflags(c) | VIV_FL_IF);
    viv_seg_set_cs(c, &cs, 3, rip);
    restep(c);
}

SYS(sysenter)
{
    u16 sel = (u16)(c->msr.sysenter_cs & 0xfffc);
    bool wide = viv_x86_long_active(c);
    struct viv_seg cs;

    if (!(c->cr0 & VIV_CR0_PE) || !sel)
        viv_x86_gp0(c);
    if (wide && c->cpuid->kind == VIV_VENDOR_AMD)
        viv_x86_ud(c);
    viv_x86_load_flags(c, viv_x86_get_eflags(c) & ~(VIV_FL_IF | VIV_FL_VM | VIV_FL_RF));
    flat_cs(&cs, sel, wide, 0);
    flat_ss(c, (u16)(sel + 8), 0);
    c->gpr[VIV_RSP] = wide ? c->msr.sysenter_esp : (u32)c->msr.sysenter_esp;
    viv_seg_set_cs(c, &cs, 0, wide ? c->msr.sysenter_eip : (u32)c->msr.sysenter_eip);
}

SYS(sysexit)
{
    u16 sel = (u16)(c->msr.sysenter_cs & 0xfffc);
    bool wide = i->osz == 8;
    struct viv_seg cs;

    if (!(c->cr0 & VIV_CR0_PE) || c->cpl != 0 || !sel)
        viv_x86_gp0(c);
    if (wide && (!viv_x86_canonical(c, c->gpr[VIV_RCX]) || !viv_x86_canonical(c, c->gpr[VIV_RDX])))
        viv_x86_gp0(c);
    flat_cs(&cs, (u16)((sel + (wide ? 32 : 16)) | 3), wide, 3);
    flat_ss(c, (u16)((sel + (wide ? 40 : 24)) | 3), 3);
    c->gpr[VIV_RSP] = wide ? c->gpr[VIV_RCX] : (u32)c->gpr[VIV_RCX];
    viv_seg_set_cs(c, &cs, 3, wide ? c->gpr[VIV_RDX] : (u32)c->gpr[VIV_RDX]);
}

SYS(swapgs)
{
    u64 base = c->seg[VIV_GS].base;

    need_cpl0(c);
    c->fast_base[VIV_GS] = c->seg[VIV_GS].base = c->msr.kernel_gs_base; /* 64-bit mode only */
    c->msr.kernel_gs_base = base;
}

static void need_fsgsbase(struct viv_x86 *c)
{
    if (!(c->cr4 & VIV_CR4_FSGSBASE))
        viv_x86_ud(c);
}

static void write_base(struct viv_x86 *c, const struct viv_insn *i, unsigned seg)
{
    u64 v = get_reg_sized(c, i->rm, i->osz);

    need_fsgsbase(c);
    if (!viv_x86_canonical(c, v)) /* by paging mode, unlike WRMSR: so does silicon */
        viv_x86_gp0(c);
    c->fast_base[seg] = c->seg[seg].base = v;
}

SYS(rdfsbase)
{
    need_fsgsbase(c);
    set_reg_sized(c, i->rm, i->osz, c->seg[VIV_FS].base);
}

SYS(rdgsbase)
{
    need_fsgsbase(c);
    set_reg_sized(c, i->rm, i->osz, c->seg[VIV_GS].base);
}

SYS(wrfsbase) { write_base(c, i, VIV_FS); }
SYS(wrgsbase) { write_base(c, i, VIV_GS); }
