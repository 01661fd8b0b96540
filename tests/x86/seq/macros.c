/* Several instructions that belong together: branches and loops, calls, self-modification, edited page tables, control
 * words and the values they need. */
#include "gen.h"

static void add(struct item *it, const char *hex)
{
    unsigned v;

    for (; *hex; hex += 2) {
        sscanf(hex, "%2x", &v);
        it->b[it->len++] = (uint8_t)v;
    }
}

static void add8(struct item *it, unsigned v)
{
    it->b[it->len++] = (uint8_t)v;
}

static void add32(struct item *it, uint32_t v)
{
    memcpy(it->b + it->len, &v, 4);
    it->len += 4;
}

/* A field for the distance to, or address of, an item. */
static void field(struct item *it, enum patch kind, unsigned target, int addend)
{
    it->patch = kind;
    it->patch_at = it->len;
    it->target = (uint16_t)target;
    it->addend = (int16_t)addend;
    memset(it->b + it->len, 0, 4);
    it->len += kind == PATCH_REL8 ? 1 : 4;
}

static unsigned next_id(const struct gen *g)
{
    return g->q->items;
}

/* Not RSP; not a counter. */
static unsigned scratch(struct gen *g)
{
    unsigned r;

    do {
        r = below(&g->s, g->wide ? 16 : 8);
    } while (r == VIV_RSP || (g->reserved >> r & 1));
    return r;
}

/* ---- branches ---- */

static void jump_to(struct gen *g, unsigned target, int condition)
{
    struct item it = {.ends = condition < 0};
    bool near8 = below(&g->s, 3);

    if (condition < 0)
        add8(&it, near8 ? 0xeb : 0xe9);
    else if (near8)
        add8(&it, 0x70 | (unsigned)condition);
    else
        add8(&it, 0x0f), add8(&it, 0x80 | (unsigned)condition);
    field(&it, near8 ? PATCH_REL8 : PATCH_REL32, target, 0);
    emit_item(g, &it);
}

static void forward(struct gen *g)
{
    bool jumps = below(&g->s, 5) == 0;

    if (!jumps && below(&g->s, 2))
        emit_category(g, below(&g->s, 2) ? CAT_COMMON : CAT_FLAGS);
    jump_to(g, next_id(g) + 1 + below(&g->s, 6), jumps ? -1 : (int)below(&g->s, 16));
}

static void jrcxz(struct gen *g)
{
    struct item it = {0};

    if (below(&g->s, 4) == 0)
        add8(&it, 0x67);
    add8(&it, 0xe3);
    field(&it, PATCH_REL8, next_id(g) + 1 + below(&g->s, 4), 0);
    emit_item(g, &it);
}

static void close_loop(struct gen *g, unsigned counter, unsigned start)
{
    struct item it = {0};

    if (counter == VIV_RCX && below(&g->s, 2)) {
        add8(&it, below(&g->s, 3) ? 0xe2 : 0xe0 | below(&g->s, 2)); /* LOOP, LOOPNE, LOOPE */
        field(&it, PATCH_REL8, start, 0);
        emit_item(g, &it);
        return;
    }
    if (g->wide)
        add8(&it, 0x48 | counter >> 3);
    if (below(&g->s, 2)) {
        add8(&it, 0xff), add8(&it, 0xc8 | (counter & 7)); /* dec */
    } else {
        add8(&it, 0x83), add8(&it, 0xe8 | (counter & 7)), add8(&it, 1); /* sub, 1 */
    }
    emit_item(g, &it);
    jump_to(g, start, 5);
}

static void loop(struct gen *g)
{
    unsigned counter = below(&g->s, 3) ? scratch(g) : VIV_RCX, start;

    if (g->reserved >> counter & 1)
        return;
    emit_mov(g, counter, 1 + below(&g->s, 6));
    g->reserved |= (uint16_t)(1u << counter);
    start = next_id(g);
    emit_some(g, 1 + below(&g->s, 5));
    g->reserved &= (uint16_t)~(1u << counter);
    close_loop(g, counter, start);
    g->known &= (uint16_t)~(1u << counter);
}

/* Loads a register with the address of an item. */
static void address_of(struct gen *g, unsigned reg, unsigned target)
{
    struct item it = {0};

    if (g->wide && below(&g->s, 2)) {
        add8(&it, 0x48 | reg >> 3 << 2);
        add(&it, "8d");
        add8(&it, 0x05 | (reg & 7) << 3);
        field(&it, PATCH_REL32, target, 0);
    } else {
        if (reg >= 8)
            add8(&it, 0x41);
        add8(&it, 0xb8 | (reg & 7));
        field(&it, PATCH_ABS32, target, 0);
    }
    emit_item(g, &it);
    g->known &= (uint16_t)~(1u << reg);
}

