#include "host/fake_clock.h"

#include "host/clock_int.h"

#include <glib.h>
#include <sys/eventfd.h>

struct viv_timer {
    void (*fn)(void *opaque);
    void *opaque;
    int64_t when;
    struct viv_timer *next;
};

static int64_t now, wall, tsc_offset;
static bool running = true;
static struct viv_timer *timers;

static struct viv_timer *earliest(int64_t limit)
{
    struct viv_timer *best = NULL;

    for (struct viv_timer *t = timers; t; t = t->next) {
        if (t->when <= limit && t->when != INT64_MAX && (!best || t->when < best->when))
            best = t;
    }
    return best;
}

void fake_clock_step(int64_t ns)
{
    int64_t end = now + ns;

    for (struct viv_timer *t; (t = earliest(end));) {
        if (t->when > now) {
            wall += t->when - now;
            now = t->when;
        }
        t->when = INT64_MAX;
        t->fn(t->opaque);
    }
    wall += end - now;
    now = end;
}

void fake_clock_reset(void)
{
    now = 0;
    for (struct viv_timer *t = timers; t; t = t->next)
        t->when = INT64_MAX;
}

void fake_clock_set_wall_ns(int64_t ns)
{
    wall = ns;
}

int64_t viv_clock_ns(enum viv_clock clock)
{
    return now;
}

int64_t viv_clock_wall_ns(void)
{
    return wall;
}

void viv_guest_clock_start(void)
{
    running = true;
}

void viv_guest_clock_stop(void)
{
    running = false;
}

bool viv_guest_clock_running(void)
{
    return running;
}

void viv_guest_clock_set_ns(int64_t ns)
{
    now = ns;
}

uint64_t viv_guest_tsc(void)
{
    return (uint64_t)(now + tsc_offset);
}

uint64_t viv_tsc_hz(void)
{
    return 1000000000;
}

void viv_guest_tsc_set(uint64_t value)
{
    tsc_offset = (int64_t)value - now;
}

struct viv_timer *viv_timer_new(enum viv_clock clock, void (*fn)(void *opaque), void *opaque)
{
    struct viv_timer *t = g_new0(struct viv_timer, 1);

    t->fn = fn;
    t->opaque = opaque;
    t->when = INT64_MAX;
    t->next = timers;
    timers = t;
    return t;
}

void viv_timer_free(struct viv_timer *t)
{
    for (struct viv_timer **p = &timers; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    g_free(t);
}

void viv_timer_set(struct viv_timer *t, int64_t when_ns)
{
    t->when = when_ns;
}

void viv_timer_cancel(struct viv_timer *t)
{
    t->when = INT64_MAX;
}

int64_t viv_timer_expiry_ns(const struct viv_timer *t)
{
    return t->when;
}

/* The event loop asks for these; here time moves by fake_clock_step only. */
int viv_timers_fd(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void viv_timers_run(void)
{
}
