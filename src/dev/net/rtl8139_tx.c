/* rtl8139: frames from the guest, by the four transmit registers of C mode or the descriptors of C+ mode, which can leave checksums
 * and the cutting of large TCP packets to the chip. */
#include "dev/net/rtl8139.h"

#include "base/bytes.h"
#include "base/log.h"
#include "host/clock.h"
#include "mem/dma.h"
#include "net/csum.h"

#include <glib.h>
#include <string.h>

enum { CP_LGSEN = 1 << 27, CP_IPCS = 1 << 18, CP_UDPCS = 1 << 17, CP_TCPCS = 1 << 16, CP_TAGC = 1 << 17 };
enum { TSD_SIZE = 0x1fff, CALL_STEPS = 256 };
enum { TCP_FIN = 1, TCP_PSH = 8 };

void rtl8139_tx_reset(struct rtl8139 *r)
{
    uint8_t *buf = r->tx.buf;

    memset(&r->tx, 0, sizeof(r->tx));
    r->tx.buf = buf;
    r->tx_next = r->tsd_next = 0;
    r->tx_blocked = false;
}

/* False: the back end has no room, and will call. */
static bool send_frame(struct rtl8139 *r, const uint8_t *frame, size_t len)
{
    struct iovec iov = {(void *)frame, len};

    if (r->nic.netdev && rtl8139_link(r) && len >= ETH && !viv_netdev_send(r->nic.netdev, &iov, 1)) {
        r->tx_blocked = true;
        return false;
    }
    r->tally.tx_ok++;
    return true;
}

/* ---- C mode ---- */

static uint8_t *tsd(struct rtl8139 *r, unsigned n)
{
    return r->reg + R_TSD0 + 4 * n;
}

/* The registers in their order, as long as the driver has given them to us (OWN is 0). */
void rtl8139_send_c(struct rtl8139 *r)
{
    uint8_t buf[TSD_SIZE + 1];

    for (unsigned i = 0; i < 4 && r->running && !r->tx_blocked && r->reg[R_CR] & CR_TE; i++) {
        uint32_t v = viv_ld_le32(tsd(r, r->tsd_next)), len = v & TSD_SIZE;

        if (v & TSD_OWN || !viv_pci_bus_master(&r->pci))
            return;
        if (viv_dma_read(r->pci.dev.board->mem, viv_ld_le32(r->reg + R_TSAD0 + 4 * r->tsd_next), buf, len) < 0)
            viv_guest_error("rtl8139", "a frame outside memory");
        else if (!send_frame(r, buf, len))
            return;
        viv_st_le32(tsd(r, r->tsd_next), v | TSD_OWN | TSD_TOK);
        r->tsd_next = (r->tsd_next + 1) & 3;
        rtl8139_interrupt(r, INT_TOK);
    }
}

/* ---- C+ mode: one packet ---- */

/* Its IPv4 header's length, 0: it has none. */
static unsigned ip_header(const struct rtl8139_tx *t)
{
    const uint8_t *ip = t->buf + ETH;
    unsigned n = t->len >= ETH + 20 && viv_ld_be16(t->buf + 12) == 0x0800 && ip[0] >> 4 == 4 ? (ip[0] & 15) * 4 : 0;

    return n >= 20 && ETH + n <= t->len ? n : 0;
}

static void put_ip_sum(uint8_t *ip, unsigned header)
{
    viv_st_be16(ip + 10, 0);
    viv_st_be16(ip + 10, ~viv_net_fold(viv_net_sum(ip, header)));
}

/* TCP's or UDP's, over `len` bytes from its header on. */
static void put_sum(uint8_t *ip, unsigned header, size_t len)
{
    uint8_t *at = ip + header + (ip[9] == 6 ? 16 : 6);
    uint16_t sum;

    viv_st_be16(at, 0);
    sum = ~viv_net_fold(viv_net_sum(ip + 12, 8) + ip[9] + (uint32_t)len + viv_net_sum(ip + header, len));
    viv_st_be16(at, sum ? sum : 0xffff);
}

static void finish_sums(struct rtl8139_tx *t)
{
    unsigned header = ip_header(t);
    uint8_t *ip = t->buf + ETH;
    size_t total = header ? viv_ld_be16(ip + 2) : 0;

    if (!header || total < header || ETH + total > t->len)
        return;
    if (t->first & CP_IPCS)
        put_ip_sum(ip, header);
    if ((t->first & CP_TCPCS && ip[9] == 6 && total - header >= 20) || (t->first & CP_UDPCS && ip[9] == 17 && total - header >= 8))
        put_sum(ip, header, total - header);
}

