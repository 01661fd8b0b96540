/* The BitBLT engine (manual, chapter 5 "BitBLT engine", GR20-GR39).
 *
 * A blit is done when it is started; one whose source is the processor line by line as the data comes. At most 8 KiB by 2048 lines are
 * written. Left out: blits to the processor (GR30[1]), which the manual has for screen savers of video memory alone. */
#include "dev/display/cirrus.h"

#include "base/log.h"

#include <glib.h>
#include <string.h>

struct blt {
    struct cirrus *c;
    const uint8_t *g; /* registers */
    uint32_t width, height, dst_pitch, src_pitch, dst, src; /* bytes */
    uint32_t fg, bg;
    unsigned bytes; /* a pixel's */
    unsigned skip;  /* pixels at the left */
    uint8_t mode, ext;
    const struct rop *rop;
};

/* ---- raster operations (GR32) ---- */

/* The result where source and destination are 1 and 1, 1 and 0, 0 and 1, 0 and 0: all ones or none. */
static const struct rop {
    uint8_t code, both, source, dest, neither;
} rops[] = {
    {0x00, 0, 0, 0, 0},       {0x05, 0xff, 0, 0, 0},    {0x06, 0xff, 0, 0xff, 0}, {0x09, 0, 0xff, 0, 0},
    {0x0b, 0, 0xff, 0, 0xff}, {0x0d, 0xff, 0xff, 0, 0}, {0x0e, 0xff, 0xff, 0xff, 0xff}, {0x50, 0, 0, 0xff, 0},
    {0x59, 0, 0xff, 0xff, 0}, {0x6d, 0xff, 0xff, 0xff, 0}, {0x90, 0, 0, 0, 0xff}, {0x95, 0xff, 0, 0, 0xff},
    {0xad, 0xff, 0xff, 0, 0xff}, {0xd0, 0, 0, 0xff, 0xff}, {0xd6, 0xff, 0, 0xff, 0xff}, {0xda, 0, 0xff, 0xff, 0xff},
};

static const struct rop *find_rop(uint8_t code)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rops); i++) {
        if (rops[i].code == code)
            return &rops[i];
    }
    return NULL;
}

static uint8_t apply(const struct rop *r, uint8_t s, uint8_t d)
{
    return (uint8_t)((s & ((d & r->both) | (~d & r->source))) | (~s & ((d & r->dest) | (~d & r->neither))));
}

uint8_t cirrus_rop(uint8_t code, uint8_t source, uint8_t dest)
{
    const struct rop *r = find_rop(code);

    return r ? apply(r, source, dest) : dest;
}

/* ---- video memory ---- */

static uint8_t *at(const struct blt *b, uint32_t addr)
{
    return b->c->vga.ram->hva + (addr & cirrus_mask(b->c));
}

static void put(const struct blt *b, uint32_t addr, uint8_t s)
{
    uint8_t *p = at(b, addr);

    *p = apply(b->rop, s, *p);
}

static void put_pixel(const struct blt *b, uint32_t addr, uint32_t colour)
{
    for (unsigned k = 0; k < b->bytes; k++)
        put(b, addr + k, (uint8_t)(colour >> (8 * k)));
}

/* These bytes were written. */
static void mark(const struct blt *b, uint32_t addr, uint32_t len)
{
    while (len) {
        uint32_t from = addr & cirrus_mask(b->c), n = MIN(len, cirrus_mask(b->c) + 1 - from);

        viv_ram_written(b->c->vga.ram->hva + from, n);
        addr += n;
        len -= n;
    }
}

/* ---- lines. `line`: from the processor; NULL: video memory ---- */

static uint32_t bits_line(const struct blt *b)
{
    uint32_t n = (b->width / b->bytes + 7) / 8;

    return b->ext & GR33_DWORDS ? (n + 3) & ~3u : n;
}

static unsigned pattern_size(const struct blt *b)
{
    static const unsigned colour[] = {64, 128, 256, 256};

    return b->mode & GR30_EXPAND ? 8 : colour[b->bytes - 1];
}

/* The n-th byte of the source pattern, whose place is a multiple of its size; the lowest bits of the address say with which of its
 * lines it begins (5.5, "pattern fills"). */
static uint8_t pattern_byte(const struct blt *b, const uint8_t *line, unsigned n)
{
    return line ? line[n] : *at(b, (b->src & ~(pattern_size(b) - 1)) + n);
}

