/* Helpers of the system instruction handlers. */
#ifndef VIV_CPU_X86_INTERP_SYS_H
#define VIV_CPU_X86_INTERP_SYS_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/exec_sys.h"
#include "cpu/x86/interp/operand.h"
#include "cpu/x86/seg.h"

#define SYS(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i)

static inline void need_cpl0(struct viv_x86 *c)
{
    if (c->cpl != 0)
        viv_x86_gp0(c);
}

/* SGDT, SIDT, SLDT, STR, SMSW. */
static inline void need_umip(struct viv_x86 *c)
{
    if ((c->cr4 & VIV_CR4_UMIP) && c->cpl != 0)
        viv_x86_gp0(c);
}

static inline u64 general(const struct viv_x86 *c, unsigned r)
{
    return c->mode == VIV_MODE_LONG ? c->gpr[r] : (u32)c->gpr[r];
}

/* Ew: a register's low word, or a word in memory. */
static inline u16 read_w(struct viv_x86 *c, const struct viv_insn *i)
{
    return i->mem ? op_ld16(c, i) : (u16)c->gpr[i->rm];
}

/* RvMw: the whole operand size in a register, a word in memory. */
static inline void write_rvmw(struct viv_x86 *c, const struct viv_insn *i, u64 v)
{
    if (i->mem)
        op_st16(c, i, (u16)v);
    else
        set_reg_sized(c, i->rm, i->osz, v);
}

static inline void set_zf(struct viv_x86 *c, bool zf)
{
    c->arith = (u16)((c->arith & ~VIV_AR_ZF) | (zf ? VIV_AR_ZF : 0));
}

#endif
