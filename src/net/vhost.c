/* The rings are split ones without event indices (virtio 1.2, 2.7); on them we are the driver. The kernel finds a buffer by a table
 * that leads from guest addresses to ours: here both are ours, and the table has one line, the arena. */
#include "net/vhost.h"

#include "base/log.h"
#include "host/loop.h"
#include "host/open.h"
#include "mem/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

G_STATIC_ASSERT(G_BYTE_ORDER == G_LITTLE_ENDIAN); /* of the rings */

enum { F_MRG_RXBUF = 15, F_OWN_HEADERS = 27 /* VHOST_NET_F_VIRTIO_NET_HDR */, F_VERSION_1 = 32 };
#define HEADER_FEATURES (1ull << F_MRG_RXBUF | 1ull << F_VERSION_1)

struct ring {
    struct viv_vhost *h;
    unsigned index;
    struct vring v;
    void *mem;
    int kick, call;
    struct viv_watch *watch;                /* of call */
    uint16_t avail, used;                   /* next to put, next to get */
    uint16_t free, free_count;              /* list of descriptors, through next */
    uint16_t next[VIV_VHOST_RING_SIZE];     /* ours: the table is read by others only */
    uint16_t segs[VIV_VHOST_RING_SIZE];     /* of the buffer that begins with this descriptor */
    void *token[VIV_VHOST_RING_SIZE];       /* NULL: none begins there */
};

struct viv_vhost {
    int fd, failed; /* the latter an eventfd */
    struct viv_watch *watch;
    viv_vhost_ioctl kernel;
    bool own_headers, owner, running;
    unsigned poll_us;
    uint64_t features; /* that the kernel has */
    viv_vhost_fn fn;
    void *opaque;
    struct ring ring[VIV_VHOST_RINGS];
};

static int call_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

int viv_vhost_open(struct viv_err *err)
{
    int fd = viv_open("/dev/vhost-net", O_RDWR, 0, err);

    if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
        viv_err_prefix(err, "vhost=on: this host's kernel does not have it (`modprobe vhost_net` as root may help; vhost=off works "
                       "without)");
    else if (fd == -EACCES || fd == -EPERM)
        viv_err_prefix(err, "vhost=on: user %s may not use it (as root: `setfacl -m u:%s:rw /dev/vhost-net`, or pass a descriptor, "
                       "vhostfd=; vhost=off works without)", g_get_user_name(), g_get_user_name());
    else if (fd < 0)
        viv_err_prefix(err, "vhost=on (vhost=off works without)");
    return fd;
}

/* --- the kernel's side --- */

static int ask(struct viv_vhost *h, unsigned long request, void *arg, const char *what, struct viv_err *err)
{
    return h->kernel(h->fd, request, arg) < 0 ? viv_fail_os(err, errno, "vhost: %s", what) : 0;
}

static int become_owner(struct viv_vhost *h, struct viv_err *err)
{
    if (h->owner)
        return 0;
    /* At the first start, as it is the process that counts: -daemonize has forked by then. */
    if (h->kernel(h->fd, VHOST_SET_OWNER, NULL) < 0)
        return viv_fail_os(err, errno, errno == EBUSY ? "vhost: the descriptor is in use already" : "vhost: SET_OWNER");
    h->owner = true;
    return 0;
}

static int set_memory(struct viv_vhost *h, struct viv_err *err)
{
    g_autofree struct vhost_memory *m = g_malloc0(sizeof(*m) + sizeof(m->regions[0]));
    uint64_t base = (uintptr_t)viv_arena_base;

    m->nregions = 1;
    m->regions[0] = (struct vhost_memory_region){.guest_phys_addr = base, .memory_size = viv_arena_bytes(), .userspace_addr = base};
    return ask(h, VHOST_SET_MEM_TABLE, m, "SET_MEM_TABLE", err);
}

static int start_ring(struct ring *r, struct viv_err *err)
{
    struct viv_vhost *h = r->h;
    struct vhost_vring_state num = {r->index, VIV_VHOST_RING_SIZE}, base = {r->index, 0}, poll = {r->index, h->poll_us};
    struct vhost_vring_addr at = {.index = r->index, .desc_user_addr = (uintptr_t)r->v.desc,
                                  .used_user_addr = (uintptr_t)r->v.used, .avail_user_addr = (uintptr_t)r->v.avail};
    struct vhost_vring_file kick = {r->index, r->kick}, call = {r->index, r->call}, failed = {r->index, h->failed};
    int rc = ask(h, VHOST_SET_VRING_NUM, &num, "SET_VRING_NUM", err);

    if (!rc)
        rc = ask(h, VHOST_SET_VRING_BASE, &base, "SET_VRING_BASE", err);
    if (!rc)
        rc = ask(h, VHOST_SET_VRING_ADDR, &at, "SET_VRING_ADDR", err);
    if (!rc)
        rc = ask(h, VHOST_SET_VRING_KICK, &kick, "SET_VRING_KICK", err);
    if (!rc)
        rc = ask(h, VHOST_SET_VRING_CALL, &call, "SET_VRING_CALL", err);
    if (!rc)
        rc = ask(h, VHOST_SET_VRING_ERR, &failed, "SET_VRING_ERR", err);
    if (!rc && h->poll_us)
        rc = ask(h, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, &poll, "poll-us", err);
    return rc;
}

