/* Memory operands: an address, and one of the ways to name it with what the registers are known to hold. */
#include "gen.h"

/* For interesting() and fill(), which do not know a sequence. */
uint64_t data_address(uint64_t *s)
{
    static const uint64_t at[] = {DATA_A + 0x100, DATA_A + 0xff8, DATA_B + 0x300, DATA_RO + 0x80, DATA_C, STACK + 0x800,
                                  DATA_D + 0xf0, CODE_A + 0x40};

    return at[below(s, sizeof(at) / sizeof(at[0]))] + below(s, 64) * (below(s, 4) ? 8 : 1);
}

/* Around the border between two pages, mostly across it. */
static uint64_t across(struct gen *g, uint64_t border, unsigned size)
{
    return border - 1 - below(&g->s, size < 2 ? 2 : size);
}

static uint64_t good_target(struct gen *g, unsigned size)
{
    uint64_t *s = &g->s;
    unsigned align = size < 2 ? 1 : size > 64 ? 64 : size;
    uint64_t a = DATA_A + 0x100 + below(s, 0x300);

    switch (below(s, 16)) {
    case 0: a = DATA_B + below(s, 0xe00); break;
    case 1: a = STACK + 0x400 + below(s, 0x600); break;
    case 2: a = DATA_C + below(s, 0xe00); break;
    case 3: return across(g, DATA_B, size);
    case 4: a = DATA_D + below(s, 0xe00); break;
    default: break;
    }
    return below(s, 5) ? a - a % align : a;
}

static uint64_t bad_target(struct gen *g, unsigned size)
{
    static const uint64_t borders[] = {DATA_RO, DATA_RO + 0x1000, DATA_C, DATA_MMIO, DATA_SYS, DATA_D, DATA_D + 0x1000,
                                       DATA, STACK, STACK_TOP, 0x100000000ull, HIGH, HIGH + 0x1000, HIGH + 0x2000,
                                       0x0000800000000000ull, CODE_B, CODE_A + CODE_BYTES};
    uint64_t *s = &g->s;

    switch (below(s, 12)) {
    case 0: case 1: case 2: case 3: return across(g, borders[below(s, sizeof(borders) / sizeof(borders[0]))], size);
    case 4: return DATA_RO + below(s, 0x1000);
    case 5: case 6: return DATA_MMIO + below(s, 0x100) * (below(s, 2) ? 8 : 1);
    case 7: return DATA_SYS + below(s, 0x1000);
    case 8: return CODE_A + below(s, CODE_BYTES);
    case 9: return below(s, 2) ? below(s, 0x800) : TOP_PAGE + 0x1000 - below(s, 40);
    case 10: return g->wide ? HIGH + below(s, 0x2000) : DATA_RO + 0x1000 + below(s, 0x1000);
    default: return interesting(s);
    }
}

uint64_t pick_target(struct gen *g, unsigned size)
{
    bool bad = below(&g->s, 100) < (g->calm ? 3u : 30u);
    uint64_t a = bad ? bad_target(g, size) : good_target(g, size);

    return g->wide ? a : (uint32_t)a;
}

unsigned pick_known(struct gen *g)
{
    unsigned n = below(&g->s, 16);

    for (unsigned k = 0; k < 16; k++, n = (n + 1) & 15) {
        if ((g->known >> n & 1) && (g->wide || n < 8))
            return n;
    }
    return VIV_RSP;
}

/* Known registers that hold an address, RSP before all, are kept most of the time. */
unsigned pick_dest(struct gen *g)
{
    unsigned r = 0;

    for (unsigned tries = 0; tries < 20; tries++) {
        bool address;

        r = below(&g->s, g->wide ? 16 : 8);
        address = (g->known >> r & 1) && g->val[r] - LOW < 0x200000;
        if (g->reserved >> r & 1)
            continue;
        if (r == VIV_RSP ? below(&g->s, 60) == 0 : !address || below(&g->s, 12) == 0)
            return r;
    }
    return r;
}

static uint64_t segment_base(struct gen *g, uint8_t prefix)
{
    return prefix == 0x64 ? g->q->fs_base : prefix == 0x65 ? g->q->gs_base : 0;
}

static bool fits32(int64_t v)
{
    return v == (int32_t)v;
}

static void set_base(struct memop *m, unsigned base)
{
    bool sib = m->has_sib || (base & 7) == 4;

    m->base_hi = base >> 3;
    if (sib && !m->has_sib)
        m->sib = 0x20; /* no index */
    m->has_sib = sib;
    m->rm = sib ? 4 : base & 7;
    if (sib)
        m->sib |= base & 7;
    m->disp_bytes = m->disp == 0 && (base & 7) != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 4;
    m->mod = m->disp_bytes == 0 ? 0 : m->disp_bytes == 1 ? 1 : 2;
}

