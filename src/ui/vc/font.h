/* The font of text consoles: VGA's, with what Debian's console-setup added to it. font.c is made when we are built (make_font.py). */
#ifndef VIV_UI_VC_FONT_H
#define VIV_UI_VC_FONT_H

#include <stdint.h>

#define VIV_FONT_WIDTH  8
#define VIV_FONT_HEIGHT 16

struct viv_font_char {
    uint16_t ch, glyph;
};

extern const uint8_t viv_font_glyphs[][VIV_FONT_HEIGHT]; /* the highest bit is the left pixel */
extern const struct viv_font_char viv_font_chars[];      /* sorted */
extern const unsigned viv_font_count;

extern const uint8_t viv_font_cp437[256][VIV_FONT_HEIGHT]; /* the font of a VGA's BIOS; cp437.c is made as font.c is */

#endif
