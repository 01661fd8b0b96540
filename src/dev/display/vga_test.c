#include "dev/display/vga.h"

#include "bus/pci.h"
#include "dev/display/edid.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_vga, viv_dev_bochs_display;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_vga, &viv_dev_bochs_display, NULL};

#define LFB  0xe0000000ull
#define MMIO 0xe8000000ull

/* What BIOSes program for a mode (IBM VGA Technical Reference, "VGA function: register values of modes"). */
struct regs {
    uint8_t misc, seq[5], crtc[25], gc[9], attr[21];
};

static const struct regs mode3 = {
    0x67, {3, 0, 3, 0, 2},
    {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9,
     0xa3, 0xff},
    {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff},
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0}};
static const struct regs mode13 = {
    0x63, {3, 1, 0x0f, 0, 0x0e},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3,
     0xff},
    {0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0}};
static const struct regs mode12 = {
    0xe3, {3, 1, 0x0f, 0, 6},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0, 0xe7, 0x04, 0xe3,
     0xff},
    {0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff},
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 1, 0, 0x0f, 0, 0}};
static const struct regs mode4 = {
    0x63, {3, 9, 3, 0, 2},
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0, 0x96, 0xb9, 0xa2,
     0xff},
    {0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff},
    {0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3, 0, 0}};

static struct viv_dev *card;
static struct viv_console *console;

static void config(unsigned reg, uint32_t value)
{
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 0x10, reg, value, 4);
    viv_dev_unlock();
}

static void begin_as(const char *cls, const char *opts)
{
    rig_init();
    rig.board.pci = viv_pci_bus_new(&rig.board, "pci.0");
    card = rig_add(cls, opts);
    console = viv_console_find(cls, 0);
    g_assert_nonnull(console);
    config(0x10, (uint32_t)LFB);
    config(0x18, (uint32_t)MMIO);
    config(4, 3);
}

static void begin_with(const char *opts)
{
    begin_as("VGA", opts);
}

static void begin(void)
{
    begin_with("addr=2");
}

static void end(void)
{
    struct viv_pci_bus *bus = rig.board.pci;

    rig_fini();
    viv_pci_bus_free(bus);
    g_assert_null(viv_console_at(0));
}

static void indexed(uint16_t port, unsigned i, uint8_t value)
{
    out8(port, (uint8_t)i);
    out8(port + 1, value);
}

static void set_attr(unsigned i, uint8_t value)
{
    in8(0x3da);
    out8(0x3c0, (uint8_t)(i | 0x20));
    out8(0x3c0, value);
}

static void set_mode(const struct regs *r)
{
    out8(0x3c2, r->misc);
    for (unsigned i = 0; i < 5; i++)
        indexed(0x3c4, i, r->seq[i]);
    indexed(0x3d4, 0x11, 0);
    for (unsigned i = 0; i < 25; i++)
        indexed(0x3d4, i, r->crtc[i]);
    for (unsigned i = 0; i < 9; i++)
        indexed(0x3ce, i, r->gc[i]);
    in8(0x3da);
    for (unsigned i = 0; i < 21; i++) {
        out8(0x3c0, (uint8_t)i);
        out8(0x3c0, r->attr[i]);
    }
    out8(0x3c0, 0x20);
    /* A palette whose entries all differ. */
    out8(0x3c8, 0);
    for (unsigned i = 0; i < 256; i++) {
        out8(0x3c9, (uint8_t)(i & 63));
        out8(0x3c9, (uint8_t)(i >> 2));
        out8(0x3c9, (uint8_t)(63 - (i & 63)));
    }
}

static unsigned six(unsigned v)
{
    return v << 2 | v >> 4;
}

static uint32_t dac(unsigned i)
{
    return six(i & 63) << 16 | six(i >> 2) << 8 | six(63 - (i & 63));
}

static void poke(uint64_t addr, uint8_t v)
{
    viv_space_write(rig.board.mem, addr, v, 1);
}

static uint8_t peek(uint64_t addr)
{
    return (uint8_t)viv_space_read(rig.board.mem, addr, 1);
}

static const struct viv_surface *look(void)
{
    viv_dev_lock();
    viv_console_refresh(console);
    viv_dev_unlock();
    return viv_console_surface(console);
}

static uint32_t pixel(const struct viv_surface *s, unsigned x, unsigned y)
{
    return *(uint32_t *)(s->pixels + y * s->stride + 4 * x) & 0xffffff;
}

