/* rtl8139: frames to the guest, into the ring buffer of C mode or the descriptors of C+ mode. */
#include "dev/net/rtl8139.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "host/clock.h"
#include "mem/dma.h"
#include "net/csum.h"

#include <glib.h>
#include <string.h>

enum { HEAD = 4, HEAD_ROK = 1, HEAD_BAR = 1 << 13, HEAD_PAM = 1 << 14, HEAD_MAR = 1 << 15 };
enum { ST_MAR = 1 << 26, ST_PAM = 1 << 25, ST_BAR = 1 << 24, ST_IP = 3 << 16, ST_UDP = 2 << 16, ST_TCP = 1 << 16 };
enum { ST_IPF = 1 << 15, ST_UDPF = 1 << 14, ST_TCPF = 1 << 13, ST_TAVA = 1 << 16 };

/* ---- filter ---- */

#define LOOK_AGAIN_NS (5 * (int64_t)VIV_NS_PER_MS)

enum kind { NOT_WANTED, PHYSICAL, MULTICAST, BROADCAST };

/* The high six bits of Ethernet's CRC pick a bit of MAR. */
static unsigned multicast_hash(const uint8_t *to)
{
    uint32_t crc = UINT32_MAX;

    for (unsigned i = 0; i < 6; i++) {
        for (unsigned b = 0; b < 8; b++)
            crc = (crc << 1) ^ (((crc >> 31) ^ (to[i] >> b & 1)) ? 0x04c11db7 : 0);
    }
    return crc >> 26;
}

static enum kind classify(const struct rtl8139 *r, const uint8_t *to)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t rcr = r->reg[R_RCR];
    unsigned h;

    if (!memcmp(to, broadcast, 6))
        return rcr & (RCR_AB | RCR_AAP) ? BROADCAST : NOT_WANTED;
    if (to[0] & 1) {
        h = multicast_hash(to);
        return rcr & RCR_AAP || (rcr & RCR_AM && r->reg[R_MAR0 + h / 8] >> (h % 8) & 1) ? MULTICAST : NOT_WANTED;
    }
    return rcr & RCR_AAP || (rcr & RCR_APM && !memcmp(to, r->reg + R_IDR0, 6)) ? PHYSICAL : NOT_WANTED;
}

/* ---- C mode: one ring of bytes ---- */

static uint32_t ring_size(const struct rtl8139 *r)
{
    return 8192u << (viv_ld_le32(r->reg + R_RCR) >> 11 & 3);
}

static uint32_t used(const struct rtl8139 *r)
{
    uint16_t read = (uint16_t)(viv_ld_le16(r->reg + R_CAPR) + 16);

    return (viv_ld_le16(r->reg + R_CBR) - read) & (ring_size(r) - 1);
}

bool rtl8139_ring_empty(const struct rtl8139 *r)
{
    return used(r) == 0;
}

static uint32_t frame_room(size_t len)
{
    return (HEAD + (uint32_t)len + FCS + 3) & ~3u;
}

/* Bytes to the ring at *at; past its end goes on at the beginning, or behind it where the driver has room there (RCR.WRAP). */
static void put(struct rtl8139 *r, uint32_t *at, const uint8_t *p, uint32_t n)
{
    uint32_t size = ring_size(r), base = viv_ld_le32(r->reg + R_RBSTART), part = n;
    bool behind = r->reg[R_RCR] & RCR_WRAP && size < 65536;

    if (!behind && *at < size && n > size - *at)
        part = size - *at;
    if (viv_dma_write(r->pci.dev.board->mem, (uint64_t)base + *at, p, part) < 0 ||
        (part < n && viv_dma_write(r->pci.dev.board->mem, base, p + part, n - part) < 0))
        viv_guest_error("rtl8139", "receive buffer outside memory");
    *at = part < n ? n - part : *at + n;
    if (!behind && *at == size)
        *at = 0;
}

