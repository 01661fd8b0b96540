/* /tmp/perf-PID.map: where perf(1) looks up names of code that no file holds. One line a block: start and size
 * in hexadecimal, and a name, which is the guest address it was made from. */
#ifndef VIV_CPU_X86_XLATE_PERFMAP_H
#define VIV_CPU_X86_XLATE_PERFMAP_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Makes the file; it stays for `perf report` when the process has ended. Before the vCPUs start. */
int viv_xlate_perfmap_open(struct viv_err *err);
/* `host`: where the code runs. Nothing happens while no file is open. Any thread. */
void viv_xlate_perfmap_add(const void *host, size_t n, uint64_t guest_rip);

#endif
