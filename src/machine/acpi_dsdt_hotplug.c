/* The DSDT's part in PCI hot-plug (ACPI 6.4, 6.3): a device object for each slot whose contents come and go, with _EJ0, _SUN and
 * _OST; the event that tells of changes. The registers are those of dev/acpi/pcihp.h. */
#include "machine/acpi.h"
#include "machine/aml.h"

#include <glib.h>

enum { DEVICE_CHECK = 1, EJECT_REQUEST = 3 }; /* 5.6.6 */
enum { IN_PROGRESS = 0x84 };                  /* 6.3.5.2: no answer yet */

static char *device_name(unsigned devfn)
{
    return g_strdup_printf("S%02X_", devfn);
}

/* The bus's scope, as an absolute path. */
static char *bus_path(const struct viv_acpi_info *info, unsigned n)
{
    g_autofree char *above = NULL, *name = NULL;

    if (!n)
        return g_strdup("\\_SB.PCI0");
    above = bus_path(info, info->hot_bus[n].above);
    name = device_name(info->hot_bus[n].bridge);
    return g_strconcat(above, ".", name, NULL);
}

static void registers(struct viv_aml *a)
{
    static const char *const pending[] = {"PCIU", "PCID", "PCIE", "PCIR", "BNUM", "PCIX", "PCIO"};

    viv_aml_region(a, "PCHP", VIV_AML_SYSTEM_IO, VIV_PCIHP_PORT, VIV_PCIHP_SIZE);
    viv_aml_field(a, "PCHP", 4, pending, G_N_ELEMENTS(pending), 32);
    viv_aml_mutex(a, "BLCK");
}

/* Arg0: the bus; Arg1: what goes into the register. */
static void writer(struct viv_aml *a, const char *name, const char *field)
{
    viv_aml_method(a, name, 2, false);
    viv_aml_acquire(a, "BLCK");
    viv_aml_store(a);
    viv_aml_arg(a, 0);
    viv_aml_ref(a, "BNUM");
    viv_aml_store(a);
    viv_aml_arg(a, 1);
    viv_aml_ref(a, field);
    viv_aml_release(a, "BLCK");
    viv_aml_close(a);
}

/* Arg0: what was notified; Arg1: how it went, 0 well (6.3.5). */
static void status(struct viv_aml *a, unsigned bus, unsigned slot)
{
    viv_aml_method(a, "_OST", 3, false);
    viv_aml_if(a);
    viv_aml_equal(a);
    viv_aml_and(a);
    viv_aml_arg(a, 0);
    viv_aml_int(a, 0xff);
    viv_aml_null(a);
    viv_aml_int(a, EJECT_REQUEST);
    viv_aml_store(a);
    viv_aml_arg(a, 1);
    viv_aml_local(a, 0);
    viv_aml_if(a);
    viv_aml_equal(a);
    viv_aml_local(a, 0);
    viv_aml_int(a, IN_PROGRESS);
    viv_aml_store(a);
    viv_aml_int(a, 0);
    viv_aml_local(a, 0);
    viv_aml_close(a);
    viv_aml_if(a);
    viv_aml_local(a, 0);
    viv_aml_ref(a, "\\_SB.PCI0.PCRF");
    viv_aml_int(a, bus);
    viv_aml_int(a, slot);
    viv_aml_close(a);
    viv_aml_close(a);
    viv_aml_close(a);
}

static void slot_device(struct viv_aml *a, unsigned bus, unsigned slot)
{
    g_autofree char *name = device_name(slot << 3);

    viv_aml_device(a, name);
    viv_aml_name(a, "_ADR");
    viv_aml_int(a, (uint64_t)slot << 16);
    viv_aml_name(a, "_SUN");
    viv_aml_int(a, slot);
    viv_aml_method(a, "_EJ0", 1, false);
    viv_aml_ref(a, "\\_SB.PCI0.PCEJ");
    viv_aml_int(a, bus);
    viv_aml_int(a, 1u << slot);
    viv_aml_close(a);
    status(a, bus, slot);
    viv_aml_close(a);
}

static void bridge_device(struct viv_aml *a, const struct viv_acpi_info *info, unsigned n)
{
    uint8_t devfn = info->hot_bus[n].bridge;
    g_autofree char *above = bus_path(info, info->hot_bus[n].above), *name = device_name(devfn);

    viv_aml_scope(a, above);
    viv_aml_device(a, name);
    viv_aml_name(a, "_ADR");
    viv_aml_int(a, (uint64_t)(devfn >> 3) << 16 | (devfn & 7));
    viv_aml_close(a);
    viv_aml_close(a);
}

static void slot_devices(struct viv_aml *a, const struct viv_acpi_info *info, unsigned n)
{
    g_autofree char *path = bus_path(info, n);

    if (n)
        bridge_device(a, info, n);
    viv_aml_scope(a, path);
    for (unsigned slot = 0; slot < 32; slot++) {
        if (info->hot_bus[n].slots >> slot & 1)
            slot_device(a, n, slot);
    }
    viv_aml_close(a);
}

static void tell_one(struct viv_aml *a, unsigned local, unsigned slot, const char *object, unsigned what)
{
    viv_aml_if(a);
    viv_aml_and(a);
    viv_aml_local(a, local);
    viv_aml_int(a, 1u << slot);
    viv_aml_null(a);
    viv_aml_notify(a, object, what);
    viv_aml_close(a);
}

static void take(struct viv_aml *a, const char *field, unsigned local)
{
    viv_aml_store(a);
    viv_aml_ref(a, field);
    viv_aml_local(a, local);
}

/* One bus: looks what is new and what is to go, and tells of it. */
static void tell_bus(struct viv_aml *a, const struct viv_acpi_info *info, unsigned n)
{
    g_autofree char *path = bus_path(info, n);

    if (!info->hot_bus[n].slots)
        return;
    viv_aml_store(a);
    viv_aml_int(a, n);
    viv_aml_ref(a, "BNUM");
    take(a, "PCIU", 0);
    take(a, "PCID", 1);
    for (unsigned slot = 0; slot < 32; slot++) {
        g_autofree char *name = device_name(slot << 3), *object = g_strconcat(path, ".", name, NULL);

        if (!(info->hot_bus[n].slots >> slot & 1))
            continue;
        tell_one(a, 0, slot, object, DEVICE_CHECK);
        tell_one(a, 1, slot, object, EJECT_REQUEST);
    }
}

static void event(struct viv_aml *a, const struct viv_acpi_info *info)
{
    viv_aml_method(a, "PCNT", 0, true);
    viv_aml_acquire(a, "BLCK");
    for (unsigned n = 0; n < info->hot_buses; n++)
        tell_bus(a, info, n);
    viv_aml_release(a, "BLCK");
    viv_aml_close(a);
}

void viv_acpi_dsdt_hotplug(struct viv_aml *a, const struct viv_acpi_info *info)
{
    g_autofree char *handler = g_strdup_printf("_E%02X", VIV_PCIHP_GPE);

    viv_aml_scope(a, "\\_SB.PCI0");
    registers(a);
    writer(a, "PCEJ", "PCIE");
    writer(a, "PCRF", "PCIO");
    viv_aml_close(a);
    for (unsigned n = 0; n < info->hot_buses; n++)
        slot_devices(a, info, n);
    viv_aml_scope(a, "\\_SB.PCI0");
    event(a, info);
    viv_aml_close(a);
    viv_aml_scope(a, "\\_GPE");
    viv_aml_method(a, handler, 0, false);
    viv_aml_ref(a, "\\_SB.PCI0.PCNT");
    viv_aml_close(a);
    viv_aml_close(a);
}
