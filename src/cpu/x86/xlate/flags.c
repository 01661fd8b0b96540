/* Where the guest's arithmetic flags may be lost for a while, and how they come back.
 *
 * Flags are the host's, and code here leaves them alone, at a price (mem.c). But when the last instruction that wrote them was a CMP or
 * TEST of registers that still hold the same, doing it again brings them back; AND, OR, XOR, ADD and SUB can be done again by way of
 * their result. From there on, until those registers change, look-ups may use flags as they like.
 *
 * What they were is made again
 * - by the out-of-line code of each exceptional case (a miss, a page that has been changed), first of all: what a fault pushes is exact;
 * - in line, before an instruction that reads them, or leaves some as they were, or can fault on the host, or leaves the block;
 * - not at all before an instruction that writes all of them, which is the common case. */
#include "cpu/x86/xlate/gen.h"

/* The host's execution of it may fault, and the flags must be right then. */
static bool aligned(const struct viv_insn *i, enum xl_class k)
{
    for (unsigned n = 0; k == XC_VECTOR && i->mem && n < 4; n++) {
        unsigned kind = viv_operand_info[i->row->operand[n]].kind, size = viv_xl_mem_size(i, n);

        if ((kind == VIV_K_W || kind == VIV_K_M || kind == VIV_K_E) && (!size || size >= 16))
            return !strstr(i->row->name, "movu") && !strstr(i->row->name, "movdqu");
    }
    return false;
}

static enum xl_flags_use use_of(const struct viv_insn *i)
{
    return aligned(i, viv_xl_class(i)) ? XF_OTHER : viv_xl_flags_use(i);
}

void viv_xl_flags_plan(struct gen *g, const struct viv_insn *insn, unsigned count)
{
    g->dead[count] = false;
    for (unsigned n = count; n-- > 0;) {
        enum xl_flags_use u = use_of(&insn[n]);

        g->dead[n] = u == XF_SET || (u == XF_NONE && g->dead[n + 1]);
    }
}

static void bytes(struct emit *e, const uint8_t *p, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        e8(e, p[k]);
}

void viv_xl_flags_restore(struct emit *e, const struct xl_flags *f)
{
    if (f->lost)
        bytes(e, f->redo, f->redo_bytes);
}

void viv_xl_flags_exact(struct gen *g)
{
    if (g->flags.lost && g->flags.cx)
        g->cx = -1;
    viv_xl_flags_restore(g->e, &g->flags);
    g->flags.lost = false;
}

/* The instruction itself does not want them as they are. */
static bool waits(const struct gen *g)
{
    return g->use == XF_NONE || g->use == XF_SET;
}

void viv_xl_flags_begin(struct gen *g, unsigned at)
{
    g->use = use_of(g->i);
    g->quiet = g->dead[at];
    g->quiet_after = g->dead[at + 1];
    if (!waits(g))
        viv_xl_flags_exact(g);
    if (g->flags.redo_bytes && g->use != XF_SET && viv_xl_changes(g->i) & g->flags.regs) {
        viv_xl_flags_exact(g);
        g->flags.redo_bytes = 0;
    }
}

void viv_xl_flags_end(struct gen *g)
{
    if (g->use == XF_OTHER)
        g->flags.redo_bytes = 0;
}

bool viv_xl_flags_free(struct gen *g)
{
    struct xl_flags *f = &g->flags;

    if (!f->redo_bytes || !(g->quiet || (waits(g) && f->cheap)))
        return false;
    f->lost = true;
    return true;
}

/* ---- how to do it again ---- */

/* `op rcx, imm` after `lea rcx, [r + disp]` */
static void by_imm(struct emit *e, bool wide, unsigned r, int32_t disp, unsigned group, int32_t imm)
{
    e_lea(e, wide, H_CX, EMEM((uint8_t)r, disp));
    e_op_reg(e, wide, 0x81, group, H_CX);
    e32(e, (uint32_t)imm);
}

/* SUB r, s: what r was is r + s. ADD: r - s = r + ~s + 1. */
static void by_reg(struct emit *e, bool wide, bool sub, unsigned r, unsigned s)
{
    if (sub) {
        e_lea(e, wide, H_CX, EMEMX((uint8_t)r, (uint8_t)s, 0, 0));
    } else {
        e_mov(e, H_CX, s);
        e_not(e, H_CX);
        e_lea(e, wide, H_CX, EMEMX((uint8_t)r, H_CX, 0, 1));
    }
    e_op_reg(e, wide, sub ? 0x3b : 0x03, H_CX, s);
}

static bool redo(struct emit *e, const struct viv_insn *i, const uint8_t *made, unsigned n, unsigned r, unsigned s,
                 struct xl_flags *f)
{
    const char *name = i->row->name;
    bool wide = i->osz == 8, sub = !strcmp(name, "sub"), imm = viv_operand_info[i->row->operand[1]].kind == VIV_K_I;
    int32_t v = (int32_t)i->imm;

    if (!strcmp(name, "cmp") || !strcmp(name, "test")) {
        if (n > XL_REDO_MOST)
            return false;
        bytes(e, made, n);
        return true;
    }
    if (i->row->attr & A_BYTE || i->osz < 4)
        return false;
    if (!strcmp(name, "and") || !strcmp(name, "or") || !strcmp(name, "xor") || (sub && !imm && r == s)) {
        e_op_reg(e, wide, 0x85, r, r);
        return true;
    }
    if (!sub && strcmp(name, "add"))
        return false;
    f->cx = true;
    if (imm) {
        if (v == INT32_MIN)
            return false;
        by_imm(e, wide, r, sub ? v : -v, sub ? 7 : 0, v);
        return true;
    }
    if (r == s)
        return false;
    f->cheap = sub;
    by_reg(e, wide, sub, r, s);
    return true;
}

void viv_xl_flags_made(struct gen *g, const uint8_t *made, bool registers, unsigned dst, unsigned src)
{
    struct xl_flags *f = &g->flags;
    uint8_t room[4 * XL_REDO_MOST];
    struct emit e = {.p = room};

    if (g->use != XF_SET)
        return;
    g->quiet = g->quiet_after;
    f->lost = false;
    f->redo_bytes = 0;
    f->cheap = true;
    f->cx = false;
    if (!registers || !redo(&e, g->i, made, (unsigned)(g->e->p - made), dst, src, f) || e.p - room > XL_REDO_MOST)
        return;
    f->redo_bytes = (uint8_t)(e.p - room);
    memcpy(f->redo, room, f->redo_bytes);
    f->regs = viv_xl_operands(g->i);
}
