/* `evex` and `opmask` rows: the host's own instruction on the guest's operands (evex.h), as exec_simd.c does for SSE
 * and AVX. Order of events: may-it-run checks, memory operand (faults), the instruction (#XM), a store to memory
 * (faults), then registers, MXCSR and flags all at once.
 *
 * An element whose opmask bit is clear is neither read nor written, and cannot fault, unless the row says E_NF. */
#include "cpu/x86/decode/evex.h"
#include "cpu/x86/interp/evex.h"
#include "cpu/x86/interp/simd.h"

#include <pthread.h>

struct plan {
    const uint8_t *stub[6]; /* by W * 3 + length */
    uint8_t kind[4];        /* by role: VIV_K_V vector, VIV_K_KG opmask, VIV_K_G general, or NONE */
    uint8_t dest;           /* role, or NO_DEST */
    uint8_t dest_size;      /* enum viv_operand_size of what the opmask governs */
    bool imm, element;      /* element: VINSERTPS */
};

#define NO_DEST   0xff
#define MAX_PLANS 800

static struct plan plans[MAX_PLANS];
static const struct viv_row *first_row, *end_row;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void plan_operand(struct plan *p, unsigned n, unsigned op)
{
    const struct viv_operand_info *o = &viv_operand_info[op];
    unsigned role = VIV_RL_REG, kind;

    switch (o->kind) {
    case VIV_K_V: kind = VIV_K_V; break;
    case VIV_K_G: kind = VIV_K_G; break;
    case VIV_K_KG: kind = VIV_K_KG; break;
    case VIV_K_H: role = VIV_RL_VVVV; kind = VIV_K_V; break;
    case VIV_K_KH: role = VIV_RL_VVVV; kind = VIV_K_KG; break;
    case VIV_K_W: case VIV_K_U: role = VIV_RL_RM; kind = VIV_K_V; break;
    case VIV_K_KE: role = VIV_RL_RM; kind = VIV_K_KG; break;
    case VIV_K_E: case VIV_K_R: role = VIV_RL_RM; kind = VIV_K_G; break;
    case VIV_K_I: p->imm = true; return;
    default: return;
    }
    p->kind[role] = (uint8_t)kind;
    if (n == 0)
        p->dest = (uint8_t)role;
    if (n == 0 || (n == 1 && p->dest != NO_DEST && p->kind[p->dest] == VIV_K_KG))
        p->dest_size = o->size;
}

static void init(void)
{
    const struct viv_row *r = viv_rows, *end = viv_rows + viv_row_count;

    while (r < end && !(r->attr & A_AVX512)) /* rows_evex.def stands last */
        r++;
    first_row = r;
    for (unsigned n = 0; r < end && n < MAX_PLANS; r++, n++) {
        struct plan *p = &plans[n];

        for (unsigned k = 0; k < 6; k++)
            p->stub[k] = viv_evex_stubs_start + viv_evex_stub_table[n][k];
        p->dest = NO_DEST;
        for (unsigned k = 0; k < 4; k++)
            plan_operand(p, k, r->operand[k]);
        if (r->attr & A_FW)
            p->dest = NO_DEST;
        p->element = r->map == VIV_MAP_0F3A && r->opcode == 0x21;
    }
    end_row = r;
}

void viv_evex_init(void)
{
    pthread_once(&once, init);
}

static const struct plan *plan_of(const struct viv_insn *i)
{
    return &plans[i->row - first_row];
}

static const void *stub_of(const struct plan *p, const struct viv_insn *i)
{
    unsigned w = i->row->select & S_W1 || (i->row->attr & A_Y && i->osz == 8), imm = i->imm & 0xff;
    const uint8_t *s = p->stub[w * 3 + i->vl];

    if (!p->imm)
        return s;
    return s + 8 * (i->mem && p->element ? imm & 0x3f : imm); /* a memory source has but one element */
}

static u64 low_bits(unsigned n)
{
    return n >= 64 ? ~0ull : (1ull << n) - 1;
}

