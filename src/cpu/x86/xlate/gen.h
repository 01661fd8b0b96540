/* Making one block: the state of the work, and its pieces. See docs/xlate.md for the shape of the code. */
#ifndef VIV_CPU_X86_XLATE_GEN_H
#define VIV_CPU_X86_XLATE_GEN_H

#include "cpu/x86/decode/row.h"
#include "cpu/x86/xlate/xlate_int.h"

/* How an instruction is translated. */
enum xl_class {
    XC_HELPER,     /* its handler, called from the block */
    XC_HELPER_END, /* its handler, and then the dispatcher */
    XC_NOP,
    XC_GENERIC,    /* the host's own, with registers and memory operand exchanged */
    XC_VECTOR,     /* the same, on vector registers */
    XC_MMX,
    XC_X87,
    XC_X87_CONTROL, /* may change whether XL_X87 holds: ends the block unless it is done natively */
    XC_EVEX,
    XC_LEA,
    XC_SHIFT_CL,
    XC_BIT_REG,    /* BT E,G: register form only */
    XC_MOV_O,
    XC_CMPXCHG16B,
    XC_PCMPSTR,
    XC_PUSH,
    XC_POP,
    XC_LEAVE,
    XC_CALL_REL,
    XC_CALL_IND,
    XC_JMP_REL,
    XC_JMP_IND,
    XC_JCC,
    XC_JRCXZ,
    XC_LOOP,
    XC_RET,
};

void viv_xl_classes_init(void);
enum xl_class viv_xl_class(const struct viv_insn *i);
/* Which operands (bits 0-3) the row writes, of those that are registers. */
unsigned viv_xl_writes(const struct viv_insn *i);

/* What an instruction does with the arithmetic flags. */
enum xl_flags_use {
    XF_NONE,
    XF_READ,  /* and leaves them as they are */
    XF_SET,   /* all of them, whatever they were */
    XF_OTHER,
};
enum xl_flags_use viv_xl_flags_use(const struct viv_insn *i);

/* Flags that are not in the host's, and how they get there (flags.c). */
#define XL_REDO_MOST 16
struct xl_flags {
    bool lost;
    uint8_t redo_bytes;  /* host instructions; 0: none are known */
    uint8_t redo[XL_REDO_MOST];
    uint16_t regs;       /* guest registers that those read */
    bool cheap;          /* cheaper than what is saved */
    bool cx;             /* they use RCX */
};

enum cold_kind { COLD_LINK, COLD_CROSS, COLD_EXIT, COLD_FAULT, COLD_VEC, COLD_X87, COLD_PLAIN, COLD_MISS, COLD_NEAR, COLD_STORED, COLD_STORED_RIP };

struct cold { /* out-of-line code to come */
    enum cold_kind kind;
    uint8_t *jmp;     /* displacement that leads here */
    uint8_t *back;
    int32_t off;      /* where the guest goes on, from the start of the page */
    uint32_t info;    /* what a miss is about */
    uint8_t base;     /* COLD_NEAR: of [base + off]; COLD_PLAIN: the address */
    struct xl_site *site; /* COLD_CROSS */
    struct xl_flags flags;
};

#define XL_COLD 640
#define XL_INSNS 64 /* of a block at most; fewer but for tests */

struct gen {
    struct viv_xlate *x;
    struct emit *e;
    const struct viv_insn *i;
    const uint8_t *bytes; /* of the instruction */
    const uint8_t *code; /* where the block begins */
    unsigned mode;
    bool lng;
    bool loop;            /* it jumps back to itself */
    int32_t off, next; /* of the instruction and of the one after it, in the page */
#define XL_NO_BRANCH (-1) /* off: behind the last instruction */
    bool vec;          /* vector registers are known to be in the host's */
    bool x87;          /* so is x87 state; C code called from the block parks it and does not load it again */
    bool x87_page;     /* xl.x87_page is this page */
    uint8_t x87_seg;   /* what xl.x87_seg is if `x87` */
    unsigned group[16]; /* groups of accesses by base register (group.c): members to come, 0: none */
    uint32_t pending;  /* groups that have stored since the last look at their page's flags */
    bool masked;       /* the access to come must not fault: a mask may hide what would */
    int cx;            /* group whose addend RCX holds, or -1 */
    int sp;            /* what PUSH and POP have added to RSP and the host's register does not have yet */
    struct cold *cold; /* XL_COLD of them */
    unsigned colds;
    int32_t l1;        /* this mode's TLB set, from RSP */
    struct xl_flags flags;
    enum xl_flags_use use;   /* the instruction's */
    bool quiet, quiet_after; /* nobody wants the flags as they are before and after the instruction */
    bool dead[XL_INSNS + 1]; /* the same for all */
};

/* Guest register to host register, or H_NONE: it lives in memory. */
static inline unsigned xl_host(unsigned guest)
{
    static const uint8_t map[16] = {H_AX, H_8,    H_DX,   H_BX,   H_9,  H_BP, H_SI, H_DI,
                                    H_NONE, H_NONE, H_NONE, H_NONE, H_12, H_13, H_14, H_15};

    return map[guest];
}
static inline struct emem xl_home(unsigned guest)
{
    return EMEM(H_SP, (int32_t)(XL_O_GPR + 8 * guest));
}
static inline struct emem xl_word(int32_t offset)
{
    return EMEM(H_SP, offset);
}

/* A call to a thunk, by way of the common code. */
void viv_xl_call(struct gen *g, unsigned thunk);
struct cold *viv_xl_cold(struct gen *g, enum cold_kind kind, uint8_t *jmp);
void viv_xl_emit_colds(struct gen *g);
/* Indirect jump to the linear address in RCX. `last`: XL_LAST, for a target that is not canonical. */
void viv_xl_emit_jump(struct gen *g, int32_t last);

