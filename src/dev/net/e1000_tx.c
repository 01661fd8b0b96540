/* e1000: frames from the guest (3.3 descriptors, 3.4 ring, 3.5 segmentation).
 *
 * Descriptors are taken one after the other into a buffer; when it holds a whole frame that goes to the back end, or waits there
 * until the back end has room. One call takes so many and no more: the rest is left to a timer, so that no guest holds the device
 * lock with a ring of megabytes. */
#include "dev/net/e1000.h"

#include "base/bytes.h"
#include "base/log.h"
#include "host/clock.h"
#include "mem/dma.h"
#include "net/csum.h"

#include <string.h>

enum { CMD_EOP = 1, CMD_IC = 4, CMD_TSE = 4, CMD_RS = 8, CMD_DEXT = 0x20, CMD_VLE = 0x40 };
enum { TUCMD_TCP = 1, TUCMD_IP4 = 2, TUCMD_TSE = 4 };
enum { POPTS_IXSM = 1, POPTS_TXSM = 2 };
enum { TCTL_PSP = 1 << 3, ETH = 14, TAG = 4, FCS = 4 };
enum { CALL_STEPS = 512, CALL_BYTES = 1 << 20 };

void e1000_tx_reset(struct e1000 *e)
{
    uint8_t *buf = e->tx.buf;

    memset(&e->tx, 0, sizeof(e->tx));
    e->tx.buf = buf;
    e->tx_blocked = false;
}

static uint8_t command(const struct e1000_tx *t)
{
    return t->desc[11];
}

static bool is_extended(const struct e1000_tx *t)
{
    return command(t) & CMD_DEXT;
}

/* Ready for the next packet. */
static void packet_done(struct e1000_tx *t)
{
    t->len = t->segments = 0;
    t->cut = t->whole = t->skip = t->insert_vlan = t->started = false;
    t->options = 0;
}

void e1000_tx_drop(struct e1000 *e)
{
    if (e->tx.ready && e->tx.last)
        packet_done(&e->tx);
    else
        e->tx.skip = e->tx.started;
    e->tx.ready = e->tx.whole = false;
}

static void give_up(struct e1000_tx *t, const char *why)
{
    viv_guest_error("e1000", "%s: the packet is not sent", why);
    t->skip = true;
}

/* ---- checksums ---- */

/* Sum of [start, end], stored at `at`; end 0: to the last byte. */
static void put_sum(struct e1000_tx *t, unsigned start, unsigned end, unsigned at)
{
    size_t stop = end && end < t->len ? end + 1u : t->len;

    if (start < stop && at + 2 <= t->len)
        viv_st_be16(t->buf + at, ~viv_net_fold(viv_net_sum(t->buf + start, stop - start)));
}

static void put_sums(struct e1000_tx *t)
{
    const struct e1000_context *c = &t->ctx[t->cut];

    if (t->options & POPTS_IXSM)
        put_sum(t, c->ipcss, c->ipcse, c->ipcso);
    if (t->options & POPTS_TXSM)
        put_sum(t, c->tucss, c->tucse, c->tucso);
}

/* ---- segmentation (3.5) ---- */

bool e1000_context_good(const struct e1000_context *c)
{
    return c->mss && c->ipcss + (c->ip4 ? 20u : 40u) <= c->hdrlen && c->tucss + (c->tcp ? 20u : 8u) <= c->hdrlen &&
           c->tucso + 2u <= c->hdrlen && c->ipcss <= c->tucss;
}

/* What depends on the length: 3.5.7. */
static void fix_lengths(struct e1000_tx *t, const struct e1000_context *c)
{
    uint32_t payload = t->len - c->tucss;
    uint8_t *sum = t->buf + c->tucso;

    if (c->ip4)
        viv_st_be16(t->buf + c->ipcss + 2, (uint16_t)(t->len - c->ipcss));
    else
        viv_st_be16(t->buf + c->ipcss + 4, (uint16_t)(t->len - c->ipcss - 40));
    if (!c->tcp)
        viv_st_be16(t->buf + c->tucss + 4, (uint16_t)payload);
    viv_st_be16(sum, viv_net_fold(viv_ld_be16(sum) + viv_net_fold(payload))); /* the pseudo header comes without a length */
}

