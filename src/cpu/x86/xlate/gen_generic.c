/* Most instructions: the host's own, re-encoded with the registers and the memory operand that stand for the guest's.
 *
 * A guest register that lives in memory (R8-R11) is used there where the encoding allows it, else through a scratch
 * register. High byte registers (AH..BH) exist only without REX: sources are taken to a scratch register. */
#include "cpu/x86/xlate/gen.h"

#include <string.h>

struct regs { /* operands as they will be encoded */
    bool has_mem;
    struct emem mem;
    unsigned reg, rm, vvvv; /* host numbers; vector registers as they are */
    bool no_rex, need_rex;
    /* Scratch registers to be loaded before and stored after. */
    struct {
        uint8_t host, guest;
        bool store;
    } home[3];
    unsigned homes;
    unsigned free; /* bits of scratch registers */
    unsigned opcode;
};

static unsigned kind(const struct viv_insn *i, unsigned n)
{
    return viv_operand_info[i->row->operand[n]].kind;
}

static bool byte_size(const struct viv_insn *i, unsigned n)
{
    unsigned s = viv_operand_info[i->row->operand[n]].size;

    return s == VIV_SZ_B;
}

/* The field that an operand stands in: 0 modrm.reg, 1 modrm.rm or opcode, 2 vvvv; -1: none of a general register. */
static int field(const struct viv_insn *i, unsigned n)
{
    switch (kind(i, n)) {
    case VIV_K_G: return 0;
    case VIV_K_E: return i->mem ? -1 : 1;
    case VIV_K_R: case VIV_K_Z: return 1;
    case VIV_K_BREG: return 2;
    default: return -1;
    }
}

static unsigned *place(struct regs *r, int f)
{
    return f == 0 ? &r->reg : f == 1 ? &r->rm : &r->vvvv;
}

static unsigned guest_of(const struct viv_insn *i, int f)
{
    return f == 0 ? i->reg : f == 1 ? i->rm : i->vvvv;
}

static unsigned take_scratch(struct gen *g, struct regs *r)
{
    static const uint8_t order[] = {H_11, H_10, H_CX};

    /* The address may be all in RCX. */
    if (!(r->free & (1 << H_11 | 1 << H_10)) && r->has_mem && r->mem.base == H_10) {
        r->mem = viv_xl_into_cx(g, r->mem);
        r->free |= 1 << H_10;
    }
    for (unsigned n = 0; n < 3; n++) {
        if (r->free >> order[n] & 1) {
            r->free &= ~(1u << order[n]);
            return order[n];
        }
    }
    return H_NONE;
}

/* A register in memory, as a scratch register. */
static bool bring(struct gen *g, struct regs *r, int f, unsigned guest, bool store)
{
    unsigned host;

    for (unsigned n = 0; n < r->homes; n++) {
        if (r->home[n].guest == guest) {
            *place(r, f) = r->home[n].host;
            r->home[n].store |= store;
            return true;
        }
    }
    host = take_scratch(g, r);
    if (host == H_NONE)
        return false;
    r->home[r->homes].host = (uint8_t)host;
    r->home[r->homes].guest = (uint8_t)guest;
    r->home[r->homes++].store = store;
    e_load(g->e, host, xl_home(guest));
    *place(r, f) = host;
    return true;
}

/* ALU and MOV have both directions, TEST has none: then a G operand in memory can be the r/m. */
static bool swap_direction(const struct viv_insn *i, struct regs *r)
{
    if (i->row->map != VIV_MAP_BASE || i->lock)
        return false;
    if (i->opcode < 0x40 && (i->opcode & 7) < 4)
        r->opcode = i->opcode ^ 2;
    else if (i->opcode >= 0x88 && i->opcode <= 0x8b)
        r->opcode = i->opcode ^ 2;
    else
        return i->opcode == 0x84 || i->opcode == 0x85;
    return true;
}

