/* MUL, IMUL, DIV, IDIV, MULX. Division by zero and quotient overflow are found before the host's
 * instruction runs. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"


/* AX holds data, so flags pass through scratch registers. */
#define FLAGS_OUT "\n\tmov %%rax,%[t]\n\tlahf\n\tseto %%al\n\tmov %%ax,%w[fl]\n\tmov %[t],%%rax"
#define FLAGS_IN                                                                                   \
    "mov %%rax,%[t]\n\tmov %w[fl],%%ax\n\taddb $127,%%al\n\tsahf\n\tmov %[t],%%rax\n\t"

#define HOST(insn, c, s)                                                                           \
    do {                                                                                           \
        u64 t;                                                                                     \
        u16 fl = (c)->arith;                                                                       \
        __asm__(FLAGS_IN insn FLAGS_OUT                                                            \
                : "+a"((c)->gpr[VIV_RAX]), "+d"((c)->gpr[VIV_RDX]), [fl] "+&r"(fl), [t] "=&r"(t)   \
                : [s] "r"(s)                                                                       \
                : "cc");                                                                           \
        (c)->arith = fl;                                                                           \
    } while (0)

#define MULTIPLY(bits, b)                                                                          \
    static void mul##bits(struct viv_x86 *c, u64 s)                                                \
    {                                                                                              \
        HOST("mul %" b "[s]", c, s);                                                               \
    }                                                                                              \
    static void imul##bits(struct viv_x86 *c, u64 s)                                               \
    {                                                                                              \
        HOST("imul %" b "[s]", c, s);                                                              \
    }
MULTIPLY(8, "b")
MULTIPLY(16, "w")
MULTIPLY(32, "k")
MULTIPLY(64, "q")

/* Unsigned: the high half must be below the divisor. */
static inline u64 high_half(const struct viv_x86 *c, unsigned bits)
{
    return bits == 8 ? (c->gpr[VIV_RAX] >> 8) & 0xff : c->gpr[VIV_RDX] & viv_size_mask[bits / 8];
}

/* Signed: works for all sizes on magnitudes of up to 128 bits. */
static bool idiv_fits(unsigned __int128 un, u64 us, bool negative, unsigned bits)
{
    unsigned __int128 q;

    if (us == 0)
        return false;
    q = un / us;
    return q <= ((unsigned __int128)1 << (bits - 1)) - !negative;
}

static bool idiv_ok(const struct viv_x86 *c, u64 s, unsigned bits)
{
    __int128 n;
    s64 d;

    switch (bits) {
    case 8: n = (s16)c->gpr[VIV_RAX], d = (s8)s; break;
    case 16: n = (s32)((u32)(u16)c->gpr[VIV_RDX] << 16 | (u16)c->gpr[VIV_RAX]), d = (s16)s; break;
    case 32: n = (s64)(c->gpr[VIV_RDX] << 32 | (u32)c->gpr[VIV_RAX]), d = (s32)s; break;
    default:
        n = (__int128)((unsigned __int128)c->gpr[VIV_RDX] << 64 | c->gpr[VIV_RAX]);
        d = (s64)s;
        break;
    }
    return idiv_fits(n < 0 ? -(unsigned __int128)n : (unsigned __int128)n, d < 0 ? -(u64)d : (u64)d,
                     (n < 0) != (d < 0), bits);
}

#define DIVIDE(bits, b)                                                                            \
    static void div##bits(struct viv_x86 *c, u64 s)                                                \
    {                                                                                              \
        if (high_half(c, bits) >= s)                                                               \
            viv_x86_raise(c, VIV_DE);                                                              \
        HOST("div %" b "[s]", c, s);                                                               \
    }                                                                                              \
    static void idiv##bits(struct viv_x86 *c, u64 s)                                               \
    {                                                                                              \
        if (!idiv_ok(c, s, bits))                                                                  \
            viv_x86_raise(c, VIV_DE);                                                              \
        HOST("idiv %" b "[s]", c, s);                                                              \
    }
