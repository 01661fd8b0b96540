/* A CPU's registers as text. */
#ifndef VIV_CPU_X86_REGS_TEXT_H
#define VIV_CPU_X86_REGS_TEXT_H

#include "base/log.h"
#include "cpu/x86/state.h"

#include <glib.h>

/* General, segment, table, control and debug registers; 32 bits of each unless 64-bit code runs. The caller sees to it that the CPU
 * does not run, or is the CPU's thread. */
void viv_x86_put_regs(GString *out, const struct viv_x86 *c);
/* x87 and vector registers, the latter in the widest form up to 256 bits that the guest has switched on. Likewise. */
void viv_x86_put_fpu(GString *out, const struct viv_x86 *c);
/* One piece of the log: the line, which names the CPU first, and the registers. For categories that are on. */
void viv_x86_log_regs(enum viv_log_category category, const struct viv_x86 *c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
