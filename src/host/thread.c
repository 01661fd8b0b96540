#include "host/thread.h"

#include <glib.h>
#include <signal.h>
#include <stdio.h>

void viv_thread_name(const char *name)
{
    char text[16];

    snprintf(text, sizeof(text), "%s", name);
    pthread_setname_np(pthread_self(), text);
}

void viv_thread_block_signals(sigset_t *old)
{
    static const int faults[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    sigset_t all;

    sigfillset(&all);
    for (size_t i = 0; i < G_N_ELEMENTS(faults); i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, old);
}

struct start {
    void *(*fn)(void *);
    void *opaque;
    char name[16];
};

static void *run(void *p)
{
    struct start s = *(struct start *)p;

    g_free(p);
    viv_thread_name(s.name);
    return s.fn(s.opaque);
}

int viv_thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *opaque,
                     struct viv_err *err)
{
    struct start *s = g_new0(struct start, 1);
    sigset_t ends, old;
    int rc;

    s->fn = fn;
    s->opaque = opaque;
    snprintf(s->name, sizeof(s->name), "%s", name);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigaddset(&ends, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &ends, &old); /* the new thread inherits it */
    rc = pthread_create(out, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        g_free(s);
        return viv_fail_os(err, rc, "cannot start thread '%s'", name);
    }
    return 0;
}
