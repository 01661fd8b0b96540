/* Writes the table of features.S from the decoder's rows: one encoding of every row that needs a CPUID feature, and the place
 * of every feature in CPUID as symbols. A row whose encoding this cannot make ends the program: none is forgotten. */
#include "base/units.h"
#include "cpu/x86/decode/decode_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without the feature these are not undefined: the CPU ignores the prefix (or knows a hint) and does what older ones did. */
static const char *const runs_anyway[] = {"lzcnt", "tzcnt", "wbnoinvd"};

static const struct {
    const char *id;
    uint16_t feature;
} features[] = {
#define _(word, bit, id, name) {#id, VIV_FT_##id},
#include "cpu/x86/cpuid_features.def"
#undef _
};

static const struct {
    uint32_t leaf, sub, reg;
} words[] = {
#define _(id, text, leaf, sub, reg) {leaf, sub, reg},
    VIV_CPUID_WORDS(_)
#undef _
};

struct code {
    uint8_t byte[32];
    unsigned len;
};

static void put(struct code *c, unsigned b)
{
    c->byte[c->len++] = (uint8_t)b;
}

static bool has_kind(const struct viv_row *r, enum viv_operand_kind kind)
{
    for (unsigned n = 0; n < 4; n++) {
        if (viv_operand_info[r->operand[n]].kind == kind)
            return true;
    }
    return false;
}

static unsigned lowest(unsigned bits)
{
    return bits ? (unsigned)__builtin_ctz(bits) : 0;
}

static bool wants_memory(const struct viv_row *r)
{
    if (r->select & (S_MEM | S_REG))
        return r->select & S_MEM;
    if (r->select & 0xff00)
        return false;
    return has_kind(r, VIV_K_M) || has_kind(r, VIV_K_E) || has_kind(r, VIV_K_W) || has_kind(r, VIV_K_Q) ||
           has_kind(r, VIV_K_VM);
}

static void put_modrm(struct code *c, const struct viv_row *r)
{
    unsigned reg = r->select & 0xff ? lowest(r->select & 0xff) : 1;
    unsigned rm = r->select & 0xff00 ? lowest(r->select >> 8 & 0xff) : 2;

    if (!wants_memory(r)) {
        put(c, 0xc0 | reg << 3 | rm);
    } else if (has_kind(r, VIV_K_VM)) {
        put(c, reg << 3 | 4);
        put(c, 2 << 3 | 7); /* (%rdi,%xmm2,1) */
    } else {
        put(c, reg << 3 | 7); /* (%rdi) */
    }
}

static void put_immediates(struct code *c, const struct viv_row *r)
{
    for (unsigned n = 0; n < 4; n++) {
        const struct viv_operand_info *o = &viv_operand_info[r->operand[n]];
        unsigned bytes = 0;

        if (o->kind == VIV_K_I2 || o->kind == VIV_K_L)
            bytes = 1;
        else if (o->kind == VIV_K_I || o->kind == VIV_K_J)
            bytes = o->size == VIV_SZ_B || o->size == VIV_SZ_BS ? 1 : o->size == VIV_SZ_W ? 2 : 4;
        while (bytes--)
            put(c, 0);
    }
}

static unsigned pp(const struct viv_row *r)
{
    return r->pfx == VIV_PFX_66 ? 1 : r->pfx == VIV_PFX_F3 ? 2 : r->pfx == VIV_PFX_F2 ? 3 : 0;
}

static void put_vex(struct code *c, const struct viv_row *r)
{
    unsigned map = r->map - VIV_MAP_0F + 1;

    put(c, 0xc4);
    put(c, 0xe0 | map);
    put(c, (r->select & S_W1 ? 0x80 : 0) | 0xf << 3 | (r->select & S_L1 ? 4 : 0) | pp(r));
    put(c, r->opcode);
}