static void set_absolute(struct gen *g, struct memop *m, uint64_t ea)
{
    m->mod = 0;
    m->rm = g->wide || m->has_sib ? 4 : 5;
    if (m->rm == 4) {
        m->sib = (uint8_t)((m->has_sib ? m->sib & 0xf8 : 0x20) | 5);
        m->has_sib = true;
    }
    m->disp = (int32_t)ea;
    m->disp_bytes = 4;
}

static uint64_t narrow(const struct gen *g, const struct memop *m, uint64_t v)
{
    return g->wide && !m->addr32 ? v : (uint32_t)v;
}

/* Base plus displacement, both believed. */
static bool by_base(struct gen *g, struct memop *m, uint64_t ea, unsigned base)
{
    int64_t d = (int64_t)(ea - g->val[base]);

    if (!g->wide || m->addr32)
        d = (int32_t)d;
    if (!(g->known >> base & 1) || !fits32(d))
        return false;
    m->disp = (int32_t)d;
    set_base(m, base);
    return true;
}

static void choose_index(struct gen *g, struct memop *m, uint64_t *ea)
{
    unsigned index = pick_known(g), scale = below(&g->s, 4);

    if (index == VIV_RSP || below(&g->s, 3))
        return;
    m->has_sib = true;
    m->index_hi = index >> 3;
    m->sib = (uint8_t)(scale << 6 | (index & 7) << 3);
    *ea -= narrow(g, m, g->val[index]) << scale;
    *ea = narrow(g, m, *ea);
}

void make_memop(struct gen *g, uint64_t target, struct memop *m)
{
    uint64_t *s = &g->s, ea;
    bool tried;

    memset(m, 0, sizeof(*m));
    m->target = target;
    if (below(s, 12) == 0)
        m->seg = below(s, 3) ? below(s, 2) ? 0x64 : 0x65 : (uint8_t)(0x26 | below(s, 4) << 3);
    ea = target - segment_base(g, m->seg);
    if (!g->wide)
        ea = (uint32_t)ea;
    if (g->wide && ea >> 32 == 0)
        m->addr32 = below(s, 24) == 0;
    if (g->wide && !m->seg && below(s, 6) == 0 && fits32((int64_t)(target - CODE_A))) {
        m->rip = true;
        m->rm = 5;
        m->disp_bytes = 4;
        return;
    }
    choose_index(g, m, &ea);
    tried = by_base(g, m, ea, pick_known(g)) || by_base(g, m, ea, pick_known(g));
    if (tried)
        return;
    if (below(s, 3) == 0 && (fits32((int64_t)ea) || !g->wide || m->addr32)) {
        set_absolute(g, m, ea);
        return;
    }
    {
        unsigned base = pick_dest(g);

        if (m->has_sib && ((m->sib >> 3 & 7) | m->index_hi << 3) == (int)base)
            m->has_sib = false, m->index_hi = 0, m->sib = 0;
        m->disp = below(s, 2) ? (int8_t)rnd(s) : 0;
        emit_mov(g, base, narrow(g, m, ea - (uint64_t)(int64_t)m->disp));
        set_base(m, base);
    }
}

/* Vector indices are small numbers, loaded before: the base holds the address. */
void make_vsib(struct gen *g, uint64_t target, unsigned index, struct memop *m)
{
    unsigned base = pick_dest(g);

    memset(m, 0, sizeof(*m));
    m->target = target;
    emit_mov(g, base, g->wide ? target : (uint32_t)target);
    m->has_sib = true;
    m->sib = (uint8_t)(below(&g->s, 4) << 6 | (index & 7) << 3);
    m->index_hi = index >> 3 & 1;
    m->index_v4 = index >> 4 & 1;
    set_base(m, base);
}

/* ---- what an instruction does to what is known ---- */

static void forget(struct gen *g, unsigned mask)
{
    g->known &= (uint16_t)~mask;
}

static void know(struct gen *g, unsigned reg, uint64_t v)
{
    g->known |= (uint16_t)(1u << reg);
    g->val[reg] = g->wide ? v : (uint32_t)v;
}

