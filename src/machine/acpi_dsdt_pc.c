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

static void host_windows(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_bus(a, 0, 0xff);
    viv_aml_res_io(a, 0xcf8, 8);
    viv_aml_res_io_window(a, 0, 0xcf7);
    viv_aml_res_io_window(a, 0xd00, 0xffff);
    viv_aml_res_mem_window(a, 0xa0000, 0xbffff, true);
    viv_aml_res_mem_window(a, info->pci32_first, info->pci32_last, false);
    if (info->pci64_last)
        viv_aml_res_mem_window(a, info->pci64_first, info->pci64_last, false);
    viv_aml_close(a);
}

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

static void link_status(struct viv_aml *a, const char *field)
{
    viv_aml_method(a, "_STA", 0, false); /* bit 7 set: not routed, so disabled */
    viv_aml_if(a);
    viv_aml_and(a);
    viv_aml_ref(a, field);
    viv_aml_int(a, 0x80);
    viv_aml_null(a);
    viv_aml_return(a);
    viv_aml_int(a, 0x09);
    viv_aml_close(a);
    viv_aml_return(a);
    viv_aml_int(a, 0x0b);
    viv_aml_close(a);
}

static void link_methods(struct viv_aml *a, const char *field)
{
    static const uint32_t zero = 0;

    viv_aml_method(a, "_DIS", 0, false);
    viv_aml_store(a);
    viv_aml_int(a, 0x80);
    viv_aml_ref(a, field);
    viv_aml_close(a);

    viv_aml_method(a, "_CRS", 0, true);
    viv_aml_name(a, "BUF");
    viv_aml_resources(a);
    viv_aml_res_gsi(a, &zero, 1, true, false, true);
    viv_aml_close(a);
    viv_aml_dword_field(a);
    viv_aml_ref(a, "BUF");
    viv_aml_int(a, 5);
    viv_aml_ref(a, "IRQN");
    viv_aml_and(a);
    viv_aml_ref(a, field);
    viv_aml_int(a, 0x0f);
    viv_aml_ref(a, "IRQN");
    viv_aml_return(a);
    viv_aml_ref(a, "BUF");
    viv_aml_close(a);

    viv_aml_method(a, "_SRS", 1, true);
    viv_aml_dword_field(a);
    viv_aml_arg(a, 0);
    viv_aml_int(a, 5);
    viv_aml_ref(a, "IRQS");
    viv_aml_store(a);
    viv_aml_ref(a, "IRQS");
    viv_aml_ref(a, field);
    viv_aml_close(a);
}

static void link_device(struct viv_aml *a, unsigned n)
{
    static const uint32_t choices[] = {5, 10, 11};

    viv_aml_device(a, links[n]);
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0C0F");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, n);
    viv_aml_name(a, "_PRS");
    viv_aml_resources(a);
    viv_aml_res_gsi(a, choices, 3, true, false, true);
    viv_aml_close(a);
    link_status(a, field_paths[n]);
    link_methods(a, field_paths[n]);
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
    host_windows(a, info);
    isa_bridge(a, info);
    routing(a);
    viv_aml_close(a);
    for (unsigned n = 0; n < 4; n++)
        link_device(a, n);
    sci_link(a);
    motherboard(a, info);
    viv_acpi_dsdt_cpus(a, info);
    viv_aml_close(a);

    viv_aml_name(a, "\\_S5");
    viv_aml_package(a, 4);
    viv_aml_int(a, info->s5_type); /* PM1a */
    viv_aml_int(a, info->s5_type); /* PM1b, which is not there */
    viv_aml_int(a, 0);
    viv_aml_int(a, 0);
    viv_aml_close(a);
}
