/* SIGSYS: a call that is not on the list. Runs on the thread that made it, at that place, like a function: the call was not made, and
 * what this puts into RAX is its result. Uses the stack and system calls that are on the list. */
#include "host/sandbox_int.h"

#include "host/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif
#define EXIT_STATUS (128 + SIGSYS)
#define LINES_MAX   20u /* of refusals that do not end the process */

static int log_copy = -1;
static unsigned needed;
static unsigned lines;

/* Nothing that this program or its libraries do: whoever asks for these has taken the process over, or is a mistake of ours. */
static const struct {
    short nr;
    const char *name;
} forbidden[] = {
#define _(name) {SYS_##name, #name},
    _(execve) _(execveat) _(fork) _(vfork) _(clone) _(ptrace) _(process_vm_readv) _(process_vm_writev) _(kcmp) _(pidfd_open)
    _(pidfd_send_signal) _(pidfd_getfd) _(kill) _(tkill) _(tgkill) _(rt_sigqueueinfo) _(rt_tgsigqueueinfo) _(rt_sigaction)
    _(mount) _(umount2) _(move_mount) _(open_tree) _(fsopen) _(fsmount) _(fsconfig) _(fspick) _(pivot_root) _(chroot) _(swapon) _(swapoff)
    _(unshare) _(setns) _(setuid) _(setgid) _(setreuid) _(setregid) _(setresuid) _(setresgid) _(setfsuid) _(setfsgid) _(setgroups)
    _(capset) _(prctl) _(seccomp) _(personality) _(bpf) _(perf_event_open) _(userfaultfd) _(keyctl) _(add_key) _(request_key)
    _(init_module) _(finit_module) _(delete_module) _(kexec_load) _(kexec_file_load) _(reboot) _(iopl) _(ioperm) _(modify_ldt)
    _(acct) _(syslog) _(quotactl) _(lookup_dcookie) _(nfsservctl) _(sethostname) _(setdomainname) _(settimeofday) _(clock_settime)
    _(clock_adjtime) _(adjtimex) _(vhangup) _(open_by_handle_at) _(name_to_handle_at) _(fanotify_init) _(mknod) _(mknodat) _(chmod)
    _(fchmod) _(fchmodat) _(chown) _(fchown) _(lchown) _(fchownat) _(setxattr) _(lsetxattr) _(fsetxattr) _(symlink) _(symlinkat)
    _(ioctl) _(fcntl) _(socketpair) _(socket) _(setsid) _(setpgid) _(uselib) _(_sysctl) _(io_setup) _(process_madvise)
    _(move_pages) _(migrate_pages) _(memfd_secret)
#undef _
};

/* Those that fail, and go on with another name for the line; all others are "number N". */
static const struct {
    short nr;
    const char *name;
} failing[] = {
#define _(name) {SYS_##name, #name},
    _(sched_setaffinity) _(sched_setscheduler) _(sched_setparam) _(setpriority) _(ioprio_set) _(mbind) _(set_mempolicy) _(prlimit64)
    _(setrlimit) _(truncate) _(rmdir) _(utimensat) _(inotify_init) _(inotify_init1) _(io_uring_register) _(mlockall)
    _(shmget) _(shmat)
#undef _
};

static void say(const char *text, int len)
{
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        len = 0;
    if (len > 0 && log_copy >= 0 && write(log_copy, text, (size_t)len) < 0)
        return;
}

static const char *name_of(int nr, char room[24], bool *fatal)
{
    *fatal = false;
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        if (forbidden[i].nr == nr) {
            *fatal = true;
            return forbidden[i].name;
        }
    }
    for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
        if (failing[i].nr == nr)
            return failing[i].name;
    }
    snprintf(room, 24, "number %d", nr);
    return room;
}

static void end_process(const char *call, int nr, const char *why)
{
    char text[300];
    int len = snprintf(text, sizeof(text), "viv-vm: sandbox: the system call %s (%d)%s is not for this process, which ends here. If nobody has "
                                           "broken in, this is a mistake of the program's: please report it; -sandbox off goes without\n",
                       call, nr, why);

    say(text, len);
    for (;;)
        _exit(EXIT_STATUS);
}