/* No opmask but where there must be one, the first length the row takes. */
static void put_evex(struct code *c, const struct viv_row *r)
{
    unsigned l = r->select & S_L1 ? 1 : r->select & S_L2 ? 2 : 0;

    put(c, 0x62);
    put(c, 0xf0 | (unsigned)(r->map - VIV_MAP_0F + 1));
    put(c, (r->select & S_W1 ? 0x80 : 0) | 0xf << 3 | 4 | pp(r));
    put(c, l << 5 | 8 | (r->evex & E_K ? 1 : 0));
    put(c, r->opcode);
}

static void put_legacy(struct code *c, const struct viv_row *r)
{
    static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2};

    if (r->select & S_OSZ2)
        put(c, 0x66);
    if (pp(r))
        put(c, prefix[pp(r)]);
    if (r->select & (S_W1 | S_OSZ8))
        put(c, 0x48);
    if (r->map != VIV_MAP_BASE)
        put(c, 0x0f);
    if (r->map == VIV_MAP_0F38)
        put(c, 0x38);
    if (r->map == VIV_MAP_0F3A)
        put(c, 0x3a);
    put(c, r->opcode);
}

static void encode(struct code *c, const struct viv_row *r)
{
    unsigned encoding = r->select & S_EVEX ? VIV_ENC_EVEX : r->select & S_VEX ? VIV_ENC_VEX : VIV_ENC_LEGACY;

    c->len = 0;
    if (r->map == VIV_MAP_X87_MEM) {
        put(c, 0xd8 | r->opcode >> 3);
        put(c, (r->opcode & 7) << 3 | 7);
        return;
    }
    if (r->map == VIV_MAP_X87_REG) {
        put(c, 0xd8 | r->opcode >> 6);
        put(c, 0xc0 | (r->opcode & 63));
        return;
    }
    if (r->map > VIV_MAP_0F3A && !(r->select & S_EVEX)) {
        fprintf(stderr, "features: no encoding for row '%s' of map %u\n", r->name, r->map);
        exit(1);
    }
    if (encoding == VIV_ENC_EVEX)
        put_evex(c, r);
    else if (encoding == VIV_ENC_VEX)
        put_vex(c, r);
    else
        put_legacy(c, r);
    if (viv_slot_find(r->map, r->opcode, encoding)->modrm)
        put_modrm(c, r);
    put_immediates(c, r);
}

static bool runs(const char *name)
{
    for (size_t n = 0; n < VIV_ARRAY_SIZE(runs_anyway); n++) {
        if (!strcmp(runs_anyway[n], name))
            return true;
    }
    return false;
}

static const char *feature_id(unsigned feature)
{
    for (size_t n = 0; n < VIV_ARRAY_SIZE(features); n++) {
        if (features[n].feature == feature)
            return features[n].id;
    }
    return "NOWHERE";
}

int main(void)
{
    struct code c;

    for (size_t n = 0; n < VIV_ARRAY_SIZE(features); n++) {
        unsigned w = features[n].feature >> 5;

        printf(".set LEAF_%s, 0x%x\n.set SUB_%s, %u\n.set BIT_%s, %u\n", features[n].id, words[w].leaf, features[n].id,
               words[w].sub, features[n].id, words[w].reg << 8 | (features[n].feature & 31));
    }
    for (unsigned n = 0; n < viv_row_count; n++) {
        const struct viv_row *r = &viv_rows[n];

        if (r->feature == VIV_FT_NONE || (r->select & S_I64))
            continue;
        encode(&c, r);
        printf("entry %s, %s, \"%s", feature_id(r->feature), runs(r->name) ? "RUNS" : "UNDEFINED", r->name);
        for (unsigned i = 0; i < c.len; i++)
            printf(" %02x", c.byte[i]);
        printf("\", .byte");
        for (unsigned i = 0; i < c.len; i++)
            printf("%s 0x%02x", i ? "," : "", c.byte[i]);
        printf("\n");
    }
    return 0;
}
