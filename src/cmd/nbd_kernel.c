/* A /dev/nbdN as a client of ours, by the driver's ioctls (linux/nbd.h): one end of a socket pair is the kernel's, the
 * other one the server's, straight in transmission. NBD_DO_IT blocks in a thread for as long as the device is connected. */
#include "cmd/nbd.h"

#include "base/log.h"
#include "host/open.h"
#include "host/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nbd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK 512
#define WAIT_MS 5000

struct nbd_kernel {
    char *device;
    int fd;
    pthread_t doer, scanner;
    bool scans;
    int ended; /* atomic: NBD_DO_IT has returned */
};

static int open_device(const char *device, struct viv_err *err)
{
    int fd = viv_open(device, O_RDWR, 0, NULL);

    if (fd == -ENOENT || fd == -ENXIO || fd == -ENODEV)
        return viv_fail(err, -fd, "there is no '%s': is the kernel's driver loaded (modprobe nbd)?", device);
    return fd < 0 ? viv_fail_os(err, -fd, "Failed to open %s", device) : fd;
}

static void *do_it(void *opaque)
{
    struct nbd_kernel *k = opaque;

    if (ioctl(k->fd, NBD_DO_IT) < 0 && errno != EPIPE)
        viv_error("%s: %s", k->device, strerror(errno));
    ioctl(k->fd, NBD_CLEAR_QUE);
    ioctl(k->fd, NBD_CLEAR_SOCK);
    g_atomic_int_set(&k->ended, 1);
    return NULL;
}

/* NBD_DO_IT gives the device its size, and makes it read-only if it is to be: whoever waits for us wants to use it then. */
static void wait_for_size(struct nbd_kernel *k)
{
    uint64_t size = 0;

    for (unsigned n = 0; n < WAIT_MS && !size && !g_atomic_int_get(&k->ended); n++) {
        if (ioctl(k->fd, BLKGETSIZE64, &size) < 0)
            break;
        if (!size)
            g_usleep(1000);
    }
}

/* Opening it again has the kernel look at the partition table. */
static void *scan(void *opaque)
{
    struct nbd_kernel *k = opaque;
    int fd = viv_open(k->device, O_RDONLY, 0, NULL);

    if (fd >= 0)
        close(fd);
    return NULL;
}

static int set_up(int fd, int sock, const struct viv_nbd_export *e, const char *device, struct viv_err *err)
{
    const struct {
        unsigned long request, value;
        const char *what;
    } steps[] = {
        {NBD_CLEAR_SOCK, 0, "clear the old connection"},
        {NBD_SET_BLKSIZE, BLOCK, "set the block size"},
        {NBD_SET_SIZE_BLOCKS, viv_nbd_export_size(e) / BLOCK, "set the size"},
        {NBD_SET_SOCK, sock, "connect (is the device in use? -d disconnects)"},
        {NBD_SET_FLAGS, viv_nbd_export_flags(e), "set the flags"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++)
        if (ioctl(fd, steps[i].request, steps[i].value) < 0 && !(steps[i].request == NBD_SET_FLAGS && errno == ENOTTY))
            return viv_fail_os(err, errno, "%s: cannot %s", device, steps[i].what);
    return 0;
}

int nbd_kernel_connect(const char *device, struct viv_nbd_server *s, struct viv_nbd_export *e, struct nbd_kernel **out,
                       struct viv_err *err)
{
    struct nbd_kernel *k;
    int fd = open_device(device, err), pair[2], ret;

    if (fd < 0)
        return fd;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        ret = viv_fail_os(err, errno, "%s", device);
        close(fd);
        return ret;
    }
    ret = set_up(fd, pair[1], e, device, err);
    close(pair[1]); /* the kernel holds it */
    if (ret) {
        close(pair[0]);
        close(fd);
        return ret;
    }
    k = g_new0(struct nbd_kernel, 1);
    k->device = g_strdup(device);
    k->fd = fd;
    ret = viv_nbd_server_serve(s, pair[0], e, err);
    if (!ret)
        ret = viv_thread_start(&k->doer, "viv-nbd-dev", do_it, k, err);
    if (ret) {
        ioctl(fd, NBD_CLEAR_SOCK);
        close(fd);
        g_free(k->device);
        g_free(k);
        return ret;
    }
    if (viv_nbd_export_size(e) >= BLOCK)
        wait_for_size(k);
    k->scans = viv_nbd_export_size(e) >= BLOCK && viv_thread_start(&k->scanner, "viv-nbd-scan", scan, k, NULL) == 0;
    *out = k;
    return 0;
}

void nbd_kernel_free(struct nbd_kernel *k)
{
    if (!k)
        return;
    ioctl(k->fd, NBD_DISCONNECT);
    if (k->scans)
        pthread_join(k->scanner, NULL);
    pthread_join(k->doer, NULL);
    close(k->fd);
    g_free(k->device);
    g_free(k);
}

int nbd_kernel_disconnect(const char *device, struct viv_err *err)
{
    int fd = open_device(device, err);

    if (fd < 0)
        return fd;
    if (ioctl(fd, NBD_CLEAR_QUE) < 0 && errno == ENOTTY) {
        close(fd);
        return viv_fail(err, ENOTTY, "'%s' is no device of the kernel's nbd driver", device);
    }
    ioctl(fd, NBD_DISCONNECT);
    ioctl(fd, NBD_CLEAR_SOCK);
    close(fd);
    printf("%s disconnected\n", device);
    return 0;
}