static long refuse(int nr)
{
    char room[24], text[200];
    bool fatal;
    const char *name = name_of(nr, room, &fatal);
    int len;

    if (fatal)
        end_process(name, nr, "");
    if (__atomic_fetch_add(&lines, 1, __ATOMIC_RELAXED) < LINES_MAX) {
        len = snprintf(text, sizeof(text), "viv-vm: sandbox: the system call %s (%d) was refused\n", name, nr);
        say(text, len);
    }
    return nr >= SYS_pidfd_send_signal ? -ENOSYS : -EPERM; /* newer ones: libraries know what to do without */
}

/* Libraries look for their settings in many places: that fails, with a line, and ends nothing. */
static void tell_refused(const char *why)
{
    char text[500];

    if (*why && __atomic_fetch_add(&lines, 1, __ATOMIC_RELAXED) < LINES_MAX)
        say(text, snprintf(text, sizeof(text), "viv-vm: %s\n", why));
}

/* The number in "/proc/self/fd/N", or -1. */
static int own_descriptor(const char *path)
{
    static const char own[] = "/proc/self/fd/";
    const char *p = path + sizeof(own) - 1;
    int fd = 0;

    if (strncmp(path, own, sizeof(own) - 1) || !*p)
        return -1;
    for (; *p >= '0' && *p <= '9' && fd < 1 << 20; p++)
        fd = fd * 10 + (*p - '0');
    return *p ? -1 : fd;
}

/* What libraries of windows look for unasked and do without: Mesa's cache of shaders, X resources. Nobody needs to hear of it. */
static bool is_habit(const char *path)
{
    const char *name = strrchr(path, '/');

    return strstr(path, "/mesa_shader_cache") || (name && !strncmp(name, "/.Xdefaults", strlen("/.Xdefaults")));
}

static long do_open(int dir, const char *path, int flags, mode_t mode)
{
    char why[400] = "";
    long ret;
    int fd;

    if (!path || (dir != AT_FDCWD && *path != '/'))
        return -EACCES;
    fd = own_descriptor(path);
    ret = fd >= 0 ? viv_broker_reopen(fd, flags, why, sizeof(why)) : viv_broker_open(path, flags, mode, why, sizeof(why));
    if (ret < 0 && !is_habit(path))
        tell_refused(why);
    /* It came with O_CLOEXEC. */
    if (ret >= 0 && !(flags & O_CLOEXEC))
        fcntl((int)ret, F_SETFD, 0);
    return ret;
}

/* A name in the current folder or an absolute one. */
static bool is_plain(long dir, long path)
{
    return path && ((int)dir == AT_FDCWD || *(const char *)path == '/');
}

static long do_linkat(const greg_t *r)
{
    const char *from = (const char *)r[REG_RSI];
    int fd;

    if (!is_plain(r[REG_RDI], r[REG_RSI]) || !is_plain(r[REG_RDX], r[REG_R10]))
        return -EACCES;
    fd = own_descriptor(from);
    return fd < 0 ? viv_broker_link(from, (const char *)r[REG_R10]) : viv_broker_link_fd(fd, (const char *)r[REG_R10]);
}

static long do_renameat(const greg_t *r, unsigned flags)
{
    if (flags || !is_plain(r[REG_RDI], r[REG_RSI]) || !is_plain(r[REG_RDX], r[REG_R10]))
        return -EACCES;
    return viv_broker_rename((const char *)r[REG_RSI], (const char *)r[REG_R10]);
}

/* Name services look for a daemon's socket, or for the host's addresses, and do without. */
static long do_socket(int family)
{
    char text[40];

    if (needed && (family == AF_UNIX || family == AF_NETLINK))
        return -EACCES;
    snprintf(text, sizeof(text), " of family %d", family);
    end_process("socket", SYS_socket, text);
    return -EACCES;
}

/* The open file that a call is about: of (fd, "") or of /proc/self/fd/N. -1: it says something else. */
static int about(long dir, const char *path)
{
    return !path ? -1 : *path ? own_descriptor(path) : (int)dir;
}

