/* Timers: one binary heap a clock, one timerfd for the earliest deadline of both.
 *
 * vCPU threads set the local APIC's timer many thousand times a second, so setting one is a heap operation under a
 * small mutex, and a system call only when the new deadline is earlier than what the timerfd waits for. A deadline that
 * moves away leaves the timerfd early: the loop wakes once for nothing and arms it anew. */
#include "host/clock_int.h"

#include "base/units.h"
#include "host/lock.h"

#include <assert.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/timerfd.h>

#define NOT_QUEUED SIZE_MAX

struct viv_timer {
    enum viv_clock clock;
    void (*fn)(void *opaque);
    void *opaque;
    _Atomic int64_t when_ns; /* INT64_MAX: not armed */
    size_t pos;              /* in its heap, or NOT_QUEUED */
};

struct heap {
    struct viv_timer **at;
    size_t len, room;
};

/* Innermost lock: nothing else is taken under it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct heap heaps[2];
static int timer_fd = -1;
static int64_t armed_ns = INT64_MAX; /* what timer_fd waits for, host time */
static bool firing;                  /* viv_timers_run arms at its end */

static int64_t key(const struct viv_timer *t)
{
    return atomic_load_explicit(&t->when_ns, memory_order_relaxed);
}

static void place(struct heap *h, size_t i, struct viv_timer *t)
{
    h->at[i] = t;
    t->pos = i;
}

static void sift_up(struct heap *h, size_t i, struct viv_timer *t)
{
    while (i > 0 && key(h->at[(i - 1) / 2]) > key(t)) {
        place(h, i, h->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, t);
}

static void sift_down(struct heap *h, size_t i, struct viv_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->len)
            break;
        if (child + 1 < h->len && key(h->at[child + 1]) < key(h->at[child]))
            child++;
        if (key(h->at[child]) >= key(t))
            break;
        place(h, i, h->at[child]);
        i = child;
    }
    place(h, i, t);
}

/* Puts t where its key belongs, starting at i. */
static void settle(struct heap *h, size_t i, struct viv_timer *t)
{
    if (i > 0 && key(h->at[(i - 1) / 2]) > key(t))
        sift_up(h, i, t);
    else
        sift_down(h, i, t);
}

static void heap_remove(struct viv_timer *t)
{
    struct heap *h = &heaps[t->clock];
    size_t i = t->pos;
    struct viv_timer *last;

    if (i == NOT_QUEUED)
        return;
    t->pos = NOT_QUEUED;
    last = h->at[--h->len];
    if (last != t)
        settle(h, i, last);
}

static void heap_update(struct viv_timer *t)
{
    struct heap *h = &heaps[t->clock];

    if (t->pos == NOT_QUEUED) {
        if (h->len == h->room) {
            h->room = h->room ? h->room * 2 : 16;
            h->at = g_renew(struct viv_timer *, h->at, h->room);
        }
        sift_up(h, h->len++, t);
    } else {
        settle(h, t->pos, t);
    }
}

static int64_t top(enum viv_clock clock)
{
    return heaps[clock].len ? key(heaps[clock].at[0]) : INT64_MAX;
}

/* Host time of the next timer. A deadline that lies before the host clock's zero is simply due. */
static int64_t next_host_ns(void)
{
    int64_t host = top(VIV_CLOCK_HOST);
    int64_t guest = top(VIV_CLOCK_GUEST);

    if (guest != INT64_MAX)
        guest = viv_guest_clock_to_host_ns(guest);
    host = host < guest ? host : guest;
    return host < 1 ? 1 : host;
}

