/* Bit test and scan, BMI1, BMI2, ADX, POPCNT, CRC32: on the host's own instructions, flags kept
 * as they come. Rows give those that not every CPU has a feature, and a feature the host lacks
 * is not offered. */
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#define LOAD_FLAGS "addb $127,%%al\n\tsahf\n\t"
#define SAVE_FLAGS "\n\tlahf\n\tseto %%al"

/* BT family with the bit number in a register and a memory operand addresses memory beyond it:
 * the number is signed, and counts operands of the operand size (SDM 2A BT). */
#define BIT_EA(bits)                                                                               \
    static inline u64 bit_ea##bits(struct viv_x86 *c, const struct viv_insn *i)                    \
    {                                                                                              \
        s64 n = (s##bits)reg_get##bits(c, i);                                                      \
                                                                                                   \
        return (ea_of(c, i) + (u64)(n >> LOG##bits) * (bits / 8)) & viv_size_mask[i->asz];         \
    }
#define LOG16 4
#define LOG32 5
#define LOG64 6
BIT_EA(16)
BIT_EA(32)
BIT_EA(64)

#define BIT_OP(name, bits)                                                                         \
    static inline u##bits name##_op##bits(struct viv_x86 *c, u##bits d, u##bits n)                 \
    {                                                                                              \
        u16 fl = c->arith;                                                                         \
                                                                                                   \
        n &= bits - 1;                                                                             \
        __asm__(LOAD_FLAGS #name " %[n],%[d]" SAVE_FLAGS                                           \
                : [d] "+r"(d), "+a"(fl)                                                            \
                : [n] "r"(n)                                                                       \
                : "cc");                                                                           \
        c->arith = fl;                                                                             \
        return d;                                                                                  \
    }

#define BIT_WRITE(name, bits)                                                                      \
    BIT_OP(name, bits)                                                                             \
    static void name##_mem##bits(struct viv_x86 *c, const struct viv_insn *i, u64 ea, u##bits n)   \
    {                                                                                              \
        struct rmw m;                                                                              \
        u##bits d;                                                                                 \
        u16 fl = c->arith;                                                                         \
        u64 lin;                                                                                   \
        void *p;                                                                                   \
                                                                                                   \
        n &= bits - 1;                                                                             \
        if (!i->lock) {                                                                            \
            d = rmw_at##bits(c, i, ea, &m);                                                        \
            rmw_end##bits(c, i, &m, name##_op##bits(c, d, n));                                     \
            return;                                                                                \
        }                                                                                          \
        p = viv_lock_at(c, i, ea, bits / 8, &lin);                                                 \
        if (p) {                                                                                   \
            __asm__ volatile(LOAD_FLAGS "lock " #name " %[n],%[d]" SAVE_FLAGS                      \
                             : [d] "+m"(*(u##bits *)p), "+a"(fl)                                   \
                             : [n] "r"(n)                                                          \
                             : "cc", "memory");                                                    \
            c->arith = fl;                                                                         \
        } else {                                                                                   \
            viv_st##bits(c, lin, name##_op##bits(c, viv_ld##bits(c, lin), n));                     \
        }                                                                                          \
        viv_lock_end(c, p, bits / 8);                                                              \
    }                                                                                              \
    HANDLER(name##_E_G_r##bits)                                                                    \
    {                                                                                              \
        rm_set##bits(c, i, name##_op##bits(c, rm_get##bits(c, i), reg_get##bits(c, i)));           \
    }                                                                                              \
    HANDLER(name##_E_G_m##bits)                                                                    \
    {                                                                                              \
        name##_mem##bits(c, i, bit_ea##bits(c, i), reg_get##bits(c, i));                           \
    }                                                                                              \
    HANDLER(name##_E_I_r##bits)                                                                    \
    {                                                                                              \
        rm_set##bits(c, i, name##_op##bits(c, rm_get##bits(c, i), (u##bits)i->imm));               \
    }                                                                                              \
    HANDLER(name##_E_I_m##bits)                                                                    \
    {                                                                                              \
        name##_mem##bits(c, i, ea_of(c, i), (u##bits)i->imm);                                      \
    }
#define BIT_WRITES(name)                                                                           \
    BIT_WRITE(name, 16) BIT_WRITE(name, 32) BIT_WRITE(name, 64) FORMS_NB(name##_E_G)               \
    FORMS_NB(name##_E_I)
BIT_WRITES(bts)
BIT_WRITES(btr)
BIT_WRITES(btc)

#define BIT_TEST(bits)                                                                             \
    BIT_OP(bt, bits)                                                                               \
    HANDLER(bt_E_G_r##bits)                                                                        \
    {                                                                                              \
        bt_op##bits(c, rm_get##bits(c, i), reg_get##bits(c, i));                                   \
    }                                                                                              \
    HANDLER(bt_E_G_m##bits)                                                                        \
    {                                                                                              \
        bt_op##bits(c, mem_ld##bits(c, i->seg, bit_ea##bits(c, i)), reg_get##bits(c, i));          \
    }                                                                                              \
    HANDLER(bt_E_I_r##bits)                                                                        \
    {                                                                                              \
        bt_op##bits(c, rm_get##bits(c, i), (u##bits)i->imm);                                       \
    }                                                                                              \
    HANDLER(bt_E_I_m##bits)                                                                        \
    {                                                                                              \
        bt_op##bits(c, op_ld##bits(c, i), (u##bits)i->imm);                                        \
    }
BIT_TEST(16)
BIT_TEST(32)
BIT_TEST(64)
FORMS_NB(bt_E_G)
FORMS_NB(bt_E_I)

/* Source in E, destination in G as a whole register: what the host leaves of it (BSF of zero
 * keeps it, 32-bit results clear the upper half) is what the guest gets. */
#define SCAN(name, insn, bits, m)                                                                  \
    static inline void name##_op##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits s)     \
    {                                                                                              \
        u64 d = c->gpr[i->reg];                                                                    \
        u16 fl = c->arith;                                                                         \
                                                                                                   \
        __asm__(LOAD_FLAGS insn " %[s],%" m "[d]" SAVE_FLAGS                                       \
                : [d] "+r"(d), "+a"(fl)                                                            \
                : [s] "r"(s)                                                                       \
                : "cc");                                                                           \
        c->gpr[i->reg] = d;                                                                        \
        c->arith = fl;                                                                             \
    }                                                                                              \
    HANDLER(name##_r##bits)                                                                        \
    {                                                                                              \
        name##_op##bits(c, i, rm_get##bits(c, i));                                                 \
    }                                                                                              \
    HANDLER(name##_m##bits)                                                                        \
    {                                                                                              \
        name##_op##bits(c, i, op_ld##bits(c, i));                                                  \
    }
#define FORMS_Y(name)                                                                              \
    const viv_exec_fn viv_forms_##name[8] = {[2] = name##_r32, [3] = name##_r64,                   \
                                             [6] = name##_m32, [7] = name##_m64};
#define SCAN3(name) SCAN(name, #name, 16, "w") SCAN2(name) FORMS_NB(name)
#define SCAN2(name) SCAN(name, #name, 32, "k") SCAN(name, #name, 64, "q")
SCAN3(bsf)
SCAN3(bsr)
SCAN3(popcnt)
SCAN3(tzcnt)
SCAN3(lzcnt)
SCAN2(adcx)
SCAN2(adox)
FORMS_Y(adcx)
FORMS_Y(adox)

/* CRC32: the destination is 32 bits, or 64 with REX.W; the form is the source's size. */
#define CRC32(bits, suffix)                                                                        \
    static inline void crc32_##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits s)        \
    {                                                                                              \
        u64 d = (u32)c->gpr[i->reg];                                                               \
                                                                                                   \
        __asm__("crc32" suffix " %[s],%q[d]" : [d] "+r"(d) : [s] "q"(s));                          \
        c->gpr[i->reg] = (u32)d;                                                                   \
    }                                                                                              \
    HANDLER(crc32_r##bits)                                                                         \
    {                                                                                              \
        crc32_##bits(c, i, rm_get##bits(c, i));                                                    \
    }                                                                                              \
    HANDLER(crc32_m##bits)                                                                         \
    {                                                                                              \
        crc32_##bits(c, i, op_ld##bits(c, i));                                                     \
    }
#define CRC32_WIDE(bits, suffix)                                                                   \
    static inline void crc32_##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits s)        \
    {                                                                                              \
        u32 d = (u32)c->gpr[i->reg];                                                               \
                                                                                                   \
        __asm__("crc32" suffix " %[s],%k[d]" : [d] "+r"(d) : [s] "r"(s));                          \
        c->gpr[i->reg] = d;                                                                        \
    }                                                                                              \
    HANDLER(crc32_r##bits)                                                                         \
    {                                                                                              \
        crc32_##bits(c, i, rm_get##bits(c, i));                                                    \
    }                                                                                              \
    HANDLER(crc32_m##bits)                                                                         \
    {                                                                                              \
        crc32_##bits(c, i, op_ld##bits(c, i));                                                     \
    }
CRC32(8, "b")
CRC32_WIDE(16, "w")
CRC32_WIDE(32, "l")
CRC32(64, "q")
FORMS(crc32)

/* VEX forms with flags: destination, then the manual's two sources `a` (first operand to the
 * instruction in Intel's order) and `b`. */
#define VEX3(name, bits, dst, a, b)                                                                \
    static inline void name##_op##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits e)     \
    {                                                                                              \
        u##bits v = (u##bits)c->gpr[i->vvvv], d;                                                   \
        u16 fl = c->arith;                                                                         \
                                                                                                   \
        __asm__(LOAD_FLAGS #name " %[" b "],%[" a "],%[d]" SAVE_FLAGS                              \
                : [d] "=&r"(d), "+a"(fl)                                                           \
                : [e] "r"(e), [v] "r"(v)                                                           \
                : "cc");                                                                           \
        c->gpr[dst] = d;                                                                           \
        c->arith = fl;                                                                             \
    }                                                                                              \
    HANDLER(name##_r##bits)                                                                        \
    {                                                                                              \
        name##_op##bits(c, i, rm_get##bits(c, i));                                                 \
    }                                                                                              \
    HANDLER(name##_m##bits)                                                                        \
    {                                                                                              \
        name##_op##bits(c, i, op_ld##bits(c, i));                                                  \
    }
#define VEX3_BOTH(name, a, b)                                                                      \
    VEX3(name, 32, i->reg, a, b) VEX3(name, 64, i->reg, a, b) FORMS_Y(name)
VEX3_BOTH(andn, "v", "e")
VEX3_BOTH(pdep, "v", "e")
VEX3_BOTH(pext, "v", "e")
VEX3_BOTH(bextr, "e", "v")
VEX3_BOTH(bzhi, "e", "v")

/* Destination in VEX.vvvv. */
#define VEX2(name, bits)                                                                           \
    static inline void name##_op##bits(struct viv_x86 *c, const struct viv_insn *i, u##bits e)     \
    {                                                                                              \
        u##bits d;                                                                                 \
        u16 fl = c->arith;                                                                         \
                                                                                                   \
        __asm__(LOAD_FLAGS #name " %[e],%[d]" SAVE_FLAGS                                           \
                : [d] "=&r"(d), "+a"(fl)                                                           \
                : [e] "r"(e)                                                                       \
                : "cc");                                                                           \
        c->gpr[i->vvvv] = d;                                                                       \
        c->arith = fl;                                                                             \
    }                                                                                              \
    HANDLER(name##_r##bits)                                                                        \
    {                                                                                              \
        name##_op##bits(c, i, rm_get##bits(c, i));                                                 \
    }                                                                                              \
    HANDLER(name##_m##bits)                                                                        \
    {                                                                                              \
        name##_op##bits(c, i, op_ld##bits(c, i));                                                  \
    }
#define VEX2_BOTH(name) VEX2(name, 32) VEX2(name, 64) FORMS_Y(name)
VEX2_BOTH(blsr)
VEX2_BOTH(blsmsk)
VEX2_BOTH(blsi)
