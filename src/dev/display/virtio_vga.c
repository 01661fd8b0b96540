/* virtio-vga: a virtio-gpu that is a standard VGA until a driver sets a scanout, and after a reset (virtio 1.2, 5.7.7).
 *
 * BAR 0: video memory. BAR 2: the first 4 KiB as in the standard VGA's BAR 2 (vga_mmio.c), virtio's registers after them.
 * BAR 4: MSI-X. */
#include "base/units.h"
#include "bus/virtio_pci.h"
#include "dev/display/vga.h"
#include "dev/virtio/virtio_gpu.h"

struct virtio_vga {
    struct viv_virtio_pci vp;
    struct vga vga;
    void (*config_written)(struct viv_pci_dev *d, unsigned off, unsigned len); /* virtio's */
};

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_vga *d = opaque;

    if (off >= VGA_MMIO_SIZE)
        return viv_virtio_pci_modern_read(d, off - VGA_MMIO_SIZE, size);
    if (size < 4)
        return vga_mmio_read(&d->vga, true, off, size);
    return vga_mmio_read(&d->vga, true, off, 2) | vga_mmio_read(&d->vga, true, off + 2, 2) << 16;
}

static void bar_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct virtio_vga *d = opaque;

    if (off >= VGA_MMIO_SIZE) {
        viv_virtio_pci_modern_write(d, off - VGA_MMIO_SIZE, value, size);
        return;
    }
    vga_mmio_write(&d->vga, true, off, value, size < 4 ? size : 2);
    if (size == 4)
        vga_mmio_write(&d->vga, true, off + 2, value >> 16, 2);
}

static void update_decode(struct virtio_vga *d)
{
    uint8_t command = d->vp.pci.config[4];

    vga_decode(&d->vga, command & 1, command & 2);
}

static void config_written(struct viv_pci_dev *p, unsigned off, unsigned len)
{
    struct virtio_vga *d = (struct virtio_vga *)p;

    d->config_written(p, off, len);
    if (off <= 4 && off + len > 4)
        update_decode(d);
}

static int realize(struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_vga *d = (struct virtio_vga *)dev;
    struct viv_region_desc memory = {.name = "vga-memory", .kind = VIV_REGION_RAM};
    struct virtio_gpu *g;
    int r = viv_virtio_pci_realize(dev, opts, err);

    if (r < 0)
        return r;
    g = (struct virtio_gpu *)d->vp.v;
    r = vga_init(&d->vga, dev, (uint64_t)viv_opts_int(opts, "vgamem_mb") * VIV_MIB, g->head[0].console, err);
    if (r < 0) {
        viv_virtio_pci_unrealize(dev);
        return r;
    }
    vga_set_monitor(&d->vga, opts);
    memory.ram = d->vga.ram;
    memory.size = d->vga.ram->size;
    viv_pci_add_bar(&d->vp.pci, 0, viv_region_new(dev->board->mem, &memory), memory.size, false, false, true);
    d->config_written = d->vp.pci.config_written;
    d->vp.pci.config_written = config_written;
    gpu_set_vga(g, &d->vga);
    return 0;
}

static void unrealize(struct viv_dev *dev)
{
    struct virtio_vga *d = (struct virtio_vga *)dev;

    viv_virtio_pci_unrealize(dev); /* before the memory that its BAR shows */
    vga_fini(&d->vga);
}

static void reset(struct viv_dev *dev)
{
    struct virtio_vga *d = (struct virtio_vga *)dev;

    viv_virtio_pci_reset(dev);
    vga_reset(&d->vga);
    update_decode(d);
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    update_decode(obj);
    return 0;
}

static const struct viv_state_table state = {
    .name = "virtio-vga",
    .ctype = "virtio_vga",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_STRUCT(virtio_vga, vp, viv_virtio_pci_state),
                                         VIV_F_STRUCT(virtio_vga, vga, vga_state),
                                         VIV_F_CONFIG(virtio_vga, config_written), VIV_F_END},
    .post_load = post_load,
};

static const struct viv_region_ops ops = {bar_read, bar_write, 1, 4, false, false};
static const struct viv_virtio_pci_layout layout = {.modern_bar = 2, .msix_bar = 4, .at = VGA_MMIO_SIZE, .size = 0x8000, .ops = &ops};

static const struct viv_opt_def props[] = {
    GPU_PROPS,
    {.name = "vgamem_mb", .type = VIV_OPT_INT, .def = "8", .min = 1, .max = 256,
     .help = "video memory of the VGA in MiB, rounded up to a power of two"},
    VIV_VIRTIO_PCI_PROPS,
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_virtio_vga = {
    .name = "virtio-vga",
    .desc = "virtio display that is a VGA, too",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct virtio_vga),
    .props = props,
    .state = &state,
    .realize = realize,
    .reset = reset,
    .unrealize = unrealize,
    .vm_running = viv_virtio_pci_vm_running,
    .idle = viv_virtio_pci_idle,
    .data = &(const struct viv_virtio_pci_data){&gpu_vga_fn, VIV_VIRTIO_PCI_AUTO, &layout},
};