static void through_register(struct gen *g, unsigned reg, bool call)
{
    struct item it = {0};

    if (reg >= 8)
        add8(&it, 0x41);
    add8(&it, 0xff);
    add8(&it, (call ? 0xd0 : 0xe0) | (reg & 7));
    emit_item(g, &it);
}

/* A slot in memory that holds a code address, as in jump tables and virtual calls. */
static void through_memory(struct gen *g, unsigned reg, bool call)
{
    uint32_t slot = DATA_A + 0x800 + 8 * below(&g->s, 16);
    struct item it = {0};

    if (g->wide) { /* mov [slot], reg */
        add8(&it, 0x48 | reg >> 3 << 2);
        add8(&it, 0x89), add8(&it, 0x04 | (reg & 7) << 3), add8(&it, 0x25);
    } else {
        add8(&it, 0x89), add8(&it, 0x05 | (reg & 7) << 3);
    }
    add32(&it, slot);
    emit_item(g, &it);
    it = (struct item){0};
    add8(&it, 0xff);
    add8(&it, (call ? 0x14 : 0x24) | (g->wide ? 0 : 1));
    if (g->wide)
        add8(&it, 0x25);
    add32(&it, slot);
    emit_item(g, &it);
}

static void push_register(struct gen *g, unsigned reg)
{
    uint8_t b[2] = {0x41, (uint8_t)(0x50 | (reg & 7))};

    emit(g, reg >= 8 ? b : b + 1, reg >= 8 ? 2 : 1);
}

static void indirect(struct gen *g)
{
    unsigned reg = scratch(g);

    address_of(g, reg, next_id(g) + 3 + below(&g->s, 4));
    switch (below(&g->s, 3)) {
    case 0: through_register(g, reg, false); break;
    case 1: through_memory(g, reg, false); break;
    default:
        push_register(g, reg);
        emit(g, "\xc3", 1)->ends = true;
        break;
    }
}

/* To where code hardly is. */
static void wild_branch(struct gen *g)
{
    static const uint64_t at[] = {DATA_A + 0x100, DATA_RO + 0x1000, 0x0000800000000000ull, 0xffff7ffffffffff0ull,
                                  KTEXT + 0x40, CODE_B + 0x3f00, SYS_CODE, 0x100000000ull, 0x7ffffffffff0ull};
    unsigned reg = scratch(g);
    uint64_t to = below(&g->s, 3) ? at[below(&g->s, sizeof(at) / sizeof(at[0]))] : interesting(&g->s);

    emit_mov(g, reg, g->wide ? to : (uint32_t)to);
    switch (below(&g->s, 4)) {
    case 0: through_register(g, reg, true); break;
    case 1: through_register(g, reg, false); break;
    case 2: through_memory(g, reg, below(&g->s, 2)); break;
    default:
        push_register(g, reg);
        emit(g, "\xc2\x10\x00", 3);
        break;
    }
}

static void call(struct gen *g)
{
    unsigned f = below(&g->s, 3), reg = scratch(g);
    struct item it = {0};

    if (f >= g->functions)
        f = g->functions++;
    switch (below(&g->s, 5)) {
    case 0:
        address_of(g, reg, SEQ_FUNCTION + f);
        through_register(g, reg, true);
        break;
    case 1:
        address_of(g, reg, SEQ_FUNCTION + f);
        through_memory(g, reg, true);
        break;
    default:
        add8(&it, 0xe8);
        field(&it, PATCH_REL32, SEQ_FUNCTION + f, 0);
        emit_item(g, &it);
        break;
    }
    g->val[VIV_RSP] += g->wide ? 8 : 4;
}

