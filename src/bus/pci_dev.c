/* One PCI function: its configuration header, BARs and capabilities (PCI 3.0, chapter 6). */
#include "bus/pci_int.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define MEM_TOP (1ull << 52) /* above it no guest address lies */

static void init_header(struct viv_pci_dev *d, const struct viv_pci_ids *ids, bool multi)
{
    uint8_t *c = d->config;

    viv_st_le16(c + PCI_VENDOR_ID, ids->vendor);
    viv_st_le16(c + PCI_DEVICE_ID, ids->device);
    c[PCI_REVISION] = ids->revision;
    c[PCI_CLASS] = (uint8_t)ids->class_code;
    viv_st_le16(c + PCI_CLASS + 1, (uint16_t)(ids->class_code >> 8));
    viv_st_le16(c + PCI_SUB_VENDOR, ids->sub_vendor);
    viv_st_le16(c + PCI_SUB_DEVICE, ids->sub_device);
    c[PCI_HEADER_TYPE] = multi ? 0x80 : 0;
    viv_st_le16(d->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM | PCI_COMMAND_MASTER |
                                            PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
                                            PCI_COMMAND_INTX_OFF);
    viv_st_le16(d->w1cmask + PCI_STATUS, 0xf900);
    d->wmask[PCI_CACHE_LINE] = 0xff;
    d->wmask[PCI_INT_LINE] = 0xff;
    d->config_size = VIV_PCI_CONFIG_SIZE;
    d->cap_end = PCI_CAPS;
}

int viv_pci_dev_init(struct viv_pci_dev *d, const struct viv_pci_ids *ids, struct viv_opts *opts,
                     struct viv_err *err)
{
    struct viv_pci_bus *bus = viv_pci_bus_wanted(d->dev.board, opts, err);
    const char *what = viv_opts_what(opts);
    bool multi = viv_opts_bool(opts, "multifunction");
    int r;

    if (!bus)
        return -ENODEV;
    r = viv_pci_place(d, bus, viv_opts_str(opts, "addr"), multi, what, err);
    if (r < 0)
        return r;
    init_header(d, ids, multi);
    d->dev.parent = bus->bridge ? &bus->bridge->dev : NULL;
    if (bus->kind == VIV_PCIE_LINK && !d->dev.board->made) /* else its slot tells the guest */
        viv_pcie_set_present(bus->bridge);
    if (!d->dev.path)
        d->dev.path = g_strdup_printf("%s/%02x.%x/%s", bus->name, d->devfn >> 3, d->devfn & 7,
                                      d->dev.cls->name);
    r = viv_pci_rom_init(d, ids->rom, opts, err);
    if (r < 0)
        viv_pci_dev_fini(d);
    return r;
}

void viv_pci_dev_fini(struct viv_pci_dev *d)
{
    if (!d->bus)
        return;
    viv_pci_set_intx(d, 0);
    viv_msix_fini(d);
    for (unsigned i = 0; i < VIV_PCI_BARS; i++) {
        viv_region_free(d->bar[i].region);
        d->bar[i].region = NULL;
    }
    viv_pci_rom_fini(d);
    if (viv_pci_on_bus(d)) {
        d->bus->dev[d->devfn] = NULL;
        if (d->bus->kind == VIV_PCIE_LINK && !d->dev.board->made)
            viv_pcie_set_present(d->bus->bridge);
    }
    d->bus = NULL;
}

/* ---- BARs ---- */

void viv_pci_add_bar(struct viv_pci_dev *d, unsigned n, struct viv_region *r, uint64_t size,
                     bool io, bool mem64, bool prefetch)
{
    uint8_t *c = d->config + PCI_BAR0 + 4 * n, *w = d->wmask + PCI_BAR0 + 4 * n;
    uint64_t mask = ~(size - 1);

    g_assert(n + mem64 < VIV_PCI_BARS && !d->bar[n].region && !(io && mem64));
    g_assert((size & (size - 1)) == 0 && size >= (io ? 4 : 16));
    d->bar[n] = (struct viv_pci_bar){r, io, mem64, prefetch, size};
    viv_st_le32(c, io ? 1 : (mem64 ? 4 : 0) | (prefetch ? 8 : 0));
    viv_st_le32(w, (uint32_t)mask);
    if (mem64)
        viv_st_le32(w + 4, (uint32_t)(mask >> 32));
}

/* Where the guest has put the BAR, or VIV_PCI_UNMAPPED: decoding is off, the BAR was never set (0), it holds the all-ones
 * of a size probe, or a bridge keeps accesses away. */
