/* Each forbidden thing is tried by a process that is confined for the purpose: system calls, threads, requests to the broker, users. */
#include "host/sandbox_try.h"

#include "host/broker_int.h"
#include "host/open.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- what ends the process --- */

static void try_execve(void) { execl("/bin/true", "true", NULL); }
static void try_fork(void) { syscall(SYS_fork); }
static void try_clone(void) { syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static void try_ptrace(void) { ptrace(PTRACE_TRACEME, 0, 0, 0); }
static void try_mount(void) { mount("none", "/mnt", "tmpfs", 0, NULL); }
static void try_chroot(void) { syscall(SYS_chroot, "/"); }
static void try_unshare(void) { unshare(CLONE_NEWUSER); }
static void try_socket(void) { socket(AF_INET, SOCK_STREAM, 0); }
static void try_packet(void) { socket(AF_PACKET, SOCK_RAW, 0); }
static void try_pair(void) { int p[2]; syscall(SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, p); }
static void try_raw_pair(void) { int p[2]; syscall(SYS_socketpair, AF_UNIX, SOCK_RAW | SOCK_CLOEXEC, 0, p); }
static void try_owner(void) { fcntl(viv_broker_fd(), F_SETOWN, getppid()); }
static void try_signal(void) { fcntl(viv_broker_fd(), F_SETSIG, SIGKILL); }
static void try_group(void) { pid_t other = getppid(); ioctl(viv_broker_fd(), 0x8902 /* SIOCSPGRP */, &other); }
static void try_kill(void) { kill(getppid(), 0); }
static void try_setuid(void) { syscall(SYS_setuid, 0); }
static void try_prctl(void) { prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }
static void try_bpf(void) { syscall(SYS_bpf, 0, NULL, 0); }
static void try_perf(void) { syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0); }
static void try_module(void) { syscall(SYS_init_module, NULL, 0, ""); }
static void try_keyctl(void) { syscall(SYS_keyctl, 0); }
static void try_handle(void) { syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0); }
static void try_memory(void) { syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0); }
static void try_userfault(void) { syscall(SYS_userfaultfd, 0); }
static void try_chmod(void) { chmod("/tmp", 0777); }
static void try_typing(void) { ioctl(0, TIOCSTI, "x"); }

static void try_handler(void)
{
    struct sigaction sa = {.sa_handler = SIG_IGN};

    sigaction(SIGSYS, &sa, NULL);
}

static const struct {
    const char *name;
    void (*fn)(void);
} fatal[] = {
    {"execve", try_execve}, {"fork", try_fork}, {"clone", try_clone}, {"ptrace", try_ptrace}, {"mount", try_mount}, {"chroot", try_chroot},
    {"unshare", try_unshare}, {"socket", try_socket}, {"socket", try_packet}, {"socketpair", try_pair}, {"socketpair", try_raw_pair},
    {"fcntl", try_owner}, {"fcntl", try_signal}, {"ioctl", try_group}, {"kill", try_kill},
    {"setuid", try_setuid}, {"prctl", try_prctl}, {"bpf", try_bpf}, {"perf_event_open", try_perf}, {"init_module", try_module},
    {"keyctl", try_keyctl}, {"open_by_handle_at", try_handle}, {"process_vm_readv", try_memory}, {"userfaultfd", try_userfault},
    {"chmod", try_chmod}, {"ioctl", try_typing}, {"rt_sigaction", try_handler},
};

static void attempt(const void *arg)
{
    seal();
    (*(void (*const *)(void))arg)();
}

static void test_fatal(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(fatal); i++) {
        g_autofree char *said = NULL, *line = g_strdup_printf("the system call %s (", fatal[i].name);
        int status = confined(&strict, attempt, &fatal[i].fn, &said);

        g_test_message("%s: %s", fatal[i].name, said);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, ENDED);
        g_assert_nonnull(strstr(said, line));
    }
}

/* The network that was needed brings IPv4 and IPv6, and nothing else. */
static void with_network(const void *arg)
{
    int fd;

    viv_sandbox_need(VIV_SANDBOX_NETWORK);
    seal();
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        _exit(1);
    if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EACCES || socket(AF_NETLINK, SOCK_RAW, 0) >= 0 || errno != EACCES)
        _exit(2);
    socket(AF_PACKET, SOCK_RAW, 0);
}

/* A raw socket of an allowed family sees the wire, and (AF_INET, SOCK_PACKET) is one of AF_PACKET. */
static void with_raw(const void *type)
{
    viv_sandbox_need(VIV_SANDBOX_NETWORK);
    seal();
    socket(AF_INET, *(const int *)type, 0);
}

