/* Bytes to struct viv_insn (SDM vol. 2A chapter 2, vol. 2D appendix A).
 *
 * Prefixes, then the opcode (legacy or VEX), ModRM and SIB, then the row is chosen, then the
 * immediates its operands ask for. The row is chosen after ModRM because groups, register-only and
 * memory-only forms share opcodes; the table (table.c) knows per opcode whether there is a ModRM
 * byte at all.
 *
 * EVEX encodings go on in evex.c. What is left out: XOP and 3DNow! encodings are #UD. */
#include "cpu/x86/decode/decode_int.h"
#include "base/bytes.h"

/* False when the instruction does not fit in 15 bytes or in what was given. */
static bool need(struct dec *d, unsigned n)
{
    if (d->fail)
        return false;
    if (d->pos + n > VIV_INSN_MAX)
        d->fail = VIV_DECODE_TOO_LONG;
    else if (d->pos + n > d->avail)
        d->fail = VIV_DECODE_MORE;
    return !d->fail;
}

static uint8_t byte(struct dec *d)
{
    return need(d, 1) ? d->p[d->pos++] : 0;
}

uint64_t viv_dec_number(struct dec *d, unsigned n)
{
    uint64_t v = 0;

    if (!need(d, n))
        return 0;
    memcpy(&v, d->p + d->pos, n); /* little endian, as the host */
    d->pos += n;
    return v;
}

static int64_t sign_extend(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;

    return (int64_t)(v << shift) >> shift;
}

static void segment_prefix(struct dec *d, uint8_t seg)
{
    /* ES, CS, SS and DS overrides are ignored in 64-bit mode, and leave an FS or GS one in force. */
    if (d->mode != VIV_MODE_LONG || seg >= VIV_FS)
        d->seg_override = seg;
}

/* True while b was a prefix. */
static bool legacy_prefix(struct dec *d, uint8_t b)
{
    struct viv_insn *i = d->i;

    switch (b) {
    case 0x66: i->opsz_pfx = true; break;
    case 0x67: d->addr67 = 1; break;
    case 0xf0: i->lock = true; break;
    case 0xf2: case 0xf3: i->rep = b; break;
    case 0x26: segment_prefix(d, VIV_ES); break;
    case 0x2e: segment_prefix(d, VIV_CS); break;
    case 0x36: segment_prefix(d, VIV_SS); break;
    case 0x3e: segment_prefix(d, VIV_DS); break;
    case 0x64: segment_prefix(d, VIV_FS); break;
    case 0x65: segment_prefix(d, VIV_GS); break;
    default: return false;
    }
    return true;
}

/* Returns the first byte after the prefixes. A REX that is not the last prefix is forgotten. */
static uint8_t prefixes(struct dec *d)
{
    struct viv_insn *i = d->i;
    uint8_t b;

    for (;;) {
        b = byte(d);
        if (legacy_prefix(d, b)) {
            i->rex = 0;
        } else if (d->mode == VIV_MODE_LONG && (b & 0xf0) == 0x40) {
            i->rex = b;
        } else {
            return b;
        }
        if (d->fail)
            return 0;
    }
}

/* C4, C5 and 62: VEX and EVEX in 64-bit mode; elsewhere LES, LDS and BOUND unless the next byte would be a
 * register form; never in real and virtual-8086 mode (SDM 2A 2.3.5, 2.7). */
static bool is_vex(struct dec *d, uint8_t b)
{
    if (b != 0xc4 && b != 0xc5 && b != 0x62)
        return false;
    if (d->mode == VIV_MODE_REAL || d->mode == VIV_MODE_V86 || !need(d, 1))
        return false;
    return d->mode == VIV_MODE_LONG || (d->p[d->pos] & 0xc0) == 0xc0;
}

