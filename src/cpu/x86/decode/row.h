/* What the columns of a row mean.
 *
 *   ROW(map, pfx, opcode, select, "name", op1, op2, op3, op4, attr, feature, exec)
 *
 * map      BASE 0F 0F38 0F3A M5 M6 X87_MEM X87_REG                  (enum viv_map)
 * pfx      ANY NP 66 F3 F2 NR                                       (enum viv_pfx)
 * opcode   last opcode byte; x87: MEM (byte & 7) << 3 | reg, REG (byte & 7) << 6 | (modrm & 63)
 * select   0, or S_* or-ed: which ModRM, VEX and mode shapes the row takes. A row with S_VEX is
 *          VEX-only, one with S_EVEX EVEX-only, one without legacy-only.
 * name     mnemonic as in the manual, lower case
 * op1..4   operands in the manual's letters (SDM 2D appendix A.2), _ when there is none
 * attr     0, or A_* or-ed
 * feature  NONE or a symbol of cpuid_features.def; without it the row does not exist, and a
 *          later match may (LZCNT without its bit is BSR with an ignored prefix): otherwise #UD
 * exec     handler: viv_exec_<exec>(struct viv_x86 *, const struct viv_insn *)
 *
 *   ROWF(..., forms)   as ROW; the last column names an array viv_forms_<forms>[8] of handlers,
 *                      indexed by (memory operand ? 4 : 0) + log2(operand size): 1 2 4 8 bytes
 *
 *   ROWE(map, pfx, opcode, select, "name", op1, op2, op3, op4, attr, evex, feature, exec)
 *                      as ROW, of rows_evex.def; evex: 0, or E_* or-ed
 *
 * Matching, for one map and opcode: rows with the exact prefix first (F3/F2 beats 66), then NR,
 * then ANY, in file order; the first whose select and feature fit wins; none: #UD. In NP, 66, F3
 * and F2 rows the prefix is part of the opcode, except that F3/F2 rows still take 66 as the
 * operand size. */
#ifndef VIV_CPU_X86_DECODE_ROW_H
#define VIV_CPU_X86_DECODE_ROW_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/insn.h"

/* Select: bits 0-7 allowed values of modrm.reg (none set: all), 8-15 of modrm.rm, then the rest. */
#define S_R(n)  (1u << (n))       /* modrm.reg == n; several may be or-ed */
#define S_RM(n) (1u << ((n) + 8)) /* modrm.rm == n */
#define S_MEM   (1u << 16)        /* mod != 3 */
#define S_REG   (1u << 17)        /* mod == 3 */
#define S_O64   (1u << 18)        /* only in 64-bit mode */
#define S_I64   (1u << 19)        /* not in 64-bit mode */
#define S_PROT  (1u << 20)        /* not in real and virtual-8086 mode */
#define S_VEX   (1u << 21)        /* VEX encoded */
#define S_L0    (1u << 22)        /* VEX.L = 0; neither: any */
#define S_L1    (1u << 23)
#define S_W0    (1u << 24)        /* VEX.W or REX.W clear; neither: any */
#define S_W1    (1u << 25)        /* VEX.W or REX.W set */
#define S_OSZ2  (1u << 26)        /* effective operand size 2, 4, 8; none: any */
#define S_OSZ4  (1u << 27)
#define S_OSZ8  (1u << 28)
#define S_V0    (1u << 29)        /* VEX.vvvv unused: must be 1111b, else #UD */
#define S_EVEX  (1u << 30)        /* EVEX encoded */
#define S_L2    (1u << 31)        /* EVEX.L'L = 2; several of S_L0 S_L1 S_L2 may be or-ed there */

