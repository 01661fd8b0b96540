#include "values.h"

#include <string.h>

uint64_t interesting(uint64_t *s)
{
    static const uint64_t v[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
                                 0xffffffff, 0x100000000ull, 0x7fffffffffffffffull, 0x8000000000000000ull, ~0ull};

    switch (below(s, 8)) {
    case 0: case 1: return rnd(s);
    case 2: return rnd(s) & 0xffffffff;
    case 3: return below(s, 256);
    case 4: return (uint64_t)-(int64_t)below(s, 256);
    case 5: return v[below(s, sizeof(v) / sizeof(v[0]))];
    default: return data_address(s);
    }
}

uint64_t real64(uint64_t *s)
{
    static const double d[] = {0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, 3.0, 10.0, 1e10, -7.25, 1e300, 1e-300, 4.9e-324,
                               2147483647.5, -2147483649.0, 9.3e18};
    uint64_t v;

    switch (below(s, 8)) {
    case 0: return rnd(s);
    case 1: return (rnd(s) & 0x800fffffffffffffull); /* denormal */
    case 2: return (rnd(s) & 0x8000000000000000ull) | 0x7ff0000000000000ull | (below(s, 2) ? rnd(s) & 0xfffffffffffffull : 0);
    case 3: return (0x3ff0000000000000ull + ((uint64_t)(below(s, 128) - 64) << 52)) ^ (rnd(s) & 0x800fffffffffffffull);
    default:
        memcpy(&v, &d[below(s, sizeof(d) / sizeof(d[0]))], 8);
        return v;
    }
}

uint32_t real32(uint64_t *s)
{
    static const float f[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 1.5f, 2.5f, 3.0f, 10.0f, 1e10f, -7.25f, 1e38f, 1e-38f, 1e-45f, 2147483648.0f};
    uint32_t v;

    switch (below(s, 8)) {
    case 0: return (uint32_t)rnd(s);
    case 1: return (uint32_t)rnd(s) & 0x807fffff;
    case 2: return ((uint32_t)rnd(s) & 0x80000000) | 0x7f800000 | (below(s, 2) ? (uint32_t)rnd(s) & 0x7fffff : 0);
    case 3: return (0x3f800000 + ((uint32_t)(below(s, 64) - 32) << 23)) ^ ((uint32_t)rnd(s) & 0x807fffff);
    default:
        memcpy(&v, &f[below(s, sizeof(f) / sizeof(f[0]))], 4);
        return v;
    }
}

void real80(uint64_t *s, uint8_t *out)
{
    uint64_t m = rnd(s) | 1ull << 63;
    uint16_t e = (uint16_t)(16383 - 40 + below(s, 80));

    switch (below(s, 10)) {
    case 0: m = rnd(s); e = (uint16_t)rnd(s); break;          /* anything, unnormal too */
    case 1: m = 0; e = 0; break;
    case 2: m = rnd(s) >> 1; e = 0; break;                    /* denormal */
    case 3: m = 1ull << 63; e = 0x7fff; break;                /* infinity */
    case 4: e = 0x7fff; break;                                /* NaN */
    case 5: m = 1ull << 63 | (uint64_t)below(s, 16) << 60; e = (uint16_t)(16383 + below(s, 6)); break;
    default: break;
    }
    if (below(s, 2))
        e |= 0x8000;
    memcpy(out, &m, 8);
    memcpy(out + 8, &e, 2);
}

void fill(uint64_t *s, uint8_t *p, unsigned n)
{
    unsigned kind = below(s, 5);

    for (unsigned k = 0; k + 8 <= n; k += 8) {
        uint64_t v = kind == 0   ? rnd(s)
                     : kind == 1 ? real64(s)
                     : kind == 2 ? real32(s) | (uint64_t)real32(s) << 32
                     : kind == 3 ? interesting(s)
                                 : (rnd(s) & rnd(s) & rnd(s)); /* sparse */

        memcpy(p + k, &v, 8);
    }
    if (kind == 1 && n >= 16 && below(s, 2))
        real80(s, p);
}

