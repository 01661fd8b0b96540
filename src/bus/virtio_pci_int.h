/* The three files of the PCI transport among themselves. */
#ifndef VIV_BUS_VIRTIO_PCI_INT_H
#define VIV_BUS_VIRTIO_PCI_INT_H

#include "bus/virtio_int.h"
#include "bus/virtio_pci.h"

enum { VIV_VIRTIO_ISR_QUEUE = 1, VIV_VIRTIO_ISR_CONFIG = 2 };

enum { /* BAR 4 */
    VIV_VPCI_COMMON = 0x0000,
    VIV_VPCI_ISR = 0x1000,
    VIV_VPCI_DEVICE = 0x2000,
    VIV_VPCI_NOTIFY = 0x3000,
    VIV_VPCI_PART = 0x1000,
    VIV_VPCI_SIZE = 0x4000,
    VIV_VPCI_NOTIFY_MULTIPLIER = 4,
};

extern const struct viv_region_ops viv_virtio_pci_legacy_ops;

/* Read clears (4.1.4.5). */
uint8_t viv_virtio_pci_take_isr(struct viv_virtio_pci *p);
/* A vector the device has, else VIV_VIRTIO_NO_VECTOR. */
uint16_t viv_virtio_pci_vector(struct viv_virtio_pci *p, uint16_t wanted);
/* The guest wrote status: 0 resets the transport's own registers too. */
void viv_virtio_pci_set_status(struct viv_virtio_pci *p, uint8_t status);
/* Kicks by ioeventfd (virtio_pci_kick.c). init: where the accelerator has them; update: the driver's status or the
 * BAR has changed; fini: all undone. */
void viv_virtio_pci_kicks_init(struct viv_virtio_pci *p);
void viv_virtio_pci_kicks_update(struct viv_virtio_pci *p);
void viv_virtio_pci_kicks_fini(struct viv_virtio_pci *p);
unsigned viv_virtio_pci_legacy_size(const struct viv_virtio_pci *p);

#endif
