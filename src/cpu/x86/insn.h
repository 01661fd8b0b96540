/* A decoded instruction, and the rows it is decoded from.
 *
 * Rows are data, readable against the SDM's opcode maps (vol. 2D appendix A, and each
 * instruction's page): one line says where an encoding stands, its operands in the manual's
 * letters, what it needs and who executes it. Interpreter, translator, disassembler,
 * differential tests and documentation all derive from the same rows: decode/rows_*.def. */
#ifndef VIV_CPU_X86_INSN_H
#define VIV_CPU_X86_INSN_H

#include <stdbool.h>
#include <stdint.h>

struct viv_x86;
struct viv_insn;

/* Executes one instruction. On entry c->rip is the instruction, c->next_rip the one after it.
 * Faults are raised with viv_x86_raise(), which does not return, before any architectural state
 * has changed. */
typedef void (*viv_exec_fn)(struct viv_x86 *c, const struct viv_insn *i);

enum viv_map { /* opcode map */
    VIV_MAP_BASE, /* one byte */
    VIV_MAP_0F,
    VIV_MAP_0F38,
    VIV_MAP_0F3A,
    VIV_MAP_M5 = 5, /* EVEX only; the numbers are those of VEX and EVEX */
    VIV_MAP_M6,
    VIV_MAP_X87_MEM, /* D8-DF with a memory operand: opcode = (byte & 7) << 3 | reg */
    VIV_MAP_X87_REG, /* D8-DF with mod 3: opcode = (byte & 7) << 6 | modrm & 63 */
    VIV_MAP_COUNT
};

enum viv_pfx { /* mandatory prefix; for VEX the pp field */
    VIV_PFX_ANY,  /* 66/F2/F3 are ordinary prefixes */
    VIV_PFX_NP,   /* none of 66 F2 F3 */
    VIV_PFX_66,
    VIV_PFX_F3,
    VIV_PFX_F2,
    VIV_PFX_NR, /* neither F2 nor F3; 66 is the operand size */
};

/* A memory or register operand reference is pre-digested for speed; the raw fields stay for the
 * translator. Registers are already extended by REX/VEX. */
struct viv_insn {
    viv_exec_fn exec;
    const struct viv_row *row;
    uint64_t imm;  /* immediate, sign-extended as the row's operand says; moffs; far pointer offset */
    int32_t disp;
    uint16_t imm2;  /* ENTER's second, far pointer's selector, is4 register in bits 4-7 */
    uint8_t len;    /* bytes */
    uint8_t osz;    /* effective operand size in bytes: 2, 4, 8 (byte operands: 1, from the row) */
    uint8_t asz;    /* effective address size in bytes: 2, 4, 8 */
    uint8_t modrm;  /* raw byte, 0 when none */
    uint8_t reg;    /* modrm.reg, extended; EVEX: 0-31 where a vector, as rm, vvvv and the index of VSIB */
    uint8_t rm;     /* modrm.rm extended when mod == 3; register of a Z operand (opcode bits 0-2) */
    uint8_t reg8;   /* byte offset of `reg` and `rm` in gpr[] as byte registers: AH..BH are odd */
    uint8_t rm8;
    bool mem;       /* mod != 3: memory operand described by the following */
    uint8_t seg;    /* effective segment, overrides and BP/SP default applied */
    uint8_t base;   /* register number, VIV_NO_REG, or VIV_RIP_REL */
    uint8_t index;  /* register number or VIV_NO_REG */
    uint8_t scale;  /* 0-3 */
    bool sib;       /* a SIB byte was there */
    uint8_t rex;    /* W R X B in bits 3-0, bit 6 set when a REX prefix was there */
    uint8_t vvvv;   /* VEX register */
    uint8_t vex;    /* 0 none, 2 or 3 = C5 / C4, 4 = EVEX */
    uint8_t vl;     /* vector length: 0 = 128, 1 = 256, 2 = 512 bits; 0 where EVEX.L'L does not count */
    bool vex_w;
    bool lock;
    uint8_t rep;    /* 0, 0xf2 or 0xf3: the last one given */
    bool opsz_pfx;  /* 66 was given */
    uint8_t opcode; /* last opcode byte */
    uint8_t mask;   /* EVEX.aaa: opmask register, 0 none */
    bool zeroing;   /* EVEX.z */
    uint8_t evex_b; /* what EVEX.b asks for: enum viv_evex_b */
};

enum viv_evex_b {
    VIV_EB_NONE,
    VIV_EB_BROADCAST, /* the memory operand is one element */
    VIV_EB_SAE,       /* no exceptions, MXCSR's rounding and flags untouched */
    VIV_EB_ROUND = 4, /* + MXCSR.RC's value: no exceptions and this rounding */
};

/* Values of base and index besides register numbers: places in viv_x86.reg[], so that adding
 * them up needs no branch. */
#define VIV_RIP_REL 17 /* next_rip */
#define VIV_NO_REG  18 /* always zero */

struct viv_row {
    uint8_t map;      /* enum viv_map */
    uint8_t pfx;      /* enum viv_pfx */
    uint16_t opcode;  /* last opcode byte (x87: see enum viv_map) */
    uint32_t select;  /* S_*: which ModRM / VEX / mode shapes it takes */
    const char *name; /* mnemonic as in the manual, lower case */
    uint8_t operand[4]; /* enum viv_operand */
    uint32_t attr;      /* A_* */
    uint16_t feature;   /* enum viv_feature: #UD when the guest's CPUID lacks it */
    uint16_t evex;      /* E_*: rows_evex.def */
    viv_exec_fn exec;
    const viv_exec_fn *forms; /* instead of exec: by memory form and operand size */
};

/* Details of operands, selection and attributes: decode/row.h. */

enum viv_decode_result {
    VIV_DECODE_OK,
    VIV_DECODE_UD,     /* not an instruction of this CPU in this mode: #UD */
    VIV_DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
    VIV_DECODE_MORE,   /* needs more bytes than were given: the fetch continues on the next page */
};

struct viv_cpuid;

/* Decodes at most `avail` bytes. `mode`: enum viv_cpu_mode. Pure: any thread. */
enum viv_decode_result viv_decode(const uint8_t *bytes, unsigned avail, unsigned mode,
                                  const struct viv_cpuid *cpuid, struct viv_insn *out);

#endif
