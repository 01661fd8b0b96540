/* VGA registers: sequencer, CRT controller, graphics controller, attribute controller, DAC, status. (IBM VGA Technical Reference;
 * FreeVGA's description of the registers.)
 *
 * Left out: interrupt at vertical retrace (PCs did not wire it), the feature connector, light pen. Timing registers are kept and
 * only looked at for the size of the picture: it always has 70 or 60 pictures a second of guest time. */
#include "dev/display/vga.h"

#include "host/clock.h"

enum {
    MISC_COLOUR = 1,
    CR11_PROTECT = 0x80, /* CRTC 0-7 */
    ATTR_PAS = 0x20,
    STATUS1_BLANK = 1,
    STATUS1_RETRACE = 8,
};

static const uint8_t seq_bits[VGA_SEQ_REGS] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t gc_bits[VGA_GC_REGS] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
static const uint8_t attr_bits[VGA_ATTR_REGS] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};

/* ---- status ---- */

/* 449 lines of 31.78 us a picture, 400 of them visible, and a fifth of each line is not: programs that wait for either see both. */
static uint8_t input_status1(struct vga *v)
{
    const int64_t line_ns = 31778, lines = 449, visible = 400;
    int64_t now = viv_clock_ns(VIV_CLOCK_GUEST), line = now / line_ns % lines;
    uint8_t s = 0;

    v->attr_data = false;
    if (line >= visible + 12 && line < visible + 14 + 20) /* longer than 2 lines: guests that run slowly see it too */
        s |= STATUS1_RETRACE;
    if (line >= visible || now % line_ns > line_ns * 4 / 5)
        s |= STATUS1_BLANK;
    return s;
}

/* ---- DAC ---- */

static uint8_t dac_read(struct vga *v)
{
    uint8_t c = v->dac[v->dac_read * 3 + v->dac_part];

    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_read++;
    }
    return c;
}

static void dac_write(struct vga *v, uint8_t value)
{
    bool eight = v->dispi[VGA_DISPI_ENABLE] & VGA_DISPI_8BIT_DAC;

    v->dac_latch[v->dac_part++] = eight ? value : value & 0x3f;
    if (v->dac_part < 3)
        return;
    v->dac_part = 0;
    for (unsigned i = 0; i < 3; i++)
        v->dac[v->dac_write * 3 + i] = v->dac_latch[i];
    v->dac_write++;
}

uint32_t vga_dac_rgb(const struct vga *v, unsigned index)
{
    const uint8_t *d = &v->dac[(index & v->dac_mask) * 3];
    uint32_t rgb = 0;

    for (unsigned i = 0; i < 3; i++) {
        uint8_t c = d[i];

        if (!(v->dispi[VGA_DISPI_ENABLE] & VGA_DISPI_8BIT_DAC))
            c = (uint8_t)((c & 0x3f) << 2 | (c & 0x3f) >> 4);
        rgb = rgb << 8 | c;
    }
    return rgb;
}

/* ---- ports ---- */

static void attr_write(struct vga *v, uint8_t value)
{
    if (!v->attr_data) {
        v->attr_index = value & 0x3f;
    } else {
        unsigned n = v->attr_index & 0x1f;

        /* The palette belongs to the display while bit 5 of the index is set. */
        if (n < VGA_ATTR_REGS && (n >= 16 || !(v->attr_index & ATTR_PAS)))
            v->attr[n] = value & attr_bits[n];
    }
    v->attr_data = !v->attr_data;
}

static void crtc_write(struct vga *v, uint8_t value)
{
    unsigned n = v->crtc_index;

    if (n >= VGA_CRTC_REGS)
        return;
    if (n <= 7 && v->crtc[0x11] & CR11_PROTECT) {
        if (n == 7) /* bit 8 of line compare stays writable */
            v->crtc[7] = (v->crtc[7] & ~0x10) | (value & 0x10);
        return;
    }
    v->crtc[n] = value;
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
    uint8_t value;

    if (v->ext && v->ext->port_read(v->ext_opaque, port, &value))
        return value;
    switch (port) {
    case 0x3c0:
        return v->attr_index;
    case 0x3c1:
        return (v->attr_index & 0x1f) < VGA_ATTR_REGS ? v->attr[v->attr_index & 0x1f] : 0;
    case 0x3c2: /* the switch sense: a colour monitor is there */
        return 0x10;
    case 0x3c3:
        return v->enable3c3;
    case 0x3c4:
        return v->seq_index;
    case 0x3c5:
        return v->seq_index < VGA_SEQ_REGS ? v->seq[v->seq_index] : 0;
    case 0x3c6:
        return v->dac_mask;
    case 0x3c7:
        return v->dac_reads ? 3 : 0;
    case 0x3c8:
        return v->dac_write;
    case 0x3c9:
        return dac_read(v);
    case 0x3ca:
        return v->feature;
    case 0x3cc:
        return v->misc;
    case 0x3ce:
        return v->gc_index;
    case 0x3cf:
        return v->gc_index < VGA_GC_REGS ? v->gc[v->gc_index] : 0;
    }
    /* 3B0h-3BFh or 3D0h-3DFh, as the miscellaneous output register says. */
    if ((port & 0x3f0) != (v->misc & MISC_COLOUR ? 0x3d0 : 0x3b0))
        return 0xff;
    switch (port & 15) {
    case 4:
        return v->crtc_index;
    case 5:
        return v->crtc_index < VGA_CRTC_REGS ? v->crtc[v->crtc_index] : 0;
    case 10:
        return input_status1(v);
    default:
        return 0xff;
    }
}

static void indexed_write(struct vga *v, unsigned port, uint8_t value)
{
    if (port == 0x3c5 && v->seq_index < VGA_SEQ_REGS)
        v->seq[v->seq_index] = value & seq_bits[v->seq_index];
    else if (port == 0x3cf && v->gc_index < VGA_GC_REGS)
        v->gc[v->gc_index] = value & gc_bits[v->gc_index];
    vga_update_window(v);
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value)
{
    if (v->ext && v->ext->port_write(v->ext_opaque, port, value))
        return;
    switch (port) {
    case 0x3c0:
        attr_write(v, value);
        return;
    case 0x3c2:
        v->misc = value & 0xef;
        vga_update_window(v);
        return;
    case 0x3c3:
        v->enable3c3 = value & 1;
        return;
    case 0x3c4:
        v->seq_index = value & 7;
        return;
    case 0x3c6:
        v->dac_mask = value;
        return;
    case 0x3c7:
        v->dac_read = value;
        v->dac_part = 0;
        v->dac_reads = true;
        return;
    case 0x3c8:
        v->dac_write = value;
        v->dac_part = 0;
        v->dac_reads = false;
        return;
    case 0x3c9:
        dac_write(v, value);
        return;
    case 0x3ce:
        v->gc_index = value & 15;
        return;
    case 0x3c5:
    case 0x3cf:
        indexed_write(v, port, value);
        return;
    }
    if ((port & 0x3f0) != (v->misc & MISC_COLOUR ? 0x3d0 : 0x3b0))
        return;
    switch (port & 15) {
    case 4:
        v->crtc_index = value & 0x3f;
        return;
    case 5:
        crtc_write(v, value);
        return;
    case 10:
        v->feature = value & 0x0b;
        return;
    }
}
