/* Guest and host code of a new block as text, for -d in_asm and -d out_asm.
 *
 * libcapstone is loaded when a log is asked for and not before: linked, it would cost every start the time to map
 * and relocate it. */
#ifndef VIV_CPU_X86_XLATE_DISASM_H
#define VIV_CPU_X86_XLATE_DISASM_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* -ENOENT with the package to install. Before the vCPUs start. */
int viv_xlate_disasm_load(struct viv_err *err);

/* One entry each, never mixed with another thread's. Nothing is printed before viv_xlate_disasm_load(). Any thread.
 * `mode`: enum viv_cpu_mode. `at`: where the code runs, which is not where it is read from. */
/* One instruction into text; its length, 0 without the library or bytes. What is none is one byte of data. */
unsigned viv_xlate_disasm_one(const uint8_t *code, size_t n, uint64_t at, unsigned mode, char *text, size_t size);
void viv_xlate_log_in(FILE *f, uint64_t rip, const uint8_t *code, size_t n, unsigned mode);
void viv_xlate_log_out(FILE *f, const uint8_t *code, size_t n, uint64_t at);

#endif
