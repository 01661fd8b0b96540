/* PCI buses, configuration space, BARs, MSI, MSI-X, power management, PCI Express. (PCI Local Bus 3.0; PCI-to-PCI Bridge
 * 1.2; PCI Express Base 3.0.)
 *
 * A PCI device embeds struct viv_pci_dev first. Its class says ids; realize() declares BARs as regions. Bridges are in
 * pci_bridge.h. Device lock held for all calls. */
#ifndef VIV_BUS_PCI_H
#define VIV_BUS_PCI_H

#include "base/byname.h"
#include "bus/dev.h"

#define VIV_PCI_CONFIG_SIZE 256
#define VIV_PCIE_CONFIG_SIZE 4096 /* of a function with a PCI Express capability */
#define VIV_PCI_BARS        6
#define VIV_PCI_PIRQS       8

enum viv_pci_bus_kind {
    VIV_PCI_BUS,   /* conventional */
    VIV_PCIE_ROOT, /* inside a root complex: 32 slots */
    VIV_PCIE_LINK, /* below a port: one slot */
};

struct viv_pci_bus;
struct viv_pci_dev;

struct viv_pci_ids {
    uint16_t vendor, device;
    uint8_t revision;
    uint32_t class_code; /* 0xCCSSPP */
    uint16_t sub_vendor, sub_device;
    const char *rom; /* file of its expansion ROM where firmware runs, NULL: none */
};

struct viv_pci_bar {
    struct viv_region *region;
    bool io; /* in port space */
    bool mem64;
    bool prefetch;
    uint64_t size; /* power of two */
};

struct viv_msix_vector {
    uint64_t addr;
    uint32_t data;
    uint32_t control; /* bit 0: masked */
};

struct viv_pci_dev {
    struct viv_dev dev;
    struct viv_pci_bus *bus;
    uint8_t devfn;
    uint16_t config_size; /* of the three arrays, as far as the guest sees them */
    uint8_t config[VIV_PCIE_CONFIG_SIZE];
    uint8_t wmask[VIV_PCIE_CONFIG_SIZE]; /* bits the guest may write */
    uint8_t w1cmask[VIV_PCIE_CONFIG_SIZE];
    struct viv_pci_bar bar[VIV_PCI_BARS];
    uint8_t cap_end; /* first free byte for capabilities */
    uint16_t ext_cap_end, ext_cap_last; /* the same of the extended ones; the last one there is */
    uint8_t pm_cap, msi_cap, pcie_cap;  /* offsets in config, 0: none */
    struct viv_region *rom; /* NULL: no expansion ROM */
    struct viv_ram *rom_ram;
    uint32_t rom_size;

    /* MSI-X: table and pending bits in a BAR of the device's choice. */
    uint8_t msix_cap; /* offset in config, 0: none */
    uint16_t msix_count;
    struct viv_msix_vector *msix; /* msix_count of them */
    uint8_t *msix_pending;        /* one byte each */
    struct viv_region *msix_region;

    bool slot_told; /* of a port's slot: the reason for an interrupt that there is was told */
    bool intx_level; /* what the device drives */
    bool
        intx_asserted; /* what reaches the bus: intx_level unless the command register disables it */

    /* Optional hook after the guest wrote config bytes [off, off+len). */
    void (*config_written)(struct viv_pci_dev *d, unsigned off, unsigned len);
    uint32_t (*config_read)(struct viv_pci_dev *d, unsigned off, unsigned len, uint32_t value);
    /* Optional: its BARs may lie elsewhere now, or nowhere: by its own registers, or by those of a bridge above. */
    void (*remapped)(struct viv_pci_dev *d);
    /* Optional: a vector's address, data or mask changed (irqfd upkeep). */
    void (*msix_changed)(struct viv_pci_dev *d, unsigned vector);
    /* It was pulled out, its requests may be under way: no more of them is the guest's. Does not wait. NULL: the class's reset()
     * does it, which does not wait, either. */
    void (*pulled)(struct viv_pci_dev *d);
};

/* Saved by every PCI device's table: VIV_F_STRUCT(my_dev, pci, viv_pci_dev_state). */
extern const struct viv_state_table viv_pci_dev_state;

