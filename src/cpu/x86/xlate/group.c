/* Groups: accesses of one block through the same base register, looked up once.
 *
 * Stack frames and structures: [rsp + 8], [rsp + 16], PUSH, POP; [rdi], [rdi + 8]. Where the first access of such a group
 * stands, the whole range that its members touch is looked up as one; then each costs its addend, from xl.group, and
 * nothing else. The range counts from the register's value there; changes of RSP by known amounts are followed, any other
 * change of the register ends the group.
 *
 * If the look-up fails (the range crosses a page, or is not in the TLB, or may not be written) nothing has happened yet
 * and nothing is raised: the block's `plain` version, without groups, goes on from this instruction, and faults
 * where and as it must. Groups that store never have a page whose code this CPU runs: the table knows no such page as
 * writable (l1.h). Stores are followed by one look at the page's flags, at the latest before the next instruction that may
 * leave the block: what another CPU has translated meanwhile is noticed then, the others' stores being no more orderly. */
#include "cpu/x86/xlate/gen.h"

#include <stddef.h>

#define SPAN_MOST 2048
#define STEP_MOST (1 << 20)
#define ALL_REGS  0xffffu

static unsigned kind(const struct viv_insn *i, unsigned n)
{
    return viv_operand_info[i->row->operand[n]].kind;
}

/* ---- what an instruction does to general registers ---- */

static unsigned operand_reg(const struct viv_insn *i, unsigned n)
{
    bool byte = viv_operand_info[i->row->operand[n]].size == VIV_SZ_B;

    switch (kind(i, n)) {
    case VIV_K_G: return 1u << (byte ? i->reg8 >> 3 : i->reg);
    case VIV_K_E: return i->mem ? 0 : 1u << (byte ? i->rm8 >> 3 : i->rm);
    case VIV_K_R: case VIV_K_Z: return 1u << (byte ? i->rm8 >> 3 : i->rm);
    case VIV_K_BREG: return 1u << i->vvvv;
    case VIV_K_FIX: return 1u << VIV_RAX;
    default: return 0;
    }
}

static bool is(const struct viv_insn *i, const char *name)
{
    return !strcmp(i->row->name, name);
}

/* Registers it may change, but for what it adds to RSP (see rsp_step). */
static unsigned changes(const struct viv_insn *i, enum xl_class k)
{
    unsigned w = viv_xl_writes(i), regs = 0;

    switch (k) {
    case XC_NOP: case XC_PUSH: case XC_JCC: case XC_JMP_REL: case XC_CALL_REL: case XC_RET:
        return 0;
    case XC_X87: /* FNSTSW AX */
        return i->mem ? 0 : 1u << VIV_RAX;
    case XC_LEA:
        return 1u << i->reg;
    case XC_EVEX:
        return operand_reg(i, 0);
    case XC_POP:
        return 1u << i->rm;
    case XC_GENERIC: case XC_VECTOR: case XC_SHIFT_CL: case XC_MOV_O:
        for (unsigned n = 0; n < 4; n++)
            if (w >> n & 1)
                regs |= operand_reg(i, n);
        if (is(i, "cmp") || is(i, "test") || is(i, "bt"))
            return 0;
        /* Implicit ones: RDX:RAX of products and quotients, RAX of CMPXCHG, what has no operands. */
        if (!w || is(i, "cmpxchg") || kind(i, 0) == VIV_K_NONE || k == XC_MOV_O)
            regs |= 1u << VIV_RAX | 1u << VIV_RDX;
        return regs;
    default:
        return ALL_REGS;
    }
}

unsigned viv_xl_changes(const struct viv_insn *i)
{
    enum xl_class k = viv_xl_class(i);

    return changes(i, k) | (k == XC_PUSH || k == XC_POP || k == XC_CALL_REL || k == XC_RET ? 1u << VIV_RSP : 0);
}

unsigned viv_xl_operands(const struct viv_insn *i)
{
    return operand_reg(i, 0) | operand_reg(i, 1) | operand_reg(i, 2) | operand_reg(i, 3);
}

/* What it adds to RSP; false: something else. */
static bool any_step(const struct viv_insn *i, enum xl_class k, int *step)
{
    *step = 0;
    switch (k) {
    case XC_PUSH:
        *step = -8;
        return i->osz == 8;
    case XC_POP:
        *step = 8;
        return i->osz == 8 && !i->mem;
    case XC_LEA:
        if (i->reg != VIV_RSP)
            return true;
        *step = i->disp;
        return i->base == VIV_RSP && i->index == VIV_NO_REG && i->osz == 8 && i->asz == 8;
    case XC_GENERIC:
        if (!(changes(i, k) & 1u << VIV_RSP))
            return true;
        if (i->mem || kind(i, 1) != VIV_K_I || i->osz != 8 || (!is(i, "sub") && !is(i, "add")) ||
            (int64_t)i->imm < -STEP_MOST || (int64_t)i->imm > STEP_MOST)
            return false;
        *step = is(i, "sub") ? -(int)(int64_t)i->imm : (int)(int64_t)i->imm;
        return true;
    default:
        return !(changes(i, k) & 1u << VIV_RSP);
    }
}