static bool vex_prefix(struct dec *d, uint8_t b)
{
    static const uint8_t pp[] = {VIV_PFX_NP, VIV_PFX_66, VIV_PFX_F3, VIV_PFX_F2};
    struct viv_insn *i = d->i;
    uint8_t b1, b2, inverted;

    if (i->opsz_pfx || i->rep || i->lock || i->rex)
        return false;
    b1 = byte(d);
    if (b == 0xc5) {
        b2 = b1 & 0x7f;
        inverted = (~b1 >> 5) & 4; /* R */
        d->map = VIV_MAP_0F;
    } else {
        b2 = byte(d);
        inverted = (~b1 >> 5) & 7; /* R X B */
        if ((b1 & 0x1f) < 1 || (b1 & 0x1f) > 3)
            return false;
        d->map = VIV_MAP_0F + (b1 & 0x1f) - 1;
    }
    i->vex = b == 0xc5 ? 2 : 3;
    i->vex_w = b2 >> 7;
    i->vvvv = (~b2 >> 3) & 15;
    i->vl = b2 >> 2 & 1;
    d->pfx = pp[b2 & 3];
    if (d->mode == VIV_MODE_LONG)
        i->rex = inverted | (i->vex_w ? 8 : 0);
    d->opcode = byte(d);
    return true;
}

static void legacy_opcode(struct dec *d, uint8_t b)
{
    struct viv_insn *i = d->i;

    d->pfx = i->rep == 0xf3   ? VIV_PFX_F3
             : i->rep == 0xf2 ? VIV_PFX_F2
             : i->opsz_pfx    ? VIV_PFX_66
                              : VIV_PFX_NP;
    d->map = VIV_MAP_BASE;
    if (b == 0x0f) {
        d->map = VIV_MAP_0F;
        b = byte(d);
        if (b == 0x38 || b == 0x3a) {
            d->map = b == 0x38 ? VIV_MAP_0F38 : VIV_MAP_0F3A;
            b = byte(d);
        }
    }
    d->opcode = b;
}

/* 16-bit forms, SDM 2A table 2-1. */
static void modrm16(struct dec *d, unsigned mod, unsigned rm)
{
    static const uint8_t base[] = {VIV_RBX, VIV_RBX, VIV_RBP, VIV_RBP,
                                   VIV_RSI, VIV_RDI, VIV_RBP, VIV_RBX};
    struct viv_insn *i = d->i;

    i->base = base[rm];
    if (rm < 4)
        i->index = rm & 1 ? VIV_RDI : VIV_RSI;
    i->seg = base[rm] == VIV_RBP ? VIV_SS : VIV_DS;
    if (mod == 0 && rm == 6) {
        i->base = VIV_NO_REG;
        i->seg = VIV_DS;
        i->disp = (int16_t)viv_dec_number(d, 2);
    } else if (mod == 1) {
        i->disp = (int8_t)byte(d);
    } else if (mod == 2) {
        i->disp = (int16_t)viv_dec_number(d, 2);
    }
}

/* 32- and 64-bit forms, tables 2-2 and 2-3, 2.2.1.6 for RIP-relative. */
static void modrm32(struct dec *d, unsigned mod, unsigned rm)
{
    struct viv_insn *i = d->i;
    unsigned base = rm;

    i->base = rm | (i->rex & 1) << 3;
    if (rm == 4) {
        uint8_t sib = byte(d);

        base = sib & 7;
        i->base = base | (i->rex & 1) << 3;
        i->index = (sib >> 3 & 7) | (i->rex & 2) << 2;
        i->scale = sib >> 6;
        i->sib = true;
    }
    i->seg = i->base == VIV_RSP || i->base == VIV_RBP ? VIV_SS : VIV_DS;
    if (mod == 0 && base == 5) {
        i->seg = VIV_DS;
        i->base = rm == 5 && d->mode == VIV_MODE_LONG ? VIV_RIP_REL : VIV_NO_REG;
        i->disp = (int32_t)viv_dec_number(d, 4);
    } else if (mod == 1) {
        i->disp = (int8_t)byte(d);
    } else if (mod == 2) {
        i->disp = (int32_t)viv_dec_number(d, 4);
    }
}

