/* The VGA's registers by memory, as the standard VGA has them (vga.h). */
#include "dev/display/vga.h"

enum {
    PORTS = 0x400,
    PORTS_SIZE = 0x20,
    DISPI = 0x500,
    DISPI_END = DISPI + 2 * (VGA_DISPI_MEMORY_64K + 1),
};

uint64_t vga_mmio_read(struct vga *v, bool ports, uint64_t off, unsigned size)
{
    unsigned at = (unsigned)off;

    if (off >= DISPI && off < DISPI_END)
        return vga_dispi_read(v, (at - DISPI) / 2) >> (off & 1 ? 8 : 0);
    if (off >= PORTS && off < PORTS + PORTS_SIZE && ports) {
        uint64_t low = vga_port_read(v, 0x3c0 + at - PORTS);

        return size == 2 ? low | (uint64_t)vga_port_read(v, 0x3c1 + at - PORTS) << 8 : low;
    }
    if (off < sizeof(v->edid) && v->has_edid)
        return v->edid[off] | (size == 2 ? (uint64_t)v->edid[off + 1] << 8 : 0);
    return 0;
}

void vga_mmio_write(struct vga *v, bool ports, uint64_t off, uint64_t value, unsigned size)
{
    unsigned at = (unsigned)off;

    if (off >= DISPI && off < DISPI_END) {
        if (size == 2)
            vga_dispi_write(v, (at - DISPI) / 2, (uint16_t)value);
    } else if (off >= PORTS && off < PORTS + PORTS_SIZE && ports) {
        for (unsigned i = 0; i < size; i++)
            vga_port_write(v, 0x3c0 + at - PORTS + i, (uint8_t)(value >> (8 * i)));
    }
}
