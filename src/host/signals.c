#include "host/signals.h"

#include "host/loop.h"
#include "host/thread.h"

#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define GRACE_MS 2000

static viv_signal_fn handler;
static int signals = -1, started = -1;
static pthread_t starter;
static struct signalfd_siginfo early; /* came in the last moments of the start; ssi_signo 0: none */

static void tell(void *opaque)
{
    const struct signalfd_siginfo *si = opaque;

    handler(si->ssi_signo, si->ssi_code == SI_KERNEL ? 0 : si->ssi_pid);
}

static void on_signal(void *opaque, int fd, short revents)
{
    struct signalfd_siginfo si;

    if (read(fd, &si, sizeof(si)) == sizeof(si))
        tell(&si);
}

/* What the signal does to a program that says nothing about it. */
static void die_of(int signo)
{
    sigset_t set;

    signal(signo, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, signo);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(signo);
    _exit(128 + signo); /* a container's first process is not killed by it */
}

/* While the main thread opens things, which may wait for others for ever, nobody serves the loop. A start that is nearly through goes on:
 * threads of exports serve already then, and what they serve is to be closed. */
static void *watch_start(void *opaque)
{
    struct pollfd p[2] = {{.fd = started, .events = POLLIN}, {.fd = signals, .events = POLLIN}};

    while (!p[0].revents) {
        if (poll(p, 2, -1) <= 0 || p[0].revents || read(signals, &early, sizeof(early)) != sizeof(early))
            continue;
        if (poll(p, 1, GRACE_MS) <= 0)
            die_of((int)early.ssi_signo);
    }
    return NULL;
}

void viv_signals_init(viv_signal_fn fn)
{
    struct viv_err err = VIV_ERR_INIT;
    sigset_t ends;

    handler = fn;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that grows past RLIMIT_FSIZE, in which a guest has a say: the write fails */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    started = eventfd(0, EFD_CLOEXEC);
    g_assert(signals >= 0 && started >= 0);
    if (viv_thread_start(&starter, "start", watch_start, NULL, &err) < 0) {
        close(started); /* then they are heard when the loop runs */
        started = -1;
    }
}

void viv_signals_started(void)
{
    if (started >= 0) {
        eventfd_write(started, 1);
        pthread_join(starter, NULL);
        close(started);
        started = -1;
    }
    viv_watch_new(signals, POLLIN, on_signal, NULL);
    if (early.ssi_signo)
        viv_loop_call(tell, &early);
}

int viv_signals_fd(void)
{
    return started < 0 ? signals : -1;
}
