/* -usb, -machine usb=on, -usbdevice: the machine's own USB controller, and what is plugged in first. */
#include "cmd/vm_args.h"

#include "bus/usb.h"

#include <errno.h>
#include <string.h>

static int make_controllers(struct vm_args *a, const char *who, struct viv_err *err)
{
    int rc = 0;

    if (!a->cfg.cls->usb)
        return viv_fail(err, ENOTSUP, "%s: machine %s has no USB controller and no PCI bus for one; use -M pc or q35", who, a->cfg.cls->name);
    for (const char *const *c = a->cfg.cls->usb; *c && !rc; c++)
        rc = vm_make_device(a, *c, err);
    if (rc < 0)
        viv_err_prefix(err, "%s", who);
    return rc;
}

int vm_make_usb(struct vm_args *a, struct viv_err *err)
{
    struct viv_opts *o = a->cfg.machine_opts;
    bool on = o && viv_opts_bool(o, "usb");

    if (a->usb && o && viv_opts_given(o, "usb") && !on)
        return viv_fail(err, EINVAL, "-usb and -machine usb=off exclude each other");
    return a->usb || on ? make_controllers(a, a->usb ? "-usb" : "-machine usb=on", err) : 0;
}

int vm_make_usb_devices(struct vm_args *a, struct viv_err *err)
{
    static const struct {
        const char *name, *cls;
    } kinds[] = {{"tablet", "usb-tablet"}, {"mouse", "usb-mouse"}, {"keyboard", "usb-kbd"}};
    int rc = 0;

    FOR_ITEMS(a->usbdevices, it) {
        const char *cls = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
            cls = strcmp(it->text, kinds[i].name) ? cls : kinds[i].cls;
        if (!cls)
            return viv_fail(err, EINVAL, "-usbdevice %.60s: there are tablet, mouse and keyboard; others are -device usb-...", it->text);
        if (!viv_usb_bus_next(NULL))
            rc = make_controllers(a, "-usbdevice", err);
        if (!rc) {
            rc = vm_make_device(a, cls, err);
            if (rc < 0)
                viv_err_prefix(err, "-usbdevice %s", it->text);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}
