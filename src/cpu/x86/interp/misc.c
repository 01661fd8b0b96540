/* Instructions that are a few lines each: NOP and hints, flags, BCD, BOUND, random numbers. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#include <sched.h>
#include <sys/random.h>

void viv_exec_nop(struct viv_x86 *c, const struct viv_insn *i)
{
}

/* A guest that spins gives the host's CPU to the vCPU it waits for, now and then. */
void viv_exec_pause(struct viv_x86 *c, const struct viv_insn *i)
{
    static _Thread_local unsigned spins;

    if ((++spins & 63) == 0)
        sched_yield();
    else
        __builtin_ia32_pause();
}

void viv_exec_fence(struct viv_x86 *c, const struct viv_insn *i)
{
    __builtin_ia32_mfence();
}

/* CLFLUSH, CLFLUSHOPT, CLWB: no cache to flush, but they fault as a byte load does. */
void viv_exec_clflush(struct viv_x86 *c, const struct viv_insn *i)
{
    viv_probe(c, linear_of(c, i, 1, VIV_ACC_READ), 1, VIV_ACC_READ);
}

void viv_exec_cmc(struct viv_x86 *c, const struct viv_insn *i)
{
    c->arith ^= VIV_AR_CF;
}
void viv_exec_clc(struct viv_x86 *c, const struct viv_insn *i)
{
    c->arith &= ~VIV_AR_CF;
}
void viv_exec_stc(struct viv_x86 *c, const struct viv_insn *i)
{
    c->arith |= VIV_AR_CF;
}
void viv_exec_cld(struct viv_x86 *c, const struct viv_insn *i)
{
    c->eflags &= ~VIV_FL_DF;
}
void viv_exec_std(struct viv_x86 *c, const struct viv_insn *i)
{
    c->eflags |= VIV_FL_DF;
}

void viv_exec_lahf(struct viv_x86 *c, const struct viv_insn *i)
{
    ((u8 *)&c->gpr[VIV_RAX])[1] = (u8)viv_arith_to_flags(c->arith) | 2;
}
void viv_exec_sahf(struct viv_x86 *c, const struct viv_insn *i)
{
    u32 keep = viv_arith_to_flags(c->arith) & VIV_FL_OF;

    c->arith = viv_flags_to_arith(((u8 *)&c->gpr[VIV_RAX])[1] | keep);
}
void viv_exec_salc(struct viv_x86 *c, const struct viv_insn *i)
{
    acc_set8(c, c->arith & VIV_AR_CF ? 0xff : 0);
}

/* BCD (SDM 2A). SF, ZF and PF come from AL; OF, undefined, is left clear; AF and CF are given. */
static void bcd_flags(struct viv_x86 *c, u8 al, bool af, bool cf)
{
    u16 fl;

    __asm__("testb %[v],%[v]\n\tlahf\n\tseto %%al" : "=&a"(fl) : [v] "q"(al) : "cc");
    fl &= ~(VIV_AR_AF | VIV_AR_CF);
    c->arith = fl | (af ? VIV_AR_AF : 0) | (cf ? VIV_AR_CF : 0);
}

static void decimal_adjust(struct viv_x86 *c, bool subtract)
{
    u8 old = acc_get8(c), al = old;
    bool old_cf = c->arith & VIV_AR_CF, af = (old & 15) > 9 || (c->arith & VIV_AR_AF), cf = false;

    if (af) {
        cf = old_cf || (subtract ? old < 6 : old > 0xf9);
        al = subtract ? al - 6 : al + 6;
    }
    if (old > 0x99 || old_cf) {
        al = subtract ? al - 0x60 : al + 0x60;
        cf = true;
    } else if (!subtract) {
        cf = false;
    }
    acc_set8(c, al);
    bcd_flags(c, al, af, cf);
}

void viv_exec_daa(struct viv_x86 *c, const struct viv_insn *i)
{
    decimal_adjust(c, false);
}
void viv_exec_das(struct viv_x86 *c, const struct viv_insn *i)
{
    decimal_adjust(c, true);
}

static void ascii_adjust(struct viv_x86 *c, int sign)
{
    u16 ax = acc_get16(c);
    bool adjust = (ax & 15) > 9 || (c->arith & VIV_AR_AF);

    if (adjust)
        ax += sign * 0x106;
    ax &= 0xff0f;
    acc_set16(c, ax);
    bcd_flags(c, (u8)ax, adjust, adjust);
}
void viv_exec_aaa(struct viv_x86 *c, const struct viv_insn *i)
{
    ascii_adjust(c, 1);
}
void viv_exec_aas(struct viv_x86 *c, const struct viv_insn *i)
{
    ascii_adjust(c, -1);
}

void viv_exec_aam(struct viv_x86 *c, const struct viv_insn *i)
{
    u8 al = acc_get8(c), base = (u8)i->imm;

    if (base == 0)
        viv_x86_raise(c, VIV_DE);
    acc_set16(c, (u16)((al / base) << 8 | al % base));
    bcd_flags(c, al % base, false, false);
}
void viv_exec_aad(struct viv_x86 *c, const struct viv_insn *i)
{
    u16 ax = acc_get16(c);
    u8 al = (u8)(ax + (ax >> 8) * (u8)i->imm);

    acc_set16(c, al);
    bcd_flags(c, al, false, false);
}

/* BOUND Gv, Ma: signed index against a pair; #BR outside. */
void viv_exec_bound(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 ea = ea_of(c, i);
    s64 lo, hi, v;

    if (i->osz == 2) {
        lo = (s16)mem_ld16(c, i->seg, ea);
        v = (s16)c->gpr[i->reg];
        if (v < lo) /* the upper bound is not looked at then */
            viv_x86_raise(c, VIV_BR);
        hi = (s16)mem_ld16(c, i->seg, (ea + 2) & viv_size_mask[i->asz]);
    } else {
        lo = (s32)mem_ld32(c, i->seg, ea);
        v = (s32)c->gpr[i->reg];
        if (v < lo)
            viv_x86_raise(c, VIV_BR);
        hi = (s32)mem_ld32(c, i->seg, (ea + 4) & viv_size_mask[i->asz]);
    }
    if (v > hi)
        viv_x86_raise(c, VIV_BR);
}

/* RDRAND, RDSEED: from the host's kernel, so they work where the host's CPU has neither. CF
 * tells success; the other flags are cleared. */
static void random_number(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 v = 0;
    bool ok = getrandom(&v, sizeof(v), GRND_NONBLOCK) == sizeof(v);

    set_reg_sized(c, i->rm, i->osz, ok ? v : 0);
    c->arith = ok ? VIV_AR_CF : 0;
}
const viv_exec_fn viv_forms_rdrand[8] = {NULL, random_number, random_number, random_number};
const viv_exec_fn viv_forms_rdseed[8] = {NULL, random_number, random_number, random_number};