/* False: there is no room. */
static bool store_c(struct rtl8139 *r, const uint8_t *frame, size_t len, enum kind k)
{
    static const uint8_t fcs[FCS];
    uint32_t size = ring_size(r), at = viv_ld_le16(r->reg + R_CBR) & (size - 1), room = frame_room(len);
    uint8_t head[HEAD];

    if (room >= size - used(r))
        return false;
    viv_st_le16(head, (uint16_t)(HEAD_ROK | (k == PHYSICAL ? HEAD_PAM : k == MULTICAST ? HEAD_MAR : HEAD_BAR)));
    viv_st_le16(head + 2, (uint16_t)(len + FCS));
    viv_st_le16(r->reg + R_CBR, (uint16_t)((at + room) & (size - 1)));
    put(r, &at, head, HEAD);
    put(r, &at, frame, (uint32_t)len);
    put(r, &at, fcs, FCS);
    return true;
}

/* ---- C+ mode: descriptors ---- */

static bool read_desc(struct rtl8139 *r, unsigned n, uint8_t *d)
{
    return viv_dma_read(r->pci.dev.board->mem, r->rdsar + n * CP_DESC, d, CP_DESC) == 0;
}

static unsigned after(unsigned n, uint32_t word)
{
    return word & CP_EOR || n + 1 == CP_RING ? 0 : n + 1;
}

/* Are there buffers for `len` bytes, from the next descriptor on? */
static bool enough(struct rtl8139 *r, size_t len)
{
    unsigned n = r->rx_next;
    uint8_t d[CP_DESC];
    size_t have = 0;

    for (unsigned i = 0; i < CP_RING && have < len; i++) {
        uint32_t word;

        if (!read_desc(r, n, d))
            return false;
        word = viv_ld_le32(d);
        if (!(word & CP_OWN))
            return false;
        have += word & 0x1ff8;
        n = after(n, word);
        if (n == r->rx_next) /* that is all there are */
            break;
    }
    return have >= len;
}

/* IPv4 only; what the chip looks at when CPCR.RxChkSum is set. */
static uint32_t check_sums(struct rtl8139 *r, const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + ETH;
    unsigned header = len >= ETH + 20 ? (ip[0] & 15) * 4 : 0;
    size_t total = header ? viv_ld_be16(ip + 2) : 0;
    bool tcp, good;

    if (!(r->reg[R_CPCR] & CPCR_CHECKSUM) || header < 20 || viv_ld_be16(frame + 12) != 0x0800 || ip[0] >> 4 != 4 ||
        total < header || ETH + total > len)
        return 0;
    if (viv_net_fold(viv_net_sum(ip, header)) != 0xffff)
        return ST_IP | ST_IPF;
    tcp = ip[9] == 6 && total - header >= 20;
    if (viv_ld_be16(ip + 6) & 0x3fff || !(tcp || (ip[9] == 17 && total - header >= 8)))
        return ST_IP;
    good = (r->nic.netdev && viv_netdev_rx_trusted(r->nic.netdev)) || (!tcp && !viv_ld_be16(ip + header + 6)) ||
           viv_net_fold(viv_net_sum(ip + 12, 8) + ip[9] + (uint32_t)(total - header) +
                        viv_net_sum(ip + header, total - header)) == 0xffff;
    return (tcp ? ST_TCP : ST_UDP) | (good ? 0 : tcp ? ST_TCPF : ST_UDPF);
}

