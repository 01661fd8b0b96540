/* info qtree, info qom-tree: the devices on their buses, with their properties, in QEMU's layout. Devices know their parents and, by
 * their paths ("pci.0/03.0/e1000"), the buses that they are on; a bus that nothing is on is not shown. */
#include "mon/mon_int.h"

#include "bus/dev.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "machine/vm.h"
#include "opt/object.h"

#include <string.h>

#define SYSTEM_BUS "main-system-bus"

/* --- who is where --- */

/* Of the chips that have buses of their own and no parent among the devices there. */
static const struct viv_dev *of_class(const char *const *names)
{
    const struct viv_dev *d = viv_dev_first();

    while (d && !g_strv_contains(names, d->cls->name))
        d = d->next;
    return d;
}

static const struct viv_dev *isa_bridge(void)
{
    static const char *const names[] = {"PIIX3", "ICH9-LPC", NULL};

    return of_class(names);
}

/* "ide.0" is the board's, "x.0" that of the controller with this id. */
static const struct viv_dev *ide_controller(const char *bus)
{
    static const char *const names[] = {"piix3-ide", "ich9-ahci", NULL};
    const char *dot = strrchr(bus, '.');
    g_autofree char *id = g_strndup(bus, dot ? (size_t)(dot - bus) : strlen(bus));
    const struct viv_dev *d = viv_dev_find(id);

    return d ? d : of_class(names);
}

static char *bus_of(const struct viv_dev *d)
{
    size_t n = d->parent ? strlen(d->parent->path) : 0;
    const char *slash = strchr(d->path, '/');

    if (d->parent && !strncmp(d->path, d->parent->path, n) && d->path[n] == '/')
        return g_strdup_printf("%s.0", d->parent->id ? d->parent->id : d->parent->cls->name);
    if (slash)
        return g_strndup(d->path, (size_t)(slash - d->path));
    return g_strdup(d->cls->bus == VIV_BUS_ISA ? "isa.0" : SYSTEM_BUS);
}

/* NULL: the machine's own bus. */
static const struct viv_dev *owner_of(const struct viv_dev *d, const char *bus)
{
    static const char *const diskettes[] = {"isa-fdc", NULL};

    if (d->parent)
        return d->parent;
    switch (d->cls->bus) {
    case VIV_BUS_ISA: return isa_bridge();
    case VIV_BUS_IDE: return ide_controller(bus);
    case VIV_BUS_FLOPPY: return of_class(diskettes);
    default: return NULL;
    }
}

static const char *bus_type(const struct viv_dev *d, const char *bus)
{
    static const char *const types[] = {[VIV_BUS_NONE] = "System", [VIV_BUS_ISA] = "ISA", [VIV_BUS_PCI] = "PCI", [VIV_BUS_VIRTIO] = "System",
                                        [VIV_BUS_VIRTIO_SERIAL] = "virtio-serial-bus", [VIV_BUS_IDE] = "IDE", [VIV_BUS_SCSI] = "SCSI",
                                        [VIV_BUS_USB] = "usb-bus", [VIV_BUS_FLOPPY] = "floppy-bus"};

    return d->cls->bus == VIV_BUS_PCI && g_str_has_prefix(bus, "pcie") ? "PCIE" : types[d->cls->bus];
}

/* --- the tree --- */

static void put_buses(GString *s, const struct viv_dev *owner, unsigned indent);

static void put_device(GString *s, const struct viv_dev *d, unsigned indent)
{
    g_auto(GStrv) props = viv_opts_describe(d->opts);

    g_string_append_printf(s, "%*sdev: %s, id \"%s\"\n", indent, "", d->cls->name, d->id ? d->id : "");
    for (char **p = props; *p; p++)
        g_string_append_printf(s, "%*s%s\n", indent + 2, "", *p);
    g_string_append_printf(s, "%*spath %s\n", indent + 2, "", d->path);
    if (d->cls->bus == VIV_BUS_PCI)
        viv_mon_show_pci_device(d, indent + 2, s);
    put_buses(s, d, indent + 2);
}

/* The devices of `owner` on one of its buses; the first of them names it. */
static void put_bus(GString *s, const struct viv_dev *owner, const struct viv_dev *first, const char *bus, unsigned indent)
{
    g_string_append_printf(s, "%*sbus: %s\n%*stype %s\n", indent, "", bus, indent + 2, "", bus_type(first, bus));
    for (const struct viv_dev *d = first; d; d = d->next) {
        g_autofree char *on = bus_of(d);

        if (d->life != VIV_DEV_LEAVING && !strcmp(on, bus) && owner_of(d, on) == owner)
            put_device(s, d, indent + 2);
    }
}

static void put_buses(GString *s, const struct viv_dev *owner, unsigned indent)
{
    g_autoptr(GPtrArray) seen = g_ptr_array_new_with_free_func(g_free);

    for (const struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        g_autofree char *bus = bus_of(d);

        if (d->life == VIV_DEV_LEAVING || owner_of(d, bus) != owner || g_ptr_array_find_with_equal_func(seen, bus, g_str_equal, NULL))
            continue;
        put_bus(s, owner, d, bus, indent);
        g_ptr_array_add(seen, g_steal_pointer(&bus));
    }
}

int viv_mon_info_qtree(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    g_autoptr(GString) s = g_string_new(NULL);
    g_autofree char *text = NULL;

    put_buses(s, NULL, 0);
    text = g_utf8_make_valid(s->str, (gssize)s->len);
    *result = json_string(text);
    return 0;
}

/* --- the object model --- */

static void put_objects(GString *s, const char *folder, bool with_id)
{
    g_string_append_printf(s, "  /%s (container)\n", folder);
    for (const struct viv_dev *d = viv_dev_first(); d; d = d->next)
        if (d->life != VIV_DEV_LEAVING && (d->id != NULL) == with_id)
            g_string_append_printf(s, "    /%s (%s)\n", d->id ? d->id : d->path, d->cls->name);
}

/* The paths that qom-list knows. */
int viv_mon_info_qom_tree(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    g_autoptr(GString) s = g_string_new(NULL);
    const char *arch = viv_vm_config()->cpu_32bit ? "i386" : "x86_64";

    g_string_append_printf(s, "/machine (%s-machine)\n", viv_vm_config()->cls->name);
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        g_string_append_printf(s, "  /cpu[%u] (%s-%s-cpu)\n", i, viv_vm_cpuid()->model, arch);
    put_objects(s, "peripheral", true);
    put_objects(s, "unattached", false);
    g_string_append(s, "/objects (container)\n");
    for (struct viv_object *x = viv_object_next(NULL); x; x = viv_object_next(x))
        g_string_append_printf(s, "  /%s (%s)\n", viv_object_id(x), viv_object_class(x)->type);
    *result = json_string(s->str);
    return 0;
}
