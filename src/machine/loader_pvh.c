/* An uncompressed kernel entered as a PVH guest (Xen, docs/misc/pvh: x86/HVM direct boot ABI).
 *
 * The ELF note "Xen" type 18 gives a 32-bit physical entry point; EBX points at struct hvm_start_info. */
#include "machine/loader_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define NOTE_PHYS32_ENTRY 18
#define NOTE_BYTES_MAX    65536
#define START_MAGIC       0x336ec578u
#define MODLIST           VIV_BOOT_PVH_LISTS
#define MEMMAP            (VIV_BOOT_PVH_LISTS + 64)

/* Walks the notes of one segment. *entry is set when found. */
static int search_notes(const uint8_t *p, size_t len, uint64_t align, uint32_t *entry, bool *found)
{
    size_t pad = align == 8 ? 8 : 4, at = 0;

    while (len - at >= 12) {
        uint32_t namesz = viv_ld_le32(p + at), descsz = viv_ld_le32(p + at + 4);
        uint32_t type = viv_ld_le32(p + at + 8);
        size_t name = at + 12, desc, next;

        if (namesz > len || descsz > len)
            return -ENOEXEC;
        desc = name + ((namesz + pad - 1) & ~(pad - 1));
        next = desc + ((descsz + pad - 1) & ~(pad - 1));
        if (!viv_range_inside(desc, descsz, len))
            return -ENOEXEC;
        if (type == NOTE_PHYS32_ENTRY && namesz == 4 && !memcmp(p + name, "Xen", 4) && descsz >= 4) {
            *entry = viv_ld_le32(p + desc);
            *found = true;
            return 0;
        }
        at = next;
        if (at > len)
            break;
    }
    return 0;
}

static int find_entry(struct viv_loader *l, const struct viv_elf *e, uint32_t *entry, bool *found,
                      struct viv_err *err)
{
    for (unsigned i = 0; i < e->phnum && !*found; i++) {
        struct viv_elf_ph ph;
        g_autofree uint8_t *notes = NULL;
        int ret = viv_elf_ph(&l->kernel, e, i, &ph, err);

        if (ret)
            return ret;
        if (ph.type != VIV_PT_NOTE)
            continue;
        if (ph.filesz > NOTE_BYTES_MAX)
            return viv_fail(err, ENOEXEC, "-kernel %s: ELF notes of %" G_GUINT64_FORMAT " bytes",
                            l->kernel.path, ph.filesz);
        notes = g_malloc(ph.filesz + 1);
        ret = viv_boot_pread(&l->kernel, ph.offset, notes, ph.filesz, err);
        if (ret)
            return ret;
        if (search_notes(notes, ph.filesz, ph.align, entry, found))
            return viv_fail(err, ENOEXEC, "-kernel %s: broken ELF notes", l->kernel.path);
    }
    return 0;
}

static int load_initrd(struct viv_loader *l, uint8_t *start_info, struct viv_err *err)
{
    struct viv_boot_file f;
    uint8_t mod[32] = {0};
    uint64_t gpa;
    int ret = viv_boot_open(&f, l->info->files, "-initrd", l->info->initrd, err);

    if (ret)
        return ret;
    gpa = f.size ? viv_loader_find_high(l, f.size, UINT32_MAX) : 0;
    if (!f.size)
        ret = viv_fail(err, ENOEXEC, "-initrd %s: the file is empty; leave out -initrd for none", f.path);
    else if (!gpa)
        ret = viv_fail(err, ENOMEM, "-initrd %s: %" G_GUINT64_FORMAT " bytes do not fit into guest RAM",
                       f.path, f.size);
    if (!ret)
        ret = viv_loader_take(l, gpa, f.size, "initrd", err);
    if (!ret)
        ret = viv_loader_read(l, &f, 0, gpa, f.size, err);
    viv_st_le64(mod, gpa);
    viv_st_le64(mod + 8, f.size);
    if (!ret)
        ret = viv_loader_write(l, MODLIST, mod, sizeof(mod), err);
    viv_boot_close(&f);
    viv_st_le32(start_info + 12, 1);
    viv_st_le64(start_info + 16, MODLIST);
    return ret;
}

static int write_memmap(struct viv_loader *l, struct viv_err *err)
{
    const struct viv_boot_info *info = l->info;
    uint8_t map[24 * VIV_E820_MAX] = {0};

    for (unsigned i = 0; i < info->map_count; i++) {
        viv_st_le64(map + 24 * i, info->map[i].base);
        viv_st_le64(map + 24 * i + 8, info->map[i].len);
        viv_st_le32(map + 24 * i + 16, info->map[i].type);
    }
    return viv_loader_write(l, MEMMAP, map, 24u * info->map_count, err);
}

static int write_start_info(struct viv_loader *l, struct viv_err *err)
{
    const struct viv_boot_info *info = l->info;
    uint8_t s[56] = {0};
    uint64_t cmdline;
    int ret = viv_loader_take(l, VIV_BOOT_PARAMS, 2 * VIV_PAGE_SIZE, "PVH start info", err);

    if (!ret)
        ret = viv_loader_cmdline(l, info->append ? info->append : "", UINT32_MAX, &cmdline, err);
    if (!ret && info->initrd)
        ret = load_initrd(l, s, err);
    if (ret)
        return ret;
    viv_st_le32(s, START_MAGIC);
    viv_st_le32(s + 4, 1);
    viv_st_le64(s + 24, cmdline);
    viv_st_le64(s + 32, info->rsdp);
    viv_st_le64(s + 40, MEMMAP);
    viv_st_le32(s + 48, info->map_count);
    ret = write_memmap(l, err);
    return ret ? ret : viv_loader_write(l, VIV_BOOT_PARAMS, s, sizeof(s), err);
}

int viv_load_pvh(struct viv_loader *l, const uint8_t *head, size_t len, struct viv_boot_entry *out,
                 struct viv_err *err)
{
    struct viv_elf e;
    uint32_t entry = 0;
    bool found = false;
    int ret;

    if (!viv_elf_probe(head, len))
        return -ENOEXEC;
    ret = viv_elf_open(&l->kernel, &e, err);
    if (!ret)
        ret = find_entry(l, &e, &entry, &found, err);
    if (!ret && !found)
        return viv_fail(err, ENOEXEC, "-kernel %s: ELF file without a PVH note (XEN_ELFNOTE_PHYS32_ENTRY; Linux: "
                        "CONFIG_PVH=y) and without a multiboot header", l->kernel.path);
    if (!ret)
        ret = viv_elf_load(l, &e, err);
    if (!ret)
        ret = write_start_info(l, err);
    if (ret)
        return ret;
    *out = (struct viv_boot_entry){.kind = VIV_BOOT_PVH, .rip = entry, .info = VIV_BOOT_PARAMS};
    return 0;
}
