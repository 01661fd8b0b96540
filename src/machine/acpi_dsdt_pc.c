/* The DSDT of the pc board: host bridge, PIIX3 interrupt routing, legacy devices, S5.
 *
 * INTx pins reach the four PIRQ lines swizzled by slot; the PIIX3 routes each PIRQ to an ISA interrupt by its
 * registers 60h-63h (82371SB, 4.1.10), one path for 8259 and I/O APIC alike. So _PRT names link devices, in
 * either mode; _SRS programs the register. */
#include "machine/acpi.h"
#include "machine/aml.h"

#include <glib.h>

static const char *const links[4] = {"LNKA", "LNKB", "LNKC", "LNKD"};
static const char *const fields[4] = {"PRQ0", "PRQ1", "PRQ2", "PRQ3"};
static const char *const field_paths[4] = {"\\_SB.PCI0.ISA.PRQ0", "\\_SB.PCI0.ISA.PRQ1",
                                           "\\_SB.PCI0.ISA.PRQ2", "\\_SB.PCI0.ISA.PRQ3"};

/* Slot 1 is the PIIX3 itself: its function 3 (power management) has pin A wired to the SCI, interrupt 9. */
static void routing(struct viv_aml *a)
{
    viv_aml_name(a, "_PRT");
    viv_aml_package(a, 31 * 4);
    for (unsigned slot = 1; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            viv_aml_package(a, 4);
            viv_aml_int(a, (uint64_t)slot << 16 | 0xffff);
            viv_aml_int(a, pin);
            viv_aml_ref(a, slot == 1 && pin == 0 ? "LNKS" : links[(slot + pin + 3) & 3]);
            viv_aml_int(a, 0);
            viv_aml_close(a);
        }
    }
    viv_aml_close(a);
}

/* The SCI's own link: fixed at 9, nothing to program. */
static void sci_link(struct viv_aml *a)
{
    static const uint32_t sci = 9;

    viv_aml_device(a, "LNKS");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0C0F");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 4);
    viv_aml_name(a, "_PRS");
    viv_aml_resources(a);
    viv_aml_res_gsi(a, &sci, 1, true, false, true);
    viv_aml_close(a);
    viv_aml_name(a, "_STA");
    viv_aml_int(a, 0x0b);
    viv_aml_method(a, "_DIS", 0, false);
    viv_aml_close(a);
    viv_aml_method(a, "_CRS", 0, false);
    viv_aml_return(a);
    viv_aml_ref(a, "_PRS");
    viv_aml_close(a);
    viv_aml_method(a, "_SRS", 1, false);
    viv_aml_close(a);
    viv_aml_close(a);
}

/* Ports and memory that belong to no device below: power management, APICs. */
static void motherboard(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_device(a, "MBRD");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0C02");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 0);
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_io(a, info->pm_base, 0x40);
    if (info->hot_buses)
        viv_aml_res_io(a, VIV_PCIHP_PORT, VIV_PCIHP_SIZE);
    viv_aml_close(a);
    viv_aml_close(a);
}

static void isa_bridge(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_device(a, "ISA");
    viv_aml_name(a, "_ADR");
    viv_aml_int(a, 0x00010000);
    viv_aml_region(a, "PIRQ", VIV_AML_PCI_CONFIG, 0x60, 4);
    viv_aml_field(a, "PIRQ", 1, fields, 4, 8);
    viv_acpi_dsdt_legacy(a, info);
    viv_aml_close(a);
}

void viv_acpi_dsdt_pc(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_scope(a, "\\_SB");
    viv_aml_device(a, "PCI0");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0A03");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 0);
    viv_acpi_dsdt_windows(a, info);
    isa_bridge(a, info);
    routing(a);
    viv_aml_close(a);
    for (unsigned n = 0; n < 4; n++)
        viv_acpi_dsdt_link(a, links[n], n, field_paths[n]);
    sci_link(a);
    motherboard(a, info);
    viv_acpi_dsdt_cpus(a, info);
    viv_aml_close(a);
    if (info->hot_buses)
        viv_acpi_dsdt_hotplug(a, info);
    viv_acpi_dsdt_s5(a, info);
}
