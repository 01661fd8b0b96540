/* Shifts and rotates: ROL ROR RCL RCR SHL SHR SAR SHLD SHRD, and the flagless SHLX SHRX SARX RORX.
 *
 * All flags go in (OF by an ADD that overflows when it was set, the rest by SAHF) and come out
 * again, so that a count of zero keeps them and rotates keep what they do not touch, without a
 * branch. The host masks the count as the guest's CPU does, because the operand size is the
 * same. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#define LOAD_FLAGS "addb $127,%%al\n\tsahf\n\t"
#define SAVE_FLAGS "\n\tlahf\n\tseto %%al"

/* OF is defined for rotates by one bit only (SDM 2B, RCL/RCR/ROL/ROR). By other immediate counts Intel's CPUs let ROL and
 * ROR of a register keep it, in memory and by CL they compute one; here all counts are in CL. */
static bool imm_keeps_of;
#define IMM_KEEPS_OF_rol imm_keeps_of
#define IMM_KEEPS_OF_ror imm_keeps_of
#define IMM_KEEPS_OF_rcl false
#define IMM_KEEPS_OF_rcr false
#define IMM_KEEPS_OF_shl false
#define IMM_KEEPS_OF_shr false
#define IMM_KEEPS_OF_sar false

/* As the host does, because that is what translated code shows. */
__attribute__((constructor)) static void ask_host(void)
{
    unsigned char with = 0, without = 0, v = 0x44;

    __asm__("movb $127,%%al\n\taddb $1,%%al\n\trolb $3,%[v]\n\tseto %[of]" : [of] "=q"(with), [v] "+q"(v) : : "eax", "cc");
    v = 0x10;
    __asm__("xorl %%eax,%%eax\n\trolb $3,%[v]\n\tseto %[of]" : [of] "=q"(without), [v] "+q"(v) : : "eax", "cc");
    imm_keeps_of = with && !without;
}