/* Functions follow the end. Those that call get calls to later ones only. */
void emit_calls(struct gen *g)
{
    struct seq *q = g->q;
    unsigned start[8] = {0};

    for (unsigned f = 0; f < g->functions && f < 8; f++) {
        g->chunk = (uint8_t)(1 + (f + below(&g->s, 2)) % 2);
        start[f] = next_id(g);
        g->depth = 1;
        g->val[VIV_RSP] -= g->wide ? 8 : 4;
        emit_some(g, 1 + below(&g->s, 5));
        if (below(&g->s, 12))
            emit(g, "\xc3", 1)->ends = true;
        else
            emit(g, "\xc2\x08\x00", 3)->ends = true;
        if (q->items >= SEQ_ITEMS - 2)
            g->functions = (uint8_t)(f + 1);
    }
    for (unsigned n = 0; n < q->items; n++) {
        if (q->item[n].target >= SEQ_FUNCTION)
            q->item[n].target = (uint16_t)start[(q->item[n].target - SEQ_FUNCTION) % 8];
    }
}

/* ---- self-modification ---- */

/* A store of an immediate of 1 or 4 bytes into an item's bytes; `alu`: ADD, 1 instead. Returns its id. */
static unsigned store_into(struct gen *g, unsigned target, int addend, bool byte, bool alu, uint32_t v)
{
    struct item it = {0};
    bool rip = g->wide && below(&g->s, 3);

    add8(&it, alu ? (byte ? 0x80 : 0x83) : byte ? 0xc6 : 0xc7);
    add8(&it, g->wide && !rip ? 0x04 : 0x05);
    if (g->wide && !rip)
        add8(&it, 0x25);
    field(&it, rip ? PATCH_REL32 : PATCH_ABS32, target, addend);
    if (byte || alu)
        add8(&it, alu ? 1 : v);
    else
        add32(&it, v);
    return emit_item(g, &it)->id;
}

/* An immediate that is changed before its instruction runs, or before it runs again. */
static void patch_immediate(struct gen *g)
{
    static const uint8_t op[] = {0xc0, 0xe8, 0xc8, 0xe0, 0xf0}; /* add sub or and xor */
    unsigned reg = scratch(g), store = 0, victim;
    bool before = below(&g->s, 3);
    struct item it = {0};

    if (before) {
        store = store_into(g, 0, 0, below(&g->s, 2), below(&g->s, 3) == 0, (uint32_t)interesting(&g->s));
        emit_some(g, below(&g->s, 4));
    }
    if (reg >= 8)
        add8(&it, 0x41);
    if (below(&g->s, 2))
        add8(&it, 0xb8 | (reg & 7));
    else
        add8(&it, 0x81), add8(&it, op[below(&g->s, sizeof(op))] | (reg & 7));
    add32(&it, (uint32_t)interesting(&g->s));
    victim = emit_item(g, &it)->id;
    if (before)
        g->q->item[store].target = (uint16_t)victim, g->q->item[store].addend = (int16_t)(it.len - 4);
    else
        store_into(g, victim, it.len - 4, below(&g->s, 2), below(&g->s, 2), (uint32_t)interesting(&g->s));
    g->known &= (uint16_t)~(1u << reg);
}

/* Any bytes, anywhere: NOPs, HLT, parts of instructions. */
static void patch_anything(struct gen *g)
{
    static const uint32_t v[] = {0x90909090, 0xf4f4f4f4, 0xc3c3c3c3, 0x00401f0f, 0x9090ff31, 0x90c0ff41, 0x0001b890};
    unsigned target = below(&g->s, 3) ? next_id(g) + 1 + below(&g->s, 4) : below(&g->s, next_id(g) + 1);

    if (g->functions && below(&g->s, 3) == 0)
        target = SEQ_FUNCTION + below(&g->s, g->functions);
    store_into(g, target, (int)below(&g->s, 5), below(&g->s, 2), below(&g->s, 5) == 0,
               below(&g->s, 4) ? v[below(&g->s, sizeof(v) / sizeof(v[0]))] : (uint32_t)rnd(&g->s));
}

/* ---- the system's side ---- */

static void store32(struct gen *g, uint32_t lin, uint32_t v)
{
    struct item it = {0};

    add(&it, g->wide ? "c70425" : "c705");
    add32(&it, lin);
    add32(&it, v);
    emit_item(g, &it);
}