/* Attributes. */
#define A_LOCK  (1u << 0)  /* LOCK allowed when the first operand is memory */
#define A_D64   (1u << 1)  /* operand size defaults to 64 in 64-bit mode (66: 16) */
#define A_F64   (1u << 2)  /* near branch: 64 in 64-bit mode; 66 ignored by Intel, 16 by AMD */
#define A_BYTE  (1u << 3)  /* operand size is one byte */
#define A_JUMP  (1u << 4)  /* writes next_rip: ends the block */
#define A_END   (1u << 5)  /* ends the block: interrupt flag, shadows, serialising */
#define A_CTX   (1u << 6)  /* may change mode, CPL, segments, paging, HLT: block ends */
#define A_READ  (1u << 7)  /* reads its explicit memory operand */
#define A_WRITE (1u << 8)  /* writes its explicit memory operand */
#define A_PRIV  (1u << 9)  /* CPL 0 only (information: the handler checks) */
#define A_REP   (1u << 10) /* F2/F3 repeat it */
#define A_FW    (1u << 11) /* writes arithmetic flags */
#define A_FR    (1u << 12) /* reads arithmetic flags */
#define A_STACK (1u << 13) /* implicit stack access */
#define A_IO    (1u << 14) /* port I/O */
#define A_X87   (1u << 15) /* x87 state */
#define A_MMX   (1u << 16) /* MMX registers */
#define A_SSE   (1u << 17) /* XMM, legacy encoding (the handler checks CR0 and CR4) */
#define A_AVX   (1u << 18) /* XMM/YMM, VEX encoding (CR4.OSXSAVE, XCR0, CR0.TS) */
#define A_VSIB  (1u << 19) /* memory operand is a vector of addresses: modrm must have a SIB */
#define A_O64F  (1u << 20) /* operand size 64 in 64-bit mode, 32 elsewhere (MOV CR) */
#define A_Y     (1u << 21) /* operand size 4, or 8 with REX.W; 66 is not the operand size */
#define A_FP    (1u << 22) /* rounds by MXCSR and may raise #XM */
#define A_AVX512 (1u << 23) /* opmask or ZMM state (CR4.OSXSAVE, XCR0[7:5] too) */

/* Column evex. An element is what one bit of the opmask governs: of the destination, or of the first vector source
 * when the destination is an opmask. */
#define E_B     0u         /* elements of 1, 2, 4, 8 bytes */
#define E_W     1u
#define E_D     2u
#define E_Q     3u
#define E_SIZE(e) (1u << ((e) & 3))
#define E_BCD   (1u << 2)  /* EVEX.b with memory: one doubleword, or quadword, is broadcast */
#define E_BCQ   (1u << 3)
#define E_ER    (1u << 4)  /* EVEX.b with a register: rounding by L'L, no exceptions */
#define E_SAE   (1u << 5)  /* EVEX.b with a register: no exceptions */
#define E_MASK  (1u << 6)  /* takes an opmask; others: aaa must be 0 */
#define E_Z     (1u << 7)  /* takes zeroing, unless the destination is memory */
#define E_K     (1u << 8)  /* aaa must not be 0: gathers, scatters */
#define E_NF    (1u << 9)  /* elements masked off are accessed all the same and may fault (types E4NF, E6NF ...) */
#define E_NOVL  (1u << 10) /* scalar, or 128 bits only: no AVX512VL */
#define E_PACK  (1u << 11) /* the memory operand is as many elements as the opmask has bits: VPCOMPRESSD, VPEXPANDD */
#define E_UNIT  (1u << 12) /* the memory operand is repeated: VPBROADCASTD and family */
#define E_ALIGN (1u << 13) /* #GP when not aligned to its size */
#define E_BCW   (1u << 15) /* as E_BCD: one word */
#define E_NOAC  (1u << 14) /* no #AC even when no longer than 8 bytes */

