/* The south bridge of q35, as its board uses it. Device lock held. */
#ifndef VIV_DEV_PCI_ICH9_LPC_H
#define VIV_DEV_PCI_ICH9_LPC_H

#include "bus/dev.h"
#include "bus/pci.h"

#define VIV_ICH9_PM_BASE 0x600 /* where firmware usually puts the I/O block */
#define VIV_ICH9_PM_SIZE 128
#define VIV_ICH9_RCBA    0xfed1c000u

/* What firmware does: places the PM block and RCBA, routes PIRQs to ISA lines, hands ACPI to the OS. A reset undoes it. */
void viv_ich9_setup(struct viv_dev *d, const uint8_t pirq_line[VIV_PCI_PIRQS]);
/* The last part alone: the tables name no SMI_CMD, so the hardware is in ACPI mode from the start. */
void viv_ich9_acpi_mode(struct viv_dev *d);
/* Where the PM block is now; 0: nowhere. */
uint16_t viv_ich9_pm_base(struct viv_dev *d);
void viv_ich9_power_button(struct viv_dev *d);
/* etc/smi/...: what firmware may choose about SMIs. Nothing where there is nothing to choose. */
int viv_ich9_add_smi_files(struct viv_dev *d, struct viv_dev *fw_cfg, struct viv_err *err);

#endif
