/* e1000: frames to the guest (3.2). */
#include "dev/net/e1000.h"

#include "base/bytes.h"
#include "base/log.h"
#include "mem/dma.h"
#include "net/csum.h"

#include <string.h>

enum { RXD_DD = 1, RXD_EOP = 2, RXD_IXSM = 4, RXD_VP = 8, RXD_TCPCS = 0x20, RXD_IPCS = 0x40, RXD_PIF = 0x80 };
enum { RXD_TCPE = 0x20, RXD_IPE = 0x40 };
enum { RXCSUM_IPOFL = 1 << 8, RXCSUM_TUOFL = 1 << 9 };
enum { FCS = 4, ETH = 14 };

static unsigned ring_count(struct e1000 *e)
{
    return (*e1000_reg(e, E_RDLEN) & 0xfff80) / E_DESC;
}

/* 13.4.22 */
static unsigned buffer_size(struct e1000 *e)
{
    uint32_t rctl = *e1000_reg(e, E_RCTL);
    unsigned size = 2048u >> (rctl >> 16 & 3);

    return rctl & RCTL_BSEX && size < 2048 ? size * 16 : size;
}

static unsigned available(struct e1000 *e)
{
    unsigned n = ring_count(e), head = *e1000_reg(e, E_RDH), tail = *e1000_reg(e, E_RDT);

    if (head >= n || tail >= n) /* the ring was not set up */
        return 0;
    return tail >= head ? tail - head : n - head + tail;
}

bool e1000_can_receive(void *nic)
{
    struct e1000 *e = nic;

    return e->running && *e1000_reg(e, E_RCTL) & RCTL_EN && e1000_link(e) && viv_pci_bus_master(&e->pci) && available(e);
}

/* ---- filters (3.2.1) ---- */

static bool address_matches(struct e1000 *e, const uint8_t *to)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t rctl = *e1000_reg(e, E_RCTL);
    unsigned shift = 4 - (rctl >> 12 & 3), hash;

    if (!memcmp(to, broadcast, 6) && rctl & RCTL_BAM)
        return true;
    if (rctl & (to[0] & 1 ? RCTL_MPE : RCTL_UPE))
        return true;
    for (unsigned i = 0; i < 16; i++) {
        uint32_t low = *e1000_reg(e, E_RAL + 8 * i), high = *e1000_reg(e, E_RAL + 8 * i + 4);

        if (high >> 31 && !(high >> 16 & 3) && viv_ld_le32(to) == low && viv_ld_le16(to + 4) == (high & 0xffff))
            return true;
    }
    if (!(to[0] & 1))
        return false;
    /* 13.5.1: twelve bits of the address, which ones is RCTL.MO's choice: [47:36], [46:35], [45:34], [43:32] */
    shift = (rctl >> 12 & 3) == 3 ? 0 : shift;
    hash = (viv_ld_le16(to + 4) >> shift) & 0xfff;
    return *e1000_reg(e, E_MTA + (hash >> 5) * 4) >> (hash & 31) & 1;
}

static bool tagged(struct e1000 *e, const uint8_t *frame, size_t len)
{
    return len >= ETH + 4 && viv_ld_be16(frame + 12) == (*e1000_reg(e, E_VET) & 0xffff);
}

static bool wanted(struct e1000 *e, const uint8_t *frame, size_t len)
{
    uint32_t rctl = *e1000_reg(e, E_RCTL);
    bool tag = tagged(e, frame, len);

    if (len > 1514 + (tag ? 4 : 0) && !(rctl & (RCTL_LPE | RCTL_SBP))) {
        e1000_count(e, E_ROC, 1);
        return false;
    }
    if (len > 16384 - FCS) { /* 3.2.2: no larger one is received */
        e1000_count(e, E_ROC, 1);
        return false;
    }
    if (tag && rctl & RCTL_VFE) {
        unsigned id = viv_ld_be16(frame + 14) & 0xfff;

        if (!(*e1000_reg(e, E_VFTA + (id >> 5) * 4) >> (id & 31) & 1))
            return false;
    }
    return address_matches(e, frame);
}

/* ---- checksums (3.2.9) ---- */

/* Over TCP or UDP and the pseudo header of what IPv4 header says; frames' bytes up to `end`. */
static bool transport_good(const uint8_t *ip, unsigned header, size_t len)
{
    uint32_t sum = viv_net_sum(ip + 12, 8) + ip[9] + (uint32_t)(len - header);

    return viv_net_fold(sum + viv_net_sum(ip + header, len - header)) == 0xffff;
}

/* Status and errors of the descriptor. */
static void check_sums(struct e1000 *e, const uint8_t *frame, size_t len, uint8_t *status, uint8_t *errors)
{
    uint32_t rxcsum = *e1000_reg(e, E_RXCSUM);
    const uint8_t *ip = frame + ETH;
    unsigned header = len >= ETH + 20 ? (ip[0] & 15) * 4 : 0;
    size_t total = header ? viv_ld_be16(ip + 2) : 0;

    if (!(rxcsum & (RXCSUM_IPOFL | RXCSUM_TUOFL)) || header < 20 || viv_ld_be16(frame + 12) != 0x0800 || ip[0] >> 4 != 4 ||
        total < header || ETH + total > len) {
        *status |= RXD_IXSM;
        return;
    }
    if (rxcsum & RXCSUM_IPOFL) {
        *status |= RXD_IPCS;
        if (viv_net_fold(viv_net_sum(ip, header)) != 0xffff)
            *errors |= RXD_IPE;
    }
    if (!(rxcsum & RXCSUM_TUOFL) || viv_ld_be16(ip + 6) & 0x3fff) /* fragments have no checksum of their own */
        return;
    if ((ip[9] == 6 && total - header >= 20) || (ip[9] == 17 && total - header >= 8 && viv_ld_be16(ip + header + 6))) {
        *status |= RXD_TCPCS;
        if (!(e->nic.netdev && viv_netdev_rx_trusted(e->nic.netdev)) && !transport_good(ip, header, total))
            *errors |= RXD_TCPE;
    }
}

