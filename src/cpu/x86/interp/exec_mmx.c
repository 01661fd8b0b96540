/* MMX state and moves. MMn is the mantissa of physical x87 register n. */
#include "cpu/x86/interp/simd.h"

#define EXEC(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i)

void viv_mmx_enter(struct viv_x86 *c)
{
    struct viv_x86_fpu *f = &c->fpu;
    unsigned top = f->fsw >> 11 & 7;

    if (top) {
        uint8_t st[8][16];

        memcpy(st, f->st, sizeof(st));
        for (unsigned n = 0; n < 8; n++)
            memcpy(f->st[n], st[(n - top) & 7], 16);
        f->fsw &= ~(7u << 11);
    }
    f->ftw = 0xff;
}

EXEC(mmx_mov_P_E)
{
    u64 v;

    viv_x87_check(c, true);
    v = i->mem ? mem_ld_sized(c, i->seg, ea_of(c, i), i->osz) : get_reg_sized(c, i->rm, i->osz);
    viv_mmx_enter(c);
    mm_set(c, i->reg, v);
}

EXEC(mmx_mov_E_P)
{
    u64 v;

    viv_x87_check(c, true);
    v = mm_get(c, i->reg);
    if (i->mem)
        mem_st_sized(c, i->seg, ea_of(c, i), i->osz, v);
    else
        set_reg_sized(c, i->rm, i->osz, v);
    viv_mmx_enter(c);
}

EXEC(mmx_mov_P_Q)
{
    u64 v;

    viv_x87_check(c, true);
    v = i->mem ? op_ld64(c, i) : mm_get(c, i->rm);
    viv_mmx_enter(c);
    mm_set(c, i->reg, v);
}

EXEC(mmx_mov_Q_P)
{
    u64 v;

    viv_x87_check(c, true);
    v = mm_get(c, i->reg);
    if (i->mem)
        op_st64(c, i, v);
    viv_mmx_enter(c);
    if (!i->mem)
        mm_set(c, i->rm, v);
}

EXEC(movq2dq)
{
    u64 q[2] = {0};

    need_sse(c);
    viv_x87_check(c, true);
    q[0] = mm_get(c, i->rm);
    viv_mmx_enter(c);
    set_vec(c, i, i->reg, q, 16);
}

EXEC(movdq2q)
{
    u64 v;

    need_sse(c);
    viv_x87_check(c, true);
    memcpy(&v, c->fpu.zmm[i->rm], 8);
    viv_mmx_enter(c);
    mm_set(c, i->reg, v);
}

EXEC(emms)
{
    viv_x87_check(c, true);
    viv_mmx_enter(c);
    c->fpu.ftw = 0;
}
