/* EVEX instructions: the guest's bytes as they are, but for a general register and the address of a memory operand.
 *
 * The operand's whole extent is looked up. An element that the mask hides must not fault: so nothing is raised when a masked
 * operand is not in the TLB, the interpreter does it then (SDM 2A 2.7, 1 15.6.4). */
#include "cpu/x86/decode/evex.h"
#include "cpu/x86/xlate/gen.h"

#include <string.h>

static unsigned kind(const struct viv_insn *i, unsigned n)
{
    return viv_operand_info[i->row->operand[n]].kind;
}

/* The operand that is a general register, as modrm.rm or modrm.reg; -1: none. */
static int general(const struct viv_insn *i, bool *rm)
{
    for (int n = 0; n < 4; n++) {
        unsigned k = kind(i, (unsigned)n);

        *rm = k != VIV_K_G;
        if (k == VIV_K_G || k == VIV_K_R || (k == VIV_K_E && !i->mem))
            return n;
    }
    return -1;
}

/* Segment and address size prefixes may stand before EVEX. */
static unsigned prefixes(const struct gen *g)
{
    unsigned n = 0;

    while (n < g->i->len && g->bytes[n] != 0x62)
        n++;
    return n;
}

/* P0: R is bit 7, X 6, B 5, R' 4, all inverted; X and R' mean nothing to a general register. */
static uint8_t exchange(uint8_t *p, bool rm, unsigned host)
{
    unsigned high = host >> 3 & 1;

    if (rm) {
        p[1] = (uint8_t)((p[1] & ~0x20u) | 0x40 | (high ? 0 : 0x20));
        return (uint8_t)((p[5] & ~7u) | (host & 7));
    }
    p[1] = (uint8_t)((p[1] & ~0x80u) | 0x10 | (high ? 0 : 0x80));
    return (uint8_t)((p[5] & ~0x38u) | (host & 7) << 3);
}

static void register_form(struct gen *g)
{
    const struct viv_insn *i = g->i;
    unsigned skip = prefixes(g), n = i->len - skip, guest, host;
    uint8_t p[16];
    bool rm;
    int operand = general(i, &rm);

    memcpy(p, g->bytes + skip, n);
    guest = rm ? i->rm : i->reg;
    host = operand < 0 ? H_NONE : xl_host(guest);
    if (operand >= 0) {
        if (host == H_NONE)
            e_load(g->e, H_11, xl_home(guest));
        p[5] = exchange(p, rm, host == H_NONE ? H_11 : host);
    }
    for (unsigned k = 0; k < n; k++)
        e8(g->e, p[k]);
    if (operand == 0 && host == H_NONE)
        e_store(g->e, xl_home(guest), H_11);
}

static bool has_imm(const struct viv_insn *i)
{
    for (unsigned n = 0; n < 4; n++)
        if (kind(i, n) == VIV_K_I)
            return true;
    return false;
}

/* 62 P0 P1 P2 opcode, [R10 + RCX]: without displacement there is nothing to scale. P0: X is bit 6, B bit 5, inverted. */
static void memory_form(struct gen *g)
{
    const uint8_t *p = g->bytes + prefixes(g);
    struct emit *e = g->e;

    e8(e, p[0]);
    e8(e, (p[1] | 0x40) & ~0x20u);
    e8(e, p[2]);
    e8(e, p[3]);
    e8(e, p[4]);
    e_modrm_mem(e, p[5] >> 3, EMEMX(H_10, H_CX, 0, 0));
    if (has_imm(g->i))
        e8(e, g->bytes[g->i->len - 1]);
}

/* Bytes of the memory operand; 0: not a fixed number, or not known here. */
static unsigned extent(const struct viv_insn *i)
{
    if (i->row->evex & E_PACK) /* as many elements as the mask has bits */
        return 0;
    for (unsigned n = 0; n < 4; n++)
        if (kind(i, n) == VIV_K_W || kind(i, n) == VIV_K_E)
            return viv_evex_memory(i);
    return 0;
}

bool viv_xl_gen_evex(struct gen *g)
{
    const struct viv_insn *i = g->i;
    struct viv_xlate *x = g->x;
    bool write = i->row->attr & A_WRITE, rm;
    unsigned size;

    if (!(g->mode & XL_AVX512) || !g->lng || (i->row->attr & A_VSIB) || (i->mem && general(i, &rm) >= 0) ||
        (i->mem && write && (i->row->attr & A_FP))) /* MXCSR is changed even if the store faults */
        return false;
    viv_xl_need_vec(g);
    if (!i->mem) {
        register_form(g);
        return true;
    }
    size = extent(i);
    if (size == 0 || size > 64 || !viv_xl_ea(g))
        return false;
    g->masked = i->mask != 0;
    viv_xl_access(g, size, write);
    g->masked = false;
    x->faults[x->fault_count++] = (struct xl_fault){.at = (uint32_t)(g->e->p - x->rw), .off = (uint16_t)g->off};
    memory_form(g);
    if (write)
        viv_xl_store_check(g);
    return true;
}