/* ---- descriptors (3.2.3) ---- */

struct incoming {
    uint8_t head[16]; /* the addresses; the type follows, or the tag and it */
    size_t head_len, cut; /* bytes of head, of the frame that they stand for */
    const uint8_t *frame;
    size_t len, total; /* of the frame; of what is stored, padding and FCS included */
    uint8_t status, errors;
    uint16_t special;
};

/* Bytes [at, at + n) of what is stored. */
static int put_part(struct e1000 *e, const struct incoming *in, uint64_t to, size_t at, size_t n)
{
    static const uint8_t zeros[NIC_MIN_FRAME + FCS];
    struct viv_space *mem = e->pci.dev.board->mem;
    size_t body = in->head_len + in->len - in->cut, part;
    int rc = 0;

    if (n && at < in->head_len) {
        part = n < in->head_len - at ? n : in->head_len - at;
        rc |= viv_dma_write(mem, to, in->head + at, part);
        to += part, at += part, n -= part;
    }
    if (n && at < body) {
        part = n < body - at ? n : body - at;
        rc |= viv_dma_write(mem, to, in->frame + in->cut + at - in->head_len, part);
        to += part, at += part, n -= part;
    }
    if (n)
        rc |= viv_dma_write(mem, to, zeros, n);
    return rc;
}

static void store(struct e1000 *e, const struct incoming *in)
{
    struct viv_space *mem = e->pci.dev.board->mem;
    uint64_t base = (uint64_t)*e1000_reg(e, E_RDBAH) << 32 | (*e1000_reg(e, E_RDBAL) & ~15u);
    unsigned size = buffer_size(e), n = ring_count(e), head = *e1000_reg(e, E_RDH);
    bool failed = false;

    for (size_t at = 0; at < in->total; at += size) {
        size_t part = in->total - at < size ? in->total - at : size;
        bool last = at + part == in->total;
        uint8_t d[E_DESC];
        uint64_t to;

        failed |= viv_dma_read(mem, base + head * E_DESC, d, sizeof(d)) < 0;
        to = viv_ld_le64(d);
        if (!failed && to) /* 3.2.3: a null address takes its part of the frame away */
            failed |= put_part(e, in, to, at, part) < 0;
        viv_st_le16(d + 8, (uint16_t)part);
        viv_st_le16(d + 10, 0);
        d[12] = (uint8_t)(RXD_DD | (last ? RXD_EOP | in->status : 0));
        d[13] = last ? in->errors : 0;
        viv_st_le16(d + 14, last ? in->special : 0);
        if (!failed)
            failed |= viv_dma_write(mem, base + head * E_DESC, d, sizeof(d)) < 0;
        head = head + 1 == n ? 0 : head + 1;
    }
    *e1000_reg(e, E_RDH) = head;
    if (failed)
        viv_guest_error("e1000", "receive ring or buffers are not in memory");
}

static void count(struct e1000 *e, const uint8_t *frame, size_t len)
{
    e1000_count(e, E_GPRC, 1);
    e1000_count(e, E_TPR, 1);
    e1000_count64(e, E_GORCL, len + FCS);
    e1000_count64(e, E_TORL, len + FCS);
    e1000_count_sizes(e, E_PRC64, len + FCS);
    if (frame[0] & 1)
        e1000_count(e, viv_ld_be32(frame) == UINT32_MAX && viv_ld_be16(frame + 4) == 0xffff ? E_BPRC : E_MPRC, 1);
}

bool e1000_receive(void *nic, const uint8_t *frame, size_t len)
{
    struct e1000 *e = nic;
    struct incoming in = {.head_len = 12, .cut = 12, .frame = frame, .len = len};
    size_t stored;

    if (!e1000_can_receive(e))
        return false;
    if (len < ETH || !wanted(e, frame, len))
        return true;
    memcpy(in.head, frame, 12);
    check_sums(e, frame, len, &in.status, &in.errors);
    if (tagged(e, frame, len) && *e1000_reg(e, E_CTRL) & CTRL_VME) { /* 9.3: the tag goes to the descriptor */
        in.status |= RXD_VP;
        in.special = viv_ld_be16(frame + 14);
        in.cut = 16;
    }
    stored = in.head_len + len - in.cut;
    in.total = (stored < NIC_MIN_FRAME ? NIC_MIN_FRAME : stored) + (*e1000_reg(e, E_RCTL) & RCTL_SECRC ? 0 : FCS);
    if ((in.total + buffer_size(e) - 1) / buffer_size(e) > available(e)) {
        /* A ring that is too small for the frame however many descriptors come will never take it. */
        if ((in.total + buffer_size(e) - 1) / buffer_size(e) < ring_count(e))
            return false;
        e1000_count(e, E_MPC, 1);
        e1000_interrupt(e, INT_RXO);
        return true;
    }
    store(e, &in);
    count(e, frame, len < NIC_MIN_FRAME ? NIC_MIN_FRAME : len);
    e->rx_used = true;
    return true;
}

void e1000_receive_done(void *nic)
{
    struct e1000 *e = nic;
    unsigned low = ring_count(e) >> ((*e1000_reg(e, E_RCTL) >> 8 & 3) + 1); /* RCTL.RDMTS */

    if (!e->rx_used)
        return;
    e->rx_used = false;
    e1000_interrupt(e, INT_RXT0 | (available(e) <= low ? INT_RXDMT0 : 0));
}
