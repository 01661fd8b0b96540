/* Inside host/: what the clock, the timers and the loop tell each other. */
#ifndef VIV_HOST_CLOCK_INT_H
#define VIV_HOST_CLOCK_INT_H

#include "host/clock.h"

/* Host time at which the guest clock will show guest_ns; INT64_MAX while it stands still. */
int64_t viv_guest_clock_to_host_ns(int64_t guest_ns);

/* By how much a TSC that went on by `ticks` in `ns` of the host's clock has left it; 0: no more than its rate is uncertain. */
int64_t viv_tsc_step(int64_t ns, int64_t ticks);
/* For unit tests: as if the host's TSC had leapt by so much. */
void viv_host_tsc_test_step(int64_t ticks);

/* The guest clock has started (or jumped): deadlines have moved. */
void viv_timers_guest_clock_changed(void);
/* For the clock that is driven by hand: fires all that are due. */
void viv_timers_fire_guest(int64_t now_ns);

/* The descriptor that becomes readable when a timer is due, and what to do then. Loop thread, device lock
 * held for run. */
int viv_timers_fd(void);
void viv_timers_run(void);

#endif
