#include "machine/device_add.h"

#include "bus/dev.h"
#include "machine/vm.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

const char *viv_device_alias(const char *name, bool pci)
{
    static const char *const names[] = {"virtio-9p", "virtio-balloon", "virtio-blk", "virtio-net", "virtio-rng", "virtio-scsi", "virtio-serial", "virtio-gpu",
                                        "virtio-keyboard", "virtio-mouse", "virtio-tablet", NULL};
    g_autofree char *whole = NULL;

    if (!strcmp(name, "kvm-pit") || !strcmp(name, "isa-pit"))
        return "i8254";
    if (!g_strv_contains(names, name))
        return name;
    whole = g_strdup_printf("%s-%s", name, pci ? "pci" : "device");
    return g_intern_string(whole); /* a copy, the same each time */
}

/* As QEMU says it, and which name is near. */
static int no_such_model(const char *name, struct viv_err *err)
{
    const char *instead = viv_device_instead(name);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    if (instead)
        return viv_fail(err, ENODEV, "'%s' is not a valid device model name; %s", name, instead);
    for (const struct viv_dev_class *const *c = viv_dev_classes(); *c; c++) {
        if ((*c)->hotplug)
            g_ptr_array_add(names, (gpointer)(*c)->name);
    }
    g_ptr_array_add(names, NULL);
    near = viv_nearest(name, (const char *const *)names->pdata);
    return viv_fail(err, ENODEV, "'%s' is not a valid device model name%s%s%s", name, near ? "; did you mean '" : "", near ? near : "",
                    near ? "'?" : "");
}

/* An id is a part of names: of buses ("x.0"), and of paths. viv_dev_plug() looks for itself, in QEMU's words. */
static int check_id(const char *what, const char *id, struct viv_err *err)
{
    if (id && !viv_is_id(id))
        return viv_fail(err, EINVAL, "%s: id='%.60s' is no identifier: " VIV_ID_FORM, what, id);
    if (id && viv_dev_find(id))
        return viv_fail(err, EEXIST, "%s: id=%s is that of the '%s' before it; give each device one of its own", what, id,
                        viv_dev_find(id)->cls->name);
    return 0;
}

/* Of ISA buses there is one, so its devices have no such property. */
static int check_isa_bus(const char *what, const struct viv_dev_class *cls, struct viv_raw_opts *r, struct viv_err *err)
{
    g_autofree char *bus = cls->bus == VIV_BUS_ISA ? viv_raw_take(r, "bus") : NULL;

    if (bus && strcmp(bus, "isa.0"))
        return viv_fail(err, ENODEV, "%s: bus=%.60s: its bus is 'isa.0'", what, bus);
    return 0;
}

static int make(const char *what, const struct viv_dev_class *cls, const char *id, struct viv_raw_opts *r, bool late,
                struct viv_err *err)
{
    static const struct viv_opt_def none[] = {VIV_OPT_END};
    struct viv_opts *o;
    int rc = late ? 0 : check_id(what, id, err);

    if (!rc)
        rc = check_isa_bus(what, cls, r, err);
    if (!rc)
        rc = viv_opts_from_raw(what, cls->props ? cls->props : none, r, &o, err);
    if (rc < 0)
        return rc;
    rc = late ? viv_dev_plug(viv_vm_board(), cls->name, id, o, err) : viv_dev_new(viv_vm_board(), cls->name, id, NULL, o, NULL, err);
    viv_opts_free(o);
    return rc;
}

int viv_device_add(const char *what, struct viv_raw_opts *r, bool late, struct viv_err *err)
{
    g_autofree char *name = viv_raw_take(r, "driver"), *id = viv_raw_take(r, "id");
    g_autofree char *whole = g_strdup_printf("%s %s", what, name ? name : "");
    const struct viv_dev_class *cls;

    if (!name)
        return late ? viv_fail(err, EINVAL, "Parameter 'driver' is missing")
                    : viv_fail(err, EINVAL, "%s: no device named; '%s help' lists them", what, what);
    cls = viv_dev_class_find(viv_device_alias(name, viv_vm_board()->pci != NULL));
    if (!cls && !late && viv_device_instead(name))
        return viv_fail(err, ENODEV, "%s: there is no such device here: %s", whole, viv_device_instead(name));
    if (!cls)
        return late ? no_such_model(name, err) : viv_dev_new(viv_vm_board(), name, id, NULL, NULL, NULL, err); /* says which is near */
    if (cls->internal && !late)
        return viv_fail(err, EINVAL, "%s: it is a part of the machine and cannot be added", whole);
    return make(whole, cls, id, r, late, err);
}

int viv_device_del(const char *name, struct viv_err *err)
{
    static const char prefix[] = "/machine/peripheral/";
    struct viv_dev *d = viv_dev_find(g_str_has_prefix(name, prefix) ? name + strlen(prefix) : name);

    if (!d)
        return viv_fail(err, ENODEV, "Device '%s' not found", name);
    return viv_dev_ask_unplug(d, err);
}

/* ---- what there is ---- */

static const char *bus_name(enum viv_bus_kind k)
{
    static const char *const names[] = {
        [VIV_BUS_NONE] = "System", [VIV_BUS_ISA] = "ISA", [VIV_BUS_PCI] = "PCI",
        [VIV_BUS_VIRTIO] = "virtio-bus", [VIV_BUS_VIRTIO_SERIAL] = "virtio-serial-bus",
        [VIV_BUS_IDE] = "IDE", [VIV_BUS_SCSI] = "SCSI", [VIV_BUS_USB] = "usb-bus",
        [VIV_BUS_FLOPPY] = "floppy-bus",
    };

    return names[k];
}

bool viv_device_help(const char *name, bool late, FILE *to)
{
    g_autofree char *pci = g_strdup_printf("%s-pci", name ? name : "");
    const struct viv_dev_class *cls = name ? viv_dev_class_find(name) : NULL;

    if (!cls)
        cls = viv_dev_class_find(pci); /* "virtio-blk" */
    if (cls)
        viv_opts_print_help(name, cls->props, to);
    if (name)
        return cls != NULL;
    for (const struct viv_dev_class *const *c = viv_dev_classes(); *c; c++) {
        if (!(*c)->internal && (!late || (*c)->hotplug))
            fprintf(to, "name \"%s\", bus %s, desc \"%s\"\n", (*c)->name, bus_name((*c)->bus), (*c)->desc);
    }
    return true;
}
