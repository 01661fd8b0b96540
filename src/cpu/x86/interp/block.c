/* The decoded-block cache. */
#include "cpu/x86/interp/block.h"
#include "cpu/x86/decode/row.h"
#include "cpu/x86/exc.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/mmu.h"
#include "mem/ram.h"

#include <glib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_BYTES  (64u << 20) /* reserved; touched as it fills */
#define BLOCK_MOST   (sizeof(struct viv_block) + VIV_BLOCK_INSNS * (sizeof(struct viv_insn) + 16) + 64)
#define HASH_SLOTS   VIV_ARRAY(((struct viv_block_cache *)0)->hash)
#define VIV_ARRAY(a) (sizeof(a) / sizeof((a)[0]))

struct viv_block_cache *viv_block_cache_new(void)
{
    struct viv_block_cache *b = g_try_new0(struct viv_block_cache, 1);

    if (!b)
        return NULL;
    b->size = ARENA_BYTES;
    b->most = VIV_BLOCK_INSNS;
    b->arena = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b->arena == MAP_FAILED) {
        g_free(b);
        return NULL;
    }
    return b;
}

void viv_block_cache_free(struct viv_block_cache *b)
{
    if (!b)
        return;
    munmap(b->arena, b->size);
    g_free(b);
}

static void cache_flush(struct viv_block_cache *b)
{
    memset(b->hash, 0, sizeof(b->hash));
    memset(b->link, 0, sizeof(b->link));
    b->used = 0;
    b->flushes++;
}

