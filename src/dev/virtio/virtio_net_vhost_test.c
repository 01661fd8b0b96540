/* virtio-net with vhost, between a driver in guest memory and a kernel that the test is: it sees the ioctls of linux/vhost.h and works on
 * the rings that they name. */
#include "base/bytes.h"
#include "bus/virtio_driver.h"
#include "bus/virtio_mmio.h"
#include "dev/virtio/virtio_net.h"
#include "host/lock.h"
#include "host/loop.h"
#include "mem/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RAM_SIZE (4u << 20)
#define BIT(n)   (1ull << (n))
#define TAP_FD   77

extern const struct viv_dev_class viv_dev_virtio_net_device;

/* --- the kernel --- */

struct fake_ring {
    struct vhost_vring_addr at;
    unsigned num;
    uint16_t avail, used;
    int kick, call, failed, backend;
};

static struct {
    struct fake_ring ring[2];
    struct vhost_memory_region mem;
    uint64_t features;
    unsigned owned, starts, stops;
    unsigned long refuses; /* this request fails */
} kernel;

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
    const struct vhost_vring_state *state = arg;
    const struct vhost_vring_file *file = arg;

    if (request == kernel.refuses) {
        errno = EFAULT;
        return -1;
    }
    switch (request) {
    case VHOST_GET_FEATURES: *(uint64_t *)arg = ~0ull; return 0;
    case VHOST_SET_OWNER: kernel.owned++; return 0;
    case VHOST_SET_FEATURES: kernel.features = *(uint64_t *)arg; return 0;
    case VHOST_SET_MEM_TABLE: kernel.mem = ((struct vhost_memory *)arg)->regions[0]; return 0;
    case VHOST_SET_VRING_NUM: kernel.ring[state->index].num = state->num; return 0;
    case VHOST_SET_VRING_BASE: kernel.ring[state->index].avail = kernel.ring[state->index].used = (uint16_t)state->num; return 0;
    case VHOST_SET_VRING_ADDR: kernel.ring[((struct vhost_vring_addr *)arg)->index].at = *(struct vhost_vring_addr *)arg; return 0;
    case VHOST_SET_VRING_KICK: kernel.ring[file->index].kick = file->fd; return 0;
    case VHOST_SET_VRING_CALL: kernel.ring[file->index].call = file->fd; return 0;
    case VHOST_SET_VRING_ERR: kernel.ring[file->index].failed = file->fd; return 0;
    case VHOST_NET_SET_BACKEND:
        kernel.ring[file->index].backend = file->fd;
        kernel.starts += file->index == VIV_VHOST_TX && file->fd == TAP_FD;
        kernel.stops += file->index == VIV_VHOST_TX && file->fd == -1;
        return 0;
    default: g_error("request %lx", request);
    }
}

static unsigned available(unsigned ring)
{
    struct fake_ring *r = &kernel.ring[ring];
    const struct vring_avail *a = (void *)(uintptr_t)r->at.avail_user_addr;

    g_assert_cmpint(r->backend, ==, TAP_FD);
    return (uint16_t)(__atomic_load_n(&a->idx, __ATOMIC_ACQUIRE) - r->avail);
}

static bool kicked(unsigned ring)
{
    eventfd_t n;

    return eventfd_read(kernel.ring[ring].kick, &n) == 0;
}

/* Takes the next buffer: a copy of what is in it (TX), or `data` into it (RX). Uses it, unseen as yet. Returns its bytes. */
static uint32_t use(unsigned ring, void *data, uint32_t len)
{
    struct fake_ring *r = &kernel.ring[ring];
    const struct vring_desc *desc = (void *)(uintptr_t)r->at.desc_user_addr;
    const struct vring_avail *a = (void *)(uintptr_t)r->at.avail_user_addr;
    struct vring_used *u = (void *)(uintptr_t)r->at.used_user_addr;
    uint16_t head, i;
    uint32_t done = 0;

    g_assert_cmpuint(available(ring), >, 0);
    head = i = a->ring[r->avail++ % r->num];
    for (;; i = desc[i].next) {
        uint8_t *at = (uint8_t *)(uintptr_t)(desc[i].addr - kernel.mem.guest_phys_addr + kernel.mem.userspace_addr);
        uint32_t part = MIN(desc[i].len, len - done);

        g_assert_cmpuint(desc[i].addr, >=, kernel.mem.guest_phys_addr);
        g_assert_cmpuint(desc[i].addr + desc[i].len, <=, kernel.mem.guest_phys_addr + kernel.mem.memory_size);
        g_assert_cmpuint(!!(desc[i].flags & VRING_DESC_F_WRITE), ==, ring == VIV_VHOST_RX);
        memcpy(ring == VIV_VHOST_RX ? at : (uint8_t *)data + done, ring == VIV_VHOST_RX ? (uint8_t *)data + done : at, part);
        done += part;
        if (!(desc[i].flags & VRING_DESC_F_NEXT))
            break;
    }
    u->ring[r->used++ % r->num] = (struct vring_used_elem){head, ring == VIV_VHOST_RX ? done : 0};
    return done;
}

