/* Bridges. What a bridge forwards depends on its command register and its three windows; when they change, the BARs of all
 * that is below are mapped anew, as one change of the map. Left out: forwarding of VGA's own addresses (a VGA behind a bridge
 * answers on them by its own command register), the ISA bit, parity and SERR#. */
#include "bus/pci_bridge.h"
#include "bus/pci_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

enum {
    HEADER_BRIDGE = 1,
    PREF_64BIT = 1,
    CONTROL_RESET = 1 << 6,
    CONTROL_WRITABLE = 0x0043, /* parity, SERR#, reset */
};

static struct viv_pci_bridge *bridges;

/* ---- windows ---- */

static bool within(uint64_t first, uint64_t last, uint64_t base, uint64_t limit)
{
    return base <= limit && first >= base && last <= limit;
}

bool viv_pci_bridge_passes(const struct viv_pci_dev *bridge, bool io, uint64_t first, uint64_t last)
{
    const uint8_t *c = bridge->config;
    uint16_t command = viv_ld_le16(c + PCI_COMMAND);
    uint64_t base, limit;

    if (viv_pci_asleep(bridge) || !(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEM)))
        return false;
    if (io)
        return within(first, last, (c[PCI_IO_BASE] & 0xf0u) << 8, (c[PCI_IO_LIMIT] & 0xf0u) << 8 | 0xfff);
    base = (uint64_t)(viv_ld_le16(c + PCI_MEM_BASE) & 0xfff0) << 16;
    limit = (uint64_t)(viv_ld_le16(c + PCI_MEM_LIMIT) & 0xfff0) << 16 | 0xfffff;
    if (within(first, last, base, limit))
        return true;
    base = (uint64_t)viv_ld_le32(c + PCI_PREF_BASE_HIGH) << 32 | (uint64_t)(viv_ld_le16(c + PCI_PREF_BASE) & 0xfff0) << 16;
    limit = (uint64_t)viv_ld_le32(c + PCI_PREF_LIMIT_HIGH) << 32 | (uint64_t)(viv_ld_le16(c + PCI_PREF_LIMIT) & 0xfff0) << 16 | 0xfffff;
    return within(first, last, base, limit);
}

bool viv_pci_reachable(const struct viv_pci_dev *d, bool io, uint64_t first, uint64_t last)
{
    for (const struct viv_pci_dev *b = d->bus->bridge; b; b = b->bus->bridge) {
        if (!viv_pci_bridge_passes(b, io, first, last))
            return false;
    }
    return true;
}

static void remap_below(struct viv_pci_bus *bus)
{
    for (unsigned i = 0; i < 256; i++) {
        if (bus->dev[i])
            viv_pci_remap(bus->dev[i]);
    }
    for (struct viv_pci_bus *b = bus->child; b; b = b->next)
        remap_below(b);
}

void viv_pci_bus_remap(struct viv_pci_bus *bus)
{
    viv_space_begin(bus->board->mem);
    viv_space_begin(bus->board->io);
    remap_below(bus);
    viv_space_commit(bus->board->io);
    viv_space_commit(bus->board->mem);
}

/* ---- guest writes ---- */

/* Secondary bus reset (3.2.5.18): the functions below go back to power on. A bridge among them resets what is below it. */
static void reset_below(struct viv_pci_bus *bus)
{
    for (unsigned i = 0; i < 256; i++) {
        struct viv_pci_dev *d = viv_pci_at(bus, i);

        if (d)
            viv_dev_reset(&d->dev);
    }
    for (struct viv_pci_bus *b = bus->child; b; b = b->next)
        reset_below(b);
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    struct viv_pci_bridge *b = (struct viv_pci_bridge *)d;
    bool reset = d->config[PCI_BRIDGE_CONTROL] & CONTROL_RESET;

    if (viv_pci_touches(off, len, PCI_BRIDGE_CONTROL, 1) && reset && !b->resetting)
        reset_below(b->below);
    b->resetting = reset;
    if (viv_pci_touches(off, len, PCI_COMMAND, 2) || viv_pci_touches(off, len, PCI_IO_BASE, 20) ||
        (d->pm_cap && viv_pci_touches(off, len, d->pm_cap + PM_CONTROL, 2)))
        viv_pci_bus_remap(b->below);
}

