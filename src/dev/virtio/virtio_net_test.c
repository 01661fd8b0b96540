/* virtio-net between a driver in guest memory and a back end that the test is. */
#include "base/bytes.h"
#include "bus/virtio_driver.h"
#include "bus/virtio_mmio.h"
#include "dev/virtio/virtio_net.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define RAM_SIZE (4u << 20)

extern const struct viv_dev_class viv_dev_virtio_net_device;

/* --- the back end --- */

struct viv_netdev {
    const struct viv_nic_ops *ops;
    void *nic;
    GByteArray *last;
    unsigned sent, changed, queues, used_queues;
    bool full;
    unsigned rx;
    struct viv_net_hdr hdr; /* of the last frame */
};

static struct viv_netdev net, more[3];
static unsigned wanted_queues = 1;

struct viv_netdev *viv_netdev_find(const char *id)
{
    return !strcmp(id, "n0") ? &net : NULL;
}

int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic, struct viv_err *err)
{
    n->ops = ops;
    n->nic = nic;
    n->last = g_byte_array_new();
    return 0;
}

void viv_netdev_detach(struct viv_netdev *n)
{
    g_byte_array_unref(n->last);
    n->ops = NULL;
}

unsigned viv_netdev_tx_offloads(const struct viv_netdev *n)
{
    return VIV_NET_CSUM | VIV_NET_TSO4;
}

unsigned viv_netdev_rx_offloads(const struct viv_netdev *n)
{
    return VIV_NET_CSUM | VIV_NET_TSO4;
}

/* virtio_net_vhost_test.c has one */
struct viv_vhost *viv_netdev_vhost(struct viv_netdev *n)
{
    return NULL;
}

int viv_netdev_vhost_start(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err)
{
    return -ENOTSUP;
}

void viv_netdev_vhost_stop(struct viv_netdev *n)
{
}

void viv_netdev_restore_link(struct viv_netdev *n, bool up)
{
}

bool viv_netdev_link_up(const struct viv_netdev *n)
{
    return true;
}

const char *viv_netdev_id(const struct viv_netdev *n)
{
    return "n0";
}

unsigned viv_netdev_queues(const struct viv_netdev *n)
{
    return n->queues;
}

struct viv_netdev *viv_netdev_queue(struct viv_netdev *n, unsigned i)
{
    return i ? &more[i - 1] : n;
}

void viv_netdev_use_queues(struct viv_netdev *n, unsigned count)
{
    n->used_queues = count;
}

bool viv_netdev_rx_trusted(const struct viv_netdev *n)
{
    return true;
}

bool viv_netdev_send_hdr(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    if (n->full)
        return false;
    n->hdr = hdr ? *hdr : (struct viv_net_hdr){0};
    g_byte_array_set_size(n->last, 0);
    for (int i = 0; i < iovcnt; i++)
        g_byte_array_append(n->last, iov[i].iov_base, iov[i].iov_len);
    n->sent++;
    return true;
}

void viv_netdev_set_rx(struct viv_netdev *n, unsigned offloads)
{
    n->rx = offloads;
}

void viv_netdev_can_receive_changed(struct viv_netdev *n)
{
    n->changed++;
}

void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w)
{
    viv_state_put_u32(w, 0xbac);
}

int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, bool named, struct viv_err *err)
{
    uint32_t v;

    return viv_state_get_u32(r, &v, err);
}

/* --- the machine --- */

static struct viv_board board;
static struct viv_ram *ram;
static unsigned interrupts;

static void note_irq(void *opaque, int n, int level)
{
    interrupts += level;
}

static int try_make(const char *text, struct viv_virtio_mmio **out, struct viv_err *err)
{
    static const struct viv_dev_class *const table[] = {&viv_dev_virtio_net_device, NULL};
    struct viv_irq irq = {note_irq, NULL, 0};
    struct viv_opts *opts = NULL;
    struct viv_dev *d = NULL;
    int rc;

    viv_dev_set_classes(table);
    board.mem = viv_space_new("mem", 40);
    if (!ram)
        g_assert_cmpint(viv_ram_new("ram", RAM_SIZE, &ram, err), ==, 0);
    viv_region_map(viv_region_new(board.mem, &(struct viv_region_desc){.name = "ram",
                                                                       .kind = VIV_REGION_RAM,
                                                                       .size = RAM_SIZE,
                                                                       .ram = ram}),
                   0, 0);
    board.vmmio = viv_virtio_mmio_bus_new(&board, 0xfeb00000, 1, &irq);
    rc = viv_opts_parse("-device virtio-net-device", viv_dev_virtio_net_device.props, NULL, text, &opts, err);
    if (!rc)
        rc = viv_dev_new(&board, "virtio-net-device", NULL, NULL, opts, &d, err);
    viv_opts_free(opts);
    *out = (struct viv_virtio_mmio *)d;
    interrupts = 0;
    return rc;
}

