/* One compressed block of an image at a time. Any thread. */
#ifndef VIV_BLOCK_FMT_DEFLATE_DEFLATE_H
#define VIV_BLOCK_FMT_DEFLATE_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `bits` as zlib has them: negative for raw deflate, 15 for a zlib stream with its header and checksum.
 * Fills exactly out_len bytes; what follows in `in` does not matter. -EIO: not such data. -ENOMEM. */
int viv_inflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int bits);

/* *used of out_len bytes, raw or as a zlib stream. -E2BIG: it needs more than out_len. -ENOMEM.
 *
 * Matches reach back up to 32 KiB. Programs that unpack qcow and qcow2 clusters with zlib's window of 4 KiB do not mind, as they unpack
 * a cluster into its whole buffer at once: zlib then looks for matches in that buffer and has no use for its window. */
int viv_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, bool zlib_stream, size_t *used);

#endif