/* Index 100b means none, except as a vector index: settled when the row is known. */
static void settle_index(struct viv_insn *i, const struct viv_row *row)
{
    if (i->mem && i->sib && i->index == 4 && !(row->attr & A_VSIB)) {
        i->index = VIV_NO_REG;
        i->scale = 0;
    }
}

void viv_dec_modrm(struct dec *d, bool mod_ignored)
{
    struct viv_insn *i = d->i;
    unsigned mod, rm;

    i->modrm = byte(d);
    mod = i->modrm >> 6;
    rm = i->modrm & 7;
    i->reg = (i->modrm >> 3 & 7) | (i->rex & 4) << 1;
    if (mod == 3 || mod_ignored) {
        i->rm = rm | (i->rex & 1) << 3;
        return;
    }
    i->mem = true;
    if (i->asz == 2)
        modrm16(d, mod, rm);
    else
        modrm32(d, mod, rm);
    if (d->seg_override != VIV_SEG_COUNT)
        i->seg = d->seg_override;
}

/* Operands are 32 bits unless 66 says 16. */
static bool wide_mode(const struct dec *d)
{
    return d->mode == VIV_MODE_PROT32 || d->mode == VIV_MODE_COMPAT32 || d->mode == VIV_MODE_LONG;
}

static unsigned operand_size(const struct dec *d, uint32_t attr)
{
    const struct viv_insn *i = d->i;

    if (attr & A_BYTE)
        return 1;
    if (i->vex || (attr & A_Y))
        return d->mode == VIV_MODE_LONG && (i->rex & 8) ? 8 : 4;
    if (attr & A_IO)
        return wide_mode(d) != i->opsz_pfx ? 4 : 2;
    if (d->mode == VIV_MODE_LONG) {
        if (attr & A_O64F)
            return 8;
        if (attr & A_F64)
            return i->opsz_pfx && d->amd && !(i->rex & 8) ? 2 : 8;
        if (i->rex & 8)
            return 8;
        if (attr & A_D64)
            return i->opsz_pfx ? 2 : 8;
        return i->opsz_pfx ? 2 : 4;
    }
    if (attr & A_O64F)
        return 4;
    return wide_mode(d) != i->opsz_pfx ? 4 : 2;
}

static bool modrm_fits(const struct dec *d, uint32_t sel)
{
    const struct viv_insn *i = d->i;

    if ((sel & 0xff) && !(sel & S_R(i->modrm >> 3 & 7)))
        return false;
    if ((sel & 0xff00) && (i->mem || !(sel & S_RM(i->modrm & 7))))
        return false;
    if ((sel & S_MEM) && !i->mem)
        return false;
    return !((sel & S_REG) && i->mem);
}

static bool fits(const struct dec *d, const struct viv_row *r)
{
    const struct viv_insn *i = d->i;
    uint32_t sel = r->select;
    bool w = i->vex ? i->vex_w : i->rex & 8;

    if (!modrm_fits(d, sel))
        return false;
    if (sel & (d->mode == VIV_MODE_LONG ? S_I64 : S_O64))
        return false;
    if ((sel & S_PROT) && (d->mode == VIV_MODE_REAL || d->mode == VIV_MODE_V86))
        return false;
    if ((sel & (i->vl ? S_L0 : S_L1)) || (sel & (w ? S_W0 : S_W1)))
        return false;
    if ((sel & S_V0) && i->vvvv)
        return false;
    if (sel & (S_OSZ2 | S_OSZ4 | S_OSZ8)) {
        unsigned osz = operand_size(d, r->attr);

        if (!(sel & (osz == 2 ? S_OSZ2 : osz == 4 ? S_OSZ4 : S_OSZ8)))
            return false;
    }
    return !d->cpuid || viv_cpuid_has(d->cpuid, r->feature);
}

