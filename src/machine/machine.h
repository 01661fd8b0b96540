/* Boards: the only place that wires CPUs, memory, buses, devices and firmware together. */
#ifndef VIV_MACHINE_MACHINE_H
#define VIV_MACHINE_MACHINE_H

#include "accel/accel.h"
#include "base/byname.h"
#include "base/err.h"
#include "bus/dev.h"
#include "opt/opt.h"

#define VIV_FLASH_CHIPS    2
#define VIV_PARALLEL_PORTS 3

struct viv_smp {
    unsigned cpus, maxcpus, sockets, dies, cores, threads;
};

/* Everything the command line says about the machine. Strings owned by whoever filled it; lives as long as
 * the VM. */
struct viv_machine_config {
    const struct viv_machine_class *cls;
    struct viv_opts *machine_opts;
    struct viv_smp smp;
    uint64_t ram_bytes;
    struct viv_mem_backend *memory; /* where it lies; NULL: nobody said */
    const char *cpu; /* "-cpu" text, NULL: default of machine and accelerator */
    const char *const *accels; /* each -accel, ending with NULL; NULL: automatic */
    const char *kernel, *initrd, *append, *dtb;
    const char *bios;
    const char *pflash[VIV_FLASH_CHIPS]; /* ids of drives: firmware's code, its variables; NULL: none */
    const char *const *option_roms; /* each -option-rom, ending with NULL; NULL: none */
    struct viv_opts *boot;          /* viv_boot_opts, NULL: nothing said */
    const char *const *fw_cfg;      /* each -fw_cfg, ending with NULL; NULL: none */
    struct viv_smbios_given *smbios; /* each -smbios; NULL: none */
    const char *name; /* -name */
    uint8_t uuid[16];
    bool uuid_set;
    const char *disks; /* what was said about drives, as one text: a VM without name and uuid is known by it; NULL: nothing */
    struct viv_opts *rtc; /* base=utc|localtime|date, clock=, driftfix= */
    struct viv_chr *serial[4]; /* NULL: none */
    unsigned serial_count;
    struct viv_chr *parallel[VIV_PARALLEL_PORTS]; /* NULL: none */
    bool nographic; /* no screen: the firmware's text goes to the serial port */
    bool no_hpet, no_acpi;
    bool no_fd_bootchk;
    bool cpu_32bit;      /* qemu-system-i386: every CPU model without long mode */
    bool cpu_is_default; /* nobody said -cpu: features it has to do without are no news */
    bool incoming;       /* -incoming: what runs comes from a saved state */
};

enum viv_floppy_place { VIV_FLOPPY_NONE, VIV_FLOPPY_ON_REQUEST, VIV_FLOPPY_BUILT_IN };

struct viv_machine_class {
    const char *name; /* "pc" */
    const char *const *aliases; /* "pc-i440fx-7.2", ... */
    const char *const *versions; /* what else QEMU and distributions call it: "ubuntu"; ending with '-': and a version */
    const char *desc;
    const char *default_nic; /* model for -nic / -net without one */
    const char *const *usb;  /* its USB controller, as after -device, ending with NULL; NULL: none can be had */
    const struct viv_opt_def *props;
    unsigned max_cpus; /* 0: it has none, and RAM only if somebody says how much */
    bool pc;  /* runs a PC's firmware, and has the chips that firmware and -no-hpet mean */
    bool smm; /* its chipset has SMRAM and raises SMIs */
    enum viv_floppy_place floppy;  /* its diskette controller */
    unsigned ide_buses, ide_units; /* of its own controller, and drives on each; 0: none */
    /* Builds RAM, chips and buses into *board (zeroed by the caller except intc), before -device. */
    int (*build)(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);
    /* After all -device: firmware tables, kernel loading. */
    int (*finish)(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err);
    /* After devices and vCPUs were reset: puts the boot state (kernel entry registers) in place. */
    void (*reset)(const struct viv_machine_config *cfg, struct viv_board *board);
    /* Has the guest told the firmware that it wants to go on after a reset of the CPUs? Then nothing else is reset. May be NULL. */
    bool (*resumes)(struct viv_board *board);
    /* Presses the power button. -ENOTSUP where there is none. */
    int (*powerdown)(struct viv_board *board);
} VIV_BY_NAME;

/* -fw_cfg, once the board is finished. */
int viv_machine_add_fw_cfg(const struct viv_machine_config *cfg, struct viv_err *err);
extern const struct viv_opt_def viv_fw_cfg_opts[]; /* "name" without a key */

/* From now on what would go to the I/O APIC's pins (n) goes there; NULL: to the I/O APIC. One that is made here, not the kernel's. */
void viv_board_watch_ioapic(viv_irq_fn fn, void *opaque);

const struct viv_machine_class *viv_machine_find(const char *name);
/* By a version's name, "pc-q35-9.2+pve0": there is one version here, of the aliases' names. */
const struct viv_machine_class *viv_machine_of_version(const char *name);
const struct viv_machine_class *const *viv_machines(void); /* NULL-terminated; first is the default */

#endif
