/* cirrus-vga: Cirrus Logic CL-GD5446 on PCI (1013:00B8). A VGA, packed-pixel modes of 8 to 32 bits a pixel, banks, linear memory,
 * BitBLT engine, hardware cursor. (CL-GD5446 Technical Reference Manual.)
 *
 * BAR 0: 32 MiB, in which video memory repeats. BAR 1: VGA ports from 3C0h on, BitBLT registers at 100h (cirrus_memory.c).
 * Left out: video windows (MVA), the byte-swapping apertures, DDC, clocks and power management (registers are kept), the lock of SR6 (kept,
 * not obeyed), eight-byte latches (GRB[1], GRB[3]), and what cirrus_blt.c says. */
#include "dev/display/cirrus.h"

#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <string.h>

enum {
    BAR_SIZE = 32 * VIV_MIB,
    MMIO_SIZE = 4096,
    CR27_5446 = 0xb8,
    SR17_PCI = 0x20,
    MISC_COLOUR = 1,
    CR9_DOUBLE = 0x80,
    CR17_BY_TWO = 4,
    CR1A_INTERLACE = 1,
};

static void update(struct cirrus *c)
{
    cirrus_update_linear(c);
    vga_update_window(&c->vga);
}

/* ---- sequencer ---- */

/* Bits 7-5 of the index are the lowest of the cursor's place. */
static void cursor_place(struct cirrus *c, unsigned n, uint8_t value)
{
    uint16_t at = (uint16_t)(value << 3 | c->seq_index >> 5);

    if (n == 0x10)
        c->cursor_x = at;
    else
        c->cursor_y = at;
}

static void sr_write(struct cirrus *c, unsigned n, uint8_t value)
{
    if (n == 6)
        value = (value & 0x17) == 0x12 ? 0x12 : 0x0f;
    if (n == 0x10 || n == 0x11)
        cursor_place(c, n, value);
    if (n == 0x17) /* on which bus it is: a strap */
        value = (value & ~0x38) | SR17_PCI;
    c->sr[n] = value;
    update(c);
}

/* ---- graphics controller ---- */

uint8_t cirrus_gr_read(struct cirrus *c, unsigned n)
{
    uint8_t v = n < sizeof(c->gr) ? c->gr[n] : 0xff;

    if (n < 2 && !(c->gr[0x0b] & GRB_WRITE))
        return v & 0x0f;
    if (n == 0x31)
        return (v & 0xf0) | (c->feeding ? GR31_BUSY | GR31_PROGRESS : 0);
    return v;
}

void cirrus_gr_write(struct cirrus *c, unsigned n, uint8_t value)
{
    if (n >= sizeof(c->gr))
        return;
    c->gr[n] = value;
    if (n < 2)
        c->vga.gc[n] = value & 0x0f;
    if (n == 0x31 && value & GR31_RESET)
        cirrus_blt_reset(c);
    else if ((n == 0x31 && value & GR31_START) || (n == 0x2a && c->gr[0x31] & GR31_AUTOSTART))
        cirrus_blt_start(c);
    if (n >= 9 && n <= 0x0b)
        update(c);
}

/* ---- CRT controller ---- */

static uint8_t cr_read(struct cirrus *c, unsigned n)
{
    switch (n) {
    case 0x22:
        return c->vga.latch[c->vga.gc[4] & 3];
    case 0x24:
        return c->vga.attr_data ? 0x80 : 0;
    case 0x26:
        return c->vga.attr_index;
    case 0x27:
        return CR27_5446;
    default:
        return n < sizeof(c->cr) ? c->cr[n] : 0xff;
    }
}

/* ---- DAC ---- */

static bool dac_read(struct cirrus *c, unsigned port, uint8_t *value)
{
    struct vga *v = &c->vga;

    if (port == 0x3c6 && c->hdr_reads++ >= 4) {
        c->hdr_reads = 0;
        *value = c->hdr;
        return true;
    }
    if (port != 0x3c6)
        c->hdr_reads = 0;
    if (port != 0x3c9 || !(c->sr[0x12] & SR12_DAC))
        return false;
    *value = c->cursor_dac[(v->dac_read & 15) * 3 + v->dac_part];
    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_read++;
    }
    return true;
}

static bool dac_write(struct cirrus *c, unsigned port, uint8_t value)
{
    struct vga *v = &c->vga;
    bool hidden = port == 0x3c6 && c->hdr_reads >= 4;

    c->hdr_reads = 0;
    if (hidden) {
        c->hdr = value;
        return true;
    }
    if (port != 0x3c9 || !(c->sr[0x12] & SR12_DAC))
        return false;
    c->cursor_dac[(v->dac_write & 15) * 3 + v->dac_part] = value & 0x3f;
    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_write++;
    }
    return true;
}

/* ---- ports ---- */

static bool is_crtc(const struct cirrus *c, unsigned port)
{
    return (port & ~1u) == (c->vga.misc & MISC_COLOUR ? 0x3d4 : 0x3b4);
}

