/* Resource assignment as a BIOS does it (PCI 3.0, 6.2.5.1): each BAR is sized by writing ones, and placed by size,
 * the largest first, so that alignment leaves no holes. */
#include "machine/firmware.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/pci.h"

#include <glib.h>

struct bar {
    unsigned devfn, reg;
    bool io, mem64, prefetch;
    uint64_t size;
};

static uint32_t read32(struct viv_pci_bus *bus, unsigned devfn, unsigned reg)
{
    return viv_pci_config_read(bus, devfn, reg, 4);
}

/* Sizes one BAR; false when there is none. */
static bool size_bar(struct viv_pci_bus *bus, unsigned devfn, unsigned reg, struct bar *b)
{
    uint64_t mask;
    uint32_t low;

    viv_pci_config_write(bus, devfn, reg, 0xffffffff, 4);
    low = read32(bus, devfn, reg);
    viv_pci_config_write(bus, devfn, reg, 0, 4);
    if (!low)
        return false;
    *b = (struct bar){.devfn = devfn, .reg = reg, .io = low & 1};
    if (b->io) {
        mask = (low & ~3u) | ~0xffffull;
        b->size = (~mask + 1) & 0xffff;
        return b->size != 0;
    }
    b->mem64 = (low & 6) == 4;
    b->prefetch = low & 8;
    mask = (low & ~0xfu) | ~0xffffffffull;
    if (b->mem64) {
        viv_pci_config_write(bus, devfn, reg + 4, 0xffffffff, 4);
        mask = (low & ~0xfu) | (uint64_t)read32(bus, devfn, reg + 4) << 32;
        viv_pci_config_write(bus, devfn, reg + 4, 0, 4);
    }
    b->size = ~mask + 1;
    return b->size != 0;
}

static void collect(struct viv_pci_bus *bus, unsigned devfn, GArray *bars)
{
    for (unsigned reg = 0x10; reg < 0x28; reg += 4) {
        struct bar b;

        if (!size_bar(bus, devfn, reg, &b))
            continue;
        g_array_append_val(bars, b);
        if (b.mem64)
            reg += 4;
    }
}

static gint by_size(gconstpointer pa, gconstpointer pb)
{
    const struct bar *a = pa, *b = pb;

    if (a->size != b->size)
        return a->size < b->size ? 1 : -1;
    return a->devfn != b->devfn ? (int)a->devfn - (int)b->devfn : (int)a->reg - (int)b->reg;
}

/* Takes an aligned piece of [*next, last]; 0 when it does not fit. */
static uint64_t take(uint64_t *next, uint64_t last, uint64_t size)
{
    uint64_t at = (*next + size - 1) & ~(size - 1);

    if (!last || at < *next || at > last || size - 1 > last - at)
        return 0;
    *next = at + size;
    return at;
}

static void place(struct viv_pci_bus *bus, GArray *bars, const struct viv_pci_windows *w)
{
    uint64_t io = w->io_first, mem = w->mem_first, mem64 = w->mem64_first;

    for (guint i = 0; i < bars->len; i++) {
        const struct bar *b = &g_array_index(bars, struct bar, i);
        uint64_t at = b->io ? take(&io, w->io_last, b->size) : take(&mem, w->mem_last, b->size);
        uint16_t command;

        if (!at && b->mem64)
            at = take(&mem64, w->mem64_last, b->size);
        if (!at) {
            viv_log(VIV_LOG_PCI, "no room for BAR %u of %02x.%x", (b->reg - 0x10) / 4, b->devfn >> 3, b->devfn & 7);
            continue;
        }
        viv_pci_config_write(bus, b->devfn, b->reg, (uint32_t)at, 4);
        if (b->mem64)
            viv_pci_config_write(bus, b->devfn, b->reg + 4, (uint32_t)(at >> 32), 4);
        command = (uint16_t)(viv_pci_config_read(bus, b->devfn, 4, 2) | (b->io ? 1 : 2));
        viv_pci_config_write(bus, b->devfn, 4, command, 2);
    }
}

/* The first VGA also answers on the ports and addresses that VGAs have had before PCI. */
static void enable_vga(struct viv_pci_bus *bus)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (!viv_pci_at(bus, devfn) || viv_pci_config_read(bus, devfn, 0x0a, 2) != 0x0300)
            continue;
        viv_pci_config_write(bus, devfn, 4, viv_pci_config_read(bus, devfn, 4, 2) | 3, 2);
        return;
    }
}

void viv_firmware_pci(struct viv_pci_bus *bus, const struct viv_pci_windows *w, const uint8_t pirq_line[4])
{
    g_autoptr(GArray) bars = g_array_new(FALSE, FALSE, sizeof(struct bar));

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        uint32_t pin;

        if (!viv_pci_at(bus, devfn))
            continue;
        collect(bus, devfn, bars);
        pin = viv_pci_config_read(bus, devfn, 0x3d, 1);
        if (pin >= 1 && pin <= 4)
            viv_pci_config_write(bus, devfn, 0x3c, pirq_line[((devfn >> 3) + pin + 2) & 3], 1);
    }
    g_array_sort(bars, by_size);
    place(bus, bars, w);
    enable_vga(bus);
}