void random_fp(uint64_t *s, uint8_t fx[512], uint8_t ymm[16][16])
{
    uint16_t fcw = 0x37f, fsw = (uint16_t)(below(s, 8) << 11);
    uint32_t mxcsr = 0x1f80;

    if (below(s, 2))
        fcw = 0x40 | (uint16_t)(rnd(s) & 0xf3f);
    if (below(s, 3) == 0)
        fcw |= 0x3f;
    if (below(s, 2))
        fsw |= (uint16_t)(rnd(s) & 0x4700); /* condition codes */
    if (below(s, 4) == 0) {
        fsw |= (uint16_t)(rnd(s) & 0x7f);
        if (below(s, 8))
            fsw &= (uint16_t)(0xff00 | (fcw & 0x3f) | 0x40); /* mostly nothing pending */
    }
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    if (below(s, 2))
        mxcsr = 0x1f80 | (uint32_t)(rnd(s) & 0xe07f);
    if (below(s, 6) == 0)
        mxcsr = (uint32_t)rnd(s) & 0xffff;
    memset(fx, 0, 512);
    memcpy(fx, &fcw, 2);
    memcpy(fx + 2, &fsw, 2);
    fx[4] = below(s, 4) ? below(s, 2) ? 0xff : 0 : (uint8_t)rnd(s);
    memcpy(fx + 24, &mxcsr, 4);
    for (unsigned n = 0; n < 8; n++)
        real80(s, fx + 32 + 16 * n);
    for (unsigned n = 0; n < 16; n++) {
        fill(s, fx + 160 + 16 * n, 16);
        fill(s, ymm[n], 16);
    }
    if (below(s, 8) == 0)
        memset(ymm, 0, 256);
}

unsigned pick_bit(uint64_t *s, unsigned mask)
{
    unsigned b;

    do {
        b = below(s, 8);
    } while (!(mask >> b & 1));
    return b;
}

bool operand_kind(const struct viv_row *r, unsigned kind)
{
    for (unsigned n = 0; n < 4; n++) {
        if (viv_operand_info[r->operand[n]].kind == kind)
            return true;
    }
    return false;
}

bool row_modrm(const struct viv_row *r)
{
    static const uint8_t kinds[] = {VIV_K_E, VIV_K_R, VIV_K_M, VIV_K_G, VIV_K_SREG, VIV_K_CREG, VIV_K_DREG, VIV_K_P,
                                    VIV_K_Q, VIV_K_N, VIV_K_V, VIV_K_W, VIV_K_U, VIV_K_VM};

    if (r->map >= VIV_MAP_X87_MEM || (r->select & (0xffff | S_MEM | S_REG)))
        return true;
    for (unsigned n = 0; n < sizeof(kinds); n++) {
        if (operand_kind(r, kinds[n]))
            return true;
    }
    return false;
}

struct evex_bits random_evex(uint64_t *s, const struct viv_row *r)
{
    struct evex_bits e = {.l = below(s, 3), .z = below(s, 3) == 0, .b = below(s, 4) == 0};
    unsigned lengths = (r->select >> 22 & 3) | (r->select & S_L2 ? 4 : 0);

    e.w = allows(r->select, S_W1, S_W0) && (!allows(r->select, S_W0, S_W1) || below(s, 4) == 0);
    while (lengths && !(lengths >> e.l & 1))
        e.l = below(s, 3);
    if (below(s, 30) == 0)
        e.l = below(s, 4);
    if ((r->evex & E_MASK) ? below(s, 8) : below(s, 30) == 0)
        e.aaa = below(s, 8);
    if ((!(r->evex & E_Z) || !e.aaa) && below(s, 16))
        e.z = false;
    if (!(r->evex & (E_BCW | E_BCD | E_BCQ | E_ER | E_SAE)) && below(s, 16))
        e.b = false;
    return e;
}
