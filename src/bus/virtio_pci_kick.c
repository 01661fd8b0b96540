/* Kicks without an exit: under KVM a write to a queue's notification address signals an eventfd, and the loop thread
 * (with iothread= that one: the eventfd is the job's then) serves the queue while the vCPU runs on. The software engines
 * have no such thing: a write calls viv_virtio_kick() directly.
 *
 * The addresses follow the BAR, and are registered only while the driver is up, so that a device that nobody drives
 * costs KVM's bus nothing. A kick that is still in an eventfd when the VM stops is not lost: all queues are kicked
 * when it goes on, here or in the process that loads the state. */
#include "bus/virtio_pci_int.h"

#include "base/log.h"
#include "host/iothread.h"
#include "host/loop.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct kick {
    struct viv_virtio_pci *p;
    unsigned queue;
    int fd;
    struct viv_watch *watch; /* NULL: the fd is an iothread's */
};

struct viv_virtio_pci_kicks {
    uint64_t base; /* of the notification area as registered; 0: not */
    unsigned count;
    struct kick kick[];
};

static void kicked(void *opaque, int fd, short revents)
{
    struct kick *k = opaque;
    eventfd_t n;

    if (eventfd_read(fd, &n) == 0)
        viv_virtio_kick(k->p->v, k->queue);
}

static int set_one(struct viv_virtio_pci *p, struct kick *k, uint64_t base, bool add)
{
    struct viv_intc *c = p->pci.dev.board->intc;

    return c->ops->ioeventfd(c, k->fd, false, base + k->queue * VIV_VPCI_NOTIFY_MULTIPLIER, 2, add);
}

static void remove_all(struct viv_virtio_pci *p, unsigned count)
{
    struct viv_virtio_pci_kicks *ks = p->kicks;

    for (unsigned i = 0; i < count; i++)
        set_one(p, &ks->kick[i], ks->base, false);
    ks->base = 0;
}

static uint64_t wanted_base(struct viv_virtio_pci *p)
{
    struct viv_region *r = p->pci.bar[p->layout->modern_bar].region;

    if (!(p->v->status & VIV_VIRTIO_S_DRIVER_OK) || !viv_region_mapped(r))
        return 0;
    return viv_region_addr(r) + p->layout->at + VIV_VPCI_NOTIFY;
}

void viv_virtio_pci_kicks_update(struct viv_virtio_pci *p)
{
    struct viv_virtio_pci_kicks *ks = p->kicks;
    uint64_t base;

    if (!ks)
        return;
    base = wanted_base(p);
    if (base == ks->base)
        return;
    if (ks->base)
        remove_all(p, ks->count);
    ks->base = base;
    for (unsigned i = 0; base && i < ks->count; i++) {
        int rc = set_one(p, &ks->kick[i], base, true);

        if (rc < 0) { /* writes reach the region then: slower, and right */
            viv_log(VIV_LOG_VIRTIO, "%s: no ioeventfd: %s", viv_virtio_name(p->v), strerror(-rc));
            remove_all(p, i);
            return;
        }
    }
}

void viv_virtio_pci_kicks_init(struct viv_virtio_pci *p)
{
    struct viv_intc *c = p->pci.dev.board->intc;
    unsigned count = p->v->queue_count;

    if (!c || !c->ops->ioeventfd)
        return;
    p->kicks = g_malloc0(sizeof(*p->kicks) + count * sizeof(p->kicks->kick[0]));
    for (unsigned i = 0; i < count; i++) {
        struct kick *k = &p->kicks->kick[i];

        k->p = p;
        k->queue = i;
        if (p->v->queues[i].job) {
            k->fd = viv_iojob_fd(p->v->queues[i].job);
            p->kicks->count = i + 1;
            continue;
        }
        k->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (k->fd < 0) {
            viv_warn("%s: no eventfd: %s; kicks come as writes", viv_virtio_name(p->v), strerror(errno));
            viv_virtio_pci_kicks_fini(p);
            return;
        }
        k->watch = viv_watch_new(k->fd, POLLIN, kicked, k);
        p->kicks->count = i + 1;
    }
}

void viv_virtio_pci_kicks_fini(struct viv_virtio_pci *p)
{
    struct viv_virtio_pci_kicks *ks = p->kicks;

    if (!ks)
        return;
    if (ks->base)
        remove_all(p, ks->count);
    for (unsigned i = 0; i < ks->count; i++) {
        if (!ks->kick[i].watch)
            continue;
        viv_watch_free(ks->kick[i].watch);
        close(ks->kick[i].fd);
    }
    g_clear_pointer(&p->kicks, g_free);
}
