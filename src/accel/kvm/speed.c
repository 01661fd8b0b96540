/* Does /dev/kvm run guest kernels at a useful speed?
 *
 * Some hosts offer the KVM interface without VT-x or SVM below it (PVM, and KVM in a VM without nested
 * virtualization): guest kernel code is then emulated instruction by instruction, 1000 times slower than it should
 * be. So a throw-away VM runs a loop in long mode at privilege 0 for about a millisecond and counts. The result
 * holds until the host boots again; a file keeps it. */
#include "accel/kvm/kvm_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RAM_BYTES 0x8000u
#define CODE_GPA  0x1000u
#define PML4_GPA  0x2000u
#define LOOPS_MIN 1000u
#define LOOPS_MAX 4000000u
#define ENOUGH_NS 200000ll
#define TRIES     5u

/* mov ecx <- set by us; 1: dec ecx; jnz 1b; out 0xf4, al; jmp back */
static const uint8_t loop_code[] = {0xff, 0xc9, 0x75, 0xfc, 0xe6, 0xf4, 0xeb, 0xfe};

struct toy {
    int vm, cpu;
    uint8_t *ram;
    struct kvm_run *run;
    size_t run_size;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void toy_fini(struct toy *t)
{
    if (t->run)
        munmap(t->run, t->run_size);
    if (t->cpu >= 0)
        close(t->cpu);
    if (t->vm >= 0)
        close(t->vm);
    if (t->ram)
        munmap(t->ram, RAM_BYTES);
}

static int toy_init(struct toy *t, int sys, struct viv_err *err)
{
    struct kvm_userspace_memory_region mr = {.memory_size = RAM_BYTES};
    int ret;

    t->vm = viv_kvm_ioctl(sys, KVM_CREATE_VM, NULL);
    if (t->vm < 0)
        return viv_fail_os(err, -t->vm, "KVM cannot make a virtual machine");
    /* Addresses that VT-x needs for real mode; they must be set before the first vCPU. */
    viv_kvm_ioctl(t->vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000ul);
    ret = viv_kvm_ioctl(t->vm, KVM_CREATE_IRQCHIP, NULL);
    if (ret < 0)
        return viv_fail_os(err, -ret, "KVM cannot make its interrupt controllers");
    t->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t->ram == MAP_FAILED) {
        t->ram = NULL;
        return viv_fail_os(err, errno, "no memory");
    }
    mr.userspace_addr = (uintptr_t)t->ram;
    ret = viv_kvm_ioctl(t->vm, KVM_SET_USER_MEMORY_REGION, &mr);
    if (ret < 0)
        return viv_fail_os(err, -ret, "KVM takes no memory");
    t->cpu = viv_kvm_ioctl(t->vm, KVM_CREATE_VCPU, NULL);
    if (t->cpu < 0)
        return viv_fail_os(err, -t->cpu, "KVM cannot make a virtual CPU");
    t->run_size = (size_t)viv_kvm_ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, NULL);
    t->run = mmap(NULL, t->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, t->cpu, 0);
    if (t->run == MAP_FAILED) {
        t->run = NULL;
        return viv_fail_os(err, errno, "KVM's run area cannot be mapped");
    }
    return 0;
}

/* Long mode with the first 2 MiB mapped one to one, ready at the loop. */
static int toy_enter_long_mode(struct toy *t, struct viv_err *err)
{
    struct kvm_sregs s;
    int ret = viv_kvm_ioctl(t->cpu, KVM_GET_SREGS, &s);
    struct kvm_segment code = {.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};

    if (ret < 0)
        return viv_fail_os(err, -ret, "KVM_GET_SREGS");
    memcpy(t->ram + CODE_GPA, loop_code, sizeof(loop_code));
    viv_st_le64(t->ram + PML4_GPA, (PML4_GPA + 0x1000) | 3);
    viv_st_le64(t->ram + PML4_GPA + 0x1000, (PML4_GPA + 0x2000) | 3);
    viv_st_le64(t->ram + PML4_GPA + 0x2000, 0x83);
    s.cs = code;
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.cr3 = PML4_GPA;
    s.cr4 = 0x20;
    s.cr0 = 0x80000011;
    s.efer = 0x500;
    ret = viv_kvm_ioctl(t->cpu, KVM_SET_SREGS, &s);
    return ret < 0 ? viv_fail_os(err, -ret, "KVM refuses long mode") : 0;
}

