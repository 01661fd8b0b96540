#include "ui/vnc/squeeze.h"

/* Level 0 of zlib is no compression at all: nobody means that. */
static int zlib_level(int level)
{
    return CLAMP(level, 1, 9);
}

void vnc_squeeze_init(z_stream *z, int level)
{
    if (deflateInit(z, zlib_level(level)) != Z_OK)
        g_error("zlib: no memory");
}

void vnc_squeeze(z_stream *z, int level, const uint8_t *data, size_t len, GByteArray *out)
{
    /* What is given first; a change of level flushes into it, so it is large enough for that and for all of the data. */
    guint at = out->len, room = (guint)(deflateBound(z, len) + 64);

    z->avail_in = 0;
    z->next_in = NULL;
    g_byte_array_set_size(out, at + room);
    z->next_out = out->data + at;
    z->avail_out = room;
    deflateParams(z, zlib_level(level), Z_DEFAULT_STRATEGY);
    z->next_in = (Bytef *)data;
    z->avail_in = (uInt)len;
    /* deflateBound() is for a stream that ends here; one that goes on may have more behind it. */
    while (deflate(z, Z_SYNC_FLUSH) == Z_OK && z->avail_out == 0) {
        guint used = out->len;

        g_byte_array_set_size(out, used + 4096);
        z->next_out = out->data + used;
        z->avail_out = 4096;
    }
    g_byte_array_set_size(out, out->len - z->avail_out);
}