/* One register operand, not high byte. */
static bool plain(struct gen *g, struct regs *r, unsigned n, int f, bool store)
{
    const struct viv_insn *i = g->i;
    bool byte = byte_size(i, n);
    unsigned guest = byte && f < 2 ? (f ? i->rm8 : i->reg8) >> 3 : guest_of(i, f);
    unsigned host = xl_host(guest);
    /* A store of 32 bits to its memory would not clear the upper half. */
    bool in_place = !r->has_mem && !(store && !byte && i->osz == 4) && i->vex == 0 &&
                    !(store && (i->row->attr & A_SSE)) && strcmp(i->row->name, "xchg") &&
                    strcmp(i->row->name, "xadd") && strncmp(i->row->name, "bt", 2) &&
                    strncmp(i->row->name, "ro", 2); /* OF after ROL by more than 1 is another in memory */

    if (host != H_NONE) {
        *place(r, f) = host;
        if (byte && host >= 4 && host < 8)
            r->need_rex = true;
        return true;
    }
    if (in_place && f == 1 && kind(i, n) == VIV_K_E) {
        r->has_mem = true;
        r->mem = xl_home(guest);
        return true;
    }
    return bring(g, r, f, guest, store);
}

/* `op HOST, GUEST-IN-MEMORY` with G as the one in memory. */
static bool try_swap(struct gen *g, struct regs *r, unsigned writes)
{
    const struct viv_insn *i = g->i;
    unsigned guest_g, guest_e, host_e, ng = kind(i, 0) == VIV_K_G ? 0 : 1;
    bool byte = byte_size(i, ng);

    if (i->mem || kind(i, ng) != VIV_K_G || kind(i, !ng) != VIV_K_E || i->vex)
        return false;
    if (byte && ((i->reg8 | i->rm8) & 1))
        return false;
    guest_g = byte ? i->reg8 >> 3 : i->reg;
    guest_e = byte ? i->rm8 >> 3 : i->rm;
    host_e = xl_host(guest_e);
    if (xl_host(guest_g) != H_NONE || host_e == H_NONE)
        return false;
    if ((writes >> ng & 1) && !byte && i->osz == 4)
        return false;
    if (!swap_direction(i, r))
        return false;
    r->reg = host_e;
    r->has_mem = true;
    r->mem = xl_home(guest_g);
    r->need_rex = byte && host_e >= 4 && host_e < 8;
    return true;
}

/* High byte registers. The one that is written must be AH, DH or BH and nothing else may need REX. */
static bool high_bytes(struct gen *g, struct regs *r, unsigned writes)
{
    const struct viv_insn *i = g->i;
    int written = -1;

    if (writes & 2)
        return false;
    for (unsigned n = 0; n < 2; n++) {
        int f = field(i, n);
        unsigned off = f == 0 ? i->reg8 : i->rm8;

        if (f < 0 || f > 1 || !byte_size(i, n) || !(off & 1) || !(writes >> n & 1))
            continue;
        if (off >> 3 == VIV_RCX)
            return false;
        written = f;
        *place(r, f) = 4 + (off >> 3);
        r->no_rex = true;
    }
    if (r->no_rex && r->has_mem)
        r->mem = viv_xl_into_cx(g, r->mem), r->free &= ~(1u << H_CX);
    for (unsigned n = 0; n < 2; n++) {
        int f = field(i, n);
        unsigned off = f == 0 ? i->reg8 : i->rm8, scratch;

        if (f < 0 || f == written)
            continue;
        if (!byte_size(i, n) || !(off & 1)) {
            if (!r->no_rex) {
                if (!plain(g, r, n, f, writes >> n & 1))
                    return false;
                continue;
            }
            /* Beside AH: AL, DL, BL as they are, else CL will do. */
            if (xl_host(off >> 3) <= H_BX) {
                *place(r, f) = xl_host(off >> 3);
                continue;
            }
            if (!(r->free >> H_CX & 1))
                return false;
            if (xl_host(off >> 3) == H_NONE)
                e_load(g->e, H_CX, xl_home(off >> 3));
            else
                e_mov32(g->e, H_CX, xl_host(off >> 3));
            *place(r, f) = H_CX;
            r->free &= ~(1u << H_CX);
            continue;
        }
        if (r->no_rex) {
            if (!(r->free >> H_CX & 1))
                return false;
            scratch = H_CX;
            r->free &= ~(1u << H_CX);
        } else {
            scratch = take_scratch(g, r);
            if (scratch == H_NONE)
                return false;
        }
        e_rorx(g->e, false, scratch, xl_host(off >> 3), 8);
        *place(r, f) = scratch;
    }
    return true;
}

