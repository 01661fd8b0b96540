/* The stubs of rows_evex.def: as stubs.c, with the registers of evex.h. The writemask is k4 where the row takes one. */
#include "cpu/x86/decode/row.h"
#include "cpu/x86/interp/evex.h"

/* clang-format off */
__asm__(
    ".section .text.viv_evex_stubs, \"ax\", @progbits\n"
    ".globl viv_evex_stubs_start\n"
    ".balign 16\n"
    "viv_evex_stubs_start:\n"
    "  ud2\n" /* offset 0 is no stub */
    ".section .rodata.viv_evex_stub_table, \"a\", @progbits\n"
    ".globl viv_evex_stub_table\n"
    ".balign 16\n"
    "viv_evex_stub_table:\n"
    ".text\n"
    /* `p1`: W vvvv 1 pp of EVEX, W vvvv 0 pp of VEX; `aaa`: -1 for VEX. */
    ".macro viv_evex_bytes map, p1, op, modrm, imm, l, aaa, im\n"
    "  .if \\aaa >= 0\n"
    "  .byte 0x62, 0xf0 | \\map, \\p1, (\\l << 5) | 8 | \\aaa\n"
    "  .else\n"
    "  .byte 0xc4, 0xe0 | \\map, \\p1 | (\\l << 2)\n"
    "  .endif\n"
    "  .byte \\op, \\modrm\n"
    "  .if \\imm\n .byte \\im\n .endif\n"
    "  ret\n"
    "  .balign 8, 0xcc\n"
    ".endm\n"
    ".macro viv_evex_variant map, p1, op, modrm, imm, l, aaa, use\n"
    "  .section .text.viv_evex_stubs\n"
    "  .balign 8, 0xcc\n"
    "9:\n"
    "  .if \\use\n"
    "  .if \\imm\n"
    "  viv_im = 0\n"
    "  .rept 256\n"
    "  viv_evex_bytes \\map, \\p1, \\op, \\modrm, \\imm, \\l, \\aaa, viv_im\n"
    "  viv_im = viv_im + 1\n"
    "  .endr\n"
    "  .else\n"
    "  viv_evex_bytes \\map, \\p1, \\op, \\modrm, \\imm, \\l, \\aaa, 0\n"
    "  .endif\n"
    "  .endif\n"
    "  .section .rodata.viv_evex_stub_table\n"
    "  .if \\use\n .long 9b - viv_evex_stubs_start\n .else\n .long 0\n .endif\n"
    "  .text\n"
    ".endm\n"
    ".macro viv_evex_stub map, p1, op, modrm, imm, aaa, variants\n"
    "  .irp l, 0, 1, 2\n"
    "  viv_evex_variant \\map, \\p1, \\op, \\modrm, \\imm, \\l, \\aaa, ((\\variants) >> \\l & 1)\n"
    "  .endr\n"
    "  .irp l, 0, 1, 2\n"
    "  viv_evex_variant \\map, (0x80 | \\p1), \\op, \\modrm, \\imm, \\l, \\aaa, ((\\variants) >> (3 + \\l) & 1)\n"
    "  .endr\n"
    ".endm\n");

#define OP_IS(op, a)        (VIV_OP_##op == VIV_OP_##a)
#define ANY3(P, b, c, d)    (P(b) || P(c) || P(d))
#define IS_IB(op)           OP_IS(op, Ib)
#define IS_Y(op)            (OP_IS(op, Gy) || OP_IS(op, Ey))
#define IS_VVVV(op)         (OP_IS(op, Hx) || OP_IS(op, Hxh) || OP_IS(op, Hdq) || OP_IS(op, Hsh) || OP_IS(op, Hss) || OP_IS(op, Hsd) || OP_IS(op, Kh))
#define PP(pfx) ((pfx) == VIV_PFX_66 ? 1 : (pfx) == VIV_PFX_F3 ? 2 : (pfx) == VIV_PFX_F2 ? 3 : 0)
#define FIRST_BIT(v) ((v) & 1 ? 0 : (v) & 2 ? 1 : (v) & 4 ? 2 : (v) & 8 ? 3 : (v) & 16 ? 4 : (v) & 32 ? 5 : (v) & 64 ? 6 : 7)
#define MODRM(sel) ((sel) & 0xff ? 0xc2 | FIRST_BIT(sel) << 3 : 0xca)
#define P1(pfx, sel, v) (PP(pfx) | ((v) ? (~3 & 15) << 3 : 15 << 3) | ((sel) & S_EVEX ? 4 : 0))
/* Bit W * 3 + length for each variant that can be executed. W matters only to a general register. */
#define LBITS(sel, e) ((((sel) & S_L0) || ((e) & E_NOVL) ? 1 : 0) | ((sel) & S_L1 ? 2 : 0) | ((sel) & S_L2 ? 4 : 0))
#define LENGTHS(sel, e) (LBITS(sel, e) ? LBITS(sel, e) : 7)
#define VARIANTS(sel, e, y) ((sel) & S_W1 ? LENGTHS(sel, e) << 3 : (y) ? LENGTHS(sel, e) * 9 : LENGTHS(sel, e))

#define ROWE(map_, pfx_, opcode, select, name, a, b, c, d, attr, evex, feature, exec)                  \
    __asm__ volatile("viv_evex_stub %c0, %c1, %c2, %c3, %c4, %c5, %c6" :: "i"(VIV_MAP_##map_),         \
        "i"(P1(VIV_PFX_##pfx_, select, IS_VVVV(a) || ANY3(IS_VVVV, b, c, d))), "i"(opcode),            \
        "i"(MODRM(select)), "i"(ANY3(IS_IB, b, c, d)),                                                 \
        "i"((select) & S_VEX ? -1 : (evex) & E_MASK ? 4 : 0),                                          \
        "i"((attr) & A_VSIB ? 0 : VARIANTS(select, evex, IS_Y(a) || IS_Y(b) || IS_Y(c))));

__attribute__((used, noinline, noclone)) static void emit(void)
{
#include "cpu/x86/decode/rows_evex.def"
    __asm__ volatile(".section .text.viv_evex_stubs\n"
                     ".globl viv_evex_stubs_end\n"
                     "viv_evex_stubs_end:\n"
                     ".text\n");
}
#undef ROWE
/* clang-format on */
