/* Data movement: MOV and its widening forms, LEA, XCHG, BSWAP, MOVBE, CMOVcc, SETcc, XLAT, CBW
 * and family. */
#include "cpu/x86/interp/cond.h"
#include "cpu/x86/interp/exec.h"
#include "cpu/x86/interp/operand.h"

#define ALL_SIZES(m) m(8) m(16) m(32) m(64)

#define MOV(bits)                                                                                  \
    HANDLER(mov_E_G_r##bits)                                                                       \
    {                                                                                              \
        rm_set##bits(c, i, reg_get##bits(c, i));                                                   \
    }                                                                                              \
    HANDLER(mov_E_G_m##bits)                                                                       \
    {                                                                                              \
        op_st##bits(c, i, reg_get##bits(c, i));                                                    \
    }                                                                                              \
    HANDLER(mov_G_E_r##bits)                                                                       \
    {                                                                                              \
        reg_set##bits(c, i, rm_get##bits(c, i));                                                   \
    }                                                                                              \
    HANDLER(mov_G_E_m##bits)                                                                       \
    {                                                                                              \
        u##bits v = op_ld##bits(c, i);                                                             \
                                                                                                   \
        reg_set##bits(c, i, v);                                                                    \
    }                                                                                              \
    HANDLER(mov_E_I_r##bits)                                                                       \
    {                                                                                              \
        rm_set##bits(c, i, (u##bits)i->imm);                                                       \
    }                                                                                              \
    HANDLER(mov_E_I_m##bits)                                                                       \
    {                                                                                              \
        op_st##bits(c, i, (u##bits)i->imm);                                                        \
    }                                                                                              \
    HANDLER(mov_A_O_##bits)                                                                        \
    {                                                                                              \
        u##bits v = mem_ld##bits(c, i->seg, i->imm);                                               \
                                                                                                   \
        acc_set##bits(c, v);                                                                       \
    }                                                                                              \
    HANDLER(mov_O_A_##bits)                                                                        \
    {                                                                                              \
        mem_st##bits(c, i->seg, i->imm, acc_get##bits(c));                                         \
    }
ALL_SIZES(MOV)
FORMS(mov_E_G)
FORMS(mov_G_E)
FORMS(mov_E_I)
FORMS_R(mov_A_O)
FORMS_R(mov_O_A)
const viv_exec_fn viv_forms_mov_Z_I[8] = {mov_E_I_r8, mov_E_I_r16, mov_E_I_r32, mov_E_I_r64};

/* Widening: destination size by form, source size in the name. */
#define WIDEN(name, src, type, bits)                                                               \
    HANDLER(name##_r##bits)                                                                        \
    {                                                                                              \
        reg_set##bits(c, i, (u##bits)(type)rm_get##src(c, i));                                     \
    }                                                                                              \
    HANDLER(name##_m##bits)                                                                        \
    {                                                                                              \
        type v = (type)op_ld##src(c, i);                                                           \
                                                                                                   \
        reg_set##bits(c, i, (u##bits)v);                                                           \
    }
#define WIDEN_ALL(name, src, type)                                                                 \
    WIDEN(name, src, type, 16) WIDEN(name, src, type, 32) WIDEN(name, src, type, 64) FORMS_NB(name)
WIDEN_ALL(movzx_b, 8, u8)
WIDEN_ALL(movzx_w, 16, u16)
WIDEN_ALL(movsx_b, 8, s8)
WIDEN_ALL(movsx_w, 16, s16)

/* MOVSXD: with a 16-bit operand it moves 16 bits, with 32 it moves 32 (SDM 2B). */
#define movsxd_r16 mov_G_E_r16
#define movsxd_m16 mov_G_E_m16
#define movsxd_r32 mov_G_E_r32
#define movsxd_m32 mov_G_E_m32
WIDEN(movsxd, 32, s32, 64)
FORMS_NB(movsxd)

HANDLER(lea_m16)
{
    reg_set16(c, i, (u16)ea_of(c, i));
}
HANDLER(lea_m32)
{
    reg_set32(c, i, (u32)ea_of(c, i));
}
HANDLER(lea_m64)
{
    reg_set64(c, i, ea_of(c, i));
}
FORMS_M(lea)

/* XCHG with memory is always LOCKed. */
#define XCHG(bits)                                                                                 \
    HANDLER(xchg_E_G_r##bits)                                                                      \
    {                                                                                              \
        u##bits a = rm_get##bits(c, i), b = reg_get##bits(c, i);                                   \
                                                                                                   \
        rm_set##bits(c, i, b);                                                                     \
        reg_set##bits(c, i, a);                                                                    \
    }                                                                                              \
    HANDLER(xchg_E_G_m##bits)                                                                      \
    {                                                                                              \
        u64 lin;                                                                                   \
        u##bits v = reg_get##bits(c, i), old;                                                      \
        void *p = viv_lock_begin(c, i, bits / 8, &lin);                                            \
                                                                                                   \
        if (p) {                                                                                   \
            __asm__ volatile("xchg %0,%1" : "+q"(v), "+m"(*(u##bits *)p) : : "memory");            \
            old = v;                                                                               \
        } else {                                                                                   \
            old = viv_ld##bits(c, lin);                                                            \
            viv_st##bits(c, lin, v);                                                               \
        }                                                                                          \
        viv_lock_end(c, p, bits / 8);                                                              \
        reg_set##bits(c, i, old);                                                                  \
    }
ALL_SIZES(XCHG)
FORMS(xchg_E_G)

/* 90-97. XCHG rAX, rAX is NOP: it does not clear the upper half in its 32-bit form. */
#define XCHG_Z(bits)                                                                               \
    HANDLER(xchg_Z_A_##bits)                                                                       \
    {                                                                                              \
        u##bits a = acc_get##bits(c);                                                              \
                                                                                                   \
        if (i->rm == VIV_RAX)                                                                      \
            return;                                                                                \
        acc_set##bits(c, rm_get##bits(c, i));                                                      \
        rm_set##bits(c, i, a);                                                                     \
    }
XCHG_Z(16)
XCHG_Z(32)
XCHG_Z(64)
const viv_exec_fn viv_forms_xchg_Z_A[8] = {NULL, xchg_Z_A_16, xchg_Z_A_32, xchg_Z_A_64};

/* BSWAP of a 16-bit register is undefined; CPUs of both vendors store zero. */
HANDLER(bswap_16)
{
    rm_set16(c, i, 0);
}
HANDLER(bswap_32)
{
    rm_set32(c, i, __builtin_bswap32(rm_get32(c, i)));
}
HANDLER(bswap_64)
{
    rm_set64(c, i, __builtin_bswap64(rm_get64(c, i)));
}
const viv_exec_fn viv_forms_bswap[8] = {NULL, bswap_16, bswap_32, bswap_64};

#define MOVBE(bits)                                                                                \
    HANDLER(movbe_G_M_m##bits)                                                                     \
    {                                                                                              \
        u##bits v = op_ld##bits(c, i);                                                             \
                                                                                                   \
        reg_set##bits(c, i, __builtin_bswap##bits(v));                                             \
    }                                                                                              \
    HANDLER(movbe_M_G_m##bits)                                                                     \
    {                                                                                              \
        op_st##bits(c, i, __builtin_bswap##bits(reg_get##bits(c, i)));                             \
    }
MOVBE(16)
MOVBE(32)
MOVBE(64)
FORMS_M(movbe_G_M)
FORMS_M(movbe_M_G)

/* CMOVcc reads memory, and clears the upper half with 32-bit operands, whether or not the
 * condition holds. */
#define CMOV(cc, bits)                                                                             \
    HANDLER(cmov##cc##_r##bits)                                                                    \
    {                                                                                              \
        reg_set##bits(c, i, cond_##cc(c->arith) ? rm_get##bits(c, i) : reg_get##bits(c, i));       \
    }                                                                                              \
    HANDLER(cmov##cc##_m##bits)                                                                    \
    {                                                                                              \
        u##bits v = op_ld##bits(c, i);                                                             \
                                                                                                   \
        reg_set##bits(c, i, cond_##cc(c->arith) ? v : reg_get##bits(c, i));                        \
    }
#define CMOV_SET(cc)                                                                               \
    CMOV(cc, 16) CMOV(cc, 32) CMOV(cc, 64) FORMS_NB(cmov##cc)                                      \
    HANDLER(set##cc##_r8)                                                                          \
    {                                                                                              \
        rm_set8(c, i, cond_##cc(c->arith));                                                        \
    }                                                                                              \
    HANDLER(set##cc##_m8)                                                                          \
    {                                                                                              \
        op_st8(c, i, cond_##cc(c->arith));                                                         \
    }                                                                                              \
    const viv_exec_fn viv_forms_set##cc[8] = {[0] = set##cc##_r8, [4] = set##cc##_m8};
CONDITIONS(CMOV_SET)

void viv_exec_xlat(struct viv_x86 *c, const struct viv_insn *i)
{
    u64 ea = (c->gpr[VIV_RBX] + (u8)c->gpr[VIV_RAX]) & viv_size_mask[i->asz];

    acc_set8(c, mem_ld8(c, i->seg, ea));
}

void viv_exec_cbw(struct viv_x86 *c, const struct viv_insn *i)
{
    acc_set16(c, (u16)(s8)c->gpr[VIV_RAX]);
}
void viv_exec_cwde(struct viv_x86 *c, const struct viv_insn *i)
{
    acc_set32(c, (u32)(s16)c->gpr[VIV_RAX]);
}
void viv_exec_cdqe(struct viv_x86 *c, const struct viv_insn *i)
{
    acc_set64(c, (u64)(s32)c->gpr[VIV_RAX]);
}
void viv_exec_cwd(struct viv_x86 *c, const struct viv_insn *i)
{
    set_reg16(c, VIV_RDX, (s16)c->gpr[VIV_RAX] < 0 ? 0xffff : 0);
}
void viv_exec_cdq(struct viv_x86 *c, const struct viv_insn *i)
{
    set_reg32(c, VIV_RDX, (s32)c->gpr[VIV_RAX] < 0 ? 0xffffffff : 0);
}
void viv_exec_cqo(struct viv_x86 *c, const struct viv_insn *i)
{
    c->gpr[VIV_RDX] = (s64)c->gpr[VIV_RAX] < 0 ? ~(u64)0 : 0;
}

/* The 64 bytes are read first, then written in one go (SDM: the write is atomic, the read is
 * not). */
void viv_exec_movdir64b(struct viv_x86 *c, const struct viv_insn *i)
{
    u8 buf[64];
    u64 to = c->gpr[i->reg] & viv_size_mask[i->asz];
    u64 from = linear_of(c, i, 64, VIV_ACC_READ), lin;

    viv_ld_bytes(c, from, buf, 64);
    lin = viv_x86_linear(c, VIV_ES, to, 64, VIV_ACC_WRITE);
    if (lin & 63)
        viv_x86_raise_error(c, VIV_GP, 0);
    viv_st_bytes(c, lin, buf, 64);
}
