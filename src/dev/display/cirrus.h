/* Cirrus Logic CL-GD5446, among its files: cirrus.c the PCI function and registers, cirrus_memory.c what lies behind its apertures,
 * cirrus_blt.c the BitBLT engine, cirrus_cursor.c the hardware cursor. (CL-GD5446 Technical Reference Manual, November 1996.)
 *
 * Registers have the manual's names: SR sequencer, CR CRT controller, GR graphics controller, HDR hidden DAC register. Every
 * address of video memory is masked. Device lock held for all calls. */
#ifndef VIV_DEV_DISPLAY_CIRRUS_H
#define VIV_DEV_DISPLAY_CIRRUS_H

#include "bus/pci.h"
#include "dev/display/vga.h"

#define CIRRUS_LINE 8196 /* bytes of a line that the processor sends: 13 bits, in double words */

enum {
    SR7_PACKED = 0x01, /* packed pixels: the extended modes */
    SR12_CURSOR = 0x01,
    SR12_DAC = 0x02, /* DAC ports reach the cursor's colours */
    SR12_64 = 0x04,
    SR17_MMIO = 0x04, /* BitBLT registers at B8000h, or at the end of the linear memory */
    SR17_MMIO_LINEAR = 0x40,

    GRB_DUAL = 0x01,    /* two banks of 32 KiB */
    GRB_WRITE = 0x04,   /* write modes 4 and 5, colours of 8 bits */
    GRB_BY16 = 0x10,
    GRB_16K = 0x20,     /* banks are counted in 16 KiB, else 4 */

    GR30_BACKWARDS = 0x01,
    GR30_TO_SYSTEM = 0x02,
    GR30_FROM_SYSTEM = 0x04,
    GR30_TRANSPARENT = 0x08,
    GR30_PATTERN = 0x40,
    GR30_EXPAND = 0x80,
    GR31_BUSY = 0x01,
    GR31_START = 0x02,
    GR31_RESET = 0x04,
    GR31_PROGRESS = 0x08,
    GR31_AUTOSTART = 0x80,
    GR33_DWORDS = 0x01, /* lines of one bit a pixel begin at double words */
    GR33_INVERT = 0x02,
    GR33_FILL = 0x04,
};

struct cirrus {
    struct viv_pci_dev pci;
    struct vga vga;

    /* Registers beyond the VGA's; GR0, GR1 and GR5 with all their bits. */
    uint8_t seq_index, gc_index, crtc_index;
    uint8_t sr[0x20], gr[0x40], cr[0x28];
    uint8_t hdr, hdr_reads; /* the fifth access to 3C6h in a row is the hidden register's */
    uint16_t cursor_x, cursor_y;
    uint8_t cursor_dac[48];

    /* A BitBLT that waits for the processor's data: the registers as they were when it began. */
    bool feeding;
    uint8_t blt[0x40];
    uint32_t need, have; /* bytes of a line, or of a pattern */
    uint32_t row;        /* the next one */
    uint8_t line[CIRRUS_LINE];

    struct viv_region *bar, *direct; /* BAR 0, and video memory over it while nothing is done with what is written */
    uint32_t drawn; /* of the cursor: a hash of all that makes it */
    int32_t at_x, at_y;
};

static inline uint32_t cirrus_mask(const struct cirrus *c)
{
    return (uint32_t)c->vga.ram->size - 1;
}

static inline bool cirrus_is_packed(const struct cirrus *c)
{
    return c->sr[7] & SR7_PACKED;
}

/* cirrus.c */
uint8_t cirrus_gr_read(struct cirrus *c, unsigned n);
void cirrus_gr_write(struct cirrus *c, unsigned n, uint8_t value);

/* cirrus_memory.c */
extern const struct viv_region_ops cirrus_linear_ops, cirrus_mmio_ops;
/* After a register that says what a write does, or where BAR 0 is, was written. */
void cirrus_update_linear(struct cirrus *c);
/* vga_ext's. */
bool cirrus_window_read(void *opaque, uint64_t off, unsigned size, uint64_t *value);
bool cirrus_window_write(void *opaque, uint64_t off, uint64_t value, unsigned size);
bool cirrus_window_direct(void *opaque, bool *mine, uint64_t *bank);

/* cirrus_blt.c */
void cirrus_blt_start(struct cirrus *c);
void cirrus_blt_reset(struct cirrus *c);
void cirrus_blt_feed(struct cirrus *c, uint8_t byte);
uint8_t cirrus_rop(uint8_t code, uint8_t source, uint8_t dest);
bool cirrus_blt_state_ok(const struct cirrus *c);

/* cirrus_cursor.c */
void cirrus_cursor_show(void *opaque);

#endif