static void make_segment(struct e1000_tx *t, bool last)
{
    const struct e1000_context *c = &t->ctx[1];
    uint8_t *tcp = t->buf + c->tucss;

    if (!t->segments)
        memcpy(t->header, t->buf, c->hdrlen);
    if (c->ip4)
        viv_st_be16(t->buf + c->ipcss + 4, (uint16_t)(viv_ld_be16(t->header + c->ipcss + 4) + t->segments));
    if (c->tcp) {
        viv_st_be32(tcp + 4, viv_ld_be32(t->header + c->tucss + 4) + t->segments * c->mss);
        if (!last)
            tcp[13] &= (uint8_t)~0x09; /* FIN and PSH belong to the last one */
    }
    fix_lengths(t, c);
    put_sums(t);
}

/* After a segment that was not the last: the header again. */
static void next_segment(struct e1000_tx *t)
{
    memcpy(t->buf, t->header, t->ctx[1].hdrlen);
    t->len = t->ctx[1].hdrlen;
    t->segments++;
}

/* ---- frames ---- */

/* Can the back end cut it? */
static bool back_end_cuts(struct e1000 *e)
{
    const struct e1000_context *c = &e->tx.ctx[1];
    unsigned needs = VIV_NET_CSUM | (c->ip4 ? VIV_NET_TSO4 : VIV_NET_TSO6);

    return c->tcp && e->tx.options & POPTS_TXSM && !e->tx.insert_vlan && e->nic.netdev &&
           (viv_netdev_tx_offloads(e->nic.netdev) & needs) == needs && !(*e1000_reg(e, E_RCTL) & RCTL_LBM) &&
           c->hdrlen + c->paylen <= 65535 + ETH && c->tucso > c->tucss;
}

static void take_vlan(struct e1000 *e)
{
    struct e1000_tx *t = &e->tx;

    if (command(t) & CMD_VLE && *e1000_reg(e, E_CTRL) & CTRL_VME) {
        t->insert_vlan = true;
        t->vlan = viv_ld_le16(t->desc + 14);
    }
}

static void start_packet(struct e1000 *e)
{
    struct e1000_tx *t = &e->tx;

    t->started = true;
    take_vlan(e);
    if (!is_extended(t))
        return;
    t->options = t->desc[13];
    t->cut = command(t) & CMD_TSE;
    if (t->cut && !e1000_context_good(&t->ctx[1])) {
        give_up(t, "a segmentation context that makes no sense");
        t->cut = false;
    }
    t->whole = t->cut && !t->skip && back_end_cuts(e);
}

static void insert_tag(struct e1000 *e)
{
    struct e1000_tx *t = &e->tx;

    memmove(t->buf + 12 + TAG, t->buf + 12, t->len - 12);
    viv_st_be16(t->buf + 12, (uint16_t)*e1000_reg(e, E_VET));
    viv_st_be16(t->buf + 14, t->vlan);
    t->len += TAG;
}

/* buf holds a frame: what the chip adds to it. */
static void make_frame(struct e1000 *e, bool last)
{
    struct e1000_tx *t = &e->tx;

    if (t->whole)
        fix_lengths(t, &t->ctx[1]);
    else if (t->cut)
        make_segment(t, last);
    else if (is_extended(t))
        put_sums(t);
    else if (command(t) & CMD_IC)
        put_sum(t, t->desc[13], 0, t->desc[10]);
    if (t->whole && t->options & POPTS_IXSM)
        put_sum(t, t->ctx[1].ipcss, t->ctx[1].ipcse, t->ctx[1].ipcso);
    if (t->insert_vlan)
        insert_tag(e);
    if (t->len < NIC_MIN_FRAME && *e1000_reg(e, E_TCTL) & TCTL_PSP) {
        memset(t->buf + t->len, 0, NIC_MIN_FRAME - t->len);
        t->len = NIC_MIN_FRAME;
    }
    t->ready = true;
    t->last = last;
}

