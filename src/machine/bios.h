/* Firmware that runs: the ROM, what it is told, the power-on state it expects. (Kernels that are entered directly:
 * firmware.h.) */
#ifndef VIV_MACHINE_BIOS_H
#define VIV_MACHINE_BIOS_H

#include "machine/firmware.h"

/* Does this command line start in a ROM? */
bool viv_bios_wanted(const struct viv_machine_config *cfg);
/* The ROM or the flash chips, mapped below 4 GiB and at the end of the first MiB (under what the chipset lays over it).
 * Refuses what cannot work: sizes, a kernel for firmware that would not start it. */
int viv_bios_load(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);

/* Its parts. */
int viv_bios_add_flash(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);
void viv_bios_map_low(struct viv_board *board, struct viv_ram *rom); /* the last 128 KiB below 1 MiB */

/* Everything that fw_cfg tells firmware: memory map, tables, boot order, -option-rom. After all devices. */
int viv_bios_add_acpi(const struct viv_firmware_config *c, struct viv_dev *fw_cfg, struct viv_err *err); /* a part of it */
int viv_bios_add_kernel(const struct viv_machine_config *cfg, struct viv_dev *fw_cfg, struct viv_err *err); /* a part of it */
int viv_bios_add_files(const struct viv_firmware_config *c, struct viv_dev *fw_cfg, struct viv_err *err);

/* A part of it that changes when devices come and go: to be done again at each reset. Empty without any bootindex. */
int viv_bios_add_bootorder(const struct viv_machine_config *cfg, struct viv_dev *fw_cfg, struct viv_err *err);

/* -boot order= (once=, until the first reset) as CMOS has it: 3Dh in the low byte, 38h in the high one. */
uint16_t viv_bios_boot_cmos(struct viv_opts *boot, bool first_start);
/* Other letters from the next reset on, once= and all. Device lock held. */
int viv_bios_set_boot(const char *letters, struct viv_err *err);
/* Refuses letters that no firmware knows. */
int viv_bios_check_boot(struct viv_opts *boot, struct viv_err *err);
extern const struct viv_opt_def viv_boot_opts[]; /* of -boot; "order" without a key */

#endif
