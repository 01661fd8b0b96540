/* `simd` and `simd_mmx` rows: the host's own instruction on the guest's operands (stubs.h).
 *
 * What to load and store follows from the row's operand letters; it is worked out once per row into a plan.
 * Order of events: may-it-run checks, memory operand (faults), the instruction (#XM), a store to memory
 * (faults), then registers, MXCSR and flags all at once. */
#include "cpu/x86/interp/simd.h"
#include "cpu/x86/interp/stubs_int.h"

#include <pthread.h>

enum run { RUN_SSE, RUN_SSE_FP, RUN_AVX, RUN_AVX_FP, RUN_MMX };

struct plan {
    const uint8_t *stub[4]; /* by W * 2 + L */
    uint8_t run;
    uint8_t kind[4];   /* by role: register file as VIV_K_V, G, P or NONE */
    uint8_t dest;      /* role, or NO_DEST */
    uint8_t mem_size;  /* bytes with VEX.L = 0; 0: the operand size (Ey) */
    bool mem_scales;   /* doubled by VEX.L */
    bool imm, flags;
    bool element; /* INSERTPS */
};

#define NO_DEST 0xff
#define MAX_PLANS 1280

static struct plan plans[MAX_PLANS];
static unsigned first_row;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void plan_memory(struct plan *p, unsigned size)
{
    static const uint8_t bytes[] = {
        [VIV_SZ_B] = 1, [VIV_SZ_W] = 2, [VIV_SZ_D] = 4, [VIV_SZ_Q] = 8, [VIV_SZ_DQ] = 16,
        [VIV_SZ_QQ] = 32, [VIV_SZ_X] = 16, [VIV_SZ_XH] = 8, [VIV_SZ_XQ] = 4, [VIV_SZ_XE] = 2,
        [VIV_SZ_DB] = 1, [VIV_SZ_DW] = 2, [VIV_SZ_YB] = 1, [VIV_SZ_YW] = 2, [VIV_SZ_Y] = 0,
    };

    p->mem_size = bytes[size];
    p->mem_scales = size == VIV_SZ_X || size == VIV_SZ_XH || size == VIV_SZ_XQ || size == VIV_SZ_XE;
}

static void plan_operand(struct plan *p, unsigned n, unsigned op)
{
    const struct viv_operand_info *o = &viv_operand_info[op];
    unsigned role;

    switch (o->kind) {
    case VIV_K_V: role = VIV_RL_REG; p->kind[role] = VIV_K_V; break;
    case VIV_K_G: role = VIV_RL_REG; p->kind[role] = VIV_K_G; break;
    case VIV_K_P: role = VIV_RL_REG; p->kind[role] = VIV_K_P; break;
    case VIV_K_H: role = VIV_RL_VVVV; p->kind[role] = VIV_K_V; break;
    case VIV_K_W: case VIV_K_U: role = VIV_RL_RM; p->kind[role] = VIV_K_V; break;
    case VIV_K_E: case VIV_K_R: role = VIV_RL_RM; p->kind[role] = VIV_K_G; break;
    case VIV_K_Q: case VIV_K_N: role = VIV_RL_RM; p->kind[role] = VIV_K_P; break;
    case VIV_K_L: role = VIV_RL_IMPL; p->kind[role] = VIV_K_L; break;
    case VIV_K_XMM0: role = VIV_RL_IMPL; p->kind[role] = VIV_K_XMM0; break;
    case VIV_K_I: p->imm = true; return;
    default: return;
    }
    if (role == VIV_RL_RM)
        plan_memory(p, o->size);
    if (n == 0)
        p->dest = role;
}

static void plan_row(struct plan *p, const struct viv_row *r, const int32_t *stubs)
{
    /* A variant that is missing is the same instruction: W or L is ignored there, W more often. */
    for (unsigned k = 0; k < 4; k++) {
        int32_t at = stubs[k] ? stubs[k] : stubs[k ^ 2] ? stubs[k ^ 2] : stubs[k ^ 1] ? stubs[k ^ 1] : stubs[k ^ 3];

        p->stub[k] = viv_stubs_start + at;
    }
    p->dest = NO_DEST;
    for (unsigned n = 0; n < 4; n++)
        plan_operand(p, n, r->operand[n]);
    p->flags = r->attr & A_FW;
    if (p->flags)
        p->dest = NO_DEST;
    p->element = r->map == VIV_MAP_0F3A && r->opcode == 0x21;
    if (r->attr & A_MMX)
        p->run = RUN_MMX;
    else if (r->attr & A_AVX)
        p->run = r->attr & A_FP ? RUN_AVX_FP : RUN_AVX;
    else
        p->run = r->attr & A_FP ? RUN_SSE_FP : RUN_SSE;
}

