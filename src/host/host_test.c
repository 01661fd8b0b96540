/* Clock, timers and loop. */
#include "host/clock_int.h"
#include "host/huge.h"
#include "host/iothread.h"
#include "host/library.h"
#include "host/listen.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/signals.h"

#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MS ((int64_t)VIV_NS_PER_MS)

static int64_t fired_at[8];
static int fired;

static void note(void *opaque)
{
    g_assert_true(viv_dev_locked());
    fired_at[fired++] = viv_clock_ns(VIV_CLOCK_GUEST);
}

/* The host slept: its clock stood still, its TSC began anew or went on. The guest's stays with the guest clock. */
static void test_host_slept(void)
{
    int64_t hz = (int64_t)viv_tsc_hz();
    const int64_t steps[] = {-3600 * hz, -hz / 2, 3600 * hz, 5 * hz, INT64_MIN / 2};

    viv_dev_lock();
    viv_guest_clock_start();
    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        uint64_t before = viv_guest_tsc();

        viv_host_tsc_test_step(steps[i]);
        g_assert_cmpuint(viv_guest_tsc() - before, <, (uint64_t)hz); /* nor back */
    }
    viv_guest_clock_stop();
    viv_dev_unlock();
    /* NTP, and a rate that was measured, are not mistaken for it. */
    g_assert_cmpint(viv_tsc_step(1000 * MS, hz + hz / 1000), ==, 0);
    g_assert_cmpint(viv_tsc_step(86400000 * MS, 86400 * (hz - hz / 2000)), ==, 0);
    g_assert_cmpint(viv_tsc_step(1000 * MS, 0), ==, hz);
}

static void test_manual(void)
{
    struct viv_timer *t[3];
    int64_t t0;
    uint64_t tsc0;

    viv_dev_lock();
    fired = 0;
    for (int i = 0; i < 3; i++)
        t[i] = viv_timer_new(VIV_CLOCK_GUEST, note, NULL);
    viv_guest_clock_step(0);
    t0 = viv_clock_ns(VIV_CLOCK_GUEST);
    tsc0 = viv_guest_tsc();
    viv_timer_set(t[0], t0 + 300);
    viv_timer_set(t[1], t0 + 100);
    viv_timer_set(t[2], t0 + 200);
    viv_timer_cancel(t[2]);
    g_assert_cmpint(viv_timer_expiry_ns(t[1]), ==, t0 + 100);
    g_assert_cmpint(viv_timer_expiry_ns(t[2]), ==, INT64_MAX);
    viv_guest_clock_step(99);
    g_assert_cmpint(fired, ==, 0);
    viv_guest_clock_step(1000000 - 99);
    g_assert_cmpint(fired, ==, 2);
    g_assert_cmpint(fired_at[0], ==, t0 + 100);
    g_assert_cmpint(fired_at[1], ==, t0 + 300);
    g_assert_cmpint(viv_clock_ns(VIV_CLOCK_GUEST), ==, t0 + 1000000);
    g_assert_cmpuint(viv_guest_tsc() - tsc0, >=, viv_tsc_hz() / 1000 - 2);
    for (int i = 0; i < 3; i++)
        viv_timer_free(t[i]);
    viv_dev_unlock();
}

/* The heap against the obvious: fire times come sorted whatever was set, moved and cancelled. */
static int64_t last_seen;
static int seen;

static void in_order(void *opaque)
{
    g_assert_cmpint(viv_clock_ns(VIV_CLOCK_GUEST), >=, last_seen);
    last_seen = viv_clock_ns(VIV_CLOCK_GUEST);
    seen++;
}

static void test_heap(void)
{
    struct viv_timer *t[200];
    int armed = 0;

    viv_dev_lock();
    viv_guest_clock_step(0);
    last_seen = seen = 0;
    for (int i = 0; i < 200; i++)
        t[i] = viv_timer_new(VIV_CLOCK_GUEST, in_order, NULL);
    for (int n = 0; n < 5000; n++) {
        struct viv_timer *x = t[g_test_rand_int_range(0, 200)];

        if (g_test_rand_int_range(0, 3))
            viv_timer_set(x, viv_clock_ns(VIV_CLOCK_GUEST) + g_test_rand_int_range(1, 100000));
        else
            viv_timer_cancel(x);
    }
    for (int i = 0; i < 200; i++)
        armed += viv_timer_expiry_ns(t[i]) != INT64_MAX;
    viv_guest_clock_step(100001);
    g_assert_cmpint(seen, ==, armed);
    for (int i = 0; i < 200; i++)
        viv_timer_free(t[i]);
    viv_dev_unlock();
}

