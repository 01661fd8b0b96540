/* VESA E-EDID standard 1.4, section 3 (the base block). */
#include "dev/display/edid.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

#define DPI 100

static const struct {
    uint16_t width, height;
} standard[8] = {{1024, 768}, {1280, 720}, {1280, 800}, {1280, 1024}, {1440, 900}, {1600, 1200}, {1680, 1050}, {1920, 1080}};

/* 3.9: width, and its ratio to the height. */
static void standard_timing(uint8_t *p, unsigned width, unsigned height)
{
    unsigned ratio = height * 16 == width * 10 ? 0 : height * 4 == width * 3 ? 1 : height * 5 == width * 4 ? 2 : 3;

    p[0] = (uint8_t)(width / 8 - 31);
    p[1] = (uint8_t)(ratio << 6); /* 60 Hz */
}

/* 3.10.2, with blanking as VESA CVT's reduced one has it: 160 dots, at least 460 us. */
static void detailed_timing(uint8_t *p, unsigned width, unsigned height)
{
    unsigned hblank = 160, vblank = MAX(height * 28 / 972 + 1, 20), clock = (width + hblank) * (height + vblank) * 60 / 10000;
    unsigned mm_x = width * 254 / (DPI * 10), mm_y = height * 254 / (DPI * 10);

    viv_st_le16(p, (uint16_t)MIN(clock, 0xffff));
    p[2] = (uint8_t)width;
    p[3] = (uint8_t)hblank;
    p[4] = (uint8_t)(width >> 8 << 4 | hblank >> 8);
    p[5] = (uint8_t)height;
    p[6] = (uint8_t)vblank;
    p[7] = (uint8_t)(height >> 8 << 4 | vblank >> 8);
    p[8] = 48; /* front porch */
    p[9] = 32; /* sync */
    p[10] = 3 << 4 | 6;
    p[11] = 0;
    p[12] = (uint8_t)mm_x;
    p[13] = (uint8_t)mm_y;
    p[14] = (uint8_t)(mm_x >> 8 << 4 | (mm_y >> 8 & 15));
    p[17] = 0x1a; /* digital separate sync, horizontal positive */
}

/* 3.10.3: text descriptors end with a line feed and spaces. */
static void text(uint8_t *p, uint8_t tag, const char *s)
{
    size_t len = MIN(strlen(s), 13);

    p[3] = tag;
    memset(p + 5, ' ', 13);
    memcpy(p + 5, s, len);
    if (len < 13)
        p[5 + len] = '\n';
}

static void range_limits(uint8_t *p)
{
    static const uint8_t limits[] = {0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 255, 1, '\n', ' ', ' ', ' ', ' ', ' ', ' '};

    memcpy(p, limits, sizeof(limits));
}

void viv_edid_fill(uint8_t out[VIV_EDID_SIZE], const char *name, unsigned width, unsigned height)
{
    static const uint8_t header[8] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
    static const uint8_t srgb[10] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
    uint8_t sum = 0;

    memset(out, 0, VIV_EDID_SIZE);
    memcpy(out, header, sizeof(header));
    viv_st_be16(out + 8, ('V' - '@') << 10 | ('I' - '@') << 5 | ('V' - '@')); /* three letters of five bits */
    viv_st_le16(out + 10, 1);
    viv_st_le32(out + 12, 1);
    out[16] = 1;         /* week */
    out[17] = 2024 - 1990;
    out[18] = 1;         /* EDID 1.4 */
    out[19] = 4;
    out[20] = 0xa5;      /* digital, 8 bits a colour, DisplayPort */
    out[21] = (uint8_t)MIN(width * 254 / (DPI * 100), 255); /* cm */
    out[22] = (uint8_t)MIN(height * 254 / (DPI * 100), 255);
    out[23] = 120;       /* gamma 2.2 */
    out[24] = 0x06;      /* sRGB; the first detailed timing is the native one */
    memcpy(out + 25, srgb, sizeof(srgb));
    out[35] = 0x21;      /* 640x480, 800x600 at 60 Hz */
    out[36] = 0x08;      /* 1024x768 at 60 Hz */
    for (unsigned i = 0; i < 8; i++)
        standard_timing(out + 38 + 2 * i, standard[i].width, standard[i].height);
    detailed_timing(out + 54, width, height);
    range_limits(out + 72);
    text(out + 90, 0xfc, name);
    text(out + 108, 0xff, "1");
    for (unsigned i = 0; i < VIV_EDID_SIZE - 1; i++)
        sum += out[i];
    out[VIV_EDID_SIZE - 1] = (uint8_t)-sum;
}
