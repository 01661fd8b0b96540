/* One packed chunk. */
#include "block/fmt/deflate/deflate.h"
#include "block/fmt/dmg/dmg_int.h"

#include <bzlib.h>
#include <errno.h>
#include <lzma.h>

#define LZMA_MEMORY (128u << 20) /* a decoder's, by what the stream asks for */

static int unpack_bzip2(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    unsigned len = out_len;
    int ret = BZ2_bzBuffToBuffDecompress((char *)out, &len, (char *)in, in_len, 0, 0);

    if (ret == BZ_MEM_ERROR)
        return -ENOMEM;
    /* BZ_OUTBUFF_FULL: more than was asked for. */
    return (ret == BZ_OK && len == out_len) || ret == BZ_OUTBUFF_FULL ? 0 : -EIO;
}

/* In an xz container. */
static int unpack_lzma(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    uint64_t memory = LZMA_MEMORY;
    size_t from = 0, to = 0;
    lzma_ret ret = lzma_stream_buffer_decode(&memory, 0, NULL, in, &from, in_len, out, &to, out_len);

    if (ret == LZMA_MEM_ERROR || ret == LZMA_MEMLIMIT_ERROR)
        return -ENOMEM;
    return ret == LZMA_OK && to == out_len ? 0 : -EIO;
}

int dmg_unpack(uint32_t type, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    switch (type) {
    case DMG_ZLIB:
        return viv_inflate(in, in_len, out, out_len, 15);
    case DMG_BZIP2:
        return unpack_bzip2(in, in_len, out, out_len);
    case DMG_LZMA:
        return unpack_lzma(in, in_len, out, out_len);
    }
    return -EIO;
}
