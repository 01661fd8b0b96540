#include "block/fmt/deflate/deflate.h"

#include <errno.h>
#include <zlib.h>

int viv_inflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int bits)
{
    z_stream z = {.next_in = (uint8_t *)in, .avail_in = in_len, .next_out = out, .avail_out = out_len};
    int ret;

    if (inflateInit2(&z, bits) != Z_OK)
        return -ENOMEM;
    ret = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* Z_BUF_ERROR with a full buffer: the end of the stream is hidden behind what was asked for. */
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

int viv_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int bits, size_t *used)
{
    z_stream z = {.next_in = (uint8_t *)in, .avail_in = in_len, .next_out = out, .avail_out = out_len};
    int ret;

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, bits, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    ret = deflate(&z, Z_FINISH);
    *used = out_len - z.avail_out;
    deflateEnd(&z);
    return ret == Z_STREAM_END ? 0 : -E2BIG;
}
