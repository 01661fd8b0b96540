/* The list of system calls, as a BPF program (Linux: Documentation/userspace-api/seccomp_filter.rst). Own code, not libseccomp: that
 * costs a library and a millisecond at each start, and the program is a table and four kinds of checks.
 *
 * What is not on the list gives SIGSYS, and sandbox_trap.c decides: files are asked of the broker, what only an attack would want ends
 * the process, other calls fail. The handler never makes the call, so that nothing rests on it. Names may be looked at (stat, readlink):
 * contents may not. A system call of another ABI (int 80h, x32) ends the process at once. */
#include "host/sandbox_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef FIOSETOWN
#define FIOSETOWN 0x8901
#endif
#ifndef SIOCSPGRP
#define SIOCSPGRP 0x8902
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif
#define X32_BIT 0x40000000u
#define END     0xffffu

static const unsigned short always[] = {
    /* open files and memory */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_close,
    SYS_close_range, SYS_lseek, SYS_fstat, SYS_flock, SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_ftruncate, SYS_fallocate,
    SYS_fadvise64, SYS_readahead, SYS_getdents64, SYS_fstatfs, SYS_dup, SYS_dup2, SYS_dup3, SYS_pipe, SYS_pipe2, SYS_copy_file_range, SYS_sendfile,
    SYS_splice, SYS_tee, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_mincore, SYS_msync, SYS_brk, SYS_mlock, SYS_mlock2,
    SYS_munlock, SYS_memfd_create, SYS_io_uring_enter,
    /* names, without what is in the files; `chdir` is -daemonize's */
    SYS_stat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat, SYS_getcwd,
    SYS_statfs, SYS_chdir, SYS_umask,
    /* waiting */
    SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd, SYS_eventfd2, SYS_signalfd, SYS_signalfd4, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime,
    SYS_nanosleep, SYS_clock_nanosleep, SYS_pause, SYS_futex, SYS_restart_syscall, SYS_sched_yield, SYS_wait4, SYS_waitid,
    /* sockets that there are; those of UNIX paths come connected from the broker */
    SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
    SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt,
    /* this process and its threads */
    SYS_exit, SYS_exit_group, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getpgrp, SYS_getpgid, SYS_getsid, SYS_getuid, SYS_geteuid, SYS_getgid,
    SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_getrlimit, SYS_getrusage, SYS_times, SYS_sysinfo, SYS_uname, SYS_getcpu,
    SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_getpriority,
    SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_membarrier, SYS_arch_prctl, SYS_capget,
    /* signals to itself */
    SYS_landlock_restrict_self, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_rt_sigsuspend, SYS_sigaltstack,
    /* time and chance */
    SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_time, SYS_getrandom, SYS_alarm, SYS_setitimer, SYS_getitimer, SYS_timer_create,
    SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete,
    END};

/* resourcecontrol=allow: processor affinity and priorities. */
static const unsigned short resources[] = {SYS_setpriority, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setaffinity, SYS_sched_setattr,
                                           SYS_sched_rr_get_interval, SYS_ioprio_set, SYS_ioprio_get, SYS_mbind, SYS_set_mempolicy,
                                           SYS_setrlimit, END};
/* obsolete=allow: most have left the kernel. */
static const unsigned short obsolete[] = {SYS__sysctl, SYS_uselib, SYS_ustat, SYS_sysfs, SYS_afs_syscall, SYS_tuxcall,
                                          SYS_getpmsg, SYS_putpmsg, SYS_create_module, SYS_get_kernel_syms, SYS_query_module, SYS_nfsservctl,
                                          SYS_epoll_ctl_old, SYS_epoll_wait_old, SYS_vserver, SYS_security, SYS_remap_file_pages, END};
/* A folder that a guest shares: Landlock says which files. What it does not know (modes, owners, times, attributes) the broker does. */
static const unsigned short share[] = {
    SYS_open, SYS_openat, SYS_openat2, SYS_unlink, SYS_unlinkat, SYS_mkdir, SYS_mkdirat, SYS_rename, SYS_renameat, SYS_renameat2, SYS_link,
    SYS_linkat, SYS_symlinkat, SYS_mknodat, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr, SYS_llistxattr, SYS_flistxattr, END};
/* An X server's MIT-SHM. */
static const unsigned short window[] = {SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, END};

#define CALLS   512 /* more than there are */

struct program {
    struct sock_filter at[1024];
    unsigned short n;
    bool too_long;
};

