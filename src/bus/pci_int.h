/* Between PCI buses (pci.c, pci_place.c), the functions on them (pci_dev.c), bridges and capabilities. */
#ifndef VIV_BUS_PCI_INT_H
#define VIV_BUS_PCI_INT_H

#include "bus/pci.h"

enum { /* configuration header, PCI 3.0, 6.1 */
       PCI_VENDOR_ID = 0x00,
       PCI_DEVICE_ID = 0x02,
       PCI_COMMAND = 0x04,
       PCI_STATUS = 0x06,
       PCI_REVISION = 0x08,
       PCI_CLASS = 0x09,
       PCI_CACHE_LINE = 0x0c,
       PCI_HEADER_TYPE = 0x0e,
       PCI_BAR0 = 0x10,
       PCI_PRIMARY = 0x18, /* bridges, PCI-to-PCI Bridge 1.2, 3.2 */
       PCI_SECONDARY = 0x19,
       PCI_SUBORDINATE = 0x1a,
       PCI_IO_BASE = 0x1c,
       PCI_IO_LIMIT = 0x1d,
       PCI_SECONDARY_STATUS = 0x1e,
       PCI_MEM_BASE = 0x20,
       PCI_MEM_LIMIT = 0x22,
       PCI_PREF_BASE = 0x24,
       PCI_PREF_LIMIT = 0x26,
       PCI_PREF_BASE_HIGH = 0x28,
       PCI_PREF_LIMIT_HIGH = 0x2c,
       PCI_BRIDGE_CONTROL = 0x3e,
       PCI_SUB_VENDOR = 0x2c,
       PCI_SUB_DEVICE = 0x2e,
       PCI_ROM = 0x30,
       PCI_CAP_PTR = 0x34,
       PCI_INT_LINE = 0x3c,
       PCI_INT_PIN = 0x3d,
       PCI_CAPS = 0x40, /* first free byte */

       PCI_ROM_ENABLE = 1 << 0,
       PCI_COMMAND_IO = 1 << 0,
       PCI_COMMAND_MEM = 1 << 1,
       PCI_COMMAND_MASTER = 1 << 2,
       PCI_COMMAND_PARITY = 1 << 6,
       PCI_COMMAND_SERR = 1 << 8,
       PCI_COMMAND_INTX_OFF = 1 << 10,
       PCI_STATUS_INTX = 1 << 3,
       PCI_STATUS_CAPS = 1 << 4,

       PCI_CAP_PM = 0x01,
       PCI_CAP_MSI = 0x05,
       PCI_CAP_EXPRESS = 0x10,
       PCI_CAP_MSIX = 0x11,
       PM_CONTROL = 4,   /* from the capability's start */
       MSIX_CONTROL = 2, /* from the capability's start */
       MSIX_TABLE = 4,
       MSIX_PBA = 8,
       MSIX_CONTROL_MASK = 1 << 14,
       MSIX_CONTROL_ENABLE = 1 << 15,
};

struct viv_pci_bus {
    struct viv_board *board;
    char *name;
    enum viv_pci_bus_kind kind;
    struct viv_pci_dev *bridge;        /* above; NULL: a root bus, which alone has lines and ports */
    struct viv_pci_bus *child, *next;  /* below this bus's bridges; the next one of those */
    struct viv_pci_dev *dev[256]; /* by devfn */
    void (*set_pirq)(void *opaque, int pirq, int level);
    void *pirq_opaque;
    unsigned (*route)(unsigned slot, unsigned pin);
    unsigned asserted[VIV_PCI_PIRQS]; /* functions that drive each line */
    uint32_t config_addr;
    const struct viv_region_ops *reset_ops;
    void *reset_opaque;
    struct viv_region *ports[2]; /* address, data; NULL without add_ports */
    const struct viv_pci_slots *slots; /* NULL: nothing comes or goes while the machine runs */
    void *slots_opaque;
};

/* False once it was pulled out: its place may be another's. */
static inline bool viv_pci_on_bus(const struct viv_pci_dev *d)
{
    return d->bus && d->bus->dev[d->devfn] == d;
}

/* A bus below `bridge`, which is placed. */
struct viv_pci_bus *viv_pci_bus_below(struct viv_pci_dev *bridge, const char *name, enum viv_pci_bus_kind kind);
int viv_pci_place(struct viv_pci_dev *d, struct viv_pci_bus *bus, const char *addr, bool multi,
                  const char *what, struct viv_err *err);
void viv_pci_update_intx(struct viv_pci_dev *d, bool drive);

/* Does a bridge let accesses to [first, last] through to the bus below (3.2.5)? */
bool viv_pci_bridge_passes(const struct viv_pci_dev *bridge, bool io, uint64_t first, uint64_t last);
/* Do all bridges above the function? */
bool viv_pci_reachable(const struct viv_pci_dev *d, bool io, uint64_t first, uint64_t last);
/* Maps what is decoded now: of a function, of all functions below a bus. */
void viv_pci_remap(struct viv_pci_dev *d);
void viv_pci_bus_remap(struct viv_pci_bus *bus);

static inline bool viv_pci_touches(unsigned off, unsigned len, unsigned start, unsigned size)
{
    return off < start + size && start < off + len;
}

#define VIV_PCI_UNMAPPED UINT64_MAX
/* romfile= and rombar=; `standard`: the class's own file, NULL: none. The rest of the header is filled. */
int viv_pci_rom_init(struct viv_pci_dev *d, const char *standard, struct viv_opts *opts, struct viv_err *err);
void viv_pci_rom_fini(struct viv_pci_dev *d);
/* Where the guest has put an expansion ROM that is there, VIV_PCI_UNMAPPED while it is not decoded. */
uint64_t viv_pci_rom_addr(const struct viv_pci_dev *d);

uint32_t viv_pci_dev_read(struct viv_pci_dev *d, unsigned off, unsigned len);
void viv_pci_dev_write(struct viv_pci_dev *d, unsigned off, uint32_t value, unsigned len);

bool viv_pci_asleep(const struct viv_pci_dev *d); /* D3hot */
/* ---- pcie_slot.c: of ports; what has no slot with hot-plug is passed over where a guest acts ---- */

/* What is in the slot is there from the start (or is not there): power is as that wants it, and nobody is told. */
void viv_pcie_set_present(struct viv_pci_dev *port);
bool viv_pcie_link_up(const struct viv_pci_dev *port);
void viv_pcie_slot_reset(struct viv_pci_dev *port);
/* The guest has written configuration bytes; `old` is Slot Control (viv_pcie_slot_control) before. */
void viv_pcie_slot_written(struct viv_pci_dev *port, unsigned off, unsigned len, uint16_t old);
uint16_t viv_pcie_slot_control(const struct viv_pci_dev *port);
/* Saved configuration space: a slot's presence and link are what they were, not what they are here. */
void viv_pcie_keep_link(struct viv_pci_dev *port, const uint8_t *saved);
void viv_pcie_slot_loaded(struct viv_pci_dev *port);

void viv_pcie_reset(struct viv_pci_dev *d);

/* After the guest wrote the message control word: sends what a mask held back. */
void viv_msix_send_pending(struct viv_pci_dev *d); /* its control or command register was written, or a bridge's */
void viv_msix_save(struct viv_state_writer *w, const void *obj);
int viv_msix_load(struct viv_state_reader *r, void *obj, int version, struct viv_err *err);

#endif
