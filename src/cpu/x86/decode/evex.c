/* EVEX encodings (SDM 2A 2.7): 62H, three bytes of payload, opcode, ModRM.
 *
 *   P0  R X B R' 0 m m m    R, X, B, R' inverted
 *   P1  W v v v v 1 p p     vvvv inverted
 *   P2  z L' L b V' a a a   V' inverted
 *
 * A row fits when prefix, W, length and features do; then b, z and aaa must be what its `evex` column takes
 * (2.7.11 and tables 2-38 to 2-43). An 8-bit displacement counts in units of the memory operand. */
#include "cpu/x86/decode/decode_int.h"
#include "cpu/x86/decode/evex.h"

struct payload {
    uint8_t p0, p1, p2;
    unsigned ll; /* L'L */
    bool b;
};

static bool payload(struct dec *d, struct payload *e)
{
    static const uint8_t pp[] = {VIV_PFX_NP, VIV_PFX_66, VIV_PFX_F3, VIV_PFX_F2};
    struct viv_insn *i = d->i;
    uint64_t v;

    if (i->opsz_pfx || i->rep || i->lock || i->rex)
        return false;
    v = viv_dec_number(d, 3);
    e->p0 = (uint8_t)v;
    e->p1 = (uint8_t)(v >> 8);
    e->p2 = (uint8_t)(v >> 16);
    if (d->fail || !(0x6e >> (e->p0 & 7) & 1) || (e->p0 & 8) || !(e->p1 & 4))
        return false;
    e->ll = e->p2 >> 5 & 3;
    e->b = e->p2 & 0x10;
    d->map = e->p0 & 7;
    d->pfx = pp[e->p1 & 3];
    i->vex = 4;
    i->vex_w = e->p1 >> 7;
    i->vvvv = (~e->p1 >> 3) & 15;
    i->mask = e->p2 & 7;
    i->zeroing = e->p2 >> 7;
    if (d->mode == VIV_MODE_LONG)
        i->rex = (~e->p0 >> 5 & 7) | (i->vex_w ? 8 : 0);
    return true;
}

/* The vector length: of a register form with b the row's, 512 bits where it has no other. */
static bool length(struct dec *d, const struct viv_row *r, const struct payload *e)
{
    struct viv_insn *i = d->i;
    bool any = !(r->select & (S_L0 | S_L1 | S_L2));

    if (e->b && !i->mem) { /* L'L is rounding, or ignored */
        i->vl = r->evex & E_NOVL ? 0 : 2;
    } else {
        if (e->ll == 3)
            return false;
        i->vl = any && (r->evex & E_NOVL) ? 0 : (uint8_t)e->ll;
    }
    return any || (r->select & (i->vl == 0 ? S_L0 : i->vl == 1 ? S_L1 : S_L2));
}

static bool feature(const struct dec *d, const struct viv_row *r)
{
    if (!d->cpuid)
        return true;
    if (d->i->vl < 2 && !(r->evex & E_NOVL) && !viv_cpuid_has(d->cpuid, VIV_FT_AVX512VL))
        return false;
    return viv_cpuid_has(d->cpuid, r->feature);
}

static bool fits(struct dec *d, const struct viv_row *r, const struct payload *e)
{
    const struct viv_insn *i = d->i;
    uint32_t sel = r->select;

    if (r->pfx != d->pfx)
        return false;
    if ((sel & 0xff) && !(sel & S_R(i->modrm >> 3 & 7)))
        return false;
    if ((sel & (i->mem ? S_REG : S_MEM)) || (sel & (i->vex_w ? S_W0 : S_W1)))
        return false;
    if ((sel & S_V0) && i->vvvv)
        return false;
    if ((sel & S_O64) && d->mode != VIV_MODE_LONG)
        return false;
    return length(d, r, e) && feature(d, r);
}

static bool memory_destination(const struct viv_row *r)
{
    unsigned kind = viv_operand_info[r->operand[0]].kind;

    return kind == VIV_K_W || kind == VIV_K_VM;
}

/* b, z and aaa as the row takes them. */
static bool modifiers(struct viv_insn *i, const struct viv_row *r, const struct payload *e)
{
    if (e->b && i->mem) {
        if (!(r->evex & (E_BCW | E_BCD | E_BCQ)))
            return false;
        i->evex_b = VIV_EB_BROADCAST;
    } else if (e->b) {
        if (!(r->evex & (E_ER | E_SAE)))
            return false;
        i->evex_b = r->evex & E_ER ? VIV_EB_ROUND + e->ll : VIV_EB_SAE;
    }
    if (i->mask ? !(r->evex & E_MASK) : (r->evex & E_K) != 0)
        return false;
    return !i->zeroing || (i->mask && (r->evex & E_Z) && !(i->mem && memory_destination(r)));
}

