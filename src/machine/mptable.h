/* The table of CPUs and interrupts that came before ACPI (Intel MultiProcessor Specification 1.4), for kernels that have no
 * ACPI or are told not to use it. */
#ifndef VIV_MACHINE_MPTABLE_H
#define VIV_MACHINE_MPTABLE_H

#include "bus/pci.h"
#include "machine/acpi.h"

struct viv_mp_info {
    const struct viv_acpi_cpu *cpus; /* the first one boots; APIC IDs of 255 and more have no place here */
    unsigned cpu_count;
    uint32_t signature, features; /* CPUID 1 EAX and EDX */
    bool pit;                     /* its line is pin 2 of the I/O APIC */
    const struct viv_pci_bus *pci;
    const uint8_t *pirq_pin; /* the I/O APIC's pin of each PIRQ */
};

/* Builds for address `base` (16-byte aligned, in F0000h-FFFFFh, which is searched), within `max` bytes. -ENOSPC when it does
 * not fit. g_malloc'ed. */
int viv_mp_build(const struct viv_mp_info *info, uint32_t base, size_t max, uint8_t **out, size_t *len, struct viv_err *err);

#endif
