/* The VGA core's life: regions, reset, saved state. */
#include "dev/display/vga.h"

#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define WINDOW      0xa0000
#define WINDOW_SIZE 0x20000

enum { PORTS_MONO = 0x3b4, PORTS_VGA = 0x3c0, PORTS_DISPI = 0x1ce };

/* ---- ports ---- */

static uint64_t mono_read(void *opaque, uint64_t off, unsigned size)
{
    return vga_port_read(opaque, PORTS_MONO + (unsigned)off);
}

static void mono_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    vga_port_write(opaque, PORTS_MONO + (unsigned)off, (uint8_t)value);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
    return vga_port_read(opaque, PORTS_VGA + (unsigned)off);
}

static void port_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    vga_port_write(opaque, PORTS_VGA + (unsigned)off, (uint8_t)value);
}

/* Index at 1CEh; data at 1CFh, and at 1D0h for software that aligns. */
static uint64_t dispi_read(void *opaque, uint64_t off, unsigned size)
{
    struct vga *v = opaque;

    return off == 0 ? v->dispi_index : vga_dispi_read(v, v->dispi_index);
}

static void dispi_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct vga *v = opaque;

    if (off == 0)
        v->dispi_index = (uint16_t)value;
    else
        vga_dispi_write(v, v->dispi_index, (uint16_t)value);
}

static struct viv_region *make_ports(struct vga *v, const char *name, unsigned count, const struct viv_region_ops *ops)
{
    struct viv_region_desc d = {.name = name, .kind = VIV_REGION_IO, .size = count, .ops = ops, .opaque = v};

    return viv_region_new(v->dev->board->io, &d);
}

int vga_init(struct vga *v, struct viv_dev *dev, uint64_t size, struct viv_console *console, struct viv_err *err)
{
    static const struct viv_region_ops mono = {mono_read, mono_write, 1, 1, false, false};
    static const struct viv_region_ops ports = {port_read, port_write, 1, 1, false, false};
    static const struct viv_region_ops dispi = {dispi_read, dispi_write, 1, 2, true, false};
    struct viv_region_desc window = {.name = "vga-window", .kind = VIV_REGION_IO, .size = WINDOW_SIZE,
                                     .ops = &vga_window_ops, .opaque = v};
    uint64_t power = VIV_MIB; /* a BAR's size is one of two */
    int r;

    while (power < size)
        power *= 2;
    r = viv_ram_new("vga.vram", power, &v->ram, err);
    if (r < 0)
        return r;
    v->dev = dev;
    v->ports[0] = make_ports(v, "vga-mono", 8, &mono);
    v->ports[1] = make_ports(v, "vga", 32, &ports);
    v->ports[2] = make_ports(v, "vga-dispi", 4, &dispi);
    v->window = viv_region_new(dev->board->mem, &window);
    v->shared = console != NULL;
    v->console = console ? console : viv_console_new(dev->id ? dev->id : dev->cls->name, 0, &vga_console_ops, v);
    return 0;
}

void vga_set_monitor(struct vga *v, struct viv_opts *opts)
{
    v->has_edid = viv_opts_bool(opts, "edid");
    viv_edid_fill(v->edid, "Vivarium", MIN((unsigned)viv_opts_int(opts, "xres"), 4095), MIN((unsigned)viv_opts_int(opts, "yres"), 4095));
}

/* No mode is like this. */
void vga_show_again(struct vga *v)
{
    memset(&v->shown, 0xff, sizeof(v->shown));
}

void vga_fini(struct vga *v)
{
    if (!v->shared)
        viv_console_free(v->console);
    viv_ram_log_stop(v->log);
    for (unsigned i = 0; i < G_N_ELEMENTS(v->ports); i++)
        viv_region_free(v->ports[i]);
    viv_region_free(v->direct);
    viv_region_free(v->window);
    viv_ram_release(v->ram);
    g_free(v->dirty);
    g_free(v->cells);
    g_free(v->fonts);
}

void vga_decode(struct vga *v, bool io, bool mem)
{
    static const uint16_t base[] = {PORTS_MONO, PORTS_VGA, PORTS_DISPI};

    for (unsigned i = 0; i < G_N_ELEMENTS(v->ports) && io != v->on_io; i++) {
        if (v->ext && base[i] == PORTS_DISPI)
            continue;
        if (io)
            viv_region_map(v->ports[i], base[i], 0);
        else
            viv_region_unmap(v->ports[i]);
    }
    if (mem && !v->on_mem)
        viv_region_map(v->window, WINDOW, 0);
    else if (!mem && v->on_mem)
        viv_region_unmap(v->window);
    v->on_io = io;
    v->on_mem = mem;
    vga_update_window(v);
}

