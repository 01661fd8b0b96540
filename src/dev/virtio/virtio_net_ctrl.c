/* virtio-net's receive filter and the control queue that sets it (5.1.6.5). */
#include "dev/virtio/virtio_net.h"

#include "base/bytes.h"
#include "bus/vmevent.h"

#include <glib.h>
#include <jansson.h>
#include <string.h>

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_VLAN = 2, CLASS_MQ = 4 };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };
enum { VLAN_ADD = 0, VLAN_DEL = 1 };
enum { MQ_PAIRS_SET = 0 };
enum { ACK_OK = 0, ACK_ERR = 1 };
enum { ETHERTYPE_VLAN = 0x8100, ETH_HEADER = 14, CTRL_HEADER = 2 };

void virtio_net_filter_reset(struct virtio_net *n)
{
    n->promisc = true; /* until the driver says what it wants */
    n->allmulti = n->alluni = n->nomulti = n->nouni = n->nobcast = false;
    n->uni_count = n->multi_count = 0;
    n->uni_overflow = n->multi_overflow = false;
    memset(n->macs, 0, sizeof(n->macs));
    memset(n->vlans, 0, sizeof(n->vlans));
}

static bool in_table(const struct virtio_net *n, uint32_t from, uint32_t count, const uint8_t *mac)
{
    for (uint32_t i = from; i < from + count; i++) {
        if (!memcmp(n->macs[i], mac, 6))
            return true;
    }
    return false;
}

static bool vlan_wanted(const struct virtio_net *n, const uint8_t *frame, size_t len)
{
    unsigned id;

    if (len < ETH_HEADER + 4 || viv_ld_be16(frame + 12) != ETHERTYPE_VLAN ||
        !viv_virtio_has(&n->v, NET_F_CTRL_VLAN))
        return true;
    id = viv_ld_be16(frame + 14) & 0xfff;
    return n->vlans[id / 32] >> (id % 32) & 1;
}

bool virtio_net_filter(const struct virtio_net *n, const uint8_t *frame, size_t len)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (len < ETH_HEADER)
        return false;
    if (n->promisc)
        return true;
    if (!vlan_wanted(n, frame, len))
        return false;
    if (!memcmp(frame, broadcast, 6))
        return !n->nobcast;
    if (frame[0] & 1)
        return !n->nomulti &&
               (n->allmulti || n->multi_overflow || in_table(n, n->uni_count, n->multi_count, frame));
    return !n->nouni && (n->alluni || n->uni_overflow || !memcmp(frame, n->mac, 6) ||
                         in_table(n, 0, n->uni_count, frame));
}

void virtio_net_filter_facts(struct virtio_net *n, struct viv_nic_filter *out)
{
    static const uint32_t none[NET_VLANS / 32];
    bool tags = viv_virtio_has(&n->v, NET_F_CTRL_VLAN);

    n->filter_told = false;
    *out = (struct viv_nic_filter){
        .unicast = n->nouni ? VIV_NIC_NONE : n->alluni ? VIV_NIC_ALL : VIV_NIC_NORMAL,
        .multicast = n->nomulti ? VIV_NIC_NONE : n->allmulti ? VIV_NIC_ALL : VIV_NIC_NORMAL,
        .vlan = !tags ? VIV_NIC_ALL : memcmp(n->vlans, none, sizeof(none)) ? VIV_NIC_NORMAL : VIV_NIC_NONE,
        .promiscuous = n->promisc,
        .broadcast = !n->nobcast,
        .unicast_overflow = n->uni_overflow,
        .multicast_overflow = n->multi_overflow,
        .macs = (const uint8_t(*)[6])n->macs,
        .unicasts = n->uni_count,
        .multicasts = n->multi_count,
        .vlans = n->vlans,
    };
}

/* Once, until somebody looks. */
static void filter_changed(struct virtio_net *n)
{
    g_autofree char *device = viv_dev_object_path(n->v.dev), *path = g_strdup_printf("%s/virtio-backend", device);
    json_t *data;

    if (n->filter_told)
        return;
    n->filter_told = true;
    data = json_pack("{s:s}", "path", path);
    if (n->v.dev->id)
        json_object_set_new(data, "name", json_string(n->v.dev->id));
    viv_vm_event_json("NIC_RX_FILTER_CHANGED", data);
}

static uint8_t control_rx(struct virtio_net *n, struct viv_virtq_elem *e, uint8_t cmd)
{
    bool *const flag[] = {&n->promisc, &n->allmulti, &n->alluni, &n->nomulti, &n->nouni, &n->nobcast};
    uint8_t on;

    if (!viv_virtio_has(&n->v, cmd <= RX_ALLMULTI ? NET_F_CTRL_RX : NET_F_CTRL_RX_EXTRA) ||
        cmd > RX_NOBCAST || viv_iov_to_buf(e->out, e->out_num, CTRL_HEADER, &on, 1) != 1)
        return ACK_ERR;
    *flag[cmd] = on != 0;
    return ACK_OK;
}

