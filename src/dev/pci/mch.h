/* The host bridge of q35, as its board uses it. Device lock held. */
#ifndef VIV_DEV_PCI_MCH_H
#define VIV_DEV_PCI_MCH_H

#include "bus/dev.h"

#define VIV_MCH_ECAM      0xb0000000u /* where firmware usually puts configuration space: 256 MiB */
#define VIV_MCH_ECAM_SIZE 0x10000000u

/* What firmware does: C0000h-FFFFFh is RAM, configuration space is at VIV_MCH_ECAM. A reset undoes it. */
void viv_mch_setup(struct viv_dev *d);
/* Where all of configuration space is now, if that is below 4 GiB; 0: it is not. */
uint32_t viv_mch_ecam(struct viv_dev *d);

#endif
