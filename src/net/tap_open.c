/* Getting hold of a TAP interface. (Linux: Documentation/networking/tuntap.rst, linux/if_tun.h.) */
#include "net/tap.h"

#include "host/broker.h"
#include "host/lock.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_tun(struct viv_err *err)
{
    int fd = viv_open("/dev/net/tun", O_RDWR | O_NONBLOCK, 0, err);

    if (fd == -ENOENT || fd == -ENODEV)
        viv_err_prefix(err, "this host has no TAP interfaces (try `modprobe tun`)");
    return fd;
}

static int attach_failed(const char *name, bool multi_queue, int e, struct viv_err *err)
{
    if (e == EPERM)
        return viv_fail(err, e, "interface '%s' is not there for this user and making one takes CAP_NET_ADMIN; as root: "
                        "`ip tuntap add dev %s mode tap user %s`, or use -netdev bridge", *name ? name : "tap0",
                        *name ? name : "tap0", g_get_user_name());
    if (e == EBUSY)
        return viv_fail(err, e, "interface '%s' is in use by another process", name);
    if (e == EINVAL)
        return viv_fail(err, e, "interface '%s' is no TAP interface with %s", name,
                        multi_queue ? "several queues (`ip tuntap add ... multi_queue` makes one)"
                                    : "one queue (made with `multi_queue`, or of another kind?)");
    return viv_fail_os(err, e, "interface '%s'", name);
}

int tap_open(char name[IFNAMSIZ], bool want_vnet_hdr, bool multi_queue, struct viv_err *err)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | (multi_queue ? IFF_MULTI_QUEUE : 0)};
    unsigned features = 0;
    int e, fd = open_tun(err);

    if (fd < 0)
        return fd;
    if (want_vnet_hdr && !ioctl(fd, TUNGETFEATURES, &features) && features & IFF_VNET_HDR)
        ifr.ifr_flags |= IFF_VNET_HDR;
    g_strlcpy(ifr.ifr_name, *name ? name : "tap%d", IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        e = errno;
        close(fd);
        return attach_failed(name, multi_queue, e, err);
    }
    g_strlcpy(name, ifr.ifr_name, IFNAMSIZ);
    return fd;
}

int tap_inspect(int fd, char name[IFNAMSIZ], bool *vnet_hdr, struct viv_err *err)
{
    struct ifreq ifr = {0};
    int flags = fcntl(fd, F_GETFL), size = sizeof(struct viv_net_hdr);

    if (flags < 0)
        return viv_fail_os(err, errno, "descriptor %d", fd);
    if (ioctl(fd, TUNGETIFF, &ifr) < 0)
        return viv_fail(err, EINVAL, "descriptor %d is no TAP interface", fd);
    if (!(ifr.ifr_flags & IFF_TAP))
        return viv_fail(err, EINVAL, "descriptor %d is interface '%.15s' in TUN mode, without Ethernet headers; it must be "
                        "TAP", fd, ifr.ifr_name);
    if (!(ifr.ifr_flags & IFF_NO_PI))
        return viv_fail(err, EINVAL, "descriptor %d, interface '%.15s', was opened without IFF_NO_PI", fd, ifr.ifr_name);
    *vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
    if (*vnet_hdr && ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
        return viv_fail_os(err, errno, "descriptor %d: size of the vnet header", fd);
    g_strlcpy(name, ifr.ifr_name, IFNAMSIZ);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return viv_fail_os(err, errno, "descriptor %d", fd);
    return 0;
}

int tap_set_sndbuf(int fd, uint64_t bytes, struct viv_err *err)
{
    int value = bytes && bytes < INT_MAX ? (int)bytes : INT_MAX;

    return ioctl(fd, TUNSETSNDBUF, &value) < 0 ? viv_fail_os(err, errno, "sndbuf=%d", value) : 0;
}

int tap_run_script(const char *script, const char *ifname, struct viv_err *err)
{
    char *argv[] = {(char *)script, (char *)ifname, NULL};
    struct viv_err own = VIV_ERR_INIT;
    int status = 0, rc;

    viv_dev_unlock();
    rc = viv_spawn(argv, -1, 0, &status, &own);
    viv_dev_lock();
    if (rc < 0)
        return viv_fail(err, -rc, "script: %s", own.text);
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return 0;
    return viv_fail(err, EIO, "script %s %s ended with %s %d", script, ifname, WIFEXITED(status) ? "status" : "signal",
                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}
