/* The apertures of video memory: A0000h with its banks, BAR 0 (linear), and the BitBLT registers by memory (manual, 3.4 "CPU
 * interface", 9 "extension registers": GR9-GRB, SR17; write modes 4 and 5).
 *
 * Where a write is only a write, video memory itself is mapped. */
#include "dev/display/cirrus.h"

enum {
    MMIO_WINDOW = 0x18000, /* B8000h in the window */
    MMIO_SIZE = 0x100,
    BAR_PORTS = 0x20,  /* BAR 1: 3C0h-3DFh */
    BAR_BLT = 0x100,   /* and BitBLT registers */
};

/* ---- BitBLT registers by memory ---- */

/* Graphics controller register of each; 0xff: none. */
static unsigned mmio_register(unsigned off)
{
    static const uint8_t colours[8] = {0x00, 0x10, 0x12, 0x14, 0x01, 0x11, 0x13, 0x15};

    if (off < 0x08)
        return colours[off];
    if (off < 0x13) /* width, height, pitches, destination */
        return 0x20 + off - 0x08;
    if (off >= 0x14 && off < 0x17)
        return 0x2c + off - 0x14;
    switch (off) {
    case 0x17:
        return 0x2f;
    case 0x18:
        return 0x30;
    case 0x1a:
        return 0x32;
    case 0x1b:
        return 0x33;
    case 0x1c:
    case 0x1d:
        return 0x34 + off - 0x1c;
    case 0x20:
    case 0x21:
        return 0x38 + off - 0x20;
    case 0x40:
        return 0x31;
    default:
        return 0xff;
    }
}

static uint8_t blt_read(struct cirrus *c, unsigned off)
{
    unsigned n = mmio_register(off);

    return n == 0xff ? 0xff : cirrus_gr_read(c, n);
}

static void blt_write(struct cirrus *c, unsigned off, uint8_t value)
{
    unsigned n = mmio_register(off);

    if (n != 0xff)
        cirrus_gr_write(c, n, value);
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    struct cirrus *c = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        uint64_t o = off + i;
        uint8_t byte = 0xff;

        if (o < BAR_PORTS)
            byte = vga_port_read(&c->vga, 0x3c0 + (unsigned)o);
        else if (o >= BAR_BLT && o < BAR_BLT + MMIO_SIZE)
            byte = blt_read(c, (unsigned)o - BAR_BLT);
        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct cirrus *c = opaque;

    for (unsigned i = 0; i < size; i++) {
        uint64_t o = off + i;
        uint8_t byte = (uint8_t)(value >> (8 * i));

        if (o < BAR_PORTS)
            vga_port_write(&c->vga, 0x3c0 + (unsigned)o, byte);
        else if (o >= BAR_BLT && o < BAR_BLT + MMIO_SIZE)
            blt_write(c, (unsigned)o - BAR_BLT, byte);
    }
}

const struct viv_region_ops cirrus_mmio_ops = {mmio_read, mmio_write, 1, 4, true, false};

/* ---- what a write does ---- */

static bool expands(const struct cirrus *c)
{
    return c->gr[0x0b] & GRB_WRITE && (c->gr[5] & 7) >= 4;
}

static void store(struct cirrus *c, uint32_t addr, uint8_t value)
{
    uint8_t *p = c->vga.ram->hva + (addr & cirrus_mask(c));

    *p = value;
    viv_ram_written(p, 1);
}

/* Write modes 4 and 5: each bit is a pixel, of one byte, or two where addresses count by 16. 1: foreground, 0: background, in mode 4
 * nothing. */
static void expand(struct cirrus *c, uint32_t addr, uint8_t value)
{
    bool two = c->gr[0x0b] & GRB_BY16;
    uint32_t to = addr * (two ? 16 : 8);

    for (unsigned i = 0; i < 8; i++, to += two ? 2 : 1) {
        bool on = value >> (7 - i) & 1;

        if (!on && (c->gr[5] & 7) == 4)
            continue;
        store(c, to, c->gr[on ? 1 : 0]);
        if (two)
            store(c, to + 1, c->gr[on ? 0x11 : 0x10]);
    }
}

