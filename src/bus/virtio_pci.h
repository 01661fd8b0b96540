/* Virtio over PCI (virtio 1.2, 4.1): modern registers in BAR 4, MSI-X in BAR 1, and for transitional
 * devices the legacy registers in I/O BAR 0. */
#ifndef VIV_BUS_VIRTIO_PCI_H
#define VIV_BUS_VIRTIO_PCI_H

#include "bus/pci.h"
#include "bus/virtio.h"

/* Where the registers are, for a function that is more than virtio (virtio-vga): BARs by number, and the modern block `at`
 * an offset in its BAR, whose `ops` pass on to viv_virtio_pci_modern_* what is theirs. */
struct viv_virtio_pci_layout {
    uint8_t modern_bar, msix_bar;
    uint32_t at, size;
    const struct viv_region_ops *ops; /* opaque: the transport device */
};

/* The transport device: what -device virtio-blk-pci makes. */
struct viv_virtio_pci {
    struct viv_pci_dev pci;
    struct viv_virtio *v;
    const struct viv_virtio_pci_layout *layout;
    bool modern, legacy; /* which interfaces are there */
    uint32_t device_features_sel, driver_features_sel;
    uint64_t driver_features;
    uint16_t queue_sel;
    uint16_t config_vector;
    uint8_t isr;
    uint8_t cfg_cap; /* offset of the configuration access capability */
    char *fw_path; /* with bootindex; else NULL */
    struct viv_virtio_pci_kicks *kicks; /* ioeventfds; NULL where kicks come as writes */
};

enum viv_virtio_pci_mode {
    VIV_VIRTIO_PCI_AUTO, /* as disable-legacy and disable-modern say; both by default */
    VIV_VIRTIO_PCI_TRANSITIONAL,
    VIV_VIRTIO_PCI_NON_TRANSITIONAL,
};

struct viv_virtio_pci_data {
    const struct viv_virtio_class *fn;
    enum viv_virtio_pci_mode mode;
    const struct viv_virtio_pci_layout *layout; /* NULL: the usual one */
};

/* The block of modern registers: `off` from its start. */
uint64_t viv_virtio_pci_modern_read(void *opaque, uint64_t off, unsigned size);
void viv_virtio_pci_modern_write(void *opaque, uint64_t off, uint64_t value, unsigned size);

int viv_virtio_pci_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err);
void viv_virtio_pci_unrealize(struct viv_dev *d);
void viv_virtio_pci_reset(struct viv_dev *d);
void viv_virtio_pci_vm_running(struct viv_dev *d, bool running);
bool viv_virtio_pci_idle(struct viv_dev *d);
int viv_virtio_pci_can_save(struct viv_dev *d, struct viv_err *err);
extern const struct viv_state_table viv_virtio_pci_state;

#define VIV_VIRTIO_PCI_PROPS                                                                       \
    VIV_PCI_PROPS,                                                                                 \
        {.name = "disable-legacy", .type = VIV_OPT_ENUM, .def = "auto",                            \
         .values = viv_virtio_pci_on_off_auto, .help = "no legacy I/O registers"},                 \
        {.name = "disable-modern", .type = VIV_OPT_BOOL, .def = "off",                             \
         .help = "legacy I/O registers only"},                                                     \
        {.name = "vectors", .type = VIV_OPT_INT, .min = 0, .max = 2048,                            \
         .help = "MSI-X vectors; 0: none (default: one a queue and one)"},                         \
        {.name = "ioeventfd", .type = VIV_OPT_BOOL, .def = "on",                                   \
         .help = "take kicks without leaving the guest where the accelerator can"},                \
        {.name = "modern-pio-notify", .type = VIV_OPT_REFUSED,                                     \
         .help = "kicks go through memory; leave it out"}

extern const char *const viv_virtio_pci_on_off_auto[];

/* `plug`: &viv_pci_hotplug, or NULL: it stays as long as the machine. */
#define VIV_VIRTIO_PCI_CLASS_(sym, fn_, mode_, typed, text, schema)                                \
    VIV_VIRTIO_PCI_CLASS_PLUG_(sym, fn_, mode_, typed, text, schema, &viv_pci_hotplug)
#define VIV_VIRTIO_PCI_CLASS_PLUG_(sym, fn_, mode_, typed, text, schema, plug)                     \
    extern const struct viv_dev_class sym;                                                         \
    const struct viv_dev_class sym = {                                                             \
        .name = (typed),                                                                           \
        .desc = (text),                                                                            \
        .bus = VIV_BUS_PCI,                                                                        \
        .size = sizeof(struct viv_virtio_pci),                                                     \
        .props = (schema),                                                                         \
        .state = &viv_virtio_pci_state,                                                            \
        .realize = viv_virtio_pci_realize,                                                         \
        .reset = viv_virtio_pci_reset,                                                             \
        .unrealize = viv_virtio_pci_unrealize,                                                     \
        .vm_running = viv_virtio_pci_vm_running,                                                   \
        .idle = viv_virtio_pci_idle,                                                               \
        .can_save = viv_virtio_pci_can_save,                                                       \
        .hotplug = (plug),                                                                         \
        .data = &(const struct viv_virtio_pci_data){&(fn_), (mode_)},                              \
    }

/* Defines sym, sym_transitional and sym_non_transitional: "virtio-x-pci" and its two fixed forms. */
#define VIV_VIRTIO_PCI_CLASSES(sym, fn, typed, text, schema)                                       \
    VIV_VIRTIO_PCI_CLASS_(sym, fn, VIV_VIRTIO_PCI_AUTO, typed, text, schema);                      \
    VIV_VIRTIO_PCI_CLASS_(sym##_transitional, fn, VIV_VIRTIO_PCI_TRANSITIONAL,                     \
                          typed "-transitional", text ", with legacy registers", schema);          \
    VIV_VIRTIO_PCI_CLASS_(sym##_non_transitional, fn, VIV_VIRTIO_PCI_NON_TRANSITIONAL,             \
                          typed "-non-transitional", text ", without legacy registers", schema)

#endif
