/* The server of -qtest: a program on a character back end drives the machine's devices through ports, memory and time, and is told of
 * interrupts. QEMU's protocol ("QTest Protocol" in its documentation for developers): lines, one answer each, "OK [VALUE]" or
 * "FAIL why", and "IRQ raise N" and "IRQ lower N" at any time. Loop thread, device lock held. */
#ifndef VIV_MON_QTEST_H
#define VIV_MON_QTEST_H

#include "base/err.h"

/* `dev` as for -serial. `log`: a file that all lines go to, "none", or NULL: stderr. */
int viv_qtest_start(const char *dev, const char *log, struct viv_err *err);
void viv_qtest_free(void); /* nothing if there is none */

#endif
