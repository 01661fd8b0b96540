/* CL-GD5446: registers, packed modes, banks, extended write modes, BitBLT compared with a plain model, cursor, saved state. */
#include "dev/display/cirrus.h"

#include "base/bytes.h"
#include "base/units.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_cirrus_vga, viv_dev_pci_bridge;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_cirrus_vga, &viv_dev_pci_bridge, NULL};

#define LFB  0xe0000000ull
#define MMIO 0xe8000000ull
#define SIZE (1u << 20)
#define MASK (SIZE - 1)

static struct cirrus *card;
static struct viv_console *console;

static void config(unsigned reg, uint32_t value)
{
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, 0x10, reg, value, 4);
    viv_dev_unlock();
}

static void begin_with(const char *opts)
{
    rig_init();
    rig.board.pci = viv_pci_bus_new(&rig.board, "pci.0");
    card = (struct cirrus *)rig_add("cirrus-vga", opts);
    console = viv_console_find("cirrus-vga", 0);
    config(0x10, (uint32_t)LFB);
    config(0x14, (uint32_t)MMIO);
    config(4, 3);
    out8(0x3c2, 0x63);
}

static void begin(void)
{
    begin_with("addr=2,vgamem_mb=1");
}

static void end(void)
{
    struct viv_pci_bus *bus = rig.board.pci;

    rig_fini();
    viv_pci_bus_free(bus);
}

static void sr(uint8_t n, uint8_t value)
{
    out8(0x3c4, n);
    out8(0x3c5, value);
}

static void gr(uint8_t n, uint8_t value)
{
    out8(0x3ce, n);
    out8(0x3cf, value);
}

static void cr(uint8_t n, uint8_t value)
{
    out8(0x3d4, n);
    out8(0x3d5, value);
}

static uint8_t rd(uint16_t port, uint8_t n)
{
    out8(port, n);
    return in8(port + 1);
}

static uint8_t *vram(void)
{
    return card->vga.ram->hva;
}

static void set_hdr(uint8_t value)
{
    in8(0x3c8);
    for (unsigned i = 0; i < 4; i++)
        in8(0x3c6);
    out8(0x3c6, value);
}

/* ---- registers ---- */

static void test_registers(void)
{
    begin_with("addr=2");
    g_assert_cmphex(mem32(LFB), ==, 0);
    g_assert_cmphex(rd(0x3d4, 0x27), ==, 0xb8);
    sr(6, 0);
    g_assert_cmphex(rd(0x3c4, 6), ==, 0x0f);
    sr(6, 0x92); /* bits that do not matter */
    g_assert_cmphex(rd(0x3c4, 6), ==, 0x12);
    g_assert_cmphex(rd(0x3c4, 0x0f) & 0x98, ==, 0x98); /* 4 MiB */
    g_assert_cmphex(rd(0x3c4, 0x17) & 0x38, ==, 0x20); /* PCI */
    sr(0x09, 0x5a);
    g_assert_cmphex(rd(0x3c4, 0x09), ==, 0x5a);
    gr(0, 0xff);
    g_assert_cmphex(rd(0x3ce, 0), ==, 0x0f);
    gr(0x0b, 4);
    g_assert_cmphex(rd(0x3ce, 0), ==, 0xff);
    set_hdr(0xe1);
    in8(0x3c8);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmphex(in8(0x3c6), ==, 0xff);
    g_assert_cmphex(in8(0x3c6), ==, 0xe1);
    g_assert_cmphex(in8(0x3c6), ==, 0xff);
    out8(0x3c6, 0x7f); /* the mask again */
    g_assert_cmphex(in8(0x3c6), ==, 0x7f);
    g_assert_cmphex(viv_space_read(rig.board.mem, MMIO + 0x0c, 1), ==, in8(0x3cc)); /* by memory */
    g_assert_cmphex(in16(0x1ce), ==, 0xffff); /* no Bochs VBE */
    cr(0x1b, 0x22);
    g_assert_cmphex(rd(0x3d4, 0x1b), ==, 0x22);
    out8(0x3d4, 0x3f);
    out8(0x3d5, 1);
    g_assert_cmphex(in8(0x3d5), ==, 0xff);
    end();
}

