/* Inside the generator. */
#ifndef VIV_TESTS_X86_SEQ_GEN_H
#define VIV_TESTS_X86_SEQ_GEN_H

#include "../common/values.h"
#include "seq.h"

/* What is known while a sequence grows. A wrong belief about a register only makes an operand fault. */
struct gen {
    uint64_t s; /* random numbers */
    struct seq *q;
    bool wide;  /* 64-bit code */
    bool calm;  /* operands lie in good memory mostly */
    uint8_t chunk;
    uint64_t val[16];
    uint16_t known;    /* registers whose value is in val */
    uint16_t reserved; /* counters of open loops: not to be written */
    uint8_t depth;     /* of macros */
    uint8_t functions; /* named by calls so far */
    int vsib_index;    /* register of the next vector index, or -1 */
    unsigned weight[CAT_COUNT + 1]; /* of categories, and of macros, in this sequence */
};

/* A memory operand: prefixes and what follows the opcode. */
struct memop {
    uint8_t seg;  /* prefix or 0 */
    bool addr32;  /* 67 */
    uint8_t mod, rm, sib, disp_bytes;
    bool has_sib, rip;
    uint8_t index_hi, base_hi; /* REX.X, REX.B */
    uint8_t index_v4;          /* EVEX.V' of a vector index */
    uint64_t target;           /* linear */
    int32_t disp;
};

/* operand.c */
uint64_t pick_target(struct gen *g, unsigned size);
/* An operand at `target`; may emit a MOV that sets up a register. */
void make_memop(struct gen *g, uint64_t target, struct memop *m);
/* With a vector index register. */
void make_vsib(struct gen *g, uint64_t target, unsigned index, struct memop *m);
/* A register that may be written. */
unsigned pick_dest(struct gen *g);
unsigned pick_known(struct gen *g);
void learn(struct gen *g, const struct viv_insn *i);

/* encode.c: false when the row cannot be encoded as wanted. */
bool encode_row(struct gen *g, const struct viv_row *r, struct item *it);
/* The same with its memory operand at a target. */
bool encode_at(struct gen *g, const struct viv_row *r, uint64_t target, struct item *it);
void random_bytes(struct gen *g, struct item *it);

/* gen.c */
struct item *emit(struct gen *g, const void *bytes, unsigned len);
struct item *emit_item(struct gen *g, const struct item *it);
void emit_category(struct gen *g, enum category c);
void emit_some(struct gen *g, unsigned n);
bool room(const struct gen *g, unsigned items);
void emit_mov(struct gen *g, unsigned reg, uint64_t value);

/* macros.c: several instructions that belong together. */
void emit_macro(struct gen *g);
void emit_string(struct gen *g);
void emit_calls(struct gen *g); /* the functions that calls name, after the end */

#endif
