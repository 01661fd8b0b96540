/* Makes cases. Half of them from the decoder's rows, so that every row is met often; half from random bytes, so that
 * what is not in the rows is met too. Registers are set so that memory operands mostly lie in the areas of
 * diff.h: aligned, misaligned, across the end of a mapped area, read-only, not mapped. */
#include "diff.h"

#include "../common/values.h"

#include <cpuid.h>
#include <stdlib.h>

uint8_t ro_page[RO_SIZE];

static const struct viv_row **rows;
static unsigned row_count;
static const struct viv_cpuid *cpu_model;

static uint8_t xsave_components; /* that lie in the host's areas where ours have them */

static void make_pool(void);

static uint8_t same_layout(void)
{
    uint8_t same = 7;

    for (unsigned n = 5; n < 8; n++) {
        uint32_t a, b, c, d, size, offset;

        __cpuid_count(0xd, n, a, b, c, d);
        if (viv_xsave_component(n, &size, &offset) && a == size && b == offset)
            same |= (uint8_t)(1u << n);
    }
    return same;
}

void gen_init(const struct viv_cpuid *cpuid)
{
    uint64_t s = 7;

    cpu_model = cpuid;
    xsave_components = same_layout();
    for (unsigned n = 0; n < RO_SIZE; n++)
        ro_page[n] = (uint8_t)rnd(&s);
    make_pool();
    rows = calloc(viv_row_count, sizeof(*rows));
    for (unsigned n = 0; n < viv_row_count; n++) {
        const struct viv_row *r = &viv_rows[n];

        if (!viv_cpuid_has(cpuid, r->feature))
            continue;
        rows[row_count++] = r;
    }
}

unsigned gen_rows(const struct viv_row ***list)
{
    *list = rows;
    return row_count;
}

uint64_t data_address(uint64_t *s)
{
    uint64_t a;

    switch (below(s, 16)) {
    case 0: return DATA_BASE + DATA_SIZE - 1 - below(s, 40); /* towards the unmapped page */
    case 1: return RO_BASE + below(s, RO_SIZE);
    case 2: return DATA_BASE - 1 - below(s, 16); /* before the area */
    case 3: return DATA_BASE + 0x1000 - below(s, 33); /* two mapped pages */
    case 4: return below(s, 3) ? DATA_BASE + below(s, DATA_SIZE) : 0x0000800000000000ull - below(s, 16);
    case 5: case 6: case 7: return DATA_BASE + below(s, DATA_SIZE - 600);
    default: a = DATA_BASE + below(s, DATA_SIZE - 600); return a & ~63ull;
    }
}

/* Contents of memory come out of a pool, because making them anew takes longer than the rest of a case. */
#define POOL 64
static struct {
    uint8_t data[DATA_SIZE], stack[STACK_SIZE];
} *pool;

static void make_pool(void)
{
    uint64_t s = 11;

    pool = calloc(POOL, sizeof(*pool));
    for (unsigned k = 0; k < POOL; k++) {
        for (unsigned n = 0; n < DATA_SIZE; n += 64)
            fill(&s, pool[k].data + n, 64);
        for (unsigned n = 0; n < STACK_SIZE; n += 64)
            fill(&s, pool[k].stack + n, 64);
    }
}

/* AVX-512 state. Opmasks are mostly such that some elements are in and some are out. */
static void take_avx512(struct test_case *t, uint64_t *s)
{
    struct cpu_state *c = &t->in;

    memcpy(c->hi256, pool[below(s, POOL)].data + 512 * below(s, 15), sizeof(c->hi256));
    memcpy(c->hi16, pool[below(s, POOL)].data + 512 * below(s, 14), sizeof(c->hi16));
    for (unsigned n = 0; n < 8; n++) {
        switch (below(s, 6)) {
        case 0: c->k[n] = ~0ull; break;
        case 1: c->k[n] = below(s, 2) ? 0 : ~0ull << below(s, 64); break;
        case 2: c->k[n] = 1ull << below(s, 64); break;
        case 3: c->k[n] = rnd(s) & rnd(s) & 0x00ff00ff00ff00ffull; break;
        default: c->k[n] = rnd(s); break;
        }
    }
    if (below(s, 8) == 0)
        memset(c->k, 0, 1600);
}

static void take_memory(struct test_case *t, uint64_t *s)
{
    unsigned k = below(s, POOL);

    memcpy(t->data, pool[k].data, DATA_SIZE);
    memcpy(t->stack, pool[k].stack, STACK_SIZE);
}