static uint64_t bar_addr(const struct viv_pci_dev *d, unsigned n)
{
    const struct viv_pci_bar *b = &d->bar[n];
    const uint8_t *c = d->config + PCI_BAR0 + 4 * n;
    uint16_t command = viv_ld_le16(d->config + PCI_COMMAND);
    uint64_t addr = viv_ld_le32(c) & ~(uint64_t)(b->io ? 3 : 15), last;

    if (viv_pci_asleep(d) || !(command & (b->io ? PCI_COMMAND_IO : PCI_COMMAND_MEM)))
        return VIV_PCI_UNMAPPED;
    if (b->mem64)
        addr |= (uint64_t)viv_ld_le32(c + 4) << 32;
    last = addr + b->size - 1;
    if (!addr || last < addr || last == UINT32_MAX || last >= (b->io ? 0x10000 : MEM_TOP))
        return VIV_PCI_UNMAPPED;
    return viv_pci_reachable(d, b->io, addr, last) ? addr : VIV_PCI_UNMAPPED;
}

static void map_bar(struct viv_pci_dev *d, struct viv_region *r, uint64_t addr, const char *what, unsigned n)
{
    if (addr == VIV_PCI_UNMAPPED) {
        viv_region_unmap(r);
        return;
    }
    if (!viv_region_mapped(r) || viv_region_addr(r) != addr)
        viv_log(VIV_LOG_PCI, "%s: %s %u at 0x%llx", d->dev.path, what, n, (unsigned long long)addr);
    viv_region_map(r, addr, 1);
}

void viv_pci_remap(struct viv_pci_dev *d)
{
    struct viv_board *board = d->dev.board;

    viv_space_begin(board->mem);
    viv_space_begin(board->io);
    for (unsigned i = 0; i < VIV_PCI_BARS; i++) {
        if (d->bar[i].region)
            map_bar(d, d->bar[i].region, bar_addr(d, i), "BAR", i);
    }
    if (d->rom)
        map_bar(d, d->rom, viv_pci_rom_addr(d), "ROM", 0);
    if (d->remapped)
        d->remapped(d);
    viv_space_commit(board->io);
    viv_space_commit(board->mem);
    viv_msix_send_pending(d);
}

/* ---- capabilities ---- */

uint8_t viv_pci_add_cap(struct viv_pci_dev *d, uint8_t id, uint8_t len)
{
    unsigned at = d->cap_end, end = (at + len + 3) & ~3u;
    uint8_t *link = &d->config[PCI_CAP_PTR];

    if (end > VIV_PCI_CONFIG_SIZE || at == 0)
        return 0;
    while (*link)
        link = &d->config[*link + 1];
    *link = (uint8_t)at;
    d->config[at] = id;
    d->config[at + 1] = 0;
    d->config[PCI_STATUS] |= PCI_STATUS_CAPS;
    d->cap_end = (uint8_t)end; /* 0 when the last byte is taken */
    return (uint8_t)at;
}

/* ---- guest access ---- */

static uint32_t load(const uint8_t *p, unsigned len)
{
    return len == 1 ? *p : len == 2 ? viv_ld_le16(p) : viv_ld_le32(p);
}

uint32_t viv_pci_dev_read(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    uint32_t v = load(d->config + off, len);

    if (off <= PCI_STATUS && off + len > PCI_STATUS && d->intx_level)
        v |= PCI_STATUS_INTX << (8 * (PCI_STATUS - off));
    if (d->config_read)
        v = d->config_read(d, off, len, v);
    return v;
}

void viv_pci_dev_write(struct viv_pci_dev *d, unsigned off, uint32_t value, unsigned len)
{
    uint16_t slot = viv_pcie_slot_control(d);

    for (unsigned i = 0; i < len; i++) {
        uint8_t v = (uint8_t)(value >> (8 * i)), w = d->wmask[off + i];
        uint8_t *c = &d->config[off + i];

        *c = (*c & ~w & ~(v & d->w1cmask[off + i])) | (v & w);
    }
    if (viv_pci_touches(off, len, PCI_COMMAND, 2) || viv_pci_touches(off, len, PCI_BAR0, 24) ||
        viv_pci_touches(off, len, PCI_ROM, 4) || (d->pm_cap && viv_pci_touches(off, len, d->pm_cap + PM_CONTROL, 2)))
        viv_pci_remap(d);
    viv_pci_update_intx(d, true);
    if (d->msix_cap && viv_pci_touches(off, len, d->msix_cap + MSIX_CONTROL, 2))
        viv_msix_send_pending(d);
    if (d->pcie_cap)
        viv_pcie_slot_written(d, off, len, slot);
    if (d->config_written)
        d->config_written(d, off, len);
}

