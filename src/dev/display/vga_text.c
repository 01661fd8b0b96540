/* Text modes: cells of character and attribute in planes 0 and 1, fonts in plane 2. A cell is drawn when it differs from what was
 * drawn there. The cursor blinks half as fast as on a VGA, for viewers that look five times a second. */
#include "dev/display/vga.h"

#include "host/clock.h"

#include <glib.h>
#include <string.h>

#define CURSOR_NS 228000000
#define BLINK_NS  457000000

enum {
    CELL_HIDDEN = 1 << 16, /* a blinking character that is off now */
    CELL_CURSOR = 1 << 17, /* shape above it */
    CELL_NONE = -1,        /* unlike any cell */
};

static unsigned columns(const struct vga_mode *m)
{
    return m->width / m->cell;
}

/* A row of the picture: the first and the last of each part of a split screen may show only some of their lines. */
struct row {
    uint32_t y, lines; /* on the picture */
    uint32_t scan;     /* the first line that is shown */
    uint32_t counter;  /* of its first cell */
    uint32_t pan;
};

/* Where the lower part of a split screen begins: the counter and its lines begin at 0 again (line compare). */
static uint32_t lower_part(const struct vga_mode *m)
{
    return MIN(m->split, m->height);
}

static uint32_t rows_of(const struct vga_mode *m, uint32_t lines)
{
    return (lines + m->rows - 1) / m->rows;
}

static uint32_t rows_above(const struct vga_mode *m)
{
    uint32_t lines = lower_part(m);

    return lines ? rows_of(m, lines + m->preset) : 0;
}

static unsigned text_rows(const struct vga_mode *m)
{
    return rows_above(m) + rows_of(m, m->height - lower_part(m));
}

static struct row text_row(const struct vga_mode *m, unsigned n)
{
    uint32_t end = lower_part(m), above = rows_above(m);
    struct row r = {.y = n ? n * m->rows - m->preset : 0, .scan = n ? 0 : m->preset, .counter = m->start + n * m->stride, .pan = m->pan};

    if (n >= above) {
        r = (struct row){.y = end + (n - above) * m->rows, .counter = (n - above) * m->stride, .pan = m->below};
        end = m->height;
    }
    r.lines = MIN(m->rows - r.scan, end - r.y);
    return r;
}

/* Those that are seen in part count. */
static unsigned columns_drawn(const struct vga_mode *m, const struct row *r)
{
    return columns(m) + (r->pan > 0);
}

/* ---- fonts ---- */

/* Map select: two bits say which 16 KiB, one which half of them. */
static uint32_t font_start(unsigned select)
{
    return (select & 3) << 14 | (select & 4) << 11;
}

/* Copies both fonts; have they changed? */
static bool update_fonts(struct vga *v)
{
    unsigned s = v->shown.sr3, select[2] = {(s & 3) | (s >> 2 & 4), (s >> 2 & 3) | (s >> 3 & 4)};
    bool changed = false;

    if (!v->fonts)
        v->fonts = g_malloc0(2 * VGA_FONT);
    for (unsigned n = 0; n < 2; n++) { /* B: attribute bit 3 is 0, A: it is 1 */
        const uint8_t *plane = v->ram->hva + 4 * (size_t)font_start(select[n]) + 2;
        uint8_t *font = v->fonts + n * VGA_FONT;

        for (unsigned i = 0; i < VGA_FONT; i++) {
            changed |= font[i] != plane[4 * i];
            font[i] = plane[4 * i];
        }
    }
    return changed;
}

/* ---- cells ---- */

static uint32_t cursor_address(const struct vga *v)
{
    return (uint32_t)(v->crtc[0x0e] << 8 | v->crtc[0x0f]);
}

static bool cursor_on(const struct vga *v)
{
    return !(v->crtc[0x0a] & 0x20) && (v->crtc[0x0a] & 31) <= (v->crtc[0x0b] & 31);
}

static bool phase(int64_t half_ns)
{
    return !(viv_clock_ns(VIV_CLOCK_GUEST) / half_ns & 1);
}

static uint32_t cell_at(const struct vga *v, uint32_t counter)
{
    const uint8_t *p = v->ram->hva + 4 * (size_t)vga_mode_offset(&v->shown, counter, 0);

    return p[0] | (uint32_t)p[1] << 8;
}

/* The column's place in a line: panning hides a part of the first and of the last. */
struct span {
    unsigned x, skip, width;
};

static struct span place(const struct vga_mode *m, const struct row *r, unsigned column)
{
    struct span s = {column * m->cell - r->pan, 0, m->cell};

    if (!column)
        s = (struct span){0, r->pan, m->cell - r->pan};
    s.width = MIN(s.width, m->width - s.x);
    return s;
}

/* `bits`: 9 dots, the leftmost in bit 8. */
static void draw_dots(uint32_t *out, struct span s, unsigned bits, uint32_t fg, uint32_t bg)
{
    for (unsigned x = 0; x < s.width; x++)
        out[s.x + x] = bits >> (8 - s.skip - x) & 1 ? fg : bg;
}

