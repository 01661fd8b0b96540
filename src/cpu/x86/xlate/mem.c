/* Memory operands: linear address, first-level TLB, what happens after a store.
 *
 * A hit, for [base + disp] of `size` bytes, without touching the flags:
 *
 *     lea   r10, [base + disp]
 *     rorx  r11, r10, 12
 *     movzx r11d, r11w                          slot by the first byte
 *     mov   rcx, [rsp + r11 * 8 + TAG]          minus the page
 *     lea   rcx, [rcx + r10 + size - 1]         offset of the last byte in the page, if it is this one
 *     pext  rcx, rcx, [rsp + MASK]              anything above 4095?
 *     lea   rcx, [rcx - 1]
 *     shrx  rcx, rcx, rsp                       by 60: 15 if there was nothing, else 0
 *     jrcxz miss                                by way of a hidden JMP: emit.h
 *     mov   rcx, [rsp + r11 * 8 + ADDEND]
 *     ...   [r10 + rcx]
 *
 * Where the flags may be destroyed (flags.c) TEST rcx, [rsp + MASK] and JNE take the place of the four instructions from PEXT on.
 *
 * It would be two instructions shorter with a jump that a hit takes. But two taken jumps for three guest instructions are more than
 * the host can fetch: that was 10 to 30 % slower.
 *
 * An access that crosses a page misses: the slot is the first byte's, and no slot holds the page of its neighbour. */
#include "cpu/x86/xlate/gen.h"

#include <stddef.h>

#define CC_E  4
#define CC_NE 5

unsigned viv_xl_mem_size(const struct viv_insn *i, unsigned operand)
{
    unsigned vl = 16u << i->vl;

    switch (viv_operand_info[i->row->operand[operand]].size) {
    case VIV_SZ_B: case VIV_SZ_BS: case VIV_SZ_DB: case VIV_SZ_YB: return 1;
    case VIV_SZ_W: case VIV_SZ_VW: case VIV_SZ_DW: case VIV_SZ_YW: return 2;
    case VIV_SZ_D: return 4;
    case VIV_SZ_Q: return 8;
    case VIV_SZ_DQ: return 16;
    case VIV_SZ_QQ: return 32;
    case VIV_SZ_V: case VIV_SZ_Y: return i->osz;
    case VIV_SZ_Z: return i->osz > 4 ? 4 : i->osz;
    case VIV_SZ_X: return vl;
    case VIV_SZ_XH: return vl / 2;
    case VIV_SZ_XQ: return vl / 4;
    case VIV_SZ_XE: return vl / 8;
    default: return 0;
    }
}

static bool has_base(const struct gen *g, unsigned seg)
{
    return seg == VIV_FS || seg == VIV_GS;
}

bool viv_xl_add_base(struct gen *g)
{
    unsigned seg = g->i->seg;

    if (!has_base(g, seg))
        return true;
    if (!(g->mode & (seg == VIV_FS ? XL_FS : XL_GS)))
        return false;
    g->cx = -1;
    e_load(g->e, H_CX, xl_word((int32_t)(XL_SP + offsetof(struct viv_x86, fast_base) + 8 * seg)));
    e_lea(g->e, g->lng, H_10, EMEMX(H_10, H_CX, 0, 0)); /* wraps at 4 GiB: thread pointers have what is below them */
    return true;
}

void viv_xl_sum(struct gen *g, unsigned to, bool wide)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    struct emem m = {.base = H_NONE, .index = H_NONE, .scale = i->scale, .disp = i->disp};

    if (i->base == VIV_RIP_REL) {
        e_load(e, H_10, xl_word(XL_O_PAGE));
        m.base = H_10;
        m.disp = i->disp + g->next;
    } else if (i->base != VIV_NO_REG) {
        m.base = (uint8_t)xl_host(i->base);
        if (m.base == H_NONE) {
            e_load(e, H_10, xl_home(i->base));
            m.base = H_10;
        }
    }
    if (i->index != VIV_NO_REG) {
        m.index = (uint8_t)xl_host(i->index);
        if (m.index == H_NONE) {
            e_load(e, H_11, xl_home(i->index));
            m.index = H_11;
        }
    }
    if (m.base == H_NONE && m.index == H_NONE)
        e_mov_imm(e, to, wide ? (uint64_t)(int64_t)m.disp : (uint32_t)m.disp);
    else if (m.base != H_NONE && m.index == H_NONE && !m.disp && wide)
        e_mov(e, to, m.base);
    else
        e_lea(e, wide, to, m);
}

bool viv_xl_ea(struct gen *g)
{
    const struct viv_insn *i = g->i;
    bool wide = i->asz == 8;

    if (i->asz == 2 || (i->seg == VIV_CS && !g->lng)) /* CS may be read only, or not even that */
        return false;
    if (i->base == VIV_RIP_REL && i->disp > 0x7fff0000) /* with the place in the page it could overflow */
        return false;
    viv_xl_sum(g, H_10, wide);
    return viv_xl_add_base(g);
}