static void expect_size(const struct viv_surface *s, unsigned width, unsigned height)
{
    g_assert_nonnull(s);
    g_assert_cmpuint(s->width, ==, width);
    g_assert_cmpuint(s->height, ==, height);
}

/* ---- a viewer ---- */

static struct {
    unsigned calls, first, lines, x, width, shown;
} seen;

static void shown(void *opaque, const struct viv_surface *s)
{
    seen.shown++;
}

static void changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    seen.first = seen.calls++ ? seen.first : y;
    seen.lines += height;
    seen.x = x;
    seen.width = width;
}

static void gone(void *opaque)
{
}

static const struct viv_viewer_ops viewer = {.shown = shown, .changed = changed, .gone = gone};

static void look_fresh(void)
{
    memset(&seen, 0, sizeof(seen));
    look();
}

/* ---- text ---- */

static uint8_t glyph(unsigned ch, unsigned row)
{
    return (uint8_t)(ch * 7 + row * 29);
}

/* As a BIOS does: plane 2 alone, addresses in order. */
static void load_font(void)
{
    indexed(0x3c4, 2, 4);
    indexed(0x3c4, 4, 7);
    indexed(0x3ce, 5, 0);
    indexed(0x3ce, 6, 4);
    for (unsigned ch = 0; ch < 256; ch++) {
        for (unsigned row = 0; row < 16; row++)
            poke(0xa0000 + ch * 32 + row, glyph(ch, row));
    }
    indexed(0x3c4, 2, 3);
    indexed(0x3c4, 4, 2);
    indexed(0x3ce, 5, 0x10);
    indexed(0x3ce, 6, 0x0e);
}

static void put_text(unsigned at, uint8_t ch, uint8_t attr)
{
    viv_space_write(rig.board.mem, 0xb8000 + 2 * at, ch | attr << 8, 2);
}

/* The colour a cell's pixel must have; mode3's palette is 0-7 (6: 14h) and 38h-3Fh. */
static uint32_t text_pixel(unsigned ch, unsigned attr, unsigned x, unsigned y)
{
    unsigned fg = mode3.attr[attr & 15], bg = mode3.attr[attr >> 4 & 7];
    bool on = x < 8 ? glyph(ch, y) >> (7 - x) & 1 : (ch & 0xe0) == 0xc0 && glyph(ch, y) & 1;

    return dac(on ? fg : bg);
}

static void test_text(void)
{
    const struct viv_surface *s;
    struct viv_text *t;

    begin();
    expect_size(look(), 640, 480); /* dark */
    set_mode(&mode3);
    load_font();
    for (unsigned i = 0; i < 2000; i++)
        put_text(i, (uint8_t)i, (uint8_t)(i / 7 & 0x7f));
    put_text(81, 'H', 0x1e);
    put_text(82, 0xb3, 0x4f);
    indexed(0x3d4, 0x0a, 0x20); /* no cursor */
    g_assert_cmphex(peek(0xb8000 + 162), ==, 'H');
    g_assert_cmphex(peek(0xb8000 + 163), ==, 0x1e);
    s = look();
    expect_size(s, 720, 400);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned ch = i == 81 ? 'H' : i == 82 ? 0xb3 : i & 0xff, attr = i == 81 ? 0x1e : i == 82 ? 0x4f : i / 7 & 0x7f;

        for (unsigned p = 0; p < 9 * 16; p++)
            g_assert_cmphex(pixel(s, i % 80 * 9 + p % 9, i / 80 * 16 + p / 9), ==, text_pixel(ch, attr, p % 9, p / 9));
    }
    indexed(0x3d4, 0x0a, 13); /* the cursor: lines 13 and 14 of cell 83 */
    indexed(0x3d4, 0x0e, 0);
    indexed(0x3d4, 0x0f, 83);
    s = look();
    g_assert_cmphex(pixel(s, 27, 16 + 12), ==, text_pixel(83, 83 / 7, 0, 12));
    for (unsigned x = 27; x < 36; x++)
        g_assert_cmphex(pixel(s, x, 16 + 13), ==, dac(mode3.attr[83 / 7 & 15]));
    t = viv_console_text(console);
    g_assert_true(t->columns == 80 && t->rows == 25 && t->cursor_x == 3 && t->cursor_y == 1);
    g_assert_true(t->cell[81].ch == 'H' && t->cell[81].fg == 14 && t->cell[81].bg == 1);
    g_assert_cmphex(t->cell[82].ch, ==, 0x2502);
    g_free(t);
    rig_step(228000000); /* it blinks */
    g_assert_cmphex(pixel(look(), 27, 16 + 13), ==, text_pixel(83, 83 / 7, 0, 13));
    indexed(0x3d4, 0x0d, 80); /* a line further */
    g_assert_cmphex(pixel(look(), 9, 1), ==, text_pixel('H', 0x1e, 0, 1));
    end();
}

