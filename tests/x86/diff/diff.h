/* Single instructions on the bare CPU and on the software CPU, from the same state, compared bit for bit.
 *
 *   gen.c      makes a case: bytes of one instruction, registers, memory
 *   native.c   runs it in ring 3, in this process, under TF
 *   emul.c     runs it with viv_interp_step() in a machine whose page tables mirror the same addresses
 *   compare.c  says what differs, less what undefined_flags.def and excluded.def account for
 */
#ifndef VIV_TESTS_X86_DIFF_H
#define VIV_TESTS_X86_DIFF_H

#include "../common/rnd.h"

#include "cpu/x86/cpuid.h"
#include "cpu/x86/decode/row.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/state.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Linear addresses, the same on both sides and below 2 GiB so that 32-bit code reaches them. The page after each area
 * is not mapped. */
#define CODE_BASE  0x10000000u
#define CODE_SIZE  0x2000u
#define DATA_BASE  0x20000000u /* read and write */
#define DATA_SIZE  0x2000u
#define RO_BASE    0x20003000u /* read only */
#define RO_SIZE    0x1000u
#define STACK_BASE 0x30000000u
#define STACK_SIZE 0x1000u

#define NO_FAULT 0xff

struct cpu_state {
    uint64_t gpr[16];
    uint64_t rip, flags, fs_base, gs_base;
    uint8_t fx[512] __attribute__((aligned(16))); /* FXSAVE64 layout */
    uint8_t ymm[16][16];                          /* upper halves */
    uint64_t k[8];                                /* the rest in XSAVE's order: opmasks, */
    uint8_t hi256[16][32], hi16[16][64];          /* bits 256 and up of ZMM0-15, ZMM16-31 */
};

struct outcome {
    struct cpu_state s;
    unsigned vector; /* NO_FAULT when the instruction completed */
    uint64_t error, cr2;
};

struct test_case {
    uint64_t seed;
    bool long_mode;
    uint8_t bytes[16];
    unsigned len;       /* bytes given; the instruction may be shorter */
    const char *origin; /* "row" or "bytes" */
    const struct viv_row *row; /* what our decoder makes of it, NULL: #UD */
    struct cpu_state in;
    uint8_t code[CODE_SIZE]; /* only bytes at in.rip matter; the rest is INT3 */
    uint8_t data[DATA_SIZE], stack[STACK_SIZE];
};

extern uint8_t ro_page[RO_SIZE];

/* gen.c */
struct gen_options {
    const char *row;      /* only rows of this mnemonic */
    const uint8_t *bytes; /* only these */
    unsigned len;
    int mode;             /* 32, 64, or 0: both */
    bool evex;            /* only AVX-512 */
};
void gen_init(const struct viv_cpuid *cpuid);
/* False: nothing that can be run came out of this seed. */
bool gen_case(struct test_case *t, uint64_t seed, const struct gen_options *o);
unsigned gen_rows(const struct viv_row ***list); /* rows that user code can execute here */
void gen_decode(const struct test_case *t, struct viv_insn *i, enum viv_decode_result *r);

/* filter.c: must not be run natively, or cannot give the same result. The reason, or NULL. */
const char *filter_bytes(const uint8_t *p, unsigned len, bool long_mode);

/* native.c */
void native_init(void);
void native_run(const struct test_case *t, struct outcome *o);
extern uint8_t *native_data, *native_stack;

/* emul.c */
void emul_init(const struct viv_cpuid *cpuid);
void emul_run(const struct test_case *t, struct outcome *o);
extern uint8_t *emul_data, *emul_stack;

/* compare.c: the number of differences, printed to `out` when not NULL. -1: excluded, *why names the table
 * entry. */
int compare(const struct test_case *t, const struct outcome *native, const struct outcome *emul,
            FILE *out, const char **why);
void print_case(const struct test_case *t, FILE *out);

#endif