/* Operands: X(letters, kind, size). */
#define VIV_OPERANDS(X)                                                                            \
    X(_, NONE, 0)                                                                                  \
    /* modrm.rm: general register or memory */                                                     \
    X(Eb, E, B) X(Ew, E, W) X(Ed, E, D) X(Eq, E, Q) X(Ev, E, V) X(Ey, E, Y)                        \
    X(RvMw, E, VW) /* register of the operand size, or a word in memory */                         \
    X(RdMb, E, DB) X(RdMw, E, DW) X(RyMb, E, YB) X(RyMw, E, YW)                                    \
    /* modrm.rm, register only / memory only */                                                    \
    X(Rd, R, D) X(Rq, R, Q) X(Rv, R, V) X(Ry, R, Y) X(Ro, R, O)                                    \
    X(M, M, N) X(Mb, M, B) X(Mw, M, W) X(Md, M, D) X(Mq, M, Q) X(Mv, M, V) X(My, M, Y)             \
    X(Mdq, M, DQ) X(Mqq, M, QQ) X(Mx, M, X) X(Ma, M, A) X(Mp, M, P) X(Ms, M, S)                    \
    X(Mps, M, X) X(Mpd, M, X)                                                                      \
    /* x87 memory */                                                                               \
    X(Mf32, M, D) X(Mf64, M, Q) X(Mf80, M, T) X(Mi16, M, W) X(Mi32, M, D) X(Mi64, M, Q)            \
    X(Mbcd, M, T) X(Menv, M, N) X(Msave, M, N) X(Mfx, M, N)                                        \
    /* modrm.reg: general, segment, control, debug */                                              \
    X(Gb, G, B) X(Gw, G, W) X(Gd, G, D) X(Gq, G, Q) X(Gv, G, V) X(Gy, G, Y) X(Gz, G, Z)            \
    X(Go, G, O) /* register of the address size, MOVDIR64B */                                      \
    X(Sw, SREG, W) X(Cr, CREG, O) X(Dr, DREG, O)                                                   \
    /* VEX.vvvv: general */                                                                        \
    X(By, BREG, Y)                                                                                 \
    /* low three bits of the opcode */                                                             \
    X(Zb, Z, B) X(Zv, Z, V) X(Zq, Z, Q)                                                            \
    /* immediates: byte, byte sign-extended, word, sign-extended from at most 4, full */           \
    X(Ib, I, B) X(Ibs, I, BS) X(Iw, I, W) X(Iz, I, Z) X(Iv, I, V) X(I1, ONE, B)                    \
    X(Ib2, I2, B) /* second immediate byte, in imm2: ENTER, EXTRQ/INSERTQ */                       \
    X(Jb, J, B) X(Jz, J, Z) X(Ap, AP, P)                                                           \
    /* moffs, string source and destination */                                                     \
    X(Ob, O, B) X(Ov, O, V)                                                                        \
    X(Xb, X, B) X(Xv, X, V) X(Xz, X, Z) X(Yb, Y, B) X(Yv, Y, V) X(Yz, Y, Z)                        \
    /* fixed registers */                                                                          \
    X(AL, FIX, B) X(CL, FIX, B) X(AX, FIX, W) X(DX, FIX, W) X(eAX, FIX, D) X(rAX, FIX, V)          \
    X(rCX, FIX, V) X(rDX, FIX, V)                                                                  \
    X(ES, FIXSEG, W) X(CS, FIXSEG, W) X(SS, FIXSEG, W) X(DS, FIXSEG, W) X(FS, FIXSEG, W)           \
    X(GS, FIXSEG, W)                                                                               \
    X(Fv, FLAGS, V)                                                                                \
    /* x87 registers: ST(0), ST(modrm.rm) */                                                       \
    X(ST0, ST0, T) X(STi, STI, T)                                                                  \
    /* MMX: modrm.reg, modrm.rm register or memory, register only */                               \
    X(Pq, P, Q) X(Pd, P, D) X(Qq, Q, Q) X(Qd, Q, D) X(Nq, N, Q)                                    \
    /* vector: modrm.reg V, VEX.vvvv H, modrm.rm W (register or memory) U (register), is4 L */     \
    X(Vx, V, X) X(Vps, V, X) X(Vpd, V, X) X(Vdq, V, DQ) X(Vqq, V, QQ) X(Vss, V, D) X(Vsd, V, Q)    \
    X(Vd, V, D) X(Vq, V, Q)                                                                        \
    X(Hx, H, X) X(Hps, H, X) X(Hpd, H, X) X(Hdq, H, DQ) X(Hqq, H, QQ) X(Hss, H, D) X(Hsd, H, Q)    \
    X(Hq, H, Q)                                                                                    \
    X(Wx, W, X) X(Wps, W, X) X(Wpd, W, X) X(Wdq, W, DQ) X(Wqq, W, QQ) X(Wss, W, D) X(Wsd, W, Q)    \
    X(Wd, W, D) X(Wq, W, Q) X(Ww, W, W) X(Wb, W, B)                                                \
    X(Wxh, W, XH) X(Wxq, W, XQ) X(Wxe, W, XE) /* half, quarter, eighth of the vector length */     \
    X(Ux, U, X) X(Ups, U, X) X(Upd, U, X) X(Udq, U, DQ) X(Uqq, U, QQ) X(Uss, U, D) X(Usd, U, Q)    \
    X(Uq, U, Q)                                                                                    \
    X(Lx, L, X) X(Ldq, L, DQ)                                                                      \
    X(XMM0, XMM0, DQ)                                                                              \
    X(VMx, VM, X) X(VMy, VM, X) X(VMxh, VM, XH) /* VSIB memory: index is a vector register */      \
    X(Vxh, V, XH) X(Vxq, V, XQ) X(Vxe, V, XE) X(Hxh, H, XH) X(Uxh, U, XH) /* narrower than the vector length */ \
    X(Vsh, V, W) X(Hsh, H, W) X(Wsh, W, W) X(Ush, U, W)                                            \
    /* opmask: modrm.reg, VEX.vvvv, modrm.rm register, modrm.rm register or memory */              \
    X(Kg, KG, Q) X(Kh, KH, Q) X(Ke, KE, Q) X(KMb, KE, B) X(KMw, KE, W) X(KMd, KE, D) X(KMq, KE, Q)

