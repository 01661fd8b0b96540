/* Instructions with registers or operands of their own: shifts by CL, LEA, moffs, CMPXCHG16B, the stack. */
#include "cpu/x86/xlate/gen.h"

/* A general register's value in a host register: its own, or `scratch`. */
static unsigned value_of(struct gen *g, unsigned guest, unsigned scratch)
{
    unsigned h = xl_host(guest);

    if (h != H_NONE)
        return h;
    e_load(g->e, scratch, xl_home(guest));
    return scratch;
}

/* LEA has no segment and looks nothing up: straight into the register if base and index are in registers. */
bool viv_xl_gen_lea(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    unsigned to = xl_host(i->reg), into = to == H_NONE ? H_11 : to;

    if (i->osz == 2 || i->asz == 2 || (i->base == VIV_RIP_REL && i->disp > 0x7fff0000))
        return false;
    if (i->asz == 4 && i->osz == 8) {
        viv_xl_sum(g, H_10, false);
        e_mov(e, into, H_10);
    } else {
        viv_xl_sum(g, into, i->osz == 8);
    }
    if (to == H_NONE)
        e_store(e, xl_home(i->reg), H_11);
    return true;
}

/* Shifts, rotates, SHLD, SHRD by CL: the count has to be in the host's CL. */
bool viv_xl_gen_shift_cl(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    bool byte = i->row->attr & A_BYTE, two = i->row->map == VIV_MAP_0F;
    unsigned guest = byte ? i->rm8 >> 3 : i->rm, reg = i->reg & 7, rm = H_NONE, rex;
    struct emem m = EMEM(H_NONE, 0);

    if (byte && !i->mem && (i->rm8 & 1))
        return false;
    if (i->mem) {
        if (!viv_xl_ea(g))
            return false;
        m = viv_xl_access(g, byte ? 1 : i->osz, true);
        e_lea(e, true, H_10, m);
        m = EMEM(H_10, 0);
    } else {
        rm = value_of(g, guest, H_11);
    }
    if (two) {
        reg = xl_host(i->reg);
        if (reg == H_NONE) {
            if (i->mem)
                return false;
            e_load(e, H_10, xl_home(i->reg));
            reg = H_10;
        }
    }
    e_mov32(e, H_CX, xl_host(VIV_RCX));
    if (i->opsz_pfx && i->osz == 2)
        e8(e, 0x66);
    rex = (i->osz == 8 ? 8 : 0) | (two && reg >= 8 ? 4 : 0);
    rex |= i->mem ? rex_mem(m) : rm >= 8 ? 1 : 0;
    if (rex || (byte && !i->mem && rm >= 4))
        e8(e, 0x40 | rex);
    if (two)
        e8(e, 0x0f);
    e8(e, i->opcode);
    if (i->mem)
        e_modrm_mem(e, reg, m);
    else
        e_modrm_reg(e, reg, rm);
    if (rm == H_11)
        e_store(e, xl_home(guest), H_11);
    if (i->mem)
        viv_xl_store_check(g);
    return true;
}

bool viv_xl_gen_mov_o(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    bool byte = i->row->attr & A_BYTE, write = i->row->attr & A_WRITE;
    struct emem m;

    if (i->asz == 2 || (i->seg == VIV_CS && !g->lng))
        return false;
    e_mov_imm(e, H_10, i->asz == 8 ? i->imm : (uint32_t)i->imm);
    if (!viv_xl_add_base(g))
        return false;
    m = viv_xl_access(g, byte ? 1 : i->osz, write);
    if (!byte && i->osz == 2)
        e8(e, 0x66);
    e_op_mem(e, !byte && i->osz == 8, (write ? 0x88 : 0x8a) | !byte, H_AX, m);
    if (write)
        viv_xl_store_check(g);
    return true;
}

