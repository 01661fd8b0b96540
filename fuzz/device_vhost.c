/* The host kernel's vhost (net/vhost.h), for fuzz_wire: works when it is told to, on buffers that must lie in guest memory. */
#include "fuzz/device_rig.h"

#include "net/vhost.h"

#include <fcntl.h>
#include <glib.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
    int fd;
    bool running;
    struct {
        struct vhost_vring_addr at;
        unsigned num;
        uint16_t avail, used;
        int call;
    } ring[2];
} kernels[2];

static int answer(int fd, unsigned long request, void *arg)
{
    const struct vhost_vring_state *s = arg;
    const struct vhost_vring_file *f = arg;
    unsigned k = fd == kernels[1].fd;

    switch (request) {
    case VHOST_GET_FEATURES: *(uint64_t *)arg = ~0ull; break;
    case VHOST_SET_VRING_NUM: kernels[k].ring[s->index].num = s->num; break;
    case VHOST_SET_VRING_BASE: kernels[k].ring[s->index].avail = kernels[k].ring[s->index].used = 0; break;
    case VHOST_SET_VRING_ADDR: kernels[k].ring[((struct vhost_vring_addr *)arg)->index].at = *(struct vhost_vring_addr *)arg; break;
    case VHOST_SET_VRING_CALL: kernels[k].ring[f->index].call = f->fd; break;
    case VHOST_NET_SET_BACKEND: kernels[k].running = f->fd >= 0; break;
    }
    return 0;
}

struct viv_vhost *fuzz_vhost_new(unsigned k)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_vhost *h;

    kernels[k].running = false;
    kernels[k].fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (viv_vhost_new(kernels[k].fd, false, 0, answer, &h, &err) < 0)
        fuzz_fail("%s", err.text);
    return h;
}

static void touch(const struct vring_desc *d, bool write, uint8_t value)
{
    uint8_t *at = (uint8_t *)(uintptr_t)d->addr;

    if (at < fuzz_ram->hva || at + d->len > fuzz_ram->hva + fuzz_ram->size)
        fuzz_fail("vhost: a buffer outside of guest memory");
    if (!!(d->flags & VRING_DESC_F_WRITE) != write)
        fuzz_fail("vhost: a buffer for the other direction");
    if (write)
        memset(at, value, d->len);
}

/* So many buffers of a ring are used; `tell`: and it is said. */
void fuzz_vhost_work(unsigned k, unsigned ring, unsigned count, bool tell)
{
    const struct vring_avail *a = (void *)(uintptr_t)kernels[k].ring[ring].at.avail_user_addr;
    const struct vring_desc *d = (void *)(uintptr_t)kernels[k].ring[ring].at.desc_user_addr;
    struct vring_used *u = (void *)(uintptr_t)kernels[k].ring[ring].at.used_user_addr;
    unsigned num = kernels[k].ring[ring].num;

    if (!kernels[k].running)
        return;
    for (; count && kernels[k].ring[ring].avail != a->idx; count--) {
        uint16_t head = a->ring[kernels[k].ring[ring].avail++ % num], i = head;
        uint32_t written = 0;

        for (unsigned segs = 1;; i = d[i].next, segs++) {
            if (segs > 1024) /* UIO_MAXIOV: the kernel takes no more */
                fuzz_fail("vhost: a buffer of more than 1024 pieces");
            touch(&d[i], ring == VIV_VHOST_RX, (uint8_t)count);
            written += d[i].len;
            if (!(d[i].flags & VRING_DESC_F_NEXT))
                break;
        }
        u->ring[kernels[k].ring[ring].used++ % num] = (struct vring_used_elem){head, ring == VIV_VHOST_RX ? written : 0};
    }
    u->idx = kernels[k].ring[ring].used;
    if (tell)
        eventfd_write(kernels[k].ring[ring].call, 1);
}
