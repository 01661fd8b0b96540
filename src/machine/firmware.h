/* What a PC's firmware would leave behind, for a kernel that is entered directly: tables in the BIOS area, PCI BARs,
 * interrupt routing, the VGA's text mode, MTRRs, and the kernel itself. Done again at each reset. */
#ifndef VIV_MACHINE_FIRMWARE_H
#define VIV_MACHINE_FIRMWARE_H

#include "bus/pci.h"
#include "machine/acpi.h"
#include "machine/loader.h"
#include "machine/machine.h"

#define VIV_BIOS_ACPI   0xe0000u /* RSDP first */
#define VIV_BIOS_MP     0xf2000u /* F0000h-FFFFFh are searched */
#define VIV_BIOS_SMBIOS 0xf4000u /* so are they for its entry points */
#define VIV_BIOS_TABLES_END 0xfe000u /* handlers of interrupts follow */

/* What -accel kvm keeps for itself on a host with VT-x: the identity map and the TSS (accel/kvm/kvm.c). */
#define VIV_KVM_PAGES     0xfeffc000u
#define VIV_KVM_PAGES_END 0xff000000u

struct viv_firmware;
struct viv_bios_tables;

struct viv_firmware_config {
    const struct viv_machine_config *cfg;
    struct viv_board *board;
    uint64_t low_end;   /* RAM from 0 to here */
    uint64_t high_size; /* RAM from 4 GiB on */
    const char *product;
    struct viv_acpi_info acpi; /* cpus are filled in here; with_acpi false: no tables */
    bool with_acpi;
    const uint8_t *pirq_pin; /* the I/O APIC's pin of each PIRQ; NULL: a board without an MP table */
    /* Firmware that runs, and places things by itself: changes what lies elsewhere than `acpi` says. */
    void (*placed)(struct viv_board *board, struct viv_acpi_info *info);
    struct viv_bios_tables **tables; /* where its tables are kept; they live as long as the VM */
};

/* Points info->cpus at an array of the vCPUs, which is the caller's. */
struct viv_acpi_cpu *viv_firmware_cpus(struct viv_acpi_info *info);
/* viv_smbios_build() of this machine. */
int viv_firmware_smbios(const struct viv_firmware_config *c, uint32_t base, size_t max, uint8_t **out, size_t *len,
                        struct viv_err *err);
/* viv_mp_build() of it; the board has a pirq_pin. */
int viv_firmware_mp(const struct viv_firmware_config *c, uint32_t base, size_t max, uint8_t **out, size_t *len, struct viv_err *err);

/* Builds the tables and checks -kernel and its companions. Device lock held; the vCPUs exist. */
int viv_firmware_new(const struct viv_firmware_config *c, struct viv_firmware **out, struct viv_err *err);
/* After devices and vCPUs were reset: tables and kernel into RAM, CPU registers. The board's own chips (shadow
 * RAM, interrupt routing) were set up by it before. */
void viv_firmware_reset(struct viv_firmware *f);

/* Numbers buses, gives every PCI function its BARs within the windows (bridges theirs by what is below), enables decoding
 * and sets interrupt line registers from `pirq_line` (ISA line of each PIRQ). */
struct viv_pci_windows {
    uint32_t io_first, io_last;
    uint64_t mem_first, mem_last;     /* below 4 GiB */
    uint64_t mem64_first, mem64_last; /* prefetchable 64-bit BARs that do not fit below; last 0: none */
};
void viv_firmware_pci(struct viv_pci_bus *bus, const struct viv_pci_windows *w, const uint8_t pirq_line[VIV_PCI_PIRQS]);
/* Which function of a root bus is the VGA: the first; -1: none. */
int viv_firmware_find_vga(struct viv_pci_bus *bus);
/* Text mode on it, and what the BIOS data area says of that. After viv_firmware_pci(). */
void viv_firmware_vga(struct viv_board *board);
/* ICW1-ICW4 of the 8259 pair with vectors 08h and 70h, as a BIOS leaves them: all lines masked but the cascade and the
 * timer's, where there is one. */
void viv_firmware_pic(struct viv_space *io, bool pit);
/* Interrupt vectors with handlers that return (and end a hardware interrupt), and the BIOS data area: the EBDA, memory
 * size, serial ports (bits, COM1 the lowest). */
void viv_firmware_low_memory(struct viv_space *mem, unsigned com_ports);

#endif