/* Shows what was used, calls, and lets the loop run. */
static void call(unsigned ring)
{
    struct fake_ring *r = &kernel.ring[ring];
    struct vring_used *u = (void *)(uintptr_t)r->at.used_user_addr;

    __atomic_store_n(&u->idx, r->used, __ATOMIC_RELEASE);
    eventfd_write(r->call, 1);
    viv_dev_unlock();
    while (viv_loop_serve(false))
        ;
    viv_dev_lock();
}

/* --- the back end --- */

struct viv_netdev {
    const struct viv_nic_ops *ops;
    void *nic;
    struct viv_vhost *vhost;
    unsigned sent;
    bool down;
};

static struct viv_netdev net;

struct viv_netdev *viv_netdev_find(const char *id) { return &net; }
void viv_netdev_detach(struct viv_netdev *n) { n->ops = NULL; }
unsigned viv_netdev_tx_offloads(const struct viv_netdev *n) { return 0; }
unsigned viv_netdev_rx_offloads(const struct viv_netdev *n) { return 0; }
void viv_netdev_restore_link(struct viv_netdev *n, bool up) { n->down = !up; }
bool viv_netdev_link_up(const struct viv_netdev *n) { return !n->down; }
const char *viv_netdev_id(const struct viv_netdev *n) { return "n0"; }
unsigned viv_netdev_queues(const struct viv_netdev *n) { return 1; }
struct viv_netdev *viv_netdev_queue(struct viv_netdev *n, unsigned i) { return n; }
void viv_netdev_use_queues(struct viv_netdev *n, unsigned count) { }
bool viv_netdev_rx_trusted(const struct viv_netdev *n) { return true; }
void viv_netdev_set_rx(struct viv_netdev *n, unsigned offloads) { }
void viv_netdev_can_receive_changed(struct viv_netdev *n) { }
void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w) { }
int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, bool named, struct viv_err *err) { return 0; }
struct viv_vhost *viv_netdev_vhost(struct viv_netdev *n) { return n->vhost; }
void viv_netdev_vhost_stop(struct viv_netdev *n) { viv_vhost_stop(n->vhost); }

int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic, struct viv_err *err)
{
    n->ops = ops;
    n->nic = nic;
    return 0;
}

bool viv_netdev_send_hdr(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    n->sent++;
    return true;
}

int viv_netdev_vhost_start(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err)
{
    return viv_vhost_start(n->vhost, TAP_FD, features, fn, opaque, err);
}

/* --- the machine --- */

static struct viv_board board;
static struct viv_ram *ram;
static unsigned interrupts;

static void note_irq(void *opaque, int n, int level)
{
    interrupts += level;
}

/* Device lock held until unmake. */
static struct virtio_net *make(const char *text)
{
    static const struct viv_dev_class *const table[] = {&viv_dev_virtio_net_device, NULL};
    struct viv_irq irq = {note_irq, NULL, 0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;
    struct viv_dev *d = NULL;
    int rc;