/* Device lock held until unmake. */
static struct virtio_net *make(const char *text)
{
    struct viv_virtio_mmio *m;
    struct viv_err err = VIV_ERR_INIT;

    memset(&net, 0, sizeof(net));
    memset(more, 0, sizeof(more));
    net.queues = wanted_queues;
    viv_dev_lock();
    if (try_make(text, &m, &err))
        g_error("%s", err.text);
    viv_dev_set_running_all(true);
    return (struct virtio_net *)m->v;
}

static void free_board(void)
{
    viv_virtio_mmio_bus_free(board.vmmio);
    viv_space_free(board.mem);
}

static void unmake(void)
{
    viv_dev_free_all();
    free_board();
    viv_dev_unlock();
}

#define BIT(n)   (1ull << (n))
#define FEATURES                                                                                   \
    (BIT(NET_F_MRG_RXBUF) | BIT(NET_F_GUEST_CSUM) | BIT(NET_F_CTRL_VQ) | BIT(NET_F_CTRL_RX) |      \
     BIT(NET_F_CTRL_RX_EXTRA) | BIT(NET_F_CTRL_VLAN) | BIT(NET_F_CTRL_MAC_ADDR) |                  \
     BIT(VIV_VIRTIO_F_EVENT_IDX))

static void start(struct td *d, struct virtio_net *n, uint64_t features)
{
    td_start(d, &n->v, features, 0x10000);
    g_assert_true(n->v.status & VIV_VIRTIO_S_FEATURES_OK);
    for (unsigned i = 0; i < 3; i++)
        td_queue_start(d, i, 16);
    td_go(d);
}

static uint64_t give_buffer(struct td *d, uint32_t len)
{
    struct td_seg seg = {td_alloc(d, len), len, true};

    td_add(d, NET_Q_RX, &seg, 1, false);
    return seg.gpa;
}

static void make_frame(uint8_t *f, size_t len, const uint8_t *to)
{
    for (size_t i = 0; i < len; i++)
        f[i] = i * 3;
    memcpy(f, to, 6);
    f[12] = 8;
    f[13] = 0;
}

static const uint8_t own[6] = {0x52, 0x54, 0, 1, 2, 3}, other[6] = {0x52, 0x54, 0, 9, 9, 9},
                     multi[6] = {1, 0, 0x5e, 0, 0, 5}, broad[6] = {255, 255, 255, 255, 255, 255};