/* 640x400 with so many bits, drawn as firmware would set it. */
static void packed(uint8_t sr7, uint8_t hdr, uint32_t pitch)
{
    sr(7, sr7);
    set_hdr(hdr);
    cr(0x11, 0);
    cr(1, 79);
    cr(0x12, 0x8f);
    cr(7, 2);
    cr(9, 0);
    cr(0x17, 0xe3);
    cr(0x13, (uint8_t)(pitch / 8));
    cr(0x1b, (uint8_t)(0x22 | (pitch / 8 >> 8) << 4));
    sr(1, 0x21); /* SeaBIOS leaves bit 5 on, which is "screen off" in a VGA mode */
    in8(0x3da);
    out8(0x3c0, 0x20);
}

static uint32_t seen(unsigned x, unsigned y)
{
    const struct viv_surface *s;
    uint32_t v;

    viv_dev_lock();
    viv_console_refresh(console);
    s = viv_console_surface(console);
    g_assert_cmpuint(s->width * 1000 + s->height, ==, 640400);
    v = viv_ld_le32(s->pixels + y * s->stride + 4 * x) & 0xffffff;
    viv_dev_unlock();
    return v;
}

static void test_modes(void)
{
    begin();
    out8(0x3c8, 9);
    out8(0x3c9, 63);
    out8(0x3c9, 0);
    out8(0x3c9, 1);
    packed(0x01, 0, 640);
    viv_space_write(rig.board.mem, LFB + 640 + 3, 9, 1);
    g_assert_cmphex(seen(3, 1), ==, 0xff0004);
    packed(0x03, 0xf0, 1280);
    viv_space_write(rig.board.mem, LFB + 1280 + 6, 0x7c01, 2);
    g_assert_cmphex(seen(3, 1), ==, 0xff0008);
    packed(0x07, 0xe1, 1280);
    viv_space_write(rig.board.mem, LFB + 1280 + 6, 0x07e1, 2);
    g_assert_cmphex(seen(3, 1), ==, 0x00ff08);
    packed(0x05, 0xe5, 1920);
    viv_space_write(rig.board.mem, LFB + 1920 + 9, 0x123456, 4);
    g_assert_cmphex(seen(3, 1), ==, 0x123456);
    packed(0x05, 0xe5, 2048);
    cr(0x0d, 0x10); /* starts 64 bytes further */
    viv_space_write(rig.board.mem, LFB + 64, 0x987654, 4);
    g_assert_cmphex(seen(0, 0), ==, 0x987654);
    cr(0x0d, 0);
    cr(0x1d, 0x80); /* outside of 1 MiB: dark, and no more */
    seen(0, 0);
    cr(0x1d, 0);
    packed(0x09, 0xe5, 2560);
    g_assert_cmphex(rd(0x3d4, 0x1b) & 0x10, ==, 0x10);
    seen(0, 0); /* 1000 KiB */
    viv_space_write(rig.board.mem, LFB + 2560 + 12, 0x445566, 4);
    g_assert_cmphex(seen(3, 1), ==, 0x445566);
    end();
}

static void poke(uint32_t at, uint32_t value, unsigned size)
{
    viv_space_write(rig.board.mem, at, value, size);
}

