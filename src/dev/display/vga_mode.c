/* What the registers put on the screen. (FreeVGA: "VGA Display Generation", "CRTC registers"; Bochs VBE display API.)
 *
 * A picture's lines are those that differ by design: a scan line that the CRTC shows twice is one. Left out: interlace, skew, the
 * preset row scan of graphics modes. */
#include "dev/display/vga.h"

#include <string.h>

enum {
    SEQ1_8_DOTS = 1,
    SEQ1_OFF = 0x20,
    GC5_CGA = 0x20,
    GC5_256 = 0x40,
    GC6_GRAPHICS = 1,
    ATTR_PAS = 0x20,
    CR9_DOUBLE = 0x80,
    CR14_DWORD = 0x40,
    CR17_BYTE = 0x40,
    CR17_WRAP_15 = 0x20,
    CR17_NO_BANKS = 3, /* scan lines do not take the place of address bits 13 and 14 */
};

static void blank(struct vga_mode *m, uint32_t width, uint32_t height)
{
    memset(m, 0, sizeof(*m));
    m->kind = VGA_BLANK;
    m->width = width;
    m->height = height;
}

/* Not all of it is in video memory: dark, and of its own size only where a smaller offset would do, as registers name any size. */
static void blank_outside(const struct vga *v, struct vga_mode *m)
{
    bool small = (uint64_t)m->width * m->height * m->bits / 8 <= v->ram->size;

    blank(m, small ? m->width : 640, small ? m->height : 480);
}

static void set_linear(const struct vga *v, struct vga_mode *m, uint64_t start, uint64_t stride)
{
    uint64_t bytes = m->width * ((m->bits + 7) / 8ull);

    m->kind = VGA_LINEAR;
    m->start = (uint32_t)start;
    m->stride = (uint32_t)stride;
    if (stride < bytes || start + (m->height - 1) * stride + bytes > v->ram->size)
        blank_outside(v, m);
}

static void set_planar(const struct vga *v, struct vga_mode *m, uint32_t x, uint32_t y, uint32_t virtual_width)
{
    uint64_t stride = virtual_width / 8, start = y * stride + x / 8, bytes = (m->width + (x & 7) + 7) / 8;

    m->kind = VGA_PLANAR;
    m->stride = (uint32_t)stride;
    m->mask = (uint32_t)(v->ram->size / 4 - 1);
    m->start = (uint32_t)start;
    m->pan = x & 7;
    m->cr17 = CR17_BYTE | CR17_NO_BANKS;
    if (stride < m->width / 8 || start + (m->height - 1) * stride + bytes > v->ram->size / 4)
        blank_outside(v, m);
}

static void dispi_mode(const struct vga *v, struct vga_mode *m)
{
    const uint16_t *d = v->dispi;
    uint32_t width = d[VGA_DISPI_XRES], height = d[VGA_DISPI_YRES], bits = d[VGA_DISPI_BPP];
    uint64_t bytes = (bits + 7) / 8, stride = d[VGA_DISPI_VIRT_WIDTH] * bytes, start;

    if (!width || !height) {
        blank(m, 640, 480);
        return;
    }
    m->width = width;
    m->height = height;
    m->rows = 1;
    m->split = UINT32_MAX;
    m->bits = bits;
    if (bits == 4) {
        set_planar(v, m, d[VGA_DISPI_X_OFFSET], d[VGA_DISPI_Y_OFFSET], d[VGA_DISPI_VIRT_WIDTH]);
        return;
    }
    start = d[VGA_DISPI_Y_OFFSET] * stride + d[VGA_DISPI_X_OFFSET] * bytes;
    set_linear(v, m, start, stride);
}

static void chip_mode(const struct vga *v, struct vga_mode *m)
{
    m->rows = 1;
    m->split = UINT32_MAX;
    set_linear(v, m, m->start, m->stride);
}

/* Dots that are left of the picture. Cells of 9 dots count from 8 on: 8, 0, 1, ... 7. */
static uint32_t text_pan(const struct vga *v, uint32_t cell)
{
    unsigned pan = v->attr[0x13] & 15;

    return cell == 8 ? pan & 7 : pan >= 8 ? 0 : pan + 1;
}

