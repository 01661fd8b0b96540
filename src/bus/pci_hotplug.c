/* Functions that come and go while the machine runs: what is the same whoever tells the guest. */
#include "bus/pci_int.h"

#include <errno.h>

void viv_pci_bus_set_slots(struct viv_pci_bus *bus, const struct viv_pci_slots *slots, void *opaque)
{
    bus->slots = slots;
    bus->slots_opaque = opaque;
}

bool viv_pci_bus_takes_plugs(const struct viv_pci_bus *bus)
{
    return bus->slots;
}

/* What would work: a bus that somebody tells the guest about. */
static const char *instead(const struct viv_pci_bus *bus, const struct viv_pci_bus *root)
{
    if (bus->kind == VIV_PCIE_LINK)
        return "leave out hotplug=off of its port";
    if (viv_pci_bus_kind(root) == VIV_PCIE_ROOT)
        return "that of a pcie-root-port does: bus=ID";
    return "guests are told by ACPI, of the first 16 buses, unless acpi=off or -global PIIX4_PM.acpi-...=off";
}

static int refuse(const struct viv_pci_bus *bus, const struct viv_board *board, struct viv_err *err)
{
    return viv_fail(err, ENOTSUP, "Bus '%s' does not support hotplugging; %s", bus->name, instead(bus, board->pci));
}

static int check(struct viv_board *board, struct viv_opts *opts, struct viv_err *err)
{
    struct viv_pci_bus *bus = viv_pci_bus_wanted(board, opts, err);

    if (!bus)
        return -ENODEV;
    return bus->slots ? 0 : refuse(bus, board, err);
}

static void plugged(struct viv_dev *d)
{
    struct viv_pci_dev *p = (struct viv_pci_dev *)d;

    p->bus->slots->plugged(p->bus->slots_opaque, p);
}

static int ask(struct viv_dev *d, struct viv_err *err)
{
    struct viv_pci_dev *p = (struct viv_pci_dev *)d;

    return p->bus->slots ? p->bus->slots->ask(p->bus->slots_opaque, p, err) : refuse(p->bus, d->board, err);
}

/* Without power: nothing is decoded, no interrupt is sent, and what is under way ends unheard. */
static void unplug(struct viv_dev *d)
{
    struct viv_pci_dev *p = (struct viv_pci_dev *)d;

    if (p->pulled) {
        viv_pci_dev_reset(p);
        p->pulled(p);
    } else {
        viv_dev_reset(d);
    }
    p->bus->dev[p->devfn] = NULL;
    if (p->bus->slots && p->bus->slots->pulled)
        p->bus->slots->pulled(p->bus->slots_opaque, p);
}

const struct viv_hotplug viv_pci_hotplug = {.check = check, .plugged = plugged, .ask = ask, .unplug = unplug};

void viv_pci_slot_off(struct viv_pci_bus *bus, unsigned slot)
{
    for (unsigned fn = 8; fn--;) {
        struct viv_pci_dev *d = viv_pci_at(bus, slot << 3 | fn);

        if (d && d->dev.cls->hotplug)
            viv_dev_unplug(&d->dev);
    }
}

bool viv_pci_slot_removable(struct viv_pci_bus *bus, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++) {
        const struct viv_pci_dev *d = bus->dev[slot << 3 | fn];

        if (d && !d->dev.cls->hotplug)
            return false;
    }
    return true;
}