static bool store_cplus(struct rtl8139 *r, const uint8_t *frame, size_t len, enum kind k)
{
    struct viv_space *mem = r->pci.dev.board->mem;
    uint32_t status = check_sums(r, frame, len) | (k == PHYSICAL ? ST_PAM : k == MULTICAST ? ST_MAR : ST_BAR), tag = 0;
    uint8_t buf[RTL_SEGMENT_MAX + FCS], d[CP_DESC];
    bool ok = true;

    if (r->reg[R_CPCR] & CPCR_VLAN && len >= ETH + 4 && viv_ld_be16(frame + 12) == NIC_VLAN) {
        tag = ST_TAVA | viv_ld_le16(frame + 14); /* as it lies on the wire */
        memcpy(buf, frame, 12);
        memcpy(buf + 12, frame + 16, len - 16);
        len -= 4;
    } else {
        memcpy(buf, frame, len);
    }
    if (len < NIC_MIN_FRAME) {
        memset(buf + len, 0, NIC_MIN_FRAME - len);
        len = NIC_MIN_FRAME;
    }
    memset(buf + len, 0, FCS);
    len += FCS;
    if (!enough(r, len))
        return false;
    for (size_t at = 0; at < len && ok;) {
        uint32_t word, part;

        ok = read_desc(r, r->rx_next, d);
        word = viv_ld_le32(d);
        part = (uint32_t)MIN(word & 0x1ff8, len - at);
        if (!ok || !(word & CP_OWN) || !part) /* the driver took it back in between */
            break;
        ok = viv_dma_write(mem, viv_ld_le64(d + 8), buf + at, part) == 0;
        viv_st_le32(d + 4, tag);
        viv_st_le32(d, (word & CP_EOR) | (at ? 0 : CP_FS) | (at + part == len ? CP_LS | status : 0) |
                           (at + part == len ? (uint32_t)len : part));
        ok &= viv_dma_write(mem, r->rdsar + r->rx_next * CP_DESC, d, 8) == 0;
        r->rx_next = (uint8_t)after(r->rx_next, word);
        at += part;
    }
    if (!ok)
        viv_guest_error("rtl8139", "receive descriptors or buffers outside memory");
    return true;
}

/* ---- both ---- */

/* The chip looks at the descriptor when a frame comes, and drivers give it back without writing to any register. Here frames wait, so
 * we look again after a while. False: for callers. */
static bool look_later(struct rtl8139 *r)
{
    viv_timer_set(r->rx_timer, viv_clock_ns(VIV_CLOCK_GUEST) + LOOK_AGAIN_NS);
    return false;
}

bool rtl8139_can_receive(void *nic)
{
    struct rtl8139 *r = nic;
    uint8_t d[CP_DESC];

    if (!r->running || !(r->reg[R_CR] & CR_RE) || !rtl8139_link(r) || !viv_pci_bus_master(&r->pci))
        return false;
    if (rtl8139_cplus_rx(r))
        return read_desc(r, r->rx_next, d) && (viv_ld_le32(d) & CP_OWN || look_later(r));
    return ring_size(r) - used(r) > frame_room(NIC_MIN_FRAME);
}

bool rtl8139_receive(void *nic, const uint8_t *frame, size_t len)
{
    struct rtl8139 *r = nic;
    uint8_t padded[NIC_MIN_FRAME];
    enum kind k;

    if (!rtl8139_can_receive(r))
        return false;
    if (len < ETH || len > RTL_SEGMENT_MAX - 4 || (k = classify(r, frame)) == NOT_WANTED)
        return true;
    if (len < NIC_MIN_FRAME) {
        memset(padded, 0, sizeof(padded));
        frame = memcpy(padded, frame, len);
        len = NIC_MIN_FRAME;
    }
    if (rtl8139_cplus_rx(r) ? !store_cplus(r, frame, len, k) && !look_later(r) : !store_c(r, frame, len, k))
        return false;
    r->tally.rx_ok++;
    r->tally.rx_phys += k == PHYSICAL;
    r->tally.rx_broadcast += k == BROADCAST;
    r->tally.rx_multicast += k == MULTICAST;
    r->rx_used = true;
    return true;
}

void rtl8139_receive_done(void *nic)
{
    struct rtl8139 *r = nic;

    if (r->rx_used)
        rtl8139_interrupt(r, INT_ROK);
    r->rx_used = false;
}
