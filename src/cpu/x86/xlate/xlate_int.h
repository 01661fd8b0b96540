/* Inside the translator. */
#ifndef VIV_CPU_X86_XLATE_INT_H
#define VIV_CPU_X86_XLATE_INT_H

#include "cpu/x86/insn.h"
#include "cpu/x86/xlate/emit.h"
#include "cpu/x86/xlate/layout.h"
#include "cpu/x86/xlate/xlate.h"

#include <pthread.h>

#define XL_L1_LOG 16384u

struct xl_l1_log {
    unsigned logged; /* more than XL_L1_LOG: clear everything */
    uint16_t slot[XL_L1_LOG];
};

/* What a block's code depends on besides the bytes. */
enum {
    XL_LONG = 1 << 0,  /* 64-bit mode; else 32-bit and flat */
    XL_USER = 1 << 1,  /* CPL 3: the other TLB set */
    XL_SSE = 1 << 2,   /* SSE runs without #UD, #NM and with all exceptions masked */
    XL_AVX = 1 << 3,
    XL_AVX512 = 1 << 4,
    XL_FS = 1 << 5, /* 32-bit code: FS (GS) is flat from its base on, so that adding it is all */
    XL_GS = 1 << 6,
    XL_X87 = 1 << 7, /* x87 and MMX run without #NM and with all exceptions masked */
    XL_PLAIN = 1 << 14, /* without groups: group.c */
    XL_NONE = 1 << 15, /* not for the translator */
};

/* A direct jump that leads to a stub until its target is known. One to another page asks first whether it runs at the
 * linear address where it was linked, and these still lead where they led: `space` points at the question (gen_branch.c). */
struct xl_site {
    uint8_t *at;          /* its displacement (writable view) */
    uint8_t *stub;        /* where it leads when not linked (writable view); with `space`, behind the question */
    uint8_t *space;
    struct xl_block *to;
    struct xl_site *next; /* of those that lead to the same block */
    int32_t off;          /* target, from the start of the page */
    int32_t last;         /* XL_LAST of the branch; -1: it is none */
    bool plain;           /* to the block without groups */
};

struct xl_ref { /* in the list of a page */
    struct xl_block *block;
    struct xl_ref *next;
};

struct xl_block {
    const uint8_t *hva;  /* first guest byte */
    uint8_t *code;       /* where it begins (writable view); xl_page is set */
    uint8_t *entry;      /* the same from the jump cache */
    const uint8_t *hva2; /* the rest, when it crosses into another page, or NULL */
    uint8_t *space;      /* then: its question, as in struct xl_site */
    const uint32_t *version_at[2];
    uint32_t version[2];
    uint16_t mode, bytes, insns;
    bool stale;          /* its page has changed: the entry leads to the dispatcher */
    uint8_t saved[5];    /* what the entry held */
    uint8_t *stale_stub; /* where a stale entry leads (writable view) */
    struct xl_block *hash_next;
    struct xl_ref ref[2];
    struct xl_site *in;
    const uint8_t *copy; /* `bytes` bytes: the code that was translated */
};

/* Host instruction that may fault, with the guest's. Sorted by address, as code is made. */
struct xl_fault {
    uint32_t at;  /* from the start of the cache */
    uint16_t off; /* guest offset in the page */
};

#define XL_HASH_BITS 18
#define XL_PAGE_BITS 12
#define XL_WRITTEN   4096
#define XL_NOTICES   256

struct xl_page { /* blocks of one host page */
    size_t page;
    struct xl_ref *blocks;
    bool live; /* some may not be stale */
    uint64_t invalidations;
    struct xl_page *next;
};

struct viv_xlate {
    struct viv_x86 *c;
    struct viv_xlate_opts opts;
    struct viv_xlate_stats stats;

    /* Code: one file, two views. */
    uint8_t *rw, *rx;
    size_t size, start; /* bytes; first byte after the common code */
    size_t huge, huge_most; /* bytes of it that are huge pages, and may become some */
    struct emit e;
    uint8_t *jump;                /* common code: indirect jump to RCX (writable view) */
    uint8_t *common[XL_T_COUNT];  /* and calls to thunks */
    uint8_t *again[2][2];         /* look-ups again: [CPL 3][write] */

    /* Everything about blocks, thrown away with them. */
    uint8_t *arena;
    size_t arena_used, arena_size;
    struct xl_fault *faults;
    unsigned fault_count, fault_most;
    struct xl_block **hash; /* 1 << XL_HASH_BITS */
    struct xl_page *pages[1u << XL_PAGE_BITS];
    void *written[XL_WRITTEN]; /* slots, 8 bytes each, of `hash` and the jump cache that are not 0 */
    unsigned written_count;        /* more than that: not known */

