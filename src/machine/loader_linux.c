/* Linux bzImage (Documentation/arch/x86/boot.rst). Entered in 64-bit mode where xloadflags say so, else by the
 * 32-bit protocol; the real-mode part of the file is never run. */
#include "machine/loader_int.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* Offsets in the file and in boot_params alike. */
enum {
    BP_VIDEO_MODE = 0x006, BP_VIDEO_COLS = 0x007, BP_VIDEO_EGA_BX = 0x00a, BP_VIDEO_LINES = 0x00e, BP_VIDEO_IS_VGA = 0x00f,
    BP_VIDEO_POINTS = 0x010, BP_ACPI_RSDP = 0x070, BP_ALT_MEM_K = 0x1e0, BP_E820_ENTRIES = 0x1e8, BP_HDR = 0x1f1,
    BP_SETUP_SECTS = 0x1f1, BP_VID_MODE = 0x1fa, BP_BOOT_FLAG = 0x1fe, BP_HDR_LEN = 0x201, BP_MAGIC = 0x202,
    BP_VERSION = 0x206, BP_TYPE_OF_LOADER = 0x210, BP_LOADFLAGS = 0x211, BP_CODE32_START = 0x214,
    BP_RAMDISK_IMAGE = 0x218, BP_RAMDISK_SIZE = 0x21c, BP_CMD_LINE_PTR = 0x228, BP_INITRD_MAX = 0x22c,
    BP_KERNEL_ALIGN = 0x230, BP_RELOCATABLE = 0x234, BP_XLOADFLAGS = 0x236, BP_CMDLINE_SIZE = 0x238,
    BP_PREF_ADDRESS = 0x258, BP_INIT_SIZE = 0x260, BP_E820_TABLE = 0x2d0,

    LOADED_HIGH = 1 << 0, XLF_KERNEL_64 = 1 << 0, NORMAL_VGA = 0xffff,
};

struct bzimage {
    uint8_t params[4096]; /* becomes boot_params */
    uint16_t version;
    bool entry64;
    uint64_t payload_off, payload_len; /* in the file */
    uint64_t load_addr, init_size;
    uint32_t initrd_max, cmdline_max;
};

static int parse(struct viv_loader *l, const uint8_t *head, struct bzimage *k, struct viv_err *err)
{
    unsigned sects = head[BP_SETUP_SECTS] ? head[BP_SETUP_SECTS] : 4;
    size_t hdr_end = 0x202u + head[BP_HDR_LEN];

    k->version = viv_ld_le16(head + BP_VERSION);
    if (k->version < 0x200 || !(head[BP_LOADFLAGS] & LOADED_HIGH))
        return viv_fail(err, ENOEXEC, "-kernel %s: a zImage or boot protocol %u.%02u; a bzImage (2.00 or later, loaded "
                        "high) is needed", l->kernel.path, k->version >> 8, k->version & 0xffu);
    memcpy(k->params + BP_HDR, head + BP_HDR, hdr_end - BP_HDR);
    /* Fields that the header of an older kernel does not have must read as 0. */
    k->payload_off = (sects + 1) * 512u;
    if (k->payload_off >= l->kernel.size)
        return viv_fail(err, ENOEXEC, "-kernel %s: bzImage is truncated", l->kernel.path);
    k->payload_len = l->kernel.size - k->payload_off;
    k->entry64 = k->version >= 0x20c && (viv_ld_le16(k->params + BP_XLOADFLAGS) & XLF_KERNEL_64);
    if (k->entry64 && l->info->no_long_mode)
        return viv_fail(err, ENOEXEC, "-kernel %s: a 64-bit kernel, and the CPU has no long mode; run it as "
                        "qemu-system-x86_64 or with a -cpu that has lm", l->kernel.path);
    k->initrd_max = k->version >= 0x203 ? viv_ld_le32(k->params + BP_INITRD_MAX) : 0x37ffffff;
    k->cmdline_max = k->version >= 0x206 ? viv_ld_le32(k->params + BP_CMDLINE_SIZE) : 255;
    k->load_addr = VIV_MIB;
    k->init_size = k->payload_len;
    if (k->version >= 0x20a) {
        k->init_size = MAX(k->init_size, viv_ld_le32(k->params + BP_INIT_SIZE));
        if (k->params[BP_RELOCATABLE] || k->entry64)
            k->load_addr = viv_ld_le64(k->params + BP_PREF_ADDRESS);
    }
    if (k->entry64 && k->payload_len < 0x201)
        return viv_fail(err, ENOEXEC, "-kernel %s: bzImage is truncated", l->kernel.path);
    if (k->load_addr > UINT32_MAX - 0x200)
        return viv_fail(err, ENOEXEC, "-kernel %s: prefers to be loaded above 4 GiB", l->kernel.path);
    return 0;
}

