/* Paths through the guest's kernel: system calls, faults, processes, pipes, locks, files, signals. Both sides of a ping-pong
 * stay on one CPU (a context switch each way), but for futex-smp, which wakes the other CPU by an IPI. */
#define _GNU_SOURCE
#include "work.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set))
        work_die("sched_setaffinity");
}

static uint64_t reap(pid_t pid)
{
    int status;

    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        work_die("fork or waitpid");
    if (!WIFEXITED(status))
        work_die("child");
    return WEXITSTATUS(status);
}

static uint64_t getppid_calls(unsigned long count)
{
    uint64_t same = 0;
    long first = syscall(SYS_getppid);

    while (count--)
        same += syscall(SYS_getppid) == first;
    return same;
}

/* Anonymous memory mapped, touched page by page, given back. */
static uint64_t faults(unsigned long count)
{
    enum { PAGES = 256 };
    uint64_t sum = 0;

    while (count--) {
        uint8_t *p =
            mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED || (madvise(p, PAGES * 4096, MADV_NOHUGEPAGE) && errno != EINVAL))
            work_die("mmap");
        for (unsigned i = 0; i < PAGES; i++) {
            sum += p[i * 4096];
            p[i * 4096] = i;
        }
        sum += p[count % PAGES * 4096];
        munmap(p, PAGES * 4096);
    }
    return sum;
}

static uint64_t fork_wait(unsigned long count)
{
    uint64_t sum = 0;

    while (count--) {
        pid_t pid = fork();

        if (!pid)
            _exit(count & 63);
        sum += reap(pid);
    }
    return sum;
}

static uint64_t exec_many(const char *path, unsigned long count)
{
    uint64_t sum = 0;

    while (count--) {
        pid_t pid = fork();

        if (!pid) {
            execl(path, path, NULL);
            _exit(127);
        }
        sum += reap(pid) + 1;
    }
    return sum;
}

static uint64_t exec_static(unsigned long count)
{
    return exec_many("/bench/bin/true-static", count);
}

static uint64_t exec_dynamic(unsigned long count)
{
    return exec_many("/bin/true", count);
}

static uint64_t pipes(unsigned long count)
{
    int to[2], from[2];
    uint32_t v, sum = 0;
    pid_t pid;

    pin(0);
    if (pipe(to) || pipe(from))
        work_die("pipe");
    pid = fork();
    if (!pid) {
        close(to[1]);
        while (read(to[0], &v, sizeof(v)) == sizeof(v)) {
            v = v * 5 + 1;
            if (write(from[1], &v, sizeof(v)) != sizeof(v))
                _exit(1);
        }
        _exit(0);
    }
    for (uint32_t i = 0; i < count; i++) {
        v = sum ^ i;
        if (write(to[1], &v, sizeof(v)) != sizeof(v) || read(from[0], &v, sizeof(v)) != sizeof(v))
            work_die("ping-pong");
        sum += v;
    }
    close(to[1]);
    return sum + reap(pid);
}

/* 64 KiB at a time from one CPU to the other: copies in and out of the kernel. */
static void send_blocks(int fd, unsigned long count)
{
    static uint8_t data[65536];

    while (count--) {
        memset(data, (int)count, sizeof(data));
        for (size_t done = 0; done < sizeof(data);) {
            ssize_t n = write(fd, data + done, sizeof(data) - done);

            if (n <= 0)
                _exit(1);
            done += n;
        }
    }
    _exit(0);
}

static uint64_t pipe_bulk(unsigned long count)
{
    static uint8_t data[65536];
    uint64_t sum = 0;
    ssize_t n;
    int p[2];
    pid_t pid;

    if (pipe(p))
        work_die("pipe");
    pid = fork();
    if (!pid)
        send_blocks(p[1], count);
    close(p[1]);
    while ((n = read(p[0], data, sizeof(data))) > 0)
        for (ssize_t i = 0; i < n; i += 64)
            sum += data[i];
    return sum + reap(pid);
}

struct turns {
    _Atomic uint32_t turn;
    uint32_t rounds, other_cpu;
};

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

/* Waits for its turn, then gives the other the next one. */
static void take_turns(struct turns *t, uint32_t me)
{
    for (uint32_t i = 0; i < t->rounds; i++) {
        uint32_t now;

        while ((now = atomic_load(&t->turn)) % 2 != me)
            futex(&t->turn, FUTEX_WAIT_PRIVATE, now);
        atomic_fetch_add(&t->turn, 1);
        futex(&t->turn, FUTEX_WAKE_PRIVATE, 1);
    }
}

static void *second(void *arg)
{
    struct turns *t = arg;

    pin((int)t->other_cpu);
    take_turns(t, 1);
    return NULL;
}

static uint64_t futexes(unsigned long count, uint32_t other_cpu)
{
    struct turns t = {0, count, other_cpu};
    pthread_t thread;

    pin(0);
    if (pthread_create(&thread, NULL, second, &t))
        work_die("pthread_create");
    take_turns(&t, 0);
    pthread_join(thread, NULL);
    return t.turn;
}

static uint64_t futex_one(unsigned long count)
{
    return futexes(count, 0);
}

static uint64_t futex_smp(unsigned long count)
{
    return futexes(count, 1);
}

static uint64_t files(unsigned long count)
{
    uint64_t sum = 0;

    while (count--) {
        char name[32], data[64] = "what is in the file";
        struct stat st;
        int fd;

        snprintf(name, sizeof(name), "f%lu", count % 100);
        fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
        if (fd < 0 || write(fd, data, sizeof(data)) != sizeof(data) || close(fd) ||
            stat(name, &st) || unlink(name))
            work_die(name);
        sum += st.st_size;
    }
    return sum;
}

/* Two processes on one CPU that give way to each other. */
static uint64_t yields(unsigned long count)
{
    pid_t pid;

    pin(0);
    pid = fork();
    for (unsigned long i = 0; i < count; i++)
        sched_yield();
    if (!pid)
        _exit(0);
    return count + reap(pid);
}

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught += number == SIGUSR1;
}

static uint64_t signals(unsigned long count)
{
    struct sigaction sa = {.sa_handler = on_signal};
    uint64_t sum = 0;

    if (sigaction(SIGUSR1, &sa, NULL))
        work_die("sigaction");
    while (count--) {
        caught = 0;
        raise(SIGUSR1);
        sum += caught;
    }
    return sum;
}

static const struct work table[] = {
    {"getppid", getppid_calls},
    {"faults", faults},
    {"fork", fork_wait},
    {"exec-static", exec_static},
    {"exec-dynamic", exec_dynamic},
    {"pipe", pipes},
    {"pipe-bulk", pipe_bulk},
    {"futex", futex_one},
    {"futex-smp", futex_smp},
    {"files", files},
    {"yield", yields},
    {"signals", signals},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return work_main(table, argc, argv);
}
