/* A guest clock that tests step by hand. Linked into a unit test in place of clock.c: the test lists
 * fake_clock.c among its sources. Everything in clock.h works; both clocks are the same. */
#ifndef VIV_HOST_FAKE_CLOCK_H
#define VIV_HOST_FAKE_CLOCK_H

#include "host/clock.h"

/* Moves time forward by ns, firing timers at their exact times, in order. A timer set to a time that is already
 * over fires at the next call (fake_clock_step(0) will do). */
void fake_clock_step(int64_t ns);
/* Back to 0, timers disarmed. */
void fake_clock_reset(void);
/* What viv_clock_wall_ns() says; it moves along with steps. */
void fake_clock_set_wall_ns(int64_t ns);

#endif
