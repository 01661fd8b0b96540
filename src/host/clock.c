/* The guest clock and time stamp counter.
 *
 * Both are a host counter plus a base while the VM runs, and stand still while it is stopped. Readers take no
 * lock: the two bases and the flag are published under a sequence count, because a vCPU that reads between
 * "base" and "running" of a stop would see time jump.
 *
 * While the host sleeps its clock stands still, and its TSC begins anew at 0 or goes on: the guest's has to stay with the
 * guest clock. So a reading that is not within a second after the last look compares the two first (look). */
#include "host/clock_int.h"

#include "base/units.h"
#include "host/lock.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <x86intrin.h>

static struct {
    _Atomic uint32_t seq; /* odd while being changed */
    _Atomic bool running;
    _Atomic int64_t ns_base;   /* running: guest = host + base; stopped: guest = base */
    _Atomic uint64_t tsc_base; /* the same for the TSC */
    _Atomic uint64_t tsc_seen; /* running: the host's TSC at the last look */
} guest;

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER; /* last of all */
static _Atomic uint64_t tsc_hz; /* 0: not yet known */
static int64_t seen_ns; /* CLOCK_MONOTONIC_RAW at the last look; write_lock */

static bool by_hand;

static int64_t clock_now(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * (int64_t)VIV_NS_PER_SEC + ts.tv_nsec;
}

int64_t viv_clock_wall_ns(void)
{
    return clock_now(CLOCK_REALTIME);
}

struct bases {
    bool running;
    int64_t ns;
    uint64_t tsc, seen;
};

static struct bases read_bases(void)
{
    struct bases b;
    uint32_t seq;

    do {
        seq = atomic_load_explicit(&guest.seq, memory_order_acquire);
        b.running = atomic_load_explicit(&guest.running, memory_order_relaxed);
        b.ns = atomic_load_explicit(&guest.ns_base, memory_order_relaxed);
        b.tsc = atomic_load_explicit(&guest.tsc_base, memory_order_relaxed);
        b.seen = atomic_load_explicit(&guest.tsc_seen, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
    } while ((seq & 1) || seq != atomic_load_explicit(&guest.seq, memory_order_relaxed));
    return b;
}

static void write_locked(bool running, int64_t ns, uint64_t tsc, uint64_t seen)
{
    atomic_fetch_add_explicit(&guest.seq, 1, memory_order_acq_rel);
    atomic_store_explicit(&guest.running, running, memory_order_relaxed);
    atomic_store_explicit(&guest.ns_base, ns, memory_order_relaxed);
    atomic_store_explicit(&guest.tsc_base, tsc, memory_order_relaxed);
    atomic_store_explicit(&guest.tsc_seen, seen, memory_order_relaxed);
    atomic_fetch_add_explicit(&guest.seq, 1, memory_order_release);
}

/* The clock and the TSC at one moment: of several tries the one in which the two reads lay closest. */
static void sample(int64_t *ns, uint64_t *tsc)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < 8; i++) {
        uint64_t before = __rdtsc();
        int64_t now = clock_now(CLOCK_MONOTONIC_RAW);
        uint64_t after = __rdtsc();

        if (after - before < best) {
            best = after - before;
            *ns = now;
            *tsc = before + best / 2;
        }
    }
}

static void write_bases(bool running, int64_t ns, uint64_t tsc)
{
    uint64_t seen = 0;

    pthread_mutex_lock(&write_lock);
    if (running)
        sample(&seen_ns, &seen);
    write_locked(running, ns, tsc, seen);
    pthread_mutex_unlock(&write_lock);
}

int64_t viv_clock_ns(enum viv_clock clock)
{
    struct bases b;

    if (clock == VIV_CLOCK_HOST)
        return clock_now(CLOCK_MONOTONIC);
    b = read_bases();
    return b.running ? clock_now(CLOCK_MONOTONIC) + b.ns : b.ns;
}

int64_t viv_tsc_step(int64_t ns, int64_t ticks)
{
    int64_t want = (int64_t)((__int128)ns * viv_tsc_hz() / VIV_NS_PER_SEC), off = want - ticks;
    int64_t allowed = (int64_t)viv_tsc_hz() / 20 + want / 1000; /* its rate is a measurement */

    return off < -allowed || off > allowed ? off : 0;
}

static void look(void)
{
    int64_t ns, step;
    uint64_t tsc;

    pthread_mutex_lock(&write_lock);
    if (guest.running) {
        sample(&ns, &tsc);
        step = viv_tsc_step(ns - seen_ns, (int64_t)(tsc - guest.tsc_seen));
        seen_ns = ns;
        write_locked(true, guest.ns_base, guest.tsc_base + (uint64_t)step, tsc);
    }
    pthread_mutex_unlock(&write_lock);
}

void viv_host_tsc_test_step(int64_t ticks)
{
    pthread_mutex_lock(&write_lock);
    write_locked(guest.running, guest.ns_base, guest.tsc_base + (uint64_t)ticks, guest.tsc_seen - (uint64_t)ticks);
    pthread_mutex_unlock(&write_lock);
}

