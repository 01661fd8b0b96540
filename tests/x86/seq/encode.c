/* One instruction of a decoder row: registers and operands chosen, then written down. */
#include "gen.h"

struct shape {
    const struct viv_row *r;
    bool p66, w, l, vex, evex, mem, lock;
    struct evex_bits e;
    uint8_t rep;
    bool rex_empty; /* a REX prefix without bits: other byte registers */
    unsigned reg, rm, vvvv;
    struct memop m;
};

struct out {
    uint8_t b[32];
    unsigned n;
};

static void put(struct out *o, unsigned v)
{
    if (o->n < sizeof(o->b))
        o->b[o->n++] = (uint8_t)v;
}

static void put_value(struct out *o, uint64_t v, unsigned bytes)
{
    for (unsigned k = 0; k < bytes; k++)
        put(o, (unsigned)(v >> 8 * k & 0xff));
}

/* ---- what the row leaves open ---- */

static bool wants_memory(struct gen *g, const struct viv_row *r)
{
    if (r->map == VIV_MAP_X87_REG || (r->select & (S_REG | 0xff00)))
        return false;
    if (r->map == VIV_MAP_X87_MEM || (r->select & S_MEM) || operand_kind(r, VIV_K_M) || operand_kind(r, VIV_K_VM))
        return true;
    if (operand_kind(r, VIV_K_R) || operand_kind(r, VIV_K_U) || operand_kind(r, VIV_K_N))
        return false;
    return below(&g->s, 5) < 3;
}

static void choose_size(struct gen *g, struct shape *h)
{
    const struct viv_row *r = h->r;
    unsigned kind = below(&g->s, 20);
    bool open = r->pfx == VIV_PFX_ANY || r->pfx == VIV_PFX_NR;

    if (h->evex) {
        h->e = random_evex(&g->s, r);
        h->w = h->e.w;
        return;
    }
    h->p66 = r->pfx == VIV_PFX_66 || (r->select & S_OSZ2) ||
             (open && !(r->select & (S_OSZ4 | S_OSZ8)) && kind < (r->attr & A_BYTE ? 1u : 3u));
    h->w = (r->select & (S_W1 | S_OSZ8)) ||
           (allows(r->select, S_W1, S_W0) && !(r->select & (S_OSZ2 | S_OSZ4)) &&
            (open ? kind >= 3 && kind < 11 : kind < 6));
    if (!g->wide && !(r->select & S_VEX))
        h->w = false;
    if (h->vex)
        h->l = allows(r->select, S_L1, S_L0) && (!allows(r->select, S_L0, S_L1) || kind & 1);
    h->rep = r->pfx == VIV_PFX_F3 ? 0xf3 : r->pfx == VIV_PFX_F2 ? 0xf2 : 0;
    if (r->pfx == VIV_PFX_ANY && (r->attr & A_REP) && below(&g->s, 2))
        h->rep = below(&g->s, 2) ? 0xf3 : 0xf2;
    else if (r->pfx == VIV_PFX_ANY && below(&g->s, 100) == 0)
        h->rep = below(&g->s, 2) ? 0xf3 : 0xf2;
}

/* ZMM16-31. */
static void choose_high(struct gen *g, struct shape *h)
{
    unsigned high = below(&g->s, 8);

    if (operand_kind(h->r, VIV_K_V))
        h->reg |= high << 4 & 16;
    if (operand_kind(h->r, VIV_K_H))
        h->vvvv |= high << 3 & 16;
    if (operand_kind(h->r, VIV_K_W) || operand_kind(h->r, VIV_K_U))
        h->rm |= high << 2 & 16;
}

