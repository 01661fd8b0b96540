/* Virtio over MMIO (virtio 1.2, 4.2): a board's row of register windows, each empty (device id 0) or
 * holding one device function. */
#ifndef VIV_BUS_VIRTIO_MMIO_H
#define VIV_BUS_VIRTIO_MMIO_H

#include "bus/virtio.h"

#define VIV_VIRTIO_MMIO_STRIDE 0x200

/* The transport device: what -device virtio-blk-device makes. */
struct viv_virtio_mmio {
    struct viv_dev dev;
    struct viv_virtio *v;
    struct viv_virtio_mmio_bus *bus;
    unsigned slot;
    uint32_t device_features_sel, driver_features_sel;
    uint64_t driver_features;
    uint32_t queue_sel;
    uint32_t isr;
};

/* Windows at base, base + 0x200, ...; irqs: `count` lines, copied. Raised while a cause is pending, so fit for
 * level and for edge triggering. Device lock held or before threads. Lives as long as the VM. */
struct viv_virtio_mmio_bus *viv_virtio_mmio_bus_new(struct viv_board *board, uint64_t base,
                                                    unsigned count, const struct viv_irq *irqs);
/* After its devices and before its spaces. */
void viv_virtio_mmio_bus_free(struct viv_virtio_mmio_bus *b);
unsigned viv_virtio_mmio_slots(const struct viv_virtio_mmio_bus *b);
uint64_t viv_virtio_mmio_addr(const struct viv_virtio_mmio_bus *b, unsigned slot);
/* NULL when the window is empty: the board need not announce it. */
struct viv_virtio_mmio *viv_virtio_mmio_at(struct viv_virtio_mmio_bus *b, unsigned slot);

int viv_virtio_mmio_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err);
void viv_virtio_mmio_unrealize(struct viv_dev *d);
void viv_virtio_mmio_reset(struct viv_dev *d);
void viv_virtio_mmio_vm_running(struct viv_dev *d, bool running);
bool viv_virtio_mmio_idle(struct viv_dev *d);
int viv_virtio_mmio_can_save(struct viv_dev *d, struct viv_err *err);
extern const struct viv_state_table viv_virtio_mmio_state;

#define VIV_VIRTIO_MMIO_PROPS                                                                      \
    {.name = "bus", .type = VIV_OPT_STR, .help = "window to sit in: virtio-mmio-bus.N"},           \
    {.name = "force-legacy", .type = VIV_OPT_REFUSED,                                              \
     .help = "only version 2 of the register layout exists; leave it out"}

/* Defines the class `sym`: function `fn` (struct viv_virtio_class) in a window. */
#define VIV_VIRTIO_MMIO_CLASS(sym, fn, typed, text, schema)                                        \
    extern const struct viv_dev_class sym;                                                         \
    const struct viv_dev_class sym = {                                                             \
        .name = (typed),                                                                           \
        .desc = (text),                                                                            \
        .bus = VIV_BUS_VIRTIO,                                                                     \
        .size = sizeof(struct viv_virtio_mmio),                                                    \
        .props = (schema),                                                                         \
        .state = &viv_virtio_mmio_state,                                                           \
        .realize = viv_virtio_mmio_realize,                                                        \
        .reset = viv_virtio_mmio_reset,                                                            \
        .unrealize = viv_virtio_mmio_unrealize,                                                    \
        .vm_running = viv_virtio_mmio_vm_running,                                                  \
        .idle = viv_virtio_mmio_idle,                                                              \
        .can_save = viv_virtio_mmio_can_save,                                                      \
        .data = &(fn),                                                                             \
    }

#endif