static unsigned pattern_line(const struct blt *b, uint32_t y)
{
    return ((b->mode & GR30_FROM_SYSTEM ? 0 : b->src) + y) & 7;
}

static void expand_line(const struct blt *b, uint32_t y, const uint8_t *line)
{
    uint32_t pixels = b->width / b->bytes, dst = b->dst + y * b->dst_pitch;
    bool pattern = b->mode & GR30_PATTERN;

    for (uint32_t x = b->skip; x < pixels; x++) {
        uint8_t byte = pattern ? pattern_byte(b, line, pattern_line(b, y)) : line ? line[x / 8] : *at(b, b->src + y * bits_line(b) + x / 8);
        bool one = byte >> (7 - x % 8) & 1;

        /* GR33[1] turns round which bits are transparent: 0s are drawn then, in the background colour that they have always. */
        if (!(b->mode & GR30_TRANSPARENT) || one != ((b->ext & GR33_INVERT) != 0))
            put_pixel(b, dst + x * b->bytes, one ? b->fg : b->bg);
    }
}

static void fill_line(const struct blt *b, uint32_t y)
{
    for (uint32_t x = b->skip; x < b->width / b->bytes; x++)
        put_pixel(b, b->dst + y * b->dst_pitch + x * b->bytes, b->fg);
}

/* Pixels like GR34 and GR35 are not written; there is no such colour for 24 and 32 bits. */
static bool is_key(const struct blt *b, uint32_t colour)
{
    if (!(b->mode & GR30_TRANSPARENT) || b->bytes > 2)
        return false;
    return b->bytes == 1 ? colour == b->g[0x34] : colour == (b->g[0x34] | (uint32_t)b->g[0x35] << 8);
}

static void pattern_copy_line(const struct blt *b, uint32_t y, const uint8_t *line)
{
    unsigned from = pattern_line(b, y) * (b->bytes == 3 ? 32 : 8 * b->bytes);

    for (uint32_t x = b->skip; x < b->width / b->bytes; x++) {
        uint32_t colour = 0;

        for (unsigned k = 0; k < b->bytes; k++)
            colour |= (uint32_t)pattern_byte(b, line, from + x % 8 * b->bytes + k) << (8 * k);
        if (!is_key(b, colour))
            put_pixel(b, b->dst + y * b->dst_pitch + x * b->bytes, colour);
    }
}

static void keyed_line(const struct blt *b, uint32_t y, const uint8_t *line)
{
    bool back = b->mode & GR30_BACKWARDS && !line;

    for (uint32_t x = 0; x + b->bytes <= b->width; x += b->bytes) {
        /* Backwards addresses are those of last bytes. */
        uint32_t d = back ? b->dst - y * b->dst_pitch - x - (b->bytes - 1) : b->dst + y * b->dst_pitch + x;
        uint32_t s = back ? b->src - y * b->src_pitch - x - (b->bytes - 1) : b->src + y * b->src_pitch + x;
        uint32_t colour = 0;

        for (unsigned k = 0; k < b->bytes; k++)
            colour |= (uint32_t)(line ? line[x + k] : *at(b, s + k)) << (8 * k);
        if (!is_key(b, colour))
            put_pixel(b, d, colour);
    }
}

/* Source and destination without a wrap and apart: as one piece. */
static bool copy_at_once(const struct blt *b, uint32_t d, uint32_t s)
{
    uint32_t mask = cirrus_mask(b->c), w = b->width;

    d &= mask;
    s &= mask;
    if (b->rop->code != 0x0d || d + w - 1 > mask || s + w - 1 > mask || (d < s + w && s < d + w))
        return false;
    memcpy(at(b, d), at(b, s), w);
    return true;
}

static void copy_line(const struct blt *b, uint32_t y, const uint8_t *line)
{
    bool back = b->mode & GR30_BACKWARDS && !line;
    uint32_t step = back ? UINT32_MAX : 1, d = b->dst + y * (back ? -b->dst_pitch : b->dst_pitch);
    uint32_t s = b->src + y * (back ? -b->src_pitch : b->src_pitch);

    if (!line && copy_at_once(b, back ? d - b->width + 1 : d, back ? s - b->width + 1 : s))
        return;
    for (uint32_t x = 0; x < b->width; x++)
        put(b, d + x * step, line ? line[x] : *at(b, s + x * step));
}

