/* Resource assignment as a BIOS does it (PCI 3.0, 6.2.5.1): buses are numbered depth first, each BAR is sized by writing
 * ones, a bridge's windows by what is below it; all is placed by size, the largest first, so that alignment leaves no holes. */
#include "machine/firmware.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/pci.h"

#include <glib.h>

#define HOT_PLUG_ROOM (2 * VIV_MIB) /* as kernels leave it themselves */
#define IO_WINDOW     (4 * VIV_KIB) /* what a bridge's begin and end at */

enum kind { IO, MEM, PREF, KINDS };

struct bus;

/* A BAR, or a window of a bridge. */
struct piece {
    unsigned devfn, reg;
    enum kind kind;
    bool mem64;
    bool spare; /* ports for what may be plugged in: of these there are few, so what is there has them first */
    uint64_t size, align;
    struct bus *below; /* NULL: a BAR */
};

struct bus {
    struct viv_pci_bus *pci;
    GArray *pieces; /* by alignment */
    GSList *below;  /* struct bus: owned */
};

static uint32_t read32(struct viv_pci_bus *bus, unsigned devfn, unsigned reg)
{
    return viv_pci_config_read(bus, devfn, reg, 4);
}

/* ---- what there is ---- */

/* Sizes one BAR; false when there is none. */
static bool size_bar(struct viv_pci_bus *bus, unsigned devfn, unsigned reg, struct piece *b)
{
    uint64_t mask;
    uint32_t low;

    viv_pci_config_write(bus, devfn, reg, 0xffffffff, 4);
    low = read32(bus, devfn, reg);
    viv_pci_config_write(bus, devfn, reg, 0, 4);
    if (!low)
        return false;
    *b = (struct piece){.devfn = devfn, .reg = reg, .kind = low & 1 ? IO : MEM};
    if (b->kind == IO) {
        mask = (low & ~3u) | ~0xffffull;
        b->size = b->align = (~mask + 1) & 0xffff;
        return b->size != 0;
    }
    b->mem64 = (low & 6) == 4;
    mask = (low & ~0xfu) | ~0xffffffffull;
    if (b->mem64) {
        if (low & 8)
            b->kind = PREF; /* what a bridge's prefetchable window can have: the only one that reaches above 4 GiB */
        viv_pci_config_write(bus, devfn, reg + 4, 0xffffffff, 4);
        mask = (low & ~0xfu) | (uint64_t)read32(bus, devfn, reg + 4) << 32;
        viv_pci_config_write(bus, devfn, reg + 4, 0, 4);
    }
    b->size = b->align = ~mask + 1;
    return b->size != 0;
}

static void collect_bars(struct bus *b, unsigned devfn, unsigned end)
{
    for (unsigned reg = 0x10; reg < end; reg += 4) {
        struct piece p;

        if (!size_bar(b->pci, devfn, reg, &p))
            continue;
        g_array_append_val(b->pieces, p);
        if (p.mem64)
            reg += 4;
    }
}

static uint64_t round_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

/* Where a bus's pieces of a kind end when they begin at `at`; *align: what `at` must be a multiple of. */
static uint64_t pack(const struct bus *b, enum kind kind, uint64_t at, uint64_t *align)
{
    for (guint i = 0; i < b->pieces->len; i++) {
        const struct piece *p = &g_array_index(b->pieces, struct piece, i);

        if (p->kind != kind)
            continue;
        *align = MAX(*align, p->align);
        at = round_up(at, p->align) + p->size;
    }
    return at;
}

static gint by_alignment(gconstpointer pa, gconstpointer pb)
{
    const struct piece *a = pa, *b = pb;

    if (a->spare != b->spare)
        return a->spare - b->spare;
    if (a->align != b->align)
        return a->align < b->align ? 1 : -1;
    return a->devfn != b->devfn ? (int)a->devfn - (int)b->devfn : (int)a->reg - (int)b->reg;
}