static void arm(int64_t host_ns)
{
    struct itimerspec its = {0};

    armed_ns = host_ns;
    if (host_ns != INT64_MAX) {
        its.it_value.tv_sec = host_ns / (int64_t)VIV_NS_PER_SEC;
        its.it_value.tv_nsec = host_ns % (int64_t)VIV_NS_PER_SEC;
    }
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void arm_if_earlier(void)
{
    int64_t next;

    if (timer_fd < 0 || firing)
        return;
    next = next_host_ns();
    if (next < armed_ns)
        arm(next);
}

struct viv_timer *viv_timer_new(enum viv_clock clock, void (*fn)(void *opaque), void *opaque)
{
    struct viv_timer *t = g_new0(struct viv_timer, 1);

    t->clock = clock;
    t->fn = fn;
    t->opaque = opaque;
    t->pos = NOT_QUEUED;
    atomic_store(&t->when_ns, INT64_MAX);
    return t;
}

void viv_timer_free(struct viv_timer *t)
{
    if (!t)
        return;
    viv_timer_cancel(t);
    g_free(t);
}

void viv_timer_set(struct viv_timer *t, int64_t when_ns)
{
    if (when_ns == INT64_MAX) {
        viv_timer_cancel(t);
        return;
    }
    pthread_mutex_lock(&lock);
    atomic_store_explicit(&t->when_ns, when_ns, memory_order_relaxed);
    heap_update(t);
    /* Only a new first can make the deadline earlier. */
    if (t->pos == 0)
        arm_if_earlier();
    pthread_mutex_unlock(&lock);
}

void viv_timer_cancel(struct viv_timer *t)
{
    if (viv_timer_expiry_ns(t) == INT64_MAX)
        return;
    pthread_mutex_lock(&lock);
    heap_remove(t);
    atomic_store_explicit(&t->when_ns, INT64_MAX, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
}

int64_t viv_timer_expiry_ns(const struct viv_timer *t)
{
    return atomic_load_explicit(&t->when_ns, memory_order_acquire);
}

/* Takes the first timer off its heap when it is due. */
static struct viv_timer *take_due(enum viv_clock clock, int64_t now_ns)
{
    struct viv_timer *t = NULL;

    pthread_mutex_lock(&lock);
    if (top(clock) <= now_ns && heaps[clock].len) {
        t = heaps[clock].at[0];
        heap_remove(t);
        atomic_store_explicit(&t->when_ns, INT64_MAX, memory_order_relaxed);
    }
    pthread_mutex_unlock(&lock);
    return t;
}

/* Fires what is due at now_ns, but not a timer that sets itself again and again to a time in the past: as many
 * as were queued at the start. */
static void fire(enum viv_clock clock, int64_t now_ns)
{
    struct viv_timer *t;
    size_t most;

    pthread_mutex_lock(&lock);
    most = heaps[clock].len;
    pthread_mutex_unlock(&lock);
    while (most-- > 0 && (t = take_due(clock, now_ns)))
        t->fn(t->opaque);
}

void viv_timers_run(void)
{
    VIV_ASSERT_DEV_LOCKED();
    pthread_mutex_lock(&lock);
    firing = true;
    pthread_mutex_unlock(&lock);
    fire(VIV_CLOCK_HOST, viv_clock_ns(VIV_CLOCK_HOST));
    if (viv_guest_clock_running())
        fire(VIV_CLOCK_GUEST, viv_clock_ns(VIV_CLOCK_GUEST));
    pthread_mutex_lock(&lock);
    firing = false;
    arm(next_host_ns());
    pthread_mutex_unlock(&lock);
}

void viv_timers_fire_guest(int64_t now_ns)
{
    fire(VIV_CLOCK_GUEST, now_ns);
}

int64_t viv_guest_timers_next_ns(void)
{
    int64_t next;

    pthread_mutex_lock(&lock);
    next = top(VIV_CLOCK_GUEST);
    pthread_mutex_unlock(&lock);
    return next;
}

void viv_timers_guest_clock_changed(void)
{
    pthread_mutex_lock(&lock);
    arm_if_earlier();
    pthread_mutex_unlock(&lock);
}

int viv_timers_fd(void)
{
    pthread_mutex_lock(&lock);
    if (timer_fd < 0) {
        timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        g_assert(timer_fd >= 0);
        arm(next_host_ns());
    }
    pthread_mutex_unlock(&lock);
    return timer_fd;
}
