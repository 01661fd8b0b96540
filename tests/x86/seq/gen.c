/* The sequence: which instructions, in which mixture. */
#include "gen.h"

/* Weights of the categories, then of macros, in sequences of one kind each. */
static const unsigned flavours[][CAT_COUNT + 1] = {
    /* common flags rare string sse avx avx512 mmx x87 sys stack macro */
    {40, 18, 8, 2, 4, 3, 0, 1, 1, 1, 5, 18},
    {60, 15, 5, 1, 0, 0, 0, 0, 0, 0, 8, 20},
    {25, 35, 20, 1, 1, 1, 0, 0, 0, 0, 4, 14},
    {20, 8, 4, 1, 30, 25, 0, 1, 1, 1, 2, 8},
    {15, 8, 4, 1, 5, 3, 0, 20, 35, 1, 2, 8},
    {20, 10, 8, 15, 6, 6, 0, 4, 4, 12, 6, 18},
    {10, 10, 40, 4, 10, 10, 0, 4, 4, 2, 4, 10},
    /* the rest with AVX-512 only */
    {20, 8, 4, 1, 4, 16, 50, 0, 1, 1, 2, 8},
    {20, 6, 4, 1, 12, 12, 12, 6, 2, 4, 4, 12},
};

bool room(const struct gen *g, unsigned items)
{
    return g->q->items + items < SEQ_ITEMS - 12;
}

struct item *emit_item(struct gen *g, const struct item *it)
{
    struct seq *q = g->q;
    struct item *to = &q->item[q->items];
    struct viv_insn i;

    if (q->items >= SEQ_ITEMS)
        return &q->item[SEQ_ITEMS - 1];
    *to = *it;
    to->id = (uint16_t)q->items++;
    to->chunk = g->chunk;
    if (viv_decode(to->b, to->len, g->wide ? VIV_MODE_LONG : VIV_MODE_PROT32, rows_cpuid(), &i) == VIV_DECODE_OK)
        learn(g, &i);
    return to;
}

struct item *emit(struct gen *g, const void *bytes, unsigned len)
{
    struct item it = {.len = (uint8_t)len};

    memcpy(it.b, bytes, len);
    return emit_item(g, &it);
}

/* The shortest form, as compilers do; sometimes XOR is not for us, because it writes flags. */
void emit_mov(struct gen *g, unsigned reg, uint64_t value)
{
    uint8_t b[10];
    unsigned n = 0;

    if ((g->known >> reg & 1) && g->val[reg] == value)
        return;
    if (g->wide && value >> 32 && (int64_t)value == (int32_t)value) {
        b[n++] = 0x48 | reg >> 3;
        b[n++] = 0xc7;
        b[n++] = 0xc0 | (reg & 7);
        memcpy(b + n, &value, 4);
        n += 4;
    } else if (g->wide && value >> 32) {
        b[n++] = 0x48 | reg >> 3;
        b[n++] = 0xb8 | (reg & 7);
        memcpy(b + n, &value, 8);
        n += 8;
    } else {
        if (reg >= 8)
            b[n++] = 0x41;
        b[n++] = 0xb8 | (reg & 7);
        memcpy(b + n, &value, 4);
        n += 4;
    }
    emit(g, b, n);
}

void emit_category(struct gen *g, enum category c)
{
    struct item it;

    if (c == CAT_STRING) {
        emit_string(g);
        return;
    }
    for (unsigned tries = 0; tries < 8 && room(g, 4); tries++) {
        if (encode_row(g, rows_pick(&g->s, c), &it)) {
            emit_item(g, &it);
            return;
        }
    }
}

static void emit_one(struct gen *g)
{
    unsigned total = 0, at, n;
    struct item it;

    if (below(&g->s, 300) == 0) {
        random_bytes(g, &it);
        emit_item(g, &it);
        return;
    }
    for (n = 0; n <= CAT_COUNT; n++)
        total += g->weight[n];
    at = below(&g->s, total);
    for (n = 0; at >= g->weight[n]; n++)
        at -= g->weight[n];
    if (n == CAT_COUNT)
        emit_macro(g);
    else
        emit_category(g, n);
}

void emit_some(struct gen *g, unsigned n)
{
    while (n-- && room(g, 8))
        emit_one(g);
}

/* Half of the registers point somewhere. */
static void make_registers(struct gen *g)
{
    struct seq *q = g->q;
    uint64_t *s = &g->s;

    for (unsigned n = 0; n < 16; n++) {
        q->reg[n] = below(s, 2) ? interesting(s) : pick_target(g, 8);
        if (below(s, 6) == 0)
            q->reg[n] = below(s, 40);
    }
    q->reg[VIV_RSP] = STACK + 0xe00 + below(s, 0x40) * 8;
    if (below(s, 8) == 0)
        q->reg[VIV_RSP] = STACK + 0x1000 + below(s, 5) * 8 - below(s, 2);
    for (unsigned n = 0; n < 16; n++)
        q->reg[n] = g->wide ? q->reg[n] : n < 8 ? (uint32_t)q->reg[n] : 0;
    memcpy(g->val, q->reg, sizeof(g->val));
    g->known = g->wide ? 0xffff : 0xff;
    q->fs_base = DATA_A + 0x108;
    q->gs_base = DATA_B + 0x40;
    if (g->wide && below(s, 4) == 0)
        q->gs_base = HIGH + 0x200;
}

static void choose_places(struct gen *g)
{
    uint32_t *at = g->q->chunk_at;
    uint64_t *s = &g->s;

    at[0] = below(s, 3) ? below(s, 0x800) : 0x1000 - below(s, 80);
    at[1] = below(s, 3) ? 0x2000 + below(s, 0x800) : 0x3000 - below(s, 40);
    at[2] = below(s, 3) ? 0x3900 + below(s, 0x200) : CODE_BYTES - below(s, 60); /* may run out of the pages */
    at[3] = 0x1c00 + below(s, 0x100);
}

void gen_seq(struct seq *q, uint64_t seed, const struct gen_options *o)
{
    struct gen g = {.s = seed, .q = q, .vsib_index = -1};

    memset(q, 0, sizeof(*q));
    rnd(&g.s);
    q->seed = seed;
    q->mode = o->mode >= 0 ? (enum run_mode)o->mode
                           : (enum run_mode[]){RUN_LONG, RUN_LONG, RUN_LONG, RUN_LONG, RUN_LONG, RUN_PROT, RUN_PROT,
                                               RUN_COMPAT}[below(&g.s, 8)];
    g.wide = q->mode == RUN_LONG;
    g.calm = below(&g.s, 2);
    memcpy(g.weight, flavours[below(&g.s, sizeof(flavours) / sizeof(flavours[0]) - (seq_avx512 ? 0 : 2))], sizeof(g.weight));
    choose_places(&g);
    make_registers(&g);
    emit_some(&g, 1 + below(&g.s, 40));
    emit(&g, "\xf4", 1)->ends = true;
    emit_calls(&g);
    place_seq(q);
}