/* One register alone changes what all cells look like. */
static void test_text_registers(void)
{
    struct viv_viewer *v;

    begin();
    set_mode(&mode3);
    load_font();
    indexed(0x3d4, 0x0a, 0x20); /* no cursor */
    put_text(0, 0xc1, 0x9e);
    rig_step(457000000); /* the blinking character is off */
    v = viv_viewer_new(console, &viewer, NULL);
    viv_dev_lock();
    viv_viewer_set_period(v, 1000000);
    viv_dev_unlock();
    for (unsigned p = 0; p < 9 * 16; p++)
        g_assert_cmphex(pixel(look(), p % 9, p / 9), ==, dac(mode3.attr[1]));
    set_attr(0x10, 0x04); /* bright backgrounds in place of blinking */
    g_assert_cmphex(pixel(look(), 0, 0), ==, dac(mode3.attr[glyph(0xc1, 0) & 0x80 ? 14 : 9]));
    g_assert_cmphex(pixel(look(), 8, 0), ==, dac(mode3.attr[glyph(0xc1, 0) & 1 ? 14 : 9]));
    set_attr(0x10, 0x00); /* the ninth dot is background */
    g_assert_cmphex(pixel(look(), 8, 0), ==, dac(mode3.attr[9]));
    put_text(0, 0xc1, 0x01);
    look();
    set_attr(0x10, 0x02); /* underlined, on a line that the cell does not have; then on line 5 */
    look();
    indexed(0x3d4, 0x14, 5);
    for (unsigned x = 0; x < 8; x++)
        g_assert_cmphex(pixel(look(), x, 5), ==, dac(mode3.attr[1]));
    set_attr(0x10, 0x00);
    for (unsigned x = 0; x < 8; x++)
        g_assert_cmphex(pixel(look(), x, 5), ==, dac(mode3.attr[glyph(0xc1, 5) >> (7 - x) & 1]));
    indexed(0x3c4, 3, 5); /* both fonts at 16 KiB, where there is nothing */
    for (unsigned p = 0; p < 9 * 16; p++)
        g_assert_cmphex(pixel(look(), p % 9, p / 9), ==, dac(0));
    indexed(0x3c4, 3, 0);
    g_assert_cmphex(pixel(look(), 1, 0), ==, dac(mode3.attr[1])); /* 47h */
    put_text(79, 0xc1, 0x01);
    put_text(80, 0xc1, 0x01);
    set_attr(0x13, 0); /* panned by one dot */
    g_assert_cmphex(pixel(look(), 0, 0), ==, dac(mode3.attr[1]));
    set_attr(0x13, 7); /* by eight */
    for (unsigned x = 1; x < 720; x++)
        g_assert_cmphex(pixel(look(), x, 0), ==, dac((x + 8) / 9 > 78 && glyph(0xc1, 0) << 1 >> (8 - (x + 8) % 9) & 1 ? mode3.attr[1] : 0));
    put_text(80, 0xc1, 0x02);
    look_fresh();
    g_assert_true(seen.calls == 2 && seen.x == 0 && seen.width == 1); /* and the row above ends with it */
    set_attr(0x13, 8);
    g_assert_cmphex(pixel(look(), 1, 0), ==, dac(mode3.attr[1]));
    viv_dev_lock();
    viv_viewer_free(v);
    viv_dev_unlock();
    end();
}

static void split_at(unsigned line)
{
    indexed(0x3d4, 0x18, (uint8_t)line);
    indexed(0x3d4, 7, 0x0f); /* bits 8 and 9 are 0 */
    indexed(0x3d4, 9, 0x0f);
}

/* Does the row that begins on line y, with `scan` of its lines hidden, begin with the cell? */
static void expect_cell(unsigned ch, unsigned attr, unsigned y, unsigned scan, unsigned lines, unsigned pan)
{
    const struct viv_surface *s = look();

    for (unsigned i = 0; i < lines; i++) {
        for (unsigned x = 0; x + pan < 9; x++)
            g_assert_cmphex(pixel(s, x, y + i), ==, text_pixel(ch, attr, x + pan, scan + i));
    }
}