/* How many elements the opmask governs. */
static unsigned elements(const struct plan *p, const struct viv_insn *i)
{
    unsigned bytes;

    switch (p->dest_size) {
    case VIV_SZ_XH: bytes = 8u << i->vl; break;
    case VIV_SZ_XQ: bytes = 4u << i->vl; break;
    case VIV_SZ_XE: bytes = 2u << i->vl; break;
    case VIV_SZ_W: bytes = 2; break;
    case VIV_SZ_D: bytes = 4; break;
    case VIV_SZ_Q: bytes = 8; break;
    case VIV_SZ_DQ: bytes = 16; break;
    case VIV_SZ_QQ: bytes = 32; break;
    default: bytes = 16u << i->vl; break;
    }
    if (i->row->evex & E_PACK)
        bytes = 16u << i->vl;
    return bytes / E_SIZE(i->row->evex);
}

/* The memory operand as parts that are accessed or not. */
struct parts {
    unsigned size, count;
    u64 wanted;
};

static struct parts memory_parts(const struct viv_insn *i, unsigned n, u64 active)
{
    unsigned e = i->row->evex, size = E_SIZE(e), bytes = viv_evex_memory(i);
    struct parts m = {bytes, 1, active != 0};

    if (e & E_PACK) {
        m = (struct parts){size, n, low_bits((unsigned)__builtin_popcountll(active))};
    } else if (i->evex_b == VIV_EB_BROADCAST) {
        return m;
    } else if (e & E_UNIT) {
        m = (struct parts){size, bytes / size, 0};
        for (unsigned k = 0; k < n; k += m.count)
            m.wanted |= active >> k & low_bits(m.count);
    } else {
        m = (struct parts){bytes / n, n, active};
    }
    return m;
}

/* An access of up to 8 bytes has its alignment checked, wide ones have not. */
static void check_parts(struct viv_x86 *c, const struct viv_insn *i, struct parts m, enum viv_access acc)
{
    u64 ea = ea_of(c, i);

    for (unsigned k = 0; k < m.count; k++) {
        if (m.wanted >> k & 1)
            viv_x86_linear(c, i->seg, ea + k * m.size, m.size, acc);
    }
    if (m.size * m.count <= 8 && m.wanted && !(i->row->evex & E_NOAC))
        align_check(c, viv_x86_linear(c, i->seg, ea, m.size, acc), m.size * m.count);
}

static void load_parts(struct viv_x86 *c, const struct viv_insn *i, uint8_t *v, struct parts m)
{
    u64 ea = ea_of(c, i), lin = c->fast_base[i->seg] + ea;
    unsigned bytes = m.size * m.count;
    const void *p = viv_tlb_read(c, lin, bytes);

    memset(v, 0, 64);
    if (LIKELY(p && (bytes > 8 || !(lin & (bytes - 1))))) { /* RAM: what is read too much does no harm */
        memcpy(v, p, bytes);
        return;
    }
    check_parts(c, i, m, VIV_ACC_READ);
    for (unsigned k = 0; k < m.count; k++) {
        u64 x;

        if (!(m.wanted >> k & 1))
            continue;
        x = viv_simd_element(c, i->seg, ea + k * m.size, m.size);
        memcpy(v + k * m.size, &x, m.size);
    }
}

static void check_aligned(struct viv_x86 *c, const struct viv_insn *i, unsigned size)
{
    u64 base = c->mode != VIV_MODE_LONG || i->seg >= VIV_FS ? c->seg[i->seg].base : 0;

    if ((base + ea_of(c, i)) & (size - 1))
        viv_x86_gp0(c);
}

static void broadcast(uint8_t *v, unsigned size)
{
    for (unsigned k = size; k < 64; k += size)
        memcpy(v + k, v, size);
}

static void load_vector(struct viv_x86 *c, const struct viv_insn *i, uint8_t *v, unsigned n, u64 active)
{
    unsigned e = i->row->evex, bytes = viv_evex_memory(i);

    if ((e & E_ALIGN) && active)
        check_aligned(c, i, bytes);
    if ((e & E_NF) || (active == low_bits(n) && !(e & (E_PACK | E_NOAC))))
        vec_load(c, i, v, bytes, false);
    else
        load_parts(c, i, v, memory_parts(i, n, active));
    if (i->evex_b == VIV_EB_BROADCAST)
        broadcast(v, bytes);
}

