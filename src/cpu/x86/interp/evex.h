/* Running AVX-512 instructions on the host: as stubs.h, with 512-bit registers and opmasks.
 *
 *   role in the encoding         vector   opmask       GPR
 *   none                         zmm0: 0  k4 writemask
 *   ModRM.reg                    zmm1     k1           rcx
 *   ModRM.rm                     zmm2     k2           rdx
 *   VEX.vvvv                     zmm3     k3           rbx
 *
 * A stub always merges under k4; zeroing is done afterwards, no opmask is k4 of all ones, a broadcast is a vector
 * of equal elements, and embedded rounding is MXCSR's with all exceptions masked and its flags forgotten. So a
 * row needs a stub per vector length (and per imm8) only. */
#ifndef VIV_CPU_X86_INTERP_EVEX_H
#define VIV_CPU_X86_INTERP_EVEX_H

#include "cpu/x86/interp/stubs.h"

/* Offsets are known to stubs_evex_run.S; `mxcsr` to `fault` stand where struct viv_simd_io has them. */
struct viv_evex_io {
    uint64_t k[4];     /*   0: by role, 0 the writemask */
    uint8_t unused[128];
    uint64_t gpr[4];   /* 160: by role */
    uint32_t mxcsr;    /* 192: in and out */
    uint16_t arith;    /* 196: out */
    uint8_t fault;     /* 198: out, #XM */
    uint8_t v[4][64] __attribute__((aligned(64))); /* 256: by role; 0 unused */
};

void viv_run_evex(struct viv_evex_io *io, const void *stub);

/* One entry a row of rows_evex.def, by W * 3 + vector length: offset from viv_evex_stubs_start, 0 when there is none. */
extern const int32_t viv_evex_stub_table[][6];
extern const uint8_t viv_evex_stubs_start[], viv_evex_stubs_end[];

#endif