static void test_receive(void)
{
    struct virtio_net *n = make("netdev=n0,mac=52:54:00:01:02:03");
    uint8_t f[3000], got[3012];
    uint64_t buf[3];
    uint32_t used;
    uint16_t id;
    struct td d;

    start(&d, n, FEATURES);
    make_frame(f, sizeof(f), own);
    g_assert_false(net.ops->can_receive(net.nic));
    td_kick(&d, NET_Q_RX);
    buf[0] = give_buffer(&d, 1526);
    net.changed = 0;
    td_kick(&d, NET_Q_RX);
    g_assert_cmpuint(net.changed, ==, 1);
    g_assert_true(net.ops->can_receive(net.nic));
    g_assert_true(net.ops->receive(net.nic, f, 1514));
    interrupts = 0;
    net.ops->receive_done(net.nic);
    g_assert_cmpuint(interrupts, ==, 1);
    net.ops->receive_done(net.nic);
    g_assert_cmpuint(interrupts, ==, 1);
    g_assert_true(td_used(&d, NET_Q_RX, &id, &used));
    g_assert_cmpuint(used, ==, 1526);
    td_read(&d, buf[0], got, 1526);
    g_assert_cmpuint(got[0], ==, 2); /* DATA_VALID */
    g_assert_cmpuint(viv_ld_le16(got + 10), ==, 1);
    g_assert_cmpmem(got + 12, 1514, f, 1514);
    /* over three buffers; with two only, none is touched */
    buf[0] = give_buffer(&d, 1200);
    buf[1] = give_buffer(&d, 1200);
    g_assert_false(net.ops->receive(net.nic, f, 3000));
    g_assert_false(td_used(&d, NET_Q_RX, &id, &used));
    buf[2] = give_buffer(&d, 1200);
    g_assert_true(net.ops->receive(net.nic, f, 3000));
    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(td_used(&d, NET_Q_RX, &id, &used));
        g_assert_cmpuint(used, ==, i < 2 ? 1200 : 612);
        td_read(&d, buf[i], got + 1200 * i, used);
    }
    g_assert_cmpuint(viv_ld_le16(got + 10), ==, 3);
    g_assert_cmpmem(got + 12, 3000, f, 3000);
    unmake();
    /* A ring that can never hold the frame must not hold up those behind it. */
    n = make("netdev=n0,mac=52:54:00:01:02:03");
    start(&d, n, FEATURES);
    for (unsigned i = 0; i < 15; i++)
        give_buffer(&d, 150);
    g_assert_false(net.ops->receive(net.nic, f, 3000));
    give_buffer(&d, 150);
    g_assert_true(net.ops->receive(net.nic, f, 3000));
    g_assert_false(td_used(&d, NET_Q_RX, &id, &used));
    g_assert_true(net.ops->receive(net.nic, f, 1514));
    for (unsigned i = 0; i < 11; i++)
        g_assert_true(td_used(&d, NET_Q_RX, &id, &used));
    g_assert_false(td_used(&d, NET_Q_RX, &id, &used));
    unmake();
    /* Without merging a frame that does not fit is lost, and the buffer is not. */
    n = make("netdev=n0,mac=52:54:00:01:02:03");
    start(&d, n, 0);
    give_buffer(&d, 1000);
    g_assert_true(net.ops->receive(net.nic, f, 1514));
    g_assert_false(td_used(&d, NET_Q_RX, &id, &used));
    g_assert_true(net.ops->receive(net.nic, f, 900));
    g_assert_true(td_used(&d, NET_Q_RX, &id, &used));
    unmake();
}

/* A driver on another CPU: whenever it finds the first buffer of a frame, the other two are there. */
struct looker {
    const struct td *d;
    unsigned round, seen; /* atomic: how many were begun, and looked at */
    unsigned torn;
};

static bool looks_used(const struct td *d, unsigned nth)
{
    const struct td_queue *q = &d->q[NET_Q_RX];
    unsigned at = q->next_used + nth;
    bool wrap = q->used_wrap != (at >= q->size);
    uint16_t v;

    if (!d->packed)
        return (uint16_t)(__atomic_load_n((uint16_t *)(ram->hva + q->used + 2), __ATOMIC_ACQUIRE) - q->next_used) > nth;
    v = __atomic_load_n((uint16_t *)(ram->hva + q->desc + 16 * (at % q->size) + 14), __ATOMIC_ACQUIRE);
    return !!(v & VIV_DESC_AVAIL) == wrap && !!(v & VIV_DESC_USED) == wrap;
}

