/* One compressed cluster: raw deflate, or a zstd frame; both may be followed by padding. */
#include "block/fmt/qcow2/qcow2_int.h"

#include <errno.h>
#include <zlib.h>
#include <zstd.h>

/* Other programs unpack with a window of 4 KiB, so that is what is packed with. Unpacking takes any. */
#define PACK_WINDOW  12
#define ANY_WINDOW   15

static int inflate_zlib(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream z = {
        .next_in = (uint8_t *)in, .avail_in = in_len, .next_out = out, .avail_out = out_len};
    int ret;

    if (inflateInit2(&z, -ANY_WINDOW) != Z_OK) /* negative: no header */
        return -ENOMEM;
    ret = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* Padding after the end is fine, and so is an end that the padding hides (Z_BUF_ERROR). */
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

static int inflate_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    ZSTD_inBuffer ib = {in, in_len, 0};
    ZSTD_outBuffer ob = {out, out_len, 0};
    size_t ret = 1;

    if (!ctx)
        return -ENOMEM;
    while (ob.pos < ob.size && ib.pos < ib.size) {
        ret = ZSTD_decompressStream(ctx, &ob, &ib);
        if (ZSTD_isError(ret))
            break;
    }
    ZSTD_freeDCtx(ctx);
    return !ZSTD_isError(ret) && ob.pos == ob.size ? 0 : -EIO;
}

int qcow2_inflate(unsigned type, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    return type == 1 ? inflate_zstd(in, in_len, out, out_len)
                     : inflate_zlib(in, in_len, out, out_len);
}

static int deflate_zlib(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
    z_stream z = {
        .next_in = (uint8_t *)in, .avail_in = in_len, .next_out = out, .avail_out = *out_len};
    int ret;

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -PACK_WINDOW, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    ret = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    if (ret != Z_STREAM_END)
        return -E2BIG;
    *out_len -= z.avail_out;
    return 0;
}

static int deflate_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
    size_t ret = ZSTD_compress(out, *out_len, in, in_len, ZSTD_CLEVEL_DEFAULT);

    if (ZSTD_isError(ret))
        return -E2BIG;
    *out_len = ret;
    return 0;
}

int qcow2_deflate(unsigned type, const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
    return type == 1 ? deflate_zstd(in, in_len, out, out_len) : deflate_zlib(in, in_len, out, out_len);
}
