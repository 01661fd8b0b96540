/* What lies at A0000h-BFFFFh: the graphics controller between the processor and the planes. (IBM VGA Technical Reference, "Video
 * Graphics Array Programming Considerations"; FreeVGA, "Accessing the VGA Display Memory".)
 *
 * Where a byte's address is its place and nothing is done with it (mode 13h as the BIOS sets it, banks of linear modes), video
 * memory itself is mapped over the window. */
#include "dev/display/vga.h"

enum {
    WINDOW = 0x20000,
    MISC_RAM = 2,
    SEQ4_SEQUENTIAL = 4, /* not odd/even */
    SEQ4_CHAIN4 = 8,
    GC5_READ_COMPARE = 8,
    GC5_ODD_EVEN = 16,
};

/* Where in the window the processor's byte is, by the memory map select; -1: not decoded. */
static int64_t window_offset(const struct vga *v, uint64_t off)
{
    static const struct {
        uint32_t start, size;
    } maps[4] = {{0, WINDOW}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
    unsigned n = v->gc[6] >> 2 & 3;

    if (!(v->misc & MISC_RAM) || off < maps[n].start || off - maps[n].start >= maps[n].size)
        return -1;
    return (int64_t)(off - maps[n].start);
}

static bool is_linear(const struct vga *v)
{
    return vga_dispi_on(v) && v->dispi[VGA_DISPI_BPP] > 4;
}

/* ---- planes ---- */

struct place {
    uint32_t at;    /* of plane 0's byte in video memory */
    uint8_t planes; /* that the address reaches for writing */
    uint8_t plane;  /* that read mode 0 reads */
    uint32_t byte;  /* chain-4: the byte itself */
};

static struct place find(const struct vga *v, uint64_t addr)
{
    uint64_t mask = (vga_dispi_on(v) ? v->ram->size : 0x40000) - 1;
    struct place p = {.planes = 15, .plane = v->gc[4]};

    if (vga_dispi_on(v))
        addr += (uint64_t)v->dispi[VGA_DISPI_BANK] << 16;
    if (v->seq[4] & SEQ4_CHAIN4) {
        p.plane = addr & 3;
        p.planes = (uint8_t)(1 << p.plane);
        p.at = (uint32_t)(addr & mask & ~3ull);
        return p;
    }
    if (!(v->seq[4] & SEQ4_SEQUENTIAL))
        p.planes = addr & 1 ? 10 : 5;
    if (v->gc[5] & GC5_ODD_EVEN)
        p.plane = (v->gc[4] & 2) | (addr & 1);
    if (v->gc[6] & 2) /* chained: bit 0 has chosen the plane */
        addr &= ~1ull;
    /* 64 KiB a plane: in the 128 KiB map the upper half shows the same. */
    p.at = (uint32_t)(vga_dispi_on(v) ? addr * 4 & mask : (addr & 0xffff) * 4);
    return p;
}

static uint8_t read_byte(struct vga *v, uint64_t addr)
{
    struct place p = find(v, addr);
    const uint8_t *m = v->ram->hva + p.at;
    uint8_t equal = 0xff;

    for (unsigned i = 0; i < 4; i++)
        v->latch[i] = m[i];
    if (!(v->gc[5] & GC5_READ_COMPARE))
        return v->latch[p.plane];
    for (unsigned i = 0; i < 4; i++) {
        if (v->gc[7] >> i & 1)
            equal &= v->gc[2] >> i & 1 ? v->latch[i] : (uint8_t)~v->latch[i];
    }
    return equal;
}

static uint8_t combine(const struct vga *v, unsigned plane, uint8_t value, uint8_t mask)
{
    uint8_t latch = v->latch[plane];

    switch (v->gc[3] >> 3 & 3) {
    case 1:
        value &= latch;
        break;
    case 2:
        value |= latch;
        break;
    case 3:
        value ^= latch;
        break;
    }
    return (value & mask) | (latch & ~mask);
}

/* What write mode gc[5] makes of the processor's byte for one plane. */
static uint8_t plane_value(const struct vga *v, unsigned plane, uint8_t value)
{
    uint8_t mask = v->gc[8], set = v->gc[0] >> plane & 1 ? 0xff : 0;
    unsigned turn = v->gc[3] & 7;
    uint8_t turned = (uint8_t)(value >> turn | value << (8 - turn));

    switch (v->gc[5] & 3) {
    case 0:
        return combine(v, plane, v->gc[1] >> plane & 1 ? set : turned, mask);
    case 1:
        return v->latch[plane];
    case 2:
        return combine(v, plane, value >> plane & 1 ? 0xff : 0, mask);
    default:
        return combine(v, plane, set, mask & turned);
    }
}

static void write_byte(struct vga *v, uint64_t addr, uint8_t value)
{
    struct place p = find(v, addr);
    uint8_t *m = v->ram->hva + p.at, planes = v->seq[2] & p.planes;

    for (unsigned i = 0; i < 4; i++) {
        if (planes >> i & 1)
            m[i] = plane_value(v, i, value);
    }
    if (planes)
        viv_ram_written(m, 4);
}

/* ---- the window ---- */

static uint64_t window_read(void *opaque, uint64_t off, unsigned size)
{
    struct vga *v = opaque;
    uint64_t value = 0;

    if (v->ext && v->ext->window_read(v->ext_opaque, off, size, &value))
        return value;
    for (unsigned i = 0; i < size; i++) {
        int64_t at = window_offset(v, off + i);

        value |= (uint64_t)(at < 0 ? 0xff : read_byte(v, (uint64_t)at)) << (8 * i);
    }
    return value;
}

static void window_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct vga *v = opaque;

    if (v->ext && v->ext->window_write(v->ext_opaque, off, value, size))
        return;
    for (unsigned i = 0; i < size; i++) {
        int64_t at = window_offset(v, off + i);

        if (at >= 0)
            write_byte(v, (uint64_t)at, (uint8_t)(value >> (8 * i)));
    }
}

const struct viv_region_ops vga_window_ops = {window_read, window_write, 1, 8, true, false};

static bool is_direct(const struct vga *v, uint64_t *bank)
{
    unsigned map = v->gc[6] >> 2 & 3;
    bool plain = v->seq[2] == 15 && !(v->gc[5] & 11) && !v->gc[1] && !v->gc[3] && v->gc[8] == 0xff, mine = false, direct;

    *bank = vga_dispi_on(v) ? (uint64_t)v->dispi[VGA_DISPI_BANK] << 16 : 0;
    if (!v->on_mem || !(v->misc & MISC_RAM))
        return false;
    direct = v->ext && v->ext->direct(v->ext_opaque, &mine, bank);
    if (mine)
        return direct;
    return is_linear(v) ? map <= 1 : v->seq[4] & SEQ4_CHAIN4 && plain && map == 1;
}

void vga_update_window(struct vga *v)
{
    uint64_t bank;
    bool direct = is_direct(v, &bank);

    if (v->direct && direct && bank == v->bank)
        return;
    if (!v->direct && !direct)
        return;
    viv_space_begin(v->dev->board->mem);
    viv_region_free(v->direct);
    v->direct = NULL;
    if (direct) {
        struct viv_region_desc d = {
            .name = "vga-bank", .kind = VIV_REGION_RAM, .size = 0x10000, .ram = v->ram, .ram_offset = bank};

        v->bank = bank;
        v->direct = viv_region_new(v->dev->board->mem, &d);
        /* Over the window, under SMRAM. */
        viv_region_map(v->direct, 0xa0000, 1);
    }
    viv_space_commit(v->dev->board->mem);
}
