/* What the boards of this folder share. */
#ifndef VIV_MACHINE_BOARD_INT_H
#define VIV_MACHINE_BOARD_INT_H

#include "machine/firmware.h"
#include "machine/machine.h"

/* Options that every board takes, by QEMU's names. What is not there yet is refused by its schema entry. */
#define VIV_BOARD_PROPS                                                                            \
    {.name = "accel", .type = VIV_OPT_STR, .help = "accelerators to try, in order (kvm:interp)"},  \
        {.name = "kernel_irqchip", .type = VIV_OPT_ENUM, .values = viv_on_off_split,               \
         .help = "interrupt controllers in the kernel (KVM: always on)"},                          \
        {.name = "kernel-irqchip", .type = VIV_OPT_ENUM, .values = viv_on_off_split,               \
         .help = "the same"},                                                                      \
        {.name = "usb", .type = VIV_OPT_BOOL, .help = "USB host controller (the same as -usb)"},           \
        {.name = "dump-guest-core", .type = VIV_OPT_BOOL, .def = "off",                            \
         .help = "guest memory in core dumps of this process"},                                    \
        {.name = "mem-merge", .type = VIV_OPT_BOOL, .help = "same-page merging (off only)"},       \
        {.name = "smm", .type = VIV_OPT_ENUM, .values = viv_on_off_auto,                           \
         .help = "system management mode (auto: on where firmware runs on a software CPU)"},                                    \
        {.name = "vmport", .type = VIV_OPT_ENUM, .values = viv_on_off_auto,                        \
         .help = "VMware's I/O port (off or auto)"},                                               \
        {.name = "graphics", .type = VIV_OPT_BOOL, .def = "on",                                            \
         .help = "off: the firmware's text goes to the serial port, as with -nographic"},          \
        {.name = "suppress-vmdesc", .type = VIV_OPT_BOOL,                                          \
         .help = "of QEMU's saved states; ours have no such description"},                         \
        {.name = "memory-backend", .type = VIV_OPT_STR, .help = "id of a memory-backend object"},    \
        {.name = "pflash0", .type = VIV_OPT_STR, .help = "node of a flash chip with firmware"},          \
        {.name = "pflash1", .type = VIV_OPT_STR, .help = "node of a second one, with its variables"},    \
        {.name = "nvdimm", .type = VIV_OPT_REFUSED, .help = "not there yet"},                      \
        {.name = "max-ram-below-4g", .type = VIV_OPT_REFUSED, .help = "the split is fixed"}, \
        {.name = "igd-passthru", .type = VIV_OPT_REFUSED, .help = "not there"},                    \
        {.name = "firmware", .type = VIV_OPT_REFUSED, .help = "use -bios"},       \
        {.name = "kernel", .type = VIV_OPT_REFUSED, .help = "use -kernel"},                        \
        {.name = "initrd", .type = VIV_OPT_REFUSED, .help = "use -initrd"},                        \
        {.name = "append", .type = VIV_OPT_REFUSED, .help = "use -append"},                        \
        {.name = "pcspk-audiodev", .type = VIV_OPT_REFUSED, .help = "there is no sound yet; leave it out"}

extern const char *const viv_on_off_split[];
extern const char *const viv_on_off_auto[];

/* Refuses values of the options above that cannot be had. */
int viv_board_check(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);

struct viv_board_ram {
    struct viv_ram *ram;
    uint64_t low_end, high_size;
};

/* RAM of at least `from` is split: `low` of it lies below 4 GiB, the rest from there on. */
struct viv_ram_split {
    uint64_t from, low;
};

/* "pc.ram" at 0-9FFFFh, 100000h up to the hole below 4 GiB, and from 4 GiB on. `bios_area`: C0000h-FFFFFh too
 * (boards without shadow RAM registers). */
int viv_board_add_ram(const struct viv_machine_config *cfg, struct viv_board *board, bool bios_area,
                      const struct viv_ram_split *split, struct viv_board_ram *out, struct viv_err *err);

/* All of it from address 0 on. */
int viv_board_add_flat_ram(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);

/* An internal device with options as text, NULL for none. */
int viv_board_add(struct viv_board *board, const char *cls, const char *opts, struct viv_dev **out,
                  struct viv_err *err);
/* COM1-COM4 for the -serial back ends there are. */
int viv_board_add_serials(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);
/* LPT1-LPT3, likewise. */
int viv_board_add_parallels(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);
/* Of -device too: bits, COM1 and LPT1 the lowest. */
unsigned viv_board_com_ports(void);
unsigned viv_board_lpt_ports(void);
/* The real-time clock, with -rtc. */
int viv_board_add_rtc(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_dev **out,
                      struct viv_err *err);
/* Who takes interrupt lines: the accelerator's controllers, or an 8259 pair (`pic`) and an I/O APIC made here.
 * Fills isa_irq and gsi_irq. */
int viv_board_add_irqs(struct viv_board *board, bool pic, struct viv_err *err);

#endif
