/* What DSDTs of boards with PCI have in common. */
#include "machine/acpi.h"
#include "machine/aml.h"

void viv_acpi_dsdt_windows(struct viv_aml *a, const struct viv_acpi_info *info)
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

void viv_acpi_dsdt_link(struct viv_aml *a, const char *name, unsigned uid, const char *field)
{
    static const uint32_t choices[] = {5, 10, 11};

    viv_aml_device(a, name);
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0C0F");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, uid);
    viv_aml_name(a, "_PRS");
    viv_aml_resources(a);
    viv_aml_res_gsi(a, choices, 3, true, false, true);
    viv_aml_close(a);
    link_status(a, field);
    link_methods(a, field);
    viv_aml_close(a);
}

void viv_acpi_dsdt_s5(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_name(a, "\\_S5");
    viv_aml_package(a, 4);
    viv_aml_int(a, info->s5_type); /* PM1a */
    viv_aml_int(a, info->s5_type); /* PM1b, which is not there */
    viv_aml_int(a, 0);
    viv_aml_int(a, 0);
    viv_aml_close(a);
}
