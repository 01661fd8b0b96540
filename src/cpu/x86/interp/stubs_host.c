/* SIGFPE: an SSE instruction in a stub met an exception that the guest has not masked. */
#include "cpu/x86/interp/evex.h"

#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

static struct sigaction previous;
static pthread_once_t once = PTHREAD_ONCE_INIT;

bool viv_stubs_contain(uintptr_t rip)
{
    return (rip >= (uintptr_t)viv_stubs_start && rip < (uintptr_t)viv_stubs_end) ||
           (rip >= (uintptr_t)viv_evex_stubs_start && rip < (uintptr_t)viv_evex_stubs_end);
}

/* Everything else is somebody else's, or what it would have been without us. */
static void chain(int sig, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(sig, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(sig);
    } else {
        signal(sig, SIG_DFL); /* the instruction repeats and ends the process */
    }
}

/* The registers in the frame go back as they are, MXCSR with the flags the hardware set among them. */
static void on_fpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    uintptr_t rip = u->uc_mcontext.gregs[REG_RIP];

    if (viv_stubs_contain(rip))
        u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)viv_stub_recover;
    else
        chain(sig, info, context);
}

static void install(void)
{
    struct sigaction sa = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&sa.sa_mask);
    sigaction(SIGFPE, &sa, &previous);
}

void viv_stubs_install_handler(void)
{
    pthread_once(&once, install);
}
