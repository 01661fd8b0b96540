/* The event device of boards without fixed ACPI hardware: register file, and its board's side. */
#ifndef VIV_DEV_ACPI_GED_H
#define VIV_DEV_ACPI_GED_H

#include "bus/dev.h"

/* Registers, as the board's DSDT and FADT describe them. */
enum {
    VIV_GED_EVENT = 0x0,        /* 32 bits, read clears: VIV_GED_EVENT_* */
    VIV_GED_SLEEP_CTL = 0x4,    /* 8 bits: ACPI 6.4, 4.8.3.7 */
    VIV_GED_SLEEP_STATUS = 0x5, /* 8 bits */
    VIV_GED_RESET = 0x6,        /* 8 bits */
    VIV_GED_SIZE = 0x10,

    VIV_GED_EVENT_POWER_BUTTON = 1,
    VIV_GED_SLP_TYP_S5 = 5,
    VIV_GED_RESET_VALUE = 0x42,
};

/* After viv_dev_new: places the registers and connects the line (copied). Device lock held. */
void viv_ged_connect(struct viv_dev *d, uint64_t base, const struct viv_irq *irq);
/* Device lock held. */
void viv_ged_power_button(struct viv_dev *d);

#endif