static void test_tsc(void)
{
    int64_t before = viv_clock_ns(VIV_CLOCK_HOST);
    uint64_t hz = viv_tsc_hz();

    g_assert_cmpint(viv_clock_ns(VIV_CLOCK_HOST) - before, <, 500 * MS);
    g_assert_cmpuint(hz, >, 500000000);
    g_assert_cmpuint(hz, <, 10000000000);
}

/* --- the loop, with another thread --- */

static int calls;
static bool timer_ran, watch_ran;
static int64_t late_ns;
static struct viv_watch *watch;
static struct viv_timer *host_timer;
static int64_t host_due;

static void count_call(void *opaque)
{
    g_assert_true(viv_dev_locked());
    calls++;
}

static void end_loop(void *opaque)
{
    viv_loop_quit();
}

static void on_host_timer(void *opaque)
{
    g_assert_true(viv_dev_locked());
    late_ns = viv_clock_ns(VIV_CLOCK_HOST) - host_due;
    timer_ran = true;
}

static void on_readable(void *opaque, int fd, short revents)
{
    char c;

    g_assert_true(viv_dev_locked());
    g_assert_cmpint(read(fd, &c, 1), ==, 1);
    watch_ran = true;
    viv_watch_free(watch); /* inside its own callback */
    watch = NULL;
}

static void *other_thread(void *p)
{
    int *pair = p;

    for (int i = 0; i < 1000; i++)
        viv_loop_call(count_call, NULL);
    usleep(5000);
    /* The loop sleeps towards a far deadline: a nearer one must wake it. */
    host_due = viv_clock_ns(VIV_CLOCK_HOST) + 10 * MS;
    viv_timer_set(host_timer, host_due);
    g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
    usleep(60000);
    viv_loop_call(end_loop, NULL);
    return NULL;
}

static void test_loop(void)
{
    struct viv_timer *far;
    pthread_t thread;
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    viv_dev_lock();
    far = viv_timer_new(VIV_CLOCK_HOST, count_call, NULL);
    viv_timer_set(far, viv_clock_ns(VIV_CLOCK_HOST) + 3600000 * MS);
    host_timer = viv_timer_new(VIV_CLOCK_HOST, on_host_timer, NULL);
    watch = viv_watch_new(pair[0], POLLIN, on_readable, NULL);
    viv_dev_unlock();
    pthread_create(&thread, NULL, other_thread, pair);
    viv_loop_run();
    pthread_join(thread, NULL);
    g_assert_cmpint(calls, ==, 1000);
    g_assert_true(watch_ran);
    g_assert_true(timer_ran);
    g_assert_cmpint(late_ns, >=, 0);
    g_test_message("host timer was %" G_GINT64_FORMAT " us late", late_ns / 1000);
    viv_dev_lock();
    viv_timer_free(far);
    viv_timer_free(host_timer);
    viv_dev_unlock();
    close(pair[0]);
    close(pair[1]);
}

static bool flag_set(void *opaque)
{
    return *(bool *)opaque;
}

static void set_flag(void *opaque)
{
    *(bool *)opaque = true;
}

static void wait_inside(void *opaque)
{
    bool inner = false, never = false;

    viv_loop_call(set_flag, &inner);
    g_assert_true(viv_loop_wait_for(flag_set, &inner, 5000 * MS));
    g_assert_false(viv_loop_wait_for(flag_set, &never, 5 * MS));
    viv_loop_quit();
}

static void test_nested(void)
{
    viv_loop_call(wait_inside, NULL);
    viv_loop_run();
}

/* A call that waits must not hold up those that were queued behind it before the loop ran. */
static bool behind;

static void wait_for_behind(void *opaque)
{
    g_assert_true(viv_loop_wait_for(flag_set, &behind, 5000 * MS));
    viv_loop_quit();
}

static void test_nested_behind(void)
{
    viv_loop_call(wait_for_behind, NULL);
    viv_loop_call(set_flag, &behind);
    viv_loop_run();
}

/* Calls that queue themselves, across the growth and the compaction of the queue. */
static unsigned ring_left = 5000;

static void again(void *opaque)
{
    if (ring_left && --ring_left)
        viv_loop_call(again, NULL);
    else
        viv_loop_quit();
}

static void test_calls_again(void)
{
    for (unsigned i = 0; i < 17; i++)
        viv_loop_call(again, NULL);
    viv_loop_run();
    g_assert_cmpuint(ring_left, ==, 0);
}