/* Text that scrolls smoothly above a line that stays: start address, preset row scan, panning, line compare. */
static void test_text_split(void)
{
    struct viv_text *t;

    begin();
    set_mode(&mode3);
    load_font();
    indexed(0x3d4, 0x0a, 0x20); /* no cursor */
    for (unsigned i = 0; i < 4000; i++)
        put_text(i, (uint8_t)(i / 80), (uint8_t)(i / 80 & 7));
    indexed(0x3d4, 0x0d, 80); /* the second row is the first */
    indexed(0x3d4, 8, 5);     /* from its sixth line on */
    expect_cell(1, 1, 0, 5, 11, 0);
    expect_cell(2, 2, 11, 0, 16, 0);
    expect_cell(26, 2, 395, 0, 5, 0);
    split_at(99);
    expect_cell(6, 6, 75, 0, 16, 0);
    expect_cell(7, 7, 91, 0, 9, 0);
    expect_cell(0, 0, 100, 0, 16, 0); /* what is preset is the first row's alone */
    expect_cell(18, 2, 388, 0, 12, 0);
    set_attr(0x13, 2); /* three dots */
    expect_cell(1, 1, 0, 5, 11, 3);
    expect_cell(0, 0, 100, 0, 16, 3);
    set_attr(0x10, 0x2c); /* above alone */
    expect_cell(7, 7, 91, 0, 9, 3);
    expect_cell(1, 1, 116, 0, 16, 0);
    t = viv_console_text(console);
    g_assert_true(t->columns == 80 && t->rows == 7 + 19);
    g_assert_true(t->cell[6 * 80].fg == 7 && t->cell[7 * 80].fg == 0 && t->cell[25 * 80].fg == 2);
    g_free(t);
    indexed(0x3d4, 8, 31); /* more than a row has */
    indexed(0x3d4, 0x18, 0); /* one line above */
    expect_cell(1, 1, 0, 0, 1, 3);
    expect_cell(0, 0, 1, 0, 16, 0);
    indexed(0x3d4, 9, 0x8f); /* each line twice: nothing is above */
    indexed(0x3d4, 8, 5);
    expect_cell(0, 0, 0, 0, 16, 0);
    end();
}

/* ---- graphics ---- */

static void test_mode_13(void)
{
    const struct viv_surface *s;
    struct viv_space_range r;

    begin();
    set_mode(&mode13);
    g_assert_true(viv_space_find(rig.board.mem, 0xa0000, &r));
    g_assert_cmpint(r.kind, ==, VIV_REGION_RAM); /* no trap */
    for (unsigned i = 0; i < 64000; i++)
        poke(0xa0000 + i, (uint8_t)(i * 7 + i / 320));
    s = look();
    expect_size(s, 320, 200);
    for (unsigned i = 0; i < 64000; i++)
        g_assert_cmphex(pixel(s, i % 320, i / 320), ==, dac((uint8_t)(i * 7 + i / 320)));
    out8(0x3c6, 0x0f); /* DAC mask */
    g_assert_cmphex(pixel(look(), 5, 0), ==, dac(35 & 15));
    out8(0x3c6, 0xff);
    /* Mode X: chain-4 off, byte mode, 240 lines; a plane at a time. */
    indexed(0x3c4, 4, 6);
    indexed(0x3d4, 0x14, 0);
    indexed(0x3d4, 0x17, 0xe3);
    indexed(0x3d4, 0x12, 0xdf);
    g_assert_true(viv_space_find(rig.board.mem, 0xa0000, &r));
    g_assert_cmpint(r.kind, ==, VIV_REGION_IO);
    for (unsigned plane = 0; plane < 4; plane++) {
        indexed(0x3c4, 2, (uint8_t)(1 << plane));
        for (unsigned i = 0; i < 80 * 240; i++)
            poke(0xa0000 + i, (uint8_t)(i * 5 + plane * 64));
    }
    indexed(0x3d4, 7, 0x3e); /* 0DFh + 200h lines less: bit 9 is off, bit 8 on */
    s = look();
    expect_size(s, 320, 240);
    for (unsigned i = 0; i < 320 * 240; i++)
        g_assert_cmphex(pixel(s, i % 320, i / 320), ==, dac((uint8_t)(i / 4 * 5 + i % 4 * 64)));
    end();
}

