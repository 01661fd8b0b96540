#include "machine/firmware.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/vmreq.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

struct viv_firmware {
    const struct viv_machine_config *cfg;
    struct viv_board *board;
    struct viv_boot_info boot;
    struct viv_boot_entry entry;
    bool loaded; /* by viv_firmware_new: the first reset need not do it again */
    uint8_t *acpi, *mp, *smbios;
    size_t acpi_len, mp_len, smbios_len;
    uint64_t uncached; /* the hole below 4 GiB begins here */
    unsigned com_ports;
};

static void add_range(struct viv_boot_info *b, uint64_t base, uint64_t end, uint32_t type)
{
    if (end > base)
        b->map[b->map_count++] = (struct viv_e820){base, end - base, type};
}

static void memory_map(struct viv_firmware *f, const struct viv_firmware_config *c)
{
    struct viv_boot_info *b = &f->boot;

    b->low_end = c->low_end;
    add_range(b, 0, 0x9fc00, VIV_E820_RAM);
    add_range(b, 0x9fc00, 0xa0000, VIV_E820_RESERVED);
    add_range(b, 0xe0000, VIV_MIB, VIV_E820_RESERVED); /* the tables */
    add_range(b, VIV_MIB, c->low_end, VIV_E820_RAM);
    if (c->acpi.ecam_base)
        add_range(b, c->acpi.ecam_base, (uint64_t)c->acpi.ecam_base + VIV_ACPI_ECAM_SIZE, VIV_E820_RESERVED);
    add_range(b, VIV_KVM_PAGES, VIV_KVM_PAGES_END, VIV_E820_RESERVED);
    add_range(b, 0xfffc0000, 4 * VIV_GIB, VIV_E820_RESERVED); /* where firmware is */
    add_range(b, 4 * VIV_GIB, 4 * VIV_GIB + c->high_size, VIV_E820_RAM);
}

static bool has_vga(const struct viv_firmware *f)
{
    return f->board->pci && viv_firmware_find_vga(f->board->pci) >= 0;
}

static int build_acpi(struct viv_firmware *f, const struct viv_firmware_config *c, struct viv_err *err)
{
    struct viv_acpi_info info = c->acpi;
    g_autofree struct viv_acpi_cpu *cpus = viv_firmware_cpus(&info);

    if (!c->with_acpi)
        return 0;
    f->boot.rsdp = VIV_BIOS_ACPI;
    return viv_acpi_build(&info, VIV_BIOS_ACPI, VIV_BIOS_MP - VIV_BIOS_ACPI, &f->acpi, &f->acpi_len, NULL, err);
}

static void close_kept(gpointer fd)
{
    close(GPOINTER_TO_INT(fd));
}

int viv_firmware_new(const struct viv_firmware_config *c, struct viv_firmware **out, struct viv_err *err)
{
    struct viv_firmware *f = g_new0(struct viv_firmware, 1);
    int ret;

    f->cfg = c->cfg;
    f->board = c->board;
    f->boot.mem = c->board->mem;
    f->boot.kernel = c->cfg->kernel;
    f->boot.initrd = c->cfg->initrd;
    f->boot.append = c->cfg->append;
    f->boot.files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_kept);
    f->boot.no_long_mode = !viv_cpuid_has(viv_vcpus[0]->x86->cpuid, VIV_FT_LM);
    f->uncached = MAX(c->low_end, c->acpi.ecam_base ? c->acpi.ecam_base : 3 * VIV_GIB);
    f->com_ports = c->acpi.com_ports;
    f->boot.vga_text = has_vga(f);
    memory_map(f, c);
    ret = build_acpi(f, c, err);
    if (!ret && c->pirq_pin)
        ret = viv_firmware_mp(c, VIV_BIOS_MP, VIV_BIOS_SMBIOS - VIV_BIOS_MP, &f->mp, &f->mp_len, err);
    if (!ret)
        ret = viv_firmware_smbios(c, VIV_BIOS_SMBIOS, VIV_BIOS_TABLES_END - VIV_BIOS_SMBIOS, &f->smbios, &f->smbios_len,
                                  err);
    if (!ret)
        ret = viv_boot_load(&f->boot, &f->entry, err);
    if (ret) {
        g_free(f->acpi);
        g_free(f->mp);
        g_free(f->smbios);
        g_hash_table_destroy(f->boot.files);
        g_free(f);
        return ret;
    }
    f->loaded = true;
    if (!f->cfg->kernel && !f->cfg->incoming)
        viv_warn("nothing to boot: no -kernel, and machine '%s' has no firmware yet; the CPU halts", f->cfg->cls->name);
    *out = f;
    return 0;
}