static const struct viv_row *find_row(const struct dec *d, const struct viv_slot *s)
{
    uint8_t pass[3] = {d->pfx, VIV_PFX_NR, VIV_PFX_ANY};

    for (unsigned p = 0; p < 3; p++) {
        if (pass[p] == VIV_PFX_NR && (d->pfx == VIV_PFX_F3 || d->pfx == VIV_PFX_F2))
            continue;
        for (unsigned n = 0; n < s->count; n++) {
            const struct viv_row *r = viv_slot_row(s, n);

            if (r->pfx == pass[p] && fits(d, r))
                return r;
        }
    }
    return NULL;
}

static void immediate(struct dec *d, unsigned op)
{
    struct viv_insn *i = d->i;
    const struct viv_operand_info *o = &viv_operand_info[op];
    unsigned z = i->osz == 2 ? 2 : 4;

    switch (o->kind) {
    case VIV_K_I:
        if (o->size == VIV_SZ_B)
            i->imm = byte(d);
        else if (o->size == VIV_SZ_BS)
            i->imm = (uint64_t)(int8_t)byte(d);
        else if (o->size == VIV_SZ_W)
            i->imm = viv_dec_number(d, 2);
        else if (o->size == VIV_SZ_Z)
            i->imm = sign_extend(viv_dec_number(d, z), z);
        else
            i->imm = viv_dec_number(d, i->osz);
        break;
    case VIV_K_ONE: i->imm = 1; break;
    case VIV_K_I2: i->imm2 = byte(d); break;
    case VIV_K_L: i->imm2 = byte(d); break;
    case VIV_K_J:
        if (o->size == VIV_SZ_B)
            i->imm = (uint64_t)(int8_t)byte(d);
        else
            i->imm = sign_extend(viv_dec_number(d, z), z);
        break;
    case VIV_K_AP:
        i->imm = viv_dec_number(d, z);
        i->imm2 = viv_dec_number(d, 2);
        break;
    case VIV_K_O: i->imm = viv_dec_number(d, i->asz); break;
    default: break;
    }
}

static uint8_t byte_register(const struct viv_insn *i, uint8_t r)
{
    if (r >= 4 && r < 8 && !i->rex)
        return (r - 4) * 8 + 1;
    return r * 8;
}

void viv_dec_operands(struct dec *d, const struct viv_row *row)
{
    struct viv_insn *i = d->i;

    i->osz = operand_size(d, row->attr);
    if (d->mode != VIV_MODE_LONG)
        i->vvvv &= 7; /* ignored as a register, but 1111b where it is reserved: fits() */
    settle_index(i, row);
    for (unsigned n = 0; n < 4; n++) {
        unsigned kind = viv_operand_info[row->operand[n]].kind;

        if (kind == VIV_K_Z)
            i->rm = (i->opcode & 7) | (i->rex & 1) << 3;
        else if (kind == VIV_K_SREG)
            i->reg &= 7; /* REX.R does not count */
        else if (kind == VIV_K_X || kind == VIV_K_O)
            i->seg = d->seg_override == VIV_SEG_COUNT ? VIV_DS : d->seg_override;
        immediate(d, row->operand[n]);
    }
    i->reg8 = byte_register(i, i->reg);
    i->rm8 = byte_register(i, i->rm);
}

/* A vector index needs a SIB byte; there are eight opmask registers. */
static bool registers_fit(struct viv_insn *i, const struct viv_row *row)
{
    if (row->attr & A_VSIB)
        return i->sib && i->asz != 2;
    for (unsigned n = 0; n < 4; n++) {
        unsigned kind = viv_operand_info[row->operand[n]].kind;

        if ((kind == VIV_K_KG && i->reg > 7) || (kind == VIV_K_KH && i->vvvv > 7))
            return false;
        if (kind == VIV_K_KE)
            i->rm &= 7; /* VEX.B does not count */
    }
    return true;
}