/* Whether something there has ports. */
static bool uses_io(const struct bus *b)
{
    for (guint i = 0; i < b->pieces->len; i++) {
        const struct piece *p = &g_array_index(b->pieces, struct piece, i);

        if (p->kind == IO && !p->spare)
            return true;
    }
    return false;
}

static uint64_t hot_plug_room(enum kind kind)
{
    return kind == IO ? IO_WINDOW : HOT_PLUG_ROOM;
}

static struct bus *survey(struct viv_pci_bus *pci, unsigned *last, const uint8_t *pirq_line);

/* The bus below gets the next number, and the buses below that the ones behind. */
static void collect_bridge(struct bus *b, unsigned devfn, struct viv_pci_bus *pci, unsigned *last, const uint8_t *pirq_line)
{
    static const uint8_t regs[KINDS] = {0x1c, 0x20, 0x24};
    const struct viv_pci_dev *up = viv_pci_bus_bridge(b->pci);
    unsigned own = up ? viv_pci_config_read(up->bus, up->devfn, 0x19, 1) : 0, number;
    struct bus *below;

    if (*last == 255) {
        viv_log(VIV_LOG_PCI, "no bus number for the bridge at %02x.%x", devfn >> 3, devfn & 7);
        return;
    }
    number = ++*last;
    viv_pci_config_write(b->pci, devfn, 0x18, own | number << 8 | 255u << 16, 4);
    below = survey(pci, last, pirq_line);
    viv_pci_config_write(b->pci, devfn, 0x1a, *last, 1);
    b->below = g_slist_prepend(b->below, below);
    for (enum kind k = IO; k < KINDS; k++) {
        uint64_t unit = k == IO ? IO_WINDOW : VIV_MIB;
        struct piece p = {.devfn = devfn, .reg = regs[k], .kind = k, .mem64 = k == PREF, .align = unit, .below = below};

        p.size = round_up(pack(below, k, 0, &p.align), unit);
        if (viv_pci_bus_takes_plugs(pci)) /* what comes later needs room */
            p.size = MAX(p.size, hot_plug_room(k));
        p.spare = k == IO && !uses_io(below);
        if (p.size)
            g_array_append_val(b->pieces, p);
    }
}

static struct bus *survey(struct viv_pci_bus *pci, unsigned *last, const uint8_t *pirq_line)
{
    struct bus *b = g_new0(struct bus, 1);

    b->pci = pci;
    b->pieces = g_array_new(FALSE, FALSE, sizeof(struct piece));
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        struct viv_pci_dev *d = viv_pci_at(pci, devfn);
        struct viv_pci_bus *below = d ? viv_pci_bus_behind(d) : NULL;

        if (!d)
            continue;
        collect_bars(b, devfn, below ? 0x18 : 0x28);
        if (below)
            collect_bridge(b, devfn, below, last, pirq_line);
        if (viv_pci_config_read(pci, devfn, 0x3d, 1))
            viv_pci_config_write(pci, devfn, 0x3c, pirq_line[viv_pci_pirq(d)], 1);
    }
    g_array_sort(b->pieces, by_alignment);
    return b;
}

static void bus_free(struct bus *b)
{
    for (GSList *i = b->below; i; i = i->next)
        bus_free(i->data);
    g_slist_free(b->below);
    g_array_unref(b->pieces);
    g_free(b);
}

/* ---- where it goes ---- */

static void decode(struct viv_pci_bus *bus, unsigned devfn, unsigned bits)
{
    viv_pci_config_write(bus, devfn, 4, viv_pci_config_read(bus, devfn, 4, 2) | bits, 2);
}