static bool any_high(const struct viv_insn *i)
{
    for (unsigned n = 0; n < 2; n++) {
        int f = field(i, n);

        if (f >= 0 && f < 2 && byte_size(i, n) && ((f ? i->rm8 : i->reg8) & 1))
            return true;
    }
    return false;
}

static bool registers(struct gen *g, struct regs *r)
{
    const struct viv_insn *i = g->i;
    unsigned writes = viv_xl_writes(i);

    if (any_high(i))
        return high_bytes(g, r, writes);
    if (try_swap(g, r, writes))
        return true;
    for (unsigned n = 0; n < 4; n++) {
        int f = field(i, n);

        if (f >= 0 && !plain(g, r, n, f, writes >> n & 1))
            return false;
    }
    return true;
}

/* ---- encoding ---- */

static unsigned imm_bytes(const struct viv_insn *i)
{
    unsigned n = 0;

    for (unsigned k = 0; k < 4; k++) {
        unsigned s = viv_operand_info[i->row->operand[k]].size;

        switch (kind(i, k)) {
        case VIV_K_I:
            n += s == VIV_SZ_B || s == VIV_SZ_BS ? 1 : s == VIV_SZ_W ? 2
                 : s == VIV_SZ_V                 ? i->osz
                                                 : i->osz > 4 ? 4 : i->osz;
            break;
        case VIV_K_I2: case VIV_K_L: n++; break;
        default: break;
        }
    }
    return n;
}

static void immediates(struct gen *g)
{
    const struct viv_insn *i = g->i;
    unsigned n = imm_bytes(i);
    bool is4 = false;

    for (unsigned k = 0; k < 4; k++)
        is4 |= kind(i, k) == VIV_K_L;
    if (is4)
        e8(g->e, i->imm2 & (g->lng ? 0xff : 0x7f)); /* a register: eight of them outside 64-bit mode */
    else
        for (unsigned k = 0; k < n; k++)
            e8(g->e, (unsigned)(i->imm >> 8 * k));
}

static bool has_modrm(const struct viv_insn *i)
{
    if (i->row->map != VIV_MAP_BASE && i->row->map != VIV_MAP_0F)
        return true;
    if (i->row->map == VIV_MAP_0F && i->opcode == 0xae) /* fences */
        return true;
    for (unsigned n = 0; n < 4; n++) {
        switch (kind(i, n)) {
        case VIV_K_KG: case VIV_K_KE:
        case VIV_K_E: case VIV_K_R: case VIV_K_M: case VIV_K_G: case VIV_K_V: case VIV_K_W: case VIV_K_U:
        case VIV_K_P: case VIV_K_Q: case VIV_K_N:
            return true;
        default:
            break;
        }
    }
    return false;
}

static void legacy(struct gen *g, const struct regs *r, bool modrm)
{
    const struct viv_insn *i = g->i;
    struct emit *e = g->e;
    unsigned pfx = i->row->pfx;
    unsigned rex = (i->rex & 8) | (r->need_rex ? 0x40 : 0);

    if (pfx == VIV_PFX_66 || (i->opsz_pfx && pfx != VIV_PFX_NP))
        e8(e, 0x66);
    if (pfx == VIV_PFX_F3)
        e8(e, 0xf3);
    if (pfx == VIV_PFX_F2)
        e8(e, 0xf2);
    if (i->lock)
        e8(e, 0xf0);
    if (modrm)
        rex |= r->reg >= 8 ? 4 : 0;
    rex |= r->has_mem ? rex_mem(r->mem) : r->rm >= 8 ? 1 : 0;
    if (rex)
        e8(e, 0x40 | rex);
    if (i->row->map != VIV_MAP_BASE)
        e8(e, 0x0f);
    if (i->row->map == VIV_MAP_0F38)
        e8(e, 0x38);
    if (i->row->map == VIV_MAP_0F3A)
        e8(e, 0x3a);
    if (modrm) {
        e8(e, r->opcode);
        if (r->has_mem)
            e_modrm_mem(e, r->reg, r->mem);
        else
            e_modrm_reg(e, r->reg, r->rm);
    } else {
        e8(e, kind(i, 0) == VIV_K_Z ? (r->opcode & ~7u) | (r->rm & 7) : r->opcode);
    }
}

