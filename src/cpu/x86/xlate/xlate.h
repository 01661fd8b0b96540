/* The translator: guest x86 code rewritten into host x86 code. See docs/xlate.md.
 *
 * It is an engine behind the interpreter's run loop: viv_xlate_attach() makes viv_interp_run() run translated
 * blocks instead of decoded ones; single steps, events, faults and every instruction it does not know stay
 * with the interpreter. One code cache a vCPU, used by that vCPU's thread alone: nothing here is shared
 * but the notices of changed code (viv_xlate_code_changed). */
#ifndef VIV_CPU_X86_XLATE_H
#define VIV_CPU_X86_XLATE_H

#include "base/err.h"
#include "cpu/x86/state.h"

#include <stdio.h>

struct viv_xlate;

struct viv_xlate_opts {
    uint64_t cache_bytes; /* of this vCPU's code cache; at least 256 KiB; 0: 128 MiB */
    bool perfmap;         /* append blocks to /tmp/perf-PID.map */
    FILE *log_in;         /* guest code of each new block, or NULL; borrowed */
    FILE *log_out;        /* host code of each new block, or NULL; borrowed */

    /* For tests; 0 or false: normal. */
    unsigned max_insns;     /* instructions a block, 1 to 64 */
    bool no_chain;          /* every block goes back to the dispatcher */
    bool random_ends;       /* blocks end at random instructions */
    unsigned fail_nth;      /* the n-th allocation of code space, counted over and over, fails: everything is flushed */
    bool interp_cold;       /* what is not translated yet is interpreted instead, half of the times */
};

struct viv_xlate_stats {
    uint64_t blocks;        /* alive */
    uint64_t translated;    /* since start */
    uint64_t guest_bytes, host_bytes; /* translated since start */
    uint64_t code_used, code_size;    /* of the cache, bytes */
    uint64_t flushes;       /* of the whole cache */
    uint64_t invalidations; /* blocks dropped because their code changed */
    uint64_t revalidations; /* blocks whose page changed and whose bytes had not */
    uint64_t links;         /* jumps patched */
    uint64_t dispatches;    /* block look-ups in C */
    uint64_t jump_misses;   /* indirect jumps not found in the jump cache */
    uint64_t tlb_misses;    /* slow halves of memory accesses */
    uint64_t interp_insns;  /* instructions done by the interpreter because of their operands (MMIO, page crossing) */
    uint64_t helper_calls;  /* instructions done by a handler from translated code */
    uint64_t host_faults;   /* SIGFPE, SIGSEGV in translated code */
};

/* Does the host let us make code, and has its CPU what the translator's own code needs (BMI2, LAHF in 64-bit
 * mode)? 0, or -errno with what is missing and what would help. Once; under 1 ms. */
int viv_xlate_probe(struct viv_err *why);

/* After viv_interp_init(c), on the vCPU's own thread. `opts` is copied. */
int viv_xlate_attach(struct viv_x86 *c, const struct viv_xlate_opts *opts, struct viv_err *err);
void viv_xlate_detach(struct viv_x86 *c);

/* Another thread wants this vCPU to look at its requests, which have been set. Any thread, any time. */
void viv_xlate_kick(struct viv_x86 *c);

/* vCPU stopped, or a torn number now and then. */
void viv_xlate_get_stats(const struct viv_x86 *c, struct viv_xlate_stats *out);

/* The guest pages with most translated blocks, for `info jit`: fills up to n, returns how many. vCPU stopped. */
struct viv_xlate_page {
    const uint8_t *hva;
    unsigned blocks;
    uint64_t invalidations;
};
unsigned viv_xlate_top_pages(const struct viv_x86 *c, struct viv_xlate_page *out, unsigned n);

#endif