static int toy_loop(struct toy *t, uint32_t loops, struct viv_err *err)
{
    struct kvm_regs r = {.rip = CODE_GPA, .rflags = 2, .rcx = loops, .rsp = 0x7000};
    int ret = viv_kvm_ioctl(t->cpu, KVM_SET_REGS, &r);

    if (!ret)
        ret = viv_kvm_ioctl(t->cpu, KVM_RUN, NULL);
    if (ret < 0)
        return viv_fail_os(err, -ret, "KVM_RUN of a long-mode loop");
    if (t->run->exit_reason != KVM_EXIT_IO)
        return viv_fail(err, EIO, "KVM left a long-mode loop with exit reason %u", t->run->exit_reason);
    return 0;
}

static int timed(struct toy *t, uint32_t loops, int64_t *ns, struct viv_err *err)
{
    int64_t start = now_ns();
    int ret = toy_loop(t, loops, err);

    *ns = MAX(now_ns() - start, 1);
    return ret;
}

/* Lengthens the loop until it takes long beside getting in and out, which under nested virtualization alone costs a
 * millisecond. */
static int measure_once(struct toy *t, double *rate, struct viv_err *err)
{
    uint32_t loops = LOOPS_MIN;
    int64_t ns, entry;
    int ret = timed(t, 1, &ns, err); /* page tables of the host, first entry */

    if (!ret)
        ret = timed(t, 1, &entry, err);
    while (!ret) {
        double insns = 2.0 * loops;

        ret = timed(t, loops, &ns, err);
        if (ret)
            break;
        *rate = insns * 1e9 / (double)ns; /* at least */
        if (*rate >= 4 * VIV_KVM_SPEED_MIN)
            return 0;
        if (ns - entry > MAX(entry, ENOUGH_NS) || loops >= LOOPS_MAX) {
            *rate = insns * 1e9 / (double)MAX(ns - entry, 1);
            return 0;
        }
        loops *= 4;
    }
    return ret;
}

/* On a busy host somebody else may get the CPU in the middle of a loop that takes microseconds, and what is found holds for long: the best
 * of a few tries counts. */
static int measure(struct toy *t, double *rate, struct viv_err *err)
{
    int ret = 0;

    *rate = 0;
    for (unsigned i = 0; i < TRIES && !ret && *rate < VIV_KVM_SPEED_MIN; i++) {
        double now = 0;

        ret = measure_once(t, &now, err);
        *rate = MAX(*rate, now);
    }
    return ret;
}

/* "boot id, device node identity, kernel": a result is good for as long as these are. */
static char *cache_key(void)
{
    g_autofree char *boot = NULL;
    struct stat st;

    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL) || stat("/dev/kvm", &st) < 0)
        return NULL;
    g_strchomp(boot);
    return g_strdup_printf("%s %ju %ju", boot, (uintmax_t)st.st_rdev, (uintmax_t)st.st_ino);
}

/* A file of ours in a folder that only we can write, or a sticky one. */
static char *cache_path(void)
{
    const char *run = g_getenv("XDG_RUNTIME_DIR");
    struct stat st;

    if (run && *run == '/' && stat(run, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & 022))
        return g_strdup_printf("%s/vivarium-kvm-speed", run);
    if (geteuid() == 0)
        return g_strdup("/run/vivarium-kvm-speed");
    return g_strdup_printf("/tmp/.vivarium-kvm-speed-%u", (unsigned)geteuid());
}

static bool cache_read(const char *path, const char *key, double *rate)
{
    char buf[256];
    struct stat st;
    size_t len = strlen(key);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = -1;
    char *end;

    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022))
        n = read(fd, buf, sizeof(buf) - 1);
    close(fd);
    if (n <= (ssize_t)len || memcmp(buf, key, len) || buf[len] != ' ')
        return false;
    buf[n] = 0;
    *rate = g_ascii_strtod(buf + len + 1, &end);
    return end != buf + len + 1 && *rate > 0;
}

static void cache_write(const char *path, const char *key, double rate)
{
    g_autofree char *tmp = g_strdup_printf("%s.%d", path, (int)getpid());
    g_autofree char *text = g_strdup_printf("%s %.0f\n", key, rate);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok;

    if (fd < 0)
        return; /* no cache: measured each time */
    ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    if (!ok || rename(tmp, path) < 0)
        unlink(tmp);
}

int viv_kvm_speed(bool fresh, double *rate, bool *cached, struct viv_err *err)
{
    struct toy t = {.vm = -1, .cpu = -1};
    g_autofree char *key = cache_key();
    g_autofree char *path = cache_path();
    int sys = viv_kvm_open(err), ret;

    if (sys < 0)
        return sys;
    *cached = !fresh && key && cache_read(path, key, rate);
    if (*cached)
        return 0;
    ret = toy_init(&t, sys, err);
    if (!ret)
        ret = toy_enter_long_mode(&t, err);
    if (!ret)
        ret = measure(&t, rate, err);
    toy_fini(&t);
    if (!ret && key)
        cache_write(path, key, *rate);
    return ret;
}