    memset(&net, 0, sizeof(net));
    memset(&kernel, 0, sizeof(kernel));
    viv_dev_lock();
    viv_dev_set_classes(table);
    board.mem = viv_space_new("mem", 40);
    if (!ram)
        g_assert_cmpint(viv_ram_new("ram", RAM_SIZE, &ram, &err), ==, 0);
    viv_region_map(viv_region_new(board.mem, &(struct viv_region_desc){.name = "ram", .kind = VIV_REGION_RAM, .size = RAM_SIZE, .ram = ram}), 0, 0);
    board.vmmio = viv_virtio_mmio_bus_new(&board, 0xfeb00000, 1, &irq);
    g_assert_cmpint(viv_vhost_new(open("/dev/null", O_RDWR), false, 0, fake_ioctl, &net.vhost, &err), ==, 0);
    rc = viv_opts_parse("-device virtio-net-device", viv_dev_virtio_net_device.props, NULL, text, &opts, &err);
    if (!rc)
        rc = viv_dev_new(&board, "virtio-net-device", NULL, NULL, opts, &d, &err);
    if (rc)
        g_error("%s", err.text);
    viv_opts_free(opts);
    interrupts = 0;
    viv_dev_set_running_all(true);
    return (struct virtio_net *)((struct viv_virtio_mmio *)d)->v;
}

static void unmake(void)
{
    viv_dev_free_all();
    viv_virtio_mmio_bus_free(board.vmmio);
    viv_space_free(board.mem);
    g_assert_false(viv_vhost_running(net.vhost));
    viv_vhost_free(net.vhost);
    viv_dev_unlock();
}

static void start(struct td *d, struct virtio_net *n, uint64_t features)
{
    td_start(d, &n->v, features, 0x10000);
    for (unsigned i = 0; i < 2; i++)
        td_queue_start(d, i, 16);
    td_go(d);
}

/* A frame of `len` bytes that all are `value`, behind a header of zeroes. */
static void send(struct td *d, uint32_t len, uint8_t value)
{
    uint8_t f[2000] = {0};
    struct td_seg seg[2];

    memset(f + 12, value, len);
    seg[0] = (struct td_seg){td_put(d, f, 12), 12, false};
    seg[1] = (struct td_seg){td_put(d, f + 12, len), len, false};
    td_add(d, NET_Q_TX, seg, 2, false);
    td_kick(d, NET_Q_TX);
}

static void expect_send(uint8_t value)
{
    uint8_t got[2000];

    g_assert_cmpuint(use(VIV_VHOST_TX, got, sizeof(got)), ==, 112);
    g_assert_cmpuint(got[12], ==, value);
}

static unsigned count_used(struct td *d, unsigned queue)
{
    unsigned n = 0;
    uint32_t len;
    uint16_t id;

    while (td_used(d, queue, &id, &len))
        n++;
    return n;
}

static uint64_t ring_features(gconstpointer packed)
{
    return BIT(NET_F_MRG_RXBUF) | BIT(VIV_VIRTIO_F_EVENT_IDX) | (packed ? BIT(VIV_VIRTIO_F_RING_PACKED) : 0);
}

static void test_send(gconstpointer packed)
{
    struct virtio_net *n = make(packed ? "netdev=n0,packed=on" : "netdev=n0");
    struct td d;

    g_assert_cmpuint(kernel.starts + kernel.owned, ==, 0); /* not before there is a driver */
    start(&d, n, ring_features(packed));
    g_assert_cmpuint(kernel.starts, ==, 1);
    g_assert_cmphex(kernel.features, ==, BIT(NET_F_MRG_RXBUF) | BIT(VIV_VIRTIO_F_VERSION_1)); /* and nothing of the guest's ring */
    for (uint8_t i = 1; i <= 3; i++)
        send(&d, 100, i);
    g_assert_true(kicked(VIV_VHOST_TX));
    g_assert_cmpuint(net.sent, ==, 0);
    expect_send(1);
    expect_send(2);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 0);
    interrupts = 0;
    call(VIV_VHOST_TX);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 2);
    g_assert_cmpuint(interrupts, ==, 1);
    /* The VM stops: what the kernel has used is the guest's, without a call; the rest stands in the guest's ring. */
    send(&d, 100, 4);
    expect_send(3);
    ((struct vring_used *)(uintptr_t)kernel.ring[VIV_VHOST_TX].at.used_user_addr)->idx++;
    viv_dev_set_running_all(false);
    g_assert_cmpuint(kernel.stops, ==, 1);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 1);
    g_assert_cmpuint(n->v.queues[NET_Q_TX].in_flight, ==, 0);
    viv_dev_set_running_all(true);
    g_assert_cmpuint(kernel.starts, ==, 2);
    g_assert_cmpuint(kernel.owned, ==, 1);
    expect_send(4);
    call(VIV_VHOST_TX);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 1);
    /* Many times round both rings. */
    for (unsigned i = 0; i < 10000; i++) {
        send(&d, 100, (uint8_t)i);
        expect_send((uint8_t)i);
        if (i % 7 == 0) {
            call(VIV_VHOST_TX);
            g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, i ? 7 : 1);
            d.next = 0x10000 + 0x10000;
        }
        if (i % 1000 == 999) {
            viv_dev_set_running_all(false);
            viv_dev_set_running_all(true);
            while (available(VIV_VHOST_TX))
                use(VIV_VHOST_TX, (uint8_t[2000]){0}, 2000);
        }
    }
    unmake();
}