static void count(struct e1000 *e)
{
    const struct e1000_tx *t = &e->tx;
    size_t len = t->len + FCS;

    e1000_count(e, E_GPTC, 1);
    e1000_count(e, E_TPT, 1);
    e1000_count64(e, E_GOTCL, len);
    e1000_count64(e, E_TOTL, len);
    e1000_count_sizes(e, E_PTC64, len);
    if (t->buf[0] & 1)
        e1000_count(e, viv_ld_be32(t->buf) == UINT32_MAX && viv_ld_be16(t->buf + 4) == 0xffff ? E_BPTC : E_MPTC, 1);
    if (t->cut && t->last)
        e1000_count(e, E_TSCTC, 1);
}

static bool send_frame(struct e1000 *e)
{
    const struct e1000_tx *t = &e->tx;
    const struct e1000_context *c = &t->ctx[1];
    struct viv_net_hdr hdr = {.flags = VIV_NET_HDR_NEEDS_CSUM};
    struct iovec iov = {t->buf, t->len};

    if (*e1000_reg(e, E_RCTL) & RCTL_LBM) { /* MAC loopback */
        e1000_receive(e, t->buf, t->len);
        e1000_receive_done(e);
        return true;
    }
    if (!e->nic.netdev || !e1000_link(e))
        return true;
    if (!t->whole)
        return viv_netdev_send(e->nic.netdev, &iov, 1);
    hdr.csum_start = c->tucss + (t->insert_vlan ? TAG : 0);
    hdr.csum_offset = c->tucso - c->tucss;
    hdr.hdr_len = c->hdrlen + (t->insert_vlan ? TAG : 0);
    if (t->len > hdr.hdr_len + (uint32_t)c->mss) {
        hdr.gso_type = c->ip4 ? VIV_NET_GSO_TCPV4 : VIV_NET_GSO_TCPV6;
        hdr.gso_size = c->mss;
    }
    return viv_netdev_send_hdr(e->nic.netdev, &hdr, &iov, 1);
}

/* The ready frame to the back end. False: it has no room, and will call. */
static bool give(struct e1000 *e)
{
    struct e1000_tx *t = &e->tx;

    if (!send_frame(e)) {
        e->tx_blocked = true;
        return false;
    }
    count(e);
    t->ready = false;
    if (t->last)
        packet_done(t);
    else
        next_segment(t);
    return true;
}

/* ---- descriptors ---- */

/* 3.3.6 */
static void load_context(struct e1000_tx *t)
{
    const uint8_t *d = t->desc;
    struct e1000_context *c = &t->ctx[!!(d[11] & TUCMD_TSE)];

    *c = (struct e1000_context){
        .ipcss = d[0], .ipcso = d[1], .ipcse = viv_ld_le16(d + 2), .tucss = d[4], .tucso = d[5], .tucse = viv_ld_le16(d + 6),
        .paylen = viv_ld_le32(d + 8) & 0xfffff, .tcp = d[11] & TUCMD_TCP, .ip4 = d[11] & TUCMD_IP4, .hdrlen = d[13],
        .mss = viv_ld_le16(d + 14),
    };
}

static unsigned ring_count(struct e1000 *e)
{
    return (*e1000_reg(e, E_TDLEN) & 0xfff80) / E_DESC;
}

static uint64_t head_addr(struct e1000 *e)
{
    return ((uint64_t)*e1000_reg(e, E_TDBAH) << 32 | (*e1000_reg(e, E_TDBAL) & ~15u)) + (uint64_t)*e1000_reg(e, E_TDH) * E_DESC;
}

static bool may_fetch(struct e1000 *e)
{
    unsigned n = ring_count(e), head = *e1000_reg(e, E_TDH), tail = *e1000_reg(e, E_TDT);

    return *e1000_reg(e, E_TCTL) & TCTL_EN && viv_pci_bus_master(&e->pci) && head < n && tail < n && head != tail;
}