/* All of the operand lies in one writable page of RAM: the wanted parts go there at once. */
static bool store_parts_fast(struct viv_x86 *c, const struct viv_insn *i, const uint8_t *v, struct parts m)
{
    unsigned bytes = m.size * m.count;
    u64 lin = c->fast_base[i->seg] + ea_of(c, i), left;
    const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);
    uint8_t *to = (uint8_t *)(lin + e->addend);

    if (((lin + bytes - 1) & VIV_PAGE_MASK) != e->tag_write || (bytes <= 8 && (lin & (bytes - 1))))
        return false;
    for (left = m.wanted; left; left &= left - 1) {
        unsigned at = m.size * (unsigned)__builtin_ctzll(left);
        u64 x = 0;

        switch (m.size) {
        case 1: host_st8(to + at, v[at]); break;
        case 2: memcpy(&x, v + at, 2); host_st16(to + at, (u16)x); break;
        case 4: memcpy(&x, v + at, 4); host_st32(to + at, (u32)x); break;
        default: memcpy(&x, v + at, 8); host_st64(to + at, x); break;
        }
    }
    if (UNLIKELY(*(volatile u8 *)e->flags) && m.wanted)
        viv_mmu_stored(c, to, bytes);
    return true;
}

static void store_vector(struct viv_x86 *c, const struct viv_insn *i, const uint8_t *v, unsigned n, u64 active)
{
    unsigned e = i->row->evex, bytes = viv_evex_memory(i);
    struct parts m = memory_parts(i, n, active);
    u64 ea = ea_of(c, i);

    if ((e & E_ALIGN) && active)
        check_aligned(c, i, bytes);
    if (active == low_bits(n) && !(e & (E_PACK | E_NOAC))) {
        vec_store(c, i, v, bytes, false);
        return;
    }
    if (LIKELY(store_parts_fast(c, i, v, m)))
        return;
    if (e & E_NF)
        viv_probe(c, viv_x86_linear(c, i->seg, ea, bytes, VIV_ACC_WRITE), bytes, VIV_ACC_WRITE);
    check_parts(c, i, m, VIV_ACC_WRITE);
    for (unsigned pass = 0; pass < 2; pass++) { /* all are checked before the first is stored */
        for (unsigned k = 0; k < m.count; k++) {
            u64 at = ea + k * m.size, lin;

            if (!(m.wanted >> k & 1))
                continue;
            if (pass) {
                viv_simd_store_element(c, i->seg, at, v + k * m.size, m.size);
                continue;
            }
            lin = viv_x86_linear(c, i->seg, at, m.size, VIV_ACC_WRITE);
            viv_probe(c, lin, 1, VIV_ACC_WRITE); /* each by itself has no alignment check */
            viv_probe(c, lin + m.size - 1, 1, VIV_ACC_WRITE);
        }
    }
}

static void load_role(const struct viv_x86 *c, const struct plan *p, struct viv_evex_io *io, unsigned role, unsigned r)
{
    switch (p->kind[role]) {
    case VIV_K_V: memcpy(io->v[role], c->fpu.zmm[r], 64); break;
    case VIV_K_G: io->gpr[role] = c->gpr[r & 15]; break;
    case VIV_K_KG: io->k[role] = c->fpu.k[r & 7]; break;
    default: break;
    }
}

static void load(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p, struct viv_evex_io *io,
                 unsigned n, u64 active)
{
    if (!i->mem) {
        load_role(c, p, io, VIV_RL_RM, i->rm);
    } else if (p->dest == VIV_RL_RM) {
        memset(io->v[VIV_RL_RM], 0, 64);
    } else if (p->kind[VIV_RL_RM] == VIV_K_V) {
        load_vector(c, i, io->v[VIV_RL_RM], n, active);
    } else {
        u64 x = mem_ld_sized(c, i->seg, ea_of(c, i), viv_evex_memory(i));

        io->gpr[VIV_RL_RM] = io->k[VIV_RL_RM] = x;
    }
    load_role(c, p, io, VIV_RL_REG, i->reg);
    load_role(c, p, io, VIV_RL_VVVV, i->vvvv);
}

static void clear_elements(uint8_t *v, unsigned n, unsigned size, u64 keep)
{
    for (unsigned k = 0; k < n; k++) {
        if (!(keep >> k & 1))
            memset(v + k * size, 0, size);
    }
}