static unsigned hash_of(const uint8_t *start, unsigned mode)
{
    uint64_t h = ((uintptr_t)start ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull;

    return h >> (64 - VIV_HASH_BITS);
}

_Noreturn static void raise_decode(struct viv_x86 *c, enum viv_decode_result r)
{
    if (r == VIV_DECODE_TOO_LONG)
        viv_x86_raise_error(c, VIV_GP, 0);
    viv_x86_raise(c, VIV_UD);
}

/* Outside 64-bit mode every byte of an instruction lies within CS. In it code that runs over the end of the lower half
 * comes to an address that is not canonical. */
static void check_limit(struct viv_x86 *c, uint64_t rip, unsigned len)
{
    unsigned shift = c->cr4 & VIV_CR4_LA57 ? 7 : 16;
    bool bad = c->mode == VIV_MODE_LONG ? (uint64_t)((int64_t)(rip << shift) >> shift) != rip
                                        : rip + len - 1 > c->seg[VIV_CS].limit;

    if (bad)
        viv_x86_raise_error(c, VIV_GP, 0);
}

static uint64_t linear_rip(const struct viv_x86 *c)
{
    return c->mode == VIV_MODE_LONG ? c->rip : (uint32_t)(c->seg[VIV_CS].base + c->rip);
}

/* A string instruction without REP is like any other. */
static enum viv_block_end end_of(const struct viv_insn *i)
{
    uint32_t attr = i->row->attr;

    if (attr & A_CTX)
        return VIV_BLOCK_CONTEXT;
    if ((attr & A_REP) && !i->rep && !(attr & A_IO))
        return VIV_BLOCK_PLAIN;
    return attr & A_END ? VIV_BLOCK_LOOK : VIV_BLOCK_PLAIN;
}

static struct viv_block_cross *cross_of(struct viv_block_cache *b, const uint8_t *start)
{
    return &b->cross[((uintptr_t)start >> VIV_PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - VIV_CROSS_BITS)];
}

static uint64_t after(const struct viv_x86 *c, uint64_t lin, unsigned bytes)
{
    return c->mode == VIV_MODE_LONG ? lin + bytes : (uint32_t)(lin + bytes);
}

/* An instruction that begins in the last bytes of a page and was seen before. NULL: unknown, changed, or not to be
 * decided here. */
static struct viv_block *crossing(struct viv_x86 *c, struct viv_block_cache *b, uint64_t lin, const uint8_t *start)
{
    struct viv_block_cross *x = cross_of(b, start);
    unsigned have = VIV_PAGE_SIZE - (lin & (VIV_PAGE_SIZE - 1)), len = x->block.bytes;
    const uint8_t *rest;

    if (x->block.start != start || x->block.mode != c->mode || memcmp(x->code, start, have))
        return NULL;
    check_limit(c, c->rip, have + 1);
    rest = viv_mmu_host(c, after(c, lin, have), 1, VIV_ACC_EXEC);
    if (!rest || memcmp(x->code + have, rest, len - have))
        return NULL;
    check_limit(c, c->rip, len);
    return &x->block;
}

static struct viv_block *remember_crossing(struct viv_block_cache *b, const uint8_t *start, const uint8_t *code)
{
    struct viv_block_cross *x = cross_of(b, start);

    x->insn = b->single_insn;
    memcpy(x->code, code, x->insn.len);
    x->block = b->single;
    x->block.start = start;
    x->block.insn = &x->insn;
    return &x->block;
}

/* Decodes one instruction from bytes fetched one page at a time: it crosses a page, or is not in RAM (start NULL). */
static struct viv_block *single(struct viv_x86 *c, struct viv_block_cache *b, uint64_t lin, const uint8_t *start)
{
    uint8_t buf[16];
    unsigned have = VIV_PAGE_SIZE - (lin & (VIV_PAGE_SIZE - 1));
    enum viv_decode_result r;

    have = have > 15 ? 15 : have;
    viv_fetch_bytes(c, lin, buf, have);
    r = viv_decode(buf, have, c->mode, c->cpuid, &b->single_insn);
    if (r == VIV_DECODE_MORE) {
        check_limit(c, c->rip, have + 1);
        viv_fetch_bytes(c, after(c, lin, have), buf + have, 15 - have);
        r = viv_decode(buf, 15, c->mode, c->cpuid, &b->single_insn);
    }
    if (r != VIV_DECODE_OK)
        raise_decode(c, r == VIV_DECODE_MORE ? VIV_DECODE_TOO_LONG : r);
    check_limit(c, c->rip, b->single_insn.len);
    b->single.insn = &b->single_insn;
    b->single.count = 1;
    b->single.bytes = b->single_insn.len;
    b->single.mode = c->mode;
    b->single.end = end_of(&b->single_insn);
    if (start && b->single_insn.len > have)
        return remember_crossing(b, start, buf);
    return &b->single;
}

/* Fills insn[] from the page; returns how many, 0 when the first does not decode from this page
 * alone. */
static unsigned decode_run(struct viv_x86 *c, const uint8_t *start, unsigned room, struct viv_insn *insn,
                           unsigned most, unsigned *bytes, uint8_t *end)
{
    unsigned n = 0, at = 0;

    *end = VIV_BLOCK_PLAIN;
    while (n < most && at < room) {
        if (viv_decode(start + at, room - at, c->mode, c->cpuid, &insn[n]) != VIV_DECODE_OK)
            break; /* comes up again as the first of its own */
        at += insn[n].len;
        *end = end_of(&insn[n++]);
        if (*end != VIV_BLOCK_PLAIN || (insn[n - 1].row->attr & A_JUMP))
            break;
    }
    *bytes = at;
    return n;
}

static struct viv_block *decode_block(struct viv_x86 *c, struct viv_block_cache *b,
                                      const uint8_t *start)
{
    struct viv_block *k;
    uint8_t copy[VIV_BLOCK_INSNS * 15]; /* what is decoded is what is compared later, whoever writes there meanwhile */
    unsigned bytes, room = VIV_PAGE_SIZE - ((uintptr_t)start & (VIV_PAGE_SIZE - 1)), want = b->most * 15;
    uint8_t end;

    if (b->used + BLOCK_MOST > b->size)
        cache_flush(b);
    k = (struct viv_block *)(b->arena + b->used);
    k->insn = (struct viv_insn *)(k + 1);
    k->version = viv_ram_mark_code(start); /* before the bytes are read: mem/ram.h */
    k->version_at = &viv_arena_version[viv_arena_page(start)];
    memcpy(copy, start, room < want ? room : want);
    k->count = decode_run(c, copy, room, k->insn, b->most, &bytes, &end);
    if (k->count == 0)
        return NULL;
    k->start = start;
    k->bytes = bytes;
    k->mode = c->mode;
    k->end = end;
    memcpy(k->insn + k->count, copy, bytes);
    b->used += (sizeof(*k) + k->count * sizeof(*k->insn) + bytes + 15) & ~(size_t)15;
    b->decoded++;
    return k;
}

/* Page version moved on: the same bytes still? Then the block lives again. */
static bool revalidate(struct viv_block *k)
{
    uint32_t version = viv_ram_mark_code(k->start);

    if (memcmp(k->insn + k->count, k->start, k->bytes))
        return false;
    k->version = version;
    return true;
}

static struct viv_block *by_address(struct viv_x86 *c, struct viv_block_cache *b,
                                    const uint8_t *start)
{
    struct viv_block **head = &b->hash[hash_of(start, c->mode)], **at, *k;

    for (at = head; (k = *at) != NULL; at = &k->next) {
        if (k->start != start || k->mode != c->mode)
            continue;
        if (k->version == __atomic_load_n(k->version_at, __ATOMIC_ACQUIRE) || revalidate(k))
            return k;
        *at = k->next;
        break;
    }
    k = decode_block(c, b, start);
    if (k) {
        head = &b->hash[hash_of(start, c->mode)];
        k->next = *head;
        *head = k;
    }
    return k;
}

struct viv_block *viv_block_find(struct viv_x86 *c, struct viv_block_cache *b,
                                 struct viv_block *guess)
{
    uint64_t lin;
    const uint8_t *start;
    struct viv_block *k = NULL;

    check_limit(c, c->rip, 1);
    lin = linear_rip(c);
    start = viv_mmu_host(c, lin, 1, VIV_ACC_EXEC);
    if (start && guess && guess->start == start && guess->mode == c->mode &&
        guess->version == __atomic_load_n(guess->version_at, __ATOMIC_ACQUIRE))
        k = guess;
    else if (start && (lin & (VIV_PAGE_SIZE - 1)) > VIV_PAGE_SIZE - 15 && (k = crossing(c, b, lin, start)))
        return k;
    else if (start)
        k = by_address(c, b, start);
    /* A block that runs out of CS is taken one instruction at a time, each checked. */
    if (!k || (c->mode != VIV_MODE_LONG && c->rip + k->bytes - 1 > c->seg[VIV_CS].limit))
        k = single(c, b, lin, start);
    return k;
}
