/* MSI (PCI 3.0, 6.8.1): a message to an address that the guest sets. Left out: per-vector masking. */
#include "bus/pci_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

enum { /* from the capability's start */
    MSI_CONTROL = 2,
    MSI_ADDRESS = 4,
    MSI_DATA = 12,
    MSI_SIZE = 14,

    MSI_ENABLE = 1 << 0,
    MSI_64BIT = 1 << 7,
};

int viv_msi_init(struct viv_pci_dev *d, unsigned vectors, struct viv_err *err)
{
    uint8_t at = viv_pci_add_cap(d, PCI_CAP_MSI, MSI_SIZE);
    unsigned log2 = (unsigned)__builtin_ctz(vectors);

    g_assert(vectors == 1u << log2 && log2 <= 5);
    if (!at)
        return viv_fail(err, ENOSPC, "no room for the MSI capability");
    d->msi_cap = at;
    viv_st_le16(d->config + at + MSI_CONTROL, (uint16_t)(MSI_64BIT | log2 << 1));
    viv_st_le16(d->wmask + at + MSI_CONTROL, MSI_ENABLE | 7 << 4);
    viv_st_le32(d->wmask + at + MSI_ADDRESS, ~3u);
    viv_st_le32(d->wmask + at + MSI_ADDRESS + 4, ~0u);
    viv_st_le16(d->wmask + at + MSI_DATA, 0xffff);
    return 0;
}

static uint16_t control(const struct viv_pci_dev *d)
{
    return d->msi_cap ? viv_ld_le16(d->config + d->msi_cap + MSI_CONTROL) : 0;
}

bool viv_msi_enabled(const struct viv_pci_dev *d)
{
    return control(d) & MSI_ENABLE;
}

/* The vector's number is in the low bits of the data, as many as the guest has enabled (6.8.1.3). */
void viv_msi_notify(struct viv_pci_dev *d, unsigned vector)
{
    const uint8_t *c = d->config + d->msi_cap;
    unsigned have = 1u << MIN(control(d) >> 1 & 7, control(d) >> 4 & 7);
    uint32_t data;

    if (!viv_msi_enabled(d) || !viv_pci_bus_master(d)) /* a message is a write to memory (6.2.2) */
        return;
    data = (viv_ld_le16(c + MSI_DATA) & ~(have - 1)) | (vector & (have - 1));
    viv_msi_send(d->dev.board->intc, viv_ld_le64(c + MSI_ADDRESS), data);
}
