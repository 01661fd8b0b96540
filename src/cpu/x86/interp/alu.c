/* Two- and one-operand arithmetic: ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT.
 *
 * The host's instruction does the work and its flags are kept as LAHF and SETO leave them
 * (state.h), so results are those of silicon, undefined flags included. Carry goes in by BT on
 * the CF bit of `arith`. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#define SAVE_FLAGS "\n\tlahf\n\tseto %%al"
#define LOAD_CARRY "btl $8,%k[in]\n\t" /* VIV_AR_CF */

#define NO_CARRY "i"(0)
#define CARRY_IN "r"((u32)c->arith)

#define OP2(name, bits, pre, input)                                                                \
    static inline u##bits name##_op##bits(struct viv_x86 *c, u##bits d, u##bits s)                 \
    {                                                                                              \
        u16 fl;                                                                                    \
                                                                                                   \
        __asm__(pre #name " %[s],%[d]" SAVE_FLAGS                                                  \
                : [d] "+q"(d), "=&a"(fl)                                                           \
                : [s] "q"(s), [in] input                                                           \
                : "cc");                                                                           \
        c->arith = fl;                                                                             \
        return d;                                                                                  \
    }                                                                                              \
    static inline void name##_host##bits(struct viv_x86 *c, void *p, u##bits s)                    \
    {                                                                                              \
        u16 fl;                                                                                    \
                                                                                                   \
        __asm__ volatile(pre "lock " #name " %[s],%[d]" SAVE_FLAGS                                 \
                         : [d] "+m"(*(u##bits *)p), "=&a"(fl)                                      \
                         : [s] "q"(s), [in] input                                                  \
                         : "cc", "memory");                                                        \
        c->arith = fl;                                                                             \
    }                                                                                              \
    static void name##_locked##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits s)        \
    {                                                                                              \
        u64 lin;                                                                                   \
        void *p = viv_lock_begin(c, i, bits / 8, &lin);                                            \
                                                                                                   \
        if (p)                                                                                     \
            name##_host##bits(c, p, s);                                                            \
        else                                                                                       \
            viv_st##bits(c, lin, name##_op##bits(c, viv_ld##bits(c, lin), s));                     \
        viv_lock_end(c, p, bits / 8);                                                              \
    }

#define WRITING(name, bits)                                                                        \
    HANDLER(name##_E_G_r##bits)                                                                    \
    {                                                                                              \
        rm_set##bits(c, i, name##_op##bits(c, rm_get##bits(c, i), reg_get##bits(c, i)));           \
    }                                                                                              \
    HANDLER(name##_E_I_r##bits)                                                                    \
    {                                                                                              \
        rm_set##bits(c, i, name##_op##bits(c, rm_get##bits(c, i), (u##bits)i->imm));               \
    }                                                                                              \
    static inline void name##_mem##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits s)    \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d;                                                                                 \
                                                                                                   \
        if (UNLIKELY(i->lock)) {                                                                   \
            name##_locked##bits(c, i, s);                                                          \
            return;                                                                                \
        }                                                                                          \
        d = rmw_begin##bits(c, i, &m);                                                             \
        rmw_end##bits(c, i, &m, name##_op##bits(c, d, s));                                         \
    }                                                                                              \
    HANDLER(name##_E_G_m##bits)                                                                    \
    {                                                                                              \
        name##_mem##bits(c, i, reg_get##bits(c, i));                                               \
    }                                                                                              \
    HANDLER(name##_E_I_m##bits)                                                                    \
    {                                                                                              \
        name##_mem##bits(c, i, (u##bits)i->imm);                                                   \
    }                                                                                              \
    HANDLER(name##_G_E_r##bits)                                                                    \
    {                                                                                              \
        reg_set##bits(c, i, name##_op##bits(c, reg_get##bits(c, i), rm_get##bits(c, i)));          \
    }                                                                                              \
    HANDLER(name##_G_E_m##bits)                                                                    \
    {                                                                                              \
        u##bits s = op_ld##bits(c, i);                                                             \
                                                                                                   \
        reg_set##bits(c, i, name##_op##bits(c, reg_get##bits(c, i), s));                           \
    }                                                                                              \
    HANDLER(name##_A_I_##bits)                                                                     \
    {                                                                                              \
        acc_set##bits(c, name##_op##bits(c, acc_get##bits(c), (u##bits)i->imm));                   \
    }

/* CMP and TEST: flags only. */
#define COMPARING(name, bits)                                                                      \
    HANDLER(name##_E_G_r##bits)                                                                    \
    {                                                                                              \
        name##_op##bits(c, rm_get##bits(c, i), reg_get##bits(c, i));                               \
    }                                                                                              \
    HANDLER(name##_E_I_r##bits)                                                                    \
    {                                                                                              \
        name##_op##bits(c, rm_get##bits(c, i), (u##bits)i->imm);                                   \
    }                                                                                              \
    HANDLER(name##_E_G_m##bits)                                                                    \
    {                                                                                              \
        name##_op##bits(c, op_ld##bits(c, i), reg_get##bits(c, i));                                \
    }                                                                                              \
    HANDLER(name##_E_I_m##bits)                                                                    \
    {                                                                                              \
        name##_op##bits(c, op_ld##bits(c, i), (u##bits)i->imm);                                    \
    }                                                                                              \
    HANDLER(name##_A_I_##bits)                                                                     \
    {                                                                                              \
        name##_op##bits(c, acc_get##bits(c), (u##bits)i->imm);                                     \
    }
#define COMPARING_G_E(name, bits)                                                                  \
    HANDLER(name##_G_E_r##bits)                                                                    \
    {                                                                                              \
        name##_op##bits(c, reg_get##bits(c, i), rm_get##bits(c, i));                               \
    }                                                                                              \
    HANDLER(name##_G_E_m##bits)                                                                    \
    {                                                                                              \
        name##_op##bits(c, reg_get##bits(c, i), op_ld##bits(c, i));                                \
    }

/* A store form of the flags-only operations, to share OP2's text. */
#define FLAGS2(name, bits)                                                                         \
    static inline void name##_op##bits(struct viv_x86 *c, u##bits d, u##bits s)                    \
    {                                                                                              \
        u16 fl;                                                                                    \
                                                                                                   \
        __asm__(#name " %[s],%[d]" SAVE_FLAGS : "=&a"(fl) : [d] "q"(d), [s] "q"(s) : "cc");        \
        c->arith = fl;                                                                             \
    }

#define ALL_SIZES(m, name) m(name, 8) m(name, 16) m(name, 32) m(name, 64)
#define ALU_FORMS(name) FORMS(name##_E_G) FORMS(name##_G_E) FORMS(name##_E_I) FORMS_R(name##_A_I)

#define ALU(name, pre, input)                                                                      \
    OP2(name, 8, pre, input) OP2(name, 16, pre, input)                                             \
    OP2(name, 32, pre, input) OP2(name, 64, pre, input)                                            \
    ALL_SIZES(WRITING, name)                                                                       \
    ALU_FORMS(name)

ALU(add, "", NO_CARRY)
ALU(or, "", NO_CARRY)
ALU(adc, LOAD_CARRY, CARRY_IN)
ALU(sbb, LOAD_CARRY, CARRY_IN)
ALU(and, "", NO_CARRY)
ALU(sub, "", NO_CARRY)
ALU(xor, "", NO_CARRY)

ALL_SIZES(FLAGS2, cmp)
ALL_SIZES(COMPARING, cmp)
ALL_SIZES(COMPARING_G_E, cmp)
ALU_FORMS(cmp)

ALL_SIZES(FLAGS2, test)
ALL_SIZES(COMPARING, test)
FORMS(test_E_G)
FORMS(test_E_I)
FORMS_R(test_A_I)

/* One operand. INC and DEC keep CF: it goes in by BT and comes out unchanged. */
#define OP1(name, bits, pre, input, out)                                                           \
    static inline u##bits name##_op##bits(struct viv_x86 *c, u##bits d)                            \
    {                                                                                              \
        u16 fl;                                                                                    \
                                                                                                   \
        __asm__(pre #name " %[d]" SAVE_FLAGS : [d] "+q"(d), "=&a"(fl) : input : "cc");             \
        out;                                                                                       \
        return d;                                                                                  \
    }                                                                                              \
    static void name##_locked##bits(struct viv_x86 *c, const struct viv_insn *i)                   \
    {                                                                                              \
        u64 lin;                                                                                   \
        u16 fl;                                                                                    \
        void *p = viv_lock_begin(c, i, bits / 8, &lin);                                            \
                                                                                                   \
        if (p) {                                                                                   \
            __asm__ volatile(pre "lock " #name SUFFIX##bits " %[d]" SAVE_FLAGS                     \
                             : [d] "+m"(*(u##bits *)p), "=&a"(fl)                                  \
                             : input                                                               \
                             : "cc", "memory");                                                    \
            out;                                                                                   \
        } else {                                                                                   \
            viv_st##bits(c, lin, name##_op##bits(c, viv_ld##bits(c, lin)));                        \
        }                                                                                          \
        viv_lock_end(c, p, bits / 8);                                                              \
    }                                                                                              \
    HANDLER(name##_E_r##bits)                                                                      \
    {                                                                                              \
        rm_set##bits(c, i, name##_op##bits(c, rm_get##bits(c, i)));                                \
    }                                                                                              \
    HANDLER(name##_E_m##bits)                                                                      \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d;                                                                                 \
                                                                                                   \
        if (UNLIKELY(i->lock)) {                                                                   \
            name##_locked##bits(c, i);                                                             \
            return;                                                                                \
        }                                                                                          \
        d = rmw_begin##bits(c, i, &m);                                                             \
        rmw_end##bits(c, i, &m, name##_op##bits(c, d));                                            \
    }

#define SUFFIX8  "b"
#define SUFFIX16 "w"
#define SUFFIX32 "l"
#define SUFFIX64 "q"

#define UNARY(name, pre, input, out)                                                               \
    OP1(name, 8, pre, input, out) OP1(name, 16, pre, input, out) OP1(name, 32, pre, input, out)    \
    OP1(name, 64, pre, input, out) FORMS(name##_E)

#define CARRY_ONLY [in] "r"((u32)c->arith)
#define NOTHING    [in] "i"(0)

UNARY(inc, LOAD_CARRY, CARRY_ONLY, c->arith = fl)
UNARY(dec, LOAD_CARRY, CARRY_ONLY, c->arith = fl)
UNARY(neg, "", NOTHING, c->arith = fl)
UNARY(not, "", NOTHING, (void)fl)

/* 40-4F: the same on a register of the opcode, which the decoder puts where modrm.rm goes. */
const viv_exec_fn viv_forms_inc_Z[8] = {NULL, inc_E_r16, inc_E_r32, inc_E_r64};
const viv_exec_fn viv_forms_dec_Z[8] = {NULL, dec_E_r16, dec_E_r32, dec_E_r64};
