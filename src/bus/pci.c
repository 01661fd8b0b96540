/* PCI buses: the tree of them, configuration mechanism #1 (PCI 3.0, 3.2.2.3.2), interrupt lines. */
#include "bus/pci_int.h"

#include "base/bytes.h"

#include <glib.h>

#define CONFIG_ENABLE 0x80000000u

struct viv_pci_bus *viv_pci_bus_new(struct viv_board *board, const char *name)
{
    struct viv_pci_bus *bus = g_new0(struct viv_pci_bus, 1);

    bus->board = board;
    bus->name = g_strdup(name);
    return bus;
}

struct viv_pci_bus *viv_pcie_bus_new(struct viv_board *board, const char *name)
{
    struct viv_pci_bus *bus = viv_pci_bus_new(board, name);

    bus->kind = VIV_PCIE_ROOT;
    return bus;
}

struct viv_pci_bus *viv_pci_bus_below(struct viv_pci_dev *bridge, const char *name, enum viv_pci_bus_kind kind)
{
    struct viv_pci_bus *bus = viv_pci_bus_new(bridge->bus->board, name), **end = &bridge->bus->child;

    bus->kind = kind;
    bus->bridge = bridge;
    while (*end)
        end = &(*end)->next;
    *end = bus;
    return bus;
}

static void leave(struct viv_pci_bus *bus)
{
    struct viv_pci_bus **p = &bus->bridge->bus->child;

    for (unsigned i = 0; i < 256; i++)
        g_assert(!bus->dev[i]);
    while (*p != bus)
        p = &(*p)->next;
    *p = bus->next;
}

void viv_pci_bus_free(struct viv_pci_bus *bus)
{
    if (!bus)
        return;
    if (bus->bridge)
        leave(bus);
    viv_region_free(bus->ports[0]);
    viv_region_free(bus->ports[1]);
    g_free(bus->name);
    g_free(bus);
}

const char *viv_pci_bus_name(const struct viv_pci_bus *bus)
{
    return bus->name;
}

enum viv_pci_bus_kind viv_pci_bus_kind(const struct viv_pci_bus *bus)
{
    return bus->kind;
}

struct viv_pci_dev *viv_pci_bus_bridge(const struct viv_pci_bus *bus)
{
    return bus->bridge;
}

struct viv_pci_bus *viv_pci_bus_behind(const struct viv_pci_dev *d)
{
    struct viv_pci_bus *b = d->bus->child;

    while (b && b->bridge != d)
        b = b->next;
    return b;
}

/* A bridge passes on cycles for its secondary to its subordinate bus; 0 is never one of these (3.2.5.3). */
struct viv_pci_bus *viv_pci_bus_at(struct viv_pci_bus *bus, unsigned number)
{
    struct viv_pci_bus *below = number ? bus->child : NULL;

    if (!number)
        return bus;
    while (below) {
        const uint8_t *c = below->bridge->config;

        if (number == c[PCI_SECONDARY])
            return below;
        if (c[PCI_SECONDARY] && number > c[PCI_SECONDARY] && number <= c[PCI_SUBORDINATE])
            below = below->child;
        else
            below = below->next;
    }
    return NULL;
}

void viv_pci_bus_set_route(struct viv_pci_bus *bus, unsigned (*route)(unsigned slot, unsigned pin))
{
    bus->route = route;
}

void viv_pci_bus_set_pirq(struct viv_pci_bus *bus, void (*fn)(void *opaque, int pirq, int level),
                          void *opaque)
{
    bus->set_pirq = fn;
    bus->pirq_opaque = opaque;
}

void viv_pci_bus_set_reset_port(struct viv_pci_bus *bus, const struct viv_region_ops *ops,
                                void *opaque)
{
    bus->reset_ops = ops;
    bus->reset_opaque = opaque;
}

uint32_t viv_pci_bus_config_addr(const struct viv_pci_bus *bus)
{
    return bus->config_addr;
}

void viv_pci_bus_set_config_addr(struct viv_pci_bus *bus, uint32_t addr)
{
    bus->config_addr = addr & ~3u;
}

struct viv_pci_dev *viv_pci_at(struct viv_pci_bus *bus, unsigned devfn)
{
    struct viv_pci_dev *d = devfn < 256 ? bus->dev[devfn] : NULL;

    return d && d->dev.life == VIV_DEV_MAKING && bus->board->made ? NULL : d;
}

char *viv_pci_fw_path(const struct viv_pci_dev *d, const char *kind)
{
    unsigned slot = d->devfn >> 3, fn = d->devfn & 7;
    g_autofree char *above = d->bus->bridge ? viv_pci_fw_path(d->bus->bridge, "pci-bridge") : g_strdup("/pci@i0cf8");

    return fn ? g_strdup_printf("%s/%s@%x,%x", above, kind, slot, fn) : g_strdup_printf("%s/%s@%x", above, kind, slot);
}

/* ---- configuration cycles ---- */

static uint32_t ones(unsigned len)
{
    return len >= 4 ? UINT32_MAX : (1u << (8 * len)) - 1;
}