static void draw_cell(const struct vga *v, const struct viv_surface *s, unsigned column, const struct row *r, uint32_t cell)
{
    const struct vga_mode *m = &v->shown;
    unsigned ch = cell & 0xff, attr = cell >> 8 & 0xff, first = v->crtc[0x0a] & 31, last = v->crtc[0x0b] & 31;
    bool blinks = m->ar10 & AR10_BLINK, ninth = m->ar10 & AR10_9TH && (ch & 0xe0) == 0xc0;
    uint32_t fg = v->palette[attr & 15], bg = v->palette[attr >> 4 & (blinks ? 7 : 15)];
    const uint8_t *glyph = v->fonts + (attr & 8 ? VGA_FONT : 0) + ch * 32;
    struct span at = place(m, r, column);

    for (unsigned y = r->scan; y < r->scan + r->lines; y++) {
        uint32_t *out = (uint32_t *)(s->pixels + (r->y + y - r->scan) * s->stride);
        unsigned bits = cell & CELL_HIDDEN ? 0 : glyph[y & 31] << 1 | (ninth && glyph[y & 31] & 1);
        bool underline = m->ar10 & AR10_MONO && (attr & 7) == 1 && y == (m->cr14 & 31u);

        if (underline || (cell & CELL_CURSOR && y >= first && y <= last))
            bits = 0x1ff;
        draw_dots(out, at, bits, fg, bg);
    }
}

/* Draws the cells of a row that have changed. `drawn`: what they were. */
static void draw_row(struct vga *v, const struct viv_surface *s, const struct row *r, uint32_t *drawn)
{
    const struct vga_mode *m = &v->shown;
    unsigned width = columns_drawn(m, r), first = width, last = 0;
    bool off = m->ar10 & AR10_BLINK && !phase(BLINK_NS);
    uint32_t cursor = cursor_on(v) && phase(CURSOR_NS) ? cursor_address(v) : UINT32_MAX;
    uint32_t shape = CELL_CURSOR | (v->crtc[0x0a] & 31u) << 18 | (v->crtc[0x0b] & 31u) << 23;

    for (unsigned x = 0; x < width; x++) {
        uint32_t at = r->counter + x, cell = cell_at(v, at);

        if (off && cell & 0x8000)
            cell |= CELL_HIDDEN;
        if ((at & 0xffff) == cursor)
            cell |= shape;
        if (cell == drawn[x])
            continue;
        drawn[x] = cell;
        draw_cell(v, s, x, r, cell);
        first = MIN(first, x);
        last = x;
    }
    if (first < width) {
        struct span left = place(m, r, first), right = place(m, r, last);

        viv_console_changed(v->console, left.x, r->y, right.x + right.width - left.x, r->lines);
    }
}

void vga_text_draw(struct vga *v, const struct viv_surface *s, bool changed)
{
    const struct vga_mode *m = &v->shown;
    unsigned width = columns(m) + 1, height = text_rows(m), cells = width * height;

    /* The palette's size is fixed; a mode's is not, and any new mode comes with `changed`. */
    if (changed || !v->cells) {
        g_free(v->cells);
        v->cells = g_new(uint32_t, cells);
        memset(v->cells, CELL_NONE, cells * sizeof(*v->cells));
    }
    if (vga_is_dirty(v, 0, 0x40000) && update_fonts(v))
        memset(v->cells, CELL_NONE, cells * sizeof(*v->cells));
    for (unsigned n = 0; n < height; n++) {
        struct row r = text_row(m, n);

        draw_row(v, s, &r, v->cells + n * width);
    }
}

/* ---- for viewers without pixels ---- */

/* Code page 437, with the pictures of the codes below 20h. */
static const uint16_t cp437[256] = {
    0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022, 0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640, 0x266a, 0x266b, 0x263c,
    0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7, 0x25ac, 0x21a8, 0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc,
    ' ', '!', '"', '#', '$', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '@', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', '[', '\\', ']', '^', '_',
    '`', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '{', '|', '}', '~', 0x2302,
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5,
    0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9, 0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
    0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
    0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
    0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229,
    0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248, 0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

struct viv_text *vga_text_get(void *opaque)
{
    struct vga *v = opaque;
    const struct vga_mode *m = &v->shown;
    struct viv_text *t;
    unsigned width, height;

    viv_console_refresh(v->console);
    if (m->kind != VGA_TEXT)
        return NULL;
    width = columns(m);
    height = text_rows(m);
    t = g_malloc0(sizeof(*t) + (size_t)width * height * sizeof(t->cell[0]));
    t->columns = width;
    t->rows = height;
    t->cursor_x = t->cursor_y = -1;
    for (unsigned i = 0; i < width * height; i++) {
        uint32_t at = text_row(m, i / width).counter + i % width, cell = cell_at(v, at);

        t->cell[i].ch = cp437[cell & 0xff];
        t->cell[i].fg = cell >> 8 & 15;
        t->cell[i].bg = cell >> 12 & (m->ar10 & AR10_BLINK ? 7 : 15);
        if (cursor_on(v) && (at & 0xffff) == cursor_address(v)) {
            t->cursor_x = (int)(i % width);
            t->cursor_y = (int)(i / width);
        }
    }
    return t;
}
