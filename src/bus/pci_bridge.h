/* PCI-to-PCI bridges (PCI-to-PCI Bridge 1.2) and PCI Express ports: the header of type 1, the windows, the bus below. */
#ifndef VIV_BUS_PCI_BRIDGE_H
#define VIV_BUS_PCI_BRIDGE_H

#include "bus/pci.h"

struct viv_pci_bridge {
    struct viv_pci_dev pci;
    struct viv_pci_bus *below;
    uint16_t chassis, slot; /* place in the guest's machine room; both 0: nobody said */
    bool resetting;        /* the bus below */
    struct viv_pci_bridge *next;
};
/* VIV_F_STRUCT(my_bridge, bridge, viv_pci_bridge_state). */
extern const struct viv_state_table viv_pci_bridge_state;

/* First thing in realize(): the function on its bus, the bus below it under the device's id (without one: by its place). */
int viv_pci_bridge_init(struct viv_pci_bridge *b, const struct viv_pci_ids *ids, enum viv_pci_bus_kind below, struct viv_opts *opts,
                        struct viv_err *err);
void viv_pci_bridge_fini(struct viv_pci_bridge *b);
void viv_pci_bridge_reset(struct viv_pci_bridge *b);
/* Takes a place in the machine room that no other bridge has. */
int viv_pci_bridge_take_slot(struct viv_pci_bridge *b, uint16_t chassis, uint16_t slot, struct viv_opts *opts, struct viv_err *err);

#endif
