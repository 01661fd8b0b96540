/* CPU features by name, from features.def. What a guest's CPU has is in cpuid.h. */
#ifndef VIV_CPU_X86_FEATURE_H
#define VIV_CPU_X86_FEATURE_H

enum viv_feature {
    VIV_F_NONE, /* every CPU has it */
#define FEATURE(sym, name, leaf, sub, reg, bit) VIV_F_##sym,
#include "cpu/x86/features.def"
#undef FEATURE
    VIV_F_COUNT
};

#endif