static void store_register(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p, struct viv_evex_io *io,
                           unsigned n, u64 active)
{
    unsigned r = p->dest == VIV_RL_REG ? i->reg : p->dest == VIV_RL_RM ? i->rm : i->vvvv;

    switch (p->kind[p->dest]) {
    case VIV_K_V:
        if (i->zeroing && (i->row->evex & E_PACK) && p->dest == VIV_RL_RM)
            active = low_bits((unsigned)__builtin_popcountll(active));
        if (i->zeroing)
            clear_elements(io->v[p->dest], n, E_SIZE(i->row->evex), active);
        memcpy(c->fpu.zmm[r], io->v[p->dest], 64); /* the stub has zeroed what lies beyond the length */
        break;
    case VIV_K_G: c->gpr[r] = io->gpr[p->dest]; break;
    case VIV_K_KG: c->fpu.k[r] = io->k[p->dest]; break;
    default: break;
    }
}

static void run(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p, struct viv_evex_io *io)
{
    bool quiet = i->evex_b >= VIV_EB_SAE;

    io->mxcsr = c->fpu.mxcsr;
    io->fault = 0;
    if (quiet)
        io->mxcsr = (io->mxcsr & ~0x3fu) | 0x1f80;
    if (i->evex_b >= VIV_EB_ROUND)
        io->mxcsr = (io->mxcsr & ~0x6000u) | (i->evex_b - VIV_EB_ROUND) << 13;
    viv_run_evex(io, stub_of(p, i));
    if (UNLIKELY(io->fault))
        viv_simd_raise_xm(c, io->mxcsr);
    if (quiet)
        io->mxcsr = c->fpu.mxcsr;
}

static void store(struct viv_x86 *c, const struct viv_insn *i, const struct plan *p, struct viv_evex_io *io,
                  unsigned n, u64 active)
{
    if (p->dest == NO_DEST)
        return;
    if (!i->mem || p->dest != VIV_RL_RM)
        store_register(c, i, p, io, n, active);
    else if (p->kind[VIV_RL_RM] == VIV_K_V)
        store_vector(c, i, io->v[VIV_RL_RM], n, active);
    else
        mem_st_sized(c, i->seg, ea_of(c, i), viv_evex_memory(i), io->gpr[VIV_RL_RM]);
}

static u64 active_elements(const struct viv_x86 *c, const struct viv_insn *i, unsigned n)
{
    return (i->mask ? c->fpu.k[i->mask] : ~0ull) & low_bits(n);
}

void viv_exec_evex(struct viv_x86 *c, const struct viv_insn *i)
{
    const struct plan *p = plan_of(i);
    unsigned n = elements(p, i);
    u64 active = active_elements(c, i, n);
    struct viv_evex_io io;

    need_avx512(c);
    io.k[0] = i->mask ? c->fpu.k[i->mask] : ~0ull;
    load(c, i, p, &io, n, active);
    run(c, i, p, &io);
    c->fpu.mxcsr = io.mxcsr; /* even when the store then faults (VCVTPS2PH) */
    store(c, i, p, &io, n, active);
    if (i->row->attr & A_FW)
        c->arith = io.arith;
}

/* VEX encoded: no writemask. */
void viv_exec_opmask(struct viv_x86 *c, const struct viv_insn *i)
{
    viv_exec_evex(c, i);
}

/* VBROADCASTF32X4 and family: no register form, so none that could be run. */
void viv_exec_evex_broadcast(struct viv_x86 *c, const struct viv_insn *i)
{
    unsigned bytes = viv_evex_memory(i), size = E_SIZE(i->row->evex), length = 16u << i->vl, n = length / size;
    u64 active = active_elements(c, i, n);
    struct parts m = {size, bytes / size, 0};
    uint8_t v[64], *dest = c->fpu.zmm[i->reg];

    need_avx512(c);
    for (unsigned k = 0; k < n; k += m.count)
        m.wanted |= active >> k & low_bits(m.count);
    load_parts(c, i, v, m);
    broadcast(v, bytes);
    for (unsigned k = 0; k < n; k++) {
        if (active >> k & 1)
            memcpy(dest + k * size, v + k * size, size);
        else if (i->zeroing)
            memset(dest + k * size, 0, size);
    }
    memset(dest + length, 0, 64 - length);
}
