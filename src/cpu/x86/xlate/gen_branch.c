/* Near branches. Within the page: direct jumps, patched when the target is known. Out of it: through the jump cache,
 * because where the next page leads is the business of the guest's page tables. Jumps back look whether somebody wants the
 * vCPU to come out. */
#include "cpu/x86/xlate/gen.h"

#include "mem/ram.h"

#include <stddef.h>

#define SP H_9

static bool in_page(int32_t off)
{
    return off >= 0 && off < (int32_t)VIV_PAGE_SIZE;
}

static void cold_to(struct gen *g, enum cold_kind kind, uint8_t *jmp, int32_t off)
{
    viv_xl_cold(g, kind, jmp)->off = off;
}

/* Leaves the block unless xl.calm is set; nothing has been changed by the instruction yet but its own effects: RIP will
 * be `off`. */
static void poll(struct gen *g, int32_t off)
{
    e_load32(g->e, H_CX, xl_word(XL_O_CALM));
    cold_to(g, COLD_EXIT, e_if_zero(g->e), off);
}

/* The first five bytes of a block are exchanged when its code changes: no jump that is patched otherwise may lie there. */
static void keep_off_entry(struct gen *g)
{
    static const uint8_t nop[4][4] = {{0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}, {0x0f, 0x1f, 0x40, 0x00}};
    ptrdiff_t n = g->code + 4 - g->e->p;

    for (ptrdiff_t k = 0; k < n; k++)
        e8(g->e, nop[n - 1][k]);
}

/* Are we at the linear address where it was asked last, and does linear memory of code look as it did? Jumps over the next
 * `over` bytes if so. R10: the page. */
uint8_t *viv_xl_gen_space(struct gen *g, unsigned over)
{
    struct emit *e = g->e;
    uint8_t *space, *yes;

    keep_off_entry(g);
    space = e->p;
    e8(e, 0x49); /* mov r11, i64 */
    e8(e, 0xbb);
    e64(e, XL_SPACE_NEVER);
    e_load(e, H_CX, xl_word(XL_O_SPACE));
    e_load(e, H_10, xl_word(XL_O_PAGE));
    e_lea(e, true, H_CX, EMEMX(H_CX, H_10, 0, 0));
    e_lea(e, true, H_CX, EMEMX(H_CX, H_11, 0, 0));
    yes = e_jrcxz(e);
    *yes = (uint8_t)over;
    return space;
}

/* To another page: patched as well, but good only as long as the answer is yes. `sp`: what the branch has added to RSP. */
static void cross(struct gen *g, int32_t off, int sp)
{
    struct emit *e = g->e;
    struct xl_site *s = viv_xl_alloc(g->x, sizeof(*s));
    struct cold *c;

    *s = (struct xl_site){.off = off, .last = g->off == XL_NO_BRANCH ? -1 : XL_LAST(g->off, sp)};
    s->space = viv_xl_gen_space(g, 5);
    c = viv_xl_cold(g, COLD_CROSS, e_jmp(e));
    c->off = off;
    c->site = s;
    e_lea(e, g->lng, H_10, EMEM(H_10, off & ~(int32_t)(VIV_PAGE_SIZE - 1)));
    e_store(e, xl_word(XL_O_PAGE), H_10);
    s->at = e_jmp(e);
}

static void next(struct gen *g, int32_t off, int sp)
{
    if (!in_page(off)) {
        cross(g, off, sp);
        return;
    }
    keep_off_entry(g);
    cold_to(g, COLD_LINK, e_jmp(g->e), off);
}

void viv_xl_gen_next(struct gen *g, int32_t off)
{
    next(g, off, 0);
}

static void jump(struct gen *g, int32_t off)
{
    if (in_page(off) && off <= g->off)
        poll(g, off);
    viv_xl_gen_next(g, off);
}

/* Jcc with the host's flags; goes on behind it. */
static void conditional(struct gen *g, unsigned cc, int32_t off)
{
    struct emit *e = g->e;
    uint8_t *over;

    if (!in_page(off)) {
        uint8_t *no = e_jcc(e, cc ^ 1);

        cross(g, off, 0);
        e_patch(no, e->p);
    } else if (off > g->off) {
        keep_off_entry(g);
        cold_to(g, COLD_LINK, e_jcc(e, cc), off);
    } else {
        over = e_jcc8(e, cc ^ 1);
        jump(g, off);
        e_patch8(over, e->p);
    }
}

