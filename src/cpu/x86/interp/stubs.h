/* Running one host SIMD or x87 instruction on guest operands, without making code at run time.
 *
 * Results have to equal real silicon bit for bit (rounding, NaN payloads, approximations such as RSQRTPS,
 * flags), and the host is such silicon. So each decoder row's register form is assembled once, when Vivarium
 * is built, with fixed registers; a stub is the instruction and a RET. A runner loads the registers from
 * memory, calls the stub and stores them again:
 *
 *   role in the encoding         vector        MMX    GPR
 *   implicit XMM0, is4           xmm0/ymm0     mm0    rax
 *   ModRM.reg                    xmm1/ymm1     mm1    rcx
 *   ModRM.rm                     xmm2/ymm2     mm2    rdx
 *   VEX.vvvv                     xmm3/ymm3     mm3    rbx
 *
 * A memory operand is read by the caller beforehand and handed over as the rm register. Rows with an
 * imm8 have 256 stubs, 8 bytes apart. Executable memory is never written: this works on hosts that
 * refuse W+X, and in the interpreter that is the fallback for them.
 *
 * MXCSR is the guest's own while an FP stub runs, exception masks included. An unmasked exception reaches us as
 * SIGFPE; the handler (stubs_host.c) sends the thread to a recovery label, destination untouched,
 * and the runner reports `fault`. */
#ifndef VIV_CPU_X86_INTERP_STUBS_H
#define VIV_CPU_X86_INTERP_STUBS_H

#include <stdbool.h>
#include <stdint.h>

enum { VIV_RL_IMPL, VIV_RL_REG, VIV_RL_RM, VIV_RL_VVVV };

/* Offsets are known to stubs_run.S. */
struct viv_simd_io {
    uint8_t v[4][32];  /*   0: by role */
    uint8_t mm[4][8];  /* 128 */
    uint64_t gpr[4];   /* 160: by role */
    uint32_t mxcsr;    /* 192: in and out */
    uint16_t arith;    /* 196: out, see viv_x86.arith */
    uint8_t fault;     /* 198: out, #XM */
};

typedef void viv_stub_fn(void);

/* Which state a stub needs; the runners do no more than they have to. */
void viv_run_sse(struct viv_simd_io *io, const void *stub);
void viv_run_sse_fp(struct viv_simd_io *io, const void *stub);
void viv_run_avx(struct viv_simd_io *io, const void *stub);
void viv_run_avx_fp(struct viv_simd_io *io, const void *stub);
void viv_run_mmx(struct viv_simd_io *io, const void *stub); /* also xmm0-3 and MXCSR */

/* x87: the image is in FXSAVE64 form (tags abridged, registers relative to TOP); its MXCSR and XMM
 * parts are not guest state: mxcsr must be 0x1f80. */
struct viv_x87_io {
    uint8_t image[512] __attribute__((aligned(16)));
    uint8_t mem[112];  /* 512: memory operand, in and out (FNSAVE: 108 bytes) */
    uint16_t arith;    /* 624: in (FCMOVcc) and out (FCOMI) */
};

void viv_run_x87(struct viv_x87_io *io, const void *stub);

/* Stubs 8 bytes apart. reg: index (opcode & 7) << 6 | (modrm & 63) of D8-DF with mod 3.
 * mem: index (opcode & 7) << 3 | modrm.reg, operand in io->mem. */
extern const uint8_t viv_stubs_x87_reg[512][8];
extern const uint8_t viv_stubs_x87_mem[64][8];

extern const uint8_t viv_stub_ret[]; /* does nothing */

/* The code range in which SIGFPE means a guest's #XM. */
extern const uint8_t viv_stubs_start[], viv_stubs_end[];
extern const uint8_t viv_stub_recover[];

/* In the stubs of either file? */
bool viv_stubs_contain(uintptr_t rip);

/* Once, by any thread, before the first instruction runs: works out what each row needs and installs the SIGFPE
 * handler, which chains to the one that was there. */
void viv_stubs_init(void);
void viv_stubs_install_handler(void);
void viv_evex_init(void);

struct viv_insn;
/* The stub of a decoded `simd` instruction. */
const void *viv_stub_of(const struct viv_insn *i);

#define VIV_MXCSR_HOST 0x1f80u

#endif