static void set_window(struct viv_pci_bus *bus, const struct piece *p, uint64_t at)
{
    uint64_t last = at + p->size - 1;

    if (p->kind == IO) {
        viv_pci_config_write(bus, p->devfn, p->reg, (uint32_t)(at >> 8 & 0xf0) | (uint32_t)(last & 0xf000), 2);
        return;
    }
    viv_pci_config_write(bus, p->devfn, p->reg, (uint32_t)(at >> 16 & 0xfff0) | (uint32_t)(last & 0xfff00000), 4);
    if (p->kind == PREF) {
        viv_pci_config_write(bus, p->devfn, 0x28, (uint32_t)(at >> 32), 4);
        viv_pci_config_write(bus, p->devfn, 0x2c, (uint32_t)(last >> 32), 4);
    }
}

static void put(struct bus *b, const struct piece *p, uint64_t at);

static void put_all(struct bus *b, enum kind kind, uint64_t at)
{
    for (guint i = 0; i < b->pieces->len; i++) {
        const struct piece *p = &g_array_index(b->pieces, struct piece, i);

        if (p->kind != kind)
            continue;
        at = round_up(at, p->align);
        put(b, p, at);
        at += p->size;
    }
}

static void put(struct bus *b, const struct piece *p, uint64_t at)
{
    if (p->below) {
        set_window(b->pci, p, at);
        decode(b->pci, p->devfn, p->kind == IO ? 5 : 6); /* and what is below may be master */
        put_all(p->below, p->kind, at);
        return;
    }
    viv_pci_config_write(b->pci, p->devfn, p->reg, (uint32_t)at, 4);
    if (p->mem64)
        viv_pci_config_write(b->pci, p->devfn, p->reg + 4, (uint32_t)(at >> 32), 4);
    decode(b->pci, p->devfn, p->kind == IO ? 1 : 2);
}

/* Closed, as 0 to FFFh and 0 to FFFFFh would be open ones. */
static void close_windows(struct bus *b)
{
    for (GSList *i = b->below; i; i = i->next) {
        struct bus *below = i->data;
        struct viv_pci_dev *d = viv_pci_bus_bridge(below->pci);

        viv_pci_config_write(b->pci, d->devfn, 0x1c, 0x00f0, 2);
        viv_pci_config_write(b->pci, d->devfn, 0x20, 0x0000fff0, 4);
        viv_pci_config_write(b->pci, d->devfn, 0x24, 0x0000fff0, 4);
        close_windows(below);
    }
}

/* Takes an aligned piece of [*next, last]; 0 when it does not fit. */
static uint64_t take(uint64_t *next, uint64_t last, const struct piece *p)
{
    uint64_t at = round_up(*next, p->align);

    if (!last || at < *next || at > last || p->size - 1 > last - at)
        return 0;
    *next = at + p->size;
    return at;
}

static void place(struct bus *root, const struct viv_pci_windows *w)
{
    uint64_t io = w->io_first, mem = w->mem_first, mem64 = w->mem64_first;

    for (guint i = 0; i < root->pieces->len; i++) {
        const struct piece *p = &g_array_index(root->pieces, struct piece, i);
        uint64_t at = p->kind == IO ? take(&io, w->io_last, p) : take(&mem, w->mem_last, p);

        if (!at && p->mem64)
            at = take(&mem64, w->mem64_last, p);
        if (at)
            put(root, p, at);
        else
            viv_log(VIV_LOG_PCI, "no room for register %02xh of %02x.%x", p->reg, p->devfn >> 3, p->devfn & 7);
    }
}

int viv_firmware_find_vga(struct viv_pci_bus *bus)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (viv_pci_at(bus, devfn) && viv_pci_config_read(bus, devfn, 0x0a, 2) == 0x0300)
            return (int)devfn;
    }
    return -1;
}

void viv_firmware_pci(struct viv_pci_bus *bus, const struct viv_pci_windows *w, const uint8_t pirq_line[VIV_PCI_PIRQS])
{
    unsigned last = 0;
    struct bus *root = survey(bus, &last, pirq_line);
    int vga = viv_firmware_find_vga(bus);

    close_windows(root);
    place(root, w);
    if (vga >= 0) /* it answers on the ports and addresses, too, that VGAs have had before PCI */
        decode(bus, (unsigned)vga, 3);
    bus_free(root);
}
