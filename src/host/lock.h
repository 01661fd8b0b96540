/* The device lock, and the order of all locks.
 *
 * One lock per VM process protects every device, the memory map and the run state. The event
 * loop holds it around each callback; a vCPU takes it for MMIO and port I/O (except where a region
 * says it is lock-free: the local APIC, doorbells). Data-path threads (disk, network) never take it
 * except to deliver a completion.
 *
 * Lock order, outermost first:
 *   1. device lock                 (this file)
 *   2. memory map lock             (mem/space: write side; read side may be taken alone)
 *   3. a backend's own lock        (block node, net queue, chr)
 *   4. a vCPU's request word       (atomic, no lock)
 * Nobody waits for a vCPU to stop, or for a data-path thread to drain, while holding the device
 * lock: use viv_dev_wait() on a condition, which releases it. */
#ifndef VIV_HOST_LOCK_H
#define VIV_HOST_LOCK_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>

void viv_dev_lock(void);   /* not recursive: asserts that this thread does not hold it */
void viv_dev_unlock(void); /* asserts that this thread holds it */
bool viv_dev_locked(void); /* does this thread hold it? */

/* pthread_cond_wait on the device lock: the caller holds it before and after. */
void viv_dev_wait(pthread_cond_t *cond);

#define VIV_ASSERT_DEV_LOCKED() assert(viv_dev_locked())

#endif
