/* The VGA core: what every VGA-compatible adapter embeds. vga.c registers, vga_dispi.c Bochs VBE, vga_memory.c the legacy window,
 * vga_mode.c what the registers mean, vga_draw.c and vga_text.c pictures. Device lock held for all calls.
 *
 * Video memory is linear; plane p of plane offset o is byte 4 * o + p. In chain-4 modes a byte's address is its place, as in
 * SVGA chips (IBM's VGA spreads these over plane offsets that are multiples of 4: programs that mix both views of one picture
 * would see that). */
#ifndef VIV_DEV_DISPLAY_VGA_H
#define VIV_DEV_DISPLAY_VGA_H

#include "base/byname.h"
#include "bus/dev.h"
#include "dev/display/edid.h"
#include "ui/console.h"

#define VGA_CRTC_REGS 0x19
#define VGA_SEQ_REGS  5
#define VGA_GC_REGS   9
#define VGA_ATTR_REGS 0x15
#define VGA_FONT      (256 * 32)

enum { /* Bochs VBE DISPI registers */
    VGA_DISPI_ID,
    VGA_DISPI_XRES,
    VGA_DISPI_YRES,
    VGA_DISPI_BPP,
    VGA_DISPI_ENABLE,
    VGA_DISPI_BANK,
    VGA_DISPI_VIRT_WIDTH,
    VGA_DISPI_VIRT_HEIGHT,
    VGA_DISPI_X_OFFSET,
    VGA_DISPI_Y_OFFSET,
    VGA_DISPI_REGS,
    VGA_DISPI_MEMORY_64K = VGA_DISPI_REGS, /* read only, has no state */

    VGA_DISPI_ENABLED = 0x01,
    VGA_DISPI_GETCAPS = 0x02,
    VGA_DISPI_8BIT_DAC = 0x20,
    VGA_DISPI_LFB = 0x40,
    VGA_DISPI_NOCLEAR = 0x80,
};

enum { /* attribute register 10h */
    AR10_MONO = 2,
    AR10_9TH = 4,
    AR10_BLINK = 8,
    AR10_PAN_ABOVE = 0x20, /* the lower part of a split screen does not pan */
};

enum vga_kind { VGA_BLANK, VGA_TEXT, VGA_PLANAR, VGA_CGA, VGA_PACKED, VGA_LINEAR };

/* What is on the screen, from the registers (vga_mode.c): nothing in it leads out of video memory. Compared as bytes. */
struct vga_mode {
    uint32_t kind; /* enum vga_kind */
    uint32_t width, height;
    uint32_t bits;   /* LINEAR: a pixel's */
    uint32_t start;  /* LINEAR: byte; else: the first address of the CRTC's counter */
    uint32_t stride; /* LINEAR: bytes; else: counter steps a row */
    uint32_t rows;   /* scan lines of the picture that show one row: font height, CGA banks */
    uint32_t cell;   /* TEXT: dots a character */
    uint32_t split;  /* line from which on the counter begins at 0 again; UINT32_MAX: none */
    uint32_t mask;   /* plane offsets that there are, minus 1 */
    uint32_t pan;    /* pixels */
    uint32_t below;  /* pixels, from the split on */
    uint32_t preset; /* TEXT: lines of the first row that are above the picture */
    uint8_t cr17, cr14;
    uint8_t ar10, sr3; /* TEXT: underline, ninth dot, blinking; which fonts */
};

/* What a chip adds to the core. Calls that answer false leave it to the VGA. */
struct vga_ext {
    bool (*port_read)(void *opaque, unsigned port, uint8_t *value);
    bool (*port_write)(void *opaque, unsigned port, uint8_t value);
    bool (*mode)(void *opaque, struct vga_mode *m); /* fills width, height, bits, start, stride of a linear one */
    bool (*window_read)(void *opaque, uint64_t off, unsigned size, uint64_t *value);
    bool (*window_write)(void *opaque, uint64_t off, uint64_t value, unsigned size);
    /* Does video memory from *bank on lie at A0000h, or (false) nothing? *mine: is it the chip's to say? */
    bool (*direct)(void *opaque, bool *mine, uint64_t *bank);
    void (*refreshed)(void *opaque);
} VIV_BY_NAME;

struct vga {
    struct viv_dev *dev;
    const struct vga_ext *ext; /* NULL: a plain one, which has the Bochs VBE ports */
    void *ext_opaque;
    struct viv_ram *ram;
    struct viv_console *console;
    bool shared; /* the console is another's, which asks for refreshes while the VGA is seen on it */
    bool only_dispi; /* there are no VGA registers: nobody can switch its picture off by them */
    bool has_edid;
    uint8_t edid[VIV_EDID_SIZE];