/* Another page, or other rights, for DATA_C or a page of CODE_B. */
static void edit_table(struct gen *g)
{
    static const uint32_t rights[] = {7, 0x67, 5, 0x25, 3, 0, 1, 0x47};
    uint64_t *s = &g->s;
    bool code = below(s, 3) == 0;
    uint32_t lin = code ? CODE_B + 0x1000 * below(s, 4) : below(s, 3) ? DATA_C : DATA_B;
    uint32_t page = code ? HOT_CODE + below(s, 4) : HOT_DATA_C + below(s, 2);
    struct item it = {0};

    store32(g, SYS_TABLE + 8 * (lin >> 12 & 511), PHYS_PAGE(page) | rights[below(s, 8)]);
    if (below(s, 4) == 0) {
        unsigned reg = scratch(g) & 7;

        if (reg == VIV_RSP || (g->reserved >> reg & 1))
            return;
        emit(g, (uint8_t[]){0x0f, 0x20, (uint8_t)(0xd8 | reg)}, 3);
        emit(g, (uint8_t[]){0x0f, 0x22, (uint8_t)(0xd8 | reg)}, 3);
        g->known &= (uint16_t)~(1u << reg);
        return;
    }
    add(&it, g->wide ? "0f013c25" : "0f013d"); /* invlpg */
    add32(&it, lin);
    emit_item(g, &it);
}

static void push_flags(struct gen *g)
{
    uint32_t f = (uint32_t)rnd(&g->s) & VIV_FL_ARITH;
    struct item it = {0};

    if (below(&g->s, 3) == 0)
        f |= VIV_FL_DF;
    if (below(&g->s, 3) == 0)
        f |= (uint32_t)rnd(&g->s) & (VIV_FL_IF | VIV_FL_IOPL | VIV_FL_AC | VIV_FL_ID | VIV_FL_NT | VIV_FL_RF);
    if (below(&g->s, 12) == 0)
        f |= VIV_FL_TF;
    if (below(&g->s, 8) == 0) { /* 16 bits */
        emit(g, (uint8_t[]){0x66, 0x68, (uint8_t)f, (uint8_t)(f >> 8)}, 4);
        emit(g, "\x66\x9d", 2);
        return;
    }
    add8(&it, 0x68);
    add32(&it, f);
    emit_item(g, &it);
    emit(g, "\x9d", 1);
}

static void system_call(struct gen *g)
{
    if (g->wide && below(&g->s, 2)) {
        emit(g, "\x0f\x05", 2);
        g->known &= (uint16_t)~0x802u;
    } else {
        emit(g, "\xcd\x80", 2);
    }
}

/* Flips bits of CR0 or CR4 that change what instructions may do. */
static void flip_control(struct gen *g)
{
    static const uint32_t cr0[] = {VIV_CR0_TS, VIV_CR0_TS, VIV_CR0_TS, VIV_CR0_AM, VIV_CR0_EM, VIV_CR0_WP};
    static const uint32_t cr4[] = {VIV_CR4_OSXMMEXCPT, VIV_CR4_OSFXSR, VIV_CR4_OSXSAVE, VIV_CR4_SMAP, VIV_CR4_UMIP,
                                   VIV_CR4_PGE, VIV_CR4_FSGSBASE};
    bool four = below(&g->s, 3) == 0;
    unsigned reg = scratch(g) & 7;
    struct item it = {0};

    if (reg == VIV_RSP || (g->reserved >> reg & 1))
        return;
    emit(g, (uint8_t[]){0x0f, 0x20, (uint8_t)((four ? 0xe0 : 0xc0) | reg)}, 3);
    add8(&it, 0x81), add8(&it, 0xf0 | reg); /* xor */
    add32(&it, four ? cr4[below(&g->s, 7)] : cr0[below(&g->s, 6)]);
    emit_item(g, &it);
    emit(g, (uint8_t[]){0x0f, 0x22, (uint8_t)((four ? 0xe0 : 0xc0) | reg)}, 3);
    g->known &= (uint16_t)~(1u << reg);
}

/* Selectors: null, flat, with a base or a limit. */
static void load_segment(struct gen *g)
{
    static const uint8_t sel[] = {0, 0x10, 0x28, 0x2b, 0x2b, 0x3b, 0x43, 0x38, 0x33, 3};
    static const uint8_t seg[] = {VIV_ES, VIV_DS, VIV_DS, VIV_FS, VIV_GS, VIV_SS};
    unsigned reg = scratch(g) & 7, s = seg[below(&g->s, 6)];

    if (reg == VIV_RSP || (g->reserved >> reg & 1))
        return;
    emit_mov(g, reg, sel[below(&g->s, sizeof(sel))]);
    emit(g, (uint8_t[]){0x8e, (uint8_t)(0xc0 | s << 3 | reg)}, 2);
    emit_some(g, below(&g->s, 3));
    emit_mov(g, reg, below(&g->s, 2) ? 0x2b : 0x10);
    emit(g, (uint8_t[]){0x8e, (uint8_t)(0xc0 | s << 3 | reg)}, 2);
}

