/* Decoded blocks: straight runs of instructions within one page of host memory. See docs/cpu.md.
 *
 * A block is named by the host address of its first byte and the CPU mode. It is valid while the
 * version of its page (mem/ram.h) is the one it was decoded under; a stale one is compared with
 * memory again before it is decoded anew, because pages that hold code and data change version
 * without the code changing. One cache a vCPU, no locks. */
#ifndef VIV_CPU_X86_INTERP_BLOCK_H
#define VIV_CPU_X86_INTERP_BLOCK_H

#include "cpu/x86/insn.h"
#include "cpu/x86/state.h"

#define VIV_BLOCK_INSNS 64

enum viv_block_end { /* what the last instruction may have done */
    VIV_BLOCK_PLAIN,
    VIV_BLOCK_LOOK,    /* A_END: interrupt flag, shadows, HLT: look at c->attention */
    VIV_BLOCK_CONTEXT, /* A_CTX: mode, segments, paging as well */
};

struct viv_block {
    const uint8_t *start;   /* host address of the first byte */
    const uint32_t *version_at; /* NULL: good for this once only */
    uint32_t version;
    uint16_t count;         /* instructions, at least 1 */
    uint16_t bytes;
    uint8_t mode;
    uint8_t end; /* enum viv_block_end */
    struct viv_block *next; /* in its hash chain */
    struct viv_insn *insn;  /* count of them, then `bytes` bytes of code */
};

/* Where linear addresses lead, under a value of c->code_space or c->code_space_global. */
struct viv_block_link {
    uint64_t lin;
    uint64_t key; /* viv_interp.block_key */
    struct viv_block *block;
    const uint32_t *version_at; /* block->version_at */
};

/* An instruction that crosses a page: found by where it begins, compared with memory each time it runs. */
struct viv_block_cross {
    struct viv_block block; /* start NULL: free; version_at NULL */
    struct viv_insn insn;
    uint8_t code[15];
};

#define VIV_CROSS_BITS 10
#define VIV_LINK_BITS 15 /* lazily touched: a guest that runs little code costs little */
#define VIV_HASH_BITS 17 /* the arena holds some 100,000 blocks: chains stay at about one */

struct viv_block_cache {
    struct viv_block_link link[1u << VIV_LINK_BITS];
    struct viv_block *hash[1u << VIV_HASH_BITS];
    uint8_t *arena; /* blocks, instructions and code copies, thrown away together when full */
    size_t used, size;
    unsigned most; /* instructions to decode at a time */
    struct viv_block single; /* an instruction that is not cached: not in RAM, or cut off by the CS limit */
    struct viv_insn single_insn;
    struct viv_block_cross cross[1u << VIV_CROSS_BITS];
    uint64_t flushes, decoded; /* statistics */
};

struct viv_block_cache *viv_block_cache_new(void);
void viv_block_cache_free(struct viv_block_cache *b);

/* The block at c->rip. Raises what fetching or decoding the first instruction raises. `guess`:
 * the block that was there under an older value of c->code_space, or NULL; most often it still is. */
struct viv_block *viv_block_find(struct viv_x86 *c, struct viv_block_cache *b,
                                 struct viv_block *guess);

#endif
