/* For unit tests: a processor on flat memory, without a machine. */
#ifndef VIV_CPU_X86_INTERP_TEST_CPU_H
#define VIV_CPU_X86_INTERP_TEST_CPU_H

#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/state.h"
#include "mem/space.h"

#define TEST_RAM_BYTES (16u << 20)
#define TEST_IDT       0x3000u  /* linear addresses of what test_cpu_new prepares */
#define TEST_GDT       0x2800u
#define TEST_HANDLERS  0x4000u  /* exception n runs HLT at TEST_HANDLERS + 16 * n */
#define TEST_CODE      0x10000u
#define TEST_DATA      0x20000u
#define TEST_STACK     0x80000u /* grows down */
#define TEST_MMIO      0x2000000u /* a page of registers: reads give NOP NOP ... HLT, see test_cpu.c */
#define TEST_SMRAM     0x800000u
#define TEST_SMRAM_BYTES 0x20000u
#define TEST_ABSENT    0x3000000u /* first linear address that is not mapped */

struct test_cpu {
    struct viv_x86 *c;
    struct viv_vcpu vcpu;
    struct viv_cpuid *cpuid;
    struct viv_space *mem, *smm, *io;
    struct viv_region *smram; /* in `smm`, unmapped: TEST_SMRAM_BYTES of RAM that begins at TEST_SMRAM there */
    uint8_t *ram;
};

/* The one CPU of a test program, reset to the mode: VIV_MODE_REAL, PROT32 or LONG (supervisor,
 * flat; user pages where asked for with test_cpu_user). */
struct test_cpu *test_cpu_get(unsigned mode);
/* Copies code to TEST_CODE and points RIP there. */
void test_cpu_code(struct test_cpu *t, const void *bytes, unsigned len);
/* Runs until HLT or shutdown, at most `insns` instructions, by viv_interp_run. */
enum viv_run test_cpu_run(struct test_cpu *t);
/* The exception whose handler halted, or -1. */
int test_cpu_exception(const struct test_cpu *t);

#endif
