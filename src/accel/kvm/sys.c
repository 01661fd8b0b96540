/* /dev/kvm itself: opened once, checked once. */
#include "accel/kvm/kvm_int.h"

#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define KVM_PATH "/dev/kvm"

static int sys_fd = -1;

int viv_kvm_ioctl(int fd, unsigned long req, void *arg)
{
    int ret;

    do {
        ret = ioctl(fd, req, arg);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

int viv_kvm_open(struct viv_err *err)
{
    int fd, version;

    if (sys_fd >= 0)
        return sys_fd;
    if (access(KVM_PATH, F_OK) < 0)
        return viv_fail(err, ENODEV, "no " KVM_PATH ": the host's kernel offers no virtualization (modprobe kvm_intel or "
                        "kvm_amd; in a VM, nested virtualization must be on)");
    if (access(KVM_PATH, R_OK | W_OK) < 0)
        return viv_fail(err, EACCES, KVM_PATH " may not be opened by this user (usermod -aG kvm $USER, then log in again)");
    fd = viv_open(KVM_PATH, O_RDWR, 0, err);
    if (fd < 0)
        return fd;
    version = viv_kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);
    if (version != KVM_API_VERSION) {
        close(fd);
        return viv_fail(err, ENOTSUP, KVM_PATH " speaks API version %d, not %d", version, KVM_API_VERSION);
    }
    sys_fd = fd;
    return fd;
}

int viv_kvm_cap(int cap)
{
    int ret = sys_fd < 0 ? 0 : ioctl(sys_fd, KVM_CHECK_EXTENSION, (long)cap);

    return ret < 0 ? 0 : ret;
}
