/* Faults that the host's CPU reports in translated code: #DE, and #GP of a misaligned vector. The instruction has not
 * begun to change anything; the interpreter does it again and raises what the guest is to see. */
#include "cpu/x86/xlate/host.h"

#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

static const int signals[] = {SIGFPE, SIGSEGV, SIGBUS};
static struct sigaction previous[3];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct viv_xlate *self;

static void chain(int sig, siginfo_t *info, void *context)
{
    const struct sigaction *p = &previous[sig == SIGFPE ? 0 : sig == SIGSEGV ? 1 : 2];

    if (p->sa_flags & SA_SIGINFO) {
        p->sa_sigaction(sig, info, context);
    } else if (p->sa_handler != SIG_DFL && p->sa_handler != SIG_IGN) {
        p->sa_handler(sig);
    } else {
        signal(sig, SIG_DFL); /* the instruction repeats and ends the process */
    }
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned off;

    if (self && viv_xl_fault_at(self, (uintptr_t)r[REG_RIP], &off)) {
        self->stats.host_faults++;
        r[REG_RCX] = off;
        r[REG_RIP] = (greg_t)(uintptr_t)viv_xl_t_fault;
        return;
    }
    chain(sig, info, context);
}

static void install(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigemptyset(&sa.sa_mask);
    for (unsigned n = 0; n < 3; n++)
        sigaction(signals[n], &sa, &previous[n]);
}

void viv_xl_host_thread(struct viv_xlate *x)
{
    pthread_once(&once, install);
    self = x;
}
