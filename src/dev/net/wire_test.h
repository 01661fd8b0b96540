/* The other end of a card's wire, for tests: stands in for net/net.c. Frames sent are kept, frames to the card are given by hand. */
#ifndef VIV_DEV_NET_WIRE_TEST_H
#define VIV_DEV_NET_WIRE_TEST_H

#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"
#include "net/net.h"

#include <glib.h>
#include <string.h>

#define RAM_SIZE (4u << 20)

struct viv_netdev {
    const struct viv_nic_ops *ops;
    void *nic;
    GPtrArray *sent; /* of GBytes */
    struct viv_net_hdr hdr; /* of the last one */
    unsigned tx_offloads;
    bool full, trusted, down;
    unsigned changed;
};

static struct viv_netdev wire;

struct viv_netdev *viv_netdev_find(const char *id)
{
    return !strcmp(id, "n0") ? &wire : NULL;
}

int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic, struct viv_err *err)
{
    n->ops = ops;
    n->nic = nic;
    return 0;
}

void viv_netdev_detach(struct viv_netdev *n)
{
    n->ops = NULL;
}

unsigned viv_netdev_tx_offloads(const struct viv_netdev *n)
{
    return n->tx_offloads;
}

unsigned viv_netdev_rx_offloads(const struct viv_netdev *n)
{
    return 0;
}

bool viv_netdev_rx_trusted(const struct viv_netdev *n)
{
    return n->trusted;
}

void viv_netdev_restore_link(struct viv_netdev *n, bool up)
{
    n->down = !up;
}

bool viv_netdev_link_up(const struct viv_netdev *n)
{
    return !n->down;
}

bool viv_netdev_send_hdr(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    GByteArray *a;

    if (n->full)
        return false;
    a = g_byte_array_new();
    for (int i = 0; i < iovcnt; i++)
        g_byte_array_append(a, iov[i].iov_base, iov[i].iov_len);
    n->hdr = hdr ? *hdr : (struct viv_net_hdr){0};
    g_ptr_array_add(n->sent, g_byte_array_free_to_bytes(a));
    return true;
}

bool viv_netdev_send(struct viv_netdev *n, const struct iovec *iov, int iovcnt)
{
    return viv_netdev_send_hdr(n, NULL, iov, iovcnt);
}

void viv_netdev_set_rx(struct viv_netdev *n, unsigned offloads)
{
}

void viv_netdev_can_receive_changed(struct viv_netdev *n)
{
    n->changed++;
}

void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w)
{
}

int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, bool named, struct viv_err *err)
{
    return 0;
}

/* ---- a board with memory and a card ---- */

static struct viv_ram *ram;

static inline void wire_setup(const char *cls, const char *opts)
{
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = RAM_SIZE};
    struct viv_err err = VIV_ERR_INIT;

    memset(&wire, 0, sizeof(wire));
    wire.sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    rig_init();
    if (!ram && viv_ram_new("pc.ram", RAM_SIZE, &ram, &err) < 0)
        g_error("%s", err.text);
    memset(ram->hva, 0, RAM_SIZE);
    d.ram = ram;
    viv_region_map(viv_region_new(rig.board.mem, &d), 0, 0);
    rig_add("i440FX", "addr=0");
    rig_add(cls, opts);
    viv_dev_lock();
    viv_dev_set_running_all(true);
    viv_dev_unlock();
}

static inline void wire_teardown(void)
{
    rig_fini();
    g_ptr_array_unref(wire.sent);
}

static inline bool wire_give(const void *frame, size_t len)
{
    bool taken;

    viv_dev_lock();
    taken = wire.ops->can_receive(wire.nic) && wire.ops->receive(wire.nic, frame, len);
    if (wire.ops->receive_done)
        wire.ops->receive_done(wire.nic);
    viv_dev_unlock();
    return taken;
}

static inline void wire_set_full(bool full)
{
    viv_dev_lock();
    wire.full = full;
    if (!full)
        wire.ops->send_ready(wire.nic);
    viv_dev_unlock();
}

/* The n-th frame that was sent. */
static inline const uint8_t *wire_sent(unsigned n, size_t *len)
{
    g_assert_cmpuint(n, <, wire.sent->len);
    return g_bytes_get_data(g_ptr_array_index(wire.sent, n), len);
}

static inline uint8_t *at(uint64_t gpa)
{
    return (uint8_t *)ram->hva + gpa;
}

#endif