/* Memory types as a BIOS sets them: write-back, but video memory and the hole below 4 GiB uncached. Without them a kernel
 * would take all memory for uncached. */
static void set_mtrrs(struct viv_x86 *c, uint64_t uncached)
{
    const uint64_t wb = 0x0606060606060606ull, uc = 0;
    uint64_t hole = (uncached + 64 * VIV_MIB - 1) & ~(64 * VIV_MIB - 1);
    unsigned n = 0;

    memset(c->msr.mtrr_base, 0, sizeof(c->msr.mtrr_base));
    memset(c->msr.mtrr_mask, 0, sizeof(c->msr.mtrr_mask));
    c->msr.mtrr_fix[0] = c->msr.mtrr_fix[1] = wb;
    c->msr.mtrr_fix[2] = uc; /* A0000h-BFFFFh */
    for (int i = 3; i < 11; i++)
        c->msr.mtrr_fix[i] = wb;
    while (hole < 4 * VIV_GIB && n < VIV_MTRR_VAR) { /* the largest power of two that fits, until 4 GiB */
        uint64_t size = hole & -hole;

        c->msr.mtrr_base[n] = hole;
        c->msr.mtrr_mask[n++] = ((1ull << c->cpuid->phys_bits) - size) | 0x800;
        hole += size;
    }
    c->msr.mtrr_def_type = 0xc06; /* enabled, fixed ranges too, write-back */
}

static void set_cpus(struct viv_firmware *f)
{
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        set_mtrrs(viv_vcpus[i]->x86, f->uncached);
    if (f->entry.kind == VIV_BOOT_NONE) {
        viv_vcpus[0]->x86->halted = true;
        return;
    }
    viv_boot_set_cpu(viv_vcpus[0]->x86, &f->entry);
}

static void put_blob(struct viv_firmware *f, uint32_t gpa, const uint8_t *data, size_t len)
{
    if (data && viv_dma_write(f->board->mem, gpa, data, len))
        viv_error("the BIOS area at 0x%x is not RAM", gpa);
}

/* What stands at F000:FFF0, where a kernel jumps in real mode when it reboots "through the BIOS" (Linux does when ACPI is
 * hardware-reduced): lidt of an empty table, then int3, which nothing can handle: shutdown, and the board resets. */
static const uint8_t reset_vector[16] = {
    0x2e, 0x0f, 0x01, 0x1e, 0xfa, 0xff, /* lidt cs:[0xfffa] */
    0xcc,                               /* int3 */
    0xf4, 0xeb, 0xfd,                   /* hlt; jmp to it */
    0, 0, 0, 0, 0, 0,                   /* FFFAh: limit 0, base 0 */
};

void viv_firmware_reset(struct viv_firmware *f)
{
    struct viv_err err = VIV_ERR_INIT;

    f->boot.vga_text = has_vga(f);
    if (!f->loaded && viv_boot_load(&f->boot, &f->entry, &err)) {
        viv_error("reset: %s", err.text); /* the file was overwritten since */
        f->entry = (struct viv_boot_entry){.kind = VIV_BOOT_NONE};
        viv_vm_request(VIV_VM_QUIT, 1, "kernel cannot be loaded again");
    }
    f->loaded = false;
    viv_firmware_low_memory(f->board->mem, f->com_ports);
    if (f->boot.vga_text)
        viv_firmware_vga(f->board);
    put_blob(f, VIV_BIOS_ACPI, f->acpi, f->acpi_len);
    put_blob(f, VIV_BIOS_MP, f->mp, f->mp_len);
    put_blob(f, VIV_BIOS_SMBIOS, f->smbios, f->smbios_len);
    put_blob(f, 0xffff0, reset_vector, sizeof(reset_vector));
    set_cpus(f);
}