/* `fed`: the access began as data for a blit; what is more than that needs fills the double word. */
static void write_byte(struct cirrus *c, uint32_t addr, uint8_t value, bool fed)
{
    if (c->feeding)
        cirrus_blt_feed(c, value);
    else if (fed)
        return;
    else if (expands(c))
        expand(c, addr, value);
    else
        store(c, addr, value);
}

/* ---- A0000h ---- */

static uint32_t bank(const struct cirrus *c, uint64_t off)
{
    bool dual = c->gr[0x0b] & GRB_DUAL;
    uint32_t n = c->gr[dual && off & 0x8000 ? 0x0a : 0x09];

    return (n << (c->gr[0x0b] & GRB_16K ? 14 : 12)) + (uint32_t)(off & (dual ? 0x7fff : 0xffff));
}

static bool is_mmio(const struct cirrus *c, uint64_t off)
{
    return (c->sr[0x17] & (SR17_MMIO | SR17_MMIO_LINEAR)) == SR17_MMIO && off >= MMIO_WINDOW && off < MMIO_WINDOW + MMIO_SIZE;
}

bool cirrus_window_read(void *opaque, uint64_t off, unsigned size, uint64_t *value)
{
    struct cirrus *c = opaque;

    if (!cirrus_is_packed(c) && !is_mmio(c, off))
        return false;
    *value = 0;
    for (unsigned i = 0; i < size; i++, off++) {
        uint8_t byte = is_mmio(c, off) ? blt_read(c, (unsigned)(off - MMIO_WINDOW))
                       : off < 0x10000 ? c->vga.ram->hva[bank(c, off) & cirrus_mask(c)]
                                       : 0xff;

        *value |= (uint64_t)byte << (8 * i);
    }
    return true;
}

bool cirrus_window_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct cirrus *c = opaque;
    bool fed = c->feeding;

    if (!cirrus_is_packed(c) && !fed && !is_mmio(c, off))
        return false;
    for (unsigned i = 0; i < size; i++, off++, value >>= 8) {
        if (is_mmio(c, off))
            blt_write(c, (unsigned)(off - MMIO_WINDOW), (uint8_t)value);
        else if (off < 0x10000)
            write_byte(c, bank(c, off), (uint8_t)value, fed);
    }
    return true;
}

bool cirrus_window_direct(void *opaque, bool *mine, uint64_t *at)
{
    struct cirrus *c = opaque;

    *mine = cirrus_is_packed(c) || c->feeding;
    if (*mine)
        *at = bank(c, 0);
    return *mine && !c->feeding && !expands(c) && !(c->gr[0x0b] & GRB_DUAL) && *at + 0x10000 <= c->vga.ram->size;
}

/* ---- BAR 0 ---- */

static bool is_linear_mmio(const struct cirrus *c, uint64_t off)
{
    uint64_t end = c->vga.ram->size;

    return (c->sr[0x17] & (SR17_MMIO | SR17_MMIO_LINEAR)) == (SR17_MMIO | SR17_MMIO_LINEAR) && off >= end - MMIO_SIZE && off < end;
}

static uint64_t linear_read(void *opaque, uint64_t off, unsigned size)
{
    struct cirrus *c = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = is_linear_mmio(c, off + i) ? blt_read(c, (off + i) & (MMIO_SIZE - 1))
                                                 : c->vga.ram->hva[(off + i) & cirrus_mask(c)];

        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void linear_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct cirrus *c = opaque;
    bool fed = c->feeding;

    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));

        if (is_linear_mmio(c, off + i))
            blt_write(c, (off + i) & (MMIO_SIZE - 1), byte);
        else
            write_byte(c, (uint32_t)(off + i), byte, fed);
    }
}

const struct viv_region_ops cirrus_linear_ops = {linear_read, linear_write, 1, 8, true, false};

void cirrus_update_linear(struct cirrus *c)
{
    bool plain = !c->feeding && !expands(c) && (c->sr[0x17] & (SR17_MMIO | SR17_MMIO_LINEAR)) != (SR17_MMIO | SR17_MMIO_LINEAR);
    bool on = plain && viv_region_mapped(c->bar), now = viv_region_mapped(c->direct);
    uint64_t addr = on ? viv_region_addr(c->bar) : 0;

    if (on == now && (!on || viv_region_addr(c->direct) == addr))
        return;
    if (now)
        viv_region_unmap(c->direct);
    if (on)
        viv_region_map(c->direct, addr, 2); /* over the BAR */
}
