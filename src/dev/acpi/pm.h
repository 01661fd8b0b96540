/* ACPI's fixed hardware (ACPI 6.4, 4.8.3), as south bridges have it in an I/O block: PM1a event and control, the 24-bit PM
 * timer, general-purpose events; and the APM ports B2h/B3h that firmware names as SMI_CMD. A write to B2h may raise an SMI, which is
 * the bridge's to decide; an ACPI-enable command sets SCI_EN at once, whether or not a handler would.
 *
 * Left out: clock control, sleep states other than S5. Device lock held. */
#ifndef VIV_DEV_ACPI_PM_H
#define VIV_DEV_ACPI_PM_H

#include "bus/dev.h"

#define VIV_ACPI_S5       0 /* SLP_TYP that powers off */
#define VIV_ACPI_GPE_MOST 8

struct viv_acpi_pm {
    struct viv_dev *dev;
    const char *name;
    uint8_t gpe, gpe_bytes; /* of the block: where the events' status is, how many bytes; the enables are behind it */
    void (*set_sci)(struct viv_dev *dev, bool level);
    uint8_t other_sts, other_sts_bytes; /* of these others, whose written ones clear: where, how many bytes */
    /* The block's other registers, 16 bits at even offsets; NULL: they read 0. */
    uint16_t (*other_read)(struct viv_dev *dev, unsigned reg);
    void (*other_write)(struct viv_dev *dev, unsigned reg, uint16_t v);
    void (*apm_command)(struct viv_dev *dev); /* B2h was written; NULL: nobody wants to know */

    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint8_t gpe_sts[VIV_ACPI_GPE_MOST], gpe_en[VIV_ACPI_GPE_MOST];
    uint8_t apm[2];  /* command, status */
    bool timer_high; /* bit 23 of the timer when it was last looked at */
    bool sci;
    struct viv_timer *overflow; /* when bit 23 changes next, while someone wants to know */
    struct viv_region *block, *apm_ports;
};
/* VIV_F_STRUCT(my_dev, pm, viv_acpi_pm_state). */
extern const struct viv_state_table viv_acpi_pm_state;

/* "disable_s3" and "disable_s4", as other machine emulators have them: here it is so, and asking for the contrary is refused. */
#define VIV_ACPI_PM_PROPS                                                                                             \
    {.name = "disable_s3", .type = VIV_OPT_INT, .def = "1", .min = 0, .max = 1, .help = "no suspend to RAM (always)"}, \
    {                                                                                                                 \
        .name = "disable_s4", .type = VIV_OPT_INT, .def = "1", .min = 0, .max = 1, .help = "no suspend to disk (always)" \
    }
int viv_acpi_pm_check(struct viv_opts *opts, const char *name, struct viv_err *err);
/* From post_load: the saved machine had system management mode (`saved`) and this one has not, or the other way. -EINVAL. */
int viv_acpi_pm_other_smm(const char *name, bool saved, struct viv_err *err);

/* `size`: of the block, bytes. The members above the blank line are the caller's. */
void viv_acpi_pm_init(struct viv_acpi_pm *p, unsigned size);
void viv_acpi_pm_fini(struct viv_acpi_pm *p);
void viv_acpi_pm_reset(struct viv_acpi_pm *p);
/* Maps the block; base 0: nowhere. */
void viv_acpi_pm_map(struct viv_acpi_pm *p, uint32_t base);

/* The tables name no SMI_CMD, so firmware is in ACPI mode from the start. */
void viv_acpi_pm_enable(struct viv_acpi_pm *p);
void viv_acpi_pm_power_button(struct viv_acpi_pm *p);
/* A general-purpose event. */
void viv_acpi_pm_event(struct viv_acpi_pm *p, unsigned bit);

#endif
