/* Near control transfer: JMP, Jcc, CALL, RET, LOOP, JrCXZ. Far ones are system instructions
 * (far.c). */
#include "cpu/x86/interp/cond.h"
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

/* The branch itself faults when its target is outside CS or not canonical: RIP is still the
 * branch. */
static inline u64 checked_target(struct viv_x86 *c, const struct viv_insn *i, u64 t)
{
    t &= viv_size_mask[i->osz];
    if (LIKELY(c->mode == VIV_MODE_LONG)) {
        if (UNLIKELY((u64)((s64)(t << c->canon_shift) >> c->canon_shift) != t))
            viv_x86_raise_error(c, VIV_GP, 0);
    } else if (UNLIKELY(t > c->seg[VIV_CS].limit)) {
        viv_x86_raise_error(c, VIV_GP, 0);
    }
    return t;
}

static inline void jump_relative(struct viv_x86 *c, const struct viv_insn *i)
{
    c->next_rip = checked_target(c, i, c->next_rip + i->imm);
}

void viv_exec_jmp_J(struct viv_x86 *c, const struct viv_insn *i)
{
    jump_relative(c, i);
}

#define JCC(cc)                                                                                    \
    void viv_exec_j##cc(struct viv_x86 *c, const struct viv_insn *i)                               \
    {                                                                                              \
        if (cond_##cc(c->arith))                                                                   \
            jump_relative(c, i);                                                                   \
    }
CONDITIONS(JCC)

static void call(struct viv_x86 *c, const struct viv_insn *i, u64 target)
{
    u64 sp = sp_add(c, -(s64)i->osz);

    /* The return address is written even when the target then faults: silicon does so. */
    mem_st_sized(c, VIV_SS, sp, i->osz, c->next_rip);
    c->next_rip = checked_target(c, i, target);
    set_sp(c, sp);
}

void viv_exec_call_J(struct viv_x86 *c, const struct viv_insn *i)
{
    call(c, i, c->next_rip + i->imm);
}

#define INDIRECT(bits)                                                                             \
    HANDLER(call_E_r##bits)                                                                        \
    {                                                                                              \
        call(c, i, rm_get##bits(c, i));                                                            \
    }                                                                                              \
    HANDLER(call_E_m##bits)                                                                        \
    {                                                                                              \
        call(c, i, op_ld##bits(c, i));                                                             \
    }                                                                                              \
    HANDLER(jmp_E_r##bits)                                                                         \
    {                                                                                              \
        c->next_rip = checked_target(c, i, rm_get##bits(c, i));                                    \
    }                                                                                              \
    HANDLER(jmp_E_m##bits)                                                                         \
    {                                                                                              \
        c->next_rip = checked_target(c, i, op_ld##bits(c, i));                                     \
    }                                                                                              \
    HANDLER(ret_##bits)                                                                            \
    {                                                                                              \
        u64 t = mem_ld##bits(c, VIV_SS, c->gpr[VIV_RSP] & c->sp_mask);                             \
                                                                                                   \
        c->next_rip = checked_target(c, i, t);                                                     \
        set_sp(c, sp_add(c, bits / 8));                                                            \
    }
INDIRECT(16)
INDIRECT(32)
INDIRECT(64)
FORMS_NB(call_E)
FORMS_NB(jmp_E)
const viv_exec_fn viv_forms_ret[8] = {NULL, ret_16, ret_32, ret_64};

void viv_exec_ret_imm(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 t = mem_ld_sized(c, VIV_SS, c->gpr[VIV_RSP] & c->sp_mask, i->osz);

    c->next_rip = checked_target(c, i, t);
    set_sp(c, sp_add(c, (s64)(i->osz + i->imm)));
}

/* LOOP and JrCXZ count in CX, ECX or RCX by address size. */
static void loop_if(struct viv_x86 *c, const struct viv_insn *i, bool condition)
{
    u64 n = (c->gpr[VIV_RCX] - 1) & viv_size_mask[i->asz];
    u64 t = c->next_rip;

    if (n != 0 && condition)
        t = checked_target(c, i, c->next_rip + i->imm);
    set_reg_sized(c, VIV_RCX, i->asz, n);
    c->next_rip = t;
}

void viv_exec_loop(struct viv_x86 *c, const struct viv_insn *i)
{
    loop_if(c, i, true);
}
void viv_exec_loope(struct viv_x86 *c, const struct viv_insn *i)
{
    loop_if(c, i, cond_e(c->arith));
}
void viv_exec_loopne(struct viv_x86 *c, const struct viv_insn *i)
{
    loop_if(c, i, cond_ne(c->arith));
}
void viv_exec_jrcxz(struct viv_x86 *c, const struct viv_insn *i)
{
    if (get_reg_sized(c, VIV_RCX, i->asz) == 0)
        jump_relative(c, i);
}
