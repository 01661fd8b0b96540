/* Text mode 3 (80 by 25 characters, 720 by 400 dots) on the first VGA, as its BIOS leaves it: kernels write to B8000h and see it.
 * (IBM VGA Technical Reference, "BIOS default register values"; Ralf Brown's list of the BIOS data area.)
 *
 * All goes through ports and the window at A0000h: what of several adapters answers there is programmed, of whatever kind. */
#include "machine/firmware.h"

#include "base/bytes.h"
#include "mem/dma.h"
#include "mem/space.h"
#include "ui/vc/font.h"

#include <glib.h>

#define PLANES    0xa0000u
#define TEXT      0xb8000u
#define TEXT_SIZE 0x8000u
#define FONT_STEP 32 /* bytes a character has room for */
#define BLANK     0x07200720u /* two cells: spaces, grey on black */

enum { ATTR = 0x3c0, STATUS1 = 0x3da, MISC = 0x3c2, SEQ = 0x3c4, DAC_MASK = 0x3c6, DAC_WRITE = 0x3c8, DAC_DATA = 0x3c9, GC = 0x3ce, CRTC = 0x3d4 };

static const uint8_t seq_mode3[] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t crtc_mode3[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                                     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
static const uint8_t gc_mode3[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff};
static const uint8_t attr_mode3[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                                     0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};

static void out(struct viv_space *io, unsigned port, unsigned value)
{
    viv_space_write_locked(io, port, value & 0xff, 1);
}

static void out_indexed(struct viv_space *io, unsigned port, unsigned n, unsigned value)
{
    out(io, port, n);
    out(io, port + 1, value);
}

static void out_table(struct viv_space *io, unsigned port, const uint8_t *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        out_indexed(io, port, i, values[i]);
}

/* The font is in plane 2, which is seen at A0000h for as long as this takes. */
static void load_font(struct viv_board *b)
{
    static const uint8_t open_seq[][2] = {{2, 0x04}, {4, 0x06}}, open_gc[][2] = {{4, 0x02}, {5, 0x00}, {6, 0x04}};

    for (size_t i = 0; i < G_N_ELEMENTS(open_seq); i++)
        out_indexed(b->io, SEQ, open_seq[i][0], open_seq[i][1]);
    for (size_t i = 0; i < G_N_ELEMENTS(open_gc); i++)
        out_indexed(b->io, GC, open_gc[i][0], open_gc[i][1]);
    for (unsigned ch = 0; ch < 256; ch++) {
        for (unsigned i = 0; i < FONT_STEP; i += 4) {
            uint32_t lines = i < VIV_FONT_HEIGHT ? viv_ld_le32(viv_font_cp437[ch] + i) : 0;

            viv_space_write_locked(b->mem, PLANES + ch * FONT_STEP + i, lines, 4);
        }
    }
}

/* The EGA's 64 colours: bits 2-0 are two thirds of red, green and blue, bits 5-3 the other third. */
static void load_palette(struct viv_space *io)
{
    out(io, DAC_MASK, 0xff);
    out(io, DAC_WRITE, 0);
    for (unsigned i = 0; i < 64; i++) {
        for (unsigned part = 3; part-- > 0;)
            out(io, DAC_DATA, (i >> part & 1) * 0x2a + (i >> (part + 3) & 1) * 0x15);
    }
}

static void set_mode3(struct viv_board *b)
{
    out(b->io, MISC, 0x67);
    out_table(b->io, SEQ, seq_mode3, G_N_ELEMENTS(seq_mode3));
    out_table(b->io, GC, gc_mode3, G_N_ELEMENTS(gc_mode3));
    load_font(b);
    out_table(b->io, SEQ, seq_mode3, G_N_ELEMENTS(seq_mode3));
    out_table(b->io, GC, gc_mode3, G_N_ELEMENTS(gc_mode3));
    out_indexed(b->io, CRTC, 0x11, 0); /* it protects registers 0 to 7 */
    out_table(b->io, CRTC, crtc_mode3, G_N_ELEMENTS(crtc_mode3));
    load_palette(b->io);
    viv_space_read_locked(b->io, STATUS1, 1); /* the next write to ATTR is an index */
    for (unsigned i = 0; i < G_N_ELEMENTS(attr_mode3); i++) {
        out(b->io, ATTR, i);
        out(b->io, ATTR, attr_mode3[i]);
    }
    out(b->io, ATTR, 0x20); /* on */
    for (unsigned at = 0; at < TEXT_SIZE; at += 4)
        viv_space_write_locked(b->mem, TEXT + at, BLANK, 4);
}

static void put(struct viv_board *b, uint32_t gpa, uint32_t value, unsigned size)
{
    uint8_t bytes[4];

    viv_st_le32(bytes, value);
    viv_dma_write(b->mem, gpa, bytes, size);
}

static void fill_bios_data(struct viv_board *b)
{
    put(b, 0x410, 0x20, 1);   /* equipment: 80 columns, in colour */
    put(b, 0x449, 3, 1);      /* mode */
    put(b, 0x44a, 80, 2);     /* columns */
    put(b, 0x44c, 0x1000, 2); /* bytes a page */
    put(b, 0x44e, 0, 2);      /* where the page begins */
    put(b, 0x450, 0, 2);      /* the cursor's place in it */
    put(b, 0x460, 0x0d0e, 2); /* and its lines */
    put(b, 0x462, 0, 1);      /* page */
    put(b, 0x463, CRTC, 2);
    put(b, 0x484, 24, 1); /* rows, the last not counted */
    put(b, 0x485, VIV_FONT_HEIGHT, 2);
    put(b, 0x487, 0x60, 1); /* 256 KiB */
    put(b, 0x489, 0x11, 1); /* a VGA, 400 lines */
}

void viv_firmware_vga(struct viv_board *board)
{
    set_mode3(board);
    fill_bios_data(board);
}
