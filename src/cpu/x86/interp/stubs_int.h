/* What stubs.c generates, for exec_simd.c. */
#ifndef VIV_CPU_X86_INTERP_STUBS_INT_H
#define VIV_CPU_X86_INTERP_STUBS_INT_H

#include "cpu/x86/decode/row.h"
#include "cpu/x86/interp/stubs.h"

/* One entry a row of rows_mmx.def, rows_sse.def and rows_avx.def, in that order, which is also their order in
 * viv_rows[]. */
extern const int32_t viv_stub_table[][4];

#endif