static void test_banks(void)
{
    begin();
    packed(0x01, 0, 640);
    gr(9, 0x10); /* of 4 KiB */
    poke(0xa0001, 0x44332211, 4);
    g_assert_cmphex(viv_ld_le32(vram() + 0x10001), ==, 0x44332211);
    g_assert_true(card->vga.direct); /* nothing in between */
    gr(0x0b, 0x20);
    poke(0xa0002, 0x77, 1);
    g_assert_cmphex(vram()[0x40002], ==, 0x77);
    gr(0x0b, 0x21); /* two windows */
    gr(0x0a, 2);
    poke(0xa8003, 0x88, 1);
    g_assert_cmphex(vram()[0x8003], ==, 0x88);
    poke(0xa0003, 0x99, 1);
    g_assert_cmphex(vram()[0x40003], ==, 0x99);
    g_assert_cmphex(viv_space_read(rig.board.mem, 0xa8003, 1), ==, 0x88);
    gr(0x0b, 0);
    gr(9, 0xff); /* the last page; beyond, it wraps */
    poke(0xa0000, 0x5a, 1);
    g_assert_cmphex(vram()[0xff000], ==, 0x5a);
    poke(0xa1000, 0x5b, 1);
    g_assert_cmphex(vram()[0], ==, 0x5b);
    poke(0xb8000, 1, 1); /* nothing there */
    poke((uint32_t)LFB + SIZE + 5, 0x66, 1); /* memory repeats in the BAR */
    g_assert_cmphex(vram()[5], ==, 0x66);
    gr(9, 0);
    /* Pixels from bits. */
    gr(0x0b, 4);
    gr(5, 4);
    gr(1, 0x21);
    gr(0, 0x43);
    memset(vram() + 80, 0xee, 16);
    poke(0xa000a, 0xa1, 1);
    g_assert_cmpmem(vram() + 80, 9, "\x21\xee\x21\xee\xee\xee\xee\x21\xee", 9);
    gr(5, 5);
    poke((uint32_t)LFB + 10, 0xa1, 1);
    g_assert_cmpmem(vram() + 80, 9, "\x21\x43\x21\x43\x43\x43\x43\x21\xee", 9);
    gr(0x0b, 0x14);
    gr(0x11, 0x65);
    gr(0x10, 0x87);
    poke(0xa0005, 0x40, 1);
    g_assert_cmpmem(vram() + 80, 6, "\x43\x87\x21\x65\x43\x87", 6);
    end();
}

/* ---- BitBLT ---- */

struct job {
    uint32_t dst, src, width, height, dst_pitch, src_pitch, fg, bg, key;
    uint8_t mode, rop, ext, skip;
};

static uint8_t model_rop(uint8_t code, uint8_t s, uint8_t d)
{
    switch (code) {
    case 0x00: return 0;
    case 0x05: return s & d;
    case 0x06: return d;
    case 0x09: return s & ~d;
    case 0x0b: return ~d;
    case 0x0d: return s;
    case 0x0e: return 0xff;
    case 0x50: return ~s & d;
    case 0x59: return s ^ d;
    case 0x6d: return s | d;
    case 0x90: return ~(s | d);
    case 0x95: return ~(s ^ d);
    case 0xad: return s | ~d;
    case 0xd0: return ~s;
    case 0xd6: return ~s | d;
    case 0xda: return ~(s & d);
    default: return d;
    }
}

static const uint8_t codes[] = {0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50, 0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda};

static void start(const struct job *j)
{
    for (unsigned k = 0; k < 4; k++) {
        static const uint8_t b[] = {0x00, 0x10, 0x12, 0x14};

        gr(b[k], (uint8_t)(j->bg >> 8 * k));
        gr(b[k] + 1, (uint8_t)(j->fg >> 8 * k));
    }
    for (unsigned k = 0; k < 2; k++) {
        gr((uint8_t)(0x20 + k), (uint8_t)((j->width - 1) >> 8 * k));
        gr((uint8_t)(0x22 + k), (uint8_t)((j->height - 1) >> 8 * k));
        gr((uint8_t)(0x24 + k), (uint8_t)(j->dst_pitch >> 8 * k));
        gr((uint8_t)(0x26 + k), (uint8_t)(j->src_pitch >> 8 * k));
        gr((uint8_t)(0x34 + k), (uint8_t)(j->key >> 8 * k));
    }
    for (unsigned k = 0; k < 3; k++) {
        gr((uint8_t)(0x28 + k), (uint8_t)(j->dst >> 8 * k));
        gr((uint8_t)(0x2c + k), (uint8_t)(j->src >> 8 * k));
    }
    gr(0x2f, j->skip);
    gr(0x30, j->mode);
    gr(0x32, j->rop);
    gr(0x33, j->ext);
    gr(0x31, 2);
}

