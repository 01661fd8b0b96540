/* The DSDT of the microvm board: virtio-mmio slots, the event device, S5. No PCI, no fixed ACPI hardware.
 *
 * Each slot is announced as LNRO0005, the id that virtio_mmio drivers bind to; an empty slot answers with
 * device id 0 and is passed over. The generic event device (ACPI 6.4, 5.6.9) turns its interrupt into a
 * notification of the power button. */
#include "machine/acpi.h"
#include "machine/aml.h"

#include <glib.h>

static void virtio_slot(struct viv_aml *a, const struct viv_acpi_info *info, unsigned n)
{
    uint32_t gsi = info->virtio_gsi + n;
    char name[5];

    g_snprintf(name, sizeof(name), "VR%02X", n & 0xff);
    viv_aml_device(a, name);
    viv_aml_name(a, "_HID");
    viv_aml_string(a, "LNRO0005");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, n);
    viv_aml_name(a, "_CCA");
    viv_aml_int(a, 1);
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_mem32(a, (uint32_t)(info->virtio_base + (uint64_t)n * info->virtio_stride),
                      info->virtio_stride);
    viv_aml_res_gsi(a, &gsi, 1, true, false, false);
    viv_aml_close(a);
    viv_aml_close(a);
}

static void event_device(struct viv_aml *a, const struct viv_acpi_info *info)
{
    static const char *const event[] = {"ESEL"};

    viv_aml_device(a, "PWRB");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0C0C");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 0);
    viv_aml_close(a);

    viv_aml_device(a, "GED");
    viv_aml_name(a, "_HID");
    viv_aml_string(a, "ACPI0013");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 0);
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_gsi(a, &info->ged_gsi, 1, true, false, false);
    viv_aml_close(a);
    viv_aml_region(a, "EREG", VIV_AML_SYSTEM_MEMORY, info->ged_base + VIV_GED_EVENT, 4);
    viv_aml_field(a, "EREG", 4, event, 1, 32);
    viv_aml_method(a, "_EVT", 1, true);
    viv_aml_store(a); /* the read takes the events away and drops the line */
    viv_aml_ref(a, "ESEL");
    viv_aml_local(a, 0);
    viv_aml_if(a);
    viv_aml_and(a);
    viv_aml_local(a, 0);
    viv_aml_int(a, VIV_GED_EVENT_POWER_BUTTON);
    viv_aml_null(a);
    viv_aml_notify(a, "\\_SB.PWRB", 0x80);
    viv_aml_close(a);
    viv_aml_close(a);
    viv_aml_close(a);
}

void viv_acpi_dsdt_microvm(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_scope(a, "\\_SB");
    viv_acpi_dsdt_cpus(a, info);
    viv_acpi_dsdt_legacy(a, info);
    for (unsigned i = 0; i < info->virtio_slots; i++)
        virtio_slot(a, info, i);
    event_device(a, info);
    viv_aml_close(a);

    viv_aml_name(a, "\\_S5");
    viv_aml_package(a, 4);
    viv_aml_int(a, VIV_GED_SLP_TYP_S5);
    viv_aml_int(a, 0);
    viv_aml_int(a, 0);
    viv_aml_int(a, 0);
    viv_aml_close(a);
}
