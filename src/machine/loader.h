/* -kernel: puts an operating system's image, its command line and initrd into guest RAM and says how to enter it.
 *
 * Three kinds are known: Linux bzImage (boot protocol 2.00+, entered in 64-bit mode where the kernel allows it), ELF
 * with a PVH note, multiboot 1. Image files are hostile: every size and offset is checked against file and RAM.
 * Nothing of a file is kept in memory: at a reset it is read again. */
#ifndef VIV_MACHINE_LOADER_H
#define VIV_MACHINE_LOADER_H

#include "base/err.h"
#include "mem/space.h"

#include <stdbool.h>
#include <stdint.h>

enum { VIV_E820_RAM = 1, VIV_E820_RESERVED = 2, VIV_E820_ACPI = 3 };

struct viv_e820 {
    uint64_t base, len;
    uint32_t type;
};

#define VIV_E820_MAX 16

struct viv_boot_info {
    struct viv_space *mem;
    struct viv_e820 map[VIV_E820_MAX];
    unsigned map_count;
    uint64_t low_end;  /* RAM goes from 0 to here, below 4 GiB */
    uint32_t rsdp;     /* 0: no ACPI */
    bool no_long_mode; /* the CPUs are 32-bit ones */
    bool vga_text;     /* a VGA is in mode 3, 80 by 25 */
    const char *kernel, *initrd, *append; /* paths and text; the last two may be NULL */
    struct _GHashTable *files;            /* path: descriptor, kept open: a reset loads what the start did. NULL: nothing is kept */
};

enum viv_boot_kind { VIV_BOOT_NONE, VIV_BOOT_LINUX64, VIV_BOOT_LINUX32, VIV_BOOT_PVH, VIV_BOOT_MULTIBOOT };

/* How the boot CPU starts. */
struct viv_boot_entry {
    enum viv_boot_kind kind;
    uint64_t rip;
    uint64_t info; /* boot_params, hvm_start_info or multiboot info */
};

/* Board code, device lock held or before threads start; reads files (blocks). */
int viv_boot_load(const struct viv_boot_info *info, struct viv_boot_entry *out, struct viv_err *err);

struct viv_x86;
/* Sets the registers of a freshly reset CPU for the entry. */
void viv_boot_set_cpu(struct viv_x86 *c, const struct viv_boot_entry *e);

#endif