#define SHIFT(name, bits)                                                                          \
    static inline u##bits name##_op##bits(struct viv_x86 *c, u##bits d, u8 count)                  \
    {                                                                                              \
        u16 fl = c->arith;                                                                         \
                                                                                                   \
        __asm__(LOAD_FLAGS #name " %%cl,%[d]" SAVE_FLAGS                                           \
                : [d] "+q"(d), "+a"(fl)                                                            \
                : "c"(count)                                                                       \
                : "cc");                                                                           \
        c->arith = fl;                                                                             \
        return d;                                                                                  \
    }                                                                                              \
    static inline u##bits name##_imm##bits(struct viv_x86 *c, u##bits d, u8 count)                 \
    {                                                                                              \
        u16 before = c->arith;                                                                     \
                                                                                                   \
        d = name##_op##bits(c, d, count);                                                          \
        if (IMM_KEEPS_OF_##name && (count & (bits == 64 ? 63 : 31)) > 1)                           \
            c->arith = (c->arith & ~VIV_AR_OF) | (before & VIV_AR_OF);                             \
        return d;                                                                                  \
    }                                                                                              \
    HANDLER(name##_E_I_r##bits)                                                                    \
    {                                                                                              \
        rm_set##bits(c, i, name##_imm##bits(c, rm_get##bits(c, i), (u8)i->imm));                   \
    }                                                                                              \
    HANDLER(name##_E_C_r##bits)                                                                    \
    {                                                                                              \
        rm_set##bits(c, i, name##_op##bits(c, rm_get##bits(c, i), (u8)c->gpr[VIV_RCX]));           \
    }                                                                                              \
    HANDLER(name##_E_I_m##bits)                                                                    \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d = rmw_begin##bits(c, i, &m);                                                     \
                                                                                                   \
        rmw_end##bits(c, i, &m, name##_op##bits(c, d, (u8)i->imm));                                \
    }                                                                                              \
    HANDLER(name##_E_C_m##bits)                                                                    \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d = rmw_begin##bits(c, i, &m);                                                     \
                                                                                                   \
        rmw_end##bits(c, i, &m, name##_op##bits(c, d, (u8)c->gpr[VIV_RCX]));                       \
    }
#define SHIFTS(name)                                                                               \
    SHIFT(name, 8) SHIFT(name, 16) SHIFT(name, 32) SHIFT(name, 64)                                 \
    FORMS(name##_E_I) FORMS(name##_E_C)
SHIFTS(rol)
SHIFTS(ror)
SHIFTS(rcl)
SHIFTS(rcr)
SHIFTS(shl)
SHIFTS(shr)
SHIFTS(sar)

#define DOUBLE(name, bits)                                                                         \
    static inline u##bits name##_op##bits(struct viv_x86 *c, u##bits d, u##bits s, u8 count)       \
    {                                                                                              \
        u16 fl = c->arith;                                                                         \
                                                                                                   \
        __asm__(LOAD_FLAGS #name " %%cl,%[s],%[d]" SAVE_FLAGS                                      \
                : [d] "+r"(d), "+a"(fl)                                                            \
                : [s] "r"(s), "c"(count)                                                           \
                : "cc");                                                                           \
        c->arith = fl;                                                                             \
        return d;                                                                                  \
    }                                                                                              \
    static inline void name##_reg##bits(struct viv_x86 *c, const struct viv_insn *i, u8 count)     \
    {                                                                                              \
        rm_set##bits(c, i, name##_op##bits(c, rm_get##bits(c, i), reg_get##bits(c, i), count));    \
    }                                                                                              \
    static inline void name##_mem##bits(struct viv_x86 *c, const struct viv_insn *i, u8 count)     \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d = rmw_begin##bits(c, i, &m);                                                     \
                                                                                                   \
        rmw_end##bits(c, i, &m, name##_op##bits(c, d, reg_get##bits(c, i), count));                \
    }                                                                                              \
    HANDLER(name##_E_G_I_r##bits)                                                                  \
    {                                                                                              \
        name##_reg##bits(c, i, (u8)i->imm);                                                        \
    }                                                                                              \
    HANDLER(name##_E_G_I_m##bits)                                                                  \
    {                                                                                              \
        name##_mem##bits(c, i, (u8)i->imm);                                                        \
    }                                                                                              \
    HANDLER(name##_E_G_C_r##bits)                                                                  \
    {                                                                                              \
        name##_reg##bits(c, i, (u8)c->gpr[VIV_RCX]);                                               \
    }                                                                                              \
    HANDLER(name##_E_G_C_m##bits)                                                                  \
    {                                                                                              \
        name##_mem##bits(c, i, (u8)c->gpr[VIV_RCX]);                                               \
    }
#define DOUBLES(name)                                                                              \
    DOUBLE(name, 16) DOUBLE(name, 32) DOUBLE(name, 64) FORMS_NB(name##_E_G_I) FORMS_NB(name##_E_G_C)
DOUBLES(shld)
DOUBLES(shrd)

/* BMI2: Gy, Ey, count in By; no flags. */
#define SHIFTX(name, bits, expr)                                                                   \
    HANDLER(name##_r##bits)                                                                        \
    {                                                                                              \
        u##bits d = rm_get##bits(c, i);                                                            \
        unsigned n = (c->gpr[i->vvvv]) & (bits - 1);                                               \
                                                                                                   \
        reg_set##bits(c, i, (u##bits)(expr));                                                      \
    }                                                                                              \
    HANDLER(name##_m##bits)                                                                        \
    {                                                                                              \
        u##bits d = op_ld##bits(c, i);                                                             \
        unsigned n = (c->gpr[i->vvvv]) & (bits - 1);                                               \
                                                                                                   \
        reg_set##bits(c, i, (u##bits)(expr));                                                      \
    }
#define FORMS_Y(name)                                                                              \
    const viv_exec_fn viv_forms_##name[8] = {[2] = name##_r32, [3] = name##_r64,                   \
                                             [6] = name##_m32, [7] = name##_m64};
SHIFTX(shlx, 32, d << n)
SHIFTX(shlx, 64, d << n)
SHIFTX(shrx, 32, d >> n)
SHIFTX(shrx, 64, d >> n)
SHIFTX(sarx, 32, (s32)d >> n)
SHIFTX(sarx, 64, (s64)d >> n)
FORMS_Y(shlx)
FORMS_Y(shrx)
FORMS_Y(sarx)

#define RORX(bits)                                                                                 \
    static inline u##bits rorx##bits(u##bits d, u64 imm)                                           \
    {                                                                                              \
        unsigned n = imm & (bits - 1);                                                             \
                                                                                                   \
        return n ? d >> n | d << (bits - n) : d;                                                   \
    }                                                                                              \
    HANDLER(rorx_r##bits)                                                                          \
    {                                                                                              \
        reg_set##bits(c, i, rorx##bits(rm_get##bits(c, i), i->imm));                               \
    }                                                                                              \
    HANDLER(rorx_m##bits)                                                                          \
    {                                                                                              \
        reg_set##bits(c, i, rorx##bits(op_ld##bits(c, i), i->imm));                                \
    }
RORX(32)
RORX(64)
FORMS_Y(rorx)