/* RCX is less than 1 << 60; it becomes 15 or 0. In a loop of one block the taken jump costs less. */
static uint8_t *if_not_zero(struct gen *g)
{
    struct emit *e = g->e;
    uint8_t *zero, *jmp;

    if (g->loop) {
        zero = e_jrcxz(e);
        jmp = e_jmp(e);
        e_patch8(zero, e->p);
        return jmp;
    }
    e_lea(e, true, H_CX, EMEM(H_CX, -1));
    e_shrx(e, H_CX, H_CX, H_SP);
    return e_if_zero(e);
}

uint8_t *viv_xl_look_up(struct gen *g, unsigned base, int32_t disp, unsigned size, bool write)
{
    struct emit *e = g->e;
    bool quick = viv_xl_flags_free(g);

    g->cx = -1;
    e_rorx(e, true, H_11, base, 12);
    e_movzx16(e, H_11, H_11);
    e_load(e, H_CX, EMEMX(H_SP, H_11, 3, g->l1 + (write ? XL_L1_WRITE : XL_L1_READ)));
    e_lea(e, true, H_CX, EMEMX((uint8_t)base, H_CX, 0, disp + (int32_t)size - 1));
    if (quick) {
        e_test_mem(e, xl_word(XL_O_MASK), H_CX);
        return e_jcc(e, CC_NE);
    }
    e_pext(e, H_CX, H_CX, xl_word(XL_O_MASK));
    return if_not_zero(g);
}

static struct cold *missed(struct gen *g, enum cold_kind kind, uint8_t *jmp, unsigned size, bool write)
{
    struct cold *c = viv_xl_cold(g, kind, jmp);

    c->info = (uint32_t)g->off | size << 16 | (write ? XL_I_WRITE : 0) | (g->masked ? XL_I_MASKED : 0) | (g->x87 ? XL_I_X87 : 0);
    c->back = g->e->p;
    return c;
}

struct emem viv_xl_access(struct gen *g, unsigned size, bool write)
{
    struct emit *e = g->e;

    missed(g, COLD_MISS, viv_xl_look_up(g, H_10, 0, size, write), size, write);
    e_load(e, H_CX, EMEMX(H_SP, H_11, 3, g->l1 + XL_L1_ADDEND));
    return EMEMX(H_10, H_CX, 0, 0);
}

/* The slot can be that of [base] if what is accessed lies a little behind, in the same page almost always: that saves the LEA. (A
 * slot's other pages are far away, so a wrong one is never taken for the right one.) Where it is in the next page the
 * common code looks again before C is called. */
#define NEAR_MOST 127

static struct emem near(struct gen *g, unsigned base, int32_t disp, unsigned size, bool write)
{
    struct cold *c = missed(g, COLD_NEAR, viv_xl_look_up(g, base, disp, size, write), size, write);

    c->base = (uint8_t)base;
    c->off = disp;
    e_load(g->e, H_CX, EMEMX(H_SP, H_11, 3, g->l1 + XL_L1_ADDEND));
    return EMEMX((uint8_t)base, H_CX, 0, disp);
}

bool viv_xl_operand(struct gen *g, unsigned size, bool write, struct emem *m)
{
    const struct viv_insn *i = g->i;
    unsigned base;

    if (!g->lng || i->asz != 8 || i->base >= 16 || i->index != VIV_NO_REG || has_base(g, i->seg) || i->disp < 0 ||
        i->disp > NEAR_MOST) {
        if (!viv_xl_ea(g))
            return false;
        *m = viv_xl_access(g, size, write);
        return true;
    }
    base = xl_host(i->base);
    if (base == H_NONE) {
        base = H_10;
        e_load(g->e, H_10, xl_home(i->base));
    }
    *m = near(g, base, i->disp, size, write);
    return true;
}

struct emem viv_xl_access_at(struct gen *g, unsigned base, unsigned size, bool write)
{
    if (g->lng)
        return near(g, base, 0, size, write);
    e_mov32(g->e, H_10, base);
    return viv_xl_access(g, size, write);
}

struct emem viv_xl_into_cx(struct gen *g, struct emem m)
{
    e_lea(g->e, true, H_CX, m);
    g->cx = -1;
    return EMEM(H_CX, 0);
}

uint8_t *viv_xl_if_flagged(struct gen *g, unsigned at)
{
    if (viv_xl_flags_free(g)) {
        e_cmp8_mem(g->e, EMEM((uint8_t)at, 1), 0); /* VIV_PAGE_QUIET */
        return e_jcc(g->e, CC_E);
    }
    e_op2_mem(g->e, false, 0xb6, H_CX, EMEM((uint8_t)at, 1)); /* movzx ecx, byte */
    return e_if_zero(g->e);
}

static void check(struct gen *g, enum cold_kind kind, int32_t off)
{
    e_load(g->e, H_11, EMEMX(H_SP, H_11, 3, g->l1 + XL_L1_FLAGS));
    viv_xl_cold(g, kind, viv_xl_if_flagged(g, H_11))->off = off;
}

void viv_xl_store_check(struct gen *g)
{
    check(g, COLD_STORED, g->next);
}

void viv_xl_store_check_rip(struct gen *g, int32_t last)
{
    check(g, COLD_STORED_RIP, last);
}
