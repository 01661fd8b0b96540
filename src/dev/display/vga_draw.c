/* Video memory to pixels. A linear mode of 32 bits is shown as it lies; others are converted, line by line where the dirty log says
 * that something was written. */
#include "dev/display/vga.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

/* ---- what has changed ---- */

static size_t dirty_words(const struct vga *v)
{
    return ((v->ram->size >> VIV_PAGE_SHIFT) + 8 * sizeof(long) - 1) / (8 * sizeof(long));
}

bool vga_is_dirty(const struct vga *v, uint64_t from, uint64_t len)
{
    const unsigned bits = 8 * sizeof(long);

    if (v->all)
        return true;
    for (uint64_t p = from >> VIV_PAGE_SHIFT; p <= (from + len - 1) >> VIV_PAGE_SHIFT; p++) {
        if (v->dirty[p / bits] >> (p % bits) & 1)
            return true;
    }
    return false;
}

static void fetch_dirty(struct vga *v)
{
    if (v->log)
        memset(v->dirty, 0, dirty_words(v) * sizeof(long));
    if (!v->log || viv_ram_log_sync(v->log, v->dirty) < 0)
        v->all = true;
}

static void watched(void *opaque, bool on)
{
    struct vga *v = opaque;

    if (!on) {
        viv_ram_log_stop(v->log);
        v->log = NULL;
        return;
    }
    if (!v->dirty)
        v->dirty = g_new0(unsigned long, dirty_words(v));
    v->all = true;
    if (viv_ram_log_start(v->ram, &v->log) < 0)
        v->log = NULL; /* each refresh draws all of it, then */
}

/* ---- colours ---- */

/* What the attribute controller makes of four bits. */
static unsigned attr_index(const struct vga *v, unsigned i)
{
    unsigned c = v->attr[i & v->attr[0x12] & 15];

    if (v->attr[0x10] & 0x80)
        c = (c & 15) | (v->attr[0x14] & 3) << 4;
    return c | (v->attr[0x14] & 12) << 4;
}

/* Has it changed? */
static bool update_palette(struct vga *v, const struct vga_mode *m)
{
    bool sixteen = m->kind == VGA_TEXT || m->kind == VGA_PLANAR || m->kind == VGA_CGA, changed = false;

    if (m->kind == VGA_BLANK || (m->kind == VGA_LINEAR && m->bits > 8))
        return false;
    for (unsigned i = 0; i < (sixteen ? 16 : 256); i++) {
        uint32_t rgb = vga_dac_rgb(v, sixteen ? attr_index(v, i) : i);

        changed |= v->palette[i] != rgb;
        v->palette[i] = rgb;
    }
    return changed;
}

/* ---- lines ---- */

/* `skip`: pixels of the first step that are left of the picture. */
static void planar_line(struct vga *v, const struct vga_mode *m, uint32_t counter, uint32_t scan, uint32_t skip, uint32_t *out)
{
    uint32_t x = 0;

    for (; x < m->width; counter++) {
        const uint8_t *p = v->ram->hva + 4 * (size_t)vga_mode_offset(m, counter, scan);

        for (unsigned bit = 8 - skip; bit-- > 0 && x < m->width; x++)
            out[x] = v->palette[(p[0] >> bit & 1) | (p[1] >> bit & 1) << 1 | (p[2] >> bit & 1) << 2 | (p[3] >> bit & 1) << 3];
        skip = 0;
    }
}

/* Two bits a pixel from planes 0, then 1; planes 2 and 3 have the upper two. */
static void cga_line(struct vga *v, const struct vga_mode *m, uint32_t counter, uint32_t scan, uint32_t skip, uint32_t *out)
{
    uint32_t x = 0;

    for (; x < m->width; counter++) {
        const uint8_t *p = v->ram->hva + 4 * (size_t)vga_mode_offset(m, counter, scan);

        for (unsigned i = skip; i < 8 && x < m->width; i++, x++) {
            unsigned shift = 6 - 2 * (i & 3), plane = i >> 2;

            out[x] = v->palette[(p[plane] >> shift & 3) | (p[plane + 2] >> shift & 3) << 2];
        }
        skip = 0;
    }
}

static void packed_line(struct vga *v, const struct vga_mode *m, uint32_t counter, uint32_t scan, uint32_t skip, uint32_t *out)
{
    uint32_t x = 0;

    for (; x < m->width; counter++) {
        const uint8_t *p = v->ram->hva + 4 * (size_t)vga_mode_offset(m, counter, scan);

        for (unsigned i = skip; i < 4 && x < m->width; i++, x++)
            out[x] = v->palette[p[i]];
        skip = 0;
    }
}