/* Small steps only: a block full of them cannot overflow the sum, which would make two addresses 4 GiB apart look alike. */
static bool rsp_step(const struct viv_insn *i, enum xl_class k, int *step)
{
    return any_step(i, k, step) && *step >= -STEP_MOST && *step <= STEP_MOST;
}

/* ---- what it accesses ---- */

struct access {
    unsigned base; /* guest register */
    int32_t disp;
    unsigned size;
    bool write;
};

static bool stack_access(const struct viv_insn *i, enum xl_class k, struct access *a)
{
    *a = (struct access){.base = VIV_RSP, .size = 8};
    switch (k) {
    case XC_PUSH:
        a->disp = -8;
        a->write = true;
        return i->osz == 8 && !i->mem;
    case XC_POP:
        return i->osz == 8 && !i->mem && i->rm != VIV_RSP;
    case XC_RET:
        return i->osz == 8;
    case XC_CALL_REL:
        a->disp = -8;
        a->write = true;
        return i->osz == 8;
    default:
        return false;
    }
}

/* Its one memory operand, if it is [register + disp] without segment base. */
static bool grouped_access(const struct viv_insn *i, enum xl_class k, struct access *a)
{
    if (k != XC_GENERIC && k != XC_VECTOR)
        return stack_access(i, k, a);
    if (!i->mem || i->asz != 8 || i->base >= 16 || i->index != VIV_NO_REG || i->seg == VIV_FS ||
        i->seg == VIV_GS || xl_host(i->base) == H_NONE || i->lock)
        return false;
    *a = (struct access){.base = i->base, .disp = i->disp, .write = i->row->attr & A_WRITE};
    for (unsigned n = 0; n < 4; n++)
        if (kind(i, n) == VIV_K_E || kind(i, n) == VIV_K_M || kind(i, n) == VIV_K_W)
            a->size = viv_xl_mem_size(i, n);
    return a->size && a->disp > -SPAN_MOST * 64 && a->disp < SPAN_MOST * 64;
}

/* Neither leaves the block nor faults: what a group has stored need not be looked after before it. */
bool viv_xl_harmless(const struct gen *g)
{
    const struct viv_insn *i = g->i;
    enum xl_class k = viv_xl_class(i);
    struct access a;

    if (k == XC_NOP || k == XC_LEA)
        return true;
    if (k == XC_PUSH || k == XC_POP)
        return g->group[VIV_RSP] && stack_access(i, k, &a);
    if (k == XC_CALL_REL) /* looks itself, behind its push */
        return g->group[VIV_RSP];
    if (k != XC_GENERIC || i->row->name[0] == 'd' || is(i, "idiv"))
        return false;
    return !i->mem || (grouped_access(i, k, &a) && g->group[a.base]);
}

/* ---- RSP ---- */

/* Nothing of it shows what RSP is, or it is a member of RSP's group, which count from what the host's register has. */
static bool rsp_may_wait(const struct gen *g)
{
    const struct viv_insn *i = g->i;
    enum xl_class k = viv_xl_class(i);
    struct access a;

    switch (k) {
    case XC_PUSH: case XC_POP: case XC_CALL_REL: case XC_RET:
        return g->group[VIV_RSP] && stack_access(i, k, &a) && !(k == XC_PUSH && viv_xl_operands(i) & 1u << VIV_RSP);
    case XC_LEA:
        return i->reg != VIV_RSP && i->base != VIV_RSP;
    default:
        return viv_xl_harmless(g) && !((viv_xl_operands(i) | changes(i, k)) & 1u << VIV_RSP);
    }
}

void viv_xl_sp_begin(struct gen *g)
{
    if (g->sp && !rsp_may_wait(g))
        viv_xl_sp_exact(g);
}

void viv_xl_sp_exact(struct gen *g)
{
    unsigned sp = xl_host(VIV_RSP);

    if (g->sp)
        e_lea(g->e, g->lng, sp, EMEM((uint8_t)sp, g->sp));
    g->sp = 0;
}

void viv_xl_sp_add(struct gen *g, int n)
{
    enum xl_class k = viv_xl_class(g->i);

    g->sp += n;
    if (!g->group[VIV_RSP] || (k != XC_PUSH && k != XC_POP))
        viv_xl_sp_exact(g);
}

/* ---- planning ---- */

/* The group of the access that stands at `at`: its members and their range. */
static unsigned plan(const struct viv_insn *insn, unsigned at, unsigned count, const struct access *first,
                     struct access *range)
{
    int32_t low = first->disp, high = first->disp + (int32_t)first->size, delta = 0;
    unsigned members = 0;
    bool write = false;