uint64_t viv_guest_tsc(void)
{
    struct bases b = read_bases();
    uint64_t tsc;

    if (!b.running)
        return b.tsc;
    tsc = __rdtsc();
    if (__builtin_expect(tsc - b.seen < atomic_load_explicit(&tsc_hz, memory_order_relaxed), 1))
        return tsc + b.tsc;
    look();
    b = read_bases();
    return b.running ? __rdtsc() + b.tsc : b.tsc;
}

bool viv_guest_clock_running(void)
{
    return atomic_load(&guest.running);
}

int64_t viv_guest_clock_to_host_ns(int64_t guest_ns)
{
    struct bases b = read_bases();
    int64_t host;

    if (!b.running)
        return INT64_MAX;
    return __builtin_sub_overflow(guest_ns, b.ns, &host) ? INT64_MAX : host;
}

void viv_guest_clock_start(void)
{
    if (by_hand || viv_guest_clock_running())
        return;
    write_bases(true, guest.ns_base - clock_now(CLOCK_MONOTONIC), guest.tsc_base - __rdtsc());
    viv_timers_guest_clock_changed();
}

void viv_guest_clock_stop(void)
{
    if (!viv_guest_clock_running())
        return;
    write_bases(false, viv_clock_ns(VIV_CLOCK_GUEST), viv_guest_tsc());
}

void viv_guest_clock_set_ns(int64_t ns)
{
    assert(!viv_guest_clock_running());
    write_bases(false, ns, guest.tsc_base);
}

void viv_guest_tsc_set(uint64_t value)
{
    assert(!viv_guest_clock_running());
    write_bases(false, guest.ns_base, value);
}

static uint64_t test_ticks(int64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * viv_tsc_hz() / VIV_NS_PER_SEC);
}

void viv_guest_clock_by_hand(void)
{
    VIV_ASSERT_DEV_LOCKED();
    viv_guest_clock_stop();
    by_hand = true;
}

bool viv_guest_clock_is_by_hand(void)
{
    return by_hand;
}

void viv_guest_clock_step(int64_t ns)
{
    int64_t from, end, due;
    uint64_t tsc;

    viv_guest_clock_by_hand();
    from = viv_clock_ns(VIV_CLOCK_GUEST);
    tsc = viv_guest_tsc();
    end = from + ns;
    while ((due = viv_guest_timers_next_ns()) <= end) {
        if (due > guest.ns_base)
            viv_guest_clock_set_ns(due);
        /* A timer may look at the TSC. */
        viv_guest_tsc_set(tsc + test_ticks(guest.ns_base - from));
        viv_timers_fire_guest(guest.ns_base);
    }
    viv_guest_tsc_set(tsc + test_ticks(ns));
    viv_guest_clock_set_ns(end);
}

/* What the CPU or the hypervisor under us says: CPUID 15h (crystal times ratio) or, as KVM, VMware and others
 * do it, leaf 40000010h (kHz). 16h is only the marketing figure: measuring is better. */
static uint64_t tsc_hz_from_cpuid(void)
{
    unsigned a, b, c, d;

    if (__get_cpuid(0x15, &a, &b, &c, &d) && a && b && c)
        return (uint64_t)c * b / a;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 31))
        return 0;
    __cpuid(0x40000000, a, b, c, d);
    if (a < 0x40000010 || a > 0x400000ff)
        return 0;
    __cpuid(0x40000010, a, b, c, d);
    return (uint64_t)a * 1000;
}

/* A measurement begins when the program does, so that hardly anything is left to wait for when it is needed. */
static struct {
    int64_t ns;
    uint64_t tsc;
} start;

__attribute__((constructor)) static void sample_start(void)
{
    sample(&start.ns, &start.tsc);
}

static uint64_t measure_tsc_hz(void)
{
    const int64_t shortest = 4 * VIV_NS_PER_MS; /* two reads at 20 ns each in 4 ms: 10 ppm */
    int64_t ns, left = start.ns + shortest - clock_now(CLOCK_MONOTONIC_RAW);
    uint64_t tsc;

    if (left > 0)
        nanosleep(&(struct timespec){.tv_nsec = left}, NULL);
    sample(&ns, &tsc);
    return (uint64_t)((unsigned __int128)(tsc - start.tsc) * VIV_NS_PER_SEC / (uint64_t)(ns - start.ns));
}

static bool plausible_hz(uint64_t hz)
{
    return hz >= 100 * 1000 * 1000 && hz <= 20ull * 1000 * 1000 * 1000;
}

static void find_tsc_hz(void)
{
    uint64_t hz = tsc_hz_from_cpuid();

    if (!plausible_hz(hz))
        hz = measure_tsc_hz();
    tsc_hz = hz;
}

uint64_t viv_tsc_hz(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_tsc_hz);
    return tsc_hz;
}

bool viv_tsc_hz_near(uint64_t hz)
{
    uint64_t real = viv_tsc_hz(), apart = hz > real ? hz - real : real - hz;

    return apart <= real / 4000;
}

int viv_tsc_hz_set(uint64_t hz)
{
    if (!viv_tsc_hz_near(hz))
        return -ERANGE;
    tsc_hz = hz;
    return 0;
}