static void make_registers(struct test_case *t, uint64_t *s)
{
    struct cpu_state *c = &t->in;

    for (unsigned n = 0; n < 16; n++)
        c->gpr[n] = interesting(s);
    if (below(s, 8))
        c->gpr[VIV_RSP] = STACK_BASE + 0x200 + below(s, 0x180) * (below(s, 8) ? 8 : 1);
    else
        c->gpr[VIV_RSP] = below(s, 2) ? STACK_BASE + below(s, 32) : STACK_BASE + STACK_SIZE - below(s, 32);
    c->gpr[VIV_RSI] = data_address(s);
    c->gpr[VIV_RDI] = data_address(s);
    if (below(s, 2))
        c->gpr[VIV_RCX] = below(s, 20);
    c->fs_base = below(s, 2) ? DATA_BASE + 0x100 : 0;
    c->gs_base = below(s, 2) ? DATA_BASE + 0x208 : 0;
    c->flags = 0x202 | (rnd(s) & (VIV_FL_ARITH | VIV_FL_DF));
    if (below(s, 16) == 0)
        c->flags |= VIV_FL_AC;
    if (below(s, 4))
        c->flags &= ~(uint64_t)VIV_FL_DF;
    if (!t->long_mode) {
        for (unsigned n = 0; n < 16; n++)
            c->gpr[n] = n < 8 ? (uint32_t)c->gpr[n] : 0;
        memset(c->ymm[8], 0, 128);
        memset(c->fx + 160 + 128, 0, 128);
        c->fs_base = c->gs_base = 0;
    }
}

/* ---- bytes ---- */

struct enc {
    uint8_t b[24];
    unsigned n;
};

static void put(struct enc *e, unsigned v)
{
    if (e->n < sizeof(e->b))
        e->b[e->n++] = (uint8_t)v;
}

static void put_random(struct enc *e, uint64_t *s, unsigned n)
{
    uint64_t v = interesting(s);

    for (unsigned k = 0; k < n; k++)
        put(e, (unsigned)(v >> 8 * k & 0xff));
}

static void put_modrm(struct enc *e, uint64_t *s, const struct viv_row *r, bool asz16)
{
    unsigned reg = r->select & 0xff ? pick_bit(s, r->select & 0xff) : below(s, 8);
    unsigned rm = r->select & 0xff00 ? pick_bit(s, r->select >> 8 & 0xff) : below(s, 8);
    unsigned mod = below(s, 4);
    unsigned disp;

    if ((r->select & (S_REG | 0xff00)))
        mod = 3;
    else if (r->select & S_MEM)
        mod = below(s, 3);
    if (r->map == VIV_MAP_X87_REG) {
        bool sti = operand_kind(r, VIV_K_STI);

        put(e, 0xc0 | (r->opcode & 63) | (sti ? rm : 0));
        return;
    }
    if (r->map == VIV_MAP_X87_MEM)
        reg = r->opcode & 7, mod = below(s, 3);
    if ((r->attr & A_VSIB))
        rm = 4;
    put(e, mod << 6 | reg << 3 | rm);
    if (mod == 3)
        return;
    if (asz16) {
        disp = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
    } else {
        unsigned base = rm;

        if (rm == 4) {
            unsigned sib = (unsigned)rnd(s) & 0xff;

            put(e, sib);
            base = sib & 7;
        }
        disp = mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0;
    }
    if (disp == 4 && below(s, 2)) { /* an address by itself */
        uint64_t a = data_address(s);

        for (unsigned k = 0; k < 4; k++)
            put(e, (unsigned)(a >> 8 * k & 0xff));
    } else {
        put_random(e, s, disp);
    }
}

