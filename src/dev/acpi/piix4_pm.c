/* PIIX4 power management (82371AB, function 3): ACPI's fixed hardware. (Intel 290562-001, chapter 7; ACPI 6.4, 4.8.3.)
 *
 * The I/O block (pm.h), SMIs by the APM port (where the board can raise them), the SMBus host (smbus.h) and, which no PIIX4 had, registers for PCI hot-plug (pcihp.h). The SCI is ISA
 * line 9, level. */
#include "dev/acpi/piix4_pm.h"

#include "base/bytes.h"
#include "bus/isa.h"
#include "bus/pci.h"
#include "dev/acpi/pcihp.h"
#include "dev/acpi/pm.h"
#include "dev/acpi/smbus.h"

#include <errno.h>
#include <string.h>

#define SCI_LINE  9
#define PMBASE    0x40
#define PMREGMISC 0x80
#define SMBBASE   0x90
#define DEVACTB   0x58
#define DEVACTB_APMC_EN (1u << 25) /* a write to B2h raises an SMI */

enum { /* 7.2.6, 7.2.10: of the PM block, beside what ACPI names */
    GLBSTS = 0x18,
    GLBCTL = 0x28,

    GLBSTS_APM = 1 << 5,
    GLBCTL_SMI_EN = 1 << 0,
};

#define SMBHSTCFG 0xd2

#define BLOCK_SIZE 64

struct piix4_pm {
    struct viv_pci_dev pci;
    struct viv_acpi_pm pm;
    struct viv_smbus smb;
    struct viv_region *smbus;
    struct viv_pcihp hp;
    uint16_t glbsts, glbctl[2];
    bool smm; /* the board can raise SMIs */
};

static void set_sci(struct viv_dev *d, bool level)
{
    viv_isa_set_irq(d, SCI_LINE, level);
}

void viv_piix4_pm_power_button(struct viv_dev *d)
{
    viv_acpi_pm_power_button(&((struct piix4_pm *)d)->pm);
}

/* ---- SMIs ---- */

static uint16_t pm_read(struct viv_dev *d, unsigned reg)
{
    const struct piix4_pm *p = (struct piix4_pm *)d;

    return reg == GLBSTS ? p->glbsts : reg == GLBCTL || reg == GLBCTL + 2 ? p->glbctl[(reg - GLBCTL) / 2] : 0;
}

static void pm_write(struct viv_dev *d, unsigned reg, uint16_t v)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    if (reg == GLBSTS)
        p->glbsts &= ~v;
    else if (reg == GLBCTL || reg == GLBCTL + 2)
        p->glbctl[(reg - GLBCTL) / 2] = v;
}

static void apm_command(struct viv_dev *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    if (!(viv_ld_le32(p->pci.config + DEVACTB) & DEVACTB_APMC_EN) || !(p->glbctl[0] & GLBCTL_SMI_EN))
        return;
    p->glbsts |= GLBSTS_APM;
    viv_irq_pulse(&d->board->smi);
}

static void hotplug_event(struct viv_dev *d)
{
    viv_acpi_pm_event(&((struct piix4_pm *)d)->pm, VIV_PCIHP_GPE);
}

struct viv_pcihp *viv_piix4_pm_hotplug(struct viv_dev *d)
{
    return &((struct piix4_pm *)d)->hp;
}

static uint64_t smb_read(void *opaque, uint64_t off, unsigned size)
{
    return viv_smbus_read(&((struct piix4_pm *)opaque)->smb, (unsigned)off);
}

static void smb_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    viv_smbus_write(&((struct piix4_pm *)opaque)->smb, (unsigned)off, (uint8_t)v);
}

/* ---- mapping ---- */

uint16_t viv_piix4_pm_base(struct viv_dev *d)
{
    const uint8_t *c = ((struct piix4_pm *)d)->pci.config;

    return c[PMREGMISC] & 1 ? viv_ld_le16(c + PMBASE) & 0xffc0 : 0;
}

static void update_map(struct piix4_pm *p)
{
    const uint8_t *c = p->pci.config;

    uint32_t smb = c[SMBHSTCFG] & 1 ? viv_ld_le16(c + SMBBASE) & 0xfff0 : 0;

    viv_acpi_pm_map(&p->pm, viv_piix4_pm_base(&p->pci.dev));
    if (smb)
        viv_region_map(p->smbus, smb, 1);
    else
        viv_region_unmap(p->smbus);
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    if (off >= PMBASE)
        update_map((struct piix4_pm *)d);
}

void viv_piix4_pm_setup(struct viv_dev *d, uint16_t base)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    viv_st_le16(p->pci.config + PMBASE, (base & 0xffc0) | 1);
    p->pci.config[PMREGMISC] = 1;
    update_map(p);
    viv_piix4_pm_acpi_mode(d);
}

void viv_piix4_pm_acpi_mode(struct viv_dev *d)
{
    viv_acpi_pm_enable(&((struct piix4_pm *)d)->pm);
}

