/* What host bridges of PCs have in common: the shadow RAM registers (PAM0-PAM6) and the SMRAM register.
 *
 * The board maps RAM at 0-9FFFFh and from 100000h up and ROM where it decodes; A0000h-FFFFFh belongs to the bridge, which lays
 * pieces of "pc.ram" over it (priority 2) as the registers say. A segment that is written to RAM but read from PCI shows the
 * ROM that lies under it.
 *
 * Left out: SMRAM that only a CPU in system management mode sees (opened by D_OPEN it is seen by all). */
#ifndef VIV_DEV_PCI_SHADOW_H
#define VIV_DEV_PCI_SHADOW_H

#include "bus/pci.h"

#define VIV_SHADOW_SEGMENTS 13

struct viv_shadow;

struct viv_shadow_segment {
    struct viv_shadow *shadow;
    uint32_t start, size;
    uint8_t mode;              /* what is mapped */
    struct viv_region *ram;    /* read and write */
    struct viv_region *rom;    /* read only */
    struct viv_region *writes; /* reads come from `under` */
    const uint8_t *under;      /* ROM below, NULL: nothing */
};

struct viv_shadow {
    struct viv_pci_dev *bridge;
    uint8_t pam, smram; /* registers, in configuration space */
    struct viv_ram *ram;
    struct viv_shadow_segment segment[VIV_SHADOW_SEGMENTS];
    struct viv_region *open_smram;
};

/* The bridge's function is made; its masks get the SMRAM register's, PAM is the bridge's to make writable. */
int viv_shadow_init(struct viv_shadow *s, struct viv_pci_dev *bridge, uint8_t pam, uint8_t smram, struct viv_err *err);
void viv_shadow_fini(struct viv_shadow *s);
/* After the function's reset. */
void viv_shadow_reset(struct viv_shadow *s);
/* From config_written(). */
void viv_shadow_written(struct viv_shadow *s, unsigned off, unsigned len);
/* After the registers were loaded. */
void viv_shadow_load(struct viv_shadow *s);
/* C0000h-FFFFFh is RAM, as firmware leaves it. */
void viv_shadow_open(struct viv_shadow *s);

#endif
