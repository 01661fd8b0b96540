#include "net/coalesce.h"

#include "base/bytes.h"
#include "net/csum.h"

#include <glib.h>
#include <string.h>

enum { ETH = 14, IP = 20, TCP_MIN = 20, PSH = 8, ACK = 16, IP_MAX = 65535 };
enum { IP_TOS = 1, IP_LEN = 2, IP_ID = 4, IP_FRAG = 6, IP_SUM = 10, IP_SRC = 12 };
enum { TCP_SEQ = 4, TCP_ACK = 8, TCP_OFF = 12, TCP_FLAGS = 13, TCP_WINDOW = 14, TCP_SUM = 16 };

/* Bytes of header when the frame is a segment that may be merged, else 0. */
static unsigned header_of(const uint8_t *f, size_t len)
{
    const uint8_t *ip = f + ETH, *tcp = ip + IP;
    unsigned tcp_len;

    if (len < ETH + IP + TCP_MIN || len > ETH + IP_MAX || viv_ld_be16(f + 12) != 0x0800 || ip[0] != 0x45 ||
        (viv_ld_be16(ip + IP_FRAG) & 0xbfff) || ip[9] != 6 || ETH + viv_ld_be16(ip + IP_LEN) != len)
        return 0;
    tcp_len = (tcp[TCP_OFF] >> 4) * 4;
    if (tcp_len < TCP_MIN || ETH + IP + tcp_len >= len || (tcp[TCP_FLAGS] & ~PSH) != ACK ||
        (tcp[TCP_OFF] & 15))
        return 0;
    return ETH + IP + tcp_len;
}

bool viv_coalesce_start(struct viv_coalesce *c, const uint8_t *frame, size_t len)
{
    unsigned header = header_of(frame, len);

    if (!header)
        return false;
    if (!c->buf)
        c->buf = g_malloc(VIV_NET_MAX_FRAME);
    memcpy(c->buf, frame, len);
    c->len = len;
    c->header = header;
    c->payload = len - header;
    c->segments = 1;
    c->next_seq = viv_ld_be32(frame + ETH + IP + TCP_SEQ) + c->payload;
    c->closed = frame[ETH + IP + TCP_FLAGS] & PSH;
    return true;
}

/* Equal but for length, identification, checksums, sequence, window and PSH. */
static bool same_flow(const uint8_t *a, const uint8_t *b, unsigned header)
{
    const uint8_t *ia = a + ETH, *ib = b + ETH, *ta = ia + IP, *tb = ib + IP;

    return !memcmp(a, b, ETH) && ia[IP_TOS] == ib[IP_TOS] && !memcmp(ia + IP_FRAG, ib + IP_FRAG, 4) &&
           !memcmp(ia + IP_SRC, ib + IP_SRC, 8) && !memcmp(ta, tb, TCP_SEQ) &&
           !memcmp(ta + TCP_ACK, tb + TCP_ACK, 5) &&
           !memcmp(ta + TCP_SUM + 2, tb + TCP_SUM + 2, header - ETH - IP - TCP_SUM - 2);
}

bool viv_coalesce_add(struct viv_coalesce *c, const uint8_t *frame, size_t len)
{
    unsigned header = c->closed ? 0 : header_of(frame, len);
    uint8_t *tcp = c->buf + ETH + IP;
    size_t n = len - header;

    if (!header || header != c->header || n > c->payload || c->len + n > ETH + IP_MAX ||
        viv_ld_be32(frame + ETH + IP + TCP_SEQ) != c->next_seq || !same_flow(c->buf, frame, header))
        return false;
    memcpy(c->buf + c->len, frame + header, n);
    memcpy(tcp + TCP_WINDOW, frame + ETH + IP + TCP_WINDOW, 2);
    tcp[TCP_FLAGS] |= frame[ETH + IP + TCP_FLAGS] & PSH;
    c->len += n;
    c->next_seq += n;
    c->segments++;
    c->closed = n < c->payload || (tcp[TCP_FLAGS] & PSH);
    return true;
}

void viv_coalesce_finish(struct viv_coalesce *c, struct viv_net_hdr *gso)
{
    uint8_t *ip = c->buf + ETH, *tcp = ip + IP;

    memset(gso, 0, sizeof(*gso));
    if (c->segments == 1)
        return;
    gso->flags = VIV_NET_HDR_NEEDS_CSUM;
    gso->gso_type = VIV_NET_GSO_TCPV4;
    gso->gso_size = c->payload;
    gso->hdr_len = c->header;
    gso->csum_start = ETH + IP;
    gso->csum_offset = TCP_SUM;
    viv_st_be16(ip + IP_LEN, c->len - ETH);
    viv_st_be16(ip + IP_SUM, 0);
    viv_st_be16(ip + IP_SUM, ~viv_net_fold(viv_net_sum(ip, IP)));
    /* What remains to be summed is TCP itself: the field holds the pseudo header's part. */
    viv_st_be16(tcp + TCP_SUM, viv_net_fold(viv_net_sum(ip + IP_SRC, 8) + 6 + (c->len - ETH - IP)));
}
