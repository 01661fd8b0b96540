/* What firmware is told through fw_cfg. */
#include "machine/bios.h"

#include "base/bytes.h"
#include "base/units.h"
#include "bus/bootorder.h"
#include "dev/misc/fw_cfg.h"
#include "host/datadir.h"
#include "machine/smbios.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define IRQ0_OVERRIDE 0x8002 /* the timer is on pin 2 of the I/O APIC */
#define SPLASH_MAX    (16 * VIV_MIB)
#define ROM_MAX       (128 * VIV_KIB)

static int add(struct viv_dev *d, const char *name, const void *data, size_t len, struct viv_err *err)
{
    return viv_fw_cfg_add_file(d, name, data, len, NULL, err);
}

static void range(GByteArray *a, uint64_t base, uint64_t size, uint32_t type)
{
    uint8_t e[20];

    if (!size)
        return;
    viv_st_le64(e, base);
    viv_st_le64(e + 8, size);
    viv_st_le32(e + 16, type);
    g_byte_array_append(a, e, sizeof(e));
}

/* RAM as the board has it; the firmware itself takes out what it uses. */
static int add_memory(const struct viv_firmware_config *c, struct viv_dev *d, struct viv_err *err)
{
    g_autoptr(GByteArray) map = g_byte_array_new();
    uint8_t end[8];
    int r;

    range(map, VIV_KVM_PAGES, VIV_KVM_PAGES_END - VIV_KVM_PAGES, VIV_E820_RESERVED);
    range(map, 0, c->low_end, VIV_E820_RAM);
    range(map, 4 * VIV_GIB, c->high_size, VIV_E820_RAM);
    r = add(d, "etc/e820", map->data, map->len, err);
    viv_st_le64(end, c->acpi.pci64_first); /* 64-bit BARs from here on, as the DSDT says */
    return r ? r : add(d, "etc/reserved-memory-end", end, sizeof(end), err);
}

static int add_smbios(const struct viv_firmware_config *c, struct viv_dev *d, struct viv_err *err)
{
    g_autofree uint8_t *blob = NULL;
    size_t len;
    int r = viv_firmware_smbios(c, 0, 64 * VIV_KIB, &blob, &len, err);

    if (!r)
        r = add(d, "etc/smbios/smbios-anchor", blob, VIV_SMBIOS_ENTRY_28, err);
    return r ? r : add(d, "etc/smbios/smbios-tables", blob + VIV_SMBIOS_ENTRIES, len - VIV_SMBIOS_ENTRIES, err);
}

int viv_bios_add_bootorder(const struct viv_machine_config *cfg, struct viv_dev *fw_cfg, struct viv_err *err)
{
    g_autofree char *order = viv_bootorder_text(cfg->boot && viv_opts_bool(cfg->boot, "strict"));

    return add(fw_cfg, "bootorder", order, *order ? strlen(order) + 1 : 0, err);
}

/* SeaBIOS finds out by the name what it is. */
static int add_splash(const char *path, struct viv_dev *d, struct viv_err *err)
{
    g_autofree uint8_t *data = NULL;
    const char *name = NULL;
    size_t len;
    int r = viv_datadir_read(path, SPLASH_MAX, &data, &len, err);

    if (!r && len > 2)
        name = !memcmp(data, "BM", 2) ? "bootsplash.bmp" : !memcmp(data, "\xff\xd8", 2) ? "bootsplash.jpg" : NULL;
    if (!r && !name)
        r = viv_fail(err, EINVAL, "%s is neither a JPEG file nor a BMP file", path);
    if (!r)
        r = add(d, name, data, len, err);
    if (r)
        viv_err_prefix(err, "-boot splash");
    return r;
}

static int add_boot(const struct viv_machine_config *cfg, struct viv_dev *d, struct viv_err *err)
{
    struct viv_opts *boot = cfg->boot;
    uint8_t wait[4];
    int r = viv_bios_add_bootorder(cfg, d, err);

    viv_fw_cfg_add_u16(d, VIV_FW_CFG_BOOT_MENU, boot && viv_opts_bool(boot, "menu"));
    if (!r && boot && viv_opts_given(boot, "splash-time")) {
        viv_st_le16(wait, (uint16_t)viv_opts_int(boot, "splash-time"));
        r = add(d, "etc/boot-menu-wait", wait, 2, err);
    }
    if (!r && boot && viv_opts_str(boot, "splash"))
        r = add_splash(viv_opts_str(boot, "splash"), d, err);
    viv_st_le32(wait, boot ? (uint32_t)viv_opts_int(boot, "reboot-timeout") : UINT32_MAX);
    return r ? r : add(d, "etc/boot-fail-wait", wait, 4, err);
}

/* Without a screen the firmware's text goes to the first serial port, and keys come from there. */
static int add_console(const struct viv_machine_config *cfg, struct viv_dev *d, struct viv_err *err)
{
    uint8_t port[2];

    viv_fw_cfg_add_u16(d, VIV_FW_CFG_NOGRAPHIC, cfg->nographic);
    if (!cfg->nographic || !cfg->serial_count || !cfg->serial[0])
        return 0;
    viv_st_le16(port, 0x3f8);
    return add(d, "etc/sercon-port", port, sizeof(port), err);
}

static int add_option_roms(const struct viv_machine_config *cfg, struct viv_dev *d, struct viv_err *err)
{
    for (const char *const *p = cfg->option_roms; p && *p; p++) {
        g_autofree char *base = g_path_get_basename(*p), *name = g_strdup_printf("genroms/%s", base);
        g_autofree uint8_t *data = NULL;
        size_t len;
        int r = viv_datadir_read(*p, ROM_MAX, &data, &len, err);

        if (!r && viv_fw_cfg_has_file(d, name))
            r = viv_fail(err, EEXIST, "%s: there is one of that name already, and the firmware knows them by it: give the file another", *p);
        if (!r)
            r = add(d, name, data, len, err);
        if (r) {
            viv_err_prefix(err, "-option-rom");
            return r;
        }
    }
    return 0;
}

int viv_bios_add_files(const struct viv_firmware_config *c, struct viv_dev *fw_cfg, struct viv_err *err)
{
    int r = add_memory(c, fw_cfg, err);

    if (!r && c->with_acpi)
        r = viv_bios_add_acpi(c, fw_cfg, err);
    if (!r)
        r = add_smbios(c, fw_cfg, err);
    if (!r)
        r = add_boot(c->cfg, fw_cfg, err);
    if (!r)
        r = add_console(c->cfg, fw_cfg, err);
    if (!r)
        r = add_option_roms(c->cfg, fw_cfg, err);
    if (!r)
        r = viv_bios_add_kernel(c->cfg, fw_cfg, err);
    viv_fw_cfg_add_u32(fw_cfg, IRQ0_OVERRIDE, 1);
    return r;
}
