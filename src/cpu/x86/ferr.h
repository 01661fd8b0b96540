/* The pins FERR# and IGNNE#: how errors of the x87 reach a PC's interrupt 13 while CR0.NE is 0. One board a process. */
#ifndef VIV_CPU_X86_FERR_H
#define VIV_CPU_X86_FERR_H

#include <stdbool.h>

/* `fn` is called on a vCPU's thread without the device lock, each time an instruction finds an error pending that IGNNE# does not
 * cover; the instruction then goes on. Before vCPUs run. */
void viv_ferr_connect(void (*fn)(void *opaque), void *opaque);
/* The board's answer: what is pending is ignored until it is cleared. Any thread. */
void viv_ferr_ignne(bool on);
bool viv_ferr_ignoring(void);

/* For the x87: an error is pending; none is any more. */
void viv_ferr_pending(void);
void viv_ferr_cleared(void);

#endif
