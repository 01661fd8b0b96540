/* Bochs' VBE registers (DISPI): a linear mode by width, height and depth. (Bochs VBE display API, version B0C5h.)
 *
 * Width, height and depth are fixed while it is enabled. Setting the width also sets the virtual width, so that one that was
 * larger for an earlier mode does not stay. */
#include "dev/display/vga.h"

#include <glib.h>
#include <string.h>

#define ID_FIRST 0xb0c0
#define ID_LAST  0xb0c5

static uint32_t line_bytes(const struct vga *v)
{
    unsigned bpp = v->dispi[VGA_DISPI_BPP], width = v->dispi[VGA_DISPI_VIRT_WIDTH];

    return bpp == 4 ? width / 2 : width * ((bpp + 7) / 8);
}

/* What GETCAPS asks for in place of the value. */
static uint16_t most(unsigned index)
{
    return index == VGA_DISPI_BPP ? 32 : VIV_SURFACE_MOST;
}

uint16_t vga_dispi_read(struct vga *v, unsigned index)
{
    uint32_t line = line_bytes(v);

    switch (index) {
    case VGA_DISPI_XRES:
    case VGA_DISPI_YRES:
    case VGA_DISPI_BPP:
        return v->dispi[VGA_DISPI_ENABLE] & VGA_DISPI_GETCAPS ? most(index) : v->dispi[index];
    case VGA_DISPI_VIRT_HEIGHT:
        return (uint16_t)(line ? MIN(v->ram->size / line, 0xffff) : 0);
    case VGA_DISPI_MEMORY_64K:
        return (uint16_t)(v->ram->size >> 16);
    default:
        return index < VGA_DISPI_REGS ? v->dispi[index] : 0;
    }
}

static bool depth_exists(unsigned bpp)
{
    return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

static void enable_write(struct vga *v, uint16_t value)
{
    uint16_t old = v->dispi[VGA_DISPI_ENABLE];
    uint64_t size;

    v->dispi[VGA_DISPI_ENABLE] = value & 0xe3;
    if ((old ^ value) & VGA_DISPI_8BIT_DAC) { /* the colours stay what they are */
        for (unsigned i = 0; i < sizeof(v->dac); i++)
            v->dac[i] = value & VGA_DISPI_8BIT_DAC ? (uint8_t)(v->dac[i] << 2 | (v->dac[i] & 0x3f) >> 4) : v->dac[i] >> 2;
    }
    if (!(value & ~old & VGA_DISPI_ENABLED))
        return;
    v->dispi[VGA_DISPI_VIRT_WIDTH] = MAX(v->dispi[VGA_DISPI_VIRT_WIDTH], v->dispi[VGA_DISPI_XRES]);
    v->dispi[VGA_DISPI_X_OFFSET] = v->dispi[VGA_DISPI_Y_OFFSET] = v->dispi[VGA_DISPI_BANK] = 0;
    if (value & VGA_DISPI_NOCLEAR)
        return;
    size = MIN((uint64_t)line_bytes(v) * v->dispi[VGA_DISPI_YRES] * (v->dispi[VGA_DISPI_BPP] == 4 ? 4 : 1), v->ram->size);
    memset(v->ram->hva, 0, size);
    viv_ram_written(v->ram->hva, size);
}

void vga_dispi_write(struct vga *v, unsigned index, uint16_t value)
{
    bool fixed = vga_dispi_on(v);

    switch (index) {
    case VGA_DISPI_ID:
        if (value >= ID_FIRST && value <= ID_LAST)
            v->dispi[index] = value;
        break;
    case VGA_DISPI_XRES:
        if (!fixed && value <= VIV_SURFACE_MOST)
            v->dispi[VGA_DISPI_XRES] = v->dispi[VGA_DISPI_VIRT_WIDTH] = value;
        break;
    case VGA_DISPI_YRES:
        if (!fixed && value <= VIV_SURFACE_MOST)
            v->dispi[index] = value;
        break;
    case VGA_DISPI_BPP:
        if (!value)
            value = 8;
        if (!fixed && depth_exists(value))
            v->dispi[index] = value;
        break;
    case VGA_DISPI_ENABLE:
        enable_write(v, value);
        break;
    case VGA_DISPI_BANK:
        if ((uint64_t)value << 16 < v->ram->size)
            v->dispi[index] = value;
        break;
    case VGA_DISPI_VIRT_WIDTH:
        if (value >= v->dispi[VGA_DISPI_XRES])
            v->dispi[index] = value;
        break;
    case VGA_DISPI_X_OFFSET:
    case VGA_DISPI_Y_OFFSET:
        v->dispi[index] = value;
        break;
    }
    vga_update_window(v);
}
