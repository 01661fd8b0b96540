/* What devices want of the interrupt fabric, filled by the accelerator: user-mode 8259 + IO-APIC + local
 * APICs for the software engines, the kernel's for KVM. Boards and devices never know which.
 *
 * struct viv_intc is made by the accelerator before the board builds devices and lives as long as
 * the VM. */
#ifndef VIV_BUS_INTC_H
#define VIV_BUS_INTC_H

#include "base/byname.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct viv_intc;

struct viv_intc_ops {
    /* True: 8259, IO-APIC and (where kernel_pit) 8254 are the accelerator's; the board creates none,
     * and GSIs go to set_gsi. False: the board creates them and set_gsi is NULL. */
    bool kernel_irqchip;
    bool kernel_pit;

    /* GSI 0-15 the ISA lines, 16-23 PCI. Device lock held. */
    void (*set_gsi)(struct viv_intc *c, unsigned gsi, int level);

    /* A message-signalled interrupt: PCI MSI/MSI-X and the user-mode IO-APIC. Any thread, any lock
     * state, never blocks. */
    void (*send_msi)(struct viv_intc *c, uint64_t addr, uint32_t data);

    /* User-mode 8259's INTR output to LINT0 of the boot CPU. Device lock held. */
    void (*set_extint)(struct viv_intc *c, int level);

    /* An eventfd that raises this message when written to (irqfd). -ENOTSUP where there is none. Undone
     * by passing fd with msi_addr 0 and data 0. */
    int (*msi_irqfd)(struct viv_intc *c, int fd, uint64_t msi_addr, uint32_t msi_data);

    /* An eventfd that is signalled by guest writes of `size` bytes (0: any) to a memory or port
     * address without an exit to us (ioeventfd). -ENOTSUP where there is none. */
    int (*ioeventfd)(struct viv_intc *c, int fd, bool port, uint64_t addr, unsigned size, bool add);

    /* Level-triggered IO-APIC support: the local APICs call ioapic_eoi (set by the board) on
     * EOI of a level interrupt. */
} VIV_BY_NAME;

struct viv_intc {
    const struct viv_intc_ops *ops;
    void *opaque;

    /* Filled by the board when kernel_irqchip is false; called by the local APICs.
     * ack_extint: the 8259 pair's INTA cycle, returns the vector; device lock held. */
    int (*ack_extint)(void *opaque);
    void *ack_opaque;
    /* EOI broadcast to the IO-APIC; device lock held. */
    void (*eoi)(void *opaque, uint8_t vector);
    void *eoi_opaque;
};

static inline void viv_msi_send(struct viv_intc *c, uint64_t addr, uint32_t data)
{
    c->ops->send_msi(c, addr, data);
}

#endif
