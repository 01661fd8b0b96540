/* Threads with names that ps, top and gdb show. */
#ifndef VIV_HOST_THREAD_H
#define VIV_HOST_THREAD_H

#include "base/err.h"

#include <pthread.h>
#include <signal.h>

/* Names the calling thread; at most 15 characters are kept. */
void viv_thread_name(const char *name);
/* Starts fn(opaque) on a new, named, joinable thread with all signals that ask the process to end blocked (they
 * belong to the loop thread). 0 or -errno. */
int viv_thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *opaque,
                     struct viv_err *err);

/* Blocks all signals but those of faults: blocked, they end the process with no handler asked (SIGBUS of memory that somebody else may
 * cut short, SIGSYS of the sandbox). For threads that are to be left in peace; *old for pthread_sigmask() afterwards. */
void viv_thread_block_signals(sigset_t *old);

#endif