/* Two lists, each a le32 count and that many addresses. */
static uint8_t set_table(struct virtio_net *n, struct viv_virtq_elem *e)
{
    uint64_t at = CTRL_HEADER;
    uint32_t total = 0;

    n->uni_count = n->multi_count = 0;
    n->uni_overflow = n->multi_overflow = false;
    for (int list = 0; list < 2; list++) {
        uint32_t *count = list ? &n->multi_count : &n->uni_count;
        uint8_t raw[4];
        uint64_t entries;

        if (viv_iov_to_buf(e->out, e->out_num, at, raw, 4) != 4)
            return ACK_ERR;
        entries = viv_ld_le32(raw);
        at += 4;
        if (entries * 6 > e->out_len - at)
            return ACK_ERR;
        if (entries > NET_MAC_TABLE - total) {
            *(list ? &n->multi_overflow : &n->uni_overflow) = true;
        } else {
            viv_iov_to_buf(e->out, e->out_num, at, n->macs[total], entries * 6);
            *count = entries;
            total += entries;
        }
        at += entries * 6;
    }
    return ACK_OK;
}

static uint8_t control_mac(struct virtio_net *n, struct viv_virtq_elem *e, uint8_t cmd)
{
    uint8_t mac[6];

    if (cmd == MAC_TABLE_SET && viv_virtio_has(&n->v, NET_F_CTRL_RX))
        return set_table(n, e);
    if (cmd != MAC_ADDR_SET || !viv_virtio_has(&n->v, NET_F_CTRL_MAC_ADDR) ||
        viv_iov_to_buf(e->out, e->out_num, CTRL_HEADER, mac, 6) != 6)
        return ACK_ERR;
    memcpy(n->mac, mac, 6);
    return ACK_OK;
}

static uint8_t control_vlan(struct virtio_net *n, struct viv_virtq_elem *e, uint8_t cmd)
{
    uint8_t raw[2];
    unsigned id;

    if (!viv_virtio_has(&n->v, NET_F_CTRL_VLAN) || cmd > VLAN_DEL ||
        viv_iov_to_buf(e->out, e->out_num, CTRL_HEADER, raw, 2) != 2)
        return ACK_ERR;
    id = viv_ld_le16(raw);
    if (id >= NET_VLANS)
        return ACK_ERR;
    if (cmd == VLAN_ADD)
        n->vlans[id / 32] |= 1u << (id % 32);
    else
        n->vlans[id / 32] &= ~(1u << (id % 32));
    return ACK_OK;
}

/* 5.1.6.5.6.1 */
static uint8_t control_mq(struct virtio_net *n, struct viv_virtq_elem *e, uint8_t cmd)
{
    uint8_t raw[2];
    unsigned count;

    if (!viv_virtio_has(&n->v, NET_F_MQ) || cmd != MQ_PAIRS_SET ||
        viv_iov_to_buf(e->out, e->out_num, CTRL_HEADER, raw, 2) != 2)
        return ACK_ERR;
    count = viv_ld_le16(raw);
    if (!count || count > n->pairs)
        return ACK_ERR;
    if (count == n->active)
        return ACK_OK;
    virtio_net_set_active(n, count);
    viv_virtq_yield(&n->v, virtio_net_ctrl_queue(n)); /* the host's kernel takes its time */
    return ACK_OK;
}

static uint8_t execute(struct virtio_net *n, struct viv_virtq_elem *e)
{
    uint8_t head[CTRL_HEADER], ack;

    if (viv_iov_to_buf(e->out, e->out_num, 0, head, sizeof(head)) != sizeof(head))
        return ACK_ERR;
    switch (head[0]) {
    case CLASS_RX:
        ack = control_rx(n, e, head[1]);
        break;
    case CLASS_MAC:
        ack = control_mac(n, e, head[1]);
        break;
    case CLASS_VLAN:
        ack = control_vlan(n, e, head[1]);
        break;
    case CLASS_MQ:
        return control_mq(n, e, head[1]);
    default:
        return ACK_ERR;
    }
    if (ack == ACK_OK)
        filter_changed(n);
    return ack;
}

void virtio_net_control(struct virtio_net *n)
{
    unsigned queue = virtio_net_ctrl_queue(n);
    struct viv_virtq_elem *e;
    bool any = false;

    while ((e = viv_virtq_pop(&n->v, queue))) {
        uint8_t ack;

        if (e->out_len < CTRL_HEADER || e->in_len < 1) {
            viv_virtq_drop(e);
            viv_virtio_set_broken(&n->v, "a control request without header or answer");
            return;
        }
        ack = execute(n, e);
        viv_iov_from_buf(e->in, e->in_num, 0, &ack, 1);
        viv_virtq_push(e, 1);
        any = true;
    }
    if (any)
        viv_virtq_notify(&n->v, queue);
}
