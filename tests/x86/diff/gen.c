/* Makes cases. Half of them from the decoder's rows, so that every row is met often; half from random bytes, so that
 * what is not in the rows is met too. Registers are set so that memory operands mostly lie in the areas of
 * diff.h: aligned, misaligned, across the end of a mapped area, read-only, not mapped. */
#include "diff.h"

#include <stdlib.h>

uint8_t ro_page[RO_SIZE];

static const struct viv_row **rows;
static unsigned row_count;
static const struct viv_cpuid *cpu_model;

static void make_pool(void);

void gen_init(const struct viv_cpuid *cpuid)
{
    uint64_t s = 7;

    cpu_model = cpuid;
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

static uint64_t data_address(uint64_t *s)
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

static uint64_t interesting(uint64_t *s)
{
    static const uint64_t v[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
                                 0xffffffff, 0x100000000ull, 0x7fffffffffffffffull, 0x8000000000000000ull, ~0ull};

    switch (below(s, 8)) {
    case 0: case 1: return rnd(s);
    case 2: return rnd(s) & 0xffffffff;
    case 3: return below(s, 256);
    case 4: return (uint64_t)-(int64_t)below(s, 256);
    case 5: return v[below(s, sizeof(v) / sizeof(v[0]))];
    default: return data_address(s);
    }
}

static uint64_t real64(uint64_t *s)
{
    static const double d[] = {0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, 3.0, 10.0, 1e10, -7.25, 1e300, 1e-300, 4.9e-324,
                               2147483647.5, -2147483649.0, 9.3e18};
    uint64_t v;

    switch (below(s, 8)) {
    case 0: return rnd(s);
    case 1: return (rnd(s) & 0x800fffffffffffffull); /* denormal */
    case 2: return (rnd(s) & 0x8000000000000000ull) | 0x7ff0000000000000ull | (below(s, 2) ? rnd(s) & 0xfffffffffffffull : 0);
    case 3: return (0x3ff0000000000000ull + ((uint64_t)(below(s, 128) - 64) << 52)) ^ (rnd(s) & 0x800fffffffffffffull);
    default:
        memcpy(&v, &d[below(s, sizeof(d) / sizeof(d[0]))], 8);
        return v;
    }
}

static uint32_t real32(uint64_t *s)
{
    static const float f[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 1.5f, 2.5f, 3.0f, 10.0f, 1e10f, -7.25f, 1e38f, 1e-38f, 1e-45f, 2147483648.0f};
    uint32_t v;

    switch (below(s, 8)) {
    case 0: return (uint32_t)rnd(s);
    case 1: return (uint32_t)rnd(s) & 0x807fffff;
    case 2: return ((uint32_t)rnd(s) & 0x80000000) | 0x7f800000 | (below(s, 2) ? (uint32_t)rnd(s) & 0x7fffff : 0);
    case 3: return (0x3f800000 + ((uint32_t)(below(s, 64) - 32) << 23)) ^ ((uint32_t)rnd(s) & 0x807fffff);
    default:
        memcpy(&v, &f[below(s, sizeof(f) / sizeof(f[0]))], 4);
        return v;
    }
}

static void real80(uint64_t *s, uint8_t *out)
{
    uint64_t m = rnd(s) | 1ull << 63;
    uint16_t e = (uint16_t)(16383 - 40 + below(s, 80));

    switch (below(s, 10)) {
    case 0: m = rnd(s); e = (uint16_t)rnd(s); break;          /* anything, unnormal too */
    case 1: m = 0; e = 0; break;
    case 2: m = rnd(s) >> 1; e = 0; break;                    /* denormal */
    case 3: m = 1ull << 63; e = 0x7fff; break;                /* infinity */
    case 4: e = 0x7fff; break;                                /* NaN */
    case 5: m = 1ull << 63 | (uint64_t)below(s, 16) << 60; e = (uint16_t)(16383 + below(s, 6)); break;
    default: break;
    }
    if (below(s, 2))
        e |= 0x8000;
    memcpy(out, &m, 8);
    memcpy(out + 8, &e, 2);
}

/* Bytes that mean something as integers or numbers of any format. */
static void fill(uint64_t *s, uint8_t *p, unsigned n)
{
    unsigned kind = below(s, 5);

    for (unsigned k = 0; k + 8 <= n; k += 8) {
        uint64_t v = kind == 0   ? rnd(s)
                     : kind == 1 ? real64(s)
                     : kind == 2 ? real32(s) | (uint64_t)real32(s) << 32
                     : kind == 3 ? interesting(s)
                                 : (rnd(s) & rnd(s) & rnd(s)); /* sparse */

        memcpy(p + k, &v, 8);
    }
    if (kind == 1 && n >= 16 && below(s, 2))
        real80(s, p);
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

static void take_memory(struct test_case *t, uint64_t *s)
{
    unsigned k = below(s, POOL);

    memcpy(t->data, pool[k].data, DATA_SIZE);
    memcpy(t->stack, pool[k].stack, STACK_SIZE);
}

static void make_fp(uint64_t *s, struct cpu_state *c)
{
    uint16_t fcw = 0x37f, fsw = (uint16_t)(below(s, 8) << 11);
    uint32_t mxcsr = 0x1f80;

    if (below(s, 2))
        fcw = 0x40 | (uint16_t)(rnd(s) & 0xf3f);
    if (below(s, 3) == 0)
        fcw |= 0x3f;
    if (below(s, 2))
        fsw |= (uint16_t)(rnd(s) & 0x4700); /* condition codes */
    if (below(s, 4) == 0) {
        fsw |= (uint16_t)(rnd(s) & 0x7f);
        if (below(s, 8))
            fsw &= (uint16_t)(0xff00 | (fcw & 0x3f) | 0x40); /* mostly nothing pending */
    }
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    if (below(s, 2))
        mxcsr = 0x1f80 | (uint32_t)(rnd(s) & 0xe07f);
    if (below(s, 6) == 0)
        mxcsr = (uint32_t)rnd(s) & 0xffff;
    memset(c->fx, 0, sizeof(c->fx));
    memcpy(c->fx, &fcw, 2);
    memcpy(c->fx + 2, &fsw, 2);
    c->fx[4] = below(s, 4) ? below(s, 2) ? 0xff : 0 : (uint8_t)rnd(s);
    memcpy(c->fx + 24, &mxcsr, 4);
    for (unsigned n = 0; n < 8; n++)
        real80(s, c->fx + 32 + 16 * n);
    for (unsigned n = 0; n < 16; n++) {
        fill(s, c->fx + 160 + 16 * n, 16);
        fill(s, c->ymm[n], 16);
    }
    if (below(s, 8) == 0)
        memset(c->ymm, 0, sizeof(c->ymm));
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

static bool allows(uint32_t sel, uint32_t one, uint32_t other)
{
    return (sel & one) || !(sel & other);
}

static unsigned pick_bit(uint64_t *s, unsigned mask)
{
    unsigned b;

    do {
        b = below(s, 8);
    } while (!(mask >> b & 1));
    return b;
}

static bool operand_kind(const struct viv_row *r, unsigned kind)
{
    for (unsigned n = 0; n < 4; n++) {
        if (viv_operand_info[r->operand[n]].kind == kind)
            return true;
    }
    return false;
}

static bool row_modrm(const struct viv_row *r)
{
    static const uint8_t kinds[] = {VIV_K_E, VIV_K_R, VIV_K_M, VIV_K_G, VIV_K_SREG, VIV_K_CREG, VIV_K_DREG, VIV_K_P,
                                    VIV_K_Q, VIV_K_N, VIV_K_V, VIV_K_W, VIV_K_U, VIV_K_VM};

    if (r->map >= VIV_MAP_X87_MEM || (r->select & (0xffff | S_MEM | S_REG)))
        return true;
    for (unsigned n = 0; n < sizeof(kinds); n++) {
        if (operand_kind(r, kinds[n]))
            return true;
    }
    return false;
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

static void encode_row(struct enc *e, uint64_t *s, const struct viv_row *r, bool long_mode)
{
    bool vex = r->select & S_VEX;

    if (vex)
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

static void special(struct test_case *t, uint64_t *s, const struct viv_insn *i)
{
    const char *n = i->row->name;
    struct cpu_state *c = &t->in;

    if (!strncmp(n, "xsave", 5) || !strncmp(n, "xrstor", 6)) {
        /* the kernel has more components enabled than we have */
        c->gpr[VIV_RAX] &= 7;
        c->gpr[VIV_RDX] = 0;
        c->ymm[0][0] |= 1; /* "in use" need not be exact: keep to what is */
    }
    if (!strncmp(n, "xrstor", 6) && i->mem && i->base < 16) {
        uint64_t ea = c->gpr[i->base] + (uint64_t)(int64_t)i->disp +
                      (i->index < 16 ? c->gpr[i->index] << i->scale : 0);
        uint64_t off = ea - DATA_BASE;

        if (off < DATA_SIZE - 1024 && below(s, 8)) {
            memset(t->data + off + 512, 0, 64);
            t->data[off + 512] = (uint8_t)below(s, 8);
            if (below(s, 2)) {
                t->data[off + 520] = t->data[off + 512] | (uint8_t)below(s, 8);
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
        uint8_t *lo = c->fx + 160 + 16 * (i->index & 15), *hi = c->ymm[i->index & 15];

        for (unsigned k = 0; k < 4; k++) {
            uint32_t v = below(s, 8) ? below(s, 64) : below(s, 0x1000);

            if (i->row->opcode & 1) {
                uint64_t q = v;
                memcpy(k < 2 ? lo + 8 * k : hi + 8 * (k - 2), &q, 8);
            } else {
                memcpy(lo + 4 * k, &v, 4);
                v = below(s, 64);
                memcpy(hi + 4 * k, &v, 4);
            }
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
        } while (o->row && strcmp(row->name, o->row) && tries++ < 100000);
        encode_row(&e, &s, row, t->long_mode);
        t->origin = "row";
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
    make_fp(&s, &t->in);
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
