/* Operands of integer handlers: registers, effective addresses, memory.
 *
 * Memory goes: effective address + fast_base, look in the TLB, else the slow functions of
 * operand.c, which do what the manual says in full (segment limit and type, canonical address,
 * page walk, MMIO, page crossing). fast_base of a segment that needs a check is a value that
 * cannot hit (state.h). */
#ifndef VIV_CPU_X86_INTERP_OPERAND_H
#define VIV_CPU_X86_INTERP_OPERAND_H

#include "cpu/x86/exc.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/tlb.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

extern const u64 viv_size_mask[9] __attribute__((visibility("hidden")));

static inline u64 ea_of(const struct viv_x86 *c, const struct viv_insn *i)
{
    u64 a = c->reg[i->base] + (c->reg[i->index] << i->scale) + (s64)i->disp;

    return LIKELY(i->asz == 8) ? a : a & viv_size_mask[i->asz];
}

/* Byte registers by their offset (insn.reg8, rm8). */
static inline u8 *reg8(struct viv_x86 *c, unsigned offset)
{
    return (u8 *)c->gpr + offset;
}

/* set_reg<bits>: 32-bit results clear the upper half, 8 and 16 keep it. */
static inline void set_reg16(struct viv_x86 *c, unsigned r, u16 v)
{
    *(u16 *)&c->gpr[r] = v;
}
static inline void set_reg32(struct viv_x86 *c, unsigned r, u32 v)
{
    c->gpr[r] = v;
}
static inline void set_reg64(struct viv_x86 *c, unsigned r, u64 v)
{
    c->gpr[r] = v;
}

/* By a size known only at run time: 1 is the low byte. */
static inline u64 get_reg_sized(const struct viv_x86 *c, unsigned r, unsigned size)
{
    return c->gpr[r] & viv_size_mask[size];
}
static inline void set_reg_sized(struct viv_x86 *c, unsigned r, unsigned size, u64 v)
{
    if (size == 8)
        c->gpr[r] = v;
    else if (size == 4)
        c->gpr[r] = (u32)v;
    else if (size == 2)
        *(u16 *)&c->gpr[r] = (u16)v;
    else
        *(u8 *)&c->gpr[r] = (u8)v;
}

