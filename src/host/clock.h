/* Clocks and timers.
 *
 * VIV_CLOCK_GUEST is what devices read: nanoseconds of guest time, which stands still while the VM is
 * stopped and is part of saved state. VIV_CLOCK_HOST (CLOCK_MONOTONIC) is for back ends; the RTC's base
 * date comes from viv_clock_wall_ns(). */
#ifndef VIV_HOST_CLOCK_H
#define VIV_HOST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum viv_clock { VIV_CLOCK_GUEST, VIV_CLOCK_HOST };

/* Any thread, no lock. */
int64_t viv_clock_ns(enum viv_clock clock);
/* CLOCK_REALTIME, ns since the Unix epoch. */
int64_t viv_clock_wall_ns(void);

/* Guest clock control; device lock held. The clock is created stopped at 0. */
void viv_guest_clock_start(void);
void viv_guest_clock_stop(void);
bool viv_guest_clock_running(void);
void viv_guest_clock_set_ns(int64_t ns); /* only while stopped (load) */
/* By hand: from now on the clock (and TSC) moves by viv_guest_clock_step() alone, and starting it has no effect. A step moves
 * it ns forward and calls the guest timers that fall due on the way, in order, each with the clock at its deadline,
 * in the calling thread. Device lock held. */
void viv_guest_clock_by_hand(void);
bool viv_guest_clock_is_by_hand(void);
void viv_guest_clock_step(int64_t ns);
int64_t viv_guest_timers_next_ns(void); /* the earliest deadline, INT64_MAX: none */

/* The guest's time stamp counter: host TSC minus the time the VM was stopped, or the host slept. Any thread.
 * Frequency in Hz: from CPUID 15h or the hypervisor leaf where the host has it, else measured
 * once (under 10 ms; sleeps). */
uint64_t viv_guest_tsc(void);
uint64_t viv_tsc_hz(void);
void viv_guest_tsc_set(uint64_t value); /* only while stopped (load) */
/* The frequency a loaded guest was told (two measurements of one TSC differ in the last digits). Only before the guest
 * runs; -ERANGE, nothing changed, when this TSC runs at another rate: more than 250 ppm apart, as clocks that are
 * disciplined by NTP may be at most 500 ppm off. */
int viv_tsc_hz_set(uint64_t hz);
bool viv_tsc_hz_near(uint64_t hz); /* viv_tsc_hz_set() would take it */

/* A timer. Create and free with the device lock held; set and cancel from any thread (cheap: no system call
 * unless the earliest deadline of all comes earlier). Who cancels with the device lock held knows that fn does
 * not run afterwards; without it fn may be about to run. INT64_MAX is "never".
 * fn runs on the loop thread with the device lock, at or after `when_ns`, once per viv_timer_set.
 * A guest timer does not fire while the guest clock stands still. */
struct viv_timer;
struct viv_timer *viv_timer_new(enum viv_clock clock, void (*fn)(void *opaque), void *opaque);
void viv_timer_free(struct viv_timer *t); /* NULL allowed */
void viv_timer_set(struct viv_timer *t, int64_t when_ns);
void viv_timer_cancel(struct viv_timer *t);
/* INT64_MAX when not armed. */
int64_t viv_timer_expiry_ns(const struct viv_timer *t);

#endif