static bool port_read(void *opaque, unsigned port, uint8_t *value)
{
    struct cirrus *c = opaque;
    unsigned n;

    if (port >= 0x3c6 && port <= 0x3c9)
        return dac_read(c, port, value);
    if (port == 0x3c4)
        return *value = c->seq_index, true;
    n = c->seq_index & 0x1f;
    if (port == 0x3c5 && n >= VGA_SEQ_REGS)
        return *value = c->sr[n], true;
    if (port == 0x3ce)
        return *value = c->gc_index, true;
    n = c->gc_index;
    if (port == 0x3cf && (n < 2 || n == 5 || n >= VGA_GC_REGS))
        return *value = cirrus_gr_read(c, n), true;
    if (is_crtc(c, port) && !(port & 1))
        return *value = c->crtc_index, true;
    if (is_crtc(c, port) && c->crtc_index >= VGA_CRTC_REGS)
        return *value = cr_read(c, c->crtc_index), true;
    return false;
}

/* Indices and what both have a part of go on to the VGA. */
static bool port_write(void *opaque, unsigned port, uint8_t value)
{
    struct cirrus *c = opaque;

    if (port >= 0x3c6 && port <= 0x3c9)
        return dac_write(c, port, value);
    if (port == 0x3c4) {
        c->seq_index = value;
    } else if (port == 0x3c5 && (c->seq_index & 0x1f) >= VGA_SEQ_REGS) {
        sr_write(c, c->seq_index & 0x1f, value);
        return true;
    } else if (port == 0x3ce) {
        c->gc_index = value & 0x3f;
    } else if (port == 0x3cf) {
        cirrus_gr_write(c, c->gc_index, value);
        if (c->gc_index == 5)
            cirrus_update_linear(c);
        return c->gc_index >= VGA_GC_REGS;
    } else if (is_crtc(c, port)) {
        if (!(port & 1))
            c->crtc_index = value & 0x3f;
        else if (c->crtc_index >= VGA_CRTC_REGS && c->crtc_index < sizeof(c->cr))
            c->cr[c->crtc_index] = value;
        return port & 1 && c->crtc_index >= VGA_CRTC_REGS;
    }
    return false;
}

/* ---- what is on the screen ---- */

static uint32_t depth(const struct cirrus *c)
{
    switch (c->sr[7] >> 1 & 7) {
    case 1:
    case 3:
        return (c->hdr & 15) == 1 ? 16 : 15;
    case 2:
        return 24;
    case 4:
        return 32;
    default:
        return 8;
    }
}

static bool mode(void *opaque, struct vga_mode *m)
{
    const struct cirrus *c = opaque;
    const uint8_t *r = c->vga.crtc;
    uint32_t lines = (r[0x12] | (r[7] & 2u) << 7 | (r[7] & 0x40u) << 3) + 1, rows = (r[9] & 0x1fu) + 1;

    if (!cirrus_is_packed(c))
        return false;
    lines /= rows * (r[9] & CR9_DOUBLE ? 2 : 1);
    if (r[0x17] & CR17_BY_TWO)
        lines *= 2;
    if (c->cr[0x1a] & CR1A_INTERLACE)
        lines *= 2;
    m->width = (r[1] + 1u) * 8;
    m->height = lines ? lines : 1;
    m->bits = depth(c);
    m->stride = (r[0x13] | (c->cr[0x1b] & 0x10u) << 4) * 8;
    m->start = 4 * (r[0x0d] | (uint32_t)r[0x0c] << 8 | (c->cr[0x1b] & 1u) << 16 | (c->cr[0x1b] & 0x0cu) << 15 |
                    (c->cr[0x1d] & 0x80u) << 12);
    return true;
}

static const struct vga_ext ext = {
    .port_read = port_read,
    .port_write = port_write,
    .mode = mode,
    .window_read = cirrus_window_read,
    .window_write = cirrus_window_write,
    .direct = cirrus_window_direct,
    .refreshed = cirrus_cursor_show,
};

/* ---- the PCI function ---- */

static void update_decode(struct cirrus *c)
{
    vga_decode(&c->vga, c->pci.config[4] & 1, c->pci.config[4] & 2);
}

static void remapped(struct viv_pci_dev *p)
{
    cirrus_update_linear((struct cirrus *)p);
}

static void config_written(struct viv_pci_dev *p, unsigned off, unsigned len)
{
    update_decode((struct cirrus *)p);
}

static void add_bars(struct cirrus *c)
{
    struct viv_space *mem = c->pci.dev.board->mem;
    struct viv_region_desc linear = {
        .name = "cirrus-linear", .kind = VIV_REGION_IO, .size = BAR_SIZE, .ops = &cirrus_linear_ops, .opaque = c};
    struct viv_region_desc memory = {.name = "cirrus-memory", .kind = VIV_REGION_RAM, .size = c->vga.ram->size, .ram = c->vga.ram};
    struct viv_region_desc mmio = {
        .name = "cirrus-mmio", .kind = VIV_REGION_IO, .size = MMIO_SIZE, .ops = &cirrus_mmio_ops, .opaque = c};

    c->bar = viv_region_new(mem, &linear);
    c->direct = viv_region_new(mem, &memory);
    viv_pci_add_bar(&c->pci, 0, c->bar, BAR_SIZE, false, false, true);
    viv_pci_add_bar(&c->pci, 1, viv_region_new(mem, &mmio), MMIO_SIZE, false, false, false);
}

