/* ELF program headers, as far as loading a kernel needs them (System V ABI, chapter 5). */
#include "machine/loader_int.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define MAX_PHNUM 64
#define EM_386    3
#define EM_X86_64 62

bool viv_elf_probe(const uint8_t *head, size_t len)
{
    return len >= 20 && !memcmp(head, "\177ELF", 4);
}

int viv_elf_open(const struct viv_boot_file *f, struct viv_elf *e, struct viv_err *err)
{
    uint8_t h[64] = {0};
    int ret = viv_boot_pread(f, 0, h, 52, err);
    uint16_t machine, phentsize;

    if (ret)
        return ret;
    e->is64 = h[4] == 2;
    if (e->is64 && (ret = viv_boot_pread(f, 0, h, 64, err)))
        return ret;
    machine = viv_ld_le16(h + 18);
    if (h[5] != 1 || (h[4] != 1 && h[4] != 2) || (machine != EM_386 && machine != EM_X86_64))
        return viv_fail(err, ENOEXEC, "-kernel %s: an ELF file, but not for x86", f->path);
    e->entry = e->is64 ? viv_ld_le64(h + 24) : viv_ld_le32(h + 24);
    e->phoff = e->is64 ? viv_ld_le64(h + 32) : viv_ld_le32(h + 28);
    phentsize = viv_ld_le16(h + (e->is64 ? 54 : 42));
    e->phnum = viv_ld_le16(h + (e->is64 ? 56 : 44));
    if (phentsize != (e->is64 ? 56 : 32) || e->phnum == 0 || e->phnum > MAX_PHNUM)
        return viv_fail(err, ENOEXEC, "-kernel %s: ELF file without program headers that can be loaded",
                        f->path);
    return 0;
}

int viv_elf_ph(const struct viv_boot_file *f, const struct viv_elf *e, unsigned n, struct viv_elf_ph *ph,
               struct viv_err *err)
{
    uint8_t p[56];
    size_t size = e->is64 ? 56 : 32;
    uint64_t off;
    int ret;

    if (!viv_add_u64(e->phoff, n * size, &off))
        return viv_fail(err, ENOEXEC, "-kernel %s: ELF program headers lie outside the file", f->path);
    ret = viv_boot_pread(f, off, p, size, err);
    if (ret)
        return ret;
    ph->type = viv_ld_le32(p);
    if (e->is64) {
        ph->offset = viv_ld_le64(p + 8);
        ph->vaddr = viv_ld_le64(p + 16);
        ph->paddr = viv_ld_le64(p + 24);
        ph->filesz = viv_ld_le64(p + 32);
        ph->memsz = viv_ld_le64(p + 40);
        ph->align = viv_ld_le64(p + 48);
    } else {
        ph->offset = viv_ld_le32(p + 4);
        ph->vaddr = viv_ld_le32(p + 8);
        ph->paddr = viv_ld_le32(p + 12);
        ph->filesz = viv_ld_le32(p + 16);
        ph->memsz = viv_ld_le32(p + 20);
        ph->align = viv_ld_le32(p + 28);
    }
    if (ph->filesz > ph->memsz && ph->type == VIV_PT_LOAD)
        return viv_fail(err, ENOEXEC, "-kernel %s: ELF segment %u is larger in the file than in memory",
                        f->path, n);
    return 0;
}

static int load_segment(struct viv_loader *l, const struct viv_elf_ph *ph, struct viv_err *err)
{
    int ret = viv_loader_take(l, ph->paddr, ph->memsz, "ELF segment", err);

    if (!ret)
        ret = viv_loader_read(l, &l->kernel, ph->offset, ph->paddr, ph->filesz, err);
    if (!ret)
        ret = viv_loader_zero(l, ph->paddr + ph->filesz, ph->memsz - ph->filesz, err);
    return ret;
}

/* `ld -Ttext=0x100000` puts the file's headers into a segment of their own, the page below: where a PC has its BIOS. No kernel looks
 * for them there. */
static bool is_headers(const struct viv_elf_ph *ph)
{
    return !ph->offset && ph->memsz <= VIV_PAGE_SIZE && ph->paddr >= 0xc0000 && ph->paddr <= VIV_MIB - ph->memsz;
}

int viv_elf_load(struct viv_loader *l, struct viv_elf *e, struct viv_err *err)
{
    e->low = UINT64_MAX;
    e->high = 0;
    for (unsigned i = 0; i < e->phnum; i++) {
        struct viv_elf_ph ph;
        int ret = viv_elf_ph(&l->kernel, e, i, &ph, err);

        if (!ret && ph.type == VIV_PT_LOAD && ph.memsz && !is_headers(&ph)) {
            ret = load_segment(l, &ph, err);
            e->low = MIN(e->low, ph.paddr);
            e->high = MAX(e->high, ph.paddr + ph.memsz);
        }
        if (ret)
            return ret;
    }
    if (!e->high)
        return viv_fail(err, ENOEXEC, "-kernel %s: ELF file with nothing to load", l->kernel.path);
    return 0;
}