static void choose_registers(struct gen *g, struct shape *h)
{
    const struct viv_row *r = h->r;
    unsigned regs = g->wide ? 16 : 8, k0 = viv_operand_info[r->operand[0]].kind;

    h->reg = k0 == VIV_K_G ? pick_dest(g) : below(&g->s, regs);
    h->rm = (k0 == VIV_K_E || k0 == VIV_K_R) && (r->attr & A_WRITE) ? pick_dest(g) : below(&g->s, regs);
    if (r->select & 0xff)
        h->reg = pick_bit(&g->s, r->select & 0xff);
    if (r->select & 0xff00)
        h->rm = pick_bit(&g->s, r->select >> 8 & 0xff);
    if (r->map == VIV_MAP_X87_MEM)
        h->reg = r->opcode & 7;
    if (operand_kind(r, VIV_K_SREG))
        h->reg = below(&g->s, 6);
    if (operand_kind(r, VIV_K_CREG))
        h->reg = (unsigned[]){0, 2, 3, 4, 8}[below(&g->s, g->wide ? 5 : 4)];
    if (operand_kind(r, VIV_K_Z))
        h->rm = below(&g->s, regs) & 8;
    h->vvvv = (r->select & S_V0) ? 0 : operand_kind(r, VIV_K_BREG) ? pick_dest(g) : below(&g->s, regs);
    if ((r->select & S_V0) && below(&g->s, 400) == 0)
        h->vvvv = 5;
    h->rex_empty = g->wide && below(&g->s, 8) == 0;
    if (operand_kind(r, VIV_K_KG))
        h->reg &= 7;
    if (operand_kind(r, VIV_K_KH))
        h->vvvv &= 7;
    if (h->evex && g->wide)
        choose_high(g, h);
}

static unsigned fixed_size(unsigned size, const struct shape *h)
{
    unsigned v = h->w ? 8 : h->p66 ? 2 : 4, x = h->evex ? 16u << (h->e.l & 3) : h->l ? 32 : 16;

    if (h->evex && h->e.b)
        return h->r->evex & E_BCQ ? 8 : h->r->evex & E_BCD ? 4 : 2;

    switch (size) {
    case VIV_SZ_B: case VIV_SZ_BS: case VIV_SZ_DB: case VIV_SZ_YB: return 1;
    case VIV_SZ_W: case VIV_SZ_VW: case VIV_SZ_DW: case VIV_SZ_YW: return 2;
    case VIV_SZ_D: return 4;
    case VIV_SZ_Q: return 8;
    case VIV_SZ_T: return 10;
    case VIV_SZ_DQ: return 16;
    case VIV_SZ_QQ: return 32;
    case VIV_SZ_V: case VIV_SZ_P: return v;
    case VIV_SZ_Z: return v > 4 ? 4 : v;
    case VIV_SZ_Y: return h->w ? 8 : 4;
    case VIV_SZ_X: return x;
    case VIV_SZ_XH: return x / 2;
    case VIV_SZ_XQ: return x / 4;
    case VIV_SZ_XE: return x / 8;
    default: return 8;
    }
}

static unsigned memory_size(const struct shape *h)
{
    for (unsigned n = 0; n < 4; n++) {
        const struct viv_operand_info *o = &viv_operand_info[h->r->operand[n]];

        switch (o->kind) {
        case VIV_K_E: case VIV_K_M: case VIV_K_W: case VIV_K_Q: case VIV_K_VM: case VIV_K_KE:
            if (h->r->operand[n] == VIV_OP_M || h->r->operand[n] == VIV_OP_Mfx)
                return 64; /* save areas are aligned */
            return h->r->attr & A_BYTE ? 1 : fixed_size(o->size, h);
        default: break;
        }
    }
    return 8;
}

/* A bit offset that stays in the neighbourhood, in the register that holds it. */
static void bit_offset(struct gen *g, const struct shape *h)
{
    const struct viv_row *r = h->r;

    if (h->mem && r->map == VIV_MAP_0F && (r->opcode == 0xa3 || r->opcode == 0xab || r->opcode == 0xb3 || r->opcode == 0xbb) &&
        below(&g->s, 5) && !(g->reserved >> h->reg & 1) && h->reg != VIV_RSP)
        emit_mov(g, h->reg, (uint64_t)((int64_t)below(&g->s, 600) - 300));
}

static bool choose_memory(struct gen *g, struct shape *h, const uint64_t *target)
{
    uint64_t t = target ? *target : pick_target(g, memory_size(h));

    if (!h->mem)
        return true;
    if (h->evex && (h->r->attr & A_VSIB) && g->wide && below(&g->s, 8)) {
        make_vsib(g, t, 16 + 2 * (h->r->opcode & 1) + below(&g->s, 2), &h->m);
        return true;
    }
    if (h->r->attr & A_VSIB) {
        make_vsib(g, t, g->vsib_index >= 0 ? (unsigned)g->vsib_index : below(&g->s, g->wide ? 16 : 8), &h->m);
        return true;
    }
    bit_offset(g, h);
    make_memop(g, t, &h->m);
    h->lock = (h->r->attr & A_LOCK) && below(&g->s, 4) == 0;
    return true;
}

