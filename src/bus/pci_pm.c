/* Power management of a function (PCI Power Management 1.2): D0 and D3hot. State survives D3hot (No_Soft_Reset). */
#include "bus/pci_int.h"

#include "base/bytes.h"

#include <errno.h>

enum {
    PM_CAPABILITIES = 2,
    PM_VERSION_12 = 3,
    PM_STATE = 3,
    PM_NO_SOFT_RESET = 1 << 3,
    PM_D3HOT = 3,
};

int viv_pci_pm_init(struct viv_pci_dev *d, struct viv_err *err)
{
    uint8_t at = viv_pci_add_cap(d, PCI_CAP_PM, 8);

    if (!at)
        return viv_fail(err, ENOSPC, "no room for the power management capability");
    d->pm_cap = at;
    viv_st_le16(d->config + at + PM_CAPABILITIES, PM_VERSION_12);
    viv_st_le16(d->config + at + PM_CONTROL, PM_NO_SOFT_RESET);
    d->wmask[at + PM_CONTROL] = PM_STATE;
    return 0;
}

bool viv_pci_asleep(const struct viv_pci_dev *d)
{
    return d->pm_cap && (d->config[d->pm_cap + PM_CONTROL] & PM_STATE) == PM_D3HOT;
}