/* ---- mem.c ---- */
/* base + index << scale + disp into `to`, 64 or 32 bits wide. Uses R10 and R11. */
void viv_xl_sum(struct gen *g, unsigned to, bool wide);
/* The instruction's linear address into R10. Uses R11, RCX. False: the interpreter's (16-bit addresses). */
bool viv_xl_ea(struct gen *g);
/* Adds the segment's base to R10. Uses RCX. False: the interpreter's. */
bool viv_xl_add_base(struct gen *g);
/* The look-up of `size` bytes at [base + disp], by the slot of `base` (mem.c: near), which will be R11. Returns the jump of a
 * miss, to be patched. */
uint8_t *viv_xl_look_up(struct gen *g, unsigned base, int32_t disp, unsigned size, bool write);
/* As viv_xl_access(), at what the host register holds. R10 is free in 64-bit mode. */
struct emem viv_xl_access_at(struct gen *g, unsigned base, unsigned size, bool write);
/* Looks R10 up; returns the host operand, good until RCX or R10 change. R11 is the slot. Must come before the instruction
 * changes anything. */
struct emem viv_xl_access(struct gen *g, unsigned size, bool write);
/* The instruction's operand in memory, its address included: otherwise as viv_xl_access(). R10 is free if it is not the operand's
 * base. False: the interpreter's. */
bool viv_xl_operand(struct gen *g, unsigned size, bool write, struct emem *m);
/* Returns the jump, to be patched, that is taken if the page has flags, to which `at` points. Destroys RCX. */
uint8_t *viv_xl_if_flagged(struct gen *g, unsigned at);
/* After a store, when the instruction has done everything: has code been changed? R11: slot. Destroys RCX, R11. */
void viv_xl_store_check(struct gen *g);
void viv_xl_store_check_rip(struct gen *g, int32_t last); /* c->rip is set */
/* The whole address into RCX, so that R10 is free and no REX is needed. */
struct emem viv_xl_into_cx(struct gen *g, struct emem m);
/* Operand's bytes in memory; 0: none. */
unsigned viv_xl_mem_size(const struct viv_insn *i, unsigned operand);

/* ---- flags.c ---- */
void viv_xl_flags_plan(struct gen *g, const struct viv_insn *insn, unsigned count);
/* Before and after the instruction insn[at]. */
void viv_xl_flags_begin(struct gen *g, unsigned at);
void viv_xl_flags_end(struct gen *g);
/* The instruction has been written, from `made` on. `registers`: it has no operand in memory, and these are the host's registers. */
void viv_xl_flags_made(struct gen *g, const uint8_t *made, bool registers, unsigned dst, unsigned src);
/* May the code to come destroy the flags? */
bool viv_xl_flags_free(struct gen *g);
/* They are in the host's from here on. Destroys RCX. */
void viv_xl_flags_exact(struct gen *g);
/* The same for out-of-line code. Destroys RCX. */
void viv_xl_flags_restore(struct emit *e, const struct xl_flags *f);

/* ---- group.c ---- */
/* General registers that it changes, and those among its operands: bits. */
unsigned viv_xl_changes(const struct viv_insn *i);
unsigned viv_xl_operands(const struct viv_insn *i);
/* Before the instruction insn[at] of `count`: begins a group if it is worth while. */
void viv_xl_group_begin(struct gen *g, const struct viv_insn *insn, unsigned at, unsigned count);
/* After an instruction. */
void viv_xl_group_end(struct gen *g, bool native);
/* The host operand of an access that is a member; R10 and R11 are free. False: it is none. */
bool viv_xl_group_insn(struct gen *g, struct emem *m);
bool viv_xl_group_operand(struct gen *g, unsigned base, int32_t disp, struct emem *m);
/* PUSH, POP, CALL and RET add `n` to RSP. Within a group that may wait: viv_xl_sp_exact() makes it so; viv_xl_sp_begin() before an
 * instruction that cannot do with less. */
void viv_xl_sp_add(struct gen *g, int n);
void viv_xl_sp_exact(struct gen *g);
void viv_xl_sp_begin(struct gen *g);
/* A member has stored. */
void viv_xl_group_stored(struct gen *g, unsigned base);
/* Looks whether stores of groups have changed code; then the guest goes on at `next`. */
void viv_xl_group_settle(struct gen *g, int32_t next);
bool viv_xl_harmless(const struct gen *g);

/* ---- gen_*.c: false: not this way, nothing was emitted that matters: use the handler ---- */
bool viv_xl_gen_generic(struct gen *g, bool vector);
bool viv_xl_gen_evex(struct gen *g);
bool viv_xl_gen_lea(struct gen *g);
bool viv_xl_gen_shift_cl(struct gen *g);
bool viv_xl_gen_mov_o(struct gen *g);
bool viv_xl_gen_cmpxchg16b(struct gen *g);
bool viv_xl_gen_push(struct gen *g);
bool viv_xl_gen_pop(struct gen *g);
bool viv_xl_gen_leave(struct gen *g);
bool viv_xl_gen_branch(struct gen *g, enum xl_class k);
void viv_xl_gen_next(struct gen *g, int32_t off); /* go on at off of this page, or beyond it */
uint8_t *viv_xl_gen_space(struct gen *g, unsigned over);
void viv_xl_need_vec(struct gen *g);
/* Destroys RCX, R10, R11. */
void viv_xl_need_x87(struct gen *g);
bool viv_xl_gen_x87(struct gen *g);

#endif