/* ---- writing it down ---- */

static void put_modrm(struct out *o, const struct shape *h, unsigned *disp_at)
{
    const struct memop *m = &h->m;

    if (h->r->map == VIV_MAP_X87_REG) {
        put(o, 0xc0 | (h->r->opcode & 63) | (operand_kind(h->r, VIV_K_STI) ? h->rm & 7 : 0));
        return;
    }
    if (!h->mem) {
        put(o, 0xc0 | (h->reg & 7) << 3 | (h->rm & 7));
        return;
    }
    put(o, m->mod << 6 | (h->reg & 7) << 3 | m->rm);
    if (m->has_sib)
        put(o, m->sib);
    *disp_at = o->n;
    put_value(o, (uint32_t)m->disp, m->disp_bytes);
}

static void put_legacy(struct gen *g, struct out *o, const struct shape *h)
{
    unsigned rex = h->w << 3 | (h->reg >> 3) << 2 | h->m.index_hi << 1 | (h->mem ? h->m.base_hi : h->rm >> 3);

    if (below(&g->s, 60) == 0)
        put(o, 0x3e); /* without effect in 64-bit mode and for flat segments */
    if (h->lock || (below(&g->s, 600) == 0))
        put(o, 0xf0);
    if (h->p66)
        put(o, 0x66);
    if (h->rep)
        put(o, h->rep);
    if (g->wide && (rex || h->rex_empty))
        put(o, 0x40 | rex);
    if (h->r->map >= VIV_MAP_X87_MEM) {
        put(o, 0xd8 | h->r->opcode >> (h->r->map == VIV_MAP_X87_MEM ? 3 : 6));
        return;
    }
    if (h->r->map != VIV_MAP_BASE)
        put(o, 0x0f);
    if (h->r->map == VIV_MAP_0F38)
        put(o, 0x38);
    if (h->r->map == VIV_MAP_0F3A)
        put(o, 0x3a);
    put(o, h->r->opcode);
}

