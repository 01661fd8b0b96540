/* The table of CPU models: cpuid_models.def. */
#include "cpu/x86/cpuid_models.h"

#define I VIV_VENDOR_INTEL
#define A VIV_VENDOR_AMD
#define M(name, base, vendor, family, model, stepping, level, xlevel, id, features)                \
    {name, base, id, vendor, family, model, stepping, level, xlevel, features},
#define DERIVED(name_, base_, features_) {.name = name_, .base = base_, .features = features_},
#define ALIAS(name_, base_)              {.name = name_, .base = base_, .features = NULL},

/* Feature sets of generations. */
#define F486 "fpu vme pse"
#define F586 F486 " de tsc msr mce cx8"
#define F686 F586 " pae sep mtrr pge mca cmov pat pse36 apic"
#define F64  F686 " clflush mmx fxsr sse sse2 syscall nx lm"

const struct viv_cpu_model viv_cpu_models[] = {
#include "cpu/x86/cpuid_models.def"
    {.name = NULL},
};
