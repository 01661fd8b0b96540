/* Whether a KVM is found slow: on a kernel made here, which runs loops at once and sometimes loses the CPU to somebody else. */
#include "accel/kvm/kvm_int.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RUN_BYTES = 4096 };

static struct kvm_run *run;
static int run_fd;
static unsigned entries, late_until; /* entries up to this one take long */
static bool emulates;
static uint64_t loops;

int viv_kvm_open(struct viv_err *err)
{
    return 3;
}

int viv_kvm_ioctl(int fd, unsigned long req, void *arg)
{
    switch (req) {
    case KVM_CREATE_VM: return open("/dev/null", O_RDWR | O_CLOEXEC);
    case KVM_CREATE_VCPU: return dup(run_fd);
    case KVM_GET_VCPU_MMAP_SIZE: return RUN_BYTES;
    case KVM_SET_TSS_ADDR:
    case KVM_CREATE_IRQCHIP:
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_GET_SREGS:
    case KVM_SET_SREGS: return 0;
    case KVM_SET_REGS: loops = ((struct kvm_regs *)arg)->rcx; return 0;
    case KVM_RUN:
        run->exit_reason = KVM_EXIT_IO;
        if (++entries > 2 && entries <= late_until) /* the first two are not measured */
            g_usleep(10000);
        if (emulates)
            g_usleep(loops / 2); /* 4 M instructions/s */
        return 0;
    }
    g_error("unexpected ioctl %#lx", req);
}

static double speed(unsigned late)
{
    struct viv_err err = VIV_ERR_INIT;
    double rate = 0;
    bool cached;

    entries = 0;
    late_until = late;
    g_assert_cmpint(viv_kvm_speed(true, &rate, &cached, &err), ==, 0);
    return rate;
}

/* What is found holds until the host boots again. */
static void test_busy_host(void)
{
    g_assert_cmpfloat(speed(0), >=, VIV_KVM_SPEED_MIN);
    g_assert_cmpfloat(speed(3), >=, VIV_KVM_SPEED_MIN);
    g_assert_cmpfloat(speed(4), >=, VIV_KVM_SPEED_MIN);
}

static void test_slow(void)
{
    emulates = true;
    g_assert_cmpfloat(speed(0), <, 5e6);
    g_assert_cmpfloat(speed(0), >, 1e5);
    emulates = false;
}

int main(int argc, char **argv)
{
    g_autofree char *folder = g_dir_make_tmp("viv-speed-XXXXXX", NULL), *cache = g_build_filename(folder, "vivarium-kvm-speed", NULL);
    int rc;

    g_test_init(&argc, &argv, NULL);
    g_setenv("XDG_RUNTIME_DIR", folder, TRUE); /* not where the others of this host look */
    run_fd = memfd_create("run", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(run_fd, RUN_BYTES), ==, 0);
    run = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, run_fd, 0);
    g_test_add_func("/kvm-speed/busy-host", test_busy_host);
    g_test_add_func("/kvm-speed/slow", test_slow);
    rc = g_test_run();
    g_unlink(cache);
    g_rmdir(folder);
    return rc;
}