static void test_planar(void)
{
    const struct viv_surface *s;

    begin();
    set_mode(&mode12);
    /* Write mode 2 with a bit mask: single pixels. */
    indexed(0x3ce, 5, 2);
    for (unsigned x = 0; x < 640; x++) {
        indexed(0x3ce, 8, (uint8_t)(0x80 >> (x & 7)));
        peek(0xa0000 + 80 * 3 + x / 8);
        poke(0xa0000 + 80 * 3 + x / 8, (uint8_t)(x % 16));
    }
    s = look();
    expect_size(s, 640, 480);
    for (unsigned x = 0; x < 640; x++)
        g_assert_cmphex(pixel(s, x, 3), ==, dac(mode12.attr[x % 16]));
    g_assert_cmphex(pixel(s, 0, 2), ==, dac(0));
    indexed(0x3ce, 8, 0xff);
    indexed(0x3ce, 5, 0); /* mode 0: set/reset on planes 0 and 3, rotated data on the others, XOR */
    indexed(0x3ce, 0, 0x01);
    indexed(0x3ce, 1, 0x09);
    indexed(0x3ce, 3, 0x18 | 4);
    indexed(0x3c4, 2, 0x0f);
    peek(0xa0000 + 80 * 10); /* latches: 0 */
    poke(0xa0000 + 80 * 10, 0x1f);
    indexed(0x3ce, 1, 0);
    indexed(0x3ce, 3, 0);
    for (unsigned plane = 0; plane < 4; plane++) {
        static const uint8_t want[4] = {0xff, 0xf1, 0xf1, 0x00};

        indexed(0x3ce, 4, (uint8_t)plane);
        g_assert_cmphex(peek(0xa0000 + 80 * 10), ==, want[plane]);
    }
    indexed(0x3ce, 5, 1); /* mode 1: copies the latches, on the planes that are enabled */
    indexed(0x3c4, 2, 0x05);
    poke(0xa0000 + 80 * 11, 0x55);
    indexed(0x3ce, 5, 8); /* read mode 1: which pixels are colour 5, looking at planes 0, 2, 3 */
    indexed(0x3ce, 2, 0x05);
    indexed(0x3ce, 7, 0x0d);
    g_assert_cmphex(peek(0xa0000 + 80 * 11), ==, 0xf1);
    indexed(0x3c4, 2, 0x0f);
    indexed(0x3ce, 5, 3); /* mode 3: data and bit mask choose where set/reset goes */
    indexed(0x3ce, 0, 0x0c);
    indexed(0x3ce, 8, 0xf0);
    peek(0xa0000 + 80 * 20);
    poke(0xa0000 + 80 * 20, 0x3c);
    s = look();
    for (unsigned x = 0; x < 8; x++)
        g_assert_cmphex(pixel(s, x, 20), ==, dac(mode12.attr[x == 2 || x == 3 ? 12 : 0]));
    /* Split screen: from line 100 on the picture begins at 0 again; panning by 4. */
    indexed(0x3d4, 0x18, 99);
    indexed(0x3d4, 7, 0x2e);
    indexed(0x3d4, 9, 0);
    g_assert_cmphex(pixel(look(), 3, 103), ==, dac(mode12.attr[3]));
    set_attr(0x13, 4);
    g_assert_cmphex(pixel(look(), 3, 103), ==, dac(mode12.attr[7]));
    set_attr(0x10, 0x21); /* above the split alone */
    g_assert_cmphex(pixel(look(), 3, 103), ==, dac(mode12.attr[3]));
    g_assert_cmphex(pixel(look(), 3, 3), ==, dac(mode12.attr[7]));
    end();
}

static void test_cga(void)
{
    const struct viv_surface *s;

    begin();
    set_mode(&mode4);
    for (unsigned y = 0; y < 200; y++) {
        for (unsigned x = 0; x < 80; x++)
            poke(0xb8000 + (y & 1) * 0x2000 + y / 2 * 80 + x, (uint8_t)(x * 3 + y));
    }
    s = look();
    expect_size(s, 320, 200);
    for (unsigned i = 0; i < 64000; i++) {
        unsigned x = i % 320, y = i / 320, byte = (uint8_t)(x / 4 * 3 + y);

        g_assert_cmphex(pixel(s, x, y), ==, dac(mode4.attr[byte >> (6 - x % 4 * 2) & 3]));
    }
    end();
}

/* ---- VBE ---- */

static void dispi(uint16_t index, uint16_t value)
{
    out16(0x1ce, index);
    out16(0x1cf, value);
}