static void test_receive(gconstpointer packed)
{
    struct virtio_net *n = make(packed ? "netdev=n0,packed=on" : "netdev=n0");
    uint8_t f[3012], got[3012];
    uint64_t buf[4];
    uint32_t len, version;
    uint16_t id;
    struct td d;

    for (size_t i = 0; i < sizeof(f); i++)
        f[i] = (uint8_t)(i * 7);
    td_start(&d, &n->v, ring_features(packed), 0x10000);
    for (unsigned i = 0; i < 2; i++)
        td_queue_start(&d, i, 16);
    for (unsigned i = 0; i < 4; i++) {
        buf[i] = td_alloc(&d, 1600);
        td_add(&d, NET_Q_RX, &(struct td_seg){buf[i], 1600, true}, 1, false);
    }
    td_go(&d); /* buffers from before need no kick */
    g_assert_cmpuint(available(VIV_VHOST_RX), ==, 4);
    version = viv_ram_mark_code(ram->hva + buf[0]);
    use(VIV_VHOST_RX, f, 1600);
    use(VIV_VHOST_RX, f + 1600, 1412);
    g_assert_cmpuint(count_used(&d, NET_Q_RX), ==, 0);
    call(VIV_VHOST_RX);
    /* A software CPU must not run on with what it made of the bytes before. */
    g_assert_cmpuint(viv_arena_version[viv_arena_page(ram->hva + buf[0])], !=, version);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_true(td_used(&d, NET_Q_RX, &id, &len));
        g_assert_cmpuint(len, ==, i ? 1412 : 1600);
        td_read(&d, buf[i], got + 1600 * i, len);
    }
    g_assert_cmpmem(got, sizeof(got), f, sizeof(f));
    /* The cable: out, the kernel ends and the buffers are there for later. */
    net.down = true;
    net.ops->link_changed(net.nic, false);
    g_assert_cmpuint(kernel.stops, ==, 1);
    g_assert_cmpuint(n->v.queues[NET_Q_RX].in_flight, ==, 0);
    net.down = false;
    net.ops->link_changed(net.nic, true);
    g_assert_cmpuint(available(VIV_VHOST_RX), ==, 2);
    /* A reset with buffers out, and a driver again. */
    viv_virtio_set_status(&n->v, 0);
    g_assert_cmpuint(kernel.stops, ==, 2);
    g_assert_cmpuint(n->v.queues[NET_Q_RX].in_flight, ==, 0);
    start(&d, n, ring_features(packed));
    g_assert_cmpuint(available(VIV_VHOST_RX), ==, 0);
    /* Smaller than the header: as without vhost. */
    td_add(&d, NET_Q_RX, &(struct td_seg){buf[0], 11, true}, 1, false);
    td_kick(&d, NET_Q_RX);
    g_assert_true(n->v.broken);
    unmake();
}

/* Buffers that are out come back before the driver may think them its own: without a bus master, and when it stops a queue. */
static void test_stopped(void)
{
    struct virtio_net *n = make("netdev=n0");
    struct td d;

    start(&d, n, ring_features(NULL));
    for (unsigned i = 0; i < 4; i++)
        td_add(&d, NET_Q_RX, &(struct td_seg){td_alloc(&d, 1600), 1600, true}, 1, false);
    td_kick(&d, NET_Q_RX);
    g_assert_cmpuint(available(VIV_VHOST_RX), ==, 4);
    viv_virtio_bar(&n->v, true);
    g_assert_cmpuint(kernel.stops, ==, 1);
    g_assert_cmpuint(n->v.queues[NET_Q_RX].in_flight, ==, 0);
    viv_virtio_bar(&n->v, false);
    g_assert_cmpuint(kernel.starts, ==, 2);
    g_assert_cmpuint(available(VIV_VHOST_RX), ==, 4);
    viv_space_write_locked(board.mem, 0xfeb00030, NET_Q_RX, 4);
    viv_space_write_locked(board.mem, 0xfeb00044, 0, 4);
    g_assert_cmpuint(kernel.stops, ==, 2);
    g_assert_cmpuint(n->v.queues[NET_Q_RX].in_flight + n->v.queues[NET_Q_RX].orphans, ==, 0);
    td_queue_start(&d, NET_Q_RX, 16);
    viv_virtio_queue_changed(&n->v);
    g_assert_cmpuint(kernel.starts, ==, 3);
    g_assert_cmpuint(available(VIV_VHOST_RX), ==, 0);
    unmake();
}

