/* x87: the host's own instructions on state that stays in its unit (thunks.S). Nothing here can fault or make an exception
 * pending but the access to memory: XL_X87 means that all exceptions are masked.
 *
 * FIP, FDP and the rest are the guest's and nobody looks at them before the state is parked, so an instruction only notes
 * which one it was, and where its operand: xl.x87_*. */
#include "cpu/x86/xlate/gen.h"

#include <stddef.h>

static unsigned operand_bytes(const struct viv_insn *i)
{
    return viv_operand_info[i->row->operand[0]].size == VIV_SZ_T ? 10 : viv_xl_mem_size(i, 0);
}

/* The operand's offset in its segment; R10 is its linear address. Destroys RCX and R10. */
static void note_operand(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;

    if (i->seg == VIV_FS || i->seg == VIV_GS) {
        e_load(e, H_CX, xl_word((int32_t)(XL_SP + offsetof(struct viv_x86, fast_base) + 8 * i->seg)));
        e_op_reg(e, true, 0xf7, 2, H_CX); /* not */
        e_lea(e, g->lng, H_10, EMEMX(H_10, H_CX, 0, 1));
    }
    e_store(e, xl_word(XL_O_FDP), H_10);
    if (g->x87_seg == i->seg)
        return;
    g->x87_seg = i->seg;
    e_op_mem(e, false, 0xc6, 0, xl_word(XL_O_FSEG)); /* mov byte, imm8 */
    e8(e, i->seg);
}

/* The instruction has been executed: exec_x87.c, pointers(). Destroys RCX. */
static void note_insn(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    unsigned fop = (i->opcode & 7u) << 8 | i->modrm;

    if (!g->x87_page) {
        e_load(e, H_CX, xl_word(XL_O_PAGE));
        e_store(e, xl_word(XL_O_FPAGE), H_CX);
        g->x87_page = true;
    }
    e_op_mem(e, false, 0xc7, 0, xl_word(XL_O_FLAST)); /* mov dword, imm32 */
    e32(e, XL_X87_SET | XL_X87_FOP(fop) | (uint32_t)g->off);
}

static void encode_mem(struct gen *g, struct emem m)
{
    e_op_mem(g->e, false, 0xd8 | (g->i->opcode & 7), g->i->reg & 7, m);
}

/* Another thread may change the word between two looks at it. */
static bool fldcw(struct gen *g)
{
    struct emit *e = g->e;
    struct emem copy = xl_word(XL_O_FCW);
    uint8_t *masked;
    struct cold *c;

    if (!viv_xl_ea(g))
        return false;
    e_op2_mem(e, false, 0xb7, H_11, viv_xl_access(g, 2, false)); /* movzx r11d, word */
    e8(e, 0x66);
    e_op_mem(e, false, 0x89, H_11, copy);
    e_op_reg(e, true, 0xf7, 2, H_11); /* not */
    e_pext(e, H_CX, H_11, xl_word(XL_O_FMASKS));
    masked = e_jrcxz(e);
    c = viv_xl_cold(g, COLD_FAULT, e_jmp(e));
    c->off = g->off;
    e_patch8(masked, e->p);
    encode_mem(g, copy);
    return true;
}

/* FNSTCW and FNSTSW leave the pointers alone. */
static bool memory(struct gen *g, bool notes)
{
    bool write = g->i->row->attr & A_WRITE;

    if (!viv_xl_ea(g))
        return false;
    encode_mem(g, viv_xl_access(g, operand_bytes(g->i), write));
    if (notes) {
        note_insn(g);
        note_operand(g);
    }
    if (write)
        viv_xl_store_check(g);
    return true;
}

static bool reg(struct gen *g, bool notes)
{
    e8(g->e, 0xd8 | (g->i->opcode & 7));
    e8(g->e, g->i->modrm);
    if (notes)
        note_insn(g);
    return true;
}

bool viv_xl_gen_x87(struct gen *g)
{
    const char *n = g->i->row->name;
    bool notes = strcmp(n, "fnstcw") && strcmp(n, "fnstsw") && strcmp(n, "fnclex");

    if (!(g->mode & XL_X87))
        return false;
    if (!strcmp(n, "fwait")) /* nothing can be pending */
        return true;
    if (viv_xl_class(g->i) == XC_X87_CONTROL && strcmp(n, "fldcw") && strcmp(n, "fnclex"))
        return false;
    viv_xl_need_x87(g);
    if (!strcmp(n, "fldcw"))
        return fldcw(g);
    return g->i->mem ? memory(g, notes) : reg(g, notes);
}
