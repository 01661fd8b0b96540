/* The power management function, as its board uses it. Device lock held. */
#ifndef VIV_DEV_ACPI_PIIX4_PM_H
#define VIV_DEV_ACPI_PIIX4_PM_H

#include "bus/dev.h"

#define VIV_PIIX4_PM_BASE 0x600 /* where firmware usually puts the I/O block */

/* What firmware does: places and enables the I/O block, hands it to the OS (SCI_EN). A reset undoes it. */
void viv_piix4_pm_setup(struct viv_dev *d, uint16_t base);
/* The second half alone: the tables name no SMI_CMD, so the hardware is in ACPI mode from the start. */
void viv_piix4_pm_acpi_mode(struct viv_dev *d);
/* Where the I/O block is now; 0: nowhere. */
uint16_t viv_piix4_pm_base(struct viv_dev *d);
/* The hot-plug registers: for the board, which adds buses and describes them. */
struct viv_pcihp;
struct viv_pcihp *viv_piix4_pm_hotplug(struct viv_dev *d);
#define VIV_PIIX4_PM_GPE 0x0c /* of the I/O block: status of general-purpose events, 16 bits; the enables behind it */
/* Presses the power button. */
void viv_piix4_pm_power_button(struct viv_dev *d);

#endif
