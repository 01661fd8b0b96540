#ifndef VIV_HOST_SANDBOX_INT_H
#define VIV_HOST_SANDBOX_INT_H

#include "host/sandbox.h"

#include <stddef.h>

/* sandbox_filter.c: the list of system calls, for all threads. */
int sandbox_filter_install(const struct viv_sandbox *s, unsigned needs, struct viv_err *err);

/* sandbox_trap.c: what becomes of a call that is not on the list. log_fd: where its line goes beside stderr, or -1. needs: with any,
 * that libraries look for sockets of daemons is no surprise, and fails. */
void sandbox_trap_install(int log_fd, unsigned needs);

/* sandbox_landlock.c: this thread and those it starts; the others when sandbox_landlock_others() interrupts them, once the filter is
 * there (before they run anything more). Nothing where the kernel has none. The first two before the filter. */
void sandbox_landlock_share(const char *folder, bool read_only);
int sandbox_landlock(unsigned needs);
void sandbox_landlock_others(void);
void sandbox_landlock_this_thread(void); /* signal safe */

#endif
