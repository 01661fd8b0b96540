/* CPU models as data. A model is another one plus and minus features, or stands alone. */
#ifndef VIV_CPU_X86_CPUID_MODELS_H
#define VIV_CPU_X86_CPUID_MODELS_H

#include "cpu/x86/cpuid.h"

struct viv_cpu_model {
    const char *name;
    const char *base;     /* inherits everything not given here; NULL: none */
    const char *model_id; /* brand string */
    enum viv_cpu_vendor vendor;
    uint16_t family, model, stepping;
    uint32_t level, xlevel;
    const char *features; /* names; "-name" takes one of the base's away */
};

extern const struct viv_cpu_model viv_cpu_models[]; /* ends with a NULL name */

#endif