static bool counted(struct gen *g, enum xl_class k, int32_t off)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    unsigned rcx = xl_host(VIV_RCX);
    uint8_t *zero;

    if (i->asz == 2 || (k == XC_JRCXZ && in_page(off) && off <= g->off))
        return false;
    if (k == XC_LOOP)
        e_lea(e, i->asz == 8, rcx, EMEM((uint8_t)rcx, -1));
    e_op_reg(e, i->asz == 8, 0x8b, H_CX, rcx);
    zero = e_jrcxz(e);
    if (k == XC_LOOP) {
        jump(g, off);
        e_patch8(zero, e->p);
        return true;
    }
    {
        uint8_t *over = e_jmp(e);

        e_patch8(zero, e->p);
        jump(g, off);
        e_patch(over, e->p);
    }
    return true;
}

/* Pushes the address of the next instruction and moves RSP; the store check is still to come. Uses R10. */
static int push_return(struct gen *g)
{
    struct emit *e = g->e;
    struct emem m;
    int size = g->lng ? 8 : 4;

    if (!viv_xl_group_operand(g, VIV_RSP, -size, &m)) {
        e_lea(e, g->lng, H_10, EMEM(SP, -size));
        m = viv_xl_into_cx(g, viv_xl_access(g, (unsigned)size, true));
    }
    e_load(e, H_10, xl_word(XL_O_PAGE));
    e_lea(e, g->lng, H_10, EMEM(H_10, g->next));
    e_op_mem(e, g->lng, 0x89, H_10, m);
    viv_xl_sp_add(g, -size);
    return size;
}

static void call_relative(struct gen *g, int32_t off)
{
    int32_t behind = g->next;
    bool grouped = g->group[VIV_RSP];
    int size = push_return(g);

    g->next = off; /* where the guest is when the push has changed code */
    if (grouped) {
        viv_xl_group_stored(g, VIV_RSP);
        viv_xl_group_settle(g, off);
    } else {
        viv_xl_store_check(g);
    }
    g->next = behind;
    next(g, off, -size);
}

/* Target of an indirect branch into RCX. */
static bool indirect_target(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    unsigned from;
    struct emem m;

    if (i->osz != (g->lng ? 8 : 4))
        return false;
    if (i->mem) {
        if (!viv_xl_ea(g))
            return false;
        m = viv_xl_access(g, i->osz, false);
        e_op_mem(e, g->lng, 0x8b, H_CX, m);
        from = H_CX;
    } else {
        from = xl_host(i->rm);
        if (from == H_NONE) {
            e_load(e, H_CX, xl_home(i->rm));
            from = H_CX;
        } else if (!g->lng) {
            e_mov32(e, H_CX, from);
            from = H_CX;
        }
    }
    if (from != H_CX)
        e_mov(e, H_CX, from);
    return true;
}

/* The target waits in XL_O_ARG while the return address is pushed, which may fault: c->rip is not to change before. */
static bool call_indirect(struct gen *g)
{
    struct emit *e = g->e;
    int32_t last;

    if (!indirect_target(g))
        return false;
    e_store(e, xl_word(XL_O_ARG), H_CX);
    last = XL_LAST(g->off, -push_return(g));
    e_load(e, H_10, xl_word(XL_O_ARG));
    e_store(e, xl_word(XL_O_RIP), H_10);
    viv_xl_store_check_rip(g, last);
    e_load(e, H_CX, xl_word(XL_O_ARG));
    viv_xl_emit_jump(g, last);
    return true;
}

static bool ret(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    int size = g->lng ? 8 : 4;
    int imm = viv_operand_info[i->row->operand[0]].kind == VIV_K_I ? (int)(i->imm & 0xffff) : 0;
    struct emem m;

    if (i->osz != size || imm > 0x7ff0)
        return false;
    if (!viv_xl_group_operand(g, VIV_RSP, 0, &m)) {
        m = viv_xl_access_at(g, SP, (unsigned)size, false);
    }
    e_op_mem(e, g->lng, 0x8b, H_CX, m);
    viv_xl_sp_add(g, size + imm);
    viv_xl_emit_jump(g, XL_LAST(g->off, size + imm));
    return true;
}

bool viv_xl_gen_branch(struct gen *g, enum xl_class k)
{
    const struct viv_insn *i = g->i;
    int64_t off = g->next + (int64_t)i->imm;

    /* 16-bit operand size cuts EIP; EIP wraps, RIP does not. */
    if (i->osz == 2 || (g->lng && off != (int32_t)off))
        return false;
    switch (k) {
    case XC_JMP_REL:
        jump(g, (int32_t)off);
        return true;
    case XC_JCC:
        conditional(g, i->opcode & 15, (int32_t)off);
        return true;
    case XC_JRCXZ:
    case XC_LOOP:
        return counted(g, k, (int32_t)off);
    case XC_CALL_REL:
        call_relative(g, (int32_t)off);
        return true;
    case XC_CALL_IND:
        return call_indirect(g);
    case XC_JMP_IND:
        if (!indirect_target(g))
            return false;
        viv_xl_emit_jump(g, XL_LAST(g->off, 0));
        return true;
    case XC_RET:
        return ret(g);
    default:
        return false;
    }
}
