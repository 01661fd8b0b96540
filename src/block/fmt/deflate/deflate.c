#include "block/fmt/deflate/deflate.h"

#include <errno.h>
#include <glib.h>
#include <libdeflate.h>
#include <zlib.h>

/* Smaller than zlib makes it at its default, in less than half the time (docs/performance.md). */
#define LEVEL 4

/* What a thread keeps from one block to the next: making these takes as long as a small block. */
struct scratch {
    struct libdeflate_decompressor *inflate; /* about twice as fast as zlib's, for whole streams only */
    struct libdeflate_compressor *deflate;
};

static void scratch_free(gpointer opaque)
{
    struct scratch *s = opaque;

    if (s->inflate)
        libdeflate_free_decompressor(s->inflate);
    if (s->deflate)
        libdeflate_free_compressor(s->deflate);
    g_free(s);
}

static struct scratch *scratch(void)
{
    static GPrivate mine = G_PRIVATE_INIT(scratch_free);
    struct scratch *s = g_private_get(&mine);

    if (!s) {
        s = g_new0(struct scratch, 1);
        g_private_set(&mine, s);
    }
    return s;
}

static bool inflate_whole(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int bits)
{
    struct scratch *s = scratch();
    size_t used, got = 0;

    if (!s->inflate && !(s->inflate = libdeflate_alloc_decompressor()))
        return false;
    if (bits < 0)
        return libdeflate_deflate_decompress_ex(s->inflate, in, in_len, out, out_len, &used, &got) == LIBDEFLATE_SUCCESS &&
               got == out_len;
    return libdeflate_zlib_decompress_ex(s->inflate, in, in_len, out, out_len, &used, &got) == LIBDEFLATE_SUCCESS &&
           got == out_len;
}

int viv_inflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, int bits)
{
    z_stream z = {.next_in = (uint8_t *)in, .avail_in = in_len, .next_out = out, .avail_out = out_len};
    int ret;

    if (inflate_whole(in, in_len, out, out_len, bits))
        return 0;
    /* No such data, or a stream that holds more than was asked for or lost its end. */
    if (inflateInit2(&z, bits) != Z_OK)
        return -ENOMEM;
    ret = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* Z_BUF_ERROR with a full buffer: the end of the stream is hidden behind what was asked for. */
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

int viv_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, bool zlib_stream, size_t *used)
{
    struct scratch *s = scratch();

    if (!s->deflate && !(s->deflate = libdeflate_alloc_compressor(LEVEL)))
        return -ENOMEM;
    *used = zlib_stream ? libdeflate_zlib_compress(s->deflate, in, in_len, out, out_len)
                        : libdeflate_deflate_compress(s->deflate, in, in_len, out, out_len);
    return *used ? 0 : -E2BIG;
}