static void do_line(const struct blt *b, uint32_t y, const uint8_t *line)
{
    bool plain = !(b->mode & (GR30_EXPAND | GR30_PATTERN)), back = plain && !line && b->mode & GR30_BACKWARDS;

    if (b->ext & GR33_FILL && !plain)
        fill_line(b, y);
    else if (b->mode & GR30_EXPAND)
        expand_line(b, y, line);
    else if (b->mode & GR30_PATTERN)
        pattern_copy_line(b, y, line);
    else
        (b->mode & GR30_TRANSPARENT ? keyed_line : copy_line)(b, y, line);
    mark(b, back ? b->dst - y * b->dst_pitch - b->width + 1 : b->dst + y * b->dst_pitch, b->width);
}

/* ---- start, data, end ---- */

static uint32_t colour_of(const uint8_t *g, unsigned first)
{
    return g[first] | (uint32_t)g[first + 0x10] << 8 | (uint32_t)g[first + 0x12] << 16 | (uint32_t)g[first + 0x14] << 24;
}

static struct blt take(struct cirrus *c, const uint8_t *g)
{
    struct blt b = {.c = c, .g = g, .mode = g[0x30], .ext = g[0x33], .rop = find_rop(g[0x32])};

    b.bytes = (g[0x30] >> 4 & 3) + 1u;
    b.width = (g[0x20] | (g[0x21] & 0x1fu) << 8) + 1;
    b.height = (g[0x22] | (g[0x23] & 7u) << 8) + 1;
    b.dst_pitch = g[0x24] | (g[0x25] & 0x1fu) << 8;
    b.src_pitch = g[0x26] | (g[0x27] & 0x1fu) << 8;
    b.dst = g[0x28] | (uint32_t)g[0x29] << 8 | (g[0x2a] & 0x3fu) << 16;
    b.src = g[0x2c] | (uint32_t)g[0x2d] << 8 | (g[0x2e] & 0x3fu) << 16;
    b.bg = colour_of(g, 0);
    b.fg = colour_of(g, 1);
    b.skip = b.bytes == 3 ? (g[0x2f] & 0x1f) / 3 : g[0x2f] & 7;
    return b;
}

/* A line of bits may be narrower than a pixel: it takes a byte all the same. */
static uint32_t fed_bytes(const struct blt *b)
{
    if (b->mode & GR30_PATTERN)
        return pattern_size(b);
    return b->mode & GR30_EXPAND ? MAX(1, bits_line(b)) : (b->width + 3) & ~3u;
}

void cirrus_blt_reset(struct cirrus *c)
{
    c->feeding = false;
    c->have = c->row = 0;
    cirrus_update_linear(c);
    vga_update_window(&c->vga);
}

void cirrus_blt_start(struct cirrus *c)
{
    struct blt b = take(c, c->gr);

    if (c->feeding)
        return;
    if (!b.rop || b.mode & GR30_TO_SYSTEM) {
        viv_guest_error("cirrus-vga", "blit with mode %02x, raster operation %02x: not done", b.mode, c->gr[0x32]);
        return;
    }
    if (b.mode & GR30_FROM_SYSTEM && !(b.ext & GR33_FILL)) {
        memcpy(c->blt, c->gr, sizeof(c->blt));
        c->feeding = true;
        c->need = fed_bytes(&b);
        c->have = c->row = 0;
        cirrus_update_linear(c);
        vga_update_window(&c->vga);
        return;
    }
    for (uint32_t y = 0; y < b.height; y++)
        do_line(&b, y, NULL);
}

void cirrus_blt_feed(struct cirrus *c, uint8_t byte)
{
    struct blt b;

    c->line[c->have++] = byte;
    if (c->have < c->need)
        return;
    b = take(c, c->blt);
    c->have = 0;
    if (b.mode & GR30_PATTERN) {
        for (; c->row < b.height; c->row++)
            do_line(&b, c->row, c->line);
    } else {
        do_line(&b, c->row++, c->line);
    }
    if (c->row == b.height)
        cirrus_blt_reset(c);
}

/* What was loaded: does it lead anywhere that a blit would not? */
bool cirrus_blt_state_ok(const struct cirrus *c)
{
    struct blt b = take((struct cirrus *)c, c->blt);

    return !c->feeding || (b.rop && c->need == fed_bytes(&b) && c->need <= CIRRUS_LINE && c->have < c->need && c->row < b.height);
}
