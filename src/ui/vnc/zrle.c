/* ZRLE (RFC 6143 section 7.7.6): tiles of 64 by 64, each in the way that takes least, through one zlib stream. VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "ui/vnc/squeeze.h"

#define TILE 64

struct vnc_zrle {
    z_stream z;
    GByteArray *plain;
    struct vnc_palette palette;
};

void vnc_zrle_free(struct vnc_zrle *z)
{
    if (!z)
        return;
    deflateEnd(&z->z);
    g_byte_array_unref(z->plain);
    g_free(z);
}

struct tile {
    const uint32_t *pixels;
    size_t stride;
    unsigned width, height;
};

static void put_short(struct vnc_client *c, uint32_t px)
{
    uint8_t b[4];
    unsigned n = vnc_pixel_short(&c->format, px, b);

    g_byte_array_append(c->zrle->plain, b, n);
}

static void put_byte(struct vnc_client *c, unsigned v)
{
    uint8_t b = (uint8_t)v;

    g_byte_array_append(c->zrle->plain, &b, 1);
}

static unsigned index_bits(unsigned colours)
{
    return colours <= 2 ? 1 : colours <= 4 ? 2 : 4;
}

static void put_palette(struct vnc_client *c)
{
    for (unsigned i = 0; i < c->zrle->palette.count; i++)
        put_short(c, c->zrle->palette.colour[i]);
}

/* Indices of 1, 2 or 4 bits, in lines of whole bytes. */
static void put_packed(struct vnc_client *c, const struct tile *t)
{
    unsigned bits = index_bits(c->zrle->palette.count);

    put_byte(c, c->zrle->palette.count);
    put_palette(c);
    for (unsigned y = 0; y < t->height; y++) {
        unsigned byte = 0, have = 0;

        for (unsigned x = 0; x < t->width; x++) {
            byte = byte << bits | vnc_palette_index(&c->zrle->palette, t->pixels[y * t->stride + x]);
            have += bits;
            if (have == 8) {
                put_byte(c, byte);
                byte = have = 0;
            }
        }
        if (have)
            put_byte(c, byte << (8 - have));
    }
}

/* A run's length less one: as many bytes of 255 as go into it, and the rest. */
static void put_length(struct vnc_client *c, unsigned length)
{
    for (length--; length >= 255; length -= 255)
        put_byte(c, 255);
    put_byte(c, length);
}

static void put_run(struct vnc_client *c, uint32_t px, unsigned length, bool palette)
{
    unsigned index;

    if (!palette) {
        put_short(c, px);
        put_length(c, length);
        return;
    }
    index = vnc_palette_index(&c->zrle->palette, px);
    put_byte(c, index | (length > 1 ? 128 : 0));
    if (length > 1)
        put_length(c, length);
}

static void put_runs(struct vnc_client *c, const struct tile *t, bool palette)
{
    uint32_t last = t->pixels[0];
    unsigned length = 0;

    put_byte(c, palette ? 128 + c->zrle->palette.count : 128);
    if (palette)
        put_palette(c);
    for (unsigned y = 0; y < t->height; y++) {
        for (unsigned x = 0; x < t->width; x++) {
            uint32_t px = t->pixels[y * t->stride + x];

            if (px != last) {
                put_run(c, last, length, palette);
                last = px;
                length = 0;
            }
            length++;
        }
    }
    put_run(c, last, length, palette);
}

static void put_raw(struct vnc_client *c, const struct tile *t)
{
    put_byte(c, 0);
    for (unsigned y = 0; y < t->height; y++) {
        for (unsigned x = 0; x < t->width; x++)
            put_short(c, t->pixels[y * t->stride + x]);
    }
}

static void put_tile(struct vnc_client *c, const struct tile *t)
{
    struct vnc_palette *p = &c->zrle->palette;
    unsigned px = c->format.short_bytes, area = t->width * t->height, runs;
    bool few = vnc_palette_fill(p, t->pixels, t->stride, t->width, t->height, 127, &runs);
    size_t raw = (size_t)area * px, plain = (size_t)runs * (px + 1), coded = few ? (size_t)p->count * px + runs * 2 : SIZE_MAX;
    size_t packed = few && p->count <= 16 ? p->count * px + (size_t)(t->width * index_bits(p->count) + 7) / 8 * t->height : SIZE_MAX;

    if (few && p->count == 1) {
        put_byte(c, 1);
        put_palette(c);
    } else if (packed <= MIN(MIN(raw, plain), coded)) {
        put_packed(c, t);
    } else if (coded < MIN(raw, plain)) {
        put_runs(c, t, true);
    } else if (plain < raw) {
        put_runs(c, t, false);
    } else {
        put_raw(c, t);
    }
}

unsigned vnc_encode_zrle(struct vnc_client *c, const struct vnc_rect *r)
{
    size_t length_at;

    if (!c->zrle) {
        c->zrle = g_new0(struct vnc_zrle, 1);
        c->zrle->plain = g_byte_array_new();
        vnc_squeeze_init(&c->zrle->z, c->level);
    }
    g_byte_array_set_size(c->zrle->plain, 0);
    for (unsigned y = 0; y < r->height; y += TILE) {
        for (unsigned x = 0; x < r->width; x += TILE) {
            struct tile t = {r->pixels + y * r->stride + x, r->stride, MIN(TILE, r->width - x), MIN(TILE, r->height - y)};

            put_tile(c, &t);
        }
    }
    vnc_rect_head(c, r->x, r->y, r->width, r->height, RFB_ENC_ZRLE);
    length_at = c->out->len;
    vnc_put_u32(c, 0);
    vnc_squeeze(&c->zrle->z, c->level, c->zrle->plain->data, c->zrle->plain->len, c->out);
    viv_st_be32(c->out->data + length_at, (uint32_t)(c->out->len - length_at - 4));
    return 1;
}