/* ---- class ---- */

static int piix4_pm_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x7113, 3, 0x068000, 0x1af4, 0x1100};
    static const struct viv_region_ops smb = {smb_read, smb_write, 1, 1, false, false};
    struct piix4_pm *p = (struct piix4_pm *)d;
    struct viv_region_desc desc = {.name = "piix4-smbus", .kind = VIV_REGION_IO, .size = 16, .ops = &smb, .opaque = p};
    int r = viv_acpi_pm_check(opts, "PIIX4_PM", err);

    if (!r)
        r = viv_pci_dev_init(&p->pci, &ids, opts, err);
    if (r < 0)
        return r;
    p->pm = (struct viv_acpi_pm){.dev = d, .name = "piix4-pm", .gpe = VIV_PIIX4_PM_GPE, .gpe_bytes = 2, .set_sci = set_sci,
                                 .other_sts = GLBSTS, .other_sts_bytes = 2, .other_read = pm_read, .other_write = pm_write, .apm_command = apm_command};
    p->smm = d->board->smm;
    viv_acpi_pm_init(&p->pm, BLOCK_SIZE);
    p->smbus = viv_region_new(d->board->io, &desc);
    p->hp = (struct viv_pcihp){.dev = d, .event = hotplug_event};
    p->hp.root_stays = !viv_opts_bool(opts, "acpi-root-pci-hotplug");
    p->hp.bridges_stay = !viv_opts_bool(opts, "acpi-pci-hotplug-with-bridge-support");
    viv_pcihp_init(&p->hp, p->pci.bus);

    p->pci.config[0x3d] = 1; /* pin A; the chip raises line 9 by itself */
    p->pci.config[PMBASE] = 1;
    p->pci.config[SMBBASE] = 1;
    viv_st_le16(p->pci.wmask + PMBASE, 0xffc0);
    viv_st_le16(p->pci.wmask + SMBBASE, 0xfff0);
    p->pci.wmask[PMREGMISC] = 1;
    p->pci.wmask[SMBHSTCFG] = 0x0f;
    viv_st_le32(p->pci.wmask + DEVACTB, p->smm ? UINT32_MAX : ~DEVACTB_APMC_EN);
    if (!p->smm) /* tells firmware that SMIs are in use already */
        viv_st_le32(p->pci.config + DEVACTB, DEVACTB_APMC_EN);
    p->pci.config_written = config_written;
    return 0;
}

static void piix4_pm_unrealize(struct viv_dev *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    viv_acpi_pm_fini(&p->pm);
    viv_region_free(p->smbus);
    viv_pcihp_fini(&p->hp);
    viv_pci_dev_fini(&p->pci);
}

static void piix4_pm_reset(struct viv_dev *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;

    viv_pci_dev_reset(&p->pci);
    viv_acpi_pm_reset(&p->pm);
    memset(&p->smb, 0, sizeof(p->smb));
    viv_pcihp_reset(&p->hp);
    p->glbsts = p->glbctl[0] = p->glbctl[1] = 0;
    update_map(p);
}

static int piix4_pm_post_load(void *obj, int version, struct viv_err *err)
{
    struct piix4_pm *p = obj;

    if (p->smm != !!p->pci.dev.board->smm)
        return viv_acpi_pm_other_smm("PIIX4_PM", p->smm, err);
    update_map(p);
    return 0;
}

static const struct viv_state_table piix4_pm_state = {
    .name = "piix4-pm",
    .ctype = "piix4_pm",
    .version = 4, /* 2: the PM block and SMBus host as tables of their own; 3: hot-plug; 4: SMIs */
    .min_version = 4,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(piix4_pm, pci, viv_pci_dev_state),
            VIV_F_STRUCT(piix4_pm, pm, viv_acpi_pm_state),
            VIV_F_STRUCT(piix4_pm, smb, viv_smbus_state),
            VIV_F_CONFIG(piix4_pm, smbus),
            VIV_F_STRUCT(piix4_pm, hp, viv_pcihp_state),
            VIV_F_INT(piix4_pm, glbsts),
            VIV_F_INTS(piix4_pm, glbctl),
            VIV_F_INT(piix4_pm, smm),
            VIV_F_END,
        },
    .post_load = piix4_pm_post_load,
};

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    VIV_ACPI_PM_PROPS,
    {.name = "acpi-root-pci-hotplug", .type = VIV_OPT_BOOL, .def = "on", .help = "devices come and go on the root bus"},
    {.name = "acpi-pci-hotplug-with-bridge-support", .type = VIV_OPT_BOOL, .def = "on", .help = "devices come and go behind bridges"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_piix4_pm = {
    .name = "PIIX4_PM",
    .desc = "ACPI power management (82371AB)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct piix4_pm),
    .props = props,
    .state = &piix4_pm_state,
    .realize = piix4_pm_realize,
    .reset = piix4_pm_reset,
    .unrealize = piix4_pm_unrealize,
};