static int load_initrd(struct viv_loader *l, struct bzimage *k, struct viv_err *err)
{
    struct viv_boot_file f;
    uint64_t gpa;
    int ret = viv_boot_open(&f, l->info->files, "-initrd", l->info->initrd, err);

    if (ret)
        return ret;
    gpa = f.size && f.size <= UINT32_MAX ? viv_loader_find_high(l, f.size, (uint64_t)k->initrd_max + 1) : 0;
    if (!f.size)
        ret = viv_fail(err, ENOEXEC, "-initrd %s: the file is empty; leave out -initrd for none", f.path);
    else if (!gpa)
        ret = viv_fail(err, ENOMEM, "-initrd %s: %" G_GUINT64_FORMAT " bytes do not fit into guest RAM beside the "
                       "kernel (below 0x%x)", f.path, f.size, k->initrd_max);
    if (!ret)
        ret = viv_loader_take(l, gpa, f.size, "initrd", err);
    if (!ret)
        ret = viv_loader_read(l, &f, 0, gpa, f.size, err);
    viv_st_le32(k->params + BP_RAMDISK_IMAGE, (uint32_t)gpa);
    viv_st_le32(k->params + BP_RAMDISK_SIZE, (uint32_t)f.size);
    viv_boot_close(&f);
    return ret;
}

static void fill_e820(const struct viv_boot_info *info, uint8_t *params)
{
    params[BP_E820_ENTRIES] = (uint8_t)info->map_count;
    for (unsigned i = 0; i < info->map_count; i++) {
        uint8_t *e = params + BP_E820_TABLE + 20 * i;

        viv_st_le64(e, info->map[i].base);
        viv_st_le64(e + 8, info->map[i].len);
        viv_st_le32(e + 16, info->map[i].type);
    }
    viv_st_le32(params + BP_ALT_MEM_K, (uint32_t)((info->low_end - VIV_MIB) / VIV_KIB));
}

/* screen_info, as the kernel's own real-mode part would have it of the BIOS. All 0: no screen. */
static void fill_screen(uint8_t *params)
{
    params[BP_VIDEO_MODE] = 3;
    params[BP_VIDEO_COLS] = 80;
    params[BP_VIDEO_LINES] = 25;
    viv_st_le16(params + BP_VIDEO_EGA_BX, 3); /* colour, 256 KiB */
    params[BP_VIDEO_IS_VGA] = 1;
    viv_st_le16(params + BP_VIDEO_POINTS, 16);
}

static int fill_params(struct viv_loader *l, struct bzimage *k, struct viv_err *err)
{
    uint64_t cmdline;
    int ret = viv_loader_take(l, VIV_BOOT_PARAMS, sizeof(k->params), "boot_params", err);

    if (!ret)
        ret = viv_loader_cmdline(l, l->info->append ? l->info->append : "", k->cmdline_max, &cmdline, err);
    if (!ret && l->info->initrd)
        ret = load_initrd(l, k, err);
    if (ret)
        return ret;
    k->params[BP_TYPE_OF_LOADER] = 0xff; /* no assigned number */
    viv_st_le16(k->params + BP_VID_MODE, NORMAL_VGA);
    viv_st_le32(k->params + BP_CMD_LINE_PTR, (uint32_t)cmdline);
    viv_st_le32(k->params + BP_CODE32_START, (uint32_t)k->load_addr);
    if (k->version >= 0x20e)
        viv_st_le64(k->params + BP_ACPI_RSDP, l->info->rsdp);
    fill_e820(l->info, k->params);
    if (l->info->vga_text)
        fill_screen(k->params);
    return viv_loader_write(l, VIV_BOOT_PARAMS, k->params, sizeof(k->params), err);
}

int viv_load_linux(struct viv_loader *l, const uint8_t *head, size_t len, struct viv_boot_entry *out,
                   struct viv_err *err)
{
    struct bzimage k = {0};
    int ret;

    if (len < 0x400 || viv_ld_le16(head + BP_BOOT_FLAG) != 0xaa55 || memcmp(head + BP_MAGIC, "HdrS", 4))
        return -ENOEXEC;
    ret = parse(l, head, &k, err);
    if (!ret) /* the kernel decompresses in place: init_size is what it needs from its load address */
        ret = viv_loader_take(l, k.load_addr, k.init_size, "image", err);
    if (!ret)
        ret = viv_loader_read(l, &l->kernel, k.payload_off, k.load_addr, k.payload_len, err);
    if (!ret)
        ret = fill_params(l, &k, err);
    if (ret)
        return ret;
    out->kind = k.entry64 ? VIV_BOOT_LINUX64 : VIV_BOOT_LINUX32;
    out->rip = k.load_addr + (k.entry64 ? 0x200 : 0);
    out->info = VIV_BOOT_PARAMS;
    return 0;
}
