/* Memory operands: linear address, first-level TLB, what happens after a store.
 *
 * A hit, for [base + disp] of `size` bytes, without touching the flags:
 *
 *     lea   r11, [base + disp]
 *     rorx  r11, r11, 12
 *     movzx r11d, r11w                          slot by the first byte
 *     mov   rcx, [rsp + r11 * 8 + TAG]          minus the page
 *     lea   rcx, [rcx + base + disp + size - 1] offset of the last byte in the page, if it is this one
 *     pext  rcx, rcx, [rsp + MASK]              anything above 4095?
 *     jrcxz hit
 *     jmp   miss
 *   hit:
 *     mov   rcx, [rsp + r11 * 8 + ADDEND]
 *     ...   [base + rcx + disp]
 *
 * An access that crosses a page misses: the slot is the first byte's, and no slot holds the page of its neighbour. */
#include "cpu/x86/xlate/gen.h"

#include <stddef.h>

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

/* base + index << scale + disp into R10, 32 bits wide where addresses are. */
static void sum(struct gen *g, bool wide)
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
        e_mov_imm(e, H_10, wide ? (uint64_t)(int64_t)m.disp : (uint32_t)m.disp);
    else
        e_lea(e, wide, H_10, m);
}

bool viv_xl_ea(struct gen *g, struct emem *ea)
{
    const struct viv_insn *i = g->i;
    bool wide = i->asz == 8;

    if (i->asz == 2 || (i->seg == VIV_CS && !g->lng)) /* CS may be read only, or not even that */
        return false;
    /* A displacement near either end could wrap in disp + size - 1, and page + disp. */
    if (i->disp > 0x7fff0000 || i->disp < -0x7fff0000)
        return false;
    if (wide && !has_base(g, i->seg) && i->base < 16 && i->index == VIV_NO_REG &&
        xl_host(i->base) != H_NONE) {
        *ea = EMEM((uint8_t)xl_host(i->base), i->disp);
        return true;
    }
    sum(g, wide);
    if (has_base(g, i->seg)) {
        e_load(g->e, H_CX, xl_word((int32_t)(offsetof(struct viv_x86, fast_base) + 8 * i->seg)));
        e_lea(g->e, true, H_10, EMEMX(H_10, H_CX, 0, 0));
    }
    *ea = EMEM(H_10, 0);
    return true;
}

struct emem viv_xl_access(struct gen *g, struct emem ea, unsigned size, bool write)
{
    struct emit *e = g->e;
    struct cold *c;
    uint8_t *hit;
    unsigned first = ea.base;

    if (ea.disp) {
        e_lea(e, true, H_11, ea);
        first = H_11;
    }
    e_rorx(e, true, H_11, first, 12);
    e_movzx16(e, H_11, H_11);
    e_load(e, H_CX, EMEMX(H_SP, H_11, 3, g->l1 + (write ? XL_L1_WRITE : XL_L1_READ)));
    e_lea(e, true, H_CX, EMEMX(ea.base, H_CX, 0, ea.disp + (int32_t)size - 1));
    e_pext(e, H_CX, H_CX, xl_word(XL_O_MASK));
    hit = e_jrcxz(e);
    c = viv_xl_cold(g, COLD_MISS, e_jmp(e));
    e_patch8(hit, e->p);
    c->back = e->p;
    c->ea = ea;
    c->info = (uint32_t)g->off | size << 16 | (write ? XL_I_WRITE : 0);
    e_load(e, H_CX, EMEMX(H_SP, H_11, 3, g->l1 + XL_L1_ADDEND));
    return EMEMX(ea.base, H_CX, 0, ea.disp);
}

struct emem viv_xl_into_cx(struct gen *g, struct emem m)
{
    e_lea(g->e, true, H_CX, m);
    return EMEM(H_CX, 0);
}

static struct cold *check(struct gen *g, enum cold_kind kind)
{
    struct emit *e = g->e;
    uint8_t *ok;
    struct cold *c;

    e_load(e, H_11, EMEMX(H_SP, H_11, 3, g->l1 + XL_L1_FLAGS));
    e_op2_mem(e, false, 0xb6, H_CX, EMEM(H_11, 0)); /* movzx ecx, byte [r11] */
    ok = e_jrcxz(e);
    c = viv_xl_cold(g, kind, e_jmp(e));
    e_patch8(ok, e->p);
    return c;
}

void viv_xl_store_check(struct gen *g)
{
    check(g, COLD_STORED)->off = g->next;
}

void viv_xl_store_check_rip(struct gen *g)
{
    check(g, COLD_STORED_RIP);
}
