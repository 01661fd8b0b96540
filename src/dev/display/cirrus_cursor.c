/* The hardware cursor (SR10-SR13): 32 by 32 or 64 by 64 pixels of two bits, in the last 16 KiB of video memory.
 *
 * Pixels that invert what is under them are shown as half-transparent grey: viewers have no such thing. */
#include "dev/display/cirrus.h"

#include <glib.h>
#include <string.h>

#define AREA (16 * 1024)

static uint32_t colour(const struct cirrus *c, unsigned index)
{
    uint32_t rgb = 0xff;

    for (unsigned i = 0; i < 3; i++) {
        uint8_t part = c->cursor_dac[index * 3 + i] & 0x3f;

        rgb = rgb << 8 | (uint8_t)(part << 2 | part >> 4);
    }
    return rgb;
}

/* 64 by 64: 8 bytes of plane 0, then 8 of plane 1, a line. 32 by 32: 128 bytes of plane 0, then plane 1. */
static void draw(const struct cirrus *c, const uint8_t *p, unsigned size, uint32_t *out)
{
    uint32_t inks[4] = {0, 0x80808080, colour(c, 0), colour(c, 15)};

    for (unsigned y = 0; y < size; y++) {
        const uint8_t *p0 = size == 64 ? p + y * 16 : p + y * 4, *p1 = size == 64 ? p0 + 8 : p0 + 128;

        for (unsigned x = 0; x < size; x++)
            *out++ = inks[(p0[x / 8] >> (7 - x % 8) & 1) | (p1[x / 8] >> (7 - x % 8) & 1) << 1];
    }
}

static uint32_t hash(uint32_t h, const void *data, size_t len)
{
    for (const uint8_t *p = data; len--; p++)
        h = (h ^ *p) * 16777619;
    return h;
}

/* After each refresh of the picture. */
void cirrus_cursor_show(void *opaque)
{
    struct cirrus *c = opaque;
    bool on = c->sr[0x12] & SR12_CURSOR && cirrus_is_packed(c);
    unsigned size = c->sr[0x12] & SR12_64 ? 64 : 32;
    size_t bytes = size * size / 4, at = size == 64 ? (c->sr[0x13] & 0x3cu) * 256 : (c->sr[0x13] & 0x3fu) * 256;
    const uint8_t *p = c->vga.ram->hva + c->vga.ram->size - AREA + at;
    uint32_t h = on ? hash(hash(size, p, bytes), c->cursor_dac, sizeof(c->cursor_dac)) | 1 : 0;
    g_autofree struct viv_cursor *cursor = NULL;

    if (h != c->drawn) {
        if (on) {
            cursor = g_malloc(sizeof(*cursor) + (size_t)size * size * 4);
            *cursor = (struct viv_cursor){.width = size, .height = size};
            draw(c, p, size, cursor->pixels);
        }
        viv_console_set_cursor(c->vga.console, cursor);
    }
    if (h != c->drawn || c->at_x != c->cursor_x || c->at_y != c->cursor_y)
        viv_console_move_cursor(c->vga.console, c->cursor_x, c->cursor_y, on);
    c->drawn = h;
    c->at_x = c->cursor_x;
    c->at_y = c->cursor_y;
}