/* The same on a copy of video memory, a pixel at a time. `data`: from the processor; NULL: video memory. */
static void model(const struct job *j, uint8_t *m, const uint8_t *data)
{
    unsigned bytes = (j->mode >> 4 & 3) + 1u, pixels = j->width / bytes, skip = bytes == 3 ? (j->skip & 31) / 3 : j->skip & 7;
    bool expand = j->mode & 0x80, pattern = j->mode & 0x40, fill = j->ext & 4 && (expand || pattern), back = j->mode & 1;
    unsigned bits_line = (pixels + 7) / 8, area = expand ? 8 : bytes == 1 ? 64 : bytes == 2 ? 128 : 256;

    if (j->ext & 1)
        bits_line = (bits_line + 3) / 4 * 4;
    if (!expand && !pattern) {
        unsigned unit = j->mode & 8 ? bytes : 1;

        for (unsigned y = 0; y < j->height; y++) {
            for (unsigned x = 0; x + unit <= j->width; x += unit) {
                uint32_t d = back && !data ? j->dst - y * j->dst_pitch - x - (unit - 1) : j->dst + y * j->dst_pitch + x;
                uint32_t s = back && !data ? j->src - y * j->src_pitch - x - (unit - 1) : j->src + y * j->src_pitch + x, v = 0;

                for (unsigned k = 0; k < unit; k++)
                    v |= (uint32_t)(data ? data[y * ((j->width + 3) & ~3u) + x + k] : m[(s + k) & MASK]) << 8 * k;
                if (j->mode & 8 && bytes < 3 && v == (j->key & (bytes == 1 ? 0xff : 0xffff)))
                    continue;
                for (unsigned k = 0; k < unit; k++)
                    m[(d + k) & MASK] = model_rop(j->rop, (uint8_t)(v >> 8 * k), m[(d + k) & MASK]);
            }
        }
        return;
    }
    for (unsigned y = 0; y < j->height; y++) {
        for (unsigned x = skip; x < pixels; x++) {
            uint32_t at = j->src & ~(area - 1), v = j->fg, line = ((data ? 0 : j->src) + y) % 8;

            if (expand && !fill) {
                uint8_t b = pattern ? (data ? data[line] : m[(at + line) & MASK])
                            : data  ? data[y * bits_line + x / 8]
                                    : m[(j->src + y * bits_line + x / 8) & MASK];
                bool one = b & 0x80 >> x % 8;

                if (j->mode & 8 && one == !!(j->ext & 2))
                    continue;
                v = one ? j->fg : j->bg;
            } else if (!fill) {
                unsigned off = line * (bytes == 3 ? 32 : bytes * 8) + x % 8 * bytes;

                v = 0;
                for (unsigned k = 0; k < bytes; k++)
                    v |= (uint32_t)(data ? data[off + k] : m[(at + off + k) & MASK]) << 8 * k;
                if (j->mode & 8 && bytes < 3 && v == (j->key & (bytes == 1 ? 0xff : 0xffff)))
                    continue;
            }
            for (unsigned k = 0; k < bytes; k++) {
                uint8_t *d = &m[(j->dst + y * j->dst_pitch + x * bytes + k) & MASK];

                *d = model_rop(j->rop, (uint8_t)(v >> 8 * k), *d);
            }
        }
    }
}

static void expect(const struct job *j, const uint8_t *want, unsigned n)
{
    if (!memcmp(vram(), want, SIZE))
        return;
    for (unsigned i = 0; i < SIZE; i++) {
        if (vram()[i] != want[i])
            g_error("blit %u, mode %02x, ext %02x, rop %02x, %ux%u at %x from %x: byte %x is %02x, not %02x", n, j->mode, j->ext, j->rop,
                    j->width, j->height, j->dst, j->src, i, vram()[i], want[i]);
    }
}

static struct job random_job(bool from_system)
{
    static const uint8_t modes[] = {0x00, 0x00, 0x01, 0x08, 0x09, 0x40, 0x48, 0x80, 0x88, 0xc0, 0xc8};
    unsigned bytes = (unsigned)g_test_rand_int_range(1, 5);
    struct job j = {.mode = modes[g_test_rand_int_range(0, sizeof(modes))], .rop = codes[g_test_rand_int_range(0, sizeof(codes))]};

