/* Writing host instructions. Nothing here touches the flags unless its name says so. */
#ifndef VIV_CPU_X86_XLATE_EMIT_H
#define VIV_CPU_X86_XLATE_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Host registers by number. */
enum { H_AX, H_CX, H_DX, H_BX, H_SP, H_BP, H_SI, H_DI, H_8, H_9, H_10, H_11, H_12, H_13, H_14, H_15 };
#define H_NONE 0xff

/* Code space is written through one mapping and runs from another (W^X). */
struct emit {
    uint8_t *p;     /* where the next byte goes */
    intptr_t delta; /* address it runs at minus p */
};

static inline void e8(struct emit *e, unsigned v)
{
    *e->p++ = (uint8_t)v;
}
static inline void e16(struct emit *e, unsigned v)
{
    memcpy(e->p, &(uint16_t){(uint16_t)v}, 2);
    e->p += 2;
}
static inline void e32(struct emit *e, uint32_t v)
{
    memcpy(e->p, &v, 4);
    e->p += 4;
}
static inline void e64(struct emit *e, uint64_t v)
{
    memcpy(e->p, &v, 8);
    e->p += 8;
}

/* A memory operand: [base + index << scale + disp], any part but the base may be missing; base H_NONE: only disp. */
struct emem {
    uint8_t base, index, scale;
    int32_t disp;
};
#define EMEM(b, d)       ((struct emem){.base = (b), .index = H_NONE, .disp = (d)})
#define EMEMX(b, x, s, d) ((struct emem){.base = (b), .index = (x), .scale = (s), .disp = (d)})