static void put_prefixes(struct enc *e, uint64_t *s, const struct viv_row *r, bool long_mode)
{
    static const uint8_t segs[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};

    if (below(s, 10) == 0)
        put(e, segs[below(s, 6)]);
    if (below(s, 12) == 0)
        put(e, 0x67);
    if ((r->attr & A_LOCK) ? below(s, 3) == 0 : below(s, 60) == 0)
        put(e, 0xf0);
    if (r->pfx == VIV_PFX_66 || ((r->pfx == VIV_PFX_ANY || r->pfx == VIV_PFX_NR) && below(s, 4) == 0))
        put(e, 0x66);
    if (r->pfx == VIV_PFX_F3 || (r->pfx == VIV_PFX_ANY && below(s, r->attr & A_REP ? 3 : 30) == 0))
        put(e, 0xf3);
    if (r->pfx == VIV_PFX_F2 || (r->pfx == VIV_PFX_ANY && below(s, r->attr & A_REP ? 4 : 30) == 0))
        put(e, 0xf2);
    if (long_mode && below(s, 2)) {
        unsigned rex = 0x40 | ((unsigned)rnd(s) & 15);

        if ((r->select & (S_W0 | S_W1)) == S_W0)
            rex &= ~8u;
        if ((r->select & (S_W0 | S_W1)) == S_W1)
            rex |= 8;
        put(e, rex);
    } else if (long_mode && (r->select & (S_W0 | S_W1)) == S_W1) {
        put(e, 0x48);
    }
}