/* Nothing is on the screen until a BIOS has set a mode. Video memory is left alone by a reset of the chip; at power on it is 0. */
void vga_reset(struct vga *v)
{
    v->misc = v->feature = v->enable3c3 = 0;
    v->crtc_index = v->seq_index = v->gc_index = v->attr_index = 0;
    v->attr_data = v->dac_reads = false;
    memset(v->crtc, 0, sizeof(v->crtc));
    memset(v->seq, 0, sizeof(v->seq));
    memset(v->gc, 0, sizeof(v->gc));
    memset(v->attr, 0, sizeof(v->attr));
    memset(v->latch, 0, sizeof(v->latch));
    memset(v->dac, 0, sizeof(v->dac));
    memset(v->dac_latch, 0, sizeof(v->dac_latch));
    v->dac_mask = 0xff;
    v->dac_read = v->dac_write = v->dac_part = 0;
    v->dispi_index = 0;
    memset(v->dispi, 0, sizeof(v->dispi));
    v->dispi[VGA_DISPI_ID] = 0xb0c5;
    v->dispi[VGA_DISPI_BPP] = 8;
    v->all = true;
    vga_update_window(v);
}

/* ---- state ---- */

static int vga_post_load(void *obj, int version, struct viv_err *err)
{
    struct vga *v = obj;
    uint16_t *d = v->dispi, bpp = d[VGA_DISPI_BPP];
    bool depth = bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;

    if (v->dac_part > 2 || v->gc[4] > 3 || v->crtc_index > 0x3f || v->seq_index > 7 || v->gc_index > 15)
        return viv_fail(err, EINVAL, "VGA with registers out of range");
    if (!depth || d[VGA_DISPI_XRES] > VIV_SURFACE_MOST || d[VGA_DISPI_YRES] > VIV_SURFACE_MOST ||
        (uint64_t)d[VGA_DISPI_BANK] << 16 >= v->ram->size)
        return viv_fail(err, EINVAL, "VGA with a VBE mode of %ux%u, %u bits, bank %u", d[VGA_DISPI_XRES],
                        d[VGA_DISPI_YRES], bpp, d[VGA_DISPI_BANK]);
    v->all = true;
    vga_update_window(v);
    return 0;
}

#define DRAWN(m) VIV_F_DERIVED(vga, m, "the next refresh draws everything")

const struct viv_state_table vga_state = {
    .name = "vga",
    .ctype = "vga",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(vga, dev),
            VIV_F_CONFIG(vga, ram),
            VIV_F_CONFIG(vga, console),
            VIV_F_CONFIG(vga, ext),
            VIV_F_CONFIG(vga, ext_opaque),
            VIV_F_CONFIG(vga, shared),
            VIV_F_CONFIG(vga, only_dispi),
            VIV_F_CONFIG(vga, has_edid),
            VIV_F_CONFIG(vga, edid),
            VIV_F_INT(vga, misc),
            VIV_F_INT(vga, feature),
            VIV_F_INT(vga, enable3c3),
            VIV_F_INT(vga, crtc_index),
            VIV_F_INT(vga, seq_index),
            VIV_F_INT(vga, gc_index),
            VIV_F_INT(vga, attr_index),
            VIV_F_INT(vga, attr_data),
            VIV_F_BYTES(vga, crtc),
            VIV_F_BYTES(vga, seq),
            VIV_F_BYTES(vga, gc),
            VIV_F_BYTES(vga, attr),
            VIV_F_INT(vga, dac_mask),
            VIV_F_INT(vga, dac_read),
            VIV_F_INT(vga, dac_write),
            VIV_F_INT(vga, dac_part),
            VIV_F_INT(vga, dac_reads),
            VIV_F_BYTES(vga, dac_latch),
            VIV_F_BYTES(vga, dac),
            VIV_F_BYTES(vga, latch),
            VIV_F_INT(vga, dispi_index),
            VIV_F_INTS(vga, dispi),
            VIV_F_CONFIG(vga, ports),
            VIV_F_CONFIG(vga, window),
            VIV_F_DERIVED(vga, direct, "from the registers"),
            VIV_F_DERIVED(vga, bank, "from the registers"),
            VIV_F_DERIVED(vga, on_io, "from PCI's command register"),
            VIV_F_DERIVED(vga, on_mem, "from PCI's command register"),
            VIV_F_CONFIG(vga, log),
            DRAWN(dirty),
            DRAWN(all),
            DRAWN(shown),
            DRAWN(palette),
            DRAWN(cells),
            DRAWN(fonts),
            VIV_F_END,
        },
    .post_load = vga_post_load,
};
