/* Shared by the loaders of this folder. */
#ifndef VIV_MACHINE_LOADER_INT_H
#define VIV_MACHINE_LOADER_INT_H

#include "machine/loader.h"

#include <glib.h>
#include <stddef.h>

/* Low memory while a kernel is being entered; it may be overwritten by the guest once it runs. */
#define VIV_BOOT_GDT        0x0600u
#define VIV_BOOT_PARAMS     0x7000u  /* boot_params, hvm_start_info: one page */
#define VIV_BOOT_PVH_LISTS  0x8000u  /* module list and memory map: one page */
#define VIV_BOOT_PAGES      0x9000u  /* PML4, PDPT, four page directories */
#define VIV_BOOT_LOW_FREE   0x9500u  /* multiboot information: where QEMU has it */
#define VIV_BOOT_STACK      0x18000u /* top */
#define VIV_BOOT_CMDLINE    0x20000u
#define VIV_BOOT_CMDLINE_MAX 0x10000u
#define VIV_BOOT_LOW_END    0x9fc00u /* EBDA and video memory follow */

struct viv_boot_file {
    const char *path; /* borrowed */
    const char *option; /* "-kernel", for errors */
    int fd;
    GHashTable *kept; /* whose the descriptor is; NULL: this one's */
    uint64_t size;
};

/* What is being loaded and what RAM it took: no two pieces may overlap. */
struct viv_loader {
    const struct viv_boot_info *info;
    struct viv_boot_file kernel;
    struct {
        uint64_t start, end;
        const char *what;
    } taken[80];
    unsigned taken_count;
};

/* Selector of the flat code segment at entry; data's is the next. Linux's protocol names both; kernels of the others that have no GDT of
 * their own count on 8, the first there is. */
static inline uint16_t viv_boot_code(enum viv_boot_kind kind)
{
    return kind == VIV_BOOT_LINUX64 || kind == VIV_BOOT_LINUX32 ? 0x10 : 0x08;
}

/* kept: see viv_boot_info.files. */
int viv_boot_open(struct viv_boot_file *f, GHashTable *kept, const char *option, const char *path, struct viv_err *err);
void viv_boot_close(struct viv_boot_file *f);
/* Exactly len bytes at off, or an error that names the file. */
int viv_boot_pread(const struct viv_boot_file *f, uint64_t off, void *buf, size_t len, struct viv_err *err);

/* Takes [start, start + len) for `what`: must be RAM and free. */
int viv_loader_take(struct viv_loader *l, uint64_t start, uint64_t len, const char *what,
                    struct viv_err *err);
/* Highest page-aligned free place for len bytes below `limit`; 0: none. */
uint64_t viv_loader_find_high(const struct viv_loader *l, uint64_t len, uint64_t limit);
/* Lowest free place for len bytes in low memory from VIV_BOOT_LOW_FREE on; 0: none. */
uint64_t viv_loader_find_low(const struct viv_loader *l, uint64_t len);
/* File bytes, buffer or zeros into RAM that was taken. */
int viv_loader_read(struct viv_loader *l, const struct viv_boot_file *f, uint64_t off, uint64_t gpa,
                    uint64_t len, struct viv_err *err);
int viv_loader_write(struct viv_loader *l, uint64_t gpa, const void *buf, uint64_t len, struct viv_err *err);
int viv_loader_zero(struct viv_loader *l, uint64_t gpa, uint64_t len, struct viv_err *err);
/* Takes the command line's place and writes it. *gpa 0 without -append. */
int viv_loader_cmdline(struct viv_loader *l, const char *text, uint32_t max, uint64_t *gpa, struct viv_err *err);

/* ELF32 or ELF64, little-endian, for x86. */
struct viv_elf {
    bool is64;
    uint64_t entry;
    uint64_t phoff;
    unsigned phnum;
    uint64_t low, high; /* physical extent of what was loaded */
};

struct viv_elf_ph {
    uint32_t type;
    uint64_t offset, paddr, filesz, memsz, vaddr, align;
};

#define VIV_PT_LOAD 1
#define VIV_PT_NOTE 4

/* False, without an error, when it is no ELF at all. */
bool viv_elf_probe(const uint8_t *head, size_t len);
int viv_elf_open(const struct viv_boot_file *f, struct viv_elf *e, struct viv_err *err);
int viv_elf_ph(const struct viv_boot_file *f, const struct viv_elf *e, unsigned n, struct viv_elf_ph *ph,
               struct viv_err *err);
/* All PT_LOAD segments to their physical addresses; sets low and high. */
int viv_elf_load(struct viv_loader *l, struct viv_elf *e, struct viv_err *err);

/* Each: -ENOEXEC without text when the file is of another kind. `head`: its first bytes. */
int viv_load_linux(struct viv_loader *l, const uint8_t *head, size_t len, struct viv_boot_entry *out,
                   struct viv_err *err);
int viv_load_multiboot(struct viv_loader *l, const uint8_t *head, size_t len,
                       struct viv_boot_entry *out, struct viv_err *err);
int viv_load_pvh(struct viv_loader *l, const uint8_t *head, size_t len, struct viv_boot_entry *out,
                 struct viv_err *err);

#endif