static void init(void)
{
    unsigned n = 0;

    while (!(viv_rows[n].attr & A_MMX)) /* rows_mmx.def comes first of the three */
        n++;
    first_row = n;
    for (; n < viv_row_count && n - first_row < MAX_PLANS && !(viv_rows[n].attr & A_AVX512); n++)
        plan_row(&plans[n - first_row], &viv_rows[n], viv_stub_table[n - first_row]);
}

void viv_stubs_init(void)
{
    pthread_once(&once, init);
    viv_evex_init();
    viv_stubs_install_handler();
}

static const struct plan *plan_of(const struct viv_insn *i)
{
    return &plans[i->row - viv_rows - first_row];
}

static const void *stub_of(const struct plan *p, const struct viv_insn *i)
{
    const uint8_t *s = p->stub[(i->osz == 8) * 2 + i->vl];
    unsigned imm = i->imm & 0xff;

    if (!p->imm)
        return s;
    if (UNLIKELY(i->mem && p->element)) /* INSERTPS: a memory source has but one element */
        imm &= 0x3f;
    return s + 8 * imm;
}

const void *viv_stub_of(const struct viv_insn *i)
{
    return stub_of(plan_of(i), i);
}

static unsigned memory_size(const struct plan *p, const struct viv_insn *i)
{
    if (!p->mem_size)
        return i->osz;
    return p->mem_scales ? p->mem_size << i->vl : p->mem_size;
}

static void run(struct viv_x86 *c, const struct plan *p, struct viv_simd_io *io, const void *stub)
{
    switch (p->run) {
    case RUN_SSE: viv_run_sse(io, stub); return;
    case RUN_AVX: viv_run_avx(io, stub); return;
    default: break;
    }
    io->mxcsr = c->fpu.mxcsr;
    io->fault = 0;
    if (p->run == RUN_SSE_FP)
        viv_run_sse_fp(io, stub);
    else if (p->run == RUN_AVX_FP)
        viv_run_avx_fp(io, stub);
    else
        viv_run_mmx(io, stub);
    if (UNLIKELY(io->fault))
        viv_simd_raise_xm(c, io->mxcsr);
}

static inline void load_reg(const struct viv_x86 *c, const struct plan *p, struct viv_simd_io *io,
                            unsigned role, unsigned r)
{
    switch (p->kind[role]) {
    case VIV_K_V: memcpy(io->v[role], c->fpu.zmm[r], 32); break;
    case VIV_K_G: io->gpr[role] = c->gpr[r]; break;
    case VIV_K_P: {
        u64 v = mm_get(c, r);

        memcpy(io->mm[role], &v, 8);
        break;
    }
    default: break;
    }
}

static void load_memory(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p,
                        struct viv_simd_io *io)
{
    unsigned size = memory_size(p, i);
    bool align = size == 16 && !i->vex;

    if (p->kind[VIV_RL_RM] == VIV_K_V && UNLIKELY(i->row->feature == VIV_FT_F16C))
        viv_simd_load_unchecked(c, i, io->v[VIV_RL_RM], size);
    else if (p->kind[VIV_RL_RM] == VIV_K_V)
        vec_load(c, i, io->v[VIV_RL_RM], size, align);
    else if (p->kind[VIV_RL_RM] == VIV_K_P)
        vec_load(c, i, io->mm[VIV_RL_RM], size, false);
    else
        io->gpr[VIV_RL_RM] = mem_ld_sized(c, i->seg, ea_of(c, i), size);
}

