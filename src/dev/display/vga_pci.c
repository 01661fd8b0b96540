/* Class VGA, the standard PCI display adapter (1234:1111): VGA core, video memory in BAR 0, registers in BAR 2. Class
 * bochs-display, the same without VGA: no legacy ports and window, so that any number may stand beside a VGA; blank until a mode is
 * set by the Bochs VBE registers.
 *
 * BAR 2: vga_mmio.c. The legacy ports and A0000h answer while
 * the command register allows I/O and memory, so that of several adapters the one that firmware enables is the VGA. */
#include "base/units.h"
#include "bus/pci.h"
#include "dev/display/vga.h"

#include <string.h>

/* What tells the classes apart. */
struct kind {
    struct viv_pci_ids ids;
    bool legacy;
};

struct vga_pci {
    struct viv_pci_dev pci;
    struct vga vga;
};

static bool is_legacy(const struct vga_pci *d)
{
    return ((const struct kind *)d->pci.dev.cls->data)->legacy;
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    struct vga_pci *d = opaque;

    return vga_mmio_read(&d->vga, is_legacy(d), off, size);
}

static void mmio_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct vga_pci *d = opaque;

    vga_mmio_write(&d->vga, is_legacy(d), off, value, size);
}

static void update_decode(struct vga_pci *d)
{
    if (is_legacy(d))
        vga_decode(&d->vga, d->pci.config[4] & 1, d->pci.config[4] & 2);
}

static void config_written(struct viv_pci_dev *p, unsigned off, unsigned len)
{
    if (off <= 4 && off + len > 4)
        update_decode((struct vga_pci *)p);
}

static void add_bars(struct vga_pci *d)
{
    static const struct viv_region_ops ops = {mmio_read, mmio_write, 1, 2, false, false};
    struct viv_region_desc lfb = {
        .name = "vga-memory", .kind = VIV_REGION_RAM, .size = d->vga.ram->size, .ram = d->vga.ram};
    struct viv_region_desc mmio = {
        .name = "vga-mmio", .kind = VIV_REGION_IO, .size = VGA_MMIO_SIZE, .ops = &ops, .opaque = d};
    struct viv_space *mem = d->pci.dev.board->mem;

    viv_pci_add_bar(&d->pci, 0, viv_region_new(mem, &lfb), lfb.size, false, false, true);
    viv_pci_add_bar(&d->pci, 2, viv_region_new(mem, &mmio), VGA_MMIO_SIZE, false, false, false);
}

static int realize(struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    struct vga_pci *d = (struct vga_pci *)dev;
    uint64_t size = is_legacy(d) ? (uint64_t)viv_opts_int(opts, "vgamem_mb") * VIV_MIB : viv_opts_size(opts, "vgamem");
    int r = viv_pci_dev_init(&d->pci, &((const struct kind *)dev->cls->data)->ids, opts, err);

    if (r < 0)
        return r;
    r = vga_init(&d->vga, dev, size, NULL, err);
    if (r < 0) {
        viv_pci_dev_fini(&d->pci);
        return r;
    }
    d->vga.only_dispi = !is_legacy(d);
    vga_set_monitor(&d->vga, opts);
    add_bars(d);
    d->pci.config_written = config_written;
    return 0;
}

static void unrealize(struct viv_dev *dev)
{
    struct vga_pci *d = (struct vga_pci *)dev;

    viv_pci_dev_fini(&d->pci); /* before the memory that its BAR shows */
    vga_fini(&d->vga);
}

static void reset(struct viv_dev *dev)
{
    struct vga_pci *d = (struct vga_pci *)dev;

    viv_pci_dev_reset(&d->pci);
    vga_reset(&d->vga);
    update_decode(d);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    update_decode(obj);
    return 0;
}

static const struct viv_state_table state = {
    .name = "VGA",
    .ctype = "vga_pci",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_STRUCT(vga_pci, pci, viv_pci_dev_state), VIV_F_STRUCT(vga_pci, vga, vga_state), VIV_F_END},
    .post_load = post_load,
};

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    {.name = "vgamem_mb", .type = VIV_OPT_INT, .def = "16", .min = 1, .max = 256,
     .help = "video memory in MiB, rounded up to a power of two"},
    VGA_MONITOR_PROPS,
    VIV_OPT_END,
};

static const struct viv_opt_def bochs_props[] = {
    VIV_PCI_PROPS,
    {.name = "vgamem", .type = VIV_OPT_SIZE, .def = "16M", .min = VIV_MIB, .max = 256 * VIV_MIB,
     .help = "video memory, rounded up to a power of two"},
    VGA_MONITOR_PROPS,
    VIV_OPT_END,
};

/* Revision 2: BAR 2 is there. */
static const struct kind vga_kind = {{0x1234, 0x1111, 2, 0x030000, 0x1af4, 0x1100, "vgabios-stdvga.bin"}, true};
static const struct kind bochs_kind = {{0x1234, 0x1111, 2, 0x038000, 0x1af4, 0x1100, "vgabios-bochs-display.bin"}, false};

const struct viv_dev_class viv_dev_vga = {
    .name = "VGA",
    .desc = "standard VGA with Bochs VBE",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct vga_pci),
    .props = props,
    .state = &state,
    .realize = realize,
    .reset = reset,
    .unrealize = unrealize,
    .data = &vga_kind,
};

const struct viv_dev_class viv_dev_bochs_display = {
    .name = "bochs-display",
    .desc = "display with Bochs VBE registers, no VGA",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct vga_pci),
    .props = bochs_props,
    .state = &state,
    .realize = realize,
    .reset = reset,
    .unrealize = unrealize,
    .data = &bochs_kind,
};