/* Outside 64-bit mode general registers have 32 bits whatever VEX.W says (SDM 2A, 2.3.4). */
static bool vex_w(const struct gen *g)
{
    if (!g->lng && strstr(g->i->row->name, "pcmpestr")) /* lengths in EAX and EDX */
        return false;
    if (!g->lng && (g->i->row->attr & A_Y)) /* lengths of VPCMPESTRx too */
        return false;
    for (unsigned n = 0; !g->lng && n < 4; n++)
        if (viv_operand_info[g->i->row->operand[n]].size == VIV_SZ_Y)
            return false;
    return g->i->vex_w;
}

static void vex(struct gen *g, const struct regs *r, bool modrm)
{
    const struct viv_insn *i = g->i;
    static const uint8_t pp[] = {[VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3};
    unsigned map = i->row->map == VIV_MAP_0F ? 1 : i->row->map == VIV_MAP_0F38 ? 2 : 3;
    unsigned rxb = (r->reg >= 8 ? 4 : 0) | (r->has_mem ? rex_mem(r->mem) : r->rm >= 8 ? 1 : 0);

    e_vex(g->e, rxb, map, vex_w(g), r->vvvv, i->vl || (i->row->select & S_L1 && i->row->attr & A_AVX512), i->row->pfx <= VIV_PFX_F2 ? pp[i->row->pfx] : 0);
    e8(g->e, r->opcode);
    if (!modrm) /* VZEROUPPER, VZEROALL */
        return;
    if (r->has_mem)
        e_modrm_mem(g->e, r->reg, r->mem);
    else
        e_modrm_reg(g->e, r->reg, r->rm);
}

static void encode(struct gen *g, struct regs *r)
{
    const struct viv_insn *i = g->i;
    bool modrm = has_modrm(i);

    /* 40-4F are REX in 64-bit mode: INC and DEC in their long form. */
    if (i->row->map == VIV_MAP_BASE && i->opcode >= 0x40 && i->opcode < 0x50) {
        r->opcode = 0xff;
        r->reg = i->opcode >> 3 & 1;
        modrm = true;
    }
    if (i->row->map == VIV_MAP_BASE && i->opcode == 0x82)
        r->opcode = 0x80; /* its alias outside 64-bit mode */
    if (i->vex)
        vex(g, r, modrm);
    else
        legacy(g, r, modrm);
    immediates(g);
}

/* Can the host's own execution fault, once the memory is there? #DE, and alignment. */
static bool may_fault(const struct viv_insn *i, bool vector)
{
    return (vector && i->mem) || i->row->name[0] == 'd' || i->row->name[0] == 'i';
}

static void note_fault(struct gen *g)
{
    struct viv_xlate *x = g->x;

    x->faults[x->fault_count++] = (struct xl_fault){
        .at = (uint32_t)(g->e->p - x->rw),
        .off = (uint16_t)g->off,
    };
}

/* Vector and MMX state that the instruction needs, into the host's registers. False: its handler. */
static bool need_state(struct gen *g)
{
    const struct viv_insn *i = g->i;
    bool mmx = i->row->attr & A_MMX, vec = !mmx;

    if ((i->row->attr & A_AVX512) && !g->lng) /* general registers have 32 bits whatever W says, and more */
        return false;
    for (unsigned n = 0; n < 4; n++)
        vec |= kind(i, n) == VIV_K_V || kind(i, n) == VIV_K_W || kind(i, n) == VIV_K_U;
    if ((mmx && !(g->mode & XL_X87)) || (vec && !(g->mode & (i->row->attr & A_AVX512 ? XL_AVX512 : i->vex ? XL_AVX : XL_SSE))))
        return false;
    if (i->mem && (i->row->attr & A_WRITE) && (i->row->attr & A_FP)) /* VCVTPS2PH: MXCSR is changed even if the store faults */
        return false;
    if (i->mem && !i->vex && !strncmp(i->row->name, "sha", 3)) /* AMD's CPUs take a misaligned operand there, which is to be #GP */
        return false;
    if (!g->lng && !mmx && i->row->operand[0] == VIV_OP__) /* VZEROALL and VZEROUPPER leave 8 to 15 alone */
        return false;
    if (mmx)
        viv_xl_need_x87(g);
    if (vec)
        viv_xl_need_vec(g);
    return true;
}

/* There are eight MMX registers whatever REX says. */
static void mmx_registers(const struct viv_insn *i, struct regs *r)
{
    bool wide_reg = false;

    for (unsigned n = 0; n < 4; n++) {
        wide_reg |= kind(i, n) == VIV_K_V || kind(i, n) == VIV_K_G;
        if (kind(i, n) == VIV_K_Q || kind(i, n) == VIV_K_N)
            r->rm &= 7;
    }
    if (!wide_reg)
        r->reg &= 7;
}

static unsigned host_of(const struct viv_insn *i, struct regs *r, unsigned n)
{
    int f = field(i, n);

    return f >= 0 ? *place(r, f) : kind(i, n) == VIV_K_FIX ? H_AX : H_NONE;
}

static void flags_made(struct gen *g, struct regs *r, const uint8_t *made)
{
    bool registers = !r->has_mem && !r->homes && !any_high(g->i);

    viv_xl_flags_made(g, made, registers, host_of(g->i, r, 0), host_of(g->i, r, 1));
}

bool viv_xl_gen_generic(struct gen *g, bool vector)
{
    const struct viv_insn *i = g->i;
    struct regs r = {.free = 1 << H_CX | 1 << H_10 | 1 << H_11, .opcode = i->opcode};
    bool write = i->row->attr & A_WRITE, grouped = false;
    const uint8_t *made;

    if (vector && !need_state(g))
        return false;
    r.reg = i->reg;
    r.rm = i->rm;
    r.vvvv = i->vvvv;
    if (i->row->attr & A_MMX)
        mmx_registers(i, &r);
    for (unsigned n = 0; n < 4; n++) {
        unsigned size;

        if (!i->mem || (kind(i, n) != VIV_K_E && kind(i, n) != VIV_K_M && kind(i, n) != VIV_K_W &&
                        kind(i, n) != VIV_K_Q))
            continue;
        if (viv_xl_group_insn(g, &r.mem)) {
            grouped = true;
            r.has_mem = true;
            r.free = 1 << H_10 | 1 << H_11;
            continue;
        }
        size = viv_xl_mem_size(i, n);
        if (size == 0 || !viv_xl_operand(g, size, write, &r.mem))
            return false;
        r.has_mem = true;
        r.free = (write ? 0 : 1 << H_11) | (r.mem.base == H_10 ? 0 : 1 << H_10);
    }
    if (i->mem && !r.has_mem)
        return false;
    if (!registers(g, &r))
        return false;
    if (may_fault(i, vector))
        note_fault(g);
    made = g->e->p;
    encode(g, &r);
    flags_made(g, &r, made);
    for (unsigned n = 0; n < r.homes; n++)
        if (r.home[n].store)
            e_store(g->e, xl_home(r.home[n].guest), r.home[n].host);
    if (!i->mem && !(r.free >> H_CX & 1))
        g->cx = -1;
    if (grouped && write)
        viv_xl_group_stored(g, i->base);
    else if (i->mem && write)
        viv_xl_store_check(g);
    return true;
}
