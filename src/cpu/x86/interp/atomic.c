/* CMPXCHG, XADD, CMPXCHG8B, CMPXCHG16B. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#define SAVE_FLAGS "\n\tlahf\n\tseto %%al"

/* Compares the accumulator with `d`: flags as CMP. Returns whether they are equal. */
#define COMPARE(bits)                                                                              \
    static inline bool compare##bits(struct viv_x86 *c, u##bits acc, u##bits d)                    \
    {                                                                                              \
        u16 fl;                                                                                    \
                                                                                                   \
        __asm__("cmp %[d],%[a]" SAVE_FLAGS : "=&a"(fl) : [d] "q"(d), [a] "q"(acc) : "cc");         \
        c->arith = fl;                                                                             \
        return fl & VIV_AR_ZF;                                                                     \
    }

#define CMPXCHG(bits)                                                                              \
    COMPARE(bits)                                                                                  \
    HANDLER(cmpxchg_r##bits)                                                                       \
    {                                                                                              \
        u##bits d = rm_get##bits(c, i), s = reg_get##bits(c, i);                                   \
                                                                                                   \
        if (compare##bits(c, acc_get##bits(c), d)) {                                               \
            rm_set##bits(c, i, s);                                                                 \
        } else {                                                                                   \
            acc_set##bits(c, d); /* the destination keeps its upper half: silicon */               \
        }                                                                                          \
    }                                                                                              \
    static void cmpxchg_locked##bits(struct viv_x86 *c, const struct viv_insn *i)                  \
    {                                                                                              \
        u64 lin;                                                                                   \
        u##bits s = reg_get##bits(c, i), acc = acc_get##bits(c), d;                                \
        void *p = viv_lock_begin(c, i, bits / 8, &lin);                                            \
                                                                                                   \
        d = acc;                                                                                   \
        if (p) {                                                                                   \
            __asm__ volatile("lock cmpxchg %[s],%[m]"                                              \
                             : "+a"(d), [m] "+m"(*(u##bits *)p)                                    \
                             : [s] "q"(s)                                                          \
                             : "cc", "memory");                                                    \
        } else {                                                                                   \
            d = viv_ld##bits(c, lin);                                                              \
            viv_st##bits(c, lin, d == acc ? s : d);                                                \
        }                                                                                          \
        viv_lock_end(c, p, bits / 8);                                                              \
        if (!compare##bits(c, acc, d))                                                             \
            acc_set##bits(c, d);                                                                   \
    }                                                                                              \
    HANDLER(cmpxchg_m##bits)                                                                       \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d;                                                                                 \
                                                                                                   \
        if (i->lock) {                                                                             \
            cmpxchg_locked##bits(c, i);                                                            \
            return;                                                                                \
        }                                                                                          \
        d = rmw_begin##bits(c, i, &m);                                                             \
        if (compare##bits(c, acc_get##bits(c), d)) {                                               \
            rmw_end##bits(c, i, &m, reg_get##bits(c, i));                                          \
        } else {                                                                                   \
            rmw_end##bits(c, i, &m, d); /* the write happens either way */                         \
            acc_set##bits(c, d);                                                                   \
        }                                                                                          \
    }
CMPXCHG(8)
CMPXCHG(16)
CMPXCHG(32)
CMPXCHG(64)
FORMS(cmpxchg)

#define XADD(bits)                                                                                 \
    static inline u##bits add##bits(struct viv_x86 *c, u##bits d, u##bits s)                       \
    {                                                                                              \
        u16 fl;                                                                                    \
                                                                                                   \
        __asm__("add %[s],%[d]" SAVE_FLAGS : [d] "+q"(d), "=&a"(fl) : [s] "q"(s) : "cc");          \
        c->arith = fl;                                                                             \
        return d;                                                                                  \
    }                                                                                              \
    HANDLER(xadd_r##bits)                                                                          \
    {                                                                                              \
        u##bits d = rm_get##bits(c, i), sum = add##bits(c, d, reg_get##bits(c, i));                \
                                                                                                   \
        reg_set##bits(c, i, d);                                                                    \
        rm_set##bits(c, i, sum);                                                                   \
    }                                                                                              \
    static void xadd_locked##bits(struct viv_x86 *c, const struct viv_insn *i)                     \
    {                                                                                              \
        u64 lin;                                                                                   \
        u##bits s = reg_get##bits(c, i), d = s;                                                    \
        void *p = viv_lock_begin(c, i, bits / 8, &lin);                                            \
                                                                                                   \
        if (p) {                                                                                   \
            __asm__ volatile("lock xadd %[s],%[m]"                                                 \
                             : [s] "+q"(d), [m] "+m"(*(u##bits *)p)                                \
                             :                                                                     \
                             : "cc", "memory");                                                    \
            add##bits(c, d, s);                                                                    \
        } else {                                                                                   \
            d = viv_ld##bits(c, lin);                                                              \
            viv_st##bits(c, lin, add##bits(c, d, s));                                              \
        }                                                                                          \
        viv_lock_end(c, p, bits / 8);                                                              \
        reg_set##bits(c, i, d);                                                                    \
    }                                                                                              \
    HANDLER(xadd_m##bits)                                                                          \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d;                                                                                 \
                                                                                                   \
        if (i->lock) {                                                                             \
            xadd_locked##bits(c, i);                                                               \
            return;                                                                                \
        }                                                                                          \
        d = rmw_begin##bits(c, i, &m);                                                             \
        rmw_end##bits(c, i, &m, add##bits(c, d, reg_get##bits(c, i)));                             \
        reg_set##bits(c, i, d);                                                                    \
    }
XADD(8)
XADD(16)
XADD(32)
XADD(64)
FORMS(xadd)

static void set_zf(struct viv_x86 *c, bool zf)
{
    c->arith = zf ? c->arith | VIV_AR_ZF : c->arith & ~VIV_AR_ZF;
}

/* With or without LOCK: always done atomically, and always written. */
void viv_exec_cmpxchg8b(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 lin, want = c->gpr[VIV_RDX] << 32 | (u32)c->gpr[VIV_RAX];
    u64 new = c->gpr[VIV_RCX] << 32 | (u32)c->gpr[VIV_RBX], old = want;
    void *p = viv_lock_begin(c, i, 8, &lin);

    if (p) {
        __asm__ volatile("lock cmpxchgq %[s],%[m]"
                         : "+a"(old), [m] "+m"(*(u64 *)p)
                         : [s] "r"(new)
                         : "cc", "memory");
    } else {
        old = viv_ld64(c, lin);
        viv_st64(c, lin, old == want ? new : old);
    }
    viv_lock_end(c, p, 8);
    set_zf(c, old == want);
    if (old != want) {
        c->gpr[VIV_RAX] = (u32)old;
        c->gpr[VIV_RDX] = old >> 32;
    }
}

/* Alignment is demanded (#GP), so it never crosses a page; MMIO goes in two halves. */
void viv_exec_cmpxchg16b(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 lin, lo = c->gpr[VIV_RAX], hi = c->gpr[VIV_RDX];
    bool equal;
    void *p;

    if ((c->fast_base[i->seg] + ea_of(c, i)) & 15) /* before #SS; 64-bit mode only, so the base is the real one */
        viv_x86_raise_error(c, VIV_GP, 0);
    p = viv_lock_begin(c, i, 16, &lin);
    if (p) {
        __asm__ volatile("lock cmpxchg16b %[m]"
                         : "+a"(lo), "+d"(hi), [m] "+m"(*(unsigned __int128 *)p), "=@ccz"(equal)
                         : "b"(c->gpr[VIV_RBX]), "c"(c->gpr[VIV_RCX])
                         : "memory");
    } else {
        lo = viv_ld64(c, lin);
        hi = viv_ld64(c, lin + 8);
        equal = lo == c->gpr[VIV_RAX] && hi == c->gpr[VIV_RDX];
        viv_st64(c, lin, equal ? c->gpr[VIV_RBX] : lo);
        viv_st64(c, lin + 8, equal ? c->gpr[VIV_RCX] : hi);
    }
    viv_lock_end(c, p, 16);
    set_zf(c, equal);
    if (!equal) {
        c->gpr[VIV_RAX] = lo;
        c->gpr[VIV_RDX] = hi;
    }
}
