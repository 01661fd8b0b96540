/* Pixels as a client wants them (RFC 6143 section 7.4). Ours are x8r8g8b8 words whose upper byte is 0. */
#ifndef VIV_UI_VNC_PIXEL_H
#define VIV_UI_VNC_PIXEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vnc_format {
    uint8_t bits, depth;
    bool big, true_colour;
    uint16_t max[3]; /* red, green, blue */
    uint8_t shift[3];
    /* Made of those. */
    unsigned bytes;       /* of a pixel */
    bool native;          /* as ours */
    unsigned short_bytes; /* 3: ZRLE's CPIXEL leaves a byte out */
    bool short_high;      /* and it is the lower one of the word */
    bool rgb;             /* Tight's TPIXEL is red, green, blue */
    uint32_t table[3][256];
};

void vnc_format_native(struct vnc_format *f);
/* The 16 bytes of PIXEL_FORMAT. False: it makes no sense. Without true colour: 8 bits, and the map that vnc_format_map() has. */
bool vnc_format_parse(struct vnc_format *f, const uint8_t *p);
void vnc_format_write(const struct vnc_format *f, uint8_t p[16]);
/* Entry n of the map: red, green, blue from 0 to 65535. */
void vnc_format_map(unsigned n, uint16_t rgb[3]);
/* n pixels of f->bytes each. */
void vnc_pixels(const struct vnc_format *f, const uint32_t *from, size_t n, uint8_t *to);
/* One pixel of f->short_bytes, and one as Tight has it; how many bytes that is. */
unsigned vnc_pixel_short(const struct vnc_format *f, uint32_t px, uint8_t *to);
unsigned vnc_pixel_tight(const struct vnc_format *f, uint32_t px, uint8_t *to);

#define VNC_PALETTE_MAX 256
struct vnc_palette {
    unsigned count;
    uint32_t colour[VNC_PALETTE_MAX];
    uint16_t slot[1024]; /* hashed: index + 1 */
};
/* The colours in order of their coming; false: there are more than `max`. `runs`: how often a pixel differs from the one before. */
bool vnc_palette_fill(struct vnc_palette *p, const uint32_t *pixels, size_t stride, unsigned width, unsigned height, unsigned max,
                      unsigned *runs);
unsigned vnc_palette_index(const struct vnc_palette *p, uint32_t px);

#endif