static void put(struct program *p, unsigned short code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (p->n == sizeof(p->at) / sizeof(p->at[0])) {
        p->too_long = true;
        return;
    }
    p->at[p->n++] = (struct sock_filter){code, jt, jf, k};
}

static void put_ret(struct program *p, uint32_t action)
{
    put(p, BPF_RET | BPF_K, action, 0, 0);
}

static void put_load(struct program *p, size_t offset)
{
    put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static size_t arg(unsigned n)
{
    return offsetof(struct seccomp_data, args) + 8 * n; /* its low half: all that are looked at are ints */
}

static void allow(bool *set, const unsigned short *list)
{
    for (; *list != END; list++)
        set[*list] = true;
}

struct range {
    uint32_t first, last;
};

/* A tree of comparisons: the kernel tries the program with every number when it takes it, and that is most of what it costs. */
static void put_tree(struct program *p, const struct range *r, unsigned n)
{
    unsigned half = n / 2, jump = p->n;

    if (n == 1) {
        put(p, BPF_JMP | BPF_JGE | BPF_K, r->first, 0, 2);
        put(p, BPF_JMP | BPF_JGT | BPF_K, r->last, 1, 0);
        put_ret(p, SECCOMP_RET_ALLOW);
        put_ret(p, SECCOMP_RET_TRAP);
        return;
    }
    put(p, BPF_JMP | BPF_JGE | BPF_K, r[half].first, 0, 0);
    put_tree(p, r, half);
    if (p->n - jump - 1 > UINT8_MAX)
        p->too_long = true;
    p->at[jump].jt = (uint8_t)(p->n - jump - 1);
    put_tree(p, r + half, n - half);
}

static void put_list(struct program *p, const bool *set)
{
    struct range r[CALLS / 2];
    unsigned n = 0;

    for (uint32_t i = 0; i < CALLS; i++) {
        if (set[i] && i && set[i - 1])
            r[n - 1].last = i;
        else if (set[i])
            r[n++] = (struct range){i, i};
    }
    put_tree(p, r, n);
}

/* Call `nr`: `then` if its argument has one of the values, else `other`. */
static void by_value(struct program *p, unsigned nr, unsigned which, const uint32_t *values, unsigned count, uint32_t then, uint32_t other)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, (uint8_t)(2 + 2 * count));
    put_load(p, arg(which));
    for (unsigned i = 0; i < count; i++) {
        put(p, BPF_JMP | BPF_JEQ | BPF_K, values[i], 0, 1);
        put_ret(p, then);
    }
    put_ret(p, other);
}

#define BY_VALUE(p, nr, which, then, other, ...)                                                                                           \
    by_value(p, nr, which, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), then, other)

#define SOCK_TYPE_BITS 0xf
#define RULE_MOST      96 /* steps of a rule of several arguments */

/* A rule of its own for call `nr`, which answers in every case: its steps are put behind a jump round them. */
static unsigned begin_rule(struct program *p, unsigned nr)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 0);
    return p->n - 1u;
}

static void end_rule(struct program *p, unsigned begin)
{
    if (p->n - begin - 1 > RULE_MOST)
        p->too_long = true;
    p->at[begin].jf = (uint8_t)(p->n - begin - 1);
}

/* The answer is `no` unless what is loaded is one of the values. */
static void demand(struct program *p, const uint32_t *values, unsigned count, uint32_t no)
{
    for (unsigned i = 0; i < count; i++)
        put(p, BPF_JMP | BPF_JEQ | BPF_K, values[i], (uint8_t)(count - i), 0);
    put_ret(p, no);
}

#define DEMAND(p, ...) demand(p, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), SECCOMP_RET_TRAP)

static void put_type(struct program *p)
{
    put_load(p, arg(1));
    put(p, BPF_ALU | BPF_AND | BPF_K, SOCK_TYPE_BITS, 0, 0);
}

/* New sockets: streams and datagrams of the two families with the network (a raw one, or SOCK_PACKET, sees the wire), and connected
 * pairs. A pair of datagrams (SOCK_RAW is one as well) could be connected to any path. */
static void put_sockets(struct program *p, bool network)
{
    unsigned rule;

    if (network) {
        rule = begin_rule(p, SYS_socket);
        put_load(p, arg(0));
        DEMAND(p, AF_INET, AF_INET6);
        put_type(p);
        DEMAND(p, SOCK_STREAM, SOCK_DGRAM);
        put_ret(p, SECCOMP_RET_ALLOW);
        end_rule(p, rule);
    }
    rule = begin_rule(p, SYS_socketpair);
    put_load(p, arg(0));
    DEMAND(p, AF_UNIX);
    put_type(p);
    DEMAND(p, SOCK_STREAM, SOCK_SEQPACKET);
    put_ret(p, SECCOMP_RET_ALLOW);
    end_rule(p, rule);
}