static void put_vex(struct enc *e, uint64_t *s, const struct viv_row *r, bool long_mode)
{
    static const uint8_t pp[] = {[VIV_PFX_NP] = 0, [VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3};
    unsigned w = allows(r->select, S_W1, S_W0) && (!allows(r->select, S_W0, S_W1) || below(s, 4) == 0);
    unsigned l = allows(r->select, S_L1, S_L0) && (!allows(r->select, S_L0, S_L1) || below(s, 2));
    unsigned vvvv = (r->select & S_V0) && below(s, 30) ? 15 : (unsigned)rnd(s) & 15;
    unsigned rxb = long_mode ? (unsigned)rnd(s) & 7 : 7;

    if (below(s, 16) == 0)
        put(e, 0x67);
    if (below(s, 40) == 0)
        l ^= 1; /* often #UD */
    if (r->map == VIV_MAP_0F && !w && (rxb & 3) == 3 && below(s, 2)) {
        put(e, 0xc5);
        put(e, (rxb & 4) << 5 | vvvv << 3 | l << 2 | pp[r->pfx]);
        return;
    }
    put(e, 0xc4);
    put(e, rxb << 5 | r->map);
    put(e, w << 7 | vvvv << 3 | l << 2 | pp[r->pfx]);
}

static void put_evex(struct enc *e, uint64_t *s, const struct viv_row *r, bool long_mode)
{
    static const uint8_t pp[] = {[VIV_PFX_NP] = 0, [VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3};
    struct evex_bits x = random_evex(s, r);
    bool v4 = (r->select & S_V0) ? below(s, 30) : below(s, 2);
    unsigned p0 = long_mode ? (unsigned)rnd(s) & 0xf0 : 0xf0;

    if (!long_mode && below(s, 8) == 0)
        p0 &= ~(0x10u << below(s, 2)); /* B, R' */
    if (viv_operand_info[r->operand[0]].kind == VIV_K_KG && below(s, 8))
        p0 |= 0x90;
    if (!long_mode && below(s, 8))
        v4 = true;
    if (below(s, 16) == 0)
        put(e, 0x67);
    put(e, 0x62);
    put(e, p0 | r->map);
    put(e, (unsigned)x.w << 7 | ((r->select & S_V0) && below(s, 30) ? 15 : (unsigned)rnd(s) & 15) << 3 | 4 | pp[r->pfx]);
    put(e, (unsigned)x.z << 7 | x.l << 5 | (unsigned)x.b << 4 | (unsigned)v4 << 3 | x.aaa);
}

static void encode_row(struct enc *e, uint64_t *s, const struct viv_row *r, bool long_mode)
{
    bool vex = r->select & (S_VEX | S_EVEX);

    if (r->select & S_EVEX)
        put_evex(e, s, r, long_mode);
    else if (vex)
        put_vex(e, s, r, long_mode);
    else
        put_prefixes(e, s, r, long_mode);
    if (r->map >= VIV_MAP_X87_MEM) {
        put(e, 0xd8 | r->opcode >> (r->map == VIV_MAP_X87_MEM ? 3 : 6));
    } else {
        if (!vex && r->map != VIV_MAP_BASE)
            put(e, 0x0f);
        if (!vex && r->map == VIV_MAP_0F38)
            put(e, 0x38);
        if (!vex && r->map == VIV_MAP_0F3A)
            put(e, 0x3a);
        put(e, r->opcode);
    }
    if (row_modrm(r))
        put_modrm(e, s, r, false);
    put_random(e, s, 8); /* immediates, and then some */
}

/* 62H and a payload with few reserved bits wrong. */
static void evex_bytes(struct enc *e, uint64_t *s, bool long_mode)
{
    static const uint8_t maps[] = {1, 2, 3, 5, 6};

    put(e, 0x62);
    put(e, ((long_mode || below(s, 8) == 0 ? (unsigned)rnd(s) : 0xf0) & 0xf0) | (below(s, 16) ? maps[below(s, sizeof(maps))] : below(s, 16)));
    put(e, ((unsigned)rnd(s) & 0x83) | (below(s, 2) ? 0x78 : (unsigned)rnd(s) & 0x78) | (below(s, 16) ? 4 : 0));
    put(e, ((unsigned)rnd(s) & 0x67) | (below(s, 4) ? 8 : 0) | (below(s, 4) ? 0 : 0x80) | (below(s, 4) ? 0 : 0x10));
}

static void random_bytes(struct enc *e, uint64_t *s, bool long_mode)
{
    static const uint8_t pfx[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x64, 0x2e};

    for (unsigned n = below(s, 8) ? below(s, 2) : below(s, 8); n; n--)
        put(e, pfx[below(s, sizeof(pfx))]);
    if (long_mode && below(s, 2))
        put(e, 0x40 | ((unsigned)rnd(s) & 15));
    switch (below(s, 8)) {
    case 0: case 1: put(e, 0x0f); break;
    case 2: put(e, 0x0f); put(e, below(s, 2) ? 0x38 : 0x3a); break;
    case 3: put(e, 0xc4); put(e, (below(s, 8) << 5) | (below(s, 8) ? 1 + below(s, 3) : below(s, 32)));
            put(e, below(s, 2) ? 0x78 | below(s, 8) | below(s, 2) << 7 : (unsigned)rnd(s)); break;
    case 4: put(e, 0xc5); put(e, (unsigned)rnd(s)); break;
    case 5: evex_bytes(e, s, long_mode); break;
    default: break;
    }
    while (e->n < 15)
        put(e, (unsigned)rnd(s));
}

/* ---- the whole case ---- */

void gen_decode(const struct test_case *t, struct viv_insn *i, enum viv_decode_result *r)
{
    unsigned avail = t->len;

    *r = viv_decode(t->bytes, avail, t->long_mode ? VIV_MODE_LONG : VIV_MODE_COMPAT32, cpu_model, i);
}

/* Points base register (or, failing that, nothing) at an address in the areas. */
static void aim(struct test_case *t, uint64_t *s, const struct viv_insn *i)
{
    uint64_t target = data_address(s), index = 0, seg = 0;

    if (!i->mem || i->asz == 2 || i->base >= 16)
        return;
    if (i->row->map == VIV_MAP_0F && i->row->opcode == 0xae && below(s, 8))
        target = (DATA_BASE + below(s, 0x1000)) & ~63u; /* XSAVE areas */
    if (i->index < 16 && !(i->row->attr & A_VSIB)) {
        if (i->index == i->base)
            return;
        if (below(s, 4))
            t->in.gpr[i->index] = below(s, 64);
        index = t->in.gpr[i->index] << i->scale;
    }
    if (i->seg == VIV_FS)
        seg = t->in.fs_base;
    if (i->seg == VIV_GS)
        seg = t->in.gs_base;
    if (target - DATA_BASE < DATA_SIZE - 64)
        fill(s, t->data + (target - DATA_BASE), 64);
    t->in.gpr[i->base] = target - index - (uint64_t)(int64_t)i->disp - seg;
    if (i->asz == 4)
        t->in.gpr[i->base] &= 0xffffffff;
    if (i->base == VIV_RSP && !t->long_mode)
        t->in.gpr[VIV_RSP] &= 0xffffffff;
}

/* Where byte `at` of a vector register is kept. */
static uint8_t *vector_part(struct cpu_state *c, unsigned r, unsigned at)
{
    if (r >= 16)
        return c->hi16[r - 16] + at;
    return at < 16 ? c->fx + 160 + 16 * r + at : at < 32 ? c->ymm[r] + at - 16 : c->hi256[r] + at - 32;
}

static void special(struct test_case *t, uint64_t *s, const struct viv_insn *i)
{
    const char *n = i->row->name;
    struct cpu_state *c = &t->in;

    if (!strncmp(n, "xsave", 5) || !strncmp(n, "xrstor", 6)) {
        /* the kernel has more components enabled than we have */
        c->gpr[VIV_RAX] &= xsave_components;
        c->gpr[VIV_RDX] = 0;
        c->ymm[0][0] |= 1; /* "in use" need not be exact: keep to what is */
        c->k[1] |= 1;
        c->hi256[0][0] |= 1;
        c->hi16[0][0] |= 1;
    }
    if (!strncmp(n, "xrstor", 6) && i->mem && i->base < 16) {
        uint64_t ea = c->gpr[i->base] + (uint64_t)(int64_t)i->disp +
                      (i->index < 16 ? c->gpr[i->index] << i->scale : 0);
        uint64_t off = ea - DATA_BASE;

        if (off < DATA_SIZE - 2752 && below(s, 8)) {
            memset(t->data + off + 512, 0, 64);
            t->data[off + 512] = (uint8_t)rnd(s) & xsave_components;
            if (below(s, 2)) {
                t->data[off + 520] = t->data[off + 512] | ((uint8_t)rnd(s) & xsave_components);
                t->data[off + 527] = 0x80;
            }
            memset(t->data + off + 26, 0, 2); /* MXCSR's reserved half */
        }
    }
    if ((!strcmp(n, "fxrstor") || !strcmp(n, "ldmxcsr") || !strcmp(n, "vldmxcsr")) && i->mem) {
        for (unsigned k = 0; k < 8; k++) { /* MXCSR's reserved bits would nearly always be set */
            unsigned off = below(s, DATA_SIZE / 64) * 64;

            t->data[off + 2] = t->data[off + 3] = t->data[off + 26] = t->data[off + 27] = 0;
        }
    }
    if ((i->row->attr & A_VSIB)) { /* vector indices: small, so that addresses stay in the data */
        for (unsigned k = 0; k < 64; k += i->row->opcode & 1 ? 8 : 4) {
            uint64_t v = below(s, 8) ? below(s, 64) : below(s, 0x1000);

            memcpy(vector_part(c, i->index, k), &v, i->row->opcode & 1 ? 8 : 4);
        }
    }
}

bool gen_case(struct test_case *t, uint64_t seed, const struct gen_options *o)
{
    uint64_t s = seed;
    struct viv_insn i;
    enum viv_decode_result r;
    struct enc e = {.n = 0};
    unsigned room;

    rnd(&s);
    t->seed = seed;
    t->long_mode = o->mode ? o->mode == 64 : below(&s, 4) != 0;
    if (o->len) {
        memcpy(e.b, o->bytes, o->len);
        e.n = o->len;
        t->origin = "given";
    } else if (o->row || below(&s, 2)) {
        const struct viv_row *row;
        unsigned tries = 0;

        do {
            row = rows[below(&s, row_count)];
        } while (((o->row && strcmp(row->name, o->row)) || (o->evex && !(row->attr & A_AVX512))) && tries++ < 100000);
        encode_row(&e, &s, row, t->long_mode);
        t->origin = "row";
    } else if (o->evex) {
        evex_bytes(&e, &s, t->long_mode);
        put_random(&e, &s, 8);
        put_random(&e, &s, 8);
        t->origin = "bytes";
    } else {
        random_bytes(&e, &s, t->long_mode);
        t->origin = "bytes";
    }
    t->len = e.n > 15 ? 15 : e.n;
    memset(t->bytes, 0xcc, sizeof(t->bytes));
    memcpy(t->bytes, e.b, t->len);
    if (filter_bytes(t->bytes, t->len, t->long_mode))
        return false;

    make_registers(t, &s);
    random_fp(&s, t->in.fx, t->in.ymm);
    take_avx512(t, &s);
    take_memory(t, &s);
    gen_decode(t, &i, &r);
    t->row = r == VIV_DECODE_OK ? i.row : NULL;
    if (t->row) {
        if (!(t->row->attr & A_PRIV) || below(&s, 4))
            aim(t, &s, &i);
        special(t, &s, &i);
    }
    /* Sometimes flush against the end of the code, so that reading one byte too many would fault. */
    room = r == VIV_DECODE_OK && below(&s, 8) == 0 ? i.len : 16;
    t->in.rip = CODE_BASE + CODE_SIZE - room;
    if (room == 16)
        t->in.rip = CODE_BASE + (below(&s, 8) ? 0x800 + below(&s, 64) : 0x1000 - below(&s, 15));
    memset(t->code + (t->in.rip - CODE_BASE), 0xcc, room);
    memcpy(t->code + (t->in.rip - CODE_BASE), t->bytes, room < t->len ? room : t->len);
    return true;
}