/* Calls for the files of a share which Landlock does not know. */
static bool do_share(int nr, const greg_t *r, long *ret)
{
    const char *a = (const char *)r[REG_RDI], *b = (const char *)r[REG_RSI];
    int fd;

    switch (nr) {
    case SYS_chmod:
    case SYS_setxattr:
    case SYS_removexattr: fd = about(-1, a); break;
    case SYS_fchmodat:
    case SYS_fchmodat2:
    case SYS_fchownat:
    case SYS_utimensat: fd = about(r[REG_RDI], b); break;
    default: return false;
    }
    *ret = -EACCES;
    if (fd < 0)
        return true;
    if (nr == SYS_chmod)
        *ret = viv_broker_chmod(fd, (mode_t)r[REG_RSI]);
    else if (nr == SYS_fchmodat || nr == SYS_fchmodat2)
        *ret = viv_broker_chmod(fd, (mode_t)r[REG_RDX]);
    else if (nr == SYS_fchownat)
        *ret = viv_broker_chown(fd, (uid_t)r[REG_RDX], (gid_t)r[REG_R10]);
    else if (nr == SYS_utimensat)
        *ret = viv_broker_utimes(fd, (const struct timespec *)r[REG_RDX]);
    else if (nr == SYS_setxattr)
        *ret = viv_broker_setxattr(fd, b, (const void *)r[REG_RDX], (size_t)r[REG_R10], (int)r[REG_R8]);
    else
        *ret = viv_broker_removexattr(fd, b);
    return true;
}

static long emulate(int nr, const greg_t *r)
{
    const char *a = (const char *)r[REG_RDI], *b = (const char *)r[REG_RSI];
    long ret;

    if (needed & VIV_SANDBOX_SHARE && do_share(nr, r, &ret))
        return ret;

    switch (nr) {
    case SYS_open: return do_open(AT_FDCWD, a, (int)r[REG_RSI], (mode_t)r[REG_RDX]);
    case SYS_creat: return do_open(AT_FDCWD, a, O_CREAT | O_WRONLY | O_TRUNC, (mode_t)r[REG_RSI]);
    case SYS_openat: return do_open((int)r[REG_RDI], b, (int)r[REG_RDX], (mode_t)r[REG_R10]);
    case SYS_unlink: return viv_broker_unlink(a);
    case SYS_unlinkat: return is_plain(r[REG_RDI], r[REG_RSI]) && !r[REG_RDX] ? viv_broker_unlink(b) : -EACCES;
    case SYS_rename: return viv_broker_rename(a, b);
    case SYS_renameat: return do_renameat(r, 0);
    case SYS_renameat2: return do_renameat(r, (unsigned)r[REG_R8]);
    case SYS_link: return viv_broker_link(a, b);
    case SYS_linkat: return do_linkat(r);
    case SYS_mkdir: return viv_broker_mkdir(a, (mode_t)r[REG_RSI]);
    case SYS_mkdirat: return is_plain(r[REG_RDI], r[REG_RSI]) ? viv_broker_mkdir(b, (mode_t)r[REG_RDX]) : -EACCES;
    case SYS_socket: return do_socket((int)r[REG_RDI]);
    case SYS_io_uring_setup: return -EPERM; /* rings are made before; a disk that comes later does with threads */
    default: return refuse(nr);
    }
}

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    int saved = errno;

    if (info->si_code == SI_TKILL) { /* sandbox_landlock_others() */
        sandbox_landlock_this_thread();
        errno = saved;
        return;
    }
    r[REG_RAX] = emulate(info->si_syscall, r);
    errno = saved;
}

void sandbox_trap_install(int log_fd, unsigned needs)
{
    struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    sigset_t this;

    log_copy = log_fd == STDERR_FILENO ? -1 : log_fd;
    needed = needs;
    sigfillset(&sa.sa_mask);
    sigdelset(&sa.sa_mask, SIGSYS);
    sigaction(SIGSYS, &sa, NULL);
    sigemptyset(&this);
    sigaddset(&this, SIGSYS);
    sigprocmask(SIG_UNBLOCK, &this, NULL);
}
