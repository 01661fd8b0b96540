#include "ui/vc/draw.h"

#include "ui/vc/font.h"

#include <glib.h>

#define REPLACEMENT 0xfffd

static const uint32_t base_colours[16] = {
    0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa,
    0x555555, 0xff5555, 0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff,
};

static uint32_t rgb_of(uint8_t n)
{
    static const uint8_t level[6] = {0, 95, 135, 175, 215, 255};
    unsigned cube = n - 16u;

    if (n < 16)
        return base_colours[n];
    if (n >= 232)
        return (8 + 10 * (n - 232u)) * 0x010101;
    return (uint32_t)level[cube / 36] << 16 | (uint32_t)level[cube / 6 % 6] << 8 | level[cube % 6];
}

static const uint8_t *find_glyph(uint32_t ch)
{
    unsigned low = 0, high = viv_font_count;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (viv_font_chars[mid].ch == ch)
            return viv_font_glyphs[viv_font_chars[mid].glyph];
        if (viv_font_chars[mid].ch < ch)
            low = mid + 1;
        else
            high = mid;
    }
    return ch == REPLACEMENT ? viv_font_glyphs['?'] : find_glyph(REPLACEMENT);
}

/* What the attributes make of the colours; a cursor turns them round. */
static void colours(const struct viv_term_cell *c, bool cursor, uint8_t *fg, uint8_t *bg)
{
    bool swap = cursor != !!(c->attrs & VIV_TERM_REVERSE);
    uint8_t front = c->attrs & VIV_TERM_BOLD && c->fg < 8 ? (uint8_t)(c->fg + 8) : c->fg;

    *fg = swap ? c->bg : front;
    *bg = swap ? front : c->bg;
}

static void draw_cell(const struct viv_term_cell *c, bool cursor, uint8_t *pixels, size_t stride)
{
    const uint8_t *glyph = find_glyph(c->ch ? c->ch : ' ');
    uint8_t fg, bg;
    uint32_t colour[2];

    colours(c, cursor, &fg, &bg);
    colour[0] = rgb_of(bg);
    colour[1] = rgb_of(fg);
    for (unsigned y = 0; y < VIV_FONT_HEIGHT; y++) {
        uint32_t *to = (uint32_t *)(pixels + y * stride);
        unsigned bits = c->attrs & VIV_TERM_UNDERLINE && y == VIV_FONT_HEIGHT - 2 ? 0xff : glyph[y];

        for (unsigned x = 0; x < VIV_FONT_WIDTH; x++)
            to[x] = colour[bits >> (7 - x) & 1];
    }
}

void viv_vc_draw_row(const struct viv_term *t, unsigned y, struct viv_surface *s)
{
    const struct viv_term_cell *row = viv_term_row(t, y);
    uint8_t *pixels = s->pixels + (size_t)y * VIV_FONT_HEIGHT * s->stride;
    unsigned cx, cy, columns = viv_term_columns(t);
    bool shown = viv_term_cursor(t, &cx, &cy) && cy == y;

    for (unsigned x = 0; x < columns; x++)
        draw_cell(&row[x], shown && x == cx, pixels + (size_t)x * VIV_FONT_WIDTH * 4, s->stride);
}

/* The nearest of VGA's 16, whose blue and red are the other way round. */
static uint8_t vga_colour(uint8_t n)
{
    static const uint8_t turned[8] = {0, 4, 2, 6, 1, 5, 3, 7};
    uint32_t rgb = rgb_of(n);
    unsigned r = rgb >> 16, g = rgb >> 8 & 255, b = rgb & 255, bright = MAX(r, MAX(g, b));

    if (n < 16)
        return (uint8_t)(turned[n & 7] | (n & 8));
    if (bright < 48)
        return 0;
    return (uint8_t)((r > bright / 2 ? 4 : 0) | (g > bright / 2 ? 2 : 0) | (b > bright / 2 ? 1 : 0) | (bright > 200 ? 8 : 0));
}

struct viv_text *viv_vc_text(const struct viv_term *t)
{
    unsigned columns = viv_term_columns(t), rows = viv_term_rows(t), cx, cy;
    bool shown = viv_term_cursor(t, &cx, &cy);
    struct viv_text *out = g_malloc(sizeof(*out) + (size_t)columns * rows * sizeof(out->cell[0]));

    out->columns = columns;
    out->rows = rows;
    out->cursor_x = shown ? (int)cx : -1;
    out->cursor_y = shown ? (int)cy : -1;
    for (unsigned i = 0; i < columns * rows; i++) {
        const struct viv_term_cell *c = &viv_term_row(t, i / columns)[i % columns];
        uint8_t fg, bg;

        colours(c, false, &fg, &bg);
        out->cell[i].ch = c->ch ? c->ch : ' ';
        out->cell[i].fg = vga_colour(fg);
        out->cell[i].bg = vga_colour(bg) & 7;
    }
    return out;
}
