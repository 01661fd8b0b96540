/* libFuzzer's record of comparisons, for targets that it tells nothing (meson.build). Built by clang for libFuzzer only. */
#include <stdint.h>

#define NOTHING __attribute__((used, no_sanitize("coverage")))
#define WRAP(name, type) \
    NOTHING void __wrap___sanitizer_cov_trace_##name(type a, type b); \
    NOTHING void __wrap___sanitizer_cov_trace_##name(type a, type b) {}

WRAP(cmp1, uint8_t)
WRAP(cmp2, uint16_t)
WRAP(cmp4, uint32_t)
WRAP(cmp8, uint64_t)
WRAP(const_cmp1, uint8_t)
WRAP(const_cmp2, uint16_t)
WRAP(const_cmp4, uint32_t)
WRAP(const_cmp8, uint64_t)
NOTHING void __wrap___sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases);
NOTHING void __wrap___sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) {}
