/* The stubs: each vector row's register form, assembled by the compiler run that builds this file.
 *
 * The rows are expanded into asm statements of a function that is never called; their constants reach the assembler
 * as immediate operands. The macro below encodes any legacy or VEX row from its columns alone: so there is
 * no second list of instructions to keep in step. Registers are those of the roles in stubs.h:
 * ModRM.reg 1, ModRM.rm 2, VEX.vvvv 3, is4 0.
 *
 * viv_stub_table[row - first row of the file][W * 2 + L]: offset from viv_stubs_start, 0 when that variant does not
 * exist. */
#include "cpu/x86/interp/stubs_int.h"

/* clang-format off */
__asm__(
    ".section .text.viv_stubs, \"ax\", @progbits\n"
    ".globl viv_stubs_start\n"
    ".balign 16\n"
    "viv_stubs_start:\n"
    "  ud2\n" /* offset 0 is no stub */
    ".section .rodata.viv_stub_table, \"a\", @progbits\n"
    ".globl viv_stub_table\n"
    ".balign 16\n"
    "viv_stub_table:\n"
    ".text\n"
    /* The instruction's bytes with imm8 `im` if any. */
    ".macro viv_insn_bytes map, pfx, op, vex, modrm, imm, w, l, im\n"
    "  .if \\vex\n"
    /* C4, RXB inverted and map, W vvvv inverted L pp; VEX.vvvv is 1111b where the row has no such operand */
    "  .byte 0xc4, 0xe0 | \\map, (\\w << 7) | \\vex | (\\l << 2) | \\pfx\n"
    "  .else\n"
    "  .if \\pfx == 1\n .byte 0x66\n .endif\n"
    "  .if \\pfx == 2\n .byte 0xf3\n .endif\n"
    "  .if \\pfx == 3\n .byte 0xf2\n .endif\n"
    "  .if \\w\n .byte 0x48\n .endif\n"
    "  .byte 0x0f\n"
    "  .if \\map == 2\n .byte 0x38\n .endif\n"
    "  .if \\map == 3\n .byte 0x3a\n .endif\n"
    "  .endif\n"
    "  .byte \\op, \\modrm\n"
    "  .if \\imm\n .byte \\im\n .endif\n"
    "  ret\n"
    "  .balign 8, 0xcc\n"
    ".endm\n"
    ".macro viv_stub_variant map, pfx, op, vex, modrm, imm, w, l, use\n"
    "  .section .text.viv_stubs\n"
    "  .balign 8, 0xcc\n"
    "9:\n"
    "  .if \\use\n"
    "  .if \\imm == 1\n"
    "  viv_im = 0\n"
    "  .rept 256\n"
    "  viv_insn_bytes \\map, \\pfx, \\op, \\vex, \\modrm, \\imm, \\w, \\l, viv_im\n"
    "  viv_im = viv_im + 1\n"
    "  .endr\n"
    "  .else\n"
    "  viv_insn_bytes \\map, \\pfx, \\op, \\vex, \\modrm, \\imm, \\w, \\l, 0\n"
    "  .endif\n"
    "  .endif\n"
    "  .section .rodata.viv_stub_table\n"
    "  .if \\use\n .long 9b - viv_stubs_start\n .else\n .long 0\n .endif\n"
    "  .text\n"
    ".endm\n"
    ".macro viv_stub map, pfx, op, vex, modrm, imm, variants\n"
    "  viv_stub_variant \\map, \\pfx, \\op, \\vex, \\modrm, \\imm, 0, 0, ((\\variants) & 1)\n"
    "  viv_stub_variant \\map, \\pfx, \\op, \\vex, \\modrm, \\imm, 0, 1, ((\\variants) & 2)\n"
    "  viv_stub_variant \\map, \\pfx, \\op, \\vex, \\modrm, \\imm, 1, 0, ((\\variants) & 4)\n"
    "  viv_stub_variant \\map, \\pfx, \\op, \\vex, \\modrm, \\imm, 1, 1, ((\\variants) & 8)\n"
    ".endm\n");

#define OP_IS(op, a)      (VIV_OP_##op == VIV_OP_##a)
#define ANY2(P, a, b)     (P(a) || P(b))
#define ANY4(P, a, b, c, d) (P(a) || P(b) || P(c) || P(d))
#define IS_IB(op)  OP_IS(op, Ib)
#define IS_L(op)   (OP_IS(op, Lx) || OP_IS(op, Ldq))
#define IS_H(op)   (OP_IS(op, Hx) || OP_IS(op, Hps) || OP_IS(op, Hpd) || OP_IS(op, Hdq) ||         \
                    OP_IS(op, Hqq) || OP_IS(op, Hss) || OP_IS(op, Hsd) || OP_IS(op, Hq))
#define IS_Y(op)   (OP_IS(op, Gy) || OP_IS(op, Ey))

/* Opcode maps 1-3; VEX.pp 0 none, 1 66, 2 F3, 3 F2. */
#define PP(pfx) ((pfx) == VIV_PFX_66 ? 1 : (pfx) == VIV_PFX_F3 ? 2 : (pfx) == VIV_PFX_F2 ? 3 : 0)
#define FIRST_BIT(v) ((v) & 1 ? 0 : (v) & 2 ? 1 : (v) & 4 ? 2 : (v) & 8 ? 3 : (v) & 16 ? 4 : (v) & 32 ? 5 : (v) & 64 ? 6 : 7)
#define MODRM(sel) ((sel) & 0xff ? 0xc2 | FIRST_BIT(sel) << 3 : 0xca)
/* Byte with vvvv for VEX rows (nonzero), 0 for legacy ones. */
#define VVVV(sel, h) ((sel) & S_VEX ? (h) ? (~3 & 15) << 3 : 15 << 3 : 0)
/* Bit W * 2 + L for each variant that can be executed. W matters only to a general register. */
#define LBITS(sel) (!((sel) & S_VEX) || ((sel) & S_L0) ? 1 : (sel) & S_L1 ? 2 : 3)
#define VARIANTS(sel, y) ((sel) & S_W1 ? LBITS(sel) << 2 : (y) ? LBITS(sel) | LBITS(sel) << 2 : LBITS(sel))

#define ROW(map_, pfx_, opcode, select, name, a, b, c, d, attr, feature, exec)                      \
    __asm__ volatile("viv_stub %c0, %c1, %c2, %c3, %c4, %c5, %c6" :: "i"(VIV_MAP_##map_), "i"(PP(VIV_PFX_##pfx_)), \
        "i"(opcode), "i"(VVVV(select, ANY4(IS_H, a, b, c, d))), "i"(MODRM(select)),                \
        "i"(ANY4(IS_IB, a, b, c, d) ? 1 : ANY4(IS_L, a, b, c, d) ? 2 : 0),                         \
        "i"((select) & S_MEM ? 0 : VARIANTS(select, ANY2(IS_Y, a, b) || IS_Y(c) || ((attr) & A_Y))));

__attribute__((used, noinline, noclone)) static void emit(void)
{
#include "cpu/x86/decode/rows_mmx.def"
#include "cpu/x86/decode/rows_sse.def"
#include "cpu/x86/decode/rows_avx.def"
    __asm__ volatile(".section .text.viv_stubs\n"
                     ".globl viv_stubs_end\n"
                     "viv_stubs_end:\n"
                     ".text\n");
}
#undef ROW
/* clang-format on */
