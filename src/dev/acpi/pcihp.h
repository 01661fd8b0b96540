/* PCI hot-plug by ACPI: the registers that the DSDT's methods use (docs/pc.md; the layout is the one that QEMU documents in its
 * specification "ACPI PCI hotplug interface", with a register of ours for _OST behind it). Device lock held.
 *
 *   00h  read: slots of the selected bus with something new in them, a bit each; reading clears
 *   04h  read: slots that the guest is asked to let go of
 *   08h  write: the guest has let go of these; read: features, 0
 *   0Ch  read: slots whose contents can go
 *   10h  the selected bus: 0 is the root
 *   18h  write: the guest refuses: slot in bits 0-4, the selected bus
 *
 * All are 32 bits wide. */
#ifndef VIV_DEV_ACPI_PCIHP_H
#define VIV_DEV_ACPI_PCIHP_H

#include "bus/pci.h"

#define VIV_PCIHP_PORT  0xae00
#define VIV_PCIHP_SIZE  0x1c
#define VIV_PCIHP_BUSES 16
#define VIV_PCIHP_GPE   1 /* the general-purpose event by which the guest hears */

struct viv_pcihp;

struct viv_pcihp_bus {
    struct viv_pcihp *hp;
    struct viv_pci_bus *pci;
};

struct viv_pcihp {
    struct viv_dev *dev;
    void (*event)(struct viv_dev *dev); /* raises the general-purpose event */
    bool root_stays, bridges_stay;      /* nothing comes or goes on the root bus, on those of bridges */
    struct viv_pcihp_bus bus[VIV_PCIHP_BUSES];
    unsigned count;
    uint32_t up[VIV_PCIHP_BUSES], down[VIV_PCIHP_BUSES], select;
    struct viv_region *ports;
};
/* VIV_F_STRUCT(my_dev, hp, viv_pcihp_state). */
extern const struct viv_state_table viv_pcihp_state;

/* dev, event, root_stays and bridges_stay are the caller's. The root bus is `root`; buses of bridges come later, in an order that the machine's
 * configuration alone decides. False: no room, or bridges_stay. */
void viv_pcihp_init(struct viv_pcihp *h, struct viv_pci_bus *root);
bool viv_pcihp_add(struct viv_pcihp *h, struct viv_pci_bus *bus);
void viv_pcihp_fini(struct viv_pcihp *h);
void viv_pcihp_reset(struct viv_pcihp *h);
/* Slots of the n-th bus whose contents can come and go, a bit each. */
uint32_t viv_pcihp_slots(const struct viv_pcihp *h, unsigned n);

#endif
