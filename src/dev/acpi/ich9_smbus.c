/* SMBus controller of q35 (82801IB, function 3 of device 31). (Intel 316972-004, chapter 19.) The bus is empty. */
#include "bus/pci.h"
#include "dev/acpi/smbus.h"

#include <string.h>

enum { HOSTC = 0x40, HOSTC_HST_EN = 1 };

struct ich9_smbus {
    struct viv_pci_dev pci;
    struct viv_smbus host;
};

static uint64_t smb_read(void *opaque, uint64_t off, unsigned size)
{
    return viv_smbus_read(&((struct ich9_smbus *)opaque)->host, (unsigned)off);
}

static void smb_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct ich9_smbus *s = opaque;

    if (!(s->pci.config[HOSTC] & HOSTC_HST_EN))
        return;
    viv_smbus_write(&s->host, (unsigned)off, (uint8_t)v);
    viv_pci_set_intx(&s->pci, viv_smbus_irq(&s->host));
}

static int smbus_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x2930, 2, 0x0c0500, 0x1af4, 0x1100};
    static const struct viv_region_ops ops = {smb_read, smb_write, 1, 1, false, false};
    struct ich9_smbus *s = (struct ich9_smbus *)d;
    struct viv_region_desc desc = {.name = "ich9-smbus", .kind = VIV_REGION_IO, .size = VIV_SMBUS_REGS, .ops = &ops, .opaque = s};
    int rc = viv_pci_dev_init(&s->pci, &ids, opts, err);

    if (rc < 0)
        return rc;
    s->pci.config[0x3d] = 1;
    s->pci.wmask[HOSTC] = HOSTC_HST_EN;
    viv_pci_add_bar(&s->pci, 4, viv_region_new(d->board->io, &desc), VIV_SMBUS_REGS, true, false, false);
    return 0;
}

static void smbus_unrealize(struct viv_dev *d)
{
    viv_pci_dev_fini((struct viv_pci_dev *)d);
}

static void smbus_reset(struct viv_dev *d)
{
    struct ich9_smbus *s = (struct ich9_smbus *)d;

    viv_pci_dev_reset(&s->pci);
    memset(&s->host, 0, sizeof(s->host));
}

static const struct viv_state_table smbus_state = {
    .name = "ich9-smbus",
    .ctype = "ich9_smbus",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(ich9_smbus, pci, viv_pci_dev_state),
            VIV_F_STRUCT(ich9_smbus, host, viv_smbus_state),
            VIV_F_END,
        },
};

static const struct viv_opt_def props[] = {VIV_PCI_PROPS, VIV_OPT_END};

const struct viv_dev_class viv_dev_ich9_smbus = {
    .name = "ICH9-SMB",
    .desc = "SMBus controller of q35 (82801IB)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct ich9_smbus),
    .props = props,
    .state = &smbus_state,
    .realize = smbus_realize,
    .reset = smbus_reset,
    .unrealize = smbus_unrealize,
};
