/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE. The stack pointer moves only after every access has
 * succeeded. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#define PUSH_POP(bits)                                                                             \
    static inline void push##bits(struct viv_x86 *c, u##bits v)                                    \
    {                                                                                              \
        u64 sp = sp_add(c, -(bits / 8));                                                           \
                                                                                                   \
        mem_st##bits(c, VIV_SS, sp, v);                                                            \
        set_sp(c, sp);                                                                             \
    }                                                                                              \
    static inline u##bits peek##bits(struct viv_x86 *c)                                            \
    {                                                                                              \
        return mem_ld##bits(c, VIV_SS, c->gpr[VIV_RSP] & c->sp_mask);                              \
    }                                                                                              \
    HANDLER(push_E_r##bits)                                                                        \
    {                                                                                              \
        push##bits(c, rm_get##bits(c, i));                                                         \
    }                                                                                              \
    HANDLER(push_E_m##bits)                                                                        \
    {                                                                                              \
        push##bits(c, op_ld##bits(c, i));                                                          \
    }                                                                                              \
    HANDLER(push_I_##bits)                                                                         \
    {                                                                                              \
        push##bits(c, (u##bits)i->imm);                                                            \
    }                                                                                              \
    HANDLER(pop_E_r##bits)                                                                         \
    {                                                                                              \
        u##bits v = peek##bits(c);                                                                 \
                                                                                                   \
        set_sp(c, sp_add(c, bits / 8)); /* first: POP rSP keeps the value */                       \
        rm_set##bits(c, i, v);                                                                     \
    }                                                                                              \
    /* An address through rSP uses the value after the increment (SDM 2B POP). */                  \
    HANDLER(pop_E_m##bits)                                                                         \
    {                                                                                              \
        u64 old = c->gpr[VIV_RSP], ea, new;                                                        \
        u##bits v = peek##bits(c);                                                                 \
                                                                                                   \
        set_sp(c, sp_add(c, bits / 8));                                                            \
        ea = ea_of(c, i);                                                                          \
        new = c->gpr[VIV_RSP];                                                                     \
        c->gpr[VIV_RSP] = old;                                                                     \
        mem_st##bits(c, i->seg, ea, v);                                                            \
        c->gpr[VIV_RSP] = new;                                                                     \
    }
PUSH_POP(16)
PUSH_POP(32)
PUSH_POP(64)
FORMS_NB(push_E)
FORMS_NB(pop_E)
const viv_exec_fn viv_forms_push_Z[8] = {NULL, push_E_r16, push_E_r32, push_E_r64};
const viv_exec_fn viv_forms_pop_Z[8] = {NULL, pop_E_r16, pop_E_r32, pop_E_r64};
const viv_exec_fn viv_forms_push_I[8] = {NULL, push_I_16, push_I_32, push_I_64};

void viv_exec_pusha(struct viv_x86 *c, const struct viv_insn *i)
{
    unsigned size = i->osz;
    u64 sp = c->gpr[VIV_RSP] & c->sp_mask;

    /* All eight must be writable before the first is stored. */
    for (unsigned n = 0; n < 8; n++)
        viv_probe(c, viv_x86_linear(c, VIV_SS, (sp - (n + 1) * size) & c->sp_mask, size, VIV_ACC_WRITE),
                  size, VIV_ACC_WRITE);
    for (unsigned n = 0; n < 8; n++)
        mem_st_sized(c, VIV_SS, (sp - (n + 1) * size) & c->sp_mask, size, c->gpr[n]);
    set_sp(c, (sp - 8 * size) & c->sp_mask);
}

void viv_exec_popa(struct viv_x86 *c, const struct viv_insn *i)
{
    unsigned size = i->osz;
    u64 sp = c->gpr[VIV_RSP] & c->sp_mask, v[8];

    for (unsigned n = 0; n < 8; n++)
        v[n] = mem_ld_sized(c, VIV_SS, (sp + (7 - n) * size) & c->sp_mask, size);
    for (unsigned n = 0; n < 8; n++) {
        if (n != VIV_RSP)
            set_reg_sized(c, n, size, v[n]);
    }
    set_sp(c, (sp + 8 * size) & c->sp_mask);
}

/* SDM 2A ENTER. The frame's last byte must be writable too: a later fault would not be
 * restartable. */
void viv_exec_enter(struct viv_x86 *c, const struct viv_insn *i)
{
    unsigned size = i->osz, level = i->imm2 & 31;
    u64 sp = (c->gpr[VIV_RSP] - size) & c->sp_mask, frame = sp;
    u64 bp = c->gpr[VIV_RBP], v;

    mem_st_sized(c, VIV_SS, sp, size, bp);
    for (unsigned n = 1; n < level; n++) {
        bp -= size;
        v = mem_ld_sized(c, VIV_SS, bp & c->sp_mask, size);
        sp = (sp - size) & c->sp_mask;
        mem_st_sized(c, VIV_SS, sp, size, v);
    }
    if (level) {
        sp = (sp - size) & c->sp_mask;
        mem_st_sized(c, VIV_SS, sp, size, (c->gpr[VIV_RSP] & ~c->sp_mask) | frame);
    }
    sp = (sp - i->imm) & c->sp_mask;
    viv_probe(c, viv_x86_linear(c, VIV_SS, sp, i->osz, VIV_ACC_WRITE), i->osz, VIV_ACC_WRITE);
    set_reg_sized(c, VIV_RBP, size, (c->gpr[VIV_RSP] & ~c->sp_mask) | frame);
    set_sp(c, sp);
}

void viv_exec_leave(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 sp = c->gpr[VIV_RBP] & c->sp_mask;
    u64 v = mem_ld_sized(c, VIV_SS, sp, i->osz);

    set_sp(c, (sp + i->osz) & c->sp_mask);
    set_reg_sized(c, VIV_RBP, i->osz, v);
}