    j.mode |= (uint8_t)((bytes - 1) << 4);
    j.ext = (uint8_t)g_test_rand_int_range(0, 8);
    if (from_system) {
        j.mode = (j.mode & ~1) | 4;
        j.ext &= 3;
    }
    j.width = (uint32_t)g_test_rand_int_range(1, 80) * bytes;
    j.height = (uint32_t)g_test_rand_int_range(1, 20);
    j.dst_pitch = (uint32_t)g_test_rand_int_range(0, 8192);
    j.src_pitch = (uint32_t)g_test_rand_int_range(0, 400);
    j.dst = (uint32_t)g_test_rand_int_range(0, 1 << 22);
    j.src = g_test_rand_bit() ? j.dst + (uint32_t)g_test_rand_int_range(-100, 100) : (uint32_t)g_test_rand_int_range(0, 1 << 22);
    j.src &= 0x3fffff;
    j.fg = (uint32_t)g_test_rand_int();
    j.bg = (uint32_t)g_test_rand_int();
    j.key = (uint32_t)g_test_rand_int_range(0, 4);
    j.skip = (uint8_t)(g_test_rand_bit() ? g_test_rand_int_range(0, 32) : 0);
    return j;
}

static void fill_memory(uint8_t *copy)
{
    for (unsigned i = 0; i < SIZE; i++)
        vram()[i] = (uint8_t)(g_test_rand_int_range(0, 256) & (i & 64 ? 3 : 0xff)); /* some of few values: keys are met */
    memcpy(copy, vram(), SIZE);
}

static void test_blits(void)
{
    g_autofree uint8_t *copy = g_malloc(SIZE);

    begin();
    packed(0x01, 0, 640);
    gr(0x0b, 4);
    fill_memory(copy);
    for (unsigned n = 0; n < 1500; n++) {
        struct job j = random_job(false);

        if (n < sizeof(codes))
            j = (struct job){.rop = codes[n], .width = 256, .height = 1, .src = 0x1000, .dst = 0x2000};
        start(&j);
        model(&j, copy, NULL);
        if (n % 16 < 2 || n > 1400)
            expect(&j, copy, n);
        g_assert_cmphex(rd(0x3ce, 0x31) & 9, ==, 0);
    }
    expect(&(struct job){0}, copy, 1500);
    end();
}

static void test_from_system(void)
{
    g_autofree uint8_t *copy = g_malloc(SIZE);
    static uint8_t data[20 * 330];

    begin();
    packed(0x01, 0, 640);
    gr(0x0b, 4);
    fill_memory(copy);
    for (unsigned n = 0; n < 300; n++) {
        struct job j = random_job(true);
        unsigned bytes = (j.mode >> 4 & 3) + 1u, bits = (j.width / bytes + 7) / 8, len;
        uint64_t where = n & 1 ? LFB + 0x1000 : 0xa0000;

        bits = j.ext & 1 ? (bits + 3) & ~3u : bits;
        len = j.mode & 0x40 ? (j.mode & 0x80 ? 8 : bytes == 1 ? 64 : bytes == 2 ? 128 : 256)
              : j.mode & 0x80 ? bits * j.height
                              : ((j.width + 3) & ~3u) * j.height;
        for (unsigned i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)g_test_rand_int_range(0, n % 3 ? 256 : 4);
        start(&j);
        for (unsigned i = 0; i < len; i += 4) {
            g_assert_cmphex(rd(0x3ce, 0x31) & 9, ==, 9);
            viv_space_write(rig.board.mem, where + i, viv_ld_le32(data + i), 4);
        }
        g_assert_cmphex(rd(0x3ce, 0x31) & 9, ==, 0);
        model(&j, copy, data);
        expect(&j, copy, n);
        viv_space_write(rig.board.mem, LFB + 100, 0x12345678, 4); /* memory again */
        viv_st_le32(copy + 100, 0x12345678);
        expect(&j, copy, n);
    }
    end();
}