    for (unsigned n = at; n < count; n++) {
        const struct viv_insn *i = &insn[n];
        enum xl_class k = viv_xl_class(i);
        struct access a;
        int step;

        if (grouped_access(i, k, &a) && a.base == first->base) {
            int32_t l = a.disp + delta < low ? a.disp + delta : low;
            int32_t h = a.disp + delta + (int32_t)a.size > high ? a.disp + delta + (int32_t)a.size : high;

            if (h - l > SPAN_MOST)
                break;
            low = l;
            high = h;
            write |= a.write;
            members++;
        }
        if (k == XC_HELPER || k == XC_HELPER_END)
            break;
        if (changes(i, k) & 1u << first->base && !(first->base == VIV_RSP && k == XC_GENERIC) &&
            !(first->base == VIV_RSP && k == XC_LEA))
            break;
        if (first->base == VIV_RSP) {
            if (!rsp_step(i, k, &step))
                break;
            delta += step;
        }
    }
    *range = (struct access){.base = first->base, .disp = low, .size = (unsigned)(high - low), .write = write};
    return members;
}

/* ---- code ---- */

static int32_t slot(unsigned base, size_t member)
{
    return (int32_t)(XL_SP + offsetof(struct viv_x86, xl_group) + 16 * base + member);
}

#define ADDEND 0
#define FLAGS  8

static void look_up(struct gen *g, const struct access *r)
{
    struct emit *e = g->e;
    struct cold *c;

    unsigned base = xl_host(r->base);

    if (r->disp)
        e_lea(e, true, H_10, EMEM((uint8_t)base, r->disp));
    c = viv_xl_cold(g, COLD_PLAIN, viv_xl_look_up(g, r->disp ? H_10 : base, 0, r->size, r->write));
    c->base = r->disp ? H_10 : (uint8_t)base;
    c->info = r->size | (r->write ? XL_I_WRITE : 0) | (g->x87 ? XL_I_X87 : 0);
    c->off = g->off;
    c->back = e->p;
    if (r->write) {
        e_load(e, H_10, EMEMX(H_SP, H_11, 3, g->l1 + XL_L1_FLAGS));
        e_store(e, xl_word(slot(r->base, FLAGS)), H_10);
    }
    e_load(e, H_CX, EMEMX(H_SP, H_11, 3, g->l1 + XL_L1_ADDEND));
    e_store(e, xl_word(slot(r->base, ADDEND)), H_CX);
    g->cx = (int)r->base;
}

void viv_xl_group_begin(struct gen *g, const struct viv_insn *insn, unsigned at, unsigned count)
{
    struct access a, range;
    unsigned members;

    if (!g->lng || (g->mode & XL_PLAIN) || !grouped_access(&insn[at], viv_xl_class(&insn[at]), &a) ||
        g->group[a.base])
        return;
    members = plan(insn, at, count, &a, &range);
    if (members < 2)
        return;
    viv_xl_group_settle(g, g->off);
    look_up(g, &range);
    g->group[a.base] = members;
}

void viv_xl_group_end(struct gen *g, bool emitted_native)
{
    enum xl_class k = viv_xl_class(g->i);
    struct access a;
    int step;

    for (unsigned b = 0; b < 16; b++) {
        unsigned *left = &g->group[b];

        if (!*left)
            continue;
        if (grouped_access(g->i, k, &a) && a.base == b)
            (*left)--;
        if (!emitted_native || k == XC_HELPER || k == XC_HELPER_END)
            *left = 0;
        else if (b == VIV_RSP ? !rsp_step(g->i, k, &step) || (changes(g->i, k) & 1u << b && k != XC_GENERIC && k != XC_LEA)
                              : changes(g->i, k) >> b & 1)
            *left = 0;
    }
}

bool viv_xl_group_operand(struct gen *g, unsigned base, int32_t disp, struct emem *m)
{
    if (!g->group[base])
        return false;
    if (g->cx != (int)base)
        e_load(g->e, H_CX, xl_word(slot(base, ADDEND)));
    g->cx = (int)base;
    *m = EMEMX((uint8_t)xl_host(base), H_CX, 0, disp + (base == VIV_RSP ? g->sp : 0));
    return true;
}

bool viv_xl_group_insn(struct gen *g, struct emem *m)
{
    struct access a;

    return grouped_access(g->i, viv_xl_class(g->i), &a) && viv_xl_group_operand(g, a.base, a.disp, m);
}

void viv_xl_group_stored(struct gen *g, unsigned base)
{
    g->pending |= 1u << base;
}

/* RIP is `next` if code has been changed. */
void viv_xl_group_settle(struct gen *g, int32_t next)
{
    struct emit *e = g->e;

    if (g->pending)
        viv_xl_sp_exact(g);
    for (unsigned b = 0; b < 16; b++) {
        if (!(g->pending >> b & 1))
            continue;
        e_load(e, H_11, xl_word(slot(b, FLAGS)));
        viv_xl_cold(g, COLD_STORED, viv_xl_if_flagged(g, H_11))->off = next;
        g->cx = -1;
    }
    g->pending = 0;
}