/* Segment `t->segment` of a large TCP packet into out. Returns its length; 0: there are no more. */
static size_t cut(const struct rtl8139_tx *t, unsigned header, unsigned tcp, uint8_t *out)
{
    size_t mss = t->first >> 16 & 0x7ff, head = ETH + header + tcp, at = head + t->segment * mss, n;
    uint8_t *ip = out + ETH, *th = ip + header;

    if (at >= t->len)
        return 0;
    n = MIN(mss, t->len - at);
    memcpy(out, t->buf, head);
    memcpy(out + head, t->buf + at, n);
    viv_st_be16(ip + 2, (uint16_t)(head - ETH + n));
    viv_st_be16(ip + 4, (uint16_t)(viv_ld_be16(ip + 4) + t->segment));
    viv_st_be32(th + 4, viv_ld_be32(th + 4) + (uint32_t)(t->segment * mss));
    if (at + n < t->len)
        th[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
    put_ip_sum(ip, header);
    put_sum(ip, header, tcp + n);
    return head + n;
}

/* A frame with its tag, in place: there is room behind it. */
static size_t insert_tag(const struct rtl8139_tx *t, uint8_t *frame, size_t len)
{
    if (!t->has_vlan || len < 12)
        return len;
    memmove(frame + 16, frame + 12, len - 12);
    viv_st_be16(frame + 12, NIC_VLAN);
    viv_st_le16(frame + 14, t->vlan); /* as it goes out on the wire */
    return len + 4;
}

/* The packet that is ready, as far as the back end has room and one call may take. False: it waits. */
static bool give(struct rtl8139 *r, unsigned *steps)
{
    struct rtl8139_tx *t = &r->tx;
    unsigned header = t->first & CP_LGSEN ? ip_header(t) : 0, tcp = 0;
    uint8_t out[RTL_SEGMENT_MAX];
    size_t len;

    if (header && t->buf[ETH + 9] == 6 && t->len >= ETH + header + 20)
        tcp = (t->buf[ETH + header + 12] >> 4) * 4;
    if (tcp < 20 || ETH + header + tcp > t->len || !(t->first >> 16 & 0x7ff)) {
        if (t->len + 4 > sizeof(out)) {
            viv_guest_error("rtl8139", "a packet of %u bytes that cannot be cut", t->len);
        } else {
            if (!(t->first & CP_LGSEN))
                finish_sums(t);
            memcpy(out, t->buf, t->len);
            len = insert_tag(t, out, t->len);
            if (!send_frame(r, out, len))
                return false;
        }
    } else {
        while ((len = cut(t, header, tcp, out))) {
            if (++*steps > CALL_STEPS) {
                viv_timer_set(r->tx_timer, viv_clock_ns(VIV_CLOCK_GUEST));
                return false;
            }
            len = insert_tag(t, out, len);
            if (!send_frame(r, out, len))
                return false;
            t->segment++;
        }
    }
    t->ready = t->open = t->skip = false;
    t->len = t->segment = 0;
    return true;
}

/* ---- C+ mode: descriptors ---- */

/* One descriptor's part of the packet. */
static void take(struct rtl8139 *r, const uint8_t *d, uint32_t word)
{
    struct rtl8139_tx *t = &r->tx;
    uint32_t n = word & 0xffff;

    if (word & CP_FS) {
        t->open = true;
        t->skip = false;
        t->len = t->segment = 0;
        t->first = word;
        t->has_vlan = viv_ld_le32(d + 4) & CP_TAGC;
        t->vlan = viv_ld_le16(d + 4);
    }
    if (!t->open)
        return;
    if (n > RTL_FRAME_MAX - t->len || viv_dma_read(r->pci.dev.board->mem, viv_ld_le64(d + 8), t->buf + t->len, n) < 0) {
        viv_guest_error("rtl8139", "a packet that is too long, or outside memory");
        t->skip = true;
    } else {
        t->len += n;
    }
    if (!(word & CP_LS))
        return;
    t->ready = !t->skip;
    t->open = !t->skip;
}

void rtl8139_send_cplus(struct rtl8139 *r)
{
    struct viv_space *mem = r->pci.dev.board->mem;
    unsigned steps = 0;
    bool any = false, idle = false;

    while (r->running && !r->tx_blocked && r->reg[R_CR] & CR_TE && rtl8139_cplus_tx(r) && viv_pci_bus_master(&r->pci)) {
        uint64_t at = r->tnpds + r->tx_next * CP_DESC;
        uint8_t d[CP_DESC];
        uint32_t word;

        if (r->tx.ready && !give(r, &steps))
            break;
        if (viv_dma_read(mem, at, d, sizeof(d)) < 0) {
            viv_guest_error("rtl8139", "transmit descriptors outside memory");
            break;
        }
        word = viv_ld_le32(d);
        if (!(word & CP_OWN)) {
            idle = true;
            break;
        }
        if (++steps > CALL_STEPS) {
            viv_timer_set(r->tx_timer, viv_clock_ns(VIV_CLOCK_GUEST));
            break;
        }
        steps += (word & 0xffff) >> 12; /* large ones count for more */
        take(r, d, word);
        /* What was the command, the segment size too, is now the status: no error, no collision. */
        viv_st_le32(d, word & (CP_EOR | CP_FS | CP_LS | 0xffff));
        viv_dma_write(mem, at, d, 4);
        r->tx_next = word & CP_EOR || r->tx_next + 1 == CP_RING ? 0 : (uint8_t)(r->tx_next + 1);
        any |= (word & CP_LS) != 0;
    }
    if (any)
        rtl8139_interrupt(r, INT_TOK | (idle ? INT_TDU : 0));
}

void rtl8139_send_more(struct rtl8139 *r)
{
    if (rtl8139_cplus_tx(r))
        rtl8139_send_cplus(r);
    else
        rtl8139_send_c(r);
}
