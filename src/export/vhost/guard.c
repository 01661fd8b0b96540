#include "export/vhost/guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#define GUARDS_MAX 1024

/* The handler reads it in whichever thread was hit: a slot is in use when its base is not 0, and has its length by then. */
static struct {
    uintptr_t base;
    size_t len;
    bool cut;
} guards[GUARDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for who adds and removes */
static struct sigaction before;

/* All of the mapping: parts of one of huge pages cannot be had, and who cuts its memory short has broken its word anyway. */
static bool replace(uintptr_t addr)
{
    for (unsigned i = 0; i < GUARDS_MAX; i++) {
        uintptr_t base = __atomic_load_n(&guards[i].base, __ATOMIC_ACQUIRE);

        if (!base || addr < base || addr - base >= guards[i].len)
            continue;
        __atomic_store_n(&guards[i].cut, true, __ATOMIC_RELAXED);
        return mmap((void *)base, guards[i].len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) !=
               MAP_FAILED;
    }
    return false;
}

/* Not ours. A handler that was there before us is called, as it may have a use for it and go on; so ours stays. Else it is as it would have
 * been without us: the access is tried again, and what somebody sent comes again, and end the process. */
static void pass_on(int signo, siginfo_t *info, void *context)
{
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signo, info, context);
    } else if (before.sa_handler == SIG_IGN && info->si_code <= 0) {
        return; /* the kernel ignores none that an access raises */
    } else if (before.sa_handler == SIG_IGN || before.sa_handler == SIG_DFL) {
        signal(SIGBUS, SIG_DFL);
        if (info->si_code <= 0)
            raise(SIGBUS); /* when this handler has returned */
    } else {
        before.sa_handler(signo);
    }
}

static void on_bus_error(int signo, siginfo_t *info, void *context)
{
    if (info->si_code <= 0 || !replace((uintptr_t)info->si_addr))
        pass_on(signo, info, context);
}

static void install(void)
{
    struct sigaction sa = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};

    sigemptyset(&sa.sa_mask);
    sigaction(SIGBUS, &sa, &before);
}

bool viv_guard_add(void *map, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned i = 0;

    pthread_once(&once, install);
    pthread_mutex_lock(&lock);
    while (i < GUARDS_MAX && guards[i].base)
        i++;
    if (i < GUARDS_MAX) {
        guards[i].len = len;
        guards[i].cut = false;
        __atomic_store_n(&guards[i].base, (uintptr_t)map, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return i < GUARDS_MAX;
}

bool viv_guard_remove(void *map)
{
    bool cut = false;

    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < GUARDS_MAX; i++)
        if (guards[i].base == (uintptr_t)map) {
            cut = guards[i].cut;
            __atomic_store_n(&guards[i].base, 0, __ATOMIC_RELEASE);
        }
    pthread_mutex_unlock(&lock);
    return cut;
}
