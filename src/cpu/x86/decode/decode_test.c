/* The decoder against its own rows, against hand-picked encodings from the manual, and against
 * capstone over random bytes (lengths and validity; fixed seed). */
#include "cpu/x86/decode/decode_int.h"

#include <capstone/capstone.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

/* Every row must be reachable: some encoding decodes to it. Encodings are made from the row. */

struct shape {
    uint8_t bytes[32];
    unsigned len;
};

static void put(struct shape *s, uint8_t b)
{
    s->bytes[s->len++] = b;
}

static void put_vex(struct shape *s, const struct viv_row *r, unsigned vvvv)
{
    static const uint8_t pp[] = {
        [VIV_PFX_ANY] = 0, [VIV_PFX_NP] = 0, [VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3,
    };
    bool w = r->select & S_W1, l = r->select & S_L1;

    put(s, 0xc4);
    put(s, 0xe0 | (r->map - VIV_MAP_0F + 1));
    put(s, w << 7 | (~vvvv & 15) << 3 | l << 2 | pp[r->pfx]);
}

static void put_evex(struct shape *s, const struct viv_row *r, unsigned vvvv)
{
    static const uint8_t pp[] = {[VIV_PFX_NP] = 0, [VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3};
    unsigned l = r->select & S_L1 ? 1 : r->select & S_L2 ? 2 : 0;

    put(s, 0x62);
    put(s, 0xf0 | (r->map - VIV_MAP_0F + 1));
    put(s, !!(r->select & S_W1) << 7 | (~vvvv & 15) << 3 | 4 | pp[r->pfx]);
    put(s, l << 5 | 8 | (r->evex & E_K ? 1 : 0));
}

static void put_opcode(struct shape *s, const struct viv_row *r, unsigned mode)
{
    if (r->pfx == VIV_PFX_66 || (r->select & S_OSZ2 && mode != VIV_MODE_PROT16) ||
        (r->select & S_OSZ4 && (mode == VIV_MODE_PROT16)))
        put(s, 0x66);
    if (r->pfx == VIV_PFX_F3)
        put(s, 0xf3);
    if (r->pfx == VIV_PFX_F2)
        put(s, 0xf2);
    if (mode == VIV_MODE_LONG && ((r->select & S_W1) || (r->select & S_OSZ8)))
        put(s, 0x48);
    if (r->map == VIV_MAP_X87_MEM) {
        put(s, 0xd8 | r->opcode >> 3);
        return;
    }
    if (r->map == VIV_MAP_X87_REG) {
        put(s, 0xd8 | r->opcode >> 6);
        return;
    }
    if (r->map != VIV_MAP_BASE)
        put(s, 0x0f);
    if (r->map == VIV_MAP_0F38)
        put(s, 0x38);
    if (r->map == VIV_MAP_0F3A)
        put(s, 0x3a);
    put(s, (uint8_t)r->opcode);
}

static unsigned first_bit(unsigned set, unsigned otherwise)
{
    return set ? __builtin_ctz(set) : otherwise;
}

static void put_modrm(struct shape *s, const struct viv_row *r)
{
    unsigned reg = first_bit(r->select & 0xff, 1), rm = first_bit(r->select >> 8 & 0xff, r->select & S_EVEX ? 2 : 1);
    bool mem = r->map == VIV_MAP_X87_MEM || (r->select & S_MEM) || (r->attr & A_VSIB);

    if (r->map == VIV_MAP_X87_REG) {
        put(s, 0xc0 | (r->opcode & 63));
        return;
    }
    if (r->map == VIV_MAP_X87_MEM)
        reg = r->opcode & 7;
    if (r->attr & A_VSIB)
        rm = 4;
    for (unsigned n = 0; n < 4; n++)
        mem |= viv_operand_info[r->operand[n]].kind == VIV_K_M;
    put(s, (mem ? 0x00 : 0xc0) | reg << 3 | rm);
    if (r->attr & A_VSIB)
        put(s, 0x11); /* base rCX, index xmm2 */
}

static bool has_modrm(const struct viv_row *r)
{
    if (r->map >= VIV_MAP_X87_MEM)
        return true;
    return (r->select & S_EVEX) || viv_slot_find(r->map, r->opcode, r->select & S_VEX ? VIV_ENC_VEX : VIV_ENC_LEGACY)->modrm;
}

static bool decodes_to(const struct viv_row *r, unsigned mode, unsigned vvvv)
{
    struct shape s = {.len = 0};
    struct viv_insn i;

    memset(s.bytes, 0, sizeof(s.bytes));
    if (r->select & S_EVEX) {
        put_evex(&s, r, vvvv);
        put(&s, (uint8_t)r->opcode);
    } else if (r->select & S_VEX) {
        put_vex(&s, r, vvvv);
        put(&s, (uint8_t)r->opcode);
    } else {
        put_opcode(&s, r, mode);
    }
    if (has_modrm(r))
        put_modrm(&s, r);
    return viv_decode(s.bytes, sizeof(s.bytes), mode, NULL, &i) == VIV_DECODE_OK && i.row == r;
}

static void rows_reachable(void)
{
    unsigned lost = 0;

    for (unsigned n = 0; n < viv_row_count; n++) {
        const struct viv_row *r = &viv_rows[n];
        bool found = false;

        for (unsigned v = 0; v <= 3 && !found; v += 3)
            found = decodes_to(r, VIV_MODE_LONG, v) || decodes_to(r, VIV_MODE_PROT32, v) ||
                    decodes_to(r, VIV_MODE_PROT16, v);
        if (!found) {
            g_test_message("row not reachable: map %u opcode %x %s", r->map, r->opcode, r->name);
            lost++;
        }
    }
    g_assert_cmpuint(lost, ==, 0);
}

static void rows_have_handlers(void)
{
    for (unsigned n = 0; n < viv_row_count; n++) {
        const struct viv_row *r = &viv_rows[n];

        g_assert_true(r->exec || r->forms);
        g_assert_true(r->name[0]);
    }
}

/* Encodings with a known answer. */
struct known {
    const char *hex;
    uint8_t mode;
    enum viv_decode_result result;
    uint8_t len;
    const char *name;
    uint8_t osz;
};

static const struct known known[] = {
    {"90", VIV_MODE_LONG, VIV_DECODE_OK, 1, "xchg", 4},
    {"f390", VIV_MODE_LONG, VIV_DECODE_OK, 2, "pause", 4},
    {"4890", VIV_MODE_LONG, VIV_DECODE_OK, 2, "xchg", 8},
    {"4840b8", VIV_MODE_LONG, VIV_DECODE_MORE, 0, NULL, 0},
    {"40b801000000", VIV_MODE_LONG, VIV_DECODE_OK, 6, "mov", 4},
    {"48b80102030405060708", VIV_MODE_LONG, VIV_DECODE_OK, 10, "mov", 8},
    {"4866b80102", VIV_MODE_LONG, VIV_DECODE_OK, 5, "mov", 2}, /* REX not last: forgotten */
    {"40", VIV_MODE_PROT32, VIV_DECODE_OK, 1, "inc", 4},
    {"63c1", VIV_MODE_LONG, VIV_DECODE_OK, 2, "movsxd", 4},
    {"f00fb11f", VIV_MODE_LONG, VIV_DECODE_OK, 4, "cmpxchg", 4},
    {"f089d8", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},  /* LOCK MOV */
    {"f001d8", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},  /* LOCK on a register */
    {"f03b07", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},  /* LOCK CMP */
    {"06", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},
    {"d5", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},
    {"82c001", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},
    {"82c001", VIV_MODE_PROT32, VIV_DECODE_OK, 3, "add", 1},
    {"0f0b", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},
    {"f30f1efa", VIV_MODE_LONG, VIV_DECODE_OK, 4, "endbr64", 4},
    {"660f1f840000000000", VIV_MODE_LONG, VIV_DECODE_OK, 9, "nop", 2},
    {"f30fbcc1", VIV_MODE_LONG, VIV_DECODE_OK, 4, "tzcnt", 4},
    {"0fbcc1", VIV_MODE_LONG, VIV_DECODE_OK, 3, "bsf", 4},
    {"c4e278f3c9", VIV_MODE_LONG, VIV_DECODE_OK, 5, "blsr", 4},
    {"66c4e278f3c9", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0}, /* 66 before VEX */
    {"48c4e278f3c9", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0}, /* REX before VEX */
    {"c4e27cf3c9", VIV_MODE_LONG, VIV_DECODE_UD, 0, NULL, 0},   /* BLSR with L = 1 */
    {"c5f8", VIV_MODE_REAL, VIV_DECODE_UD, 0, NULL, 0},         /* LDS of a register */
    {"c506", VIV_MODE_PROT32, VIV_DECODE_OK, 2, "lds", 4},
    {"8b04", VIV_MODE_LONG, VIV_DECODE_MORE, 0, NULL, 0},
    {"8b0425785634120a", VIV_MODE_LONG, VIV_DECODE_OK, 7, "mov", 4},
    {"678b4708", VIV_MODE_REAL, VIV_DECODE_OK, 4, "mov", 2},
    {"e8010203047a", VIV_MODE_LONG, VIV_DECODE_OK, 5, "call", 8},
    {"66e801020304", VIV_MODE_LONG, VIV_DECODE_OK, 6, "call", 8}, /* Intel: prefix ignored */
    {"e80102", VIV_MODE_PROT16, VIV_DECODE_OK, 3, "call", 2},
    {"6668010203", VIV_MODE_LONG, VIV_DECODE_OK, 4, "push", 2},
    {"c8100003", VIV_MODE_LONG, VIV_DECODE_OK, 4, "enter", 8},
    {"9a0102030405", VIV_MODE_PROT32, VIV_DECODE_MORE, 0, NULL, 0},
    {"9a010203040506", VIV_MODE_PROT32, VIV_DECODE_OK, 7, "callf", 4},
    {"a10102030405060708", VIV_MODE_LONG, VIV_DECODE_OK, 9, "mov", 4},
    {"67a101020304", VIV_MODE_LONG, VIV_DECODE_OK, 6, "mov", 4},
    {"0f2200", VIV_MODE_LONG, VIV_DECODE_OK, 3, "mov", 8}, /* MOV CR: mod ignored */
    {"6666666666666666666666666666660000", VIV_MODE_LONG, VIV_DECODE_TOO_LONG, 0, NULL, 0},
    {"2e2e2e2e2e2e2e2e2e2e2e2e2e2e90", VIV_MODE_LONG, VIV_DECODE_OK, 15, "xchg", 4},
    {"2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e90", VIV_MODE_LONG, VIV_DECODE_TOO_LONG, 0, NULL, 0},
};

static unsigned from_hex(const char *hex, uint8_t *out)
{
    unsigned n = 0;

    for (; hex[0] && hex[1]; hex += 2)
        out[n++] = (uint8_t)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
    return n;
}

static void known_encodings(void)
{
    for (unsigned n = 0; n < G_N_ELEMENTS(known); n++) {
        const struct known *k = &known[n];
        uint8_t bytes[32];
        unsigned len = from_hex(k->hex, bytes);
        struct viv_insn i;
        enum viv_decode_result r = viv_decode(bytes, len, k->mode, NULL, &i);

        if (r != k->result || (r == VIV_DECODE_OK && (i.len != k->len || i.osz != k->osz ||
                                                      strcmp(i.row->name, k->name))))
            g_test_message("%s: result %d len %u osz %u %s", k->hex, r, i.len, i.osz,
                           i.row ? i.row->name : "-");
        g_assert_cmpint(r, ==, k->result);
        if (r != VIV_DECODE_OK)
            continue;
        g_assert_cmpuint(i.len, ==, k->len);
        g_assert_cmpstr(i.row->name, ==, k->name);
        g_assert_cmpuint(i.osz, ==, k->osz);
    }
}

static void addressing(void)
{
    static const uint8_t rip_rel[] = {0x8b, 0x05, 0x10, 0, 0, 0}, vsib_none[] = {0x8b, 0x04, 0x60};
    static const uint8_t fs_then_ds[] = {0x64, 0x3e, 0x8b, 0x00}, bp16[] = {0x8b, 0x46, 0xfe};
    struct viv_insn i;

    viv_decode(rip_rel, 6, VIV_MODE_LONG, NULL, &i);
    g_assert_cmpuint(i.base, ==, VIV_RIP_REL);
    g_assert_cmpint(i.disp, ==, 16);
    viv_decode(rip_rel, 6, VIV_MODE_PROT32, NULL, &i);
    g_assert_cmpuint(i.base, ==, VIV_NO_REG);
    viv_decode(vsib_none, 3, VIV_MODE_LONG, NULL, &i);
    g_assert_cmpuint(i.index, ==, VIV_NO_REG);
    viv_decode(fs_then_ds, 4, VIV_MODE_LONG, NULL, &i);
    g_assert_cmpuint(i.seg, ==, VIV_FS);
    viv_decode(fs_then_ds, 4, VIV_MODE_PROT32, NULL, &i);
    g_assert_cmpuint(i.seg, ==, VIV_DS);
    viv_decode(bp16, 3, VIV_MODE_REAL, NULL, &i);
    g_assert_cmpuint(i.seg, ==, VIV_SS);
    g_assert_cmpuint(i.base, ==, VIV_RBP);
    g_assert_cmpint(i.disp, ==, -2);
}

/* EVEX, as the GNU assembler encodes it: lengths, compressed displacements, register numbers, payload. */
struct evex_known {
    const char *hex, *name;
    int32_t disp;
    uint8_t reg, vvvv, rm, vl, mask, zeroing, evex_b;
};

static const struct evex_known evex_known[] = {
    {"62f174cb585001", "vaddps", 0x40, 2, 1, 0, 2, 3, 1, VIV_EB_NONE},
    {"62617450587001", "vaddps", 4, 30, 17, 0, 2, 0, 0, VIV_EB_BROADCAST},
    {"62f1ed7858d9", "vaddpd", 0, 3, 2, 1, 2, 0, 0, VIV_EB_ROUND + 3},
    {"62f16c19c2e903", "vcmpps", 0, 5, 2, 1, 2, 1, 0, VIV_EB_SAE},
    {"62617f097f4fff", "vmovdqu8", -16, 25, 0, 0, 0, 1, 0, VIV_EB_NONE},
    {"62f27e48324e01", "vpmovqb", 8, 1, 0, 0, 2, 0, 0, VIV_EB_NONE},
    {"62f27d42904ca001", "vpgatherdd", 4, 1, 0, 0, 2, 2, 0, VIV_EB_NONE},
    {"62f27d498b4801", "vpcompressd", 4, 1, 0, 0, 2, 1, 0, VIV_EB_NONE},
    {"62f17c485a6101", "vcvtps2pd", 0x20, 4, 0, 0, 2, 0, 0, VIV_EB_NONE},
    {"62f27d281a6101", "vbroadcastf32x4", 0x10, 4, 0, 0, 1, 0, 0, VIV_EB_NONE},
    {"6263fd0816680101", "vpextrd", 8, 29, 0, 0, 0, 0, 0, VIV_EB_NONE},
    {"6261ff08127801", "vmovddup", 8, 31, 0, 0, 0, 0, 0, VIV_EB_NONE},
    {"62f3f5483a500101", "vinserti64x4", 0x20, 2, 1, 0, 2, 0, 0, VIV_EB_NONE},
    {"62f26d1fb9d9", "vfmadd231ss", 0, 3, 2, 1, 0, 7, 0, VIV_EB_ROUND},
    {"62a3fd4025c0ff", "vpternlogq", 0, 16, 16, 16, 2, 0, 0, VIV_EB_NONE},
    {"62f1f7587bd0", "vcvtusi2sd", 0, 2, 1, 0, 0, 0, 0, VIV_EB_ROUND + 2},
    {"c4e1f8914808", "kmovq", 8, 1, 0, 0, 0, 0, 0, VIV_EB_NONE},
    {"c4e3f931d103", "kshiftrq", 0, 2, 0, 1, 0, 0, 0, VIV_EB_NONE},
    {"c4e1ec4bd9", "kunpckdq", 0, 3, 2, 1, 1, 0, 0, VIV_EB_NONE},
    {"c4c1fb92c9", "kmovq", 0, 1, 0, 9, 0, 0, 0, VIV_EB_NONE},
};

/* The same with something that must not be: all found on silicon too (tests/x86/diff). */
static const char *const evex_undefined[] = {
    "6662f174cb585001", /* 66 before EVEX */
    "62f874cb585001",   /* reserved bit of P0 */
    "62f170cb585001",   /* P1[2] clear */
    "62f1f4cb585001",   /* W */
    "62f174c8585001",   /* zeroing without opmask */
    "62f17468585001",   /* L'L = 3 */
    "62f27d5858d9",     /* b with a register: VPBROADCASTD takes neither rounding nor SAE */
    "62617f897f4fff",   /* zeroing of memory */
    "62f27d40904ca001", /* gather without opmask */
    "62f27d42904801",   /* gather without SIB */
    "62616c19c2e903",   /* R of an opmask destination */
    "62f17c405a6101",   /* V' without operand in vvvv */
    "62f174485a6101",   /* vvvv without operand */
    "c4617c4bd9",       /* R of an opmask */
};

static void evex(void)
{
    for (unsigned n = 0; n < G_N_ELEMENTS(evex_known); n++) {
        const struct evex_known *k = &evex_known[n];
        uint8_t bytes[32];
        unsigned len = from_hex(k->hex, bytes);
        struct viv_insn i;

        g_test_message("%s %s", k->hex, k->name);
        g_assert_cmpint(viv_decode(bytes, len, VIV_MODE_LONG, NULL, &i), ==, VIV_DECODE_OK);
        g_assert_cmpstr(i.row->name, ==, k->name);
        g_assert_cmpuint(i.len, ==, len);
        g_assert_cmpint(i.disp, ==, k->disp);
        g_assert_cmpuint(i.reg, ==, k->reg);
        g_assert_cmpuint(i.vvvv, ==, k->vvvv);
        g_assert_cmpuint(i.rm, ==, k->rm);
        g_assert_cmpuint(i.vl, ==, k->vl);
        g_assert_cmpuint(i.mask, ==, k->mask);
        g_assert_cmpuint(i.zeroing, ==, k->zeroing);
        g_assert_cmpuint(i.evex_b, ==, k->evex_b);
    }
    for (unsigned n = 0; n < G_N_ELEMENTS(evex_undefined); n++) {
        uint8_t bytes[32] = {0};
        struct viv_insn i;

        from_hex(evex_undefined[n], bytes);
        g_test_message("%s", evex_undefined[n]);
        g_assert_cmpint(viv_decode(bytes, 15, VIV_MODE_LONG, NULL, &i), ==, VIV_DECODE_UD);
    }
}

/* AVX512VL is asked for where the length is below 512 and counts. */
static void evex_features(void)
{
    static const uint8_t zmm[] = {0x62, 0xf1, 0x74, 0x48, 0x58, 0xd1}, xmm[] = {0x62, 0xf1, 0x74, 0x08, 0x58, 0xd1};
    static const uint8_t scalar[] = {0x62, 0xf1, 0x76, 0x08, 0x58, 0xd1}, bw[] = {0x62, 0xf1, 0x75, 0x48, 0xfc, 0xd1};
    struct viv_cpuid *m = g_new0(struct viv_cpuid, 1);
    struct viv_insn i;

    m->word[VIV_FW_NONE] = 1;
    m->kind = VIV_VENDOR_INTEL;
    g_assert_cmpint(viv_decode(zmm, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_UD);
    m->word[VIV_FW_7_EBX] = 1u << (VIV_FT_AVX512F & 31);
    g_assert_cmpint(viv_decode(zmm, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_OK);
    g_assert_cmpint(viv_decode(scalar, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_OK);
    g_assert_cmpint(viv_decode(xmm, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_UD);
    g_assert_cmpint(viv_decode(bw, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_UD);
    m->word[VIV_FW_7_EBX] |= 1u << (VIV_FT_AVX512VL & 31) | 1u << (VIV_FT_AVX512BW & 31);
    g_assert_cmpint(viv_decode(xmm, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_OK);
    g_assert_cmpint(viv_decode(bw, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_OK);
    g_free(m);
}

/* Features: LZCNT without its bit is BSR; AMD takes 66 on near branches. */
static void features(void)
{
    static const uint8_t lzcnt[] = {0xf3, 0x0f, 0xbd, 0xc1}, call66[] = {0x66, 0xe8, 1, 2, 3, 4};
    static const uint8_t movbe[] = {0x0f, 0x38, 0xf0, 0x01};
    struct viv_cpuid *m = g_new0(struct viv_cpuid, 1);
    struct viv_insn i;

    m->word[VIV_FW_NONE] = 1;
    m->kind = VIV_VENDOR_INTEL;
    g_assert_cmpint(viv_decode(lzcnt, 4, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_OK);
    g_assert_cmpstr(i.row->name, ==, "bsr");
    g_assert_cmpint(viv_decode(movbe, 4, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_UD);
    g_assert_cmpint(viv_decode(call66, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_OK);
    g_assert_cmpuint(i.len, ==, 6);
    m->kind = VIV_VENDOR_AMD;
    g_assert_cmpint(viv_decode(call66, 6, VIV_MODE_LONG, m, &i), ==, VIV_DECODE_OK);
    g_assert_cmpuint(i.len, ==, 4);
    g_assert_cmpuint(i.osz, ==, 2);
    g_free(m);
}

/* Against capstone. */

struct tally {
    struct viv_cpuid *cpuid; /* AMD with every feature: capstone shortens 66-prefixed branches as AMD does */
    csh cs;
    cs_insn *insn;
    unsigned mode;
    uint64_t same, excused, differ;
    GHashTable *kinds; /* "what us capstone" -> struct kind */
};

struct kind {
    unsigned count;
    char *example;
};

static uint64_t rng = 0x243f6a8885a308d3ull;

static uint32_t random32(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 16);
}

/* Bytes that look like instructions: some prefixes, then mostly uniform. */
static void random_bytes(uint8_t *b, bool long_mode)
{
    static const uint8_t prefix[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x64, 0xf0};
    unsigned n = 0;

    while (n < 3 && random32() % 4 == 0)
        b[n++] = prefix[random32() % G_N_ELEMENTS(prefix)];
    if (long_mode && random32() % 3 == 0)
        b[n++] = 0x40 | (random32() & 15);
    switch (random32() % 4) {
    case 0: b[n++] = 0x0f; break;
    case 1:
        if (random32() % 2) {
            b[n++] = 0x0f;
            b[n++] = random32() % 2 ? 0x38 : 0x3a;
        }
        break;
    case 2:
        if (random32() % 2) {
            b[n++] = 0xc4;
            b[n++] = (uint8_t)(0xe0 | (1 + random32() % 3));
        }
        break;
    case 3:
        if (random32() % 4 == 0) {
            b[n++] = 0x62;
            b[n++] = (uint8_t)((long_mode ? random32() & 0xf0 : 0xf0) | (1 + random32() % 3));
            b[n++] = (uint8_t)((random32() & 0x83) | 4 | (random32() % 2 ? 0x78 : random32() & 0x78));
            b[n++] = (uint8_t)((random32() & 0x6f) | 8);
        }
        break;
    default: break;
    }
    while (n < 24)
        b[n++] = (uint8_t)random32();
}

#include "cpu/x86/decode/decode_excuses.h"

static void note(struct tally *t, const char *what, const uint8_t *b, const struct viv_insn *i,
                 bool ok, bool cs_ok)
{
    char *key = g_strdup_printf("%s: us %s, capstone %s", what, ok ? i->row->name : "-",
                                cs_ok ? t->insn->mnemonic : "-");
    struct kind *k = g_hash_table_lookup(t->kinds, key);
    GString *s;

    t->differ++;
    if (k) {
        k->count++;
        g_free(key);
        return;
    }
    k = g_new0(struct kind, 1);
    k->count = 1;
    s = g_string_new(NULL);
    for (unsigned n = 0; n < 15; n++)
        g_string_append_printf(s, "%02x", b[n]);
    g_string_append_printf(s, " us %u capstone %u %s", ok ? i->len : 0, cs_ok ? t->insn->size : 0,
                           cs_ok ? t->insn->op_str : "");
    k->example = g_string_free(s, FALSE);
    g_hash_table_insert(t->kinds, key, k);
}

static void compare(struct tally *t, const uint8_t *b)
{
    struct viv_insn i;
    bool ok = viv_decode(b, 24, t->mode, t->cpuid, &i) == VIV_DECODE_OK;
    const uint8_t *p = b;
    size_t left = 24;
    uint64_t at = 0;
    bool cs_ok = cs_disasm_iter(t->cs, &p, &left, &at, t->insn);

    if (ok == cs_ok && (!ok || i.len == t->insn->size))
        t->same++;
    else if (excused(b, ok ? &i : NULL, cs_ok ? t->insn : NULL, t->mode))
        t->excused++;
    else
        note(t, ok && cs_ok ? "length" : ok ? "only us" : "only capstone", b, &i, ok, cs_ok);
}

static void report(void *key, void *value, void *opaque)
{
    struct kind *k = value;

    g_test_message("%u x %s, as %s", k->count, (const char *)key, k->example);
}

static void kind_free(void *p)
{
    g_free(((struct kind *)p)->example);
    g_free(p);
}

static void against_capstone(cs_mode cm, unsigned mode)
{
    struct tally t = {.mode = mode, .cpuid = g_new0(struct viv_cpuid, 1)};
    uint8_t b[24];
    uint64_t rounds = g_test_slow() ? 20000000 : 1000000;

    g_assert_cmpint(cs_open(CS_ARCH_X86, cm, &t.cs), ==, CS_ERR_OK);
    t.insn = cs_malloc(t.cs);
    memset(t.cpuid->word, 0xff, sizeof(t.cpuid->word));
    t.cpuid->kind = VIV_VENDOR_AMD;
    t.kinds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, kind_free);
    for (uint64_t n = 0; n < rounds; n++) {
        random_bytes(b, mode == VIV_MODE_LONG);
        compare(&t, b);
    }
    g_hash_table_foreach(t.kinds, report, NULL);
    g_test_message("%lu same, %lu differ for a known reason, %lu differ", t.same, t.excused, t.differ);
    g_assert_cmpuint(t.differ, ==, 0);
    g_hash_table_unref(t.kinds);
    g_free(t.cpuid);
    cs_free(t.insn, 1);
    cs_close(&t.cs);
}

static void capstone64(void)
{
    against_capstone(CS_MODE_64, VIV_MODE_LONG);
}
static void capstone32(void)
{
    against_capstone(CS_MODE_32, VIV_MODE_PROT32);
}
static void capstone16(void)
{
    against_capstone(CS_MODE_16, VIV_MODE_PROT16);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/decode/rows-have-handlers", rows_have_handlers);
    g_test_add_func("/decode/rows-reachable", rows_reachable);
    g_test_add_func("/decode/known", known_encodings);
    g_test_add_func("/decode/addressing", addressing);
    g_test_add_func("/decode/features", features);
    g_test_add_func("/decode/evex", evex);
    g_test_add_func("/decode/evex-features", evex_features);
    g_test_add_func("/decode/capstone-64", capstone64);
    g_test_add_func("/decode/capstone-32", capstone32);
    g_test_add_func("/decode/capstone-16", capstone16);
    return g_test_run();
}
