/* PCI Express (Base 3.0): the capability (7.8), extended configuration space (7.9). Links are always up, at 2.5 GT/s, one
 * lane; nothing goes wrong on them, so the error bits stay 0. */
#include "bus/pci_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

enum { /* from the capability's start */
    PCIE_CAPABILITIES = 0x02,
    PCIE_DEVICE_CAPABILITIES = 0x04,
    PCIE_DEVICE_CONTROL = 0x08,
    PCIE_LINK_CAPABILITIES = 0x0c,
    PCIE_LINK_CONTROL = 0x10,
    PCIE_LINK_STATUS = 0x12,
    PCIE_SLOT_CAPABILITIES = 0x14,
    PCIE_ROOT_CONTROL = 0x1c,
    PCIE_LINK_CAPABILITIES2 = 0x2c,
    PCIE_LINK_CONTROL2 = 0x30,
    PCIE_SIZE = 0x3c,

    PCIE_VERSION = 2,
    PCIE_SLOT = 1 << 8,
    ROLE_BASED_ERRORS = 1 << 15,
    CONTROL_DEFAULT = 0x2810, /* relaxed ordering, no snoop, reads of 512 bytes */
    CONTROL_WRITABLE = 0x78ff,
    SPEED_2_5 = 1,
    ONE_LANE = 1 << 4,
    LINK_ACTIVE_REPORTED = 1 << 20,
};

static void add_link(struct viv_pci_dev *d, uint8_t *c, uint8_t *w, bool port)
{
    viv_st_le32(c + PCIE_LINK_CAPABILITIES, SPEED_2_5 | ONE_LANE | (port ? LINK_ACTIVE_REPORTED : 0) |
                                                (port ? (uint32_t)d->devfn << 24 : 0));
    viv_st_le16(c + PCIE_LINK_STATUS, SPEED_2_5 | ONE_LANE);
    viv_st_le16(w + PCIE_LINK_CONTROL, 0x00c8); /* read completion boundary, common clock, extended synch */
    viv_st_le32(c + PCIE_LINK_CAPABILITIES2, SPEED_2_5 << 1);
    viv_st_le16(c + PCIE_LINK_CONTROL2, SPEED_2_5);
}

int viv_pcie_init(struct viv_pci_dev *d, enum viv_pcie_type type, unsigned slot, struct viv_err *err)
{
    uint8_t at = viv_pci_add_cap(d, PCI_CAP_EXPRESS, PCIE_SIZE), *c = d->config + at, *w = d->wmask + at;
    bool port = type == VIV_PCIE_ROOT_PORT;

    if (!at)
        return viv_fail(err, ENOSPC, "no room for the PCI Express capability");
    d->pcie_cap = at;
    d->config_size = VIV_PCIE_CONFIG_SIZE;
    d->ext_cap_end = VIV_PCI_CONFIG_SIZE;
    viv_st_le16(c + PCIE_CAPABILITIES, (uint16_t)(PCIE_VERSION | type << 4 | (port ? PCIE_SLOT : 0)));
    viv_st_le32(c + PCIE_DEVICE_CAPABILITIES, ROLE_BASED_ERRORS);
    viv_st_le16(w + PCIE_DEVICE_CONTROL, CONTROL_WRITABLE);
    if (type != VIV_PCIE_ROOT_ENDPOINT)
        add_link(d, c, w, port);
    if (port) {
        viv_st_le32(c + PCIE_SLOT_CAPABILITIES, slot << 19);
        viv_st_le16(w + PCIE_ROOT_CONTROL, 0x0f);
    }
    viv_pcie_reset(d);
    return 0;
}

void viv_pcie_reset(struct viv_pci_dev *d)
{
    if (!d->pcie_cap)
        return;
    viv_st_le16(d->config + d->pcie_cap + PCIE_DEVICE_CONTROL, CONTROL_DEFAULT);
    viv_pcie_slot_reset(d);
}

uint16_t viv_pcie_add_cap(struct viv_pci_dev *d, uint16_t id, uint8_t version, uint16_t len)
{
    uint16_t at = d->ext_cap_end;
    unsigned end = (at + len + 3u) & ~3u;

    if (!at || end > VIV_PCIE_CONFIG_SIZE)
        return 0;
    viv_st_le32(d->config + at, id | (uint32_t)version << 16);
    if (d->ext_cap_last)
        viv_st_le16(d->config + d->ext_cap_last + 2, (uint16_t)((viv_ld_le16(d->config + d->ext_cap_last + 2) & 15) | at << 4));
    d->ext_cap_last = at;
    d->ext_cap_end = (uint16_t)end;
    return at;
}