DIVIDE(8, "b")
DIVIDE(16, "w")
DIVIDE(32, "k")
DIVIDE(64, "q")

#define GROUP3(name, bits)                                                                         \
    HANDLER(name##_E_r##bits)                                                                      \
    {                                                                                              \
        name##bits(c, rm_get##bits(c, i));                                                         \
    }                                                                                              \
    HANDLER(name##_E_m##bits)                                                                      \
    {                                                                                              \
        name##bits(c, op_ld##bits(c, i));                                                          \
    }
#define GROUP3_ALL(name)                                                                           \
    GROUP3(name, 8) GROUP3(name, 16) GROUP3(name, 32) GROUP3(name, 64) FORMS(name##_E)
GROUP3_ALL(mul)
GROUP3_ALL(imul)
GROUP3_ALL(div)
GROUP3_ALL(idiv)

/* IMUL with two and three operands. */
#define IMUL2(bits)                                                                                \
    static inline u##bits imul2_##bits(struct viv_x86 *c, u##bits a, u##bits b)                    \
    {                                                                                              \
        u16 fl = c->arith;                                                                         \
                                                                                                   \
        __asm__("addb $127,%%al\n\tsahf\n\timul %[s],%[d]\n\tlahf\n\tseto %%al"                    \
                : [d] "+r"(a), "+a"(fl)                                                            \
                : [s] "r"(b)                                                                       \
                : "cc");                                                                           \
        c->arith = fl;                                                                             \
        return a;                                                                                  \
    }                                                                                              \
    HANDLER(imul_G_E_r##bits)                                                                      \
    {                                                                                              \
        reg_set##bits(c, i, imul2_##bits(c, reg_get##bits(c, i), rm_get##bits(c, i)));             \
    }                                                                                              \
    HANDLER(imul_G_E_m##bits)                                                                      \
    {                                                                                              \
        u##bits v = op_ld##bits(c, i);                                                             \
                                                                                                   \
        reg_set##bits(c, i, imul2_##bits(c, reg_get##bits(c, i), v));                              \
    }                                                                                              \
    HANDLER(imul_G_E_I_r##bits)                                                                    \
    {                                                                                              \
        reg_set##bits(c, i, imul2_##bits(c, rm_get##bits(c, i), (u##bits)i->imm));                 \
    }                                                                                              \
    HANDLER(imul_G_E_I_m##bits)                                                                    \
    {                                                                                              \
        reg_set##bits(c, i, imul2_##bits(c, op_ld##bits(c, i), (u##bits)i->imm));                  \
    }
IMUL2(16)
IMUL2(32)
IMUL2(64)
FORMS_NB(imul_G_E)
FORMS_NB(imul_G_E_I)

/* MULX: low half to By first, so that with equal registers the high half stays. */
static void mulx32(struct viv_x86 *c, const struct viv_insn *i, u32 s)
{
    u64 p = (u64)(u32)c->gpr[VIV_RDX] * s;

    set_reg32(c, i->vvvv, (u32)p);
    set_reg32(c, i->reg, (u32)(p >> 32));
}
static void mulx64(struct viv_x86 *c, const struct viv_insn *i, u64 s)
{
    unsigned __int128 p = (unsigned __int128)c->gpr[VIV_RDX] * s;

    c->gpr[i->vvvv] = (u64)p;
    c->gpr[i->reg] = (u64)(p >> 64);
}
HANDLER(mulx_r32)
{
    mulx32(c, i, rm_get32(c, i));
}
HANDLER(mulx_r64)
{
    mulx64(c, i, rm_get64(c, i));
}
HANDLER(mulx_m32)
{
    mulx32(c, i, op_ld32(c, i));
}
HANDLER(mulx_m64)
{
    mulx64(c, i, op_ld64(c, i));
}
const viv_exec_fn viv_forms_mulx[8] = {[2] = mulx_r32, [3] = mulx_r64, [6] = mulx_m32, [7] = mulx_m64};
