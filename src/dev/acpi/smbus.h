/* The SMBus host that PIIX4 and ICH9 share (Intel 290562, 7.4; 316972, 19.2), with no device behind it: every transaction ends in
 * a device error, as when nobody acknowledges the address. Device lock held. */
#ifndef VIV_DEV_ACPI_SMBUS_H
#define VIV_DEV_ACPI_SMBUS_H

#include "state/state.h"

#define VIV_SMBUS_REGS 32

struct viv_smbus {
    uint8_t reg[VIV_SMBUS_REGS];
};
extern const struct viv_state_table viv_smbus_state;

uint8_t viv_smbus_read(struct viv_smbus *s, unsigned reg);
void viv_smbus_write(struct viv_smbus *s, unsigned reg, uint8_t v);
/* Is an interrupt wanted: something has ended, and INTREN is set? */
bool viv_smbus_irq(const struct viv_smbus *s);

#endif