static uint32_t from_5_6_5(uint32_t p, unsigned green)
{
    uint32_t r = p >> (green + 5) & 31, g = p >> 5 & ((1u << green) - 1), b = p & 31;

    return (r << 3 | r >> 2) << 16 | (green == 6 ? g << 2 | g >> 4 : g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static void linear_line(const struct vga *v, const struct vga_mode *m, const uint8_t *p, uint32_t *out)
{
    for (uint32_t x = 0; x < m->width; x++) {
        switch (m->bits) {
        case 8:
            out[x] = v->palette[p[x]];
            break;
        case 15:
            out[x] = from_5_6_5(viv_ld_le16(p + 2 * x), 5);
            break;
        case 16:
            out[x] = from_5_6_5(viv_ld_le16(p + 2 * x), 6);
            break;
        default:
            out[x] = p[3 * x] | p[3 * x + 1] << 8 | (uint32_t)p[3 * x + 2] << 16;
        }
    }
}

/* Draws line y if it must be; was it? */
static bool linear(struct vga *v, const struct vga_mode *m, uint32_t y, uint32_t *out)
{
    uint64_t at = m->start + (uint64_t)y * m->stride;

    if (!vga_is_dirty(v, at, (uint64_t)m->width * ((m->bits + 7) / 8)))
        return false;
    if (m->bits != 32)
        linear_line(v, m, v->ram->hva + at, out);
    return true;
}

static bool by_counter(struct vga *v, const struct vga_mode *m, uint32_t y, uint32_t *out)
{
    bool below = y >= m->split;
    uint32_t line = below ? y - m->split : y, scan = line % m->rows;
    uint32_t counter = (below ? 0 : m->start) + line / m->rows * m->stride;
    uint32_t steps = m->width / (m->kind == VGA_PACKED ? 4 : 8) + 1;
    uint32_t first = vga_mode_offset(m, counter, scan), last = vga_mode_offset(m, counter + steps, scan);

    /* Where the counter wraps, its offsets are not one range: such a line is always drawn. */
    if (last >= first && !vga_is_dirty(v, 4ull * first, 4ull * (last - first + 1)))
        return false;
    (m->kind == VGA_PLANAR ? planar_line : m->kind == VGA_CGA ? cga_line : packed_line)(v, m, counter, scan, below ? m->below : m->pan, out);
    return true;
}

static void draw_lines(struct vga *v, const struct viv_surface *s)
{
    const struct vga_mode *m = &v->shown;
    uint32_t first = 0, count = 0;

    for (uint32_t y = 0; y < m->height; y++) {
        uint32_t *out = (uint32_t *)(s->pixels + y * s->stride);

        if (m->kind == VGA_LINEAR ? linear(v, m, y, out) : by_counter(v, m, y, out)) {
            first = count++ ? first : y;
        } else if (count) {
            viv_console_changed(v->console, 0, first, m->width, count);
            count = 0;
        }
    }
    if (count)
        viv_console_changed(v->console, 0, first, m->width, count);
}

/* ---- refresh ---- */

static void new_mode(struct vga *v, const struct vga_mode *m)
{
    struct viv_surface *s;

    v->shown = *m;
    v->all = true;
    if (m->kind == VGA_LINEAR && m->bits == 32)
        s = viv_surface_over(v->ram->hva + m->start, m->width, m->height, m->stride);
    else
        s = viv_surface_new(m->width, m->height);
    viv_console_show(v->console, s);
}

static void refresh(void *opaque)
{
    struct vga *v = opaque;
    const struct viv_surface *s;
    struct vga_mode m;
    bool changed;

    vga_mode_now(v, &m);
    changed = memcmp(&m, &v->shown, sizeof(m)) != 0;
    if (changed)
        new_mode(v, &m);
    changed |= update_palette(v, &m);
    v->all |= changed;
    fetch_dirty(v);
    s = viv_console_surface(v->console);
    if (s && m.kind == VGA_TEXT)
        vga_text_draw(v, s, changed);
    else if (s && m.kind != VGA_BLANK)
        draw_lines(v, s);
    v->all = false;
    if (v->ext)
        v->ext->refreshed(v->ext_opaque);
}

const struct viv_console_ops vga_console_ops = {.refresh = refresh, .watched = watched, .text = vga_text_get};
