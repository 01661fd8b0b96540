/* The event loop on a main context of GLib's that is ours: the default one is for a GUI toolkit, which has it in a thread of its own.
 *
 * GLib waits; our part is the device lock round each callback, watches that may be freed by any thread that holds the
 * lock, and a queue of calls behind one eventfd. */
#include "host/loop.h"

#include "host/clock_int.h"
#include "host/lock.h"

#include <glib-unix.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static GMainContext *context(void)
{
    static GMainContext *ours;

    if (g_once_init_enter(&ours))
        g_once_init_leave(&ours, g_main_context_new());
    return ours;
}

/* --- watches --- */

struct viv_watch {
    GSource source; /* first: GLib allocates the whole */
    gpointer tag;
    int fd;
    viv_fd_fn fn;
    void *opaque;
    bool dead; /* device lock */
};

static gboolean watch_check(GSource *source)
{
    struct viv_watch *w = (struct viv_watch *)source;

    return g_source_query_unix_fd(source, w->tag) != 0;
}

static gboolean watch_dispatch(GSource *source, GSourceFunc unused, gpointer unused2)
{
    struct viv_watch *w = (struct viv_watch *)source;
    short revents = g_source_query_unix_fd(source, w->tag);

    viv_dev_lock();
    if (!w->dead && revents)
        w->fn(w->opaque, w->fd, revents);
    viv_dev_unlock();
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs watch_funcs = {.check = watch_check, .dispatch = watch_dispatch};

/* GIOCondition has poll(2)'s values. */
struct viv_watch *viv_watch_new(int fd, short events, viv_fd_fn fn, void *opaque)
{
    GSource *source = g_source_new(&watch_funcs, sizeof(struct viv_watch));
    struct viv_watch *w = (struct viv_watch *)source;

    w->fd = fd;
    w->fn = fn;
    w->opaque = opaque;
    w->tag = g_source_add_unix_fd(source, fd, (GIOCondition)(events | POLLERR | POLLHUP));
    g_source_attach(source, context());
    return w;
}

void viv_watch_set_events(struct viv_watch *w, short events)
{
    g_source_modify_unix_fd(&w->source, w->tag, (GIOCondition)(events | POLLERR | POLLHUP));
}

void viv_watch_free(struct viv_watch *w)
{
    if (!w)
        return;
    w->dead = true;
    g_source_destroy(&w->source);
    g_source_unref(&w->source);
}

/* --- calls --- */

struct call {
    viv_loop_fn fn;
    void *opaque;
};

static pthread_mutex_t calls_lock = PTHREAD_MUTEX_INITIALIZER;
static struct call *calls;
static size_t calls_first, calls_len, calls_room;
static int calls_fd = -1;

static void open_calls_fd(void)
{
    calls_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g_assert(calls_fd >= 0);
}

void viv_loop_call(viv_loop_fn fn, void *opaque)
{
    bool first;

    pthread_mutex_lock(&calls_lock);
    if (calls_fd < 0)
        open_calls_fd();
    if (calls_len == calls_room && calls_first > calls_room / 2) {
        calls_len -= calls_first;
        memmove(calls, calls + calls_first, calls_len * sizeof(*calls));
        calls_first = 0;
    } else if (calls_len == calls_room) {
        calls_room = calls_room ? calls_room * 2 : 16;
        calls = g_renew(struct call, calls, calls_room);
    }
    first = calls_len == 0; /* take_call starts again at 0 when it has taken the last */
    calls[calls_len++] = (struct call){fn, opaque};
    if (first)
        eventfd_write(calls_fd, 1);
    pthread_mutex_unlock(&calls_lock);
}

static void nothing(void *opaque)
{
}

void viv_loop_forget(const void *opaque)
{
    pthread_mutex_lock(&calls_lock);
    for (size_t i = calls_first; i < calls_len; i++) {
        if (calls[i].opaque == opaque)
            calls[i].fn = nothing;
    }
    pthread_mutex_unlock(&calls_lock);
}

/* Takes the first call. The descriptor stays readable for as long as calls wait: one that serves the loop itself
 * (viv_loop_wait_for) must not hold up those behind it. */
static bool take_call(struct call *out)
{
    eventfd_t unused;
    bool any;

    pthread_mutex_lock(&calls_lock);
    any = calls_first < calls_len;
    if (any)
        *out = calls[calls_first++];
    if (calls_first == calls_len) {
        calls_first = calls_len = 0;
        eventfd_read(calls_fd, &unused);
    }
    pthread_mutex_unlock(&calls_lock);
    return any;
}

/* As many as there were: calls that queue themselves again do not keep the loop from its descriptors. */
static void run_calls(void)
{
    struct call c;
    size_t n;

    pthread_mutex_lock(&calls_lock);
    n = calls_len - calls_first;
    pthread_mutex_unlock(&calls_lock);
    while (n-- > 0 && take_call(&c))
        c.fn(c.opaque);
}

/* --- the loop --- */

static gboolean on_calls(gint fd, GIOCondition cond, gpointer opaque)
{
    viv_dev_lock();
    run_calls();
    viv_dev_unlock();
    return G_SOURCE_CONTINUE;
}

static gboolean on_timers(gint fd, GIOCondition cond, gpointer opaque)
{
    viv_dev_lock();
    viv_timers_run();
    viv_dev_unlock();
    return G_SOURCE_CONTINUE;
}

/* May be dispatched inside viv_loop_wait_for, itself called from a call or a timer. */
static void add_inner(int fd, GUnixFDSourceFunc fn)
{
    GSource *s = g_unix_fd_source_new(fd, G_IO_IN);

    g_source_set_callback(s, (GSourceFunc)(void (*)(void))fn, NULL, NULL);
    g_source_set_can_recurse(s, TRUE);
    g_source_attach(s, context());
    g_source_unref(s);
}

static atomic_bool quit;

static void start_once(void)
{
    static bool started;

    if (started)
        return;
    started = true;
    pthread_mutex_lock(&calls_lock);
    if (calls_fd < 0)
        open_calls_fd();
    pthread_mutex_unlock(&calls_lock);
    add_inner(calls_fd, on_calls);
    add_inner(viv_timers_fd(), on_timers);
}

void viv_loop_run(void)
{
    start_once();
    while (!atomic_load(&quit))
        g_main_context_iteration(context(), TRUE);
    atomic_store(&quit, false);
}

bool viv_loop_serve(bool wait)
{
    start_once();
    return g_main_context_iteration(context(), wait);
}

void viv_loop_quit(void)
{
    atomic_store(&quit, true);
    g_main_context_wakeup(context());
}

bool viv_loop_wait_for(bool (*done)(void *opaque), void *opaque, int64_t timeout_ns)
{
    int64_t end = viv_clock_ns(VIV_CLOCK_HOST) + timeout_ns;
    struct viv_timer *alarm = viv_timer_new(VIV_CLOCK_HOST, nothing, NULL);
    bool ok;

    VIV_ASSERT_DEV_LOCKED();
    start_once();
    viv_timer_set(alarm, end);
    while (!(ok = done(opaque)) && viv_clock_ns(VIV_CLOCK_HOST) < end) {
        viv_dev_unlock();
        g_main_context_iteration(context(), TRUE);
        viv_dev_lock();
    }
    viv_timer_free(alarm);
    return ok;
}
