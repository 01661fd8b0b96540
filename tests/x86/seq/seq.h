/* Random sequences of instructions on two software CPUs from the same state, compared bit for bit: one takes one
 * instruction at a time (viv_interp_step, the reference), the other runs free, by the translator or by the block
 * interpreter.
 *
 *   layout.h   where things stand in the guest's memory
 *   machine.c  a machine of one CPU: memory, page tables, handlers
 *   rows.c     which decoder rows are generated, how often
 *   operand.c  memory operands and what is known of the registers
 *   encode.c   one instruction of a row
 *   gen.c      the sequence; macros.c: branches, stack, strings, self-modification
 *   place.c    addresses and branch distances: items become bytes
 *   plan.c     in which states a sequence is run, and what is changed between runs
 *   run.c      runs both machines, compares
 *   shrink.c   leaves out what a difference does not need
 *   show.c     prints */
#ifndef VIV_TESTS_X86_SEQ_H
#define VIV_TESTS_X86_SEQ_H

#include "../common/rnd.h"
#include "layout.h"

#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/decode/row.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/state.h"
#include "cpu/x86/xlate/xlate.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SEQ_ITEMS 160
#define SEQ_FUNCTION 0xf000 /* while generating: target FUNCTION + n is the n-th function */
#define SEQ_RUNS  6
#define SEQ_STEPS 4000 /* a sequence that takes more is left out: an endless loop, most likely */

enum run_mode { RUN_LONG, RUN_PROT, RUN_COMPAT };

/* What is filled in once the addresses are known. */
enum patch {
    PATCH_NONE,
    PATCH_REL8,   /* distance to the item `target`; becomes a REL32 form when too far */
    PATCH_REL32,  /* distance to the item, plus addend */
    PATCH_ADDR32, /* distance to the linear address `addr` */
    PATCH_ABS32,  /* address of the item, plus addend */
    PATCH_ABS64,
};

struct item {
    uint8_t b[16];
    uint8_t len;
    uint8_t patch, patch_at; /* enum patch, offset in b */
    bool ends;               /* nothing falls through: JMP, RET, HLT */
    uint8_t chunk;           /* of consecutive code */
    uint16_t id, target;     /* ids grow along the sequence; a target that was left out is the next one left */
    int16_t addend;
    uint32_t addr;
};

struct seq {
    uint64_t seed;
    enum run_mode mode; /* that the encodings are meant for */
    struct item item[SEQ_ITEMS];
    unsigned items;
    uint32_t chunk_at[4];          /* offset into the code pages */
    uint32_t at[SEQ_ITEMS];        /* set by place_seq: offset of each item */
    uint8_t len[SEQ_ITEMS];
    uint8_t code[CODE_BYTES], fixup[CODE_BYTES];
    uint64_t reg[16]; /* what the operands were made for */
    uint64_t fs_base, gs_base;
};

/* One run of a sequence. */
struct scene {
    enum run_mode mode;
    unsigned cpl;
    bool skip;     /* handlers return behind the instruction instead of halting */
    bool ist;
    bool warm;     /* TLB as the last run left it */
    bool keep_memory, keep_code; /* as the last run left them */
    uint64_t start;              /* RIP */
    uint64_t gpr[16], flags, fs_base, gs_base, cr0, cr4;
    struct viv_x86_fpu fpu;
    unsigned images;             /* seed of the contents of data pages */
    int dma_item;                /* changed from outside before the run; -1: none */
    uint8_t dma_byte[4];
    bool nmi;
    uint64_t breakpoint;
};

struct plan {
    unsigned runs;
    struct scene scene[SEQ_RUNS];
};

struct machine {
    struct viv_x86 *c;
    struct viv_vcpu vcpu;
    struct viv_space *mem, *io;
    uint8_t *ram;
    uint64_t mmio_hash, mmio_count;
};

/* machine.c */
void machine_make(struct machine *m, const char *name, const struct viv_cpuid *cpuid);
/* The pages that a run may change: contents to `want` where they are not, and the CPU's caches told. */
void machine_restore(struct machine *m, const uint8_t *const want[HOT_PAGES]);
void machine_put(struct machine *m, const struct scene *s);
/* Has the guest written to the pages of the system, with CR0.WP clear? */
bool machine_sys_written(const struct machine *m);
/* Puts all memory right that is not hot, but for the fixups. */
void machine_repair(struct machine *m);
void machine_fixups(struct machine *m, const uint8_t *fixup);
const uint8_t *machine_static(const struct machine *m, size_t *bytes);

/* rows.c */
enum category {
    CAT_COMMON, CAT_FLAGS, CAT_RARE, CAT_STRING, CAT_SSE, CAT_AVX, CAT_AVX512, CAT_MMX, CAT_X87, CAT_SYS, CAT_STACK, CAT_COUNT
};
/* Sequences have AVX-512, and XCR0 allows it. Set before rows_init. */
extern bool seq_avx512;
void rows_init(const struct viv_cpuid *cpuid);
const struct viv_row *rows_named(const char *name, unsigned opcode); /* opcode 0: any */
const struct viv_row *rows_pick(uint64_t *s, enum category cat);
bool rows_banned(const struct viv_insn *i); /* must not be executed: results vary */
bool rows_expected(const struct viv_row *r);
const struct viv_cpuid *rows_cpuid(void);

/* gen.c, place.c, plan.c */
struct gen_options {
    int mode; /* enum run_mode, or -1 */
};
void gen_seq(struct seq *q, uint64_t seed, const struct gen_options *o);
void place_seq(struct seq *q);
void plan_init(const struct machine *m);
void plan_make(struct plan *p, const struct seq *q);
/* The contents of the hot pages before run n; `code` (CODE_BYTES) may be changed by the plan's DMA. */
void plan_images(const struct scene *s, const uint8_t *code, const uint8_t *want[HOT_PAGES]);

/* Has the guest edited its page tables? Accessed and dirty bits do not count. */
bool plan_tables_changed(const uint8_t *low);

/* run.c */
enum verdict { SAME, DIFFERENT, LEFT_OUT };
enum engine { ENGINE_XLATE, ENGINE_INTERP };
struct run_stats {
    uint64_t sequences, runs, steps, left_out, different, shutdowns;
    uint64_t vectors[32]; /* exceptions delivered */
    uint64_t *hits; /* by row */
};
extern struct run_stats run_stats;
void run_init(enum engine e, const struct viv_cpuid *cpuid, const struct viv_xlate_opts *opts);
/* Forgets all translated code, so that a case does not depend on those before. */
void run_clean(void);
/* Says what differs on `out` if that is not NULL. */
enum verdict run_seq(const struct seq *q, const struct plan *p, FILE *out);
/* Memory that no run may change is the same in both. */
bool run_check_static(FILE *out);
/* Writes which case is running to stderr: for a signal handler. */
void run_tell_case(void);

/* shrink.c */
void shrink(struct seq *q, struct plan *p);

/* show.c */
void show_seq(const struct seq *q, FILE *out);
void show_scene(const struct scene *s, unsigned n, FILE *out);
unsigned show_differences(const struct machine *a, const struct machine *b, FILE *out);

#endif