/* Who hears a cycle on this bus: nobody where there is no bus, or no link. */
static struct viv_pci_dev *target(struct viv_pci_bus *bus, unsigned devfn)
{
    if (!bus || (bus->kind == VIV_PCIE_LINK && !viv_pcie_link_up(bus->bridge)))
        return NULL;
    return viv_pci_at(bus, devfn);
}

uint32_t viv_pci_config_read(struct viv_pci_bus *bus, unsigned devfn, unsigned off, unsigned len)
{
    struct viv_pci_dev *d = target(bus, devfn);

    return d && off < d->config_size ? viv_pci_dev_read(d, off, len) : ones(len);
}

void viv_pci_config_write(struct viv_pci_bus *bus, unsigned devfn, unsigned off, uint32_t value,
                          unsigned len)
{
    struct viv_pci_dev *d = target(bus, devfn);

    if (d && off < d->config_size)
        viv_pci_dev_write(d, off, value, len);
}

/* ---- ports ---- */

static uint64_t address_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_pci_bus *bus = opaque;

    if (off == 0 && size == 4)
        return bus->config_addr;
    if (off == 1 && size == 1 && bus->reset_ops)
        return bus->reset_ops->read(bus->reset_opaque, 0, 1);
    return ones(size);
}

static void address_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct viv_pci_bus *bus = opaque;

    if (off == 0 && size == 4)
        viv_pci_bus_set_config_addr(bus, (uint32_t)value);
    else if (off == 1 && size == 1 && bus->reset_ops)
        bus->reset_ops->write(bus->reset_opaque, 0, value, 1);
}

/* The bus that the address register names; NULL: none, or the register is off. */
static struct viv_pci_bus *addressed(struct viv_pci_bus *bus)
{
    return bus->config_addr & CONFIG_ENABLE ? viv_pci_bus_at(bus, bus->config_addr >> 16 & 0xff) : NULL;
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_pci_bus *bus = opaque;

    return viv_pci_config_read(addressed(bus), bus->config_addr >> 8 & 0xff,
                               (bus->config_addr & 0xfc) + (unsigned)off, size);
}

static void data_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct viv_pci_bus *bus = opaque;

    viv_pci_config_write(addressed(bus), bus->config_addr >> 8 & 0xff, (bus->config_addr & 0xfc) + (unsigned)off,
                         (uint32_t)value, size);
}

void viv_pci_bus_add_ports(struct viv_pci_bus *bus)
{
    static const struct viv_region_ops address = {address_read, address_write, 1, 4, false, false};
    static const struct viv_region_ops data = {data_read, data_write, 1, 4, false, false};
    struct viv_region_desc desc = {.name = "pci-config-address",
                                   .kind = VIV_REGION_IO,
                                   .size = 4,
                                   .ops = &address,
                                   .opaque = bus};

    bus->ports[0] = viv_region_new(bus->board->io, &desc);
    viv_region_map(bus->ports[0], 0xcf8, 1);
    desc.name = "pci-config-data";
    desc.ops = &data;
    bus->ports[1] = viv_region_new(bus->board->io, &desc);
    viv_region_map(bus->ports[1], 0xcfc, 1);
}

/* ---- interrupt lines ---- */

static struct viv_pci_bus *root_of(struct viv_pci_bus *bus)
{
    while (bus->bridge)
        bus = bus->bridge->bus;
    return bus;
}

unsigned viv_pci_slot_pirq(const struct viv_pci_bus *root, unsigned slot, unsigned pin)
{
    return root->route ? root->route(slot, pin) % VIV_PCI_PIRQS : (slot + pin + 3) & 3;
}

unsigned viv_pci_pirq(const struct viv_pci_dev *d)
{
    unsigned pin = (d->config[PCI_INT_PIN] - 1) & 3;

    for (; d->bus->bridge; d = d->bus->bridge)
        pin = ((d->devfn >> 3) + pin) & 3;
    return viv_pci_slot_pirq(d->bus, d->devfn >> 3, pin);
}

/* With messages on a function leaves its pin alone (PCI 3.0, 6.8.1.3, 6.8.2.3). */
static bool wants_intx(const struct viv_pci_dev *d)
{
    return d->intx_level && d->config[PCI_INT_PIN] && viv_pci_on_bus(d) && !viv_msi_enabled(d) && !viv_msix_enabled(d) &&
           !(viv_ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF);
}

/* `drive`: tell the receiver. Not after load, which restores the receiver by itself. */
void viv_pci_update_intx(struct viv_pci_dev *d, bool drive)
{
    bool want = wants_intx(d);
    struct viv_pci_bus *root;
    unsigned line;

    if (want == d->intx_asserted || !d->bus)
        return;
    line = viv_pci_pirq(d);
    root = root_of(d->bus);
    d->intx_asserted = want;
    root->asserted[line] += want ? 1 : -1;
    if (drive && root->set_pirq && root->asserted[line] == want)
        root->set_pirq(root->pirq_opaque, (int)line, want);
}

void viv_pci_set_intx(struct viv_pci_dev *d, int level)
{
    d->intx_level = level != 0;
    viv_pci_update_intx(d, true);
}

bool viv_pci_bus_master(const struct viv_pci_dev *d)
{
    return viv_ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}