static uint16_t dispi_get(uint16_t index)
{
    out16(0x1ce, index);
    return in16(0x1cf);
}

static void vbe_mode(uint16_t width, uint16_t height, uint16_t bits)
{
    dispi(4, 0);
    dispi(1, width);
    dispi(2, height);
    dispi(3, bits);
    dispi(4, 0x41);
    in8(0x3da);
    out8(0x3c0, 0x20); /* not off */
}

static void test_vbe(void)
{
    static const uint16_t depths[] = {8, 15, 16, 24, 32};
    const struct viv_surface *s;

    begin();
    set_mode(&mode13);
    g_assert_cmphex(dispi_get(0), ==, 0xb0c5);
    g_assert_cmpuint(dispi_get(10), ==, 256);
    dispi(4, 2);
    g_assert_true(dispi_get(1) == 16384 && dispi_get(3) == 32);
    for (unsigned d = 0; d < G_N_ELEMENTS(depths); d++) {
        unsigned bytes = (depths[d] + 7) / 8;

        vbe_mode(800, 600, depths[d]);
        for (unsigned i = 0; i < 800 * 600 * bytes; i += 8)
            set_mem64(LFB + i, 0x9e3779b97f4a7c15ull * (i + 1));
        s = look();
        expect_size(s, 800, 600);
        for (unsigned i = 0; i < 800 * 600; i += 37) {
            uint32_t v = mem32(LFB + i * bytes), want = v & 0xffffff;
            unsigned r = depths[d] == 15 ? v >> 10 & 31 : v >> 11 & 31, g = depths[d] == 15 ? v >> 5 & 31 : v >> 5 & 63, b = v & 31;

            if (bytes == 1)
                want = dac(v & 0xff);
            if (bytes == 2)
                want = (r << 3 | r >> 2) << 16 | (depths[d] == 15 ? g << 3 | g >> 2 : g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
            g_assert_cmphex(pixel(s, i % 800, i / 800), ==, want);
        }
    }
    /* 32 bits: no copy. */
    set_mem32(LFB + 4 * 801, 0x123456);
    g_assert_cmphex(pixel(s, 1, 1), ==, 0x123456);
    dispi(6, 1024); /* virtual width, scrolled */
    dispi(8, 10);
    dispi(9, 20);
    set_mem32(LFB + 4 * (1024 * 20 + 10), 0xabcdef);
    g_assert_cmphex(pixel(look(), 0, 0), ==, 0xabcdef);
    g_assert_cmpuint(dispi_get(7), ==, 4096);
    in8(0x3da); /* off, and on again */
    out8(0x3c0, 0);
    expect_size(look(), 800, 600);
    g_assert_cmphex(pixel(look(), 0, 0), ==, 0);
    out8(0x3c0, 0x20); /* data for register 0: the picture stays off */
    out8(0x3c0, 0x20);
    g_assert_cmphex(pixel(look(), 0, 0), ==, 0xabcdef);
    dispi(5, 3); /* a bank at A0000h */
    poke(0xa0000, 0x77);
    g_assert_cmphex(mem32(LFB + 0x30000) & 0xff, ==, 0x77);
    dispi(4, 0);
    expect_size(look(), 320, 200);
    end();
}

static void test_vbe_limits(void)
{
    begin();
    set_mode(&mode12);
    vbe_mode(16384, 16384, 32); /* 1 GiB in 16 MiB: dark, and nothing is cleared outside */
    expect_size(look(), 640, 480);
    vbe_mode(2048, 2048, 32);
    expect_size(look(), 2048, 2048);
    g_assert_false(viv_console_surface(console)->own);
    dispi(9, 1); /* one line too far */
    g_assert_true(look()->own);
    g_assert_cmphex(pixel(look(), 2047, 2047), ==, 0);
    dispi(9, 65535);
    look();
    dispi(5, 255);
    g_assert_cmpuint(dispi_get(5), ==, 255);
    dispi(5, 256);
    g_assert_cmpuint(dispi_get(5), ==, 255);
    poke(0xaffff, 1);
    dispi(1, 100); /* not while it is enabled */
    g_assert_cmpuint(dispi_get(1), ==, 2048);
    dispi(4, 0);
    dispi(3, 17);
    g_assert_cmpuint(dispi_get(3), ==, 32);
    dispi(1, 16385);
    g_assert_cmpuint(dispi_get(1), ==, 2048);
    vbe_mode(800, 600, 4); /* planar */
    dispi(9, 65535);
    dispi(8, 799);
    expect_size(look(), 800, 600);
    dispi(8, 0);
    dispi(9, 41343); /* the last line that lets 60,000 bytes of each plane be shown */
    set_mem32(LFB + 4 * 4134300, 0xff);
    g_assert_cmphex(pixel(look(), 0, 0), ==, dac(1));
    dispi(9, 41344);
    g_assert_cmphex(pixel(look(), 0, 0), ==, 0);
    vbe_mode(16384, 16384, 4); /* 128 MiB */
    expect_size(look(), 640, 480);
    end();
    begin_with("addr=2,vgamem_mb=3,edid=off");
    g_assert_cmpuint(dispi_get(10), ==, 64);
    g_assert_cmphex(mem32(MMIO), ==, 0);
    end();
    rig_init();
    rig_refused("VGA", NULL, "PCI bus");
    rig_fini();
}

static void test_mmio(void)
{
    uint8_t edid[VIV_EDID_SIZE], sum = 0;

    begin();
    for (unsigned i = 0; i < VIV_EDID_SIZE; i += 4) {
        uint32_t v = mem32(MMIO + i);

        memcpy(edid + i, &v, 4);
    }
    for (unsigned i = 0; i < VIV_EDID_SIZE; i++)
        sum += edid[i];
    g_assert_cmpint(sum, ==, 0);
    g_assert_true(edid[54 + 2] == (1280 & 255) && edid[54 + 4] >> 4 == 1280 >> 8 && edid[54 + 5] == (800 & 255));
    viv_space_write(rig.board.mem, MMIO + 0x502, 640, 2);
    g_assert_cmpuint(dispi_get(1), ==, 640);
    g_assert_cmphex(viv_space_read(rig.board.mem, MMIO + 0x500, 4), ==, 640 << 16 | 0xb0c5);
    viv_space_write(rig.board.mem, MMIO + 0x404, 0x0302, 2); /* sequencer 2 := 3 */
    out8(0x3c4, 2);
    g_assert_cmphex(in8(0x3c5), ==, 3);
    config(4, 2); /* no ports: only BAR 2 is left */
    g_assert_cmphex(in8(0x3c5), ==, 0xff);
    g_assert_cmphex(peek(MMIO + 0x405), ==, 3);
    config(4, 3);
    out8(0x3c2, 0);
    g_assert_cmphex(in8(0x3d4), ==, 0xff);
    g_assert_cmphex(in8(0x3b4), ==, 0);
    end();
}

/* ---- what is told to viewers ---- */

static void test_only_what_changed(void)
{
    struct viv_viewer *v;

    begin();
    vbe_mode(1024, 768, 32);
    look();
    v = viv_viewer_new(console, &viewer, NULL);
    viv_dev_lock();
    viv_viewer_set_period(v, 1000000);
    viv_dev_unlock();
    look_fresh();
    g_assert_cmpuint(seen.lines, ==, 768);
    look_fresh();
    g_assert_cmpuint(seen.calls, ==, 0);
    set_mem32(LFB + 4096 * 100, 1); /* a line is a page */
    set_mem32(LFB + 4096 * 101, 1);
    set_mem32(LFB + 4096 * 700, 1);
    look_fresh();
    g_assert_true(seen.calls == 2 && seen.first == 100 && seen.lines == 3);
    dispi(4, 0);
    set_mode(&mode3);
    load_font();
    look();
    put_text(85, 'x', 7);
    look_fresh();
    g_assert_true(seen.calls == 1 && seen.first == 16 && seen.lines == 16 && seen.x == 45 && seen.width == 9);
    look_fresh();
    g_assert_true(seen.calls == 0 && seen.shown == 0);
    viv_dev_lock();
    viv_viewer_free(v);
    viv_dev_unlock();
    end();
}

static void test_state(void)
{
    uint8_t *data, *again;
    size_t len, len2;

    begin();
    set_mode(&mode12);
    vbe_mode(640, 400, 16);
    dispi(9, 7);
    data = rig_save(&len);
    set_mode(&mode3);
    dispi(4, 0);
    rig_load(data, len);
    expect_size(look(), 640, 400);
    g_assert_cmpuint(dispi_get(9), ==, 7);
    out16(0x1ce, 9);
    again = rig_save(&len2);
    g_assert_cmpmem(data, len, again, len2);
    g_free(data);
    g_free(again);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    config(4, 3);
    g_assert_cmphex(in8(0x3cc), ==, 0);
    end();
}

static void test_status(void)
{
    unsigned retraces = 0, blanks = 0, was = 0;

    begin();
    out8(0x3c2, 1);
    out8(0x3c0, 0x10); /* index, data; then 3DAh turns to the index again */
    out8(0x3c0, 0x2c);
    out8(0x3c0, 0x11);
    in8(0x3da);
    out8(0x3c0, 0x10);
    g_assert_cmphex(in8(0x3c1), ==, 0x2c);
    for (unsigned i = 0; i < 1000; i++) { /* a tenth of a second */
        unsigned s = in8(0x3da);

        retraces += s & 8 && !(was & 8);
        blanks += s & 1;
        was = s;
        rig_step(100000);
    }
    g_assert_cmpuint(retraces, ==, 7);
    g_assert_true(blanks > 150 && blanks < 500);
    out8(0x3c7, 5);
    g_assert_cmphex(in8(0x3c7), ==, 3);
    indexed(0x3d4, 0x11, 0x80); /* CRTC 0-7 protected, but for bit 4 of 7 */
    indexed(0x3d4, 1, 0x4f);
    indexed(0x3d4, 7, 0xff);
    g_assert_cmphex(in8(0x3d5), ==, 0x10);
    out8(0x3d4, 1);
    g_assert_cmphex(in8(0x3d5), ==, 0);
    end();
}

/* No VGA about it: neither ports nor window, and nothing to see before a mode is set. */
static void test_bochs_display(void)
{
    static const uint16_t mode[][2] = {{VGA_DISPI_XRES, 64}, {VGA_DISPI_YRES, 48}, {VGA_DISPI_BPP, 32}, {VGA_DISPI_ENABLE, 0x41}};
    const struct viv_surface *s;

    begin_as("bochs-display", "addr=2,vgamem=3M");
    g_assert_cmphex(viv_pci_config_read(rig.board.pci, 0x10, 8, 4), ==, 0x03800002);
    g_assert_cmphex(in8(0x3cc), ==, 0xff);
    g_assert_cmphex(in16(0x1ce), ==, 0xffff);
    g_assert_cmphex(viv_space_read(rig.board.mem, 0xa0000, 4), ==, 0xffffffff);
    viv_space_write(rig.board.mem, MMIO + 0x40c, 0x12, 1);
    g_assert_cmphex(viv_space_read(rig.board.mem, MMIO + 0x40c, 1), ==, 0);
    g_assert_cmphex(viv_space_read(rig.board.mem, MMIO + 8, 2), !=, 0);                              /* EDID's maker */
    g_assert_cmphex(viv_space_read(rig.board.mem, MMIO + 0x500 + 2 * VGA_DISPI_MEMORY_64K, 2), ==, 64); /* 4 MiB */
    viv_space_write(rig.board.mem, LFB, 0x123456, 4);
    viv_dev_lock();
    viv_console_refresh(console);
    s = viv_console_surface(console);
    g_assert_true(!s || *(const uint32_t *)s->pixels == 0);
    viv_dev_unlock();
    for (unsigned i = 0; i < G_N_ELEMENTS(mode); i++)
        viv_space_write(rig.board.mem, MMIO + 0x500 + 2 * mode[i][0], mode[i][1] | (mode[i][0] == VGA_DISPI_ENABLE ? 0x80 : 0), 2);
    viv_dev_lock();
    viv_console_refresh(console);
    s = viv_console_surface(console);
    g_assert_cmpuint(s->width, ==, 64);
    g_assert_cmphex(*(const uint32_t *)s->pixels & 0xffffff, ==, 0x123456);
    viv_dev_unlock();
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vga/text", test_text);
    g_test_add_func("/vga/text-registers", test_text_registers);
    g_test_add_func("/vga/text-split", test_text_split);
    g_test_add_func("/vga/mode-13h", test_mode_13);
    g_test_add_func("/vga/planar", test_planar);
    g_test_add_func("/vga/cga", test_cga);
    g_test_add_func("/vga/vbe", test_vbe);
    g_test_add_func("/vga/vbe-limits", test_vbe_limits);
    g_test_add_func("/vga/mmio", test_mmio);
    g_test_add_func("/vga/changes", test_only_what_changed);
    g_test_add_func("/vga/state", test_state);
    g_test_add_func("/vga/status", test_status);
    g_test_add_func("/vga/bochs-display", test_bochs_display);
    return g_test_run();
}
