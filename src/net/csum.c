#include "net/csum.h"

#include "base/bytes.h"

/* Eight bytes at a time in the host's order: the sum of byte-swapped words is the byte-swapped sum (RFC 1071, 2 (B)). */
uint32_t viv_net_sum(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t sum = 0;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t v = viv_ld_le64(p);

        sum += (v & UINT32_MAX) + (v >> 32);
    }
    for (; len >= 2; len -= 2, p += 2)
        sum += viv_ld_le16(p);
    if (len)
        sum += *p;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xff) << 8 | sum >> 8;
}

uint16_t viv_net_fold(uint32_t s)
{
    s = (s & 0xffff) + (s >> 16);
    return (s & 0xffff) + (s >> 16);
}

bool viv_net_finish_csum(uint8_t *frame, size_t len, const struct viv_net_hdr *hdr)
{
    size_t at = (size_t)hdr->csum_start + hdr->csum_offset;
    uint16_t sum;

    if (hdr->csum_start > len || len < 2 || at > len - 2)
        return false;
    sum = ~viv_net_fold(viv_net_sum(frame + hdr->csum_start, len - hdr->csum_start));
    /* RFC 768: 0 means no checksum, FFFFh is the same sum; TCP does not mind. */
    viv_st_be16(frame + at, sum ? sum : 0xffff);
    return true;
}