static void *look(void *opaque)
{
    struct looker *l = opaque;

    for (unsigned round = 1; round <= 3000; round++) {
        while (__atomic_load_n(&l->round, __ATOMIC_ACQUIRE) != round)
            sched_yield();
        while (!looks_used(l->d, 0))
            ;
        l->torn += !looks_used(l->d, 1) || !looks_used(l->d, 2);
        __atomic_store_n(&l->seen, round, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_receive_at_once(gconstpointer packed)
{
    struct virtio_net *n = make(packed ? "netdev=n0,packed=on" : "netdev=n0");
    uint8_t f[3000];
    pthread_t thread;
    uint64_t buf[3];
    uint32_t used;
    uint16_t id;
    struct td d;
    struct looker l = {.d = &d};

    start(&d, n, packed ? FEATURES | BIT(VIV_VIRTIO_F_RING_PACKED) : FEATURES);
    make_frame(f, sizeof(f), broad);
    pthread_create(&thread, NULL, look, &l);
    for (unsigned i = 0; i < 3; i++)
        buf[i] = td_alloc(&d, 1200);
    for (unsigned round = 1; round <= 3000; round++) {
        for (unsigned i = 0; i < 3; i++)
            td_add(&d, NET_Q_RX, &(struct td_seg){buf[i], 1200, true}, 1, false);
        __atomic_store_n(&l.round, round, __ATOMIC_RELEASE);
        g_assert_true(net.ops->receive(net.nic, f, sizeof(f)));
        while (__atomic_load_n(&l.seen, __ATOMIC_ACQUIRE) != round)
            sched_yield();
        for (unsigned i = 0; i < 3; i++)
            g_assert_true(td_used(&d, NET_Q_RX, &id, &used));
    }
    pthread_join(thread, NULL);
    g_assert_cmpuint(l.torn, ==, 0);
    unmake();
}

static void test_receive_large(void)
{
    struct virtio_net *n = make("netdev=n0,mac=52:54:00:01:02:03");
    const struct viv_net_hdr gso = {.flags = VIV_NET_HDR_NEEDS_CSUM, .gso_type = VIV_NET_GSO_TCPV4, .gso_size = 1460,
                                    .hdr_len = 54, .csum_start = 34, .csum_offset = 16};
    uint8_t f[3000], got[12];
    uint64_t buf;
    struct td d;

    start(&d, n, FEATURES);
    g_assert_cmpuint(net.rx, ==, VIV_NET_CSUM);
    start(&d, n, FEATURES | BIT(NET_F_GUEST_TSO4));
    g_assert_cmpuint(net.rx, ==, VIV_NET_CSUM | VIV_NET_TSO4);
    make_frame(f, sizeof(f), own);
    buf = give_buffer(&d, 2000);
    give_buffer(&d, 2000);
    g_assert_true(net.ops->receive_hdr(net.nic, f, sizeof(f), &gso));
    td_read(&d, buf, got, 12);
    g_assert_cmpmem(got, 12, "\1\1\x36\0\xb4\5\x22\0\x10\0\2\0", 12);
    viv_virtio_set_status(&n->v, 0);
    g_assert_cmpuint(net.rx, ==, 0);
    unmake();
    n = make("netdev=n0,guest_csum=off");
    g_assert_false(n->v.host_features & BIT(NET_F_GUEST_TSO4));
    unmake();
}

static void test_send(void)
{
    struct virtio_net *n = make("netdev=n0");
    uint8_t f[112] = {0};
    struct td_seg seg[3];
    uint16_t id;
    uint32_t used;
    struct td d;

    start(&d, n, FEATURES);
    make_frame(f + 12, 100, other);
    seg[0] = (struct td_seg){td_put(&d, f, 5), 5, false}; /* the header in two, framing is free */
    seg[1] = (struct td_seg){td_put(&d, f + 5, 20), 20, false};
    seg[2] = (struct td_seg){td_put(&d, f + 25, 87), 87, false};
    td_add(&d, NET_Q_TX, seg, 3, false);
    td_kick(&d, NET_Q_TX);
    g_assert_cmpuint(net.sent, ==, 1);
    g_assert_cmpmem(net.last->data, net.last->len, f + 12, 100);
    g_assert_true(td_used(&d, NET_Q_TX, &id, &used));
    /* a full back end: the frame waits in the ring */
    net.full = true;
    td_add(&d, NET_Q_TX, seg, 3, false);
    td_kick(&d, NET_Q_TX);
    g_assert_false(td_used(&d, NET_Q_TX, &id, &used));
    net.full = false;
    td_kick(&d, NET_Q_TX);
    g_assert_cmpuint(net.sent, ==, 1);
    net.ops->send_ready(net.nic);
    g_assert_cmpuint(net.sent, ==, 2);
    g_assert_true(td_used(&d, NET_Q_TX, &id, &used));
    /* a checksum left to us, which was not offered */
    f[0] = 1;
    seg[0] = (struct td_seg){td_put(&d, f, 112), 112, false};
    td_add(&d, NET_Q_TX, seg, 1, false);
    td_kick(&d, NET_Q_TX);
    g_assert_cmpuint(net.sent, ==, 2);
    g_assert_false(n->v.broken);
    /* no more than a header */
    seg[0].len = 12;
    td_add(&d, NET_Q_TX, seg, 1, false);
    td_kick(&d, NET_Q_TX);
    g_assert_true(n->v.broken);
    unmake();
}

static unsigned sent_with(struct td *d, const void *header, unsigned before)
{
    uint8_t f[112] = {0};
    struct td_seg seg;
    uint32_t used;
    uint16_t id;

    make_frame(f + 12, 100, other);
    memcpy(f, header, sizeof(struct viv_net_hdr));
    seg = (struct td_seg){td_put(d, f, sizeof(f)), sizeof(f), false};
    td_add(d, NET_Q_TX, &seg, 1, false);
    td_kick(d, NET_Q_TX);
    td_used(d, NET_Q_TX, &id, &used);
    return net.sent - before;
}

/* What the driver leaves to be done goes on to the back end, as far as it was negotiated. */
static void test_send_offloads(void)
{
    struct virtio_net *n = make("netdev=n0");
    struct viv_net_hdr h = {.flags = VIV_NET_HDR_NEEDS_CSUM | VIV_NET_HDR_DATA_VALID, .gso_type = VIV_NET_GSO_TCPV4,
                            .hdr_len = 54, .gso_size = 1000, .csum_start = 34, .csum_offset = 16};
    struct td d;

    g_assert_true(n->v.host_features & BIT(NET_F_CSUM) && n->v.host_features & BIT(NET_F_HOST_TSO4));
    g_assert_false(n->v.host_features & (BIT(NET_F_HOST_TSO6) | BIT(NET_F_HOST_ECN) | BIT(NET_F_HOST_UFO)));
    start(&d, n, FEATURES | BIT(NET_F_CSUM) | BIT(NET_F_HOST_TSO4));
    g_assert_cmpuint(sent_with(&d, &h, net.sent), ==, 1);
    h.flags = VIV_NET_HDR_NEEDS_CSUM;
    g_assert_cmpmem(&net.hdr, sizeof(net.hdr), &h, sizeof(h));
    h.gso_size = 0;
    g_assert_cmpuint(sent_with(&d, &h, net.sent), ==, 0);
    h.gso_size = 1000;
    for (unsigned type = 2; type < 256; type++) { /* of all types this one was negotiated */
        h.gso_type = type;
        g_assert_cmpuint(sent_with(&d, &h, net.sent), ==, 0);
    }
    h.gso_type = 0;
    g_assert_cmpuint(sent_with(&d, &h, net.sent), ==, 1);
    start(&d, n, FEATURES | BIT(NET_F_CSUM));
    h.gso_type = VIV_NET_GSO_TCPV4;
    g_assert_cmpuint(sent_with(&d, &h, net.sent), ==, 0);
    unmake();
    n = make("netdev=n0,csum=off");
    g_assert_false(n->v.host_features & (BIT(NET_F_CSUM) | BIT(NET_F_HOST_TSO4)));
    unmake();
}

/* The back end is deleted under the card. */
static void test_gone(void)
{
    struct virtio_net *n = make("netdev=n0");
    struct viv_net_hdr none = {0};
    struct viv_netdev was = net;
    uint8_t f[112] = {0};
    uint32_t used;
    uint16_t id;
    struct td d;

    start(&d, n, FEATURES);
    net.full = true;
    sent_with(&d, &none, net.sent);
    for (unsigned i = 0; i < 2; i++)
        td_add(&d, NET_Q_TX, &(struct td_seg){td_put(&d, f, sizeof(f)), sizeof(f), false}, 1, false);
    td_kick(&d, NET_Q_TX);
    g_assert_true(n->pair[0].tx_blocked);
    was.ops->link_changed(net.nic, false);
    was.ops->gone(net.nic);
    g_assert_null(n->netdev);
    for (unsigned i = 0; i < 3; i++)
        g_assert_true(td_used(&d, NET_Q_TX, &id, &used)); /* without another kick */
    sent_with(&d, &none, net.sent);
    td_kick(&d, NET_Q_RX);
    g_assert_false(n->v.broken);
    viv_netdev_detach(&net); /* frees the test's own */
    unmake();
}

static uint8_t control_on(struct td *d, unsigned queue, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
    uint8_t head[2] = {class, cmd}, ack = 0xee;
    struct td_seg seg[3] = {{td_put(d, head, 2), 2, false},
                            {td_put(d, data, len), len, false},
                            {td_put(d, &ack, 1), 1, true}};
    uint16_t id;
    uint32_t used;

    td_add(d, queue, seg, 3, false);
    td_kick(d, queue);
    g_assert_true(td_used(d, queue, &id, &used));
    td_read(d, seg[2].gpa, &ack, 1);
    return ack;
}

static uint8_t control(struct td *d, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
    return control_on(d, 2, class, cmd, data, len);
}

static bool passes(struct virtio_net *n, const uint8_t *to)
{
    uint8_t f[64];

    make_frame(f, sizeof(f), to);
    return virtio_net_filter(n, f, sizeof(f));
}

static void test_filter(void)
{
    struct virtio_net *n = make("netdev=n0,mac=52:54:00:01:02:03");
    uint8_t table[4 + 6 + 4 + 6] = {1}, on = 1, off = 0, huge[4] = {255, 255, 255, 255}, many[8 + 600] = {100};
    uint8_t f[64], vlan[2] = {5, 0};
    struct viv_nic_filter facts;
    struct td d;

    start(&d, n, FEATURES);
    g_assert_true(passes(n, other)); /* promiscuous until told */
    g_assert_false(n->filter_told);
    g_assert_cmpuint(control(&d, 0, 0, &off, 1), ==, 0);
    g_assert_false(passes(n, other));
    g_assert_true(passes(n, own));
    g_assert_true(passes(n, broad));
    g_assert_false(passes(n, multi));
    memcpy(table + 4, other, 6);
    table[10] = 1;
    memcpy(table + 14, multi, 6);
    g_assert_cmpuint(control(&d, 1, 0, table, sizeof(table)), ==, 0);
    g_assert_true(passes(n, other));
    g_assert_true(passes(n, multi));
    g_assert_cmpuint(control(&d, 1, 0, huge, 4), ==, 1); /* says 4 G entries, brings none */
    g_assert_cmpuint(control(&d, 1, 0, many, sizeof(many)), ==, 0); /* more than we keep: takes all unicast */
    g_assert_true(passes(n, other));
    g_assert_false(passes(n, multi));
    g_assert_cmpuint(control(&d, 0, 5, &on, 1), ==, 0);
    g_assert_false(passes(n, broad));
    g_assert_cmpuint(control(&d, 0, 1, &on, 1), ==, 0);
    g_assert_true(passes(n, multi));
    g_assert_cmpuint(control(&d, 1, 1, other, 6), ==, 0);
    g_assert_cmpmem(n->mac, 6, other, 6);
    g_assert_cmpuint(control(&d, 9, 0, &on, 1), ==, 1);
    /* VLAN 5 is wanted, 6 is not */
    g_assert_cmpuint(control(&d, 2, 0, vlan, 2), ==, 0);
    make_frame(f, sizeof(f), other);
    viv_st_be16(f + 12, 0x8100);
    viv_st_be16(f + 14, 5);
    g_assert_true(virtio_net_filter(n, f, sizeof(f)));
    viv_st_be16(f + 14, 6);
    g_assert_false(virtio_net_filter(n, f, sizeof(f)));
    g_assert_true(n->filter_told);
    virtio_net_filter_facts(n, &facts);
    g_assert_false(n->filter_told);
    g_assert_false(facts.promiscuous || facts.broadcast || facts.multicast_overflow);
    g_assert_true(facts.unicast_overflow && facts.multicast == VIV_NIC_ALL && facts.unicast == VIV_NIC_NORMAL && facts.vlan == VIV_NIC_NORMAL);
    g_assert_cmphex(facts.vlans[0], ==, 1 << 5);
    vlan[1] = 0x10;
    g_assert_cmpuint(control(&d, 2, 0, vlan, 2), ==, 1);
    unmake();
}

static uint8_t *save(size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_dev_save_all(w);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

static void test_state(void)
{
    struct virtio_net *n = make("netdev=n0,mac=52:54:00:01:02:03");
    g_autofree uint8_t *one = NULL, *two = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_reader *r;
    uint8_t off = 0, f[64];
    size_t len1, len2;
    uint16_t id;
    uint32_t used;
    struct td d;

    start(&d, n, FEATURES);
    control(&d, 0, 0, &off, 1);
    control(&d, 1, 1, other, 6);
    give_buffer(&d, 1526);
    one = save(&len1);
    unmake();
    n = make("netdev=n0,mac=52:54:00:01:02:03");
    r = viv_state_reader_new(one, len1);
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_state_reader_free(r);
    two = save(&len2);
    g_assert_cmpmem(one, len1, two, len2);
    d.v = &n->v;
    d.mem = board.mem;
    make_frame(f, sizeof(f), own);
    g_assert_true(net.ops->receive(net.nic, f, sizeof(f))); /* filtered out: the address was changed */
    g_assert_false(td_used(&d, NET_Q_RX, &id, &used));
    make_frame(f, sizeof(f), other);
    g_assert_true(net.ops->receive(net.nic, f, sizeof(f)));
    g_assert_true(td_used(&d, NET_Q_RX, &id, &used));
    unmake();
}

/* Four pairs, of which the driver uses two. */
static void test_pairs(void)
{
    struct td_seg seg;
    struct virtio_net *n;
    uint8_t c[12], f[112] = {0}, two[2] = {2, 0}, five[2] = {5, 0};
    struct td d;

    n = make("netdev=n0,mq=on");
    g_assert_false(n->v.host_features & BIT(NET_F_MQ));
    unmake();
    wanted_queues = 4;
    n = make("netdev=n0,mq=on");
    viv_virtio_config_read(&n->v, 0, c, sizeof(c));
    g_assert_cmpuint(viv_ld_le16(c + 8), ==, 4);
    td_start(&d, &n->v, FEATURES | BIT(NET_F_MQ), 0x10000);
    for (unsigned i = 0; i < 9; i++)
        td_queue_start(&d, i, 16);
    td_go(&d);
    make_frame(f + 12, 100, other);
    seg = (struct td_seg){td_put(&d, f, sizeof(f)), sizeof(f), false};
    td_add(&d, 3, &seg, 1, false);
    td_kick(&d, 3);
    g_assert_cmpuint(more[0].sent, ==, 0); /* not in use yet */
    g_assert_cmpuint(control_on(&d, 8, 4, 0, five, 2), ==, 1);
    g_assert_cmpuint(control_on(&d, 8, 4, 0, "\0", 2), ==, 1);
    g_assert_cmpuint(control_on(&d, 8, 4, 0, two, 2), ==, 0);
    g_assert_cmpuint(net.used_queues, ==, 2);
    td_kick(&d, 3);
    g_assert_cmpuint(more[0].sent, ==, 1);
    g_assert_cmpuint(net.sent, ==, 0);
    seg = (struct td_seg){td_alloc(&d, 1526), 1526, true};
    td_add(&d, 2, &seg, 1, false);
    g_assert_true(more[0].ops->can_receive(more[0].nic));
    g_assert_false(more[1].ops->can_receive(more[1].nic));
    g_assert_true(more[0].ops->receive(more[0].nic, f + 12, 100));
    viv_virtio_set_status(&n->v, 0);
    g_assert_cmpuint(net.used_queues, ==, 1);
    unmake();
    wanted_queues = 1;
}

static void refused(const char *text, const char *word)
{
    struct viv_virtio_mmio *m;
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(try_make(text, &m, &err), <, 0);
    if (!strstr(err.text, word))
        g_error("'%s' is not in: %s", word, err.text);
    free_board();
}

static void test_options(void)
{
    uint8_t c[12];
    struct virtio_net *n;

    refused("netdev=nope", "nope");
    refused("netdev=n0,mac=1:2:3", "mac=");
    refused("netdev=n0,guest_announce=on", "guest_announce");
    refused("netdev=n0,rx_queue_size=100", "powers of two");
    refused("netdev=n0,host_mtu=20", "68");
    n = make("netdev=n0,mac=52:54:00:01:02:03,host_mtu=9000,csum=off");
    viv_virtio_config_read(&n->v, 0, c, 12);
    g_assert_cmpmem(c, 6, own, 6);
    g_assert_cmpuint(viv_ld_le16(c + 6), ==, 1);
    g_assert_cmpuint(viv_ld_le16(c + 10), ==, 9000);
    unmake();
    board.vm_identity = 0x00abcdef; /* two VMs, two addresses */
    n = make("netdev=n0");
    g_assert_cmpuint(n->mac[3], ==, 0xab);
    unmake();
    board.vm_identity = 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-net/receive", test_receive);
    g_test_add_func("/virtio-net/receive-large", test_receive_large);
    g_test_add_data_func("/virtio-net/receive-at-once/split", NULL, test_receive_at_once);
    g_test_add_data_func("/virtio-net/receive-at-once/packed", "packed", test_receive_at_once);
    g_test_add_func("/virtio-net/send", test_send);
    g_test_add_func("/virtio-net/send-offloads", test_send_offloads);
    g_test_add_func("/virtio-net/gone", test_gone);
    g_test_add_func("/virtio-net/pairs", test_pairs);
    g_test_add_func("/virtio-net/filter", test_filter);
    g_test_add_func("/virtio-net/state", test_state);
    g_test_add_func("/virtio-net/options", test_options);
    return g_test_run();
}
