#include "cmd/daemon.h"

#include "host/broker.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1; /* the waiting parent's end of a pipe */
static int null_fd = -1;  /* opened before a -chroot that has none */
static int pid_folder = -1; /* the pid file's: -chroot shuts its name out */
static const char *what; /* the option, for errors */
static char *pidfile;

/* Waits for one byte: the child's machine is up. End of file: it has failed and said why on stderr. */
static void wait_for_child(int fd)
{
    char ok;
    ssize_t n;

    do {
        n = read(fd, &ok, 1);
    } while (n < 0 && errno == EINTR);
    _exit(n == 1 ? 0 : 1);
}

int cmd_daemon_start(const char *option, struct viv_err *err)
{
    int fds[2];
    pid_t pid;

    what = option;
    null_fd = viv_open("/dev/null", O_RDWR, 0, err);
    if (null_fd < 0)
        return null_fd;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return viv_fail_os(err, errno, "%s", what);
    pid = fork();
    if (pid < 0)
        return viv_fail_os(err, errno, "%s", what);
    if (pid > 0) {
        close(fds[1]);
        wait_for_child(fds[0]);
    }
    close(fds[0]);
    ready_fd = fds[1];
    setsid();
    /* A session leader that opens a terminal would get it as its own: be none. */
    pid = fork();
    if (pid < 0)
        return viv_fail_os(err, errno, "%s", what);
    if (pid > 0)
        _exit(0);
    signal(SIGTSTP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    return 0;
}

int cmd_daemon_ready(struct viv_err *err)
{
    if (ready_fd < 0)
        return 0;
    if (chdir("/") < 0)
        return viv_fail_os(err, errno, "%s: cannot go to /", what);
    viv_broker_detach();
    if (write(ready_fd, "", 1) != 1)
        return viv_fail_os(err, errno, "%s", what);
    for (int fd = 0; fd < 3; fd++)
        dup2(null_fd, fd);
    if (null_fd > 2)
        close(null_fd);
    close(ready_fd);
    ready_fd = -1;
    return 0;
}

int cmd_pidfile_write(const char *option, const char *path, struct viv_err *err)
{
    int fd = viv_open(path, O_RDWR | O_CREAT, 0600, err);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    g_autofree char *folder = NULL;
    char text[32];
    int len;

    if (fd < 0) {
        viv_err_prefix(err, "%s", option);
        return fd;
    }
    /* Held until the end: says that the process in the file lives. */
    if (fcntl(fd, F_SETLK, &fl) < 0) {
        fcntl(fd, F_GETLK, &fl);
        close(fd);
        return viv_fail(err, EBUSY, "%s: '%s' is locked by process %d: another one uses it", option, path,
                        (int)fl.l_pid);
    }
    len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || write(fd, text, len) != len) {
        int e = errno;

        close(fd);
        return viv_fail_os(err, e, "%s: cannot write '%s'", option, path);
    }
    /* A daemon leaves this directory. */
    pidfile = g_canonicalize_filename(path, NULL);
    folder = g_path_get_dirname(pidfile);
    pid_folder = viv_open(folder, O_PATH | O_DIRECTORY, 0, NULL);
    return 0;
}

void cmd_pidfile_remove(void)
{
    g_autofree char *base = pidfile ? g_path_get_basename(pidfile) : NULL;

    if (pidfile && (viv_broker_sealed() || pid_folder < 0))
        viv_broker_unlink(pidfile);
    else if (pidfile)
        unlinkat(pid_folder, base, 0);
    g_clear_pointer(&pidfile, g_free);
}
