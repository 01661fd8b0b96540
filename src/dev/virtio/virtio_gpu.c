/* virtio-gpu (virtio 1.2, 5.7): pictures in two dimensions, up to 16 heads, EDID, hardware cursors.
 *
 * Left out: 3D (virgl), blob resources, resource UUIDs. */
#include "dev/virtio/virtio_gpu.h"

#include "base/bytes.h"
#include "base/units.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"

#include <errno.h>

static uint64_t features(struct viv_virtio *v)
{
    return ((struct virtio_gpu *)v)->edid ? 1ull << VIRTIO_GPU_F_EDID : 0;
}

/* 5.7.4 */
static void get_config(struct viv_virtio *v, uint8_t *config)
{
    struct virtio_gpu *g = (struct virtio_gpu *)v;

    viv_st_le32(config + offsetof(struct virtio_gpu_config, events_read), g->events);
    viv_st_le32(config + offsetof(struct virtio_gpu_config, num_scanouts), g->heads);
}

static void set_config(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val)
{
    struct virtio_gpu *g = (struct virtio_gpu *)v;
    const unsigned at = offsetof(struct virtio_gpu_config, events_clear);

    for (unsigned i = 0; i < len; i++) {
        if (off + i >= at && off + i < at + 4)
            g->events &= ~((uint32_t)val[i] << 8 * (off + i - at));
    }
}

static void reset(struct viv_virtio *v)
{
    struct virtio_gpu *g = (struct virtio_gpu *)v;

    g->events = 0;
    gpu_heads_reset(g);
    gpu_unref_all(g);
}

static int realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_gpu *g = (struct virtio_gpu *)v;

    g->heads = (uint32_t)viv_opts_int(opts, "max_outputs");
    g->edid = viv_opts_bool(opts, "edid");
    g->max_hostmem = viv_opts_size(opts, "max_hostmem");
    g->width = (uint32_t)viv_opts_int(opts, "xres");
    g->height = (uint32_t)viv_opts_int(opts, "yres");
    g->resources = g_hash_table_new(NULL, NULL);
    g->native = true;
    viv_virtio_add_queue(v, 256);
    viv_virtio_add_queue(v, 16);
    gpu_heads_init(g);
    return 0;
}

static void unrealize(struct viv_virtio *v)
{
    struct virtio_gpu *g = (struct virtio_gpu *)v;

    gpu_heads_fini(g);
    gpu_unref_all(g);
    g_hash_table_destroy(g->resources);
}

#define GPU_CLASS(typed, cls, rom)                                                                                                 \
    {                                                                                                                              \
        .name = typed, .device_id = VIV_VIRTIO_ID_GPU, .pci_class = cls, .pci_rom = rom,                                           \
        .config_len = sizeof(struct virtio_gpu_config), .size = sizeof(struct virtio_gpu), .state = &gpu_state,                    \
        .realize = realize, .unrealize = unrealize, .features = features, .get_config = get_config, .set_config = set_config,      \
        .kick = gpu_kick, .reset = reset,                                                                                          \
    }

/* 5.7.7: with VGA registers the function is a VGA. */
const struct viv_virtio_class gpu_fn = GPU_CLASS("virtio-gpu", 0x038000, NULL);
const struct viv_virtio_class gpu_vga_fn = GPU_CLASS("virtio-vga", 0x030000, "vgabios-virtio.bin");

static const struct viv_opt_def mmio_props[] = {GPU_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def pci_props[] = {GPU_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_gpu_device, gpu_fn, "virtio-gpu-device", "virtio display, over MMIO", mmio_props);
VIV_VIRTIO_PCI_CLASS_PLUG_(viv_dev_virtio_gpu_pci, gpu_fn, VIV_VIRTIO_PCI_AUTO, "virtio-gpu-pci", "virtio display", pci_props, NULL);
