/* AVX-512 that is about memory: gathers, scatters, stores of opmasks. */
#include "cpu/x86/decode/evex.h"
#include "cpu/x86/interp/simd.h"

void viv_exec_kmov_M_K(struct viv_x86 *c, const struct viv_insn *i)
{
    need_avx512(c);
    mem_st_sized(c, i->seg, ea_of(c, i), viv_evex_memory(i), c->fpu.k[i->reg]);
}

/* Gathers and scatters (SDM 2C): element by element from the lowest; one that is done has its opmask bit cleared, so that
 * a fault in between can be restarted. */
struct vsib {
    unsigned n, size, index_size;
};

static struct vsib vsib_of(const struct viv_insn *i)
{
    struct vsib s = {.size = E_SIZE(i->row->evex), .index_size = i->opcode & 1 ? 8 : 4};

    s.n = (16u << i->vl) / (s.size > s.index_size ? s.size : s.index_size);
    return s;
}

static u64 vsib_address(const struct viv_x86 *c, const struct viv_insn *i, const struct vsib *s, unsigned k)
{
    int64_t x = 0;

    memcpy(&x, c->fpu.zmm[i->index] + k * s->index_size, s->index_size);
    if (s->index_size == 4)
        x = (int32_t)x;
    return (c->reg[i->base] + ((u64)x << i->scale) + (s64)i->disp) & viv_size_mask[i->asz];
}

void viv_exec_evex_gather(struct viv_x86 *c, const struct viv_insn *i)
{
    struct vsib s = vsib_of(i);
    uint8_t *dest = c->fpu.zmm[i->reg];
    u64 *mask = &c->fpu.k[i->mask];

    need_avx512(c);
    if (i->reg == i->index)
        viv_x86_ud(c);
    for (unsigned k = 0; k < s.n; k++) {
        u64 v;

        if (!(*mask >> k & 1))
            continue;
        v = viv_simd_element(c, i->seg, vsib_address(c, i, &s, k), s.size);
        memcpy(dest + k * s.size, &v, s.size);
        *mask &= ~(1ull << k);
    }
    *mask = 0;
    memset(dest + s.n * s.size, 0, 64 - s.n * s.size);
}

void viv_exec_evex_scatter(struct viv_x86 *c, const struct viv_insn *i)
{
    struct vsib s = vsib_of(i);
    u64 *mask = &c->fpu.k[i->mask];

    need_avx512(c);
    for (unsigned k = 0; k < s.n; k++) {
        if (!(*mask >> k & 1))
            continue;
        viv_simd_store_element(c, i->seg, vsib_address(c, i, &s, k), c->fpu.zmm[i->reg] + k * s.size, s.size);
        *mask &= ~(1ull << k);
    }
    *mask = 0;
}