/* A descriptor of -1 ends it, and waits for what is under way. */
static int set_backend(struct viv_vhost *h, unsigned ring, int fd, struct viv_err *err)
{
    struct vhost_vring_file f = {ring, fd};

    return ask(h, VHOST_NET_SET_BACKEND, &f, "NET_SET_BACKEND", err);
}

static void on_call(void *opaque, int fd, short revents)
{
    struct ring *r = opaque;
    eventfd_t n;

    if (eventfd_read(fd, &n) == 0)
        r->h->fn(r->h->opaque, r->index);
}

static void on_failure(void *opaque, int fd, short revents)
{
    struct viv_vhost *h = opaque;
    eventfd_t n;

    if (eventfd_read(fd, &n) == 0)
        h->fn(h->opaque, VIV_VHOST_FAILED);
}

static void empty_ring(struct ring *r)
{
    eventfd_t n;

    memset(r->mem, 0, vring_size(VIV_VHOST_RING_SIZE, VIV_PAGE_SIZE));
    memset(r->token, 0, sizeof(r->token));
    for (unsigned i = 0; i < VIV_VHOST_RING_SIZE; i++)
        r->next[i] = i + 1;
    r->avail = r->used = r->free = 0;
    r->free_count = VIV_VHOST_RING_SIZE;
    eventfd_read(r->call, &n);
    eventfd_read(r->kick, &n);
}

unsigned viv_vhost_header(uint64_t features)
{
    return features & HEADER_FEATURES ? 12 : 10;
}

int viv_vhost_start(struct viv_vhost *h, int tap_fd, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err)
{
    int rc;

    features = (features & HEADER_FEATURES) | (h->own_headers ? 1ull << F_OWN_HEADERS : 0);
    rc = become_owner(h, err);
    if (!rc)
        rc = ask(h, VHOST_SET_FEATURES, &features, "SET_FEATURES", err);
    if (!rc)
        rc = set_memory(h, err);
    for (unsigned i = 0; i < VIV_VHOST_RINGS && !rc; i++) {
        empty_ring(&h->ring[i]);
        rc = start_ring(&h->ring[i], err);
    }
    if (rc)
        return rc;
    h->fn = fn;
    h->opaque = opaque;
    h->running = true;
    h->watch = viv_watch_new(h->failed, POLLIN, on_failure, h);
    for (unsigned i = 0; i < VIV_VHOST_RINGS; i++)
        h->ring[i].watch = viv_watch_new(h->ring[i].call, POLLIN, on_call, &h->ring[i]);
    for (unsigned i = 0; i < VIV_VHOST_RINGS && !rc; i++)
        rc = set_backend(h, i, tap_fd, err);
    if (rc)
        viv_vhost_stop(h);
    return rc;
}

void viv_vhost_stop(struct viv_vhost *h)
{
    struct viv_err err = VIV_ERR_INIT;

    if (!h->running)
        return;
    for (unsigned i = 0; i < VIV_VHOST_RINGS; i++) {
        if (set_backend(h, i, -1, &err) < 0)
            viv_warn("%s", err.text); /* the kernel has no reason to, for a ring that it was given */
        viv_watch_free(h->ring[i].watch);
        h->ring[i].watch = NULL;
    }
    viv_watch_free(h->watch);
    h->watch = NULL;
    h->running = false;
}

bool viv_vhost_running(const struct viv_vhost *h)
{
    return h && h->running;
}

/* --- the rings --- */

bool viv_vhost_put(struct viv_vhost *h, unsigned ring, const struct iovec *iov, unsigned n, void *token)
{
    struct ring *r = &h->ring[ring];
    uint16_t head = r->free, at = head, last = head;

    if (n > r->free_count)
        return false;
    for (unsigned i = 0; i < n; i++) {
        r->v.desc[at] = (struct vring_desc){(uintptr_t)iov[i].iov_base, (uint32_t)iov[i].iov_len,
                                            VRING_DESC_F_NEXT | (ring == VIV_VHOST_RX ? VRING_DESC_F_WRITE : 0), r->next[at]};
        last = at;
        at = r->next[at];
    }
    r->v.desc[last].flags &= (uint16_t)~VRING_DESC_F_NEXT;
    r->free = at;
    r->free_count -= n;
    r->segs[head] = n;
    r->token[head] = token;
    r->v.avail->ring[r->avail++ % VIV_VHOST_RING_SIZE] = head;
    return true;
}

