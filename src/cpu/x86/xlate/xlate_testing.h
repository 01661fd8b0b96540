/* For the translator's unit tests: the processor of interp/test_cpu.h with the translator attached. */
#ifndef VIV_CPU_X86_XLATE_TESTING_H
#define VIV_CPU_X86_XLATE_TESTING_H

#include "cpu/x86/interp/test_cpu.h"
#include "cpu/x86/xlate/xlate.h"

#include <stddef.h>

/* 64-bit guest code, assembled here and copied to where it runs. */
#define GUEST(name, text)                                                                          \
    extern const uint8_t name[], name##_end[];                                                     \
    __asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n")

/* 2 MiB of linear addresses in pages of 4 KiB, for tests that map them one by one. */
#define SMALL       0x4000000u
#define SMALL_TABLE 0x108000u
#define PAGE_1      0x120000u /* physical pages, not neighbours */
#define PAGE_2      0x130000u
#define PAGE_3      0x140000u
#define TSS         0x2c00u
#define IST         0xa000u /* exceptions take a stack of their own: RSP is what many tests are about */

extern struct test_cpu *t;
extern struct viv_x86 *c;

/* 64-bit mode, nothing mapped at SMALL, translator attached; opts may be NULL. */
void start(const struct viv_xlate_opts *opts);
void finish(void);
void map(uint32_t lin, uint64_t pte);
/* Bytes to a physical address, as a device would. */
void load(uint32_t phys, const uint8_t *from, const uint8_t *end);
#define LOAD(phys, name) load(phys, name, name##_end)
/* From rip to HLT. */
void run(uint64_t rip);
struct viv_xlate_stats stats(void);
/* Word n of the frame of the exception that halted, RIP is 0: counted from there up. */
uint64_t frame(unsigned n);
/* g_test_run(), or a skip where the host does not let us make code. */
int run_tests(void);

#endif