static void test_odd_blits(void)
{
    struct job j = {.dst = 0x100, .width = 4, .height = 1, .rop = 0x0d, .mode = 4};
    g_autofree uint8_t *copy = g_malloc(SIZE);

    begin();
    packed(0x01, 0, 640);
    start(&j);
    g_assert_cmphex(rd(0x3ce, 0x31) & 9, ==, 9);
    gr(0x31, 4); /* given up */
    g_assert_cmphex(rd(0x3ce, 0x31) & 9, ==, 0);
    poke((uint32_t)LFB, 0x01020304, 4);
    g_assert_cmphex(viv_ld_le32(vram()), ==, 0x01020304);
    fill_memory(copy);
    j.mode = 2; /* to the processor: not done */
    start(&j);
    j.mode = 0;
    j.rop = 0x77; /* no such operation */
    start(&j);
    expect(&j, copy, 0);
    /* By memory, begun by the last byte of the destination. */
    sr(0x17, 0x04);
    gr(0x31, 0x80);
    poke(0xb8008, 3, 2);
    poke(0xb800a, 0, 2);
    poke(0xb8014, 0x200, 4);
    poke(0xb8018, 0x000d0000, 4);
    poke(0xb8010, 0x400, 4);
    memcpy(copy + 0x400, copy + 0x200, 4);
    expect(&j, copy, 1);
    sr(0x17, 0x44); /* at the end of the linear memory */
    g_assert_cmphex(viv_space_read(rig.board.mem, LFB + SIZE - 0x100 + 0x1a, 1), ==, 0x0d);
    poke((uint32_t)LFB + SIZE - 0x100 + 0x10, 0x500, 4);
    memcpy(copy + 0x500, copy + 0x200, 4);
    expect(&j, copy, 2);
    sr(0x17, 0);
    viv_space_write(rig.board.mem, MMIO + 0x110, 0x600, 4); /* BAR 1 always has them */
    memcpy(copy + 0x600, copy + 0x200, 4);
    expect(&j, copy, 3);
    end();
}

/* Behind a bridge: the memory that is shown as it is goes with the bridge's window. */
static void test_bridge(void)
{
    struct viv_pci_bus *below;

    rig_init();
    rig.board.pci = viv_pci_bus_new(&rig.board, "pci.0");
    below = viv_pci_bus_behind((struct viv_pci_dev *)rig_add("pci-bridge", "addr=2,chassis_nr=1"));
    config(0x18, 0x00010100);
    config(0x20, 0xe9f0e000);
    config(4, 3);
    card = (struct cirrus *)rig_add("cirrus-vga", "bus=pci.0.02.0,addr=0,vgamem_mb=1");
    g_assert_true(card->pci.bus == below);
    viv_dev_lock();
    viv_pci_config_write(below, 0, 0x10, (uint32_t)LFB, 4);
    viv_pci_config_write(below, 0, 4, 3, 4);
    viv_dev_unlock();
    g_assert_true(viv_region_mapped(card->direct) && viv_region_addr(card->direct) == LFB);
    viv_space_write(rig.board.mem, LFB + 0x1000, 0x5a, 1);
    config(0x20, 0xe9f0e900); /* the window goes elsewhere */
    g_assert_cmphex(viv_space_read(rig.board.mem, LFB + 0x1000, 1), ==, 0xff);
    config(0x20, 0xe9f0e000);
    g_assert_cmphex(viv_space_read(rig.board.mem, LFB + 0x1000, 1), ==, 0x5a);
    g_assert_true(viv_region_mapped(card->direct));
    end();
}

/* ---- cursor ---- */

static struct {
    const struct viv_cursor *cursor;
    int x, y;
    bool visible;
} shown;

static void on_shown(void *opaque, const struct viv_surface *s)
{
}

static void on_changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
}

static void on_cursor(void *opaque, const struct viv_cursor *cursor)
{
    shown.cursor = cursor;
}

static void on_moved(void *opaque, int x, int y, bool visible)
{
    shown.x = x, shown.y = y, shown.visible = visible;
}

static void on_gone(void *opaque)
{
}