/* Properties every PCI device has: addr (slot[.fn]), multifunction, romfile ... To be spliced into schemas. */
#define VIV_PCI_PROPS                                                                              \
    {.name = "addr", .type = VIV_OPT_STR, .help = "slot[.function], hex"},                         \
        {.name = "bus", .type = VIV_OPT_STR, .help = "bus to plug into: id of a bridge (default: the root bus)"}, \
        {.name = "multifunction",                                                                  \
         .type = VIV_OPT_BOOL,                                                                     \
         .help = "function 0 of several in its slot"},                                             \
        {.name = "romfile",                                                                        \
         .type = VIV_OPT_STR,                                                                      \
         .help = "expansion ROM (empty: none)"},                                        \
    {                                                                                              \
        .name = "rombar", .type = VIV_OPT_INT, .help = "0: no expansion ROM", .def = "1", .min = 0,   \
        .max = 1                                                                                   \
    }

/* The root bus. Made by the host bridge, which sets board->pci, and freed by it: the last function to go. */
struct viv_pci_bus *viv_pci_bus_new(struct viv_board *board, const char *name);
struct viv_pci_bus *viv_pcie_bus_new(struct viv_board *board, const char *name);
void viv_pci_bus_free(struct viv_pci_bus *bus); /* NULL allowed */
const char *viv_pci_bus_name(const struct viv_pci_bus *bus);
/* The bus that has this number now, as the bridges' registers say; NULL: none. */
struct viv_pci_bus *viv_pci_bus_at(struct viv_pci_bus *root, unsigned number);
/* The bus that "bus" in opts names, the root bus without it. NULL and an error when there is none. */
struct viv_pci_bus *viv_pci_bus_wanted(struct viv_board *board, struct viv_opts *opts, struct viv_err *err);
enum viv_pci_bus_kind viv_pci_bus_kind(const struct viv_pci_bus *bus);
/* The bridge above; NULL: the root bus. */
struct viv_pci_dev *viv_pci_bus_bridge(const struct viv_pci_bus *bus);
struct viv_pci_bus *viv_pci_bus_behind(const struct viv_pci_dev *d); /* NULL: no bridge */
/* Who tells the guest of functions that come and go on a bus (docs/pc.md, hot-plug). Without: nothing can. */
struct viv_pci_slots {
    void (*plugged)(void *opaque, struct viv_pci_dev *d);
    int (*ask)(void *opaque, struct viv_pci_dev *d, struct viv_err *err); /* viv_hotplug.ask */
    void (*pulled)(void *opaque, struct viv_pci_dev *d);                  /* off its bus already; may be NULL */
} VIV_BY_NAME;
void viv_pci_bus_set_slots(struct viv_pci_bus *bus, const struct viv_pci_slots *slots, void *opaque);
bool viv_pci_bus_takes_plugs(const struct viv_pci_bus *bus);
/* Of classes that can be plugged into such buses. */
extern const struct viv_hotplug viv_pci_hotplug;
/* The slot has no power any more: all functions in it that can go do. */
void viv_pci_slot_off(struct viv_pci_bus *bus, unsigned slot);
/* Can what is in the slot go (all of it, if anything)? */
bool viv_pci_slot_removable(struct viv_pci_bus *bus, unsigned slot);

/* The PIRQ that the function's pin reaches. */
unsigned viv_pci_pirq(const struct viv_pci_dev *d);
/* And that a slot's pin (0: A) of a root bus reaches. */
unsigned viv_pci_slot_pirq(const struct viv_pci_bus *root, unsigned slot, unsigned pin);
/* Who hears the interrupt lines of the root bus. Without a route, INTx of slot s, pin p (0: A) reaches PIRQ (s + p - 1)
 * mod 4; below bridges pins are swizzled (PCI-to-PCI Bridge 1.2, 9.1). */
void viv_pci_bus_set_pirq(struct viv_pci_bus *bus, void (*fn)(void *opaque, int pirq, int level),
                          void *opaque);
void viv_pci_bus_set_route(struct viv_pci_bus *bus, unsigned (*route)(unsigned slot, unsigned pin));
/* Registers config mechanism #1 ports CF8h/CFCh. Only a dword access at CF8h is the address register: a byte
 * access at CF9h goes to `reset_port` (the south bridge's), NULL: nobody. */
void viv_pci_bus_add_ports(struct viv_pci_bus *bus);
void viv_pci_bus_set_reset_port(struct viv_pci_bus *bus, const struct viv_region_ops *ops,
                                void *opaque);
/* The address register, saved by the host bridge. */
uint32_t viv_pci_bus_config_addr(const struct viv_pci_bus *bus);
void viv_pci_bus_set_config_addr(struct viv_pci_bus *bus, uint32_t addr);
/* Configuration cycles, as the ports make them; all-ones where there is no function (or `bus` is NULL). `off` + len does
 * not cross a dword. */