static void test_unmerged(void)
{
    struct virtio_net *n = make("netdev=n0");
    uint8_t f[112] = {0}, got[12];
    uint64_t buf;
    struct td d;

    start(&d, n, 0);
    buf = td_alloc(&d, 1600);
    td_add(&d, NET_Q_RX, &(struct td_seg){buf, 1600, true}, 1, false);
    td_kick(&d, NET_Q_RX);
    f[10] = 0xee; /* Linux skips these two */
    use(VIV_VHOST_RX, f, sizeof(f));
    call(VIV_VHOST_RX);
    g_assert_cmpuint(count_used(&d, NET_Q_RX), ==, 1);
    td_read(&d, buf, got, sizeof(got));
    g_assert_cmpuint(viv_ld_le16(got + 10), ==, 1);
    unmake();
}

/* One that must not be sent is used in its turn: what the kernel holds can be taken back meanwhile. */
static void test_lost(void)
{
    struct virtio_net *n = make("netdev=n0");
    struct viv_net_hdr bad = {.flags = VIV_NET_HDR_NEEDS_CSUM};
    uint8_t f[112] = {0};
    struct td d;

    start(&d, n, ring_features(NULL));
    memcpy(f, &bad, sizeof(bad));
    send(&d, 100, 1);
    td_add(&d, NET_Q_TX, &(struct td_seg){td_put(&d, f, sizeof(f)), sizeof(f), false}, 1, false);
    send(&d, 100, 3);
    g_assert_cmpuint(available(VIV_VHOST_TX), ==, 1);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 0);
    expect_send(1);
    call(VIV_VHOST_TX);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 2);
    expect_send(3);
    call(VIV_VHOST_TX);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 1);
    send(&d, 0, 0);
    g_assert_true(n->v.broken);
    unmake();
}

/* The kernel cannot: this process moves the frames, until the next reset. */
static void test_failures(void)
{
    static const unsigned long requests[] = {VHOST_SET_OWNER, VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND};
    struct virtio_net *n = make("netdev=n0");
    struct td d;

    for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
        kernel.refuses = requests[i];
        start(&d, n, ring_features(NULL));
        send(&d, 100, 1);
        g_assert_cmpuint(net.sent, ==, i + 1);
        g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 1);
    }
    kernel.refuses = 0;
    start(&d, n, ring_features(NULL));
    send(&d, 100, 1);
    g_assert_cmpuint(available(VIV_VHOST_TX), ==, 1);
    net.sent = 0;
    eventfd_write(kernel.ring[VIV_VHOST_TX].failed, 1); /* before it has sent it */
    call(VIV_VHOST_RX);
    g_assert_cmpint(kernel.ring[VIV_VHOST_TX].backend, ==, -1);
    g_assert_cmpuint(net.sent, ==, 1);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 1);
    start(&d, n, ring_features(NULL));
    g_assert_cmpint(kernel.ring[VIV_VHOST_TX].backend, ==, TAP_FD);
    send(&d, 100, 1);
    /* netdev_del, as net.c does it */
    net.ops->link_changed(net.nic, false);
    g_assert_cmpint(kernel.ring[VIV_VHOST_TX].backend, ==, -1);
    net.ops->gone(net.nic);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 1);
    send(&d, 100, 1);
    g_assert_cmpuint(count_used(&d, NET_Q_TX), ==, 1);
    unmake();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/virtio-net-vhost/send/split", NULL, test_send);
    g_test_add_data_func("/virtio-net-vhost/send/packed", "packed", test_send);
    g_test_add_data_func("/virtio-net-vhost/receive/split", NULL, test_receive);
    g_test_add_data_func("/virtio-net-vhost/receive/packed", "packed", test_receive);
    g_test_add_func("/virtio-net-vhost/stopped", test_stopped);
    g_test_add_func("/virtio-net-vhost/unmerged", test_unmerged);
    g_test_add_func("/virtio-net-vhost/lost", test_lost);
    g_test_add_func("/virtio-net-vhost/failures", test_failures);
    return g_test_run();
}