    /* What jump_key was made of. */
    uint64_t key, key_space, secret;
    uint32_t key_mode;
    uint64_t space, gspace; /* today's names of code_space and code_space_global */
    uint32_t random; /* random_ends */
    bool x87;        /* the host can load x87 state alone (XRSTOR) */
    unsigned allocations;
    struct cold *cold; /* translate.c's */
    uint8_t across[3 * 64]; /* what is read across two pages, as aligned as it is there */

    /* Breakpoints of a debugger outside: instructions at these offsets begin a block that nothing leads to but the dispatcher. */
    bool splits;
    unsigned break_epoch;
    uint64_t split[64]; /* a bit each */

    struct xl_l1_log l1[2];

    /* Pages whose code has changed, from any thread. */
    pthread_mutex_t notice_lock;
    unsigned notices; /* more than XL_NOTICES: everything */
    size_t notice[XL_NOTICES];
};

/* ---- cache.c ---- */
int viv_xl_cache_init(struct viv_xlate *x, struct viv_err *err);
void viv_xl_cache_fini(struct viv_xlate *x);
void viv_xl_cache_flush(struct viv_xlate *x);
/* This slot of a table that a flush empties is not 0 any more. */
void viv_xl_cache_wrote(struct viv_xlate *x, void *slot);
/* Room for one more block, flushing everything if need be. */
void viv_xl_cache_room(struct viv_xlate *x);
void *viv_xl_alloc(struct viv_xlate *x, size_t n);
struct xl_block *viv_xl_find(struct viv_xlate *x, const uint8_t *hva, unsigned mode);
/* viv_ram_mark_code(), and the page is not writable by way of the first-level TLB any more. */
uint32_t viv_xl_mark_code(struct viv_xlate *x, const uint8_t *hva);
void viv_xl_insert(struct viv_xlate *x, struct xl_block *b);
/* `global`: the target's page is mapped global. */
void viv_xl_link(struct viv_xlate *x, struct xl_site *s, struct xl_block *to, bool global);
/* Makes a question be answered with yes as long as the space is what it is now. */
void viv_xl_set_space(struct viv_xlate *x, uint8_t *space, bool global);
void viv_xl_unlink(struct xl_site *s);
/* It leads to other code now than it was made for: a new one takes its place. */
void viv_xl_forget(struct viv_xlate *x, struct xl_block *b);
/* The page may have changed: its blocks are looked at again before they run. */
void viv_xl_page_changed(struct viv_xlate *x, size_t page);
void viv_xl_take_notices(struct viv_xlate *x);
/* Is this host address in the cache, and if so, which guest instruction does it belong to? */
bool viv_xl_fault_at(struct viv_xlate *x, uintptr_t host, unsigned *off);

/* ---- breaks.c ---- */
/* The breakpoints of now; blocks that go on across a new one are forgotten. */
void viv_xl_take_breaks(struct viv_xlate *x);
/* Is there a breakpoint of a debugger at c->rip? */
bool viv_xl_at_break(const struct viv_xlate *x);

/* Does an instruction at this address, or offset in its page, begin a block of its own? */
static inline bool viv_xl_splits(const struct viv_xlate *x, uint64_t at)
{
    return __builtin_expect(x->splits, 0) && (x->split[(at & 4095) / 64] >> at % 64 & 1);
}

/* ---- translate.c ---- */
/* Makes the block at hva; NULL when its first instruction cannot be translated. */
struct xl_block *viv_xl_translate(struct viv_xlate *x, const uint8_t *hva, uint64_t rip, unsigned mode);
void viv_xl_common_code(struct viv_xlate *x);

/* ---- thunks.S and what it calls (helpers.c) ---- */
void viv_xl_enter(struct viv_x86 *c, const void *code);
uint64_t viv_xl_miss(struct viv_x86 *c, uint64_t lin, uint32_t info);
uint64_t viv_xl_group_miss(struct viv_x86 *c, uint64_t lin, uint32_t info);
void viv_xl_stored(struct viv_x86 *c, uint8_t *flags);
bool viv_xl_exec(struct viv_x86 *c, const struct viv_insn *i, unsigned off);
bool viv_xl_exec_end(struct viv_x86 *c, const struct viv_insn *i, unsigned off);
/* Nothing is to be looked at, and the names suit what the CPU is now: translated code may go on at c->rip (engine.c). */
bool viv_xl_go_on(struct viv_x86 *c);
extern const uint8_t viv_xl_t_group[], viv_xl_t_exit[], viv_xl_t_link[], viv_xl_t_jump_miss[], viv_xl_t_jump_at[], viv_xl_t_cross[],
    viv_xl_t_miss[], viv_xl_t_stored[], viv_xl_t_stored_rip[], viv_xl_t_exec[], viv_xl_t_exec_end[],
    viv_xl_t_vec[], viv_xl_t_fault[], viv_xl_t_x87[];

#endif
