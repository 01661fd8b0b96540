/* String instructions: MOVS CMPS STOS LODS SCAS INS OUTS, with REP, REPE, REPNE.
 *
 * Registers are brought up to date after each iteration, so a fault or an interrupt finds a
 * state from which the instruction goes on. After BATCH iterations the handler comes back with
 * next_rip = rip: the run loop looks at interrupts and executes it again. REP MOVS and STOS
 * upwards in plain RAM go page by page. */
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
        budget -= done < budget ? done : budget;
    }
    c->next_rip = c->rip;
}

/* Elements of i->osz that fit in the page from `p` on, and before the index register wraps. */
static inline u64 page_room(const struct viv_insn *i, u64 lin, u64 ea)
{
    u64 room = VIV_PAGE_SIZE - (lin & (VIV_PAGE_SIZE - 1));
    u64 wrap = viv_size_mask[i->asz] - ea;

    return (wrap < room ? wrap : room) / i->osz;
}

static void *page_read(struct viv_x86 *c, u64 lin)
{
    void *p = viv_tlb_read(c, lin, 1);

    return p ? p : viv_mmu_cached(c, lin, VIV_ACC_READ);
}

static void *page_write(struct viv_x86 *c, u64 lin)
{
    const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);

    return (lin & VIV_PAGE_MASK) == e->tag_write ? (void *)(lin + e->addend)
                                                : viv_mmu_cached(c, lin, VIV_ACC_WRITE);
}

static void bulk_stored(struct viv_x86 *c, void *p, u64 len)
{
    if (__atomic_load_n(&viv_arena_flags[viv_arena_page(p)], __ATOMIC_RELAXED))
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
    u64 si = index_get(c, i, VIV_RSI), di = index_get(c, i, VIV_RDI);
    u64 from_lin = c->fast_base[i->seg] + si, to_lin = c->fast_base[VIV_ES] + di;
    const u8 *from = page_read(c, from_lin);
    u8 *to = page_write(c, to_lin);
    u64 n, m, bytes;

    if ((c->eflags & VIV_FL_DF) || !from || !to)
        return 0;
    n = page_room(i, from_lin, si);
    m = page_room(i, to_lin, di);
    n = n < m ? n : m;
    n = n < max ? n : max;
    bytes = n * i->osz;
    if (to > from && to < from + bytes) {
        /* Overlapping upwards: what was just stored is read again. Only the part before that
         * goes at once. */
        bytes = (u64)(to - from) / i->osz * i->osz;
        n = bytes / i->osz;
    }
    if (n == 0)
        return 0;
    memmove(to, from, bytes);
    bulk_stored(c, to, bytes);
    index_add(c, i, VIV_RSI, (s64)bytes);
    index_add(c, i, VIV_RDI, (s64)bytes);
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
    u64 di = index_get(c, i, VIV_RDI), lin = c->fast_base[VIV_ES] + di, n;
    u8 *to = page_write(c, lin);

    if ((c->eflags & VIV_FL_DF) || !to)
        return 0;
    n = page_room(i, lin, di);
    n = n < max ? n : max;
    if (n == 0)
        return 0;
    fill(to, c->gpr[VIV_RAX], i->osz, n);
    bulk_stored(c, to, n * i->osz);
    index_add(c, i, VIV_RDI, (s64)(n * i->osz));
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

static void cmps_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 b = mem_ld_sized(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz); /* faults first */
    u64 a = mem_ld_sized(c, i->seg, index_get(c, i, VIV_RSI), i->osz);

    compare(c, i->osz, a, b);
    index_add(c, i, VIV_RSI, step(c, i));
    index_add(c, i, VIV_RDI, step(c, i));
}

void viv_exec_cmps(struct viv_x86 *c, const struct viv_insn *i)
{
    repeat(c, i, cmps_one, NULL, true);
}

static void scas_one(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 b = mem_ld_sized(c, VIV_ES, index_get(c, i, VIV_RDI), i->osz);

    compare(c, i->osz, c->gpr[VIV_RAX], b);
    index_add(c, i, VIV_RDI, step(c, i));
}

void viv_exec_scas(struct viv_x86 *c, const struct viv_insn *i)
{
    repeat(c, i, scas_one, NULL, true);
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