uint32_t viv_pci_config_read(struct viv_pci_bus *bus, unsigned devfn, unsigned off, unsigned len);
void viv_pci_config_write(struct viv_pci_bus *bus, unsigned devfn, unsigned off, uint32_t value,
                          unsigned len);

/* First thing in a PCI device's realize(): places it on the bus ("addr" in opts, else the first free slot),
 * fills the header, adds the expansion ROM. */
int viv_pci_dev_init(struct viv_pci_dev *d, const struct viv_pci_ids *ids, struct viv_opts *opts,
                     struct viv_err *err);
void viv_pci_dev_fini(struct viv_pci_dev *d);
void viv_pci_dev_reset(struct viv_pci_dev *d);

/* How firmware names the function in a boot order: "/pci@i0cf8/scsi@4,1". g_free. */
char *viv_pci_fw_path(const struct viv_pci_dev *d, const char *kind);

/* May the function read and write guest memory (command register, bus master enable)? That of the bridges above is not asked:
 * PCI-to-PCI Bridge 1.2, 3.2.5.3 lets it stop what they forward, but SeaBIOS and iPXE set it for the function alone. */
bool viv_pci_bus_master(const struct viv_pci_dev *d);

/* The region is owned by the device afterwards. `size` is a power of two; ports at least 4, memory at
 * least 16. */
void viv_pci_add_bar(struct viv_pci_dev *d, unsigned n, struct viv_region *r, uint64_t size,
                     bool io, bool mem64, bool prefetch);
/* Reserves `len` bytes of config space for a capability, dword-aligned, and links it; returns its
 * offset, 0 if full. */
uint8_t viv_pci_add_cap(struct viv_pci_dev *d, uint8_t id, uint8_t len);

/* MSI-X with `count` vectors (1-2048); table at `bar` offset 0, pending bits after it: the whole
 * BAR is made here. */
int viv_msix_init(struct viv_pci_dev *d, unsigned count, unsigned bar, struct viv_err *err);
void viv_msix_fini(struct viv_pci_dev *d);  /* by viv_pci_dev_fini */
void viv_msix_reset(struct viv_pci_dev *d); /* by viv_pci_dev_reset */
bool viv_msix_enabled(const struct viv_pci_dev *d);
/* Would a message of this vector wait? (its mask bit, the function's mask bit) */
bool viv_msix_masked(const struct viv_pci_dev *d, unsigned vector);
/* Sends, or leaves pending when masked. Nothing when MSI-X is off or there is no such vector. */
void viv_msix_notify(struct viv_pci_dev *d, unsigned vector);

/* MSI (PCI 3.0, 6.8.1) with 64-bit addresses: `vectors` is 1, 2, 4 ... 32. The guest may enable fewer: then the vector's
 * number is cut to what there are. */
int viv_msi_init(struct viv_pci_dev *d, unsigned vectors, struct viv_err *err);
bool viv_msi_enabled(const struct viv_pci_dev *d);
void viv_msi_notify(struct viv_pci_dev *d, unsigned vector); /* nothing when MSI is off */

/* Power management (PCI PM 1.2): D0 and D3hot, in which BARs do not answer; no PME. */
int viv_pci_pm_init(struct viv_pci_dev *d, struct viv_err *err);

enum viv_pcie_type { /* PCI Express 3.0, 7.8.2 */
    VIV_PCIE_ENDPOINT = 0,
    VIV_PCIE_ROOT_PORT = 4,
    VIV_PCIE_TO_PCI = 7,
    VIV_PCIE_ROOT_ENDPOINT = 9,
};
/* The PCI Express capability and 4 KiB of configuration space. `slot`: of a root port, the number of its slot; else 0. */
int viv_pcie_init(struct viv_pci_dev *d, enum viv_pcie_type type, unsigned slot, struct viv_err *err);
/* The slot of a root port gets native hot-plug; `below` is the port's bus. */
void viv_pcie_add_slot(struct viv_pci_dev *port, struct viv_pci_bus *below);
/* Reserves `len` bytes of extended configuration space (7.9.3); returns the offset, 0 when there is no room. */
uint16_t viv_pcie_add_cap(struct viv_pci_dev *d, uint16_t id, uint8_t version, uint16_t len);

void viv_pci_set_intx(struct viv_pci_dev *d, int level);

/* The function that a guest sees there. One that is plugged in has its place before it is made, and lets go of the device lock when it
 * opens or closes a back end: until it is made there is nothing. */
struct viv_pci_dev *viv_pci_at(struct viv_pci_bus *bus, unsigned devfn);

#endif
