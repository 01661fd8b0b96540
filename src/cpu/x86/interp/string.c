/* String instructions: MOVS CMPS STOS LODS SCAS INS OUTS, with REP, REPE, REPNE.
 *
 * Registers are brought up to date after each iteration, so a fault or an interrupt finds a
 * state from which the instruction goes on. After BATCH iterations the handler comes back with
 * next_rip = rip: the run loop looks at interrupts and executes it again. In plain RAM, REP MOVS and STOS
 * go page by page, and so do CMPS and SCAS upwards. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/interp/operand.h"

#include <string.h>

#define BATCH 4096u

static inline u64 index_get(const struct viv_x86 *c, const struct viv_insn *i, unsigned r)
{
    return c->gpr[r] & viv_size_mask[i->asz];
}

static inline void index_add(struct viv_x86 *c, const struct viv_insn *i, unsigned r, s64 n)
{
    set_reg_sized(c, r, i->asz, c->gpr[r] + n);
}

static inline s64 step(const struct viv_x86 *c, const struct viv_insn *i)
{
    return c->eflags & VIV_FL_DF ? -(s64)i->osz : i->osz;
}

/* What one iteration does; for CMPS and SCAS sets flags. */
typedef void (*iteration_fn)(struct viv_x86 *c, const struct viv_insn *i);
/* Does up to `max` iterations at once; 0 when it cannot. */
typedef u64 (*bulk_fn)(struct viv_x86 *c, const struct viv_insn *i, u64 max);

static bool repeat_ends(const struct viv_x86 *c, const struct viv_insn *i, bool compares)
{
    bool zf = c->arith & VIV_AR_ZF;

    return compares && (i->rep == 0xf3 ? !zf : zf);
}

/* With 32-bit addresses in 64-bit mode silicon cuts the count before the first iteration, also if there is none; REP
 * MOVS and STOS their pointers too. */
static void cut_registers(struct viv_x86 *c, const struct viv_insn *i)
{
    c->gpr[VIV_RCX] = (u32)c->gpr[VIV_RCX];
    if ((i->opcode & 0xfe) == 0xa4)
        c->gpr[VIV_RSI] = (u32)c->gpr[VIV_RSI];
    if ((i->opcode & 0xfe) == 0xa4 || (i->opcode & 0xfe) == 0xaa)
        c->gpr[VIV_RDI] = (u32)c->gpr[VIV_RDI];
}

static inline void repeat(struct viv_x86 *c, const struct viv_insn *i, iteration_fn one,
                          bulk_fn bulk, bool compares)
{
    bool single = ((struct viv_interp *)c->interp)->one_iteration;
    u64 left;

    if (!i->rep) {
        one(c, i);
        return;
    }
    c->repeating = false;
    if (i->asz == 4)
        cut_registers(c, i);
    for (u64 budget = single ? 1 : BATCH; budget > 0;) {
        u16 arith = c->arith;
        u64 done = 0;

        left = index_get(c, i, VIV_RCX);
        if (left == 0)
            return;
        if (bulk && !single)
            done = bulk(c, i, left);
        if (done == 0) {
            one(c, i);
            done = 1;
        }
        index_add(c, i, VIV_RCX, -(s64)done);
        if (left == done || repeat_ends(c, i, compares))
            return;
        c->arith = arith; /* flags change with the last iteration only, as silicon does */
        if (c->breaks.is_hit) /* a debugger's watchpoint: the CPU stops after this iteration */
            break;
        budget -= done < budget ? done : budget;
    }
    c->next_rip = c->rip;
    c->repeating = true;
}

/* Where an element is in the host, with what the processor checks of it; NULL: one at a time. Segments that need a look at their
 * limit at each step have no fast_base (context.c). The TLB misses for the kernel's accesses to user pages under SMAP. */
static inline u8 *element(struct viv_x86 *c, const struct viv_insn *i, unsigned seg, u64 ea, enum viv_access acc)
{
    u64 lin = c->fast_base[seg] + ea;
    const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);

    if (LIKELY(((lin + i->osz - 1) & VIV_PAGE_MASK) == (acc == VIV_ACC_READ ? e->tag_read : e->tag_write)))
        return (u8 *)(lin + e->addend);
    if (c->mode != VIV_MODE_LONG && c->fast_base[seg] >> 32)
        return NULL;
    return viv_mmu_host(c, viv_x86_linear(c, seg, ea, i->osz, acc), i->osz, acc);
}

/* Elements from this one on that lie in its page, in the direction of DF, before the index register wraps; at most `max`. */
static inline u64 room(const struct viv_x86 *c, const struct viv_insn *i, const u8 *at, u64 ea, u64 max)
{
    u64 offset = (uintptr_t)at & (VIV_PAGE_SIZE - 1), n, wrap;

    if (c->eflags & VIV_FL_DF) {
        n = offset / i->osz + 1;
        wrap = ea / i->osz + 1;
    } else {
        n = (VIV_PAGE_SIZE - offset) / i->osz;
        wrap = (viv_size_mask[i->asz] - ea) / i->osz;
    }
    n = n < wrap ? n : wrap;
    return n < max ? n : max;
}

