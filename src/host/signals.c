#include "host/signals.h"

#include "host/loop.h"

#include <glib.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static viv_signal_fn handler;

static void on_signal(void *opaque, int fd, short revents)
{
    struct signalfd_siginfo si;

    if (read(fd, &si, sizeof(si)) == sizeof(si))
        handler(si.ssi_signo, si.ssi_code == SI_KERNEL ? 0 : si.ssi_pid);
}

void viv_signals_init(viv_signal_fn fn)
{
    sigset_t ends;
    int fd;

    handler = fn;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that grows past RLIMIT_FSIZE, in which a guest has a say: the write fails */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    fd = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    g_assert(fd >= 0);
    viv_watch_new(fd, POLLIN, on_signal, NULL);
}