    /* Registers. */
    uint8_t misc, feature, enable3c3;
    uint8_t crtc_index, seq_index, gc_index, attr_index;
    bool attr_data; /* the next write to 3C0h is data */
    uint8_t crtc[VGA_CRTC_REGS], seq[VGA_SEQ_REGS], gc[VGA_GC_REGS], attr[VGA_ATTR_REGS];
    uint8_t dac_mask, dac_read, dac_write, dac_part; /* part: of the next write or read, 0-2 */
    bool dac_reads;
    uint8_t dac_latch[3];
    uint8_t dac[768];
    uint8_t latch[4]; /* of the graphics controller */
    uint16_t dispi_index;
    uint16_t dispi[VGA_DISPI_REGS];

    /* Wiring. */
    struct viv_region *ports[3], *window, *direct;
    uint64_t bank; /* where in video memory `direct` begins */
    bool on_io, on_mem;

    /* What the picture was drawn from. */
    struct viv_ram_log *log;
    unsigned long *dirty;
    bool all; /* draw all of it */
    struct vga_mode shown;
    uint32_t palette[256];
    uint32_t *cells;
    uint8_t *fonts; /* 2 * VGA_FONT */
};

extern const struct viv_state_table vga_state;

/* vga_core.c. `size`: of video memory, made a power of two. `console`: another's; NULL: it makes one. */
int vga_init(struct vga *v, struct viv_dev *dev, uint64_t size, struct viv_console *console, struct viv_err *err);
void vga_fini(struct vga *v); /* may be called after a failed init */
void vga_reset(struct vga *v);
/* Does the function answer on the legacy ports, and at A0000-BFFFFh? */
void vga_decode(struct vga *v, bool io, bool mem);
/* The picture on a shared console is the VGA's again. */
void vga_show_again(struct vga *v);
/* Properties of the monitor, and what they say. */
#define VGA_MONITOR_PROPS                                                                                                          \
    {.name = "edid", .type = VIV_OPT_BOOL, .def = "on", .help = "describes a monitor"},                                            \
        {.name = "xres", .type = VIV_OPT_INT, .def = "1280", .min = 64, .max = 4095, .help = "width the monitor likes best"},      \
        {.name = "yres", .type = VIV_OPT_INT, .def = "800", .min = 64, .max = 4095, .help = "its height"},                         \
        {.name = "xmax", .type = VIV_OPT_REFUSED, .help = "a mode is bounded by the video memory"},                                \
    {                                                                                                                              \
        .name = "ymax", .type = VIV_OPT_REFUSED, .help = "a mode is bounded by the video memory"                                   \
    }
void vga_set_monitor(struct vga *v, struct viv_opts *opts);

/* vga.c. Ports 3B0h-3DFh, one byte each. */
uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);
uint32_t vga_dac_rgb(const struct vga *v, unsigned index);

/* vga_mmio.c: what the standard VGA has in its BAR 2, for accesses of 1 and 2 bytes. 000h EDID, 400h VGA ports 3C0h-3DFh (`ports`: are
 * they there?), 500h Bochs VBE registers of 16 bits each. */
#define VGA_MMIO_SIZE 4096
uint64_t vga_mmio_read(struct vga *v, bool ports, uint64_t off, unsigned size);
void vga_mmio_write(struct vga *v, bool ports, uint64_t off, uint64_t value, unsigned size);

/* vga_dispi.c */
uint16_t vga_dispi_read(struct vga *v, unsigned index);
void vga_dispi_write(struct vga *v, unsigned index, uint16_t value);
static inline bool vga_dispi_on(const struct vga *v)
{
    return v->dispi[VGA_DISPI_ENABLE] & VGA_DISPI_ENABLED;
}

/* vga_memory.c */
extern const struct viv_region_ops vga_window_ops;
/* After registers that say what lies at A0000h were written. */
void vga_update_window(struct vga *v);

/* vga_mode.c */
void vga_mode_now(const struct vga *v, struct vga_mode *m);
/* Plane offset of a counter value in scan line `scan` of its row. */
uint32_t vga_mode_offset(const struct vga_mode *m, uint32_t counter, uint32_t scan);

/* vga_draw.c */
extern const struct viv_console_ops vga_console_ops;
/* Were these bytes written since the last refresh, or is all to be drawn? */
bool vga_is_dirty(const struct vga *v, uint64_t from, uint64_t len);

/* vga_text.c. `changed`: the palette or the whole mode. */
void vga_text_draw(struct vga *v, const struct viv_surface *s, bool changed);
struct viv_text *vga_text_get(void *opaque);

#endif
