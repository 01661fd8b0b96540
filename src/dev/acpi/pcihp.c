#include "dev/acpi/pcihp.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { UP = 0x00, DOWN = 0x04, EJECT = 0x08, REMOVABLE = 0x0c, SELECT = 0x10, REFUSE = 0x18 };

static uint32_t bit_of(const struct viv_pci_dev *d)
{
    return 1u << (d->devfn >> 3);
}

/* ---- the machine's side ---- */

static void plugged(void *opaque, struct viv_pci_dev *d)
{
    struct viv_pcihp_bus *b = opaque;
    struct viv_pcihp *h = b->hp;

    if (d->devfn & 7)
        return; /* the guest looks for it when function 0 comes */
    h->up[b - h->bus] |= bit_of(d);
    h->event(h->dev);
}

static int ask(void *opaque, struct viv_pci_dev *d, struct viv_err *err)
{
    struct viv_pcihp_bus *b = opaque;
    struct viv_pcihp *h = b->hp;

    if (!viv_pci_slot_removable(b->pci, d->devfn >> 3))
        return viv_fail(err, ENOTSUP, "Device '%s' does not support hotplugging: other functions in its slot stay", d->dev.cls->name);
    h->down[b - h->bus] |= bit_of(d);
    h->event(h->dev);
    return 0;
}

static bool slot_empty(struct viv_pci_bus *bus, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++) {
        if (viv_pci_at(bus, slot << 3 | fn))
            return false;
    }
    return true;
}

static void pulled(void *opaque, struct viv_pci_dev *d)
{
    struct viv_pcihp_bus *b = opaque;
    struct viv_pcihp *h = b->hp;

    if (!slot_empty(b->pci, d->devfn >> 3))
        return;
    h->up[b - h->bus] &= ~bit_of(d);
    h->down[b - h->bus] &= ~bit_of(d);
}

static const struct viv_pci_slots slots = {.plugged = plugged, .ask = ask, .pulled = pulled};

uint32_t viv_pcihp_slots(const struct viv_pcihp *h, unsigned n)
{
    uint32_t bits = 0;

    if (n >= h->count || !viv_pci_bus_takes_plugs(h->bus[n].pci))
        return 0;
    for (unsigned slot = 0; slot < 32; slot++) {
        if (viv_pci_slot_removable(h->bus[n].pci, slot))
            bits |= 1u << slot;
    }
    return bits;
}

/* ---- the guest's side ---- */

static uint64_t hp_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_pcihp *h = opaque;
    uint32_t v = 0;

    if (off == SELECT)
        return h->select;
    if (h->select >= h->count)
        return 0;
    switch (off) {
    case UP:
        v = h->up[h->select];
        h->up[h->select] = 0;
        break;
    case DOWN:
        v = h->down[h->select];
        break;
    case REMOVABLE:
        v = viv_pcihp_slots(h, h->select);
        break;
    }
    return v;
}

/* Not only what it was asked for: a guest may let go by itself. */
static void eject(struct viv_pcihp *h, uint32_t bits)
{
    if (!viv_pci_bus_takes_plugs(h->bus[h->select].pci))
        return;
    h->down[h->select] &= ~bits;
    for (unsigned slot = 0; slot < 32; slot++) {
        if (bits >> slot & 1)
            viv_pci_slot_off(h->bus[h->select].pci, slot);
    }
}

static void refuse(struct viv_pcihp *h, unsigned slot)
{
    if (!(h->down[h->select] >> slot & 1))
        return;
    h->down[h->select] &= ~(1u << slot);
    for (unsigned fn = 0; fn < 8; fn++) {
        struct viv_pci_dev *d = viv_pci_at(h->bus[h->select].pci, slot << 3 | fn);

        if (d)
            viv_dev_unplug_refused(&d->dev);
    }
}

static void hp_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct viv_pcihp *h = opaque;
    uint32_t v = (uint32_t)value;

    if (off == SELECT)
        h->select = v;
    else if (h->select >= h->count)
        viv_guest_error("pcihp", "write of %x to register %x: bus %u is selected, and there are %u", v, (unsigned)off, h->select, h->count);
    else if (off == EJECT)
        eject(h, v);
    else if (off == REFUSE)
        refuse(h, v & 31);
}

/* ---- making ---- */

static struct viv_pcihp_bus *number(struct viv_pcihp *h, struct viv_pci_bus *bus)
{
    h->bus[h->count] = (struct viv_pcihp_bus){h, bus};
    return &h->bus[h->count++];
}

bool viv_pcihp_add(struct viv_pcihp *h, struct viv_pci_bus *bus)
{
    if (h->count == VIV_PCIHP_BUSES || h->bridges_stay)
        return false;
    viv_pci_bus_set_slots(bus, &slots, number(h, bus));
    return true;
}

void viv_pcihp_init(struct viv_pcihp *h, struct viv_pci_bus *root)
{
    static const struct viv_region_ops ops = {hp_read, hp_write, 4, 4, false, false};
    struct viv_region_desc desc = {.name = "acpi-pci-hotplug", .kind = VIV_REGION_IO, .size = VIV_PCIHP_SIZE, .ops = &ops, .opaque = h};

    number(h, root); /* 0, also where nothing is plugged in there */
    if (!h->root_stays)
        viv_pci_bus_set_slots(root, &slots, &h->bus[0]);
    h->ports = viv_region_new(h->dev->board->io, &desc);
    viv_region_map(h->ports, VIV_PCIHP_PORT, 0);
}

void viv_pcihp_fini(struct viv_pcihp *h)
{
    if (!h->ports)
        return;
    viv_pci_bus_set_slots(h->bus[0].pci, NULL, NULL); /* those of bridges have gone with them */
    viv_region_free(h->ports);
    h->ports = NULL;
}

void viv_pcihp_reset(struct viv_pcihp *h)
{
    memset(h->up, 0, sizeof(h->up));
    memset(h->down, 0, sizeof(h->down));
    h->select = 0;
}

/* Whether a device has been asked is known by its slot's bit. */
static int post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_pcihp *h = obj;

    for (unsigned n = 0; n < VIV_PCIHP_BUSES; n++) {
        if (n >= h->count && (h->up[n] | h->down[n]))
            return viv_fail(err, EINVAL, "hot-plug of bus %u in the saved state, there are %u", n, h->count);
        for (unsigned fn = 0; n < h->count && fn < 256; fn++) {
            struct viv_pci_dev *d = viv_pci_at(h->bus[n].pci, fn);

            if (d)
                viv_dev_set_asked(&d->dev, h->down[n] & bit_of(d));
        }
    }
    return 0;
}

const struct viv_state_table viv_pcihp_state = {
    .name = "acpi-pci-hotplug",
    .ctype = "viv_pcihp",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(viv_pcihp, dev),
            VIV_F_CONFIG(viv_pcihp, event),
            VIV_F_CONFIG(viv_pcihp, root_stays),
            VIV_F_CONFIG(viv_pcihp, bridges_stay),
            VIV_F_CONFIG(viv_pcihp, bus),
            VIV_F_CONFIG(viv_pcihp, count),
            VIV_F_INTS(viv_pcihp, up),
            VIV_F_INTS(viv_pcihp, down),
            VIV_F_INT(viv_pcihp, select),
            VIV_F_CONFIG(viv_pcihp, ports),
            VIV_F_END,
        },
    .post_load = post_load,
};
