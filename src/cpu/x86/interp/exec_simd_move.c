/* Vector moves: no host instruction needed, and the forms for memory and register differ. */
#include "cpu/x86/interp/simd.h"

#define EXEC(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i)

static unsigned length(const struct viv_insn *i)
{
    return 16u << i->vl;
}

static void load_full(struct viv_x86 *c, const struct viv_insn *i, bool align)
{
    uint8_t v[64];
    unsigned n = length(i);

    need_vec(c, i);
    if (i->mem)
        vec_load(c, i, v, n, align);
    else
        memcpy(v, c->fpu.zmm[i->rm], n);
    set_vec(c, i, i->reg, v, n);
}

static void store_full(struct viv_x86 *c, const struct viv_insn *i, bool align)
{
    uint8_t v[64];
    unsigned n = length(i);

    need_vec(c, i);
    memcpy(v, c->fpu.zmm[i->reg], n);
    if (i->mem)
        vec_store(c, i, v, n, align);
    else
        set_vec(c, i, i->rm, v, n);
}

EXEC(movu_V_W) { load_full(c, i, false); }
EXEC(mova_V_W) { load_full(c, i, true); }
EXEC(movu_W_V) { store_full(c, i, false); }
EXEC(mova_W_V) { store_full(c, i, true); }

/* From memory the rest of the register (16 bytes, or all with VEX) is zeroed. */
static void set_zero_extended(struct viv_x86 *c, const struct viv_insn *i, unsigned r, u64 v)
{
    u64 q[2] = {v, 0};

    set_vec(c, i, r, q, 16);
}

static unsigned scalar_size(const struct viv_insn *i)
{
    return i->row->pfx == VIV_PFX_F3 ? 4 : 8;
}

/* MOVSS, MOVSD. */
EXEC(movs_V_W)
{
    unsigned n = scalar_size(i);

    need_vec(c, i);
    if (i->mem)
        set_zero_extended(c, i, i->reg, mem_ld_sized(c, i->seg, ea_of(c, i), n));
    else
        memmove(c->fpu.zmm[i->reg], c->fpu.zmm[i->rm], n);
}

EXEC(movs_W_V)
{
    unsigned n = scalar_size(i);
    u64 v;

    need_vec(c, i);
    memcpy(&v, c->fpu.zmm[i->reg], 8);
    if (i->mem)
        mem_st_sized(c, i->seg, ea_of(c, i), n, v);
    else
        memmove(c->fpu.zmm[i->rm], c->fpu.zmm[i->reg], n);
}

static void merge_scalar(struct viv_x86 *c, const struct viv_insn *i, unsigned dest, unsigned low)
{
    uint8_t v[16];

    need_avx(c);
    memcpy(v, c->fpu.zmm[i->vvvv], 16);
    memcpy(v, c->fpu.zmm[low], scalar_size(i));
    set_vec(c, i, dest, v, 16);
}

EXEC(movs_V_H_U) { merge_scalar(c, i, i->reg, i->rm); }
EXEC(movs_U_H_V) { merge_scalar(c, i, i->rm, i->reg); }

/* A quadword goes to the low or high half, the other half comes from VEX.vvvv or stays. */
static void set_half(struct viv_x86 *c, const struct viv_insn *i, unsigned half, u64 q)
{
    u64 v[2];

    memcpy(v, c->fpu.zmm[i->vex ? i->vvvv : i->reg], 16);
    v[half] = q;
    set_vec(c, i, i->reg, v, 16);
}

static u64 get_half(const struct viv_x86 *c, unsigned r, unsigned half)
{
    u64 v;

    memcpy(&v, c->fpu.zmm[r] + 8 * half, 8);
    return v;
}

EXEC(movl_V_M)
{
    need_vec(c, i);
    set_half(c, i, 0, op_ld64(c, i));
}
EXEC(movh_V_M)
{
    need_vec(c, i);
    set_half(c, i, 1, op_ld64(c, i));
}
EXEC(movhlps)
{
    need_vec(c, i);
    set_half(c, i, 0, get_half(c, i->rm, 1));
}
EXEC(movlhps)
{
    need_vec(c, i);
    set_half(c, i, 1, get_half(c, i->rm, 0));
}
EXEC(movl_M_V)
{
    need_vec(c, i);
    op_st64(c, i, get_half(c, i->reg, 0));
}
EXEC(movh_M_V)
{
    need_vec(c, i);
    op_st64(c, i, get_half(c, i->reg, 1));
}

/* MOVD, MOVQ with a general register or memory. */
EXEC(mov_V_E)
{
    u64 v;

    need_vec(c, i);
    v = i->mem ? mem_ld_sized(c, i->seg, ea_of(c, i), i->osz) : get_reg_sized(c, i->rm, i->osz);
    set_zero_extended(c, i, i->reg, v);
}

EXEC(mov_E_V)
{
    u64 v;

    need_vec(c, i);
    v = get_half(c, i->reg, 0);
    if (i->mem)
        mem_st_sized(c, i->seg, ea_of(c, i), i->osz, v);
    else
        set_reg_sized(c, i->rm, i->osz, v);
}

EXEC(movq_V_W)
{
    need_vec(c, i);
    set_zero_extended(c, i, i->reg, i->mem ? op_ld64(c, i) : get_half(c, i->rm, 0));
}

EXEC(movq_W_V)
{
    u64 v;

    need_vec(c, i);
    v = get_half(c, i->reg, 0);
    if (i->mem)
        op_st64(c, i, v);
    else
        set_zero_extended(c, i, i->rm, v);
}

static void zero_upper(struct viv_x86 *c, unsigned from)
{
    unsigned n = c->mode == VIV_MODE_LONG ? 16 : 8;

    need_avx(c);
    for (unsigned r = 0; r < n; r++)
        memset(c->fpu.zmm[r] + from, 0, 64 - from);
}

EXEC(vzeroupper) { zero_upper(c, 16); }
EXEC(vzeroall) { zero_upper(c, 0); }

/* MXCSR. */
EXEC(ldmxcsr)
{
    u32 v;

    need_vec(c, i);
    v = op_ld32(c, i);
    if (v & ~viv_mxcsr_mask())
        viv_x86_gp0(c);
    c->fpu.mxcsr = v;
}

EXEC(stmxcsr)
{
    need_vec(c, i);
    op_st32(c, i, c->fpu.mxcsr);
}