/* Contents stay, whether or not the host has huge pages. */
static void test_huge(void)
{
    size_t size = 3 * VIV_HUGE_PAGE;
    uint8_t *p = viv_huge_reserve(size, 4096);
    int r;

    g_assert_nonnull(p);
    g_assert_cmphex(((uintptr_t)p + 4096) % VIV_HUGE_PAGE, ==, 0);
    g_assert_cmpint(mprotect(p, size, PROT_READ | PROT_WRITE), ==, 0);
    memset(p, 7, size);
    r = viv_huge_make(p, size);
    g_test_message("huge pages: %s", r ? strerror(-r) : "yes");
    for (size_t n = 0; n < size; n += 4095)
        g_assert_cmpint(p[n], ==, 7);
    g_assert_cmpint(viv_huge_make(p + 1, 4096), ==, 0); /* nothing to do */
    munmap(p, size);
}

static void test_library(void)
{
    static struct {
        double (*cos)(double);
        void (*nothing)(void);
    } api;
    static const struct viv_library_symbol symbols[] = {{"cos", 0}, {"viv_no_such_function", sizeof(void *)}};
    struct viv_library l = {.need = "this test needs", .title = "mathematics", .package = "libc6", .names = {"libnothere.so.9", "libm.so.6"},
                            .api = &api, .symbols = symbols, .count = 1, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct viv_library lacks = l, absent = l;
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(viv_library_load(&l, NULL), ==, 0);
    g_assert_cmpfloat(api.cos(0), ==, 1);
    lacks.count = 2;
    g_assert_cmpint(viv_library_load(&lacks, &err), ==, -ENOENT);
    g_assert_nonnull(strstr(err.text, "viv_no_such_function"));
    absent.names[1] = NULL;
    err = (struct viv_err)VIV_ERR_INIT;
    for (int again = 0; again < 2; again++) {
        g_assert_cmpint(viv_library_load(&absent, &err), ==, -ENOENT);
        g_assert_nonnull(strstr(err.text, "this test needs mathematics (Debian: libc6), which cannot be loaded: libnothere.so.9"));
    }
}

static void on_signal(int signo, pid_t from)
{
}

static void on_end(int signo, pid_t from)
{
    g_assert_cmpint(signo, ==, SIGTERM);
    g_assert_cmpint(from, ==, getpid());
    viv_loop_quit();
}

/* One that comes while the last things of a start are made is for the loop; a start that goes on for ever is ended. */
static void test_early_signal(void)
{
    if (g_test_subprocess()) {
        viv_signals_init(on_end);
        kill(getpid(), SIGTERM);
        g_usleep(G_USEC_PER_SEC / 5);
        viv_signals_started();
        viv_loop_run();
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

/* A guest that writes past the size that the host allows gets an error; the process goes on. */
static void test_file_limit(void)
{
    struct rlimit rl, low;
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("viv-limit-XXXXXX", &path, NULL);

    viv_signals_init(on_signal);
    viv_signals_started();
    g_assert(fd >= 0 && !getrlimit(RLIMIT_FSIZE, &rl));
    low = (struct rlimit){4096, rl.rlim_max};
    g_assert(!setrlimit(RLIMIT_FSIZE, &low));
    g_assert(pwrite(fd, "x", 1, 8192) < 0 && errno == EFBIG);
    g_assert(ftruncate(fd, 8192) < 0 && errno == EFBIG);
    g_assert(!setrlimit(RLIMIT_FSIZE, &rl));
    close(fd);
    g_unlink(path);
}

/* ---- I/O threads ---- */

struct bell {
    pthread_t thread;
    unsigned rung; /* atomic */
};

static void on_bell(void *opaque)
{
    struct bell *b = opaque;

    g_assert_true(viv_dev_locked());
    b->thread = pthread_self();
    __atomic_add_fetch(&b->rung, 1, __ATOMIC_RELEASE);
}

static void wait_rung(struct bell *b, unsigned n)
{
    while (__atomic_load_n(&b->rung, __ATOMIC_ACQUIRE) < n)
        g_usleep(100);
}

static bool rung_enough; /* atomic */

/* Rings that meet a job which has not run yet are one: how many runs a number of rings makes is not said. */
static void *ring_much(void *job)
{
    while (!__atomic_load_n(&rung_enough, __ATOMIC_ACQUIRE))
        viv_iojob_ring(job);
    return NULL;
}

static void test_iothread(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct bell a = {0}, b = {0};
    struct viv_iothread *t, *u;
    struct viv_iojob *ja, *jb;
    pthread_t ringer;

    viv_dev_lock();
    g_assert_cmpint(viv_iothread_add("one", &err), ==, 0);
    g_assert_cmpint(viv_iothread_add("two", &err), ==, 0);
    g_assert_cmpint(viv_iothread_add("one", &err), ==, -EEXIST);
    viv_err_clear(&err);
    g_assert_null(viv_iothread_get("three", &err));
    viv_err_clear(&err);
    t = viv_iothread_get("one", &err);
    g_assert_cmpint(viv_iothread_tid(t), >, 0);
    g_assert_true(viv_iothread_next(NULL) == t);
    u = t;
    ja = viv_iojob_new(t, on_bell, &a, &err);
    jb = viv_iojob_new(t, on_bell, &b, &err);
    viv_iojob_ring(ja);
    viv_iojob_ring(ja);
    g_assert_cmpint(viv_iothread_del("one", &err), ==, -EBUSY);
    viv_err_clear(&err);
    viv_dev_unlock();
    wait_rung(&a, 1);
    g_assert_false(pthread_equal(a.thread, pthread_self()));
    g_assert_cmpuint(b.rung, ==, 0);
    pthread_create(&ringer, NULL, ring_much, jb);
    wait_rung(&b, 5);
    viv_dev_lock();
    viv_iojob_ring(ja);
    g_usleep(2000); /* it waits for the lock, and for a job that is no more */
    viv_iojob_free(ja);
    a.rung = 0;
    viv_dev_unlock();
    __atomic_store_n(&rung_enough, true, __ATOMIC_RELEASE);
    pthread_join(ringer, NULL);
    g_usleep(2000);
    g_assert_cmpuint(a.rung, ==, 0);
    viv_dev_lock();
    viv_iojob_ring(jb);
    g_usleep(2000);
    viv_iojob_free(jb);
    viv_iothread_put(&u);
    g_assert_cmpint(viv_iothread_del("one", &err), ==, 0); /* while it wants the lock */
    g_assert_cmpint(viv_iothread_del("one", &err), ==, -ENOENT);
    viv_err_clear(&err);
    g_assert_cmpstr(viv_iothread_id(viv_iothread_next(NULL)), ==, "two");
    viv_dev_unlock();
    viv_iothread_free_all();
    g_assert_null(viv_iothread_next(NULL));
}

static int first_free_fd(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

/* Somebody who connects to a process that may open no more files is turned away: left in the backlog he would wake it for ever. */
static void test_accept_full(void)
{
    static const char name[] = "\0viv-accept-test";
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), client[2], conn;
    struct rlimit rl, low;
    char c;

    memcpy(addr.sun_path, name, sizeof(name));
    g_assert(!bind(server, (struct sockaddr *)&addr, sizeof(addr)) && !listen(server, 4));
    for (int i = 0; i < 2; i++) {
        client[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        g_assert(!connect(client[i], (struct sockaddr *)&addr, sizeof(addr)));
    }
    conn = viv_accept(server, 0);
    g_assert_cmpint(conn, >=, 0);
    g_assert(!getrlimit(RLIMIT_NOFILE, &rl));
    low = (struct rlimit){first_free_fd(), rl.rlim_max};
    g_assert(!setrlimit(RLIMIT_NOFILE, &low));
    g_assert_cmpint(viv_accept(server, 0), ==, -EMFILE);
    g_assert_cmpint(read(client[1], &c, 1), ==, 0);
    g_assert_cmpint(poll(&(struct pollfd){.fd = server, .events = POLLIN}, 1, 0), ==, 0);
    g_assert(!setrlimit(RLIMIT_NOFILE, &rl));
    close(conn);
    close(client[0]);
    close(client[1]);
    close(server);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host/slept", test_host_slept); /* before the clock is driven by hand */
    g_test_add_func("/host/manual-clock", test_manual);
    g_test_add_func("/host/accept-full", test_accept_full);
    g_test_add_func("/host/file-limit", test_file_limit);
    g_test_add_func("/host/early-signal", test_early_signal);
    g_test_add_func("/host/heap", test_heap);
    g_test_add_func("/host/tsc", test_tsc);
    g_test_add_func("/host/huge", test_huge);
    g_test_add_func("/host/library", test_library);
    g_test_add_func("/host/loop", test_loop);
    g_test_add_func("/host/nested", test_nested);
    g_test_add_func("/host/nested-behind", test_nested_behind);
    g_test_add_func("/host/calls-again", test_calls_again);
    g_test_add_func("/host/iothread", test_iothread);
    return g_test_run();
}