/* One host access each, at any alignment. */
#define DEFINE_HOST(bits)                                                                          \
    struct host##bits {                                                                            \
        u##bits v;                                                                                 \
    } __attribute__((packed, may_alias));                                                          \
    static inline u##bits host_ld##bits(const void *p)                                             \
    {                                                                                              \
        return ((const volatile struct host##bits *)p)->v;                                         \
    }                                                                                              \
    static inline void host_st##bits(void *p, u##bits v)                                           \
    {                                                                                              \
        ((volatile struct host##bits *)p)->v = v;                                                  \
    }
DEFINE_HOST(8)
DEFINE_HOST(16)
DEFINE_HOST(32)
DEFINE_HOST(64)
#undef DEFINE_HOST

/* Slow halves. */
u64 viv_operand_read(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size);
void viv_operand_write(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size, u64 v);
/* For read-modify-write: checks write access, returns the value; then viv_operand_rmw_end
 * stores. */
u64 viv_operand_rmw(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size);
/* Linear address of an operand, checked. */
static inline u64 linear_of(struct viv_x86 *c, const struct viv_insn *i, unsigned size,
                            enum viv_access acc)
{
    return viv_x86_linear(c, i->seg, ea_of(c, i), size, acc);
}

/* mem_ld<bits>(c, seg, ea), mem_st<bits>(c, seg, ea, v). */
#define DEFINE_MEM(bits)                                                                           \
    static inline u##bits mem_ld##bits(struct viv_x86 *c, unsigned seg, u64 ea)                    \
    {                                                                                              \
        const void *p = viv_tlb_read(c, c->fast_base[seg] + ea, bits / 8);                         \
                                                                                                   \
        return LIKELY(p != NULL) ? host_ld##bits(p)                                                \
                                 : (u##bits)viv_operand_read(c, seg, ea, bits / 8);                \
    }                                                                                              \
    static inline void mem_st##bits(struct viv_x86 *c, unsigned seg, u64 ea, u##bits v)            \
    {                                                                                              \
        u64 lin = c->fast_base[seg] + ea;                                                          \
        const struct viv_tlb_entry *e = viv_tlb_slot(c, lin);                                      \
                                                                                                   \
        if (UNLIKELY(((lin + bits / 8 - 1) & VIV_PAGE_MASK) != e->tag_write)) {                    \
            viv_operand_write(c, seg, ea, bits / 8, v);                                            \
            return;                                                                                \
        }                                                                                          \
        host_st##bits((void *)(lin + e->addend), v);                                               \
        if (UNLIKELY(*(volatile u8 *)e->flags))                                                    \
            viv_mmu_stored(c, (void *)(lin + e->addend), bits / 8);                                \
    }                                                                                              \
    /* The memory operand of an instruction. */                                                    \
    static inline u##bits op_ld##bits(struct viv_x86 *c, const struct viv_insn *i)                 \
    {                                                                                              \
        return mem_ld##bits(c, i->seg, ea_of(c, i));                                               \
    }                                                                                              \
    static inline void op_st##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits v)         \
    {                                                                                              \
        mem_st##bits(c, i->seg, ea_of(c, i), v);                                                   \
    }
DEFINE_MEM(8)
DEFINE_MEM(16)
DEFINE_MEM(32)
DEFINE_MEM(64)
#undef DEFINE_MEM

static inline u64 mem_ld_sized(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size)
{
    switch (size) {
    case 1: return mem_ld8(c, seg, ea);
    case 2: return mem_ld16(c, seg, ea);
    case 4: return mem_ld32(c, seg, ea);
    default: return mem_ld64(c, seg, ea);
    }
}
static inline void mem_st_sized(struct viv_x86 *c, unsigned seg, u64 ea, unsigned size, u64 v)
{
    switch (size) {
    case 1: mem_st8(c, seg, ea, (u8)v); break;
    case 2: mem_st16(c, seg, ea, (u16)v); break;
    case 4: mem_st32(c, seg, ea, (u32)v); break;
    default: mem_st64(c, seg, ea, v); break;
    }
}

/* A read-modify-write of one memory operand: begin checks for writing and reads, end writes.
 * Between them nothing may fault. `p` is the host address, or NULL for the slow way. */
struct rmw {
    void *p;
    const struct viv_tlb_entry *e;
    u64 ea;
};

#define DEFINE_RMW(bits)                                                                           \
    static inline u##bits rmw_at##bits(struct viv_x86 *c, const struct viv_insn *i, u64 ea,        \
                                       struct rmw *m)                                              \
    {                                                                                              \
        u64 lin = c->fast_base[i->seg] + ea;                                                       \
                                                                                                   \
        m->ea = ea;                                                                                \
        m->e = viv_tlb_slot(c, lin);                                                               \
        if (LIKELY(((lin + bits / 8 - 1) & VIV_PAGE_MASK) == m->e->tag_write)) {                   \
            m->p = (void *)(lin + m->e->addend);                                                   \
            return host_ld##bits(m->p);                                                            \
        }                                                                                          \
        m->p = NULL;                                                                               \
        return (u##bits)viv_operand_rmw(c, i->seg, m->ea, bits / 8);                               \
    }                                                                                              \
    static inline u##bits rmw_begin##bits(struct viv_x86 *c, const struct viv_insn *i,             \
                                          struct rmw *m)                                           \
    {                                                                                              \
        return rmw_at##bits(c, i, ea_of(c, i), m);                                                 \
    }                                                                                              \
    static inline void rmw_end##bits(struct viv_x86 *c, const struct viv_insn *i, struct rmw *m,   \
                                     u##bits v)                                                    \
    {                                                                                              \
        if (UNLIKELY(!m->p)) {                                                                     \
            viv_operand_write(c, i->seg, m->ea, bits / 8, v);                                      \
            return;                                                                                \
        }                                                                                          \
        host_st##bits(m->p, v);                                                                    \
        if (UNLIKELY(*(volatile u8 *)m->e->flags))                                                 \
            viv_mmu_stored(c, m->p, bits / 8);                                                     \
    }
DEFINE_RMW(8)
DEFINE_RMW(16)
DEFINE_RMW(32)
DEFINE_RMW(64)
#undef DEFINE_RMW

/* LOCKed operations: the host address to run the host's LOCKed instruction on, or NULL with the
 * global lock taken: then use viv_ld / viv_st on *lin, and viv_lock_end either way. */
void *viv_lock_at(struct viv_x86 *c, const struct viv_insn *i, u64 ea, unsigned size, u64 *lin);
static inline void *viv_lock_begin(struct viv_x86 *c, const struct viv_insn *i, unsigned size,
                                   u64 *lin)
{
    return viv_lock_at(c, i, ea_of(c, i), size, lin);
}
void viv_lock_end(struct viv_x86 *c, void *p, unsigned size);
/* Run loop, after a fault: gives the global lock back if it was held. */
bool viv_lock_abandon(void);

/* Stack. `size` bytes at the stack pointer of the current width. */
static inline u64 sp_add(const struct viv_x86 *c, s64 n)
{
    return (c->gpr[VIV_RSP] + n) & c->sp_mask;
}
static inline void set_sp(struct viv_x86 *c, u64 sp)
{
    c->gpr[VIV_RSP] = (c->gpr[VIV_RSP] & ~c->sp_mask) | sp;
}
static inline void push_sized(struct viv_x86 *c, unsigned size, u64 v)
{
    u64 sp = sp_add(c, -(s64)size);

    mem_st_sized(c, VIV_SS, sp, size, v);
    set_sp(c, sp);
}
static inline u64 pop_sized(struct viv_x86 *c, unsigned size)
{
    u64 v = mem_ld_sized(c, VIV_SS, c->gpr[VIV_RSP] & c->sp_mask, size);

    set_sp(c, sp_add(c, size));
    return v;
}

/* Form tables: X(name) gives register forms name_r8..r64 and memory forms name_m8..m64. */
#define FORMS(name)                                                                                \
    const viv_exec_fn viv_forms_##name[8] = {name##_r8, name##_r16, name##_r32, name##_r64,        \
                                             name##_m8, name##_m16, name##_m32, name##_m64};
/* Without a memory form, or without a byte form. */
#define FORMS_R(name)                                                                              \
    const viv_exec_fn viv_forms_##name[8] = {name##_8, name##_16, name##_32, name##_64};
#define FORMS_NB(name)                                                                             \
    const viv_exec_fn viv_forms_##name[8] = {NULL,        name##_r16, name##_r32, name##_r64,      \
                                             NULL,        name##_m16, name##_m32, name##_m64};
#define FORMS_M(name)                                                                              \
    const viv_exec_fn viv_forms_##name[8] = {[5] = name##_m16, [6] = name##_m32, [7] = name##_m64};

#define HANDLER(name) static void name(struct viv_x86 *c, const struct viv_insn *i)

/* r_get<bits>(c, i, reg|rm): the register operands of an instruction. */
#define reg_get8(c, i)     (*reg8(c, (i)->reg8))
#define reg_get16(c, i)    ((u16)(c)->gpr[(i)->reg])
#define reg_get32(c, i)    ((u32)(c)->gpr[(i)->reg])
#define reg_get64(c, i)    ((c)->gpr[(i)->reg])
#define reg_set8(c, i, v)  (*reg8(c, (i)->reg8) = (v))
#define reg_set16(c, i, v) set_reg16(c, (i)->reg, v)
#define reg_set32(c, i, v) set_reg32(c, (i)->reg, v)
#define reg_set64(c, i, v) set_reg64(c, (i)->reg, v)
#define rm_get8(c, i)      (*reg8(c, (i)->rm8))
#define rm_get16(c, i)     ((u16)(c)->gpr[(i)->rm])
#define rm_get32(c, i)     ((u32)(c)->gpr[(i)->rm])
#define rm_get64(c, i)     ((c)->gpr[(i)->rm])
#define rm_set8(c, i, v)   (*reg8(c, (i)->rm8) = (v))
#define rm_set16(c, i, v)  set_reg16(c, (i)->rm, v)
#define rm_set32(c, i, v)  set_reg32(c, (i)->rm, v)
#define rm_set64(c, i, v)  set_reg64(c, (i)->rm, v)
#define acc_get8(c)        ((u8)(c)->gpr[VIV_RAX])
#define acc_get16(c)       ((u16)(c)->gpr[VIV_RAX])
#define acc_get32(c)       ((u32)(c)->gpr[VIV_RAX])
#define acc_get64(c)       ((c)->gpr[VIV_RAX])
#define acc_set8(c, v)     (*(u8 *)&(c)->gpr[VIV_RAX] = (v))
#define acc_set16(c, v)    set_reg16(c, VIV_RAX, v)
#define acc_set32(c, v)    set_reg32(c, VIV_RAX, v)
#define acc_set64(c, v)    set_reg64(c, VIV_RAX, v)

#endif
