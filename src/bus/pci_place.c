/* Where functions go: buses by name, addresses as people write them. */
#include "bus/pci_int.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* ---- placing ---- */

static struct viv_pci_bus *by_name(struct viv_pci_bus *bus, const char *name)
{
    struct viv_pci_bus *found = strcmp(bus->name, name) ? NULL : bus;

    for (struct viv_pci_bus *b = bus->child; b && !found; b = b->next)
        found = by_name(b, name);
    return found;
}

static void list_names(const struct viv_pci_bus *bus, GString *s)
{
    g_string_append_printf(s, "%s'%s'", s->len ? ", " : "", bus->name);
    for (const struct viv_pci_bus *b = bus->child; b; b = b->next)
        list_names(b, s);
}

struct viv_pci_bus *viv_pci_bus_wanted(struct viv_board *board, struct viv_opts *opts, struct viv_err *err)
{
    const char *name = viv_opts_str(opts, "bus"), *what = viv_opts_what(opts);
    struct viv_pci_bus *bus = board->pci && name ? by_name(board->pci, name) : board->pci;
    g_autoptr(GString) names = NULL;

    if (bus)
        return bus;
    if (!board->pci) {
        viv_fail(err, ENODEV, "%s: this machine has no PCI bus", what);
        return NULL;
    }
    names = g_string_new(NULL);
    list_names(board->pci, names);
    viv_fail(err, ENODEV, "%s: there is no bus '%s'; there is %.300s (a bridge's bus has the bridge's id, and the bridge "
             "comes first)", what, name, names->str);
    return NULL;
}

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
    for (unsigned slot = 0; slot < (bus->kind == VIV_PCIE_LINK ? 1 : 32); slot++) {
        if (slot_empty(bus, slot)) {
            *devfn = slot << 3;
            return 0;
        }
    }
    if (bus->kind == VIV_PCIE_LINK)
        return viv_fail(err, ENOSPC, "%s: bus '%s' leads to one slot, and that is taken by '%s'; add another port", what,
                        bus->name, bus->dev[0] ? bus->dev[0]->dev.cls->name : "a function");
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

    if (slot && bus->kind == VIV_PCIE_LINK)
        return viv_fail(err, EINVAL, "%s: addr=%x.%x: bus '%s' leads to one slot, addr=0", what, slot, fn, bus->name);
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