static unsigned implicit_writes(const struct viv_insn *i)
{
    static const struct {
        const char *name;
        unsigned mask;
    } t[] = {
        {"mul", 5}, {"imul", 5}, {"div", 5}, {"idiv", 5}, {"cwd", 4}, {"cdq", 4}, {"cqo", 4}, {"cbw", 1}, {"cwde", 1},
        {"cdqe", 1}, {"cmpxchg", 1}, {"cmpxchg8b", 5}, {"cmpxchg16b", 5}, {"lahf", 1}, {"xlat", 1}, {"cpuid", 15},
        {"aam", 1}, {"aad", 1}, {"aaa", 1}, {"aas", 1}, {"daa", 1}, {"das", 1}, {"salc", 1}, {"xgetbv", 5},
        {"pcmpestri", 2}, {"pcmpistri", 2}, {"vpcmpestri", 2}, {"vpcmpistri", 2}, {"fnstsw", 1}, {"rdpkru", 5},
        {"syscall", 0x802}, {"loop", 2}, {"loope", 2}, {"loopne", 2}, {"enter", 0x30}, {"leave", 0x30}, {"in", 1},
    };

    if (i->row->attr & A_REP)
        return 0xc0 | (i->rep ? 2 : 0) | (i->row->opcode >= 0xac && i->row->opcode <= 0xad ? 1 : 0);
    for (unsigned n = 0; n < sizeof(t) / sizeof(t[0]); n++) {
        if (!strcmp(t[n].name, i->row->name))
            return t[n].mask;
    }
    return 0;
}

static unsigned operand_register(const struct viv_insn *i, unsigned op)
{
    unsigned byte = i->row->attr & A_BYTE;
    unsigned rm = byte ? i->rm8 / 8 : i->rm, reg = byte ? i->reg8 / 8 : i->reg;

    switch (viv_operand_info[op].kind) {
    case VIV_K_E: return i->mem ? 16 : rm;
    case VIV_K_R: return i->rm;
    case VIV_K_Z: return rm;
    case VIV_K_G: return reg;
    case VIV_K_BREG: return i->vvvv;
    case VIV_K_FIX: return op == VIV_OP_CL || op == VIV_OP_rCX ? 1 : op == VIV_OP_DX || op == VIV_OP_rDX ? 2 : 0;
    default: return 16;
    }
}

/* MOV, LEA and the moves of the stack pointer by constants are followed. */
static bool follow(struct gen *g, const struct viv_insn *i, unsigned dst)
{
    const char *n = i->row->name;
    uint64_t mask = i->osz == 8 ? ~0ull : 0xffffffff;
    unsigned src = operand_register(i, i->row->operand[1]);
    unsigned kind = viv_operand_info[i->row->operand[1]].kind;

    if (dst >= 16 || (i->row->attr & A_BYTE) || i->osz < 4)
        return false;
    if (!strcmp(n, "mov") && kind == VIV_K_I) {
        know(g, dst, i->imm & mask);
        return true;
    }
    if (!strcmp(n, "mov") && src < 16 && (g->known >> src & 1)) {
        know(g, dst, g->val[src] & mask);
        return true;
    }
    if ((g->known >> dst & 1) && kind == VIV_K_I && (!strcmp(n, "add") || !strcmp(n, "sub"))) {
        know(g, dst, (n[0] == 'a' ? g->val[dst] + i->imm : g->val[dst] - i->imm) & mask);
        return true;
    }
    if (!strcmp(n, "lea") && i->asz >= 4 && i->base < 16 && (g->known >> i->base & 1) &&
        (i->index >= 16 || (g->known >> i->index & 1))) {
        uint64_t index = i->index < 16 ? g->val[i->index] << i->scale : 0;

        know(g, dst, (g->val[i->base] + index + (uint64_t)(int64_t)i->disp) & mask);
        return true;
    }
    return false;
}

void learn(struct gen *g, const struct viv_insn *i)
{
    const struct viv_row *r = i->row;
    bool swaps = !strcmp(r->name, "xchg") || !strcmp(r->name, "xadd") || !strcmp(r->name, "mulx");
    bool writes = (r->attr & A_WRITE) || viv_operand_info[r->operand[0]].kind != VIV_K_E;
    unsigned dst = operand_register(i, r->operand[0]);
    int step = g->wide ? 8 : 4;

    if (!strcmp(r->name, "cmp") || !strcmp(r->name, "test") || !strcmp(r->name, "bt") || (r->attr & A_JUMP))
        writes = false;
    if (r->attr & A_STACK) {
        if (!strncmp(r->name, "push", 4) || !strcmp(r->name, "call"))
            g->val[VIV_RSP] -= i->osz == 2 ? 2 : step;
        else if (!strncmp(r->name, "pop", 3) || !strcmp(r->name, "ret"))
            g->val[VIV_RSP] += i->osz == 2 ? 2 : step;
        writes = !strcmp(r->name, "pop");
    }
    forget(g, implicit_writes(i));
    if (swaps) {
        unsigned other = operand_register(i, r->operand[1]);

        forget(g, other < 16 ? 1u << other : 0);
    }
    if (writes && !follow(g, i, dst))
        forget(g, dst < 16 ? 1u << dst : 0);
}
