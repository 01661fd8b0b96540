/* ACPI tables for firmware that runs. It decides by itself where the power management block, configuration space and 64-bit
 * BARs lie, so etc/acpi/tables is made when it is asked for: by then they have their places. Only values change, no lengths: the
 * loader's script is the same. */
#include "machine/bios.h"

#include "base/bytes.h"
#include "base/units.h"
#include "bus/pci.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "dev/misc/fw_cfg.h"

#include <glib.h>
#include <string.h>

#define WINDOW64 (32 * VIV_GIB) /* at least */

struct viv_bios_tables {
    struct viv_firmware_config c;
    uint8_t *blob;
    size_t len;
};

/* ---- what is placed above 4 GiB ---- */

static void include(uint64_t first, uint64_t last, uint64_t *low, uint64_t *high)
{
    if (first < 4 * VIV_GIB || last < first)
        return;
    *low = MIN(*low, first);
    *high = MAX(*high, last);
}

static void include_window(const struct viv_pci_dev *bridge, uint64_t *low, uint64_t *high)
{
    const uint8_t *c = bridge->config; /* PCI-to-PCI Bridge 1.2, 3.2.5.9: prefetchable base and limit, their upper halves */
    uint64_t first = (uint64_t)viv_ld_le32(c + 0x28) << 32 | (uint32_t)(viv_ld_le16(c + 0x24) & 0xfff0) << 16;
    uint64_t last = (uint64_t)viv_ld_le32(c + 0x2c) << 32 | (uint32_t)(viv_ld_le16(c + 0x26) & 0xfff0) << 16 | 0xfffff;

    include(first, last, low, high);
}

/* On the root bus: what is below a bridge lies in its window. False: nothing. */
static bool placed_above_4g(struct viv_pci_bus *root, uint64_t *low, uint64_t *high)
{
    *low = UINT64_MAX;
    *high = 0;
    for (unsigned fn = 0; fn < 256; fn++) {
        struct viv_pci_dev *d = viv_pci_at(root, fn);

        for (unsigned n = 0; d && n < VIV_PCI_BARS; n++) {
            uint64_t base = viv_ld_le64(d->config + 0x10 + 4 * n) & ~15ull;

            if (d->bar[n].mem64)
                include(base, base + d->bar[n].size - 1, low, high);
        }
        if (d && viv_pci_bus_behind(d))
            include_window(d, low, high);
    }
    return *high;
}

/* Firmware has its own idea of where 64-bit BARs belong (OVMF: the last eighth of what the CPU can address). A system would move
 * all of them into a window that is elsewhere. */
static void move_window64(struct viv_pci_bus *root, struct viv_acpi_info *info)
{
    uint64_t low, high, end = 1ull << viv_vcpus[0]->x86->cpuid->phys_bits;

    if (!placed_above_4g(root, &low, &high) || high >= end || (low >= info->pci64_first && high <= info->pci64_last))
        return;
    info->pci64_first = low & ~(VIV_GIB - 1);
    info->pci64_last = MAX(high, MIN(info->pci64_first + WINDOW64, end) - 1);
}

/* ---- files ---- */

static void make(void *opaque)
{
    struct viv_bios_tables *t = opaque;
    struct viv_acpi_info info = t->c.acpi;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_acpi_files f;
    int r;

    t->c.placed(t->c.board, &info);
    move_window64(t->c.board->pci, &info);
    r = viv_acpi_build_files(&info, &f, &err);
    g_assert(!r && f.blob_len == t->len);
    memcpy(t->blob, f.blob, t->len);
    g_free(f.blob);
    g_free(f.script);
}

static int add(struct viv_dev *d, const char *name, const void *data, size_t len, struct viv_err *err)
{
    return viv_fw_cfg_add_file(d, name, data, len, NULL, err);
}

int viv_bios_add_acpi(const struct viv_firmware_config *c, struct viv_dev *d, struct viv_err *err)
{
    struct viv_bios_tables *t = g_new0(struct viv_bios_tables, 1);
    /* S0 and S5 (with its SLP_TYP); neither S3 nor S4 */
    const uint8_t states[6] = {0x80, 0, 0, 0, 0, (uint8_t)(0x80 | c->acpi.s5_type)};
    struct viv_acpi_files f;
    int r;

    *c->tables = t;
    t->c = *c; /* its CPUs are ours */
    viv_firmware_cpus(&t->c.acpi);
    r = viv_acpi_build_files(&t->c.acpi, &f, err);
    if (r < 0)
        return r;
    t->blob = f.blob;
    t->len = f.blob_len;
    r = add(d, "etc/acpi/rsdp", t->blob, VIV_ACPI_RSDP_BYTES, err);
    if (!r)
        r = viv_fw_cfg_add_asked(d, "etc/acpi/tables", t->blob, t->len, make, t, err);
    if (!r)
        r = add(d, "etc/table-loader", f.script, f.script_len, err);
    if (!r)
        r = add(d, "etc/system-states", states, sizeof(states), err);
    g_free(f.script);
    return r;
}