static inline void e_modrm_reg(struct emit *e, unsigned reg, unsigned rm)
{
    e8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void e_modrm_mem(struct emit *e, unsigned reg, struct emem m)
{
    bool sib = m.index != H_NONE || m.base == H_NONE || (m.base & 7) == H_SP;
    unsigned mod = m.base == H_NONE                     ? 0
                   : m.disp == 0 && (m.base & 7) != H_BP ? 0
                   : m.disp == (int8_t)m.disp           ? 1
                                                        : 2;

    e8(e, mod << 6 | (reg & 7) << 3 | (sib ? 4 : m.base & 7));
    if (sib)
        e8(e, m.scale << 6 | (m.index == H_NONE ? 4 : m.index & 7) << 3 |
                  (m.base == H_NONE ? 5 : m.base & 7));
    if (mod == 1)
        e8(e, m.disp);
    else if (mod == 2 || m.base == H_NONE)
        e32(e, m.disp);
}

/* REX bits of a memory operand: X and B. */
static inline unsigned rex_mem(struct emem m)
{
    return (m.index != H_NONE && m.index >= 8 ? 2 : 0) | (m.base != H_NONE && m.base >= 8 ? 1 : 0);
}

/* op reg, [m], one-byte opcode. */
static inline void e_op_mem(struct emit *e, bool w, unsigned op, unsigned reg, struct emem m)
{
    unsigned rex = (w ? 8 : 0) | (reg >= 8 ? 4 : 0) | rex_mem(m);

    if (rex)
        e8(e, 0x40 | rex);
    e8(e, op);
    e_modrm_mem(e, reg, m);
}
static inline void e_op_reg(struct emit *e, bool w, unsigned op, unsigned reg, unsigned rm)
{
    unsigned rex = (w ? 8 : 0) | (reg >= 8 ? 4 : 0) | (rm >= 8 ? 1 : 0);

    if (rex)
        e8(e, 0x40 | rex);
    e8(e, op);
    e_modrm_reg(e, reg, rm);
}

static inline void e_mov(struct emit *e, unsigned to, unsigned from)
{
    e_op_reg(e, true, 0x8b, to, from);
}
static inline void e_mov32(struct emit *e, unsigned to, unsigned from)
{
    e_op_reg(e, false, 0x8b, to, from);
}
static inline void e_not(struct emit *e, unsigned r)
{
    e_op_reg(e, true, 0xf7, 2, r);
}
static inline void e_load(struct emit *e, unsigned to, struct emem m)
{
    e_op_mem(e, true, 0x8b, to, m);
}
static inline void e_load32(struct emit *e, unsigned to, struct emem m)
{
    e_op_mem(e, false, 0x8b, to, m);
}
static inline void e_store(struct emit *e, struct emem m, unsigned from)
{
    e_op_mem(e, true, 0x89, from, m);
}
static inline void e_lea(struct emit *e, bool w, unsigned to, struct emem m)
{
    e_op_mem(e, w, 0x8d, to, m);
}
static inline void e_mov_imm32(struct emit *e, unsigned to, uint32_t v) /* zero-extended */
{
    if (to >= 8)
        e8(e, 0x41);
    e8(e, 0xb8 | (to & 7));
    e32(e, v);
}
static inline void e_mov_imm(struct emit *e, unsigned to, uint64_t v)
{
    if (v == (uint32_t)v) {
        e_mov_imm32(e, to, (uint32_t)v);
    } else if (v == (uint64_t)(int32_t)v) {
        e8(e, 0x48 | (to >= 8));
        e8(e, 0xc7);
        e_modrm_reg(e, 0, to);
        e32(e, (uint32_t)v);
    } else {
        e8(e, 0x48 | (to >= 8));
        e8(e, 0xb8 | (to & 7));
        e64(e, v);
    }
}

/* 0F xx */
static inline void e_op2_mem(struct emit *e, bool w, unsigned op, unsigned reg, struct emem m)
{
    unsigned rex = (w ? 8 : 0) | (reg >= 8 ? 4 : 0) | rex_mem(m);

    if (rex)
        e8(e, 0x40 | rex);
    e8(e, 0x0f);
    e8(e, op);
    e_modrm_mem(e, reg, m);
}
static inline void e_movzx16(struct emit *e, unsigned to, unsigned from)
{
    unsigned rex = (to >= 8 ? 4 : 0) | (from >= 8 ? 1 : 0);

    if (rex)
        e8(e, 0x40 | rex);
    e8(e, 0x0f);
    e8(e, 0xb7);
    e_modrm_reg(e, to, from);
}

/* VEX, three-byte form: R, X, B as REX bits 4 2 1; pp 0 none 1 66 2 F3 3 F2. */
static inline void e_vex(struct emit *e, unsigned rxb, unsigned map, bool w, unsigned vvvv, bool l, unsigned pp)
{
    if (map == 1 && !w && !(rxb & 3)) {
        e8(e, 0xc5);
        e8(e, (rxb & 4 ? 0 : 0x80) | (~vvvv & 15) << 3 | (unsigned)l << 2 | pp);
        return;
    }
    e8(e, 0xc4);
    e8(e, (~rxb & 7) << 5 | map);
    e8(e, (unsigned)w << 7 | (~vvvv & 15) << 3 | (unsigned)l << 2 | pp);
}
static inline void e_rorx(struct emit *e, bool w, unsigned to, unsigned from, unsigned n)
{
    e_vex(e, (to >= 8 ? 4 : 0) | (from >= 8 ? 1 : 0), 3, w, 0, false, 3);
    e8(e, 0xf0);
    e_modrm_reg(e, to, from);
    e8(e, n);
}
static inline void e_test_mem(struct emit *e, struct emem m, unsigned reg) /* flags */
{
    e_op_mem(e, true, 0x85, reg, m);
}
static inline void e_cmp8_mem(struct emit *e, struct emem m, unsigned imm) /* flags */
{
    e_op_mem(e, false, 0x80, 7, m);
    e8(e, imm);
}
static inline void e_shrx(struct emit *e, unsigned to, unsigned from, unsigned count)
{
    e_vex(e, (to >= 8 ? 4 : 0) | (from >= 8 ? 1 : 0), 2, true, count, false, 3);
    e8(e, 0xf7);
    e_modrm_reg(e, to, from);
}
static inline void e_pext(struct emit *e, unsigned to, unsigned from, struct emem mask)
{
    e_vex(e, (to >= 8 ? 4 : 0) | rex_mem(mask), 2, true, from, false, 2);
    e8(e, 0xf5);
    e_modrm_mem(e, to, mask);
}
static inline void e_pdep(struct emit *e, unsigned to, unsigned from, struct emem mask)
{
    e_vex(e, (to >= 8 ? 4 : 0) | rex_mem(mask), 2, true, from, false, 3);
    e8(e, 0xf5);
    e_modrm_mem(e, to, mask);
}

/* Jumps. Each returns the place of its displacement, for e_patch. */
static inline uint8_t *e_jmp(struct emit *e)
{
    e8(e, 0xe9);
    e32(e, 0);
    return e->p - 4;
}
static inline uint8_t *e_jcc(struct emit *e, unsigned cc)
{
    e8(e, 0x0f);
    e8(e, 0x80 | cc);
    e32(e, 0);
    return e->p - 4;
}
static inline uint8_t *e_jcc8(struct emit *e, unsigned cc)
{
    e8(e, 0x70 | cc);
    e8(e, 0);
    return e->p - 1;
}
static inline uint8_t *e_jrcxz(struct emit *e)
{
    e8(e, 0xe3);
    e8(e, 0);
    return e->p - 1;
}
/* If RCX is 0 to the place that is patched, else on. A jump that is not taken costs nothing; JRCXZ reaches only 127 bytes, so
 * it leads to a JMP that lies in the last bytes of a long NOP (0F 1F 84, SIB E9, disp32). */
static inline uint8_t *e_if_zero(struct emit *e)
{
    e8(e, 0xe3);
    e8(e, 3);
    e8(e, 0x0f);
    e8(e, 0x1f);
    e8(e, 0x84);
    return e_jmp(e);
}
static inline void e_patch(uint8_t *at, const uint8_t *to)
{
    int32_t d = (int32_t)(to - (at + 4));

    memcpy(at, &d, 4);
}
static inline void e_patch8(uint8_t *at, const uint8_t *to)
{
    *at = (uint8_t)(to - (at + 1));
}

/* JMP or CALL through a word of the vCPU (RSP). */
static inline void e_jmp_mem(struct emit *e, struct emem m)
{
    e_op_mem(e, false, 0xff, 4, m);
}
static inline void e_call_mem(struct emit *e, struct emem m)
{
    e_op_mem(e, false, 0xff, 2, m);
}

#endif
