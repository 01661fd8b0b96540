/* Conditions over `arith` (state.h): what Jcc, SETcc and CMOVcc test. */
#ifndef VIV_CPU_X86_INTERP_COND_H
#define VIV_CPU_X86_INTERP_COND_H

#include "cpu/x86/state.h"

#define CONDITIONS(X)                                                                              \
    X(o) X(no) X(b) X(ae) X(e) X(ne) X(be) X(a) X(s) X(ns) X(p) X(np) X(l) X(ge) X(le) X(g)

static inline bool cond_o(uint32_t a)
{
    return a & VIV_AR_OF;
}
static inline bool cond_b(uint32_t a)
{
    return a & VIV_AR_CF;
}
static inline bool cond_e(uint32_t a)
{
    return a & VIV_AR_ZF;
}
static inline bool cond_be(uint32_t a)
{
    return a & (VIV_AR_CF | VIV_AR_ZF);
}
static inline bool cond_s(uint32_t a)
{
    return a & VIV_AR_SF;
}
static inline bool cond_p(uint32_t a)
{
    return a & VIV_AR_PF;
}
static inline bool cond_l(uint32_t a) /* SF != OF */
{
    return ((a >> 15) ^ a) & 1;
}
static inline bool cond_le(uint32_t a)
{
    return cond_l(a) | cond_e(a);
}

#define VIV_COND_NOT(no, yes)                                                                      \
    static inline bool cond_##no(uint32_t a)                                                       \
    {                                                                                              \
        return !cond_##yes(a);                                                                     \
    }
VIV_COND_NOT(no, o)
VIV_COND_NOT(ae, b)
VIV_COND_NOT(ne, e)
VIV_COND_NOT(a, be)
VIV_COND_NOT(ns, s)
VIV_COND_NOT(np, p)
VIV_COND_NOT(ge, l)
VIV_COND_NOT(g, le)
#undef VIV_COND_NOT

#endif
