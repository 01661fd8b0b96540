/* Sockets and programs: done by the broker, and by a process that has none. */
#include "host/broker_int.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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

static int start(char *const *argv, int child_fd, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc;

    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    if (child_fd >= 0)
        posix_spawn_file_actions_adddup2(&files, child_fd, CHILD_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, child_fd >= 0 ? CHILD_FD + 1 : CHILD_FD);
    sigemptyset(&none);
    sigfillset(&all); /* ignored ones stay ignored otherwise */
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn(pid, argv[0], &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return -rc;
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

int broker_do_spawn(char *const *argv, int child_fd, unsigned seconds, int *status)
{
    bool late;
    pid_t pid;
    int rc = start(argv, child_fd, &pid);

    if (rc < 0)
        return rc;
    late = !wait_for(pid, seconds);
    if (late)
        kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    return late ? -ETIMEDOUT : 0;
}