/* The lowest address of n elements from `at` on. */
static u8 *lowest(const struct viv_x86 *c, const struct viv_insn *i, const u8 *at, u64 n)
{
    return (u8 *)at - (c->eflags & VIV_FL_DF ? (n - 1) * i->osz : 0);
}

static void bulk_stored(struct viv_x86 *c, void *p, u64 len)
{
    if (viv_page_flags(viv_arena_page(p)))
        viv_mmu_stored(c, p, (unsigned)len);
}

static void movs_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 v = mem_ld_sized(c, i->seg, index_get(c, i, VIV_RSI), i->osz);

    mem_st_sized(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz, v);
    index_add(c, i, VIV_RSI, step(c, i));
    index_add(c, i, VIV_RDI, step(c, i));
}

static u64 movs_bulk(struct viv_x86 *c, const struct viv_insn *i, u64 max)
{
    u64 si = index_get(c, i, VIV_RSI), di = index_get(c, i, VIV_RDI), n;
    const u8 *from = element(c, i, i->seg, si, VIV_ACC_READ);
    u8 *to = from ? element(c, i, VIV_ES, di, VIV_ACC_WRITE) : NULL;
    s64 ahead;

    if (!to)
        return 0;
    n = room(c, i, from, si, max);
    n = room(c, i, to, di, n);
    /* Overlapping in the direction of travel: what was just stored is read again. Only the part before that goes at once. */
    ahead = c->eflags & VIV_FL_DF ? from - to : to - from;
    if (ahead > 0 && (u64)ahead < n * i->osz)
        n = (u64)ahead / i->osz;
    if (n == 0)
        return 0;
    memmove(lowest(c, i, to, n), lowest(c, i, from, n), n * i->osz);
    bulk_stored(c, lowest(c, i, to, n), n * i->osz);
    index_add(c, i, VIV_RSI, (s64)n * step(c, i));
    index_add(c, i, VIV_RDI, (s64)n * step(c, i));
    return n;
}

void viv_exec_movs(struct viv_x86 *c, const struct viv_insn *i)
{
    repeat(c, i, movs_one, movs_bulk, false);
}

static void stos_one(struct viv_x86 *c, const struct viv_insn *i)
{
    mem_st_sized(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz, c->gpr[VIV_RAX]);
    index_add(c, i, VIV_RDI, step(c, i));
}

static void fill(u8 *to, u64 v, unsigned size, u64 n)
{
    u64 pattern = size == 1   ? (u8)v * 0x0101010101010101ull
                  : size == 2 ? (u16)v * 0x0001000100010001ull
                  : size == 4 ? (u32)v * 0x0000000100000001ull
                              : v;
    u64 bytes = n * size;

    if (pattern == (u8)v * 0x0101010101010101ull) {
        memset(to, (u8)v, bytes);
        return;
    }
    for (; bytes >= 8; bytes -= 8, to += 8)
        host_st64(to, pattern);
    memcpy(to, &pattern, bytes);
}

static u64 stos_bulk(struct viv_x86 *c, const struct viv_insn *i, u64 max)
{
    u64 di = index_get(c, i, VIV_RDI), n;
    u8 *to = element(c, i, VIV_ES, di, VIV_ACC_WRITE);

    n = to ? room(c, i, to, di, max) : 0;
    if (n == 0)
        return 0;
    to = lowest(c, i, to, n);
    fill(to, c->gpr[VIV_RAX], i->osz, n);
    bulk_stored(c, to, n * i->osz);
    index_add(c, i, VIV_RDI, (s64)n * step(c, i));
    return n;
}

void viv_exec_stos(struct viv_x86 *c, const struct viv_insn *i)
{
    repeat(c, i, stos_one, stos_bulk, false);
}

static void lods_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 v = mem_ld_sized(c, i->seg, index_get(c, i, VIV_RSI), i->osz);

    set_reg_sized(c, VIV_RAX, i->osz, v);
    index_add(c, i, VIV_RSI, step(c, i));
}

void viv_exec_lods(struct viv_x86 *c, const struct viv_insn *i)
{
    repeat(c, i, lods_one, NULL, false);
}

/* Flags of a - b at the operand size. */
static void compare(struct viv_x86 *c, unsigned size, u64 a, u64 b)
{
    u16 fl;

#define CMP(w) __asm__("cmp %" w "[b],%" w "[a]\n\tlahf\n\tseto %%al" : "=&a"(fl) : [a] "q"(a), [b] "q"(b) : "cc")
    switch (size) {
    case 1: CMP("b"); break;
    case 2: CMP("w"); break;
    case 4: CMP("k"); break;
    default: CMP("q"); break;
    }
#undef CMP
    c->arith = fl;
}

static u64 value_at(const u8 *p, unsigned size)
{
    u64 v = 0;

    switch (size) {
    case 1: return *p;
    case 2: return host_ld16(p);
    case 4: memcpy(&v, p, 4); return v;
    default: memcpy(&v, p, 8); return v;
    }
}