static void load(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p,
                 struct viv_simd_io *io)
{
    if (i->mem) {
        if (p->dest != VIV_RL_RM)
            load_memory(c, i, p, io);
    } else {
        load_reg(c, p, io, VIV_RL_RM, i->rm);
    }
    load_reg(c, p, io, VIV_RL_REG, i->reg);
    load_reg(c, p, io, VIV_RL_VVVV, i->vvvv);
    if (p->kind[VIV_RL_IMPL]) {
        unsigned r = p->kind[VIV_RL_IMPL] == VIV_K_L ? (i->imm2 >> 4) & 15 : 0;

        if (c->mode != VIV_MODE_LONG)
            r &= 7;
        memcpy(io->v[VIV_RL_IMPL], c->fpu.zmm[r], 32);
    }
}

static void store_memory(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p,
                         const struct viv_simd_io *io)
{
    unsigned size = memory_size(p, i);

    if (p->kind[VIV_RL_RM] == VIV_K_V && size == 8) /* VCVTPS2PH: no alignment check */
        viv_simd_store_element(c, i->seg, ea_of(c, i), io->v[VIV_RL_RM], size);
    else if (p->kind[VIV_RL_RM] == VIV_K_V)
        vec_store(c, i, io->v[VIV_RL_RM], size, false);
    else
        mem_st_sized(c, i->seg, ea_of(c, i), size, io->gpr[VIV_RL_RM]);
}

static void store(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p,
                  const struct viv_simd_io *io)
{
    unsigned r = p->dest == VIV_RL_REG ? i->reg : p->dest == VIV_RL_RM ? i->rm : i->vvvv;

    if (p->dest == NO_DEST)
        return;
    switch (p->kind[p->dest]) {
    case VIV_K_V: set_vec(c, i, r, io->v[p->dest], i->vex ? 32 : 16); break;
    case VIV_K_G: c->gpr[r] = io->gpr[p->dest]; break;
    case VIV_K_P: {
        u64 v;

        memcpy(&v, io->mm[p->dest], 8);
        mm_set(c, r, v);
        break;
    }
    default: break;
    }
}

void viv_exec_simd(struct viv_x86 *c, const struct viv_insn *i)
{
    const struct plan *p = plan_of(i);
    struct viv_simd_io io;

    need_vec(c, i);
    load(c, i, p, &io);
    run(c, p, &io, stub_of(p, i));
    if (p->run & 1)
        c->fpu.mxcsr = io.mxcsr; /* even when the store then faults (VCVTPS2PH) */
    if (i->mem && p->dest == VIV_RL_RM)
        store_memory(c, i, p, &io);
    else
        store(c, i, p, &io);
    if (p->flags)
        c->arith = io.arith;
}

/* MMX registers involved. Conversions from memory to XMM touch none, and leave the x87 state alone. */
void viv_exec_simd_mmx(struct viv_x86 *c, const struct viv_insn *i)
{
    const struct plan *p = plan_of(i);
    bool xmm = i->row->attr & A_SSE, x87 = !(i->mem && p->kind[VIV_RL_REG] == VIV_K_V);
    struct viv_simd_io io;

    if (xmm)
        need_sse(c);
    if (x87)
        viv_x87_check(c, true);
    load(c, i, p, &io);
    run(c, p, &io, stub_of(p, i));
    if (x87)
        viv_mmx_enter(c);
    store(c, i, p, &io);
    if (i->row->attr & A_FP)
        c->fpu.mxcsr = io.mxcsr;
}

/* PCMPESTRI and its family: lengths in EAX and EDX, index to ECX, mask to XMM0; no alignment needed. */
void viv_exec_pcmpstr(struct viv_x86 *c, const struct viv_insn *i)
{
    const struct plan *p = plan_of(i);
    struct viv_simd_io io;

    need_vec(c, i);
    if (i->mem)
        vec_load(c, i, io.v[VIV_RL_RM], 16, false);
    else
        memcpy(io.v[VIV_RL_RM], c->fpu.zmm[i->rm], 16);
    memcpy(io.v[VIV_RL_REG], c->fpu.zmm[i->reg], 16);
    io.gpr[0] = c->gpr[VIV_RAX];
    io.gpr[1] = c->gpr[VIV_RCX];
    io.gpr[2] = c->gpr[VIV_RDX];
    run(c, p, &io, stub_of(p, i));
    if (i->opcode & 1)
        c->gpr[VIV_RCX] = io.gpr[1];
    else
        set_vec(c, i, 0, io.v[VIV_RL_IMPL], 16);
    c->arith = io.arith;
}
