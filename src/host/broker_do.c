/* Sockets and programs: done by the broker, and by a process that has none. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FD 3

static int new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

int broker_do_connect(const struct sockaddr *a, socklen_t len)
{
    int fd = new_socket(), e;

    if (fd < 0 || connect(fd, a, len) == 0)
        return fd;
    e = errno;
    close(fd);
    return -e;
}

/* A folder that may not be read, or a file system that does not do it, is as it was without. */
int broker_do_sync(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0)
        return 0;
    rc = fsync(fd) < 0 && errno != EINVAL && errno != EROFS ? -errno : 0;
    close(fd);
    return rc;
}

int broker_do_listen(const struct sockaddr *a, socklen_t len, int backlog)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)a;
    struct stat st;
    int fd = new_socket(), e;

    if (fd < 0)
        return fd;
    if (len > offsetof(struct sockaddr_un, sun_path) && *un->sun_path && lstat(un->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(un->sun_path);
    if (bind(fd, a, len) == 0 && listen(fd, backlog) == 0)
        return fd;
    e = errno;
    close(fd);
    return -e;
}

/* From `first` on they end with the exec. */
static void close_at_exec(int first)
{
    if (close_range((unsigned)first, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    for (long fd = first, end = sysconf(_SC_OPEN_MAX); fd < end; fd++) /* before Linux 5.11 */
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

static void give(int child_fd)
{
    if (child_fd == CHILD_FD)
        fcntl(child_fd, F_SETFD, 0);
    else if (child_fd >= 0)
        dup2(child_fd, CHILD_FD);
    close_at_exec(child_fd >= 0 ? CHILD_FD + 1 : CHILD_FD);
}

/* In the new process, which has this one's memory until it is the program. Returns why it cannot be. */
static int become(const struct broker_program *w, int child_fd)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    int flags = w->dir == AT_FDCWD ? 0 : AT_SYMLINK_NOFOLLOW;
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, &usual, NULL); /* ignored ones stay ignored otherwise */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    give(child_fd);
    execveat(w->dir, w->name, w->argv, environ, flags);
    if (errno == ENOENT && w->dir != AT_FDCWD) { /* a script, which its shell opens as /dev/fd/DIR/NAME: the folder has to stay */
        fcntl(w->dir, F_SETFD, 0);
        execveat(w->dir, w->name, w->argv, environ, flags);
    }
    return errno;
}

/* As posix_spawn(), which knows programs by name only. */
static int start(const struct broker_program *w, int child_fd, pid_t *pid)
{
    volatile int why = 0;
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler runs in the child */
    *pid = vfork();
    if (*pid == 0) {
        why = become(w, child_fd);
        _exit(127);
    }
    if (*pid < 0)
        why = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (*pid > 0 && why)
        waitpid(*pid, NULL, 0);
    return -why;
}

/* Has it ended in time? */
static bool wait_for(pid_t pid, unsigned seconds)
{
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int n;

    if (p.fd < 0) /* before Linux 5.3: no limit */
        return true;
    do
        n = poll(&p, 1, seconds ? (int)seconds * 1000 : -1);
    while (n < 0 && errno == EINTR);
    close(p.fd);
    return n > 0;
}

int broker_do_spawn(const struct broker_program *w, int child_fd, unsigned seconds, int *status)
{
    bool late;
    pid_t pid;
    int rc = start(w, child_fd, &pid);

    if (rc < 0)
        return rc;
    late = !wait_for(pid, seconds);
    if (late)
        kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    return late ? -ETIMEDOUT : 0;
}