static void test_cursor(void)
{
    static const struct viv_viewer_ops ops = {
        .shown = on_shown, .changed = on_changed, .cursor = on_cursor, .cursor_moved = on_moved, .gone = on_gone};
    uint8_t *p;

    begin();
    packed(0x01, 0, 640);
    viv_dev_lock();
    viv_viewer_new(console, &ops, NULL);
    viv_dev_unlock();
    sr(0x12, 2); /* the cursor's colours */
    out8(0x3c8, 0);
    for (unsigned i = 0; i < 3; i++)
        out8(0x3c9, 63);
    out8(0x3c8, 15);
    out8(0x3c9, 63);
    out8(0x3c9, 0);
    out8(0x3c9, 0);
    out8(0x3c7, 15);
    g_assert_cmphex(in8(0x3c9), ==, 63);
    sr(0x12, 5);
    out8(0x3c7, 15);
    g_assert_cmphex(in8(0x3c9), ==, 0); /* the palette is as it was */
    sr(0x13, 4);
    p = vram() + SIZE - 16384 + 1024;
    p[16] = 0x40;     /* second line: plane 0 */
    p[16 + 8] = 0xc0; /* plane 1 */
    p[0] = 0x80;
    sr(0x50, 100); /* 8 * 100 + 2 */
    sr(0x31, 7);
    g_assert_cmphex(seen(0, 0), ==, 0);
    g_assert_nonnull(shown.cursor);
    g_assert_cmpuint(shown.cursor->width, ==, 64);
    g_assert_cmphex(shown.cursor->pixels[64], ==, 0xffffffff);
    g_assert_cmphex(shown.cursor->pixels[65], ==, 0xffff0000);
    g_assert_cmphex(shown.cursor->pixels[66], ==, 0);
    g_assert_cmphex(shown.cursor->pixels[0], ==, 0x80808080);
    g_assert_true(shown.visible && shown.x == 802 && shown.y == 57);
    sr(0x12, 1); /* 32 by 32 */
    p = vram() + SIZE - 16384 + 1024;
    p[4 + 128] = 0x80;
    seen(0, 0);
    g_assert_cmpuint(shown.cursor->width, ==, 32);
    g_assert_cmphex(shown.cursor->pixels[32], ==, 0xffffffff);
    sr(0x12, 0);
    seen(0, 0);
    g_assert_true(!shown.cursor && !shown.visible);
    end();
}

/* ---- saved state ---- */

static void test_state(void)
{
    struct job j = {.dst = 0x100, .width = 8, .height = 2, .dst_pitch = 16, .rop = 0x0d, .mode = 4};
    uint8_t *data, *again;
    size_t len, len2;

    begin();
    packed(0x05, 0xe5, 1920);
    poke((uint32_t)LFB, 0x112233, 4);
    start(&j);
    poke((uint32_t)LFB, 0x04030201, 4);
    poke((uint32_t)LFB, 0x08070605, 4);
    poke((uint32_t)LFB, 0x0c0b0a09, 4);
    data = rig_save(&len);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_false(card->feeding);
    rig_load(data, len);
    g_assert_cmphex(rd(0x3ce, 0x31) & 9, ==, 9);
    poke((uint32_t)LFB, 0x100f0e0d, 4);
    g_assert_cmpmem(vram() + 0x110, 8, "\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 8);
    g_assert_cmphex(seen(0, 0), ==, 0x112233);
    g_free(data);
    data = rig_save(&len);
    rig_load(data, len);
    again = rig_save(&len2);
    g_assert_cmpmem(data, len, again, len2);
    g_free(data);
    g_free(again);
    end();
}

/* A line of bits that is narrower than a pixel takes a byte, and can be saved and loaded. */
static void test_narrow_state(void)
{
    struct job j = {.dst = 0x100, .width = 1, .height = 6, .dst_pitch = 16, .rop = 0x0d, .mode = 0x80 | 0x30 | 4};
    uint8_t *data;
    size_t len;

    begin();
    packed(0x05, 0xe5, 1920);
    start(&j);
    poke((uint32_t)LFB, 0, 4);
    g_assert_true(card->feeding);
    data = rig_save(&len);
    rig_load(data, len);
    g_assert_true(card->feeding);
    poke((uint32_t)LFB, 0, 4);
    g_assert_false(card->feeding);
    g_free(data);
    end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cirrus/registers", test_registers);
    g_test_add_func("/cirrus/modes", test_modes);
    g_test_add_func("/cirrus/banks", test_banks);
    g_test_add_func("/cirrus/blits", test_blits);
    g_test_add_func("/cirrus/from-system", test_from_system);
    g_test_add_func("/cirrus/odd-blits", test_odd_blits);
    g_test_add_func("/cirrus/bridge", test_bridge);
    g_test_add_func("/cirrus/cursor", test_cursor);
    g_test_add_func("/cirrus/state", test_state);
    g_test_add_func("/cirrus/narrow-state", test_narrow_state);
    return g_test_run();
}
