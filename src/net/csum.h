/* The Internet checksum (RFC 1071). */
#ifndef VIV_NET_CSUM_H
#define VIV_NET_CSUM_H

#include "net/net.h"

/* The sum of 16-bit big-endian words, an odd byte at the end as if a zero followed; at most 2^17 bytes. Sums add up. */
uint32_t viv_net_sum(const void *p, size_t len);
/* Down to 16 bits; the checksum is its complement. */
uint16_t viv_net_fold(uint32_t sum);
/* Finishes what NEEDS_CSUM left: the field holds the pseudo header's part. False: the places lie outside the frame. */
bool viv_net_finish_csum(uint8_t *frame, size_t len, const struct viv_net_hdr *hdr);

#endif
