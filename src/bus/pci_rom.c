/* Expansion ROMs (PCI 3.0, 6.2.5.2): a file as a memory BAR at 30h, which firmware copies and runs. */
#include "bus/pci_int.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "host/datadir.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define ROM_MAX  (16 * VIV_MIB) /* the register could ask for that much and no more (6.2.5.2) */
#define ROM_UNIT 2048u

static uint64_t rom_size(size_t len)
{
    uint64_t size = ROM_UNIT;

    while (size < len)
        size <<= 1;
    return size;
}

/* A ROM can serve several functions of its vendor, but firmware runs it only for the one whose ids its header has (PCI
 * 3.0, 6.3.1.2): iPXE's for virtio-net names the modern device, and a transitional one has another id. So the first
 * image, if it is code for PCs, gets ours; byte 6, which the header leaves to the code, keeps the sum at 0. */
static void match_ids(const struct viv_pci_dev *d, uint8_t *p, size_t len)
{
    size_t at = len >= 0x1a ? viv_ld_le16(p + 0x18) : len;

    if (at + 24 > len || p[0] != 0x55 || p[1] != 0xaa || memcmp(p + at, "PCIR", 4) || p[at + 0x14] != 0)
        return;
    if (memcmp(p + at + 4, d->config + PCI_VENDOR_ID, 2)) {
        viv_log(VIV_LOG_PCI, "%s: its ROM is for another vendor's devices", d->dev.path);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        p[6] = (uint8_t)(p[6] + p[at + 6 + i] - d->config[PCI_DEVICE_ID + i]);
        p[at + 6 + i] = d->config[PCI_DEVICE_ID + i];
    }
}

static int add_rom(struct viv_pci_dev *d, const uint8_t *data, size_t len, struct viv_err *err)
{
    uint64_t size = rom_size(len);
    struct viv_region_desc desc = {.kind = VIV_REGION_ROM, .size = size};
    int r;

    desc.name = g_strdup_printf("%s/rom", d->dev.path);
    r = viv_ram_new(desc.name, MAX(size, VIV_PAGE_SIZE), &desc.ram, err);
    if (r < 0) {
        g_free((char *)desc.name);
        return r;
    }
    desc.ram->keeps = true;
    d->rom_ram = desc.ram;
    memcpy(desc.ram->hva, data, len);
    match_ids(d, desc.ram->hva, len);
    viv_ram_written(desc.ram->hva, len);
    d->rom = viv_region_new(d->dev.board->mem, &desc);
    d->rom_size = (uint32_t)size;
    viv_st_le32(d->wmask + PCI_ROM, (uint32_t)~(size - 1) | PCI_ROM_ENABLE);
    return 0;
}

void viv_pci_rom_fini(struct viv_pci_dev *d)
{
    const char *name = d->rom_ram ? d->rom_ram->name : NULL;

    viv_region_free(d->rom);
    viv_ram_release(d->rom_ram); /* saved state lists all blocks: this one is no part of the machine any more */
    g_free((char *)name);
    d->rom = NULL;
    d->rom_ram = NULL;
}

int viv_pci_rom_init(struct viv_pci_dev *d, const char *standard, struct viv_opts *opts, struct viv_err *err)
{
    const char *told = viv_opts_str(opts, "romfile"), *what = viv_opts_what(opts);
    const char *name = told ? told : d->dev.board->runs_firmware ? standard : NULL;
    bool bar = viv_opts_int(opts, "rombar") != 0;
    struct viv_err why = VIV_ERR_INIT;
    g_autofree uint8_t *data = NULL;
    size_t len = 0;
    int r;

    if (told && *told && !bar)
        return viv_fail(err, EINVAL, "%s: rombar=0 means no expansion ROM, so romfile=%s cannot be seen; leave one out",
                        what, told);
    if (!name || !*name || !bar)
        return 0;
    r = viv_datadir_read(name, ROM_MAX, &data, &len, &why);
    if (r == -ENOENT && !told) {
        viv_warn("%s: %s; it goes without its expansion ROM", d->dev.path, why.text);
        return 0;
    }
    if (r < 0)
        return viv_fail(err, -r, "%s: romfile=%s: %s", what, name, why.text);
    return add_rom(d, data, len, err);
}

uint64_t viv_pci_rom_addr(const struct viv_pci_dev *d)
{
    uint32_t v = viv_ld_le32(d->config + PCI_ROM), addr = v & ~(d->rom_size - 1);

    if (viv_pci_asleep(d) || !(viv_ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_MEM) || !(v & PCI_ROM_ENABLE))
        return VIV_PCI_UNMAPPED;
    if (!addr || addr + (d->rom_size - 1) == UINT32_MAX || !viv_pci_reachable(d, false, addr, addr + (d->rom_size - 1)))
        return VIV_PCI_UNMAPPED;
    return addr;
}
