/* Vector instructions that are about memory: masked moves, gathers, broadcasts of a memory operand. */
#include "cpu/x86/interp/simd.h"

#define EXEC(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i)

/* MASKMOVDQU, MASKMOVQ: bytes with a set sign bit in the mask go to DS:rDI. */
static void store_masked_bytes(struct viv_x86 *c, const struct viv_insn *i, const uint8_t *data,
                               const uint8_t *mask, unsigned n)
{
    u64 ea = c->gpr[VIV_RDI] & viv_size_mask[i->asz];
    u64 lin = viv_x86_linear(c, i->seg, ea, n, VIV_ACC_WRITE);

    /* Faults are those of the whole operand, masked or not: silicon does so, the manual allows it. */
    align_check(c, lin, 8);
    viv_probe(c, lin, 1, VIV_ACC_WRITE);
    viv_probe(c, lin + n - 1, 1, VIV_ACC_WRITE);
    for (unsigned k = 0; k < n; k++) {
        if (mask[k] & 0x80)
            mem_st8(c, i->seg, (ea + k) & viv_size_mask[i->asz], data[k]);
    }
}

EXEC(maskmovdqu)
{
    need_vec(c, i);
    store_masked_bytes(c, i, c->fpu.zmm[i->reg], c->fpu.zmm[i->rm], 16);
}

EXEC(maskmovq)
{
    u64 data, mask;

    viv_x87_check(c, true);
    data = mm_get(c, i->reg);
    mask = mm_get(c, i->rm);
    store_masked_bytes(c, i, (uint8_t *)&data, (uint8_t *)&mask, 8);
    viv_mmx_enter(c);
}

static bool masked_in(const uint8_t *mask, unsigned k, unsigned size)
{
    return mask[k * size + size - 1] & 0x80;
}

/* VMASKMOV, VPMASKMOV: elements masked out are neither read nor written and cannot fault. */
static unsigned element_size(const struct viv_insn *i)
{
    switch (i->opcode) {
    case 0x2d: case 0x2f: return 8;
    case 0x8c: case 0x8e: return i->vex_w ? 8 : 4;
    default: return 4;
    }
}

static u64 element_ea(const struct viv_x86 *c, const struct viv_insn *i, unsigned offset)
{
    return ea_of(c, i) + offset; /* only the first address wraps at 32 bits */
}

EXEC(vmaskmov_ld)
{
    unsigned size = element_size(i), n = (16u << i->vl) / size;
    uint8_t v[32] = {0};

    need_avx(c);
    for (unsigned k = 0; k < n; k++) {
        if (masked_in(c->fpu.zmm[i->vvvv], k, size)) {
            u64 x = viv_simd_element(c, i->seg, element_ea(c, i, k * size), size);

            memcpy(v + k * size, &x, size);
        }
    }
    set_vec(c, i, i->reg, v, 32);
}

EXEC(vmaskmov_st)
{
    unsigned size = element_size(i), n = (16u << i->vl) / size;
    const uint8_t *mask = c->fpu.zmm[i->vvvv];

    need_avx(c);
    for (unsigned k = 0; k < n; k++) {
        if (masked_in(mask, k, size)) {
            u64 lin = viv_x86_linear(c, i->seg, element_ea(c, i, k * size), size, VIV_ACC_WRITE);

            viv_probe(c, lin, 1, VIV_ACC_WRITE); /* elements have no alignment check */
            viv_probe(c, lin + size - 1, 1, VIV_ACC_WRITE);
        }
    }
    for (unsigned k = 0; k < n; k++) {
        if (masked_in(mask, k, size)) {
            const uint8_t *x = c->fpu.zmm[i->reg] + k * size;

            viv_simd_store_element(c, i->seg, element_ea(c, i, k * size), x, size);
        }
    }
}

EXEC(vbroadcast)
{
    unsigned size = i->opcode == 0x18 ? 4 : i->opcode == 0x19 ? 8 : 16;
    uint8_t v[32];

    need_avx(c);
    vec_load(c, i, v, size, false);
    for (unsigned k = size; k < 32; k += size)
        memcpy(v + k, v, size);
    if (!i->vl)
        memset(v + 16, 0, 16);
    set_vec(c, i, i->reg, v, 32);
}

/* Gathers (SDM 2C, VPGATHERDD and others): element by element from the lowest; one that is done has its mask
 * element cleared, so that a fault in between can be restarted. */
EXEC(vgather)
{
    unsigned size = i->vex_w ? 8 : 4, index_size = i->opcode & 1 ? 8 : 4;
    unsigned wider = size > index_size ? size : index_size;
    unsigned n = (16u << i->vl) / wider;
    uint8_t *dest = c->fpu.zmm[i->reg], *mask = c->fpu.zmm[i->vvvv];
    const uint8_t *index = c->fpu.zmm[i->index];

    need_avx(c);
    if (i->reg == i->vvvv || i->reg == i->index || i->vvvv == i->index)
        viv_x86_ud(c);
    /* First the mask becomes all-ones or zero per element, those that have no index too. */
    for (unsigned k = 0; k < (16u << i->vl) / size; k++)
        memset(mask + k * size, masked_in(mask, k, size) ? 0xff : 0, size);
    memset(mask + (16u << i->vl), 0, 64 - (16u << i->vl));
    for (unsigned k = 0; k < n; k++) {
        int64_t x = 0;
        u64 ea, v;

        if (!mask[k * size])
            continue;
        memcpy(&x, index + k * index_size, index_size);
        if (index_size == 4)
            x = (int32_t)x;
        ea = (c->reg[i->base] + ((u64)x << i->scale) + (s64)i->disp) & viv_size_mask[i->asz];
        v = viv_simd_element(c, i->seg, ea, size); /* no alignment check */
        memcpy(dest + k * size, &v, size);
        if (size == wider) /* as silicon does: a fault later shows it */
            memset(dest + n * size, 0, 64 - n * size);
        memset(mask + k * size, 0, size);
    }
    memset(mask, 0, 64);
    memset(dest + n * size, 0, 64 - n * size);
}