/* The descriptor is done with: written back when the driver wants to hear of it (3.3.3.2). */
static uint32_t finish_desc(struct e1000 *e)
{
    struct e1000_tx *t = &e->tx;
    uint32_t head = *e1000_reg(e, E_TDH);
    uint8_t status = t->desc[12] | 1;

    t->in_desc = false;
    t->taken = 0;
    if (command(t) & CMD_RS)
        viv_dma_write(e->pci.dev.board->mem, head_addr(e) + 12, &status, 1);
    *e1000_reg(e, E_TDH) = head + 1 >= ring_count(e) ? 0 : head + 1;
    return command(t) & CMD_RS ? INT_TXDW : 0;
}

/* Bytes of the descriptor's buffer into ours, as many as there is room for. Returns how many. */
static uint32_t take_bytes(struct e1000 *e, uint32_t length)
{
    struct e1000_tx *t = &e->tx;
    uint32_t room = t->cut && !t->whole ? t->ctx[1].hdrlen + (uint32_t)t->ctx[1].mss : TX_FRAME_MAX - TAG;
    uint32_t n = length - t->taken;

    room = t->len < room ? room - t->len : 0;
    if (t->skip) {
        t->taken = length;
        return 0;
    }
    n = room < n ? room : n;
    if (n && viv_dma_read(e->pci.dev.board->mem, viv_ld_le64(t->desc) + t->taken, t->buf + t->len, n) < 0) {
        give_up(t, "a buffer outside memory");
        t->taken = length;
        return 0;
    }
    t->len += n;
    t->taken += n;
    return n;
}

/* A data descriptor, as far as there is room. Returns bytes taken. */
static uint32_t take_data(struct e1000 *e, uint32_t *causes)
{
    struct e1000_tx *t = &e->tx;
    uint32_t length = is_extended(t) ? viv_ld_le32(t->desc + 8) & 0xfffff : viv_ld_le16(t->desc + 8), n;
    bool eop = command(t) & CMD_EOP;

    if (!t->started)
        start_packet(e);
    else
        take_vlan(e);
    n = take_bytes(e, length);
    if (t->taken < length) { /* the buffer is full */
        if (t->cut && !t->whole)
            make_frame(e, false);
        else
            give_up(t, "it is longer than any frame");
        return n;
    }
    if (eop && !t->skip && t->len >= ETH && (!t->cut || t->len >= t->ctx[1].hdrlen))
        make_frame(e, true);
    else if (eop)
        packet_done(t);
    *causes |= finish_desc(e);
    return n;
}

void e1000_transmit(struct e1000 *e)
{
    struct e1000_tx *t = &e->tx;
    unsigned descs = 0, steps = 0, bytes = 0;
    uint32_t causes = 0;

    while (e->running && !e->tx_blocked) {
        if (t->ready && !give(e))
            break;
        steps++;
        if (!t->in_desc && !may_fetch(e))
            break;
        if (steps > CALL_STEPS || bytes >= CALL_BYTES) {
            viv_timer_set(e->tx_timer, viv_clock_ns(VIV_CLOCK_GUEST));
            break;
        }
        if (!t->in_desc) {
            if (viv_dma_read(e->pci.dev.board->mem, head_addr(e), t->desc, E_DESC) < 0) {
                viv_guest_error("e1000", "transmit ring outside memory");
                break;
            }
            t->in_desc = true;
            descs++;
        }
        if (is_extended(t) && !(t->desc[10] >> 4)) {
            if (t->started)
                give_up(t, "a context in the middle of a packet");
            else
                load_context(t);
            causes |= finish_desc(e);
        } else {
            bytes += take_data(e, &causes);
        }
    }
    if (descs && *e1000_reg(e, E_TDH) == *e1000_reg(e, E_TDT))
        causes |= INT_TXQE;
    if (causes)
        e1000_interrupt(e, causes);
}