static enum viv_decode_result choose(struct dec *d, const struct viv_slot *s)
{
    struct viv_insn *i = d->i;
    const struct viv_row *row = find_row(d, s);

    if (!row)
        return VIV_DECODE_UD;
    i->row = row;
    viv_dec_operands(d, row);
    if (d->fail)
        return d->fail;
    if (i->lock && !((row->attr & A_LOCK) && i->mem))
        return VIV_DECODE_UD;
    if ((row->attr & (A_VSIB | A_AVX512)) && !registers_fit(i, row))
        return VIV_DECODE_UD;
    i->len = d->pos;
    i->exec = row->forms ? row->forms[(i->mem ? 4 : 0) + __builtin_ctz(i->osz)] : row->exec;
    return VIV_DECODE_OK;
}

/* A register row that names STi stands for the eight encodings that start at its opcode. */
static const struct viv_slot *x87_slot(struct dec *d)
{
    static const struct viv_slot none;
    struct viv_insn *i = d->i;
    unsigned esc = d->opcode & 7, code = esc << 6 | (i->modrm & 63);
    const struct viv_slot *s;

    if (i->mem)
        return viv_slot_find(VIV_MAP_X87_MEM, esc << 3 | (i->modrm >> 3 & 7), VIV_ENC_LEGACY);
    s = viv_slot_find(VIV_MAP_X87_REG, code, VIV_ENC_LEGACY);
    if (s->count)
        return s;
    s = viv_slot_find(VIV_MAP_X87_REG, code & ~7u, VIV_ENC_LEGACY);
    if (s->count) {
        const uint8_t *op = viv_slot_row(s, 0)->operand;

        if (op[0] == VIV_OP_STi || op[1] == VIV_OP_STi)
            return s;
    }
    return &none;
}

enum viv_decode_result viv_decode(const uint8_t *bytes, unsigned avail, unsigned mode,
                                  const struct viv_cpuid *cpuid, struct viv_insn *out)
{
    static const uint8_t asz[] = {
        [VIV_MODE_REAL] = 2,   [VIV_MODE_V86] = 2,      [VIV_MODE_PROT16] = 2, [VIV_MODE_PROT32] = 4,
        [VIV_MODE_COMPAT16] = 2, [VIV_MODE_COMPAT32] = 4, [VIV_MODE_LONG] = 8,
    };
    struct dec d = {
        .p = bytes, .avail = avail, .mode = mode, .cpuid = cpuid, .i = out,
        .amd = cpuid && cpuid->kind == VIV_VENDOR_AMD, .seg_override = VIV_SEG_COUNT,
    };
    const struct viv_slot *s;
    uint8_t b;

    memset(out, 0, sizeof(*out));
    out->base = out->index = VIV_NO_REG;
    out->seg = VIV_DS;
    b = prefixes(&d);
    if (d.fail)
        return d.fail;
    if (d.seg_override != VIV_SEG_COUNT)
        out->seg = d.seg_override; /* of implicit operands; ModRM has defaults of its own */
    out->asz = !d.addr67 ? asz[mode] : asz[mode] == 4 ? 2 : 4;
    if (is_vex(&d, b)) {
        if (b == 0x62)
            return viv_dec_evex(&d);
        if (!vex_prefix(&d, b))
            return d.fail ? d.fail : VIV_DECODE_UD;
    } else {
        legacy_opcode(&d, b);
    }
    if (d.fail)
        return d.fail;
    out->opcode = d.opcode;
    s = viv_slot_find(d.map, d.opcode, out->vex ? VIV_ENC_VEX : VIV_ENC_LEGACY);
    if (s->modrm) {
        viv_dec_modrm(&d, s->mod_ignored);
        if (d.map == VIV_MAP_BASE && (d.opcode & 0xf8) == 0xd8)
            s = x87_slot(&d);
    }
    return d.fail ? d.fail : choose(&d, s);
}
