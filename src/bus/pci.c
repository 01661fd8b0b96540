/* The PCI bus: configuration mechanism #1 (PCI 3.0, 3.2.2.3.2), placing functions, interrupt lines. One bus, no
 * bridges behind it yet: type 1 cycles end in a master abort. */
#include "bus/pci_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define CONFIG_ENABLE 0x80000000u

struct viv_pci_bus *viv_pci_bus_new(struct viv_board *board, const char *name)
{
    struct viv_pci_bus *bus = g_new0(struct viv_pci_bus, 1);

    bus->board = board;
    bus->name = g_strdup(name);
    return bus;
}

void viv_pci_bus_free(struct viv_pci_bus *bus)
{
    if (!bus)
        return;
    viv_region_free(bus->ports[0]);
    viv_region_free(bus->ports[1]);
    g_free(bus->name);
    g_free(bus);
}

const char *viv_pci_bus_name(const struct viv_pci_bus *bus)
{
    return bus->name;
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
    return devfn < 256 ? bus->dev[devfn] : NULL;
}

char *viv_pci_fw_path(const struct viv_pci_dev *d, const char *kind)
{
    unsigned slot = d->devfn >> 3, fn = d->devfn & 7;

    return fn ? g_strdup_printf("/pci@i0cf8/%s@%x,%x", kind, slot, fn) : g_strdup_printf("/pci@i0cf8/%s@%x", kind, slot);
}

/* ---- configuration cycles ---- */

static uint32_t ones(unsigned len)
{
    return len >= 4 ? UINT32_MAX : (1u << (8 * len)) - 1;
}

uint32_t viv_pci_config_read(struct viv_pci_bus *bus, unsigned devfn, unsigned off, unsigned len)
{
    struct viv_pci_dev *d = viv_pci_at(bus, devfn);

    return d ? viv_pci_dev_read(d, off, len) : ones(len);
}

void viv_pci_config_write(struct viv_pci_bus *bus, unsigned devfn, unsigned off, uint32_t value,
                          unsigned len)
{
    struct viv_pci_dev *d = viv_pci_at(bus, devfn);

    if (d)
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

static bool addressed(const struct viv_pci_bus *bus)
{
    return (bus->config_addr & CONFIG_ENABLE) && !(bus->config_addr >> 16 & 0xff);
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_pci_bus *bus = opaque;

    if (!addressed(bus))
        return ones(size);
    return viv_pci_config_read(bus, bus->config_addr >> 8 & 0xff,
                               (bus->config_addr & 0xfc) + (unsigned)off, size);
}

static void data_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct viv_pci_bus *bus = opaque;

    if (addressed(bus))
        viv_pci_config_write(bus, bus->config_addr >> 8 & 0xff,
                             (bus->config_addr & 0xfc) + (unsigned)off, (uint32_t)value, size);
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

static unsigned pirq_of(const struct viv_pci_dev *d)
{
    unsigned pin = (d->config[PCI_INT_PIN] - 1) & 3;

    return ((d->devfn >> 3) + pin + 3) & 3;
}

static bool wants_intx(const struct viv_pci_dev *d)
{
    return d->intx_level && d->config[PCI_INT_PIN] && d->bus &&
           !(viv_ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF);
}

/* `drive`: tell the receiver. Not after load, which restores the receiver by itself. */
void viv_pci_update_intx(struct viv_pci_dev *d, bool drive)
{
    bool want = wants_intx(d);
    unsigned line;

    if (want == d->intx_asserted || !d->bus)
        return;
    line = pirq_of(d);
    d->intx_asserted = want;
    d->bus->asserted[line] += want ? 1 : -1;
    if (drive && d->bus->set_pirq && d->bus->asserted[line] == want)
        d->bus->set_pirq(d->bus->pirq_opaque, (int)line, want);
}

void viv_pci_set_intx(struct viv_pci_dev *d, int level)
{
    d->intx_level = level != 0;
    viv_pci_update_intx(d, true);
}

/* ---- placing ---- */

/* "3", "0x1f", "1f.7" */
static int parse_addr(const char *text, unsigned *devfn)
{
    char *end;
    guint64 slot = g_ascii_strtoull(text, &end, 16), fn = 0;

    if (end == text)
        return -EINVAL;
    if (*end == '.') {
        const char *start = end + 1;

        fn = g_ascii_strtoull(start, &end, 16);
        if (end == start)
            return -EINVAL;
    }
    if (*end || slot > 31 || fn > 7 || *text == '-' || strchr(text, ' '))
        return -EINVAL;
    *devfn = (unsigned)(slot << 3 | fn);
    return 0;
}

static bool slot_empty(struct viv_pci_bus *bus, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++) {
        if (bus->dev[slot << 3 | fn])
            return false;
    }
    return true;
}

static int first_free(struct viv_pci_bus *bus, const char *what, unsigned *devfn,
                      struct viv_err *err)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        if (slot_empty(bus, slot)) {
            *devfn = slot << 3;
            return 0;
        }
    }
    return viv_fail(err, ENOSPC,
                    "%s: all 32 slots of bus '%s' are taken; put several functions into one slot "
                    "(addr=SLOT.FUNCTION, multifunction=on)",
                    what, bus->name);
}

/* A guest looks at functions 1-7 only where function 0 says that there are more. */
static int check_function(struct viv_pci_bus *bus, unsigned devfn, bool multi, const char *what,
                          struct viv_err *err)
{
    struct viv_pci_dev *at = bus->dev[devfn], *zero = bus->dev[devfn & ~7u];
    unsigned slot = devfn >> 3, fn = devfn & 7;

    if (at)
        return viv_fail(err, EBUSY, "%s: addr=%x.%x on bus '%s' is taken by '%s'", what, slot, fn,
                        bus->name, at->dev.cls->name);
    if (fn && zero && !(zero->config[PCI_HEADER_TYPE] & 0x80))
        return viv_fail(err, EINVAL, "%s: addr=%x.%x needs multifunction=on at function 0 ('%s')",
                        what, slot, fn, zero->dev.cls->name);
    if (!fn && !multi && !slot_empty(bus, slot))
        return viv_fail(err, EINVAL,
                        "%s: slot %x has more functions, so this one needs multifunction=on", what,
                        slot);
    return 0;
}

int viv_pci_place(struct viv_pci_dev *d, struct viv_pci_bus *bus, const char *addr, bool multi,
                  const char *what, struct viv_err *err)
{
    unsigned devfn = 0;
    int r;

    if (!addr)
        r = first_free(bus, what, &devfn, err);
    else if (parse_addr(addr, &devfn) < 0)
        r = viv_fail(err, EINVAL,
                     "%s: addr=%s is not a PCI address: slot 0-1f, or slot.function "
                     "(function 0-7), in hex",
                     what, addr);
    else
        r = check_function(bus, devfn, multi, what, err);
    if (r < 0)
        return r;
    d->bus = bus;
    d->devfn = (uint8_t)devfn;
    bus->dev[devfn] = d;
    return 0;
}