enum viv_operand {
#define X(letters, kind, size) VIV_OP_##letters,
    VIV_OPERANDS(X)
#undef X
    VIV_OP_COUNT
};

enum viv_operand_kind {
    VIV_K_NONE, VIV_K_E, VIV_K_R, VIV_K_M, VIV_K_G, VIV_K_SREG, VIV_K_CREG, VIV_K_DREG, VIV_K_BREG,
    VIV_K_Z, VIV_K_I, VIV_K_ONE, VIV_K_I2, VIV_K_J, VIV_K_AP, VIV_K_O, VIV_K_X, VIV_K_Y, VIV_K_FIX,
    VIV_K_FIXSEG, VIV_K_FLAGS, VIV_K_ST0, VIV_K_STI, VIV_K_P, VIV_K_Q, VIV_K_N, VIV_K_V, VIV_K_H,
    VIV_K_W, VIV_K_U, VIV_K_L, VIV_K_XMM0, VIV_K_VM, VIV_K_KG, VIV_K_KH, VIV_K_KE,
};

/* Sizes: fixed ones, V operand size, Z min(operand size, 4), Y 4 or 8 by W, O 8 in 64-bit mode
 * else 4, X vector length, XH/XQ/XE its half/quarter/eighth, A two of V, P far pointer, S
 * pseudo-descriptor, pairs like DB: register size, then memory size. */
enum viv_operand_size {
    VIV_SZ_0, VIV_SZ_N = 0, VIV_SZ_B, VIV_SZ_BS, VIV_SZ_W, VIV_SZ_D, VIV_SZ_Q, VIV_SZ_T, VIV_SZ_DQ,
    VIV_SZ_QQ, VIV_SZ_V, VIV_SZ_Z, VIV_SZ_Y, VIV_SZ_O, VIV_SZ_X, VIV_SZ_XH, VIV_SZ_XQ, VIV_SZ_XE,
    VIV_SZ_A, VIV_SZ_P, VIV_SZ_S, VIV_SZ_VW, VIV_SZ_DB, VIV_SZ_DW, VIV_SZ_YB, VIV_SZ_YW,
};

struct viv_operand_info {
    const char *letters;
    uint8_t kind, size;
};
extern const struct viv_operand_info viv_operand_info[VIV_OP_COUNT];

extern const struct viv_row viv_rows[];
extern const unsigned viv_row_count;

#endif
