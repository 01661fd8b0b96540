/* What host bridges of PCs have in common: the shadow RAM registers (PAM0-PAM6) and the SMRAM register.
 *
 * The board maps RAM at 0-9FFFFh and from 100000h up and ROM where it decodes; A0000h-FFFFFh belongs to the bridge, which lays
 * pieces of "pc.ram" over it (priority 2) as the registers say. A segment that is written to RAM but read from PCI shows the
 * ROM that lies under it.
 *
 * SMRAM is the 128 KiB of RAM at A0000h, where all others see a video card: seen by CPUs in SMM (in the board's second space, over all
 * else) when G_SMRAME is set, by everybody when D_OPEN is, too; D_LCK makes that final until reset. (Intel 290549-001, 3.2.18; 316966-002,
 * 5.1.30: the table of what G_SMRAME, D_LCK, D_CLS and D_OPEN let through.)
 *
 * Left out: D_CLS, which would send a handler's data (not its code) to the video card. */
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
    struct viv_region *open_smram, *smram_in_smm; /* seen by all; by a CPU in SMM (NULL: the board has no second space) */
    uint32_t smram_at; /* A0000h; the bridge may move it (H_SMRAME), and calls viv_shadow_update() */
};

/* The bridge's function is made; its masks get the SMRAM register's, PAM is the bridge's to make writable. */
int viv_shadow_init(struct viv_shadow *s, struct viv_pci_dev *bridge, uint8_t pam, uint8_t smram, struct viv_err *err);
void viv_shadow_fini(struct viv_shadow *s);
/* After the function's reset. */
void viv_shadow_reset(struct viv_shadow *s);
/* From config_written(). */
void viv_shadow_written(struct viv_shadow *s, unsigned off, unsigned len);
void viv_shadow_update(struct viv_shadow *s);
/* SMM memory is to be there at all; everybody may see it; the registers about it are locked. */
bool viv_shadow_smram_on(const struct viv_shadow *s);
bool viv_shadow_smram_open(const struct viv_shadow *s);
bool viv_shadow_smram_locked(const struct viv_shadow *s);
/* After the registers were loaded. */
void viv_shadow_load(struct viv_shadow *s);
/* C0000h-FFFFFh is RAM, as firmware leaves it. */
void viv_shadow_open(struct viv_shadow *s);

#endif