/* RDX:RAX and RBX are in place; RCX is needed for itself. */
bool viv_xl_gen_cmpxchg16b(struct gen *g)
{
    struct emit *e = g->e;
    struct emem m;
    struct viv_xlate *x = g->x;

    if (!viv_xl_ea(g))
        return false;
    m = viv_xl_access(g, 16, true);
    e_lea(e, true, H_10, m);
    e_mov(e, H_CX, xl_host(VIV_RCX));
    x->faults[x->fault_count++] = (struct xl_fault){.at = (uint32_t)(e->p - x->rw), .off = (uint16_t)g->off};
    if (g->i->lock)
        e8(e, 0xf0);
    e8(e, 0x49); /* REX.WB */
    e8(e, 0x0f);
    e8(e, 0xc7);
    e_modrm_mem(e, 1, EMEM(H_10, 0));
    viv_xl_store_check(g);
    return true;
}

/* ---- stack ---- */

#define SP H_9

static unsigned stack_size(const struct gen *g)
{
    return g->lng ? 8 : 4;
}

/* PUSH from memory: the value waits in xl.arg, because the store needs all scratch registers. */
static bool push_memory(struct gen *g, unsigned size)
{
    struct emit *e = g->e;
    struct emem m;

    if (!viv_xl_ea(g))
        return false;
    m = viv_xl_access(g, size, false);
    e_op_mem(e, g->lng, 0x8b, H_CX, m);
    e_store(e, xl_word(XL_O_ARG), H_CX);
    return true;
}

bool viv_xl_gen_push(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    unsigned k = viv_operand_info[i->row->operand[0]].kind, size = stack_size(g), from;
    bool memory = k == VIV_K_E && i->mem, grouped;
    struct emem m;

    if (i->osz != size || (memory && !push_memory(g, size)))
        return false;
    grouped = !memory && viv_xl_group_operand(g, VIV_RSP, -(int)size, &m);
    if (!grouped) {
        e_lea(e, g->lng, H_10, EMEM(SP, -(int)size));
        m = viv_xl_access(g, size, true);
    }
    if (k == VIV_K_I) {
        e_op_mem(e, g->lng, 0xc7, 0, m);
        e32(e, (uint32_t)i->imm);
    } else {
        from = memory ? H_NONE : xl_host(i->rm);
        if (from == H_NONE) {
            if (!grouped)
                m = viv_xl_into_cx(g, m);
            e_load(e, H_10, memory ? xl_word(XL_O_ARG) : xl_home(i->rm));
            from = H_10;
        }
        e_op_mem(e, g->lng, 0x89, from, m);
    }
    viv_xl_sp_add(g, -(int)size);
    if (grouped)
        viv_xl_group_stored(g, VIV_RSP);
    else
        viv_xl_store_check(g);
    return true;
}

bool viv_xl_gen_pop(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    unsigned size = stack_size(g), to = xl_host(i->rm);
    struct emem m;

    if (i->osz != size || i->mem)
        return false;
    if (!viv_xl_group_operand(g, VIV_RSP, 0, &m)) {
        m = viv_xl_access_at(g, SP, size, false);
    }
    if (i->rm == VIV_RSP) {
        e_op_mem(e, g->lng, 0x8b, SP, m);
        return true;
    }
    e_op_mem(e, g->lng, 0x8b, to == H_NONE ? H_11 : to, m);
    if (to == H_NONE)
        e_store(e, xl_home(i->rm), H_11);
    viv_xl_sp_add(g, (int)size);
    return true;
}

bool viv_xl_gen_leave(struct gen *g)
{
    struct emit *e = g->e;
    unsigned size = stack_size(g);
    struct emem m;

    if (g->i->osz != size)
        return false;
    m = viv_xl_access_at(g, H_BP, size, false);
    e_op_mem(e, g->lng, 0x8b, H_11, m);
    e_lea(e, g->lng, SP, EMEM(H_BP, (int)size));
    e_mov(e, H_BP, H_11);
    return true;
}
