/* -kernel, -initrd and -append for firmware that starts kernels itself (UEFI): keys of fw_cfg. */
#include "machine/bios.h"

#include "base/bytes.h"
#include "dev/misc/fw_cfg.h"
#include "machine/loader_int.h"

#include <glib.h>
#include <string.h>

enum { SETUP_SECTS = 0x1f1, BOOT_FLAG = 0x1fe, MAGIC = 0x202 }; /* Documentation/arch/x86/boot.rst */

static int read_all(const char *option, const char *path, uint8_t **data, uint32_t *len, struct viv_err *err)
{
    struct viv_boot_file f;
    int r = viv_boot_open(&f, NULL, option, path, err);

    if (r < 0)
        return r;
    if (f.size >= UINT32_MAX || !(*data = g_try_malloc(f.size + 1)))
        r = viv_fail(err, ENOMEM, "%s %s: %" G_GUINT64_FORMAT " bytes are too many", option, path, f.size);
    if (!r)
        r = viv_boot_pread(&f, 0, *data, f.size, err);
    *len = (uint32_t)f.size;
    viv_boot_close(&f);
    return r;
}

static void add(struct viv_dev *d, uint16_t size_key, uint16_t data_key, const void *data, uint32_t len)
{
    viv_fw_cfg_add_u32(d, size_key, len);
    viv_fw_cfg_add(d, data_key, data, len);
}

/* A Linux kernel's real-mode part has a key of its own; of other programs (EFI ones) all is kernel. */
static uint32_t setup_bytes(const uint8_t *image, uint32_t len)
{
    uint32_t n;

    if (len < 0x210 || viv_ld_le16(image + BOOT_FLAG) != 0xaa55 || memcmp(image + MAGIC, "HdrS", 4))
        return 0;
    n = ((image[SETUP_SECTS] ? image[SETUP_SECTS] : 4) + 1) * 512u;
    return MIN(n, len);
}

int viv_bios_add_kernel(const struct viv_machine_config *cfg, struct viv_dev *fw_cfg, struct viv_err *err)
{
    g_autofree uint8_t *kernel = NULL, *initrd = NULL;
    const char *append = cfg->append ? cfg->append : "";
    uint32_t len, setup;
    int r;

    if (!cfg->kernel)
        return 0;
    r = read_all("-kernel", cfg->kernel, &kernel, &len, err);
    if (r < 0)
        return r;
    setup = setup_bytes(kernel, len);
    add(fw_cfg, VIV_FW_CFG_SETUP_SIZE, VIV_FW_CFG_SETUP_DATA, kernel, setup);
    add(fw_cfg, VIV_FW_CFG_KERNEL_SIZE, VIV_FW_CFG_KERNEL_DATA, kernel + setup, len - setup);
    add(fw_cfg, VIV_FW_CFG_CMDLINE_SIZE, VIV_FW_CFG_CMDLINE_DATA, append, (uint32_t)strlen(append) + 1);
    if (!cfg->initrd)
        return 0;
    r = read_all("-initrd", cfg->initrd, &initrd, &len, err);
    if (!r)
        add(fw_cfg, VIV_FW_CFG_INITRD_SIZE, VIV_FW_CFG_INITRD_DATA, initrd, len);
    return r;
}