/* ---- making ---- */

static void init_header(struct viv_pci_dev *d)
{
    uint8_t *c = d->config, *w = d->wmask;

    c[PCI_HEADER_TYPE] |= HEADER_BRIDGE;
    viv_st_le16(c + PCI_PREF_BASE, PREF_64BIT);
    viv_st_le16(c + PCI_PREF_LIMIT, PREF_64BIT);
    w[PCI_PRIMARY] = w[PCI_SECONDARY] = w[PCI_SUBORDINATE] = w[0x1b] = 0xff;
    w[PCI_IO_BASE] = w[PCI_IO_LIMIT] = 0xf0;
    for (unsigned reg = PCI_MEM_BASE; reg <= PCI_PREF_LIMIT; reg += 2)
        viv_st_le16(w + reg, 0xfff0);
    viv_st_le32(w + PCI_PREF_BASE_HIGH, ~0u);
    viv_st_le32(w + PCI_PREF_LIMIT_HIGH, ~0u);
    viv_st_le16(w + PCI_BRIDGE_CONTROL, CONTROL_WRITABLE);
    viv_st_le16(d->w1cmask + PCI_SECONDARY_STATUS, 0xf900);
    d->config_written = config_written;
}

int viv_pci_bridge_init(struct viv_pci_bridge *b, const struct viv_pci_ids *ids, enum viv_pci_bus_kind below, struct viv_opts *opts,
                        struct viv_err *err)
{
    struct viv_pci_dev *d = &b->pci;
    const char *rom = viv_opts_str(opts, "romfile");
    g_autofree char *name = NULL;
    int rc;

    if (rom && *rom)
        return viv_fail(err, EINVAL, "%s: romfile=%s: a bridge has no expansion ROM; leave it out", viv_opts_what(opts), rom);
    rc = viv_pci_dev_init(d, ids, opts, err);
    if (rc < 0)
        return rc;
    init_header(d);
    name = d->dev.id ? g_strdup(d->dev.id) : g_strdup_printf("%s.%02x.%x", d->bus->name, d->devfn >> 3, d->devfn & 7);
    b->below = viv_pci_bus_below(d, name, below);
    b->next = bridges;
    bridges = b;
    return 0;
}

void viv_pci_bridge_fini(struct viv_pci_bridge *b)
{
    struct viv_pci_bridge **p = &bridges;

    while (*p != b)
        p = &(*p)->next;
    *p = b->next;
    viv_pci_bus_free(b->below);
    b->below = NULL;
    viv_pci_dev_fini(&b->pci);
}

void viv_pci_bridge_reset(struct viv_pci_bridge *b)
{
    b->resetting = false;
    viv_pci_dev_reset(&b->pci);
    viv_pci_bus_remap(b->below);
}

int viv_pci_bridge_take_slot(struct viv_pci_bridge *b, uint16_t chassis, uint16_t slot, struct viv_opts *opts, struct viv_err *err)
{
    for (struct viv_pci_bridge *o = bridges; o && (chassis || slot); o = o->next) {
        if (o != b && o->chassis == chassis && o->slot == slot)
            return viv_fail(err, EBUSY, "%s: chassis=%u,slot=%u is taken by the '%s' at %s; give each bridge a pair of its own",
                            viv_opts_what(opts), chassis, slot, o->pci.dev.cls->name, o->pci.dev.path);
    }
    b->chassis = chassis;
    b->slot = slot;
    return 0;
}

/* ---- state ---- */

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_pci_bridge *b = obj;

    b->resetting = b->pci.config[PCI_BRIDGE_CONTROL] & CONTROL_RESET;
    viv_pci_bus_remap(b->below);
    return 0;
}

const struct viv_state_table viv_pci_bridge_state = {
    .name = "pci-bridge",
    .ctype = "viv_pci_bridge",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(viv_pci_bridge, pci, viv_pci_dev_state),
            VIV_F_CONFIG(viv_pci_bridge, below),
            VIV_F_CONFIG(viv_pci_bridge, chassis),
            VIV_F_CONFIG(viv_pci_bridge, slot),
            VIV_F_DERIVED(viv_pci_bridge, resetting, "the bridge control register"),
            VIV_F_CONFIG(viv_pci_bridge, next),
            VIV_F_END,
        },
    .post_load = post_load,
};
