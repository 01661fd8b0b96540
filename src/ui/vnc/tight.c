/* Tight (community RFB protocol, "Tight Encoding"): rectangles of one colour, of two, of a palette, of all colours, or JPEG.
 * VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "ui/vnc/squeeze.h"

#include <string.h>

#define WIDTH_MOST 2048 /* the protocol's */
#define BLOCK_W    512  /* what is looked at as one, for its colours */
#define SMALL      12   /* bytes: less goes uncompressed */

enum { STREAM_FULL, STREAM_MONO, STREAM_INDEXED, STREAMS };
enum { FILTER_EXPLICIT = 0x40, FILTER_PALETTE = 1, FILL = 0x80, JPEG = 0x90 };

struct vnc_tight {
    z_stream z[STREAMS];
    bool begun[STREAMS];
    GByteArray *plain, *packed;
    struct vnc_palette palette;
};

void vnc_tight_free(struct vnc_tight *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < STREAMS; i++) {
        if (t->begun[i])
            deflateEnd(&t->z[i]);
    }
    g_byte_array_unref(t->plain);
    g_byte_array_unref(t->packed);
    g_free(t);
}

static void put_pixel(struct vnc_client *c, GByteArray *to, uint32_t px)
{
    uint8_t b[4];
    unsigned n = vnc_pixel_tight(&c->format, px, b);

    g_byte_array_append(to, b, n);
}

/* Seven bits a byte, the lowest first. */
static void put_compact(struct vnc_client *c, size_t len)
{
    for (; len > 0x7f; len >>= 7)
        vnc_put_u8(c, 0x80 | (len & 0x7f));
    vnc_put_u8(c, (unsigned)len);
}

static void put_stream(struct vnc_client *c, unsigned stream)
{
    struct vnc_tight *t = c->tight;

    if (t->plain->len < SMALL) {
        vnc_put(c, t->plain->data, t->plain->len);
        return;
    }
    if (!t->begun[stream])
        vnc_squeeze_init(&t->z[stream], c->level);
    t->begun[stream] = true;
    g_byte_array_set_size(t->packed, 0);
    vnc_squeeze(&t->z[stream], c->level, t->plain->data, t->plain->len, t->packed);
    put_compact(c, t->packed->len);
    vnc_put(c, t->packed->data, t->packed->len);
}

static void put_fill(struct vnc_client *c)
{
    vnc_put_u8(c, FILL);
    put_pixel(c, c->out, c->tight->palette.colour[0]);
}

static void put_palette(struct vnc_client *c, unsigned stream)
{
    const struct vnc_palette *p = &c->tight->palette;

    vnc_put_u8(c, stream << 4 | FILTER_EXPLICIT);
    vnc_put_u8(c, FILTER_PALETTE);
    vnc_put_u8(c, p->count - 1);
    for (unsigned i = 0; i < p->count; i++)
        put_pixel(c, c->out, p->colour[i]);
}

/* A bit a pixel, in lines of whole bytes. */
static void put_mono(struct vnc_client *c, const struct vnc_rect *r)
{
    unsigned line = (r->width + 7) / 8;
    uint32_t one = c->tight->palette.colour[1];
    GByteArray *plain = c->tight->plain;

    put_palette(c, STREAM_MONO);
    g_byte_array_set_size(plain, line * r->height);
    memset(plain->data, 0, plain->len);
    for (unsigned y = 0; y < r->height; y++) {
        for (unsigned x = 0; x < r->width; x++) {
            if (r->pixels[y * r->stride + x] == one)
                plain->data[y * line + x / 8] |= (uint8_t)(0x80 >> x % 8);
        }
    }
    put_stream(c, STREAM_MONO);
}

static void put_indexed(struct vnc_client *c, const struct vnc_rect *r)
{
    GByteArray *plain = c->tight->plain;
    uint8_t *to;

    put_palette(c, STREAM_INDEXED);
    g_byte_array_set_size(plain, r->width * r->height);
    to = plain->data;
    for (unsigned y = 0; y < r->height; y++) {
        for (unsigned x = 0; x < r->width; x++)
            *to++ = (uint8_t)vnc_palette_index(&c->tight->palette, r->pixels[y * r->stride + x]);
    }
    put_stream(c, STREAM_INDEXED);
}

static void put_full(struct vnc_client *c, const struct vnc_rect *r)
{
    GByteArray *plain = c->tight->plain;
    unsigned bytes = c->format.rgb ? 3 : c->format.bytes;
    uint8_t *to;

    vnc_put_u8(c, STREAM_FULL << 4);
    g_byte_array_set_size(plain, r->width * r->height * bytes);
    to = plain->data;
    for (unsigned y = 0; y < r->height; y++) {
        for (unsigned x = 0; x < r->width; x++)
            to += vnc_pixel_tight(&c->format, r->pixels[y * r->stride + x], to);
    }
    put_stream(c, STREAM_FULL);
}

static bool put_jpeg(struct vnc_client *c, const struct vnc_rect *r)
{
    g_byte_array_set_size(c->tight->packed, 0);
    if (!vnc_jpeg(r, c->quality, c->tight->packed))
        return false;
    vnc_put_u8(c, JPEG);
    put_compact(c, c->tight->packed->len);
    vnc_put(c, c->tight->packed->data, c->tight->packed->len);
    return true;
}

static void put_block(struct vnc_client *c, const struct vnc_rect *r)
{
    unsigned area = r->width * r->height, runs, most = c->format.bits == 8 ? 2 : CLAMP(area / 4, 2, VNC_PALETTE_MAX);
    bool few = vnc_palette_fill(&c->tight->palette, r->pixels, r->stride, r->width, r->height, most, &runs);

    vnc_rect_head(c, r->x, r->y, r->width, r->height, RFB_ENC_TIGHT);
    g_byte_array_set_size(c->tight->plain, 0);
    if (few && c->tight->palette.count == 1)
        put_fill(c);
    else if (few && c->tight->palette.count == 2)
        put_mono(c, r);
    /* Pictures are what JPEG is for: many colours, and seldom the same beside itself. */
    else if (c->quality >= 0 && c->format.bits > 8 && area > 256 && (!few || runs > area / 2) && put_jpeg(c, r))
        return;
    else if (few)
        put_indexed(c, r);
    else
        put_full(c, r);
}

unsigned vnc_encode_tight(struct vnc_client *c, const struct vnc_rect *r)
{
    unsigned n = 0;

    if (!c->tight) {
        c->tight = g_new0(struct vnc_tight, 1);
        c->tight->plain = g_byte_array_new();
        c->tight->packed = g_byte_array_new();
    }
    G_STATIC_ASSERT(BLOCK_W <= WIDTH_MOST);
    for (unsigned x = 0; x < r->width; x += BLOCK_W, n++) {
        struct vnc_rect b = {r->x + x, r->y, MIN(BLOCK_W, r->width - x), r->height, r->pixels + x, r->stride};

        put_block(c, &b);
    }
    return n;
}