/* VFMULCPH, VFMADDCPH and family: the destination must be none of the sources. */
static bool complex_product(const struct viv_row *r)
{
    return r->map == VIV_MAP_M6 && (r->opcode & 0x7e) == 0x56;
}

/* Fifth bits of register numbers. R' counts for vectors and is reserved elsewhere; X does for a vector in modrm.rm; V' for a vector in
 * vvvv, or as the index. */
static bool registers(struct dec *d, const struct viv_row *r, const struct payload *e)
{
    struct viv_insn *i = d->i;
    unsigned r4 = ~e->p0 & 0x10u, v4 = (~e->p2 & 8u) << 1, x4 = (~e->p0 & 0x40u) >> 2;
    bool vsib = r->attr & A_VSIB, uses_v = vsib;

    if (d->mode != VIV_MODE_LONG) {
        if (v4)
            return false;
        r4 = x4 = 0;
    }
    for (unsigned n = 0; n < 4; n++) {
        switch (viv_operand_info[r->operand[n]].kind) {
        case VIV_K_V: i->reg |= r4; break;
        case VIV_K_G:
            if (r4)
                return false;
            break;
        case VIV_K_KG:
            if (i->reg > 7 || r4)
                return false;
            break;
        case VIV_K_KE: i->rm &= 7; break;
        case VIV_K_H:
            i->vvvv |= v4;
            uses_v = true;
            break;
        case VIV_K_W: case VIV_K_U:
            if (!i->mem)
                i->rm |= x4;
            break;
        default: break;
        }
    }
    if (vsib)
        i->index |= v4;
    if (complex_product(r) && (i->reg == i->vvvv || (!i->mem && i->reg == i->rm)))
        return false;
    return uses_v || !v4;
}

unsigned viv_evex_memory(const struct viv_insn *i)
{
    static const uint8_t bytes[] = {
        [VIV_SZ_B] = 1, [VIV_SZ_W] = 2, [VIV_SZ_D] = 4, [VIV_SZ_Q] = 8, [VIV_SZ_DQ] = 16,
        [VIV_SZ_QQ] = 32, [VIV_SZ_DB] = 1, [VIV_SZ_DW] = 2,
    };
    const struct viv_row *r = i->row;

    if (i->evex_b == VIV_EB_BROADCAST)
        return r->evex & E_BCW ? 2 : r->evex & E_BCD ? 4 : 8;
    if ((r->attr & A_VSIB) || (r->evex & E_PACK))
        return E_SIZE(r->evex);
    for (unsigned n = 0; n < 4; n++) {
        const struct viv_operand_info *o = &viv_operand_info[r->operand[n]];

        if (o->kind == VIV_K_W || o->kind == VIV_K_E || o->kind == VIV_K_KE) {
            switch (o->size) {
            case VIV_SZ_X: return 16u << i->vl;
            case VIV_SZ_XH: return 8u << i->vl;
            case VIV_SZ_XQ: return 4u << i->vl;
            case VIV_SZ_XE: return 2u << i->vl;
            case VIV_SZ_Y: return i->osz;
            default: return bytes[o->size];
            }
        }
    }
    return 1;
}

enum viv_decode_result viv_dec_evex(struct dec *d)
{
    struct viv_insn *i = d->i;
    const struct viv_slot *s;
    const struct viv_row *r;
    struct payload e;
    unsigned n = 0;

    if (!payload(d, &e) || (d->cpuid && !viv_cpuid_has(d->cpuid, VIV_FT_AVX512F)))
        return d->fail ? d->fail : VIV_DECODE_UD;
    d->opcode = i->opcode = (uint8_t)viv_dec_number(d, 1);
    s = viv_slot_find(d->map, d->opcode, VIV_ENC_EVEX);
    viv_dec_modrm(d, false);
    if (d->fail)
        return d->fail;
    while (n < s->count && !fits(d, viv_slot_row(s, n), &e))
        n++;
    if (n == s->count)
        return VIV_DECODE_UD;
    i->row = r = viv_slot_row(s, n);
    viv_dec_operands(d, r);
    if (d->fail)
        return d->fail;
    if ((r->attr & A_VSIB) && (!i->sib || i->asz == 2))
        return VIV_DECODE_UD;
    if (!modifiers(i, r, &e) || !registers(d, r, &e))
        return VIV_DECODE_UD;
    if (i->mem && i->modrm >> 6 == 1)
        i->disp *= (int32_t)viv_evex_memory(i);
    i->len = d->pos;
    i->exec = r->exec;
    return VIV_DECODE_OK;
}