static void put_vex(struct gen *g, struct out *o, const struct shape *h)
{
    static const uint8_t pp[] = {[VIV_PFX_NP] = 0, [VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3};
    unsigned r = !(h->reg >> 3), x = !h->m.index_hi, b = !(h->mem ? h->m.base_hi : h->rm >> 3);
    unsigned tail = (~h->vvvv & 15) << 3 | h->l << 2 | pp[h->r->pfx];

    if (h->r->map == VIV_MAP_0F && !h->w && x && b && below(&g->s, 8)) {
        put(o, 0xc5);
        put(o, r << 7 | tail);
    } else {
        put(o, 0xc4);
        put(o, r << 7 | x << 6 | b << 5 | h->r->map);
        put(o, h->w << 7 | tail);
    }
    put(o, h->r->opcode);
}

static void put_evex(struct out *o, const struct shape *h)
{
    static const uint8_t pp[] = {[VIV_PFX_NP] = 0, [VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3};
    unsigned r = ~h->reg >> 3 & 1, r4 = ~h->reg >> 4 & 1, b = ~(h->mem ? h->m.base_hi : h->rm >> 3) & 1;
    unsigned x = ~(h->mem ? h->m.index_hi : h->rm >> 4) & 1;
    unsigned v4 = ~(h->mem && (h->r->attr & A_VSIB) ? h->m.index_v4 : h->vvvv >> 4) & 1;

    put(o, 0x62);
    put(o, r << 7 | x << 6 | b << 5 | r4 << 4 | h->r->map);
    put(o, (unsigned)h->w << 7 | (~h->vvvv & 15) << 3 | 4 | pp[h->r->pfx]);
    put(o, (unsigned)h->e.z << 7 | h->e.l << 5 | (unsigned)h->e.b << 4 | v4 << 3 | h->e.aaa);
    put(o, h->r->opcode);
}

/* Eight bits of displacement would be scaled: the long form, or an address somewhere near. */
static void widen_disp(struct gen *g, struct shape *h)
{
    if (!h->mem || h->m.disp_bytes != 1 || below(&g->s, 4) == 0)
        return;
    h->m.disp_bytes = 4;
    h->m.mod = 2;
}

static void put_immediates(struct gen *g, struct out *o, const struct shape *h)
{
    uint64_t v = interesting(&g->s);

    if (operand_kind(h->r, VIV_K_O))
        v = pick_target(g, 8);
    put_value(o, v, 8);
    put(o, (unsigned)rnd(&g->s) & 0xff);
}

/* Would it spoil a loop's counter, or the stack pointer? */
static bool harmful(struct gen *g, const struct viv_insn *i)
{
    struct gen after = *g;

    after.known = 0xffff;
    learn(&after, i);
    if (~after.known & g->reserved)
        return true;
    return (~after.known & 1u << VIV_RSP) && below(&g->s, 40);
}

static bool finish(struct gen *g, const struct out *o, const struct shape *h, unsigned disp_at, struct item *it)
{
    struct viv_insn i;
    unsigned mode = g->wide ? VIV_MODE_LONG : VIV_MODE_PROT32;

    memset(it, 0, sizeof(*it));
    if (viv_decode(o->b, o->n > 15 ? 15 : o->n, mode, rows_cpuid(), &i) != VIV_DECODE_OK) {
        it->len = (uint8_t)(o->n > 9 ? o->n - 9 : 1); /* #UD now and then: without the immediates, most likely */
        memcpy(it->b, o->b, it->len);
        return it->len <= 15 && below(&g->s, 30) == 0;
    }
    if (harmful(g, &i) || rows_banned(&i))
        return false;
    it->len = i.len;
    memcpy(it->b, o->b, i.len);
    if (h->mem && h->m.rip) {
        it->patch = PATCH_ADDR32;
        it->patch_at = (uint8_t)disp_at;
        it->addr = (uint32_t)h->m.target;
    }
    return true;
}

static bool encode(struct gen *g, const struct viv_row *r, const uint64_t *target, struct item *it)
{
    struct shape h = {.r = r, .vex = r->select & S_VEX, .evex = r->select & S_EVEX};
    struct out o = {.n = 0};
    unsigned disp_at = 0;
    bool modrm = row_modrm(r);

    if (g->wide ? r->select & S_I64 : r->select & S_O64)
        return false;
    h.mem = modrm && wants_memory(g, r);
    if (target && !h.mem)
        return false;
    choose_size(g, &h);
    choose_registers(g, &h);
    if (!choose_memory(g, &h, target))
        return false;
    if (h.m.seg)
        put(&o, h.m.seg);
    if (h.m.addr32)
        put(&o, 0x67);
    if (h.evex) {
        widen_disp(g, &h);
        put_evex(&o, &h);
    } else if (h.vex) {
        put_vex(g, &o, &h);
    } else {
        put_legacy(g, &o, &h);
    }
    if (modrm)
        put_modrm(&o, &h, &disp_at);
    put_immediates(g, &o, &h);
    return finish(g, &o, &h, disp_at, it);
}

bool encode_row(struct gen *g, const struct viv_row *r, struct item *it)
{
    return encode(g, r, NULL, it);
}

bool encode_at(struct gen *g, const struct viv_row *r, uint64_t target, struct item *it)
{
    return encode(g, r, &target, it);
}

/* Anything; its length is what the decoder says, or a few bytes. */
void random_bytes(struct gen *g, struct item *it)
{
    struct viv_insn i;
    unsigned mode = g->wide ? VIV_MODE_LONG : VIV_MODE_PROT32;

    memset(it, 0, sizeof(*it));
    for (unsigned k = 0; k < 15; k++)
        it->b[k] = (uint8_t)rnd(&g->s);
    if (below(&g->s, 2))
        it->b[below(&g->s, 2)] = 0x0f;
    it->len = (uint8_t)(1 + below(&g->s, 8));
    if (viv_decode(it->b, 15, mode, rows_cpuid(), &i) == VIV_DECODE_OK)
        it->len = i.len;
}