/* QEMU takes 8 and 16, too; the chip addresses 4. */
static uint64_t memory_size(struct viv_opts *opts)
{
    int64_t mib = viv_opts_int(opts, "vgamem_mb");

    if (mib > 4)
        viv_warn("%s: vgamem_mb=%d has no effect above 4: that is what the chip addresses", viv_opts_what(opts), (int)mib);
    return (uint64_t)(mib > 4 ? 4 : mib) * VIV_MIB;
}

static int realize(struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x1013, 0x00b8, 0, 0x030000, 0x1af4, 0x1100, "vgabios-cirrus.bin"};
    struct cirrus *c = (struct cirrus *)dev;
    int r = viv_pci_dev_init(&c->pci, &ids, opts, err);

    if (r < 0)
        return r;
    r = vga_init(&c->vga, dev, memory_size(opts), NULL, err);
    if (r < 0) {
        viv_pci_dev_fini(&c->pci);
        return r;
    }
    c->vga.ext = &ext;
    c->vga.ext_opaque = c;
    add_bars(c);
    c->pci.config_written = config_written;
    c->pci.remapped = remapped;
    return 0;
}

static void unrealize(struct viv_dev *dev)
{
    struct cirrus *c = (struct cirrus *)dev;

    viv_region_free(c->direct);
    viv_pci_dev_fini(&c->pci);
    vga_fini(&c->vga);
}

static void reset(struct viv_dev *dev)
{
    struct cirrus *c = (struct cirrus *)dev;
    uint64_t mib = c->vga.ram->size / VIV_MIB;

    c->seq_index = c->gc_index = c->crtc_index = c->hdr = c->hdr_reads = 0;
    memset(c->sr, 0, sizeof(c->sr));
    memset(c->gr, 0, sizeof(c->gr));
    memset(c->cr, 0, sizeof(c->cr));
    memset(c->cursor_dac, 0, sizeof(c->cursor_dac));
    c->cursor_x = c->cursor_y = 0;
    c->sr[6] = 0x0f;
    c->sr[0x0f] = mib == 1 ? 0x10 : mib == 2 ? 0x18 : 0x98; /* width of the memory, and a second bank */
    c->sr[0x15] = (uint8_t)(mib == 1 ? 2 : mib == 2 ? 3 : 4);
    c->sr[0x17] = SR17_PCI;
    viv_pci_dev_reset(&c->pci);
    vga_reset(&c->vga);
    cirrus_blt_reset(c);
    update_decode(c);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct cirrus *c = obj;

    if (!cirrus_blt_state_ok(c)) {
        c->feeding = false;
        return viv_fail(err, EINVAL, "cirrus-vga: a blit with %u of %u bytes, line %u", c->have, c->need, c->row);
    }
    update_decode(c);
    cirrus_update_linear(c);
    return 0;
}

static const struct viv_state_table state = {
    .name = "cirrus-vga",
    .ctype = "cirrus",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(cirrus, pci, viv_pci_dev_state),
            VIV_F_STRUCT(cirrus, vga, vga_state),
            VIV_F_INT(cirrus, seq_index),
            VIV_F_INT(cirrus, gc_index),
            VIV_F_INT(cirrus, crtc_index),
            VIV_F_BYTES(cirrus, sr),
            VIV_F_BYTES(cirrus, gr),
            VIV_F_BYTES(cirrus, cr),
            VIV_F_INT(cirrus, hdr),
            VIV_F_INT(cirrus, hdr_reads),
            VIV_F_INT(cirrus, cursor_x),
            VIV_F_INT(cirrus, cursor_y),
            VIV_F_BYTES(cirrus, cursor_dac),
            VIV_F_INT(cirrus, feeding),
            VIV_F_BYTES(cirrus, blt),
            VIV_F_INT(cirrus, need),
            VIV_F_INT(cirrus, have),
            VIV_F_INT(cirrus, row),
            VIV_F_BYTES(cirrus, line),
            VIV_F_CONFIG(cirrus, bar),
            VIV_F_CONFIG(cirrus, direct),
            VIV_F_DERIVED(cirrus, drawn, "what viewers were shown"),
            VIV_F_DERIVED(cirrus, at_x, "what viewers were shown"),
            VIV_F_DERIVED(cirrus, at_y, "what viewers were shown"),
            VIV_F_END,
        },
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    {.name = "vgamem_mb", .type = VIV_OPT_INT, .def = "4", .min = 1, .max = 16, .help = "video memory in MiB: 1, 2 or 4"},
    {.name = "blitter", .type = VIV_OPT_REFUSED, .help = "the chip has its BitBLT engine; leave it out"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_cirrus_vga = {
    .name = "cirrus-vga",
    .desc = "Cirrus Logic CL-GD5446",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct cirrus),
    .props = props,
    .state = &state,
    .realize = realize,
    .reset = reset,
    .unrealize = unrealize,
};