void viv_pci_dev_reset(struct viv_pci_dev *d)
{
    viv_pci_set_intx(d, 0);
    for (unsigned i = 0; i < d->config_size; i++)
        d->config[i] &= ~(d->wmask[i] | d->w1cmask[i]);
    viv_msix_reset(d);
    viv_pcie_reset(d);
    viv_pci_remap(d);
}

/* ---- state ---- */

static void save_config(struct viv_state_writer *w, const void *obj)
{
    const struct viv_pci_dev *d = obj;

    viv_state_put(w, d->config, d->config_size);
}

/* Bits that nobody can write are those of the device as it was made here: a difference means another
 * device, or an attempt. */
static int load_config(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct viv_pci_dev *d = obj;
    uint8_t c[VIV_PCIE_CONFIG_SIZE];
    int rc = viv_state_get(r, c, d->config_size, err);

    if (rc < 0)
        return rc;
    viv_pcie_keep_link(d, c);
    for (unsigned i = 0; i < d->config_size; i++) {
        if ((c[i] ^ d->config[i]) & ~(d->wmask[i] | d->w1cmask[i]))
            return viv_fail(err, EINVAL,
                            "PCI configuration byte %03xh is %02x, here it is %02x: not the "
                            "same device",
                            i, c[i], d->config[i]);
    }
    memcpy(d->config, c, d->config_size);
    return 0;
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct viv_pci_dev *d = obj;

    viv_pcie_slot_loaded(d);
    viv_pci_remap(d);
    viv_pci_update_intx(d, false);
    if (d->msix_changed) {
        for (unsigned v = 0; v < d->msix_count; v++)
            d->msix_changed(d, v);
    }
    return 0;
}

const struct viv_state_table viv_pci_dev_state = {
    .name = "pci-dev",
    .ctype = "viv_pci_dev",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(viv_pci_dev, dev),
            VIV_F_CONFIG(viv_pci_dev, bus),
            VIV_F_CONFIG(viv_pci_dev, devfn),
            VIV_F_CONFIG(viv_pci_dev, config_size),
            VIV_F_CUSTOM(viv_pci_dev, config, save_config, load_config),
            VIV_F_CONFIG(viv_pci_dev, wmask),
            VIV_F_CONFIG(viv_pci_dev, w1cmask),
            VIV_F_CONFIG(viv_pci_dev, bar),
            VIV_F_CONFIG(viv_pci_dev, cap_end),
            VIV_F_CONFIG(viv_pci_dev, ext_cap_end),
            VIV_F_CONFIG(viv_pci_dev, ext_cap_last),
            VIV_F_CONFIG(viv_pci_dev, pm_cap),
            VIV_F_CONFIG(viv_pci_dev, msi_cap),
            VIV_F_CONFIG(viv_pci_dev, pcie_cap),
            VIV_F_CONFIG(viv_pci_dev, rom),
            VIV_F_CONFIG(viv_pci_dev, rom_ram),
            VIV_F_CONFIG(viv_pci_dev, rom_size),
            VIV_F_CONFIG(viv_pci_dev, msix_cap),
            VIV_F_CONFIG(viv_pci_dev, msix_count),
            VIV_F_CUSTOM(viv_pci_dev, msix, viv_msix_save, viv_msix_load),
            VIV_F_DERIVED(viv_pci_dev, msix_pending, "saved with msix"),
            VIV_F_CONFIG(viv_pci_dev, msix_region),
            VIV_F_DERIVED(viv_pci_dev, slot_told, "the slot's registers"),
            VIV_F_INT(viv_pci_dev, intx_level),
            VIV_F_DERIVED(viv_pci_dev, intx_asserted, "intx_level and the command register"),
            VIV_F_CONFIG(viv_pci_dev, config_written),
            VIV_F_CONFIG(viv_pci_dev, config_read),
            VIV_F_CONFIG(viv_pci_dev, remapped),
            VIV_F_CONFIG(viv_pci_dev, msix_changed),
            VIV_F_CONFIG(viv_pci_dev, pulled),
            VIV_F_END,
        },
    .post_load = post_load,
};
