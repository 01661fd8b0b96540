/* One compressed block of an image at a time, by zlib. `bits` as zlib has them: negative for raw deflate, 15 for a zlib stream
 * with its header and checksum. Any thread. */
#ifndef VIV_BLOCK_FMT_DEFLATE_DEFLATE_H
#define VIV_BLOCK_FMT_DEFLATE_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

/* Fills exactly out_len bytes; what follows in `in` does not matter. -EIO: not such data. -ENOMEM. */
int viv_inflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int bits);

/* *used of out_len bytes. -E2BIG: it needs more than out_len. -ENOMEM. */
int viv_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int bits, size_t *used);

#endif