static void text_mode(const struct vga *v, struct vga_mode *m, uint32_t columns, uint32_t lines, uint32_t row)
{
    m->kind = VGA_TEXT;
    m->cell = v->seq[1] & SEQ1_8_DOTS ? 8 : 9;
    m->width = columns * m->cell;
    m->height = lines;
    m->rows = row;
    m->preset = (v->crtc[8] & 0x1fu) < row ? v->crtc[8] & 0x1fu : 0;
    m->pan = text_pan(v, m->cell);
    m->below = v->attr[0x10] & AR10_PAN_ABOVE ? 0 : m->pan;
    m->cr17 |= CR17_NO_BANKS;
    m->ar10 = v->attr[0x10] & (AR10_MONO | AR10_9TH | AR10_BLINK);
    m->sr3 = v->seq[3];
}

static void graphics_mode(const struct vga *v, struct vga_mode *m, uint32_t columns, uint32_t lines, uint32_t row)
{
    if ((m->cr17 & CR17_NO_BANKS) == CR17_NO_BANKS) { /* all lines of a row are the same */
        lines = lines / row;
        m->split = m->split == UINT32_MAX ? m->split : m->split / row;
        row = 1;
    }
    m->rows = row;
    m->height = lines;
    m->kind = v->gc[5] & GC5_256 ? VGA_PACKED : v->gc[5] & GC5_CGA ? VGA_CGA : VGA_PLANAR;
    m->width = columns * (m->kind == VGA_PACKED ? 4 : 8);
    m->pan = m->kind == VGA_PACKED ? (v->attr[0x13] & 7) >> 1 : v->attr[0x13] & 7;
    m->below = v->attr[0x10] & AR10_PAN_ABOVE ? 0 : m->pan;
}

/* Screen savers, and kernels (Linux's bochs-drm for DPMS), switch a picture off by the attribute controller, whatever its mode is. */
static bool is_off(const struct vga *v)
{
    return !v->only_dispi && !(v->attr_index & ATTR_PAS);
}

void vga_mode_now(const struct vga *v, struct vga_mode *m)
{
    const uint8_t *c = v->crtc;
    uint32_t columns = c[1] + 1u, lines = (c[0x12] | (c[7] & 2u) << 7 | (c[7] & 0x40u) << 3) + 1;
    uint32_t split = (c[0x18] | (c[7] & 0x10u) << 4 | (c[9] & 0x40u) << 3) + 1, twice = c[9] & CR9_DOUBLE ? 2 : 1;

    memset(m, 0, sizeof(*m));
    if (vga_dispi_on(v)) {
        dispi_mode(v, m);
        if (is_off(v))
            blank(m, m->width, m->height);
        return;
    }
    if (v->ext && v->ext->mode(v->ext_opaque, m)) {
        chip_mode(v, m);
        if (is_off(v))
            blank(m, m->width, m->height);
        return;
    }
    m->start = (uint32_t)(c[0x0c] << 8 | c[0x0d]) + (c[8] >> 5 & 3);
    m->stride = c[0x13] * 2u;
    m->mask = 0xffff;
    m->cr17 = c[0x17];
    m->cr14 = c[0x14];
    m->split = split >= lines ? UINT32_MAX : split / twice;
    if (v->gc[6] & GC6_GRAPHICS)
        graphics_mode(v, m, columns, lines / twice, (c[9] & 0x1fu) + 1);
    else
        text_mode(v, m, columns, lines / twice, (c[9] & 0x1fu) + 1);
    /* In VGA's own modes alone: SeaBIOS sets the CL-GD5446's packed ones with this bit on. */
    if (!m->width || !m->height || v->seq[1] & SEQ1_OFF || is_off(v))
        blank(m, m->width < 320 ? 640 : m->width, m->height < 200 ? 480 : m->height);
}

uint32_t vga_mode_offset(const struct vga_mode *m, uint32_t counter, uint32_t scan)
{
    uint32_t o = counter;

    /* Double words: a counter step is four bytes, as in chain-4 (see vga.h). */
    if (!(m->cr14 & CR14_DWORD) && !(m->cr17 & CR17_BYTE))
        o = counter << 1 | (counter >> (m->cr17 & CR17_WRAP_15 ? 15 : 13) & 1);
    if (!(m->cr17 & 1))
        o = (o & ~0x2000u) | (scan & 1) << 13;
    if (!(m->cr17 & 2))
        o = (o & ~0x4000u) | (scan >> 1 & 1) << 14;
    return o & m->mask;
}