static void push32(struct gen *g, uint32_t v)
{
    struct item it = {0};

    add8(&it, 0x68);
    add32(&it, v);
    emit_item(g, &it);
}

/* IRET to what follows, in this privilege and mode or in another. */
static void return_to_next(struct gen *g)
{
    bool user = below(&g->s, 3);
    uint32_t cs = user ? (g->wide && below(&g->s, 6) ? 0x33 : 0x23) : g->wide ? 0x08 : 0x18;
    uint32_t flags = ((uint32_t)rnd(&g->s) & VIV_FL_ARITH) | 2 | (below(&g->s, 4) ? 0 : VIV_FL_RF) |
                     (below(&g->s, 16) ? 0 : VIV_FL_TF);
    uint32_t sp = STACK + 0xe00 + below(&g->s, 32) * 8;
    unsigned reg = scratch(g);

    if (user || g->wide) {
        push32(g, user ? 0x2b : 0x10);
        push32(g, sp);
    }
    push32(g, flags);
    push32(g, cs);
    address_of(g, reg, next_id(g) + 3);
    push_register(g, reg);
    emit(g, "\x48\xcf" + !g->wide, 1 + g->wide)->ends = true;
    if (user || g->wide)
        g->val[VIV_RSP] = sp;
}

/* ---- control words and save areas ---- */

static void with_row(struct gen *g, const struct viv_row *r, uint64_t target)
{
    struct item it;

    for (unsigned tries = 0; r && tries < 4 && room(g, 4); tries++) {
        if (encode_at(g, r, target, &it)) {
            emit_item(g, &it);
            return;
        }
    }
}

static void control_word(struct gen *g)
{
    uint64_t *s = &g->s;
    uint32_t slot = DATA_A + 0x900 + 8 * below(s, 8), v;

    if (below(s, 2)) {
        v = below(s, 2) ? 0x1f80 | ((uint32_t)rnd(s) & 0xe07f) : (uint32_t)rnd(s) & 0xffff;
        store32(g, slot, v);
        with_row(g, below(s, 3) ? rows_named("ldmxcsr", 0) : rows_named("vldmxcsr", 0), slot);
    } else {
        v = 0x40 | ((uint32_t)rnd(s) & 0xf3f) | (below(s, 3) ? 0x3f : 0);
        store32(g, slot, v);
        with_row(g, rows_named("fldcw", 0), slot);
    }
}

static void save_restore(struct gen *g)
{
    static const char *const pair[][2] = {{"fxsave", "fxrstor"}, {"xsave", "xrstor"}, {"xsaveopt", "xrstor"},
                                          {"xsavec", "xrstor"},  {"fnsave", "frstor"}, {"fnstenv", "fldenv"}};
    unsigned k = below(&g->s, 6);
    uint64_t at = DATA_A + 0xa00 + 64 * below(&g->s, 3);

    if (below(&g->s, 8) == 0)
        at = DATA_B - 64 * below(&g->s, 8); /* across a page */
    if (k >= 1 && k <= 3) {
        emit_mov(g, VIV_RAX, rnd(&g->s) & 0xe7);
        if (below(&g->s, 4))
            emit_mov(g, VIV_RDX, 0);
    }
    with_row(g, rows_named(pair[k][0], 0), at);
    emit_some(g, below(&g->s, 4));
    if (k >= 1 && k <= 3)
        emit_mov(g, VIV_RAX, rnd(&g->s) & 0xe7);
    with_row(g, rows_named(pair[k][1], 0), at);
}

/* ---- operands that need a setting ---- */

void emit_string(struct gen *g)
{
    uint64_t *s = &g->s;
    uint64_t src = pick_target(g, 8), dst = below(s, 3) ? pick_target(g, 8) : src + below(s, 40) - 20;
    const struct viv_row *r = rows_pick(s, CAT_STRING);
    struct item it;

    if (g->reserved & 0xc2)
        return;
    if (below(s, 6) == 0)
        emit(g, below(s, 3) ? "\xfd" : "\xfc", 1);
    if (below(s, 5))
        emit_mov(g, VIV_RSI, src);
    if (below(s, 5))
        emit_mov(g, VIV_RDI, dst);
    if (below(s, 8))
        emit_mov(g, VIV_RCX, below(s, 8) ? below(s, 20) : below(s, 700));
    if (below(s, 10) == 0)
        r = below(s, 2) ? rows_named("maskmovq", 0) : rows_named("maskmovdqu", 0);
    for (unsigned tries = 0; r && tries < 4; tries++) {
        if (encode_row(g, r, &it)) {
            emit_item(g, &it);
            break;
        }
    }
    if (below(s, 2))
        emit(g, "\xfc", 1);
}

