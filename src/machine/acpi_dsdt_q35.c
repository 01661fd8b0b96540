/* The DSDT of the q35 board: PCI Express host bridge, ICH9 interrupt routing, legacy devices, S5.
 *
 * PIRQA-H are pins 16 to 23 of the I/O APIC; in PIC mode the LPC bridge's registers 60h-63h and 68h-6Bh route them to ISA lines
 * (Intel 316972, 13.1.9, 13.1.15). So _PRT has two forms, and _PIC says which. */
#include "machine/acpi.h"
#include "machine/aml.h"

#include "dev/pci/ich9_lpc.h"

#include <glib.h>

#define FIRST_GSI 16

static const char *const links[VIV_PCI_PIRQS] = {"LNKA", "LNKB", "LNKC", "LNKD", "LNKE", "LNKF", "LNKG", "LNKH"};
static const char *const fields[VIV_PCI_PIRQS] = {"PRQ0", "PRQ1", "PRQ2", "PRQ3", "PRQ4", "PRQ5", "PRQ6", "PRQ7"};

/* As the LPC bridge wires them (dev/pci/ich9_lpc.c). */
static unsigned pirq(unsigned slot, unsigned pin)
{
    return slot >= 25 ? pin : 4 + ((slot + pin) & 3);
}

static void routes(struct viv_aml *a, const char *name, bool apic)
{
    viv_aml_name(a, name);
    viv_aml_package(a, 31 * 4);
    for (unsigned slot = 1; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            viv_aml_package(a, 4);
            viv_aml_int(a, (uint64_t)slot << 16 | 0xffff);
            viv_aml_int(a, pin);
            if (apic)
                viv_aml_int(a, 0);
            else
                viv_aml_ref(a, links[pirq(slot, pin)]);
            viv_aml_int(a, apic ? FIRST_GSI + pirq(slot, pin) : 0);
            viv_aml_close(a);
        }
    }
    viv_aml_close(a);
}

static void routing(struct viv_aml *a)
{
    routes(a, "PRTP", false);
    routes(a, "PRTA", true);
    viv_aml_method(a, "_PRT", 0, false);
    viv_aml_if(a);
    viv_aml_ref(a, "\\PICF");
    viv_aml_return(a);
    viv_aml_ref(a, "PRTA");
    viv_aml_close(a);
    viv_aml_return(a);
    viv_aml_ref(a, "PRTP");
    viv_aml_close(a);
}

static void control_field(struct viv_aml *a, unsigned at, const char *name)
{
    viv_aml_dword_field(a);
    viv_aml_arg(a, 3);
    viv_aml_int(a, at);
    viv_aml_ref(a, name);
}

static void set_status(struct viv_aml *a, unsigned bit)
{
    viv_aml_or(a);
    viv_aml_ref(a, "CDW1");
    viv_aml_int(a, bit);
    viv_aml_ref(a, "CDW1");
}

/* _OSC of a host bridge (PCI Firmware 3.2, 4.5): the OS gets the PCI Express capabilities and native hot-plug for itself; there is
 * neither PME nor error reporting to hand over. */
static void osc(struct viv_aml *a)
{
    /* 33DB4D5B-1FF7-401C-9657-7441C03DD766 */
    static const uint8_t uuid[16] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                     0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};
    enum { CAPABILITIES = 0x10 | 0x01, UNKNOWN_UUID = 1 << 2, UNKNOWN_REVISION = 1 << 3, MASKED = 1 << 4 };

    viv_aml_method(a, "_OSC", 4, true);
    control_field(a, 0, "CDW1");
    viv_aml_if(a);
    viv_aml_equal(a);
    viv_aml_arg(a, 0);
    viv_aml_buffer(a, uuid, sizeof(uuid));
    control_field(a, 8, "CDW3");
    viv_aml_and(a);
    viv_aml_ref(a, "CDW3");
    viv_aml_int(a, CAPABILITIES);
    viv_aml_local(a, 0);
    viv_aml_if(a);
    viv_aml_equal(a);
    viv_aml_local(a, 0);
    viv_aml_ref(a, "CDW3");
    viv_aml_close(a);
    viv_aml_else(a);
    set_status(a, MASKED);
    viv_aml_store(a);
    viv_aml_local(a, 0);
    viv_aml_ref(a, "CDW3");
    viv_aml_close(a);
    viv_aml_if(a);
    viv_aml_equal(a);
    viv_aml_arg(a, 1);
    viv_aml_int(a, 1);
    viv_aml_close(a);
    viv_aml_else(a);
    set_status(a, UNKNOWN_REVISION);
    viv_aml_close(a);
    viv_aml_close(a);
    viv_aml_else(a);
    set_status(a, UNKNOWN_UUID);
    viv_aml_close(a);
    viv_aml_return(a);
    viv_aml_arg(a, 3);
    viv_aml_close(a);
}

/* Ports and memory that belong to no device below: power management, RCBA, configuration space. */
static void motherboard(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_device(a, "MBRD");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0C02");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 0);
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_io(a, info->pm_base, VIV_ICH9_PM_SIZE);
    viv_aml_res_mem32(a, info->ecam_base, VIV_ACPI_ECAM_SIZE);
    viv_aml_res_mem32(a, VIV_ICH9_RCBA, 0x4000);
    viv_aml_close(a);
    viv_aml_close(a);
}

static void lpc_bridge(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_device(a, "ISA");
    viv_aml_name(a, "_ADR");
    viv_aml_int(a, 0x001f0000);
    viv_aml_region(a, "PRQL", VIV_AML_PCI_CONFIG, 0x60, 4);
    viv_aml_field(a, "PRQL", 1, fields, 4, 8);
    viv_aml_region(a, "PRQH", VIV_AML_PCI_CONFIG, 0x68, 4);
    viv_aml_field(a, "PRQH", 1, fields + 4, 4, 8);
    viv_acpi_dsdt_legacy(a, info);
    viv_aml_close(a);
}

static void host_bridge(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_device(a, "PCI0");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0A08");
    viv_aml_name(a, "_CID");
    viv_aml_eisaid(a, "PNP0A03");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 0);
    viv_aml_name(a, "_SEG");
    viv_aml_int(a, 0);
    viv_aml_name(a, "_BBN");
    viv_aml_int(a, 0);
    viv_acpi_dsdt_windows(a, info);
    osc(a);
    lpc_bridge(a, info);
    routing(a);
    viv_aml_close(a);
}

void viv_acpi_dsdt_q35(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_name(a, "\\PICF");
    viv_aml_int(a, 0);
    viv_aml_method(a, "\\_PIC", 1, false);
    viv_aml_store(a);
    viv_aml_arg(a, 0);
    viv_aml_ref(a, "\\PICF");
    viv_aml_close(a);
    viv_aml_scope(a, "\\_SB");
    host_bridge(a, info);
    for (unsigned n = 0; n < VIV_PCI_PIRQS; n++) {
        g_autofree char *field = g_strdup_printf("\\_SB.PCI0.ISA.%s", fields[n]);

        viv_acpi_dsdt_link(a, links[n], n, field);
    }
    motherboard(a, info);
    viv_acpi_dsdt_cpus(a, info);
    viv_aml_close(a);
    viv_acpi_dsdt_s5(a, info);
}