/* Bytes that are the same from the beginning. */
static u64 same_bytes(const u8 *a, const u8 *b, u64 bytes)
{
    u64 n = 0;

    for (; n + 8 <= bytes; n += 8) {
        u64 diff = host_ld64(a + n) ^ host_ld64(b + n);

        if (diff)
            return n + (u64)__builtin_ctzll(diff) / 8;
    }
    while (n < bytes && a[n] == b[n])
        n++;
    return n;
}

static void cmps_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 b = mem_ld_sized(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz); /* faults first */
    u64 a = mem_ld_sized(c, i->seg, index_get(c, i, VIV_RSI), i->osz);

    compare(c, i->osz, a, b);
    index_add(c, i, VIV_RSI, step(c, i));
    index_add(c, i, VIV_RDI, step(c, i));
}

/* As far as both pages go, or to the element that ends it. */
static u64 cmps_bulk(struct viv_x86 *c, const struct viv_insn *i, u64 max)
{
    u64 si = index_get(c, i, VIV_RSI), di = index_get(c, i, VIV_RDI), n, done = 0;
    const u8 *a, *b;

    if (c->eflags & VIV_FL_DF)
        return 0;
    b = element(c, i, VIV_ES, di, VIV_ACC_READ);
    a = b ? element(c, i, i->seg, si, VIV_ACC_READ) : NULL;
    if (!a)
        return 0;
    n = room(c, i, b, di, room(c, i, a, si, max));
    if (n == 0)
        return 0;
    if (i->rep == 0xf3)
        done = same_bytes(a, b, n * i->osz) / i->osz;
    else
        while (done < n && value_at(a + done * i->osz, i->osz) != value_at(b + done * i->osz, i->osz))
            done++;
    done += done < n;
    compare(c, i->osz, value_at(a + (done - 1) * i->osz, i->osz), value_at(b + (done - 1) * i->osz, i->osz));
    index_add(c, i, VIV_RSI, (s64)(done * i->osz));
    index_add(c, i, VIV_RDI, (s64)(done * i->osz));
    return done;
}

void viv_exec_cmps(struct viv_x86 *c, const struct viv_insn *i)
{
    repeat(c, i, cmps_one, cmps_bulk, true);
}

static void scas_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 b = mem_ld_sized(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz);

    compare(c, i->osz, c->gpr[VIV_RAX], b);
    index_add(c, i, VIV_RDI, step(c, i));
}

static u64 scas_bulk(struct viv_x86 *c, const struct viv_insn *i, u64 max)
{
    u64 di = index_get(c, i, VIV_RDI), want = get_reg_sized(c, VIV_RAX, i->osz), n, done = 0;
    const u8 *p, *hit;

    if (c->eflags & VIV_FL_DF)
        return 0;
    p = element(c, i, VIV_ES, di, VIV_ACC_READ);
    n = p ? room(c, i, p, di, max) : 0;
    if (n == 0)
        return 0;
    if (i->osz == 1 && i->rep == 0xf2) {
        hit = memchr(p, (int)want, n);
        done = hit ? (u64)(hit - p) : n;
    } else {
        while (done < n && (value_at(p + done * i->osz, i->osz) == want) == (i->rep == 0xf3))
            done++;
    }
    done += done < n;
    compare(c, i->osz, want, value_at(p + (done - 1) * i->osz, i->osz));
    index_add(c, i, VIV_RDI, (s64)(done * i->osz));
    return done;
}

void viv_exec_scas(struct viv_x86 *c, const struct viv_insn *i)
{
    repeat(c, i, scas_one, scas_bulk, true);
}

/* Ports: permission first, then the memory side must be writable before the port is read,
 * because reading it may change the device. */
static void ins_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u16 port = (u16)c->gpr[VIV_RDX];
    u64 lin;

    viv_x86_io_check(c, port, i->osz);
    lin = viv_x86_linear(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz, VIV_ACC_WRITE);
    viv_probe(c, lin, i->osz, VIV_ACC_WRITE);
    mem_st_sized(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz, viv_x86_io_read(c, port, i->osz));
    index_add(c, i, VIV_RDI, step(c, i));
}

void viv_exec_ins(struct viv_x86 *c, const struct viv_insn *i)
{
    viv_x86_io_check(c, (u16)c->gpr[VIV_RDX], i->osz); /* also with a count of zero */
    repeat(c, i, ins_one, NULL, false);
}

static void outs_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u16 port = (u16)c->gpr[VIV_RDX];
    u64 v;

    viv_x86_io_check(c, port, i->osz);
    v = mem_ld_sized(c, i->seg, index_get(c, i, VIV_RSI), i->osz);
    viv_x86_io_write(c, port, (u32)v, i->osz);
    index_add(c, i, VIV_RSI, step(c, i));
}

void viv_exec_outs(struct viv_x86 *c, const struct viv_insn *i)
{
    viv_x86_io_check(c, (u16)c->gpr[VIV_RDX], i->osz); /* also with a count of zero */
    repeat(c, i, outs_one, NULL, false);
}
