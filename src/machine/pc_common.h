/* What pc and q35 have in common: RAM, firmware, the legacy chips, CMOS, fw_cfg. A board fills in its chipset. */
#ifndef VIV_MACHINE_PC_COMMON_H
#define VIV_MACHINE_PC_COMMON_H

#include "machine/board_int.h"

struct viv_pc;

struct viv_pc_chipset {
    const char *isa_at;  /* the ISA bridge, as boot paths name it */
    bool floppy;         /* has a diskette controller without being asked */
    const char *product; /* what SMBIOS calls the machine */
    struct viv_ram_split split;
    uint64_t pci_first;      /* 32-bit PCI memory without firmware, at the earliest */
    uint64_t pci_first_bios; /* where SeaBIOS begins with it */
    const uint8_t *pirq_line; /* ISA line of each PIRQ where the 8259s are used */
    const uint8_t *pirq_pin;  /* and its pin of the I/O APIC */
    int (*add)(struct viv_pc *pc, struct viv_board *board, struct viv_err *err); /* host bridge, south bridge, what is in it */
    /* What the tables say of it. */
    void (*describe)(struct viv_pc *pc, struct viv_acpi_info *info);
    /* The same after firmware has run: where it put things, as far as it did. */
    void (*placed)(struct viv_pc *pc, struct viv_acpi_info *info);
    /* After a reset, without firmware: what a BIOS leaves in the chipset; with it: ACPI mode. */
    void (*setup)(struct viv_pc *pc, struct viv_board *board);
    void (*acpi_mode)(struct viv_pc *pc);
    int (*add_files)(struct viv_pc *pc, struct viv_err *err); /* in fw_cfg, for firmware; or NULL */
};

struct viv_pc {
    const struct viv_machine_config *cfg;
    const struct viv_pc_chipset *chip;
    struct viv_board_ram ram;
    struct viv_dev *bridge, *south; /* host bridge; the function with power management, NULL: acpi=off */
    struct viv_dev *rtc, *fw_cfg;
    struct viv_firmware *firmware; /* NULL: the ROM runs */
    struct viv_bios_tables *tables;
    bool bios, started;
    bool acpi, hpet, pit, i8042;
};

/* A BOOL of -machine that is on unless it was said to be off. */
bool viv_pc_has(const struct viv_machine_config *cfg, const char *key);
/* The functions of the machine's class; `build` by the board, which says its chipset. */
int viv_pc_build(const struct viv_pc_chipset *chip, const struct viv_machine_config *cfg, struct viv_board *board,
                 struct viv_err *err);
int viv_pc_finish(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);
void viv_pc_reset(const struct viv_machine_config *cfg, struct viv_board *board);
bool viv_pc_resumes(struct viv_board *board);

#define VIV_PC_PROPS                                                                                                          \
    VIV_BOARD_PROPS,                                                                                                          \
        {.name = "acpi", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "ACPI tables and power management"},        \
        {.name = "pit", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "8254 timer (auto: on)"},                    \
        {.name = "i8042", .type = VIV_OPT_BOOL, .def = "on", .help = "PS/2 keyboard and mouse"},                              \
    {                                                                                                                         \
        .name = "hpet", .type = VIV_OPT_BOOL, .def = "on", .help = "high precision event timer"                               \
    }

#endif