static void test_network(void)
{
    static const int types[] = {SOCK_RAW, SOCK_PACKET};
    g_autofree char *said = NULL;
    int status = confined(&strict, with_network, NULL, &said);

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        g_assert_cmpint(WEXITSTATUS(confined(&strict, with_raw, &types[i], NULL)), ==, ENDED);

    g_assert_cmpint(WEXITSTATUS(status), ==, ENDED);
    g_assert_nonnull(strstr(said, "socket (41) of family 17"));
}

/* --- threads --- */

static void *run_program(void *go)
{
    while (!__atomic_load_n((bool *)go, __ATOMIC_ACQUIRE))
        sched_yield();
    try_execve();
    return NULL;
}

static void thread_before(const void *arg)
{
    bool go = false;
    pthread_t t;

    pthread_create(&t, NULL, run_program, &go);
    seal();
    __atomic_store_n(&go, true, __ATOMIC_RELEASE);
    pthread_join(t, NULL);
}

static void thread_after(const void *arg)
{
    bool go = true;
    pthread_t t;

    seal();
    if (pthread_create(&t, NULL, run_program, &go))
        _exit(3);
    pthread_join(t, NULL);
}

static void test_threads(void)
{
    g_assert_cmpint(WEXITSTATUS(confined(&strict, thread_before, NULL, NULL)), ==, ENDED);
    g_assert_cmpint(WEXITSTATUS(confined(&strict, thread_after, NULL, NULL)), ==, ENDED);
}

/* --- what fails --- */

static void other_calls(const void *arg)
{
    const struct viv_sandbox *s = arg;
    struct io_uring_params p = {0};
    struct rlimit limit;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    seal();
    CHECK(syscall(SYS_io_uring_setup, 1, &p) < 0 && errno == EPERM);
    CHECK((sched_setaffinity(0, sizeof(cpus), &cpus) == 0) == s->resourcecontrol);
    CHECK(s->resourcecontrol || errno == EPERM);
    CHECK(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
    CHECK(syscall(SYS_tgkill, getpid(), gettid(), 0) == 0 && kill(getpid(), 0) == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && (setrlimit(RLIMIT_NOFILE, &limit) == 0) == s->resourcecontrol);
    CHECK(prlimit(getppid(), RLIMIT_CPU, &limit, NULL) < 0 && errno == EPERM); /* another one's */
}

static void test_other_calls(void)
{
    g_autofree char *said = NULL, *more = NULL;

    g_assert_cmpint(confined(&lenient, other_calls, &lenient, &said), ==, 0);
    g_assert_cmpstr(said, ==, "viv-vm: sandbox: the system call prlimit64 (302) was refused\n");
    g_assert_cmpint(confined(&strict, other_calls, &strict, &more), ==, 0);
    g_assert_nonnull(strstr(more, "the system call sched_setaffinity (203) was refused"));
}

/* Who invents requests, as a guest would that took the process over. */
static void hostile(const void *arg)
{
    char junk[512];
    int fd;

    seal();
    fd = viv_broker_fd();
    memset(junk, 0xff, sizeof(junk));
    CHECK(send(fd, junk, sizeof(junk), MSG_NOSIGNAL) == sizeof(junk));
    CHECK(recv(fd, junk, sizeof(junk), 0) <= 0); /* the broker ends */
    CHECK(viv_open("/dev/null", O_RDONLY, 0, NULL) == -EPIPE);
}

static void test_hostile(void)
{
    g_autofree char *said = NULL;
    int status = confined(&strict, hostile, NULL, &said);

    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
}

static void user(const void *arg)
{
    g_autofree char *path = in_dir("roots");

    close(viv_open(path, O_RDONLY, 0, NULL));
    seal();
    CHECK(getuid() == 1234 && getegid() == 2345 && getgroups(0, NULL) == 1);
    CHECK(viv_open(path, O_RDONLY, 0, NULL) == -EACCES); /* it was named, and the broker became the user too */
}

static void test_user(void)
{
    static const struct viv_sandbox s = {.on = true, .user = "1234:2345"}, nobody = {.on = true, .user = "no such user"};
    g_autofree char *path = in_dir("roots"), *said = NULL, *more = NULL;
    int status;

    if (geteuid() != 0) {
        g_test_skip("only root can become another user");
        return;
    }
    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    g_assert_cmpint(chmod(path, 0600), ==, 0);
    status = confined(&s, user, &s, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(WEXITSTATUS(confined(&nobody, user, &nobody, &more)), ==, 98);
    g_assert_nonnull(strstr(more, "there is no user 'no such user'"));
}

int main(int argc, char **argv)
{
    sandbox_try_init(&argc, &argv);
    g_test_add_func("/sandbox/fatal", test_fatal);
    g_test_add_func("/sandbox/network", test_network);
    g_test_add_func("/sandbox/threads", test_threads);
    g_test_add_func("/sandbox/other-calls", test_other_calls);
    g_test_add_func("/sandbox/hostile", test_hostile);
    g_test_add_func("/sandbox/user", test_user);
    return sandbox_try_run();
}
