#include "host/listen.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int spare = -1; /* a descriptor that holds a place */

static bool is_full(int e)
{
    return e == EMFILE || e == ENFILE;
}

/* Who waits in a full process's backlog wakes it for ever: the place that is held makes room to take him and let him go. */
static void turn_away(int fd)
{
    static bool told;
    int conn;

    close(spare);
    conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (conn >= 0)
        close(conn);
    else if (is_full(errno))
        poll(NULL, 0, 10); /* another thread had it first */
    spare = eventfd(0, EFD_CLOEXEC);
    if (!told)
        viv_warn("this process has as many open files as it may (ulimit -n): who connects is turned away");
    told = true;
}

int viv_accept(int fd, int flags)
{
    int conn, e;

    pthread_mutex_lock(&lock);
    if (spare < 0)
        spare = eventfd(0, EFD_CLOEXEC);
    conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | flags);
    e = conn < 0 ? errno : 0;
    if (is_full(e))
        turn_away(fd);
    pthread_mutex_unlock(&lock);
    return conn >= 0 ? conn : -e;
}
