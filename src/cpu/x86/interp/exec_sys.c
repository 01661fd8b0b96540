/* Control and debug registers, MSRs, TLB and cache instructions, flags, ports, HLT and what else needs privilege. */
#include "cpu/x86/interp/sys.h"

#include "base/log.h"
#include "cpu/vcpu.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/hypercall.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu_int.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/smm.h"

#include <sched.h>

/* A register that does not exist is #UD at any privilege. */
static void control_register(struct viv_x86 *c, unsigned n)
{
    if (n > 8 || n == 1 || (n > 4 && n < 8))
        viv_x86_ud(c);
    need_cpl0(c);
}

SYS(mov_to_cr)
{
    control_register(c, i->reg);
    viv_cr_write(c, i->reg, general(c, (i->modrm & 7) | (i->rex & 1) << 3));
}

SYS(mov_from_cr)
{
    u64 v;

    control_register(c, i->reg);
    switch (i->reg) {
    case 0: v = c->cr0; break;
    case 2: v = c->cr2; break;
    case 3: v = c->cr3; break;
    case 4: v = c->cr4; break;
    case 8: v = c->vcpu && c->vcpu->apic ? viv_apic_get_tpr(c->vcpu->apic) : c->cr8; break;
    default: viv_x86_ud(c);
    }
    c->gpr[(i->modrm & 7) | (i->rex & 1) << 3] = c->mode == VIV_MODE_LONG ? v : (u32)v;
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE; DR7.GD faults on any access. */
static unsigned debug_register(struct viv_x86 *c, unsigned n)
{
    if (n > 7 || ((n == 4 || n == 5) && (c->cr4 & VIV_CR4_DE)))
        viv_x86_ud(c);
    need_cpl0(c);
    if (c->dr[7] & VIV_DR7_GD) {
        c->dr[6] |= VIV_DR6_BD;
        c->dr[7] &= ~(u64)VIV_DR7_GD;
        viv_x86_raise(c, VIV_DB);
    }
    return n == 4 || n == 5 ? n + 2 : n;
}

SYS(mov_to_dr)
{
    unsigned n = debug_register(c, i->reg);
    u64 v = general(c, (i->modrm & 7) | (i->rex & 1) << 3);

    if (n >= 6 && v >> 32)
        viv_x86_gp0(c);
    if (n == 6)
        v = (v & 0xe00f) | VIV_DR6_FIXED;
    else if (n == 7)
        v = (v & 0xffff23ff) | VIV_DR7_FIXED;
    c->dr[n] = v;
    if (n != 6)
        viv_debug_changed(c);
}

SYS(mov_from_dr)
{
    unsigned n = debug_register(c, i->reg);

    c->gpr[(i->modrm & 7) | (i->rex & 1) << 3] = c->mode == VIV_MODE_LONG ? c->dr[n] : (u32)c->dr[n];
}

SYS(lmsw)
{
    u16 v;

    need_cpl0(c);
    v = read_w(c, i);
    /* PE can be set, not cleared. */
    viv_cr_write(c, 0, (c->cr0 & ~0xeull) | (v & 0xf) | (c->cr0 & VIV_CR0_PE));
}

SYS(smsw)
{
    need_umip(c);
    write_rvmw(c, i, c->cr0);
}

SYS(clts)
{
    need_cpl0(c);
    c->cr0 &= ~(u64)VIV_CR0_TS;
}

/* Code that has been decoded already is not what a serializing instruction is to be followed by (SDM 3A 9.3). Translated code
 * looks for changes after each handler. */
static void serialize(struct viv_x86 *c)
{
    if (((struct viv_interp *)c->interp)->block_first)
        viv_interp_leave_block(c);
}

SYS(invd)
{
    need_cpl0(c);
    serialize(c);
}

SYS(wbinvd)
{
    need_cpl0(c);
    serialize(c);
}

SYS(invlpg)
{
    u64 ea = ea_of(c, i), space, global;

    need_cpl0(c);
    if (c->mode == VIV_MODE_LONG)
        ea += i->seg >= VIV_FS ? c->seg[i->seg].base : 0;
    else
        ea = (u32)(ea + c->seg[i->seg].base);
    space = c->code_space, global = c->code_space_global;
    viv_tlb_flush_page(c, ea);
    if (space != c->code_space || global != c->code_space_global)
        viv_interp_leave_block(c); /* perhaps out of the page that this block is in */
    serialize(c);
}

SYS(invpcid)
{
    u64 type = general(c, i->reg), ea = ea_of(c, i), pcid, lin;

    if (!viv_x86_protected(c) && c->mode == VIV_MODE_V86)
        viv_x86_gp0(c);
    need_cpl0(c);
    pcid = mem_ld64(c, i->seg, ea);
    lin = mem_ld64(c, i->seg, ea + 8);
    if (type > 3 || pcid >> 12 || (type < 2 && pcid && !(c->cr4 & VIV_CR4_PCIDE)) ||
        (type == 0 && !viv_x86_canonical_base(c, lin)))
        viv_x86_gp0(c);
    switch (type) {
    case 0: viv_tlb_flush_page_of(c, (unsigned)pcid, lin); break;
    case 1: viv_tlb_flush_pcid(c, (unsigned)pcid); break;
    case 2: viv_tlb_flush_all(c); break;
    case 3: viv_tlb_flush_user(c); break;
    }
}

SYS(rdmsr)
{
    u32 index = (u32)c->gpr[VIV_RCX];
    u64 v = 0;

    need_cpl0(c);
    if (!viv_msr_read(c, index, &v)) {
        viv_log(VIV_LOG_UNIMP, "cpu%u: rdmsr %#x at %#llx: #GP", c->vcpu ? c->vcpu->index : 0, index,
                (unsigned long long)c->rip);
        viv_x86_gp0(c);
    }
    c->gpr[VIV_RAX] = (u32)v;
    c->gpr[VIV_RDX] = v >> 32;
}

SYS(wrmsr)
{
    u32 index = (u32)c->gpr[VIV_RCX];
    u64 v = (u32)c->gpr[VIV_RAX] | c->gpr[VIV_RDX] << 32;

    need_cpl0(c);
    if (!viv_msr_write(c, index, v)) {
        viv_log(VIV_LOG_UNIMP, "cpu%u: wrmsr %#x <- %#llx at %#llx: #GP", c->vcpu ? c->vcpu->index : 0,
                index, (unsigned long long)v, (unsigned long long)c->rip);
        viv_x86_gp0(c);
    }
}

/* No performance counters are announced: every index is one that does not exist. */
SYS(rdpmc) { viv_x86_gp0(c); }

SYS(cpuid)
{
    u32 out[4];

    viv_cpuid_execute(c, (u32)c->gpr[VIV_RAX], (u32)c->gpr[VIV_RCX], out);
    c->gpr[VIV_RAX] = out[0];
    c->gpr[VIV_RBX] = out[1];
    c->gpr[VIV_RCX] = out[2];
    c->gpr[VIV_RDX] = out[3];
    serialize(c);
}

static void check_tsd(struct viv_x86 *c)
{
    if ((c->cr4 & VIV_CR4_TSD) && c->cpl != 0)
        viv_x86_gp0(c);
}

SYS(rdtsc)
{
    u64 t;

    check_tsd(c);
    t = viv_x86_tsc(c);
    c->gpr[VIV_RAX] = (u32)t;
    c->gpr[VIV_RDX] = t >> 32;
}

SYS(rdtscp)
{
    viv_exec_rdtsc(c, i);
    c->gpr[VIV_RCX] = (u32)c->msr.tsc_aux;
}

SYS(rdpid)
{
    c->gpr[i->rm] = c->msr.tsc_aux;
}

SYS(hlt)
{
    need_cpl0(c);
    c->halted = true;
}

SYS(rsm)
{
    if (!c->in_smm)
        viv_x86_ud(c);
    viv_smm_leave(c);
}

SYS(monitor)
{
    if (c->cpl != 0)
        viv_x86_ud(c);
    if ((u32)c->gpr[VIV_RCX])
        viv_x86_gp0(c);
    viv_probe(c, viv_x86_linear(c, i->seg, i->asz == 8 ? c->gpr[VIV_RAX] : (u32)c->gpr[VIV_RAX], 1,
                                VIV_ACC_READ), 1, VIV_ACC_READ);
}

/* Stores of other CPUs are not watched: MWAIT ends at once, as it may for any reason (vol. 2). */
SYS(mwait)
{
    if (c->cpl != 0)
        viv_x86_ud(c);
    if ((u32)c->gpr[VIV_RCX] & ~1u)
        viv_x86_gp0(c);
    sched_yield();
}

SYS(vmcall)
{
    if (!c->cpuid->kvm_leaves)
        viv_x86_ud(c);
    viv_x86_hypercall(c);
}

/* ---- flags ---- */

SYS(cli)
{
    u32 old = c->eflags;

    if (c->mode == VIV_MODE_REAL || c->cpl <= viv_x86_iopl(c))
        c->eflags &= ~VIV_FL_IF;
    else if (c->cpl == 3 && (c->cr4 & (c->mode == VIV_MODE_V86 ? VIV_CR4_VME : VIV_CR4_PVI)))
        c->eflags &= ~VIV_FL_VIF;
    else
        viv_x86_gp0(c);
    viv_x86_flags_changed(c, old);
}

static bool event_waits(const struct viv_x86 *c)
{
    return c->attention || c->intr_latched || (c->vcpu && atomic_load_explicit(&c->vcpu->requests, memory_order_relaxed));
}

/* The shadow matters only if something is there to be held off when the next instruction begins. If nothing waits now, it
 * is enough to know where that instruction is: viv_x86_take_event() compares. */
static void sti_shadow(struct viv_x86 *c)
{
    c->shadow_rip = c->next_rip;
    if (!event_waits(c))
        return;
    c->sti_shadow = true;
    c->attention |= VIV_ATT_SHADOW;
    viv_interp_leave_block(c);
}

SYS(sti)
{
    u32 old = c->eflags;

    if (c->mode == VIV_MODE_REAL || c->cpl <= viv_x86_iopl(c)) {
        c->eflags |= VIV_FL_IF;
        if (!(old & VIV_FL_IF))
            sti_shadow(c);
    } else if (c->cpl == 3 && (c->cr4 & (c->mode == VIV_MODE_V86 ? VIV_CR4_VME : VIV_CR4_PVI)) &&
               !(old & VIV_FL_VIP)) {
        c->eflags |= VIV_FL_VIF;
    } else {
        viv_x86_gp0(c);
    }
    viv_x86_flags_changed(c, old);
}

SYS(clac)
{
    u32 old = c->eflags;

    if (c->cpl != 0)
        viv_x86_ud(c);
    c->eflags &= ~VIV_FL_AC;
    viv_x86_flags_changed(c, old);
}

SYS(stac)
{
    u32 old = c->eflags;

    if (c->cpl != 0)
        viv_x86_ud(c);
    c->eflags |= VIV_FL_AC;
    viv_x86_flags_changed(c, old);
}

SYS(pushf)
{
    u32 f = viv_x86_get_eflags(c) & ~(VIV_FL_VM | VIV_FL_RF);

    if (c->mode == VIV_MODE_V86 && viv_x86_iopl(c) < 3) {
        if (i->osz != 2 || !(c->cr4 & VIV_CR4_VME))
            viv_x86_gp0(c);
        f = (f & ~VIV_FL_IF) | VIV_FL_IOPL | (f & VIV_FL_VIF ? VIV_FL_IF : 0);
    }
    push_sized(c, i->osz, f);
}

SYS(popf)
{
    u32 mask = VIV_FL_ARITH | VIV_FL_TF | VIV_FL_DF | VIV_FL_NT | VIV_FL_RF;
    u32 old = viv_x86_get_eflags(c), f;
    u64 sp = sp_add(c, i->osz);

    if (i->osz != 2)
        mask |= VIV_FL_AC | VIV_FL_ID;
    f = (u32)mem_ld_sized(c, VIV_SS, c->gpr[VIV_RSP] & c->sp_mask, i->osz) & ~VIV_FL_RF;
    if (c->mode == VIV_MODE_V86 && viv_x86_iopl(c) < 3) {
        if (i->osz != 2 || !(c->cr4 & VIV_CR4_VME) || (f & VIV_FL_TF) ||
            ((f & VIV_FL_IF) && (old & VIV_FL_VIP)))
            viv_x86_gp0(c);
        mask |= VIV_FL_VIF;
        f = (f & ~VIV_FL_VIF) | (f & VIV_FL_IF ? VIV_FL_VIF : 0);
    } else if (c->mode == VIV_MODE_REAL || c->cpl == 0) {
        mask |= VIV_FL_IF | VIV_FL_IOPL;
    } else if (c->cpl <= viv_x86_iopl(c)) {
        mask |= VIV_FL_IF;
    }
    set_sp(c, sp);
    f = (old & ~mask) | (f & mask);
    viv_x86_load_flags(c, f);
    if (event_waits(c) || (c->cpl == 3 && ((old ^ f) & VIV_FL_AC)))
        viv_interp_leave_block(c);
}

/* ---- ports ---- */

static void port_in(struct viv_x86 *c, const struct viv_insn *i, u16 port)
{
    unsigned size = i->opcode & 1 ? (i->osz == 2 ? 2 : 4) : 1;

    viv_x86_io_check(c, port, size);
    set_reg_sized(c, VIV_RAX, size, viv_x86_io_read(c, port, size));
}

static void port_out(struct viv_x86 *c, const struct viv_insn *i, u16 port)
{
    unsigned size = i->opcode & 1 ? (i->osz == 2 ? 2 : 4) : 1;

    viv_x86_io_check(c, port, size);
    viv_x86_io_write(c, port, (u32)(c->gpr[VIV_RAX] & viv_size_mask[size]), size);
}

SYS(in_imm) { port_in(c, i, i->imm & 0xff); }
SYS(in_dx) { port_in(c, i, (u16)c->gpr[VIV_RDX]); }
SYS(out_imm) { port_out(c, i, i->imm & 0xff); }
SYS(out_dx) { port_out(c, i, (u16)c->gpr[VIV_RDX]); }

/* ---- extended state control ---- */

SYS(xgetbv)
{
    u64 v = c->xcr0;
    u32 n = (u32)c->gpr[VIV_RCX];

    if (!(c->cr4 & VIV_CR4_OSXSAVE))
        viv_x86_ud(c);
    if (n > 1 || (n == 1 && !viv_cpuid_has(c->cpuid, VIV_FT_XGETBV1)))
        viv_x86_gp0(c);
    c->gpr[VIV_RAX] = (u32)v; /* 1 (in use): everything enabled counts as used */
    c->gpr[VIV_RDX] = v >> 32;
}

static bool xcr0_valid(const struct viv_x86 *c, u64 v)
{
    if (!(v & 1) || (v & ~c->cpuid->xcr0_mask))
        return false;
    if ((v & 4) && !(v & 2))
        return false;
    return !(v & 0xe0) || (v & 0xe6) == 0xe6;
}

SYS(xsetbv)
{
    u64 v = (u32)c->gpr[VIV_RAX] | c->gpr[VIV_RDX] << 32;

    if (!(c->cr4 & VIV_CR4_OSXSAVE))
        viv_x86_ud(c);
    need_cpl0(c);
    if ((u32)c->gpr[VIV_RCX] != 0 || !xcr0_valid(c, v))
        viv_x86_gp0(c);
    c->xcr0 = v;
}

SYS(rdpkru)
{
    if (!(c->cr4 & VIV_CR4_PKE))
        viv_x86_ud(c);
    if ((u32)c->gpr[VIV_RCX])
        viv_x86_gp0(c);
    c->gpr[VIV_RAX] = c->fpu.pkru;
    c->gpr[VIV_RDX] = 0;
}

SYS(wrpkru)
{
    if (!(c->cr4 & VIV_CR4_PKE))
        viv_x86_ud(c);
    if ((u32)c->gpr[VIV_RCX] || (u32)c->gpr[VIV_RDX])
        viv_x86_gp0(c);
    viv_mmu_set_pkru(c, (u32)c->gpr[VIV_RAX]);
}