bool viv_vhost_idle(const struct viv_vhost *h, unsigned ring)
{
    return h->ring[ring].free_count == VIV_VHOST_RING_SIZE;
}

void viv_vhost_kick(struct viv_vhost *h, unsigned ring)
{
    struct ring *r = &h->ring[ring];

    if (r->v.avail->idx == r->avail)
        return;
    __atomic_store_n(&r->v.avail->idx, r->avail, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the index before the kernel's wish (2.7.13.4.1) */
    if (h->running && !(__atomic_load_n(&r->v.used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY))
        eventfd_write(r->kick, 1);
}

static void *end(struct ring *r, uint16_t head)
{
    void *token = r->token[head];
    uint16_t last = head;

    for (unsigned i = 1; i < r->segs[head]; i++)
        last = r->next[last];
    r->next[last] = r->free;
    r->free = head;
    r->free_count += r->segs[head];
    r->token[head] = NULL;
    return token;
}

unsigned viv_vhost_get(struct viv_vhost *h, unsigned ring, void **tokens, uint32_t *written, unsigned max)
{
    struct ring *r = &h->ring[ring];
    uint16_t until = __atomic_load_n(&r->v.used->idx, __ATOMIC_ACQUIRE);
    unsigned n = 0;

    while (r->used != until && n < max) {
        const struct vring_used_elem *e = &r->v.used->ring[r->used++ % VIV_VHOST_RING_SIZE];

        if (e->id >= VIV_VHOST_RING_SIZE || !r->token[e->id])
            continue; /* not from Linux */
        written[n] = e->len;
        tokens[n++] = end(r, (uint16_t)e->id);
    }
    return n;
}

void *viv_vhost_take_back(struct viv_vhost *h, unsigned ring)
{
    struct ring *r = &h->ring[ring];

    /* A head that was used and put again stands in the ring twice: it is found at its newer place. */
    while (r->free_count < VIV_VHOST_RING_SIZE) {
        uint16_t head = r->v.avail->ring[--r->avail % VIV_VHOST_RING_SIZE];

        if (r->token[head])
            return end(r, head);
    }
    return NULL;
}

/* --- life --- */

static int make_ring(struct viv_vhost *h, unsigned index)
{
    struct ring *r = &h->ring[index];

    r->h = h;
    r->index = index;
    r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->kick < 0 || r->call < 0)
        return -1;
    if (posix_memalign(&r->mem, VIV_PAGE_SIZE, vring_size(VIV_VHOST_RING_SIZE, VIV_PAGE_SIZE))) {
        r->mem = NULL;
        return -1;
    }
    vring_init(&r->v, VIV_VHOST_RING_SIZE, r->mem, VIV_PAGE_SIZE);
    return 0;
}

int viv_vhost_new(int fd, bool frame_headers, unsigned poll_us, viv_vhost_ioctl kernel, struct viv_vhost **out, struct viv_err *err)
{
    struct viv_vhost *h = g_new0(struct viv_vhost, 1);
    uint64_t need = HEADER_FEATURES | (frame_headers ? 1ull << F_OWN_HEADERS : 0);
    int rc = 0;

    h->fd = fd;
    h->kernel = kernel ? kernel : call_ioctl;
    h->own_headers = frame_headers;
    h->poll_us = poll_us;
    for (unsigned i = 0; i < VIV_VHOST_RINGS; i++)
        h->ring[i].kick = h->ring[i].call = -1;
    h->failed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (unsigned i = 0; i < VIV_VHOST_RINGS; i++)
        rc |= make_ring(h, i);
    if (rc || h->failed < 0)
        rc = viv_fail(err, EMFILE, "vhost: no room for its rings and eventfds");
    else if (h->kernel(fd, VHOST_GET_FEATURES, &h->features) < 0)
        rc = viv_fail(err, EINVAL, "vhost: descriptor %d is none of /dev/vhost-net", fd);
    else if (need & ~h->features)
        rc = viv_fail(err, ENOTSUP, "vhost: this kernel's lacks features 0x%llx; vhost=off works", (unsigned long long)(need & ~h->features));
    if (rc) {
        viv_vhost_free(h);
        return rc;
    }
    *out = h;
    return 0;
}

void viv_vhost_free(struct viv_vhost *h)
{
    if (!h)
        return;
    viv_vhost_stop(h);
    for (unsigned i = 0; i < VIV_VHOST_RINGS; i++) {
        struct ring *r = &h->ring[i];

        if (r->kick >= 0)
            close(r->kick);
        if (r->call >= 0)
            close(r->call);
        free(r->mem);
    }
    if (h->failed >= 0)
        close(h->failed);
    close(h->fd);
    g_free(h);
}
