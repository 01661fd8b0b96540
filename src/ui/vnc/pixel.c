#include "ui/vnc/pixel.h"

#include "base/bytes.h"

#include <string.h>

static uint32_t to_client(const struct vnc_format *f, uint32_t v)
{
    if (!f->big)
        return v;
    return f->bits == 32 ? __builtin_bswap32(v) : f->bits == 16 ? __builtin_bswap16((uint16_t)v) : v;
}

/* A word without one of its outer bytes, if no colour is in it (RFC 6143 section 7.7.5). */
static void find_short(struct vnc_format *f)
{
    uint32_t used = 0;

    for (unsigned i = 0; i < 3; i++)
        used |= (uint32_t)f->max[i] << f->shift[i];
    f->short_bytes = f->bytes;
    if (f->bits != 32 || f->depth > 24 || !f->true_colour)
        return;
    if (!(used & 0xff000000)) {
        f->short_bytes = 3;
    } else if (!(used & 0xff)) {
        f->short_bytes = 3;
        f->short_high = true;
    }
}

static void derive(struct vnc_format *f)
{
    f->bytes = f->bits / 8;
    f->short_high = false;
    find_short(f);
    f->rgb = f->bits == 32 && f->depth == 24 && f->true_colour && f->max[0] == 255 && f->max[1] == 255 && f->max[2] == 255;
    f->native = f->rgb && !f->big && f->shift[0] == 16 && f->shift[1] == 8 && f->shift[2] == 0;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned v = 0; v < 256; v++)
            f->table[i][v] = to_client(f, ((v * f->max[i] + 127) / 255) << f->shift[i]);
    }
}

void vnc_format_native(struct vnc_format *f)
{
    *f = (struct vnc_format){.bits = 32, .depth = 24, .true_colour = true, .max = {255, 255, 255}, .shift = {16, 8, 0}};
    derive(f);
}

bool vnc_format_parse(struct vnc_format *f, const uint8_t *p)
{
    struct vnc_format n = {.bits = p[0], .depth = p[1], .big = p[2], .true_colour = p[3]};

    if ((n.bits != 8 && n.bits != 16 && n.bits != 32) || (!n.true_colour && n.bits != 8))
        return false;
    for (unsigned i = 0; i < 3; i++) {
        n.max[i] = n.true_colour ? viv_ld_be16(p + 4 + 2 * i) : i == 2 ? 3 : 7;
        n.shift[i] = n.true_colour ? p[10 + i] : (uint8_t[]){0, 3, 6}[i];
        if ((n.max[i] & (n.max[i] + 1)) || !n.max[i] || n.shift[i] >= n.bits || (uint64_t)n.max[i] << n.shift[i] >> n.bits)
            return false;
    }
    derive(&n);
    *f = n;
    return true;
}

void vnc_format_write(const struct vnc_format *f, uint8_t p[16])
{
    memset(p, 0, 16);
    p[0] = f->bits;
    p[1] = f->depth;
    p[2] = f->big;
    p[3] = f->true_colour;
    for (unsigned i = 0; i < 3; i++) {
        viv_st_be16(p + 4 + 2 * i, f->max[i]);
        p[10 + i] = f->shift[i];
    }
}

void vnc_format_map(unsigned n, uint16_t rgb[3])
{
    rgb[0] = (uint16_t)((n & 7) * 65535 / 7);
    rgb[1] = (uint16_t)((n >> 3 & 7) * 65535 / 7);
    rgb[2] = (uint16_t)((n >> 6 & 3) * 65535 / 3);
}

static inline uint32_t convert(const struct vnc_format *f, uint32_t px)
{
    return f->table[0][px >> 16 & 255] | f->table[1][px >> 8 & 255] | f->table[2][px & 255];
}

void vnc_pixels(const struct vnc_format *f, const uint32_t *from, size_t n, uint8_t *to)
{
    if (f->native) {
        memcpy(to, from, n * 4);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t v = convert(f, from[i]);

        memcpy(to + i * f->bytes, &v, f->bytes);
    }
}

unsigned vnc_pixel_short(const struct vnc_format *f, uint32_t px, uint8_t *to)
{
    uint32_t v = convert(f, px);

    /* In the client's byte order the byte left out is the first or the last. */
    memcpy(to, (uint8_t *)&v + (f->short_bytes < f->bytes && f->short_high != f->big), f->short_bytes);
    return f->short_bytes;
}

unsigned vnc_pixel_tight(const struct vnc_format *f, uint32_t px, uint8_t *to)
{
    uint32_t v;

    if (f->rgb) {
        to[0] = (uint8_t)(px >> 16);
        to[1] = (uint8_t)(px >> 8);
        to[2] = (uint8_t)px;
        return 3;
    }
    v = convert(f, px);
    memcpy(to, &v, f->bytes);
    return f->bytes;
}

/* ---- palettes ---- */

static unsigned hash(uint32_t px)
{
    return (px * 0x9e3779b1u) >> 22;
}

static bool add(struct vnc_palette *p, uint32_t px, unsigned max)
{
    unsigned h = hash(px);

    while (p->slot[h] && p->colour[p->slot[h] - 1] != px)
        h = (h + 1) & 1023;
    if (p->slot[h])
        return true;
    if (p->count == max)
        return false;
    p->colour[p->count++] = px;
    p->slot[h] = (uint16_t)p->count;
    return true;
}

bool vnc_palette_fill(struct vnc_palette *p, const uint32_t *pixels, size_t stride, unsigned width, unsigned height, unsigned max,
                      unsigned *runs)
{
    uint32_t last = ~pixels[0];
    bool fits = true;

    p->count = 0;
    memset(p->slot, 0, sizeof(p->slot));
    *runs = 0;
    for (unsigned y = 0; y < height; y++, pixels += stride) {
        for (unsigned x = 0; x < width; x++) {
            if (pixels[x] == last)
                continue;
            last = pixels[x];
            ++*runs;
            fits = fits && add(p, last, max);
        }
    }
    return fits;
}

unsigned vnc_palette_index(const struct vnc_palette *p, uint32_t px)
{
    unsigned h = hash(px);

    while (p->colour[p->slot[h] - 1] != px)
        h = (h + 1) & 1023;
    return p->slot[h] - 1u;
}