static void shift_by_cl(struct gen *g)
{
    static const uint8_t op[] = {0xd2, 0xd3, 0xa5, 0xad};
    struct item it;

    if (g->reserved & 2)
        return;
    emit_mov(g, VIV_RCX, below(&g->s, 3) ? below(&g->s, 70) : rnd(&g->s));
    for (unsigned tries = 0; tries < 200; tries++) {
        const struct viv_row *r = rows_pick(&g->s, tries & 1 ? CAT_FLAGS : CAT_RARE);

        if (memchr(op, r->opcode, sizeof(op)) && operand_kind(r, VIV_K_FIX) && encode_row(g, r, &it)) {
            emit_item(g, &it);
            return;
        }
    }
}

static void divide(struct gen *g)
{
    const struct viv_row *r = rows_named(below(&g->s, 2) ? "div" : "idiv", below(&g->s, 5) ? 0xf7 : 0xf6);
    struct item it;

    if (g->reserved & 5)
        return;
    if (below(&g->s, 2))
        emit_mov(g, VIV_RDX, 0);
    else
        emit(g, g->wide && below(&g->s, 2) ? "\x48\x99" : "\x90\x99", 2);
    if (encode_row(g, r, &it))
        emit_item(g, &it);
}

/* An index vector of small numbers, a mask of ones, then a gather. */
static void gather(struct gen *g)
{
    unsigned index = below(&g->s, 8), mask = (index + 1 + below(&g->s, 7)) & 7;
    struct item it = {0};
    const struct viv_row *r = NULL;

    for (unsigned tries = 0; tries < 400 && !(r && (r->attr & A_VSIB)); tries++)
        r = rows_pick(&g->s, CAT_AVX);
    if (!r || !(r->attr & A_VSIB))
        return;
    add(&it, "c5fe6f"); /* vmovdqu */
    add8(&it, (g->wide ? 0x04 : 0x05) | index << 3);
    if (g->wide)
        add8(&it, 0x25);
    add32(&it, DATA_A + (r->opcode & 1 ? 0x80 : 0x40));
    emit_item(g, &it);
    if (below(&g->s, 3)) /* vpcmpeqd: all ones */
        emit(g, (uint8_t[]){0xc5, (uint8_t)(0x85 | (~mask & 15) << 3), 0x76, (uint8_t)(0xc0 | mask << 3 | mask)}, 4);
    g->vsib_index = (int)index;
    if (encode_at(g, r, pick_target(g, 16), &it))
        emit_item(g, &it);
    g->vsib_index = -1;
}

/* Flags made, memory accessed, flags used. */
static void flags_across(struct gen *g)
{
    static const uint8_t mov[] = {0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7};

    emit_category(g, below(&g->s, 2) ? CAT_FLAGS : CAT_COMMON);
    for (unsigned n = 1 + below(&g->s, 2); n; n--)
        with_row(g, rows_named("mov", mov[below(&g->s, sizeof(mov))]), pick_target(g, 8));
    if (below(&g->s, 3))
        emit_category(g, CAT_FLAGS);
    else
        jump_to(g, next_id(g) + 1 + below(&g->s, 4), (int)below(&g->s, 16));
}

void emit_macro(struct gen *g)
{
    static void (*const plain[])(struct gen *) = {
        forward,       forward,         forward,        forward,      flags_across, flags_across, flags_across,
        flags_across,  shift_by_cl,     shift_by_cl,    divide,       jrcxz,        push_flags,   control_word,
        indirect,      patch_anything,  system_call,    edit_table,   gather,
        flip_control,  return_to_next,  wild_branch,
    };
    static void (*const nested[])(struct gen *) = {loop, loop, loop, call, call, patch_immediate, patch_immediate, save_restore,
                                                  load_segment};
    const unsigned plains = sizeof(plain) / sizeof(plain[0]), all = plains + sizeof(nested) / sizeof(nested[0]);
    unsigned n = below(&g->s, all);

    if (!room(g, 10))
        return;
    if (n < plains) {
        plain[n](g);
        return;
    }
    if (g->depth >= 2)
        return;
    g->depth++;
    nested[n - plains](g);
    g->depth--;
}
