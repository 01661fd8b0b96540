/* ACPI tables as a board's firmware would leave them (ACPI 6.4).
 *
 * The board says what there is; the tables are built as one blob to be put at a known address in the
 * BIOS area, where an OS finds the RSDP by scanning 0xE0000-0xFFFFF or through boot_params/PVH. */
#ifndef VIV_MACHINE_ACPI_H
#define VIV_MACHINE_ACPI_H

#include "base/err.h"
#include "dev/acpi/ged.h"
#include "dev/acpi/pcihp.h"
#include "dev/floppy/floppy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_aml;

struct viv_acpi_cpu {
    uint32_t apic_id;
};

struct viv_acpi_info {
    const struct viv_acpi_cpu *cpus;
    unsigned cpu_count;
    unsigned com_ports; /* bits: at 3F8h, 2F8h, 3E8h, 2E8h */
    unsigned lpt_ports; /* bits: at 378h, 278h, 3BCh */
    struct viv_floppy_info floppy;
    bool rtc;
    bool i8042;
    bool pic;           /* 8259 pair: MADT PCAT_COMPAT */
    bool pit;
    bool hpet;
    bool fw_cfg;
    bool ioapic;
    unsigned ioapic_pins;

    /* pc and q35: PCI host bridge and fixed hardware of the south bridge. */
    bool pci;
    uint32_t ecam_base;               /* q35: configuration space of 256 buses in memory; 0: conventional PCI */
    uint32_t pci32_first, pci32_last; /* memory window below 4 GiB */
    uint64_t pci64_first, pci64_last; /* above; last 0: none */
    uint16_t pm_base;                 /* 0: hardware-reduced ACPI, with the GED below */
    uint8_t s5_type;                  /* SLP_TYP that powers off */
    uint8_t gpe, gpe_bytes;           /* general-purpose events in the block: where, status and enables together; 0: none */
    /* pc: buses with hot-plug by dev/acpi/pcihp.h; the first is the root. */
    struct viv_acpi_hot_bus {
        uint32_t slots;       /* whose contents can come and go, a bit each */
        unsigned above;       /* the bus that its bridge is on: an index that is smaller than its own */
        uint8_t bridge;       /* that one's devfn */
    } hot_bus[VIV_PCIHP_BUSES];
    unsigned hot_buses;

    /* microvm: virtio-mmio slots and the event device. */
    uint64_t virtio_base;
    uint32_t virtio_stride;
    unsigned virtio_slots;
    uint32_t virtio_gsi; /* of slot 0 */
    uint64_t ged_base;   /* register file of dev/acpi-ged */
    uint32_t ged_gsi;
};

#define VIV_ACPI_ECAM_SIZE 0x10000000u

/* Appends the DSDT's terms. */
void viv_acpi_dsdt_q35(struct viv_aml *a, const struct viv_acpi_info *info);
void viv_acpi_dsdt_pc(struct viv_aml *a, const struct viv_acpi_info *info);
void viv_acpi_dsdt_microvm(struct viv_aml *a, const struct viv_acpi_info *info);
/* Parts of boards with PCI: the host bridge's windows (_CRS), a link device whose routing register is `field`, S5. */
void viv_acpi_dsdt_windows(struct viv_aml *a, const struct viv_acpi_info *info);
void viv_acpi_dsdt_link(struct viv_aml *a, const char *name, unsigned uid, const char *field);
/* Slots whose contents come and go, and the event that tells of it. */
void viv_acpi_dsdt_hotplug(struct viv_aml *a, const struct viv_acpi_info *info);
void viv_acpi_dsdt_s5(struct viv_aml *a, const struct viv_acpi_info *info);
/* Legacy devices that both boards may have, children of the current scope. */
void viv_acpi_dsdt_legacy(struct viv_aml *a, const struct viv_acpi_info *info);
void viv_acpi_dsdt_cpus(struct viv_aml *a, const struct viv_acpi_info *info);

/* What depends on where the blob lies: for firmware that places it itself. Offsets into the blob; sums in the order of
 * their making, all after the pointers. */
#define VIV_ACPI_RSDP_BYTES 64 /* at the blob's start; the tables follow */
struct viv_acpi_pointer {
    uint32_t at;
    uint8_t size;
};
struct viv_acpi_sum {
    uint32_t start, len, at; /* bytes that sum to 0 thanks to the one at `at` */
};
struct viv_acpi_links {
    struct viv_acpi_pointer pointers[32];
    struct viv_acpi_sum sums[16];
    unsigned pointer_count, sum_count;
};

/* Builds everything for address `base` (16-byte aligned), the RSDP at its start. -ENOSPC when it takes more than
 * `max` bytes. Result g_malloc'ed. `links` may be NULL; with base 0 pointers are offsets. */
int viv_acpi_build(const struct viv_acpi_info *info, uint32_t base, size_t max, uint8_t **out, size_t *len,
                   struct viv_acpi_links *links, struct viv_err *err);
/* The same as firmware takes it: the files etc/acpi/rsdp, etc/acpi/tables, and the script that joins them. */
struct viv_acpi_files {
    uint8_t *blob, *script; /* g_free; the blob is both files, one after the other */
    size_t blob_len, script_len;
};
int viv_acpi_build_files(const struct viv_acpi_info *info, struct viv_acpi_files *out, struct viv_err *err);

#endif