/* Threads, never processes: clone3 hides its flags in memory, and glibc does with clone where there is none. */
static void put_threads(struct program *p)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
    put_load(p, arg(0));
    put(p, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
    put_ret(p, SECCOMP_RET_ALLOW);
    put_ret(p, SECCOMP_RET_TRAP);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
    put_ret(p, SECCOMP_RET_ERRNO | ENOSYS);
}

/* Limits of this process; may be read only (no new value) without resourcecontrol. Another's of the same user could be ended by them. */
static void put_prlimit(struct program *p, bool may_set)
{
    unsigned rule = begin_rule(p, SYS_prlimit64);

    put_load(p, arg(0));
    DEMAND(p, 0, (uint32_t)getpid());
    for (unsigned half = 0; half < 2 && !may_set; half++) {
        put_load(p, arg(2) + 4 * half);
        DEMAND(p, 0);
    }
    put_ret(p, SECCOMP_RET_ALLOW);
    end_rule(p, rule);
}

/* Signals that the kernel sends when a descriptor is ready go to whom F_SETOWN names, any process of the user's, and are of any kind. */
static void put_owners(struct program *p)
{
    BY_VALUE(p, SYS_fcntl, 1, SECCOMP_RET_TRAP, SECCOMP_RET_ALLOW, F_SETOWN, F_SETOWN_EX, F_SETSIG, F_NOTIFY);
    /* A terminal would take TIOCSTI's words for typed ones, outside. */
    BY_VALUE(p, SYS_ioctl, 1, SECCOMP_RET_TRAP, SECCOMP_RET_ALLOW, TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP);
}

static void put_checked(struct program *p, const struct viv_sandbox *s, unsigned needs)
{
    uint32_t self = (uint32_t)getpid();

    put_owners(p);
    BY_VALUE(p, SYS_rt_sigaction, 0, SECCOMP_RET_TRAP, SECCOMP_RET_ALLOW, SIGSYS);
    BY_VALUE(p, SYS_kill, 0, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP, self);
    BY_VALUE(p, SYS_tgkill, 0, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP, self);
    BY_VALUE(p, SYS_rt_tgsigqueueinfo, 0, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP, self);
    BY_VALUE(p, SYS_prctl, 0, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_DUMPABLE, PR_SET_TIMERSLACK,
             PR_GET_TIMERSLACK, PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_READ);
    if (needs & VIV_SANDBOX_SHARE) /* a umask of a thread's own */
        BY_VALUE(p, SYS_unshare, 0, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP, CLONE_FS);
    put_sockets(p, needs & VIV_SANDBOX_NETWORK);
    put_threads(p);
    put_prlimit(p, s->resourcecontrol);
}

static void compile(struct program *p, const struct viv_sandbox *s, unsigned needs)
{
    bool set[CALLS] = {false};

    allow(set, always);
    if (s->resourcecontrol)
        allow(set, resources);
    if (s->obsolete)
        allow(set, obsolete);
    if (needs & VIV_SANDBOX_WINDOW)
        allow(set, window);
    if (needs & VIV_SANDBOX_SHARE)
        allow(set, share);
    put_load(p, offsetof(struct seccomp_data, arch));
    put(p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    put_ret(p, SECCOMP_RET_KILL_PROCESS);
    put_load(p, offsetof(struct seccomp_data, nr));
    put(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    put_ret(p, SECCOMP_RET_KILL_PROCESS);
    /* Those with checks end in themselves; one that is not meant leaves the number where it is. */
    put_checked(p, s, needs);
    put_list(p, set);
}

int sandbox_filter_install(const struct viv_sandbox *s, unsigned needs, struct viv_err *err)
{
    static struct program p;
    struct sock_fprog prog = {.filter = p.at};
    long ret;

    compile(&p, s, needs);
    if (p.too_long)
        return viv_fail(err, E2BIG, "-sandbox: the list of system calls is too long for one program");
    prog.len = p.n;
    /* SPEC_ALLOW: kernels before 5.16 slow all of the process down otherwise. */
    ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog);
    if (ret > 0)
        return viv_fail(err, EBUSY, "-sandbox: thread %ld has a filter of its own", ret);
    return ret < 0 ? viv_fail_os(err, errno, "-sandbox: this kernel takes no filter of system calls (CONFIG_SECCOMP_FILTER); -sandbox off "
                                             "starts without") : 0;
}
